//! What it costs to be watched: to be counted, and to be traced.

use std::{
    convert::Infallible,
    hint::black_box,
    io::{BufRead as _, BufReader},
    process::{Child, Command, Stdio},
    sync::Arc,
};

use hallpass::{
    app::ports::{
        Clock,
        meter::{Cache, Decided, Meter, Sample, Uncounted},
        trace::{SampleRatio, Span, SpanSink, Tracer},
    },
    domain::id::RealmName,
    metrics::Metrics,
    proto::FILE_DESCRIPTOR_SET,
    provider::clock::SystemClock,
    telemetry::otlp,
    transport::layer::observed::{Methods, Observed, Spoken},
};
use http::{HeaderValue, Request, Response};
use http_body_util::Empty;
use hyper::body::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
    trace_service_server::{TraceService, TraceServiceServer},
};
use tokio::{net::TcpListener, runtime::Runtime};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Status, transport::Server};
use tower::{Layer as _, Service as _};

use crate::{
    callers::at_once,
    load::{Method, by_turns},
    measure::{Goal, Report, info, interleaved, median, median_ratio},
    service::Served,
    state::State,
};

/// The word that makes this program a collector of traces.
pub(crate) const COLLECT: &str = "collect-traces";

const STATE: State = State { students: 10_000 };
const ROUNDS: usize = 31;
const TIMES: usize = 10_000;
const METHOD: &str = "hallpass.v1.AuthorizationService/Authorize";

/// What Authorize costs more because somebody watches. What is counted, and what is done for traces of nobody, is too little to be
/// seen in whole calls: it is measured alone, and set against what a call takes of the server.
pub(crate) fn run(report: &mut Report) {
    let collector = Collector::start();
    let off = Served::start(STATE, |_, config| config);
    let all = Served::start(STATE, |_, mut config| {
        let ratio = SampleRatio::new(1.0).unwrap();
        config.tracing = Some(otlp::Options { endpoint: collector.url.as_str().into(), ca: None, ratio });
        config
    });
    let [off_figures, all_figures] = by_turns([(&off, Method::Authorize), (&all, Method::Authorize)]);
    let meter = all.running.app().meter();
    let dropped = sum(&**meter, "authz_trace_spans_dropped") / sum(&**meter, "rpc_server_call_duration_seconds");
    off.stop();
    all.stop();
    let (call_us, counted_us) = (median(&off_figures.server_us), counted_us());
    let over_nothing = |us: f64| call_us / (call_us - us);
    report.goal("counting_on_over_off", over_nothing(counted_us), Goal::AtMost(1.02));
    let [unwatched_us, untraced_us, of_none_us, of_all_us] = layers_us();
    report.goal("observed_without_traces_on_over_off", over_nothing(untraced_us - unwatched_us), Goal::AtMost(1.05));
    report.goal("traces_of_none_over_off", (call_us + of_none_us - untraced_us) / call_us, Goal::AtMost(1.02));
    let ratio = median_ratio(&all_figures.server_us, &off_figures.server_us);
    report.goal("traces_of_all_over_off", ratio, Goal::AtMost(1.35));
    info("traces_of_all_dropped_share", dropped);
    info("counting_ns", counted_us * 1e3);
    info("observed_without_traces_ns", (untraced_us - unwatched_us) * 1e3);
    info("traces_of_none_ns", (of_none_us - untraced_us) * 1e3);
    info("traces_of_all_ns_without_handing_on", (of_all_us - untraced_us) * 1e3);
}

/// All that is counted of one question, in microseconds.
fn counted_us() -> f64 {
    let (metrics, realm): (_, RealmName) = (Metrics::default(), "edfi".parse().unwrap());
    let meter: &dyn Meter = black_box(&metrics);
    let mut count = || {
        let reason = black_box("PERMITTED");
        meter.work_began();
        meter.cache_hit(Cache::Tokens);
        meter.decided(&Decided { realm: &realm, is_allowed: true, reason, adapter: "grpc", duration_us: 20 });
        meter.work_ended();
        meter.called(black_box(METHOD), "OK", 40);
    };
    let [us] = interleaved(ROUNDS, TIMES, [&mut count]);
    median(&us)
}

/// What a call that does nothing takes within this process, in microseconds: unwatched, watched without traces, with traces of
/// none, and with traces of all that nobody takes. Nothing is counted.
fn layers_us() -> [f64; 4] {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let tracer =
        |share: f64| Arc::new(Tracer::new(Arc::new(Nobody), Arc::clone(&clock), SampleRatio::new(share).unwrap()));
    let observed = |tracer: Option<Arc<Tracer>>| {
        let spoken = Spoken::Grpc(Methods::of(&[FILE_DESCRIPTOR_SET]));
        let layer = Observed::new(spoken, Some(([127, 0, 0, 1], 50051).into()), Arc::clone(&clock));
        layer.telling(tracer, Arc::new(Uncounted)).layer(tower::service_fn(nothing))
    };
    let mut bare = tower::service_fn(nothing);
    let [mut untraced, mut of_none, mut of_all] =
        [observed(None), observed(Some(tracer(0.0))), observed(Some(tracer(1.0)))];
    let us = interleaved(
        ROUNDS,
        TIMES,
        [
            &mut || drop(black_box(at_once(bare.call(request())).unwrap())),
            &mut || drop(black_box(at_once(untraced.call(request())).unwrap())),
            &mut || drop(black_box(at_once(of_none.call(request())).unwrap())),
            &mut || drop(black_box(at_once(of_all.call(request())).unwrap())),
        ],
    );
    us.map(|us| median(&us))
}

async fn nothing(request: Request<()>) -> Result<Response<Empty<Bytes>>, Infallible> {
    drop(black_box(request));
    Ok(Response::new(Empty::new()))
}

fn request() -> Request<()> {
    let mut request = Request::post(format!("/{METHOD}")).body(()).unwrap();
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers"), ("user-agent", "client/1.0")] {
        request.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    request
}

/// Takes spans, and forgets them.
#[derive(Debug)]
struct Nobody;

impl SpanSink for Nobody {
    fn take(&self, span: Span) {
        drop(black_box(span));
    }
}

/// How many there are of a metric, over all labels.
fn sum(meter: &dyn Meter, name: &str) -> f64 {
    let families = meter.families().into_iter().filter(|family| family.name == name);
    let counts = families.flat_map(|family| family.samples).map(|(_, sample)| match sample {
        Sample::Count(count) => count as f64,
        Sample::Level(level) => level,
        Sample::Spread { sum: _, buckets } => buckets.iter().map(|(_, count)| *count as f64).sum(),
    });
    counts.sum()
}

/// A collector in a process of its own, which ends with the value.
#[derive(Debug)]
struct Collector {
    process: Child,
    url: String,
}

impl Collector {
    fn start() -> Self {
        let mut collecting = Command::new(std::env::current_exe().unwrap());
        let mut process = collecting.arg(COLLECT).stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut url).unwrap();
        Self { process, url: url.trim_end().to_owned() }
    }
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Takes traces and forgets them, until the process is ended.
pub(crate) fn collect() {
    Runtime::new().unwrap().block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder().add_service(TraceServiceServer::new(Forgetting));
        server.serve_with_incoming(TcpListenerStream::new(listener)).await.unwrap();
    });
}

struct Forgetting;

#[tonic::async_trait]
impl TraceService for Forgetting {
    async fn export(
        &self,
        _: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, Status> {
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}
