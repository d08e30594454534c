//! Whether a caller may ask what it asks.

use std::sync::Arc;

use super::{Identified, KEY_UNKNOWN, Presented, Recorded, Right, policies::Judged, unauthenticated};
use crate::{
    app::{App, error::Error, ports::trace},
    domain::{
        decision::{Effect, Reason},
        decision_record::DecisionRecord,
    },
};

impl App {
    /// Who calls, whatever it asks; whoever is on this machine is [`super::LOCAL`] where nothing must be shown.
    ///
    /// # Errors
    /// A caller that isn't known.
    pub fn caller_of(&self, presented: &Presented) -> Result<Arc<str>, Error> {
        self.identify_or_local(presented)
            .map(|identified| identified.shared_name())
            .map_err(|reason| unauthenticated(&reason))
    }

    /// Who calls, if it may do this in the realm of this name; the empty name is that of the service as a whole. What the
    /// policies allowed once they allow until they change. A refusal is put on record in the realm's log, as far as there
    /// are not too many.
    ///
    /// # Errors
    /// A caller that isn't known, or may not.
    pub async fn may_ask(
        &self,
        presented: &Presented,
        realm: &str,
        right: Right,
        request_id: &str,
    ) -> Result<Arc<str>, Error> {
        let identified = match self.identify_or_local(presented) {
            Ok(identified) => identified,
            Err(reason) => {
                if let Some(policies) = self.callers.policies() {
                    self.keep_refusal(realm, right, &policies.unknown(reason.clone()), "").await;
                }
                return Err(unauthenticated(&reason));
            }
        };
        trace::note_caller(&identified.shared_name());
        let Some(judged) = self.judge_right(identified, realm, right)? else { return Ok(identified.shared_name()) };
        let permit = judged.permit().map(|permit| permit.caller);
        if permit.is_err() {
            self.keep_refusal(realm, right, &judged, request_id).await;
        }
        permit
    }

    /// Whether a caller may do this in the realm of this name, for lists that show to each what it may see. Nothing is put on
    /// record.
    pub fn may_see(&self, presented: &Presented, realm: &str, right: Right) -> bool {
        let Ok(identified) = self.identify_or_local(presented) else { return false };
        match self.judge_right(identified, realm, right) {
            Ok(None) => true,
            Ok(Some(judged)) => judged.decision.outcome.effect() == Effect::Allow,
            Err(_) => false,
        }
    }

    fn identify_or_local(&self, presented: &Presented) -> Result<Identified<'_>, Reason> {
        self.callers.identify_or_local(presented, self.clock.now_seconds())
    }

    /// What the policies say; `None` where they are known to allow it.
    fn judge_right(&self, identified: Identified<'_>, realm: &str, right: Right) -> Result<Option<Judged>, Error> {
        match (self.callers.policies(), identified) {
            (Some(policies), _) if policies.is_known_to_allow(identified, realm, right) => Ok(None),
            (Some(policies), _) => Ok(Some(policies.judge_right(identified, realm, right))),
            // Within a program that has no callers there is nobody else.
            (None, Identified::Local(_)) => Ok(None),
            (None, _) => Err(unauthenticated(&Reason::plain("CALLER_KEY_UNKNOWN", KEY_UNKNOWN))),
        }
    }

    /// Puts a refusal on record in the realm's log, if there is such a realm. Of too many only the number is kept; that the log
    /// cannot take it changes nothing for who is refused.
    async fn keep_refusal(&self, realm: &str, right: Right, judged: &Judged, request_id: &str) {
        let Ok(state) = self.realm(realm) else { return };
        let Some(left_out) = state.refusals.admit(self.clock.now_us()) else { return };
        let (action, resource_type) = (right.name(), right.resource_type());
        let call = Recorded { action, resource_type, asked: Vec::new(), left_out };
        let caller = judged.caller.clone().unwrap_or_default();
        let record = DecisionRecord { request_id: request_id.into(), caller, ..self.call_record(state, call, judged) };
        if state.log.append(vec![record]).await.is_err() {
            state.refusals.put_back(left_out);
        }
    }
}
