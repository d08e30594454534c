//! What a log promises in each of its modes, and what it says when it cannot keep it.

use super::*;
use crate::app::ports::BeforeGroup;

fn available() -> Options {
    Options { mode: Mode::Available, full_wait: Duration::from_millis(5), ..Options::default() }
}

/// How many of these are allows, and how many denials.
fn counts(numbers: impl IntoIterator<Item = u64>) -> (u64, u64) {
    numbers.into_iter().fold((0, 0), |(allowed, denied), number| match record(number).outcome.effect() {
        Effect::Allow => (allowed + 1, denied),
        Effect::Deny => (allowed, denied + 1),
    })
}

/// The gaps of a folder, put together.
fn gaps(folder: &Path) -> Vec<Gap> {
    let gap = |kind| if let EventKind::Gap(gap) = kind { Some(gap) } else { None };
    events(folder).into_iter().filter_map(gap).collect()
}

async fn until(log: &SegmentLog, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            let progress = log.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if is_so() {
                break;
            }
            progress.await;
        }
    };
    timeout(Duration::from_secs(20), waiting).await.expect("it does not come to that");
}

#[tokio::test]
async fn what_an_available_log_cannot_take_is_answered_and_counted_exactly() {
    let folder = folder();
    let (log, faults) = open_faulty(folder.path(), Options { buffer_records_max: 40, ..available() });
    log.append(records(1..=10)).await.unwrap();
    assert!(log.flush().await);
    let gate = faults.gate.lock().await;
    for number in 11..=100 {
        log.append(vec![record(number)]).await.unwrap();
    }
    let dropped = log.status().dropped;
    assert!(dropped >= 50, "{dropped}");
    drop(gate);
    until(&log, || log.status().gaps == 1).await;
    log.append(records(101..=101)).await.unwrap();
    let (kept, _) = numbers(&log).await;
    assert_eq!(kept.len() as u64 + dropped, 101);
    let missing: Vec<_> = (1..=101).filter(|number| !kept.contains(number)).collect();
    let (allowed, denied) = counts(missing.iter().copied());
    let (from_us, until_us) = (record(missing[0]).time_us, record(missing[missing.len() - 1]).time_us);
    let expected = Gap { from_us, until_us, cause: GapCause::Dropped, allowed, denied };
    assert_eq!(gaps(folder.path()), [expected]);
    assert_eq!(log.status().mode, "available");
}

#[tokio::test]
async fn an_outage_of_an_available_log_is_one_gap() {
    let folder = folder();
    let (log, faults) = open_faulty(folder.path(), Options { buffer_records_max: 5, ..available() });
    log.append(records(1..=5)).await.unwrap();
    assert!(log.flush().await);
    faults.is_broken.store(true, SeqCst);
    for number in 6..=60 {
        log.append(vec![record(number)]).await.unwrap();
    }
    until(&log, || !log.is_writable()).await;
    assert!(!log.status().is_writable && log.status().answers_without);
    faults.is_broken.store(false, SeqCst);
    until(&log, || log.status().gaps > 0).await;
    let (kept, _) = numbers(&log).await;
    let (allowed, denied) = counts((1..=60).filter(|number| !kept.contains(number)));
    let found: Vec<_> = gaps(folder.path()).iter().map(|gap| (gap.allowed, gap.denied)).collect();
    assert_eq!(found, [(allowed, denied)]);
    assert_eq!(allowed + denied, log.status().dropped);
}

#[tokio::test]
async fn a_gap_is_written_before_an_orderly_stop() {
    let folder = folder();
    let (log, faults) = open_faulty(folder.path(), Options { buffer_records_max: 3, ..available() });
    let gate = faults.gate.lock().await;
    for number in 1..=10 {
        log.append(vec![record(number)]).await.unwrap();
    }
    let dropped = log.status().dropped;
    drop(gate);
    log.close().await;
    assert!(log.append(records(11..=11)).await.is_err(), "nothing is answered that could not even be counted");
    let found = events(folder.path());
    assert_eq!(found.last(), Some(&EventKind::Stop));
    let counted: u64 = gaps(folder.path()).iter().map(|gap| gap.allowed + gap.denied).sum();
    assert_eq!((counted, dropped > 0), (dropped, true));
}

#[tokio::test]
async fn a_reading_of_the_log_is_never_answered_without_its_record() {
    let folder = folder();
    let (log, faults) = open_faulty(folder.path(), Options { buffer_records_max: 1, ..available() });
    let gate = faults.gate.lock().await;
    log.append(records(1..=1)).await.unwrap();
    let reading = DecisionRecord { kind: RecordKind::Reading, ..record(2) };
    assert!(matches!(log.append(vec![reading]).await, Err(LogError::Unavailable(_))));
    assert_eq!(log.status().dropped, 0);
    drop(gate);
}

#[tokio::test]
async fn a_start_after_a_kill_says_that_decisions_may_be_missing_unless_the_log_was_strict() {
    for (options, expected) in [(strict(), 0), (Options::default(), 1), (available(), 1)] {
        let folder = folder();
        let log = open(folder.path(), options);
        log.append(records(1..=3)).await.unwrap();
        assert!(log.flush().await);
        let copy = killed(folder.path());
        for rotated in [false, true] {
            let last = record(3).time_us;
            let clock = Arc::new(TwoClocks { wall_us: AtomicI64::new(last + 7), monotonic_us: AtomicI64::new(0) });
            let outside = Outside { clock, ..outside() };
            let again = SegmentLog::open(copy.path(), strict(), outside).unwrap();
            again.note(EventKind::KeyChange { verifier_key: "k".into() }).await.unwrap();
            let gap = Gap { from_us: last, until_us: last + 7, cause: GapCause::Crash, allowed: 0, denied: 0 };
            assert_eq!(gaps(copy.path()), vec![gap; expected], "{:?} {rotated}", options.mode);
            assert_eq!(numbers(&again).await.0, [1, 2, 3]);
            again.close().await;
        }
        log.close().await;
        drop(log);
        let orderly = open(folder.path(), options);
        assert!(orderly.flush().await);
        orderly.close().await;
        assert_eq!(gaps(folder.path()), [], "after an orderly stop nothing is missing");
    }
}

#[tokio::test]
async fn the_way_an_earlier_run_ended_is_known_also_when_a_new_segment_holds_nothing_yet() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    log.append(records(1..=3)).await.unwrap();
    log.close().await;
    let first = std::fs::read(&segment_files(folder.path())[0]).unwrap();
    let mut tree = Frontier::new();
    let mut frames = FrameReader::new(&first[4096..], HEADER_BYTES);
    while let Step::Frame { body, bytes, .. } = frames.step().unwrap() {
        if body.entry().is_some() {
            tree.append(leaf_hash(bytes));
        }
    }
    drop(log);
    std::fs::write(folder.path().join("00000002.seg"), header(&tree)).unwrap();
    let log = open(folder.path(), Options::default());
    log.close().await;
    assert_eq!(incidents(folder.path()), []);
}

#[tokio::test]
async fn starts_and_stops_are_kept_and_an_event_has_a_number_when_it_is_durable() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    log.append(records(1..=2)).await.unwrap();
    let change = EventKind::KeyChange { verifier_key: "a key".into() };
    assert_eq!(log.note(change.clone()).await.unwrap(), 4);
    let start = |mode: &str| EventKind::Start { version: env!("CARGO_PKG_VERSION").into(), mode: mode.into() };
    assert_eq!(events(folder.path()), [start("bounded"), change.clone()]);
    log.close().await;
    assert!(log.note(EventKind::Stop).await.is_err());
    drop(log);
    open(folder.path(), strict()).close().await;
    assert_eq!(events(folder.path()), [start("bounded"), change, EventKind::Stop, start("strict"), EventKind::Stop]);
}

#[tokio::test]
async fn nothing_that_was_written_by_or_about_people_can_be_read_in_the_files() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    let mut given = record(1);
    given.request_id = "canary-request".into();
    log.append(vec![given.clone()]).await.unwrap();
    let (basis, caller) = ("canary-basis".into(), "canary-caller".into());
    let erasure = EventKind::Erasure { pseudonyms: vec!["canary-pseudonym".into()], basis, caller };
    log.note(erasure.clone()).await.unwrap();
    let bytes = std::fs::read(&segment_files(folder.path())[0]).unwrap();
    assert!(!bytes.windows(6).any(|window| window == b"canary"));
    assert!(!bytes.windows(8).any(|window| window == b"resource"));
    assert_eq!(incidents(folder.path()), [erasure]);
    assert_eq!(log.get(given.id).await.unwrap().map(|logged| logged.record), Some(given));
}

#[tokio::test]
async fn a_log_of_another_key_cannot_be_read_and_says_so() {
    let folder = folder();
    let log = open(folder.path(), strict());
    log.append(records(1..=2)).await.unwrap();
    drop(log);
    let other = LogKey::of_realm(&[2; 32], &"one".parse().unwrap()).unwrap();
    let log = SegmentLog::open(folder.path(), strict(), Outside { key: other, ..outside() }).unwrap();
    assert_eq!(numbers(&log).await, (vec![], false));
}

// Clocks.

#[tokio::test]
async fn a_clock_that_jumps_is_noticed_and_disturbs_neither_order_nor_questions() {
    let folder = folder();
    let clock = TwoClocks::new();
    let outside = Outside { clock: Arc::clone(&clock) as Arc<_>, ..outside() };
    let log = SegmentLog::open(folder.path(), strict(), outside).unwrap();
    let at_now = |number: u64| DecisionRecord { time_us: clock.now_us(), ..record(number) };
    log.append(vec![at_now(1)]).await.unwrap();
    clock.pass_seconds(5);
    log.append(vec![at_now(2)]).await.unwrap();
    clock.set_ahead_seconds(1);
    log.append(vec![at_now(3)]).await.unwrap();
    assert_eq!(incidents(folder.path()), [], "time passes, and small corrections happen");
    for (number, seconds) in [(4, 3600), (5, -3600)] {
        let before_us = clock.now_us();
        clock.set_ahead_seconds(seconds);
        log.append(vec![at_now(number)]).await.unwrap();
        let change = EventKind::ClockChange { before_us, after_us: before_us + seconds * 1_000_000 };
        assert_eq!(incidents(folder.path()).last(), Some(&change));
    }
    assert_eq!(incidents(folder.path()).len(), 2);
    assert_eq!(numbers(&log).await, (vec![1, 2, 3, 4, 5], true));
    let hour = START_US + 3_600_000_000;
    let later = RecordFilter { from_us: Some(hour), ..RecordFilter::default() };
    let found = log.query(later, ALL).await.unwrap();
    assert_eq!(found.decisions.iter().map(|logged| logged.record.data_revision.0).collect::<Vec<_>>(), [4]);
    let earlier = RecordFilter { until_us: Some(hour), ..RecordFilter::default() };
    assert_eq!(log.query(earlier, ALL).await.unwrap().decisions.len(), 4);
}

#[tokio::test]
async fn a_clock_that_was_set_back_while_nothing_ran_is_noticed_at_the_start() {
    let folder = folder();
    let log = open(folder.path(), strict());
    log.append(records(500..=500)).await.unwrap();
    let copy = killed(folder.path());
    let log = open(copy.path(), strict());
    log.append(records(501..=501)).await.unwrap();
    let change = EventKind::ClockChange { before_us: record(500).time_us, after_us: START_US };
    assert_eq!(incidents(copy.path()), [change]);
}

// Rotation.

#[tokio::test]
async fn a_full_segment_ends_with_what_it_holds_and_the_next_one_knows_the_tree() {
    let folder = folder();
    let log = open(folder.path(), Options { segment_bytes_max: 7000, ..strict() });
    for number in 1..=40 {
        log.append(vec![record(number)]).await.unwrap();
    }
    log.close().await;
    let files = segment_files(folder.path());
    assert!(files.len() > 2);
    for path in &files[..files.len() - 1] {
        let bytes = std::fs::read(path).unwrap();
        assert!(bytes.len() <= 7000 + FOOTER_FRAME_BYTES);
        let start = bytes.len() - FOOTER_FRAME_BYTES;
        let mut frames = FrameReader::new(&bytes[start..], 0);
        let Step::Frame { body: Body::Footer(footer), .. } = frames.step().unwrap() else {
            panic!("expected a footer")
        };
        assert!(footer.min_us <= footer.max_us && footer.last >= footer.first);
    }
    // Checks every number, group, footer and tree.
    assert_eq!(incidents(folder.path()), []);
}

#[tokio::test]
async fn an_old_segment_is_ended_with_traffic_and_without_also_when_the_clock_was_set_back() {
    let folder = folder();
    let clock = TwoClocks::new();
    let outside = Outside { clock: Arc::clone(&clock) as Arc<_>, ..outside() };
    let log = SegmentLog::open(folder.path(), strict(), outside.clone()).unwrap();
    log.append(records(1..=1)).await.unwrap();
    clock.pass_seconds(3599);
    log.append(records(2..=2)).await.unwrap();
    assert_eq!(segment_files(folder.path()).len(), 1);
    clock.pass_seconds(2);
    clock.set_ahead_seconds(-10_000);
    log.append(records(3..=3)).await.unwrap();
    assert_eq!(segment_files(folder.path()).len(), 2);
    clock.pass_seconds(3600);
    let length = || std::fs::metadata(&segment_files(folder.path())[1]).unwrap().len();
    let before = length();
    let started = Instant::now();
    while length() == before {
        log.shared.buffer.wake();
        tokio::task::yield_now().await;
        assert!(started.elapsed() < Duration::from_secs(10), "an idle segment is not ended");
    }
    drop(log);
    let log = SegmentLog::open(folder.path(), strict(), outside).unwrap();
    log.append(records(4..=4)).await.unwrap();
    assert_eq!(segment_files(folder.path()).len(), 3, "what was ended is not written to again");
    assert_eq!(numbers(&log).await, (vec![1, 2, 3, 4], true));
}

// Disks.

#[tokio::test]
async fn a_slow_disk_bounds_what_waits_and_each_mode_keeps_its_promise() {
    for (sync_ms, mode) in [(50, Mode::Strict), (500, Mode::Bounded), (500, Mode::Available), (5000, Mode::Available)] {
        let folder = folder();
        let options =
            Options { mode, buffer_records_max: 20, full_wait: Duration::from_millis(10), ..Options::default() };
        let (log, faults) = open_faulty(folder.path(), options);
        assert!(log.note(EventKind::KeyChange { verifier_key: "k".into() }).await.is_ok());
        faults.sync_ms.store(sync_ms, SeqCst);
        let mut acknowledged = BTreeSet::new();
        for number in 1..=100 {
            let started = Instant::now();
            if log.append(vec![record(number)]).await.is_ok() {
                acknowledged.insert(number);
            }
            let waited = started.elapsed();
            assert!(mode == Mode::Strict || waited < Duration::from_millis(400), "{mode:?} waited {waited:?}");
            assert!(log.status().waiting <= 20);
        }
        faults.sync_ms.store(0, SeqCst);
        log.close().await;
        assert_eq!(acknowledged.len() == 100, mode != Mode::Bounded, "{mode:?}");
        let dropped: u64 = gaps(folder.path()).iter().map(|gap| gap.allowed + gap.denied).sum();
        assert_eq!((dropped, dropped > 0), (log.status().dropped, mode == Mode::Available));
        let (kept, is_complete) = numbers(&log).await;
        assert_eq!(kept.len() as u64 + dropped, acknowledged.len() as u64, "{mode:?}");
        assert!(kept.iter().all(|number| acknowledged.contains(number)) && (is_complete || dropped > 0));
    }
}

#[tokio::test]
async fn a_disk_that_becomes_read_only_is_said_and_reads_go_on() {
    let Some(disk) = SmallDisk::mount("48m") else { return };
    let folder = disk.path().join("log");
    let clock = TwoClocks::new();
    let outside = Outside { clock: Arc::clone(&clock) as Arc<_>, ..outside() };
    let options = Options { strict_wait: Duration::from_millis(300), ..strict() };
    let log = SegmentLog::open(&folder, options, outside.clone()).unwrap();
    log.append(records(1..=10)).await.unwrap();
    // A file system with a file open for writing cannot become read-only in order: an old segment is ended and closed.
    let length = || std::fs::metadata(&segment_files(&folder)[0]).unwrap().len();
    let before = length();
    clock.pass_seconds(3600);
    while length() == before || !disk.remount("ro") {
        log.shared.buffer.wake();
        tokio::task::yield_now().await;
    }
    assert!(log.append(records(11..=11)).await.is_err());
    assert!(!log.is_writable());
    assert_eq!(numbers(&log).await, ((1..=10).collect(), false), "reads go on");
    assert!(disk.remount("rw"));
    until(&log, || log.is_writable()).await;
    log.append(records(12..=12)).await.unwrap();
    assert_eq!(numbers(&log).await, ((1..=12).collect(), true), "who gave up waiting did not take the record back");
    drop(log);
    assert!(disk.remount("ro"));
    let log = SegmentLog::open(&folder, options, outside).unwrap();
    assert_eq!(numbers(&log).await.0, (1..=12).collect::<Vec<_>>(), "it can be opened and read");
}

#[derive(Debug, Default)]
struct Hook {
    calls: AtomicU32,
    failures: AtomicU32,
}

impl BeforeGroup for Hook {
    fn make_durable(&self) -> io::Result<()> {
        self.calls.fetch_add(1, SeqCst);
        if takes_one(&self.failures) { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

#[tokio::test]
async fn what_entries_refer_to_is_durable_before_they_are() {
    let folder = folder();
    let hook = Arc::new(Hook::default());
    let outside = Outside { before_group: Some(Arc::clone(&hook) as Arc<_>), ..outside() };
    let log = SegmentLog::open(folder.path(), strict(), outside).unwrap();
    log.append(records(1..=1)).await.unwrap();
    let calls = hook.calls.load(SeqCst);
    hook.failures.store(2, SeqCst);
    log.append(records(2..=2)).await.unwrap();
    assert_eq!(hook.calls.load(SeqCst), calls + 3);
    assert_eq!(segment_files(folder.path()).len(), 1, "the segment had no failure");
    assert_eq!(numbers(&log).await, (vec![1, 2], true));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_acknowledged_record_is_missing_whatever_the_disk_does() {
    for mode in [Mode::Strict, Mode::Bounded, Mode::Available] {
        let folder = folder();
        let options = Options {
            mode,
            buffer_records_max: 64,
            segment_bytes_max: 60_000,
            full_wait: Duration::from_millis(100),
            ..Options::default()
        };
        let (log, faults) = open_faulty(folder.path(), options);
        let log = Arc::new(log);
        let writing: Vec<_> = (0..4_u64)
            .map(|task| {
                let (log, faults) = (Arc::clone(&log), Arc::clone(&faults));
                tokio::spawn(async move {
                    let mut acknowledged = Vec::new();
                    for at in 0..250 {
                        let number = task * 1000 + at;
                        match (task, at % 50) {
                            (0, 10) => faults.appends.store(1, SeqCst),
                            (1, 20) => faults.syncs.store(1, SeqCst),
                            (2, 30) => faults.sync_ms.store(15, SeqCst),
                            (2, 40) => faults.sync_ms.store(0, SeqCst),
                            _ => {}
                        }
                        if log.append(vec![record(number)]).await.is_ok() {
                            acknowledged.push(number);
                        }
                    }
                    acknowledged
                })
            })
            .collect();
        let mut acknowledged = BTreeSet::new();
        for task in writing {
            acknowledged.extend(task.await.unwrap());
        }
        faults.sync_ms.store(0, SeqCst);
        log.close().await;
        assert!(!faults.was_failed_file_used.load(SeqCst));
        let kept: BTreeSet<_> = numbers(&log).await.0.into_iter().collect();
        let missing = acknowledged.difference(&kept).count() as u64;
        let counted: u64 = gaps(folder.path()).iter().map(|gap| gap.allowed + gap.denied).sum();
        assert_eq!(missing, counted, "{mode:?}: what is missing is counted");
        assert!(mode == Mode::Available || missing == 0);
        assert!(acknowledged.len() > 100);
    }
}
