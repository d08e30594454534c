//! What keeps the decisions of a realm, and how it says how it is doing.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use crate::domain::{
    checkpoint::SignedCheckpoint,
    decision_record::{DecisionRecord, LoggedDecision},
    id::DecisionId,
    log_event::{EventKind, LoggedEvent},
    merkle::proof::{ConsistencyProof, InclusionProof},
    record_filter::{PageRequest, RecordFilter},
    signed_note::VerifierKey,
};

/// Why the decision log could not take or give records.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The log cannot take records now: the buffer is full or the disk is.
    #[error("the decision log cannot take records: {0}")]
    Unavailable(String),
    /// The log's files cannot be read.
    #[error("the decision log cannot be read: {0}")]
    Unreadable(String),
}

/// A page of the decision log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// The records, in the page's order.
    pub decisions: Vec<LoggedDecision>,
    /// Where the next page starts; `None` on the last one.
    pub next_after: Option<u64>,
    /// Every decision of the range is there and could be read: no damage and no gap.
    pub is_complete: bool,
    /// What happened to the log in the range that the page spans, oldest first; starts and stops are left out.
    pub events: Vec<LoggedEvent>,
}

/// How a decision log is doing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStatus {
    /// The mode's word: `strict`, `bounded` or `available`.
    pub mode: &'static str,
    /// It takes records now.
    pub is_writable: bool,
    /// A log that cannot be written keeps nobody from an answer: what is lost is counted.
    pub answers_without: bool,
    /// How many entries were ever kept.
    pub entries: u64,
    /// The first sequence number whose entry is still there; 0 when there is none.
    pub first_sequence: u64,
    /// Decisions that wait to be written.
    pub waiting: u64,
    /// Decisions that were answered and not kept since the start.
    pub dropped: u64,
    /// Gaps that were written since the start.
    pub gaps: u64,
    /// When the last group was made durable, in microseconds since the epoch; `None` when none was since the start.
    pub flushed_at_us: Option<i64>,
    /// Every part of the log that was looked at can be read, and it is the one that was signed.
    pub is_undamaged: bool,
    /// How the making of checkpoints goes; `None` where none are made.
    pub checkpoints: Option<CheckpointStatus>,
    /// How it goes to hand them over; `None` where nobody is handed any.
    pub witness: Option<WitnessStatus>,
}

/// How the making of a log's checkpoints goes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckpointStatus {
    /// Why none can be made now.
    pub fault: Option<String>,
    /// How often it failed since the start.
    pub failures: u64,
    /// Entries behind the newest one.
    pub unsigned: u64,
    /// The log is not the one that its newest checkpoint was made of: entries were taken away or changed.
    pub is_contradicted: bool,
}

/// How the handing over of a log's checkpoints goes, to all who are handed them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WitnessStatus {
    /// How often it failed since the start.
    pub failures: u64,
    /// So many entries of the log are beyond what the one who is furthest behind was handed since the start.
    pub lag: u64,
}

/// Who is handed the checkpoints of a log, to keep them where whoever changes the log cannot change them.
pub trait CheckpointWitness: Send + Sync + std::fmt::Debug {
    /// How many entries the newest checkpoint that was handed over covers; 0 when none was since the start.
    fn handed(&self) -> u64;

    /// How often it failed since the start.
    fn failures(&self) -> u64;
}

/// A part of a decision log that is kept or deleted as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSegment {
    /// The sequence number of its first entry.
    pub first: u64,
    /// The sequence number of its last entry.
    pub last: u64,
    /// How long it is, in bytes.
    pub bytes: u64,
    /// The latest time of its entries, in microseconds since the epoch.
    pub newest_us: i64,
    /// Nothing is written to it any more.
    pub is_deletable: bool,
}

/// Something that must be on disk before the entries that refer to it are.
pub trait BeforeGroup: Send + Sync + std::fmt::Debug {
    /// Makes durable whatever entries that were appended before may refer to. Does nothing when nothing is pending.
    ///
    /// # Errors
    /// Those of the disk; then the entries are not written, and it is tried again.
    fn make_durable(&self) -> std::io::Result<()>;
}

/// Keeps the decisions of one realm.
#[async_trait]
pub trait DecisionLog: Send + Sync + std::fmt::Debug {
    /// Takes records and returns when they are as safe as the log's mode promises.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; then the decision must not be answered.
    async fn append(&self, records: Vec<DecisionRecord>) -> Result<(), LogError>;

    /// Keeps an event and returns its sequence number when it is durable, in any mode.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]; the event may be kept later all the same.
    async fn note(&self, event: EventKind) -> Result<u64, LogError>;

    /// Finds records. Sees at least all records whose `append` had returned before.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    async fn query(&self, filter: RecordFilter, page: PageRequest) -> Result<RecordPage, LogError>;

    /// Finds one record.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    async fn get(&self, id: DecisionId) -> Result<Option<LoggedDecision>, LogError>;

    /// Waits until there is something behind the entry `after`, and returns what of it matches, oldest first, a few hundred
    /// records at most. `next_after` says how far was looked: where to go on.
    ///
    /// # Errors
    /// [`LogError::Unreadable`]; [`LogError::Unavailable`] when the log is closed and there is nothing more.
    async fn follow(&self, after: u64, filter: RecordFilter) -> Result<RecordPage, LogError>;

    /// How the log is doing.
    fn status(&self) -> LogStatus;

    /// The parts that the log consists of, oldest first.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    async fn segments(&self) -> Result<Vec<LogSegment>, LogError>;

    /// Deletes the oldest parts that end at the entry `last` or before, and returns the first and the last entry that
    /// were deleted; `None` when there are none. The log says so, with the rule's words, before they are gone, and their
    /// hashes stay.
    ///
    /// # Errors
    /// [`LogError`]; what was begun then is finished at the next start.
    async fn delete_until(&self, last: u64, rule: &str) -> Result<Option<(u64, u64)>, LogError>;

    /// Makes and returns a checkpoint of all that is kept now: a signed root of the log's Merkle tree.
    ///
    /// # Errors
    /// [`LogError::Unavailable`].
    async fn checkpoint(&self) -> Result<Arc<SignedCheckpoint>, LogError> {
        Err(without_checkpoints())
    }

    /// The newest checkpoint, and later ones as they are made.
    fn checkpoints(&self) -> watch::Receiver<Option<Arc<SignedCheckpoint>>> {
        watch::Sender::new(None).subscribe()
    }

    /// The keys that verify checkpoints, newest first.
    fn verifier_keys(&self) -> Vec<VerifierKey> {
        Vec::new()
    }

    /// Proves that an entry is in the tree of so many entries; `None` when it isn't, or when the newest checkpoint's tree
    /// is smaller. Works for entries that retention has deleted, too.
    ///
    /// # Errors
    /// [`LogError`].
    async fn prove_inclusion(&self, _sequence: u64, _tree_size: u64) -> Result<Option<InclusionProof>, LogError> {
        Err(without_checkpoints())
    }

    /// Proves that the tree of `first` entries is the beginning of that of `second`; `None` unless
    /// `1 <= first <= second`, or when the newest checkpoint's tree is smaller.
    ///
    /// # Errors
    /// [`LogError`].
    async fn prove_consistency(&self, _first: u64, _second: u64) -> Result<Option<ConsistencyProof>, LogError> {
        Err(without_checkpoints())
    }

    /// The stored bytes of an entry, whose hash is its leaf in the tree; `None` when there is none, or none any more.
    ///
    /// # Errors
    /// [`LogError::Unreadable`].
    async fn entry(&self, _sequence: u64) -> Result<Option<Vec<u8>>, LogError> {
        Err(without_checkpoints())
    }

    /// The log takes records.
    fn is_writable(&self) -> bool;

    /// Makes everything durable and takes no more records.
    async fn close(&self);
}

fn without_checkpoints() -> LogError {
    LogError::Unavailable("it makes no checkpoints".to_owned())
}
