//! The numbers of this process: counted by many threads at once without waiting for each other, and added up when somebody asks.

mod cells;
pub mod edges;
mod process;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
};

use self::cells::{Counter, Histogram, Series};
use crate::{
    app::ports::meter::{Cache, Decided, Family, FamilyKind, Fetched, Meter, Reader, Sample},
    domain::id::RealmName,
};

/// Stands for what has no name of the configuration, and for all series beyond the most that are kept.
pub const OTHER: &str = "OTHER";

/// The label of a decision without a reason.
const NO_REASON: &str = "NONE";

/// Bounds of how long decisions take, in microseconds.
const DECISION_BOUNDS_US: &[u64] =
    &[25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000];

/// Bounds of how long calls take, in microseconds.
const CALL_BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// Bounds of how long issuers take to answer, in microseconds.
const ASKING_BOUNDS_US: &[u64] =
    &[1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000];

/// All that is counted while the service works.
#[derive(Debug)]
pub struct Metrics {
    /// How long decisions took, by realm, decision, reason and adapter; how many there are follows from that.
    decisions: Series<Histogram, 4>,
    refused_tokens: Series<Counter, 2>,
    key_fetches: Series<Counter, 2>,
    introspections: Series<Histogram, 1>,
    cache_hits: Series<Counter, 1>,
    cache_misses: Series<Counter, 1>,
    shed: Series<Counter, 2>,
    limited: Series<Counter, 1>,
    refused_callers: Series<Counter, 2>,
    in_work: AtomicI64,
    calls: Series<Histogram, 2>,
    /// Requests over HTTP, by method, route and status.
    requests: Series<Histogram, 3>,
    shadowed: Series<Counter, 2>,
    not_shadowed: Series<Counter, 2>,
    /// Numbers that others count.
    readers: Mutex<Vec<Watched>>,
}

struct Watched(Reader);

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watched(..)")
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            decisions: Series::new(|| Histogram::new(DECISION_BOUNDS_US)),
            refused_tokens: Series::new(Counter::default),
            key_fetches: Series::new(Counter::default),
            introspections: Series::new(|| Histogram::new(ASKING_BOUNDS_US)),
            cache_hits: Series::new(Counter::default),
            cache_misses: Series::new(Counter::default),
            shed: Series::new(Counter::default),
            limited: Series::new(Counter::default),
            refused_callers: Series::new(Counter::default),
            in_work: AtomicI64::new(0),
            calls: Series::new(|| Histogram::new(CALL_BOUNDS_US)),
            requests: Series::new(|| Histogram::new(CALL_BOUNDS_US)),
            shadowed: Series::new(Counter::default),
            not_shadowed: Series::new(Counter::default),
            readers: Mutex::default(),
        }
    }
}

impl Meter for Metrics {
    fn decided(&self, decided: &Decided<'_>) {
        let Decided { realm, is_allowed, reason, adapter, duration_us } = *decided;
        let decision = if is_allowed { "allow" } else { "deny" };
        let reason = if reason.is_empty() { NO_REASON } else { reason };
        self.decisions.with([realm.as_str(), decision, reason, adapter], |durations| durations.observe(duration_us));
    }

    fn token_refused(&self, issuer: Option<&str>, reason: &str) {
        self.refused_tokens.with([issuer.unwrap_or(OTHER), reason], Counter::add_one);
    }

    fn keys_fetched(&self, issuer: &str, outcome: Fetched) {
        self.key_fetches.with([issuer, outcome.as_str()], Counter::add_one);
    }

    fn introspected(&self, issuer: &str, duration_us: u64) {
        self.introspections.with([issuer], |durations| durations.observe(duration_us));
    }

    fn cache_hit(&self, cache: Cache) {
        self.cache_hits.with([cache.as_str()], Counter::add_one);
    }

    fn cache_missed(&self, cache: Cache) {
        self.cache_misses.with([cache.as_str()], Counter::add_one);
    }

    fn shed(&self, listener: &'static str, why: &'static str) {
        self.shed.with([listener, why], Counter::add_one);
    }

    fn limited(&self, caller: Option<&str>) {
        self.limited.with([caller.unwrap_or(OTHER)], Counter::add_one);
    }

    fn caller_refused(&self, caller: Option<&str>, reason: &str) {
        self.refused_callers.with([caller.unwrap_or(OTHER), reason], Counter::add_one);
    }

    fn work_began(&self) {
        self.in_work.fetch_add(1, Ordering::Relaxed);
    }

    fn work_ended(&self) {
        self.in_work.fetch_sub(1, Ordering::Relaxed);
    }

    fn watch(&self, reader: Reader) {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner).push(Watched(reader));
    }

    fn called(&self, method: &str, status: &'static str, duration_us: u64) {
        self.calls.with([method, status], |durations| durations.observe(duration_us));
    }

    fn answered(&self, method: &str, route: &str, status: &str, duration_us: u64) {
        self.requests.with([method, route, status], |durations| durations.observe(duration_us));
    }

    fn shadowed(&self, realm: &RealmName, outcome: Result<&'static str, &'static str>) {
        match outcome {
            Ok(change) => self.shadowed.with([realm.as_str(), change], Counter::add_one),
            Err(why) => self.not_shadowed.with([realm.as_str(), why], Counter::add_one),
        }
    }

    fn families(&self) -> Vec<Family> {
        let mut families = Vec::from(self.of_decisions());
        families.extend(self.of_shadows());
        families.extend(self.of_load());
        for Watched(read) in &*self.readers.lock().unwrap_or_else(PoisonError::into_inner) {
            families.extend(read());
        }
        families.extend(process::families());
        families
    }
}

impl Metrics {
    fn of_decisions(&self) -> [Family; 7] {
        let decided = self.decisions.read(Histogram::sample);
        [
            Family {
                name: "authz_decisions",
                help: "Decisions that were made and kept, by their first reason",
                kind: FamilyKind::Counter,
                labels: &["realm", "decision", "reason", "adapter"],
                samples: decided.iter().map(|(values, durations)| (values.clone(), counted_in(durations))).collect(),
            },
            Family {
                name: "authz_decision_duration_seconds",
                help: "How long it took to decide, without the call around it",
                kind: FamilyKind::Histogram,
                labels: &["realm", "adapter"],
                samples: by_realm_and_adapter(&decided),
            },
            counted(
                "authz_token_validation_failures",
                "Tokens that were refused, by the reason",
                &["issuer", "reason"],
                &self.refused_tokens,
            ),
            counted(
                "authz_jwks_refresh",
                "How often an issuer's keys were fetched, and what came of it",
                &["issuer", "outcome"],
                &self.key_fetches,
            ),
            spread(
                "authz_introspection_duration_seconds",
                "How long an issuer took to answer about a token",
                &["issuer"],
                &self.introspections,
            ),
            counted("authz_cache_hits", "What was found in a cache", &["cache"], &self.cache_hits),
            counted("authz_cache_misses", "What was looked for in a cache in vain", &["cache"], &self.cache_misses),
        ]
    }

    fn of_load(&self) -> Vec<Family> {
        vec![
            counted(
                "authz_requests_shed",
                "Requests that were turned away because of too many others",
                &["listener", "why"],
                &self.shed,
            ),
            counted(
                "authz_requests_limited",
                "Requests that were turned away because their caller, or their realm, asks too often",
                &["caller"],
                &self.limited,
            ),
            counted(
                "authz_callers_refused",
                "Calls that were refused because of who makes them, by the reason",
                &["caller", "reason"],
                &self.refused_callers,
            ),
            one(
                "authz_requests_in_work",
                "Requests that are worked on",
                FamilyKind::Gauge,
                level(self.in_work.load(Ordering::Relaxed)),
            ),
            spread(
                "rpc_server_call_duration_seconds",
                "How long calls took, by method and status",
                &["rpc_method", "rpc_status_code"],
                &self.calls,
            ),
            spread(
                "http_server_request_duration_seconds",
                "How long requests over HTTP took, by method, route and status",
                &["http_request_method", "http_route", "http_response_status_code"],
                &self.requests,
            ),
        ]
    }

    fn of_shadows(&self) -> [Family; 2] {
        [
            counted(
                "authz_shadow_compared",
                "Decisions that the candidate in a realm's shadow made too, by what would become of them",
                &["realm", "change"],
                &self.shadowed,
            ),
            counted(
                "authz_shadow_not_compared",
                "Decisions that the candidate in a realm's shadow did not make, by the reason",
                &["realm", "why"],
                &self.not_shadowed,
            ),
        ]
    }
}

/// How many values a histogram has.
fn counted_in(spread: &Sample) -> Sample {
    match spread {
        Sample::Spread { sum: _, buckets } => Sample::Count(buckets.iter().map(|(_, count)| count).sum()),
        other => other.clone(),
    }
}

/// Bounds, each with a number of values.
type Buckets = Vec<(f64, u64)>;

/// The histograms of decisions and reasons, added up.
fn by_realm_and_adapter(decided: &[(Vec<Arc<str>>, Sample)]) -> Vec<(Vec<Arc<str>>, Sample)> {
    let mut added: BTreeMap<Vec<Arc<str>>, (f64, Buckets)> = BTreeMap::new();
    for (values, sample) in decided {
        let ([realm, _, _, adapter], Sample::Spread { sum, buckets }) = (values.as_slice(), sample) else { continue };
        match added.entry(vec![Arc::clone(realm), Arc::clone(adapter)]) {
            Entry::Vacant(vacant) => drop(vacant.insert((*sum, buckets.clone()))),
            Entry::Occupied(mut known) => {
                let (known_sum, known_buckets) = known.get_mut();
                *known_sum += sum;
                for ((_, known_count), (_, count)) in known_buckets.iter_mut().zip(buckets) {
                    *known_count += count;
                }
            }
        }
    }
    added.into_iter().map(|(values, (sum, buckets))| (values, Sample::Spread { sum, buckets })).collect()
}

fn counted<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str; N],
    series: &Series<Counter, N>,
) -> Family {
    let samples = series.read(|counter| Sample::Count(counter.sum()));
    Family { name, help, kind: FamilyKind::Counter, labels, samples }
}

fn spread<const N: usize>(
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str; N],
    series: &Series<Histogram, N>,
) -> Family {
    Family { name, help, kind: FamilyKind::Histogram, labels, samples: series.read(Histogram::sample) }
}

fn level(number: i64) -> Sample {
    Sample::Level(cells::float(number.max(0).unsigned_abs()))
}

fn one(name: &'static str, help: &'static str, kind: FamilyKind, sample: Sample) -> Family {
    Family { name, help, kind, labels: &[], samples: vec![(Vec::new(), sample)] }
}

/// Numbers for a process that counts.
pub fn new() -> Arc<dyn Meter> {
    Arc::new(Metrics::default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn family(metrics: &Metrics, name: &str) -> Family {
        metrics.families().into_iter().find(|family| family.name == name).unwrap()
    }

    #[test]
    fn decisions_are_counted_by_reason_and_their_times_by_realm_and_adapter() {
        let metrics = Metrics::default();
        let realm = "one".parse().unwrap();
        for (is_allowed, reason, adapter, duration_us) in [
            (true, "PERMITTED", "grpc", 20),
            (true, "PERMITTED", "grpc", 40),
            (false, "", "grpc", 60),
            (false, "X", "json", 1),
        ] {
            metrics.decided(&Decided { realm: &realm, is_allowed, reason, adapter, duration_us });
        }
        let counts: Vec<_> = family(&metrics, "authz_decisions")
            .samples
            .into_iter()
            .map(|(values, sample)| (values.join(" "), sample))
            .collect();
        let count = |values: &str, count| (values.to_owned(), Sample::Count(count));
        let expected =
            [count("one allow PERMITTED grpc", 2), count("one deny NONE grpc", 1), count("one deny X json", 1)];
        assert_eq!(counts, expected);
        let durations = family(&metrics, "authz_decision_duration_seconds").samples;
        let [(over_grpc, Sample::Spread { sum, buckets }), (over_json, _)] = durations.as_slice() else { panic!() };
        assert_eq!((over_grpc.join(" "), over_json.join(" ")), ("one grpc".to_owned(), "one json".to_owned()));
        assert!((sum - 120e-6).abs() < 1e-12, "{sum}");
        assert_eq!(buckets[..3], [(25e-6, 1), (50e-6, 1), (100e-6, 1)]);
    }

    #[test]
    fn what_others_count_is_shown_too_and_work_that_ended_is_over() {
        let metrics = Metrics::default();
        metrics.watch(Box::new(|| vec![one("a", "b", FamilyKind::Gauge, Sample::Level(7.0))]));
        assert_eq!(family(&metrics, "a").samples, [(Vec::new(), Sample::Level(7.0))]);
        metrics.work_began();
        metrics.work_began();
        metrics.work_ended();
        assert_eq!(family(&metrics, "authz_requests_in_work").samples, [(Vec::new(), Sample::Level(1.0))]);
        metrics.token_refused(None, "TOKEN_FORMAT");
        let refused = family(&metrics, "authz_token_validation_failures").samples;
        assert_eq!(refused, [(vec![OTHER.into(), "TOKEN_FORMAT".into()], Sample::Count(1))]);
    }
}
