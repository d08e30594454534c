//! How much an answer says of why, and to whom.

use tonic::{Code, Request, Status};

use super::{
    Options, reason, violations,
    world::{ADMIN_KEY, REALM, World},
};
use crate::{
    app::{
        batch::BATCH_EXPLAINED_MAX,
        caller::{KeyDigest, KnownCaller},
    },
    domain::decision_record::RecordKind,
    proto::v1::{
        self as pb, authorization_service_client::AuthorizationServiceClient, batch_authorize_result::Result as Item,
    },
};

const ENFORCER: &str = "the enforcer's key";
const AUDITOR: &str = "the auditor's key";
const AUTHOR: &str = "the author's key";
const OFFICER: &str = "the privacy officer's key";
const ELSEWHERE: &str = "the key of an author of another realm";

fn caller(name: &str, role: &str, key: &str, realm: Option<&str>) -> KnownCaller {
    let realms = realm.into_iter().map(|realm| realm.parse().unwrap()).collect();
    KnownCaller {
        name: name.into(),
        roles: vec![role.into()],
        realms,
        key: Some(KeyDigest::of(key)),
        ..KnownCaller::default()
    }
}

async fn world() -> World {
    let callers = vec![
        caller("gate", "enforcer", ENFORCER, None),
        caller("ada", "auditor", AUDITOR, None),
        caller("aron", "author", AUTHOR, Some(REALM)),
        caller("priya", "privacy_officer", OFFICER, None),
        caller("elsa", "author", ELSEWHERE, Some("south")),
    ];
    World::start_for(Options::default(), callers).await
}

fn at(level: pb::ExplainLevel, question: pb::AuthorizeRequest) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest { explain: level.into(), ..question }
}

fn keyed<T>(message: T, key: Option<&str>) -> Request<T> {
    let mut request = Request::new(message);
    if let Some(key) = key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    request
}

async fn ask(
    world: &World,
    key: Option<&str>,
    question: pb::AuthorizeRequest,
) -> Result<pb::AuthorizeResponse, Status> {
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    client.authorize(keyed(question, key)).await.map(tonic::Response::into_inner)
}

fn timeless(answer: pb::AuthorizeResponse) -> pb::AuthorizeResponse {
    pb::AuthorizeResponse { decision_id: String::new(), ..answer }
}

#[tokio::test]
async fn a_level_that_is_not_given_is_that_of_reasons_and_none_says_only_what_was_decided() {
    let world = world().await;
    world.enrol("ada", "1").await;
    for (student, school) in [("ada", "1"), ("ada", "2")] {
        let plain = timeless(ask(&world, None, world.question(student, school)).await.unwrap());
        let reasons = at(pb::ExplainLevel::Reasons, world.question(student, school));
        assert_eq!(timeless(ask(&world, None, reasons).await.unwrap()), plain);
        assert!(plain.explanation.is_none() && !plain.reasons.is_empty());
        let none = at(pb::ExplainLevel::None, world.question(student, school));
        let none = timeless(ask(&world, None, none).await.unwrap());
        let expected = pb::AuthorizeResponse { reasons: Vec::new(), determining_policies: Vec::new(), ..plain.clone() };
        assert_eq!(none, expected);
    }
    let records = world.log.records();
    assert!(records.iter().all(|found| found.record.kind == RecordKind::Decision && !found.record.reasons.is_empty()));
}

#[tokio::test]
async fn the_whole_explanation_takes_a_role_and_nobody_gets_less_unasked() {
    let world = world().await;
    world.enrol("ada", "1").await;
    for (key, word) in [(None, "takes a caller's key"), (Some(ENFORCER), "`ROLE_MISSING`")] {
        let question = at(pb::ExplainLevel::Full, world.question("ada", "2"));
        let status = ask(&world, key, question).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::PermissionDenied, "EXPLAIN_NOT_PERMITTED"), "{key:?}");
        assert!(status.message().starts_with("`explain` is FULL"), "{status:?}");
        assert!(status.message().contains(word), "{word}: {status:?}");
    }
    let (unknown, refused) =
        ((Code::Unauthenticated, "CALLER_KEY_UNKNOWN"), (Code::PermissionDenied, "CALLER_NOT_PERMITTED"));
    for (key, expected, word) in [
        ("no key of anybody", unknown, "no caller's"),
        (ADMIN_KEY, unknown, "does not count"),
        (AUDITOR, refused, "`ROLE_MISSING`"),
        (ELSEWHERE, refused, "`REALM_NOT_GRANTED`"),
    ] {
        let question = at(pb::ExplainLevel::Full, world.question("ada", "2"));
        let status = ask(&world, Some(key), question).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), expected, "{key}");
        assert!(status.message().contains(word), "{word}: {status:?}");
    }
    assert!(world.log.records().iter().all(|found| found.record.kind == RecordKind::Reading), "nothing was decided");
    let answer = ask(&world, Some(AUTHOR), at(pb::ExplainLevel::Full, world.question("ada", "2"))).await.unwrap();
    let explanation = answer.explanation.unwrap();
    assert_eq!(explanation.near_misses[0].policy_id, "Enrolled");
    assert!(explanation.hides_people, "an author sees no further people");
    assert!(!explanation.remedies.is_empty());
    let kinds: Vec<_> = world.log.records().iter().map(|found| found.record.kind).collect();
    assert_eq!(kinds[kinds.len() - 2..], [RecordKind::Reading, RecordKind::Decision]);
    assert_eq!(&*world.log.records()[kinds.len() - 2].record.action, "ExplainDecision");
}

#[tokio::test]
async fn without_callers_the_local_admin_token_counts() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    let answer = ask(&world, Some(ADMIN_KEY), at(pb::ExplainLevel::Full, world.question("ada", "1"))).await.unwrap();
    let explanation = answer.explanation.unwrap();
    assert_eq!(explanation.permits[0].policy_id, "Enrolled");
    let chains: Vec<_> = explanation.permits[0].conditions.iter().flat_map(|condition| &condition.chains).collect();
    assert_eq!((chains.len(), chains[0].hops[0].relation.as_str()), (1, "enrolled_at"));
}

#[tokio::test]
async fn people_are_named_for_a_purpose_to_whom_may_see_them() {
    let world = world().await;
    for (key, purpose, hides_people) in
        [(AUTHOR, "a complaint", true), (OFFICER, "", true), (OFFICER, "a complaint", false)]
    {
        let question = pb::AuthorizeRequest { purpose: purpose.to_owned(), ..world.question("ada", "1") };
        let answer = ask(&world, Some(key), at(pb::ExplainLevel::Full, question)).await.unwrap();
        assert_eq!(answer.explanation.unwrap().hides_people, hides_people, "{key} {purpose}");
    }
}

#[tokio::test]
async fn an_absent_student_and_one_out_of_reach_are_explained_alike() {
    let world = world().await;
    world.enrol("ada", "7").await;
    let told = async |student: &str| {
        let question = at(pb::ExplainLevel::Full, world.question(student, "1"));
        let answer = ask(&world, Some(AUTHOR), question).await.unwrap();
        // The members of the denial have no order.
        (answer.denial.clone(), format!("{:?} {:?}", answer.reasons, answer.explanation))
    };
    let ((there_denial, there), (absent_denial, absent)) = (told("ada").await, told("eve").await);
    assert_eq!((there_denial, there.replace("ada", "eve")), (absent_denial, absent));
    assert!(!there.contains("\"7\""), "{there}");
}

#[tokio::test]
async fn a_token_that_is_not_good_is_explained_by_its_reason() {
    let world = world().await;
    let question = pb::AuthorizeRequest { token: "a.b.c".to_owned(), ..world.question("ada", "1") };
    let answer = ask(&world, Some(AUTHOR), at(pb::ExplainLevel::Full, question)).await.unwrap();
    assert_eq!(answer.explanation.unwrap().fault_code, "TOKEN_FORMAT");
}

#[tokio::test]
async fn items_of_a_batch_have_levels_of_their_own() {
    let world = world().await;
    world.enrol("ada", "1").await;
    let defaults = at(pb::ExplainLevel::None, world.question("ada", "2"));
    let items = vec![
        pb::AuthorizeRequest::default(),
        at(pb::ExplainLevel::Full, pb::AuthorizeRequest::default()),
        at(pb::ExplainLevel::Reasons, pb::AuthorizeRequest::default()),
        pb::AuthorizeRequest { explain: 9, ..pb::AuthorizeRequest::default() },
    ];
    let shape = async |key: Option<&str>| {
        let batch = pb::BatchAuthorizeRequest { defaults: Some(defaults.clone()), items: items.clone() };
        let mut client = AuthorizationServiceClient::new(world.channel.clone());
        let results = client.batch_authorize(keyed(batch, key)).await.unwrap().into_inner().results;
        let shape = results.into_iter().map(|result| match result.result.unwrap() {
            Item::Response(answer) => format!("{} {}", answer.reasons.len(), answer.explanation.is_some()),
            Item::Error(error) => error.reason,
        });
        shape.collect::<Vec<_>>()
    };
    assert_eq!(shape(Some(AUTHOR)).await, ["0 false", "1 true", "1 false", "INVALID_REQUEST"]);
    assert_eq!(shape(None).await, ["0 false", "EXPLAIN_NOT_PERMITTED", "1 false", "INVALID_REQUEST"]);
    let many = vec![at(pb::ExplainLevel::Full, pb::AuthorizeRequest::default()); BATCH_EXPLAINED_MAX + 1];
    let batch = pb::BatchAuthorizeRequest { defaults: Some(defaults), items: many };
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    assert_eq!(violations(&client.batch_authorize(keyed(batch, Some(AUTHOR))).await.unwrap_err()), ["items"]);
}
