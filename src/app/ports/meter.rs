//! What is counted while the service works, for whoever watches over it.
//!
//! Labels are names of the configuration and words that policies and this program have; nothing that a request brings
//! becomes one.

use std::sync::Arc;

use crate::domain::id::RealmName;

/// A cache whose hits are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cache {
    /// Tokens that were verified before.
    Tokens,
    /// What issuers said about opaque tokens.
    Introspection,
}

impl Cache {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tokens => "tokens",
            Self::Introspection => "introspection",
        }
    }
}

/// What came of an attempt to fetch an issuer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// Another set than before, or the first one.
    Changed,
    /// The same set as before.
    Unchanged,
    /// No set that can be used.
    Failed,
}

impl Fetched {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Failed => "failed",
        }
    }
}

/// A decision as it is counted.
#[derive(Clone, Copy, Debug)]
pub struct Decided<'a> {
    /// The realm.
    pub realm: &'a RealmName,
    /// It is an allow.
    pub is_allowed: bool,
    /// The code of its first reason, which the realm's policies or this program have; empty where there is none.
    pub reason: &'a str,
    /// How it was asked for.
    pub adapter: &'a str,
    /// How long it took to decide, in microseconds.
    pub duration_us: u64,
}

/// Counts. Every method is for paths that all requests take: none waits, and none takes a lock that others hold.
pub trait Meter: Send + Sync + std::fmt::Debug {
    /// A decision was made and kept.
    fn decided(&self, _: &Decided<'_>) {}

    /// A token was refused, for this reason; `issuer` is the name of a configured one, `None` where the token is of none.
    fn token_refused(&self, _issuer: Option<&str>, _reason: &str) {}

    /// An issuer's keys were fetched, or could not be.
    fn keys_fetched(&self, _issuer: &str, _outcome: Fetched) {}

    /// An issuer was asked about a token, which took this long in microseconds, whatever came of it.
    fn introspected(&self, _issuer: &str, _duration_us: u64) {}

    /// It was there.
    fn cache_hit(&self, _: Cache) {}

    /// It was not.
    fn cache_missed(&self, _: Cache) {}

    /// A request was turned away because of too many others, at this listener, for this reason of ours.
    fn shed(&self, _listener: &'static str, _why: &'static str) {}

    /// A request of this caller was turned away because it, or the realm, makes too many; `None` for who is not configured.
    fn limited(&self, _caller: Option<&str>) {}

    /// A call was refused because of who makes it, for this reason of ours; `caller` is its name in the configuration, `None`
    /// for who isn't known.
    fn caller_refused(&self, _caller: Option<&str>, _reason: &str) {}

    /// A request has a place and is worked on.
    fn work_began(&self) {}

    /// It is not any more.
    fn work_ended(&self) {}

    /// A decision was made again by a candidate beside the realm's policies, and this became of it; or it was not, and this
    /// is why. Both are words of ours.
    fn shadowed(&self, _realm: &RealmName, _outcome: Result<&'static str, &'static str>) {}

    /// A call over gRPC was answered: the method's full name, which is one of ours, the status's text, and how long it took.
    fn called(&self, _method: &str, _status: &'static str, _duration_us: u64) {}

    /// A request over HTTP was answered: its method, which is one that HTTP has, its route, which is one of ours, the status's
    /// digits, and how long it took.
    fn answered(&self, _method: &str, _route: &str, _status: &str, _duration_us: u64) {}

    /// Takes numbers along that somebody else counts, whenever all are asked for.
    fn watch(&self, _: Reader) {}

    /// All that was counted so far, in the order in which it is shown.
    fn families(&self) -> Vec<Family> {
        Vec::new()
    }
}

/// Reads numbers that are counted elsewhere.
pub type Reader = Box<dyn Fn() -> Vec<Family> + Send + Sync>;

/// Counts nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uncounted;

impl Meter for Uncounted {}

/// What sort of numbers a metric has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// They only grow. The name is without `_total`.
    Counter,
    /// They go up and down.
    Gauge,
    /// How many values lie below each of some bounds.
    Histogram,
}

/// A metric with all its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Family {
    /// Its name, with its unit and without `_total`.
    pub name: &'static str,
    /// What it tells, as a sentence without full stop.
    pub help: &'static str,
    /// What sort of numbers.
    pub kind: FamilyKind,
    /// The names of the labels.
    pub labels: &'static [&'static str],
    /// The numbers, each with the values of the labels in their order.
    pub samples: Vec<(Vec<Arc<str>>, Sample)>,
}

/// One number of a metric, or the numbers of one histogram.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// Of a counter.
    Count(u64),
    /// Of a counter that is no whole number, or of a gauge.
    Level(f64),
    /// Of a histogram: the sum of all values, and for each bound how many values are not above it and above the bound before;
    /// the last bound is infinite.
    Spread {
        /// The sum of all values.
        sum: f64,
        /// Bounds in ascending order, each with a number of values.
        buckets: Vec<(f64, u64)>,
    },
}
