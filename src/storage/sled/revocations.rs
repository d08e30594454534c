//! Revocations, in a tree beside the relationships'.
//!
//! A key is the realm's name after its length in one byte, then the name of the tokens. Values are as in [`super::keys`]: a
//! checksum that covers the key, a version, a body.

use std::sync::Arc;

use ::sled::{
    Db, Tree,
    transaction::{ConflictableTransactionError, TransactionError},
};
use async_trait::async_trait;

use super::{Shared, SledStore, applications::prefix, blocking, guarded, keys, relationships::Fault};
use crate::{
    app::ports::{RevocationChange, RevocationStore, StoreError},
    domain::{
        id::RealmName,
        revocation::{Revocation, RevokedTokens},
    },
    storage::{record::PLAIN, revocation},
};

/// The tree of an open database.
#[derive(Debug)]
pub(super) struct Revocations(Tree);

/// A key, and the value to stand there; without one it is removed.
type Write = (Vec<u8>, Option<Vec<u8>>);

#[async_trait]
impl RevocationStore for SledStore {
    async fn write_revocations(&self, realm: &RealmName, changes: Vec<RevocationChange>) -> Result<(), StoreError> {
        let (shared, realm) = (Arc::clone(&self.shared), realm.clone());
        blocking(move || shared.write_revocations(&realm, &changes)).await
    }

    async fn load_revocations(&self, realm: &RealmName) -> Result<Vec<Revocation>, StoreError> {
        let (shared, realm) = (Arc::clone(&self.shared), realm.clone());
        blocking(move || shared.load_revocations(&realm)).await
    }
}

impl Shared {
    fn write_revocations(&self, realm: &RealmName, changes: &[RevocationChange]) -> Result<(), StoreError> {
        revocation::check(changes)?;
        let prefix = prefix(realm);
        let writes: Vec<Write> = changes.iter().map(|change| write(&prefix, change)).collect();
        let bytes = |(key, value): &Write| key.len() + value.as_ref().map_or(0, Vec::len);
        let mut slot = self.slot();
        let database = self.mended(&mut slot)?;
        self.check_room(writes.iter().map(|write| bytes(write) as u64).sum())?;
        self.judged(guarded(|| {
            database.revocations.write(&writes)?;
            database.make_durable()
        }))
    }

    fn load_revocations(&self, realm: &RealmName) -> Result<Vec<Revocation>, StoreError> {
        if self.is_failed() {
            self.mended(&mut self.slot())?;
        }
        let slot = self.database.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.usable(&slot)?.revocations.load(realm).map_err(StoreError::from)
    }
}

impl Revocations {
    /// Opens the tree, or makes it: a database of earlier versions has none.
    pub(super) fn open(db: &Db) -> Result<Self, Fault> {
        Ok(Self(db.open_tree("revocations")?))
    }

    /// Makes all changes or none. They are durable when the database is made so.
    fn write(&self, writes: &[Write]) -> Result<(), Fault> {
        let outcome = self.0.transaction(|tree| {
            for (key, value) in writes {
                match value {
                    Some(value) => tree.insert(key.as_slice(), value.as_slice())?,
                    None => tree.remove(key.as_slice())?,
                };
            }
            Ok::<_, ConflictableTransactionError<Fault>>(())
        });
        outcome.map_err(|error| match error {
            TransactionError::Abort(fault) => fault,
            TransactionError::Storage(error) => error.into(),
        })
    }

    fn load(&self, realm: &RealmName) -> Result<Vec<Revocation>, Fault> {
        let prefix = prefix(realm);
        let read = |key: &[u8], value: &[u8]| {
            let (version, body) = keys::read_value(key, value)?;
            let tokens = RevokedTokens::decode(key.strip_prefix(&*prefix)?).ok()?;
            Revocation::decode(tokens, body).ok().filter(|_| version == PLAIN)
        };
        let mut found = Vec::new();
        for pair in self.0.scan_prefix(&prefix) {
            let (key, value) = pair?;
            found.push(read(&key, &value).ok_or_else(|| {
                let message = format!("the checksum of a revocation of realm `{realm}` does not hold");
                Fault::Record(StoreError::Damaged(message))
            })?);
        }
        Ok(found)
    }

    #[cfg(test)]
    pub(super) fn tree(&self) -> &Tree {
        &self.0
    }
}

fn write(prefix: &[u8], change: &RevocationChange) -> Write {
    let key = [prefix, &revocation::tokens(change).encode()].concat();
    let value = match change {
        RevocationChange::Put(revocation) => Some(keys::value(&key, PLAIN, &revocation.encode())),
        RevocationChange::Delete(_) => None,
    };
    (key, value)
}

#[cfg(test)]
mod tests;
