//! A record's bytes, the limits that every store holds records to, and what changes do within them.
//!
//! The body of a record, version 1: count of relationships, each as subject type, subject id, relation, object
//! type, object id; then 0, or 1 with the entity, the count of facts, and each fact's name and text. Version 2, only
//! of a record that holds removed relationships: the same, then their count and each as above. Version 3, only of a
//! record that would be too long otherwise: [`compact`].

mod compact;

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

/// The version of a compact body, whether or not it holds removed relationships.
pub(super) const COMPACT: u8 = 3;

/// The longest body of a record, in bytes: 24 for each of 1,000 relationships. What is removed takes what they leave.
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
    if let Effect::Replaced { after, .. } | Effect::Removed { after, .. } = &mut effect
        && !fits(after)
    {
        let removed = std::mem::take(&mut after.removed);
        // How many are known to fit, and how many are known not to.
        let (mut least, mut most) = (0, removed.len());
        while most - least > 1 {
            let middle = usize::midpoint(least, most);
            after.removed = removed.iter().take(middle).cloned().collect();
            if fits(after) {
                least = middle;
            } else {
                most = middle;
            }
        }
        after.removed = removed.into_iter().take(least).collect();
    }
    effect
}

fn fits(record: &Record) -> bool {
    encode(record).1.len() <= BODY_BYTES_MAX
}

/// Version and body of a record that comes from its source, without a past.
///
/// # Errors
/// How long the body would be, where it is too long.
pub(super) fn checked(record: &Record) -> Result<(u8, Vec<u8>), String> {
    let (version, bytes) = encode_as_new(record);
    let count = bytes.len();
    if count > BODY_BYTES_MAX {
        return Err(format!("takes {count} bytes, expected at most {BODY_BYTES_MAX}"));
    }
    Ok((version, bytes))
}

/// Version and body of the record that is change `index` of its batch, as its source has it.
///
/// The message names the change by its place, not by its key: keys hold people's ids.
pub(super) fn body(index: usize, record: &Record) -> Result<(u8, Vec<u8>), StoreError> {
    let refused = |why| StoreError::Limit(format!("change {index}, of resource `{}`, {why}", record.key.resource));
    checked(record).map_err(refused)
}

/// Version and body of a record. The body is as long as it must be: it may be too long to keep.
pub(super) fn encode(record: &Record) -> (u8, Vec<u8>) {
    if record.removed.is_empty() {
        return encode_as_new(record);
    }
    let mut bytes = encode_plain(record);
    let mut writer = Writer::with_capacity(64 * record.removed.len());
    encode_relationships(&mut writer, &record.removed);
    bytes.extend(writer.into_bytes());
    shorter(WITH_REMOVED, bytes, || compact::encode(record, &record.removed))
}

/// As [`encode`], without a look at what is removed.
fn encode_as_new(record: &Record) -> (u8, Vec<u8>) {
    shorter(PLAIN, encode_plain(record), || compact::encode(record, &[]))
}

fn shorter(version: u8, bytes: Vec<u8>, compact: impl FnOnce() -> Vec<u8>) -> (u8, Vec<u8>) {
    if bytes.len() <= BODY_BYTES_MAX { (version, bytes) } else { (COMPACT, compact()) }
}

fn encode_plain(record: &Record) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64);
    encode_relationships(&mut writer, &record.relationships);
    encode_facts(&mut writer, record.facts.as_ref());
    writer.into_bytes()
}

fn encode_facts(writer: &mut Writer, facts: Option<&EntityFacts>) {
    writer.bool(facts.is_some());
    let Some(EntityFacts { entity, facts }) = facts else { return };
    encode_entity(writer, entity);
    writer.count(facts.len());
    for (name, text) in facts {
        writer.str(name);
        writer.str(text);
    }
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
    if version == COMPACT {
        return compact::decode(key, body, names);
    }
    let mut reader = Reader::new(body);
    let relationships = decode_relationships(&mut reader, names)?;
    let facts = decode_facts(&mut reader, names)?;
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

fn decode_facts(reader: &mut Reader<'_>, names: &mut Names) -> Result<Option<EntityFacts>, CodecError> {
    if !reader.bool()? {
        return Ok(None);
    }
    let entity = decode_entity(reader, names)?;
    let count = reader.count()?;
    let facts = (0..count).map(|_| Ok((names.name(reader.str()?), reader.str()?.into()))).collect::<Result<_, _>>()?;
    Ok(Some(EntityFacts { entity, facts }))
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
        assert_eq!(encode(&record()), (1, PLAIN_BYTES.to_vec()));
        assert_eq!(read(1, PLAIN_BYTES), Ok(record()));
        let past = b"\x02\x06School\x011\x02in\x08District\x012\x06School\x011\x02in\x08District\x011";
        let bytes = [PLAIN_BYTES, past].concat();
        assert_eq!(encode(&record_with_a_past()), (2, bytes.clone()));
        assert_eq!(read(2, &bytes), Ok(record_with_a_past()));
    }

    #[test]
    fn a_body_cut_short_or_with_a_tail_is_refused() {
        for (version, bytes) in [encode(&record()), encode(&record_with_a_past())] {
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
