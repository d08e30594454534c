//! What a request shows of the key that its token may be bound to, and that key as the token names it.

use std::{fmt, sync::Arc};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::{
    certificate_binding,
    dpop::{self, Proof, Request},
    token_error::TokenError,
};

/// The scheme word of tokens that are bound to a key by DPoP (RFC 9449 section 7.1).
pub const DPOP_SCHEME: &str = "DPoP";

/// What a request shows of the key that its token may be bound to (RFC 7800), as the PEP received it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct TokenProof {
    /// The method of the original HTTP request; empty if it was not said.
    pub method: Arc<str>,
    /// The URI of the original HTTP request; empty if it was not said. Query and fragment are not looked at.
    pub uri: Arc<str>,
    /// Every `DPoP` header of the request, in order (RFC 9449 section 4.1).
    pub dpop: Vec<Arc<str>>,
    /// The certificate with which the client proved itself to the PEP (RFC 8705), DER or PEM; empty without one.
    pub client_certificate: Arc<[u8]>,
}

impl TokenProof {
    /// The longest method, in bytes.
    pub const METHOD_BYTES_MAX: usize = 32;
    /// The longest URI, in bytes.
    pub const URI_BYTES_MAX: usize = 8 * 1024;
    /// The longest `DPoP` header, in bytes.
    pub const DPOP_BYTES_MAX: usize = 8 * 1024;
    /// The most `DPoP` headers that are taken; a request with more than one is refused, so the rest tells nothing new.
    pub const DPOP_COUNT_MAX: usize = 16;
    /// The longest certificate, in bytes.
    pub const CERTIFICATE_BYTES_MAX: usize = 16 * 1024;

    /// Nothing was said.
    pub fn is_empty(&self) -> bool {
        let Self { method, uri, dpop, client_certificate } = self;
        method.is_empty() && uri.is_empty() && dpop.is_empty() && client_certificate.is_empty()
    }
}

/// Shows nothing: a proof can be used again for a while, and a URI may hold ids of people.
impl fmt::Debug for TokenProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenProof")
    }
}

/// The keys that a token is bound to (`cnf`, RFC 7800 section 3.1); of each that is named, possession must be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confirmation {
    /// The SHA-256 thumbprint of a public key (`jkt`, RFC 9449 section 6.1).
    pub key_thumbprint: Option<[u8; 32]>,
    /// The SHA-256 thumbprint of a certificate (`x5t#S256`, RFC 8705 section 3.1).
    pub certificate_thumbprint: Option<[u8; 32]>,
}

impl Confirmation {
    /// Reads the claim `cnf`, of a token or of an introspection answer; `None` when a member that is known is not what it
    /// should be. Other members are left out, so what is bound by these alone is bound to nothing that could be shown.
    pub fn read(claim: &Value) -> Option<Self> {
        let members = claim.as_object()?;
        let thumbprint = |name: &str| match members.get(name) {
            None => Some(None),
            Some(text) => URL_SAFE_NO_PAD.decode(text.as_str()?).ok()?.try_into().ok().map(Some),
        };
        Some(Self { key_thumbprint: thumbprint("jkt")?, certificate_thumbprint: thumbprint("x5t#S256")? })
    }

    /// Checks that a request with this token shows possession of all that the token is bound to. `scheme` is the word that
    /// the token came with, `None` for a query parameter. A DPoP proof that holds is returned: it counts for one call.
    ///
    /// # Errors
    /// [`TokenError::ProofRequired`] when a proof is not there, the scheme word is not `DPoP` for a token that is bound by
    /// it, or nothing is known by which to show possession; [`TokenError::ProofInvalid`].
    pub fn check(
        &self,
        token: &str,
        scheme: Option<&str>,
        proof: &TokenProof,
        now_seconds: i64,
        skew_seconds: i64,
    ) -> Result<Option<Proof>, TokenError> {
        if let Some(expected) = &self.certificate_thumbprint {
            certificate_binding::check(&proof.client_certificate, expected)?;
        }
        let Some(key_thumbprint) = &self.key_thumbprint else {
            return self.certificate_thumbprint.map(|_| None).ok_or(TokenError::ProofRequired);
        };
        if !scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(DPOP_SCHEME)) {
            return Err(TokenError::ProofRequired);
        }
        let TokenProof { method, uri, dpop, .. } = proof;
        let request = Request { token, key_thumbprint, method, uri, now_seconds, skew_seconds };
        dpop::check(dpop, &request).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use sha2::{Digest, Sha256};

    use super::*;

    const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

    #[test]
    fn a_confirmation_is_read_strictly() {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(THUMBPRINT).unwrap().try_into().unwrap();
        let of = |key_thumbprint, certificate_thumbprint| Confirmation { key_thumbprint, certificate_thumbprint };
        for (claim, expected) in [
            (json!({ "jkt": THUMBPRINT }), Some(of(Some(bytes), None))),
            (json!({ "x5t#S256": THUMBPRINT }), Some(of(None, Some(bytes)))),
            (json!({ "x5t#S256": THUMBPRINT, "jkt": THUMBPRINT, "jwk": {} }), Some(of(Some(bytes), Some(bytes)))),
            (json!({}), Some(of(None, None))),
            (json!({ "kid": "x", "jwk": {} }), Some(of(None, None))),
            (json!(THUMBPRINT), None),
            (json!([{ "jkt": THUMBPRINT }]), None),
            (json!(null), None),
            (json!({ "jkt": 1 }), None),
            (json!({ "jkt": null }), None),
            (json!({ "jkt": format!("{THUMBPRINT}=") }), None),
            (json!({ "jkt": "AQAB" }), None),
            (json!({ "jkt": THUMBPRINT, "x5t#S256": "" }), None),
        ] {
            assert_eq!(Confirmation::read(&claim), expected, "{claim}");
        }
    }

    #[test]
    fn what_cannot_be_shown_is_missing() {
        let everything = TokenProof {
            method: "GET".into(),
            uri: "https://api.example/".into(),
            dpop: vec!["proof".into()],
            client_certificate: Arc::new([0x30, 0]),
        };
        let of = |key_thumbprint, certificate_thumbprint| Confirmation { key_thumbprint, certificate_thumbprint };
        let of_certificate = Some(Sha256::digest([0x30, 0]).into());
        for (confirmation, scheme, expected) in [
            (of(None, None), Some("DPoP"), "PROOF_REQUIRED"),
            (of(None, None), Some("Bearer"), "PROOF_REQUIRED"),
            (of(Some([1; 32]), None), Some("Bearer"), "PROOF_REQUIRED"),
            (of(Some([1; 32]), None), None, "PROOF_REQUIRED"),
            (of(Some([1; 32]), None), Some("dpop"), "PROOF_INVALID"),
            (of(None, Some([1; 32])), Some("Bearer"), "PROOF_INVALID"),
            (of(None, of_certificate), Some("Bearer"), "OK"),
            (of(None, of_certificate), None, "OK"),
            (of(Some([1; 32]), of_certificate), Some("DPoP"), "PROOF_INVALID"),
            (of(Some([1; 32]), of_certificate), Some("Bearer"), "PROOF_REQUIRED"),
        ] {
            let answer = confirmation.check("token", scheme, &everything, 0, 30);
            assert_eq!(answer.err().map_or("OK", |error| error.code()), expected, "{confirmation:?} {scheme:?}");
            let answer = confirmation.check("token", scheme, &TokenProof::default(), 0, 30);
            assert_eq!(answer.unwrap_err().code(), "PROOF_REQUIRED", "{confirmation:?} {scheme:?}");
        }
    }
}
