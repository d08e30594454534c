//! What callers send over HTTP: JSON.

use serde_json::{Map, Value as Json, json};

use super::questions::CALLS;
use super::world::{self, ASKED, CHANGED, Responded};

/// The endpoints of AuthZEN, which an input begins with.
pub(crate) const ENDPOINTS: [&str; 5] =
    ["evaluation", "evaluations", "search/subject", "search/resource", "search/action"];

/// Reads the first byte as a call and the others as its message, and makes it. In place of a realm stands the one that may be
/// changed; for a question, the other one, with a good token, if it has none.
pub(crate) fn json_message(bytes: &[u8]) {
    let Some((call, body)) = bytes.split_first() else { return };
    let name = CALLS[usize::from(*call) % CALLS.len()].name();
    world::with(|world| {
        let body = match serde_json::from_slice::<Map<String, Json>>(body) {
            Ok(mut message) => {
                let is_question = name == "Authorize";
                message.insert("realm".to_owned(), json!(if is_question { ASKED } else { CHANGED }));
                if is_question {
                    message.entry("token").or_insert_with(|| json!(world.token));
                    message.remove("atLeastRevision");
                    message.remove("at_least_revision");
                }
                Json::from(message).to_string().into_bytes()
            }
            Err(_) => body.to_vec(),
        };
        let responded = world.post(&format!("/v1/{name}"), &body);
        check(name, &responded);
        if name == "Authorize" && responded.status == 200 {
            let answer: Json = serde_json::from_slice(&responded.body).expect("JSON");
            let is_allow = answer["decision"] == "DECISION_ALLOW";
            assert!(!is_allow || is_about_ada(&body), "allowed: {}", String::from_utf8_lossy(&body));
        }
    });
}

/// Reads the first byte as an endpoint and the others as a body, and asks twice: the answers are the same, and an allow is one
/// that the realm's rules could give.
pub(crate) fn authzen_body(bytes: &[u8]) {
    let Some((endpoint, body)) = bytes.split_first() else { return };
    let endpoint = ENDPOINTS[usize::from(*endpoint) % ENDPOINTS.len()];
    world::with(|world| {
        let path = format!("/{ASKED}/access/v1/{endpoint}");
        let answers = [(); 2].map(|()| {
            let responded = world.post(&path, body);
            check(endpoint, &responded);
            (responded.status == 200).then(|| {
                let mut answer = serde_json::from_slice::<Json>(&responded.body).expect("JSON");
                without_ids(&mut answer);
                answer
            })
        });
        assert_eq!(answers[0], answers[1], "the same request was answered twice: {}", String::from_utf8_lossy(body));
        let Some(answer) = &answers[0] else { return };
        let members = match endpoint {
            // With one question alone, its answer is that of the other endpoint.
            "evaluation" | "evaluations" if answer.get("evaluations").is_none() => &answer["decision"],
            "evaluations" => &answer["evaluations"],
            _ => &answer["results"],
        };
        assert!(members.is_boolean() || members.is_array(), "{endpoint}: {answer}");
        let is_allow = |answer: &Json| answer["decision"] == true;
        let has_allow =
            is_allow(answer) || answer["evaluations"].as_array().is_some_and(|all| all.iter().any(is_allow));
        assert!(!has_allow || is_about_ada(body), "allowed: {}", String::from_utf8_lossy(body));
    });
}

/// Whatever comes is answered, and not by a failure of our own; what isn't there needs no body.
fn check(what: &str, responded: &Responded) {
    assert!(responded.status < 500 || responded.status == 501 || responded.status == 503, "{what}: {responded:?}");
}

/// Leaves out what is another one each time: ids of decisions, and the tokens of pages, which hold a time.
fn without_ids(answer: &mut Json) {
    match answer {
        Json::Object(members) => {
            if members.contains_key("code") || members.contains_key("obligations") {
                drop(members.remove("id"));
            }
            drop(members.remove("next_token"));
            members.values_mut().for_each(without_ids);
        }
        Json::Array(items) => items.iter_mut().for_each(without_ids),
        _ => {}
    }
}

/// The text says `ada` somewhere, however it spells it: only files about her are anybody's.
fn is_about_ada(body: &[u8]) -> bool {
    fn says(json: &Json) -> bool {
        match json {
            Json::String(text) => text == "ada",
            Json::Array(items) => items.iter().any(says),
            Json::Object(members) => members.values().any(says),
            _ => false,
        }
    }
    serde_json::from_slice::<Json>(body).is_ok_and(|body| says(&body))
}
