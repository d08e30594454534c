//! The log as its callers see it, on real files, with disks that fail, fill up and lose bytes.

mod buffer;
mod damage;
mod failing_disk;
mod faulty;
mod modes;
mod power_cut;
mod retention;

use std::{collections::BTreeSet, io, sync::atomic::AtomicU32, time::Instant};

use proptest::prelude::*;
use tempfile::TempDir;

use self::faulty::{Faults, open_faulty, takes_one};
use super::{
    files::{SegmentFile, list_segments},
    frame::{
        Body, FOOTER_FRAME_BYTES, FrameReader, GroupEnd, HEADER_BYTES, Header, PREFIX_BYTES, Step, push_decision,
        push_group,
    },
    *,
};
use crate::{
    app::ports::Clock,
    domain::{
        decision::{Effect, Outcome, Reason},
        decision_record::RecordedSubject,
        id::{EntityId, PolicyVersion, Revision},
        log_event::{Gap, GapCause},
        merkle::{Frontier, leaf_hash},
    },
    storage::small_disk::SmallDisk,
};

const START_US: i64 = 1_700_000_000_000_000;
const ALL: PageRequest = PageRequest { order: Order::OldestFirst, size: usize::MAX, after: None };

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now_us(&self) -> i64 {
        START_US
    }
}

/// A clock that is set, and one beside it that goes on by itself; both in microseconds.
#[derive(Debug)]
struct TwoClocks {
    wall_us: AtomicI64,
    monotonic_us: AtomicI64,
}

impl TwoClocks {
    fn new() -> Arc<Self> {
        Arc::new(Self { wall_us: AtomicI64::new(START_US), monotonic_us: AtomicI64::new(0) })
    }

    fn pass_seconds(&self, seconds: i64) {
        self.set_ahead_seconds(seconds);
        self.monotonic_us.fetch_add(seconds * 1_000_000, SeqCst);
    }

    fn set_ahead_seconds(&self, seconds: i64) {
        self.wall_us.fetch_add(seconds * 1_000_000, SeqCst);
    }
}

impl Clock for TwoClocks {
    fn now_us(&self) -> i64 {
        self.wall_us.load(SeqCst)
    }

    fn monotonic_us(&self) -> i64 {
        self.monotonic_us.load(SeqCst)
    }
}

/// The record of one number; numbers that differ give records that differ in id, time and most other fields.
pub(super) fn record(number: u64) -> DecisionRecord {
    let text = |text: String| Arc::<str>::from(text);
    let time_us = START_US + i64::try_from(number).unwrap() * 1_000_000;
    let id = (u128::try_from(time_us / 1000).unwrap() << 80) | (7 << 76) | (2 << 62) | u128::from(number);
    DecisionRecord {
        id: DecisionId(id),
        time_us,
        outcome: if number.is_multiple_of(3) { Outcome::Allowed } else { Outcome::NotPermitted },
        reasons: vec![Reason::plain(&format!("CODE_{}", number % 5), "A reason.")],
        determining_policies: vec![text(format!("policy-{}", number % 7))],
        action: text(format!("action-{}", number % 2)),
        resource_type: text(format!("type-{}", number % 4)),
        resource_id: text(format!("resource-{}", number % 11)),
        subjects: vec![RecordedSubject {
            attribute: "student".into(),
            entity: EntityId::new("Student", format!("s{}", number % 13)),
            is_pseudonym: true,
            is_proposed: false,
        }],
        principal: Some(EntityId::new("Client", format!("c{}", number % 6))),
        issuer: "https://issuer.example".into(),
        attributes: Arc::default(),
        policy_version: PolicyVersion("d0".into()),
        data_revision: Revision(number),
        request_id: text(format!("request-{number}")),
        duration_us: 1,
        obligations: Vec::new(),
        actor: None,
        client: text(format!("client-{}", number % 3)),
        purpose: Arc::default(),
        kind: RecordKind::Decision,
        facts: Arc::default(),
        caller: Arc::default(),
        adapter: None,
    }
}

pub(super) fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<DecisionRecord> {
    numbers.into_iter().map(record).collect()
}

pub(super) fn strict() -> Options {
    Options { mode: Mode::Strict, ..Options::default() }
}

fn key() -> LogKey {
    LogKey::of_realm(&[1; 32], &"one".parse().unwrap()).unwrap()
}

pub(super) fn outside() -> Outside {
    Outside { clock: Arc::new(StoppedClock), key: key(), before_group: None, index: None }
}

fn open(folder: &Path, options: Options) -> SegmentLog {
    SegmentLog::open(folder, options, outside()).unwrap()
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// The pages of a query, put together, and whether each was complete.
async fn pages(log: &SegmentLog, filter: &RecordFilter, order: Order, size: usize) -> (Vec<LoggedDecision>, bool) {
    let (mut found, mut after, mut is_complete) = (Vec::new(), None, true);
    loop {
        let page = log.query(filter.clone(), PageRequest { order, size, after }).await.unwrap();
        assert!(page.decisions.len() <= size);
        is_complete &= is_whole(&page);
        found.extend(page.decisions);
        after = page.next_after;
        if after.is_none() {
            return (found, is_complete);
        }
    }
}

/// The numbers of all records, as their revisions say, after a check that sequence numbers rise.
async fn numbers(log: &SegmentLog) -> (Vec<u64>, bool) {
    let page = log.query(RecordFilter::default(), ALL).await.unwrap();
    assert!(page.decisions.windows(2).all(|pair| pair[0].sequence < pair[1].sequence));
    (page.decisions.iter().map(|logged| logged.record.data_revision.0).collect(), is_whole(&page))
}

/// Nothing is damaged or unread. A gap is no damage: what was cut or changed may look like the end of a crash.
fn is_whole(page: &RecordPage) -> bool {
    let has = |is: fn(&EventKind) -> bool| page.events.iter().any(|logged| is(&logged.event.kind));
    let (has_gap, has_damage) =
        (has(|kind| matches!(kind, EventKind::Gap(_))), has(|kind| matches!(kind, EventKind::Damage { .. })));
    page.is_complete || (has_gap && !has_damage)
}

/// The kinds of the events that the files of a folder hold, in their order, after a check that every entry has its number
/// and every group and footer says what is there.
fn events(folder: &Path) -> Vec<EventKind> {
    let mut found = Vec::new();
    let mut tree = None::<Frontier>;
    for path in segment_files(folder) {
        let mut file = File::open(&path).unwrap();
        let header = Header::read(&mut file).unwrap().unwrap();
        let mut tree_here = header.before.clone();
        // A segment that was left behind may hold more than its groups that count.
        assert!(tree.is_none_or(|tree| tree.size() >= header.before.size()), "{}", path.display());
        found.retain(|(sequence, _)| *sequence < header.first_sequence());
        let mut frames = FrameReader::new(file, HEADER_BYTES);
        while let Step::Frame { body, bytes, .. } = frames.step().unwrap() {
            if let Some((sequence, _)) = body.entry() {
                assert_eq!(sequence, tree_here.size() + 1);
                tree_here.append(leaf_hash(bytes));
            }
            match body {
                Body::Event { sequence, event } => found.push((sequence, LogEvent::decode(event).unwrap().kind)),
                Body::SealedEvent { sequence, time_us, nonce, sealed } => {
                    let event = key().open_event(time_us, nonce, sealed).unwrap();
                    found.push((sequence, LogEvent::decode(&event).unwrap().kind));
                }
                Body::Group(end) => assert_eq!((end.tree_size, end.root), (tree_here.size(), tree_here.root())),
                Body::Footer(end) => {
                    assert_eq!((end.tree_size, end.root), (tree_here.size(), tree_here.root()));
                    assert_eq!((end.first, end.count), (header.first_sequence(), end.last + 1 - end.first));
                }
                _ => {}
            }
        }
        tree = Some(tree_here);
    }
    found.into_iter().map(|(_, kind)| kind).collect()
}

/// The events but starts and stops.
fn incidents(folder: &Path) -> Vec<EventKind> {
    let is_incident = |kind: &EventKind| !matches!(kind, EventKind::Start { .. } | EventKind::Stop);
    events(folder).into_iter().filter(is_incident).collect()
}

/// A copy of a folder as a process that is killed now would leave it.
fn killed(folder: &Path) -> TempDir {
    let copy = self::folder();
    for path in segment_files(folder) {
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

fn segment_files(folder: &Path) -> Vec<PathBuf> {
    list_segments(folder).unwrap().into_iter().map(|(_, path)| path).collect()
}

/// A header as a strict log writes it.
fn header(before: &Frontier) -> Vec<u8> {
    Header { mode: Mode::Strict.number(), created_us: START_US, before: before.clone() }.encode()
}

#[tokio::test]
async fn records_are_found_in_both_orders_and_in_pages() {
    let folder = folder();
    let options = Options { segment_bytes_max: 40_000, ..Options::default() };
    let log = open(folder.path(), options);
    for start in (1..=1000).step_by(10) {
        log.append(records(start..start + 10)).await.unwrap();
        if start % 100 == 1 {
            assert!(log.flush().await);
        }
    }
    assert!(log.flush().await);
    assert!(segment_files(folder.path()).len() > 2, "the log rotates");
    let logged = |number| LoggedDecision { sequence: number + 1, record: record(number) };
    let expected: Vec<_> = (1..=1000).map(logged).collect();
    for size in [1000, 999, 300, 7] {
        let (oldest_first, is_complete) = pages(&log, &RecordFilter::default(), Order::OldestFirst, size).await;
        assert!(is_complete && oldest_first == expected, "{size}");
        let (mut newest_first, is_complete) = pages(&log, &RecordFilter::default(), Order::NewestFirst, size).await;
        newest_first.reverse();
        assert!(is_complete && newest_first == expected, "{size}");
    }
}

#[tokio::test]
async fn pages_stay_where_they_are_while_records_come_in() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    log.append(records(1..=50)).await.unwrap();
    let (mut newest_first, mut after) = (Vec::new(), None);
    for next in (51..).step_by(5) {
        let page = PageRequest { order: Order::NewestFirst, size: 7, after };
        let page = log.query(RecordFilter::default(), page).await.unwrap();
        newest_first.extend(page.decisions.iter().map(|logged| logged.sequence));
        log.append(records(next..next + 5)).await.unwrap();
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    assert!(newest_first.iter().copied().eq((2..=51).rev()), "{newest_first:?}");
    let page = PageRequest { order: Order::OldestFirst, size: 100, after: Some(48) };
    let page = log.query(RecordFilter::default(), page).await.unwrap();
    assert_eq!(page.decisions.first().map(|logged| logged.sequence), Some(49), "later records follow earlier ones");
}

#[tokio::test]
async fn a_full_page_that_is_the_last_says_so() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    log.append(records(1..=10)).await.unwrap();
    for (size, expected) in [(9, Some(10)), (10, None), (11, None)] {
        let page = log.query(RecordFilter::default(), PageRequest { size, ..ALL }).await.unwrap();
        assert_eq!(page.next_after, expected, "{size}");
    }
}

#[tokio::test]
async fn each_filter_finds_what_it_matches_and_nothing_else() {
    let folder = folder();
    let log = open(folder.path(), Options { segment_bytes_max: 60_000, ..Options::default() });
    // Times out of order, so that chunks overlap.
    let all: Vec<_> = (0..1500).map(|at| record((at * 7) % 1500)).collect();
    for part in all.chunks(100) {
        log.append(part.to_vec()).await.unwrap();
    }
    let at = |number: i64| Some(START_US + number * 1_000_000);
    let none = RecordFilter::default;
    let student = EntityId::new("Student", "s4");
    for filter in [
        none(),
        RecordFilter { from_us: at(1490), ..none() },
        RecordFilter { until_us: at(3), ..none() },
        RecordFilter { from_us: at(700), until_us: at(702), ..none() },
        RecordFilter { from_us: at(9000), ..none() },
        RecordFilter { principal: Some("c3".into()), ..none() },
        RecordFilter { entities: vec![student.clone()], ..none() },
        RecordFilter { entities: vec![student, EntityId::new("Student", "s5")], ..none() },
        RecordFilter { resource_type: Some("type-2".into()), ..none() },
        RecordFilter { resource_ids: vec!["resource-1".into(), "resource-2".into()], ..none() },
        RecordFilter { action: Some("action-1".into()), ..none() },
        RecordFilter { effect: Some(Effect::Allow), ..none() },
        RecordFilter { outcome: Some(Outcome::NotPermitted), ..none() },
        RecordFilter { reason: Some("CODE_4".into()), ..none() },
        RecordFilter { policy: Some("policy-6".into()), ..none() },
        RecordFilter { request_id: Some("request-77".into()), ..none() },
        RecordFilter { action: Some("action-0".into()), effect: Some(Effect::Deny), from_us: at(1000), ..none() },
    ] {
        let expected: Vec<_> = all.iter().filter(|record| filter.matches(record)).collect();
        for (order, size) in [(Order::OldestFirst, 10_000), (Order::OldestFirst, 50), (Order::NewestFirst, 50)] {
            let (mut found, is_complete) = pages(&log, &filter, order, size).await;
            if order == Order::NewestFirst {
                found.reverse();
            }
            assert!(
                is_complete && found.iter().map(|logged| &logged.record).eq(expected.iter().copied()),
                "{filter:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_record_is_found_by_its_id_also_when_the_ids_time_is_wrong() {
    let folder = folder();
    let log = open(folder.path(), Options { segment_bytes_max: 50_000, ..Options::default() });
    let mut given = records(1..=1000);
    given[400].id = DecisionId(42);
    log.append(given.clone()).await.unwrap();
    for at in [0, 400, 700, 999] {
        let found = log.get(given[at].id).await.unwrap();
        assert_eq!(found.map(|logged| logged.record), Some(given[at].clone()));
    }
    assert_eq!(log.get(record(2000).id).await.unwrap(), None);
}

#[tokio::test]
async fn a_log_goes_on_where_it_was_closed() {
    let folder = folder();
    for run in 0..4 {
        let log = open(folder.path(), Options { segment_bytes_max: 9000, ..Options::default() });
        log.append(records(run * 20 + 1..=run * 20 + 20)).await.unwrap();
        log.close().await;
        assert!(!log.is_writable());
        let error = log.append(records(1..2)).await.unwrap_err();
        assert!(matches!(error, LogError::Unavailable(_)), "{error}");
        drop(log);
    }
    let log = open(folder.path(), Options::default());
    assert_eq!(numbers(&log).await, ((1..=80).collect(), true));
    let page = log.query(RecordFilter::default(), ALL).await.unwrap();
    // Each run has a start in front of its twenty records, and a stop behind them.
    let expected = (0..4).flat_map(|run| run * 22 + 2..run * 22 + 22);
    assert!(page.decisions.iter().map(|logged| logged.sequence).eq(expected));
}

#[tokio::test]
async fn a_folder_has_one_writer() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    let error = SegmentLog::open(folder.path(), Options::default(), outside()).unwrap_err();
    assert!(error.to_string().contains(&folder.path().display().to_string()), "{error}");
    assert!(error.to_string().contains(&format!("in use by process {}", std::process::id())), "{error}");
    log.close().await;
    drop(open(folder.path(), Options::default()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_appends_get_dense_numbers_in_the_order_in_which_they_happened() {
    for options in [Options { segment_bytes_max: 100_000, ..Options::default() }, strict()] {
        let folder = folder();
        let log = Arc::new(open(folder.path(), options));
        let (tasks, each) = if options.mode == Mode::Strict { (64, 20) } else { (8, 1000) };
        let running: Vec<_> = (0..tasks)
            .map(|task| {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    for at in 0..each {
                        log.append(vec![record(task * each + at)]).await.unwrap();
                    }
                })
            })
            .collect();
        for task in running {
            task.await.unwrap();
        }
        let page = log.query(RecordFilter::default(), ALL).await.unwrap();
        assert!(page.decisions.iter().map(|logged| logged.sequence).eq(2..=tasks * each + 1));
        let order: Vec<_> = page.decisions.iter().map(|logged| logged.record.data_revision.0).collect();
        assert_eq!(order.iter().collect::<BTreeSet<_>>().len(), order.len(), "each once");
        for task in 0..tasks {
            let own: Vec<_> = order.iter().filter(|number| *number / each == task).collect();
            assert!(own.is_sorted(), "one task's records are in its order");
        }
    }
}

#[tokio::test]
async fn a_strict_append_returns_when_its_record_is_in_the_file() {
    let folder = folder();
    let log = open(folder.path(), strict());
    for number in 1..=20 {
        log.append(vec![record(number)]).await.unwrap();
        let bytes = std::fs::read(&segment_files(folder.path())[0]).unwrap();
        let mut frames = FrameReader::new(&bytes[4096..], HEADER_BYTES);
        let (mut last, mut last_group) = (None, 0);
        loop {
            match frames.step().unwrap() {
                Step::Frame { body: Body::Decision { id, time_us, sealed, .. }, .. } => {
                    let opened = key().open_decision(id, time_us, sealed).unwrap();
                    last = Some(DecisionRecord::decode(&opened));
                }
                Step::Frame { body: Body::Group(end), .. } => last_group = end.last,
                Step::Frame { .. } => {}
                Step::Bad { .. } => panic!("expected whole frames"),
                Step::End => break,
            }
        }
        assert_eq!((last, last_group), (Some(Ok(record(number))), number + 1));
    }
}

#[tokio::test]
async fn a_bounded_append_is_on_disk_soon_without_being_asked() {
    let folder = folder();
    let log = open(folder.path(), Options::default());
    log.append(records(1..=3)).await.unwrap();
    let started = Instant::now();
    while log.shared.buffer.written() < 3 {
        tokio::task::yield_now().await;
        assert!(started.elapsed() < Duration::from_secs(5), "the writer does not come");
    }
}
