//! The index against the raw log: whatever happened to it, an answer is what reading everything gives.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc, time::Instant};

use proptest::{prelude::*, strategy::ValueTree as _, test_runner::TestRunner};
use tempfile::TempDir;

use super::{
    frame::{FrameReader, HEADER_BYTES, Step},
    scan::Entry,
    *,
};
use crate::{
    app::ports::Clock,
    domain::{
        decision::{Effect, Outcome, Reason},
        decision_record::{RecordKind, RecordedSubject},
        id::{EntityId, PolicyVersion, Revision},
        log_event::{Gap, GapCause, LoggedEvent},
        value::{Attributes, Value},
    },
};

const START_US: i64 = 1_700_000_000_000_000;

#[derive(Debug)]
struct StoppedClock;

impl Clock for StoppedClock {
    fn now_us(&self) -> i64 {
        START_US
    }
}

struct Folders {
    folder: TempDir,
}

impl Folders {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn index(&self) -> std::path::PathBuf {
        self.folder.path().join("index")
    }

    fn log(&self) -> std::path::PathBuf {
        self.folder.path().join("log")
    }

    /// A log of many small segments and blocks.
    fn open(&self) -> SegmentLog {
        let options = Options { segment_bytes_max: 30_000, block_entries_max: 16, ..Options::default() };
        SegmentLog::open(&self.log(), options, self.outside()).unwrap()
    }

    fn outside(&self) -> Outside {
        Outside { clock: Arc::new(StoppedClock), key: key(), before_group: None, index: Some(self.index()) }
    }

    /// Every entry that stands in the segments, read without the index.
    fn raw(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (_, path) in files::list_segments(&self.log()).unwrap() {
            let bytes = fs::read(path).unwrap();
            let mut frames = FrameReader::new(&bytes[4096..], HEADER_BYTES);
            loop {
                match frames.step().unwrap() {
                    Step::Frame { body, .. } => entries.extend(Entry::open(&body, &key())),
                    Step::Bad { .. } => panic!("a good log"),
                    Step::End => break,
                }
            }
        }
        entries
    }

    fn files(&self) -> Vec<std::path::PathBuf> {
        let files = |folder: &Path| -> Vec<_> {
            let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
            entries.filter(|path| path.is_file()).collect()
        };
        [files(&self.index()), files(&self.index().join("catalogue"))].concat()
    }
}

fn key() -> LogKey {
    LogKey::of_realm(&[1; 32], &"one".parse().unwrap()).unwrap()
}

/// What differs from record to record, drawn from few values so that conditions meet.
#[derive(Clone, Debug)]
struct Drawn {
    seconds: i64,
    outcome: usize,
    texts: Vec<u8>,
    entities: Vec<u8>,
    attribute: Option<u8>,
    is_reading: bool,
}

fn drawn() -> impl Strategy<Value = Drawn> {
    let texts = prop::collection::vec(0..4_u8, 9);
    let entities = prop::collection::vec(0..8_u8, 0..4);
    (0..50_i64, 0..5_usize, texts, entities, prop::option::of(0..8_u8), any::<bool>()).prop_map(
        |(seconds, outcome, texts, entities, attribute, is_reading)| Drawn {
            seconds,
            outcome,
            texts,
            entities,
            attribute,
            is_reading,
        },
    )
}

fn text(name: &str, number: u8) -> Arc<str> {
    if number == 0 { Arc::default() } else { format!("{name}-{number}").into() }
}

fn entity(number: u8) -> EntityId {
    EntityId::new(["Student", "School"][usize::from(number % 2)], format!("e{number}"))
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Allowed, Outcome::NotPermitted, Outcome::Forbidden, Outcome::Indeterminate, Outcome::Unauthenticated];

fn record(number: u64, drawn: &Drawn) -> DecisionRecord {
    let time_us = START_US + drawn.seconds * 1_000_000;
    let id = (u128::try_from(time_us / 1000).unwrap() << 80) | (7 << 76) | (2 << 62) | u128::from(number);
    let optional = |name: &str, at: usize| {
        (drawn.texts[at] > 0).then(|| EntityId { entity_type: "Client".into(), id: text(name, drawn.texts[at]) })
    };
    let nested = |number: u8| Value::List(vec![Value::Long(1), Value::Entity(entity(number))]);
    let attributes: Attributes = drawn.attribute.iter().map(|number| (Arc::from("schools"), nested(*number))).collect();
    DecisionRecord {
        id: DecisionId(id),
        time_us,
        outcome: OUTCOMES[drawn.outcome],
        reasons: (0..drawn.texts[0]).map(|at| Reason::plain(&format!("CODE_{at}"), "A reason.")).collect(),
        determining_policies: (0..drawn.texts[1]).map(|at| text("policy", at + 1)).collect(),
        action: text("action", drawn.texts[2]),
        resource_type: text("type", drawn.texts[3]),
        resource_id: text("id", drawn.texts[4]),
        subjects: drawn
            .entities
            .iter()
            .map(|number| RecordedSubject {
                attribute: "a".into(),
                entity: entity(*number),
                is_pseudonym: true,
                is_proposed: false,
            })
            .collect(),
        principal: optional("principal", 5),
        issuer: Arc::default(),
        attributes: Arc::new(attributes),
        policy_version: PolicyVersion("d0".into()),
        data_revision: Revision(number),
        request_id: text("request", drawn.texts[6]),
        duration_us: 1,
        obligations: Vec::new(),
        actor: optional("actor", 7),
        client: text("client", drawn.texts[8]),
        purpose: Arc::default(),
        kind: if drawn.is_reading { RecordKind::Reading } else { RecordKind::Decision },
        facts: Arc::default(),
        caller: Arc::default(),
        adapter: None,
    }
}

/// A filter with the conditions that the mask chooses, on values that records may have.
fn filter() -> impl Strategy<Value = RecordFilter> {
    (any::<u16>(), any::<u16>(), drawn()).prop_map(|(first, second, drawn)| {
        // Two masks: few conditions are more telling than many.
        let has = |bit: u16| first & second & (1 << bit) != 0;
        let example = record(1, &drawn);
        let at = |seconds: i64| Some(START_US + seconds * 1_000_000);
        RecordFilter {
            from_us: if has(0) { at(drawn.seconds) } else { None },
            until_us: if has(1) { at(drawn.seconds + i64::from(drawn.texts[0]) * 7) } else { None },
            principal: example.principal.map(|entity| entity.id).filter(|_| has(2)),
            entities: if has(3) {
                drawn.entities.iter().take(2).map(|number| entity(*number)).collect()
            } else {
                vec![]
            },
            resource_type: Some(example.resource_type).filter(|_| has(4)),
            resource_ids: if has(5) { vec![example.resource_id, "id-1".into()] } else { vec![] },
            action: Some(example.action).filter(|_| has(6)),
            effect: has(7).then_some(if drawn.outcome > 2 { Effect::Allow } else { Effect::Deny }),
            outcome: has(8).then_some(example.outcome),
            reason: has(9).then(|| format!("CODE_{}", drawn.texts[0]).into()),
            policy: has(10).then(|| text("policy", drawn.texts[1])),
            request_id: Some(example.request_id).filter(|_| has(11)),
            client: Some(example.client).filter(|_| has(12)),
            actor: example.actor.map(|entity| entity.id).filter(|_| has(13)),
            kind: has(14).then_some(example.kind),
        }
    })
}

async fn pages(log: &SegmentLog, filter: &RecordFilter, order: Order, size: usize) -> (Vec<LoggedDecision>, bool) {
    let (mut found, mut after, mut is_complete) = (Vec::new(), None, true);
    loop {
        let page = log.query(filter.clone(), PageRequest { order, size, after }).await.unwrap();
        assert!(page.decisions.len() <= size);
        is_complete &= page.is_complete;
        found.extend(page.decisions);
        after = page.next_after;
        if after.is_none() {
            return (found, is_complete);
        }
    }
}

/// The answers to a filter, in both orders and in pages, are what reading everything gives.
async fn check(log: &SegmentLog, raw: &[Entry], filter: &RecordFilter, size: usize) {
    let matching = raw.iter().filter_map(|entry| match entry {
        Entry::Decision(logged) => filter.matches(&logged.record).then_some(logged),
        Entry::Event(_) => None,
    });
    let expected: Vec<_> = matching.cloned().collect();
    let (oldest_first, is_complete) = pages(log, filter, Order::OldestFirst, size).await;
    assert!(is_complete, "{filter:?}");
    assert_eq!(oldest_first, expected, "{filter:?} {size}");
    let (mut newest_first, _) = pages(log, filter, Order::NewestFirst, size).await;
    newest_first.reverse();
    assert_eq!(newest_first, expected, "{filter:?} {size}");
}

async fn caught_up(log: &SegmentLog) {
    let started = Instant::now();
    assert!(log.flush().await);
    while !log.index.is_caught_up() {
        tokio::task::yield_now().await;
        assert!(started.elapsed() < Duration::from_secs(60), "the index does not come");
    }
}

fn clock_change(number: u64) -> EventKind {
    EventKind::ClockChange { before_us: 0, after_us: i64::try_from(number).unwrap() }
}

/// Appends records with an event here and there.
async fn fill(log: &SegmentLog, first: u64, all: &[Drawn]) {
    for (at, part) in all.chunks(23).enumerate() {
        let first = first + at as u64 * 23;
        let records = part.iter().zip(first..).map(|(drawn, number)| record(number, drawn));
        log.append(records.collect()).await.unwrap();
        if at % 3 == 1 {
            log.note(clock_change(first)).await.unwrap();
        }
    }
}

fn sample(count: usize) -> Vec<Drawn> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| drawn().new_tree(&mut runner).unwrap().current()).collect()
}

fn filters(count: usize) -> Vec<RecordFilter> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(|_| filter().new_tree(&mut runner).unwrap().current()).collect()
}

fn run(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(work);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn an_answer_is_what_reading_the_whole_log_gives(
        records in prop::collection::vec(drawn(), 0..300),
        filters in prop::collection::vec((filter(), 1..40_usize), 40),
    ) {
        run(async {
            let folders = Folders::new();
            let log = folders.open();
            fill(&log, 1, &records).await;
            assert!(log.flush().await);
            let raw = folders.raw();
            // While it is being indexed, when it is, and after a restart.
            for (filter, size) in filters.iter().take(8) {
                check(&log, &raw, filter, *size).await;
            }
            caught_up(&log).await;
            for (filter, size) in &filters {
                check(&log, &raw, filter, *size).await;
            }
            log.close().await;
            drop(log);
            let log = folders.open();
            caught_up(&log).await;
            for (filter, size) in &filters {
                check(&log, &folders.raw(), filter, *size).await;
            }
        });
    }
}

/// All pages of a question, each ended by its length in bytes or by its size.
async fn pages_within(log: &SegmentLog, filter: &RecordFilter, order: Order, most_bytes: usize) -> Vec<Vec<u64>> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (filter, page) = (filter.clone(), PageRequest { order, size: 40, after });
        let read = move |index: &Index, key: &LogKey| Ok(reader::query_within(index, key, &filter, page, most_bytes));
        let page = log.read(read).await.unwrap().page;
        assert!(page.is_complete && (page.next_after.is_none() || !page.decisions.is_empty()));
        all.push(page.decisions.iter().map(|logged| logged.sequence).collect());
        after = page.next_after;
        if after.is_none() {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_that_end_for_their_length_lose_nothing() {
    let folders = Folders::new();
    let log = folders.open();
    fill(&log, 1, &sample(300)).await;
    assert!(log.flush().await);
    let raw = folders.raw();
    // Read from the segments, and by the index.
    for _ in 0..2 {
        for (filter, most_bytes) in filters(12).iter().zip([1, 500, 3_000, 20_000].into_iter().cycle()) {
            let expected: Vec<u64> = raw
                .iter()
                .filter_map(|entry| match entry {
                    Entry::Decision(logged) => filter.matches(&logged.record).then_some(logged.sequence),
                    Entry::Event(_) => None,
                })
                .collect();
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let pages = pages_within(&log, filter, order, most_bytes).await;
                assert!(most_bytes > 1 || pages.iter().all(|page| page.len() <= 1), "{filter:?} {pages:?}");
                let mut found = pages.concat();
                if order == Order::NewestFirst {
                    found.reverse();
                }
                assert_eq!(found, expected, "{filter:?} {order:?} {most_bytes}");
            }
        }
        caught_up(&log).await;
    }
    let everything = pages_within(&log, &RecordFilter::default(), Order::NewestFirst, 3_000).await;
    assert!(everything.len() > 300 / 40 + 2, "the bytes end pages before the size does");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_found_by_its_id_wherever_it_is() {
    let folders = Folders::new();
    let log = folders.open();
    let all = sample(300);
    fill(&log, 1, &all).await;
    for _ in 0..2 {
        for number in [1, 17, 150, 299, 300] {
            let expected = record(number, &all[usize::try_from(number).unwrap() - 1]);
            assert_eq!(log.get(expected.id).await.unwrap().map(|logged| logged.record), Some(expected));
        }
        assert_eq!(log.get(DecisionId(7)).await.unwrap(), None);
        caught_up(&log).await;
        assert!(log.index.blocks() > 10, "{}", log.index.blocks());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_stay_where_they_are_while_the_log_grows_and_is_indexed() {
    let folders = Folders::new();
    let log = folders.open();
    fill(&log, 1, &sample(200)).await;
    let last = log.status().entries;
    let (mut seen, mut after, mut number) = (Vec::new(), None, 201);
    loop {
        let page = PageRequest { order: Order::NewestFirst, size: 7, after };
        let page = log.query(RecordFilter::default(), page).await.unwrap();
        seen.extend(page.decisions.iter().map(|logged| logged.sequence).filter(|sequence| *sequence <= last));
        fill(&log, number, &sample(30)).await;
        number += 30;
        after = page.next_after;
        if after.is_none() {
            break;
        }
    }
    let decisions = folders.raw().into_iter().filter_map(|entry| match entry {
        Entry::Decision(logged) if logged.sequence <= last => Some(logged.sequence),
        _ => None,
    });
    seen.reverse();
    assert_eq!(seen, decisions.collect::<Vec<_>>());
}

/// A log with an index that is then changed while nobody has it open, or while it is.
async fn survives(what: impl Fn(&Folders)) {
    let folders = Folders::new();
    let log = folders.open();
    fill(&log, 1, &sample(300)).await;
    caught_up(&log).await;
    log.close().await;
    drop(log);
    what(&folders);
    let log = folders.open();
    let raw = folders.raw();
    let questions = filters(25);
    for filter in &questions {
        check(&log, &raw, filter, 20).await;
    }
    caught_up(&log).await;
    for filter in &questions {
        check(&log, &raw, filter, 20).await;
    }
    caught_up(&log).await;
    assert!(log.index.blocks() > 10, "it is made again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_index_is_made_again() {
    survives(|folders| fs::remove_dir_all(folders.index()).unwrap()).await;
    survives(|folders| fs::remove_dir_all(folders.index().join("catalogue")).unwrap()).await;
    survives(|folders| {
        for path in folders.files().into_iter().filter(|path| path.extension().is_some()) {
            fs::remove_file(path).unwrap();
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_file_that_is_missing_is_made_again() {
    survives(|folders| {
        let files = folders.files();
        let file = files.iter().filter(|path| path.extension().is_some_and(|end| end == "idx")).nth(3);
        fs::remove_file(file.unwrap()).unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bytes_in_the_index_change_no_answer() {
    for seed in [3, 1009, 5003] {
        survives(|folders| {
            for (at, path) in folders.files().iter().enumerate() {
                let mut bytes = fs::read(path).unwrap();
                let length = bytes.len().max(1);
                for place in [seed * (at + 1), seed * 7 * (at + 3)] {
                    bytes.get_mut(place % length).into_iter().for_each(|byte| *byte ^= 0x11);
                }
                fs::write(path, bytes).unwrap();
            }
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_changes_while_it_is_in_use_changes_no_answer() {
    let folders = Folders::new();
    let log = folders.open();
    fill(&log, 1, &sample(300)).await;
    caught_up(&log).await;
    let raw = folders.raw();
    for path in folders.files().iter().filter(|path| path.extension().is_some_and(|end| end == "idx")) {
        let mut bytes = fs::read(path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..].iter_mut().for_each(|byte| *byte ^= 1);
        fs::write(path, bytes).unwrap();
    }
    for filter in filters(40) {
        check(&log, &raw, &filter, 20).await;
    }
    caught_up(&log).await;
    for filter in filters(40) {
        check(&log, &raw, &filter, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_that_was_cut_off_while_it_was_built_goes_on() {
    let folders = Folders::new();
    let log = folders.open();
    fill(&log, 1, &sample(300)).await;
    log.close().await;
    drop(log);
    fs::remove_dir_all(folders.index()).unwrap();
    // Each run ends wherever its thread is just then.
    for _ in 0..20 {
        drop(folders.open());
    }
    let log = folders.open();
    caught_up(&log).await;
    for filter in filters(40) {
        check(&log, &folders.raw(), &filter, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_index_of_another_log_is_not_believed() {
    let (one, other) = (Folders::new(), Folders::new());
    for (folders, count) in [(&one, 300), (&other, 280)] {
        let log = folders.open();
        let mut all = sample(count);
        all.reverse();
        fill(&log, 1, &all).await;
        caught_up(&log).await;
        log.close().await;
    }
    fs::remove_dir_all(one.index()).unwrap();
    fs::rename(other.index(), one.index()).unwrap();
    let log = one.open();
    let raw = one.raw();
    for filter in filters(40) {
        check(&log, &raw, &filter, 20).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_told_by_the_pages_that_span_them_each_once() {
    let folders = Folders::new();
    let log = folders.open();
    fill(&log, 1, &sample(300)).await;
    let expected: Vec<_> = folders
        .raw()
        .into_iter()
        .filter_map(|entry| match entry {
            Entry::Event(logged) if !matches!(logged.event.kind, EventKind::Start { .. } | EventKind::Stop) => {
                Some(logged)
            }
            _ => None,
        })
        .collect();
    assert!(expected.len() > 3);
    for _ in 0..2 {
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let (mut told, mut after): (Vec<LoggedEvent>, _) = (Vec::new(), None);
            loop {
                let filter = RecordFilter { kind: Some(RecordKind::Reading), ..RecordFilter::default() };
                let page = log.query(filter, PageRequest { order, size: 11, after }).await.unwrap();
                assert!(page.is_complete);
                told.extend(page.events);
                after = page.next_after;
                if after.is_none() {
                    break;
                }
            }
            told.sort_by_key(|logged| logged.sequence);
            assert_eq!(told, expected, "{order:?}");
        }
        caught_up(&log).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_makes_incomplete_what_asks_about_its_time_wherever_it_was_kept() {
    let folders = Folders::new();
    let log = folders.open();
    let at = |seconds: i64| START_US + seconds * 1_000_000;
    fill(&log, 1, &sample(100)).await;
    let gap = Gap { from_us: at(10), until_us: at(12), cause: GapCause::Dropped, allowed: 3, denied: 1 };
    let sequence = log.note(EventKind::Gap(gap)).await.unwrap();
    fill(&log, 101, &sample(100)).await;
    for _ in 0..2 {
        for (from, until, is_complete) in [
            (None, None, false),
            (Some(at(0)), Some(at(10)), true),
            (Some(at(12)), None, false),
            (Some(at(13)), None, true),
            (None, Some(at(11)), false),
        ] {
            let filter = RecordFilter { from_us: from, until_us: until, ..RecordFilter::default() };
            for order in [Order::OldestFirst, Order::NewestFirst] {
                let page = log.query(filter.clone(), PageRequest { order, size: 1000, after: None }).await.unwrap();
                assert_eq!(page.is_complete, is_complete, "{from:?} {until:?}");
                let is_told = page.events.iter().any(|logged| logged.sequence == sequence);
                assert!(is_told || is_complete, "{from:?} {until:?}");
            }
            let first =
                log.query(filter, PageRequest { order: Order::OldestFirst, size: 1, after: None }).await.unwrap();
            assert_eq!(first.is_complete, is_complete || from.is_none() && until.is_none());
        }
        caught_up(&log).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_gets_everything_that_matches_once_and_goes_on_where_he_was() {
    let folders = Folders::new();
    let log = Arc::new(folders.open());
    let filter = RecordFilter { effect: Some(Effect::Deny), ..RecordFilter::default() };
    let follower = tokio::spawn({
        let (log, filter) = (Arc::clone(&log), filter.clone());
        async move {
            let (mut seen, mut events, mut after) = (Vec::new(), BTreeSet::new(), 0);
            // The log is closed at the end.
            while let Ok(page) = log.follow(after, filter.clone()).await {
                assert!(page.next_after.unwrap() > after);
                after = page.next_after.unwrap();
                seen.extend(page.decisions);
                events.extend(page.events.into_iter().map(|logged| logged.sequence));
            }
            (seen, events.len())
        }
    });
    for number in 0..20 {
        fill(&log, number * 50 + 1, &sample(50)).await;
        tokio::task::yield_now().await;
    }
    log.close().await;
    let (seen, events) = follower.await.unwrap();
    let raw = folders.raw();
    let expected = raw.iter().filter_map(|entry| match entry {
        Entry::Decision(logged) => filter.matches(&logged.record).then_some(logged),
        Entry::Event(_) => None,
    });
    assert!(seen.iter().eq(expected));
    assert_eq!(events, 20);
}
