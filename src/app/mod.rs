//! Use cases and the ports they need.

pub mod ports;
pub mod token_cache;
