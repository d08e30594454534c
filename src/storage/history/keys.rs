//! The keys of a realm's history: one for each epoch, in a file of its own; the old one is destroyed when a new one begins.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use super::frame::EpochKey;
use crate::{app::ports::archive::ArchiveError, domain::id::RealmName, storage::key_file};

/// Where the keys of a realm's history are.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    folder: PathBuf,
    realm: RealmName,
}

impl Keys {
    /// Keys in this folder, which is made where it is missing, for its owner only.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn in_folder(folder: &Path, realm: &RealmName) -> io::Result<Self> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
        Ok(Self { folder: folder.to_owned(), realm: realm.clone() })
    }

    /// The file of an epoch's key.
    pub(super) fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("history.{}.{epoch}.key", self.realm))
    }

    /// The key of an epoch, made on first use.
    ///
    /// # Errors
    /// A key file that cannot be read or made, or that others may read.
    pub(super) fn get(&self, epoch: u64) -> Result<EpochKey, ArchiveError> {
        let secret = key_file::load_or_create(&self.path(epoch));
        let secret = secret.map_err(|error| ArchiveError::Unavailable(chain(&error)))?;
        EpochKey::new(epoch, &secret)
    }

    /// Destroys the keys of all epochs but this one: overwrites them, makes that durable, and removes them.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn destroy_all_but(&self, epoch: u64) -> io::Result<()> {
        let prefix = format!("history.{}.", self.realm);
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let number = name.strip_prefix(&prefix).and_then(|rest| rest.strip_suffix(".key"));
            let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) else { continue };
            if number != epoch {
                overwrite(&path)?;
                fs::remove_file(&path)?;
            }
        }
        super::sync_folder(&self.folder)
    }
}

fn overwrite(path: &Path) -> io::Result<()> {
    let length = fs::metadata(path)?.len();
    let mut file: File = OpenOptions::new().write(true).open(path)?;
    let zeros = vec![0; usize::try_from(length).unwrap_or_default()];
    file.write_all(&zeros)?;
    file.sync_all()
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
