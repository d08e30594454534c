//! The realm of docs/realms.md answers the decisions of AuthZEN's Todo scenario.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hallpass::proto::v1::{self as pb, authorization_service_client::AuthorizationServiceClient};
use serde_json::{Value as Json, json};
use tonic::transport::Channel;

use super::page;
use crate::pages::{Reader, Step, steps};
use crate::support::text;

/// The people of the scenario and their roles, in the order of their ids.
const PEOPLE: [(&str, &[&str]); 5] = [
    ("rick@the-citadel.com", &["admin", "evil_genius"]),
    ("morty@the-citadel.com", &["editor"]),
    ("summer@the-smiths.com", &["editor"]),
    ("beth@the-smiths.com", &["viewer"]),
    ("jerry@the-smiths.com", &["viewer"]),
];

/// A person's id: what the scenario's login calls it, a number and where it comes from in one opaque text.
fn id(person: usize) -> String {
    STANDARD_NO_PAD.encode(format!("\n$fd{person}614d3-c39a-4781-b7bd-8b96f5a5100d\u{12}\u{5}local"))
}

/// The folder with the decisions; says so where there is none.
fn folder() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HALLPASS_SHARED").map_or_else(beside, PathBuf::from).join("authzen/todo");
    if folder.is_dir() {
        return Some(folder);
    }
    println!("SKIPPED: no decisions of the Todo scenario at {}", folder.display());
    None
}

/// The service of the page before its rules are changed, with the scenario's people.
fn start() -> Reader {
    let mut reader = Reader::new();
    let steps = steps(&page());
    let is_reload = |step: &&Step| matches!(step, Step::Run { command, .. } if command.starts_with("hallpass reload"));
    for step in steps.iter().take_while(|step| !is_reload(step)) {
        // The page's own people are no people of the scenario.
        if !matches!(step, Step::Run { command, .. } if command.contains("relationships") || command.contains("authorize"))
        {
            reader.follow(step);
        }
    }
    let records: Vec<String> = PEOPLE
        .iter()
        .enumerate()
        .map(|(person, (email, roles))| json!({ "id": id(person), "email": email, "roles": roles }).to_string())
        .collect();
    let content = records.join("\n") + "\n";
    reader.follow(&Step::Write { path: "people/users.ndjson".to_owned(), content });
    let command = "hallpass relationships import people".to_owned();
    let shown = reader.follow(&Step::Run { command, shown: String::new() }).unwrap();
    assert!(shown.contains("5 accepted"), "{shown}");
    reader
}

/// The token that the page has its reader make, of somebody else.
fn token(reader: &mut Reader, subject: &str) -> String {
    let command = format!(
        "hallpass token issue --key issuer.pem --issuer https://login.todo.example --claim aud=todo --claim sub={subject}"
    );
    reader.follow(&Step::Run { command, shown: String::new() }).unwrap().trim().to_owned()
}

/// A question of the scenario; what it leaves empty is taken from elsewhere.
fn question(request: &Json) -> pb::AuthorizeRequest {
    let resource = request.get("resource").map(|resource| pb::Resource {
        r#type: resource["type"].as_str().unwrap().to_owned(),
        id: resource["id"].as_str().unwrap().to_owned(),
        has_attributes: resource.get("properties").is_some(),
        attributes: resource["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), text(value.as_str().unwrap())))
            .collect(),
        ..pb::Resource::default()
    });
    let action = request["action"]["name"].as_str().unwrap_or_default().to_owned();
    pb::AuthorizeRequest { action, resource, ..pb::AuthorizeRequest::default() }
}

struct Asker {
    reader: Reader,
    client: AuthorizationServiceClient<Channel>,
}

impl Asker {
    async fn one(&mut self, request: &Json) -> bool {
        let token = token(&mut self.reader, request["subject"]["id"].as_str().unwrap());
        let question = pb::AuthorizeRequest { token, ..question(request) };
        self.client.authorize(question).await.unwrap().into_inner().decision() == pb::Decision::Allow
    }

    async fn many(&mut self, request: &Json) -> Vec<bool> {
        let token = token(&mut self.reader, request["subject"]["id"].as_str().unwrap());
        let defaults = Some(pb::AuthorizeRequest { token, ..question(request) });
        let items = request["evaluations"].as_array().unwrap().iter().map(question).collect();
        let answer = self.client.batch_authorize(pb::BatchAuthorizeRequest { defaults, items }).await.unwrap();
        let results = answer.into_inner().results.into_iter();
        results
            .map(|result| match result.result {
                Some(pb::batch_authorize_result::Result::Response(answer)) => answer.decision() == pb::Decision::Allow,
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_todo_scenario_is_answered_by_the_realm_of_the_page() {
    let Some(folder) = folder() else { return };
    let reader = start();
    let client = AuthorizationServiceClient::connect(format!("http://{}", reader.address)).await.unwrap();
    let mut asker = Asker { reader, client };
    let (mut checked, mut wrong) = (0, Vec::new());
    for name in ["decisions-authorization-api-1_0-01.json", "decisions-authorization-api-1_0-02.json"] {
        let file: Json = std::fs::read_to_string(folder.join(name)).unwrap().parse().unwrap();
        for case in file["evaluation"].as_array().unwrap() {
            checked += 1;
            if asker.one(&case["request"]).await != case["expected"].as_bool().unwrap() {
                wrong.push(case.to_string());
            }
        }
        for case in file["evaluations"].as_array().into_iter().flatten() {
            let expected: Vec<bool> =
                case["expected"].as_array().unwrap().iter().map(|one| one["decision"].as_bool().unwrap()).collect();
            checked += expected.len();
            if asker.many(&case["request"]).await != expected {
                wrong.push(case.to_string());
            }
        }
    }
    println!("{checked} decisions checked");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(checked, 86);
}
