//! The block that is being filled: in memory, each attribute's hashes in the order in which they came.

use super::{
    positions::{PLACES, Positions},
    terms::{Attribute, Term},
};

/// Takes no further entry with so many terms: about 10 bytes each.
const TERMS_MAX: usize = 2 * 1024 * 1024;
/// In place of the offset of an entry that could not be read.
pub(in crate::storage::segment_log) const MISSING: u32 = u32::MAX;
/// The most bytes that a block spans in its file.
const SPAN_MAX: u64 = (MISSING - 1) as u64;

/// The hashes of one attribute, with the places of their entries.
#[derive(Clone, Debug, Default)]
pub(super) struct Column {
    pub hashes: Vec<u64>,
    pub places: Vec<u16>,
}

/// Sequence numbers whose entries cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::storage::segment_log) struct Lost {
    /// The first of them.
    pub first: u64,
    /// The last of them.
    pub last: u64,
    /// No lost entry's time is likely to be earlier, in microseconds since the epoch.
    pub min_us: i64,
    /// Nor later.
    pub max_us: i64,
}

/// An entry, as the index sees it.
#[derive(Clone, Copy, Debug)]
pub(in crate::storage::segment_log) struct Place {
    pub sequence: u64,
    /// Where its frame starts in the file.
    pub offset: u64,
    /// Where it ends.
    pub end: u64,
    pub time_us: i64,
}

/// A block that takes entries.
#[derive(Clone, Debug)]
pub(in crate::storage::segment_log) struct OpenBlock {
    /// The number of its segment.
    pub segment: u64,
    /// The sequence number of its first entry.
    pub first: u64,
    /// Where that starts in the file; offsets count from here.
    pub base: u64,
    /// Where its last entry ends.
    pub end: u64,
    /// Where the last entry that could be read starts.
    pub last: Option<u64>,
    /// Of each entry, [`MISSING`] of one that could not be read.
    pub offsets: Vec<u32>,
    /// The time of each entry; of a missing one, that of the one before it.
    pub times: Vec<i64>,
    /// The sequence numbers of events.
    pub events: Vec<u64>,
    entries_max: u32,
    columns: [Column; Attribute::ALL.len()],
    terms: usize,
}

impl OpenBlock {
    /// An empty block of at most this many entries, whose first has this sequence number and starts at `base`.
    pub(in crate::storage::segment_log) fn new(segment: u64, first: u64, base: u64, entries_max: u32) -> Self {
        Self {
            segment,
            first,
            base,
            end: base,
            last: None,
            offsets: Vec::new(),
            times: Vec::new(),
            events: Vec::new(),
            entries_max: entries_max.clamp(1, PLACES),
            columns: Default::default(),
            terms: 0,
        }
    }

    /// The sequence number that comes next.
    pub(in crate::storage::segment_log) fn next(&self) -> u64 {
        self.first + self.offsets.len() as u64
    }

    /// How many entries it has, missing ones too.
    pub(in crate::storage::segment_log) fn count(&self) -> u32 {
        u32::try_from(self.offsets.len()).unwrap_or(PLACES)
    }

    /// There is no room for an entry that ends at this offset.
    pub(in crate::storage::segment_log) fn is_full(&self, end: u64) -> bool {
        self.count() >= self.entries_max || self.terms >= TERMS_MAX || end - self.base > SPAN_MAX
    }

    /// Takes an entry behind all others, those between them being lost; returns its place for its terms.
    ///
    /// There has to be room for all of them.
    pub(in crate::storage::segment_log) fn push(&mut self, entry: Place) -> u16 {
        self.lose_until(entry.sequence);
        let place = u16::try_from(self.offsets.len()).unwrap_or(u16::MAX);
        self.offsets.push(u32::try_from(entry.offset - self.base).unwrap_or(MISSING));
        self.times.push(entry.time_us);
        self.end = entry.end;
        self.last = Some(entry.offset);
        place
    }

    /// The entries up to this sequence number are lost.
    pub(in crate::storage::segment_log) fn lose_until(&mut self, sequence: u64) {
        let time_us = self.times.last().copied().unwrap_or(i64::MIN);
        while self.next() < sequence && self.count() < self.entries_max {
            self.offsets.push(MISSING);
            self.times.push(time_us);
        }
    }

    /// Takes a term of the entry at this place. One that the entry has already is left out if it came last.
    pub(in crate::storage::segment_log) fn add(&mut self, place: u16, term: Term) {
        let Some(column) = self.columns.get_mut(usize::from(term.attribute.number()) - 1) else { return };
        let of_place = column.places.iter().rev().zip(column.hashes.iter().rev());
        // An entry with thousands of terms may keep some twice; that costs a little room and nothing else.
        if of_place.take(16).take_while(|(other, _)| **other == place).any(|(_, hash)| *hash == term.hash) {
            return;
        }
        column.hashes.push(term.hash);
        column.places.push(place);
        self.terms += 1;
    }

    /// The columns that hold something.
    pub(super) fn columns(&self) -> impl Iterator<Item = (Attribute, &Column)> {
        Attribute::ALL.into_iter().zip(&self.columns).filter(|(_, column)| !column.hashes.is_empty())
    }

    /// The places of entries that have at least one term of each list.
    pub(in crate::storage::segment_log) fn find(&self, conditions: &[Vec<Term>]) -> Positions {
        let mut found = Positions::first(self.count());
        for terms in conditions {
            let mut any = Positions::none();
            for term in terms {
                let Some(column) = self.columns.get(usize::from(term.attribute.number()) - 1) else { continue };
                let pairs = column.hashes.iter().zip(&column.places);
                pairs.filter(|(hash, _)| **hash == term.hash).for_each(|(_, place)| any.insert(*place));
            }
            found.keep(&any);
        }
        found
    }

    /// The earliest and the latest time.
    pub(in crate::storage::segment_log) fn times(&self) -> (i64, i64) {
        let read = || self.times.iter().zip(&self.offsets).filter(|(_, offset)| **offset != MISSING);
        let (min, max) = (read().map(|(time, _)| *time).min(), read().map(|(time, _)| *time).max());
        (min.unwrap_or(i64::MAX), max.unwrap_or(i64::MIN))
    }

    /// The runs of lost entries. Their times are guessed from those of the neighbours on both sides.
    pub(in crate::storage::segment_log) fn lost(&self) -> Vec<Lost> {
        let mut found: Vec<Lost> = Vec::new();
        for (at, _) in self.offsets.iter().enumerate().filter(|(_, offset)| **offset == MISSING) {
            let sequence = self.first + at as u64;
            match found.last_mut() {
                Some(run) if run.last + 1 == sequence => run.last = sequence,
                _ => found.push(Lost { first: sequence, last: sequence, min_us: i64::MIN, max_us: i64::MAX }),
            }
        }
        for run in &mut found {
            let at = |sequence: u64| usize::try_from(sequence - self.first).unwrap_or(usize::MAX);
            let (from, to) = (at(run.first), at(run.last) + 1);
            let before = self.times.get(from.saturating_sub(NEIGHBOURS)..from).unwrap_or_default();
            let after = self.times.get(to..self.times.len().min(to + NEIGHBOURS)).unwrap_or_default();
            run.min_us = before.iter().copied().min().unwrap_or(i64::MIN);
            run.max_us = after.iter().copied().max().unwrap_or(i64::MAX);
        }
        found
    }
}

/// How many entries on each side say when a lost one was.
const NEIGHBOURS: usize = 256;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn term(attribute: Attribute, hash: u64) -> Term {
        Term { attribute, hash }
    }

    pub(in super::super) fn entry(sequence: u64) -> Place {
        let time_us = i64::try_from(sequence).unwrap() * 10;
        Place { sequence, offset: 4096 + sequence * 100, end: 4196 + sequence * 100, time_us }
    }

    #[test]
    fn entries_are_found_by_all_conditions_together() {
        let mut block = OpenBlock::new(1, 5, entry(5).offset, 100);
        for sequence in 5..35 {
            let place = block.push(entry(sequence));
            block.add(place, term(Attribute::Client, sequence % 3));
            block.add(place, term(Attribute::Policy, sequence % 2));
            block.add(place, term(Attribute::Policy, sequence % 5 + 10));
        }
        let client = |hash| term(Attribute::Client, hash);
        let policy = |hash| term(Attribute::Policy, hash);
        for (conditions, matches) in [
            (vec![], (|_| true) as fn(u64) -> bool),
            (vec![vec![client(1)]], |sequence| sequence % 3 == 1),
            (vec![vec![client(1), client(2)], vec![policy(0)]], |sequence| sequence % 3 > 0 && sequence % 2 == 0),
            (vec![vec![policy(12)], vec![policy(1)]], |sequence| sequence % 5 == 2 && sequence % 2 == 1),
            (vec![vec![client(9)]], |_| false),
            (vec![vec![]], |_| false),
        ] {
            let found: Vec<_> = block.find(&conditions).ascending().map(|place| 5 + u64::from(place)).collect();
            assert_eq!(found, (5..35).filter(|sequence| matches(*sequence)).collect::<Vec<_>>(), "{conditions:?}");
        }
        assert_eq!((block.times(), block.next()), ((50, 340), 35));
    }

    #[test]
    fn a_block_is_full_by_entries_by_terms_and_by_bytes() {
        let mut block = OpenBlock::new(1, 1, 0, 2);
        assert!(!block.is_full(100) && block.is_full(u64::from(u32::MAX)));
        block.push(entry(1));
        assert!(!block.is_full(100));
        block.push(entry(2));
        assert!(block.is_full(100));
        let mut block = OpenBlock::new(1, 1, 0, 2);
        let place = block.push(entry(1));
        for hash in 0..TERMS_MAX as u64 {
            block.add(place, term(Attribute::Entity, hash));
        }
        assert!(block.is_full(100));
    }

    #[test]
    fn lost_entries_are_known_by_number_and_by_the_times_around_them() {
        let mut block = OpenBlock::new(1, 1, 0, 100);
        for sequence in [3, 4, 7, 8, 9] {
            block.push(entry(sequence));
        }
        block.lose_until(12);
        assert_eq!(block.next(), 12);
        assert_eq!(
            block.lost(),
            [
                Lost { first: 1, last: 2, min_us: i64::MIN, max_us: 90 },
                Lost { first: 5, last: 6, min_us: i64::MIN, max_us: 90 },
                Lost { first: 10, last: 11, min_us: i64::MIN, max_us: i64::MAX },
            ]
        );
        assert_eq!(block.times(), (30, 90));
    }

    #[test]
    fn a_term_that_comes_twice_is_kept_once() {
        let mut block = OpenBlock::new(1, 1, 0, 100);
        let place = block.push(entry(1));
        for hash in [1, 2, 1] {
            block.add(place, term(Attribute::Entity, hash));
        }
        assert_eq!(block.terms, 2);
    }
}
