//! A realm's files, bundles of them, and the records that a realm maps.

use hallpass::domain::bundle::{Seal, Statement};
use hallpass::domain::checkpoint::Checkpoint;
use hallpass::domain::fault::Fault;
use hallpass::domain::graph::Graph;
use hallpass::domain::policy_set::SourceFile;
use hallpass::domain::realm::Realm;
use hallpass::domain::signed_note::VerifierKey;
use hallpass::domain::{lint, policy_test};
use hallpass::provider::bundle;

/// Stands between the files of an input (the information separator that text editors and parsers leave alone).
const BETWEEN: u8 = 0x1f;

/// The files that an input may bring, in its order, with what stands there when it doesn't.
const FILES: [(&str, &str); 6] = [
    ("realm.toml", include_str!("../../realm/realm.toml")),
    ("relations.toml", include_str!("../../realm/relations.toml")),
    ("schema.cedarschema", include_str!("../../realm/schema.cedarschema")),
    ("policies.cedar", include_str!("../../realm/policies.cedar")),
    ("tests/files.yaml", include_str!("../../realm/tests/files.yaml")),
    ("openapi.yaml", include_str!("../../realm/openapi.yaml")),
];

/// The small realm as it stands.
pub(crate) fn files() -> Vec<SourceFile> {
    FILES.iter().map(|(path, content)| file(path, content)).collect()
}

fn file(path: &str, content: &str) -> SourceFile {
    SourceFile { path: path.to_owned(), content: content.to_owned() }
}

/// Reads bytes as files of a realm: they compile, and then its tests can be run, or each fault lies where it says.
pub(crate) fn realm_files(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let mut parts = text.split(char::from(BETWEEN));
    let files: Vec<SourceFile> = FILES
        .iter()
        .map(|(path, content)| match parts.next() {
            Some(part) if !part.is_empty() => file(path, part),
            _ => file(path, content),
        })
        .collect();
    compile(&files);
}

/// Compiles the small realm with another file in place of its own.
pub(super) fn realm_with(path: &str, content: &str) {
    let mut files = files();
    files.retain(|file| file.path != path);
    files.push(file(path, content));
    compile(&files);
}

/// The files compile, and then its tests can be run, or each fault lies where it says.
fn compile(files: &[SourceFile]) {
    match Realm::compile(files, None) {
        Ok(_) => {
            if let Err(faults) = policy_test::run(files) {
                check_places(&faults, files);
            }
            check_places(&lint::check(files).faults, files);
        }
        Err(faults) => {
            assert!(!faults.is_empty(), "refused without a fault");
            check_places(&faults, files);
        }
    }
}

/// A fault has a place that is in its file, and can be shown.
fn check_places(faults: &[Fault], files: &[SourceFile]) {
    for fault in faults {
        assert!(!fault.message.is_empty() && !fault.to_string().is_empty(), "{fault:?}");
        let Some(file) = files.iter().find(|file| file.path == fault.file) else {
            assert_eq!(fault.line, 0, "{fault:?} is in no file");
            continue;
        };
        // The end of a file that ends with a line break is the beginning of the line behind it.
        let lines: Vec<&str> = file.content.split('\n').collect();
        assert!(fault.line <= lines.len() && fault.end_line <= lines.len(), "{fault:?} is behind the end");
        let Some(line) = fault.line.checked_sub(1).map(|index| lines[index]) else { continue };
        assert!((1..=line.chars().count() + 1).contains(&fault.column), "{fault:?} is behind the end of its line");
        assert!((fault.line, fault.column) <= (fault.end_line, fault.end_column), "{fault:?} ends before it begins");
    }
}

/// Reads bytes as a bundle and as the notes beside one: what is read is written as it was, and nobody has signed it.
pub(crate) fn bundle(bytes: &[u8]) {
    if let Ok(files) = bundle::unpack(bytes) {
        assert_eq!(bundle::pack(&files).ok().as_deref(), Some(bytes), "a bundle is written in one way only");
        assert!(files.iter().all(|file| !file.path.contains("..") && !file.path.starts_with('/')));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let key = VerifierKey::new("nobody.example", [7; 32]);
    assert!(Seal::open(text, key.as_slice(), "north").is_err(), "nobody has the key");
    if let Ok(statement) = Statement::parse(text) {
        assert_eq!(statement.text(), text);
    }
    if let Ok(checkpoint) = Checkpoint::parse(text) {
        assert_eq!(Checkpoint::parse(&checkpoint.text()).ok(), Some(checkpoint));
    }
}

thread_local! {
    pub(super) static REALM: Realm = Realm::compile(&files(), None).expect("the small realm is sound");
}

/// Reads lines as records of each resource of the realm: one that is taken can be found by its key, and related.
pub(crate) fn records(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    REALM.with(|realm| {
        let mut graph = Graph::new();
        for line in text.lines() {
            for resource in ["enrolments", "classes", "relationships", ""] {
                let Ok(record) = realm.relations.map(resource, line) else { continue };
                assert_eq!(realm.relations.key(resource, line).as_ref(), Ok(&record.key), "{line}");
                graph.insert(&record);
            }
        }
        let _can_be_counted = graph.counts();
    });
}
