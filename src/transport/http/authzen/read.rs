//! The bodies of requests: JSON with one meaning, the members that the interface wants, and no other ones looked at.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{HeaderMap, header::CONTENT_TYPE},
};
use serde_json::{Map, Value as Json};

use super::{
    super::{Limits, body, problem::Problem},
    ACCESS_TOKEN,
};
use crate::domain::strict_json;

/// The longest type, id or name, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;

pub(super) type Object = Map<String, Json>;

/// A subject or a resource.
#[derive(Clone, Debug)]
pub(super) struct Entity {
    pub(super) kind: Arc<str>,
    /// Empty where none is wanted.
    pub(super) id: Arc<str>,
    pub(super) properties: Option<Object>,
}

/// An action.
#[derive(Clone, Debug, Default)]
pub(super) struct Action {
    pub(super) name: Arc<str>,
    pub(super) properties: Object,
}

/// Reads a body (AuthZEN 1.0 section 10.1).
///
/// # Errors
/// Another content type than JSON; a body that is too long, too slow or broken off, or no JSON object with one meaning.
pub(super) async fn object(headers: &HeaderMap, content: Body, limits: &Limits) -> Result<Object, Problem> {
    let media_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !media_type.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::malformed("expected a body of type application/json"));
    }
    let read = body::collect(content, limits.question_bytes_max);
    let bytes =
        tokio::time::timeout(limits.body_within, read).await.unwrap_or(Err(super::super::problem::BodyFault::TooSlow));
    let bytes = bytes.map_err(Problem::of_body)?;
    strict_json::read_object(&bytes).map_err(|fault| Problem::malformed(&format!("the body {}", fault.reason())))
}

/// The member, unless it is absent or null.
pub(super) fn member<'o>(object: &'o Object, name: &str) -> Option<&'o Json> {
    object.get(name).filter(|value| !value.is_null())
}

/// A subject or a resource of a request; without its id where that is searched for.
///
/// # Errors
/// What is missing or of another type, as a sentence without its beginning's capital.
pub(super) fn entity(object: &Object, name: &str, needs_id: bool) -> Result<Entity, String> {
    let found = required_object(object, name)?;
    let id = if needs_id { text(found, name, "id")? } else { Arc::default() };
    Ok(Entity { kind: text(found, name, "type")?, id, properties: optional_object(found, name, "properties")? })
}

/// The action of a request.
///
/// # Errors
/// As [`entity`].
pub(super) fn action(object: &Object) -> Result<Action, String> {
    let found = required_object(object, "action")?;
    let properties = optional_object(found, "action", "properties")?.unwrap_or_default();
    Ok(Action { name: text(found, "action", "name")?, properties })
}

/// The context of a request; empty where there is none.
///
/// # Errors
/// It is no object, or has a token that is no text.
pub(super) fn context(object: &Object) -> Result<Object, String> {
    match member(object, "context") {
        None => Ok(Object::new()),
        // What is no token must not leave another one, or the subject's name alone, to decide.
        Some(Json::Object(context)) if !member(context, ACCESS_TOKEN).is_none_or(Json::is_string) => {
            Err(format!("`context.{ACCESS_TOKEN}` is no text"))
        }
        Some(Json::Object(context)) => Ok(context.clone()),
        Some(_) => Err("`context` is no object".to_owned()),
    }
}

fn required_object<'o>(object: &'o Object, name: &str) -> Result<&'o Object, String> {
    match member(object, name) {
        None => Err(format!("`{name}` is missing, expected an object")),
        Some(Json::Object(found)) => Ok(found),
        Some(_) => Err(format!("`{name}` is no object")),
    }
}

fn optional_object(object: &Object, of: &str, name: &str) -> Result<Option<Object>, String> {
    match member(object, name) {
        None => Ok(None),
        Some(Json::Object(found)) => Ok(Some(found.clone())),
        Some(_) => Err(format!("`{of}.{name}` is no object")),
    }
}

fn text(object: &Object, of: &str, name: &str) -> Result<Arc<str>, String> {
    match member(object, name) {
        None => Err(format!("`{of}.{name}` is missing, expected a text")),
        Some(Json::String(text)) if text.len() <= TEXT_BYTES_MAX => Ok(text.as_str().into()),
        Some(Json::String(_)) => Err(format!("`{of}.{name}` is longer than {TEXT_BYTES_MAX} bytes")),
        Some(_) => Err(format!("`{of}.{name}` is no text")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn object(json: &Json) -> Object {
        json.as_object().unwrap().clone()
    }

    #[test]
    fn an_entity_needs_a_type_and_an_id_that_are_texts() {
        let read = |entity_json: Json| entity(&object(&json!({ "subject": entity_json })), "subject", true);
        let good = read(json!({ "type": "clerk", "id": "c 1", "more": [1], "properties": null })).unwrap();
        assert_eq!((&*good.kind, &*good.id, good.properties), ("clerk", "c 1", None));
        for (wrong, words) in [
            (json!("c-1"), "`subject` is no object"),
            (json!(null), "`subject` is missing"),
            (json!({ "type": "clerk" }), "`subject.id` is missing"),
            (json!({ "type": 1, "id": "c" }), "`subject.type` is no text"),
            (json!({ "type": "clerk", "id": null }), "`subject.id` is missing"),
            (json!({ "type": "clerk", "id": "x".repeat(1_025) }), "`subject.id` is longer"),
            (json!({ "type": "clerk", "id": "c", "properties": [] }), "`subject.properties` is no object"),
        ] {
            let said = read(wrong.clone()).unwrap_err();
            assert!(said.starts_with(words), "{wrong}: {said}");
        }
        let searched = entity(&object(&json!({ "subject": { "type": "clerk", "id": 7 } })), "subject", false).unwrap();
        assert_eq!(&*searched.id, "", "the id of what is searched is not looked at");
    }
}
