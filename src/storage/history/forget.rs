//! Forgetting: all files are written anew without what is to be forgotten, under the key of the next epoch.
//!
//! The new files count from the moment when the file `epoch` says so. Before, a crash leaves the old ones and some that
//! count for nothing; after, the old ones and their key are removed at the next start at the latest.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use super::{
    EPOCH_FILE, Effects, NewFile, OpenFile, Shared,
    effects::Forgotten,
    frame::{EpochKey, FrameReader, Header, Place, Step},
    keys::Keys,
    list, past, sync_folder, unusable,
};
use crate::{app::ports::archive::ArchiveError, domain::id::Revision, storage::record::Names};

/// Forgets, if there is anything to forget. Nothing is written meanwhile.
pub(super) fn forget(shared: &Shared, forgotten: &Forgotten) -> Result<(), ArchiveError> {
    let mut state = shared.state();
    let failed = |error: io::Error| unusable(&shared.folder, &error);
    let next = state.key.epoch + 1;
    // Begins with what a crash or a failure left of an earlier attempt.
    remove_files(&shared.folder, |epoch| epoch == next).map_err(failed)?;
    let key = shared.keys.get(next)?;
    let files = list(&shared.folder, state.key.epoch).map_err(failed)?;
    let (mut is_less, mut open) = (false, None);
    for (number, path) in &files {
        let limit = state.open.as_ref().filter(|open| open.number == *number).map_or(u64::MAX, |open| open.length);
        let Some(rewritten) = rewrite(&shared.folder, path, limit, (&state.key, &key), forgotten)? else { continue };
        is_less |= rewritten.is_less;
        open = Some(rewritten.file);
    }
    if !is_less {
        remove_files(&shared.folder, |epoch| epoch == next).map_err(failed)?;
        return shared.keys.destroy_all_but(state.key.epoch).map_err(failed);
    }
    let goes_on = |open: &OpenFile| state.open.as_ref().is_some_and(|old| old.number == open.number);
    let open = open.filter(goes_on);
    write_epoch(&shared.folder, next).map_err(failed)?;
    (state.open, state.key) = (open, Arc::new(key));
    finish(&shared.folder, &shared.keys, next).map_err(failed)
}

/// Removes files and keys of other epochs than the one that counts.
pub(super) fn finish(folder: &Path, keys: &Keys, epoch: u64) -> io::Result<()> {
    keys.destroy_all_but(epoch)?;
    remove_files(folder, |other| other != epoch)
}

struct Rewritten {
    file: OpenFile,
    is_less: bool,
}

/// Writes a file anew; `None` when its start can't be read.
fn rewrite(
    folder: &Path,
    path: &Path,
    limit: u64,
    (old, new): (&EpochKey, &EpochKey),
    forgotten: &Forgotten,
) -> Result<Option<Rewritten>, ArchiveError> {
    let failed = |error: io::Error| unusable(path, &error);
    let Some(mut reader) = FrameReader::open(path, limit).map_err(failed)? else { return Ok(None) };
    let range = less(&mut reader, old, forgotten, path)?;
    let Some(mut reader) = FrameReader::open(path, limit).map_err(failed)? else { return Ok(None) };
    let forgotten_range = united(reader.header.forgotten, range);
    let header = Header { epoch: new.epoch, forgotten: forgotten_range, ..reader.header };
    let mut file = NewFile::make(folder, header)?;
    let (mut names, mut newest) = (Names::default(), header.revision);
    while let Step::Frame(mut frame) = reader.step().map_err(failed)? {
        let place = frame.place;
        let effects = past::read(old, header.number, &mut frame, &mut names).ok_or_else(|| damaged(path))?;
        let mut frames = Effects::new(new, header.number, place);
        for effect in effects.into_iter().filter_map(|effect| forgotten.without(effect).0) {
            if let Some(full) = frames.push(&effect)? {
                file.write(&full)?;
            }
        }
        file.write(&frames.end_as(place)?)?;
        newest = place.revision;
    }
    let file = file.finish(newest)?;
    Ok(Some(Rewritten { file, is_less: range.0 <= range.1 }))
}

/// The first revision of which something is forgotten, and the last one of the file; the last is before the first where
/// nothing is.
fn less(
    reader: &mut FrameReader,
    key: &EpochKey,
    forgotten: &Forgotten,
    path: &Path,
) -> Result<(Revision, Revision), ArchiveError> {
    let (mut first, mut last, mut names) = (None, Revision(0), Names::default());
    while let Step::Frame(mut frame) = reader.step().map_err(|error| unusable(path, &error))? {
        let Place { revision, .. } = frame.place;
        last = revision;
        if first.is_none() {
            let number = reader.header.number;
            let effects = past::read(key, number, &mut frame, &mut names).ok_or_else(|| damaged(path))?;
            first = effects.into_iter().any(|effect| forgotten.without(effect).1).then_some(revision);
        }
    }
    Ok(first.map_or((Revision(1), Revision(0)), |first| (first, last)))
}

fn united((a, b): (Revision, Revision), (c, d): (Revision, Revision)) -> (Revision, Revision) {
    match (a <= b, c <= d) {
        (true, true) => (a.min(c), b.max(d)),
        (true, false) => (a, b),
        _ => (c, d),
    }
}

fn damaged(path: &Path) -> ArchiveError {
    ArchiveError::Damaged(format!("`{}` holds what was never written to it", path.display()))
}

/// Says which epoch counts, at once and durably.
fn write_epoch(folder: &Path, epoch: u64) -> io::Result<()> {
    let temporary = folder.join("epoch.new");
    let mut file: File = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
    write!(file, "{epoch}")?;
    file.sync_all()?;
    fs::rename(&temporary, folder.join(EPOCH_FILE))?;
    sync_folder(folder)
}

/// Removes the files of some epochs, and what was never finished.
fn remove_files(folder: &Path, is_unwanted: impl Fn(u64) -> bool) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let epoch = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.split_once('-'));
        let Some(epoch) = epoch.and_then(|(epoch, _)| epoch.parse::<u64>().ok()) else { continue };
        if is_unwanted(epoch) || path.extension().is_some_and(|ending| ending == "new") {
            fs::remove_file(&path)?;
        }
    }
    sync_folder(folder)
}
