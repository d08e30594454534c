//! What a request shows of the key that its token may be bound to, and that key as the token names it.

use std::{fmt, sync::Arc};

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
