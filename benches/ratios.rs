//! What the service costs, as ratios of two figures of the same run, so that the machine cancels out.
//!
//! `cargo bench --bench ratios` prints `name measured goal pass|fail` for each and exits 1 when one fails;
//! figures without a goal are printed as `info`. A word after `--` runs only the groups whose name holds it.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    reason = "a benchmark stops when something fails, prints its figures and divides its counts"
)]

#[path = "ratios/adapters.rs"]
mod adapters;
#[path = "ratios/callers.rs"]
mod callers;
#[path = "ratios/decisions.rs"]
mod decisions;
#[path = "ratios/imports.rs"]
mod imports;
#[path = "ratios/load.rs"]
mod load;
#[path = "ratios/log.rs"]
mod log;
#[path = "ratios/measure.rs"]
mod measure;
#[path = "ratios/metrics.rs"]
mod metrics;
#[path = "ratios/observed.rs"]
mod observed;
#[path = "ratios/overload.rs"]
mod overload;
#[path = "ratios/policies.rs"]
mod policies;
#[path = "ratios/replay.rs"]
mod replay;
#[path = "ratios/search.rs"]
mod search;
#[path = "ratios/service.rs"]
mod service;
#[path = "ratios/state.rs"]
mod state;
#[path = "ratios/tls.rs"]
mod tls;
#[path = "ratios/tokens.rs"]
mod tokens;
#[path = "ratios/wire.rs"]
mod wire;

use std::{env, process::ExitCode};

use measure::Report;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A group of figures that are measured together.
type Group = (&'static str, fn(&mut Report));

/// The groups in the order they run. Sizes come first, because later groups find memory that was used before; imports
/// come last, because what they leave in memory would slow the others.
const GROUPS: &[Group] = &[
    ("sizes", decisions::sizes),
    ("wire", wire::run),
    ("adapters", adapters::run),
    ("overload", overload::run),
    ("tls", tls::run),
    ("observed", observed::run),
    ("parts", decisions::parts),
    ("callers", callers::run),
    ("metrics", metrics::run),
    ("log", log::run),
    ("tokens", tokens::run),
    ("policies", policies::run),
    ("replay", replay::run),
    ("search", search::run),
    ("imports", imports::run),
];

fn main() -> ExitCode {
    // cargo adds `--bench`.
    let words: Vec<String> = env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [imports::START, folder] => {
            imports::start(folder);
            return ExitCode::SUCCESS;
        }
        [load::LOAD, address, method, folder] => {
            load::ask(address, method, folder);
            return ExitCode::SUCCESS;
        }
        [observed::COLLECT] => {
            observed::collect();
            return ExitCode::SUCCESS;
        }
        [overload::SERVE, folder] => {
            overload::serve(folder);
            return ExitCode::SUCCESS;
        }
        [overload::ASK, address, items, rate, token] => {
            overload::ask(address, items, rate, token);
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    let mut report = Report::default();
    for (name, run) in GROUPS.iter().copied() {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            run(&mut report);
        }
    }
    if report.has_failed() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
