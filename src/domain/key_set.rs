//! An issuer's keys by key id, each admitted or rejected with a reason before any token is looked at.

use std::{fmt, sync::Arc};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use crate::domain::{
    issuer::Algorithm, rsa_modulus, strict_json, token_error::TokenError, verifying_key::VerifyingKey,
};

/// The largest JWKS that is read, in bytes.
pub const JWKS_BYTES_MAX: usize = 256 * 1024;

/// The most keys that a set may have.
pub const KEYS_MAX: usize = 100;

/// The shortest secret of any algorithm, in bytes; the algorithms with longer hashes want longer ones.
const SECRET_BYTES_MIN: usize = 32;

/// Members that only private keys have (RFC 7518 sections 6.2.2 and 6.3.2).
const PRIVATE_MEMBERS: [&str; 7] = ["d", "p", "q", "dp", "dq", "qi", "oth"];

/// An issuer's keys. The empty set refuses every token.
#[derive(Clone, Default)]
pub struct KeySet {
    admitted: Vec<AdmittedKey>,
    rejected: Vec<RejectedKey>,
}

/// A key that may verify signatures.
#[derive(Clone)]
struct AdmittedKey {
    id: Option<Arc<str>>,
    /// What the key may be used with; one algorithm when the key says so itself.
    algorithms: Vec<Algorithm>,
    key: VerifyingKey,
}

/// A key that is in the set and may not be used.
#[derive(Clone)]
struct RejectedKey {
    id: Option<Arc<str>>,
    reason: &'static str,
}

/// Why a whole key set is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// Larger than [`JWKS_BYTES_MAX`].
    #[error("the key set is larger than 256 KiB")]
    TooLarge,
    /// More keys than [`KEYS_MAX`].
    #[error("the key set has more than 100 keys")]
    TooManyKeys,
    /// Not a JWKS (RFC 7517 section 5).
    #[error("the key set {reason}, expected a JSON object with a list `keys` of objects")]
    Malformed {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Two keys have the same id, so a token does not say which one signed it.
    #[error("two keys of the set have the id `{id}`")]
    DuplicateId {
        /// The key id.
        id: String,
    },
    /// Shared secrets and public keys in one set invite confusing one with the other (RFC 8725 section 2.1).
    #[error("the key set mixes shared secrets (`oct`) with public keys")]
    Mixed,
    /// The set gives a private key away; whoever could read it can sign tokens.
    #[error("the key set holds the private part of a key; replace that key, and publish public parts only")]
    Private,
    /// A shared secret that can be guessed.
    #[error("a shared secret of the key set is shorter than 32 bytes")]
    SecretTooShort,
}

impl KeySet {
    /// Reads a JWKS and admits the keys that may verify signatures.
    ///
    /// Keys of unknown types are ignored (RFC 7517 section 5); keys that are for another purpose, weak or broken are
    /// kept as rejected, so that a token which names one is told why.
    ///
    /// # Errors
    /// [`KeySetError`] when the set as a whole cannot be trusted.
    pub fn from_jwks(json: &str) -> Result<Self, KeySetError> {
        if json.len() > JWKS_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let set = strict_json::read_object(json.as_bytes())
            .map_err(|fault| KeySetError::Malformed { reason: fault.reason() })?;
        let Some(Value::Array(keys)) = set.get("keys") else {
            return Err(KeySetError::Malformed { reason: "has no list `keys`" });
        };
        if keys.len() > KEYS_MAX {
            return Err(KeySetError::TooManyKeys);
        }
        let mut admission = Admission::default();
        for key in keys {
            let key = key.as_object().ok_or(KeySetError::Malformed { reason: "has a key that is not an object" })?;
            admission.take(key)?;
        }
        Ok(admission.set)
    }

    /// The key that a token names, if it may be used with the token's algorithm. A token may leave the id out when
    /// the set has exactly one usable key.
    ///
    /// # Errors
    /// [`TokenError::KeyNotFound`], [`TokenError::KeyIdMissing`], [`TokenError::KeyRejected`] or
    /// [`TokenError::AlgorithmKeyMismatch`].
    pub fn key(&self, id: Option<&str>, algorithm: Algorithm) -> Result<&VerifyingKey, TokenError> {
        let admitted = match (id, self.admitted.as_slice()) {
            (None, [only]) => only,
            (None, [_, _, ..]) => return Err(TokenError::KeyIdMissing),
            (id, keys) => match keys.iter().find(|key| id.is_some() && key.id.as_deref() == id) {
                Some(key) => key,
                None => return Err(self.why_not(id)),
            },
        };
        if admitted.algorithms.contains(&algorithm) { Ok(&admitted.key) } else { Err(TokenError::AlgorithmKeyMismatch) }
    }

    /// The set has a key of this id, usable or not.
    pub fn contains(&self, id: &str) -> bool {
        self.ids().any(|known| known == id)
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.admitted.len()
    }

    /// No key is usable.
    pub fn is_empty(&self) -> bool {
        self.admitted.is_empty()
    }

    /// The keys that are in the set and not usable: id, if it has one, and reason.
    pub fn rejected(&self) -> impl Iterator<Item = (Option<&str>, &'static str)> {
        self.rejected.iter().map(|key| (key.id.as_deref(), key.reason))
    }

    /// The ids of all keys of the set, usable or not.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        let admitted = self.admitted.iter().map(|key| &key.id);
        admitted.chain(self.rejected.iter().map(|key| &key.id)).filter_map(|id| id.as_deref())
    }

    fn why_not(&self, id: Option<&str>) -> TokenError {
        let rejected = self.rejected.iter().find(|key| id.is_none() || key.id.as_deref() == id);
        rejected.map_or(TokenError::KeyNotFound, |key| TokenError::KeyRejected { reason: key.reason })
    }
}

/// Shows the ids of the keys only.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySet ")?;
        f.debug_list().entries(self.ids()).finish()
    }
}

/// A key set while it is read.
#[derive(Default)]
struct Admission {
    set: KeySet,
    has_secrets: bool,
    has_public_keys: bool,
}

impl Admission {
    fn take(&mut self, key: &Map<String, Value>) -> Result<(), KeySetError> {
        let kind = member(key, "kty");
        let is_secret = kind == Some("oct");
        if !is_secret && !matches!(kind, Some("RSA" | "EC" | "OKP")) {
            return Ok(());
        }
        if !is_secret && PRIVATE_MEMBERS.iter().any(|name| key.contains_key(*name)) {
            return Err(KeySetError::Private);
        }
        self.has_secrets |= is_secret;
        self.has_public_keys |= !is_secret;
        if self.has_secrets && self.has_public_keys {
            return Err(KeySetError::Mixed);
        }
        let id: Option<Arc<str>> = member(key, "kid").map(Arc::from);
        if let Some(id) = id.as_deref().filter(|id| self.set.contains(id)) {
            return Err(KeySetError::DuplicateId { id: id.to_owned() });
        }
        if is_secret && octets(key, "k").is_none_or(|secret| secret.len() < SECRET_BYTES_MIN) {
            return Err(KeySetError::SecretTooShort);
        }
        match admit(key) {
            Ok((algorithms, key)) => self.set.admitted.push(AdmittedKey { id, algorithms, key }),
            Err(reason) => self.set.rejected.push(RejectedKey { id, reason }),
        }
        Ok(())
    }
}

/// Checks that a key is for signatures and sound, and says what it may be used with.
fn admit(key: &Map<String, Value>) -> Result<(Vec<Algorithm>, VerifyingKey), &'static str> {
    if key.get("kid").is_some_and(|id| !id.is_string()) {
        return Err("its `kid` is not text");
    }
    if key.get("use").is_some_and(|purpose| purpose != "sig") {
        return Err("it is not for signatures (`use`)");
    }
    if key.get("key_ops").is_some_and(|operations| {
        operations.as_array().is_none_or(|operations| !operations.iter().any(|operation| operation == "verify"))
    }) {
        return Err("it is not for verifying signatures (`key_ops`)");
    }
    let (fitting, decoded) = decode(key)?;
    match key.get("alg") {
        None => Ok((fitting, decoded)),
        Some(name) => {
            let pinned = fitting.iter().copied().find(|algorithm| name == algorithm.name());
            Ok((vec![pinned.ok_or("its `alg` does not fit its type, curve or length, or is not supported")?], decoded))
        }
    }
}

/// Reads a public key that stands alone, such as that of a proof, by the rules of those in a set.
///
/// # Errors
/// What is wrong with it: a sentence about the key.
pub(crate) fn public_key(key: &Map<String, Value>) -> Result<(Vec<Algorithm>, VerifyingKey), &'static str> {
    if !matches!(member(key, "kty"), Some("RSA" | "EC" | "OKP")) {
        return Err("its key is not a public key of a known type");
    }
    // `k` is a shared secret, which has no place in a public key of any type.
    if PRIVATE_MEMBERS.iter().chain(&["k"]).any(|name| key.contains_key(*name)) {
        return Err("its key has a private part");
    }
    admit(key)
}

/// Decodes the key itself; says what a key of its type and curve can be used with.
fn decode(key: &Map<String, Value>) -> Result<(Vec<Algorithm>, VerifyingKey), &'static str> {
    use Algorithm::{ES256, ES384, ES512, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};

    match (member(key, "kty"), member(key, "crv")) {
        (Some("RSA"), _) => {
            let modulus = octets(key, "n").ok_or("its `n` is not a base64url number")?;
            let exponent = octets(key, "e").ok_or("its `e` is not a base64url number")?;
            if let Some(reason) = rsa_modulus::fault(&modulus, &exponent) {
                return Err(reason);
            }
            let key = DecodingKey::from_rsa_raw_components(&modulus, &exponent);
            Ok((vec![RS256, RS384, RS512, PS256, PS384, PS512], key.into()))
        }
        (Some("EC"), Some("P-256")) => Ok((vec![ES256], DecodingKey::from_ec_der(&point(key, 32)?).into())),
        (Some("EC"), Some("P-384")) => Ok((vec![ES384], DecodingKey::from_ec_der(&point(key, 48)?).into())),
        (Some("EC"), Some("P-521")) => {
            let key = VerifyingKey::p521(&point(key, 66)?).ok_or("its coordinates are not on its curve")?;
            Ok((vec![ES512], key))
        }
        (Some("OKP"), Some("Ed25519")) => {
            let x = octets(key, "x").filter(|x| x.len() == 32).ok_or("its `x` is not 32 bytes of base64url")?;
            Ok((vec![EdDSA], DecodingKey::from_ed_der(&x).into()))
        }
        (Some("oct"), _) => {
            let secret = octets(key, "k").ok_or("its `k` is not base64url")?;
            let is_long_enough =
                |algorithm: &Algorithm| algorithm.secret_bytes_min().is_some_and(|bytes| secret.len() >= bytes);
            let fitting = Algorithm::ALL.into_iter().filter(is_long_enough).collect();
            Ok((fitting, DecodingKey::from_secret(&secret).into()))
        }
        _ => Err("its curve is not supported"),
    }
}

/// An uncompressed curve point (RFC 7518 section 6.2.1): both coordinates have the full length of the curve's field.
/// Whether it lies on the curve is checked by the library before each use.
fn point(key: &Map<String, Value>, coordinate_bytes: usize) -> Result<Vec<u8>, &'static str> {
    let coordinate = |name| octets(key, name).filter(|octets| octets.len() == coordinate_bytes);
    match (coordinate("x"), coordinate("y")) {
        (Some(x), Some(y)) => Ok([&[4][..], &x, &y].concat()),
        _ => Err("its coordinates do not have the length of its curve"),
    }
}

fn member<'k>(key: &'k Map<String, Value>, name: &str) -> Option<&'k str> {
    key.get(name).and_then(Value::as_str)
}

fn octets(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    member(key, name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok())
}

#[cfg(test)]
mod tests;
