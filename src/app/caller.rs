//! Who may call: the callers that the deployment names, judged by the policies of the realm `hallpass`. Each call that reads
//! the decision log or does something to a realm's policies is recorded in the realm's log, and so is each refusal.

mod ask;
mod changes;
mod known;
mod policies;
mod presented;
mod reading;
pub(in crate::app) mod refusals;
mod right;
#[cfg(test)]
mod tests;
mod tokens;

use std::sync::Arc;

pub use self::{
    known::{ADMIN, ADMIN_ROLES, Callers, KEY_BYTES_MAX, KeyDigest, KnownCaller, LOCAL},
    policies::CallerPolicies,
    presented::{PeerCertificate, Presented, VerifiedCaller},
    reading::{About, Reading},
    right::Right,
    tokens::Tokens,
};
use self::{
    known::{Identified, KEY_UNKNOWN},
    policies::Judged,
};
pub use super::ports::CALLERS_REALM as REALM;
use crate::{
    app::{
        App,
        authorize::decision_id,
        decisions::Texts,
        error::{Error, Kind},
        realm_state::RealmState,
    },
    domain::{
        decision::{Effect, Reason},
        decision_record::{DecisionRecord, RecordKind},
        id::Revision,
        value::{Attributes, Value},
    },
};

/// The resource type of every reading.
pub const RESOURCE_TYPE: &str = "DecisionLog";

/// The resource type of what is done to a realm's policies.
pub const POLICIES_TYPE: &str = "PolicySet";

/// A call that may be made, and is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Who makes it.
    pub caller: Arc<str>,
    /// Whether it may read what people wrote.
    pub texts: Texts,
}

impl App {
    /// The callers of the decision log.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// Who shows this; who shows nothing is nobody.
    fn identify(&self, presented: &Presented) -> Result<Identified<'_>, Reason> {
        self.callers.identify(presented, self.clock.now_seconds())
    }

    /// The error of a wrong request; who isn't known hears that instead, and nothing of the request.
    pub fn refusal_of(&self, presented: &Presented, error: Error) -> Error {
        self.identify(presented).map_or_else(|reason| self.refused(None, unauthenticated(&reason)), |_| error)
    }

    /// A refusal, counted; `caller` is who it is about, where that is known.
    fn refused(&self, caller: Option<&str>, refusal: Error) -> Error {
        self.meter.caller_refused(caller, refusal.reason);
        refusal
    }

    /// The permit of an allow; a refusal is counted.
    fn permitted(&self, judged: &Judged) -> Result<Permit, Error> {
        judged.permit().map_err(|refusal| self.refused(judged.caller.as_deref(), refusal))
    }

    /// Lets a call through that its caller may make, when it is on record. For calls that do something, and for those
    /// that answer over time.
    ///
    /// # Errors
    /// A caller that isn't known, or may not, or asks too often; an unknown realm; a log that cannot take the record.
    pub async fn permit(&self, realm: &str, presented: &Presented, reading: &Reading<'_>) -> Result<Permit, Error> {
        let (state, judged) = self.judge(realm, presented, reading)?;
        self.keep_reading(&state, reading, &judged).await?;
        self.permitted(&judged)
    }

    /// Lets a call through that its caller may make, without a record: for how the log is doing, which says nothing of
    /// any decision, is asked all the time, and matters most when the log cannot take records.
    ///
    /// # Errors
    /// A caller that isn't known, or may not, or asks too often; an unknown realm.
    pub fn permit_unrecorded(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
    ) -> Result<Permit, Error> {
        self.permitted(&self.judge(realm, presented, reading)?.1)
    }

    /// Answers a call that its caller may make, when it is on record: the record comes after what was read, so that
    /// no question finds itself, and before the answer.
    ///
    /// # Errors
    /// Those of [`App::permit`] and those of the work.
    pub async fn read_log<T>(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.read_log_as(realm, presented, reading, |_| work).await
    }

    /// The same for work that shows what its caller may see.
    ///
    /// # Errors
    /// Those of [`App::read_log`].
    pub async fn read_log_as<T, W: Future<Output = Result<T, Error>>>(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
        work: impl FnOnce(Permit) -> W,
    ) -> Result<T, Error> {
        let (state, judged) = self.judge(realm, presented, reading)?;
        let answer = match self.permitted(&judged) {
            Ok(permit) => work(permit).await,
            Err(error) => Err(error),
        };
        self.keep_reading(&state, reading, &judged).await?;
        answer
    }

    /// What the policies say of a call. Who may make it is held to its rate first: what comes too often is not on record.
    fn judge(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
    ) -> Result<(Arc<RealmState>, Judged), Error> {
        let identified = self.identify(presented);
        let state = match (self.realm(realm), &identified) {
            (Ok(state), _) => Arc::clone(state),
            (Err(_), Err(reason)) => return Err(self.refused(None, unauthenticated(reason))),
            (Err(error), Ok(_)) => return Err(error),
        };
        let Some(policies) = self.callers.policies() else {
            let refusal = unauthenticated(&Reason::plain("CALLER_KEY_UNKNOWN", KEY_UNKNOWN));
            return Err(self.refused(None, refusal));
        };
        let judged = policies.judge(identified, state.name.as_str(), Some(&state), reading);
        if let (Some(caller), Effect::Allow) = (&judged.caller, judged.decision.outcome.effect()) {
            self.allow_rate(caller, state.name.as_str())?;
        }
        Ok((state, judged))
    }

    /// Puts a call on record. Who isn't known reads nothing: of too many such calls only the number is kept.
    async fn keep_reading(&self, state: &RealmState, reading: &Reading<'_>, judged: &Judged) -> Result<(), Error> {
        let left_out = match &judged.caller {
            Some(_) => 0,
            None => match state.refusals.admit(self.clock.now_us()) {
                Some(left_out) => left_out,
                None => return Ok(()),
            },
        };
        let kept = state.log.append(vec![self.reading_record(state, reading, judged, left_out)]).await;
        if kept.is_err() {
            state.refusals.put_back(left_out);
        }
        Ok(kept?)
    }

    /// What the log keeps of a call that reads it; `left_out` calls before were not kept. Of who isn't known nothing is
    /// kept that can be of any length.
    fn reading_record(
        &self,
        state: &RealmState,
        reading: &Reading<'_>,
        judged: &Judged,
        left_out: u64,
    ) -> DecisionRecord {
        let is_known = judged.caller.is_some();
        let said = |text: &Arc<str>| if is_known { Arc::clone(text) } else { Arc::default() };
        let asked = [("full", reading.is_full()), ("names", reading.names), ("people", reading.names_people(state))];
        let asked = asked.into_iter().map(|(name, value)| (Arc::from(name), Value::Bool(value))).collect();
        let call = Recorded {
            action: reading.action,
            resource_type: reading.about.resource_type(),
            resource_id: state.name.as_str(),
            asked,
            left_out,
        };
        DecisionRecord {
            subjects: if is_known { reading.subjects(state) } else { Vec::new() },
            request_id: said(&reading.request_id),
            purpose: said(&reading.purpose),
            ..self.call_record(call, judged)
        }
    }

    /// What the log keeps of every call that it keeps.
    fn call_record(&self, call: Recorded<'_>, judged: &Judged) -> DecisionRecord {
        let now_us = self.clock.now_us();
        let Judged { decision, principal, .. } = judged;
        let Recorded { action, resource_type, resource_id, mut asked, left_out } = call;
        if left_out > 0 {
            let left_out = Value::Long(i64::try_from(left_out).unwrap_or(i64::MAX));
            asked.push((Arc::from("left_out"), left_out));
        }
        let mut attributes: Vec<_> = principal.iter().flat_map(|(_, attributes)| attributes.iter()).collect();
        let asked = (Arc::from("asked"), Value::Record(asked.into_iter().collect()));
        attributes.push((&asked.0, &asked.1));
        let attributes: Attributes =
            attributes.into_iter().map(|(name, value)| (Arc::clone(name), value.clone())).collect();
        DecisionRecord {
            id: decision_id(now_us),
            time_us: now_us,
            outcome: decision.outcome,
            reasons: decision.reasons.clone(),
            determining_policies: decision.determining_policies.clone(),
            action: action.into(),
            resource_type: resource_type.into(),
            resource_id: resource_id.into(),
            subjects: Vec::new(),
            principal: principal.as_ref().map(|(entity, _)| entity.clone()),
            issuer: Arc::default(),
            attributes: Arc::new(attributes),
            policy_version: decision.policy_version.clone(),
            data_revision: Revision::default(),
            request_id: Arc::default(),
            duration_us: 0,
            obligations: Vec::new(),
            actor: None,
            client: Arc::default(),
            purpose: Arc::default(),
            kind: RecordKind::Reading,
            facts: Arc::default(),
            caller: Arc::default(),
            adapter: None,
        }
    }
}

/// A call as the log keeps it.
struct Recorded<'a> {
    action: &'static str,
    resource_type: &'static str,
    /// The realm that it is about, or what stands for the service as a whole.
    resource_id: &'a str,
    /// What it asked for.
    asked: Vec<(Arc<str>, Value)>,
    /// How many calls before were not kept.
    left_out: u64,
}

/// The codes of callers who are not known.
const CODES: [&str; 7] = [
    "CALLER_KEY_MISSING",
    "CALLER_NOT_LOCAL",
    "CALLER_AMBIGUOUS",
    "CALLER_CERTIFICATE_EXPIRED",
    "CALLER_CERTIFICATE_UNKNOWN",
    "CALLER_TOKEN_INVALID",
    "CALLER_TOKEN_UNKNOWN",
];

/// The codes of callers of whom nobody can say now whether they are known.
const UNSETTLED: [&str; 2] = ["KEYS_UNAVAILABLE", "OVERLOADED"];

fn unauthenticated(reason: &Reason) -> Error {
    if let Some(code) = UNSETTLED.into_iter().find(|code| *code == &*reason.code) {
        return Error::new(Kind::Unavailable, code, reason.message.to_string());
    }
    let code = CODES.into_iter().find(|code| *code == &*reason.code).unwrap_or("CALLER_KEY_UNKNOWN");
    Error::new(Kind::Unauthenticated, code, reason.message.to_string())
}

impl Judged {
    /// The permit of an allow.
    ///
    /// # Errors
    /// What the caller lacks, in the policies' own words.
    fn permit(&self) -> Result<Permit, Error> {
        let first = self.decision.reasons.first();
        let Some(caller) = &self.caller else {
            return Err(first.map_or_else(|| unauthenticated(&Reason::plain("", KEY_UNKNOWN)), unauthenticated));
        };
        if self.decision.outcome.effect() == Effect::Allow {
            return Ok(Permit { caller: Arc::clone(caller), texts: self.texts });
        }
        let (code, message) = first.map_or(("", ""), |reason| (&*reason.code, &*reason.message));
        let hints: Vec<&str> = first.iter().flat_map(|reason| &reason.hints).map(|hint| &**hint).collect();
        let message = format!("caller `{caller}` is refused, `{code}`: {message} {}", hints.join(" "));
        Err(Error::new(Kind::PermissionDenied, "CALLER_NOT_PERMITTED", message.trim_end()))
    }
}
