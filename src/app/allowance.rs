//! How often callers may ask, and how often realms may be asked about: so many questions a second, a second's worth at once.
//!
//! Each caller and each realm has a bucket of its own, so one cannot take what is another's. The rule is the generic cell rate
//! algorithm (ITU-T I.371 annex A): of each bucket one number is kept, the time at which it will be full again.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use crate::{
    app::{
        App,
        error::{Error, Kind},
    },
    domain::id::RealmName,
};

/// The most questions a second that a limit may say.
pub const PER_SECOND_MAX: u32 = 1_000_000;

const SECOND_NS: i64 = 1_000_000_000;

/// The buckets of all callers and realms that have a limit. Names come from the configuration, so there are no more of them
/// than it has.
#[derive(Debug, Default)]
pub struct Allowance {
    /// Of each caller that is configured; `None` where it has no limit.
    callers: HashMap<Arc<str>, Option<Bucket>>,
    realms: HashMap<Arc<str>, Bucket>,
    /// Of all other callers together.
    others: Option<Bucket>,
}

/// Limits as a deployment says them, in questions a second; 0 stands for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// Of each caller that is not named below; callers without a name share one.
    pub each_caller: u32,
    /// Of callers by name: all that are configured.
    pub callers: Vec<(Arc<str>, Option<u32>)>,
    /// Of realms.
    pub realms: Vec<(RealmName, u32)>,
}

/// Whose limit is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// The caller's.
    Caller,
    /// The realm's.
    Realm,
}

/// A question that comes too early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limited {
    /// Whose limit it is.
    pub whose: Whose,
    /// After this time there is room for a question again, if no other takes it.
    pub retry_after: Duration,
}

impl Allowance {
    /// Full buckets for these limits.
    pub fn new(rates: &Rates) -> Self {
        let Rates { each_caller, callers, realms } = rates;
        let of_caller = |(name, own): &(Arc<str>, Option<u32>)| {
            let bucket = Bucket::new(own.unwrap_or(*each_caller));
            (Arc::clone(name), bucket)
        };
        Self {
            callers: callers.iter().map(of_caller).collect(),
            realms: realms
                .iter()
                .filter_map(|(name, rate)| Some((Arc::from(name.as_str()), Bucket::new(*rate)?)))
                .collect(),
            others: Bucket::new(*each_caller),
        }
    }

    /// Takes one question out of the buckets of a caller and a realm. `now_us` is on a clock that only goes forward.
    ///
    /// # Errors
    /// There is no room; nothing was taken then.
    pub fn take(&self, caller: &str, realm: &str, now_us: i64) -> Result<(), Limited> {
        let now_ns = now_us.saturating_mul(1_000);
        let of_caller = self.callers.get(caller).unwrap_or(&self.others).as_ref();
        let limited = |whose| move |retry_after| Limited { whose, retry_after };
        if let Some(bucket) = of_caller {
            bucket.take(now_ns).map_err(limited(Whose::Caller))?;
        }
        let Some(bucket) = self.realms.get(realm) else { return Ok(()) };
        bucket.take(now_ns).map_err(|retry_after| {
            if let Some(bucket) = of_caller {
                bucket.put_back();
            }
            limited(Whose::Realm)(retry_after)
        })
    }

    /// Takes so many further questions of a batch, whether there is room or not: what was too much is earned before the next
    /// question is let through.
    pub fn charge(&self, caller: &str, realm: &RealmName, questions: u32, now_us: i64) {
        let now_ns = now_us.saturating_mul(1_000);
        let of_caller = self.callers.get(caller).unwrap_or(&self.others).as_ref();
        for bucket in of_caller.into_iter().chain(self.realms.get(realm.as_str())) {
            bucket.charge(questions, now_ns);
        }
    }
}

/// One bucket.
#[derive(Debug)]
struct Bucket {
    /// What one question takes.
    cost_ns: i64,
    /// When it will be full again. A time in the past stands for now.
    full_at_ns: AtomicI64,
}

impl Bucket {
    /// A full bucket, which holds what comes in a second; `None` where there is no limit.
    fn new(per_second: u32) -> Option<Self> {
        let cost_ns = SECOND_NS.checked_div(i64::from(per_second.min(PER_SECOND_MAX)))?;
        Some(Self { cost_ns, full_at_ns: AtomicI64::new(i64::MIN) })
    }

    fn take(&self, now_ns: i64) -> Result<(), Duration> {
        // With room for one question, the bucket is full in so long at most.
        let full_in_most_ns = SECOND_NS - self.cost_ns;
        let taken = self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |full_at_ns| {
            let full_at_ns = full_at_ns.max(now_ns);
            (full_at_ns.saturating_sub(now_ns) <= full_in_most_ns).then(|| full_at_ns.saturating_add(self.cost_ns))
        });
        taken.map(|_| ()).map_err(|full_at_ns| {
            let too_early_ns = full_at_ns.saturating_sub(now_ns).saturating_sub(full_in_most_ns);
            Duration::from_nanos(too_early_ns.unsigned_abs())
        })
    }

    fn charge(&self, questions: u32, now_ns: i64) {
        let cost_ns = self.cost_ns.saturating_mul(i64::from(questions));
        let charged = |full_at_ns: i64| Some(full_at_ns.max(now_ns).saturating_add(cost_ns));
        // It never declines.
        self.full_at_ns.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged).ok();
    }

    fn put_back(&self) {
        self.full_at_ns.fetch_sub(self.cost_ns, Ordering::Relaxed);
    }
}

impl App {
    /// Lets a question of a caller about the realm of this name through, or says when to come again. A refusal answers nothing,
    /// and so never allows.
    ///
    /// # Errors
    /// `ResourceExhausted` with the time to wait.
    pub(crate) fn allow_rate(&self, caller: &str, realm: &str) -> Result<(), Error> {
        let taken = self.allowance.take(caller, realm, self.clock.monotonic_us());
        taken.map_err(|Limited { whose, retry_after }| {
            self.meter.limited(self.allowance.callers.contains_key(caller).then_some(caller));
            let whose = match whose {
                Whose::Caller => "this caller",
                Whose::Realm => "this realm's callers",
            };
            let message = format!("{whose} asked too often, try again in {} ms", millis(retry_after));
            Error::new(Kind::ResourceExhausted, RATE_LIMITED, message).after(retry_after)
        })
    }
}

/// The reason of questions that come too early.
pub const RATE_LIMITED: &str = "RATE_LIMITED";

/// Whole milliseconds, rounded up.
fn millis(duration: Duration) -> u128 {
    duration.as_micros().div_ceil(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND_US: i64 = 1_000_000;

    fn realm(name: &str) -> RealmName {
        name.parse().unwrap()
    }

    fn rates(each_caller: u32, callers: &[(&str, Option<u32>)], realms: &[(&str, u32)]) -> Allowance {
        Allowance::new(&Rates {
            each_caller,
            callers: callers.iter().map(|(name, own)| (Arc::from(*name), *own)).collect(),
            realms: realms.iter().map(|(name, rate)| (realm(name), *rate)).collect(),
        })
    }

    /// How many of so many questions, one after the other at one moment, are let through.
    fn taken(allowance: &Allowance, caller: &str, about: &str, questions: usize, now_us: i64) -> usize {
        (0..questions).filter(|_| allowance.take(caller, about, now_us).is_ok()).count()
    }

    #[test]
    fn a_seconds_worth_comes_at_once_and_then_what_was_earned() {
        let allowance = rates(0, &[("gateway", Some(10))], &[]);
        assert_eq!(taken(&allowance, "gateway", "one", 50, 0), 10);
        let limited = allowance.take("gateway", "one", 0).unwrap_err();
        assert_eq!(limited, Limited { whose: Whose::Caller, retry_after: Duration::from_millis(100) });
        assert_eq!(taken(&allowance, "gateway", "one", 50, SECOND_US / 10), 1, "as the hint said");
        assert_eq!(taken(&allowance, "gateway", "one", 50, SECOND_US), 9);
        assert_eq!(
            taken(&allowance, "gateway", "one", 50, 60 * SECOND_US),
            10,
            "no more than a second's worth is saved"
        );
    }

    #[test]
    fn one_caller_takes_nothing_from_another_nor_one_realm_from_another() {
        let allowance = rates(0, &[("loud", Some(5)), ("quiet", Some(5))], &[("one", 8), ("other", 8)]);
        assert_eq!(taken(&allowance, "loud", "one", 100, 0), 5);
        assert_eq!(taken(&allowance, "quiet", "one", 100, 0), 3, "the realm has no more");
        assert_eq!(
            taken(&allowance, "quiet", "other", 100, 0),
            2,
            "what the realm refused was not taken from the caller"
        );
        assert_eq!(allowance.take("quiet", "other", 0).unwrap_err().whose, Whose::Caller);
        assert_eq!(taken(&allowance, "local", "other", 100, 0), 6, "the realm has what the others left");
    }

    #[test]
    fn who_is_not_named_shares_one_bucket_and_a_name_may_have_none() {
        let allowance = rates(3, &[("free", Some(0)), ("plain", None)], &[]);
        assert_eq!(taken(&allowance, "free", "one", 1_000, 0), 1_000);
        assert_eq!(taken(&allowance, "plain", "one", 10, 0), 3);
        assert_eq!(taken(&allowance, "local", "one", 2, 0) + taken(&allowance, "nobody", "one", 10, 0), 3);
        assert_eq!(taken(&Allowance::default(), "anybody", "one", 1_000, 0), 1_000);
    }

    #[test]
    fn a_batch_goes_through_whole_and_is_earned_afterwards() {
        let allowance = rates(0, &[("gateway", Some(10))], &[]);
        assert!(allowance.take("gateway", "one", 0).is_ok());
        allowance.charge("gateway", &realm("one"), 99, 0);
        let limited = allowance.take("gateway", "one", SECOND_US).unwrap_err();
        assert_eq!(limited.retry_after, Duration::from_millis(8_100));
        assert!(allowance.take("gateway", "one", 9_099_999).is_err());
        assert!(allowance.take("gateway", "one", 9_100_000).is_ok());
    }

    #[test]
    fn the_greatest_and_the_smallest_limit_hold() {
        for rate in [1, PER_SECOND_MAX, u32::MAX] {
            let allowance = rates(0, &[("gateway", Some(rate))], &[]);
            let end_of_time = i64::MAX / 1_000;
            assert!(allowance.take("gateway", "one", end_of_time).is_ok());
            assert_eq!(allowance.take("gateway", "one", end_of_time).is_ok(), rate > 1);
            allowance.charge("gateway", &realm("one"), u32::MAX, end_of_time);
        }
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let allowance = rates(0, &[("gateway", Some(1_000))], &[]);
        let each = std::thread::scope(|scope| {
            let threads: Vec<_> =
                (0..4).map(|_| scope.spawn(|| taken(&allowance, "gateway", "one", 2_000, 0))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
        });
        assert_eq!(each, 1_000);
    }
}
