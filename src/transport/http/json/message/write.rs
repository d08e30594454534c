//! A message to JSON: members in the order of the proto file, those without content left out.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, ReflectMessage as _, Value};
use prost_types::Timestamp;
use serde::{Serialize, Serializer, ser::Error as _};

use super::{super::value::Plain, TIMESTAMP, VALUE};
use crate::proto::v1 as pb;

/// A message on its way to JSON: 64-bit numbers as texts, enums by name, bytes as base64, times as RFC 3339 has them.
#[derive(Debug)]
pub(in super::super) struct Written<'a>(pub(in super::super) &'a DynamicMessage);

impl Serialize for Written<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.descriptor().full_name() {
            VALUE => Plain(&self.0.transcode_to::<pb::Value>().map_err(S::Error::custom)?).serialize(serializer),
            TIMESTAMP => serializer.collect_str(&self.0.transcode_to::<Timestamp>().map_err(S::Error::custom)?),
            _ => {
                let fields = self.0.fields().filter(|(field, _)| self.0.has_field(field));
                serializer.collect_map(fields.map(|(field, value)| {
                    let written = Field { field: field.clone(), value };
                    (field.json_name().to_owned(), written)
                }))
            }
        }
    }
}

struct Field<'a> {
    field: FieldDescriptor,
    value: &'a Value,
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let kind = self.field.kind();
        match (self.value, &kind) {
            (Value::List(items), kind) => serializer.collect_seq(items.iter().map(|value| Single { kind, value })),
            (Value::Map(members), Kind::Message(entry)) => {
                let kind = entry.map_entry_value_field().kind();
                // The map has no order; its JSON has one, so that equal answers are equal texts.
                let mut members: Vec<_> = members.iter().collect();
                members.sort_by_key(|(name, _)| *name);
                serializer
                    .collect_map(members.into_iter().map(|(name, value)| (key(name), Single { kind: &kind, value })))
            }
            (value, kind) => Single { kind, value }.serialize(serializer),
        }
    }
}

struct Single<'a> {
    kind: &'a Kind,
    value: &'a Value,
}

impl Serialize for Single<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.value {
            Value::Bool(truth) => serializer.serialize_bool(*truth),
            Value::I32(number) => serializer.serialize_i32(*number),
            Value::U32(number) => serializer.serialize_u32(*number),
            Value::I64(number) => serializer.collect_str(number),
            Value::U64(number) => serializer.collect_str(number),
            Value::F32(number) => serializer.serialize_f32(*number),
            Value::F64(number) => serializer.serialize_f64(*number),
            Value::String(text) => serializer.serialize_str(text),
            Value::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Value::EnumNumber(number) => match self.kind {
                Kind::Enum(descriptor) => name(descriptor, *number, serializer),
                _ => serializer.serialize_i32(*number),
            },
            Value::Message(message) => Written(message).serialize(serializer),
            Value::List(_) | Value::Map(_) => Err(S::Error::custom("a list where one value was expected")),
        }
    }
}

/// The name of an enum's value; its number, should a later version have sent it.
fn name<S: Serializer>(descriptor: &EnumDescriptor, number: i32, serializer: S) -> Result<S::Ok, S::Error> {
    match descriptor.get_value(number) {
        Some(value) => serializer.serialize_str(value.name()),
        None => serializer.serialize_i32(number),
    }
}

fn key(key: &MapKey) -> String {
    match key {
        MapKey::Bool(truth) => truth.to_string(),
        MapKey::I32(number) => number.to_string(),
        MapKey::I64(number) => number.to_string(),
        MapKey::U32(number) => number.to_string(),
        MapKey::U64(number) => number.to_string(),
        MapKey::String(text) => text.clone(),
    }
}
