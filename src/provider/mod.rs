//! What comes from outside: policy files, keys, the clock.

pub mod clock;
pub mod jwks;
mod key_fetch;
pub mod realm_files;
pub mod signer;
