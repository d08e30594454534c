//! What a realm was: its policies by version and its relationships by revision, kept so that decisions can be made again.

use std::{
    fmt,
    sync::{Arc, mpsc::Receiver},
};

use async_trait::async_trait;

use crate::domain::{
    graph::Graph,
    id::{EntityId, PolicyVersion, Revision},
    policy_set::SourceFile,
    realm,
    relationship::{Record, RecordKey, Written},
};

/// Why something could not be kept or read back.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// It cannot be written or read now; nothing new is kept. Trying again may help.
    #[error("what is kept for replays cannot be written or read: {0}")]
    Unavailable(String),
    /// What was read is not what was written.
    #[error("what is kept for replays is damaged: {0}")]
    Damaged(String),
}

/// The files of a realm, and what a deployment says that counts when they are compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptPolicies {
    /// The files.
    pub files: Vec<SourceFile>,
    /// The variant of them; `None` for the files as they stand.
    pub variant: Option<Arc<str>>,
    /// The signed note of the bundle that they came in, if they did.
    pub note: Option<Arc<str>>,
}

impl KeptPolicies {
    /// The version that they compile to.
    pub fn version(&self) -> PolicyVersion {
        realm::version_of(&self.files, self.variant.as_deref())
    }
}

/// A version that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownVersion {
    /// Since when, in microseconds since the epoch: when a process first decided by it.
    pub first_used_us: i64,
    /// When the realm's files last brought it, in microseconds since the epoch.
    pub last_used_us: i64,
    /// Its digest.
    pub version: PolicyVersion,
    /// The variant.
    pub variant: Option<Arc<str>>,
    /// The signed note of the bundle that it came in last, not verified; `None` where it came in a folder.
    pub note: Option<Arc<str>>,
}

/// A version that decides until somebody says otherwise, whatever the realm's files are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// The version.
    pub version: PolicyVersion,
    /// The caller who chose it.
    pub by: Arc<str>,
    /// When, in microseconds since the epoch.
    pub at_us: i64,
}

/// Keeps every version of a realm's policies that ever decided. Blocks.
pub trait PolicyVersions: Send + Sync + fmt::Debug {
    /// Keeps policies, durably, as those that the realm's files bring now. Those that are kept already stay as they are,
    /// but for the time and the note.
    ///
    /// # Errors
    /// [`ArchiveError`]; then they must not decide.
    fn keep(&self, policies: &KeptPolicies, now_us: i64) -> Result<(), ArchiveError>;

    /// The policies of this version, if they are kept.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when they are not what the digest says.
    fn get(&self, version: &PolicyVersion) -> Result<Option<KeptPolicies>, ArchiveError>;

    /// All versions, in the order of their first use.
    ///
    /// # Errors
    /// [`ArchiveError`].
    fn list(&self) -> Result<Vec<KnownVersion>, ArchiveError>;

    /// The version that decides whatever the realm's files are, if one does.
    ///
    /// # Errors
    /// [`ArchiveError::Damaged`] when what is kept of it cannot be understood.
    fn pin(&self) -> Result<Option<Pin>, ArchiveError>;

    /// Lets a version decide whatever the realm's files are, durably; `None` lets the files decide again.
    ///
    /// # Errors
    /// [`ArchiveError`]; then everything is as it was.
    fn set_pin(&self, pin: Option<&Pin>) -> Result<(), ArchiveError>;
}

/// Keeps what was known of a realm's relationships, revision by revision, and when it was known.
#[async_trait]
pub trait History: Send + Sync + fmt::Debug {
    /// The newest revision that can be read back and gone on from; `None` when it has to [begin](History::begin).
    fn newest(&self) -> Option<Revision>;

    /// Begins, or begins anew, with all records of a revision. What was kept before stays.
    ///
    /// # Errors
    /// [`ArchiveError`].
    async fn begin(&self, revision: Revision, records: Receiver<Record>, known_us: i64) -> Result<(), ArchiveError>;

    /// Keeps what batches did, durably, in the order of their revisions; the first follows [`History::newest`]. Batches
    /// that changed nothing are left out. One call at a time.
    ///
    /// # Errors
    /// [`ArchiveError`]; then it has to [begin](History::begin) anew before those revisions may be seen.
    async fn append(&self, written: Arc<Vec<Written>>, known_us: i64) -> Result<(), ArchiveError>;

    /// The newest revision that was known at a time, in microseconds since the epoch. Blocks.
    ///
    /// # Errors
    /// [`ArchiveError`].
    fn revision_at(&self, time_us: i64) -> Result<Option<Revision>, ArchiveError>;

    /// A reader of what was.
    fn past(&self) -> Box<dyn Past>;

    /// Forgets everything that names an entity, and destroys the key with which it was readable: a copy of the files that
    /// somebody took earlier is of no use any more. Decisions of that past that depended on it can't be made again.
    ///
    /// # Errors
    /// [`ArchiveError`]; then nothing counts as forgotten, and it can be tried again.
    async fn forget(&self, entity: &EntityId) -> Result<(), ArchiveError>;

    /// Forgets in the same way what records of these keys ever brought.
    ///
    /// # Errors
    /// As [`History::forget`].
    async fn forget_records(&self, keys: Vec<RecordKey>) -> Result<(), ArchiveError>;
}

/// Relationships as they were.
#[derive(Clone, Debug)]
pub struct PastGraph {
    /// The relationships.
    pub graph: Arc<Graph>,
    /// Something that this revision had was forgotten since.
    pub is_forgetful: bool,
}

/// Reads relationships as they were. Blocks. To step to a later revision costs what has changed in between; to go back a
/// little costs nothing, and far back a reading from the beginning.
pub trait Past: Send + fmt::Debug {
    /// The relationships that were seen as this revision at about this time, in microseconds since the epoch; `None` when
    /// they are not kept. The time is one before this was made: what began to be kept later is for later times.
    ///
    /// # Errors
    /// [`ArchiveError`].
    fn at(&mut self, revision: Revision, time_us: i64) -> Result<Option<PastGraph>, ArchiveError>;
}

/// Where a realm keeps what it was.
#[derive(Clone, Debug)]
pub struct Archive {
    /// Its policies.
    pub versions: Arc<dyn PolicyVersions>,
    /// Its relationships.
    pub history: Arc<dyn History>,
}
