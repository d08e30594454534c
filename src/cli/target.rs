//! The running service that a verb speaks to.

use std::{
    fs, io,
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
            None => only(&realms(channel.clone()).await?),
        }
    }

    /// The realm that was named, or else the service's only one; empty when the token's issuer has to say.
    pub(super) async fn realm_or_empty(&self, channel: &Channel) -> Result<String> {
        match &self.realm {
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
    target: Target,
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

/// A connection whose every call shows the caller's key.
pub(super) type LogChannel = InterceptedService<Channel, Bearer>;

impl LogTarget {
    /// Reads the key and connects to the service.
    pub(super) async fn connect(&self, environment: &Environment) -> Result<LogChannel> {
        let bearer = self.bearer(environment)?;
        Ok(InterceptedService::new(self.target.connect(environment).await?, bearer))
    }

    /// The realm that was named, or else the service's only one.
    pub(super) async fn realm(&self, channel: &LogChannel) -> Result<String> {
        match &self.target.realm {
            Some(realm) => Ok(realm.clone()),
            None => only(&realms(channel.clone()).await?),
        }
    }

    fn bearer(&self, environment: &Environment) -> Result<Bearer> {
        let (config, data_dir) = (self.target.config.clone(), self.data_dir.clone());
        let flags = Flags { config, data_dir, ..Flags::default() };
        bearer(self.token_file.clone(), "--token-file", &flags, environment)
    }
}

/// The caller's key: of the file that is named, by the flag or by the environment, or else the local admin token.
pub(super) fn bearer(named: Option<PathBuf>, flag: &str, flags: &Flags, environment: &Environment) -> Result<Bearer> {
    let named = named.or_else(|| environment.get("HALLPASS_TOKEN_FILE").map(PathBuf::from));
    let path = if let Some(path) = &named {
        path.clone()
    } else {
        Config::load(flags, environment)?.data_dir.join(ADMIN_TOKEN)
    };
    let shown = path.display();
    read_key(&path).map_err(|error| match (&named, error.downcast_ref::<io::Error>().map(io::Error::kind)) {
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
    target: Target,
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
        let named = self.token_file.clone().or_else(|| environment.get("HALLPASS_TOKEN_FILE").map(PathBuf::from));
        let key = named.as_deref().map(read_key).transpose()?;
        Ok(InterceptedService::new(self.target.connect(environment).await?, Shown(key)))
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
