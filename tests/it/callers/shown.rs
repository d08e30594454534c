//! What callers show: certificates, tokens, keys, and several at once.

use std::fs;

use hallpass::app::ports::Clock as _;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use serde_json::json;
use tonic::Code;

use super::pki::channel;
use super::{Secured, ask, caller_with_key, reason};

const GATEWAY: &str = "spiffe://north.example/gateway";

/// A service whose callers show all sorts of things.
fn secured() -> (Secured, LocalKey) {
    let key = LocalKey::generate().unwrap();
    let tables = format!(
        "[[authentication.issuers]]\nissuer = \"https://callers.example\"\naudiences = [\"pdp\"]\nalgorithms = [\"EdDSA\"]\n\
         keys = {{ file = \"callers.jwks.json\" }}\n\
         [callers.by-id]\nroles = [\"enforcer\"]\ncertificate = \"{GATEWAY}\"\n\
         [callers.by-subject]\nroles = [\"enforcer\"]\nsubject = \"CN=proxy,O=North\"\n\
         [callers.by-token]\nroles = [\"enforcer\"]\ntoken = {{ issuer = \"https://callers.example\", subject = \"bus\" }}\n{}",
        caller_with_key("by-key", "\"enforcer\"", "")
    );
    let secured = Secured::new("", &tables);
    fs::write(secured.home.path("callers.jwks.json"), key.jwks()).unwrap();
    (secured, key)
}

#[tokio::test]
async fn a_caller_is_known_by_its_certificate() {
    let (secured, _) = secured();
    let running = secured.start().await;
    let port = running.grpc_address().port();
    for (name, uris, key, expected) in [
        ("whoever", &[GATEWAY][..], None, Ok(())),
        ("proxy", &[], None, Ok(())),
        ("proxy", &["https://elsewhere.example"], None, Ok(())),
        ("whoever", &[GATEWAY, "spiffe://north.example/other"], None, Err("CALLER_CERTIFICATE_UNKNOWN")),
        ("whoever", &["spiffe://north.example/gateways"], None, Err("CALLER_CERTIFICATE_UNKNOWN")),
        ("proxy,O=North", &[], None, Err("CALLER_CERTIFICATE_UNKNOWN")),
        ("proxy", &[GATEWAY], None, Err("CALLER_AMBIGUOUS")),
        ("whoever", &[], Some("by-key"), Ok(())),
        ("proxy", &[], Some("by-key"), Err("CALLER_AMBIGUOUS")),
        ("proxy", &[], Some("nobody's"), Err("CALLER_KEY_UNKNOWN")),
    ] {
        let channel = channel(port, &secured.client(name, uris)).await.unwrap();
        let asked = ask(channel, secured.question(), key).await;
        let found = asked.as_ref().copied().map_err(reason);
        assert_eq!(found, expected.map_err(str::to_owned), "{name} {uris:?} {key:?} {asked:?}");
        assert!(asked.err().is_none_or(|status| status.code() == Code::Unauthenticated));
    }
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_caller_is_known_by_a_token_of_its_own_issuer() {
    let (secured, key) = secured();
    let running = secured.start().await;
    let channel = channel(running.grpc_address().port(), &secured.anonymous()).await.unwrap();
    let now_seconds = SystemClock.now_seconds();
    let claims = |more: serde_json::Value| {
        let mut claims =
            json!({ "iss": "https://callers.example", "aud": "pdp", "sub": "bus", "exp": now_seconds + 600 });
        for (name, claim) in more.as_object().unwrap() {
            claims[name] = claim.clone();
        }
        claims
    };
    let other = LocalKey::generate().unwrap();
    for (key, more, expected) in [
        (&key, json!({}), Ok(())),
        (&key, json!({ "aud": ["else", "pdp"] }), Ok(())),
        (&key, json!({ "aud": "else" }), Err("CALLER_TOKEN_INVALID")),
        (&key, json!({ "exp": now_seconds - 600 }), Err("CALLER_TOKEN_INVALID")),
        (&key, json!({ "sub": null }), Err("CALLER_TOKEN_INVALID")),
        (&key, json!({ "sub": "car" }), Err("CALLER_TOKEN_UNKNOWN")),
        (&key, json!({ "iss": "https://elsewhere.example" }), Err("CALLER_KEY_UNKNOWN")),
        (&other, json!({}), Err("CALLER_TOKEN_INVALID")),
    ] {
        let token = key.sign(&claims(more.clone())).unwrap();
        // Once more, because it is remembered then.
        for _ in 0..2 {
            let asked = ask(channel.clone(), secured.question(), Some(&token)).await;
            let found = asked.as_ref().copied().map_err(reason);
            assert_eq!(found, expected.map_err(str::to_owned), "{more} {asked:?}");
            let told = asked.err().map(|status| status.message().to_owned()).unwrap_or_default();
            assert!(!told.contains("bus") && !told.contains(&token), "{told}");
        }
    }
    // What callers show asks for nobody: the question brings its own token.
    let mut question = secured.question();
    question.token = key.sign(&claims(json!({}))).unwrap();
    ask(channel, question, Some("by-key")).await.unwrap();
    running.stop().await.unwrap();
}
