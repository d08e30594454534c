//! A secret of 32 bytes in a file of its own: made on first use, then the same for ever. As bytes, or as text for people
//! who hand it on.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use std::{
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
};

/// Why a key file could not be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file could not be read or made.
    #[error("key file `{path}` cannot be read or created")]
    Io {
        /// The file.
        path: PathBuf,
        /// What failed.
        #[source]
        source: io::Error,
    },
    /// The file does not hold as many bytes as a key has.
    #[error("key file `{path}` holds `{length}` bytes, expected exactly {expected}; restore it from a backup")]
    Length {
        /// The file.
        path: PathBuf,
        /// How many bytes it holds.
        length: u64,
        /// How many a key has.
        expected: usize,
    },
    /// The file does not hold the text of a key.
    #[error(
        "key file `{path}` holds no key as text, expected 43 characters of base64url; restore it, or remove it for a new one"
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// Others than the owner may use the file.
    #[error("key file `{path}` has mode `{mode:04o}`, expected 0600: others could read the key; run chmod 600 on it")]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The operating system gave no random bytes.
    #[error("the operating system gave no random bytes for key file `{path}`: {reason}")]
    Random {
        /// The file.
        path: PathBuf,
        /// What it said.
        reason: String,
    },
}

/// Reads the key of a file, or makes the file with a random key when there is none.
///
/// The file appears at once and whole, readable by its owner only (Unix). When two processes make it at the same time,
/// both get the key of the one that was first.
///
/// # Errors
/// [`KeyFileError`]; a file that is there is never replaced.
pub fn load_or_create(path: &Path) -> Result<[u8; 32], KeyFileError> {
    let mut key = [0; 32];
    read(path, open_or_create(path, |key| key.to_vec())?, &mut key)?;
    Ok(key)
}

/// The same as text: 43 characters of base64url and the end of a line.
///
/// # Errors
/// [`KeyFileError`]; a file that is there is never replaced.
pub fn load_or_create_text(path: &Path) -> Result<String, KeyFileError> {
    let mut text = [0; TEXT_BYTES];
    let written = |key: &[u8; 32]| format!("{}\n", URL_SAFE_NO_PAD.encode(key)).into_bytes();
    read(path, open_or_create(path, written)?, &mut text)?;
    let text = text.strip_suffix(b"\n").unwrap_or(&text);
    let is_key = text.len() == TEXT_BYTES - 1 && URL_SAFE_NO_PAD.decode(text).is_ok();
    let text = String::from_utf8(text.to_vec()).ok().filter(|_| is_key);
    text.ok_or_else(|| KeyFileError::Malformed { path: path.to_owned() })
}

/// A random key as text, for somebody else's file.
///
/// # Errors
/// When the operating system gives no random bytes.
pub fn random_text() -> Result<String, getrandom::Error> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    Ok(URL_SAFE_NO_PAD.encode(key))
}

/// How long the text of a key is, with the end of its line.
const TEXT_BYTES: usize = 44;

fn open_or_create(path: &Path, written: impl Fn(&[u8; 32]) -> Vec<u8>) -> Result<File, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    match File::open(path) {
        Ok(file) => Ok(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create(path, written)?;
            File::open(path).map_err(failed)
        }
        Err(error) => Err(failed(error)),
    }
}

fn read(path: &Path, mut file: File, key: &mut [u8]) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let metadata = file.metadata().map_err(failed)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeyFileError::Open { path: path.to_owned(), mode });
        }
    }
    if metadata.len() != key.len() as u64 {
        return Err(KeyFileError::Length { path: path.to_owned(), length: metadata.len(), expected: key.len() });
    }
    file.read_exact(key).map_err(failed)
}

fn create(path: &Path, written: impl Fn(&[u8; 32]) -> Vec<u8>) -> Result<(), KeyFileError> {
    let random_failed =
        |error: getrandom::Error| KeyFileError::Random { path: path.to_owned(), reason: error.to_string() };
    let (mut key, mut suffix) = ([0; 32], [0; 8]);
    getrandom::fill(&mut key).map_err(random_failed)?;
    getrandom::fill(&mut suffix).map_err(random_failed)?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(suffix.iter().fold(String::from(".tmp-"), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    }));
    let temporary = PathBuf::from(temporary);
    let made = write_new(&temporary, &written(&key)).and_then(|()| publish(&temporary, path));
    // Gone already when it was renamed; a leftover holds a key that nothing uses.
    let _gone_or_useless = fs::remove_file(&temporary);
    made.map_err(|source| KeyFileError::Io { path: path.to_owned(), source })
}

fn write_new(path: &Path, key: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(key)?;
    file.sync_all()
}

/// Gives the finished file its name. A hard link fails when the name is taken, where a rename would replace the key
/// that another process may be using already; renaming is for file systems without links.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(_) => fs::rename(temporary, path)?,
    }
    sync_folder_of(path)
}

/// Makes the new name itself durable.
fn sync_folder_of(path: &Path) -> io::Result<()> {
    if cfg!(unix) {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        let key = load_or_create(&path).unwrap();
        assert_ne!(key, [0; 32]);
        assert_eq!(load_or_create(&path).unwrap(), key);
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["pseudonym.key"], "no temporary file stays");
    }

    #[test]
    fn a_key_as_text_is_made_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("admin.token");
        let key = load_or_create_text(&path).unwrap();
        assert_eq!(key.len(), 43);
        assert_eq!(load_or_create_text(&path).unwrap(), key);
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{key}\n"));
        assert_ne!(random_text().unwrap(), key);
        let other = folder.path().join("other.token");
        write_new(&other, &[b'*'; 44]).unwrap();
        assert!(matches!(load_or_create_text(&other), Err(KeyFileError::Malformed { .. })));
    }

    #[test]
    fn makers_at_the_same_time_get_the_same_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        let keys: Vec<_> = std::thread::scope(|scope| {
            let makers: Vec<_> = (0..8).map(|_| scope.spawn(|| load_or_create(&path).unwrap())).collect();
            makers.into_iter().map(|maker| maker.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| *key == keys[0]));
    }

    #[cfg(unix)]
    #[test]
    fn the_file_is_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pseudonym.key");
        load_or_create(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let error = load_or_create(&path).unwrap_err();
        assert!(matches!(error, KeyFileError::Open { mode: 0o640, .. }), "{error}");
        assert!(error.to_string().contains("0640"), "{error}");
    }

    #[test]
    fn a_file_of_another_length_is_refused_and_kept() {
        let folder = tempfile::tempdir().unwrap();
        for length in [0, 31, 33] {
            let path = folder.path().join(format!("{length}.key"));
            write_new(&path, &vec![1; length]).unwrap();
            assert!(matches!(load_or_create(&path), Err(KeyFileError::Length { .. })), "{length}");
            assert_eq!(fs::read(&path).unwrap().len(), length);
        }
    }

    #[test]
    fn a_missing_folder_is_an_error_that_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let error = load_or_create(&folder.path().join("none/pseudonym.key")).unwrap_err();
        assert!(error.to_string().contains("none/pseudonym.key"), "{error}");
    }
}
