//! Who may ask (section 11): callers that the deployment names, each for what it may.

use reqwest::{StatusCode, header::WWW_AUTHENTICATE};
use serde_json::{Value as Json, json};

use super::library::{Library, Told, write_realm};
use crate::callers::caller_with_key;

/// A library whose callers must show who they are.
pub(super) async fn guarded() -> Library {
    let mut home = crate::token_info::home();
    home.rules = home.path("library");
    write_realm(&home.rules, "");
    let south = home.path("south");
    write_realm(&south, "");
    home.tables = format!(
        "[authentication]\nrequired = true\n{}{}{}{}[realms.south]\nfolder = {}\n",
        caller_with_key("web", "\"subject_enforcer\"", "\"edfi\""),
        caller_with_key("portal", "\"subject_enforcer\"", "\"edfi\""),
        caller_with_key("api", "\"enforcer\"", "\"edfi\""),
        caller_with_key("far", "\"subject_enforcer\"", "\"south\""),
        json!(south),
    );
    let service = home.start().await;
    Library { home, service }
}

fn taking() -> Json {
    json!({
        "subject": { "type": "reader", "id": "ana" },
        "action": { "name": "take" },
        "resource": { "type": "leaflet", "id": "l-1" },
    })
}

async fn ask(library: &Library, key: Option<&str>, realm: &str, path: &str) -> Told {
    let request = library.at(&format!("/{realm}/access/v1/{path}")).body(taking().to_string());
    let request = key.into_iter().fold(request, reqwest::RequestBuilder::bearer_auth);
    library.send(request).await
}

#[tokio::test]
async fn a_caller_asks_what_its_role_has_in_its_realms() {
    let library = guarded().await;
    for (key, realm, path, expected) in [
        (Some("web"), "edfi", "evaluation", StatusCode::OK),
        (Some("web"), "edfi", "evaluations", StatusCode::OK),
        (Some("web"), "edfi", "search/subject", StatusCode::OK),
        (Some("web"), "edfi", "search/action", StatusCode::OK),
        (Some("far"), "south", "evaluation", StatusCode::OK),
        // To name the subject takes a right of its own.
        (Some("api"), "edfi", "evaluation", StatusCode::FORBIDDEN),
        (Some("api"), "edfi", "evaluations", StatusCode::FORBIDDEN),
        (Some("api"), "edfi", "search/subject", StatusCode::FORBIDDEN),
        (Some("api"), "edfi", "search/resource", StatusCode::FORBIDDEN),
        (Some("api"), "edfi", "search/action", StatusCode::FORBIDDEN),
        (Some("far"), "edfi", "evaluation", StatusCode::FORBIDDEN),
        (Some("web"), "south", "evaluation", StatusCode::FORBIDDEN),
        (None, "edfi", "evaluation", StatusCode::UNAUTHORIZED),
        (Some("nobody"), "edfi", "evaluation", StatusCode::UNAUTHORIZED),
        // Who isn't known does not learn which realms there are.
        (None, "nowhere", "evaluation", StatusCode::UNAUTHORIZED),
    ] {
        let told = ask(&library, key, realm, path).await;
        assert_eq!(told.status, expected, "{key:?} {realm} {path}: {told:?}");
        assert_eq!(told.headers.contains_key(WWW_AUTHENTICATE), expected == StatusCode::UNAUTHORIZED, "{told:?}");
        if path == "evaluation" && expected == StatusCode::OK {
            assert!(told.decision());
        }
    }
}

#[tokio::test]
async fn a_page_token_is_of_one_caller() {
    let library = guarded().await;
    let page = async |key: &str, page: Json| {
        let asked = json!({
            "subject": { "type": "reader", "id": "ana" },
            "resource": { "type": "leaflet", "id": "l-1" },
            "page": page,
        });
        library.send(library.request("search/action").bearer_auth(key).body(asked.to_string())).await
    };
    let token = page("web", json!({ "limit": 1 })).await.next_token();
    assert!(!token.is_empty());
    assert_eq!(page("portal", json!({ "token": token })).await.status, StatusCode::BAD_REQUEST);
    assert_eq!(page("web", json!({ "token": token })).await.found(), ["throw_away"]);
}
