//! A typed question to the decision log.

use std::sync::Arc;

use super::{
    decision::{Effect, Outcome},
    decision_record::{DecisionRecord, RecordKind},
    id::EntityId,
};

/// The order of a page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Order {
    /// The newest first.
    #[default]
    NewestFirst,
    /// The oldest first.
    OldestFirst,
}

/// Conditions on decision records; each that is set must hold. People are named by pseudonym here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordFilter {
    /// At or after this time, in microseconds since the epoch.
    pub from_us: Option<i64>,
    /// Before this time.
    pub until_us: Option<i64>,
    /// The principal's id.
    pub principal: Option<Arc<str>>,
    /// Entities of which each must be a subject of the decision or named by the principal's attributes.
    pub entities: Vec<EntityId>,
    /// The resource type.
    pub resource_type: Option<Arc<str>>,
    /// Resource ids of which one must match (plain, or its pseudonym).
    pub resource_ids: Vec<Arc<str>>,
    /// The action.
    pub action: Option<Arc<str>>,
    /// Allow or deny.
    pub effect: Option<Effect>,
    /// The outcome.
    pub outcome: Option<Outcome>,
    /// A reason's code.
    pub reason: Option<Arc<str>>,
    /// A determining policy.
    pub policy: Option<Arc<str>>,
    /// The caller's request id.
    pub request_id: Option<Arc<str>>,
    /// The client that the token was issued to.
    pub client: Option<Arc<str>>,
    /// The id of who acted for the principal.
    pub actor: Option<Arc<str>>,
    /// Decisions or readings alone.
    pub kind: Option<RecordKind>,
}

/// A page's place in the log: which records come next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PageRequest {
    /// The order.
    pub order: Order,
    /// At most this many records, at least 1.
    pub size: usize,
    /// Only records beyond this sequence number, in the page's order.
    pub after: Option<u64>,
}

impl RecordFilter {
    /// The record satisfies every condition.
    pub fn matches(&self, record: &DecisionRecord) -> bool {
        fn is(wanted: Option<&Arc<str>>, found: &str) -> bool {
            wanted.is_none_or(|wanted| **wanted == *found)
        }
        self.from_us.is_none_or(|from| record.time_us >= from)
            && self.until_us.is_none_or(|until| record.time_us < until)
            && self.outcome.is_none_or(|outcome| record.outcome == outcome)
            && self.effect.is_none_or(|effect| record.outcome.effect() == effect)
            && is(self.action.as_ref(), &record.action)
            && is(self.resource_type.as_ref(), &record.resource_type)
            && is(self.request_id.as_ref(), &record.request_id)
            && is(self.client.as_ref(), &record.client)
            && self.kind.is_none_or(|kind| record.kind == kind)
            && self.actor.as_ref().is_none_or(|id| record.actor.as_ref().is_some_and(|found| found.id == *id))
            && (self.resource_ids.is_empty() || self.resource_ids.contains(&record.resource_id))
            && self.principal.as_ref().is_none_or(|id| record.principal.as_ref().is_some_and(|found| found.id == *id))
            && self.reason.as_ref().is_none_or(|code| record.reasons.iter().any(|reason| reason.code == *code))
            && self.policy.as_ref().is_none_or(|id| record.determining_policies.contains(id))
            && self.entities.iter().all(|entity| record.names(entity))
    }
}
