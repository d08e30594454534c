//! Who may do what by the realms of `policies/`, kept as text so that a change of the policies shows in a review.
//! `HALLPASS_BLESS=1 cargo test --test it matrix` writes it anew.

use std::{fs, process::Command};

const HALLPASS: &str = env!("CARGO_BIN_EXE_hallpass");

const REALMS: [&str; 6] = ["auth0", "edfi", "hallpass", "itslanguage", "openedx", "sem"];

fn matrix(realm: &str) -> String {
    let folder = format!("policies/{realm}");
    let shown = Command::new(HALLPASS).args(["matrix", &folder]).output().unwrap();
    assert!(shown.status.success(), "{realm}: {}", String::from_utf8_lossy(&shown.stderr));
    String::from_utf8(shown.stdout).unwrap()
}

#[test]
fn who_may_do_what_is_what_was_read_over() {
    let mut differences = Vec::new();
    for realm in REALMS {
        let (golden, found) = (format!("policies/{realm}/golden/matrix.txt"), matrix(realm));
        if std::env::var_os("HALLPASS_BLESS").is_some() {
            fs::create_dir_all(format!("policies/{realm}/golden")).unwrap();
            fs::write(&golden, &found).unwrap();
        }
        let kept = fs::read_to_string(&golden).unwrap_or_default();
        if found != kept {
            let line = found.lines().zip(kept.lines()).take_while(|(found, kept)| found == kept).count() + 1;
            differences.push(format!("{golden} differs from line {line} on"));
        }
    }
    assert!(differences.is_empty(), "{}\nHALLPASS_BLESS=1 takes over what is found", differences.join("\n"));
}
