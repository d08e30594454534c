//! A service that keeps what it found out about tokens answers as one that does not.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::app::credentials::Credentials;
use hallpass::domain::issuer::{Algorithm, Issuer, KeyLocation};
use hallpass::domain::key_set::KeySet;
use hallpass::domain::revocation::{Revocation, RevokedTokens, Which};
use proptest::prelude::*;
use serde_json::json;
use tokio::runtime::Builder;

use super::tokens::checks::service::{REALM, Service, TokenCaching};

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://issuer.example";

/// What happens to both services.
#[derive(Clone, Debug)]
enum Step {
    /// The token of this number is shown.
    Show(usize),
    /// Seconds pass.
    Pass(i64),
    /// The token of this number, or its subject, is revoked.
    Revoke(usize, bool),
    /// What was revoked so counts again.
    Reinstate(usize, bool),
    /// The issuer publishes the keys whose bits are set.
    Publish(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0..TOKENS).prop_map(Step::Show),
        2 => prop_oneof![Just(1), Just(29), Just(60), Just(300)].prop_map(Step::Pass),
        1 => (0..TOKENS, any::<bool>()).prop_map(|(token, is_subject)| Step::Revoke(token, is_subject)),
        1 => (0..TOKENS, any::<bool>()).prop_map(|(token, is_subject)| Step::Reinstate(token, is_subject)),
        1 => (0_u8..8).prop_map(Step::Publish),
    ]
}

const TOKENS: usize = 12;

/// An issuer with three keys, and the tokens that it has signed.
struct World {
    keys: [Ed25519KeyPair; 3],
    tokens: Vec<String>,
}

impl World {
    fn new() -> Self {
        let keys = [(); 3].map(|()| Ed25519KeyPair::generate().unwrap());
        let tokens = (0..TOKENS).map(|number| token(&keys[number % 3], number)).collect();
        Self { keys, tokens }
    }

    fn key_set(&self, published: u8) -> KeySet {
        let keys = self.keys.iter().enumerate().filter(|(number, _)| published & (1 << number) != 0);
        let jwk = |(number, key): (usize, &Ed25519KeyPair)| json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key()), "kid": number.to_string() });
        KeySet::from_jwks(&json!({ "keys": keys.map(jwk).collect::<Vec<_>>() }).to_string()).unwrap()
    }
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Tokens that begin and end at different times; some of one subject, some not good at all.
fn token(key: &Ed25519KeyPair, number: usize) -> String {
    let step = i64::try_from(number).unwrap();
    let mut claims = json!({
        "iss": ISSUER, "sub": subject(number), "jti": number.to_string(),
        "iat": NOW - 10 * step, "nbf": NOW + 20 * step - 60, "exp": NOW + 60 * (step % 5) + 1,
    });
    if number == 7 {
        claims["iss"] = json!("https://other.example");
    }
    if number == 2 {
        claims["cnf"] = json!({ "jkt": encode([7; 32]) });
    }
    let header = json!({ "alg": "EdDSA", "kid": (number % 3).to_string() });
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{signed}.{}", encode(key.sign(signed.as_bytes())))
}

fn subject(number: usize) -> String {
    format!("subject-{}", number % 4)
}

fn which(number: usize, is_subject: bool) -> RevokedTokens {
    let which =
        if is_subject { Which::Subject(subject(number).into()) } else { Which::Token(number.to_string().into()) };
    RevokedTokens { issuer: ISSUER.into(), which }
}

async fn take(world: &World, service: &Service, step: &Step) -> Option<String> {
    match *step {
        Step::Show(number) => {
            return Some(service.code(Credentials::bearer(&world.tokens[number])).await.unwrap());
        }
        Step::Pass(seconds) => drop(service.clock.0.fetch_add(seconds * 1_000_000, Ordering::Relaxed)),
        Step::Revoke(number, is_subject) => {
            let tokens = which(number, is_subject);
            let asked = Revocation { tokens, issued_before_seconds: None, forget_at_seconds: None, revoked_at_us: 0 };
            drop(service.app.revoke(REALM, asked).await.unwrap());
        }
        Step::Reinstate(number, is_subject) => {
            service.app.reinstate(REALM, which(number, is_subject)).await.unwrap();
        }
        Step::Publish(published) => {
            let set = Arc::new(world.key_set(published));
            service.keys.sets.lock().unwrap().insert(ISSUER.into(), set);
            // As whoever fetches keys does when they have changed.
            service.tokens.drop_realm(&REALM.parse().unwrap());
        }
    }
    None
}

async fn start(world: &World, caching: TokenCaching) -> Service {
    let issuer = Issuer::new(ISSUER, &[Algorithm::EdDSA], KeyLocation::File(PathBuf::new()));
    Service::start_with(vec![(issuer, world.key_set(7))], NOW, caching).await.unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn with_and_without_the_cache_each_token_is_answered_alike(steps in prop::collection::vec(step(), 1..60)) {
        let world = World::new();
        let answers = Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
            let services = [start(&world, TokenCaching::Off).await, start(&world, TokenCaching::On).await];
            let mut answers = Vec::new();
            for step in &steps {
                let [off, on] = [take(&world, &services[0], step).await, take(&world, &services[1], step).await];
                answers.push((step, off, on));
            }
            assert!(services[0].tokens.is_empty());
            answers
        });
        for (step, off, on) in &answers {
            prop_assert_eq!(off, on, "{:?} of {:?}", step, steps);
        }
    }
}

#[tokio::test]
async fn the_sequences_reach_every_kind_of_answer() {
    let world = World::new();
    let service = start(&world, TokenCaching::On).await;
    let mut seen = BTreeMap::new();
    let steps = [Step::Pass(0), Step::Revoke(3, false), Step::Revoke(0, true), Step::Publish(3), Step::Pass(300)];
    for step in &steps {
        assert_eq!(take(&world, &service, step).await, None);
        for number in 0..TOKENS {
            *seen.entry(take(&world, &service, &Step::Show(number)).await.unwrap()).or_insert(0) += 1;
        }
    }
    for code in ["OK", "TOKEN_EXPIRED", "TOKEN_NOT_YET_VALID", "TOKEN_REVOKED", "KEY_NOT_FOUND", "ISSUER_UNKNOWN"] {
        assert!(seen.contains_key(code), "{code} of {seen:?}");
    }
    assert!(seen.contains_key("PROOF_REQUIRED"), "{seen:?}");
}
