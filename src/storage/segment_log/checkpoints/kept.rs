//! The newest checkpoint once more, beside the key that signed it. Who can write the log's folder, and not that of the
//! keys, cannot take it away: a log that was cut, put back or written anew is not the one that this was made of.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use crate::storage::segment_log::{files::sync_folder, tiles::UNFINISHED};

/// The file of a log's newest checkpoint in the folder of keys.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    path: Option<PathBuf>,
}

impl Kept {
    /// The checkpoint of this file; `None` keeps none.
    pub(super) fn at(path: Option<PathBuf>) -> Self {
        Self { path }
    }

    /// The file's name, for who is told of it.
    pub(super) fn name(&self) -> String {
        let name = self.path.as_deref().and_then(Path::file_name);
        name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    }

    /// The note; `None` when there is none yet.
    pub(super) fn read(&self) -> io::Result<Option<String>> {
        let Some(path) = &self.path else { return Ok(None) };
        match fs::read_to_string(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some(String::new())),
            read => read.map(Some),
        }
    }

    /// Puts a note in the place of the one before, durably. A crash leaves one or the other.
    pub(super) fn write(&self, note: &str) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut unfinished = path.as_os_str().to_owned();
        unfinished.push(UNFINISHED);
        let unfinished = PathBuf::from(unfinished);
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&unfinished)?;
        file.write_all(note.as_bytes())?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        path.parent().map_or(Ok(()), sync_folder)
    }
}
