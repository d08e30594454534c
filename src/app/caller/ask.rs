//! Whether a caller may ask what it asks.

use std::sync::Arc;

use super::{
    Identified, KEY_UNKNOWN, Presented, Recorded, Right,
    policies::{Judged, SERVICE_ID},
    unauthenticated,
};
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

    /// Counts a refusal of who isn't known and puts it on record, where nothing of the call was read but its method: in the
    /// log of every realm, because it could have been about any. `right` is what the call would have taken; `None` for a
    /// method that there isn't, which is counted only.
    pub async fn keep_refusal_unread(&self, refusal: &Error, right: Option<Right>) {
        self.meter.caller_refused(None, refusal.reason);
        let (Some(right), Some(policies)) = (right, self.callers.policies()) else { return };
        let judged = policies.unknown(Reason::plain(refusal.reason, refusal.message.clone()));
        self.keep_refusal(SERVICE, right, &judged, &[], "").await;
    }

    /// Who calls, if it may do this in some realm at least, or in the service as a whole. For calls whose parts are about
    /// realms of their own, each of which is asked about as well.
    ///
    /// # Errors
    /// Those of [`App::may_ask`] about the service as a whole.
    pub async fn may_ask_somewhere(
        &self,
        presented: &Presented,
        right: Right,
        request_id: &str,
    ) -> Result<Arc<str>, Error> {
        if let Ok(identified) = self.identify_or_local(presented) {
            // Its own realms first: one is enough.
            let own = identified.realms();
            let (first, then): (Vec<_>, Vec<_>) =
                self.realms().map(|state| state.name.as_str()).partition(|name| own.contains(name));
            if first.into_iter().chain(then).any(|realm| self.is_allowed(identified, realm, right)) {
                return Ok(identified.shared_name());
            }
        }
        self.may_ask(presented, SERVICE, right, request_id).await
    }

    /// Who calls, if it may do this in the realm of this name; the empty name is that of the service as a whole. What the
    /// policies allowed once they allow until they change. A refusal is counted, and put on record in the realm's log as far
    /// as there are not too many; one about the service as a whole in those of all realms that the caller may call about.
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
                    self.keep_refusal(realm, right, &policies.unknown(reason.clone()), &[], "").await;
                }
                return Err(self.refused(None, unauthenticated(&reason)));
            }
        };
        trace::note_caller(&identified.shared_name());
        let Some(judged) = self.judge_right(identified, realm, right)? else { return Ok(identified.shared_name()) };
        let permit = self.permitted(&judged).map(|permit| permit.caller);
        if permit.is_err() {
            self.keep_refusal(realm, right, &judged, &identified.realms(), request_id).await;
        }
        permit
    }

    /// Whether a caller may do this in the realm of this name, for lists that show to each what it may see. Nothing is put on
    /// record.
    pub fn may_see(&self, presented: &Presented, realm: &str, right: Right) -> bool {
        self.identify_or_local(presented).is_ok_and(|identified| self.is_allowed(identified, realm, right))
    }

    fn is_allowed(&self, identified: Identified<'_>, realm: &str, right: Right) -> bool {
        match self.judge_right(identified, realm, right) {
            Ok(None) => true,
            Ok(Some(judged)) => judged.decision.outcome.effect() == Effect::Allow,
            Err(_) => false,
        }
    }

    /// The error of a wrong question; who isn't known hears that instead, and nothing of the question or the realms.
    pub(in crate::app) fn refusal_to_ask(&self, presented: &Presented, error: Error) -> Error {
        self.caller_of(presented).map_or_else(|refusal| self.refused(None, refusal), |_| error)
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

    /// Puts a refusal on record in the realm's log, if there is such a realm; one about the service as a whole in those of
    /// `own` realms, or of all where there are none. Of too many only the number is kept; that a log cannot take it changes
    /// nothing for who is refused.
    async fn keep_refusal(&self, realm: &str, right: Right, judged: &Judged, own: &[&str], request_id: &str) {
        let is_told = |name: &str| match realm {
            SERVICE => own.is_empty() || own.contains(&name),
            realm => name == realm,
        };
        for state in self.realms().filter(|state| is_told(state.name.as_str())) {
            let Some(left_out) = state.refusals.admit(self.clock.now_us()) else { continue };
            let call = Recorded {
                action: right.name(),
                resource_type: right.resource_type(),
                resource_id: if realm == SERVICE { SERVICE_ID } else { state.name.as_str() },
                asked: Vec::new(),
                left_out,
            };
            let (request_id, caller) = (request_id.into(), judged.caller.clone().unwrap_or_default());
            let record = DecisionRecord { request_id, caller, ..self.call_record(call, judged) };
            if state.log.append(vec![record]).await.is_err() {
                state.refusals.put_back(left_out);
            }
        }
    }
}

/// Stands for the service as a whole where a realm's name is expected.
const SERVICE: &str = "";
