//! Whatever is changed in a log's folder is found.

use std::{fs, ops::Range};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use tempfile::TempDir;

use super::*;
use crate::{
    app::ports::DecisionLog as _,
    domain::{log_event::LogEvent, merkle::leaf_hash},
    storage::{
        checkpoint_key::CheckpointKey,
        segment_log::{
            Options, SegmentLog,
            checkpoint_files::{ALL, KEYS, NEWEST},
            checkpoints::tests::{signed_log, verifier},
            files::list_segments,
            frame::{FrameReader, GroupEnd, HEADER_BYTES, PREFIX_BYTES, Step, push_event, push_group},
            tests::{outside, records, strict},
        },
    },
};

/// A log whose segments are so long at most.
fn small(segment_bytes_max: u64) -> Options {
    Options { segment_bytes_max, ..strict() }
}

/// Appends records in groups, with a checkpoint after each, and a last one when the log is closed.
async fn write(folder: &Path, options: Options, numbers: Range<u64>, group: usize) {
    let log = signed_log(folder, options, &[1]);
    let numbers: Vec<u64> = numbers.collect();
    for numbers in numbers.chunks(group) {
        log.append(records(numbers.iter().copied())).await.unwrap();
        log.checkpoint().await.unwrap();
    }
    log.close().await;
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn trusted() -> Trusted {
    Trusted { keys: vec![verifier(1)], checkpoints: Vec::new() }
}

fn check(folder: &Path) -> Report {
    verify(folder, &trusted()).unwrap()
}

fn files_of(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_of(&path));
        } else if path.file_name().unwrap() != "lock" {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path) -> TempDir {
    let to = folder();
    for file in files_of(from) {
        let copied = to.path().join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(copied.parent().unwrap()).unwrap();
        fs::copy(&file, copied).unwrap();
    }
    to
}

fn segments(folder: &Path) -> Vec<PathBuf> {
    list_segments(folder).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// The frames of a segment: where each is, and the first and last entry that it is of, if it is one of an entry.
fn frames(path: &Path) -> Vec<(Range<usize>, Option<u64>)> {
    let bytes = fs::read(path).unwrap();
    let mut reader = FrameReader::new(&bytes[usize::try_from(HEADER_BYTES).unwrap()..], HEADER_BYTES);
    let mut found = Vec::new();
    while let Step::Frame { offset, end, body, .. } = reader.step().unwrap() {
        let place = usize::try_from(offset).unwrap()..usize::try_from(end).unwrap();
        found.push((place, body.sequence()));
    }
    found
}

#[tokio::test]
async fn a_good_log_is_told_as_it_is() {
    let folder = folder();
    write(folder.path(), small(8000), 0..40, 5).await;
    assert!(segments(folder.path()).len() > 2);
    let report = check(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!(report.remarks, Vec::<String>::new());
    assert_eq!((report.entries, report.decisions, report.events, report.covered), (42, 40, 2, 42));
    assert_eq!((report.first_sequence, report.checkpoints), (1, 9));
    assert_eq!(report.origin.as_deref(), Some("example.org/log"));
    assert!(report.first_us < report.last_us);
}

/// Flips a bit at each of these places of each file, one after the other, and expects that each is found.
fn every_flip_is_found(folder: &Path, places: impl Fn(&Path, usize) -> Vec<usize> + Sync) -> usize {
    let files = files_of(folder);
    let tried = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for part in 0..2 {
            let (files, places, tried) = (&files, &places, &tried);
            scope.spawn(move || {
                let copied = copy(folder);
                for file in files {
                    let name = file.strip_prefix(folder).unwrap();
                    let good = fs::read(file).unwrap();
                    for at in places(name, good.len()).into_iter().filter(|at| at % 2 == part) {
                        let mut changed = good.clone();
                        changed[at] ^= 1 << (at % 8);
                        fs::write(copied.path().join(name), &changed).unwrap();
                        let report = check(copied.path());
                        assert!(!report.findings.is_empty(), "{} at {at}: {:?}", name.display(), report.remarks);
                        tried.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    }
                    fs::write(copied.path().join(name), &good).unwrap();
                }
                assert_eq!(check(copied.path()).findings, [], "all is as it was");
            });
        }
    });
    tried.into_inner()
}

#[tokio::test]
async fn a_bit_flipped_anywhere_in_a_small_log_is_found() {
    let folder = folder();
    write(folder.path(), small(5200), 0..6, 3).await;
    assert!(segments(folder.path()).len() > 1);
    let bytes: u64 = files_of(folder.path()).iter().map(|file| fs::metadata(file).unwrap().len()).sum();
    let tried = every_flip_is_found(folder.path(), |_, length| (0..length).collect());
    assert_eq!(tried as u64, bytes, "every byte of every file but the lock");
}

#[tokio::test]
async fn bits_flipped_at_random_in_a_larger_log_are_found() {
    let folder = folder();
    write(folder.path(), small(200_000), 0..1400, 200).await;
    let draw = |name: &Path, length: usize| {
        let count = if name.starts_with(tiles::FOLDER) { 6 } else { 16_u64 };
        let drawn = |number: u64| leaf_hash(format!("{number} {}", name.display()).as_bytes());
        let place = |number: u64| {
            let [a, b, c, d, ..] = drawn(number);
            usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap() % length
        };
        (0..count).map(place).collect::<BTreeSet<_>>().into_iter().collect()
    };
    assert!(every_flip_is_found(folder.path(), draw) > 60);
}

#[tokio::test]
async fn a_file_that_is_missing_empty_or_cut_is_found() {
    let folder = folder();
    write(folder.path(), small(60_000), 0..600, 100).await;
    for file in files_of(folder.path()) {
        let good = fs::read(&file).unwrap();
        fs::remove_file(&file).unwrap();
        assert_ne!(check(folder.path()).findings, [], "{} is missing", file.display());
        for length in [0, 1, good.len() / 2, good.len() - 1] {
            fs::write(&file, &good[..length]).unwrap();
            let report = check(folder.path());
            // Half a footer is what a write that failed leaves; it holds no entry.
            let is_in_footer = !report.remarks.is_empty() && length + 1 == good.len();
            assert!(!report.findings.is_empty() || is_in_footer, "{} has only {length} bytes", file.display());
        }
        fs::write(&file, [&good[..], b"x"].concat()).unwrap();
        let report = check(folder.path());
        let is_last_segment = Some(&file) == segments(folder.path()).last();
        assert!(!report.findings.is_empty() || is_last_segment, "{} has a byte more", file.display());
        fs::write(&file, &good).unwrap();
    }
    assert_eq!(check(folder.path()).findings, []);
}

#[tokio::test]
async fn entries_that_are_deleted_swapped_or_doubled_are_found_where_they_are() {
    let folder = folder();
    write(folder.path(), small(8000), 0..30, 6).await;
    for path in segments(folder.path()) {
        let good = fs::read(&path).unwrap();
        let frames = frames(&path);
        for (at, (place, sequence)) in frames.iter().enumerate() {
            let without = [&good[..place.start], &good[place.end..]].concat();
            let doubled = [&good[..place.end], &good[place.start..]].concat();
            let mut changed = vec![without, doubled];
            if let Some((next, _)) = frames.get(at + 1) {
                changed.push(
                    [&good[..place.start], &good[next.clone()], &good[place.clone()], &good[next.end..]].concat(),
                );
            }
            for bytes in changed {
                fs::write(&path, bytes).unwrap();
                let report = check(folder.path());
                // The last footer of all is said by nothing but itself.
                let is_footer = sequence.is_none() && at + 1 == frames.len();
                assert!(!report.findings.is_empty() || is_footer, "{} {at}", path.display());
                if let (Some(sequence), Some(found)) = (sequence, report.findings.first()) {
                    assert!(found.sequence.is_some_and(|found| found.abs_diff(*sequence) <= 7), "{found:?} {sequence}");
                    assert_eq!(found.file.as_deref(), path.file_name().unwrap().to_str());
                }
            }
        }
        fs::write(&path, good).unwrap();
    }
    assert_eq!(check(folder.path()).findings, []);
}

#[tokio::test]
async fn segments_that_are_exchanged_or_taken_from_another_log_are_found() {
    let (folder, other) = (folder(), folder());
    write(folder.path(), small(6500), 0..30, 6).await;
    write(other.path(), small(6500), 100..130, 6).await;
    let paths = segments(folder.path());
    assert!(paths.len() > 3);
    for at in 0..paths.len() - 1 {
        let (here, there) = (fs::read(&paths[at]).unwrap(), fs::read(&paths[at + 1]).unwrap());
        fs::write(&paths[at], &there).unwrap();
        fs::write(&paths[at + 1], &here).unwrap();
        assert_ne!(check(folder.path()).findings, [], "{at}");
        fs::write(&paths[at + 1], &there).unwrap();
        fs::write(&paths[at], fs::read(&segments(other.path())[at]).unwrap()).unwrap();
        assert_ne!(check(folder.path()).findings, [], "{at}");
        fs::write(&paths[at], &here).unwrap();
    }
    assert_eq!(check(folder.path()).findings, []);
}

/// Writes the log anew with other records, so that every checksum, group, header and tile is right, and keeps what was
/// signed of the old one.
#[tokio::test]
async fn a_log_that_was_written_anew_from_the_middle_fails_its_checkpoints() {
    let (folder, forged) = (folder(), folder());
    write(folder.path(), small(8000), 0..30, 6).await;
    // The forger has the log's own key, so that only the last record differs, and no checkpoint key.
    let log = SegmentLog::open(forged.path(), small(8000), outside()).unwrap();
    for round in 0..5 {
        let numbers = if round == 4 { 24..29 } else { round * 6..(round + 1) * 6 };
        log.append(records(numbers.chain((round == 4).then_some(777)))).await.unwrap();
    }
    log.sign(crate::storage::segment_log::checkpoints::tests::signing(&[9])).unwrap();
    log.checkpoint().await.unwrap();
    log.close().await;
    for name in [ALL, KEYS, NEWEST] {
        fs::copy(folder.path().join(name), forged.path().join(name)).unwrap();
    }
    let report = check(forged.path());
    assert!(report.findings[0].what.contains("are not those that the checkpoint was made of"), "{:?}", report.findings);
    assert_eq!(report.covered, 25, "what was signed before the forgery is proved");
    // With the forger's own checkpoints there is nothing that the trusted key has signed.
    let forged_all = folder.path().join("forged");
    fs::create_dir(&forged_all).unwrap();
    let log = signed_log(&forged_all, strict(), &[9]);
    log.append(records(0..3)).await.unwrap();
    log.close().await;
    let report = check(&forged_all);
    assert!(report.findings.iter().any(|found| found.what.contains("is trusted")), "{:?}", report.findings);
    assert_eq!(report.covered, 0);
}

#[tokio::test]
async fn a_log_cut_before_a_checkpoint_or_rolled_back_behind_one_kept_outside_is_found() {
    let folder = folder();
    write(folder.path(), small(8000), 0..12, 6).await;
    let older = copy(folder.path());
    write(folder.path(), small(8000), 12..30, 6).await;
    // Cut, with the checkpoints as they are.
    let cut = copy(folder.path());
    fs::remove_file(segments(cut.path()).last().unwrap()).unwrap();
    let report = check(cut.path());
    assert!(report.findings.iter().any(|found| found.what.contains("entries were cut off")), "{:?}", report.findings);
    // Rolled back: whole in itself, so only what was kept outside tells.
    assert_eq!(check(older.path()).findings, []);
    let newer = fs::read_to_string(folder.path().join(NEWEST)).unwrap();
    let old = OldCheckpoint::parse("newer", &newer).unwrap();
    let trusted = Trusted { checkpoints: vec![old.clone()], ..trusted() };
    let report = verify(older.path(), &trusted).unwrap();
    assert!(report.findings[0].what.contains("before the 34 of newer"), "{:?}", report.findings);
    assert_eq!(verify(folder.path(), &trusted).unwrap().findings, []);
    // One that nobody trusted has signed is no proof of anything.
    let unknown = CheckpointKey::new(&[8; 32], "example.org/log").unwrap();
    let forged = CheckpointKey::sign(old.checkpoint.clone(), &[&unknown]);
    let forged = OldCheckpoint::parse("forged", &forged.note).unwrap();
    let report = verify(folder.path(), &Trusted { checkpoints: vec![forged], ..super::tests::trusted() }).unwrap();
    assert!(report.findings[0].what.contains("no signature by a known key"), "{:?}", report.findings);
}

#[tokio::test]
async fn an_old_checkpoint_of_a_log_that_went_another_way_is_found() {
    let (folder, other) = (folder(), folder());
    write(folder.path(), strict(), 0..30, 6).await;
    write(other.path(), strict(), 100..120, 6).await;
    let old = fs::read_to_string(other.path().join(NEWEST)).unwrap();
    let old = OldCheckpoint::parse("old", &old).unwrap();
    let report = verify(folder.path(), &Trusted { checkpoints: vec![old], ..trusted() }).unwrap();
    assert!(report.findings[0].what.contains("are not those that old was made of"), "{:?}", report.findings);
}

#[tokio::test]
async fn a_key_that_the_log_names_counts_from_there_on() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1, 2]);
    log.append(records(0..5)).await.unwrap();
    log.rotate_key(CheckpointKey::new(&[2; 32], "example.org/log").unwrap()).await.unwrap();
    log.append(records(5..9)).await.unwrap();
    log.close().await;
    let with = |seeds: &[u8]| {
        let keys = seeds.iter().map(|seed| verifier(*seed)).collect();
        verify(folder.path(), &Trusted { keys, checkpoints: Vec::new() }).unwrap()
    };
    let report = with(&[1]);
    assert_eq!((report.findings.as_slice(), report.covered, report.key_changes.len()), (&[][..], 12, 1));
    // Who knows only the new key can check all, but not that the old one was right.
    let report = with(&[2]);
    assert_eq!((report.findings.as_slice(), report.covered, report.remarks.len()), (&[][..], 12, 1));
    assert_ne!(with(&[3]).findings, []);
    // A key that no entry names is not taken for one.
    let path = folder.path().join(KEYS);
    let keys = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{keys}{}\n", verifier(3))).unwrap();
    assert_ne!(with(&[1]).findings, []);
    fs::write(&path, format!("{}\n", verifier(1))).unwrap();
    assert_ne!(with(&[1]).findings, [], "a key of the log is not in the file");
}

/// A log whose first segments retention has deleted.
async fn with_retention(folder: &Path) -> u64 {
    let log = signed_log(folder, small(40_000), &[1]);
    for round in 0..7 {
        log.append(records(round * 100..(round + 1) * 100)).await.unwrap();
        log.checkpoint().await.unwrap();
    }
    let paths = segments(folder);
    let last =
        super::super::frame::Header::read(&mut fs::File::open(&paths[3]).unwrap()).unwrap().unwrap().before.size();
    log.note(EventKind::Retention { first: 1, last, rule: "by hand".into() }).await.unwrap();
    log.close().await;
    for path in &paths[..3] {
        fs::remove_file(path).unwrap();
    }
    last
}

#[tokio::test]
async fn what_retention_deleted_is_held_against_checkpoints_by_the_tiles() {
    let folder = folder();
    let deleted = with_retention(folder.path()).await;
    assert!(deleted > 300 && deleted % 256 != 0);
    let report = check(folder.path());
    assert_eq!(report.findings, []);
    assert_eq!((report.first_sequence, report.entries, report.covered), (deleted + 1, 703, 703));
    // A slow machine makes some more.
    assert!(report.checkpoints >= 8 && report.retention.len() == 1, "{report:?}");
    // A bit of any tile of the deleted range is found.
    for index in 0..2 {
        let path = folder.path().join(tiles::path(0, index));
        let good = fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(509) {
            let mut changed = good.clone();
            changed[at] ^= 1;
            fs::write(&path, changed).unwrap();
            assert_ne!(check(folder.path()).findings, [], "{index} {at}");
        }
        fs::remove_file(&path).unwrap();
        assert_ne!(check(folder.path()).findings, [], "{index}");
        fs::write(&path, good).unwrap();
    }
    // One segment more is gone than the entry says.
    fs::remove_file(&segments(folder.path())[0]).unwrap();
    let report = check(folder.path());
    assert!(
        report.findings[0].what.contains("no entry that is signed says that retention deleted them"),
        "{:?}",
        report.findings
    );
}

/// A group of one event, as anyone who can write the files can add it behind a log of this tree.
fn forged_group(tree: &Frontier, kind: EventKind) -> Vec<u8> {
    let (mut bytes, mut tree) = (Vec::new(), tree.clone());
    let sequence = tree.size() + 1;
    push_event(&mut bytes, sequence, &LogEvent { time_us: 1, kind });
    tree.append(leaf_hash(&bytes[PREFIX_BYTES..]));
    let end = GroupEnd { first: sequence, last: sequence, count: 1, tree_size: sequence, root: tree.root() };
    push_group(&mut bytes, &end);
    bytes
}

#[tokio::test]
async fn what_says_that_entries_were_deleted_must_be_signed_and_later_than_they_were() {
    let folder = folder();
    write(folder.path(), small(8000), 0..30, 6).await;
    let paths = segments(folder.path());
    let mut check = Check::open(folder.path(), &trusted()).unwrap();
    Segments::list(folder.path()).unwrap().check(&mut check).unwrap();
    assert_eq!(check.finish().unwrap().findings, []);
    let mut check = Check::open(folder.path(), &trusted()).unwrap();
    Segments::list(folder.path()).unwrap().check(&mut check).unwrap();
    fs::remove_file(&paths[0]).unwrap();
    let last = paths.last().unwrap();
    let good = fs::read(last).unwrap();
    for until in [10, check.tree.size(), u64::MAX] {
        let forged = EventKind::Retention { first: 1, last: until, rule: "older than 400 days".into() };
        fs::write(last, [&good[..], &forged_group(&check.tree, forged)].concat()).unwrap();
        let report = super::tests::check(folder.path());
        assert_eq!(report.retention.len(), 1);
        let found = report.findings.iter().any(|found| found.what.contains("no entry that is signed says"));
        assert!(found, "{until}: {:?}", report.findings);
    }
}

#[tokio::test]
async fn a_header_that_contradicts_what_is_proved_is_accused_once_and_nothing_else() {
    let folder = folder();
    write(folder.path(), small(8000), 0..30, 6).await;
    // Only the header is wrong.
    let second = &segments(folder.path())[1];
    let good = fs::read(second).unwrap();
    let header = Header::read(&mut good.as_slice()).unwrap().unwrap();
    let hashes = header.before.hashes().iter().map(|_| [7; 32]).collect();
    let wrong = Header { before: Frontier::from_hashes(header.before.size(), hashes).unwrap(), ..header };
    fs::write(second, [&wrong.encode()[..], &good[wrong.encode().len()..]].concat()).unwrap();
    let report = check(folder.path());
    let found: Vec<_> = report.findings.iter().map(|found| found.file.as_deref()).collect();
    assert_eq!((found.len(), found[0], report.covered), (1, Some("00000002.seg"), 32), "{:?}", report.findings);
    assert!(report.findings[0].what.contains("the header says another tree"));
    fs::write(second, &good).unwrap();
    // And so is all that was written behind it, which nobody has signed.
    let other = copy(folder.path());
    let paths = segments(other.path());
    let last = paths.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    let (stop, _) = frames(last).into_iter().rfind(|(_, sequence)| *sequence == Some(31)).unwrap();
    bytes[stop.start + PREFIX_BYTES + 40] ^= 1;
    fs::write(last, bytes).unwrap();
    fs::remove_dir_all(other.path().join(tiles::FOLDER)).unwrap();
    let log = SegmentLog::open(other.path(), small(8000), outside()).unwrap();
    log.append(records(50..52)).await.unwrap();
    log.close().await;
    let new = segments(other.path()).pop().unwrap();
    fs::copy(&new, folder.path().join(new.file_name().unwrap())).unwrap();
    let report = check(folder.path());
    assert_eq!((report.findings.len(), report.covered), (1, 32), "{:?}", report.findings);
    assert_eq!(report.findings[0].file.as_deref(), new.file_name().unwrap().to_str());
    assert!(report.entries > 33);
}

#[tokio::test]
async fn a_deleted_range_can_be_proved_and_signed_further() {
    let folder = folder();
    let deleted = with_retention(folder.path()).await;
    let log = signed_log(folder.path(), small(60_000), &[1]);
    log.append(records(900..1000)).await.unwrap();
    let newest = log.checkpoint().await.unwrap();
    for sequence in [1, 2, 256, 257, deleted, deleted + 1] {
        let proof = log.prove_inclusion(sequence, newest.checkpoint.size).await.unwrap().unwrap();
        assert!(proof.verifies(&newest.checkpoint.root), "{sequence}");
        assert_eq!(log.entry(sequence).await.unwrap().is_some(), sequence > deleted);
    }
    log.close().await;
    assert_eq!(check(folder.path()).findings, []);
}

#[tokio::test]
async fn a_write_that_failed_leaves_no_finding_and_hides_none() {
    let folder = folder();
    write(folder.path(), small(8000), 0..30, 6).await;
    let paths = segments(folder.path());
    let good = fs::read(&paths[0]).unwrap();
    let (footer, _) = frames(&paths[0]).pop().unwrap();
    let again = &fs::read(&paths[1]).unwrap()[usize::try_from(HEADER_BYTES).unwrap()..];
    for tail in [&[][..], &good[footer.start..footer.end - 1], &again[..1], &again[..again.len() / 2]] {
        fs::write(&paths[0], [&good[..footer.start], tail].concat()).unwrap();
        let report = check(folder.path());
        assert_eq!(report.findings, [], "{}", tail.len());
        assert_eq!(report.remarks.len(), 1);
    }
    let mut wrong = again[..again.len() / 2].to_vec();
    wrong[PREFIX_BYTES + 40] ^= 1;
    fs::write(&paths[0], [&good[..footer.start], &wrong].concat()).unwrap();
    assert_ne!(check(folder.path()).findings, []);
}

#[tokio::test]
async fn a_copy_of_a_log_at_work_may_end_within_a_write() {
    let folder = folder();
    let log = signed_log(folder.path(), strict(), &[1]);
    log.append(records(0..10)).await.unwrap();
    let newest = log.checkpoint().await.unwrap();
    log.append(records(10..20)).await.unwrap();
    let copied = copy(folder.path());
    let path = &segments(copied.path())[0];
    let good = fs::read(path).unwrap();
    let covered = newest.checkpoint.size;
    for cut in 0..300 {
        fs::write(path, &good[..good.len() - cut]).unwrap();
        // The log itself goes on making checkpoints; the copy was made before.
        let report = check(copied.path());
        assert!(report.findings.is_empty() || report.covered < covered, "{cut}: {:?}", report.findings);
        let is_whole = cut == 0;
        assert_eq!(report.entries == 21, is_whole, "{cut}");
        assert_eq!(report.remarks.is_empty(), is_whole, "{cut}");
    }
    log.close().await;
}

/// The bodies of a segment's entries, taken apart as the format is described and by none of our readers.
fn bodies_by_hand(path: &Path) -> Vec<Vec<u8>> {
    let bytes = fs::read(path).unwrap();
    let (mut rest, mut bodies) = (&bytes[4096..], Vec::new());
    while !rest.is_empty() {
        let length = usize::try_from(u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]])).unwrap();
        let body = &rest[8..8 + length];
        if [1, 3, 4].contains(&body[0]) {
            bodies.push(body.to_vec());
        }
        rest = &rest[8 + length..];
    }
    bodies
}

#[tokio::test]
async fn every_checkpoint_is_of_the_tree_that_another_implementation_makes_of_the_stored_bytes() {
    let folder = folder();
    write(folder.path(), small(12_000), 0..150, 7).await;
    write(folder.path(), small(12_000), 150..300, 11).await;
    let paths = segments(folder.path());
    assert!(paths.len() > 4);
    let mut tree = ct_merkle::mem_backed_tree::MemoryBackedTree::<sha2::Sha256, Vec<u8>>::new();
    let mut roots = vec![tree.root().as_bytes().to_vec()];
    for body in paths.iter().flat_map(|path| bodies_by_hand(path)) {
        let sequence = u64::from_le_bytes(body[1..9].try_into().unwrap());
        assert_eq!(sequence, roots.len() as u64);
        tree.push(body);
        roots.push(tree.root().as_bytes().to_vec());
    }
    let text = fs::read_to_string(folder.path().join(ALL)).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let mut checkpoints = 0;
    for (at, _) in lines.iter().enumerate().filter(|(_, line)| **line == "example.org/log") {
        let size: usize = lines[at + 1].parse().unwrap();
        assert_eq!(lines[at + 2], STANDARD.encode(&roots[size]), "{size}");
        checkpoints += 1;
    }
    let report = check(folder.path());
    assert_eq!((report.findings.as_slice(), report.checkpoints), (&[][..], checkpoints));
    assert_eq!((report.entries, report.covered), (304, 304));
    assert!(checkpoints > 30 && roots.len() == 305);
}

#[tokio::test]
async fn nonsense_in_place_of_files_is_found_and_never_a_panic() {
    let folder = folder();
    write(folder.path(), small(8000), 0..12, 6).await;
    for file in files_of(folder.path()) {
        let good = fs::read(&file).unwrap();
        for nonsense in
            [vec![0; 10_000], vec![0xff; 10_000], good.iter().rev().copied().collect(), b"\n\n\n\n".to_vec()]
        {
            fs::write(&file, nonsense).unwrap();
            assert_ne!(check(folder.path()).findings, [], "{}", file.display());
        }
        fs::write(&file, good).unwrap();
    }
    fs::create_dir_all(folder.path().join("tile/0/x000")).unwrap();
    fs::write(folder.path().join("tile/0/x000/000"), [0; 8192]).unwrap();
    assert_ne!(check(folder.path()).findings, [], "a tile under a name that is none");
}

#[test]
fn an_empty_folder_holds_no_log() {
    let folder = folder();
    assert!(!is_log(folder.path()));
    assert_ne!(check(folder.path()).findings, []);
}
