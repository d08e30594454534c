//! The one thread that writes: gives sequence numbers, writes groups, makes them durable, goes on after failures.

use std::{
    io, mem,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Notify, oneshot};

use super::{
    Mode, Options,
    buffer::{Buffer, Drained, Entry},
    files::{SegmentFile, SegmentFiles, segment_path, sync_folder},
    frame::{HEADER_BYTES, Header, push_decision, push_group},
    index::{Catalogue, Placed},
};
use crate::app::ports::Clock;

/// How often the writer looks for records while there is traffic.
const ROUND: Duration = Duration::from_millis(2);
/// Without a record for so many rounds the writer goes to sleep.
const IDLE_ROUNDS_MAX: u32 = 25;
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_millis(200);
/// The most records of a group.
const GROUP_RECORDS_MAX: usize = 4096;
/// A group takes no more records once it is this long, in bytes.
const GROUP_BYTES: usize = 4 * 1024 * 1024;

/// What callers, readers and the writer share.
#[derive(Debug)]
pub(super) struct Shared {
    pub buffer: Buffer,
    pub catalogue: Catalogue,
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
    pub clock: Arc<dyn Clock>,
    pub files: Arc<dyn SegmentFiles>,
    pub segment: Option<OpenSegment>,
    pub next_sequence: u64,
    pub next_number: u64,
}

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct OpenSegment {
    pub number: u64,
    pub path: PathBuf,
    pub file: Box<dyn SegmentFile>,
    /// Where its last complete group ends.
    pub length: u64,
}

/// A group of records as it is written, and who waits for it.
#[derive(Debug, Default)]
struct Group {
    bytes: Vec<u8>,
    /// Offsets count from the start of the group.
    records: Vec<Placed>,
    record_bytes: u64,
    waiters: Vec<oneshot::Sender<()>>,
}

/// Says that the writer has ended, however it ended.
struct SayEnded(Arc<Shared>);

impl Drop for SayEnded {
    fn drop(&mut self) {
        self.0.buffer.close();
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
            if taken_in == drained {
                if shared.buffer.is_closed() && shared.buffer.taken_in() == drained {
                    return;
                }
                oldest = None;
                idle_rounds = idle_rounds.saturating_add(1);
                if self.options.mode == Mode::Strict || idle_rounds > IDLE_ROUNDS_MAX {
                    shared.buffer.sleep_unless_more_than(drained);
                } else {
                    thread::park_timeout(ROUND);
                }
                continue;
            }
            idle_rounds = 0;
            let waiting_since = *oldest.get_or_insert_with(Instant::now);
            if !self.is_due(taken_in - drained, waiting_since) {
                thread::park_timeout(ROUND);
                continue;
            }
            shared.is_flush_wanted.store(false, SeqCst);
            let taken = shared.buffer.drain(&mut spare);
            if taken.entries.is_empty() {
                // Room is reserved, but the records are not there yet.
                thread::yield_now();
                continue;
            }
            drained += taken.entries.len() as u64;
            oldest = None;
            match self.write_all(taken) {
                Some(memory) => spare.extend(memory),
                None => return,
            }
        }
    }

    fn is_due(&self, waiting: u64, since: Instant) -> bool {
        self.options.mode == Mode::Strict
            || waiting >= GROUP_RECORDS_MAX as u64
            || since.elapsed() >= self.options.group_interval
            || self.shared.is_flush_wanted.load(SeqCst)
            || self.shared.buffer.is_closed()
    }

    /// Writes all that was taken, group by group, and returns its memory; `None` when it was given up.
    fn write_all(&mut self, mut taken: Drained) -> Option<Vec<Vec<u8>>> {
        let mut entries = mem::take(&mut taken.entries).into_iter().peekable();
        let mut group = Group::default();
        while entries.peek().is_some() {
            group.clear();
            while group.records.len() < GROUP_RECORDS_MAX && group.bytes.len() < GROUP_BYTES {
                let Some(entry) = entries.next() else { break };
                group.push(self.next_sequence, taken.bytes(&entry), entry);
                self.next_sequence += 1;
            }
            group.finish();
            if !self.write_until_done(&mut group) {
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
        self.shared.buffer.release(group.records.len() as u64, group.record_bytes);
        for waiter in group.waiters.drain(..) {
            // Who gave up waiting needs no answer.
            let _gone_or_told = waiter.send(());
        }
        self.shared.progress.notify_waiters();
        true
    }

    /// Writes the group to the open segment, or to a new one, and makes it durable and visible.
    ///
    /// After an error the segment is left behind at its last complete group: what stands after that is rewritten,
    /// with the same sequence numbers, at the start of the next segment.
    fn write(&mut self, group: &Group) -> io::Result<()> {
        let length = group.bytes.len() as u64;
        let is_full = |segment: &OpenSegment| {
            segment.length > HEADER_BYTES && segment.length + length > self.options.segment_bytes_max
        };
        if self.segment.as_ref().is_none_or(is_full) {
            let first = group.records.first().map_or(self.next_sequence, |record| record.sequence);
            self.segment = Some(self.create_segment(first)?);
        }
        let Some(mut segment) = self.segment.take() else { return Ok(()) };
        if let Err(error) = segment.file.append(&group.bytes).and_then(|()| segment.file.sync()) {
            if segment.length == HEADER_BYTES {
                discard(&segment.path);
            }
            return Err(error);
        }
        let placed: Vec<_> = group
            .records
            .iter()
            .map(|record| Placed {
                offset: segment.length + record.offset,
                end: segment.length + record.end,
                ..*record
            })
            .collect();
        self.shared.catalogue.publish(segment.number, &segment.path, &placed);
        segment.length += length;
        self.segment = Some(segment);
        Ok(())
    }

    /// Makes a segment whose header and name are durable.
    fn create_segment(&mut self, first_sequence: u64) -> io::Result<OpenSegment> {
        let (path, mut file) = loop {
            let path = segment_path(&self.folder, self.next_number);
            match self.files.create(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.next_number += 1,
                Err(error) => return Err(error),
            }
        };
        let header = Header { first_sequence, created_us: self.clock.now_us() }.encode();
        let made = file.append(&header).and_then(|()| file.sync()).and_then(|()| sync_folder(&self.folder));
        if let Err(error) = made {
            discard(&path);
            return Err(error);
        }
        let number = self.next_number;
        self.next_number += 1;
        Ok(OpenSegment { number, path, file, length: header.len() as u64 })
    }
}

/// Removes a segment that holds no complete group. One that cannot be removed is passed over: its number is taken,
/// and readers and recovery take no record from it that the next segment has too.
fn discard(path: &Path) {
    if let Err(error) = std::fs::remove_file(path) {
        tracing::warn!(%error, segment = %path.display(), "an empty segment of the decision log stays behind");
    }
}

impl Group {
    fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.waiters.clear();
        self.record_bytes = 0;
    }

    fn push(&mut self, sequence: u64, record: &[u8], entry: Entry) {
        let offset = self.bytes.len() as u64;
        push_decision(&mut self.bytes, sequence, record);
        self.record_bytes += record.len() as u64;
        let Entry { time_us, waiter, .. } = entry;
        self.records.push(Placed { sequence, offset, end: self.bytes.len() as u64, time_us });
        self.waiters.extend(waiter);
    }

    fn finish(&mut self) {
        if let (Some(first), Some(last)) = (self.records.first(), self.records.last()) {
            let count = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
            push_group(&mut self.bytes, first.sequence, last.sequence, count);
        }
    }
}
