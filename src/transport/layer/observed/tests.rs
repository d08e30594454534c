use std::{
    convert::Infallible,
    io,
    sync::atomic::{AtomicI64, Ordering},
    sync::{Mutex, PoisonError},
};

use axum::{Router, routing::any};
use http::StatusCode;
use http_body_util::{BodyExt as _, Empty, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Bytes, Frame};
use tower::{ServiceExt as _, service_fn};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::{
    app::ports::trace::{Decided, SampleRatio, Span, SpanKind, SpanSink, Value, note_caller, note_decision},
    proto::FILE_DESCRIPTOR_SET,
};

#[derive(Debug, Default)]
struct Kept(Mutex<Vec<Span>>);

impl SpanSink for Kept {
    fn take(&self, span: Span) {
        self.0.lock().unwrap().push(span);
    }
}

/// A clock that goes on by a millisecond with each look.
#[derive(Debug, Default)]
struct Ticking(AtomicI64);

impl Clock for Ticking {
    fn now_us(&self) -> i64 {
        1_790_000_000_000_000 + self.monotonic_us()
    }

    fn monotonic_us(&self) -> i64 {
        self.0.fetch_add(1_000, Ordering::Relaxed)
    }
}

/// What was counted: what it was of, and its status.
#[derive(Debug, Default)]
struct Counting(Mutex<Vec<(String, String)>>);

impl Counting {
    fn add(&self, counted: String, status: &str, duration_us: u64) {
        assert!(duration_us > 0);
        self.0.lock().unwrap().push((counted, status.to_owned()));
    }
}

impl Meter for Counting {
    fn called(&self, method: &str, status: &'static str, duration_us: u64) {
        self.add(method.to_owned(), status, duration_us);
    }

    fn answered(&self, method: &str, route: &str, status: &str, duration_us: u64) {
        self.add(format!("{method} {route}"), status, duration_us);
    }
}

#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()).unwrap()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Written {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

const PATH: &str = "/hallpass.v1.AuthorizationService/Authorize";
const TRACE: &str = "7f0a3b5c9d1e48620f1e2d3c4b5a6978";

/// What watching one request told.
struct Told {
    response: Response<()>,
    spans: Vec<Span>,
    counted: Vec<(String, String)>,
    log: String,
    /// The id that the request had when it was answered.
    inner_id: Option<HeaderValue>,
}

fn grpc() -> Spoken {
    Spoken::Grpc(Methods::of(&[FILE_DESCRIPTOR_SET]))
}

type AnyBody = UnsyncBoxBody<Bytes, Infallible>;

/// An answer whose status comes behind a message, as gRPC has it.
fn with_trailers(status: &'static str) -> Response<AnyBody> {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    let frames = [Ok(Frame::data(Bytes::from_static(b"x"))), Ok(Frame::trailers(trailers))];
    Response::new(StreamBody::new(tokio_stream::iter(frames)).boxed_unsync())
}

fn without_body(head: http::response::Builder) -> Response<AnyBody> {
    head.body(Empty::new().boxed_unsync()).unwrap()
}

/// What a service does that is watched: it knows who asks, and decides.
fn decide() {
    note_caller(&"gateway".into());
    note_decision(false, || Decided {
        realm: "north".into(),
        is_allowed: false,
        reason: "NO_POLICY_PERMITS".into(),
        policy_version: "abc".into(),
        adapter: "grpc",
        is_of_search: false,
    });
}

/// Has a request over gRPC answered.
async fn watch(request: http::request::Builder, response: Response<AnyBody>, is_read: bool) -> Told {
    let inner_id = Arc::new(Mutex::new(None));
    let (seen, response) = (Arc::clone(&inner_id), Arc::new(Mutex::new(Some(response))));
    let inner = service_fn(move |request: Request<()>| {
        *seen.lock().unwrap() = request.headers().get(REQUEST_ID).cloned();
        let response = response.lock().unwrap().take().unwrap();
        async move {
            decide();
            Ok::<_, Infallible>(response)
        }
    });
    let request = request.body(()).unwrap();
    let told = watch_by(grpc(), is_read, async |layer| layer.layer(inner).oneshot(request).await.unwrap()).await;
    let inner_id = inner_id.lock().unwrap().clone();
    Told { inner_id, ..told }
}

/// Has a request over HTTP answered with this status by a router, where it has a route for it.
async fn watch_http(request: http::request::Builder, status: u16) -> Told {
    let answer = move || async move {
        decide();
        StatusCode::from_u16(status).unwrap()
    };
    let router = Router::new().route("/{realm}/oauth/token", any(answer)).route("/v1/{rpc}", any(answer));
    let request = request.body(axum::body::Body::empty()).unwrap();
    let spoken = Spoken::Http(Calls::below("/v1/", &[FILE_DESCRIPTOR_SET]));
    watch_by(spoken, true, async |layer| router.layer(layer).oneshot(request).await.unwrap()).await
}

async fn watch_by<B>(spoken: Spoken, is_read: bool, ask: impl AsyncFnOnce(Observed) -> Response<B>) -> Told
where
    B: Body<Error: fmt::Debug>,
{
    let (kept, counting, written) = (Arc::new(Kept::default()), Arc::new(Counting::default()), Written::default());
    let clock: Arc<dyn Clock> = Arc::new(Ticking::default());
    let tracer = Tracer::new(Arc::clone(&kept) as _, Arc::clone(&clock), SampleRatio::NONE);
    let address = Some("127.0.0.1:50051".parse().unwrap());
    let layer = Observed::new(spoken, address, clock).telling(Some(Arc::new(tracer)), Arc::clone(&counting) as _);
    let subscriber = tracing_subscriber::fmt().with_writer(written.clone()).json().flatten_event(true);
    let subscriber = subscriber.with_max_level(tracing::Level::DEBUG).finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let (head, body) = ask(layer).await.into_parts();
    if is_read {
        body.collect().await.unwrap();
    } else {
        drop(body);
    }
    drop(guard);
    let spans = kept.0.lock().unwrap().clone();
    let counted = counting.0.lock().unwrap().clone();
    Told { response: Response::from_parts(head, ()), spans, counted, log: written.text(), inner_id: None }
}

fn traced(path: &str) -> http::request::Builder {
    Request::post(path).header("traceparent", format!("00-{TRACE}-0102030405060708-01"))
}

fn counted(what: &str, status: &str) -> (String, String) {
    (what.to_owned(), status.to_owned())
}

fn attribute(span: &Span, key: &str) -> Option<String> {
    span.attributes.iter().find(|(known, _)| *known == key).map(|(_, value)| match value {
        Value::Text(text) => text.to_string(),
        Value::Number(number) => number.to_string(),
    })
}

#[tokio::test]
async fn a_call_is_a_span_within_its_senders_and_a_deny_is_no_error() {
    let told = watch(traced(PATH), with_trailers("0"), true).await;
    let [span] = &told.spans[..] else { panic!("{:?}", told.spans) };
    assert_eq!(format!("{:032x}", span.trace_id), TRACE);
    assert_eq!((span.parent, span.is_parent_remote), (Some(0x0102_0304_0506_0708), true));
    assert_eq!((span.kind, &*span.name), (SpanKind::Server, "hallpass.v1.AuthorizationService/Authorize"));
    assert_eq!(span.error, None);
    for (key, value) in [
        ("rpc.system.name", "grpc"),
        ("rpc.method", "hallpass.v1.AuthorizationService/Authorize"),
        ("rpc.status_code", "OK"),
        ("server.address", "127.0.0.1"),
        ("server.port", "50051"),
        ("authz.caller", "gateway"),
        ("authz.realm", "north"),
        ("authz.decision", "DENY"),
        ("authz.reason", "NO_POLICY_PERMITS"),
        ("authz.policy_version", "abc"),
        ("authz.adapter", "grpc"),
    ] {
        assert_eq!(attribute(span, key).as_deref(), Some(value), "{key}");
    }
    assert_eq!(attribute(span, "error.type"), None);
    assert_eq!(told.counted, [counted("hallpass.v1.AuthorizationService/Authorize", "OK")]);
}

#[tokio::test]
async fn only_failures_of_the_service_are_errors() {
    for (status, word, is_error) in [
        ("1", "CANCELLED", false),
        ("2", "UNKNOWN", true),
        ("3", "INVALID_ARGUMENT", false),
        ("4", "DEADLINE_EXCEEDED", true),
        ("5", "NOT_FOUND", false),
        ("7", "PERMISSION_DENIED", false),
        ("8", "RESOURCE_EXHAUSTED", false),
        ("12", "UNIMPLEMENTED", true),
        ("13", "INTERNAL", true),
        ("14", "UNAVAILABLE", true),
        ("15", "DATA_LOSS", true),
        ("16", "UNAUTHENTICATED", false),
    ] {
        // Without a message the status stands in the head.
        let alone = without_body(Response::builder().header("grpc-status", status));
        for response in [with_trailers(status), alone] {
            let told = watch(traced(PATH), response, true).await;
            let span = &told.spans[0];
            assert_eq!(attribute(span, "rpc.status_code").as_deref(), Some(word));
            assert_eq!(span.error.as_deref(), is_error.then_some(word), "{word}");
            assert_eq!(attribute(span, "error.type").as_deref(), is_error.then_some(word), "{word}");
            assert_eq!(told.log.contains("\"level\":\"WARN\""), is_error, "{}", told.log);
        }
    }
}

#[tokio::test]
async fn who_leaves_before_the_end_has_cancelled() {
    let told = watch(traced(PATH), with_trailers("0"), false).await;
    assert_eq!(told.counted, [counted("hallpass.v1.AuthorizationService/Authorize", "CANCELLED")]);
    assert_eq!((told.spans.len(), &told.spans[0].error), (1, &None));
}

#[tokio::test]
async fn what_is_not_sampled_or_malformed_makes_no_span() {
    for traceparent in [None, Some(format!("00-{TRACE}-0102030405060708-00")), Some("00-nonsense-01".to_owned())] {
        let mut request = Request::post(PATH);
        if let Some(value) = &traceparent {
            request = request.header("traceparent", value);
        }
        let told = watch(request, with_trailers("0"), true).await;
        assert!(told.spans.is_empty(), "{traceparent:?}");
        assert_eq!(told.log.contains(TRACE), traceparent.is_some_and(|value| value.ends_with("-00")));
    }
    let twice = traced(PATH).header("traceparent", format!("00-{TRACE}-0102030405060708-01"));
    assert!(watch(twice, with_trailers("0"), true).await.spans.is_empty());
}

#[tokio::test]
async fn every_request_has_an_id_there_and_back() {
    let own = watch(Request::post(PATH).header(REQUEST_ID, "mine 7"), with_trailers("0"), true).await;
    assert_eq!(own.response.headers()[REQUEST_ID], "mine 7");
    assert!(own.log.contains("\"request_id\":\"mine 7\""), "{}", own.log);
    let made = watch(Request::post(PATH), with_trailers("0"), true).await;
    let id = made.inner_id.clone().unwrap();
    assert_eq!(Uuid::parse_str(id.to_str().unwrap()).unwrap().get_version_num(), 7);
    assert_eq!(made.response.headers()[REQUEST_ID], id);
    for bad in [&b"\xc3\xa9"[..], &[b'x'; 129]] {
        let value = HeaderValue::from_bytes(bad).unwrap();
        let told = watch(Request::post(PATH).header(REQUEST_ID, &value), with_trailers("0"), true).await;
        assert_eq!(told.inner_id.as_ref(), Some(&value), "it goes on as it came");
        assert_eq!(told.response.headers().get(REQUEST_ID), None);
        assert!(!told.log.contains("xxx") && !told.log.contains("\u{e9}"), "{}", told.log);
    }
    // Who answers with an id of its own has said enough.
    let response = without_body(Response::builder().header(REQUEST_ID, "inner"));
    let told = watch(Request::post(PATH).header(REQUEST_ID, "outer"), response, true).await;
    assert_eq!(told.response.headers().get_all(REQUEST_ID).iter().collect::<Vec<_>>(), ["inner"]);
}

#[tokio::test]
async fn a_line_of_the_log_says_what_came_of_a_request_and_nothing_that_it_brought() {
    let request =
        traced(PATH).header(REQUEST_ID, "r-1").header("authorization", "Bearer canary").header("x-other", "canary");
    let told = watch(request, with_trailers("5"), true).await;
    let line: serde_json::Value = serde_json::from_str(told.log.trim()).unwrap();
    for (key, value) in [
        ("level", "DEBUG"),
        ("request_id", "r-1"),
        ("trace_id", TRACE),
        ("method", "hallpass.v1.AuthorizationService/Authorize"),
        ("status", "NOT_FOUND"),
        ("caller", "gateway"),
    ] {
        assert_eq!(line[key], value, "{key}: {line}");
    }
    assert!(line["duration_us"].as_u64().unwrap() > 0);
    assert!(!told.log.contains("canary"), "{}", told.log);
}

#[tokio::test]
async fn names_that_a_sender_made_up_are_shown_nowhere() {
    let told = watch(traced("/canary.v1.Service/Canary"), with_trailers("12"), true).await;
    assert_eq!(&*told.spans[0].name, "_OTHER");
    assert_eq!(told.counted, [counted("_OTHER", "UNIMPLEMENTED")]);
    let told_http = watch_http(traced("/canary/oauth/token?canary=1"), 200).await;
    assert_eq!(&*told_http.spans[0].name, "POST /{realm}/oauth/token");
    assert_eq!(told_http.counted, [counted("POST /{realm}/oauth/token", "200")]);
    let told_rpc = watch_http(traced("/v1/Canary"), 404).await;
    assert_eq!(told_rpc.counted, [counted("POST /v1/{rpc}", "404")]);
    let told_missing = watch_http(traced("/canary").method("CANARY"), 200).await;
    assert_eq!(&*told_missing.spans[0].name, "_OTHER _OTHER");
    assert_eq!(told_missing.counted, [counted("_OTHER _OTHER", "404")]);
    for told in [told, told_http, told_rpc, told_missing] {
        assert!(!format!("{:?}{:?}", told.spans, told.counted).to_lowercase().contains("canary"));
        assert!(!told.log.to_lowercase().contains("canary"), "{}", told.log);
    }
}

#[tokio::test]
async fn over_http_a_failure_is_a_status_from_500_on() {
    for (status, is_error) in [(200, false), (403, false), (405, false), (429, false), (500, true), (503, true)] {
        let told = watch_http(traced("/v1/Authorize"), status).await;
        let span = &told.spans[0];
        assert_eq!(attribute(span, "http.response.status_code"), Some(status.to_string()));
        assert_eq!(attribute(span, "http.route").as_deref(), Some("/v1/Authorize"));
        assert_eq!(span.error.as_deref().map(str::to_owned), is_error.then(|| status.to_string()));
        assert_eq!(told.counted, [counted("POST /v1/Authorize", &status.to_string())]);
    }
}

#[tokio::test]
async fn who_leaves_before_an_answer_over_http_has_a_status_that_no_answer_has() {
    let router = Router::new().route("/v1/{rpc}", any(std::future::pending::<StatusCode>));
    let request = Request::post("/v1/Authorize").body(axum::body::Body::empty()).unwrap();
    let counting = Arc::new(Counting::default());
    let layer = Observed::new(Spoken::Http(Calls::below("/v1/", &[])), None, Arc::new(Ticking::default()));
    let layer = layer.telling(None, Arc::clone(&counting) as _);
    let asking = router.layer(layer).oneshot(request);
    assert!(tokio::time::timeout(std::time::Duration::ZERO, asking).await.is_err());
    assert_eq!(*counting.0.lock().unwrap(), [counted("POST /v1/{rpc}", "499")]);
}
