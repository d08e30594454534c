//! What a gateway itself says of a route, in words beside the request.

use std::sync::Arc;

use super::{Found, Obligations, RouteFault, path::Path, template::Template as PathTemplate};
use crate::domain::{access_request::Question, template::Template};

/// Why what a gateway says cannot be meant. It is the gateway's configuration that is wrong, never the request.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the route's `{key}` {message}")]
pub struct ToldFault {
    /// The word at fault.
    pub key: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// What a gateway says that a request asks for, by these words: `action` and `resource_type`, perhaps `resource_id` with
/// `{1}` for the first segment of the path, `path_template` with names for segments, and `obligations`. `None` where it says
/// neither of the first two.
///
/// # Errors
/// Words that cannot be meant; within `Ok`, a request whose path is not that of the route.
pub fn told<'w>(
    word: impl Fn(&str) -> Option<&'w str>,
    path: &Path,
) -> Result<Option<Result<Found, RouteFault>>, ToldFault> {
    let (action, resource_type) = match (word("action"), word("resource_type")) {
        (None, None) => return Ok(None),
        (Some(action), Some(resource_type)) => (action, resource_type),
        (None, Some(_)) => return Err(fault("action", "is missing, expected it beside `resource_type`")),
        (Some(_), None) => return Err(fault("resource_type", "is missing, expected it beside `action`")),
    };
    let obligations = match word("obligations") {
        None => Obligations::Unknown,
        Some("header") => Obligations::Header,
        Some(_) => return Err(fault("obligations", "is not `header`")),
    };
    let template = word("path_template").map(PathTemplate::parse).transpose();
    let template = template.map_err(|message| fault("path_template", &format!("is none: {message}")))?;
    if template.as_ref().is_some_and(|template| !template.fits(path.segments())) {
        return Ok(Some(Err(RouteFault::Unknown)));
    }
    let resource_id = match word("resource_id") {
        None => String::new(),
        Some(text) => {
            let text = Template::parse(text).map_err(|message| fault("resource_id", &message))?;
            let known =
                |name: &str| template.as_ref().and_then(|template| template.position(name)).or_else(|| number(name));
            if let Some(name) = text.names().find(|name| known(name).is_none()) {
                let message =
                    format!("has `{{{name}}}`, expected the number of a segment or a name of `path_template`");
                return Err(fault("resource_id", &message));
            }
            match text.fill(|name| path.segments().get(known(name)?).map(|segment| segment.as_str().into())) {
                Some(id) => id,
                None => return Ok(Some(Err(RouteFault::Unknown))),
            }
        }
    };
    let question = Question {
        action: action.into(),
        resource_type: resource_type.into(),
        resource_id: resource_id.into(),
        ..Question::default()
    };
    let template: Arc<str> = word("path_template").unwrap_or_default().into();
    Ok(Some(Ok(Found { operation: Arc::default(), template, question: obligations.of(question), obligations })))
}

fn fault(key: &'static str, message: &str) -> ToldFault {
    ToldFault { key, message: message.to_owned() }
}

/// The position of the segment with this number, which counts from 1.
fn number(name: &str) -> Option<usize> {
    name.parse::<usize>().ok()?.checked_sub(1)
}
