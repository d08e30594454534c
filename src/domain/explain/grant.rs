//! Grants that might turn a deny: strategies that the claim set doesn't have for the action and the resource type.

use std::sync::Arc;

use super::Fact;
use crate::domain::{access_request::AccessRequest, grants::Grant, principal::Principal, realm::Realm};

/// Each strategy alone and besides those that are granted, as far as it can be used.
pub(super) fn proposals(realm: &Realm, principal: &Principal, request: &AccessRequest) -> Vec<Fact> {
    let (Some(grants), Some(settings)) = (&realm.grants, &realm.file.grants) else { return Vec::new() };
    let Some(claim_set) = principal.claim_set.clone().filter(|name| !name.is_empty()) else { return Vec::new() };
    let now = grants.find(&claim_set, &request.resource_type.name, &request.action).grant;
    let has_strategies = now.is_granted && now.fault.is_none();
    let known = settings.strategies.iter().map(|(name, _)| name);
    let alone = known.clone().map(|name| vec![Arc::clone(name)]);
    let beside = known.filter(|name| has_strategies && !now.strategies.contains(name));
    let beside = beside.map(|name| now.strategies.iter().chain([name]).cloned().collect::<Vec<_>>());
    let facts = beside.chain(alone.filter(|_| !has_strategies)).filter_map(|strategies| {
        assumed(realm, request, &strategies)?;
        Some(Fact::Grant {
            claim_set: Arc::clone(&claim_set),
            resource_type: Arc::clone(&request.resource_type.name),
            action: Arc::clone(&request.action),
            strategies,
        })
    });
    facts.collect()
}

/// The grant of the action with these strategies; `None` where they cannot be used for it.
pub(super) fn assumed(realm: &Realm, request: &AccessRequest, strategies: &[Arc<str>]) -> Option<Grant> {
    let grants = realm.grants.as_ref()?;
    grants.assumed(strategies, &request.action, &request.resource_type, realm.file.grants.as_ref()?)
}
