//! Applications in memory.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;

use super::MemoryStore;
use crate::{
    app::ports::{ApplicationChange, ApplicationStore, StoreError},
    domain::{
        application::{Application, ApplicationToken, TokenDigest},
        id::RealmName,
    },
    storage::application,
};

/// The applications of all realms.
pub(super) type Realms = Mutex<HashMap<RealmName, Realm>>;

/// The applications of a realm and their tokens.
#[derive(Debug, Default)]
pub(super) struct Realm {
    applications: BTreeMap<Arc<str>, Application>,
    tokens: BTreeMap<TokenDigest, ApplicationToken>,
}

#[async_trait]
impl ApplicationStore for MemoryStore {
    async fn write_applications(&self, realm: &RealmName, changes: Vec<ApplicationChange>) -> Result<(), StoreError> {
        application::bodies(&changes)?;
        let mut realms = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        let realm = realms.entry(realm.clone()).or_default();
        for change in changes {
            realm.change(change);
        }
        Ok(())
    }

    async fn load_applications(
        &self,
        realm: &RealmName,
    ) -> Result<(Vec<Application>, Vec<ApplicationToken>), StoreError> {
        let realms = self.applications.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(realm) = realms.get(realm) else { return Ok(Default::default()) };
        Ok((realm.applications.values().cloned().collect(), realm.tokens.values().cloned().collect()))
    }
}

impl Realm {
    fn change(&mut self, change: ApplicationChange) {
        match change {
            ApplicationChange::Put(application) => {
                self.applications.insert(Arc::clone(&application.id), application);
            }
            ApplicationChange::Delete(id) => {
                self.applications.remove(&id);
            }
            ApplicationChange::PutToken(token) => {
                self.tokens.insert(token.digest, token);
            }
            ApplicationChange::DeleteToken(digest) => {
                self.tokens.remove(&digest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::storage::application_suite;

    application_suite::suite!((MemoryStore::new(), ()));
}
