//! `GET /.well-known/authzen-configuration`: where the endpoints are (AuthZEN 1.0 section 9).

use axum::{
    extract::{Path, State},
    http::{HeaderValue, header::CACHE_CONTROL},
    response::Response,
};
use serde_json::{Map, Value as Json};

use super::{Endpoint, loaded, respond};
use crate::transport::http::{Shared, answer::json, problem::Problem};

/// Of the only realm that takes such questions.
pub(super) async fn nameless(State(shared): State<Shared>) -> Response {
    respond(document(&shared, None))
}

/// Of a realm by name.
pub(super) async fn named(State(shared): State<Shared>, Path(realm): Path<String>) -> Response {
    respond(document(&shared, Some(&realm)))
}

fn document(shared: &Shared, realm: Option<&str>) -> Result<Response, Problem> {
    loaded(&shared.app, realm).ok_or_else(Problem::no_such_path)?;
    let base = &shared.authzen.public_url;
    let base = realm.map_or_else(|| base.to_string(), |realm| format!("{base}/{realm}"));
    let endpoints = Endpoint::ALL.map(|endpoint| (endpoint.parameter(), format!("{base}{}", endpoint.path())));
    let all = [("policy_decision_point", base)].into_iter().chain(endpoints);
    let members: Map<String, Json> = all.map(|(name, url)| (name.to_owned(), Json::from(url))).collect();
    let mut response = json(&Json::Object(members));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    Ok(response)
}
