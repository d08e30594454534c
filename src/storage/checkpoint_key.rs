//! The key that signs checkpoints: an Ed25519 seed, and the name of the log that it signs for.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

use super::key_file::{KeyFileError, load_or_create};
use crate::domain::{
    checkpoint::{Checkpoint, SignedCheckpoint},
    signed_note::{VerifierKey, note},
};

/// The file of the seed that signs.
const SEED: &str = "checkpoint.key";
/// The file of the seed that will sign, while it is being changed.
const NEXT_SEED: &str = "checkpoint.next.key";
/// The file that tells this data folder's logs from those of others.
const ORIGIN: &str = "origin.id";

/// The seeds in a folder of keys: the one that signs, which is made when there is none, and the next one while a change
/// is under way.
///
/// # Errors
/// [`KeyFileError`].
pub fn seeds(folder: &Path) -> Result<Vec<[u8; 32]>, KeyFileError> {
    let mut seeds = vec![load_or_create(&folder.join(SEED))?];
    if folder.join(NEXT_SEED).exists() {
        seeds.push(load_or_create(&folder.join(NEXT_SEED))?);
    }
    Ok(seeds)
}

/// The seed that will sign; made when there is none yet.
///
/// # Errors
/// [`KeyFileError`].
pub fn next_seed(folder: &Path) -> Result<[u8; 32], KeyFileError> {
    load_or_create(&folder.join(NEXT_SEED))
}

/// Puts the next seed in the place of the one that signed, which is gone then.
///
/// # Errors
/// Those of the disk; trying again finishes it.
pub fn finish_change(folder: &Path) -> io::Result<()> {
    fs::rename(folder.join(NEXT_SEED), folder.join(SEED))?;
    fs::File::open(folder)?.sync_all()
}

/// The file in a folder of keys that keeps the newest checkpoint of a realm's log, apart from the log.
pub fn newest(folder: &Path, realm: &str) -> PathBuf {
    folder.join(format!("checkpoint.{realm}.newest"))
}

/// Forgets what was signed last of a realm's log, which was put back to an older state on purpose. The file stays, as
/// `.replaced`.
///
/// # Errors
/// Those of the disk.
pub fn forget_newest(folder: &Path, realm: &str) -> io::Result<()> {
    let path = newest(folder, realm);
    let mut aside = path.clone().into_os_string();
    aside.push(".replaced");
    match fs::rename(path, aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => fs::File::open(folder)?.sync_all(),
    }
}

/// What the log of a realm is called by when nothing is configured: `hallpass/`, 16 random hexadecimal digits that were
/// made once for this folder, and the realm's name.
///
/// # Errors
/// [`KeyFileError`].
pub fn origin_default(folder: &Path, realm: &str) -> Result<String, KeyFileError> {
    let drawn = load_or_create(&folder.join(ORIGIN))?;
    let number = drawn.first_chunk::<8>().copied().map(u64::from_be_bytes).unwrap_or_default();
    Ok(format!("hallpass/{number:016x}/{realm}"))
}

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
    fn a_change_takes_the_old_seed_away_and_an_origin_stays() {
        let folder = tempfile::tempdir().unwrap();
        let first = seeds(folder.path()).unwrap();
        let next = next_seed(folder.path()).unwrap();
        assert_eq!(seeds(folder.path()).unwrap(), [first[0], next]);
        finish_change(folder.path()).unwrap();
        assert_eq!(seeds(folder.path()).unwrap(), [next]);
        let origin = origin_default(folder.path(), "one").unwrap();
        assert_eq!(origin, origin_default(folder.path(), "one").unwrap());
        assert!(origin.len() == 29 && origin.starts_with("hallpass/") && origin.ends_with("/one"), "{origin}");
    }

    #[test]
    fn the_seed_is_not_shown() {
        let key = CheckpointKey::new(&[1; 32], "log").unwrap();
        assert_eq!(format!("{key:?}"), format!("CheckpointKey(\"{}\")", key.verifier()));
    }
}
