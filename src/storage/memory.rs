//! Keeps records and applications in memory: for tests and demonstrations. Nothing outlives the process.

mod applications;
mod revocations;

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
        relationship::{Change, Effect, Record, RecordKey, Remembered, Written},
    },
};

/// Records in memory, held to the same limits as those on disk.
#[derive(Debug, Default)]
pub struct MemoryStore {
    realms: Mutex<HashMap<RealmName, Realm>>,
    applications: applications::Realms,
    revocations: revocations::Realms,
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
    async fn write(
        &self,
        realm: &RealmName,
        batches: Vec<Vec<Change>>,
        remembered: &Remembered,
    ) -> Result<Vec<Written>, StoreError> {
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
        Ok(batches.into_iter().map(|batch| realm.write(batch, remembered)).collect())
    }

    fn check(&self, record: &Record) -> Result<(), StoreError> {
        record::checked(record).map(|_| ()).map_err(StoreError::Limit)
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
    fn write(&mut self, batch: Vec<Change>, remembered: &Remembered) -> Written {
        let effects: Vec<Effect> = batch.into_iter().map(|change| self.change(change, remembered)).collect();
        if effects.iter().any(|effect| *effect != Effect::Unchanged) {
            self.revision = Revision(self.revision.0 + 1);
        }
        Written { revision: self.revision, effects }
    }

    fn change(&mut self, change: Change, remembered: &Remembered) -> Effect {
        let effect = record::settled(self.records.get(change.key()).cloned(), change, remembered);
        effect.keep_in(&mut self.records);
        effect
    }
}

#[cfg(test)]
mod tests {
    use super::MemoryStore;
    use crate::storage::relationship_suite;

    relationship_suite::suite!((MemoryStore::new(), ()));
}
