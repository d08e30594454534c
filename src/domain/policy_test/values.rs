//! Values of test files as the domain has them, and back.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use crate::domain::{
    id::EntityId,
    relationship::Relationship,
    resource_type::joined_id,
    value::{Attributes, Value},
};

/// A relationship as `{ subject: { Type: id }, relation: name, object: { Type: id } }`.
pub(super) fn relationship_of(json: &Json) -> Option<Relationship> {
    let (subject, object) = (entity(json.get("subject")?)?, entity(json.get("object")?)?);
    Some(Relationship { subject, relation: json.get("relation")?.as_str()?.into(), object })
}

/// `{ Type: id }`; an id of several values is a list of them.
fn entity(json: &Json) -> Option<EntityId> {
    let text = |json: &Json| json.as_str().map(str::to_owned).or_else(|| Some(json.as_i64()?.to_string()));
    let (entity_type, id) = json.as_object().filter(|object| object.len() == 1)?.iter().next()?;
    let id = match id {
        Json::Array(parts) => {
            let parts: Vec<String> = parts.iter().map(text).collect::<Option<_>>()?;
            joined_id(parts.iter().map(String::as_str))
        }
        id => text(id)?,
    };
    Some(EntityId::new(entity_type.as_str(), id))
}

/// The attributes of a JSON object. Numbers with a fraction become texts, which no schema type takes.
pub(super) fn attributes(object: &Map<String, Json>) -> Attributes {
    object.iter().map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

/// The value of JSON.
pub(super) fn value(json: &Json) -> Value {
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
pub(super) fn json_of(value: &Value) -> Json {
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
