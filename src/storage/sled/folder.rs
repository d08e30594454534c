//! The folder that a store lives in: made once, durable, and one process's alone.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::app::ports::StoreError;

/// The file whose lock says that the folder is in use; it holds the process id.
const LOCK_FILE: &str = "lock";

/// How long to wait for the lock: at a restart the process before may still be on its way out.
const LOCK_WAIT: Duration = Duration::from_millis(500);

/// The folder of a store, held until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Folders whose entries are new, the innermost first.
    changed: Vec<PathBuf>,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing and takes it for this process.
    pub(super) fn take(path: &Path) -> Result<Self, StoreError> {
        let unusable = |error: io::Error| {
            StoreError::Unavailable(format!(
                "cannot keep relationships in `{}`: {error}; expected a folder that this process may write in",
                path.display()
            ))
        };
        let path = std::path::absolute(path).map_err(unusable)?;
        let mut changed = vec![path.clone()];
        changed.extend(
            path.ancestors().take_while(|folder| !folder.exists()).filter_map(Path::parent).map(Path::to_path_buf),
        );
        fs::create_dir_all(&path).map_err(unusable)?;
        let mut lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path.join(LOCK_FILE))
            .map_err(unusable)?;
        match take_lock(&lock) {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(&path, &mut lock)),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        lock.set_len(0).and_then(|()| write!(lock, "{}", std::process::id())).map_err(unusable)?;
        Ok(Self { path, changed, _lock: lock })
    }

    /// Where it is, absolute.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Makes the names of new files and folders durable.
    pub(super) fn make_durable(&self) -> io::Result<()> {
        self.changed.iter().try_for_each(|folder| File::open(folder)?.sync_all())
    }

    /// The free bytes of the filesystem.
    pub(super) fn free_bytes(&self) -> io::Result<u64> {
        let space = rustix::fs::statvfs(&self.path)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }
}

/// Locks the file, with patience for a holder that is about to end.
fn take_lock(lock: &File) -> Result<(), TryLockError> {
    let started = Instant::now();
    loop {
        match lock.try_lock() {
            Err(TryLockError::WouldBlock) if started.elapsed() < LOCK_WAIT => thread::sleep(Duration::from_millis(10)),
            outcome => return outcome,
        }
    }
}

fn in_use(path: &Path, lock: &mut File) -> StoreError {
    let mut holder = String::new();
    let holder = match lock.read_to_string(&mut holder) {
        Ok(1..) => format!("process {}", holder.trim()),
        _ => "another process".to_owned(),
    };
    StoreError::Unavailable(format!(
        "the folder `{}` is in use by {holder}; stop that process, or give this one a folder of its own",
        path.display()
    ))
}
