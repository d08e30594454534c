//! Everything that contains an entity, however it comes to contain it.

#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::EntityUid;

use super::{
    breadth_first::breadth_first,
    graph::{Graph, NodeId},
    id::EntityId,
    principal::Principal,
    realm::Realm,
    record_mapping::Relations,
};

/// Everything that contains an entity, the entity itself left out, in no order that means anything: by the stored
/// relationships, for the principal by its token too, for a type with prefixes by those of the principal's that
/// the entity's id starts with, and for a type with paths by what its id names up to each separator. Types that the
/// schema doesn't have are left out.
///
/// An entity of a history is in what the entity whose past it shows is in, or was in by a relation that is remembered;
/// in the past of what has a history itself, and so on upwards. What has none contains as it does now.
pub(super) fn ancestors(realm: &Realm, principal: &Principal, graph: &Graph, entity: &EntityId) -> Vec<EntityUid> {
    let mut climb =
        Climb { realm, principal, graph, found: Vec::with_capacity(8), open: vec![entity.clone()], paths: 0 };
    let mut entered: BTreeSet<EntityId> = BTreeSet::new();
    while let Some(current) = climb.open.pop() {
        if entered.contains(&current) {
            continue;
        }
        let base = realm.relations.history_of(&current.entity_type);
        if let Some(node) = graph.node(base.unwrap_or(&current.entity_type), &current.id) {
            if base.is_some() { climb.through_the_past(node) } else { climb.through_the_present(node) }
        }
        let is_principal = current == principal.entity;
        let named = principal.parents.iter().filter(|_| is_principal);
        let prefixes =
            realm.relations.prefixes(&current.entity_type).into_iter().flat_map(|rule| {
                principal.entities(&rule.attribute).filter(|prefix| rule.covers(&prefix.id, &current.id))
            });
        for above in named.chain(prefixes) {
            climb.found.extend(realm.cedar_types.uid(&above.entity_type, &above.id));
            climb.open.push(above.clone());
        }
        if let Some(above) = realm.relations.path_parent(&current.entity_type, &current.id) {
            climb.found.extend(realm.cedar_types.uid(&current.entity_type, above));
            climb.open.push(EntityId::new(Arc::clone(&current.entity_type), above));
        }
        entered.insert(current);
    }
    let Climb { mut found, paths, .. } = climb;
    if entered.len() > 1 || paths > 1 {
        found.sort();
        found.dedup();
        let itself = realm.cedar_types.uid(&entity.entity_type, &entity.id);
        found.retain(|above| Some(above) != itself.as_ref());
    }
    found
}

/// What was found on the way up.
struct Climb<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    graph: &'a Graph,
    found: Vec<EntityUid>,
    /// What more than the graph is known of, and not asked yet.
    open: Vec<EntityId>,
    /// How many ways up were gone, which may have met the same entities.
    paths: usize,
}

impl Climb<'_> {
    /// Takes what contains a node now.
    fn through_the_present(&mut self, node: NodeId) {
        self.paths += 1;
        for above in self.graph.ancestors(node, |_| true) {
            self.graph.with_name(above, |entity_type, id| {
                meet(self.realm, self.principal, &mut self.found, &mut self.open, entity_type, id);
            });
        }
    }

    /// Takes what contains a node of a type that has a history, or contained it.
    fn through_the_past(&mut self, node: NodeId) {
        self.paths += 1;
        let (realm, graph) = (self.realm, self.graph);
        let history = |node| graph.with_name(node, |entity_type, _| realm.relations.history(entity_type));
        let met = breadth_first(
            node,
            |node, meet| {
                if history(node).is_some() {
                    graph.parents(node).for_each(|(_, parent)| meet(parent));
                    let remembered = realm.relations.remembered();
                    let removed = graph.parents_removed(node);
                    removed
                        .filter(|(relation, _)| remembered.contains(&graph.relation_name(*relation)))
                        .for_each(|(_, parent)| meet(parent));
                }
            },
            &mut |_| true,
        );
        for above in met {
            let history = history(above);
            graph.with_name(above, |entity_type, id| {
                let entity_type = history.map_or(entity_type, |history| history);
                meet(realm, self.principal, &mut self.found, &mut self.open, entity_type, id);
            });
            if history.is_none() {
                self.through_the_present(above);
            }
        }
    }
}

/// Notes an entity that was met, for Cedar, and to be asked about when the graph doesn't know all of it.
fn meet(
    realm: &Realm,
    principal: &Principal,
    found: &mut Vec<EntityUid>,
    open: &mut Vec<EntityId>,
    entity_type: &str,
    id: &str,
) {
    found.extend(realm.cedar_types.uid(entity_type, id));
    if is_more_known(realm, principal, entity_type, id) {
        open.push(EntityId::new(entity_type, id));
    } else if let Some(above) = realm.relations.path_parent(entity_type, id) {
        found.extend(realm.cedar_types.uid(entity_type, above));
        open.push(EntityId::new(entity_type, above));
    }
}

/// The token says what contains this entity.
fn is_more_known(realm: &Realm, principal: &Principal, entity_type: &str, id: &str) -> bool {
    (*principal.entity.entity_type == *entity_type && *principal.entity.id == *id)
        || realm.relations.prefixes(entity_type).is_some()
}

/// An entity is another or lies within it, by the relationships of now and by paths; what a token says doesn't count.
pub(super) fn is_within(relations: &Relations, graph: &Graph, entity: &EntityId, container: &EntityId) -> bool {
    let within = graph.node(&container.entity_type, &container.id);
    let mut open = vec![entity.clone()];
    let mut entered: BTreeSet<EntityId> = BTreeSet::new();
    while let Some(current) = open.pop() {
        if current == *container {
            return true;
        }
        if entered.contains(&current) {
            continue;
        }
        let path_parent = |entity_type: &str, id: &str| {
            relations.path_parent(entity_type, id).map(|above| EntityId::new(entity_type, above))
        };
        open.extend(path_parent(&current.entity_type, &current.id));
        let node = graph.node(&current.entity_type, &current.id);
        let above = node.map(|node| graph.ancestors(node, |_| true)).unwrap_or_default();
        if within.is_some_and(|within| above.contains(&within)) {
            return true;
        }
        open.extend(above.into_iter().filter_map(|above| graph.with_name(above, path_parent)));
        entered.insert(current);
    }
    false
}
