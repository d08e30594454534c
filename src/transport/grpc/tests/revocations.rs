//! Revocations, and the tokens that they are about.

use std::{collections::HashMap, sync::atomic::Ordering};

use prost_types::Timestamp;
use serde_json::{Value as Json, json};
use tonic::Code;

use super::{
    applications, authorize, reason, violations,
    world::{NOW, REALM, World},
};
use crate::proto::v1::{
    self as pb, authorization_service_client::AuthorizationServiceClient,
    revocation_service_client::RevocationServiceClient, revoked_tokens::Tokens,
};

const ISSUER: &str = "https://idp.example";

type Client = RevocationServiceClient<tonic::transport::Channel>;

fn client(world: &World) -> Client {
    RevocationServiceClient::new(world.channel.clone())
}

fn tokens(issuer: &str, tokens: Tokens) -> pb::RevokedTokens {
    pb::RevokedTokens { issuer: issuer.to_owned(), tokens: Some(tokens) }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp { seconds, nanos: 0 }
}

fn revoking(tokens: pb::RevokedTokens) -> pb::RevokeRequest {
    let revocation = Some(pb::Revocation { tokens: Some(tokens), ..pb::Revocation::default() });
    pb::RevokeRequest { realm: REALM.to_owned(), revocation }
}

pub(super) async fn revoke(world: &World, which: Tokens) -> pb::Revocation {
    client(world).revoke(revoking(tokens(ISSUER, which))).await.unwrap().into_inner().revocation.unwrap()
}

async fn reinstate(world: &World, which: Tokens) -> bool {
    let request = pb::ReinstateRequest { realm: REALM.to_owned(), tokens: Some(tokens(ISSUER, which)) };
    client(world).reinstate(request).await.unwrap().into_inner().reinstated
}

async fn listed(world: &World, issuer: &str, page_size: u32) -> Vec<String> {
    let mut request = pb::ListRevocationsRequest {
        realm: REALM.to_owned(),
        issuer: issuer.to_owned(),
        page_size,
        page_token: String::new(),
    };
    let mut found = Vec::new();
    loop {
        let page = client(world).list_revocations(request.clone()).await.unwrap().into_inner();
        found.extend(page.revocations.into_iter().map(|revocation| match revocation.tokens.unwrap().tokens.unwrap() {
            Tokens::TokenId(id) => format!("token {id}"),
            Tokens::Subject(id) => format!("subject {id}"),
            Tokens::Client(id) => format!("client {id}"),
        }));
        if page.next_page_token.is_empty() {
            return found;
        }
        request.page_token = page.next_page_token;
    }
}

/// The first reason of the answer to whether the token's holder may read ada's file.
async fn asked(world: &World, token: &str) -> String {
    let question = pb::AuthorizeRequest { token: token.to_owned(), ..world.question("ada", "") };
    authorize(world, question).await.unwrap().reasons[0].code.clone()
}

fn token(world: &World, further: &Json) -> String {
    let mut claims = json!({ "schools": "1" });
    claims.as_object_mut().unwrap().extend(further.as_object().unwrap().clone());
    world.token_saying(&claims)
}

async fn world() -> World {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    world
}

#[tokio::test]
async fn a_revoked_token_is_denied_from_the_next_decision_on_though_it_was_verified_before() {
    let world = world().await;
    let (token, other) = (token(&world, &json!({ "jti": "one" })), token(&world, &json!({ "jti": "two" })));
    assert_eq!((asked(&world, &token).await, asked(&world, &other).await), ("PERMITTED".into(), "PERMITTED".into()));
    let kept = revoke(&world, Tokens::TokenId("one".into())).await;
    assert_eq!((kept.issued_before, kept.forget_at), (None, None));
    assert_eq!(kept.revoked_at.unwrap().seconds, NOW);
    let question = pb::AuthorizeRequest { token: token.clone(), ..world.question("ada", "") };
    let answer = authorize(&world, question).await.unwrap();
    assert_eq!((answer.outcome(), &*answer.reasons[0].code), (pb::Outcome::Unauthenticated, "TOKEN_REVOKED"));
    assert_eq!(answer.denial.unwrap().status, 401);
    assert_eq!(asked(&world, &other).await, "PERMITTED");
    let mut info = AuthorizationServiceClient::new(world.channel.clone());
    let request = pb::GetTokenInfoRequest { token: token.clone(), ..Default::default() };
    let info = info.get_token_info(request).await.unwrap().into_inner();
    assert_eq!((info.active, &*info.reason), (false, "TOKEN_REVOKED"));

    assert!(reinstate(&world, Tokens::TokenId("one".into())).await);
    assert!(!reinstate(&world, Tokens::TokenId("one".into())).await);
    assert_eq!(asked(&world, &token).await, "PERMITTED");
}

#[tokio::test]
async fn tokens_of_a_subject_or_a_client_are_revoked_by_when_they_were_issued() {
    let world = world().await;
    for (which, claim) in [
        (Tokens::Subject("s".into()), json!({ "sub": "s" })),
        (Tokens::Client("client".into()), json!({})),
        (Tokens::Client("c".into()), json!({ "client_id": "c", "azp": "d" })),
    ] {
        let issued = |iat: Json| {
            let mut claim = claim.clone();
            if !iat.is_null() {
                claim["iat"] = iat;
            }
            token(&world, &claim)
        };
        let tokens = [issued(json!(NOW - 9)), issued(json!(NOW)), issued(json!(NOW + 1)), issued(Json::Null)];
        // The clock stands a quarter after the second, whose first part is past.
        assert_eq!(revoke(&world, which.clone()).await.issued_before, Some(at(NOW + 1)));
        for (token, expected) in tokens.iter().zip(["TOKEN_REVOKED", "TOKEN_REVOKED", "PERMITTED", "TOKEN_REVOKED"]) {
            assert_eq!(asked(&world, token).await, expected, "{which:?}");
        }
        let mut earlier = revoking(self::tokens(ISSUER, which.clone()));
        let before = Some(Timestamp { seconds: NOW - 10, nanos: 1 });
        earlier.revocation.as_mut().unwrap().issued_before = before;
        let kept = client(&world).revoke(earlier).await.unwrap().into_inner().revocation.unwrap();
        assert_eq!(kept.issued_before, Some(at(NOW - 9)), "a part of a second revokes more");
        assert_eq!(asked(&world, &tokens[0]).await, "PERMITTED", "the later revocation replaced the earlier one");
        assert!(reinstate(&world, which).await);
        assert_eq!(asked(&world, &tokens[3]).await, "PERMITTED");
    }
}

#[tokio::test]
async fn a_revocation_is_forgotten_when_it_says_so_and_purged_with_the_next_change() {
    let world = world().await;
    let lasting = token(&world, &json!({ "jti": "one" }));
    let mut request = revoking(tokens(ISSUER, Tokens::TokenId("one".into())));
    request.revocation.as_mut().unwrap().forget_at = Some(at(NOW + 100));
    client(&world).revoke(request).await.unwrap();
    world.clock.pass(99);
    assert_eq!((asked(&world, &lasting).await, listed(&world, "", 0).await.len()), ("TOKEN_REVOKED".into(), 1));
    world.clock.pass(1);
    assert_eq!((asked(&world, &lasting).await, listed(&world, "", 0).await.len()), ("PERMITTED".into(), 0));
    assert_eq!(world.revocations.len(), 1);
    assert!(!reinstate(&world, Tokens::TokenId("other".into())).await);
    assert_eq!(world.revocations.len(), 1, "what changes nothing writes nothing");
    revoke(&world, Tokens::TokenId("two".into())).await;
    assert_eq!((world.revocations.len(), listed(&world, "", 0).await), (1, vec!["token two".to_owned()]));
}

#[tokio::test]
async fn opaque_tokens_are_revoked_by_their_application_or_their_digest() {
    let world = world().await;
    applications::put(&world, applications::application(&["1"])).await;
    let token = applications::issue(&world, HashMap::new()).await;
    let digest = crate::domain::application::TokenDigest::of(&token).to_string();
    assert_eq!(asked(&world, &token).await, "PERMITTED");
    for which in [Tokens::TokenId(digest), Tokens::Client("client".into()), Tokens::Subject("client".into())] {
        let revoked = || tokens("hallpass:application", which.clone());
        client(&world).revoke(revoking(revoked())).await.unwrap();
        assert_eq!(asked(&world, &token).await, "TOKEN_REVOKED", "{which:?}");
        let request = pb::ReinstateRequest { realm: REALM.to_owned(), tokens: Some(revoked()) };
        assert!(client(&world).reinstate(request).await.unwrap().into_inner().reinstated);
        assert_eq!(asked(&world, &token).await, "PERMITTED");
    }
}

#[tokio::test]
async fn revocations_are_listed_in_pages() {
    let world = world().await;
    for id in ["b", "a"] {
        revoke(&world, Tokens::Client(id.into())).await;
        revoke(&world, Tokens::TokenId(id.into())).await;
    }
    let issuer = "hallpass:application";
    client(&world).revoke(revoking(tokens(issuer, Tokens::Subject("z".into())))).await.unwrap();
    let ours = ["token a", "token b", "client a", "client b"];
    for size in [0, 1, 2, 3, 9_999] {
        let mut all = vec!["subject z"];
        all.extend(ours);
        assert_eq!(listed(&world, "", size).await, all, "{size}");
        assert_eq!(listed(&world, ISSUER, size).await, ours, "{size}");
    }
    let page_token = "x".to_owned();
    let request = pb::ListRevocationsRequest { realm: REALM.to_owned(), page_token, ..Default::default() };
    assert_eq!(violations(&client(&world).list_revocations(request).await.unwrap_err()), ["page_token"]);
}

#[tokio::test]
async fn all_faults_of_a_revocation_come_at_once() {
    let world = world().await;
    let faults = async |revocation: pb::Revocation| {
        let request = pb::RevokeRequest { realm: REALM.to_owned(), revocation: Some(revocation) };
        violations(&client(&world).revoke(request).await.unwrap_err())
    };
    let of_token = Tokens::TokenId(String::new());
    let wrong = pb::Revocation {
        tokens: Some(tokens("https://idp.example/", of_token)),
        issued_before: Some(at(NOW)),
        forget_at: Some(at(NOW)),
        revoked_at: None,
    };
    let expected = ["forget_at", "issued_before", "tokens.issuer", "tokens.token_id"];
    assert_eq!(faults(wrong).await, expected.map(|field| format!("revocation.{field}")));
    assert_eq!(faults(pb::Revocation::default()).await, ["revocation.tokens"]);
    let unnamed = Some(tokens("", Tokens::Client("c".into())));
    let request = pb::ReinstateRequest { realm: REALM.to_owned(), tokens: unnamed };
    assert_eq!(violations(&client(&world).reinstate(request).await.unwrap_err()), ["tokens.issuer"]);
    assert_eq!(world.revocations.len(), 0);
}

#[tokio::test]
async fn what_a_failed_write_left_counts_after_the_next_one() {
    let world = world().await;
    let token = token(&world, &json!({ "jti": "one" }));
    world.revocations.is_failing.store(true, Ordering::Relaxed);
    let failing = revoking(tokens(ISSUER, Tokens::TokenId("one".into())));
    let status = client(&world).revoke(failing).await.unwrap_err();
    assert_eq!((status.code(), &*reason(&status)), (Code::Unavailable, "RELATIONSHIP_STORE_UNAVAILABLE"));
    assert_eq!(asked(&world, &token).await, "PERMITTED");
    world.revocations.is_failing.store(false, Ordering::Relaxed);
    assert!(!reinstate(&world, Tokens::TokenId("other".into())).await);
    assert_eq!(asked(&world, &token).await, "TOKEN_REVOKED");
}
