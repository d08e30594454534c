//! What comes from outside: policy files, claim sets, keys, the clock.

mod addresses;
pub mod bundle;
pub mod claims_metadata;
pub mod clock;
mod discovery;
pub mod introspection;
pub mod jwks;
mod key_fetch;
pub(crate) mod outbound;
pub mod priority;
pub mod realm_files;
pub mod signer;
pub mod solver;
pub mod witness;
