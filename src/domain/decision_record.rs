//! What the decision log keeps of a decision.

use std::sync::Arc;

use super::{
    adapter::Adapter,
    decision::{Outcome, Reason},
    id::{DecisionId, EntityId, PolicyVersion, Revision},
    value::{Attributes, Value},
};

/// A value of the resource that took part in a decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordedSubject {
    /// The attribute, for example `student`.
    pub attribute: Arc<str>,
    /// The entity; of a person, the pseudonym stands in place of the id.
    pub entity: EntityId,
    /// The id is a pseudonym.
    pub is_pseudonym: bool,
    /// It was a value of the request body.
    pub is_proposed: bool,
}

/// What a record is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RecordKind {
    /// A decision about a request.
    #[default]
    Decision,
    /// A reading of the log: a decision of the service's own policies.
    Reading,
}

/// What an auditor needs to know of one decision. Holds no token and no person's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecisionRecord {
    /// The decision's id.
    pub id: DecisionId,
    /// When it was decided, in microseconds since the epoch.
    pub time_us: i64,
    /// How it came about.
    pub outcome: Outcome,
    /// Why.
    pub reasons: Vec<Reason>,
    /// The policies that determined it.
    pub determining_policies: Vec<Arc<str>>,
    /// The action.
    pub action: Arc<str>,
    /// The resource type.
    pub resource_type: Arc<str>,
    /// The resource id; a pseudonym when the type is about people; may be empty.
    pub resource_id: Arc<str>,
    /// The values of the resource that took part.
    pub subjects: Vec<RecordedSubject>,
    /// The principal, if the token was good.
    pub principal: Option<EntityId>,
    /// The issuer of the token, if it is one of the realm's; else empty.
    pub issuer: Arc<str>,
    /// The principal's attributes.
    pub attributes: Arc<Attributes>,
    /// The policies that decided.
    pub policy_version: PolicyVersion,
    /// The relationships that were looked at.
    pub data_revision: Revision,
    /// The caller's request id.
    pub request_id: Arc<str>,
    /// How long the decision took, in microseconds, the log left out.
    pub duration_us: u32,
    /// The ids of the obligations that the allow carried.
    pub obligations: Vec<Arc<str>>,
    /// Who acted for the principal, as the token says (RFC 8693 section 4.1).
    pub actor: Option<EntityId>,
    /// The client that the token was issued to; empty where the token names none.
    pub client: Arc<str>,
    /// Why the caller said it asked; empty where it said nothing.
    pub purpose: Arc<str>,
    /// What it is about.
    pub kind: RecordKind,
    /// What is needed to decide again and is not said above, sealed with the keys of the people that it is about; empty
    /// where nothing more is needed or kept.
    pub facts: Arc<[u8]>,
    /// Who asked the service, by the name in the deployment's `[callers.NAME]` or `local`; empty in records of readings, whose
    /// principal that is, and in those of before there were such names.
    pub caller: Arc<str>,
    /// By which way the question came; `None` as above.
    pub adapter: Option<Adapter>,
}

/// A record with its place in the realm's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedDecision {
    /// The place, from 1, without gaps.
    pub sequence: u64,
    /// The record.
    pub record: DecisionRecord,
}

impl DecisionRecord {
    /// The entity is a subject of the decision, or one of the entities of the principal's attributes.
    pub fn names(&self, entity: &EntityId) -> bool {
        fn holds(value: &Value, entity: &EntityId) -> bool {
            match value {
                Value::Entity(found) => found == entity,
                Value::List(values) => values.iter().any(|value| holds(value, entity)),
                Value::Record(fields) => fields.iter().any(|(_, value)| holds(value, entity)),
                _ => false,
            }
        }
        self.subjects.iter().any(|subject| subject.entity == *entity)
            || self.attributes.iter().any(|(_, value)| holds(value, entity))
    }
}
