//! The API as JSON over real HTTP: the same answers as over gRPC, and what is refused before it gets there.

use std::time::Duration;

use hallpass::proto::FILE_DESCRIPTOR_SET;
use hallpass::proto::v1 as pb;
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, SerializeOptions};
use reqwest::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::transport::Endpoint;
use tonic::{Code, Status};

use crate::applications::files_with;
use crate::callers::caller_with_key;
use crate::support::{Home, REALM, Service, enrolment, reading_student};
use crate::token_info::{JSON, client, home, json_of};

const LINES: &str = "application/x-ndjson";

/// A service with one student, whom a system of school 100 may read.
async fn start(home: &Home) -> (Service, String) {
    let service = home.start().await;
    service.import("studentSchoolAssociations", &[enrolment("1", 100)]).await;
    (service, home.token("SISVendor", &[100]))
}

fn asking(service: &Service, call: &str) -> RequestBuilder {
    client().post(format!("{}/v1/{call}", service.http.as_ref().unwrap()))
}

async fn ask(service: &Service, call: &str, body: &Json) -> Response {
    asking(service, call).header(CONTENT_TYPE, JSON).body(body.to_string()).send().await.unwrap()
}

/// A problem, with its status and code.
async fn problem(response: Response) -> (StatusCode, String, Json) {
    let (status, headers) = (response.status(), response.headers().clone());
    assert_eq!(headers[CONTENT_TYPE], "application/problem+json");
    assert_eq!(headers[CACHE_CONTROL], "no-store");
    let problem = json_of(response).await;
    assert_eq!(problem["status"], status.as_u16());
    // Of other methods no call speaks.
    if status != StatusCode::METHOD_NOT_ALLOWED {
        check_described(status, &headers, &problem);
    }
    (status, problem["code"].as_str().unwrap_or_default().to_owned(), problem)
}

/// The description has the status with all headers that it must have, and all members of the problem.
fn check_described(status: StatusCode, headers: &HeaderMap, problem: &Json) {
    let document = hallpass::transport::http::json::document();
    let at = |reference: &Json| document.pointer(reference["$ref"].as_str().unwrap().trim_start_matches('#')).unwrap();
    let described = &document["paths"]["/v1/Authorize"]["post"]["responses"];
    let described =
        at(described.get(status.as_str()).unwrap_or_else(|| panic!("{status} is not described: {problem}")));
    for (name, header) in described["headers"].as_object().unwrap() {
        assert!(header["required"] == false || headers.contains_key(name), "{status} without {name}: {problem}");
    }
    let schema = at(&described["content"]["application/problem+json"]["schema"]);
    for name in schema["required"].as_array().unwrap() {
        assert!(problem.get(name.as_str().unwrap()).is_some(), "{problem} has no {name}");
    }
    for name in problem.as_object().unwrap().keys() {
        assert!(schema["properties"].get(name).is_some(), "{problem} has {name}, which is not described");
    }
}

/// The question whether a student may be read.
fn question(token: &str, student: &str) -> Json {
    let resource = json!({ "type": "ed-fi/students", "id": student, "attributes": { "studentUniqueId": student } });
    json!({ "realm": REALM, "token": token, "action": "Read", "resource": resource })
}

/// Messages as they are on the wire, whatever they are.
#[derive(Clone, Copy)]
pub(crate) struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, to: &mut EncodeBuf<'_>) -> Result<(), Status> {
        to.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, from: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(from.copy_to_bytes(from.remaining())))
    }
}

/// What the call answers to an empty message over gRPC.
async fn to_nothing(service: &Service, method: &MethodDescriptor) -> Result<(), Status> {
    let channel = Endpoint::from_shared(format!("http://{}", service.address)).unwrap().connect().await.unwrap();
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.unwrap();
    let path = format!("/{}/{}", method.parent_service().full_name(), method.name()).parse().unwrap();
    let request = tonic::Request::new(tokio_stream::once(Bytes::new()));
    let mut answers = grpc.streaming(request, path, Raw).await?.into_inner();
    answers.message().await.map(drop)
}

fn status_of(code: Code) -> u16 {
    match code {
        Code::Ok => 200,
        Code::InvalidArgument => 400,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::NotFound => 404,
        Code::FailedPrecondition => 409,
        Code::ResourceExhausted => 429,
        Code::Unimplemented => 501,
        Code::Unavailable => 503,
        other => panic!("{other:?} for an empty message"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_answers_nothing_as_it_does_over_grpc() {
    let home = home();
    let (service, _) = start(&home).await;
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut answered = 0;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let name = method.name();
        // It would follow the log for ever.
        let deadline = if name == "TailDecisions" { "300m" } else { "20S" };
        let expected = if name == "TailDecisions" {
            Err(Status::unauthenticated(""))
        } else {
            to_nothing(&service, &method).await
        };
        let sent = asking(&service, name).header(CONTENT_TYPE, JSON).header("grpc-timeout", deadline).body("{}").send();
        let response = sent.await.unwrap();
        let code = expected.as_ref().map_or_else(Status::code, |()| Code::Ok);
        assert_eq!(response.status(), status_of(code), "{name}: {expected:?}");
        match expected {
            Ok(()) => answered += 1,
            Err(status) if status.details().is_empty() => {}
            Err(status) => {
                let reason = tonic_types::StatusExt::get_details_error_info(&status).unwrap().reason;
                let (_, code, problem) = problem(response).await;
                assert_eq!(code, reason, "{name}");
                assert_eq!(problem["detail"], status.message(), "{name}");
            }
        }
    }
    assert!(answered > 0, "no call answers an empty message");
}

/// The answer without what is new each time, as another library writes it.
fn by_another_writer(mut answer: pb::AuthorizeResponse) -> Json {
    answer.decision_id.clear();
    if let Some(denial) = &mut answer.denial {
        // Plain values are ours alone.
        denial.members.clear();
    }
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let descriptor = pool.get_message_by_name("hallpass.v1.AuthorizeResponse").unwrap();
    let message = DynamicMessage::decode(descriptor, &*answer.encode_to_vec()).unwrap();
    let options = SerializeOptions::new().skip_default_fields(true).stringify_64_bit_integers(true);
    message.serialize_with_options(serde_json::value::Serializer, &options).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_allow_and_a_deny_are_those_of_grpc_field_by_field() {
    let home = home();
    let (service, token) = start(&home).await;
    for (student, decision) in [("1", "DECISION_ALLOW"), ("2", "DECISION_DENY")] {
        let expected = service.authorization().authorize(reading_student(&token, student)).await.unwrap().into_inner();
        let response = ask(&service, "Authorize", &question(&token, student)).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], JSON);
        assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
        let mut answer = json_of(response).await;
        assert_eq!(answer["decision"], decision);
        let id = answer.as_object_mut().unwrap().remove("decisionId").unwrap();
        assert_eq!(id.as_str().unwrap().len(), expected.decision_id.len());
        if let Some(denial) = answer.get_mut("denial").and_then(Json::as_object_mut) {
            denial.remove("members");
        }
        assert_eq!(answer, by_another_writer(expected));
    }
    let batch = json!({
        "defaults": { "realm": REALM, "token": token, "action": "Read", "resource": { "type": "ed-fi/students" } },
        "items": [
            { "resource": { "attributes": { "studentUniqueId": "1" } } },
            { "resource": { "attributes": { "studentUniqueId": ["1"] } } },
        ],
    });
    let answer = json_of(ask(&service, "BatchAuthorize", &batch).await).await;
    assert_eq!(answer["results"][0]["response"]["decision"], "DECISION_ALLOW");
    assert_eq!(answer["results"][1]["error"]["reason"], "INVALID_REQUEST");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_and_an_import_are_lines() {
    let home = home();
    let (service, token) = start(&home).await;
    let lines: String = ["2", "3"]
        .map(|student| {
            let records = [enrolment(student, 100)];
            json!({ "realm": REALM, "resource": "studentSchoolAssociations", "records": records }).to_string()
                + "\r\n\n"
        })
        .concat();
    let response = asking(&service, "ImportRecords").header(CONTENT_TYPE, LINES).body(lines).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(json_of(response).await["changed"], "2");

    let search = json!({
        "realm": REALM,
        "token": token,
        "action": "Read",
        "resourceType": "ed-fi/students",
        "within": { "type": "EducationOrganization", "id": "100" },
    });
    let response = ask(&service, "SearchResources", &search).await;
    assert_eq!((response.status(), &response.headers()[CONTENT_TYPE]), (StatusCode::OK, &LINES.parse().unwrap()));
    let text = response.text().await.unwrap();
    assert!(text.ends_with("}\n"));
    let parts: Vec<Json> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(parts[0]["answer"]["decision"], "DECISION_ALLOW");
    assert!(parts.last().unwrap()["end"].is_object());
    let found = parts.iter().filter_map(|part| part["found"]["resources"].as_array()).flatten();
    let ids: Vec<&Json> = found.map(|resource| &resource["id"]).collect();
    assert_eq!(ids, ["1", "2", "3"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_a_request_is_said_before_anything_is_asked() {
    let home = home();
    let (service, token) = start(&home).await;
    let long = format!("{{\"token\":\"{}\"}}", "x".repeat(1 << 20));
    for (call, content_type, body, status, code, errors) in [
        ("Authorize", JSON, r#"{"tokn":"x"}"#, 400, "INVALID_REQUEST", &["tokn is no member of AuthorizeRequest"][..]),
        (
            "Authorize",
            JSON,
            r#"{"resource":{"attributes":{"x":1.5}},"action":7}"#,
            400,
            "INVALID_REQUEST",
            &[
                "action is a number, expected a text",
                "resource.attributes.x is a number, expected a whole one of 64 bits",
            ],
        ),
        ("Authorize", JSON, "", 400, "BODY_NOT_JSON", &[]),
        ("Authorize", JSON, "[]", 400, "BODY_NOT_JSON", &[]),
        ("Authorize", JSON, r#"{"token":"a","token":"b"}"#, 400, "BODY_NOT_JSON", &[]),
        ("Authorize", JSON, r#"{"token":NaN}"#, 400, "BODY_NOT_JSON", &[]),
        ("Authorize", JSON, &long, 413, "BODY_TOO_LONG", &[]),
        ("Authorize", "text/plain", "{}", 415, "BODY_TYPE_UNKNOWN", &[]),
        ("Authorize", LINES, "{}", 415, "BODY_TYPE_UNKNOWN", &[]),
        (
            "ImportRecords",
            LINES,
            "{}\n{\"x\":1}\n",
            400,
            "INVALID_REQUEST",
            &["x is no member of ImportRecordsRequest"],
        ),
        ("authorize", JSON, "{}", 404, "PATH_UNKNOWN", &[]),
        ("Authorize%20", JSON, "{}", 404, "PATH_UNKNOWN", &[]),
        ("%ff", JSON, "{}", 404, "PATH_UNKNOWN", &[]),
    ] {
        let sent = asking(&service, call).header(CONTENT_TYPE, content_type).body(body.to_owned()).send();
        let (found, named, problem) = problem(sent.await.unwrap()).await;
        let body = body.chars().take(60).collect::<String>();
        assert_eq!((found.as_u16(), &*named), (status, code), "{call} {body}: {problem}");
        let said: Vec<_> = problem["errors"].as_array().into_iter().flatten().filter_map(Json::as_str).collect();
        assert_eq!(said, errors, "{call} {body}");
    }
    let no_type = asking(&service, "Authorize").body("{}").send().await.unwrap();
    assert_eq!(no_type.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    for method in [Method::GET, Method::PUT, Method::DELETE, Method::OPTIONS] {
        let url = format!("{}/v1/Authorize", service.http.as_ref().unwrap());
        let response = client().request(method, url).send().await.unwrap();
        assert_eq!(response.headers()[ALLOW], "POST");
        assert_eq!(problem(response).await.0, StatusCode::METHOD_NOT_ALLOWED);
    }
    let allowed = json_of(ask(&service, "Authorize", &question(&token, "1")).await).await;
    assert_eq!(allowed["decision"], "DECISION_ALLOW", "and the service goes on");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_has_its_id_its_caller_and_its_deadline() {
    let home = home();
    let (service, token) = start(&home).await;
    let body = question(&token, "1").to_string();
    let asked = || asking(&service, "Authorize").header(CONTENT_TYPE, JSON).header("x-request-id", "request 7");
    let response = asked().body(body.clone()).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "request 7");
    let kept = service.decisions_after(0).await.pop().unwrap();
    assert_eq!((&*kept.request_id, kept.decision()), ("request 7", pb::Decision::Allow));
    assert_eq!((&*kept.adapter, &*kept.caller), ("json", "local"));

    let response = asked().header("grpc-timeout", "0n").body(body).send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "request 7");
    let (status, code, problem) = problem(response).await;
    assert_eq!((status.as_u16(), &*code), (504, "DEADLINE_EXCEEDED"));
    assert_eq!(problem["correlationId"], "request 7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_callers_must_show_who_they_are_each_call_is_answered_to_those_alone_who_may() {
    let mut home = home();
    let callers = caller_with_key("watcher", "\"monitor\"", "") + &caller_with_key("gateway", "\"enforcer\"", "");
    home.tables.extend([format!("[authentication]\nrequired = true\n{callers}")]);
    let service = home.start().await;
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        for (key, code) in [(None, "CALLER_KEY_MISSING"), (Some("nobody"), "CALLER_KEY_UNKNOWN")] {
            let asked = asking(&service, method.name()).header(CONTENT_TYPE, JSON).body("{}");
            let response = key.into_iter().fold(asked, RequestBuilder::bearer_auth).send().await.unwrap();
            let challenge = response.headers().get(WWW_AUTHENTICATE).cloned();
            let (status, named, problem) = problem(response).await;
            assert_eq!((status.as_u16(), &*named), (401, code), "{}: {problem}", method.name());
            assert_eq!(challenge.unwrap(), "Bearer", "{}", method.name());
            assert!(!problem.to_string().contains(REALM), "{}: {problem}", method.name());
        }
    }

    let question = question(&home.token("SISVendor", &[100]), "1");
    let of_realm = json!({ "realm": REALM });
    for (call, body) in [
        ("Authorize", &question),
        ("GetRevision", &of_realm),
        ("ReadRelationships", &of_realm),
        ("ListApplications", &of_realm),
        ("ReloadPolicies", &of_realm),
        ("QueryDecisions", &of_realm),
        ("TailDecisions", &json!({ "query": of_realm })),
    ] {
        let asked = asking(&service, call).header(CONTENT_TYPE, JSON).bearer_auth("watcher").body(body.to_string());
        let response = asked.send().await.unwrap();
        assert!(!response.headers().contains_key(WWW_AUTHENTICATE), "{call}: another key is not what is missing");
        let (status, named, problem) = problem(response).await;
        assert_eq!((status.as_u16(), &*named), (403, "CALLER_NOT_PERMITTED"), "{call}: {problem}");
    }
    let asked = asking(&service, "Authorize").header(CONTENT_TYPE, JSON).bearer_auth("gateway");
    let answer = json_of(asked.body(question.to_string()).send().await.unwrap()).await;
    assert_eq!(answer["decision"], "DECISION_DENY", "who may ask is answered: nobody is enrolled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_fails_says_so_in_its_status_or_in_its_last_line() {
    let home = home();
    let (service, _) = start(&home).await;
    let admin = std::fs::read_to_string(home.data.join("admin.token")).unwrap();
    let tail = |key: &str, deadline: &str| {
        let asked = asking(&service, "TailDecisions").header(CONTENT_TYPE, JSON).header("grpc-timeout", deadline);
        asked
            .bearer_auth(key.trim())
            .body(json!({ "query": { "realm": REALM } }).to_string())
            .timeout(Duration::from_secs(20))
            .send()
    };
    let refused = tail("nobody", "20S").await.unwrap();
    assert_eq!(refused.headers()[WWW_AUTHENTICATE], "Bearer");
    assert_eq!(problem(refused).await.0, StatusCode::UNAUTHORIZED);

    let response = tail(&admin, "3S").await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    let text = response.text().await.unwrap();
    let last: Json = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!((&last["error"]["code"], &last["error"]["status"]), (&json!("DEADLINE_EXCEEDED"), &json!(504)));
    assert!(text.lines().rev().skip(1).all(|line| !line.contains("\"error\":{")), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_a_body_is_in_a_refusal_or_in_the_log() {
    const CANARY: &str = "canary-5e0d41";
    let mut home = home();
    home.copy_rules();
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let (mut service, _) = start(&home).await;
    for body in [
        json!({ "token": CANARY, "more": CANARY }).to_string(),
        json!({ "token": [CANARY], "action": { "x": CANARY }, "explain": CANARY }).to_string(),
        json!({ "token": CANARY, "resource": { "attributes": { "x": { "@type": CANARY } } } }).to_string(),
        question(CANARY, "1").to_string(),
        format!("{{\"token\":\"{CANARY}\",}}"),
        format!("{{\"token\":\"{CANARY}\",\"token\":\"{CANARY}\"}}"),
    ] {
        let sent =
            asking(&service, "Authorize").header(CONTENT_TYPE, JSON).bearer_auth(CANARY).body(body.clone()).send();
        let text = sent.await.unwrap().text().await.unwrap();
        assert!(!text.is_empty() && !text.contains(CANARY), "{body}: {text}");
    }
    service.signal("TERM");
    assert!(service.ended().await.success());
    assert_eq!(files_with(home.path("").as_path(), &[CANARY]), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_description_is_served() {
    let home = home();
    let service = home.start().await;
    let url = format!("{}/openapi.json", service.http.as_ref().unwrap());
    let response = client().get(&url).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(json_of(response).await == hallpass::transport::http::json::document());
    assert_eq!(client().post(url).send().await.unwrap().headers()[ALLOW], "GET, HEAD");
}
