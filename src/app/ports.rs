//! All that the service needs from outside, as traits.

pub mod archive;
mod decision_log;
pub mod meter;
pub mod place;
pub mod trace;

pub use self::decision_log::{
    BeforeGroup, CheckpointStatus, CheckpointWitness, DecisionLog, LogError, LogSegment, LogStatus, RecordPage,
    WitnessStatus,
};

use std::sync::Arc;

use async_trait::async_trait;

use self::archive::KeptPolicies;
use crate::domain::{
    application::{Application, ApplicationToken, TokenDigest},
    bundle::Seal,
    id::{DecisionId, EntityId, RealmName, Revision},
    identity::{Identity, Pseudonym},
    issuer::Issuer,
    key_set::KeySet,
    policy_set::SourceFile,
    relationship::{Change, Record, Remembered, Written},
    revocation::{Revocation, RevokedTokens},
    sealed_facts::OpenError,
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
