//! Proof of possession by a signature over the request: DPoP (RFC 9449 section 4.3).
//!
//! Of the checks of that section, what costs nothing comes first and the signature only once the proof's key is the one
//! that the token is bound to. No nonce is ever asked for, so none is looked at. That a proof is used once only is for
//! whoever keeps the [`ProofId`]s.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::domain::{
    issuer::Algorithm,
    jws::Jws,
    key_set::public_key,
    strict_json,
    token::{media_type, seconds},
    token_error::TokenError,
    uri_syntax::normalized,
};

/// How long a proof may be used after it was made, and how far its maker's clock may be ahead, in seconds, beside the
/// issuer's skew.
pub const PROOF_SECONDS_MAX: i64 = 60;

/// The longest `jti` of a proof, in bytes.
pub const PROOF_ID_BYTES_MAX: usize = 512;

/// The algorithms of proofs: all that have a public key.
pub const ALGORITHMS: [Algorithm; 10] = [
    Algorithm::RS256,
    Algorithm::RS384,
    Algorithm::RS512,
    Algorithm::PS256,
    Algorithm::PS384,
    Algorithm::PS512,
    Algorithm::ES256,
    Algorithm::ES384,
    Algorithm::ES512,
    Algorithm::EdDSA,
];

/// The `typ` of proofs.
const TYPE: &str = "dpop+jwt";

/// What a proof is checked against.
#[derive(Clone, Copy)]
pub struct Request<'r> {
    /// The access token as it came.
    pub token: &'r str,
    /// The SHA-256 thumbprint of the key that the token is bound to (`cnf.jkt`).
    pub key_thumbprint: &'r [u8; 32],
    /// The request's method.
    pub method: &'r str,
    /// The request's URI, absolute.
    pub uri: &'r str,
    /// The time, in seconds since the epoch.
    pub now_seconds: i64,
    /// How far clocks may differ, in seconds.
    pub skew_seconds: i64,
}

/// Shows nothing of the token.
impl std::fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").finish_non_exhaustive()
    }
}

/// What tells one proof from all others: its key and its `jti`, as a digest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ProofId([u8; 32]);

impl ProofId {
    /// The id of a proof by the thumbprint of its key and its `jti`.
    pub fn new(key_thumbprint: &[u8; 32], jti: &str) -> Self {
        Self(Sha256::new().chain_update(key_thumbprint).chain_update(jti).finalize().into())
    }
}

/// A proof that holds, if it was not used before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proof {
    /// Which one.
    pub id: ProofId,
    /// The last second in which it holds, since the epoch.
    pub until_seconds: i64,
}

/// Checks the `DPoP` headers of a request with a token that is bound to a key.
///
/// # Errors
/// [`TokenError::ProofRequired`] without any, [`TokenError::ProofInvalid`] when there are several or the one does not
/// hold.
pub fn check(headers: &[Arc<str>], request: &Request<'_>) -> Result<Proof, TokenError> {
    match headers {
        [] => Err(TokenError::ProofRequired),
        [proof] => check_one(proof, request).map_err(|reason| TokenError::ProofInvalid { reason }),
        _ => Err(TokenError::ProofInvalid { reason: "the request has several `DPoP` headers, expected one" }),
    }
}

fn check_one(proof: &str, request: &Request<'_>) -> Result<Proof, &'static str> {
    let jws = Jws::read(proof).map_err(|_| "it is not a signed JWT with a header of strict JSON")?;
    if !jws.token_type().is_some_and(|found| media_type(found).eq_ignore_ascii_case(TYPE)) {
        return Err("its `typ` is not `dpop+jwt`");
    }
    check_key(&jws, request.key_thumbprint)?;
    let claims = strict_json::read_object(jws.payload()).map_err(|_| "its payload is not strict JSON")?;
    let until_seconds = check_times(&claims, request)?;
    let method = text(&claims, "htm").ok_or("its `htm` is missing or not a text")?;
    if method.is_empty() || method != request.method {
        return Err("it was made for another method (`htm`), or the request's method is not told");
    }
    let target = text(&claims, "htu").and_then(normalized).ok_or("its `htu` is missing or not an absolute http URI")?;
    if normalized(request.uri) != Some(target) {
        return Err("it was made for another URI (`htu`), or the request's URI is not told");
    }
    if text(&claims, "ath") != Some(&URL_SAFE_NO_PAD.encode(Sha256::digest(request.token))) {
        return Err("it was made for another token (`ath`)");
    }
    match text(&claims, "jti") {
        Some(jti) if !jti.is_empty() && jti.len() <= PROOF_ID_BYTES_MAX => {
            Ok(Proof { id: ProofId::new(request.key_thumbprint, jti), until_seconds })
        }
        _ => Err("its `jti` is missing or not a text of 1 to 512 bytes"),
    }
}

/// The proof's own key is the one that the token is bound to, and has signed the proof.
fn check_key(jws: &Jws<'_>, expected: &[u8; 32]) -> Result<(), &'static str> {
    let own = jws.own_key().ok_or("its header has no `jwk`")?;
    let (fitting, key) = public_key(own)?;
    if thumbprint(own) != Some(*expected) {
        return Err("the token is bound to another key (`cnf.jkt`)");
    }
    let accepted: Vec<_> = fitting.into_iter().filter(|algorithm| ALGORITHMS.contains(algorithm)).collect();
    jws.verify_by_own_key(&accepted, &key).map_err(|error| match error {
        TokenError::AlgorithmNotAllowed => "its algorithm is not one of public keys, or does not fit its key",
        TokenError::SignatureInvalid => "its signature is not valid",
        _ => "its header has members that are never followed",
    })
}

/// The SHA-256 thumbprint of a public key (RFC 7638 section 3, RFC 8037 section 2): its required members in order, nothing
/// else.
fn thumbprint(key: &Map<String, Value>) -> Option<[u8; 32]> {
    let names: &[&str] = match text(key, "kty")? {
        "EC" => &["crv", "kty", "x", "y"],
        "OKP" => &["crv", "kty", "x"],
        "RSA" => &["e", "kty", "n"],
        _ => return None,
    };
    let members: Option<Map<_, _>> =
        names.iter().map(|name| key.get(*name).map(|value| ((*name).to_owned(), value.clone()))).collect();
    // The names stand in their order above already, and nothing is written between them.
    Some(Sha256::digest(Value::Object(members?).to_string()).into())
}

/// Checks when the proof was made and returns the last second in which it holds.
fn check_times(claims: &Map<String, Value>, request: &Request<'_>) -> Result<i64, &'static str> {
    let Request { now_seconds, skew_seconds, .. } = *request;
    let time = |name: &str, round| match claims.get(name) {
        None => Ok(None),
        Some(value) => seconds(value, round).map(Some).ok_or("its times are not seconds since 1970 as numbers"),
    };
    let made_at = time("iat", f64::floor)?.ok_or("its `iat` is missing")?;
    let window = PROOF_SECONDS_MAX.saturating_add(skew_seconds);
    // Made ahead only as far as clocks may differ: a proof that is prepared for later would live longer than others.
    let is_old = now_seconds.saturating_sub(made_at) > window;
    if is_old || made_at.saturating_sub(now_seconds) > skew_seconds {
        return Err("it was not made just now (`iat`); check the clocks of the client and of this service");
    }
    let is_over = time("exp", f64::floor)?.is_some_and(|until| now_seconds >= until.saturating_add(skew_seconds));
    let is_early = time("nbf", f64::ceil)?.is_some_and(|from| from > now_seconds.saturating_add(skew_seconds));
    if is_over || is_early {
        return Err("it is not valid now (`exp`, `nbf`)");
    }
    Ok(made_at.saturating_add(window))
}

/// A member that is a text.
fn text<'m>(members: &'m Map<String, Value>, name: &str) -> Option<&'m str> {
    members.get(name).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
