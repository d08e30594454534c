//! Disks that misbehave when they are told to.

use super::*;

#[derive(Debug, Default)]
pub(super) struct Faults {
    /// Every operation fails.
    pub(super) is_broken: AtomicBool,
    /// So many writes keep half of their bytes and fail.
    pub(super) appends: AtomicU32,
    /// So many syncs fail.
    pub(super) syncs: AtomicU32,
    /// Each sync takes this long, in milliseconds.
    pub(super) sync_ms: AtomicU32,
    /// While somebody holds this, writes wait.
    pub(super) gate: tokio::sync::Mutex<()>,
    /// A file was used after it had failed.
    pub(super) was_failed_file_used: AtomicBool,
}

#[derive(Debug, Clone, Default)]
struct FaultyFiles(Arc<Faults>);

#[derive(Debug)]
struct FaultyFile {
    faults: Arc<Faults>,
    file: Box<dyn SegmentFile>,
    has_failed: bool,
}

/// One of so many is left, and taken.
pub(super) fn takes_one(count: &AtomicU32) -> bool {
    count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl FaultyFiles {
    fn wrap(&self, file: io::Result<Box<dyn SegmentFile>>) -> io::Result<Box<dyn SegmentFile>> {
        if self.0.is_broken.load(SeqCst) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(Box::new(FaultyFile { faults: Arc::clone(&self.0), file: file?, has_failed: false }))
    }
}

impl SegmentFiles for FaultyFiles {
    fn create(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.wrap(if self.0.is_broken.load(SeqCst) {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Disk.create(path)
        })
    }

    fn reopen(&self, path: &Path) -> io::Result<Box<dyn SegmentFile>> {
        self.wrap(Disk.reopen(path))
    }
}

impl FaultyFile {
    fn check(&mut self, count: &AtomicU32) -> io::Result<()> {
        self.faults.was_failed_file_used.fetch_or(self.has_failed, SeqCst);
        self.has_failed = self.faults.is_broken.load(SeqCst) || takes_one(count);
        if self.has_failed { Err(io::Error::other("injected")) } else { Ok(()) }
    }
}

impl SegmentFile for FaultyFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let faults = Arc::clone(&self.faults);
        drop(faults.gate.blocking_lock());
        let failed = self.check(&faults.appends);
        let length = if failed.is_err() { bytes.len() / 2 } else { bytes.len() };
        self.file.append(&bytes[..length])?;
        failed
    }

    fn sync(&mut self) -> io::Result<()> {
        let faults = Arc::clone(&self.faults);
        std::thread::sleep(Duration::from_millis(faults.sync_ms.load(SeqCst).into()));
        self.check(&faults.syncs)?;
        self.file.sync()
    }
}

pub(super) fn open_faulty(folder: &Path, options: Options) -> (SegmentLog, Arc<Faults>) {
    let files = FaultyFiles::default();
    let faults = Arc::clone(&files.0);
    (SegmentLog::open_with(folder, options, outside(), Arc::new(files)).unwrap(), faults)
}
