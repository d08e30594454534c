//! What a caller must do with an allow, beyond doing what it asked for.

use std::sync::Arc;

use super::{
    access_request::{AccessRequest, Phase},
    decision::Obligation,
    id::EntityId,
    principal::Principal,
    profile::selection::select,
    realm::Realm,
    realm_file::ObligationRule,
    value::Value,
};

/// The obligations of an allow, in the order in which they are to be fulfilled.
///
/// Whoever asks for them has asked before whether the request is refused for its profile: an allow is never without the
/// profile that applies.
pub(super) fn obligations(realm: &Realm, principal: &Principal, request: &AccessRequest) -> Vec<Obligation> {
    let is_new = request.phases.iter().all(|values| values.phase == Phase::Proposed);
    let rules = realm.file.obligations.iter().filter(|(_, rule)| is_new && rule.actions.contains(&request.action));
    let profile = select(realm, principal, request).ok().flatten();
    let profile = profile.map(|profile| profile.obligation(&request.resource_type));
    rules.filter_map(|(id, rule)| obligation(realm, principal, id, rule)).chain(profile).collect()
}

/// `None` where the principal has no value for a parameter.
fn obligation(realm: &Realm, principal: &Principal, id: &str, rule: &ObligationRule) -> Option<Obligation> {
    let value = |(name, attribute): &(Arc<str>, Arc<str>)| {
        Some((Arc::clone(name), plain(realm, principal.attributes.get(attribute)?)))
    };
    let parameters: Option<_> = rule.parameters.iter().map(value).collect();
    Some(Obligation { id: id.into(), parameters: parameters? })
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
