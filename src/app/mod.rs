//! The use cases, and the ports they need.

pub mod allowance;
pub mod application_index;
pub mod applications;
pub mod authorize;
pub mod batch;
pub mod caller;
mod counted;
pub mod credentials;
pub mod decisions;
pub mod error;
pub mod explain;
pub mod export;
pub mod log_proofs;
pub mod oauth_token;
mod open_question;
pub mod people;
pub mod policies;
pub mod ports;
mod possession;
pub mod privacy;
pub mod proof_replays;
pub mod prove;
pub mod readers;
pub mod readiness;
pub mod realm_state;
mod recent;
pub mod relationships;
pub mod replay;
pub mod retention;
mod revocation_index;
pub mod revocations;
pub mod route;
pub mod search;
pub mod search_actions;
pub mod search_subjects;
pub mod secrets;
pub mod shadow;
pub mod subject;
pub mod tail;
#[cfg(test)]
pub(crate) mod test_people;
pub mod token_cache;
pub mod token_info;
pub mod verification;

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use tokio_util::sync::CancellationToken;

pub use self::open_question::NOT_UNDERSTOOD;
use self::{
    allowance::Allowance,
    authorize::Caller,
    caller::Callers,
    error::{Error, Kind},
    ports::{
        ApplicationStore, Clock, KeySource, RealmSource, RelationshipStore, RevocationStore, Stores, TokenIntrospector,
        meter::{Meter, Uncounted},
    },
    proof_replays::ProofReplays,
    readiness::Readiness,
    realm_state::RealmState,
    search::Searches,
    secrets::Secrets,
    token_cache::TokenCache,
};
use crate::domain::{application::TokenDigest, id::RealmName};

/// All that the use cases share: the ports, the realms, and nothing else.
#[derive(Debug)]
pub struct App {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) keys: Arc<dyn KeySource>,
    pub(crate) introspector: Option<Arc<dyn TokenIntrospector>>,
    pub(crate) store: Arc<dyn RelationshipStore>,
    pub(crate) applications: Arc<dyn ApplicationStore>,
    pub(crate) revocations: Arc<dyn RevocationStore>,
    pub(crate) source: Arc<dyn RealmSource>,
    pub(crate) tokens: Arc<TokenCache<Caller>>,
    pub(crate) secrets: Secrets,
    callers: Callers,
    retention: retention::AllRules,
    proofs: ProofReplays,
    searches: Searches,
    /// Puts the calling thread behind those that answer.
    step_back: fn(),
    stopping: CancellationToken,
    readiness: Readiness,
    pub(super) allowance: Allowance,
    pub(crate) batch_items_max: usize,
    /// How long a question waits for relationships that are fresh enough.
    revision_wait: Duration,
    pub(crate) meter: Arc<dyn Meter>,
    realms: BTreeMap<RealmName, Arc<RealmState>>,
}

impl App {
    /// Puts the service together.
    pub fn new(
        clock: Arc<dyn Clock>,
        keys: Arc<dyn KeySource>,
        stores: Stores,
        source: Arc<dyn RealmSource>,
        tokens: Arc<TokenCache<Caller>>,
        realms: Vec<RealmState>,
    ) -> Self {
        let realms = realms.into_iter().map(|realm| (realm.name.clone(), Arc::new(realm))).collect();
        let Stores { relationships: store, applications, revocations } = stores;
        let app = Self {
            clock,
            keys,
            introspector: None,
            store,
            applications,
            revocations,
            source,
            tokens,
            secrets: Secrets::default(),
            callers: Callers::default(),
            retention: retention::AllRules::default(),
            proofs: ProofReplays::default(),
            searches: Searches::default(),
            step_back: || {},
            stopping: CancellationToken::new(),
            readiness: Readiness::default(),
            allowance: Allowance::default(),
            batch_items_max: batch::BATCH_ITEMS_MAX,
            revision_wait: authorize::REVISION_WAIT,
            meter: Arc::new(Uncounted),
            realms,
        };
        for realm in app.realms.values() {
            app.keys.set_issuers(&realm.name, &realm.policies().realm.file.issuers);
        }
        app
    }

    /// The same service with another memory of proofs that were used.
    #[must_use]
    pub fn with_proofs(self, proofs: ProofReplays) -> Self {
        Self { proofs, ..self }
    }

    /// Now, in seconds since the epoch.
    pub fn now_seconds(&self) -> i64 {
        self.clock.now_seconds()
    }

    /// Cancelled when the service is about to stop.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stopping
    }

    /// The proofs of possession that were used.
    pub fn proofs(&self) -> &ProofReplays {
        &self.proofs
    }

    /// The same, with callers who may read the decision log. Without, nobody may.
    #[must_use]
    pub fn with_callers(self, callers: Callers) -> Self {
        Self { callers, ..self }
    }

    /// The same, with a way to put threads that nobody waits for behind those that answer. Without, they stand beside them.
    #[must_use]
    pub fn with_step_back(self, step_back: fn()) -> Self {
        Self { step_back, ..self }
    }

    /// The same, with limits on how often is asked. Without, there are none.
    #[must_use]
    pub fn with_allowance(self, allowance: Allowance) -> Self {
        Self { allowance, ..self }
    }

    /// The same, with at most so many questions in a batch, and never more than [`batch::BATCH_ITEMS_MAX`].
    #[must_use]
    pub fn with_batch_items_max(self, items_max: usize) -> Self {
        Self { batch_items_max: items_max.min(batch::BATCH_ITEMS_MAX), ..self }
    }

    /// The same, where a decision may take so long: a question waits a little less for relationships that are fresh enough, so
    /// that its caller hears why there is no answer. Never longer than [`authorize::REVISION_WAIT`].
    #[must_use]
    pub fn with_check_max(self, check_max: Duration) -> Self {
        let revision_wait = (check_max.saturating_sub(check_max / 5)).min(authorize::REVISION_WAIT);
        Self { revision_wait, ..self }
    }

    /// The same, with somebody who counts. Without, nobody does.
    #[must_use]
    pub fn with_meter(self, meter: Arc<dyn Meter>) -> Self {
        Self { meter, ..self }
    }

    /// Who counts.
    pub fn meter(&self) -> &Arc<dyn Meter> {
        &self.meter
    }

    /// The same, with rules about how long decisions are kept. Without, they are kept for ever.
    #[must_use]
    pub fn with_retention(self, retention: retention::AllRules) -> Self {
        Self { retention, ..self }
    }

    /// The same, with somebody who asks issuers about their opaque tokens. Without, such tokens are nobody's.
    #[must_use]
    pub fn with_introspector(mut self, introspector: Arc<dyn TokenIntrospector>) -> Self {
        for realm in self.realms.values() {
            introspector.set_issuers(&realm.name, &realm.policies().realm.file.issuers);
        }
        self.introspector = Some(introspector);
        self
    }

    /// The realms, by name.
    pub fn realms(&self) -> impl Iterator<Item = &Arc<RealmState>> {
        self.realms.values()
    }

    /// The realm of this name.
    ///
    /// # Errors
    /// `NotFound` with the names there are.
    pub fn realm(&self, name: &str) -> Result<&Arc<RealmState>, Error> {
        self.realms.iter().find(|(known, _)| known.as_str() == name).map(|(_, realm)| realm).ok_or_else(|| {
            if name.is_empty() {
                return Error::invalid_field("realm", format!("is empty, expected one of {}", self.realm_names()));
            }
            let expected = self.realm_names();
            Error::new(Kind::NotFound, "REALM_UNKNOWN", format!("there is no such realm, expected one of {expected}"))
        })
    }

    /// The only realm that trusts this issuer.
    fn realm_of_issuer(&self, issuer: &str) -> Option<&Arc<RealmState>> {
        let mut trusting = self.realms.values().filter(|realm| realm.policies().realm.issuer(issuer).is_some());
        trusting.next().filter(|_| trusting.next().is_none())
    }

    /// The only realm with this opaque token.
    fn realm_of_digest(&self, digest: &TokenDigest) -> Option<&Arc<RealmState>> {
        let mut knowing = self.realms.values().filter(|realm| realm.applications.index().token(digest).is_some());
        knowing.next().filter(|_| knowing.next().is_none())
    }

    /// One of the realms issued this opaque token, or registered it.
    fn is_of_an_application(&self, token: &str) -> bool {
        let knows = |digest| self.realms.values().any(|realm| realm.applications.index().token(&digest).is_some());
        TokenDigest::of_opaque(token).is_some_and(knows)
    }

    fn only_realm(&self) -> Option<&Arc<RealmState>> {
        let mut realms = self.realms.values();
        realms.next().filter(|_| realms.next().is_none())
    }

    /// What a realm's name may be; where callers have names, each has its own realms, and hears nothing of others.
    fn realm_names(&self) -> String {
        if self.callers.are_named() {
            return "those that the caller may call about".to_owned();
        }
        self.realms.keys().map(RealmName::as_str).collect::<Vec<_>>().join(", ")
    }

    /// Every realm can keep its decisions.
    pub fn are_logs_writable(&self) -> bool {
        self.realms.values().all(|realm| realm.log.is_writable())
    }

    /// No realm's log is another one than that which was signed.
    pub fn are_logs_continued(&self) -> bool {
        let is_contradicted =
            |realm: &Arc<RealmState>| realm.log.status().checkpoints.is_some_and(|made| made.is_contradicted);
        !self.realms.values().any(is_contradicted)
    }

    /// Relationships can be written.
    pub fn is_store_writable(&self) -> bool {
        self.store.is_writable()
    }

    /// Makes every decision log durable; nothing is decided any more.
    pub async fn close(&self) {
        for realm in self.realms.values() {
            // Erasures and holds under way belong into the log.
            let _alone = realm.privacy.lock().await;
            drop(realm.shadow.stop());
            realm.log.close().await;
        }
    }

    /// The numbers of a start: realms, entities and relationships.
    pub fn sizes(&self) -> HashMap<RealmName, crate::domain::graph::Counts> {
        self.realms.iter().map(|(name, realm)| (name.clone(), realm.graph().counts())).collect()
    }
}
