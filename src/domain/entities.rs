//! The facts of one evaluation: the few entities around principal and resource.

use std::sync::Arc;

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
    let mut around = Around {
        realm,
        principal,
        resource: &id,
        graph,
        entities: Vec::with_capacity(6),
        seen: Vec::with_capacity(6),
        asks_principal_ancestors: plan.asks_principal_ancestors,
        asks_resource_ancestors: plan.asks_resource_ancestors,
    };

    let mut attributes: Vec<(&str, &Value)> = Vec::with_capacity(resource_type.subjects.len() + 1);
    let mut lacking = Vec::new();
    for (subject, value) in resource_type.subjects.iter().zip(&values.values) {
        match value {
            None => lacking.push(Value::String(Arc::clone(&subject.attribute))),
            Some(value) => {
                attributes.push((&subject.attribute, value));
                around.follow(&subject.attribute, value, plan.paths.iter().map(Vec::as_slice));
            }
        }
    }
    let links = links(realm, &id);
    for (name, linked) in &links {
        attributes.push((name, linked));
        around.follow(name, linked, plan.paths.iter().map(Vec::as_slice));
    }
    let lacks = Value::List(lacking);
    if resource_type.has_lacks {
        attributes.push((LACKS, &lacks));
    }

    let Around { mut entities, asks_principal_ancestors, asks_resource_ancestors, .. } = around;
    let resource_ancestors = if asks_resource_ancestors { ancestors(realm, graph, &id) } else { Vec::new() };
    entities.push(realm.cedar_types.entity(&id, attributes, resource_ancestors.iter().cloned())?);
    let (asker, principal_ancestors) = if asks_principal_ancestors {
        principal.with_ancestors(&realm.cedar_types, graph)
    } else {
        (principal.alone(), Vec::new())
    };
    // A principal that asks about itself is one entity, and the resource's values are what is known of it.
    if principal.entity != id {
        entities.push(asker);
    }
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

/// Adds the entities that values name, with all that contains them and the entities they link to.
struct Around<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    resource: &'a EntityId,
    graph: &'a Graph,
    entities: Vec<CedarEntity>,
    seen: Vec<EntityId>,
    asks_principal_ancestors: bool,
    asks_resource_ancestors: bool,
}

impl Around<'_> {
    /// Adds what the value of this attribute names, if some path goes by the attribute.
    fn follow<'p>(&mut self, attribute: &str, value: &Value, paths: impl Iterator<Item = &'p [Arc<str>]>) {
        let by_attribute = paths.filter(|path| path.first().is_some_and(|first| **first == *attribute));
        let rest: Vec<&[Arc<str>]> = by_attribute.map(|path| path.get(1..).unwrap_or_default()).collect();
        if !rest.is_empty() {
            self.add(value, &rest);
        }
    }

    fn add(&mut self, value: &Value, rest: &[&[Arc<str>]]) {
        match value {
            Value::Entity(entity) => self.add_entity(entity, rest),
            Value::List(items) => items.iter().for_each(|item| self.add(item, rest)),
            Value::Record(fields) => {
                for (name, field) in fields.iter() {
                    self.follow(name, field, rest.iter().copied());
                }
            }
            _ => {}
        }
    }

    fn add_entity(&mut self, entity: &EntityId, rest: &[&[Arc<str>]]) {
        // Principal and resource are added once, at the end, with what contains them.
        if *entity == self.principal.entity {
            self.asks_principal_ancestors = true;
            return;
        }
        if entity == self.resource {
            self.asks_resource_ancestors = true;
            return;
        }
        if self.seen.contains(entity) {
            return;
        }
        self.seen.push(entity.clone());
        let links = links(self.realm, entity);
        for (name, linked) in &links {
            self.follow(name, linked, rest.iter().copied());
        }
        let mut ancestors = ancestors(self.realm, self.graph, entity);
        let rules = self.realm.relations.entity(&entity.entity_type);
        if let Some(attribute) = rules.and_then(|rules| rules.prefixes.as_ref()) {
            let prefixes = self.principal.entities(attribute).filter(|prefix| entity.id.starts_with(&*prefix.id));
            ancestors.extend(prefixes.filter_map(|prefix| self.realm.cedar_types.uid(&prefix.entity_type, &prefix.id)));
        }
        let attributes = links.iter().map(|(name, value)| (*name, value));
        self.entities.extend(self.realm.cedar_types.entity(entity, attributes, ancestors));
    }
}

/// The attributes of an entity that name one of the same id and another type.
fn links<'a>(realm: &'a Realm, entity: &EntityId) -> Vec<(&'a str, Value)> {
    let rules = realm.relations.entity(&entity.entity_type).into_iter();
    let named = rules.flat_map(|rules| &rules.links).map(|(name, link_type)| {
        let linked = EntityId { entity_type: Arc::clone(link_type), id: Arc::clone(&entity.id) };
        (&**name, Value::Entity(linked))
    });
    named.collect()
}

fn ancestors(realm: &Realm, graph: &Graph, entity: &EntityId) -> Vec<EntityUid> {
    let Some(node) = graph.node(&entity.entity_type, &entity.id) else { return Vec::new() };
    let uid = |node: NodeId| {
        let above = graph.entity(node);
        realm.cedar_types.uid(&above.entity_type, &above.id)
    };
    graph.ancestors(node, |_| true).into_iter().filter_map(uid).collect()
}
