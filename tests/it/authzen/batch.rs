//! Many questions (section 7).

use reqwest::StatusCode;
use serde_json::{Value as Json, json};

use super::library::{Library, question};

/// Questions of ana, each about one of these books.
fn about(books: &[&str], semantic: &str) -> Json {
    let items: Vec<Json> = books
        .iter()
        .map(|book| if book.is_empty() { json!({}) } else { json!({ "resource": { "type": "book", "id": book } }) })
        .collect();
    json!({
        "subject": { "type": "reader", "id": "ana" },
        "action": { "name": "look" },
        "resource": {},
        "options": { "evaluations_semantic": semantic, "more": 1 },
        "evaluations": items,
    })
}

#[tokio::test]
async fn answers_come_in_order_and_say_nothing_else() {
    let library = Library::start().await;
    let mut asked = about(&["n-1", "s-1", "n-2"], "execute_all");
    let told = library.ask("evaluations", &asked).await;
    assert_eq!(told.text, r#"{"evaluations":[{"decision":true},{"decision":false},{"decision":true}]}"#);
    asked.as_object_mut().unwrap().remove("options");
    assert_eq!(library.ask("evaluations", &asked).await.text, told.text, "execute_all is what happens by itself");
}

#[tokio::test]
async fn an_item_takes_the_place_of_a_default_as_a_whole() {
    let library = Library::start().await;
    let asked = json!({
        "subject": { "type": "reader", "id": "ana", "properties": { "role": "keeper" } },
        "action": { "name": "burn" },
        "resource": { "type": "book", "id": "n-1", "properties": { "lent": false, "place": { "room": "zero" } } },
        "evaluations": [
            {},
            { "subject": { "type": "reader", "id": "ana" } },
            { "resource": { "type": "book", "id": "n-1", "properties": { "lent": false } } },
            { "subject": null, "context": { "hour": 1 } },
        ],
    });
    let told = library.ask("evaluations", &asked).await.json();
    let decisions: Vec<&Json> = told["evaluations"].as_array().unwrap().iter().map(|one| &one["decision"]).collect();
    assert_eq!(decisions, [true, false, false, true]);
}

#[tokio::test]
async fn an_incomplete_item_is_denied_and_ends_what_ends_with_a_deny() {
    let library = Library::start().await;
    for (books, semantic, expected) in [
        (["n-1", "", "n-2"], "execute_all", &[true, false, true][..]),
        (["n-1", "", "n-2"], "deny_on_first_deny", &[true, false]),
        (["s-1", "", "n-2"], "deny_on_first_deny", &[false]),
        (["s-1", "", "n-2"], "permit_on_first_permit", &[false, false, true]),
        (["n-1", "", "n-2"], "permit_on_first_permit", &[true]),
        (["", "n-1", ""], "permit_on_first_permit", &[false, true]),
    ] {
        let told = library.ask("evaluations", &about(&books, semantic)).await.json();
        let items = told["evaluations"].as_array().unwrap();
        let decisions: Vec<bool> = items.iter().map(|item| item["decision"].as_bool().unwrap()).collect();
        assert_eq!(decisions, expected, "{books:?} {semantic}");
        for (item, book) in items.iter().zip(books) {
            assert_eq!(item["context"]["error"]["status"] == json!(400), book.is_empty(), "{item}");
        }
        assert_eq!(told.get("decision"), None);
    }
}

#[tokio::test]
async fn what_is_not_executed_is_not_on_record() {
    let library = Library::start().await;
    let told = library.ask("evaluations", &about(&["n-1", "n-2", "s-1"], "permit_on_first_permit")).await;
    assert_eq!(told.json()["evaluations"].as_array().unwrap().len(), 1);
    assert_eq!(library.records().await.len(), 1);
}

#[tokio::test]
async fn without_items_it_is_the_single_question() {
    let library = Library::start().await;
    for items in [json!(null), json!([])] {
        let mut asked = question("ana", "look", "n-1");
        asked["evaluations"] = items;
        assert_eq!(library.ask("evaluations", &asked).await.text, r#"{"decision":true}"#);
        asked.as_object_mut().unwrap().remove("resource");
        assert_eq!(library.ask("evaluations", &asked).await.status, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn what_is_no_batch_is_malformed() {
    let library = Library::start().await;
    let good = about(&["n-1"], "execute_all");
    for (name, value) in [
        ("evaluations", json!({})),
        ("options", json!([])),
        ("options", json!({ "evaluations_semantic": "guess" })),
        ("options", json!({ "evaluations_semantic": 1 })),
        ("subject", json!("ana")),
        ("context", json!([])),
    ] {
        let mut asked = good.clone();
        asked[name] = value.clone();
        assert_eq!(library.ask("evaluations", &asked).await.status, StatusCode::BAD_REQUEST, "{name} {value}");
    }
    let mut asked = good;
    asked["evaluations"] = Json::Array(vec![json!({}); 1_001]);
    let told = library.ask("evaluations", &asked).await;
    assert_eq!((told.status, told.text.contains("at most 1000")), (StatusCode::BAD_REQUEST, true), "{told:?}");
    asked["evaluations"] = Json::Array(vec![json!({ "resource": { "type": "book", "id": "n-1" } }); 1_000]);
    assert_eq!(library.ask("evaluations", &asked).await.json()["evaluations"].as_array().unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_default_cannot_be_multiplied_beyond_what_may_be_sent() {
    let library = Library::start().await;
    let mut asked = about(&["n-1"], "execute_all");
    asked["subject"]["properties"] = json!({ "role": "x".repeat(100_000) });
    asked["evaluations"] = Json::Array(vec![json!({}); 1_000]);
    assert_eq!(library.ask("evaluations", &asked).await.status, StatusCode::BAD_REQUEST);
}
