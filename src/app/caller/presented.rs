//! What a call brings to show who makes it.

use std::{fmt, sync::Arc};

use crate::domain::decision::Reason;

/// What a call brings to show who makes it. By default it brings nothing and comes from anywhere, which makes it nobody's.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Presented {
    /// The key, as it came; `None` where none came or more than one.
    pub key: Option<Arc<str>>,
    /// The call is known to come from this machine.
    pub is_local: bool,
    /// The verified certificate of its connection, if that has one.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// Whom a token of one of the deployment's own issuers names, if it brought one that is good, in place of a key.
    pub verified: Option<Arc<VerifiedCaller>>,
    /// Why such a token isn't good, or cannot be verified. Whoever brings one is nobody.
    pub refused: Option<Arc<Reason>>,
}

impl Presented {
    /// What a program shows that hallpass is a library of: that it is this very process. Not for calls that come from
    /// elsewhere: whoever hands these on says what they brought, and whether they come from this machine.
    pub fn embedded() -> Self {
        Self { is_local: true, ..Self::default() }
    }
}

/// Shows what there is, and nothing of what it says.
impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, is_local, certificate, verified, refused } = self;
        let (has_certificate, is_verified) = (certificate.is_some(), verified.is_some());
        let mut out = f.debug_struct("Presented");
        out.field("has_key", &key.is_some()).field("is_local", is_local).field("has_certificate", &has_certificate);
        out.field("is_verified", &is_verified).field("is_refused", &refused.is_some()).finish()
    }
}

/// A certificate that a known authority vouches for, and whose key the other end of the connection holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PeerCertificate {
    /// Its SPIFFE id: the only URI among its subject alternative names, with the scheme `spiffe` (SPIFFE X.509-SVID
    /// section 2). `None` where it has none, or several URIs.
    pub spiffe: Option<Arc<str>>,
    /// Its subject, in the text form of RFC 4514; empty where it has none.
    pub subject: Arc<str>,
    /// Until when it is good, in seconds since the epoch.
    pub not_after_seconds: i64,
    /// SHA-256 of its DER.
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

/// Whom a good token of a caller names.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifiedCaller {
    /// Its issuer: the exact `iss`.
    pub issuer: Arc<str>,
    /// Its subject: the exact `sub`.
    pub subject: Arc<str>,
}

/// Shows the issuer; the subject may be a person.
impl fmt::Debug for VerifiedCaller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedCaller").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}
