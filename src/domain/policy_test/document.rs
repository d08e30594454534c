//! A file of tests as it is written: fixtures found, tables laid out as cases. Nothing here asks the realm yet.

use serde_json::{Map, Value as Json};

use super::{
    FIXTURES,
    shape::{CASE, Check, FILE, FIXTURE, ROOT},
    yaml::{self, Path, Step, below, key},
};
use crate::domain::{fault::Fault, policy_set::SourceFile};

/// A file of tests.
#[derive(Debug)]
pub(super) struct Document<'f> {
    pub(super) file: &'f SourceFile,
    pub(super) variant: Option<String>,
    /// What it changes in the realm's files.
    pub(super) changed: Map<String, Json>,
    /// Its fixtures in order, and then what it says itself.
    pub(super) given: Vec<Given<'f>>,
    pub(super) cases: Vec<CaseText>,
}

/// Facts, principals and claim sets, and the file that gives them.
#[derive(Clone, Debug)]
pub(super) struct Given<'f> {
    pub(super) file: &'f SourceFile,
    pub(super) path: Path,
    pub(super) said: Map<String, Json>,
}

/// A case as it is written, or as a row of a table says it.
#[derive(Debug)]
pub(super) struct CaseText {
    pub(super) name: String,
    pub(super) path: Path,
    pub(super) said: Map<String, Json>,
}

impl<'f> Document<'f> {
    /// Reads a file of tests with the fixtures that it names.
    ///
    /// # Errors
    /// Every fault of it with its place.
    pub(super) fn read(file: &'f SourceFile, files: &'f [SourceFile]) -> Result<Self, Vec<Fault>> {
        let document = yaml::read(file)?;
        let mut check = Check::new(file);
        let Some(root) = check.mapping(&document, &FILE, &ROOT) else { return Err(check.faults) };
        let mut given = fixtures(root, files, &mut check);
        given.push(Given { file, path: ROOT, said: root.clone() });
        for kind in ["principals", "claim_sets"] {
            told_twice(&given, kind, &mut check);
        }
        let cases = cases(root, &mut check);
        if cases.is_empty() && check.faults.is_empty() {
            check.fault(&ROOT, "a file of tests needs `cases` or `tables` with at least one case");
        }
        if !check.faults.is_empty() {
            return Err(check.faults);
        }
        let variant = root.get("variant").and_then(Json::as_str).map(str::to_owned);
        let changed = root.get("changed").and_then(Json::as_object).cloned().unwrap_or_default();
        Ok(Self { file, variant, changed, given, cases })
    }
}

/// The text, or the texts of a list.
pub(super) fn texts(json: Option<&Json>) -> impl Iterator<Item = &str> {
    let items = json.map(|json| json.as_array().map_or(std::slice::from_ref(json), Vec::as_slice));
    items.unwrap_or_default().iter().filter_map(Json::as_str)
}

fn fixtures<'f>(root: &Map<String, Json>, files: &'f [SourceFile], check: &mut Check<'f>) -> Vec<Given<'f>> {
    let mut found = Vec::new();
    for (index, name) in texts(root.get("fixtures")).enumerate() {
        let mut at = key(&ROOT, "fixtures");
        at.push(Step::Item(index));
        let paths = ["yaml", "yml"].map(|ending| format!("{FIXTURES}{name}.{ending}"));
        let Some(file) = files.iter().find(|file| paths.contains(&file.path)) else {
            let known = files.iter().filter_map(|file| file.path.strip_prefix(FIXTURES)?.rsplit_once('.'));
            let known: Vec<&str> = known.map(|(name, _)| name).collect();
            let expected = if known.is_empty() { "there is none".to_owned() } else { known.join(", ") };
            check.fault(&at, format!("unknown fixture `{name}`, expected a file of {FIXTURES}: {expected}"));
            continue;
        };
        let mut own = Check::new(file);
        match yaml::read(file) {
            Ok(document) => {
                let said = own.mapping(&document, &FIXTURE, &ROOT).cloned().unwrap_or_default();
                found.push(Given { file, path: ROOT, said });
            }
            Err(faults) => own.faults.extend(faults),
        }
        check.faults.extend(own.faults);
    }
    found
}

/// Nothing hides that a name was given already.
fn told_twice(given: &[Given<'_>], kind: &str, check: &mut Check<'_>) {
    let names = |given: &Given<'_>| given.said.get(kind).and_then(Json::as_object).cloned().unwrap_or_default();
    for (index, one) in given.iter().enumerate() {
        for (name, _) in names(one) {
            if let Some(other) = given.iter().take(index).find(|other| names(other).contains_key(&name)) {
                let at = below(&key(&ROOT, kind), Step::Name(name.clone()));
                let message = format!("`{name}` is in {} already", other.file.path);
                check.faults.push(yaml::fault(one.file, &at, message));
            }
        }
    }
}

fn cases(root: &Map<String, Json>, check: &mut Check<'_>) -> Vec<CaseText> {
    let mut found = Vec::new();
    let listed = |name: &str| root.get(name).and_then(Json::as_array).into_iter().flatten().enumerate();
    for (index, case) in listed("cases") {
        let path = below(&key(&ROOT, "cases"), Step::Item(index));
        let Some(said) = case.as_object().cloned() else { continue };
        let name = said.get("name").and_then(Json::as_str).map_or_else(|| format!("cases[{index}]"), str::to_owned);
        found.push(CaseText { name, path, said });
    }
    for (index, table) in listed("tables") {
        let path = below(&key(&ROOT, "tables"), Step::Item(index));
        if let Some(table) = table.as_object() {
            rows(table, index, &path, check, &mut found);
        }
    }
    for CaseText { path, said, .. } in &found {
        if !said.contains_key("expect") && !said.contains_key("outcome") {
            check.fault(path, "the key `expect` is missing, expected that or `outcome`");
        }
    }
    found
}

/// The cases of a table: each row's cells, put where the columns say, over what all rows have in common.
fn rows(table: &Map<String, Json>, index: usize, path: &[Step], check: &mut Check<'_>, found: &mut Vec<CaseText>) {
    let title = table.get("name").and_then(Json::as_str).map_or_else(|| format!("tables[{index}]"), str::to_owned);
    let common = table.get("case").and_then(Json::as_object).cloned().unwrap_or_default();
    let columns: Vec<&str> = texts(table.get("columns")).collect();
    let written = table.get("rows").and_then(Json::as_array).into_iter().flatten();
    for (row, cells) in written.enumerate() {
        let at = below(&key(path, "rows"), Step::Item(row));
        let Some(cells) = cells.as_array().filter(|cells| cells.len() == columns.len()) else {
            check.fault(&at, format!("expected a list of {} cells: {}", columns.len(), columns.join(", ")));
            continue;
        };
        let mut said = common.clone();
        for (column, cell) in columns.iter().zip(cells).filter(|(_, cell)| !cell.is_null()) {
            if !put(&mut said, column, cell) {
                check.fault(&at, format!("the column `{column}` leads through a value that is no mapping"));
            }
        }
        let shown: Vec<String> = cells.iter().map(shown).collect();
        let name = said.get("name").and_then(Json::as_str).map_or_else(|| shown.join(" | "), str::to_owned);
        let faults = check.faults.len();
        check.mapping(&Json::Object(said.clone()), &CASE, &at);
        // What is wrong in what all rows have in common is told once.
        let known: Vec<Fault> = check.faults.iter().take(faults).cloned().collect();
        let is_new = |fault: &Fault| !known.iter().any(|other| other.message == fault.message);
        let more: Vec<Fault> = check.faults.drain(faults..).filter(is_new).collect();
        check.faults.extend(more);
        found.push(CaseText { name: format!("{title}: {name}"), path: at, said });
    }
}

/// Puts a cell where its column says, `resource.id` for example; `false` where something else is in the way.
fn put(said: &mut Map<String, Json>, column: &str, cell: &Json) -> bool {
    match column.split_once('.') {
        None => {
            said.insert(column.to_owned(), cell.clone());
            true
        }
        Some((first, rest)) => {
            let inner = said.entry(first.to_owned()).or_insert_with(|| Json::Object(Map::new()));
            inner.as_object_mut().is_some_and(|inner| put(inner, rest, cell))
        }
    }
}

/// A cell as a case's name shows it.
fn shown(cell: &Json) -> String {
    match cell {
        Json::Null => "-".to_owned(),
        Json::String(text) => text.clone(),
        Json::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join("+"),
        Json::Object(_) => "…".to_owned(),
        other => other.to_string(),
    }
}
