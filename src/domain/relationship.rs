//! Relationships, the records that bring them, and the changes that a store keeps.

use std::sync::Arc;

use super::id::{EntityId, Revision};

/// That a subject stands in a relation to an object: `Student::"1" enrolled_at School::"2"`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Relationship {
    /// The end that the relation starts from.
    pub subject: EntityId,
    /// The relation, one of the realm's relations.toml.
    pub relation: Arc<str>,
    /// The other end.
    pub object: EntityId,
}

/// What the records say about an entity itself, for example an organization's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EntityFacts {
    /// The entity.
    pub entity: EntityId,
    /// Named texts, sorted by name, each name once.
    pub facts: Vec<(Arc<str>, Arc<str>)>,
}

/// Names a record within its realm.
///
/// A record's relationships live and die with it. Two records may bring the same relationship;
/// it is gone when both are. A relationship that was written directly is a record of the resource
/// [`RecordKey::DIRECT`] whose key spells the relationship.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordKey {
    /// The resource, for example `studentSchoolAssociations`; at most 128 bytes, no NUL.
    pub resource: Arc<str>,
    /// The values of the record's key properties, joined by U+001F; at most 2,048 bytes.
    pub key: Arc<str>,
}

impl RecordKey {
    /// The resource of relationships that were written directly.
    pub const DIRECT: &str = "";
}

/// A record as the store keeps it: its name and what it brought, nothing else of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its name.
    pub key: RecordKey,
    /// The relationships it brings, at most 64.
    pub relationships: Vec<Relationship>,
    /// What it says about an entity.
    pub facts: Option<EntityFacts>,
}

/// One change to a realm's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep this record, in place of an earlier one of the same key.
    Put(Record),
    /// Keep no record of this key.
    Delete(RecordKey),
}

impl Change {
    /// The record that is changed.
    pub fn key(&self) -> &RecordKey {
        match self {
            Self::Put(record) => &record.key,
            Self::Delete(key) => key,
        }
    }
}

/// What a change did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The same record was there already, or the record to delete was not.
    Unchanged,
    /// The record is new.
    Created(Record),
    /// The record replaced an earlier one.
    Replaced {
        /// The earlier one.
        before: Record,
        /// The one that counts now.
        after: Record,
    },
    /// The record is gone.
    Deleted(Record),
}

/// A batch of changes after it was made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The revision that the batch made; that of the batch before when nothing changed.
    pub revision: Revision,
    /// What each change did, in the order of the changes.
    pub effects: Vec<Effect>,
}
