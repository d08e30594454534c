//! A tiny realm in versions that can be told apart by every answer, and a service that runs it.

use std::fs;
use std::path::{Path, PathBuf};

use hallpass::proto::v1 as pb;
use serde_json::json;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::support::{Home, REALM, Service, eventually};

/// A file of the realm and its content.
pub(super) type File = (&'static str, String);

/// The realm's files in the version of this letter. Whoever asks is known by what the token says of this version alone, so
/// policies of one version and a principal of another make a wrong answer.
pub(super) fn files(version: &str) -> Vec<File> {
    let lower = version.to_lowercase();
    let policies = format!(
        "@id(\"Of{version}\")\npermit (principal is Client, action == Action::\"Read\", resource is File)\n\
         when {{ principal.kind == \"{version}\" && resource.shelf == \"open\" }};\n\n\
         @id(\"No{version}\")\n@reason(\"CLOSED_IN_{version}\")\n@message(\"Closed in {version}.\")\n\
         forbid (principal is Client, action, resource is File)\nwhen {{ resource.shelf == \"closed\" }};\n"
    );
    let realm = format!(
        "title = \"{version}\"\n[principal]\nentity = \"Client\"\nid = \"client_id\"\n\
         [principal.attributes.kind]\nclaim = \"{lower}\"\n[trusted]\nFile = [\"shelf\"]\n"
    );
    let tests = format!(
        "principals: {{ one: {{ client_id: one, {lower}: {version} }}, other: {{ client_id: two, {lower}: Z }} }}\n\
         cases:\n\
         - {{ name: an open shelf, principal: one, action: Read, expect: ALLOW, resource: {{ type: File, attributes: {{ shelf: open }} }} }}\n\
         - {{ name: a closed shelf, principal: one, action: Read, expect: DENY, resource: {{ type: File, attributes: {{ shelf: closed }} }} }}\n\
         - {{ name: somebody else, principal: other, action: Read, expect: DENY, resource: {{ type: File, attributes: {{ shelf: open }} }} }}\n"
    );
    let schema = "entity Client { kind: String };\nentity File { shelf: String };\n\
                  action Read appliesTo { principal: [Client], resource: [File] };\n";
    vec![
        ("policies.cedar", policies),
        ("realm.toml", realm),
        ("relations.toml", String::new()),
        ("schema.cedarschema", schema.to_owned()),
        ("tests/shelves.yaml", tests),
    ]
}

/// Writes files below a folder.
pub(super) fn write(folder: &Path, files: &[File]) {
    for (path, content) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
}

/// A home whose realm is the tiny one in version A, looked at every 20 ms, and the realm's folder.
pub(super) fn home() -> (Home, PathBuf) {
    let mut home = Home::new();
    let folder = home.path("rules");
    write(&folder, &files("A"));
    home.rules.clone_from(&folder);
    "watch = \"20ms\"\n".clone_into(&mut home.keys);
    (home, folder)
}

/// A token of somebody whom every version knows.
pub(super) fn token(home: &Home) -> String {
    home.token_with("x", &[], &json!({ "a": "A", "b": "B", "c": "C" }))
}

/// The question for a file of a shelf.
pub(super) fn question(token: &str, shelf: &str) -> pb::AuthorizeRequest {
    let mut request = crate::support::reading(token, "File", "shelf", shelf);
    "f-1".clone_into(&mut request.resource.as_mut().unwrap().id);
    request
}

/// The realm as it decides now.
pub(super) async fn shown(service: &Service) -> pb::Realm {
    let request = pb::GetRealmRequest { realm: REALM.to_owned() };
    service.policies().get_realm(request).await.unwrap().into_inner().realm.unwrap()
}

/// Waits until the realm is in this state by the files of this title, and health says the same.
pub(super) async fn reaches(service: &Service, what: &str, title: &str, state: pb::PolicyState) -> pb::Realm {
    eventually(what, async || {
        let realm = shown(service).await;
        (realm.title.as_str(), realm.state()) == (title, state)
    })
    .await;
    let realm = shown(service).await;
    let expected = if realm.last_faults.is_empty() { ServingStatus::Serving } else { ServingStatus::NotServing };
    let name = format!("hallpass.v1.policies/{REALM}");
    eventually(what, async || service.health_of(&name).await == expected).await;
    assert_eq!(service.health().await, ServingStatus::Serving, "{what}: what decides is good");
    realm
}

/// Asks for both shelves: the answers must be those of this version.
pub(super) async fn decides(home: &Home, service: &Service, version: &str) {
    let digest = shown(service).await.policy_version;
    for (shelf, expected) in [("open", pb::Decision::Allow), ("closed", pb::Decision::Deny)] {
        let answer = service.authorization().authorize(question(&token(home), shelf)).await.unwrap().into_inner();
        assert_eq!((answer.decision(), &answer.policy_version), (expected, &digest), "{shelf} {answer:?}");
        let rule = if shelf == "open" { format!("Of{version}") } else { format!("No{version}") };
        assert_eq!(answer.determining_policies, [rule], "{shelf}");
    }
}
