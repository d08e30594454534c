//! Who decides in a shadow: one thread that takes what waits, a few at a time, and gets out of everybody's way.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed, mpsc::Receiver},
    thread,
    time::Duration,
};

use super::{POLICIES_CHANGED, Shared, question::Seen};
use crate::{
    app::{authorize::Caller, realm_state::LoadedRealm},
    domain::{
        access_request::{AccessRequest, Question, Unfit},
        principal::Principal,
        realm::Realm,
        replay::{Cause, Change, ChangeExample, Judged, Made, Side, cause, change, decide_again},
        search::{Believed, with_known},
    },
};

/// How many decisions are made before the worker rests: with some tens of microseconds each, a few milliseconds.
const BATCH_MAX: usize = 64;

/// How long the worker rests, in terms of the time that it worked. With 3 it takes a quarter of one processor at most, so that
/// a machine with two has seven eighths left for answers, even where the system knows no priorities.
const REST: u32 = 3;

/// How long the worker rests when little waits. The queue holds what arrives in that time at 200,000 decisions a second.
const IDLE: Duration = Duration::from_millis(10);

/// How many callers are kept as the candidate has them.
const CALLERS_MAX: usize = 256;

/// A caller as the candidate has it, or the code of why it has none.
type Known = Result<Arc<Principal>, &'static str>;

/// Decides what waits by the candidate.
#[derive(Debug)]
pub(super) struct Worker {
    shared: Arc<Shared>,
    waiting: Receiver<Seen>,
    /// By the caller's address; the caller is kept, so that no other one gets it.
    callers: HashMap<usize, (Arc<Caller>, Known)>,
    /// The policies that were at work last, and whether the candidate understands tokens as they do.
    alike: Option<(Arc<LoadedRealm>, bool)>,
}

impl Worker {
    pub(super) fn new(shared: Arc<Shared>, waiting: Receiver<Seen>) -> Self {
        Self { shared, waiting, callers: HashMap::new(), alike: None }
    }

    /// Works until the shadow is over.
    pub(super) fn run(mut self) {
        let clock = Arc::clone(&self.shared.clock);
        while !self.shared.is_over.load(Relaxed) {
            let started_us = clock.monotonic_us();
            let made = self.batch();
            let worked_us = clock.monotonic_us().saturating_sub(started_us);
            let rest = Duration::from_micros(u64::try_from(worked_us).unwrap_or(0)) * REST;
            // Nobody wakes the worker but who ends the shadow: waking it would cost the one who asks.
            thread::park_timeout(if made < BATCH_MAX { rest.max(IDLE) } else { rest });
        }
    }

    /// Decides some of what waits, and says how many.
    pub(super) fn batch(&mut self) -> usize {
        for made in 0..BATCH_MAX {
            let Ok(seen) = self.waiting.try_recv() else { return made };
            self.shared.waiting.fetch_sub(1, Relaxed);
            self.compare(&seen);
        }
        BATCH_MAX
    }

    fn compare(&mut self, seen: &Seen) {
        let version = &seen.loaded.realm.version;
        let is_live = |worker: &Self| worker.shared.tally().live == *version;
        let judged = is_live(self).then(|| self.judge(seen));
        let mut tally = self.shared.tally();
        // The counts may have begun anew meanwhile.
        match judged.filter(|_| tally.live == *version) {
            Some(judged) => {
                self.shared.count(&judged);
                tally.add(judged);
            }
            None => self.shared.leave_out(POLICIES_CHANGED),
        }
    }

    /// What the candidate makes of a decision; nothing where it decides the same.
    ///
    /// # Errors
    /// The code of why it can't decide.
    fn judge(&mut self, seen: &Seen) -> Result<Option<Changed>, &'static str> {
        let principal = self.principal(&seen.loaded, &seen.caller)?;
        let candidate = &self.shared.candidate;
        let request = checked(seen, candidate)?;
        let decision = decide_again(seen.judged, candidate, &principal, &request, &seen.graph);
        let (before, after) = (Made::from(&seen.decision), Made::from(&decision));
        let change = change(before, after);
        if change == Change::Same {
            return Ok(None);
        }
        let live = &seen.loaded.realm;
        let was = checked(seen, live)?;
        let old = Side { realm: live, principal: &seen.caller.principal, request: &was, made: before };
        let new = Side { realm: candidate, principal: &principal, request: &request, made: after };
        let cause = cause(change, old, new, &seen.graph);
        let codes = (before.codes().cloned().collect(), after.codes().cloned().collect());
        // An example leads into the log, which shows the rest to who may read it.
        let example = ChangeExample {
            id: seen.id,
            time_us: seen.time_us,
            principal: None,
            action: Arc::clone(&was.action),
            resource_type: Arc::clone(&was.resource_type.name),
            resource_id: Arc::default(),
            outcomes: (before.outcome, after.outcome),
            codes,
        };
        Ok(Some(Changed { change, cause, example }))
    }

    /// Who asked, as the candidate has it.
    ///
    /// # Errors
    /// The code of why it has nobody.
    fn principal(&mut self, loaded: &Arc<LoadedRealm>, caller: &Arc<Caller>) -> Known {
        if !self.is_alike(loaded) {
            return Err("CLAIMS_READ_OTHERWISE");
        }
        let address = Arc::as_ptr(caller).addr();
        if let Some((_, known)) = self.callers.get(&address) {
            return known.clone();
        }
        let (entity, attributes) = (caller.principal.entity.clone(), (*caller.principal.attributes).clone());
        let principal = Principal::again(&self.shared.candidate, entity, attributes);
        let known = principal.map(Arc::new).map_err(|_| "PRINCIPAL_UNFIT");
        if self.callers.len() >= CALLERS_MAX {
            self.callers.clear();
        }
        self.callers.insert(address, (Arc::clone(caller), known.clone()));
        known
    }

    /// Whether the candidate makes the same principal of a token as these policies. What a token said is not kept, so
    /// nothing else can be made of it.
    fn is_alike(&mut self, loaded: &Arc<LoadedRealm>) -> bool {
        if let Some((_, alike)) = self.alike.as_ref().filter(|(known, _)| Arc::ptr_eq(known, loaded)) {
            return *alike;
        }
        let alike = self.shared.candidate.reads_claims_as(&loaded.realm);
        self.alike = Some((Arc::clone(loaded), alike));
        alike
    }
}

/// A decision that the candidate would change.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) change: Change,
    pub(super) cause: Cause,
    pub(super) example: ChangeExample,
}

/// The question as a set of policies takes it.
///
/// # Errors
/// The code of why it doesn't.
fn checked(seen: &Seen, realm: &Realm) -> Result<AccessRequest, &'static str> {
    let checked = match seen.judged {
        Judged::Resource => with_known(realm, &seen.graph, &seen.question, Believed::Sent)
            .map_err(|_| Vec::new())
            .and_then(|question| AccessRequest::check(realm, &question)),
        Judged::Search => AccessRequest::without_values(realm, &seen.question),
    };
    checked.map_err(|_| unfit(realm, &seen.question))
}

/// Why the candidate does not take a question: the caller would get an error.
fn unfit(candidate: &Realm, question: &Question) -> &'static str {
    let unfit = if !candidate.schema.actions.contains_key(&question.action) {
        Unfit::ActionUnknown
    } else if !candidate.resource_types.contains_key(&question.resource_type) {
        Unfit::ResourceTypeUnknown
    } else {
        Unfit::QuestionRefused
    };
    unfit.code()
}
