//! The key of a realm's log: seals what a log holds, so that nothing of it can be read or guessed from the files alone.
//!
//! AES-256-GCM. A decision's nonce is the low 12 bytes of its id, which is made once and random enough for that (`UUIDv7`:
//! 74 random bits within each millisecond); an event's is drawn. What stands in clear beside a sealed part is bound to it.

use std::{fmt, sync::Arc};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::id::{DecisionId, RealmName};

/// How much longer something is sealed than in clear, in bytes.
pub(super) const TAG_BYTES: usize = 16;
/// Length of a nonce in bytes.
pub(super) const NONCE_BYTES: usize = NONCE_LEN;

/// The key of one realm's log. Clones are the same key.
#[derive(Clone)]
pub struct LogKey(Arc<Inner>);

struct Inner {
    secret: [u8; 32],
    sealing: LessSafeKey,
}

/// Shows nothing of the key.
impl fmt::Debug for LogKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogKey")
    }
}

/// A key could not be derived or used, or what it should open was changed or sealed with another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it was changed, or sealed with another key")]
pub struct SealError;

impl LogKey {
    /// The key of a realm: HMAC-SHA-256 of its name under the secret of all logs, so that those of two realms have
    /// nothing in common.
    ///
    /// # Errors
    /// [`SealError`] when the library refuses the key, which it does not for one of 32 bytes.
    pub fn of_realm(secret: &[u8; 32], realm: &RealmName) -> Result<Self, SealError> {
        let secret = derive(secret, &[b"decision log of realm ", realm.as_str().as_bytes()])?;
        let sealing = UnboundKey::new(&AES_256_GCM, &derive(&secret, &[b"entries"])?).map_err(|_| SealError)?;
        Ok(Self(Arc::new(Inner { secret, sealing: LessSafeKey::new(sealing) })))
    }

    /// A further key of the same realm, for the use that the label names. Differs from the one that seals entries.
    ///
    /// # Errors
    /// [`SealError`] as of [`LogKey::of_realm`].
    pub fn derived(&self, label: &str) -> Result<[u8; 32], SealError> {
        derive(&self.0.secret, &[b"for ", label.as_bytes()])
    }

    /// Seals what stands in `bytes` from `start` on, in place, and appends the tag.
    fn seal(
        &self,
        nonce: [u8; NONCE_BYTES],
        beside: &[u8],
        bytes: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        let plain = bytes.get_mut(start..).ok_or(SealError)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self.0.sealing.seal_in_place_separate_tag(nonce, Aad::from(beside), plain).map_err(|_| SealError)?;
        bytes.extend_from_slice(tag.as_ref());
        Ok(())
    }

    fn open(&self, nonce: [u8; NONCE_BYTES], beside: &[u8], sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let mut bytes = sealed.to_vec();
        let length = self.0.sealing.open_in_place(nonce, Aad::from(beside), &mut bytes).map_err(|_| SealError)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Seals a decision record that stands in `bytes` from `start` on; its id and time are bound to it.
    pub(super) fn seal_decision(
        &self,
        id: DecisionId,
        time_us: i64,
        bytes: &mut Vec<u8>,
        start: usize,
    ) -> Result<(), SealError> {
        self.seal(nonce_of(id), &beside_decision(id, time_us), bytes, start)
    }

    /// Opens a decision record.
    ///
    /// # Errors
    /// [`SealError`] when a byte of it, its id or its time is not what was sealed.
    pub(super) fn open_decision(&self, id: DecisionId, time_us: i64, sealed: &[u8]) -> Result<Vec<u8>, SealError> {
        self.open(nonce_of(id), &beside_decision(id, time_us), sealed)
    }

    /// Seals an event and returns its nonce and its sealed bytes.
    pub(super) fn seal_event(
        &self,
        time_us: i64,
        mut event: Vec<u8>,
    ) -> Result<([u8; NONCE_BYTES], Vec<u8>), SealError> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_| SealError)?;
        self.seal(nonce, &time_us.to_le_bytes(), &mut event, 0)?;
        Ok((nonce, event))
    }

    /// Opens an event.
    ///
    /// # Errors
    /// [`SealError`] when a byte of it or its time is not what was sealed.
    pub(super) fn open_event(
        &self,
        time_us: i64,
        nonce: [u8; NONCE_BYTES],
        sealed: &[u8],
    ) -> Result<Vec<u8>, SealError> {
        self.open(nonce, &time_us.to_le_bytes(), sealed)
    }
}

fn derive(secret: &[u8; 32], label: &[&[u8]]) -> Result<[u8; 32], SealError> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).map_err(|_| SealError)?;
    for part in label {
        mac.update(part);
    }
    Ok(mac.finalize().into_bytes().into())
}

/// What is bound to a sealed decision: the clear part of its entry, id and time.
fn beside_decision(id: DecisionId, time_us: i64) -> [u8; 24] {
    let mut beside = [0; 24];
    let (first, last) = beside.split_at_mut(16);
    first.copy_from_slice(&id.0.to_be_bytes());
    last.copy_from_slice(&time_us.to_le_bytes());
    beside
}

fn nonce_of(id: DecisionId) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    if let Some(low) = id.0.to_be_bytes().last_chunk::<NONCE_BYTES>() {
        nonce = *low;
    }
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: DecisionId = DecisionId(0x0189_0a5d_ac96_774b_bcce_b302_099a_8057);

    fn key(secret: u8, realm: &str) -> LogKey {
        LogKey::of_realm(&[secret; 32], &realm.parse().unwrap()).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_the_same_key_alone() {
        let mut bytes = b"clear plain".to_vec();
        key(1, "one").seal_decision(ID, 7, &mut bytes, 6).unwrap();
        let (clear, sealed) = bytes.split_at(6);
        assert_eq!((clear, sealed.len()), (&b"clear "[..], 5 + TAG_BYTES));
        assert_eq!(key(1, "one").open_decision(ID, 7, sealed), Ok(b"plain".to_vec()));
        for other in [key(2, "one"), key(1, "two")] {
            assert_eq!(other.open_decision(ID, 7, sealed), Err(SealError));
        }
    }

    #[test]
    fn a_change_of_any_bit_of_a_decision_its_id_or_its_time_is_noticed() {
        let key = key(1, "one");
        let mut sealed = b"plain".to_vec();
        key.seal_decision(ID, 7, &mut sealed, 0).unwrap();
        for at in 0..sealed.len() * 8 {
            let mut changed = sealed.clone();
            changed[at / 8] ^= 1 << (at % 8);
            assert_eq!(key.open_decision(ID, 7, &changed), Err(SealError), "{at}");
        }
        for bit in 0..128 {
            assert_eq!(key.open_decision(DecisionId(ID.0 ^ (1 << bit)), 7, &sealed), Err(SealError), "{bit}");
        }
        assert_eq!(key.open_decision(ID, 8, &sealed), Err(SealError));
    }

    #[test]
    fn an_event_is_never_sealed_twice_to_the_same_bytes() {
        let key = key(1, "one");
        let (nonce, sealed) = key.seal_event(9, b"event".to_vec()).unwrap();
        assert_eq!(key.open_event(9, nonce, &sealed), Ok(b"event".to_vec()));
        assert_eq!(key.open_event(8, nonce, &sealed), Err(SealError));
        assert_ne!(key.seal_event(9, b"event".to_vec()).unwrap(), (nonce, sealed));
    }

    #[test]
    fn derived_keys_differ_by_label_and_realm() {
        let of = |realm: &str, label: &str| key(1, realm).derived(label).unwrap();
        assert_eq!(of("one", "index"), of("one", "index"));
        assert_ne!(of("one", "index"), of("one", "postings"));
        assert_ne!(of("one", "index"), of("two", "index"));
        assert_eq!(format!("{:?}", key(1, "one")), "LogKey");
    }
}
