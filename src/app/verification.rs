//! Who asks: a token, verified or found to have been verified before.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::{
    app::{
        App,
        authorize::{Caller, Verified},
        credentials::{Credentials, Presented, Secret},
        error::Error,
        ports::{
            ActiveToken, Introspected, IntrospectionError, KeyError, TokenIntrospector,
            meter::Cache,
            place::{Crowded, elsewhere},
        },
        proof_replays::Call,
        realm_state::RealmState,
        subject::same_subject,
    },
    domain::{
        application::TokenDigest,
        decision::Reason,
        id::EntityId,
        issuer::Issuer,
        principal::{Principal, PrincipalError},
        realm::Realm,
        token::{self, Claims},
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

/// How claims and what is on record of their application become a principal.
type Mapping = fn(&Realm, EntityId, &Map<String, Value>, &Attributes) -> Result<Principal, PrincipalError>;

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
        call: Call,
    ) -> Result<Verified, Error> {
        let verified = self.judge_credentials(state, realm, credentials, call).await?;
        if let Err(reason) = &verified {
            self.meter.token_refused(issuer_of(realm, credentials), &reason.code);
        }
        Ok(verified)
    }

    async fn judge_credentials(
        &self,
        state: &RealmState,
        realm: &Realm,
        credentials: &Credentials,
        call: Call,
    ) -> Result<Verified, Error> {
        match self.authenticate_subject(state, realm, credentials)? {
            None => {}
            Some(named) => return Ok(named),
        }
        let presented = match credentials.presented() {
            Ok(presented) => presented,
            Err(reason) => return Ok(Err(Box::new(reason))),
        };
        match self.recognize(state, realm, presented).await? {
            Ok(caller) => {
                let shown = self.check_possession(realm, &caller, presented, credentials, call)?;
                let shown = shown.map(|()| caller).map_err(|error| Box::new(bad_token(&error)));
                Ok(same_subject(realm, shown, credentials))
            }
            refused @ Err(_) => Ok(refused),
        }
    }

    /// Who asks, once more while an answer is under way: as [`App::authenticate`], but for what shows that the sender holds
    /// the token's key, which is good for one time.
    pub(crate) async fn authenticate_again(
        &self,
        state: &RealmState,
        realm: &Realm,
        credentials: &Credentials,
    ) -> Result<Verified, Error> {
        if let Some(named) = self.authenticate_subject(state, realm, credentials)? {
            return Ok(named);
        }
        match credentials.presented() {
            Ok(presented) => {
                let verified = self.recognize(state, realm, presented).await?;
                Ok(same_subject(realm, verified, credentials))
            }
            Err(reason) => Ok(Err(Box::new(reason))),
        }
    }

    /// Whom a token stands for, whoever sent it.
    async fn recognize(&self, state: &RealmState, realm: &Realm, presented: Presented<'_>) -> Result<Verified, Error> {
        let verified = self.verify(state, realm, presented.token()).await?;
        Ok(verified
            .and_then(|caller| well_carried(realm, caller, presented))
            .and_then(|caller| self.unrevoked(state, caller)))
    }

    /// Verifies a token, or finds that it was verified before. A bad token is an answer, not an error.
    async fn verify(&self, state: &RealmState, realm: &Realm, token: &Secret) -> Result<Verified, Error> {
        let now_seconds = self.clock.now_seconds();
        match self.tokens.get(&state.name, &token.0, now_seconds) {
            // What other rules made of the token doesn't count.
            Some(caller) if caller.policy_version == realm.version => {
                self.meter.cache_hit(Cache::Tokens);
                Ok(Ok(caller))
            }
            _ => {
                self.meter.cache_missed(Cache::Tokens);
                self.verify_anew(state, realm, &token.0, now_seconds).await
            }
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
        let proven = match (opaque(state, text), self.introspecting(realm, text)) {
            (Some(digest), None) => prove_opaque(state, realm, &digest, now_seconds),
            (Some(digest), Some(_)) if state.applications.index().token(&digest).is_some() => {
                prove_opaque(state, realm, &digest, now_seconds)
            }
            // What another realm issued is no business of this one's issuer.
            (_, Some(_)) if self.is_of_an_application(text) => Err(TokenError::Unknown.into()),
            (_, Some((issuer, introspector))) => {
                prove_introspected(state, realm, issuer, &**introspector, text, now_seconds).await
            }
            (None, None) => self.prove_jwt(state, realm, text, now_seconds).await,
        };
        let Proven { principal, token, expires_at_seconds } = match proven {
            Ok(proven) => proven,
            Err(NotProven::Bad(reason)) => return Ok(Err(reason)),
            Err(NotProven::Failed(error)) => return Err(error),
        };
        let caller = Arc::new(Caller {
            recorded: state.people.principal(realm, &principal)?,
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
        unverified.check_header(issuer)?;
        let keys = elsewhere(self.keys.keys(&state.name, &issuer.issuer, unverified.key_id())).await??;
        let claims = unverified.verify(issuer, &keys, now_seconds)?;
        Self::prove_claims(state, realm, issuer, &claims, Principal::from_claims_and_record, now_seconds)
    }

    /// The issuer of the realm that is asked about this token, as it takes the realm's opaque tokens.
    fn introspecting<'r>(&self, realm: &'r Realm, text: &str) -> Option<(&'r Issuer, &Arc<dyn TokenIntrospector>)> {
        let introspector = self.introspector.as_ref()?;
        let issuer = realm.file.issuers.iter().find(|issuer| issuer.introspection.is_some())?;
        is_for_introspection(text).then_some((issuer, introspector))
    }

    /// Whom the claims of a good token stand for, as `principal` maps what a token or what an introspection says.
    fn prove_claims(
        state: &RealmState,
        realm: &Realm,
        issuer: &Issuer,
        claims: &Claims,
        principal: Mapping,
        now_seconds: i64,
    ) -> Result<Proven, NotProven> {
        let token = TokenFacts::of(claims);
        let (claims, expires_at_seconds) = (claims.as_map(), claims.expires_at_seconds());
        let entity = Principal::named_in(realm, claims)?;
        let applications = realm.vouches_for_applications(issuer).then(|| state.applications.index());
        let Some(application) = applications.as_ref().and_then(|applications| applications.get(&entity.id)) else {
            let principal = principal(realm, entity, claims, &Attributes::default())?;
            return Ok(Proven { principal, token, expires_at_seconds });
        };
        application.check_in_use(now_seconds)?;
        let principal = principal(realm, entity, claims, &application.attributes)?;
        Ok(Proven { principal, token, expires_at_seconds: application.until(expires_at_seconds) })
    }
}

/// The configured issuer that the first of the tokens names; `None` where it names none of the realm's, or can't be read.
fn issuer_of<'r>(realm: &'r Realm, credentials: &Credentials) -> Option<&'r str> {
    let token = credentials.tokens().next()?;
    let issuer = realm.issuer(token::read(&token.0).ok()?.issuer())?;
    Some(&issuer.issuer)
}

/// The digest of a token that is to be looked up: no JWT, in a realm that has applications.
fn opaque(state: &RealmState, text: &str) -> Option<TokenDigest> {
    if state.applications.index().is_empty() { None } else { TokenDigest::of_opaque(text) }
}

/// The token is one that only its issuer can read, and may be sent to it. What looks like the beginning of a signed or
/// encrypted token may be another issuer's.
fn is_for_introspection(text: &str) -> bool {
    let is_jose =
        text.starts_with("eyJ") || text.starts_with('{') || text.bytes().filter(|byte| *byte == b'.').count() > 1;
    TokenDigest::of_opaque(text).is_some() && !is_jose && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An opaque token stands for whom its issuer says.
async fn prove_introspected(
    state: &RealmState,
    realm: &Realm,
    issuer: &Issuer,
    introspector: &dyn TokenIntrospector,
    text: &str,
    now_seconds: i64,
) -> Result<Proven, NotProven> {
    match elsewhere(introspector.introspect(&state.name, &issuer.issuer, text)).await?? {
        Introspected::Inactive => Err(TokenError::Inactive.into()),
        Introspected::Active(ActiveToken { members, until_seconds }) => {
            let claims = token::introspected(Map::clone(&members), issuer, until_seconds, now_seconds)?;
            let mapping = Principal::from_introspection_and_record;
            let mut proven = App::prove_claims(state, realm, issuer, &claims, mapping, now_seconds)?;
            // What can be revoked has an id.
            proven.token.id.get_or_insert_with(|| TokenDigest::of(text).to_string().into());
            Ok(proven)
        }
    }
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
    let named = || Some(Arc::clone(&application.id));
    let token = TokenFacts {
        issuer: APPLICATION_ISSUER.into(),
        id: Some(digest.to_string().into()),
        subject: named(),
        client: named(),
        ..TokenFacts::default()
    };
    Ok(Proven { principal, token, expires_at_seconds })
}

/// The token came as its issuer's tokens may come, in a header with their scheme word; an opaque one of an application in
/// a header with `Bearer` (RFC 6750). The scheme word of a token that is bound to a key belongs to its proof.
fn well_carried(realm: &Realm, caller: Arc<Caller>, presented: Presented<'_>) -> Verified {
    let issuer = realm.issuer(&caller.token.issuer);
    let scheme = match presented {
        Presented::Header(_, scheme) => scheme,
        Presented::Query(_) if issuer.is_some_and(|issuer| issuer.query) => return Ok(caller),
        Presented::Query(_) => return Err(Box::new(bad_token(&TokenError::TransportNotAllowed))),
    };
    if caller.token.confirmation.as_ref().is_some_and(|confirmation| confirmation.key_thumbprint.is_some()) {
        return Ok(caller);
    }
    let expected = match issuer {
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

/// The reason of a token that isn't good.
pub(super) fn bad_token(error: &TokenError) -> Reason {
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

impl From<Crowded> for NotProven {
    fn from(crowded: Crowded) -> Self {
        Self::Failed(crowded.into())
    }
}

impl From<IntrospectionError> for NotProven {
    fn from(error: IntrospectionError) -> Self {
        Self::Failed(error.into())
    }
}
