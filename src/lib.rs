//! hallpass: an authorization service for education APIs.

pub mod domain;

pub mod app;

pub mod transport;

pub mod storage;

pub mod provider;

pub mod proto;
