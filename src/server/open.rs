//! Configuration -> stores, keys, realms -> App.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{
    ADMIN_TOKEN,
    keys::{RealmIntrospector, RealmKeys},
    realms::{Begin, announce, kept_versions, open_caller_policies, read_realms, realm_key},
};
use crate::{
    app::{
        App,
        allowance::{Allowance, Rates},
        caller::{self, CallerPolicies, Callers, KeyDigest, Tokens},
        people::People,
        ports::archive::Archive,
        ports::{BeforeGroup, Clock, DecisionLog as _, KeySource as _, Stores},
        realm_state::{Deployed, RealmState},
        token_cache::TokenCache,
    },
    config::{Authentication, Config, ConfigError, RealmConfig},
    domain::{id::RealmName, pseudonym::PseudonymKey},
    metrics,
    provider::{
        clock::SystemClock,
        introspection::Introspectors,
        jwks::Jwks,
        priority::step_back,
        realm_files::{Place, RealmFolders},
        witness::Witness,
    },
    storage::{
        checkpoint_key,
        history::HistoryFiles,
        identities::IdentityTable,
        key_file,
        segment_log::{self, LogKey, Outside, SegmentLog, Signing},
        sled::SledStore,
    },
};

/// The use cases with the stores beneath them, without a listener.
#[derive(Debug)]
pub struct Service {
    pub(super) app: Arc<App>,
    store: Arc<SledStore>,
    pub(super) jwks: Arc<Jwks>,
    pub(super) witnesses: Vec<Arc<Witness>>,
    /// Whose files are looked at, and how often.
    pub(super) watches: Vec<(RealmName, Duration)>,
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
        let meter = metrics::new();
        let tokens = Arc::new(TokenCache::new(config.tokens_cached_max));
        let verified = Arc::clone(&tokens);
        let callers_tokens = Tokens::default();
        let of_callers = Arc::clone(callers_tokens.seen());
        let rotated = move |realm: &RealmName| {
            verified.drop_realm(realm);
            of_callers.drop_realm(realm);
        };
        let jwks = Arc::new(Jwks::counted(Arc::clone(&clock), Box::new(rotated), Arc::clone(&meter)));
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
        let allowance = allowance(config, &realms);
        let opening = Opening { config, secret, log_secret, clock: &clock, stores: &stores };
        let (mut witnesses, mut states) = (Vec::new(), Vec::new());
        for (realm, origin) in realms.into_iter().zip(origins) {
            let (state, witnessed) = opening.realm(realm, origin).await?;
            witnesses.extend(witnessed);
            announce(&state);
            states.push(state);
        }
        let keys = Arc::new(RealmKeys { jwks: Arc::clone(&jwks), folders: folders.clone() });
        let introspectors = Introspectors::counted(Arc::clone(&clock), Arc::clone(&meter));
        let introspector = RealmIntrospector { introspectors, folders };
        if let Some(folder) = config.caller_policies() {
            let name: RealmName = caller::REALM.parse()?;
            watches.extend(config.watch.map(|every| (name.clone(), every)));
            places.insert(name, Place::Folder(folder));
        }
        let source = Arc::new(RealmFolders::new(places).with_shadows(shadows));
        let caller_policies = CallerPolicies::start(&caller_policies, clock.now_us()).map_err(ConfigError)?;
        let Authentication { required, issuers } = config.authentication.clone();
        keys.set_issuers(&caller::REALM.parse()?, &issuers);
        let callers = Callers::new(config.callers.clone(), admin, caller_policies);
        let callers = callers.requiring(required).with_issuers(issuers, callers_tokens);
        let app = App::new(clock, keys, stores, source, tokens, states);
        let app = app.with_introspector(Arc::new(introspector)).with_callers(callers).with_retention(retention);
        let app = app.with_step_back(step_back).with_meter(meter).with_allowance(allowance);
        let app = app.with_batch_items_max(config.limits.batch_items_max).with_check_max(config.limits.check_max);
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

/// How often is asked, as the configuration says.
fn allowance(config: &Config, realms: &[RealmConfig]) -> Allowance {
    let callers = config.callers.iter().map(|caller| (Arc::clone(&caller.name), caller.requests_per_second));
    Allowance::new(&Rates {
        each_caller: config.limits.requests_per_second,
        callers: callers.collect(),
        realms: realms.iter().map(|realm| (realm.name.clone(), realm.requests_per_second)).collect(),
    })
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
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.context("the work on the disk was cut off")?
}
