//! What is here: the document at the root that clients of education APIs read first.

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::{Value as Json, json};

use super::{Shared, answer, problem::Problem};
use crate::app::credentials::Credentials;

/// `GET /`.
pub(super) async fn of_service(State(shared): State<Shared>) -> Response {
    // A token says itself which realm it belongs to.
    let tells = shared.app.realms().any(|realm| offers(&shared, realm.name.as_str()).0);
    answer::json(&document("", tells, offers(&shared, "").1))
}

/// `GET /{realm}`.
pub(super) async fn of_realm(State(shared): State<Shared>, Path(realm): Path<String>) -> Result<Response, Problem> {
    let (tells, issues) = offers(&shared, &realm);
    if !tells && !issues {
        return Err(Problem::no_such_path());
    }
    Ok(answer::json(&document(&format!("/{realm}"), tells, issues)))
}

/// Whether the realm tells about tokens, and whether it issues them.
fn offers(shared: &Shared, realm: &str) -> (bool, bool) {
    let tells = matches!(shared.app.info_realm(realm, &Credentials::default()), Ok(Some(_)));
    (tells, shared.app.issuing_realm(realm).is_ok())
}

/// Places are given from this host's root on: behind a proxy, nobody here knows what the host is called.
fn document(base: &str, tells: bool, issues: bool) -> Json {
    let places = [("oauth", issues, "token"), ("tokenInfo", tells, "token_info")].into_iter();
    let urls = places
        .filter(|(_, is_there, _)| *is_there)
        .map(|(name, _, last)| (name.to_owned(), Json::from(format!("{base}/oauth/{last}"))));
    json!({
        "applicationName": "hallpass",
        "version": env!("CARGO_PKG_VERSION"),
        "informationalVersion": env!("CARGO_PKG_VERSION"),
        "dataModels": [],
        "urls": urls.collect::<serde_json::Map<_, _>>(),
    })
}
