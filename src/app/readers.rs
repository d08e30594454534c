//! How much a realm's log is read at once: each long reading holds pages of it in memory.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::{Error, Kind};

/// The most exports of a realm at once.
pub const EXPORTS_MAX: usize = 16;

/// The most replays of a realm at once.
pub const REPLAYS_MAX: usize = 16;

/// The most callers who follow a realm's log at once.
pub const TAILS_MAX: usize = 64;

/// The readings of a realm's log that are under way.
#[derive(Debug)]
pub(super) struct Readers {
    exports: Arc<Semaphore>,
    replays: Arc<Semaphore>,
    tails: Arc<Semaphore>,
}

impl Default for Readers {
    fn default() -> Self {
        let [exports, replays, tails] =
            [EXPORTS_MAX, REPLAYS_MAX, TAILS_MAX].map(|most| Arc::new(Semaphore::new(most)));
        Self { exports, replays, tails }
    }
}

/// A place among the readers; free again when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
}

impl Readers {
    /// A place for an export.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn export(&self) -> Result<Place, Error> {
        place(&self.exports, "exports", EXPORTS_MAX)
    }

    /// A place for a replay.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn replay(&self) -> Result<Place, Error> {
        place(&self.replays, "replays", REPLAYS_MAX)
    }

    /// A place for who follows the log.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn tail(&self) -> Result<Place, Error> {
        place(&self.tails, "tails", TAILS_MAX)
    }
}

fn place(semaphore: &Arc<Semaphore>, what: &str, most: usize) -> Result<Place, Error> {
    Arc::clone(semaphore).try_acquire_owned().map(|permit| Place { _permit: permit }).map_err(|_| {
        let message = format!("{most} {what} of this realm's log are under way, which is the most; try again later");
        Error::new(Kind::ResourceExhausted, "TOO_MANY_READERS", message)
    })
}
