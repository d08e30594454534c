//! Which action and which resource a request of HTTP asks for, as a realm's `[routes]` say.
//!
//! A gateway knows a method and a path. [`path`] reads the path in one way only; [`Routes`] say which operation of the API it
//! is, and so what is asked. What no route fits is no question: it is denied.

mod compile;
mod meaning;
mod openapi;
pub mod path;
mod template;
#[cfg(test)]
mod tests;
mod told;

use std::{borrow::Cow, cell::Cell, sync::Arc};

pub(super) use self::compile::{Parts, compile};
pub use self::told::{ToldFault, told};
use self::{
    path::{Path, PathFault},
    template::{Fit, Template as PathTemplate, Tree},
};
use super::{
    access_request::Question,
    fault::Fault,
    template::Template,
    value::{Attributes, Value},
};

/// The resource type that generic routes ask about.
pub const GENERIC_TYPE: &str = "route";

/// The routes of a realm's API.
#[derive(Clone, Debug)]
pub struct Routes {
    tree: Tree,
    operations: Vec<Operation>,
    query_token: Option<Arc<str>>,
    /// The methods that generic routes ask about as actions; `None` where there are none.
    generic: Option<Vec<Arc<str>>>,
    /// What is worth a look in routes that have no fault.
    pub(super) warnings: Vec<Fault>,
}

/// An operation of the API.
#[derive(Clone, Debug)]
struct Operation {
    /// Its operationId; where it has none, its method and path.
    name: Arc<str>,
    /// The path, with what stands before all paths.
    path: Arc<str>,
    template: PathTemplate,
    /// What it means; nothing says so of every operation.
    meaning: Option<Meaning>,
}

/// What an operation asks for.
#[derive(Clone, Debug)]
struct Meaning {
    action: Arc<str>,
    resource_type: Arc<str>,
    id: Option<Template>,
    attributes: Option<Vec<Filled>>,
    proposed: Option<Vec<Filled>>,
    context: Vec<Filled>,
    obligations: Obligations,
}

/// A value that is put together from parameters.
#[derive(Clone, Debug)]
struct Filled {
    name: Arc<str>,
    template: Template,
    form: Form,
}

/// What a text becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Text,
    Long,
    Bool,
}

/// How the API hears of the obligations of an allow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Obligations {
    /// Not at all: it cannot fulfil any.
    #[default]
    Unknown,
    /// In a header of the request.
    Header,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The operation; empty for none of the API's description.
    pub operation: Arc<str>,
    /// The path template; empty where there is none.
    pub template: Arc<str>,
    /// The question.
    pub question: Question,
    /// How the API hears of obligations.
    pub obligations: Obligations,
}

/// Why a request is no question. No fault repeats what was sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RouteFault {
    /// No route fits.
    #[error("no operation of this API that is asked about has this method and path")]
    Unknown,
    /// Two routes fit equally.
    #[error("the path fits two operations equally")]
    TwoFit,
    /// The path or a parameter can be read in more than one way.
    #[error("{0}")]
    Path(#[from] PathFault),
    /// A parameter is of another type than what it stands for.
    #[error("the value for `{0}` is of another type than the API takes there")]
    Value(Arc<str>),
}

impl RouteFault {
    /// The stable code of the refusal.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "ROUTE_UNKNOWN",
            Self::TwoFit | Self::Path(_) => "ROUTE_AMBIGUOUS",
            Self::Value(_) => "ROUTE_VALUE_INVALID",
        }
    }
}

impl Routes {
    /// The query parameter that may carry the token, if any may.
    pub fn query_token(&self) -> Option<&Arc<str>> {
        self.query_token.as_ref()
    }

    /// How many operations there are, and of how many it is known what they ask for.
    pub fn counts(&self) -> (usize, usize) {
        (self.operations.len(), self.operations.iter().filter(|operation| operation.meaning.is_some()).count())
    }

    /// What a request asks for. Methods count letter by letter.
    ///
    /// # Errors
    /// [`RouteFault`]: then the request is denied.
    pub fn find(&self, method: &str, path: &Path) -> Result<Found, RouteFault> {
        let operation = match self.tree.find(method, path.segments()) {
            Fit::Several => return Err(RouteFault::TwoFit),
            Fit::One(number) => self.operations.get(number),
            Fit::Nothing => None,
        };
        match operation {
            Some(operation @ Operation { meaning: Some(meaning), .. }) => operation.found(meaning, path),
            operation => self.generic(method, path, operation).ok_or(RouteFault::Unknown),
        }
    }

    fn generic(&self, method: &str, path: &Path, operation: Option<&Operation>) -> Option<Found> {
        let action = self.generic.as_ref()?.iter().find(|known| ***known == *method)?;
        let id = operation.map_or_else(|| path.decoded().into(), |operation| Arc::clone(&operation.path));
        let question = Question {
            action: Arc::clone(action),
            resource_type: GENERIC_TYPE.into(),
            resource_id: id,
            ..Question::default()
        };
        Some(Found {
            operation: operation.map(|operation| Arc::clone(&operation.name)).unwrap_or_default(),
            template: operation.map(|operation| Arc::clone(&operation.path)).unwrap_or_default(),
            question: Obligations::Unknown.of(question),
            obligations: Obligations::Unknown,
        })
    }
}

impl Obligations {
    /// The question, with what can be fulfilled of obligations.
    fn of(self, question: Question) -> Question {
        let supported_obligations = match self {
            Self::Unknown => Some(Vec::new()),
            Self::Header => None,
        };
        Question { supported_obligations, ..question }
    }
}

impl Operation {
    fn found(&self, meaning: &Meaning, path: &Path) -> Result<Found, RouteFault> {
        let Meaning { action, resource_type, id, attributes, proposed, context, obligations } = meaning;
        let id = id.as_ref().map(|id| self.fill(id, path)).transpose()?.flatten();
        let all = |filled: &Option<Vec<Filled>>| filled.as_ref().map(|filled| self.fill_all(filled, path)).transpose();
        let question = Question {
            action: Arc::clone(action),
            resource_type: Arc::clone(resource_type),
            resource_id: id.unwrap_or_default().into(),
            attributes: all(attributes)?,
            proposed: all(proposed)?,
            context: self.fill_all(context, path)?,
            ..Question::default()
        };
        let (operation, template) = (Arc::clone(&self.name), Arc::clone(&self.path));
        Ok(Found { operation, template, question: obligations.of(question), obligations: *obligations })
    }

    fn fill_all(&self, filled: &[Filled], path: &Path) -> Result<Attributes, RouteFault> {
        let mut values = Vec::new();
        for Filled { name, template, form } in filled {
            // What the request does not say has no value.
            let Some(text) = self.fill(template, path)? else { continue };
            let value = match form {
                Form::Text => Some(Value::String(text.into())),
                Form::Long => text.parse().ok().map(Value::Long),
                Form::Bool => text.parse().ok().map(Value::Bool),
            };
            values.push((Arc::clone(name), value.ok_or_else(|| RouteFault::Value(Arc::clone(name)))?));
        }
        Ok(values.into_iter().collect())
    }

    /// The text with its parameters; `None` where the request lacks one.
    fn fill(&self, template: &Template, path: &Path) -> Result<Option<String>, PathFault> {
        let fault = Cell::new(None);
        let text = template.fill(|name| match name.strip_prefix(QUERY) {
            Some(name) => path
                .query(name)
                .unwrap_or_else(|found| {
                    fault.set(Some(found));
                    None
                })
                .map(Cow::Owned),
            None => self.template.position(name).and_then(|at| path.segments().get(at)).map(|it| it.as_str().into()),
        });
        match fault.get() {
            Some(fault) => Err(fault),
            None => Ok(text),
        }
    }
}

/// What names of query parameters begin with in texts with placeholders.
const QUERY: &str = "query.";
