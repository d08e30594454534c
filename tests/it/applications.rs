//! Applications and opaque tokens against the service as a process: what is kept, and what is never shown.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use hallpass::{
    app::ports::Clock as _,
    domain::application::TokenDigest,
    proto::v1::{
        self as pb, application_service_client::ApplicationServiceClient,
        authorization_service_client::AuthorizationServiceClient, value::Kind,
    },
    provider::clock::SystemClock,
};
use prost_types::Timestamp;
use tonic::{Code, transport::Channel};

use crate::support::{Home, REALM, Service, creating, enrolled_at, reading_student, text};

const SECRET: &str = "correct horse battery staple";

async fn applications(service: &Service) -> ApplicationServiceClient<Channel> {
    ApplicationServiceClient::connect(format!("http://{}", service.address)).await.unwrap()
}

fn organizations(ids: &[&str]) -> pb::Value {
    pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values: ids.iter().map(|id| text(id)).collect() })) }
}

/// An application that may do what `SISVendor` may, in these organizations.
fn application(id: &str, claim_set: &str, ids: &[&str]) -> pb::PutApplicationRequest {
    let attributes = HashMap::from([
        ("claimSet".to_owned(), text(claim_set)),
        ("educationOrganizations".to_owned(), organizations(ids)),
    ]);
    let application = pb::Application { id: id.to_owned(), attributes, ..pb::Application::default() };
    pb::PutApplicationRequest {
        realm: REALM.to_owned(),
        application: Some(application),
        ..pb::PutApplicationRequest::default()
    }
}

fn registering(id: &str, token: &str) -> pb::RegisterTokenRequest {
    pb::RegisterTokenRequest {
        realm: REALM.to_owned(),
        id: id.to_owned(),
        token_sha256: TokenDigest::of(token).to_string(),
        expires_at: Some(Timestamp { seconds: SystemClock.now_seconds() + 3_600, nanos: 0 }),
        narrowed: HashMap::new(),
    }
}

/// The first reason of the answer to whether the token's holder may read the student.
async fn asked(service: &Service, token: &str, student: &str) -> String {
    let answer = service.authorization().authorize(reading_student(token, student)).await.unwrap().into_inner();
    answer.reasons[0].code.clone()
}

/// Runs a verb of `hallpass applications`: its exit code, what it printed, what it noted.
fn run(service: &Service, arguments: &[&str], input: &str) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
    command.arg("applications").args(arguments).args(["--address", &service.address, "--realm", REALM]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = process.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim_end().to_owned();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What a verb printed that must succeed.
fn fine(service: &Service, arguments: &[&str], input: &str) -> String {
    let (code, out, err) = run(service, arguments, input);
    assert_eq!(code, Some(0), "{arguments:?}: {out} {err}");
    out
}

/// The files below a folder in which one of these texts stands.
pub(crate) fn files_with(folder: &Path, texts: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, texts));
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        let has = |text: &&&str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
        found.extend(texts.iter().find(has).map(|text| format!("{text} in {}", path.display())));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_line_keeps_applications_across_a_restart_and_shows_no_secret() {
    let mut home = Home::new();
    home.copy_rules();
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let mut service = home.start().await;
    let enrolments = vec![enrolled_at("1", "255901001"), enrolled_at("2", "255901044")];
    service.relationships().write_relationships(creating(enrolments)).await.unwrap();

    let attributes =
        ["--attribute", "claimSet=SISVendor", "--attribute", "educationOrganizations:=[255901001, \"255901044\"]"];
    let put = [&["put", "--id", "sis", "--title", "The SIS", "--secret-file", "-"][..], &attributes].concat();
    assert_eq!(fine(&service, &put, &format!("{SECRET}\n")), "created");
    let token = fine(&service, &["issue-token", "--id", "sis", "--secret-file", "-"], SECRET);
    let narrow = "educationOrganizations:=[\"255901044\"]";
    let narrowed = fine(&service, &["issue-token", "--id", "sis", "--secret-file", "-", "--narrow", narrow], SECRET);
    assert_eq!(
        fine(&service, &["register-token", "--id", "sis", "--token-file", "-", "--expires-in", "1h"], "a-guid"),
        "registered"
    );
    let (code, out, err) =
        run(&service, &["issue-token", "--id", "sis", "--secret-file", "-"], "another secret, as long");
    assert_eq!((code, &*out), (Some(2), ""));
    assert!(err.contains("APPLICATION_NOT_PROVEN") && !err.contains("as long"), "{err}");

    for restarted in [false, true] {
        if restarted {
            service.signal("TERM");
            service.ended().await;
            let log = service.stderr();
            assert!(
                log.contains("TRACE") && [SECRET, &token, &narrowed, "a-guid"].iter().all(|text| !log.contains(text))
            );
            service = home.start().await;
        }
        for (token, expected) in [
            (&*token, ["PERMITTED", "PERMITTED"]),
            ("a-guid", ["PERMITTED", "PERMITTED"]),
            (&narrowed, ["RELATIONSHIP_MISSING", "PERMITTED"]),
        ] {
            assert_eq!([asked(&service, token, "1").await, asked(&service, token, "2").await], expected);
        }
    }
    let shown: serde_json::Value = fine(&service, &["get", "--id", "sis", "--output", "json"], "").parse().unwrap();
    assert_eq!((&shown["title"], &shown["has_secret"]), (&"The SIS".into(), &true.into()));
    assert!(fine(&service, &["list"], "").contains("The SIS"));
    assert_eq!(files_with(&home.data, &[SECRET, &token, &narrowed, "a-guid"]), Vec::<String>::new());

    // Another claim set counts at once, though the token was verified before.
    let put = [
        "put",
        "--id",
        "sis",
        "--attribute",
        "claimSet=ABConnect",
        "--attribute",
        "educationOrganizations:=[255901001]",
    ];
    assert_eq!(fine(&service, &put, ""), "replaced");
    assert_eq!(asked(&service, &token, "1").await, "RESOURCE_NOT_GRANTED");
    assert_eq!(fine(&service, &["revoke-token", "--token-file", "-"], "a-guid"), "taken back");
    assert_eq!(run(&service, &["revoke-token", "--token-file", "-"], "a-guid").0, Some(1));
    assert_eq!(asked(&service, "a-guid", "2").await, "TOKEN_UNKNOWN");
    assert_eq!(fine(&service, &["delete", "--id", "sis"], ""), "deleted, and 2 tokens with it");
    assert_eq!(asked(&service, &token, "1").await, "TOKEN_FORMAT");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn applications_and_tokens_that_were_acknowledged_survive_kills() {
    let mut home = Home::new();
    home.copy_rules();
    let mut service = home.start().await;
    for round in 0..6 {
        let mut client = applications(&service).await;
        let (id, gone) = (format!("app {round}"), format!("gone {round}"));
        for id in [&id, &gone] {
            client.put_application(application(id, "SISVendor", &["255901001"])).await.unwrap();
            client.register_token(registering(id, &format!("token of {id}"))).await.unwrap();
        }
        let delete = pb::DeleteApplicationRequest { realm: REALM.to_owned(), id: gone };
        client.delete_application(delete).await.unwrap();
        service.kill();
        service = home.start().await;
        for earlier in 0..=round {
            assert_eq!(
                asked(&service, &format!("token of app {earlier}"), "1").await,
                "RELATIONSHIP_MISSING",
                "{round}"
            );
            assert_eq!(asked(&service, &format!("token of gone {earlier}"), "1").await, "TOKEN_UNKNOWN", "{round}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_wrong_secrets_leaves_decisions_their_time() {
    let mut home = Home::new();
    home.copy_rules();
    let service = home.start().await;
    let mut client = applications(&service).await;
    client.put_application(application("sis", "SISVendor", &["255901001"])).await.unwrap();
    client.register_token(registering("sis", "a-guid")).await.unwrap();
    let mut flood = tokio::task::JoinSet::new();
    for number in 0..200 {
        let mut client = client.clone();
        flood.spawn(async move {
            let (realm, id) = (REALM.to_owned(), format!("app {number}"));
            let request = pb::IssueTokenRequest { realm, id, secret: SECRET.to_owned(), ..Default::default() };
            client.issue_token(request).await.unwrap_err().code()
        });
    }
    let flood = tokio::spawn(flood.join_all());
    let mut answered = 0;
    while answered == 0 || !flood.is_finished() {
        assert_eq!(asked(&service, "a-guid", "1").await, "RELATIONSHIP_MISSING");
        answered += 1;
    }
    let codes = flood.await.unwrap();
    let count = |wanted| codes.iter().filter(|code| **code == wanted).count();
    let (refused, busy) = (count(Code::Unauthenticated), count(Code::ResourceExhausted));
    assert_eq!(refused + busy, 200, "{codes:?}");
    assert!(refused > 0 && busy > 0 && answered > 0, "{refused} {busy} {answered}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_are_taken_back_together_do_not_end_the_others() {
    let mut home = Home::new();
    home.copy_rules();
    let service = home.start().await;
    let client = service.authorization();
    let ask = |mut client: AuthorizationServiceClient<Channel>| async move {
        client
            .authorize(reading_student("no-such-token", "1"))
            .await
            .map(|answer| answer.into_inner().reasons[0].code.clone())
    };
    for _ in 0..20 {
        let stays = tokio::spawn(ask(client.clone()));
        let mut taken_back = tokio::task::JoinSet::new();
        for _ in 0..500 {
            taken_back.spawn(ask(client.clone()));
        }
        tokio::task::yield_now().await;
        taken_back.shutdown().await;
        assert_eq!(stays.await.unwrap().unwrap(), "TOKEN_FORMAT");
    }
}
