//! Keeps what was known of a realm's relationships, in append-only files of its own.
//!
//! A file begins with all records of a revision and goes on with what each later revision did. It is written after the
//! store and before anybody sees the revision, so every revision that a decision was made on is here; one that the store
//! kept and this did not, because the process or the disk failed in between, was seen by nobody, and a new file begins
//! with all records of the next. Nothing is ever cut off or written twice: a file that does not end where a frame ends is
//! left as it is.
//!
//! Everything is sealed with the key of an epoch. To forget somebody, all files are written anew without them under the
//! key of the next epoch, and the old key is destroyed.

mod effects;
mod forget;
mod frame;
mod keys;
mod past;
#[cfg(test)]
mod tests;

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    mem,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc::Receiver},
};

use async_trait::async_trait;

use self::{
    effects::Forgotten,
    frame::{EpochKey, FrameReader, HEADER_BYTES, Header, Place, Step},
    keys::Keys,
    past::Walker,
};
use crate::{
    app::ports::archive::{ArchiveError, History, Past},
    domain::{
        codec::Writer,
        id::{EntityId, RealmName, Revision},
        relationship::{Effect, Record, RecordKey, Written},
    },
};

/// A frame takes no more effects once it is this long, in bytes.
const FRAME_BYTES: usize = 512 * 1024;
/// The file that says which epoch counts.
const EPOCH_FILE: &str = "epoch";
const ENDING: &str = "hist";

/// A history on disk.
#[derive(Debug)]
pub struct HistoryFiles {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    keys: Keys,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    key: Arc<EpochKey>,
    /// The file that is written to; `None` when a new one has to begin.
    open: Option<OpenFile>,
    next_number: u64,
}

/// A file that is written to at its end.
#[derive(Debug)]
struct OpenFile {
    number: u64,
    file: File,
    length: u64,
    newest: Revision,
}

impl HistoryFiles {
    /// Opens the history in this folder, or makes one, with its keys in another.
    ///
    /// # Errors
    /// A folder or key that cannot be read or made; files whose key is gone.
    pub fn open(folder: &Path, keys: &Path, realm: &RealmName) -> Result<Self, ArchiveError> {
        let opened = || -> io::Result<(Keys, u64)> {
            make_folder(folder)?;
            Ok((Keys::in_folder(keys, realm)?, read_epoch(folder)?))
        };
        let (keys, epoch) = opened().map_err(|error| unusable(folder, &error))?;
        let files = list(folder, epoch).map_err(|error| unusable(folder, &error))?;
        if !files.is_empty() && !keys.path(epoch).exists() {
            return Err(ArchiveError::Unavailable(format!(
                "`{}` is missing and `{}` cannot be read without it; restore the key from a backup, or move the folder \
                 aside to begin a new history",
                keys.path(epoch).display(),
                folder.display()
            )));
        }
        let key = Arc::new(keys.get(epoch)?);
        forget::finish(folder, &keys, epoch).map_err(|error| unusable(folder, &error))?;
        let next_number = files.last().map_or(1, |(number, _)| number + 1);
        let newest = files.last().map(|(number, path)| go_on(*number, path)).transpose();
        let open = newest.map_err(|error| unusable(folder, &error))?.flatten();
        let state = Mutex::new(State { key, open, next_number });
        Ok(Self { shared: Arc::new(Shared { folder: folder.to_owned(), keys, state }) })
    }
}

#[async_trait]
impl History for HistoryFiles {
    fn newest(&self) -> Option<Revision> {
        self.shared.state().open.as_ref().map(|open| open.newest)
    }

    async fn begin(&self, revision: Revision, records: Receiver<Record>, known_us: i64) -> Result<(), ArchiveError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.begin(revision, &records, known_us)).await
    }

    async fn append(&self, written: Arc<Vec<Written>>, known_us: i64) -> Result<(), ArchiveError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || shared.append(&written, known_us)).await
    }

    fn revision_at(&self, time_us: i64) -> Result<Option<Revision>, ArchiveError> {
        past::revision_at(&self.shared, time_us)
    }

    fn past(&self) -> Box<dyn Past> {
        Box::new(Walker::new(Arc::clone(&self.shared)))
    }

    async fn forget(&self, entity: &EntityId) -> Result<(), ArchiveError> {
        let (shared, forgotten) = (Arc::clone(&self.shared), Forgotten::Entity(entity.clone()));
        blocking(move || forget::forget(&shared, &forgotten)).await
    }

    async fn forget_records(&self, keys: Vec<RecordKey>) -> Result<(), ArchiveError> {
        let (shared, forgotten) = (Arc::clone(&self.shared), Forgotten::Records(keys.into_iter().collect()));
        blocking(move || forget::forget(&shared, &forgotten)).await
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics while it holds the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a reader needs: the key, and how far each file may be read.
    fn view(&self) -> (Arc<EpochKey>, Option<(u64, u64)>) {
        let state = self.state();
        (Arc::clone(&state.key), state.open.as_ref().map(|open| (open.number, open.length)))
    }

    fn begin(&self, revision: Revision, records: &Receiver<Record>, known_us: i64) -> Result<(), ArchiveError> {
        let mut state = self.state();
        state.open = None;
        let number = state.next_number;
        let header = Header::new(state.key.epoch, number, revision, known_us);
        let mut file = NewFile::make(&self.folder, header)?;
        let place = Place { is_base: true, is_end: false, revision, known_us };
        let mut effects = Effects::new(&state.key, number, place);
        for record in records {
            if let Some(frame) = effects.push(&Effect::Created(record))? {
                file.write(&frame)?;
            }
        }
        file.write(&effects.end()?)?;
        let open = file.finish(revision)?;
        (state.open, state.next_number) = (Some(open), number + 1);
        Ok(())
    }

    fn append(&self, written: &[Written], known_us: i64) -> Result<(), ArchiveError> {
        let mut state = self.state();
        let Some(mut open) = state.open.take() else {
            return Err(ArchiveError::Unavailable("the history has to begin anew first".to_owned()));
        };
        let mut bytes = Vec::new();
        for Written { revision, effects } in written {
            // A batch that changed nothing has the revision of the one before.
            if *revision <= open.newest {
                continue;
            }
            if *revision != Revision(open.newest.0 + 1) {
                let newest = open.newest;
                return Err(ArchiveError::Damaged(format!("revision {revision} follows {newest} in the history")));
            }
            let place = Place { is_base: false, is_end: false, revision: *revision, known_us };
            let mut frames = Effects::new(&state.key, open.number, place);
            for effect in effects {
                bytes.extend(frames.push(effect)?.unwrap_or_default());
            }
            bytes.extend(frames.end()?);
            open.newest = *revision;
        }
        if bytes.is_empty() {
            state.open = Some(open);
            return Ok(());
        }
        // After a failure the file stays as it is, and a new one begins: a sync is never tried twice.
        let written = open.file.write_all(&bytes).and_then(|()| open.file.sync_data());
        written.map_err(|error| unusable(&self.folder, &error))?;
        open.length += bytes.len() as u64;
        state.open = Some(open);
        Ok(())
    }
}

/// The frames of one revision as they are filled.
struct Effects<'a> {
    key: &'a EpochKey,
    number: u64,
    place: Place,
    out: Writer,
}

impl<'a> Effects<'a> {
    fn new(key: &'a EpochKey, number: u64, place: Place) -> Self {
        Self { key, number, place, out: Writer::with_capacity(4_096) }
    }

    /// Takes an effect; a frame that is full comes back.
    fn push(&mut self, effect: &Effect) -> Result<Option<Vec<u8>>, ArchiveError> {
        effects::push(&mut self.out, effect);
        if self.out.len() < FRAME_BYTES {
            return Ok(None);
        }
        let full = mem::replace(&mut self.out, Writer::with_capacity(FRAME_BYTES + 4_096));
        self.sealed(full, Place { is_end: false, ..self.place }).map(Some)
    }

    /// The last frame of the revision.
    fn end(self) -> Result<Vec<u8>, ArchiveError> {
        let place = Place { is_end: true, ..self.place };
        self.end_as(place)
    }

    /// The last frame, at this place.
    fn end_as(mut self, place: Place) -> Result<Vec<u8>, ArchiveError> {
        let last = mem::take(&mut self.out);
        self.sealed(last, place)
    }

    fn sealed(&self, effects: Writer, place: Place) -> Result<Vec<u8>, ArchiveError> {
        let mut frame = Vec::with_capacity(effects.len() + 64);
        self.key.push(&mut frame, self.number, place, effects.into_bytes())?;
        Ok(frame)
    }
}

/// A file that appears under its name when it is whole.
struct NewFile {
    header: Header,
    temporary: PathBuf,
    path: PathBuf,
    file: File,
    length: u64,
}

impl NewFile {
    fn make(folder: &Path, header: Header) -> Result<Self, ArchiveError> {
        let path = path_of(folder, header.epoch, header.number);
        let temporary = path.with_extension("new");
        let make = || -> io::Result<File> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
            file.write_all(&header.encode())?;
            Ok(file)
        };
        let file = make().map_err(|error| unusable(folder, &error))?;
        Ok(Self { header, temporary, path, file, length: HEADER_BYTES as u64 })
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), ArchiveError> {
        self.file.write_all(bytes).map_err(|error| unusable(&self.temporary, &error))?;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn finish(self, newest: Revision) -> Result<OpenFile, ArchiveError> {
        let Self { header, temporary, path, file, length } = self;
        let finish = || -> io::Result<()> {
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            sync_folder(path.parent().unwrap_or(Path::new(".")))
        };
        finish().map_err(|error| unusable(&path, &error))?;
        Ok(OpenFile { number: header.number, file, length, newest })
    }
}

fn unusable(path: &Path, error: &io::Error) -> ArchiveError {
    ArchiveError::Unavailable(format!("`{}`: {error}", path.display()))
}

/// Runs disk work on a thread that may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, ArchiveError> {
    let cut_off = |_| Err(ArchiveError::Unavailable("the work on the history was cut off".to_owned()));
    tokio::task::spawn_blocking(work).await.unwrap_or_else(cut_off)
}

fn path_of(folder: &Path, epoch: u64, number: u64) -> PathBuf {
    folder.join(format!("{epoch:08}-{number:08}.{ENDING}"))
}

/// The files of an epoch with their numbers, lowest first.
fn list(folder: &Path, epoch: u64) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ending| ending != ENDING) {
            continue;
        }
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split_once('-'));
        let numbers = stem.and_then(|(epoch, number)| Some((epoch.parse::<u64>().ok()?, number.parse::<u64>().ok()?)));
        if let Some((_, number)) = numbers.filter(|(of, _)| *of == epoch) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The newest file to go on with; `None` when a new one has to begin, because this one does not end where a frame ends.
fn go_on(number: u64, path: &Path) -> io::Result<Option<OpenFile>> {
    let Some(mut reader) = FrameReader::open(path, u64::MAX)? else { return Ok(None) };
    let mut newest = None;
    let mut is_ended = false;
    loop {
        match reader.step()? {
            Step::Frame(frame) => {
                is_ended = frame.place.is_end;
                newest = Some(frame.place.revision);
            }
            Step::End => break,
            Step::Bad => return Ok(None),
        }
    }
    let Some(newest) = newest.filter(|_| is_ended) else { return Ok(None) };
    let file = OpenOptions::new().append(true).open(path)?;
    Ok(Some(OpenFile { number, file, length: reader.offset, newest }))
}

/// The epoch that counts.
fn read_epoch(folder: &Path) -> io::Result<u64> {
    match fs::read_to_string(folder.join(EPOCH_FILE)) {
        Ok(text) => text.trim().parse().map_err(|_| io::Error::other("the file `epoch` does not hold a number")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(1),
        Err(error) => Err(error),
    }
}

/// Makes a folder, with those above it that are missing, and makes their names durable.
fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.iter().filter_map(|folder| folder.parent()).try_for_each(sync_folder)
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
