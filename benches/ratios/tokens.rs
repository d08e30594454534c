//! What a token costs beside its signature, and what it costs when it is known.

use std::{path::PathBuf, sync::Arc};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ED25519, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, VerificationAlgorithm,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hallpass::{
    app::token_cache::TokenCache,
    domain::{
        id::RealmName,
        issuer::{Algorithm, Issuer, KeyLocation},
        key_set::KeySet,
        token,
    },
};
use serde_json::{Value, json};

use crate::measure::{Goal, Report, info, interleaved, median, median_ratio};

const ROUNDS: usize = 21;
const TIMES: usize = 500;
const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://idp.example";

/// Signs a message.
type Sign = Box<dyn Fn(&[u8]) -> Vec<u8>>;
/// Whether a message has this signature.
type Bare = Box<dyn Fn(&[u8], &[u8]) -> bool>;

/// A signature algorithm with a key: how it signs, how it is verified bare, the public key as a JWK.
struct Signer {
    algorithm: Algorithm,
    goal: f64,
    jwk: Value,
    sign: Sign,
    bare: Bare,
}

/// How much more than its signature's check a token costs, by algorithm, and how little once it is known.
pub(crate) fn run(report: &mut Report) {
    for signer in [rsa(), p256(), ed25519(), secret()] {
        let name = signer.algorithm.name().to_lowercase();
        let token = token(&signer);
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let keys = KeySet::from_jwks(&json!({ "keys": [signer.jwk] }).to_string()).unwrap();
        let issuer = Issuer {
            audiences: vec!["https://api.example/data/v3".into()],
            ..Issuer::new(ISSUER, &[signer.algorithm], KeyLocation::File(PathBuf::new()))
        };
        let (realm, cache): (RealmName, TokenCache<i64>) = ("edfi".parse().unwrap(), TokenCache::default());
        cache.insert(&realm, &token, Arc::new(NOW), NOW + 600, cache.generation(&realm));
        let [bare_us, full_us, known_us] = interleaved(
            ROUNDS,
            TIMES,
            [
                &mut || assert!((signer.bare)(signed.as_bytes(), &signature)),
                &mut || drop(token::read(&token).unwrap().verify(&issuer, &keys, NOW).unwrap()),
                &mut || assert_eq!(*cache.get(&realm, &token, NOW).unwrap(), NOW),
            ],
        );
        report.goal(
            &format!("token_{name}_over_signature"),
            median_ratio(&full_us, &bare_us),
            Goal::AtMost(signer.goal),
        );
        let goal = if signer.algorithm == Algorithm::HS256 { 0.08 } else { 0.02 };
        report.goal(&format!("token_known_over_{name}"), median_ratio(&known_us, &full_us), Goal::AtMost(goal));
        info(&format!("token_us_{name}"), median(&full_us));
        info(&format!("signature_us_{name}"), median(&bare_us));
    }
}

/// A token as they are: about 600 bytes.
fn token(signer: &Signer) -> String {
    let header = json!({ "alg": signer.algorithm.name(), "kid": "key-1", "typ": "at+jwt" });
    let claims = json!({
        "iss": ISSUER, "iat": NOW - 60, "exp": NOW + 3_600, "client_id": "vendor", "scope": "SISVendor",
        "sub": "8f4e5d8e-9a8e-4f55-b1a3-0d6a5c7b8e90", "aud": "https://api.example/data/v3",
        "educationOrganizationIds": "255901,255902,255903", "namespacePrefixes": "uri://ed-fi.org,uri://example.org",
        "jti": "2f1c8a52-6f39-4c55-9b0a-8a1c4c6f1a55",
    });
    let signed = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    let signature = (signer.sign)(signed.as_bytes());
    format!("{signed}.{}", encode(signature))
}

fn rsa() -> Signer {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let public = key.public_key();
    let jwk = json!({
        "kty": "RSA", "kid": "key-1", "alg": "RS256", "use": "sig",
        "n": encode(public.modulus().big_endian_without_leading_zero()),
        "e": encode(public.exponent().big_endian_without_leading_zero()),
    });
    let bare = bare(&RSA_PKCS1_2048_8192_SHA256, public.as_ref());
    let sign = move |message: &[u8]| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    };
    Signer { algorithm: Algorithm::RS256, goal: 1.8, jwk, sign: Box::new(sign), bare }
}

fn p256() -> Signer {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let point = key.public_key().as_ref();
    let (x, y) = point.get(1..).unwrap().split_at(32);
    let jwk = json!({ "kty": "EC", "crv": "P-256", "x": encode(x), "y": encode(y), "kid": "key-1" });
    let bare = bare(&ECDSA_P256_SHA256_FIXED, point);
    let sign = move |message: &[u8]| key.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    Signer { algorithm: Algorithm::ES256, goal: 1.4, jwk, sign: Box::new(sign), bare }
}

fn ed25519() -> Signer {
    let key = Ed25519KeyPair::generate().unwrap();
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(key.public_key()), "kid": "key-1" });
    let bare = bare(&ED25519, key.public_key().as_ref());
    let sign = move |message: &[u8]| key.sign(message).as_ref().to_vec();
    Signer { algorithm: Algorithm::EdDSA, goal: 1.4, jwk, sign: Box::new(sign), bare }
}

fn secret() -> Signer {
    let secret = [7; 32];
    let jwk = json!({ "kty": "oct", "k": encode(secret), "kid": "key-1" });
    let key = hmac::Key::new(hmac::HMAC_SHA256, &secret);
    let signing = key.clone();
    let sign = move |message: &[u8]| hmac::sign(&signing, message).as_ref().to_vec();
    let bare = move |message: &[u8], tag: &[u8]| hmac::verify(&key, message, tag).is_ok();
    Signer { algorithm: Algorithm::HS256, goal: 16.0, jwk, sign: Box::new(sign), bare: Box::new(bare) }
}

/// The check of a signature by a key that was parsed before, and nothing else.
fn bare(algorithm: &'static dyn VerificationAlgorithm, key: &[u8]) -> Bare {
    let key = ParsedPublicKey::new(algorithm, key).unwrap();
    Box::new(move |message, signature| key.verify_sig(message, signature).is_ok())
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
