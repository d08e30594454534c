//! What a log's folder holds of its checkpoints: the newest, all that ever were, and the keys that verify them.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufRead, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
};

use super::{files::sync_folder, tiles::write_whole};
use crate::domain::signed_note::{NOTE_BYTES_MAX, VerifierKey};

/// The file of the newest checkpoint.
pub(super) const NEWEST: &str = "checkpoint";
/// The file of all checkpoints, oldest first, an empty line after each.
pub(super) const ALL: &str = "checkpoints";
/// The file of the verifier keys, a line each, oldest first.
pub(super) const KEYS: &str = "keys";

/// So much at the end of all checkpoints holds the last of them.
const END_BYTES: u64 = 3 * NOTE_BYTES_MAX as u64;

/// What a line with a signature begins with.
const SIGNATURE_MARK: &str = "\u{2014} ";

/// The files of one log.
#[derive(Clone, Debug)]
pub(super) struct CheckpointFiles {
    folder: PathBuf,
}

impl CheckpointFiles {
    /// The files of the log in this folder.
    pub(super) fn of(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The verifier keys, oldest first; none when there is no file yet.
    ///
    /// # Errors
    /// A file that cannot be read, or holds a line that is no key.
    pub(super) fn keys(&self) -> io::Result<Vec<VerifierKey>> {
        let text = match fs::read_to_string(self.folder.join(KEYS)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read?,
        };
        let key = |line: &str| {
            let damaged = |error| io::Error::new(io::ErrorKind::InvalidData, format!("`{KEYS}`: a line {error}"));
            line.parse::<VerifierKey>().map_err(damaged)
        };
        text.lines().map(key).collect()
    }

    /// Adds a verifier key, durably.
    pub(super) fn add_key(&self, key: &VerifierKey) -> io::Result<()> {
        append(&self.folder.join(KEYS), format!("{key}\n").as_bytes())?;
        sync_folder(&self.folder)
    }

    /// The newest note. What an interrupted append left behind it is cut off.
    pub(super) fn newest(&self) -> io::Result<Option<String>> {
        let path = self.folder.join(ALL);
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        let start = length.saturating_sub(END_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let mut notes = NoteReader::new(bytes.as_slice());
        let (mut newest, mut end) = (None, 0);
        while let Some(piece) = notes.next_piece()? {
            if let Piece::Note { text, end: behind, .. } = piece {
                (newest, end) = (Some(text), behind);
            }
        }
        let kept = start + end;
        if kept < length {
            file.set_len(kept)?;
            file.sync_data()?;
        }
        if newest.is_none() && start > 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{ALL}` is damaged at its end")));
        }
        Ok(newest)
    }

    /// The newest note, as far as it can be read; nothing is cut off.
    pub(super) fn last_note(&self) -> io::Result<Option<String>> {
        let Some(mut notes) = NoteReader::open_at_end(&self.folder)? else { return Ok(None) };
        let mut newest = None;
        while let Some(piece) = notes.next_piece()? {
            if let Piece::Note { text, .. } = piece {
                newest = Some(text);
            }
        }
        Ok(newest)
    }

    /// Adds a note, durably, and makes it the newest.
    pub(super) fn append(&self, note: &str) -> io::Result<()> {
        let path = self.folder.join(ALL);
        let is_new = !path.exists();
        append(&path, format!("{note}\n").as_bytes())?;
        if is_new {
            sync_folder(&self.folder)?;
        }
        self.set_newest(note)
    }

    /// Makes a note the newest.
    pub(super) fn set_newest(&self, note: &str) -> io::Result<()> {
        write_whole(&self.folder.join(NEWEST), note.as_bytes())
    }
}

fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().append(true).create(true).open(path)?;
    let length = file.metadata()?.len();
    let written = file.write_all(bytes).and_then(|()| file.sync_data());
    if written.is_err() {
        // Half a line or note must not stand before the next one.
        file.set_len(length)?;
    }
    written
}

/// A part of the file of all notes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// A note with the empty line behind it, from `offset` to before `end`.
    Note { text: String, offset: u64, end: u64 },
    /// Bytes that are no note.
    Bad { offset: u64 },
}

/// Reads notes one after the other.
#[derive(Debug)]
pub(super) struct NoteReader<R> {
    source: R,
    offset: u64,
}

impl NoteReader<io::BufReader<File>> {
    /// The notes of a log's folder; `None` when there is no such file.
    pub(super) fn open(folder: &Path) -> io::Result<Option<Self>> {
        match File::open(folder.join(ALL)) {
            Ok(file) => Ok(Some(Self::new(io::BufReader::new(file)))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl NoteReader<io::BufReader<File>> {
    /// The last notes of a log's folder: begins somewhere in the file, perhaps within a note.
    pub(super) fn open_at_end(folder: &Path) -> io::Result<Option<Self>> {
        let opened = Self::open(folder)?;
        let Some(Self { mut source, .. }) = opened else { return Ok(None) };
        let length = source.get_ref().metadata()?.len();
        let offset = source.seek(SeekFrom::Start(length.saturating_sub(END_BYTES)))?;
        Ok(Some(Self { source, offset }))
    }
}

impl<R: BufRead> NoteReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, offset: 0 }
    }

    /// The next note, or what stands in its place; `None` at the end. After something bad it goes on behind the next
    /// empty line that follows a signature, or at the end.
    pub(super) fn next_piece(&mut self) -> io::Result<Option<Piece>> {
        let offset = self.offset;
        let (mut bytes, mut has_signature, mut is_good) = (Vec::new(), false, true);
        loop {
            let start = bytes.len();
            let limit = (NOTE_BYTES_MAX + 1) as u64;
            let read = (&mut self.source).take(limit).read_until(b'\n', &mut bytes)?;
            self.offset += read as u64;
            let line = bytes.get(start..).unwrap_or_default();
            if read == 0 {
                return Ok((!bytes.is_empty()).then_some(Piece::Bad { offset }));
            }
            if line == b"\n" && has_signature {
                let note = bytes.get(..start).unwrap_or_default().to_vec();
                return Ok(Some(match String::from_utf8(note) {
                    Ok(text) if is_good => Piece::Note { text, offset, end: self.offset },
                    _ => Piece::Bad { offset },
                }));
            }
            let is_signature = line.starts_with(SIGNATURE_MARK.as_bytes());
            is_good &= line.ends_with(b"\n") && (is_signature || !has_signature);
            has_signature |= is_signature;
            if bytes.len() > NOTE_BYTES_MAX {
                is_good = false;
                bytes.clear();
                bytes.push(b'\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{domain::checkpoint::Checkpoint, storage::checkpoint_key::CheckpointKey};

    fn key(seed: u8) -> CheckpointKey {
        CheckpointKey::new(&[seed; 32], "example.org/log").unwrap()
    }

    fn note(size: u64) -> String {
        let checkpoint = Checkpoint { origin: "example.org/log".into(), size, root: [7; 32] };
        CheckpointKey::sign(checkpoint, &[&key(1), &key(2)]).note.to_string()
    }

    fn pieces(bytes: &[u8]) -> Vec<Piece> {
        let mut reader = NoteReader::new(bytes);
        std::iter::from_fn(|| reader.next_piece().unwrap()).collect()
    }

    #[test]
    fn notes_and_keys_read_back_in_their_order() {
        let folder = tempfile::tempdir().unwrap();
        let files = CheckpointFiles::of(folder.path());
        assert_eq!((files.newest().unwrap(), files.keys().unwrap()), (None, vec![]));
        for size in 1..4 {
            files.append(&note(size)).unwrap();
            assert_eq!(files.newest().unwrap(), Some(note(size)));
            assert_eq!(files.last_note().unwrap(), Some(note(size)));
            assert_eq!(fs::read_to_string(folder.path().join(NEWEST)).unwrap(), note(size));
        }
        let found = pieces(&fs::read(folder.path().join(ALL)).unwrap());
        let texts: Vec<_> = found.iter().map(|piece| matches!(piece, Piece::Note { .. })).collect();
        assert_eq!(texts, [true; 3]);
        for seed in [1, 2] {
            files.add_key(key(seed).verifier()).unwrap();
        }
        assert_eq!(files.keys().unwrap(), [1, 2].map(|seed| key(seed).verifier().clone()));
        fs::write(folder.path().join(KEYS), "x\n").unwrap();
        assert!(files.keys().is_err());
    }

    #[test]
    fn an_append_that_was_interrupted_anywhere_is_cut_off() {
        let folder = tempfile::tempdir().unwrap();
        let files = CheckpointFiles::of(folder.path());
        let (first, second) = (note(1), format!("{}\n", note(2)));
        for cut in 0..second.len() {
            let bytes = [format!("{first}\n").as_bytes(), &second.as_bytes()[..cut]].concat();
            fs::write(folder.path().join(ALL), bytes).unwrap();
            assert_eq!(files.newest().unwrap().as_deref(), Some(&*first), "{cut}");
            files.append(&note(2)).unwrap();
            assert_eq!(files.newest().unwrap(), Some(note(2)), "{cut}");
        }
    }

    #[test]
    fn bad_bytes_between_notes_cost_no_more_than_their_neighbours() {
        let bytes = format!("{}\nnonsense\n{}\n{}\n", note(1), note(2), note(3));
        let found = pieces(bytes.as_bytes());
        assert_eq!(found.len(), 3);
        assert!(matches!(&found[2], Piece::Note { text, .. } if *text == note(3)));
        let endless = [vec![b'a'; 3 * NOTE_BYTES_MAX], format!("\n{}\n", note(1)).into_bytes()].concat();
        assert_eq!(pieces(&endless), [Piece::Bad { offset: 0 }]);
    }
}
