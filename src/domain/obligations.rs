//! What a caller must do with an allow, beyond doing what it asked for.

use std::sync::Arc;

use cedar_policy::Effect;

use super::{
    access_request::{AccessRequest, Phase},
    decision::{Obligation, Reason},
    id::EntityId,
    principal::Principal,
    profile::selection::select,
    realm::Realm,
    realm_file::{ObligationParameter, ObligationRule},
    value::Value,
};

/// The names in a policy's `@obligation`, which stand between commas; none where the policy has no such annotation.
///
/// # Errors
/// What is wrong with the annotation.
pub(super) fn named_obligations(effect: Effect, said: Option<&Arc<str>>) -> Result<Vec<Arc<str>>, String> {
    let Some(said) = said else { return Ok(Vec::new()) };
    if effect == Effect::Forbid {
        return Err("a forbid carries no obligation, expected `@obligation` on permits alone".to_owned());
    }
    let ids: Vec<Arc<str>> = said.split(',').map(|id| id.trim().into()).collect();
    if ids.iter().any(|id| id.is_empty()) {
        return Err(
            "`@obligation` has an empty name, expected names of obligations with commas between them".to_owned()
        );
    }
    Ok(ids)
}

/// What every one of these permits carries: one that doesn't lifts the obligation.
pub(super) fn carried_by_all<'a>(mut permits: impl Iterator<Item = &'a [Arc<str>]>) -> Vec<Arc<str>> {
    let mut carried = permits.next().map(<[Arc<str>]>::to_vec).unwrap_or_default();
    for obligations in permits {
        carried.retain(|id| obligations.contains(id));
    }
    carried
}

/// The obligations of an allow, in the order in which they are to be fulfilled. `carried` are those that follow from the
/// permits that hold.
///
/// Whoever asks for them has asked before whether the request is refused for its profile: an allow is never without the
/// profile that applies.
///
/// # Errors
/// A value is missing without which the caller could not do what a permit asks for: then there is no allow.
pub(super) fn obligations(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    carried: &[Arc<str>],
) -> Result<Vec<Obligation>, Reason> {
    let is_new = request.phases.iter().all(|values| values.phase == Phase::Proposed);
    let mut obligations = Vec::new();
    for (id, rule) in &realm.file.obligations {
        let is_carried = carried.contains(id);
        let is_of_action = is_new && rule.actions.contains(&request.action);
        if !is_carried && !is_of_action {
            continue;
        }
        match obligation(realm, principal, id, rule) {
            Ok(obligation) => obligations.push(obligation),
            Err(attribute) if is_carried => return Err(incomplete(id, attribute)),
            Err(_) => {}
        }
    }
    let profile = select(realm, principal, request).ok().flatten();
    obligations.extend(profile.map(|profile| profile.obligation(&request.resource_type)));
    Ok(obligations)
}

fn incomplete(id: &str, attribute: &str) -> Reason {
    let message = format!("an allow would carry the obligation `{id}`, for which the principal has no `{attribute}`");
    Reason::plain("OBLIGATION_INCOMPLETE", message)
}

/// # Errors
/// The attribute of which the principal has no value that fits.
fn obligation<'r>(
    realm: &Realm,
    principal: &Principal,
    id: &Arc<str>,
    rule: &'r ObligationRule,
) -> Result<Obligation, &'r Arc<str>> {
    let mut parameters: Vec<(Arc<str>, Value)> =
        rule.constants.iter().map(|(name, value)| (Arc::clone(name), value.clone())).collect();
    for (name, ObligationParameter { attribute, split }) in &rule.parameters {
        let value = principal.attributes.get(attribute);
        let value = value.and_then(|value| match split {
            None => Some(plain(realm, value)),
            Some(separator) => parts(value, separator),
        });
        parameters.push((Arc::clone(name), value.ok_or(attribute)?));
    }
    Ok(Obligation { id: Arc::clone(id), parameters: parameters.into_iter().collect() })
}

/// The parts of a text or of an entity's id.
fn parts(value: &Value, separator: &str) -> Option<Value> {
    let (Value::String(text) | Value::Entity(EntityId { id: text, .. })) = value else { return None };
    Some(Value::List(text.split(separator).map(|part| Value::String(part.into())).collect()))
}

/// A value as the caller writes it: of an entity the id, as a number where its ids are numbers.
pub(super) fn plain(realm: &Realm, value: &Value) -> Value {
    match value {
        Value::Entity(EntityId { entity_type, id }) => {
            let is_integer = realm.relations.entity(entity_type).is_some_and(|rules| rules.is_integer);
            let number = id.parse().ok().filter(|_| is_integer);
            number.map_or_else(|| Value::String(Arc::clone(id)), Value::Long)
        }
        Value::List(items) => Value::List(items.iter().map(|item| plain(realm, item)).collect()),
        other => other.clone(),
    }
}
