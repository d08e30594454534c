//! `hallpass health`: whether a running service can be asked, for the probes of containers, clusters and monitors.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use super::{
    Outcome,
    render::{self, Screen, Tone},
    secure::{self, TlsFlags},
    target::Place,
};
use crate::config::Environment;

/// How long a service may take to be reached and to answer. Probes should wait a second longer, so that they are told why.
const ANSWER_WAIT: Duration = Duration::from_secs(4);

const NOTES: &str = "\
Exit code 0: it can be asked, or with --live, it answered. Exit code 1: it can't, or there was no answer within 4 s. An
address with a path, such as http://127.0.0.1:9464/readyz, is asked over HTTP, where 200 is that it can; any other over gRPC
(grpc.health.v1). For a service with TLS it begins with https://, and --ca names who vouches for it. With --address the configuration is not read, so a probe does not fail because somebody is writing it.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Arguments {
    /// Where the service listens [default: the `grpc_address` of the configuration]
    #[arg(long, value_name = "URL")]
    address: Option<String>,
    /// The configuration file that says where the service listens.
    #[arg(long, value_name = "FILE")]
    #[arg(
        help = "The configuration file that says where the service listens [env: HALLPASS_CONFIG] [default: hallpass.toml]"
    )]
    config: Option<PathBuf>,
    #[command(flatten)]
    tls: TlsFlags,
    /// What is asked about: a service by its full name, or `hallpass.v1.policies/REALM` [default: all that it does]
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    service: String,
    /// Takes any answer for good: the process is alive, whether it can decide or not
    #[arg(long, conflicts_with = "service")]
    live: bool,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { address, config, tls, service, live } = arguments;
    let over_http = address.as_deref().and_then(HttpPlace::of);
    let target = Place { address, realm: None, config, tls };
    let ask = async {
        match over_http {
            Some(place) => ask_over_http(&place, &target.tls, environment, &service).await,
            None => ask_over_grpc(&target, environment, service).await,
        }
    };
    let late = || Err(anyhow!("no answer within {} s", ANSWER_WAIT.as_secs()));
    let status = match tokio::time::timeout(ANSWER_WAIT, ask).await.unwrap_or_else(|_| late()) {
        Ok(status) => status,
        Err(error) => {
            // Not 2: who runs a health check of a container keeps that exit code for itself.
            render::error(&error);
            return Ok(Outcome::Findings);
        }
    };
    let is_serving = status == ServingStatus::Serving;
    let shown = if is_serving { screen.toned(Tone::Good, "serving") } else { screen.toned(Tone::Bad, "not serving") };
    screen.line(shown)?;
    Ok(Outcome::of(!is_serving && !live))
}

async fn ask_over_grpc(target: &Place, environment: &Environment, service: String) -> Result<ServingStatus> {
    let mut client = HealthClient::new(target.connect(environment).await?);
    match client.check(HealthCheckRequest { service: service.clone() }).await {
        Ok(answer) => Ok(answer.into_inner().status()),
        Err(status) if status.code() == Code::NotFound => {
            Err(anyhow!("the service knows no `{service}`; expected a full name such as `hallpass.v1.policies/edfi`"))
        }
        // What broke is the connection, as where TLS is spoken and plain text came.
        Err(status) if std::error::Error::source(&status).is_some() => Err(anyhow!(
            "no service answers: {}; one with TLS is asked by --address https://… and --ca",
            status.message()
        )),
        Err(status) => Err(anyhow!("the service does not say: {}", status.message())),
    }
}

/// What is asked over HTTP: an address that has a path.
#[derive(Clone, Debug, PartialEq, Eq)]
struct HttpPlace {
    is_secure: bool,
    host: String,
    path: String,
}

impl HttpPlace {
    fn of(address: &str) -> Option<Self> {
        let (scheme, rest) = address.split_once("://").filter(|(scheme, _)| ["http", "https"].contains(scheme))?;
        let (host, path) = rest.split_once('/').filter(|(_, path)| !path.is_empty())?;
        Some(Self { is_secure: scheme == "https", host: host.to_owned(), path: path.to_owned() })
    }
}

async fn ask_over_http(
    place: &HttpPlace,
    tls: &TlsFlags,
    environment: &Environment,
    service: &str,
) -> Result<ServingStatus> {
    if !service.is_empty() {
        bail!("a path of HTTP says what is asked about; leave out --service");
    }
    let HttpPlace { is_secure, host, path } = place;
    let unreachable = || format!("no service answers on {host}");
    if *is_secure {
        let connector = tls.connector(environment, b"http/1.1")?;
        let (name, port) = secure::host_and_port(host, 443).with_context(|| format!("`{host}` is no host"))?;
        let connection = secure::connect(&connector, &name, port).await.with_context(unreachable)?;
        return status_line(connection, host, path).await;
    }
    status_line(TcpStream::connect(host).await.with_context(unreachable)?, host, path).await
}

/// Takes 200 for serving and any other status for not serving (RFC 9112 section 4; of the answer one line is read).
async fn status_line(
    mut connection: impl AsyncRead + AsyncWrite + Unpin,
    host: &str,
    path: &str,
) -> Result<ServingStatus> {
    let unreachable = || format!("no service answers on {host}");
    let request = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.with_context(unreachable)?;
    connection.flush().await.with_context(unreachable)?;
    let mut line = String::new();
    // Of somebody else's listener anything may come, and no end.
    BufReader::new(connection.take(1_024)).read_line(&mut line).await.with_context(unreachable)?;
    match line.split_once(' ') {
        Some((version, rest)) if version.starts_with("HTTP/1.") => {
            let is_fine = rest.trim_end() == "200" || rest.starts_with("200 ");
            Ok(if is_fine { ServingStatus::Serving } else { ServingStatus::NotServing })
        }
        _ => bail!("what listens on {host} does not speak HTTP"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_says_that_http_is_asked() {
        let place = |is_secure, host: &str, path: &str| {
            Some(HttpPlace { is_secure, host: host.to_owned(), path: path.to_owned() })
        };
        let asked = HttpPlace::of;
        assert_eq!(asked("http://127.0.0.1:9464/readyz"), place(false, "127.0.0.1:9464", "readyz"));
        assert_eq!(asked("http://[::1]:9464/a/b"), place(false, "[::1]:9464", "a/b"));
        assert_eq!(asked("https://a:1/readyz"), place(true, "a:1", "readyz"));
        for address in
            ["127.0.0.1:50051", "http://127.0.0.1:50051", "http://127.0.0.1:50051/", "https://a:1", "ftp://a/b", ""]
        {
            assert_eq!(asked(address), None, "{address}");
        }
    }
}
