//! The files of an export: written under another name, and named only when they are whole.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// What says that an export is whole; written last.
pub(super) const MANIFEST: &str = "manifest.json";

/// What the name of a file ends in while it is written.
const UNFINISHED: &str = ".tmp";

/// A folder that takes one export. What is not finished goes with the value.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    unfinished: Vec<String>,
}

/// A file of an export as its manifest names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) name: String,
    pub(super) bytes: u64,
    /// SHA-256, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Folder {
    /// Makes the folder, or takes one that holds no export.
    ///
    /// # Errors
    /// A folder that holds an export, or that cannot be made.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        fs::create_dir_all(path).with_context(|| format!("cannot make the folder `{shown}`"))?;
        if path.join(MANIFEST).exists() {
            bail!("`{shown}` holds an export; name another folder with --out");
        }
        for entry in fs::read_dir(path).with_context(|| format!("cannot read the folder `{shown}`"))? {
            let entry = entry.with_context(|| format!("cannot read the folder `{shown}`"))?;
            // An export that was cut off may be repeated over its own remains, and over nothing else.
            if entry.file_name().to_string_lossy().ends_with(UNFINISHED) {
                continue;
            }
            bail!("`{shown}` is not empty; name another folder with --out");
        }
        Ok(Self { path: path.to_owned(), unfinished: Vec::new() })
    }

    /// Begins a file, readable by its owner alone.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub(super) fn begin(&mut self, name: &str) -> Result<Output> {
        let path = self.path.join(format!("{name}{UNFINISHED}"));
        let mut options = OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).with_context(|| format!("cannot write `{}`", path.display()))?;
        self.unfinished.push(name.to_owned());
        Ok(Output { name: name.to_owned(), file: BufWriter::new(file), digest: Sha256::new(), bytes: 0 })
    }

    /// Names every file, in the order in which they were begun.
    ///
    /// # Errors
    /// A file that cannot be renamed.
    pub(super) fn publish(mut self) -> Result<()> {
        let names = std::mem::take(&mut self.unfinished);
        for (index, name) in names.iter().enumerate() {
            let renamed = fs::rename(self.path.join(format!("{name}{UNFINISHED}")), self.path.join(name));
            if let Err(error) = renamed {
                // Those that have their names already are of no use without the manifest.
                for name in names.iter().take(index) {
                    drop(fs::remove_file(self.path.join(name)));
                }
                let told = format!("cannot name the file `{name}`");
                self.unfinished = names;
                return Err(error).context(told);
            }
        }
        let synced = if cfg!(unix) { File::open(&self.path).and_then(|folder| folder.sync_all()) } else { Ok(()) };
        synced.with_context(|| format!("cannot make the folder `{}` durable", self.path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        for name in &self.unfinished {
            // What cannot be removed has a name that says it is not finished.
            drop(fs::remove_file(self.path.join(format!("{name}{UNFINISHED}"))));
        }
    }
}

/// A file under way, digested as it is written.
#[derive(Debug)]
pub(super) struct Output {
    name: String,
    file: BufWriter<File>,
    digest: Sha256,
    bytes: u64,
}

impl Output {
    /// Makes the file durable.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) fn finish(mut self) -> io::Result<Summary> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        let sha256 = super::hex(&self.digest.finalize());
        Ok(Summary { name: self.name, bytes: self.bytes, sha256 })
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(path: &Path) -> Vec<String> {
        let names = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    #[test]
    fn files_have_their_names_when_all_of_them_are_whole() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b");
        let mut out = Folder::open(&path).unwrap();
        let mut file = out.begin("decisions.csv").unwrap();
        file.write_all(b"abc").unwrap();
        assert_eq!(names(&path), ["decisions.csv.tmp"]);
        let summary = file.finish().unwrap();
        assert_eq!(
            (summary.bytes, &*summary.sha256),
            (3, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad")
        );
        out.begin(MANIFEST).unwrap().finish().unwrap();
        out.publish().unwrap();
        assert_eq!(names(&path), ["decisions.csv", MANIFEST]);
        assert!(Folder::open(&path).unwrap_err().to_string().contains("holds an export"));
    }

    #[test]
    fn what_is_cut_off_leaves_nothing_and_may_be_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let mut out = Folder::open(folder.path()).unwrap();
        out.begin("decisions.csv").unwrap().write_all(b"abc").unwrap();
        drop(out);
        assert_eq!(names(folder.path()), [""; 0]);
        fs::write(folder.path().join("decisions.csv.tmp"), "left by a power cut").unwrap();
        assert!(Folder::open(folder.path()).is_ok());
        fs::write(folder.path().join("thesis.txt"), "mine").unwrap();
        assert!(Folder::open(folder.path()).unwrap_err().to_string().contains("is not empty"));
    }
}
