//! Relationships, the records that bring them, and the changes that a store keeps.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

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

/// A record as the store keeps it: its name, what it brings and what it brought, nothing else of it.
///
/// One that only holds what it brought stands for a record that is not there any more.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Record {
    /// Its name.
    pub key: RecordKey,
    /// The relationships it brings, at most [`Record::RELATIONSHIPS_MAX`].
    pub relationships: Vec<Relationship>,
    /// What it says about an entity.
    pub facts: Option<EntityFacts>,
    /// What records of this key brought and this one does not, of the relations that are remembered: the latest
    /// first, each once, at most [`Record::REMOVED_MAX`]. Only [`settle`] fills it in.
    pub removed: Vec<Relationship>,
}

impl Record {
    /// The most relationships that a record brings.
    pub const RELATIONSHIPS_MAX: usize = 1_000;
    /// The most removed relationships that a record holds; beyond, the oldest are forgotten.
    pub const REMOVED_MAX: usize = 1_000;

    /// A record as its source has it, with no past.
    pub fn new(key: RecordKey, relationships: Vec<Relationship>, facts: Option<EntityFacts>) -> Self {
        Self { key, relationships, facts, removed: Vec::new() }
    }
}

/// The relations whose relationships stay known when they are removed. A clone costs a pointer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered(Arc<BTreeSet<Arc<str>>>);

impl Remembered {
    /// Relationships of this relation stay known.
    pub fn contains(&self, relation: &str) -> bool {
        self.0.contains(relation)
    }
}

impl FromIterator<Arc<str>> for Remembered {
    fn from_iter<T: IntoIterator<Item = Arc<str>>>(relations: T) -> Self {
        Self(Arc::new(relations.into_iter().collect()))
    }
}

/// One change to a realm's records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Keep this record, in place of an earlier one of the same key. Its past is that of the earlier one.
    Put(Record),
    /// Keep no record of this key, only what is remembered of it.
    Delete(RecordKey),
    /// Keep nothing of this key.
    Forget(RecordKey),
}

impl Change {
    /// The record that is changed.
    pub fn key(&self) -> &RecordKey {
        match self {
            Self::Put(record) => &record.key,
            Self::Delete(key) | Self::Forget(key) => key,
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
    /// The record replaced an earlier one, or what was remembered of one.
    Replaced {
        /// The earlier one.
        before: Record,
        /// The one that counts now.
        after: Record,
    },
    /// The record is gone, but for what is remembered of it.
    Removed {
        /// The earlier one.
        before: Record,
        /// What is remembered.
        after: Record,
    },
    /// The record is gone, and so is what was remembered of it.
    Deleted(Record),
}

impl Effect {
    /// Does to these records what was done.
    pub fn keep_in(&self, records: &mut BTreeMap<RecordKey, Record>) {
        match self {
            Self::Unchanged => {}
            Self::Created(after) | Self::Replaced { after, .. } | Self::Removed { after, .. } => {
                records.insert(after.key.clone(), after.clone());
            }
            Self::Deleted(before) => {
                records.remove(&before.key);
            }
        }
    }
}

/// What a change does to the record of its key, if there is one. Every store does as this says.
///
/// Relationships of remembered relations that a record brought and its successor does not, or that a deleted record
/// brought, stay as removed ones. One that is brought again is no removed one any more. To delete a record that is
/// gone already changes nothing; to forget it does.
pub fn settle(before: Option<Record>, change: Change, remembered: &Remembered) -> Effect {
    match (before, change) {
        (None, Change::Delete(_) | Change::Forget(_)) => Effect::Unchanged,
        (None, Change::Put(after)) => Effect::Created(Record { removed: Vec::new(), ..after }),
        (Some(before), Change::Put(mut after)) => {
            after.removed = removed(&before, &after.relationships, remembered);
            if before == after { Effect::Unchanged } else { Effect::Replaced { before, after } }
        }
        (Some(before), Change::Delete(key)) => {
            let removed = removed(&before, &[], remembered);
            let after = Record { key, relationships: Vec::new(), facts: None, removed };
            if after.removed.is_empty() {
                Effect::Deleted(before)
            } else if before == after {
                Effect::Unchanged
            } else {
                Effect::Removed { before, after }
            }
        }
        (Some(before), Change::Forget(_)) => Effect::Deleted(before),
    }
}

/// What is removed of a record in whose place only these relationships are brought. What goes now comes first.
fn removed(before: &Record, brought: &[Relationship], remembered: &Remembered) -> Vec<Relationship> {
    let mut removed: Vec<Relationship> = Vec::new();
    let mut known: BTreeSet<&Relationship> = brought.iter().collect();
    for former in before.relationships.iter().chain(&before.removed) {
        if removed.len() < Record::REMOVED_MAX && remembered.contains(&former.relation) && known.insert(former) {
            removed.push(former.clone());
        }
    }
    removed
}

/// A batch of changes after it was made durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The revision that the batch made; that of the batch before when nothing changed.
    pub revision: Revision,
    /// What each change did, in the order of the changes.
    pub effects: Vec<Effect>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> RecordKey {
        RecordKey { resource: "enrolments".into(), key: "1".into() }
    }

    fn edge(relation: &str, object: &str) -> Relationship {
        Relationship {
            subject: EntityId::new("Student", "1"),
            relation: relation.into(),
            object: EntityId::new("School", object),
        }
    }

    fn enrolled(schools: &[&str]) -> Vec<Relationship> {
        schools.iter().map(|school| edge("enrolled_at", school)).collect()
    }

    fn record(brings: &[&str], removed: &[&str]) -> Record {
        Record { key: key(), relationships: enrolled(brings), facts: None, removed: enrolled(removed) }
    }

    fn put(schools: &[&str]) -> Change {
        Change::Put(record(schools, &[]))
    }

    fn remembered() -> Remembered {
        [Arc::from("enrolled_at")].into_iter().collect()
    }

    fn settled(before: &Record, change: Change) -> Effect {
        settle(Some(before.clone()), change, &remembered())
    }

    #[test]
    fn what_a_record_brought_stays_known_when_it_is_gone() {
        let before = record(&["a"], &["b"]);
        let after = record(&[], &["a", "b"]);
        let effect = settled(&before, Change::Delete(key()));
        assert_eq!(effect, Effect::Removed { before: before.clone(), after: after.clone() });
        assert_eq!(settled(&after, Change::Delete(key())), Effect::Unchanged, "it is gone already");
        for known in [before, after] {
            assert_eq!(settled(&known, Change::Forget(key())), Effect::Deleted(known.clone()));
        }
        assert_eq!(settle(None, Change::Forget(key()), &remembered()), Effect::Unchanged);
        assert_eq!(settle(None, Change::Delete(key()), &remembered()), Effect::Unchanged);
    }

    #[test]
    fn a_record_that_changes_keeps_what_it_brought_before() {
        for (before, now, after) in [
            (record(&["a"], &[]), &["b"][..], record(&["b"], &["a"])),
            (record(&["b"], &["a"]), &["c"], record(&["c"], &["b", "a"])),
            (record(&["b"], &["a"]), &["a"], record(&["a"], &["b"])),
            (record(&[], &["a"]), &["a"], record(&["a"], &[])),
            (record(&["a", "a", "b"], &["c"]), &[], record(&[], &["a", "b", "c"])),
        ] {
            assert_eq!(settled(&before, put(now)), Effect::Replaced { before: before.clone(), after: after.clone() });
            assert_eq!(settled(&after, put(now)), Effect::Unchanged, "the same again");
        }
    }

    #[test]
    fn a_record_makes_no_past_for_itself() {
        let invented = record(&["a"], &["z"]);
        let effect = settle(None, Change::Put(invented.clone()), &remembered());
        assert_eq!(effect, Effect::Created(record(&["a"], &[])));
        assert_eq!(settled(&record(&["a"], &[]), Change::Put(invented)), Effect::Unchanged);
    }

    #[test]
    fn relations_that_are_not_remembered_are_forgotten() {
        let mut before = record(&["a"], &[]);
        before.relationships.push(edge("taught_at", "b"));
        let Effect::Removed { after, .. } = settled(&before, Change::Delete(key())) else { panic!("not remembered") };
        assert_eq!(after, record(&[], &["a"]));
        let nothing = Remembered::default();
        assert_eq!(settle(Some(after.clone()), Change::Delete(key()), &nothing), Effect::Deleted(after));
        let empty = record(&[], &[]);
        assert_eq!(settled(&empty, Change::Delete(key())), Effect::Deleted(empty.clone()));
    }

    #[test]
    fn of_too_many_removed_ones_the_oldest_are_forgotten() {
        let mut now = record(&["0"], &[]);
        for school in 1..=1_010 {
            let Effect::Replaced { after, .. } = settled(&now, put(&[&school.to_string()])) else {
                panic!("the school is another one")
            };
            now = after;
        }
        let expected: Vec<String> = (10..1_010).rev().map(|school| school.to_string()).collect();
        assert_eq!(now.removed, enrolled(&expected.iter().map(String::as_str).collect::<Vec<_>>()));
    }

    proptest! {
        #[test]
        fn nothing_that_was_brought_is_lost_until_it_is_forgotten(
            changes in proptest::collection::vec(proptest::option::of(proptest::collection::vec("[a-e]", 0..3)), 0..12)
        ) {
            let (mut now, mut ever) = (None, BTreeSet::new());
            for schools in changes {
                let brought = schools.iter().flatten().map(String::as_str).collect::<Vec<_>>();
                ever.extend(enrolled(&brought));
                let change = if schools.is_some() { put(&brought) } else { Change::Delete(key()) };
                match settle(now.clone(), change, &remembered()) {
                    Effect::Unchanged => {}
                    Effect::Created(after) | Effect::Replaced { after, .. } | Effect::Removed { after, .. } => {
                        now = Some(after);
                    }
                    Effect::Deleted(_) => now = None,
                }
                let known = now.iter().flat_map(|record| record.relationships.iter().chain(&record.removed));
                prop_assert_eq!(known.cloned().collect::<BTreeSet<_>>(), ever.clone());
                if let Some(record) = &now {
                    prop_assert_eq!(record.relationships.iter().cloned().collect::<BTreeSet<_>>(), enrolled(&brought).into_iter().collect());
                    prop_assert!(record.removed.iter().all(|gone| !record.relationships.contains(gone)));
                }
            }
        }
    }
}
