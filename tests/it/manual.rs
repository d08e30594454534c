//! Manual pages and completions, which come from the command line's own definition.

use std::{collections::BTreeSet, fs, process::Command};

fn hallpass(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_hallpass")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// The verbs that `--help` shows.
fn verbs() -> BTreeSet<String> {
    let help = hallpass(&["--help"]).1;
    let listed = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let verbs: BTreeSet<String> =
        listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next().map(str::to_owned)).collect();
    verbs.into_iter().filter(|verb| !verb.is_empty()).collect()
}

#[test]
fn every_shell_completes_every_verb() {
    let verbs = verbs();
    assert!(verbs.len() > 20, "{verbs:?}");
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let (code, script, error) = hallpass(&["completions", shell]);
        assert_eq!((code, error.as_str()), (Some(0), ""), "{shell}");
        let missing: Vec<_> = verbs.iter().filter(|verb| !script.contains(verb.as_str())).collect();
        assert!(missing.is_empty(), "{shell}: {missing:?}");
    }
    assert_eq!(hallpass(&["completions", "tcl"]).0, Some(2));
}

#[test]
fn every_verb_has_a_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("share/man1");
    let (code, _, error) = hallpass(&["man", pages.to_str().unwrap()]);
    assert_eq!((code, error.as_str()), (Some(0), ""));
    for verb in verbs() {
        let page = fs::read_to_string(pages.join(format!("hallpass-{verb}.1"))).unwrap_or_default();
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{verb}: {page}");
    }
    let page = fs::read_to_string(pages.join("hallpass-decisions-query.1")).unwrap();
    assert!(page.contains("person"), "{page}");
    assert!(page.contains(&format!("\"hallpass {}\"", env!("CARGO_PKG_VERSION"))), "{page}");
    let count = || fs::read_dir(&pages).unwrap().count();
    let before = count();
    assert_eq!(hallpass(&["man", pages.to_str().unwrap()]).0, Some(0), "a second time");
    assert_eq!(count(), before);
}

#[test]
fn pages_that_cannot_be_written_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, out, error) = hallpass(&["man", file.to_str().unwrap()]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert!(error.contains("the pages cannot be written to"), "{error}");
}
