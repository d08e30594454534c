//! How many bytes all messages together may hold that came and are not answered yet.
//!
//! A message is charged as it comes, before anybody has said that it may: else as many callers as there may be connections and
//! calls could each send a message of the full length and have all of them kept. Nobody waits for room, because who waits keeps
//! what has come so far; what finds none is turned away.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Shed;

/// A message counts as so many bytes at least: its headers and whoever waits for it take memory too. Most messages are shorter,
/// so that they are charged once.
pub(super) const CHARGED_MIN: usize = 4 * 1024;

/// The room that all messages share.
#[derive(Debug)]
pub(super) struct Budget {
    held: AtomicUsize,
    bytes_max: usize,
}

/// Room that is taken until it is dropped.
#[derive(Debug)]
pub(super) struct Charge<'b> {
    budget: &'b Budget,
    bytes: usize,
}

impl Budget {
    /// Room for so many bytes.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { held: AtomicUsize::new(0), bytes_max }
    }

    /// How many bytes are charged now.
    pub(super) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Room for a short message.
    ///
    /// # Errors
    /// There is none.
    pub(super) fn charge(&self) -> Result<Charge<'_>, Shed> {
        let mut charge = Charge { budget: self, bytes: 0 };
        charge.cover(CHARGED_MIN)?;
        Ok(charge)
    }
}

impl Charge<'_> {
    /// Takes as much room as makes it so many bytes altogether. Where nothing else is held there is always room: a message alone
    /// may be as long as a message may be.
    ///
    /// # Errors
    /// There is none, and the charge stays as it is.
    pub(super) fn cover(&mut self, bytes: usize) -> Result<(), Shed> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else { return Ok(()) };
        let Budget { held, bytes_max } = self.budget;
        let before = held.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > *bytes_max && before != self.bytes {
            held.fetch_sub(more, Ordering::Relaxed);
            return Err(Shed::BytesFull);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Charge<'_> {
    fn drop(&mut self) {
        self.budget.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_never_more_than_there_is_room_for_and_is_given_back() {
        let budget = Budget::new(3 * CHARGED_MIN);
        let mut first = budget.charge().unwrap();
        let second = budget.charge().unwrap();
        first.cover(100).unwrap();
        assert_eq!(budget.held(), 2 * CHARGED_MIN, "a short message is charged once");
        first.cover(2 * CHARGED_MIN).unwrap();
        assert_eq!(budget.charge().unwrap_err(), Shed::BytesFull);
        assert_eq!(first.cover(2 * CHARGED_MIN + 1), Err(Shed::BytesFull));
        assert_eq!(budget.held(), 3 * CHARGED_MIN, "who found no room took none");
        drop(second);
        first.cover(3 * CHARGED_MIN).unwrap();
        drop(first);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_message_alone_may_be_longer_than_all_room_and_no_other_comes_beside_it() {
        let budget = Budget::new(CHARGED_MIN);
        let mut long = budget.charge().unwrap();
        long.cover(10 * CHARGED_MIN).unwrap();
        assert_eq!(budget.charge().unwrap_err(), Shed::BytesFull);
        long.cover(11 * CHARGED_MIN).unwrap();
        drop(long);
        let (mut one, other) = (budget.charge().unwrap(), budget.charge());
        assert_eq!(other.unwrap_err(), Shed::BytesFull);
        one.cover(CHARGED_MIN + 1).unwrap();
    }
}
