//! AuthZEN 1.0 (`OpenID` AuthZEN Authorization API): the HTTPS binding of its endpoints, for realms with `[authzen]`.
//!
//! Every request goes the same way: who calls and whether it may; the body ([`read`]); the words of the interface turned
//! into those of the realm ([`question`]); a use case of [`App`](crate::app::App); the answer ([`answer`]). What fails is
//! said in one sentence of plain text (section 10.1.1), and is never a decision.

mod answer;
mod evaluation;
mod evaluations;
mod metadata;
mod page;
mod question;
mod read;
mod search;

use std::{collections::BTreeSet, sync::Arc};

use axum::{
    Router,
    extract::{Path, Request, State},
    http::{HeaderMap, Method, request::Parts},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};

use self::page::PageKey;
use super::{REQUEST_ID, Shared, printable, problem::Problem};
use crate::{
    app::{
        App,
        authorize::AuthorizeRequest,
        caller::{Presented, Right},
        explain::{Explain, ExplainLevel},
        realm_state::LoadedRealm,
    },
    domain::{adapter::Adapter, realm_file::AuthzenSettings},
    transport::layer::caller,
};

/// The header that asks for reasons.
const EXPLAIN: &str = "x-hallpass-explain";
/// The member of the context with a token of the subject.
const ACCESS_TOKEN: &str = "access_token";

/// What all endpoints share.
#[derive(Debug)]
pub(super) struct Site {
    /// Where the service is found from outside, without a slash at the end.
    public_url: Arc<str>,
    key: PageKey,
}

impl Site {
    /// A service that is found at this place.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub(super) fn new(public_url: &str) -> Result<Self, getrandom::Error> {
        Ok(Self { public_url: public_url.trim_end_matches('/').into(), key: PageKey::random()? })
    }
}

/// What can be asked (AuthZEN 1.0 sections 6, 7 and 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Endpoint {
    Evaluation,
    Evaluations,
    SearchSubject,
    SearchResource,
    SearchAction,
}

impl Endpoint {
    const ALL: [Self; 5] =
        [Self::Evaluation, Self::Evaluations, Self::SearchSubject, Self::SearchResource, Self::SearchAction];

    /// The path behind the base.
    fn path(self) -> &'static str {
        match self {
            Self::Evaluation => "/access/v1/evaluation",
            Self::Evaluations => "/access/v1/evaluations",
            Self::SearchSubject => "/access/v1/search/subject",
            Self::SearchResource => "/access/v1/search/resource",
            Self::SearchAction => "/access/v1/search/action",
        }
    }

    /// Its parameter of the metadata.
    fn parameter(self) -> &'static str {
        match self {
            Self::Evaluation => "access_evaluation_endpoint",
            Self::Evaluations => "access_evaluations_endpoint",
            Self::SearchSubject => "search_subject_endpoint",
            Self::SearchResource => "search_resource_endpoint",
            Self::SearchAction => "search_action_endpoint",
        }
    }

    fn right(self) -> Right {
        match self {
            Self::Evaluation => Right::Authorize,
            Self::Evaluations => Right::BatchAuthorize,
            Self::SearchSubject => Right::SearchSubjects,
            Self::SearchResource => Right::SearchResources,
            Self::SearchAction => Right::SearchActions,
        }
    }
}

/// The routes of all endpoints, with a realm in the path and without.
pub(super) fn routes(public_url: &str) -> Router<Shared> {
    // Clients look for the metadata of `https://host/path/realm` behind the well-known place's path and then its own
    // (AuthZEN 1.0 section 9), here and where a proxy has taken the own path away.
    let mut routes = Router::new();
    for own in BTreeSet::from(["", path_of(public_url)]) {
        let place = format!("/.well-known/authzen-configuration{own}");
        routes = routes
            .route(&place, only(get(metadata::nameless), "GET, HEAD"))
            .route(&format!("{place}/{{realm}}"), only(get(metadata::named), "GET, HEAD"));
    }
    for endpoint in Endpoint::ALL {
        let nameless = async move |State(shared): State<Shared>, request: Request| {
            respond(answered(&shared, None, endpoint, request).await)
        };
        let named = async move |State(shared): State<Shared>, Path(realm): Path<String>, request: Request| {
            respond(answered(&shared, Some(&realm), endpoint, request).await)
        };
        routes = routes
            .route(endpoint.path(), only(post(nameless), "POST"))
            .route(&format!("/{{realm}}{}", endpoint.path()), only(post(named), "POST"));
    }
    routes
}

/// The path of a URL, empty for none, without a slash at its end.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').and_then(|start| rest.get(start..));
    path.unwrap_or_default().trim_end_matches('/')
}

/// The path is one of this interface, with a realm before it or without, whether there is something at it or not.
pub(super) fn is_at(path: &str) -> bool {
    const BASE: &str = "access/v1/";
    let path = path.strip_prefix('/').unwrap_or_default();
    path.starts_with(BASE) || path.split_once('/').is_some_and(|(_, behind_realm)| behind_realm.starts_with(BASE))
}

/// The path is that of a single question.
pub(super) fn is_question(path: &str) -> bool {
    path.strip_suffix(Endpoint::Evaluation.path()).is_some_and(|realm| realm.rfind('/').is_none_or(|slash| slash == 0))
}

/// Refuses all other methods, naming those that there are.
fn only(methods: MethodRouter<Shared>, allowed: &'static str) -> MethodRouter<Shared> {
    methods.fallback(async move |_: Method| Problem::method_not_allowed(allowed).into_text())
}

fn respond(answered: Result<Response, Problem>) -> Response {
    answered.unwrap_or_else(|problem| problem.into_text().into_response())
}

/// A call whose caller may make it.
#[derive(Debug)]
struct Call<'s> {
    app: &'s Arc<App>,
    site: &'s Site,
    endpoint: Endpoint,
    realm: Arc<str>,
    loaded: Arc<LoadedRealm>,
    presented: Presented,
    /// Who calls.
    asker: Arc<str>,
    request_id: Arc<str>,
    wants_reasons: bool,
}

impl Call<'_> {
    /// How the realm understands the interface.
    fn settings(&self) -> Result<&AuthzenSettings, Problem> {
        self.loaded.realm.file.authzen.as_ref().ok_or_else(Problem::no_such_path)
    }

    /// A question as use cases take it, but for who and what it is about.
    fn asked(&self, wants_reasons: bool) -> AuthorizeRequest {
        let level = if wants_reasons { ExplainLevel::Reasons } else { ExplainLevel::None };
        AuthorizeRequest {
            realm: Arc::clone(&self.realm),
            request_id: Arc::clone(&self.request_id),
            explain: Explain { level: Some(level) },
            presented: self.presented.clone(),
            adapter: Adapter::Authzen,
            ..AuthorizeRequest::default()
        }
    }
}

/// Looks at who calls, at the realm, and at the body, in this order; then answers.
async fn answered(
    shared: &Shared,
    realm: Option<&str>,
    endpoint: Endpoint,
    request: Request,
) -> Result<Response, Problem> {
    let (head, content) = request.into_parts();
    let call = call(shared, realm, endpoint, &head).await?;
    let body = read::object(&head.headers, content, &shared.limits).await?;
    match endpoint {
        Endpoint::Evaluation => evaluation::answer(&call, &body).await,
        Endpoint::Evaluations => evaluations::answer(&call, &body).await,
        Endpoint::SearchSubject => search::subjects(&call, &body).await,
        Endpoint::SearchResource => search::resources(&call, &body).await,
        Endpoint::SearchAction => search::actions(&call, &body).await,
    }
}

async fn call<'s>(
    shared: &'s Shared,
    realm: Option<&str>,
    endpoint: Endpoint,
    head: &Parts,
) -> Result<Call<'s>, Problem> {
    let presented = caller::presented(&head.headers, &head.extensions);
    let request_id: Arc<str> = head.headers.get(REQUEST_ID).and_then(printable).unwrap_or_default().into();
    let found = loaded(&shared.app, realm);
    // Who may not ask does not learn which realms there are.
    let name = found.as_ref().map_or(realm.unwrap_or_default(), |(name, _)| name);
    let asker = shared.app.may_ask(&presented, name, endpoint.right(), &request_id).await;
    let asker = asker.map_err(|error| Problem::of(&error))?;
    let (realm, loaded) = found.ok_or_else(Problem::no_such_path)?;
    let wants_reasons = wants_reasons(&head.headers);
    let (app, site) = (&shared.app, &*shared.authzen);
    Ok(Call { app, site, endpoint, realm, loaded, presented, asker, request_id, wants_reasons })
}

fn wants_reasons(headers: &HeaderMap) -> bool {
    headers.get(EXPLAIN).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"reasons"))
}

/// The realm of this name, or the only one, if it takes such questions.
fn loaded(app: &App, name: Option<&str>) -> Option<(Arc<str>, Arc<LoadedRealm>)> {
    let taking = app.realms().filter_map(|state| {
        let loaded = state.policies();
        loaded.realm.file.authzen.is_some().then(|| (Arc::from(state.name.as_str()), loaded))
    });
    let mut named = taking.filter(|(known, _): &(Arc<str>, _)| name.is_none_or(|name| **known == *name));
    named.next().filter(|_| named.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_the_interface_are_known_with_a_realm_and_without() {
        for (path, is_ours, is_one_question) in [
            ("/access/v1/evaluation", true, true),
            ("/edfi/access/v1/evaluation", true, true),
            ("/access/v1/evaluations", true, false),
            ("/edfi/access/v1/search/subject", true, false),
            ("/edfi/access/v1/nothing", true, false),
            ("/edfi/access/v2/evaluation", false, false),
            ("/x/edfi/access/v1/evaluation", false, false),
            ("/access/v1", false, false),
            ("/v1/Authorize", false, false),
            ("/oauth/token", false, false),
            ("/", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_at(path), is_question(path)), (is_ours, is_one_question), "{path}");
        }
        for endpoint in Endpoint::ALL {
            assert!(is_at(endpoint.path()) && is_at(&format!("/edfi{}", endpoint.path())));
        }
    }
}
