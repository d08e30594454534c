//! A realm's own tests: facts, claims, a question, and the decision its authors expect.
//!
//! They are read in steps, so that whoever has threads can take several files at once: [`Suite::read`] reads what is
//! written, [`Suite::compile`] the realm as some of the files change it, [`Suite::ready`] holds a file against its realm, and
//! a [`Bench`] runs the cases. [`run`] does all of it in a row.

mod bench;
mod document;
mod expected;
mod ready;
mod shape;
#[cfg(test)]
mod tests;
mod values;
mod yaml;

use serde_json::{Map, Value as Json};

pub use self::bench::Bench;
pub(in crate::domain) use self::ready::{Asked, Case};
use self::{
    document::Document,
    shape::{Check, EQUIVALENTS, ROOT},
};
use super::{
    access_request::AccessRequest,
    fault::{Fault, in_order},
    graph::Graph,
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    variant,
};

/// What came of one case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaseResult {
    /// The file.
    pub file: String,
    /// The case's name.
    pub name: String,
    /// The line of the file where a case that failed begins, counted from 1; 0 for a case that passed.
    pub line: usize,
    /// What differs from what was expected; empty when the case passed.
    pub differences: Vec<String>,
}

/// The folder of tests in a realm's folder, and what lies there beside the tests.
const FOLDER: &str = "tests/";
const FIXTURES: &str = "tests/fixtures/";
/// The file that declares mutants to be equivalent.
pub(in crate::domain) const EQUIVALENT_MUTANTS: &str = "tests/equivalent_mutants.yaml";

/// The tests of a realm are the YAML files below `tests/`, but for fixtures.
pub fn is_test_file(file: &SourceFile) -> bool {
    file.path.starts_with(FOLDER)
        && file.has_ending(&["yaml", "yml"])
        && !file.path.starts_with(FIXTURES)
        && file.path != EQUIVALENT_MUTANTS
}

/// Runs every test of a realm's files. A file's own claim sets, its variant and its changes count for its cases only.
///
/// # Errors
/// Faults of the test files themselves: syntax, unknown keys, records that cannot be mapped.
pub fn run(files: &[SourceFile]) -> Result<Vec<CaseResult>, Vec<Fault>> {
    let suite = Suite::read(files)?;
    let realms = all((0..suite.realms()).map(|realm| suite.compile(realm)))?;
    let ready = all((0..suite.len()).map(|test| suite.ready(test, &realms)))?;
    let bench = Bench::new(realms, ready);
    Ok((0..bench.len()).flat_map(|file| bench.run(file)).collect())
}

/// A case as it is asked, with all that it takes to decide it.
#[derive(Clone, Copy, Debug)]
pub struct AskedCase<'a> {
    /// The file.
    pub file: &'a str,
    /// The case's name.
    pub name: &'a str,
    /// The realm as the file has it.
    pub realm: &'a Realm,
    /// Who asks.
    pub principal: &'a Principal,
    /// The question.
    pub request: &'a AccessRequest,
    /// The relationships.
    pub graph: &'a Graph,
}

/// Hands every case of a realm's tests that can be asked to `visit`, those of one file, or of all.
///
/// # Errors
/// Those of [`run`].
pub fn each(files: &[SourceFile], only: Option<&str>, visit: &mut dyn FnMut(AskedCase<'_>)) -> Result<(), Vec<Fault>> {
    let suite = Suite::read(files)?;
    let realms = all((0..suite.realms()).map(|realm| suite.compile(realm)))?;
    let ready = all((0..suite.len()).map(|test| suite.ready(test, &realms)))?;
    let bench = Bench::new(realms, ready);
    for (file, realm, case) in bench.cases().filter(|(file, ..)| only.is_none_or(|only| file.path == only)) {
        if let (Some(realm), Ok(Asked { principal, request, graph, .. })) = (bench.realms().get(realm), &case.asked) {
            visit(AskedCase { file: &file.path, name: &case.name, realm, principal, request, graph });
        }
    }
    Ok(())
}

/// What a list says, each item with its place as a fault without a message.
pub(in crate::domain) type Listed = Vec<(Fault, Map<String, Json>)>;

/// The items of the file of equivalent mutants, each with its place as a fault without a message.
///
/// # Errors
/// Syntax and unknown keys, with places.
pub(in crate::domain) fn listed(file: &SourceFile) -> Result<Listed, Vec<Fault>> {
    let document = yaml::read(file)?;
    let mut check = Check::new(file);
    check.mapping(&document, &EQUIVALENTS, &ROOT);
    if !check.faults.is_empty() {
        return Err(check.faults);
    }
    let items = document.get("mutants").and_then(Json::as_array).into_iter().flatten().enumerate();
    let placed = items.filter_map(|(index, item)| {
        let at = yaml::below(&yaml::key(&ROOT, "mutants"), yaml::Step::Item(index));
        Some((yaml::fault(file, &at, ""), item.as_object()?.clone()))
    });
    Ok(placed.collect())
}

/// All of them, or the faults of all that failed, each once.
///
/// # Errors
/// The faults.
pub fn all<T>(results: impl Iterator<Item = Result<T, Vec<Fault>>>) -> Result<Vec<T>, Vec<Fault>> {
    let (mut good, mut faults) = (Vec::new(), Vec::new());
    for result in results {
        match result {
            Ok(one) => good.push(one),
            Err(found) => faults.extend(found),
        }
    }
    if faults.is_empty() { Ok(good) } else { Err(in_order(faults)) }
}

/// The tests of a realm as they are written.
#[derive(Debug)]
pub struct Suite<'f> {
    files: &'f [SourceFile],
    documents: Vec<Document<'f>>,
    /// The realm as it stands, and then as files of tests change it.
    changes: Vec<Change>,
}

/// What a file of tests makes of the realm.
#[derive(Clone, Debug, Default, PartialEq)]
struct Change {
    variant: Option<String>,
    changed: Map<String, Json>,
    /// The first file that asks for it.
    by: String,
}

impl Change {
    fn is_that_of(&self, document: &Document<'_>) -> bool {
        self.variant == document.variant && self.changed == document.changed
    }
}

impl<'f> Suite<'f> {
    /// Reads every file of tests.
    ///
    /// # Errors
    /// Whatever is wrong in them that shows without the realm, with places.
    pub fn read(files: &'f [SourceFile]) -> Result<Self, Vec<Fault>> {
        let tests = files.iter().filter(|file| is_test_file(file));
        let documents = all(tests.map(|file| Document::read(file, files)))?;
        let mut changes = vec![Change { by: "realm.toml".to_owned(), ..Change::default() }];
        for document in &documents {
            if !changes.iter().any(|change| change.is_that_of(document)) {
                let Document { file, variant, changed, .. } = document;
                changes.push(Change { variant: variant.clone(), changed: changed.clone(), by: file.path.clone() });
            }
        }
        Ok(Self { files, documents, changes })
    }

    /// How many files of tests there are.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// How many realms they ask for; the first is the realm as it stands.
    pub fn realms(&self) -> usize {
        self.changes.len()
    }

    /// Compiles one of the realms.
    ///
    /// # Errors
    /// The faults of the realm's files, or of the changes to them.
    pub fn compile(&self, realm: usize) -> Result<Realm, Vec<Fault>> {
        let Some(Change { variant, changed, by }) = self.changes.get(realm) else { return Err(Vec::new()) };
        let variant = variant.as_deref();
        if changed.is_empty() {
            return Realm::compile(self.files, variant);
        }
        let files = variant.map_or_else(|| Ok(self.files.to_vec()), |name| variant::apply(self.files, name))?;
        let changed = variant::apply_json(&files, changed, by)?;
        // The places of faults would be those of a file that nobody has.
        Realm::compile(&changed, None).map_err(|faults| {
            let named = |fault: Fault| Fault::in_file(by, format!("`changed`: {}: {}", fault.file, fault.message));
            faults.into_iter().map(named).collect()
        })
    }

    /// Holds a file of tests against its realm, which is one of those that [`Suite::compile`] made, all in order.
    ///
    /// # Errors
    /// Records that cannot be mapped, principals that nobody gives, claim sets of another form.
    pub fn ready(&self, test: usize, realms: &[Realm]) -> Result<Ready, Vec<Fault>> {
        let Some(document) = self.documents.get(test) else { return Err(Vec::new()) };
        let index = self.changes.iter().position(|change| change.is_that_of(document)).unwrap_or_default();
        let Some(realm) = realms.get(index) else { return Err(Vec::new()) };
        let sets = ready::claim_sets(document)?;
        let overlaid = (!sets.is_empty()).then(|| realm.with_claim_sets(sets));
        let cases = ready::cases(document, overlaid.as_ref().unwrap_or(realm))?;
        Ok(Ready { file: document.file.clone(), realm: index, overlaid, cases })
    }
}

/// A file of tests that can be run.
#[derive(Debug)]
pub struct Ready {
    file: SourceFile,
    realm: usize,
    /// The realm with the file's own claim sets.
    overlaid: Option<Realm>,
    cases: Vec<Case>,
}
