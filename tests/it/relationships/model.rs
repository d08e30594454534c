//! The Ed-Fi rules over few people and organizations, and what they should answer, worked out from the records alone.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use hallpass::domain::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::Outcome,
    graph::Graph,
    id::Revision,
    principal::Principal,
    realm::Realm,
    relationship::{Change, Record, RecordKey, Relationship, Written, settle},
    value::{Attributes, Value},
};
use hallpass::provider::realm_files::read_folder;
use proptest::prelude::*;
use serde_json::{Value as Json, json};

pub(super) const ORGANIZATIONS: std::ops::RangeInclusive<i64> = 1..=6;
const PEOPLE: [&str; 3] = ["a", "b", "c"];

/// A record: its resource and content.
pub(super) type Source = (&'static str, Json);

/// The rules, with one claim set for each list of strategies.
pub(super) fn realm(claim_sets: &[(&str, &[&str])]) -> Realm {
    let mut files = read_folder(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/edfi")).unwrap();
    let granted: BTreeMap<&str, Json> = claim_sets
        .iter()
        .map(|(name, strategies)| (*name, json!({ "Read": strategies, "ReadChanges": strategies })))
        .collect();
    let node = json!({ "parent": null, "defaults": {}, "claim_sets": granted });
    let claims: BTreeMap<String, &Json> = ["student", "contact", "staff", "course", "studentSchoolAssociation"]
        .into_iter()
        .map(|name| (format!("http://ed-fi.org/identity/claims/ed-fi/{name}"), &node))
        .collect();
    let grants = files.iter_mut().find(|file| file.path == "grants.json").unwrap();
    grants.content = json!({ "source": "tests", "claims": claims }).to_string();
    Realm::compile(&files, None).unwrap_or_else(|faults| panic!("{faults:?}"))
}

pub(super) fn client(realm: &Realm, claim_set: &str, organization: i64) -> Principal {
    let claims = json!({ "client_id": "c", "scope": claim_set, "educationOrganizationIds": organization.to_string() });
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

/// A record of an organization or a person, of few keys, so that records replace each other; cycles and diamonds are
/// common.
pub(super) fn some_source() -> impl Strategy<Value = Source> {
    let organization = || ORGANIZATIONS;
    let person = || prop::sample::select(&PEOPLE[..]);
    let parents = (proptest::option::of(organization()), proptest::option::of(organization()), 0..3_u8);
    prop_oneof![
        3 => (organization(), parents).prop_map(|(id, (first, second, third))| {
            let district = |id: Option<i64>| id.map(|id| json!({ "localEducationAgencyId": id }));
            let center = second.map(|id| json!({ "educationServiceCenterId": id }));
            let state = (third == 0).then(|| json!({ "stateEducationAgencyId": 1 }));
            ("localEducationAgencies", json!({
                "localEducationAgencyId": id,
                "parentLocalEducationAgencyReference": district(first),
                "educationServiceCenterReference": center,
                "stateEducationAgencyReference": state,
            }))
        }),
        3 => (organization(), person()).prop_map(|(school, student)| ("studentSchoolAssociations", json!({
            "entryDate": "2026-08-24",
            "schoolReference": { "schoolId": school },
            "studentReference": { "studentUniqueId": student },
        }))),
        2 => (person(), person()).prop_map(|(contact, student)| ("studentContactAssociations", json!({
            "contactReference": { "contactUniqueId": contact },
            "studentReference": { "studentUniqueId": student },
        }))),
        1 => (organization(), person()).prop_map(|(school, staff)| ("staffEducationOrganizationAssignmentAssociations", json!({
            "beginDate": "2026-08-24",
            "staffClassificationDescriptor": "uri://example/StaffClassificationDescriptor#Teacher",
            "educationOrganizationReference": { "educationOrganizationId": school },
            "staffReference": { "staffUniqueId": staff },
        }))),
        1 => (organization(), person()).prop_map(|(school, student)| ("studentEducationOrganizationResponsibilityAssociations", json!({
            "beginDate": "2026-08-24",
            "responsibilityDescriptor": "uri://example/ResponsibilityDescriptor#Funding",
            "educationOrganizationReference": { "educationOrganizationId": school },
            "studentReference": { "studentUniqueId": student },
        }))),
    ]
}

/// The records of the realm as a store keeps them, and the graph that follows them.
#[derive(Clone)]
pub(super) struct World {
    pub(super) records: BTreeMap<RecordKey, Record>,
    pub(super) graph: Graph,
    /// All relationships of people that were ever there.
    ever: BTreeSet<Relationship>,
}

impl World {
    pub(super) fn new() -> Self {
        Self { records: BTreeMap::new(), graph: Graph::new(), ever: BTreeSet::new() }
    }

    pub(super) fn put(&mut self, realm: &Realm, (resource, content): &Source) {
        let record = realm.relations.map(resource, &content.to_string()).unwrap();
        let of_people = record.relationships.iter().filter(|edge| *edge.relation != *"belongs_to");
        self.ever.extend(of_people.cloned());
        self.change(realm, Change::Put(record));
    }

    pub(super) fn delete(&mut self, realm: &Realm, (resource, content): &Source) {
        self.change(realm, Change::Delete(realm.relations.key(resource, &content.to_string()).unwrap()));
    }

    fn change(&mut self, realm: &Realm, change: Change) {
        let before = self.records.get(change.key()).cloned();
        let effect = settle(before, change, realm.relations.remembered());
        effect.keep_in(&mut self.records);
        let revision = Revision(self.graph.revision().0 + 1);
        self.graph.apply(&Written { revision, effects: vec![effect] });
    }

    /// The graph of these records, as after a start.
    pub(super) fn loaded(&self) -> Graph {
        let mut graph = Graph::new();
        self.records.values().for_each(|record| graph.insert(record));
        graph.set_revision(self.graph.revision());
        graph
    }

    fn now(&self) -> BTreeSet<Relationship> {
        self.records.values().flat_map(|record| record.relationships.iter().cloned()).collect()
    }

    /// The client's organization reaches this entity, by what is there or by what was ever there.
    fn reaches(&self, organization: i64, entity_type: &str, id: &str, with_past: bool) -> bool {
        let (now, client) = (self.now(), organization.to_string());
        let known: BTreeSet<&Relationship> = now.iter().chain(self.ever.iter().filter(|_| with_past)).collect();
        let mut met = BTreeSet::from([(entity_type.to_owned(), id.to_owned())]);
        loop {
            let is_met = |edge: &&&Relationship| {
                met.contains(&(edge.subject.entity_type.to_string(), edge.subject.id.to_string()))
            };
            let above = known.iter().filter(is_met);
            let above: Vec<_> =
                above.map(|edge| (edge.object.entity_type.to_string(), edge.object.id.to_string())).collect();
            let before = met.len();
            met.extend(above);
            if met.len() == before {
                return met.contains(&("EducationOrganization".to_owned(), client));
            }
        }
    }
}

/// A question about one item: its resource type, the values by path, and its elements by entity type.
struct Item {
    resource_type: &'static str,
    values: Json,
    elements: Vec<(&'static str, String)>,
}

fn items() -> Vec<Item> {
    let person = |resource_type, property: &str, entity_type, id: &str| Item {
        resource_type,
        values: json!({ property: id }),
        elements: vec![(entity_type, id.to_owned())],
    };
    let mut items: Vec<Item> = PEOPLE
        .iter()
        .flat_map(|id| {
            [
                person("ed-fi/students", "studentUniqueId", "Student", id),
                person("ed-fi/contacts", "contactUniqueId", "Contact", id),
                person("ed-fi/staffs", "staffUniqueId", "Staff", id),
            ]
        })
        .collect();
    items.push(Item {
        resource_type: "ed-fi/courses",
        values: json!({ "educationOrganizationReference": { "educationOrganizationId": 2 } }),
        elements: vec![("EducationOrganization", "2".to_owned())],
    });
    items.push(Item {
        resource_type: "ed-fi/studentSchoolAssociations",
        values: json!({ "schoolReference": { "schoolId": 3 }, "studentReference": { "studentUniqueId": "a" } }),
        elements: vec![("EducationOrganization", "3".to_owned()), ("Student", "a".to_owned())],
    });
    items
}

fn is_allowed(realm: &Realm, client: &Principal, graph: &Graph, action: &str, item: &Item) -> Option<bool> {
    let question = Question {
        action: action.into(),
        resource_type: item.resource_type.into(),
        attributes: Some(attributes(&item.values)),
        ..Question::default()
    };
    let decision = decide(realm, client, &AccessRequest::check(realm, &question).unwrap(), graph);
    // A strategy that fits neither the action nor the item is no matter of relationships.
    (decision.outcome != Outcome::Indeterminate).then_some(decision.outcome == Outcome::Allowed)
}

fn attributes(json: &Json) -> Attributes {
    json.as_object().unwrap().iter().map(|(name, json)| (name.as_str().into(), value(json))).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Number(number) => Value::Long(number.as_i64().unwrap()),
        Json::Object(_) => Value::Record(attributes(json)),
        other => panic!("{other}"),
    }
}

/// The answers of one client to all questions; `None` where the configuration is at fault.
pub(super) fn answers(realm: &Realm, client: &Principal, graph: &Graph) -> Vec<Option<bool>> {
    let actions = ["Read", "ReadChanges"];
    items().iter().flat_map(|item| actions.map(|action| is_allowed(realm, client, graph, action, item))).collect()
}

/// Compares the answers under a strategy for organizations and people with those worked out from the records.
pub(super) fn check(realm: &Realm, world: &World, clients: &[(i64, Principal)], graph: &Graph, with_past: bool) {
    let action = if with_past { "ReadChanges" } else { "Read" };
    for (organization, client) in clients {
        for item in items() {
            let expected = item.elements.iter().all(|(kind, id)| world.reaches(*organization, kind, id, with_past));
            let found = is_allowed(realm, client, graph, action, &item);
            assert_eq!(found, Some(expected), "{organization}, {action} {}", item.values);
        }
    }
}

/// Compares the answers under the inverted strategy for organizations.
pub(super) fn check_inverted(realm: &Realm, world: &World, clients: &[(i64, Principal)], graph: &Graph) {
    for (organization, client) in clients {
        for item in items().iter().filter(|item| item.resource_type == "ed-fi/courses") {
            let above: i64 = item.elements[0].1.parse().unwrap();
            let expected = world.reaches(above, "EducationOrganization", &organization.to_string(), false);
            assert_eq!(is_allowed(realm, client, graph, "Read", item), Some(expected), "{organization} below {above}");
        }
    }
}
