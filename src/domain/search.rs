//! Finding the resources of a type that a principal may act on: may it search at all, which resources come into
//! question, and how each one is asked about.
//!
//! A search never answers by its row filter. The filter refuses searches that could find nothing, and bounds where to
//! look; each resource that comes into question is decided like any other.

mod id_list;
mod known;
mod subjects;
#[cfg(test)]
mod tests;

use std::{borrow::Cow, sync::Arc};

pub use self::{
    id_list::IdList,
    known::{ITEMS_MAX, Known, Scope, known_items},
    subjects::known_principals,
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
    schema::AttributeType,
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
/// `None` when a relation that gives a single value has several objects: then the value isn't known.
pub fn question_about(
    graph: &Graph,
    item: &Item,
    resource_type: &ResourceType,
    id: &str,
    search: &Question,
) -> Option<Question> {
    let own = EntityId::new(Arc::clone(&item.entity), id);
    let known = known_values(graph, item, resource_type, &own).ok()?;
    let values: Attributes = known.into_iter().filter_map(|(path, value)| Some((path, value?))).collect();
    let (attributes, known) = (Some(values.clone()), values);
    Some(Question { resource_id: own.id, attributes, known, proposed: None, ..search.clone() })
}

/// A question as it would be asked about any known item, whatever its values are.
pub fn question_about_any(item: &Item, resource_type: &ResourceType, search: &Question) -> Question {
    let values = resource_type.subjects.iter().filter_map(|subject| {
        let any = |entity: &Arc<str>| Value::Entity(EntityId::new(Arc::clone(entity), "0"));
        let value = match (item.origin(subject), &subject.value_type) {
            (Origin::Own | Origin::Related(_), AttributeType::Entity(entity)) => any(entity),
            (Origin::Related(_), AttributeType::Set(_)) => Value::List(Vec::new()),
            _ => return None,
        };
        Some((Arc::clone(&subject.path), value))
    });
    let known: Attributes = values.collect();
    Question { resource_id: "0".into(), attributes: Some(known.clone()), known, proposed: None, ..search.clone() }
}

/// A relation that gives a single value has several objects: which of them it is, isn't known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ambiguous {
    /// The attribute whose value it is.
    pub attribute: Arc<str>,
}

/// Values of a resource by the subjects' paths, each `None` where the store knows that there is none.
type KnownValues = Vec<(Arc<str>, Option<Value>)>;

/// The values of a resource that the store knows.
///
/// # Errors
/// A single value of which there are several.
fn known_values(
    graph: &Graph,
    item: &Item,
    resource_type: &ResourceType,
    own: &EntityId,
) -> Result<KnownValues, Ambiguous> {
    let mut values = Vec::with_capacity(resource_type.subjects.len());
    for subject in &resource_type.subjects {
        let value = match item.origin(subject) {
            Origin::Unknown => continue,
            Origin::Own => Some(Value::Entity(own.clone())),
            Origin::Related(relation) => {
                let mut objects = objects(graph, own, relation).map(Value::Entity);
                match subject.value_type {
                    AttributeType::Set(_) => Some(Value::List(objects.collect())),
                    _ => match (objects.next(), objects.next()) {
                        (value, None) => value,
                        _ => return Err(Ambiguous { attribute: Arc::clone(&subject.attribute) }),
                    },
                }
            }
        };
        values.push((Arc::clone(&subject.path), value));
    }
    Ok(values)
}

/// The objects of a relation of an entity.
fn objects<'g>(graph: &'g Graph, subject: &EntityId, relation: &str) -> impl Iterator<Item = EntityId> + 'g {
    let found = graph.node(&subject.entity_type, &subject.id).zip(graph.relation_id(relation));
    let related = found.into_iter().flat_map(|(node, relation)| {
        graph.parents(node).filter(move |(by, _)| *by == relation).map(|(_, object)| object)
    });
    related.map(|object| graph.entity(object))
}

/// Which of the values that a question brings and that the store knows too count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Believed {
    /// Those of the question, where callers are believed them.
    Sent,
    /// Those of the store, of each resource that it knows.
    Stored,
}

/// A question with the values of its resource that the store knows.
///
/// # Errors
/// A single value of which the store knows several.
pub fn with_known<'q>(
    realm: &Realm,
    graph: &Graph,
    question: &'q Question,
    believed: Believed,
) -> Result<Cow<'q, Question>, Ambiguous> {
    let about = realm.resource_types.get(&question.resource_type).zip(realm.relations.item(&question.resource_type));
    let Some((resource_type, item)) = about else { return Ok(Cow::Borrowed(question)) };
    let is_looked_at = believed == Believed::Stored || resource_type.subjects.iter().any(|subject| subject.is_stored);
    let own = realm.relations.entity_id(&item.entity, &question.resource_id).ok();
    let Some(own) = own.filter(|own| is_looked_at && !own.id.is_empty()) else { return Ok(Cow::Borrowed(question)) };
    let node = graph.node(&own.entity_type, &own.id);
    let said = node.and_then(|node| graph.facts(node)).map(|said| said.facts.as_slice()).unwrap_or_default();
    if !item.facts.iter().all(|fact| said.contains(fact)) {
        return Ok(Cow::Borrowed(question));
    }
    let known = known_values(graph, item, resource_type, &own)?;
    let mut question = question.clone();
    if believed == Believed::Stored && node.is_some_and(|node| graph.is_known(node)) {
        let sent = question.attributes.unwrap_or_default();
        let is_stored = |name: &Arc<str>| known.iter().any(|(path, _)| path == name);
        let sent =
            sent.iter().filter(|(name, _)| !is_stored(name)).map(|(name, value)| (Arc::clone(name), value.clone()));
        let stored = known.iter().filter_map(|(path, value)| Some((Arc::clone(path), value.clone()?)));
        question.attributes = Some(sent.chain(stored).collect());
    }
    question.known = known.into_iter().filter_map(|(path, value)| Some((path, value?))).collect();
    Ok(Cow::Owned(question))
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
