//! The bytes of a decision record: one spelling for each record, readable for as long as the log is kept.
//!
//! Version 5, in the terms of [`super::codec`]: the version byte, the id (16 bytes), then in this order the time, the
//! outcome, the reasons, the determining policies, action, resource type and id, the subjects, the principal, the
//! issuer, the attributes, the policy version, the data revision, the request id, the duration, the obligations, the
//! actor, the client, the purpose, the kind, the sealed facts, the caller and the adapter. A list has its count in front, an optional thing a
//! truth value. The numbers that stand for outcomes and kinds are part of the format: new ones may be added, none may
//! change. A later layout takes the next version byte. Version 4 ends with the sealed facts; versions 1 to 3 were those of
//! logs that were not sealed.

use std::sync::Arc;

use super::{
    adapter::Adapter,
    codec::{CodecError, Reader, Writer},
    decision::{Outcome, Reason},
    decision_record::{DecisionRecord, RecordKind, RecordedSubject},
    id::{DecisionId, EntityId, PolicyVersion, Revision},
    value::{Attributes, Value},
};

/// The version that is written.
const VERSION: u8 = 5;

/// The version before, which names neither caller nor adapter.
const WITHOUT_CALLER: u8 = 4;

/// Bits of a subject's flags.
const IS_PSEUDONYM: u8 = 1;
const IS_PROPOSED: u8 = 2;

impl DecisionRecord {
    /// The deepest nesting of attribute values that is kept; deeper ones are written as [`Value::Null`].
    ///
    /// JSON claims are nested at most 128 deep (the limit of the JSON reader), so nothing is lost of them.
    pub const VALUE_DEPTH_MAX: usize = 160;

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(512);
        self.encode_into(&mut out);
        out.into_bytes()
    }

    /// Appends the record's bytes.
    pub fn encode_into(&self, out: &mut Writer) {
        let Self {
            id,
            time_us,
            outcome,
            reasons,
            determining_policies,
            action,
            resource_type,
            resource_id,
            subjects,
            principal,
            issuer,
            attributes,
            policy_version,
            data_revision,
            request_id,
            duration_us,
            obligations,
            actor,
            client,
            purpose,
            kind,
            facts,
            caller,
            adapter,
        } = self;
        out.byte(VERSION);
        out.u128(id.0);
        out.i64(*time_us);
        out.byte(outcome_byte(*outcome));
        out.count(reasons.len());
        for reason in reasons {
            write_reason(out, reason);
        }
        write_texts(out, determining_policies);
        out.str(action);
        out.str(resource_type);
        out.str(resource_id);
        out.count(subjects.len());
        for subject in subjects {
            write_subject(out, subject);
        }
        write_optional_entity(out, principal.as_ref());
        out.str(issuer);
        write_attributes(out, attributes, Self::VALUE_DEPTH_MAX);
        out.str(&policy_version.0);
        out.u64(data_revision.0);
        out.str(request_id);
        out.u64(u64::from(*duration_us));
        write_texts(out, obligations);
        write_optional_entity(out, actor.as_ref());
        out.str(client);
        out.str(purpose);
        out.byte(match kind {
            RecordKind::Decision => 1,
            RecordKind::Reading => 2,
        });
        out.bytes(facts);
        out.str(caller);
        out.byte(adapter.map_or(0, Adapter::byte));
    }

    /// Reads a record from its bytes, all of them.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of a record of a known version.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let version = read_version(&mut input)?;
        let mut record = Self {
            id: DecisionId(input.u128()?),
            time_us: input.i64()?,
            outcome: read_outcome(&mut input)?,
            reasons: read_list(&mut input, read_reason)?,
            determining_policies: read_list(&mut input, Reader::shared)?,
            action: input.shared()?,
            resource_type: input.shared()?,
            resource_id: input.shared()?,
            subjects: read_list(&mut input, read_subject)?,
            principal: read_optional_entity(&mut input)?,
            issuer: input.shared()?,
            attributes: Arc::new(read_attributes(&mut input, Self::VALUE_DEPTH_MAX)?),
            policy_version: PolicyVersion(input.shared()?),
            data_revision: Revision(input.u64()?),
            request_id: input.shared()?,
            duration_us: input.u32()?,
            obligations: read_list(&mut input, Reader::shared)?,
            actor: read_optional_entity(&mut input)?,
            client: input.shared()?,
            purpose: input.shared()?,
            kind: read_kind(&mut input)?,
            facts: input.bytes()?.into(),
            caller: Arc::default(),
            adapter: None,
        };
        if version != WITHOUT_CALLER {
            record.caller = input.shared()?;
            record.adapter = read_adapter(&mut input)?;
        }
        input.finish()?;
        Ok(record)
    }

    /// Reads only id and time, the first things in a record's bytes.
    ///
    /// # Errors
    /// As [`DecisionRecord::decode`].
    pub fn decode_id_and_time(bytes: &[u8]) -> Result<(DecisionId, i64), CodecError> {
        let mut input = Reader::new(bytes);
        read_version(&mut input)?;
        Ok((DecisionId(input.u128()?), input.i64()?))
    }
}

fn read_kind(input: &mut Reader<'_>) -> Result<RecordKind, CodecError> {
    match input.byte()? {
        1 => Ok(RecordKind::Decision),
        2 => Ok(RecordKind::Reading),
        byte => Err(CodecError::Choice { what: "kind of record", byte }),
    }
}

fn read_adapter(input: &mut Reader<'_>) -> Result<Option<Adapter>, CodecError> {
    match input.byte()? {
        0 => Ok(None),
        byte => Adapter::from_byte(byte).map(Some).ok_or(CodecError::Choice { what: "adapter", byte }),
    }
}

fn read_version(input: &mut Reader<'_>) -> Result<u8, CodecError> {
    match input.byte()? {
        version @ (VERSION | WITHOUT_CALLER) => Ok(version),
        byte => Err(CodecError::Choice { what: "version of a decision record", byte }),
    }
}

fn outcome_byte(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Allowed => 1,
        Outcome::NotPermitted => 2,
        Outcome::Forbidden => 3,
        Outcome::Indeterminate => 4,
        Outcome::Unauthenticated => 5,
    }
}

fn read_outcome(input: &mut Reader<'_>) -> Result<Outcome, CodecError> {
    match input.byte()? {
        1 => Ok(Outcome::Allowed),
        2 => Ok(Outcome::NotPermitted),
        3 => Ok(Outcome::Forbidden),
        4 => Ok(Outcome::Indeterminate),
        5 => Ok(Outcome::Unauthenticated),
        byte => Err(CodecError::Choice { what: "outcome", byte }),
    }
}

fn write_reason(out: &mut Writer, reason: &Reason) {
    let Reason { code, message, policy, subjects, hints } = reason;
    out.str(code);
    out.str(message);
    out.bool(policy.is_some());
    if let Some(policy) = policy {
        out.str(policy);
    }
    write_texts(out, subjects);
    write_texts(out, hints);
}

fn read_reason(input: &mut Reader<'_>) -> Result<Reason, CodecError> {
    Ok(Reason {
        code: input.shared()?,
        message: input.shared()?,
        policy: if input.bool()? { Some(input.shared()?) } else { None },
        subjects: read_list(input, Reader::shared)?,
        hints: read_list(input, Reader::shared)?,
    })
}

fn write_subject(out: &mut Writer, subject: &RecordedSubject) {
    let RecordedSubject { attribute, entity, is_pseudonym, is_proposed } = subject;
    out.str(attribute);
    write_entity(out, entity);
    out.byte(if *is_pseudonym { IS_PSEUDONYM } else { 0 } | if *is_proposed { IS_PROPOSED } else { 0 });
}

fn read_subject(input: &mut Reader<'_>) -> Result<RecordedSubject, CodecError> {
    let (attribute, entity) = (input.shared()?, read_entity(input)?);
    match input.byte()? {
        byte if byte & !(IS_PSEUDONYM | IS_PROPOSED) != 0 => {
            Err(CodecError::Choice { what: "set of subject flags", byte })
        }
        flags => Ok(RecordedSubject {
            attribute,
            entity,
            is_pseudonym: flags & IS_PSEUDONYM != 0,
            is_proposed: flags & IS_PROPOSED != 0,
        }),
    }
}

fn write_entity(out: &mut Writer, entity: &EntityId) {
    out.str(&entity.entity_type);
    out.str(&entity.id);
}

fn read_entity(input: &mut Reader<'_>) -> Result<EntityId, CodecError> {
    Ok(EntityId { entity_type: input.shared()?, id: input.shared()? })
}

pub(super) fn write_optional_entity(out: &mut Writer, entity: Option<&EntityId>) {
    out.bool(entity.is_some());
    if let Some(entity) = entity {
        write_entity(out, entity);
    }
}

pub(super) fn read_optional_entity(input: &mut Reader<'_>) -> Result<Option<EntityId>, CodecError> {
    if input.bool()? { read_entity(input).map(Some) } else { Ok(None) }
}

pub(super) fn write_attributes(out: &mut Writer, attributes: &Attributes, depth_left: usize) {
    out.count(attributes.len());
    for (name, value) in attributes.iter() {
        out.str(name);
        write_value(out, value, depth_left);
    }
}

pub(super) fn read_attributes(input: &mut Reader<'_>, depth_left: usize) -> Result<Attributes, CodecError> {
    let pairs = read_list(input, |input| Ok((input.shared()?, read_value(input, depth_left)?)))?;
    let is_sorted = pairs.windows(2).all(|pair| matches!(pair, [(a, _), (b, _)] if a < b));
    if is_sorted { Ok(pairs.into_iter().collect()) } else { Err(CodecError::Order) }
}

pub(super) fn write_value(out: &mut Writer, value: &Value, depth_left: usize) {
    match value {
        Value::Bool(value) => out.byte(if *value { 2 } else { 1 }),
        Value::Long(value) => {
            out.byte(3);
            out.i64(*value);
        }
        Value::String(text) => {
            out.byte(4);
            out.str(text);
        }
        Value::Entity(entity) => {
            out.byte(5);
            write_entity(out, entity);
        }
        Value::List(values) if depth_left > 0 => {
            out.byte(6);
            out.count(values.len());
            for value in values {
                write_value(out, value, depth_left - 1);
            }
        }
        Value::Record(fields) if depth_left > 0 => {
            out.byte(7);
            write_attributes(out, fields, depth_left - 1);
        }
        Value::List(_) | Value::Record(_) | Value::Null => out.byte(0),
    }
}

pub(super) fn read_value(input: &mut Reader<'_>, depth_left: usize) -> Result<Value, CodecError> {
    let deeper = || depth_left.checked_sub(1).ok_or(CodecError::Depth);
    match input.byte()? {
        0 => Ok(Value::Null),
        1 => Ok(Value::Bool(false)),
        2 => Ok(Value::Bool(true)),
        3 => input.i64().map(Value::Long),
        4 => input.shared().map(Value::String),
        5 => read_entity(input).map(Value::Entity),
        6 => {
            let depth_left = deeper()?;
            read_list(input, |input| read_value(input, depth_left)).map(Value::List)
        }
        7 => read_attributes(input, deeper()?).map(Value::Record),
        byte => Err(CodecError::Choice { what: "kind of value", byte }),
    }
}

pub(super) fn write_texts(out: &mut Writer, texts: &[Arc<str>]) {
    out.count(texts.len());
    for text in texts {
        out.str(text);
    }
}

pub(super) fn read_list<'a, T>(
    input: &mut Reader<'a>,
    mut each: impl FnMut(&mut Reader<'a>) -> Result<T, CodecError>,
) -> Result<Vec<T>, CodecError> {
    let count = input.count()?;
    // The count is at most the bytes that are left; start small all the same, an item is larger than a byte.
    let mut items = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        items.push(each(input)?);
    }
    Ok(items)
}

#[cfg(test)]
pub(super) mod tests;
