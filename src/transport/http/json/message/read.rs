//! JSON to a message: every fault with its place, no fault with its value.

use std::collections::{BTreeSet, HashMap};

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use prost_reflect::{DynamicMessage, EnumDescriptor, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value};
use prost_types::Timestamp;
use serde_json::{Map, Number, Value as Json};

use super::{super::value, Path, TIMESTAMP, VALUE};
use crate::domain::access_request::FieldFault;

/// The most faults that are told of one message.
const FAULTS_MAX: usize = 32;

/// Base64 with either alphabet, with padding or without (the proto3 JSON mapping takes all four).
const LAX: GeneralPurposeConfig = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LAX);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LAX);

/// Reads the message that an object stands for.
///
/// Names are taken in lowerCamelCase or as the proto file has them; `null` counts as not there.
///
/// # Errors
/// The faults, at most [`FAULTS_MAX`]: members that are not the message's, values of a wrong type or out of range, several
/// members of which only one may be there.
pub(in super::super) fn read(
    descriptor: &MessageDescriptor,
    object: &Map<String, Json>,
) -> Result<DynamicMessage, Vec<FieldFault>> {
    let mut reader = Reader::default();
    let message = reader.members(&Path::Root, descriptor, object);
    if reader.faults.is_empty() {
        return Ok(message);
    }
    // The same message is refused alike, in whatever order its members come.
    reader.faults.sort_by(|a, b| a.field.cmp(&b.field));
    Err(reader.faults)
}

#[derive(Default)]
struct Reader {
    faults: Vec<FieldFault>,
}

impl Reader {
    /// Notes that something else was expected; returns nothing, for the caller to go on with.
    fn refuse<T>(&mut self, path: &Path<'_>, message: impl Into<String>) -> Option<T> {
        // Beyond those that are told, places are not worded: a message may have a million.
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(FieldFault::new(path.to_string(), message));
        }
        None
    }

    fn note(&mut self, fault: FieldFault) {
        if self.faults.len() < FAULTS_MAX {
            self.faults.push(fault);
        }
    }

    fn expected<T>(&mut self, path: &Path<'_>, found: &Json, expected: &str) -> Option<T> {
        self.refuse(path, format!("is {}, expected {expected}", kind_of(found)))
    }

    fn members(
        &mut self,
        path: &Path<'_>,
        descriptor: &MessageDescriptor,
        object: &Map<String, Json>,
    ) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        let mut taken = BTreeSet::new();
        for (name, json) in object {
            let path = Path::Member(path, name);
            let field = descriptor.get_field_by_json_name(name).or_else(|| descriptor.get_field_by_name(name));
            let Some(field) = field else {
                self.refuse::<()>(&path, format!("is no member of {}", descriptor.name()));
                continue;
            };
            if json.is_null() {
                continue;
            }
            if !taken.insert(place(&field)) {
                self.refuse::<()>(&path, "is there beside another name for it, or beside a member that excludes it");
                continue;
            }
            if let Some(value) = self.field(&path, &field, json)
                && message.try_set_field(&field, value).is_err()
            {
                self.refuse::<()>(&path, "cannot be taken");
            }
        }
        message
    }

    fn field(&mut self, path: &Path<'_>, field: &FieldDescriptor, json: &Json) -> Option<Value> {
        if field.is_map() {
            return self.map(path, field, json);
        }
        if !field.is_list() {
            return self.single(path, &field.kind(), json);
        }
        let Some(items) = json.as_array() else { return self.expected(path, json, "a list") };
        let kind = field.kind();
        let items = items.iter().enumerate();
        let read = items.filter_map(|(at, item)| self.single(&Path::Index(path, at), &kind, item)).collect();
        Some(Value::List(read))
    }

    fn map(&mut self, path: &Path<'_>, field: &FieldDescriptor, json: &Json) -> Option<Value> {
        let Some(object) = json.as_object() else { return self.expected(path, json, "an object") };
        let Kind::Message(entry) = field.kind() else { return self.refuse(path, "cannot be taken") };
        let kind = entry.map_entry_value_field().kind();
        // All names are texts; a test of the descriptors holds that.
        let members = object.iter().filter_map(|(name, json)| {
            let value = self.single(&Path::Member(path, name), &kind, json)?;
            Some((MapKey::String(name.clone()), value))
        });
        Some(Value::Map(members.collect::<HashMap<_, _>>()))
    }

    fn single(&mut self, path: &Path<'_>, kind: &Kind, json: &Json) -> Option<Value> {
        match kind {
            Kind::Message(descriptor) => self.message(path, descriptor, json).map(Value::Message),
            Kind::Enum(descriptor) => self.name(path, descriptor, json),
            Kind::Bool => match json {
                Json::Bool(truth) => Some(Value::Bool(*truth)),
                _ => self.expected(path, json, "true or false"),
            },
            Kind::String => match json {
                Json::String(text) => Some(Value::String(text.clone())),
                _ => self.expected(path, json, "a text"),
            },
            Kind::Bytes => self.bytes(path, json),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => self.whole(path, json, "32 bits").map(Value::I32),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => self.whole(path, json, "64 bits").map(Value::I64),
            Kind::Uint32 | Kind::Fixed32 => self.whole(path, json, "32 bits without a sign").map(Value::U32),
            Kind::Uint64 | Kind::Fixed64 => self.whole(path, json, "64 bits without a sign").map(Value::U64),
            // None of our messages has one; a test of the descriptors holds that.
            Kind::Double | Kind::Float => self.refuse(path, "cannot be taken"),
        }
    }

    fn message(&mut self, path: &Path<'_>, descriptor: &MessageDescriptor, json: &Json) -> Option<DynamicMessage> {
        let transcoded = match descriptor.full_name() {
            VALUE => value::read(path, json).map(|value| transcode(descriptor, &value)),
            TIMESTAMP => {
                let Some(text) = json.as_str() else { return self.expected(path, json, "a time of RFC 3339 as text") };
                let Some(time) = timestamp(text) else { return self.refuse(path, "is no time of RFC 3339") };
                Ok(transcode(descriptor, &time))
            }
            _ => {
                let Some(object) = json.as_object() else { return self.expected(path, json, "an object") };
                return Some(self.members(path, descriptor, object));
            }
        };
        match transcoded {
            Ok(Some(message)) => Some(message),
            Ok(None) => self.refuse(path, "cannot be taken"),
            Err(fault) => {
                self.note(fault);
                None
            }
        }
    }

    fn name(&mut self, path: &Path<'_>, descriptor: &EnumDescriptor, json: &Json) -> Option<Value> {
        let Some(name) = json.as_str() else { return self.expected(path, json, "a name") };
        if let Some(value) = descriptor.get_value_by_name(name) {
            return Some(Value::EnumNumber(value.number()));
        }
        let names: Vec<String> = descriptor.values().map(|value| value.name().to_owned()).collect();
        self.refuse(path, format!("is an unknown name, expected one of {}", names.join(", ")))
    }

    fn bytes(&mut self, path: &Path<'_>, json: &Json) -> Option<Value> {
        let Some(text) = json.as_str() else { return self.expected(path, json, "base64 as text") };
        let read = STANDARD.decode(text).or_else(|_| URL_SAFE.decode(text));
        match read {
            Ok(bytes) => Some(Value::Bytes(bytes.into())),
            Err(_) => self.refuse(path, "is not base64"),
        }
    }

    /// A whole number, as a number or as a text with its digits.
    fn whole<T: TryFrom<i128>>(&mut self, path: &Path<'_>, json: &Json, size: &str) -> Option<T> {
        let number = match json {
            Json::Number(number) => whole_number(number),
            Json::String(text) => digits(text),
            _ => return self.expected(path, json, "a whole number"),
        };
        match number {
            None => self.refuse(path, "is no whole number"),
            Some(number) => match T::try_from(number) {
                Ok(number) => Some(number),
                Err(_) => self.refuse(path, format!("is out of range, expected a whole number of {size}")),
            },
        }
    }
}

/// What two members must not both fill.
fn place(field: &FieldDescriptor) -> (bool, u32) {
    match field.containing_oneof() {
        Some(oneof) => (true, oneof.fields().map(|field| field.number()).min().unwrap_or_default()),
        None => (false, field.number()),
    }
}

/// A message of ours as one that knows its descriptor.
fn transcode(descriptor: &MessageDescriptor, message: &impl prost::Message) -> Option<DynamicMessage> {
    let mut transcoded = DynamicMessage::new(descriptor.clone());
    transcoded.transcode_from(message).ok()?;
    Some(transcoded)
}

/// The number, if it is whole, however it is written: `3`, `3.0` or `3e0`. From 2^53 on a number with a fraction or an
/// exponent is none, because it may have been another one.
pub(in super::super) fn whole_number(number: &Number) -> Option<i128> {
    const EXACT_BELOW: f64 = 9_007_199_254_740_992.0;
    if let Some(number) = number.as_i64() {
        return Some(number.into());
    }
    if let Some(number) = number.as_u64() {
        return Some(number.into());
    }
    let float = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < EXACT_BELOW)?;
    format!("{float:.0}").parse().ok()
}

/// Digits with a sign before them or none.
fn digits(text: &str) -> Option<i128> {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let is_number = (1..=20).contains(&unsigned.len()) && unsigned.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// A time of RFC 3339, to the letter: the library's reader takes much else.
fn timestamp(text: &str) -> Option<Timestamp> {
    const PATTERN: &[u8] = b"0000-00-00T00:00:00";
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    let fits = |pattern: &[u8], text: &[u8]| {
        pattern.len() == text.len()
            && pattern.iter().zip(text).all(|(pattern, found)| match pattern {
                b'0' => found.is_ascii_digit(),
                pattern => pattern == found,
            })
    };
    let (moment, rest) = text.as_bytes().split_at_checked(PATTERN.len())?;
    let (fraction, offset) = rest.split_at(rest.iter().position(|byte| b"Z+-".contains(byte))?);
    let is_fraction = match fraction.split_first() {
        None => true,
        Some((point, digits)) => {
            *point == b'.' && (1..=9).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
        }
    };
    let is_offset = offset == b"Z" || fits(b"+00:00", offset) || fits(b"-00:00", offset);
    if !fits(PATTERN, moment) || !is_fraction || !is_offset {
        return None;
    }
    text.parse::<Timestamp>().ok().filter(|time| SECONDS.contains(&time.seconds))
}

/// What a value is, in a fault's words.
fn kind_of(json: &Json) -> &'static str {
    match json {
        Json::Null => "null",
        Json::Bool(_) => "true or false",
        Json::Number(_) => "a number",
        Json::String(_) => "a text",
        Json::Array(_) => "a list",
        Json::Object(_) => "an object",
    }
}
