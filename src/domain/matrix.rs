//! The access matrix: who may do what with which kind of resource, whatever the resource's values are.
//!
//! Who asks are the named principals of the realm's tests; in a realm with grants, its claim sets, each held by one of these
//! principals. What they may do is the row filter's answer: a question without values, as tests of that action ask it. So
//! nothing in it is guessed: [`Cell::Allow`] and [`Cell::Deny`] hold for every resource of the kind, by the facts and the
//! contexts of the tests.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use super::{
    access_request::{AccessRequest, Question},
    grants::Grants,
    graph::Graph,
    policy_test::{Asked, Bench},
    principal::Principal,
    realm::Realm,
    resource_type::ResourceType,
    row_filter::{Answer, Filter, row_filter},
    value::{Attributes, Value},
};

/// What may be done with the resources of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Cell {
    /// Whatever the resource.
    Allow,
    /// It depends on the resource's values, or on the rest of the request.
    Depends,
    /// Not with any of them.
    Deny,
    /// No test asks for it in a way that could be asked again.
    Unasked,
}

/// Who may do what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix {
    /// The actions, each with a kind of resource: a type, or in a realm with grants the group of types that it is in.
    pub columns: Vec<(Arc<str>, Arc<str>)>,
    /// Who asks, and a cell for each column. Those who may do the same stand in one row.
    pub rows: Vec<(Vec<String>, Vec<Cell>)>,
    /// In a realm with grants, who holds the claim sets.
    pub holder: Option<String>,
}

/// The most contexts that are asked with for each action.
const CONTEXTS_MAX: usize = 24;

/// Who asks, and of what facts.
struct Who<'a> {
    name: String,
    principal: &'a Principal,
    graph: &'a Graph,
}

/// Asks for everybody and everything.
pub fn matrix(bench: &Bench) -> Matrix {
    let Some(realm) = bench.realms().first() else { return Matrix::default() };
    let contexts = contexts(bench);
    let kinds = kinds(realm);
    let holder = realm.grants.is_some().then(|| holder(bench)).flatten();
    let held = holder.iter().flat_map(|holder| held_by(realm, holder)).collect::<Vec<_>>();
    let who: Vec<Who<'_>> = match &holder {
        Some(holder) => {
            let who = held.iter().map(|(name, principal)| (name.clone(), principal, holder.graph));
            who.map(|(name, principal, graph)| Who { name, principal, graph }).collect()
        }
        None => principals(bench),
    };
    let mut rows: Vec<(Vec<String>, Vec<Cell>)> = Vec::new();
    for Who { name, principal, graph } in who {
        let mut known = HashMap::new();
        let cells = kinds.iter().map(|((action, _), types)| {
            let asked = contexts.get(action).map(Vec::as_slice).unwrap_or_default();
            let found = types.iter().map(|resource_type| {
                let key =
                    (Arc::clone(action), grant_of(realm, principal, resource_type, action), shape_of(resource_type));
                *known.entry(key).or_insert_with(|| cell(realm, principal, graph, action, resource_type, asked))
            });
            found.reduce(together).unwrap_or(Cell::Unasked)
        });
        let cells: Vec<Cell> = cells.collect();
        match rows.iter_mut().find(|(_, other)| *other == cells) {
            Some((names, _)) if names.contains(&name) => {}
            Some((names, _)) => names.push(name),
            None => rows.push((vec![name], cells)),
        }
    }
    Matrix { columns: kinds.into_keys().collect(), rows, holder: holder.map(|holder| holder.name) }
}

/// What is said of a group: what holds for all of it.
fn together(one: Cell, other: Cell) -> Cell {
    match (one, other) {
        (one, other) if one == other => one,
        (Cell::Unasked, known) | (known, Cell::Unasked) => known,
        _ => Cell::Depends,
    }
}

/// Types whose values have the same names and types are asked about alike.
fn shape_of(resource_type: &ResourceType) -> String {
    let subjects =
        resource_type.subjects.iter().map(|subject| format!("{}:{:?}", subject.attribute, subject.value_type));
    format!("{} {}", resource_type.entity, subjects.collect::<Vec<_>>().join(" "))
}

fn grant_of(realm: &Realm, principal: &Principal, resource_type: &ResourceType, action: &str) -> Option<u32> {
    realm.grant(principal, &resource_type.name, action).ok().flatten().map(|grant| grant.number)
}

/// The contexts that the tests of the realm as it stands ask each action with, each once.
fn contexts(bench: &Bench) -> BTreeMap<Arc<str>, Vec<Attributes>> {
    let mut found: BTreeMap<Arc<str>, Vec<Attributes>> = BTreeMap::new();
    for (_, _, case) in bench.cases() {
        let Ok(asked) = &case.asked else { continue };
        let known = found.entry(Arc::clone(&asked.request.asked_action)).or_default();
        if !known.contains(&asked.request.context) && known.len() < CONTEXTS_MAX {
            known.push(asked.request.context.clone());
        }
    }
    found
}

/// The resource types by action and kind.
type Kinds = BTreeMap<(Arc<str>, Arc<str>), Vec<Arc<ResourceType>>>;

/// The resource types of each action and kind.
fn kinds(realm: &Realm) -> Kinds {
    let mut found = Kinds::new();
    for (action, shape) in &realm.schema.actions {
        for (name, resource_type) in &realm.resource_types {
            if shape.resources.contains(&resource_type.entity) {
                let kind = (Arc::clone(action), group_of(realm, name));
                found.entry(kind).or_default().push(Arc::clone(resource_type));
            }
        }
    }
    found
}

/// The last word of the claim that the type's own is in, or the type's name.
fn group_of(realm: &Realm, name: &Arc<str>) -> Arc<str> {
    let lineage = realm.grants.as_ref().map(|grants| grants.lineage(name)).unwrap_or_default();
    let last = |claim: &Arc<str>| claim.rsplit_once('/').map_or_else(|| Arc::clone(claim), |(_, last)| Arc::from(last));
    lineage.get(1).map_or_else(|| Arc::clone(name), last)
}

/// The principals of the tests, each once for each file; of files that ask the realm as it stands.
fn principals(bench: &Bench) -> Vec<Who<'_>> {
    let mut found: Vec<Who<'_>> = Vec::new();
    for (file, realm, case) in bench.cases() {
        let Ok(asked) = &case.asked else { continue };
        let Some(by) = &asked.by else { continue };
        let stem = file.path.rsplit('/').next().and_then(|name| name.split('.').next()).unwrap_or_default();
        let name = format!("{by} ({stem})");
        if realm == 0 && !found.iter().any(|who| who.name == name) {
            found.push(Who { name, principal: &asked.principal, graph: &asked.graph });
        }
    }
    found
}

/// The principal of the tests of whom most is known.
fn holder(bench: &Bench) -> Option<Who<'_>> {
    let known = |principal: &Principal| {
        let is_told = |value: &Value| !matches!(value, Value::List(items) if items.is_empty());
        principal.attributes.iter().filter(|(_, value)| is_told(value)).count()
    };
    let named = |asked: &&Asked| asked.by.is_some();
    let cases = bench.cases().filter_map(|(file, _, case)| Some((file, case.asked.as_ref().ok().filter(named)?)));
    // The first of those with the most.
    let most =
        cases.reduce(|best, other| if known(&other.1.principal) > known(&best.1.principal) { other } else { best });
    most.map(|(file, asked)| Who {
        name: format!("{} of {}", asked.by.as_deref().unwrap_or_default(), file.path),
        principal: &asked.principal,
        graph: &asked.graph,
    })
}

/// The claim sets of a realm, each as the claim set of this principal.
fn held_by(realm: &Realm, holder: &Who<'_>) -> Vec<(String, Principal)> {
    let sets = realm.grants.iter().flat_map(Grants::claim_sets);
    let held = sets.filter_map(|set| {
        let Principal { entity, attributes, .. } = holder.principal;
        let mut principal = Principal::again(realm, entity.clone(), (**attributes).clone()).ok()?;
        principal.claim_set = Some(Arc::clone(&set));
        Some((set.to_string(), principal))
    });
    held.collect()
}

/// Asks with every context that fits.
fn cell(
    realm: &Realm,
    principal: &Principal,
    graph: &Graph,
    action: &Arc<str>,
    resource_type: &ResourceType,
    contexts: &[Attributes],
) -> Cell {
    let none = [Attributes::default()];
    let contexts = if contexts.is_empty() { &none } else { contexts };
    let answers = contexts.iter().filter_map(|context| {
        let question = Question {
            action: Arc::clone(action),
            resource_type: Arc::clone(&resource_type.name),
            context: context.clone(),
            ..Question::default()
        };
        let request = AccessRequest::without_values(realm, &question).ok()?;
        Some(match row_filter(realm, principal, &request, graph) {
            Answer::Refused(_) | Answer::Filtered(Filter::None) => Cell::Deny,
            Answer::Filtered(Filter::All) => Cell::Allow,
            Answer::Filtered(_) | Answer::Inexpressible => Cell::Depends,
        })
    });
    answers.reduce(together).unwrap_or(Cell::Unasked)
}
