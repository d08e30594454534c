//! Who may read the decision log.

use std::sync::Arc;

use prost::Message as _;
use tonic::{Code, Request, Status};
use tonic_types::StatusExt as _;

use super::{
    Options, authorize, reason, violations,
    world::{ADMIN_KEY, REALM, World, caller_files, entity, files},
};
use crate::{
    app::{
        caller::{KeyDigest, KnownCaller},
        decisions::DecisionQuery,
        readers::TAILS_MAX,
    },
    domain::{
        decision::Outcome,
        decision_record::{DecisionRecord, RecordKind},
        value::Value,
    },
    proto::v1::{
        self as pb, authorization_service_client::AuthorizationServiceClient,
        decision_log_service_client::DecisionLogServiceClient, policy_service_client::PolicyServiceClient,
    },
};

const AUDITOR: &str = "the auditor's key";
const AUTHOR: &str = "the author's key";
const OPERATOR: &str = "the operator's key";
const ELSEWHERE: &str = "the key of an auditor of another realm";

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
        caller("ada", "auditor", AUDITOR, None),
        caller("aron", "author", AUTHOR, Some(REALM)),
        caller("omar", "operator", OPERATOR, None),
        caller("elsa", "auditor", ELSEWHERE, Some("south")),
    ];
    World::start_for(Options::default(), callers).await
}

fn query() -> pb::QueryDecisionsRequest {
    pb::QueryDecisionsRequest { realm: REALM.to_owned(), ..pb::QueryDecisionsRequest::default() }
}

fn about_ada() -> pb::QueryDecisionsRequest {
    pb::QueryDecisionsRequest { person: Some(entity("Student", "ada")), ..query() }
}

async fn ask(world: &World, key: &'static str, query: pb::QueryDecisionsRequest) -> Result<usize, Status> {
    world.decisions_as(key).query_decisions(query).await.map(|page| page.into_inner().decisions.len())
}

/// The newest record of the log.
fn newest(world: &World) -> DecisionRecord {
    world.log.records().last().unwrap().record.clone()
}

#[tokio::test]
async fn a_call_without_a_good_key_is_unauthenticated_and_on_record() {
    let world = world().await;
    let mut bare = DecisionLogServiceClient::new(world.channel.clone());
    let missing = bare.query_decisions(query()).await.unwrap_err();
    assert_eq!((missing.code(), &*reason(&missing)), (Code::Unauthenticated, "CALLER_KEY_MISSING"));
    let found = newest(&world);
    assert_eq!((found.kind, found.outcome, found.principal), (RecordKind::Reading, Outcome::Unauthenticated, None));

    let long = Box::leak("k".repeat(5_000).into_boxed_str());
    for key in ["another key", "the auditor's ke", "the auditor's key ", "the auditor's keyy", &*long] {
        let mut request = Request::new(query());
        request.metadata_mut().insert("authorization", format!("Bearer  {key}.").parse().unwrap());
        let unknown = bare.query_decisions(request).await.unwrap_err();
        assert_eq!((unknown.code(), &*reason(&unknown)), (Code::Unauthenticated, "CALLER_KEY_UNKNOWN"), "{key}");
        assert!(!format!("{unknown:?}").contains("auditor's"), "{unknown:?}");
    }
    assert_eq!(world.log.records().len(), 6);
}

#[tokio::test]
async fn who_is_not_known_fills_no_log() {
    let world = world().await;
    let mut bare = DecisionLogServiceClient::new(world.channel.clone());
    let call = || {
        let purpose = "anything at all".to_owned();
        let mut request = Request::new(pb::QueryDecisionsRequest { purpose, ..about_ada() });
        request.metadata_mut().insert("x-request-id", "anything, too".parse().unwrap());
        request
    };
    for _ in 0..150 {
        let refused = bare.query_decisions(call()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unauthenticated, "on record or not");
    }
    assert_eq!(world.log.records().len(), 100);
    let found = newest(&world);
    assert_eq!((&*found.purpose, &*found.request_id, &*found.subjects), ("", "", &[][..]));
    assert_eq!(world.app.realm(REALM).unwrap().refusals_left_out(), 50);

    ask(&world, AUDITOR, query()).await.unwrap();
    assert_eq!(world.log.records().len(), 101, "who is known is always on record");
    world.clock.pass(1);
    bare.query_decisions(call()).await.unwrap_err();
    let Some(Value::Record(asked)) = newest(&world).attributes.get("asked").cloned() else { panic!("nothing asked") };
    assert_eq!(asked.get("left_out"), Some(&Value::Long(50)));
}

/// The message with a key and an id of the request.
fn with_key<T>(key: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    request.metadata_mut().insert("x-request-id", "request 7".parse().unwrap());
    request
}

#[tokio::test]
async fn a_call_of_nobody_that_was_not_read_is_on_record_as_any_other() {
    let world = world().await;
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    let refused = client.authorize(with_key("another key", world.question("ada", "1"))).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::Unauthenticated, "CALLER_KEY_UNKNOWN"));
    let found = newest(&world);
    assert_eq!((found.kind, found.outcome, found.principal), (RecordKind::Reading, Outcome::Unauthenticated, None));
    let asked = (&*found.action, &*found.resource_type, &*found.resource_id);
    assert_eq!(asked, ("Authorize", "Questions", "service"), "nobody read which realm it was about");
    assert_eq!((&*found.request_id, &*found.reasons[0].code), ("", "CALLER_KEY_UNKNOWN"));
    for _ in 0..150 {
        client.authorize(with_key("another key", world.question("ada", "1"))).await.unwrap_err();
    }
    assert_eq!(world.log.records().len(), 100, "it fills no log either");
    assert_eq!(world.app.realm(REALM).unwrap().refusals_left_out(), 51);
    world.clock.pass(60);
    let mut grpc = tonic::client::Grpc::new(world.channel.clone());
    grpc.ready().await.unwrap();
    let path = "/hallpass.v1.AuthorizationService/Nothing".parse().unwrap();
    let codec = tonic_prost::ProstCodec::<(), ()>::default();
    let refused = grpc.unary(with_key("another key", ()), path, codec).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    assert_eq!(world.log.records().len(), 100, "no method, no record");
}

#[tokio::test]
async fn a_batch_takes_its_right_before_anything_of_it_is_looked_at() {
    let callers = vec![
        caller("one", "enforcer", "key 1", Some(REALM)),
        caller("two", "enforcer", "key 2", Some("south")),
        caller("three", "auditor", "key 3", None),
    ];
    let world = World::start_for(Options::default(), callers).await;
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    let empty = pb::BatchAuthorizeRequest::default();
    let unreadable = pb::AuthorizeRequest { explain: 17, ..world.question("ada", "1") };
    let wrong = pb::BatchAuthorizeRequest { items: vec![unreadable], ..empty.clone() };
    let many = pb::BatchAuthorizeRequest { items: vec![pb::AuthorizeRequest::default(); 10_001], ..empty.clone() };
    assert_eq!(client.batch_authorize(with_key("key 1", empty.clone())).await.unwrap().into_inner().results, []);
    for (key, expected) in [
        ("key 2", (Code::PermissionDenied, "CALLER_NOT_PERMITTED")),
        ("key 3", (Code::PermissionDenied, "CALLER_NOT_PERMITTED")),
        ("key 4", (Code::Unauthenticated, "CALLER_KEY_UNKNOWN")),
    ] {
        for batch in [&empty, &wrong, &many] {
            let refused = client.batch_authorize(with_key(key, batch.clone())).await.unwrap_err();
            assert_eq!((refused.code(), &*reason(&refused)), expected, "{key}: {refused}");
        }
    }
    assert_eq!(&*newest(&world).action, "BatchAuthorize");
    let kept = world.log.records();
    let kept: Vec<_> = kept.iter().map(|kept| (&*kept.record.caller, &*kept.record.resource_id)).collect();
    let expected = [("three", "service"); 3].into_iter().chain([("", "service"); 3]);
    assert_eq!(kept, expected.collect::<Vec<_>>(), "a caller of another realm is not named in the log of this one");
}

#[tokio::test]
async fn a_question_with_names_needs_a_condition_that_narrows_it() {
    let world = world().await;
    world.enrol("ada", "1").await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let day = |day: i64| Some(prost_types::Timestamp { seconds: day * 86_400, nanos: 0 });
    let named = || pb::QueryDecisionsRequest { names: true, purpose: "incident 7".to_owned(), ..query() };
    let until = pb::QueryDecisionsRequest { from: day(20_000), until: day(20_031), ..named() };
    let wide = [
        named(),
        pb::QueryDecisionsRequest { from: day(-719_162), ..named() },
        pb::QueryDecisionsRequest { until: day(1_000_000), ..named() },
        pb::QueryDecisionsRequest { until: day(20_032), ..until.clone() },
        pb::QueryDecisionsRequest { kind: pb::RecordKind::Decision.into(), ..named() },
        pb::QueryDecisionsRequest { action: "Read".to_owned(), resource_type: "items".to_owned(), ..named() },
    ];
    for query in wide {
        let refused = ask(&world, OPERATOR, query.clone()).await.unwrap_err();
        assert!(refused.message().starts_with("caller `omar` is refused, `TOO_WIDE`"), "{query:?} {refused:?}");
    }
    let person = Some(entity("Student", "ada"));
    let narrow = [
        until,
        pb::QueryDecisionsRequest { person, ..named() },
        pb::QueryDecisionsRequest { resource_id: "f-1".to_owned(), ..named() },
        pb::QueryDecisionsRequest { principal: "p".to_owned(), ..named() },
        pb::QueryDecisionsRequest { actor: "a".to_owned(), ..named() },
        pb::QueryDecisionsRequest { request_id: "r".to_owned(), ..named() },
        pb::QueryDecisionsRequest { entity: Some(entity("School", "1")), ..named() },
    ];
    for query in narrow {
        ask(&world, OPERATOR, query).await.unwrap();
    }
    ask(&world, OPERATOR, pb::QueryDecisionsRequest { names: false, ..named() }).await.unwrap();
}

#[tokio::test]
async fn a_reading_says_whom_it_asked_about_however_it_asked() {
    let world = world().await;
    world.enrol("ada", "1").await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let of_the_decision = world.log.records()[0].record.clone();
    let subjects = || newest(&world).subjects.into_iter().map(|subject| (subject.attribute, subject.entity.id));

    let by_resource = pb::QueryDecisionsRequest { resource_id: "f-1".to_owned(), ..query() };
    assert_eq!(ask(&world, AUDITOR, by_resource.clone()).await.unwrap(), 1);
    let expected = [("resource".into(), Arc::clone(&of_the_decision.resource_id))];
    assert_eq!(subjects().collect::<Vec<_>>(), expected);
    let resource_type = of_the_decision.resource_type.to_string();
    ask(&world, AUDITOR, pb::QueryDecisionsRequest { resource_type, ..by_resource.clone() }).await.unwrap();
    assert_eq!(subjects().collect::<Vec<_>>(), expected);
    let by_pseudonym = pb::QueryDecisionsRequest { resource_id: expected[0].1.to_string(), ..query() };
    ask(&world, AUDITOR, by_pseudonym).await.unwrap();
    assert_eq!(subjects().collect::<Vec<_>>(), expected);
    let stranger = pb::QueryDecisionsRequest { resource_id: "f-2".to_owned(), ..query() };
    ask(&world, AUDITOR, stranger).await.unwrap();
    assert_eq!(subjects().count(), 0, "to be asked about makes nobody known");

    let ada = Arc::clone(&of_the_decision.subjects[0].entity.id);
    let nobody = "7dbbc79da1291d0eb18997e050942bba".to_owned();
    let resolve = pb::ResolvePseudonymsRequest {
        realm: REALM.to_owned(),
        pseudonyms: vec![nobody, ada.to_string()],
        purpose: "complaint 31".to_owned(),
    };
    world.privacy_as(OPERATOR).resolve_pseudonyms(resolve).await.unwrap();
    assert_eq!(subjects().collect::<Vec<_>>(), [("pseudonym".into(), ada)]);
}

#[tokio::test]
async fn what_people_wrote_is_shown_to_who_may_read_it_alone() {
    let world = world().await;
    world.enrol("ada", "1").await;
    let asked = pb::AuthorizeRequest { purpose: "attendance".to_owned(), ..world.question("ada", "1") };
    authorize(&world, asked).await.unwrap();
    let purpose = "complaint of ada's mother".to_owned();
    ask(&world, OPERATOR, pb::QueryDecisionsRequest { purpose, ..query() }).await.unwrap();
    let reading = newest(&world);
    for (key, expected) in [(AUDITOR, "complaint of ada's mother"), (AUTHOR, "")] {
        let get = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: reading.id.to_string() };
        let one = world.decisions_as(key).get_decision(get).await.unwrap().into_inner().decision.unwrap();
        assert_eq!(one.purpose, expected);
        let page = world.decisions_as(key).query_decisions(query()).await.unwrap().into_inner().decisions;
        let purpose_of = |id: &str| page.iter().find(|found| found.decision_id == id).unwrap().purpose.clone();
        assert_eq!(purpose_of(&reading.id.to_string()), expected);
        let decision = world.log.records()[0].record.id.to_string();
        assert_eq!(purpose_of(&decision), "attendance", "why data was asked for is no secret of people");
    }
}

#[tokio::test]
async fn so_many_follow_a_log_at_once_and_no_more() {
    let world = world().await;
    let mut tails = Vec::new();
    let tail = || pb::TailDecisionsRequest { query: Some(query()), after_sequence: Some(0) };
    for _ in 0..TAILS_MAX {
        tails.push(world.app.tail_decisions(REALM, DecisionQuery::default(), Some(0)).unwrap());
    }
    let refused = world.decisions_as(AUDITOR).tail_decisions(tail()).await.unwrap_err();
    assert_eq!((refused.code(), &*reason(&refused)), (Code::ResourceExhausted, "TOO_MANY_READERS"));
    tails.pop();
    world.decisions_as(AUDITOR).tail_decisions(tail()).await.unwrap();
}

#[tokio::test]
async fn no_call_about_the_log_is_answered_without_a_key() {
    let world = world().await;
    let descriptors = prost_types::FileDescriptorSet::decode(crate::proto::FILE_DESCRIPTOR_SET).unwrap();
    let services = descriptors.file.iter().flat_map(|file| &file.service);
    let mut asked = 0;
    for service in services.filter(|service| ["DecisionLogService", "PrivacyService"].contains(&service.name())) {
        for method in &service.method {
            let path = format!("/hallpass.v1.{}/{}", service.name(), method.name());
            let mut grpc = tonic::client::Grpc::new(world.channel.clone());
            grpc.ready().await.unwrap();
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let status = grpc.unary(Request::new(()), path.parse().unwrap(), codec).await.unwrap_err();
            assert_eq!((status.code(), &*reason(&status)), (Code::Unauthenticated, "CALLER_KEY_MISSING"), "{path}");
            asked += 1;
        }
    }
    assert!(asked >= 14, "{asked}");
}

#[tokio::test]
async fn who_is_not_known_learns_nothing_of_realms_and_requests() {
    let world = world().await;
    for request in [
        pb::QueryDecisionsRequest { realm: "south".to_owned(), ..query() },
        pb::QueryDecisionsRequest { realm: String::new(), ..query() },
        pb::QueryDecisionsRequest { decision: 17, ..query() },
        pb::QueryDecisionsRequest { person: Some(entity("School", "1")), ..query() },
    ] {
        let status = ask(&world, "another key", request.clone()).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::Unauthenticated, "CALLER_KEY_UNKNOWN"), "{request:?}");
    }
    let unreadable = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: "7".to_owned() };
    let status = world.decisions_as("another key").get_decision(unreadable.clone()).await.unwrap_err();
    assert_eq!(status.code(), Code::Unauthenticated);
    assert_eq!(violations(&world.decisions_as(AUDITOR).get_decision(unreadable).await.unwrap_err()), ["decision_id"]);
}

#[tokio::test]
async fn the_local_admin_counts_until_there_are_callers() {
    let alone = World::start().await;
    assert_eq!(ask(&alone, ADMIN_KEY, query()).await.unwrap(), 0);
    assert_eq!(&*newest(&alone).principal.unwrap().id, "local-admin");
    let status = ask(&world().await, ADMIN_KEY, query()).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unauthenticated, "CALLER_KEY_UNKNOWN"));
    assert!(status.message().contains("does not count where callers stand under `[callers]`"), "{status:?}");
}

#[tokio::test]
async fn a_wrong_key_changes_no_policies_where_none_is_needed_either() {
    let world = World::start().await;
    *world.source.0.lock().unwrap() = Some(files());
    let reload = || pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
    let shadow = || pb::GetShadowRequest { realm: REALM.to_owned() };
    let mut stranger = world.policies_as("another key");
    for refused in
        [stranger.reload_policies(reload()).await.unwrap_err(), stranger.get_shadow(shadow()).await.unwrap_err()]
    {
        assert_eq!((refused.code(), &*reason(&refused)), (Code::Unauthenticated, "CALLER_KEY_UNKNOWN"));
    }
    world.policies_as(ADMIN_KEY).reload_policies(reload()).await.unwrap();
    PolicyServiceClient::new(world.channel.clone()).reload_policies(reload()).await.unwrap();
}

#[tokio::test]
async fn a_refused_caller_hears_what_role_it_would_take() {
    let world = world().await;
    let named = pb::QueryDecisionsRequest { names: true, purpose: "curiosity".to_owned(), ..query() };
    for (key, request, expected) in [
        (
            AUDITOR,
            named,
            "caller `ada` is refused, `NAMES_NOT_GRANTED`: Seeing people by their names takes a role that the caller does not have. It takes the role privacy_officer or operator.",
        ),
        (
            AUTHOR,
            about_ada(),
            "caller `aron` is refused, `PEOPLE_NOT_GRANTED`: Asking about a person takes a role that the caller does not have. It takes the role auditor, privacy_officer or operator.",
        ),
        (
            OPERATOR,
            query(),
            "caller `omar` is refused, `PURPOSE_MISSING`: With this role, reading decisions takes a stated purpose, which the log keeps. State a purpose with the call.",
        ),
        (
            ELSEWHERE,
            query(),
            "caller `elsa` is refused, `REALM_NOT_GRANTED`: The caller may not read the log of this realm. The realm must be among the caller's `realms` in hallpass.toml.",
        ),
    ] {
        let status = ask(&world, key, request).await.unwrap_err();
        assert_eq!((status.code(), &*reason(&status)), (Code::PermissionDenied, "CALLER_NOT_PERMITTED"));
        assert_eq!(status.message(), expected);
        assert_eq!(status.get_details_error_info().unwrap().metadata["realm"], REALM);
        let found = newest(&world);
        assert_eq!((found.kind, found.outcome), (RecordKind::Reading, Outcome::Forbidden));
    }
}

#[tokio::test]
async fn a_reading_is_kept_with_who_what_why_and_of_whom() {
    let world = world().await;
    world.enrol("ada", "1").await;
    authorize(&world, world.question("ada", "1")).await.unwrap();
    let purpose = "complaint 12".to_owned();
    assert_eq!(ask(&world, OPERATOR, pb::QueryDecisionsRequest { purpose, ..about_ada() }).await.unwrap(), 1);
    let found = newest(&world);
    assert_eq!((found.kind, found.outcome), (RecordKind::Reading, Outcome::Allowed));
    let principal = found.principal.unwrap();
    assert_eq!((&*principal.entity_type, &*principal.id), ("Caller", "omar"));
    assert_eq!((&*found.action, &*found.resource_type, &*found.resource_id), ("QueryDecisions", "DecisionLog", REALM));
    assert_eq!((&*found.purpose, &*found.reasons[0].code), ("complaint 12", "PERMITTED"));
    assert_eq!(found.determining_policies, ["OperatorLooksInto".into()]);
    let [ada] = &found.subjects[..] else { panic!("{:?}", found.subjects) };
    assert!(ada.is_pseudonym && &*ada.entity.id != "ada" && &*ada.attribute == "person", "{ada:?}");
    let of_the_decision = world.log.records()[0].record.subjects[0].entity.clone();
    assert_eq!(ada.entity, of_the_decision, "who asks about ada finds who asked about her");

    // A question does not find itself, and finds the one before.
    let readings = pb::QueryDecisionsRequest { kind: pb::RecordKind::Reading.into(), ..query() };
    assert_eq!(ask(&world, AUDITOR, readings.clone()).await.unwrap(), 1);
    assert_eq!(ask(&world, AUDITOR, readings).await.unwrap(), 2);
}

#[tokio::test]
async fn a_reading_that_cannot_be_kept_is_not_answered() {
    let world = world().await;
    world.log.is_full.store(true, std::sync::atomic::Ordering::Relaxed);
    let status = ask(&world, AUDITOR, query()).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "DECISION_LOG_UNAVAILABLE"));
    let missing = pb::GetDecisionRequest { realm: REALM.to_owned(), decision_id: uuid::Uuid::nil().to_string() };
    let status = world.decisions_as(AUDITOR).get_decision(missing).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "not even that there is nothing");
}

#[tokio::test]
async fn caller_policies_are_reloaded_and_a_broken_set_leaves_them_as_they_were() {
    let world = world().await;
    let mut client = world.policies_as(OPERATOR);
    let mut reload = async || {
        let request = pb::ReloadPoliciesRequest { realm: "hallpass".to_owned() };
        client.reload_policies(request).await.unwrap().into_inner()
    };
    let mut changed = caller_files();
    let policies = changed.pop().unwrap();
    let set = |files: Vec<_>| *world.source.0.lock().unwrap() = Some(files);

    let mut broken = policies.clone();
    broken.content = policies.content.replace("principal.realms.isEmpty()", "principal.domains.isEmpty()");
    set(changed.iter().cloned().chain([broken]).collect());
    let refused = reload().await;
    assert_eq!(refused.faults[0].file, "callers.cedar");
    assert!(ask(&world, AUDITOR, query()).await.is_ok());

    let mut poorer = changed.clone();
    poorer[1].content = poorer[1].content.replace(", ReplayDecisions", "");
    let mut without = policies.clone();
    let removed =
        |text: &str| text.replace("Action::\"ReplayDecisions\",", "").replace(", Action::\"ReplayDecisions\"", "");
    without.content = removed(&policies.content)
        .split("@id(")
        .filter(|policy| !policy.starts_with("\"ReplayRole\""))
        .collect::<Vec<_>>()
        .join("@id(");
    set(poorer.into_iter().chain([without]).collect());
    let faults = reload().await.faults;
    assert!(
        faults[0].message.starts_with("calls of `ReplayDecisions` on a `DecisionLog` cannot be judged"),
        "{faults:?}"
    );

    let mut stricter = policies.clone();
    stricter.content.push_str("@id(\"Closed\") @reason(\"CLOSED\") @message(\"Closed today.\") @precedence(\"0\") forbid (principal, action, resource is DecisionLog);");
    set(changed.into_iter().chain([stricter]).collect());
    assert_eq!(reload().await.faults, []);
    let status = ask(&world, AUDITOR, query()).await.unwrap_err();
    assert_eq!(status.message(), "caller `ada` is refused, `CLOSED`: Closed today.");

    let shown = PolicyServiceClient::new(world.channel.clone())
        .get_realm(pb::GetRealmRequest { realm: "hallpass".to_owned() })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(shown.realm.unwrap().title, "Who may call");
}
