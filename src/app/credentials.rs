//! What a request brings to show who asks: its tokens, and the proof of the key that they may be bound to.

use std::{fmt, sync::Arc};

use serde_json::{Map, Value as Json};

use crate::domain::{decision::Reason, token_proof::TokenProof};

/// A text that must not be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(pub Arc<str>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// What a request brings to show who asks. Never logged, never echoed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    /// The token of the `Authorization` header; empty if there was none.
    pub token: Secret,
    /// The scheme word it came with; empty means `Bearer`.
    pub scheme: Arc<str>,
    /// The token that came as a query parameter (RFC 6750 section 2.3); empty if there was none.
    pub query_token: Secret,
    /// What shows that the sender holds the key that the token is bound to.
    pub proof: TokenProof,
    /// Whom the caller names in place of a token.
    pub subject: Option<Arc<NamedSubject>>,
}

/// A subject that the caller names, with what it says of it.
#[derive(Clone, PartialEq, Eq)]
pub struct NamedSubject {
    /// Its type, as the caller calls it.
    pub subject_type: Arc<str>,
    /// Its id, as the realm's principals are called.
    pub id: Arc<str>,
    /// What the caller says of it, by names of claims.
    pub claims: Map<String, Json>,
}

/// Shows neither who it is nor what is said of it.
impl fmt::Debug for NamedSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NamedSubject")
    }
}

/// The one token of a request, and how it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'c> {
    /// In the header, with this scheme word.
    Header(&'c Secret, &'c str),
    /// As a query parameter, which has no scheme word.
    Query(&'c Secret),
}

impl<'c> Presented<'c> {
    /// The token.
    pub fn token(self) -> &'c Secret {
        match self {
            Self::Header(token, _) | Self::Query(token) => token,
        }
    }
}

impl Credentials {
    /// A token that came in the header with `Bearer`.
    pub fn bearer(token: &str) -> Self {
        Self { token: Secret(token.into()), ..Self::default() }
    }

    /// The one token (RFC 6750 section 2: one way for each request).
    ///
    /// # Errors
    /// `TOKEN_AMBIGUOUS` for two, `TOKEN_MISSING` for none.
    pub fn presented(&self) -> Result<Presented<'_>, Reason> {
        match (self.token.0.is_empty(), self.query_token.0.is_empty()) {
            (false, true) => {
                let scheme = if self.scheme.is_empty() { "Bearer" } else { &self.scheme };
                Ok(Presented::Header(&self.token, scheme))
            }
            (true, false) => Ok(Presented::Query(&self.query_token)),
            (false, false) => {
                let message = "the request has a token in its header and one in its query, expected one of them";
                Err(Reason::plain("TOKEN_AMBIGUOUS", message))
            }
            (true, true) => Err(Reason::plain("TOKEN_MISSING", "the request has no token")),
        }
    }

    /// The tokens there are, that of the header first.
    pub fn tokens(&self) -> impl Iterator<Item = &Secret> {
        [&self.token, &self.query_token].into_iter().filter(|token| !token.0.is_empty())
    }
}
