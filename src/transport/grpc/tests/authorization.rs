//! Questions and their answers.

use std::{collections::HashMap, sync::atomic::Ordering, time::Duration};

use tonic::{Code, Request};
use tonic_types::StatusExt;

use super::{
    authorize, reason, violations,
    world::{NOW, REALM, World, entity, text},
};
use crate::{
    app::batch::BATCH_ITEMS_MAX,
    proto::v1::{
        self as pb, authorization_service_client::AuthorizationServiceClient, batch_authorize_result::Result as Item,
    },
};

#[tokio::test]
async fn a_question_is_allowed_with_its_reason() {
    let world = World::start().await;
    let revision = world.enrol("ada", "1").await;
    let mut request = Request::new(world.question("ada", "1"));
    request.metadata_mut().insert("x-request-id", "r-7".parse().unwrap());
    let response = AuthorizationServiceClient::new(world.channel.clone()).authorize(request).await.unwrap();
    assert_eq!(response.metadata().get("x-request-id").unwrap(), "r-7");
    let answer = response.into_inner();
    assert_eq!((answer.decision(), answer.outcome()), (pb::Decision::Allow, pb::Outcome::Allowed));
    assert_eq!((answer.reasons[0].code.as_str(), answer.reasons[0].policy_id.as_str()), ("PERMITTED", "Enrolled"));
    assert_eq!(answer.determining_policies, ["Enrolled"]);
    assert_eq!((answer.denial, answer.data_revision, answer.policy_version.len()), (None, revision, 64));
    let records = world.log.records();
    assert_eq!(records[0].record.id.to_string(), answer.decision_id);
    assert_eq!(&*records[0].record.request_id, "r-7");
}

#[tokio::test]
async fn a_question_is_denied_with_reasons_and_the_realms_denial() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    let answer = authorize(&world, world.question("ada", "2")).await.unwrap();
    assert_eq!((answer.decision(), answer.outcome()), (pb::Decision::Deny, pb::Outcome::NotPermitted));
    assert_eq!(
        answer.reasons,
        [pb::Reason {
            code: "RELATIONSHIP_MISSING".to_owned(),
            message: "The student is at none of the client's schools.".to_owned(),
            policy_id: "Enrolled".to_owned(),
            subjects: vec!["student".to_owned()],
            hints: vec!["Is the student enrolled?".to_owned()],
        }]
    );
    assert_eq!(
        answer.denial.unwrap(),
        pb::Denial {
            status: 403,
            r#type: "urn:north:denied".to_owned(),
            title: "Denied".to_owned(),
            detail: "Not yours. Hint: Is the student enrolled?".to_owned(),
            errors: vec!["No relationship with 'student'.".to_owned()],
            headers: [("X-Denied".to_owned(), "not yours".to_owned())].into(),
            members: [
                ("status".to_owned(), value(pb::value::Kind::IntValue(4))),
                ("about".to_owned(), value(pb::value::Kind::StringValue("'student'".to_owned()))),
            ]
            .into(),
        }
    );
}

fn value(kind: pb::value::Kind) -> pb::Value {
    pb::Value { kind: Some(kind) }
}

#[tokio::test]
async fn a_bad_token_is_a_recorded_deny() {
    let world = World::start().await;
    let long = "x".repeat(17 * 1024);
    for (token, code) in [("", "TOKEN_MISSING"), ("a.b.c", "TOKEN_FORMAT"), (&long, "TOKEN_TOO_LARGE")] {
        let question = pb::AuthorizeRequest { token: token.to_owned(), ..world.question("ada", "1") };
        let answer = authorize(&world, question).await.unwrap();
        assert_eq!((answer.decision(), answer.outcome()), (pb::Decision::Deny, pb::Outcome::Unauthenticated));
        assert_eq!(answer.reasons[0].code, code);
        assert_eq!(answer.denial.unwrap().status, 401);
        let records = world.log.records();
        assert_eq!(records.last().unwrap().record.id.to_string(), answer.decision_id);
    }
}

#[tokio::test]
async fn a_decision_that_cannot_be_kept_is_not_answered() {
    let world = World::start().await;
    world.log.is_full.store(true, Ordering::Relaxed);
    let status = authorize(&world, world.question("ada", "1")).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "DECISION_LOG_UNAVAILABLE"));
    assert!(status.get_details_retry_info().is_some());
    assert_eq!(status.get_details_error_info().unwrap().metadata["realm"], REALM);
}

#[tokio::test]
async fn all_faults_of_a_question_come_at_once() {
    let world = World::start().await;
    let mut question = world.question("ada", "1");
    question.action = "Reed".to_owned();
    question.request_id = "é".to_owned();
    question.context = HashMap::from([("other".to_owned(), text("x"))]);
    question.resource.as_mut().unwrap().r#type = "Folder".to_owned();
    let mut request = Request::new(question);
    request.metadata_mut().insert("x-request-id", "r-8".parse().unwrap());
    let status = AuthorizationServiceClient::new(world.channel.clone()).authorize(request).await.unwrap_err();
    assert_eq!(violations(&status), ["action", "request_id", "resource.type"]);
    assert_eq!(
        (&*reason(&status), status.metadata().get("x-request-id").unwrap().as_bytes()),
        ("INVALID_REQUEST", &b"r-8"[..])
    );
    let mut question = world.question("ada", "1");
    question.context = HashMap::from([("method".to_owned(), text(&"x".repeat(65_537)))]);
    question.resource.as_mut().unwrap().attributes.insert(
        "deep".to_owned(),
        (0..17).fold(text(""), |value, _| pb::Value {
            kind: Some(pb::value::Kind::ListValue(pb::ListValue { values: vec![value] })),
        }),
    );
    let status = authorize(&world, question).await.unwrap_err();
    assert_eq!(violations(&status), ["context.method", &format!("resource.attributes.deep{}", "[0]".repeat(16))]);
}

#[tokio::test]
async fn a_batch_answers_in_order_and_each_item_fails_alone() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    let mut defaults = world.question("ben", "1");
    defaults.request_id = "batch".to_owned();
    let item = |student: &str| pb::AuthorizeRequest {
        resource: Some(pb::Resource {
            attributes: HashMap::from([("student".to_owned(), text(student))]),
            ..pb::Resource::default()
        }),
        ..pb::AuthorizeRequest::default()
    };
    let items = vec![
        item("ada"),
        pb::AuthorizeRequest::default(),
        pb::AuthorizeRequest { action: "x".repeat(257), ..item("ada") },
        pb::AuthorizeRequest { action: "Reed".to_owned(), ..item("ada") },
        pb::AuthorizeRequest { realm: "south".to_owned(), ..item("ada") },
        pb::AuthorizeRequest { token: "bad".to_owned(), ..item("ada") },
        item("ada"),
    ];
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    let request = pb::BatchAuthorizeRequest { defaults: Some(defaults), items };
    let results = client.batch_authorize(request).await.unwrap().into_inner().results;
    let found: Vec<_> = results
        .into_iter()
        .map(|result| match result.result.unwrap() {
            Item::Response(answer) => format!("{:?}", answer.outcome()),
            Item::Error(error) => format!("{} {} {}", error.code, error.reason, error.message),
        })
        .collect();
    assert_eq!(
        found,
        [
            "Allowed",
            "NotPermitted",
            "3 INVALID_REQUEST `items[2].action` is longer than 256 bytes",
            "3 INVALID_REQUEST `items[3].action` is no action of the realm, did you mean `Read`?",
            "5 REALM_UNKNOWN there is no such realm, expected one of north",
            "Unauthenticated",
            "Allowed",
        ]
    );
    let records = world.log.records().clone();
    assert!(records.len() == 4 && records.iter().all(|found| &*found.record.request_id == "batch"));
    let items = vec![pb::AuthorizeRequest::default(); BATCH_ITEMS_MAX + 1];
    let too_many = pb::BatchAuthorizeRequest { defaults: None, items };
    assert_eq!(violations(&client.batch_authorize(too_many).await.unwrap_err()), ["items"]);
}

#[tokio::test]
async fn a_question_waits_for_the_revision_that_it_asks_for() {
    let world = World::start().await;
    let question = pb::AuthorizeRequest { at_least_revision: 1, ..world.question("ada", "1") };
    let (answer, revision) = tokio::join!(authorize(&world, question), world.enrol("ada", "1"));
    let answer = answer.unwrap();
    assert_eq!((answer.decision(), answer.data_revision), (pb::Decision::Allow, revision));
}

#[tokio::test]
async fn a_question_ends_with_its_deadline() {
    let world = World::start().await;
    let mut request = Request::new(pb::AuthorizeRequest { at_least_revision: 9, ..world.question("ada", "1") });
    request.set_timeout(Duration::from_millis(400));
    let status = AuthorizationServiceClient::new(world.channel.clone()).authorize(request).await.unwrap_err();
    // The client's own clock may be quicker than the answer; it says so without details.
    if status.code() != Code::Cancelled {
        assert_eq!((status.code(), &*reason(&status)), (Code::DeadlineExceeded, "DEADLINE_EXCEEDED"));
    }
    assert!(world.log.records().is_empty());
}

#[tokio::test]
async fn a_token_is_described() {
    let world = World::start().await;
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    let request = pb::GetTokenInfoRequest { realm: String::new(), token: world.token("2,1"), ..Default::default() };
    let info = client.get_token_info(request).await.unwrap().into_inner();
    assert_eq!(
        (info.active, info.principal, info.expires_at_seconds),
        (true, Some(entity("Client", "client")), NOW + 600)
    );
    let reached: Vec<_> = info.reachable.into_iter().map(|reached| reached.entity.unwrap().id).collect();
    assert_eq!(reached, ["1", "2"]);
    let request = pb::GetTokenInfoRequest { realm: REALM.to_owned(), token: "bad".to_owned(), ..Default::default() };
    let info = client.get_token_info(request).await.unwrap().into_inner();
    let inactive = pb::GetTokenInfoResponse { reason: "TOKEN_FORMAT".to_owned(), ..Default::default() };
    assert_eq!(info, inactive);
}
