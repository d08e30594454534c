//! The pages, held against the code.

use std::{collections::BTreeSet, fs, path::Path};

use hallpass::domain::issuer::Algorithm;

mod commands;
mod embedded;
mod links;
mod page;

/// The texts of the form `"UPPER_SNAKE_CASE"` in the sources below a folder, tests' own files left out.
fn codes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes(&path, found);
            continue;
        }
        if path.ends_with("tests.rs") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        found.extend(code.split('"').filter(|word| is_code(word)).map(str::to_owned));
    }
}

fn is_code(word: &str) -> bool {
    word.contains('_')
        && !word.starts_with("CARGO_")
        && word != "ACCESS_TOKEN" // stands in examples where a token would
        && word.starts_with(|c: char| c.is_ascii_uppercase())
        && word.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

#[test]
fn every_code_is_explained() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/errors.md")).unwrap();
    let mut found = BTreeSet::new();
    for floor in ["src/domain", "src/app", "src/transport"] {
        codes(&root.join(floor), &mut found);
    }
    assert!(found.len() > 30, "{found:?}");
    let missing: Vec<_> = found.iter().filter(|code| !page.contains(&format!("`{code}`"))).collect();
    assert!(missing.is_empty(), "docs/errors.md does not explain {missing:?}");
}

#[test]
fn every_check_of_a_token_is_in_the_table() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/tokens.md")).unwrap();
    let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
    let source = fs::read_to_string(root.join("src/domain/token_error.rs")).unwrap();
    let known = source.split('"').filter(|word| is_code(word));
    let missing: Vec<_> = known.filter(|code| !rows.iter().any(|row| row.contains(&format!("`{code}`")))).collect();
    assert!(missing.is_empty(), "the table of docs/tokens.md lacks {missing:?}");
    let unknown: Vec<_> =
        Algorithm::ALL.into_iter().filter(|known| !rows.iter().any(|row| row.contains(known.name()))).collect();
    assert!(unknown.is_empty(), "the table of docs/tokens.md lacks {unknown:?}");
}

/// The tests of the sources, each as `folder/file::name`.
fn tests_below(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            tests_below(&path, found);
            continue;
        }
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let stem = path.with_extension("");
        let (stem, mut is_test) = (stem.to_str().unwrap(), false);
        for line in fs::read_to_string(&path).unwrap().lines().map(str::trim) {
            if line.starts_with("#[test]") || line.starts_with("#[tokio::test") {
                is_test = true;
            } else if let Some((_, rest)) = line.split_once("fn ").filter(|_| is_test) {
                let name = rest.split(['(', '<']).next().unwrap();
                found.insert(format!("{}::{name}", stem.trim_end_matches("/mod")));
                is_test = false;
            }
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/threat-model.md")).unwrap();
    let mut tests = BTreeSet::new();
    for folder in ["src", "tests/it"] {
        tests_below(&root.join(folder), &mut tests);
    }
    let named: Vec<_> =
        page.split('`').filter(|word| word.contains("::") && !word.contains(' ') && *word != "file::test").collect();
    assert!(named.len() > 50 && tests.len() > 1_000, "{} named, {} known", named.len(), tests.len());
    let is_there = |name: &str| tests.iter().any(|test| test.ends_with(&format!("/{name}")));
    let missing: Vec<_> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "docs/threat-model.md names tests that are not there: {missing:#?}");
}
