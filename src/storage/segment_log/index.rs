//! Which segments there are, and up to where they can be read.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

/// An entry of a group that was written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub sequence: u64,
    pub offset: u64,
    pub end: u64,
    pub time_us: i64,
}

/// A segment file.
#[derive(Debug)]
pub(super) struct Segment {
    /// The number in its name.
    pub number: u64,
    /// The file.
    pub path: PathBuf,
    /// The sequence number of its first entry.
    pub first_sequence: u64,
    /// The file is going or gone; who finds nothing of it knows why.
    pub is_deleted: AtomicBool,
}

impl Segment {
    /// The segment of a file.
    pub(super) fn new(number: u64, path: PathBuf, first_sequence: u64) -> Self {
        Self { number, path, first_sequence, is_deleted: AtomicBool::new(false) }
    }
}

/// A segment with the sequence number at which its entries end.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    pub segment: Arc<Segment>,
    pub next: u64,
}

/// All segments, in order. Clones are the same list.
#[derive(Clone, Debug)]
pub(super) struct Catalogue(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    segments: Vec<Arc<Segment>>,
    /// The sequence number of the next entry.
    next_sequence: u64,
    /// Counts the changes.
    generation: u64,
}

impl Catalogue {
    pub(super) fn new(segments: Vec<Arc<Segment>>, next_sequence: u64) -> Self {
        let state = State { segments, next_sequence, generation: 0 };
        Self(Arc::new(Inner { state: Mutex::new(state), changed: Condvar::new() }))
    }

    /// The segments as they are now.
    pub(super) fn segments(&self) -> Vec<Bounded> {
        let state = self.state();
        let starts = state.segments.iter().skip(1).map(|segment| segment.first_sequence);
        let ends = starts.chain([state.next_sequence]);
        let pairs = state.segments.iter().zip(ends);
        pairs.map(|(segment, next)| Bounded { segment: Arc::clone(segment), next }).collect()
    }

    /// Takes out the segments that end at the entry `last` or before, but never the newest, and returns them.
    pub(super) fn remove_until(&self, last: u64) -> Vec<Arc<Segment>> {
        let mut state = self.state();
        // A segment ends where the next one starts.
        let starts = state.segments.iter().skip(1).map(|segment| segment.first_sequence);
        let count = starts.take_while(|next| *next <= last.saturating_add(1)).count();
        let removed: Vec<_> = state.segments.drain(..count).collect();
        drop(state);
        for segment in &removed {
            segment.is_deleted.store(true, SeqCst);
        }
        self.wake();
        removed
    }

    /// How many entries were ever kept.
    pub(super) fn entries(&self) -> u64 {
        self.state().next_sequence.saturating_sub(1)
    }

    /// The first sequence number that is still there; 0 when none is.
    pub(super) fn first_sequence(&self) -> u64 {
        let state = self.state();
        state.segments.first().map_or(0, |segment| segment.first_sequence)
    }

    /// Makes durable entries visible to readers.
    pub(super) fn publish(&self, number: u64, path: &Path, entries: &[Placed]) {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        let mut state = self.state();
        if state.segments.last().is_none_or(|segment| segment.number != number) {
            state.segments.push(Arc::new(Segment::new(number, path.to_owned(), first.sequence)));
        }
        state.next_sequence = last.sequence + 1;
        drop(state);
        self.wake();
    }

    /// The number of the newest change.
    pub(super) fn generation(&self) -> u64 {
        self.state().generation
    }

    /// Tells who waits that something has changed.
    pub(super) fn wake(&self) {
        self.state().generation += 1;
        self.0.changed.notify_all();
    }

    /// Waits until there is a change behind the one of this number, at most this long.
    pub(super) fn wait(&self, seen: u64, most: Duration) {
        let state = self.state();
        // Whether it waited too long makes no difference to who looks again.
        drop(self.0.changed.wait_timeout_while(state, most, |state| state.generation == seen));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
