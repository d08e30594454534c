//! Envoy's external authorization (`envoy.service.auth.v3`): whether a request that Envoy holds back may pass.
//!
//! [`held`] reads what Envoy says of the request, the realm's routes say what it asks for, a use case of [`App`] decides,
//! [`answer`] says it in Envoy's words. Only a decision is an answer: whatever else happens is told as a failure, and never as
//! an allow. What a client alone could bring about is a refusal and no failure, so that nobody can choose to be let through
//! where a gateway is set to let failures pass.

mod answer;
mod held;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use tonic::{Request, Response, Status};

use self::{
    answer::Allow,
    held::{Held, Misread},
};
use super::layer;
use crate::{
    app::{
        App,
        authorize::{Answer, AuthorizeRequest},
        caller::Presented,
        credentials::{Credentials, Secret},
        error::{Error, Kind},
        explain::{Explain, ExplainLevel},
        realm_state::RealmState,
        route::{Check, Misrouted},
    },
    domain::{
        adapter::Adapter,
        decision::{Effect, Reason},
        realm_file::QUERY_TOKEN,
        route::{self, Found, Obligations, Routes, path::Path},
    },
    proto::envoy::service::auth::v3::{
        CheckRequest, CheckResponse,
        authorization_server::{self, Authorization, AuthorizationServer},
    },
};

/// The full name of the service.
pub const SERVICE: &str = authorization_server::SERVICE_NAME;

/// What a deployment may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The realm of requests whose route names none; `None`: the only one that trusts the token's issuer.
    pub realm: Option<Arc<str>>,
    /// How the names of headers begin that are ours to set, in small letters: what clients send of them is removed.
    pub strip_headers: Vec<Arc<str>>,
    /// `Authorization` does not reach the API.
    pub removes_authorization: bool,
    /// Denials let the request pass, and say so in a header.
    pub is_dry_run: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { realm: None, strip_headers: vec!["x-authz-".into()], removes_authorization: false, is_dry_run: false }
    }
}

/// The service, for messages of at most so many bytes.
pub fn service(app: Arc<App>, options: Options, message_bytes_max: usize) -> AuthorizationServer<Checks> {
    AuthorizationServer::new(Checks { app, options }).max_decoding_message_size(message_bytes_max)
}

/// Answers Envoy.
pub struct Checks {
    app: Arc<App>,
    options: Options,
}

impl fmt::Debug for Checks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks").field("options", &self.options).finish_non_exhaustive()
    }
}

#[tonic::async_trait]
impl Authorization for Checks {
    async fn check(&self, request: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        let (metadata, extensions, message) = request.into_parts();
        let presented = layer::caller::presented(metadata.as_ref(), &extensions);
        Ok(Response::new(self.answer(message, presented).await))
    }
}

/// Why there is no decision.
enum NoDecision {
    /// The request belongs to no realm.
    NoRealm,
    /// It could not be decided.
    Failed(Error),
}

impl From<Error> for NoDecision {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Why a request is no question.
struct Refusal {
    reason: Reason,
    /// What shows who asks, where that is looked at first.
    credentials: Option<Box<Credentials>>,
}

impl Refusal {
    fn of_request(code: &str, message: impl fmt::Display) -> Self {
        Self { reason: Reason::plain(code, message.to_string()), credentials: None }
    }
}

impl Checks {
    async fn answer(&self, message: CheckRequest, presented: Presented) -> CheckResponse {
        let held = match Held::read(message) {
            Ok(held) => held,
            Err(Misread) => return answer::failed(&Error::invalid_field("attributes.request.http", "is missing")),
        };
        match self.decide(&held, presented).await {
            Ok((answer, obligations)) => self.told(&held, &answer, obligations),
            Err(NoDecision::NoRealm) => answer::of_no_realm(),
            Err(NoDecision::Failed(error)) => answer::failed(&error),
        }
    }

    fn told(&self, held: &Held, decided: &Answer, obligations: Obligations) -> CheckResponse {
        if decided.decision.outcome.effect() == Effect::Deny && !self.options.is_dry_run {
            return answer::denied(decided, held.request_id());
        }
        let allow = Allow { answer: decided, obligations, held, options: &self.options };
        allow.response().unwrap_or_else(|error| answer::failed(&error))
    }

    /// Decides a request, or refuses one that is no question; both are kept in the log.
    async fn decide(&self, held: &Held, presented: Presented) -> Result<(Answer, Obligations), NoDecision> {
        let credentials = held.credentials();
        let realm = self.realm(held, credentials.as_ref().ok(), &presented)?;
        let call = AuthorizeRequest {
            realm: realm.name.as_str().into(),
            request_id: held.request_id().into(),
            explain: Explain { level: Some(ExplainLevel::Reasons) },
            presented,
            adapter: Adapter::Envoy,
            ..AuthorizeRequest::default()
        };
        let routes = realm.policies().realm.routes.clone();
        match question(held, credentials, routes.as_deref())? {
            Ok((Found { question, obligations, operation: _, template: _ }, credentials)) => {
                let answer = self.app.authorize(AuthorizeRequest { credentials, question, ..call }).await?;
                Ok((answer, obligations))
            }
            Err(Refusal { reason, credentials }) => {
                let check = if credentials.is_some() { Check::Token } else { Check::Nothing };
                let call = AuthorizeRequest { credentials: *credentials.unwrap_or_default(), ..call };
                let misrouted = Misrouted { call, method: held.method_on_record(), reason, check };
                Ok((self.app.refuse_request(misrouted).await?, Obligations::Unknown))
            }
        }
    }

    /// The realm that the route names, or the deployment, or else the token's issuer. A client's token never leads away from
    /// a realm that somebody named. A caller that isn't known does not learn which there are.
    fn realm(
        &self,
        held: &Held,
        credentials: Option<&Credentials>,
        presented: &Presented,
    ) -> Result<Arc<RealmState>, NoDecision> {
        let named = held.extension("realm").or(self.options.realm.as_deref()).unwrap_or_default();
        let none = Credentials::default();
        let found = self.app.realm_of(named, credentials.unwrap_or(&none));
        found.map(Arc::clone).map_err(|error| match (self.app.caller_of(presented), error.kind) {
            (Err(refusal), _) => NoDecision::Failed(refusal),
            (Ok(_), Kind::InvalidArgument) => NoDecision::NoRealm,
            (Ok(_), _) => NoDecision::Failed(error),
        })
    }
}

/// What a request asks, and by whom; `Ok(Err(_))` for one that is no question.
///
/// # Errors
/// What the gateway says of the route cannot be meant.
fn question(
    held: &Held,
    credentials: Result<Credentials, Reason>,
    routes: Option<&Routes>,
) -> Result<Result<(Found, Credentials), Refusal>, Error> {
    let path = match held.path() {
        Ok(path) => path,
        Err(fault) => return Ok(Err(Refusal::of_request("ROUTE_AMBIGUOUS", fault))),
    };
    let credentials = match credentials.map_err(|reason| Refusal { reason, credentials: None }) {
        Ok(credentials) => with_query_token(credentials, &path, routes),
        refused => refused,
    };
    let credentials = match credentials {
        Ok(credentials) => credentials,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let told = route::told(held.extensions(), &path);
    let told = told.map_err(|fault| Error::new(Kind::FailedPrecondition, "ROUTE_MISCONFIGURED", fault.to_string()))?;
    let found = told.unwrap_or_else(|| match routes {
        Some(routes) => routes.find(held.method(), &path),
        None => Err(route::RouteFault::Unknown),
    });
    Ok(match found {
        Ok(found) => Ok((found, credentials)),
        Err(fault) => {
            let reason = Reason::plain(fault.code(), fault.to_string());
            Err(Refusal { reason, credentials: Some(Box::new(credentials)) })
        }
    })
}

/// The credentials with the token of the query, where the realm takes one from there; a token that comes where none may is
/// refused, because the API could take it for the one that counts.
fn with_query_token(credentials: Credentials, path: &Path, routes: Option<&Routes>) -> Result<Credentials, Refusal> {
    let own = routes.and_then(Routes::query_token);
    let name = own.map_or(QUERY_TOKEN, |name| &**name);
    let of_query = |name: &str| path.query(name).map_err(|fault| Refusal::of_request("ROUTE_AMBIGUOUS", fault));
    let token = of_query(name)?;
    // An API may take one by its usual name, whatever the realm calls it.
    if name != QUERY_TOKEN && of_query(QUERY_TOKEN)?.is_some() {
        return Err(Refusal::of_request(
            "ROUTE_TOKEN_IN_QUERY",
            "no token may come by this name in the query of this API",
        ));
    }
    match token {
        None => Ok(credentials),
        Some(token) if own.is_some() => Ok(Credentials { query_token: Secret(token.into()), ..credentials }),
        Some(_) if !credentials.token.0.is_empty() => {
            let message = "the request has a token in its header and one in its query, expected one of them";
            Err(Refusal::of_request("TOKEN_AMBIGUOUS", message))
        }
        Some(_) => Err(Refusal::of_request("ROUTE_TOKEN_IN_QUERY", "no token may come in the query of this API")),
    }
}
