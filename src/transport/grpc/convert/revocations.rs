//! Revocations.

use std::sync::Arc;

use prost_types::Timestamp;

use super::{
    super::page_token::{self, Binding},
    Faults, timestamp,
};
use crate::{
    app::{error::Error, revocations::RevocationPage},
    domain::revocation::{Revocation, RevokedTokens, Which},
    proto::v1::{self as pb, revoked_tokens::Tokens},
};

pub(crate) fn revoke(request: pb::RevokeRequest) -> Result<(String, Revocation), Error> {
    let pb::RevokeRequest { realm, revocation } = request;
    // When it was made is for callers to know, not to say.
    let pb::Revocation { tokens, issued_before, forget_at, revoked_at: _ } = revocation.unwrap_or_default();
    let mut faults = Faults::default();
    let tokens = faults.tokens("revocation.tokens", tokens);
    let revocation = Revocation {
        tokens,
        issued_before_seconds: issued_before.map(|at| whole_seconds(&at)),
        forget_at_seconds: forget_at.map(|at| whole_seconds(&at)),
        revoked_at_us: 0,
    };
    faults.none_or((realm, revocation))
}

pub(crate) fn reinstate(request: pb::ReinstateRequest) -> Result<(String, RevokedTokens), Error> {
    let pb::ReinstateRequest { realm, tokens } = request;
    let mut faults = Faults::default();
    let tokens = faults.tokens("tokens", tokens);
    faults.none_or((realm, tokens))
}

impl Faults {
    /// Which tokens; sizes are the use case's to check.
    fn tokens(&mut self, field: &str, tokens: Option<pb::RevokedTokens>) -> RevokedTokens {
        let pb::RevokedTokens { issuer, tokens } = tokens.unwrap_or_default();
        let which = match tokens {
            Some(Tokens::TokenId(id)) => Which::Token(id.into()),
            Some(Tokens::Subject(id)) => Which::Subject(id.into()),
            Some(Tokens::Client(id)) => Which::Client(id.into()),
            None => {
                self.add(field, "names no tokens, expected one of `token_id`, `subject` and `client`");
                Which::Token(Arc::default())
            }
        };
        RevokedTokens { issuer: issuer.into(), which }
    }
}

pub(crate) fn revocation(revocation: &Revocation) -> pb::Revocation {
    let Revocation { tokens, issued_before_seconds, forget_at_seconds, revoked_at_us } = revocation;
    let RevokedTokens { issuer, which } = tokens;
    let which = match which {
        Which::Token(id) => Tokens::TokenId(id.to_string()),
        Which::Subject(id) => Tokens::Subject(id.to_string()),
        Which::Client(id) => Tokens::Client(id.to_string()),
    };
    let at = |seconds: &i64| Timestamp { seconds: *seconds, nanos: 0 };
    pb::Revocation {
        tokens: Some(pb::RevokedTokens { issuer: issuer.to_string(), tokens: Some(which) }),
        issued_before: issued_before_seconds.as_ref().map(at),
        forget_at: forget_at_seconds.as_ref().map(at),
        revoked_at: Some(timestamp(*revoked_at_us)),
    }
}

/// A question for revocations, and where its page starts.
pub(crate) struct List {
    pub(crate) realm: String,
    pub(crate) issuer: Option<String>,
    /// The tokens of the last revocation of the page before.
    pub(crate) after: Option<RevokedTokens>,
    pub(crate) size: usize,
    /// Makes the next page's token.
    binding: Binding,
}

pub(crate) fn list(mut request: pb::ListRevocationsRequest) -> Result<List, Error> {
    let page_token = std::mem::take(&mut request.page_token);
    let page_size = std::mem::take(&mut request.page_size);
    let binding = Binding::of("ListRevocations", &request);
    let pb::ListRevocationsRequest { realm, issuer, page_size: _, page_token: _ } = request;
    let cursor = binding.cursor(&page_token)?;
    let after = cursor.map(|name| RevokedTokens::decode(&name).map_err(|_| page_token::malformed())).transpose()?;
    let issuer = Some(issuer).filter(|issuer| !issuer.is_empty());
    Ok(List { realm, issuer, after, size: super::page_size(page_size), binding })
}

impl List {
    /// The page as the wire has it.
    pub(crate) fn page(&self, page: &RevocationPage) -> pb::ListRevocationsResponse {
        let RevocationPage { revocations, has_more } = page;
        let last = revocations.last().filter(|_| *has_more);
        let next_page_token = last.map(|last| self.binding.token(&last.tokens.encode())).unwrap_or_default();
        let revocations = revocations.iter().map(|found| revocation(found)).collect();
        pb::ListRevocationsResponse { revocations, next_page_token }
    }
}

/// The first second that begins at a time or after it: a part of a second revokes more, and is kept for longer.
fn whole_seconds(at: &Timestamp) -> i64 {
    let Timestamp { seconds, nanos } = at;
    seconds.saturating_add(i64::from(*nanos > 0))
}
