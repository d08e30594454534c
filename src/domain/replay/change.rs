//! What other policies make of a decision: whether it changes, which policy and which of its conditions that comes
//! from, and how often each cause was met.

mod cause;
mod groups;

use std::sync::Arc;

pub use self::{
    cause::{Cause, Clause, How, Side, cause},
    groups::{CHANGE_EXAMPLES_MAX, CHANGE_GROUPS_MAX, ChangeCounts, ChangeExample, ChangeGroup, Changes},
};
use crate::domain::{
    decision::{Decision, Effect, Obligation, Outcome, Reason},
    decision_record::DecisionRecord,
};

/// What becomes of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Change {
    /// What was denied would be allowed.
    NewlyAllowed,
    /// What was allowed would be denied.
    NewlyDenied,
    /// It would be allowed or denied as it was, by other policies, for other reasons or with other obligations.
    Otherwise,
    /// Nothing changes.
    Same,
}

impl Change {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            Self::NewlyAllowed => "newly_allowed",
            Self::NewlyDenied => "newly_denied",
            Self::Otherwise => "otherwise",
            Self::Same => "same",
        }
    }
}

/// What counts of a decision when it is held against another.
#[derive(Clone, Copy, Debug)]
pub struct Made<'a> {
    /// How it came about.
    pub outcome: Outcome,
    /// The policies that determined it, sorted.
    pub policies: &'a [Arc<str>],
    /// Why.
    pub reasons: &'a [Reason],
    obligations: Obligations<'a>,
}

#[derive(Clone, Copy, Debug)]
enum Obligations<'a> {
    Recorded(&'a [Arc<str>]),
    Given(&'a [Obligation]),
}

impl Obligations<'_> {
    fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        let (recorded, given) = match self {
            Self::Recorded(ids) => (Some(ids.iter()), None),
            Self::Given(obligations) => (None, Some(obligations.iter().map(|obligation| &obligation.id))),
        };
        recorded.into_iter().flatten().chain(given.into_iter().flatten())
    }
}

impl<'a> From<&'a DecisionRecord> for Made<'a> {
    fn from(record: &'a DecisionRecord) -> Self {
        let DecisionRecord { outcome, determining_policies: policies, reasons, obligations, .. } = record;
        Self { outcome: *outcome, policies, reasons, obligations: Obligations::Recorded(obligations) }
    }
}

impl<'a> From<&'a Decision> for Made<'a> {
    fn from(decision: &'a Decision) -> Self {
        let Decision { outcome, determining_policies: policies, reasons, obligations, .. } = decision;
        Self { outcome: *outcome, policies, reasons, obligations: Obligations::Given(obligations) }
    }
}

impl Made<'_> {
    /// The code of the first reason; empty where there is none.
    pub fn code(&self) -> Arc<str> {
        self.reasons.first().map(|reason| Arc::clone(&reason.code)).unwrap_or_default()
    }

    /// The codes of the reasons, in order.
    pub fn codes(&self) -> impl Iterator<Item = &Arc<str>> {
        self.reasons.iter().map(|reason| &reason.code)
    }
}

/// What becomes of a decision, from what it was to what it would be. The words of reasons and the contents of obligations
/// don't count, their codes and ids do.
pub fn change(before: Made<'_>, after: Made<'_>) -> Change {
    match (before.outcome.effect(), after.outcome.effect()) {
        (Effect::Deny, Effect::Allow) => Change::NewlyAllowed,
        (Effect::Allow, Effect::Deny) => Change::NewlyDenied,
        _ => {
            let is_same = before.outcome == after.outcome
                && before.policies == after.policies
                && before.codes().eq(after.codes())
                && before.obligations.ids().eq(after.obligations.ids());
            if is_same { Change::Same } else { Change::Otherwise }
        }
    }
}
