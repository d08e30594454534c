//! hallpass: an authorization service for education APIs.
//!
//! The floors of the house, from the pure one up; ARCHITECTURE.md has the map.

pub mod domain;

pub mod app;

pub mod provider;
pub mod storage;
pub mod transport;

pub mod proto;

pub mod config;
pub mod server;
pub mod telemetry;

pub mod cli;
