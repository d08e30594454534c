//! Records as a state's service would keep them: a million students, 200 clients, 1,500 schools, a year.

use std::sync::Arc;

use hallpass::domain::{
    decision::{Outcome, Reason},
    decision_record::{DecisionRecord, RecordKind, RecordedSubject},
    id::{DecisionId, EntityId, PolicyVersion, Revision},
    value::{Attributes, Value},
};

pub(crate) const START_US: i64 = 1_735_689_600_000_000;
const YEAR_US: u64 = 365 * 86_400 * 1_000_000;
const STUDENTS: u64 = 1_000_000;
const CLIENTS: u64 = 200;
const SCHOOLS: u64 = 1_500;
const RESOURCES: [&str; 12] = [
    "students",
    "studentSchoolAssociations",
    "grades",
    "studentSectionAssociations",
    "studentAssessments",
    "disciplineActions",
    "studentEducationOrganizationAssociations",
    "courseTranscripts",
    "attendanceEvents",
    "studentParentAssociations",
    "schools",
    "staffs",
];
const ACTIONS: [&str; 4] = ["Read", "Read", "Update", "Create"];

/// Makes records in the order of their times.
#[derive(Debug)]
pub(crate) struct Generator {
    numbers: u64,
    made: u64,
    step_us: u64,
    attributes: Vec<Arc<Attributes>>,
}

/// The pseudonym of a student.
pub(crate) fn pseudonym(student: u64) -> String {
    format!("{:016x}{:016x}", mixed(student), mixed(student ^ 0x5555))
}

/// The id of a client.
pub(crate) fn client(number: u64) -> String {
    format!("vendor-{number:03}")
}

impl Generator {
    /// Records that spread over a year.
    pub(crate) fn new(count: u64) -> Self {
        let attributes = (0..CLIENTS).map(|client| {
            let district = Value::Entity(EntityId::new("LocalEducationAgency", format!("{}", 10_000 + client % 150)));
            let pairs = [
                ("claim_set".into(), Value::String("SISVendor".into())),
                ("education_organizations".into(), Value::List(vec![district])),
            ];
            Arc::new(pairs.into_iter().collect())
        });
        Self { numbers: 7, made: 0, step_us: YEAR_US / count.max(1), attributes: attributes.collect() }
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.numbers = self.numbers.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed(self.numbers) % limit
    }

    /// The next one.
    pub(crate) fn next_record(&mut self) -> DecisionRecord {
        let number = self.made;
        self.made += 1;
        let time_us = START_US + i64::try_from(number * self.step_us).unwrap();
        let random = (u128::from(self.below(1 << 62)) << 64) | u128::from(self.below(u64::MAX));
        let id = (u128::try_from(time_us / 1000).unwrap() << 80)
            | (7 << 76)
            | (random >> 56 & 0xfff << 64)
            | (2 << 62)
            | (random & ((1 << 62) - 1));
        // Some clients and students come more often than others.
        let who = (self.below(CLIENTS) * self.below(CLIENTS)) / CLIENTS;
        let student = if self.below(3) == 0 { self.below(STUDENTS / 20) } else { self.below(STUDENTS) };
        let school = 100_000 + student % SCHOOLS;
        let resource = RESOURCES.get(usize::try_from(self.below(12)).unwrap()).copied().unwrap_or_default();
        let action = ACTIONS.get(usize::try_from(self.below(4)).unwrap()).copied().unwrap_or_default();
        let outcome = match self.below(100) {
            0..=91 => Outcome::Allowed,
            92..=97 => Outcome::NotPermitted,
            98 => Outcome::Forbidden,
            _ => Outcome::Unauthenticated,
        };
        let (reason, policies): (Reason, Vec<Arc<str>>) = match outcome {
            Outcome::Allowed => (Reason::plain("RELATIONSHIP", "A relationship permits it."), vec![policy(school)]),
            Outcome::Forbidden => {
                (Reason::plain("FORBIDDEN", "A policy forbids it."), vec!["no-deleted-people".into()])
            }
            Outcome::Unauthenticated => (Reason::plain("TOKEN_EXPIRED", "The token has expired."), Vec::new()),
            _ => (Reason::plain("NO_RELATIONSHIP", "No relationship permits it."), Vec::new()),
        };
        let subject = |attribute: &str, entity: EntityId, is_pseudonym| RecordedSubject {
            attribute: attribute.into(),
            entity,
            is_pseudonym,
            is_proposed: false,
        };
        let pseudonym = pseudonym(student);
        let client = client(who);
        DecisionRecord {
            id: DecisionId(id),
            time_us,
            outcome,
            reasons: vec![reason],
            determining_policies: policies,
            action: action.into(),
            resource_type: format!("ed-fi/{resource}").into(),
            resource_id: pseudonym.as_str().into(),
            subjects: vec![
                subject("student", EntityId::new("Student", pseudonym), true),
                subject("school", EntityId::new("School", school.to_string()), false),
            ],
            principal: Some(EntityId::new("ApiClient", client.clone())),
            issuer: "https://login.state.example".into(),
            attributes: self.attributes.get(usize::try_from(who).unwrap()).cloned().unwrap_or_default(),
            policy_version: PolicyVersion("4f1d3b5a6c7d8e9f00112233".into()),
            data_revision: Revision(1_000_000 + number / 100),
            request_id: format!("{:016x}", mixed(number ^ 0xabcd)).into(),
            duration_us: 45,
            obligations: Vec::new(),
            actor: None,
            client: client.into(),
            purpose: "enrolment".into(),
            kind: RecordKind::Decision,
            facts: Arc::default(),
            caller: Arc::default(),
            adapter: None,
        }
    }
}

fn policy(school: u64) -> Arc<str> {
    format!("relationships-{}", school % 40).into()
}

fn mixed(mut number: u64) -> u64 {
    number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}
