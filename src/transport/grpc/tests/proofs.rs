//! Tokens that are bound to a key or certificate, and what shows its possession.

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{
    authorize,
    world::{NOW, World},
};
use crate::{
    domain::{
        issuer::Algorithm,
        test_keys::{TestKey, encode},
    },
    proto::v1::{
        self as pb, authorization_service_client::AuthorizationServiceClient, batch_authorize_result::Result as Item,
    },
};

const URI: &str = "https://api.example/files/1";
const CERTIFICATE: [u8; 4] = [0x30, 2, 5, 0];

/// A client whose token is bound to its key.
struct Client {
    world: World,
    key: TestKey,
    token: String,
}

impl Client {
    async fn start() -> Self {
        let world = World::start().await;
        world.enrol("ada", "1").await;
        let key = TestKey::of(Algorithm::ES256);
        let jwk = key.jwk("");
        let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":{},"y":{}}}"#, jwk["x"], jwk["y"]);
        let bound = json!({ "schools": "1", "cnf": { "jkt": encode(Sha256::digest(canonical)) } });
        let token = world.token_saying(&bound);
        Self { world, key, token }
    }

    fn proof(&self, method: &str, jti: &str) -> String {
        let header = json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.jwk("") }).to_string();
        let ath = encode(Sha256::digest(&self.token));
        let claims = json!({ "htm": method, "htu": URI, "iat": NOW, "jti": jti, "ath": ath }).to_string();
        self.key.token(Algorithm::ES256, header, claims)
    }

    fn question(&self, scheme: &str, dpop: Vec<String>) -> pb::AuthorizeRequest {
        let proof = pb::TokenProof { method: "GET".to_owned(), uri: URI.to_owned(), dpop, ..Default::default() };
        pb::AuthorizeRequest {
            token: self.token.clone(),
            token_scheme: scheme.to_owned(),
            proof: Some(proof),
            ..self.world.question("ada", "1")
        }
    }

    async fn ask(&self, scheme: &str, dpop: Vec<String>) -> String {
        code(&self.world, self.question(scheme, dpop)).await
    }
}

/// The code of the answer's first reason.
async fn code(world: &World, question: pb::AuthorizeRequest) -> String {
    authorize(world, question).await.unwrap().reasons[0].code.clone()
}

#[tokio::test]
async fn each_request_needs_a_proof_of_its_own_however_often_the_token_was_seen() {
    let client = Client::start().await;
    assert_eq!(client.ask("DPoP", vec![client.proof("GET", "1")]).await, "PERMITTED");
    assert_eq!(client.ask("DPoP", vec![client.proof("GET", "1")]).await, "PROOF_REPLAYED");
    assert_eq!(client.ask("DPoP", vec![]).await, "PROOF_REQUIRED");
    assert_eq!(client.ask("Bearer", vec![client.proof("GET", "2")]).await, "PROOF_REQUIRED");
    assert_eq!(client.ask("", vec![client.proof("GET", "2")]).await, "PROOF_REQUIRED");
    assert_eq!(client.ask("dpop", vec![client.proof("GET", "2")]).await, "PERMITTED");
    client.world.clock.pass(91);
    assert_eq!(client.ask("DPoP", vec![client.proof("GET", "1")]).await, "PROOF_INVALID");
}

#[tokio::test]
async fn a_proof_counts_as_used_only_when_all_of_it_holds() {
    let client = Client::start().await;
    assert_eq!(client.ask("DPoP", vec![client.proof("POST", "1")]).await, "PROOF_INVALID");
    let two = vec![client.proof("GET", "1"), client.proof("GET", "1")];
    assert_eq!(client.ask("DPoP", two).await, "PROOF_INVALID");
    assert_eq!(client.ask("DPoP", vec![client.proof("GET", "1")]).await, "PERMITTED");
}

#[tokio::test]
async fn the_items_of_a_batch_share_one_proof() {
    let client = Client::start().await;
    let question = client.question("DPoP", vec![client.proof("GET", "1")]);
    let fresher = pb::AuthorizeRequest { at_least_revision: 1, ..question.clone() };
    let other = client.question("DPoP", vec![client.proof("POST", "2")]);
    let batch = || pb::BatchAuthorizeRequest {
        items: vec![question.clone(), other.clone(), fresher.clone(), question.clone()],
        ..Default::default()
    };
    for expected in [
        ["PERMITTED", "PROOF_INVALID", "PERMITTED", "PERMITTED"],
        ["PROOF_REPLAYED", "PROOF_INVALID", "PROOF_REPLAYED", "PROOF_REPLAYED"],
    ] {
        let mut service = AuthorizationServiceClient::new(client.world.channel.clone());
        let results = service.batch_authorize(batch()).await.unwrap().into_inner().results;
        let codes = results.into_iter().map(|result| match result.result.unwrap() {
            Item::Response(answer) => answer.reasons[0].code.clone(),
            Item::Error(error) => panic!("{error:?}"),
        });
        assert_eq!(codes.collect::<Vec<_>>(), expected);
    }
    assert_eq!(client.world.app.proofs().len(), 1);
}

#[tokio::test]
async fn a_token_that_is_not_bound_does_not_come_with_dpop() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    let question = pb::AuthorizeRequest { token_scheme: "DPoP".to_owned(), ..world.question("ada", "1") };
    assert_eq!(code(&world, question).await, "TOKEN_SCHEME_MISMATCH");
}

#[tokio::test]
async fn a_token_of_a_certificate_counts_with_that_certificate() {
    let world = World::start().await;
    world.enrol("ada", "1").await;
    let bound = json!({ "schools": "1", "cnf": { "x5t#S256": encode(Sha256::digest(CERTIFICATE)) } });
    let token = world.token_saying(&bound);
    for (client_certificate, expected) in [
        (CERTIFICATE.to_vec(), "PERMITTED"),
        (vec![], "PROOF_REQUIRED"),
        (vec![0x30, 2, 5, 1], "PROOF_INVALID"),
        (CERTIFICATE.to_vec(), "PERMITTED"),
    ] {
        let proof = Some(pb::TokenProof { client_certificate, ..Default::default() });
        let question = pb::AuthorizeRequest { token: token.clone(), proof, ..world.question("ada", "1") };
        assert_eq!(code(&world, question).await, expected);
    }
}

#[tokio::test]
async fn what_is_bound_in_no_known_way_is_refused() {
    let world = World::start().await;
    let bound = json!({ "schools": "1", "cnf": { "jwk": { "kty": "EC" } } });
    let question = pb::AuthorizeRequest { token: world.token_saying(&bound), ..world.question("ada", "1") };
    assert_eq!(code(&world, question).await, "PROOF_REQUIRED");
}
