//! A realm's own tests: facts, claims, a question, and the decision its authors expect.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::{Decision, Effect, Obligation},
    fault::Fault,
    grants::FlatClaimSet,
    graph::Graph,
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::Record,
    value::{Attributes, Value},
};

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The file.
    pub file: String,
    /// The case's name.
    pub name: String,
    /// What differs from what was expected; empty when the case passed.
    pub differences: Vec<String>,
}

/// The tests of a realm are the YAML files below `tests/`.
pub fn is_test_file(file: &SourceFile) -> bool {
    file.path.starts_with("tests/") && file.has_ending(&["yaml", "yml"])
}

/// Runs every test of a realm's files. A file's own claim sets count for its cases only.
///
/// # Errors
/// Faults of the test files themselves: syntax, unknown keys, records that cannot be mapped.
pub fn run(files: &[SourceFile]) -> Result<Vec<CaseResult>, Vec<Fault>> {
    let mut results = Vec::new();
    let mut faults = Vec::new();
    let plain = Realm::compile(files)?;
    for file in files.iter().filter(|file| is_test_file(file)) {
        match run_file(file, files, &plain) {
            Ok(cases) => results.extend(cases),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(results) } else { Err(faults) }
}

fn run_file(file: &SourceFile, files: &[SourceFile], plain: &Realm) -> Result<Vec<CaseResult>, Vec<Fault>> {
    let document: Json = serde_saphyr::from_str(&file.content).map_err(|error| {
        let place = error.location().map(|location| {
            let before: usize = file
                .content
                .split_inclusive('\n')
                .take(usize::try_from(location.line()).unwrap_or(1).saturating_sub(1))
                .map(str::len)
                .sum();
            before..before
        });
        vec![Fault::at(&file.path, &file.content, place, error.to_string())]
    })?;
    let reader = Reader { file };
    let root = reader.object(&document, "the file", &["facts", "claim_sets", "principals", "cases"])?;
    let overlaid = match root.get("claim_sets") {
        None => None,
        Some(sets) => {
            let mut realm = Realm::compile(files)?;
            realm.add_claim_sets(reader.claim_sets(sets)?);
            Some(realm)
        }
    };
    let realm = overlaid.as_ref().unwrap_or(plain);
    let graph = reader.graph(realm, root.get("facts"))?;
    let principals = root.get("principals").and_then(Json::as_object);
    let mut results = Vec::new();
    for (index, case) in root.get("cases").and_then(Json::as_array).into_iter().flatten().enumerate() {
        let what = format!("cases[{index}]");
        let case = reader.object(
            case,
            &what,
            &[
                "name",
                "principal",
                "action",
                "resource",
                "context",
                "media_type",
                "expect",
                "reasons",
                "subjects",
                "policies",
                "problem",
                "obligations",
            ],
        )?;
        let name = case.get("name").and_then(Json::as_str).unwrap_or(&what).to_owned();
        let differences = match reader.decide(realm, &graph, principals, case) {
            Ok(decision) => differences(case, &decision),
            Err(difference) => vec![difference],
        };
        results.push(CaseResult { file: file.path.clone(), name, differences });
    }
    Ok(results)
}

struct Reader<'a> {
    file: &'a SourceFile,
}

impl Reader<'_> {
    fn fault(&self, message: impl Into<String>) -> Vec<Fault> {
        vec![Fault::in_file(&self.file.path, message)]
    }

    fn object<'j>(&self, json: &'j Json, what: &str, known: &[&str]) -> Result<&'j Map<String, Json>, Vec<Fault>> {
        let object = json.as_object().ok_or_else(|| self.fault(format!("{what} is no mapping")))?;
        match object.keys().find(|key| !known.contains(&key.as_str())) {
            Some(key) => Err(self.fault(format!("{what}: unknown key `{key}`, expected one of {}", known.join(", ")))),
            None => Ok(object),
        }
    }

    fn graph(&self, realm: &Realm, facts: Option<&Json>) -> Result<Graph, Vec<Fault>> {
        let mut latest: Vec<Record> = Vec::new();
        for (resource, records) in facts.and_then(Json::as_object).into_iter().flatten() {
            for (index, record) in records.as_array().into_iter().flatten().enumerate() {
                let record = realm
                    .relations
                    .map(resource, &record.to_string())
                    .map_err(|error| self.fault(format!("facts.{resource}[{index}]: {error}")))?;
                // The same record again replaces its earlier self, as it would in the store.
                latest.retain(|earlier| earlier.key != record.key);
                latest.push(record);
            }
        }
        let mut graph = Graph::new();
        for record in &latest {
            graph.insert(record);
        }
        Ok(graph)
    }

    fn claim_sets(&self, sets: &Json) -> Result<Vec<FlatClaimSet>, Vec<Fault>> {
        let wrong =
            || self.fault("`claim_sets` is no mapping of claim set, resource type, action and a list of strategies");
        let pairs = |json: &Json| -> Result<Vec<(Arc<str>, Json)>, Vec<Fault>> {
            let object = json.as_object().ok_or_else(wrong)?;
            Ok(object.iter().map(|(name, value)| (Arc::from(name.as_str()), value.clone())).collect())
        };
        let mut result = Vec::new();
        for (set, resources) in pairs(sets)? {
            let mut named = Vec::new();
            for (resource, actions) in pairs(&resources)? {
                let mut granted = Vec::new();
                for (action, strategies) in pairs(&actions)? {
                    let names = strategies.as_array().ok_or_else(wrong)?;
                    granted.push((action, names.iter().filter_map(|name| name.as_str().map(Arc::from)).collect()));
                }
                named.push((resource, granted));
            }
            result.push((set, named));
        }
        Ok(result)
    }

    fn decide(
        &self,
        realm: &Realm,
        graph: &Graph,
        principals: Option<&Map<String, Json>>,
        case: &Map<String, Json>,
    ) -> Result<Decision, String> {
        let text = |key: &str| case.get(key).and_then(Json::as_str).ok_or_else(|| format!("`{key}` is missing"));
        let name = text("principal")?;
        let claims = principals.and_then(|principals| principals.get(name)).and_then(Json::as_object);
        let claims = claims.ok_or_else(|| format!("unknown principal `{name}`"))?;
        let principal = Principal::from_claims(realm, claims).map_err(|error| error.to_string())?;
        let resource = case.get("resource").ok_or("`resource` is missing")?;
        let values = |key: &str| resource.get(key).and_then(Json::as_object).map(attributes);
        let question = Question {
            action: text("action")?.into(),
            resource_type: resource.get("type").and_then(Json::as_str).unwrap_or_default().into(),
            resource_id: resource.get("id").and_then(Json::as_str).unwrap_or_default().into(),
            attributes: values("attributes"),
            proposed: values("proposed"),
            context: case.get("context").and_then(Json::as_object).map(attributes).unwrap_or_default(),
            media_type: case.get("media_type").and_then(Json::as_str).unwrap_or_default().into(),
            supported_obligations: None,
        };
        let request = AccessRequest::check(realm, &question).map_err(|faults| {
            let faults: Vec<String> =
                faults.into_iter().map(|fault| format!("{}: {}", fault.field, fault.message)).collect();
            format!("{}: bad request: {}", self.file.path, faults.join("; "))
        })?;
        Ok(decide(realm, &principal, &request, graph))
    }
}

/// The attributes of a JSON object. Numbers with a fraction become texts, which no schema type takes.
fn attributes(object: &Map<String, Json>) -> Attributes {
    object.iter().map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::String(number.to_string().into()), Value::Long),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(object) => Value::Record(attributes(object)),
    }
}

/// Obligations in order, members of records by name.
fn listed(obligations: impl Iterator<Item = Value>) -> String {
    obligations.map(|obligation| json(&obligation).to_string()).collect::<Vec<_>>().join(", ")
}

/// An obligation of a decision in the shape in which it is expected: its id, or its id with some of its parameters.
fn as_expected(obligation: &Obligation, expected: Option<&Json>) -> Value {
    let Some(named) = expected.and_then(Json::as_object) else { return Value::String(Arc::clone(&obligation.id)) };
    let wanted = named.values().filter_map(Json::as_object).flat_map(Map::keys);
    let found = wanted.filter_map(|name| Some((Arc::from(name.as_str()), obligation.parameters.get(name)?.clone())));
    let parameters = Value::Record(found.collect());
    Value::Record(std::iter::once((Arc::clone(&obligation.id), parameters)).collect())
}

fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::from(*flag),
        Value::Long(number) => Json::from(*number),
        Value::String(text) => Json::from(&**text),
        Value::Entity(entity) => Json::from(&*entity.id),
        Value::List(items) => Json::Array(items.iter().map(json).collect()),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.to_string(), json(value))).collect(),
    }
}

fn differences(case: &Map<String, Json>, decision: &Decision) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, expected: String, found: String| {
        if expected != found {
            differences.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let effect = if decision.outcome.effect() == Effect::Allow { "ALLOW" } else { "DENY" };
    compare("decision", case.get("expect").and_then(Json::as_str).unwrap_or("(nothing)").to_owned(), effect.to_owned());
    let list = |key: &str| {
        let items = case.get(key)?.as_array()?;
        Some(items.iter().filter_map(Json::as_str).collect::<Vec<_>>().join(", "))
    };
    let join = |names: Vec<&Arc<str>>| names.iter().map(|name| &***name).collect::<Vec<_>>().join(", ");
    if let Some(expected) = list("reasons") {
        compare("reasons", expected, join(decision.reasons.iter().map(|reason| &reason.code).collect()));
    }
    if let Some(expected) = list("subjects") {
        compare(
            "subjects",
            expected,
            join(decision.reasons.iter().take(1).flat_map(|reason| &reason.subjects).collect()),
        );
    }
    if let Some(expected) = list("policies") {
        compare("policies", expected, join(decision.determining_policies.iter().collect()));
    }
    if let Some(expected) = case.get("obligations").and_then(Json::as_array) {
        let found = decision.obligations.iter().enumerate();
        let found = found.map(|(index, obligation)| as_expected(obligation, expected.get(index)));
        compare("obligations", listed(expected.iter().map(value)), listed(found));
    }
    for (member, expected) in case.get("problem").and_then(Json::as_object).into_iter().flatten() {
        let denial = decision.denial.clone().unwrap_or_default();
        let found = match member.as_str() {
            "status" => Json::from(denial.status),
            "type" => Json::from(denial.problem_type),
            "title" => Json::from(denial.title),
            "detail" => Json::from(denial.detail),
            "errors" => Json::from(denial.errors),
            _ => Json::Null,
        };
        compare(&format!("problem.{member}"), expected.to_string(), found.to_string());
    }
    differences
}
