//! Checks a log from its files alone: offline, on a copy, without a secret, in one pass that holds little in memory.
//!
//! Every entry's bytes are hashed again into the log's Merkle tree. What groups, headers, footers, tiles and checkpoints
//! say of the tree is held against it; whether a checkpoint counts is a matter of the keys that the caller trusts.
//! Entries that retention deleted are held against checkpoints by the hashes in the tiles.

mod newest;
mod notes;
mod segments;
mod tile_files;

use std::{
    collections::BTreeSet,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

pub use self::newest::{Newest, newest};
use self::{notes::NoteCheck, segments::Segments, tile_files::TileCheck};
use super::{checkpoint_files::CheckpointFiles, frame::Header, tiles};
use crate::domain::{
    checkpoint::{Checkpoint, CheckpointError},
    log_event::{EventKind, LoggedEvent},
    merkle::{Frontier, Hash},
    signed_note::{NoteError, SignedNote, VerifierKey},
};

/// The most findings that a report lists, and the most events of each kind.
const LISTED_MAX: usize = 1000;

/// What who verifies a log trusts.
#[derive(Clone, Debug, Default)]
pub struct Trusted {
    /// The keys that were handed over by a way that does not lead through the log's folder.
    pub keys: Vec<VerifierKey>,
    /// Checkpoints that were kept outside, which the log must agree with.
    pub checkpoints: Vec<OldCheckpoint>,
}

/// A checkpoint that was kept outside.
#[derive(Clone, Debug)]
pub struct OldCheckpoint {
    name: String,
    note: SignedNote,
    checkpoint: Checkpoint,
}

impl OldCheckpoint {
    /// Reads a checkpoint; `name` is what findings call it.
    ///
    /// # Errors
    /// [`CheckpointError`] when it is none. Its signature is checked with the log.
    pub fn parse(name: &str, note: &str) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(note)?;
        let checkpoint = Checkpoint::parse(note.text())?;
        Ok(Self { name: name.to_owned(), note, checkpoint })
    }

    /// What findings call it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which log it is of.
    pub fn origin(&self) -> &Arc<str> {
        &self.checkpoint.origin
    }

    fn verified_by(&self, keys: &[VerifierKey]) -> Result<(), NoteError> {
        self.note.verified_by(keys).map(|_| ())
    }
}

/// Something that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What.
    pub what: String,
    /// The file in the log's folder, if it is about one.
    pub file: Option<String>,
    /// The place in the file, in bytes.
    pub offset: Option<u64>,
    /// The first entry that it is about.
    pub sequence: Option<u64>,
}

/// What a log holds, and what is wrong with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What the log's checkpoints are called by.
    pub origin: Option<Arc<str>>,
    /// How many entries it ever had, up to the last that could be checked.
    pub entries: u64,
    /// The first entry that is still there; 0 when there is none.
    pub first_sequence: u64,
    /// Decisions that are there.
    pub decisions: u64,
    /// Events that are there.
    pub events: u64,
    /// The earliest time of an entry, in microseconds since the epoch.
    pub first_us: Option<i64>,
    /// The latest time of an entry.
    pub last_us: Option<i64>,
    /// Gaps, in their order.
    pub gaps: Vec<LoggedEvent>,
    /// What retention deleted, in its order.
    pub retention: Vec<LoggedEvent>,
    /// Changes of the key, in their order.
    pub key_changes: Vec<LoggedEvent>,
    /// Changes of the clock, in their order.
    pub clock_changes: Vec<LoggedEvent>,
    /// Checkpoints that are stored and good.
    pub checkpoints: u64,
    /// How many entries, from the first, the newest checkpoint by a trusted key covers. What comes after is whole as far
    /// as can be seen, but nobody has signed it.
    pub covered: u64,
    /// Bytes of segments that were read.
    pub bytes: u64,
    /// What is wrong, the first first.
    pub findings: Vec<Finding>,
    /// How many more findings there are.
    pub findings_left_out: u64,
    /// What is unusual and yet in order.
    pub remarks: Vec<String>,
}

impl Report {
    fn find(&mut self, what: String, file: Option<&Path>, offset: Option<u64>, sequence: Option<u64>) {
        if self.findings.len() >= LISTED_MAX {
            self.findings_left_out += 1;
            return;
        }
        let file = file.map(|file| file.display().to_string());
        self.findings.push(Finding { what, file, offset, sequence });
    }

    fn find_in(&mut self, file: &str, what: impl Into<String>) {
        self.find(what.into(), Some(Path::new(file)), None, None);
    }

    fn take_event(&mut self, event: LoggedEvent) {
        let list = match &event.event.kind {
            EventKind::Gap(_) => &mut self.gaps,
            EventKind::Retention { .. } => &mut self.retention,
            EventKind::KeyChange { .. } => &mut self.key_changes,
            EventKind::ClockChange { .. } => &mut self.clock_changes,
            _ => return,
        };
        if list.len() >= LISTED_MAX && !matches!(event.event.kind, EventKind::KeyChange { .. }) {
            list.remove(0);
        }
        list.push(event);
    }
}

/// What the log in this folder is called by, as its own files say; `None` when they don't.
pub fn origin(folder: &Path) -> Option<Arc<str>> {
    let keys = CheckpointFiles::of(folder).keys().ok()?;
    keys.first().map(|key| Arc::clone(key.name()))
}

fn is_segment(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|extension| extension == "seg")
}

/// The folder looks like one of a log: it has segments or checkpoints.
pub fn is_log(folder: &Path) -> bool {
    let is_ours = |name: &str| name == super::checkpoint_files::ALL || is_segment(name);
    let mut entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().to_str().is_some_and(is_ours))
}

/// Checks the log in this folder, which nobody writes to meanwhile.
///
/// # Errors
/// A folder or file that cannot be read. Whatever is wrong with what was read is in the report.
pub fn verify(folder: &Path, trusted: &Trusted) -> io::Result<Report> {
    let mut check = Check::open(folder, trusted)?;
    let segments = Segments::list(folder)?;
    segments.check(&mut check)?;
    check.finish()
}

/// The check under way.
#[derive(Debug)]
struct Check {
    folder: PathBuf,
    report: Report,
    tree: Frontier,
    /// The tree that a header says in spite of what is proved, with the entries since: what was written behind it says so too.
    said: Option<Frontier>,
    /// Since the last good checkpoint something was not what it should be.
    is_doubtful: bool,
    tiles: TileCheck,
    notes: NoteCheck,
}

impl Check {
    fn open(folder: &Path, trusted: &Trusted) -> io::Result<Self> {
        let mut report = Report::default();
        let notes = NoteCheck::open(folder, trusted, &mut report)?;
        let tiles = TileCheck::new(folder, notes.last_size());
        let (folder, tree) = (folder.to_owned(), Frontier::new());
        let mut check = Self { folder, report, tree, said: None, is_doubtful: false, tiles, notes };
        check.notes.at(&check.tree, &mut check.report)?;
        Ok(check)
    }

    /// Takes the next entry's leaf hash, and holds what is signed of the tree that ends with it against that tree.
    fn leaf(&mut self, leaf: Hash) -> io::Result<()> {
        let Self { tree, tiles, notes, report, .. } = self;
        let mut failed = Ok(());
        tree.append_with(leaf, |level, index, hash| {
            if failed.is_ok() {
                failed = tiles.node(level, index, hash, report);
            }
        });
        failed?;
        notes.at(tree, report)?;
        self.is_doubtful = match self.notes.last_was_good(&self.tree) {
            Some(is_good) => !is_good,
            None => self.is_doubtful,
        };
        if let Some(said) = &mut self.said {
            said.append(leaf);
        }
        Ok(())
    }

    /// What was read so far is what was signed, and what followed is what was written.
    fn is_proved(&self) -> bool {
        self.report.covered > 0 && !self.is_doubtful
    }

    /// The tree, or what takes its place for who wrote behind a wrong header, has what is asked for.
    fn is_any_tree(&self, is: impl Fn(&Frontier) -> bool) -> bool {
        is(&self.tree) || self.said.as_ref().is_some_and(is)
    }

    /// Goes on behind entries that are not there, with the tree that a header says was before.
    fn resume(&mut self, header: &Header) -> io::Result<()> {
        self.tree.clone_from(&header.before);
        (self.said, self.is_doubtful) = (None, true);
        self.tiles.resume(self.tree.size());
        self.notes.skip_to(&self.tree, &mut self.report)
    }

    /// Takes entries that are not there any more by their hashes in the tiles; `false` when those are not there either.
    fn deleted(&mut self, size: u64) -> io::Result<bool> {
        let tiles = tiles::Tiles::of(&self.folder);
        while self.tree.size() < size {
            let index = self.tree.size() / tiles::WIDTH as u64;
            let width = usize::try_from((size - self.tree.size()).min(tiles::WIDTH as u64)).unwrap_or(tiles::WIDTH);
            let Some(hashes) = tiles.read(0, index, width)? else {
                let sequence = Some(self.tree.size() + 1);
                let what = "the hashes of deleted entries are missing".to_owned();
                self.report.find(what, Some(&tiles::path(0, index)), None, sequence);
                return Ok(false);
            };
            for hash in hashes {
                self.leaf(hash)?;
            }
        }
        Ok(true)
    }

    fn finish(mut self) -> io::Result<Report> {
        self.report.entries = self.tree.size();
        self.notes.finish(&self.tree, &mut self.report)?;
        self.tiles.finish(&mut self.report)?;
        let first = self.report.first_sequence;
        // Anybody who can write the files can add an entry behind what is signed; and none speaks of what comes after it.
        let covered = self.report.covered;
        let is_signed = |event: &LoggedEvent, last: u64| event.sequence <= covered && last < event.sequence;
        let is_told = |event: &LoggedEvent| matches!(event.event.kind, EventKind::Retention { last, .. } if last.saturating_add(1) >= first && is_signed(event, last));
        if first > 1 && !self.report.retention.iter().any(is_told) {
            let what = format!(
                "entries 1 to {} are gone, and no entry that is signed says that retention deleted them",
                first - 1
            );
            self.report.find(what, None, None, Some(1));
        }
        self.other_files()?;
        Ok(self.report)
    }

    /// Names what lies in the folder and is no part of the log.
    fn other_files(&mut self) -> io::Result<()> {
        use super::checkpoint_files::{ALL, KEYS, NEWEST};
        let known = [ALL, KEYS, NEWEST, tiles::FOLDER, "lock"];
        let mut others = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if !known.contains(&name.as_str()) && !is_segment(&name) && others.len() < LISTED_MAX {
                others.insert(name);
            }
        }
        for name in others {
            self.report.remarks.push(format!("`{name}` is no part of the log and was not looked into"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
