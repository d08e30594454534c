//! An issuer's keys by key id.

/// An issuer's keys.
#[derive(Debug, Clone, Default)]
pub struct KeySet {}
