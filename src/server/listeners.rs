//! Where the service listens, and within which limits.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::{Context as _, Result};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{service::Routes, transport::Server};

use super::observing::Observing;
use crate::{
    app::App,
    config::{self, Config, ConfigError},
    metrics::edges,
    proto::ENVOY_DESCRIPTOR_SET,
    provider::clock::SystemClock,
    transport::{
        envoy, grpc, http,
        layer::{
            admission::{Admission, Places},
            caller::WithCaller,
        },
        listener::{Acceptor, Certificates, Limits, Open, Protocol, Security},
    },
};

/// The services that answer beside ours.
const BESIDE: [grpc::Beside; 1] = [grpc::Beside { name: envoy::SERVICE, descriptors: ENVOY_DESCRIPTOR_SET }];

/// How long calls under way may go on over a connection that is to end because of its age.
const GRACE: Duration = Duration::from_secs(30);

/// A connection that has shown no sign of life for this long is asked for one. Who is in the middle of a frame or of headers
/// can give none, so that this bounds how long they may take, too.
const PING_AFTER: Duration = Duration::from_secs(60);

/// How long that sign of life may take.
const PONG_WITHIN: Duration = Duration::from_secs(20);

/// How many times as many calls as a connection may have at once may be taken back before we came to see them.
const TAKEN_BACK_TIMES: usize = 4;

/// The bytes with which a client of HTTP/2 begins (RFC 9113 section 3.4).
const PREFACE_BYTES: usize = 24;

/// The most connections of monitors.
const OPS_CONNECTIONS_MAX: usize = 64;

/// The sockets of a service that takes no connections yet.
#[derive(Debug)]
pub(super) struct Bound {
    grpc: (TcpListener, SocketAddr),
    http: Option<(TcpListener, SocketAddr)>,
    /// Where monitors ask.
    ops: Option<(TcpListener, SocketAddr)>,
    certificates: Option<Arc<Certificates>>,
}

/// The listeners at work.
#[derive(Debug)]
pub(super) struct Listening {
    /// Where gRPC is spoken.
    pub(super) grpc_address: SocketAddr,
    /// What the service says of its health.
    pub(super) health: grpc::Health,
    /// The gRPC listener.
    pub(super) grpc: JoinHandle<Result<(), tonic::transport::Error>>,
    /// The HTTP listener.
    pub(super) http: Option<Http>,
    /// The listener of monitors, which goes on to the end.
    pub(super) ops: Option<Http>,
    /// The certificates of both, if they have TLS.
    pub(super) certificates: Option<Arc<Certificates>>,
}

/// A listener of HTTP at work.
#[derive(Debug)]
pub(super) struct Http {
    /// Where HTTP is spoken.
    pub(super) address: SocketAddr,
    /// The listener.
    pub(super) serving: JoinHandle<()>,
}

/// Reads the certificates and takes the ports.
///
/// # Errors
/// Certificates that cannot be used, a port that is in use.
pub(super) async fn bind(config: &Config) -> Result<Bound> {
    let certificates = certificates(config).await?;
    let grpc = listen(config.grpc_address, "--grpc-address").await?;
    let http = match config.http_address {
        Some(address) => Some(listen(address, "--http-address").await?),
        None => None,
    };
    let ops = match config.ops_address {
        Some(address) => Some(listen(address, "--ops-address").await?),
        None => None,
    };
    Ok(Bound { grpc, http, ops, certificates })
}

/// The certificates of the listeners, if they have TLS.
async fn certificates(config: &Config) -> Result<Option<Arc<Certificates>>> {
    let Some(tls) = &config.tls else { return Ok(None) };
    let options = tls.options.clone();
    let opened = tokio::task::spawn_blocking(move || Certificates::open(options, Arc::new(SystemClock))).await;
    let opened = opened.context("the reading of the certificates was cut off")?;
    let faults = |faults: Vec<_>| ConfigError(faults.iter().map(|fault| tls.fault(fault)).collect());
    Ok(Some(Arc::new(opened.map_err(faults)?)))
}

/// How a listener's connections are secured.
fn security(certificates: Option<&Arc<Certificates>>, protocol: Protocol) -> Security {
    certificates.map_or(Security::Plain, |certificates| Security::Tls(Arc::clone(certificates), protocol))
}

/// The limits of a listener's connections.
fn connection_limits(config: &Config, protocol: Protocol) -> Limits {
    let config::Limits { connections_max, idle_max, .. } = config.limits;
    let opening_bytes = match protocol {
        Protocol::Http2 => PREFACE_BYTES,
        // Its headers have a time of their own from the first byte on.
        Protocol::Http1 => 0,
    };
    Limits { connections_max, idle_max, opening_bytes, ..Limits::default() }
}

/// The limits of a listener of HTTP.
fn http_limits(config: &Config) -> http::Limits {
    let config::Limits { body_bytes_max, connections_max, connection_max, .. } = config.limits;
    let kept = http::Limits::default();
    http::Limits { question_bytes_max: body_bytes_max, connections_max, connection_within: connection_max, ..kept }
}

impl Bound {
    /// Takes connections until `accepting` is cancelled; then lets requests in flight finish. Monitors are answered until
    /// `working` is.
    ///
    /// # Errors
    /// Services that cannot be put together.
    pub(super) async fn serve(
        self,
        app: &Arc<App>,
        config: &Config,
        extra: impl FnOnce(Routes) -> Routes,
        observing: &Observing,
        [accepting, working]: [&CancellationToken; 2],
    ) -> Result<Listening> {
        let Self { grpc: (listener, grpc_address), http, ops, certificates } = self;
        let options = grpc::Options {
            message_bytes_max: config.message_bytes_max,
            reflection: config.server.reflection(config.grpc_address),
            beside: &BESIDE,
        };
        let (routes, health) = grpc::routes(Arc::clone(app), &options).await?;
        let services = routes.clone();
        let routes = with_envoy(routes, app, config)?;
        let places = Arc::new(Places::new(config.limits.admission(), Arc::clone(app.meter())));
        let (watched, until) = (Arc::clone(&places), working.clone());
        tokio::spawn(async move { until.run_until_cancelled(watched.watch_queue()).await });
        let security_of = |protocol| security(certificates.as_ref(), protocol);
        let limits = connection_limits(config, Protocol::Http2);
        let connections = Acceptor::start(listener, security_of(Protocol::Http2), limits);
        let mut open = vec![("grpc", connections.open())];
        let server = grpc_server(&config.limits, [PING_AFTER, PONG_WITHIN])
            .layer(observing.grpc(grpc_address))
            .layer(Admission::new(Arc::clone(&places), grpc::door(config.message_bytes_max)))
            .layer(WithCaller::new(Arc::clone(app)))
            .add_routes(extra(routes));
        let serving = server.serve_with_incoming_shutdown(connections, accepting.clone().cancelled_owned());
        let http = http.map(|(listener, address)| {
            let limits = http_limits(config);
            let scheme = if certificates.is_some() { "https" } else { "http" };
            let public_url =
                config.public_url.as_deref().map_or_else(|| format!("{scheme}://{address}"), str::to_owned);
            let routes = http::routes(Arc::clone(app), limits, &public_url).context("there are no random bytes")?;
            let routes = routes.merge(http::json::routes(services, limits)).layer(WithCaller::new(Arc::clone(app)));
            let routes = routes.layer(Admission::new(Arc::clone(&places), http::door(limits.question_bytes_max)));
            let routes = routes.layer(observing.http(address));
            let places = connection_limits(config, Protocol::Http1);
            let connections = Acceptor::start(listener, security_of(Protocol::Http1), places);
            open.push(("http", connections.open()));
            let serving = tokio::spawn(http::serve(connections, routes, limits, accepting.clone()));
            tracing::info!(http_address = %address, "taking requests over HTTP");
            anyhow::Ok(Http { address, serving })
        });
        let http = http.transpose()?;
        let ops = ops.map(|(listener, address)| serve_ops(app, listener, address, working));
        count_edges(app, open, places, certificates.as_ref());
        Ok(Listening { grpc_address, health, grpc: tokio::spawn(serving), http, ops, certificates })
    }
}

/// gRPC within these limits. A connection without a sign of life is asked for one after the first time, and is closed when none
/// came for the second.
fn grpc_server(limits: &config::Limits, [ping_after, pong_within]: [Duration; 2]) -> Server {
    let config::Limits { streams_max, header_bytes_max, connection_max, .. } = *limits;
    // A client may take all of its calls back at once, as one does whose deadlines pass together, and those that waited for
    // their places after them, before we come to see any: the connection stays. (hyper ends it after 20 by default, the answers
    // to others with it.)
    let taken_back_max = usize::try_from(streams_max).unwrap_or(usize::MAX).saturating_mul(TAKEN_BACK_TIMES);
    Server::builder()
        .max_concurrent_streams(streams_max)
        .http2_max_pending_accept_reset_streams(Some(taken_back_max))
        .http2_max_header_list_size(header_bytes_max)
        .http2_keepalive_interval(Some(ping_after))
        .http2_keepalive_timeout(Some(pong_within))
        .max_connection_age(connection_max)
        .max_connection_age_grace(GRACE)
        // What was sent and not read waits where nobody sees it: no more than is worked off soon.
        .initial_stream_window_size(256 * 1024)
        .initial_connection_window_size(1024 * 1024)
}

/// Answers monitors on this machine.
fn serve_ops(app: &Arc<App>, listener: TcpListener, address: SocketAddr, working: &CancellationToken) -> Http {
    let limits = http::Limits { connections_max: OPS_CONNECTIONS_MAX, ..http::Limits::default() };
    let places = Limits { connections_max: OPS_CONNECTIONS_MAX, ..Limits::default() };
    let connections = Acceptor::start(listener, Security::Plain, places);
    let routes = http::ops_routes(Arc::clone(app));
    let serving = tokio::spawn(http::serve(connections, routes, limits, working.clone()));
    tracing::info!(ops_address = %address, "answering monitors");
    Http { address, serving }
}

/// Has what the listeners count shown among the metrics.
fn count_edges(
    app: &Arc<App>,
    open: Vec<(&'static str, Open)>,
    places: Arc<Places>,
    certificates: Option<&Arc<Certificates>>,
) {
    app.meter().watch(Box::new(move || edges::connections(&open)));
    app.meter().watch(Box::new(move || edges::admission(&places)));
    if let Some(certificates) = certificates.map(Arc::clone) {
        app.meter().watch(Box::new(move || edges::of_tls(&certificates)));
    }
}

/// The routes with those of Envoy. They are there whether or not a realm has `[routes]`, which a reload may bring or take away:
/// what none of them fits is denied.
fn with_envoy(routes: Routes, app: &Arc<App>, config: &Config) -> Result<Routes> {
    let options = config.envoy.clone().unwrap_or_default();
    if let Some(name) = &options.realm {
        app.realm(name).with_context(|| format!("`envoy.realm` is `{name}`"))?;
    }
    if options.is_dry_run {
        tracing::warn!("`envoy.dry_run` is set: requests that are denied pass all the same");
    }
    Ok(routes.add_service(envoy::service(Arc::clone(app), options, config.message_bytes_max)))
}

async fn listen(address: SocketAddr, flag: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop whatever uses the port, or choose another with {flag}")
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    Ok((listener, address))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    use super::*;
    use crate::transport::listener::Connection;

    const HOUR: Duration = Duration::from_secs(3_600);
    const SOON: Duration = Duration::from_millis(20);

    /// With what every client begins: the preface, and settings that change nothing (RFC 9113 section 3.4).
    const BEGINNING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    /// How headers begin that go on in another frame (section 6.2): four bytes of them.
    const HEADERS_TO_BE_CONTINUED: &[u8] = b"\0\0\x04\x01\0\0\0\0\x01\x40\x7f\xff\x01";
    /// How headers begin that are 16 KiB long (section 4.1), without the first of them.
    const LONG_HEADERS: &[u8] = b"\0\x40\0\x01\x04\0\0\0\x01";
    /// A ping, which is to be answered by as many bytes (section 6.7).
    const PING: &[u8] = b"\0\0\x08\x06\0\0\0\0\0abcdefgh";

    /// The other end of a gRPC connection that has all the time in the world, but for what is given.
    fn connect(opening_within: Duration, signs_of_life: [Duration; 2], written_within: Duration) -> DuplexStream {
        let kept = config::Limits { idle_max: HOUR, connection_max: HOUR, ..config::Limits::default() };
        let limits = Limits { idle_max: HOUR, opening_bytes: PREFACE_BYTES, opening_within, ..Limits::default() };
        let (connection, client) = Connection::in_memory(&limits, written_within);
        let server = grpc_server(&kept, signs_of_life).add_routes(Routes::default());
        tokio::spawn(server.serve_with_incoming(tokio_stream::once(Ok::<_, std::io::Error>(connection))));
        client
    }

    /// Sends the first bytes, and then others again and again until nobody takes them any more.
    async fn trickle(mut client: DuplexStream, first: &[u8], then: &[u8]) {
        client.write_all(first).await.unwrap();
        let (mut reading, mut writing) = tokio::io::split(client);
        let answer = tokio::spawn(async move { reading.read_to_end(&mut Vec::new()).await.ok() });
        while writing.write_all(then).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer.await.unwrap();
    }

    #[tokio::test]
    async fn a_preface_that_never_ends_is_not_waited_for() {
        for first in [&b""[..], &BEGINNING[..1], &BEGINNING[..PREFACE_BYTES - 1]] {
            let mut client = connect(SOON, [HOUR, HOUR], HOUR);
            client.write_all(first).await.unwrap();
            // Only that the service hangs up ends this.
            client.read_to_end(&mut Vec::new()).await.ok();
        }
    }

    #[tokio::test]
    async fn headers_that_never_end_are_not_waited_for() {
        trickle(connect(HOUR, [SOON, SOON], HOUR), &[BEGINNING, LONG_HEADERS].concat(), b"\0").await;
        let mut client = connect(HOUR, [SOON, SOON], HOUR);
        client.write_all(&[BEGINNING, HEADERS_TO_BE_CONTINUED].concat()).await.unwrap();
        client.read_to_end(&mut Vec::new()).await.ok();
    }

    #[tokio::test]
    async fn who_takes_nothing_of_what_is_written_is_left() {
        let mut client = connect(HOUR, [HOUR, HOUR], SOON);
        client.write_all(BEGINNING).await.unwrap();
        while client.write_all(PING).await.is_ok() {}
    }
}
