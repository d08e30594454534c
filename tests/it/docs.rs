//! The pages, held against the code.

use std::{collections::BTreeSet, fs, path::Path};

/// The texts of the form `"UPPER_SNAKE_CASE"` in the sources below a folder, tests' own files left out.
fn codes(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            codes(&path, found);
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
