//! The facts of one evaluation: the few entities around principal and resource.

use std::sync::Arc;

use cedar_policy::EntityUid;

use super::{
    access_request::{AccessRequest, PhaseValues},
    ancestors::ancestors,
    cedar::CedarEntity,
    derived::Filled,
    graph::Graph,
    id::EntityId,
    looks::{Look, Looks},
    policy_set::{Candidates, Plan},
    principal::{Ancestry, Principal},
    realm::Realm,
    resource_type::LACKS,
    value::Value,
};

/// Gathers the entities that policies look into, and no others.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    request: &'a AccessRequest,
    values: &'a PhaseValues,
    derived: &'a Filled<'a>,
    graph: &'a Graph,
    above_principal: Option<Arc<Ancestry>>,
    above_resource: Option<Vec<EntityUid>>,
    /// What is looked into besides principal and resource, and whether it is asked what contains it.
    others: Vec<(EntityId, bool)>,
    /// Where everything was followed already.
    exhausted: Vec<EntityId>,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(
        realm: &'a Realm,
        principal: &'a Principal,
        request: &'a AccessRequest,
        values: &'a PhaseValues,
        derived: &'a Filled<'a>,
        graph: &'a Graph,
    ) -> Self {
        Self {
            realm,
            principal,
            request,
            values,
            derived,
            graph,
            above_principal: None,
            above_resource: None,
            others: Vec::with_capacity(4),
            exhausted: Vec::new(),
        }
    }

    /// The plan's policies that can apply to this principal and this resource.
    pub(super) fn candidates(&mut self, plan: &Plan, resource: &EntityUid) -> Arc<Candidates> {
        if plan.asks_principal_ancestors {
            self.ask_above_principal();
        }
        if plan.asks_resource_ancestors {
            self.ask_above_resource();
        }
        let above_principal = self.above_principal.iter().flat_map(|ancestry| &ancestry.ancestors);
        let principals = std::iter::once(self.principal.uid()).chain(above_principal);
        let resources = std::iter::once(resource).chain(self.above_resource.iter().flatten());
        self.realm.policies.candidates(plan, principals, resources)
    }

    /// The entities that are looked into. Where principal and resource are the same entity and contradict each other,
    /// both are there.
    ///
    /// `None` when the schema lacks a type that is needed.
    pub(super) fn entities(mut self, looks: &Looks) -> Option<Vec<CedarEntity>> {
        self.visit(&self.principal.entity, &looks.principal);
        self.visit(&self.request.resource, &looks.resource);
        let derived = self.derived;
        for (name, value) in self.request.context.iter().chain(derived.iter()) {
            self.visit_value(value, looks.context.member(name));
        }
        for (entity, look) in &looks.named {
            self.visit(entity, look);
        }
        let mut entities = Vec::with_capacity(self.others.len() + 3);
        if looks.action.enters() {
            entities.extend(self.realm.action_entities.get(&self.request.action).cloned());
        }
        for (entity, asks_ancestors) in std::mem::take(&mut self.others) {
            entities.extend(self.other(&entity, asks_ancestors));
        }
        self.add_principal_and_resource(&mut entities)?;
        Some(entities)
    }

    fn ask_above_principal(&mut self) {
        if self.above_principal.is_none() {
            self.above_principal = Some(self.principal.ancestry(self.realm, self.graph));
        }
    }

    fn ask_above_resource(&mut self) {
        if self.above_resource.is_none() {
            let above = ancestors(self.realm, self.principal, self.graph, &self.request.resource);
            self.above_resource = Some(above);
        }
    }

    fn visit_value(&mut self, value: &Value, look: Option<&Look>) {
        match (value, look) {
            (Value::Entity(entity), Some(look)) if look.enters() => self.visit(entity, look),
            (Value::Record(fields), Some(look)) => {
                fields.iter().for_each(|(name, value)| self.visit_value(value, look.member(name)));
            }
            // A policy compares the members of a set, it cannot look into one.
            _ => {}
        }
    }

    /// Notes what is looked into from an entity on.
    fn visit(&mut self, entity: &EntityId, look: &Look) {
        if look.is_endless {
            if self.exhausted.contains(entity) {
                return;
            }
            self.exhausted.push(entity.clone());
        }
        let (principal, request, values) = (self.principal, self.request, self.values);
        let (is_principal, is_resource) = (*entity == principal.entity, *entity == request.resource);
        if is_principal {
            if look.asks_ancestors {
                self.ask_above_principal();
            }
            for (name, value) in principal.attributes.iter() {
                self.visit_value(value, look.member(name));
            }
        }
        if is_resource {
            if look.asks_ancestors {
                self.ask_above_resource();
            }
            for (subject, value) in request.resource_type.subjects.iter().zip(&values.values) {
                if let Some(value) = value {
                    self.visit_value(value, look.member(&subject.attribute));
                }
            }
        }
        if !is_principal && !is_resource {
            match self.others.iter_mut().find(|(other, _)| other == entity) {
                Some((_, asks_ancestors)) => *asks_ancestors |= look.asks_ancestors,
                None => self.others.push((entity.clone(), look.asks_ancestors)),
            }
        }
        for (name, linked) in self.realm.links(entity) {
            self.visit_value(&linked, look.member(name));
        }
    }

    fn other(&self, entity: &EntityId, asks_ancestors: bool) -> Option<CedarEntity> {
        if let Some(action) = self.realm.action_entity(entity) {
            return Some(action.clone());
        }
        let links: Vec<(&str, Value)> = self.realm.links(entity).collect();
        let attributes = links.iter().map(|(name, value)| (*name, value));
        let above = if asks_ancestors { ancestors(self.realm, self.principal, self.graph, entity) } else { Vec::new() };
        self.realm.cedar_types.entity(entity, attributes, above)
    }

    fn add_principal_and_resource(mut self, entities: &mut Vec<CedarEntity>) -> Option<()> {
        let (realm, principal, request) = (self.realm, self.principal, self.request);
        let subjects = &request.resource_type.subjects;
        let links: Vec<(&str, Value)> = realm.links(&request.resource).collect();
        let mut attributes: Vec<(&str, &Value)> = Vec::with_capacity(subjects.len() + links.len() + 1);
        attributes.extend(links.iter().map(|(name, value)| (*name, value)));
        let mut lacking = Vec::new();
        for (subject, value) in subjects.iter().zip(&self.values.values) {
            match value {
                Some(value) => attributes.push((&subject.attribute, value)),
                None => lacking.push(Value::String(Arc::clone(&subject.attribute))),
            }
        }
        let lacks = Value::List(lacking);
        if request.resource_type.has_lacks {
            attributes.push((LACKS, &lacks));
        }
        if request.resource == principal.entity {
            // One entity, known from the token and from the values: each adds to the other.
            let ancestry = principal.ancestry(realm, self.graph);
            for (name, value) in principal.attributes.iter() {
                match attributes.iter().find(|(known, _)| **known == **name) {
                    None => attributes.push((name, value)),
                    Some((_, known)) if realm.cedar_types.is_same(known, value) => {}
                    // What differs is a contradiction: both are handed over, and Cedar refuses them.
                    Some(_) => entities.push(ancestry.entity.clone()),
                }
            }
            entities.push(realm.cedar_types.entity(
                &request.resource,
                attributes,
                ancestry.ancestors.iter().cloned(),
            )?);
            return Some(());
        }
        let above_resource = self.above_resource.take().unwrap_or_default();
        entities.push(realm.cedar_types.entity(&request.resource, attributes, above_resource)?);
        entities.push(match &self.above_principal {
            Some(ancestry) => ancestry.entity.clone(),
            None => principal.alone(),
        });
        Some(())
    }
}
