//! What the fuzzers enter, on the inputs that are kept in `fuzz/corpus` and on changes of them: nothing panics, and what the
//! entries hold is so. The fuzzers themselves are run by `scripts/fuzz`.

use std::fs;
use std::path::{Path, PathBuf};

#[path = "../../fuzz/fuzz_targets/entry/mod.rs"]
pub(crate) mod entry;

use self::entry::{ENTRIES, Entry, files};

fn corpus(target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target)
}

/// The kept inputs of a target, by their names in order.
fn kept(target: &str) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(corpus(target)).unwrap_or_else(|error| panic!("{target}: {error}"));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
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
    let kept = kept(target);
    assert!(!kept.is_empty(), "fuzz/corpus/{target} has no input");
    for input in &kept {
        entry(input);
    }
    entry(&[]);
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    for _ in 0..changes {
        let (one, other) = (chance.below(kept.len()), chance.below(kept.len()));
        let input = chance.changed(&kept[one], &kept[other]);
        entry(&input);
    }
}

/// How many changed inputs each entry takes in: fewer where one takes milliseconds without optimization.
const CHANGES: [(&str, usize); 16] = [
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
    ("route_path", 2_000),
    ("openapi", 60),
    ("envoy_check", 400),
    ("traceparent", 2_000),
    ("certificate", 2_000),
    ("peer_certificate", 2_000),
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
fn the_crates_of_others_are_built_for_the_fuzzers_as_for_the_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let [of_tests, of_fuzzers] = ["Cargo.toml", "fuzz/Cargo.toml"].map(|manifest| {
        let manifest = fs::read_to_string(root.join(manifest)).unwrap().parse::<toml::Table>().unwrap();
        let dev = &manifest["profile"]["dev"];
        [&dev["debug"], &dev["package"]["*"]].map(ToString::to_string)
    });
    assert_eq!(of_tests, of_fuzzers, "each would be built twice");
}

#[test]
fn the_small_realm_of_the_fuzzers_is_sound_and_passes_its_own_tests() {
    let results = hallpass::domain::policy_test::run(&files()).unwrap_or_else(|faults| panic!("{faults:#?}"));
    assert!(results.len() > 2 && results.iter().all(|case| case.differences.is_empty()), "{results:#?}");
}
