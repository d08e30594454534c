//! Metrics and probes of a running service: every name that is promised, and nothing that a request brought.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use hallpass::proto::v1 as pb;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};

use crate::support::{Home, ISSUER, REALM, Service, eventually, reading_student};

/// Every metric that is promised, with its kind and its labels; those that only show under other circumstances are below.
const PROMISED: &[(&str, &str, &[&str])] = &[
    ("authz_decisions_total", "counter", &["adapter", "decision", "realm", "reason"]),
    ("authz_decision_duration_seconds", "histogram", &["adapter", "realm"]),
    ("authz_token_validation_failures_total", "counter", &["issuer", "reason"]),
    ("authz_jwks_refresh_total", "counter", &["issuer", "outcome"]),
    ("authz_jwks_age_seconds", "gauge", &["issuer"]),
    ("authz_cache_hits_total", "counter", &["cache"]),
    ("authz_cache_misses_total", "counter", &["cache"]),
    ("authz_policy_version_info", "gauge", &["realm", "version"]),
    ("authz_policy_load_failures_total", "counter", &["realm"]),
    ("authz_policy_loaded_timestamp_seconds", "gauge", &["realm"]),
    ("authz_policy_reload_refused", "gauge", &["realm"]),
    ("authz_policy_reloads_total", "counter", &["realm", "result"]),
    ("authz_policy_rolled_back", "gauge", &["realm"]),
    ("authz_audit_checkpoint_failures_total", "counter", &["realm"]),
    ("authz_audit_dropped_total", "counter", &["realm"]),
    ("authz_audit_entries_total", "counter", &["realm"]),
    ("authz_audit_gaps_total", "counter", &["realm"]),
    ("authz_audit_last_flush_timestamp_seconds", "gauge", &["realm"]),
    ("authz_audit_queue_depth", "gauge", &["realm"]),
    ("authz_audit_refusals_left_out_total", "counter", &["realm"]),
    ("authz_audit_signable", "gauge", &["realm"]),
    ("authz_audit_undamaged", "gauge", &["realm"]),
    ("authz_audit_unsigned_entries", "gauge", &["realm"]),
    ("authz_audit_writable", "gauge", &["realm"]),
    ("authz_callers_refused_total", "counter", &["caller", "reason"]),
    ("authz_connections", "gauge", &["listener"]),
    ("authz_gathered_bytes", "gauge", &[]),
    ("authz_queue_wait_seconds", "gauge", &[]),
    ("authz_requests_in_work", "gauge", &[]),
    ("authz_requests_limited_total", "counter", &["caller"]),
    (
        "http_server_request_duration_seconds",
        "histogram",
        &["http_request_method", "http_response_status_code", "http_route"],
    ),
    ("process_cpu_seconds_total", "counter", &[]),
    ("process_max_fds", "gauge", &[]),
    ("process_open_fds", "gauge", &[]),
    ("process_resident_memory_bytes", "gauge", &[]),
    ("process_start_time_seconds", "gauge", &[]),
    ("process_threads", "gauge", &[]),
    ("process_virtual_memory_bytes", "gauge", &[]),
    ("rpc_server_call_duration_seconds", "histogram", &["rpc_method", "rpc_status_code"]),
];

/// Metrics that need an issuer of opaque tokens, TLS, a witness, a shadow, a collector of traces or too many requests to show.
const ELSEWHERE: &[&str] = &[
    "authz_introspection_duration_seconds",
    "authz_requests_shed_total",
    "authz_shadow_compared_total",
    "authz_shadow_not_compared_total",
    "authz_trace_spans_dropped_total",
    "authz_tls_certificate_expiry_timestamp_seconds",
    "authz_tls_handshake_failures_total",
    "authz_tls_reload_failures_total",
    "authz_tls_revocation_list_expiry_timestamp_seconds",
    "authz_audit_witness_failures_total",
    "authz_audit_witness_lag_entries",
];

/// What requests of this test bring along and no metric may tell.
const CANARIES: &[&str] = &["604822", "255901", "canary", "SISVendor", "eyJ", "hidden-by"];

/// The metrics of a text: the kind and the names of the labels of each.
fn metrics_of(text: &str) -> BTreeMap<String, (String, BTreeSet<String>)> {
    let mut found: BTreeMap<String, (String, BTreeSet<String>)> = BTreeMap::new();
    for line in text.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.insert(name.to_owned(), (kind.to_owned(), BTreeSet::new()));
        } else if !line.starts_with('#') {
            let (name, rest) = line.split_once(['{', ' ']).unwrap();
            let labels = if line.contains('{') { rest.rsplit_once('}').unwrap().0 } else { "" };
            let of_histogram = ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| name.strip_suffix(ending));
            let family = of_histogram.filter(|family| found.contains_key(*family)).unwrap_or(name);
            let (_, names) = found.get_mut(family).unwrap_or_else(|| panic!("{line} is of no metric"));
            let label_names = labels.split("\",").filter(|label| !label.is_empty());
            names.extend(
                label_names.map(|label| label.split('=').next().unwrap().to_owned()).filter(|name| name != "le"),
            );
        }
    }
    found
}

async fn get(url: &str) -> (u16, String) {
    let answer = reqwest::get(url).await.unwrap();
    (answer.status().as_u16(), answer.text().await.unwrap())
}

/// Questions of all sorts: allowed, denied, not understood, with tokens that are no good.
async fn ask_around(home: &Home, service: &Service) {
    let token = home.token("SISVendor", &[255_901]);
    let mut client = service.authorization();
    for token in [&token, &token, "eyJhbGciOiJub25lIn0.e30.", "canary-token", &format!("{token}x")] {
        let mut question = reading_student(token, "604822");
        "canary-request".clone_into(&mut question.request_id);
        "canary-purpose".clone_into(&mut question.purpose);
        client.authorize(question).await.unwrap();
    }
    let unknown = pb::AuthorizeRequest { action: "canary-action".to_owned(), ..reading_student(&token, "604822") };
    client.authorize(unknown).await.unwrap_err();
    let nowhere = pb::AuthorizeRequest { realm: "canary-realm".to_owned(), ..reading_student(&token, "604822") };
    client.authorize(nowhere).await.unwrap_err();
    let mut stranger = tonic::Request::new(reading_student(&token, "604822"));
    stranger.metadata_mut().insert("authorization", "Bearer canary-key".parse().unwrap());
    client.authorize(stranger).await.unwrap_err();
}

/// What the tables of a page say in the first two cells of their rows, without the marks of code.
fn rows(page: &str) -> Vec<(String, String)> {
    let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap();
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('|'));
    let plain = |cell: &str| cell.replace(['`', ' '], "");
    cells.map(|(names, rest)| (plain(names), plain(rest.split('|').next().unwrap_or_default()))).collect()
}

#[test]
fn the_pages_name_every_metric_with_its_labels_and_no_other() {
    // The rows of alerts hold whole expressions.
    let is_name = |name: &&str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    let (of_all, of_logs) = (rows("docs/metrics.md"), rows("docs/decision-log.md"));
    let mut named = BTreeMap::new();
    for (names, labels) in &of_all {
        let labels: BTreeSet<_> = labels.split(',').filter(|label| !label.is_empty()).collect();
        named.extend(names.split(',').filter(is_name).map(|name| (name, labels.clone())));
    }
    let of_logs = of_logs.iter().map(|(name, _)| name.as_str()).filter(|name| name.starts_with("authz_audit_"));
    named.extend(of_logs.map(|name| (name, BTreeSet::from(["realm"]))));
    for (name, _, labels) in PROMISED {
        let expected: BTreeSet<_> = labels.iter().copied().collect();
        assert_eq!(named.get(name), Some(&expected), "{name}");
    }
    let promised: BTreeSet<_> = PROMISED.iter().map(|(name, ..)| *name).chain(ELSEWHERE.iter().copied()).collect();
    assert_eq!(named.into_keys().collect::<BTreeSet<_>>(), promised);
}

#[tokio::test]
async fn every_metric_that_is_promised_is_there_and_none_tells_what_a_request_brought() {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    home.realm_keys.push_str("requests_per_second = 7\n");
    let service = home.start().await;
    ask_around(&home, &service).await;
    let url = format!("{}/metrics", service.http.clone().unwrap());
    let mut limited = service.authorization();
    for _ in 0..300 {
        // Until the realm has no more for this second.
        if limited.authorize(reading_student(&home.token("SISVendor", &[]), "604822")).await.is_err() {
            break;
        }
    }
    // This one is counted when it has been answered.
    assert_eq!(get(&url).await.0, 200);
    let (status, text) = get(&url).await;
    assert_eq!(status, 200);
    let found = metrics_of(&text);
    for (name, kind, labels) in PROMISED {
        let (found_kind, found_labels) = found.get(*name).unwrap_or_else(|| panic!("{name} is not in\n{text}"));
        let found_labels: Vec<_> = found_labels.iter().map(String::as_str).collect();
        assert_eq!((found_kind.as_str(), found_labels.as_slice()), (*kind, *labels), "{name}");
    }
    let promised: BTreeSet<_> = PROMISED.iter().map(|(name, ..)| *name).chain(ELSEWHERE.iter().copied()).collect();
    let others: Vec<_> = found.keys().filter(|name| !promised.contains(name.as_str())).collect();
    assert!(others.is_empty(), "nobody promises {others:?}");
    for canary in CANARIES {
        assert!(!text.contains(canary), "`{canary}` is in\n{text}");
    }
    let whole = "authz_decision_duration_seconds_bucket{le=\"+Inf\",realm=\"edfi\",adapter=\"grpc\"} ";
    assert!(text.lines().any(|line| line.starts_with(whole)), "{whole} is not in\n{text}");
    for line in [
        "authz_token_validation_failures_total{issuer=\"OTHER\",reason=\"TOKEN_FORMAT\"}".to_owned(),
        format!("authz_jwks_refresh_total{{issuer=\"{ISSUER}\",outcome=\"changed\"}} 1"),
        format!("authz_decisions_total{{realm=\"{REALM}\",decision=\"deny\",reason="),
        "rpc_server_call_duration_seconds_count{rpc_method=\"hallpass.v1.AuthorizationService/Authorize\",rpc_status_code=\"OK\"}"
            .to_owned(),
        "authz_callers_refused_total{caller=\"OTHER\",reason=\"CALLER_KEY_UNKNOWN\"} 1".to_owned(),
        "authz_requests_in_work 0".to_owned(),
        "authz_connections{listener=\"grpc\"} 1".to_owned(),
        "authz_connections{listener=\"http\"} 1".to_owned(),
    ] {
        assert!(text.lines().any(|found| found.starts_with(&line)), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn requests_over_http_are_counted_by_their_routes_and_none_tells_what_it_brought() {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    let service = home.start().await;
    let (client, http) = (reqwest::Client::new(), service.http.clone().unwrap());
    let token = home.token("SISVendor", &[255_901]);
    let resource = json!({ "type": "ed-fi/students", "id": "604822", "attributes": { "studentUniqueId": "604822" } });
    let question = json!({ "realm": REALM, "token": token, "action": "Read", "resource": resource }).to_string();
    let canary = json!({ "canary": "canary" }).to_string();
    for (method, path, body, counted) in [
        ("POST", "/v1/Authorize", &question, "POST /v1/Authorize 200"),
        ("POST", "/v1/Authorize?canary=604822", &canary, "POST /v1/Authorize 400"),
        ("POST", "/v1/Canary", &question, "POST /v1/{rpc} 404"),
        ("GET", "/canary-realm", &canary, "GET /{realm} 404"),
        ("POST", "/canary-realm/access/v1/evaluation", &canary, "POST /{realm}/access/v1/evaluation 404"),
        ("POST", "/canary/canary/canary", &canary, "POST _OTHER 404"),
        ("CANARY", "/v1/Authorize", &canary, "_OTHER /v1/Authorize 405"),
    ] {
        let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{http}{path}"));
        let request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        let answer = request.send().await.unwrap();
        let (counted, status) = counted.rsplit_once(' ').unwrap();
        assert_eq!(answer.status().as_str(), status, "{method} {path}");
        answer.bytes().await.unwrap();
        let (method, route) = counted.split_once(' ').unwrap();
        let line = format!(
            "http_server_request_duration_seconds_count{{http_request_method=\"{method}\",http_route=\"{route}\",\
             http_response_status_code=\"{status}\"}} 1"
        );
        let is_there = async || get(&format!("{http}/metrics")).await.1.lines().any(|found| found == line);
        eventually(&line, is_there).await;
    }
    let (_, text) = get(&format!("{http}/metrics")).await;
    for canary in CANARIES {
        assert!(!text.to_lowercase().contains(&canary.to_lowercase()), "`{canary}` is in\n{text}");
    }
}

#[tokio::test]
async fn the_text_format_is_given_to_who_does_not_ask_for_open_metrics() {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    let service = home.start().await;
    let url = format!("{}/metrics", service.http.clone().unwrap());
    let client = reqwest::Client::new();
    let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                      text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
    for (accept, expected, is_open) in [
        (Some(prometheus), "application/openmetrics-text; version=1.0.0; charset=utf-8", true),
        (Some("text/plain"), "text/plain; version=0.0.4; charset=utf-8", false),
        (None, "text/plain; version=0.0.4; charset=utf-8", false),
    ] {
        let request = client.get(&url);
        let answer =
            accept.map_or(request.try_clone().unwrap(), |accept| request.header(ACCEPT, accept)).send().await.unwrap();
        assert_eq!(answer.headers()["content-type"], expected);
        let text = answer.text().await.unwrap();
        assert_eq!(text.ends_with("# EOF\n"), is_open, "{text}");
        let counter = if is_open { "# TYPE authz_audit_gaps counter" } else { "# TYPE authz_audit_gaps_total counter" };
        assert!(text.lines().any(|line| line == counter), "{text}");
    }
}

#[tokio::test]
async fn probes_and_metrics_have_a_listener_of_their_own() {
    let mut home = Home::new();
    home.keys.push_str("ops_address = \"127.0.0.1:0\"\n");
    let service = home.start().await;
    let ops = service.monitored.clone().unwrap();
    assert_eq!(service.http, None);
    let (status, text) = get(&format!("{ops}/livez")).await;
    assert_eq!((status, serde_json::from_str::<Value>(&text).unwrap()), (200, json!({ "status": "alive" })));
    let (status, text) = get(&format!("{ops}/readyz")).await;
    let ready: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((status, ready), (200, json!({ "status": "serving", "reasons": [] })));
    assert!(get(&format!("{ops}/metrics")).await.1.contains("authz_requests_in_work"));
    for path in ["", "/edfi", "/oauth/token", "/v1/Authorize", "/edfi/access/v1/evaluation"] {
        assert_eq!(get(&format!("{ops}{path}")).await.0, 404, "{path}");
    }
}

#[tokio::test]
async fn an_issuer_that_fails_is_told_and_keeps_nobody_from_asking() {
    let mut home = Home::new();
    home.keys.push_str("ops_address = \"127.0.0.1:0\"\n");
    // Nobody listens on port 1.
    home.issuer = "keys = { url = \"https://127.0.0.1:1/keys\" }\nprivate_addresses = true\n".to_owned();
    let service = home.start().await;
    let ops = service.monitored.clone().unwrap();
    let told = || async { get(&format!("{ops}/readyz")).await.1.contains("ISSUER_FAILING") };
    eventually("the failing issuer is told", told).await;
    let (status, text) = get(&format!("{ops}/readyz")).await;
    assert_eq!((status, text.contains("\"serving\"")), (200, true), "{text}");
    let answer = service.authorization().authorize(reading_student(&home.token("SISVendor", &[]), "1")).await;
    assert_eq!(answer.unwrap_err().code(), tonic::Code::Unavailable);
}
