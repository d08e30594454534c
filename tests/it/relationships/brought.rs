//! Records with conditions, templates and lists: imported from a folder, and withdrawn with the next decision.

use std::{fs, path::PathBuf, process::Command};

use hallpass::{app::ports::Clock as _, proto::v1 as pb, provider::clock::SystemClock};
use serde_json::json;

use crate::support::{Home, ISSUER, REALM, Service, text};

const RULES: [(&str, &str); 5] = [
    (
        "realm.toml",
        r#"title = "Market"
[principal]
entity = "Party"
id = "client_id"
[resources]
entity = "Item"
file = "resources.json"
"#,
    ),
    (
        "schema.cedarschema",
        r"entity Register;
entity Agreement;
entity Shelf in [Shelf, Register];
entity Party in [Agreement, Register, Shelf];
entity Item { lacks: Set<String>, agreement?: Agreement, shelf?: Shelf };
action Read appliesTo { principal: [Party], resource: [Item], context: {} };
",
    ),
    (
        "resources.json",
        r#"{ "resources": { "marks": { "subjects": [{ "attribute": "agreement", "path": "agreement", "name": "Agreement" }] },
  "books": { "subjects": [{ "attribute": "shelf", "path": "shelf", "name": "Shelf" }] } } }"#,
    ),
    (
        "relations.toml",
        r#"[entities.Shelf]
path = "/"
[relations.takes]
subject = "Party"
object = "Agreement"
[relations.registered]
subject = "Party"
object = "Register"
[relations.keeps]
subject = "Shelf"
object = "Register"
[[records]]
resource = "consents"
key = ["id"]
[[records.relationships]]
relation = "takes"
subject = "consumer"
object = "{producer}|{schoolIdentifier}|{apis}"
when = { producerStatus = "accepted", consumerStatus = "accepted" }
[[records]]
resource = "parties"
key = ["name"]
[[records.relationships]]
relation = "registered"
subject = "clients"
object_id = "all"
[[records]]
resource = "shelves"
key = ["shelf"]
[[records.relationships]]
relation = "keeps"
subject = "shelf"
object_id = "open"
"#,
    ),
    (
        "policies.cedar",
        r#"@id("Agreed") permit (principal, action, resource)
when { resource has agreement && principal in resource.agreement && principal in Register::"all" };
@id("Open") permit (principal, action, resource)
when { resource has shelf && resource.shelf in Register::"open" };
"#,
    ),
];

fn home() -> Home {
    let mut home = Home::new();
    home.rules = home.path("market");
    fs::create_dir(&home.rules).unwrap();
    for (name, content) in RULES {
        fs::write(home.rules.join(name), content).unwrap();
    }
    home
}

/// Writes a folder of records, one file for each resource.
fn folder(home: &Home, files: &[(&str, &[serde_json::Value])]) -> PathBuf {
    let folder = home.path("records");
    fs::create_dir_all(&folder).unwrap();
    for (name, records) in files {
        let lines: Vec<String> = records.iter().map(ToString::to_string).collect();
        fs::write(folder.join(name), lines.join("\n")).unwrap();
    }
    folder
}

fn consent(id: u64, consumer: &str, apis: &serde_json::Value, status: &str) -> serde_json::Value {
    json!({
        "id": id, "producer": "sis", "consumer": consumer, "schoolIdentifier": "S|1", "apis": apis,
        "producerStatus": "accepted", "consumerStatus": status,
    })
}

/// Imports a folder by the command line, and gives what it printed.
fn import(service: &Service, folder: &PathBuf, is_clean: bool) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.args(["relationships", "import"]).arg(folder).args(["--address", &service.address]);
    let output = command.output().unwrap();
    assert_eq!(output.status.success(), is_clean, "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn check_reads(service: &Service, home: &Home, client: &str, (kind, id): (&str, &str), expected: bool) {
    let now_seconds = SystemClock.now_seconds();
    let claims = json!({"iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3_600, "client_id": client});
    let attribute = if kind == "marks" { "agreement" } else { "shelf" };
    let question = pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: home.sign(&claims),
        action: "Read".to_owned(),
        resource: Some(pb::Resource {
            r#type: kind.to_owned(),
            id: "i".to_owned(),
            attributes: [(attribute.to_owned(), text(id))].into(),
            has_attributes: true,
            ..pb::Resource::default()
        }),
        ..pb::AuthorizeRequest::default()
    };
    let answer = service.authorization().authorize(question).await.unwrap().into_inner();
    assert_eq!(answer.decision() == pb::Decision::Allow, expected, "{client} reads {kind} of {id}: {answer:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consent_counts_while_its_record_says_so_and_its_withdrawal_with_the_next_decision() {
    let home = home();
    let mut service = home.start().await;
    let both = json!(["marks", "absence"]);
    let files: [(&str, &[serde_json::Value]); 4] = [
        (
            "consents-0001.ndjson",
            &[
                consent(1, "lms", &both, "accepted"),
                consent(2, "shop", &json!("marks"), "pending"),
                consent(3, "lms", &json!([["marks"]]), "accepted"),
            ],
        ),
        ("parties.ndjson", &[json!({"name": "LMS", "clients": ["lms", "shop", "lms"]})]),
        ("shelves.ndjson", &[json!({"shelf": "a/b"})]),
        ("others.ndjson", &[json!({"id": 1})]),
    ];
    let records = folder(&home, &files);
    let said = import(&service, &records, false);
    assert!(said.contains("consents-0001.ndjson:3: `apis` is a list within a list, expected"), "{said}");
    assert!(said.contains(" 4 accepted, 4 of them new or changed, 1 skipped, 1 refused; revision 1"), "{said}");

    let marks = ("marks", "sis|S%7C1|marks");
    for (client, asked, expected) in [
        ("lms", marks, true),
        ("lms", ("marks", "sis|S%7C1|absence"), true),
        ("lms", ("marks", "sis|S|1|marks"), false),
        ("shop", marks, false),
        ("nobody", ("books", "a/b/c"), true),
        ("nobody", ("books", "a/bc"), false),
        ("nobody", ("books", "a"), false),
        ("nobody", ("books", "a/b//c"), false),
    ] {
        check_reads(&service, &home, client, asked, expected).await;
    }

    // Withdrawn for the one, given for the other; the same again changes nothing.
    let changed: [(&str, &[serde_json::Value]); 1] = [(
        "consents-0001.ndjson",
        &[consent(1, "lms", &both, "revoked"), consent(2, "shop", &json!("marks"), "accepted")],
    )];
    let records = folder(&home, &changed);
    let said = import(&service, &records, true);
    assert!(said.contains(" 4 accepted, 2 of them new or changed, 1 skipped, 0 refused; revision 2"), "{said}");
    for _ in 0..2 {
        check_reads(&service, &home, "lms", marks, false).await;
        check_reads(&service, &home, "lms", ("marks", "sis|S%7C1|absence"), false).await;
        check_reads(&service, &home, "shop", marks, true).await;
        service.kill();
        service = home.start().await;
    }
    let said = import(&service, &records, true);
    assert!(said.contains(" 4 accepted, 0 of them new or changed, 1 skipped, 0 refused; revision 2"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_store_cannot_keep_is_refused_alone() {
    let home = home();
    let service = home.start().await;
    let clients = |count: usize| (0..count).map(|place| format!("{place:03}{}", "x".repeat(300))).collect::<Vec<_>>();
    let files: [(&str, &[serde_json::Value]); 1] = [(
        "parties.ndjson",
        &[
            json!({"name": "few", "clients": clients(60)}),
            json!({"name": "many", "clients": clients(100)}),
            json!({"name": "more", "clients": (0..1_001).collect::<Vec<_>>()}),
            json!({"name": "most", "clients": (0..1_000).collect::<Vec<_>>()}),
        ],
    )];
    let said = import(&service, &folder(&home, &files), false);
    assert!(said.contains("parties.ndjson:2: takes 3") && said.contains("expected at most 24000\n"), "{said}");
    assert!(said.contains("parties.ndjson:3: brings more than 1000 relationships\n"), "{said}");
    assert!(said.contains(" 2 accepted, 2 of them new or changed, 0 skipped, 2 refused; revision 1"), "{said}");
}
