//! hallpass: an authorization service for education APIs.
//!
//! The floors, from the ground up. `tests/it/architecture.rs` keeps them, ARCHITECTURE.md explains them.

pub mod domain;

pub mod app;

pub mod provider;
pub mod storage;
pub mod transport;

pub mod proto;

pub mod cli;
pub mod config;
pub mod metrics;
pub mod server;
pub mod telemetry;
