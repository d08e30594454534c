//! What a shadow has counted.

use std::collections::BTreeMap;

use super::question::Seen;
use crate::domain::{
    decision::{Decision, Effect},
    id::PolicyVersion,
};

/// The counts of a shadow. They are of one pair of versions: with other policies at work they begin anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// The digest of the policies that the candidate is held against.
    pub live: PolicyVersion,
    /// Since when is counted, in microseconds since the epoch.
    pub since_us: i64,
    /// Decisions that came out the same: by outcome, policies and reason codes.
    pub same: u64,
    /// Decisions with the same effect, but another outcome, other policies or other reasons.
    pub otherwise: u64,
    /// Denied, and the candidate allows it.
    pub newly_allowed: u64,
    /// Allowed, and the candidate denies it.
    pub newly_denied: u64,
    /// Decisions that the candidate can't make, by the code of why. None of them is the same.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Tallied {
    /// How many decisions were made by both.
    pub fn compared(&self) -> u64 {
        self.same + self.otherwise + self.newly_allowed + self.newly_denied
    }
}

/// The counts as they are kept.
#[derive(Debug)]
pub(super) struct Tally(Tallied);

impl Tally {
    /// Nothing yet.
    pub(super) fn since(live: PolicyVersion, since_us: i64) -> Self {
        Self(Tallied {
            live,
            since_us,
            same: 0,
            otherwise: 0,
            newly_allowed: 0,
            newly_denied: 0,
            refused: BTreeMap::new(),
        })
    }

    /// The policies that the candidate is held against.
    pub(super) fn live(&self) -> &PolicyVersion {
        &self.0.live
    }

    /// Takes in what the candidate made of a decision.
    pub(super) fn add(&mut self, seen: &Seen, judged: Result<Decision, &'static str>) {
        let Tallied { same, otherwise, newly_allowed, newly_denied, refused, .. } = &mut self.0;
        let count = match judged {
            Err(code) => refused.entry(code).or_default(),
            Ok(decision) => match (seen.decision.outcome.effect(), decision.outcome.effect()) {
                (Effect::Deny, Effect::Allow) => newly_allowed,
                (Effect::Allow, Effect::Deny) => newly_denied,
                _ if is_same(&seen.decision, &decision) => same,
                _ => otherwise,
            },
        };
        *count += 1;
    }

    pub(super) fn told(&self) -> Tallied {
        self.0.clone()
    }
}

fn is_same(live: &Decision, candidate: &Decision) -> bool {
    let codes = |decision: &Decision| decision.reasons.iter().map(|reason| reason.code.clone()).collect::<Vec<_>>();
    live.outcome == candidate.outcome
        && live.determining_policies == candidate.determining_policies
        && codes(live) == codes(candidate)
}
