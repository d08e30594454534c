//! Every resource type of the district under every strategy: what a search shows is what the records say.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::Path;

use hallpass::proto::v1 as pb;
use hallpass::proto::v1::search_resources_response::Part;
use serde_json::{Value as Json, json};

use super::{DISTRICT, FOREIGN_DISTRICT, Oracle, Records, add_foreign_district, folder, read};
use crate::support::{Home, REALM, Service, creating, entity, text};

/// At most this many records of a resource are asked about.
const SAMPLE: usize = 40;

/// A kind of securable element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Kind {
    Organization,
    Student,
    Staff,
    Contact,
    Namespace,
}

use Kind::{Contact, Namespace, Organization, Staff, Student};

/// How a strategy looks at things, from the Ed-Fi documents alone.
struct Strategy {
    name: &'static str,
    action: &'static str,
    kinds: &'static [Kind],
    is_inverted: bool,
    by_responsibility: bool,
    with_removed: bool,
}

impl Strategy {
    const fn of(name: &'static str, kinds: &'static [Kind]) -> Self {
        Self { name, action: "Read", kinds, is_inverted: false, by_responsibility: false, with_removed: false }
    }

    const fn inverted(self) -> Self {
        Self { is_inverted: true, ..self }
    }

    const fn by_responsibility(self) -> Self {
        Self { by_responsibility: true, ..self }
    }

    const fn with_removed(self) -> Self {
        Self { with_removed: true, action: "ReadChanges", ..self }
    }
}

const ALL: &[Kind] = &[Organization, Student, Staff, Contact];

/// What a view shows, and whose items an owner reaches, is said apart from relationships.
const VIEW: Strategy = Strategy::of("StudentWithCTECourseEnrollments", &[Student]);
const OWNERSHIP: Strategy = Strategy::of("OwnershipBased", &[]);

const STRATEGIES: [Strategy; 12] = [
    Strategy::of("NoFurtherAuthorizationRequired", &[]),
    Strategy::of("NamespaceBased", &[Namespace]),
    Strategy::of("RelationshipsWithEdOrgsAndPeople", ALL),
    Strategy::of("RelationshipsWithEdOrgsAndPeopleInverted", ALL).inverted(),
    Strategy::of("RelationshipsWithEdOrgsOnly", &[Organization]),
    Strategy::of("RelationshipsWithEdOrgsOnlyInverted", &[Organization]).inverted(),
    Strategy::of("RelationshipsWithPeopleOnly", &[Student, Staff, Contact]),
    Strategy::of("RelationshipsWithStudentsOnly", &[Student]),
    Strategy::of("RelationshipsWithStudentsOnlyThroughResponsibility", &[Student]).by_responsibility(),
    Strategy::of("RelationshipsWithEdOrgsAndPeopleIncludingDeletes", ALL).with_removed(),
    Strategy::of("RelationshipsWithStudentsOnlyIncludingDeletes", &[Student]).with_removed(),
    Strategy::of("RelationshipsWithStudentsOnlyThroughResponsibilityIncludingDeletes", &[Student])
        .by_responsibility()
        .with_removed(),
];

/// The associations of which some are removed.
const ASSOCIATIONS: [&str; 5] = [
    "studentSchoolAssociations",
    "studentContactAssociations",
    "studentEducationOrganizationResponsibilityAssociations",
    "staffEducationOrganizationAssignmentAssociations",
    "staffEducationOrganizationEmploymentAssociations",
];

/// The securable elements of a resource: kind and property path.
type Elements = Vec<(Kind, String)>;

/// The securable elements of every resource, by endpoint, as the reference lists them.
fn elements() -> BTreeMap<String, Elements> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let shared = std::env::var_os("HALLPASS_SHARED").map_or_else(beside, Into::into);
    let text = fs::read_to_string(shared.join("edfi/securable_elements.json")).unwrap();
    let listed: Json = text.parse().unwrap();
    let of = |resource: &Json| {
        let kinds = [
            ("EducationOrganization", Organization),
            ("Student", Student),
            ("Staff", Staff),
            ("Contact", Contact),
            ("Namespace", Namespace),
        ];
        let paths = kinds.iter().flat_map(|(name, kind)| {
            let listed = resource[*name].as_array().unwrap().iter();
            listed.map(|element| (*kind, element["jsonPath"].as_str().unwrap().replacen("$.", "", 1)))
        });
        (resource["endpoint"].as_str().unwrap().to_owned(), paths.collect())
    };
    let served = listed["dms_ds52"].as_object().unwrap().values().filter(|resource| resource["endpoint"].is_string());
    served.map(of).collect()
}

fn at(record: &Json, path: &str) -> Option<String> {
    match path.split('.').try_fold(record, |value, name| value.get(name))? {
        Json::String(text) => Some(text.clone()),
        Json::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What a client reaches, by kind.
struct Reach {
    down: BTreeSet<String>,
    up: BTreeSet<String>,
    students: BTreeSet<String>,
    by_responsibility: BTreeSet<String>,
    staff: BTreeSet<String>,
    contacts: BTreeSet<String>,
}

impl Reach {
    fn of(oracle: &Oracle<'_>, client: i64) -> Self {
        Self {
            down: oracle.below(client),
            up: oracle.above(client),
            students: oracle.students(client),
            by_responsibility: oracle.students_by_responsibility(client),
            staff: oracle.staff(client),
            contacts: oracle.contacts(client),
        }
    }

    fn has(&self, strategy: &Strategy, kind: Kind, value: &str) -> bool {
        match kind {
            Namespace => value.starts_with("uri://ed-fi.org"),
            Organization if strategy.is_inverted => self.up.contains(value),
            Organization => self.down.contains(value),
            Student if strategy.by_responsibility => self.by_responsibility.contains(value),
            Student => self.students.contains(value),
            Staff => self.staff.contains(value),
            Contact => self.contacts.contains(value),
        }
    }
}

/// Takes every third association of a kind away; what was taken.
async fn remove_some(service: &Service, records: &mut Records) -> Records {
    let mut removed = Records::new();
    for resource in ASSOCIATIONS {
        let all = std::mem::take(records.get_mut(resource).unwrap());
        let (gone, kept): (Vec<_>, Vec<_>) = all.into_iter().enumerate().partition(|(place, _)| place % 3 == 1);
        let gone: Vec<Json> = gone.into_iter().map(|(_, record)| record).collect();
        for part in gone.chunks(1000) {
            let request = pb::DeleteRecordsRequest {
                realm: REALM.to_owned(),
                resource: resource.to_owned(),
                records: part.iter().map(Json::to_string).collect(),
                forget: false,
            };
            let answer = service.relationships().delete_records(request).await.unwrap().into_inner();
            assert_eq!(answer.missing, 0, "{resource}");
        }
        records.insert(resource.to_owned(), kept.into_iter().map(|(_, record)| record).collect());
        removed.insert(resource.to_owned(), gone);
    }
    removed
}

/// Adds a claim set for each strategy, which has it on every resource.
fn add_claim_sets(home: &mut Home) {
    let folder = home.copy_rules();
    let read = |name: &str| -> Json { fs::read_to_string(folder.join(name)).unwrap().parse().unwrap() };
    let (resources, mut grants) = (read("resources.json"), read("grants.json"));
    for resource in resources["resources"].as_object().unwrap().values() {
        let Some(claim) = grants["claims"].get_mut(resource["claim"].as_str().unwrap()) else { continue };
        for Strategy { name, action, .. } in STRATEGIES.iter().chain([&VIEW, &OWNERSHIP]) {
            claim["claim_sets"][*name] = json!({ *action: [name] });
        }
    }
    fs::write(folder.join("grants.json"), grants.to_string()).unwrap();
}

/// Whose item the one at this place of a search is: every third is nobody's.
fn owner(place: usize) -> Option<usize> {
    Some(place % 3).filter(|owner| *owner > 0)
}

/// The students of career and technical education, who are made members of the view.
async fn fill_view(service: &Service, records: &Records) -> BTreeSet<String> {
    let of = |record: &Json| at(record, "studentReference.studentUniqueId").unwrap();
    let students: BTreeSet<String> = records["studentCTEProgramAssociations"].iter().map(of).collect();
    let member = |student: &String| pb::Relationship {
        subject: Some(entity("StudentViews", student)),
        relation: "student_view_member".to_owned(),
        object: Some(entity("View", VIEW.name)),
    };
    let members = creating(students.iter().map(member).collect());
    service.relationships().write_relationships(members).await.unwrap();
    students
}

/// The places of the records that a search among them shows; `None` when it is a configuration error.
async fn shown(
    service: &Service,
    token: &str,
    strategy: &Strategy,
    endpoint: &str,
    records: &[&Json],
    elements: &Elements,
) -> Option<BTreeSet<usize>> {
    let candidate = |(place, record): (usize, &&Json)| {
        let values = elements.iter().filter_map(|(_, path)| Some((path.clone(), text(&at(record, path)?))));
        let stamp = owner(place).map(|owner| ("createdByOwnershipTokenId".to_owned(), text(&owner.to_string())));
        pb::Resource {
            id: place.to_string(),
            attributes: values.chain(stamp).collect::<HashMap<_, _>>(),
            has_attributes: true,
            ..pb::Resource::default()
        }
    };
    let request = pb::SearchResourcesRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: strategy.action.to_owned(),
        resource_type: format!("ed-fi/{endpoint}"),
        candidates: records.iter().enumerate().map(candidate).collect(),
        has_candidates: true,
        ..pb::SearchResourcesRequest::default()
    };
    let mut parts = service.authorization().search_resources(request).await.unwrap().into_inner();
    let mut shown = BTreeSet::new();
    while let Some(part) = parts.message().await.unwrap() {
        match part.part.unwrap() {
            Part::Answer(answer) if answer.outcome() == pb::Outcome::Indeterminate => return None,
            Part::Answer(answer) => assert_eq!(answer.decision(), pb::Decision::Allow, "{endpoint}: {answer:?}"),
            Part::Found(found) => shown.extend(found.resources.iter().map(|resource| resource.candidate as usize)),
            Part::End(_) => {}
        }
    }
    Some(shown)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_resource_type_is_seen_under_every_strategy_as_the_records_say() {
    let Some(folder) = folder() else { return };
    let mut records = read(&folder);
    add_foreign_district(&mut records);
    let mut home = Home::new();
    add_claim_sets(&mut home);
    home.tables = String::new();
    let service = home.start().await;
    for (resource, records) in &records {
        let lines: Vec<String> = records.iter().map(Json::to_string).collect();
        service.import(resource, &lines).await;
    }
    let everything = records.clone();
    let removed = remove_some(&service, &mut records).await;
    let now = Oracle::of(&records);
    let ever = now.including(&removed);
    let elements = elements();
    let (mut seen, mut hidden, mut errors) = (0, 0, 0);
    for client in [255_901_001, DISTRICT, FOREIGN_DISTRICT] {
        let (now, ever) = (Reach::of(&now, client), Reach::of(&ever, client));
        for strategy in &STRATEGIES {
            let token = home.token(strategy.name, &[client]);
            let reach = if strategy.with_removed { &ever } else { &now };
            for (endpoint, all) in &everything {
                let elements = &elements[endpoint];
                let looks: Vec<_> = elements.iter().filter(|(kind, _)| strategy.kinds.contains(kind)).collect();
                let sample: Vec<&Json> = all.iter().step_by(all.len() / SAMPLE + 1).collect();
                let is_related = |(kind, path): &&(Kind, String), record: &Json| {
                    at(record, path).is_some_and(|value| reach.has(strategy, *kind, &value))
                };
                let visible = sample.iter().enumerate();
                let visible = visible.filter(|(_, record)| looks.iter().all(|element| is_related(element, record)));
                let expected: BTreeSet<usize> = visible.map(|(place, _)| place).collect();
                let is_usable = strategy.kinds.is_empty() || !looks.is_empty();
                let found = shown(&service, &token, strategy, endpoint, &sample, elements).await;
                assert_eq!(found, is_usable.then_some(expected), "{client} reads {endpoint} under {}", strategy.name);
                match found {
                    Some(found) => (seen, hidden) = (seen + found.len(), hidden + sample.len() - found.len()),
                    None => errors += 1,
                }
            }
        }
    }
    let members = fill_view(&service, &everything).await;
    let token = home.token(VIEW.name, &[]);
    let owners_token = home.token_with(OWNERSHIP.name, &[], &json!({ "ownershipTokenIds": [2, 7] }));
    for (endpoint, all) in &everything {
        let elements = &elements[endpoint];
        let sample: Vec<&Json> = all.iter().step_by(all.len() / SAMPLE + 1).collect();
        let student = elements.iter().find(|(kind, _)| *kind == Student);
        let is_member = |record: &Json, path: &str| at(record, path).is_some_and(|student| members.contains(&student));
        let places = |shows: &dyn Fn(usize, &Json) -> bool| -> BTreeSet<usize> {
            sample.iter().enumerate().filter(|(place, record)| shows(*place, record)).map(|(place, _)| place).collect()
        };
        let expected = student.map(|(_, path)| places(&|_, record| is_member(record, path)));
        let found = shown(&service, &token, &VIEW, endpoint, &sample, elements).await;
        assert_eq!(found, expected, "{endpoint} under a view");
        let found = shown(&service, &owners_token, &OWNERSHIP, endpoint, &sample, elements).await;
        assert_eq!(found, Some(places(&|place, _| owner(place) == Some(2))), "{endpoint} of an owner");
    }
    assert!(seen > 1000 && hidden > 1000 && errors > 100, "{seen} seen, {hidden} hidden, {errors} unusable");
    println!("{seen} records seen, {hidden} hidden, {errors} searches of resources that a strategy cannot judge");
}
