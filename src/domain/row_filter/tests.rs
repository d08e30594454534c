//! On the shipped rules: the filter passes exactly what the decision allows.

use std::{collections::BTreeMap, fs, path::Path, sync::LazyLock};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::{
    access_request::Question,
    decide::decide,
    policy_set::SourceFile,
    relationship::{Record, RecordKey, Relationship},
    resource_type::joined_id,
    value::Attributes,
};

/// The shipped rules as they stand, and with every setting that changes what they allow.
static REALMS: LazyLock<[(Realm, Vec<Arc<str>>); 2]> = LazyLock::new(|| [None, Some("other")].map(granted));

const OTHER: &str = r#"
["realm.toml".settings]
noFurtherAuthorizationPermits = true
missingOrganizationForbids = true
["relations.toml".entities.Namespace]
prefix_boundary = "segment"
prefix_case = "ignore"
"#;

const ACTIONS: [&str; 2] = ["Read", "ReadChanges"];

const NAMED: [&str; 3] = ["ed-fi/students", "ed-fi/studentSchoolAssociations", "ed-fi/courses"];

/// The rules with a claim set for each strategy alone and for each pair of them.
fn granted(variant: Option<&str>) -> (Realm, Vec<Arc<str>>) {
    let mut realm = shipped(variant);
    let strategies: Vec<Arc<str>> =
        realm.file.grants.as_ref().unwrap().strategies.iter().map(|(name, _)| Arc::clone(name)).collect();
    let mut lists: Vec<Vec<Arc<str>>> = strategies.iter().map(|name| vec![Arc::clone(name)]).collect();
    for (place, one) in strategies.iter().enumerate() {
        lists.extend(strategies.iter().skip(place + 1).map(|other| vec![Arc::clone(one), Arc::clone(other)]));
    }
    let mut types: Vec<Arc<str>> = representatives(&realm).into_iter().map(|it| Arc::clone(&it.name)).collect();
    types.extend(NAMED.map(Arc::from));
    let sets = lists.into_iter().map(|list| {
        let granted =
            types.iter().map(|name| (Arc::clone(name), ACTIONS.map(|action| (action.into(), list.clone())).to_vec()));
        (Arc::from(list.join("+")), granted.collect())
    });
    let sets: Vec<_> = sets.collect();
    let names = sets.iter().map(|(name, _)| Arc::clone(name)).collect();
    realm = realm.with_claim_sets(sets);
    (realm, names)
}

fn shipped(variant: Option<&str>) -> Realm {
    let mut files = vec![SourceFile { path: "variants/other.toml".to_owned(), content: OTHER.to_owned() }];
    let mut open = vec![Path::new("policies/edfi").to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix("policies/edfi").unwrap().to_str().unwrap().to_owned();
            files.push(SourceFile { path: name, content: fs::read_to_string(&path).unwrap() });
        }
    }
    Realm::compile(&files, variant).unwrap()
}

/// One resource type for each set of attributes that some type has.
fn representatives(realm: &Realm) -> Vec<Arc<ResourceType>> {
    let mut found: BTreeMap<Vec<Arc<str>>, Arc<ResourceType>> = BTreeMap::new();
    for resource_type in realm.resource_types.values() {
        let attributes = resource_type.subjects.iter().map(|subject| Arc::clone(&subject.attribute)).collect();
        found.entry(attributes).or_insert_with(|| Arc::clone(resource_type));
    }
    found.into_values().collect()
}

fn ids(realm: &Realm, entity_type: &str) -> Vec<String> {
    const NAMESPACES: [&str; 5] = ["uri://ed-fi.org/a", "uri://ed-fi.org.example", "uri://a", "uri://A", "x"];
    if realm.relations.prefixes(entity_type).is_some() {
        return NAMESPACES.map(str::to_owned).to_vec();
    }
    match entity_type {
        "View" => ["StudentWithCTECourseEnrollments", "AssessmentWithAnACTIdentifier"].map(str::to_owned).to_vec(),
        "Assessment" => NAMESPACES.map(|namespace| joined_id(["1", namespace])).to_vec(),
        _ => (1..=5).map(|number| number.to_string()).collect(),
    }
}

fn value(realm: &Realm, value_type: &AttributeType, number: usize) -> Value {
    let AttributeType::Entity(name) = value_type else { panic!("no shipped subject is of another type") };
    let ids = ids(realm, name);
    Value::String(ids[number % ids.len()].as_str().into())
}

/// Relationships, and whether each is one of the past.
fn relationships(realm: &Realm, drawn: &[(usize, usize, usize, bool)]) -> Vec<(Relationship, bool)> {
    let rules: Vec<_> = realm.relations.relation_rules().collect();
    let related = drawn.iter().map(|(relation, subject, object, is_past)| {
        let (name, rule) = rules[relation % rules.len()];
        let end = |entity_type: &Arc<str>, number: usize| {
            let ids = ids(realm, entity_type);
            EntityId::new(Arc::clone(entity_type), ids[number % ids.len()].as_str())
        };
        let relationship = Relationship {
            subject: end(&rule.subject, *subject),
            relation: Arc::clone(name),
            object: end(&rule.object, *object),
        };
        (relationship, *is_past)
    });
    related.collect()
}

fn graph(related: &[(Relationship, bool)]) -> Graph {
    let mut graph = Graph::new();
    for (place, (relationship, is_past)) in related.iter().enumerate() {
        let relationship = relationship.clone();
        let key = RecordKey { resource: RecordKey::DIRECT.into(), key: place.to_string().into() };
        let (present, removed) = if *is_past { (vec![], vec![relationship]) } else { (vec![relationship], vec![]) };
        graph.insert(&Record { removed, ..Record::new(key, present, None) });
    }
    graph
}

fn principal(realm: &Realm, claim_set: &str, organizations: &[usize], prefixes: &[usize]) -> Principal {
    let prefixes: Vec<&str> = prefixes.iter().map(|it| ["uri://ed-fi.org", "uri://a", "uri://"][it % 3]).collect();
    let organizations: Vec<String> = organizations.iter().map(|it| (it % 5 + 1).to_string()).collect();
    let claims = json!({
        "client_id": "c", "scope": claim_set,
        "educationOrganizationIds": organizations.join(","), "namespacePrefixes": prefixes.join(","),
        "ownershipTokenIds": ["1", "2"],
    });
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

fn asked(realm: &Realm, action: &str, resource_type: &ResourceType, values: Option<&[Option<usize>]>) -> AccessRequest {
    let attributes = values.map(|values| -> Attributes {
        let subjects = resource_type.subjects.iter().zip(values.iter().cycle());
        let given = subjects.filter_map(|(subject, number)| Some((subject, (*number)?)));
        // Of an id of two parts, the second is the namespace, which is another subject's value too.
        let given = given.map(|(subject, number)| {
            let is_one = subject.more.is_empty();
            let given = if is_one { value(realm, &subject.value_type, number) } else { Value::String("1".into()) };
            (Arc::clone(&subject.path), given)
        });
        given.collect()
    });
    let question = Question {
        action: action.into(),
        resource_type: Arc::clone(&resource_type.name),
        resource_id: "i".into(),
        attributes: Some(attributes.unwrap_or_default()),
        ..Question::default()
    };
    AccessRequest::check(realm, &question).unwrap()
}

fn item() -> impl Strategy<Value = Vec<Option<usize>>> {
    prop::collection::vec(prop::option::weighted(0.85, 0_usize..5), 8)
}

/// What an API makes of the obligation, with nothing but its own tables of relationships.
struct Query<'a> {
    realm: &'a Realm,
    related: &'a [(Relationship, bool)],
    tree: serde_json::Value,
}

type Json = serde_json::Value;

impl Query<'_> {
    fn shows(&self, resource_type: &ResourceType, values: &[Option<Value>]) -> bool {
        let named = resource_type.subjects.iter().map(|subject| &*subject.attribute);
        let row: BTreeMap<&str, &Value> =
            named.zip(values).filter_map(|(name, it)| Some((name, it.as_ref()?))).collect();
        match self.tree["decision"].as_str().unwrap() {
            "all" => true,
            "none" => false,
            _ => self.passes(&self.tree["filter"], &row),
        }
    }

    fn passes(&self, node: &Json, row: &BTreeMap<&str, &Value>) -> bool {
        let texts = |list: &Json| -> Vec<String> {
            let text = |it: &Json| it.as_str().map_or_else(|| it.to_string(), str::to_owned);
            list.as_array().unwrap().iter().map(text).collect()
        };
        let each = |part: &Json| self.passes(part, row);
        if let Some(parts) = node["all"].as_array() {
            return parts.iter().all(each);
        } else if let Some(parts) = node["any"].as_array() {
            return parts.iter().any(each);
        } else if !node["not"].is_null() {
            return !self.passes(&node["not"], row);
        }
        let Some(Value::Entity(value)) = row.get(node["subject"].as_str().unwrap()) else { return false };
        let start = EntityId { entity_type: node["entity_type"].as_str().unwrap().into(), ..value.clone() };
        let of = |name: &str, ids: &Json| -> Vec<EntityId> {
            texts(ids).into_iter().map(|id| EntityId::new(node[name].as_str().unwrap(), id)).collect()
        };
        match node["test"].as_str().unwrap() {
            "has_value" => true,
            "one_of" => texts(&node["values"]).contains(&value.id.to_string()),
            "prefix" => texts(&node["prefixes"]).iter().any(|prefix| is_like(&value.id, prefix, node)),
            "within" => {
                assert_eq!(node["expanded"], true);
                let above = self.above(vec![start.clone()], node, |_| true);
                let is_within = of("ids_type", &node["ids"]).iter().any(|id| above.contains(id));
                // With the closure applied, no step within the type of the ids is needed.
                let is_no_step = |step: &Relationship| step.subject.entity_type != step.object.entity_type;
                let above = self.above(vec![start], node, is_no_step);
                assert_eq!(of("ids_type", &node["expanded_ids"]).iter().any(|id| above.contains(id)), is_within);
                is_within
            }
            "contains" => {
                let is_above = self.above(of("ids_type", &node["ids"]), node, |_| true).contains(&start);
                assert_eq!(of("entity_type", &node["expanded_ids"]).contains(&start), is_above);
                is_above
            }
            other => panic!("unknown test `{other}`"),
        }
    }

    /// The entities and whatever the relations of a test lead to from them.
    fn above(&self, start: Vec<EntityId>, node: &Json, takes: impl Fn(&Relationship) -> bool) -> Vec<EntityId> {
        let relations = node["relations"].as_array().unwrap();
        let base = |it: EntityId| match self.realm.relations.history_of(&it.entity_type) {
            Some(base) => EntityId { entity_type: Arc::clone(base), ..it },
            None => it,
        };
        let mut met: Vec<EntityId> = start.into_iter().map(base).collect();
        let mut place = 0;
        while let Some(current) = met.get(place).cloned() {
            place += 1;
            for (step, is_past) in self.related {
                let is_remembered =
                    node["removed"] == true && self.realm.relations.remembered().contains(&step.relation);
                let counts = !is_past || is_remembered;
                if counts && step.subject == current && relations.contains(&json!(&*step.relation)) && takes(step) {
                    met.extend((!met.contains(&step.object)).then(|| step.object.clone()));
                }
            }
        }
        met
    }
}

fn is_like(value: &str, prefix: &str, node: &Json) -> bool {
    let (value, prefix) = match node["case"].as_str().unwrap() {
        "ignore" => (value.to_lowercase(), prefix.to_lowercase()),
        _ => (value.to_owned(), prefix.to_owned()),
    };
    let Some(rest) = value.strip_prefix(&prefix) else { return false };
    node["boundary"] == "plain" || rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_passes_the_filter_is_what_the_decision_allows(
        drawn in prop::collection::vec((0_usize..20, 0_usize..5, 0_usize..5, prop::bool::weighted(0.2)), 0..25),
        (variant, share) in (0_usize..2, 0_usize..8),
        action in prop::sample::select(ACTIONS.to_vec()),
        organizations in prop::collection::vec(0_usize..5, 0..3),
        prefixes in prop::collection::vec(0_usize..3, 0..3),
        items in prop::collection::vec(item(), 8),
    ) {
        let (realm, claim_sets) = &REALMS[variant];
        let related = relationships(realm, &drawn);
        let graph = graph(&related);
        let types = representatives(realm);
        let pairs = types.iter().flat_map(|it| claim_sets.iter().map(move |claim_set| (it, claim_set)));
        for (resource_type, claim_set) in pairs.skip(share).step_by(8) {
            let principal = principal(realm, claim_set, &organizations, &prefixes);
            let answer = row_filter(realm, &principal, &asked(realm, action, resource_type, None), &graph);
            let query = match &answer {
                Answer::Filtered(filter) => {
                    let obligation = obligation(filter, realm, &principal, resource_type, &graph);
                    Some(Query { realm, related: &related, tree: json_of(&Value::Record(obligation.parameters)) })
                }
                _ => None,
            };
            for item in &items {
                let request = asked(realm, action, resource_type, Some(item));
                let decision = decide(realm, &principal, &request, &graph);
                let values = &request.phases[0].values;
                let passes = match &answer {
                    Answer::Refused(_) => false,
                    Answer::Filtered(filter) => holds(filter, realm, &principal, values, &graph),
                    Answer::Inexpressible => {
                        return Err(TestCaseError::fail(format!("{claim_set} on {}", resource_type.name)));
                    }
                };
                prop_assert_eq!(
                    passes, decision.outcome == Outcome::Allowed,
                    "{} on {}: {:?} says so of {:?}, and the decision is {:?}",
                    claim_set, resource_type.name, answer, values, decision
                );
                if let Some(query) = &query {
                    prop_assert_eq!(passes, query.shows(resource_type, values), "{:?}: {}", values, query.tree);
                }
            }
        }
    }
}

#[test]
fn most_filters_of_the_shipped_rules_depend_on_the_values_and_none_is_longer_than_they_need() {
    let (mut conditional, mut all) = (0, 0);
    for (realm, claim_sets) in &*REALMS {
        for resource_type in representatives(realm) {
            for claim_set in claim_sets {
                let principal = principal(realm, claim_set, &[1, 2], &[0, 1]);
                let request = asked(realm, "Read", &resource_type, None);
                all += 1;
                match row_filter(realm, &principal, &request, &Graph::new()) {
                    Answer::Filtered(Filter::All | Filter::None) | Answer::Refused(_) => {}
                    Answer::Filtered(filter) => {
                        conditional += 1;
                        assert!(filter.size() <= 10, "{claim_set} on {}: {filter:?}", resource_type.name);
                    }
                    Answer::Inexpressible => panic!("{claim_set} on {}", resource_type.name),
                }
            }
        }
    }
    println!("{conditional} of {all}");
    assert!(conditional > 800, "{conditional} of {all}");
}

/// Two districts in a state, one school in the first, and who asks.
const HIERARCHY: [(&str, &str, &str); 3] = [
    ("EducationOrganization::2", "belongs_to", "EducationOrganization::1"),
    ("EducationOrganization::3", "belongs_to", "EducationOrganization::1"),
    ("EducationOrganization::4", "belongs_to", "EducationOrganization::2"),
];

fn hierarchy() -> Graph {
    let entity = |text: &str| {
        let (entity_type, id) = text.split_once("::").unwrap();
        EntityId::new(entity_type, id)
    };
    let mut graph = Graph::new();
    for (place, (subject, relation, object)) in HIERARCHY.iter().enumerate() {
        let relationship =
            Relationship { subject: entity(subject), relation: (*relation).into(), object: entity(object) };
        let key = RecordKey { resource: RecordKey::DIRECT.into(), key: place.to_string().into() };
        graph.insert(&Record::new(key, vec![relationship], None));
    }
    graph
}

/// The answer for a client of district 2 with these prefixes, unless it has no organizations.
fn answer(claim_set: &str, resource_type: &str, organizations: &[usize], prefixes: &[usize]) -> Answer {
    let (realm, _) = &REALMS[0];
    let principal = principal(realm, claim_set, organizations, prefixes);
    let request = asked(realm, "Read", &realm.resource_types[resource_type], None);
    row_filter(realm, &principal, &request, &hierarchy())
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Long(number) => json!(number),
        Value::String(text) => json!(&**text),
        Value::Entity(entity) => json!(entity.to_string()),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect(),
        Value::Null => serde_json::Value::Null,
    }
}

/// The filter tree of the obligation.
fn tree(claim_set: &str, resource_type: &str, prefixes: &[usize]) -> serde_json::Value {
    let (realm, _) = &REALMS[0];
    let Answer::Filtered(filter) = answer(claim_set, resource_type, &[1], prefixes) else { panic!("no filter") };
    let principal = principal(realm, claim_set, &[1], prefixes);
    let obligation = obligation(&filter, realm, &principal, &realm.resource_types[resource_type], &hierarchy());
    let mut parameters = json_of(&Value::Record(obligation.parameters));
    assert_eq!(parameters["policy_version"], *realm.version.0);
    assert_eq!(parameters["null_rule"], "exclude");
    match parameters["decision"].as_str().unwrap() {
        "conditional" => parameters["filter"].take(),
        decision => decision.into(),
    }
}

const STUDENT: &str = "studentReference.studentUniqueId";

#[test]
fn a_client_without_organizations_gets_an_empty_list_and_no_refusal() {
    let answer = answer("RelationshipsWithStudentsOnly", "ed-fi/students", &[], &[]);
    assert_eq!(answer, Answer::Filtered(Filter::None));
}

#[test]
fn what_refuses_whatever_the_values_are_refuses_the_whole_list_with_its_own_denial() {
    let (realm, _) = &REALMS[0];
    let survey = representatives(realm)
        .into_iter()
        .find(|it| it.subjects.iter().any(|subject| &*subject.attribute == "namespace"))
        .unwrap();
    for (claim_set, resource_type, code) in [
        ("NamespaceBased", &*survey.name, "NAMESPACE_NONE"),
        ("NamespaceBased", "ed-fi/schools", "RESOURCE_NOT_GRANTED"),
        ("Nobody's", "ed-fi/students", "CONFIGURATION_ERROR"),
    ] {
        let Answer::Refused(refusal) = answer(claim_set, resource_type, &[1], &[]) else {
            panic!("{claim_set} on {resource_type} is not refused");
        };
        let codes: Vec<&str> = refusal.reasons.iter().map(|reason| &*reason.code).collect();
        assert_eq!(codes, [code]);
        assert!(refusal.denial.unwrap().status >= 403);
    }
}

#[test]
fn an_obligation_says_what_a_query_needs() {
    assert_eq!(tree("NoFurtherAuthorizationRequired", "ed-fi/students", &[]), "all");
    let student = tree("RelationshipsWithStudentsOnly", "ed-fi/studentSchoolAssociations", &[]);
    assert_eq!(
        student,
        json!({
            "test": "within", "subject": "student", "path": STUDENT, "name": "StudentUniqueId",
            "entity_type": "Student", "relations": ["enrolled_at", "belongs_to"], "removed": false,
            "ids_type": "EducationOrganization", "ids": [2], "expanded": true, "expanded_ids": [2, 4],
        })
    );
    let responsible =
        tree("RelationshipsWithStudentsOnlyThroughResponsibility", "ed-fi/studentSchoolAssociations", &[]);
    assert_eq!(responsible["relations"], json!(["responsibility_of", "belongs_to"]));
    assert_eq!(responsible["links"], json!(["responsibility"]));
    assert_eq!(responsible["entity_type"], "StudentResponsibility");
    let contact = tree("RelationshipsWithPeopleOnly", "ed-fi/contacts", &[]);
    assert_eq!(contact["relations"], json!(["contact_of", "enrolled_at", "belongs_to"]));
    let upwards = tree("RelationshipsWithEdOrgsOnlyInverted", "ed-fi/courses", &[]);
    assert_eq!(upwards["test"], "contains");
    assert_eq!((&upwards["ids"], &upwards["expanded_ids"]), (&json!([2]), &json!([1, 2])));
    assert_eq!(upwards["relations"], json!(["belongs_to"]));
}

#[test]
fn strategies_that_must_all_hold_stand_beside_those_of_which_one_is_enough() {
    let tree = tree("NamespaceBased+RelationshipsWithEdOrgsOnly", "ed-fi/surveyCourseAssociations", &[0, 1]);
    assert_eq!(tree["all"][0]["test"], "within");
    assert_eq!(
        tree["all"][1],
        json!({
            "test": "prefix", "subject": "namespace", "path": "surveyReference.namespace", "name": "Namespace",
            "entity_type": "Namespace", "prefixes": ["uri://a", "uri://ed-fi.org"], "boundary": "plain", "case": "exact",
        })
    );
    assert_eq!(tree["all"].as_array().unwrap().len(), 2);
}
