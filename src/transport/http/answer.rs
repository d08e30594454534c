//! Answers: JSON that nobody may keep.

use axum::{
    body::Body,
    http::{
        HeaderValue,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::Response,
};
use serde_json::Value as Json;

/// A short answer.
pub(super) fn json(value: &Json) -> Response {
    with_body(Body::from(value.to_string()))
}

/// A short answer that holds a secret (RFC 6749 section 5.1).
pub(super) fn secret(value: &Json) -> Response {
    let mut response = json(value);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer whose body is JSON.
pub(super) fn with_body(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}
