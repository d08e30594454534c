//! Who is at the other end of a connection: an address, and the certificate that a client showed for its key.

use std::{net::SocketAddr, sync::Arc};

use sha2::{Digest as _, Sha256};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    prelude::{FromDer as _, X509Error},
};

use super::subject;
use crate::app::caller::PeerCertificate;

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where it comes from.
    pub address: SocketAddr,
    /// What it showed in the handshake; `None` without TLS, and for clients that showed none.
    pub certificate: Option<Arc<PeerCertificate>>,
}

impl Peer {
    /// It is this machine.
    pub fn is_local(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

/// What counts of a certificate, in DER, that the handshake has verified; `None` for one that cannot be read to its end: then
/// nothing of it counts. Verifies nothing itself.
pub fn certificate(der: &[u8]) -> Option<PeerCertificate> {
    let (rest, certificate) = X509Certificate::from_der(der).ok()?;
    if !rest.is_empty() {
        return None;
    }
    Some(PeerCertificate {
        spiffe: spiffe_id(&certificate).ok()?,
        subject: subject::text(certificate.subject()).into(),
        not_after_seconds: certificate.validity().not_after.timestamp(),
        sha256: Sha256::digest(der).into(),
    })
}

/// The SPIFFE id: the only URI among the names (SPIFFE X.509-SVID section 2). A certificate with several names nobody.
fn spiffe_id(certificate: &X509Certificate<'_>) -> Result<Option<Arc<str>>, X509Error> {
    let Some(names) = certificate.subject_alternative_name()? else { return Ok(None) };
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let only = uris.next().filter(|_| uris.next().is_none());
    Ok(only.filter(|uri| uri.starts_with("spiffe://")).map(Arc::from))
}
