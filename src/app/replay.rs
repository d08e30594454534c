//! Decisions made again, each with the policies and the relationships of its moment, or with those of a candidate.

mod judge;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use self::judge::{Candidate, Judge, Verdict};
use crate::{
    app::{
        App,
        decisions::{DecisionQuery, PAGE_SIZE_MAX},
        error::{Error, Kind},
        policies::check_size,
        ports::archive::PastGraph,
        readers::Place,
        realm_state::RealmState,
    },
    domain::{
        decision::Decision,
        decision_record::LoggedDecision,
        fault::Fault,
        id::{PolicyVersion, RealmName, Revision},
        log_event::LoggedEvent,
        policy_set::SourceFile,
        realm::Realm,
        record_filter::{Order, PageRequest},
        replay::{Cause, Change, ChangeExample, Changes},
    },
};

/// What decides again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Against {
    /// The policies and the relationships of each decision's moment.
    #[default]
    ItsMoment,
    /// The policies of each decision's moment, and the relationships as they were known at this time, in microseconds since
    /// the epoch.
    RelationshipsAt(i64),
    /// The files of a candidate set, and the relationships of each decision's moment.
    Candidate(Vec<SourceFile>),
}

/// A decision that came out differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// As it was logged.
    pub logged: LoggedDecision,
    /// As it comes out now.
    pub decision: Decision,
    /// What becomes of it by the candidate, and what that comes from; `None` without a candidate.
    pub change: Option<(Change, Cause)>,
}

/// What a candidate changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The digest of the candidate's files.
    pub policy_version: PolicyVersion,
    /// The decisions, counted by what becomes of them and why.
    pub changes: Changes,
    /// How many of those that stay the same did not have to be decided again: nothing that differs is for such questions.
    pub untouched: u64,
}

/// What a replay found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Decisions that came out the same.
    pub same: u64,
    /// Decisions that did not.
    pub different: u64,
    /// Requests whose token was refused: nothing but the token decided, and tokens are not kept.
    pub refused_tokens: u64,
    /// Records that can't be decided again, by the code of why.
    pub not_replayed: BTreeMap<&'static str, u64>,
    /// Decisions of the range are missing or cannot be read; the events say which, as far as that is known.
    pub is_incomplete: bool,
    /// What happened to the log in the range, oldest first; at most [`EVENTS_MAX`].
    pub events: Vec<LoggedEvent>,
    /// What the candidate changes; `None` without one.
    pub changed: Option<Changed>,
}

/// The most events that a summary lists.
pub const EVENTS_MAX: usize = 1_000;

/// A part of a replay, in the order in which they come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Further decisions were made again.
    Piece {
        /// Those that came out differently, oldest first.
        differences: Vec<Difference>,
        /// How many entries of the log were looked at or passed over.
        done: u64,
        /// How many there are.
        total: u64,
    },
    /// The end.
    End(Summary),
}

/// A replay under way. Dropping it ends it.
#[derive(Debug)]
pub struct Replay {
    app: Arc<App>,
    realm: RealmName,
    query: DecisionQuery,
    judge: Option<Judge>,
    /// The entries of the log that are looked at: from behind the first number to the second.
    range: (u64, u64),
    after: Option<u64>,
    summary: Summary,
    is_read: bool,
    has_ended: bool,
    /// A place among those who read for long.
    _place: Place,
}

impl App {
    /// Starts a replay of what the log holds now: of each record of the question.
    ///
    /// A candidate is compiled, with the variant that decides for the realm; its tests are not run. Its faults come back in
    /// place of the replay.
    ///
    /// # Errors
    /// Those of a question to the log; a realm that keeps no history, or none of that time; a candidate of too many files or
    /// bytes; too many other replays.
    pub async fn replay(
        self: &Arc<Self>,
        realm: &str,
        query: DecisionQuery,
        against: Against,
    ) -> Result<Result<Replay, Vec<Fault>>, Error> {
        let state = Arc::clone(self.realm(realm)?);
        let place = state.readers.replay()?;
        let end = |order| {
            let page = self.query_decisions(realm, query.clone(), PageRequest { order, size: 1, after: None });
            async { Ok::<_, Error>(page.await?.decisions.first().map_or(0, |found| found.sequence)) }
        };
        let (first, last) = (end(Order::OldestFirst).await?, end(Order::NewestFirst).await?);
        let Some(archive) = state.archive().cloned() else { return Err(no_history(realm)) };
        let (as_of, candidate) = match against {
            Against::ItsMoment => (None, None),
            Against::RelationshipsAt(time_us) => (Some(state.relationships_at(time_us).await?), None),
            Against::Candidate(files) => match compiled(files, state.variant.clone()).await? {
                Ok(candidate) => (None, Some(candidate)),
                Err(faults) => return Ok(Err(faults)),
            },
        };
        let changed = candidate.as_ref().map(|candidate| Changed {
            policy_version: candidate.version().clone(),
            changes: Changes::default(),
            untouched: 0,
        });
        Ok(Ok(Replay {
            app: Arc::clone(self),
            realm: state.name.clone(),
            query,
            judge: Some(Judge::new(state, archive, as_of, candidate)),
            range: (first.saturating_sub(1), last),
            after: None,
            summary: Summary { changed, ..Summary::default() },
            is_read: last == 0,
            has_ended: false,
            _place: place,
        }))
    }
}

/// Compiles a candidate.
///
/// # Errors
/// One of too many files or bytes, or of none.
async fn compiled(files: Vec<SourceFile>, variant: Option<Arc<str>>) -> Result<Result<Candidate, Vec<Fault>>, Error> {
    check_size(&files, "candidate")?;
    let compiled = tokio::task::spawn_blocking(move || {
        Realm::compile(&files, variant.as_deref()).map(|realm| Candidate::new(realm, files))
    });
    compiled.await.map_err(|error| cut_off(&error.to_string()))
}

impl Replay {
    /// The next part; `None` after the end.
    ///
    /// # Errors
    /// A log that cannot be read. Then nothing follows.
    pub async fn next(&mut self) -> Result<Option<Part>, Error> {
        if self.has_ended {
            return Ok(None);
        }
        if self.is_read {
            self.has_ended = true;
            return Ok(Some(Part::End(std::mem::take(&mut self.summary))));
        }
        let piece = self.piece().await;
        self.has_ended = piece.is_err();
        piece.map(Some)
    }

    async fn piece(&mut self) -> Result<Part, Error> {
        let (before, last) = self.range;
        let page = PageRequest { order: Order::OldestFirst, size: PAGE_SIZE_MAX, after: self.after };
        let page = self.app.query_decisions(self.realm.as_str(), self.query.clone(), page).await?;
        let records: Vec<LoggedDecision> =
            page.decisions.into_iter().take_while(|found| found.sequence <= last).collect();
        self.summary.is_incomplete |= !page.is_complete;
        for event in page.events {
            if self.summary.events.len() < EVENTS_MAX && !self.summary.events.contains(&event) {
                self.summary.events.push(event);
            }
        }
        self.after = page.next_after;
        self.is_read = self.after.is_none_or(|after| after >= last);
        let done = if self.is_read { last } else { self.after.unwrap_or(last) };
        let Some(mut judge) = self.judge.take() else { return Err(cut_off("nobody decides")) };
        let judged = self.app.in_turn(move || (judge.all(&records), judge, records)).await;
        let (verdicts, judge, records) = judged.map_err(|error| cut_off(&error.message))?;
        self.judge = Some(judge);
        let mut differences = Vec::new();
        for (logged, verdict) in records.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Same => self.summary.add_same(false),
                Verdict::Untouched => self.summary.add_same(true),
                Verdict::Different(found) => {
                    let (decision, change) = *found;
                    let difference = Difference { logged, decision, change };
                    self.summary.add(&difference);
                    differences.push(difference);
                }
                Verdict::RefusedToken => self.summary.refused_tokens += 1,
                Verdict::NotReplayed(code) => *self.summary.not_replayed.entry(code).or_default() += 1,
            }
        }
        Ok(Part::Piece { differences, done: done - before, total: last - before })
    }
}

impl Summary {
    fn add_same(&mut self, is_untouched: bool) {
        self.same += 1;
        if let Some(changed) = &mut self.changed {
            changed.changes.add_same();
            changed.untouched += u64::from(is_untouched);
        }
    }

    fn add(&mut self, difference: &Difference) {
        self.different += 1;
        let Difference { logged, decision, change } = difference;
        if let Some((changed, (change, cause))) = self.changed.as_mut().zip(change.as_ref()) {
            changed.changes.add(*change, cause.clone(), || ChangeExample::of(&logged.record, decision.into()));
        }
    }
}

fn cut_off(why: &str) -> Error {
    Error::new(Kind::Internal, "REPLAY_FAILED", format!("the replay could not be finished: {why}"))
}

/// The error of a realm that keeps nothing of what it was.
pub(super) fn no_history(realm: &str) -> Error {
    let message = format!("realm `{realm}` keeps no history of its relationships");
    Error::new(Kind::FailedPrecondition, "HISTORY_MISSING", message)
}

impl RealmState {
    /// The relationships that were known at a time, in microseconds since the epoch.
    ///
    /// # Errors
    /// Nothing is kept of that time.
    pub(crate) async fn relationships_at(self: &Arc<Self>, time_us: i64) -> Result<PastGraph, Error> {
        let Some(archive) = self.archive() else { return Err(no_history(self.name.as_str())) };
        // What is known by now of a time that is not over can still grow.
        let key = (time_us, self.graph().revision());
        if let Some(known) = self.past.find(key) {
            return Ok(known);
        }
        let history = Arc::clone(&archive.history);
        let found = tokio::task::spawn_blocking(move || {
            let Some(revision) = history.revision_at(time_us)? else { return Ok(None) };
            history.past().at(revision, time_us)
        });
        let found = found.await.map_err(|error| cut_off(&error.to_string()))??;
        let found = found.ok_or_else(|| {
            let message =
                format!("realm `{}` knows nothing of that time; its history begins later, or is damaged", self.name);
            Error::new(Kind::FailedPrecondition, "HISTORY_MISSING", message)
        })?;
        self.past.keep(key, found.clone());
        let state = Arc::clone(self);
        tokio::spawn(async move {
            tokio::time::sleep(PAST_KEPT).await;
            state.past.drop_if(key);
        });
        Ok(found)
    }
}

/// How long the relationships of an earlier time stay in memory for the pages that follow.
const PAST_KEPT: Duration = Duration::from_secs(30);

/// What names relationships of an earlier time: the time, and the newest revision when they were looked up.
type PastKey = (i64, Revision);

/// The relationships of an earlier time that were read last.
#[derive(Debug, Default)]
pub(crate) struct LastPast(Mutex<Option<(PastKey, PastGraph)>>);

impl LastPast {
    fn find(&self, key: PastKey) -> Option<PastGraph> {
        self.slot().as_ref().filter(|(known, _)| *known == key).map(|(_, past)| past.clone())
    }

    fn keep(&self, key: PastKey, past: PastGraph) {
        *self.slot() = Some((key, past));
    }

    fn drop_if(&self, key: PastKey) {
        let mut slot = self.slot();
        if slot.as_ref().is_some_and(|(known, _)| *known == key) {
            *slot = None;
        }
    }

    /// Drops them: something was forgotten.
    pub(crate) fn clear(&self) {
        *self.slot() = None;
    }

    fn slot(&self) -> MutexGuard<'_, Option<(PastKey, PastGraph)>> {
        // Nothing in here panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
