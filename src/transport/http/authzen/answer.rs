//! Answers: a decision alone unless there is something to say of it.

use std::sync::Arc;

use axum::{body::Body, response::Response};
use serde_json::{Map, Value as Json, json};

use super::super::answer::with_body;
use crate::{
    app::{NOT_UNDERSTOOD, authorize::Answer},
    domain::{
        decision::{Decision, Effect, Obligation},
        json_value::json_of,
    },
};

/// A decision as the interface has it: `{"decision": …}`, and a `context` where obligations or reasons are told.
pub(super) fn of_decision(answer: &Answer, has_reasons: bool) -> Json {
    let Decision { outcome, reasons, obligations, denial, .. } = &answer.decision;
    let is_allowed = outcome.effect() == Effect::Allow;
    let mut context = Map::new();
    context.insert("id".to_owned(), json!(answer.decision_id.to_string()));
    if !obligations.is_empty() {
        context.insert("obligations".to_owned(), obligations.iter().map(of_obligation).collect());
    }
    if has_reasons {
        if let Some(reason) = reasons.first() {
            context.insert("code".to_owned(), json!(&*reason.code));
            context.insert("reason_admin".to_owned(), json!({ "en": &*reason.message }));
        }
        // What the realm has no words for is told to who knows its words, unless it has some of its own for that.
        let unknown = reasons.first().filter(|reason| *reason.code == *NOT_UNDERSTOOD);
        let is_own = |detail: &&String| unknown.is_none_or(|reason| *reason.message != ***detail);
        let detail = denial.as_ref().map(|denial| &denial.detail).filter(|detail| !detail.is_empty()).filter(is_own);
        if let Some(detail) = detail {
            context.insert("reason_user".to_owned(), json!({ "en": detail }));
        }
    }
    // The id alone says nothing that was asked for.
    if context.len() == 1 {
        return json!({ "decision": is_allowed });
    }
    json!({ "decision": is_allowed, "context": context })
}

fn of_obligation(obligation: &Obligation) -> Json {
    let Obligation { id, parameters } = obligation;
    let properties: Map<String, Json> =
        parameters.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect();
    json!({ "id": &**id, "properties": properties })
}

/// An item that could not be asked about, or not be decided: the status that it would have alone, and why.
pub(super) fn of_fault(status: u16, message: &str) -> Json {
    json!({ "decision": false, "context": { "error": { "status": status, "message": message } } })
}

/// The results of a search as they are written: the page comes first.
pub(super) struct Results {
    /// The token of the next page; `None` where the request asked for no page and this is everything.
    pub(super) next_token: Option<String>,
    /// The ids of obligations that come with what was found.
    pub(super) obligations: Vec<Arc<str>>,
    /// The results, each as JSON.
    pub(super) found: Vec<String>,
}

impl Results {
    /// A subject or a resource that was found.
    pub(super) fn entity(entity_type: &str, id: &str) -> String {
        format!("{{\"type\":{},\"id\":{}}}", Json::from(entity_type), Json::from(id))
    }

    /// An action that was found.
    pub(super) fn action(name: &str) -> String {
        format!("{{\"name\":{}}}", Json::from(name))
    }

    pub(super) fn into_response(self) -> Response {
        let Self { next_token, obligations, found } = self;
        let count = found.len();
        let page =
            next_token.map(|token| format!("\"page\":{{\"next_token\":{},\"count\":{count}}},", Json::from(token)));
        let obligations: Vec<Json> = obligations.iter().map(|id| json!({ "id": &**id })).collect();
        let context = (count > 0 && !obligations.is_empty()).then(|| json!({ "obligations": obligations }));
        let context = context.map(|context| format!(",\"context\":{context}"));
        let (page, context) = (page.unwrap_or_default(), context.unwrap_or_default());
        let text = format!("{{{page}\"results\":[{}]{context}}}", found.join(","));
        with_body(Body::from(text))
    }
}
