//! The few file operations that writing needs, behind a trait so that tests can make them slow or fail.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// An open segment file that is written at its end.
pub(super) trait SegmentFile: Send + fmt::Debug {
    /// Writes all bytes at the end; after an error any part of them may be there.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes all that was written durable. After an error it is never called again on the same file: the kernel may
    /// have dropped the data and report success the second time.
    fn sync(&mut self) -> io::Result<()>;
}

/// Makes and opens segment files.
pub(super) trait SegmentFiles: Send + Sync + fmt::Debug {
    /// Makes a file that must not be there yet.
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;

    /// Opens a file to go on at its end.
    fn reopen(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>>;
}

/// Files on disk.
#[derive(Debug)]
pub(super) struct Disk;

impl SegmentFiles for Disk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().append(true).create_new(true).open(path)?))
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        Ok(Box::new(OpenOptions::new().append(true).open(path)?))
    }
}

impl SegmentFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// The path of a segment: eight digits, more when they are needed.
pub(super) fn segment_path(folder: &Path, number: u64) -> PathBuf {
    folder.join(format!("{number:08}.seg"))
}

/// The segment files of a folder with their numbers, lowest first.
pub(super) fn list_segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let is_segment = path.extension().is_some_and(|extension| extension == "seg");
        let number = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        if let (true, Some(number)) = (is_segment, number) {
            found.push((number, path));
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The folder holds segments of a log; one that is not there holds none.
pub(in crate::storage) fn has_segments(folder: &Path) -> io::Result<bool> {
    match list_segments(folder) {
        Ok(found) => Ok(!found.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder, with those above it that are missing, and makes their names durable.
pub(super) fn make_folder(folder: &Path) -> io::Result<()> {
    let missing: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    for above in missing.iter().filter_map(|folder| folder.parent()) {
        sync_folder(if above.as_os_str().is_empty() { Path::new(".") } else { above })?;
    }
    Ok(())
}

/// Makes the names in a folder durable.
pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
