//! What the decision log costs: sealing, hashing, writing and indexing a record, in every thread that has a part in it;
//! and what checking it from its files alone costs.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use hallpass::{
    app::ports::DecisionLog as _,
    domain::{decision_record::DecisionRecord, signed_note::VerifierKey},
    provider::clock::SystemClock,
    storage::segment_log::{
        LogKey, Options, Outside, SegmentLog, Signing,
        verify::{Trusted, verify},
    },
};
use tokio::runtime::Runtime;

use self::records::Generator;
use crate::measure::{Goal, Report, info, median, process_us};

#[path = "../../examples/decision_log_figures/records.rs"]
mod records;

/// Records of a round: several blocks of the index.
const RECORDS: usize = 200_000;
const ROUNDS: usize = 5;
/// After so many records a look at the buffer.
const AT_ONCE: usize = 64;
/// More than so many records do not wait for the writer: half of what the buffer takes.
const WAITING_MAX: u64 = 32_768;

/// How many records a core takes and indexes, and how many it verifies.
pub(crate) fn run(report: &mut Report) {
    let Figures { record_us, records_per_s, verified_us } = measure();
    report.goal("log_records_per_s_of_one_core", 1e6 / record_us, Goal::AtLeast(100_000.0));
    report.goal("log_verified_records_per_s_of_one_core", 1e6 / verified_us, Goal::AtLeast(500_000.0));
    info("log_us_a_record", record_us);
    info("log_records_per_s_here", records_per_s);
}

/// What a record costs.
pub(crate) struct Figures {
    /// Processor time of all threads, in microseconds.
    pub(crate) record_us: f64,
    /// How many a second were taken and indexed.
    pub(crate) records_per_s: f64,
    /// Processor time of checking one from the log's files, in microseconds.
    pub(crate) verified_us: f64,
}

/// Appends records one by one, as decisions do, and waits until they are on disk and indexed.
pub(crate) fn measure() -> Figures {
    let folder = tempfile::tempdir().unwrap();
    let runtime = Runtime::new().unwrap();
    let log = open(folder.path());
    let mut generator = Generator::new((RECORDS * (ROUNDS + 1)) as u64);
    let (mut us, mut per_s) = (Vec::new(), Vec::new());
    for round in 0..=ROUNDS {
        let records: Vec<DecisionRecord> = (0..RECORDS).map(|_| generator.next_record()).collect();
        let (started, before_us) = (Instant::now(), process_us());
        runtime.block_on(async {
            for (at, record) in records.into_iter().enumerate() {
                append(&log, record).await;
                while at % AT_ONCE == 0 && log.status().waiting > WAITING_MAX {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            while log.status().waiting > 0 || !log.is_indexed() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        if round > 0 {
            us.push((process_us() - before_us) / RECORDS as f64);
            per_s.push(RECORDS as f64 / started.elapsed().as_secs_f64());
        }
    }
    runtime.block_on(log.close());
    let verified_us = verified_us(folder.path(), log.verifier_keys());
    Figures { record_us: median(&us), records_per_s: median(&per_s), verified_us }
}

/// What it costs to verify a record, of all that were appended.
fn verified_us(folder: &Path, keys: Vec<VerifierKey>) -> f64 {
    let trusted = Trusted { keys, checkpoints: Vec::new() };
    let us = (0..ROUNDS).map(|_| {
        let before_us = process_us();
        let report = verify(&folder.join("log"), &trusted).unwrap();
        let all = (RECORDS * (ROUNDS + 1)) as u64;
        assert!(report.findings.is_empty() && report.decisions == all && report.covered >= all, "{report:?}");
        (process_us() - before_us) / report.decisions as f64
    });
    median(&us.collect::<Vec<_>>())
}

/// Nobody decides anything between two records here, so the buffer is kept from filling up.
async fn append(log: &SegmentLog, record: DecisionRecord) {
    log.append(vec![record]).await.unwrap();
}

fn open(folder: &Path) -> SegmentLog {
    let key = LogKey::of_realm(&[7; 32], &"bench".parse().unwrap()).unwrap();
    let index = Some(folder.join("index"));
    let outside = Outside { clock: Arc::new(SystemClock), key, before_group: None, index };
    let log = SegmentLog::open(&folder.join("log"), Options::default(), outside).unwrap();
    log.sign(Signing { seeds: vec![[9; 32]], origin: None, origin_default: "bench.example/log".into(), kept: None })
        .unwrap();
    log
}
