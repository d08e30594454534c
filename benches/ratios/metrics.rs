//! What it costs to count a decision.

use std::hint::black_box;

use hallpass::{
    app::ports::meter::{Decided, Meter as _},
    domain::id::RealmName,
    metrics::Metrics,
};

use crate::measure::{Goal, Report, interleaved};

const DECISIONS: usize = 10_000;

/// Counts decisions of thirty reasons.
pub(crate) fn run(report: &mut Report) {
    let (metrics, realm): (_, RealmName) = (Metrics::default(), "edfi".parse().unwrap());
    let reasons: Vec<String> = (0..30).map(|number| format!("REASON_NUMBER_{number}")).collect();
    let mut count = || {
        for (place, reason) in reasons.iter().cycle().take(DECISIONS).enumerate() {
            let duration_us = (place % 100) as u64;
            let is_allowed = place % 3 == 0;
            metrics.decided(&Decided { realm: black_box(&realm), is_allowed, reason, adapter: "grpc", duration_us });
        }
    };
    let [mut times_us] = interleaved(20, 1, [&mut count]);
    times_us.sort_by(f64::total_cmp);
    let median_us = times_us.get(times_us.len() / 2).copied().unwrap_or_default();
    let ns = median_us * 1e3 / DECISIONS as f64;
    report.goal("metrics: ns to count a decision", ns, Goal::AtMost(100.0));
}
