//! Taking times, and saying what came of them.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

/// What a ratio or a rate should be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// Prints figures as they come.
#[derive(Debug, Default)]
pub(crate) struct Report {
    has_failed: bool,
}

impl Report {
    /// Prints a figure that has a goal.
    pub(crate) fn goal(&mut self, name: &str, measured: f64, goal: Goal) {
        let (sign, goal, passes) = match goal {
            Goal::AtLeast(goal) => (">=", goal, measured >= goal),
            Goal::AtMost(goal) => ("<=", goal, measured <= goal),
        };
        let verdict = if passes { "pass" } else { "fail" };
        println!("{name} {} {sign}{goal} {verdict}", rounded(measured));
        self.has_failed |= !passes;
    }

    /// Some figure missed its goal.
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed
    }
}

/// Prints a figure that is good to know.
pub(crate) fn info(name: &str, measured: f64) {
    println!("{name} {} - info", rounded(measured));
}

fn rounded(measured: f64) -> String {
    if measured >= 1_000.0 { format!("{measured:.0}") } else { format!("{measured:.3}") }
}

/// The processor time of this thread, in microseconds: what others do meanwhile doesn't count.
fn thread_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Runs each operation `times` a round, in turns, and gives each one's microseconds a run, round by round.
/// The first round warms up and doesn't count.
pub(crate) fn interleaved<const N: usize>(
    rounds: usize,
    times: usize,
    mut operations: [&mut dyn FnMut(); N],
) -> [Vec<f64>; N] {
    let mut taken = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (operation, taken) in operations.iter_mut().zip(&mut taken) {
            let start = thread_us();
            for _ in 0..times {
                operation();
            }
            if round > 0 {
                taken.push((thread_us() - start) / times as f64);
            }
        }
    }
    taken
}

/// The middle one.
pub(crate) fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The middle one of the ratios, each of two figures of the same round.
pub(crate) fn median_ratio(over: &[f64], under: &[f64]) -> f64 {
    median(&over.iter().zip(under).map(|(over, under)| over / under).collect::<Vec<_>>())
}

/// The memory that this process holds, in bytes.
pub(crate) fn resident_bytes() -> f64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
}

/// Numbers that look random and are the same in every run (`SplitMix64`).
#[derive(Debug)]
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }
}

/// The processor time that this process has taken, in microseconds.
pub(crate) fn process_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
