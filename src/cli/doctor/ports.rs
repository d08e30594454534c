//! The addresses: free for the service, or answered by it.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};
use tonic::transport::Endpoint;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{ANSWER_WITHIN, finding::Finding};
use crate::config::Config;

const PORTS: &str = "ports";

/// How long a connection on this machine may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

pub(super) async fn check(config: Arc<Config>) -> Vec<Finding> {
    let has_tls = config.tls.is_some();
    let mut findings = vec![of_grpc(config.grpc_address, has_tls).await];
    if let Some(address) = config.http_address {
        findings.push(of_http("http_address", address, has_tls).await);
    }
    if let Some(address) = config.ops_address {
        findings.push(of_http("ops_address", address, false).await);
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

async fn of_grpc(address: SocketAddr, has_tls: bool) -> Finding {
    let key = "grpc_address";
    match look(address).await {
        Seen::Taken if has_tls => secured(address),
        Seen::Taken => match tokio::time::timeout(ANSWER_WITHIN, health(from_here(address))).await {
            Ok(Ok(ServingStatus::Serving)) => Finding::fine(PORTS, format!("a service answers on {address}: serving")),
            Ok(Ok(_)) => {
                let what = format!("the service on {address} is not serving");
                Finding::warning(PORTS, what, "it is starting or stopping, or cannot keep decisions: look into its log")
            }
            Ok(Err(_)) | Err(_) => taken(key, address),
        },
        seen => not_taken(key, address, seen),
    }
}

async fn health(address: SocketAddr) -> anyhow::Result<ServingStatus> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await?;
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await?;
    Ok(answer.into_inner().status())
}

async fn of_http(key: &str, address: SocketAddr, has_tls: bool) -> Finding {
    match look(address).await {
        Seen::Taken if has_tls => secured(address),
        Seen::Taken => match tokio::time::timeout(ANSWER_WITHIN, speaks_http(from_here(address))).await {
            Ok(Ok(true)) => Finding::fine(PORTS, format!("HTTP is spoken on {address}")),
            _ => taken(key, address),
        },
        seen => not_taken(key, address, seen),
    }
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

/// What listens is not asked whether it is this service: that takes a certificate or key of a caller.
fn secured(address: SocketAddr) -> Finding {
    Finding::fine(PORTS, format!("something listens on {address}, over TLS; `hallpass health` asks whether it serves"))
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
