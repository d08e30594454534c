//! Tests of the history on disk.

use std::{collections::BTreeMap, sync::mpsc};

use proptest::prelude::*;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::*;
use crate::domain::{
    graph::Graph,
    relationship::{Change, EntityFacts, Relationship, Remembered, settle},
};

const SCHOOLS: [&str; 3] = ["a", "b", "c"];

fn student(id: &str) -> EntityId {
    EntityId::new("Student", id)
}

fn key(student: &str) -> RecordKey {
    RecordKey { resource: "enrolments".into(), key: format!("2026\u{1f}{student}").into() }
}

fn put(id: &str, schools: &[&str]) -> Change {
    let enrolled = schools.iter().map(|school| Relationship {
        subject: student(id),
        relation: "enrolled_at".into(),
        object: EntityId::new("School", *school),
    });
    let facts = EntityFacts { entity: student(id), facts: vec![("schools".into(), schools.concat().into())] };
    Change::Put(Record::new(key(id), enrolled.collect(), Some(facts)))
}

/// What a graph says about a student: schools, former schools, facts.
type Said = (Vec<String>, Vec<String>, Option<String>);

fn said(graph: &Graph, id: &str) -> Said {
    let Some(node) = graph.node("Student", id) else { return Said::default() };
    let mut schools: Vec<_> = graph.parents(node).map(|(_, school)| graph.entity(school).id.to_string()).collect();
    let mut former: Vec<_> =
        graph.parents_removed(node).map(|(_, school)| graph.entity(school).id.to_string()).collect();
    schools.sort();
    former.sort();
    (schools, former, graph.facts(node).map(|facts| facts.facts[0].1.to_string()))
}

/// A store in memory with its history on disk.
struct World {
    folder: TempDir,
    runtime: Runtime,
    history: HistoryFiles,
    records: BTreeMap<RecordKey, Record>,
    revision: Revision,
    /// What each revision was, and when.
    was: Vec<(Revision, i64, Vec<Said>)>,
    now_us: i64,
}

const STUDENTS: [&str; 3] = ["604821", "604822", "604823"];

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let history = open(&folder).unwrap();
        let runtime = Runtime::new().unwrap();
        let (records, revision, was) = (BTreeMap::new(), Revision(0), Vec::new());
        let mut world = Self { folder, runtime, history, records, revision, was, now_us: 1_000 };
        world.begin();
        world
    }

    fn begin(&mut self) {
        let (sender, receiver) = mpsc::channel();
        self.records.values().for_each(|record| sender.send(record.clone()).unwrap());
        drop(sender);
        self.runtime.block_on(self.history.begin(self.revision, receiver, self.now_us)).unwrap();
        self.note();
    }

    fn note(&mut self) {
        let mut graph = Graph::new();
        self.records.values().for_each(|record| graph.insert(record));
        let said = STUDENTS.iter().map(|id| said(&graph, id)).collect();
        self.was.push((self.revision, self.now_us, said));
    }

    /// Writes a batch to the store alone.
    fn store(&mut self, batch: Vec<Change>) -> Written {
        let remembered: Remembered = [Arc::from("enrolled_at")].into_iter().collect();
        let effects: Vec<Effect> = batch
            .into_iter()
            .map(|change| {
                let effect = settle(self.records.get(change.key()).cloned(), change, &remembered);
                effect.keep_in(&mut self.records);
                effect
            })
            .collect();
        if effects.iter().any(|effect| *effect != Effect::Unchanged) {
            self.revision = Revision(self.revision.0 + 1);
        }
        Written { revision: self.revision, effects }
    }

    fn write(&mut self, batch: Vec<Change>) {
        self.now_us += 10;
        let written = self.store(batch);
        self.runtime.block_on(self.history.append(Arc::new(vec![written]), self.now_us)).unwrap();
        self.note();
    }

    fn reopen(&mut self) {
        self.history = open(&self.folder).unwrap();
    }

    /// Every noted revision reads back as it was, in this order of places.
    fn check(&self, places: impl Iterator<Item = usize>) {
        let mut past = self.history.past();
        for place in places {
            let (revision, time_us, was) = &self.was[place];
            let found = past.at(*revision, *time_us).unwrap().expect("it is kept");
            assert_eq!(found.graph.revision(), *revision);
            let is: Vec<Said> = STUDENTS.iter().map(|id| said(&found.graph, id)).collect();
            assert_eq!(&is, was, "revision {revision}");
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> =
            fs::read_dir(folder(&self.folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    fn bytes_of_everything(&self) -> Vec<u8> {
        self.files().iter().flat_map(|path| fs::read(path).unwrap()).collect()
    }

    fn forget(&self, id: &str) {
        self.runtime.block_on(self.history.forget(&student(id))).unwrap();
    }
}

fn folder(folder: &TempDir) -> PathBuf {
    folder.path().join("realms/one/history")
}

fn open(data: &TempDir) -> Result<HistoryFiles, ArchiveError> {
    HistoryFiles::open(&folder(data), &data.path().join("keys"), &"one".parse().unwrap())
}

/// A few revisions of every kind of effect.
fn lived() -> World {
    let mut world = World::new();
    world.write(vec![put("604821", &["a"]), put("604822", &["b"])]);
    world.write(vec![put("604821", &["a", "c"])]);
    world.write(vec![put("604821", &["a", "c"])]);
    world.write(vec![Change::Delete(key("604822"))]);
    world.write(vec![Change::Forget(key("604821")), put("604823", &["a"])]);
    world
}

#[test]
fn every_revision_reads_back_forwards_and_backwards_and_after_a_restart() {
    let mut world = lived();
    for _ in 0..2 {
        let count = world.was.len();
        world.check(0..count);
        world.check((0..count).rev());
        world.reopen();
        assert_eq!(world.history.newest(), Some(world.revision));
        world.write(vec![put("604823", &["b"])]);
    }
    assert!(world.history.past().at(Revision(99), 0).unwrap().is_none());
    let bytes = world.bytes_of_everything();
    assert!(!bytes.windows(6).any(|window| STUDENTS.iter().any(|id| id.as_bytes() == window)), "nothing is in clear");
}

#[test]
fn a_revision_that_only_the_store_has_was_seen_by_nobody_and_a_new_file_begins() {
    let mut world = lived();
    // The process dies between the store and the history.
    world.store(vec![put("604822", &["c"])]);
    world.store(vec![put("604822", &["a"])]);
    world.reopen();
    assert_ne!(world.history.newest(), Some(world.revision));
    world.now_us += 10;
    world.begin();
    world.write(vec![put("604822", &["b"])]);
    world.check(0..world.was.len());
    assert!(world.history.past().at(Revision(5), 0).unwrap().is_none(), "what nobody saw is not kept");
}

#[test]
fn a_file_that_was_cut_anywhere_keeps_what_is_before_and_is_never_gone_on_with() {
    let mut world = lived();
    let path = world.files().into_iter().find(|path| path.extension().is_some_and(|ending| ending == "hist")).unwrap();
    let whole = fs::read(&path).unwrap();
    let is_whole: Vec<usize> = (HEADER_BYTES..=whole.len())
        .filter(|cut| {
            fs::write(&path, &whole[..*cut]).unwrap();
            open(&world.folder).unwrap().newest().is_some()
        })
        .collect();
    assert_eq!(is_whole.len(), 5, "the base and four revisions");
    fs::write(&path, &whole[..whole.len() - 1]).unwrap();
    world.reopen();
    assert_eq!(world.history.newest(), None);
    assert!(world.history.past().at(Revision(4), i64::MAX).unwrap().is_none(), "it is cut in the middle");
    world.now_us += 10;
    world.begin();
    world.check([0, 1, 2, 4, 6].into_iter());
    world.write(vec![put("604821", &["b"])]);
    world.reopen();
    assert_eq!(world.history.newest(), Some(world.revision));
    world.check([1, 7].into_iter());
}

#[test]
fn a_changed_byte_is_never_shown() {
    let world = lived();
    let path = world.files().into_iter().find(|path| path.extension().is_some_and(|ending| ending == "hist")).unwrap();
    let whole = fs::read(&path).unwrap();
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 4;
        fs::write(&path, &changed).unwrap();
        let mut past = world.history.past();
        for (revision, time_us, was) in &world.was {
            let Ok(Some(found)) = past.at(*revision, *time_us) else { continue };
            let is: Vec<Said> = STUDENTS.iter().map(|id| said(&found.graph, id)).collect();
            assert_eq!(&is, was, "byte {at}");
        }
    }
}

#[test]
fn an_older_store_that_was_put_back_goes_its_own_way() {
    let mut world = lived();
    let (records, revision) = (world.records.clone(), world.revision);
    world.write(vec![put("604821", &["a"])]);
    world.write(vec![put("604821", &["b"])]);
    (world.records, world.revision) = (records, revision);
    world.now_us += 10;
    world.begin();
    world.write(vec![put("604821", &["c"])]);
    world.check(0..world.was.len());
    world.check((0..world.was.len()).rev());
}

#[test]
fn the_revision_of_a_time_is_the_newest_that_was_known_then() {
    let mut world = lived();
    world.now_us += 10;
    world.begin();
    world.write(vec![put("604821", &["a"])]);
    let at = |time_us| world.history.revision_at(time_us).unwrap().map(|revision| revision.0);
    assert_eq!(at(999), None);
    for (revision, time_us, _) in &world.was {
        let known = world.was.iter().filter(|(_, known_us, _)| known_us <= time_us);
        assert_eq!(at(*time_us), known.map(|(revision, ..)| revision.0).next_back(), "{revision}");
    }
    assert_eq!(at(i64::MAX), Some(world.revision.0));
}

#[test]
fn a_forgotten_person_is_in_no_file_that_a_key_is_left_for() {
    let mut world = lived();
    let (before, old_key) = (world.bytes_of_everything(), world.folder.path().join("keys/history.one.1.key"));
    assert!(old_key.exists());
    world.forget("604821");
    assert!(!old_key.exists() && world.folder.path().join("keys/history.one.2.key").exists());
    assert_ne!(world.bytes_of_everything(), before);
    let last = world.revision;
    for is_reopened in [false, true] {
        if is_reopened {
            world.reopen();
        }
        let mut past = world.history.past();
        for (revision, time_us, was) in &world.was {
            let found = past.at(*revision, *time_us).unwrap().unwrap();
            assert_eq!(said(&found.graph, "604821"), Said::default());
            assert_eq!(said(&found.graph, "604822"), was[1], "others stay");
            assert_eq!(found.is_forgetful, (1..=last.0).contains(&revision.0), "{revision}");
        }
        assert_eq!(world.history.newest(), Some(world.revision));
        world.write(vec![put("604823", &["c"])]);
    }
}

#[test]
fn records_are_forgotten_and_who_is_not_there_costs_no_epoch() {
    let mut world = lived();
    world.forget("nobody");
    assert!(world.folder.path().join("keys/history.one.1.key").exists());
    assert!(!world.folder.path().join("keys/history.one.2.key").exists());
    world.runtime.block_on(world.history.forget_records(vec![key("604822")])).unwrap();
    let mut past = world.history.past();
    let found = past.at(world.was[1].0, world.was[1].1).unwrap().unwrap();
    assert_eq!(
        (said(&found.graph, "604822"), said(&found.graph, "604821")),
        (Said::default(), world.was[1].2[0].clone())
    );
    world.reopen();
    world.write(vec![put("604823", &["c"])]);
}

#[test]
fn forgetting_that_was_cut_off_is_finished_or_undone() {
    // Before the new epoch counts: the old one does, and what was written for the new one is removed.
    let world = lived();
    let old: Vec<_> = world.files();
    let stray = folder(&world.folder).join("00000002-00000001.hist");
    fs::copy(old.iter().find(|path| path.extension().is_some_and(|ending| ending == "hist")).unwrap(), &stray).unwrap();
    fs::write(world.folder.path().join("keys/history.one.2.key"), [1; 32]).unwrap();
    let history = open(&world.folder).unwrap();
    assert_eq!((history.newest(), stray.exists()), (Some(world.revision), false));
    assert!(!world.folder.path().join("keys/history.one.2.key").exists());
    // After it counts: the old files and their key go.
    let kept: Vec<_> = old.iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect();
    let old_key = world.folder.path().join("keys/history.one.1.key");
    let secret = fs::read(&old_key).unwrap();
    world.check(0..1);
    world.forget("604822");
    for (path, bytes) in kept.iter().filter(|(path, _)| path.extension().is_some_and(|ending| ending == "hist")) {
        fs::write(path, bytes).unwrap();
    }
    fs::write(&old_key, secret).unwrap();
    let history = open(&world.folder).unwrap();
    assert!(
        !old_key.exists()
            && kept.iter().all(|(path, _)| !path.to_string_lossy().contains("00000001-0") || !path.exists())
    );
    assert_eq!(history.newest(), Some(world.revision));
}

#[test]
fn a_history_without_its_key_is_refused_with_what_to_do() {
    let world = lived();
    fs::remove_file(world.folder.path().join("keys/history.one.1.key")).unwrap();
    let error = open(&world.folder).unwrap_err().to_string();
    assert!(error.contains("history.one.1.key` is missing") && error.contains("restore the key"), "{error}");
}

#[cfg(unix)]
#[test]
fn the_key_and_its_folder_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    let mode = |path: &str| fs::metadata(world.folder.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("keys"), mode("keys/history.one.1.key")), (0o700, 0o600));
}

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let schools = proptest::sample::subsequence(&SCHOOLS[..], 0..=3);
    let change = (proptest::sample::select(&STUDENTS[..]), proptest::option::of(schools), any::<bool>());
    let change = change.prop_map(|(id, schools, forgets)| match schools {
        Some(schools) => put(id, &schools),
        None if forgets => Change::Forget(key(id)),
        None => Change::Delete(key(id)),
    });
    proptest::collection::vec(proptest::collection::vec(change, 1..3), 1..10)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn what_was_is_what_is_read(
        batches in changes(),
        places in proptest::collection::vec(any::<proptest::sample::Index>(), 1..12),
    ) {
        let mut world = World::new();
        for batch in batches {
            world.write(batch);
        }
        let count = world.was.len();
        world.check(places.iter().map(|place| place.index(count)));
    }
}
