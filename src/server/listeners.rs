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

/// A connection that has shown no sign of life for this long is asked for one.
const PING_AFTER: Duration = Duration::from_secs(60);

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
fn connection_limits(config: &Config) -> Limits {
    let config::Limits { connections_max, idle_max, .. } = config.limits;
    Limits { connections_max, idle_max, ..Limits::default() }
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
        let connections =
            Acceptor::start(listener, security(certificates.as_ref(), Protocol::Http2), connection_limits(config));
        let mut open = vec![("grpc", connections.open())];
        let server = grpc_server(config)
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
            let routes = routes.layer(Admission::new(places, http::door(limits.question_bytes_max)));
            let routes = routes.layer(observing.http(address));
            let security = security(certificates.as_ref(), Protocol::Http1);
            let connections = Acceptor::start(listener, security, connection_limits(config));
            open.push(("http", connections.open()));
            let serving = tokio::spawn(http::serve(connections, routes, limits, accepting.clone()));
            tracing::info!(http_address = %address, "taking requests over HTTP");
            anyhow::Ok(Http { address, serving })
        });
        let http = http.transpose()?;
        let ops = ops.map(|(listener, address)| serve_ops(app, listener, address, working));
        count_edges(app, open, certificates.as_ref());
        Ok(Listening { grpc_address, health, grpc: tokio::spawn(serving), http, ops, certificates })
    }
}

/// gRPC within the limits of the configuration.
fn grpc_server(config: &Config) -> Server {
    let config::Limits { streams_max, header_bytes_max, connection_max, .. } = config.limits;
    // A client may take all of its calls back at once, as one does whose deadlines pass together: the connection stays. (hyper
    // ends it after 20 by default, the answers to others with it.)
    let taken_back_max = usize::try_from(streams_max).unwrap_or(usize::MAX);
    Server::builder()
        .max_concurrent_streams(streams_max)
        .http2_max_pending_accept_reset_streams(Some(taken_back_max))
        .http2_max_header_list_size(header_bytes_max)
        .http2_keepalive_interval(Some(PING_AFTER))
        .max_connection_age(connection_max)
        .max_connection_age_grace(GRACE)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
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
fn count_edges(app: &Arc<App>, open: Vec<(&'static str, Open)>, certificates: Option<&Arc<Certificates>>) {
    app.meter().watch(Box::new(move || edges::connections(&open)));
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
