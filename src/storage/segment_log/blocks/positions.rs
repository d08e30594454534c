//! Sets of places within a block, and the bytes in which they are kept.

use crate::domain::codec::{Reader, Writer};

/// How many entries a block may have: places are 16 bits.
pub(in crate::storage::segment_log) const PLACES: u32 = 65_536;
const WORDS: usize = 1024;
/// How a set is kept: the distances between its places, or a bit for each place.
const DISTANCES: u8 = 1;
const BITS: u8 = 2;

/// A set of places in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::storage::segment_log) struct Positions(Box<[u64]>);

impl Positions {
    /// No place.
    pub(in crate::storage::segment_log) fn none() -> Self {
        Self(vec![0; WORDS].into_boxed_slice())
    }

    /// The first so many places.
    pub(in crate::storage::segment_log) fn first(count: u32) -> Self {
        let bits_of = |word: usize| {
            let bits = u64::from(count).saturating_sub(word as u64 * 64).min(64);
            if bits == 64 { u64::MAX } else { (1 << bits) - 1 }
        };
        Self((0..WORDS).map(bits_of).collect())
    }

    /// Takes a place in.
    pub(in crate::storage::segment_log) fn insert(&mut self, place: u16) {
        if let Some(word) = self.0.get_mut(usize::from(place) / 64) {
            *word |= 1 << (place % 64);
        }
    }

    /// Keeps what the other set has too.
    pub(in crate::storage::segment_log) fn keep(&mut self, other: &Self) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    /// Holds no place.
    pub(in crate::storage::segment_log) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The places, lowest first.
    pub(in crate::storage::segment_log) fn ascending(&self) -> impl Iterator<Item = u16> {
        let words = self.0.iter().zip(0_u16..);
        words.flat_map(|(word, at)| Bits(*word).map(move |bit| at * 64 + bit))
    }

    /// The places, highest first.
    pub(in crate::storage::segment_log) fn descending(&self) -> impl Iterator<Item = u16> {
        let words = self.0.iter().rev().zip((0..1024_u16).rev());
        words.flat_map(|(word, at)| Bits(word.reverse_bits()).map(move |bit| at * 64 + 63 - bit))
    }

    /// The bytes of a set whose places come in rising order: at most 8 KiB.
    pub(in crate::storage::segment_log) fn encode(places: &[u16]) -> Vec<u8> {
        let mut out = Writer::with_capacity(places.len().min(WORDS * 8) + 4);
        out.byte(DISTANCES);
        let mut next = 0;
        for place in places {
            out.u64(u64::from(*place).saturating_sub(next));
            next = u64::from(*place) + 1;
            if out.len() > WORDS * 8 {
                return Self::encode_bits(places);
            }
        }
        out.into_bytes()
    }

    fn encode_bits(places: &[u16]) -> Vec<u8> {
        let mut set = Self::none();
        for place in places {
            set.insert(*place);
        }
        let mut bytes = Vec::with_capacity(WORDS * 8 + 1);
        bytes.push(BITS);
        bytes.extend(set.0.iter().flat_map(|word| word.to_le_bytes()));
        bytes
    }

    /// Takes in the places of these bytes; `None` when they are not the bytes of a set.
    pub(in crate::storage::segment_log) fn add_encoded(&mut self, bytes: &[u8]) -> Option<()> {
        let (form, rest) = bytes.split_first()?;
        match *form {
            BITS if rest.len() == WORDS * 8 => {
                for (word, bytes) in self.0.iter_mut().zip(rest.as_chunks::<8>().0) {
                    *word |= u64::from_le_bytes(*bytes);
                }
            }
            DISTANCES => {
                let mut input = Reader::new(rest);
                let mut next = 0_u64;
                while !input.rest().is_empty() {
                    let place = next.checked_add(input.u64().ok()?)?;
                    self.insert(u16::try_from(place).ok()?);
                    next = place + 1;
                }
            }
            _ => return None,
        }
        Some(())
    }
}

/// The numbers of the bits that are set, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        let bit = u16::try_from(self.0.trailing_zeros()).ok().filter(|bit| *bit < 64)?;
        self.0 &= self.0 - 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(places: &[u16]) -> Positions {
        let mut set = Positions::none();
        for place in places {
            set.insert(*place);
        }
        set
    }

    #[test]
    fn the_first_places_are_counted_from_zero() {
        for count in [0, 1, 63, 64, 65, 1000, 65_535, 65_536] {
            let set = Positions::first(count);
            assert!(set.ascending().map(u32::from).eq(0..count), "{count}");
            assert!(set.descending().map(u32::from).eq((0..count).rev()), "{count}");
        }
    }

    #[test]
    fn no_set_takes_more_than_a_bit_a_place() {
        for step in [1, 2, 3, 7, 8, 9, 130, 20_000] {
            let places: Vec<u16> = (0..=u16::MAX).step_by(step).collect();
            let bytes = Positions::encode(&places);
            assert!(bytes.len() <= 8193, "{step}: {}", bytes.len());
            let mut read = Positions::none();
            read.add_encoded(&bytes).unwrap();
            assert_eq!(read, of(&places), "{step}");
        }
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for bytes in [&[][..], &[9], &[BITS, 1], &[DISTANCES, 0x80], &[DISTANCES, 0xff, 0xff, 0x03, 0]] {
            assert_eq!(Positions::none().add_encoded(bytes), None, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn sets_do_what_sets_do(a in prop::collection::btree_set(any::<u16>(), 0..300), b in prop::collection::btree_set(any::<u16>(), 0..300)) {
            let list = |set: &BTreeSet<u16>| set.iter().copied().collect::<Vec<_>>();
            let (first, second) = (of(&list(&a)), of(&list(&b)));
            let mut both = first.clone();
            both.keep(&second);
            prop_assert!(both.ascending().eq(a.intersection(&b).copied()));
            prop_assert!(both.descending().collect::<Vec<_>>().into_iter().rev().eq(both.ascending()));
            prop_assert_eq!(both.is_empty(), a.is_disjoint(&b));
            let mut read = Positions::none();
            read.add_encoded(&Positions::encode(&list(&a))).unwrap();
            prop_assert_eq!(read, first);
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _read_or_not = Positions::none().add_encoded(&bytes);
        }
    }
}
