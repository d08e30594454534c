//! The suite over sled, and what only a store on a disk has to stand.

use std::fs;

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::storage::{
    memory::MemoryStore,
    relationship_suite::{self, enrolment, enrolments, key, load, put, realm, remembering, write},
    small_disk::SmallDisk,
};

/// For tests: a small cache, and no look at the disk of whoever runs them.
const OPTIONS: Options = Options { cache_bytes: 8 << 20, free_bytes_min: 0 };

fn opened(folder: &TempDir) -> SledStore {
    SledStore::open(folder.path(), OPTIONS).unwrap()
}

fn store() -> (SledStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (opened(&folder), folder)
}

relationship_suite::suite!(store());

fn unavailable<T: fmt::Debug>(outcome: Result<T, StoreError>) -> String {
    match outcome {
        Err(StoreError::Unavailable(reason)) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let (store, folder) = store();
    let records: Vec<_> = (0..2_000).map(|index| enrolment(&format!("{index:04}"), "1")).collect();
    for batch in records.chunks(500) {
        write(&store, "edfi", batch.iter().map(put).collect()).await;
    }
    write(&store, "edfi", vec![Change::Delete(records[0].key.clone())]).await;
    let expected = (Revision(5), records[1..].to_vec());
    assert_eq!(load(&store, "edfi").await.unwrap(), expected);
    for _ in 0..2 {
        store.close().await.unwrap();
    }
    assert!(!store.is_writable());
    assert!(unavailable(store.write(&realm("edfi"), vec![], &Remembered::default()).await).ends_with("is closed"));
    assert!(unavailable(load(&store, "edfi").await).ends_with("is closed"));
    drop(store);

    let store = opened(&folder);
    assert_eq!(load(&store, "edfi").await.unwrap(), expected);
    drop(store);
    assert_eq!(load(&opened(&folder), "edfi").await.unwrap(), expected);
}

#[tokio::test]
async fn what_is_removed_is_there_after_a_restart() {
    let (store, folder) = store();
    let (stays, goes) = (enrolment("7", "1"), enrolment("8", "1"));
    write(&store, "edfi", vec![put(&stays), put(&goes)]).await;
    remembering(&store, vec![put(&enrolment("7", "2")), Change::Delete(goes.key.clone())]).await;
    let moved = Record { removed: stays.relationships, ..enrolment("7", "2") };
    let gone = Record { removed: goes.relationships.clone(), relationships: Vec::new(), ..goes };
    let expected = (Revision(2), vec![moved, gone]);
    assert_eq!(load(&store, "edfi").await.unwrap(), expected);
    drop(store);
    assert_eq!(load(&opened(&folder), "edfi").await.unwrap(), expected);
}

#[tokio::test]
async fn a_flipped_byte_in_a_value_is_damage() {
    let (store, _folder) = store();
    write(&store, "edfi", vec![put(&enrolment("7", "1")), put(&enrolment("8", "1"))]).await;
    let stored_key = keys::record_key(&keys::records_prefix(&realm("edfi")), &enrolment("7", "1").key);
    {
        let slot = store.shared.slot();
        let tree = slot.as_ref().unwrap().tree();
        let mut value = tree.get(&stored_key).unwrap().unwrap().to_vec();
        *value.last_mut().unwrap() ^= 1;
        tree.insert(&stored_key, value).unwrap();
    }
    let expected =
        "the relationship store is damaged: the checksum of a record of `studentSchoolAssociations` does not hold";
    assert_eq!(load(&store, "edfi").await.unwrap_err().to_string(), expected);

    // Nor is it written over, since nobody knows what it stood for; the batches before are kept.
    let batches = vec![vec![put(&enrolment("9", "1"))], vec![put(&enrolment("7", "2"))]];
    assert_eq!(store.write(&realm("edfi"), batches, &Remembered::default()).await.unwrap_err().to_string(), expected);
    assert!(store.is_writable());
    assert_eq!(write(&store, "edfi", vec![put(&enrolment("9", "1"))]).await.revision, Revision(2));
}

#[tokio::test]
async fn a_damaged_or_missing_revision_is_damage() {
    let (store, _folder) = store();
    write(&store, "edfi", vec![put(&enrolment("7", "1"))]).await;
    let set = |value: &[u8]| {
        let slot = store.shared.slot();
        slot.as_ref().unwrap().tree().insert(keys::revision_key(&realm("edfi")), value).unwrap();
    };
    set(b"nonsense");
    assert!(matches!(load(&store, "edfi").await, Err(StoreError::Damaged(_))));
    store.shared.slot().as_ref().unwrap().tree().remove(keys::revision_key(&realm("edfi"))).unwrap();
    assert!(matches!(load(&store, "edfi").await, Err(StoreError::Damaged(_))));
}

#[test]
fn a_folder_in_use_is_refused_with_its_holder() {
    let (store, folder) = store();
    let reason = unavailable(SledStore::open(folder.path(), OPTIONS));
    let holder = format!("is in use by process {}; stop that process", std::process::id());
    assert!(reason.contains(&holder), "{reason}");
    drop(store);
    opened(&folder);
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    for path in [file.clone(), file.join("below")] {
        let reason = unavailable(SledStore::open(&path, OPTIONS));
        assert!(reason.starts_with(&format!("cannot keep relationships in `{}`: ", path.display())), "{reason}");
    }
}

#[test]
fn missing_folders_are_made() {
    let folder = tempfile::tempdir().unwrap();
    SledStore::open(&folder.path().join("a/b/c"), OPTIONS).unwrap();
    assert!(folder.path().join("a/b/c/db").exists());
}

#[tokio::test]
async fn a_disk_with_too_little_room_takes_no_writes() {
    let folder = tempfile::tempdir().unwrap();
    let store = SledStore::open(folder.path(), Options { free_bytes_min: u64::MAX, ..OPTIONS }).unwrap();
    assert!(!store.is_writable());
    let reason =
        unavailable(store.write(&realm("edfi"), vec![vec![put(&enrolment("7", "1"))]], &Remembered::default()).await);
    assert!(reason.contains("free bytes, needed are 18446744073709551615"), "{reason}");
    assert_eq!(load(&store, "edfi").await.unwrap(), (Revision(0), vec![]));
}

#[tokio::test]
async fn a_failed_store_is_opened_again_by_the_next_write() {
    let (store, _folder) = store();
    write(&store, "edfi", vec![put(&enrolment("7", "1"))]).await;
    store.shared.is_failed.store(true, Ordering::Release);
    let outcome = write(&store, "edfi", vec![put(&enrolment("8", "1"))]).await;
    assert_eq!(outcome.revision, Revision(2));
    assert!(store.is_writable());
}

#[tokio::test]
async fn a_failed_store_is_opened_again_by_the_next_load() {
    let (store, _folder) = store();
    write(&store, "edfi", vec![put(&enrolment("7", "1"))]).await;
    store.shared.is_failed.store(true, Ordering::Release);
    assert_eq!(load(&store, "edfi").await.unwrap(), (Revision(1), vec![enrolment("7", "1")]));
    assert!(store.is_writable());
}

#[test]
fn a_failed_store_that_is_only_asked_becomes_writable_again() {
    let (store, _folder) = store();
    store.shared.is_failed.store(true, Ordering::Release);
    assert!(!store.is_writable());
    wait_until(|| store.is_writable());
}

fn wait_until(mut is_true: impl FnMut() -> bool) {
    let started = Instant::now();
    while !is_true() {
        assert!(started.elapsed() < Duration::from_secs(20), "it did not come true");
        thread::yield_now();
    }
}

#[tokio::test]
async fn a_failed_store_whose_files_are_gone_makes_no_empty_one() {
    let (store, folder) = store();
    fs::remove_file(folder.path().join("db")).unwrap();
    store.shared.is_failed.store(true, Ordering::Release);
    let reason = unavailable(store.write(&realm("edfi"), vec![], &Remembered::default()).await);
    assert!(reason.contains("cannot open") && reason.contains("again"), "{reason}");
    assert!(unavailable(load(&store, "edfi").await).contains("again"));
    assert!(!folder.path().join("db").exists());
}

#[test]
fn a_panic_of_the_engine_is_a_failure() {
    let (store, _folder) = store();
    let outcome: Result<(), _> = store.shared.judged(guarded(|| panic!("as sled may")));
    assert_eq!(unavailable(outcome), "the database engine panicked");
    assert!(store.shared.is_failed());
}

/// Writes numbered records in batches until a write fails, and gives what was acknowledged and the failure.
async fn fill(store: &SledStore, from: usize) -> (Vec<Record>, StoreError) {
    let mut acknowledged = Vec::new();
    for start in (from..).step_by(500) {
        let batch: Vec<_> = (start..start + 500).map(|index| enrolment(&format!("{index:08}"), "255901001")).collect();
        let changes = batch.iter().map(put).collect();
        match store.write(&realm("edfi"), vec![changes], &Remembered::default()).await {
            Ok(_) => acknowledged.extend(batch),
            Err(error) => return (acknowledged, error),
        }
    }
    panic!("the numbers end after the disk")
}

async fn check_holds(store: &SledStore, acknowledged: &[Record]) {
    let (_, records) = load(store, "edfi").await.unwrap();
    let found: std::collections::HashSet<_> = records.iter().collect();
    let lost = acknowledged.iter().filter(|record| !found.contains(record)).count();
    assert_eq!(lost, 0, "of {}", acknowledged.len());
}

#[tokio::test]
async fn a_full_disk_loses_nothing_acknowledged_and_writing_resumes_with_room() {
    let Some(disk) = SmallDisk::mount("24m") else { return };
    let store = SledStore::open(&disk.path().join("store"), OPTIONS).unwrap();
    let (mut acknowledged, error) = fill(&store, 0).await;
    assert!(matches!(error, StoreError::Unavailable(_)), "{error}");
    assert!(!acknowledged.is_empty());
    assert!(!store.is_writable());

    assert!(disk.remount("size=96m"));
    let more = enrolment("more", "1");
    write(&store, "edfi", vec![put(&more)]).await;
    assert!(store.is_writable());
    acknowledged.push(more);
    check_holds(&store, &acknowledged).await;
    drop(store);
    check_holds(&SledStore::open(&disk.path().join("store"), OPTIONS).unwrap(), &acknowledged).await;
}

#[tokio::test]
async fn writes_are_refused_before_the_disk_is_full_and_resume_with_room() {
    let Some(disk) = SmallDisk::mount("24m") else { return };
    let options = Options { free_bytes_min: 8 << 20, ..OPTIONS };
    let store = SledStore::open(&disk.path().join("store"), options).unwrap();
    let (acknowledged, error) = fill(&store, 0).await;
    assert!(error.to_string().contains("free bytes, needed are"), "{error}");
    assert!(!store.shared.is_failed(), "sled never met the full disk");
    check_holds(&store, &acknowledged).await;

    // Another's file takes the rest.
    fs::write(disk.path().join("other"), vec![0; 6 << 20]).unwrap();
    assert!(!store.is_writable());
    assert!(disk.remount("size=96m"));
    assert!(store.is_writable());
    write(&store, "edfi", vec![put(&enrolment("more", "1"))]).await;
    check_holds(&store, &acknowledged).await;
}

#[tokio::test]
async fn the_largest_records_and_keys_stay_within_the_log() {
    let (store, folder) = store();
    let largest = |index: usize, school: &str| {
        let mut record = enrolment("1", "1");
        let related = |place: usize| enrolment("1", &format!("{place:02}{}", school.repeat(340))).relationships;
        record.relationships = (0..68).flat_map(related).collect();
        // The keys differ early, so that sled cannot leave much of them out.
        record.key =
            key(&"r".repeat(128), &format!("{:020}{}", index.wrapping_mul(0x9e37_79b9) % 99_991, "k".repeat(2_028)));
        record
    };
    for school in ["x", "y"] {
        let mut records: Vec<_> = (0..400).map(|index| largest(index, school)).collect();
        for batch in records.chunks(40) {
            // What the first ones brought has no room beside the second ones.
            remembering(&store, batch.iter().map(put).collect()).await;
        }
        records.sort_by(|a, b| a.key.cmp(&b.key));
        assert_eq!(load(&store, "edfi").await.unwrap().1, records);
    }
    store.close().await.unwrap();
    assert_eq!(fs::read_dir(folder.path().join("blobs")).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sled_does_as_memory_does(calls in relationship_suite::calls()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut on_disk, folder) = store();
        let in_memory = MemoryStore::new();
        for (index, (name, batches)) in calls.into_iter().enumerate() {
            let expected = runtime.block_on(in_memory.write(&name, batches.clone(), &enrolments())).unwrap();
            prop_assert_eq!(runtime.block_on(on_disk.write(&name, batches, &enrolments())).unwrap(), expected);
            if index % 4 == 3 {
                drop(on_disk);
                on_disk = opened(&folder);
            }
        }
        for name in ["a", "ab"] {
            let expected = runtime.block_on(load(&in_memory, name)).unwrap();
            prop_assert_eq!(runtime.block_on(load(&on_disk, name)).unwrap(), expected);
        }
    }
}
