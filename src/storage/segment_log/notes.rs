//! Events that wait to be written: few, and never refused for want of room.

use std::{
    mem,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use tokio::sync::oneshot;

use super::group::Noted;

/// An event that waits, and who waits for it.
#[derive(Debug)]
pub(super) struct Note {
    pub event: Noted,
    /// Told the event's sequence number when it is durable.
    pub waiter: Option<oneshot::Sender<u64>>,
}

/// The events that wait, oldest first.
#[derive(Debug, Default)]
pub(super) struct Notes {
    queue: Mutex<Queue>,
    has_some: AtomicBool,
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Note>,
    is_closed: bool,
}

impl Notes {
    /// Takes an event in; `false` when no more are taken.
    pub(super) fn push(&self, note: Note) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.is_closed {
            return false;
        }
        queue.waiting.push(note);
        self.has_some.store(true, SeqCst);
        true
    }

    /// Nothing waits.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_some.load(SeqCst)
    }

    /// Takes all out.
    pub(super) fn take(&self) -> Vec<Note> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        self.has_some.store(false, SeqCst);
        mem::take(&mut queue.waiting)
    }

    /// Takes no more events from now on, unless some wait; `false` when some do.
    pub(super) fn close(&self) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_closed = queue.waiting.is_empty();
        queue.is_closed
    }

    /// Gives all up: who waits is told so.
    pub(super) fn abandon(&self) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.is_closed = true;
        queue.waiting.clear();
    }
}
