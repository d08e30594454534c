//! The suite over sled, and what only a store on a disk has to stand.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::storage::{
    application_suite::{self, application, load, put, put_token, token, write},
    memory::MemoryStore,
    relationship_suite::{self, enrolment},
    sled::Options,
};

const OPTIONS: Options = Options { cache_bytes: 8 << 20, free_bytes_min: 0 };

fn opened(folder: &TempDir) -> SledStore {
    SledStore::open(folder.path(), OPTIONS).unwrap()
}

fn store() -> (SledStore, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    (opened(&folder), folder)
}

application_suite::suite!(store());

#[tokio::test]
async fn applications_are_there_after_a_restart_and_beside_relationships() {
    let (store, folder) = store();
    write(&store, "edfi", vec![put(&application("a", "SIS")), put_token(&token(1, "a"))]).await;
    relationship_suite::write(&store, "edfi", vec![relationship_suite::put(&enrolment("7", "1"))]).await;
    drop(store);
    let store = opened(&folder);
    assert_eq!(load(&store, "edfi").await, (vec![application("a", "SIS")], vec![token(1, "a")]));
    assert_eq!(relationship_suite::load(&store, "edfi").await.unwrap().1, [enrolment("7", "1")]);
    store.close().await.unwrap();
    assert!(store.load_applications(&"edfi".parse().unwrap()).await.unwrap_err().to_string().ends_with("is closed"));
}

#[tokio::test]
async fn a_store_from_before_there_were_applications_opens() {
    let folder = tempfile::tempdir().unwrap();
    {
        let store = opened(&folder);
        relationship_suite::write(&store, "edfi", vec![relationship_suite::put(&enrolment("7", "1"))]).await;
        store.close().await.unwrap();
    }
    {
        let db = ::sled::Config::new().path(folder.path()).segment_size(2 << 20).open().unwrap();
        for tree in ["applications", "application_tokens"] {
            assert!(db.drop_tree(tree).unwrap(), "{tree}");
        }
        db.flush().unwrap();
    }
    let store = opened(&folder);
    assert_eq!(load(&store, "edfi").await, (Vec::new(), Vec::new()));
    assert_eq!(relationship_suite::load(&store, "edfi").await.unwrap().1, [enrolment("7", "1")]);
    write(&store, "edfi", vec![put(&application("a", "SIS"))]).await;
    assert_eq!(load(&store, "edfi").await.0, [application("a", "SIS")]);
}

#[tokio::test]
async fn a_flipped_byte_or_a_value_at_a_wrong_key_is_damage() {
    for (tree, key) in [(0, b"\x04edfia".to_vec()), (1, [&b"\x04edfi"[..], &token(1, "a").digest.0].concat())] {
        for is_moved in [false, true] {
            let (store, _folder) = store();
            write(&store, "edfi", vec![put(&application("a", "SIS")), put_token(&token(1, "a"))]).await;
            {
                let slot = store.shared.slot();
                let tree = slot.as_ref().unwrap().applications.trees()[tree];
                let mut value = tree.get(&key).unwrap().unwrap().to_vec();
                if is_moved {
                    let mut other = key.clone();
                    *other.last_mut().unwrap() ^= 1;
                    tree.insert(other, value).unwrap();
                } else {
                    *value.last_mut().unwrap() ^= 1;
                    tree.insert(&key, value).unwrap();
                }
            }
            let error = store.load_applications(&"edfi".parse().unwrap()).await.unwrap_err();
            assert!(matches!(error, StoreError::Damaged(_)), "{error}");
            assert!(!error.to_string().contains("SIS"));
        }
    }
}

#[tokio::test]
async fn a_failed_store_is_opened_again_for_applications_too() {
    let (store, _folder) = store();
    write(&store, "edfi", vec![put(&application("a", "SIS"))]).await;
    for _ in 0..2 {
        store.shared.is_failed.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(load(&store, "edfi").await.0, [application("a", "SIS")]);
        store.shared.is_failed.store(true, std::sync::atomic::Ordering::Release);
        write(&store, "edfi", vec![put(&application("a", "SIS"))]).await;
    }
}

#[tokio::test]
async fn the_largest_applications_stay_within_the_log() {
    let (store, folder) = store();
    let largest = |number: u32| {
        let id = format!("{:010}{}", number.wrapping_mul(0x9e37_79b9), "i".repeat(500));
        application(&id, &"x".repeat(23_900))
    };
    let mut applications: Vec<_> = (0..200).map(largest).collect();
    for batch in applications.chunks(40) {
        write(&store, "edfi", batch.iter().map(put).collect()).await;
    }
    applications.sort_by(|a, b| a.id.cmp(&b.id));
    assert!(load(&store, "edfi").await.0 == applications);
    store.close().await.unwrap();
    assert_eq!(std::fs::read_dir(folder.path().join("blobs")).unwrap().count(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sled_keeps_applications_as_memory_does(batches in application_suite::batches()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut on_disk, folder) = store();
        let in_memory = MemoryStore::new();
        for (index, (realm, changes)) in batches.into_iter().enumerate() {
            runtime.block_on(in_memory.write_applications(&realm, changes.clone())).unwrap();
            runtime.block_on(on_disk.write_applications(&realm, changes)).unwrap();
            if index % 4 == 3 {
                drop(on_disk);
                on_disk = opened(&folder);
            }
        }
        for realm in ["a", "ab"] {
            let expected = runtime.block_on(load(&in_memory, realm));
            prop_assert_eq!(runtime.block_on(load(&on_disk, realm)), expected);
        }
    }
}
