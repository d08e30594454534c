//! Numbers that many threads add to: each thread adds to a part of its own, so that none waits for a line of another's cache.

use std::{
    cell::Cell,
    fmt,
    hash::{Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use hashbrown::{Equivalent, HashMap};

use super::OTHER;
use crate::app::ports::meter::Sample;

/// Into how many parts a number is divided.
const PARTS: usize = 8;

/// The most series of one metric; what comes then is counted as [`OTHER`]. Names of realms, issuers, reasons and methods are
/// few; this is for the day when somebody has thousands of them.
const SERIES_MAX: usize = 4_096;

/// The part of the present thread.
fn part() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static PART: Cell<usize> = Cell::new(NEXT.fetch_add(1, Ordering::Relaxed) % PARTS);
    }
    PART.get()
}

/// A number that only grows.
#[derive(Debug, Default)]
pub(super) struct Counter([Part; PARTS]);

/// A part, on cache lines of its own (processors fetch them in pairs).
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

impl Counter {
    pub(super) fn add_one(&self) {
        if let Some(Part(number)) = self.0.get(part()) {
            number.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn sum(&self) -> u64 {
        self.0.iter().map(|Part(number)| number.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
    }
}

/// How many values lie between bounds. Values and bounds are in microseconds, and shown in seconds.
#[derive(Debug)]
pub(super) struct Histogram {
    bounds_us: &'static [u64],
    parts: [HistogramPart; PARTS],
}

#[derive(Debug)]
#[repr(align(128))]
struct HistogramPart {
    sum_us: AtomicU64,
    /// One for each bound, and one for what is above all.
    counts: Box<[AtomicU64]>,
}

impl Histogram {
    /// Without values. `bounds_us` is in ascending order.
    pub(super) fn new(bounds_us: &'static [u64]) -> Self {
        let part = |_| HistogramPart {
            sum_us: AtomicU64::new(0),
            counts: (0..=bounds_us.len()).map(|_| AtomicU64::new(0)).collect(),
        };
        Self { bounds_us, parts: std::array::from_fn(part) }
    }

    pub(super) fn observe(&self, value_us: u64) {
        let bucket = self.bounds_us.partition_point(|bound| *bound < value_us);
        let Some(HistogramPart { sum_us, counts }) = self.parts.get(part()) else { return };
        if let Some(count) = counts.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
            sum_us.fetch_add(value_us, Ordering::Relaxed);
        }
    }

    pub(super) fn sample(&self) -> Sample {
        let sum_us = self.parts.iter().map(|part| part.sum_us.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        let bounds = self.bounds_us.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
        let count = |bucket: usize| {
            let counts = self.parts.iter().filter_map(|part| part.counts.get(bucket));
            counts.map(|count| count.load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
        };
        let buckets = bounds.enumerate().map(|(bucket, bound)| (bound, count(bucket))).collect();
        Sample::Spread { sum: seconds(sum_us), buckets }
    }
}

fn seconds(us: u64) -> f64 {
    float(us) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "what is shown has 15 digits; nothing is computed with it")]
pub(super) fn float(number: u64) -> f64 {
    number as f64
}

/// One number for each combination of the values of `N` labels. Looking one up takes no lock; a new one copies the table.
pub(super) struct Series<V, const N: usize> {
    cells: ArcSwap<HashMap<[Arc<str>; N], Arc<V>, RandomState>>,
    new: fn() -> V,
}

impl<V, const N: usize> Series<V, N> {
    pub(super) fn new(new: fn() -> V) -> Self {
        Self { cells: ArcSwap::default(), new }
    }

    /// Does something with the number of these values.
    pub(super) fn with(&self, values: [&str; N], work: impl FnOnce(&V)) {
        let cells = self.cells.load();
        match cells.get(&Values(values)) {
            Some(cell) => work(cell),
            None => work(&self.cell(values)),
        }
    }

    /// The number of these values, made if there is none.
    fn cell(&self, values: [&str; N]) -> Arc<V> {
        let is_full = self.cells.load().len() >= SERIES_MAX;
        let values = if is_full { [OTHER; N] } else { values };
        let fresh = Arc::new((self.new)());
        self.cells.rcu(|cells| {
            let mut cells = HashMap::clone(cells);
            if !cells.contains_key(&Values(values)) {
                cells.insert(values.map(Arc::from), Arc::clone(&fresh));
            }
            cells
        });
        self.cells.load().get(&Values(values)).map_or(fresh, Arc::clone)
    }

    /// All numbers in the order of the values.
    pub(super) fn read(&self, sample: impl Fn(&V) -> Sample) -> Vec<(Vec<Arc<str>>, Sample)> {
        let cells = self.cells.load();
        let mut samples: Vec<_> = cells.iter().map(|(values, cell)| (values.to_vec(), sample(cell))).collect();
        samples.sort_by(|(one, _), (other, _)| one.cmp(other));
        samples
    }
}

impl<V, const N: usize> fmt::Debug for Series<V, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").field("len", &self.cells.load().len()).finish_non_exhaustive()
    }
}

/// Values for looking up; hash as those of the table do.
struct Values<'a, const N: usize>([&'a str; N]);

impl<const N: usize> Hash for Values<'_, N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl<const N: usize> Equivalent<[Arc<str>; N]> for Values<'_, N> {
    fn equivalent(&self, key: &[Arc<str>; N]) -> bool {
        self.0.iter().zip(key).all(|(one, other)| *one == &**other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_threads_count_adds_up() {
        let series: Series<Counter, 2> = Series::new(Counter::default);
        std::thread::scope(|scope| {
            for _ in 0..12 {
                scope.spawn(|| {
                    for index in 0..1_000 {
                        series.with(["one", if index % 4 == 0 { "a" } else { "b" }], Counter::add_one);
                    }
                });
            }
        });
        let names = |name: &str| vec![Arc::from("one"), Arc::from(name)];
        let expected = [(names("a"), Sample::Count(3_000)), (names("b"), Sample::Count(9_000))];
        assert_eq!(series.read(|counter| Sample::Count(counter.sum())), expected);
    }

    #[test]
    fn a_value_at_a_bound_is_below_it() {
        let histogram = Histogram::new(&[25, 50]);
        for value_us in [0, 25, 26, 50, 51, 3_000_000] {
            histogram.observe(value_us);
        }
        let expected = Sample::Spread { sum: 3.000_152, buckets: vec![(25e-6, 2), (50e-6, 2), (f64::INFINITY, 2)] };
        assert_eq!(histogram.sample(), expected);
    }

    #[test]
    fn there_are_never_more_series_than_the_most() {
        let series: Series<Counter, 1> = Series::new(Counter::default);
        for index in 0..SERIES_MAX + 10 {
            series.with([&format!("name {index}")], Counter::add_one);
        }
        let read = series.read(|counter| Sample::Count(counter.sum()));
        assert_eq!(read.len(), SERIES_MAX + 1);
        assert!(read.contains(&(vec![OTHER.into()], Sample::Count(10))));
    }
}
