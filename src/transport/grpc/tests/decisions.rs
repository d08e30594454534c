//! The decision log.

use prost_types::Timestamp;

use super::{
    authorize, reason, violations,
    world::{NOW, REALM, World, entity},
};
use crate::proto::v1::{self as pb, relationship_service_client::RelationshipServiceClient};

#[tokio::test]
async fn decisions_are_found_page_by_page_with_the_same_request_only() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    for student in ["ada", "ben", "ada", "ada"] {
        authorize(&world, world.question(student, "1")).await.unwrap();
    }
    let mut client = world.decisions();
    let mut query = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        from: Some(Timestamp { seconds: NOW, nanos: 0 }),
        person: Some(entity("Student", "ada")),
        page_size: 2,
        kind: pb::RecordKind::Decision.into(),
        ..pb::QueryDecisionsRequest::default()
    };
    let first = client.query_decisions(query.clone()).await.unwrap().into_inner();
    let sequences =
        |page: &pb::QueryDecisionsResponse| page.decisions.iter().map(|found| found.sequence).collect::<Vec<_>>();
    assert_eq!((sequences(&first), first.complete), (vec![4, 3], true));
    let record = &first.decisions[0];
    assert_eq!(
        (record.decision(), &*record.action, &*record.issuer),
        (pb::Decision::Allow, "Read", "https://idp.example")
    );
    assert_eq!(record.time, Some(Timestamp { seconds: NOW, nanos: 250_000_000 }));
    assert!(record.subjects[0].is_pseudonym && record.subjects[0].id != "ada");
    let found = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: record.decision_id.clone() };
    assert_eq!(client.get_decision(found).await.unwrap().into_inner().decision.as_ref(), Some(record));

    query.page_token = first.next_page_token;
    query.page_size = 3;
    let second = client.query_decisions(query.clone()).await.unwrap().into_inner();
    assert_eq!((sequences(&second), &*second.next_page_token), (vec![1], ""));
    let other_order = pb::QueryDecisionsRequest { order: pb::DecisionOrder::OldestFirst.into(), ..query.clone() };
    let other_person = pb::QueryDecisionsRequest { person: Some(entity("Student", "ben")), ..query.clone() };
    let no_token = pb::QueryDecisionsRequest { page_token: "4".to_owned(), ..query.clone() };
    for misuse in [other_order, other_person, no_token] {
        assert_eq!(violations(&client.query_decisions(misuse).await.unwrap_err()), ["page_token"]);
    }
    let read = pb::ReadRelationshipsRequest {
        realm: REALM.to_owned(),
        subject: Some(entity("Student", "ada")),
        page_token: query.page_token,
        ..pb::ReadRelationshipsRequest::default()
    };
    let status = RelationshipServiceClient::new(world.channel.clone()).read_relationships(read).await.unwrap_err();
    assert_eq!(violations(&status), ["page_token"]);

    let unreadable = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: "7".to_owned() };
    assert_eq!(violations(&client.get_decision(unreadable).await.unwrap_err()), ["decision_id"]);
    let id = uuid::Uuid::nil().to_string();
    let missing = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: id };
    assert_eq!(reason(&client.get_decision(missing).await.unwrap_err()), "DECISION_UNKNOWN");
}

fn tail(query: pb::QueryDecisionsRequest, after_sequence: Option<u64>) -> pb::TailDecisionsRequest {
    pb::TailDecisionsRequest { query: Some(query), after_sequence }
}

#[tokio::test]
async fn who_follows_the_log_gets_what_matches_as_it_is_kept() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let denied = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        decision: pb::Decision::Deny.into(),
        ..pb::QueryDecisionsRequest::default()
    };
    let mut client = world.decisions();
    let mut parts = client.tail_decisions(tail(denied.clone(), None)).await.unwrap().into_inner();
    for student in ["ada", "ben", "ada", "cid"] {
        authorize(&world, world.question(student, "1")).await.unwrap();
    }
    let (mut people, mut reached) = (Vec::new(), 0);
    while people.len() < 2 {
        let part = parts.message().await.unwrap().unwrap();
        assert!(part.sequence > reached);
        reached = part.sequence;
        people.extend(part.decisions.into_iter().map(|found| (found.sequence, found.decision())));
    }
    assert!(people.iter().all(|(_, decision)| *decision == pb::Decision::Deny), "{people:?}");
    // Who goes on where he was gets what he had not.
    let first = people[0].0;
    let mut parts = client.tail_decisions(tail(denied, Some(first))).await.unwrap().into_inner();
    let part = parts.message().await.unwrap().unwrap();
    assert_eq!(part.decisions.first().map(|found| found.sequence), Some(people[1].0));
}

#[tokio::test]
async fn a_place_that_the_log_has_not_reached_and_pages_cannot_be_followed() {
    let world = World::start().await;
    let query = pb::QueryDecisionsRequest { realm: REALM.to_owned(), ..pb::QueryDecisionsRequest::default() };
    let mut client = world.decisions();
    let status = client.tail_decisions(tail(query.clone(), Some(1_000))).await.unwrap_err();
    assert_eq!(violations(&status), ["after_sequence"]);
    let paged = pb::QueryDecisionsRequest { page_size: 3, ..query };
    let status = client.tail_decisions(tail(paged, None)).await.unwrap_err();
    assert_eq!(violations(&status), ["query.page_size"]);
}

#[tokio::test]
async fn who_follows_the_log_hears_that_the_service_stops() {
    let world = World::start().await;
    let query = pb::QueryDecisionsRequest { realm: REALM.to_owned(), ..pb::QueryDecisionsRequest::default() };
    let mut parts = world.decisions().tail_decisions(tail(query, None)).await.unwrap().into_inner();
    world.app.end_tails();
    let status = loop {
        match parts.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("expected a status"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), reason(&status).as_str()), (tonic::Code::Unavailable, "STOPPING"));
}
