//! A text of its own in every field, header and path that comes in over HTTP or that Envoy tells, right and wrong: in no
//! answer, log, metric or file, nor in what looks a deployment over.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use hallpass::app::ports::Clock as _;
use hallpass::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, HeaderMap, HeaderValue, Metadata,
    attribute_context::{HttpRequest, Peer, Request as Asked},
    check_response::HttpResponse,
};
use hallpass::provider::clock::SystemClock;
use prost::Message as _;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::{Value as Json, json};
use tonic::Request;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};

use crate::applications::files_with;
use crate::fuzz::entry::{ENDPOINTS, files};
use crate::json::Raw;
use crate::support::{Home, ISSUER, REALM, Service};

/// Stands in every canary.
const CANARY: &str = "c4n4ry";

fn canary(name: &str) -> String {
    format!("{CANARY}-{name}")
}

fn start() -> Home {
    let mut home = Home::new();
    let rules = home.path("small");
    fs::create_dir_all(rules.join("tests")).unwrap();
    for file in files() {
        fs::write(rules.join(file.path), file.content).unwrap();
    }
    home.rules = rules;
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    home
}

/// Sends a request and returns the answer, but for the id that is to come back as it went.
fn send(service: &Service, method: &str, path: &str, headers: &str, body: &str) -> String {
    let address = service.http.as_deref().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{method} {path}: {answer}");
    let is_told = |line: &&str| !line.to_ascii_lowercase().starts_with("x-request-id:");
    answer.lines().filter(is_told).collect::<Vec<_>>().join("\n")
}

/// Headers that nobody needs, with a canary each. The id of the request is too long to be logged.
fn headers() -> String {
    let id = canary("id").repeat(20);
    let [agent, state, cookie, tenant] = ["agent", "state", "cookie", "header"].map(canary);
    format!(
        "content-type: application/json\r\nuser-agent: {agent}\r\nx-request-id: {id}\r\ntraceparent: 00-{agent}-01\r\n\
         tracestate: a={state}\r\ncookie: s={cookie}\r\nx-tenant: {tenant}\r\nx-forwarded-proto: {tenant}\r\n\
         x-hallpass-explain: reasons\r\n"
    )
}

/// A good question in the words of AuthZEN, with canaries in all that may be anything.
fn question() -> Json {
    json!({
        "subject": {
            "type": "teacher", "id": canary("subject"),
            "properties": { "schools": format!("1,{}", canary("school")), "other": canary("property") },
        },
        "action": { "name": "view", "properties": { "method": canary("method"), "other": canary("property") } },
        "resource": { "type": "file", "id": canary("student"), "properties": { "other": canary("property") } },
        "context": { "explain": true, "other": canary("context"), "access_token": canary("token") },
    })
}

/// The question with something else at a place.
fn with(place: &str, value: Json) -> String {
    let mut question = question();
    *question.pointer_mut(place).unwrap() = value;
    question.to_string()
}

/// Bodies that are wrong in a place each, and right ones.
fn bodies() -> Vec<String> {
    let list = json!([canary("list")]);
    let page = |token: Json| {
        let mut question = question();
        question["page"] = json!({ "token": token, "limit": 2 });
        question.to_string()
    };
    let many = json!({ "evaluations": [question(), { "subject": canary("item") }, canary("item")] });
    vec![
        question().to_string(),
        with("/subject/type", json!(canary("type"))),
        with("/subject/id", list.clone()),
        with("/subject/id", json!(canary("id").repeat(200))),
        with("/subject/properties/schools", list.clone()),
        with("/subject/properties", json!(canary("properties"))),
        with("/action/name", json!(canary("action"))),
        with("/action/properties/method", list.clone()),
        with("/resource/type", json!(canary("type"))),
        with(
            "/resource/properties",
            json!({ "student": canary("other"), "size": canary("size"), "tags": canary("tags") }),
        ),
        with("/context", json!(canary("context"))),
        page(json!(canary("page"))),
        page(list),
        many.to_string(),
        many.to_string().replacen(
            "\"evaluations\"",
            "\"options\":{\"evaluations_semantic\":\"c4n4ry\"},\"evaluations\"",
            1,
        ),
        format!("{{\"subject\": \"{}", canary("broken")),
        canary("no-json"),
    ]
}

/// Messages of calls as JSON, each with a canary somewhere.
fn messages() -> Vec<(&'static str, Json)> {
    let resource = json!({ "type": "File", "id": canary("file"), "attributes": { "student": canary("student") } });
    let question = json!({
        "realm": REALM, "token": canary("token"), "action": "Read", "resource": resource, "purpose": canary("purpose"),
        "context": { "method": canary("method") },
    });
    let changed = |name: &str, value: Json| {
        let mut question = question.clone();
        question[name] = value;
        ("Authorize", question)
    };
    let query =
        json!({ "realm": REALM, "person": { "type": "Student", "id": canary("person") }, "purpose": canary("why") });
    vec![
        ("Authorize", question.clone()),
        changed("realm", json!(canary("realm"))),
        changed("action", json!(canary("action"))),
        changed("explain", json!(canary("enum"))),
        changed("atLeastRevision", json!(canary("number"))),
        changed("queryToken", json!(canary("query-token"))),
        changed(
            "proof",
            json!({ "dpop": [canary("dpop")], "uri": canary("uri"), "clientCertificate": canary("base64") }),
        ),
        changed("resource", json!({ "type": canary("type"), "id": canary("id") })),
        changed("context", json!({ "method": [canary("list")], "number": 1.5 })),
        ("BatchAuthorize", json!({ "defaults": question, "items": [{ "token": canary("item") }, canary("item")] })),
        ("QueryDecisions", query.clone()),
        ("QueryDecisions", json!({ "realm": REALM, "from": canary("time"), "pageToken": canary("page") })),
        ("ExportDecisions", json!({ "query": query })),
        ("GetTokenInfo", json!({ "realm": REALM, "token": canary("token") })),
        (CANARY, json!({})),
    ]
}

/// Looks the running deployment over, and returns what was said of it.
fn looked_over(home: &Home) -> String {
    let output = home.command("doctor").args(["--output", "json"]).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap()).concat();
    assert!(said.contains("hallpass.toml"), "{said}");
    said
}

/// The secrets that the deployment keeps in files, as text.
fn secrets(data: &Path) -> Vec<String> {
    let admin = fs::read_to_string(data.join("admin.token")).unwrap();
    vec![admin.trim().to_owned()]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_came_over_http_is_found_anywhere() {
    let home = start();
    let mut service = home.start().await;
    let enrolment = json!({ "school": "1", "student": "known-student" });
    service.import("enrolments", &[enrolment.to_string()]).await;
    let (headers, mut said) = (headers(), Vec::new());
    for endpoint in ENDPOINTS {
        for body in bodies() {
            let path = format!("/{REALM}/access/v1/{endpoint}?{}={CANARY}", canary("query"));
            said.push(send(&service, "POST", &path, &headers, &body));
        }
        let elsewhere = format!("/{CANARY}/access/v1/{endpoint}");
        said.push(send(&service, "POST", &elsewhere, &headers, &question().to_string()));
        said.push(send(&service, CANARY, &elsewhere, &headers, ""));
    }
    for (call, message) in messages() {
        said.push(send(&service, "POST", &format!("/v1/{call}?{CANARY}"), &headers, &message.to_string()));
        let wrong_key = format!("{headers}authorization: Bearer {}\r\n", canary("key"));
        said.push(send(&service, "POST", &format!("/v1/{call}"), &wrong_key, &message.to_string()));
    }
    for path in
        [CANARY, &format!(".well-known/authzen-configuration/{CANARY}"), &format!("{REALM}/oauth/token_info/{CANARY}")]
    {
        said.push(send(&service, "GET", &format!("/{path}"), &headers, ""));
    }
    for status in ["200", "400", "401", "404"] {
        assert!(said.iter().any(|answer| answer.starts_with(&format!("HTTP/1.1 {status}"))), "no answer was {status}");
    }
    let secrets = secrets(&home.data);
    said.push(send(&service, "GET", "/metrics", "", ""));
    said.push(looked_over(&home));
    let is_shown = |answer: &&String| answer.contains(CANARY) || secrets.iter().any(|secret| answer.contains(secret));
    let shown: Vec<_> = said.iter().filter(is_shown).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    service.signal("TERM");
    assert!(service.ended().await.success());
    assert!(!service.stderr().contains("panicked"), "{}", service.stderr());
    assert!(secrets.iter().all(|secret| !service.stderr().contains(secret)), "a secret is in the log");
    assert_eq!(files_with(&home.path(""), &[CANARY]), Vec::<String>::new());
    assert!(!files_with(&home.data, &["known-student"]).is_empty(), "the search would find a canary");
}

/// A request as Envoy tells it, with a canary in all that says nothing of who asks for what.
fn told(path: &str, headers: &[(&str, String)]) -> CheckRequest {
    let more = [
        ("cookie", canary("cookie")),
        ("x-tenant", canary("header")),
        ("x-authz-subject", canary("subject")),
        ("x-request-id", canary("id").repeat(20)),
        ("traceparent", canary("trace")),
        ("user-agent", canary("agent")),
    ];
    let headers = headers.iter().chain(&more).map(|(name, value)| ((*name).to_owned(), value.clone()));
    let http = HttpRequest {
        id: canary("id").repeat(20),
        method: "GET".to_owned(),
        headers: headers.collect(),
        path: path.to_owned(),
        host: canary("host"),
        scheme: "https".to_owned(),
        protocol: canary("protocol"),
        ..HttpRequest::default()
    };
    let source = Peer {
        service: canary("service"),
        principal: canary("principal"),
        certificate: canary("certificate"),
        ..Peer::default()
    };
    let kept = prost_types::Value { kind: Some(prost_types::value::Kind::StringValue(canary("metadata"))) };
    let kept = prost_types::Struct { fields: [(canary("key"), kept)].into() };
    let attributes = AttributeContext {
        source: Some(source),
        request: Some(Asked { http: Some(http) }),
        context_extensions: [(canary("name"), canary("extension"))].into(),
        metadata_context: Some(Metadata { filter_metadata: [("filter".to_owned(), kept)].into() }),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

/// The same with what a route's configuration says.
fn with_extensions(extensions: &[(&str, String)], token: &str) -> CheckRequest {
    let mut message = told("/v1/files/ada/f-1", &[("authorization", format!("Bearer {token}"))]);
    let own = extensions.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
    message.attributes.as_mut().unwrap().context_extensions.extend(own);
    message
}

/// Requests that pass, are denied, are refused and cannot be decided, by what is wrong with them.
fn requests(good: &str) -> Vec<CheckRequest> {
    let bearer = ("authorization", format!("Bearer {good}"));
    let of_path = |path: &str| told(path, std::slice::from_ref(&bearer));
    let of_header = |name, value: String| told("/v1/files/ada/f-1", &[(name, value)]);
    let mut raw = of_path("/v1/files/ada/f-1");
    let http = raw.attributes.as_mut().and_then(|it| it.request.as_mut()?.http.as_mut()).unwrap();
    let header = |key: &str, raw_value: String| HeaderValue {
        key: key.to_owned(),
        raw_value: raw_value.into_bytes(),
        ..HeaderValue::default()
    };
    let headers = vec![header("authorization", canary("one")), header("authorization", canary("other"))];
    http.header_map = Some(HeaderMap { headers });
    let mut method = of_path("/v1/files/ada/f-1");
    method.attributes.as_mut().and_then(|it| it.request.as_mut()?.http.as_mut()).unwrap().method = canary("method");
    let said = [("action", "Read".to_owned()), ("resource_type", "File".to_owned())];
    let saying = |name, value: String| with_extensions(&[&said[..], &[(name, value)]].concat(), good);
    vec![
        of_path("/v1/files/ada/f-1"),
        of_path(&format!("/v1/files/ada/f-1?other={}&size=1", canary("query"))),
        of_path(&format!("/v1/files/{}/f-1", canary("student"))),
        of_path(&format!("/v1/files/ada/f-1?size={}", canary("size"))),
        of_path(&format!("/v1/{}", canary("path"))),
        of_path(&format!("/v1//{}", canary("path"))),
        of_path(&format!("/v1/files/{}%2ff-1/{}%3f", canary("path"), canary("end"))),
        of_path(&format!("/v1/files/ada/f-1?access_token={}", canary("token"))),
        told(&format!("/v1/files/ada/f-1?access_token={}", canary("token")), &[]),
        told(&format!("/v1/files/ada/f-1?access_token={good}&{}", canary("rest")), &[]),
        of_header("authorization", format!("Bearer {}", canary("token"))),
        of_header("authorization", format!("Bearer {good}.{}", canary("part"))),
        of_header("authorization", format!("DPoP {good}")),
        of_header("authorization", format!("{} {good}", canary("scheme"))),
        of_header("authorization", format!("Bearer {good},{}", canary("second"))),
        of_header("dpop", canary("proof")),
        of_header("x-original-url", canary("url")),
        of_header("x-http-method-override", canary("override")),
        raw,
        method,
        with_extensions(&said, good),
        with_extensions(&[("realm", canary("realm"))], good),
        with_extensions(&[("action", canary("action"))], good),
        with_extensions(&[("resource_type", canary("type"))], good),
        with_extensions(&[("action", canary("action")), said[1].clone()], good),
        with_extensions(&[said[0].clone(), ("resource_type", canary("type"))], good),
        saying("resource_id", canary("id")),
        saying("resource_id", format!("{{{}}}", canary("placeholder"))),
        saying("resource_id", format!("{{{}", canary("brace"))),
        saying("path_template", canary("template")),
        saying("path_template", format!("/v1/{{{}}}", canary("parameter"))),
        saying("attribute.student", canary("student")),
        saying("attribute.size", canary("size")),
        saying("attribute.other", format!("{{{}}}", canary("attribute"))),
        saying("obligations", canary("obligations")),
    ]
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    encode_key(number, WireType::LengthDelimited, &mut bytes);
    encode_varint(content.len() as u64, &mut bytes);
    [bytes, content.to_vec()].concat()
}

/// The bytes of a message, with what Envoy tells and nobody reads: the body, as text and as bytes, and the name by which the
/// client came.
fn bytes_of(message: &CheckRequest) -> Bytes {
    let body = [field(11, canary("body").as_bytes()), field(12, canary("raw-body").as_bytes())].concat();
    let session = field(12, &field(1, canary("sni").as_bytes()));
    let more = field(1, &[field(4, &field(2, &body)), session].concat());
    [message.encode_to_vec(), more].concat().into()
}

/// Asks as Envoy does and returns all that is answered.
async fn check(channel: &Channel, message: Bytes, key: Option<&str>) -> Result<Bytes, String> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert("x-request-id", canary("id").repeat(20).parse().unwrap());
    metadata.insert("traceparent", canary("trace").parse().unwrap());
    if let Some(key) = key {
        metadata.insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    let path = "/envoy.service.auth.v3.Authorization/Check".parse().unwrap();
    grpc.unary(request, path, Raw).await.map(tonic::Response::into_inner).map_err(|status| format!("{status:?}"))
}

/// What Envoy is told: whether the request passes, is held back, or was not decided.
fn outcome(answer: &Bytes) -> &'static str {
    match CheckResponse::decode(answer.clone()).unwrap().http_response.unwrap() {
        HttpResponse::OkResponse(_) => "passes",
        HttpResponse::DeniedResponse(_) => "is held back",
        HttpResponse::ErrorResponse(_) => "was not decided",
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_that_envoy_told_is_found_anywhere() {
    let home = start();
    let mut service = home.start().await;
    let enrolment = json!({ "school": "1", "student": "ada" });
    service.import("enrolments", &[enrolment.to_string()]).await;
    let now_seconds = SystemClock.now_seconds();
    let good = home.sign(&json!({
        "iss": ISSUER, "sub": "t-1", "schools": "1", "iat": now_seconds, "exp": now_seconds + 3_600,
    }));
    let channel = Endpoint::from_shared(format!("http://{}", service.address)).unwrap().connect().await.unwrap();
    let (mut said, mut outcomes) = (Vec::new(), Vec::new());
    for message in requests(&good) {
        for key in [None, Some(canary("key"))] {
            let answer = check(&channel, bytes_of(&message), key.as_deref()).await.unwrap();
            outcomes.push((key.is_some(), outcome(&answer)));
            said.push(String::from_utf8_lossy(&answer).into_owned());
        }
    }
    assert!(!outcomes.contains(&(true, "passes")), "a wrong key is nobody's");
    for expected in ["passes", "is held back", "was not decided"] {
        assert!(outcomes.contains(&(false, expected)), "no request {expected}");
    }
    // What is no message at all.
    for broken in [canary("broken").into_bytes(), field(1, canary("broken").as_bytes())] {
        said.push(check(&channel, broken.into(), None).await.unwrap_err());
    }
    let records = service.decisions_after(0).await;
    assert!(records.len() > 20, "what was decided and refused is on record: {}", records.len());
    said.push(format!("{records:?}"));
    said.push(send(&service, "GET", "/metrics", "", ""));
    said.push(looked_over(&home));
    let mut secret = secrets(&home.data);
    secret.extend([good.clone(), good.rsplit('.').next().unwrap().to_owned()]);
    let is_shown = |answer: &&String| answer.contains(CANARY) || secret.iter().any(|secret| answer.contains(secret));
    let shown: Vec<_> = said.iter().filter(is_shown).collect();
    assert!(shown.is_empty(), "{shown:#?}");
    service.signal("TERM");
    assert!(service.ended().await.success());
    assert!(!service.stderr().contains("panicked"), "{}", service.stderr());
    assert!(
        service.stderr().contains("ROUTE_MISCONFIGURED"),
        "what a route says wrongly is told to who runs the service"
    );
    assert!(secret.iter().all(|secret| !service.stderr().contains(secret)), "a secret is in the log");
    assert_eq!(files_with(&home.path(""), &[CANARY]), Vec::<String>::new());
    assert_eq!(files_with(&home.data, &[&good]), Vec::<String>::new());
}
