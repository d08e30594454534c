use serde_json::json;

use super::*;
use crate::domain::test_keys::{TestKey, encode, jwks};

fn read(keys: &[Value]) -> Result<KeySet, KeySetError> {
    KeySet::from_jwks(&jwks(keys))
}

/// A key with some members replaced.
fn with(mut key: Value, members: &Value) -> Value {
    key.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    key
}

fn rsa(kid: &str) -> Value {
    TestKey::of(Algorithm::RS256).jwk(kid)
}

fn ec(kid: &str) -> Value {
    TestKey::of(Algorithm::ES256).jwk(kid)
}

fn secret(kid: &str) -> Value {
    TestKey::of(Algorithm::HS256).jwk(kid)
}

#[test]
fn a_key_is_found_by_its_exact_id_and_for_its_algorithms() {
    let set = read(&[rsa("rsa"), ec("ec"), with(rsa("pinned"), &json!({ "alg": "RS512", "use": "sig" }))]).unwrap();
    assert_eq!(set.len(), 3);
    for (kid, algorithm, fits) in [
        ("rsa", Algorithm::RS256, true),
        ("rsa", Algorithm::PS256, true),
        ("rsa", Algorithm::ES256, false),
        ("rsa", Algorithm::HS256, false),
        ("ec", Algorithm::ES256, true),
        ("ec", Algorithm::ES384, false),
        ("ec", Algorithm::EdDSA, false),
        ("pinned", Algorithm::RS512, true),
        ("pinned", Algorithm::RS256, false),
    ] {
        let answer = set.key(Some(kid), algorithm).err();
        assert_eq!(answer, (!fits).then_some(TokenError::AlgorithmKeyMismatch), "{kid} {algorithm:?}");
    }
    assert_eq!(set.key(Some("RSA"), Algorithm::RS256).unwrap_err(), TokenError::KeyNotFound);
    assert_eq!(set.key(None, Algorithm::RS256).unwrap_err(), TokenError::KeyIdMissing);
}

#[test]
fn the_only_usable_key_needs_no_id() {
    let set = read(&[rsa("rsa"), with(ec("ec"), &json!({ "use": "enc" }))]).unwrap();
    assert!(set.key(None, Algorithm::RS256).is_ok());
    let mut nameless = ec("");
    nameless.as_object_mut().unwrap().remove("kid");
    let set = read(&[nameless]).unwrap();
    assert!(set.key(None, Algorithm::ES256).is_ok());
    assert_eq!(set.key(Some(""), Algorithm::ES256).unwrap_err(), TokenError::KeyNotFound);
}

#[test]
fn a_key_for_something_else_or_a_weak_one_is_not_usable() {
    let even = encode([&[0xff; 255][..], &[0xfe]].concat());
    for unusable in [
        with(rsa("k"), &json!({ "use": "enc" })),
        with(rsa("k"), &json!({ "use": 1 })),
        with(rsa("k"), &json!({ "key_ops": ["sign"] })),
        with(rsa("k"), &json!({ "key_ops": "verify" })),
        with(rsa("k"), &json!({ "alg": "ES256" })),
        with(rsa("k"), &json!({ "alg": "RSA-OAEP" })),
        with(rsa("k"), &json!({ "alg": "rs256" })),
        with(rsa("k"), &json!({ "n": encode([0xff; 255]) })),
        with(rsa("k"), &json!({ "n": encode([&[0][..], &[0xff; 255]].concat()) })),
        with(rsa("k"), &json!({ "n": encode([0xff; 1025]) })),
        with(rsa("k"), &json!({ "n": even })),
        with(rsa("k"), &json!({ "n": "not base64url!" })),
        with(rsa("k"), &json!({ "n": 5 })),
        with(rsa("k"), &json!({ "e": "AQ" })),
        with(rsa("k"), &json!({ "e": "Ag" })),
        with(rsa("k"), &json!({ "e": "" })),
        with(ec("k"), &json!({ "alg": "ES384" })),
        with(ec("k"), &json!({ "crv": "P-384" })),
        with(ec("k"), &json!({ "crv": "secp256k1" })),
        with(ec("k"), &json!({ "kty": "RSA" })),
        with(ec("k"), &json!({ "x": encode([1; 31]) })),
        with(TestKey::of(Algorithm::EdDSA).jwk("k"), &json!({ "crv": "X25519" })),
        with(TestKey::of(Algorithm::EdDSA).jwk("k"), &json!({ "x": encode([1; 33]) })),
        with(secret("k"), &json!({ "alg": "A256GCM" })),
        with(secret("k"), &json!({ "use": "enc" })),
    ] {
        let set = read(std::slice::from_ref(&unusable)).unwrap();
        assert!(set.is_empty() && set.contains("k"), "{unusable}");
        for algorithm in Algorithm::ALL {
            for kid in [Some("k"), None] {
                assert!(matches!(set.key(kid, algorithm), Err(TokenError::KeyRejected { .. })), "{unusable}");
            }
        }
    }
    let set = read(&[with(rsa("k"), &json!({ "kid": 1 }))]).unwrap();
    assert!(matches!(set.key(None, Algorithm::RS256), Err(TokenError::KeyRejected { .. })));
}

#[test]
fn a_modulus_of_a_weak_generator_is_not_usable() {
    // A power of 65537 modulo each small prime, as such generators make them: 65537 to the 128th is 2049 bits long.
    let mut power = vec![1_u8];
    for _ in 0..128 {
        let shifted = [&[0, 0][..], &power].concat();
        let mut carry = 0;
        let add = |(index, digit): (usize, &u8)| {
            let digits = u16::from(*digit) + u16::from(*power.get(index).unwrap_or(&0)) + carry;
            carry = digits >> 8;
            digits.to_le_bytes()[0]
        };
        let sum = shifted.iter().enumerate().map(add).collect();
        assert_eq!(carry, 0);
        power = sum;
    }
    power.reverse();
    let set = read(&[with(rsa("k"), &json!({ "n": encode(&power) }))]).unwrap();
    assert_eq!(set.rejected().next().unwrap().1, "its RSA modulus has the ROCA weakness (CVE-2017-15361)");
}

#[test]
fn keys_of_unknown_types_are_ignored() {
    let set = read(&[json!({ "kty": "AKP", "kid": "pq" }), json!({ "kid": "x" }), json!({}), ec("ec")]).unwrap();
    assert_eq!(format!("{set:?}"), r#"KeySet ["ec"]"#);
}

#[test]
fn a_set_that_cannot_be_trusted_is_refused() {
    let short = with(secret("k"), &json!({ "k": encode([1; 31]) }));
    let many: Vec<_> = (0..=KEYS_MAX).map(|number| with(ec(""), &json!({ "kid": number.to_string() }))).collect();
    for (keys, fault) in [
        (vec![ec("k"), rsa("k")], KeySetError::DuplicateId { id: "k".into() }),
        (vec![ec("k"), with(rsa("k"), &json!({ "use": "enc" }))], KeySetError::DuplicateId { id: "k".into() }),
        (vec![secret("a"), ec("b")], KeySetError::Mixed),
        (vec![with(rsa("k"), &json!({ "d": "AQAB" }))], KeySetError::Private),
        (vec![with(ec("k"), &json!({ "d": "AQAB", "use": "enc" }))], KeySetError::Private),
        (vec![short], KeySetError::SecretTooShort),
        (vec![with(secret("k"), &json!({ "k": "" }))], KeySetError::SecretTooShort),
        (vec![json!("key")], KeySetError::Malformed { reason: "has a key that is not an object" }),
        (many, KeySetError::TooManyKeys),
    ] {
        assert_eq!(read(&keys).unwrap_err(), fault);
    }
    for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, r#"{"keys":[{"kty":"EC","kty":"RSA"}]}"#]
    {
        assert!(matches!(KeySet::from_jwks(bad), Err(KeySetError::Malformed { .. })), "{bad}");
    }
    let padded = |bytes| format!("{{\"keys\":[]{}}}", " ".repeat(bytes - 11));
    assert!(KeySet::from_jwks(&padded(JWKS_BYTES_MAX)).is_ok());
    assert_eq!(KeySet::from_jwks(&padded(JWKS_BYTES_MAX + 1)).unwrap_err(), KeySetError::TooLarge);
}

#[test]
fn debug_shows_ids_only() {
    let set = read(&[secret("one"), secret("two")]).unwrap();
    assert_eq!(format!("{set:?}"), r#"KeySet ["one", "two"]"#);
}
