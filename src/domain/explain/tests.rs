//! Explanations of the realms' own cases.

use std::{collections::BTreeMap, fs, path::Path};

use super::{Fact, People, State, explain, explain_to};
use crate::domain::{
    decide::decide,
    decision::{Effect, Outcome},
    policy_set::SourceFile,
    policy_test::{self, AskedCase},
};

const REALMS: [&str; 6] = ["auth0", "edfi", "hallpass", "itslanguage", "openedx", "sem"];

fn files(realm: &str) -> Vec<SourceFile> {
    fn add(folder: &Path, prefix: &str, files: &mut Vec<SourceFile>) {
        let mut entries: Vec<_> = fs::read_dir(folder).unwrap().map(Result::unwrap).collect();
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = format!("{prefix}{}", entry.file_name().to_string_lossy());
            if entry.path().is_dir() {
                add(&entry.path(), &format!("{path}/"), files);
            } else if let Ok(content) = fs::read_to_string(entry.path()) {
                files.push(SourceFile { path, content });
            }
        }
    }
    let mut files = Vec::new();
    add(&Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(realm), "", &mut files);
    files
}

fn each_case(mut visit: impl FnMut(&str, AskedCase<'_>)) {
    for realm in REALMS {
        policy_test::each(&files(realm), None, &mut |case| visit(realm, case)).unwrap();
    }
}

#[test]
fn figures() {
    let mut by_realm: BTreeMap<String, [usize; 4]> = BTreeMap::new();
    each_case(|realm, case| {
        let AskedCase { realm: compiled, principal, request, graph, .. } = case;
        let before = decide(compiled, principal, request, graph);
        if before.outcome.effect() == Effect::Allow {
            return;
        }
        let explanation = explain(compiled, principal, request, graph);
        let counts = by_realm.entry(realm.to_owned()).or_default();
        counts[0] += 1;
        counts[1] += usize::from(!explanation.remedies.found.is_empty());
        counts[2] += explanation.remedies.tried;
        counts[3] += usize::from(explanation.remedies.is_cut);
        if explanation.remedies.found.is_empty() {
            println!(
                "{realm} {} {}: {:?} {:?}",
                case.file,
                case.name,
                before.outcome,
                before.reasons.iter().map(|r| &*r.code).collect::<Vec<_>>()
            );
            for policy in explanation.forbids.iter().chain(&explanation.near_misses) {
                for conjunct in &policy.conjuncts {
                    if !conjunct.missing.is_empty() {
                        println!("    {} {} {:?}", policy.policy, conjunct.text.replace("\n", " "), conjunct.missing);
                    }
                }
            }
        }
        assert_eq!(decide(compiled, principal, request, graph), before);
    });
    println!("{by_realm:?}");
}
