//! Importing a state durably, and starting again with it.

use std::{
    env,
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use hallpass::server::Service;
use tokio::runtime::Runtime;

use crate::{
    measure::{Goal, Report, info, resident_bytes},
    service,
    state::State,
};

/// The word that makes this program open a folder and say what that took, in a process of its own.
pub(crate) const START: &str = "start-in";

const STUDENTS: usize = 1_000_000;
const LINES_A_MESSAGE: usize = 1_000;

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let (lines, kept, taken) = Runtime::new().unwrap().block_on(import(folder.path()));
    report.goal("import_records_per_s", lines as f64 / taken.as_secs_f64(), Goal::AtLeast(100_000.0));
    info("import_kept_records_per_s", kept as f64 / taken.as_secs_f64());
    let started = Command::new(env::current_exe().unwrap()).arg(START).arg(folder.path()).output().unwrap();
    assert!(started.status.success(), "{}", String::from_utf8_lossy(&started.stderr));
    let figures = String::from_utf8(started.stdout).unwrap();
    let figures: Vec<f64> = figures.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    let [seconds, bytes]: [f64; 2] = figures.try_into().unwrap();
    info("start_1m_students_s", seconds);
    info("memory_bytes_per_student", bytes / STUDENTS as f64);
}

/// The number of lines, of those that are kept, and the time from the first line to the durable last one.
async fn import(folder: &Path) -> (usize, usize, Duration) {
    let service = Service::open(&service::config(folder, Vec::new())).await.unwrap();
    let app = Arc::clone(service.app());
    let realm = Arc::clone(app.realm(service::REALM).unwrap());
    let state = State { students: STUDENTS };
    let mut import = app.import(service::REALM).unwrap();
    let (mut lines, mut kept, mut taken) = (0, 0, Duration::ZERO);
    for (resource, count, record) in state.records() {
        for first in (0..count).step_by(LINES_A_MESSAGE) {
            let message: Vec<String> =
                (first..count.min(first + LINES_A_MESSAGE)).map(|place| record(state, place)).collect();
            let start = Instant::now();
            import.push(resource, &message).await.unwrap();
            taken += start.elapsed();
        }
        lines += count;
        kept += if realm.policies().realm.relations.keeps(resource) { count } else { 0 };
    }
    let start = Instant::now();
    let summary = import.finish().await.unwrap();
    taken += start.elapsed();
    assert_eq!((summary.accepted, summary.changed, summary.refused), (lines as u64, kept as u64, 0));
    service.close().await.unwrap();
    (lines, kept, taken)
}

/// Opens a folder and prints the seconds until decisions can be made, and the bytes that the process has grown by: the
/// relationships in memory, the store's page cache, and what the allocator keeps for later.
pub(crate) fn start(folder: &str) {
    let runtime = Runtime::new().unwrap();
    let before = resident_bytes();
    let start = Instant::now();
    let service = runtime.block_on(Service::open(&service::config(Path::new(folder), Vec::new()))).unwrap();
    let seconds = start.elapsed().as_secs_f64();
    let grown = resident_bytes() - before;
    assert!(service.app().realm(service::REALM).unwrap().graph().counts().entities > STUDENTS);
    let held = Arc::downgrade(service.app());
    drop(service);
    assert_eq!(held.strong_count(), 0, "nothing else holds the service");
    println!("{seconds} {grown}");
}
