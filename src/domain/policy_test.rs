//! A realm's own tests: facts, claims, a question, and the decision its authors expect.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Map, Value as Json};

use super::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::{Decision, Effect, Obligation},
    fault::Fault,
    grants::FlatClaimSet,
    graph::Graph,
    id::EntityId,
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::{self, Record, Relationship, settle},
    resource_type::joined_id,
    value::{Attributes, Value},
    variant,
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

/// A case as it is asked, with all that it takes to decide it.
#[derive(Clone, Copy, Debug)]
pub struct AskedCase<'a> {
    /// The file.
    pub file: &'a str,
    /// The case's name.
    pub name: &'a str,
    /// The realm as the file has it.
    pub realm: &'a Realm,
    /// Who asks.
    pub principal: &'a Principal,
    /// The question.
    pub request: &'a AccessRequest,
    /// The relationships.
    pub graph: &'a Graph,
}

/// Hands every case of a realm's tests that can be asked to `visit`, those of one file, or of all.
///
/// # Errors
/// Those of [`run`].
pub fn each(files: &[SourceFile], only: Option<&str>, visit: &mut dyn FnMut(AskedCase<'_>)) -> Result<(), Vec<Fault>> {
    let mut realms = Realms { files, compiled: Vec::new() };
    for file in files.iter().filter(|file| is_test_file(file) && only.is_none_or(|only| file.path == only)) {
        run_file(file, &mut realms, visit)?;
    }
    Ok(())
}

/// The tests of a realm are the YAML files below `tests/`.
pub fn is_test_file(file: &SourceFile) -> bool {
    file.path.starts_with("tests/") && file.has_ending(&["yaml", "yml"])
}

/// Runs every test of a realm's files. A file's own claim sets, its variant and its changes count for its cases only.
///
/// # Errors
/// Faults of the test files themselves: syntax, unknown keys, records that cannot be mapped.
pub fn run(files: &[SourceFile]) -> Result<Vec<CaseResult>, Vec<Fault>> {
    let mut results = Vec::new();
    let mut faults = Vec::new();
    let mut realms = Realms { files, compiled: Vec::new() };
    realms.get(None, &Map::new(), "realm.toml")?;
    for file in files.iter().filter(|file| is_test_file(file)) {
        match run_file(file, &mut realms, &mut |_| {}) {
            Ok(cases) => results.extend(cases),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(results) } else { Err(faults) }
}

/// The realm as it stands and as test files change it, each compiled once.
struct Realms<'a> {
    files: &'a [SourceFile],
    compiled: Vec<(Change, Realm)>,
}

/// A variant's name and the changes to files.
type Change = (Option<String>, Map<String, Json>);

impl Realms<'_> {
    /// The realm with a change, compiled when it is asked for the first time.
    fn get(&mut self, variant: Option<&str>, changes: &Map<String, Json>, by: &str) -> Result<&Realm, Vec<Fault>> {
        let is_it = |change: &Change| change.0.as_deref() == variant && change.1 == *changes;
        if !self.compiled.iter().any(|(change, _)| is_it(change)) {
            let realm = self.compile(variant, changes, by)?;
            self.compiled.push(((variant.map(str::to_owned), changes.clone()), realm));
        }
        let found = self.compiled.iter().find(|(change, _)| is_it(change)).map(|(_, realm)| realm);
        found.ok_or_else(|| vec![Fault::in_file(by, "the realm of this test was not compiled")])
    }

    fn compile(&self, variant: Option<&str>, changes: &Map<String, Json>, by: &str) -> Result<Realm, Vec<Fault>> {
        if changes.is_empty() {
            return Realm::compile(self.files, variant);
        }
        let files = variant.map_or_else(|| Ok(self.files.to_vec()), |name| variant::apply(self.files, name))?;
        let changed = variant::apply_json(&files, changes, by)?;
        // The places of faults would be those of a file that nobody has.
        Realm::compile(&changed, None).map_err(|faults| {
            let named = |fault: Fault| Fault::in_file(by, format!("`changed`: {}: {}", fault.file, fault.message));
            faults.into_iter().map(named).collect()
        })
    }
}

fn run_file(
    file: &SourceFile,
    realms: &mut Realms<'_>,
    visit: &mut dyn FnMut(AskedCase<'_>),
) -> Result<Vec<CaseResult>, Vec<Fault>> {
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
    let known = ["variant", "changed", "facts", "removed", "relationships", "claim_sets", "principals", "cases"];
    let root = reader.object(&document, "the file", &known)?;
    let variant = root.get("variant").and_then(Json::as_str);
    let changes = root.get("changed").and_then(Json::as_object).cloned().unwrap_or_default();
    let overlaid = match root.get("claim_sets") {
        None => None,
        Some(sets) => {
            let mut realm = realms.compile(variant, &changes, &file.path)?;
            realm.add_claim_sets(reader.claim_sets(sets)?);
            Some(realm)
        }
    };
    let realm = match &overlaid {
        Some(realm) => realm,
        None => realms.get(variant, &changes, &file.path)?,
    };
    let graph = reader.graph(realm, root)?;
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
                "hints",
                "obligations",
            ],
        )?;
        let name = case.get("name").and_then(Json::as_str).unwrap_or(&what).to_owned();
        let differences = match reader.asked(realm, principals, case) {
            Ok((principal, request)) => {
                let (file, name, graph) = (file.path.as_str(), name.as_str(), &graph);
                visit(AskedCase { file, name, realm, principal: &principal, request: &request, graph });
                differences(case, &decide(realm, &principal, &request, graph))
            }
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

    /// The relationships after the records of `removed` came and went, and then those of `facts` and `relationships`
    /// came, as in the store: the same record again replaces its earlier self.
    fn graph(&self, realm: &Realm, root: &Map<String, Json>) -> Result<Graph, Vec<Fault>> {
        let removed = self.records(realm, "removed", root)?;
        let gone: Vec<_> = removed.iter().map(|record| relationship::Change::Delete(record.key.clone())).collect();
        let facts = self.records(realm, "facts", root)?.into_iter().chain(self.direct(realm, root)?);
        let put = relationship::Change::Put;
        let changes = removed.into_iter().map(put).chain(gone).chain(facts.map(put));
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

    fn records(&self, realm: &Realm, what: &str, root: &Map<String, Json>) -> Result<Vec<Record>, Vec<Fault>> {
        let mut mapped = Vec::new();
        for (resource, records) in root.get(what).and_then(Json::as_object).into_iter().flatten() {
            for (index, record) in records.as_array().into_iter().flatten().enumerate() {
                let record = realm
                    .relations
                    .map(resource, &record.to_string())
                    .map_err(|error| self.fault(format!("{what}.{resource}[{index}]: {error}")))?;
                mapped.push(record);
            }
        }
        Ok(mapped)
    }

    fn direct(&self, realm: &Realm, root: &Map<String, Json>) -> Result<Vec<Record>, Vec<Fault>> {
        let mut mapped = Vec::new();
        for (index, relationship) in
            root.get("relationships").and_then(Json::as_array).into_iter().flatten().enumerate()
        {
            let wrong = |message: String| self.fault(format!("relationships[{index}]: {message}"));
            let relationship = relationship_of(relationship).ok_or_else(|| {
                wrong("expected `{ subject: { Type: id }, relation: name, object: { Type: id } }`".into())
            })?;
            mapped.push(realm.relations.direct(&relationship).map_err(|error| wrong(error.to_string()))?);
        }
        Ok(mapped)
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

    fn asked(
        &self,
        realm: &Realm,
        principals: Option<&Map<String, Json>>,
        case: &Map<String, Json>,
    ) -> Result<(Principal, AccessRequest), String> {
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
        Ok((principal, request))
    }
}

fn relationship_of(json: &Json) -> Option<Relationship> {
    let (subject, object) = (entity(json.get("subject")?)?, entity(json.get("object")?)?);
    Some(Relationship { subject, relation: json.get("relation")?.as_str()?.into(), object })
}

/// `{ Type: id }`; an id of several values is a list of them.
fn entity(json: &Json) -> Option<EntityId> {
    let text = |json: &Json| json.as_str().map(str::to_owned).or_else(|| Some(json.as_i64()?.to_string()));
    let (entity_type, id) = json.as_object().filter(|object| object.len() == 1)?.iter().next()?;
    let id = match id {
        Json::Array(parts) => {
            let parts: Vec<String> = parts.iter().map(text).collect::<Option<_>>()?;
            joined_id(parts.iter().map(String::as_str))
        }
        id => text(id)?,
    };
    Some(EntityId::new(entity_type.as_str(), id))
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

fn json_of(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::from(*flag),
        Value::Long(number) => Json::from(*number),
        Value::String(text) => Json::from(&**text),
        Value::Entity(entity) => Json::from(&*entity.id),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect(),
    }
}

/// Obligations in the shape in which they are expected: a list of ids, each alone or with the parameters that matter, or
/// a mapping of ids and all their parameters.
fn as_expected(obligations: &[Obligation], expected: &Json) -> Value {
    let named = |obligation: &Obligation, parameters: Attributes| {
        Value::Record(std::iter::once((Arc::clone(&obligation.id), Value::Record(parameters))).collect())
    };
    let Some(list) = expected.as_array() else {
        let found = obligations.iter().map(|found| (Arc::clone(&found.id), Value::Record(found.parameters.clone())));
        return Value::Record(found.collect());
    };
    let found = obligations.iter().enumerate().map(|(index, obligation)| {
        let Some(Json::Object(wanted)) = list.get(index) else { return Value::String(Arc::clone(&obligation.id)) };
        let wanted: Vec<&String> = wanted.values().filter_map(Json::as_object).flat_map(Map::keys).collect();
        let parameters =
            obligation.parameters.iter().filter(|(name, _)| wanted.iter().any(|wanted| ***wanted == ***name));
        named(obligation, parameters.map(|(name, value)| (Arc::clone(name), value.clone())).collect())
    });
    Value::List(found.collect())
}

fn differences(case: &Map<String, Json>, decision: &Decision) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |what: &str, expected: String, found: String| {
        if expected != found {
            let [expected, found] = [expected, found].map(|text| if text.is_empty() { "nothing".into() } else { text });
            differences.push(format!("{what}: expected {expected}, found {found}"));
        }
    };
    let effect = if decision.outcome.effect() == Effect::Allow { "ALLOW" } else { "DENY" };
    compare("decision", case.get("expect").and_then(Json::as_str).unwrap_or_default().to_owned(), effect.to_owned());
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
    if let Some(expected) = list("hints") {
        compare("hints", expected, join(decision.reasons.iter().take(1).flat_map(|reason| &reason.hints).collect()));
    }
    if let Some(expected) = case.get("obligations") {
        let found = as_expected(&decision.obligations, expected);
        compare("obligations", json_of(&value(expected)).to_string(), json_of(&found).to_string());
    }
    if let Some(expected) = list("policies") {
        compare("policies", expected, join(decision.determining_policies.iter().collect()));
    }
    for (member, expected) in case.get("problem").and_then(Json::as_object).into_iter().flatten() {
        let denial = decision.denial.clone().unwrap_or_default();
        let found = match member.as_str() {
            "status" => Json::from(denial.status),
            "type" => Json::from(denial.problem_type),
            "title" => Json::from(denial.title),
            "detail" => Json::from(denial.detail),
            "errors" => Json::from(denial.errors),
            "headers" => denial.headers.into_iter().map(|(name, value)| (name.to_string(), value)).collect(),
            "members" => json_of(&Value::Record(denial.members)),
            _ => Json::Null,
        };
        // The order of an object's members says nothing.
        let sorted = |json: &Json| json_of(&value(json)).to_string();
        compare(&format!("problem.{member}"), sorted(expected), sorted(&found));
    }
    differences
}
