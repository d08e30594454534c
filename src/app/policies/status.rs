//! How the policies that decide stand to the files that they come from.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::{
    app::ports::archive::Pin,
    domain::{bundle::Seal, fault::Fault, id::PolicyVersion},
};

/// The state of a realm's policies, in one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PolicyState {
    /// The files decide, as they were read last.
    Current,
    /// The last good files decide; those that came after them were refused.
    RefusedReload,
    /// A kept version decides, whatever the files are.
    RolledBack,
}

/// How often policies were taken over or refused since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReloadCounts {
    /// Files that decide since.
    pub taken: u64,
    /// Files that were refused.
    pub refused: u64,
    /// Kept versions that decide since.
    pub rolled_back: u64,
}

/// All that is known of how the policies that decide stand to the files.
#[derive(Clone, Debug, Default)]
pub struct PolicyStatus {
    /// When files were last tried, in microseconds since the epoch; `None` where not since the start.
    pub attempted_at_us: Option<i64>,
    /// The faults of the files that were tried last; none when they were good.
    pub faults: Arc<Vec<Fault>>,
    /// The digest of the files as they were last read; `None` when they cannot be read.
    pub files_version: Option<PolicyVersion>,
    /// The kept version that decides whatever the files are.
    pub pin: Option<Pin>,
    /// The name of the key that signed what decides; `None` where nobody had to sign.
    pub signer: Option<Arc<str>>,
    /// The highest number of a signed bundle that ever decided.
    pub bundle_number: u64,
    /// What came of reloads since the start.
    pub counts: ReloadCounts,
}

impl PolicyStatus {
    /// The state in one word.
    pub fn state(&self) -> PolicyState {
        if self.pin.is_some() {
            PolicyState::RolledBack
        } else if self.is_refused() {
            PolicyState::RefusedReload
        } else {
            PolicyState::Current
        }
    }

    /// Notes who signed what decides now.
    pub(in crate::app) fn note_seal(&mut self, seal: Option<&Seal>) {
        self.signer = seal.map(|seal| Arc::clone(&seal.signer));
        let number = seal.map(|seal| seal.statement.number).unwrap_or_default();
        self.bundle_number = self.bundle_number.max(number);
    }

    /// The files that were tried last do not decide because of their faults.
    pub fn is_refused(&self) -> bool {
        !self.faults.is_empty()
    }
}

/// The status of one realm: read by anybody, changed by who is alone with the realm's reloads.
#[derive(Debug, Default)]
pub struct Standing(ArcSwap<PolicyStatus>);

impl Standing {
    /// The status of policies that were just read.
    pub fn new(status: PolicyStatus) -> Self {
        Self(ArcSwap::from_pointee(status))
    }

    /// How things stand.
    pub fn get(&self) -> Arc<PolicyStatus> {
        self.0.load_full()
    }

    /// Changes it; the caller holds the realm's lock of reloads.
    pub(in crate::app) fn change(&self, change: impl FnOnce(&mut PolicyStatus)) {
        let mut status = PolicyStatus::clone(&self.0.load());
        change(&mut status);
        self.0.store(Arc::new(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_counts_before_a_refusal() {
        let standing = Standing::default();
        assert_eq!(standing.get().state(), PolicyState::Current);
        standing.change(|status| status.faults = Arc::new(vec![Fault::in_file("a.cedar", "is wrong")]));
        assert_eq!(standing.get().state(), PolicyState::RefusedReload);
        let pin = Pin { version: PolicyVersion("d".into()), by: "ada".into(), at_us: 1 };
        standing.change(|status| status.pin = Some(pin));
        assert_eq!((standing.get().state(), standing.get().is_refused()), (PolicyState::RolledBack, true));
    }
}
