//! What batches did, as bytes: the settled effects, so that whoever reads them needs no earlier record.
//!
//! In the terms of [`codec`](crate::domain::codec): each effect is a byte for its kind, the record's key, and the earlier
//! and the later record, as far as the kind has them, each as the version and the body that stores keep.

use std::collections::HashSet;

use crate::{
    domain::{
        codec::{CodecError, Reader, Writer},
        id::EntityId,
        relationship::{Effect, Record, RecordKey, Relationship},
    },
    storage::record::{self, Names},
};

/// Appends an effect. One that changed nothing takes no bytes.
pub(super) fn push(out: &mut Writer, effect: &Effect) {
    let (kind, records) = match effect {
        Effect::Unchanged => return,
        Effect::Created(after) => (1, [Some(after), None]),
        Effect::Replaced { before, after } => (2, [Some(before), Some(after)]),
        Effect::Removed { before, after } => (3, [Some(before), Some(after)]),
        Effect::Deleted(before) => (4, [Some(before), None]),
    };
    out.byte(kind);
    let mut records = records.into_iter().flatten().peekable();
    if let Some(Record { key: RecordKey { resource, key }, .. }) = records.peek() {
        out.str(resource);
        out.str(key);
    }
    for record in records {
        let (version, body) = record::encode(record);
        out.byte(version);
        out.bytes(&body);
    }
}

/// Reads all effects of a frame.
///
/// # Errors
/// [`CodecError`] when the bytes are not those of effects.
pub(super) fn read(bytes: &[u8], names: &mut Names) -> Result<Vec<Effect>, CodecError> {
    let mut input = Reader::new(bytes);
    let mut effects = Vec::new();
    while !input.rest().is_empty() {
        effects.push(read_one(&mut input, names)?);
    }
    Ok(effects)
}

fn read_one(input: &mut Reader<'_>, names: &mut Names) -> Result<Effect, CodecError> {
    let kind = input.byte()?;
    let key = RecordKey { resource: names.name(input.str()?), key: input.shared()? };
    let mut next = || {
        let version = input.byte()?;
        record::decode(key.clone(), version, input.bytes()?, names)
    };
    Ok(match kind {
        1 => Effect::Created(next()?),
        2 => Effect::Replaced { before: next()?, after: next()? },
        3 => Effect::Removed { before: next()?, after: next()? },
        4 => Effect::Deleted(next()?),
        byte => return Err(CodecError::Choice { what: "effect", byte }),
    })
}

/// What is to be forgotten.
#[derive(Debug)]
pub(super) enum Forgotten {
    /// An entity.
    Entity(EntityId),
    /// Records.
    Records(HashSet<RecordKey>),
}

impl Forgotten {
    /// What is left of an effect, and whether something is gone of it; `None` when nothing is left.
    pub(super) fn without(&self, effect: Effect) -> (Option<Effect>, bool) {
        let mut is_less = false;
        let mut left = |record: Record| {
            let (record, is_touched) = self.left_of(record);
            is_less |= is_touched;
            record
        };
        let effect = match effect {
            Effect::Unchanged => return (None, false),
            Effect::Created(after) => Effect::Created(left(after)),
            Effect::Replaced { before, after } => Effect::Replaced { before: left(before), after: left(after) },
            Effect::Removed { before, after } => Effect::Removed { before: left(before), after: left(after) },
            Effect::Deleted(before) => Effect::Deleted(left(before)),
        };
        let is_empty = match &effect {
            Effect::Unchanged => true,
            Effect::Created(record) | Effect::Deleted(record) => is_empty(record),
            Effect::Replaced { before, after } | Effect::Removed { before, after } => {
                is_empty(before) && is_empty(after)
            }
        };
        (Some(effect).filter(|_| !(is_less && is_empty)), is_less)
    }

    /// What is left of a record, and whether something is gone of it. A key that spells a forgotten entity's id is
    /// changed with it.
    fn left_of(&self, record: Record) -> (Record, bool) {
        match self {
            Self::Records(keys) if keys.contains(&record.key) => (Record::new(record.key, Vec::new(), None), true),
            Self::Entity(entity) if is_named(&record, entity) => {
                let Record { key: RecordKey { resource, key }, relationships, facts, removed } = record;
                let parts: Vec<&str> =
                    key.split(KEY_SEPARATOR).map(|part| if *part == *entity.id { "" } else { part }).collect();
                let key = RecordKey { resource, key: parts.join(KEY_SEPARATOR).into() };
                let without = |relationships: Vec<Relationship>| {
                    relationships.into_iter().filter(|relationship| !names(relationship, entity)).collect()
                };
                let facts = facts.filter(|facts| facts.entity != *entity);
                (Record { key, relationships: without(relationships), facts, removed: without(removed) }, true)
            }
            _ => (record, false),
        }
    }
}

/// What stands between the values of a key.
const KEY_SEPARATOR: &str = "\u{1f}";

fn is_empty(record: &Record) -> bool {
    record.relationships.is_empty() && record.removed.is_empty() && record.facts.is_none()
}

fn is_named(record: &Record, entity: &EntityId) -> bool {
    record.relationships.iter().chain(&record.removed).any(|relationship| names(relationship, entity))
        || record.facts.as_ref().is_some_and(|facts| facts.entity == *entity)
}

fn names(relationship: &Relationship, entity: &EntityId) -> bool {
    relationship.subject == *entity || relationship.object == *entity
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::relationship::EntityFacts;

    fn relationship(student: &str) -> Relationship {
        Relationship {
            subject: EntityId::new("Student", student),
            relation: "attends".into(),
            object: EntityId::new("School", "9"),
        }
    }

    fn record(key: &str, students: &[&str], removed: &[&str]) -> Record {
        Record {
            key: RecordKey { resource: "enrolments".into(), key: key.into() },
            relationships: students.iter().map(|student| relationship(student)).collect(),
            facts: students.first().map(|student| EntityFacts {
                entity: EntityId::new("Student", *student),
                facts: vec![("name".into(), "x".into())],
            }),
            removed: removed.iter().map(|student| relationship(student)).collect(),
        }
    }

    fn one_of_each_kind() -> Vec<Effect> {
        let (before, after) = (record("9\u{1f}1", &["1"], &[]), record("9\u{1f}1", &[], &["1"]));
        vec![
            Effect::Created(before.clone()),
            Effect::Replaced { before: before.clone(), after: record("9\u{1f}1", &["1", "2"], &[]) },
            Effect::Removed { before: before.clone(), after: after.clone() },
            Effect::Deleted(after),
        ]
    }

    #[test]
    fn effects_of_every_kind_read_back_and_cut_ones_are_refused() {
        for effect in one_of_each_kind() {
            let mut out = Writer::default();
            push(&mut out, &effect);
            push(&mut out, &Effect::Unchanged);
            let bytes = out.into_bytes();
            assert_eq!(read(&bytes, &mut Names::default()), Ok(vec![effect]));
            for cut in 1..bytes.len() {
                assert!(read(&bytes[..cut], &mut Names::default()).is_err(), "{cut}");
            }
        }
    }

    #[test]
    fn nothing_is_left_that_names_a_forgotten_entity() {
        let forgotten = Forgotten::Entity(EntityId::new("Student", "1"));
        for effect in one_of_each_kind() {
            let (left, is_less) = forgotten.without(effect.clone());
            assert!(is_less, "{effect:?}");
            assert!(!format!("{left:?}").contains("\"1\""), "{left:?}");
            assert!(!format!("{left:?}").contains("u{1f}1"), "{left:?}");
        }
        let other = Effect::Created(record("1\u{1f}9", &["2"], &["3"]));
        assert_eq!(forgotten.without(other.clone()), (Some(other), false), "a key alone names nobody");
        let both = Effect::Created(record("9\u{1f}1", &["2", "1"], &[]));
        assert_eq!(forgotten.without(both), (Some(Effect::Created(record("9\u{1f}", &["2"], &[]))), true));
    }

    #[test]
    fn nothing_is_left_of_forgotten_records() {
        let keys = [RecordKey { resource: "enrolments".into(), key: "a".into() }];
        let forgotten = Forgotten::Records(keys.into_iter().collect());
        assert_eq!(forgotten.without(Effect::Created(record("a", &["1"], &[]))), (None, true));
        let other = Effect::Created(record("b", &["1"], &[]));
        assert_eq!(forgotten.without(other.clone()), (Some(other), false));
    }
}
