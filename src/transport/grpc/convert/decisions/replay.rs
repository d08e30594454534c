//! Replays of the decision log.

use super::{Faults, Query, authorization, event, export::whole_query, record};
use crate::{
    app::{
        decisions::DecisionQuery,
        error::Error,
        replay::{Difference, Summary},
    },
    domain::decision::Decision,
    proto::v1 as pb,
};

/// A wish for a replay.
pub(crate) struct Replay {
    pub(crate) realm: String,
    pub(crate) conditions: DecisionQuery,
    /// In microseconds since the epoch.
    pub(crate) as_of_us: Option<i64>,
}

pub(crate) fn replay(request: pb::ReplayDecisionsRequest) -> Result<Replay, Error> {
    let pb::ReplayDecisionsRequest { query: asked, as_of } = request;
    let mut faults = Faults::default();
    let as_of_us = as_of.and_then(|time| faults.time("as_of", time));
    let asked = whole_query(asked).map_err(|error| faults.0.extend(error.fields)).ok();
    let (realm, conditions) = asked.map(|(Query { realm, conditions, .. }, _)| (realm, conditions)).unwrap_or_default();
    faults.none_or(Replay { realm, conditions, as_of_us })
}

pub(crate) fn difference(difference: &Difference) -> pb::ReplayDifference {
    let Difference { logged, decision } = difference;
    let Decision { outcome, reasons, determining_policies, .. } = decision;
    pb::ReplayDifference {
        logged: Some(record(logged)),
        decision: authorization::effect(outcome.effect()).into(),
        outcome: authorization::outcome(*outcome).into(),
        reasons: reasons.iter().map(authorization::reason).collect(),
        determining_policies: determining_policies.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn progress(done: u64, total: u64) -> pb::ReplayDecisionsResponse {
    pb::ReplayDecisionsResponse {
        progress: Some(pb::ExportProgress { done, total }),
        ..pb::ReplayDecisionsResponse::default()
    }
}

pub(crate) fn summary(summary: Summary) -> pb::ReplayDecisionsResponse {
    let Summary { same, different, refused_tokens, not_replayed, is_incomplete, events } = summary;
    let not_replayed = not_replayed.into_iter().map(|(code, count)| (code.to_owned(), count)).collect();
    pb::ReplayDecisionsResponse {
        summary: Some(pb::ReplaySummary {
            same,
            different,
            refused_tokens,
            not_replayed,
            complete: !is_incomplete,
            events: events.iter().map(event).collect(),
        }),
        ..pb::ReplayDecisionsResponse::default()
    }
}
