//! The composition root: configuration -> stores, keys, realms -> App -> listeners -> orderly stop.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
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
        caller::{self, CallerPolicies, Callers, KeyDigest, KnownCaller},
        people::People,
        policies::{faults_of, validate},
        ports::archive::{Archive, PolicyVersions as _},
        ports::{
            BeforeGroup, Clock, DecisionLog as _, Introspected, IntrospectionError, KeyError, KeySource, RealmFiles,
            Stores, TokenIntrospector,
        },
        realm_state::{Deployed, Origin, RealmState},
        token_cache::TokenCache,
    },
    config::{Config, ConfigError, RealmConfig},
    domain::{
        fault::Fault, id::RealmName, issuer::Issuer, key_set::KeySet, policy_set::SourceFile, pseudonym::PseudonymKey,
    },
    provider::{
        clock::SystemClock,
        introspection::Introspectors,
        jwks::Jwks,
        priority::step_back,
        realm_files::{Place, RealmFolders, embedded_caller_policies, read_folder},
        witness::Witness,
    },
    storage::{
        checkpoint_key,
        history::HistoryFiles,
        identities::IdentityTable,
        key_file,
        policy_versions::PolicyFolders,
        segment_log::{self, LogKey, Outside, SegmentLog, Signing},
        sled::SledStore,
    },
    transport::{grpc, http},
};

/// The file of the data folder with the local admin token.
pub const ADMIN_TOKEN: &str = "admin.token";

/// How long a stop waits for requests in flight.
const STOP_WAIT: Duration = Duration::from_secs(30);

/// How often key sets that are about to be stale are fetched again.
const KEYS_EVERY: Duration = Duration::from_secs(60);

/// How often old decisions are looked for.
const RETENTION_EVERY: Duration = Duration::from_secs(3_600);

/// How often erasures that were interrupted are tried again.
const ERASURES_EVERY: Duration = Duration::from_secs(60);

/// The most requests that one connection may have in flight. A client may take all of them back at once, as one does
/// whose deadlines pass together: the connection stays. (hyper ends it after 20 by default, the answers to others with it.)
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
    let (listener, grpc_address) = listen(config.grpc_address, "--grpc-address").await?;
    let http_listener = match config.http_address {
        Some(address) => Some(listen(address, "--http-address").await?),
        None => None,
    };
    let service = Service::open(&config).await?;
    let options = grpc::Options { message_bytes_max: config.message_bytes_max };
    let (routes, health) = grpc::routes(Arc::clone(&service.app), &options).await?;
    let services = routes.clone();
    let (accepting, working) = (CancellationToken::new(), CancellationToken::new());
    let serving = Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_max_pending_accept_reset_streams(Some(STREAMS_MAX as usize))
        .http2_max_header_list_size(HEADER_BYTES_MAX)
        .http2_keepalive_interval(Some(PING_AFTER))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .add_routes(extra(routes))
        .serve_with_incoming_shutdown(
            TcpIncoming::from(listener).with_nodelay(Some(true)),
            accepting.clone().cancelled_owned(),
        );
    let http = http_listener.map(|(listener, address)| {
        let limits = http::Limits::default();
        let routes = http::routes(Arc::clone(&service.app), limits).merge(http::json::routes(services, limits));
        let serving = tokio::spawn(http::serve(listener, routes, limits, accepting.clone()));
        tracing::info!(http_address = %address, "taking requests over HTTP");
        Http { address, serving }
    });
    tokio::spawn(
        working.clone().run_until_cancelled_owned(keep_keys(Arc::clone(&service.app), Arc::clone(&service.jwks))),
    );
    for witness in &service.witnesses {
        let witness = Arc::clone(witness);
        tokio::spawn(working.clone().run_until_cancelled_owned(async move { witness.follow().await }));
    }
    tokio::spawn(working.clone().run_until_cancelled_owned(keep_to_retention(Arc::clone(&service.app))));
    tokio::spawn(working.clone().run_until_cancelled_owned(keep_erasing(Arc::clone(&service.app))));
    let app = Arc::clone(&service.app);
    tokio::spawn(working.clone().run_until_cancelled_owned(async move { app.follow_shadows().await }));
    for (realm, every) in service.watches.clone() {
        let app = Arc::clone(&service.app);
        tokio::spawn(working.clone().run_until_cancelled_owned(async move { app.watch_policies(&realm, every).await }));
    }
    tracing::info!(%grpc_address, data_dir = %config.data_dir.display(), "taking requests");
    Ok(Running { service, grpc_address, health, accepting, working, serving: tokio::spawn(serving), http })
}

async fn listen(address: SocketAddr, flag: &str) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; stop whatever uses the port, or choose another with {flag}")
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    Ok((listener, address))
}

/// A service at work.
#[derive(Debug)]
pub struct Running {
    service: Service,
    grpc_address: SocketAddr,
    health: grpc::Health,
    accepting: CancellationToken,
    working: CancellationToken,
    serving: JoinHandle<Result<(), tonic::transport::Error>>,
    http: Option<Http>,
}

/// The HTTP listener at work.
#[derive(Debug)]
struct Http {
    address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Running {
    /// Where the service listens.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc_address
    }

    /// Where HTTP is spoken, if it is.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(|http| http.address)
    }

    /// The use cases, for callers within this process.
    pub fn app(&self) -> &Arc<App> {
        &self.service.app
    }

    /// Returns when the service ends by itself, which it does only when it can take no more connections.
    pub async fn ended(&mut self) -> anyhow::Error {
        let http_ended = async {
            match &mut self.http {
                Some(http) => drop((&mut http.serving).await),
                None => std::future::pending().await,
            }
        };
        let ended = tokio::select! {
            ended = &mut self.serving => ended,
            () = http_ended => Ok(Ok(())),
        };
        match ended {
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
        let Self { service, health, accepting, working, serving, http, grpc_address: _ } = self;
        tracing::info!("stopping");
        health.drain().await;
        // Who follows a log would do so for ever.
        service.app.end_tails();
        accepting.cancel();
        tokio::join!(finish(serving), async {
            if let Some(http) = http {
                finish(http.serving).await;
            }
        });
        working.cancel();
        let closed = service.close().await;
        tracing::info!("stopped");
        closed
    }
}

/// Lets a listener's requests in flight finish, for a while.
async fn finish<T>(mut serving: JoinHandle<T>) {
    if !serving.is_finished() && tokio::time::timeout(STOP_WAIT, &mut serving).await.is_err() {
        tracing::warn!("some requests were still in flight after {} s and are cut off", STOP_WAIT.as_secs());
        serving.abort();
    }
}

/// Fetches every issuer's keys, and then again before they are stale. What fails is logged where it is fetched.
async fn keep_keys(app: Arc<App>, jwks: Arc<Jwks>) {
    let mut first = tokio::task::JoinSet::new();
    for realm in app.realms() {
        for issuer in &realm.policies().realm.file.issuers {
            let (jwks, realm, issuer) = (Arc::clone(&jwks), realm.name.clone(), Arc::clone(&issuer.issuer));
            first.spawn(async move { drop(jwks.keys(&realm, &issuer, None).await) });
        }
    }
    first.join_all().await;
    let mut ticks = tokio::time::interval(KEYS_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        jwks.refresh_due().await;
    }
}

/// Deletes what the realms' retention rules say, now and then again.
async fn keep_to_retention(app: Arc<App>) {
    let mut ticks = tokio::time::interval(RETENTION_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.retain().await;
    }
}

/// Finishes erasures that were interrupted, now and then again.
async fn keep_erasing(app: Arc<App>) {
    let mut ticks = tokio::time::interval(ERASURES_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        app.finish_erasures().await;
    }
}

/// The use cases with the stores beneath them, without a listener.
#[derive(Debug)]
pub struct Service {
    app: Arc<App>,
    store: Arc<SledStore>,
    jwks: Arc<Jwks>,
    witnesses: Vec<Arc<Witness>>,
    /// Whose files are looked at, and how often.
    watches: Vec<(RealmName, Duration)>,
}

impl Service {
    /// Opens the data folder and puts the realms to work.
    ///
    /// # Errors
    /// Realms with faults, before anything is touched; a data folder that cannot be written or is another process's.
    pub async fn open(config: &Config) -> Result<Self> {
        let realms = config.realms()?;
        let (read, data_dir) = (realms.clone(), config.data_dir.clone());
        let origins = blocking(move || read_realms(&read, &data_dir)).await?;
        let caller_policies = open_caller_policies(config, &realms).await?;
        let store = {
            let (folder, options) = (config.data_dir.join("relationships"), config.relationships.clone());
            Arc::new(blocking(move || Ok(SledStore::open(&folder, options)?)).await?)
        };
        let secret = key_file::load_or_create(&config.data_dir.join("pseudonym.key"))?;
        let admin = KeyDigest::of(&key_file::load_or_create_text(&config.data_dir.join(ADMIN_TOKEN))?);
        let log_secret = key_file::load_or_create(&keys_folder(&config.data_dir)?.join("log.key"))?;
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let tokens = Arc::new(TokenCache::new(config.tokens_cached_max));
        let verified = Arc::clone(&tokens);
        let jwks = Arc::new(Jwks::new(Arc::clone(&clock), Box::new(move |realm| verified.drop_realm(realm))));
        let mut places: BTreeMap<_, _> = realms.iter().map(|realm| (realm.name.clone(), realm.place.clone())).collect();
        let folders: BTreeMap<_, _> =
            places.iter().map(|(name, place)| (name.clone(), place.folder().to_owned())).collect();
        let mut watches: Vec<_> = realms.iter().filter_map(|realm| Some((realm.name.clone(), realm.watch?))).collect();
        let shadows = realms.iter().filter_map(|realm| Some((realm.name.clone(), realm.shadow.clone()?))).collect();
        let stores = Stores {
            relationships: Arc::clone(&store) as Arc<_>,
            applications: Arc::clone(&store) as Arc<_>,
            revocations: Arc::clone(&store) as Arc<_>,
        };
        let retention = realms.iter().map(|realm| (realm.name.clone(), realm.retention)).collect();
        let opening = Opening { config, secret, log_secret, clock: &clock, stores: &stores };
        let (mut witnesses, mut states) = (Vec::new(), Vec::new());
        for (realm, origin) in realms.into_iter().zip(origins) {
            let (state, witnessed) = opening.realm(realm, origin).await?;
            witnesses.extend(witnessed);
            announce(&state);
            states.push(state);
        }
        let keys = Arc::new(RealmKeys { jwks: Arc::clone(&jwks), folders: folders.clone() });
        let introspectors = Introspectors::new(Arc::clone(&clock));
        let introspector = RealmIntrospector { introspectors, folders };
        if let Some(folder) = config.caller_policies() {
            let name: RealmName = caller::REALM.parse()?;
            watches.extend(config.watch.map(|every| (name.clone(), every)));
            places.insert(name, Place::Folder(folder));
        }
        let source = Arc::new(RealmFolders::new(places).with_shadows(shadows));
        let caller_policies = CallerPolicies::start(&caller_policies, clock.now_us()).map_err(ConfigError)?;
        let callers = Callers::new(config.callers.clone(), admin, caller_policies);
        let app = App::new(clock, keys, stores, source, tokens, states);
        let app = app.with_introspector(Arc::new(introspector)).with_callers(callers).with_retention(retention);
        let app = app.with_step_back(step_back);
        let app = Arc::new(app);
        // What cannot be finished yet is tried again while the service runs.
        app.finish_erasures().await;
        Ok(Self { app, store, jwks, witnesses, watches })
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
        // The last checkpoints are made when the logs are closed. Who cannot take them has been told of, and is not waited for.
        let handing = self.witnesses.iter().map(|witness| {
            let witness = Arc::clone(witness);
            async move { witness.hand_newest().await }
        });
        let _taken_or_told = handing.collect::<tokio::task::JoinSet<_>>().join_all().await;
        Ok(self.store.close().await?)
    }
}

/// What the realms of a deployment have in common when they are put to work.
struct Opening<'a> {
    config: &'a Config,
    /// The key behind the hashes of masked fields.
    secret: [u8; 32],
    /// The key behind those that seal the logs.
    log_secret: [u8; 32],
    clock: &'a Arc<dyn Clock>,
    stores: &'a Stores,
}

impl Opening<'_> {
    /// Puts a realm to work; who witnesses its log's checkpoints comes with it.
    async fn realm(&self, realm: RealmConfig, begin: Begin) -> Result<(RealmState, Vec<Arc<Witness>>)> {
        let RealmConfig { name, variant, issuers, decision_log, mask, .. } = realm;
        let identities = {
            let (data_dir, name, clock) = (self.config.data_dir.clone(), name.clone(), Arc::clone(self.clock));
            let key = realm_key(&self.secret, "facts", &name)?;
            Arc::new(blocking(move || Ok(IdentityTable::open(&data_dir, &name, &key, clock)?)).await?)
        };
        let options = decision_log.unwrap_or(self.config.decision_log);
        let log = self.log(&name, options, Arc::clone(&identities) as Arc<_>).await?;
        let witnesses = Witness::all(&self.config.witness, &log.checkpoints());
        let hashes = PseudonymKey::new(realm_key(&self.secret, "pseudonyms", &name)?);
        let people = People { identities, hashes, mask };
        let deployed = Deployed { name, variant, issuers };
        let archive = open_archive(self.config, &deployed.name).await?;
        let now_us = self.clock.now_us();
        let Begin { files, origin } = begin;
        let state = RealmState::start(deployed, &files, self.stores, log, people, now_us).await?;
        let state = state.with_archive(archive, &*self.stores.relationships, origin, now_us).await?;
        let state = state.with_witnesses(witnesses.iter().map(|witness| Arc::clone(witness) as Arc<_>).collect());
        Ok((state, witnesses))
    }

    async fn log(
        &self,
        name: &RealmName,
        options: segment_log::Options,
        before_group: Arc<dyn BeforeGroup>,
    ) -> Result<Arc<SegmentLog>> {
        let data_dir = &self.config.data_dir;
        let folder = data_dir.join("realms").join(name.as_str()).join("decisions");
        let outside = Outside {
            clock: Arc::clone(self.clock),
            key: LogKey::of_realm(&self.log_secret, name).context("no key can be made for the decision log")?,
            before_group: Some(before_group),
            index: Some(data_dir.join("index").join(name.as_str())),
        };
        let signing = signing(self.config, &keys_folder(data_dir)?, name)?;
        let open = move || {
            let log = SegmentLog::open(&folder, options, outside)?;
            log.sign(signing)?;
            Ok(log)
        };
        Ok(Arc::new(blocking(open).await?))
    }
}

/// What signs the checkpoints of a realm's log.
pub(crate) fn signing(config: &Config, keys: &Path, realm: &RealmName) -> Result<Signing> {
    Ok(Signing {
        seeds: checkpoint_key::seeds(keys)?,
        origin: config.log_origin.as_ref().map(|origin| format!("{origin}/{realm}").into()),
        origin_default: checkpoint_key::origin_default(keys, realm.as_str())?.into(),
        kept: Some(checkpoint_key::newest(keys, realm.as_str())),
    })
}

/// Where a realm keeps what it was.
async fn open_archive(config: &Config, realm: &RealmName) -> Result<Archive> {
    let folder = config.data_dir.join("realms").join(realm.as_str());
    let versions = Arc::new(kept_versions(&config.data_dir, realm));
    let (keys, realm) = (config.data_dir.join("keys"), realm.clone());
    let history = blocking(move || Ok(HistoryFiles::open(&folder.join("history"), &keys, &realm)?)).await?;
    Ok(Archive { versions, history: Arc::new(history) })
}

/// The folder of keys, made for its owner alone when it is not there.
pub(crate) fn keys_folder(data_dir: &Path) -> Result<PathBuf> {
    let folder = data_dir.join("keys");
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).with_context(|| format!("folder `{}` cannot be made", folder.display()))?;
    Ok(folder)
}

/// Runs disk work on a thread that may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work on the disk was cut off")?
}

/// The versions of a realm's policies that are kept.
fn kept_versions(data_dir: &Path, realm: &RealmName) -> PolicyFolders {
    PolicyFolders::in_folder(&data_dir.join("realms").join(realm.as_str()).join("policies"))
}

/// The policies that a realm begins with, and where they come from.
struct Begin {
    files: Vec<SourceFile>,
    origin: Origin,
}

/// Reads and checks the policies of all realms, as a reload would: each must compile and pass its own tests.
fn read_realms(realms: &[RealmConfig], data_dir: &Path) -> Result<Vec<Begin>> {
    let mut faults = Vec::new();
    let mut read = Vec::new();
    for realm @ RealmConfig { name, place, variant, .. } in realms {
        let folder = place.shown();
        match read_realm(realm, data_dir) {
            Ok(begin) => {
                let validation = validate(&begin.files, variant.as_deref());
                faults.extend(validation.faults.into_iter().map(|fault| below(folder, fault)));
                let failed = validation.tests.iter().filter(|case| !case.differences.is_empty()).count();
                if failed > 0 {
                    let folder = folder.display();
                    let message = format!("{failed} of the realm's own tests fail; see `hallpass test {folder}`");
                    faults.push(Fault::in_file(&folder.to_string(), message));
                }
                read.push(begin);
            }
            Err(message) => faults.push(Fault::in_file(&format!("realm `{name}`"), message)),
        }
    }
    if faults.is_empty() { Ok(read) } else { bail!(ConfigError(faults)) }
}

/// The policies that a realm begins with: those of a rollback that stands, or else its files.
///
/// # Errors
/// A sentence that names what cannot be read and what is wrong with it.
fn read_realm(RealmConfig { name, place, variant, .. }: &RealmConfig, data_dir: &Path) -> Result<Begin, String> {
    let versions = kept_versions(data_dir, name);
    let Some(pin) = versions.pin().map_err(|error| error.to_string())? else {
        let RealmFiles { files, seal } = place.read()?;
        let origin = Origin::Files(RealmFiles { files: files.clone(), seal });
        return Ok(Begin { files, origin });
    };
    let way_out = |what: &str| {
        let file = versions.pin_file();
        format!(
            "was rolled back to version {}, which {what}; without the file `{}` the realm's files decide again",
            pin.version,
            file.display()
        )
    };
    let kept = versions.get(&pin.version).map_err(|error| error.to_string())?;
    let kept = kept.ok_or_else(|| way_out("is not kept any more"))?;
    if kept.variant != *variant {
        return Err(way_out("is of another variant than hallpass.toml asks for"));
    }
    let signer = place.vouch(&kept).map_err(|message| way_out(&format!("may not decide: {message}")))?;
    tracing::warn!(realm = %name, policy_version = %pin.version, by = %pin.by, "a rollback stands, so the realm's files do not decide");
    Ok(Begin { files: kept.files, origin: Origin::Pinned(pin, signer) })
}

/// The files of the policies that judge who reads the decision log: the deployment's own, or those of the program.
async fn open_caller_policies(config: &Config, realms: &[RealmConfig]) -> Result<Vec<SourceFile>> {
    let (own, known) = (config.caller_policies(), config.callers.clone());
    let realms: Vec<RealmName> = realms.iter().map(|realm| realm.name.clone()).collect();
    blocking(move || read_caller_policies(own.as_deref(), &known, &realms)).await
}

/// Reads and checks the policies that judge who reads the decision log, and what callers need of them.
fn read_caller_policies(own: Option<&Path>, callers: &[KnownCaller], realms: &[RealmName]) -> Result<Vec<SourceFile>> {
    let folder = own.unwrap_or(Path::new("policies/hallpass of the program"));
    let files = own.map_or_else(|| Ok(embedded_caller_policies()), read_folder);
    let files = files.map_err(|message| ConfigError(vec![Fault::in_file(caller::REALM, message)]))?;
    let mut faults: Vec<Fault> = faults_of(&files, None).into_iter().map(|fault| below(folder, fault)).collect();
    let compiled = faults.is_empty().then(|| CallerPolicies::compile(&files));
    faults.extend(compiled.and_then(Result::err).into_iter().flatten().map(|fault| below(folder, fault)));
    for KnownCaller { name, realms: own, .. } in callers {
        for realm in own.iter().filter(|realm| !realms.contains(realm)) {
            let message = format!("names the realm `{realm}`, which this service does not have");
            faults.push(Fault::in_file(&format!("caller `{name}`"), message));
        }
    }
    if faults.is_empty() { Ok(files) } else { bail!(ConfigError(faults)) }
}

/// A fault of a realm's file, named by the path that leads there.
pub(crate) fn below(folder: &Path, mut fault: Fault) -> Fault {
    fault.file = folder.join(&fault.file).display().to_string();
    fault
}

/// A key of one realm: HMAC-SHA-256 of its name and of what it is for, so that those of two realms, and of two uses, have
/// nothing in common.
fn realm_key(secret: &[u8; 32], of: &str, realm: &RealmName) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).context("the pseudonym key has an impossible length")?;
    mac.update(of.as_bytes());
    mac.update(b" of realm ");
    mac.update(realm.as_str().as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

fn announce(state: &RealmState) {
    let (name, loaded, graph) = (&state.name, state.policies(), state.graph());
    let (policies, relationships) = (loaded.realm.policies.len(), graph.counts().edges);
    let applications = state.applications().len();
    let (version, revision) = (&loaded.realm.version, graph.revision());
    let variant = state.variant.as_deref().unwrap_or_default();
    tracing::info!(realm = %name, variant, policies, policy_version = %version, relationships, applications, %revision, "realm ready");
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
        self.jwks.set_issuers(realm, &with_files(&self.folders, realm, issuers));
    }
}

/// Asks the issuers of realms about their opaque tokens. A file that realm.toml names is looked for from the realm's folder.
#[derive(Debug)]
struct RealmIntrospector {
    introspectors: Introspectors,
    folders: BTreeMap<RealmName, PathBuf>,
}

#[async_trait]
impl TokenIntrospector for RealmIntrospector {
    async fn introspect(
        &self,
        realm: &RealmName,
        issuer: &str,
        token: &str,
    ) -> Result<Introspected, IntrospectionError> {
        self.introspectors.introspect(realm, issuer, token).await
    }

    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        self.introspectors.set_issuers(realm, &with_files(&self.folders, realm, issuers));
    }
}

/// Issuers whose files are where they are looked for.
fn with_files(folders: &BTreeMap<RealmName, PathBuf>, realm: &RealmName, issuers: &[Issuer]) -> Vec<Issuer> {
    let mut issuers = issuers.to_vec();
    if let Some(folder) = folders.get(realm) {
        for file in issuers.iter_mut().flat_map(Issuer::files_mut) {
            *file = folder.join(&*file);
        }
    }
    issuers
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::transport::Channel;
    use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

    use super::*;
    use crate::proto::v1::{ImportRecordsRequest, relationship_service_client::RelationshipServiceClient};

    fn config(folder: &Path) -> Config {
        Config {
            data_dir: folder.join("data"),
            grpc_address: ([127, 0, 0, 1], 0).into(),
            policies_dir: Path::new(env!("CARGO_MANIFEST_DIR")).join("policies"),
            ..Config::default()
        }
    }

    async fn connect(running: &Running) -> Channel {
        Channel::from_shared(format!("http://{}", running.grpc_address())).unwrap().connect().await.unwrap()
    }

    async fn refused(config: Config) -> String {
        format!("{:#}", start(config).await.unwrap_err())
    }

    #[tokio::test]
    async fn a_stop_frees_the_port_and_the_data_folder() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(config(folder.path())).await.unwrap();
        let grpc_address = running.grpc_address();
        let mut health = HealthClient::new(connect(&running).await);
        let status = health.check(HealthCheckRequest::default()).await.unwrap().into_inner().status();
        assert_eq!(status.as_str_name(), "SERVING");
        let key = fs::read(folder.path().join("data/pseudonym.key")).unwrap();
        running.stop().await.unwrap();
        let again = start(Config { grpc_address, ..config(folder.path()) }).await.unwrap();
        again.stop().await.unwrap();
        assert_eq!(fs::read(folder.path().join("data/pseudonym.key")).unwrap(), key);
    }

    #[tokio::test]
    async fn a_stop_lets_requests_in_flight_finish() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(config(folder.path())).await.unwrap();
        let app = Arc::clone(running.app());
        let (sender, receiver) = mpsc::channel(1);
        let mut client = RelationshipServiceClient::new(connect(&running).await);
        let import = tokio::spawn(async move { client.import_records(ReceiverStream::new(receiver)).await });
        let message = || ImportRecordsRequest {
            realm: "edfi".to_owned(),
            resource: "stateEducationAgencies".to_owned(),
            records: vec![r#"{"stateEducationAgencyId": 1, "nameOfInstitution": "One"}"#.to_owned()],
        };
        // Each message but the last was taken over by the connection when the next one fits.
        for _ in 0..3 {
            sender.send(message()).await.unwrap();
        }
        let stop = tokio::spawn(running.stop());
        sender.send(message()).await.unwrap();
        drop(sender);
        assert_eq!(import.await.unwrap().unwrap().into_inner().accepted, 4);
        stop.await.unwrap().unwrap();
        assert!(!app.is_ready(), "nothing is decided after the stop");
    }

    #[tokio::test]
    async fn a_port_in_use_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc_address = taken.local_addr().unwrap();
        let error = refused(Config { grpc_address, ..config(folder.path()) }).await;
        assert!(error.starts_with(&format!("cannot listen on {grpc_address}; stop whatever uses the port")), "{error}");
        assert!(!folder.path().join("data").exists());
    }

    #[tokio::test]
    async fn a_data_folder_has_one_service() {
        let folder = tempfile::tempdir().unwrap();
        let running = start(config(folder.path())).await.unwrap();
        let error = refused(config(folder.path())).await;
        assert!(error.contains(&format!("is in use by process {}", std::process::id())), "{error}");
        running.stop().await.unwrap();
    }

    #[tokio::test]
    async fn a_data_folder_that_cannot_be_made_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("data"), "a file").unwrap();
        let error = refused(config(folder.path())).await;
        assert!(error.contains(&folder.path().join("data").display().to_string()), "{error}");
    }

    #[tokio::test]
    async fn realms_with_faults_are_shown_and_nothing_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let realm = folder.path().join("policies/one");
        fs::create_dir_all(&realm).unwrap();
        fs::write(realm.join("realm.toml"), "titel = 1\n").unwrap();
        let policies_dir = folder.path().join("policies");
        let error = refused(Config { policies_dir, ..config(folder.path()) }).await;
        assert!(error.contains("policies/one/realm.toml:1:1: error[unknown-key]: unknown key `titel`"), "{error}");
        assert!(error.contains("policies/one/schema.cedarschema: error[missing-file]: is missing"), "{error}");
        assert!(!folder.path().join("data").exists());
    }

    #[test]
    fn keys_of_two_realms_and_of_two_uses_differ() {
        let key = |of: &str, realm: &str| realm_key(&[7; 32], of, &realm.parse().unwrap()).unwrap();
        assert_eq!(key("facts", "one"), key("facts", "one"));
        assert_ne!(key("facts", "one"), key("facts", "two"));
        assert_ne!(key("facts", "one"), key("pseudonyms", "one"));
    }

    #[test]
    fn key_files_of_realm_toml_are_looked_for_in_the_realms_folder() {
        let folder = tempfile::tempdir().unwrap();
        let key = crate::provider::signer::LocalKey::generate().unwrap();
        fs::write(folder.path().join("keys.json"), key.jwks()).unwrap();
        let content = "title = \"One\"\n[[issuers]]\nissuer = \"here\"\naudiences = []\nalgorithms = [\"EdDSA\"]\n\
                       keys = { file = \"keys.json\" }\n[principal]\nentity = \"Client\"\nid = \"sub\"\n";
        let realm = crate::domain::realm_file::RealmFile::parse("realm.toml", content).unwrap();
        let name: RealmName = "one".parse().unwrap();
        let jwks = Arc::new(Jwks::new(Arc::new(SystemClock), Box::new(|_| ())));
        let keys = RealmKeys { jwks, folders: [(name.clone(), folder.path().to_owned())].into() };
        keys.set_issuers(&name, &realm.issuers);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(keys.keys(&name, "here", Some(key.key_id()))).unwrap();
        assert!(found.contains(key.key_id()));
    }
}
