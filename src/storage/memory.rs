//! Keeps records and applications in memory: for tests and demonstrations. Nothing outlives the process.

mod applications;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;

use super::record;
use crate::{
    app::ports::{RelationshipStore, StoreError},
    domain::{
        id::{RealmName, Revision},
        relationship::{Change, Effect, Record, RecordKey, Written},
    },
};

/// Records in memory, held to the same limits as those on disk.
#[derive(Debug, Default)]
pub struct MemoryStore {
    realms: Mutex<HashMap<RealmName, Realm>>,
    applications: applications::Realms,
}

#[derive(Debug, Default)]
struct Realm {
    revision: Revision,
    records: BTreeMap<RecordKey, Record>,
}

impl MemoryStore {
    /// A store without records.
    pub fn new() -> Self {
        Self::default()
    }

    fn realms(&self) -> MutexGuard<'_, HashMap<RealmName, Realm>> {
        // Nothing in here panics while it holds the lock, save a reader's own code in `load`, which changes nothing.
        self.realms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl RelationshipStore for MemoryStore {
    async fn write(&self, realm: &RealmName, batches: Vec<Vec<Change>>) -> Result<Vec<Written>, StoreError> {
        for batch in &batches {
            record::check(batch)?;
            for (index, change) in batch.iter().enumerate() {
                if let Change::Put(record) = change {
                    record::body(index, record)?;
                }
            }
        }
        let mut realms = self.realms();
        let realm = realms.entry(realm.clone()).or_default();
        Ok(batches.into_iter().map(|batch| realm.write(batch)).collect())
    }

    async fn load(&self, realm: &RealmName, mut each: Box<dyn FnMut(Record) + Send>) -> Result<Revision, StoreError> {
        let realms = self.realms();
        let Some(realm) = realms.get(realm) else { return Ok(Revision::default()) };
        realm.records.values().cloned().for_each(&mut each);
        Ok(realm.revision)
    }

    fn is_writable(&self) -> bool {
        true
    }
}

impl Realm {
    fn write(&mut self, batch: Vec<Change>) -> Written {
        let effects: Vec<Effect> = batch.into_iter().map(|change| self.change(change)).collect();
        if effects.iter().any(|effect| *effect != Effect::Unchanged) {
            self.revision = Revision(self.revision.0 + 1);
        }
        Written { revision: self.revision, effects }
    }

    fn change(&mut self, change: Change) -> Effect {
        match change {
            Change::Put(after) => match self.records.insert(after.key.clone(), after.clone()) {
                None => Effect::Created(after),
                Some(before) if before == after => Effect::Unchanged,
                Some(before) => Effect::Replaced { before, after },
            },
            Change::Delete(key) => self.records.remove(&key).map_or(Effect::Unchanged, Effect::Deleted),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::storage::relationship_suite;

    relationship_suite::suite!((MemoryStore::new(), ()));
}
