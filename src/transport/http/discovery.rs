//! What is here: the document at the root that clients of education APIs read first.

use axum::{
    extract::{Path, State},
    response::Response,
};
use serde_json::{Value as Json, json};

use super::{Shared, answer, problem::Problem};
use crate::app::{authorize::Secret, token_info::InfoRealm};

/// `GET /`.
pub(super) async fn of_service(State(shared): State<Shared>) -> Response {
    // Where there are several realms, which of them a token belongs to says the token.
    let has_realm = shared.app.realms().any(|realm| told(&shared, realm.name.as_str()).is_ok());
    answer::json(&document(has_realm.then_some("")))
}

/// `GET /{realm}`.
pub(super) async fn of_realm(State(shared): State<Shared>, Path(realm): Path<String>) -> Result<Response, Problem> {
    told(&shared, &realm)?;
    Ok(answer::json(&document(Some(&format!("/{realm}")))))
}

/// The realm, if it tells about tokens.
fn told(shared: &Shared, realm: &str) -> Result<Option<InfoRealm>, Problem> {
    shared.app.info_realm(realm, &Secret::default()).map_err(|error| Problem::of(&error))
}

/// Places are given from this host's root on: behind a proxy, nobody here knows what the host is called.
fn document(base: Option<&str>) -> Json {
    let urls = base.map_or_else(|| json!({}), |base| json!({ "tokenInfo": format!("{base}/oauth/token_info") }));
    json!({
        "applicationName": "hallpass",
        "version": env!("CARGO_PKG_VERSION"),
        "informationalVersion": env!("CARGO_PKG_VERSION"),
        "dataModels": [],
        "urls": urls,
    })
}
