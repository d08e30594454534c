//! Who may read the decision log, and do something to a realm's policies: the callers that the deployment names, judged by
//! the policies of the realm `hallpass`, each call recorded in the log that it reads or that those policies fill.

mod ask;
mod changes;
mod policies;
mod reading;
pub(in crate::app) mod refusals;
mod right;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConditionallySelectable as _, ConstantTimeEq as _};

use self::policies::Judged;
pub use self::{
    ask::LOCAL,
    policies::CallerPolicies,
    reading::{About, Reading},
    right::Right,
};
pub use super::ports::CALLERS_REALM as REALM;
use crate::{
    app::{
        App,
        authorize::decision_id,
        decisions::Texts,
        error::{Error, Kind},
        realm_state::RealmState,
    },
    domain::{
        decision::{Effect, Reason},
        decision_record::{DecisionRecord, RecordKind},
        id::{RealmName, Revision},
        value::{Attributes, Value},
    },
};

/// The name of who comes with the local admin token.
pub const ADMIN: &str = "local-admin";

/// The roles of the local admin: all that the policies know.
pub const ADMIN_ROLES: [&str; 4] = ["operator", "auditor", "privacy_officer", "author"];

/// The resource type of every reading.
pub const RESOURCE_TYPE: &str = "DecisionLog";

/// The resource type of what is done to a realm's policies.
pub const POLICIES_TYPE: &str = "PolicySet";

/// A key that is longer than this, in bytes, is nobody's.
pub const KEY_BYTES_MAX: usize = 1_024;

/// The SHA-256 of a caller's key. Keys are random, so their digests need no salt.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct KeyDigest([u8; 32]);

impl fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyDigest(..)")
    }
}

impl KeyDigest {
    /// The digest of a key.
    pub fn of(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut digest = [0; 32];
        if text.len() != 64 {
            return None;
        }
        for (byte, pair) in digest.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            // `from_str_radix` would take a sign.
            let pair =
                std::str::from_utf8(pair).ok().filter(|pair| pair.bytes().all(|digit| digit.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(pair?, 16).ok()?;
        }
        Some(Self(digest))
    }
}

/// The digest as 64 lower-case hexadecimal digits.
impl fmt::Display for KeyDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A caller that the deployment names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownCaller {
    /// Its name.
    pub name: Arc<str>,
    /// Its roles; what they permit is said by the policies.
    pub roles: Vec<Arc<str>>,
    /// The realms whose logs it may read; empty for all.
    pub realms: Vec<RealmName>,
    /// The digest of its key.
    pub key: KeyDigest,
}

/// What a call brings to show who makes it.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Presented {
    /// The key, as it came; `None` where none came or more than one.
    pub key: Option<Arc<str>>,
    /// The call comes from this machine.
    pub is_local: bool,
    /// The verified certificate of its connection, if that has one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Whom a token of one of the deployment's own issuers names, if it brought one that is good.
    pub verified: Option<Arc<VerifiedCaller>>,
}

impl Presented {
    /// What a program shows that hallpass is a library of: that it is this very process.
    pub fn embedded() -> Self {
        Self { is_local: true, ..Self::default() }
    }
}

/// What is known of a certificate that was verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its SPIFFE ids: the URIs of its subject alternative names with the scheme `spiffe`, in their order.
    pub spiffe: Vec<Arc<str>>,
    /// Its subject, in the text form of RFC 4514.
    pub subject: Arc<str>,
    /// Until when it is good, in seconds since the epoch.
    pub not_after_seconds: i64,
    /// SHA-256 of its DER.
    pub sha256: [u8; 32],
}

/// Whom a good token of a caller names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedCaller {
    /// Its issuer.
    pub issuer: Arc<str>,
    /// Its subject.
    pub subject: Arc<str>,
}

/// Shows whether there is a key, not which.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, is_local, certificate, verified } = self;
        let (has_certificate, is_verified) = (certificate.is_some(), verified.is_some());
        let mut out = f.debug_struct("Presented");
        out.field("has_key", &key.is_some()).field("is_local", is_local);
        out.field("has_certificate", &has_certificate).field("is_verified", &is_verified).finish()
    }
}

/// Everybody who may come: the deployment's callers, or else the local admin.
#[derive(Debug)]
pub struct Callers {
    local: Arc<str>,
    known: Vec<KnownCaller>,
    admin: Option<KeyDigest>,
    policies: Option<CallerPolicies>,
}

impl Default for Callers {
    fn default() -> Self {
        Self { local: LOCAL.into(), known: Vec::new(), admin: None, policies: None }
    }
}

impl Callers {
    /// The callers of a deployment. Without any, the local admin is who shows the token of this digest from this
    /// machine.
    pub fn new(known: Vec<KnownCaller>, admin: KeyDigest, policies: CallerPolicies) -> Self {
        Self { known, admin: Some(admin), policies: Some(policies), ..Self::default() }
    }

    /// The policies that judge them; `None` where nobody may read.
    pub fn policies(&self) -> Option<&CallerPolicies> {
        self.policies.as_ref()
    }

    /// Who shows this. Takes as long for a key that is nearly right as for any other.
    ///
    /// # Errors
    /// Why it is nobody. Holds nothing of what was shown.
    fn identify(&self, presented: &Presented) -> Result<Identified<'_>, Reason> {
        let Some(key) = &presented.key else {
            return Err(Reason::plain("CALLER_KEY_MISSING", KEY_MISSING));
        };
        let digest = KeyDigest::of(if key.len() <= KEY_BYTES_MAX { key } else { "" });
        let mut found = u32::MAX;
        for (index, caller) in (0_u32..).zip(&self.known) {
            found.conditional_assign(&index, caller.key.0.ct_eq(&digest.0));
        }
        let is_admin = self.admin.as_ref().map_or(Choice::from(0), |admin| admin.0.ct_eq(&digest.0));
        if let Some(caller) = usize::try_from(found).ok().and_then(|index| self.known.get(index)) {
            return Ok(Identified::Known(caller));
        }
        if !bool::from(is_admin) {
            return Err(Reason::plain("CALLER_KEY_UNKNOWN", KEY_UNKNOWN));
        }
        if !self.known.is_empty() {
            return Err(Reason::plain("CALLER_KEY_UNKNOWN", ADMIN_IS_PAST));
        }
        if !presented.is_local {
            return Err(Reason::plain("CALLER_NOT_LOCAL", ADMIN_IS_LOCAL));
        }
        Ok(Identified::Admin)
    }
}

const KEY_MISSING: &str = "this call takes a caller's key, as `authorization: Bearer KEY`";
const KEY_UNKNOWN: &str = "the key is no caller's: callers stand under `[callers]` in hallpass.toml, and without any the \
                           local admin token counts, which is in the file admin.token of the data folder";
const ADMIN_IS_PAST: &str =
    "the local admin token does not count where callers stand under `[callers]` in hallpass.toml; use the key of one";
const ADMIN_IS_LOCAL: &str = "the local admin token counts on the service's own machine only";

/// Somebody who is known.
#[derive(Clone, Copy, Debug)]
enum Identified<'a> {
    Admin,
    Known(&'a KnownCaller),
}

impl Identified<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Admin => ADMIN,
            Self::Known(caller) => &caller.name,
        }
    }
}

/// A call that may be made, and is on record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    /// Who makes it.
    pub caller: Arc<str>,
    /// Whether it may read what people wrote.
    pub texts: Texts,
}

impl App {
    /// The callers of the decision log.
    pub fn callers(&self) -> &Callers {
        &self.callers
    }

    /// The error of a wrong request; who isn't known hears that instead, and nothing of the request.
    pub fn refusal_of(&self, presented: &Presented, error: Error) -> Error {
        self.callers.identify(presented).map_or_else(|reason| unauthenticated(&reason), |_| error)
    }

    /// Lets a call through that its caller may make, when it is on record. For calls that do something, and for those
    /// that answer over time.
    ///
    /// # Errors
    /// A caller that isn't known, or may not; an unknown realm; a log that cannot take the record.
    pub async fn permit(&self, realm: &str, presented: &Presented, reading: &Reading<'_>) -> Result<Permit, Error> {
        let (state, judged) = self.judge(realm, presented, reading)?;
        self.keep_reading(&state, reading, &judged).await?;
        judged.permit()
    }

    /// Lets a call through that its caller may make, without a record: for how the log is doing, which says nothing of
    /// any decision, is asked all the time, and matters most when the log cannot take records.
    ///
    /// # Errors
    /// A caller that isn't known, or may not; an unknown realm.
    pub fn permit_unrecorded(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
    ) -> Result<Permit, Error> {
        self.judge(realm, presented, reading)?.1.permit()
    }

    /// Answers a call that its caller may make, when it is on record: the record comes after what was read, so that
    /// no question finds itself, and before the answer.
    ///
    /// # Errors
    /// Those of [`App::permit`] and those of the work.
    pub async fn read_log<T>(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
        work: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.read_log_as(realm, presented, reading, |_| work).await
    }

    /// The same for work that shows what its caller may see.
    ///
    /// # Errors
    /// Those of [`App::read_log`].
    pub async fn read_log_as<T, W: Future<Output = Result<T, Error>>>(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
        work: impl FnOnce(Permit) -> W,
    ) -> Result<T, Error> {
        let (state, judged) = self.judge(realm, presented, reading)?;
        let answer = match judged.permit() {
            Ok(permit) => work(permit).await,
            Err(error) => Err(error),
        };
        self.keep_reading(&state, reading, &judged).await?;
        answer
    }

    fn judge(
        &self,
        realm: &str,
        presented: &Presented,
        reading: &Reading<'_>,
    ) -> Result<(Arc<RealmState>, Judged), Error> {
        let identified = self.callers.identify(presented);
        let state = match (self.realm(realm), &identified) {
            (Ok(state), _) => Arc::clone(state),
            (Err(_), Err(reason)) => return Err(unauthenticated(reason)),
            (Err(error), Ok(_)) => return Err(error),
        };
        let Some(policies) = self.callers.policies() else {
            return Err(unauthenticated(&Reason::plain("CALLER_KEY_UNKNOWN", KEY_UNKNOWN)));
        };
        let judged = policies.judge(identified, state.name.as_str(), Some(&state), reading);
        Ok((state, judged))
    }

    /// Puts a call on record. Who isn't known reads nothing: of too many such calls only the number is kept.
    async fn keep_reading(&self, state: &RealmState, reading: &Reading<'_>, judged: &Judged) -> Result<(), Error> {
        let left_out = match &judged.caller {
            Some(_) => 0,
            None => match state.refusals.admit(self.clock.now_us()) {
                Some(left_out) => left_out,
                None => return Ok(()),
            },
        };
        let kept = state.log.append(vec![self.reading_record(state, reading, judged, left_out)]).await;
        if kept.is_err() {
            state.refusals.put_back(left_out);
        }
        Ok(kept?)
    }

    /// What the log keeps of a call that reads it; `left_out` calls before were not kept. Of who isn't known nothing is
    /// kept that can be of any length.
    fn reading_record(
        &self,
        state: &RealmState,
        reading: &Reading<'_>,
        judged: &Judged,
        left_out: u64,
    ) -> DecisionRecord {
        let now_us = self.clock.now_us();
        let Judged { caller, decision, principal, .. } = judged;
        let is_known = caller.is_some();
        let said = |text: &Arc<str>| if is_known { Arc::clone(text) } else { Arc::default() };
        let asked = [("full", reading.is_full()), ("names", reading.names), ("people", reading.names_people(state))];
        let asked = asked.into_iter().map(|(name, value)| (Arc::from(name), Value::Bool(value)));
        let left_out =
            (left_out > 0).then(|| (Arc::from("left_out"), Value::Long(i64::try_from(left_out).unwrap_or(i64::MAX))));
        let asked = asked.chain(left_out).collect();
        let mut attributes: Vec<_> = principal.iter().flat_map(|(_, attributes)| attributes.iter()).collect();
        let asked = (Arc::from("asked"), Value::Record(asked));
        attributes.push((&asked.0, &asked.1));
        let attributes: Attributes =
            attributes.into_iter().map(|(name, value)| (Arc::clone(name), value.clone())).collect();
        DecisionRecord {
            id: decision_id(now_us),
            time_us: now_us,
            outcome: decision.outcome,
            reasons: decision.reasons.clone(),
            determining_policies: decision.determining_policies.clone(),
            action: reading.action.into(),
            resource_type: reading.about.resource_type().into(),
            resource_id: state.name.as_str().into(),
            subjects: if is_known { reading.subjects(state) } else { Vec::new() },
            principal: principal.as_ref().map(|(entity, _)| entity.clone()),
            issuer: Arc::default(),
            attributes: Arc::new(attributes),
            policy_version: decision.policy_version.clone(),
            data_revision: Revision::default(),
            request_id: said(&reading.request_id),
            duration_us: 0,
            obligations: Vec::new(),
            actor: None,
            client: Arc::default(),
            purpose: said(&reading.purpose),
            kind: RecordKind::Reading,
            facts: Arc::default(),
            caller: Arc::default(),
            adapter: None,
        }
    }
}

fn unauthenticated(reason: &Reason) -> Error {
    let code = match &*reason.code {
        "CALLER_KEY_MISSING" => "CALLER_KEY_MISSING",
        "CALLER_NOT_LOCAL" => "CALLER_NOT_LOCAL",
        _ => "CALLER_KEY_UNKNOWN",
    };
    Error::new(Kind::Unauthenticated, code, reason.message.to_string())
}

impl Judged {
    /// The permit of an allow.
    ///
    /// # Errors
    /// What the caller lacks, in the policies' own words.
    fn permit(&self) -> Result<Permit, Error> {
        let first = self.decision.reasons.first();
        let Some(caller) = &self.caller else {
            return Err(first.map_or_else(|| unauthenticated(&Reason::plain("", KEY_UNKNOWN)), unauthenticated));
        };
        if self.decision.outcome.effect() == Effect::Allow {
            return Ok(Permit { caller: Arc::clone(caller), texts: self.texts });
        }
        let (code, message) = first.map_or(("", ""), |reason| (&*reason.code, &*reason.message));
        let hints: Vec<&str> = first.iter().flat_map(|reason| &reason.hints).map(|hint| &**hint).collect();
        let message = format!("caller `{caller}` is refused, `{code}`: {message} {}", hints.join(" "));
        Err(Error::new(Kind::PermissionDenied, "CALLER_NOT_PERMITTED", message.trim_end()))
    }
}
