//! The transport (section 10): what is refused, and how, and where the endpoints are (section 9).

use reqwest::{
    Method, StatusCode,
    header::{ALLOW, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue},
};
use serde_json::json;

use super::library::{Library, Told, question, with};
use crate::{
    introspection::{SILENT, trust},
    support::eventually,
    token_info::{client, home},
};

/// A refusal is one sentence of plain text and holds no decision.
fn check(told: &Told, status: StatusCode) {
    assert_eq!(told.status, status, "{told:?}");
    assert_eq!(told.headers[CONTENT_TYPE], "text/plain; charset=utf-8", "{told:?}");
    assert!(!told.text.is_empty() && !told.text.contains("decision") && !told.text.starts_with('{'), "{told:?}");
}

#[tokio::test]
async fn a_body_that_is_not_what_it_should_be_is_malformed() {
    let library = Library::start().await;
    let good = question("ana", "look", "n-1").to_string();
    let deep = |levels: usize| {
        good.replacen('{', &format!("{{\"x\":{}{},", "[".repeat(levels - 1), "]".repeat(levels - 1)), 1)
    };
    assert!(library.send(library.request("evaluation").body(deep(32))).await.decision());
    for body in [
        String::new(),
        "null".to_owned(),
        format!("[{good}]"),
        good.replace('}', ""),
        good.replacen("\"subject\":", "\"subject\":{},\"subject\":", 1),
        good.replace("\"ana\"", "7"),
        deep(33),
        format!("\u{feff}{good}"),
    ] {
        check(&library.send(library.request("evaluation").body(body)).await, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn a_body_is_json_by_its_own_word() {
    let library = Library::start().await;
    let good = question("ana", "look", "n-1").to_string();
    let url = format!("{}/edfi/access/v1/evaluation", library.service.http.as_ref().unwrap());
    for (given, is_taken) in [
        (Some("application/json"), true),
        (Some("Application/JSON; charset=utf-8"), true),
        (Some("text/plain"), false),
        (Some("application/x-www-form-urlencoded"), false),
        (Some("application/jsonp"), false),
        (None, false),
    ] {
        let request = client().post(&url).body(good.clone());
        let request = given.into_iter().fold(request, |request, given| request.header(CONTENT_TYPE, given));
        let told = library.send(request).await;
        if is_taken {
            assert!(told.decision(), "{given:?}");
        } else {
            check(&told, StatusCode::BAD_REQUEST);
        }
    }
}

#[tokio::test]
async fn a_body_of_a_mebibyte_is_read_and_no_longer_one() {
    let library = Library::start().await;
    let of_length = |length: usize| {
        let good = question("ana", "look", "n-1").to_string();
        let filled = " ".repeat(length - good.len());
        format!("{good}{filled}")
    };
    assert!(library.send(library.request("evaluation").body(of_length(1 << 20))).await.decision());
    check(
        &library.send(library.request("evaluation").body(of_length((1 << 20) + 1))).await,
        StatusCode::PAYLOAD_TOO_LARGE,
    );
}

#[tokio::test]
async fn other_paths_and_methods_are_told_as_such() {
    let library = Library::start().await;
    let asked = question("ana", "look", "n-1").to_string();
    check(&library.send(library.at("/nowhere/access/v1/evaluation").body(asked.clone())).await, StatusCode::NOT_FOUND);
    for path in ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"] {
        let url = format!("{}/edfi/access/v1/{path}", library.service.http.as_ref().unwrap());
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let told = library.send(client().request(method.clone(), &url)).await;
            check(&told, StatusCode::METHOD_NOT_ALLOWED);
            assert_eq!(told.headers[ALLOW], "POST", "{method} {path}");
        }
    }
    // With one realm that takes questions, its name may be left out.
    assert!(library.send(library.at("/access/v1/evaluation").body(asked)).await.decision());
}

#[tokio::test]
async fn a_header_that_is_no_key_is_none_on_this_machine() {
    let library = Library::start().await;
    let asked = question("ana", "look", "n-1").to_string();
    let told = library.send(library.request("evaluation").header(AUTHORIZATION, "undefined").body(asked)).await;
    assert_eq!(told.text, r#"{"decision":true}"#);
}

#[tokio::test]
async fn the_id_of_a_request_comes_back_as_it_came() {
    let library = Library::start().await;
    let long = "long".repeat(60);
    for id in ["7", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716", long.as_str(), "caf\u{e9}"] {
        for body in [question("ana", "look", "n-1").to_string(), "nothing".to_owned()] {
            let told = library
                .send(
                    library
                        .request("evaluation")
                        .header("X-Request-ID", HeaderValue::from_bytes(id.as_bytes()).unwrap())
                        .body(body),
                )
                .await;
            assert_eq!(told.headers["x-request-id"].as_bytes(), id.as_bytes(), "{id}");
        }
    }
    let records = library.records().await;
    let kept: Vec<&str> = records.iter().map(|record| record.request_id.as_str()).filter(|id| !id.is_empty()).collect();
    assert_eq!(kept.len(), 2, "only what is short and printable is kept: {kept:?}");
}

#[tokio::test]
async fn the_metadata_name_the_base_and_all_endpoints() {
    let library = Library::start().await;
    let http = library.service.http.as_ref().unwrap();
    for (path, base) in [("", http.clone()), ("/edfi", format!("{http}/edfi"))] {
        let request = client().get(format!("{http}/.well-known/authzen-configuration{path}"));
        let told = library.send(request.header("Host", "elsewhere.example")).await;
        assert_eq!(told.headers[CACHE_CONTROL], "max-age=300");
        assert_eq!(
            told.json(),
            json!({
                "policy_decision_point": base,
                "access_evaluation_endpoint": format!("{base}/access/v1/evaluation"),
                "access_evaluations_endpoint": format!("{base}/access/v1/evaluations"),
                "search_subject_endpoint": format!("{base}/access/v1/search/subject"),
                "search_resource_endpoint": format!("{base}/access/v1/search/resource"),
                "search_action_endpoint": format!("{base}/access/v1/search/action"),
            })
        );
    }
    check(
        &library.send(client().get(format!("{http}/.well-known/authzen-configuration/nowhere"))).await,
        StatusCode::NOT_FOUND,
    );
}

#[tokio::test]
async fn the_metadata_name_the_place_that_the_deployment_says() {
    let mut home = crate::token_info::home();
    home.keys.push_str("\npublic_url = \"https://pdp.example/authz/\"");
    home.rules = home.path("library");
    super::library::write_realm(&home.rules, "");
    let service = home.start().await;
    let library = Library { home, service };
    // A proxy may take its path away, or hand all of it on.
    for place in ["edfi", "authz/edfi"] {
        let url = format!("{}/.well-known/authzen-configuration/{place}", library.service.http.as_ref().unwrap());
        let told = library.send(client().get(url)).await.json();
        assert_eq!(told["policy_decision_point"], json!("https://pdp.example/authz/edfi"));
    }
}

#[tokio::test]
async fn a_realm_without_the_section_has_no_such_paths() {
    let home = crate::token_info::home();
    let service = home.start().await;
    let library = Library { home, service };
    let asked = question("ana", "look", "n-1").to_string();
    for path in ["/edfi/access/v1/evaluation", "/access/v1/evaluation"] {
        check(&library.send(library.at(path).body(asked.clone())).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn a_log_that_takes_nothing_is_an_error_and_no_decision() {
    let mut home = crate::token_info::home();
    home.rules = home.path("library");
    super::library::write_realm(&home.rules, "");
    let service = hallpass::server::Service::open(&home.config()).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (base, stop) =
        (format!("http://{}", listener.local_addr().unwrap()), tokio_util::sync::CancellationToken::new());
    let limits = hallpass::transport::http::Limits::default();
    let routes = hallpass::transport::http::routes(std::sync::Arc::clone(service.app()), limits, &base).unwrap();
    let places = hallpass::transport::listener::Limits::default();
    let connections = hallpass::transport::listener::Acceptor::start(
        listener,
        hallpass::transport::listener::Security::Plain,
        places,
    );
    tokio::spawn(hallpass::transport::http::serve(connections, routes, limits, stop.clone()));
    service.app().close().await;
    for path in ["evaluation", "evaluations", "search/resource"] {
        let mut asked = question("ana", "look", "n-1");
        if path == "evaluations" {
            asked["evaluations"] = json!([{}, {}]);
        }
        let request = client().post(format!("{base}/edfi/access/v1/{path}")).header(CONTENT_TYPE, "application/json");
        let response = request.body(asked.to_string()).send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        check(&Told { status, headers, text: response.text().await.unwrap() }, StatusCode::SERVICE_UNAVAILABLE);
    }
    stop.cancel();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_takes_too_long_is_no_decision_and_what_was_decided_is_kept() {
    let mut home = home();
    home.tables.push_str("[limits]\ncheck_ms_max = 300\nbatch_ms_max = 1000\n");
    let (_server, _) = trust(&mut home, "client_secret_file = \"secret.txt\"").await;
    let library = Library::start_in(home, "subject = \"either\"").await;
    let silent = with(question("ana", "look", "n-1"), "", "context", json!({ "access_token": SILENT }));
    check(&library.ask("evaluation", &silent).await, StatusCode::GATEWAY_TIMEOUT);
    assert!(library.records().await.is_empty());
    let many = json!({ "evaluations": [question("ana", "look", "n-1"), silent, question("ana", "look", "n-2")] });
    check(&library.ask("evaluations", &many).await, StatusCode::GATEWAY_TIMEOUT);
    eventually("what was decided is kept", || async { library.records().await.len() == 1 }).await;
    assert!(library.decide(&question("ana", "look", "n-1")).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_search_that_takes_too_long_ends_between_its_pieces() {
    let mut home = home();
    home.tables.push_str("[limits]\nbatch_ms_max = 1\n");
    let library = Library::start_in(home, "subject_properties = [\"role\"]").await;
    let books: Vec<_> =
        (0..2_000).map(|id| json!({ "id": format!("b-{id}"), "branch": "north" }).to_string()).collect();
    library.service.import("books", &books).await;
    let asked = json!({
        "subject": { "type": "reader", "id": "ana" }, "action": { "name": "look" }, "resource": { "type": "book" },
        "page": { "limit": 1_000 },
    });
    check(&library.ask("search/resource", &asked).await, StatusCode::GATEWAY_TIMEOUT);
}
