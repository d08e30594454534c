//! The composition root: configuration -> stores, keys, realms -> App -> listener -> orderly stop.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use async_trait::async_trait;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    service::Routes,
    transport::{Server, server::TcpIncoming},
};

use crate::{
    app::{
        App,
        policies::validate,
        ports::{Clock, KeyError, KeySource},
        realm_state::RealmState,
        token_cache::TokenCache,
    },
    config::{Config, ConfigError, RealmConfig},
    domain::{
        fault::Fault,
        id::RealmName,
        issuer::{Issuer, KeyLocation},
        key_set::KeySet,
        policy_set::SourceFile,
        pseudonym::PseudonymKey,
    },
    provider::{
        clock::SystemClock,
        jwks::Jwks,
        realm_files::{RealmFolders, read_folder},
    },
    storage::{key_file, segment_log::SegmentLog, sled::SledStore},
    transport::grpc,
};

/// How long a stop waits for requests in flight.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// How often key sets that are about to be stale are fetched again.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// The most requests that one connection may have in flight.
const STREAMS_MAX: u32 = 4_096;

/// The longest headers of a request, in bytes. Tokens come in messages.
const HEADER_BYTES_MAX: u32 = 16 * 1024;

/// A connection that has shown no sign of life for this long is asked for one.
const PING_AFTER: Duration = Duration::from_secs(60);

/// Starts the service and returns when it takes requests.
///
/// # Errors
/// A port that is in use, realms with faults, a data folder that cannot be written or is another process's. Nothing is
/// changed then.
pub async fn start(config: Config) -> Result<Running> {
    start_with(config, |routes| routes).await
}

/// Starts the service with further routes beside its own.
///
/// # Errors
/// Those of [`start`].
pub async fn start_with(config: Config, extra: impl FnOnce(Routes) -> Routes) -> Result<Running> {
    let address = config.grpc_address;
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop whatever uses the port, or choose another with --grpc-address")
    })?;
    let grpc_address = listener.local_addr().context("the listener has no address")?;
    let service = Service::open(&config).await?;
    let options = grpc::Options { message_bytes_max: config.message_bytes_max };
    let (routes, health) = grpc::routes(Arc::clone(&service.app), &options).await?;
    let (accepting, working) = (CancellationToken::new(), CancellationToken::new());
    let serving = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(PING_AFTER))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .add_routes(extra(routes))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            accepting.clone().cancelled_owned(),
        );
    tokio::spawn(
        working.clone().run_until_cancelled_owned(keep_keys(Arc::clone(&service.app), Arc::clone(&service.jwks))),
    );
    tracing::info!(%grpc_address, data_dir = %config.data_dir.display(), "taking requests");
    Ok(Running { service, grpc_address, health, accepting, working, serving: tokio::spawn(serving) })
}

/// A service at work.
#[derive(Debug)]
pub struct Running {
    service: Service,
    grpc_address: std::net::SocketAddr,
    health: grpc::Health,
    accepting: CancellationToken,
    working: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
}

impl Running {
    /// Where the service listens.
    pub fn grpc_address(&self) -> std::net::SocketAddr {
        self.grpc_address
    }

    /// The use cases, for callers within this process.
    pub fn app(&self) -> &Arc<App> {
        &self.service.app
    }

    /// Returns when the service ends by itself, which it does only when it can take no more connections.
    pub async fn ended(&mut self) -> anyhow::Error {
        match (&mut self.serving).await {
            Ok(Err(error)) => anyhow::Error::new(error).context("no more connections can be taken"),
            _ => anyhow!("no more connections can be taken"),
        }
    }

    /// Stops: says so to health checks, takes no more connections, lets requests in flight finish for at most 30 s, and
    /// makes everything durable. Then the port and the data folder are free.
    ///
    /// # Errors
    /// A store whose last flush fails; what was acknowledged before is durable all the same.
    pub async fn stop(self) -> Result<()> {
        let Self { service, health, accepting, working, mut serving, .. } = self;
        tracing::info!("stopping");
        health.drain().await;
        accepting.cancel();
        if !serving.is_finished() && tokio::time::timeout(STOP_WAIT, &mut serving).await.is_err() {
            tracing::warn!("some requests were still in flight after {} s and are cut off", STOP_WAIT.as_secs());
            serving.abort();
        }
        working.cancel();
        let closed = service.close().await;
        tracing::info!("stopped");
        closed
    }
}

/// Fetches every issuer's keys, and then again before they are stale. What fails is logged where it is fetched.
async fn keep_keys(app: Arc<App>, jwks: Arc<Jwks>) {
    for realm in app.realms() {
        for issuer in &realm.policies().realm.file.issuers {
            drop(jwks.keys(&realm.name, &issuer.issuer, None).await);
        }
    }
    let mut ticks = tokio::time::interval(KEYS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        jwks.refresh_due().await;
    }
}

/// The use cases with the stores beneath them, without a listener.
#[derive(Debug)]
pub struct Service {
    app: Arc<App>,
    store: Arc<SledStore>,
    jwks: Arc<Jwks>,
}

impl Service {
    /// Opens the data folder and puts the realms to work.
    ///
    /// # Errors
    /// Realms with faults, before anything is touched; a data folder that cannot be written or is another process's.
    pub async fn open(config: &Config) -> Result<Self> {
        let realms = config.realms()?;
        let read = realms.clone();
        let files = blocking(move || read_realms(&read)).await?;
        let store = {
            let (folder, options) = (config.data_dir.join("relationships"), config.relationships.clone());
            Arc::new(blocking(move || Ok(SledStore::open(&folder, options)?)).await?)
        };
        let secret = key_file::load_or_create(&config.data_dir.join("pseudonym.key"))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tokens = Arc::new(TokenCache::new(config.tokens_cached_max));
        let verified = Arc::clone(&tokens);
        let jwks = Arc::new(Jwks::new(Arc::clone(&clock), Box::new(move |realm| verified.drop_realm(realm))));
        let folders: BTreeMap<_, _> = realms.iter().map(|realm| (realm.name.clone(), realm.folder.clone())).collect();
        let mut states = Vec::new();
        for (realm, files) in realms.into_iter().zip(files) {
            let RealmConfig { name, issuers, .. } = realm;
            let log = {
                let folder = config.data_dir.join("realms").join(name.as_str()).join("decisions");
                let (options, clock) = (config.decision_log, Arc::clone(&clock));
                Arc::new(blocking(move || Ok(SegmentLog::open(&folder, options, clock)?)).await?)
            };
            let pseudonyms = pseudonym_key(&secret, &name)?;
            let state = RealmState::start(name, &files, issuers, &*store, log, pseudonyms, clock.now_us()).await?;
            announce(&state);
            states.push(state);
        }
        let keys = Arc::new(RealmKeys { jwks: Arc::clone(&jwks), folders: folders.clone() });
        let source = Arc::new(RealmFolders::new(folders));
        let relationships = Arc::clone(&store);
        let app = Arc::new(App::new(clock, keys, relationships, source, tokens, states));
        Ok(Self { app, store, jwks })
    }

    /// The use cases.
    pub fn app(&self) -> &Arc<App> {
        &self.app
    }

    /// Makes everything durable and lets go of the data folder.
    ///
    /// # Errors
    /// A store whose last flush fails.
    pub async fn close(self) -> Result<()> {
        self.app.close().await;
        Ok(self.store.close().await?)
    }
}

/// Runs disk work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work on the disk was cut off")?
}

/// Reads and checks the files of all realms, as a reload would: each must compile and pass its own tests.
fn read_realms(realms: &[RealmConfig]) -> Result<Vec<Vec<SourceFile>>> {
    let mut faults = Vec::new();
    let mut read = Vec::new();
    for RealmConfig { name, folder, .. } in realms {
        match read_folder(folder) {
            Ok(files) => {
                let validation = validate(&files);
                faults.extend(validation.faults.into_iter().map(|fault| below(folder, fault)));
                let failed = validation.tests.iter().filter(|case| !case.differences.is_empty()).count();
                if failed > 0 {
                    let folder = folder.display();
                    let message = format!("{failed} of the realm's own tests fail; see `hallpass test {folder}`");
                    faults.push(Fault::in_file(&folder.to_string(), message));
                }
                read.push(files);
            }
            Err(message) => faults.push(Fault::in_file(&format!("realm `{name}`"), message)),
        }
    }
    if faults.is_empty() { Ok(read) } else { bail!(ConfigError(faults)) }
}

/// A fault of a realm's file, named by the path that leads there.
pub(crate) fn below(folder: &Path, mut fault: Fault) -> Fault {
    fault.file = folder.join(&fault.file).display().to_string();
    fault
}

/// The key of one realm: HMAC-SHA-256 of its name, so that pseudonyms of two realms have nothing in common.
fn pseudonym_key(secret: &[u8; 32], realm: &RealmName) -> Result<PseudonymKey> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).context("the pseudonym key has an impossible length")?;
    mac.update(b"pseudonyms of realm ");
    mac.update(realm.as_str().as_bytes());
    Ok(PseudonymKey::new(mac.finalize().into_bytes().into()))
}

fn announce(state: &RealmState) {
    let (name, loaded, graph) = (&state.name, state.policies(), state.graph());
    let (policies, relationships) = (loaded.realm.policies.len(), graph.counts().edges);
    let (version, revision) = (&loaded.realm.version, graph.revision());
    tracing::info!(realm = %name, policies, policy_version = %version, relationships, %revision, "realm ready");
    if loaded.realm.file.issuers.is_empty() {
        tracing::warn!(realm = %name, "no issuer is trusted, so every token is refused; name one in hallpass.toml under [[realms.{name}.issuers]]");
    }
}

/// The keys of realms. A key file that realm.toml names is looked for from the realm's folder.
#[derive(Debug)]
pub(crate) struct RealmKeys {
    /// Where the keys come from.
    pub(crate) jwks: Arc<Jwks>,
    /// The folder of each realm.
    pub(crate) folders: BTreeMap<RealmName, PathBuf>,
}

#[async_trait]
impl KeySource for RealmKeys {
    async fn keys(&self, realm: &RealmName, issuer: &str, kid: Option<&str>) -> Result<Arc<KeySet>, KeyError> {
        self.jwks.keys(realm, issuer, kid).await
    }

    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        let mut issuers = issuers.to_vec();
        if let Some(folder) = self.folders.get(realm) {
            for issuer in &mut issuers {
                if let KeyLocation::File(file) = &mut issuer.keys {
                    *file = folder.join(&*file);
                }
            }
        }
        self.jwks.set_issuers(realm, &issuers);
    }
}
