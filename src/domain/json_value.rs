//! Values as plain JSON, and back.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::value::{Attributes, Value};

/// The attributes of a JSON object, those of objects within included.
pub fn attributes(object: &Map<String, Json>) -> Attributes {
    object.iter().map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

/// The value of JSON. A number that is no whole one of 64 bits becomes its text, which no number of a schema takes but
/// decimals.
pub fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::String(number.to_string().into()), Value::Long),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(object) => Value::Record(attributes(object)),
    }
}

/// The value as JSON; an entity is its id.
pub fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::from(*flag),
        Value::Long(number) => Json::from(*number),
        Value::String(text) => Json::from(&**text),
        Value::Entity(entity) => Json::from(&*entity.id),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect(),
    }
}
