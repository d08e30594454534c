//! People of a log that is gone with the test: an identity table in memory whose disk a test may break.

use std::{
    convert::Infallible,
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use super::{
    people::People,
    ports::{BeforeGroup, Erasing, Identities, IdentityError},
};
use crate::domain::{
    id::{DecisionId, EntityId},
    identity::{Identity, IdentityMap},
    mask::Mask,
    pseudonym::PseudonymKey,
    sealed_facts::{FactsKey, OpenError, each_once},
};

/// An identity table in memory. Pseudonyms are numbered in the order of their making.
#[derive(Debug)]
pub(crate) struct TestIdentities {
    people: IdentityMap,
    facts: FactsKey,
    made: AtomicU64,
    erasing: Mutex<Vec<Erasing>>,
    /// Holds and erasures fail.
    pub(crate) is_failing: AtomicBool,
}

impl Default for TestIdentities {
    fn default() -> Self {
        Self {
            people: IdentityMap::default(),
            facts: FactsKey::new(&[7; 32]),
            made: AtomicU64::new(0),
            erasing: Mutex::default(),
            is_failing: AtomicBool::new(false),
        }
    }
}

/// People of nobody yet, all of whose fields are kept.
pub(crate) fn people() -> People {
    let identities = Arc::new(TestIdentities::default());
    People { identities, hashes: PseudonymKey::new([7; 32]), mask: Mask::default() }
}

impl TestIdentities {
    fn works(&self) -> Result<(), IdentityError> {
        let failed = || IdentityError::Unavailable("the disk is gone".to_owned());
        if self.is_failing.load(Relaxed) { Err(failed()) } else { Ok(()) }
    }
}

impl BeforeGroup for TestIdentities {
    fn make_durable(&self) -> io::Result<()> {
        Ok(())
    }
}

impl Identities for TestIdentities {
    fn identify(&self, person: &EntityId) -> Result<Arc<Identity>, IdentityError> {
        let make = |entity| {
            let mut chance = [0x5a; 48];
            chance[..8].copy_from_slice(&self.made.fetch_add(1, Relaxed).to_be_bytes());
            Ok::<_, Infallible>(Arc::new(Identity::new(entity, &chance, 0)))
        };
        let Ok(identity) = self.people.get_or_insert(person, make);
        Ok(identity)
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
        Ok(self.facts.seal(id, &each_once(people), text).unwrap())
    }

    fn open(&self, id: DecisionId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        self.facts.open(id, sealed, |pseudonym| self.people.behind(pseudonym))
    }

    fn held(&self) -> Vec<Arc<Identity>> {
        let mut held = Vec::new();
        self.people.each(|people| held.extend(people.iter().filter(|one| one.held_since_us().is_some()).cloned()));
        held
    }

    fn set_hold(&self, people: &[Arc<Identity>], since_us: Option<i64>) -> Result<(), IdentityError> {
        self.works()?;
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
        self.works()?;
        for person in people {
            self.people.remove(person);
        }
        let erasing = Erasing {
            people: people.iter().map(|person| person.entity.clone()).collect(),
            pseudonyms: people.iter().map(|person| person.pseudonym).collect(),
            basis: Arc::clone(basis),
            caller: Arc::clone(caller),
        };
        self.erasing.lock().unwrap().push(erasing.clone());
        Ok(erasing)
    }

    fn erasing(&self) -> Vec<Erasing> {
        self.erasing.lock().unwrap().clone()
    }

    fn finish_erasure(&self, erasing: &Erasing) -> Result<(), IdentityError> {
        self.works()?;
        self.erasing.lock().unwrap().retain(|begun| begun != erasing);
        Ok(())
    }
}
