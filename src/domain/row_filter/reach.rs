//! The ways from a type of entities up to another.

use std::{collections::BTreeSet, sync::Arc};

use crate::domain::{id_path::PathRule, principal::Principal, realm::Realm};

/// How entities of a type come to be within those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By relationships, or by what their ids begin with.
    Related,
    /// By their path alone: the two types are one.
    Path(PathRule),
    /// By paths and by something else, one after the other.
    Mixed,
}

/// The way from a type up to another.
pub(super) fn way(realm: &Realm, principal: &Principal, from: &Arc<str>, to: &Arc<str>) -> Way {
    let leads_there = |name: &&Arc<str>| types_above(realm, name).contains(to);
    let above = types_above(realm, from);
    let passed: Vec<&Arc<str>> = above.iter().filter(leads_there).collect();
    if !passed.iter().any(|name| realm.relations.path(name).is_some()) {
        return Way::Related;
    }
    // What lies in the principal is in what its token names too.
    let by_token = passed.contains(&&principal.entity.entity_type) && !principal.parents.is_empty();
    match realm.relations.path(from) {
        Some(rule) if from == to && !by_token && relations_between(realm, from, to).is_empty() => Way::Path(rule),
        _ => Way::Mixed,
    }
}

/// What contains an entity of this type may do so by a path.
pub(super) fn follows_paths(realm: &Realm, from: &Arc<str>) -> bool {
    types_above(realm, from).iter().any(|name| realm.relations.path(name).is_some())
}

/// The type and the types of whatever may contain its entities by stored relationships.
pub(super) fn types_above(realm: &Realm, entity_type: &Arc<str>) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::from([Arc::clone(entity_type)]);
    let mut open = vec![Arc::clone(entity_type)];
    while let Some(current) = open.pop() {
        for (_, above) in steps(realm, &current) {
            if found.insert(Arc::clone(above)) {
                open.push(Arc::clone(above));
            }
        }
    }
    found
}

/// The relations of all ways from one type up to another, those of the first steps first.
pub(super) fn relations_between(realm: &Realm, from: &Arc<str>, to: &Arc<str>) -> Vec<Arc<str>> {
    let mut found: Vec<Arc<str>> = Vec::new();
    let mut met = vec![Arc::clone(from)];
    let mut place = 0;
    while let Some(current) = met.get(place).cloned() {
        place += 1;
        for (name, above) in steps(realm, &current) {
            if !types_above(realm, above).contains(to) {
                continue;
            }
            if !found.contains(name) {
                found.push(Arc::clone(name));
            }
            if !met.contains(above) {
                met.push(Arc::clone(above));
            }
        }
    }
    found
}

/// The relations by which entities of a type are in others, with the types of those. From a history the steps are those of
/// the type whose past it shows, and lead to histories where there are any.
fn steps<'a>(realm: &'a Realm, entity_type: &'a Arc<str>) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> {
    let base = realm.relations.history_of(entity_type);
    let rules = realm.relations.relation_rules().filter(move |(_, rule)| rule.subject == *base.unwrap_or(entity_type));
    rules.map(move |(name, rule)| {
        let history = base.and_then(|_| realm.relations.history(&rule.object));
        (name, history.unwrap_or(&rule.object))
    })
}
