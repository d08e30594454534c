//! Pages of searches (section 8.2).

use std::fs;

use reqwest::StatusCode;
use serde_json::{Value as Json, json};

use super::library::{Library, Told, question, with};

async fn page(library: &Library, asked: &Json, page: Json) -> Told {
    library.ask("search/subject", &with(asked.clone(), "", "page", page)).await
}

/// A branch with so many readers beside ana and bob.
async fn with_readers(library: &Library, count: usize) {
    let readers: Vec<String> =
        (0..count).map(|n| json!({ "id": format!("r-{n:05}"), "branches": ["north"] }).to_string()).collect();
    library.service.import("readers", &readers).await;
}

#[tokio::test]
async fn pages_together_are_what_there_is() {
    let library = Library::start().await;
    with_readers(&library, 5_000).await;
    let asked = question("", "look", "n-1");
    let (mut found, mut token, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let body = if token.is_empty() { json!({ "limit": 700 }) } else { json!({ "token": token }) };
        let told = page(&library, &asked, body).await;
        assert!(told.text.starts_with(r#"{"page":{"next_token":"#), "{}", &told.text[..100]);
        let these = told.found();
        assert_eq!(told.json()["page"]["count"], json!(these.len()));
        assert!(these.len() <= 700);
        found.extend(these);
        pages += 1;
        token = told.next_token();
        if token.is_empty() {
            break;
        }
    }
    found.sort();
    let mut expected: Vec<String> = (0..5_000).map(|n| format!("r-{n:05}")).collect();
    expected.extend(["ana".to_owned(), "bob".to_owned()]);
    expected.sort();
    assert_eq!((found == expected, pages), (true, 8));
}

#[tokio::test]
async fn a_page_is_told_where_it_was_asked_for_or_something_is_left() {
    let library = Library::start().await;
    let asked = question("", "look", "n-1");
    assert_eq!(page(&library, &asked, json!({})).await.json()["page"], json!({ "next_token": "", "count": 2 }));
    assert_eq!(library.ask("search/subject", &asked).await.json().get("page"), None);
    // The realm's own size of pages is 50.
    with_readers(&library, 100).await;
    let told = library.ask("search/subject", &asked).await;
    assert_eq!((told.found().len(), told.next_token().is_empty()), (50, false));
}

#[tokio::test]
async fn every_search_has_pages() {
    let library = Library::start().await;
    for (path, asked, expected) in [
        ("search/subject", question("", "look", "n-1"), &["ana", "bob"][..]),
        ("search/resource", question("bob", "look", ""), &["n-1", "n-2", "s-1"]),
        ("search/action", question("ana", "", "n-1"), &["borrow", "view"]),
    ] {
        let (mut found, mut body) = (Vec::new(), json!({ "limit": 1 }));
        loop {
            let told = library.ask(path, &with(asked.clone(), "", "page", body)).await;
            assert!(told.found().len() <= 1);
            found.extend(told.found());
            let token = told.next_token();
            if token.is_empty() {
                break;
            }
            body = json!({ "token": token, "limit": 1 });
        }
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn a_token_is_for_the_same_request_alone() {
    let library = Library::start().await;
    let asked = question("", "look", "n-1");
    let token = page(&library, &asked, json!({ "limit": 1 })).await.next_token();
    assert_eq!(page(&library, &asked, json!({ "token": token })).await.found(), ["bob"]);
    let changed = |at: &str| format!("{}{at}", &token[..token.len() - at.len()]);
    for (asked, body) in [
        (asked.clone(), json!({ "token": token, "limit": 2 })),
        (question("", "look", "n-2"), json!({ "token": token })),
        (question("", "borrow", "n-1"), json!({ "token": token })),
        (with(asked.clone(), "", "context", json!({ "hour": 1 })), json!({ "token": token })),
        (asked.clone(), json!({ "token": changed("AAAA") })),
        (asked.clone(), json!({ "token": "AAAA" })),
        (asked.clone(), json!({ "token": "?" })),
        (asked.clone(), json!({ "limit": -1 })),
        (asked.clone(), json!([])),
    ] {
        let told = page(&library, &asked, body.clone()).await;
        assert_eq!(told.status, StatusCode::BAD_REQUEST, "{body}: {told:?}");
        assert!(told.text.contains("`page"), "{}", told.text);
    }
    let other = library.ask("search/resource", &with(asked, "", "page", json!({ "token": token }))).await;
    assert_eq!(other.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_token_of_another_process_is_worth_nothing() {
    let mut library = Library::start().await;
    let asked = question("", "look", "n-1");
    let token = page(&library, &asked, json!({ "limit": 1 })).await.next_token();
    library.service.signal("TERM");
    library.service.ended().await;
    library.service = library.home.start().await;
    assert_eq!(page(&library, &asked, json!({ "token": token })).await.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn pages_see_what_the_first_saw_until_the_policies_change() {
    let library = Library::start().await;
    let asked = question("", "look", "n-1");
    let token = page(&library, &asked, json!({ "limit": 1 })).await.next_token();
    with_readers(&library, 3).await;
    let told = page(&library, &asked, json!({ "token": token })).await;
    assert_eq!((told.found(), told.next_token().is_empty()), (vec!["bob".to_owned()], false), "cid and dot are left");
    let rules = library.home.rules.join("rules.cedar");
    let content = fs::read_to_string(&rules).unwrap();
    fs::write(&rules, content + "\n// Other rules.\n").unwrap();
    library.service.reload().await;
    let told = page(&library, &asked, json!({ "token": token })).await;
    assert_eq!((told.status, told.text.contains("policies have changed")), (StatusCode::BAD_REQUEST, true), "{told:?}");
}
