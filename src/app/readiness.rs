//! Whether the service can be asked now, and if not, why.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio::sync::Notify;

use crate::app::{App, caller::CallerPolicies, realm_state::RealmState};

/// Something that is not as it should be. Its code is told to monitors; it names no realm, no issuer and no file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unready {
    /// The service is about to stop.
    Draining,
    /// It serves no realm.
    NoRealm,
    /// Relationships cannot be written.
    StoreNotWritable,
    /// Decisions of a realm cannot be kept, so it answers nothing.
    LogNotWritable,
    /// The keys of the issuers were not asked for yet.
    KeysNotTried,
    /// Decisions of a realm cannot be kept, and it answers all the same.
    LogDropping,
    /// A decision log is not the one that was signed.
    LogContradicted,
    /// An issuer's keys cannot be had: its tokens cannot be verified.
    IssuerFailing,
    /// The files of a realm's policies stand refused; the last good ones decide.
    PoliciesRefused,
}

impl Unready {
    /// The code, `UPPER_SNAKE_CASE`.
    pub fn code(self) -> &'static str {
        match self {
            Self::Draining => "DRAINING",
            Self::NoRealm => "NO_REALM",
            Self::StoreNotWritable => "RELATIONSHIP_STORE_UNAVAILABLE",
            Self::LogNotWritable => "DECISION_LOG_UNAVAILABLE",
            Self::KeysNotTried => "KEYS_NOT_TRIED",
            Self::LogDropping => "DECISION_LOG_DROPPING",
            Self::LogContradicted => "DECISION_LOG_CONTRADICTED",
            Self::IssuerFailing => "ISSUER_FAILING",
            Self::PoliciesRefused => "POLICIES_REFUSED",
        }
    }

    /// It keeps the service from answering. Others are for somebody to look after while it answers.
    pub fn is_in_the_way(self) -> bool {
        match self {
            Self::Draining | Self::NoRealm | Self::StoreNotWritable | Self::LogNotWritable | Self::KeysNotTried => true,
            Self::LogDropping | Self::LogContradicted | Self::IssuerFailing | Self::PoliciesRefused => false,
        }
    }
}

/// What nobody else knows of whether the service can be asked.
#[derive(Debug, Default)]
pub(super) struct Readiness {
    awaits_keys: AtomicBool,
    is_draining: AtomicBool,
    changed: Notify,
}

impl App {
    /// The service is not ready until [`App::keys_tried`] is called.
    pub fn await_keys(&self) {
        self.readiness.awaits_keys.store(true, Ordering::Release);
    }

    /// The keys of all issuers were asked for once, and are there or not. Who fails does not keep the service from
    /// answering: what its tokens ask is unavailable.
    pub fn keys_tried(&self) {
        self.readiness.awaits_keys.store(false, Ordering::Release);
        self.readiness.changed.notify_one();
    }

    /// Returns when what this service knows of itself has changed, for one who waits. Stores and logs are to be looked at now
    /// and then all the same.
    pub async fn readiness_changed(&self) {
        self.readiness.changed.notified().await;
    }

    /// From now on the service says that it should not be asked; it still answers.
    pub fn begin_to_drain(&self) {
        self.readiness.is_draining.store(true, Ordering::Release);
        self.readiness.changed.notify_one();
    }

    /// Everything that is not as it should be, each once, what is in the way first.
    pub fn unready(&self) -> Vec<Unready> {
        let Readiness { awaits_keys, is_draining, changed: _ } = &self.readiness;
        let is = |flag: &AtomicBool| flag.load(Ordering::Acquire);
        let logs: Vec<_> = self.realms.values().map(|realm| realm.log.status()).collect();
        let policies = self.callers.policies().map(CallerPolicies::status);
        let is_refused = |realm: &Arc<RealmState>| realm.policy_status().is_refused();
        let found = [
            (Unready::Draining, is(is_draining)),
            (Unready::NoRealm, self.realms.is_empty()),
            (Unready::StoreNotWritable, !self.is_store_writable()),
            (Unready::LogNotWritable, logs.iter().any(|log| !log.is_writable && !log.answers_without)),
            (Unready::KeysNotTried, is(awaits_keys)),
            (Unready::LogDropping, logs.iter().any(|log| !log.is_writable && log.answers_without)),
            (Unready::LogContradicted, !self.are_logs_continued()),
            (Unready::IssuerFailing, self.keys.at_hand().iter().any(|keys| keys.is_failing)),
            (
                Unready::PoliciesRefused,
                self.realms.values().any(is_refused) || policies.is_some_and(|status| status.is_refused()),
            ),
        ];
        found.into_iter().filter(|(_, is_so)| *is_so).map(|(unready, _)| unready).collect()
    }

    /// Every realm can decide and keep its decisions, or may decide without, relationships can be written, keys were asked
    /// for, and the service is not about to stop.
    pub fn is_ready(&self) -> bool {
        !self.unready().into_iter().any(Unready::is_in_the_way)
    }
}
