//! Requests that are wrong: each gets an error that names the field, nothing is changed, and the service goes on.

use std::collections::HashMap;

use hallpass::proto::v1::{self as pb, value::Kind};
use tonic::{Code, Status};

use crate::support::{
    Home, REALM, Service, creating, enrolled_at, enrolment, entity, fields_of, reading_student, text,
};

/// The revision of the relationships and the number of decisions that were kept.
async fn state(service: &Service) -> (u64, usize) {
    let kind = pb::RecordKind::Decision.into();
    let mut request =
        pb::QueryDecisionsRequest { realm: REALM.to_owned(), kind, page_size: 1_000, ..Default::default() };
    let mut count = 0;
    loop {
        let page = service.decisions().query_decisions(request.clone()).await.unwrap().into_inner();
        count += page.decisions.len();
        if page.next_page_token.is_empty() {
            return (service.revision().await, count);
        }
        request.page_token = page.next_page_token;
    }
}

/// A service with one student, who has been asked for once, and a token that may read it.
async fn service() -> (Home, Service, String) {
    let home = Home::new();
    let service = home.start().await;
    service.import("studentSchoolAssociations", &[enrolment("1", 100)]).await;
    let token = home.token("SISVendor", &[100]);
    is_alive(&service, &token).await;
    (home, service, token)
}

async fn is_alive(service: &Service, token: &str) {
    let answer = service.authorization().authorize(reading_student(token, "1")).await.unwrap().into_inner();
    assert_eq!(answer.decision(), pb::Decision::Allow, "{:?}", answer.reasons);
}

/// What is wrong, the code and the fields of its refusal.
type Expected<'a> = (&'a str, Code, &'a [&'a str]);

fn check<T: std::fmt::Debug>((what, code, fields): Expected<'_>, result: Result<T, Status>) {
    let status = result.expect_err(what);
    assert_eq!(status.code(), code, "{what}: {status:?}");
    assert_eq!(fields_of(&status), fields, "{what}: {status:?}");
    assert!(!status.message().is_empty(), "{what}");
}

fn list(values: Vec<pb::Value>) -> pb::Value {
    pb::Value { kind: Some(Kind::ListValue(pb::ListValue { values })) }
}

fn nested(depth: usize) -> pb::Value {
    (1..depth).fold(text("x"), |value, _| list(vec![value]))
}

fn resource(change: impl FnOnce(&mut pb::Resource)) -> impl FnOnce(&mut pb::AuthorizeRequest) {
    |request| change(request.resource.as_mut().unwrap())
}

/// The changes that make a good question a bad one.
#[expect(clippy::type_complexity, reason = "a table of closures")]
fn bad_questions<'a>() -> Vec<(Expected<'a>, Box<dyn FnOnce(&mut pb::AuthorizeRequest)>)> {
    let invalid = Code::InvalidArgument;
    let attribute = |name: &'static str, value: pb::Value| {
        resource(move |resource| resource.attributes = HashMap::from([(name.to_owned(), value)]))
    };
    let bad_attribute: &[&str] = &["resource.attributes.studentUniqueId"];
    vec![
        (("an unknown realm", Code::NotFound, &[]), Box::new(|it| it.realm = "nowhere".into())),
        (("a realm of 1 MiB", Code::NotFound, &[]), Box::new(|it| it.realm = "x".repeat(1 << 20))),
        (("no action", invalid, &["action"]), Box::new(|it| it.action.clear())),
        (("an unknown action", invalid, &["action"]), Box::new(|it| it.action = "read".into())),
        (("an action of 1 MiB", invalid, &["action"]), Box::new(|it| it.action = "x".repeat(1 << 20))),
        (("no resource", invalid, &["resource.type"]), Box::new(|it| it.resource = None)),
        (("no resource type", invalid, &["resource.type"]), Box::new(resource(|it| it.r#type.clear()))),
        (
            ("an unknown resource type", invalid, &["resource.type"]),
            Box::new(resource(|it| it.r#type = "ed-fi/student".into())),
        ),
        (("an id that is too long", invalid, &["resource.id"]), Box::new(resource(|it| it.id = "x".repeat(513)))),
        (
            ("several faults at once", invalid, &["action", "resource.type"]),
            Box::new(|it| {
                it.action = "?".into();
                it.resource.as_mut().unwrap().r#type = "?".into();
            }),
        ),
        (("a list for an id", invalid, bad_attribute), Box::new(attribute("studentUniqueId", list(vec![text("1")])))),
        (
            ("a truth value for an id", invalid, bad_attribute),
            Box::new(attribute("studentUniqueId", pb::Value { kind: Some(Kind::BoolValue(true)) })),
        ),
        (
            ("an entity of another type", invalid, bad_attribute),
            Box::new(attribute("studentUniqueId", pb::Value { kind: Some(Kind::EntityValue(entity("Staff", "1"))) })),
        ),
        (
            ("an id of 1 MiB", invalid, bad_attribute),
            Box::new(attribute("studentUniqueId", text(&"1".repeat(1 << 20)))),
        ),
        (
            ("a list that is too long", invalid, bad_attribute),
            Box::new(attribute("studentUniqueId", list(vec![text("1"); 10_001]))),
        ),
        (
            ("a proposed value of the wrong type", invalid, &["resource.proposed.studentUniqueId"]),
            Box::new(resource(|it| it.proposed = HashMap::from([("studentUniqueId".to_owned(), list(Vec::new()))]))),
        ),
        (
            ("context that is not declared", invalid, &["context.hour"]),
            Box::new(|it| it.context = HashMap::from([("hour".to_owned(), text("12"))])),
        ),
        (
            ("context that only the service may fill in", invalid, &["context.actionGranted"]),
            Box::new(|it| {
                let granted = pb::Value { kind: Some(Kind::BoolValue(true)) };
                it.context = HashMap::from([("actionGranted".to_owned(), granted)]);
            }),
        ),
        (("a request id with a line break", invalid, &["request_id"]), Box::new(|it| it.request_id = "1\n2".into())),
        (("a request id that is too long", invalid, &["request_id"]), Box::new(|it| it.request_id = "1".repeat(129))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_question_names_its_field_and_leaves_no_trace() {
    let (_home, service, token) = service().await;
    let before = state(&service).await;
    for (expected, make_bad) in bad_questions() {
        let mut question = reading_student(&token, "1");
        make_bad(&mut question);
        let single = service.authorization().authorize(question.clone()).await;
        check(expected, single);

        let batch = pb::BatchAuthorizeRequest { defaults: None, items: vec![question] };
        let results = service.authorization().batch_authorize(batch).await.unwrap().into_inner().results;
        match results[0].result.as_ref().unwrap() {
            pb::batch_authorize_result::Result::Error(error) => {
                assert_eq!(error.code, i32::from(expected.1), "{}: {error:?}", expected.0);
            }
            pb::batch_authorize_result::Result::Response(response) => panic!("{}: {response:?}", expected.0),
        }
        assert_eq!(state(&service).await, before, "{}", expected.0);
    }
    is_alive(&service, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nesting_has_an_end_and_so_has_a_message() {
    let (_home, service, token) = service().await;
    let before = state(&service).await;
    let with = |name: &str, value: pb::Value| {
        let mut question = reading_student(&token, "1");
        question.resource.as_mut().unwrap().attributes.insert(name.to_owned(), value);
        question
    };
    let mut client = service.authorization();
    let status = client.authorize(with("deep", nested(17))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(fields_of(&status)[0].starts_with("resource.attributes.deep"), "{status:?}");
    let status = client.authorize(with("deepest", nested(60))).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
    let status = client.authorize(with("long", text(&"x".repeat(9 << 20)))).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    assert_eq!(state(&service).await, before);
    is_alive(&service, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_more_than_ten_thousand_is_refused_as_a_whole() {
    let (_home, service, token) = service().await;
    let before = state(&service).await;
    let items = |count| pb::BatchAuthorizeRequest {
        defaults: Some(reading_student(&token, "1")),
        items: vec![pb::AuthorizeRequest::default(); count],
    };
    let mut client = service.authorization();
    let refused = client.batch_authorize(items(10_001)).await;
    check(("10,001 items", Code::InvalidArgument, &["items"]), refused);
    assert_eq!(state(&service).await, before);
    assert_eq!(client.batch_authorize(items(10_000)).await.unwrap().into_inner().results.len(), 10_000);
    assert_eq!(state(&service).await, (before.0, before.1 + 10_000));
    assert_eq!(client.batch_authorize(items(0)).await.unwrap().into_inner().results, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_short_message_that_would_become_a_large_one_is_not_read() {
    let (_home, service, token) = service().await;
    // Two bytes each, and hundreds in memory.
    let items = vec![pb::AuthorizeRequest::default(); 40_000];
    let refused = service.authorization().batch_authorize(pb::BatchAuthorizeRequest { defaults: None, items }).await;
    let status = refused.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}");
    let details = tonic_types::StatusExt::get_details_error_info(&status).unwrap();
    assert_eq!(details.reason, "MESSAGE_TOO_LONG");
    is_alive(&service, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_tokens_are_recorded_denies_and_never_echoed() {
    let (home, service, token) = service().await;
    let (revision, number) = state(&service).await;
    let long = "x".repeat(1 << 20);
    let foreign = Home::new().token("SISVendor", &[100]);
    let tokens = [(long.as_str(), "TOKEN_TOO_LARGE"), ("", "TOKEN_MISSING"), ("a.b.c", ""), (&foreign, "")];
    for (token, code) in tokens {
        let answer = service.authorization().authorize(reading_student(token, "1")).await.unwrap().into_inner();
        assert_eq!(answer.decision(), pb::Decision::Deny);
        assert_eq!(answer.outcome(), pb::Outcome::Unauthenticated);
        let reason = &answer.reasons[0];
        assert!(reason.code.starts_with(code), "{reason:?}");
        assert_eq!(answer.denial.as_ref().unwrap().status, 401);
        let is_echoed = token.len() > 5 && format!("{answer:?}{}", service.stderr()).contains(&token[..6]);
        assert!(!is_echoed, "{reason:?}");
    }
    assert_eq!(state(&service).await, (revision, number + 4));
    is_alive(&service, &token).await;
    drop(home);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_write_names_every_bad_item_and_writes_none() {
    let (_home, service, token) = service().await;
    let before = state(&service).await;
    let good = || enrolled_at("2", "100");
    let bad = |change: fn(&mut pb::Relationship)| {
        let mut relationship = good();
        change(&mut relationship);
        relationship
    };
    let invalid = Code::InvalidArgument;
    let creates: Vec<(Expected<'_>, Vec<pb::Relationship>)> = vec![
        (
            ("ends that are missing", invalid, &["creates[1].subject", "creates[1].object"]),
            vec![good(), bad(|it| (it.subject, it.object) = (None, None))],
        ),
        (("an unknown relation", invalid, &["creates[0]"]), vec![bad(|it| it.relation = "teaches".to_owned()), good()]),
        (
            ("an end of the wrong type", invalid, &["creates[0]"]),
            vec![bad(|it| it.subject = Some(entity("Staff", "2")))],
        ),
        (
            ("an id that is no number", invalid, &["creates[0]", "creates[2]"]),
            vec![enrolled_at("2", "high"), good(), enrolled_at("2", "")],
        ),
        (("an id that is too long", invalid, &["creates[0].subject.id"]), vec![enrolled_at(&"2".repeat(513), "100")]),
        (("too many items", invalid, &["creates"]), vec![good(); 30_000]),
    ];
    for (expected, creates) in creates {
        check(expected, service.relationships().write_relationships(creating(creates)).await);
        assert_eq!(state(&service).await, before, "{}", expected.0);
    }
    let nowhere = pb::WriteRelationshipsRequest { realm: "nowhere".to_owned(), ..creating(vec![good()]) };
    check(("an unknown realm", Code::NotFound, &[]), service.relationships().write_relationships(nowhere).await);
    let late = pb::WriteRelationshipsRequest { expected_revision: before.0 + 7, ..creating(vec![good()]) };
    check(("another revision", Code::FailedPrecondition, &[]), service.relationships().write_relationships(late).await);
    assert_eq!(state(&service).await, before);
    is_alive(&service, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_records_are_refused_one_by_one_and_bad_deletions_as_a_whole() {
    let (_home, service, token) = service().await;
    let before = state(&service).await;
    let import = |records: Vec<String>| pb::ImportRecordsRequest {
        realm: REALM.to_owned(),
        resource: "studentSchoolAssociations".to_owned(),
        records,
    };
    let bad =
        ["", "{", "[]", "{}", "null", r#"{"entryDate":1,"entryDate":2}"#, &enrolment("2", 1).replace("\"2\"", "{}")];
    let mut records: Vec<String> = bad.iter().map(|&record| record.to_owned()).collect();
    records.push(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)));
    records.push(format!("{{\"x\":\"{}\"}}", "x".repeat(300_000)));
    let count = records.len();
    let answer = service.relationships().import_records(tokio_stream::once(import(records.clone()))).await.unwrap();
    let answer = answer.into_inner();
    assert_eq!((answer.accepted, answer.changed), (0, 0), "{:?}", answer.refusals);
    assert_eq!(answer.refusals.len(), count);
    for (expected, refusal) in (0..).zip(&answer.refusals) {
        assert_eq!((refusal.index, refusal.reason.is_empty()), (expected, false), "{refusal:?}");
    }
    let too_many = tokio_stream::once(import(vec![enrolment("2", 100); 1_001]));
    let refused = service.relationships().import_records(too_many).await;
    check(("too many records", Code::InvalidArgument, &["records"]), refused);
    let nothing = service.relationships().import_records(tokio_stream::empty()).await;
    check(("an empty import", Code::InvalidArgument, &["realm"]), nothing);

    let delete = |resource: &str, records: Vec<String>| pb::DeleteRecordsRequest {
        realm: REALM.to_owned(),
        resource: resource.to_owned(),
        records,
        forget: false,
    };
    let invalid = Code::InvalidArgument;
    let mut client = service.relationships();
    let mixed = delete("studentSchoolAssociations", vec![enrolment("1", 100), "{".to_owned(), "{}".to_owned()]);
    check(("bad keys", invalid, &["records[1]", "records[2]"]), client.delete_records(mixed).await);
    let unknown = delete("pupils", vec![enrolment("1", 100)]);
    check(("an unknown resource", invalid, &["records[0]"]), client.delete_records(unknown).await);
    let too_many = delete("studentSchoolAssociations", vec![enrolment("1", 100); 1_001]);
    check(("too many records", invalid, &["records"]), client.delete_records(too_many).await);
    assert_eq!(state(&service).await, before);
    is_alive(&service, &token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_reading_names_its_field_and_a_huge_page_is_a_large_one() {
    let (_home, service, token) = service().await;
    let read = || pb::ReadRelationshipsRequest {
        realm: REALM.to_owned(),
        object: Some(entity("EducationOrganization", "100")),
        ..pb::ReadRelationshipsRequest::default()
    };
    let records: Vec<String> = (0..1500).map(|student| enrolment(&format!("s-{student}"), 100)).collect();
    service.import("studentSchoolAssociations", &records).await;
    let before = state(&service).await;
    let invalid = Code::InvalidArgument;
    let mut client = service.relationships();
    let neither = pb::ReadRelationshipsRequest { object: None, ..read() };
    check(("neither end", invalid, &["subject"]), client.read_relationships(neither).await);
    let page_token = "?".to_owned();
    let bad_token = pb::ReadRelationshipsRequest { page_token, ..read() };
    check(("a page token of one's own", invalid, &["page_token"]), client.read_relationships(bad_token).await);
    for (page_size, expected) in [(0, 100), (1, 1), (1_000, 1_000), (u32::MAX, 1_000)] {
        let request = pb::ReadRelationshipsRequest { page_size, ..read() };
        let page = client.read_relationships(request).await.unwrap().into_inner();
        assert_eq!((page.relationships.len(), page.next_page_token.is_empty()), (expected, false), "{page_size}");
    }

    let kind = pb::RecordKind::Decision.into();
    let query = || pb::QueryDecisionsRequest { realm: REALM.to_owned(), kind, ..pb::QueryDecisionsRequest::default() };
    let mut client = service.decisions();
    let numbers = pb::QueryDecisionsRequest { decision: 9, outcome: -1, order: i32::MAX, ..query() };
    let expected = ("numbers of no meaning", invalid, &["decision", "outcome", "order"][..]);
    check(expected, client.query_decisions(numbers).await);
    let from = Some(prost_types::Timestamp { seconds: i64::MAX, nanos: -1 });
    let no_time = pb::QueryDecisionsRequest { from, ..query() };
    check(("a time that is none", invalid, &["from"]), client.query_decisions(no_time).await);
    let person = pb::QueryDecisionsRequest { person: Some(entity("EducationOrganization", "100")), ..query() };
    check(("a school as a person", invalid, &["person.type"]), client.query_decisions(person).await);
    let huge = pb::QueryDecisionsRequest { page_size: u32::MAX, ..query() };
    assert_eq!(client.query_decisions(huge).await.unwrap().into_inner().decisions.len(), 1);
    let get =
        |decision_id: &str| pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: decision_id.to_owned() };
    check(("no id", invalid, &["decision_id"]), client.get_decision(get("")).await);
    let unknown = get("01890a5d-ac96-774b-bcce-b302099a8057");
    check(("an unknown id", Code::NotFound, &[]), client.get_decision(unknown).await);
    assert_eq!(state(&service).await, before);
    is_alive(&service, &token).await;
}
