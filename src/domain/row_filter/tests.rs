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
    value::Attributes,
};

/// A claim set for each strategy alone and for each pair of them.
static REALM: LazyLock<(Realm, Vec<Arc<str>>)> = LazyLock::new(|| {
    let mut realm = shipped();
    let strategies: Vec<Arc<str>> =
        realm.file.grants.as_ref().unwrap().strategies.iter().map(|(name, _)| Arc::clone(name)).collect();
    let mut lists: Vec<Vec<Arc<str>>> = strategies.iter().map(|name| vec![Arc::clone(name)]).collect();
    for (place, one) in strategies.iter().enumerate() {
        lists.extend(strategies.iter().skip(place + 1).map(|other| vec![Arc::clone(one), Arc::clone(other)]));
    }
    let mut types: Vec<Arc<str>> = representatives(&realm).into_iter().map(|it| Arc::clone(&it.name)).collect();
    types.extend(NAMED.map(Arc::from));
    let sets: Vec<_> = lists
        .into_iter()
        .map(|list| {
            let granted = types.iter().map(|name| (Arc::clone(name), vec![("Read".into(), list.clone())]));
            (Arc::from(list.join("+")), granted.collect())
        })
        .collect();
    let names = sets.iter().map(|(name, _)| Arc::clone(name)).collect();
    realm.add_claim_sets(sets);
    (realm, names)
});

const NAMED: [&str; 3] = ["ed-fi/students", "ed-fi/studentSchoolAssociations", "ed-fi/courses"];

fn shipped() -> Realm {
    let mut files = Vec::new();
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
    Realm::compile(&files, None).unwrap()
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
    if realm.relations.prefixes(entity_type).is_some() {
        return ["uri://ed-fi.org/a", "uri://ed-fi.org.example", "uri://a", "uri://A", "x"].map(str::to_owned).to_vec();
    }
    (1..=5).map(|number| number.to_string()).collect()
}

fn value(realm: &Realm, value_type: &AttributeType, number: usize) -> Value {
    let pick = |ids: Vec<String>| ids[number % ids.len()].clone().into();
    match value_type {
        AttributeType::Bool => Value::Bool(number % 2 == 0),
        AttributeType::Long => Value::Long(i64::try_from(number % 4).unwrap()),
        AttributeType::Entity(name) => Value::String(pick(ids(realm, name))),
        AttributeType::Set(element) => Value::List(vec![value(realm, element, number)]),
        _ => Value::String(pick((1..=5).map(|number| number.to_string()).collect())),
    }
}

fn graph(realm: &Realm, drawn: &[(usize, usize, usize)]) -> Graph {
    let mut graph = Graph::new();
    let rules: Vec<_> = realm.relations.relation_rules().collect();
    for (place, (relation, subject, object)) in drawn.iter().enumerate() {
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
        let key = RecordKey { resource: RecordKey::DIRECT.into(), key: place.to_string().into() };
        graph.insert(&Record { key, relationships: vec![relationship], facts: None });
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

fn asked(realm: &Realm, resource_type: &ResourceType, values: Option<&[Option<usize>]>) -> AccessRequest {
    let attributes = values.map(|values| -> Attributes {
        let subjects = resource_type.subjects.iter().zip(values.iter().cycle());
        subjects
            .filter_map(|(subject, number)| {
                Some((Arc::clone(&subject.path), value(realm, &subject.value_type, (*number)?)))
            })
            .collect()
    });
    let question = Question {
        action: "Read".into(),
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_passes_the_filter_is_what_the_decision_allows(
        drawn in prop::collection::vec((0_usize..20, 0_usize..5, 0_usize..5), 0..25),
        organizations in prop::collection::vec(0_usize..5, 0..3),
        prefixes in prop::collection::vec(0_usize..3, 0..3),
        items in prop::collection::vec(item(), 12),
    ) {
        let (realm, claim_sets) = &*REALM;
        let graph = graph(realm, &drawn);
        for resource_type in representatives(realm) {
            for claim_set in claim_sets {
                let principal = principal(realm, claim_set, &organizations, &prefixes);
                let answer = row_filter(realm, &principal, &asked(realm, &resource_type, None), &graph);
                for item in &items {
                    let request = asked(realm, &resource_type, Some(item));
                    let decision = decide(realm, &principal, &request, &graph);
                    let passes = match &answer {
                        Answer::Refused(refusal) => {
                            prop_assert_ne!(refusal.outcome, Outcome::Allowed);
                            false
                        }
                        Answer::Filtered(filter) => {
                            holds(filter, realm, &principal, &resource_type, &request.phases[0].values, &graph)
                        }
                        Answer::Inexpressible => return Err(TestCaseError::fail(format!("{claim_set} on {}", resource_type.name))),
                    };
                    prop_assert_eq!(
                        passes, decision.outcome == Outcome::Allowed,
                        "{} on {}: {:?} says so of {:?}, and the decision is {:?}",
                        claim_set, resource_type.name, answer, request.phases[0].values, decision
                    );
                }
            }
        }
    }
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
        graph.insert(&Record { key, relationships: vec![relationship], facts: None });
    }
    graph
}

/// The answer for a client of district 2 with these prefixes, unless it has no organizations.
fn answer(claim_set: &str, resource_type: &str, organizations: &[usize], prefixes: &[usize]) -> Answer {
    let (realm, _) = &*REALM;
    let principal = principal(realm, claim_set, organizations, prefixes);
    let request = asked(realm, &realm.resource_types[resource_type], None);
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
    let (realm, _) = &*REALM;
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
    let (realm, _) = &*REALM;
    let survey = representatives(realm)
        .into_iter()
        .find(|it| it.subjects.iter().any(|subject| &*subject.attribute == "namespace"))
        .unwrap();
    for (claim_set, resource_type, code) in [
        ("NamespaceBased", &*survey.name, "NAMESPACE_NO_PREFIXES"),
        ("NamespaceBased", "ed-fi/schools", "RESOURCE_NOT_IN_CLAIM_SET"),
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
fn an_obligation_that_the_caller_cannot_fulfil_refuses_only_what_could_pass() {
    let (realm, _) = &*REALM;
    let resource_type = &realm.resource_types["ed-fi/students"];
    let request = AccessRequest { supported_obligations: Some(Vec::new()), ..asked(realm, resource_type, None) };
    let principal = principal(realm, "RelationshipsWithStudentsOnly", &[1], &[]);
    assert!(matches!(row_filter(realm, &principal, &request, &Graph::new()), Answer::Filtered(Filter::Is(_))));
}

#[test]
fn an_obligation_says_what_a_query_needs() {
    assert_eq!(tree("NoFurtherAuthorizationRequired", "ed-fi/students", &[]), "all");
    let student = tree("RelationshipsWithStudentsOnly", "ed-fi/studentSchoolAssociations", &[]);
    assert_eq!(
        student,
        json!({
            "test": "within", "subject": "student", "path": STUDENT, "name": "StudentUniqueId",
            "entity_type": "Student", "relations": ["enrolled_at", "belongs_to"],
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
    assert_eq!(
        tree,
        json!({
            "test": "prefix", "subject": "namespace", "path": "namespace", "name": "Namespace", "entity_type": "Namespace",
            "prefixes": ["uri://a", "uri://ed-fi.org"], "boundary": "none", "case": "exact",
        })
    );
}
