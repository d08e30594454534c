//! How often an issuer's keys may be fetched: a few at once, then at a steady pace, and one kept back from strangers.

use crate::domain::issuer::Refetch;

/// What a fetch is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// There is no usable set, or it is due.
    Regular,
    /// Several requests ask for a key that was not looked for yet, as they do after a rotation.
    Wanted,
    /// One request asks for a key. Anybody can make such requests, so they leave one fetch for the others.
    Asked,
}

/// The fetches that are saved up.
#[derive(Debug)]
pub(super) struct Allowance {
    earned_us: i64,
    saved_us_max: i64,
    saved_us: i64,
    saved_at_us: i64,
}

impl Allowance {
    /// The full allowance.
    pub(super) fn new(rules: &Refetch, now_us: i64) -> Self {
        let earned_us = rules.seconds.max(1).saturating_mul(1_000_000);
        let saved_us_max = earned_us.saturating_mul(rules.burst.max(1));
        Self { earned_us, saved_us_max, saved_us: saved_us_max, saved_at_us: now_us }
    }

    /// Takes one fetch, if there is one for this need.
    ///
    /// # Errors
    /// In how many microseconds there will be one.
    pub(super) fn take(&mut self, need: Need, now_us: i64) -> Result<(), i64> {
        // A clock that was set back earns nothing.
        let passed_us = now_us.saturating_sub(self.saved_at_us).max(0);
        self.saved_us = self.saved_us.saturating_add(passed_us).min(self.saved_us_max);
        self.saved_at_us = now_us;
        let can_spare = self.saved_us_max >= self.earned_us.saturating_mul(2);
        let needed_us =
            if need == Need::Asked && can_spare { self.earned_us.saturating_mul(2) } else { self.earned_us };
        if self.saved_us < needed_us {
            return Err(needed_us - self.saved_us);
        }
        self.saved_us -= self.earned_us;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn allowance(burst: i64) -> Allowance {
        Allowance::new(&Refetch { seconds: 30, burst, ..Refetch::default() }, 0)
    }

    #[test]
    fn strangers_leave_one_fetch_to_the_others_and_get_no_more_than_the_pace() {
        let mut allowance = allowance(3);
        assert_eq!(allowance.take(Need::Asked, 0), Ok(()));
        assert_eq!(allowance.take(Need::Asked, 0), Ok(()));
        assert_eq!(allowance.take(Need::Asked, 0), Err(30 * SECOND_US));
        assert_eq!(allowance.take(Need::Wanted, 0), Ok(()));
        assert_eq!(allowance.take(Need::Regular, 0), Err(30 * SECOND_US));
        assert_eq!(allowance.take(Need::Asked, 30 * SECOND_US), Err(30 * SECOND_US), "the kept one comes first");
        assert_eq!(allowance.take(Need::Asked, 60 * SECOND_US), Ok(()));
        let taken = (60..3660).filter(|second| allowance.take(Need::Asked, second * SECOND_US).is_ok()).count();
        assert_eq!(taken, 119);
        assert_eq!(allowance.take(Need::Regular, 3660 * SECOND_US), Ok(()));
    }

    #[test]
    fn an_allowance_of_one_is_for_everybody() {
        let mut allowance = allowance(1);
        assert_eq!(allowance.take(Need::Asked, 0), Ok(()));
        assert_eq!(allowance.take(Need::Regular, 0), Err(30 * SECOND_US));
        assert_eq!(allowance.take(Need::Asked, 30 * SECOND_US), Ok(()));
    }

    #[test]
    fn a_clock_that_is_set_back_earns_nothing() {
        let mut allowance = allowance(1);
        assert_eq!(allowance.take(Need::Regular, 0), Ok(()));
        assert_eq!(allowance.take(Need::Regular, -60 * SECOND_US), Err(30 * SECOND_US));
        assert_eq!(allowance.take(Need::Regular, -30 * SECOND_US), Ok(()));
    }
}
