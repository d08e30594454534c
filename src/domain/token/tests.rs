use std::path::PathBuf;
use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::issuer::{Algorithm, KeyLocation, VersionRule};
use crate::domain::jws::TOKEN_BYTES_MAX;
use crate::domain::test_keys::{TestKey, encode, jwks};

const NOW: i64 = 1_790_000_000;
const HEADER: &str = r#"{"alg":"ES256","kid":"ec","typ":"JWT"}"#;
const ISSUER: &str = "https://issuer.example/";

static KEY: LazyLock<TestKey> = LazyLock::new(|| TestKey::of(Algorithm::ES256));
static KEYS: LazyLock<KeySet> = LazyLock::new(|| {
    let weak = json!({ "kty": "RSA", "n": encode([0xff; 128]), "e": "AQAB", "kid": "weak" });
    let ed = TestKey::of(Algorithm::EdDSA).jwk("ed");
    KeySet::from_jwks(&jwks(&[KEY.jwk("ec"), ed, weak])).unwrap()
});

fn issuer() -> Issuer {
    Issuer {
        audiences: vec!["https://api.example/".into(), "api".into()],
        required_claims: vec!["sub".into(), "preferred_username".into()],
        lifetime_seconds_max: Some(86_400),
        ..Issuer::new(ISSUER, &[Algorithm::ES256, Algorithm::RS256], KeyLocation::File(PathBuf::new()))
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER,
        "sub": "user",
        "aud": "https://api.example/",
        "iat": NOW - 60,
        "exp": NOW + 3600,
        "preferred_username": "alice",
        "client_id": "client",
        "scope": "read write",
    })
}

/// The usual claims with one replaced, or removed by `null`.
fn with(claim: &str, value: impl Into<Value>) -> Value {
    let mut claims = claims();
    claims[claim] = value.into();
    claims
}

fn without(claim: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(claim).unwrap();
    claims
}

fn verify(token: &str, issuer: &Issuer) -> Result<Claims, TokenError> {
    read(token)?.verify(issuer, &KEYS, NOW)
}

fn sign(header: &str, claims: &Value) -> String {
    KEY.token(Algorithm::ES256, header, claims.to_string())
}

#[track_caller]
fn check(token: &str, issuer: &Issuer, code: &str) {
    let answer = verify(token, issuer).err().map_or("OK", |fault| fault.code());
    assert_eq!(answer, code);
}

#[track_caller]
fn check_claims(claims: &Value, code: &str) {
    let answer = verify(&sign(HEADER, claims), &issuer()).err().map_or("OK", |fault| fault.code());
    assert_eq!(answer, code, "{claims}");
}

#[test]
fn every_algorithm_verifies_and_notices_a_changed_bit() {
    for algorithm in Algorithm::ALL {
        let key = TestKey::of(algorithm);
        let keys = KeySet::from_jwks(&jwks(&[key.jwk("k")])).unwrap();
        let issuer = Issuer { algorithms: vec![algorithm], ..issuer() };
        let header = json!({ "alg": algorithm.name(), "kid": "k" }).to_string();
        let token = key.token(algorithm, &header, claims().to_string());
        let verified = read(&token).unwrap().verify(&issuer, &keys, NOW);
        assert_eq!(verified.unwrap().subject(), Some("user"), "{algorithm:?}");

        let (signed, _) = token.rsplit_once('.').unwrap();
        let mut signature = key.sign(algorithm, signed);
        signature[10] ^= 1;
        let changed = format!("{signed}.{}", encode(&signature));
        let refused = read(&changed).unwrap().verify(&issuer, &keys, NOW);
        assert_eq!(refused, Err(TokenError::SignatureInvalid), "{algorithm:?}");

        let other = if let TestKey::Rsa(_) = key { TestKey::other_rsa() } else { TestKey::of(algorithm) };
        let foreign = other.token(algorithm, &header, claims().to_string());
        let refused = read(&foreign).unwrap().verify(&issuer, &keys, NOW);
        assert_eq!(refused, Err(TokenError::SignatureInvalid), "{algorithm:?}");
    }
}

#[test]
fn an_algorithm_is_not_taken_for_another_one_of_the_same_key() {
    let key = TestKey::of(Algorithm::RS256);
    let keys = KeySet::from_jwks(&jwks(&[key.jwk("k")])).unwrap();
    let issuer = Issuer { algorithms: vec![Algorithm::RS256, Algorithm::PS256, Algorithm::RS512], ..issuer() };
    for (said, done) in [("RS256", Algorithm::PS256), ("PS256", Algorithm::RS256), ("RS512", Algorithm::RS256)] {
        let token = key.token(done, format!(r#"{{"alg":"{said}","kid":"k"}}"#), claims().to_string());
        assert_eq!(read(&token).unwrap().verify(&issuer, &keys, NOW), Err(TokenError::SignatureInvalid), "{said}");
    }
}

#[test]
fn verified_claims_can_be_asked_for() {
    let mut all = claims();
    all["act"] = json!({ "sub": "actor", "act": { "sub": "earlier" } });
    all["jti"] = json!("id");
    let claims = verify(&sign(HEADER, &all), &issuer()).unwrap();
    assert_eq!(&**claims.issuer(), ISSUER);
    assert_eq!(claims.expires_at_seconds(), NOW + 3600);
    assert_eq!(claims.subject(), Some("user"));
    assert_eq!(claims.client_id(), Some("client"));
    assert_eq!(claims.token_id(), Some("id"));
    assert_eq!(claims.actor(), Some("actor"));
    assert_eq!(claims.get("scope"), Some(&json!("read write")));
    assert_eq!(claims.as_map(), all.as_object().unwrap());
}

#[test]
fn before_verification_only_issuer_and_key_id_are_told() {
    let token = sign(HEADER, &claims());
    let unverified = read(&token).unwrap();
    assert_eq!((unverified.issuer(), unverified.key_id()), (ISSUER, Some("ec")));
}

#[test]
fn what_is_not_a_compact_jws_is_refused() {
    let good = sign(HEADER, &claims());
    let [header, payload, signature] = [0, 1, 2].map(|part| good.split('.').nth(part).unwrap());
    for bad in [
        String::new(),
        "token".to_owned(),
        format!("{header}.{payload}"),
        format!("{good}.{signature}"),
        format!("{good}."),
        format!("{header}=.{payload}.{signature}"),
        format!("{header}.{payload}\n.{signature}"),
        format!("{header}.{payload}.{signature}=="),
        format!("{good} "),
        format!(" {good}"),
        format!("{header}.{payload}.{}", signature.replace(['-', '_'], "+") + "/"),
        format!(r#"{{"protected":"{header}","payload":"{payload}","signature":"{signature}"}}"#),
        format!("{header}.é{payload}.{signature}"),
    ] {
        check(&bad, &issuer(), "TOKEN_FORMAT");
    }
    // 64 bytes leave 4 unused bits in the last character, which must be zero.
    let last = signature.chars().last().unwrap();
    let next = char::from(last as u8 + 1);
    check(&format!("{}{next}", good.strip_suffix(last).unwrap()), &issuer(), "TOKEN_FORMAT");
    check(&good, &issuer(), "OK");
}

#[test]
fn a_token_of_more_than_16_kib_is_not_read() {
    let room = TOKEN_BYTES_MAX - sign(HEADER, &with("pad", "")).len();
    let padded = |bytes: usize| sign(HEADER, &with("pad", "x".repeat(bytes)));
    check(&padded(room * 3 / 4 - 2), &issuer(), "OK");
    check(&padded(room * 3 / 4 + 2), &issuer(), "TOKEN_TOO_LARGE");
}

#[test]
fn header_faults_are_told_apart() {
    for (header, code) in [
        ("", "HEADER_INVALID"),
        ("[\"ES256\"]", "HEADER_INVALID"),
        (r#"{"kid":"ec"}"#, "HEADER_INVALID"),
        (r#"{"alg":["ES256"],"kid":"ec"}"#, "HEADER_INVALID"),
        (r#"{"alg":"ES256","kid":1}"#, "HEADER_INVALID"),
        (r#"{"alg":"ES256","kid":"ec","typ":1}"#, "HEADER_INVALID"),
        (r#"{"alg":"ES256","kid":"ec","crit":"exp"}"#, "HEADER_INVALID"),
        (r#"{"alg":"ES256","kid":"ec","alg":"none"}"#, "DUPLICATE_KEY"),
        (r#"{"alg":"none","kid":"ec"}"#, "ALG_NOT_ALLOWED"),
        (r#"{"alg":"nOnE","kid":"ec"}"#, "ALG_NOT_ALLOWED"),
        (r#"{"alg":"es256","kid":"ec"}"#, "ALG_NOT_ALLOWED"),
        (r#"{"alg":"HS256","kid":"ec"}"#, "ALG_NOT_ALLOWED"),
        (r#"{"alg":"EdDSA","kid":"ed"}"#, "ALG_NOT_ALLOWED"),
        (r#"{"alg":"ES256","kid":"ec","jwk":{}}"#, "HEADER_FORBIDDEN"),
        (r#"{"alg":"ES256","kid":"ec","jku":"https://keys.example/"}"#, "HEADER_FORBIDDEN"),
        (r#"{"alg":"ES256","kid":"ec","x5u":"https://keys.example/"}"#, "HEADER_FORBIDDEN"),
        (r#"{"alg":"ES256","kid":"ec","x5c":[]}"#, "HEADER_FORBIDDEN"),
        (r#"{"alg":"ES256","kid":"ec","zip":"DEF"}"#, "HEADER_FORBIDDEN"),
        (r#"{"alg":"ES256","kid":"ec","cty":"JWT"}"#, "HEADER_FORBIDDEN"),
        (r#"{"alg":"ES256","kid":"ec","crit":["exp2"],"exp2":1}"#, "CRIT_UNSUPPORTED"),
        (r#"{"alg":"ES256","kid":"ec","crit":[]}"#, "CRIT_UNSUPPORTED"),
        (r#"{"alg":"ES256","kid":"ec","b64":false}"#, "CRIT_UNSUPPORTED"),
        (r#"{"alg":"ES256","kid":"EC"}"#, "KEY_NOT_FOUND"),
        (r#"{"alg":"ES256","kid":""}"#, "KEY_NOT_FOUND"),
        (r#"{"alg":"ES256","kid":"../../dev/null"}"#, "KEY_NOT_FOUND"),
        (r#"{"alg":"ES256"}"#, "KEY_NOT_FOUND"),
        (r#"{"alg":"RS256","kid":"weak"}"#, "KEY_REJECTED"),
        (r#"{"alg":"ES256","kid":"ed"}"#, "ALG_KEY_MISMATCH"),
        (r#"{"alg":"ES256","kid":"ec","unknown":"ignored"}"#, "OK"),
    ] {
        let answer = verify(&sign(header, &claims()), &issuer()).err().map_or("OK", |fault| fault.code());
        assert_eq!(answer, code, "{header}");
    }
    let long = json!({ "alg": "ES256", "kid": "k".repeat(257) }).to_string();
    check(&sign(&long, &claims()), &issuer(), "HEADER_INVALID");
}

#[test]
fn payload_faults_are_told_apart() {
    for (payload, code) in [
        (&b""[..], "PAYLOAD_INVALID"),
        (b"[1]", "PAYLOAD_INVALID"),
        (b"{\"iss\":\"\xff\"}", "PAYLOAD_INVALID"),
        (b"{\"iss\":\"a\",\"iss\":\"https://issuer.example/\"}", "DUPLICATE_KEY"),
        (b"{\"sub\":\"a\"}", "CLAIM_MISSING"),
        (b"{\"iss\":[\"https://issuer.example/\"]}", "CLAIM_TYPE_INVALID"),
        (b"{\"iss\":\"https://issuer.example\"}", "ISSUER_UNKNOWN"),
        (b"{\"iss\":\"HTTPS://ISSUER.EXAMPLE/\"}", "ISSUER_UNKNOWN"),
    ] {
        let token = KEY.token(Algorithm::ES256, HEADER, payload);
        check(&token, &issuer(), code);
    }
}

#[test]
fn claims_are_required_as_the_issuer_says() {
    for claim in ["sub", "preferred_username", "exp", "aud"] {
        check_claims(&without(claim), "CLAIM_MISSING");
        check_claims(&with(claim, Value::Null), "CLAIM_TYPE_INVALID");
        check_claims(&with(claim, ""), "CLAIM_TYPE_INVALID");
    }
    for claim in ["iat", "client_id", "scope"] {
        check_claims(&without(claim), "OK");
    }
    assert_eq!(verify(&sign(HEADER, &without("sub")), &issuer()), Err(missing("sub")));
}

#[test]
fn claims_have_their_types() {
    for (claim, value) in [
        ("sub", json!(5)),
        ("client_id", json!("")),
        ("client_id", json!(["client"])),
        ("jti", json!(1)),
        ("azp", json!(1)),
        ("preferred_username", json!({})),
        ("aud", json!(["https://api.example/", 1])),
        ("aud", json!({ "https://api.example/": true })),
        ("scope", json!(5)),
        ("scope", json!({ "read": true })),
        ("scope", json!("read\twrite")),
        ("act", json!("actor")),
        ("act", json!({ "x": 1 })),
        ("act", json!({ "sub": "" })),
        ("exp", json!("1790003600")),
        ("exp", json!(true)),
        ("exp", json!(18_446_744_073_709_551_616.0)),
        ("exp", json!(u64::MAX)),
        ("nbf", json!("1790000000")),
        ("iat", json!([NOW])),
    ] {
        check_claims(&with(claim, value), "CLAIM_TYPE_INVALID");
    }
    check_claims(&with("scope", json!(["read", "write"])), "OK");
    check_claims(&with("scope", json!("SIS Vendor: Élèves")), "OK");
    check_claims(&with("act", json!({ "sub": "actor" })), "OK");
}

#[test]
fn times_hold_within_the_skew() {
    for (claim, value, code) in [
        ("exp", json!(NOW - 29), "OK"),
        ("exp", json!(NOW - 30), "TOKEN_EXPIRED"),
        ("exp", json!(-1), "TOKEN_EXPIRED"),
        ("exp", json!(1_789_999_970.9), "TOKEN_EXPIRED"),
        ("exp", json!(1_790_000_600.5), "OK"),
        ("nbf", json!(NOW + 30), "OK"),
        ("nbf", json!(NOW + 31), "TOKEN_NOT_YET_VALID"),
        ("nbf", json!(1_790_000_030.1), "TOKEN_NOT_YET_VALID"),
        ("iat", json!(NOW + 30), "OK"),
        ("iat", json!(NOW + 31), "TOKEN_NOT_YET_VALID"),
        ("exp", json!(NOW - 60 + 86_400), "OK"),
        ("exp", json!(NOW - 60 + 86_401), "LIFETIME_TOO_LONG"),
        ("exp", json!((NOW + 3600) * 1000), "LIFETIME_TOO_LONG"),
        ("exp", json!(i64::MAX), "LIFETIME_TOO_LONG"),
        ("iat", json!(i64::MIN), "LIFETIME_TOO_LONG"),
    ] {
        check_claims(&with(claim, value), code);
    }
    let unlimited = Issuer { lifetime_seconds_max: None, ..issuer() };
    check(&sign(HEADER, &with("exp", NOW + 400 * 86_400)), &unlimited, "OK");
    check(&sign(HEADER, &with("exp", (NOW + 3600) * 1000)), &unlimited, "LIFETIME_TOO_LONG");
    let mut timeless = without("iat");
    timeless["exp"] = json!(NOW + 86_401);
    check_claims(&timeless, "LIFETIME_TOO_LONG");
}

#[test]
fn the_audience_is_one_exact_element() {
    for (audience, code) in [
        (json!("api"), "OK"),
        (json!(["other", "api"]), "OK"),
        (json!([]), "AUDIENCE_MISMATCH"),
        (json!("https://api.example"), "AUDIENCE_MISMATCH"),
        (json!("https://api.example/admin"), "AUDIENCE_MISMATCH"),
        (json!("API"), "AUDIENCE_MISMATCH"),
        (json!("other api"), "AUDIENCE_MISMATCH"),
    ] {
        check_claims(&with("aud", audience), code);
    }
    let any = Issuer { audiences: Vec::new(), ..issuer() };
    check(&sign(HEADER, &with("aud", "elsewhere")), &any, "OK");
    check(&sign(HEADER, &without("aud")), &any, "OK");
    check(&sign(HEADER, &with("aud", 5)), &any, "CLAIM_TYPE_INVALID");
}

#[test]
fn the_type_is_a_media_type() {
    let header = |typ: &str| json!({ "alg": "ES256", "kid": "ec", "typ": typ }).to_string();
    let typed = Issuer { types: vec!["at+jwt".into()], ..issuer() };
    for good in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+Jwt"] {
        check(&sign(&header(good), &claims()), &typed, "OK");
    }
    for bad in ["JWT", "at+jwt ", "text/at+jwt", "secevent+jwt", "logout+jwt", ""] {
        check(&sign(&header(bad), &claims()), &typed, "TYP_INVALID");
    }
    check(&sign(r#"{"alg":"ES256","kid":"ec"}"#, &claims()), &typed, "TYP_INVALID");
    for other in ["dpop+jwt", "application/Logout+JWT", "token-introspection+jwt"] {
        check(&sign(&header(other), &claims()), &issuer(), "TYP_INVALID");
    }
    check(&sign(&header("anything"), &claims()), &issuer(), "OK");
}

#[test]
fn what_a_token_is_bound_to_is_kept_or_there_is_no_way_to_show_it() {
    let thumbprint = encode([7; 32]);
    let bound = with("cnf", json!({ "jkt": thumbprint, "x5t#S256": thumbprint, "kid": "k" }));
    let claims = verify(&sign(HEADER, &bound), &issuer()).unwrap();
    let both = Confirmation { key_thumbprint: Some([7; 32]), certificate_thumbprint: Some([7; 32]) };
    assert_eq!(claims.confirmation(), Some(&both));
    for unknown in [json!({}), json!({ "kid": "k" }), json!({ "jwk": { "kty": "EC" } })] {
        check_claims(&with("cnf", unknown), "PROOF_REQUIRED");
    }
    for malformed in [json!({ "jkt": "x" }), json!({ "x5t#S256": 1 }), json!("key"), json!([]), Value::Null] {
        check_claims(&with("cnf", malformed), "CLAIM_TYPE_INVALID");
    }
}

#[test]
fn an_issuer_may_demand_that_its_tokens_are_bound() {
    let strict = Issuer { is_proof_required: true, ..issuer() };
    check(&sign(HEADER, &claims()), &strict, "PROOF_REQUIRED");
    check(&sign(HEADER, &with("cnf", json!({ "jkt": encode([7; 32]) }))), &strict, "OK");
}

#[test]
fn the_first_failing_check_gives_the_reason() {
    // Each row is wrong in everything that the rows below it are.
    let mut payload = json!({ "iss": "elsewhere", "exp": 1, "aud": "elsewhere", "cnf": {} });
    let mut header = json!({ "alg": "none", "kid": "unknown", "jwk": {}, "crit": ["x"], "typ": "logout+jwt" });
    let mut expect = |change: &mut dyn FnMut(&mut Value, &mut Value), code| {
        check(&KEY.token(Algorithm::ES256, header.to_string(), payload.to_string()), &issuer(), code);
        change(&mut header, &mut payload);
    };
    let remove = |from: &mut Value, name: &str| assert!(from.as_object_mut().unwrap().remove(name).is_some());
    expect(&mut |_, payload| payload["iss"] = json!(ISSUER), "ISSUER_UNKNOWN");
    expect(&mut |header, _| header["alg"] = json!("RS256"), "ALG_NOT_ALLOWED");
    expect(&mut |header, _| remove(header, "jwk"), "HEADER_FORBIDDEN");
    expect(&mut |header, _| remove(header, "crit"), "CRIT_UNSUPPORTED");
    expect(&mut |header, _| header["kid"] = json!("ec"), "KEY_NOT_FOUND");
    expect(&mut |header, _| header["alg"] = json!("ES256"), "ALG_KEY_MISMATCH");
    expect(&mut |header, _| remove(header, "typ"), "TYP_INVALID");
    expect(&mut |_, payload| payload["sub"] = json!(5), "CLAIM_MISSING");
    expect(&mut |_, payload| payload["preferred_username"] = json!("alice"), "CLAIM_MISSING");
    expect(&mut |_, payload| payload["sub"] = json!("user"), "CLAIM_TYPE_INVALID");
    expect(&mut |_, payload| payload["exp"] = json!(NOW + 1), "TOKEN_EXPIRED");
    expect(&mut |_, payload| payload["aud"] = json!("api"), "AUDIENCE_MISMATCH");
    expect(&mut |_, payload| remove(payload, "cnf"), "PROOF_REQUIRED");
    expect(&mut |_, _| {}, "OK");
}

#[test]
fn no_key_at_all_refuses_everything() {
    let token = sign(HEADER, &claims());
    let refused = read(&token).unwrap().verify(&issuer(), &KeySet::default(), NOW);
    assert_eq!(refused, Err(TokenError::KeyNotFound));
}

#[test]
fn neither_messages_nor_debug_tell_what_a_token_holds() {
    let secret = "s3cret";
    let token = sign(HEADER, &with("sub", secret));
    let unverified = read(&token).unwrap();
    assert!(!format!("{unverified:?}").contains(secret));
    let verified = unverified.verify(&issuer(), &KEYS, NOW).unwrap();
    assert!(!format!("{verified:?}").contains(secret));
    for (header, claims) in [
        (json!({ "alg": secret, "kid": secret }).to_string(), claims()),
        (json!({ "alg": "ES256", "kid": secret }).to_string(), claims()),
        (json!({ "alg": "ES256", "kid": "ec", "typ": secret, "crit": [secret] }).to_string(), claims()),
        (HEADER.to_owned(), with("aud", secret)),
        (HEADER.to_owned(), with("scope", json!({ secret: secret }))),
        (HEADER.to_owned(), with("iss", secret)),
    ] {
        let fault = verify(&sign(&header, &claims), &issuer()).unwrap_err();
        assert!(!format!("{fault} {fault:?}").contains(secret), "{fault:?}");
    }
}

proptest! {
    #[test]
    fn no_text_at_all_makes_it_panic(text in any::<String>(), header in any::<Vec<u8>>(), payload in any::<Vec<u8>>()) {
        prop_assert!(verify(&text, &issuer()).is_err());
        let token = KEY.token(Algorithm::ES256, header, payload);
        prop_assert!(verify(&token, &issuer()).is_err());
    }

    #[test]
    fn a_token_with_any_one_character_changed_is_refused(at in any::<prop::sample::Index>(), to in any::<char>()) {
        let good = sign(HEADER, &claims());
        let mut changed: Vec<char> = good.chars().collect();
        let at = at.index(changed.len());
        changed[at] = to;
        let changed: String = changed.into_iter().collect();
        prop_assert_eq!(verify(&changed, &issuer()).is_ok(), changed == good);
    }

    #[test]
    fn names_are_unique_exactly_when_a_reader_keeps_them_all(names in prop::collection::vec(r#"[ab:"\\]{0,2}"#, 0..4)) {
        let value = r#"{"x:":["\":"]}"#;
        let members: Vec<_> = names.iter().map(|name| format!("{}:{value}", json!(name))).collect();
        let object = format!("{{{}}}", members.join(","));
        let unique: std::collections::HashSet<_> = names.iter().collect();
        prop_assert_eq!(strict_json::read_object(object.as_bytes()).is_ok(), unique.len() == names.len());
    }
}

#[test]
fn an_answer_about_an_opaque_token_passes_the_checks_of_a_jwt() {
    let issuer = Issuer { audiences: Vec::new(), required_claims: Vec::new(), ..issuer() };
    let check = |answer: serde_json::Value, until_seconds: i64| {
        super::introspected(answer.as_object().unwrap().clone(), &issuer, until_seconds, 1_000)
    };
    let bare = check(serde_json::json!({ "active": true }), 1_060).unwrap();
    assert_eq!(
        (bare.issuer(), bare.expires_at_seconds()),
        (&issuer.issuer, 1_060),
        "what it leaves out is known anyway"
    );
    let ending = check(serde_json::json!({ "active": true, "exp": 1_010 }), 1_060).unwrap();
    assert_eq!(ending.expires_at_seconds(), 1_010);
    for (answer, code) in [
        (serde_json::json!({}), "TOKEN_INACTIVE"),
        (serde_json::json!({ "active": "true" }), "TOKEN_INACTIVE"),
        (serde_json::json!({ "active": true, "exp": 1 }), "TOKEN_EXPIRED"),
        (serde_json::json!({ "active": true, "iss": "https://other.example" }), "ISSUER_UNKNOWN"),
        (serde_json::json!({ "active": true, "iss": null }), "ISSUER_UNKNOWN"),
        (serde_json::json!({ "active": true, "sub": 1 }), "CLAIM_TYPE_INVALID"),
        (serde_json::json!({ "active": true, "cnf": { "unheard": "of" } }), "PROOF_REQUIRED"),
    ] {
        assert_eq!(check(answer.clone(), 1_060).unwrap_err().code(), code, "{answer}");
    }
}

#[test]
fn a_version_is_understood_up_to_its_major_number() {
    let rule = |default: Option<&str>| Issuer {
        version: Some(VersionRule { claim: "ver".into(), major_max: 1, default: default.map(Into::into) }),
        ..issuer()
    };
    for (version, code) in [
        (json!("1.0.0"), "OK"),
        (json!("1"), "OK"),
        (json!("0.9"), "OK"),
        (json!("1.99.7"), "OK"),
        (json!("2.0.0"), "TOKEN_VERSION_UNSUPPORTED"),
        (json!("10"), "TOKEN_VERSION_UNSUPPORTED"),
        (json!(""), "CLAIM_TYPE_INVALID"),
        (json!("1."), "CLAIM_TYPE_INVALID"),
        (json!("1.0.0.0"), "CLAIM_TYPE_INVALID"),
        (json!("+1"), "CLAIM_TYPE_INVALID"),
        (json!("1.x"), "CLAIM_TYPE_INVALID"),
        (json!("99999999999999999999"), "CLAIM_TYPE_INVALID"),
        (json!(1), "CLAIM_TYPE_INVALID"),
        (json!(null), "CLAIM_TYPE_INVALID"),
    ] {
        check(&sign(HEADER, &with("ver", version)), &rule(Some("1.0.0")), code);
    }
    check(&sign(HEADER, &claims()), &rule(Some("1.0.0")), "OK");
    check(&sign(HEADER, &claims()), &rule(None), "CLAIM_MISSING");
    // What is wrong with the token anyway is said first.
    check(
        &sign(HEADER, &{
            let mut claims = with("ver", "2.0.0");
            claims["exp"] = (NOW - 3_600).into();
            claims
        }),
        &rule(None),
        "TOKEN_EXPIRED",
    );
}

#[test]
fn a_time_of_issue_is_cut_to_its_second() {
    for (iat, expected) in [(json!(NOW - 1), Some(NOW - 1)), (json!(1_789_999_999.75), Some(NOW - 1))] {
        assert_eq!(verify(&sign(HEADER, &with("iat", iat)), &issuer()).unwrap().issued_at_seconds(), expected);
    }
    assert_eq!(verify(&sign(HEADER, &without("iat")), &issuer()).unwrap().issued_at_seconds(), None);
}
