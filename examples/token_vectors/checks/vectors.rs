//! The file of vectors.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use hallpass::app::credentials::{Credentials, Secret};
use hallpass::domain::issuer::{Algorithm, Issuer, KeyLocation, VersionRule};
use hallpass::domain::jws::TOKEN_BYTES_MAX;
use hallpass::domain::key_set::KeySet;
use hallpass::domain::token_proof::TokenProof;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// A file of vectors.
#[derive(Debug, Deserialize)]
pub(crate) struct File {
    /// The present, in seconds since the epoch.
    pub(crate) clock: i64,
    clock_skew_s: i64,
    max_token_chars: Option<usize>,
    profiles: BTreeMap<String, Profile>,
    pub(crate) vectors: Vec<Vector>,
}

/// An issuer and what its tokens must be like.
#[derive(Debug, Deserialize)]
struct Profile {
    issuer: String,
    #[serde(default)]
    audience: Texts,
    algs: Vec<String>,
    #[serde(default)]
    typ: Texts,
    max_lifetime_s: Option<i64>,
    #[serde(default)]
    required: Vec<String>,
    max_version_major: Option<u64>,
    jwks: Option<Value>,
    shared_secret_b64url: Option<String>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

/// A text or a list of texts.
#[derive(Debug, Default, Deserialize)]
#[serde(untagged)]
enum Texts {
    #[default]
    None,
    One(String),
    Many(Vec<String>),
}

/// A token and what is right for it.
#[derive(Debug, Deserialize)]
pub(crate) struct Vector {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) issuer_profile: String,
    pub(crate) token: String,
    pub(crate) expect: Expect,
    pub(crate) reason: String,
    pub(crate) accept_reasons: Vec<String>,
    #[serde(default)]
    pub(crate) state: State,
    request: Option<Request>,
    pub(crate) audit: Option<Audit>,
    #[serde(default)]
    pub(crate) no_outbound: bool,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Expect {
    Accept,
    Reject,
}

/// What the service knows before the token comes.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    /// Tokens of the profile's issuer that were revoked, by `jti`.
    #[serde(default)]
    pub(crate) revoked_jti: Vec<String>,
    /// From which time on tokens about a subject count, in seconds since the epoch.
    #[serde(default)]
    pub(crate) not_before: BTreeMap<String, i64>,
    /// Proofs of the token's key that were used, by `jti`.
    #[serde(default)]
    pub(crate) seen_dpop_jti: Vec<String>,
}

/// The HTTP request that the token came with.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    #[serde(default)]
    method: String,
    #[serde(default)]
    uri: String,
    authorization_scheme: Option<String>,
    #[serde(default)]
    dpop: Texts,
    client_certificate: Option<String>,
}

/// What the decision's record must hold.
#[derive(Debug, Deserialize)]
pub(crate) struct Audit {
    pub(crate) actor: Option<String>,
}

impl File {
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("`{}` is no file of token vectors", path.display()))
    }

    /// What the file asks for and the service does otherwise.
    pub(crate) fn notes(&self) -> Vec<String> {
        let limit = self.max_token_chars.filter(|max| *max != TOKEN_BYTES_MAX);
        let limit =
            limit.map(|max| format!("the file's longest token has {max} bytes, the service's {TOKEN_BYTES_MAX}"));
        let unknown = self.profiles.iter().flat_map(|(name, profile)| {
            profile.unknown.keys().map(move |key| format!("profile {name}: `{key}` is not known"))
        });
        limit.into_iter().chain(unknown).collect()
    }

    /// The issuers of the realm that a vector is for, with their keys: the profile's own first, then those of the others
    /// that have another name.
    pub(crate) fn issuers(&self, profile: &str) -> anyhow::Result<Vec<(Issuer, KeySet)>> {
        let own = self.profiles.get(profile).with_context(|| format!("there is no profile `{profile}`"))?;
        let mut issuers = vec![self.issuer(own).with_context(|| format!("profile {profile}"))?];
        for (name, other) in &self.profiles {
            if issuers.iter().all(|(known, _)| *known.issuer != *other.issuer) {
                issuers.push(self.issuer(other).with_context(|| format!("profile {name}"))?);
            }
        }
        Ok(issuers)
    }

    fn issuer(&self, profile: &Profile) -> anyhow::Result<(Issuer, KeySet)> {
        let known = |name: &String| Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == *name);
        let algorithms: Option<Vec<_>> = profile.algs.iter().map(known).collect();
        let algorithms = algorithms.with_context(|| format!("unknown algorithm among {:?}", profile.algs))?;
        let version = |major_max| VersionRule { claim: "version".into(), major_max, default: Some("1.0.0".into()) };
        let issuer = Issuer {
            audiences: profile.audience.to_vec(),
            types: profile.typ.to_vec().into_iter().filter(|name| **name != *"any").collect(),
            required_claims: profile.required.iter().map(|claim| claim.as_str().into()).collect(),
            skew_seconds: self.clock_skew_s,
            lifetime_seconds_max: profile.max_lifetime_s,
            version: profile.max_version_major.map(version),
            ..Issuer::new(&profile.issuer, &algorithms, KeyLocation::File(PathBuf::new()))
        };
        let set = match (&profile.jwks, &profile.shared_secret_b64url) {
            (Some(set), None) => set.clone(),
            (None, Some(secret)) => json!({ "keys": [{ "kty": "oct", "k": secret }] }),
            _ => anyhow::bail!("needs one of `jwks` and `shared_secret_b64url`"),
        };
        Ok((issuer, KeySet::from_jwks(&set.to_string())?))
    }
}

impl Vector {
    /// What the request brings.
    pub(crate) fn credentials(&self) -> Credentials {
        let Some(request) = &self.request else { return Credentials::bearer(&self.token) };
        let certificate = request.client_certificate.as_deref().unwrap_or_default();
        Credentials {
            token: Secret(self.token.as_str().into()),
            scheme: request.authorization_scheme.as_deref().unwrap_or_default().into(),
            proof: TokenProof {
                method: request.method.as_str().into(),
                uri: request.uri.as_str().into(),
                dpop: request.dpop.to_vec(),
                client_certificate: certificate.as_bytes().into(),
            },
            ..Credentials::default()
        }
    }
}

impl Texts {
    fn to_vec(&self) -> Vec<Arc<str>> {
        match self {
            Self::None => Vec::new(),
            Self::One(text) => vec![text.as_str().into()],
            Self::Many(texts) => texts.iter().map(|text| text.as_str().into()).collect(),
        }
    }
}
