//! Texts with signatures, and the keys that verify them (C2SP signed-note, <https://c2sp.org/signed-note>).

use std::{fmt, str::FromStr, sync::Arc};

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

/// Marks an Ed25519 key and its signatures (C2SP signed-note, "Signature types").
const ED25519_TYPE: u8 = 1;
/// What a line with a signature begins with: an em dash and a space.
const SIGNATURE_MARK: &str = "\u{2014} ";
/// The most signatures of a note; C2SP asks for 16 at least.
const SIGNATURES_MAX: usize = 64;
/// The longest note, in bytes.
pub const NOTE_BYTES_MAX: usize = 64 * 1024;

/// What a key of a name is called in short: four bytes of a hash, no protection by themselves.
pub type KeyId = [u8; 4];

/// Why a verifier key cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VerifierKeyError {
    /// Not of the form `name+hash+key`.
    #[error("is no verifier key, expected `NAME+HASH+KEY` as `hallpass decisions keys` shows it")]
    Form,
    /// A key of a kind that is not read here.
    #[error("is a verifier key of another kind than Ed25519")]
    Kind,
    /// The hash in the middle is not that of name and key: something was mistyped or changed.
    #[error("is no verifier key: its hash does not fit its name and key")]
    Hash,
}

/// A public key that verifies signatures of one name; written `name+hash+key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifierKey {
    name: Arc<str>,
    id: KeyId,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key of a name; `None` unless the name may be one: not empty, without spaces, control characters and `+`.
    pub fn new(name: &str, public: [u8; 32]) -> Option<Self> {
        let is_good = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c.is_control() || c == '+');
        is_good.then(|| Self { name: name.into(), id: key_id(name, &public), public })
    }

    /// Whose key it is.
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// What it is called in short.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// Whether this is the key's Ed25519 signature (RFC 8032) of the text.
    #[must_use]
    pub fn verifies(&self, text: &str, signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.public).verify(text.as_bytes(), signature).is_ok()
    }
}

/// The first four bytes of SHA-256 over name, newline, kind and key.
fn key_id(name: &str, public: &[u8; 32]) -> KeyId {
    let digest = Sha256::new().chain_update(name).chain_update([b'\n', ED25519_TYPE]).chain_update(public).finalize();
    let [a, b, c, d, ..]: [u8; 32] = digest.into();
    [a, b, c, d]
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = STANDARD.encode([&[ED25519_TYPE][..], &self.public].concat());
        write!(f, "{}+{:08x}+{key}", self.name, u32::from_be_bytes(self.id))
    }
}

impl FromStr for VerifierKey {
    type Err = VerifierKeyError;

    fn from_str(text: &str) -> Result<Self, VerifierKeyError> {
        let form = VerifierKeyError::Form;
        let (name, rest) = text.split_once('+').ok_or(form)?;
        let (hash, key) = rest.split_once('+').ok_or(form)?;
        let is_hash = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        let is_hash = hash.len() == 8 && hash.bytes().all(is_hash);
        let key = STANDARD.decode(key).map_err(|_| form)?;
        let (kind, public) = key.split_first().filter(|_| is_hash).ok_or(form)?;
        if *kind != ED25519_TYPE {
            return Err(VerifierKeyError::Kind);
        }
        let key = Self::new(name, public.try_into().map_err(|_| form)?).ok_or(form)?;
        if format!("{:08x}", u32::from_be_bytes(key.id)) == hash { Ok(key) } else { Err(VerifierKeyError::Hash) }
    }
}

/// A signature of a note, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name of the key.
    pub name: Arc<str>,
    /// What the key is called in short.
    pub id: KeyId,
    /// The signature itself.
    pub bytes: Vec<u8>,
}

/// Why a note is not what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoteError {
    /// Not of the form of a note.
    #[error("is no signed note: {0}")]
    Form(&'static str),
    /// No signature is by a key that is trusted.
    #[error("has no signature by a known key; it is signed by {0}")]
    Unknown(String),
    /// A signature by a trusted key is wrong.
    #[error("has a wrong signature by key `{0}`")]
    Wrong(String),
}

/// A text with its signatures, not verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedNote {
    text: String,
    signatures: Vec<Signature>,
}

impl SignedNote {
    /// Takes a note apart.
    ///
    /// # Errors
    /// [`NoteError::Form`].
    pub fn parse(note: &str) -> Result<Self, NoteError> {
        let form = NoteError::Form;
        if note.len() > NOTE_BYTES_MAX {
            return Err(form("it is too long"));
        }
        if note.bytes().any(|byte| byte < b' ' && byte != b'\n') {
            return Err(form("it has control characters"));
        }
        let (text, signatures) = note.rsplit_once("\n\n").ok_or(form("it has no empty line before signatures"))?;
        let lines = signatures.strip_suffix('\n').ok_or(form("it does not end with a line's end"))?;
        let signatures: Option<Vec<_>> = lines.split('\n').take(SIGNATURES_MAX + 1).map(signature).collect();
        let signatures = signatures.ok_or(form("a line after the empty one is no signature"))?;
        if signatures.len() > SIGNATURES_MAX {
            return Err(form("it has too many signatures"));
        }
        Ok(Self { text: format!("{text}\n"), signatures })
    }

    /// The text with the end of its last line, nothing else.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The signatures, in their order.
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Returns the keys, of those given, that signed the text: at least one. Signatures by other keys are passed over.
    ///
    /// # Errors
    /// [`NoteError::Unknown`] when none of these keys signed, [`NoteError::Wrong`] when a signature that says that it
    /// is by one of them is not.
    pub fn verified_by<'a>(&self, keys: &'a [VerifierKey]) -> Result<Vec<&'a VerifierKey>, NoteError> {
        let mut found = Vec::new();
        for signature in &self.signatures {
            let Some(key) = keys.iter().find(|key| key.name == signature.name && key.id == signature.id) else {
                continue;
            };
            if !key.verifies(&self.text, &signature.bytes) {
                return Err(NoteError::Wrong(signature.to_string()));
            }
            found.push(key);
        }
        if found.is_empty() {
            let names: Vec<String> = self.signatures.iter().map(|signature| format!("`{signature}`")).collect();
            return Err(NoteError::Unknown(names.join(", ")));
        }
        Ok(found)
    }
}

/// Shows the key that it says it is by.
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{:08x}", self.name, u32::from_be_bytes(self.id))
    }
}

fn signature(line: &str) -> Option<Signature> {
    let (name, encoded) = line.strip_prefix(SIGNATURE_MARK)?.split_once(' ')?;
    let bytes = STANDARD.decode(encoded).ok()?;
    let (id, bytes) = bytes.split_first_chunk::<4>()?;
    let is_name = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+');
    (is_name && !bytes.is_empty()).then(|| Signature { name: name.into(), id: *id, bytes: bytes.to_vec() })
}

/// Puts a note together: the text, which ends with a line's end, and a line for each signature by a key.
pub fn note(text: &str, signatures: &[(&VerifierKey, Vec<u8>)]) -> String {
    let lines = signatures.iter().map(|(key, signature)| {
        let encoded = STANDARD.encode([&key.id[..], signature].concat());
        format!("{SIGNATURE_MARK}{} {encoded}\n", key.name)
    });
    format!("{text}\n{}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    // Public examples: of the C2SP specification, and of the package golang.org/x/mod/sumdb/note, whose key is known.
    const C2SP_KEY: &str = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k";
    const C2SP_NOTE: &str = "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n";
    const GO_KEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    const GO_SECRET: &str = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const GO_TEXT: &str =
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
    const GO_SIGNATURE: &str =
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=";

    fn key(text: &str) -> VerifierKey {
        text.parse().unwrap()
    }

    #[test]
    fn published_notes_are_verified_by_their_keys_and_by_no_others() {
        let go = format!("{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n");
        for (note, good, other) in [(C2SP_NOTE, C2SP_KEY, GO_KEY), (&go, GO_KEY, C2SP_KEY)] {
            let (note, good, other) = (SignedNote::parse(note).unwrap(), key(good), key(other));
            assert_eq!(note.verified_by(std::slice::from_ref(&good)), Ok(vec![&good]));
            assert_eq!(note.verified_by(&[other.clone(), good.clone()]), Ok(vec![&good]));
            assert!(matches!(note.verified_by(&[other]), Err(NoteError::Unknown(_))));
            assert!(matches!(note.verified_by(&[]), Err(NoteError::Unknown(_))));
        }
    }

    #[test]
    fn a_known_key_makes_the_published_signature() {
        let seed = STANDARD.decode(GO_SECRET).unwrap();
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed[1..]).unwrap();
        let verifier = VerifierKey::new("PeterNeumann", pair.public_key().as_ref().try_into().unwrap()).unwrap();
        assert_eq!(verifier.to_string(), GO_KEY);
        let made = note(GO_TEXT, &[(&verifier, pair.sign(GO_TEXT.as_bytes()).as_ref().to_vec())]);
        assert_eq!(made, format!("{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n"));
    }

    #[test]
    fn a_changed_key_is_no_key() {
        for good in [C2SP_KEY, GO_KEY] {
            assert_eq!(key(good).to_string(), good);
            for at in 0..good.len() {
                for bit in 0..8 {
                    let mut changed = good.as_bytes().to_vec();
                    changed[at] ^= 1 << bit;
                    let parsed = String::from_utf8(changed).ok().and_then(|text| text.parse::<VerifierKey>().ok());
                    assert_eq!(parsed, None, "{at} {bit}");
                }
            }
        }
        for bad in ["", "+", "++", "a+00000000+", "a b+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"] {
            assert_eq!(bad.parse::<VerifierKey>(), Err(VerifierKeyError::Form), "{bad}");
        }
        let ecdsa = format!("a+00000000+{}", STANDARD.encode([2; 33]));
        assert_eq!(ecdsa.parse::<VerifierKey>(), Err(VerifierKeyError::Kind));
    }

    #[test]
    fn a_note_that_is_changed_anywhere_is_not_verified() {
        let keys = [key(C2SP_KEY)];
        for at in 0..C2SP_NOTE.len() {
            for bit in 0..8 {
                let mut changed = C2SP_NOTE.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                let parsed = String::from_utf8(changed).ok().and_then(|text| SignedNote::parse(&text).ok());
                assert!(parsed.is_none_or(|note| note.verified_by(&keys).is_err()), "{at} {bit}");
            }
        }
    }

    #[test]
    fn a_wrong_signature_by_a_known_key_spoils_a_note_that_another_signed() {
        let go = format!("{GO_TEXT}\n— PeterNeumann {GO_SIGNATURE}\n");
        let foreign = C2SP_NOTE.lines().last().unwrap();
        let note = SignedNote::parse(&format!("{go}{foreign}\n")).unwrap();
        assert_eq!(note.signatures().len(), 2);
        assert_eq!(note.verified_by(&[key(GO_KEY)]).unwrap().len(), 1);
        assert!(matches!(note.verified_by(&[key(GO_KEY), key(C2SP_KEY)]), Err(NoteError::Wrong(_))));
    }

    #[test]
    fn what_is_not_of_the_form_is_refused() {
        let many = format!("a\n\n{}", "— n AAAAAAE=\n".repeat(65));
        let long = format!("{}\n\n— n AAAAAAE=\n", "a".repeat(NOTE_BYTES_MAX));
        for bad in [
            "",
            "a",
            "a\n\n",
            "a\n— n AAAAAAE=\n",
            "a\n\n— n AAAAAAE=",
            "a\n\n- n AAAAAAE=\n",
            "a\n\n— n AAAAAA==\n",
            "a\n\n—  AAAAAAE=\n",
            "a\n\n— n+ AAAAAAE=\n",
            "a\n\n— n AAAAAAE= x\n",
            "a\t\n\n— n AAAAAAE=\n",
            &many,
            &long,
        ] {
            assert!(SignedNote::parse(bad).is_err(), "{bad:.40}");
        }
        assert_eq!(SignedNote::parse("a\n\nb\n\n— n AAAAAAE=\n").unwrap().text(), "a\n\nb\n");
    }
}
