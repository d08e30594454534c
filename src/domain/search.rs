//! Finding the resources of a type that a principal may act on: may it search at all, which resources come into
//! question, and how each one is asked about.
//!
//! A search never answers by its row filter. The filter refuses searches that could find nothing, and bounds where to
//! look; each resource that comes into question is decided like any other.

mod id_list;
mod known;
#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use self::{
    id_list::IdList,
    known::{ITEMS_MAX, Known, Scope, known_items},
};
use super::{
    access_request::{AccessRequest, Question},
    ancestors,
    decide::shaped_by_profile,
    decision::{Decision, Obligation, Outcome, Reason},
    graph::Graph,
    id::EntityId,
    items::{Item, Origin},
    principal::Principal,
    realm::Realm,
    resource_type::ResourceType,
    row_filter::{self, Answer, Filter},
    value::{Attributes, Value},
};

/// The obligation of a search whose row filter cannot be said: every resource has to be asked about.
pub const AUTHORIZE_EACH: &str = "authorize_each";

/// Whether a principal may search.
#[derive(Clone, Debug)]
pub struct Opening {
    /// The answer: a deny where no resource of the type could be found, and why.
    pub decision: Decision,
    /// What passes; `None` where each resource has to be asked about, or where the search is refused.
    pub filter: Option<Filter>,
}

/// Decides whether a principal may search. The values of the request don't count.
pub fn open(realm: &Realm, principal: &Principal, request: &AccessRequest, graph: &Graph) -> Opening {
    // What the profile does to a body doesn't matter here; that it refuses the request does.
    if let Err(refused) = shaped_by_profile(realm, principal, request) {
        return Opening { decision: *refused, filter: None };
    }
    let (answer, further) = row_filter::filtered(realm, principal, request, graph);
    let filter = match answer {
        Answer::Refused(decision) => return Opening { decision: *decision, filter: None },
        Answer::Filtered(filter) => Some(filter),
        Answer::Inexpressible => None,
    };
    let first = match &filter {
        Some(filter) => {
            let obligation = row_filter::obligation(filter, realm, principal, &request.resource_type, graph);
            with_strategies(obligation, realm, principal, request)
        }
        None => Obligation { id: AUTHORIZE_EACH.into(), parameters: Attributes::default() },
    };
    let mut duties = vec![first];
    duties.extend(further);
    let message = "the search may be made; each resource is decided for itself";
    let decision = Decision {
        outcome: Outcome::Allowed,
        reasons: vec![Reason::plain("SEARCH_ALLOWED", message)],
        determining_policies: Vec::new(),
        denial: None,
        obligations: duties,
        policy_version: realm.version.clone(),
    };
    Opening { decision, filter }
}

/// The filter with the strategies that the caller's grant asks for, where the realm has grants: they say what it stands for.
fn with_strategies(filter: Obligation, realm: &Realm, principal: &Principal, request: &AccessRequest) -> Obligation {
    let Ok(Some(granted)) = realm.grant(principal, &request.resource_type.name, &request.action) else { return filter };
    let strategies = granted.grant.strategies.iter().map(|name| Value::String(Arc::clone(name))).collect();
    let strategies = (Arc::from("strategies"), Value::List(strategies));
    let parameters = filter.parameters.iter().map(|(name, value)| (Arc::clone(name), value.clone()));
    Obligation { parameters: parameters.chain([strategies]).collect(), ..filter }
}

/// The question about a known item: the search's own, with the item's id and the values that the service knows.
///
/// `None` when a relation that gives one of its values has several objects: then the value isn't known.
pub fn question_about(
    graph: &Graph,
    item: &Item,
    resource_type: &ResourceType,
    id: &str,
    search: &Question,
) -> Option<Question> {
    let own = EntityId::new(Arc::clone(&item.entity), id);
    let mut values = Vec::with_capacity(resource_type.subjects.len());
    for subject in &resource_type.subjects {
        let value = match item.origin(subject) {
            Origin::Own => Some(own.clone()),
            Origin::Related(relation) => only_object(graph, &own, relation)?,
            Origin::Unknown => None,
        };
        values.extend(value.map(|value| (Arc::clone(&subject.path), Value::Entity(value))));
    }
    Some(Question {
        resource_id: own.id,
        attributes: Some(values.into_iter().collect()),
        proposed: None,
        ..search.clone()
    })
}

/// The object of a relation, if there is one; `None` when there are several.
#[expect(clippy::option_option, reason = "no object and several objects are different answers")]
fn only_object(graph: &Graph, subject: &EntityId, relation: &str) -> Option<Option<EntityId>> {
    let found = graph.node(&subject.entity_type, &subject.id).zip(graph.relation_id(relation));
    let Some((node, relation)) = found else { return Some(None) };
    let mut objects = graph.parents(node).filter(|(by, _)| *by == relation).map(|(_, object)| object);
    let object = objects.next();
    objects.next().is_none().then(|| object.map(|object| graph.entity(object)))
}

/// One of the resource's stored values is this entity or lies within it, by the relationships of now and by paths.
pub fn is_within(realm: &Realm, graph: &Graph, request: &AccessRequest, entity: &EntityId) -> bool {
    let values = request.phases.iter().flat_map(|phase| &phase.values).flatten();
    values.flat_map(entities).any(|value| ancestors::is_within(&realm.relations, graph, value, entity))
}

fn entities(value: &Value) -> impl Iterator<Item = &EntityId> {
    let items = match value {
        Value::List(items) => items.as_slice(),
        single => std::slice::from_ref(single),
    };
    items.iter().filter_map(|item| if let Value::Entity(entity) = item { Some(entity) } else { None })
}
