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
    measure::{Goal, Numbers, Report, info, interleaved, median, median_ratio, resident_bytes},
    state::{AGENCY, State, district, student},
};

const ROUNDS: usize = 31;
const TIMES: usize = 4_000;

/// Where the time of a decision goes.
pub(crate) fn parts(_: &mut Report) {
    let realm = realm();
    let state = State { students: 10_000 };
    let graph = state.graph(&realm);
    let (agency, outsider) = (client(&realm, AGENCY), client(&realm, district(0) - 1));
    let [mut checked, mut allowed, mut denied] = [state; 3].map(Students::of);
    let [check_us, allow_us, deny_us] = interleaved(
        ROUNDS,
        TIMES,
        [
            &mut || drop(checked.check(&realm)),
            &mut || allowed.decide(&realm, &agency, &graph, Outcome::Allowed),
            &mut || denied.decide(&realm, &outsider, &graph, Outcome::NotPermitted),
        ],
    );
    info("decision_us_allow", median(&allow_us));
    info("decision_us_deny", median(&deny_us));
    info("decision_us_check_of_question", median(&check_us));
}

/// How little a decision depends on the number of students.
pub(crate) fn sizes(report: &mut Report) {
    let realm = realm();
    let (few, many) = (State { students: 10_000 }, State { students: 1_000_000 });
    let before = resident_bytes();
    let many_graph = many.graph(&realm);
    info("graph_bytes_per_student", (resident_bytes() - before) / many.students as f64);
    let few_graph = few.graph(&realm);
    let agency = client(&realm, AGENCY);
    let (mut few, mut many) = (Students::of(few), Students::of(many));
    let [few_us, many_us] = interleaved(
        ROUNDS,
        TIMES,
        [&mut || few.decide(&realm, &agency, &few_graph, Outcome::Allowed), &mut || {
            many.decide(&realm, &agency, &many_graph, Outcome::Allowed);
        }],
    );
    report.goal("decision_1m_over_10k_students", median_ratio(&many_us, &few_us), Goal::AtMost(1.2));
    info("decision_us_1m_students", median(&many_us));
}

pub(crate) fn realm() -> Realm {
    Realm::compile(&read_folder(Path::new("policies/edfi")).unwrap(), None).unwrap()
}

/// A client of the vendor claim set that acts for one organization.
pub(crate) fn client(realm: &Realm, organization: usize) -> Principal {
    let claims =
        json!({ "client_id": "vendor", "scope": "SISVendor", "educationOrganizationIds": organization.to_string() });
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

/// Questions about random students.
pub(crate) struct Students {
    state: State,
    numbers: Numbers,
}

impl Students {
    pub(crate) fn of(state: State) -> Self {
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

    pub(crate) fn decide(&mut self, realm: &Realm, principal: &Principal, graph: &Graph, expected: Outcome) {
        let request = self.check(realm);
        let decision = decide(realm, principal, &request, graph);
        assert_eq!(decision.outcome, expected);
    }
}
