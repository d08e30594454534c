//! Everything that contains an entity, however it comes to contain it.

use cedar_policy::EntityUid;

use super::{graph::Graph, id::EntityId, principal::Principal, realm::Realm};

/// Everything that contains an entity, the entity itself left out, in no order that means anything: by the stored
/// relationships, for the principal by its token too, and for a type with prefixes by those of the principal's that
/// the entity's id starts with. Types that the schema doesn't have are left out.
pub(super) fn ancestors(realm: &Realm, principal: &Principal, graph: &Graph, entity: &EntityId) -> Vec<EntityUid> {
    let mut found = Vec::with_capacity(8);
    let mut entered: Vec<EntityId> = Vec::new();
    let mut open = vec![entity.clone()];
    while let Some(current) = open.pop() {
        if let Some(node) = graph.node(&current.entity_type, &current.id) {
            for above in graph.ancestors(node, |_| true) {
                graph.with_name(above, |entity_type, id| {
                    found.extend(realm.cedar_types.uid(entity_type, id));
                    // What the graph doesn't know of it is asked below.
                    if is_more_known(realm, principal, entity_type, id) {
                        open.push(EntityId::new(entity_type, id));
                    }
                });
            }
        }
        let is_principal = current == principal.entity;
        let named = principal.parents.iter().filter(|_| is_principal);
        let prefixes =
            realm.relations.prefixes(&current.entity_type).into_iter().flat_map(|rule| {
                principal.entities(&rule.attribute).filter(|prefix| rule.covers(&prefix.id, &current.id))
            });
        for above in named.chain(prefixes) {
            found.extend(realm.cedar_types.uid(&above.entity_type, &above.id));
            open.push(above.clone());
        }
        entered.push(current);
        open.retain(|next| !entered.contains(next));
    }
    if entered.len() > 1 {
        found.sort();
        found.dedup();
        let itself = realm.cedar_types.uid(&entity.entity_type, &entity.id);
        found.retain(|above| Some(above) != itself.as_ref());
    }
    found
}

/// The token says what contains this entity.
fn is_more_known(realm: &Realm, principal: &Principal, entity_type: &str, id: &str) -> bool {
    (*principal.entity.entity_type == *entity_type && *principal.entity.id == *id)
        || realm.relations.prefixes(entity_type).is_some()
}
