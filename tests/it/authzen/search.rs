//! Who, what and which (sections 8.4 to 8.6).

use reqwest::StatusCode;
use serde_json::{Value as Json, json};

use super::library::{Library, question, with};

fn without(mut question: Json, parent: &str, name: &str) -> Json {
    question.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(name);
    question
}

#[tokio::test]
async fn subjects_are_those_whom_the_answer_would_be_yes() {
    let library = Library::start().await;
    let asked = without(question("", "look", "n-1"), "/subject", "id");
    let told = library.ask("search/subject", &asked).await;
    assert_eq!(told.text, r#"{"results":[{"type":"reader","id":"ana"},{"type":"reader","id":"bob"}]}"#);
    // Their type is as it was asked for, and neither an id nor what is said of anybody counts.
    let asked =
        with(asked, "", "subject", json!({ "type": "visitor", "id": "cid", "properties": { "role": "keeper" } }));
    let told = library.ask("search/subject", &asked).await;
    assert_eq!(told.text, r#"{"results":[{"type":"visitor","id":"ana"},{"type":"visitor","id":"bob"}]}"#);
}

#[tokio::test]
async fn subjects_have_the_roles_that_records_give_them() {
    let library = Library::start().await;
    let asked = with(
        question("", "burn", "s-1"),
        "/resource",
        "properties",
        json!({ "lent": false, "place": { "room": "zero" } }),
    );
    assert_eq!(library.ask("search/subject", &asked).await.found(), ["bob"]);
}

#[tokio::test]
async fn resources_are_those_of_which_the_answer_would_be_yes() {
    let library = Library::start().await;
    for (reader, action, expected) in [
        ("ana", "look", &["n-1", "n-2"][..]),
        ("ana", "borrow", &["n-1"]),
        ("bob", "look", &["n-1", "n-2", "s-1"]),
        ("dot", "look", &[]),
        ("nobody", "look", &[]),
    ] {
        let asked = without(question(reader, action, ""), "/resource", "id");
        assert_eq!(library.ask("search/resource", &asked).await.found(), expected, "{reader} {action}");
    }
    let mut asked = question("ana", "view", "s-1");
    asked["resource"]["type"] = json!("printed book");
    let told = library.ask("search/resource", &asked).await.json();
    assert_eq!(told["results"][0], json!({ "type": "printed book", "id": "n-1" }));
}

#[tokio::test]
async fn actions_are_those_to_which_the_answer_would_be_yes_by_their_names() {
    let library = Library::start().await;
    let asked = |reader: &str, book: &str| without(question(reader, "", book), "", "action");
    let told = library.ask("search/action", &asked("ana", "n-1")).await;
    assert_eq!(
        told.text,
        r#"{"results":[{"name":"borrow"},{"name":"view"}],"context":{"obligations":[{"id":"stamp"}]}}"#
    );
    assert_eq!(library.ask("search/action", &asked("ana", "n-2")).await.found(), ["view"]);
    assert!(library.ask("search/action", &asked("ana", "s-1")).await.found().is_empty());
    let mut keeper = asked("ana", "n-2");
    keeper["subject"]["properties"] = json!({ "role": "keeper" });
    keeper["resource"]["properties"] = json!({ "lent": false, "place": { "room": "zero" } });
    assert_eq!(library.ask("search/action", &keeper).await.found(), ["burn", "view"]);
}

#[tokio::test]
async fn what_nobody_knows_finds_nothing_and_is_no_error() {
    let library = Library::start().await;
    for (path, parent, name) in [
        ("search/subject", "/subject", "type"),
        ("search/subject", "/resource", "type"),
        ("search/subject", "/resource", "id"),
        ("search/subject", "/action", "name"),
        ("search/resource", "/subject", "type"),
        ("search/resource", "/subject", "id"),
        ("search/resource", "/resource", "type"),
        ("search/resource", "/action", "name"),
        ("search/action", "/subject", "type"),
        ("search/action", "/subject", "id"),
        ("search/action", "/resource", "type"),
        ("search/action", "/resource", "id"),
    ] {
        let asked = with(question("ana", "look", "n-1"), parent, name, json!("spaceship"));
        let told = library.ask(path, &asked).await;
        assert_eq!((told.status, told.text.as_str()), (StatusCode::OK, r#"{"results":[]}"#), "{path} {parent}.{name}");
    }
}

#[tokio::test]
async fn a_type_whose_items_nobody_knows_cannot_be_searched_and_the_sentence_says_so() {
    let library = Library::start().await;
    let mut asked = question("ana", "take", "l-1");
    asked["resource"]["type"] = json!("leaflet");
    assert!(library.decide(&asked).await);
    let told = library.ask("search/resource", &asked).await;
    assert_eq!((told.status, told.text.contains("`leaflet`")), (StatusCode::BAD_REQUEST, true), "{told:?}");
}

#[tokio::test]
async fn what_a_search_needs_it_needs() {
    let library = Library::start().await;
    let whole = question("ana", "look", "n-1");
    for (path, parent, name, is_needed) in [
        ("search/subject", "", "subject", true),
        ("search/subject", "", "action", true),
        ("search/subject", "", "resource", true),
        ("search/subject", "/subject", "type", true),
        ("search/subject", "/subject", "id", false),
        ("search/subject", "/resource", "id", true),
        ("search/resource", "", "subject", true),
        ("search/resource", "", "action", true),
        ("search/resource", "", "resource", true),
        ("search/resource", "/subject", "id", true),
        ("search/resource", "/resource", "type", true),
        ("search/resource", "/resource", "id", false),
        ("search/action", "", "subject", true),
        ("search/action", "", "action", false),
        ("search/action", "", "resource", true),
        ("search/action", "/subject", "id", true),
        ("search/action", "/resource", "id", true),
    ] {
        let told = library.ask(path, &without(whole.clone(), parent, name)).await;
        let expected = if is_needed { StatusCode::BAD_REQUEST } else { StatusCode::OK };
        assert_eq!(told.status, expected, "{path} without {parent}.{name}: {told:?}");
    }
}

#[tokio::test]
async fn what_a_search_shows_is_on_record() {
    let library = Library::start().await;
    library.ask("search/subject", &question("", "look", "n-1")).await.json();
    let records = library.records().await;
    assert_eq!(records.len(), 2);
    assert!(records.iter().all(|record| record.issuer == "hallpass:subject" && record.action == "look"), "{records:?}");
    library.ask("search/action", &question("ana", "", "n-1")).await.json();
    assert_eq!(library.records().await.len(), 4);
}

#[tokio::test]
async fn whatever_is_found_may_be_done_and_whatever_may_be_done_is_found() {
    let library = Library::start().await;
    let (readers, books) = (["ana", "bob", "cid", "dot"], ["n-1", "n-2", "s-1"]);
    for action in ["look", "read_aloud", "borrow", "burn"] {
        for book in books {
            let found = library.ask("search/subject", &question("", action, book)).await.found();
            for reader in readers {
                let is_found = found.iter().any(|found| found == reader);
                assert_eq!(library.decide(&question(reader, action, book)).await, is_found, "{reader} {action} {book}");
            }
        }
        for reader in readers {
            let found = library.ask("search/resource", &question(reader, action, "")).await.found();
            for book in books {
                let is_found = found.iter().any(|found| found == book);
                assert_eq!(library.decide(&question(reader, action, book)).await, is_found, "{reader} {action} {book}");
            }
        }
    }
}

/// Numbers that look drawn, the same each time.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: u64) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % bound).unwrap()
    }
}

#[tokio::test]
async fn in_any_world_searches_find_what_questions_permit() {
    let library = Library::start().await;
    let mut drawn = Drawn(7);
    let (readers, books): (Vec<String>, Vec<String>) =
        ((0..6).map(|n| format!("w-{n}")).collect(), (0..7).map(|n| format!("b-{n}")).collect());
    let mut permitted = 0;
    for _ in 0..6 {
        let branch = |drawn: &mut Drawn| ["east", "west", "far"][drawn.below(3)];
        let reader = |id: &String| {
            let branches = vec![branch(&mut drawn); drawn.below(2)];
            let role = if drawn.below(3) == 0 { json!("keeper") } else { json!(null) };
            json!({ "id": id, "branches": branches, "role": role }).to_string()
        };
        let records: Vec<String> = readers.iter().map(reader).collect();
        library.service.import("readers", &records).await;
        let book = |id: &String| {
            let shelf = [json!("open"), json!("closed"), json!(null)][drawn.below(3)].clone();
            json!({ "id": id, "branch": branch(&mut drawn), "shelf": shelf }).to_string()
        };
        let records: Vec<String> = books.iter().map(book).collect();
        library.service.import("books", &records).await;
        for action in ["look", "borrow", "burn"] {
            permitted += agree(&library, action, &readers, &books).await;
        }
    }
    assert!(permitted > 40, "{permitted}");
}

/// Holds all searches for an action against all questions about it; how many are permitted.
async fn agree(library: &Library, action: &str, readers: &[String], books: &[String]) -> usize {
    let pairs: Vec<(&String, &String)> =
        readers.iter().flat_map(|reader| books.iter().map(move |book| (reader, book))).collect();
    let items: Vec<Json> = pairs.iter().map(|(reader, book)| question(reader, action, book)).collect();
    let told = library.ask("evaluations", &json!({ "evaluations": items })).await.json();
    let decisions = told["evaluations"].as_array().unwrap().iter().map(|item| item["decision"] == json!(true));
    let yes: Vec<(&String, &String)> =
        pairs.iter().zip(decisions).filter(|(_, yes)| *yes).map(|(pair, _)| *pair).collect();
    for book in books {
        let found = library.ask("search/subject", &question("", action, book)).await.found();
        let found: Vec<&String> = found.iter().filter(|id| readers.contains(id)).collect();
        let expected: Vec<&String> = yes.iter().filter(|(_, of)| *of == book).map(|(reader, _)| *reader).collect();
        assert_eq!(found, expected, "{action} {book}");
    }
    for reader in readers {
        let found = library.ask("search/resource", &question(reader, action, "")).await.found();
        let found: Vec<&String> = found.iter().filter(|id| books.contains(id)).collect();
        let expected: Vec<&String> = yes.iter().filter(|(of, _)| *of == reader).map(|(_, book)| *book).collect();
        assert_eq!(found, expected, "{reader} {action}");
    }
    yes.len()
}
