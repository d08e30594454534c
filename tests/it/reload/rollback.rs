//! Rollbacks: a kept version decides whatever the files are, until somebody says otherwise, also after a restart.

use std::fs;

use hallpass::proto::v1 as pb;
use pb::PolicyState::{Current, RolledBack};
use tonic::Code;

use super::realm::{decides, files, home, reaches, shown, write};
use crate::support::{Home, REALM, Service};

async fn rollback(service: &Service, digest: &str) -> Result<pb::RollbackPoliciesResponse, tonic::Status> {
    let request = pb::RollbackPoliciesRequest { realm: REALM.to_owned(), policy_version: digest.to_owned() };
    service.policies().rollback_policies(request).await.map(tonic::Response::into_inner)
}

async fn resume(service: &Service) -> pb::ResumePoliciesResponse {
    let request = pb::ResumePoliciesRequest { realm: REALM.to_owned() };
    service.policies().resume_policies(request).await.unwrap().into_inner()
}

/// What a command prints, and its exit code.
fn run(home: &Home, service: &Service, arguments: &[&str]) -> (String, Option<i32>) {
    let mut command = home.command("policies");
    // The subcommand comes before its flags.
    let flags: Vec<_> = command.get_args().skip(1).map(std::ffi::OsStr::to_owned).collect();
    command = {
        let mut ordered = std::process::Command::new(env!("CARGO_BIN_EXE_hallpass"));
        ordered.arg("policies").args(arguments).args(flags).current_dir(home.path(""));
        ordered
    };
    if !matches!(arguments[0], "versions" | "diff") {
        command.args(["--address", &service.address]);
    }
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (text, output.status.code())
}

#[tokio::test]
async fn a_rollback_holds_against_files_and_restarts_until_it_is_taken_back() {
    let (home, folder) = home();
    let mut service = home.start().await;
    let a = shown(&service).await.policy_version;
    write(&folder, &files("B"));
    let b = reaches(&service, "a change", "B", Current).await.policy_version;

    let rolled = rollback(&service, "").await.unwrap();
    assert_eq!((&rolled.policy_version, &rolled.previous_version, rolled.faults.len()), (&a, &b, 0));
    let realm = reaches(&service, "a rollback", "A", RolledBack).await;
    let by = realm.rollback.unwrap();
    assert_eq!((by.by.as_str(), by.at.is_some()), ("local", true));
    decides(&home, &service, "A").await;

    write(&folder, &files("C"));
    crate::support::eventually("the new files are seen", async || {
        let realm = shown(&service).await;
        realm.files_version != a && realm.files_version != b && !realm.files_version.is_empty()
    })
    .await;
    let request = pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    let refused = service.policies().reload_policies(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    assert!(refused.message().contains("hallpass policies resume"), "{refused:?}");
    service.signal("HUP");
    decides(&home, &service, "A").await;

    service.kill();
    // What the files are worth does not matter while a rollback stands.
    write(&folder, &[("realm.toml", "half".to_owned())]);
    let service = home.start().await;
    reaches(&service, "after a restart", "A", RolledBack).await;
    decides(&home, &service, "A").await;
    let still = resume(&service).await;
    assert!(!still.faults.is_empty() && still.policy_version == a, "{still:?}");
    assert_eq!(shown(&service).await.state(), RolledBack);

    write(&folder, &files("C"));
    let resumed = resume(&service).await;
    assert!(resumed.faults.is_empty() && resumed.policy_version != a, "{resumed:?}");
    reaches(&service, "the files again", "C", Current).await;
    decides(&home, &service, "C").await;
    drop(service);
    let service = home.start().await;
    reaches(&service, "after another restart", "C", Current).await;
}

#[tokio::test]
async fn a_rollback_goes_to_a_version_that_is_named_and_to_no_other() {
    let (home, folder) = home();
    let service = home.start().await;
    let a = shown(&service).await.policy_version;
    for (digest, code) in [("", Code::NotFound), ("00000000", Code::NotFound), (&a[..5], Code::NotFound)] {
        assert_eq!(rollback(&service, digest).await.unwrap_err().code(), code, "{digest}");
    }
    write(&folder, &files("B"));
    reaches(&service, "a change", "B", Current).await;
    write(&folder, &files("C"));
    reaches(&service, "another", "C", Current).await;
    assert_eq!(rollback(&service, &a[..6]).await.unwrap().policy_version, a);
    decides(&home, &service, "A").await;

    // What is kept is held against its digest.
    let kept = home.data.join(format!("realms/{REALM}/policies/{a}/files/policies.cedar"));
    fs::write(&kept, "permit (principal, action, resource);").unwrap();
    let damaged = rollback(&service, &a).await.unwrap_err();
    assert_eq!(damaged.code(), Code::Internal, "{damaged:?}");
    let request = pb::RollbackPoliciesRequest { realm: "hallpass".to_owned(), policy_version: String::new() };
    let refused = service.policies().rollback_policies(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
    drop(service);
    // A service does not start by a version that it cannot trust, and says the way out.
    let refusal = home.start_in_vain();
    assert!(refusal.stderr.contains("damaged"), "{}", refusal.stderr);
    fs::remove_file(home.data.join(format!("realms/{REALM}/policies/pin"))).unwrap();
    let service = home.start().await;
    reaches(&service, "without the rollback", "C", Current).await;
}

#[tokio::test]
async fn the_commands_show_versions_and_go_there_and_back() {
    let (home, folder) = home();
    let service = home.start().await;
    let a = shown(&service).await.policy_version;
    write(&folder, &files("B"));
    let b = reaches(&service, "a change", "B", Current).await.policy_version;
    let run = |arguments: &[&str]| run(&home, &service, arguments);

    let (text, code) = run(&["versions"]);
    assert!(code == Some(0) && text.contains(&a) && text.contains(&b), "{text}");
    let (text, code) = run(&["diff", &a, &b]);
    assert!(code == Some(1) && text.contains("--- a/realm.toml\n+++ b/realm.toml\n"), "{text}");
    assert!(text.contains("-title = \"A\"\n+title = \"B\"\n"), "{text}");
    assert_eq!(run(&["diff", &a, &a]), (String::new(), Some(0)));

    let (text, code) = run(&["rollback"]);
    assert!(code == Some(0) && text.contains(&format!("rolled back, decides by digest {}…", &a[..12])), "{text}");
    let (text, code) = run(&["status"]);
    assert!(code == Some(0) && text.contains("rolled back") && text.contains("by local"), "{text}");
    let (text, _) = run(&["versions"]);
    assert!(text.contains("rolled back to"), "{text}");
    let (text, code) = run(&["resume", "--output", "json"]);
    assert!(code == Some(0) && text.contains(&b), "{text}");
    let (text, code) = run(&["rollback", "not-a-digest"]);
    assert!(code == Some(2) && text.contains("has the digits 0-9 and a-f"), "{text}");

    write(&folder, &[("realm.toml", "x = 1\n".to_owned())]);
    reaches(&service, "a fault", "B", pb::PolicyState::RefusedReload).await;
    let (text, code) = run(&["status"]);
    assert!(code == Some(1) && text.contains("refused reload") && text.contains("realm.toml:1:1: "), "{text}");
}
