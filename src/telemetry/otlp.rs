//! Hands traces to a collector (OTLP over gRPC). No request waits for it: what finds no room in the queue, or is not taken
//! in time, is dropped and counted.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, anyhow};
use http::Uri;
use hyper_util::rt::TokioIo;
use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{SpanContext, SpanId, SpanKind as OtlpKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{RetryPolicy, SpanExporter, WithExportConfig as _, WithTonicConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Channel, Endpoint};
use uuid::Uuid;

use crate::app::ports::trace::{SampleRatio, Span, SpanKind, SpanSink, Value};

/// So many spans wait to be handed on.
pub const QUEUE_MAX: usize = 2_048;

/// So many are handed on together.
const BATCH_MAX: usize = 512;

/// So long a span waits for others.
const BATCH_EVERY: Duration = Duration::from_secs(1);

/// So long the collector may take for a batch.
const TAKEN_WITHIN: Duration = Duration::from_secs(5);

/// A failure is logged once in this time.
const LOGGED_EVERY: Duration = Duration::from_secs(60);

/// Where traces go, and of which requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The collector's URL: `http` on this machine, else `https`.
    pub endpoint: Arc<str>,
    /// The certificates, in PEM, of the authorities that alone vouch for the collector; there with `https`.
    pub ca: Option<PathBuf>,
    /// The share of requests without a trace of their own that are traced.
    pub ratio: SampleRatio,
}

/// Accepts the URL of a collector: `https`, or `http` on this machine.
///
/// # Errors
/// What was expected.
pub fn endpoint(text: &str) -> Result<Arc<str>, String> {
    let expected = || {
        format!(
            "`{text}` is no collector, expected `https://HOST:PORT`, or `http://` on this machine such as `http://127.0.0.1:4317`"
        )
    };
    let uri: Uri = text.parse().map_err(|_| expected())?;
    let is_loopback = matches!(uri.host(), Some("127.0.0.1" | "localhost" | "[::1]"));
    let is_safe = match uri.scheme_str() {
        Some("https") => uri.host().is_some_and(|host| !host.is_empty()),
        Some("http") => is_loopback,
        _ => false,
    };
    // A user or a path would be left out without a word.
    let is_plain = matches!(uri.path(), "" | "/") && uri.query().is_none() && !text.contains('@');
    if is_safe && is_plain { Ok(text.into()) } else { Err(expected()) }
}

/// Reads the authorities of a PEM file.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub fn authorities(file: &Path) -> Result<RootCertStore, String> {
    let unreadable = |error| format!("`{}` cannot be read as certificates in PEM: {error}", file.display());
    let certificates: Vec<CertificateDer<'static>> =
        CertificateDer::pem_file_iter(file).and_then(Iterator::collect).map_err(unreadable)?;
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(certificates);
    if taken > 0 { Ok(roots) } else { Err(format!("`{}` has no certificate in PEM", file.display())) }
}

/// The queue before the collector.
#[derive(Debug)]
pub struct Queue {
    sender: mpsc::Sender<Span>,
    counts: Arc<Counts>,
}

/// How many spans were dropped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// They found no room in the queue.
    pub queue_full: u64,
    /// The collector didn't take them, or not in time.
    pub not_taken: u64,
}

#[derive(Debug, Default)]
struct Counts {
    queue_full: AtomicU64,
    not_taken: AtomicU64,
}

impl Counts {
    fn dropped(&self) -> Dropped {
        let Self { queue_full, not_taken } = self;
        Dropped { queue_full: queue_full.load(Ordering::Relaxed), not_taken: not_taken.load(Ordering::Relaxed) }
    }
}

impl Queue {
    /// How many spans were dropped since the start.
    pub fn dropped(&self) -> Dropped {
        self.counts.dropped()
    }
}

impl SpanSink for Queue {
    fn take(&self, span: Span) {
        if self.sender.try_send(span).is_err() {
            self.counts.queue_full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Traces on their way to the collector.
#[derive(Debug)]
pub struct Traces {
    queue: Arc<Queue>,
    stopping: CancellationToken,
    handing: JoinHandle<()>,
}

impl Traces {
    /// Begins to hand on what the queue takes. The collector need not be there yet.
    ///
    /// # Errors
    /// Certificates that cannot be read.
    pub fn start(options: &Options) -> Result<Self> {
        let mut exporter = SpanExporter::builder()
            .with_tonic()
            .with_channel(channel(options)?)
            .with_timeout(TAKEN_WITHIN)
            .with_retry_policy(RetryPolicy::disabled())
            .build()
            .context("traces cannot be handed on")?;
        exporter.set_resource(&resource());
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let (counts, stopping) = (Arc::new(Counts::default()), CancellationToken::new());
        let queue = Arc::new(Queue { sender, counts: Arc::clone(&counts) });
        let handing = tokio::spawn(hand_on(exporter, receiver, counts, stopping.clone()));
        Ok(Self { queue, stopping, handing })
    }

    /// Where spans go.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// Hands on what waits, for as long as one batch may take.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if tokio::time::timeout(TAKEN_WITHIN, &mut self.handing).await.is_err() {
            self.handing.abort();
        }
    }
}

/// What every span of this process is about (OpenTelemetry's conventions for services).
fn resource() -> Resource {
    let attributes = [
        KeyValue::new("service.name", "hallpass"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::now_v7().to_string()),
    ];
    Resource::builder_empty().with_attributes(attributes).build()
}

async fn hand_on(
    exporter: SpanExporter,
    mut waiting: mpsc::Receiver<Span>,
    counts: Arc<Counts>,
    stopping: CancellationToken,
) {
    let mut logged_at = None;
    loop {
        let batch: Vec<SpanData> = next_batch(&mut waiting, &stopping).await.into_iter().map(data).collect();
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let taken = tokio::time::timeout(TAKEN_WITHIN, exporter.export(batch)).await;
        let fault = match taken {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        counts.not_taken.fetch_add(count, Ordering::Relaxed);
        let now = tokio::time::Instant::now();
        if logged_at.is_none_or(|at| now.duration_since(at) >= LOGGED_EVERY) {
            logged_at = Some(now);
            let Dropped { queue_full, not_taken } = counts.dropped();
            tracing::warn!(fault, queue_full, not_taken, "traces could not be handed to the collector");
        }
    }
}

/// The next spans, when there are enough or the first has waited long enough; none at the end.
async fn next_batch(waiting: &mut mpsc::Receiver<Span>, stopping: &CancellationToken) -> Vec<Span> {
    let mut batch = Vec::new();
    let gathering = async {
        batch.extend(waiting.recv().await);
        let until = tokio::time::Instant::now() + BATCH_EVERY;
        while batch.len() < BATCH_MAX
            && let Ok(Some(span)) = tokio::time::timeout_at(until, waiting.recv()).await
        {
            batch.push(span);
        }
    };
    if stopping.run_until_cancelled(gathering).await.is_none() {
        while batch.len() < BATCH_MAX
            && let Ok(span) = waiting.try_recv()
        {
            batch.push(span);
        }
    }
    batch
}

/// A span as the collector's protocol has it.
fn data(span: Span) -> SpanData {
    let Span { trace_id, span_id, parent, is_parent_remote, kind, name, begun_us, ended_us, attributes, error } = span;
    let (trace_id, span_id) = (TraceId::from(trace_id), SpanId::from(span_id));
    let attribute = |(key, value)| match value {
        Value::Text(text) => KeyValue::new(key, text),
        Value::Number(number) => KeyValue::new(key, number),
    };
    SpanData {
        span_context: SpanContext::new(trace_id, span_id, TraceFlags::SAMPLED, false, TraceState::NONE),
        parent_span_id: parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: is_parent_remote,
        span_kind: match kind {
            SpanKind::Server => OtlpKind::Server,
            SpanKind::Client => OtlpKind::Client,
        },
        name: name.to_string().into(),
        start_time: time(begun_us),
        end_time: time(ended_us),
        attributes: attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links: SpanLinks::default(),
        status: error.map_or(Status::Unset, |description| Status::Error { description }),
        instrumentation_scope: InstrumentationScope::builder("hallpass")
            .with_version(env!("CARGO_PKG_VERSION"))
            .build(),
    }
}

fn time(us: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_micros(u64::try_from(us).unwrap_or(0))
}

/// A connection that is made when it is needed, and again when it broke.
fn channel(options: &Options) -> Result<Channel> {
    let endpoint = Endpoint::from_shared(options.endpoint.to_string()).context("the collector's URL cannot be read")?;
    let endpoint = endpoint.connect_timeout(TAKEN_WITHIN).timeout(TAKEN_WITHIN);
    let Some(file) = &options.ca else { return Ok(endpoint.connect_lazy()) };
    let roots = authorities(file).map_err(|fault| anyhow!(fault))?;
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .context("no version of TLS can be used")?;
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tls = TlsConnector::from(Arc::new(config));
    Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |uri: Uri| {
        let tls = tls.clone();
        async move { connect(&uri, &tls).await.map(TokioIo::new) }
    })))
}

async fn connect(uri: &Uri, tls: &TlsConnector) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + use<>> {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let stream = TcpStream::connect((host.as_str(), uri.port_u16().unwrap_or(443))).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    tls.connect(name, stream).await
}

#[cfg(test)]
mod tests;
