//! A group of entries on its way to the disk: numbered, hashed, in the bytes that one write takes.

use tokio::sync::oneshot;

use super::{
    buffer::Entry,
    frame::{GroupEnd, PREFIX_BYTES, push_decision, push_event, push_group, push_sealed_event},
    index::Placed,
    seal::NONCE_BYTES,
};
use crate::domain::{
    log_event::{EventKind, LogEvent},
    merkle::{Frontier, Hash, leaf_hash},
};

/// An event on its way into the log.
#[derive(Debug)]
pub(super) enum Noted {
    /// Kept in clear.
    Clear(LogEvent),
    /// Sealed already.
    Sealed { time_us: i64, nonce: [u8; NONCE_BYTES], sealed: Vec<u8> },
}

impl From<LogEvent> for Noted {
    fn from(event: LogEvent) -> Self {
        Self::Clear(event)
    }
}

/// Who waits for a group.
#[derive(Debug)]
enum Waiter {
    Append(oneshot::Sender<()>),
    /// Is told the event's sequence number.
    Note(oneshot::Sender<u64>, u64),
}

/// A group of entries as it is written, and who waits for it.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// The frames.
    pub bytes: Vec<u8>,
    /// The entries; offsets count from the start of the group.
    pub entries: Vec<Placed>,
    /// The entries' leaf hashes.
    pub leaves: Vec<Hash>,
    /// The tree of the log with this group.
    pub tree: Frontier,
    /// How many of the entries came through the buffer.
    pub records: u64,
    /// The bytes that those take in the buffer.
    pub record_bytes: u64,
    /// How many of the entries are gaps.
    pub gaps: u64,
    waiters: Vec<Waiter>,
}

impl Group {
    /// Begins anew, behind the entries of this tree.
    pub(super) fn begin(&mut self, tree: &Frontier) {
        self.bytes.clear();
        self.entries.clear();
        self.leaves.clear();
        self.waiters.clear();
        self.tree.clone_from(tree);
        (self.records, self.record_bytes, self.gaps) = (0, 0, 0);
    }

    /// Adds a record from the buffer.
    pub(super) fn push(&mut self, record: &[u8], entry: Entry) {
        let Entry { time_us, waiter, .. } = entry;
        self.push_with(time_us, |bytes, sequence| push_decision(bytes, sequence, record));
        self.records += 1;
        self.record_bytes += record.len() as u64;
        self.waiters.extend(waiter.map(Waiter::Append));
    }

    /// Adds an event. The waiter is told its sequence number when it is durable.
    pub(super) fn note(&mut self, event: &Noted, waiter: Option<oneshot::Sender<u64>>) {
        match event {
            Noted::Clear(event) => {
                self.gaps += u64::from(matches!(event.kind, EventKind::Gap(_)));
                self.push_with(event.time_us, |bytes, sequence| push_event(bytes, sequence, event));
            }
            Noted::Sealed { time_us, nonce, sealed } => {
                self.push_with(*time_us, |bytes, sequence| {
                    push_sealed_event(bytes, sequence, *time_us, nonce, sealed);
                });
            }
        }
        let sequence = self.tree.size();
        self.waiters.extend(waiter.map(|waiter| Waiter::Note(waiter, sequence)));
    }

    fn push_with(&mut self, time_us: i64, push: impl FnOnce(&mut Vec<u8>, u64)) {
        let (start, sequence) = (self.bytes.len(), self.tree.size() + 1);
        push(&mut self.bytes, sequence);
        let leaf = leaf_hash(self.bytes.get(start + PREFIX_BYTES..).unwrap_or_default());
        self.tree.append(leaf);
        self.leaves.push(leaf);
        self.entries.push(Placed { sequence, offset: start as u64, end: self.bytes.len() as u64, time_us });
    }

    /// Adds the frame that says that the group is complete.
    pub(super) fn finish(&mut self) {
        if let (Some(first), Some(last)) = (self.entries.first(), self.entries.last()) {
            let count = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
            let (tree_size, root) = (self.tree.size(), self.tree.root());
            let end = GroupEnd { first: first.sequence, last: last.sequence, count, tree_size, root };
            push_group(&mut self.bytes, &end);
        }
    }

    /// Tells all who wait that the group is durable.
    pub(super) fn tell(&mut self) {
        for waiter in self.waiters.drain(..) {
            // Who gave up waiting needs no answer.
            match waiter {
                Waiter::Append(waiter) => drop(waiter.send(())),
                Waiter::Note(waiter, sequence) => drop(waiter.send(sequence)),
            }
        }
    }
}
