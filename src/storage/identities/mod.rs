//! The identity table of one realm: who is behind the pseudonyms of its decision log, and each person's own key.
//!
//! In memory it is two maps in shards. On disk it is one file of sealed rows, written at its end, under a key of its own
//! file. To erase people, the rows that stay are written anew under a new key, and the old key is destroyed: then copies
//! of the old file, wherever they are, tell nothing.

mod disk;
mod erasing;
mod key_files;
mod rows;
#[cfg(test)]
mod tests;

use std::{
    io, mem,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use aws_lc_rs::rand::fill;

use self::{
    disk::{Disk, Loaded, Step},
    erasing::{Begun, ErasedRow},
    rows::Rows,
};
use crate::{
    app::ports::{BeforeGroup, Clock, Erasing, Identities, IdentityError},
    domain::{
        id::{DecisionId, EntityId, RealmName},
        identity::{Identity, IdentityMap},
        sealed_facts::{FactsKey, OpenError, each_once},
    },
};

/// The most identities of a realm: about 10 GB of memory. Every id that a caller names makes one.
pub const IDENTITIES_MAX: usize = 50_000_000;

/// An identity table.
#[derive(Debug)]
pub struct IdentityTable {
    people: IdentityMap,
    count: AtomicUsize,
    facts: FactsKey,
    clock: Arc<dyn Clock>,
    /// Not on disk yet. An identity is in here before anybody can find it.
    pending: Mutex<Vec<Arc<Identity>>>,
    erasing: Mutex<Vec<Begun>>,
    /// `None` in memory alone. Locked before `pending` and `erasing`.
    disk: Option<Mutex<Disk>>,
    /// Held while the table is written anew; locked before `disk`.
    rewriting: Mutex<()>,
}

impl IdentityTable {
    /// Opens the table of a realm below a data folder, which is made when it is not there. An erasure that was
    /// interrupted after its last decision is finished; others are left to [`Identities::erasing`].
    ///
    /// What an interrupted write left at the end is cut off and kept beside the table as `<table>.torn`.
    ///
    /// # Errors
    /// [`IdentityError::Unavailable`] when the folders cannot be made or read, [`IdentityError::Unreadable`] when the
    /// table is damaged in the middle, its key is missing, or it is missing itself although the realm has its key and a
    /// decision log.
    pub fn open(
        data_dir: &Path,
        realm: &RealmName,
        facts_key: &[u8; 32],
        clock: Arc<dyn Clock>,
    ) -> Result<Self, IdentityError> {
        let people = IdentityMap::default();
        let Loaded { disk, erasing } = Disk::open(data_dir, realm, &people)?;
        let count = AtomicUsize::new(people.len());
        let (facts, erasing) = (FactsKey::new(facts_key), Mutex::new(erasing));
        let (disk, pending, rewriting) = (Some(Mutex::new(disk)), Mutex::default(), Mutex::default());
        Ok(Self { people, count, facts, clock, pending, erasing, disk, rewriting })
    }

    /// A table that is gone with the process.
    pub fn in_memory(facts_key: &[u8; 32], clock: Arc<dyn Clock>) -> Self {
        Self {
            people: IdentityMap::default(),
            count: AtomicUsize::new(0),
            facts: FactsKey::new(facts_key),
            clock,
            pending: Mutex::default(),
            erasing: Mutex::default(),
            disk: None,
            rewriting: Mutex::default(),
        }
    }

    /// How many identities there are.
    pub fn len(&self) -> usize {
        self.people.len()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.people.is_empty()
    }

    fn create(&self, entity: EntityId) -> Result<Arc<Identity>, IdentityError> {
        if self.count.load(Relaxed) >= IDENTITIES_MAX {
            return Err(IdentityError::Unavailable(format!("it holds {IDENTITIES_MAX} identities already")));
        }
        let mut chance = [0; 48];
        let no_chance = |_| IdentityError::Unavailable("the operating system gave no random bytes".to_owned());
        fill(&mut chance).map_err(no_chance)?;
        let made = Arc::new(Identity::new(entity, &chance, self.clock.now_us()));
        self.count.fetch_add(1, Relaxed);
        if self.disk.is_some() {
            lock(&self.pending).push(Arc::clone(&made));
        }
        Ok(made)
    }

    fn forget(&self, identity: &Identity) {
        self.people.remove(identity);
        self.count.store(self.people.len(), Relaxed);
    }

    /// Writes what is pending, then these rows.
    fn write(&self, disk: &mut Disk, further: Rows) -> io::Result<()> {
        if disk.is_broken() {
            self.repair(disk)?;
        }
        let mut pending = mem::take(&mut *lock(&self.pending));
        let written = disk.append(&mut pending, further);
        if written.is_err() {
            // They were pending before whatever came meanwhile.
            let mut now = lock(&self.pending);
            pending.append(&mut now);
            *now = pending;
        }
        written
    }

    /// Writes the table anew under the same key, after a file that could not be made durable.
    fn repair(&self, disk: &mut Disk) -> io::Result<()> {
        let mut fresh = disk.begin_again()?;
        // Those that the log has noted, too: their key, which this table is under, is still to be destroyed.
        self.copy(&mut fresh, lock(&self.erasing).iter())?;
        disk.replace(fresh)
    }

    fn copy<'a>(&self, fresh: &mut disk::Fresh, mut erasing: impl Iterator<Item = &'a Begun>) -> io::Result<()> {
        let mut copied = Ok(());
        self.people.each(|people| {
            if copied.is_ok() {
                copied = people.iter().try_for_each(|person| fresh.person(person));
            }
        });
        copied?;
        erasing.try_for_each(|begun| fresh.erasing(begun))?;
        fresh.sync()
    }

    /// Writes the table anew without what was erased, under a new key, and destroys the old one. Others write to the
    /// old table meanwhile; what they wrote comes along in the end.
    fn rewrite(&self, disk: &Mutex<Disk>) -> io::Result<()> {
        let (mut fresh, erasing) = {
            let mut disk = lock(disk);
            let fresh = disk.begin_next_epoch()?;
            (fresh, lock(&self.erasing).clone())
        };
        let copied = self.copy(&mut fresh, erasing.iter().filter(|begun| !begun.is_noted));
        let mut disk = lock(disk);
        let since = disk.written_since();
        copied?;
        since.into_iter().try_for_each(|rows| fresh.frame(rows))?;
        disk.reach(Step::Copied)?;
        disk.replace(fresh)?;
        disk.destroy_older()?;
        let is_done = |begun: &Begun| begun.is_noted && erasing.contains(begun);
        lock(&self.erasing).retain(|begun| !is_done(begun));
        Ok(())
    }
}

impl BeforeGroup for IdentityTable {
    fn make_durable(&self) -> io::Result<()> {
        let Some(disk) = &self.disk else { return Ok(()) };
        // Whoever holds the disk may be writing what the caller relies on.
        let mut disk = lock(disk);
        if lock(&self.pending).is_empty() && !disk.is_broken() {
            return Ok(());
        }
        self.write(&mut disk, Rows::default())
    }
}

impl Identities for IdentityTable {
    fn identify(&self, person: &EntityId) -> Result<Arc<Identity>, IdentityError> {
        self.people.get_or_insert(person, |entity| self.create(entity))
    }

    fn known(&self, person: &EntityId) -> Option<Arc<Identity>> {
        self.people.get(person)
    }

    fn with_id(&self, id: &str) -> Vec<Arc<Identity>> {
        self.people.with_id(id)
    }

    fn person(&self, pseudonym: &str) -> Option<EntityId> {
        self.people.behind(pseudonym.parse().ok()?).map(|found| found.entity.clone())
    }

    fn seal(&self, id: DecisionId, people: Vec<Arc<Identity>>, text: &[u8]) -> Result<Arc<[u8]>, IdentityError> {
        let sealed = self.facts.seal(id, &each_once(people), text);
        sealed.map_err(|error| IdentityError::Unavailable(error.to_string()))
    }

    fn open(&self, id: DecisionId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.facts.open(id, sealed, |pseudonym| self.people.behind(pseudonym))
    }

    fn held(&self) -> Vec<Arc<Identity>> {
        let mut held = Vec::new();
        self.people.each(|people| {
            held.extend(people.iter().filter(|person| person.held_since_us().is_some()).map(Arc::clone));
        });
        held
    }

    fn set_hold(&self, people: &[Arc<Identity>], since_us: Option<i64>) -> Result<(), IdentityError> {
        let mut rows = Rows::default();
        for person in people {
            rows.hold(person.pseudonym, since_us);
        }
        // Not free before the new state counts: a table that is written anew has it then.
        let mut disk = self.disk.as_ref().map(lock);
        if let Some(disk) = &mut disk {
            self.write(disk, rows).map_err(|error| unavailable(&error))?;
        }
        for person in people {
            person.set_hold(since_us);
        }
        Ok(())
    }

    fn begin_erasure(
        &self,
        people: &[Arc<Identity>],
        basis: &Arc<str>,
        caller: &Arc<str>,
    ) -> Result<Erasing, IdentityError> {
        let row = |person: &Arc<Identity>| ErasedRow { entity: person.entity.clone(), pseudonym: person.pseudonym };
        let begun = Begun::new(people.iter().map(row).collect(), Arc::clone(basis), Arc::clone(caller));
        let erasing = begun.shown();
        let mut disk = self.disk.as_ref().map(lock);
        if let Some(disk) = &mut disk {
            let mut rows = Rows::default();
            rows.erasing(&begun);
            self.write(disk, rows).map_err(|error| unavailable(&error))?;
        }
        for person in people {
            self.forget(person);
        }
        lock(&self.erasing).push(begun);
        Ok(erasing)
    }

    fn erasing(&self) -> Vec<Erasing> {
        lock(&self.erasing).iter().map(Begun::shown).collect()
    }

    fn finish_erasure(&self, erasing: &Erasing) -> Result<(), IdentityError> {
        for begun in lock(&self.erasing).iter_mut().filter(|begun| begun.is(erasing)) {
            begun.is_noted = true;
        }
        let _alone = lock(&self.rewriting);
        // Whoever wrote the table before may have finished this one with its own.
        if lock(&self.erasing).iter().all(|begun| !begun.is(erasing)) {
            return Ok(());
        }
        if let Some(disk) = &self.disk {
            return self.rewrite(disk).map_err(|error| unavailable(&error));
        }
        lock(&self.erasing).retain(|begun| !begun.is_noted);
        Ok(())
    }
}

fn unavailable(error: &io::Error) -> IdentityError {
    IdentityError::Unavailable(error.to_string())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
