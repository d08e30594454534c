//! A record's bytes, and the limits that every store holds records to.
//!
//! The body of a record: count of relationships, each as subject type, subject id, relation, object
//! type, object id; then 0, or 1 with the entity, the count of facts, and each fact's name and text.

use std::{collections::HashSet, sync::Arc};

use crate::{
    app::ports::{BATCH_CHANGES_MAX, StoreError},
    domain::{
        codec::{CodecError, Reader, Writer},
        id::EntityId,
        relationship::{Change, EntityFacts, Record, RecordKey, Relationship},
    },
};

/// The longest body of a record, in bytes: 375 for each of 64 relationships.
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

/// The body of the record that is change `index` of its batch.
///
/// The message names the change by its place, not by its key: keys hold people's ids.
pub(super) fn body(index: usize, record: &Record) -> Result<Vec<u8>, StoreError> {
    let bytes = encode(record);
    let count = bytes.len();
    if count > BODY_BYTES_MAX {
        return Err(StoreError::Limit(format!(
            "change {index}, of resource `{}`, takes {count} bytes, expected at most {BODY_BYTES_MAX}",
            record.key.resource
        )));
    }
    Ok(bytes)
}

fn encode(record: &Record) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    writer.count(record.relationships.len());
    for Relationship { subject, relation, object } in &record.relationships {
        encode_entity(&mut writer, subject);
        writer.str(relation);
        encode_entity(&mut writer, object);
    }
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

fn encode_entity(writer: &mut Writer, EntityId { entity_type, id }: &EntityId) {
    writer.str(entity_type);
    writer.str(id);
}

/// Reads the body of the record of this key.
pub(super) fn decode(key: RecordKey, body: &[u8], names: &mut Names) -> Result<Record, CodecError> {
    let mut reader = Reader::new(body);
    let count = reader.count()?;
    let mut relationships = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let subject = decode_entity(&mut reader, names)?;
        let relation = names.name(reader.str()?);
        let object = decode_entity(&mut reader, names)?;
        relationships.push(Relationship { subject, relation, object });
    }
    let facts = if reader.bool()? { Some(decode_facts(&mut reader, names)?) } else { None };
    reader.finish()?;
    Ok(Record { key, relationships, facts })
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
        }
    }

    #[test]
    fn the_bytes_of_a_record_stay_as_they_are() {
        let expected =
            b"\x01\x06School\x011\x02in\x08District\x02\xc3\xa9\x01\x06School\x011\x01\x04name\x0aGrand Bend";
        assert_eq!(encode(&record()), expected);
        assert_eq!(decode(record().key, expected, &mut Names::default()), Ok(record()));
    }

    #[test]
    fn a_body_cut_short_or_with_a_tail_is_refused() {
        let bytes = encode(&record());
        for cut in 0..bytes.len() {
            assert!(decode(record().key, &bytes[..cut], &mut Names::default()).is_err(), "{cut}");
        }
        let tailed = [bytes, vec![0]].concat();
        assert_eq!(decode(record().key, &tailed, &mut Names::default()), Err(CodecError::Trailing(1)));
    }

    #[test]
    fn a_name_is_kept_once() {
        let mut names = Names::default();
        assert!(Arc::ptr_eq(&names.name("Student"), &names.name("Student")));
    }
}
