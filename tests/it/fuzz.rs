//! What the fuzzers enter, on the inputs that are kept in `fuzz/corpus` and on changes of them: nothing panics, and what the
//! entries hold is so. The fuzzers themselves are run by `scripts/fuzz`.
//!
//! `HALLPASS_BLESS=1 cargo test --test it fuzz` writes the inputs `seed-*` anew; others were found by the fuzzers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hallpass::app::ports::DecisionLog as _;
use hallpass::proto::v1::{self as pb, value::Kind};
use hallpass::provider::bundle;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use hallpass::storage::segment_log::{LogKey, Options, Outside, SegmentLog};
use prost::Message;
use serde_json::json;

use crate::support::{entity, text};

#[path = "../../fuzz/fuzz_targets/entry/mod.rs"]
pub(crate) mod entry;

use self::entry::{BETWEEN, ENDPOINTS, ENTRIES, Entry, FILES, files, number};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The kept inputs of a target by name.
fn kept(target: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let named = |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap());
    entries.map(|entry| named(entry.unwrap().path())).collect()
}

/// Numbers that look like chance and are the same each time (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        usize::try_from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33).unwrap() % end.max(1)
    }

    /// The bytes with a few changes, some of them with a part of others.
    fn changed(&mut self, bytes: &[u8], others: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let until = at + self.below((bytes.len() - at).min(64) + 1);
            match self.below(6) {
                0 => drop(bytes.drain(at..until)),
                1 => bytes.insert(at, u8::try_from(self.below(256)).unwrap()),
                2 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                3 => bytes.truncate(at.max(1)),
                4 => drop(bytes.splice(at..at, bytes[at..until].to_vec())),
                _ => {
                    let from = self.below(others.len());
                    let to = from + self.below((others.len() - from).min(64) + 1);
                    drop(bytes.splice(at..until, others[from..to].iter().copied()));
                }
            }
        }
        bytes
    }
}

/// Enters the kept inputs and so many changed ones.
fn enter(target: &str, changes: usize) {
    let (_, entry): (_, Entry) = ENTRIES.into_iter().find(|(name, _)| *name == target).unwrap();
    let kept: Vec<Vec<u8>> = kept(target).into_values().collect();
    assert!(!kept.is_empty(), "fuzz/corpus/{target} has no input");
    kept.iter().for_each(|input| entry(input));
    entry(&[]);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..changes {
        let (one, other) = (chance.below(kept.len()), chance.below(kept.len()));
        let input = chance.changed(&kept[one], &kept[other]);
        entry(&input);
    }
}

/// How many changed inputs each entry takes in: fewer where one takes milliseconds without optimization.
const CHANGES: [(&str, usize); 12] = [
    ("token", 2_000),
    ("key_set", 2_000),
    ("realm_files", 60),
    ("bundle", 2_000),
    ("records", 2_000),
    ("record_codec", 2_000),
    ("segment_reader", 60),
    ("proto_conversion", 400),
    ("json_message", 400),
    ("authzen_body", 400),
    ("traceparent", 2_000),
    ("certificate", 2_000),
];

#[test]
fn every_kept_and_changed_input_is_answered() {
    assert_eq!(CHANGES.map(|(name, _)| name), ENTRIES.map(|(name, _)| name), "each entry is entered");
    let threads = CHANGES.map(|(target, changes)| (target, std::thread::spawn(move || enter(target, changes))));
    let failed: Vec<_> =
        threads.into_iter().filter_map(|(target, thread)| thread.join().is_err().then_some(target)).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn each_entry_has_a_target_of_its_name() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let manifest = fs::read_to_string(root.join("Cargo.toml")).unwrap();
    let page = fs::read_to_string(root.join("../docs/threat-model.md")).unwrap();
    for (target, _) in ENTRIES {
        assert!(manifest.contains(&format!("name = \"{target}\"")), "fuzz/Cargo.toml has no {target}");
        let program = fs::read_to_string(root.join(format!("fuzz_targets/{target}.rs"))).unwrap();
        assert!(program.contains(&format!("entry::{target}(bytes)")), "{target}.rs enters something else");
        assert!(page.contains(&format!("| `{target}` |")), "docs/threat-model.md does not say what {target} is");
    }
    assert_eq!(manifest.matches("[[bin]]").count(), ENTRIES.len());
}

#[test]
fn the_small_realm_of_the_fuzzers_is_sound_and_passes_its_own_tests() {
    let results = hallpass::domain::policy_test::run(&files()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(results.len() > 2 && results.iter().all(|case| case.differences.is_empty()), "{results:#?}");
}

/// Inputs to begin with, by target and name. Those that hold a key or a time are made once and kept.
fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let between = char::from(BETWEEN).to_string();
    let mut seeds = vec![
        ("key_set", "public", LocalKey::generate().unwrap().jwks().into_bytes()),
        ("realm_files", "as-it-stands", FILES.map(|(_, content)| content).join(&between).into_bytes()),
        ("bundle", "files", bundle::pack(&files()).unwrap()),
        ("bundle", "checkpoint", b"log.example/north\n7\nAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n".to_vec()),
        ("records", "lines", RECORDS.as_bytes().to_vec()),
        ("segment_reader", "begun-and-ended", segment()),
    ];
    for (index, (path, content)) in FILES.into_iter().enumerate() {
        let name = path.rsplit('/').next().unwrap().split('.').next().unwrap();
        seeds.push(("realm_files", name, format!("{}{content}", between.repeat(index)).into_bytes()));
    }
    let claims = json!({ "iss": "https://issuer.example", "sub": "t", "iat": 1_789_999_000, "exp": 1_790_000_600 });
    seeds.push(("token", "signed", LocalKey::generate().unwrap().sign(&claims).unwrap().into_bytes()));
    seeds.extend(
        messages()
            .into_iter()
            .map(|(call, message)| ("proto_conversion", call, [vec![number(call)], message].concat())),
    );
    seeds
}

const RECORDS: &str = r#"{"school": "1", "student": "ada"}
{"school": 1, "student": "ben", "more": [1, {"deep": null}]}
{"id": "c-1", "school": "1", "pupils": ["ada", "ben", 7]}
{"subject": {"type": "Student", "id": "ada"}, "relation": "enrolled_at", "object": {"type": "School", "id": "1"}}
"#;

/// Bodies by endpoint of AuthZEN.
const BODIES: [(&str, &str); 5] = [
    (
        "evaluation",
        r#"{"subject": {"type": "teacher", "id": "t-1", "properties": {"schools": "1"}}, "action": {"name": "view",
        "properties": {"method": "GET"}}, "resource": {"type": "file", "id": "ada"}, "context": {"explain": true}}"#,
    ),
    (
        "evaluations",
        r#"{"subject": {"type": "teacher", "id": "t-1", "properties": {"schools": "1"}}, "action": {"name": "Update"},
        "options": {"evaluations_semantic": "deny_on_first_deny"}, "evaluations": [{"resource": {"type": "File", "id": "f",
        "properties": {"student": "ada", "size": 7, "tags": ["a"], "is_open": true}}}, {"resource": {"type": "file"}}]}"#,
    ),
    (
        "search/subject",
        r#"{"subject": {"type": "teacher"}, "action": {"name": "view"}, "resource": {"type": "file", "id": "ada"},
        "page": {"limit": 2}}"#,
    ),
    (
        "search/resource",
        r#"{"subject": {"type": "teacher", "id": "t-1", "properties": {"schools": "1"}}, "action": {"name": "view"},
        "resource": {"type": "file"}, "page": {"token": "AQ", "limit": 2}}"#,
    ),
    (
        "search/action",
        r#"{"subject": {"type": "teacher", "id": "t-1", "properties": {"schools": "1"}},
        "resource": {"type": "file", "id": "ada"}}"#,
    ),
];

/// Messages by call, as JSON.
const MESSAGES: [(&str, &str); 5] = [
    (
        "Authorize",
        r#"{"action": "Read", "resource": {"type": "File", "id": "f-1", "attributes": {"student": "ada", "size": 7,
        "tags": ["a"], "is_open": true}, "hasAttributes": true}, "context": {"method": "GET"}, "explain": "EXPLAIN_LEVEL_NONE"}"#,
    ),
    (
        "WriteRelationships",
        r#"{"creates": [{"subject": {"type": "Student", "id": "ben"}, "relation": "enrolled_at",
        "object": {"type": "School", "id": "1"}}], "expectedRevision": "0"}"#,
    ),
    (
        "QueryDecisions",
        r#"{"person": {"type": "Student", "id": "ada"}, "names": true, "from": "2026-01-01T00:00:00Z",
        "pageSize": 10, "order": "DECISION_ORDER_NEWEST_FIRST"}"#,
    ),
    ("ImportRecords", r#"{"resource": "enrolments", "records": ["{\"school\": 1, \"student\": \"ben\"}"]}"#),
    ("Revoke", r#"{"revocation": {"tokens": {"issuer": "https://issuer.example", "tokenId": "7"}}}"#),
];

/// The segment of a log that began and ended; the input's first byte leaves it in one piece.
fn segment() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let key = LogKey::of_realm(&[7; 32], &"north".parse().unwrap()).unwrap();
    let outside = Outside { clock: std::sync::Arc::new(SystemClock), key, before_group: None, index: None };
    let log = SegmentLog::open(folder.path(), Options::default(), outside).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(log.close());
    [vec![255], fs::read(folder.path().join("00000001.seg")).unwrap()].concat()
}

fn message(message: &impl Message) -> Vec<u8> {
    message.encode_to_vec()
}

/// A message of each kind that says much.
fn messages() -> Vec<(&'static str, Vec<u8>)> {
    let values = || {
        let list = pb::ListValue { values: vec![text("open"), text("old")] };
        let value = |kind| pb::Value { kind: Some(kind) };
        let student = ("student".to_owned(), text("ada"));
        let size = ("size".to_owned(), value(Kind::IntValue(7)));
        let tags = ("tags".to_owned(), value(Kind::ListValue(list)));
        [student, size, tags, ("is_open".to_owned(), value(Kind::BoolValue(true)))].into()
    };
    let resource = || pb::Resource {
        r#type: "File".to_owned(),
        id: "f-1".to_owned(),
        attributes: values(),
        has_attributes: true,
        ..pb::Resource::default()
    };
    let reading = || pb::AuthorizeRequest {
        action: "Read".to_owned(),
        resource: Some(resource()),
        context: [("method".to_owned(), text("GET"))].into(),
        request_id: "r-1".to_owned(),
        purpose: "care".to_owned(),
        supported_obligations: vec!["stamp".to_owned()],
        ..pb::AuthorizeRequest::default()
    };
    let updated = pb::Resource { proposed: values(), has_proposed: true, ..resource() };
    let updating = pb::AuthorizeRequest { action: "Update".to_owned(), resource: Some(updated), ..reading() };
    let search = pb::SearchResourcesRequest {
        action: "Read".to_owned(),
        resource_type: "File".to_owned(),
        candidates: vec![resource(), resource()],
        has_candidates: true,
        page_size: 10,
        ..pb::SearchResourcesRequest::default()
    };
    let enrolled = pb::Relationship {
        subject: Some(entity("Student", "ben")),
        relation: "enrolled_at".to_owned(),
        object: Some(entity("School", "1")),
    };
    let write = pb::WriteRelationshipsRequest { creates: vec![enrolled.clone()], ..Default::default() };
    let import = pb::ImportRecordsRequest {
        resource: "enrolments".to_owned(),
        records: RECORDS.lines().map(str::to_owned).collect(),
        ..Default::default()
    };
    let query = pb::QueryDecisionsRequest {
        person: Some(entity("Student", "ada")),
        resource_type: "File".to_owned(),
        names: true,
        purpose: "audit".to_owned(),
        page_size: 10,
        ..Default::default()
    };
    let export = pb::ExportDecisionsRequest { query: Some(query.clone()), proofs: true };
    let erase = pb::ErasePersonRequest {
        person: Some(entity("Student", "ben")),
        basis: "asked".to_owned(),
        ..Default::default()
    };
    vec![
        ("Authorize", message(&reading())),
        ("Authorize", message(&updating)),
        ("BatchAuthorize", message(&pb::BatchAuthorizeRequest { defaults: Some(reading()), items: vec![updating] })),
        ("SearchResources", message(&search)),
        ("WriteRelationships", message(&write)),
        ("ImportRecords", message(&import)),
        ("QueryDecisions", message(&query)),
        ("ExportDecisions", message(&export)),
        ("ErasePerson", message(&erase)),
    ]
}

#[test]
fn every_target_has_its_first_inputs() {
    for (place, (target, name, bytes)) in seeds().into_iter().enumerate() {
        let path = corpus(target).join(format!("seed-{place:02}-{name}"));
        if std::env::var_os("HALLPASS_BLESS").is_some() {
            fs::create_dir_all(corpus(target)).unwrap();
            fs::write(&path, &bytes).unwrap();
        }
        let found = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        // What is made by chance, at a time or from a map differs in bytes.
        let is_made_anew = ["key_set", "token", "segment_reader", "proto_conversion", "certificate"].contains(&target);
        let is_same = if is_made_anew { found.len().abs_diff(bytes.len()) < 64 } else { found == bytes };
        assert!(is_same, "{} is another one now: HALLPASS_BLESS=1 writes it anew", path.display());
    }
}
