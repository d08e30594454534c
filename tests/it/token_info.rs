//! `POST /oauth/token_info` over real HTTP: what is told, what is refused and in which words, and the limits.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hallpass::config::Config;
use hallpass::server;
use hallpass::transport::http::{Limits, routes, serve};
use hallpass::transport::listener::{self, Acceptor, Security};
use reqwest::header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, WWW_AUTHENTICATE};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value as Json, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::support::{Home, Service};

pub(crate) const JSON: &str = "application/json";
pub(crate) const FORM: &str = "application/x-www-form-urlencoded";

/// A service that speaks HTTP too.
pub(crate) fn home() -> Home {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"");
    home
}

pub(crate) fn client() -> Client {
    Client::builder().no_proxy().build().unwrap()
}

/// A request to the path with a token.
fn request(service: &Service, path: &str, token: &str) -> RequestBuilder {
    let url = format!("{}{path}", service.http.as_ref().unwrap());
    client().post(url).header(AUTHORIZATION, format!("Bearer {token}"))
}

/// Asks about a token as a good client does.
pub(crate) async fn told(service: &Service, token: &str) -> Json {
    let body = json!({ "token": token }).to_string();
    let response =
        request(service, "/oauth/token_info", token).header(CONTENT_TYPE, JSON).body(body).send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    json_of(response).await
}

pub(crate) async fn json_of(response: Response) -> Json {
    serde_json::from_slice(&response.bytes().await.unwrap()).unwrap()
}

/// Takes in the example district.
pub(crate) async fn import_district(service: &Service) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/district");
    for resource in [
        "stateEducationAgencies",
        "educationServiceCenters",
        "localEducationAgencies",
        "schools",
        "organizationDepartments",
        "communityOrganizations",
        "communityProviders",
    ] {
        let text = std::fs::read_to_string(folder.join(format!("{resource}.ndjson"))).unwrap();
        let records: Vec<String> = text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect();
        service.import(resource, &records).await;
    }
}

#[tokio::test]
async fn a_district_is_told_its_organizations_and_what_its_claim_set_grants() {
    let home = home();
    let service = home.start().await;
    import_district(&service).await;
    let token = home.token("SISVendor", &[10]);
    for path in ["/oauth/token_info", "/edfi/oauth/token_info"] {
        let form: String = format!("Token={token}");
        for (content_type, body) in [(JSON, json!({ "TOKEN": token }).to_string()), (FORM, form)] {
            let sent = request(&service, path, &token).header(CONTENT_TYPE, content_type).body(body).send();
            let response = sent.await.unwrap();
            assert_eq!(response.status(), StatusCode::OK, "{path} {content_type}");
            assert_eq!(response.headers()[CACHE_CONTROL], "no-cache");
            assert_eq!(response.headers()[CONTENT_TYPE], "application/json; charset=utf-8");
            let mut info = json_of(response).await;
            let resources = info["resources"].take();
            let resources = resources.as_array().unwrap();
            assert!(resources.len() > 100 && resources.is_sorted_by_key(|entry| entry["resource"].as_str().unwrap()));
            let students =
                json!({ "resource": "/ed-fi/students", "operations": ["Create", "Delete", "Read", "Update"] });
            assert!(resources.contains(&students));
            let expected = json!({
                "active": true,
                "client_id": "SISVendor of 10",
                "namespace_prefixes": ["uri://ed-fi.org"],
                "education_organizations": [
                    {
                        "education_organization_id": 10,
                        "name_of_institution": "Maple Ridge School District",
                        "type": "edfi.LocalEducationAgency",
                        "education_service_center_id": 5,
                        "local_education_agency_id": 10,
                        "state_education_agency_id": 1,
                    },
                    {
                        "education_organization_id": 11,
                        "name_of_institution": "Maple Ridge Transportation",
                        "type": "edfi.OrganizationDepartment",
                        "education_service_center_id": 5,
                        "local_education_agency_id": 10,
                        "organization_department_id": 11,
                        "state_education_agency_id": 1,
                    },
                    {
                        "education_organization_id": 101,
                        "name_of_institution": "Maple Ridge Elementary School",
                        "type": "edfi.School",
                        "education_service_center_id": 5,
                        "local_education_agency_id": 10,
                        "school_id": 101,
                        "state_education_agency_id": 1,
                    },
                    {
                        "education_organization_id": 102,
                        "name_of_institution": "Maple Ridge High School",
                        "type": "edfi.School",
                        "education_service_center_id": 5,
                        "local_education_agency_id": 10,
                        "school_id": 102,
                        "state_education_agency_id": 1,
                    },
                ],
                "assigned_profiles": [],
                "claim_set": { "name": "SISVendor" },
                "resources": null,
                "services": [],
            });
            assert_eq!(info, expected);
        }
    }
}

#[tokio::test]
async fn a_client_without_known_organizations_is_told_of_none() {
    let home = home();
    let service = home.start().await;
    import_district(&service).await;
    for organizations in [&[][..], &[777]] {
        let info = told(&service, &home.token("SISVendor", organizations)).await;
        assert_eq!(info["education_organizations"], json!([]));
        assert_eq!(info["claim_set"], json!({ "name": "SISVendor" }));
    }
    // Overlapping ones are told once, in the order of their numbers.
    let info = told(&service, &home.token("SISVendor", &[102, 20, 1, 101])).await;
    let ids: Vec<_> = info["education_organizations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|organization| organization["education_organization_id"].as_i64().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b) && ids.contains(&1) && ids.contains(&201), "{ids:?}");
}

#[tokio::test]
async fn services_are_told_by_what_remains_of_their_claims() {
    let home = home();
    let service = home.start().await;
    let info = told(&service, &home.token("EdFiSandbox", &[])).await;
    assert_eq!(info["services"], json!([{ "service": "identity", "operations": ["Create", "Read", "Update"] }]));
}

#[tokio::test]
async fn a_state_of_thousands_is_told_completely_and_in_order() {
    let home = home();
    let service = home.start().await;
    let (districts, schools) = (30_i64, 60_i64);
    service
        .import(
            "stateEducationAgencies",
            &[json!({ "stateEducationAgencyId": 1, "nameOfInstitution": "S" }).to_string()],
        )
        .await;
    let district = |id: i64| {
        let parent = json!({ "stateEducationAgencyId": 1 });
        json!({ "localEducationAgencyId": id, "nameOfInstitution": "D", "stateEducationAgencyReference": parent })
    };
    let ids = || (1..=districts).map(|number| number * 1_000);
    service.import("localEducationAgencies", &ids().map(|id| district(id).to_string()).collect::<Vec<_>>()).await;
    let school = |district: i64, number: i64| {
        let parent = json!({ "localEducationAgencyId": district });
        json!({ "schoolId": district + number, "nameOfInstitution": "\"ß\"", "localEducationAgencyReference": parent })
    };
    let all = ids().flat_map(|id| (1..=schools).map(move |number| (id, number)));
    service.import("schools", &all.map(|(id, number)| school(id, number).to_string()).collect::<Vec<_>>()).await;
    let info = told(&service, &home.token("SISVendor", &[1])).await;
    let told = info["education_organizations"].as_array().unwrap();
    assert_eq!(told.len(), usize::try_from(1 + districts + districts * schools).unwrap());
    assert!(told.is_sorted_by_key(|organization| organization["education_organization_id"].as_i64()));
    for organization in &told[1..] {
        let id = organization["education_organization_id"].as_i64().unwrap();
        let district = id - id % 1_000;
        let expected = if id == district {
            json!({ "education_organization_id": id, "name_of_institution": "D", "type": "edfi.LocalEducationAgency",
                    "local_education_agency_id": id, "state_education_agency_id": 1 })
        } else {
            json!({ "education_organization_id": id, "name_of_institution": "\"ß\"", "type": "edfi.School", "school_id": id,
                    "local_education_agency_id": district, "state_education_agency_id": 1 })
        };
        assert_eq!(*organization, expected);
    }
}

/// What came back: the status, the challenge if there is one, and the problem without its correlation id.
async fn refusal(response: Response) -> (u16, Option<String>, Json) {
    let status = response.status().as_u16();
    let header = |headers: &HeaderMap, name| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let challenge = header(response.headers(), WWW_AUTHENTICATE);
    assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let mut problem = json_of(response).await;
    let correlation = problem.as_object_mut().unwrap().remove("correlationId").unwrap();
    assert!(!correlation.as_str().unwrap().is_empty());
    (status, challenge, problem)
}

fn unauthenticated(error: &str) -> Json {
    json!({
        "type": "urn:ed-fi:api:security:authentication",
        "title": "Authentication Failed",
        "detail": "The caller could not be authenticated.",
        "status": 401,
        "errors": [error],
    })
}

fn bad_token(error: &str) -> Json {
    json!({
        "type": "urn:ed-fi:api:bad-request",
        "title": "Bad Request",
        "detail": "An invalid token was provided",
        "status": 400,
        "errors": [error],
        "validationErrors": {},
    })
}

const UNREADABLE: &str = "The token was not present, or was not processable.";
const DIFFERS: &str = "The Authorization header token does not match the token in the request body.";

#[tokio::test]
async fn every_refusal_is_in_the_words_of_the_data_management_service() {
    let home = home();
    let service = home.start().await;
    let (token, other) = (home.token("SISVendor", &[10]), home.token("SISVendor", &[20]));
    let bearer = format!("Bearer {token}");
    let good = json!({ "token": token }).to_string();
    let unknown = home.token("Nobody's", &[10]);
    let cases = [
        (None, JSON, good.clone(), Some("Bearer"), unauthenticated("Authorization header is missing.")),
        (
            Some("Basic YTpi"),
            JSON,
            good.clone(),
            Some(INVALID),
            unauthenticated("Unknown Authorization header scheme."),
        ),
        (
            Some("Bearer"),
            JSON,
            good.clone(),
            Some(INVALID),
            unauthenticated("Missing Authorization header bearer token value."),
        ),
        (Some("Bearer a b"), JSON, good.clone(), Some(INVALID), unauthenticated("Invalid Authorization header.")),
        (Some("Bearer nonsense"), JSON, good.clone(), Some(INVALID), unauthenticated("Invalid token")),
        (
            Some("Bearer nonsense"),
            JSON,
            json!({ "token": "nonsense" }).to_string(),
            Some(INVALID),
            unauthenticated("Invalid token"),
        ),
        (Some(&bearer), JSON, String::new(), None, bad_token(UNREADABLE)),
        (Some(&bearer), JSON, "{".to_owned(), None, bad_token(UNREADABLE)),
        (Some(&bearer), JSON, json!({ "token": 7 }).to_string(), None, bad_token(UNREADABLE)),
        (Some(&bearer), JSON, json!({ "tokens": token }).to_string(), None, bad_token(UNREADABLE)),
        (Some(&bearer), FORM, "token=".to_owned(), None, bad_token(UNREADABLE)),
        (Some(&bearer), FORM, good.clone(), None, bad_token(UNREADABLE)),
        (Some(&bearer), JSON, json!({ "token": other }).to_string(), None, bad_token(DIFFERS)),
        (Some(&bearer), FORM, format!("token={token}x"), None, bad_token(DIFFERS)),
    ];
    for (header, content_type, body, challenge, expected) in cases {
        let url = format!("{}/oauth/token_info", service.http.as_ref().unwrap());
        let mut asking = client().post(url).header(CONTENT_TYPE, content_type).body(body);
        if let Some(header) = header {
            asking = asking.header(AUTHORIZATION, header);
        }
        let (status, found, problem) = refusal(asking.send().await.unwrap()).await;
        assert_eq!((i64::from(status), found.as_deref()), (expected["status"].as_i64().unwrap(), challenge));
        assert_eq!(problem, expected);
    }
    let asking = request(&service, "/oauth/token_info", &unknown).body(json!({ "token": unknown }).to_string());
    let (status, _, problem) = refusal(asking.send().await.unwrap()).await;
    assert_eq!((status, &problem["type"]), (401, &json!("urn:ed-fi:api:unauthorized")));
    assert_eq!(problem["detail"], "The client's ClaimSet was not found.");
}

#[tokio::test]
async fn the_other_product_is_told_apart_by_a_variant() {
    let mut home = home();
    home.variant = Some("ods");
    let service = home.start().await;
    let token = home.token("SISVendor", &[]);
    let info = told(&service, &token).await;
    assert_eq!(info.get("student_identification_system"), Some(&Json::Null));
    // An unknown claim set is one that grants nothing there.
    let info = told(&service, &home.token("Nobody's", &[10])).await;
    assert_eq!(info["claim_set"], json!({ "name": "Nobody's" }));
    assert_eq!((&info["resources"], &info["services"]), (&json!([]), &json!([])));
    let bare = request(&service, "/oauth/token_info", "nonsense").send().await.unwrap();
    assert_eq!((bare.status(), bare.headers().get(CONTENT_TYPE)), (StatusCode::UNAUTHORIZED, None));
    assert_eq!((bare.headers()[WWW_AUTHENTICATE].to_str().unwrap(), bare.content_length()), (INVALID, Some(0)));
    let unreadable = "The token was not present, or was not processable as a GUID value.";
    let differs = "The authentication token (header) and the token to inspect in the body must match.";
    for (body, detail, error) in [
        (json!({}), "An invalid token was provided", unreadable),
        (json!({ "token": "x" }), "The authentication token and the token to inspect must match.", differs),
    ] {
        let asking = request(&service, "/oauth/token_info", &token).header(CONTENT_TYPE, JSON).body(body.to_string());
        let (status, _, problem) = refusal(asking.send().await.unwrap()).await;
        let expected = json!({
            "type": "urn:ed-fi:api:bad-request",
            "title": "Bad Request",
            "detail": detail,
            "status": status,
            "errors": [error],
        });
        assert_eq!((status, problem), (400, expected));
    }
}

const INVALID: &str = "Bearer error=\"invalid_token\"";

#[tokio::test]
async fn paths_and_methods_that_are_not_there_are_named() {
    let home = home();
    let service = home.start().await;
    let base = service.http.clone().unwrap();
    for (method, path, status, allowed) in [
        (Method::GET, "/oauth/token_info", 405, Some("POST")),
        (Method::PUT, "/edfi/oauth/token_info", 405, Some("POST")),
        (Method::POST, "/", 405, Some("GET, HEAD")),
        (Method::POST, "/nowhere/oauth/token_info", 404, None),
        (Method::GET, "/nowhere", 404, None),
        (Method::GET, "/oauth/tokens", 404, None),
        (Method::POST, "/edfi/oauth/token_info/", 404, None),
    ] {
        let response = client().request(method.clone(), format!("{base}{path}")).send().await.unwrap();
        let found = response.headers().get(ALLOW).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(found.as_deref(), allowed, "{method} {path}");
        let (found, _, problem) = refusal(response).await;
        assert_eq!((found, problem["status"].as_i64()), (status, Some(i64::from(status))), "{method} {path}");
    }
    for (path, tells) in [("/", "/oauth/token_info"), ("/edfi", "/edfi/oauth/token_info")] {
        let document = json_of(client().get(format!("{base}{path}")).send().await.unwrap()).await;
        assert_eq!((&document["applicationName"], &document["urls"]["tokenInfo"]), (&json!("hallpass"), &json!(tells)));
    }
}

#[tokio::test]
async fn a_request_id_comes_back_and_names_the_problem() {
    let home = home();
    let service = home.start().await;
    let asking = request(&service, "/oauth/token_info", "x").header("x-request-id", "request 7");
    let response = asking.send().await.unwrap();
    assert_eq!(response.headers()["x-request-id"], "request 7");
    assert_eq!(json_of(response).await["correlationId"], "request 7");
}

#[tokio::test]
async fn no_token_reaches_the_log() {
    let mut home = home();
    home.tables.push_str("[log]\nlevel = \"trace\"\n");
    let service = home.start().await;
    let (token, secret) = (home.token("SISVendor", &[10]), "c2VjcmV0LXRva2Vu");
    told(&service, &token).await;
    for (header, body) in [(token.as_str(), secret), (secret, token.as_str()), (secret, secret)] {
        let path = format!("/oauth/token_info?token={body}");
        let asking = request(&service, &path, header).body(json!({ "token": body }).to_string());
        assert!(asking.send().await.unwrap().status().is_client_error());
    }
    let log = service.stderr();
    assert!(log.contains("TOKEN_INFO_MISMATCH"), "refusals are told:\n{log}");
    let signature = token.rsplit('.').next().unwrap();
    for part in [&token, secret, signature, "SISVendor of 10"] {
        assert!(!log.contains(part), "{part} in\n{log}");
    }
}

/// A listener within this process, with the limits of a test. Ends with the value.
struct Listener {
    address: SocketAddr,
    token: String,
    _stop: tokio_util::sync::DropGuard,
    _home: Home,
}

impl Listener {
    async fn start(limits: Limits) -> Self {
        let home = home();
        let service = server::Service::open(&home.config()).await.unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, stop) = (listener.local_addr().unwrap(), CancellationToken::new());
        let routes = routes(Arc::clone(service.app()), limits, "http://127.0.0.1").unwrap();
        let places = listener::Limits { connections_max: limits.connections_max, ..listener::Limits::default() };
        let acceptor = Acceptor::start(listener, Security::Plain, places);
        tokio::spawn(serve(acceptor, routes, limits, stop.clone()));
        Self { address, token: home.token("SISVendor", &[10]), _stop: stop.drop_guard(), _home: home }
    }

    /// The head of a request with a body of this length.
    fn head(&self, length: usize) -> String {
        format!(
            "POST /oauth/token_info HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: {JSON}\r\nContent-Length: {length}\r\n\r\n",
            self.token
        )
    }

    /// Sends bytes and reads until the connection ends; gives the first line and how long it took.
    async fn send(&self, bytes: &[u8]) -> (String, Duration) {
        let started = Instant::now();
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        // What is closed while something is still on its way in is reset.
        stream.read_to_end(&mut answer).await.ok();
        let text = String::from_utf8_lossy(&answer);
        (text.lines().next().unwrap_or_default().to_owned(), started.elapsed())
    }
}

#[tokio::test]
async fn what_is_too_long_or_of_another_type_is_refused() {
    let limits = Limits { body_bytes_max: 4_096, ..Limits::default() };
    let listener = Listener::start(limits).await;
    let url = format!("http://{}/oauth/token_info", listener.address);
    for (content_type, length, status) in [
        (JSON, 4_096, StatusCode::BAD_REQUEST),
        (JSON, 4_097, StatusCode::PAYLOAD_TOO_LARGE),
        ("text/plain", 10, StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let asking = client().post(&url).bearer_auth(&listener.token).header(CONTENT_TYPE, content_type);
        assert_eq!(asking.body("x".repeat(length)).send().await.unwrap().status(), status, "{content_type} {length}");
    }
    let long = format!("GET / HTTP/1.1\r\nHost: x\r\nX-Long: {}\r\n\r\n", "x".repeat(limits.header_bytes_max));
    assert_eq!(listener.send(long.as_bytes()).await.0, "HTTP/1.1 431 Request Header Fields Too Large");
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(limits.headers_max + 1));
    assert_eq!(listener.send(many.as_bytes()).await.0, "HTTP/1.1 431 Request Header Fields Too Large");
    assert_eq!(listener.send(b"nonsense\r\n\r\n").await.0, "HTTP/1.1 400 Bad Request");
}

#[tokio::test]
async fn who_is_too_slow_is_not_waited_for() {
    let within = Duration::from_millis(200);
    let limits = Limits { headers_within: within, body_within: within, ..Limits::default() };
    let listener = Listener::start(limits).await;
    let head = listener.head(100);
    let (line, took) = listener.send(format!("{head}{{").as_bytes()).await;
    assert_eq!(line, "HTTP/1.1 408 Request Timeout");
    assert!(took >= within && took < Duration::from_secs(20), "{took:?}");
    let (_, took) = listener.send(b"POST /oauth/token_info HTTP/1.1\r\nHost:").await;
    assert!(took >= within && took < Duration::from_secs(20), "{took:?}");
    // Nor who says nothing at all.
    let (line, took) = listener.send(b"").await;
    assert!(line.is_empty() && took < Duration::from_secs(20), "{line} {took:?}");
}

#[tokio::test]
async fn further_connections_wait_until_there_is_a_place() {
    let listener = Listener::start(Limits { connections_max: 1, ..Limits::default() }).await;
    let first = TcpStream::connect(listener.address).await.unwrap();
    let get = b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let mut second = TcpStream::connect(listener.address).await.unwrap();
    second.write_all(get).await.unwrap();
    let mut byte = [0];
    let waited = tokio::time::timeout(Duration::from_millis(100), second.read_exact(&mut byte)).await;
    assert!(waited.is_err(), "the second connection was served beside the first");
    drop(first);
    second.read_exact(&mut byte).await.unwrap();
    assert_eq!(byte, *b"H");
}

#[tokio::test]
async fn a_stop_lets_requests_in_flight_finish_and_frees_the_port() {
    let home = home();
    let running = server::start(home.config()).await.unwrap();
    let address = running.http_address().unwrap();
    let token = home.token("SISVendor", &[10]);
    let body = json!({ "token": token }).to_string();
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /edfi/oauth/token_info HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nAuthorization: Bearer {token}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    // The service asks for the body: the request is under way.
    let mut line = [0; 25];
    stream.read_exact(&mut line).await.unwrap();
    assert_eq!(line, *b"HTTP/1.1 100 Continue\r\n\r\n");
    let stop = tokio::spawn(running.stop());
    stream.write_all(body.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    stop.await.unwrap().unwrap();
    TcpListener::bind(address).await.unwrap();
}

#[tokio::test]
async fn an_http_port_in_use_is_named_and_nothing_is_changed() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap();
    let mut home = Home::new();
    home.keys = format!("http_address = \"{address}\"");
    let config: Config = home.config();
    let error = format!("{:#}", server::start(config.clone()).await.unwrap_err());
    assert!(error.starts_with(&format!("cannot listen on {address}; ")) && error.contains("--http-address"), "{error}");
    assert!(!config.data_dir.exists());
}
