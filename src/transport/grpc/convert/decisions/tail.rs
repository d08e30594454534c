//! Following the decision log.

use super::{Query, event, export::whole_query, record};
use crate::{
    app::{decisions::DecisionQuery, error::Error, tail::TailPart},
    proto::v1 as pb,
};

/// A wish to follow the log.
pub(crate) struct Tail {
    pub(crate) realm: String,
    pub(crate) conditions: DecisionQuery,
    /// Behind this entry.
    pub(crate) after: Option<u64>,
}

pub(crate) fn tail(request: pb::TailDecisionsRequest) -> Result<Tail, Error> {
    let pb::TailDecisionsRequest { query, after_sequence } = request;
    let (Query { realm, conditions, .. }, _) = whole_query(query)?;
    Ok(Tail { realm, conditions, after: after_sequence })
}

pub(crate) fn part(part: TailPart) -> pb::TailDecisionsResponse {
    let TailPart { decisions, events, sequence } = part;
    pb::TailDecisionsResponse {
        decisions: decisions.iter().map(record).collect(),
        events: events.iter().map(event).collect(),
        sequence,
    }
}
