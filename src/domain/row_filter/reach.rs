//! The ways from a type of entities up to another.

use std::{collections::BTreeSet, sync::Arc};

use crate::domain::realm::Realm;

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
