//! Whom a caller names as the subject of a question: in place of a token, or beside one that must stand for the same.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{
    App,
    authorize::{Caller, Verified},
    credentials::{Credentials, NamedSubject},
    error::Error,
    realm_state::RealmState,
    verification::bad_token,
};
use crate::domain::{
    decision::Reason,
    id::EntityId,
    principal::{Principal, PrincipalError},
    realm::Realm,
    realm_file::{AuthzenSettings, SubjectSource},
    token_facts::TokenFacts,
    value::Attributes,
};

/// What stands as the issuer in the decision log where the caller named the subject.
pub const SUBJECT_ISSUER: &str = "hallpass:subject";

/// How the words of a request count.
pub(super) enum Source<'r> {
    /// The caller's word for it counts.
    Named(&'r AuthzenSettings),
    /// The token counts, and must stand for whom the caller names.
    Token,
}

/// Whose word for the subject counts in this realm.
///
/// # Errors
/// Why nobody's does.
pub(super) fn source<'r>(
    realm: &'r Realm,
    credentials: &Credentials,
    subject: &NamedSubject,
) -> Result<Source<'r>, Box<Reason>> {
    let refused = |code: &str, message: &str| Box::new(Reason::plain(code, message));
    let Some(settings) = &realm.file.authzen else {
        let message = "the realm takes nobody whom the caller names, expected a token";
        return Err(refused("SUBJECT_NOT_TAKEN", message));
    };
    if !settings.takes_subject(&subject.subject_type) {
        let message = format!("the subject's type stands for no principal, expected one of {}", settings.subjects.join(", "));
        return Err(refused(super::open_question::NOT_UNDERSTOOD, &message));
    }
    match (settings.subject, credentials.tokens().next()) {
        (SubjectSource::Named | SubjectSource::Either, None) => Ok(Source::Named(settings)),
        (SubjectSource::Token | SubjectSource::Either, Some(_)) => Ok(Source::Token),
        (SubjectSource::Token, None) => Err(refused("TOKEN_MISSING", "the request has no token of its subject")),
        (SubjectSource::Named, Some(_)) => {
            Err(refused("SUBJECT_NOT_TAKEN", "the realm takes subjects that the caller names, expected no token"))
        }
    }
}

impl App {
    /// Whom the caller names, by its word: the principal that claims of this name would stand for, with what is on record
    /// of the application of that name.
    pub(super) fn named_subject(
        &self,
        state: &RealmState,
        realm: &Realm,
        settings: &AuthzenSettings,
        subject: &NamedSubject,
    ) -> Result<Verified, Error> {
        let said = settings.subject_properties.iter().filter_map(|name| {
            let value = subject.claims.get(&**name).filter(|value| !value.is_null())?;
            Some((name.to_string(), value.clone()))
        });
        match self.principal_of_id(state, realm, &subject.id, said.collect()) {
            Ok((principal, expires_at_seconds)) => {
                let caller = caller_of(state, realm, principal, expires_at_seconds)?;
                Ok(self.unrevoked(state, Arc::new(caller)))
            }
            Err(reason) => Ok(Err(reason)),
        }
    }

    /// The principal of an id, and until when it counts, in seconds since the epoch. `claims` may say more of it.
    pub(super) fn principal_of_id(
        &self,
        state: &RealmState,
        realm: &Realm,
        id: &str,
        mut claims: Map<String, Json>,
    ) -> Result<(Principal, i64), Box<Reason>> {
        let unfit = |error: PrincipalError| Box::new(Reason::plain(error.code(), error.to_string()));
        if let Some(claim) = realm.file.principal.id_claims.first() {
            claims.insert(claim.to_string(), Json::from(id));
        }
        let entity = Principal::named_in(realm, &claims).map_err(unfit)?;
        let applications = state.applications();
        let Some(application) = applications.get(&entity.id) else {
            let principal = Principal::from_claims_and_record(realm, entity, &claims, &Attributes::default());
            return principal.map(|principal| (principal, i64::MAX)).map_err(unfit);
        };
        application.check_in_use(self.clock.now_seconds()).map_err(|error| Box::new(bad_token(&error)))?;
        let principal = Principal::from_claims_and_record(realm, entity, &claims, &application.attributes);
        principal.map(|principal| (principal, application.until(i64::MAX))).map_err(unfit)
    }
}

/// A principal whom the caller named, as decisions and their records take it.
///
/// # Errors
/// People who cannot be named now.
pub(super) fn caller_of(
    state: &RealmState,
    realm: &Realm,
    principal: Principal,
    expires_at_seconds: i64,
) -> Result<Caller, Error> {
    let subject = Some(Arc::clone(&principal.entity.id));
    Ok(Caller {
        recorded: state.people.principal(realm, &principal)?,
        principal,
        token: TokenFacts { issuer: SUBJECT_ISSUER.into(), subject, ..TokenFacts::default() },
        policy_version: realm.version.clone(),
        expires_at_seconds,
    })
}

/// The token's principal is the one that the caller names.
pub(super) fn same_subject(realm: &Realm, verified: Verified, subject: &NamedSubject) -> Verified {
    let caller = verified?;
    let named = realm.relations.entity_id(&realm.file.principal.entity, &subject.id);
    let is_same = |named: &EntityId| *named == caller.principal.entity;
    if named.as_ref().is_ok_and(is_same) {
        return Ok(caller);
    }
    let message = "the token stands for somebody else than the subject of the question";
    Err(Box::new(Reason::plain("SUBJECT_MISMATCH", message)))
}
