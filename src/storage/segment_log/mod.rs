//! The decision log of one realm: append-only segment files that this process alone writes.
//!
//! Callers leave encoded records in a bounded buffer. One thread numbers them, writes them in groups, each with one
//! write and one fdatasync, and makes them visible to readers. Another thread indexes what was written. The segments are the
//! truth and all there is: the index is rebuilt from them, and what is not indexed is read.

mod blocks;
mod buffer;
mod checkpoint_files;
mod checkpoints;
mod entries;
mod files;
mod frame;
mod gaps;
mod group;
mod index;
#[cfg(test)]
mod index_tests;
mod last_segment;
mod notes;
mod opening;
mod options;
mod proofs;
mod reader;
mod recovery;
mod retention;
mod scan;
mod seal;
mod signed_tree;
#[cfg(test)]
mod tests;
mod tiles;
pub mod verify;
mod wall_clock;
mod writer;

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::{Notify, oneshot, watch},
    time::timeout,
};

pub use self::checkpoints::Signing;
pub(in crate::storage) use self::files::has_segments;
pub use self::options::{Mode, Options, Outside};
pub use self::seal::{LogKey, SealError};
use self::{
    blocks::{indexer::Index, terms::TermKey},
    buffer::{Buffer, Encoded, Refused},
    checkpoints::Appended,
    files::{Disk, SegmentFiles, make_folder},
    frame::RECORD_BYTES_MAX,
    gaps::Dropped,
    group::Noted,
    index::Catalogue,
    notes::{Note, Notes},
    opening::{first_events, lock, reopen},
    reader::Page,
    retention::Deletion,
    wall_clock::WallClock,
    writer::{SegmentWriter, Shared},
};
use crate::app::ports::{DecisionLog, LogError, LogSegment, LogStatus, RecordPage};
use crate::domain::{
    checkpoint::SignedCheckpoint,
    decision_record::{DecisionRecord, LoggedDecision, RecordKind},
    id::DecisionId,
    log_event::{EventKind, LogEvent},
    merkle::proof::{ConsistencyProof, InclusionProof},
    record_filter::{Order, PageRequest, RecordFilter},
    signed_note::VerifierKey,
};

/// How long a reader waits for records that are on their way to the disk.
const FLUSH_WAIT: Duration = Duration::from_secs(5);

/// The most records that who follows the log gets at once.
const FOLLOWED_MAX: usize = 256;

/// The decision log of one realm, in a folder of its own.
///
/// Dropping it does what [`DecisionLog::close`] does and blocks until it is done.
#[derive(Debug)]
pub struct SegmentLog {
    shared: Arc<Shared>,
    options: Options,
    outside: Outside,
    index: Arc<Index>,
    /// Held while segments are deleted.
    deleting: tokio::sync::Mutex<()>,
    writer: Mutex<Option<JoinHandle<()>>>,
    folder: PathBuf,
    /// Held as long as anything may be written.
    lock: Mutex<Option<File>>,
}

impl SegmentLog {
    /// Opens the log of a folder, which is made when it is not there, and locks it against other processes.
    ///
    /// What an interrupted write left at the end is cut off and kept beside the segment as `<segment>.torn`. A segment
    /// that is damaged in the middle is kept as it is; queries that span the damage say so.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when the folder is in use or cannot be made, [`LogError::Unreadable`] when its files
    /// cannot be read, or are of a format that is not read any more. A full disk is no error: the log opens, can be read,
    /// and takes writes when there is room.
    pub fn open(folder: &Path, options: Options, outside: Outside) -> Result<Self, LogError> {
        Self::open_with(folder, options, outside, Arc::new(Disk))
    }

    fn open_with(
        folder: &Path,
        options: Options,
        outside: Outside,
        files: Arc<dyn SegmentFiles>,
    ) -> Result<Self, LogError> {
        let unavailable = |error| LogError::Unavailable(format!("folder `{}`: {error}", folder.display()));
        let unreadable = |error| LogError::Unreadable(format!("folder `{}`: {error}", folder.display()));
        make_folder(folder).map_err(unavailable)?;
        let lock = lock(folder)?;
        let recovered = recovery::recover(folder).map_err(unreadable)?;
        let deletion = Deletion::unfinished(folder).map_err(unreadable)?;
        let segment = match recovered.open_segment {
            Some(reopened) => reopen(reopened, &*files, &*outside.clock),
            None => None,
        };
        let first = first_events(recovered.before, options.mode, outside.clock.now_us());
        let is_said = |deletion: &Deletion| {
            let said = recovered.before.deleted.filter(|said| (said.0, said.1) == (deletion.first, deletion.last));
            said.is_some_and(|(.., sequence)| recovered.signed.is_none_or(|signed| sequence <= signed))
        };
        let deletion = match deletion {
            Some(deletion) if !is_said(&deletion) => {
                // Nothing was deleted yet, and whether anything still may be is asked anew.
                Deletion::withdraw(folder).map_err(unavailable)?;
                None
            }
            deletion => deletion,
        };
        let shared = Arc::new(Shared {
            buffer: Buffer::new(options.buffer_records_max, options.buffer_bytes_max),
            notes: Notes::default(),
            dropped: Dropped::default(),
            flushed_at_us: AtomicI64::new(0),
            gaps: AtomicU64::new(0),
            is_damaged: AtomicBool::new(recovered.is_damaged),
            catalogue: Catalogue::new(recovered.segments, recovered.tree.size() + 1),
            appended: Appended::new(&recovered.tree, !recovered.before.has_stopped),
            is_failing: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            is_flush_wanted: AtomicBool::new(false),
            progress: Notify::new(),
        });
        let terms = TermKey::derived(&outside.key)
            .map_err(|error| LogError::Unavailable(format!("its index has no key: {error}")))?;
        let index = Index::start(
            outside.index.as_deref(),
            outside.key.clone(),
            terms,
            shared.catalogue.clone(),
            options.block_entries_max,
        );
        let index = Arc::new(index.map_err(unavailable)?);
        let writer = SegmentWriter {
            shared: Arc::clone(&shared),
            options,
            folder: folder.to_owned(),
            clock: WallClock::new(Arc::clone(&outside.clock)),
            before_group: outside.before_group.clone(),
            files,
            segment,
            tree: recovered.tree,
            first,
            deletion,
            next_number: recovered.next_number,
        };
        let thread = thread::Builder::new().name("decision-log".to_owned());
        let thread = thread.spawn(move || writer.run()).map_err(unavailable)?;
        // Set once, here; a wake-up before this moment is not needed, the thread looks before it sleeps.
        let _first = shared.buffer.writer.set(thread.thread().clone());
        let (writer, lock) = (Mutex::new(Some(thread)), Mutex::new(Some(lock)));
        let (folder, deleting) = (folder.to_owned(), tokio::sync::Mutex::default());
        Ok(Self { shared, options, outside, index, deleting, writer, folder, lock })
    }

    /// Everything that was written is indexed: questions are answered without reading what does not match.
    pub fn is_indexed(&self) -> bool {
        self.index.is_caught_up()
    }

    /// Puts records into the buffer, waiting for room if there is none.
    async fn push(&self, records: &Encoded, mut waiter: Option<oneshot::Sender<()>>) -> Result<(), LogError> {
        let buffer = &self.shared.buffer;
        let refuse = |refused| match refused {
            Refused::Full => LogError::Unavailable("the buffer is full".to_owned()),
            Refused::Closed => LogError::Unavailable("it is closed".to_owned()),
        };
        match buffer.try_push(records, &mut waiter) {
            Ok(()) => return Ok(()),
            Err(Refused::Closed) => return Err(refuse(Refused::Closed)),
            Err(Refused::Full) => {}
        }
        let until_there_is_room = async {
            loop {
                let progress = self.shared.progress.notified();
                tokio::pin!(progress);
                progress.as_mut().enable();
                match buffer.try_push(records, &mut waiter) {
                    Err(Refused::Full) => progress.await,
                    done => return done,
                }
            }
        };
        timeout(self.options.full_wait, until_there_is_room).await.unwrap_or(Err(Refused::Full)).map_err(refuse)
    }

    /// Waits until all records that were appended before are visible to readers; `false` when they are not.
    async fn flush(&self) -> bool {
        let shared = &self.shared;
        let wanted = shared.buffer.taken_in();
        let until_written = async {
            loop {
                let progress = shared.progress.notified();
                tokio::pin!(progress);
                progress.as_mut().enable();
                // Counts suffice: a record that came after this call is written after all that came before it.
                if shared.buffer.written() >= wanted {
                    return true;
                }
                if shared.is_failing.load(SeqCst) || shared.has_ended.load(SeqCst) {
                    return false;
                }
                shared.is_flush_wanted.store(true, SeqCst);
                shared.buffer.wake();
                progress.await;
            }
        };
        timeout(FLUSH_WAIT, until_written).await.unwrap_or(false)
    }

    /// Reads on a thread that may block.
    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Index, &LogKey) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let (index, key) = (Arc::clone(&self.index), self.outside.key.clone());
        self.blocking(move |_| read(&index, &key)).await?
    }

    /// Works on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Result<T, LogError> {
        let shared = Arc::clone(&self.shared);
        let working = tokio::task::spawn_blocking(move || work(&shared));
        working.await.map_err(|error| LogError::Unreadable(format!("the reader stopped: {error}")))
    }

    async fn append_at_once(&self, records: &[DecisionRecord]) -> Result<(), LogError> {
        let encoded = Encoded::of(records, &self.outside.key)
            .map_err(|_| LogError::Unavailable("a record cannot be sealed".to_owned()))?;
        if encoded.longest() > RECORD_BYTES_MAX {
            let length = encoded.longest();
            return Err(LogError::Unavailable(format!("a record of `{length}` bytes is longer than it keeps")));
        }
        if self.options.mode != Mode::Strict {
            return self.push(&encoded, None).await;
        }
        // What the disk refuses is tried again all the time: who waits for that keeps others from an answer that is no better.
        if self.shared.is_failing.load(SeqCst) {
            return Err(LogError::Unavailable("its disk takes no records".to_owned()));
        }
        let (waiter, written) = oneshot::channel();
        self.push(&encoded, Some(waiter)).await?;
        match timeout(self.options.strict_wait, written).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(LogError::Unavailable("it was closed before the records were written".to_owned())),
            Err(_) => Err(LogError::Unavailable("the records are not on disk yet".to_owned())),
        }
    }
}

#[async_trait]
impl DecisionLog for SegmentLog {
    /// Takes records, in their order. When it fails, some of them may be written all the same, now or later: a strict
    /// append that gave up waiting for the disk does not take its records back.
    async fn append(&self, records: Vec<DecisionRecord>) -> Result<(), LogError> {
        let at_once = usize::try_from(self.options.buffer_records_max).unwrap_or(usize::MAX).max(1);
        for records in records.chunks(at_once) {
            if let Err(error) = self.append_at_once(records).await {
                self.drop_records(records, error)?;
            }
        }
        Ok(())
    }

    /// While the disk refuses writes, records that wait in memory are not found and `is_complete` is false.
    async fn query(&self, filter: RecordFilter, page: PageRequest) -> Result<RecordPage, LogError> {
        let is_flushed = self.flush().await;
        let mut found = self.read(move |index, key| Ok(reader::query(index, key, &filter, page).page)).await?;
        let is_contradicted = self.shared.appended.checkpoints().is_some_and(|made| made.is_contradicted());
        found.is_complete &= is_flushed && !is_contradicted;
        if found.events.iter().any(|logged| matches!(logged.event.kind, EventKind::Damage { .. })) {
            self.shared.is_damaged.store(true, SeqCst);
        }
        Ok(found)
    }

    async fn get(&self, id: DecisionId) -> Result<Option<LoggedDecision>, LogError> {
        let is_flushed = self.flush().await;
        match self.read(move |index, key| reader::get(index, key, id)).await? {
            None if !is_flushed => Err(LogError::Unreadable("the newest records are not written yet".to_owned())),
            found => Ok(found),
        }
    }

    async fn follow(&self, after: u64, filter: RecordFilter) -> Result<RecordPage, LogError> {
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.shared.catalogue.entries() > after {
                break;
            }
            if self.shared.has_ended.load(SeqCst) {
                return Err(LogError::Unavailable("it is closed".to_owned()));
            }
            progress.await;
        }
        let page = PageRequest { order: Order::OldestFirst, size: FOLLOWED_MAX, after: Some(after) };
        let Page { mut page, last } = self.read(move |index, key| Ok(reader::query(index, key, &filter, page))).await?;
        page.next_after = page.next_after.or(Some(last.max(after)));
        Ok(page)
    }

    async fn note(&self, event: EventKind) -> Result<u64, LogError> {
        let unavailable = |what: &str| LogError::Unavailable(what.to_owned());
        let event = LogEvent { time_us: self.outside.clock.now_us(), kind: event };
        let event = if event.is_private() {
            let sealed = self.outside.key.seal_event(event.time_us, event.encode());
            let (nonce, sealed) = sealed.map_err(|_| unavailable("an event cannot be sealed"))?;
            Noted::Sealed { time_us: event.time_us, nonce, sealed }
        } else {
            Noted::Clear(event)
        };
        let (waiter, written) = oneshot::channel();
        if !self.shared.notes.push(Note { event, waiter: Some(waiter) }) {
            return Err(unavailable("it is closed"));
        }
        self.shared.buffer.wake();
        match timeout(self.options.strict_wait, written).await {
            Ok(Ok(sequence)) => Ok(sequence),
            Ok(Err(_)) => Err(unavailable("it was closed before the event was written")),
            Err(_) => Err(unavailable("the event is not on disk yet")),
        }
    }

    fn status(&self) -> LogStatus {
        let shared = &self.shared;
        let flushed_at_us = Some(shared.flushed_at_us.load(SeqCst)).filter(|time_us| *time_us != 0);
        let checkpoints = shared.appended.checkpoints().map(|checkpoints| checkpoints.status());
        let is_contradicted = checkpoints.as_ref().is_some_and(|made| made.is_contradicted);
        LogStatus {
            mode: self.options.mode.word(),
            is_writable: self.is_writable(),
            answers_without: self.options.mode == Mode::Available,
            entries: shared.catalogue.entries(),
            first_sequence: shared.catalogue.first_sequence(),
            waiting: shared.buffer.taken_in().saturating_sub(shared.buffer.written()),
            dropped: shared.dropped.total(),
            gaps: shared.gaps.load(SeqCst),
            flushed_at_us,
            is_undamaged: !shared.is_damaged.load(SeqCst) && !is_contradicted,
            checkpoints,
            witness: None,
        }
    }

    async fn segments(&self) -> Result<Vec<LogSegment>, LogError> {
        self.blocking(|shared| retention::list(&shared.catalogue.segments())).await?
    }

    async fn delete_until(&self, last: u64, rule: &str) -> Result<Option<(u64, u64)>, LogError> {
        self.delete_segments_until(last, rule).await
    }

    async fn checkpoint(&self) -> Result<Arc<SignedCheckpoint>, LogError> {
        self.flush().await;
        self.new_checkpoint().await
    }

    fn checkpoints(&self) -> watch::Receiver<Option<Arc<SignedCheckpoint>>> {
        self.all_checkpoints()
    }

    fn verifier_keys(&self) -> Vec<VerifierKey> {
        self.known_keys()
    }

    async fn prove_inclusion(&self, sequence: u64, tree_size: u64) -> Result<Option<InclusionProof>, LogError> {
        self.prove(move |checkpoints, tiles| checkpoints.prove_inclusion(tiles, sequence, tree_size)).await
    }

    async fn prove_consistency(&self, first: u64, second: u64) -> Result<Option<ConsistencyProof>, LogError> {
        self.prove(move |checkpoints, tiles| checkpoints.prove_consistency(tiles, first, second)).await
    }

    async fn entry(&self, sequence: u64) -> Result<Option<Vec<u8>>, LogError> {
        self.stored_entry(sequence).await
    }

    fn is_writable(&self) -> bool {
        !self.shared.is_failing.load(SeqCst) && !self.shared.buffer.is_closed()
    }

    /// Gives records up that cannot be written within [`Options::strict_wait`].
    async fn close(&self) {
        self.shared.buffer.close();
        loop {
            let progress = self.shared.progress.notified();
            tokio::pin!(progress);
            progress.as_mut().enable();
            if self.shared.has_ended.load(SeqCst) {
                break;
            }
            progress.await;
        }
        // The thread is past its last write; joining makes sure that the folder's lock is free.
        self.join();
        self.index.stop();
    }
}

impl SegmentLog {
    /// Counts records that could not be taken, in a log that lets them be answered all the same. A reading of the log is
    /// never answered without.
    fn drop_records(&self, records: &[DecisionRecord], error: LogError) -> Result<(), LogError> {
        let is_reading = |record: &DecisionRecord| record.kind == RecordKind::Reading;
        let is_known = self.shared.dropped.is_pending();
        let is_wanted = self.options.mode == Mode::Available && !self.shared.buffer.is_closed();
        let written = self.shared.buffer.written();
        if !is_wanted || records.iter().any(is_reading) || !self.shared.dropped.count(records, written) {
            return Err(error);
        }
        if !is_known {
            tracing::error!(%error, "decisions are answered that the decision log does not keep");
        }
        self.shared.buffer.wake();
        Ok(())
    }

    fn join(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said that it ended; there is nothing to add.
        let _ended = writer.map(JoinHandle::join);
        if let Some(checkpoints) = self.shared.appended.checkpoints() {
            checkpoints.close();
        }
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Drop for SegmentLog {
    fn drop(&mut self) {
        self.shared.buffer.close();
        self.join();
    }
}
