//! A record's bytes, the limits that every store holds records to, and what changes do within them.
//!
//! The body of a record, version 1: count of relationships, each as subject type, subject id, relation, object
//! type, object id; then 0, or 1 with the entity, the count of facts, and each fact's name and text. Version 2, only
//! of a record that holds removed relationships: the same, then their count and each as above.

use std::{collections::HashSet, sync::Arc};

use crate::{
    app::ports::{BATCH_CHANGES_MAX, StoreError},
    domain::{
        codec::{CodecError, Reader, Writer},
        id::EntityId,
        relationship::{Change, Effect, EntityFacts, Record, RecordKey, Relationship, Remembered, settle},
    },
};

/// The version of the body of a record without a past. Also that of every other value.
pub(super) const PLAIN: u8 = 1;

/// The version of the body of a record that holds removed relationships.
pub(super) const WITH_REMOVED: u8 = 2;

/// The longest body of a record, in bytes: 375 for each of 64 relationships. What is removed takes what they leave.
pub(super) const BODY_BYTES_MAX: usize = 24_000;

/// The longest resource, in bytes.
const RESOURCE_BYTES_MAX: usize = 128;

/// The longest record key, in bytes.
const KEY_BYTES_MAX: usize = 2_048;

/// Refuses a batch with too many changes, or with a key that cannot be stored.
pub(super) fn check(batch: &[Change]) -> Result<(), StoreError> {
    let count = batch.len();
    if count > BATCH_CHANGES_MAX {
        return Err(StoreError::Limit(format!(
            "a batch of {count} changes is too large, expected at most {BATCH_CHANGES_MAX}"
        )));
    }
    batch.iter().enumerate().try_for_each(|(index, change)| check_key(index, change.key()))
}

fn check_key(index: usize, RecordKey { resource, key }: &RecordKey) -> Result<(), StoreError> {
    if resource.len() > RESOURCE_BYTES_MAX || resource.contains('\0') {
        return Err(StoreError::Limit(format!(
            "change {index} names a resource of {} bytes, expected at most {RESOURCE_BYTES_MAX} and no NUL",
            resource.len()
        )));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(StoreError::Limit(format!(
            "change {index}, of resource `{resource}`, has a key of {} bytes, expected at most {KEY_BYTES_MAX}",
            key.len()
        )));
    }
    Ok(())
}

/// What a change does to the record of its key. Of removed relationships, those that have no room are forgotten, the
/// oldest first.
pub(super) fn settled(before: Option<Record>, change: Change, remembered: &Remembered) -> Effect {
    let mut effect = settle(before, change, remembered);
    if let Effect::Replaced { after, .. } | Effect::Removed { after, .. } = &mut effect {
        while !after.removed.is_empty() && encode(after).len() > BODY_BYTES_MAX {
            after.removed.pop();
        }
    }
    effect
}

/// The body of the record that is change `index` of its batch, as its source has it, of version [`PLAIN`].
///
/// The message names the change by its place, not by its key: keys hold people's ids.
pub(super) fn body(index: usize, record: &Record) -> Result<Vec<u8>, StoreError> {
    let bytes = encode_plain(record);
    let count = bytes.len();
    if count > BODY_BYTES_MAX {
        return Err(StoreError::Limit(format!(
            "change {index}, of resource `{}`, takes {count} bytes, expected at most {BODY_BYTES_MAX}",
            record.key.resource
        )));
    }
    Ok(bytes)
}

/// The version of the body of a record.
pub(super) fn version(record: &Record) -> u8 {
    if record.removed.is_empty() { PLAIN } else { WITH_REMOVED }
}

/// The body of a record, of its [`version`].
pub(super) fn encode(record: &Record) -> Vec<u8> {
    let mut bytes = encode_plain(record);
    if version(record) == WITH_REMOVED {
        let mut writer = Writer::with_capacity(64 * record.removed.len());
        encode_relationships(&mut writer, &record.removed);
        bytes.extend(writer.into_bytes());
    }
    bytes
}

fn encode_plain(record: &Record) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    encode_relationships(&mut writer, &record.relationships);
    match &record.facts {
        None => writer.bool(false),
        Some(EntityFacts { entity, facts }) => {
            writer.bool(true);
            encode_entity(&mut writer, entity);
            writer.count(facts.len());
            for (name, text) in facts {
                writer.str(name);
                writer.str(text);
            }
        }
    }
    writer.into_bytes()
}

fn encode_relationships(writer: &mut Writer, relationships: &[Relationship]) {
    writer.count(relationships.len());
    for Relationship { subject, relation, object } in relationships {
        encode_entity(writer, subject);
        writer.str(relation);
        encode_entity(writer, object);
    }
}

fn encode_entity(writer: &mut Writer, EntityId { entity_type, id }: &EntityId) {
    writer.str(entity_type);
    writer.str(id);
}

/// Reads the body, of this version, of the record of this key.
pub(super) fn decode(key: RecordKey, version: u8, body: &[u8], names: &mut Names) -> Result<Record, CodecError> {
    let mut reader = Reader::new(body);
    let relationships = decode_relationships(&mut reader, names)?;
    let facts = if reader.bool()? { Some(decode_facts(&mut reader, names)?) } else { None };
    let removed = if version == WITH_REMOVED { decode_relationships(&mut reader, names)? } else { Vec::new() };
    reader.finish()?;
    Ok(Record { key, relationships, facts, removed })
}

fn decode_relationships(reader: &mut Reader<'_>, names: &mut Names) -> Result<Vec<Relationship>, CodecError> {
    let count = reader.count()?;
    let mut relationships = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let subject = decode_entity(reader, names)?;
        let relation = names.name(reader.str()?);
        let object = decode_entity(reader, names)?;
        relationships.push(Relationship { subject, relation, object });
    }
    Ok(relationships)
}

fn decode_entity(reader: &mut Reader<'_>, names: &mut Names) -> Result<EntityId, CodecError> {
    let entity_type = names.name(reader.str()?);
    Ok(EntityId { entity_type, id: reader.str()?.into() })
}

fn decode_facts(reader: &mut Reader<'_>, names: &mut Names) -> Result<EntityFacts, CodecError> {
    let entity = decode_entity(reader, names)?;
    let count = reader.count()?;
    let facts = (0..count).map(|_| Ok((names.name(reader.str()?), reader.str()?.into()))).collect::<Result<_, _>>()?;
    Ok(EntityFacts { entity, facts })
}

/// The few names that repeat in many records (types, relations, resources), each kept in memory once.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>, foldhash::fast::RandomState>);

impl Names {
    /// More different names than a realm has; beyond, each stands alone.
    const COUNT_MAX: usize = 4_096;

    /// The name, shared with earlier ones of the same text.
    pub(super) fn name(&mut self, text: &str) -> Arc<str> {
        if let Some(name) = self.0.get(text) {
            return Arc::clone(name);
        }
        let name: Arc<str> = text.into();
        if self.0.len() < Self::COUNT_MAX {
            self.0.insert(Arc::clone(&name));
        }
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record {
            key: RecordKey { resource: "schools".into(), key: "1".into() },
            relationships: vec![Relationship {
                subject: EntityId::new("School", "1"),
                relation: "in".into(),
                object: EntityId::new("District", "é"),
            }],
            facts: Some(EntityFacts {
                entity: EntityId::new("School", "1"),
                facts: vec![("name".into(), "Grand Bend".into())],
            }),
            removed: Vec::new(),
        }
    }

    fn record_with_a_past() -> Record {
        let former =
            |object| Relationship { object: EntityId::new("District", object), ..record().relationships.remove(0) };
        Record { removed: vec![former("2"), former("1")], ..record() }
    }

    const PLAIN_BYTES: &[u8] =
        b"\x01\x06School\x011\x02in\x08District\x02\xc3\xa9\x01\x06School\x011\x01\x04name\x0aGrand Bend";

    fn read(version: u8, body: &[u8]) -> Result<Record, CodecError> {
        decode(record().key, version, body, &mut Names::default())
    }

    #[test]
    fn the_bytes_of_a_record_stay_as_they_are() {
        assert_eq!((version(&record()), &*encode(&record())), (1, PLAIN_BYTES));
        assert_eq!(read(1, PLAIN_BYTES), Ok(record()));
        let past = b"\x02\x06School\x011\x02in\x08District\x012\x06School\x011\x02in\x08District\x011";
        let bytes = [PLAIN_BYTES, past].concat();
        assert_eq!((version(&record_with_a_past()), encode(&record_with_a_past())), (2, bytes.clone()));
        assert_eq!(read(2, &bytes), Ok(record_with_a_past()));
    }

    #[test]
    fn a_body_cut_short_or_with_a_tail_is_refused() {
        for (version, bytes) in [(1, encode(&record())), (2, encode(&record_with_a_past()))] {
            for cut in 0..bytes.len() {
                assert!(read(version, &bytes[..cut]).is_err(), "{cut}");
            }
            let tailed = [bytes, vec![0]].concat();
            assert_eq!(read(version, &tailed), Err(CodecError::Trailing(1)));
        }
    }

    #[test]
    fn a_name_is_kept_once() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.name("Student"), &names.name("Student")));
    }
}
