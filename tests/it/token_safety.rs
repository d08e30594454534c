//! Tokens and key sets from strangers: nothing makes the readers panic, and nothing is accepted that a strict reader
//! would not accept.

use std::path::PathBuf;
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hallpass::domain::issuer::{Algorithm, Issuer, KeyLocation};
use hallpass::domain::key_set::KeySet;
use hallpass::domain::token;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::fuzz::entry;

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://issuer.example";

static KEY: LazyLock<Ed25519KeyPair> = LazyLock::new(|| Ed25519KeyPair::generate().unwrap());

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn keys() -> Value {
    json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": encode(KEY.public_key()), "kid": "k" }] })
}

fn sign(header: &[u8], payload: &[u8]) -> String {
    let signed = format!("{}.{}", encode(header), encode(payload));
    format!("{signed}.{}", encode(KEY.sign(signed.as_bytes())))
}

fn issuer() -> Issuer {
    Issuer {
        audiences: vec!["api".into()],
        ..Issuer::new(ISSUER, &[Algorithm::EdDSA], KeyLocation::File(PathBuf::new()))
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "sub": "user", "aud": "api", "iat": NOW, "exp": NOW + 600, "scope": "read" })
}

const HEADER: &[u8] = br#"{"alg":"EdDSA","kid":"k"}"#;

fn is_accepted(token: &str) -> bool {
    let set = KeySet::from_jwks(&keys().to_string()).unwrap();
    let verified = token::read(token).and_then(|unverified| unverified.verify(&issuer(), &set, NOW));
    verified.is_ok()
}

/// What every accepted token is: three parts of canonical base64url, whose contents mean the same to any reader, and whose
/// claims are in order.
fn is_strict(token: &str) -> bool {
    let parts: Vec<_> = token.split('.').collect();
    let decoded: Option<Vec<_>> = parts.iter().map(|part| URL_SAFE_NO_PAD.decode(part).ok()).collect();
    let Some([header, payload, signature]) = decoded.and_then(|parts| <[Vec<u8>; 3]>::try_from(parts).ok()) else {
        return false;
    };
    let is_canonical =
        [&header, &payload, &signature].into_iter().zip(&parts).all(|(bytes, part)| encode(bytes) == **part);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let is_signed = aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, KEY.public_key())
        .verify(signed.as_bytes(), &signature)
        .is_ok();
    let object = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).ok().filter(Value::is_object);
    let (Some(header), Some(payload)) = (object(&header), object(&payload)) else { return false };
    is_canonical
        && is_signed
        && header["alg"] == "EdDSA"
        && ["jwk", "jku", "x5u", "x5c", "zip", "cty", "crit", "b64"].iter().all(|name| header.get(name).is_none())
        && payload["iss"] == ISSUER
        && payload["aud"].as_array().map_or(payload["aud"] == "api", |list| list.contains(&json!("api")))
        && payload["exp"].as_f64().is_some_and(|until| until + 30.0 > 1_790_000_000.0)
}

/// A change of a text at some place.
fn changed(text: &str, place: usize, change: u8, with: char) -> String {
    let mut characters: Vec<char> = text.chars().collect();
    let place = place % characters.len().max(1);
    match change % 4 {
        0 => characters.insert(place, with),
        1 => characters[place] = with,
        2 => drop(characters.remove(place)),
        _ => characters.truncate(place),
    }
    characters.into_iter().collect()
}

proptest! {
    #[test]
    fn no_bytes_at_all_make_the_readers_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        entry::token(&bytes);
        entry::key_set(&bytes);
    }

    #[test]
    fn nothing_in_three_parts_makes_the_readers_panic(
        header in ".{0,60}", payload in prop::collection::vec(any::<u8>(), 0..200), signature in any::<[u8; 8]>(),
    ) {
        entry::token(format!("{}.{}.{}", encode(header), encode(payload), encode(signature)).as_bytes());
    }

    #[test]
    fn a_changed_token_is_accepted_only_if_a_strict_reader_accepts_it(
        place in any::<usize>(), change in any::<u8>(), with in "[A-Za-z0-9_.=+/ -]",
    ) {
        let token = sign(HEADER, claims().to_string().as_bytes());
        prop_assert!(is_accepted(&token) && is_strict(&token));
        let changed = changed(&token, place, change, with.chars().next().unwrap());
        entry::token(changed.as_bytes());
        prop_assert!(!is_accepted(&changed) || is_strict(&changed) && changed == token, "{}", changed);
    }

    #[test]
    fn a_changed_payload_that_was_signed_is_accepted_only_if_a_strict_reader_accepts_it(
        in_header in any::<bool>(), place in any::<usize>(), change in any::<u8>(), with in any::<char>(),
    ) {
        let (header, payload) = (String::from_utf8(HEADER.to_vec()).unwrap(), claims().to_string());
        let token = if in_header {
            sign(changed(&header, place, change, with).as_bytes(), payload.as_bytes())
        } else {
            sign(HEADER, changed(&payload, place, change, with).as_bytes())
        };
        prop_assert!(!is_accepted(&token) || is_strict(&token), "{}", token);
    }

    #[test]
    fn a_changed_key_set_is_refused_or_keeps_its_key(place in any::<usize>(), change in any::<u8>(), with in any::<char>()) {
        let text = changed(&keys().to_string(), place, change, with);
        entry::key_set(text.as_bytes());
        if let Ok(set) = KeySet::from_jwks(&text) {
            let token = sign(HEADER, claims().to_string().as_bytes());
            let is_same = serde_json::from_str::<Value>(&text).is_ok_and(|set| set["keys"][0]["x"] == keys()["keys"][0]["x"]);
            let verified = token::read(&token).and_then(|unverified| unverified.verify(&issuer(), &set, NOW));
            prop_assert!(verified.is_err() || is_same, "{}", text);
        }
    }
}
