//! Proofs about the decision log: what it holds, signed, and that an entry or an earlier state is in it.

use std::sync::Arc;

use crate::{
    app::{
        App,
        error::{Error, Kind},
    },
    domain::{
        checkpoint::SignedCheckpoint,
        id::DecisionId,
        merkle::proof::{ConsistencyProof, InclusionProof},
        signed_note::VerifierKey,
    },
};

/// The entry that a proof is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The one of a decision.
    Decision(DecisionId),
    /// The one at a place, from 1.
    Sequence(u64),
}

/// A proof that an entry is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedEntry {
    /// The proof.
    pub proof: InclusionProof,
    /// The entry's stored bytes; `None` when retention deleted them.
    pub entry: Option<Vec<u8>>,
    /// The checkpoint of the proof's tree, when it was made for it.
    pub checkpoint: Option<Arc<SignedCheckpoint>>,
}

/// A proof that a tree is the beginning of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvedTree {
    /// The proof.
    pub proof: ConsistencyProof,
    /// The checkpoint of the later tree, when it was made for the proof.
    pub checkpoint: Option<Arc<SignedCheckpoint>>,
}

impl App {
    /// Makes a checkpoint of all that a realm's log holds now, and names the keys that verify it, newest first.
    ///
    /// # Errors
    /// An unknown realm, a log that cannot be signed now.
    pub async fn log_checkpoint(&self, realm: &str) -> Result<(Arc<SignedCheckpoint>, Vec<VerifierKey>), Error> {
        let state = self.realm(realm)?;
        let checkpoint = state.log.checkpoint().await?;
        Ok((checkpoint, state.log.verifier_keys()))
    }

    /// Proves that an entry is in the tree of so many entries, or of a new checkpoint's.
    ///
    /// # Errors
    /// `NotFound` when the log has no such entry or no such tree.
    pub async fn prove_entry(&self, realm: &str, entry: Entry, tree_size: Option<u64>) -> Result<ProvedEntry, Error> {
        let state = self.realm(realm)?;
        let sequence = match entry {
            Entry::Sequence(sequence) => sequence,
            Entry::Decision(id) => self.get_decision(realm, id).await?.sequence,
        };
        let checkpoint = if tree_size.is_none() { Some(state.log.checkpoint().await?) } else { None };
        let size = checkpoint.as_ref().map_or(tree_size.unwrap_or(0), |made| made.checkpoint.size);
        let proof = state.log.prove_inclusion(sequence, size).await?;
        let proof = proof.ok_or_else(|| unknown(format!("entry {sequence} is in no signed tree of {size} entries")))?;
        Ok(ProvedEntry { proof, entry: state.log.entry(sequence).await?, checkpoint })
    }

    /// Proves that the tree of `first` entries is the beginning of that of `second`, or of a new checkpoint's.
    ///
    /// # Errors
    /// `NotFound` when there are no such trees.
    pub async fn prove_tree(&self, realm: &str, first: u64, second: Option<u64>) -> Result<ProvedTree, Error> {
        let state = self.realm(realm)?;
        let checkpoint = if second.is_none() { Some(state.log.checkpoint().await?) } else { None };
        let size = checkpoint.as_ref().map_or(second.unwrap_or(0), |made| made.checkpoint.size);
        let proof = state.log.prove_consistency(first, size).await?;
        let proof = proof.ok_or_else(|| unknown(format!("there are no signed trees of {first} and {size} entries")))?;
        Ok(ProvedTree { proof, checkpoint })
    }
}

fn unknown(message: String) -> Error {
    Error::new(Kind::NotFound, "LOG_ENTRY_UNKNOWN", message)
}
