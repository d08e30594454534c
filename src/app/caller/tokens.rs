//! Tokens by which callers show themselves in place of keys: JWTs of the deployment's own issuers, verified as those of a
//! realm are, and remembered until they end.

use std::sync::Arc;

use super::{Presented, REALM, VerifiedCaller};
use crate::{
    app::{App, error::Error, ports::place::elsewhere, token_cache::TokenCache},
    domain::{
        decision::Reason,
        id::RealmName,
        issuer::Issuer,
        token::{self, TokenError},
    },
};

/// About how many verified tokens of callers are remembered.
const TOKENS_MAX: usize = 10_000;

/// The issuers whose tokens callers may bring, and the tokens that were verified.
#[derive(Debug)]
pub struct Tokens {
    issuers: Vec<Issuer>,
    seen: Arc<TokenCache<VerifiedCaller>>,
}

impl Default for Tokens {
    fn default() -> Self {
        Self { issuers: Vec::new(), seen: Arc::new(TokenCache::new(TOKENS_MAX)) }
    }
}

impl Tokens {
    /// Where verified tokens are remembered. Whoever has the issuers' keys drops those of the realm `hallpass` when keys
    /// change.
    pub fn seen(&self) -> &Arc<TokenCache<VerifiedCaller>> {
        &self.seen
    }

    pub(super) fn of(self, issuers: Vec<Issuer>) -> Self {
        Self { issuers, ..self }
    }

    pub(super) fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    fn issuer(&self, name: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| *issuer.issuer == *name)
    }
}

impl App {
    /// What a call brings, with its token verified: a key that is a JWT of one of the deployment's own issuers stands for
    /// whom it names. Any other key stays one.
    pub async fn with_token_verified(&self, presented: Presented) -> Presented {
        let tokens = &self.callers.tokens;
        let Some(text) = presented.key.clone().filter(|key| !tokens.issuers.is_empty() && key.starts_with("eyJ"))
        else {
            return presented;
        };
        match self.verify_token_of_caller(&text).await {
            Ok(None) => presented,
            Ok(Some(verified)) => Presented { key: None, verified: Some(verified), ..presented },
            Err(reason) => Presented { key: None, refused: Some(Arc::new(reason)), ..presented },
        }
    }

    /// Whom a token names; `None` for what is no token of one of the issuers.
    async fn verify_token_of_caller(&self, text: &str) -> Result<Option<Arc<VerifiedCaller>>, Reason> {
        let tokens = &self.callers.tokens;
        let now_seconds = self.clock.now_seconds();
        let Ok(realm) = REALM.parse::<RealmName>() else { return Ok(None) };
        if let Some(verified) = tokens.seen.get(&realm, text, now_seconds) {
            return Ok(Some(verified));
        }
        let Ok(unverified) = token::read(text) else { return Ok(None) };
        let Some(issuer) = tokens.issuer(unverified.issuer()) else { return Ok(None) };
        // Before the keys are looked up, so that a change from here on is not undone by what is remembered.
        let generation = tokens.seen.generation(&realm);
        unverified.check_header(issuer).map_err(|error| bad(&error))?;
        let asked = elsewhere(self.keys.keys(&realm, &issuer.issuer, unverified.key_id())).await;
        let keys = asked.map_err(Error::from).and_then(|keys| keys.map_err(Error::from));
        let keys = keys.map_err(|error| Reason::plain(error.reason, error.message))?;
        let claims = unverified.verify(issuer, &keys, now_seconds).map_err(|error| bad(&error))?;
        if claims.confirmation().is_some() {
            let message =
                "the caller's token is bound to a key, which calls of callers do not show; expected a plain one";
            return Err(Reason::plain("CALLER_TOKEN_INVALID", message));
        }
        let Some(subject) = claims.subject() else {
            let message = "the caller's token has no `sub`, which says whose it is";
            return Err(Reason::plain("CALLER_TOKEN_INVALID", message));
        };
        let verified = Arc::new(VerifiedCaller { issuer: Arc::clone(&issuer.issuer), subject: subject.into() });
        tokens.seen.insert(&realm, text, Arc::clone(&verified), claims.expires_at_seconds(), generation);
        Ok(Some(verified))
    }
}

fn bad(error: &TokenError) -> Reason {
    Reason::plain("CALLER_TOKEN_INVALID", format!("the caller's token isn't good, `{}`: {error}", error.code()))
}
