//! Tokens against published and own test vectors, where they are kept beside this repository.

use std::fs;
use std::path::{Path, PathBuf};

use hallpass::domain::issuer::{Algorithm, Issuer, KeyLocation};
use hallpass::domain::key_set::KeySet;
use hallpass::domain::token;
use serde_json::{Value, json};

/// Reads a file of vectors; says so where there is none.
fn vectors(name: &str) -> Option<Value> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HALLPASS_SHARED").map_or_else(beside, PathBuf::from);
    let path = folder.join("vectors").join(name);
    match fs::read_to_string(&path) {
        Ok(text) => Some(text.parse().unwrap()),
        Err(fault) => {
            println!("SKIPPED: no vectors at {}: {fault}", path.display());
            None
        }
    }
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn algorithms(names: &[&str]) -> Vec<Algorithm> {
    Algorithm::ALL.into_iter().filter(|algorithm| names.contains(&algorithm.name())).collect()
}

fn issuer(profile: &Value, skew_seconds: i64) -> Issuer {
    let types = Some(profile["typ"].as_str().unwrap()).filter(|typ| *typ != "any");
    let algorithms = algorithms(&texts(&profile["algs"]));
    Issuer {
        audiences: vec![profile["audience"].as_str().unwrap().into()],
        types: types.into_iter().map(Into::into).collect(),
        required_claims: texts(&profile["required"]).into_iter().map(Into::into).collect(),
        skew_seconds,
        lifetime_seconds_max: profile["max_lifetime_s"].as_i64(),
        ..Issuer::new(profile["issuer"].as_str().unwrap(), &algorithms, KeyLocation::File(PathBuf::new()))
    }
}

fn keys(profile: &Value) -> KeySet {
    let set = match profile["shared_secret_b64url"].as_str() {
        Some(secret) => json!({ "keys": [{ "kty": "oct", "k": secret }] }),
        None => profile["jwks"].clone(),
    };
    KeySet::from_jwks(&set.to_string()).unwrap()
}

/// Verifies as the service does: by the issuer that the token names, among those of the realm.
fn verify(token: &str, issuers: &[(Issuer, KeySet)], now_seconds: i64) -> String {
    let verified = token::read(token).and_then(|unverified| {
        let known = issuers.iter().find(|(issuer, _)| *issuer.issuer == *unverified.issuer());
        let (issuer, keys) = known.ok_or(token::TokenError::IssuerUnknown)?;
        unverified.verify(issuer, keys, now_seconds)
    });
    verified.map_or_else(|fault| fault.code().to_owned(), |_| "OK".to_owned())
}

#[test]
fn own_vectors_are_answered_with_their_reasons() {
    let Some(file) = vectors("tokens/vectors.json") else { return };
    let skew_seconds = file["clock_skew_s"].as_i64().unwrap();
    let now_seconds = file["clock"].as_i64().unwrap();
    let profiles = file["profiles"].as_object().unwrap();
    let (mut checked, mut not_built, mut faults) = (0, Vec::new(), Vec::new());
    for vector in file["vectors"].as_array().unwrap() {
        let profile = &profiles[vector["issuer_profile"].as_str().unwrap()];
        let answer =
            verify(vector["token"].as_str().unwrap(), &[(issuer(profile, skew_seconds), keys(profile))], now_seconds);
        let reason = vector["reason"].as_str().unwrap();
        let accepted: Vec<_> = texts(&vector["accept_reasons"]);
        // Proof of possession, lists of revoked tokens and versions of payloads are not built. A token that is bound to
        // a key is refused, so that what should be refused for its proof is refused all the same.
        let is_bound = vector.get("request").is_some();
        let is_beyond = vector.get("state").is_some() || reason == "TOKEN_VERSION_UNSUPPORTED";
        if is_bound || is_beyond {
            not_built.push(format!("{} {reason}", vector["id"]));
            if (is_bound || vector["expect"] == "accept") && answer != "PROOF_REQUIRED" {
                faults.push(format!("{} {}: {answer}, expected no acceptance", vector["id"], vector["title"]));
            }
        } else {
            checked += 1;
            if answer != reason {
                println!("{} {}: {answer}, usual is {reason}", vector["id"], vector["title"]);
            }
            if !accepted.contains(&&*answer) {
                faults.push(format!("{} {}: {answer}, expected {reason}", vector["id"], vector["title"]));
            }
        }
    }
    println!("{checked} checked, {} not built: {}", not_built.len(), not_built.join(", "));
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(checked > 80);
}

#[test]
fn published_key_sets_are_admitted_or_refused() {
    let Some(file) = vectors("wycheproof/json_web_key_test.json") else { return };
    // HS384 and HS512 are not supported.
    let not_built = [14, 15];
    let (mut checked, mut faults) = (0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let set = group.get("public").unwrap_or(&group["private"]).to_string();
        for test in group["tests"].as_array().unwrap() {
            let answer = signature_holds(test["jws"].as_str().unwrap(), &set);
            let is_valid = test["result"] == "valid" && !not_built.contains(&test["tcId"].as_u64().unwrap());
            checked += 1;
            if answer.is_ok() != is_valid {
                faults.push(format!("{} {}: {answer:?}", test["tcId"], test["comment"]));
            }
        }
    }
    println!("{checked} checked");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn published_signatures_are_verified() {
    let Some(file) = vectors("wycheproof/json_web_signature_test.json") else { return };
    // Valid ones that are refused: PS384 (320 to 323), PS512 (325 to 328) and ES512 are not supported, and nor are a
    // header with another algorithm than the key's (346, 350), an `alg` that no RFC knows (347, 351), and characters
    // outside of base64url (372, 373).
    let not_accepted: Vec<u64> = (320..=323).chain(325..=328).chain([346, 347, 350, 351, 372, 373]).collect();
    let (mut checked, mut refused, mut faults) = (0, Vec::new(), Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let set = json!({ "keys": [group.get("public").unwrap_or(&group["private"])] }).to_string();
        let tests = group["tests"].as_array().unwrap();
        let is_valid_elsewhere =
            |jws: &Value| tests.iter().any(|test| test["result"] == "valid" && test["jws"] == *jws);
        for test in tests {
            checked += 1;
            let is_accepted = signature_holds(test["jws"].as_str().unwrap_or_default(), &set).is_ok();
            let is_valid = test["result"] == "valid";
            if is_valid && !is_accepted {
                refused.push(test["tcId"].as_u64().unwrap());
            }
            // Two invalid ones (367, 370) are the same text as a valid one.
            if !is_valid && is_accepted && !is_valid_elsewhere(&test["jws"]) {
                faults.push(format!("{} {} was accepted", test["tcId"], test["comment"]));
            }
        }
    }
    println!("{checked} checked, {} valid ones refused on purpose", refused.len());
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert_eq!(refused, not_accepted);
}

/// Checks a signature over any payload at all.
fn signature_holds(jws: &str, set: &str) -> Result<(), String> {
    let keys = KeySet::from_jwks(set).map_err(|fault| fault.to_string())?;
    let jws = hallpass::domain::jws::Jws::read(jws).map_err(|fault| fault.code().to_owned())?;
    jws.verify(&Algorithm::ALL, &keys).map_err(|fault| fault.code().to_owned())
}
