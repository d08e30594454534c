//! What the index knows of a record: keyed hashes of the values that can be asked for, never the values.

use std::{fmt, hash::Hasher as _};

use siphasher::sip::SipHasher24;

use crate::domain::{
    decision::{Effect, Outcome},
    decision_record::{DecisionRecord, RecordKind},
    id::{DecisionId, EntityId},
    record_filter::RecordFilter,
    value::Value,
};
use crate::storage::segment_log::seal::{LogKey, SealError};

/// What of a record is indexed. The numbers are part of the stored form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub(in crate::storage::segment_log) enum Attribute {
    /// The client that the token was issued to.
    Client = 1,
    /// The principal's id.
    Principal,
    /// The id of who acted for it.
    Actor,
    /// The action.
    Action,
    /// The resource type.
    ResourceType,
    /// The resource id.
    ResourceId,
    /// The outcome.
    Outcome,
    /// A reason's code.
    Reason,
    /// A determining policy.
    Policy,
    /// The caller's request id.
    RequestId,
    /// A subject, or an entity of the principal's attributes.
    Entity,
    /// What the record is about.
    Kind,
    /// The decision's id.
    Decision,
}

impl Attribute {
    /// All of them, in the order of their numbers.
    pub(in crate::storage::segment_log) const ALL: [Self; 13] = [
        Self::Client,
        Self::Principal,
        Self::Actor,
        Self::Action,
        Self::ResourceType,
        Self::ResourceId,
        Self::Outcome,
        Self::Reason,
        Self::Policy,
        Self::RequestId,
        Self::Entity,
        Self::Kind,
        Self::Decision,
    ];

    /// The number in the stored form.
    pub(in crate::storage::segment_log) fn number(self) -> u8 {
        self as u8
    }

    /// The attribute of a number.
    pub(in crate::storage::segment_log) fn of(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|attribute| attribute.number() == number)
    }
}

/// An attribute with a value, as the index knows it. Two values may have the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::storage::segment_log) struct Term {
    pub attribute: Attribute,
    pub hash: u64,
}

/// Turns values into hashes (`SipHash-2-4`). Who lacks the key cannot tell which value a hash stands for.
#[derive(Clone)]
pub(in crate::storage::segment_log) struct TermKey(SipHasher24);

/// Hides the key.
impl fmt::Debug for TermKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TermKey(..)")
    }
}

impl TermKey {
    /// Takes 16 secret bytes.
    pub(in crate::storage::segment_log) fn new(secret: &[u8; 16]) -> Self {
        Self(SipHasher24::new_with_key(secret))
    }

    /// The key that belongs to a log's own.
    ///
    /// # Errors
    /// None with a key of 32 bytes, which all logs have.
    pub(in crate::storage::segment_log) fn derived(key: &LogKey) -> Result<Self, SealError> {
        let secret = key.derived("index")?;
        secret.first_chunk().map(Self::new).ok_or(SealError)
    }

    /// Tells keys apart without showing them.
    pub(in crate::storage::segment_log) fn fingerprint(&self) -> u64 {
        let mut hasher = self.0;
        hasher.write(b"\0which key");
        hasher.finish()
    }

    fn term(&self, attribute: Attribute, parts: &[&[u8]]) -> Term {
        let mut hasher = self.0;
        hasher.write_u8(attribute.number());
        for part in parts {
            hasher.write(&(part.len() as u64).to_le_bytes());
            hasher.write(part);
        }
        Term { attribute, hash: hasher.finish() }
    }

    fn text(&self, attribute: Attribute, text: &str) -> Term {
        self.term(attribute, &[text.as_bytes()])
    }

    fn entity(&self, EntityId { entity_type, id }: &EntityId) -> Term {
        self.term(Attribute::Entity, &[entity_type.as_bytes(), id.as_bytes()])
    }

    fn outcome(&self, outcome: Outcome) -> Term {
        self.term(Attribute::Outcome, &[&[outcome_number(outcome)]])
    }

    fn kind(&self, kind: RecordKind) -> Term {
        let number = match kind {
            RecordKind::Decision => 1,
            RecordKind::Reading => 2,
        };
        self.term(Attribute::Kind, &[&[number]])
    }

    /// The term of a decision's id.
    pub(in crate::storage::segment_log) fn decision(&self, id: DecisionId) -> Term {
        self.term(Attribute::Decision, &[&id.0.to_be_bytes()])
    }

    /// Hands every term of a record to `each`; one may come more than once. Empty texts have no term.
    pub(in crate::storage::segment_log) fn terms_of(&self, record: &DecisionRecord, mut each: impl FnMut(Term)) {
        let texts = [
            (Attribute::Client, &*record.client),
            (Attribute::Action, &*record.action),
            (Attribute::ResourceType, &*record.resource_type),
            (Attribute::ResourceId, &*record.resource_id),
            (Attribute::RequestId, &*record.request_id),
        ];
        let people = [(Attribute::Principal, &record.principal), (Attribute::Actor, &record.actor)];
        let people = people.into_iter().filter_map(|(attribute, id)| id.as_ref().map(|id| (attribute, &*id.id)));
        let reasons = record.reasons.iter().map(|reason| (Attribute::Reason, &*reason.code));
        let policies = record.determining_policies.iter().map(|policy| (Attribute::Policy, &**policy));
        for (attribute, text) in texts.into_iter().chain(people).chain(reasons).chain(policies) {
            if !text.is_empty() {
                each(self.text(attribute, text));
            }
        }
        each(self.outcome(record.outcome));
        each(self.kind(record.kind));
        each(self.decision(record.id));
        record.subjects.iter().for_each(|subject| each(self.entity(&subject.entity)));
        record.attributes.iter().for_each(|(_, value)| self.terms_in(value, &mut each));
    }

    fn terms_in(&self, value: &Value, each: &mut impl FnMut(Term)) {
        match value {
            Value::Entity(entity) => each(self.entity(entity)),
            Value::List(values) => values.iter().for_each(|value| self.terms_in(value, each)),
            Value::Record(fields) => fields.iter().for_each(|(_, value)| self.terms_in(value, each)),
            Value::Bool(_) | Value::Long(_) | Value::String(_) | Value::Null => {}
        }
    }

    /// What the index can say of a filter: of each of these lists, a record that matches has at least one term. Every
    /// such record still has to be held against the filter itself.
    pub(in crate::storage::segment_log) fn conditions_of(&self, filter: &RecordFilter) -> Vec<Vec<Term>> {
        let RecordFilter {
            from_us: _,
            until_us: _,
            principal,
            entities,
            resource_type,
            resource_ids,
            action,
            effect,
            outcome,
            reason,
            policy,
            request_id,
            client,
            actor,
            kind,
        } = filter;
        let texts = [
            // The most telling first: what rules a block out should be looked up first.
            (Attribute::RequestId, request_id),
            (Attribute::Principal, principal),
            (Attribute::Actor, actor),
            (Attribute::Client, client),
            (Attribute::Policy, policy),
            (Attribute::Reason, reason),
            (Attribute::Action, action),
            (Attribute::ResourceType, resource_type),
        ];
        let mut conditions: Vec<Vec<Term>> = entities.iter().map(|entity| vec![self.entity(entity)]).collect();
        if !resource_ids.is_empty() && resource_ids.iter().all(|id| !id.is_empty()) {
            conditions.push(resource_ids.iter().map(|id| self.text(Attribute::ResourceId, id)).collect());
        }
        for (attribute, text) in texts {
            conditions.extend(text.iter().filter(|text| !text.is_empty()).map(|text| vec![self.text(attribute, text)]));
        }
        conditions.extend(kind.iter().map(|kind| vec![self.kind(*kind)]));
        conditions.extend(outcome.iter().map(|outcome| vec![self.outcome(*outcome)]));
        conditions.extend(effect.iter().map(|effect| self.outcomes_of(*effect)));
        conditions
    }

    fn outcomes_of(&self, effect: Effect) -> Vec<Term> {
        OUTCOMES.into_iter().filter(|outcome| outcome.effect() == effect).map(|outcome| self.outcome(outcome)).collect()
    }
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Allowed, Outcome::NotPermitted, Outcome::Forbidden, Outcome::Indeterminate, Outcome::Unauthenticated];

fn outcome_number(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Allowed => 1,
        Outcome::NotPermitted => 2,
        Outcome::Forbidden => 3,
        Outcome::Indeterminate => 4,
        Outcome::Unauthenticated => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_keep_their_numbers() {
        assert!(Attribute::ALL.into_iter().map(Attribute::number).eq(1..=13));
        assert_eq!(Attribute::of(9), Some(Attribute::Policy));
        assert_eq!((Attribute::of(0), Attribute::of(14)), (None, None));
    }

    #[test]
    fn hashes_depend_on_key_attribute_and_value() {
        let (key, other) = (TermKey::new(&[1; 16]), TermKey::new(&[2; 16]));
        let hash = |term: Term| term.hash;
        let base = hash(key.text(Attribute::Client, "a"));
        assert_eq!(base, hash(key.text(Attribute::Client, "a")));
        assert_ne!(base, hash(other.text(Attribute::Client, "a")));
        assert_ne!(base, hash(key.text(Attribute::Actor, "a")));
        assert_ne!(base, hash(key.text(Attribute::Client, "b")));
        assert_ne!(hash(key.entity(&EntityId::new("ab", "c"))), hash(key.entity(&EntityId::new("a", "bc"))));
        assert_ne!(key.fingerprint(), other.fingerprint());
    }

    #[test]
    fn the_outcomes_of_an_effect_are_all_of_them() {
        let key = TermKey::new(&[1; 16]);
        assert_eq!((key.outcomes_of(Effect::Allow).len(), key.outcomes_of(Effect::Deny).len()), (1, 4));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", TermKey::new(&[7; 16])), "TermKey(..)");
    }
}
