//! What sled keeps of the index: the catalogue of blocks, and the postings of attributes with few values.
//!
//! ```text
//! 0                                     the format and the fingerprint of the key that values are hashed with
//! attribute u8 | hash u64 | block u64   places of the entries of the block that have this value
//! 255 | block u64                       crc32 u32 | where the block stands, its times, its events, what of it is lost
//! ```
//! Numbers in keys are big-endian; a block goes by its first sequence number. Its entry is written after its postings and
//! its file, and removed before them. Nothing here is more than a shortcut: whatever is missing or damaged is made again
//! from the segments.

use std::{
    fmt, fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use ::sled::{Batch, Db, IVec};

use super::{
    file::{IndexFile, Posting},
    open::{Lost, OpenBlock},
    terms::Term,
};
use crate::{
    domain::codec::{CodecError, Reader, Writer},
    storage::segment_log::files::{make_folder, sync_folder},
};

const VERSION: u8 = 1;
const META: [u8; 1] = [0];
const BLOCKS: u8 = 255;
/// The most changes of a batch: sled's memory grows without bound beyond.
const BATCH_CHANGES_MAX: usize = 900;
/// The size of sled's page cache, in bytes.
const CACHE_BYTES: u64 = 16 << 20;
/// How long a database may take to let go of its files.
const RELEASE_WAIT: Duration = Duration::from_secs(5);
/// The index is not written while the filesystem has less than this many free bytes; sled cannot be opened on a full disk.
const FREE_BYTES_MIN: u64 = 64 << 20;

/// A block of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::storage::segment_log) struct Block {
    /// The number of its segment.
    pub segment: u64,
    /// The sequence number of its first entry.
    pub first: u64,
    /// The one after its last entry.
    pub next: u64,
    /// Where its first entry starts in the file.
    pub base: u64,
    /// Where its last entry ends.
    pub end: u64,
    /// Its earliest time, in microseconds since the epoch; later than `max_us` when it has no entry.
    pub min_us: i64,
    /// Its latest time.
    pub max_us: i64,
    /// Where the last entry that could be read starts, and the checksum in front of its body: says that the file is still
    /// the one that was indexed.
    pub last: Option<(u64, u32)>,
    /// The sequence numbers of its events.
    pub events: Vec<u64>,
    /// What of it is lost.
    pub lost: Vec<Lost>,
    /// The checksum of the header of its index file; `None` while it has none.
    pub checksum: Option<u32>,
}

impl Block {
    /// What is known of a block without its index file.
    pub(in crate::storage::segment_log) fn of(block: &OpenBlock) -> Self {
        let (min_us, max_us) = block.times();
        Self {
            segment: block.segment,
            first: block.first,
            next: block.next(),
            base: block.base,
            end: block.end,
            min_us,
            max_us,
            last: None,
            events: block.events.clone(),
            lost: block.lost(),
            checksum: None,
        }
    }

    /// Entries of which nothing is left; they have no index file.
    pub(in crate::storage::segment_log) fn lost(segment: u64, first: u64, next: u64, base: u64) -> Self {
        let lost = Lost { first, last: next - 1, min_us: i64::MIN, max_us: i64::MAX };
        Self {
            segment,
            first,
            next,
            base,
            end: base,
            min_us: i64::MAX,
            max_us: i64::MIN,
            last: None,
            events: Vec::new(),
            lost: vec![lost],
            checksum: None,
        }
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::with_capacity(64);
        let numbers = [self.segment, self.first, self.next, self.base, self.end];
        for number in numbers {
            out.u64(number);
        }
        out.i64(self.min_us);
        out.i64(self.max_us);
        out.bool(self.last.is_some());
        if let Some((offset, checksum)) = self.last {
            out.u64(offset);
            out.u64(checksum.into());
        }
        out.count(self.events.len());
        self.events.iter().for_each(|sequence| out.u64(*sequence));
        out.count(self.lost.len());
        for lost in &self.lost {
            out.u64(lost.first);
            out.u64(lost.last);
            out.i64(lost.min_us);
            out.i64(lost.max_us);
        }
        out.u64(self.checksum.unwrap_or_default().into());
        let body = out.into_bytes();
        [&crc32fast::hash(&body).to_le_bytes()[..], &body].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let (checksum, body) = bytes.split_first_chunk::<4>().ok_or(CodecError::Truncated)?;
        if crc32fast::hash(body) != u32::from_le_bytes(*checksum) {
            return Err(CodecError::Truncated);
        }
        let mut input = Reader::new(body);
        let input = &mut input;
        let block = Self {
            segment: input.u64()?,
            first: input.u64()?,
            next: input.u64()?,
            base: input.u64()?,
            end: input.u64()?,
            min_us: input.i64()?,
            max_us: input.i64()?,
            last: if input.bool()? { Some((input.u64()?, input.u32()?)) } else { None },
            events: { (0..input.count()?).map(|_| input.u64()).collect::<Result<_, _>>()? },
            lost: {
                let lost = |input: &mut Reader<'_>| {
                    let (first, last) = (input.u64()?, input.u64()?);
                    Ok(Lost { first, last, min_us: input.i64()?, max_us: input.i64()? })
                };
                (0..input.count()?).map(|_| lost(input)).collect::<Result<_, CodecError>>()?
            },
            checksum: Some(input.u32()?),
        };
        Ok(block)
    }
}

/// Why the catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub(in crate::storage::segment_log) enum CatalogueError {
    /// The disk has too little room.
    #[error("the disk has {free} free bytes, needed are {FREE_BYTES_MIN}")]
    Room {
        /// What it has.
        free: u64,
    },
    /// A file or folder cannot be used.
    #[error("a file cannot be used")]
    Io(#[from] io::Error),
    /// The engine failed.
    #[error("the database engine failed")]
    Engine(#[from] ::sled::Error),
    /// Somebody has it open.
    #[error("it is in use")]
    InUse,
    /// The engine failed badly.
    #[error("the database engine panicked")]
    Panic,
    /// What it holds is not what was written.
    #[error("it is damaged")]
    Damaged,
}

/// The open catalogue of one realm, and the folder of its index files.
pub(in crate::storage::segment_log) struct Catalogue {
    folder: PathBuf,
    db: Db,
}

/// Not the database: sled would print what it holds.
impl fmt::Debug for Catalogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalogue").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Catalogue {
    /// Opens the catalogue in this folder with the blocks that it has. What cannot be opened, or belongs to another key,
    /// is thrown away, and a new one made.
    pub(in crate::storage::segment_log) fn open(
        folder: &Path,
        fingerprint: u64,
    ) -> Result<(Self, Vec<Block>), CatalogueError> {
        make_folder(folder)?;
        check_room(folder)?;
        match Self::read_when_free(folder, fingerprint) {
            Ok(opened) => Ok(opened),
            Err(CatalogueError::InUse) => Err(CatalogueError::InUse),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, folder = %folder.display(), "the index of the decision log is made anew");
                clear(folder)?;
                Self::read_when_free(folder, fingerprint)
            }
        }
    }

    /// Makes a new catalogue in place of what is in this folder.
    pub(in crate::storage::segment_log) fn make_anew(folder: &Path, fingerprint: u64) -> Result<Self, CatalogueError> {
        check_room(folder)?;
        clear(folder)?;
        Self::read_when_free(folder, fingerprint).map(|(catalogue, _)| catalogue)
    }

    /// Waits for the threads of a database that was dropped just now to let go of it.
    fn read_when_free(folder: &Path, fingerprint: u64) -> Result<(Self, Vec<Block>), CatalogueError> {
        let started = Instant::now();
        loop {
            match guarded(|| Self::read(folder, fingerprint)) {
                Err(CatalogueError::InUse) if started.elapsed() < RELEASE_WAIT => {
                    thread::sleep(Duration::from_millis(10));
                }
                read => return read,
            }
        }
    }

    fn read(folder: &Path, fingerprint: u64) -> Result<(Self, Vec<Block>), CatalogueError> {
        let db = ::sled::Config::new()
            .path(folder.join("catalogue"))
            .cache_capacity(CACHE_BYTES)
            .mode(::sled::Mode::HighThroughput)
            .flush_every_ms(Some(500))
            .open()
            .map_err(|error| match error {
                ::sled::Error::Io(error) if error.to_string().contains("acquire lock") => CatalogueError::InUse,
                other => other.into(),
            })?;
        let meta = [&[VERSION][..], &fingerprint.to_be_bytes()].concat();
        match db.get(META)? {
            Some(found) if found == meta => {}
            None if db.is_empty() => drop(db.insert(META.as_slice(), meta)?),
            _ => return Err(CatalogueError::Damaged),
        }
        let mut blocks = Vec::new();
        for pair in db.scan_prefix([BLOCKS]) {
            let (key, value) = pair?;
            match Block::decode(&value) {
                Ok(block) if *key == block_key(block.first) => blocks.push(block),
                // One that does not read is made again, and with it its postings.
                _ => tracing::warn!("a block of the index of the decision log is damaged"),
            }
        }
        Ok((Self { folder: folder.to_owned(), db }, blocks))
    }

    /// The disk has room for more.
    pub(in crate::storage::segment_log) fn has_room(&self) -> bool {
        check_room(&self.folder).is_ok()
    }

    /// Where a block's index file stands.
    pub(in crate::storage::segment_log) fn path(&self, block: u64) -> PathBuf {
        self.folder.join(format!("{block:016}.idx"))
    }

    /// Keeps a block: its file, then its postings, then its entry.
    pub(in crate::storage::segment_log) fn keep(
        &self,
        block: &Block,
        file: &[u8],
        postings: &[Posting],
    ) -> Result<(), CatalogueError> {
        check_room(&self.folder)?;
        let path = self.path(block.first);
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, file)?;
        fs::rename(&temporary, &path)?;
        guarded(|| {
            for postings in postings.chunks(BATCH_CHANGES_MAX) {
                let mut batch = Batch::default();
                for Posting { term, bytes } in postings {
                    batch.insert(&posting_key(*term, block.first), bytes.as_slice());
                }
                self.db.apply_batch(batch)?;
            }
            self.db.insert(block_key(block.first), block.encode())?;
            Ok(())
        })
    }

    /// The bytes of a value's posting in a block.
    pub(in crate::storage::segment_log) fn posting(
        &self,
        term: Term,
        block: u64,
    ) -> Result<Option<Vec<u8>>, CatalogueError> {
        guarded(|| Ok(self.db.get(posting_key(term, block))?.map(|bytes| bytes.to_vec())))
    }

    /// Forgets a block: its entry, then its postings and its file.
    pub(in crate::storage::segment_log) fn forget(&self, block: &Block) -> Result<(), CatalogueError> {
        let path = self.path(block.first);
        guarded(|| {
            let _: () = drop(self.db.remove(block_key(block.first))?);
            Ok(())
        })?;
        match IndexFile::open(&path, block.checksum.unwrap_or_default()) {
            Ok(file) => {
                self.remove(file.posted().map(|term| Ok(IVec::from(posting_key(term, block.first).as_slice()))))?;
            }
            // What the file said is damaged or gone: all keys are looked through.
            Err(_) => self.forget_all_of(block.first)?,
        }
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn forget_all_of(&self, block: u64) -> Result<(), CatalogueError> {
        let keys = self.db.range([1_u8].as_slice()..[BLOCKS].as_slice()).keys();
        self.remove(keys.filter(|key| key.as_ref().map_or(true, |key| key.ends_with(&block.to_be_bytes()))))
    }

    fn remove(&self, keys: impl Iterator<Item = ::sled::Result<IVec>>) -> Result<(), CatalogueError> {
        guarded(|| {
            let (mut batch, mut waiting) = (Batch::default(), 0);
            for key in keys {
                batch.remove(key?);
                waiting += 1;
                if waiting == BATCH_CHANGES_MAX {
                    self.db.apply_batch(std::mem::take(&mut batch))?;
                    waiting = 0;
                }
            }
            Ok(self.db.apply_batch(batch)?)
        })
    }
}

fn block_key(block: u64) -> [u8; 9] {
    let mut key = [BLOCKS; 9];
    key.iter_mut().skip(1).zip(block.to_be_bytes()).for_each(|(key, byte)| *key = byte);
    key
}

fn posting_key(Term { attribute, hash }: Term, block: u64) -> [u8; 17] {
    let mut key = [attribute.number(); 17];
    let bytes = hash.to_be_bytes().into_iter().chain(block.to_be_bytes());
    key.iter_mut().skip(1).zip(bytes).for_each(|(key, byte)| *key = byte);
    key
}

/// Empties a folder.
fn clear(folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() { fs::remove_dir_all(path)? } else { fs::remove_file(path)? }
    }
    sync_folder(folder)
}

fn check_room(folder: &Path) -> Result<(), CatalogueError> {
    let space = rustix::fs::statvfs(folder).map_err(io::Error::from)?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    if free < FREE_BYTES_MIN { Err(CatalogueError::Room { free }) } else { Ok(()) }
}

/// The engine panics on some failures of the disk.
fn guarded<T>(work: impl FnOnce() -> Result<T, CatalogueError>) -> Result<T, CatalogueError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(CatalogueError::Panic))
}

#[cfg(test)]
mod tests {
    use super::{super::terms::Attribute, *};

    fn block(first: u64) -> Block {
        Block {
            segment: 3,
            first,
            next: first + 100,
            base: 4096,
            end: 9000,
            min_us: -5,
            max_us: 1_700_000_000_000_000,
            last: Some((8000, 77)),
            events: vec![first + 3, first + 9],
            lost: vec![Lost { first: first + 1, last: first + 2, min_us: i64::MIN, max_us: i64::MAX }],
            checksum: Some(7),
        }
    }

    fn posting(hash: u64) -> Posting {
        Posting { term: Term { attribute: Attribute::Client, hash }, bytes: hash.to_be_bytes().to_vec() }
    }

    fn blocks(folder: &Path, fingerprint: u64) -> Vec<u64> {
        Catalogue::open(folder, fingerprint).unwrap().1.iter().map(|block| block.first).collect()
    }

    #[test]
    fn blocks_and_postings_are_kept_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let postings: Vec<_> = (0..2000).map(posting).collect();
        {
            let (catalogue, found) = Catalogue::open(folder.path(), 1).unwrap();
            assert!(found.is_empty());
            for first in [1, 101] {
                catalogue.keep(&block(first), b"file", &postings).unwrap();
            }
        }
        let (catalogue, found) = Catalogue::open(folder.path(), 1).unwrap();
        assert_eq!(found, [block(1), block(101)]);
        catalogue.forget(&block(1)).unwrap();
        assert!(!catalogue.path(1).exists() && catalogue.path(101).exists());
        for posting in &postings {
            assert_eq!(catalogue.posting(posting.term, 1).unwrap(), None);
            assert_eq!(catalogue.posting(posting.term, 101).unwrap().as_ref(), Some(&posting.bytes));
        }
        drop(catalogue);
        assert_eq!(blocks(folder.path(), 1), [101]);
    }

    #[test]
    fn the_catalogue_of_another_key_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let (catalogue, _) = Catalogue::open(folder.path(), 1).unwrap();
        catalogue.keep(&block(1), b"file", &[]).unwrap();
        drop(catalogue);
        assert_eq!(blocks(folder.path(), 1), [1]);
        assert_eq!(blocks(folder.path(), 2), [0; 0]);
        assert!(!folder.path().join("0000000000000001.idx").exists());
        assert_eq!(blocks(folder.path(), 1), [0; 0]);
    }

    #[test]
    fn a_changed_entry_is_no_block() {
        let bytes = block(9).encode();
        assert_eq!(Block::decode(&bytes), Ok(block(9)));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 4;
            assert!(Block::decode(&changed).is_err(), "{at}");
            assert!(Block::decode(&bytes[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn a_folder_full_of_rubbish_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("catalogue"), b"a file where a folder should be").unwrap();
        assert_eq!(blocks(folder.path(), 1), [0; 0]);
    }
}
