//! The readers of foreign bytes, as fuzzers and tests enter them: any bytes at all, and nothing but an answer may come of them.
//!
//! Each entry holds what must be so whatever the bytes are; what it asserts and what panics are findings.

mod bodies;
mod headers;
mod log;
mod questions;
mod realm;
mod routes;
mod tokens;
mod world;

/// Takes bytes in.
pub(crate) type Entry = fn(&[u8]);

/// Every entry, by the name of its fuzz target and of its folder in `fuzz/corpus`.
pub(crate) const ENTRIES: [(&str, Entry); 16] = [
    ("token", token),
    ("key_set", key_set),
    ("realm_files", realm_files),
    ("bundle", bundle),
    ("records", records),
    ("record_codec", record_codec),
    ("segment_reader", segment_reader),
    ("proto_conversion", proto_conversion),
    ("json_message", json_message),
    ("authzen_body", authzen_body),
    ("route_path", route_path),
    ("openapi", openapi),
    ("envoy_check", envoy_check),
    ("traceparent", traceparent),
    ("certificate", certificate),
    ("peer_certificate", peer_certificate),
];

pub(crate) use bodies::{ENDPOINTS, authzen_body, json_message};
pub(crate) use headers::{certificate, peer_certificate, traceparent};
pub(crate) use log::{record_codec, segment_reader};
pub(crate) use questions::proto_conversion;
pub(crate) use realm::{bundle, files, realm_files, records};
pub(crate) use routes::{envoy_check, openapi, route_path};
pub(crate) use tokens::{key_set, token};
