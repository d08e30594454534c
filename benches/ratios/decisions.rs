//! What a decision costs, and how little that depends on the number of students.

use std::{path::Path, sync::Arc};

use hallpass::{
    domain::{
        access_request::{AccessRequest, Question},
        decide::decide,
        decision::Outcome,
        graph::Graph,
        principal::Principal,
        realm::Realm,
        value::{Attributes, Value},
    },
    provider::realm_files::read_folder,
};
use serde_json::json;

use crate::{
    measure::{Goal, Numbers, Report, interleaved, median, median_ratio},
    state::{AGENCY, State, district, student},
};

const ROUNDS: usize = 31;
const TIMES: usize = 4_000;

pub(crate) fn run(report: &mut Report) {
    let realm = Realm::compile(&read_folder(Path::new("policies/edfi")).unwrap()).unwrap();
    let (few, many) = (State { students: 10_000 }, State { students: 1_000_000 });
    let (few_graph, many_graph) = (few.graph(&realm), many.graph(&realm));
    let agency = client(&realm, AGENCY);
    let mut few_students = Students::of(few);
    let mut many_students = Students::of(many);
    let mut in_few = || few_students.decide(&realm, &agency, &few_graph, Outcome::Allowed);
    let mut in_many = || many_students.decide(&realm, &agency, &many_graph, Outcome::Allowed);
    let [few_us, many_us] = interleaved(ROUNDS, TIMES, [&mut in_few, &mut in_many]);
    report.goal("decision_1m_over_10k_students", median_ratio(&many_us, &few_us), Goal::AtMost(1.2));
    report.info("decision_us_10k_students", median(&few_us));
    report.info("decision_us_1m_students", median(&many_us));

    let outsider = client(&realm, district(0) - 1);
    let mut denied = || few_students.decide(&realm, &outsider, &few_graph, Outcome::NotPermitted);
    let [deny_us] = interleaved(ROUNDS, TIMES / 4, [&mut denied]);
    report.info("decision_us_deny", median(&deny_us));
    let mut checked = || few_students.check(&realm);
    let [check_us] = interleaved(ROUNDS, TIMES, [&mut || drop(checked())]);
    report.info("decision_us_check_of_question", median(&check_us));
}

/// A client of the vendor claim set that acts for one organization.
pub(crate) fn client(realm: &Realm, organization: usize) -> Principal {
    let claims =
        json!({ "client_id": "vendor", "scope": "SISVendor", "educationOrganizationIds": organization.to_string() });
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

/// Questions about random students.
struct Students {
    state: State,
    numbers: Numbers,
}

impl Students {
    fn of(state: State) -> Self {
        Self { state, numbers: Numbers(7) }
    }

    fn check(&mut self, realm: &Realm) -> AccessRequest {
        let id: Arc<str> = student(self.numbers.below(self.state.students)).to_string().into();
        let attributes: Attributes =
            [(Arc::from("studentUniqueId"), Value::String(Arc::clone(&id)))].into_iter().collect();
        let question = Question {
            action: "Read".into(),
            resource_type: "ed-fi/students".into(),
            resource_id: id,
            attributes: Some(attributes),
            ..Question::default()
        };
        AccessRequest::check(realm, &question).unwrap()
    }

    fn decide(&mut self, realm: &Realm, principal: &Principal, graph: &Graph, expected: Outcome) {
        let request = self.check(realm);
        let decision = decide(realm, principal, &request, graph);
        assert_eq!(decision.outcome, expected);
    }
}
