//! What a record keeps beside what everyone may read in it: sealed so that it opens only while everyone that it names is
//! still known.
//!
//! The key is HMAC-SHA-256 under the realm's own key over the decision's id and the keys of all people named, in order;
//! the cipher AES-256-GCM. A key seals once, so the nonce is zero. The bytes: a version, how many people, their
//! pseudonyms (16 bytes each), the sealed text, its tag (16 bytes). When the key of one of the people is destroyed,
//! nobody can make the key again.

use std::{collections::HashSet, fmt, sync::Arc};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    hmac,
};

use super::{
    codec::{CodecError, Reader, Writer},
    id::DecisionId,
    identity::{Identity, Pseudonym},
};

/// The version that is written.
const VERSION: u8 = 1;
const TAG_BYTES: usize = 16;
/// Keeps these keys apart from others of the same secret.
const LABEL: &[u8] = b"hallpass facts 1\0";

/// The realm's part of the keys.
#[derive(Clone)]
pub struct FactsKey(hmac::Key);

/// Hides the key.
impl fmt::Debug for FactsKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FactsKey(..)")
    }
}

/// Why what is sealed can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// One of the people was erased, or the identity table is not the one that it was sealed with.
    #[error("a person that it names is not known any more")]
    Erased,
    /// The bytes are not what was sealed.
    #[error("the sealed facts are damaged")]
    Damaged,
}

/// The library refused to seal, which it has no reason to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the facts of a decision could not be sealed")]
pub struct SealError;

impl FactsKey {
    /// Takes 32 random bytes as the key.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// Seals text about these people, each named once.
    ///
    /// # Errors
    /// [`SealError`].
    pub fn seal(&self, id: DecisionId, people: &[Arc<Identity>], text: &[u8]) -> Result<Arc<[u8]>, SealError> {
        let mut out = Writer::with_capacity(2 + people.len() * 16 + text.len() + TAG_BYTES + 8);
        out.byte(VERSION);
        out.count(people.len());
        for person in people {
            out.raw(&person.pseudonym.0);
        }
        let head = out.len();
        out.raw(text);
        let mut sealed = out.into_bytes();
        let key = self.key_of(id, people).ok_or(SealError)?;
        let (head, text) = sealed.split_at_mut_checked(head).ok_or(SealError)?;
        let tag = key.seal_in_place_separate_tag(zero(), Aad::from(&*head), text).map_err(|_| SealError)?;
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed.into())
    }

    /// Opens what was sealed with a decision; `find` knows who is behind a pseudonym.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(
        &self,
        id: DecisionId,
        sealed: &[u8],
        mut find: impl FnMut(Pseudonym) -> Option<Arc<Identity>>,
    ) -> Result<Vec<u8>, OpenError> {
        let mut input = Reader::new(sealed);
        let names = names(&mut input).map_err(|_| OpenError::Damaged)?;
        let head = sealed.len().checked_sub(input.rest().len()).and_then(|length| sealed.get(..length));
        let head = head.ok_or(OpenError::Damaged)?;
        let people: Option<Vec<_>> = names.into_iter().map(&mut find).collect();
        let key = self.key_of(id, &people.ok_or(OpenError::Erased)?).ok_or(OpenError::Damaged)?;
        let mut text = input.rest().to_vec();
        let length = key.open_in_place(zero(), Aad::from(head), &mut text).map_err(|_| OpenError::Damaged)?.len();
        text.truncate(length);
        Ok(text)
    }

    fn key_of(&self, id: DecisionId, people: &[Arc<Identity>]) -> Option<LessSafeKey> {
        let mut mac = hmac::Context::with_key(&self.0);
        mac.update(LABEL);
        mac.update(&id.0.to_be_bytes());
        for person in people {
            mac.update(&person.key);
        }
        UnboundKey::new(&AES_256_GCM, mac.sign().as_ref()).ok().map(LessSafeKey::new)
    }
}

fn zero() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

/// The pseudonyms of the people by whose keys something is sealed.
///
/// # Errors
/// [`CodecError`] when the bytes are not sealed facts.
pub fn people_of(sealed: &[u8]) -> Result<Vec<Pseudonym>, CodecError> {
    names(&mut Reader::new(sealed))
}

fn names(input: &mut Reader<'_>) -> Result<Vec<Pseudonym>, CodecError> {
    match input.byte()? {
        VERSION => {}
        byte => return Err(CodecError::Choice { what: "version of sealed facts", byte }),
    }
    let count = input.count()?;
    (0..count).map(|_| Ok(Pseudonym(input.u128()?.to_be_bytes()))).collect()
}

/// Each person once, in the order of their first mention.
pub fn each_once(mut people: Vec<Arc<Identity>>) -> Vec<Arc<Identity>> {
    // Most decisions are about one person.
    if people.len() > 1 {
        let mut seen = HashSet::with_capacity(people.len());
        people.retain(|person| seen.insert(person.pseudonym));
    }
    people
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::id::EntityId;

    const ID: DecisionId = DecisionId(0x0190_0000_0000_7000_8000_0000_0000_0001);

    fn person(byte: u8) -> Arc<Identity> {
        let mut chance = [byte; 48];
        chance[47] = 0xff - byte;
        Arc::new(Identity::new(EntityId::new("Student", byte.to_string()), &chance, 0))
    }

    fn people(bytes: &[u8]) -> Vec<Arc<Identity>> {
        bytes.iter().copied().map(person).collect()
    }

    fn open_knowing(known: &[u8], id: DecisionId, sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
        let known = people(known);
        let find = |name| known.iter().find(|person| person.pseudonym == name).cloned();
        FactsKey::new(&[1; 32]).open(id, sealed, find)
    }

    #[test]
    fn what_is_sealed_opens_while_all_people_are_known_and_never_again() {
        let key = FactsKey::new(&[1; 32]);
        for named in [&[][..], &[1], &[1, 2, 3]] {
            let sealed = key.seal(ID, &people(named), b"the question").unwrap();
            assert_eq!(people_of(&sealed).unwrap(), people(named).iter().map(|one| one.pseudonym).collect::<Vec<_>>());
            assert_eq!(open_knowing(&[3, 2, 1], ID, &sealed), Ok(b"the question".to_vec()));
            for erased in named {
                let left: Vec<_> = named.iter().copied().filter(|one| one != erased).collect();
                assert_eq!(open_knowing(&left, ID, &sealed), Err(OpenError::Erased));
            }
        }
    }

    #[test]
    fn every_key_and_the_decision_count() {
        let sealed = FactsKey::new(&[1; 32]).seal(ID, &people(&[1, 2]), b"the question").unwrap();
        assert_eq!(open_knowing(&[1, 2], DecisionId(ID.0 + 1), &sealed), Err(OpenError::Damaged));
        let another_key = |name: Pseudonym| {
            let found = person(name.0[0]);
            Some(Arc::new(Identity::restored(found.entity.clone(), found.pseudonym, [9; 32], 0, None)))
        };
        assert_eq!(FactsKey::new(&[1; 32]).open(ID, &sealed, another_key), Err(OpenError::Damaged));
        let right = |name: Pseudonym| Some(person(name.0[0]));
        assert_eq!(FactsKey::new(&[2; 32]).open(ID, &sealed, right), Err(OpenError::Damaged));
        assert!(FactsKey::new(&[1; 32]).open(ID, &sealed, right).is_ok());
    }

    #[test]
    fn a_changed_or_cut_byte_is_found() {
        let sealed = FactsKey::new(&[1; 32]).seal(ID, &people(&[1, 2]), b"the question").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.to_vec();
            changed[at] ^= 1;
            assert!(open_knowing(&[1, 2], ID, &changed).is_err(), "{at}");
            assert!(open_knowing(&[1, 2], ID, &sealed[..at]).is_err(), "{at}");
        }
    }

    #[test]
    fn the_same_text_looks_different_in_each_decision() {
        let key = FactsKey::new(&[1; 32]);
        let (one, other) = (key.seal(ID, &[], b"text").unwrap(), key.seal(DecisionId(1), &[], b"text").unwrap());
        assert_ne!(one, other);
        assert!(!format!("{key:?}").contains('1'));
    }

    #[test]
    fn people_are_named_once_in_the_order_of_their_first_mention() {
        for repeated in [1, 20] {
            let named = [1, 2, 1, 3, 2].repeat(repeated);
            let once = each_once(people(&named));
            assert_eq!(once.iter().map(|one| one.pseudonym.0[0]).collect::<Vec<_>>(), [1, 2, 3]);
        }
    }

    proptest! {
        #[test]
        fn garbage_is_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(open_knowing(&[1, 2], ID, &bytes).is_err());
        }

        #[test]
        fn every_text_comes_back(text in prop::collection::vec(any::<u8>(), 0..2000), named in 0_u8..9) {
            let named: Vec<u8> = (1..=named).collect();
            let sealed = FactsKey::new(&[1; 32]).seal(ID, &people(&named), &text).unwrap();
            prop_assert_eq!(open_knowing(&named, ID, &sealed), Ok(text));
        }
    }
}
