//! Whether the certificate behind an open connection still counts: it is looked up again when there are new lists of those that
//! were taken back.

use std::{net::SocketAddr, sync::Arc};

use rustls::pki_types::CertificateDer;

use super::certificates::Certificates;

/// The lists in which the certificate of a connection was looked up last.
#[derive(Debug)]
pub(super) struct Standing {
    certificates: Arc<Certificates>,
    /// How often files had been taken then.
    taken: u64,
    address: SocketAddr,
}

impl Standing {
    /// Of a connection from there that begins now, with files that were taken so often at least.
    pub(super) fn new(certificates: Arc<Certificates>, taken: u64, address: SocketAddr) -> Self {
        Self { certificates, taken, address }
    }

    /// The certificate at the beginning of this chain, or one of those that vouch for it, was taken back, as far as the newest
    /// lists tell. One whose authority has gone or has no list that counts was not: its connection may go on to its end.
    pub(super) fn is_lost(&mut self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        let taken = self.certificates.taken();
        if taken == self.taken {
            return false;
        }
        if chain.is_some_and(|chain| self.certificates.is_taken_back(chain)) {
            tracing::info!(address = %self.address, "a connection ends: its client's certificate was taken back");
            return true;
        }
        self.taken = taken;
        false
    }
}
