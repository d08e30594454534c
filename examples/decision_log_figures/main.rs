//! Fills a decision log as a state's would fill in a year, and asks what auditors ask.
//!
//! `cargo run --release --example decision_log_figures -- [--records 10000000] [--folder DIR]` writes a log to a folder
//! (a temporary one without `--folder`; a folder that has a log already is asked as it is), then prints how fast records
//! were taken and indexed, and of each question how long the first page and the whole answer took, with the files' pages
//! dropped from the kernel's cache before and with them there.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "an example stops when something fails, and prints figures"
)]

mod questions;
mod records;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use hallpass::{
    app::ports::DecisionLog as _,
    domain::record_filter::{Order, PageRequest, RecordFilter},
    provider::clock::SystemClock,
    storage::segment_log::{LogKey, Options, Outside, SegmentLog},
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PART: u64 = 500;

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let value = |name: &str| arguments.iter().position(|word| word == name).and_then(|at| arguments.get(at + 1));
    let count: u64 = value("--records").map_or(10_000_000, |text| text.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let folder = value("--folder").map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = open(&folder);
        if log.status().entries < count {
            fill(&log, count).await;
        }
        println!("bytes in segments: {}", bytes_in(&folder.join("log")));
        println!("bytes of the index: {}", bytes_in(&folder.join("index")));
        wait_for_index(&log).await;
        ask_all(&log, &folder, count).await;
        log.close().await;
    });
}

fn open(folder: &Path) -> SegmentLog {
    let key = LogKey::of_realm(&[7; 32], &"figures".parse().unwrap()).unwrap();
    let index = Some(folder.join("index"));
    let outside = Outside { clock: Arc::new(SystemClock), key, before_group: None, index };
    SegmentLog::open(&folder.join("log"), Options::default(), outside).unwrap()
}

/// Appends records as fast as the log takes them.
async fn fill(log: &SegmentLog, count: u64) {
    let mut generator = records::Generator::new(count);
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let mut generating = 0.0;
    for _ in 0..count.div_ceil(PART) {
        let before = cpu_of_thread();
        let part: Vec<_> = (0..PART).map(|_| generator.next_record()).collect();
        generating += cpu_of_thread() - before;
        while let Err(error) = log.append(part.clone()).await {
            println!("waits: {error}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let taken = started.elapsed().as_secs_f64();
    wait_for_index(log).await;
    let (indexed, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu - generating);
    let count = f64::from(u32::try_from(count).unwrap());
    println!("records: {count}");
    println!("taken: {:.0} records/s", count / taken);
    println!("taken and indexed: {:.0} records/s", count / indexed);
    println!("processor time a record, writing and indexing: {:.2} us", cpu * 1e6 / count);
    println!("records/s that one core would take and index: {:.0}", count / cpu);
}

/// A question that matches nothing is fast once everything is indexed.
async fn wait_for_index(log: &SegmentLog) {
    let nobody = RecordFilter { request_id: Some("nobody's".into()), ..RecordFilter::default() };
    let page = PageRequest { order: Order::NewestFirst, size: 1, after: None };
    let started = Instant::now();
    loop {
        let asked = Instant::now();
        log.query(nobody.clone(), page).await.unwrap();
        if log.is_indexed() || started.elapsed() > Duration::from_secs(1800) {
            println!("a question that matches nothing, indexed: {:.1} ms", asked.elapsed().as_secs_f64() * 1e3);
            return;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn ask_all(log: &SegmentLog, folder: &Path, count: u64) {
    println!(
        "{:<58} {:>9} {:>12} {:>12} {:>12} {:>12}",
        "question", "matches", "page cold ms", "page warm ms", "all cold ms", "all warm ms"
    );
    for (name, filter, has_all) in questions::all(count) {
        drop_pages(folder);
        let (page_cold, _) = ask(log, &filter, false).await;
        let (page_warm, _) = ask(log, &filter, false).await;
        let (mut all_cold, mut all_warm, mut matches) = (f64::NAN, f64::NAN, 0);
        if has_all {
            drop_pages(folder);
            (all_cold, _) = ask(log, &filter, true).await;
            (all_warm, matches) = ask(log, &filter, true).await;
        }
        println!("{name:<58} {matches:>9} {page_cold:>12.1} {page_warm:>12.1} {all_cold:>12.1} {all_warm:>12.1}");
    }
}

/// Milliseconds until the first page, or everything, was there, and how many records that were.
async fn ask(log: &SegmentLog, filter: &RecordFilter, is_all: bool) -> (f64, usize) {
    let started = Instant::now();
    let (mut found, mut after) = (0, None);
    loop {
        let size = if is_all { 1000 } else { 100 };
        let page = log.query(filter.clone(), PageRequest { order: Order::NewestFirst, size, after }).await.unwrap();
        found += page.decisions.len();
        after = page.next_after;
        if after.is_none() || !is_all {
            return (started.elapsed().as_secs_f64() * 1e3, found);
        }
    }
}

/// Lets the kernel forget the pages of all files of a folder.
fn drop_pages(folder: &Path) {
    for path in files_in(folder) {
        let file = fs::File::open(path).unwrap();
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
}

fn bytes_in(folder: &Path) -> u64 {
    files_in(folder).iter().map(|path| path.metadata().unwrap().len()).sum()
}

fn files_in(folder: &Path) -> Vec<PathBuf> {
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files
}

fn cpu_seconds() -> f64 {
    seconds(rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime))
}

fn cpu_of_thread() -> f64 {
    seconds(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime))
}

#[expect(clippy::cast_precision_loss, reason = "figures")]
fn seconds(time: rustix::time::Timespec) -> f64 {
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}
