//! Answers that take longer than they may: given up, whoever set the time and by whatever way was asked, and never an allow.
//! What was decided until then is on record.

use hallpass::proto::{
    envoy::service::auth::v3::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Request as Held},
        authorization_client::AuthorizationClient,
    },
    v1 as pb,
};
use serde_json::{Value as Json, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::{
    introspection::{SILENT, trust},
    issuer_server::IssuerServer,
    support::{Home, REALM, Service, eventually, reading_student},
    token_info::client,
};

/// A service with these limits that asks an issuer about opaque tokens.
async fn world(limits: &str) -> (Home, Service, IssuerServer) {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    home.tables.extend([format!("[envoy]\nrealm = \"{REALM}\"\n[limits]\n{limits}\n")]);
    let (server, _) = trust(&mut home, "client_secret_file = \"secret.txt\"").await;
    let service = home.start().await;
    (home, service, server)
}

fn told(status: &Status) -> (Code, String) {
    (status.code(), status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default())
}

fn overdue() -> (Code, String) {
    (Code::DeadlineExceeded, "DEADLINE_EXCEEDED".to_owned())
}

/// What was asked about in the decisions that are on record.
async fn recorded(service: &Service) -> Vec<String> {
    service.decisions_after(0).await.into_iter().map(|decision| decision.request_id).collect()
}

fn asked(token: &str, request_id: &str) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest { request_id: request_id.to_owned(), ..reading_student(token, "1") }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issuer_that_says_nothing_keeps_nobody_longer_than_a_decision_may_take() {
    let (home, service, server) = world("check_ms_max = 300").await;
    let status = service.authorization().authorize(asked(SILENT, "grpc")).await.unwrap_err();
    assert_eq!(told(&status), overdue());

    let http = service.http.clone().unwrap();
    let body = json!({
        "realm": REALM, "token": SILENT, "action": "Read",
        "resource": { "type": "ed-fi/students", "id": "1", "attributes": { "studentUniqueId": "1" } },
    });
    let sent = client().post(format!("{http}/v1/Authorize")).header("content-type", "application/json");
    // The caller may allow more than the service does.
    let sent = sent.header("grpc-timeout", "1H").header("x-request-id", "json").body(body.to_string()).send();
    let response = sent.await.unwrap();
    assert_eq!((response.status().as_u16(), &response.headers()["x-request-id"]), (504, &"json".parse().unwrap()));
    let problem: Json = response.json().await.unwrap();
    assert_eq!((&problem["code"], &problem["correlationId"]), (&"DEADLINE_EXCEEDED".into(), &"json".into()));

    let headers = [("authorization".to_owned(), format!("Bearer {SILENT}"))];
    let held = HttpRequest {
        method: "GET".to_owned(),
        path: "/data/v3/ed-fi/students".to_owned(),
        headers: headers.into(),
        ..HttpRequest::default()
    };
    let attributes = AttributeContext { request: Some(Held { http: Some(held) }), ..AttributeContext::default() };
    let mut envoy = AuthorizationClient::connect(format!("http://{}", service.address)).await.unwrap();
    let status = envoy.check(CheckRequest { attributes: Some(attributes) }).await.unwrap_err();
    assert_eq!(told(&status), overdue());

    assert!(server.requests() >= 1, "the issuer was asked");
    assert_eq!(recorded(&service).await, Vec::<String>::new(), "nothing was decided");
    let token = home.token("SISVendor", &[255_901]);
    service.authorization().authorize(asked(&token, "good")).await.unwrap();
    assert_eq!(recorded(&service).await, ["good"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_batch_decided_before_its_time_was_over_is_on_record() {
    let (home, service, _server) = world("batch_ms_max = 1000").await;
    let token = home.token("SISVendor", &[255_901]);
    let items = vec![asked(&token, "first"), asked(&token, "second"), asked(SILENT, "third"), asked(&token, "fourth")];
    let batch = pb::BatchAuthorizeRequest { items, ..pb::BatchAuthorizeRequest::default() };
    let status = service.authorization().batch_authorize(batch.clone()).await.unwrap_err();
    assert_eq!(told(&status), overdue());
    eventually("what was decided is kept", || async { recorded(&service).await == ["first", "second"] }).await;

    // The same where the caller sets the time.
    let mut hurried = tonic::Request::new(batch);
    hurried.set_timeout(std::time::Duration::from_millis(500));
    service.authorization().batch_authorize(hurried).await.unwrap_err();
    eventually("what was decided for it is kept", || async { recorded(&service).await.len() == 4 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_decided_for_a_caller_that_leaves_is_on_record() {
    let (home, service, server) = world("batch_ms_max = 600000").await;
    let token = home.token("SISVendor", &[255_901]);
    let batch = pb::BatchAuthorizeRequest {
        items: vec![asked(&token, "first"), asked(SILENT, "second")],
        ..pb::BatchAuthorizeRequest::default()
    };
    let mut client = service.authorization();
    let call = tokio::spawn(async move { client.batch_authorize(batch).await });
    // The second is asked about only when the first was decided.
    eventually("the issuer is asked", || async { server.requests() > 0 }).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    eventually("what was decided is kept", || async { recorded(&service).await == ["first"] }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_that_takes_too_long_ends_between_its_items() {
    const ITEMS: usize = 10_000;
    let (home, service, _server) = world("batch_ms_max = 1").await;
    let token = home.token("SISVendor", &[255_901]);
    let items = vec![asked(&token, "one of many"); ITEMS];
    let batch = pb::BatchAuthorizeRequest { items, ..pb::BatchAuthorizeRequest::default() };
    let status = service.authorization().batch_authorize(batch).await.unwrap_err();
    assert_eq!(told(&status), overdue());
    eventually("what was decided is kept", || async { !recorded(&service).await.is_empty() }).await;
    assert!(recorded(&service).await.len() < ITEMS, "it went on to its end");
}
