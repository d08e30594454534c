//! Warnings about single requests: so many a second and no more, so that nobody fills the log by what it sends.

use std::{
    sync::{
        LazyLock,
        atomic::{AtomicI64, AtomicU32, Ordering},
    },
    time::Instant,
};

/// So many warnings of one sort a second.
const WARNINGS_MAX: u32 = 10;

/// How many warnings of one sort there were in this second.
#[derive(Debug, Default)]
pub(in crate::transport) struct Rarely {
    second: AtomicI64,
    count: AtomicU32,
}

impl Rarely {
    /// None yet.
    pub(in crate::transport) const fn new() -> Self {
        Self { second: AtomicI64::new(0), count: AtomicU32::new(0) }
    }

    /// One more may be logged at this time, in microseconds from any moment.
    pub(in crate::transport) fn may(&self, now_us: i64) -> bool {
        let second = now_us / 1_000_000;
        if self.second.swap(second, Ordering::Relaxed) != second {
            self.count.store(0, Ordering::Relaxed);
        }
        self.count.fetch_add(1, Ordering::Relaxed) < WARNINGS_MAX
    }

    /// As [`Rarely::may`], now.
    pub(in crate::transport) fn may_now(&self) -> bool {
        static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
        self.may(i64::try_from(BEGUN.elapsed().as_micros()).unwrap_or(i64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_so_many_a_second_and_no_more() {
        let rarely = Rarely::new();
        let warned = |second: i64| (0..50).filter(|_| rarely.may(second * 1_000_000)).count();
        assert_eq!((warned(7), warned(7), warned(8)), (WARNINGS_MAX as usize, 0, WARNINGS_MAX as usize));
        let now = Rarely::new();
        assert!(now.may_now());
    }
}
