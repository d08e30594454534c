//! What is signed of a bundle of a realm's files: a note (C2SP signed-note) whose text says which bundle it is.
//!
//! ```text
//! hallpass policy bundle v1
//! <name>
//! <number>
//! <SHA-256 of the bundle's bytes, hexadecimal>
//! <digest of its files, hexadecimal: the policy version of the files as they stand>
//! ```

use std::{fmt::Write as _, sync::Arc};

use sha2::{Digest as _, Sha256};

use super::{
    id::PolicyVersion,
    policy_set::SourceFile,
    realm::version_of,
    signed_note::{NoteError, SignedNote, VerifierKey},
};

/// The first line of the text, so that a signature of this key for another purpose is none of a bundle.
const FORM: &str = "hallpass policy bundle v1";

/// What a signature of a bundle says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// Which realm's files they are; 1 to 64 of a-z, 0-9, `-` and `_`.
    pub name: Arc<str>,
    /// Grows from one bundle of this name to the next; a lower one is an older bundle.
    pub number: u64,
    /// SHA-256 of the bundle's bytes.
    pub sha256: [u8; 32],
    /// The digest of its files as they stand, without any variant.
    pub version: PolicyVersion,
}

/// A statement with what vouches for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// What was signed.
    pub statement: Statement,
    /// The name of the first trusted key that signed it.
    pub signer: Arc<str>,
    /// The signed note.
    pub note: Arc<str>,
}

/// Why a bundle does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BundleError {
    /// Its signatures.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its statement.
    #[error("is no statement about a bundle: {0}")]
    Form(&'static str),
    /// It is signed for something else.
    #[error("is signed for `{is}`, expected a bundle for `{expected}`")]
    Name {
        /// What it is for.
        is: Arc<str>,
        /// What it should be for.
        expected: Arc<str>,
    },
    /// The bytes are others than those that were signed.
    #[error("is signed for other bytes: the bundle's SHA-256 is {0}")]
    Bytes(String),
    /// The files are others than those that were signed.
    #[error("is signed for other files: the digest of the bundle's files is {0}")]
    Files(PolicyVersion),
}

impl Statement {
    /// The statement about a bundle: its bytes, and the files in it.
    pub fn of(name: &str, number: u64, bytes: &[u8], files: &[SourceFile]) -> Self {
        Self { name: name.into(), number, sha256: Sha256::digest(bytes).into(), version: version_of(files, None) }
    }

    /// The text that is signed.
    pub fn text(&self) -> String {
        let Self { name, number, sha256, version } = self;
        format!("{FORM}\n{name}\n{number}\n{}\n{version}\n", hexadecimal(sha256))
    }

    /// Reads the text; it must be exactly as [`Statement::text`] writes it.
    ///
    /// # Errors
    /// [`BundleError::Form`].
    pub fn parse(text: &str) -> Result<Self, BundleError> {
        let form = BundleError::Form;
        let lines: Vec<&str> = text.lines().collect();
        let [FORM, name, number, sha256, version] = lines.as_slice() else {
            return Err(form("expected five lines, the first of them `hallpass policy bundle v1`"));
        };
        let number = number.parse().map_err(|_| form("its third line is no number"))?;
        let sha256 = digest(sha256).ok_or(form("its fourth line is no SHA-256"))?;
        digest(version).ok_or(form("its fifth line is no digest"))?;
        let statement = Self { name: (*name).into(), number, sha256, version: PolicyVersion((*version).into()) };
        if statement.text() == text { Ok(statement) } else { Err(form("it is not written as it should be")) }
    }
}

impl Seal {
    /// Opens the note of a bundle that one of these keys at least signed for this name.
    ///
    /// # Errors
    /// [`BundleError::Note`], [`BundleError::Form`] or [`BundleError::Name`].
    pub fn open(note: &str, keys: &[VerifierKey], name: &str) -> Result<Self, BundleError> {
        let signed = SignedNote::parse(note)?;
        let by = signed.verified_by(keys)?;
        let statement = Statement::parse(signed.text())?;
        if *statement.name != *name {
            return Err(BundleError::Name { is: statement.name, expected: name.into() });
        }
        let signer = by.first().map(|key| Arc::clone(key.name())).unwrap_or_default();
        Ok(Self { statement, signer, note: note.into() })
    }

    /// These are the bytes that were signed.
    ///
    /// # Errors
    /// [`BundleError::Bytes`].
    pub fn covers(&self, bytes: &[u8]) -> Result<(), BundleError> {
        let is: [u8; 32] = Sha256::digest(bytes).into();
        if is == self.statement.sha256 { Ok(()) } else { Err(BundleError::Bytes(hexadecimal(&is))) }
    }

    /// These are the files that were signed.
    ///
    /// # Errors
    /// [`BundleError::Files`].
    pub fn holds(&self, files: &[SourceFile]) -> Result<(), BundleError> {
        let is = version_of(files, None);
        if is == self.statement.version { Ok(()) } else { Err(BundleError::Files(is)) }
    }
}

/// The number that a note says, whoever signed it: for notes that were verified when they were kept.
pub fn number_of(note: &str) -> Option<u64> {
    let signed = SignedNote::parse(note).ok()?;
    Statement::parse(signed.text()).ok().map(|statement| statement.number)
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

/// The bytes of 64 lower-case hexadecimal digits.
fn digest(text: &str) -> Option<[u8; 32]> {
    let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 64 || !text.bytes().all(is_digit) {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::domain::signed_note::note;

    fn key(seed: u8, name: &str) -> (Ed25519KeyPair, VerifierKey) {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let verifier = VerifierKey::new(name, pair.public_key().as_ref().try_into().unwrap()).unwrap();
        (pair, verifier)
    }

    fn files(content: &str) -> Vec<SourceFile> {
        vec![SourceFile { path: "realm.toml".to_owned(), content: content.to_owned() }]
    }

    fn sign(text: &str, (pair, verifier): &(Ed25519KeyPair, VerifierKey)) -> String {
        note(text, &[(verifier, pair.sign(text.as_bytes()).as_ref().to_vec())])
    }

    #[test]
    fn a_note_is_opened_by_its_key_for_its_name_bytes_and_files() {
        let signer = key(1, "release");
        let statement = Statement::of("north", 7, b"bytes", &files("a"));
        let signed = sign(&statement.text(), &signer);
        let keys = [key(2, "other").1, signer.1];
        let seal = Seal::open(&signed, &keys, "north").unwrap();
        assert_eq!((&seal.statement, &*seal.signer, number_of(&signed)), (&statement, "release", Some(7)));
        assert_eq!((seal.covers(b"bytes"), seal.holds(&files("a"))), (Ok(()), Ok(())));
        assert!(matches!(seal.covers(b"Bytes"), Err(BundleError::Bytes(_))));
        assert!(matches!(seal.holds(&files("b")), Err(BundleError::Files(_))));
        assert!(matches!(Seal::open(&signed, &keys, "south"), Err(BundleError::Name { .. })));
        assert!(matches!(Seal::open(&signed, &keys[..1], "north"), Err(BundleError::Note(NoteError::Unknown(_)))));
        // The same name with another key behind it.
        assert!(Seal::open(&signed, &[key(3, "release").1], "north").is_err());
    }

    #[test]
    fn every_flipped_bit_of_a_note_is_found() {
        let signer = key(1, "release");
        let signed = sign(&Statement::of("north", 7, b"bytes", &files("a")).text(), &signer);
        let keys = [signer.1];
        for at in 0..signed.len() {
            for bit in 0..8 {
                let mut changed = signed.as_bytes().to_vec();
                changed[at] ^= 1 << bit;
                let opened = String::from_utf8(changed).ok().and_then(|note| Seal::open(&note, &keys, "north").ok());
                assert_eq!(opened, None, "{at} {bit}");
            }
        }
    }

    #[test]
    fn what_this_key_signed_for_another_purpose_is_no_bundle() {
        let signer = key(1, "release");
        let good = Statement::of("north", 7, b"bytes", &files("a")).text();
        for text in [
            "example.org/log\n1\nAAAA\n".to_owned(),
            good.replace("v1", "v2"),
            good.replace("\n7\n", "\n07\n"),
            good.replace("\n7\n", "\n+7\n"),
            good.replace("\n7\n", "\n-7\n"),
            good.to_uppercase(),
            format!("{good}more\n"),
        ] {
            let opened = Seal::open(&sign(&text, &signer), std::slice::from_ref(&signer.1), "north");
            assert!(matches!(opened, Err(BundleError::Form(_))), "{text}");
        }
    }
}
