//! Stand-ins for people's ids: the same for the same person, of no meaning to who lacks the key.

use std::{fmt, fmt::Write as _, sync::Arc};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::codec::Writer;

/// The secret that turns ids into pseudonyms. Who has it can recompute the pseudonym of an id that he knows.
#[derive(Clone)]
pub struct PseudonymKey(Hmac<Sha256>);

/// Hides the key.
impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(..)")
    }
}

impl PseudonymKey {
    /// How many bytes of the HMAC a pseudonym shows.
    const BYTES: usize = 16;

    /// Takes 32 random bytes as the key.
    pub fn new(bytes: [u8; 32]) -> Self {
        // A key shorter than the hash's block is filled up with zeros (RFC 2104 section 2).
        let block: [u8; 64] = std::array::from_fn(|at| bytes.get(at).copied().unwrap_or(0));
        Self(Hmac::new(&block.into()))
    }

    /// The pseudonym of an entity: 32 lower-case hexadecimal characters.
    ///
    /// They are the first half of HMAC-SHA-256 (RFC 2104, truncated as its section 5 allows) over type and id, each
    /// with its length in front, so that no two pairs give the same input.
    pub fn pseudonym(&self, entity_type: &str, id: &str) -> Arc<str> {
        let mut input = Writer::with_capacity(entity_type.len() + id.len() + 4);
        input.str(entity_type);
        input.str(id);
        let mut mac = self.0.clone();
        mac.update(&input.into_bytes());
        let digest = mac.finalize().into_bytes();
        let mut text = String::with_capacity(2 * Self::BYTES);
        for byte in digest.iter().take(Self::BYTES) {
            // Writing to a String cannot fail.
            let _infallible = write!(text, "{byte:02x}");
        }
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pseudonym_depends_on_key_type_and_id_and_stays_the_same() {
        let key = PseudonymKey::new([7; 32]);
        let pseudonym = key.pseudonym("Student", "604822");
        assert_eq!(&*pseudonym, "7dbbc79da1291d0eb18997e050942bba");
        assert_ne!(pseudonym, PseudonymKey::new([8; 32]).pseudonym("Student", "604822"));
        assert_ne!(pseudonym, key.pseudonym("Staff", "604822"));
        assert_ne!(pseudonym, key.pseudonym("Student", "604823"));
        assert_ne!(key.pseudonym("ab", "c"), key.pseudonym("a", "bc"));
    }

    #[test]
    fn the_key_is_not_shown() {
        assert_eq!(format!("{:?}", PseudonymKey::new([7; 32])), "PseudonymKey(..)");
    }
}
