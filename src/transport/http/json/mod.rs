//! The API as JSON: `POST /v1/{Rpc}` for every call of `hallpass.v1`, and its description at `GET /openapi.json`.
//!
//! There is no code for a single call: what the messages look like is read from their descriptors, and the services that
//! answer are those of the gRPC listener, called within the process.

mod call;
mod frames;
mod message;
mod openapi;
mod value;

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use axum::{
    Router,
    body::Body,
    http::Uri,
    middleware,
    routing::{any, get},
};
use prost_reflect::{DescriptorPool, MethodDescriptor};
use tonic::service::Routes;

pub use self::openapi::document;
use super::{Limits, answer, problem::Problem, with_request_id};
use crate::proto::FILE_DESCRIPTOR_SET;

/// The beginning of every call's path; its name follows.
pub const PREFIX: &str = "/v1/";

/// The descriptors of `hallpass.v1`. Were they broken, nothing would be found in them; a test holds that they are not.
static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

/// The description, as text.
static DOCUMENT: LazyLock<String> = LazyLock::new(|| document().to_string());

/// What answers the calls.
#[derive(Clone, Debug)]
struct Api {
    services: Routes,
    methods: Arc<BTreeMap<String, Method>>,
    limits: Limits,
}

/// A call that there is.
#[derive(Debug)]
struct Method {
    descriptor: MethodDescriptor,
    /// Its path on the gRPC listener.
    path: Uri,
}

/// The routes, to stand beside the others of the listener. `services` are all that the gRPC listener has.
pub fn routes(services: Routes, limits: Limits) -> Router {
    let limits = Limits { body_bytes_max: limits.question_bytes_max, ..limits };
    let api = Api { services, methods: Arc::new(methods()), limits };
    Router::new()
        .route("/v1/{rpc}", any(call::answer))
        .route("/openapi.json", get(description).fallback(async || Problem::method_not_allowed("GET, HEAD")))
        .layer(middleware::from_fn(with_request_id))
        .with_state(api)
}

/// The path is one of a call.
pub(super) fn is_at(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The calls by name; `buf lint` holds that no two services have calls of one name.
fn methods() -> BTreeMap<String, Method> {
    let methods = POOL.services().flat_map(|service| service.methods().collect::<Vec<_>>());
    let named = methods.filter_map(|descriptor| {
        let path = format!("/{}/{}", descriptor.parent_service().full_name(), descriptor.name());
        Some((descriptor.name().to_owned(), Method { path: path.parse().ok()?, descriptor }))
    });
    named.collect()
}

async fn description() -> axum::response::Response {
    answer::with_body(Body::from(DOCUMENT.as_str()))
}

#[cfg(test)]
mod tests {
    use prost_reflect::Kind;

    use super::*;

    #[test]
    fn every_call_of_every_service_is_found_by_its_name() {
        let calls = POOL.services().map(|service| service.methods().len()).sum::<usize>();
        assert!(POOL.services().len() >= 7 && calls >= 30, "{calls}");
        assert_eq!(methods().len(), calls);
        assert_eq!(methods()["Authorize"].path.path(), "/hallpass.v1.AuthorizationService/Authorize");
    }

    #[test]
    fn our_messages_have_nothing_that_json_cannot_say_exactly() {
        let ours = POOL.all_messages().filter(|message| message.package_name() == "hallpass.v1");
        for message in ours {
            if message.is_map_entry() {
                assert_eq!(message.map_entry_key_field().kind(), Kind::String, "{}", message.full_name());
            }
            for field in message.fields() {
                assert!(!matches!(field.kind(), Kind::Double | Kind::Float), "{}", field.full_name());
            }
        }
    }
}
