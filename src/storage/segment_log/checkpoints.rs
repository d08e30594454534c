//! Signs what a log holds, and keeps what proofs are made of: a thread of its own behind the writer, which never waits
//! for it.
//!
//! The writer leaves the leaf hashes of each durable group here. About once a second the thread adds them to the tiles,
//! signs the root, and stores the checkpoint. Whatever fails here stops no decision: it is logged, shown in the status,
//! and tried again from what the segments hold.

mod keeper;
mod kept;

use std::{
    collections::VecDeque,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use tokio::sync::{Notify, watch};

use self::keeper::Keeper;
use super::tiles::{Edge, Tiles};
use crate::{
    app::ports::CheckpointStatus,
    domain::{
        checkpoint::SignedCheckpoint,
        merkle::{
            Frontier, Hash,
            proof::{self, ConsistencyProof, InclusionProof},
        },
        signed_note::VerifierKey,
    },
    storage::checkpoint_key::CheckpointKey,
};

/// While there is traffic, a checkpoint is made so often.
const EVERY: Duration = Duration::from_secs(1);
/// Or when there are so many new entries.
const ENTRIES: u64 = 10_000;
/// But not more often than so.
const PAUSE: Duration = Duration::from_millis(250);
/// How long after a failure it is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// The most leaf hashes that wait; what is left out is read from the segments.
const LEAVES_MAX: u64 = 262_144;
/// How long who asks for a checkpoint waits for it.
const WAIT: Duration = Duration::from_secs(10);

/// The secrets by which a log's checkpoints are signed.
#[derive(Clone)]
pub struct Signing {
    /// Seeds of Ed25519 keys; the log uses the one whose key its folder names last. A new log begins with the first.
    pub seeds: Vec<[u8; 32]>,
    /// What the log's checkpoints are called by, when the configuration says so; a log that has begun keeps its name.
    pub origin: Option<Arc<str>>,
    /// What they are called by when nothing is said.
    pub origin_default: Arc<str>,
    /// The file that keeps the newest checkpoint once more, apart from the log: a log that is not the one that it was made
    /// of is not signed. `None` to keep none.
    pub kept: Option<PathBuf>,
}

/// Shows no seed.
impl std::fmt::Debug for Signing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signing").field("origin", &self.origin).finish_non_exhaustive()
    }
}

/// How many entries of the log are durable, and the root of their tree as the writer has it.
#[derive(Clone, Copy, Debug, Default)]
struct Head {
    size: u64,
    root: Hash,
}

impl Head {
    fn of(tree: &Frontier) -> Self {
        Self { size: tree.size(), root: tree.root() }
    }
}

/// Where the writer leaves what it has made durable.
#[derive(Debug)]
pub(super) struct Appended {
    head: Mutex<Head>,
    /// The run before did not stop in order.
    is_unsure: bool,
    listener: OnceLock<Arc<Checkpoints>>,
}

impl Appended {
    /// The entries of this tree are durable; nobody listens yet. `is_unsure`: the run before did not stop in order.
    pub(super) fn new(tree: &Frontier, is_unsure: bool) -> Self {
        Self { head: Mutex::new(Head::of(tree)), is_unsure, listener: OnceLock::new() }
    }

    /// Takes the leaf hashes of a group that is durable and acknowledged, and the tree of the log with it.
    pub(super) fn take(&self, leaves: &[Hash], tree: &Frontier) {
        let head = Head::of(tree);
        *lock(&self.head) = head;
        if let Some(listener) = self.listener.get() {
            listener.appended((head.size + 1).saturating_sub(leaves.len() as u64), leaves, head);
        }
    }

    /// Has somebody listen from now on, to what is durable already too.
    pub(super) fn listen(&self, folder: &Path, signing: Signing) -> Result<(), String> {
        let head = *lock(&self.head);
        let checkpoints = Checkpoints::open(folder, signing, head, self.is_unsure)?;
        let listener = self.listener.get_or_init(|| Arc::new(checkpoints));
        // A group that came in between did not find the listener.
        let head = *lock(&self.head);
        listener.look(head);
        Ok(())
    }

    /// Who listens, if anybody.
    pub(super) fn checkpoints(&self) -> Option<&Arc<Checkpoints>> {
        self.listener.get()
    }
}

/// The checkpoints of one log.
#[derive(Debug)]
pub(super) struct Checkpoints {
    inner: Arc<Inner>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What callers, the writer and the thread share.
#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    wake: Condvar,
    newest: watch::Sender<Option<Arc<SignedCheckpoint>>>,
    /// The right edge of the newest checkpoint's tree.
    edge: Mutex<Arc<Edge>>,
    keys: Mutex<Vec<VerifierKey>>,
    /// Why the last attempt failed.
    fault: Mutex<Option<String>>,
    failures: AtomicU64,
    /// The log is not the one that the checkpoint beside the key was made of.
    is_contradicted: AtomicBool,
    /// Entries whose tiles are durable.
    tiles_durable: AtomicU64,
    /// Told after each attempt.
    progress: Notify,
}

/// What waits for the thread.
#[derive(Debug, Default)]
struct Queue {
    /// Leaf hashes with the sequence number of the first.
    groups: VecDeque<LeafGroup>,
    leaves: u64,
    /// What is durable: at least what the groups lead to.
    head: Head,
    is_wanted: bool,
    is_sync_wanted: bool,
    /// The next key, and the entry that says so.
    next_key: Option<(CheckpointKey, u64)>,
    /// How often the thread took what waited, and up to which of these it is done.
    taken: u64,
    done: u64,
    is_closed: bool,
}

/// The leaf hashes of a durable group.
#[derive(Debug)]
struct LeafGroup {
    first: u64,
    leaves: Vec<Hash>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Checkpoints {
    /// Begins to sign what the folder's log holds, of which this much is durable. What an earlier run left undone is done by
    /// the thread.
    ///
    /// # Errors
    /// A configured origin that is not the one that the log began with, or that cannot be a key's name; a thread that
    /// cannot be started. A key that is missing is no error here: the status says so.
    fn open(folder: &Path, signing: Signing, head: Head, is_unsure: bool) -> Result<Self, String> {
        let inner = Arc::new(Inner {
            queue: Mutex::new(Queue { head, ..Queue::default() }),
            wake: Condvar::new(),
            newest: watch::Sender::new(None),
            edge: Mutex::default(),
            keys: Mutex::default(),
            fault: Mutex::default(),
            failures: AtomicU64::new(0),
            is_contradicted: AtomicBool::new(false),
            tiles_durable: AtomicU64::new(0),
            progress: Notify::new(),
        });
        let keeper = Keeper::open(folder, signing, is_unsure, Arc::clone(&inner))?;
        let thread = thread::Builder::new().name("checkpoints".to_owned()).spawn(move || keeper.run());
        let thread = thread.map_err(|error| format!("no thread for checkpoints: {error}"))?;
        Ok(Self { inner, thread: Mutex::new(Some(thread)) })
    }

    /// Takes the leaf hashes of a group that is durable and acknowledged, and the log's head with it. Never waits.
    fn appended(&self, first: u64, leaves: &[Hash], head: Head) {
        let inner = &self.inner;
        let count = leaves.len() as u64;
        let mut queue = lock(&inner.queue);
        let before = queue.leaves;
        if before + count > LEAVES_MAX {
            queue.groups.clear();
        } else {
            queue.groups.push_back(LeafGroup { first, leaves: leaves.to_vec() });
        }
        queue.leaves = before + count;
        queue.head = head;
        let is_time_to_look = before == 0 || (before < ENTRIES && queue.leaves >= ENTRIES);
        drop(queue);
        if is_time_to_look {
            inner.wake.notify_one();
        }
    }

    /// Has the thread look for what is new, up to here.
    fn look(&self, head: Head) {
        let mut queue = lock(&self.inner.queue);
        queue.is_wanted = true;
        if head.size > queue.head.size {
            queue.head = head;
        }
        drop(queue);
        self.inner.wake.notify_one();
    }

    /// The newest checkpoint, and all later ones as they are made.
    pub(super) fn subscribe(&self) -> watch::Receiver<Option<Arc<SignedCheckpoint>>> {
        self.inner.newest.subscribe()
    }

    /// The newest checkpoint.
    pub(super) fn newest(&self) -> Option<Arc<SignedCheckpoint>> {
        self.inner.newest.borrow().clone()
    }

    /// The verifier keys, newest first.
    pub(super) fn keys(&self) -> Vec<VerifierKey> {
        lock(&self.inner.keys).iter().rev().cloned().collect()
    }

    /// How the making of checkpoints goes.
    pub(super) fn status(&self) -> CheckpointStatus {
        let signed = self.newest().map_or(0, |newest| newest.checkpoint.size);
        CheckpointStatus {
            fault: lock(&self.inner.fault).clone(),
            failures: self.inner.failures.load(SeqCst),
            unsigned: lock(&self.inner.queue).head.size.saturating_sub(signed),
            is_contradicted: self.is_contradicted(),
        }
    }

    /// The log is not the one that its newest checkpoint was made of.
    pub(super) fn is_contradicted(&self) -> bool {
        self.inner.is_contradicted.load(SeqCst)
    }

    /// A checkpoint of all that is durable now.
    ///
    /// # Errors
    /// Why it cannot be made.
    pub(super) async fn now(&self) -> Result<Arc<SignedCheckpoint>, String> {
        let wanted = lock(&self.inner.queue).head.size;
        self.attempt(|queue| queue.is_wanted = true, |newest| newest.checkpoint.size >= wanted).await
    }

    /// Signs with another key from now on: first a checkpoint by both, of all entries up to the one that says so.
    ///
    /// # Errors
    /// Why it failed; then the key stays as it is, though the log says otherwise, until it is tried again.
    pub(super) async fn rotate(&self, key: CheckpointKey, sequence: u64) -> Result<(), String> {
        let verifier = key.verifier().clone();
        self.attempt(|queue| queue.next_key = Some((key, sequence)), |newest| newest.checkpoint.size >= sequence)
            .await?;
        if lock(&self.inner.keys).last() == Some(&verifier) { Ok(()) } else { Err("it was not taken".to_owned()) }
    }

    /// Has the thread work, and waits until an attempt that began after this call led to what is wanted.
    async fn attempt(
        &self,
        ask: impl FnOnce(&mut Queue),
        is_enough: impl Fn(&SignedCheckpoint) -> bool,
    ) -> Result<Arc<SignedCheckpoint>, String> {
        let inner = &self.inner;
        let after = {
            let mut queue = lock(&inner.queue);
            ask(&mut queue);
            queue.taken + 1
        };
        inner.wake.notify_one();
        let until_done = async {
            loop {
                let progress = inner.progress.notified();
                tokio::pin!(progress);
                progress.as_mut().enable();
                if lock(&inner.queue).done >= after {
                    if let Some(fault) = lock(&inner.fault).clone() {
                        return Err(fault);
                    }
                    if let Some(newest) = self.newest().filter(|newest| is_enough(newest)) {
                        return Ok(newest);
                    }
                }
                progress.await;
            }
        };
        let gave_up = || Err("it took too long".to_owned());
        tokio::time::timeout(WAIT, until_done).await.unwrap_or_else(|_| gave_up())
    }

    /// Proves that an entry is in the tree of so many; `None` when it is not, or the tree is larger than the newest
    /// checkpoint's. Blocks.
    pub(super) fn prove_inclusion(
        &self,
        tiles: &Tiles,
        sequence: u64,
        size: u64,
    ) -> io::Result<Option<InclusionProof>> {
        let edge = Arc::clone(&lock(&self.inner.edge));
        let Some(index) = sequence.checked_sub(1).filter(|_| size <= edge.size()) else { return Ok(None) };
        let path = proof::inclusion(index, size, |level, index| tiles.node(&edge, level, index))?;
        let Some(path) = path else { return Ok(None) };
        let leaf_hash = tiles.node(&edge, 0, index)?;
        Ok(Some(InclusionProof { leaf_index: index, tree_size: size, leaf_hash, path }))
    }

    /// Proves that the smaller tree is the beginning of the larger; `None` when there are no such trees. Blocks.
    pub(super) fn prove_consistency(&self, tiles: &Tiles, old: u64, new: u64) -> io::Result<Option<ConsistencyProof>> {
        let edge = Arc::clone(&lock(&self.inner.edge));
        if old == 0 || new > edge.size() {
            return Ok(None);
        }
        let path = proof::consistency(old, new, |level, index| tiles.node(&edge, level, index))?;
        Ok(path.map(|path| ConsistencyProof { first_size: old, second_size: new, path }))
    }

    /// Makes the tiles of all that is signed durable, and returns how many entries that is: these may be deleted.
    /// Blocks.
    pub(super) fn tiles_durable_up_to(&self, sequence: u64) -> u64 {
        let inner = &self.inner;
        let until = Instant::now() + WAIT;
        lock(&inner.queue).is_sync_wanted = true;
        inner.wake.notify_one();
        while inner.tiles_durable.load(SeqCst) < sequence && lock(&inner.queue).is_sync_wanted && Instant::now() < until
        {
            thread::sleep(Duration::from_millis(5));
        }
        inner.tiles_durable.load(SeqCst)
    }

    /// Makes a last checkpoint and ends.
    pub(super) fn close(&self) {
        lock(&self.inner.queue).is_closed = true;
        self.inner.wake.notify_one();
        // A thread that panicked has nothing to add.
        let _ended = lock(&self.thread).take().map(JoinHandle::join);
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.close();
    }
}

#[cfg(test)]
pub(super) mod tests;
