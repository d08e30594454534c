//! What a shadow has counted.

use std::collections::BTreeMap;

use super::worker::Changed;
use crate::domain::{id::PolicyVersion, replay::Changes};

/// The counts of a shadow. They are of one pair of versions: with other policies at work they begin anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tallied {
    /// The digest of the policies that the candidate is held against.
    pub live: PolicyVersion,
    /// Since when is counted, in microseconds since the epoch.
    pub since_us: i64,
    /// Decisions that both made, by what becomes of them and why. Examples name nobody.
    pub changes: Changes,
    /// Decisions that the candidate can't make, by the code of why. None of them is the same.
    pub refused: BTreeMap<&'static str, u64>,
}

impl Tallied {
    /// Nothing yet.
    pub(super) fn since(live: PolicyVersion, since_us: i64) -> Self {
        Self { live, since_us, changes: Changes::default(), refused: BTreeMap::new() }
    }

    /// Takes in what the candidate made of a decision.
    pub(super) fn add(&mut self, judged: Result<Option<Changed>, &'static str>) {
        match judged {
            Ok(None) => self.changes.add_same(),
            Ok(Some(Changed { change, cause, example })) => self.changes.add(change, cause, || example),
            Err(code) => *self.refused.entry(code).or_default() += 1,
        }
    }
}
