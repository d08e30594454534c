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
