//! What holds of all records: of their order, of edits of the hierarchy, and of relationships that are added.

use std::sync::LazyLock;

use hallpass::domain::{principal::Principal, realm::Realm};
use proptest::prelude::*;

use super::model::{ORGANIZATIONS, Source, World, answers, check, check_inverted, client, some_source};

const GROUP: &[&str] = &[
    "RelationshipsWithEdOrgsAndPeople",
    "RelationshipsWithEdOrgsOnly",
    "RelationshipsWithEdOrgsOnlyInverted",
    "RelationshipsWithEdOrgsAndPeopleInverted",
    "RelationshipsWithPeopleOnly",
    "RelationshipsWithStudentsOnly",
    "RelationshipsWithStudentsOnlyThroughResponsibility",
];

const PAST: &[&str] = &[
    "RelationshipsWithEdOrgsOnly",
    "RelationshipsWithEdOrgsAndPeopleIncludingDeletes",
    "RelationshipsWithStudentsOnlyIncludingDeletes",
    "RelationshipsWithStudentsOnlyThroughResponsibilityIncludingDeletes",
];

/// A claim set for each part of the two groups that holds more than one strategy, and for some alone.
static REALM: LazyLock<Realm> = LazyLock::new(|| {
    super::model::realm(&[
        ("Plain", &["RelationshipsWithEdOrgsAndPeople"]),
        ("Upwards", &["RelationshipsWithEdOrgsOnlyInverted"]),
        ("Past", &["RelationshipsWithEdOrgsAndPeopleIncludingDeletes"]),
        ("Responsibility", &["RelationshipsWithStudentsOnlyThroughResponsibilityIncludingDeletes"]),
        ("Some", &GROUP[1..2]),
        ("More", &GROUP[..3]),
        ("People", &GROUP[3..5]),
        ("PastOfAll", PAST),
        ("PastOfStudents", &PAST[2..]),
    ])
});

const CLAIM_SETS: [&str; 9] =
    ["Plain", "Upwards", "Past", "Responsibility", "Some", "More", "People", "PastOfAll", "PastOfStudents"];

fn clients(claim_set: &str) -> Vec<(i64, Principal)> {
    ORGANIZATIONS.chain([99]).map(|id| (id, client(&REALM, claim_set, id))).collect()
}

fn all_answers(graph: &hallpass::domain::graph::Graph) -> Vec<Vec<Option<bool>>> {
    let all = CLAIM_SETS.iter().flat_map(|claim_set| clients(claim_set));
    all.map(|(_, client)| answers(&REALM, &client, graph)).collect()
}

fn world(sources: &[Source]) -> World {
    let mut world = World::new();
    for source in sources {
        world.put(&REALM, source);
    }
    world
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(48))]

    /// Re-parented, in diamonds and cycles, with a parent cleared, deleted and there again: the clients, which remember
    /// what they are in, always get the answer that the records give.
    #[test]
    fn edits_equal_a_computation_from_the_records(
        edits in prop::collection::vec((some_source(), 0..4_u8), 1..20),
    ) {
        let (plain, past, upwards) = (clients("Plain"), clients("Past"), clients("Upwards"));
        let mut world = World::new();
        for (source, kind) in edits {
            if kind == 0 { world.delete(&REALM, &source) } else { world.put(&REALM, &source) }
            check(&REALM, &world, &plain, &world.graph, false);
            check(&REALM, &world, &past, &world.graph, true);
            check_inverted(&REALM, &world, &upwards, &world.graph);
        }
        let loaded = world.loaded();
        prop_assert_eq!(all_answers(&loaded), all_answers(&world.graph), "after a start");
    }
}

proptest! {
    #![proptest_config(config(16))]

    #[test]
    fn the_order_of_records_does_not_matter(
        (sources, turned) in prop::collection::vec(some_source(), 1..16).prop_flat_map(|mut sources| {
            // Of records of one key the last counts, so only one of each may be turned.
            let mut seen = std::collections::BTreeSet::new();
            sources.retain(|(resource, json)| seen.insert(REALM.relations.key(resource, &json.to_string()).unwrap()));
            (Just(sources.clone()), Just(sources).prop_shuffle())
        }),
        deleted in 0..4_usize,
    ) {
        let answers: Vec<_> = [&sources, &turned]
            .map(|order| {
                let mut world = world(order);
                order.iter().filter(|source| sources[..deleted.min(sources.len())].contains(source)).for_each(|source| {
                    world.delete(&REALM, source);
                });
                all_answers(&world.graph)
            })
            .into();
        prop_assert_eq!(&answers[0], &answers[1]);
    }

    #[test]
    fn a_relationship_that_is_added_denies_nothing(
        sources in prop::collection::vec(some_source(), 0..14),
        added in prop::collection::vec(some_source(), 1..4),
    ) {
        let mut world = world(&sources);
        let mut before = all_answers(&world.graph);
        for source in added {
            let key = REALM.relations.key(source.0, &source.1.to_string()).unwrap();
            if world.records.contains_key(&key) {
                continue; // It would replace another one.
            }
            world.put(&REALM, &source);
            let after = all_answers(&world.graph);
            for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
                prop_assert!(!(*before == Some(true) && *after != Some(true)), "{source:?}");
            }
            before = after;
        }
    }

    #[test]
    fn a_deletion_takes_nothing_from_who_reads_changes_of_people(
        sources in prop::collection::vec(some_source(), 1..14),
    ) {
        let mut world = world(&sources);
        let past = |world: &World| -> Vec<Vec<Option<bool>>> {
            let all = ["Past", "Responsibility", "PastOfStudents"].iter().flat_map(|claim_set| clients(claim_set));
            all.map(|(_, client)| answers(&REALM, &client, &world.graph)).collect()
        };
        let before = past(&world);
        for source in sources.iter().filter(|(resource, _)| *resource != "localEducationAgencies") {
            world.delete(&REALM, source);
        }
        prop_assert_eq!(past(&world), before);
    }
}

#[test]
fn of_a_diamond_one_side_may_go() {
    let place = |id: i64, parents: [Option<i64>; 2]| {
        let reference = |key: &str, id: Option<i64>| id.map(|id| serde_json::json!({ key: id }));
        let json = serde_json::json!({
            "localEducationAgencyId": id,
            "parentLocalEducationAgencyReference": reference("localEducationAgencyId", parents[0]),
            "stateEducationAgencyReference": reference("stateEducationAgencyId", parents[1]),
        });
        ("localEducationAgencies", json)
    };
    // 1 is above 2 and 3 (by way of 2, too); 3 above 4.
    let mut world = world(&[place(2, [Some(1), None]), place(3, [Some(2), Some(1)]), place(4, [Some(3), None])]);
    let clients = clients("Plain");
    let edits = [place(2, [None, None]), place(3, [Some(2), None]), place(2, [None, Some(1)])];
    for edit in edits {
        check(&REALM, &world, &clients, &world.graph, false);
        world.put(&REALM, &edit);
    }
    check(&REALM, &world, &clients, &world.graph, false);
    world.delete(&REALM, &place(3, [None, None]));
    check(&REALM, &world, &clients, &world.graph, false);
}
