//! What a gateway itself says of a route, in words beside the request.

use std::{collections::BTreeMap, sync::Arc};

use super::{Found, Obligations, RouteFault, path::Path, template::Template as PathTemplate};
use crate::domain::{access_request::Question, template::Template, value::Value};

/// Why what a gateway says cannot be meant. It is the gateway's configuration that is wrong, never the request. No fault
/// repeats what was said: it is logged, and a gateway may put anything there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route's `{key}` {message}")]
pub struct ToldFault {
    /// The word at fault; `attribute.` for one of those that name an attribute.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: &'static str,
}

/// What words that name an attribute begin with.
const ATTRIBUTE: &str = "attribute.";

/// What a gateway says that a request asks for, by these words: `action` and `resource_type`, perhaps `resource_id` with
/// `{1}` for the first segment of the path, `path_template` with names for segments, `attribute.NAME` with the text of a
/// stored value, and `obligations`. `None` where it says neither of the first two; other words say nothing.
///
/// # Errors
/// Words that cannot be meant; within `Ok`, a request whose path is not that of the route.
pub fn told(words: &BTreeMap<String, String>, path: &Path) -> Result<Option<Result<Found, RouteFault>>, ToldFault> {
    let word = |name: &str| words.get(name).map(String::as_str);
    let (action, resource_type) = match (word("action"), word("resource_type")) {
        (None, None) => return Ok(None),
        (Some(action), Some(resource_type)) => (action, resource_type),
        (None, Some(_)) => return fault("action", "is missing, expected it beside `resource_type`"),
        (Some(_), None) => return fault("resource_type", "is missing, expected it beside `action`"),
    };
    let obligations = match word("obligations") {
        None => Obligations::Unknown,
        Some("header") => Obligations::Header,
        Some(_) => return fault("obligations", "is not `header`"),
    };
    let Ok(template) = word("path_template").map(PathTemplate::parse).transpose() else {
        return fault("path_template", "is none, expected a path whose parameters are segments of their own");
    };
    if template.as_ref().is_some_and(|template| !template.fits(path.segments())) {
        return Ok(Some(Err(RouteFault::Unknown)));
    }
    let fill = |key, text: &str| filled(key, text, template.as_ref(), path);
    let Some(resource_id) = fill("resource_id", word("resource_id").unwrap_or_default())? else {
        return Ok(Some(Err(RouteFault::Unknown)));
    };
    let mut attributes = Vec::new();
    for (key, text) in words {
        let Some(name) = key.strip_prefix(ATTRIBUTE) else { continue };
        let Some(value) = fill(ATTRIBUTE, text)? else { return Ok(Some(Err(RouteFault::Unknown))) };
        attributes.push((Arc::from(name), Value::String(value.into())));
    }
    let question = Question {
        action: action.into(),
        resource_type: resource_type.into(),
        resource_id: resource_id.into(),
        attributes: (!attributes.is_empty()).then(|| attributes.into_iter().collect()),
        ..Question::default()
    };
    let template = word("path_template").unwrap_or_default().into();
    Ok(Some(Ok(Found { operation: Arc::default(), template, question: obligations.of(question), obligations })))
}

/// The text with the segments that it names; `None` where the path has no such segment.
fn filled(
    key: &'static str,
    text: &str,
    template: Option<&PathTemplate>,
    path: &Path,
) -> Result<Option<String>, ToldFault> {
    let Ok(text) = Template::parse(text) else {
        return fault(
            key,
            "cannot be read, expected placeholders that are names in braces, with other text than `%` between them",
        );
    };
    let known = |name: &str| template.and_then(|template| template.position(name)).or_else(|| number(name));
    if text.names().any(|name| known(name).is_none()) {
        return fault(key, "has a placeholder that is neither the number of a segment nor a name of `path_template`");
    }
    let segment = |name: &str| path.segments().get(known(name)?).filter(|segment| !segment.is_empty());
    Ok(text.fill(|name| segment(name).map(|segment| segment.as_str().into())))
}

fn fault<T>(key: &'static str, message: &'static str) -> Result<T, ToldFault> {
    Err(ToldFault { key, message })
}

/// The position of the segment with this number, which counts from 1.
fn number(name: &str) -> Option<usize> {
    name.parse::<usize>().ok()?.checked_sub(1)
}
