//! An issuer of tokens, as a realm trusts it.

use std::{path::PathBuf, sync::Arc};

use super::introspection::Introspection;

/// A signature algorithm of RFC 7518 section 3.1 or RFC 8037 section 3.1 that an issuer may be pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the names are those of the RFCs")]
pub enum Algorithm {
    RS256,
    RS384,
    RS512,
    PS256,
    PS384,
    PS512,
    ES256,
    ES384,
    ES512,
    EdDSA,
    HS256,
    HS384,
    HS512,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::RS256,
        Self::RS384,
        Self::RS512,
        Self::PS256,
        Self::PS384,
        Self::PS512,
        Self::ES256,
        Self::ES384,
        Self::ES512,
        Self::EdDSA,
        Self::HS256,
        Self::HS384,
        Self::HS512,
    ];

    /// The name as the `alg` header member spells it; compared case-sensitively (RFC 7515 section 4.1.1).
    pub fn name(self) -> &'static str {
        match self {
            Self::RS256 => "RS256",
            Self::RS384 => "RS384",
            Self::RS512 => "RS512",
            Self::PS256 => "PS256",
            Self::PS384 => "PS384",
            Self::PS512 => "PS512",
            Self::ES256 => "ES256",
            Self::ES384 => "ES384",
            Self::ES512 => "ES512",
            Self::EdDSA => "EdDSA",
            Self::HS256 => "HS256",
            Self::HS384 => "HS384",
            Self::HS512 => "HS512",
        }
    }

    /// Signer and verifier share a secret (RFC 7518 section 3.2).
    pub fn is_symmetric(self) -> bool {
        self.secret_bytes_min().is_some()
    }

    /// The shortest secret of an algorithm with a shared secret, in bytes: as long as its hash (RFC 7518 section 3.2).
    pub(crate) fn secret_bytes_min(self) -> Option<usize> {
        match self {
            Self::HS256 => Some(32),
            Self::HS384 => Some(48),
            Self::HS512 => Some(64),
            _ => None,
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
    /// The `jwks_uri` of the issuer's discovery document, see [`Servers::discovery`].
    Discovered,
    /// It has none: its tokens are opaque and looked up with it.
    Nowhere,
}

/// How often keys may be fetched, and how old they may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refetch {
    /// One fetch is earned in so many seconds, 1 to 3600.
    pub seconds: i64,
    /// So many fetches can be saved up, 1 to 10. With two or more, one of them is kept for regular refreshes and for
    /// keys that several requests ask for.
    pub burst: i64,
    /// A set that was fetched so many seconds ago is not used any more, 300 to 604800.
    pub max_stale_seconds: i64,
}

impl Default for Refetch {
    fn default() -> Self {
        Self { seconds: 30, burst: 3, max_stale_seconds: 24 * 3600 }
    }
}

/// Where a discovery document is, seen from the issuer's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// `/.well-known/openid-configuration` behind the issuer's path (`OpenID` Connect Discovery 1.0 section 4).
    Oidc,
    /// `/.well-known/oauth-authorization-server` between the issuer's host and path (RFC 8414 section 3.1).
    Oauth,
}

/// How an issuer's servers are found and reached.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Servers {
    /// Where the issuer's discovery document is, if it is used.
    pub discovery: Option<Discovery>,
    /// Hosts, with their port if it is not that of the scheme, that the document may name beside the issuer's own.
    pub hosts: Vec<Arc<str>>,
    /// Names may lead to private addresses, such as 10.0.0.0/8 or those of this machine.
    pub private_addresses: bool,
    /// The certificates, in PEM, of the authorities that alone vouch for these servers; `None`: the machine's.
    pub ca_file: Option<PathBuf>,
}

/// An issuer that a realm trusts, and what its tokens must be like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The exact `iss` claim.
    pub issuer: Arc<str>,
    /// The token must be meant for one of these (RFC 7519 section 4.1.3); empty: the audience is not looked at.
    pub audiences: Vec<Arc<str>>,
    /// The algorithms its tokens may be signed with; empty for an issuer of opaque tokens alone.
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
    /// Which groups of names that stand for others count in what its tokens say; `None`: all of the realm's.
    pub aliases: Option<Vec<Arc<str>>>,
    /// Its tokens may come as a query parameter (RFC 6750 section 2.3), where they are easily written into logs.
    pub query: bool,
    /// Which versions of its tokens are understood; `None`: the version is not looked at.
    pub version: Option<VersionRule>,
    /// How often its keys may be fetched, and how old they may be.
    pub refetch: Refetch,
    /// How its servers are found and reached.
    pub servers: Servers,
    /// How its opaque tokens are looked up, if they are.
    pub introspection: Option<Introspection>,
    /// A token that is bound to no key or certificate (`cnf`, RFC 7800) is refused; without it, the token's own binding
    /// alone counts.
    pub is_proof_required: bool,
}

/// Which versions of an issuer's tokens are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionRule {
    /// The claim that says the version: one to three whole numbers joined by dots.
    pub claim: Arc<str>,
    /// The highest major version, the first number, that is understood.
    pub major_max: u64,
    /// The version of a token that says none; `None`: it must say one.
    pub default: Option<Arc<str>>,
}

/// The major version of a version: one to three whole numbers joined by dots.
pub fn major_version(version: &str) -> Option<u64> {
    let mut numbers = version.split('.').map(|part| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        part.parse().ok().filter(|_| is_number)
    });
    let major: Option<u64> = numbers.next()?;
    let rest: Option<Vec<u64>> = numbers.collect();
    major.filter(|_| rest.is_some_and(|rest| rest.len() <= 2))
}

impl Issuer {
    /// The files that it names, to be changed: those of a realm are meant from the realm's folder.
    pub fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let keys = match &mut self.keys {
            KeyLocation::File(file) => Some(file),
            KeyLocation::Url(_) | KeyLocation::Discovered | KeyLocation::Nowhere => None,
        };
        let proof = self.introspection.as_mut().map(|introspection| introspection.authentication.file_mut());
        keys.into_iter().chain(self.servers.ca_file.as_mut()).chain(proof)
    }
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
            refetch: Refetch::default(),
            servers: Servers::default(),
            introspection: None,
            aliases: None,
            query: false,
            version: None,
            is_proof_required: false,
        }
    }
}
