//! Entities and relationships of test files as the domain has them.

use serde_json::Value as Json;

use crate::domain::{id::EntityId, relationship::Relationship, resource_type::joined_id};

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
