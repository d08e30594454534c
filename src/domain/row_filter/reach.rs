//! The ways from a type of entities up to another.

use std::{collections::BTreeSet, sync::Arc};

use crate::domain::realm::Realm;

/// The type and the types of whatever may contain its entities by stored relationships.
pub(super) fn types_above(realm: &Realm, entity_type: &Arc<str>) -> BTreeSet<Arc<str>> {
    let mut found = BTreeSet::from([Arc::clone(entity_type)]);
    let mut open = vec![Arc::clone(entity_type)];
    while let Some(current) = open.pop() {
        for (_, rule) in realm.relations.relation_rules().filter(|(_, rule)| rule.subject == current) {
            if found.insert(Arc::clone(&rule.object)) {
                open.push(Arc::clone(&rule.object));
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
        for (name, rule) in realm.relations.relation_rules().filter(|(_, rule)| rule.subject == current) {
            if !types_above(realm, &rule.object).contains(to) {
                continue;
            }
            found.push(Arc::clone(name));
            if !met.contains(&rule.object) {
                met.push(Arc::clone(&rule.object));
            }
        }
    }
    found
}
