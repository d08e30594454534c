//! The one thread that writes: gives sequence numbers, writes groups, makes them durable, goes on after failures.

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::Notify;

use super::{
    Mode, Options,
    buffer::{Buffer, Drained},
    checkpoints::Appended,
    files::{SegmentFile, SegmentFiles, segment_path, sync_folder},
    frame::{Footer, HEADER_BYTES, Header, push_footer},
    gaps::Dropped,
    group::{Group, Noted},
    index::{Catalogue, Placed},
    notes::{Note, Notes},
    retention::Deletion,
    wall_clock::WallClock,
};
use crate::app::ports::BeforeGroup;
use crate::domain::{
    log_event::{EventKind, LogEvent},
    merkle::Frontier,
};

/// How often the writer looks for records while there is traffic.
const ROUND: Duration = Duration::from_millis(2);
/// Without a record for so many rounds the writer goes to sleep.
const IDLE_ROUNDS_MAX: u32 = 25;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The longest sleep of a writer with nothing to do.
const SLEEP_MAX: Duration = Duration::from_secs(3600);
/// The most records of a group.
const GROUP_RECORDS_MAX: usize = 4096;
/// A group takes no more records once it is this long, in bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// What callers, readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub buffer: Buffer,
    pub notes: Notes,
    pub dropped: Dropped,
    pub catalogue: Catalogue,
    /// When the last group became durable, in microseconds since the epoch; 0 when none did.
    pub flushed_at_us: AtomicI64,
    /// How many gaps were written.
    pub gaps: AtomicU64,
    /// A part of the log was found that cannot be read.
    pub is_damaged: AtomicBool,
    /// Told of each group that is durable.
    pub appended: Appended,
    /// The last attempt to write failed.
    pub is_failing: AtomicBool,
    /// The writer has ended.
    pub has_ended: AtomicBool,
    /// Records wait for nothing but this: write at once.
    pub is_flush_wanted: AtomicBool,
    /// Told after each group and each change of the flags above.
    pub progress: Notify,
}

/// The writer's own state.
#[derive(Debug)]
pub(super) struct SegmentWriter {
    pub shared: Arc<Shared>,
    pub options: Options,
    pub folder: PathBuf,
    pub clock: WallClock,
    pub before_group: Option<Arc<dyn BeforeGroup>>,
    pub files: Arc<dyn SegmentFiles>,
    pub segment: Option<OpenSegment>,
    /// The tree of all entries that are durable.
    pub tree: Frontier,
    pub next_number: u64,
    /// Events that come before whatever is written next.
    pub first: Vec<Noted>,
    /// What an earlier run began to delete. The log says so in its first group, if it has not yet.
    pub deletion: Option<Deletion>,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub number: u64,
    pub path: PathBuf,
    pub file: Box<dyn SegmentFile>,
    /// Where its last complete group ends.
    pub length: u64,
    pub span: Span,
    /// When it was made, on the clock that never jumps.
    pub made_at_us: i64,
}

/// What a segment spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Its first entry.
    pub first: u64,
    /// The earliest time of an entry, in microseconds since the epoch.
    pub min_us: i64,
    /// The latest time of an entry.
    pub max_us: i64,
}

impl Span {
    /// No entry yet.
    pub(super) fn starting_at(first: u64) -> Self {
        Self { first, min_us: i64::MAX, max_us: i64::MIN }
    }

    /// Takes in an entry's time.
    pub(super) fn take_in(&mut self, time_us: i64) {
        self.min_us = self.min_us.min(time_us);
        self.max_us = self.max_us.max(time_us);
    }
}

/// Says that the writer has ended, however it ended.
struct SayEnded(Arc<Shared>);

impl Drop for SayEnded {
    fn drop(&mut self) {
        self.0.buffer.close();
        self.0.notes.abandon();
        self.0.dropped.close();
        self.0.has_ended.store(true, SeqCst);
        self.0.progress.notify_waiters();
    }
}

impl SegmentWriter {
    /// Writes until the log is closed and everything is written.
    pub(super) fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let _say_ended = SayEnded(Arc::clone(&shared));
        let (mut drained, mut idle_rounds) = (0_u64, 0_u32);
        let mut oldest: Option<Instant> = None;
        let mut spare = Vec::new();
        loop {
            let taken_in = shared.buffer.taken_in();
            let has_events = !shared.notes.is_empty() || !self.first.is_empty() || shared.dropped.is_pending();
            if taken_in == drained && !has_events {
                if shared.buffer.is_closed() && shared.buffer.taken_in() == drained && shared.notes.close() {
                    self.stop();
                    return;
                }
                oldest = None;
                idle_rounds = idle_rounds.saturating_add(1);
                self.rest(drained, idle_rounds);
                continue;
            }
            idle_rounds = 0;
            let waiting_since = *oldest.get_or_insert_with(Instant::now);
            if !has_events && !self.is_due(taken_in - drained, waiting_since) {
                thread::park_timeout(ROUND);
                continue;
            }
            shared.is_flush_wanted.store(false, SeqCst);
            let notes = shared.notes.take();
            let taken = shared.buffer.drain(&mut spare);
            if taken.entries.is_empty() && !has_events {
                // Room is reserved, but the records are not there yet.
                thread::yield_now();
                continue;
            }
            drained += taken.entries.len() as u64;
            oldest = None;
            match self.write_all(taken, notes) {
                Some(memory) => spare.extend(memory),
                None => return,
            }
        }
    }

    /// Waits for something to do, less and less often. A segment that is old enough is ended meanwhile.
    fn rest(&mut self, drained: u64, idle_rounds: u32) {
        if self.segment.as_ref().is_some_and(|segment| self.is_old(segment)) {
            self.seal();
        }
        if self.options.mode == Mode::Strict || idle_rounds > IDLE_ROUNDS_MAX {
            let until_old = self.segment.as_ref().map_or(SLEEP_MAX, |segment| self.until_old(segment));
            self.shared.buffer.sleep_unless_more_than(drained, until_old.min(SLEEP_MAX));
        } else {
            thread::park_timeout(ROUND);
        }
    }

    fn is_due(&self, waiting: u64, since: Instant) -> bool {
        self.options.mode == Mode::Strict
            || waiting >= GROUP_RECORDS_MAX as u64
            || since.elapsed() >= self.options.group_interval
            || self.shared.is_flush_wanted.load(SeqCst)
            || self.shared.buffer.is_closed()
    }

    /// Says that the log ends in order.
    fn stop(&mut self) {
        let mut group = Group::default();
        self.shared.dropped.close();
        self.begin(&mut group);
        group.note(&self.event(EventKind::Stop).into(), None);
        group.finish();
        self.write_until_done(&mut group);
    }

    /// Begins a group with what happened to the log and to the clock since the last one.
    fn begin(&mut self, group: &mut Group) {
        group.begin(&self.tree);
        for event in mem::take(&mut self.first) {
            group.note(&event, None);
        }
        if let Some(change) = self.clock.change() {
            group.note(&self.event(change).into(), None);
        }
        let buffer = &self.shared.buffer;
        // A log in which nothing waits takes records, whether it wrote some or not.
        let written = if buffer.taken_in() == buffer.written() { u64::MAX } else { buffer.written() };
        if let Some(gap) = self.shared.dropped.take(written) {
            group.note(&self.event(EventKind::Gap(gap)).into(), None);
        }
    }

    fn event(&self, kind: EventKind) -> LogEvent {
        LogEvent { time_us: self.clock.now_us(), kind }
    }

    /// Writes all that was taken, group by group, events behind the records that came before them, and returns the
    /// memory; `None` when it was given up.
    fn write_all(&mut self, mut taken: Drained, notes: Vec<Note>) -> Option<Vec<Vec<u8>>> {
        let mut entries = mem::take(&mut taken.entries).into_iter().peekable();
        let mut notes = notes.into_iter().peekable();
        let mut group = Group::default();
        let mut is_first = true;
        while mem::take(&mut is_first) || entries.peek().is_some() || notes.peek().is_some() {
            self.begin(&mut group);
            while group.entries.len() < GROUP_RECORDS_MAX && group.bytes.len() < GROUP_BYTES {
                if let Some(entry) = entries.next() {
                    group.push(taken.bytes(&entry), entry);
                } else if let Some(Note { event, waiter }) = notes.next() {
                    group.note(&event, waiter);
                } else {
                    break;
                }
            }
            group.finish();
            if !group.entries.is_empty() && !self.write_until_done(&mut group) {
                return None;
            }
        }
        Some(taken.into_spare())
    }

    /// Tries until the group is durable; `false` when the log was closed and it still cannot be written.
    fn write_until_done(&mut self, group: &mut Group) -> bool {
        let mut closed_since = None;
        let mut is_first_failure = true;
        while let Err(error) = self.write(group) {
            if !self.shared.is_failing.swap(true, SeqCst) {
                tracing::error!(%error, folder = %self.folder.display(), "the decision log cannot be written");
                self.shared.progress.notify_waiters();
            }
            if self.shared.buffer.is_closed()
                && closed_since.get_or_insert_with(Instant::now).elapsed() > self.options.strict_wait
            {
                let lost = self.shared.buffer.taken_in() - self.shared.buffer.written();
                tracing::error!(lost, folder = %self.folder.display(), "gave up records of the closed decision log");
                return false;
            }
            // The first time a new segment is tried at once.
            if !mem::take(&mut is_first_failure) {
                thread::park_timeout(RETRY);
            }
        }
        if self.shared.is_failing.swap(false, SeqCst) {
            tracing::info!(folder = %self.folder.display(), "the decision log can be written again");
        }
        self.tree.clone_from(&group.tree);
        // Before who waits is told: a checkpoint that he asks for next covers what he wrote.
        self.shared.appended.take(&group.leaves, &group.tree);
        self.shared.flushed_at_us.store(self.clock.now_us(), SeqCst);
        self.shared.gaps.fetch_add(group.gaps, SeqCst);
        self.shared.buffer.release(group.records, group.record_bytes);
        group.tell();
        self.shared.progress.notify_waiters();
        if let Some(deletion) = self.deletion.take()
            && let Err(error) = deletion.finish(&self.folder, &self.shared.catalogue)
        {
            tracing::error!(%error, folder = %self.folder.display(), "old entries of the decision log cannot be deleted");
        }
        true
    }

    /// Writes the group to the open segment, or to a new one, and makes it durable and visible.
    ///
    /// After an error the segment is left behind at its last complete group: what stands after that is rewritten,
    /// with the same sequence numbers, at the start of the next segment.
    fn write(&mut self, group: &Group) -> io::Result<()> {
        if let Some(before_group) = &self.before_group {
            before_group.make_durable()?;
        }
        let length = group.bytes.len() as u64;
        if self.segment.as_ref().is_some_and(|segment| self.is_full(segment, length)) {
            self.seal();
        }
        if self.segment.is_none() {
            self.segment = Some(self.create_segment()?);
        }
        let Some(mut segment) = self.segment.take() else { return Ok(()) };
        if let Err(error) = segment.file.append(&group.bytes).and_then(|()| segment.file.sync()) {
            if segment.length == HEADER_BYTES {
                discard(&segment.path);
            }
            return Err(error);
        }
        let placed: Vec<_> = group
            .entries
            .iter()
            .map(|entry| Placed { offset: segment.length + entry.offset, end: segment.length + entry.end, ..*entry })
            .collect();
        for entry in &placed {
            segment.span.take_in(entry.time_us);
        }
        self.shared.catalogue.publish(segment.number, &segment.path, &placed);
        segment.length += length;
        self.segment = Some(segment);
        Ok(())
    }

    fn is_full(&self, segment: &OpenSegment, more: u64) -> bool {
        let is_full = segment.length > HEADER_BYTES && segment.length + more > self.options.segment_bytes_max;
        is_full || self.is_old(segment)
    }

    fn is_old(&self, segment: &OpenSegment) -> bool {
        segment.length > HEADER_BYTES && self.until_old(segment).is_zero()
    }

    fn until_old(&self, segment: &OpenSegment) -> Duration {
        let age_us = self.clock.monotonic_us().saturating_sub(segment.made_at_us);
        self.options.segment_age_max.saturating_sub(Duration::from_micros(u64::try_from(age_us).unwrap_or(0)))
    }

    /// Ends the open segment with its footer. One that cannot be ended is left behind without: all that it holds is
    /// durable and says so itself.
    fn seal(&mut self) {
        let Some(mut segment) = self.segment.take() else { return };
        let Span { first, min_us, max_us } = segment.span;
        let last = self.tree.size();
        let footer =
            Footer { first, last, count: last + 1 - first, min_us, max_us, tree_size: last, root: self.tree.root() };
        let mut bytes = Vec::new();
        push_footer(&mut bytes, &footer);
        if let Err(error) = segment.file.append(&bytes).and_then(|()| segment.file.sync()) {
            tracing::warn!(%error, segment = %segment.path.display(), "a segment of the decision log stays without its end");
        }
    }

    /// Makes a segment whose header and name are durable.
    fn create_segment(&mut self) -> io::Result<OpenSegment> {
        let (path, mut file) = loop {
            let path = segment_path(&self.folder, self.next_number);
            match self.files.create(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.next_number += 1,
                Err(error) => return Err(error),
            }
        };
        let (mode, created_us) = (self.options.mode.number(), self.clock.now_us());
        let header = Header { mode, created_us, before: self.tree.clone() };
        let bytes = header.encode();
        let made = file.append(&bytes).and_then(|()| file.sync()).and_then(|()| sync_folder(&self.folder));
        if let Err(error) = made {
            discard(&path);
            return Err(error);
        }
        let number = self.next_number;
        self.next_number += 1;
        let span = Span::starting_at(header.first_sequence());
        Ok(OpenSegment { number, path, file, length: HEADER_BYTES, span, made_at_us: self.clock.monotonic_us() })
    }
}

/// Removes a segment that holds no complete group. One that cannot be removed is passed over: its number is taken,
/// and readers and recovery take no entry from it that the next segment has too.
fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, segment = %path.display(), "an empty segment of the decision log stays behind");
    }
}
