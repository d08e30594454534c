//! The body of a record with many relationships: what repeats is said once.
//!
//! Count of names and each, for entity types and relations, in the order in which they are needed; facts as in the other
//! versions; count of relationships and each; count of removed relationships and each. A relationship is the place of its
//! subject's type, how many bytes its subject's id shares with that of the one before, the rest of that id, the place of
//! the relation, and the object as the subject.

use std::sync::Arc;

use super::{Names, decode_facts, encode_facts};
use crate::domain::{
    codec::{CodecError, Reader, Writer},
    id::EntityId,
    relationship::{Record, RecordKey, Relationship},
};

/// The body of a record with these removed relationships.
pub(super) fn encode(record: &Record, removed: &[Relationship]) -> Vec<u8> {
    let mut encoder = Encoder { names: Vec::new(), subject: "", object: "" };
    let mut writer = Writer::with_capacity(1_024);
    encode_facts(&mut writer, record.facts.as_ref());
    for list in [record.relationships.as_slice(), removed] {
        writer.count(list.len());
        for relationship in list {
            encoder.relationship(&mut writer, relationship);
        }
    }
    let mut body = Writer::with_capacity(writer.len() + 64);
    body.count(encoder.names.len());
    encoder.names.iter().for_each(|name| body.str(name));
    body.raw(&writer.into_bytes());
    body.into_bytes()
}

struct Encoder<'a> {
    names: Vec<&'a str>,
    /// The ids of the relationship before.
    subject: &'a str,
    object: &'a str,
}

impl<'a> Encoder<'a> {
    fn relationship(&mut self, writer: &mut Writer, Relationship { subject, relation, object }: &'a Relationship) {
        self.name(writer, &subject.entity_type);
        id(writer, self.subject, &subject.id);
        self.name(writer, relation);
        self.name(writer, &object.entity_type);
        id(writer, self.object, &object.id);
        (self.subject, self.object) = (&subject.id, &object.id);
    }

    fn name(&mut self, writer: &mut Writer, name: &'a str) {
        let known = self.names.iter().position(|known| *known == name);
        writer.count(known.unwrap_or(self.names.len()));
        if known.is_none() {
            self.names.push(name);
        }
    }
}

fn id(writer: &mut Writer, before: &str, id: &str) {
    let same = before.chars().zip(id.chars()).take_while(|(one, other)| one == other);
    let shared: usize = same.map(|(character, _)| character.len_utf8()).sum();
    writer.count(shared);
    writer.str(id.split_at_checked(shared).map_or("", |(_, rest)| rest));
}

/// Reads the body of the record of this key.
pub(super) fn decode(key: RecordKey, body: &[u8], names: &mut Names) -> Result<Record, CodecError> {
    let mut reader = Reader::new(body);
    let count = reader.count()?;
    let known: Vec<Arc<str>> = (0..count).map(|_| Ok(names.name(reader.str()?))).collect::<Result<_, CodecError>>()?;
    let facts = decode_facts(&mut reader, names)?;
    let mut decoder = Decoder { known, subject: String::new(), object: String::new() };
    let relationships = decoder.relationships(&mut reader)?;
    let removed = decoder.relationships(&mut reader)?;
    reader.finish()?;
    Ok(Record { key, relationships, facts, removed })
}

struct Decoder {
    known: Vec<Arc<str>>,
    /// The ids of the relationship before.
    subject: String,
    object: String,
}

impl Decoder {
    fn relationships(&mut self, reader: &mut Reader<'_>) -> Result<Vec<Relationship>, CodecError> {
        let count = reader.count()?;
        let mut relationships = Vec::with_capacity(count.min(Record::RELATIONSHIPS_MAX));
        for _ in 0..count {
            let subject_type = self.name(reader)?;
            let subject = EntityId::new(subject_type, read_id(reader, &mut self.subject)?);
            let (relation, object_type) = (self.name(reader)?, self.name(reader)?);
            let object = EntityId::new(object_type, read_id(reader, &mut self.object)?);
            relationships.push(Relationship { subject, relation, object });
        }
        Ok(relationships)
    }

    fn name(&self, reader: &mut Reader<'_>) -> Result<Arc<str>, CodecError> {
        let place = reader.u64()?;
        let known = usize::try_from(place).ok().and_then(|place| self.known.get(place));
        known.cloned().ok_or(CodecError::Range(place))
    }
}

/// Reads an id, given the one before, which it replaces.
fn read_id(reader: &mut Reader<'_>, before: &mut String) -> Result<Arc<str>, CodecError> {
    let shared = reader.u64()?;
    let kept = usize::try_from(shared).ok().filter(|kept| before.is_char_boundary(*kept));
    before.truncate(kept.ok_or(CodecError::Range(shared))?);
    before.push_str(reader.str()?);
    Ok(before.as_str().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::relationship::EntityFacts;

    fn named(relation: &str, subject: &str, object: &str) -> Relationship {
        Relationship {
            subject: EntityId::new("Person", subject),
            relation: relation.into(),
            object: EntityId::new("Team", object),
        }
    }

    fn record() -> Record {
        Record {
            key: RecordKey { resource: "teams".into(), key: "1".into() },
            relationships: vec![named("in", "ann", "t1"), named("in", "anè", "t2"), named("led", "ané", "t2")],
            facts: Some(EntityFacts { entity: EntityId::new("Person", "ann"), facts: vec![] }),
            removed: vec![named("in", "", "t")],
        }
    }

    const BYTES: &[u8] = b"\x04\x06Person\x02in\x04Team\x03led\x01\x06Person\x03ann\x00\
        \x03\x00\x00\x03ann\x01\x02\x00\x02t1\x00\x02\x02\xc3\xa8\x01\x02\x01\x012\x00\x02\x02\xc3\xa9\x03\x02\x02\x00\
        \x01\x00\x00\x00\x01\x02\x01\x00";

    fn read(body: &[u8]) -> Result<Record, CodecError> {
        decode(record().key, body, &mut Names::default())
    }

    #[test]
    fn the_bytes_of_a_compact_record_stay_as_they_are() {
        assert_eq!(encode(&record(), &record().removed), BYTES);
        assert_eq!(read(BYTES), Ok(record()));
    }

    #[test]
    fn bytes_that_were_never_written_are_refused() {
        for cut in 0..BYTES.len() {
            assert!(read(&BYTES[..cut]).is_err(), "{cut}");
        }
        assert_eq!(read(&[BYTES, b"\x00"].concat()), Err(CodecError::Trailing(1)));
        let unnamed = b"\x00\x00\x01\x05\x00\x01a\x05\x05\x00\x01b\x00";
        assert_eq!(read(unnamed), Err(CodecError::Range(5)));
        let split = b"\x02\x01T\x01r\x00\x02\x00\x00\x02\xc3\xa9\x01\x00\x00\x01b\x00\x01\x01x\x01\x00\x00\x01b\x00";
        assert_eq!(read(split), Err(CodecError::Range(1)), "in the middle of a letter");
    }

    #[test]
    fn a_thousand_relationships_of_one_entity_are_kept() {
        let person = |place| named("in", "school-1/class-7", &format!("person-{place:012}"));
        let relationships: Vec<_> = (0..Record::RELATIONSHIPS_MAX).map(person).collect();
        let record = Record { relationships, facts: None, removed: vec![], ..record() };
        let bytes = encode(&record, &[]);
        assert!(bytes.len() < 12_000, "{}", bytes.len());
        assert_eq!(read(&bytes), Ok(record));
    }
}
