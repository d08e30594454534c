//! Checkpoints of the decision log, and proofs.

use super::Faults;
use crate::{
    app::{
        error::Error,
        log_proofs::{Entry, ProvedEntry, ProvedTree},
    },
    domain::{
        checkpoint::SignedCheckpoint,
        merkle::proof::{ConsistencyProof, InclusionProof},
        signed_note::VerifierKey,
    },
    proto::v1 as pb,
};

/// A wish for a proof that an entry is in the log.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inclusion {
    pub(crate) realm: String,
    pub(crate) entry: Entry,
    pub(crate) tree_size: Option<u64>,
}

/// A wish for a proof that a tree is the beginning of another.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Consistency {
    pub(crate) realm: String,
    pub(crate) first: u64,
    pub(crate) second: Option<u64>,
}

pub(crate) fn inclusion(request: pb::ProveInclusionRequest) -> Result<Inclusion, Error> {
    let pb::ProveInclusionRequest { realm, decision_id, sequence, tree_size } = request;
    let mut faults = Faults::default();
    let entry = match (decision_id.as_str(), sequence) {
        ("", 0) => {
            faults.add("decision_id", "is empty, expected it or `sequence`");
            Entry::Sequence(0)
        }
        ("", sequence) => Entry::Sequence(sequence),
        (id, 0) => match id.parse() {
            Ok(id) => Entry::Decision(id),
            Err(error) => {
                faults.add("decision_id", format!("is {error}"));
                Entry::Sequence(0)
            }
        },
        _ => {
            faults.add("sequence", "is set together with `decision_id`, expected one of them");
            Entry::Sequence(0)
        }
    };
    faults.none_or(Inclusion { realm, entry, tree_size: Some(tree_size).filter(|size| *size > 0) })
}

pub(crate) fn consistency(request: pb::ProveConsistencyRequest) -> Result<Consistency, Error> {
    let pb::ProveConsistencyRequest { realm, first_size, second_size } = request;
    let mut faults = Faults::default();
    if first_size == 0 {
        faults.add("first_size", "is 0, expected 1 at least");
    }
    if second_size > 0 && second_size < first_size {
        faults.add("second_size", "is less than `first_size`");
    }
    faults.none_or(Consistency { realm, first: first_size, second: Some(second_size).filter(|size| *size > 0) })
}

pub(crate) fn checkpoint(checkpoint: &SignedCheckpoint, keys: &[VerifierKey]) -> pb::GetCheckpointResponse {
    pb::GetCheckpointResponse {
        checkpoint: checkpoint.note.to_string(),
        verifier_keys: keys.iter().map(ToString::to_string).collect(),
    }
}

pub(crate) fn proved_entry(proved: ProvedEntry) -> pb::ProveInclusionResponse {
    let ProvedEntry { proof, entry, checkpoint } = proved;
    pb::ProveInclusionResponse {
        proof: Some(inclusion_proof(proof)),
        entry: entry.unwrap_or_default(),
        checkpoint: checkpoint.map(|made| made.note.to_string()).unwrap_or_default(),
    }
}

fn inclusion_proof(proof: InclusionProof) -> pb::InclusionProof {
    let InclusionProof { leaf_index, tree_size, leaf_hash, path } = proof;
    let path = path.into_iter().map(Vec::from).collect();
    pb::InclusionProof { leaf_index, tree_size, leaf_hash: leaf_hash.to_vec(), path }
}

pub(crate) fn proved_tree(proved: ProvedTree) -> pb::ProveConsistencyResponse {
    let ProvedTree { proof: ConsistencyProof { first_size: _, second_size, path }, checkpoint } = proved;
    pb::ProveConsistencyResponse {
        second_size,
        path: path.into_iter().map(Vec::from).collect(),
        checkpoint: checkpoint.map(|made| made.note.to_string()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_asked_for_by_decision_or_by_place_and_not_by_both() {
        let request = |decision_id: &str, sequence, tree_size| pb::ProveInclusionRequest {
            realm: "one".to_owned(),
            decision_id: decision_id.to_owned(),
            sequence,
            tree_size,
        };
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        assert_eq!(inclusion(request("", 7, 0)).unwrap().entry, Entry::Sequence(7));
        assert_eq!(inclusion(request(id, 0, 9)).unwrap().tree_size, Some(9));
        for (decision_id, sequence) in [("", 0), (id, 7), ("nonsense", 0)] {
            assert!(inclusion(request(decision_id, sequence, 0)).is_err(), "{decision_id} {sequence}");
        }
        let request =
            |first_size, second_size| pb::ProveConsistencyRequest { realm: "one".to_owned(), first_size, second_size };
        assert_eq!(consistency(request(3, 0)).unwrap().second, None);
        for (first, second) in [(0, 0), (0, 3), (3, 2)] {
            assert!(consistency(request(first, second)).is_err(), "{first} {second}");
        }
    }
}
