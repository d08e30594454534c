//! Whom a caller names as the subject of a question: in place of a token, or beside one that must stand for the same.

use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::{
    App,
    authorize::{Caller, Verified},
    credentials::{Credentials, NamedSubject},
    error::Error,
    open_question::NOT_UNDERSTOOD,
    realm_state::RealmState,
    verification::bad_token,
};
use crate::domain::{
    decision::Reason,
    principal::{Principal, PrincipalError},
    realm::Realm,
    realm_file::{AuthzenSettings, SubjectSource},
    token_facts::TokenFacts,
    value::Attributes,
};

/// What stands as the issuer in the decision log where the caller named the subject.
pub const SUBJECT_ISSUER: &str = "hallpass:subject";

impl App {
    /// Who asks, where the caller names a subject and its word for it counts, or why it doesn't. `None` where the request's
    /// token says who asks, which must be the subject if one is named.
    pub(super) fn authenticate_subject(
        &self,
        state: &RealmState,
        realm: &Realm,
        credentials: &Credentials,
    ) -> Result<Option<Verified>, Error> {
        let Some(subject) = &credentials.subject else { return Ok(None) };
        let refused = |code: &str, message: &str| Ok(Some(Err(Box::new(Reason::plain(code, message)))));
        let Some(settings) = &realm.file.authzen else {
            return refused("SUBJECT_NOT_TAKEN", "the realm takes nobody whom the caller names, expected a token");
        };
        if !settings.takes_subject(&subject.subject_type) {
            let message = match &*settings.subjects.join(", ") {
                "" => "the subject's type stands for no principal".to_owned(),
                known => format!("the subject's type stands for no principal, expected one of {known}"),
            };
            return refused(NOT_UNDERSTOOD, &message);
        }
        match (settings.subject, credentials.tokens().next()) {
            (SubjectSource::Named | SubjectSource::Either, None) => {
                self.named_subject(state, realm, settings, subject).map(Some)
            }
            (SubjectSource::Token | SubjectSource::Either, Some(_)) => Ok(None),
            (SubjectSource::Token, None) => refused("TOKEN_MISSING", "the request has no token of its subject"),
            (SubjectSource::Named, Some(_)) => {
                refused("SUBJECT_NOT_TAKEN", "the realm takes subjects that the caller names, expected no token")
            }
        }
    }

    /// Whom the caller names, by its word: the principal that claims of this name would stand for, with what is on record
    /// of the application of that name.
    fn named_subject(
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

/// Who asks by a token, if it is the subject that the caller names, or none is named.
pub(super) fn same_subject(realm: &Realm, verified: Verified, credentials: &Credentials) -> Verified {
    let caller = verified?;
    let Some(subject) = &credentials.subject else { return Ok(caller) };
    let named = realm.relations.entity_id(&realm.file.principal.entity, &subject.id);
    if named.is_ok_and(|named| named == caller.principal.entity) {
        return Ok(caller);
    }
    let message = "the token stands for somebody else than the subject of the question";
    Err(Box::new(Reason::plain("SUBJECT_MISMATCH", message)))
}
