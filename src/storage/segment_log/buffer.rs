//! Where callers leave records for the writer: bounded, sharded by thread, without a wake-up for each record.
//!
//! A record gets a ticket when room is reserved for it. The writer takes everything from all shards at once and sorts
//! it by ticket, so a record whose append began after another's had returned stands behind it in the log.

use std::{
    cell::Cell,
    mem,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    thread::Thread,
    time::Duration,
};

use tokio::sync::oneshot;

use super::{
    frame::DECISION_CLEAR_BYTES,
    seal::{LogKey, SealError, TAG_BYTES},
};
use crate::domain::{codec::Writer, decision_record::DecisionRecord};

/// Set in [`Buffer::reserved`] when no more records are taken.
const CLOSED: u64 = 1 << 63;
/// A shard's memory is used again after it was emptied, unless it grew beyond this, in bytes.
const SHARD_BYTES_KEPT: usize = 4 * 1024 * 1024;
/// Room for most records, in bytes.
const RECORD_BYTES_USUAL: usize = 1024;

/// Records in their stored form, each with id and time in clear and the rest sealed, on the way into the buffer.
#[derive(Debug)]
pub(super) struct Encoded {
    bytes: Vec<u8>,
    /// Where each record ends in `bytes`, and its time in microseconds since the epoch.
    ends: Vec<(usize, i64)>,
}

impl Encoded {
    /// Seals records, in the thread of who appends them.
    pub(super) fn of(records: &[DecisionRecord], key: &LogKey) -> Result<Self, SealError> {
        let mut bytes = Vec::with_capacity(RECORD_BYTES_USUAL * records.len());
        let mut ends = Vec::with_capacity(records.len());
        for record in records {
            let mut out = Writer::after(bytes);
            out.u128(record.id.0);
            out.raw(&record.time_us.to_le_bytes());
            let start = out.len();
            record.encode_into(&mut out);
            bytes = out.into_bytes();
            key.seal_decision(record.id, record.time_us, &mut bytes, start)?;
            ends.push((bytes.len(), record.time_us));
        }
        Ok(Self { bytes, ends })
    }

    /// The length of the longest record in bytes, before it was sealed.
    pub(super) fn longest(&self) -> usize {
        let mut start = 0;
        let lengths = self.ends.iter().map(|(end, _)| end - mem::replace(&mut start, *end));
        lengths.max().unwrap_or_default().saturating_sub(DECISION_CLEAR_BYTES + TAG_BYTES)
    }
}

/// A record that waits to be written.
#[derive(Debug)]
pub(super) struct Entry {
    ticket: u64,
    shard: usize,
    start: usize,
    end: usize,
    /// In microseconds since the epoch.
    pub time_us: i64,
    /// Told when this record, the last of its append, is durable.
    pub waiter: Option<oneshot::Sender<()>>,
}

/// What was taken out of the buffer at one moment, in the order in which it is to be written.
#[derive(Debug)]
pub(super) struct Drained {
    shards: Vec<Vec<u8>>,
    pub entries: Vec<Entry>,
}

impl Drained {
    /// The stored form of one of the entries.
    pub(super) fn bytes(&self, entry: &Entry) -> &[u8] {
        self.shards.get(entry.shard).and_then(|shard| shard.get(entry.start..entry.end)).unwrap_or_default()
    }

    /// The memory, for the next [`Buffer::drain`]: fresh pages for each round cost callers more than their records do.
    pub(super) fn into_spare(self) -> Vec<Vec<u8>> {
        self.shards
            .into_iter()
            .filter(|shard| (1..=SHARD_BYTES_KEPT).contains(&shard.capacity()))
            .map(|mut shard| {
                shard.clear();
                shard
            })
            .collect()
    }
}

/// Why the buffer takes nothing now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// There is no room until records were written.
    Full,
    /// The log was closed.
    Closed,
}

#[derive(Debug, Default)]
struct Shard {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
}

/// The buffer.
#[derive(Debug)]
pub(super) struct Buffer {
    shards: Box<[Mutex<Shard>]>,
    records_max: u64,
    bytes_max: u64,
    /// How many records were ever taken in, and the [`CLOSED`] flag.
    reserved: AtomicU64,
    /// How many of them are written.
    released: AtomicU64,
    /// How many bytes are held.
    bytes: AtomicU64,
    /// The writer is parked until somebody wakes it.
    is_writer_asleep: AtomicBool,
    /// The writer, once it runs.
    pub writer: OnceLock<Thread>,
}

impl Buffer {
    /// Holds at most this many records and about this many bytes of records.
    pub(super) fn new(records_max: u64, bytes_max: u64) -> Self {
        let cores = std::thread::available_parallelism().map_or(4, usize::from);
        Self {
            shards: (0..cores.next_power_of_two()).map(|_| Mutex::default()).collect(),
            records_max,
            bytes_max,
            reserved: AtomicU64::new(0),
            released: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            is_writer_asleep: AtomicBool::new(false),
            writer: OnceLock::new(),
        }
    }

    /// Takes records, all or none. The waiter is told when the last of them is durable.
    pub(super) fn try_push(&self, records: &Encoded, waiter: &mut Option<oneshot::Sender<()>>) -> Result<(), Refused> {
        let (count, length) = (records.ends.len() as u64, records.bytes.len() as u64);
        let mut ticket = self.reserve(count, length)?;
        let shard_index = shard_of_this_thread() % self.shards.len();
        if let Some(shard) = self.shards.get(shard_index) {
            let mut shard = lock(shard);
            let mut start = shard.bytes.len();
            let base = start;
            shard.bytes.extend_from_slice(&records.bytes);
            shard.entries.extend(records.ends.iter().map(|&(end, time_us)| {
                let (from, end) = (mem::replace(&mut start, base + end), base + end);
                ticket += 1;
                Entry { ticket, shard: shard_index, start: from, end, time_us, waiter: None }
            }));
            if let Some(last) = shard.entries.last_mut() {
                last.waiter = waiter.take();
            }
        }
        if self.is_writer_asleep.load(SeqCst) {
            self.wake();
        }
        Ok(())
    }

    fn reserve(&self, count: u64, length: u64) -> Result<u64, Refused> {
        let mut reserved = self.reserved.load(SeqCst);
        loop {
            let held = (reserved & !CLOSED).saturating_sub(self.released.load(SeqCst));
            if reserved & CLOSED != 0 {
                return Err(Refused::Closed);
            }
            // A single append that is larger than all room is taken when there is nothing else.
            let fits = held + count <= self.records_max && self.bytes.load(SeqCst) + length <= self.bytes_max;
            if !fits && held > 0 {
                return Err(Refused::Full);
            }
            match self.reserved.compare_exchange_weak(reserved, reserved + count, SeqCst, SeqCst) {
                Ok(ticket) => {
                    self.bytes.fetch_add(length, SeqCst);
                    return Ok(ticket);
                }
                Err(now) => reserved = now,
            }
        }
    }

    /// How many records were ever taken in.
    pub(super) fn taken_in(&self) -> u64 {
        self.reserved.load(SeqCst) & !CLOSED
    }

    /// How many of them were written.
    pub(super) fn written(&self) -> u64 {
        self.released.load(SeqCst)
    }

    /// No more records are taken.
    pub(super) fn is_closed(&self) -> bool {
        self.reserved.load(SeqCst) & CLOSED != 0
    }

    /// Takes no more records from now on. Those that were reserved before still come.
    pub(super) fn close(&self) {
        self.reserved.fetch_or(CLOSED, SeqCst);
        self.wake();
    }

    /// Takes everything out, in order. The room stays taken until [`Buffer::release`].
    pub(super) fn drain(&self, spare: &mut Vec<Vec<u8>>) -> Drained {
        let mut shards: Vec<_> = self.shards.iter().map(lock).collect();
        let mut entries = Vec::with_capacity(shards.iter().map(|shard| shard.entries.len()).sum());
        let shards = shards
            .iter_mut()
            .map(|shard| {
                entries.append(&mut shard.entries);
                // An empty shard keeps its memory for itself.
                if shard.bytes.is_empty() {
                    Vec::new()
                } else {
                    mem::replace(&mut shard.bytes, spare.pop().unwrap_or_default())
                }
            })
            .collect();
        entries.sort_unstable_by_key(|entry| entry.ticket);
        Drained { shards, entries }
    }

    /// Gives back the room of records that are written.
    pub(super) fn release(&self, records: u64, bytes: u64) {
        self.bytes.fetch_sub(bytes, SeqCst);
        self.released.fetch_add(records, SeqCst);
    }

    /// Wakes the writer, asleep or waiting for its next round.
    pub(super) fn wake(&self) {
        self.is_writer_asleep.store(false, SeqCst);
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// Parks the writer until the first record comes, at most so long, unless one came since it knew of `seen` taken in.
    pub(super) fn sleep_unless_more_than(&self, seen: u64, at_most: Duration) {
        self.is_writer_asleep.store(true, SeqCst);
        // Sequentially consistent on both sides: either this load sees the reservation, or its maker sees the flag.
        if self.taken_in() == seen && !self.is_closed() {
            std::thread::park_timeout(at_most);
        }
        self.is_writer_asleep.store(false, SeqCst);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn shard_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static SHARD: Cell<usize> = Cell::new(NEXT.fetch_add(1, SeqCst));
    }
    SHARD.get()
}
