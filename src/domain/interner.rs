//! Small numbers in place of names, so that a million students fit in memory.
//!
//! An [`Interner`] only ever grows: a number, once given, means the same entity for as long as any
//! snapshot of the graph lives. Entity types and relations have 16-bit numbers, entities 32-bit ones.

use std::{
    fmt,
    hash::BuildHasher as _,
    sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
};

use foldhash::fast::{FixedState, RandomState};
use hashbrown::{HashMap, HashTable};

/// The bits of an entity's number that say which shard it is in.
const SHARD_BITS: u32 = 6;
/// How many shards there are. A writer locks one of them at a time, for one new name.
const SHARDS: usize = 1 << SHARD_BITS;
/// The most entities of one shard.
const SHARD_ENTITIES_MAX: usize = 1 << (u32::BITS - SHARD_BITS);

/// An entity of a graph, in four bytes. Means the same in every clone of the graph and nothing in another graph.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// An entity type of a graph; means the same in every clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TypeId(pub(crate) u16);

/// A relation of a graph; means the same in every clone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelationId(pub(crate) u16);

impl NodeId {
    pub(crate) const FIRST: Self = Self(0);
    pub(crate) const LAST: Self = Self(u32::MAX);
}

impl TypeId {
    pub(crate) const FIRST: Self = Self(0);
    pub(crate) const LAST: Self = Self(u16::MAX);
}

impl RelationId {
    pub(crate) const FIRST: Self = Self(0);
    pub(crate) const LAST: Self = Self(u16::MAX);
    /// From the first to the last one.
    pub(crate) const ALL: (Self, Self) = (Self::FIRST, Self::LAST);
}

/// Gives numbers to entities, entity types and relations.
pub(crate) struct Interner {
    types: SharedNames,
    relations: SharedNames,
    shards: Box<[Shard]>,
    /// Keyed anew in each process: ids come from outside, and nobody may prepare a flood of collisions.
    in_shard: RandomState,
    /// The same in each process, so that the same writes give the same numbers.
    to_shard: FixedState,
}

/// One shard, on cache lines of its own: its lock is taken at every lookup.
#[repr(align(128))]
#[derive(Default)]
struct Shard(RwLock<Entities>);

/// The entities of one shard, by their place in it.
#[derive(Default)]
struct Entities {
    /// The places, found by type and id.
    places: HashTable<u32>,
    /// At each place, where the id ends in `text` (it starts where the one before ends), and the type.
    ends: Vec<(u32, u16)>,
    /// All ids, one after the other: an allocation for each would cost more than the id.
    text: String,
}

impl Interner {
    /// An interner that knows no name.
    pub(crate) fn new() -> Self {
        Self {
            types: SharedNames::default(),
            relations: SharedNames::default(),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            in_shard: RandomState::default(),
            to_shard: FixedState::default(),
        }
    }

    /// The entity types.
    pub(crate) fn types(&self) -> &SharedNames {
        &self.types
    }

    /// The relations.
    pub(crate) fn relations(&self) -> &SharedNames {
        &self.relations
    }

    /// The number of an entity, if it was ever given one.
    pub(crate) fn find(&self, entity_type: u16, id: &str) -> Option<u32> {
        let shard = self.shard_of(entity_type, id);
        let place = self.shards.get(shard)?.read().find(self.hash(entity_type, id), entity_type, id)?;
        Some(number(shard, place))
    }

    /// The number of an entity, given now if need be.
    ///
    /// `None` beyond 2^26 entities or 4 GiB of ids in one of the 64 shards: there is no number left.
    pub(crate) fn intern(&self, entity_type: u16, id: &str) -> Option<u32> {
        if let Some(found) = self.find(entity_type, id) {
            return Some(found);
        }
        let shard = self.shard_of(entity_type, id);
        let rehash = |entity_type, id: &str| self.hash(entity_type, id);
        let place = self.shards.get(shard)?.write().insert(entity_type, id, rehash)?;
        Some(number(shard, place))
    }

    /// Lends the type and the id of a number to `read`, under the shard's lock; `None` if this interner never gave it.
    pub(crate) fn read<T>(&self, number: u32, read: impl FnOnce(Option<(u16, &str)>) -> T) -> T {
        let entities = self.shards.get(number as usize % SHARDS).map(Shard::read);
        read(entities.as_ref().and_then(|entities| entities.at(number >> SHARD_BITS)))
    }

    /// How many entities have a number.
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.read().ends.len()).sum()
    }

    fn hash(&self, entity_type: u16, id: &str) -> u64 {
        self.in_shard.hash_one((entity_type, id))
    }

    fn shard_of(&self, entity_type: u16, id: &str) -> usize {
        let [byte, ..] = self.to_shard.hash_one((entity_type, id)).to_be_bytes();
        usize::from(byte) % SHARDS
    }
}

impl fmt::Debug for Interner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interner").field("entities", &self.len()).finish_non_exhaustive()
    }
}

/// INVARIANT: `place` is below [`SHARD_ENTITIES_MAX`] and `shard` below [`SHARDS`], so no bit is lost.
fn number(shard: usize, place: u32) -> u32 {
    (place << SHARD_BITS) | u32::try_from(shard).unwrap_or_default()
}

impl Shard {
    // What a lock guards is whole after every step, so one that a panic left behind is as good as ever.
    fn read(&self) -> RwLockReadGuard<'_, Entities> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Entities> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entities {
    fn find(&self, hash: u64, entity_type: u16, id: &str) -> Option<u32> {
        self.places.find(hash, |place| self.at(*place) == Some((entity_type, id))).copied()
    }

    fn insert(&mut self, entity_type: u16, id: &str, rehash: impl Fn(u16, &str) -> u64) -> Option<u32> {
        let hash = rehash(entity_type, id);
        // Another writer may have come first.
        if let Some(place) = self.find(hash, entity_type, id) {
            return Some(place);
        }
        if self.ends.len() >= SHARD_ENTITIES_MAX {
            return None;
        }
        let place = u32::try_from(self.ends.len()).ok()?;
        let end = u32::try_from(self.text.len().checked_add(id.len())?).ok()?;
        self.text.push_str(id);
        self.ends.push((end, entity_type));
        let Self { places, ends, text } = self;
        places.insert_unique(hash, place, |place| {
            entity_at(ends, text, *place).map_or(0, |(entity_type, id)| rehash(entity_type, id))
        });
        Some(place)
    }

    fn at(&self, place: u32) -> Option<(u16, &str)> {
        entity_at(&self.ends, &self.text, place)
    }
}

fn entity_at<'a>(ends: &[(u32, u16)], text: &'a str, place: u32) -> Option<(u16, &'a str)> {
    let place = place as usize;
    let (end, entity_type) = *ends.get(place)?;
    let start = match place.checked_sub(1) {
        Some(before) => ends.get(before)?.0,
        None => 0,
    };
    Some((entity_type, text.get(start as usize..end as usize)?))
}

/// The few names of one kind and their numbers, as they were at one time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    numbers: HashMap<Arc<str>, u16, RandomState>,
    names: Vec<Arc<str>>,
}

impl Names {
    /// The number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<u16> {
        self.numbers.get(name).copied()
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: u16) -> Option<&Arc<str>> {
        self.names.get(usize::from(number))
    }

    /// All numbers.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        (0..self.names.len()).filter_map(|number| u16::try_from(number).ok())
    }

    fn add(&mut self, name: &str) -> Option<u16> {
        let number = u16::try_from(self.names.len()).ok()?;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Some(number)
    }
}

/// The names of one kind that all snapshots share; each snapshot keeps the [`Names`] it needs, and reads without a lock.
#[derive(Default)]
pub(crate) struct SharedNames(RwLock<Arc<Names>>);

impl SharedNames {
    /// All names by now.
    pub(crate) fn latest(&self) -> Arc<Names> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The name of a number, empty if it was never given; `known` may be older than the number.
    pub(crate) fn name(&self, known: &Names, number: u16) -> Arc<str> {
        known.name(number).cloned().or_else(|| self.latest().name(number).cloned()).unwrap_or_default()
    }

    /// The number of a name, given now if need be; then `known` learns it.
    ///
    /// `None` beyond 65,536 names: there is no number left.
    pub(crate) fn intern(&self, known: &mut Arc<Names>, name: &str) -> Option<u16> {
        if let Some(number) = known.number(name) {
            return Some(number);
        }
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let number = match shared.number(name) {
            Some(number) => number,
            None => Arc::make_mut(&mut shared).add(name)?,
        };
        *known = Arc::clone(&shared);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn a_name_keeps_its_number_and_a_number_its_name() {
        let interner = Interner::new();
        let ids: Vec<String> = (0..5_000).map(|n| format!("id-{n}-é")).chain([String::new()]).collect();
        let given: Vec<u32> = ids.iter().map(|id| interner.intern(3, id).unwrap()).collect();
        for (id, number) in ids.iter().zip(&given) {
            assert_eq!(interner.find(3, id), Some(*number));
            assert_eq!(interner.intern(3, id), Some(*number));
            assert!(interner.read(*number, |named| named == Some((3, id))));
        }
        assert_eq!(interner.len(), ids.len());
    }

    #[test]
    fn the_same_id_of_another_type_is_another_entity() {
        let interner = Interner::new();
        assert_ne!(interner.intern(0, "1"), interner.intern(1, "1"));
        assert_eq!(interner.find(2, "1"), None);
    }

    #[test]
    fn looking_up_gives_no_number() {
        let interner = Interner::new();
        assert_eq!((interner.find(0, "1"), interner.len()), (None, 0));
        assert!(interner.read(0, |named| named.is_none()));
        assert!(interner.read(u32::MAX, |named| named.is_none()));
    }

    #[test]
    fn the_same_names_in_the_same_order_get_the_same_numbers() {
        let numbers = || {
            let interner = Interner::new();
            (0..500).map(|n| interner.intern(1, &n.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(numbers(), numbers());
    }

    #[test]
    fn writers_at_the_same_time_agree_on_numbers() {
        let interner = Interner::new();
        let all = || (0..2_000).map(|n| interner.intern(0, &n.to_string())).collect::<Vec<_>>();
        let (one, other) = thread::scope(|scope| {
            let (one, other) = (scope.spawn(all), scope.spawn(all));
            (one.join().unwrap(), other.join().unwrap())
        });
        assert_eq!(one, other);
        assert_eq!(interner.len(), 2_000);
    }

    #[test]
    fn snapshots_that_part_still_share_one_numbering_of_types() {
        let shared = SharedNames::default();
        let (mut one, mut other) = (shared.latest(), shared.latest());
        let school = shared.intern(&mut one, "School").unwrap();
        let student = shared.intern(&mut other, "Student").unwrap();
        assert_ne!(school, student);
        assert_eq!(shared.intern(&mut other, "School"), Some(school));
        assert_eq!((one.number("Student"), one.name(school).map(|name| &**name)), (None, Some("School")));
    }

    #[test]
    fn there_are_65_536_names_of_a_kind_and_no_more() {
        let shared = SharedNames::default();
        let mut known = shared.latest();
        // The table alone: filling the shared one would copy it 65,536 times.
        let names = Arc::make_mut(&mut known);
        for n in 0..=u16::MAX {
            assert_eq!(names.add(&n.to_string()), Some(n));
        }
        assert_eq!(names.add("one more"), None);
        assert_eq!(names.name(u16::MAX).map(|name| &**name), Some("65535"));
    }

    #[test]
    fn a_poisoned_lock_is_as_good_as_ever() {
        let interner = Interner::new();
        let number = interner.intern(0, "1").unwrap();
        let shard = interner.shards.get(number as usize % SHARDS).unwrap();
        thread::scope(|scope| {
            let panicking = scope.spawn(|| {
                let _guard = shard.write();
                std::panic::resume_unwind(Box::new("while the lock is held"));
            });
            assert!(panicking.join().is_err());
        });
        assert!(shard.0.is_poisoned());
        assert_eq!((interner.find(0, "1"), interner.intern(0, "1")), (Some(number), Some(number)));
    }
}
