//! Which policies can apply to a question: found once for a kind of question, then by who asks and what is asked about.

use std::{collections::HashMap, sync::Arc};

use cedar_policy::{EntityUid, Request};
use quick_cache::sync::Cache;

use super::{CompiledPolicy, PolicySet, scope::Scope};
use crate::domain::{cedar::with_situation, grants::ASSUMED, looks::Looks};

/// The question that a plan is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::domain) struct PlanKey {
    pub(in crate::domain) action: Arc<str>,
    pub(in crate::domain) principal_type: Arc<str>,
    pub(in crate::domain) resource_type: Arc<str>,
    /// The number of the grant whose strategies the context holds; 0 without grants.
    pub(in crate::domain) grant: u32,
}

/// The policies that can apply to a kind of question, and the facts that they look at.
#[derive(Debug)]
pub(in crate::domain) struct Plan {
    /// The policies that name neither a principal nor a resource.
    always: Arc<Candidates>,
    by_principal: HashMap<EntityUid, Vec<usize>>,
    by_resource: HashMap<EntityUid, Vec<usize>>,
    chosen: Cache<Vec<usize>, Arc<Candidates>>,
    action: Option<EntityUid>,
    /// Some scope asks what contains the principal.
    pub(in crate::domain) asks_principal_ancestors: bool,
    /// Some scope asks what contains the resource.
    pub(in crate::domain) asks_resource_ancestors: bool,
}

impl Plan {
    /// Some policies apply to some resources of the type by their names.
    pub(in crate::domain) fn names_resources(&self) -> bool {
        !self.by_resource.is_empty()
    }
}

/// The policies of one decision.
#[derive(Debug, Default)]
pub(in crate::domain) struct Candidates {
    pub(in crate::domain) indexes: Vec<usize>,
    /// What they look into.
    pub(in crate::domain) looks: Looks,
}

impl PolicySet {
    /// The plan for a kind of question. `settled` and `derived` name the members of the context that are the same for all
    /// of them, and `example` is one of them: what a policy asks of these members alone is found out here, once.
    pub(in crate::domain) fn plan(
        &self,
        key: &PlanKey,
        settled: &[&str],
        derived: &[Arc<str>],
        example: impl FnOnce() -> Option<Request>,
    ) -> Arc<Plan> {
        // What is only assumed has no number of its own.
        let is_kept = key.grant != ASSUMED + 1;
        if let Some(plan) = self.plans.get(key).filter(|_| is_kept) {
            return plan;
        }
        let settled: Vec<&str> = settled.iter().copied().chain(derived.iter().map(|name| &**name)).collect();
        let passing = example().filter(|_| self.prunes).and_then(|request| {
            with_situation(&request, [], |situation| {
                let passes = |policy: &CompiledPolicy| policy.clauses.may_hold(&settled, situation);
                self.iter().map(passes).collect::<Vec<bool>>()
            })
        });
        let plan = Arc::new(self.make_plan(key, passing.as_deref().unwrap_or_default()));
        if is_kept {
            self.plans.insert(key.clone(), Arc::clone(&plan));
        }
        plan
    }

    /// Policies that pass are `true` at their place; without a place a policy passes.
    fn make_plan(&self, key: &PlanKey, passing: &[bool]) -> Plan {
        let mut plan = Plan {
            always: Arc::default(),
            by_principal: HashMap::new(),
            by_resource: HashMap::new(),
            chosen: Cache::new(65_536),
            action: self.actions.get(&key.action).cloned(),
            asks_principal_ancestors: false,
            asks_resource_ancestors: false,
        };
        let mut always = Vec::new();
        for (index, policy) in self.policies.iter().enumerate() {
            let scope = &policy.scope;
            let fits = scope.fits_action(plan.action.as_ref(), &self.groups)
                && scope.principal.fits_type(&key.principal_type)
                && scope.resource.fits_type(&key.resource_type)
                && passing.get(index).is_none_or(|passes| *passes);
            if !fits {
                continue;
            }
            plan.asks_principal_ancestors |= scope.principal.is_in;
            plan.asks_resource_ancestors |= scope.resource.is_in;
            match (&scope.principal.entity, &scope.resource.entity) {
                (Some(uid), _) => plan.by_principal.entry(uid.clone()).or_default().push(index),
                (None, Some(uid)) => plan.by_resource.entry(uid.clone()).or_default().push(index),
                (None, None) => always.push(index),
            }
        }
        plan.always = Arc::new(self.candidates_of(plan.action.as_ref(), always));
        plan
    }

    fn candidates_of(&self, action: Option<&EntityUid>, indexes: Vec<usize>) -> Candidates {
        let mut looks = Looks::default();
        for policy in indexes.iter().filter_map(|index| self.policies.get(*index)) {
            looks.merge(&policy.clauses.looks);
            let scope = &policy.scope;
            if scope.is_settled() {
                continue;
            }
            looks.principal.asks_ancestors |= scope.principal.is_in;
            looks.resource.asks_ancestors |= scope.resource.is_in;
            let named = action.zip(scope.action.as_ref());
            looks.action.asks_ancestors |= named.is_some_and(|(action, named)| !named.contains(action));
        }
        Candidates { indexes, looks }
    }

    /// The places of the policies whose scopes take a question: by its action and types, and by everything that contains
    /// principal and resource, these themselves first. What policies ask besides doesn't count.
    pub(in crate::domain) fn in_scope(
        &self,
        key: &PlanKey,
        principals: &[EntityUid],
        resources: &[EntityUid],
    ) -> Vec<usize> {
        let action = self.actions.get(&key.action);
        let fits = |scope: &Scope| {
            scope.fits_action(action, &self.groups)
                && scope.principal.fits_type(&key.principal_type)
                && scope.principal.fits(principals)
                && scope.resource.fits_type(&key.resource_type)
                && scope.resource.fits(resources)
        };
        let places = self.policies.iter().enumerate().filter(|(_, policy)| fits(&policy.scope));
        places.map(|(place, _)| place).collect()
    }

    /// The policies that can apply to this principal and resource: both with everything that contains them.
    pub(in crate::domain) fn candidates<'a>(
        &self,
        plan: &Plan,
        principals: impl Iterator<Item = &'a EntityUid>,
        resources: impl Iterator<Item = &'a EntityUid>,
    ) -> Arc<Candidates> {
        if plan.by_principal.is_empty() && plan.by_resource.is_empty() {
            return Arc::clone(&plan.always);
        }
        let by_principal = principals.filter_map(|uid| plan.by_principal.get(uid)).flatten();
        let by_resource = resources.filter_map(|uid| plan.by_resource.get(uid)).flatten();
        let mut named: Vec<usize> = by_principal.chain(by_resource).copied().collect();
        if named.is_empty() {
            return Arc::clone(&plan.always);
        }
        named.sort_unstable();
        named.dedup();
        if let Some(chosen) = plan.chosen.get(&named) {
            return chosen;
        }
        let mut indexes: Vec<usize> = plan.always.indexes.iter().chain(&named).copied().collect();
        indexes.sort_unstable();
        let candidates = Arc::new(self.candidates_of(plan.action.as_ref(), indexes));
        plan.chosen.insert(named, Arc::clone(&candidates));
        candidates
    }
}
