//! What came of handshakes, counted by why they failed.

use std::{
    io,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use rustls::CertificateError;

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The client does not speak TLS.
    NotTls,
    /// The client and the service have no version, suite or protocol in common.
    NothingInCommon,
    /// The client shows no certificate, and must.
    NoCertificate,
    /// Nobody known vouches for the client's certificate.
    UnknownAuthority,
    /// The client's certificate is past its time.
    Expired,
    /// The client's certificate is not good yet.
    NotYetValid,
    /// The client's certificate was taken back by its authority.
    Revoked,
    /// Whether the client's certificate was taken back cannot be known: there is no list of its authority, or one that is
    /// past its time or was not signed by it.
    RevocationUnknown,
    /// The client's certificate is wrong in another way.
    BadCertificate,
    /// The client refuses the service.
    RefusedByClient,
    /// It took too long.
    TooSlow,
    /// It made room for newer ones.
    Crowded,
    /// The connection broke.
    Broken,
    /// Anything else.
    Other,
}

impl Failure {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::NotTls,
        Self::NothingInCommon,
        Self::NoCertificate,
        Self::UnknownAuthority,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::RevocationUnknown,
        Self::BadCertificate,
        Self::RefusedByClient,
        Self::TooSlow,
        Self::Crowded,
        Self::Broken,
        Self::Other,
    ];

    /// Its name among the metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotTls => "not_tls",
            Self::NothingInCommon => "nothing_in_common",
            Self::NoCertificate => "no_certificate",
            Self::UnknownAuthority => "unknown_authority",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::RevocationUnknown => "revocation_unknown",
            Self::BadCertificate => "bad_certificate",
            Self::RefusedByClient => "refused_by_client",
            Self::TooSlow => "too_slow",
            Self::Crowded => "crowded",
            Self::Broken => "broken",
            Self::Other => "other",
        }
    }

    pub(super) fn of(error: &io::Error) -> Self {
        let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) else {
            return Self::Broken;
        };
        match error {
            rustls::Error::InvalidMessage(_) => Self::NotTls,
            rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => Self::NothingInCommon,
            rustls::Error::NoCertificatesPresented => Self::NoCertificate,
            rustls::Error::InvalidCertificate(fault) => Self::of_certificate(fault),
            rustls::Error::InvalidCertRevocationList(_) => Self::RevocationUnknown,
            rustls::Error::AlertReceived(_) => Self::RefusedByClient,
            _ => Self::Other,
        }
    }

    fn of_certificate(fault: &CertificateError) -> Self {
        match fault {
            CertificateError::UnknownIssuer => Self::UnknownAuthority,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. } => Self::RevocationUnknown,
            _ => Self::BadCertificate,
        }
    }
}

/// What came of handshakes since the start.
#[derive(Debug, Default)]
pub struct Handshakes {
    done: AtomicU64,
    failed: [AtomicU64; Failure::ALL.len()],
}

impl Handshakes {
    /// How many ended well.
    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Relaxed)
    }

    /// How many failed, by why.
    pub fn failed(&self) -> impl Iterator<Item = (Failure, u64)> {
        Failure::ALL.into_iter().zip(&self.failed).map(|(failure, count)| (failure, count.load(Ordering::Relaxed)))
    }

    pub(super) fn note_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn note(&self, failure: Failure, address: SocketAddr) {
        let count = Failure::ALL.into_iter().zip(&self.failed).find(|(known, _)| *known == failure);
        if let Some((_, count)) = count {
            count.fetch_add(1, Ordering::Relaxed);
        }
        // Of what the client showed nothing is written down.
        tracing::debug!(%address, why = failure.as_str(), "a handshake failed");
    }
}
