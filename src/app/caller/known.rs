//! Who is known, and by what: a certificate, a token of an own issuer, or a key.

use std::{collections::HashMap, fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{CallerPolicies, PeerCertificate, Presented, VerifiedCaller, tokens::Tokens};
use crate::domain::{decision::Reason, id::RealmName, issuer::Issuer};

/// The name of who comes with the local admin token.
pub const ADMIN: &str = "local-admin";

/// The roles of the local admin: all that the policies know, but that of who shows nothing.
pub const ADMIN_ROLES: [&str; 7] =
    ["operator", "auditor", "privacy_officer", "author", "subject_enforcer", "provisioner", "monitor"];

/// The name of who calls from this machine and shows nothing, where the listeners take that; its role is called the same.
pub const LOCAL: &str = "local";

/// A key that is longer than this, in bytes, is nobody's.
pub const KEY_BYTES_MAX: usize = 1_024;

/// The SHA-256 of a caller's key. Keys are random, so their digests need no salt.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
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

/// A caller that the deployment names, and the ways in which it may show itself: any one of them is enough.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KnownCaller {
    /// Its name.
    pub name: Arc<str>,
    /// Its roles; what they permit is said by the policies.
    pub roles: Vec<Arc<str>>,
    /// The realms that it may call about; empty for all.
    pub realms: Vec<RealmName>,
    /// The digest of its key.
    pub key: Option<KeyDigest>,
    /// The SPIFFE id of its certificate.
    pub spiffe: Option<Arc<str>>,
    /// The whole subject of its certificate (RFC 4514).
    pub subject: Option<Arc<str>>,
    /// Whom its token names.
    pub token: Option<VerifiedCaller>,
    /// How many questions it may ask in a second; 0 for any number, `None` for as many as any caller.
    pub requests_per_second: Option<u32>,
}

/// Everybody who may come: the deployment's callers, or else the local admin; and where nothing must be shown, whoever is on
/// this machine.
#[derive(Debug)]
pub struct Callers {
    pub(super) local: Arc<str>,
    pub(super) known: Vec<KnownCaller>,
    /// Where they stand there whose keys have these digests.
    by_key: HashMap<KeyDigest, usize>,
    admin: Option<KeyDigest>,
    pub(super) policies: Option<CallerPolicies>,
    is_required: bool,
    pub(super) tokens: Tokens,
}

impl Default for Callers {
    fn default() -> Self {
        Self {
            local: LOCAL.into(),
            known: Vec::new(),
            by_key: HashMap::new(),
            admin: None,
            policies: None,
            is_required: false,
            tokens: Tokens::default(),
        }
    }
}

impl Callers {
    /// The callers of a deployment. Without any, the local admin is who shows the token of this digest from this
    /// machine.
    pub fn new(known: Vec<KnownCaller>, admin: KeyDigest, policies: CallerPolicies) -> Self {
        let by_key = by_key(&known);
        Self { known, by_key, admin: Some(admin), policies: Some(policies), ..Self::default() }
    }

    /// The same, whom no policies permit anything.
    #[cfg(test)]
    pub(super) fn without_policies(known: Vec<KnownCaller>, admin: KeyDigest) -> Self {
        let by_key = by_key(&known);
        Self { known, by_key, admin: Some(admin), ..Self::default() }
    }

    /// The same, where every call must show who makes it, also one from this machine.
    #[must_use]
    pub fn requiring(self, is_required: bool) -> Self {
        Self { is_required, ..self }
    }

    /// The same, with issuers whose tokens callers may bring in place of keys.
    #[must_use]
    pub fn with_issuers(self, issuers: Vec<Issuer>, tokens: Tokens) -> Self {
        Self { tokens: tokens.of(issuers), ..self }
    }

    /// The policies that judge them; `None` where nobody may read.
    pub fn policies(&self) -> Option<&CallerPolicies> {
        self.policies.as_ref()
    }

    /// The issuers whose tokens callers may bring.
    pub fn issuers(&self) -> &[Issuer] {
        self.tokens.issuers()
    }

    /// The deployment names its callers.
    pub(in crate::app) fn are_named(&self) -> bool {
        !self.known.is_empty()
    }

    /// Nothing that is done to policies takes a role: nobody is named, and nothing must be shown.
    pub(super) fn are_unnamed(&self) -> bool {
        self.known.is_empty() && !self.is_required
    }

    /// Who shows this. Who shows nothing is nobody.
    ///
    /// # Errors
    /// Why it is nobody. Holds nothing of what was shown.
    pub(super) fn identify(&self, presented: &Presented, now_seconds: i64) -> Result<Identified<'_>, Reason> {
        self.shown(presented, now_seconds)?.ok_or_else(|| nothing_shown(presented))
    }

    /// Who shows this. Who shows nothing and is known to be on this machine is whoever is there, where that is enough.
    ///
    /// # Errors
    /// Those of [`Callers::identify`]; among them a call that may come from elsewhere.
    pub(super) fn identify_or_local(&self, presented: &Presented, now_seconds: i64) -> Result<Identified<'_>, Reason> {
        match self.shown(presented, now_seconds)? {
            Some(identified) => Ok(identified),
            // The configuration opens no such listener to other machines; a call is looked at all the same.
            None if presented.is_local && !self.is_required => Ok(Identified::Local(&self.local)),
            None => Err(nothing_shown(presented)),
        }
    }

    /// Who shows this; `None` where nothing is shown that could be anybody's. A certificate of nobody counts for nothing, so
    /// that a key beside it may; a key of nobody counts against whatever else is shown.
    fn shown(&self, presented: &Presented, now_seconds: i64) -> Result<Option<Identified<'_>>, Reason> {
        let certified = match &presented.certificate {
            Some(certificate) => self.certified(certificate, now_seconds)?,
            None => None,
        };
        let brought = match (&presented.refused, &presented.verified, &presented.key) {
            (Some(refused), _, _) => return Err(Reason::clone(refused)),
            (None, Some(verified), _) => Some(self.of_token(verified)?),
            (None, None, Some(key)) => Some(self.of_key(key, presented.is_local)?),
            (None, None, None) => None,
        };
        match (certified, brought) {
            (Some(one), Some(other)) if one.name() != other.name() => Err(Reason::plain("CALLER_AMBIGUOUS", AMBIGUOUS)),
            (certified, brought) => Ok(certified.or(brought)),
        }
    }

    /// Whose certificate this is. A connection may outlive its certificate; calls over it do not.
    fn certified(&self, certificate: &PeerCertificate, now_seconds: i64) -> Result<Option<Identified<'_>>, Reason> {
        if certificate.not_after_seconds <= now_seconds {
            return Err(Reason::plain("CALLER_CERTIFICATE_EXPIRED", CERTIFICATE_EXPIRED));
        }
        let is_named = |caller: &&KnownCaller| {
            let has_id = caller.spiffe.is_some() && caller.spiffe == certificate.spiffe;
            has_id || caller.subject.as_ref() == Some(&certificate.subject)
        };
        let mut named = self.known.iter().filter(is_named);
        match (named.next(), named.next()) {
            (Some(_), Some(_)) => Err(Reason::plain("CALLER_AMBIGUOUS", AMBIGUOUS)),
            (only, _) => Ok(only.map(Identified::Known)),
        }
    }

    fn of_token(&self, verified: &VerifiedCaller) -> Result<Identified<'_>, Reason> {
        let named = self.known.iter().find(|caller| caller.token.as_ref() == Some(verified));
        named.map(Identified::Known).ok_or_else(|| Reason::plain("CALLER_TOKEN_UNKNOWN", TOKEN_UNKNOWN))
    }

    /// Takes as long for a key that is nearly right as for any other: how long a digest is looked for tells nothing about keys
    /// that have another.
    fn of_key(&self, key: &str, is_local: bool) -> Result<Identified<'_>, Reason> {
        let digest = KeyDigest::of(if key.len() <= KEY_BYTES_MAX { key } else { "" });
        let is_admin = self.admin.as_ref().is_some_and(|admin| admin.0.ct_eq(&digest.0).into());
        let found = self.by_key.get(&digest).filter(|_| key.len() <= KEY_BYTES_MAX);
        if let Some(caller) = found.and_then(|place| self.known.get(*place)) {
            return Ok(Identified::Known(caller));
        }
        if key.len() > KEY_BYTES_MAX || !is_admin {
            return Err(Reason::plain("CALLER_KEY_UNKNOWN", KEY_UNKNOWN));
        }
        if !self.known.is_empty() {
            return Err(Reason::plain("CALLER_KEY_UNKNOWN", ADMIN_IS_PAST));
        }
        if !is_local {
            return Err(Reason::plain("CALLER_NOT_LOCAL", ADMIN_IS_LOCAL));
        }
        Ok(Identified::Admin)
    }
}

fn by_key(known: &[KnownCaller]) -> HashMap<KeyDigest, usize> {
    known.iter().enumerate().filter_map(|(place, caller)| Some((caller.key?, place))).collect()
}

fn nothing_shown(presented: &Presented) -> Reason {
    match presented.certificate {
        Some(_) => Reason::plain("CALLER_CERTIFICATE_UNKNOWN", CERTIFICATE_UNKNOWN),
        None => Reason::plain("CALLER_KEY_MISSING", KEY_MISSING),
    }
}

const KEY_MISSING: &str = "this call takes a caller's key, as `authorization: Bearer KEY`";
pub(super) const KEY_UNKNOWN: &str = "the key is no caller's: callers stand under `[callers]` in hallpass.toml, and without \
                                      any the local admin token counts, which is in the file admin.token of the data folder";
const ADMIN_IS_PAST: &str =
    "the local admin token does not count where callers stand under `[callers]` in hallpass.toml; use the key of one";
const ADMIN_IS_LOCAL: &str = "the local admin token counts on the service's own machine only";
const AMBIGUOUS: &str =
    "what the call shows is of two callers; expected one certificate, token or key, or those of one caller";
const CERTIFICATE_EXPIRED: &str =
    "the client's certificate has ended since its connection began; connect again with a newer one";
const CERTIFICATE_UNKNOWN: &str = "the client's certificate is no caller's, and the call brings no key: callers stand under \
                                   `[callers]` in hallpass.toml, with the `certificate` or the `subject` that they show";
const TOKEN_UNKNOWN: &str = "the token is good, and its subject no caller: callers stand under `[callers]` in hallpass.toml, \
                             with the `token` that they show";

/// Somebody who is known.
#[derive(Clone, Copy, Debug)]
pub(super) enum Identified<'a> {
    /// Whoever is on this machine.
    Local(&'a Arc<str>),
    /// Who has the local admin token.
    Admin,
    /// A caller that the deployment names.
    Known(&'a KnownCaller),
}

impl Identified<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Local(name) => name,
            Self::Admin => ADMIN,
            Self::Known(caller) => &caller.name,
        }
    }

    /// The name, shared where it can be.
    pub(super) fn shared_name(&self) -> Arc<str> {
        match self {
            Self::Local(name) => Arc::clone(name),
            Self::Admin => ADMIN.into(),
            Self::Known(caller) => Arc::clone(&caller.name),
        }
    }

    pub(super) fn roles(&self) -> Vec<&str> {
        match self {
            Self::Local(_) => vec![LOCAL],
            Self::Admin => ADMIN_ROLES.to_vec(),
            Self::Known(caller) => caller.roles.iter().map(|role| &**role).collect(),
        }
    }

    pub(super) fn realms(&self) -> Vec<&str> {
        match self {
            Self::Local(_) | Self::Admin => Vec::new(),
            Self::Known(caller) => caller.realms.iter().map(RealmName::as_str).collect(),
        }
    }
}
