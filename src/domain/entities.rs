//! The facts of one evaluation: the few entities around principal and resource.

use std::sync::Arc;

use cedar_policy::EntityUid;

use super::{
    access_request::{AccessRequest, PhaseValues},
    ancestors::ancestors,
    cedar::CedarEntity,
    graph::Graph,
    id::EntityId,
    looks::{Look, Looks},
    policy_set::{Candidates, Plan},
    principal::{Principal, PrincipalAbove},
    realm::Realm,
    resource_type::LACKS,
    value::Value,
};

/// Gathers the entities that the policies look into, and no others.
#[derive(Debug)]
pub(super) struct Gathering<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    request: &'a AccessRequest,
    values: &'a PhaseValues,
    graph: &'a Graph,
    above_principal: Option<Arc<PrincipalAbove>>,
    above_resource: Option<Vec<EntityUid>>,
    /// What is needed besides principal and resource.
    others: Vec<Other>,
}

#[derive(Debug)]
struct Other {
    entity: EntityId,
    asks_ancestors: bool,
    is_endless: bool,
}

impl<'a> Gathering<'a> {
    pub(super) fn new(
        realm: &'a Realm,
        principal: &'a Principal,
        request: &'a AccessRequest,
        values: &'a PhaseValues,
        graph: &'a Graph,
    ) -> Self {
        let (above_principal, above_resource) = (None, None);
        Self { realm, principal, request, values, graph, above_principal, above_resource, others: Vec::new() }
    }

    /// The plan's policies that can apply to this principal and this resource.
    pub(super) fn candidates(&mut self, plan: &Plan, resource: &EntityUid) -> Arc<Candidates> {
        if plan.asks_principal_ancestors {
            self.need_above_principal();
        }
        if plan.asks_resource_ancestors {
            self.need_above_resource();
        }
        let above_principal = self.above_principal.iter().flat_map(|above| &above.ancestors);
        let principals = std::iter::once(self.principal.uid()).chain(above_principal);
        let resources = std::iter::once(resource).chain(self.above_resource.iter().flatten());
        self.realm.policies.candidates(plan, principals, resources)
    }

    /// The entities that are looked into. Two of the same name contradict each other.
    ///
    /// `None` when the schema lacks a type that is needed.
    pub(super) fn gather(mut self, looks: &Looks) -> Option<Vec<CedarEntity>> {
        self.visit(&self.principal.entity, &looks.principal);
        self.visit(&self.request.resource, &looks.resource);
        for (name, value) in self.request.context.iter() {
            self.visit_value(value, looks.context.member(name));
        }
        let mut entities = Vec::with_capacity(6);
        for (entity, look) in &looks.named {
            match self.realm.action(entity) {
                Some(action) => entities.push(action.clone()),
                None => self.visit(entity, look),
            }
        }
        if looks.action.enters() {
            entities.extend(self.realm.action_entities.get(&self.request.action).cloned());
        }
        entities.extend(self.others.iter().filter_map(|other| self.other(other)));
        self.principal_and_resource(&mut entities)?;
        Some(entities)
    }

    fn need_above_principal(&mut self) {
        if self.above_principal.is_none() {
            self.above_principal = Some(self.principal.above(self.realm, self.graph));
        }
    }

    fn need_above_resource(&mut self) {
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
            // No policy can look into the members of a set, only compare them.
            _ => {}
        }
    }

    fn visit(&mut self, entity: &EntityId, look: &Look) {
        let is_principal = *entity == self.principal.entity;
        let is_resource = *entity == self.request.resource;
        if is_principal || is_resource {
            // All that can be reached from these two is reached from their looks, which are endless if any is.
            if look.is_endless && self.others.iter().any(|other| other.is_endless && other.entity == *entity) {
                return;
            }
        }
    }
}
