//! A set with a policy changed: for tests of the tests, and for those who watch how policies are decided by.

use std::sync::Arc;

use cedar_policy::{EntityUid, Policy};
use quick_cache::sync::Cache;

use super::{CompiledPolicy, PolicySet, SourceFile};
use crate::domain::schema::RealmSchema;

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
            warnings: self.warnings.clone(),
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
    /// The scopes of both policies take the same questions that the schema allows for.
    pub(in crate::domain) fn takes_alike(
        &self,
        one: &CompiledPolicy,
        other: &CompiledPolicy,
        schema: &RealmSchema,
    ) -> bool {
        let entities = |policy: &CompiledPolicy| {
            let named = |uid: &Option<EntityUid>, is_in| uid.as_ref().map(|uid| (uid.clone(), is_in));
            let (principal, resource) = (&policy.scope.principal, &policy.scope.resource);
            [named(&principal.entity, principal.is_in), named(&resource.entity, resource.is_in)]
        };
        let takes = |policy: &CompiledPolicy, action: &str, principal: &str, resource: &str| {
            self.actions.get(action).is_some_and(|uid| self.takes(policy, uid))
                && policy.scope.principal.fits_type(principal)
                && policy.scope.resource.fits_type(resource)
        };
        entities(one) == entities(other)
            && schema.actions.iter().all(|(action, shape)| {
                shape.principals.iter().all(|principal| {
                    shape.resources.iter().all(|resource| {
                        takes(one, action, principal, resource) == takes(other, action, principal, resource)
                    })
                })
            })
    }
}

impl CompiledPolicy {
    /// A policy of a changed text; `None` where an annotation does not fit it any more.
    pub(in crate::domain) fn changed(policy: &Policy, file: &SourceFile) -> Option<Self> {
        Self::of(policy, file).ok()
    }
}
