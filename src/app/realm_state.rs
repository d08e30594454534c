//! A realm at work: its policies, its relationships, its decision log.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::{Mutex, Semaphore, watch};

use crate::{
    app::{
        application_index::{ApplicationIndex, Applications},
        caller::refusals::Refusals,
        error::{Error, Kind},
        people::People,
        policies::status::{PolicyStatus, Standing},
        ports::archive::{Archive, ArchiveError, KeptPolicies, Pin},
        ports::{CheckpointWitness, DecisionLog, LogStatus, RealmFiles, RelationshipStore, Stores, WitnessStatus},
        readers::Readers,
        recent::Recent,
        replay::LastPast,
        revocation_index::Revocations,
        shadow,
    },
    domain::{
        bundle,
        fault::Fault,
        grants::Grants,
        graph::Graph,
        id::{EntityId, RealmName, Revision},
        issuer::Issuer,
        policy_set::SourceFile,
        realm::Realm,
    },
};

/// The policies of a realm as they were loaded.
#[derive(Debug)]
pub struct LoadedRealm {
    /// The compiled realm.
    pub realm: Realm,
    /// When it was loaded, in microseconds since the epoch.
    pub loaded_at_us: i64,
}

/// What a deployment says about a realm.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// Its name.
    pub name: RealmName,
    /// The variant of its files that decides; `None` for the files as they stand.
    pub variant: Option<Arc<str>>,
    /// Issuers beside those of realm.toml, and in place of one of the same name.
    pub issuers: Vec<Issuer>,
}

/// Where the policies come from that a realm begins with.
#[derive(Clone, Debug)]
pub enum Origin {
    /// The realm's files.
    Files(RealmFiles),
    /// A kept version that was chosen over them, and the name of the key that signed it, if somebody had to.
    Pinned(Pin, Option<Arc<str>>),
}

/// So many questions at a time may wait for relationships that are fresh enough.
const WAITING_MAX: usize = 256;

/// A realm at work. Readers take what they need once and keep it for the whole request.
#[derive(Debug)]
pub struct RealmState {
    /// Its name.
    pub name: RealmName,
    /// The variant of its files that decides; `None` for the files as they stand.
    pub variant: Option<Arc<str>>,
    pub(crate) log: Arc<dyn DecisionLog>,
    /// Who is handed the log's checkpoints.
    witnesses: Vec<Arc<dyn CheckpointWitness>>,
    /// Who the log is about.
    pub people: People,
    /// Held while people are put under hold or erased, to the end.
    pub(super) privacy: Mutex<()>,
    /// How many refusals of unknown callers are on record.
    pub(super) refusals: Refusals,
    /// Who reads the log for long.
    pub(super) readers: Readers,
    pub(crate) writer: Arc<Mutex<()>>,
    /// Held from the reading of the files until they count.
    pub(crate) reloads: Mutex<()>,
    pub(crate) applications: Applications,
    pub(super) revocations: Revocations,
    deployment_issuers: Vec<Issuer>,
    policies: ArcSwap<LoadedRealm>,
    /// How those stand to the files.
    pub(super) standing: Standing,
    /// What decides beside them, for comparison.
    pub(super) shadow: shadow::Slot,
    graph: ArcSwap<Graph>,
    /// Where it keeps what it was; without, nothing can be decided again.
    archive: Option<Archive>,
    pub(super) past: LastPast,
    /// What the pages of searches under way see.
    pub(super) recent: Recent,
    revision: watch::Sender<Revision>,
    /// Room for the questions that wait for it.
    pub(super) waiting_for_revisions: Semaphore,
    /// A write failed half-way: the store may hold more than the graph.
    is_behind: AtomicBool,
}

impl RealmState {
    /// Puts a realm to work with the relationships, applications and revocations of the stores.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn start(
        deployed: Deployed,
        files: &[SourceFile],
        stores: &Stores,
        log: Arc<dyn DecisionLog>,
        people: People,
        now_us: i64,
    ) -> Result<Self, StartError> {
        let Deployed { name, variant, issuers: deployment_issuers } = deployed;
        let realm = compile(files, variant.as_deref(), &deployment_issuers).map_err(StartError::Faults)?;
        log_grant_faults(&name, &realm);
        let graph = load_graph(&name, &*stores.relationships).await?;
        let applications = Applications::new(ApplicationIndex::load(&*stores.applications, &name).await?);
        let revocations = Revocations::load(&*stores.revocations, &name).await?;
        let revision = graph.revision();
        Ok(Self {
            name,
            variant,
            log,
            people,
            privacy: Mutex::default(),
            refusals: Refusals::default(),
            readers: Readers::default(),
            writer: Arc::default(),
            reloads: Mutex::default(),
            applications,
            revocations,
            deployment_issuers,
            policies: ArcSwap::from_pointee(LoadedRealm { realm, loaded_at_us: now_us }),
            standing: Standing::default(),
            shadow: shadow::Slot::default(),
            graph: ArcSwap::from_pointee(graph),
            archive: None,
            witnesses: Vec::new(),
            past: LastPast::default(),
            recent: Recent::default(),
            revision: watch::Sender::new(revision),
            waiting_for_revisions: Semaphore::new(WAITING_MAX),
            is_behind: AtomicBool::new(false),
        })
    }

    /// The same realm, which keeps what it is from now on. Its policies are those of the origin.
    ///
    /// # Errors
    /// When policies or relationships cannot be kept, or the store cannot be read; an older bundle than one before.
    pub async fn with_archive(
        mut self,
        archive: Archive,
        store: &dyn RelationshipStore,
        origin: Origin,
        now_us: i64,
    ) -> Result<Self, StartError> {
        let versions = Arc::clone(&archive.versions);
        self.archive = Some(archive);
        let known = tokio::task::spawn_blocking(move || versions.list()).await;
        let known = known.unwrap_or_else(|error| Err(ArchiveError::Unavailable(error.to_string())));
        let notes = known.map_err(Error::from)?.into_iter().filter_map(|known| known.note);
        let bundle_number = notes.filter_map(|note| bundle::number_of(&note)).max().unwrap_or_default();
        self.standing.change(|status| status.bundle_number = bundle_number);
        match origin {
            Origin::Files(files) => {
                self.refuse_older(&files).map_err(|fault| StartError::Faults(vec![fault]))?;
                let version = self.policies().realm.version.clone();
                let seal = files.seal.clone();
                self.keep_policies(files, now_us).await.map_err(Error::from)?;
                self.standing.change(|status| {
                    status.files_version = Some(version);
                    status.note_seal(seal.as_ref());
                });
            }
            Origin::Pinned(pin, signer) => self.standing.change(|status| {
                status.pin = Some(pin);
                status.signer = signer;
            }),
        }
        self.keep_history(&self.graph(), store, now_us).await?;
        Ok(self)
    }

    /// Hands the log's checkpoints to these.
    #[must_use]
    pub fn with_witnesses(mut self, witnesses: Vec<Arc<dyn CheckpointWitness>>) -> Self {
        self.witnesses = witnesses;
        self
    }

    /// How its log is doing, and who witnesses it.
    pub fn log_status(&self) -> LogStatus {
        let status = self.log.status();
        let lag = self.witnesses.iter().map(|witness| status.entries.saturating_sub(witness.handed())).max();
        let failures = self.witnesses.iter().map(|witness| witness.failures()).sum();
        LogStatus { witness: lag.map(|lag| WitnessStatus { failures, lag }), ..status }
    }

    /// Refuses a bundle that is older than one that decided before: whoever puts it there may want its faults back.
    pub(super) fn refuse_older(&self, files: &RealmFiles) -> Result<(), Fault> {
        let Some(seal) = &files.seal else { return Ok(()) };
        let (number, newest) = (seal.statement.number, self.standing.get().bundle_number);
        if number >= newest {
            return Ok(());
        }
        let message = format!(
            "the bundle signed by `{}` has the number {number} and is older than number {newest}, which decided here; \
             `hallpass policies rollback` goes back to a version that is kept",
            seal.signer
        );
        Err(Fault::in_file(self.name.as_str(), message))
    }

    /// Where it keeps what it was.
    pub(crate) fn archive(&self) -> Option<&Archive> {
        self.archive.as_ref()
    }

    /// Forgets, in what is kept of former relationships, everything that names an entity.
    ///
    /// # Errors
    /// A history that cannot be written anew; then nothing is forgotten.
    pub(crate) async fn forget_in_history(&self, entity: &EntityId) -> Result<(), Error> {
        if let Some(archive) = &self.archive {
            archive.history.forget(entity).await?;
        }
        self.past.clear();
        Ok(())
    }

    /// Keeps the files of policies that are about to decide.
    pub(super) async fn keep_policies(&self, files: RealmFiles, now_us: i64) -> Result<(), ArchiveError> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let RealmFiles { files, seal } = files;
        let policies = KeptPolicies { files, variant: self.variant.clone(), note: seal.map(|seal| seal.note) };
        let versions = Arc::clone(&archive.versions);
        let kept = tokio::task::spawn_blocking(move || versions.keep(&policies, now_us)).await;
        kept.unwrap_or_else(|error| Err(ArchiveError::Unavailable(error.to_string())))
    }

    /// Lets a kept version decide whatever the files are, or the files again, also after a restart.
    pub(super) async fn set_pin(&self, pin: Option<Pin>) -> Result<(), ArchiveError> {
        let Some(archive) = &self.archive else { return Ok(()) };
        let versions = Arc::clone(&archive.versions);
        let set = tokio::task::spawn_blocking(move || versions.set_pin(pin.as_ref())).await;
        set.unwrap_or_else(|error| Err(ArchiveError::Unavailable(error.to_string())))
    }

    /// Begins the history anew where it does not end with these relationships, which nobody has seen yet.
    async fn keep_history(&self, graph: &Graph, store: &dyn RelationshipStore, now_us: i64) -> Result<(), Error> {
        let Some(Archive { history, .. }) = &self.archive else { return Ok(()) };
        if history.newest() == Some(graph.revision()) {
            return Ok(());
        }
        let (sender, receiver) = std::sync::mpsc::sync_channel(16_384);
        // The receiver lives until the sender is gone, unless the history failed.
        let each = Box::new(move |record| drop(sender.send(record)));
        let (loaded, begun) =
            tokio::join!(store.load(&self.name, each), history.begin(graph.revision(), receiver, now_us));
        begun?;
        match loaded? {
            revision if revision == graph.revision() => Ok(()),
            revision => {
                let message = format!("the store went from revision {} to {revision} meanwhile", graph.revision());
                Err(Error::new(Kind::Internal, "HISTORY_FAILED", message))
            }
        }
    }

    /// Calls of unknown callers that were refused and, being too many, not put on record since the start.
    pub fn refusals_left_out(&self) -> u64 {
        self.refusals.left_out_ever()
    }

    /// The policies that decide now.
    pub fn policies(&self) -> Arc<LoadedRealm> {
        self.policies.load_full()
    }

    /// The relationships that decisions see now.
    pub fn graph(&self) -> Arc<Graph> {
        self.graph.load_full()
    }

    /// The applications that tokens stand for now.
    pub fn applications(&self) -> Arc<ApplicationIndex> {
        self.applications.index()
    }

    /// How the policies that decide stand to the realm's files.
    pub fn policy_status(&self) -> Arc<PolicyStatus> {
        self.standing.get()
    }

    /// Compiles files as this realm would run them.
    pub(crate) fn compile(&self, files: &[SourceFile]) -> Result<Realm, Vec<Fault>> {
        compile(files, self.variant.as_deref(), &self.deployment_issuers)
    }

    pub(crate) fn replace_policies(&self, realm: Realm, now_us: i64) {
        log_grant_faults(&self.name, &realm);
        let version = realm.version.clone();
        self.policies.store(Arc::new(LoadedRealm { realm, loaded_at_us: now_us }));
        self.shadow.count_against(&version, now_us);
    }

    /// Publishes relationships; the caller holds the writer's lock.
    pub(crate) fn publish(&self, graph: Graph) {
        let revision = graph.revision();
        self.graph.store(Arc::new(graph));
        self.revision.send_replace(revision);
    }

    /// Notes that a write failed, so that the store may hold more than the graph.
    pub(crate) fn note_failed_write(&self) {
        self.is_behind.store(true, Ordering::Release);
    }

    /// Reads the relationships anew after a failed write; the caller holds the writer's lock.
    pub(crate) async fn catch_up(&self, store: &dyn RelationshipStore, now_us: i64) -> Result<(), Error> {
        if self.is_behind.load(Ordering::Acquire) {
            let graph = load_graph(&self.name, store).await?;
            self.keep_history(&graph, store, now_us).await?;
            self.publish(graph);
            self.is_behind.store(false, Ordering::Release);
        }
        Ok(())
    }

    /// Returns when decisions see this revision.
    pub(crate) async fn reached(&self, revision: Revision) {
        let mut seen = self.revision.subscribe();
        // The sender lives as long as this realm, so waiting cannot fail.
        drop(seen.wait_for(|current| *current >= revision).await);
    }
}

/// Builds the graph from the store, reading and building side by side.
async fn load_graph(name: &RealmName, store: &dyn RelationshipStore) -> Result<Graph, Error> {
    let (sender, receiver) = std::sync::mpsc::sync_channel(16_384);
    // The receiver lives until the sender is gone.
    let each = Box::new(move |record| drop(sender.send(record)));
    let build = tokio::task::spawn_blocking(move || {
        let mut graph = Graph::new();
        for record in receiver {
            graph.insert(&record);
        }
        graph
    });
    let loaded = store.load(name, each).await;
    let mut graph = build.await.map_err(|error| {
        Error::new(Kind::Internal, "LOAD_FAILED", format!("the relationships could not be loaded: {error}"))
    })?;
    graph.set_revision(loaded?);
    Ok(graph)
}

/// Why a realm could not be put to work.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// Its files have faults.
    #[error("{}", list(.0))]
    Faults(Vec<Fault>),
    /// Its relationships, applications or revocations cannot be read.
    #[error(transparent)]
    Store(#[from] Error),
}

fn list(faults: &[Fault]) -> String {
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

/// One line for all grants that cannot be used; `hallpass check` and `GetRealm` tell which they are.
fn log_grant_faults(name: &RealmName, realm: &Realm) {
    let count = realm.grants.as_ref().map_or(0, Grants::fault_count);
    if count > 0 {
        tracing::warn!(realm = %name, count, "some grants cannot be used: requests that meet one are refused as a configuration error; `hallpass check` tells which");
    }
}

fn compile(files: &[SourceFile], variant: Option<&str>, deployment_issuers: &[Issuer]) -> Result<Realm, Vec<Fault>> {
    let mut realm = Realm::compile(files, variant)?;
    realm.trust(deployment_issuers)?;
    for warning in realm.warnings() {
        tracing::warn!("{warning}");
    }
    Ok(realm)
}
