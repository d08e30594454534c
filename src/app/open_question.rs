//! Questions in the words of a general interface, whose callers don't know the realm's schema: what the realm knows of a
//! resource counts more than what is sent, what nobody is believed doesn't count, and what it has no words for is denied
//! and not refused.

use std::borrow::Cow;

use super::{
    App,
    authorize::{Remarks, Snapshot, Verified, several},
    error::Error,
};
use crate::domain::{
    access_request::{AccessRequest, FieldFault, Question, understood_context},
    adapter::Adapter,
    decide::refuse,
    decision::{Decision, Outcome, Reason},
    decision_record::DecisionRecord,
    realm::Realm,
    search::{Believed, with_known},
};

/// The code of what the realm has no words for.
pub const NOT_UNDERSTOOD: &str = "QUESTION_NOT_UNDERSTOOD";

/// A question held against the realm.
pub(super) enum Asked<'q> {
    /// It can be decided.
    Fit(Cow<'q, Question>, Box<AccessRequest>),
    /// The realm has no words for it, and why.
    Unfit(Box<Reason>),
}

/// Questions that come by this way may be about anything.
pub(super) fn is_open(adapter: Adapter) -> bool {
    adapter == Adapter::Authzen
}

/// Holds a question against the realm, as the way by which it came wants it.
///
/// # Errors
/// The faults of a question that had to fit.
pub(super) fn held<'q>(
    snapshot: &Snapshot,
    question: &'q Question,
    adapter: Adapter,
) -> Result<Asked<'q>, Vec<FieldFault>> {
    let (realm, graph) = (&snapshot.loaded.realm, &snapshot.graph);
    let is_open = is_open(adapter);
    let believed = if is_open { Believed::Stored } else { Believed::Sent };
    let known = with_known(realm, graph, question, believed).map_err(several);
    let checked = known.and_then(|known| {
        let question = if is_open { Cow::Owned(understood(realm, &known)) } else { known };
        let checked = AccessRequest::check(realm, &question)?;
        Ok(Asked::Fit(question, Box::new(checked)))
    });
    // What a gateway asks comes from a client's request as well: it has no fault of its own to mend.
    let may_be_unfit = is_open || adapter == Adapter::Envoy;
    checked
        .or_else(|faults| if may_be_unfit { Ok(Asked::Unfit(Box::new(not_understood(faults)))) } else { Err(faults) })
}

/// The question without the members of the context that the action doesn't have or that callers are not believed.
pub(super) fn understood(realm: &Realm, question: &Question) -> Question {
    Question { context: understood_context(realm, question), ..question.clone() }
}

/// Why the realm has no words for a question.
pub(super) fn not_understood(faults: Vec<FieldFault>) -> Reason {
    Reason::plain(NOT_UNDERSTOOD, Error::invalid(faults).message)
}

impl App {
    /// Denies what the realm has no words for, or a question of nobody. The record isn't kept yet.
    pub(super) fn deny_unfit(
        &self,
        snapshot: &Snapshot,
        caller: &Verified,
        question: &Question,
        reason: Reason,
        remarks: &Remarks,
        started_us: i64,
    ) -> (Decision, DecisionRecord) {
        let decision = match caller {
            Ok(_) => refuse(&snapshot.loaded.realm, Outcome::Indeterminate, reason),
            Err(reason) => refuse(&snapshot.loaded.realm, Outcome::Unauthenticated, (**reason).clone()),
        };
        let record = self.record_unfit(snapshot, caller, question, &decision, remarks, started_us);
        (decision, record)
    }
}
