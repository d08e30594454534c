//! Envoy asks about every request: the service by Envoy's own messages, and behind a real Envoy where `ENVOY` names one.

mod mutual;
mod proxy;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use hallpass::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
    attribute_context::{HttpRequest, Request},
    authorization_client::AuthorizationClient,
    check_response::HttpResponse,
};
use hallpass::transport::envoy::SERVICE;
use prost::Message as _;
use prost_types::FileDescriptorProto;
use serde_json::{Value as Json, json};
use tonic::transport::Channel;
use tonic_health::pb::health_check_response::ServingStatus;

use crate::callers::caller_with_key;
use crate::support::{Home, REALM, Service, enrolment};
use proxy::Envoy;

/// The Ed-Fi rules with the routes of the example.
fn home() -> Home {
    let mut home = Home::new();
    let rules = home.copy_rules();
    add_routes(&rules);
    home.tables.push_str("[envoy]\nrealm = \"edfi\"\n");
    home
}

/// Adds the routes of the example to a copy of the rules.
fn add_routes(rules: &Path) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy");
    fs::copy(example.join("openapi.yaml"), rules.join("openapi.yaml")).unwrap();
    let realm = fs::read_to_string(rules.join("realm.toml")).unwrap();
    let routes = fs::read_to_string(example.join("routes.toml")).unwrap();
    fs::write(rules.join("realm.toml"), realm + &routes).unwrap();
}

/// Ada is at school 101, and Fay at 102.
async fn enrol(service: &Service) {
    let records = [enrolment("ada", 101), enrolment("fay", 102)];
    service.import("studentSchoolAssociations", &records).await;
}

const STUDENTS: &str = "/data/v3/ed-fi/students";

/// Asks as Envoy does, without one.
struct Asking {
    client: AuthorizationClient<Channel>,
}

impl Asking {
    async fn of(service: &Service) -> Self {
        let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap().connect().await.unwrap();
        Self { client: AuthorizationClient::new(channel) }
    }

    async fn check(&mut self, method: &str, path: &str, token: &str, extensions: &[(&str, &str)]) -> CheckResponse {
        let mut headers = vec![(":path".to_owned(), path.to_owned())];
        headers.extend((!token.is_empty()).then(|| ("authorization".to_owned(), format!("Bearer {token}"))));
        let http = HttpRequest {
            id: "7a3e-1".to_owned(),
            method: method.to_owned(),
            headers: headers.into_iter().collect(),
            path: path.to_owned(),
            host: "api.example".to_owned(),
            scheme: "https".to_owned(),
            size: -1,
            ..HttpRequest::default()
        };
        let attributes = AttributeContext {
            request: Some(Request { http: Some(http) }),
            context_extensions: extensions
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            ..AttributeContext::default()
        };
        self.client.check(CheckRequest { attributes: Some(attributes) }).await.unwrap().into_inner()
    }
}

fn passed(response: CheckResponse) -> OkHttpResponse {
    assert_eq!(response.status.as_ref().unwrap().code, 0, "{response:?}");
    match response.http_response {
        Some(HttpResponse::OkResponse(passed)) => passed,
        other => panic!("{other:?}"),
    }
}

/// The status and the body of a refusal.
fn denied(response: CheckResponse) -> (i32, Json) {
    assert_eq!(response.status.as_ref().unwrap().code, 7, "{response:?}");
    match response.http_response {
        Some(HttpResponse::DeniedResponse(DeniedHttpResponse { status, body, .. })) => {
            (status.unwrap().code, if body.is_empty() { Json::Null } else { serde_json::from_str(&body).unwrap() })
        }
        other => panic!("{other:?}"),
    }
}

fn failed(response: CheckResponse) -> i32 {
    assert_eq!(response.status.as_ref().unwrap().code, 14, "{response:?}");
    match response.http_response {
        Some(HttpResponse::ErrorResponse(told)) => told.status.unwrap().code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_request_is_decided_by_its_method_and_path_and_kept_in_the_log() {
    let home = home();
    let service = home.start().await;
    enrol(&service).await;
    let token = home.token("SISVendor", &[101]);
    let mut envoy = Asking::of(&service).await;

    let headers = passed(envoy.check("GET", &format!("{STUDENTS}/ada"), &token, &[]).await).headers;
    let said = |name: &str| headers.iter().filter_map(|it| it.header.as_ref()).find(|it| it.key == name).unwrap();
    assert_eq!(said("x-authz-subject").value, "SISVendor%20of%20101");
    let id = said("x-authz-decision-id").value.clone();
    passed(envoy.check("GET", &format!("{STUDENTS}?studentUniqueId=ada"), &token, &[]).await);
    passed(envoy.check("GET", &format!("{STUDENTS}/ada/enrolments/101"), &token, &[]).await);

    let (status, body) = denied(envoy.check("GET", &format!("{STUDENTS}/fay"), &token, &[]).await);
    assert_eq!((status, &body["correlationId"]), (403, &json!("7a3e-1")));
    assert!(body["type"].as_str().unwrap().starts_with("urn:ed-fi:"), "{body}");
    assert_eq!(denied(envoy.check("GET", STUDENTS, &token, &[]).await).0, 403, "who asks for all asks for too much");
    assert_eq!(denied(envoy.check("GET", &format!("{STUDENTS}/ada"), "", &[]).await).0, 401);
    assert_eq!(denied(envoy.check("GET", &format!("{STUDENTS}/ada"), "x.y.z", &[]).await).0, 401);
    for (method, path, title, expected) in [
        ("GET", "/data/v3/ed-fi/grades", "ROUTE_UNKNOWN", 403),
        ("get", "/data/v3/ed-fi/students/ada", "ROUTE_UNKNOWN", 403),
        ("POST", STUDENTS, "ROUTE_UNKNOWN", 403),
        ("GET", "/data/v3/ed-fi//students/ada", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/x/../students/ada", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students/ada%2ffay", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students/ada%3fx", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students/ada%23x", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students/ada%25", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students?studentUniqueId=%2561da", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students?studentUniqueId=ada&studentUniqueId=fay", "ROUTE_AMBIGUOUS", 400),
        ("GET", "/data/v3/ed-fi/students/ada?access_token=x", "Authentication Failed", 400),
    ] {
        let (status, body) = denied(envoy.check(method, path, &token, &[]).await);
        assert_eq!((status, &body["title"]), (expected, &json!(title)), "{method} {path}");
    }
    let query = envoy.check("GET", &format!("{STUDENTS}/ada?access_token={token}"), "", &[]).await;
    assert_eq!(denied(query).1["title"], "ROUTE_TOKEN_IN_QUERY");
    let unknown = denied(envoy.check("GET", "/data/v3/ed-fi/grades", "", &[]).await);
    assert_eq!(unknown.0, 401, "who is nobody learns nothing of routes");

    let kept = service.decisions_after(0).await;
    assert_eq!(kept.len(), 21, "every answer is on record");
    assert_eq!(kept[0].decision_id, id);
    assert!(kept.iter().all(|record| record.adapter == "envoy" && record.request_id == "7a3e-1"), "{kept:#?}");
    let refused =
        kept.iter().find(|record| record.reasons.iter().any(|reason| reason.code == "ROUTE_UNKNOWN")).unwrap();
    assert_eq!((&*refused.action, &*refused.resource_type, &*refused.resource_id), ("GET", "route", ""));
    assert!(refused.principal.is_some(), "who asked is on record");
    assert!(!format!("{kept:?}").contains("grades"), "the path is not");
}

#[tokio::test]
async fn a_route_may_say_itself_what_it_asks_for_and_mistakes_there_are_failures() {
    let home = home();
    let service = home.start().await;
    enrol(&service).await;
    let token = home.token("SISVendor", &[101]);
    let mut envoy = Asking::of(&service).await;
    let route = [
        ("realm", REALM),
        ("action", "Read"),
        ("resource_type", "ed-fi/students"),
        ("path_template", "/reports/{student}"),
        ("attribute.studentUniqueId", "{student}"),
    ];
    passed(envoy.check("GET", "/reports/ada", &token, &route).await);
    assert_eq!(denied(envoy.check("GET", "/reports/fay", &token, &route).await).0, 403);
    assert_eq!(denied(envoy.check("GET", "/other/ada", &token, &route).await).1["title"], "ROUTE_UNKNOWN");
    for wrong in [
        &[("realm", "nowhere")][..],
        &[("action", "Read")],
        &[("action", "Read"), ("resource_type", "ed-fi/students"), ("resource_id", "{x}")],
    ] {
        assert_eq!(failed(envoy.check("GET", "/reports/ada", &token, wrong).await), 503, "{wrong:?}");
    }
    // What a client could bring about is never a failure, which a gateway may be set to let pass.
    let unfit = [("action", "Read"), ("resource_type", "ed-fi/schools"), ("attribute.schoolId", "{1}")];
    assert_eq!(denied(envoy.check("GET", "/reports", &token, &unfit).await).0, 403);
    let kept = service.decisions_after(0).await;
    assert_eq!(kept.last().unwrap().reasons[0].code, "QUESTION_NOT_UNDERSTOOD");
}

#[tokio::test]
async fn a_deployment_may_try_before_it_refuses() {
    let mut home = home();
    home.tables.push_str("dry_run = true\nremove_authorization = true\nstrip_headers = [\"x-team-\"]\n");
    let service = home.start().await;
    enrol(&service).await;
    let mut envoy = Asking::of(&service).await;
    let response = passed(envoy.check("GET", &format!("{STUDENTS}/fay"), &home.token("SISVendor", &[101]), &[]).await);
    let said: Vec<_> = response.headers.iter().filter_map(|it| it.header.as_ref()).collect();
    assert!(said.iter().any(|it| it.key == "x-authz-dry-run" && it.value == "deny"), "{said:?}");
    assert_eq!(response.headers_to_remove, ["authorization"]);
    assert_eq!(service.decisions_after(0).await.len(), 1);
}

#[tokio::test]
async fn the_first_routes_may_come_by_a_reload_and_until_then_nothing_passes() {
    let mut home = Home::new();
    home.realm_keys = "watch = \"off\"\n".to_owned();
    let rules = home.copy_rules();
    let without = fs::read_to_string(rules.join("realm.toml")).unwrap();
    let service = home.start().await;
    enrol(&service).await;
    let token = home.token("SISVendor", &[101]);
    let mut envoy = Asking::of(&service).await;
    let student = |id: &str| format!("{STUDENTS}/{id}");
    for _ in 0..2 {
        let unknown = denied(envoy.check("GET", &student("ada"), &token, &[]).await);
        assert_eq!((unknown.0, &unknown.1["title"]), (403, &json!("ROUTE_UNKNOWN")));
        assert_eq!(denied(envoy.check("GET", &student("ada"), "", &[]).await).0, 401);
        assert_eq!(denied(envoy.check("GET", "/a//b", &token, &[]).await).0, 400);

        add_routes(&rules);
        service.reload().await;
        passed(envoy.check("GET", &student("ada"), &token, &[]).await);
        assert_eq!(denied(envoy.check("GET", &student("fay"), &token, &[]).await).0, 403);

        // And they may go again.
        fs::write(rules.join("realm.toml"), &without).unwrap();
        service.reload().await;
    }
    assert_eq!(service.decisions_after(0).await.len(), 10, "every answer is on record");
}

#[tokio::test]
async fn a_gateway_that_is_not_known_hears_the_same_of_everything() {
    let mut home = Home::new();
    let rules = json!(home.rules);
    home.tables = format!(
        "[authentication]\nrequired = true\n{}[realms.south]\nfolder = {rules}\n",
        caller_with_key("gateway", "\"enforcer\"", "")
    );
    let service = home.start().await;
    let good = home.token("SISVendor", &[101]);
    let strange = home.token_with("SISVendor", &[101], &json!({ "iss": "https://elsewhere.example" }));
    let mut envoy = Asking::of(&service).await;
    let mut bodies = BTreeSet::new();
    for (path, token, extensions) in [
        ("/a", good.as_str(), &[][..]),
        ("/a", &strange, &[]),
        ("/a", "", &[]),
        ("/a//b", &good, &[]),
        ("/a", &good, &[("realm", REALM)]),
        ("/a", &good, &[("realm", "nowhere")]),
        ("/a", &good, &[("action", "Read")]),
    ] {
        let mut response = envoy.check("GET", path, token, extensions).await;
        assert_eq!(failed(response.clone()), 503, "{path} {extensions:?}");
        let Some(HttpResponse::ErrorResponse(told)) = response.http_response.take() else { panic!("{response:?}") };
        let mut body: Json = serde_json::from_str(&told.body).unwrap();
        body.as_object_mut().unwrap().remove("correlationId");
        bodies.insert(body.to_string());
    }
    assert_eq!(bodies.len(), 1, "{bodies:#?}");
}

#[tokio::test]
async fn health_and_reflection_know_the_service() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };

    let home = Home::new();
    let service = home.start().await;
    assert_eq!(service.health_of(SERVICE).await, ServingStatus::Serving);
    let channel = Channel::from_shared(format!("http://{}", service.address)).unwrap().connect().await.unwrap();
    let mut client = ServerReflectionClient::new(channel);
    let asked = [MessageRequest::ListServices(String::new()), MessageRequest::FileContainingSymbol(SERVICE.to_owned())];
    let asked = asked.map(|asked| ServerReflectionRequest { message_request: Some(asked), ..Default::default() });
    let mut answers = client.server_reflection_info(tokio_stream::iter(asked)).await.unwrap().into_inner();
    let mut next = async || answers.message().await.unwrap().unwrap().message_response.unwrap();
    match next().await {
        MessageResponse::ListServicesResponse(listed) => {
            assert!(listed.service.iter().any(|listed| listed.name == SERVICE), "{listed:?}");
        }
        other => panic!("{other:?}"),
    }
    let files = match next().await {
        MessageResponse::FileDescriptorResponse(found) => found.file_descriptor_proto,
        other => panic!("{other:?}"),
    };
    let files = files.iter().map(|bytes| FileDescriptorProto::decode(&**bytes).unwrap());
    let methods = files.flat_map(|file| file.service).flat_map(|service| service.method);
    assert_eq!(methods.map(|method| method.name().to_owned()).collect::<Vec<_>>(), ["Check"]);
}

#[test]
fn settings_of_envoy_that_cannot_be_meant_are_faults() {
    let mut home = Home::new();
    home.tables.push_str("[envoy]\nrealm = \"Ed-Fi\"\nstrip_headers = [\"X-A\", \"\"]\ndry_rum = true\n");
    let stderr = home.start_in_vain().stderr;
    for expected in ["`envoy.realm`", "`X-A` is no beginning", "`` is no beginning", "`envoy.dry_rum`"] {
        assert!(stderr.contains(expected), "{expected}:\n{stderr}");
    }
    let mut home = Home::new();
    home.tables.push_str("[envoy]\nrealm = \"nowhere\"\n");
    assert!(home.start_in_vain().stderr.contains("`envoy.realm` is `nowhere`"));
}

/// The service behind a real Envoy; nothing where there is none.
async fn behind_envoy() -> Option<(Home, Service, Envoy, String)> {
    let binary = proxy::found()?;
    let home = home();
    let service = home.start().await;
    enrol(&service).await;
    let envoy = Envoy::start(&binary, &home.path(""), proxy::start_api(), &service.address);
    let bearer = format!("Bearer {}", home.token("SISVendor", &[101]));
    Some((home, service, envoy, bearer))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn envoy_lets_through_what_is_allowed_and_answers_the_rest_in_the_realms_words() {
    let Some((_home, service, envoy, bearer)) = behind_envoy().await else { return };
    let token = ("authorization", bearer.as_str());
    let spoofed = [token, ("x-authz-subject", "admin"), ("x-authz-decision-id", "1"), ("x-authz-obligations", "[]")];
    let answer = envoy.get(&format!("{STUDENTS}/ada"), &spoofed);
    assert_eq!(answer.status, 200, "{answer:?}");
    let reached = answer.body.to_ascii_lowercase();
    assert!(reached.contains("x-authz-subject: sisvendor%20of%20101\r\n"), "{reached}");
    assert!(!reached.contains("admin") && !reached.contains("x-authz-obligations"), "{reached}");
    assert_eq!(reached.matches("x-authz-decision-id:").count(), 1, "{reached}");

    let answer = envoy.get(&format!("{STUDENTS}/fay"), &[token]);
    assert_eq!(answer.status, 403, "{answer:?}");
    assert!(answer.head.contains("content-type: application/problem+json"), "{}", answer.head);
    assert!(answer.head.contains("cache-control: no-store"), "{}", answer.head);
    assert!(answer.body.contains("urn:ed-fi:"), "{}", answer.body);
    let answer = envoy.get(&format!("{STUDENTS}/ada"), &[]);
    assert!(answer.status == 401 && answer.head.contains("www-authenticate: "), "{answer:?}");
    assert_eq!(envoy.get("/data/v3/reports/ada", &[token]).status, 200);
    assert_eq!(envoy.get("/data/v3/reports/fay", &[token]).status, 403);
    assert!(!envoy.get("/health", &[]).body.is_empty(), "the only path that is not asked about");
    assert!(service.decisions_after(0).await.len() >= 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_reaches_the_api_by_a_path_or_a_token_that_could_be_read_otherwise() {
    let Some((_home, _service, envoy, bearer)) = behind_envoy().await else { return };
    let token = ("authorization", bearer.as_str());
    for target in [
        "/data/v3/ed-fi//students/ada",
        "/data/v3/ed-fi/students/ada%2ffay",
        "/data/v3/ed-fi/students/ada%5cfay",
        "/data/v3/ed-fi/students/ada%00",
        "/data/v3/ed-fi/students/ada%3fx=1",
        "/data/v3/ed-fi/students/ada%23x",
        "/data/v3/ed-fi/students/a%252fda",
        "/data/v3/ed-fi/students/ada%253fx=1",
        "/data/v3/ed-fi/students/.%25./ada",
        "/data/v3/ed-fi/students/ada;x=1",
        "/data/v3/ed-fi/students/x/a%2e%2e/ada",
        "/data/v3/ed-fi/schools/%2e%2e/students/fay",
        "/data/v3/ed-fi/schools/../students/fay",
        "/data/v3/ed-fi/schools\\..\\students\\fay",
        "/data/v3/ed-fi/students/ada/",
        "/DATA/v3/ed-fi/students/ada",
        "/health/../data/v3/ed-fi/students/fay",
        "/data/v3/ed-fi/students/ada?access_token=x",
        "/data/v3/ed-fi/students?studentUniqueId=ada&studentuniqueid=fay",
    ] {
        let answer = envoy.get(target, &[token]);
        assert!([400, 403].contains(&answer.status), "{target}: {answer:?}");
    }
    // Of a path that Envoy makes plain, the plain one is asked about, and goes to the API.
    let answer = envoy.get("/data/v3/ed-fi/schools/../students/ada", &[token]);
    assert!(answer.status == 200 && answer.body.starts_with("GET /data/v3/ed-fi/students/ada "), "{answer:?}");
    for headers in [
        [token, token],
        [token, ("authorization", "Bearer other")],
        [token, ("x-http-method-override", "DELETE")],
        [token, ("x-original-url", "/data/v3/ed-fi/students/fay")],
        [token, ("x_authz_subject", "admin")],
    ] {
        let answer = envoy.get(&format!("{STUDENTS}/ada"), &headers);
        assert_eq!(answer.status, 400, "{headers:?}: {answer:?}");
    }
    assert_eq!(envoy.ask("PATCH", &format!("{STUDENTS}/ada"), &[token]).status, 403);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_decided_in_time_or_at_all_does_not_pass() {
    let Some((mut home, mut service, mut envoy, bearer)) = behind_envoy().await else { return };
    let token = ("authorization", bearer.as_str());
    let target = format!("{STUDENTS}/ada");
    let asked = || proxy::request("GET", &target, &[token]);
    assert_eq!(envoy.get(&target, &[token]).status, 200);
    service.signal("STOP");
    let held = envoy.get(&target, &[token]);
    service.signal("CONT");
    assert_eq!((held.status, held.body.as_str()), (503, ""), "a service that hangs");
    envoy.until(200, asked);
    service.kill();
    let down = envoy.get(&target, &[token]);
    assert_eq!((down.status, down.body.as_str()), (503, ""), "a service that is down");
    home.address.clone_from(&service.address);
    let _service = home.start().await;
    envoy.until(200, asked);
}
