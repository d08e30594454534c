//! What a search costs, and how little that depends on the number of students beyond those that it finds.

use std::{path::Path, sync::Arc};

use hallpass::{
    domain::{
        access_request::{AccessRequest, Question},
        decide::decide,
        decision::Outcome,
        graph::Graph,
        principal::Principal,
        realm::Realm,
        search::{self, Scope},
    },
    provider::realm_files::read_folder,
};

use crate::{
    decisions::client,
    measure::{Goal, Report, info, interleaved, median, median_ratio},
    state::{State, school},
};

const ROUNDS: usize = 21;
const TIMES: usize = 8;
const STUDENTS: &str = "ed-fi/students";

/// A school's own students, among few and among many of other schools.
pub(crate) fn run(report: &mut Report) {
    let realm = Realm::compile(&read_folder(Path::new("policies/edfi")).unwrap(), None).unwrap();
    let [few, many] = [10_000, 1_000_000].map(|students| State { students }.graph(&realm));
    let client = client(&realm, school(3));
    let found = students(&realm, &client, &few);
    assert_eq!(found, students(&realm, &client, &many));
    let [few_us, many_us, known_us] = interleaved(
        ROUNDS,
        TIMES,
        [&mut || drop(students(&realm, &client, &few)), &mut || drop(students(&realm, &client, &many)), &mut || {
            drop(known(&realm, &client, &many));
        }],
    );
    report.goal("search_of_a_school_1m_over_10k_students", median_ratio(&many_us, &few_us), Goal::AtMost(1.2));
    info("search_us_an_item", median(&many_us) / found.len() as f64);
    info("search_us_an_item_to_find_and_sort", median(&known_us) / found.len() as f64);
}

fn question() -> Question {
    Question { action: "Read".into(), resource_type: STUDENTS.into(), ..Question::default() }
}

/// The students that come into question.
fn known(realm: &Realm, client: &Principal, graph: &Graph) -> search::Known {
    let about = AccessRequest::without_values(realm, &question()).unwrap();
    let opening = search::open(realm, client, &about, graph);
    let item = realm.relations.item(STUDENTS).unwrap();
    let scope = Scope { item, resource_type: &about.resource_type, filter: opening.filter.as_ref(), within: None };
    search::known_items(realm, client, graph, scope)
}

/// The students that the client may read, as a search finds them: each decided.
fn students(realm: &Realm, client: &Principal, graph: &Graph) -> Vec<Arc<str>> {
    let known = known(realm, client, graph);
    let (item, resource_type) = (realm.relations.item(STUDENTS).unwrap(), realm.resource_types.get(STUDENTS).unwrap());
    let question = question();
    let mut found = Vec::new();
    for place in 0..known.ids.len() {
        let id = known.ids.get(place).unwrap();
        let asked = search::question_about(graph, item, resource_type, id, &question).unwrap();
        let request = AccessRequest::check(realm, &asked).unwrap();
        if decide(realm, client, &request, graph).outcome == Outcome::Allowed {
            found.push(request.resource_id);
        }
    }
    assert!(known.is_complete && found.len() > 450, "{} students", found.len());
    found
}
