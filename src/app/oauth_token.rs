//! Tokens for applications that prove their secret over HTTP (RFC 6749 section 4.4).

use std::sync::Arc;

use crate::{
    app::{
        App,
        applications::{IssueToken, IssuedToken},
        credentials::Secret,
        error::{Error, Kind},
        realm_state::RealmState,
    },
    domain::{
        realm::Realm,
        schema::AttributeType,
        value::{Attributes, Value},
    },
};

/// A client's request for a token.
#[derive(Clone, Debug, Default)]
pub struct ClientCredentials {
    /// The application's id.
    pub id: Arc<str>,
    /// Its secret.
    pub secret: Secret,
    /// The one member to which the token is to be narrowed; `None` for all of them.
    pub scope: Option<Arc<str>>,
}

/// A token and for how long it counts.
#[derive(Clone, Debug)]
pub struct GrantedToken {
    /// The token.
    pub token: Secret,
    /// How many seconds it counts from now on.
    pub expires_in_seconds: i64,
}

/// Why no token is given.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GrantError {
    /// The client is not an application that may have tokens, or did not prove that it is.
    #[error("{0}")]
    Client(Error),
    /// The scope is not one that the application has: what the realm says to that.
    #[error("{0}")]
    Scope(Arc<str>),
    /// It cannot be done.
    #[error("{0}")]
    Failed(Error),
}

impl App {
    /// The realm of this name that issues tokens over HTTP; without a name, the only one that does.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn issuing_realm(&self, name: &str) -> Result<Arc<RealmState>, Error> {
        let issues = |state: &&Arc<RealmState>| state.policies().realm.file.oauth_token.is_some();
        let mut issuing = self.realms().filter(issues).filter(|state| name.is_empty() || state.name.as_str() == name);
        let found = issuing.next().filter(|_| issuing.next().is_none());
        found.cloned().ok_or_else(|| {
            let message = "no such realm issues tokens over HTTP; see `[oauth_token]` in its realm.toml";
            Error::new(Kind::NotFound, "TOKEN_ISSUING_NOT_OFFERED", message)
        })
    }

    /// Issues a token to an application that proves its secret. The secret is looked at before the scope.
    ///
    /// # Errors
    /// [`GrantError`].
    pub async fn grant_token(&self, state: &RealmState, asked: ClientCredentials) -> Result<GrantedToken, GrantError> {
        let ClientCredentials { id, secret, scope } = asked;
        let loaded = state.policies();
        let settings = loaded.realm.file.oauth_token.as_ref();
        let narrows = settings.and_then(|settings| settings.narrows.as_ref());
        let narrowed = match (&scope, narrows) {
            (None, _) => Attributes::default(),
            (Some(scope), narrows) => {
                // Where nothing can be narrowed, no attribute has this name, so that every scope is refused.
                let name = narrows.map_or_else(|| Arc::from("scope"), Arc::clone);
                [(name, Value::List(vec![Value::String(Arc::clone(scope))]))].into_iter().collect()
            }
        };
        let lifetime_seconds = settings.and_then(|settings| settings.lifetime_seconds).unwrap_or_default();
        let issued = self.issue_token(state.name.as_str(), IssueToken { id, secret, lifetime_seconds, narrowed }).await;
        let IssuedToken { token, expires_at_seconds } =
            issued.map_err(|error| match (error.kind, scope, settings) {
                (Kind::Unauthenticated | Kind::FailedPrecondition, ..) => GrantError::Client(error),
                (Kind::InvalidArgument, Some(scope), Some(settings)) => {
                    let is_readable = narrows.is_none_or(|attribute| is_member(&loaded.realm, attribute, &scope));
                    let said = if is_readable { &settings.scope_foreign } else { &settings.scope_malformed };
                    GrantError::Scope(Arc::clone(said))
                }
                _ => GrantError::Failed(error),
            })?;
        Ok(GrantedToken { token, expires_in_seconds: expires_at_seconds.saturating_sub(self.clock.now_seconds()) })
    }
}

/// The text could be a member of this set among the principal's attributes.
fn is_member(realm: &Realm, attribute: &str, text: &str) -> bool {
    let declared = realm.schema.entities.get(&realm.file.principal.entity);
    match declared.and_then(|members| members.get(attribute)).map(|member| &member.value_type) {
        Some(AttributeType::Set(element)) => match &**element {
            AttributeType::Entity(entity_type) => realm.relations.entity_id(entity_type, text).is_ok(),
            AttributeType::String => true,
            _ => false,
        },
        _ => false,
    }
}
