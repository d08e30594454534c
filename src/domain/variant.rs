//! Variants: changes to the TOML and JSON files of a realm that are kept under a name, for a deployment to choose.
//!
//! `variants/NAME.toml` holds a table for each file that it changes, `["realm.toml".settings] x = true` for example. Tables,
//! and objects of JSON, are merged key by key; whatever else stands there takes the place of what the file says. Tests of
//! policies change files in the same way.

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::{fault::Fault, policy_set::SourceFile, resource_type::syntax_fault, strict_json};

/// The folder of variants within a realm's folder.
const FOLDER: &str = "variants/";
const ENDING: &str = ".toml";
/// How the files end that hold JSON.
const JSON_ENDING: &str = ".json";

/// The names of a realm's variants, in order.
pub fn names(files: &[SourceFile]) -> Vec<&str> {
    let mut names: Vec<&str> =
        files.iter().filter_map(|file| file.path.strip_prefix(FOLDER)?.strip_suffix(ENDING)).collect();
    names.sort_unstable();
    names
}

/// The files as a variant has them.
///
/// # Errors
/// A variant that isn't there or isn't TOML, and changes to files that aren't there.
pub fn apply(files: &[SourceFile], name: &str) -> Result<Vec<SourceFile>, Vec<Fault>> {
    let path = format!("{FOLDER}{name}{ENDING}");
    let Some(variant) = files.iter().find(|file| file.path == path) else {
        let known = names(files).join(", ");
        let expected =
            if known.is_empty() { "this realm has none".to_owned() } else { format!("expected one of {known}") };
        return Err(vec![Fault::in_file(&path, format!("there is no such variant, {expected}"))]);
    };
    change(files, parse(variant)?, &path)
}

/// The files with the changes of a test of policies.
///
/// # Errors
/// Changes that TOML cannot hold, and changes to files that aren't there.
pub(super) fn apply_json(
    files: &[SourceFile],
    changes: &Map<String, Json>,
    by: &str,
) -> Result<Vec<SourceFile>, Vec<Fault>> {
    let changes = Table::try_from(changes)
        .map_err(|error| vec![Fault::in_file(by, format!("`changed` cannot be written as TOML: {error}"))])?;
    change(files, changes, by)
}

/// Takes away the places of faults in files that the variant changes: they are places of what was merged.
pub(super) fn without_places(faults: Vec<Fault>, files: &[SourceFile], name: &str) -> Vec<Fault> {
    let path = format!("{FOLDER}{name}{ENDING}");
    let variant = files.iter().find(|file| file.path == path).and_then(|file| parse(file).ok()).unwrap_or_default();
    let placeless = faults.into_iter().map(|fault| {
        if variant.contains_key(&fault.file) {
            let file = format!("{} with {path}", fault.file);
            return fault.without_place(&file);
        }
        fault
    });
    placeless.collect()
}

fn change(files: &[SourceFile], changes: Table, by: &str) -> Result<Vec<SourceFile>, Vec<Fault>> {
    let mut changed = files.to_vec();
    let mut faults = Vec::new();
    for (path, change) in changes {
        let is_known =
            |file: &&mut SourceFile| file.path == path && (path.ends_with(ENDING) || path.ends_with(JSON_ENDING));
        let (Some(file), Value::Table(change)) = (changed.iter_mut().find(is_known), change) else {
            let message = format!("`{path}` is no table that changes a TOML or JSON file of this realm");
            faults.push(Fault::in_file(by, message));
            continue;
        };
        // A file that doesn't parse is named with its place when it is read as it stands.
        match merged(file, change) {
            Ok(content) => file.content = content,
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(changed) } else { Err(faults) }
}

/// What the file holds with the change.
fn merged(file: &SourceFile, change: Table) -> Result<String, Vec<Fault>> {
    if file.path.ends_with(JSON_ENDING) {
        let mut object = parse_json(file)?;
        let change = change.into_iter().map(|(key, value)| (key, json(value)));
        merge_json(&mut object, change.collect());
        return Ok(Json::Object(object).to_string());
    }
    let mut table = parse(file)?;
    merge(&mut table, change);
    Ok(table.to_string())
}

fn parse_json(file: &SourceFile) -> Result<Map<String, Json>, Vec<Fault>> {
    strict_json::read_object(file.content.as_bytes()).map_err(|fault| {
        let syntax = serde_json::from_str::<Json>(&file.content).err();
        let placed = syntax.map(|error| syntax_fault(&file.path, &file.content, &error));
        vec![placed.unwrap_or_else(|| Fault::in_file(&file.path, fault.reason()))]
    })
}

/// A value as JSON has it: a date is a text there. TOML has no `null`.
fn json(value: Value) -> Json {
    match value {
        Value::String(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Float(number) => number.into(),
        Value::Boolean(flag) => flag.into(),
        Value::Datetime(date) => date.to_string().into(),
        Value::Array(values) => values.into_iter().map(json).collect(),
        Value::Table(table) => Json::Object(table.into_iter().map(|(key, value)| (key, json(value))).collect()),
    }
}

fn merge_json(object: &mut Map<String, Json>, changes: Map<String, Json>) {
    for (key, change) in changes {
        match (object.get_mut(&key), change) {
            (Some(Json::Object(inner)), Json::Object(change)) => merge_json(inner, change),
            (_, change) => drop(object.insert(key, change)),
        }
    }
}

fn parse(file: &SourceFile) -> Result<Table, Vec<Fault>> {
    file.content
        .parse()
        .map_err(|error: toml::de::Error| vec![Fault::at(&file.path, &file.content, error.span(), error.message())])
}

fn merge(table: &mut Table, changes: Table) {
    for (key, change) in changes {
        match (table.get_mut(&key), change) {
            (Some(Value::Table(inner)), Value::Table(change)) => merge(inner, change),
            (_, change) => drop(table.insert(key, change)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> SourceFile {
        SourceFile { path: path.into(), content: content.into() }
    }

    fn files(variant: &str) -> Vec<SourceFile> {
        vec![file("realm.toml", "a = 1\n[b]\nc = [1, 2]\nd = \"x\"\n"), file("variants/odd.toml", variant)]
    }

    fn applied(variant: &str) -> Result<String, String> {
        apply(&files(variant), "odd").map(|files| files[0].content.clone()).map_err(|faults| faults[0].to_string())
    }

    #[test]
    fn tables_are_merged_and_all_else_is_replaced() {
        let merged =
            applied("[\"realm.toml\"]\na = \"new\"\n[\"realm.toml\".b]\nc = [3]\n[\"realm.toml\".e]\nf = true\n")
                .unwrap();
        let expected: Table = "a = \"new\"\n[b]\nc = [3]\nd = \"x\"\n[e]\nf = true\n".parse().unwrap();
        assert_eq!(merged.parse::<Table>().unwrap(), expected);
    }

    #[test]
    fn objects_of_json_are_merged_too() {
        let items = r#"{"source":"a","items":{"pupils":{"claim":"x","subjects":[1,2]},"rooms":{"claim":"y"}}}"#;
        let variant = "[\"items.json\".items.pupils]\nsubjects = [{ a = true, b = 1.5 }]\n\
                       [\"items.json\".items.new]\nsince = 2026-08-01\n";
        let changed =
            apply(&[file("items.json", items), file("variants/odd.toml", variant)], "odd").unwrap()[0].content.clone();
        let expected = serde_json::json!({ "source": "a", "items": {
            "pupils": { "claim": "x", "subjects": [{ "a": true, "b": 1.5 }] },
            "rooms": { "claim": "y" },
            "new": { "since": "2026-08-01" },
        } });
        assert_eq!(changed.parse::<Json>().unwrap(), expected);
        for (items, expected) in
            [("{\n,}", "items.json:2:"), (r#"{"a":1,"a":2}"#, "has a name twice"), ("[]", "is not a JSON object")]
        {
            let files = [file("items.json", items), file("variants/odd.toml", variant)];
            let error = apply(&files, "odd").unwrap_err()[0].to_string();
            assert!(error.contains(expected), "{items}: {error}");
        }
    }

    #[test]
    fn a_change_to_what_is_not_there_is_a_fault() {
        for (variant, expected) in [
            ("[\"relam.toml\"]\na = 1\n", "`relam.toml` is no table"),
            ("\"realm.toml\" = 3\n", "`realm.toml` is no table"),
            ("a = \n", "variants/odd.toml:1:"),
        ] {
            let error = applied(variant).unwrap_err();
            assert!(error.contains(expected), "{variant}: {error}");
        }
        let error = apply(&files(""), "even").unwrap_err()[0].to_string();
        assert!(error.contains("there is no such variant, expected one of odd"), "{error}");
    }
}
