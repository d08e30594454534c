//! The keys of a realm's identity tables: a file for each epoch, of which only the newest stays.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use aws_lc_rs::rand::fill;

use crate::{domain::id::RealmName, storage::key_file};

/// Where the keys of a realm are.
#[derive(Debug)]
pub(super) struct KeyFiles {
    folder: PathBuf,
    realm: RealmName,
}

impl KeyFiles {
    /// The keys below a data folder. The folder is made, for its owner only (Unix).
    pub(super) fn below(data_dir: &Path, realm: &RealmName) -> io::Result<Self> {
        let folder = data_dir.join("keys");
        if !folder.exists() {
            let mut builder = fs::DirBuilder::new();
            builder.recursive(true);
            #[cfg(unix)]
            std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
            builder.create(&folder)?;
            super::disk::sync_folder(data_dir)?;
        }
        Ok(Self { folder, realm: realm.clone() })
    }

    /// The file of an epoch. A realm's name has no dot, so that no two realms share one.
    pub(super) fn path(&self, epoch: u64) -> PathBuf {
        self.folder.join(format!("identities.{}.{epoch}.key", self.realm))
    }

    /// The key of an epoch; made when there is none.
    pub(super) fn load_or_create(&self, epoch: u64) -> io::Result<[u8; 32]> {
        key_file::load_or_create(&self.path(epoch)).map_err(io::Error::other)
    }

    /// The epochs of which there is a key.
    pub(super) fn epochs(&self) -> io::Result<Vec<u64>> {
        let prefix = format!("identities.{}.", self.realm);
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            let epoch = |name: &str| name.strip_prefix(&prefix)?.strip_suffix(".key")?.parse::<u64>().ok();
            found.extend(name.to_str().and_then(epoch));
        }
        found.sort_unstable();
        Ok(found)
    }

    /// Destroys the keys of the epochs before this one: overwritten, then deleted.
    pub(super) fn destroy_before(&self, epoch: u64) -> io::Result<()> {
        for older in self.epochs()?.into_iter().filter(|older| *older < epoch) {
            destroy(&self.path(older))?;
        }
        super::disk::sync_folder(&self.folder)
    }
}

fn destroy(path: &Path) -> io::Result<()> {
    let mut noise = [0; 32];
    fill(&mut noise).map_err(|_| io::Error::other("the operating system gave no random bytes"))?;
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.write_all(&noise)?;
    file.sync_all()?;
    drop(file);
    fs::remove_file(path)
}
