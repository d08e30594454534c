//! Replays of the decision log.

use super::{
    super::{
        changes,
        policies::{faults, source_files},
    },
    Faults, Query, authorization, event,
    export::whole_query,
    record,
};
use crate::{
    app::{
        decisions::DecisionQuery,
        error::Error,
        replay::{Against, Changed, Difference, Summary},
    },
    domain::{decision::Decision, fault::Fault, replay::Change},
    proto::v1 as pb,
};

/// A wish for a replay.
pub(crate) struct Replay {
    pub(crate) realm: String,
    pub(crate) conditions: DecisionQuery,
    pub(crate) against: Against,
    /// Only the summary is wanted.
    pub(crate) is_brief: bool,
}

pub(crate) fn replay(request: pb::ReplayDecisionsRequest) -> Result<Replay, Error> {
    let pb::ReplayDecisionsRequest { query: asked, as_of, candidate, summary_only: is_brief } = request;
    let mut faults = Faults::default();
    let as_of_us = as_of.and_then(|time| faults.time("as_of", time));
    if as_of_us.is_some() && !candidate.is_empty() {
        faults.add("as_of", "is given beside `candidate`, expected only one of them");
    }
    let against = match as_of_us {
        Some(time_us) => Against::RelationshipsAt(time_us),
        None if candidate.is_empty() => Against::ItsMoment,
        None => Against::Candidate(source_files(candidate)),
    };
    let asked = whole_query(asked).map_err(|error| faults.0.extend(error.fields)).ok();
    let (realm, conditions) = asked.map(|(Query { realm, conditions, .. }, _)| (realm, conditions)).unwrap_or_default();
    faults.none_or(Replay { realm, conditions, against, is_brief })
}

pub(crate) fn difference(difference: &Difference) -> pb::ReplayDifference {
    let Difference { logged, decision, change } = difference;
    let (change, cause) = change.as_ref().map_or((Change::Same, None), |(change, cause)| (*change, Some(cause)));
    let Decision { outcome, reasons, determining_policies, .. } = decision;
    pb::ReplayDifference {
        logged: Some(record(logged)),
        decision: authorization::effect(outcome.effect()).into(),
        outcome: authorization::outcome(*outcome).into(),
        reasons: reasons.iter().map(authorization::reason).collect(),
        determining_policies: determining_policies.iter().map(ToString::to_string).collect(),
        change: changes::change(change).into(),
        cause: cause.map(changes::cause),
    }
}

/// The answer where the candidate has faults.
pub(crate) fn refused(found: &[Fault]) -> pb::ReplayDecisionsResponse {
    pb::ReplayDecisionsResponse { candidate_faults: faults(found), ..pb::ReplayDecisionsResponse::default() }
}

pub(crate) fn progress(done: u64, total: u64) -> pb::ReplayDecisionsResponse {
    pb::ReplayDecisionsResponse {
        progress: Some(pb::ExportProgress { done, total }),
        ..pb::ReplayDecisionsResponse::default()
    }
}

pub(crate) fn summary(summary: Summary) -> pb::ReplayDecisionsResponse {
    let Summary { same, different, refused_tokens, not_replayed, is_incomplete, events, changed } = summary;
    let (candidate_version, changes, untouched) = match changed {
        Some(Changed { policy_version, changes, untouched }) => {
            (policy_version.to_string(), Some(changes::report(&changes)), untouched)
        }
        None => (String::new(), None, 0),
    };
    let not_replayed = not_replayed.into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
    pb::ReplayDecisionsResponse {
        summary: Some(pb::ReplaySummary {
            same,
            different,
            refused_tokens,
            not_replayed,
            complete: !is_incomplete,
            events: events.iter().map(event).collect(),
            candidate_version,
            changes,
            untouched,
        }),
        ..pb::ReplayDecisionsResponse::default()
    }
}
