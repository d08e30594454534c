//! All that the service needs from outside, as traits.

pub mod archive;
pub mod meter;
pub mod trace;

use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;

use self::archive::KeptPolicies;
use crate::domain::{
    application::{Application, ApplicationToken, TokenDigest},
    bundle::Seal,
    checkpoint::SignedCheckpoint,
    decision_record::{DecisionRecord, LoggedDecision},
    id::{DecisionId, EntityId, RealmName, Revision},
    identity::{Identity, Pseudonym},
    issuer::Issuer,
    key_set::KeySet,
    log_event::{EventKind, LoggedEvent},
    merkle::proof::{ConsistencyProof, InclusionProof},
    policy_set::SourceFile,
    record_filter::{PageRequest, RecordFilter},
    relationship::{Change, Record, Remembered, Written},
    revocation::{Revocation, RevokedTokens},
    sealed_facts::OpenError,
    signed_note::VerifierKey,
};

/// The only "now" in the program.
pub trait Clock: Send + Sync + std::fmt::Debug {
    /// Microseconds since the epoch.
    fn now_us(&self) -> i64;

    /// Microseconds on a clock that nobody can change, from a moment of its own. One that is not the machine's may show
    /// the time itself.
    fn monotonic_us(&self) -> i64 {
        self.now_us()
    }

    /// Seconds since the epoch.
    fn now_seconds(&self) -> i64 {
        self.now_us().div_euclid(1_000_000)
    }
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The store cannot write or read now; nothing was acknowledged. Trying again may help.
    #[error("the relationship store is unavailable: {0}")]
    Unavailable(String),
    /// A batch breaks a limit of the store; nothing was written.
    #[error("{0}")]
    Limit(String),
    /// What was read is not what was written.
    #[error("the relationship store is damaged: {0}")]
    Damaged(String),
}

/// Keeps the records of every realm, durably.
#[async_trait]
pub trait RelationshipStore: Send + Sync + std::fmt::Debug {
    /// Writes batches in order, each atomically and with a revision of its own, and returns when all are durable.
    /// What each change does is what [`settle`](crate::domain::relationship::settle) says.
    ///
    /// A batch holds at most [`BATCH_CHANGES_MAX`] changes. A batch that changes nothing makes no revision.
    /// Batches of one realm are written one call at a time: the caller holds the realm's writer lock.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing of this call counts as acknowledged, though a part may have been kept.
    async fn write(
        &self,
        realm: &RealmName,
        batches: Vec<Vec<Change>>,
        remembered: &Remembered,
    ) -> Result<Vec<Written>, StoreError>;

    /// Whether the store can keep a record, so that one that it can't is refused alone and not with its batch.
    ///
    /// # Errors
    /// [`StoreError::Limit`]: how large it is and may be, without any of its values.
    fn check(&self, record: &Record) -> Result<(), StoreError>;

    /// Hands every record of a realm to `each`, in the order of the keys, and returns the realm's revision.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a stored value's checksum does not hold.
    async fn load(&self, realm: &RealmName, each: Box<dyn FnMut(Record) + Send>) -> Result<Revision, StoreError>;

    /// The store takes writes.
    fn is_writable(&self) -> bool;
}

/// The most changes that one atomic batch may hold (sled's memory grows without bound beyond 1,000 operations).
pub const BATCH_CHANGES_MAX: usize = 999;

/// One change of a realm's applications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApplicationChange {
    /// Creates or replaces an application.
    Put(Application),
    /// Deletes an application; its tokens are changes of their own.
    Delete(Arc<str>),
    /// Creates or replaces a token.
    PutToken(ApplicationToken),
    /// Deletes a token.
    DeleteToken(TokenDigest),
}

/// Keeps the applications of every realm and their tokens, durably.
#[async_trait]
pub trait ApplicationStore: Send + Sync + std::fmt::Debug {
    /// Makes all changes, in order, or none, and returns when they are durable. To delete what is not there is no
    /// failure. At most [`BATCH_CHANGES_MAX`] changes.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing counts as acknowledged, though all may have been kept.
    async fn write_applications(&self, realm: &RealmName, changes: Vec<ApplicationChange>) -> Result<(), StoreError>;

    /// All applications of a realm in the order of their ids, and all tokens in the order of their digests.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a stored value's checksum does not hold.
    async fn load_applications(
        &self,
        realm: &RealmName,
    ) -> Result<(Vec<Application>, Vec<ApplicationToken>), StoreError>;
}

/// One change of a realm's revocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RevocationChange {
    /// Creates or replaces a revocation.
    Put(Revocation),
    /// Deletes the revocation of these tokens.
    Delete(RevokedTokens),
}

/// Keeps the revocations of every realm, durably.
#[async_trait]
pub trait RevocationStore: Send + Sync + std::fmt::Debug {
    /// Makes all changes, in order, or none, and returns when they are durable. To delete what is not there is no
    /// failure. At most [`BATCH_CHANGES_MAX`] changes.
    ///
    /// # Errors
    /// [`StoreError`]; then nothing counts as acknowledged, though all may have been kept.
    async fn write_revocations(&self, realm: &RealmName, changes: Vec<RevocationChange>) -> Result<(), StoreError>;

    /// All revocations of a realm, in no order.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when a stored value's checksum does not hold.
    async fn load_revocations(&self, realm: &RealmName) -> Result<Vec<Revocation>, StoreError>;
}

/// The stores that realms are read from.
#[derive(Debug, Clone)]
pub struct Stores {
    /// Relationships.
    pub relationships: Arc<dyn RelationshipStore>,
    /// Applications.
    pub applications: Arc<dyn ApplicationStore>,
    /// Revocations.
    pub revocations: Arc<dyn RevocationStore>,
}

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

/// Why the identity table could not do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be written now, or is full; trying again may help. Holds no person's id.
    #[error("the identity table is unavailable: {0}")]
    Unavailable(String),
    /// What was read is not what was written, or a key is missing.
    #[error("the identity table cannot be read: {0}")]
    Unreadable(String),
}

/// A person whose erasure was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasing {
    /// Everything that stood for the person.
    pub people: Vec<EntityId>,
    /// The pseudonyms, in the order of `people`.
    pub pseudonyms: Vec<Pseudonym>,
    /// The legal basis.
    pub basis: Arc<str>,
    /// Who asked for it.
    pub caller: Arc<str>,
}

/// Keeps who is behind the pseudonyms of one realm's log, and each person's own key.
///
/// Looking up never waits for a disk. What is new is durable before the first entry that relies on it, see
/// [`BeforeGroup`]. The methods of holds and erasures block until what they did is durable.
pub trait Identities: BeforeGroup {
    /// The identity of a person, or of a resource that is about people (its type is the resource type's name then); made
    /// when there is none.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`] when there is no room for more, or no chance to be had.
    fn identify(&self, person: &EntityId) -> Result<Arc<Identity>, IdentityError>;

    /// The identity of a person, if there is one. For questions: nobody becomes known by being asked about.
    fn known(&self, person: &EntityId) -> Option<Arc<Identity>>;

    /// The identities with this id, of whatever type.
    fn with_id(&self, id: &str) -> Vec<Arc<Identity>>;

    /// Who is behind a pseudonym; `None` when it is none, or the person was erased.
    fn person(&self, pseudonym: &str) -> Option<EntityId>;

    /// Seals what a decision was about with the keys of these people; opens only while all of them are known.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`].
    fn seal(&self, id: DecisionId, people: Vec<Arc<Identity>>, text: &[u8]) -> Result<Arc<[u8]>, IdentityError>;

    /// Opens what was sealed with a decision.
    ///
    /// # Errors
    /// [`OpenError::Erased`] when one of the people is not known any more.
    fn open(&self, id: DecisionId, sealed: &[u8]) -> Result<Vec<u8>, OpenError>;

    /// Everyone who is under legal hold, in no order.
    fn held(&self) -> Vec<Arc<Identity>>;

    /// Holds identities since this time, or lets go of them.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`]; then nothing is changed, though it may be after the next start.
    fn set_hold(&self, people: &[Arc<Identity>], since_us: Option<i64>) -> Result<(), IdentityError>;

    /// Begins to erase: from now on the people are unknown, and known as somebody else when they come again. What was
    /// begun is finished, after a crash at the next start.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`]; then nothing is changed, though it may be after the next start.
    fn begin_erasure(
        &self,
        people: &[Arc<Identity>],
        basis: &Arc<str>,
        caller: &Arc<str>,
    ) -> Result<Erasing, IdentityError>;

    /// The erasures that were begun and are not finished, oldest first.
    fn erasing(&self) -> Vec<Erasing>;

    /// Destroys what is left of an erasure that the log has noted: the rows, and the key that copies of them could be
    /// read with.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`]: it is to be called again.
    fn finish_erasure(&self, erasing: &Erasing) -> Result<(), IdentityError>;
}

/// Why an issuer's keys could not be had.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KeyError {
    /// The keys cannot be fetched or read now.
    #[error("the keys of issuer `{issuer}` are unavailable: {reason}")]
    Unavailable {
        /// The issuer.
        issuer: String,
        /// What failed; holds no secret.
        reason: String,
    },
}

/// Gives the keys of issuers.
#[async_trait]
pub trait KeySource: Send + Sync + std::fmt::Debug {
    /// The keys of one issuer of a realm. When `kid` is not among the keys at hand, they are fetched once more,
    /// within the issuer's rate limit, before the answer.
    ///
    /// # Errors
    /// [`KeyError::Unavailable`] when there are no usable keys at hand.
    async fn keys(&self, realm: &RealmName, issuer: &str, kid: Option<&str>) -> Result<Arc<KeySet>, KeyError>;

    /// How the keys of all issuers of all realms stand; of issuers that have none, nothing.
    fn at_hand(&self) -> Vec<IssuerKeys> {
        Vec::new()
    }

    /// Replaces the issuers of a realm.
    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]);
}

/// How the keys of one issuer stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerKeys {
    /// The issuer.
    pub issuer: Arc<str>,
    /// How old they are, in microseconds; `None` where there are none that can be used.
    pub age_us: Option<i64>,
    /// They were asked for last in vain.
    pub is_failing: bool,
}

/// What an issuer says about an opaque token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Introspected {
    /// It does not count.
    Inactive,
    /// It counts.
    Active(ActiveToken),
}

/// What an issuer says about a token that counts.
#[derive(Clone, PartialEq, Eq)]
pub struct ActiveToken {
    /// The members of the answer, nothing of them checked but `active`.
    pub members: Arc<serde_json::Map<String, serde_json::Value>>,
    /// Until when the answer may be used, in seconds since the epoch; the token's `exp` may come first.
    pub until_seconds: i64,
}

/// Shows until when it counts; the rest is about people.
impl std::fmt::Debug for ActiveToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ActiveToken").field("until_seconds", &self.until_seconds).finish_non_exhaustive()
    }
}

/// Why an issuer could not be asked about a token.
#[derive(Debug, Clone, thiserror::Error)]
#[error("issuer `{issuer}` cannot be asked about its tokens: {reason}")]
pub struct IntrospectionError {
    /// The issuer.
    pub issuer: String,
    /// What failed; holds no secret, no token, and nothing that was answered.
    pub reason: String,
}

/// Asks issuers about their opaque tokens (RFC 7662).
#[async_trait]
pub trait TokenIntrospector: Send + Sync + std::fmt::Debug {
    /// What the issuer of a realm says about a token, now or not long ago.
    ///
    /// # Errors
    /// [`IntrospectionError`]: nothing is known about the token then.
    async fn introspect(
        &self,
        realm: &RealmName,
        issuer: &str,
        token: &str,
    ) -> Result<Introspected, IntrospectionError>;

    /// Replaces the issuers of a realm.
    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]);
}

/// The realm whose policies say who may read; no realm of a deployment has this name.
pub const CALLERS_REALM: &str = "hallpass";

/// A realm's files as they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RealmFiles {
    /// The files, sorted by path.
    pub files: Vec<SourceFile>,
    /// What was signed of the bundle that they came in; `None` where nobody had to sign.
    pub seal: Option<Seal>,
}

impl RealmFiles {
    /// Files that nobody had to sign.
    pub fn unsigned(files: Vec<SourceFile>) -> Self {
        Self { files, seal: None }
    }
}

/// What is as long the same as nothing changes where a realm's files are read from: a hash of names, sizes and times.
pub type Fingerprint = [u8; 32];

/// Reads the files of realms. Blocks.
pub trait RealmSource: Send + Sync + std::fmt::Debug {
    /// All files of the realm, as they were together at one moment.
    ///
    /// # Errors
    /// A sentence that names the folder or file and what is wrong with it.
    fn read(&self, realm: &RealmName) -> Result<RealmFiles, String>;

    /// All files of the candidate that is to decide in the realm's shadow; `None` where the deployment names none.
    ///
    /// # Errors
    /// Those of [`RealmSource::read`].
    fn candidate(&self, _: &RealmName) -> Option<Result<Vec<SourceFile>, String>> {
        None
    }

    /// Looks, without reading any file, whether there may be something new to read, the candidate among it. A source that
    /// cannot tell always says the same.
    fn fingerprint(&self, _: &RealmName) -> Fingerprint {
        Fingerprint::default()
    }

    /// Whether policies that were kept may decide again: where the realm's files must be signed, these were, with a key
    /// that is still trusted. Returns that key's name; `None` where nobody has to sign.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    fn vouch(&self, _: &RealmName, _: &KeptPolicies) -> Result<Option<Arc<str>>, String> {
        Ok(None)
    }
}

/// Solves one formula after another, each on its own.
#[async_trait]
pub trait FormulaSolver: Send + std::fmt::Debug {
    /// Solves a script in SMT-LIB that sets its options and logic, and declares and asserts all that it speaks about.
    async fn solve(&mut self, script: &str) -> Solved;
}

/// What a solver made of a formula.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Solved {
    /// It can be satisfied, as this model does, in SMT-LIB.
    Satisfied(String),
    /// Nothing satisfies it.
    Refuted,
    /// The solver can't tell, for this reason: it took too long, or there is something in it that it can't do.
    Unknown(String),
}
