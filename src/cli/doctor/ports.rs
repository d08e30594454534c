//! The addresses: free for the service, or answered by it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    ANSWER_WITHIN,
    finding::{Finding, State},
    served::{self, Served},
};
use crate::{app::ports::Clock as _, cli::secure, config::Config, provider::clock::SystemClock};

const PORTS: &str = "ports";

/// How long a connection on this machine may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn check(config: Arc<Config>) -> Vec<Finding> {
    let mut findings = vec![of_grpc(&config).await];
    if let Some(address) = config.http_address {
        findings.push(match look(address).await {
            Seen::Taken if config.tls.is_some() => secured("http_address", address, b"http/1.1", &config).await.0,
            seen => of_http("http_address", address, seen).await,
        });
    }
    if let Some(address) = config.ops_address {
        findings.push(of_http("ops_address", address, look(address).await).await);
    }
    findings
}

/// What is the matter with an address, seen from outside.
enum Seen {
    /// Something listens there.
    Taken,
    /// Nothing does, and it can be listened on.
    Free,
    /// Nothing does, and nothing can.
    Unusable(io::Error),
}

async fn look(address: SocketAddr) -> Seen {
    let reached = tokio::time::timeout(CONNECT_WITHIN, TcpStream::connect(from_here(address))).await;
    if matches!(reached, Ok(Ok(_))) {
        return Seen::Taken;
    }
    match TcpListener::bind(address).await {
        Ok(_) => Seen::Free,
        Err(error) => Seen::Unusable(error),
    }
}

/// Where a listener is reached from this machine: one on all addresses, on its own.
fn from_here(address: SocketAddr) -> SocketAddr {
    let mut reached = address;
    match address {
        SocketAddr::V4(_) if address.ip().is_unspecified() => reached.set_ip(std::net::Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) if address.ip().is_unspecified() => reached.set_ip(std::net::Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    reached
}

async fn of_grpc(config: &Config) -> Finding {
    let (key, address) = ("grpc_address", config.grpc_address);
    let seen = look(address).await;
    if !matches!(seen, Seen::Taken) {
        return not_taken(key, address, seen);
    }
    let endpoint = Endpoint::from_shared(format!("http://{}", from_here(address)));
    let Ok(endpoint) = endpoint else { return taken(key, address) };
    if config.tls.is_none() {
        return match within(async { health(endpoint.connect().await?).await }).await {
            Some(ServingStatus::Serving) => Finding::fine(PORTS, format!("a service answers on {address}: serving")),
            Some(_) => not_serving(address),
            None => taken(key, address),
        };
    }
    let (finding, served) = secured(key, address, b"h2", config).await;
    let Some(Served { connector, .. }) = served.filter(|_| finding.state == State::Fine) else { return finding };
    // Who wants a certificate of its clients does not answer here.
    match within(async { health(secure::channel(connector, endpoint).await?).await }).await {
        Some(ServingStatus::Serving) => Finding::fine(PORTS, format!("{}: serving", finding.what)),
        Some(_) => not_serving(address),
        None => finding,
    }
}

/// What comes of a question in time; `None` for no answer.
async fn within<T>(asking: impl Future<Output = anyhow::Result<T>>) -> Option<T> {
    tokio::time::timeout(ANSWER_WITHIN, asking).await.ok()?.ok()
}

async fn health(channel: Channel) -> anyhow::Result<ServingStatus> {
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

fn not_serving(address: SocketAddr) -> Finding {
    let what = format!("the service on {address} is not serving");
    Finding::warning(PORTS, what, "it is starting or stopping, or cannot keep decisions: look into its log")
}

async fn of_http(key: &str, address: SocketAddr, seen: Seen) -> Finding {
    match seen {
        Seen::Taken => match tokio::time::timeout(ANSWER_WITHIN, speaks_http(from_here(address))).await {
            Ok(Ok(true)) => Finding::fine(PORTS, format!("HTTP is spoken on {address}")),
            _ => taken(key, address),
        },
        seen => not_taken(key, address, seen),
    }
}

/// What shows a certificate is this service, if it is that of the files.
async fn secured(key: &str, address: SocketAddr, protocol: &[u8], config: &Config) -> (Finding, Option<Served>) {
    let Some(tls) = &config.tls else { return (taken(key, address), None) };
    let Some(served) = served::look(from_here(address), protocol).await else { return (taken(key, address), None) };
    let expected = (tls.options.certificate.as_path(), config.public_url.as_deref());
    let finding = served::judge(PORTS, address, &served.certificate, expected, SystemClock.now_seconds());
    (finding, Some(served))
}

async fn speaks_http(address: SocketAddr) -> io::Result<bool> {
    let mut connection = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    // Of somebody else's listener anything may come, and no end.
    BufReader::new(connection.take(1_024)).read_line(&mut line).await?;
    Ok(line.starts_with("HTTP/1."))
}

fn taken(key: &str, address: SocketAddr) -> Finding {
    let what = format!("something listens on {address}, and it is not this service: it cannot start");
    let advice = format!("find it with `ss -ltnp sport = :{}` and stop it, or choose another `{key}`", address.port());
    Finding::fault(PORTS, what, advice)
}

fn not_taken(key: &str, address: SocketAddr, seen: Seen) -> Finding {
    match seen {
        Seen::Unusable(error) => {
            let what = format!("nothing can listen on {address}: {error}");
            Finding::fault(
                PORTS,
                what,
                format!("choose another `{key}`: an address of this machine, a port from 1024 on"),
            )
        }
        Seen::Free | Seen::Taken => Finding::fine(PORTS, format!("{address} is free; no service runs there")),
    }
}
