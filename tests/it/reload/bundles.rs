//! Signed bundles: what is signed decides, and nothing else gets in.

use std::fs;
use std::path::Path;
use std::process::Command;

use hallpass::proto::v1 as pb;
use pb::PolicyState::{Current, RefusedReload};
use serde_json::json;

use super::realm::{decides, files, home, reaches, shown, write};
use crate::support::{Home, REALM};

/// Runs `hallpass policies` in the home's folder; its standard output, or its standard error if it did not do it.
fn policies(home: &Home, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    let output = command.arg("policies").args(arguments).current_dir(home.path("")).output().unwrap();
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if output.status.success() { Ok(out.trim_end().to_owned()) } else { Err(out + &err) }
}

/// Bundles a version of the realm, signed by a key, in the place of what the service reads.
fn bundle(home: &Home, version: &str, key: &str, number: &str) {
    let folder = format!("files-{version}");
    write(&home.path(&folder), &files(version));
    let signed = ["bundle", &folder, "--key", key, "--name", REALM, "--number", number, "-o", "realm.tar"];
    policies(home, &signed).unwrap();
}

/// A home that takes bundles signed by `release.pem` alone, and its first one.
fn signed_home() -> Home {
    let (mut home, _) = home();
    let key = policies(&home, &["keys", "--key", "release.pem", "--signer", "policies"]).unwrap();
    assert_eq!(policies(&home, &["keys", "--key", "release.pem"]).unwrap(), key, "a key that is there stays");
    policies(&home, &["keys", "--key", "other.pem"]).unwrap();
    home.rules = home.path("realm.tar");
    home.realm_keys = format!("bundle_keys = [{}]\n", json!(key));
    bundle(&home, "A", "release.pem", "10");
    home
}

fn change(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

/// Something that happens to a bundle: what it is, what the fault says, and how it is made.
type Mishap = (&'static str, &'static str, fn(&Home));

#[tokio::test]
async fn only_what_a_trusted_key_signed_decides() {
    let home = signed_home();
    let (tar, note) = (home.path("realm.tar"), home.path("realm.tar.sig"));
    let service = home.start().await;
    let first = reaches(&service, "at the start", "A", Current).await;
    assert_eq!(first.signed_by, "policies");
    decides(&home, &service, "A").await;
    bundle(&home, "B", "release.pem", "11");
    let good = reaches(&service, "a newer bundle", "B", Current).await.policy_version;

    let mishaps: [Mishap; 7] = [
        ("a flipped byte", "is signed for other bytes", |home| {
            change(&home.path("realm.tar"), |bytes| bytes[600] ^= 1);
        }),
        ("data behind the end", "is signed for other bytes", |home| {
            change(&home.path("realm.tar"), |bytes| bytes.extend([0; 512]));
        }),
        ("no signature", "realm.tar.sig` cannot be read, and the bundle must be signed by `policies+", |home| {
            fs::remove_file(home.path("realm.tar.sig")).unwrap();
        }),
        ("another key", "has no signature by a known key", |home| bundle(home, "C", "other.pem", "12")),
        ("a changed note", "has a wrong signature by key `policies+", |home| {
            let note = home.path("realm.tar.sig");
            let text = fs::read_to_string(&note).unwrap().replace("\n11\n", "\n99\n");
            fs::write(note, text).unwrap();
        }),
        ("an older bundle", "has the number 10 and is older than number 11", |home| {
            bundle(home, "A", "release.pem", "10");
        }),
        ("no bundle", "realm.tar` cannot be read", |home| fs::remove_file(home.path("realm.tar")).unwrap()),
    ];
    let (tar_bytes, note_bytes) = (fs::read(&tar).unwrap(), fs::read(&note).unwrap());
    for (name, expected, happens) in mishaps {
        happens(&home);
        let realm = reaches(&service, name, "B", RefusedReload).await;
        let message = &realm.last_faults[0].message;
        assert!(message.contains(expected), "{name}: {message}");
        decides(&home, &service, "B").await;
        fs::write(&note, &note_bytes).unwrap();
        fs::write(&tar, &tar_bytes).unwrap();
        reaches(&service, name, "B", Current).await;
    }
    // Going back is for who may, and to what was signed.
    let request = pb::RollbackPoliciesRequest { realm: REALM.to_owned(), policy_version: String::new() };
    let rolled = service.policies().rollback_policies(request).await.unwrap().into_inner();
    assert!(rolled.previous_version == good && rolled.policy_version == first.policy_version, "{rolled:?}");
    assert_eq!(shown(&service).await.signed_by, "policies");
    decides(&home, &service, "A").await;
}

#[tokio::test]
async fn a_service_that_wants_signatures_does_not_start_without() {
    let mut home = signed_home();
    drop(home.start().await);
    bundle(&home, "A", "release.pem", "9");
    assert!(home.start_in_vain().stderr.contains("has the number 9 and is older than number 10"));
    bundle(&home, "A", "other.pem", "11");
    let refusal = home.start_in_vain();
    assert!(refusal.stderr.contains("realm.tar.sig` has no signature by a known key"), "{}", refusal.stderr);
    assert_eq!(refusal.code, Some(2));
    fs::remove_file(home.path("realm.tar.sig")).unwrap();
    assert!(home.start_in_vain().stderr.contains("must be signed by `policies+"));
    // A plain folder in its place.
    home.rules = home.path("files-A");
    assert!(home.start_in_vain().stderr.contains("`bundle_keys` is said of a folder, which nobody can sign"));
    // A version that was kept before anybody had to sign may not decide either.
    let keys = std::mem::take(&mut home.realm_keys);
    write(&home.rules, &files("C"));
    let service = home.start().await;
    let unsigned = shown(&service).await.policy_version;
    drop(service);
    (home.realm_keys, home.rules) = (keys, home.path("realm.tar"));
    bundle(&home, "B", "release.pem", "12");
    let service = home.start().await;
    let request = pb::RollbackPoliciesRequest { realm: REALM.to_owned(), policy_version: unsigned };
    let refused = service.policies().rollback_policies(request).await.unwrap_err();
    assert!(refused.message().contains("kept without a signature"), "{refused:?}");
    decides(&home, &service, "B").await;
}

#[test]
fn a_bundle_is_the_same_whenever_it_is_made_and_holds_nothing_with_faults() {
    let (home, folder) = home();
    let make = |out: &str| policies(&home, &["bundle", "rules", "--out", out]);
    assert!(make("one.tar").unwrap().contains("5 files"));
    fs::File::open(folder.join("realm.toml")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
    make("two.tar").unwrap();
    assert_eq!(fs::read(home.path("one.tar")).unwrap(), fs::read(home.path("two.tar")).unwrap());
    write(&folder, &[("realm.toml", "title = 1\n".to_owned())]);
    let refused = make("three.tar").unwrap_err();
    assert!(refused.contains("rules/realm.toml:1:9: ") && !home.path("three.tar").exists(), "{refused}");
}
