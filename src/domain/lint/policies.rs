//! Policies beside each other: which count for nothing, because of others or for want of them.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::Effect;

use super::Found;
use crate::domain::{
    conjunct::Says,
    fault::{Code, Fault},
    policy_set::CompiledPolicy,
    realm::Realm,
};

/// A policy with what it asks for.
struct Asking<'a> {
    policy: &'a CompiledPolicy,
    /// Its conditions but for those that always hold.
    says: BTreeSet<Says>,
}

pub(super) fn check(realm: &Realm) -> Vec<Found> {
    if realm.policies.is_empty() {
        let message = "the realm has no policy: every request is denied";
        let help = "write a policy into a file whose name ends in `.cedar`";
        return vec![(None, Fault::in_file("realm.toml", message).coded(Code::NoPolicies).helped(help))];
    }
    let asking = |policy| Asking { policy, says: asked(policy) };
    let all: Vec<Asking<'_>> = realm.policies.iter().map(asking).collect();
    let mut found: Vec<Found> = Vec::new();
    for (index, one) in all.iter().enumerate() {
        let fault =
            same(realm, &all, index).or_else(|| forbidden(realm, &all, one)).or_else(|| shadowed(realm, &all, one));
        let unconditional = unconditional(one);
        let about = |fault| (Some(Arc::clone(&one.policy.id)), fault);
        found.extend(fault.into_iter().chain(unconditional).chain(ineffective(one)).map(about));
    }
    found.extend(never_permitted(realm).into_iter().map(|fault| (None, fault)));
    found
}

/// What a policy asks, without what always holds.
fn asked(policy: &CompiledPolicy) -> BTreeSet<Says> {
    let conjuncts = policy.conjuncts.iter();
    conjuncts
        .filter(|conjunct| conjunct.constant() != Some(true))
        .map(crate::domain::conjunct::Conjunct::says)
        .collect()
}

/// The fault of a policy that says what one before it says.
fn same(realm: &Realm, all: &[Asking<'_>], index: usize) -> Option<Fault> {
    let one = all.get(index)?;
    let is_same = |other: &&Asking<'_>| {
        other.policy.effect == one.policy.effect
            && other.says == one.says
            && realm.policies.covers(other.policy, one.policy)
            && realm.policies.covers(one.policy, other.policy)
            && tells_the_same(other.policy, one.policy)
    };
    let other = all.iter().take(index).find(is_same)?;
    let message = format!("the policy `{}` says what `{}` says already", one.policy.id, other.policy.id);
    Some(one.policy.fault(message).coded(Code::DuplicatePolicy).helped("take one of both out"))
}

/// Both give the same reason and the same obligations; how they are called and put in words may differ.
fn tells_the_same(one: &CompiledPolicy, other: &CompiledPolicy) -> bool {
    ["reason", "missing", "denial"].iter().all(|name| one.annotation(name) == other.annotation(name))
        && one.obligations == other.obligations
}

/// The fault of a permit that a forbid takes back wherever it applies.
fn forbidden(realm: &Realm, all: &[Asking<'_>], one: &Asking<'_>) -> Option<Fault> {
    if one.policy.effect != Effect::Permit {
        return None;
    }
    let forbids = all.iter().filter(|other| other.policy.effect == Effect::Forbid);
    let by = forbids.into_iter().find(|other| is_wider(realm, other, one))?;
    let message =
        format!("the permit `{}` counts for nothing: wherever it applies, `{}` forbids", one.policy.id, by.policy.id);
    let help = format!("narrow `{}` with an `unless`, or take the permit out", by.policy.id);
    Some(one.policy.fault(message).coded(Code::AlwaysForbidden).helped(help))
}

/// The fault of a permit that permits nothing that another doesn't.
fn shadowed(realm: &Realm, all: &[Asking<'_>], one: &Asking<'_>) -> Option<Fault> {
    if one.policy.effect != Effect::Permit {
        return None;
    }
    let adds_nothing = |other: &&Asking<'_>| {
        other.policy.id != one.policy.id
            && other.policy.effect == Effect::Permit
            && is_wider(realm, other, one)
            // Of two that are as wide the first is kept.
            && !(is_wider(realm, one, other))
            && one.policy.obligations.iter().all(|id| other.policy.obligations.contains(id))
    };
    let by = all.iter().find(adds_nothing)?;
    let message = format!("the permit `{}` adds nothing: `{}` permits all of it", one.policy.id, by.policy.id);
    let help = format!("take it out, or narrow `{}`", by.policy.id);
    Some(one.policy.fault(message).coded(Code::ShadowedPolicy).helped(help))
}

/// Wherever the second applies the first does: its scope takes as much, and it asks for nothing else.
fn is_wider(realm: &Realm, wide: &Asking<'_>, narrow: &Asking<'_>) -> bool {
    realm.policies.covers(wide.policy, narrow.policy) && wide.says.is_subset(&narrow.says)
}

/// The fault of a permit that asks for nothing and whose scope names no entity.
fn unconditional(one: &Asking<'_>) -> Option<Fault> {
    let policy = one.policy;
    if policy.effect != Effect::Permit || !one.says.is_empty() || policy.names_an_entity() {
        return None;
    }
    let message =
        format!("the permit `{}` has no condition: who has any token may do this to every resource", policy.id);
    let help = "add a `when`, or say why it is meant: `@accept(\"unconditional-permit: …\")`";
    Some(policy.fault(message).coded(Code::UnconditionalPermit).helped(help))
}

/// The faults of annotations about why a permit didn't hold, where it always does.
fn ineffective(one: &Asking<'_>) -> Vec<Fault> {
    let policy = one.policy;
    if policy.effect != Effect::Permit || !one.says.is_empty() {
        return Vec::new();
    }
    let about_denials = ["reason", "missing", "message", "hint", "precedence", "denial"];
    let told = about_denials.into_iter().filter(|name| policy.annotation(name).is_some());
    let fault = |name| {
        let message =
            format!("`@{name}` is told where a condition doesn't hold, and the permit `{}` has none", policy.id);
        policy.annotation_fault(name, message).coded(Code::IneffectiveAnnotation).helped("take it out, or add a `when`")
    };
    told.map(fault).collect()
}

/// The faults of actions that no permit takes.
fn never_permitted(realm: &Realm) -> Vec<Fault> {
    let asked = realm.schema.actions.iter().filter(|(_, shape)| !shape.principals.is_empty());
    let denied = asked.filter(|(action, _)| {
        let uid = realm.schema.action_uids.get(*action);
        let takes = |uid| {
            realm.policies.iter().any(|policy| policy.effect == Effect::Permit && realm.policies.takes(policy, uid))
        };
        uid.is_some_and(|uid| !takes(uid))
    });
    let fault = |action: &Arc<str>| {
        let message = format!("no permit takes the action `{action}`: it is always denied");
        let help = "write a permit for it, or take it out of the schema";
        Fault::in_file("schema.cedarschema", message).coded(Code::NeverPermitted).helped(help)
    };
    denied.map(|(action, _)| fault(action)).collect()
}
