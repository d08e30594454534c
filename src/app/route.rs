//! A request over HTTP that is no question, because no route of the realm's fits it or because it can be read in more than one
//! way: denied, and kept in the log as every decision is.

use std::sync::Arc;

use super::{
    App,
    authorize::{Answer, AuthorizeRequest, Verified, decision_id},
    caller::Right,
    error::Error,
};
use crate::domain::{
    decide::refuse,
    decision::{Outcome, Reason},
    decision_record::{DecisionRecord, RecordKind},
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
        let snapshot = self.snapshot(&call).await?;
        let asker = self.may_authorize(&snapshot, &call, Right::Authorize).await?;
        let (realm, state) = (&snapshot.loaded.realm, &snapshot.state);
        let verified: Option<Verified> = match check {
            Check::Token => Some(self.verify_for(&snapshot, &call, self.proofs.call()).await?),
            Check::Nothing => None,
        };
        let (caller, decision) = match verified {
            Some(Err(reason)) => (None, refuse(realm, Outcome::Unauthenticated, *reason)),
            Some(Ok(caller)) => (Some(caller), refuse(realm, Outcome::NotPermitted, reason)),
            None => (None, refuse(realm, Outcome::Indeterminate, reason)),
        };
        let decided_us = self.clock.now_us();
        let good = caller.as_ref();
        let mut record = DecisionRecord {
            id: decision_id(decided_us),
            time_us: decided_us,
            outcome: decision.outcome,
            reasons: decision.reasons.clone(),
            determining_policies: Vec::new(),
            action: method,
            resource_type: GENERIC_TYPE.into(),
            resource_id: Arc::default(),
            subjects: Vec::new(),
            principal: good.map(|caller| caller.recorded.entity.clone()),
            issuer: good.map(|caller| Arc::clone(&caller.token.issuer)).unwrap_or_default(),
            attributes: good.map(|caller| Arc::clone(&caller.recorded.attributes)).unwrap_or_default(),
            policy_version: decision.policy_version.clone(),
            data_revision: snapshot.graph.revision(),
            request_id: Arc::clone(&call.request_id),
            duration_us: u32::try_from(decided_us - started_us).unwrap_or(0),
            obligations: Vec::new(),
            actor: good.and_then(|caller| caller.recorded.actor.clone()),
            client: good.and_then(|caller| caller.token.client.clone()).unwrap_or_default(),
            purpose: Arc::clone(&call.purpose),
            kind: RecordKind::Decision,
            facts: Arc::default(),
            caller: asker,
            adapter: Some(call.adapter),
        };
        state.people.mask.apply(&mut record, &state.people.hashes);
        let (decision_id, data_revision, principal) = (record.id, record.data_revision, record.principal.clone());
        state.log.append(vec![record]).await?;
        Ok(Answer { decision, decision_id, data_revision, principal, explanation: None })
    }
}
