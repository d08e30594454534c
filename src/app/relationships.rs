//! Relationships: written durably, visible to the next decision, read back page by page.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use tokio::sync::OwnedMutexGuard;

use crate::{
    app::{
        App,
        error::{Error, Kind},
        ports::{BATCH_CHANGES_MAX, Clock, RelationshipStore, StoreError},
        realm_state::RealmState,
    },
    domain::{
        access_request::FieldFault,
        graph::{Graph, RelationshipQuery},
        id::Revision,
        relationship::{Change, Effect, RecordKey, Relationship, Written},
    },
};

/// The most relationships that one atomic write may create and delete together.
pub const WRITE_ITEMS_MAX: usize = BATCH_CHANGES_MAX;
/// The most records of one message of an import, and of one deletion.
pub const RECORDS_MAX: usize = 1_000;
/// The longest record, in bytes.
pub const RECORD_BYTES_MAX: usize = 256 * 1024;
/// How many refusals an import lists.
pub const REFUSALS_MAX: usize = 1_000;
/// The most relationships of one page.
pub const PAGE_SIZE_MAX: usize = 1_000;
/// How many batches share one flush of the disk.
const BATCHES_A_FLUSH: usize = 16;

/// A record that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The resource.
    pub resource: Arc<str>,
    /// Its place among the records of this resource in this import, from 0.
    pub index: u64,
    /// What is wrong and what was expected. Holds no value of the record.
    pub reason: String,
}

/// What an import did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImportSummary {
    /// The revision from which everything accepted is visible.
    pub revision: Revision,
    /// Records accepted, those that changed nothing included.
    pub accepted: u64,
    /// Accepted records that changed something.
    pub changed: u64,
    /// Records of resources that the realm doesn't know.
    pub skipped: u64,
    /// Records refused.
    pub refused: u64,
    /// The first refusals.
    pub refusals: Vec<Refusal>,
}

/// What a deletion leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletion {
    /// What the realm remembers stays known as removed.
    Remembered,
    /// Nothing, not even of records that were deleted earlier.
    Forgotten,
}

/// What a deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeleteSummary {
    /// The revision from which it is visible.
    pub revision: Revision,
    /// Records that were there; with [`Deletion::Forgotten`], also those of which something was remembered.
    pub deleted: u64,
    /// Records that were not.
    pub missing: u64,
}

/// A page of relationships.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationshipPage {
    /// The relationships, in a stable order.
    pub relationships: Vec<Relationship>,
    /// There may be more after the last one.
    pub has_more: bool,
    /// The revision that was read.
    pub revision: Revision,
}

impl App {
    /// Creates and deletes relationships in one atomic step.
    ///
    /// # Errors
    /// Every fault of the relationships at once; `FailedPrecondition` when the realm is not at the
    /// expected revision; a store that cannot write. Then nothing is written.
    pub async fn write_relationships(
        &self,
        realm: &str,
        creates: &[Relationship],
        deletes: &[Relationship],
        expected: Option<Revision>,
    ) -> Result<Revision, Error> {
        let state = self.realm(realm)?;
        if creates.len() + deletes.len() > WRITE_ITEMS_MAX {
            let message = format!(
                "has {} items with `deletes`, expected at most {WRITE_ITEMS_MAX}",
                creates.len() + deletes.len()
            );
            return Err(Error::invalid_field("creates", message));
        }
        let loaded = state.policies();
        let mut faults = Vec::new();
        let mut changes = Vec::with_capacity(creates.len() + deletes.len());
        for (field, list) in [("deletes", deletes), ("creates", creates)] {
            for (index, relationship) in list.iter().enumerate() {
                match loaded.realm.relations.direct(relationship) {
                    Ok(record) if field == "creates" => changes.push(Change::Put(record)),
                    Ok(record) => changes.push(Change::Delete(record.key)),
                    Err(error) => faults.push(FieldFault::new(format!("{field}[{index}]"), error.to_string())),
                }
            }
        }
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        let writing = Arc::clone(&state.writer).lock_owned().await;
        if let Some(expected) = expected.filter(|expected| *expected != state.graph().revision()) {
            let message = format!("realm `{realm}` is at revision {}, expected {expected}", state.graph().revision());
            return Err(Error::new(Kind::FailedPrecondition, "REVISION_MISMATCH", message));
        }
        let written = self.commit(state, writing, vec![changes]).await?;
        Ok(written.last().map_or_else(|| state.graph().revision(), |batch| batch.revision))
    }

    /// Starts an import.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn import(&self, realm: &str) -> Result<Import<'_>, Error> {
        let state = Arc::clone(self.realm(realm)?);
        Ok(Import { app: self, state, pending: Vec::new(), seen: BTreeMap::new(), summary: ImportSummary::default() })
    }

    /// Takes back what earlier records brought.
    ///
    /// # Errors
    /// Every record that has no readable key, at once; then nothing is deleted.
    pub async fn delete_records(
        &self,
        realm: &str,
        resource: &str,
        records: &[String],
        deletion: Deletion,
    ) -> Result<DeleteSummary, Error> {
        let state = self.realm(realm)?;
        if records.len() > RECORDS_MAX {
            return Err(Error::invalid_field(
                "records",
                format!("has {} items, expected at most {RECORDS_MAX}", records.len()),
            ));
        }
        let loaded = state.policies();
        let mut faults = Vec::new();
        let mut keys = Vec::with_capacity(records.len());
        for (index, record) in records.iter().enumerate() {
            match loaded.realm.relations.key(resource, record) {
                Ok(key) => keys.push(match deletion {
                    Deletion::Remembered => Change::Delete(key),
                    Deletion::Forgotten => Change::Forget(key),
                }),
                Err(error) => faults.push(FieldFault::new(format!("records[{index}]"), error.to_string())),
            }
        }
        if !faults.is_empty() {
            return Err(Error::invalid(faults));
        }
        let writing = Arc::clone(&state.writer).lock_owned().await;
        let batches = keys.chunks(BATCH_CHANGES_MAX).map(<[Change]>::to_vec).collect();
        let written = self.commit(state, writing, batches).await?;
        let deleted = written
            .iter()
            .flat_map(|batch| &batch.effects)
            .filter(|effect| matches!(effect, Effect::Deleted(_) | Effect::Removed { .. }))
            .count();
        Ok(DeleteSummary {
            revision: state.graph().revision(),
            deleted: deleted as u64,
            missing: (records.len() - deleted) as u64,
        })
    }

    /// Reads relationships as they are known now, or as they were known at a time, in microseconds since the epoch.
    ///
    /// # Errors
    /// An unknown realm; neither subject nor object given; a time of which no history is kept.
    pub async fn read_relationships(
        &self,
        realm: &str,
        query: &RelationshipQuery,
        after: Option<&Relationship>,
        size: usize,
        as_of_us: Option<i64>,
    ) -> Result<RelationshipPage, Error> {
        let state = self.realm(realm)?;
        if query.subject.is_none() && query.object.is_none() {
            return Err(Error::invalid_field("subject", "is empty, expected a subject, an object, or both"));
        }
        let graph = match as_of_us {
            Some(time_us) => state.relationships_at(time_us).await?.graph,
            None => state.graph(),
        };
        let size = size.clamp(1, PAGE_SIZE_MAX);
        let mut relationships = graph.relationships(query, after, size + 1);
        let has_more = relationships.len() > size;
        relationships.truncate(size);
        Ok(RelationshipPage { relationships, has_more, revision: graph.revision() })
    }

    /// The revision that decisions see now.
    ///
    /// # Errors
    /// An unknown realm.
    pub fn revision(&self, realm: &str) -> Result<Revision, Error> {
        Ok(self.realm(realm)?.graph().revision())
    }

    /// Writes batches durably and publishes them. Goes on to the end when nobody waits for it any more, so that a
    /// caller who gives up half-way leaves nothing durable that decisions don't see.
    async fn commit(
        &self,
        state: &Arc<RealmState>,
        writing: OwnedMutexGuard<()>,
        batches: Vec<Vec<Change>>,
    ) -> Result<Arc<Vec<Written>>, Error> {
        let (store, clock) = (Arc::clone(&self.store), Arc::clone(&self.clock));
        let work = tokio::spawn(commit(Arc::clone(state), store, clock, writing, batches));
        work.await.map_err(|error| {
            state.note_failed_write();
            Error::new(Kind::Internal, "WRITE_FAILED", format!("the write could not be finished: {error}"))
        })?
    }
}

/// Holds the writer's lock until what was written is published.
async fn commit(
    state: Arc<RealmState>,
    store: Arc<dyn RelationshipStore>,
    clock: Arc<dyn Clock>,
    _writing: OwnedMutexGuard<()>,
    batches: Vec<Vec<Change>>,
) -> Result<Arc<Vec<Written>>, Error> {
    state.catch_up(&*store, clock.now_us()).await?;
    let forgotten = forget_in_history(&state, &batches).await?;
    let policies = state.policies();
    let written =
        store.write(&state.name, batches, policies.realm.relations.remembered()).await.inspect_err(|error| {
            if !matches!(error, StoreError::Limit(_)) {
                state.note_failed_write();
            }
        })?;
    let written = Arc::new(written);
    let kept = keep_in_history(&state, &written, &forgotten, clock.now_us());
    let graph = async {
        let mut graph = Graph::clone(&state.graph());
        written.iter().for_each(|batch| graph.apply(batch));
        graph
    };
    let (kept, graph) = tokio::join!(kept, graph);
    // What the history does not hold, nobody may see.
    kept.inspect_err(|_| state.note_failed_write())?;
    state.publish(graph);
    Ok(written)
}

/// Forgets in the history what is about to be forgotten in the store, and names it.
async fn forget_in_history(state: &RealmState, batches: &[Vec<Change>]) -> Result<HashSet<RecordKey>, Error> {
    let forgotten = batches.iter().flatten().filter_map(|change| match change {
        Change::Forget(key) => Some(key.clone()),
        Change::Put(_) | Change::Delete(_) => None,
    });
    let keys: HashSet<RecordKey> = forgotten.collect();
    if let Some(archive) = state.archive().filter(|_| !keys.is_empty()) {
        archive.history.forget_records(keys.iter().cloned().collect()).await?;
        state.past.clear();
    }
    Ok(keys)
}

/// Keeps what batches did but for what is forgotten.
async fn keep_in_history(
    state: &RealmState,
    written: &Arc<Vec<Written>>,
    forgotten: &HashSet<RecordKey>,
    known_us: i64,
) -> Result<(), Error> {
    let Some(archive) = state.archive() else { return Ok(()) };
    if forgotten.is_empty() {
        return Ok(archive.history.append(Arc::clone(written), known_us).await?);
    }
    let is_kept = |effect: &Effect| !matches!(effect, Effect::Deleted(record) if forgotten.contains(&record.key));
    let kept = written.iter().map(|Written { revision, effects }| Written {
        revision: *revision,
        effects: effects.iter().filter(|effect| is_kept(effect)).cloned().collect(),
    });
    Ok(archive.history.append(Arc::new(kept.collect()), known_us).await?)
}

/// An import under way. Records are kept in batches; [`Import::finish`] keeps the rest.
#[derive(Debug)]
pub struct Import<'a> {
    app: &'a App,
    state: Arc<RealmState>,
    pending: Vec<Change>,
    seen: BTreeMap<Arc<str>, u64>,
    summary: ImportSummary,
}

impl Import<'_> {
    /// Takes records of one resource. A bad record is refused and doesn't stop the rest.
    ///
    /// # Errors
    /// A store that cannot write; what was acknowledged before stays.
    pub async fn push(&mut self, resource: &str, records: &[String]) -> Result<(), Error> {
        let loaded = self.state.policies();
        let relations = &loaded.realm.relations;
        let count = records.len() as u64;
        if !relations.knows_resource(resource) {
            self.summary.skipped += count;
            return Ok(());
        }
        let name: Arc<str> = resource.into();
        let seen = self.seen.entry(Arc::clone(&name)).or_default();
        let first = *seen;
        *seen += count;
        for (index, record) in (first..).zip(records) {
            let mapped = if record.len() > RECORD_BYTES_MAX {
                Err(format!("is longer than {RECORD_BYTES_MAX} bytes"))
            } else {
                relations.map(resource, record).map_err(|error| error.to_string()).and_then(|record| {
                    self.app.store.check(&record).map(|()| record).map_err(|error| error.to_string())
                })
            };
            match mapped {
                Ok(record) => {
                    self.summary.accepted += 1;
                    if relations.keeps(resource) {
                        self.pending.push(Change::Put(record));
                    }
                }
                Err(reason) => self.refuse(&name, index, reason),
            }
        }
        if self.pending.len() >= BATCH_CHANGES_MAX * BATCHES_A_FLUSH { self.flush().await } else { Ok(()) }
    }

    fn refuse(&mut self, resource: &Arc<str>, index: u64, reason: String) {
        self.summary.refused += 1;
        if self.summary.refusals.len() < REFUSALS_MAX {
            self.summary.refusals.push(Refusal { resource: Arc::clone(resource), index, reason });
        }
    }

    /// Keeps everything that was pushed and says what came of it.
    ///
    /// # Errors
    /// A store that cannot write.
    pub async fn finish(mut self) -> Result<ImportSummary, Error> {
        self.flush().await?;
        self.summary.revision = self.state.graph().revision();
        Ok(self.summary)
    }

    async fn flush(&mut self) -> Result<(), Error> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let mut pending = std::mem::take(&mut self.pending).into_iter();
        let mut batches = Vec::new();
        loop {
            let batch: Vec<Change> = pending.by_ref().take(BATCH_CHANGES_MAX).collect();
            if batch.is_empty() {
                break;
            }
            batches.push(batch);
        }
        let writing = Arc::clone(&self.state.writer).lock_owned().await;
        let written = self.app.commit(&self.state, writing, batches).await?;
        let effects = written.iter().flat_map(|batch| &batch.effects);
        self.summary.changed += effects.filter(|effect| **effect != Effect::Unchanged).count() as u64;
        Ok(())
    }
}
