//! `POST …/access/v1/evaluation`: one question (AuthZEN 1.0 section 6).

use axum::response::Response;
use serde_json::Value as Json;

use super::{
    Call, answer as answers,
    question::{credentials, question},
    read::{self, Object},
};
use crate::{
    app::authorize::AuthorizeRequest,
    transport::http::{answer::json, problem::Problem},
};

/// Decides a question.
pub(super) async fn answer(call: &Call<'_>, body: &Object) -> Result<Response, Problem> {
    let asked = asked(call, body)?.map_err(|message| Problem::malformed(&message))?;
    let has_reasons = asked.has_reasons();
    let answer = call.app.authorize(asked.0).await.map_err(|error| Problem::of(&error))?;
    Ok(json(&answers::of_decision(&answer, has_reasons)))
}

/// A complete question.
#[derive(Debug)]
pub(super) struct Asked(pub(super) AuthorizeRequest);

impl Asked {
    /// The answer is to say why.
    pub(super) fn has_reasons(&self) -> bool {
        self.0.explain.level() != crate::app::explain::ExplainLevel::None
    }
}

/// Reads a question; the inner error says what is missing of it.
pub(super) fn asked(call: &Call<'_>, body: &Object) -> Result<Result<Asked, String>, Problem> {
    let settings = call.settings()?;
    let read = || {
        let subject = read::entity(body, "subject", true)?;
        let action = read::action(body)?;
        let resource = read::entity(body, "resource", true)?;
        let context = read::context(body)?;
        let wants_reasons =
            settings.has_reasons || call.wants_reasons || context.get("explain") == Some(&Json::Bool(true));
        Ok(Asked(AuthorizeRequest {
            credentials: credentials(settings, &subject, &context),
            question: question(settings, &action, &resource, &context),
            ..call.asked(wants_reasons)
        }))
    };
    Ok(read())
}
