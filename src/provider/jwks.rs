//! Keeps the keys of every issuer at hand: from files and from servers, fetched rarely, and kept when fetching fails.
//!
//! Where keys are fetched from is configured; nothing that a token says leads to a connection elsewhere.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

use crate::app::ports::{Clock, KeyError, KeySource};
use crate::domain::id::RealmName;
use crate::domain::issuer::{Issuer, KeyLocation};
use crate::domain::key_set::KeySet;
use crate::provider::key_fetch::{self, Fetched, Fetcher};

/// How long a set is used while newer ones cannot be had.
const USABLE_US: i64 = 24 * 3600 * 1_000_000;

/// One fetch of an issuer's keys is earned in this time.
const FETCH_EARNED_US: i64 = 30 * 1_000_000;

/// This many fetches can be saved up.
const FETCHES_SAVED_MAX: i64 = 3;

/// Is told the realm in which an issuer's keys have changed, after the new ones are in use.
pub type RotationListener = Box<dyn Fn(&RealmName) + Send + Sync>;

type Sources = HashMap<RealmName, HashMap<Arc<str>, Arc<Source>>>;

/// The keys of all issuers of all realms.
pub struct Jwks {
    sources: ArcSwap<Sources>,
    outside: Arc<Outside>,
}

/// What a fetch needs beside the issuer.
struct Outside {
    clock: Arc<dyn Clock>,
    fetcher: Fetcher,
    listener: RotationListener,
}

/// One issuer's keys and how to get them.
struct Source {
    realm: RealmName,
    issuer: Arc<str>,
    location: KeyLocation,
    held: ArcSwapOption<Held>,
    /// Whoever holds this fetches; the others wait and take what it got.
    fetching: Mutex<Fetching>,
    /// How many fetches have ended.
    fetches: AtomicU64,
}

/// A key set at hand.
struct Held {
    json: String,
    keys: Arc<KeySet>,
    /// It is fetched again before it is stale, if that is noticed in time.
    due_at_us: i64,
    stale_at_us: i64,
    usable_until_us: i64,
}

/// The allowance of fetches, and how the last one went.
struct Fetching {
    saved_us: i64,
    saved_at_us: i64,
    fault: Option<String>,
}

impl Jwks {
    /// Knows no issuers yet. `listener` is called when a set that is in use was replaced by another one, or given up:
    /// what was verified with it should then be forgotten.
    pub fn new(clock: Arc<dyn Clock>, listener: RotationListener) -> Self {
        let outside = Outside { clock, fetcher: Fetcher::new(key_fetch::TIMEOUT), listener };
        Self { sources: ArcSwap::default(), outside: Arc::new(outside) }
    }

    /// Fetches again the sets in use that are about to be stale, and gives up those that can no longer be trusted.
    /// To be called every minute or so: a key that was removed must not live on in remembered tokens.
    pub async fn refresh_due(&self) {
        let now_us = self.outside.clock.now_us();
        let mut refreshes = JoinSet::new();
        for source in self.sources.load().values().flat_map(HashMap::values) {
            let Some(held) = source.held.load_full() else { continue };
            if now_us >= held.due_at_us {
                let (source, outside) = (Arc::clone(source), Arc::clone(&self.outside));
                refreshes.spawn(async move { source.refresh(&outside).await });
            }
        }
        refreshes.join_all().await;
    }

    fn source(&self, realm: &RealmName, issuer: &str) -> Option<Arc<Source>> {
        self.sources.load().get(realm).and_then(|issuers| issuers.get(issuer)).map(Arc::clone)
    }
}

#[async_trait]
impl KeySource for Jwks {
    async fn keys(&self, realm: &RealmName, issuer: &str, kid: Option<&str>) -> Result<Arc<KeySet>, KeyError> {
        let unavailable = |reason: String| KeyError::Unavailable { issuer: issuer.to_owned(), reason };
        let source =
            self.source(realm, issuer).ok_or_else(|| unavailable("the realm has no such issuer".to_owned()))?;
        let clock = &self.outside.clock;
        let held = source.held.load_full();
        if let Some(held) = held.filter(|held| held.knows(kid) && held.is_usable(clock.now_us())) {
            let is_fresh = clock.now_us() < held.stale_at_us;
            if is_fresh || source.fetching.try_lock().is_err() {
                return Ok(Arc::clone(&held.keys));
            }
        }
        // A task of its own, so that a caller who gives up does not waste the fetch.
        let (fetching, outside) = (Arc::clone(&source), Arc::clone(&self.outside));
        let fetched = tokio::spawn(async move { fetching.refresh(&outside).await }).await;
        match source.held.load_full().filter(|held| held.is_usable(clock.now_us())) {
            Some(held) => Ok(Arc::clone(&held.keys)),
            None => Err(unavailable(fetched.ok().flatten().unwrap_or_else(|| "they could not be fetched".to_owned()))),
        }
    }

    /// Replaces the issuers of a realm; with none, the realm is forgotten. Keys fetched from a URL that is still the
    /// issuer's are kept, files are read again.
    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        let now_us = self.outside.clock.now_us();
        let same = |known: &Source, issuer: &Issuer| {
            known.location == issuer.keys && matches!(issuer.keys, KeyLocation::Url(_))
        };
        self.sources.rcu(|sources| {
            let mut sources = Sources::clone(sources);
            let known = sources.remove(realm).unwrap_or_default();
            let now_known = issuers.iter().map(|issuer| {
                let kept = known.get(&issuer.issuer).filter(|known| same(known, issuer));
                let source = kept.map_or_else(|| Arc::new(Source::new(realm, issuer, now_us)), Arc::clone);
                (Arc::clone(&issuer.issuer), source)
            });
            let now_known: HashMap<_, _> = now_known.collect();
            if !now_known.is_empty() {
                sources.insert(realm.clone(), now_known);
            }
            sources
        });
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("realms", &self.sources.load().keys()).finish_non_exhaustive()
    }
}

impl Source {
    fn new(realm: &RealmName, issuer: &Issuer, now_us: i64) -> Self {
        let saved_us = FETCHES_SAVED_MAX * FETCH_EARNED_US;
        Self {
            realm: realm.clone(),
            issuer: Arc::clone(&issuer.issuer),
            location: issuer.keys.clone(),
            held: ArcSwapOption::empty(),
            fetching: Mutex::new(Fetching { saved_us, saved_at_us: now_us, fault: None }),
            fetches: AtomicU64::new(0),
        }
    }

    /// Fetches the keys, unless another fetch ends meanwhile or the allowance is used up. Returns what is wrong.
    async fn refresh(&self, outside: &Outside) -> Option<String> {
        let fetches = self.fetches.load(Ordering::Acquire);
        let mut fetching = self.fetching.lock().await;
        let is_done = self.fetches.load(Ordering::Acquire) != fetches;
        if is_done || !fetching.is_allowed(outside.clock.now_us()) {
            return fetching.fault.clone();
        }
        let fetched = outside.fetcher.fetch(&self.location).await;
        fetching.fault = fetched.and_then(|fetched| self.hold(fetched, outside)).err();
        self.fetches.fetch_add(1, Ordering::AcqRel);
        if let Some(fault) = &fetching.fault {
            tracing::warn!(realm = %self.realm, issuer = &*self.issuer, %fault, "keys could not be fetched");
            self.give_up_when_too_old(outside);
        }
        fetching.fault.clone()
    }

    /// Puts a fetched set to use.
    fn hold(&self, fetched: Fetched, outside: &Outside) -> Result<(), String> {
        let Fetched { json, fresh_seconds } = fetched;
        let keys = Arc::new(KeySet::from_jwks(&json).map_err(|fault| fault.to_string())?);
        for (kid, reason) in keys.rejected() {
            tracing::warn!(realm = %self.realm, issuer = &*self.issuer, ?kid, reason, "a key is not usable");
        }
        let now_us = outside.clock.now_us();
        let is_rotation = self.held.load().as_ref().is_some_and(|held| held.json != json);
        self.held.store(Some(Arc::new(Held {
            json,
            keys,
            due_at_us: now_us.saturating_add(fresh_seconds * 800_000),
            stale_at_us: now_us.saturating_add(fresh_seconds * 1_000_000),
            usable_until_us: now_us.saturating_add(USABLE_US),
        })));
        if is_rotation {
            (outside.listener)(&self.realm);
        }
        Ok(())
    }

    /// Lets go of a set that could not be renewed for too long.
    fn give_up_when_too_old(&self, outside: &Outside) {
        let held = self.held.load_full();
        if held.is_some_and(|held| !held.is_usable(outside.clock.now_us())) {
            self.held.store(None);
            (outside.listener)(&self.realm);
        }
    }
}

impl Held {
    fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.keys.contains(kid))
    }

    fn is_usable(&self, now_us: i64) -> bool {
        now_us < self.usable_until_us
    }
}

impl Fetching {
    /// Takes one fetch from the allowance, if there is one.
    fn is_allowed(&mut self, now_us: i64) -> bool {
        // A clock that was set back earns nothing.
        let earned_us = now_us.saturating_sub(self.saved_at_us).max(0);
        self.saved_us = self.saved_us.saturating_add(earned_us).min(FETCHES_SAVED_MAX * FETCH_EARNED_US);
        self.saved_at_us = now_us;
        let is_allowed = self.saved_us >= FETCH_EARNED_US;
        if is_allowed {
            self.saved_us -= FETCH_EARNED_US;
        }
        is_allowed
    }
}

#[cfg(test)]
mod tests;
