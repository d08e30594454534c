//! How much an answer says of why, and who may hear all of it: the callers whom the policies of the realm `hallpass` permit
//! `ExplainDecision`. Nothing of it is asked for an answer without.

use std::sync::Arc;

use super::{
    App,
    authorize::AuthorizeRequest,
    caller::{About, Reading},
    error::{Error, Kind},
};
use crate::domain::explain::People;

/// How much an answer says of why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExplainLevel {
    /// Nothing but the realm's denial.
    None,
    /// The reasons.
    #[default]
    Reasons,
    /// The reasons and the whole explanation.
    Full,
}

/// What a question asks to be told of why.
#[derive(Clone, Copy, Debug, Default)]
pub struct Explain {
    /// How much; `None` where the question doesn't say.
    pub level: Option<ExplainLevel>,
}

impl Explain {
    /// How much.
    pub fn level(self) -> ExplainLevel {
        self.level.unwrap_or_default()
    }
}

impl App {
    /// Whether a whole explanation was asked for, and whom it may name. The call is put on record in the realm's log.
    ///
    /// # Errors
    /// A caller who may not hear it; a log that cannot take the record.
    pub(super) async fn may_explain(&self, realm: &str, request: &AuthorizeRequest) -> Result<Option<People>, Error> {
        if request.explain.level() != ExplainLevel::Full {
            return Ok(None);
        }
        let reading = Reading {
            action: "ExplainDecision",
            about: About::Log,
            names: false,
            purpose: Arc::clone(&request.purpose),
            request_id: Arc::clone(&request.request_id),
        };
        let naming = Reading { names: true, ..reading.clone() };
        let presented = &request.presented;
        let may_name = self.permit_unrecorded(realm, presented, &naming).is_ok();
        let (reading, people) = if may_name { (naming, People::Named) } else { (reading, People::Hidden) };
        let permit = self.permit(realm, presented, &reading).await;
        permit.map(|_| Some(people)).map_err(|error| match error.kind {
            Kind::Unauthenticated | Kind::PermissionDenied => {
                let message = format!(
                    "`explain` is FULL, which takes a caller's key with the right to it; expected REASONS or NONE: {}",
                    error.message
                );
                Error::new(Kind::PermissionDenied, "EXPLAIN_NOT_PERMITTED", message)
            }
            _ => error,
        })
    }
}
