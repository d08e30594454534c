//! Signed statements of what a log holds (C2SP tlog-checkpoint, <https://c2sp.org/tlog-checkpoint>).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::{
    merkle::Hash,
    signed_note::{NoteError, SignedNote, VerifierKey},
};

/// How many entries a log has, and the root of the tree over them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Arc<str>,
    /// How many entries.
    pub size: u64,
    /// The root (RFC 6962 section 2.1).
    pub root: Hash,
}

/// Why a checkpoint does not count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// Its signatures.
    #[error(transparent)]
    Note(#[from] NoteError),
    /// Its text.
    #[error("is no checkpoint: {0}")]
    Form(&'static str),
}

impl Checkpoint {
    /// The text that is signed: origin, size and root, each on a line.
    pub fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, STANDARD.encode(self.root))
    }

    /// Reads the text of a checkpoint. Lines after the third are passed over.
    ///
    /// # Errors
    /// [`CheckpointError::Form`].
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let form = CheckpointError::Form;
        let lines = text.strip_suffix('\n').ok_or(form("its text does not end with a line's end"))?;
        if lines.split('\n').any(str::is_empty) {
            return Err(form("it has an empty line"));
        }
        let mut lines = lines.split('\n');
        let (Some(origin), Some(size), Some(root)) = (lines.next(), lines.next(), lines.next()) else {
            return Err(form("it has fewer than three lines"));
        };
        let is_number = size.bytes().all(|byte| byte.is_ascii_digit()) && (size == "0" || !size.starts_with('0'));
        let size = size.parse().ok().filter(|_| is_number).ok_or(form("its second line is no tree size"))?;
        let root = STANDARD.decode(root).ok().and_then(|root| root.try_into().ok());
        Ok(Self { origin: origin.into(), size, root: root.ok_or(form("its third line is no root hash"))? })
    }

    /// Reads a checkpoint that one of these keys at least signed. Whether the key is that of the origin is for who
    /// trusts it to know; a log's own keys have its name.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn open(note: &str, keys: &[VerifierKey]) -> Result<Self, CheckpointError> {
        let note = SignedNote::parse(note)?;
        note.verified_by(keys)?;
        Self::parse(note.text())
    }
}

/// A checkpoint with the note that holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedCheckpoint {
    /// What it says.
    pub checkpoint: Checkpoint,
    /// The signed note.
    pub note: Arc<str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A public tree head of the Go checksum database, and its key.
    const SUM_KEY: &str = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8";
    const SUM_NOTE: &str = "go.sum database tree\n49189689\nftjbAOzaupaIvaPo/G+Dk63nxOZ2s1OPOKIaPtXs7S4=\n\n— sum.golang.org Az3grlKZssqRoMNPpZfKt0TphbbcF+pzXqElURJKRNFKfaUAgqeI5k2AORH0QAhg/ebRwyIqD/OqP4oLtLnNumvOBAM=\n";

    #[test]
    fn a_published_tree_head_is_read_with_its_key_only() {
        let key: VerifierKey = SUM_KEY.parse().unwrap();
        let checkpoint = Checkpoint::open(SUM_NOTE, std::slice::from_ref(&key)).unwrap();
        assert_eq!((&*checkpoint.origin, checkpoint.size), ("go.sum database tree", 49_189_689));
        assert_eq!(STANDARD.encode(checkpoint.root), "ftjbAOzaupaIvaPo/G+Dk63nxOZ2s1OPOKIaPtXs7S4=");
        assert!(SUM_NOTE.starts_with(&checkpoint.text()));
        assert!(Checkpoint::open(&SUM_NOTE.replace("49189689", "49189688"), &[key]).is_err());
        assert!(Checkpoint::open(SUM_NOTE, &[]).is_err());
    }

    #[test]
    fn texts_read_back_and_others_are_refused() {
        let checkpoint = Checkpoint { origin: "example.org/log".into(), size: 0, root: [7; 32] };
        assert_eq!(Checkpoint::parse(&checkpoint.text()), Ok(checkpoint.clone()));
        let extended = format!("{}an extension\n", checkpoint.text());
        assert_eq!(Checkpoint::parse(&extended), Ok(checkpoint));
        let root = STANDARD.encode([7; 32]);
        for bad in [
            String::new(),
            "o\n".to_owned(),
            "o\n1\n".to_owned(),
            format!("o\n1\n{root}"),
            format!("\n1\n{root}\n"),
            format!("o\n01\n{root}\n"),
            format!("o\n+1\n{root}\n"),
            format!("o\n-1\n{root}\n"),
            format!("o\n\n{root}\n"),
            format!("o\n18446744073709551616\n{root}\n"),
            format!("o\n1\n{}\n", STANDARD.encode([7; 31])),
            format!("o\n1\n{root}\n\nx\n"),
        ] {
            assert!(Checkpoint::parse(&bad).is_err(), "{bad}");
        }
    }
}
