//! Who asks: a token, verified or found to have been verified before.

use std::sync::Arc;

use crate::{
    app::{
        App,
        authorize::{Caller, Verified, recorded_principal},
        credentials::{Credentials, Presented, Secret},
        error::Error,
        ports::KeyError,
        realm_state::RealmState,
    },
    domain::{
        application::TokenDigest,
        decision::Reason,
        principal::{Principal, PrincipalError},
        realm::Realm,
        token,
        token_error::TokenError,
        token_facts::TokenFacts,
        value::Attributes,
    },
};

/// What stands as the issuer of an opaque token in the decision log: the realm's own record of an application vouches
/// for it.
pub const APPLICATION_ISSUER: &str = "hallpass:application";

/// Who a good token stands for.
struct Proven {
    principal: Principal,
    token: TokenFacts,
    expires_at_seconds: i64,
}

/// Why a token was not verified: it isn't good, or that couldn't be found out.
enum NotProven {
    Bad(Box<Reason>),
    Failed(Error),
}

impl App {
    /// Who asks: the holder of the request's one token. What counts against the token in this request is looked at each
    /// time, however often it was verified before. Bad credentials are an answer, not an error.
    pub(crate) async fn authenticate(
        &self,
        state: &RealmState,
        realm: &Realm,
        credentials: &Credentials,
    ) -> Result<Verified, Error> {
        let presented = match credentials.presented() {
            Ok(presented) => presented,
            Err(reason) => return Ok(Err(Box::new(reason))),
        };
        let verified = self.verify(state, realm, presented.token()).await?;
        Ok(verified.and_then(|caller| with_right_scheme(realm, caller, presented)))
    }

    /// Verifies a token, or finds that it was verified before. A bad token is an answer, not an error.
    async fn verify(&self, state: &RealmState, realm: &Realm, token: &Secret) -> Result<Verified, Error> {
        let now_seconds = self.clock.now_seconds();
        match self.tokens.get(&state.name, &token.0, now_seconds) {
            // What other rules made of the token doesn't count.
            Some(caller) if caller.policy_version == realm.version => Ok(Ok(caller)),
            _ => self.verify_anew(state, realm, &token.0, now_seconds).await,
        }
    }

    async fn verify_anew(
        &self,
        state: &RealmState,
        realm: &Realm,
        text: &str,
        now_seconds: i64,
    ) -> Result<Verified, Error> {
        // Before keys and applications are looked at, so that what changes from here on is not undone by the cache.
        let generation = self.tokens.generation(&state.name);
        let proven = match opaque(state, text) {
            Some(digest) => prove_opaque(state, realm, &digest, now_seconds),
            None => self.prove_jwt(state, realm, text, now_seconds).await,
        };
        let Proven { principal, token, expires_at_seconds } = match proven {
            Ok(proven) => proven,
            Err(NotProven::Bad(reason)) => return Ok(Err(reason)),
            Err(NotProven::Failed(error)) => return Err(error),
        };
        let caller = Arc::new(Caller {
            recorded: recorded_principal(state, realm, &principal),
            principal,
            token,
            policy_version: realm.version.clone(),
            expires_at_seconds,
        });
        self.tokens.insert(&state.name, text, Arc::clone(&caller), expires_at_seconds, generation);
        Ok(Ok(caller))
    }

    /// A JWT stands for whom its claims name; what it says nothing about comes from the application of that name, if the
    /// issuer's clients are the realm's applications.
    async fn prove_jwt(
        &self,
        state: &RealmState,
        realm: &Realm,
        text: &str,
        now_seconds: i64,
    ) -> Result<Proven, NotProven> {
        let unverified = token::read(text)?;
        let issuer = realm.issuer(unverified.issuer()).ok_or(TokenError::IssuerUnknown)?;
        let keys = self.keys.keys(&state.name, &issuer.issuer, unverified.key_id()).await?;
        let claims = unverified.verify(issuer, &keys, now_seconds)?;
        let token = TokenFacts::of(&claims);
        let (claims, expires_at_seconds) = (claims.as_map(), claims.expires_at_seconds());
        let entity = Principal::named_in(realm, claims)?;
        let applications = realm.vouches_for_applications(issuer).then(|| state.applications.index());
        let Some(application) = applications.as_ref().and_then(|applications| applications.get(&entity.id)) else {
            let principal = Principal::from_claims_and_record(realm, entity, claims, &Attributes::default())?;
            return Ok(Proven { principal, token, expires_at_seconds });
        };
        application.check_in_use(now_seconds)?;
        let principal = Principal::from_claims_and_record(realm, entity, claims, &application.attributes)?;
        Ok(Proven { principal, token, expires_at_seconds: application.until(expires_at_seconds) })
    }
}

/// The digest of a token that is to be looked up: no JWT, in a realm that has applications.
fn opaque(state: &RealmState, text: &str) -> Option<TokenDigest> {
    if state.applications.index().is_empty() { None } else { TokenDigest::of_opaque(text) }
}

/// An opaque token stands for its application, as the record has it.
fn prove_opaque(
    state: &RealmState,
    realm: &Realm,
    digest: &TokenDigest,
    now_seconds: i64,
) -> Result<Proven, NotProven> {
    let applications = state.applications.index();
    let token = applications.token(digest).ok_or(TokenError::Unknown)?;
    let application = applications.get(&token.application).ok_or(TokenError::Unknown)?;
    if now_seconds >= token.expires_at_seconds {
        return Err(TokenError::Expired.into());
    }
    application.check_in_use(now_seconds)?;
    let attributes = application.narrowed(realm, &token.narrowed)?;
    let principal = Principal::from_record(realm, &application.id, &attributes)?;
    let expires_at_seconds = application.until(token.expires_at_seconds);
    let client = Some(Arc::clone(&application.id));
    let token = TokenFacts { issuer: APPLICATION_ISSUER.into(), client, ..TokenFacts::default() };
    Ok(Proven { principal, token, expires_at_seconds })
}

/// The token came with the scheme word that its issuer's tokens come with; an opaque one with `Bearer` (RFC 6750).
fn with_right_scheme(realm: &Realm, caller: Arc<Caller>, presented: Presented<'_>) -> Verified {
    let Presented::Header(_, scheme) = presented else { return Ok(caller) };
    let expected = match realm.issuer(&caller.token.issuer) {
        Some(issuer) => &issuer.scheme,
        None if *caller.token.issuer == *APPLICATION_ISSUER => "Bearer",
        None => return Err(Box::new(bad_token(&TokenError::IssuerUnknown))),
    };
    if expected.eq_ignore_ascii_case(scheme) {
        return Ok(caller);
    }
    let message = format!("the token came with another scheme word than `{expected}`");
    Err(Box::new(Reason::plain("TOKEN_SCHEME_MISMATCH", message)))
}

fn bad_token(error: &TokenError) -> Reason {
    Reason::plain(error.code(), error.to_string())
}

impl From<TokenError> for NotProven {
    fn from(error: TokenError) -> Self {
        Self::Bad(Box::new(bad_token(&error)))
    }
}

impl From<PrincipalError> for NotProven {
    fn from(error: PrincipalError) -> Self {
        Self::Bad(Box::new(Reason::plain(error.code(), error.to_string())))
    }
}

impl From<KeyError> for NotProven {
    fn from(error: KeyError) -> Self {
        Self::Failed(error.into())
    }
}
