//! Checkpoints of logs at work, on real files.

use std::{fs, path::PathBuf};

use tempfile::TempDir;

use super::*;
use crate::{
    app::ports::DecisionLog as _,
    domain::{
        merkle::leaf_hash,
        record_filter::{Order, PageRequest, RecordFilter},
    },
    storage::{
        checkpoint_key::{forget_newest, newest},
        segment_log::{
            Options, SegmentLog,
            checkpoint_files::{ALL, CheckpointFiles, KEYS, NEWEST},
            frame::{FrameReader, HEADER_BYTES, Step},
            tests::{outside, records, strict},
            tiles,
            verify::{Report, Trusted, verify},
        },
    },
};

const ALL_RECORDS: PageRequest = PageRequest { order: Order::OldestFirst, size: usize::MAX, after: None };

const ORIGIN: &str = "example.org/log";

pub(in super::super) fn signing(seeds: &[u8]) -> Signing {
    let seeds = seeds.iter().map(|seed| [*seed; 32]).collect();
    Signing { seeds, origin: None, origin_default: ORIGIN.into(), kept: None }
}

pub(in super::super) fn verifier(seed: u8) -> VerifierKey {
    CheckpointKey::new(&[seed; 32], ORIGIN).unwrap().verifier().clone()
}

pub(in super::super) fn signed_log(folder: &Path, options: Options, seeds: &[u8]) -> SegmentLog {
    let log = SegmentLog::open(folder, options, outside()).unwrap();
    log.sign(signing(seeds)).unwrap();
    log
}

fn signing_status(log: &SegmentLog) -> CheckpointStatus {
    log.status().checkpoints.unwrap()
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
async fn after_a_crash_a_tile_with_the_right_length_and_wrong_bytes_is_made_again() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.append(records(0..700)).await.unwrap();
    log.checkpoint().await.unwrap();
    // As a machine leaves it that lost its power: no stop, and a tile that was named before its bytes were on disk.
    let crashed = tempfile::tempdir().unwrap();
    for (path, bytes) in tile_files(folder.path()) {
        let copied = crashed.path().join(path.strip_prefix(folder.path()).unwrap());
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::write(copied, bytes).unwrap();
    }
    for name in ["00000001.seg", ALL, KEYS, NEWEST] {
        fs::copy(folder.path().join(name), crashed.path().join(name)).unwrap();
    }
    let torn = crashed.path().join(tiles::path(0, 1));
    let good = fs::read(&torn).unwrap();
    for changed in [vec![0; good.len()], [&good[..4096], &[0; 4096][..]].concat()] {
        fs::write(&torn, &changed).unwrap();
        let log = signed_log(crashed.path(), strict(), &[1]);
        let newest = log.checkpoint().await.unwrap();
        proves_all(&log, &newest).await;
        assert_eq!(fs::read(&torn).unwrap(), good);
        drop(log);
        fs::copy(folder.path().join("00000001.seg"), crashed.path().join("00000001.seg")).unwrap();
        for name in [ALL, NEWEST] {
            fs::copy(folder.path().join(name), crashed.path().join(name)).unwrap();
        }
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
    assert!(signing_status(&log).fault.is_some() && signing_status(&log).failures > 0);
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

/// A segment's bytes with one bit of the body of this entry changed.
fn flipped(path: &Path, sequence: u64) -> Vec<u8> {
    let mut bytes = fs::read(path).unwrap();
    let start = usize::try_from(HEADER_BYTES).unwrap();
    let good = bytes.clone();
    let mut frames = FrameReader::new(&good[start..], HEADER_BYTES);
    while let Step::Frame { end, body, .. } = frames.step().unwrap() {
        if body.sequence() == Some(sequence) {
            bytes[usize::try_from(end).unwrap() - 3] ^= 4;
            return bytes;
        }
    }
    panic!("no entry {sequence}");
}

fn verified(folder: &Path) -> Report {
    verify(folder, &Trusted { keys: vec![verifier(1)], checkpoints: Vec::new() }).unwrap()
}

#[tokio::test]
async fn a_flipped_byte_costs_its_entry_and_no_proof_and_nothing_once_it_is_restored() {
    // In the middle, in the last group of decisions, and in the stop, behind which nothing tells.
    for lost in [3, 60, 120, 122] {
        let folder = folder();
        let first = folder.path().join("00000001.seg");
        let log = signed_log(folder.path(), strict(), &[1]);
        for round in 0..12 {
            log.append(records(round * 10..(round + 1) * 10)).await.unwrap();
        }
        log.close().await;
        let good = fs::read(&first).unwrap();
        fs::write(&first, flipped(&first, lost)).unwrap();
        // Without its stop the run before looks as if it had crashed, and later than now.
        let gaps = if lost == 122 { 2 } else { 0 };
        for round in 0..2 {
            let log = signed_log(folder.path(), strict(), &[1]);
            log.append(records(200 + round..201 + round)).await.unwrap();
            let newest = log.checkpoint().await.unwrap();
            let size = newest.checkpoint.size;
            assert_eq!((size, signing_status(&log).fault), (124 + gaps + 3 * round, None), "{lost}");
            for sequence in 1..=size {
                let proof = log.prove_inclusion(sequence, size).await.unwrap().unwrap();
                assert!(proof.verifies(&newest.checkpoint.root), "{lost} {sequence}");
                let entry = log.entry(sequence).await.unwrap();
                assert_eq!(entry.is_none(), sequence == lost, "{sequence}");
                assert!(entry.is_none_or(|entry| leaf_hash(&entry) == proof.leaf_hash));
            }
            assert!(round == 1 || !log.status().is_undamaged);
            log.close().await;
            let report = verified(folder.path());
            let found: Vec<_> = report.findings.iter().map(|found| (found.sequence, found.what.as_str())).collect();
            assert_eq!(found, [(Some(lost), "the frame is damaged")], "{lost}");
            assert_eq!(report.covered, report.entries, "all is proved but what the entry says");
        }
        fs::write(&first, good).unwrap();
        let report = verified(folder.path());
        assert_eq!((report.findings.as_slice(), report.covered), (&[][..], 128 + gaps), "{lost}");
        let log = signed_log(folder.path(), strict(), &[1]);
        let newest = log.checkpoint().await.unwrap();
        proves_all(&log, &newest).await;
    }
}

#[tokio::test]
async fn what_is_lost_before_it_was_signed_is_told_and_checkpoints_go_on() {
    let folder = folder();
    let log = SegmentLog::open(folder.path(), strict(), outside()).unwrap();
    for round in 0..4 {
        log.append(records(round * 10..(round + 1) * 10)).await.unwrap();
    }
    log.close().await;
    let first = folder.path().join("00000001.seg");
    fs::write(&first, flipped(&first, 15)).unwrap();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.append(records(50..51)).await.unwrap();
    let newest = log.checkpoint().await.unwrap();
    assert_eq!(newest.checkpoint.size, 44);
    log.close().await;
    let report = verified(folder.path());
    // Nobody knows the hash: what is told begins where the group does that cannot be held against anything.
    assert!(
        report.findings.len() == 2 && report.findings.iter().all(|found| found.sequence == Some(12)),
        "{:?}",
        report.findings
    );
    assert_eq!(report.covered, 45);
}

#[tokio::test]
async fn a_tree_that_is_not_the_writers_is_never_signed_not_even_when_it_is_tried_again() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.append(records(0..9)).await.unwrap();
    let before = log.checkpoint().await.unwrap();
    // Bytes change while the log is at work, and what waits in memory is lost with an attempt that fails.
    fs::remove_dir_all(folder.path().join(tiles::FOLDER)).unwrap();
    fs::write(folder.path().join(tiles::FOLDER), "in the way").unwrap();
    log.append(records(9..20)).await.unwrap();
    assert!(log.checkpoint().await.is_err());
    fs::remove_file(folder.path().join(tiles::FOLDER)).unwrap();
    let first = folder.path().join("00000001.seg");
    let good = fs::read(&first).unwrap();
    fs::write(&first, flipped(&first, 15)).unwrap();
    for _ in 0..3 {
        let error = log.checkpoint().await.unwrap_err().to_string();
        assert!(error.contains("entry 15 cannot be read"), "{error}");
    }
    assert_eq!(log.checkpoints().borrow().as_ref().unwrap().checkpoint, before.checkpoint);
    fs::write(&first, good).unwrap();
    let newest = log.checkpoint().await.unwrap();
    proves_all(&log, &newest).await;
}

/// A log that keeps its newest checkpoint in `keys`, too.
fn kept_log(folder: &Path, keys: &Path) -> SegmentLog {
    let log = SegmentLog::open(folder, strict(), outside()).unwrap();
    log.sign(Signing { kept: Some(newest(keys, "one")), ..signing(&[1]) }).unwrap();
    log
}

fn remove_signed(folder: &Path) {
    for file in [ALL, NEWEST] {
        fs::remove_file(folder.join(file)).unwrap();
    }
    fs::remove_dir_all(folder.join(tiles::FOLDER)).unwrap();
}

#[tokio::test]
async fn a_log_that_was_cut_is_not_signed_again_though_all_that_was_signed_is_gone_with_it() {
    let (folder, keys) = (folder(), folder());
    let first = folder.path().join("00000001.seg");
    let log = kept_log(folder.path(), keys.path());
    log.append(records(0..5)).await.unwrap();
    log.close().await;
    let earlier = fs::read(&first).unwrap();
    let log = kept_log(folder.path(), keys.path());
    log.append(records(5..10)).await.unwrap();
    log.close().await;
    let whole = fs::read(&first).unwrap();
    assert_eq!(fs::read(newest(keys.path(), "one")).unwrap(), fs::read(folder.path().join(NEWEST)).unwrap());
    fs::write(&first, earlier).unwrap();
    remove_signed(folder.path());
    // First it is shorter than what was signed, then longer and another one.
    for round in 0..3 {
        let log = kept_log(folder.path(), keys.path());
        log.append(records(20 + 4 * round..24 + 4 * round)).await.unwrap();
        let error = log.checkpoint().await.unwrap_err().to_string();
        assert!(error.contains("entries that were signed are gone or changed"), "{error}");
        assert!(error.contains("keys rotate --restored"), "{error}");
        assert!(!log.status().is_undamaged && signing_status(&log).is_contradicted);
        assert!(!log.query(RecordFilter::default(), ALL_RECORDS).await.unwrap().is_complete);
        log.close().await;
        assert!(!folder.path().join(ALL).exists() && !folder.path().join(NEWEST).exists());
    }
    // The operator says that he knows of it.
    forget_newest(keys.path(), "one").unwrap();
    let log = kept_log(folder.path(), keys.path());
    assert!(log.checkpoint().await.is_ok() && log.status().is_undamaged);
    log.close().await;
    // Or restores what it was: what came since is another log.
    let other = tempfile::tempdir().unwrap();
    fs::write(other.path().join("00000001.seg"), whole).unwrap();
    forget_newest(keys.path(), "one").unwrap();
    let log = kept_log(other.path(), keys.path());
    assert!(log.checkpoint().await.is_ok());
}

#[tokio::test]
async fn a_checkpoint_beside_the_key_that_is_older_or_newer_than_the_folders_own_is_no_fault() {
    let (folder, keys) = (folder(), folder());
    let log = kept_log(folder.path(), keys.path());
    let mut kept = Vec::new();
    for round in 0..5 {
        log.append(records(round * 9..(round + 1) * 9)).await.unwrap();
        log.checkpoint().await.unwrap();
        kept.push((fs::read(newest(keys.path(), "one")).unwrap(), fs::read(folder.path().join(ALL)).unwrap()));
    }
    log.close().await;
    for (note, _) in &kept {
        fs::write(newest(keys.path(), "one"), note).unwrap();
        let log = kept_log(folder.path(), keys.path());
        assert!(log.checkpoint().await.is_ok());
        log.close().await;
    }
    // A crash between the two writes, and the loss of the folder's own checkpoints and tiles.
    for (_, all) in &kept {
        fs::write(folder.path().join(ALL), all).unwrap();
        fs::remove_dir_all(folder.path().join(tiles::FOLDER)).unwrap();
        let log = kept_log(folder.path(), keys.path());
        assert!(log.checkpoint().await.is_ok());
        log.close().await;
    }
    // What nobody has signed, or another has, is no word of ours.
    for note in ["", "x\n", &String::from_utf8(kept[0].0.clone()).unwrap().replacen('1', "2", 1)] {
        fs::write(newest(keys.path(), "one"), note).unwrap();
        let log = kept_log(folder.path(), keys.path());
        assert!(log.checkpoint().await.is_err(), "{note}");
        log.close().await;
    }
}

#[cfg(unix)]
#[tokio::test]
async fn the_checkpoint_beside_the_key_is_for_its_owner_only() {
    use std::os::unix::fs::PermissionsExt as _;
    let (folder, keys) = (folder(), folder());
    let log = kept_log(folder.path(), keys.path());
    log.checkpoint().await.unwrap();
    let mode = fs::metadata(newest(keys.path(), "one")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
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
    assert!(signing_status(&log).fault.is_some());
    fs::remove_file(folder.path().join(tiles::FOLDER)).unwrap();
    let newest = log.checkpoint().await.unwrap();
    assert_eq!((newest.checkpoint.size, signing_status(&log).fault), (601, None));
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
