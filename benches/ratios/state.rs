//! A state's schools, students and contacts, as an Ed-Fi API would send them.

use hallpass::domain::{graph::Graph, id::Revision, realm::Realm};

/// The state education agency, which contains everybody.
pub(crate) const AGENCY: usize = 1;
const CENTERS: usize = 10;
const STUDENTS_A_SCHOOL: usize = 500;
const SCHOOLS_A_DISTRICT: usize = 10;

/// A state of this many students, in the proportions of a real one: every 20th student is enrolled twice,
/// and there are three contacts for two students.
#[derive(Clone, Copy, Debug)]
pub(crate) struct State {
    pub(crate) students: usize,
}

/// Records of one resource: how many there are, and the one at a place.
pub(crate) type Records = (&'static str, usize, fn(State, usize) -> String);

impl State {
    pub(crate) fn schools(self) -> usize {
        self.students.div_ceil(STUDENTS_A_SCHOOL)
    }

    pub(crate) fn districts(self) -> usize {
        self.schools().div_ceil(SCHOOLS_A_DISTRICT)
    }

    fn contacts(self) -> usize {
        self.students * 3 / 2
    }

    /// Everything there is, in the order that it is sent.
    pub(crate) fn records(self) -> [Records; 8] {
        [
            ("stateEducationAgencies", 1, |_, _| {
                format!(r#"{{"stateEducationAgencyId":{AGENCY},"nameOfInstitution":"Agency"}}"#)
            }),
            ("educationServiceCenters", CENTERS, |_, place| {
                format!(
                    r#"{{"educationServiceCenterId":{},"nameOfInstitution":"Center {place}","stateEducationAgencyReference":{{"stateEducationAgencyId":{AGENCY}}}}}"#,
                    10 + place
                )
            }),
            ("localEducationAgencies", self.districts(), |_, place| {
                format!(
                    r#"{{"localEducationAgencyId":{},"nameOfInstitution":"District {place}","educationServiceCenterReference":{{"educationServiceCenterId":{}}},"stateEducationAgencyReference":{{"stateEducationAgencyId":{AGENCY}}}}}"#,
                    district(place),
                    10 + place % CENTERS
                )
            }),
            ("schools", self.schools(), |_, place| {
                format!(
                    r#"{{"schoolId":{},"nameOfInstitution":"School {place}","localEducationAgencyReference":{{"localEducationAgencyId":{}}}}}"#,
                    school(place),
                    district(place / SCHOOLS_A_DISTRICT)
                )
            }),
            ("students", self.students, |_, place| {
                format!(
                    r#"{{"studentUniqueId":"{}","firstName":"Ada","lastSurname":"Lovelace","birthDate":"2012-12-10"}}"#,
                    student(place)
                )
            }),
            ("contacts", self.contacts(), |_, place| {
                format!(r#"{{"contactUniqueId":"{}","firstName":"Anne","lastSurname":"Byron"}}"#, contact(place))
            }),
            ("studentSchoolAssociations", self.students + self.students / 20, |state, place| {
                let (who, shift) = if place < state.students { (place, 0) } else { ((place - state.students) * 20, 1) };
                format!(
                    r#"{{"entryDate":"2026-08-{:02}","schoolReference":{{"schoolId":{}}},"studentReference":{{"studentUniqueId":"{}"}},"entryGradeLevelDescriptor":"uri://ed-fi.org/GradeLevelDescriptor#Third grade"}}"#,
                    1 + place % 28,
                    school((who / STUDENTS_A_SCHOOL + shift) % state.schools()),
                    student(who)
                )
            }),
            ("studentContactAssociations", self.contacts(), |_, place| {
                format!(
                    r#"{{"contactReference":{{"contactUniqueId":"{}"}},"studentReference":{{"studentUniqueId":"{}"}},"emergencyContactStatus":true}}"#,
                    contact(place),
                    student(place * 2 / 3)
                )
            }),
        ]
    }

    /// The relationships in memory, as a realm understands the records.
    pub(crate) fn graph(self, realm: &Realm) -> Graph {
        let mut graph = Graph::new();
        for (resource, count, record) in self.records() {
            if realm.relations.keeps(resource) {
                for place in 0..count {
                    graph.insert(&realm.relations.map(resource, &record(self, place)).unwrap());
                }
            }
        }
        graph.set_revision(Revision(1));
        graph
    }
}

pub(crate) fn district(place: usize) -> usize {
    10_000 + place
}

pub(crate) fn school(place: usize) -> usize {
    100_000 + place
}

/// Ids come lightly shuffled: neighbours stay within a thousand places of each other.
pub(crate) fn student(place: usize) -> usize {
    10_000_000 + place / 1_024 * 1_024 + place * 389 % 1_024
}

fn contact(place: usize) -> usize {
    50_000_000 + place / 1_024 * 1_024 + place * 389 % 1_024
}
