//! Builds the index on a thread of its own, behind the writer, from what stands in the segments.
//!
//! What is not indexed yet, or not any more, is a hole: readers scan it, and the thread fills it, the oldest first. So a
//! lost or damaged index costs time and never an answer.

mod upkeep;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    catalogue::{Block, Catalogue},
    file,
    open::{OpenBlock, Place},
    terms::{Term, TermKey},
    view::View,
};
use crate::{
    domain::log_event::LogEvent,
    storage::segment_log::{
        frame::HEADER_BYTES,
        index::{Bounded, Catalogue as Segments, Segment},
        scan::{Entry, checksum_at, scan},
        seal::LogKey,
    },
};

/// How long the thread lets entries gather before it takes them in.
const GATHER: Duration = Duration::from_millis(50);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(10);
/// How long a question waits for the index of an earlier run to be opened.
const LOAD_WAIT: Duration = Duration::from_secs(5);
/// More lost entries than this in a row make a block of their own.
const LOST_MAX: u64 = 1024;

/// The index of a log, and the thread that builds it. Dropping it stops the thread.
#[derive(Debug)]
pub(in crate::storage::segment_log) struct Index {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    /// Where the files go; `None` to keep the index in memory alone.
    folder: Option<PathBuf>,
    log_key: LogKey,
    terms: TermKey,
    segments: Segments,
    block_entries_max: u32,
    state: Mutex<State>,
    /// The catalogue was opened, or cannot be.
    loaded: Condvar,
    is_stopping: AtomicBool,
}

/// What is indexed.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Open once the thread has opened it, unless it cannot be.
    pub catalogue: Option<Arc<Catalogue>>,
    /// By their first sequence numbers.
    pub blocks: BTreeMap<u64, Arc<Block>>,
    /// The block that is being filled.
    pub open: Option<OpenBlock>,
    /// The block that is being written to disk.
    pub sealing: Option<Arc<OpenBlock>>,
    /// All events of these blocks.
    pub events: BTreeMap<u64, LogEvent>,
    /// What an earlier run kept is here, if it can be had.
    is_loaded: bool,
    /// The database failed: it is made anew.
    is_broken: bool,
    /// Blocks whose index was found to be damaged, to be forgotten.
    damaged: Vec<Arc<Block>>,
}

/// Entries that are not indexed.
#[derive(Debug)]
struct Hole {
    segment: Bounded,
    is_last_segment: bool,
    first: u64,
    next: u64,
    offset: u64,
}

/// What one look at the log came to.
enum Work {
    Done,
    Nothing,
}

impl Index {
    /// Starts to index the segments; the files go into this folder. Returns at once.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub(in crate::storage::segment_log) fn start(
        folder: Option<&Path>,
        log_key: LogKey,
        terms: TermKey,
        segments: Segments,
        block_entries_max: u32,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            folder: folder.map(Path::to_owned),
            log_key,
            terms,
            segments,
            block_entries_max,
            state: Mutex::default(),
            loaded: Condvar::new(),
            is_stopping: AtomicBool::new(false),
        });
        let worker = Arc::clone(&shared);
        let thread = thread::Builder::new().name("decision-index".to_owned()).spawn(move || worker.run())?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// The log as it is now: what is indexed, with what the open block has for these conditions, and what is not.
    pub(in crate::storage::segment_log) fn view(&self, conditions: &[Vec<Term>]) -> View {
        let state = self.shared.state();
        // Without what an earlier run kept, everything would have to be read.
        let waited = self.shared.loaded.wait_timeout_while(state, LOAD_WAIT, |state| !state.is_loaded);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        // Taken second: it reaches at least as far as what is indexed.
        View::of(&state, self.shared.segments.segments(), conditions)
    }

    /// The key of the terms.
    pub(in crate::storage::segment_log) fn terms(&self) -> &TermKey {
        &self.shared.terms
    }

    /// The index of a block gave something that is not in the log, or could not be read: it is made anew.
    pub(in crate::storage::segment_log) fn distrust(&self, block: &Arc<Block>) {
        let mut state = self.shared.state();
        // It may have been made anew already, or deleted with its segment.
        if state.blocks.get(&block.first).is_some_and(|known| Arc::ptr_eq(known, block)) {
            tracing::warn!(block = block.first, "a block of the index of the decision log is damaged and made anew");
            state.blocks.remove(&block.first);
            state.damaged.push(Arc::clone(block));
            drop(state);
            self.shared.segments.wake();
        }
    }

    /// The catalogue failed: it is made anew.
    pub(in crate::storage::segment_log) fn distrust_catalogue(&self) {
        self.shared.state().give_up_catalogue();
        self.shared.segments.wake();
    }

    /// The entries up to this sequence number were deleted meanwhile.
    pub(in crate::storage::segment_log) fn is_deleted(&self, sequence: u64) -> bool {
        self.shared.segments.first_sequence() > sequence
    }

    /// Ends the thread and lets go of the files. What is asked later is read from the segments.
    pub(in crate::storage::segment_log) fn stop(&self) {
        self.shared.is_stopping.store(true, SeqCst);
        self.shared.segments.wake();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            thread.thread().unpark();
            // What it had not written is built again at the next start.
            let _ended = thread.join();
        }
        let catalogue = self.shared.state().catalogue.take();
        drop(catalogue);
    }

    /// Everything that was published is indexed, the open block in memory.
    pub(in crate::storage::segment_log) fn is_caught_up(&self) -> bool {
        let state = self.shared.state();
        let is_kept = state.blocks.values().all(|block| block.checksum.is_some() || block.last.is_none());
        is_kept && state.damaged.is_empty() && self.shared.hole(&state, &BTreeSet::new()).is_none()
    }

    /// How many blocks have an index file.
    #[cfg(test)]
    pub(in crate::storage::segment_log) fn blocks(&self) -> usize {
        self.shared.state().blocks.values().filter(|block| block.checksum.is_some()).count()
    }
}

impl Drop for Index {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self) {
        let mut retry_at = Instant::now();
        let mut unreadable = BTreeSet::new();
        while !self.is_stopping.load(SeqCst) {
            let seen = self.segments.generation();
            let is_broken = self.state().is_broken;
            if is_broken || Instant::now() >= retry_at {
                unreadable.clear();
                self.mend();
                self.state().is_loaded = true;
                self.loaded.notify_all();
                retry_at = Instant::now() + RETRY;
            }
            self.forget_damaged();
            match self.fill_one(&mut unreadable) {
                Work::Done => {}
                Work::Nothing => {
                    self.segments.wait(seen, RETRY);
                    if !self.is_stopping.load(SeqCst) {
                        thread::park_timeout(GATHER);
                    }
                }
            }
        }
    }

    /// The first hole in a segment that can be read.
    fn hole(&self, state: &State, unreadable: &BTreeSet<u64>) -> Option<Hole> {
        let segments = self.segments.segments();
        let count = segments.len();
        segments.into_iter().enumerate().find_map(|(at, segment)| {
            let (mut first, mut offset, next) = (segment.segment.first_sequence, HEADER_BYTES, segment.next);
            for (start, block) in state.blocks.range(first..next.max(first)) {
                if *start > first {
                    break;
                }
                (first, offset) = (block.next, block.end);
            }
            if let Some(open) = state.open.as_ref().filter(|open| open.first == first && open.count() > 0) {
                (first, offset) = (open.next(), open.end);
            }
            let next = state.blocks.range(first..next.max(first)).next().map_or(next, |(start, _)| *start);
            let is_hole = first < next && !unreadable.contains(&segment.segment.number);
            is_hole.then_some(Hole { segment, is_last_segment: at + 1 == count, first, next, offset })
        })
    }

    /// Fills the first hole, up to where the log ended when it began.
    fn fill_one(&self, unreadable: &mut BTreeSet<u64>) -> Work {
        let Some(hole) = self.hole(&self.state(), unreadable) else {
            return self.seal_ended();
        };
        let number = hole.segment.segment.number;
        {
            let mut state = self.state();
            let goes_on = |open: &OpenBlock| open.segment == number && open.next() == hole.first;
            if !state.open.as_ref().is_some_and(goes_on) {
                state.open = Some(OpenBlock::new(number, hole.first, hole.offset, self.block_entries_max));
            }
        }
        if let Err(error) = self.read(&hole) {
            tracing::error!(%error, segment = %hole.segment.segment.path.display(), "a segment of the decision log cannot be read to its end");
            self.state().open = None;
            unreadable.insert(number);
            return Work::Done;
        }
        if self.is_stopping.load(SeqCst) {
            return Work::Done;
        }
        self.lose(&hole.segment.segment, hole.next);
        if !(hole.is_last_segment && hole.next == hole.segment.next) {
            self.seal(&hole.segment.segment);
        }
        Work::Done
    }

    /// Writes the open block when its segment takes no more entries.
    fn seal_ended(&self) -> Work {
        let segments = self.segments.segments();
        let Some(open) = self.state().open.as_ref().map(|open| open.segment) else { return Work::Nothing };
        if segments.last().is_none_or(|last| last.segment.number == open) {
            return Work::Nothing;
        }
        if let Some(bounded) = segments.iter().find(|bounded| bounded.segment.number == open) {
            self.seal(&bounded.segment);
        }
        self.state().open = None;
        Work::Done
    }

    fn read(&self, hole: &Hole) -> io::Result<()> {
        let segment = &hole.segment.segment;
        let mut terms = Vec::new();
        scan(&segment.path, hole.offset, hole.first, hole.next, |place, body| {
            terms.clear();
            match Entry::open(body, &self.log_key) {
                Some(Entry::Decision(logged)) => {
                    self.terms.terms_of(&logged.record, |term| terms.push(term));
                    self.put(segment, place, &terms, None);
                }
                Some(Entry::Event(logged)) => self.put(segment, place, &[], Some(logged.event)),
                None => {}
            }
            if self.is_stopping.load(SeqCst) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    }

    /// Takes an entry into the open block, or into the next one when that is full.
    fn put(&self, segment: &Segment, place: Place, terms: &[Term], event: Option<LogEvent>) {
        self.lose(segment, place.sequence);
        let mut state = self.state();
        if state.open.as_ref().is_none_or(|open| open.is_full(place.end)) {
            drop(state);
            self.seal(segment);
            state = self.state();
        }
        let State { open, events, .. } = &mut *state;
        let start = || OpenBlock::new(segment.number, place.sequence, place.offset, self.block_entries_max);
        let open = open.get_or_insert_with(start);
        let at = open.push(place);
        for term in terms {
            open.add(at, *term);
        }
        if let Some(event) = event {
            open.events.push(place.sequence);
            events.insert(place.sequence, event);
        }
    }

    /// The entries up to this sequence number are lost. Many of them get a block of their own, which has no file.
    fn lose(&self, segment: &Segment, next: u64) {
        let mut state = self.state();
        let Some(open) = &mut state.open else { return };
        if open.count() > 0 && next.saturating_sub(open.next()) <= LOST_MAX {
            open.lose_until(next);
        }
        if open.next() >= next {
            return;
        }
        let (first, base) = (open.next(), open.end);
        drop(state);
        self.seal(segment);
        let block = Block::lost(segment.number, first, next, base);
        let mut state = self.state();
        state.blocks.insert(first, Arc::new(block));
        state.open = Some(OpenBlock::new(segment.number, next, base, self.block_entries_max));
    }

    /// Writes the open block to disk and makes it one of the blocks.
    fn seal(&self, segment: &Segment) {
        let (block, catalogue) = {
            let mut state = self.state();
            let Some(open) = state.open.take().filter(|open| open.count() > 0) else { return };
            let open = Arc::new(open);
            state.sealing = Some(Arc::clone(&open));
            (open, state.catalogue.clone())
        };
        let mut sealed = Block::of(&block);
        sealed.last = block.last.and_then(|last| {
            let checksum = File::open(&segment.path).and_then(|file| checksum_at(&file, last)).ok().flatten();
            checksum.map(|checksum| (last, checksum))
        });
        if let (Some(catalogue), true) = (catalogue, sealed.last.is_some()) {
            self.keep(&catalogue, &block, &mut sealed);
        }
        let mut state = self.state();
        state.sealing = None;
        state.blocks.insert(sealed.first, Arc::new(sealed));
    }

    fn keep(&self, catalogue: &Catalogue, block: &OpenBlock, sealed: &mut Block) {
        let file::Encoded { file, checksum, postings } = file::encode(block);
        sealed.checksum = Some(checksum);
        if let Err(error) = catalogue.keep(sealed, &file, &postings) {
            self.warn(&error, "a part of the index of the decision log cannot be written; reading it takes longer");
            sealed.checksum = None;
            self.judge(&error);
        }
    }
}

impl State {
    fn give_up_catalogue(&mut self) {
        // A question that is under way may have the old one still; the new one is none of its business.
        self.is_broken |= self.catalogue.take().is_some();
    }
}
