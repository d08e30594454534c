//! HTTP: tokens for clients, and what they ask about them.
//!
//! Every request goes the same way: a handler reads it, a use case of [`App`] answers it, the handler writes the answer.
//! A failure becomes a [`problem`] (RFC 9457), and a status is chosen there and nowhere else.

mod answer;
mod authzen;
mod body;
mod credentials;
mod discovery;
pub mod json;
mod listener;
mod metrics;
mod oauth_token;
mod ops;
pub(in crate::transport) mod problem;
mod token_info;

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::{HeaderName, HeaderValue, Method},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::{MethodRouter, get, post},
};
use tokio::sync::Semaphore;

use self::problem::Problem;
pub use self::{listener::serve, ops::ops_routes};
use crate::{
    app::App,
    transport::layer::{
        admission::{Door, Entry, TurnedAway},
        deadline::{self, Ceiling},
    },
};

/// The limits of the listener. Nothing here is for a deployment to set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The longest body that is read, in bytes.
    pub body_bytes_max: usize,
    /// The longest body with questions, in bytes.
    pub question_bytes_max: usize,
    /// The longest request line with all headers, in bytes; more than the longest token.
    pub header_bytes_max: usize,
    /// The most headers.
    pub headers_max: usize,
    /// How long a client may take for its headers, and idle between requests.
    pub headers_within: Duration,
    /// How long a client may take for its body.
    pub body_within: Duration,
    /// The most connections at once; further ones wait to be accepted.
    pub connections_max: usize,
    /// The longest life of a connection.
    pub connection_within: Duration,
    /// How long a request that is under way then may still take.
    pub end_within: Duration,
    /// How many answers about tokens may be under way at once; they can be long.
    pub answers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes_max: 64 * 1024,
            question_bytes_max: 1024 * 1024,
            header_bytes_max: 32 * 1024,
            headers_max: 64,
            headers_within: Duration::from_secs(10),
            body_within: Duration::from_secs(10),
            connections_max: 256,
            connection_within: Duration::from_secs(300),
            end_within: Duration::from_secs(60),
            answers_max: 16,
        }
    }
}

/// What all handlers share.
#[derive(Clone, Debug)]
struct Shared {
    app: Arc<App>,
    limits: Limits,
    answers: Arc<Semaphore>,
    authzen: Arc<authzen::Site>,
}

/// All routes of the HTTP listener, which is found from outside at `public_url`.
///
/// # Errors
/// The system has no random bytes for the key of page tokens.
pub fn routes(app: Arc<App>, limits: Limits, public_url: &str) -> Result<Router, getrandom::Error> {
    let authzen = Arc::new(authzen::Site::new(public_url)?);
    let shared =
        Shared { app: Arc::clone(&app), limits, answers: Arc::new(Semaphore::new(limits.answers_max)), authzen };
    let routes = Router::new()
        .route("/", only(get(discovery::of_service), "GET, HEAD"))
        .route("/metrics", only(get(metrics::of_service), "GET, HEAD"))
        .route("/{realm}", only(get(discovery::of_realm), "GET, HEAD"))
        .route("/oauth/token", only(post(oauth_token::nameless), "POST"))
        .route("/{realm}/oauth/token", only(post(oauth_token::named), "POST"))
        .route("/oauth/token_info", only(post(token_info::nameless), "POST"))
        .route("/{realm}/oauth/token_info", only(post(token_info::named), "POST"))
        .merge(authzen::routes(public_url))
        .fallback(nothing_there)
        .layer(middleware::from_fn(with_request_id))
        .with_state(shared)
        .merge(ops::probes(app));
    Ok(routes)
}

/// The way in for HTTP.
pub fn door(body_bytes_max: usize) -> Door<Body, Body> {
    Door {
        listener: "http",
        entry: |path| if ops::PATHS.contains(&path) { Entry::Free } else { Entry::Whole },
        ceiling,
        // Only the API as JSON lets its callers say so.
        deadline_in: |request| {
            let is_json = json::is_at(request.uri().path());
            is_json.then(|| deadline::given(request.headers())).flatten()
        },
        message_bytes_max: body_bytes_max,
        body: Body::from,
        refuse,
    }
}

fn ceiling(path: &str) -> Ceiling {
    match path {
        _ if authzen::is_question(path) || path == "/v1/Authorize" => Ceiling::Check,
        "/v1/BatchAuthorize" | "/v1/GetTokenInfo" => Ceiling::Batch,
        _ if json::is_at(path) => Ceiling::Own,
        _ => Ceiling::Batch,
    }
}

/// Who is turned away hears so in the words of the interface that it asked by.
fn refuse(turned_away: &TurnedAway) -> Response {
    let (path, problem) = (turned_away.path(), Problem::of_shed(turned_away.why));
    let mut problem = if authzen::is_at(path) {
        problem.into_text()
    } else if json::is_at(path) {
        problem.with_code()
    } else {
        problem
    };
    problem.name_request(turned_away.request_id.as_ref().and_then(printable));
    problem.into_response()
}

/// There is nothing at this path; in the words of the interface that has it.
async fn nothing_there(request: Request) -> Problem {
    let problem = Problem::no_such_path();
    if authzen::is_at(request.uri().path()) { problem.into_text() } else { problem }
}

/// Refuses all other methods, naming those that there are.
fn only(methods: MethodRouter<Shared>, allowed: &'static str) -> MethodRouter<Shared> {
    methods.fallback(async move |_: Method| Problem::method_not_allowed(allowed))
}

/// The header that carries the caller's own id of a request, there and back.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// An id of a request that can be logged and kept: short and printable.
fn printable(id: &HeaderValue) -> Option<&str> {
    let is_printable = id.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte));
    ((1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && is_printable).then(|| id.to_str().ok()).flatten()
}

/// Sends the caller's id of the request back as it came, and names it in a problem if it is printable and short.
async fn with_request_id(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).cloned();
    let mut response = next.run(request).await;
    if let Some(mut problem) = response.extensions_mut().remove::<Problem>() {
        problem.name_request(id.as_ref().and_then(printable));
        problem.log();
        response = problem.into_response();
    }
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}
