//! What a question would be answered if one more thing were so.
//!
//! Nothing of it touches what decisions rest on: a further relationship is put into a small graph of its own, which holds
//! what stands above everything that the question can look at, and whoever asks is made anew, so that no cache of the real
//! principal ever sees what isn't so.

use std::{collections::BTreeSet, sync::Arc};

use super::{Fact, grant};
use crate::domain::{
    access_request::AccessRequest,
    decide::decide,
    decision::Outcome,
    derived::Filled,
    graph::{Graph, NodeId},
    id::EntityId,
    principal::Principal,
    realm::Realm,
    relationship::{Record, RecordKey, Relationship},
    value::Value,
};

/// More entities than this aren't copied.
const NODES_MAX: usize = 20_000;

/// A question that was denied, with what is needed to ask it once more.
#[derive(Debug)]
pub(super) struct WhatIf<'a> {
    realm: &'a Realm,
    principal: &'a Principal,
    request: &'a AccessRequest,
    graph: &'a Graph,
    /// The part of the relationships that counts; `None` where it is too large or would answer otherwise.
    small: Option<Graph>,
}

impl<'a> WhatIf<'a> {
    /// The question; `facts` are those that are going to be tried.
    pub(super) fn new<'f>(
        realm: &'a Realm,
        principal: &'a Principal,
        request: &'a AccessRequest,
        graph: &'a Graph,
        facts: impl Iterator<Item = &'f Fact>,
    ) -> Self {
        let mut what_if = Self { realm, principal, request, graph, small: None };
        let ends = facts
            .filter_map(|fact| if let Fact::Relationship(relationship) = fact { Some(relationship) } else { None });
        let ends: Vec<EntityId> = ends.flat_map(|found| [found.subject.clone(), found.object.clone()]).collect();
        if !ends.is_empty() {
            what_if.small = what_if.part(ends).filter(|small| what_if.answers_alike(small));
        }
        what_if
    }

    /// The fact would turn the answer into an allow.
    pub(super) fn allows(&self, fact: &Fact) -> bool {
        self.outcome(fact) == Some(Outcome::Allowed)
    }

    fn outcome(&self, fact: &Fact) -> Option<Outcome> {
        let principal = self.again()?;
        let outcome = |principal: &Principal, request: &AccessRequest, graph: &Graph| {
            decide(self.realm, principal, request, graph).outcome
        };
        Some(match fact {
            Fact::Relationship(relationship) => {
                let mut graph = self.small.clone()?;
                graph.insert(&self.realm.relations.direct(relationship).ok()?);
                outcome(&principal, self.request, &graph)
            }
            Fact::Claim { claim, values, adds } => {
                let principal = principal.saying(self.realm, claim, values, *adds)?;
                outcome(&principal, self.request, self.graph)
            }
            Fact::Grant { strategies, .. } => {
                let assumed = grant::assumed(self.realm, self.request, strategies)?;
                outcome(&principal.granted(assumed), self.request, self.graph)
            }
            Fact::Property { phase, property, value, parts: _ } => {
                let mut request = self.request.clone();
                let subjects = &self.request.resource_type.subjects;
                let place = subjects.iter().position(|subject| subject.path == *property)?;
                let values = request.phases.iter_mut().find(|values| values.phase == *phase)?;
                *values.values.get_mut(place)? = Some(value.clone());
                outcome(&principal, &request, self.graph)
            }
            Fact::Context { member, value } => {
                let mut request = self.request.clone();
                let context = request.context.iter().map(|(name, value)| (Arc::clone(name), value.clone()));
                request.context = context.chain([(Arc::clone(member), value.clone())]).collect();
                outcome(&principal, &request, self.graph)
            }
            Fact::MediaType(media_type) => {
                let request = AccessRequest { media_type: Arc::clone(media_type), ..self.request.clone() };
                outcome(&principal, &request, self.graph)
            }
        })
    }

    /// Who asks, made anew.
    fn again(&self) -> Option<Principal> {
        let Principal { entity, attributes, .. } = self.principal;
        Principal::again(self.realm, entity.clone(), (**attributes).clone()).ok()
    }

    fn answers_alike(&self, small: &Graph) -> bool {
        let real = decide(self.realm, self.principal, self.request, self.graph);
        self.again().is_some_and(|again| decide(self.realm, &again, self.request, small) == real)
    }

    /// The relationships above everything that the question can look at, and above `ends`.
    fn part(&self, ends: Vec<EntityId>) -> Option<Graph> {
        let mut met: BTreeSet<NodeId> = BTreeSet::new();
        let mut open: Vec<NodeId> = Vec::new();
        for entity in self.looked_at(ends) {
            let base = self.realm.relations.history_of(&entity.entity_type);
            let node = self.graph.node(base.unwrap_or(&entity.entity_type), &entity.id);
            open.extend(node.filter(|node| met.insert(*node)));
        }
        let mut small = Graph::new();
        while let Some(node) = open.pop() {
            let (now, past) = (self.graph.parents(node), self.graph.parents_removed(node));
            let (now, past): (Vec<_>, Vec<_>) = (now.collect(), past.collect());
            for (_, parent) in now.iter().chain(&past) {
                if met.insert(*parent) {
                    open.push(*parent);
                }
            }
            if met.len() > NODES_MAX {
                return None;
            }
            let relationship = |(relation, parent): &(_, NodeId)| Relationship {
                subject: self.graph.entity(node),
                relation: self.graph.relation_name(*relation),
                object: self.graph.entity(*parent),
            };
            let key = RecordKey { resource: "".into(), key: format!("{node:?}").into() };
            let mut record = Record::new(key, now.iter().map(relationship).collect(), None);
            record.removed = past.iter().map(relationship).collect();
            small.insert(&record);
        }
        Some(small)
    }

    /// Every entity that policies can look at, with what it links to.
    fn looked_at(&self, ends: Vec<EntityId>) -> BTreeSet<EntityId> {
        let (realm, principal, request) = (self.realm, self.principal, self.request);
        let mut open = ends;
        open.extend([principal.entity.clone(), request.resource.clone()]);
        open.extend(realm.policies.iter().flat_map(|policy| policy.clauses.looks.named.keys().cloned()));
        let mut note = |value: &Value| add_entities(value, &mut open);
        principal.attributes.iter().chain(request.context.iter()).for_each(|(_, value)| note(value));
        for values in &request.phases {
            values.values.iter().flatten().for_each(&mut note);
            let derived = realm.derived.of(&realm.relations, principal, request, values);
            Filled::iter(&derived).for_each(|(_, value)| note(value));
        }
        let mut found = BTreeSet::new();
        while let Some(entity) = open.pop() {
            if found.len() < NODES_MAX && !found.contains(&entity) {
                realm.links(&entity).for_each(|(_, linked)| add_entities(&linked, &mut open));
                found.insert(entity);
            }
        }
        found
    }
}

fn add_entities(value: &Value, found: &mut Vec<EntityId>) {
    match value {
        Value::Entity(entity) => found.push(entity.clone()),
        Value::List(items) => items.iter().for_each(|item| add_entities(item, found)),
        Value::Record(fields) => fields.iter().for_each(|(_, field)| add_entities(field, found)),
        Value::Bool(_) | Value::Long(_) | Value::String(_) | Value::Null => {}
    }
}
