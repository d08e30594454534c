//! One issuer's keys and how to get them: one fetch at a time, within the allowance, for all who wait.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::{Mutex, OwnedMutexGuard, Semaphore, watch};
use tokio::time::Instant;

use super::allowance::{Allowance, Need};
use super::unknown_ids::UnknownIds;
use super::{Outside, RotationListener};
use crate::app::ports::IssuerKeys;
use crate::app::ports::meter::Fetched;
use crate::app::ports::trace::carried;
use crate::domain::id::RealmName;
use crate::domain::issuer::{Issuer, KeyLocation, Refetch, Servers};
use crate::domain::key_set::KeySet;
use crate::provider::key_fetch::Fetcher;
use crate::provider::outbound::Body;

/// A key that was looked for and never there is not looked for again this long, or until a fetch is earned. Whoever
/// guesses the id of a key before it is published delays it so long at most.
const ABSENT_US_MAX: i64 = 10_000_000;

/// So many requests at a time may wait for keys of one issuer that are not at hand.
const WAITING_MAX: usize = 256;

/// One issuer's keys and how to get them.
pub(super) struct Source {
    realm: RealmName,
    issuer: Arc<str>,
    location: KeyLocation,
    servers: Servers,
    rules: Refetch,
    fetcher: Fetcher,
    held: ArcSwapOption<Held>,
    /// The set at hand is fetched again before it is stale, in microseconds since the epoch.
    due_at_us: AtomicI64,
    /// The next refresh that a request starts in passing, in microseconds since the epoch.
    next_refresh_us: AtomicI64,
    /// Whoever holds this fetches; the others wait and take what it got.
    fetching: Arc<Mutex<Fetching>>,
    /// The last fetch failed.
    is_failing: AtomicBool,
    /// How many fetches have begun.
    begun: AtomicU64,
    /// How many fetches have ended.
    ended: watch::Sender<u64>,
    unknown: UnknownIds,
    waiting: Semaphore,
    /// The same for keys that several requests ask for, so that strangers cannot take all the room.
    waiting_for_wanted: Semaphore,
}

/// A key set at hand.
struct Held {
    json: String,
    keys: Arc<KeySet>,
    since_us: i64,
    usable_until_us: i64,
}

/// The allowance of fetches, and how the last one went. Fetches count from 1.
struct Fetching {
    allowance: Allowance,
    last: u64,
    last_good: u64,
    fault: Option<String>,
}

/// What came of an attempt to get newer keys.
enum Attempt {
    /// A fetch that began after the request came has brought a set, or the set now has the key.
    Done,
    /// Another request has brought a set meanwhile.
    Again,
    /// It failed.
    Failed(String),
    /// The allowance is used up; there will be a fetch in so many microseconds.
    NotYet(i64),
}

impl Source {
    pub(super) fn new(realm: &RealmName, issuer: &Issuer, timeout: Duration, now_us: i64) -> Self {
        let allowance = Allowance::new(&issuer.refetch, now_us);
        Self {
            realm: realm.clone(),
            issuer: Arc::clone(&issuer.issuer),
            location: issuer.keys.clone(),
            servers: issuer.servers.clone(),
            rules: issuer.refetch.clone(),
            fetcher: Fetcher::new(issuer, timeout),
            held: ArcSwapOption::empty(),
            due_at_us: AtomicI64::new(i64::MIN),
            next_refresh_us: AtomicI64::new(i64::MAX),
            fetching: Arc::new(Mutex::new(Fetching { allowance, last: 0, last_good: 0, fault: None })),
            is_failing: AtomicBool::new(false),
            begun: AtomicU64::new(0),
            ended: watch::Sender::new(0),
            unknown: UnknownIds::new(),
            waiting: Semaphore::new(WAITING_MAX),
            waiting_for_wanted: Semaphore::new(WAITING_MAX),
        }
    }

    /// What was fetched for this issuer is what would be fetched for that one.
    pub(super) fn serves(&self, issuer: &Issuer) -> bool {
        let is_file = matches!(issuer.keys, KeyLocation::File(_));
        !is_file && self.location == issuer.keys && self.servers == issuer.servers && self.rules == issuer.refetch
    }

    /// The keys at hand, if they answer for this key: it is there, or was looked for not long ago. Never waits; when the
    /// set is due, it is fetched in the background.
    pub(super) fn at_hand(self: &Arc<Self>, id: Option<&str>, outside: &Arc<Outside>) -> Option<Arc<KeySet>> {
        if self.location == KeyLocation::Nowhere {
            return Some(Arc::default());
        }
        let now_us = outside.clock.now_us();
        let held = self.usable(now_us)?;
        if !held.knows(id) && !id.is_some_and(|id| self.unknown.is_absent(id, now_us)) {
            return None;
        }
        let next_us = self.next_refresh_us.load(Ordering::Relaxed);
        let claimed_until_us = now_us.saturating_add(self.rules.seconds.saturating_mul(1_000_000));
        let order = Ordering::Relaxed;
        if now_us >= next_us && self.next_refresh_us.compare_exchange(next_us, claimed_until_us, order, order).is_ok() {
            let (source, outside) = (Arc::clone(self), Arc::clone(outside));
            tokio::spawn(async move { source.refresh(&outside).await });
        }
        Some(Arc::clone(&held.keys))
    }

    /// Keys that answer for this key: they have it, or were fetched after the question came.
    ///
    /// # Errors
    /// A sentence that says what failed: then nobody knows whether the issuer has the key.
    pub(super) async fn ask(self: &Arc<Self>, id: Option<&str>, outside: &Arc<Outside>) -> Result<Arc<KeySet>, String> {
        let after = self.begun.load(Ordering::Acquire);
        let give_up_at = Instant::now() + outside.patience;
        let mut ended = self.ended.subscribe();
        if let Some(id) = id {
            self.unknown.note_asked(id);
        }
        let is_wanted = id.is_none_or(|id| self.unknown.is_wanted(id));
        let room = if is_wanted { &self.waiting_for_wanted } else { &self.waiting };
        let _place = room.try_acquire().map_err(|_| "too many requests wait for them".to_owned())?;
        loop {
            let held = self.usable(outside.clock.now_us());
            let need = match (&held, id) {
                (None, _) | (_, None) => Need::Regular,
                (_, Some(id)) if self.unknown.is_wanted(id) => Need::Wanted,
                _ => Need::Asked,
            };
            match self.fetch_after(after, id, need, outside).await {
                Attempt::Done => return self.settled(id, outside),
                Attempt::Again => {}
                Attempt::Failed(fault) => return Err(fault),
                Attempt::NotYet(_) if held.is_none() => return Err(self.last_fault().await),
                Attempt::NotYet(in_us) => {
                    let earned_at = Instant::now() + Duration::from_micros(in_us.unsigned_abs());
                    let wait = tokio::time::timeout_at(earned_at.min(give_up_at), ended.changed());
                    if wait.await.is_err() && Instant::now() >= give_up_at {
                        let reason =
                            "the token's key is not among those at hand, and they were fetched too often lately";
                        return Err(reason.to_owned());
                    }
                }
            }
        }
    }

    /// Fetches the keys if they are due or given up.
    pub(super) async fn refresh(self: &Arc<Self>, outside: &Arc<Outside>) {
        let after = self.begun.load(Ordering::Acquire);
        drop(self.fetch_after(after, None, Need::Regular, outside).await);
    }

    /// There are keys, and it is time to fetch them again.
    pub(super) fn is_due(&self, now_us: i64) -> bool {
        self.held.load().is_some() && now_us >= self.due_at_us.load(Ordering::Acquire)
    }

    /// Has the set fetched again when it is used next, whatever its freshness.
    pub(super) fn doubt(&self) {
        self.due_at_us.store(i64::MIN, Ordering::Release);
        self.next_refresh_us.store(i64::MIN, Ordering::Release);
    }

    /// The answer of keys that were fetched for it.
    fn settled(&self, id: Option<&str>, outside: &Outside) -> Result<Arc<KeySet>, String> {
        let now_us = outside.clock.now_us();
        let held = self.usable(now_us).ok_or("they are too old")?;
        if let Some(id) = id.filter(|_| !held.knows(id)) {
            let absent_us = self.rules.seconds.saturating_mul(1_000_000).min(ABSENT_US_MAX);
            self.unknown.note_absent(id, now_us.saturating_add(absent_us));
        }
        Ok(Arc::clone(&held.keys))
    }

    /// Fetches the keys unless that is done meanwhile, by a fetch that began after the given one.
    async fn fetch_after(
        self: &Arc<Self>,
        after: u64,
        id: Option<&str>,
        need: Need,
        outside: &Arc<Outside>,
    ) -> Attempt {
        let mut fetching = Arc::clone(&self.fetching).lock_owned().await;
        let now_us = outside.clock.now_us();
        let held = self.usable(now_us);
        if fetching.last_good > after || need != Need::Regular && held.as_ref().is_some_and(|held| held.knows(id)) {
            return Attempt::Done;
        }
        if need == Need::Regular && held.is_some() && !self.is_due(now_us) {
            return Attempt::Again;
        }
        if fetching.last > after {
            return Attempt::Failed(fetching.fault.clone().unwrap_or_default());
        }
        if let Err(in_us) = fetching.allowance.take(need, now_us) {
            return Attempt::NotYet(in_us);
        }
        // A task of its own, so that a caller who gives up does not waste the fetch.
        let (source, outside) = (Arc::clone(self), Arc::clone(outside));
        let fetched = tokio::spawn(carried(async move { source.fetch(fetching, &outside).await })).await;
        match fetched {
            Ok(Ok(())) => Attempt::Done,
            Ok(Err(fault)) => Attempt::Failed(fault),
            Err(_) => Attempt::Failed("fetching them was interrupted".to_owned()),
        }
    }

    async fn fetch(&self, mut fetching: OwnedMutexGuard<Fetching>, outside: &Outside) -> Result<(), String> {
        let number = self.begun.fetch_add(1, Ordering::AcqRel) + 1;
        let fetched = self.fetcher.fetch(outside.clock.now_us()).await;
        let result = fetched.and_then(|body| self.hold(body, outside));
        fetching.last = number;
        if result.is_ok() {
            fetching.last_good = number;
        }
        let outcome = *result.as_ref().unwrap_or(&Fetched::Failed);
        outside.meter.keys_fetched(&self.issuer, outcome);
        self.is_failing.store(result.is_err(), Ordering::Release);
        let result = result.map(|_| ());
        fetching.fault = result.clone().err();
        if let Err(fault) = &result {
            tracing::warn!(realm = %self.realm, issuer = &*self.issuer, %fault, "keys could not be fetched");
            self.give_up_when_too_old(outside);
        }
        drop(fetching);
        self.ended.send_replace(number);
        result
    }

    /// Puts a fetched set to use.
    fn hold(&self, fetched: Body, outside: &Outside) -> Result<Fetched, String> {
        let Body { text: json, fresh_seconds } = fetched;
        let keys = Arc::new(KeySet::from_jwks(&json).map_err(|fault| fault.to_string())?);
        let now_us = outside.clock.now_us();
        let max_seconds = self.rules.max_stale_seconds;
        let due_at_us = now_us.saturating_add(fresh_seconds.min(max_seconds).saturating_mul(800_000));
        let usable_until_us = now_us.saturating_add(max_seconds.saturating_mul(1_000_000));
        let held = Arc::new(Held { json, keys, since_us: now_us, usable_until_us });
        let earlier = self.held.swap(Some(Arc::clone(&held)));
        self.due_at_us.store(due_at_us, Ordering::Release);
        self.next_refresh_us.store(due_at_us, Ordering::Relaxed);
        if earlier.as_ref().is_some_and(|earlier| earlier.json == held.json) {
            return Ok(Fetched::Unchanged);
        }
        for (kid, reason) in held.keys.rejected() {
            tracing::warn!(realm = %self.realm, issuer = &*self.issuer, ?kid, reason, "a key is not usable");
        }
        if let Some(earlier) = earlier {
            let removed = earlier.keys.ids().filter(|id| !held.keys.contains(id));
            let absent_until_us = now_us.saturating_add(self.rules.seconds.saturating_mul(1_000_000));
            removed.for_each(|id| self.unknown.note_absent(id, absent_until_us));
            tracing::info!(realm = %self.realm, issuer = &*self.issuer, keys = held.keys.len(), "keys have changed");
            self.tell(&outside.listener);
        }
        Ok(Fetched::Changed)
    }

    /// How the keys stand; `None` for an issuer that has none.
    pub(super) fn standing(&self, now_us: i64) -> Option<IssuerKeys> {
        let age_us = self.usable(now_us).map(|held| now_us.saturating_sub(held.since_us).max(0));
        let is_failing = self.is_failing.load(Ordering::Acquire);
        (self.location != KeyLocation::Nowhere).then(|| IssuerKeys {
            issuer: Arc::clone(&self.issuer),
            age_us,
            is_failing,
        })
    }

    /// Lets go of a set that could not be renewed for too long.
    fn give_up_when_too_old(&self, outside: &Outside) {
        let held = self.held.load_full();
        if held.is_some_and(|held| !held.is_usable(outside.clock.now_us())) {
            self.held.store(None);
            self.tell(&outside.listener);
        }
    }

    fn tell(&self, listener: &RotationListener) {
        listener(&self.realm);
    }

    fn usable(&self, now_us: i64) -> Option<Arc<Held>> {
        self.held.load_full().filter(|held| held.is_usable(now_us))
    }

    async fn last_fault(&self) -> String {
        let fault = self.fetching.lock().await.fault.clone();
        fault.unwrap_or_else(|| "they could not be fetched".to_owned())
    }
}

impl Held {
    fn knows(&self, id: Option<&str>) -> bool {
        id.is_none_or(|id| self.keys.contains(id))
    }

    fn is_usable(&self, now_us: i64) -> bool {
        now_us < self.usable_until_us
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("realm", &self.realm).field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
