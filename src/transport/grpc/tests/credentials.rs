//! How tokens come, and who acts with them.

use std::collections::HashMap;

use serde_json::json;

use super::{
    applications, authorize, violations,
    world::{REALM, World, files},
};
use crate::proto::v1::{self as pb, authorization_service_client::AuthorizationServiceClient};

/// A world where `ada` is at school 1, and realm.toml says this behind its issuer's keys and at its end.
async fn world(of_issuer: &str, at_end: &str) -> World {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    let mut changed = files();
    let realm_toml = changed.iter_mut().find(|file| file.path == "realm.toml").unwrap();
    realm_toml.content = realm_toml.content.replace("[principal]", &format!("{of_issuer}\n[principal]")) + at_end;
    *world.source.0.lock().unwrap() = Some(changed);
    assert_eq!(world.app.reload_policies(REALM).await.unwrap().1, []);
    world
}

/// The first reason and the status of the denial, 0 for an allow.
async fn answered(world: &World, token: &str, scheme: &str, query_token: &str) -> (String, u32) {
    let question = pb::AuthorizeRequest {
        token: token.to_owned(),
        token_scheme: scheme.to_owned(),
        query_token: query_token.to_owned(),
        ..world.question("ada", "1")
    };
    let answer = authorize(world, question.clone()).await.unwrap();
    // Without the realm's name it is found by either token.
    let nameless = authorize(world, pb::AuthorizeRequest { realm: String::new(), ..question }).await.unwrap();
    assert_eq!(nameless.reasons, answer.reasons);
    let request = pb::GetTokenInfoRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        token_scheme: scheme.to_owned(),
        query_token: query_token.to_owned(),
        proof: None,
    };
    let mut client = AuthorizationServiceClient::new(world.channel.clone());
    let info = client.get_token_info(request).await.unwrap().into_inner();
    let code = answer.reasons[0].code.clone();
    assert_eq!(if info.active { "PERMITTED" } else { &*info.reason }, code);
    (code, answer.denial.map_or(0, |denial| denial.status))
}

#[tokio::test]
async fn a_request_has_one_token_in_a_way_that_its_issuer_allows() {
    let plain = world("", "").await;
    let queried = world("query = true\nscheme = \"JWT\"", "").await;
    let (good, other) = (plain.token("1"), queried.token("1"));
    for (world, token, scheme, query_token, expected, status) in [
        (&plain, &*good, "", "", "PERMITTED", 0),
        (&plain, &good, "bEARER", "", "PERMITTED", 0),
        (&plain, &good, "JWT", "", "TOKEN_SCHEME_MISMATCH", 401),
        (&plain, "", "", &*good, "TOKEN_TRANSPORT_NOT_ALLOWED", 401),
        (&plain, "", "", "", "TOKEN_MISSING", 401),
        (&plain, "", "Bearer", "", "TOKEN_MISSING", 401),
        (&plain, &good, "", &good, "TOKEN_AMBIGUOUS", 400),
        (&plain, &good, "", "x", "TOKEN_AMBIGUOUS", 400),
        (&queried, "", "", &other, "PERMITTED", 0),
        (&queried, "", "Basic", &other, "PERMITTED", 0),
        (&queried, &other, "jwt", "", "PERMITTED", 0),
        (&queried, &other, "", "", "TOKEN_SCHEME_MISMATCH", 401),
        (&queried, &other, "JWT", &other, "TOKEN_AMBIGUOUS", 400),
        (&queried, "", "", "a.b.c", "TOKEN_FORMAT", 401),
    ] {
        let answered = answered(world, token, scheme, query_token).await;
        assert_eq!(answered, (expected.to_owned(), status), "{scheme} {}", token.is_empty());
    }
}

#[tokio::test]
async fn an_opaque_token_of_an_application_comes_in_the_header_alone() {
    let world = world("query = true\nscheme = \"JWT\"", "").await;
    applications::put(&world, applications::application(&["1"])).await;
    let token = applications::issue(&world, HashMap::new()).await;
    assert_eq!(answered(&world, &token, "Bearer", "").await.0, "PERMITTED");
    assert_eq!(answered(&world, &token, "JWT", "").await.0, "TOKEN_SCHEME_MISMATCH");
    assert_eq!(answered(&world, "", "", &token).await.0, "TOKEN_TRANSPORT_NOT_ALLOWED");
}

#[tokio::test]
async fn two_tokens_are_a_bad_request_unless_the_realm_has_its_own_word_for_it() {
    let words = |code: &str, status: u16| {
        format!("[denials.{code}]\nstatus = {status}\ntype = \"urn:{code}\"\ntitle = \"{code}\"\n")
    };
    for (denials, expected) in [
        (words("TOKEN", 401), (400, "urn:TOKEN")),
        (words("TOKEN", 401) + &words("TOKEN_AMBIGUOUS", 422), (422, "urn:TOKEN_AMBIGUOUS")),
    ] {
        let world = world("", &denials).await;
        let token = world.token("1");
        let question = pb::AuthorizeRequest { query_token: token.clone(), token, ..world.question("ada", "1") };
        let denial = authorize(&world, question).await.unwrap().denial.unwrap();
        assert_eq!((denial.status, &*denial.r#type), expected);
    }
}

#[tokio::test]
async fn what_comes_with_a_token_is_bounded() {
    let world = World::start().await;
    let proof = pb::TokenProof {
        method: "M".repeat(33),
        uri: "u".repeat(8_193),
        dpop: vec!["d".repeat(8_192), "d".repeat(8_193)],
        client_certificate: vec![0; 16_385],
    };
    let question = pb::AuthorizeRequest { proof: Some(proof), ..world.question("ada", "1") };
    let expected = ["client_certificate", "dpop[1]", "method", "uri"].map(|field| format!("proof.{field}"));
    assert_eq!(violations(&authorize(&world, question).await.unwrap_err()), expected);
    let proof = pb::TokenProof { dpop: vec![String::new(); 17], ..pb::TokenProof::default() };
    let question = pb::AuthorizeRequest { proof: Some(proof), ..world.question("ada", "1") };
    assert_eq!(violations(&authorize(&world, question).await.unwrap_err()), ["proof.dpop"]);
}

#[tokio::test]
async fn the_log_names_who_acts_for_the_principal_and_not_who_acted_before() {
    let world = world("", "").await;
    for (act, expected) in [
        (json!({ "sub": "helper", "act": { "sub": "earlier" } }), Some("helper")),
        (json!({ "sub": "helper", "iss": "elsewhere" }), Some("helper")),
    ] {
        let token = world.token_saying(&json!({ "schools": "1", "act": act }));
        let question = pb::AuthorizeRequest { token, ..world.question("ada", "1") };
        assert_eq!(authorize(&world, question).await.unwrap().decision(), pb::Decision::Allow);
        let actor = world.log.records().last().unwrap().record.actor.clone();
        assert_eq!(actor.as_ref().map(|actor| (&*actor.entity_type, &*actor.id)), expected.map(|id| ("Client", id)));
    }
    for (act, expected) in [
        (json!("helper"), "CLAIM_TYPE_INVALID"),
        (json!({ "sub": "" }), "CLAIM_TYPE_INVALID"),
        (json!({ "act": { "sub": "earlier" } }), "CLAIM_TYPE_INVALID"),
        (json!({ "sub": "x".repeat(513) }), "CLAIM_TYPE_INVALID"),
        (json!(null), "CLAIM_TYPE_INVALID"),
    ] {
        let token = world.token_saying(&json!({ "schools": "1", "act": act }));
        let question = pb::AuthorizeRequest { token, ..world.question("ada", "1") };
        assert_eq!(authorize(&world, question).await.unwrap().reasons[0].code, expected);
    }
    authorize(&world, world.question("ada", "1")).await.unwrap();
    assert_eq!(world.log.records().last().unwrap().record.actor, None);
}
