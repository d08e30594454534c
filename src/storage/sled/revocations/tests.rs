//! The suite over sled, and what only a store on a disk has to stand.

use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::storage::{
    memory::MemoryStore,
    revocation_suite::{self, load, put, subject, token, write},
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

revocation_suite::suite!(store());

#[tokio::test]
async fn a_store_from_before_there_were_revocations_opens() {
    let (store, folder) = store();
    store.close().await.unwrap();
    drop(store);
    {
        let db = ::sled::Config::new().path(folder.path()).segment_size(2 << 20).open().unwrap();
        assert!(db.drop_tree("revocations").unwrap());
        db.flush().unwrap();
    }
    let store = opened(&folder);
    assert_eq!(load(&store, "edfi").await, []);
    write(&store, "edfi", vec![put(&token("a"))]).await;
    assert_eq!(load(&store, "edfi").await, [token("a")]);
}

#[tokio::test]
async fn a_flipped_byte_or_a_value_at_a_wrong_key_is_damage() {
    for is_moved in [false, true] {
        let (store, _folder) = store();
        write(&store, "edfi", vec![put(&subject("somebody", 1))]).await;
        {
            let slot = store.shared.slot();
            let tree = slot.as_ref().unwrap().revocations.tree();
            let (key, value) = tree.first().unwrap().unwrap();
            let (mut key, mut value) = (key.to_vec(), value.to_vec());
            *if is_moved { &mut key } else { &mut value }.last_mut().unwrap() ^= 1;
            tree.insert(key, value).unwrap();
        }
        let error = store.load_revocations(&"edfi".parse().unwrap()).await.unwrap_err();
        assert!(matches!(error, StoreError::Damaged(_)), "{error}");
        assert!(!error.to_string().contains("somebody"));
    }
}

#[tokio::test]
async fn a_failed_store_is_opened_again_for_revocations_too() {
    let (store, _folder) = store();
    write(&store, "edfi", vec![put(&token("a"))]).await;
    for _ in 0..2 {
        store.shared.is_failed.store(true, std::sync::atomic::Ordering::Release);
        assert_eq!(load(&store, "edfi").await, [token("a")]);
        store.shared.is_failed.store(true, std::sync::atomic::Ordering::Release);
        write(&store, "edfi", vec![put(&token("a"))]).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn sled_keeps_revocations_as_memory_does(batches in revocation_suite::batches()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (mut on_disk, folder) = store();
        let in_memory = MemoryStore::new();
        for (index, (realm, changes)) in batches.into_iter().enumerate() {
            runtime.block_on(in_memory.write_revocations(&realm, changes.clone())).unwrap();
            runtime.block_on(on_disk.write_revocations(&realm, changes)).unwrap();
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
