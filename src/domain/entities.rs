//! The facts of one evaluation: the few entities around principal and resource.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::EntityUid;

use super::{
    access_request::{AccessRequest, PhaseValues},
    cedar::CedarEntity,
    graph::{Graph, NodeId},
    id::EntityId,
    policy_set::Plan,
    principal::Principal,
    realm::Realm,
    resource_type::LACKS,
    value::Value,
};

/// What Cedar is given.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) entities: Vec<CedarEntity>,
    pub(super) principal_ancestors: Vec<EntityUid>,
    pub(super) resource_ancestors: Vec<EntityUid>,
    pub(super) resource: EntityUid,
}

/// Gathers the entities that the plan's policies look at, and no others.
///
/// `None` when the schema lacks a type that is needed.
pub(super) fn gather(
    realm: &Realm,
    plan: &Plan,
    principal: &Principal,
    request: &AccessRequest,
    values: &PhaseValues,
    graph: &Graph,
) -> Option<Facts> {
    let resource_type = &request.resource_type;
    let id = resource_entity(realm, request);
    let resource = realm.cedar_types.uid(&id.entity_type, &id.id)?;
    let mut entities = Vec::with_capacity(6);
    let mut principal_ancestors = Vec::new();
    if plan.asks_principal_ancestors {
        let (entity, ancestors) = principal.with_ancestors(&realm.cedar_types, graph);
        entities.push(entity);
        principal_ancestors = ancestors;
    } else {
        entities.push(principal.alone());
    }

    let mut seen: BTreeSet<EntityId> = BTreeSet::from([principal.entity.clone(), id.clone()]);
    let mut attributes: Vec<(&str, &Value)> = Vec::with_capacity(resource_type.subjects.len() + 1);
    let mut lacking = Vec::new();
    for (subject, value) in resource_type.subjects.iter().zip(&values.values) {
        let Some(value) = value else {
            lacking.push(Value::String(Arc::clone(&subject.attribute)));
            continue;
        };
        attributes.push((&subject.attribute, value));
        let is_mentioned = |path: &&Vec<Arc<str>>| path.first() == Some(&subject.attribute);
        let paths: Vec<&Vec<Arc<str>>> = plan.paths.iter().filter(is_mentioned).collect();
        if paths.is_empty() {
            continue;
        }
        let mut around = Around { realm, principal, graph, entities: &mut entities, seen: &mut seen };
        around.add(value, &paths.iter().map(|path| path.get(1..).unwrap_or_default()).collect::<Vec<_>>());
    }
    let lacks = Value::List(lacking);
    if resource_type.has_lacks {
        attributes.push((LACKS, &lacks));
    }
    let resource_ancestors = if plan.asks_resource_ancestors { ancestors(realm, graph, &id) } else { Vec::new() };
    entities.push(realm.cedar_types.entity(&id, attributes, resource_ancestors.iter().cloned())?);
    if plan.asks_action_groups {
        entities.extend(realm.action_entities.get(&request.action).cloned());
    }
    Some(Facts { entities, principal_ancestors, resource_ancestors, resource })
}

/// The Cedar entity of the resource. Where one Cedar type stands for many resource types, the type is a part of the id.
fn resource_entity(realm: &Realm, request: &AccessRequest) -> EntityId {
    let resource_type = &request.resource_type;
    let id = if realm.file.resources.is_some() {
        format!("{}/{}", resource_type.name, request.resource_id).into()
    } else {
        Arc::clone(&request.resource_id)
    };
    EntityId { entity_type: Arc::clone(&resource_type.entity), id }
}

/// Adds the entities that a value names, with all that contains them and the entities they link to.
struct Around<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    graph: &'a Graph,
    entities: &'a mut Vec<CedarEntity>,
    seen: &'a mut BTreeSet<EntityId>,
}

impl Around<'_> {
    fn add(&mut self, value: &Value, rest: &[&[Arc<str>]]) {
        match value {
            Value::Entity(entity) => self.add_entity(entity, rest),
            Value::List(items) => items.iter().for_each(|item| self.add(item, rest)),
            _ => {}
        }
    }

    fn add_entity(&mut self, entity: &EntityId, rest: &[&[Arc<str>]]) {
        if !self.seen.insert(entity.clone()) {
            return;
        }
        let rules = self.realm.relations.entity(&entity.entity_type);
        let mut links: Vec<(&str, Value)> = Vec::new();
        for (name, link_type) in rules.into_iter().flat_map(|rules| &rules.links) {
            let linked = EntityId { entity_type: Arc::clone(link_type), id: Arc::clone(&entity.id) };
            links.push((name, Value::Entity(linked)));
        }
        for (name, linked) in &links {
            let deeper: Vec<&[Arc<str>]> = rest
                .iter()
                .filter(|path| path.first().is_some_and(|first| **first == **name))
                .filter_map(|path| path.get(1..))
                .collect();
            if !deeper.is_empty() {
                self.add(linked, &deeper);
            }
        }
        let mut ancestors = ancestors(self.realm, self.graph, entity);
        if let Some(attribute) = rules.and_then(|rules| rules.prefixes.as_ref()) {
            let prefixes = self.principal.entities(attribute).filter(|prefix| entity.id.starts_with(&*prefix.id));
            ancestors.extend(prefixes.filter_map(|prefix| self.realm.cedar_types.uid(&prefix.entity_type, &prefix.id)));
        }
        let attributes = links.iter().map(|(name, value)| (*name, value));
        self.entities.extend(self.realm.cedar_types.entity(entity, attributes, ancestors));
    }
}

fn ancestors(realm: &Realm, graph: &Graph, entity: &EntityId) -> Vec<EntityUid> {
    let Some(node) = graph.node(&entity.entity_type, &entity.id) else { return Vec::new() };
    let uid = |node: NodeId| {
        let above = graph.entity(node);
        realm.cedar_types.uid(&above.entity_type, &above.id)
    };
    graph.ancestors(node, |_| true).into_iter().filter_map(uid).collect()
}
