//! The key that signs checkpoints: an Ed25519 seed, and the name of the log that it signs for.

use std::fmt;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use crate::domain::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    signed_note::{VerifierKey, note},
};

/// Signs checkpoints of one log.
pub struct CheckpointKey {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

/// Shows what anyone may know.
impl fmt::Debug for CheckpointKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CheckpointKey").field(&self.verifier.to_string()).finish()
    }
}

impl CheckpointKey {
    /// The key of this seed for the log with this origin; `None` when the origin cannot be a key's name.
    pub fn new(seed: &[u8; 32], origin: &str) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).ok()?;
        let verifier = VerifierKey::new(origin, pair.public_key().as_ref().try_into().ok()?)?;
        Some(Self { pair, verifier })
    }

    /// The key that verifies what this one signs.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The checkpoint, signed by these keys, in their order.
    pub(super) fn sign(checkpoint: Checkpoint, keys: &[&Self]) -> SignedCheckpoint {
        let text = checkpoint.text();
        let signed = |key: &&Self| key.pair.sign(text.as_bytes()).as_ref().to_vec();
        let signatures: Vec<_> = keys.iter().map(|key| (&key.verifier, signed(key))).collect();
        SignedCheckpoint { note: note(&text, &signatures).into(), checkpoint }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_signed_is_opened_by_each_of_the_keys() {
        let keys = [1, 2].map(|seed| CheckpointKey::new(&[seed; 32], "example.org/log").unwrap());
        let checkpoint = Checkpoint { origin: "example.org/log".into(), size: 7, root: [9; 32] };
        let signed = CheckpointKey::sign(checkpoint.clone(), &[&keys[0], &keys[1]]);
        for key in &keys {
            assert_eq!(Checkpoint::open(&signed.note, std::slice::from_ref(key.verifier())), Ok(checkpoint.clone()));
        }
        let other = CheckpointKey::new(&[3; 32], "example.org/log").unwrap();
        assert!(Checkpoint::open(&signed.note, std::slice::from_ref(other.verifier())).is_err());
        assert!(CheckpointKey::new(&[1; 32], "with a blank").is_none());
    }

    #[test]
    fn the_seed_is_not_shown() {
        let key = CheckpointKey::new(&[1; 32], "log").unwrap();
        assert_eq!(format!("{key:?}"), format!("CheckpointKey(\"{}\")", key.verifier()));
    }
}
