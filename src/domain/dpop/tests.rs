use serde_json::json;

use super::*;
use crate::domain::test_keys::{TestKey, encode};

const NOW: i64 = 1_790_000_000;
const TOKEN: &str = "header.payload.signature";
const URI: &str = "https://api.example/students/7";

/// A client's key, and the proofs that it makes.
struct Client {
    key: TestKey,
    algorithm: Algorithm,
}

impl Client {
    fn new(algorithm: Algorithm) -> Self {
        Self { key: TestKey::of(algorithm), algorithm }
    }

    fn jwk(&self) -> Value {
        let mut key = self.key.jwk("");
        key.as_object_mut().unwrap().remove("kid");
        key
    }

    fn thumbprint(&self) -> [u8; 32] {
        thumbprint(self.jwk().as_object().unwrap()).unwrap()
    }

    fn header(&self) -> Value {
        json!({ "typ": "dpop+jwt", "alg": self.algorithm.name(), "jwk": self.jwk() })
    }

    fn proof(&self, header: &Value, claims: &Value) -> String {
        self.key.token(self.algorithm, header.to_string(), claims.to_string())
    }

    fn check(&self, proof: &str) -> Result<Proof, TokenError> {
        let key_thumbprint = &self.thumbprint();
        let request =
            Request { token: TOKEN, key_thumbprint, method: "GET", uri: URI, now_seconds: NOW, skew_seconds: 30 };
        check(&[proof.into()], &request)
    }
}

fn claims() -> Value {
    json!({ "jti": "id", "htm": "GET", "htu": URI, "iat": NOW, "ath": encode(Sha256::digest(TOKEN)) })
}

/// A value with one member replaced, or removed by `null`.
fn with(mut object: Value, name: &str, value: impl Into<Value>) -> Value {
    object[name] = value.into();
    object.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    object
}

#[track_caller]
fn check_claims(claims: &Value, is_good: bool) {
    let client = Client::new(Algorithm::ES256);
    let answer = client.check(&client.proof(&client.header(), claims));
    assert_eq!(answer.is_ok(), is_good, "{claims}: {answer:?}");
    assert!(is_good || matches!(answer, Err(TokenError::ProofInvalid { .. })));
}

#[test]
fn a_proof_of_each_algorithm_holds() {
    for algorithm in ALGORITHMS {
        let client = Client::new(algorithm);
        let proof = client.check(&client.proof(&client.header(), &claims())).unwrap();
        let expected = Proof { id: ProofId::new(&client.thumbprint(), "id"), until_seconds: NOW + 90 };
        assert_eq!(proof, expected, "{algorithm:?}");
    }
}

#[test]
fn the_thumbprint_is_the_published_one() {
    // RFC 7638 section 3.1 and RFC 8037 appendix A.3.
    for (key, expected) in [
        (
            json!({
                "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
                "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
            }),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs",
        ),
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k",
        ),
    ] {
        assert_eq!(encode(thumbprint(key.as_object().unwrap()).unwrap()), expected);
    }
}

#[test]
fn exactly_one_proof_is_needed() {
    let client = Client::new(Algorithm::ES256);
    let proof: Arc<str> = client.proof(&client.header(), &claims()).into();
    let key_thumbprint = &client.thumbprint();
    let request = Request { token: TOKEN, key_thumbprint, method: "GET", uri: URI, now_seconds: NOW, skew_seconds: 0 };
    assert!(check(std::slice::from_ref(&proof), &request).is_ok());
    assert_eq!(check(&[], &request), Err(TokenError::ProofRequired));
    for several in [vec![Arc::clone(&proof); 2], vec![proof, "".into()]] {
        assert!(matches!(check(&several, &request), Err(TokenError::ProofInvalid { .. })));
    }
    for other in ["", "a.b.c", "proof, proof"] {
        assert!(matches!(check(&[other.into()], &request), Err(TokenError::ProofInvalid { .. })), "{other}");
    }
}

#[test]
fn each_claim_is_needed_and_fits_the_request() {
    check_claims(&claims(), true);
    for claim in ["jti", "htm", "htu", "iat", "ath"] {
        check_claims(&with(claims(), claim, Value::Null), false);
        check_claims(&with(claims(), claim, json!([claims()[claim]])), false);
    }
    for (claim, value) in [
        ("htm", "get"),
        ("htm", "POST"),
        ("htm", ""),
        ("htu", "https://api.example/students/8"),
        ("htu", "http://api.example/students/7"),
        ("htu", "https://api.example:8443/students/7"),
        ("htu", "https://api.example/students/7/"),
        ("htu", "/students/7"),
        ("ath", ""),
        ("ath", TOKEN),
        ("jti", ""),
        ("jti", &"x".repeat(513)),
        ("iat", "1790000000"),
    ] {
        check_claims(&with(claims(), claim, value), false);
    }
    for (claim, value) in [
        ("htu", "HTTPS://API.example:443/%73tudents/./7?query#fragment"),
        ("jti", &*"x".repeat(512)),
        ("nonce", "never asked for"),
    ] {
        check_claims(&with(claims(), claim, value), true);
    }
    check_claims(&with(claims(), "ath", encode(Sha256::digest("other"))), false);
    check_claims(&with(claims(), "ath", format!("{}=", claims()["ath"].as_str().unwrap())), false);
}

#[test]
fn a_proof_holds_for_a_minute_and_the_skew_and_is_ahead_by_the_skew_alone() {
    for (ago, is_good) in [(90, true), (91, false), (-30, true), (-31, false), (600, false), (NOW, false)] {
        check_claims(&with(claims(), "iat", NOW - ago), is_good);
    }
    for (claim, value, is_good) in [
        ("iat", json!(1_789_999_999.5), true),
        ("iat", json!(i64::MAX), false),
        ("iat", json!(i64::MIN), false),
        ("iat", json!(u64::MAX), false),
        ("iat", json!(1e300), false),
        ("exp", json!(NOW - 29), true),
        ("exp", json!(NOW - 30), false),
        ("exp", json!("later"), false),
        ("nbf", json!(NOW + 30), true),
        ("nbf", json!(NOW + 31), false),
    ] {
        check_claims(&with(claims(), claim, value), is_good);
    }
}

#[test]
fn the_request_must_be_told() {
    let client = Client::new(Algorithm::ES256);
    let proof: Arc<str> = client.proof(&client.header(), &with(claims(), "htm", "")).into();
    let key_thumbprint = &client.thumbprint();
    let told = Request { token: TOKEN, key_thumbprint, method: "", uri: URI, now_seconds: NOW, skew_seconds: 0 };
    assert!(matches!(check(&[proof], &told), Err(TokenError::ProofInvalid { .. })));
    let proof: Arc<str> = client.proof(&client.header(), &claims()).into();
    for (method, uri) in [("", URI), ("GET", ""), ("GET", "/students/7")] {
        let told = Request { method, uri, ..told };
        assert!(matches!(check(&[Arc::clone(&proof)], &told), Err(TokenError::ProofInvalid { .. })), "{method} {uri}");
    }
}

#[test]
fn the_header_says_what_it_is_and_brings_the_bound_key() {
    let client = Client::new(Algorithm::ES256);
    let header = client.header();
    let private = with(client.jwk(), "d", encode([1; 32]));
    let secret = with(client.jwk(), "k", encode([1; 32]));
    for (name, value, is_good) in [
        ("typ", json!("DPoP+JWT"), true),
        ("typ", json!("application/dpop+jwt"), true),
        ("kid", json!("anything"), true),
        ("other", json!(1), true),
        ("typ", Value::Null, false),
        ("typ", json!("JWT"), false),
        ("typ", json!("at+jwt"), false),
        ("alg", Value::Null, false),
        ("alg", json!("none"), false),
        ("alg", json!("HS256"), false),
        ("alg", json!("ES384"), false),
        ("alg", json!("EdDSA"), false),
        ("jwk", Value::Null, false),
        ("jwk", json!("key"), false),
        ("jwk", private, false),
        ("jwk", secret, false),
        ("jwk", Client::new(Algorithm::ES256).jwk(), false),
        ("jwk", TestKey::of(Algorithm::HS256).jwk("k"), false),
        ("jwk", with(client.jwk(), "use", "enc"), false),
        ("jwk", with(client.jwk(), "alg", "ES512"), false),
        ("jwk", with(client.jwk(), "alg", "ES256"), true),
        ("jku", json!("https://evil.example"), false),
        ("x5c", json!([]), false),
        ("zip", json!("DEF"), false),
        ("crit", json!(["nonce"]), false),
        ("b64", json!(false), false),
    ] {
        let header = with(header.clone(), name, value);
        let answer = client.check(&client.proof(&header, &claims()));
        assert_eq!(answer.is_ok(), is_good, "{header}: {answer:?}");
    }
}

#[test]
fn a_proof_of_another_key_or_with_another_signature_does_not_hold() {
    let (client, other) = (Client::new(Algorithm::ES256), Client::new(Algorithm::ES256));
    let foreign = other.proof(&other.header(), &claims());
    assert!(client.check(&foreign).is_err() && other.check(&foreign).is_ok());
    // The bound key in the header, the signature by another one.
    assert!(client.check(&other.proof(&client.header(), &claims())).is_err());
    let good = client.proof(&client.header(), &claims());
    let (signed, _) = good.rsplit_once('.').unwrap();
    for signature in [String::new(), encode([0; 64]), encode([1; 63])] {
        assert!(client.check(&format!("{signed}.{signature}")).is_err());
    }
    assert!(client.check(&good.replace('.', "=.")).is_err() && client.check(&format!("{good} ")).is_err());
}

#[test]
fn a_proof_with_any_one_character_changed_does_not_hold() {
    let client = Client::new(Algorithm::EdDSA);
    let good = client.proof(&client.header(), &claims());
    for index in 0..good.len() {
        for other in [b'A', b'B', b'.', b'='] {
            let mut bytes = good.clone().into_bytes();
            if bytes[index] != other {
                bytes[index] = other;
                assert!(client.check(&String::from_utf8(bytes).unwrap()).is_err(), "{index}");
            }
        }
    }
}

#[test]
fn names_that_stand_twice_are_refused() {
    let client = Client::new(Algorithm::ES256);
    let twice = claims().to_string().replacen('{', r#"{"htm":"GET","#, 1);
    let proof = client.key.token(client.algorithm, client.header().to_string(), twice);
    assert!(client.check(&proof).is_err());
    let twice = client.header().to_string().replacen('{', r#"{"alg":"ES256","#, 1);
    assert!(client.check(&client.key.token(client.algorithm, twice, claims().to_string())).is_err());
}
