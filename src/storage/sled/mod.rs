//! Keeps records on disk, in sled.
//!
//! A write is acknowledged when sled has flushed its log and the log file was synced through a second
//! handle; sled's own flush does not survive a power cut. After any failure of the engine or the disk
//! nothing is acknowledged and no sync is tried again on the same database: it is dropped, the kernel's
//! copy of the file is let go where that is possible, and the database is opened again from what the
//! disk holds. Until then the store takes no writes.

mod applications;
mod folder;
mod keys;
mod relationships;
mod revocations;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use async_trait::async_trait;

use self::{
    folder::Folder,
    relationships::{Batch, Fault, Relationships},
};
use crate::{
    app::ports::{RelationshipStore, StoreError},
    domain::{
        id::{RealmName, Revision},
        relationship::{Change, Record, Remembered, Written},
    },
    storage::record,
};

/// How a store uses memory and disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The size of sled's page cache, in bytes; default 256 MiB. The process needs more than this: about
    /// as much again while importing.
    pub cache_bytes: u64,
    /// Writes are refused when the filesystem would be left with less than this many free bytes; default
    /// 64 MiB, 0 turns the check off. A full disk is worse than a refused write: sled cannot even be
    /// opened on one.
    pub free_bytes_min: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self { cache_bytes: 256 << 20, free_bytes_min: 64 << 20 }
    }
}

/// What sled writes for each byte that it is given, at most, before it cleans up: its own bound on how
/// much larger than its content the log may grow.
const WRITE_AMPLIFICATION: u64 = 5;

/// The time between two attempts to open a failed database that nobody writes to.
const MEND_EVERY: Duration = Duration::from_secs(1);

/// How long to wait for the threads of a dropped database to let go of its file.
const RELEASE_WAIT: Duration = Duration::from_secs(5);

/// Records on disk. Clone the `Arc` around it; when the last one is dropped, everything is flushed.
#[derive(Debug)]
pub struct SledStore {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    folder: Folder,
    /// Written to by one thread at a time, read by many. `None` while the database cannot be opened.
    database: RwLock<Option<Relationships>>,
    /// The database may not be used until it was opened again.
    is_failed: AtomicBool,
    is_closed: AtomicBool,
    /// When a thread was last started to open the database again.
    mending: Mutex<Option<Instant>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not the database: sled would print what it holds.
        f.debug_struct("Shared").field("options", &self.options).field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store in this folder, or makes one. Blocks while sled reads its log: about 0.3 s a million records.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when another process has the folder, when it cannot be made or written in,
    /// or when sled cannot open it; [`StoreError::Damaged`] when sled finds it corrupt.
    pub fn open(path: &Path, options: Options) -> Result<Self, StoreError> {
        let folder = Folder::take(path)?;
        let database = opened(folder.path(), &options)?;
        folder.make_durable().map_err(|error| {
            StoreError::Unavailable(format!("cannot make the folder `{}` durable: {error}", folder.path().display()))
        })?;
        let shared = Shared {
            options,
            folder,
            database: RwLock::new(Some(database)),
            is_failed: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            mending: Mutex::new(None),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Makes everything durable and takes no more reads or writes.
    ///
    /// # Errors
    /// [`StoreError::Unavailable`] when the last flush fails; what was acknowledged before is durable all the same.
    pub async fn close(&self) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.close()).await
    }
}

#[async_trait]
impl RelationshipStore for SledStore {
    async fn write(
        &self,
        realm: &RealmName,
        batches: Vec<Vec<Change>>,
        remembered: &Remembered,
    ) -> Result<Vec<Written>, StoreError> {
        let (shared, realm, remembered) = (Arc::clone(&self.shared), realm.clone(), remembered.clone());
        blocking(move || shared.write(&realm, batches, &remembered)).await
    }

    fn check(&self, record: &Record) -> Result<(), StoreError> {
        record::checked(record).map(|_| ()).map_err(StoreError::Limit)
    }

    async fn load(&self, realm: &RealmName, mut each: Box<dyn FnMut(Record) + Send>) -> Result<Revision, StoreError> {
        let (shared, realm) = (Arc::clone(&self.shared), realm.clone());
        blocking(move || shared.load(&realm, &mut *each)).await
    }

    fn is_writable(&self) -> bool {
        self.shared.is_writable()
    }
}

impl Shared {
    fn write(
        &self,
        realm: &RealmName,
        batches: Vec<Vec<Change>>,
        remembered: &Remembered,
    ) -> Result<Vec<Written>, StoreError> {
        let batches: Vec<Batch> =
            batches.into_iter().map(|changes| Batch::new(realm, changes)).collect::<Result<_, _>>()?;
        let mut slot = self.slot();
        let database = self.mended(&mut slot)?;
        self.check_room(batches.iter().map(Batch::bytes).sum())?;
        self.judged(guarded(|| database.write(realm, batches, remembered)))
    }

    fn load(&self, realm: &RealmName, each: &mut dyn FnMut(Record)) -> Result<Revision, StoreError> {
        if self.is_failed() {
            self.mended(&mut self.slot())?;
        }
        let slot = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = self.usable(&slot)?;
        database.load(realm, each).map_err(StoreError::from)
    }

    /// The database of a slot, if it may be used: a failed one shows writes that were never acknowledged.
    fn usable<'a>(
        &self,
        slot: &'a RwLockReadGuard<'_, Option<Relationships>>,
    ) -> Result<&'a Relationships, StoreError> {
        slot.as_ref().filter(|_| !self.is_failed()).ok_or_else(|| self.closed_or_failed())
    }

    fn closed_or_failed(&self) -> StoreError {
        let state =
            if self.is_closed.load(Ordering::Acquire) { "is closed" } else { "failed and was not opened again yet" };
        StoreError::Unavailable(format!("the database in `{}` {state}", self.folder.path().display()))
    }

    fn slot(&self) -> RwLockWriteGuard<'_, Option<Relationships>> {
        // A panic of sled is caught within and marks the database as failed.
        self.database.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_failed(&self) -> bool {
        self.is_failed.load(Ordering::Acquire)
    }

    /// Passes an outcome on, and marks the database as failed when the engine or the disk is the cause.
    fn judged<T>(&self, outcome: Result<T, Fault>) -> Result<T, StoreError> {
        outcome.map_err(|fault| {
            if let Fault::Engine(error) = &fault {
                tracing::error!(folder = %self.folder.path().display(), %error, "the relationship store failed");
                self.is_failed.store(true, Ordering::Release);
            }
            fault.into()
        })
    }

    /// The database, opened again if it had failed.
    fn mended<'a>(&self, slot: &'a mut Option<Relationships>) -> Result<&'a Relationships, StoreError> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(self.closed_or_failed());
        }
        if self.is_failed() {
            // First the room: sled on a full disk cannot be opened, not even to read.
            self.check_room(0)?;
            discard(slot.take());
            *slot = Some(self.reopened()?);
            self.is_failed.store(false, Ordering::Release);
            tracing::info!(folder = %self.folder.path().display(), "the relationship store was opened again");
        }
        slot.as_ref().ok_or_else(|| self.closed_or_failed())
    }

    fn reopened(&self) -> Result<Relationships, StoreError> {
        let path = self.folder.path();
        let log = path.join(relationships::LOG_FILE);
        forget_unwritten_pages(&log)
            .map_err(|error| StoreError::Unavailable(format!("cannot open `{}` again: {error}", log.display())))?;
        opened(path, &self.options).map_err(StoreError::from)
    }

    /// Refuses a write of so many bytes that the disk has no room for.
    fn check_room(&self, bytes: u64) -> Result<(), StoreError> {
        let Options { free_bytes_min, .. } = self.options;
        if free_bytes_min == 0 {
            return Ok(());
        }
        let path = self.folder.path().display();
        let free = self
            .folder
            .free_bytes()
            .map_err(|error| StoreError::Unavailable(format!("cannot tell the free space of `{path}`: {error}")))?;
        let needed = free_bytes_min.saturating_add(bytes.saturating_mul(WRITE_AMPLIFICATION));
        if free < needed {
            return Err(StoreError::Unavailable(format!(
                "the disk of `{path}` has {free} free bytes, needed are {needed}"
            )));
        }
        Ok(())
    }

    fn is_writable(self: &Arc<Self>) -> bool {
        if self.is_closed.load(Ordering::Acquire) || self.check_room(0).is_err() {
            return false;
        }
        if self.is_failed() {
            self.start_mending();
            return false;
        }
        true
    }

    /// Opens a failed database again on a thread of its own, so that a store that gets no writes because it is
    /// not writable becomes writable again.
    fn start_mending(self: &Arc<Self>) {
        let mut started = self.mending.lock().unwrap_or_else(PoisonError::into_inner);
        if started.is_some_and(|at| at.elapsed() < MEND_EVERY) {
            return;
        }
        let shared = Arc::clone(self);
        let mend = move || {
            // Whoever has the slot is at work on it already.
            if let Ok(mut slot) = shared.database.try_write()
                && let Err(error) = shared.mended(&mut slot)
            {
                tracing::warn!(%error, "the relationship store cannot be opened again yet");
            }
        };
        *started = Some(Instant::now());
        if let Err(error) = thread::Builder::new().name("mend relationships".to_owned()).spawn(mend) {
            tracing::warn!(%error, "no thread to open the relationship store again");
        }
    }

    fn close(&self) -> Result<(), StoreError> {
        let mut slot = self.slot();
        self.is_closed.store(true, Ordering::Release);
        let Some(database) = slot.take() else { return Ok(()) };
        let flushed = if self.is_failed() { Ok(()) } else { guarded(|| database.make_durable()) };
        discard(Some(database));
        flushed.map_err(StoreError::from)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the relationship store could not be flushed at its end");
        }
    }
}

/// Opens the database in a folder that this process holds.
fn opened(path: &Path, options: &Options) -> Result<Relationships, Fault> {
    let started = Instant::now();
    loop {
        match guarded(|| Relationships::open(path, options)) {
            // Threads of a database that was dropped just now may hold sled's own lock a moment longer.
            Err(Fault::Engine(StoreError::Unavailable(reason)))
                if reason.contains("acquire lock") && started.elapsed() < RELEASE_WAIT =>
            {
                thread::sleep(Duration::from_millis(10));
            }
            outcome => return outcome,
        }
    }
}

/// Runs sled's code; a panic in it is a failure of the engine.
fn guarded<T>(work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Fault::Engine(StoreError::Unavailable("the database engine panicked".to_owned()))))
}

/// Drops a database. Its own last flush may panic on a failing disk; it was not acknowledged.
fn discard(database: Option<Relationships>) {
    if catch_unwind(AssertUnwindSafe(|| drop(database))).is_err() {
        tracing::warn!("the database engine panicked while it was closed");
    }
}

/// Lets go of the kernel's clean pages of a file, and fails when there is no such file.
///
/// After a failed sync Linux marks pages clean that the disk never got, and would read them back as if they
/// were durable (<https://lwn.net/Articles/752063/>).
fn forget_unwritten_pages(path: &Path) -> std::io::Result<()> {
    let file = std::fs::File::open(path)?;
    #[cfg(target_os = "linux")]
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?;
    drop(file);
    Ok(())
}

/// Runs disk work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable("the work on the database was cut off".to_owned())))
}

#[cfg(test)]
mod tests;
