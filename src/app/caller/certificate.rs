//! The certificate that a caller showed for its key, as far as it counts.

use std::{fmt, sync::Arc};

/// A certificate that a known authority vouches for, and whose key the other end of the connection holds.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its SPIFFE id; `None` where it has none, or several names of that kind.
    pub spiffe: Option<Arc<str>>,
    /// Its subject as text (RFC 4514).
    pub subject: Arc<str>,
    /// Until when it is good, in seconds since the epoch.
    pub not_after_seconds: i64,
    /// The SHA-256 of the whole.
    pub sha256: [u8; 32],
}

/// Shows the digest alone: names in certificates may be those of people.
impl fmt::Debug for PeerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerCertificate(")?;
        self.sha256.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}
