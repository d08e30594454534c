//! The tests of a realm, ready to be run as often as one likes, and also under policies that differ.

use super::{Asked, Case, CaseResult, Ready, expected::differences, yaml::Places};
use crate::domain::{decide::decide, explain::explain, policy_set::SourceFile, realm::Realm};

/// The tests of a realm and the realms that they ask.
#[derive(Debug)]
pub struct Bench {
    realms: Vec<Realm>,
    files: Vec<Tests>,
}

/// The cases of a file, and the realm that they ask.
#[derive(Debug)]
struct Tests {
    file: SourceFile,
    realm: usize,
    cases: Vec<Case>,
}

impl Bench {
    /// Takes the realms of a suite in order, and its files.
    pub fn new(mut realms: Vec<Realm>, ready: Vec<Ready>) -> Self {
        let mut files = Vec::new();
        for Ready { file, realm, overlaid, cases } in ready {
            let realm = match overlaid {
                Some(overlaid) => {
                    realms.push(overlaid);
                    realms.len() - 1
                }
                None => realm,
            };
            files.push(Tests { file, realm, cases });
        }
        Self { realms, files }
    }

    /// How many files of tests there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Keeps the cases whose file or name holds the text.
    pub fn keep(&mut self, text: &str) {
        for tests in &mut self.files {
            if !tests.file.path.contains(text) {
                tests.cases.retain(|case| case.name.contains(text));
            }
        }
    }

    /// Runs the cases of a file.
    pub fn run(&self, file: usize) -> Vec<CaseResult> {
        let Some((tests, realm)) = self.files.get(file).and_then(|tests| Some((tests, self.realms.get(tests.realm)?)))
        else {
            return Vec::new();
        };
        let mut results: Vec<CaseResult> = Vec::new();
        for case in &tests.cases {
            let (file, name) = (tests.file.path.clone(), case.name.clone());
            results.push(CaseResult { file, name, line: 0, differences: case.differences(realm) });
        }
        if results.iter().any(|result| !result.differences.is_empty()) {
            let places = Places::of(&tests.file);
            let failed = results.iter_mut().zip(&tests.cases).filter(|(result, _)| !result.differences.is_empty());
            for (result, case) in failed {
                result.line = places.line(&case.path);
            }
        }
        results
    }

    /// The realms, the first of them the realm as it stands.
    pub(in crate::domain) fn realms(&self) -> &[Realm] {
        &self.realms
    }

    /// Each case with its file and the number of its realm.
    pub(in crate::domain) fn cases(&self) -> impl Iterator<Item = (&SourceFile, usize, &Case)> {
        self.files.iter().flat_map(|tests| tests.cases.iter().map(|case| (&tests.file, tests.realm, case)))
    }
}

impl Case {
    /// What differs when this realm is asked; empty where all is as expected.
    pub(in crate::domain) fn differences(&self, realm: &Realm) -> Vec<String> {
        match &self.asked {
            Ok(Asked { principal, request, graph, .. }) => {
                let near_misses = || {
                    let explained = explain(realm, principal, request, graph).near_misses;
                    explained.into_iter().map(|seen| seen.policy).collect()
                };
                differences(&self.expected, &decide(realm, principal, request, graph), near_misses)
            }
            Err(difference) => vec![difference.clone()],
        }
    }
}
