//! The values of a record: what stands at a dotted path.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use serde_json::Value as Json;

use super::MappingError;
use crate::domain::value::Value;

const TEXT: &str = "a string or a whole number";

/// The texts that a path leads to.
pub(super) struct Found<'a> {
    /// Each once, sorted if they come from a list.
    pub(super) texts: Vec<Cow<'a, str>>,
    /// The path leads to a list, or through one.
    pub(super) is_list: bool,
    /// There is no value: at the path's end, or at that of one member.
    pub(super) lacks: bool,
}

/// The text or whole number at a dotted path.
pub(super) fn text_at<'a>(document: &'a Json, path: &Arc<str>) -> Result<Cow<'a, str>, MappingError> {
    match path.split('.').try_fold(document, |value, name| value.get(name)) {
        None | Some(Json::Null) => Err(MappingError::Missing(Arc::clone(path))),
        Some(value) => text(value, path),
    }
}

/// The texts and whole numbers at a dotted path. Where it comes to a list it goes on at each member; a list within a
/// list is wrong, because nothing says what it stands for.
pub(super) fn texts_at<'a>(document: &'a Json, path: &Arc<str>) -> Result<Found<'a>, MappingError> {
    let mut found = Found { texts: Vec::new(), is_list: false, lacks: false };
    // Each with what is left of the path.
    let mut open: Vec<(Option<&Json>, Option<&str>)> = vec![(Some(document), Some(path))];
    while let Some((value, rest)) = open.pop() {
        match (value, rest) {
            (Some(Json::Array(members)), _) => {
                found.is_list = true;
                if members.iter().any(Json::is_array) {
                    return Err(wrong(path, "a list within a list", TEXT));
                }
                open.extend(members.iter().map(|member| (Some(member), rest)));
            }
            (None | Some(Json::Null), _) => found.lacks = true,
            (Some(value), None) => found.texts.push(text(value, path)?),
            (Some(value), Some(rest)) => {
                let (name, rest) = rest.split_once('.').map_or((rest, None), |(name, rest)| (name, Some(rest)));
                open.push((value.get(name), rest));
            }
        }
    }
    if found.is_list {
        found.texts = std::mem::take(&mut found.texts).into_iter().collect::<BTreeSet<_>>().into_iter().collect();
    }
    Ok(found)
}

/// What stands at a dotted path is one of these; what is missing is none of them.
pub(super) fn is_one_of(document: &Json, path: &Arc<str>, values: &[Value]) -> Result<bool, MappingError> {
    const SCALAR: &str = "a string, a whole number or a boolean";
    let mut found = document;
    for name in path.split('.') {
        if found.is_array() {
            return Err(wrong(path, "in a list", SCALAR));
        }
        match found.get(name) {
            Some(value) => found = value,
            None => return Ok(false),
        }
    }
    Ok(match found {
        Json::Null => false,
        Json::Bool(flag) => values.contains(&Value::Bool(*flag)),
        Json::String(text) => values.iter().any(|value| matches!(value, Value::String(known) if **known == **text)),
        Json::Number(number) if number.is_f64() => return Err(wrong(path, "a number with a fraction", SCALAR)),
        Json::Number(number) => number.as_i64().is_some_and(|number| values.contains(&Value::Long(number))),
        Json::Array(_) => return Err(wrong(path, "a list", SCALAR)),
        Json::Object(_) => return Err(wrong(path, "an object", SCALAR)),
    })
}

fn wrong(path: &Arc<str>, found: &'static str, expected: &'static str) -> MappingError {
    MappingError::Wrong { path: Arc::clone(path), found, expected }
}

fn text<'a>(value: &'a Json, path: &Arc<str>) -> Result<Cow<'a, str>, MappingError> {
    let wrong = |found| Err(wrong(path, found, TEXT));
    match value {
        Json::String(text) if text.contains('\u{1f}') => wrong("a string with a control character"),
        Json::String(text) => Ok(text.as_str().into()),
        Json::Number(number) if number.is_i64() || number.is_u64() => Ok(number.to_string().into()),
        Json::Number(_) => wrong("a number with a fraction"),
        Json::Bool(_) => wrong("a boolean"),
        Json::Array(_) => wrong("a list"),
        Json::Object(_) => wrong("an object"),
        Json::Null => Err(MappingError::Missing(Arc::clone(path))),
    }
}
