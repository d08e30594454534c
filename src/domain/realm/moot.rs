//! Strategies that would check nothing: listed and looking at values, but with no policy that acts on them.
//!
//! A policy that permits whatever isn't checked otherwise has to know what is. Where it doesn't know a strategy, an author's
//! slip would allow everything under it, so that is a fault.

use std::sync::Arc;

use cedar_policy::{Context, Effect, EntityUid, Request, RestrictedExpression};

use super::Realm;
use crate::domain::{
    access_request::SETTLED_CONTEXT, cedar::with_situation, decide::expression, fault::Fault,
    policy_set::CompiledPolicy, realm_file::SETTINGS,
};

/// A fault for each strategy that looks at values and under which a policy permits by the grant alone, while no `forbid`
/// asks for that strategy in its first block.
pub(super) fn moot_strategies(realm: &Realm) -> Vec<Fault> {
    let strategies = realm.file.grants.iter().flat_map(|grants| &grants.strategies);
    let looking = strategies.filter(|(_, attributes)| !attributes.is_empty());
    let faults = looking.filter_map(|(strategy, attributes)| {
        let permitting = permitting_alone(realm, strategy)?;
        let forbids = realm.policies.iter().filter(|policy| policy.effect == Effect::Forbid);
        let is_asked_for = forbids.filter_map(|policy| policy.clauses.guard.as_ref()).any(|(_, text)| text == strategy);
        let attributes = attributes.join("`, `");
        let message = format!(
            "the strategy `{strategy}` is to look at `{attributes}`, but `{permitting}` permits under it and no forbid has \
             it in its first block"
        );
        (!is_asked_for).then(|| Fault::in_file("policies", message))
    });
    faults.collect()
}

/// A policy that permits some action under this strategy, by the strategies and without looking at anything but what
/// follows from the grant.
fn permitting_alone(realm: &Realm, strategy: &Arc<str>) -> Option<Arc<str>> {
    let permits = realm.policies.iter().filter(|policy| policy.effect == Effect::Permit);
    let alone = permits.filter(|policy| policy.clauses.are_settled_by("strategies", &SETTLED_CONTEXT));
    let alone: Vec<&CompiledPolicy> = alone.collect();
    realm.schema.action_uids.iter().find_map(|(action, uid)| {
        let request = granted(realm, action, uid, strategy)?;
        let holds = with_situation(&request, [], |situation| {
            alone
                .iter()
                .find(|policy| policy.clauses.may_hold(&SETTLED_CONTEXT, situation))
                .map(|policy| Arc::clone(&policy.id))
        });
        holds.flatten()
    })
}

/// A request that is granted under one strategy. Principal and resource are nobody's.
fn granted(realm: &Realm, action: &str, uid: &EntityUid, strategy: &Arc<str>) -> Option<Request> {
    let text = RestrictedExpression::new_string(strategy.to_string());
    let mut members = vec![
        ("claimSetHasResource", RestrictedExpression::new_bool(true)),
        ("actionGranted", RestrictedExpression::new_bool(true)),
        ("strategies", RestrictedExpression::new_set([text])),
    ];
    if let Some(settings) = realm.settings.get(action) {
        members.push((SETTINGS, expression(realm, settings)?));
    }
    let context = Context::from_pairs(members.into_iter().map(|(name, value)| (name.to_owned(), value))).ok()?;
    Request::new(uid.clone(), uid.clone(), uid.clone(), context, None).ok()
}
