//! How the service is doing, for monitors: `/livez`, `/readyz` and `/metrics`.

use std::sync::Arc;

use axum::{
    Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
    routing::get,
};
use serde_json::json;

use super::{answer, metrics, problem::Problem};
use crate::{
    app::{
        App,
        error::{Error, Kind},
        readiness::Unready,
    },
    transport::layer::caller::is_for_this_machine,
};

/// The paths that take no place among the requests that are worked on.
pub(super) const PATHS: [&str; 3] = ["/livez", "/readyz", "/metrics"];

const ALLOWED: &str = "GET, HEAD";

/// The routes of a listener that has nothing else, for who is on the same machine.
pub fn ops_routes(app: Arc<App>) -> Router {
    probes(Arc::clone(&app))
        .route("/metrics", get(metrics::for_anybody).fallback(not_allowed).with_state(app))
        .layer(middleware::from_fn(for_this_machine))
        .fallback(async || Problem::no_such_path())
}

/// `/livez` and `/readyz`, which tell nothing that has to be kept from anybody.
pub(super) fn probes(app: Arc<App>) -> Router {
    Router::new()
        .route("/livez", get(alive).fallback(not_allowed))
        .route("/readyz", get(ready).fallback(not_allowed))
        .with_state(app)
}

/// Refuses what a page in a browser or a proxy brought here.
async fn for_this_machine(request: Request, next: Next) -> Response {
    if is_for_this_machine(request.headers()) {
        return next.run(request).await;
    }
    let message = "the request is for another host than this machine, or a proxy brought it";
    Problem::of(&Error::new(Kind::PermissionDenied, "CALLER_NOT_LOCAL", message)).into_response()
}

async fn not_allowed(_: Method) -> Problem {
    Problem::method_not_allowed(ALLOWED)
}

/// `GET /livez`: 200 as long as anything is answered at all.
async fn alive() -> Response {
    answer::json(&json!({ "status": "alive" }))
}

/// `GET /readyz`: 200 while the service can be asked, else 503; with the codes of all that is not as it should be, also of
/// what is not in the way.
async fn ready(State(app): State<Arc<App>>) -> Response {
    let unready = app.unready();
    let is_ready = !unready.iter().any(|unready| unready.is_in_the_way());
    let reasons: Vec<_> = unready.into_iter().map(Unready::code).collect();
    let status = if is_ready { "serving" } else { "not_serving" };
    let mut response = answer::json(&json!({ "status": status, "reasons": reasons }));
    if !is_ready {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    response.into_response()
}
