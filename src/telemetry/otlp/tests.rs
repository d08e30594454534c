use std::sync::Mutex;

use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value as AnyValue,
};
use tokio::{net::TcpListener, sync::mpsc::UnboundedSender};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status as GrpcStatus, transport::Server};

use super::*;

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);

/// A collector that hands on what it is told.
#[derive(Debug)]
struct Collector(Mutex<UnboundedSender<ExportTraceServiceRequest>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, GrpcStatus> {
        self.0.lock().unwrap().send(request.into_inner()).unwrap();
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

type Told = mpsc::UnboundedReceiver<ExportTraceServiceRequest>;

fn collector() -> (Collector, Told) {
    let (sender, told) = mpsc::unbounded_channel();
    (Collector(Mutex::new(sender)), told)
}

fn span(span_id: u64) -> Span {
    Span {
        trace_id: 0x1111_2222_3333_4444_5555_6666_7777_8888,
        span_id,
        parent: Some(9),
        is_parent_remote: true,
        kind: SpanKind::Server,
        name: "a.B/C".into(),
        begun_us: 1_000_000,
        ended_us: 1_000_250,
        attributes: vec![("rpc.method", Value::Text("a.B/C".into())), ("server.port", Value::Number(7))],
        error: None,
    }
}

fn options(endpoint: String) -> Options {
    Options { endpoint: endpoint.into(), ca: None, ratio: SampleRatio::NONE }
}

async fn next(told: &mut Told) -> ExportTraceServiceRequest {
    tokio::time::timeout(PATIENCE, told.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn spans_reach_a_collector_with_what_is_known_of_them() {
    let (collector, mut told) = collector();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(TraceServiceServer::new(collector));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    let traces = Traces::start(&options(format!("http://{address}"))).unwrap();
    traces.queue().take(span(5));
    traces.queue().take(Span { error: Some("INTERNAL".into()), parent: None, ..span(6) });
    traces.stop().await;
    let [resource] = &next(&mut told).await.resource_spans[..] else { panic!("one service") };
    let attributes = &resource.resource.as_ref().unwrap().attributes;
    let text = |key: &str| {
        let value = attributes.iter().find(|attribute| attribute.key == key)?.value.clone()?.value?;
        let AnyValue::StringValue(text) = value else { return None };
        Some(text)
    };
    assert_eq!(text("service.name").as_deref(), Some("hallpass"));
    assert_eq!(text("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert!(text("service.instance.id").is_some_and(|id| id.len() == 36));
    let spans: Vec<_> = resource.scope_spans.iter().flat_map(|scope| &scope.spans).collect();
    let [fine, failed] = spans[..] else { panic!("{spans:?}") };
    assert_eq!(fine.trace_id, 0x1111_2222_3333_4444_5555_6666_7777_8888_u128.to_be_bytes());
    assert_eq!((&fine.span_id[..], &fine.parent_span_id[..]), (&5_u64.to_be_bytes()[..], &9_u64.to_be_bytes()[..]));
    assert_eq!((fine.name.as_str(), fine.kind), ("a.B/C", 2));
    assert_eq!(fine.end_time_unix_nano - fine.start_time_unix_nano, 250_000);
    assert_eq!(fine.attributes.len(), 2);
    assert_eq!(fine.status.as_ref().map_or(0, |status| status.code), 0, "unset");
    assert_eq!(failed.status.as_ref().map(|status| (status.code, status.message.as_str())), Some((2, "INTERNAL")));
    assert!(failed.parent_span_id.is_empty());
}

#[tokio::test]
async fn a_collector_over_tls_must_be_one_that_the_authorities_vouch_for() {
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(certified.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder().with_no_client_auth();
    let mut config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (streams, incoming) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(mut stream) = acceptor.accept(stream).await {
                // What tonic knows as a connection of its own.
                let (inner, mut outer) = tokio::io::duplex(64 * 1024);
                tokio::spawn(async move { tokio::io::copy_bidirectional(&mut stream, &mut outer).await });
                streams.send(Ok::<_, io::Error>(inner)).await.unwrap();
            }
        }
    });
    let (collector, mut told) = collector();
    let server = Server::builder().add_service(TraceServiceServer::new(collector));
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    let folder = tempfile::tempdir().unwrap();
    let (good, other) = (folder.path().join("good.pem"), folder.path().join("other.pem"));
    std::fs::write(&good, certified.cert.pem()).unwrap();
    std::fs::write(&other, rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem()).unwrap();
    let with = |ca: &Path| Options { ca: Some(ca.to_owned()), ..options(format!("https://localhost:{port}")) };
    let traces = Traces::start(&with(&other)).unwrap();
    let queue = Arc::clone(traces.queue());
    queue.take(span(1));
    traces.stop().await;
    assert_eq!(
        queue.dropped(),
        Dropped { not_taken: 1, queue_full: 0 },
        "a server that nobody vouches for is told nothing"
    );
    let traces = Traces::start(&with(&good)).unwrap();
    traces.queue().take(span(2));
    traces.stop().await;
    let spans = next(&mut told).await.resource_spans.remove(0).scope_spans.remove(0).spans;
    assert_eq!(spans[0].span_id, 2_u64.to_be_bytes());
}

#[tokio::test]
async fn without_a_collector_spans_are_dropped_and_counted_and_nobody_waits() {
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let traces = Traces::start(&options(format!("http://127.0.0.1:{port}"))).unwrap();
    let queue = Arc::clone(traces.queue());
    let count = 3 * QUEUE_MAX as u64;
    // All in one go: nothing can be handed on meanwhile, and none of it waits.
    (0..count).for_each(|id| queue.take(span(id + 1)));
    assert_eq!(queue.dropped(), Dropped { queue_full: count - QUEUE_MAX as u64, not_taken: 0 });
    traces.stop().await;
    let dropped = Dropped { queue_full: count - QUEUE_MAX as u64, not_taken: QUEUE_MAX as u64 };
    assert_eq!(queue.dropped(), dropped, "what nobody takes is dropped");
}

#[test]
fn a_collector_is_asked_by_https_or_on_this_machine() {
    for good in ["http://127.0.0.1:4317", "http://localhost:4317/", "http://[::1]:4317", "https://otel.example:4317"] {
        assert_eq!(endpoint(good).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "127.0.0.1:4317",
        "http://otel.example:4317",
        "http://127.0.0.1.example:4317",
        "grpc://127.0.0.1:4317",
        "https://",
        "https://otel.example:4317/v1/traces",
        "https://user:secret@otel.example",
        "https://otel.example?x=1",
    ] {
        assert!(endpoint(bad).unwrap_err().contains("is no collector"), "{bad}");
    }
}
