//! The identity table on disk: what it keeps, what it finds out about damage, and what it forgets, whenever it is cut off.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
};

use proptest::prelude::*;

use super::{Disk, IdentityTable, Step, lock};
use crate::{
    app::ports::{BeforeGroup as _, Clock, Identities as _, IdentityError},
    domain::{
        id::{DecisionId, EntityId, RealmName},
        identity::Pseudonym,
        sealed_facts::OpenError,
    },
};

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now_us(&self) -> i64 {
        1_790_000_000_000_000
    }
}

fn realm() -> RealmName {
    "north".parse().unwrap()
}

fn open(data: &Path) -> Result<IdentityTable, IdentityError> {
    IdentityTable::open(data, &realm(), &[7; 32], Arc::new(StoppedClock))
}

#[expect(clippy::needless_pass_by_value, reason = "reads better where it is called")]
fn student(id: impl ToString) -> EntityId {
    EntityId::new("Student", id.to_string())
}

/// A table of these students, on disk.
fn table_of(data: &Path, ids: &[&str]) -> IdentityTable {
    let table = open(data).unwrap();
    for id in ids {
        table.identify(&student(id)).unwrap();
        table.make_durable().unwrap();
    }
    table
}

fn table_path(data: &Path, epoch: u64) -> PathBuf {
    data.join(format!("realms/north/identities/table.{epoch}"))
}

fn key_path(data: &Path, epoch: u64) -> PathBuf {
    data.join(format!("keys/identities.north.{epoch}.key"))
}

/// Everyone with pseudonym and key.
fn everyone(table: &IdentityTable) -> BTreeMap<EntityId, (Pseudonym, [u8; 32], Option<i64>)> {
    let mut everyone = BTreeMap::new();
    table.people.each(|people| {
        everyone.extend(people.iter().map(|one| (one.entity.clone(), (one.pseudonym, one.key, one.held_since_us()))));
    });
    everyone
}

/// Erases the students, as a use case does.
fn erase(table: &IdentityTable, ids: &[&str]) -> Result<(), IdentityError> {
    let people: Vec<_> = ids.iter().flat_map(|id| table.with_id(id)).collect();
    let erasing = table.begin_erasure(&people, &"basis-canary".into(), &"caller-canary".into())?;
    table.finish_erasure(&erasing)
}

fn interrupt_after(table: &IdentityTable, step: Option<Step>) {
    lock(table.disk.as_ref().unwrap()).interrupt_after = step;
}

/// The bytes of every file below a folder.
fn all_bytes(folder: &Path) -> Vec<u8> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { all_bytes(&path) } else { fs::read(path).unwrap() }).collect()
}

fn holds(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn who_was_named_stays_the_same_after_a_restart_and_stands_nowhere_in_clear() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["student-canary-1", "student-canary-2"]);
    table.set_hold(&table.with_id("student-canary-2"), Some(5)).unwrap();
    let before = everyone(&table);
    assert_eq!(before.len(), 2);
    drop(table);
    let table = open(data.path()).unwrap();
    assert_eq!(everyone(&table), before);
    assert_eq!(table.held().len(), 1);
    table.set_hold(&table.with_id("student-canary-2"), None).unwrap();
    drop(table);
    assert!(open(data.path()).unwrap().held().is_empty());
    let bytes = all_bytes(data.path());
    for secret in [&b"student-canary"[..], b"Student"] {
        assert!(!holds(&bytes, secret));
    }
    assert!(before.values().all(|(pseudonym, key, _)| !holds(&bytes, &pseudonym.0) && !holds(&bytes, key)));
}

#[test]
fn who_is_not_durable_is_not_there_after_a_restart() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1"]);
    table.identify(&student("2")).unwrap();
    drop(table);
    assert_eq!(everyone(&open(data.path()).unwrap()).keys().collect::<Vec<_>>(), [&student("1")]);
}

#[test]
fn nobody_becomes_known_by_being_asked_about() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1"]);
    let length = fs::metadata(table_path(data.path(), 1)).unwrap().len();
    assert!(table.known(&student("2")).is_none() && table.with_id("2").is_empty());
    assert!(table.person("7dbbc79da1291d0eb18997e050942bba").is_none() && table.person("2").is_none());
    table.make_durable().unwrap();
    assert_eq!((table.len(), fs::metadata(table_path(data.path(), 1)).unwrap().len()), (1, length));
    let known = table.known(&student("1")).unwrap();
    assert_eq!(table.person(&known.pseudonym.text()), Some(student("1")));
}

#[test]
fn a_write_that_was_cut_off_costs_its_own_people_only() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1"]);
    let path = table_path(data.path(), 1);
    let mut ends = vec![fs::metadata(&path).unwrap().len()];
    for id in ["2", "3"] {
        table.identify(&student(id)).unwrap();
        table.make_durable().unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    drop(table);
    let whole = fs::read(&path).unwrap();
    for cut in ends[0]..=ends[2] {
        fs::write(&path, &whole[..usize::try_from(cut).unwrap()]).unwrap();
        let table = open(data.path()).unwrap();
        let expected = ends.iter().filter(|end| **end <= cut).count();
        assert_eq!(table.len(), expected, "{cut}");
        // The table goes on at the place where it was cut.
        table.identify(&student("4")).unwrap();
        table.make_durable().unwrap();
        drop(table);
        assert_eq!(open(data.path()).unwrap().len(), expected + 1, "{cut}");
    }
}

#[test]
fn a_flipped_bit_is_never_a_wrong_answer_and_in_the_middle_ends_the_start() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2", "3"]);
    let before = everyone(&table);
    drop(table);
    let path = table_path(data.path(), 1);
    let whole = fs::read(&path).unwrap();
    let last = whole.len() - (whole.len() - 20) / 3;
    for at in 0..whole.len() {
        let mut changed = whole.clone();
        changed[at] ^= 0x20;
        fs::write(&path, &changed).unwrap();
        match open(data.path()) {
            Ok(table) => {
                assert!(at >= last, "{at}: the damage is not at the end");
                assert!(everyone(&table).iter().all(|(entity, kept)| before.get(entity) == Some(kept)), "{at}");
            }
            Err(error) => {
                assert!(matches!(error, IdentityError::Unreadable(_)), "{at} {error}");
                assert!(error.to_string().contains("is damaged at byte"), "{error}");
            }
        }
    }
}

#[test]
fn frames_that_were_taken_out_or_moved_are_found() {
    let data = tempfile::tempdir().unwrap();
    drop(table_of(data.path(), &["1", "2", "3"]));
    let path = table_path(data.path(), 1);
    let whole = fs::read(&path).unwrap();
    let (head, frames) = whole.split_at(20);
    let each = frames.len() / 3;
    let parts: Vec<_> = frames.chunks(each).collect();
    for order in [&[0, 2][..], &[1, 2], &[1, 0, 2], &[0, 0, 1, 2]] {
        let changed = order.iter().flat_map(|part| parts[*part].to_vec());
        fs::write(&path, head.iter().copied().chain(changed).collect::<Vec<_>>()).unwrap();
        let error = open(data.path()).unwrap_err();
        assert!(error.to_string().contains("is damaged at byte"), "{order:?} {error}");
    }
}

#[test]
fn a_missing_key_or_table_ends_the_start_and_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2"]);
    erase(&table, &["1"]).unwrap();
    drop(table);
    let (table, key) = (table_path(data.path(), 2), key_path(data.path(), 2));
    for (path, expected) in [(key, "restore it from a backup"), (table, "is missing although its key")] {
        let aside = path.with_extension("aside");
        fs::rename(&path, &aside).unwrap();
        // Only what is in the folder of the tables counts as a table.
        let error = open(data.path()).unwrap_err().to_string();
        assert!(error.contains(expected) && error.contains("identities"), "{error}");
        fs::rename(&aside, &path).unwrap();
    }
    assert_eq!(open(data.path()).unwrap().len(), 1);
}

#[test]
fn a_first_table_that_is_missing_ends_the_start_once_there_is_a_log() {
    let data = tempfile::tempdir().unwrap();
    drop(table_of(data.path(), &["1"]));
    let log = data.path().join("realms/north/decisions");
    fs::create_dir_all(&log).unwrap();
    fs::write(log.join("00000001.seg"), "entries").unwrap();
    assert_eq!(open(data.path()).unwrap().len(), 1);
    fs::remove_dir_all(table_path(data.path(), 1).parent().unwrap()).unwrap();
    for _ in 0..2 {
        let error = open(data.path()).unwrap_err().to_string();
        assert!(error.contains("is missing although its key"), "{error}");
        assert!(!table_path(data.path(), 1).exists(), "a start that is refused makes no table for the next one");
    }
    // As after a crash in the middle of the first start.
    fs::remove_dir_all(&log).unwrap();
    assert!(open(data.path()).unwrap().is_empty());
}

#[cfg(unix)]
#[test]
fn keys_are_for_their_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = tempfile::tempdir().unwrap();
    drop(table_of(data.path(), &["1"]));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&data.path().join("keys")), mode(&key_path(data.path(), 1))), (0o700, 0o600));
    fs::set_permissions(key_path(data.path(), 1), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(open(data.path()).unwrap_err().to_string().contains("expected 0600"));
}

#[test]
fn who_was_erased_is_unknown_for_ever_and_the_others_are_as_before() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2", "3"]);
    table.set_hold(&table.with_id("3"), Some(5)).unwrap();
    let id = DecisionId(9);
    let seal = |ids: &[&str]| {
        let people = ids.iter().flat_map(|id| table.with_id(id)).collect();
        table.seal(id, people, b"text").unwrap()
    };
    let (of_both, of_one) = (seal(&["1", "2"]), seal(&["2"]));
    let gone = table.known(&student("1")).unwrap().pseudonym;
    let (old_key, old_table) =
        (fs::read(key_path(data.path(), 1)).unwrap(), fs::read(table_path(data.path(), 1)).unwrap());
    let mut left = everyone(&table);
    left.remove(&student("1"));
    erase(&table, &["1"]).unwrap();

    let check = |table: &IdentityTable| {
        assert_eq!(everyone(table), left);
        assert!(table.erasing().is_empty());
        assert_eq!(table.person(&gone.text()), None);
        assert_eq!(table.open(id, &of_both), Err(OpenError::Erased));
        assert_eq!(table.open(id, &of_one), Ok(b"text".to_vec()));
    };
    check(&table);
    assert!(!key_path(data.path(), 1).exists() && !table_path(data.path(), 1).exists());
    let bytes = all_bytes(data.path());
    for secret in [&old_key[..], &old_table[20..], b"basis-canary", b"caller-canary"] {
        assert!(!holds(&bytes, secret));
    }
    drop(table);
    let table = open(data.path()).unwrap();
    check(&table);
    let again = table.identify(&student("1")).unwrap().pseudonym;
    assert_ne!(again, gone, "who comes again is somebody else");
}

#[test]
fn an_old_copy_of_the_table_tells_nothing_without_its_key() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2"]);
    let copy = fs::read(table_path(data.path(), 1)).unwrap();
    erase(&table, &["1"]).unwrap();
    drop(table);
    for epoch in [1, 2, 3] {
        let other = tempfile::tempdir().unwrap();
        fs::create_dir_all(table_path(other.path(), 1).parent().unwrap()).unwrap();
        fs::create_dir_all(other.path().join("keys")).unwrap();
        fs::write(table_path(other.path(), epoch), &copy).unwrap();
        fs::copy(key_path(data.path(), 2), key_path(other.path(), epoch)).unwrap();
        assert!(matches!(open(other.path()), Err(IdentityError::Unreadable(_))), "{epoch}");
    }
}

const STEPS: [Step; 6] =
    [Step::KeyMade, Step::Copied, Step::Synced, Step::Renamed, Step::KeyDestroyed, Step::TableDeleted];

#[test]
fn an_erasure_that_is_cut_off_at_any_step_is_finished_after_the_restart() {
    for step in STEPS {
        let data = tempfile::tempdir().unwrap();
        let table = table_of(data.path(), &["1", "2", "3"]);
        let gone = table.known(&student("1")).unwrap();
        let mut left = everyone(&table);
        left.remove(&student("1"));
        interrupt_after(&table, Some(step));
        assert!(erase(&table, &["1"]).is_err(), "{step:?}");
        drop(table);

        let table = open(data.path()).unwrap();
        assert_eq!(everyone(&table), left, "{step:?}: nobody sees who is being erased");
        for erasing in table.erasing() {
            assert_eq!((&*erasing.people, &*erasing.pseudonyms), (&[student("1")][..], &[gone.pseudonym][..]));
            assert_eq!((&*erasing.basis, &*erasing.caller), ("basis-canary", "caller-canary"));
            table.finish_erasure(&erasing).unwrap();
        }
        let is_counted = matches!(step, Step::Renamed | Step::KeyDestroyed | Step::TableDeleted);
        assert!(table.erasing().is_empty(), "{step:?}");
        let keys = fs::read_dir(data.path().join("keys")).unwrap().count();
        let tables = fs::read_dir(table_path(data.path(), 1).parent().unwrap()).unwrap().count();
        assert_eq!((keys, tables), (1, 1), "{step:?} {is_counted}");
        assert!(!key_path(data.path(), 1).exists(), "{step:?}: the old key is destroyed");
        drop(table);
        assert_eq!(everyone(&open(data.path()).unwrap()), left, "{step:?}");
    }
}

#[test]
fn an_erasure_that_failed_is_finished_by_the_next_call() {
    for step in STEPS {
        let data = tempfile::tempdir().unwrap();
        let table = table_of(data.path(), &["1", "2"]);
        interrupt_after(&table, Some(step));
        assert!(erase(&table, &["1"]).is_err(), "{step:?}");
        // Who comes meanwhile is kept.
        interrupt_after(&table, None);
        table.identify(&student("4")).unwrap();
        table.make_durable().unwrap();
        let [erasing] = &*table.erasing() else { panic!("{step:?}: the erasure was forgotten") };
        table.finish_erasure(erasing).unwrap();
        assert!(table.erasing().is_empty() && !key_path(data.path(), 1).exists(), "{step:?}");
        let left = everyone(&table);
        drop(table);
        let table = open(data.path()).unwrap();
        assert_eq!(everyone(&table), left, "{step:?}");
        assert_eq!(left.keys().collect::<Vec<_>>(), [&student("2"), &student("4")], "{step:?}");
    }
}

#[test]
fn an_erasure_that_the_log_has_not_noted_survives_that_of_another() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2", "3"]);
    let begun = table.begin_erasure(&table.with_id("1"), &"first".into(), &"caller".into()).unwrap();
    erase(&table, &["2"]).unwrap();
    assert_eq!(table.erasing(), std::slice::from_ref(&begun));
    drop(table);
    let table = open(data.path()).unwrap();
    assert_eq!(table.erasing(), std::slice::from_ref(&begun));
    table.finish_erasure(&begun).unwrap();
    drop(table);
    let table = open(data.path()).unwrap();
    assert!(table.erasing().is_empty());
    assert_eq!(everyone(&table).keys().collect::<Vec<_>>(), [&student("3")]);
}

#[test]
fn people_who_come_while_others_are_erased_are_kept() {
    let data = tempfile::tempdir().unwrap();
    let table = open(data.path()).unwrap();
    for id in 0..200 {
        table.identify(&student(id)).unwrap();
    }
    let is_done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let naming = scope.spawn(|| {
            let mut id = 1_000;
            while !is_done.load(std::sync::atomic::Ordering::Relaxed) || id < 1_200 {
                table.identify(&student(id)).unwrap();
                table.make_durable().unwrap();
                id += 1;
            }
        });
        let holding = scope.spawn(|| {
            for id in 100..120 {
                table.set_hold(&table.with_id(&id.to_string()), Some(5)).unwrap();
            }
        });
        let erasers: Vec<_> = (0..4)
            .map(|part| {
                let table = &table;
                scope.spawn(move || (0..5).for_each(|id| erase(table, &[&(part * 5 + id).to_string()]).unwrap()))
            })
            .collect();
        for eraser in erasers {
            eraser.join().unwrap();
        }
        holding.join().unwrap();
        is_done.store(true, std::sync::atomic::Ordering::Relaxed);
        naming.join().unwrap();
    });
    let left = everyone(&table);
    assert!((0..20).all(|id| !left.contains_key(&student(id))));
    assert!((20..200).chain(1_000..1_200).all(|id| left.contains_key(&student(id))));
    assert_eq!(table.held().len(), 20);
    drop(table);
    let table = open(data.path()).unwrap();
    assert_eq!(everyone(&table), left);
    assert!(table.erasing().is_empty());
}

#[test]
fn a_file_that_could_not_be_made_durable_is_written_anew() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2"]);
    let begun = table.begin_erasure(&table.with_id("2"), &"basis".into(), &"caller".into()).unwrap();
    Disk::break_for_test(&mut lock(table.disk.as_ref().unwrap()));
    table.identify(&student("3")).unwrap();
    table.make_durable().unwrap();
    let before = everyone(&table);
    drop(table);
    let table = open(data.path()).unwrap();
    assert_eq!((everyone(&table), table.erasing()), (before, vec![begun]));
}

#[test]
fn an_erasure_that_was_noted_and_not_finished_outlives_a_table_that_is_written_anew() {
    let data = tempfile::tempdir().unwrap();
    let table = table_of(data.path(), &["1", "2"]);
    // The log has noted it, and the disk was full when the table was to be written under a new key.
    interrupt_after(&table, Some(Step::KeyMade));
    assert!(erase(&table, &["1"]).is_err());
    interrupt_after(&table, None);
    Disk::break_for_test(&mut lock(table.disk.as_ref().unwrap()));
    table.identify(&student("3")).unwrap();
    table.make_durable().unwrap();
    drop(table);
    let table = open(data.path()).unwrap();
    let [erasing] = &*table.erasing() else { panic!("the erasure was forgotten, and its key is still there") };
    table.finish_erasure(erasing).unwrap();
    assert!(!key_path(data.path(), 1).exists());
    assert_eq!(everyone(&table).keys().collect::<Vec<_>>(), [&student("2"), &student("3")]);
}

#[test]
fn realms_have_nothing_in_common() {
    let data = tempfile::tempdir().unwrap();
    let other = IdentityTable::open(data.path(), &"south".parse().unwrap(), &[7; 32], Arc::new(StoppedClock)).unwrap();
    let table = table_of(data.path(), &["1", "2"]);
    let there = other.identify(&student("1")).unwrap();
    other.make_durable().unwrap();
    assert_ne!(there.pseudonym, table.known(&student("1")).unwrap().pseudonym);
    erase(&table, &["1"]).unwrap();
    drop((table, other));
    let other = IdentityTable::open(data.path(), &"south".parse().unwrap(), &[7; 32], Arc::new(StoppedClock)).unwrap();
    assert_eq!(other.known(&student("1")).unwrap().pseudonym, there.pseudonym);
}

#[test]
fn a_table_in_memory_forgets_too() {
    let table = IdentityTable::in_memory(&[7; 32], Arc::new(StoppedClock));
    table.identify(&student("1")).unwrap();
    table.set_hold(&table.with_id("1"), Some(5)).unwrap();
    assert_eq!(table.held().len(), 1);
    table.make_durable().unwrap();
    erase(&table, &["1"]).unwrap();
    assert!(table.is_empty() && table.erasing().is_empty());
}

/// What a use case may do to a table.
#[derive(Clone, Debug)]
enum Deed {
    Identify(u8),
    MakeDurable,
    Hold(u8, bool),
    Begin(u8),
    Finish,
    Restart,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let deed = prop_oneof![
        4 => (0_u8..6).prop_map(Deed::Identify),
        2 => Just(Deed::MakeDurable),
        1 => (0_u8..6, any::<bool>()).prop_map(|(id, held)| Deed::Hold(id, held)),
        1 => (0_u8..6).prop_map(Deed::Begin),
        1 => Just(Deed::Finish),
        1 => Just(Deed::Restart),
    ];
    prop::collection::vec(deed, 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn whatever_is_done_a_restart_changes_nothing_that_is_durable(deeds in deeds()) {
        let data = tempfile::tempdir().unwrap();
        let mut table = open(data.path()).unwrap();
        for deed in deeds {
            match deed {
                Deed::Identify(id) => drop(table.identify(&student(id)).unwrap()),
                Deed::MakeDurable => table.make_durable().unwrap(),
                Deed::Hold(id, held) => {
                    table.set_hold(&table.with_id(&id.to_string()), held.then_some(3)).unwrap();
                }
                Deed::Begin(id) => {
                    let people = table.with_id(&id.to_string());
                    if !people.is_empty() {
                        table.begin_erasure(&people, &"basis".into(), &"caller".into()).unwrap();
                    }
                }
                Deed::Finish => {
                    for erasing in table.erasing() {
                        table.finish_erasure(&erasing).unwrap();
                    }
                }
                Deed::Restart => {
                    table.make_durable().unwrap();
                    let before = (everyone(&table), table.erasing());
                    drop(table);
                    table = open(data.path()).unwrap();
                    prop_assert_eq!((everyone(&table), table.erasing()), before);
                }
            }
        }
    }

    #[test]
    fn no_bytes_in_a_tables_place_end_the_process(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let data = tempfile::tempdir().unwrap();
        drop(table_of(data.path(), &["1"]));
        let path = table_path(data.path(), 1);
        let whole = fs::read(&path).unwrap();
        for start in [0, 20, whole.len()] {
            let changed: Vec<u8> = whole[..start].iter().chain(&bytes).copied().collect();
            fs::write(&path, changed).unwrap();
            drop(open(data.path()));
        }
    }
}
