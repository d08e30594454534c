//! Holds the checkpoints, those in the folder and those that were kept outside, against the tree; and decides whose keys
//! count.

use std::{
    collections::VecDeque,
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{OldCheckpoint, Report, Trusted};
use crate::{
    domain::{
        checkpoint::Checkpoint,
        merkle::Frontier,
        signed_note::{SignedNote, VerifierKey},
    },
    storage::segment_log::checkpoint_files::{ALL, CheckpointFiles, KEYS, NEWEST, NoteReader, Piece},
};

/// A stored checkpoint whose place in the tree is still to come.
#[derive(Clone, Debug)]
struct Stored {
    text: String,
    note: SignedNote,
    checkpoint: Checkpoint,
    offset: u64,
}

/// The check of a log's checkpoints.
#[derive(Debug)]
pub(super) struct NoteCheck {
    folder: PathBuf,
    stored: Option<NoteReader<BufReader<File>>>,
    next: Option<Stored>,
    /// The two newest good ones, the newest last.
    newest: VecDeque<String>,
    /// The size of the last one in the folder.
    last_size: u64,
    /// Those that were kept outside, the smallest first.
    outside: VecDeque<OldCheckpoint>,
    checked_outside: Vec<OldCheckpoint>,
    /// The keys that count.
    trusted: Vec<VerifierKey>,
    /// The keys that the folder names.
    named: Vec<VerifierKey>,
    /// Keys that entries of the log name, with the entry, and that no trusted checkpoint covers yet.
    pending: Vec<(u64, VerifierKey)>,
    /// Stored checkpoints that the log has no entries for.
    beyond: u64,
    /// The size of the last stored checkpoint that was held against the tree, and whether it was good and trusted.
    last: Option<(u64, bool)>,
}

impl NoteCheck {
    pub(super) fn open(folder: &Path, trusted: &Trusted, report: &mut Report) -> io::Result<Self> {
        let files = CheckpointFiles::of(folder);
        let named = match files.keys() {
            Ok(keys) => keys,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                report.find_in(KEYS, error.to_string());
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        if is_untidy(&folder.join(KEYS))? {
            report.find_in(KEYS, "does not end with a line's end");
        }
        report.origin = named.first().map(|key| Arc::clone(key.name()));
        let mut outside = trusted.checkpoints.clone();
        outside.sort_by_key(|old| old.checkpoint.size);
        let mut check = Self {
            folder: folder.to_owned(),
            stored: NoteReader::open(folder)?,
            next: None,
            newest: VecDeque::new(),
            last_size: last_size(folder)?,
            outside: outside.into(),
            checked_outside: Vec::new(),
            trusted: trusted.keys.clone(),
            named,
            pending: Vec::new(),
            beyond: 0,
            last: None,
        };
        check.load(report)?;
        Ok(check)
    }

    /// The size that the last checkpoint in the folder says.
    pub(super) fn last_size(&self) -> u64 {
        self.last_size
    }

    /// Whether the tree is that of a good checkpoint by a trusted key; `None` when none of it was made.
    pub(super) fn last_was_good(&self, tree: &Frontier) -> Option<bool> {
        self.last.filter(|(size, _)| *size == tree.size()).map(|(_, is_good)| is_good)
    }

    /// An entry names a key that signs from there on.
    pub(super) fn key_change(&mut self, sequence: u64, key: &str, report: &mut Report) {
        match key.parse() {
            Ok(key) => self.pending.push((sequence, key)),
            Err(error) => report.find(format!("the new key of a change {error}"), None, None, Some(sequence)),
        }
    }

    /// Takes the tree as it is after each entry.
    pub(super) fn at(&mut self, tree: &Frontier, report: &mut Report) -> io::Result<()> {
        while self.next.as_ref().is_some_and(|next| next.checkpoint.size <= tree.size()) {
            if let Some(stored) = self.next.take() {
                self.check(stored, tree, report);
            }
            self.load(report)?;
        }
        while self.outside.front().is_some_and(|old| old.checkpoint.size <= tree.size()) {
            let Some(old) = self.outside.pop_front() else { break };
            if old.checkpoint.size != tree.size() || old.checkpoint.root != tree.root() {
                let what =
                    format!("the first {} entries are not those that {} was made of", old.checkpoint.size, old.name);
                report.find(what, None, None, Some(report.first_sequence.max(1)));
            }
            self.checked_outside.push(old);
        }
        Ok(())
    }

    /// Passes over those whose entries could not be read, which is told already.
    pub(super) fn skip_to(&mut self, tree: &Frontier, report: &mut Report) -> io::Result<()> {
        while self.next.as_ref().is_some_and(|next| next.checkpoint.size < tree.size()) {
            self.load(report)?;
        }
        while self.outside.front().is_some_and(|old| old.checkpoint.size < tree.size()) {
            let Some(old) = self.outside.pop_front() else { break };
            let what = format!("the entries that {} was made of cannot be read", old.name);
            report.find(what, None, None, None);
        }
        self.at(tree, report)
    }

    /// Reads the next checkpoint of the folder.
    fn load(&mut self, report: &mut Report) -> io::Result<()> {
        self.next = None;
        while let Some(stored) = &mut self.stored {
            let Some(piece) = stored.next_piece()? else { return Ok(()) };
            let mut bad = |offset, what: String| report.find(what, Some(Path::new(ALL)), Some(offset), None);
            match piece {
                Piece::Bad { offset } => bad(offset, "is no checkpoint: its lines are not those of one".to_owned()),
                Piece::Note { text, offset, .. } => {
                    let read = SignedNote::parse(&text).map_err(Into::into);
                    let read = read.and_then(|note| Ok((Checkpoint::parse(note.text())?, note)));
                    match read {
                        Ok((checkpoint, note)) => {
                            self.next = Some(Stored { text, note, checkpoint, offset });
                            return Ok(());
                        }
                        Err(error) => {
                            let error: crate::domain::checkpoint::CheckpointError = error;
                            bad(offset, error.to_string());
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Holds a stored checkpoint against the tree that it should be of.
    fn check(&mut self, stored: Stored, tree: &Frontier, report: &mut Report) {
        let Stored { text, note, checkpoint, offset } = stored;
        let size = checkpoint.size;
        let mut faults = Vec::new();
        if size < tree.size() {
            faults.push(format!("the checkpoint of {size} entries stands behind a later one"));
        } else if checkpoint.root != tree.root() {
            faults.push(format!("the first {size} entries are not those that the checkpoint was made of"));
        }
        if report.origin.get_or_insert_with(|| Arc::clone(&checkpoint.origin)) != &checkpoint.origin {
            faults.push(format!("the checkpoint is of another log, `{}`", checkpoint.origin));
        }
        let is_by = |key: &VerifierKey| note.signatures().iter().any(|by| by.name == *key.name() && by.id == key.id());
        let has_trusted = |trusted: &[VerifierKey]| trusted.iter().any(is_by);
        if has_trusted(&self.trusted) && faults.is_empty() && note.verified_by(&self.trusted).is_ok() {
            let (covered, pending) = self.pending.drain(..).partition(|(sequence, _)| *sequence <= size);
            self.pending = pending;
            let covered: Vec<(u64, VerifierKey)> = covered;
            self.trusted.extend(covered.into_iter().map(|(_, key)| key));
            report.covered = report.covered.max(size);
        }
        self.last = Some((size, faults.is_empty() && report.covered >= size));
        let known: Vec<VerifierKey> = self.trusted.iter().chain(&self.named).cloned().collect();
        for signature in note.signatures() {
            let key = known.iter().find(|key| *key.name() == signature.name && key.id() == signature.id);
            match key {
                None => {
                    faults.push(format!("the checkpoint of {size} entries is signed by an unknown key, `{signature}`"));
                }
                Some(key) if !key.verifies(note.text(), &signature.bytes) => {
                    faults.push(format!("the checkpoint of {size} entries has a wrong signature by `{signature}`"));
                }
                Some(_) if signature.name != checkpoint.origin => {
                    faults.push(format!("the checkpoint of {size} entries is signed by the key of another log"));
                }
                Some(_) => {}
            }
        }
        if faults.is_empty() {
            report.checkpoints += 1;
        }
        for fault in faults {
            report.find(fault, Some(Path::new(ALL)), Some(offset), None);
        }
        if self.newest.len() == 2 {
            self.newest.pop_front();
        }
        self.newest.push_back(text);
    }

    /// Takes the tree of the whole log.
    pub(super) fn finish(&mut self, tree: &Frontier, report: &mut Report) -> io::Result<()> {
        let size = tree.size();
        let mut first_beyond = None;
        while let Some(next) = self.next.take() {
            self.beyond += 1;
            let found = first_beyond.get_or_insert((next.checkpoint.size, next.offset, next.checkpoint.size));
            found.2 = found.2.max(next.checkpoint.size);
            self.newest.push_back(next.text);
            self.load(report)?;
        }
        if let Some((_, offset, largest)) = first_beyond {
            let count = self.beyond;
            let what = format!(
                "the log ends with entry {size}, but {count} of its checkpoints are of more, up to {largest}: entries were cut off"
            );
            report.find(what, Some(Path::new(ALL)), Some(offset), Some(size + 1));
        }
        for old in self.outside.drain(..) {
            let what = format!("the log ends with entry {size}, before the {} of {}", old.checkpoint.size, old.name);
            report.find(what, None, None, Some(size + 1));
        }
        for old in self.checked_outside.drain(..) {
            if let Err(error) = old.verified_by(&self.trusted) {
                report.find(format!("{} {error}", old.name), None, None, None);
            }
        }
        self.check_newest(report)?;
        self.check_keys(report)?;
        if report.covered == 0 && size > 0 {
            report.find_in(ALL, "no good checkpoint is signed by a key that is trusted, so nothing is proved");
        }
        Ok(())
    }

    /// The file of the newest one is the last of all.
    fn check_newest(&self, report: &mut Report) -> io::Result<()> {
        let newest = read_if_there(&self.folder.join(NEWEST))?;
        let last = self.newest.back().map(String::as_bytes);
        let before = self.newest.len().checked_sub(2).and_then(|at| self.newest.get(at)).map(String::as_bytes);
        if newest.as_deref() == last {
            return Ok(());
        }
        match newest {
            Some(newest) if Some(newest.as_slice()) == before => {
                report.remarks.push(format!("`{NEWEST}` is the last but one of `{ALL}`: a write was interrupted"));
            }
            Some(_) => report.find_in(NEWEST, format!("is not the last of `{ALL}`")),
            None => report.find_in(NEWEST, "is missing"),
        }
        Ok(())
    }

    /// The file of keys names those that signed, and none that nobody vouches for.
    fn check_keys(&self, report: &mut Report) -> io::Result<()> {
        if self.named.is_empty()
            && report.entries > 0
            && read_if_there(&self.folder.join(KEYS))?.is_none_or(|keys| keys.is_empty())
        {
            report.find_in(KEYS, "is missing or empty");
        }
        let first_trusted = self.named.iter().position(|key| self.trusted.contains(key));
        for (at, key) in self.named.iter().enumerate() {
            if Some(key.name()) != report.origin.as_ref() {
                report.find_in(KEYS, format!("`{key}` is a key of another log"));
            } else if !self.trusted.contains(key) {
                match first_trusted {
                    Some(first) if at < first => report.remarks.push(format!(
                        "`{key}` is older than the keys that are trusted; what it signed is covered by later checkpoints"
                    )),
                    _ => report.find_in(KEYS, format!("nothing that is trusted vouches for `{key}`; give it with --key if you know it")),
                }
            }
        }
        let ours = |key: &&VerifierKey| Some(key.name()) == report.origin.as_ref() && !self.named.contains(key);
        let missing: Vec<String> = self.trusted.iter().filter(ours).map(ToString::to_string).collect();
        for key in missing {
            report.find_in(KEYS, format!("`{key}` is missing"));
        }
        Ok(())
    }
}

/// The size of the last checkpoint in the folder, as far as it can be read; else 0.
fn last_size(folder: &Path) -> io::Result<u64> {
    let note = CheckpointFiles::of(folder).last_note()?.and_then(|text| SignedNote::parse(&text).ok());
    Ok(note.and_then(|note| Checkpoint::parse(note.text()).ok()).map_or(0, |checkpoint| checkpoint.size))
}

fn read_if_there(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map(Some),
    }
}

/// The last line of a file has no end.
fn is_untidy(path: &Path) -> io::Result<bool> {
    Ok(read_if_there(path)?.is_some_and(|bytes| !bytes.is_empty() && !bytes.ends_with(b"\n")))
}
