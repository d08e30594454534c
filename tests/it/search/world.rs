//! Districts, people and clients by chance.

use std::collections::BTreeSet;
use std::fs;

use hallpass::app::ports::Clock;
use hallpass::proto::v1 as pb;
use hallpass::provider::clock::SystemClock;
use serde_json::{Value as Json, json};

use crate::support::{Home, Service, text};

/// Numbers that look random and are the same in every run (`SplitMix64`).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    pub(crate) fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// Types whose items the service knows.
pub(crate) const KNOWN_TYPES: [&str; 7] = [
    "ed-fi/students",
    "ed-fi/students",
    "ed-fi/staffs",
    "ed-fi/contacts",
    "ed-fi/schools",
    "ed-fi/localEducationAgencies",
    "ed-fi/organizationDepartments",
];

pub(crate) const ALL_TYPES: [&str; 9] = [
    "ed-fi/students",
    "ed-fi/contacts",
    "ed-fi/organizationDepartments",
    "ed-fi/studentSchoolAssociations",
    "ed-fi/studentContactAssociations",
    "ed-fi/staffSectionAssociations",
    "ed-fi/studentAssessments",
    "ed-fi/studentGradebookEntries",
    "ed-fi/assessments",
];

const PAST: &str = "IncludingDeletes";

/// The strategies of the claim sets `Set0`, `Set1` …
const STRATEGIES: [&[&str]; 11] = [
    &["RelationshipsWithStudentsOnly", "RelationshipsWithEdOrgsAndPeople"],
    &["RelationshipsWithEdOrgsAndPeople"],
    &["RelationshipsWithPeopleOnly"],
    &["RelationshipsWithStudentsOnlyThroughResponsibility"],
    &["RelationshipsWithStudentsOnly", "RelationshipsWithStudentsOnlyThroughResponsibility"],
    &["RelationshipsWithEdOrgsOnlyInverted"],
    &["RelationshipsWithEdOrgsAndPeopleInverted", "RelationshipsWithPeopleOnly"],
    &["RelationshipsWithEdOrgsAndPeople", "RelationshipsWithEdOrgsAndPeopleInverted"],
    &["NoFurtherAuthorizationRequired"],
    &["NamespaceBased"],
    &["NamespaceBased", "RelationshipsWithEdOrgsAndPeople"],
];

/// Adds claim sets to a copy of the rules.
pub(crate) fn add_claim_sets(home: &mut Home) {
    let rules = home.copy_rules();
    let table: Json = fs::read_to_string(rules.join("resources.json")).unwrap().parse().unwrap();
    let path = rules.join("grants.json");
    let mut grants: Json = fs::read_to_string(&path).unwrap().parse().unwrap();
    let types: BTreeSet<&str> = KNOWN_TYPES.into_iter().chain(ALL_TYPES).collect();
    for resource_type in types {
        let resource = &table["resources"][resource_type];
        let has = |attribute: &str| {
            resource["subjects"].as_array().unwrap().iter().any(|subject| subject["attribute"] == attribute)
        };
        let claim = &mut grants["claims"][resource["claim"].as_str().unwrap()];
        for (place, strategies) in STRATEGIES.iter().enumerate() {
            // A strategy that looks at nothing that the type has is a fault of the configuration.
            let looks_at = |name: &str| match name {
                "NamespaceBased" => has("namespace"),
                "RelationshipsWithEdOrgsOnlyInverted" => has("educationOrganization"),
                _ if name.starts_with("RelationshipsWithStudents") => has("student"),
                _ => true,
            };
            let strategies: Vec<_> = strategies.iter().filter(|name| looks_at(name)).collect();
            // What is of today reads items, what is of the past too reads changes.
            let of_today: BTreeSet<String> = strategies.iter().map(|name| name.replace(PAST, "")).collect();
            let of_past = |name: &String| match &**name {
                "RelationshipsWithEdOrgsAndPeople"
                | "RelationshipsWithStudentsOnly"
                | "RelationshipsWithStudentsOnlyThroughResponsibility" => format!("{name}{PAST}"),
                _ => name.clone(),
            };
            let of_past: BTreeSet<String> = of_today.iter().map(of_past).collect();
            if !strategies.is_empty() {
                claim["claim_sets"][format!("Set{place}")] = json!({ "Read": of_today, "ReadChanges": of_past });
            }
        }
    }
    fs::write(&path, grants.to_string()).unwrap();
}

/// A resource as an API stores it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) id: String,
    /// Values by path.
    values: Vec<(&'static str, String)>,
    /// Some record relates it now, or says something about it.
    pub(crate) is_known: bool,
}

impl Item {
    pub(crate) fn resource(&self) -> pb::Resource {
        pb::Resource {
            id: self.id.clone(),
            attributes: self.values.iter().map(|(path, value)| ((*path).to_owned(), text(value))).collect(),
            has_attributes: true,
            ..pb::Resource::default()
        }
    }
}

/// A region: organizations by kind, and who is related to whom. No id is one of another region.
pub(crate) struct World {
    region: usize,
    agencies: Vec<(usize, Option<usize>)>,
    schools: Vec<(usize, Option<usize>)>,
    departments: Vec<(usize, Option<usize>)>,
    students: usize,
    contacts: usize,
    staffs: usize,
    enrolments: BTreeSet<(usize, usize)>,
    responsibilities: BTreeSet<(usize, usize)>,
    contact_of: BTreeSet<(usize, usize)>,
    employments: BTreeSet<(usize, usize)>,
    former: Former,
}

/// Who was related to whom: records that were deleted.
struct Former {
    enrolments: BTreeSet<(usize, usize)>,
    responsibilities: BTreeSet<(usize, usize)>,
    contact_of: BTreeSet<(usize, usize)>,
    employments: BTreeSet<(usize, usize)>,
}

impl World {
    pub(crate) fn drawn(chance: &mut Chance, region: usize) -> Self {
        let base = region * 1_000;
        let agencies: Vec<_> = (0..3)
            .map(|place| (base + place, (place > 0 && chance.below(2) == 0).then(|| base + chance.below(place))))
            .collect();
        let schools: Vec<_> =
            (0..8).map(|place| (base + 100 + place, (chance.below(6) > 0).then(|| chance.one(&agencies).0))).collect();
        let organizations: Vec<usize> = agencies.iter().chain(&schools).map(|(id, _)| *id).collect();
        let departments: Vec<_> = (0..8)
            .map(|place| (base + 200 + place, (chance.below(5) > 0).then(|| *chance.one(&organizations))))
            .collect();
        let (students, contacts, staffs) = (60, 25, 15);
        let mut pairs = |count: usize, subjects: usize, objects: &[usize]| {
            (0..count).map(|_| (chance.below(subjects), *chance.one(objects))).collect::<BTreeSet<_>>()
        };
        let school_ids: Vec<usize> = schools.iter().map(|(id, _)| *id).collect();
        let everybody: Vec<usize> = (0..students).collect();
        Self {
            enrolments: pairs(65, students, &school_ids),
            responsibilities: pairs(30, students, &organizations),
            contact_of: pairs(30, contacts, &everybody),
            employments: pairs(15, staffs, &organizations),
            former: Former {
                enrolments: pairs(20, students, &school_ids),
                responsibilities: pairs(10, students, &organizations),
                contact_of: pairs(10, contacts, &everybody),
                employments: pairs(5, staffs, &organizations),
            },
            region,
            agencies,
            schools,
            departments,
            students,
            contacts,
            staffs,
        }
    }

    fn person(&self, kind: &str, number: usize) -> String {
        format!("{kind}-{}-{number}", self.region)
    }

    /// All records, the service takes them in.
    pub(crate) async fn import(&self, service: &Service) {
        let organization = |(id, parent): &(usize, Option<usize>), own: &str, reference: &str, above: &str| {
            let mut record = json!({ own: id });
            if let Some(parent) = parent {
                record[reference] = json!({ above: parent });
            }
            record.to_string()
        };
        let agencies = self.agencies.iter().map(|agency| {
            let above = "localEducationAgencyId";
            organization(agency, above, "parentLocalEducationAgencyReference", above)
        });
        let schools = self
            .schools
            .iter()
            .map(|school| organization(school, "schoolId", "localEducationAgencyReference", "localEducationAgencyId"));
        let departments = self.departments.iter().map(|department| {
            let reference = "parentEducationOrganizationReference";
            organization(department, "organizationDepartmentId", reference, "educationOrganizationId")
        });
        for (resource, records) in [
            ("localEducationAgencies", agencies.collect::<Vec<_>>()),
            ("schools", schools.collect()),
            ("organizationDepartments", departments.collect()),
        ] {
            service.import(resource, &records).await;
        }
        let Former { enrolments, responsibilities, contact_of, employments } = &self.former;
        for (resource, records) in
            self.associations("2025-08-25", enrolments, responsibilities, contact_of, employments)
        {
            service.import(resource, &records).await;
            service.delete(resource, &records).await;
        }
        let Self { enrolments, responsibilities, contact_of, employments, .. } = self;
        for (resource, records) in
            self.associations("2026-08-24", enrolments, responsibilities, contact_of, employments)
        {
            service.import(resource, &records).await;
        }
    }

    fn associations(
        &self,
        date: &str,
        enrolments: &BTreeSet<(usize, usize)>,
        responsibilities: &BTreeSet<(usize, usize)>,
        contact_of: &BTreeSet<(usize, usize)>,
        employments: &BTreeSet<(usize, usize)>,
    ) -> [(&'static str, Vec<String>); 4] {
        let association = |mut record: Json, person: (&str, &str, String), other: (&str, &str, Json)| {
            record[person.0] = json!({ person.1: person.2 });
            record[other.0] = json!({ other.1: other.2 });
            record.to_string()
        };
        let student = |number: usize| ("studentReference", "studentUniqueId", self.person("student", number));
        let of =
            |organization: usize| ("educationOrganizationReference", "educationOrganizationId", json!(organization));
        let enrolments = enrolments.iter().map(|(number, school)| {
            let record = json!({ "entryDate": date });
            association(record, student(*number), ("schoolReference", "schoolId", json!(school)))
        });
        let responsibilities = responsibilities.iter().map(|(number, organization)| {
            let record = json!({ "beginDate": date, "responsibilityDescriptor": "uri://ed-fi.org/R#All" });
            association(record, student(*number), of(*organization))
        });
        let contacts = contact_of.iter().map(|(contact, number)| {
            let contact = ("contactReference", "contactUniqueId", json!(self.person("contact", *contact)));
            association(json!({}), student(*number), contact)
        });
        let employments = employments.iter().map(|(number, organization)| {
            let record = json!({ "hireDate": date, "employmentStatusDescriptor": "uri://ed-fi.org/E#Full" });
            association(record, ("staffReference", "staffUniqueId", self.person("staff", *number)), of(*organization))
        });
        [
            ("studentSchoolAssociations", enrolments.collect()),
            ("studentEducationOrganizationResponsibilityAssociations", responsibilities.collect()),
            ("studentContactAssociations", contacts.collect()),
            ("staffEducationOrganizationEmploymentAssociations", employments.collect()),
        ]
    }

    /// A token of a client by chance.
    pub(crate) fn token(&self, home: &Home, chance: &mut Chance) -> String {
        let known: Vec<usize> =
            self.agencies.iter().chain(&self.schools).chain(&self.departments).map(|o| o.0).collect();
        let organizations: Vec<String> = (0..chance.below(4))
            .map(|_| if chance.below(10) == 0 { 9_999_999 } else { *chance.one(&known) })
            .map(|id| id.to_string())
            .collect();
        let prefixes = *chance.one(&["uri://a", "uri://a/b,uri://c", "uri://a,uri://c", ""]);
        let now_seconds = SystemClock.now_seconds();
        home.sign(&json!({
            "iss": crate::support::ISSUER,
            "iat": now_seconds,
            "exp": now_seconds + 3600,
            "client_id": format!("client {}", chance.below(1_000)),
            "scope": format!("Set{}", chance.below(STRATEGIES.len())),
            "educationOrganizationIds": organizations.join(","),
            "namespacePrefixes": prefixes,
        }))
    }

    /// Every item of a type that the API of this region stores.
    pub(crate) fn items(&self, resource_type: &str) -> Vec<Item> {
        let people = |kind: &str, count: usize, path: &'static str, known: BTreeSet<usize>| {
            let item = |number: usize| {
                let id = self.person(kind, number);
                Item { values: vec![(path, id.clone())], id, is_known: known.contains(&number) }
            };
            (0..count).map(item).collect()
        };
        let organizations = |of: &[(usize, Option<usize>)], path: &'static str| {
            let item = |(id, _): &(usize, _)| Item {
                id: id.to_string(),
                values: vec![(path, id.to_string())],
                is_known: true,
            };
            of.iter().map(item).collect()
        };
        match resource_type {
            "ed-fi/students" => {
                let related = self.enrolments.iter().chain(&self.responsibilities).map(|pair| pair.0);
                let known = related.chain(self.contact_of.iter().map(|pair| pair.1)).collect();
                people("student", self.students, "studentUniqueId", known)
            }
            "ed-fi/contacts" => {
                people("contact", self.contacts, "contactUniqueId", self.contact_of.iter().map(|pair| pair.0).collect())
            }
            "ed-fi/staffs" => {
                people("staff", self.staffs, "staffUniqueId", self.employments.iter().map(|pair| pair.0).collect())
            }
            "ed-fi/schools" => organizations(&self.schools, "schoolId"),
            "ed-fi/localEducationAgencies" => organizations(&self.agencies, "localEducationAgencyId"),
            "ed-fi/organizationDepartments" => {
                let item = |(id, parent): &(usize, Option<usize>)| {
                    let path = "parentEducationOrganizationReference.educationOrganizationId";
                    let values = parent.map(|parent| (path, parent.to_string())).into_iter().collect();
                    Item { id: id.to_string(), values, is_known: true }
                };
                self.departments.iter().map(item).collect()
            }
            other => panic!("no items of {other}"),
        }
    }

    /// Items of a type by chance, some of them about nobody whom the service knows, some without a value.
    pub(crate) fn candidates(&self, chance: &mut Chance, resource_type: &str) -> Vec<Item> {
        let organization = |chance: &mut Chance| {
            let kind = if chance.below(3) == 0 { &self.agencies } else { &self.schools };
            chance.one(kind).0.to_string()
        };
        let person = |chance: &mut Chance, kind: &str, count: usize| self.person(kind, chance.below(count + 3));
        let paths: &[(&str, &'static str)] = match resource_type {
            "ed-fi/students" => &[("student", "studentUniqueId")],
            "ed-fi/contacts" => &[("contact", "contactUniqueId")],
            "ed-fi/organizationDepartments" => {
                &[("organization", "parentEducationOrganizationReference.educationOrganizationId")]
            }
            "ed-fi/studentSchoolAssociations" => {
                &[("organization", "schoolReference.schoolId"), ("student", "studentReference.studentUniqueId")]
            }
            "ed-fi/studentContactAssociations" => {
                &[("contact", "contactReference.contactUniqueId"), ("student", "studentReference.studentUniqueId")]
            }
            "ed-fi/staffSectionAssociations" => {
                &[("organization", "sectionReference.schoolId"), ("staff", "staffReference.staffUniqueId")]
            }
            "ed-fi/studentAssessments" => &[
                ("organization", "reportedSchoolReference.schoolId"),
                ("student", "studentReference.studentUniqueId"),
                ("namespace", "assessmentReference.namespace"),
            ],
            "ed-fi/studentGradebookEntries" => {
                &[("student", "studentReference.studentUniqueId"), ("namespace", "gradebookEntryReference.namespace")]
            }
            "ed-fi/assessments" => &[("namespace", "namespace")],
            other => panic!("no candidates of {other}"),
        };
        let item = |number: usize| {
            let mut values = Vec::new();
            for (kind, path) in paths {
                if chance.below(12) == 0 {
                    continue;
                }
                let value = match *kind {
                    "organization" => organization(chance),
                    "student" => person(chance, "student", self.students),
                    "contact" => person(chance, "contact", self.contacts),
                    "staff" => person(chance, "staff", self.staffs),
                    _ => (*chance.one(&["uri://a/b/c", "uri://a/x", "uri://c", "uri://d"])).to_owned(),
                };
                values.push((*path, value));
            }
            Item { id: format!("item-{number}"), values, is_known: false }
        };
        (0..40).map(item).collect()
    }
}
