//! Applications and their tokens, in two trees beside the relationships'.
//!
//! A key is the realm's name after its length in one byte, then an application's id or a token's digest. Values are as
//! in [`super::keys`]: a checksum that covers the key, a version, a body.

use std::sync::Arc;

use ::sled::{
    Db, Transactional as _, Tree,
    transaction::{ConflictableTransactionError, TransactionError, TransactionalTree},
};
use async_trait::async_trait;

use super::{Shared, SledStore, blocking, guarded, keys, relationships::Fault};
use crate::{
    app::ports::{ApplicationChange, ApplicationStore, StoreError},
    domain::{
        application::{Application, ApplicationToken, TokenDigest},
        codec::Writer,
        id::RealmName,
    },
    storage::{application, record::PLAIN},
};

/// The trees of an open database.
#[derive(Debug)]
pub(super) struct Applications {
    applications: Tree,
    tokens: Tree,
}

/// A change as bytes; without a value it deletes.
struct Write {
    is_token: bool,
    key: Vec<u8>,
    value: Option<Vec<u8>>,
}

#[async_trait]
impl ApplicationStore for SledStore {
    async fn write_applications(&self, realm: &RealmName, changes: Vec<ApplicationChange>) -> Result<(), StoreError> {
        let (shared, realm) = (Arc::clone(&self.shared), realm.clone());
        blocking(move || shared.write_applications(&realm, &changes)).await
    }

    async fn load_applications(
        &self,
        realm: &RealmName,
    ) -> Result<(Vec<Application>, Vec<ApplicationToken>), StoreError> {
        let (shared, realm) = (Arc::clone(&self.shared), realm.clone());
        blocking(move || shared.load_applications(&realm)).await
    }
}

impl Shared {
    fn write_applications(&self, realm: &RealmName, changes: &[ApplicationChange]) -> Result<(), StoreError> {
        let writes = writes(realm, changes)?;
        let bytes = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, Vec::len);
        let mut slot = self.slot();
        let database = self.mended(&mut slot)?;
        self.check_room(writes.iter().map(|write| bytes(write) as u64).sum())?;
        self.judged(guarded(|| {
            database.applications.write(&writes)?;
            database.make_durable()
        }))
    }

    fn load_applications(&self, realm: &RealmName) -> Result<(Vec<Application>, Vec<ApplicationToken>), StoreError> {
        if self.is_failed() {
            self.mended(&mut self.slot())?;
        }
        let slot = self.database.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        self.usable(&slot)?.applications.load(realm).map_err(StoreError::from)
    }
}

impl Applications {
    /// Opens the trees, or makes them: a database of earlier versions has none.
    pub(super) fn open(db: &Db) -> Result<Self, Fault> {
        Ok(Self { applications: db.open_tree("applications")?, tokens: db.open_tree("application_tokens")? })
    }

    /// Makes all changes or none. They are durable when the database is made so.
    fn write(&self, writes: &[Write]) -> Result<(), Fault> {
        let outcome = (&self.applications, &self.tokens).transaction(|(applications, tokens)| {
            for Write { is_token, key, value } in writes {
                let tree: &TransactionalTree = if *is_token { tokens } else { applications };
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

    fn load(&self, realm: &RealmName) -> Result<(Vec<Application>, Vec<ApplicationToken>), Fault> {
        let applications = read(&self.applications, realm, |name, body| {
            let id = std::str::from_utf8(name).ok()?;
            Application::decode(id.into(), body).ok()
        })?;
        let tokens = read(&self.tokens, realm, |name, body| {
            ApplicationToken::decode(TokenDigest(name.try_into().ok()?), body).ok()
        })?;
        Ok((applications, tokens))
    }

    #[cfg(test)]
    pub(super) fn trees(&self) -> [&Tree; 2] {
        [&self.applications, &self.tokens]
    }
}

/// Reads what a tree holds of a realm: the rest of each key, and the body that stands there.
fn read<T>(tree: &Tree, realm: &RealmName, each: impl Fn(&[u8], &[u8]) -> Option<T>) -> Result<Vec<T>, Fault> {
    let prefix = prefix(realm);
    let read = |key: &[u8], value: &[u8]| match keys::read_value(key, value)? {
        (PLAIN, body) => each(key.strip_prefix(&*prefix)?, body),
        _ => None,
    };
    let mut found = Vec::new();
    for pair in tree.scan_prefix(&prefix) {
        let (key, value) = pair?;
        found.push(read(&key, &value).ok_or_else(|| {
            let message = format!("the checksum of an application or token of realm `{realm}` does not hold");
            Fault::Record(StoreError::Damaged(message))
        })?);
    }
    Ok(found)
}

fn writes(realm: &RealmName, changes: &[ApplicationChange]) -> Result<Vec<Write>, StoreError> {
    let bodies = application::bodies(changes)?;
    let prefix = prefix(realm);
    let write = |(change, body): (&ApplicationChange, Option<Vec<u8>>)| {
        let (is_token, name) = match change {
            ApplicationChange::Put(application) => (false, application.id.as_bytes()),
            ApplicationChange::Delete(id) => (false, id.as_bytes()),
            ApplicationChange::PutToken(token) => (true, &token.digest.0[..]),
            ApplicationChange::DeleteToken(digest) => (true, &digest.0[..]),
        };
        let key = [&*prefix, name].concat();
        let value = body.map(|body| keys::value(&key, PLAIN, &body));
        Write { is_token, key, value }
    };
    Ok(changes.iter().zip(bodies).map(write).collect())
}

/// What the keys of a realm begin with. A name has at most 64 bytes, so its length is one.
pub(super) fn prefix(realm: &RealmName) -> Vec<u8> {
    let mut writer = Writer::with_capacity(realm.as_str().len() + 1);
    writer.str(realm.as_str());
    writer.into_bytes()
}

#[cfg(test)]
mod tests;
