//! The running service that a verb speaks to.

use std::{path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow, bail};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use crate::{
    config::{Config, Environment, Flags},
    proto::v1::{ListRealmsRequest, policy_service_client::PolicyServiceClient},
};

const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The longest answer that is taken, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which service to speak to, and which of its realms.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    /// Where the service listens [default: the `grpc_address` of the configuration]
    #[arg(long, value_name = "URL")]
    pub(super) address: Option<String>,
    /// The realm; not needed when the service has only one
    #[arg(long, value_name = "NAME")]
    pub(super) realm: Option<String>,
    /// The configuration file that says where the service listens.
    #[arg(long, value_name = "FILE")]
    #[arg(
        help = "The configuration file that says where the service listens [env: HALLPASS_CONFIG] [default: hallpass.toml]"
    )]
    pub(super) config: Option<PathBuf>,
}

impl Target {
    /// Connects to the service.
    pub(super) async fn connect(&self, environment: &Environment) -> Result<Channel> {
        let url = match &self.address {
            Some(address) if address.contains("://") => address.clone(),
            Some(address) => format!("http://{address}"),
            None => {
                let flags = Flags { config: self.config.clone(), ..Flags::default() };
                format!("http://{}", Config::load(&flags, environment)?.grpc_address)
            }
        };
        let endpoint = Endpoint::from_shared(url.clone())
            .with_context(|| format!("`{url}` is no address; expected for example 127.0.0.1:50051"))?;
        if endpoint.uri().scheme_str() != Some("http") {
            bail!("`{url}` asks for TLS, which the service does not offer; expected http://");
        }
        let connected = endpoint.connect_timeout(CONNECT_WAIT).tcp_nodelay(true).connect().await;
        connected.map_err(|error| {
            let cause = anyhow!(innermost(&error));
            cause.context(format!(
                "no service answers on {url}; start one with `hallpass serve`, or say where it is with --address"
            ))
        })
    }

    /// The realm that was named, or else the service's only one.
    pub(super) async fn realm(&self, channel: &Channel) -> Result<String> {
        match &self.realm {
            Some(realm) => Ok(realm.clone()),
            None => match realms(channel).await?.as_slice() {
                [only] => Ok(only.clone()),
                [] => bail!("the service has no realm; see its own log"),
                several => bail!("the service has several realms; choose one with --realm: {}", several.join(", ")),
            },
        }
    }

    /// The realm that was named, or else the service's only one; empty when the token's issuer has to say.
    pub(super) async fn realm_or_empty(&self, channel: &Channel) -> Result<String> {
        match &self.realm {
            Some(realm) => Ok(realm.clone()),
            None => match realms(channel).await?.as_slice() {
                [only] => Ok(only.clone()),
                _ => Ok(String::new()),
            },
        }
    }
}

/// The names of the service's realms.
async fn realms(channel: &Channel) -> Result<Vec<String>> {
    let listed = PolicyServiceClient::new(channel.clone()).list_realms(ListRealmsRequest {}).await;
    let realms = listed.map_err(|status| failed(&status))?.into_inner().realms;
    Ok(realms.into_iter().map(|realm| realm.name).collect())
}

/// What is at the bottom of an error.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}

/// An error of the service, with what to do next.
pub(super) fn failed(status: &Status) -> anyhow::Error {
    let cause = std::error::Error::source(status);
    if let Some(cause) = cause.filter(|cause| cause.is::<tonic::transport::Error>()) {
        let cause = innermost(cause);
        return anyhow!(
            "the connection to the service broke: {cause}; is it still there, and is it a hallpass service?"
        );
    }
    let advice = match status.code() {
        Code::InvalidArgument | Code::NotFound | Code::FailedPrecondition | Code::OutOfRange => "",
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => "; try again in a moment",
        Code::Unimplemented => "; is this a hallpass service of the same version?",
        _ => "; the service's own log says more",
    };
    let reason = status.get_details_error_info().map(|info| format!(", {}", info.reason)).unwrap_or_default();
    let code = format!("{:?}", status.code());
    anyhow!("{} ({code}{reason}){advice}", status.message())
}
