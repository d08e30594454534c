//! Old segments go, whole, and the log says so.

use super::{
    super::{checkpoints::tests::signing, tiles},
    *,
};

/// A log of several segments of a few records each, still open.
async fn several(folder: &Path) -> SegmentLog {
    let log = open(folder, Options { segment_bytes_max: 6500, ..strict() });
    for number in 1..=60 {
        log.append(vec![record(number)]).await.unwrap();
    }
    log
}

#[tokio::test]
async fn whole_segments_are_deleted_and_the_log_says_so() {
    let folder = folder();
    let log = several(folder.path()).await;
    let parts = log.segments().await.unwrap();
    assert!(parts.len() > 4);
    assert!(parts.windows(2).all(|pair| pair[0].last + 1 == pair[1].first && pair[0].newest_us < pair[1].newest_us));
    assert!(parts.iter().rev().skip(1).all(|part| part.is_deletable) && !parts[parts.len() - 1].is_deletable);
    assert_eq!(log.delete_until(parts[0].last - 1, "too soon").await.unwrap(), None, "none goes in part");
    let expected = (1, parts[1].last);
    assert_eq!(log.delete_until(parts[2].last - 1, "older than 400 days").await.unwrap(), Some(expected));
    assert_eq!(segment_files(folder.path()).len(), parts.len() - 2);
    let event = EventKind::Retention { first: 1, last: parts[1].last, rule: "older than 400 days".into() };
    assert_eq!(incidents(folder.path()), [event]);
    assert_eq!(log.status().first_sequence, parts[2].first);
    // A record's number is its sequence less the start.
    let page = log.query(RecordFilter::default(), ALL).await.unwrap();
    assert_eq!(page.decisions.first().map(|logged| logged.sequence), Some(parts[2].first));
    assert_eq!(page.decisions.last().map(|logged| logged.record.data_revision.0), Some(60));
    let all = log.delete_until(u64::MAX, "all").await.unwrap().unwrap();
    assert_eq!(all.0, parts[2].first);
    log.append(records(61..=61)).await.unwrap();
    log.close().await;
    assert!(!folder.path().join("retention").exists());
    drop(log);
    let again = open(folder.path(), strict());
    assert!(numbers(&again).await.0.ends_with(&[61]));
    assert_eq!(again.status().first_sequence, all.1 + 1);
}

#[tokio::test]
async fn a_deletion_that_was_cut_off_is_finished_at_the_next_start_once_the_log_has_said_it() {
    let folder = folder();
    let log = several(folder.path()).await;
    let parts = log.segments().await.unwrap();
    let last = parts[1].last;
    let before = killed(folder.path());
    log.delete_until(last, "rule").await.unwrap();
    let after = killed(folder.path());
    // Killed after the intent was written, before the event; and after the event, with none or one of the files gone.
    for (files, event_is_there, gone) in [(&before, false, 0), (&after, true, 0), (&after, true, 1)] {
        let copy = killed(files.path());
        for path in segment_files(before.path()).iter().take(2).skip(gone) {
            std::fs::copy(path, copy.path().join(path.file_name().unwrap())).unwrap();
        }
        let deletion = Deletion { first: 1, last, rule: "rule".into() };
        deletion.write_down(copy.path()).unwrap();
        let log = open(copy.path(), strict());
        log.append(records(61..=61)).await.unwrap();
        log.close().await;
        let mut said = incidents(copy.path());
        said.retain(|kind| !matches!(kind, EventKind::ClockChange { .. }));
        let event = EventKind::Retention { first: 1, last, rule: "rule".into() };
        let (expected, first) = if event_is_there { (vec![event], last + 1) } else { (Vec::new(), 1) };
        assert_eq!(said, expected, "{event_is_there} {gone}");
        assert_eq!(log.status().first_sequence, first);
        assert!(!copy.path().join("retention").exists());
        assert!(numbers(&log).await.0.ends_with(&[60, 61]));
    }
}

#[tokio::test]
async fn an_intent_that_was_cut_off_itself_deletes_nothing() {
    let folder = folder();
    let count = {
        let log = several(folder.path()).await;
        log.close().await;
        segment_files(folder.path()).len()
    };
    Deletion { first: 1, last: 30, rule: "rule".into() }.write_down(folder.path()).unwrap();
    let intent = folder.path().join("retention");
    let whole = std::fs::read(&intent).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&intent, &whole[..length]).unwrap();
        open(folder.path(), strict()).close().await;
        assert_eq!(segment_files(folder.path()).len(), count, "{length}");
    }
}

#[tokio::test]
async fn a_signed_log_deletes_nothing_before_a_checkpoint_covers_the_entry_that_says_so() {
    let folder = folder();
    let log = several(folder.path()).await;
    log.sign(signing(&[1])).unwrap();
    log.checkpoint().await.unwrap();
    let parts = log.segments().await.unwrap();
    let files = segment_files(folder.path()).len();
    // Whatever stands there, no checkpoint can be put in its place.
    let in_the_way = folder.path().join("checkpoint.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    let error = log.delete_until(parts[1].last, "rule").await.unwrap_err().to_string();
    assert!(error.contains("no checkpoint"), "{error}");
    assert_eq!(segment_files(folder.path()).len(), files);
    assert!(!folder.path().join("retention").exists());
    std::fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(log.delete_until(parts[1].last, "rule").await.unwrap(), Some((1, parts[1].last)));
    let covered = log.checkpoints().borrow().as_ref().unwrap().checkpoint.size;
    assert_eq!(covered, log.status().entries);
}

#[tokio::test]
async fn entries_whose_hashes_in_the_tiles_are_not_theirs_are_not_deleted() {
    let folder = folder();
    let log = several(folder.path()).await;
    log.append(records(61..=400)).await.unwrap();
    log.sign(signing(&[1])).unwrap();
    log.checkpoint().await.unwrap();
    let last = log.segments().await.unwrap()[1].last;
    let tile = folder.path().join(tiles::path(0, 0));
    let good = std::fs::read(&tile).unwrap();
    let mut wrong = good.clone();
    wrong[5 * 32] ^= 1;
    std::fs::write(&tile, wrong).unwrap();
    let error = log.delete_until(last, "rule").await.unwrap_err().to_string();
    assert!(error.contains("the tile of entry 6 is not that of the log"), "{error}");
    std::fs::write(&tile, good).unwrap();
    assert_eq!(log.delete_until(last, "rule").await.unwrap(), Some((1, last)));
}
