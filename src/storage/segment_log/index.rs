//! Which records stand where: for each segment, its runs of up to 256 records with place and times.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use super::frame::{FrameReader, HEADER_BYTES, Step};

/// The most records of a chunk.
const CHUNK_RECORDS_MAX: u64 = 256;
/// A chunk takes no more records once it is this long, in bytes.
const CHUNK_BYTES: u64 = 1024 * 1024;

/// A run of records of a segment: the unit that is read at once, or skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// The sequence numbers that should be in it: from this one,
    pub first: u64,
    /// to before this one.
    pub next: u64,
    /// Where its first frame starts in the file.
    pub offset: u64,
    /// Where its last frame ends.
    pub end: u64,
    /// The earliest time in it, in microseconds since the epoch.
    pub min_us: i64,
    /// The latest time in it.
    pub max_us: i64,
    /// Some of its records could not be read.
    pub is_damaged: bool,
}

impl Chunk {
    /// Records of which nothing is left.
    fn lost(first: u64, next: u64) -> Self {
        let (offset, end, min_us, max_us) = (HEADER_BYTES, HEADER_BYTES, i64::MIN, i64::MAX);
        Self { first, next, offset, end, min_us, max_us, is_damaged: true }
    }
}

/// An entry as the index sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub sequence: u64,
    pub offset: u64,
    pub end: u64,
    pub time_us: i64,
}

/// The chunks of a segment, in order, without gaps between their sequence numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks(pub Vec<Chunk>);

impl Chunks {
    /// Adds a record behind all others. `expected` is the sequence number that should come next; those between it and
    /// the record's are missing.
    pub(super) fn push(&mut self, expected: u64, record: Placed) {
        let Placed { sequence, offset, end, time_us } = record;
        let is_damaged = sequence != expected;
        match self.0.last_mut() {
            Some(last) if last.next - last.first < CHUNK_RECORDS_MAX && last.end - last.offset < CHUNK_BYTES => {
                last.next = sequence + 1;
                last.end = end;
                last.min_us = last.min_us.min(time_us);
                last.max_us = last.max_us.max(time_us);
                last.is_damaged |= is_damaged;
            }
            _ => self.0.push(Chunk {
                first: expected,
                next: sequence + 1,
                offset,
                end,
                min_us: time_us,
                max_us: time_us,
                is_damaged,
            }),
        }
    }

    /// Ends the list at the sequence number `next`: what is missing up to there is damage of the last chunk.
    /// A damaged chunk may hold any time between those of its neighbours.
    fn finish(&mut self, first: u64, next: u64) {
        let reached = self.0.last().map_or(first, |last| last.next);
        if reached < next {
            match self.0.last_mut() {
                Some(last) => (last.next, last.is_damaged) = (next, true),
                None => self.0.push(Chunk::lost(first, next)),
            }
        }
        let times: Vec<_> = self.0.iter().map(|chunk| (chunk.min_us, chunk.max_us)).collect();
        for (at, chunk) in self.0.iter_mut().enumerate().filter(|(_, chunk)| chunk.is_damaged) {
            let before = at.checked_sub(1).and_then(|at| times.get(at)).map_or(i64::MIN, |times| times.0);
            let after = times.get(at + 1).map_or(i64::MAX, |times| times.1);
            (chunk.min_us, chunk.max_us) = (chunk.min_us.min(before), chunk.max_us.max(after));
        }
    }
}

/// A segment file and what is known of it.
#[derive(Debug)]
pub(super) struct Segment {
    /// The number in its name.
    pub number: u64,
    /// The file.
    pub path: PathBuf,
    /// The sequence number of its first record.
    pub first_sequence: u64,
    /// The file is going or gone; who finds nothing of it knows why.
    pub is_deleted: AtomicBool,
    /// `None` until the file was looked through.
    chunks: Mutex<Option<Chunks>>,
}

impl Segment {
    /// A segment of an earlier run, to be looked through when it is first read.
    pub(super) fn unread(number: u64, path: PathBuf, first_sequence: u64) -> Self {
        Self { number, path, first_sequence, is_deleted: AtomicBool::new(false), chunks: Mutex::new(None) }
    }

    /// A segment whose records are known.
    pub(super) fn known(number: u64, path: PathBuf, first_sequence: u64, chunks: Chunks) -> Self {
        Self { number, path, first_sequence, is_deleted: AtomicBool::new(false), chunks: Mutex::new(Some(chunks)) }
    }

    /// A segment of which nothing can be read. It counts as one record, so that what spans it is known to be incomplete.
    pub(super) fn lost(number: u64, path: PathBuf, first_sequence: u64) -> Self {
        let chunks = Chunks(vec![Chunk::lost(first_sequence, first_sequence + 1)]);
        Self::known(number, path, first_sequence, chunks)
    }

    /// The chunks up to the sequence number `next`, where the following segment starts.
    pub(super) fn chunks(&self, next: u64) -> io::Result<Vec<Chunk>> {
        let mut chunks = lock(&self.chunks);
        let known = match &mut *chunks {
            Some(known) => known,
            None => chunks.insert(look_through(&self.path, self.first_sequence, next)?),
        };
        Ok(known.0.clone())
    }

    fn extend(&self, records: &[Placed]) {
        if let Some(chunks) = &mut *lock(&self.chunks) {
            for record in records {
                chunks.push(record.sequence, *record);
            }
        }
    }
}

/// Finds the records of a segment with sequence numbers from `first` to before `next`. Whatever follows the last of
/// them is the rest of a write that failed; its records stand in the next segment.
fn look_through(path: &Path, first: u64, next: u64) -> io::Result<Chunks> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(HEADER_BYTES))?;
    let mut frames = FrameReader::new(file, HEADER_BYTES);
    let mut chunks = Chunks::default();
    let mut expected = first;
    while expected < next {
        match frames.step()? {
            Step::Frame { offset, end, body, .. } => {
                if let Some((sequence, Some(time_us))) = body.entry()
                    && (expected..next).contains(&sequence)
                {
                    chunks.push(expected, Placed { sequence, offset, end, time_us });
                    expected = sequence + 1;
                }
            }
            Step::Bad { .. } => {
                if !frames.resync(&(expected..next))? {
                    break;
                }
            }
            Step::End => break,
        }
    }
    chunks.finish(first, next);
    if chunks.0.iter().any(|chunk| chunk.is_damaged) {
        tracing::error!(segment = %path.display(), "a segment of the decision log is damaged");
    }
    Ok(chunks)
}

/// A segment with the sequence number at which its records end.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    pub segment: Arc<Segment>,
    pub next: u64,
}

/// All segments, in order.
#[derive(Debug, Default)]
pub(super) struct Catalogue(RwLock<State>);

#[derive(Debug, Default)]
struct State {
    segments: Vec<Arc<Segment>>,
    /// The sequence number of the next record.
    next_sequence: u64,
}

impl Catalogue {
    pub(super) fn new(segments: Vec<Arc<Segment>>, next_sequence: u64) -> Self {
        Self(RwLock::new(State { segments, next_sequence }))
    }

    /// The segments as they are now.
    pub(super) fn segments(&self) -> Vec<Bounded> {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let starts = state.segments.iter().skip(1).map(|segment| segment.first_sequence);
        let ends = starts.chain([state.next_sequence]);
        let pairs = state.segments.iter().zip(ends);
        pairs.map(|(segment, next)| Bounded { segment: Arc::clone(segment), next }).collect()
    }

    /// Takes out the segments that end at the entry `last` or before, but never the newest, and returns them.
    pub(super) fn remove_until(&self, last: u64) -> Vec<Arc<Segment>> {
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        // A segment ends where the next one starts.
        let starts = state.segments.iter().skip(1).map(|segment| segment.first_sequence);
        let count = starts.take_while(|next| *next <= last.saturating_add(1)).count();
        let removed: Vec<_> = state.segments.drain(..count).collect();
        removed.iter().for_each(|segment| segment.is_deleted.store(true, SeqCst));
        removed
    }

    /// How many entries were ever kept.
    pub(super) fn entries(&self) -> u64 {
        self.0.read().unwrap_or_else(PoisonError::into_inner).next_sequence.saturating_sub(1)
    }

    /// The first sequence number that is still there; 0 when none is.
    pub(super) fn first_sequence(&self) -> u64 {
        let state = self.0.read().unwrap_or_else(PoisonError::into_inner);
        state.segments.first().map_or(0, |segment| segment.first_sequence)
    }

    /// Makes durable records visible to readers.
    pub(super) fn publish(&self, number: u64, path: &Path, records: &[Placed]) {
        let (Some(first), Some(last)) = (records.first(), records.last()) else { return };
        let mut state = self.0.write().unwrap_or_else(PoisonError::into_inner);
        match state.segments.last() {
            Some(segment) if segment.number == number => segment.extend(records),
            _ => {
                let segment = Segment::known(number, path.to_owned(), first.sequence, Chunks::default());
                segment.extend(records);
                state.segments.push(Arc::new(segment));
            }
        }
        state.next_sequence = last.sequence + 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
