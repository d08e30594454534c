//! What was answered and could not be kept: counted exactly, until the log says so itself.

use std::sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64, atomic::Ordering::SeqCst};

use crate::domain::{
    decision::Effect,
    decision_record::DecisionRecord,
    log_event::{Gap, GapCause},
};

/// Decisions that were answered and not kept.
#[derive(Debug, Default)]
pub(super) struct Dropped {
    pending: Mutex<Pending>,
    /// All since the start.
    total: AtomicU64,
}

#[derive(Debug, Default)]
struct Pending {
    /// Those of which the log does not know yet.
    gap: Option<Gap>,
    /// How many records were written before the first of them.
    written_before: u64,
    /// The log says nothing more.
    is_closed: bool,
}

impl Dropped {
    /// Counts decisions that will not be kept, at a time when so many records were written; `false` when the log can't
    /// say so any more.
    pub(super) fn count(&self, records: &[DecisionRecord], written: u64) -> bool {
        let mut pending = self.pending();
        if pending.is_closed {
            return false;
        }
        if pending.gap.is_none() {
            pending.written_before = written;
        }
        for record in records {
            let time_us = record.time_us;
            let first = Gap { from_us: time_us, until_us: time_us, cause: GapCause::Dropped, allowed: 0, denied: 0 };
            let gap = pending.gap.get_or_insert(first);
            gap.from_us = gap.from_us.min(time_us);
            gap.until_us = gap.until_us.max(time_us);
            match record.outcome.effect() {
                Effect::Allow => gap.allowed += 1,
                Effect::Deny => gap.denied += 1,
            }
        }
        self.total.fetch_add(records.len() as u64, SeqCst);
        true
    }

    /// Some were dropped of which the log does not know yet.
    pub(super) fn is_pending(&self) -> bool {
        self.total() > 0 && self.pending().gap.is_some()
    }

    /// Takes them, to be written to the log, once it takes records again: more are written than when the first was
    /// dropped.
    pub(super) fn take(&self, written: u64) -> Option<Gap> {
        if self.total() == 0 {
            return None;
        }
        let mut pending = self.pending();
        if pending.written_before < written { pending.gap.take() } else { None }
    }

    /// Counts no more from now on.
    pub(super) fn close(&self) {
        self.pending().is_closed = true;
    }

    /// How many were dropped since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(SeqCst)
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
