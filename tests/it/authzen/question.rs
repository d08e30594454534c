//! One question (sections 5 and 6).

use reqwest::StatusCode;
use serde_json::json;

use super::library::{Library, question, with};

#[tokio::test]
async fn an_answer_is_the_decision_alone_unless_there_is_something_to_say() {
    let library = Library::start().await;
    let told = library.ask("evaluation", &question("ana", "look", "n-1")).await;
    assert_eq!(told.text, r#"{"decision":true}"#);
    let told = library.ask("evaluation", &question("ana", "look", "s-1")).await;
    assert_eq!((told.status, told.text.as_str()), (StatusCode::OK, r#"{"decision":false}"#));
}

#[tokio::test]
async fn obligations_of_an_allow_are_always_told() {
    let library = Library::start().await;
    let told = library.ask("evaluation", &question("ana", "borrow", "n-1")).await.json();
    assert_eq!(told["decision"], json!(true));
    assert_eq!(told["context"]["obligations"], json!([{ "id": "stamp", "properties": { "colour": "blue" } }]));
}

#[tokio::test]
async fn reasons_are_told_to_who_asks_for_them() {
    let library = Library::start().await;
    let denied = question("ana", "borrow", "n-2");
    let by_context =
        library.ask("evaluation", &with(denied.clone(), "", "context", json!({ "explain": true }))).await.json();
    let by_header = library.request("evaluation").header("x-hallpass-explain", "reasons").body(denied.to_string());
    let by_header = library.send(by_header).await.json();
    for told in [by_context, by_header] {
        assert_eq!(told["decision"], json!(false));
        let context = &told["context"];
        assert_eq!(context["code"], json!("NOT_OPEN"));
        assert_eq!(context["reason_admin"], json!({ "en": "The book is not on an open shelf." }));
        assert!(context["id"].as_str().is_some_and(|id| id.len() == 36), "{context}");
    }
    let not_asked = with(denied, "", "context", json!({ "explain": "yes" }));
    assert_eq!(library.ask("evaluation", &not_asked).await.text, r#"{"decision":false}"#);
}

#[tokio::test]
async fn a_realm_may_tell_reasons_always() {
    let library = Library::start_with("reasons = true").await;
    let told = library.ask("evaluation", &question("ana", "look", "n-1")).await.json();
    assert_eq!(told["context"]["code"], json!("PERMITTED"), "{told}");
}

#[tokio::test]
async fn unknown_members_are_ignored_at_every_level_and_null_is_nothing() {
    let library = Library::start().await;
    let asked = json!({
        "more": [1], "context": null, "evaluations_": {},
        "resource": { "more": {}, "id": "n-1", "type": "book", "properties": { "weight": 1.5, "lent": null } },
        "action": { "name": "look", "properties": { "how": "well" }, "more": null },
        "subject": { "id": "ana", "type": "reader", "properties": { "age": 7 }, "more": 1 },
    });
    assert!(library.decide(&asked).await);
}

#[tokio::test]
async fn names_stand_for_types_and_actions_of_the_realm() {
    let library = Library::start().await;
    let mut asked = question("ana", "view", "n-1");
    asked["resource"]["type"] = json!("printed book");
    asked["subject"]["type"] = json!("visitor");
    assert!(library.decide(&asked).await);
}

#[tokio::test]
async fn what_the_realm_has_no_words_for_is_denied_and_on_record() {
    let library = Library::start().await;
    for (parent, name, value) in [
        ("/subject", "type", json!("spaceship")),
        ("/resource", "type", json!("spaceship")),
        ("/action", "name", json!("fly")),
        ("/action", "name", json!("take")),
        ("/resource", "properties", json!({ "lent": "perhaps" })),
        ("/resource", "id", json!("x".repeat(600))),
        ("", "context", json!({ "hour": "late" })),
    ] {
        let asked = with(question("ana", "look", "n-1"), parent, name, value.clone());
        let asked = if parent.is_empty() { asked } else { with(asked, "", "context", json!({})) };
        let asked = with(asked.clone(), "/context", "explain", json!(true));
        let told = library.ask("evaluation", &asked).await.json();
        assert_eq!(
            (&told["decision"], &told["context"]["code"]),
            (&json!(false), &json!("QUESTION_NOT_UNDERSTOOD")),
            "{value}"
        );
        let record = library.record(&told["context"]["id"]).await;
        // A resource that the realm has words for is named, whoever asks.
        let named = if parent == "/subject" { "n-1" } else { "" };
        assert_eq!((record.adapter.as_str(), record.resource_id.as_str()), ("authzen", named), "{value}");
        assert_eq!(record.caller, "local");
    }
}

#[tokio::test]
async fn a_named_subject_is_on_record_as_such() {
    let library = Library::start().await;
    let asked = with(question("ana", "look", "n-1"), "", "context", json!({ "explain": true }));
    let told = library.ask("evaluation", &asked).await.json();
    let record = library.record(&told["context"]["id"]).await;
    assert_eq!((record.issuer.as_str(), record.adapter.as_str()), ("hallpass:subject", "authzen"));
}

#[tokio::test]
async fn properties_of_the_subject_count_only_where_the_realm_lists_them() {
    let burn = |role: &str| {
        let mut asked = question("ana", "burn", "n-1");
        asked["subject"]["properties"] = json!({ "role": role });
        asked["resource"]["properties"] = json!({ "lent": false, "place": { "room": "zero" } });
        asked
    };
    let library = Library::start().await;
    assert!(library.decide(&burn("keeper")).await);
    assert!(!library.decide(&burn("reader")).await);
    let library = Library::start_with("").await;
    assert!(!library.decide(&burn("keeper")).await);
    // What the records say of a subject needs nobody's word.
    let mut asked = burn("reader");
    asked["subject"]["id"] = json!("bob");
    assert!(library.decide(&asked).await);
}

#[tokio::test]
async fn properties_of_the_action_count_where_the_realm_lists_them_and_from_nowhere_else() {
    let library = Library::start().await;
    let asked = question("ana", "read_aloud", "n-1");
    assert!(library.decide(&with(asked.clone(), "/action", "properties", json!({ "quietly": true }))).await);
    assert!(!library.decide(&with(asked.clone(), "/action", "properties", json!({ "quietly": false }))).await);
    assert!(!library.decide(&with(asked.clone(), "", "context", json!({ "quietly": true }))).await);
    let not_asked = with(asked, "", "context", json!({ "weather": { "rain": true }, "time": "2026-01-01T00:00:00Z" }));
    assert!(!library.decide(&not_asked).await);
}

#[tokio::test]
async fn what_the_service_knows_of_a_resource_counts_more_than_what_is_sent() {
    let library = Library::start().await;
    let sent = |book: &str| {
        let mut asked = question("ana", "borrow", book);
        asked["resource"]["properties"] = json!({ "shelf": "open", "branch": "north" });
        asked
    };
    assert!(!library.decide(&sent("n-2")).await, "it stands on a closed shelf, whatever is sent");
    assert!(!library.decide(&sent("s-1")).await, "it stands on none, and in another branch");
    assert!(library.decide(&question("ana", "borrow", "n-1")).await, "nothing has to be sent");
    assert!(!library.decide(&sent("unknown")).await, "callers are not believed the branch of a book that nobody knows");
}

#[tokio::test]
async fn the_same_request_has_the_same_answer() {
    let library = Library::start().await;
    for _ in 0..5 {
        assert!(library.decide(&question("bob", "look", "s-1")).await);
    }
}

#[tokio::test]
async fn a_token_stands_for_the_subject_that_is_named_or_the_answer_is_no() {
    for (keys, is_named_taken) in [("subject = \"token\"", false), ("subject = \"either\"", true)] {
        let library = Library::start_with(keys).await;
        let token = |subject: &str| library.home.token_with("-", &[], &json!({ "sub": subject }));
        let asked = |reader: &str, token: String| {
            with(question(reader, "look", "n-1"), "", "context", json!({ "access_token": token, "explain": true }))
        };
        assert!(library.decide(&asked("ana", token("ana"))).await, "{keys}");
        let other = library.ask("evaluation", &asked("ana", token("bob"))).await.json();
        assert_eq!((&other["decision"], &other["context"]["code"]), (&json!(false), &json!("SUBJECT_MISMATCH")));
        assert!(!library.decide(&asked("ana", "no token".to_owned())).await);
        assert_eq!(library.decide(&question("ana", "look", "n-1")).await, is_named_taken, "{keys}");
    }
    // Where subjects are named, a token is nothing.
    let library = Library::start().await;
    let asked = with(question("ana", "look", "n-1"), "", "context", json!({ "access_token": "no token" }));
    assert!(library.decide(&asked).await);
}
