//! A key that checks signatures, whichever library knows its algorithm.

use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, ParsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;

use crate::domain::issuer::Algorithm;

/// A public key or shared secret; which algorithms it may be used with is for its owner to know.
#[derive(Clone)]
pub struct VerifyingKey(Kind);

#[derive(Clone)]
enum Kind {
    /// All that `jsonwebtoken` knows.
    Usual(DecodingKey),
    /// A point on the curve P-521, which `jsonwebtoken` does not know.
    P521(ParsedPublicKey),
}

impl VerifyingKey {
    /// Whether `signature`, of raw bytes, is this key's over `message`, made with `algorithm`. An algorithm that is not
    /// of the key's kind never holds.
    pub fn holds(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        match (&self.0, library_name(algorithm)) {
            (Kind::Usual(key), Some(algorithm)) => {
                let signature = URL_SAFE_NO_PAD.encode(signature);
                jsonwebtoken::crypto::verify(&signature, message, key, algorithm).unwrap_or(false)
            }
            (Kind::P521(key), None) => key.verify_sig(message, signature).is_ok(),
            _ => false,
        }
    }

    /// A point on the curve P-521, uncompressed (SEC 1 section 2.3.3); `None` when it does not lie on the curve.
    pub(crate) fn p521(point: &[u8]) -> Option<Self> {
        ParsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).ok().map(|key| Self(Kind::P521(key)))
    }
}

impl From<DecodingKey> for VerifyingKey {
    fn from(key: DecodingKey) -> Self {
        Self(Kind::Usual(key))
    }
}

/// Shows nothing of the key, which may be a secret.
impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VerifyingKey")
    }
}

/// What `jsonwebtoken` calls the algorithm, if it knows it.
fn library_name(algorithm: Algorithm) -> Option<jsonwebtoken::Algorithm> {
    Some(match algorithm {
        Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
        Algorithm::RS384 => jsonwebtoken::Algorithm::RS384,
        Algorithm::RS512 => jsonwebtoken::Algorithm::RS512,
        Algorithm::PS256 => jsonwebtoken::Algorithm::PS256,
        Algorithm::PS384 => jsonwebtoken::Algorithm::PS384,
        Algorithm::PS512 => jsonwebtoken::Algorithm::PS512,
        Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
        Algorithm::ES384 => jsonwebtoken::Algorithm::ES384,
        Algorithm::ES512 => return None,
        Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
        Algorithm::HS384 => jsonwebtoken::Algorithm::HS384,
        Algorithm::HS512 => jsonwebtoken::Algorithm::HS512,
    })
}
