//! Integration tests, in one binary: every further one would cost seconds of linking at each change.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    reason = "tests fail by panicking, and may say what they skip"
)]

mod applications;
mod architecture;
mod audit_page;
mod authzen;
mod bad_input;
mod callers;
mod deadlines;
mod decide;
mod docs;
mod edge_canaries;
mod envoy;
mod exports;
mod faults;
mod fuzz;
mod grandbend;
mod grants;
mod health;
mod introspection;
mod issuer_server;
mod json;
mod kill;
mod log_status;
mod manual;
mod matrix;
mod metrics;
mod mistakes;
mod oauth_token;
mod openapi;
mod overload;
mod packaging;
mod pages;
mod panics;
mod policy_tests;
mod privacy_canaries;
mod prove;
mod realms_page;
mod relationships;
mod reload;
mod replay;
mod request_canaries;
mod revocations;
mod rotation;
mod search;
mod sem_privacy;
mod signatures;
mod support;
mod token_cache;
mod token_canaries;
mod token_info;
mod token_safety;
mod tokens;
mod traces;
