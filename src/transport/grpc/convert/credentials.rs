//! Tokens and proofs of a request.

use super::{Faults, shared};
use crate::{
    app::credentials::{Credentials, Secret},
    domain::token_proof::TokenProof,
    proto::v1 as pb,
};

impl Faults {
    /// What a request brings to show who asks. A token may be of any length here: a bad one is a deny, which is recorded.
    pub(super) fn credentials(
        &mut self,
        token: String,
        scheme: String,
        query_token: String,
        proof: Option<pb::TokenProof>,
    ) -> Credentials {
        Credentials {
            token: Secret(shared(token)),
            scheme: shared(scheme),
            query_token: Secret(shared(query_token)),
            proof: proof.map(|proof| self.proof(proof)).unwrap_or_default(),
            subject: None,
        }
    }

    fn proof(&mut self, proof: pb::TokenProof) -> TokenProof {
        let pb::TokenProof { method, uri, dpop, client_certificate } = proof;
        let method = self.text("proof.method", method, TokenProof::METHOD_BYTES_MAX);
        let uri = self.text("proof.uri", uri, TokenProof::URI_BYTES_MAX);
        if dpop.len() > TokenProof::DPOP_COUNT_MAX {
            let message = format!("has {} items, expected at most {}", dpop.len(), TokenProof::DPOP_COUNT_MAX);
            self.add("proof.dpop", message);
            return TokenProof::default();
        }
        let named = dpop.into_iter().enumerate();
        let dpop = named
            .map(|(index, text)| self.text(&format!("proof.dpop[{index}]"), text, TokenProof::DPOP_BYTES_MAX))
            .collect();
        if client_certificate.len() > TokenProof::CERTIFICATE_BYTES_MAX {
            let message = format!("is longer than {} bytes", TokenProof::CERTIFICATE_BYTES_MAX);
            self.add("proof.client_certificate", message);
        }
        TokenProof { method, uri, dpop, client_certificate: client_certificate.into() }
    }
}
