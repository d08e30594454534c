//! A text of its own in every field, header and path that comes in over HTTP, right and wrong: in no answer, log, metric or
//! file, nor in what looks a deployment over.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::applications::files_with;
use crate::fuzz::entry::{ENDPOINTS, files};
use crate::support::{Home, REALM, Service};

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
         tracestate: a={state}\r\ncookie: s={cookie}\r\nx-tenant: {tenant}\r\nx-forwarded-for: {tenant}\r\n\
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
