//! What each role may ask: every method of every service, by the service's own description of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hallpass::app::caller::Right;
use hallpass::proto::FILE_DESCRIPTOR_SET;
use hallpass::proto::v1 as pb;
use hallpass::proto::v1::authorization_service_client::AuthorizationServiceClient;
use hallpass::proto::v1::decision_log_service_client::DecisionLogServiceClient;
use hallpass::proto::v1::policy_service_client::PolicyServiceClient;
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, Value};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::pki::{channel, connect};
use super::{Secured, ask, caller_with_key, reason};
use crate::support::REALM;

const QUESTIONS: [&str; 4] = ["Authorize", "BatchAuthorize", "SearchResources", "GetTokenInfo"];
const EXPLAINED: [&str; 2] = ["Authorize", "BatchAuthorize"];
const FACTS: [&str; 15] = [
    "WriteRelationships",
    "ImportRecords",
    "DeleteRecords",
    "ReadRelationships",
    "GetRevision",
    "PutApplication",
    "GetApplication",
    "ListApplications",
    "DeleteApplication",
    "IssueToken",
    "RegisterToken",
    "RevokeToken",
    "Revoke",
    "Reinstate",
    "ListRevocations",
];

/// Each role, and the methods that it opens, of those that are rights.
fn roles() -> Vec<(&'static str, BTreeSet<&'static str>)> {
    let of = |lists: &[&[&'static str]]| lists.iter().flat_map(|list| list.iter().copied()).collect();
    vec![
        ("enforcer", of(&[&QUESTIONS, &["ListRealms"]])),
        ("subject_enforcer", of(&[&QUESTIONS, &["ListRealms"]])),
        ("provisioner", of(&[&FACTS, &["ListRealms"]])),
        ("monitor", of(&[&["ListRealms", "GetRealm"]])),
        ("operator", of(&[&EXPLAINED, &["ListRealms", "GetRealm", "ValidatePolicies"]])),
        ("author", of(&[&EXPLAINED, &["ListRealms", "GetRealm", "ValidatePolicies"]])),
        ("auditor", of(&[&["ListRealms", "GetRealm"]])),
        ("privacy_officer", of(&[&EXPLAINED, &["ListRealms"]])),
    ]
}

/// All methods of the service's own interface.
fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let ours = pool.services().filter(|service| service.package_name() == "hallpass.v1").collect::<Vec<_>>();
    ours.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

/// Calls a method with a request that names the realm and nothing else.
async fn call(channel: Channel, method: &MethodDescriptor, key: Option<&str>) -> Result<(), Status> {
    let mut message = DynamicMessage::new(method.input());
    if method.input().get_field_by_name("realm").is_some() {
        message.set_field_by_name("realm", Value::String(REALM.to_owned()));
    }
    let mut request = Request::new(tokio_stream::once(prost::Message::encode_to_vec(&message)));
    if let Some(key) = key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
    let mut client = tonic::client::Grpc::new(channel);
    client.ready().await.unwrap();
    let answer = client.streaming(request, path.parse().unwrap(), Bytes).await?;
    answer.into_inner().message().await.map(drop)
}

/// Messages as they are on the wire.
#[derive(Clone, Copy, Debug)]
struct Bytes;

impl tonic::codec::Codec for Bytes {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl tonic::codec::Encoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, buffer: &mut tonic::codec::EncodeBuf<'_>) -> Result<(), Status> {
        prost::bytes::BufMut::put_slice(buffer, &item);
        Ok(())
    }
}

impl tonic::codec::Decoder for Bytes {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, buffer: &mut tonic::codec::DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        let length = prost::bytes::Buf::remaining(buffer);
        Ok(Some(prost::bytes::Buf::copy_to_bytes(buffer, length).to_vec()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_has_a_right_and_each_role_opens_its_own() {
    let roles = roles();
    let callers: Vec<String> =
        roles.iter().map(|(role, _)| caller_with_key(&role.replace('_', "-"), &format!("\"{role}\""), "")).collect();
    let secured = Secured::new("", &format!("{}{}", callers.concat(), caller_with_key("nobody", "", "")));
    let running = secured.start().await;
    let channel = channel(running.grpc_address().port(), &secured.anonymous()).await.unwrap();
    let rights: BTreeSet<&str> = Right::ALL.into_iter().map(Right::name).collect();
    let mut found = BTreeSet::new();
    for method in methods() {
        let name = method.full_name().to_owned();
        for key in [None, Some("nobody's key"), Some("")] {
            let refused = call(channel.clone(), &method, key).await.unwrap_err();
            assert_eq!(refused.code(), Code::Unauthenticated, "{name} {key:?}: {refused}");
            assert!(!refused.message().contains(REALM), "{name}: {refused}");
        }
        let is_question = QUESTIONS.contains(&method.name());
        if !rights.contains(method.name()) || is_question {
            // What each role may do with logs and policies is tested beside the policies that say so.
            assert!(is_question || is_of_log_or_policies(method.name()), "{name} is no right");
            found.extend(is_question.then(|| method.name().to_owned()));
            if !is_question {
                let refused = call(channel.clone(), &method, Some("nobody")).await.unwrap_err();
                assert!(matches!(refused.code(), Code::PermissionDenied | Code::InvalidArgument), "{name}: {refused}");
            }
            continue;
        }
        let refused = call(channel.clone(), &method, Some("nobody")).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{name}: {refused}");
        found.insert(method.name().to_owned());
        for (role, opened) in &roles {
            let answered = call(channel.clone(), &method, Some(&role.replace('_', "-"))).await;
            // A service may have reasons of its own, for example an application's secret that is not its secret.
            let is_of_caller = |status: &Status| reason(status).starts_with("CALLER_");
            let is_refused = answered.as_ref().is_err_and(|status| {
                status.code() == Code::PermissionDenied
                    || status.code() == Code::Unauthenticated && is_of_caller(status)
            });
            assert_eq!(!is_refused, opened.contains(method.name()), "{role} {name}: {answered:?}");
            if is_refused {
                assert_eq!(reason(&answered.unwrap_err()), "CALLER_NOT_PERMITTED", "{role} {name}");
            }
        }
    }
    let nobody = ("nobody", BTreeSet::new());
    for (role, opened) in roles.iter().chain([&nobody]) {
        for (method, is_open) in questions(&channel, secured.question(), &role.replace('_', "-")).await {
            assert_eq!(is_open, opened.contains(method), "{role} {method}");
        }
    }
    let elsewhere = ["AskForSubject", "SearchSubjects", "SearchActions", "CheckRequest", "ReadMetrics"];
    let expected: BTreeSet<String> =
        rights.into_iter().filter(|name| !elsewhere.contains(name)).map(str::to_owned).collect();
    assert_eq!(found, expected, "every right is that of a method, or is listed here");
    running.stop().await.unwrap();
}

/// Which questions a caller may ask. Each of them is a good one.
async fn questions(channel: &Channel, question: pb::AuthorizeRequest, key: &str) -> Vec<(&'static str, bool)> {
    let bearer: MetadataValue<Ascii> = format!("Bearer {key}").parse().unwrap();
    let mut client = AuthorizationServiceClient::with_interceptor(channel.clone(), move |mut request: Request<()>| {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    });
    let is_open = |code: Code| {
        assert!(matches!(code, Code::Ok | Code::PermissionDenied), "{code}");
        code == Code::Ok
    };
    let code = |status: Option<Status>| status.map_or(Code::Ok, |status| status.code());
    let pb::AuthorizeRequest { realm, token, action, .. } = question.clone();
    let one = client.authorize(question.clone()).await.err();
    let batch = pb::BatchAuthorizeRequest { items: vec![question], ..pb::BatchAuthorizeRequest::default() };
    let of_batch = match client.batch_authorize(batch).await {
        Err(status) => status.code(),
        Ok(answer) => match &answer.into_inner().results[0].result {
            Some(pb::batch_authorize_result::Result::Error(error)) => Code::from(error.code),
            _ => Code::Ok,
        },
    };
    let search = pb::SearchResourcesRequest {
        realm: realm.clone(),
        token: token.clone(),
        action,
        resource_type: "ed-fi/students".to_owned(),
        ..pb::SearchResourcesRequest::default()
    };
    let search = client.search_resources(search).await.err();
    let info = client.get_token_info(pb::GetTokenInfoRequest { realm, token, ..Default::default() }).await.err();
    vec![
        ("Authorize", is_open(code(one))),
        ("BatchAuthorize", is_open(of_batch)),
        ("SearchResources", is_open(code(search))),
        ("GetTokenInfo", is_open(code(info))),
    ]
}

fn is_of_log_or_policies(method: &str) -> bool {
    let of_policies =
        ["ReloadPolicies", "RollbackPolicies", "ResumePolicies", "StartShadow", "GetShadow", "StopShadow"];
    let of_log = [
        "QueryDecisions",
        "GetDecision",
        "TailDecisions",
        "ExportDecisions",
        "ReplayDecisions",
        "PlanRetention",
        "GetLogStatus",
        "GetCheckpoint",
        "ProveInclusion",
        "ProveConsistency",
    ];
    let of_privacy = ["ErasePerson", "SetLegalHold", "ListLegalHolds", "ResolvePseudonyms"];
    of_policies.contains(&method) || of_log.contains(&method) || of_privacy.contains(&method)
}

#[tokio::test]
async fn a_caller_of_one_realm_asks_for_no_other_and_hears_of_none() {
    let mut secured = Secured::new("", "");
    let rules = serde_json::json!(secured.home.rules);
    secured.home.tables.extend([format!(
        "{}{}[realms.south]\nfolder = {rules}\n",
        caller_with_key("southern", "\"enforcer\", \"monitor\"", "\"south\""),
        caller_with_key("auditor", "\"auditor\"", "")
    )]);
    let running = secured.start().await;
    let channel = channel(running.grpc_address().port(), &secured.anonymous()).await.unwrap();
    let refused = ask(channel.clone(), secured.question(), Some("southern")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "CALLER_NOT_PERMITTED"));
    assert!(refused.message().contains("`REALM_NOT_GRANTED`"), "{refused}");
    let own = pb::AuthorizeRequest { realm: "south".to_owned(), ..secured.question() };
    ask(channel.clone(), own, Some("southern")).await.unwrap();
    let unknown = pb::AuthorizeRequest { realm: "west".to_owned(), ..secured.question() };
    let refused = ask(channel.clone(), unknown, Some("southern")).await.unwrap_err();
    assert!(!refused.message().contains(REALM), "{refused}");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "CALLER_NOT_PERMITTED"));
    // Nor does anything wait for who may not ask, which would tell how fresh a realm is.
    let fresher = pb::AuthorizeRequest { at_least_revision: u64::MAX >> 1, ..secured.question() };
    let refused = ask(channel.clone(), fresher, Some("southern")).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::PermissionDenied, "CALLER_NOT_PERMITTED"));
    let keyed = |key: &'static str| {
        move |mut request: Request<()>| {
            request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
            Ok(request)
        }
    };
    let mut policies = PolicyServiceClient::with_interceptor(channel.clone(), keyed("southern"));
    let listed = policies.list_realms(pb::ListRealmsRequest {}).await.unwrap().into_inner().realms;
    assert_eq!(listed.into_iter().map(|realm| realm.name).collect::<Vec<_>>(), ["south"]);

    // What was refused is on record in the realm's log.
    let mut log = DecisionLogServiceClient::with_interceptor(channel, keyed("auditor"));
    let query = pb::QueryDecisionsRequest {
        realm: REALM.to_owned(),
        kind: pb::RecordKind::Reading.into(),
        ..pb::QueryDecisionsRequest::default()
    };
    let records = log.query_decisions(query).await.unwrap().into_inner().decisions;
    let kept: Vec<_> = records.iter().map(|record| (record.action.as_str(), record.caller.as_str())).collect();
    assert_eq!(kept, [("Authorize", "southern"); 2], "{records:#?}");
    running.stop().await.unwrap();
}

#[tokio::test]
async fn over_http_too_whoever_is_not_known_hears_nothing() {
    let mut secured = Secured::new("", &caller_with_key("monitor", "\"monitor\"", ""));
    secured.home.keys = "http_address = \"127.0.0.1:0\"\n".to_owned();
    let running = secured.start().await;
    let mut config = (*secured.anonymous()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (config, port) = (config.into(), running.http_address().unwrap().port());
    for (line, key, expected) in [
        ("GET /metrics", None, "401"),
        ("GET /metrics", Some("nobody's key"), "401"),
        ("GET /metrics", Some("monitor"), "200"),
        ("GET /livez", None, "200"),
        ("POST /v1/ListRealms", None, "401"),
        ("POST /v1/ListRealms", Some("monitor"), "200"),
        ("POST /v1/GetRevision", Some("monitor"), "403"),
    ] {
        let mut stream = connect(port, &config).await.unwrap();
        let key = key.map(|key| format!("Authorization: Bearer {key}\r\n")).unwrap_or_default();
        let body = if line.starts_with("POST") { "{}" } else { "" };
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{key}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        let answer = String::from_utf8_lossy(&answer);
        assert!(answer.starts_with(&format!("HTTP/1.1 {expected} ")), "{line} {key}: {answer}");
        assert!(expected != "401" || !answer.contains(REALM), "{answer}");
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_right_that_is_taken_away_counts_from_the_next_call_on() {
    let mut secured = Secured::new("", &caller_with_key("gateway", "\"enforcer\"", ""));
    // Named, so that it is the folder beside the configuration.
    secured.home.keys = "policies_dir = \"policies\"\n".to_owned();
    let own = secured.home.path("policies/hallpass");
    fs::create_dir_all(&own).unwrap();
    for entry in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/hallpass")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            fs::copy(&path, own.join(path.file_name().unwrap())).unwrap();
        }
    }
    let running = secured.start().await;
    let channel = channel(running.grpc_address().port(), &secured.anonymous()).await.unwrap();
    for _ in 0..2 {
        ask(channel.clone(), secured.question(), Some("gateway")).await.unwrap();
    }
    let file = own.join("questions.cedar");
    let text = fs::read_to_string(&file).unwrap();
    let without = text.replacen(
        "Action::\"Authorize\", Action::\"BatchAuthorize\", Action::\"SearchResources\"",
        "Action::\"SearchResources\"",
        1,
    );
    assert_ne!(text, without, "the test tests something");
    fs::write(&file, without).unwrap();
    running.app().reload_policies("hallpass").await.unwrap();
    let refused = ask(channel.clone(), secured.question(), Some("gateway")).await.unwrap_err();
    assert_eq!(reason(&refused), "CALLER_NOT_PERMITTED", "{refused}");
    fs::write(&file, text).unwrap();
    running.app().reload_policies("hallpass").await.unwrap();
    ask(channel, secured.question(), Some("gateway")).await.unwrap();
    running.stop().await.unwrap();
}
