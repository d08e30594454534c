//! Checkpoints of logs at work, on real files.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::{
    app::ports::DecisionLog as _,
    domain::merkle::leaf_hash,
    storage::segment_log::{
        Options, SegmentLog,
        checkpoint_files::{ALL, CheckpointFiles, KEYS, NEWEST},
        tests::{outside, records, strict},
        tiles,
    },
};

const ORIGIN: &str = "example.org/log";

pub(in super::super) fn signing(seeds: &[u8]) -> Signing {
    let seeds = seeds.iter().map(|seed| [*seed; 32]).collect();
    Signing { seeds, origin: None, origin_default: ORIGIN.into() }
}

pub(in super::super) fn verifier(seed: u8) -> VerifierKey {
    CheckpointKey::new(&[seed; 32], ORIGIN).unwrap().verifier().clone()
}

pub(in super::super) fn signed_log(folder: &Path, options: Options, seeds: &[u8]) -> SegmentLog {
    let log = SegmentLog::open(folder, options, outside()).unwrap();
    log.sign(signing(seeds)).unwrap();
    log
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

async fn proves_all(log: &SegmentLog, newest: &SignedCheckpoint) {
    let (size, root) = (newest.checkpoint.size, newest.checkpoint.root);
    for sequence in 1..=size {
        let proof = log.prove_inclusion(sequence, size).await.unwrap().unwrap();
        let entry = log.entry(sequence).await.unwrap().unwrap();
        assert_eq!(proof.leaf_hash, leaf_hash(&entry));
        assert!(proof.verifies(&root), "{sequence}");
    }
    assert_eq!(log.prove_inclusion(size + 1, size).await.unwrap(), None);
    assert_eq!(log.prove_inclusion(1, size + 1000).await.unwrap(), None, "beyond the newest checkpoint");
    assert_eq!(log.prove_inclusion(0, size).await.unwrap(), None);
    assert_eq!(log.prove_consistency(0, size).await.unwrap(), None);
}

#[tokio::test]
async fn each_checkpoint_continues_the_one_before_and_proves_every_entry() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    let mut before: Option<Arc<SignedCheckpoint>> = None;
    for round in 0..8_u64 {
        log.append(records(round * 70..(round + 1) * 70)).await.unwrap();
        let newest = log.checkpoint().await.unwrap();
        assert_eq!(newest.checkpoint.size, 1 + 70 * (round + 1), "the start is an entry too");
        if let Some(before) = &before {
            let (first, second) = (before.checkpoint.size, newest.checkpoint.size);
            let proof = log.prove_consistency(first, second).await.unwrap().unwrap();
            assert!(proof.verifies(&before.checkpoint.root, &newest.checkpoint.root));
        }
        assert_eq!(fs::read_to_string(folder.path().join(NEWEST)).unwrap(), *newest.note);
        before = Some(newest);
    }
    proves_all(&log, &before.unwrap()).await;
    assert_eq!(log.verifier_keys(), [verifier(1)]);
    assert_eq!(fs::read_to_string(folder.path().join(KEYS)).unwrap(), format!("{}\n", verifier(1)));
    log.close().await;
    let size = log.checkpoints().borrow().as_ref().unwrap().checkpoint.size;
    assert_eq!(size, 2 + 70 * 8, "the last checkpoint covers the stop");
}

#[tokio::test]
async fn traffic_alone_leads_to_a_checkpoint() {
    let folder = folder();
    let log = signed_log(folder.path(), Options::default(), &[1]);
    log.append(records(0..5)).await.unwrap();
    let mut checkpoints = log.checkpoints();
    let until = checkpoints.wait_for(|newest| newest.as_ref().is_some_and(|newest| newest.checkpoint.size == 6));
    tokio::time::timeout(Duration::from_secs(10), until).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_log_that_was_kept_before_is_signed_from_its_beginning() {
    let folder = folder();
    let log = SegmentLog::open(folder.path(), strict(), outside()).unwrap();
    log.append(records(0..300)).await.unwrap();
    assert!(log.checkpoint().await.is_err(), "nobody signs yet");
    log.sign(signing(&[1])).unwrap();
    let newest = log.checkpoint().await.unwrap();
    assert_eq!(newest.checkpoint.size, 301);
    proves_all(&log, &newest).await;
}

/// Every file of tiles with its bytes.
fn tile_files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    fn below(folder: &Path, found: &mut Vec<(PathBuf, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                below(&path, found);
            } else {
                found.push((path.clone(), fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    below(&folder.join(tiles::FOLDER), &mut found);
    found.sort();
    found
}

#[tokio::test]
async fn tiles_that_are_missing_or_wrong_are_made_again_from_the_segments() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.append(records(0..700)).await.unwrap();
    log.close().await;
    let expected = tile_files(folder.path());
    let damage: [&dyn Fn(); 4] = [
        &|| fs::remove_dir_all(folder.path().join(tiles::FOLDER)).unwrap(),
        &|| fs::remove_file(folder.path().join(tiles::path(0, 1))).unwrap(),
        &|| fs::write(folder.path().join(tiles::path(0, 0)), b"short").unwrap(),
        &|| fs::write(folder.path().join(tiles::partial_folder(1, 0)).join("2"), [7; 64]).unwrap(),
    ];
    for (number, damage) in (0_u64..).zip(damage) {
        damage();
        let log = signed_log(folder.path(), strict(), &[1]);
        let newest = log.checkpoint().await.unwrap();
        proves_all(&log, &newest).await;
        log.close().await;
        let found = tile_files(folder.path());
        let same = |at: usize| found[at] == expected[at];
        assert!(same(0) && same(1), "{number}: the full tiles");
    }
}

#[tokio::test]
async fn a_changed_key_is_told_in_the_log_and_both_keys_sign_where_it_changes() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1, 2]);
    log.append(records(0..3)).await.unwrap();
    log.rotate_key(CheckpointKey::new(&[2; 32], ORIGIN).unwrap()).await.unwrap();
    log.rotate_key(CheckpointKey::new(&[2; 32], ORIGIN).unwrap()).await.unwrap();
    assert_eq!(log.verifier_keys(), [verifier(2), verifier(1)]);
    let both = Arc::clone(log.checkpoints().borrow().as_ref().unwrap());
    assert_eq!(both.checkpoint.size, 5, "the change was kept once");
    for seed in [1, 2] {
        crate::domain::checkpoint::Checkpoint::open(&both.note, &[verifier(seed)]).unwrap();
    }
    log.append(records(3..4)).await.unwrap();
    log.close().await;
    // The old key is deleted after a change.
    let log = signed_log(folder.path(), strict(), &[2]);
    let newest = log.checkpoint().await.unwrap();
    assert!(crate::domain::checkpoint::Checkpoint::open(&newest.note, &[verifier(1)]).is_err());
    crate::domain::checkpoint::Checkpoint::open(&newest.note, &[verifier(2)]).unwrap();
}

#[tokio::test]
async fn a_missing_key_stops_checkpoints_and_no_decision() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.close().await;
    let log = signed_log(folder.path(), strict(), &[9]);
    log.append(records(0..3)).await.unwrap();
    let error = log.checkpoint().await.unwrap_err().to_string();
    assert!(error.contains("restore keys/checkpoint.key"), "{error}");
    assert!(log.signing_status().fault.is_some() && log.signing_status().failures > 0);
    assert!(log.is_writable());
}

#[tokio::test]
async fn an_origin_stays_as_it_began() {
    let folder = folder();
    signed_log(folder.path(), strict(), &[1]).close().await;
    let log = SegmentLog::open(folder.path(), strict(), outside()).unwrap();
    let error = log.sign(Signing { origin: Some("other".into()), ..signing(&[1]) }).unwrap_err().to_string();
    assert!(error.contains("`example.org/log`, not `other`"), "{error}");
    let error = log.sign(Signing { origin: Some("a b".into()), ..signing(&[1]) }).unwrap_err().to_string();
    assert!(error.contains("cannot be a log's origin"), "{error}");
}

#[tokio::test]
async fn a_log_that_lost_entries_or_had_them_replaced_is_not_signed() {
    for is_replaced in [false, true] {
        let folder = folder();
        let log = signed_log(folder.path(), strict(), &[1]);
        log.append(records(0..5)).await.unwrap();
        log.close().await;
        let other = tempfile::tempdir().unwrap();
        let log = SegmentLog::open(other.path(), strict(), outside()).unwrap();
        log.append(records(if is_replaced { 5..15 } else { 0..2 })).await.unwrap();
        log.close().await;
        fs::remove_dir_all(folder.path().join(tiles::FOLDER)).unwrap();
        fs::copy(other.path().join("00000001.seg"), folder.path().join("00000001.seg")).unwrap();
        let before = fs::read(folder.path().join(ALL)).unwrap();
        let log = signed_log(folder.path(), strict(), &[1]);
        let error = log.checkpoint().await.unwrap_err().to_string();
        let expected = if is_replaced { "not the one" } else { "the log ends before" };
        assert!(error.contains(expected), "{error}");
        log.append(records(20..21)).await.unwrap();
        log.close().await;
        assert_eq!(fs::read(folder.path().join(ALL)).unwrap(), before);
    }
}

#[tokio::test]
async fn what_the_disk_refuses_is_made_up_for_later() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.append(records(0..3)).await.unwrap();
    log.checkpoint().await.unwrap();
    // A file stands where a folder of tiles belongs.
    fs::remove_dir_all(folder.path().join(tiles::FOLDER)).unwrap();
    fs::write(folder.path().join(tiles::FOLDER), "in the way").unwrap();
    log.append(records(3..600)).await.unwrap();
    assert!(log.checkpoint().await.is_err());
    assert!(log.signing_status().fault.is_some());
    fs::remove_file(folder.path().join(tiles::FOLDER)).unwrap();
    let newest = log.checkpoint().await.unwrap();
    assert_eq!((newest.checkpoint.size, log.signing_status().fault), (601, None));
    proves_all(&log, &newest).await;
}

#[tokio::test]
async fn tiles_are_durable_when_they_were_asked_for() {
    let folder = folder();
    let log = Arc::new(signed_log(folder.path(), strict(), &[1]));
    log.append(records(0..300)).await.unwrap();
    log.checkpoint().await.unwrap();
    let asked = Arc::clone(&log);
    let durable = tokio::task::spawn_blocking(move || asked.tiles_durable_up_to(300)).await.unwrap();
    assert_eq!(durable, 301);
    assert_eq!(CheckpointFiles::of(folder.path()).keys().unwrap(), [verifier(1)]);
}
