//! Shadows: a candidate set of policies decides beside the live one, off the way of any answer, and what it would have
//! decided otherwise is counted and listed.
//!
//! A realm without a shadow pays one load of a pointer for each decision. With one, a decision is handed over and nobody
//! waits: what finds no room is counted as not compared. One thread of the lowest priority decides again, and rests three
//! times as long as it worked.

mod follow;
mod question;
mod tally;
#[cfg(test)]
mod tests;
mod worker;

use std::{
    sync::{
        Arc, Mutex as Guarded, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
        mpsc::{SyncSender, sync_channel},
    },
    thread::{self, Thread},
};

use arc_swap::ArcSwapOption;
use tokio::sync::Mutex;

pub(in crate::app) use self::question::Seen;
pub use self::tally::Tallied;
use self::{
    follow::Followed,
    worker::{Changed, Worker},
};
use crate::{
    app::{
        App,
        error::{Error, Kind},
        policies::{check_size, faults_and_warnings},
        ports::{Clock, meter::Meter},
        realm_state::RealmState,
    },
    domain::{
        fault::Fault,
        id::{PolicyVersion, RealmName},
        policy_set::SourceFile,
        realm::Realm,
        replay::Change,
    },
};

/// How many decisions may wait to be decided again. With the bound on each of them they take 32 MiB at most.
const QUEUE_MAX: usize = 2_048;

/// What came of a wish for a shadow.
#[derive(Clone, Debug, Default)]
pub struct ShadowStart {
    /// The digest of the candidate that decides in the shadow now; `None` where it has faults, and nothing was changed.
    pub version: Option<PolicyVersion>,
    /// The candidate's faults, failing tests of its own among them.
    pub faults: Vec<Fault>,
    /// What is worth a look in a candidate that is good.
    pub warnings: Vec<Fault>,
}

/// What a shadow has found so far.
#[derive(Clone, Debug)]
pub struct ShadowReport {
    /// The digest of the candidate.
    pub version: PolicyVersion,
    /// When the shadow was started, in microseconds since the epoch.
    pub started_at_us: i64,
    /// Who started it: a caller's name, or `configuration`.
    pub started_by: Arc<str>,
    /// What was counted against the policies that decide now.
    pub tallied: Tallied,
    /// Decisions that were not looked at: the queue was full, the question too large to wait in it, or they were made by
    /// policies that decide no more.
    pub not_compared: u64,
}

/// How a realm's shadow is doing.
#[derive(Clone, Debug, Default)]
pub struct ShadowStatus {
    /// What it has found; `None` where none runs.
    pub report: Option<ShadowReport>,
    /// The faults of the folder that the configuration names, as it was read last.
    pub faults: Arc<Vec<Fault>>,
}

/// The place of a realm's shadow.
#[derive(Debug, Default)]
pub(crate) struct Slot {
    running: ArcSwapOption<Shadow>,
    /// What the folder that the configuration names was when it was last looked at.
    followed: Followed,
    /// Held while a shadow is started or stopped.
    alone: Mutex<()>,
}

/// A shadow at work. Dropping it ends its worker.
#[derive(Debug)]
struct Shadow {
    shared: Arc<Shared>,
    started_at_us: i64,
    started_by: Arc<str>,
    queue: SyncSender<Seen>,
    worker: Option<Thread>,
}

/// What a shadow and its worker share.
#[derive(Debug)]
struct Shared {
    candidate: Realm,
    clock: Arc<dyn Clock>,
    tally: Guarded<Tallied>,
    not_compared: AtomicU64,
    counted: Counted,
    /// About how many decisions wait.
    waiting: AtomicUsize,
    is_over: AtomicBool,
}

/// Who counts for whoever watches over the service, and for which realm. What is counted there outlives the shadow.
#[derive(Clone, Debug)]
struct Counted {
    realm: RealmName,
    meter: Arc<dyn Meter>,
}

/// There was no room in the queue.
const QUEUE_FULL: &str = "queue_full";

/// The question was too large to wait.
const TOO_LARGE: &str = "too_large";

/// The policies that decided do so no more.
const POLICIES_CHANGED: &str = "policies_changed";

impl Shared {
    /// A decision is not looked at, for this reason.
    fn leave_out(&self, why: &'static str) {
        self.not_compared.fetch_add(1, Relaxed);
        self.counted.meter.shadowed(&self.counted.realm, Err(why));
    }

    /// Counts what the candidate made of a decision; where it could make none, by the code of why.
    fn count(&self, judged: &Result<Option<Changed>, &'static str>) {
        let outcome = judged.as_ref().map_err(|code| *code);
        let change = outcome.map(|changed| changed.as_ref().map_or(Change::Same, |changed| changed.change));
        self.counted.meter.shadowed(&self.counted.realm, change.map(Change::word));
    }

    fn tally(&self) -> MutexGuard<'_, Tallied> {
        // Nothing in here panics while it holds the lock.
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shadow {
    /// A shadow, and the worker that is to decide for it.
    fn new(
        candidate: Realm,
        live: PolicyVersion,
        by: Arc<str>,
        clock: Arc<dyn Clock>,
        counted: Counted,
    ) -> (Self, Worker) {
        let (queue, waiting) = sync_channel(QUEUE_MAX);
        let started_at_us = clock.now_us();
        let shared = Arc::new(Shared {
            candidate,
            clock,
            tally: Guarded::new(Tallied::since(live, started_at_us)),
            not_compared: AtomicU64::new(0),
            counted,
            waiting: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
        });
        let worker = Worker::new(Arc::clone(&shared), waiting);
        (Self { shared, started_at_us, started_by: by, queue, worker: None }, worker)
    }

    /// A shadow with its worker at work.
    ///
    /// # Errors
    /// The system has no thread for it.
    fn start(
        candidate: Realm,
        live: PolicyVersion,
        by: Arc<str>,
        clock: Arc<dyn Clock>,
        counted: Counted,
        step_back: fn(),
    ) -> Result<Self, Error> {
        let (mut shadow, worker) = Self::new(candidate, live, by, clock, counted);
        let started = thread::Builder::new().name("shadow".to_owned()).spawn(move || {
            step_back();
            worker.run();
        });
        let started = started.map_err(|error| {
            Error::new(Kind::ResourceExhausted, "SHADOW_NOT_STARTED", format!("there is no thread for it: {error}"))
        })?;
        shadow.worker = Some(started.thread().clone());
        Ok(shadow)
    }

    /// Hands a decision over, if there is one and room for it. Wakes nobody: the worker looks for itself. Where there is no
    /// room, `seen` isn't asked for.
    fn offer(&self, seen: impl FnOnce() -> Option<Seen>) {
        let is_room = self.shared.waiting.fetch_add(1, Relaxed) < QUEUE_MAX;
        let left_out = match is_room.then(seen) {
            None => QUEUE_FULL,
            Some(None) => TOO_LARGE,
            Some(Some(seen)) => match self.queue.try_send(seen) {
                Ok(()) => return,
                Err(_) => QUEUE_FULL,
            },
        };
        self.shared.waiting.fetch_sub(1, Relaxed);
        self.shared.leave_out(left_out);
    }

    /// Counts from now on against these policies.
    fn count_against(&self, live: &PolicyVersion, now_us: i64) {
        let mut tally = self.shared.tally();
        if tally.live != *live {
            *tally = Tallied::since(live.clone(), now_us);
            self.shared.not_compared.store(0, Relaxed);
        }
    }

    fn report(&self) -> ShadowReport {
        ShadowReport {
            version: self.shared.candidate.version.clone(),
            started_at_us: self.started_at_us,
            started_by: Arc::clone(&self.started_by),
            tallied: self.shared.tally().clone(),
            not_compared: self.shared.not_compared.load(Relaxed),
        }
    }
}

impl Drop for Shadow {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Relaxed);
        if let Some(worker) = &self.worker {
            worker.unpark();
        }
    }
}

impl Slot {
    /// Hands a decision to the shadow, if one runs. `seen` is asked for then alone; `None` of what is too large to wait.
    pub(in crate::app) fn offer(&self, seen: impl FnOnce() -> Option<Seen>) {
        let running = self.running.load();
        let Some(shadow) = running.as_ref() else { return };
        shadow.offer(seen);
    }

    /// Counts from now on against these policies: counts are of one pair of versions.
    pub(in crate::app) fn count_against(&self, live: &PolicyVersion, now_us: i64) {
        if let Some(shadow) = self.running.load().as_ref() {
            shadow.count_against(live, now_us);
        }
    }

    /// Ends the shadow, if one runs; what it found.
    pub(in crate::app) fn stop(&self) -> Option<ShadowReport> {
        self.running.swap(None).map(|shadow| shadow.report())
    }

    fn report(&self) -> Option<ShadowReport> {
        self.running.load().as_ref().map(|shadow| shadow.report())
    }
}

impl App {
    /// Lets a candidate set decide beside the realm's policies, in place of the shadow that runs. It is checked as a
    /// reload checks files; with any fault, or a failing test of its own, nothing is started and the shadow that runs goes
    /// on.
    ///
    /// # Errors
    /// An unknown realm; too many files or bytes, or none.
    pub async fn start_shadow(&self, realm: &str, files: Vec<SourceFile>, by: Arc<str>) -> Result<ShadowStart, Error> {
        let state = Arc::clone(self.realm(realm)?);
        check_size(&files, "files")?;
        let _alone = state.shadow.alone.lock().await;
        let (started, candidate) = checked(&state, files).await?;
        if let Some(candidate) = candidate {
            self.run_shadow(&state, candidate, &by)?;
        }
        Ok(started)
    }

    /// Puts a good candidate to work; the caller is alone with the realm's shadow.
    fn run_shadow(&self, state: &RealmState, candidate: Realm, by: &Arc<str>) -> Result<(), Error> {
        let live = state.policies().realm.version.clone();
        let (realm, version) = (&state.name, candidate.version.clone());
        let counted = Counted { realm: realm.clone(), meter: Arc::clone(self.meter()) };
        let shadow = Shadow::start(candidate, live, Arc::clone(by), Arc::clone(&self.clock), counted, self.step_back)?;
        drop(state.shadow.running.swap(Some(Arc::new(shadow))));
        // The realm may have been reloaded since its version was read.
        state.shadow.count_against(&state.policies().realm.version, self.clock.now_us());
        tracing::info!(%realm, policy_version = %version, %by, "a shadow decides beside the realm's policies");
        Ok(())
    }

    /// How a realm's shadow is doing.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn shadow_status(&self, realm: &str) -> Result<ShadowStatus, Error> {
        let state = self.realm(realm)?;
        Ok(ShadowStatus { report: state.shadow.report(), faults: state.shadow.followed.faults() })
    }

    /// Ends a realm's shadow; what it found.
    ///
    /// # Errors
    /// An unknown realm, or none that runs.
    pub async fn stop_shadow(&self, realm: &str) -> Result<ShadowReport, Error> {
        let state = self.realm(realm)?;
        let _alone = state.shadow.alone.lock().await;
        let report = state.shadow.stop().ok_or_else(|| {
            Error::new(Kind::FailedPrecondition, "SHADOW_NOT_RUNNING", format!("realm `{realm}` has no shadow"))
        })?;
        tracing::info!(realm, policy_version = %report.version, "the shadow was stopped");
        Ok(report)
    }
}

/// Compiles a candidate as the realm would run it, with its tests, on a thread that may block.
async fn checked(state: &Arc<RealmState>, files: Vec<SourceFile>) -> Result<(ShadowStart, Option<Realm>), Error> {
    let state = Arc::clone(state);
    let checked = tokio::task::spawn_blocking(move || {
        let (mut faults, warnings) = faults_and_warnings(&files, state.variant.as_deref());
        let compiled = faults.is_empty().then(|| state.compile(&files));
        let candidate = compiled.and_then(|compiled| compiled.map_err(|found| faults.extend(found)).ok());
        let version = candidate.as_ref().map(|realm| realm.version.clone());
        (ShadowStart { version, faults, warnings }, candidate)
    });
    checked.await.map_err(|error| {
        Error::new(Kind::Internal, "VALIDATION_FAILED", format!("the check could not be finished: {error}"))
    })
}
