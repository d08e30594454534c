//! The people of a decision log: a random stand-in for each of them, and a key of its own.
//!
//! A pseudonym is drawn at random and kept in a table; nothing that is known of a person leads to it. When the row of the
//! table is gone, with the key in it, nobody can tell any more whom the log was about.

use std::{
    fmt,
    hash::BuildHasher as _,
    str::FromStr,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
};

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::id::EntityId;

/// How many shards there are in each direction; a writer locks one of each.
const SHARDS: usize = 64;

/// What stands for a person in the log: 128 random bits, shown as 32 lower-case hexadecimal characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pseudonym(pub [u8; 16]);

impl Pseudonym {
    /// Stands for nobody: no table gives it out.
    pub const NOBODY: Self = Self([0; 16]);

    /// The text.
    pub fn text(self) -> Arc<str> {
        let mut text = String::with_capacity(32);
        for byte in self.0 {
            text.push(hexadecimal(byte >> 4));
            text.push(hexadecimal(byte & 0x0f));
        }
        text.into()
    }
}

fn hexadecimal(digit: u8) -> char {
    char::from(if digit < 10 { b'0' + digit } else { b'a' - 10 + digit })
}

impl fmt::Display for Pseudonym {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The text is no pseudonym.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is no pseudonym, expected 32 of 0-9 and a-f")]
pub struct PseudonymError;

impl FromStr for Pseudonym {
    type Err = PseudonymError;

    fn from_str(text: &str) -> Result<Self, PseudonymError> {
        let is_spelled_so = text.len() == 32 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let number = u128::from_str_radix(text, 16).ok().filter(|_| is_spelled_so).ok_or(PseudonymError)?;
        Ok(Self(number.to_be_bytes()))
    }
}

/// A row of the identity table: whoever has it can tell who is behind a pseudonym, and open what is sealed for it.
pub struct Identity {
    /// The person, or a resource that is about people.
    pub entity: EntityId,
    /// What stands for it.
    pub pseudonym: Pseudonym,
    /// Its own key.
    pub key: [u8; 32],
    /// When it was first seen, in microseconds since the epoch.
    pub created_us: i64,
    /// Since when it is under legal hold; 0 when it is not.
    held_since_us: AtomicI64,
}

/// Shows the pseudonym, which is all that may be seen.
impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("pseudonym", &self.pseudonym).finish_non_exhaustive()
    }
}

impl Identity {
    /// A new row; `chance` are 48 random bytes, for pseudonym and key.
    pub fn new(entity: EntityId, chance: &[u8; 48], created_us: i64) -> Self {
        let (mut pseudonym, mut key) = ([0; 16], [0; 32]);
        if let Some((first, rest)) = chance.split_first_chunk() {
            pseudonym = *first;
            key.copy_from_slice(rest);
        }
        Self::restored(entity, Pseudonym(pseudonym), key, created_us, None)
    }

    /// A row as it was kept.
    pub fn restored(
        entity: EntityId,
        pseudonym: Pseudonym,
        key: [u8; 32],
        created_us: i64,
        held_since_us: Option<i64>,
    ) -> Self {
        let held_since_us = AtomicI64::new(held_since_us.unwrap_or(0));
        Self { entity, pseudonym, key, created_us, held_since_us }
    }

    /// Since when it is under legal hold, in microseconds since the epoch.
    pub fn held_since_us(&self) -> Option<i64> {
        Some(self.held_since_us.load(Relaxed)).filter(|since| *since != 0)
    }

    /// Holds it, or lets it go.
    pub fn set_hold(&self, since_us: Option<i64>) {
        self.held_since_us.store(since_us.unwrap_or(0), Relaxed);
    }
}

type Shard = RwLock<HashTable<Arc<Identity>>>;

/// Identities, found by person and by pseudonym. Readers and writers meet only within a shard.
pub struct IdentityMap {
    of_entities: Box<[Shard]>,
    of_pseudonyms: Box<[Shard]>,
    /// The entity types there are, so that each is kept once.
    types: RwLock<Vec<Arc<str>>>,
    /// Ids come from outside, and nobody may prepare a flood of collisions.
    hasher: RandomState,
}

impl Default for IdentityMap {
    fn default() -> Self {
        let shards = || (0..SHARDS).map(|_| Shard::default()).collect();
        let (of_entities, of_pseudonyms) = (shards(), shards());
        Self { of_entities, of_pseudonyms, types: RwLock::default(), hasher: RandomState::default() }
    }
}

/// Shows how many there are, and none of them.
impl fmt::Debug for IdentityMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdentityMap").field("len", &self.len()).finish_non_exhaustive()
    }
}

impl IdentityMap {
    /// The identity of an entity.
    pub fn get(&self, entity: &EntityId) -> Option<Arc<Identity>> {
        self.find(&entity.entity_type, &entity.id)
    }

    /// The identity behind a pseudonym.
    pub fn behind(&self, pseudonym: Pseudonym) -> Option<Arc<Identity>> {
        let hash = hash_of(pseudonym);
        read(shard(&self.of_pseudonyms, hash)?).find(hash, |found| found.pseudonym == pseudonym).cloned()
    }

    /// The identities with this id, of whatever type.
    pub fn with_id(&self, id: &str) -> Vec<Arc<Identity>> {
        let types = read(&self.types).clone();
        types.iter().filter_map(|entity_type| self.find(entity_type, id)).collect()
    }

    /// The identity of an entity, made when there is none. Nobody finds it before `make` has returned.
    ///
    /// # Errors
    /// Those of `make`; then there is none.
    pub fn get_or_insert<E>(
        &self,
        entity: &EntityId,
        make: impl FnOnce(EntityId) -> Result<Arc<Identity>, E>,
    ) -> Result<Arc<Identity>, E> {
        if let Some(found) = self.get(entity) {
            return Ok(found);
        }
        let entity = EntityId { entity_type: self.shared_type(&entity.entity_type), id: Arc::clone(&entity.id) };
        let hash = self.hash_of_entity(&entity.entity_type, &entity.id);
        let Some(shard) = shard(&self.of_entities, hash) else { return make(entity) };
        let mut shard = write(shard);
        if let Some(found) = shard.find(hash, |found| found.entity == entity) {
            return Ok(Arc::clone(found));
        }
        let made = make(entity)?;
        shard.insert_unique(hash, Arc::clone(&made), |other| self.rehash(other));
        self.insert_pseudonym(Arc::clone(&made));
        Ok(made)
    }

    /// Takes in an identity as it was kept, in place of one of the same entity.
    pub fn insert(&self, identity: Identity) {
        let entity_type = self.shared_type(&identity.entity.entity_type);
        let entity = EntityId { entity_type, id: Arc::clone(&identity.entity.id) };
        let identity = Arc::new(Identity { entity, ..identity });
        if let Some(earlier) = self.get(&identity.entity) {
            self.remove(&earlier);
        }
        let hash = self.rehash(&identity);
        if let Some(shard) = shard(&self.of_entities, hash) {
            write(shard).insert_unique(hash, Arc::clone(&identity), |other| self.rehash(other));
        }
        self.insert_pseudonym(identity);
    }

    /// Forgets an identity; of its entity a new one can be made.
    pub fn remove(&self, identity: &Identity) {
        let is_it = |found: &Arc<Identity>| found.pseudonym == identity.pseudonym;
        for (shards, hash) in
            [(&self.of_entities, self.rehash(identity)), (&self.of_pseudonyms, hash_of(identity.pseudonym))]
        {
            if let Some(shard) = shard(shards, hash)
                && let Ok(found) = write(shard).find_entry(hash, is_it)
            {
                let _removed = found.remove();
            }
        }
    }

    /// All identities, shard by shard: those that come meanwhile may be among them or not.
    pub fn each(&self, mut each: impl FnMut(&[Arc<Identity>])) {
        for shard in &self.of_entities {
            let there: Vec<_> = read(shard).iter().map(Arc::clone).collect();
            each(&there);
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.of_entities.iter().map(|shard| read(shard).len()).sum()
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn find(&self, entity_type: &str, id: &str) -> Option<Arc<Identity>> {
        let hash = self.hash_of_entity(entity_type, id);
        let is_it = |found: &Arc<Identity>| *found.entity.id == *id && *found.entity.entity_type == *entity_type;
        read(shard(&self.of_entities, hash)?).find(hash, is_it).cloned()
    }

    fn insert_pseudonym(&self, identity: Arc<Identity>) {
        let hash = hash_of(identity.pseudonym);
        if let Some(shard) = shard(&self.of_pseudonyms, hash) {
            write(shard).insert_unique(hash, identity, |other| hash_of(other.pseudonym));
        }
    }

    fn shared_type(&self, name: &Arc<str>) -> Arc<str> {
        if let Some(known) = read(&self.types).iter().find(|known| *known == name) {
            return Arc::clone(known);
        }
        let mut types = write(&self.types);
        if !types.contains(name) {
            types.push(Arc::clone(name));
        }
        Arc::clone(name)
    }

    fn hash_of_entity(&self, entity_type: &str, id: &str) -> u64 {
        self.hasher.hash_one((entity_type, id))
    }

    fn rehash(&self, identity: &Identity) -> u64 {
        self.hash_of_entity(&identity.entity.entity_type, &identity.entity.id)
    }
}

/// Pseudonyms are random already.
fn hash_of(pseudonym: Pseudonym) -> u64 {
    pseudonym.0.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The shard of a hash: by bits that the table within doesn't use first.
fn shard(shards: &[Shard], hash: u64) -> Option<&Shard> {
    usize::try_from((hash >> 40) % SHARDS as u64).ok().and_then(|index| shards.get(index))
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn student(id: &str) -> EntityId {
        EntityId::new("Student", id)
    }

    /// A row with a pseudonym of these bytes.
    fn made(byte: u8) -> impl FnOnce(EntityId) -> Result<Arc<Identity>, Infallible> {
        move |entity| Ok(Arc::new(Identity::new(entity, &[byte; 48], 5)))
    }

    fn insert(map: &IdentityMap, entity: &EntityId, byte: u8) -> Arc<Identity> {
        map.get_or_insert(entity, made(byte)).unwrap()
    }

    #[test]
    fn a_pseudonym_is_spelled_in_one_way() {
        let pseudonym = Pseudonym([0x0f, 0xa0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 0xff]);
        let text = pseudonym.text();
        assert_eq!(&*text, "0fa0010203040506070809".to_owned() + "0a0b0c0dff");
        assert_eq!(text.parse(), Ok(pseudonym));
        let upper = text.to_uppercase();
        for wrong in ["", "0", &*upper, &format!("+{}", text.get(1..).unwrap()), &format!("{text}0"), &"é".repeat(16)]
        {
            assert_eq!(wrong.parse::<Pseudonym>(), Err(PseudonymError), "{wrong}");
        }
    }

    #[test]
    fn a_person_has_one_identity_and_is_found_from_both_sides() {
        let map = IdentityMap::default();
        let first = insert(&map, &student("1"), 7);
        assert!(Arc::ptr_eq(&first, &insert(&map, &student("1"), 8)));
        assert!(Arc::ptr_eq(&first, &map.get(&student("1")).unwrap()));
        assert!(Arc::ptr_eq(&first, &map.behind(Pseudonym([7; 16])).unwrap()));
        assert!(map.behind(Pseudonym([8; 16])).is_none() && map.get(&student("2")).is_none());
        assert!(map.get(&EntityId::new("Staff", "1")).is_none(), "another type is another person");
        insert(&map, &EntityId::new("Staff", "1"), 9);
        let of_both: Vec<_> = map.with_id("1").iter().map(|found| found.pseudonym.0[0]).collect();
        assert_eq!(of_both, [7, 9]);
    }

    #[test]
    fn who_was_removed_comes_back_as_somebody_else() {
        let map = IdentityMap::default();
        let first = insert(&map, &student("1"), 7);
        map.remove(&first);
        assert!(map.is_empty() && map.behind(first.pseudonym).is_none());
        map.remove(&first);
        let second = insert(&map, &student("1"), 8);
        map.remove(&first);
        assert!(Arc::ptr_eq(&second, &map.get(&student("1")).unwrap()), "the earlier one is not this one");
    }

    #[test]
    fn what_was_kept_takes_the_place_of_what_is_there() {
        let map = IdentityMap::default();
        insert(&map, &student("1"), 7);
        map.insert(Identity::restored(student("1"), Pseudonym([8; 16]), [3; 32], 1, Some(9)));
        assert_eq!(map.len(), 1);
        let found = map.get(&student("1")).unwrap();
        assert_eq!((found.pseudonym.0, found.held_since_us()), ([8; 16], Some(9)));
        assert!(map.behind(Pseudonym([7; 16])).is_none());
    }

    #[test]
    fn threads_that_name_the_same_people_agree() {
        let map = IdentityMap::default();
        let name_all = |thread: u8| -> Vec<Pseudonym> {
            let people = (0..500_u32).map(|number| student(&number.to_string()));
            let named = people.enumerate().map(|(index, person)| {
                let mut chance = [thread; 48];
                chance[..8].copy_from_slice(&(index as u64).to_be_bytes());
                let make = |entity| Ok::<_, Infallible>(Arc::new(Identity::new(entity, &chance, 0)));
                map.get_or_insert(&person, make).unwrap().pseudonym
            });
            named.collect()
        };
        let named: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..5).map(|thread| scope.spawn(move || name_all(thread))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(named.iter().all(|pseudonyms| *pseudonyms == named[0]));
        let mut count = 0;
        map.each(|shard| count += shard.len());
        assert_eq!((count, map.len()), (500, 500));
    }

    #[test]
    fn neither_person_nor_key_is_shown() {
        let map = IdentityMap::default();
        let shown = format!("{:?} {map:?}", insert(&map, &student("604822"), 7));
        assert!(
            !shown.contains("604822") && !shown.contains("7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7"),
            "{shown}"
        );
    }
}
