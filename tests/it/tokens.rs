//! Tokens against published and own test vectors, where they are kept beside this repository.

use std::fs;
use std::path::{Path, PathBuf};

use hallpass::domain::issuer::Algorithm;
use hallpass::domain::key_set::KeySet;
use serde_json::{Value, json};

#[path = "../../examples/token_vectors/checks/mod.rs"]
pub(crate) mod checks;

/// Where a file of vectors is; says so where there is none.
fn path(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let folder = std::env::var_os("HALLPASS_SHARED").map_or_else(beside, PathBuf::from);
    let path = folder.join("vectors").join(name);
    if path.is_file() {
        return Some(path);
    }
    println!("SKIPPED: no vectors at {}", path.display());
    None
}

fn vectors(name: &str) -> Option<Value> {
    path(name).map(|path| fs::read_to_string(path).unwrap().parse().unwrap())
}

#[tokio::test]
async fn own_vectors_are_answered_with_their_reasons() {
    let Some(file) = path("tokens/vectors.json") else { return };
    let report = checks::run(&file).await.unwrap();
    println!("{report}");
    assert!(report.is_whole(), "\n{report}");
}

#[test]
fn published_key_sets_are_admitted_or_refused() {
    let Some(file) = vectors("wycheproof/json_web_key_test.json") else { return };
    let (mut checked, mut faults) = (0, Vec::new());
    for group in file["testGroups"].as_array().unwrap() {
        let set = group.get("public").unwrap_or(&group["private"]).to_string();
        for test in group["tests"].as_array().unwrap() {
            let answer = signature_holds(test["jws"].as_str().unwrap(), &set);
            let is_valid = test["result"] == "valid";
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
    // Valid ones that are refused: a header with another algorithm than the key's (346, 350), an `alg` that no RFC knows
    // (347, 351), and characters outside of base64url (372, 373).
    let not_accepted = [346, 347, 350, 351, 372, 373];
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
