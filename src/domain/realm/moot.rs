//! Strategies under which less would be checked than realm.toml says: unknown to the policies, permitted by the grant
//! alone, or listed with other attributes than the policies for them mention.
//!
//! A policy that permits whatever isn't checked otherwise has to know what is. Where it doesn't know a strategy, an author's
//! slip would allow everything under it, so that is a fault.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::{Context, Effect, EntityUid, Request, RestrictedExpression};

use super::{REALM_FILE, Realm};
use crate::domain::{
    access_request::SETTLED_CONTEXT,
    cedar::with_situation,
    decide::expression,
    fault::{Code, Fault},
    policy_set::CompiledPolicy,
    realm_file::SETTINGS,
    resource_type::LACKS,
};

/// The member of the context that holds the grant's strategies.
const STRATEGIES: &str = "strategies";

/// The faults of the strategies that `[grants.strategies]` lists.
pub(super) fn moot_strategies(realm: &Realm) -> Vec<Fault> {
    let strategies = realm.file.grants.iter().flat_map(|grants| &grants.strategies);
    let faults = strategies.flat_map(|(strategy, attributes)| {
        let whole = unnamed(realm, strategy).or_else(|| unchecked(realm, strategy, attributes));
        whole.map_or_else(|| unmentioned(realm, strategy, attributes), |fault| vec![fault])
    });
    faults.collect()
}

/// The fault of a strategy that no policy compares `context.strategies` with.
fn unnamed(realm: &Realm, strategy: &Arc<str>) -> Option<Fault> {
    let asked = (Arc::from(STRATEGIES), Arc::clone(strategy));
    let is_named = realm.policies.iter().any(|policy| policy.clauses.compared.contains(&asked));
    let message = || {
        format!(
            "no policy asks for the strategy `{strategy}`: write one with `context.strategies.contains(\"{strategy}\")`, \
             or take the strategy out of `grants.strategies`"
        )
    };
    (!is_named).then(|| Fault::in_file(REALM_FILE, message()).coded(Code::MootStrategy))
}

/// The fault of a strategy that looks at values and under which a policy permits by the grant alone, while no `forbid`
/// asks for that strategy in its first block.
fn unchecked(realm: &Realm, strategy: &Arc<str>, attributes: &[Arc<str>]) -> Option<Fault> {
    if attributes.is_empty() || guarded_by(realm, strategy).any(|policy| policy.effect == Effect::Forbid) {
        return None;
    }
    let permitting = permitting_alone(realm, strategy)?;
    let attributes = attributes.join("`, `");
    let message = format!(
        "the strategy `{strategy}` is to look at `{attributes}`, but `{permitting}` permits under it and no forbid has it in \
         its first block"
    );
    Some(Fault::in_file("policies", message).coded(Code::MootStrategy))
}

/// A fault for each attribute of a strategy that isn't mentioned by the policies for it that can hold under the realm's
/// settings, and for each that they mention and the list leaves out: a resource type that has none of the listed ones is
/// known to be unfit, one that has none of the others would pass.
fn unmentioned(realm: &Realm, strategy: &Arc<str>, attributes: &[Arc<str>]) -> Vec<Fault> {
    let guarded: Vec<&CompiledPolicy> = guarded_by(realm, strategy).collect();
    let mut mentioned: BTreeSet<&Arc<str>> = BTreeSet::new();
    for (action, uid) in &realm.schema.action_uids {
        let Some(request) = granted(realm, action, uid, strategy) else { continue };
        let _ = with_situation(&request, [], |situation| {
            let taking = guarded.iter().filter(|policy| realm.policies.takes(policy, uid));
            let holding = taking.filter(|policy| policy.clauses.may_hold(&SETTLED_CONTEXT, situation));
            let paths = holding.flat_map(|policy| &policy.clauses.list).flat_map(|clause| &clause.resource_paths);
            mentioned.extend(paths.filter_map(|path| path.first()));
        });
    }
    let unmentioned = attributes.iter().filter(|attribute| !mentioned.contains(attribute));
    let faults = unmentioned.map(|attribute| {
        let message = format!(
            "the strategy `{strategy}` is to look at `{attribute}`, but no policy with it in its first block that can hold \
             under the settings mentions `resource.{attribute}`: write or switch on one that does, or take `{attribute}` out of \
             `grants.strategies`"
        );
        Fault::in_file(REALM_FILE, message).coded(Code::MootStrategy)
    });
    let unlisted = mentioned.iter().filter(|attribute| ****attribute != *LACKS && !attributes.contains(attribute));
    let beside = unlisted.map(|attribute| {
        let message = format!(
            "the strategy `{strategy}` leaves out `{attribute}`, which a policy with it in its first block looks at: add it to \
             the list in `grants.strategies`"
        );
        Fault::in_file(REALM_FILE, message).coded(Code::MootStrategy)
    });
    faults.chain(beside).collect()
}

/// The policies that ask for the strategy in their first block.
fn guarded_by<'a>(realm: &'a Realm, strategy: &'a Arc<str>) -> impl Iterator<Item = &'a CompiledPolicy> {
    let is_guard = move |(attribute, text): &(Arc<str>, Arc<str>)| **attribute == *STRATEGIES && text == strategy;
    realm.policies.iter().filter(move |policy| policy.clauses.guard.as_ref().is_some_and(is_guard))
}

/// A policy that permits some action under this strategy, by the strategies and without looking at anything but what
/// follows from the grant.
fn permitting_alone(realm: &Realm, strategy: &Arc<str>) -> Option<Arc<str>> {
    let permits = realm.policies.iter().filter(|policy| policy.effect == Effect::Permit);
    let alone = permits.filter(|policy| policy.clauses.are_settled_by(STRATEGIES, &SETTLED_CONTEXT));
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
        (STRATEGIES, RestrictedExpression::new_set([text])),
    ];
    if let Some(settings) = realm.settings.get(action) {
        members.push((SETTINGS, expression(realm, settings)?));
    }
    let context = Context::from_pairs(members.into_iter().map(|(name, value)| (name.to_owned(), value))).ok()?;
    Request::new(uid.clone(), uid.clone(), uid.clone(), context, None).ok()
}
