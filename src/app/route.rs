//! A request over HTTP that is no question, because no route of the realm's fits it or because it can be read in more than one
//! way: denied, and kept in the log as every decision is.

use std::sync::Arc;

use super::{
    App,
    authorize::{About, Answer, AuthorizeRequest, answer_of, decision_id, record_of},
    caller::Right,
    error::Error,
};
use crate::domain::{
    decide::refuse,
    decision::{Outcome, Reason},
    replay::Judged,
    route::GENERIC_TYPE,
};

/// A request that is no question.
#[derive(Clone, Debug)]
pub struct Misrouted {
    /// The call, whose question says nothing.
    pub call: AuthorizeRequest,
    /// The method of the request; stands as the action in the log.
    pub method: Arc<str>,
    /// Why it is refused.
    pub reason: Reason,
    /// Whether who asks is looked at first.
    pub check: Check,
}

/// Whether the credentials of a request that is refused anyway are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// They are: who has no good token learns nothing else.
    Token,
    /// They are what is wrong, or nothing of the request can be relied on.
    Nothing,
}

impl App {
    /// Refuses a request that is no question and keeps the refusal. Its path is not kept: it may name people.
    ///
    /// # Errors
    /// Those of [`App::authorize`]. Never an allow.
    pub async fn refuse_request(&self, misrouted: Misrouted) -> Result<Answer, Error> {
        let Misrouted { call, method, reason, check } = misrouted;
        let started_us = self.clock.now_us();
        let (asker, snapshot) = self.admitted(&call, Right::Authorize).await?;
        let realm = &snapshot.loaded.realm;
        let (caller, outcome) = match check {
            Check::Token => (self.verify_for(&snapshot, &call, self.proofs.call()).await?, Outcome::NotPermitted),
            Check::Nothing => (Err(Box::new(reason.clone())), Outcome::Indeterminate),
        };
        let decision = match &caller {
            Err(reason) if check == Check::Token => refuse(realm, Outcome::Unauthenticated, (**reason).clone()),
            _ => refuse(realm, outcome, reason),
        };
        let about = About { action: method, resource_type: GENERIC_TYPE.into(), ..About::default() };
        let remarks = call.remarks(asker, Judged::Resource);
        let decided_us = self.clock.now_us();
        let times = (decision_id(decided_us), started_us, decided_us);
        let record = record_of(&snapshot, &caller, about, &decision, &remarks, times);
        let (answer, record) = answer_of(&call, (decision, record));
        self.keep_one(&snapshot.state, record).await?;
        Ok(answer)
    }
}
