//! Revocations in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, PoisonError},
};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    app::ports::{RevocationChange, RevocationStore, StoreError},
    domain::{
        id::RealmName,
        revocation::{Revocation, RevokedTokens},
    },
    storage::revocation,
};

/// The revocations of all realms.
pub(super) type Realms = Mutex<HashMap<RealmName, BTreeMap<RevokedTokens, Revocation>>>;

#[async_trait]
impl RevocationStore for MemoryStore {
    async fn write_revocations(&self, realm: &RealmName, changes: Vec<RevocationChange>) -> Result<(), StoreError> {
        revocation::check(&changes)?;
        let mut realms = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        let realm = realms.entry(realm.clone()).or_default();
        for change in changes {
            match change {
                RevocationChange::Put(revocation) => realm.insert(revocation.tokens.clone(), revocation),
                RevocationChange::Delete(tokens) => realm.remove(&tokens),
            };
        }
        Ok(())
    }

    async fn load_revocations(&self, realm: &RealmName) -> Result<Vec<Revocation>, StoreError> {
        let realms = self.revocations.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(realms.get(realm).into_iter().flat_map(BTreeMap::values).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::storage::revocation_suite;

    revocation_suite::suite!((MemoryStore::new(), ()));
}
