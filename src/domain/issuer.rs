//! An issuer of tokens, as a realm trusts it.

use std::{path::PathBuf, sync::Arc};

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037 section 3.1 that an issuer may be pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    ES256,
    ES384,
    EdDSA,
    HS256,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 8] =
        [Self::RS256, Self::RS384, Self::RS512, Self::PS256, Self::ES256, Self::ES384, Self::EdDSA, Self::HS256];

    /// The name as the `alg` header member spells it; compared case-sensitively (RFC 7515 section 4.1.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
        }
    }
}

/// Where an issuer's keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyLocation {
    /// A JWKS file (RFC 7517 section 5).
    File(PathBuf),
    /// An https URL of a JWKS; plain http is accepted for loopback hosts only.
    Url(String),
}

/// An issuer that a realm trusts, and what its tokens must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The exact `iss` claim.
    pub issuer: Arc<str>,
    /// The token must be meant for one of these (RFC 7519 section 4.1.3); empty: the audience is not looked at.
    pub audiences: Vec<Arc<str>>,
    /// The algorithms its tokens may be signed with; never empty.
    pub algorithms: Vec<Algorithm>,
    /// Where its keys are.
    pub keys: KeyLocation,
    /// The scheme word its tokens come with, compared without case; `Bearer` unless the realm says otherwise.
    pub scheme: Arc<str>,
    /// The accepted `typ` header values, compared without case, with or without `application/`; empty: any but those
    /// of other kinds of JWT, such as a `logout+jwt`.
    pub types: Vec<Arc<str>>,
    /// Claims that must be there, beside `iss` and `exp`.
    pub required_claims: Vec<Arc<str>>,
    /// How far clocks may differ, in seconds, 0 to 120.
    pub skew_seconds: i64,
    /// The longest lifetime, `exp` minus `iat`, in seconds, if it is limited.
    pub lifetime_seconds_max: Option<i64>,
    /// Its clients are the realm's applications: the record of the application counts for its tokens. `None`: if it is
    /// the realm's only issuer.
    pub applications: Option<bool>,
}

impl Issuer {
    /// An issuer about whose tokens nothing further is said: what realm.toml may leave out has its default, any audience
    /// counts.
    pub fn new(issuer: &str, algorithms: &[Algorithm], keys: KeyLocation) -> Self {
        Self {
            issuer: issuer.into(),
            audiences: Vec::new(),
            algorithms: algorithms.to_vec(),
            keys,
            scheme: "Bearer".into(),
            types: Vec::new(),
            required_claims: Vec::new(),
            skew_seconds: 30,
            lifetime_seconds_max: None,
            applications: None,
        }
    }
}
