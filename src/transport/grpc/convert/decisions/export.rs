//! Exports of the decision log.

use super::{Query, event, query, record};
use crate::{
    app::{
        decisions::DecisionQuery,
        error::Error,
        export::{ExportPart, Exported, Proofs},
    },
    domain::merkle::proof::InclusionProof,
    proto::v1 as pb,
};

/// A wish for an export.
pub(crate) struct Export {
    pub(crate) realm: String,
    pub(crate) conditions: DecisionQuery,
    pub(crate) proofs: Proofs,
    /// The conditions as they came, for the manifest.
    pub(crate) asked: pb::QueryDecisionsRequest,
}

pub(crate) fn export(request: pb::ExportDecisionsRequest) -> Result<Export, Error> {
    let pb::ExportDecisionsRequest { query: asked, proofs } = request;
    let (conditions, asked) = whole_query(asked)?;
    let proofs = if proofs { Proofs::OfEach } else { Proofs::OfEnds };
    let Query { realm, conditions, .. } = conditions;
    Ok(Export { realm, conditions, proofs, asked })
}

/// The conditions of a call that answers them all, without pages.
///
/// # Errors
/// Those of a query, and members that are about pages.
pub(crate) fn whole_query(
    asked: Option<pb::QueryDecisionsRequest>,
) -> Result<(Query, pb::QueryDecisionsRequest), Error> {
    let asked = asked.unwrap_or_default();
    let set = [
        ("query.order", asked.order != 0),
        ("query.page_size", asked.page_size != 0),
        ("query.page_token", !asked.page_token.is_empty()),
    ];
    let mut faults = super::Faults::default();
    for (field, _) in set.into_iter().filter(|(_, is_set)| *is_set) {
        faults.add(field, "is set, expected a question without pages");
    }
    faults.none_or(())?;
    Ok((query(asked.clone())?, asked))
}

pub(crate) fn part(part: ExportPart) -> pb::ExportDecisionsResponse {
    let ExportPart { decisions, proofs, events, done, total } = part;
    pb::ExportDecisionsResponse {
        decisions: decisions.iter().map(record).collect(),
        proofs: proofs.iter().map(proof).collect(),
        events: events.iter().map(event).collect(),
        progress: Some(pb::ExportProgress { done, total }),
        manifest: None,
    }
}

pub(crate) fn manifest(exported: Exported, query: pb::QueryDecisionsRequest) -> pb::ExportManifest {
    let Exported { first_sequence, last_sequence, count, is_complete, events, checkpoint, proofs } = exported;
    pb::ExportManifest {
        query: Some(query),
        first_sequence,
        last_sequence,
        count,
        complete: is_complete,
        events: events.iter().map(event).collect(),
        checkpoint: checkpoint.to_string(),
        proofs: proofs.iter().map(proof).collect(),
    }
}

fn proof(proof: &InclusionProof) -> pb::InclusionProof {
    let InclusionProof { leaf_index, tree_size, leaf_hash, path } = proof;
    pb::InclusionProof {
        leaf_index: *leaf_index,
        tree_size: *tree_size,
        leaf_hash: leaf_hash.to_vec(),
        path: path.iter().map(|hash| hash.to_vec()).collect(),
    }
}
