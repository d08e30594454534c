//! What comes from outside: policy files, claim sets, keys, the clock.

pub mod claims_metadata;
pub mod clock;
pub mod jwks;
mod key_fetch;
pub mod realm_files;
pub mod signer;
