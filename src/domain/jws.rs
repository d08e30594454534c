//! A signed text in compact form (RFC 7515): its parts, its header, and whether the signature holds.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use crate::domain::{
    issuer::Algorithm,
    key_set::KeySet,
    strict_json::{self, JsonFault},
    token_error::TokenError,
    verifying_key::VerifyingKey,
};

/// The longest token that is read, in bytes.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The longest `kid` that is looked up, in characters.
const KEY_ID_CHARS_MAX: usize = 256;

/// Header members that bring keys from outside or hide the content; a token with one is refused (RFC 8725 section 3.10).
const FORBIDDEN_MEMBERS: [&str; 6] = ["jwk", "jku", "x5u", "x5c", "zip", "cty"];

/// A compact JWS whose signature nobody has looked at yet.
pub struct Jws<'t> {
    /// The first two parts as they came: what is signed.
    signed: &'t str,
    /// The third part, decoded.
    signature: Vec<u8>,
    header: Header,
    payload: Vec<u8>,
}

/// The members of a header that matter.
struct Header {
    algorithm: String,
    key_id: Option<String>,
    token_type: Option<String>,
    /// The forbidden members that are there, in the order of [`FORBIDDEN_MEMBERS`].
    forbidden: Vec<&'static str>,
    demands_extension: bool,
    /// `jwk`, where it is an object.
    own_key: Option<Map<String, Value>>,
}

impl<'t> Jws<'t> {
    /// Takes a token apart and reads its header.
    ///
    /// # Errors
    /// [`TokenError`], in this order: size, three parts of strict base64url, header.
    pub fn read(token: &'t str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLarge);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Format)?;
        let (header, payload) = signed.split_once('.').ok_or(TokenError::Format)?;
        // A fourth part would be a dot in the payload, which base64url does not have.
        let header = decode(header)?;
        let payload = decode(payload)?;
        let signature = decode(signature)?;
        Ok(Self { signed, signature, header: Header::read(&header)?, payload })
    }

    /// The payload, unverified until [`Jws::verify`] returns.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The id of the key that the header names.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// The header's `typ`.
    pub fn token_type(&self) -> Option<&str> {
        self.header.token_type.as_deref()
    }

    /// Checks that one of the issuer's keys signed this, with an algorithm that the issuer uses.
    ///
    /// # Errors
    /// [`TokenError`], in this order: algorithm, forbidden members, extensions, key, key and algorithm, signature.
    pub fn verify(&self, algorithms: &[Algorithm], keys: &KeySet) -> Result<(), TokenError> {
        let algorithm = self.check_header(algorithms, None)?;
        let key = keys.key(self.key_id(), algorithm)?;
        self.check_signature(algorithm, key)
    }

    /// The public key that the header brings (`jwk`). A token with one is refused; a proof of possession needs one.
    pub(crate) fn own_key(&self) -> Option<&Map<String, Value>> {
        self.header.own_key.as_ref()
    }

    /// Checks that the key of the header itself, read as `key`, signed this. That proves nothing but that the signer has
    /// this key.
    ///
    /// # Errors
    /// [`TokenError`], in this order: algorithm, forbidden members beside the key, extensions, signature.
    pub(crate) fn verify_by_own_key(&self, algorithms: &[Algorithm], key: &VerifyingKey) -> Result<(), TokenError> {
        let algorithm = self.check_header(algorithms, Some("jwk"))?;
        self.check_signature(algorithm, key)
    }

    /// Checks the header but for its key; `expected` is the one forbidden member that may be there.
    ///
    /// # Errors
    /// [`TokenError`], in this order: algorithm, forbidden members, extensions.
    pub(crate) fn check_header(
        &self,
        algorithms: &[Algorithm],
        expected: Option<&str>,
    ) -> Result<Algorithm, TokenError> {
        let header = &self.header;
        let algorithm = algorithms.iter().copied().find(|allowed| allowed.name() == header.algorithm);
        let algorithm = algorithm.ok_or(TokenError::AlgorithmNotAllowed)?;
        if let Some(member) = header.forbidden.iter().copied().find(|member| Some(*member) != expected) {
            return Err(TokenError::HeaderForbidden { member });
        }
        if header.demands_extension { Err(TokenError::ExtensionUnsupported) } else { Ok(algorithm) }
    }

    fn check_signature(&self, algorithm: Algorithm, key: &VerifyingKey) -> Result<(), TokenError> {
        let holds = key.holds(algorithm, self.signed.as_bytes(), &self.signature);
        if holds { Ok(()) } else { Err(TokenError::SignatureInvalid) }
    }
}

/// Shows nothing of the token.
impl fmt::Debug for Jws<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jws").finish_non_exhaustive()
    }
}

impl Header {
    fn read(bytes: &[u8]) -> Result<Self, TokenError> {
        let mut header = strict_json::read_object(bytes).map_err(|fault| match fault {
            JsonFault::DuplicateName => TokenError::DuplicateName { part: "header" },
            fault => TokenError::HeaderInvalid { reason: fault.reason() },
        })?;
        let algorithm = text(&header, "alg", "has an `alg` that is not text")?;
        let key_id = text(&header, "kid", "has a `kid` that is not text")?;
        if key_id.as_ref().is_some_and(|id| id.chars().count() > KEY_ID_CHARS_MAX) {
            return Err(TokenError::HeaderInvalid { reason: "has a `kid` of more than 256 characters" });
        }
        match header.get("crit") {
            Some(Value::Array(names)) if names.iter().all(Value::is_string) => {}
            Some(_) => return Err(TokenError::HeaderInvalid { reason: "has a `crit` that is not a list of names" }),
            None => {}
        }
        Ok(Self {
            algorithm: algorithm.ok_or(TokenError::HeaderInvalid { reason: "has no `alg`" })?,
            key_id,
            token_type: text(&header, "typ", "has a `typ` that is not text")?,
            forbidden: FORBIDDEN_MEMBERS.into_iter().filter(|member| header.contains_key(*member)).collect(),
            // `b64` changes what is signed, so it must not be overlooked even where `crit` fails to list it.
            demands_extension: header.contains_key("crit") || header.contains_key("b64"),
            own_key: match header.get_mut("jwk").map(Value::take) {
                Some(Value::Object(key)) => Some(key),
                _ => None,
            },
        })
    }
}

/// A header member that is text or not there.
fn text(header: &Map<String, Value>, name: &str, reason: &'static str) -> Result<Option<String>, TokenError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(TokenError::HeaderInvalid { reason }),
    }
}

/// Decodes base64url without padding, and nothing that merely resembles it (RFC 7515 section 2).
fn decode(part: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Format)
}
