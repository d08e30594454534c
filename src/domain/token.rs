//! From a token's text to verified claims, by a fixed order of checks with one reason each.
//!
//! The order is: size, three parts, header, payload, `iss`, then [`UnverifiedToken::verify`]: algorithm, forbidden header
//! members, extensions, key, signature, `typ`, claims and their types, times, audience, version, whether there is a way to
//! prove possession of what the token is bound to. Of the payload nothing but `iss` is used before the signature holds. The
//! proof itself belongs to a request, not to the token: see [`Confirmation::check`].

use std::{fmt, sync::Arc};

use serde_json::{Map, Value};

use crate::domain::{
    issuer::{Issuer, VersionRule, major_version},
    jws::Jws,
    key_set::KeySet,
    strict_json::{self, JsonFault},
    token_proof::Confirmation,
};

pub use crate::domain::token_error::TokenError;

/// A token that can be read, of which nothing is known to be true.
#[derive(Debug)]
pub struct UnverifiedToken<'t> {
    jws: Jws<'t>,
    payload: Payload,
    issuer: Arc<str>,
}

/// What a verified token says.
#[derive(Clone, PartialEq)]
pub struct Claims {
    issuer: Arc<str>,
    expires_at_seconds: i64,
    issued_at_seconds: Option<i64>,
    confirmation: Option<Confirmation>,
    payload: Payload,
}

/// Reads a token.
///
/// # Errors
/// [`TokenError`] when its form is wrong; whether the rest of it is true, only [`UnverifiedToken::verify`] tells.
pub fn read(token: &str) -> Result<UnverifiedToken<'_>, TokenError> {
    let jws = Jws::read(token)?;
    let payload = strict_json::read_object(jws.payload()).map_err(|fault| match fault {
        JsonFault::DuplicateName => TokenError::DuplicateName { part: "payload" },
        fault => TokenError::PayloadInvalid { reason: fault.reason() },
    })?;
    let payload = Payload(payload);
    let issuer = payload.text("iss")?.ok_or_else(|| missing("iss"))?.into();
    Ok(UnverifiedToken { jws, payload, issuer })
}

impl UnverifiedToken<'_> {
    /// The issuer that the token claims to be from.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The id of the key that the token claims to be signed with.
    pub fn key_id(&self) -> Option<&str> {
        self.jws.key_id()
    }

    /// Checks the token as one of `issuer` as far as that goes without keys, so that none are fetched in vain.
    ///
    /// # Errors
    /// [`TokenError`], which [`UnverifiedToken::verify`] would give as well.
    pub fn check_header(&self, issuer: &Issuer) -> Result<(), TokenError> {
        if *self.issuer != *issuer.issuer {
            return Err(TokenError::IssuerUnknown);
        }
        self.jws.check_header(&issuer.algorithms, None).map(|_| ())
    }

    /// Verifies the token as one of `issuer`, whose keys are `keys`, at `now_seconds` since the epoch.
    ///
    /// # Errors
    /// [`TokenError`]: the first check that fails, in the order of this module.
    pub fn verify(self, issuer: &Issuer, keys: &KeySet, now_seconds: i64) -> Result<Claims, TokenError> {
        self.check_header(issuer)?;
        self.jws.verify(&issuer.algorithms, keys)?;
        check_type(self.jws.token_type(), &issuer.types)?;
        self.payload.accepted(issuer, now_seconds)
    }
}

/// Takes what `issuer` says about one of its opaque tokens (RFC 7662 section 2.2), by the checks that a JWT's claims pass.
/// What the answer leaves out is what is known anyway: who the issuer is, and that the answer counts `until_seconds`.
///
/// # Errors
/// [`TokenError`]: [`TokenError::Inactive`] unless `active` is true, then as [`UnverifiedToken::verify`].
pub fn introspected(
    mut answer: Map<String, Value>,
    issuer: &Issuer,
    until_seconds: i64,
    now_seconds: i64,
) -> Result<Claims, TokenError> {
    if answer.get("active") != Some(&Value::Bool(true)) {
        return Err(TokenError::Inactive);
    }
    let name = answer.entry("iss").or_insert_with(|| Value::from(&*issuer.issuer));
    if name.as_str() != Some(&issuer.issuer) {
        return Err(TokenError::IssuerUnknown);
    }
    answer.entry("exp").or_insert_with(|| until_seconds.into());
    let mut claims = Payload(answer).accepted(issuer, now_seconds)?;
    claims.expires_at_seconds = claims.expires_at_seconds.min(until_seconds);
    Ok(claims)
}

impl Payload {
    /// Checks what can be wrong with true claims.
    fn accepted(self, issuer: &Issuer, now_seconds: i64) -> Result<Claims, TokenError> {
        let payload = self;
        payload.check_presence(issuer)?;
        payload.check_types()?;
        let expires_at_seconds = payload.check_times(issuer, now_seconds)?;
        payload.check_audience(&issuer.audiences)?;
        payload.check_version(issuer.version.as_ref())?;
        let confirmation = payload.confirmation(issuer)?;
        // Cut towards the longer ago, as what was issued before a time is revoked.
        let issued_at_seconds = payload.seconds("iat", f64::floor)?;
        Ok(Claims { issuer: Arc::clone(&issuer.issuer), expires_at_seconds, issued_at_seconds, confirmation, payload })
    }
}

impl Claims {
    /// Who issued the token: the exact `iss`.
    pub fn issuer(&self) -> &Arc<str> {
        &self.issuer
    }

    /// `exp`, in seconds since the epoch; the skew that was granted is not part of it.
    pub fn expires_at_seconds(&self) -> i64 {
        self.expires_at_seconds
    }

    /// `iat`, in seconds since the epoch, if it is there.
    pub fn issued_at_seconds(&self) -> Option<i64> {
        self.issued_at_seconds
    }

    /// What the token is bound to (`cnf`, RFC 7800 section 3.1); each request must show possession of it.
    pub fn confirmation(&self) -> Option<&Confirmation> {
        self.confirmation.as_ref()
    }

    /// Whom the token is about: `sub`.
    pub fn subject(&self) -> Option<&str> {
        self.text("sub")
    }

    /// The client that got the token: `client_id` (RFC 8693 section 4.3), or else `azp`.
    pub fn client_id(&self) -> Option<&str> {
        self.text("client_id").or_else(|| self.text("azp"))
    }

    /// The token's own id: `jti`.
    pub fn token_id(&self) -> Option<&str> {
        self.text("jti")
    }

    /// Who acts for the subject: the `sub` of the outermost `act` (RFC 8693 section 4.1).
    pub fn actor(&self) -> Option<&str> {
        self.get("act").and_then(|actor| actor.get("sub")).and_then(Value::as_str)
    }

    /// A claim by its name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.payload.0.get(name)
    }

    /// The whole payload.
    pub fn as_map(&self) -> &Map<String, Value> {
        &self.payload.0
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }
}

/// Shows the issuer and the expiry; the rest is about people.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims")
            .field("issuer", &self.issuer)
            .field("expires_at_seconds", &self.expires_at_seconds)
            .finish_non_exhaustive()
    }
}

/// Kinds of JWT that are never access tokens, whatever else fits (RFC 9449, 8417, `OpenID` back-channel logout,
/// RFC 9701, RFC 9101).
const OTHER_TYPES: [&str; 5] =
    ["dpop+jwt", "secevent+jwt", "logout+jwt", "token-introspection+jwt", "oauth-authz-req+jwt"];

/// Compares `typ` as media types are: without case, `application/` may be left out (RFC 7515 section 4.1.9).
fn check_type(token_type: Option<&str>, accepted: &[Arc<str>]) -> Result<(), TokenError> {
    let is_same = |one: &str, other: &str| media_type(one).eq_ignore_ascii_case(media_type(other));
    let fits = match token_type {
        Some(token_type) if accepted.is_empty() => !OTHER_TYPES.iter().any(|other| is_same(other, token_type)),
        Some(token_type) => accepted.iter().any(|accepted| is_same(accepted, token_type)),
        None => accepted.is_empty(),
    };
    if fits { Ok(()) } else { Err(TokenError::TypeInvalid) }
}

/// A media type without the tree that a `typ` may leave out.
pub(super) fn media_type(token_type: &str) -> &str {
    match token_type.split_once('/') {
        Some((tree, rest)) if tree.eq_ignore_ascii_case("application") => rest,
        _ => token_type,
    }
}

/// The last second of the year 9999; an `exp` beyond it is a mistake, such as milliseconds.
const YEAR_9999_SECONDS: i64 = 253_402_300_799;

/// The payload of a token.
#[derive(Clone, PartialEq)]
struct Payload(Map<String, Value>);

/// Shows nothing.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Payload")
    }
}

impl Payload {
    fn check_presence(&self, issuer: &Issuer) -> Result<(), TokenError> {
        let audience = if issuer.audiences.is_empty() { None } else { Some("aud") };
        let required = issuer.required_claims.iter().map(|claim| &**claim);
        for claim in required.chain(["exp"]).chain(audience) {
            match self.0.get(claim) {
                None => return Err(missing(claim)),
                Some(Value::Null) => return Err(invalid(claim, "a value")),
                Some(Value::String(text)) if text.is_empty() => return Err(invalid(claim, "a text that is not empty")),
                Some(_) => {}
            }
        }
        Ok(())
    }

    /// Checks the registered claims that are there (RFC 7519 section 4.1, RFC 8693 section 4, RFC 9068 section 2.2).
    fn check_types(&self) -> Result<(), TokenError> {
        for claim in ["sub", "client_id", "jti"] {
            if self.text(claim)?.is_some_and(str::is_empty) {
                return Err(invalid(claim, "a text that is not empty"));
            }
        }
        for claim in ["azp", "preferred_username"] {
            self.text(claim)?;
        }
        if self.0.get("aud").is_some_and(|audience| texts(audience).is_none()) {
            return Err(invalid("aud", "a text or a list of texts"));
        }
        let is_scope = |scope: &Value| texts(scope).is_some_and(|mut texts| texts.all(|text| !has_control(text)));
        if self.0.get("scope").is_some_and(|scope| !is_scope(scope)) {
            return Err(invalid("scope", "a text or a list of texts, without control characters"));
        }
        let is_actor = |actor: &Value| actor.get("sub").and_then(Value::as_str).is_some_and(|sub| !sub.is_empty());
        if self.0.get("act").is_some_and(|actor| !is_actor(actor)) {
            return Err(invalid("act", "an object with a `sub`"));
        }
        if self.0.get("cnf").is_some_and(|confirmation| Confirmation::read(confirmation).is_none()) {
            return Err(invalid("cnf", "an object whose thumbprints are 32 bytes of base64url"));
        }
        Ok(())
    }

    /// What the token is bound to, if there is a way to show it.
    fn confirmation(&self, issuer: &Issuer) -> Result<Option<Confirmation>, TokenError> {
        match self.0.get("cnf").map(|confirmation| Confirmation::read(confirmation).unwrap_or_default()) {
            None if issuer.is_proof_required => Err(TokenError::ProofRequired),
            Some(nothing) if nothing == Confirmation::default() => Err(TokenError::ProofRequired),
            confirmation => Ok(confirmation),
        }
    }

    /// Checks the times and returns `exp`.
    fn check_times(&self, issuer: &Issuer, now_seconds: i64) -> Result<i64, TokenError> {
        // Fractions are cut towards the shorter life.
        let expires_at = self.seconds("exp", f64::floor)?.ok_or_else(|| missing("exp"))?;
        let not_before = self.seconds("nbf", f64::ceil)?;
        let issued_at = self.seconds("iat", f64::ceil)?;
        if now_seconds >= expires_at.saturating_add(issuer.skew_seconds) {
            return Err(TokenError::Expired);
        }
        let latest = now_seconds.saturating_add(issuer.skew_seconds);
        if [not_before, issued_at].into_iter().flatten().any(|begins_at| begins_at > latest) {
            return Err(TokenError::NotYetValid);
        }
        let begins_at = issued_at.unwrap_or(now_seconds);
        let is_too_long = issuer.lifetime_seconds_max.is_some_and(|max| expires_at.saturating_sub(begins_at) > max);
        if is_too_long || expires_at > YEAR_9999_SECONDS {
            return Err(TokenError::LifetimeTooLong);
        }
        Ok(expires_at)
    }

    fn check_audience(&self, accepted: &[Arc<str>]) -> Result<(), TokenError> {
        let named = self.0.get("aud").and_then(texts);
        let is_meant = |mut named: Box<dyn Iterator<Item = &str> + '_>| {
            named.any(|audience| accepted.iter().any(|accepted| **accepted == *audience))
        };
        if accepted.is_empty() || named.is_some_and(is_meant) { Ok(()) } else { Err(TokenError::AudienceMismatch) }
    }

    /// A minor version more takes nothing away, so that only the major one counts.
    fn check_version(&self, rule: Option<&VersionRule>) -> Result<(), TokenError> {
        let Some(VersionRule { claim, major_max, default }) = rule else { return Ok(()) };
        let version = match self.0.get(&**claim) {
            None => default.as_deref().ok_or_else(|| missing(claim))?,
            Some(said) => said.as_str().unwrap_or_default(),
        };
        let major = major_version(version);
        let major = major.ok_or_else(|| invalid(claim, "one to three whole numbers joined by dots"))?;
        if major > *major_max { Err(TokenError::VersionUnsupported) } else { Ok(()) }
    }

    /// A claim that is text or not there.
    fn text(&self, claim: &'static str) -> Result<Option<&str>, TokenError> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(invalid(claim, "a text")),
        }
    }

    /// A claim that is a time or not there, in seconds since the epoch (RFC 7519 section 2, `NumericDate`).
    fn seconds(&self, claim: &'static str, round: fn(f64) -> f64) -> Result<Option<i64>, TokenError> {
        let Some(value) = self.0.get(claim) else { return Ok(None) };
        seconds(value, round).map(Some).ok_or_else(|| invalid(claim, "seconds since 1970 as a number"))
    }
}

/// A time (RFC 7519 section 2, `NumericDate`) in whole seconds since the epoch; `None` when it is no such number.
pub(super) fn seconds(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    value.as_i64().or_else(|| value.as_f64().map(round).and_then(whole))
}

/// A float without a fraction as an integer, as far as floats are exact.
fn whole(number: f64) -> Option<i64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "has no fraction and is within 53 bits")]
    (number.abs() <= EXACT_MAX).then_some(number as i64)
}

/// The texts of a claim that is a text or a list of nothing but texts.
fn texts(value: &Value) -> Option<Box<dyn Iterator<Item = &str> + '_>> {
    match value {
        Value::String(text) => Some(Box::new(std::iter::once(text.as_str()))),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            Some(Box::new(items.iter().filter_map(Value::as_str)))
        }
        _ => None,
    }
}

fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

fn missing(claim: &str) -> TokenError {
    TokenError::ClaimMissing { claim: claim.into() }
}

fn invalid(claim: &str, expected: &'static str) -> TokenError {
    TokenError::ClaimInvalid { claim: claim.into(), expected }
}

#[cfg(test)]
mod tests;
