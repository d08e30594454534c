//! The conditions of each policy by themselves: those that can never all hold, and those that stand twice.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Found;
use crate::domain::{
    conjunct::{Bound, Conjunct},
    fault::{Code, Fault, Severity},
    policy_set::CompiledPolicy,
    policy_text::on_one_line,
    realm::Realm,
};

pub(super) fn check(realm: &Realm) -> Vec<Found> {
    let mut found: Vec<Found> = Vec::new();
    for policy in realm.policies.iter() {
        let id = || Some(Arc::clone(&policy.id));
        let never = constant(policy).or_else(|| contradiction(policy));
        let is_found = never.is_some();
        found.extend(never.map(|fault| (id(), fault)));
        found.extend(repeated(policy).map(|fault| (id(), fault)));
        let warned = realm.policies.warnings.iter().filter(|(about, _)| *about == policy.id);
        // What no action applies to is impossible as well.
        let is_found = is_found || warned.clone().any(|(_, fault)| fault.code == Code::NotApplicable);
        let further = warned.filter(|(_, fault)| !(is_found && fault.code == Code::NeverApplies));
        found.extend(further.map(|(_, fault)| (id(), told(policy, fault))));
        found.extend(unknown_strategies(realm, policy).into_iter().map(|fault| (id(), fault)));
    }
    found
}

fn at(conjunct: &Conjunct, message: String) -> Fault {
    Fault { message, ..conjunct.place.clone() }
}

fn shown(conjunct: &Conjunct) -> String {
    let text: String = on_one_line(&conjunct.text);
    if text.chars().count() <= SHOWN_MAX { text } else { text.chars().take(SHOWN_MAX).chain("…".chars()).collect() }
}

/// The most of a condition that a message repeats, in characters.
const SHOWN_MAX: usize = 80;

/// The fault of a condition that looks at nothing and is never as it must be.
fn constant(policy: &CompiledPolicy) -> Option<Fault> {
    let never = policy.conjuncts.iter().find(|conjunct| conjunct.constant() == Some(false))?;
    let message = format!("the policy `{}` never applies: this is the same for every request", policy.id);
    let help = "mend the condition, or take the policy out";
    Some(at(never, message).coded(Code::NeverApplies).helped(help))
}

/// The fault of two conditions that exclude each other, at the second.
fn contradiction(policy: &CompiledPolicy) -> Option<Fault> {
    let mut bounds: BTreeMap<String, Vec<(Bound, &Conjunct)>> = BTreeMap::new();
    for (index, conjunct) in policy.conjuncts.iter().enumerate() {
        let says = conjunct.says();
        let opposite = policy.conjuncts.iter().take(index).find(|other| other.says().is_opposite(&says));
        let excluded = opposite.or_else(|| {
            let (path, bound) = conjunct.bound()?;
            let before = bounds.entry(path).or_default();
            let other = before.iter().find(|(other, _)| other.excludes(&bound)).map(|(_, other)| *other);
            before.push((bound, conjunct));
            other
        });
        if let Some(other) = excluded {
            let message = format!(
                "the policy `{}` never applies: this and `{}` in line {} exclude each other",
                policy.id,
                shown(other),
                other.place.line
            );
            let help = "were alternatives meant? join them by `||`";
            return Some(at(conjunct, message).coded(Code::NeverApplies).helped(help));
        }
    }
    None
}

/// The faults of conditions that stand in the policy already.
fn repeated(policy: &CompiledPolicy) -> impl Iterator<Item = Fault> + '_ {
    let mut known = BTreeSet::new();
    let again = policy.conjuncts.iter().filter(move |conjunct| !known.insert(conjunct.says()));
    again.map(|conjunct| {
        let message = format!("the policy `{}` asks for `{}` already", policy.id, shown(conjunct));
        at(conjunct, message)
            .coded(Code::RepeatedCondition)
            .helped("take one of both out; was another attribute meant?")
    })
}

/// What Cedar's validation warns of, in our words where it only says that a policy is impossible.
fn told(policy: &CompiledPolicy, fault: &Fault) -> Fault {
    if fault.code == Code::NotApplicable {
        // A forbid that never applies would silently permit.
        let message =
            format!("no action in the scope of `{}` applies to a principal and a resource like these", policy.id);
        return policy.fault(message).coded(Code::NotApplicable).helped(Code::NotApplicable.fix());
    }
    if fault.code != Code::NeverApplies {
        return Fault { severity: Severity::Warning, ..fault.clone() };
    }
    let message =
        format!("the policy `{}` never applies: for every principal, action and resource of the schema", policy.id);
    let help = "compare its types with the action's `appliesTo`, and its conditions with each other";
    match policy.conjuncts.get(policy.impossible_from.unwrap_or(usize::MAX)) {
        Some(conjunct) => {
            let message =
                format!("the policy `{}` never applies: by the types of the schema this never holds here", policy.id);
            at(conjunct, message).coded(Code::NeverApplies).helped(help)
        }
        None => policy.fault(message).coded(Code::NeverApplies).helped(help),
    }
}

/// The faults of strategies that a policy asks for and realm.toml doesn't list.
fn unknown_strategies(realm: &Realm, policy: &CompiledPolicy) -> Vec<Fault> {
    let Some(grants) = &realm.file.grants else { return Vec::new() };
    let known = || grants.strategies.iter().map(|(name, _)| &**name);
    let asked = policy.clauses.compared.iter().filter(|(member, _)| **member == *"strategies");
    let unknown = asked.map(|(_, name)| name).filter(|name| !known().any(|known| known == &***name));
    let fault = |name: &Arc<str>| {
        let message = format!(
            "the policy `{}` asks for the strategy `{name}`, which `grants.strategies` doesn't list",
            policy.id
        );
        let quoted = format!("\"{name}\"");
        let place = policy.conjuncts.iter().find(|conjunct| conjunct.text.contains(&quoted));
        let fault = place.map_or_else(|| policy.fault(message.clone()), |conjunct| at(conjunct, message.clone()));
        fault.coded(Code::UnknownStrategy).helped("list it in `grants.strategies`").near(name, known())
    };
    unknown.map(fault).collect()
}
