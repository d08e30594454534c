//! Who may change which policies decide.

use std::sync::Arc;

use super::{About, Presented, REALM, Reading};
use crate::app::{App, error::Error};

impl App {
    /// Lets a call through that does something to a realm's policies, or to those that judge callers, and says who makes
    /// it. Where the deployment names callers it takes a key and a role, and is on record in the realm's log; where it
    /// names none, whoever is on this machine may.
    ///
    /// # Errors
    /// Those of [`App::permit`].
    pub async fn permit_policies(
        &self,
        realm: &str,
        presented: &Presented,
        action: &'static str,
        request_id: &str,
    ) -> Result<Arc<str>, Error> {
        if self.callers.are_unnamed() {
            return self.caller_of(presented).map_err(|refusal| self.refused(None, refusal));
        }
        let identified = self.identify(presented);
        let reading = of_policies(action, request_id);
        let Some(policies) = self.callers.policies().filter(|_| realm == REALM) else {
            return self.permit(realm, presented, &reading).await.map(|permit| permit.caller);
        };
        // These policies fill no log.
        self.permitted(&policies.judge(identified, REALM, None, &reading)).map(|permit| permit.caller)
    }

    /// Lets a call through that reads what is done with a realm's policies, without a record: it says nothing of any
    /// decision and is asked all the time. It takes a key and a role where the deployment names callers, and else to be on
    /// this machine.
    ///
    /// # Errors
    /// Those of [`App::permit_unrecorded`].
    pub fn permit_reading_policies(
        &self,
        realm: &str,
        presented: &Presented,
        action: &'static str,
        request_id: &str,
    ) -> Result<(), Error> {
        if self.callers.are_unnamed() {
            return self.caller_of(presented).map(drop).map_err(|refusal| self.refused(None, refusal));
        }
        self.permit_unrecorded(realm, presented, &of_policies(action, request_id)).map(drop)
    }
}

/// A call about a realm's policies.
fn of_policies(action: &'static str, request_id: &str) -> Reading<'static> {
    Reading { about: About::Policies, ..Reading::of_log(action, request_id) }
}
