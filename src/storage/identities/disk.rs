//! The files of an identity table: opened, written at their end, written anew.
//!
//! `table.<epoch>` in the realm's folder `identities`; while one is written anew, `table.<epoch>.tmp` beside it, which
//! counts once it has its name. Of several tables the newest counts: the others, and their keys, are what an
//! interrupted erasure had yet to destroy.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    erasing::Begun,
    key_files::KeyFiles,
    rows::{EpochKey, HEADER_BYTES, Row, Rows, holds_a_later_frame, read_rows, split_frame},
};
use crate::{
    app::ports::IdentityError,
    domain::{
        id::RealmName,
        identity::{Identity, IdentityMap},
    },
    storage::segment_log::has_segments,
};

/// An interrupted write leaves at most so much behind, in bytes: more that can't be read is damage.
const TORN_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// The steps of writing a table anew after which a test may interrupt it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The new key is on disk.
    KeyMade,
    /// The rows that stay are in the new file.
    Copied,
    /// The new file is on disk, under its temporary name.
    Synced,
    /// The new table counts.
    Renamed,
    /// The old key is destroyed.
    KeyDestroyed,
    /// The old table is deleted.
    TableDeleted,
}

/// What was read at the start.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) disk: Disk,
    pub(super) erasing: Vec<Begun>,
}

/// The table that counts, open at its end.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    keys: KeyFiles,
    epoch: u64,
    key: Arc<EpochKey>,
    file: File,
    /// How long the file is, in bytes, as far as it counts.
    length: u64,
    /// How many frames it has.
    frames: u64,
    /// The file could not be made durable, or has bytes behind its end that could not be cut off.
    is_broken: bool,
    /// Rows that were written since a new table was begun, which they have to come along to.
    since: Option<Vec<Vec<u8>>>,
    #[cfg(test)]
    pub(super) interrupt_after: Option<Step>,
}

/// A table that is written anew and does not count yet.
#[derive(Debug)]
pub(super) struct Fresh {
    epoch: u64,
    key: Arc<EpochKey>,
    path: PathBuf,
    file: File,
    rows: Rows,
    length: u64,
    frames: u64,
}

impl Disk {
    pub(super) fn open(data_dir: &Path, realm: &RealmName, people: &IdentityMap) -> Result<Loaded, IdentityError> {
        let folder = data_dir.join("realms").join(realm.as_str()).join("identities");
        let failed = |error: io::Error| IdentityError::Unavailable(format!("folder `{}`: {error}", folder.display()));
        make_folder(&folder).map_err(failed)?;
        let keys = KeyFiles::below(data_dir, realm).map_err(failed)?;
        let tables = tables(&folder).map_err(failed)?;
        let Some(&epoch) = tables.last() else {
            let newest = keys.epochs().map_err(failed)?.last().copied();
            // A first start that was interrupted leaves the first key without a table, and no log: that comes later.
            let log = data_dir.join("realms").join(realm.as_str()).join("decisions");
            let has_log = has_segments(&log).map_err(failed)?;
            if let Some(newest) = newest.filter(|newest| has_log || *newest > 1) {
                let (table, key) = (table_path(&folder, newest), keys.path(newest));
                return Err(IdentityError::Unreadable(format!(
                    "`{}` is missing although its key `{}` is there; restore it from a backup, or move the key aside to \
                     begin without it: then nobody can tell any more whom the decisions so far were about",
                    table.display(),
                    key.display()
                )));
            }
            let disk = Self::create(folder.clone(), keys).map_err(failed)?;
            return Ok(Loaded { disk, erasing: Vec::new() });
        };
        if !keys.path(epoch).exists() {
            return Err(IdentityError::Unreadable(format!(
                "the key of `{}` is missing, expected `{}`; restore it from a backup",
                table_path(&folder, epoch).display(),
                keys.path(epoch).display()
            )));
        }
        let key = keys.load_or_create(epoch).map_err(failed)?;
        let key = EpochKey::new(epoch, &key).ok_or_else(|| failed(refused()))?;
        let mut loading = Loading { people, erasing: Vec::new() };
        let path = table_path(&folder, epoch);
        let (file, length, frames) = loading.read(&path, &key)?;
        let erasing = loading.erasing;
        let mut disk = Self::of(folder.clone(), keys, epoch, Arc::new(key), file, length, frames);
        disk.destroy_older().map_err(failed)?;
        Ok(Loaded { disk, erasing })
    }

    fn create(folder: PathBuf, keys: KeyFiles) -> io::Result<Self> {
        let fresh = Fresh::begin(&folder, &keys, 1)?;
        let Fresh { epoch, key, path, file, length, frames, .. } = fresh;
        file.sync_all()?;
        fs::rename(&path, table_path(&folder, epoch))?;
        sync_folder(&folder)?;
        Ok(Self::of(folder, keys, epoch, key, file, length, frames))
    }

    fn of(
        folder: PathBuf,
        keys: KeyFiles,
        epoch: u64,
        key: Arc<EpochKey>,
        file: File,
        length: u64,
        frames: u64,
    ) -> Self {
        Self {
            folder,
            keys,
            epoch,
            key,
            file,
            length,
            frames,
            is_broken: false,
            since: None,
            #[cfg(test)]
            interrupt_after: None,
        }
    }

    /// The table has to be written anew before anything else is written.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Writes people, then further rows, and makes them durable. After an error nothing of it counts.
    pub(super) fn append(&mut self, people: &mut Vec<Arc<Identity>>, mut further: Rows) -> io::Result<()> {
        let (mut bytes, mut frames, mut written) = (Vec::new(), self.frames, Vec::new());
        let mut push = |rows: Vec<u8>| {
            written.push(rows.clone());
            self.key.push_frame(&mut bytes, frames, rows).ok_or_else(refused)?;
            frames += 1;
            io::Result::Ok(())
        };
        let mut rows = Rows::default();
        for person in &*people {
            rows.person(person);
            if rows.are_many() {
                push(rows.take())?;
            }
        }
        for mut rows in [rows, std::mem::take(&mut further)] {
            if !rows.is_empty() {
                push(rows.take())?;
            }
        }
        if let Err(error) = self.file.seek(SeekFrom::Start(self.length)).and_then(|_| self.file.write_all(&bytes)) {
            self.is_broken = self.file.set_len(self.length).is_err();
            return Err(error);
        }
        if let Err(error) = self.file.sync_data() {
            // The kernel may have dropped the data and say that all is well the next time.
            self.is_broken = true;
            return Err(error);
        }
        (self.length, self.frames) = (self.length + bytes.len() as u64, frames);
        if let Some(since) = &mut self.since {
            since.append(&mut written);
        }
        people.clear();
        Ok(())
    }

    /// Begins to write the table anew under the same key.
    pub(super) fn begin_again(&self) -> io::Result<Fresh> {
        Fresh::begin(&self.folder, &self.keys, self.epoch)
    }

    /// Begins to write the table anew under a new key; what is written from now on comes along.
    pub(super) fn begin_next_epoch(&mut self) -> io::Result<Fresh> {
        let fresh = Fresh::begin(&self.folder, &self.keys, self.epoch + 1)?;
        self.reach(Step::KeyMade)?;
        self.since = Some(Vec::new());
        Ok(fresh)
    }

    /// What was written since a new table was begun; nothing more comes along to it.
    pub(super) fn written_since(&mut self) -> Vec<Vec<u8>> {
        self.since.take().unwrap_or_default()
    }

    /// Puts a table that was written anew in place of this one.
    pub(super) fn replace(&mut self, mut fresh: Fresh) -> io::Result<()> {
        fresh.sync()?;
        self.reach(Step::Synced)?;
        fs::rename(&fresh.path, table_path(&self.folder, fresh.epoch))?;
        let Fresh { epoch, key, file, length, frames, .. } = fresh;
        (self.epoch, self.key, self.file, self.length, self.frames) = (epoch, key, file, length, frames);
        // Until the new name is durable, nothing that is written to the file is.
        self.is_broken = true;
        sync_folder(&self.folder)?;
        self.is_broken = false;
        self.reach(Step::Renamed)
    }

    /// Destroys the keys of earlier tables, then deletes these tables and whatever else was left.
    pub(super) fn destroy_older(&mut self) -> io::Result<()> {
        self.keys.destroy_before(self.epoch)?;
        self.reach(Step::KeyDestroyed)?;
        let current = table_path(&self.folder, self.epoch);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let is_of_current = path == current || path == torn_path(&current);
            if !is_of_current {
                fs::remove_file(path)?;
            }
        }
        sync_folder(&self.folder)?;
        self.reach(Step::TableDeleted)
    }

    /// Where a test may interrupt what is being done, as a crash would.
    #[cfg(test)]
    pub(super) fn reach(&self, step: Step) -> io::Result<()> {
        if self.interrupt_after == Some(step) { Err(io::Error::other("interrupted by a test")) } else { Ok(()) }
    }

    /// As after a disk that refused.
    #[cfg(test)]
    pub(super) fn break_for_test(disk: &mut Self) {
        disk.is_broken = true;
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "tests interrupt here")]
    pub(super) fn reach(&self, _step: Step) -> io::Result<()> {
        Ok(())
    }
}

impl Fresh {
    fn begin(folder: &Path, keys: &KeyFiles, epoch: u64) -> io::Result<Self> {
        let key = keys.load_or_create(epoch)?;
        let key = Arc::new(EpochKey::new(epoch, &key).ok_or_else(refused)?);
        let mut path = table_path(folder, epoch).into_os_string();
        path.push(".tmp");
        let path = PathBuf::from(path);
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
        file.write_all(&key.header())?;
        Ok(Self { epoch, key, path, file, rows: Rows::default(), length: HEADER_BYTES as u64, frames: 0 })
    }

    pub(super) fn person(&mut self, person: &Identity) -> io::Result<()> {
        self.rows.person(person);
        self.frame_if_many()
    }

    pub(super) fn erasing(&mut self, begun: &Begun) -> io::Result<()> {
        self.rows.erasing(begun);
        self.frame_if_many()
    }

    /// Makes durable what was written so far.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.rows.is_empty() {
            let rows = self.rows.take();
            self.frame(rows)?;
        }
        self.file.sync_all()
    }

    fn frame_if_many(&mut self) -> io::Result<()> {
        if !self.rows.are_many() {
            return Ok(());
        }
        let rows = self.rows.take();
        self.frame(rows)
    }

    /// Writes a frame of rows.
    pub(super) fn frame(&mut self, rows: Vec<u8>) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(rows.len() + 64);
        self.key.push_frame(&mut bytes, self.frames, rows).ok_or_else(refused)?;
        self.file.write_all(&bytes)?;
        self.frames += 1;
        self.length += bytes.len() as u64;
        Ok(())
    }
}

/// Rows on their way into memory.
struct Loading<'p> {
    people: &'p IdentityMap,
    erasing: Vec<Begun>,
}

impl Loading<'_> {
    /// Reads a table; the file stands at its end, which is cut where a write was interrupted.
    fn read(&mut self, path: &Path, key: &EpochKey) -> Result<(File, u64, u64), IdentityError> {
        let shown = path.display();
        let failed = |error: io::Error| IdentityError::Unavailable(format!("`{shown}`: {error}"));
        let damaged = |place: u64, what: &str| {
            IdentityError::Unreadable(format!(
                "`{shown}` is damaged at byte {place}: {what}; restore the table and its key from a backup"
            ))
        };
        let file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
        let whole = file.metadata().map_err(failed)?.len();
        let mut input = BufReader::with_capacity(1 << 20, file);
        let mut head = [0; HEADER_BYTES];
        if input.read_exact(&mut head).is_err() || !key.begins(&head) {
            return Err(damaged(0, "this is not the header of its epoch"));
        }
        let (mut length, mut frames) = (HEADER_BYTES as u64, 0);
        while length < whole {
            let Some(mut body) = next_body(&mut input).map_err(failed)? else {
                let mut file = input.into_inner();
                if whole - length > TORN_BYTES_MAX || !is_torn(&mut file, length).map_err(failed)? {
                    return Err(damaged(length, "what stands there is no whole frame, and others follow"));
                }
                cut(&mut file, path, length).map_err(failed)?;
                return Ok((file, length, frames));
            };
            let bytes = body.len() as u64 + 8;
            let rows = key
                .open(frames, &mut body)
                .ok_or_else(|| damaged(length, "it was moved, or sealed with another key"))?;
            let rows = read_rows(rows).map_err(|error| damaged(length, &error.to_string()))?;
            for row in rows {
                self.take(row);
            }
            (length, frames) = (length + bytes, frames + 1);
        }
        Ok((input.into_inner(), length, frames))
    }

    fn take(&mut self, row: Row) {
        match row {
            Row::Person(identity) => self.people.insert(identity),
            Row::Hold { pseudonym, since_us } => {
                if let Some(held) = self.people.behind(pseudonym) {
                    held.set_hold(since_us);
                }
            }
            Row::Erasing(begun) => {
                for gone in begun.rows.iter().filter_map(|row| self.people.behind(row.pseudonym)) {
                    self.people.remove(&gone);
                }
                if !self.erasing.contains(&begun) {
                    self.erasing.push(begun);
                }
            }
        }
    }
}

/// The body of the next frame; `None` when there is no whole, good one.
fn next_body(input: &mut BufReader<File>) -> io::Result<Option<Vec<u8>>> {
    let mut frame = Vec::with_capacity(256);
    input.take(8).read_to_end(&mut frame)?;
    let length = frame.first_chunk::<4>().map_or(0, |length| u32::from_le_bytes(*length));
    // A damaged length asks for no more than the file has.
    input.take(u64::from(length)).read_to_end(&mut frame)?;
    Ok(split_frame(&frame).map(|(body, _)| body.to_vec()))
}

/// Nothing but an interrupted write stands from here on.
fn is_torn(file: &mut File, from: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(from))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    Ok(!holds_a_later_frame(&rest))
}

/// Cuts off what an interrupted write left, and keeps it beside the table.
fn cut(file: &mut File, path: &Path, length: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(length))?;
    let mut torn = Vec::new();
    file.read_to_end(&mut torn)?;
    fs::write(torn_path(path), &torn)?;
    file.set_len(length)?;
    file.sync_all()?;
    tracing::warn!(
        table = %path.display(), bytes = torn.len(),
        "the end of the identity table was not whole and is cut off: it was being written when the process or the machine stopped"
    );
    Ok(())
}

/// The epochs of which there is a table, lowest first.
fn tables(folder: &Path) -> io::Result<Vec<u64>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        found.extend(name.to_str().and_then(|name| name.strip_prefix("table.")?.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

fn table_path(folder: &Path, epoch: u64) -> PathBuf {
    folder.join(format!("table.{epoch}"))
}

fn torn_path(table: &Path) -> PathBuf {
    let mut path = table.as_os_str().to_owned();
    path.push(".torn");
    PathBuf::from(path)
}

fn refused() -> io::Error {
    io::Error::other("the library that seals the identity table refused")
}

fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    missing.iter().filter_map(|folder| folder.parent()).try_for_each(sync_folder)
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
