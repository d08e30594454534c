//! Keeps the keys of every issuer at hand: from files and from servers, fetched rarely, and kept when fetching fails.
//!
//! Where keys are fetched from is configured; nothing that a token says leads to a connection elsewhere. A key is said not
//! to be there only by a set that was fetched after the question came, or that was asked for this key not long ago; where
//! the set could be out of date and may not be fetched, the keys are unavailable.

mod allowance;
mod source;
mod unknown_ids;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use tokio::task::JoinSet;

use self::source::Source;
use crate::app::ports::meter::{Meter, Uncounted};
use crate::app::ports::{Clock, IssuerKeys, KeyError, KeySource};
use crate::domain::id::RealmName;
use crate::domain::issuer::Issuer;
use crate::domain::key_set::KeySet;
use crate::provider::outbound;

/// How long a request waits for a key that is not at hand, beside the time of the fetch itself.
const PATIENCE: Duration = Duration::from_secs(3);

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
    listener: RotationListener,
    patience: Duration,
    meter: Arc<dyn Meter>,
}

impl Jwks {
    /// Knows no issuers yet. `listener` is called when a set that is in use was replaced by another one, or given up:
    /// what was verified with it should then be forgotten.
    pub fn new(clock: Arc<dyn Clock>, listener: RotationListener) -> Self {
        Self::counted(clock, listener, Arc::new(Uncounted))
    }

    /// The same, with somebody who counts what is fetched.
    pub fn counted(clock: Arc<dyn Clock>, listener: RotationListener, meter: Arc<dyn Meter>) -> Self {
        let outside = Outside { clock, listener, patience: PATIENCE, meter };
        Self { sources: ArcSwap::default(), outside: Arc::new(outside) }
    }

    /// Fetches again the sets in use that are about to be stale, and gives up those that can no longer be trusted.
    /// To be called every minute or so: a key that was removed must not live on in remembered tokens.
    pub async fn refresh_due(&self) {
        let now_us = self.outside.clock.now_us();
        let mut refreshes = JoinSet::new();
        let sources = self.sources.load_full();
        for source in sources.values().flat_map(HashMap::values).filter(|source| source.is_due(now_us)) {
            let (source, outside) = (Arc::clone(source), Arc::clone(&self.outside));
            refreshes.spawn(async move { source.refresh(&outside).await });
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
        match source.at_hand(kid, &self.outside) {
            Some(keys) => Ok(keys),
            None => source.ask(kid, &self.outside).await.map_err(unavailable),
        }
    }

    fn at_hand(&self) -> Vec<IssuerKeys> {
        let sources = self.sources.load();
        let now_us = self.outside.clock.now_us();
        sources.values().flat_map(HashMap::values).filter_map(|source| source.standing(now_us)).collect()
    }

    /// Replaces the issuers of a realm; with none, the realm is forgotten. Keys fetched from a URL that is still the
    /// issuer's are kept and soon fetched again, files are read again.
    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        let now_us = self.outside.clock.now_us();
        let new = |issuer: &Issuer| Arc::new(Source::new(realm, issuer, outbound::TIMEOUT, now_us));
        self.sources.rcu(|sources| {
            let mut sources = Sources::clone(sources);
            let known = sources.remove(realm).unwrap_or_default();
            let now_known = issuers.iter().map(|issuer| {
                let kept = known.get(&issuer.issuer).filter(|known| known.serves(issuer));
                if let Some(kept) = kept {
                    kept.doubt();
                }
                (Arc::clone(&issuer.issuer), kept.map_or_else(|| new(issuer), Arc::clone))
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

#[cfg(test)]
mod tests;
