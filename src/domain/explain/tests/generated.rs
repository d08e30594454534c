//! Questions to drawn districts: who belongs where, who asks, and by which strategies.

use std::sync::{Arc, LazyLock};

use proptest::{prelude::*, sample::select, strategy::ValueTree, test_runner::TestRunner};
use serde_json::json;

use super::{applied, files, is_consistent};
use crate::domain::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::Outcome,
    explain::explain,
    graph::Graph,
    id::EntityId,
    principal::Principal,
    realm::Realm,
    relationship::Relationship,
    value::Value,
};

static REALM: LazyLock<Realm> = LazyLock::new(|| Realm::compile(&files("edfi"), None).unwrap());

const TYPES: [(&str, &[&str]); 5] = [
    ("ed-fi/students", &["studentUniqueId"]),
    ("ed-fi/studentSchoolAssociations", &["studentReference.studentUniqueId", "schoolReference.schoolId"]),
    ("ed-fi/staffs", &["staffUniqueId"]),
    ("ed-fi/contacts", &["contactUniqueId"]),
    ("ed-fi/schools", &["schoolId"]),
];

#[derive(Clone, Debug)]
struct World {
    edges: Vec<(u8, u8, u8)>,
    claim_set: Arc<str>,
    organizations: Vec<u8>,
    asked: usize,
    values: Vec<Option<u8>>,
    action: &'static str,
}

fn world() -> impl Strategy<Value = World> {
    let claim_sets: Vec<Arc<str>> = REALM.grants.as_ref().unwrap().claim_sets();
    (
        proptest::collection::vec((0..5_u8, 0..4_u8, 0..6_u8), 0..14),
        select(claim_sets),
        proptest::collection::vec(0..6_u8, 0..3),
        0..TYPES.len(),
        proptest::collection::vec(proptest::option::weighted(0.9, 0..4_u8), 2),
        select(vec!["Read", "Update", "ReadChanges"]),
    )
        .prop_map(|(edges, claim_set, organizations, asked, values, action)| World {
            edges,
            claim_set,
            organizations,
            asked,
            values,
            action,
        })
}

fn organization(number: u8) -> EntityId {
    EntityId::new("EducationOrganization", format!("{}", 100 + u32::from(number)))
}

fn graph(edges: &[(u8, u8, u8)]) -> Graph {
    let mut graph = Graph::new();
    for (kind, from, to) in edges {
        let id = format!("p{from}");
        let (subject, relation, object) = match kind {
            0 => (organization(*from), "belongs_to", organization(*to)),
            1 => (EntityId::new("Student", id), "enrolled_at", organization(*to)),
            2 => (EntityId::new("Staff", id), "employed_by", organization(*to)),
            3 => (EntityId::new("Contact", id), "contact_of", EntityId::new("Student", format!("p{to}"))),
            _ => (EntityId::new("StudentResponsibility", id), "responsibility_of", organization(*to)),
        };
        let relationship = Relationship { subject, relation: relation.into(), object };
        graph.insert(&REALM.relations.direct(&relationship).unwrap());
    }
    graph
}

fn asked(world: &World) -> Option<(Principal, AccessRequest, Graph)> {
    let organizations: Vec<String> =
        world.organizations.iter().map(|number| organization(*number).id.to_string()).collect();
    let claims = json!({
        "client_id": "client",
        "sub": "client",
        "scope": *world.claim_set,
        "educationOrganizationIds": organizations.join(","),
        "namespacePrefixes": "uri://ed-fi.org",
    });
    let claims = claims.as_object().unwrap();
    let principal = Principal::from_claims(&REALM, claims).ok()?;
    let (resource_type, paths) = TYPES[world.asked];
    let values = paths.iter().zip(&world.values).filter_map(|(path, number)| {
        let number = (*number)?;
        let is_organization = path.ends_with("schoolId");
        let id = if is_organization { organization(number).id.to_string() } else { format!("p{number}") };
        Some((Arc::from(*path), Value::String(id.into())))
    });
    let values: crate::domain::value::Attributes = values.collect();
    let question = Question {
        action: world.action.into(),
        resource_type: resource_type.into(),
        resource_id: "1".into(),
        proposed: (world.action == "Update").then(|| values.clone()),
        attributes: Some(values),
        ..Question::default()
    };
    let request = AccessRequest::check(&REALM, &question).ok()?;
    Some((principal, request, graph(&world.edges)))
}

#[test]
fn every_remedy_of_generated_denials_turns_them() {
    let (mut denials, mut with_remedy, mut remedies, mut applied_some) = (0, 0, 0, 0);
    let mut runner = TestRunner::deterministic();
    let worlds = world();
    for _ in 0..400 {
        let world = worlds.new_tree(&mut runner).unwrap().current();
        let Some((principal, request, graph)) = asked(&world) else { continue };
        let before = decide(&REALM, &principal, &request, &graph);
        let explanation = explain(&REALM, &principal, &request, &graph);
        assert_eq!(before, decide(&REALM, &principal, &request, &graph), "{world:?}");
        is_consistent(&explanation);
        if before.outcome == Outcome::Allowed {
            continue;
        }
        denials += 1;
        with_remedy += usize::from(!explanation.remedies.found.is_empty());
        for remedy in &explanation.remedies.found {
            remedies += 1;
            if let Some(outcome) = applied(&remedy.fact, &REALM, &principal, &request, &graph) {
                applied_some += 1;
                assert_eq!(outcome, Outcome::Allowed, "{world:?} {remedy:?}");
            }
        }
    }
    println!("denials {denials}, with a remedy {with_remedy}, remedies {remedies}, applied and flipped {applied_some}");
    assert!(
        denials > 100 && with_remedy * 2 > denials && applied_some * 2 > remedies,
        "{denials} {with_remedy} {applied_some}"
    );
}

#[test]
fn a_person_who_is_out_of_reach_looks_as_one_who_is_not_there() {
    // Student p1 is enrolled at 105, which belongs to 104; nobody has ever heard of p9.
    let edges = [(0, 1, 0), (1, 0, 1), (0, 5, 4), (1, 1, 5), (2, 1, 5), (3, 1, 1), (4, 1, 5)];
    let mut compared = 0;
    for claim_set in REALM.grants.as_ref().unwrap().claim_sets() {
        for asked_type in 0..4 {
            for action in ["Read", "Update", "ReadChanges"] {
                let world = World {
                    edges: edges.to_vec(),
                    claim_set: Arc::clone(&claim_set),
                    organizations: vec![0],
                    asked: asked_type,
                    values: vec![Some(1), Some(1)],
                    action,
                };
                let Some((principal, there, graph)) = asked(&world) else { continue };
                let mut absent = there.clone();
                for value in absent.phases.iter_mut().flat_map(|phase| phase.values.iter_mut().flatten()) {
                    if let Value::Entity(entity) = value
                        && *entity.id == *"p1"
                    {
                        entity.id = "p9".into();
                    }
                }
                let told = |request: &AccessRequest| {
                    let explanation = explain(&REALM, &principal, request, &graph);
                    (explanation.outcome, format!("{explanation:#?}"))
                };
                let ((outcome, there), (_, absent)) = (told(&there), told(&absent));
                if outcome != Outcome::Allowed {
                    compared += 1;
                    assert_eq!(there.replace("p1", "p9"), absent, "{world:?}");
                    assert!(!there.contains("\"105\"") && !there.contains("\"104\""), "{there}");
                }
            }
        }
    }
    assert!(compared > 20, "{compared}");
}
