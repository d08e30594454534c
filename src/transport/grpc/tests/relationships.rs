//! Relationships written, imported and read.

use tonic::Code;

use super::{
    authorize, reason, violations,
    world::{REALM, World, enrolment, entity},
};
use crate::{
    domain::{id::EntityId, relationship::Relationship},
    proto::v1::{self as pb, relationship_service_client::RelationshipServiceClient},
};

#[tokio::test]
async fn relationships_are_written_and_read_back_page_by_page() {
    let world = World::start().await;
    let mut client = RelationshipServiceClient::new(world.channel.clone());
    let write = pb::WriteRelationshipsRequest {
        realm: REALM.to_owned(),
        creates: ["c", "a", "b"].map(|student| enrolment(student, "1")).to_vec(),
        ..pb::WriteRelationshipsRequest::default()
    };
    assert_eq!(client.write_relationships(write.clone()).await.unwrap().into_inner().revision, 1);
    let stale = pb::WriteRelationshipsRequest { expected_revision: 7, ..write };
    let status = client.write_relationships(stale).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::FailedPrecondition, "REVISION_MISMATCH"));
    let wrong = pb::WriteRelationshipsRequest {
        realm: REALM.to_owned(),
        creates: vec![pb::Relationship { subject: None, ..enrolment("", "1") }],
        deletes: vec![pb::Relationship { object: Some(entity("", "1")), ..enrolment("a", "") }],
        expected_revision: 0,
    };
    let status = client.write_relationships(wrong).await.unwrap_err();
    assert_eq!(violations(&status), ["creates[0].subject", "deletes[0].object.type"]);

    let mut read = pb::ReadRelationshipsRequest {
        realm: REALM.to_owned(),
        subject: Some(pb::EntityReference::default()),
        object: Some(entity("School", "1")),
        page_size: 2,
        ..pb::ReadRelationshipsRequest::default()
    };
    let first = client.read_relationships(read.clone()).await.unwrap().into_inner();
    assert_eq!((first.relationships, first.revision), (vec![enrolment("a", "1"), enrolment("b", "1")], 1));
    read.page_token = first.next_page_token;
    let second = client.read_relationships(read.clone()).await.unwrap().into_inner();
    assert_eq!((second.relationships, &*second.next_page_token), (vec![enrolment("c", "1")], ""));
    read.object = Some(entity("School", "2"));
    assert_eq!(violations(&client.read_relationships(read).await.unwrap_err()), ["page_token"]);
    let nobody = pb::ReadRelationshipsRequest { realm: REALM.to_owned(), ..Default::default() };
    assert_eq!(violations(&client.read_relationships(nobody).await.unwrap_err()), ["subject"]);
}

#[tokio::test]
async fn an_import_keeps_what_is_right_and_lists_what_is_not() {
    let world = World::start().await;
    let mut client = RelationshipServiceClient::new(world.channel.clone());
    let part = |resource: &str, records: &[&str]| pb::ImportRecordsRequest {
        realm: REALM.to_owned(),
        resource: resource.to_owned(),
        records: records.iter().map(|&record| record.to_owned()).collect(),
    };
    let enrolment = r#"{ "school": "1", "student": "ada" }"#;
    let parts = vec![
        part("enrolments", &[enrolment, r#"{ "school": "1" }"#]),
        part("schools", &[r#"{ "schoolId": "1", "name": "North High" }"#, "no JSON"]),
        part("buses", &["{}", "{}"]),
        part("enrolments", &["[]", enrolment]),
    ];
    let summary = client.import_records(tokio_stream::iter(parts)).await.unwrap().into_inner();
    let refused: Vec<_> = summary.refusals.iter().map(|refusal| (&*refusal.resource, refusal.index)).collect();
    assert_eq!(refused, [("enrolments", 1), ("schools", 1), ("enrolments", 2)]);
    let pb::ImportRecordsResponse { revision, accepted, changed, skipped, refused, refusals: _ } = summary;
    assert_eq!((revision, accepted, changed, skipped, refused), (1, 3, 2, 2, 3));
    let answer = authorize(&world, world.question("ada", "1")).await.unwrap();
    assert_eq!(answer.decision(), pb::Decision::Allow);

    let records = vec![enrolment.to_owned(), r#"{ "school": "2", "student": "ada" }"#.to_owned()];
    let request =
        pb::DeleteRecordsRequest { realm: REALM.to_owned(), resource: "enrolments".to_owned(), records, forget: false };
    let deleted = client.delete_records(request).await.unwrap().into_inner();
    assert_eq!((deleted.revision, deleted.deleted, deleted.missing), (2, 1, 1));
    let too_many = part("enrolments", &vec!["{}"; 1_001]);
    let stream = tokio_stream::iter([part("enrolments", &[enrolment]), too_many]);
    assert_eq!(violations(&client.import_records(stream).await.unwrap_err()), ["records"]);
    let nothing = tokio_stream::empty::<pb::ImportRecordsRequest>();
    assert_eq!(violations(&client.import_records(nothing).await.unwrap_err()), ["realm"]);
}

#[tokio::test]
async fn a_write_whose_caller_gives_up_is_seen_by_decisions() {
    let world = World::start().await;
    let enrolment = Relationship {
        subject: EntityId::new("Student", "ada"),
        relation: "enrolled_at".into(),
        object: EntityId::new("School", "1"),
    };
    let enrolments = [enrolment];
    let closed = world.store.door.acquire().await.unwrap();
    tokio::select! {
        _ = world.app.write_relationships(REALM, &enrolments, &[], None) => panic!("the door is closed"),
        arrived = world.store.arrivals.acquire() => drop(arrived.unwrap()),
    }
    drop(closed);
    let question = pb::AuthorizeRequest { at_least_revision: 1, ..world.question("ada", "1") };
    assert_eq!(authorize(&world, question).await.unwrap().decision(), pb::Decision::Allow);
}
