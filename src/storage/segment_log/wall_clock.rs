//! Notices when somebody changes the machine's clock: holds it against one that nobody can change.

use std::sync::Arc;

use crate::{app::ports::Clock, domain::log_event::EventKind};

/// How far the clock may be from where it should be, in microseconds.
pub(super) const JUMP_US: i64 = 2_000_000;

/// The machine's clock, watched.
#[derive(Debug)]
pub(super) struct WallClock {
    clock: Arc<dyn Clock>,
    /// By how much the clock was ahead of the monotonic one when it was last looked at, in microseconds.
    ahead_us: i64,
}

impl WallClock {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let ahead_us = clock.now_us().saturating_sub(clock.monotonic_us());
        Self { clock, ahead_us }
    }

    /// Microseconds since the epoch.
    pub(super) fn now_us(&self) -> i64 {
        self.clock.now_us()
    }

    /// Microseconds on the clock that never jumps.
    pub(super) fn monotonic_us(&self) -> i64 {
        self.clock.monotonic_us()
    }

    /// What happened to the clock since it was last looked at, if it was more than its usual drift.
    pub(super) fn change(&mut self) -> Option<EventKind> {
        let (now_us, monotonic_us) = (self.clock.now_us(), self.clock.monotonic_us());
        let expected_us = monotonic_us.saturating_add(self.ahead_us);
        self.ahead_us = now_us.saturating_sub(monotonic_us);
        let has_jumped = now_us.saturating_sub(expected_us).saturating_abs() > JUMP_US;
        has_jumped.then_some(EventKind::ClockChange { before_us: expected_us, after_us: now_us })
    }
}
