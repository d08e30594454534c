//! A set with a policy changed: for tests of the tests, and for those who watch how policies are decided by.

use std::sync::Arc;

use quick_cache::sync::Cache;

use super::{CompiledPolicy, PolicySet};

/// How many plans a set keeps that lives no longer than a run of tests.
const PLANS_MAX: usize = 256;

impl PolicySet {
    /// The same policies for a realm of other grants or settings: plans depend on these.
    pub(in crate::domain) fn again(&self) -> Self {
        Self {
            policies: self.policies.clone(),
            prunes: self.prunes,
            plans: Cache::new(PLANS_MAX),
            groups: self.groups.clone(),
            actions: self.actions.clone(),
        }
    }

    /// The same policies, each of them a candidate of every question that fits its scope, also where its first clauses
    /// rule it out. Decides alike.
    pub(in crate::domain) fn without_pruning(&self) -> Self {
        Self { prunes: false, ..self.again() }
    }

    /// The set with the policy at this place changed, or left out.
    pub(in crate::domain) fn with(&self, index: usize, changed: Option<&Arc<CompiledPolicy>>) -> Self {
        let mut set = self.again();
        match (set.policies.get_mut(index), changed) {
            (Some(policy), Some(changed)) => *policy = Arc::clone(changed),
            (Some(_), None) => drop(set.policies.remove(index)),
            (None, _) => {}
        }
        set
    }
}
