//! The only "now" in the program, and one that stands still.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Instant, SystemTime};

use crate::app::ports::Clock;

/// The machine's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_us(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "this is the clock that all others are told to take")]
        let now = SystemTime::now();
        let micros = |duration: std::time::Duration| i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        match now.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => micros(since),
            Err(before) => -micros(before.duration()),
        }
    }

    fn monotonic_us(&self) -> i64 {
        static START: LazyLock<Instant> = LazyLock::new(Instant::now);
        i64::try_from(START.elapsed().as_micros()).unwrap_or(i64::MAX)
    }
}

/// A clock that shows what it is set to, for tests and demonstrations.
#[derive(Debug, Default)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// A clock that shows `now_us`, in microseconds since the epoch.
    pub fn at_us(now_us: i64) -> Self {
        Self(AtomicI64::new(now_us))
    }

    /// A clock that shows `now_seconds` since the epoch.
    pub fn at_seconds(now_seconds: i64) -> Self {
        Self::at_us(now_seconds.saturating_mul(1_000_000))
    }

    /// Sets the clock, in microseconds since the epoch; it may go backwards.
    pub fn set_us(&self, now_us: i64) {
        self.0.store(now_us, Ordering::SeqCst);
    }

    /// Moves the clock on by `seconds`; a negative number moves it back.
    pub fn advance_seconds(&self, seconds: i64) {
        self.0.fetch_add(seconds.saturating_mul(1_000_000), Ordering::SeqCst);
    }
}

impl Clock for FixedClock {
    fn now_us(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_shows_what_it_is_set_to() {
        let clock = FixedClock::at_seconds(1_790_000_000);
        assert_eq!(clock.now_seconds(), 1_790_000_000);
        clock.advance_seconds(-1);
        assert_eq!(clock.now_us(), 1_789_999_999_000_000);
        clock.set_us(-1);
        assert_eq!(clock.now_seconds(), -1);
    }

    #[test]
    fn the_system_clock_is_past_2025() {
        assert!(SystemClock.now_seconds() > 1_735_689_600);
    }
}
