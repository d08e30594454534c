//! Traces of a running service, handed to a collector of ours; and what becomes of requests when it isn't there.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use hallpass::proto::v1 as pb;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::Span,
};
use serde_json::json;
use tokio::{
    net::TcpListener,
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::support::{Home, REALM, enrolment, eventually, reading_student};

const PATIENCE: Duration = Duration::from_secs(30);
const TRACE: &str = "3d1f6a7b8c9d4e5fa0b1c2d3e4f50617";
const PARENT: &str = "00a1b2c3d4e5f607";

#[derive(Debug)]
struct Collector(Mutex<UnboundedSender<ExportTraceServiceRequest>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        self.0.lock().unwrap().send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

/// A collector, as a table of the configuration, and what it is told.
async fn collector(ratio: &str) -> (String, UnboundedReceiver<ExportTraceServiceRequest>) {
    let (sender, told) = unbounded_channel();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let table = table(&listener.local_addr().unwrap().to_string(), ratio);
    let server = Server::builder().add_service(TraceServiceServer::new(Collector(Mutex::new(sender))));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (table, told)
}

fn table(address: &str, ratio: &str) -> String {
    format!("[tracing]\notlp_endpoint = \"http://{address}\"\nsample_ratio = {ratio}\n")
}

/// The next span of a call, others than the test's own left out.
async fn next(told: &mut UnboundedReceiver<ExportTraceServiceRequest>, waiting: &mut Vec<Span>) -> Span {
    while waiting.is_empty() {
        let more = tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap();
        let spans = more.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
        waiting.extend(spans.flat_map(|scope| scope.spans));
    }
    waiting.remove(0)
}

fn attributes(span: &Span) -> BTreeMap<String, String> {
    let text = |value: Option<Value>| match value {
        Some(Value::StringValue(text)) => text,
        Some(Value::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    let attribute = |known: &opentelemetry_proto::tonic::common::v1::KeyValue| {
        (known.key.clone(), text(known.value.clone().unwrap().value))
    };
    span.attributes.iter().map(attribute).collect()
}

fn traced<T>(message: T, flags: &str) -> Request<T> {
    let mut request = Request::new(message);
    let traceparent = format!("00-{TRACE}-{PARENT}-{flags}");
    request.metadata_mut().insert("traceparent", traceparent.parse().unwrap());
    request.metadata_mut().insert("x-request-id", "request-7".parse().unwrap());
    request
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_decision_is_a_span_in_its_callers_trace_without_a_word_of_the_question() {
    let (table, mut told) = collector("0.0").await;
    let mut home = Home::new();
    home.keys = "http_address = \"127.0.0.1:0\"\n".to_owned();
    home.tables.push_str(&table);
    home.tables.push_str("[log]\nlevel = \"warn,hallpass=debug\"\nformat = \"json\"\n");
    let service = home.start().await;
    let token = home.token("SISVendor", &[100]);
    let mut client = service.authorization();
    // Neither of these is to be seen.
    client.authorize(reading_student(&token, "604821")).await.unwrap();
    client.authorize(traced(reading_student(&token, "604821"), "00")).await.unwrap();
    let answer = client.authorize(traced(reading_student(&token, "604821"), "01")).await.unwrap();
    assert_eq!(answer.metadata().get("x-request-id").unwrap(), "request-7");
    let mut waiting = Vec::new();
    let span = next(&mut told, &mut waiting).await;
    let hex = |bytes: &[u8]| bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    assert_eq!((hex(&span.trace_id), hex(&span.parent_span_id)), (TRACE.to_owned(), PARENT.to_owned()));
    assert_eq!((span.name.as_str(), span.kind), ("hallpass.v1.AuthorizationService/Authorize", 2));
    assert_eq!(span.status.as_ref().map_or(0, |status| status.code), 0, "a deny is no error");
    let found = attributes(&span);
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "hallpass.v1.AuthorizationService/Authorize"),
        ("rpc.status_code", "OK"),
        ("server.address", "127.0.0.1"),
        ("network.peer.address", "127.0.0.1"),
        ("authz.realm", "edfi"),
        ("authz.decision", "DENY"),
        ("authz.adapter", "grpc"),
        ("authz.caller", "local"),
    ] {
        assert_eq!(found.get(key).map(String::as_str), Some(value), "{key}: {found:?}");
    }
    assert_eq!(found["authz.reason"], answer.into_inner().reasons[0].code);
    let unknown = crate::support::reading(&token, "nothing", "id", "604821");
    client.authorize(traced(unknown, "01")).await.unwrap_err();
    let refused = next(&mut told, &mut waiting).await;
    assert_eq!(attributes(&refused)["rpc.status_code"], "INVALID_ARGUMENT");
    assert!(refused.status.as_ref().is_none_or(|status| status.code == 0), "a wrong question is none of our failures");
    let log = service.stderr();
    let line = log.lines().find(|line| line.contains(TRACE) && line.contains("INVALID_ARGUMENT")).unwrap_or(&log);
    for part in ["\"request_id\":\"request-7\"", "\"level\":\"DEBUG\"", "\"method\":\"hallpass.v1.Auth"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let shown = format!("{span:?}{refused:?}{log}");
    let payload = token.split('.').nth(1).unwrap();
    for secret in [payload, "604821", "SISVendor of"] {
        assert!(!shown.contains(secret), "{secret}");
    }
}

/// The attributes with what was decided, by their names without `authz.`.
fn decided(span: &Span) -> BTreeMap<String, String> {
    let found = attributes(span).into_iter();
    found.filter_map(|(key, value)| Some((key.strip_prefix("authz.")?.to_owned(), value))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_and_a_search_show_how_many_decisions_there_were_wherever_they_were_made() {
    let (table, mut told) = collector("0.0").await;
    let mut home = Home::new();
    home.keys = "http_address = \"127.0.0.1:0\"\n".to_owned();
    home.tables.push_str(&table);
    let service = home.start().await;
    service.import("studentSchoolAssociations", &["1", "2"].map(|student| enrolment(student, 100))).await;
    let (token, mut client, mut waiting) = (home.token("SISVendor", &[100]), service.authorization(), Vec::new());

    let items = ["1", "2", "3"].map(|student| reading_student(&token, student));
    let batch = pb::BatchAuthorizeRequest { defaults: None, items: items.to_vec() };
    client.batch_authorize(traced(batch, "01")).await.unwrap();
    let span = next(&mut told, &mut waiting).await;
    let [counts, caller] =
        [("decisions", "3"), ("caller", "local")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(decided(&span), [counts, ("allows".to_owned(), "2".to_owned()), caller].into());

    let candidates: Vec<_> = items.into_iter().filter_map(|item| item.resource).collect();
    let search = pb::SearchResourcesRequest {
        realm: REALM.to_owned(),
        token: token.clone(),
        action: "Read".to_owned(),
        resource_type: "ed-fi/students".to_owned(),
        candidates: candidates.clone(),
        ..pb::SearchResourcesRequest::default()
    };
    let mut parts = client.search_resources(traced(search.clone(), "01")).await.unwrap().into_inner();
    while parts.message().await.unwrap().is_some() {}
    let over_grpc = next(&mut told, &mut waiting).await;
    assert_eq!(over_grpc.name, "hallpass.v1.AuthorizationService/SearchResources");

    let candidates: Vec<_> = candidates
        .iter()
        .map(|resource| json!({ "id": resource.id, "attributes": { "studentUniqueId": resource.id } }))
        .collect();
    let body = json!({ "realm": REALM, "token": token, "action": "Read", "resourceType": "ed-fi/students", "candidates": candidates });
    let request = reqwest::Client::new().post(format!("{}/v1/SearchResources", service.http.as_ref().unwrap()));
    let request =
        request.header("content-type", "application/json").header("traceparent", format!("00-{TRACE}-{PARENT}-01"));
    let answer = request.body(body.to_string()).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.bytes().await.unwrap();
    let over_http = next(&mut told, &mut waiting).await;
    assert_eq!(over_http.name, "POST /v1/SearchResources");

    for (span, adapter) in [(over_grpc, "grpc"), (over_http, "json")] {
        let found = decided(&span);
        // Whether it may be searched, and three candidates, of which two may be read.
        for (key, value) in
            [("realm", REALM), ("decision", "ALLOW"), ("adapter", adapter), ("decisions", "4"), ("allows", "3")]
        {
            assert_eq!(found.get(key).map(String::as_str), Some(value), "{key}: {found:?}");
        }
        assert!(!format!("{span:?}").contains("studentUniqueId"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spans_that_nobody_takes_are_counted() {
    let mut home = Home::new();
    home.keys = "ops_address = \"127.0.0.1:0\"\n".to_owned();
    // Nobody listens on port 1.
    home.tables.push_str(&table("127.0.0.1:1", "1.0"));
    let service = home.start().await;
    let url = format!("{}/metrics", service.monitored.clone().unwrap());
    let metrics = async || reqwest::get(&url).await.unwrap().text().await.unwrap();
    let counted = |why: &str, count: u32| format!("authz_trace_spans_dropped_total{{why=\"{why}\"}} {count}\n");
    let before = metrics().await;
    assert!(before.contains(&counted("queue_full", 0)) && before.contains(&counted("not_taken", 0)), "{before}");
    service.authorization().authorize(reading_student(&home.token("SISVendor", &[100]), "1")).await.unwrap();
    eventually("the span is counted", async || metrics().await.contains(&counted("not_taken", 1))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_share_of_requests_is_traced_though_they_bring_no_trace() {
    let (table, mut told) = collector("1.0").await;
    let mut home = Home::new();
    home.tables.push_str(&table);
    let service = home.start().await;
    let token = home.token("SISVendor", &[100]);
    service.authorization().authorize(reading_student(&token, "1")).await.unwrap();
    let mut waiting = Vec::new();
    let span = next(&mut told, &mut waiting).await;
    assert_eq!((span.trace_id.len(), span.parent_span_id.len()), (16, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_for_a_collector_that_is_gone_or_hangs() {
    // Takes connections and says nothing on them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut home = Home::new();
    home.tables.push_str(&table(&silent.local_addr().unwrap().to_string(), "1.0"));
    let mut service = home.start().await;
    let token = home.token("SISVendor", &[100]);
    let mut client = service.authorization();
    for _ in 0..200 {
        let asked = Instant::now();
        client.authorize(reading_student(&token, "1")).await.unwrap();
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    }
    service.signal("TERM");
    assert!(service.ended().await.success());
}
