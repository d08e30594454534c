//! Who isn't known may not fill the log: of their calls so many a second are on record, the others are counted.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Records of refused unknown callers, for each second.
const EACH_SECOND: i64 = 10;

/// The most of them at once, after a time without.
const BURST: i64 = 100;

/// What one record takes, in microseconds of waiting.
const COST_US: i64 = 1_000_000 / EACH_SECOND;

/// A token bucket of one realm.
#[derive(Debug, Default)]
pub(in crate::app) struct Refusals(Mutex<Bucket>);

#[derive(Debug, Default)]
struct Bucket {
    /// When the bucket will be full again, in microseconds since the epoch.
    full_at_us: i64,
    /// Calls that were not put on record since the last one that was.
    left_out: u64,
    /// Calls that were not put on record since the start.
    left_out_ever: u64,
}

impl Refusals {
    /// Makes room for one record, and says how many calls before were left out; `None` when this call is, too.
    pub(super) fn admit(&self, now_us: i64) -> Option<u64> {
        let mut bucket = self.bucket();
        // A clock that was set back must not close the bucket for long.
        bucket.full_at_us = bucket.full_at_us.clamp(now_us, now_us.saturating_add(BURST * COST_US));
        if bucket.full_at_us.saturating_sub(now_us) > (BURST - 1) * COST_US {
            bucket.left_out += 1;
            bucket.left_out_ever += 1;
            return None;
        }
        bucket.full_at_us = bucket.full_at_us.saturating_add(COST_US);
        Some(std::mem::take(&mut bucket.left_out))
    }

    /// Takes back what the log could not keep.
    pub(super) fn put_back(&self, left_out: u64) {
        self.bucket().left_out += left_out;
    }

    /// Calls that were refused and not put on record since the start.
    pub(in crate::app) fn left_out_ever(&self) -> u64 {
        self.bucket().left_out_ever
    }

    fn bucket(&self) -> MutexGuard<'_, Bucket> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_admitted_and_then_ten_a_second() {
        let (refusals, start) = (Refusals::default(), 1_790_000_000_000_000);
        let admitted = |now_us, calls| (0..calls).filter(|_| refusals.admit(now_us).is_some()).count();
        assert_eq!(admitted(start, 250), 100);
        assert_eq!(admitted(start + 1_000_000, 250), 10);
        assert_eq!(refusals.left_out_ever(), 390);
        assert_eq!(
            refusals.admit(start + 1_100_000),
            Some(240),
            "the next record says how many were left out since the last"
        );
        assert_eq!(refusals.admit(start + 1_200_000), Some(0));
        assert_eq!(admitted(start + 60_000_000, 250), 100);
        assert_eq!(admitted(start - 3_600_000_000, 250), 0, "a clock that is set back opens nothing");
        assert_eq!(admitted(start - 3_600_000_000 + 1_000_000, 250), 10, "nor does it close anything for good");
    }

    #[test]
    fn what_the_log_could_not_keep_is_told_by_the_next_record() {
        let refusals = Refusals::default();
        assert_eq!(refusals.admit(0), Some(0));
        refusals.put_back(7);
        assert_eq!(refusals.admit(0), Some(7));
    }
}
