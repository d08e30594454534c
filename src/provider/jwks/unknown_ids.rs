//! Remembers the key ids that were asked for and not there: who asks again, and for which it is settled.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use quick_cache::sync::Cache;

/// How many key ids are remembered; those that are asked for again stay longest.
const IDS_MAX: usize = 4096;

/// Key ids that are not in the set at hand. The ids themselves are not kept, as they are the token's sender's choice.
pub(super) struct UnknownIds {
    ids: Cache<u64, Unknown>,
    hasher: RandomState,
}

#[derive(Clone, Copy, Default)]
struct Unknown {
    /// How many requests asked for it since it was looked for last.
    asked: u32,
    was_looked_for: bool,
    /// Until then it counts as not there, in microseconds since the epoch.
    absent_until_us: i64,
}

impl UnknownIds {
    pub(super) fn new() -> Self {
        Self { ids: Cache::new(IDS_MAX), hasher: RandomState::new() }
    }

    /// It was looked for not long ago and not there.
    pub(super) fn is_absent(&self, id: &str, now_us: i64) -> bool {
        self.ids.get(&self.hasher.hash_one(id)).is_some_and(|known| now_us < known.absent_until_us)
    }

    /// A request asks for it.
    pub(super) fn note_asked(&self, id: &str) {
        let key = self.hasher.hash_one(id);
        let known = self.ids.get(&key).unwrap_or_default();
        self.ids.insert(key, Unknown { asked: known.asked.saturating_add(1), ..known });
    }

    /// Several requests ask for it, and it was never looked for.
    pub(super) fn is_wanted(&self, id: &str) -> bool {
        self.ids.get(&self.hasher.hash_one(id)).is_some_and(|known| known.asked > 1 && !known.was_looked_for)
    }

    /// It was looked for, or taken out of the set.
    pub(super) fn note_absent(&self, id: &str, until_us: i64) {
        let absent = Unknown { asked: 0, was_looked_for: true, absent_until_us: until_us };
        self.ids.insert(self.hasher.hash_one(id), absent);
    }
}

/// Shows how many ids there are, and none of them.
impl fmt::Debug for UnknownIds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnknownIds").field("len", &self.ids.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_that_several_ask_for_is_wanted_until_it_was_looked_for() {
        let ids = UnknownIds::new();
        ids.note_asked("a");
        assert!(!ids.is_wanted("a"));
        ids.note_asked("a");
        assert!(ids.is_wanted("a") && !ids.is_wanted("b"));
        ids.note_absent("a", 10);
        assert!(ids.is_absent("a", 9) && !ids.is_absent("a", 10) && !ids.is_absent("b", 9));
        ids.note_asked("a");
        ids.note_asked("a");
        assert!(!ids.is_wanted("a"), "it was looked for already");
    }

    #[test]
    fn a_flood_of_ids_takes_bounded_room_and_leaves_those_that_are_asked_for_again() {
        let ids = UnknownIds::new();
        for number in 0..20_000 {
            ids.note_asked(&format!("made up {number}"));
            ids.note_asked("honest");
        }
        assert!(ids.ids.len() <= IDS_MAX + IDS_MAX / 8, "{ids:?}");
        assert!(ids.is_wanted("honest"));
    }
}
