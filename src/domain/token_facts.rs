//! What a verified token says of itself, kept beside the principal: by it a token is found among what was revoked, and its
//! sender's proof is judged.

use std::sync::Arc;

use super::{token::Claims, token_proof::Confirmation};

/// What a verified token says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TokenFacts {
    /// Who vouches for it: the exact `iss`.
    pub issuer: Arc<str>,
    /// Its own id: `jti`.
    pub id: Option<Arc<str>>,
    /// Whom it is about: `sub`.
    pub subject: Option<Arc<str>>,
    /// The client that got it: `client_id`, or else `azp`.
    pub client: Option<Arc<str>>,
    /// When it was issued, in seconds since the epoch, if it says so; a fraction is cut off.
    pub issued_at_seconds: Option<i64>,
    /// The key that it is bound to.
    pub confirmation: Option<Confirmation>,
}

impl TokenFacts {
    /// The facts of a JWT.
    pub fn of(claims: &Claims) -> Self {
        Self {
            issuer: Arc::clone(claims.issuer()),
            id: claims.token_id().map(Arc::from),
            subject: claims.subject().map(Arc::from),
            client: claims.client_id().map(Arc::from),
            issued_at_seconds: claims.issued_at_seconds(),
            confirmation: claims.confirmation().cloned(),
        }
    }
}
