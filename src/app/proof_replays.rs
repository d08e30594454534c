//! Proofs of possession that were used, so that each is used for one call only (RFC 9449 section 11.1).
//!
//! A proof is remembered for as long as it holds, and none is forgotten earlier: when there is no room, further proofs are
//! refused. The memory ends with the process, and other processes do not share it.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    hash::BuildHasher,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use foldhash::fast::RandomState;

use crate::domain::dpop::{Proof, ProofId};

/// How many proofs are remembered at a time unless configured otherwise.
pub const PROOFS_MAX_DEFAULT: usize = 1_000_000;

/// How many parts the memory has, each with a lock of its own.
const SHARDS: usize = 64;

/// The proofs that were used and still hold.
pub struct ProofReplays {
    shards: Vec<Mutex<Shard>>,
    shard_proofs_max: usize,
    /// Spreads proofs over the shards in a way that no sender can foresee.
    spread: RandomState,
    calls: AtomicU64,
}

/// One call of a PEP, which it makes for one request of its own client: however many questions it has, they may show the
/// same proof, which counts as used once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call(u64);

/// Why a proof that holds cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Another call used it.
    Replayed,
    /// There is no room to remember it.
    Full,
}

#[derive(Default)]
struct Shard {
    /// By which call each proof was used.
    used: HashMap<ProofId, u64, RandomState>,
    /// The same proofs by the last second in which they hold.
    ends: BTreeMap<i64, Vec<ProofId>>,
    /// Proofs that ended before this second are forgotten.
    forgotten_before: i64,
}

impl ProofReplays {
    /// Room for about `proofs_max` proofs at a time; with 0 every proof is refused.
    pub fn new(proofs_max: usize) -> Self {
        let shards = (0..SHARDS).map(|_| Mutex::default()).collect();
        Self {
            shards,
            shard_proofs_max: proofs_max.div_ceil(SHARDS),
            spread: RandomState::default(),
            calls: AtomicU64::new(0),
        }
    }

    /// Another call than all before.
    pub(crate) fn call(&self) -> Call {
        Call(self.calls.fetch_add(1, Ordering::Relaxed))
    }

    /// Uses a proof, which was found to hold at `now_seconds` since the epoch, for a call.
    ///
    /// # Errors
    /// [`Refused`]; then the call's question must be refused.
    pub(crate) fn take(&self, proof: &Proof, call: Call, now_seconds: i64) -> Result<(), Refused> {
        let shard = usize::try_from(self.spread.hash_one(proof.id) % SHARDS as u64).unwrap_or_default();
        let shard = self.shards.get(shard).ok_or(Refused::Full)?;
        // What a panic leaves behind is whole enough: at worst a proof that counts as used ends with the process.
        let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
        shard.forget_before(now_seconds);
        shard.take(proof, call, self.shard_proofs_max)
    }

    /// Marks a proof as used before, by a call of elsewhere.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn remember(&self, proof: &Proof, now_seconds: i64) -> Result<(), Refused> {
        self.take(proof, self.call(), now_seconds)
    }

    /// How many proofs are remembered.
    pub fn len(&self) -> usize {
        let sizes = self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).used.len());
        sizes.sum()
    }

    /// No proof is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Shard {
    fn take(&mut self, proof: &Proof, call: Call, proofs_max: usize) -> Result<(), Refused> {
        let has_room = self.used.len() < proofs_max;
        match self.used.entry(proof.id) {
            Entry::Occupied(used) if *used.get() == call.0 => Ok(()),
            Entry::Occupied(_) => Err(Refused::Replayed),
            // It ended between its check and now, and may be one that was forgotten.
            Entry::Vacant(_) if proof.until_seconds < self.forgotten_before => Err(Refused::Replayed),
            Entry::Vacant(_) if !has_room => Err(Refused::Full),
            Entry::Vacant(unused) => {
                unused.insert(call.0);
                self.ends.entry(proof.until_seconds).or_default().push(proof.id);
                Ok(())
            }
        }
    }

    /// Forgets the proofs that do not hold any more.
    fn forget_before(&mut self, now_seconds: i64) {
        self.forgotten_before = self.forgotten_before.max(now_seconds);
        while let Some(first) = self.ends.first_entry().filter(|first| *first.key() < now_seconds) {
            for id in first.remove() {
                self.used.remove(&id);
            }
        }
    }
}

impl Default for ProofReplays {
    fn default() -> Self {
        Self::new(PROOFS_MAX_DEFAULT)
    }
}

/// Shows how many proofs there are, and none of them.
impl fmt::Debug for ProofReplays {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProofReplays").field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, Barrier},
        thread,
    };

    use super::*;

    fn proof(jti: impl std::fmt::Display, until_seconds: i64) -> Proof {
        Proof { id: ProofId::new(&[7; 32], &format!("{jti}")), until_seconds }
    }

    #[test]
    fn a_proof_is_used_for_one_call() {
        let replays = ProofReplays::default();
        let (one, other) = (replays.call(), replays.call());
        assert_eq!(replays.take(&proof("a", 90), one, 0), Ok(()));
        assert_eq!(replays.take(&proof("a", 90), one, 0), Ok(()));
        assert_eq!(replays.take(&proof("a", 90), other, 0), Err(Refused::Replayed));
        assert_eq!(replays.take(&proof("b", 90), other, 0), Ok(()));
        let of_other_key = Proof { id: ProofId::new(&[8; 32], "a"), until_seconds: 90 };
        assert_eq!(replays.take(&of_other_key, other, 0), Ok(()));
        assert_eq!(format!("{replays:?}"), "ProofReplays { len: 3, .. }");
    }

    #[test]
    fn a_proof_is_remembered_as_long_as_it_holds() {
        let replays = ProofReplays::new(64);
        assert_eq!(replays.take(&proof("a", 90), replays.call(), 0), Ok(()));
        assert_eq!(replays.take(&proof("a", 90), replays.call(), 90), Err(Refused::Replayed));
        for jti in 0..1_000 {
            let _ = replays.take(&proof(jti, 91), replays.call(), 91);
        }
        // Whose check was a moment ago, before that proof was forgotten for all those.
        assert_eq!(replays.take(&proof("a", 90), replays.call(), 90), Err(Refused::Replayed));
    }

    #[test]
    fn without_room_proofs_are_refused_and_none_is_forgotten() {
        let replays = ProofReplays::new(640);
        let taken: Vec<_> = (0..2_000).filter(|jti| replays.take(&proof(jti, 90), replays.call(), 0).is_ok()).collect();
        assert!((320..=640).contains(&taken.len()), "{}", taken.len());
        for jti in 0..2_000 {
            let expected = if taken.contains(&jti) { Refused::Replayed } else { Refused::Full };
            assert_eq!(replays.take(&proof(jti, 90), replays.call(), 90), Err(expected), "{jti}");
        }
        assert_eq!(replays.take(&proof("new", 200), replays.call(), 91), Ok(()));
        assert_eq!(ProofReplays::new(0).take(&proof("a", 90), replays.call(), 0), Err(Refused::Full));
    }

    #[test]
    fn of_many_at_once_one_uses_a_proof() {
        let replays = Arc::new(ProofReplays::default());
        for jti in 0..50 {
            let barrier = Arc::new(Barrier::new(4));
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    let (replays, barrier) = (Arc::clone(&replays), Arc::clone(&barrier));
                    thread::spawn(move || {
                        barrier.wait();
                        replays.take(&proof(jti, 90), replays.call(), 0).is_ok()
                    })
                })
                .collect();
            let winners = threads.into_iter().filter_map(|thread| thread.join().ok()).filter(|is_taken| *is_taken);
            assert_eq!(winners.count(), 1);
        }
    }
}
