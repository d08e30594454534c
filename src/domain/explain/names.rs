//! What people are called in an explanation.

use std::{collections::BTreeSet, sync::Arc};

use super::{Fact, People};
use crate::domain::{
    access_request::AccessRequest, id::EntityId, principal::Principal, realm::Realm, relationship::Relationship,
    value::Value,
};

/// What people are called in an explanation.
#[derive(Debug)]
pub(super) struct Names<'a> {
    realm: &'a Realm,
    people: People,
    /// The ids that the question and the token name.
    known: BTreeSet<Arc<str>>,
}

impl<'a> Names<'a> {
    pub(super) fn new(people: People, realm: &'a Realm, principal: &Principal, request: &AccessRequest) -> Self {
        let mut known: BTreeSet<Arc<str>> =
            [&principal.entity.id, &request.resource.id, &request.resource_id].into_iter().cloned().collect();
        let given = request.phases.iter().flat_map(|phase| phase.values.iter().flatten());
        let given = given.chain(request.context.iter().map(|(_, value)| value));
        for value in given.chain(principal.attributes.iter().map(|(_, value)| value)) {
            add_ids(value, &mut known);
        }
        Self { realm, people, known }
    }

    /// The entity as it may be shown.
    pub(super) fn entity(&self, entity: &EntityId) -> EntityId {
        let is_hidden = self.people == People::Hidden
            && self.realm.relations.is_person(&entity.entity_type)
            && !self.known.contains(&entity.id);
        if is_hidden { EntityId::new(Arc::clone(&entity.entity_type), "…") } else { entity.clone() }
    }

    /// The fact as it may be shown.
    pub(super) fn fact(&self, fact: &Fact) -> Fact {
        match fact {
            Fact::Relationship(Relationship { subject, relation, object }) => Fact::Relationship(Relationship {
                subject: self.entity(subject),
                relation: Arc::clone(relation),
                object: self.entity(object),
            }),
            Fact::Property { phase, property, value: Value::Entity(entity), parts } => {
                let shown = self.entity(entity);
                let text = |text: &Arc<str>| if shown == *entity { Arc::clone(text) } else { Arc::clone(&shown.id) };
                let parts = parts.iter().map(|(path, part)| (Arc::clone(path), text(part))).collect();
                Fact::Property { phase: *phase, property: Arc::clone(property), value: Value::Entity(shown), parts }
            }
            Fact::Context { member, value: Value::Entity(entity) } => {
                Fact::Context { member: Arc::clone(member), value: Value::Entity(self.entity(entity)) }
            }
            other => other.clone(),
        }
    }
}

fn add_ids(value: &Value, ids: &mut BTreeSet<Arc<str>>) {
    match value {
        Value::Entity(entity) => drop(ids.insert(Arc::clone(&entity.id))),
        Value::List(items) => items.iter().for_each(|item| add_ids(item, ids)),
        Value::Record(fields) => fields.iter().for_each(|(_, field)| add_ids(field, ids)),
        Value::Bool(_) | Value::Long(_) | Value::String(_) | Value::Null => {}
    }
}
