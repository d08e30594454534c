//! Records and revisions in one tree of an open database.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use ::sled::{
    Db, IVec, Tree,
    transaction::{ConflictableTransactionError, ConflictableTransactionResult, TransactionError, TransactionalTree},
};

use super::{Options, applications::Applications, keys, revocations::Revocations};
use crate::{
    app::ports::StoreError,
    domain::{
        id::{RealmName, Revision},
        relationship::{Change, Effect, Record, RecordKey, Remembered, Written},
    },
    storage::record::{self, Names, PLAIN},
};

/// Why a step failed, and so whether the database can be used on.
#[derive(Debug)]
pub(super) enum Fault {
    /// The engine or the disk: what the database holds in memory is no longer to be trusted.
    Engine(StoreError),
    /// One record; the database stands.
    Record(StoreError),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Engine(error) | Fault::Record(error) => error,
        }
    }
}

impl From<::sled::Error> for Fault {
    fn from(error: ::sled::Error) -> Self {
        Self::Engine(match error {
            ::sled::Error::Corruption { .. } => StoreError::Damaged("the database reports corruption".to_owned()),
            other => StoreError::Unavailable(other.to_string()),
        })
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Engine(StoreError::Unavailable(error.to_string()))
    }
}

/// A batch within the limits, with its bytes.
#[derive(Debug)]
pub(super) struct Batch {
    changes: Vec<Change>,
    /// For each change the key, and the value to stand there if nothing is remembered.
    writes: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

impl Batch {
    /// Encodes a batch; refuses it when it breaks a limit.
    pub(super) fn new(realm: &RealmName, changes: Vec<Change>) -> Result<Self, StoreError> {
        record::check(&changes)?;
        let prefix = keys::records_prefix(realm);
        let write = |(index, change): (usize, &Change)| {
            let key = keys::record_key(&prefix, change.key());
            let value = match change {
                Change::Put(record) => {
                    let (version, body) = record::body(index, record)?;
                    Some(keys::value(&key, version, &body))
                }
                Change::Delete(_) | Change::Forget(_) => None,
            };
            Ok((key, value))
        };
        let writes = changes.iter().enumerate().map(write).collect::<Result<_, StoreError>>()?;
        Ok(Self { changes, writes })
    }

    /// The bytes of its keys and values, about as many as it will write.
    pub(super) fn bytes(&self) -> u64 {
        let value_bytes = |value: &Option<Vec<u8>>| value.as_ref().map_or(REMOVED_BYTES, Vec::len);
        self.writes.iter().map(|(key, value)| (key.len() + value_bytes(value)) as u64).sum()
    }
}

/// What is left of a deleted record, about: two relationships.
const REMOVED_BYTES: usize = 200;

/// An open database.
#[derive(Debug)]
pub(super) struct Relationships {
    db: Db,
    tree: Tree,
    /// Their trees beside this one.
    pub(super) applications: Applications,
    pub(super) revocations: Revocations,
    blobs: PathBuf,
    /// The log file of the database once more, to make it durable: sled's flush is no fsync on Linux
    /// (<https://github.com/spacejam/sled/issues/1351>).
    log: File,
}

/// The name of the log file within the folder.
pub(super) const LOG_FILE: &str = "db";

/// The folder of pages that were too large for the log.
const BLOB_FOLDER: &str = "blobs";

/// The size of the log's segments, in bytes; a folder keeps the one it was made with.
///
/// INVARIANT: a page of more than a quarter of it would be kept beside the log, where sled never syncs. A
/// page has up to 18 records before it is split, each of at most 24,000 bytes and a key of 2,243.
const SEGMENT_BYTES: usize = 2 << 20;

impl Relationships {
    /// Opens the database in this folder, or makes one.
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self, Fault> {
        let db = ::sled::Config::new()
            .path(path)
            .segment_size(SEGMENT_BYTES)
            .cache_capacity(options.cache_bytes)
            .mode(::sled::Mode::HighThroughput)
            .flush_every_ms(Some(500))
            .open()?;
        let tree = db.open_tree("relationships")?;
        let applications = Applications::open(&db)?;
        let revocations = Revocations::open(&db)?;
        let log = File::options().write(true).open(path.join(LOG_FILE))?;
        let relationships = Self { db, tree, applications, revocations, blobs: path.join(BLOB_FOLDER), log };
        relationships.make_durable()?;
        Ok(relationships)
    }

    /// Returns when all that was written is on the disk.
    pub(super) fn make_durable(&self) -> Result<(), Fault> {
        self.db.flush()?;
        // Empty by the invariant above; a page that got there after all is made durable here, if late.
        for blob in fs::read_dir(&self.blobs)? {
            sync_if_there(&blob?.path())?;
        }
        self.log.sync_data()?;
        Ok(())
    }

    /// Writes batches, each atomically, and makes them durable together.
    pub(super) fn write(
        &self,
        realm: &RealmName,
        batches: Vec<Batch>,
        remembered: &Remembered,
    ) -> Result<Vec<Written>, Fault> {
        let written: Result<Vec<_>, _> =
            batches.into_iter().map(|batch| self.apply(realm, batch, remembered)).collect();
        match &written {
            Err(Fault::Engine(_)) => {}
            Ok(written) if written.iter().all(is_unchanged) => {}
            // The batches before a refused one stand, and the next reader sees them: they must be durable too.
            Ok(_) | Err(Fault::Record(_)) => self.make_durable()?,
        }
        written
    }

    fn apply(&self, realm: &RealmName, batch: Batch, remembered: &Remembered) -> Result<Written, Fault> {
        let Batch { changes, writes } = batch;
        let revision_key = keys::revision_key(realm);
        let outcome = self.tree.transaction(|tree| {
            let stood = revision(&revision_key, tree.get(&revision_key)?.as_ref(), realm).map_err(abort)?;
            let settled = changes
                .iter()
                .zip(&writes)
                .map(|(change, (key, value))| settle(tree, change, key, value.as_deref(), remembered))
                .collect::<ConflictableTransactionResult<Vec<_>, _>>()?;
            if settled.iter().all(|settled| *settled == Some(Effect::Unchanged)) {
                return Ok((stood, settled));
            }
            let revision = Revision(stood.0 + 1);
            tree.insert(&*revision_key, keys::value(&revision_key, PLAIN, &keys::revision_body(revision)))?;
            Ok((revision, settled))
        });
        let (revision, settled) = outcome.map_err(|error| match error {
            TransactionError::Abort(error) => Fault::Record(error),
            TransactionError::Storage(error) => error.into(),
        })?;
        let effects = changes.into_iter().zip(settled).map(|(change, settled)| effect(change, settled)).collect();
        Ok(Written { revision, effects })
    }

    /// Hands each record of the realm to `each`, in the order of the keys.
    pub(super) fn load(&self, realm: &RealmName, each: &mut dyn FnMut(Record)) -> Result<Revision, Fault> {
        let prefix = keys::records_prefix(realm);
        let mut names = Names::default();
        let mut is_empty = true;
        for pair in self.tree.scan_prefix(&prefix) {
            let (key, value) = pair?;
            let name = keys::read_record_key(&prefix, &key, &mut names).ok_or_else(|| {
                Fault::Record(StoreError::Damaged(format!(
                    "a record of realm `{realm}` has a key that was never written"
                )))
            })?;
            each(read_record(name, &key, &value, &mut names).map_err(Fault::Record)?);
            is_empty = false;
        }
        let key = keys::revision_key(realm);
        let revision = revision(&key, self.tree.get(&key)?.as_ref(), realm).map_err(Fault::Record)?;
        if revision == Revision::default() && !is_empty {
            return Err(Fault::Record(StoreError::Damaged(format!("realm `{realm}` has records but no revision"))));
        }
        Ok(revision)
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> &Tree {
        &self.tree
    }
}

/// Syncs a file, unless it was taken away meanwhile.
fn sync_if_there(file: &Path) -> io::Result<()> {
    match File::open(file) {
        Ok(file) => file.sync_all(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn is_unchanged(written: &Written) -> bool {
    written.effects.iter().all(|effect| *effect == Effect::Unchanged)
}

fn abort(error: StoreError) -> ConflictableTransactionError<StoreError> {
    ConflictableTransactionError::Abort(error)
}

/// Makes a change to what stands at the key, and says what it did; `None` when it made its record, and nothing stood
/// there. `value` is what it would leave there if nothing were remembered.
fn settle(
    tree: &TransactionalTree,
    change: &Change,
    key: &[u8],
    value: Option<&[u8]>,
    remembered: &Remembered,
) -> ConflictableTransactionResult<Option<Effect>, StoreError> {
    let stood = tree.get(key)?;
    if stood.as_deref() == value {
        return Ok(Some(Effect::Unchanged));
    }
    let before = match (&stood, value) {
        (None, Some(value)) => {
            tree.insert(key, value)?;
            return Ok(None);
        }
        (None, None) => None,
        (Some(stood), _) => Some(read_record(change.key().clone(), key, stood, &mut Names::default()).map_err(abort)?),
    };
    let effect = record::settled(before, change.clone(), remembered);
    match &effect {
        Effect::Unchanged => None,
        Effect::Created(after) | Effect::Replaced { after, .. } | Effect::Removed { after, .. } => {
            let (version, body) = record::encode(after);
            tree.insert(key, keys::value(key, version, &body))?
        }
        Effect::Deleted(_) => tree.remove(key)?,
    };
    Ok(Some(effect))
}

fn effect(change: Change, settled: Option<Effect>) -> Effect {
    match (settled, change) {
        (Some(effect), _) => effect,
        (None, Change::Put(after)) => Effect::Created(Record { removed: Vec::new(), ..after }),
        // Only a put makes a record.
        (None, Change::Delete(_) | Change::Forget(_)) => Effect::Unchanged,
    }
}

fn read_record(name: RecordKey, key: &[u8], value: &[u8], names: &mut Names) -> Result<Record, StoreError> {
    let resource = RecordKey::clone(&name).resource;
    keys::read_value(key, value)
        .and_then(|(version, body)| record::decode(name, version, body, names).ok())
        .ok_or_else(|| StoreError::Damaged(format!("the checksum of a record of `{resource}` does not hold")))
}

fn revision(key: &[u8], value: Option<&IVec>, realm: &RealmName) -> Result<Revision, StoreError> {
    let Some(value) = value else { return Ok(Revision::default()) };
    keys::read_value(key, value)
        .and_then(|(_, body)| keys::read_revision_body(body))
        .ok_or_else(|| StoreError::Damaged(format!("the checksum of the revision of realm `{realm}` does not hold")))
}
