//! A file of tests held against its realm: every case a question that can be asked, as often as one likes.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value as Json};

use super::{
    document::{CaseText, Document, Given},
    values::relationship_of,
    yaml::{self, Path, Step, below, key},
};
use crate::domain::{
    access_request::{AccessRequest, Question},
    fault::Fault,
    grants::FlatClaimSet,
    graph::Graph,
    json_value::attributes,
    principal::Principal,
    realm::Realm,
    relationship::{self, Record, settle},
    search::{Ambiguous, Believed, with_known},
    value::Attributes,
};

/// A question with all that it takes to decide it, and what its author expects.
#[derive(Debug)]
pub(in crate::domain) struct Case {
    pub(in crate::domain) name: String,
    /// Where it stands.
    pub(super) path: Path,
    /// The question, or why there is none: a token or a request that the realm refuses.
    pub(in crate::domain) asked: Result<Asked, String>,
    pub(super) expected: Map<String, Json>,
}

/// A question with all that it takes to decide it.
#[derive(Debug)]
pub(in crate::domain) struct Asked {
    /// The name of the principal; `None` where its claims stand in the case.
    pub(in crate::domain) by: Option<String>,
    pub(in crate::domain) principal: Principal,
    pub(in crate::domain) request: AccessRequest,
    pub(in crate::domain) graph: Arc<Graph>,
}

/// The claim sets that a file of tests and its fixtures add to the realm.
pub(super) fn claim_sets(document: &Document<'_>) -> Result<Vec<FlatClaimSet>, Vec<Fault>> {
    let mut sets = Vec::new();
    for given in &document.given {
        let said = given.said.get("claim_sets").and_then(Json::as_object).into_iter().flatten();
        for (name, resources) in said {
            let set = claim_set(name, resources).ok_or_else(|| {
                let message = "expected a mapping of resource types, each with actions and their lists of strategies";
                let at = key(&key(&given.path, "claim_sets"), name);
                vec![yaml::fault(given.file, &at, message)]
            })?;
            sets.push(set);
        }
    }
    Ok(sets)
}

fn claim_set(name: &str, resources: &Json) -> Option<FlatClaimSet> {
    let mut named = Vec::new();
    for (resource, actions) in resources.as_object()? {
        let mut granted = Vec::new();
        for (action, strategies) in actions.as_object()? {
            let strategies = strategies.as_array()?.iter().filter_map(|name| name.as_str().map(Arc::from));
            granted.push((Arc::from(action.as_str()), strategies.collect()));
        }
        named.push((Arc::from(resource.as_str()), granted));
    }
    Some((name.into(), named))
}

/// The cases of a file, ready to be asked of the realm.
///
/// # Errors
/// Records that cannot be mapped, and principals that nobody gives.
pub(super) fn cases(document: &Document<'_>, realm: &Realm) -> Result<Vec<Case>, Vec<Fault>> {
    let given: Vec<&Given<'_>> = document.given.iter().collect();
    let shared = Arc::new(graph(realm, &given)?);
    let mut cases = Vec::new();
    for case in &document.cases {
        let own = Given { file: document.file, path: case.path.clone(), said: case.said.clone() };
        let adds = ["facts", "removed", "relationships"].iter().any(|key| case.said.contains_key(*key));
        let graph = if adds {
            Arc::new(graph(realm, &given.iter().copied().chain([&own]).collect::<Vec<_>>())?)
        } else {
            Arc::clone(&shared)
        };
        let (by, claims) = claims(document, case)?;
        let asked = asked(realm, by, claims, case, graph);
        let (name, path) = (case.name.clone(), case.path.clone());
        cases.push(Case { name, path, asked, expected: case.said.clone() });
    }
    Ok(cases)
}

/// The name of a principal that has one, and its claims.
type Claims<'d> = (Option<String>, &'d Map<String, Json>);

/// The name of the principal, and its claims.
fn claims<'d>(document: &'d Document<'_>, case: &'d CaseText) -> Result<Claims<'d>, Vec<Fault>> {
    let told = case.said.get("principal");
    if let Some(claims) = told.and_then(Json::as_object) {
        return Ok((None, claims));
    }
    let name = told.and_then(Json::as_str).unwrap_or_default();
    let known = document.given.iter().filter_map(|given| given.said.get("principals")?.as_object());
    if let Some(claims) = known.clone().find_map(|principals| principals.get(name)?.as_object()) {
        return Ok((Some(name.to_owned()), claims));
    }
    let known: Vec<&str> = known.flat_map(|principals| principals.keys().map(String::as_str)).collect();
    let message = format!("unknown principal `{name}`, expected one of {}", known.join(", "));
    Err(vec![yaml::fault(document.file, &key(&case.path, "principal"), message)])
}

fn asked(
    realm: &Realm,
    by: Option<String>,
    claims: &Map<String, Json>,
    case: &CaseText,
    graph: Arc<Graph>,
) -> Result<Asked, String> {
    let principal = Principal::from_claims(realm, claims).map_err(|error| error.to_string())?;
    let text = |json: Option<&Json>| Arc::from(json.and_then(Json::as_str).unwrap_or_default());
    let resource = case.said.get("resource");
    let of_resource = |key: &str| resource.and_then(|resource| resource.get(key));
    let values = |json: Option<&Json>| json.and_then(Json::as_object).map(attributes);
    let question = Question {
        action: text(case.said.get("action")),
        resource_type: text(of_resource("type")),
        resource_id: text(of_resource("id")),
        attributes: values(of_resource("attributes")),
        proposed: values(of_resource("proposed")),
        known: Attributes::default(),
        context: values(case.said.get("context")).unwrap_or_default(),
        media_type: text(case.said.get("media_type")),
        supported_obligations: None,
    };
    let question = with_known(realm, &graph, &question, Believed::Sent).map_err(|Ambiguous { attribute }| {
        format!("the facts have several values of `{attribute}`, which is a single one")
    })?;
    let request = AccessRequest::check(realm, &question).map_err(|faults| {
        let faults: Vec<String> =
            faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
        format!("bad request: {}", faults.join("; "))
    })?;
    Ok(Asked { by, principal, request, graph })
}

/// The relationships after the records of `removed` came and went, and then those of `facts` and `relationships`
/// came, as in the store: the same record again replaces its earlier self.
fn graph(realm: &Realm, given: &[&Given<'_>]) -> Result<Graph, Vec<Fault>> {
    let (mut faults, mut removed, mut facts) = (Vec::new(), Vec::new(), Vec::new());
    for given in given {
        removed.extend(records(realm, "removed", given, &mut faults));
        facts.extend(records(realm, "facts", given, &mut faults));
        facts.extend(direct(realm, given, &mut faults));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let gone: Vec<_> = removed.iter().map(|record| relationship::Change::Delete(record.key.clone())).collect();
    let put = relationship::Change::Put;
    let changes = removed.into_iter().map(put).chain(gone).chain(facts.into_iter().map(put));
    let mut records = BTreeMap::new();
    for change in changes {
        settle(records.get(change.key()).cloned(), change, realm.relations.remembered()).keep_in(&mut records);
    }
    let mut graph = Graph::new();
    for record in records.values() {
        graph.insert(record);
    }
    Ok(graph)
}

fn records(realm: &Realm, what: &str, given: &Given<'_>, faults: &mut Vec<Fault>) -> Vec<Record> {
    let mut mapped = Vec::new();
    for (resource, records) in given.said.get(what).and_then(Json::as_object).into_iter().flatten() {
        for (index, record) in records.as_array().into_iter().flatten().enumerate() {
            match realm.relations.map(resource, &record.to_string()) {
                Ok(record) => mapped.push(record),
                Err(error) => {
                    let at = below(&key(&key(&given.path, what), resource), Step::Item(index));
                    faults.push(yaml::fault(given.file, &at, format!("{what}.{resource}[{index}]: {error}")));
                }
            }
        }
    }
    mapped
}

fn direct(realm: &Realm, given: &Given<'_>, faults: &mut Vec<Fault>) -> Vec<Record> {
    let mut mapped = Vec::new();
    let said = given.said.get("relationships").and_then(Json::as_array).into_iter().flatten();
    for (index, relationship) in said.enumerate() {
        let expected = "expected `{ subject: { Type: id }, relation: name, object: { Type: id } }`";
        let found = relationship_of(relationship).ok_or_else(|| expected.to_owned());
        let found = found.and_then(|found| realm.relations.direct(&found).map_err(|error| error.to_string()));
        match found {
            Ok(record) => mapped.push(record),
            Err(message) => {
                let at = below(&key(&given.path, "relationships"), Step::Item(index));
                faults.push(yaml::fault(given.file, &at, format!("relationships[{index}]: {message}")));
            }
        }
    }
    mapped
}
