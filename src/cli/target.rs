//! The running service that a verb speaks to.

use std::{
    fs, io,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use tonic::{
    Code, Request, Status,
    body::Body,
    client::GrpcService,
    codegen::{Body as HttpBody, Bytes, StdError},
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::StatusExt as _;

use super::secure::{self, TlsFlags};
use crate::{
    config::{Config, Environment, Flags},
    proto::v1::{ListRealmsRequest, policy_service_client::PolicyServiceClient},
    server::ADMIN_TOKEN,
};

const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The longest answer that is taken, in bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Which service to speak to, and which of its realms.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Place {
    /// Where the service listens; https:// for one with TLS [default: the `grpc_address` of the configuration]
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
    #[command(flatten)]
    pub(super) tls: TlsFlags,
}

impl Place {
    /// Connects to the service.
    pub(super) async fn connect(&self, environment: &Environment) -> Result<Channel> {
        let url = match &self.address {
            Some(address) if address.contains("://") => address.clone(),
            Some(address) => format!("http://{address}"),
            None => {
                let flags = Flags { config: self.config.clone(), ..Flags::default() };
                own_url(&Config::load(&flags, environment)?)
            }
        };
        let no_address = || format!("`{url}` is no address; expected for example 127.0.0.1:50051");
        let endpoint = Endpoint::from_shared(url.clone()).with_context(no_address)?;
        let endpoint = endpoint.connect_timeout(CONNECT_WAIT).tcp_nodelay(true);
        let connected = match endpoint.uri().scheme_str() {
            Some("http") => endpoint.connect().await,
            Some("https") => {
                let connector = self.tls.connector(environment, b"h2")?;
                let origin = endpoint.uri().clone();
                // The library is given what it needs no TLS of its own for.
                let plain = Endpoint::from_shared(url.replacen("https://", "http://", 1)).with_context(no_address)?;
                secure::channel(connector, plain.origin(origin).connect_timeout(CONNECT_WAIT)).await
            }
            _ => bail!("`{url}` is no address of a service; expected http:// or https://"),
        };
        connected.map_err(|error| {
            let cause = anyhow!(innermost(&error));
            cause.context(format!(
                "no service answers on {url}; start one with `hallpass serve`, or say where it is with --address"
            ))
        })
    }
}

/// Where a service of this configuration is reached from its own machine.
fn own_url(config: &Config) -> String {
    let mut address = config.grpc_address;
    if address.ip().is_unspecified() {
        let own = if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
        address.set_ip(own);
    }
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    format!("{scheme}://{address}")
}

/// The running service, and the key that it is shown if one is named.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Target {
    #[command(flatten)]
    place: Place,
    /// The file with the caller's key.
    #[arg(long, value_name = "FILE")]
    #[arg(help = "The file with the caller's key, where the service takes one [env: HALLPASS_TOKEN_FILE]")]
    pub(super) key_file: Option<PathBuf>,
}

impl Target {
    /// The realm that was named.
    pub(super) fn named(&self) -> Option<&str> {
        self.place.realm.as_deref()
    }

    /// The configuration file that was named.
    pub(super) fn config(&self) -> Option<PathBuf> {
        self.place.config.clone()
    }

    /// The same as who may read the log: with the key that is named, or else with the local admin token.
    pub(super) async fn connect_as_log_reader(
        &self,
        flag: &str,
        data_dir: Option<String>,
        environment: &Environment,
    ) -> Result<LogChannel> {
        let shown = shown_to_log(&self.place, self.key_file.as_deref(), flag, data_dir, environment)?;
        Ok(InterceptedService::new(self.place.connect(environment).await?, shown))
    }

    /// Reads the key, if one is named, and connects to the service.
    pub(super) async fn connect(&self, environment: &Environment) -> Result<PolicyChannel> {
        shown_to(&self.place, self.key_file.as_deref(), environment).await
    }

    /// The realm that was named, or else the service's only one.
    pub(super) async fn realm(&self, channel: &PolicyChannel) -> Result<String> {
        match &self.place.realm {
            Some(realm) => Ok(realm.clone()),
            None => only(&realms(channel.clone()).await?),
        }
    }

    /// The realm that was named, or else the service's only one; empty when the token's issuer has to say.
    pub(super) async fn realm_or_empty(&self, channel: &PolicyChannel) -> Result<String> {
        match &self.place.realm {
            Some(realm) => Ok(realm.clone()),
            None => match realms(channel.clone()).await?.as_slice() {
                [only] => Ok(only.clone()),
                _ => Ok(String::new()),
            },
        }
    }
}

/// The running service, for a verb that reads the decision log or does something to it, and the key that it shows.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LogTarget {
    #[command(flatten)]
    target: Place,
    /// The file with the caller's key.
    #[arg(long, value_name = "FILE")]
    #[arg(
        help = "The file with the caller's key [env: HALLPASS_TOKEN_FILE] [default: admin.token in the service's data folder]"
    )]
    token_file: Option<PathBuf>,
    /// The service's data folder, which has the local admin token [default: the `data_dir` of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// A connection whose every call shows the caller's key; without one its certificate says who calls.
pub(super) type LogChannel = PolicyChannel;

impl LogTarget {
    /// Reads the key and connects to the service.
    pub(super) async fn connect(&self, environment: &Environment) -> Result<LogChannel> {
        let shown =
            shown_to_log(&self.target, self.token_file.as_deref(), "--token-file", self.data_dir.clone(), environment)?;
        Ok(InterceptedService::new(self.target.connect(environment).await?, shown))
    }

    /// The realm that was named, or else the service's only one.
    pub(super) async fn realm(&self, channel: &LogChannel) -> Result<String> {
        match &self.target.realm {
            Some(realm) => Ok(realm.clone()),
            None => only(&realms(channel.clone()).await?),
        }
    }
}

/// What a reader of the log shows beside its certificate: the key in the file that is named, or else the local admin token,
/// unless there is a certificate.
fn shown_to_log(
    place: &Place,
    key_file: Option<&Path>,
    flag: &str,
    data_dir: Option<String>,
    environment: &Environment,
) -> Result<Shown> {
    let named = key_file.map(Path::to_owned).or_else(|| environment.get("HALLPASS_TOKEN_FILE").map(PathBuf::from));
    if named.is_none() && place.tls.has_certificate(environment) {
        return Ok(Shown(None));
    }
    let flags = Flags { config: place.config.clone(), data_dir, ..Flags::default() };
    bearer(named.as_deref(), flag, &flags, environment).map(|bearer| Shown(Some(bearer)))
}

/// The caller's key: of the file that is named, or else the local admin token.
fn bearer(named: Option<&Path>, flag: &str, flags: &Flags, environment: &Environment) -> Result<Bearer> {
    let path = match named {
        Some(path) => path.to_owned(),
        None => Config::load(flags, environment)?.data_dir.join(ADMIN_TOKEN),
    };
    let shown = path.display();
    read_key(&path).map_err(|error| match (named, error.downcast_ref::<io::Error>().map(io::Error::kind)) {
            (None, Some(io::ErrorKind::NotFound)) => anyhow!(
                "there is no local admin token `{shown}`; say where the service keeps its data with --data-dir or \
                 --config, or name the file of a caller's key with {flag}"
            ),
            (None, Some(io::ErrorKind::PermissionDenied)) => anyhow!(
                "the local admin token `{shown}` may be read by the user that runs the service alone; be that user, or name \
                 the file of a caller's key with {flag}"
            ),
            _ => error,
        })
}

/// The key in a file.
fn read_key(path: &Path) -> Result<Bearer> {
    let shown = path.display();
    let key = fs::read_to_string(path).with_context(|| format!("the caller's key `{shown}` cannot be read"))?;
    Bearer::new(&key).with_context(|| format!("`{shown}` holds no key; expected one line of visible characters"))
}

/// The running service, for a verb that does something to policies, and the key that it shows if one is named.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PolicyTarget {
    #[command(flatten)]
    target: Place,
    /// The file with the caller's key, where the service knows callers.
    #[arg(long, value_name = "FILE")]
    #[arg(
        help = "The file with the caller's key, where the service's configuration names callers [env: HALLPASS_TOKEN_FILE]"
    )]
    token_file: Option<PathBuf>,
}

/// A connection whose every call shows the caller's key, if there is one.
pub(super) type PolicyChannel = InterceptedService<Channel, Shown>;

impl PolicyTarget {
    /// Reads the key, if one is named, and connects to the service.
    pub(super) async fn connect(&self, environment: &Environment) -> Result<PolicyChannel> {
        shown_to(&self.target, self.token_file.as_deref(), environment).await
    }

    /// The realm that was named, or else the service's only one.
    pub(super) async fn realm(&self, channel: &PolicyChannel) -> Result<String> {
        match &self.target.realm {
            Some(realm) => Ok(realm.clone()),
            None => only(&realms(channel.clone()).await?),
        }
    }

    /// The realm that was named.
    pub(super) fn named(&self) -> Option<&str> {
        self.target.realm.as_deref()
    }
}

/// Connects to a service that is shown the key in this file, or in the one that the environment names.
async fn shown_to(place: &Place, key_file: Option<&Path>, environment: &Environment) -> Result<PolicyChannel> {
    let named = key_file.map(Path::to_owned).or_else(|| environment.get("HALLPASS_TOKEN_FILE").map(PathBuf::from));
    let key = named.as_deref().map(read_key).transpose()?;
    Ok(InterceptedService::new(place.connect(environment).await?, Shown(key)))
}

/// Adds a caller's key to every call, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Shown(Option<Bearer>);

impl Interceptor for Shown {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match &mut self.0 {
            Some(bearer) => bearer.call(request),
            None => Ok(request),
        }
    }
}

/// Adds a caller's key to every call.
#[derive(Clone)]
pub(super) struct Bearer(MetadataValue<Ascii>);

impl std::fmt::Debug for Bearer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bearer(..)")
    }
}

impl Bearer {
    /// The key, without the end of its line; `None` where it is none.
    pub(super) fn new(key: &str) -> Option<Self> {
        let key = key.trim();
        let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_graphic());
        let mut value: MetadataValue<Ascii> = format!("Bearer {key}").parse().ok().filter(|_| is_key)?;
        value.set_sensitive(true);
        Some(Self(value))
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// The service's only realm.
fn only(realms: &[String]) -> Result<String> {
    match realms {
        [only] => Ok(only.clone()),
        [] => bail!("the service has no realm; see its own log"),
        several => bail!("the service has several realms; choose one with --realm: {}", several.join(", ")),
    }
}

/// The names of the service's realms.
async fn realms<C>(channel: C) -> Result<Vec<String>>
where
    C: GrpcService<Body>,
    C::Error: Into<StdError>,
    C::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <C::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let listed = PolicyServiceClient::new(channel).list_realms(ListRealmsRequest {}).await;
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
        Code::InvalidArgument
        | Code::NotFound
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::PermissionDenied => "",
        Code::Unauthenticated => "; name the file of a caller's key with --token-file",
        Code::Unavailable | Code::DeadlineExceeded | Code::ResourceExhausted => "; try again in a moment",
        Code::Unimplemented => "; is this a hallpass service of the same version?",
        _ => "; the service's own log says more",
    };
    let reason = status.get_details_error_info().map(|info| format!(", {}", info.reason)).unwrap_or_default();
    let code = format!("{:?}", status.code());
    anyhow!("{} ({code}{reason}){advice}", status.message())
}
