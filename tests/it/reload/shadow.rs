//! A candidate in the shadow of a realm of the real service: by the command line, and by the configuration.

use std::fs;
use std::path::Path;
use std::process::Output;

use hallpass::proto::v1 as pb;
use serde_json::Value as Json;

use super::realm::{files, home, question, token, write};
use crate::support::{Home, REALM, Service, eventually};

/// Writes the realm without the clause that asks for the shelf, and without the tests that would notice.
fn write_candidate(folder: &Path) {
    let mut candidate = files("A");
    candidate.retain(|(path, _)| !path.starts_with("tests/"));
    let (_, policies) = &mut candidate[0];
    *policies = policies.replace(" && resource.shelf == \"open\"", "");
    write(folder, &candidate);
}

/// Runs `hallpass policies shadow` with these words.
fn shadow(home: &Home, service: &Service, words: &[&str]) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["policies", "shadow"]).args(words).args(["--realm", REALM]);
    command.args(["--address", &service.address]).current_dir(home.path(""));
    command.env_remove("HALLPASS_CONFIG").env_remove("HALLPASS_TOKEN_FILE").output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

async fn report(service: &Service) -> Option<pb::ShadowReport> {
    let request = pb::GetShadowRequest { realm: REALM.to_owned() };
    service.policies().get_shadow(request).await.unwrap().into_inner().report
}

/// How many decisions the candidate would allow anew.
async fn allowed(service: &Service) -> u64 {
    report(service).await.unwrap().changes.unwrap().newly_allowed
}

/// Asks for three shelves, of which the candidate would show another one too.
async fn ask(home: &Home, service: &Service) {
    for (shelf, expected) in
        [("open", pb::Decision::Allow), ("back", pb::Decision::Deny), ("closed", pb::Decision::Deny)]
    {
        let answer = service.authorization().authorize(question(&token(home), shelf)).await.unwrap().into_inner();
        assert_eq!(answer.decision(), expected, "{shelf}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_author_sees_what_a_change_would_do_to_real_requests() {
    let (mut home, _) = home();
    home.keys.push_str("ops_address = \"127.0.0.1:0\"\n");
    let service = home.start().await;
    let none = shadow(&home, &service, &[]);
    assert_eq!((none.status.code(), text(&none)), (Some(0), format!("{REALM}: no shadow runs\n")));

    let candidate = home.path("candidate");
    write_candidate(&candidate);
    let started = shadow(&home, &service, &["start", "candidate"]);
    assert!(started.status.success() && text(&started).contains("shadow started, digest "), "{started:?}");
    ask(&home, &service).await;
    eventually("three decisions are compared", async || report(&service).await.unwrap().compared == 3).await;
    let metrics = reqwest::get(format!("{}/metrics", service.monitored.as_ref().unwrap())).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    for (change, count) in [("newly_allowed", 1), ("same", 2)] {
        let line = format!("authz_shadow_compared_total{{realm=\"{REALM}\",change=\"{change}\"}} {count}");
        assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
    }
    let status = shadow(&home, &service, &["status", "--fail-on", "newly-allowed"]);
    let shown = text(&status);
    assert_eq!(status.status.code(), Some(1), "{shown}");
    for expected in [
        "3 decisions made by both",
        "           2  the same",
        "           1  newly allowed",
        "permit `OfA` no longer fails this condition",
        "when resource.shelf == \"open\"",
        "policies.cedar:3:",
    ] {
        assert!(shown.contains(expected), "{shown}");
    }
    let json = shadow(&home, &service, &["--output", "json", "--fail-on", "newly-denied"]);
    assert_eq!(json.status.code(), Some(0));
    let json: Json = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(
        (&json["report"]["changes"]["newly_allowed"], &json["report"]["started_by"]),
        (&1.into(), &"local".into())
    );

    fs::write(candidate.join("policies.cedar"), "permit (principal, action, resource) when { principal.kin };")
        .unwrap();
    let refused = shadow(&home, &service, &["start", "candidate"]);
    let shown = text(&refused);
    assert_eq!(refused.status.code(), Some(1));
    assert!(shown.contains("candidate/policies.cedar:1:") && shown.contains("no shadow started"), "{shown}");
    assert_eq!(report(&service).await.unwrap().compared, 3, "the one before goes on");

    let stopped = shadow(&home, &service, &["stop"]);
    assert!(stopped.status.success() && text(&stopped).contains("shadow stopped"), "{stopped:?}");
    assert_eq!(report(&service).await, None);
    assert_eq!(shadow(&home, &service, &["stop"]).status.code(), Some(2), "there is none to stop");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_folder_that_the_configuration_names_is_a_shadow_that_follows_it() {
    let (mut home, folder) = home();
    let candidate = home.path("candidate");
    write_candidate(&candidate);
    "shadow = \"candidate\"\n".clone_into(&mut home.realm_keys);
    let service = home.start().await;
    eventually("the shadow is started", async || report(&service).await.is_some()).await;
    let first = report(&service).await.unwrap();
    assert_eq!(first.started_by, "configuration");
    ask(&home, &service).await;
    eventually("the shadow compares", async || allowed(&service).await == 1).await;

    write(&candidate, &files("A"));
    eventually("the shadow follows", async || report(&service).await.unwrap().policy_version != first.policy_version)
        .await;
    fs::write(candidate.join("schema.cedarschema"), "entity").unwrap();
    let faults = async || {
        let request = pb::GetShadowRequest { realm: REALM.to_owned() };
        service.policies().get_shadow(request).await.unwrap().into_inner().faults
    };
    // A file that is half written has other faults, until it is looked at again.
    let is_schema = async || faults().await.first().is_some_and(|fault| fault.file == "schema.cedarschema");
    eventually("the faults are shown", is_schema).await;
    assert!(service.stderr().contains("shadow refused: "), "{}", service.stderr());
    let realm = super::realm::shown(&service).await;
    assert_eq!((realm.last_faults.len(), realm.state()), (0, pb::PolicyState::Current), "the realm has no fault");
    super::realm::decides(&home, &service, "A").await;
    drop(folder);
}
