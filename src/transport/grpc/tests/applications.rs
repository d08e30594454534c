//! Applications, and the tokens that stand for them.

use std::{collections::HashMap, sync::atomic::Ordering};

use prost_types::Timestamp;
use serde_json::json;
use tonic::{Code, Status};

use super::{
    authorize, reason, violations,
    world::{NOW, REALM, World, files, text},
};
use crate::{
    domain::application::TokenDigest,
    proto::v1::{self as pb, application_service_client::ApplicationServiceClient, value::Kind},
};

type Client = ApplicationServiceClient<tonic::transport::Channel>;

const SECRET: &str = "a secret that nobody guesses";

fn client(world: &World) -> Client {
    ApplicationServiceClient::new(world.channel.clone())
}

fn texts(texts: &[&str]) -> pb::Value {
    let values = texts.iter().map(|each| text(each)).collect();
    pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values })) }
}

fn schools(schools: &[&str]) -> HashMap<String, pb::Value> {
    HashMap::from([("schools".to_owned(), texts(schools))])
}

/// The application that [`World::token`] names, with these schools.
pub(super) fn application(ids: &[&str]) -> pb::Application {
    pb::Application {
        id: "client".to_owned(),
        title: "A client".to_owned(),
        attributes: schools(ids),
        ..pb::Application::default()
    }
}

fn putting(application: pb::Application) -> pb::PutApplicationRequest {
    pb::PutApplicationRequest {
        realm: REALM.to_owned(),
        application: Some(application),
        secret: SECRET.to_owned(),
        secret_hash: String::new(),
    }
}

pub(super) async fn put(world: &World, application: pb::Application) -> bool {
    client(world).put_application(putting(application)).await.unwrap().into_inner().created
}

fn asking(secret: &str) -> pb::IssueTokenRequest {
    pb::IssueTokenRequest {
        realm: REALM.to_owned(),
        id: "client".to_owned(),
        secret: secret.to_owned(),
        ..pb::IssueTokenRequest::default()
    }
}

pub(super) async fn issue(world: &World, narrowed: HashMap<String, pb::Value>) -> String {
    let request = pb::IssueTokenRequest { narrowed, ..asking(SECRET) };
    client(world).issue_token(request).await.unwrap().into_inner().token
}

fn sha256(token: &str) -> String {
    TokenDigest::of(token).to_string()
}

fn registering(token: &str, seconds: i64) -> pb::RegisterTokenRequest {
    pb::RegisterTokenRequest {
        realm: REALM.to_owned(),
        id: "client".to_owned(),
        token_sha256: sha256(token),
        expires_at: Some(Timestamp { seconds: NOW + seconds, nanos: 0 }),
        narrowed: HashMap::new(),
    }
}

pub(super) async fn revoke(world: &World, token: &str) -> bool {
    let request = pb::RevokeTokenRequest { realm: REALM.to_owned(), token_sha256: sha256(token) };
    client(world).revoke_token(request).await.unwrap().into_inner().found
}

/// The first reason of the answer to whether the token's holder may read the file of a student.
async fn asked(world: &World, token: &str, student: &str) -> String {
    let question = pb::AuthorizeRequest { token: token.to_owned(), ..world.question(student, "") };
    authorize(world, question).await.unwrap().reasons[0].code.clone()
}

fn refused(status: &Status) -> (Code, String) {
    (status.code(), reason(status))
}

/// A world where `ada` is at school 1 and `ben` at school 2.
async fn world() -> World {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    world.enrol("ben", "2").await;
    world
}

#[tokio::test]
async fn an_opaque_token_stands_for_its_application() {
    let world = world().await;
    assert_eq!(asked(&world, "hpt_x", "ada").await, "TOKEN_FORMAT", "without applications there are no opaque tokens");
    assert!(put(&world, application(&["1", "2"])).await);
    assert_eq!(asked(&world, "hpt_x", "ada").await, "TOKEN_UNKNOWN");

    let issued = client(&world).issue_token(asking(SECRET)).await.unwrap().into_inner();
    assert!(issued.token.starts_with("hpt_") && issued.token.len() == 47, "{}", issued.token.len());
    assert_eq!(issued.expires_at_seconds, NOW + 1_800);
    assert_ne!(issue(&world, HashMap::new()).await, issued.token);
    for (student, expected) in [("ada", "PERMITTED"), ("ben", "PERMITTED"), ("eve", "RELATIONSHIP_MISSING")] {
        assert_eq!(asked(&world, &issued.token, student).await, expected, "{student}");
    }
    let narrow = issue(&world, schools(&["1"])).await;
    for (student, expected) in [("ada", "PERMITTED"), ("ben", "RELATIONSHIP_MISSING")] {
        assert_eq!(asked(&world, &narrow, student).await, expected, "{student}");
    }
    let recorded = world.log.records().last().unwrap().record.clone();
    assert_eq!((&*recorded.principal.unwrap().id, &*recorded.issuer), ("client", "hallpass:application"));
}

#[tokio::test]
async fn an_opaque_token_finds_its_realm_and_comes_as_a_bearer_token() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let token = issue(&world, HashMap::new()).await;
    for (realm, scheme, expected) in [
        ("", "", "PERMITTED"),
        ("", "bearer", "PERMITTED"),
        (REALM, "Bearer", "PERMITTED"),
        (REALM, "DPoP", "TOKEN_SCHEME_MISMATCH"),
    ] {
        let question = pb::AuthorizeRequest {
            realm: realm.to_owned(),
            token: token.clone(),
            token_scheme: scheme.to_owned(),
            ..world.question("ada", "")
        };
        let answer = authorize(&world, question).await.unwrap();
        assert_eq!(answer.reasons[0].code, expected, "{realm} {scheme}");
    }
    let info = pb::GetTokenInfoRequest { realm: String::new(), token, ..Default::default() };
    let mut client = pb::authorization_service_client::AuthorizationServiceClient::new(world.channel.clone());
    let info = client.get_token_info(info).await.unwrap().into_inner();
    assert!(info.active);
}

#[tokio::test]
async fn every_change_counts_from_the_next_decision_on_though_the_token_was_verified() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let (opaque, jwt) = (issue(&world, HashMap::new()).await, world.token("2"));
    let check = async |expected: [&str; 4]| {
        for _ in 0..2 {
            let found = [
                asked(&world, &opaque, "ada").await,
                asked(&world, &opaque, "ben").await,
                asked(&world, &jwt, "ada").await,
                asked(&world, &jwt, "ben").await,
            ];
            assert_eq!(found, expected);
        }
    };
    check(["PERMITTED", "RELATIONSHIP_MISSING", "RELATIONSHIP_MISSING", "PERMITTED"]).await;
    assert!(!put(&world, application(&["2"])).await);
    check(["RELATIONSHIP_MISSING", "PERMITTED", "RELATIONSHIP_MISSING", "PERMITTED"]).await;
    put(&world, pb::Application { disabled: true, ..application(&["2"]) }).await;
    check(["TOKEN_APPLICATION_DISABLED"; 4]).await;
    put(&world, pb::Application { expires_at: Some(Timestamp { seconds: NOW, nanos: 0 }), ..application(&["2"]) })
        .await;
    check(["TOKEN_APPLICATION_EXPIRED"; 4]).await;
    put(&world, application(&["1", "2"])).await;
    check(["PERMITTED", "PERMITTED", "RELATIONSHIP_MISSING", "PERMITTED"]).await;
    assert!(revoke(&world, &opaque).await);
    check(["TOKEN_UNKNOWN", "TOKEN_UNKNOWN", "RELATIONSHIP_MISSING", "PERMITTED"]).await;
    assert!(!revoke(&world, &opaque).await);
}

#[tokio::test]
async fn what_a_jwt_does_not_say_comes_from_its_application() {
    let world = world().await;
    let silent = world.token_saying(&serde_json::json!({}));
    assert_eq!(asked(&world, &silent, "ada").await, "RELATIONSHIP_MISSING");
    put(&world, application(&["1"])).await;
    assert_eq!(asked(&world, &silent, "ada").await, "PERMITTED");
    assert_eq!(
        asked(&world, &world.token_saying(&serde_json::json!({ "schools": "" })), "ada").await,
        "RELATIONSHIP_MISSING"
    );
    let other = world.token_saying(&serde_json::json!({ "client_id": "other" }));
    assert_eq!(asked(&world, &other, "ada").await, "RELATIONSHIP_MISSING");
    let request = pb::DeleteApplicationRequest { realm: REALM.to_owned(), id: "client".to_owned() };
    client(&world).delete_application(request).await.unwrap();
    assert_eq!(asked(&world, &silent, "ada").await, "RELATIONSHIP_MISSING");
}

#[tokio::test]
async fn a_verification_under_way_does_not_bring_the_old_application_back() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let silent = world.token_saying(&serde_json::json!({}));
    let closed = world.keys.door.acquire().await.unwrap();
    let question = pb::AuthorizeRequest { token: silent.clone(), ..world.question("ada", "") };
    let waiting = {
        let mut client = pb::authorization_service_client::AuthorizationServiceClient::new(world.channel.clone());
        tokio::spawn(async move { client.authorize(question).await.unwrap().into_inner() })
    };
    world.keys.arrivals.acquire().await.unwrap().forget();
    put(&world, pb::Application { disabled: true, ..application(&["1"]) }).await;
    drop(closed);
    assert_eq!(waiting.await.unwrap().reasons[0].code, "TOKEN_APPLICATION_DISABLED");
    assert_eq!(asked(&world, &silent, "ada").await, "TOKEN_APPLICATION_DISABLED");
    assert!(world.app.tokens.is_empty(), "what was verified before the change is not kept");
}

#[tokio::test]
async fn a_deleted_application_takes_its_tokens_along() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    put(&world, pb::Application { id: "other".to_owned(), ..application(&["1"]) }).await;
    let tokens = [issue(&world, HashMap::new()).await, issue(&world, schools(&[])).await];
    let others = {
        let request = pb::IssueTokenRequest { id: "other".to_owned(), ..asking(SECRET) };
        client(&world).issue_token(request).await.unwrap().into_inner().token
    };
    assert_eq!(asked(&world, &tokens[0], "ada").await, "PERMITTED");
    let request = || pb::DeleteApplicationRequest { realm: REALM.to_owned(), id: "client".to_owned() };
    assert_eq!(client(&world).delete_application(request()).await.unwrap().into_inner().tokens, 2);
    for token in &tokens {
        assert_eq!(asked(&world, token, "ada").await, "TOKEN_UNKNOWN");
    }
    assert_eq!((asked(&world, &others, "ada").await, world.applications.tokens()), ("PERMITTED".to_owned(), 1));
    let again = client(&world).delete_application(request()).await.unwrap_err();
    assert_eq!(refused(&again), (Code::NotFound, "APPLICATION_UNKNOWN".to_owned()));
    // Its id does not bring the tokens back.
    put(&world, application(&["1"])).await;
    assert_eq!(asked(&world, &tokens[0], "ada").await, "TOKEN_UNKNOWN");
}

#[tokio::test]
async fn unknown_applications_and_wrong_secrets_are_answered_alike() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    put(&world, pb::Application { id: "disabled".to_owned(), disabled: true, ..application(&["1"]) }).await;
    let request = pb::PutApplicationRequest {
        secret: String::new(),
        ..putting(pb::Application { id: "secretless".to_owned(), ..application(&["1"]) })
    };
    client(&world).put_application(request).await.unwrap();
    let mut answers = Vec::new();
    for (id, secret) in [
        ("client", "another secret entirely"),
        ("client", ""),
        ("nobody", SECRET),
        ("", SECRET),
        ("secretless", SECRET),
        ("secretless", ""),
        ("disabled", "another secret entirely"),
    ] {
        let request = pb::IssueTokenRequest { id: id.to_owned(), ..asking(secret) };
        let status = client(&world).issue_token(request).await.unwrap_err();
        answers.push((refused(&status), status.message().to_owned()));
    }
    assert_eq!(answers[0].0, (Code::Unauthenticated, "APPLICATION_NOT_PROVEN".to_owned()));
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let request = pb::IssueTokenRequest { id: "disabled".to_owned(), ..asking(SECRET) };
    let status = client(&world).issue_token(request).await.unwrap_err();
    assert_eq!(refused(&status), (Code::FailedPrecondition, "APPLICATION_NOT_IN_USE".to_owned()));
}

#[tokio::test]
async fn a_secret_stays_until_another_one_comes() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let keeping = pb::PutApplicationRequest { secret: String::new(), ..putting(application(&["2"])) };
    client(&world).put_application(keeping).await.unwrap();
    issue(&world, HashMap::new()).await;
    let other =
        pb::PutApplicationRequest { secret: "the next secret of it".to_owned(), ..putting(application(&["2"])) };
    client(&world).put_application(other).await.unwrap();
    assert_eq!(client(&world).issue_token(asking(SECRET)).await.unwrap_err().code(), Code::Unauthenticated);
    client(&world).issue_token(asking("the next secret of it")).await.unwrap();

    // Of `password`, in the tests of the reference implementation of Argon2.
    let hash = "$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc";
    let brought = pb::PutApplicationRequest {
        secret: String::new(),
        secret_hash: hash.to_owned(),
        ..putting(application(&["2"]))
    };
    client(&world).put_application(brought).await.unwrap();
    client(&world).issue_token(asking("password")).await.unwrap();
    let status = client(&world).issue_token(asking("the next secret of it")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
}

#[tokio::test]
async fn every_fault_of_a_request_is_named_and_no_secret_comes_back() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let wrong = pb::PutApplicationRequest {
        secret: "too short".to_owned(),
        secret_hash: "$argon2i$v=19$m=1,t=1,p=1$c2FsdA$aGFzaA".to_owned(),
        ..putting(pb::Application {
            id: String::new(),
            title: "x".repeat(201),
            attributes: HashMap::from([("colleges".to_owned(), text("x")), ("schools".to_owned(), text("x"))]),
            expires_at: Some(Timestamp { seconds: -1, nanos: 0 }),
            ..pb::Application::default()
        })
    };
    let status = client(&world).put_application(wrong).await.unwrap_err();
    let expected = [
        "application.attributes.colleges",
        "application.attributes.schools",
        "application.expires_at",
        "application.id",
        "application.title",
        "secret",
        "secret_hash",
        "secret_hash",
    ];
    assert_eq!(violations(&status), expected);
    assert!(!format!("{status:?}").contains("too short"), "{status:?}");

    let request = pb::IssueTokenRequest { lifetime_seconds: 86_401, ..asking(SECRET) };
    assert_eq!(violations(&client(&world).issue_token(request).await.unwrap_err()), ["lifetime_seconds"]);
    for narrowed in [schools(&["2"]), HashMap::from([("schools".to_owned(), text("1"))])] {
        let request = pb::IssueTokenRequest { narrowed, ..asking(SECRET) };
        assert_eq!(violations(&client(&world).issue_token(request).await.unwrap_err()), ["narrowed.schools"]);
    }
    let request = pb::RegisterTokenRequest { token_sha256: "token".into(), expires_at: None, ..registering("", 1) };
    assert_eq!(violations(&client(&world).register_token(request).await.unwrap_err()), ["expires_at", "token_sha256"]);
    for seconds in [0, -1, 366 * 86_400 + 1] {
        let status = client(&world).register_token(registering("token", seconds)).await.unwrap_err();
        assert_eq!(violations(&status), ["expires_at"], "{seconds}");
    }
}

#[tokio::test]
async fn a_registered_token_counts_until_it_ends_and_is_then_forgotten() {
    let world = world().await;
    put(&world, application(&["1", "2"])).await;
    let narrowed = pb::RegisterTokenRequest { narrowed: schools(&["2"]), ..registering("a-guid", 600) };
    client(&world).register_token(narrowed).await.unwrap();
    assert_eq!(asked(&world, "a-guid", "ada").await, "RELATIONSHIP_MISSING");
    // The same token again replaces what was said of it.
    client(&world).register_token(registering("a-guid", 600)).await.unwrap();
    assert_eq!(asked(&world, "a-guid", "ada").await, "PERMITTED");

    put(&world, pb::Application { id: "other".to_owned(), ..application(&["1"]) }).await;
    let taken = pb::RegisterTokenRequest { id: "other".to_owned(), ..registering("a-guid", 600) };
    let status = client(&world).register_token(taken).await.unwrap_err();
    assert_eq!(refused(&status), (Code::FailedPrecondition, "APPLICATION_TOKEN_TAKEN".to_owned()));
    let unknown = pb::RegisterTokenRequest { id: "nobody".to_owned(), ..registering("b-guid", 600) };
    let status = client(&world).register_token(unknown).await.unwrap_err();
    assert_eq!(refused(&status), (Code::NotFound, "APPLICATION_UNKNOWN".to_owned()));

    world.clock.pass(599);
    assert_eq!(asked(&world, "a-guid", "ada").await, "PERMITTED");
    world.clock.pass(1);
    assert_eq!(asked(&world, "a-guid", "ada").await, "TOKEN_EXPIRED");
    put(&world, application(&["1"])).await;
    assert_eq!((asked(&world, "a-guid", "ada").await, world.applications.tokens()), ("TOKEN_EXPIRED".to_owned(), 1));
    world.clock.pass(86_400);
    put(&world, application(&["1"])).await;
    assert_eq!((asked(&world, "a-guid", "ada").await, world.applications.tokens()), ("TOKEN_UNKNOWN".to_owned(), 0));
}

#[tokio::test]
async fn an_application_that_ends_ends_its_tokens() {
    let world = world().await;
    let expires_at = Some(Timestamp { seconds: NOW + 300, nanos: 0 });
    put(&world, pb::Application { expires_at, ..application(&["1"]) }).await;
    let issued = client(&world).issue_token(asking(SECRET)).await.unwrap().into_inner();
    assert_eq!(issued.expires_at_seconds, NOW + 300);
    client(&world).register_token(registering("a-guid", 600)).await.unwrap();
    let jwt = world.token("1");
    for (token, then) in [
        (&*issued.token, "TOKEN_EXPIRED"),
        ("a-guid", "TOKEN_APPLICATION_EXPIRED"),
        (&jwt, "TOKEN_APPLICATION_EXPIRED"),
    ] {
        assert_eq!(asked(&world, token, "ada").await, "PERMITTED");
        world.clock.pass(300);
        assert_eq!(asked(&world, token, "ada").await, then);
        world.clock.pass(-300);
    }
}

#[tokio::test]
async fn an_application_has_so_many_tokens_and_makes_room_of_those_that_ended() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    for number in 0..900 {
        let seconds = if number < 2 { 60 } else { 600 };
        client(&world).register_token(registering(&format!("token {number}"), seconds)).await.unwrap();
    }
    let one_more = || client(&world);
    let status = one_more().register_token(registering("one more", 600)).await.unwrap_err();
    assert_eq!(refused(&status), (Code::ResourceExhausted, "LIMIT_EXCEEDED".to_owned()));
    // One that is there already needs no room.
    one_more().register_token(registering("token 5", 700)).await.unwrap();
    world.clock.pass(60);
    one_more().register_token(registering("one more", 600)).await.unwrap();
    assert_eq!(world.applications.tokens(), 899);
    let request = pb::DeleteApplicationRequest { realm: REALM.to_owned(), id: "client".to_owned() };
    assert_eq!(client(&world).delete_application(request).await.unwrap().into_inner().tokens, 899);
    assert_eq!(world.applications.tokens(), 0);
}

#[tokio::test]
async fn applications_are_shown_and_listed_page_by_page_without_their_secrets() {
    let world = world().await;
    for id in ["c", "a", "b"] {
        put(&world, pb::Application { id: id.to_owned(), has_secret: false, ..application(&["2", "1"]) }).await;
    }
    let get = pb::GetApplicationRequest { realm: REALM.to_owned(), id: "a".to_owned() };
    let shown = client(&world).get_application(get).await.unwrap().into_inner().application.unwrap();
    assert!(shown.has_secret && shown.title == "A client" && !shown.disabled);
    let Some(Kind::ListValue(list)) = &shown.attributes["schools"].kind else { panic!("{shown:?}") };
    assert_eq!(list.values.len(), 2);
    // What was shown can be put as it is.
    client(&world).put_application(putting(shown)).await.unwrap();

    let mut request = pb::ListApplicationsRequest { realm: REALM.to_owned(), page_size: 2, page_token: String::new() };
    let first = client(&world).list_applications(request.clone()).await.unwrap().into_inner();
    let ids =
        |page: &pb::ListApplicationsResponse| page.applications.iter().map(|each| each.id.clone()).collect::<String>();
    assert_eq!(ids(&first), "ab");
    request.page_token = first.next_page_token.clone();
    let delete = pb::DeleteApplicationRequest { realm: REALM.to_owned(), id: "b".to_owned() };
    client(&world).delete_application(delete).await.unwrap();
    let second = client(&world).list_applications(request.clone()).await.unwrap().into_inner();
    assert_eq!((ids(&second), &*second.next_page_token), ("c".to_owned(), ""));
    request.realm = "south".to_owned();
    assert_eq!(violations(&client(&world).list_applications(request).await.unwrap_err()), ["page_token"]);
    let get = pb::GetApplicationRequest { realm: REALM.to_owned(), id: "b".to_owned() };
    let status = client(&world).get_application(get).await.unwrap_err();
    assert_eq!(refused(&status), (Code::NotFound, "APPLICATION_UNKNOWN".to_owned()));
}

#[tokio::test]
async fn a_write_that_fails_is_not_acknowledged_and_the_next_one_reads_what_was_kept() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let token = issue(&world, HashMap::new()).await;
    world.applications.is_failing.store(true, Ordering::Relaxed);
    let request = pb::RevokeTokenRequest { realm: REALM.to_owned(), token_sha256: sha256(&token) };
    let status = client(&world).revoke_token(request).await.unwrap_err();
    assert_eq!(refused(&status), (Code::Unavailable, "RELATIONSHIP_STORE_UNAVAILABLE".to_owned()));
    assert_eq!(asked(&world, &token, "ada").await, "PERMITTED");
    world.applications.is_failing.store(false, Ordering::Relaxed);
    assert!(!revoke(&world, &token).await, "it was kept after all");
    assert_eq!(asked(&world, &token, "ada").await, "TOKEN_UNKNOWN");
}

#[tokio::test]
async fn a_record_counts_for_the_clients_of_an_issuer_that_vouches_for_applications() {
    let world = world().await;
    put(&world, application(&["1"])).await;
    let one = "[[issuers]]\nissuer = \"https://idp.example\"";
    let other = "[[issuers]]\nissuer = \"https://other.example\"\naudiences = []\nalgorithms = [\"EdDSA\"]\nkeys = { file = \"k\" }";
    // The token of the first issuer names no schools, so that they come from the record or from nowhere.
    for (issuers, expected) in [
        (one.to_owned(), "PERMITTED"),
        (format!("{other}\n{one}"), "RELATIONSHIP_MISSING"),
        (format!("{other}\n{one}\napplications = true"), "PERMITTED"),
        (format!("{one}\napplications = false"), "RELATIONSHIP_MISSING"),
    ] {
        let mut files = files();
        let realm = files.iter_mut().find(|file| file.path == "realm.toml").unwrap();
        realm.content = realm.content.replace(one, &issuers);
        *world.source.0.lock().unwrap() = Some(files);
        let (_, faults) = world.app.reload_policies(REALM).await.unwrap();
        assert_eq!(faults, []);
        assert_eq!(asked(&world, &world.token_saying(&json!({})), "ada").await, expected, "{issuers}");
    }
}

#[test]
fn an_application_on_its_way_in_prints_neither_secret_nor_hash() {
    let request = pb::PutApplicationRequest {
        secret: "correct horse battery".to_owned(),
        secret_hash: "$argon2id$v=19$x".to_owned(),
        ..pb::PutApplicationRequest::default()
    };
    let put = crate::transport::grpc::convert::applications::put(request).unwrap();
    let shown = format!("{put:?}");
    assert!(!shown.contains("horse") && !shown.contains("argon2id"), "{shown}");
}
