//! The thread that makes checkpoints.

mod taking_up;

use std::{
    collections::VecDeque,
    io, mem,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, atomic::Ordering::SeqCst},
    time::{Duration, Instant},
};

use super::{ENTRIES, EVERY, Head, Inner, LeafGroup, PAUSE, RETRY, Signing, kept::Kept, lock};
use crate::{
    domain::{
        checkpoint::Checkpoint,
        merkle::{Hash, leaf_hash},
        signed_note::VerifierKey,
    },
    storage::{
        checkpoint_key::CheckpointKey,
        segment_log::{
            checkpoint_files::CheckpointFiles,
            entries,
            last_segment::{LOST_MAX, lost_leaf},
            tiles::{Edge, Tiles, WIDTH},
        },
    },
};

/// Tiles that may be lost with the machine's power, at most.
const UNSYNCED_TILES_MAX: u64 = 4096;
/// How long they may be so, at most.
const UNSYNCED: Duration = Duration::from_secs(60);

/// What the thread is to do.
#[derive(Debug)]
struct Work {
    groups: VecDeque<LeafGroup>,
    head: Head,
    next_key: Option<(CheckpointKey, u64)>,
    is_sync_wanted: bool,
    is_closed: bool,
}

/// The thread's own state.
#[derive(Debug)]
pub(super) struct Keeper {
    inner: Arc<Inner>,
    folder: PathBuf,
    tiles: Tiles,
    files: CheckpointFiles,
    signing: Signing,
    kept: Kept,
    /// The tree as far as it is in tiles; `None` when that must be found out.
    edge: Option<Edge>,
    /// The key; `None` when the one of this log is not there.
    key: Option<CheckpointKey>,
    newest: Option<Checkpoint>,
    /// The first entry that can neither be read nor is known from the tiles.
    lost: Option<u64>,
    /// The run before did not stop in order, and its tiles were not looked at yet.
    is_unsure: bool,
    unsynced: u64,
    synced_at: Instant,
}

impl Keeper {
    pub(super) fn open(folder: &Path, signing: Signing, is_unsure: bool, inner: Arc<Inner>) -> Result<Self, String> {
        let files = CheckpointFiles::of(folder);
        let origin = signing.origin.as_ref().unwrap_or(&signing.origin_default);
        if VerifierKey::new(origin, [0; 32]).is_none() {
            return Err(format!("`{origin}` cannot be a log's origin, expected a name without blanks and `+`"));
        }
        // A file that cannot be read is told by the thread.
        let began_with = files.keys().ok().and_then(|keys| keys.first().map(|key| Arc::clone(key.name())));
        if let (Some(began_with), Some(origin)) = (began_with, &signing.origin)
            && began_with != *origin
        {
            return Err(format!(
                "its origin is `{began_with}`, not `{origin}`: a log keeps the one that it began with"
            ));
        }
        let tiles = Tiles::of(folder);
        let (folder, kept) = (folder.to_owned(), Kept::at(signing.kept.clone()));
        let (edge, key, newest, lost) = (None, None, None, None);
        Ok(Self {
            inner,
            folder,
            tiles,
            files,
            signing,
            kept,
            edge,
            key,
            newest,
            lost,
            is_unsure,
            unsynced: 0,
            synced_at: Instant::now(),
        })
    }

    /// Makes checkpoints until the log is closed.
    pub(super) fn run(mut self) {
        let mut tried_at: Option<Instant> = None;
        loop {
            let work = self.wait(tried_at);
            let is_closed = work.is_closed;
            let done = self.work(work);
            tried_at = Some(Instant::now());
            self.tell(done.err());
            if is_closed {
                return;
            }
        }
    }

    fn tell(&mut self, fault: Option<io::Error>) {
        let fault = fault.map(|error| error.to_string());
        if fault.is_some() {
            // What is in memory may be ahead of what is on disk.
            self.edge = None;
            self.inner.failures.fetch_add(1, SeqCst);
        }
        let before = mem::replace(&mut *lock(&self.inner.fault), fault.clone());
        let folder = self.folder.display();
        match (before, fault) {
            (None, Some(fault)) => tracing::error!(%folder, fault, "no checkpoint of the decision log can be made"),
            (Some(_), None) => tracing::info!(%folder, "checkpoints of the decision log can be made again"),
            _ => {}
        }
        let mut queue = lock(&self.inner.queue);
        queue.done = queue.taken;
        drop(queue);
        self.inner.progress.notify_waiters();
    }

    /// Waits until there is something to do, and takes it.
    fn wait(&self, tried_at: Option<Instant>) -> Work {
        let mut queue = lock(&self.inner.queue);
        loop {
            let is_asked = queue.is_wanted || queue.is_sync_wanted || queue.next_key.is_some() || queue.is_closed;
            let is_failing = lock(&self.inner.fault).is_some();
            let pause = match queue.leaves {
                _ if is_failing => Some(RETRY),
                // The first time is for what an earlier run left undone.
                _ if tried_at.is_none() => Some(Duration::ZERO),
                0 => None,
                ENTRIES.. => Some(PAUSE),
                _ => Some(EVERY),
            };
            let left = pause.map(|pause| pause.saturating_sub(tried_at.map_or(pause, |tried_at| tried_at.elapsed())));
            if is_asked || left == Some(Duration::ZERO) {
                break;
            }
            queue = match left {
                Some(left) => self.inner.wake.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0,
                None => self.inner.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
        queue.is_wanted = false;
        queue.leaves = 0;
        queue.taken += 1;
        Work {
            groups: mem::take(&mut queue.groups),
            head: queue.head,
            next_key: queue.next_key.take(),
            is_sync_wanted: queue.is_sync_wanted,
            is_closed: queue.is_closed,
        }
    }

    fn work(&mut self, work: Work) -> io::Result<()> {
        self.lost = None;
        if self.key.is_none() {
            self.key = Some(self.take_key()?);
        }
        let mut edge = match self.edge.take() {
            Some(edge) => edge,
            None => self.take_up(work.head.size)?,
        };
        for group in work.groups {
            self.append_group(&mut edge, group)?;
        }
        self.catch_up(&mut edge, work.head.size)?;
        if (edge.size(), self.tiles.root(&edge)?) != (work.head.size, work.head.root) {
            return Err(self.unlike("the tiles are not those of the log"));
        }
        self.checkpoint(&edge, work.next_key)?;
        self.edge = Some(edge);
        if work.is_sync_wanted
            || work.is_closed
            || self.unsynced > UNSYNCED_TILES_MAX
            || self.synced_at.elapsed() > UNSYNCED
        {
            self.sync()?;
        }
        Ok(())
    }

    /// Adds a group; one that begins behind a gap is caught up with from the segments.
    fn append_group(&mut self, edge: &mut Edge, group: LeafGroup) -> io::Result<()> {
        let LeafGroup { first, leaves } = group;
        self.catch_up(edge, first - 1)?;
        let known = usize::try_from((edge.size() + 1).saturating_sub(first)).unwrap_or(usize::MAX);
        leaves.into_iter().skip(known).try_for_each(|leaf| self.append(edge, leaf))
    }

    fn append(&mut self, edge: &mut Edge, leaf: Hash) -> io::Result<()> {
        let (tiles, unsynced) = (&self.tiles, &mut self.unsynced);
        edge.append(leaf, |level, index, hashes| {
            *unsynced += 1;
            tiles.write(level, index, hashes)?;
            tiles.remove_partial(level, index)
        })
    }

    /// Reads entries from the segments until there are so many.
    fn catch_up(&mut self, edge: &mut Edge, size: u64) -> io::Result<()> {
        let (first, folder) = (edge.size() + 1, self.folder.clone());
        if first > size {
            return Ok(());
        }
        entries::read(&folder, first..=size, |sequence, bytes| {
            self.fill(edge, sequence)?;
            self.append(edge, leaf_hash(bytes))
        })?;
        self.fill(edge, size + 1)
    }

    /// Takes entries that cannot be read, up to before this one: by their hashes in the tiles, and where these know
    /// nothing by what the writer puts in their place. Whether that is right, only the roots say.
    fn fill(&mut self, edge: &mut Edge, next: u64) -> io::Result<()> {
        let first = edge.size() + 1;
        if next.saturating_sub(first) > LOST_MAX {
            return Err(unreadable(first));
        }
        while edge.size() + 1 < next {
            let (tile, at) = (edge.size() / WIDTH as u64, usize::try_from(edge.size() % WIDTH as u64).unwrap_or(0));
            let known = self.tiles.read(0, tile, at + 1)?.and_then(|hashes| hashes.get(at).copied());
            if known.is_none() {
                self.lost.get_or_insert(edge.size() + 1);
            }
            self.append(edge, known.unwrap_or_else(lost_leaf))?;
        }
        Ok(())
    }

    /// Why the tree cannot be vouched for: for want of an entry, if one is lost, or else for this.
    fn unlike(&self, reason: &str) -> io::Error {
        self.lost.map_or_else(|| io::Error::other(reason.to_owned()), unreadable)
    }

    /// Finds the key of this log among those that there are.
    fn take_key(&self) -> io::Result<CheckpointKey> {
        let of = |name: &str| self.signing.seeds.iter().filter_map(|seed| CheckpointKey::new(seed, name)).collect();
        let mut keys = self.files.keys()?;
        let origin = keys.first().map(|key| Arc::clone(key.name()));
        let origin = origin.or_else(|| self.signing.origin.clone());
        let candidates: Vec<CheckpointKey> = of(&origin.unwrap_or_else(|| Arc::clone(&self.signing.origin_default)));
        let key = match keys.last() {
            None => {
                let key = candidates.into_iter().next();
                if let Some(key) = &key {
                    self.files.add_key(key.verifier())?;
                    keys.push(key.verifier().clone());
                }
                key
            }
            Some(last) => candidates.into_iter().find(|key| key.verifier() == last),
        };
        *lock(&self.inner.keys) = keys;
        let missing = "the key that signs this log's checkpoints is missing; restore keys/checkpoint.key from a \
                       backup";
        key.ok_or_else(|| io::Error::other(missing))
    }

    /// Signs the tree, unless that was done already.
    fn checkpoint(&mut self, edge: &Edge, next_key: Option<(CheckpointKey, u64)>) -> io::Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        let next_key = next_key.filter(|(_, sequence)| edge.size() >= *sequence).map(|(key, _)| key);
        let is_known = self.newest.as_ref().is_some_and(|newest| newest.size == edge.size());
        if edge.size() == 0 || (is_known && next_key.is_none()) {
            return Ok(());
        }
        self.tiles.write_partial(edge)?;
        let origin = Arc::clone(key.verifier().name());
        let checkpoint = Checkpoint { origin, size: edge.size(), root: self.tiles.root(edge)? };
        let keys: Vec<&CheckpointKey> = [Some(key), next_key.as_ref()].into_iter().flatten().collect();
        let signed = CheckpointKey::sign(checkpoint, &keys);
        // Before it is published: whatever has been is kept where the log's folder ends. All of its entries are durable.
        self.kept.write(&signed.note)?;
        self.files.append(&signed.note)?;
        self.newest = Some(signed.checkpoint.clone());
        *lock(&self.inner.edge) = Arc::new(edge.clone());
        if let Some(next) = next_key {
            self.files.add_key(next.verifier())?;
            lock(&self.inner.keys).push(next.verifier().clone());
            self.key = Some(next);
        }
        self.inner.newest.send_replace(Some(Arc::new(signed)));
        Ok(())
    }

    /// Makes the tiles durable.
    fn sync(&mut self) -> io::Result<()> {
        sync_file_system(&self.folder)?;
        (self.unsynced, self.synced_at) = (0, Instant::now());
        let size = self.newest.as_ref().map_or(0, |newest| newest.size);
        self.inner.tiles_durable.store(size, SeqCst);
        lock(&self.inner.queue).is_sync_wanted = false;
        Ok(())
    }
}

fn unreadable(sequence: u64) -> io::Error {
    io::Error::other(format!("the log's entry {sequence} cannot be read"))
}

/// Makes everything that was written to the folder's file system durable: tiles are many small files.
#[cfg(target_os = "linux")]
fn sync_file_system(folder: &Path) -> io::Result<()> {
    Ok(rustix::fs::syncfs(std::fs::File::open(folder)?)?)
}

/// Makes every tile durable, one by one.
#[cfg(not(target_os = "linux"))]
fn sync_file_system(folder: &Path) -> io::Result<()> {
    fn sync_below(folder: &Path) -> io::Result<()> {
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                sync_below(&path)?;
            } else {
                std::fs::File::open(&path)?.sync_all()?;
            }
        }
        super::super::files::sync_folder(folder)
    }
    let tiles = folder.join(super::super::tiles::FOLDER);
    if tiles.is_dir() { sync_below(&tiles) } else { Ok(()) }
}
