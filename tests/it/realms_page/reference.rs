//! The reference of docs/realms.md, held against the parsers: they name every key that they know when they meet one
//! that they don't.

use std::collections::{BTreeMap, BTreeSet};

use hallpass::domain::{fault::Fault, realm_file::RealmFile, record_mapping::Relations};

use super::page;

/// No parser knows this key.
const UNKNOWN: &str = "zzz";

/// The keys of a file as its parser tells them, each with the tables around it; `*` is a name of the author's choice.
fn known(parse: &dyn Fn(&str) -> Vec<Fault>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    explore(parse, &mut Vec::new(), &mut found);
    found
}

/// How a table can be written: as it is, below a name of the author's choice, as one of a list.
#[derive(Clone, Copy)]
enum Shape {
    Plain,
    Named,
    Listed,
}

const SHAPES: [Shape; 3] = [Shape::Plain, Shape::Named, Shape::Listed];

fn explore(parse: &dyn Fn(&str) -> Vec<Fault>, path: &mut Vec<(String, Shape)>, found: &mut BTreeSet<String>) -> bool {
    let parts =
        path.iter().flat_map(|(key, shape)| [key.as_str(), if matches!(shape, Shape::Named) { ".*." } else { "." }]);
    let name: String = parts.collect();
    let Some(keys) = told(&parse(&document(path)), path) else { return false };
    for key in keys {
        let mut is_table = false;
        for shape in SHAPES {
            path.push((key.clone(), shape));
            is_table |= explore(parse, path, found);
            path.pop();
        }
        if !is_table {
            found.insert(format!("{name}{key}"));
        }
    }
    true
}

/// A file with one key that nobody knows, within these tables.
fn document(path: &[(String, Shape)]) -> String {
    let value = path.iter().rev().fold(format!("{UNKNOWN} = 1"), |inner, (key, shape)| match shape {
        Shape::Plain => format!("{key} = {{ {inner} }}"),
        Shape::Named => format!("{key} = {{ N = {{ {inner} }} }}"),
        Shape::Listed => format!("{key} = [{{ {inner} }}]"),
    });
    format!("{value}\n")
}

/// The keys that are expected where the unknown one stands.
fn told(faults: &[Fault], path: &[(String, Shape)]) -> Option<Vec<String>> {
    let within: String = path
        .iter()
        .map(|(key, shape)| match shape {
            Shape::Plain => format!("{key}."),
            Shape::Named => format!("{key}.N."),
            Shape::Listed => format!("{key}[0]."),
        })
        .collect();
    let start = format!("unknown key `{within}{UNKNOWN}`, expected one of ");
    let keys = faults.iter().find_map(|fault| fault.message.strip_prefix(&start))?;
    Some(keys.split(", ").filter(|key| !key.is_empty()).map(str::to_owned).collect())
}

/// The keys that the page lists, by the file of their chapter: each row of a table below a heading that names a section.
fn listed() -> BTreeMap<String, BTreeSet<String>> {
    let page = page();
    let (mut listed, mut file, mut section) = (BTreeMap::<String, BTreeSet<String>>::new(), String::new(), None);
    for line in page.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            heading.split('`').nth(1).unwrap_or_default().clone_into(&mut file);
            section = None;
        } else if let Some(heading) = line.strip_prefix("### ") {
            section = heading.split('`').nth(1).map(section_of);
        } else if let (Some(section), Some(row)) = (&section, line.strip_prefix("| `")) {
            let key = row.split('`').next().unwrap_or_default();
            listed.entry(file.clone()).or_default().insert(format!("{section}{}", key.trim_matches('"')));
        }
    }
    listed
}

/// `[denials.CODE]` is `denials.*.`, and the root has no name.
fn section_of(heading: &str) -> String {
    let parts = heading.trim_matches(['[', ']']).split('.').filter(|part| !part.is_empty());
    let is_chosen = |part: &str| part.chars().all(|c| c.is_ascii_uppercase());
    parts.map(|part| if is_chosen(part) { "*.".to_owned() } else { format!("{part}.") }).collect()
}

#[test]
fn every_key_is_listed_and_every_listed_key_is_known() {
    let listed = listed();
    let realm = known(&|content| RealmFile::parse("realm.toml", content).err().unwrap_or_default());
    let relations = known(&|content| Relations::parse("relations.toml", content).err().unwrap_or_default());
    assert!(realm.len() > 60 && relations.len() > 15, "{realm:?} {relations:?}");
    for (file, known) in [("realm.toml", realm), ("relations.toml", relations)] {
        let listed = listed.get(file).cloned().unwrap_or_default();
        let missing: Vec<_> = known.difference(&listed).collect();
        let unknown: Vec<_> = listed.difference(&known).collect();
        assert!(missing.is_empty(), "docs/realms.md does not list these keys of {file}: {missing:#?}");
        assert!(unknown.is_empty(), "docs/realms.md lists keys that {file} does not know: {unknown:#?}");
    }
}
