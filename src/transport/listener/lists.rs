//! Lists of clients' certificates that their authorities have taken back (CRLs, RFC 5280 section 5).

use std::{collections::BTreeSet, fmt, path::Path};

use rustls::pki_types::{CertificateRevocationListDer, pem::PemObject as _};
use x509_parser::{oid_registry::OID_X509_EXT_ISSUER_DISTRIBUTION_POINT, prelude::FromDer as _, revocation_list};

use super::{subject, tls::TlsFault};

/// A list of revoked certificates, as an authority has signed it. Its signature is looked at when it is needed, because the
/// authority may be one that clients bring along.
#[derive(Clone, PartialEq, Eq)]
pub struct RevocationList {
    /// The name of its authority, in DER.
    pub authority: Vec<u8>,
    /// The same as text (RFC 4514).
    pub authority_text: String,
    /// Since when it counts, in seconds since the epoch.
    pub from_seconds: i64,
    /// Until when it counts, in seconds since the epoch. From then on it lets nobody in.
    pub until_seconds: i64,
    pub(super) der: CertificateRevocationListDer<'static>,
}

/// Shows whose it is, and not who is on it.
impl fmt::Debug for RevocationList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RevocationList").field("authority", &self.authority_text).finish_non_exhaustive()
    }
}

impl RevocationList {
    /// Reads the lists of a file in PEM, one at least.
    ///
    /// # Errors
    /// A file without lists, a list that cannot be read or does not say until when it counts, and two lists of one authority
    /// about the same certificates, of which only one would count.
    pub fn read_all(path: &Path, content: &[u8]) -> Result<Vec<Self>, TlsFault> {
        let fault = |what: &str| TlsFault { key: "client_crl", message: format!("`{}` holds {what}", path.display()) };
        let found: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(content).collect();
        let found = found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
            fault("no list of revoked certificates that can be read, expected PEM with `-----BEGIN X509 CRL-----`")
        })?;
        let (mut lists, mut seen) = (Vec::with_capacity(found.len()), BTreeSet::new());
        for der in found {
            let (list, scope) = read(der).map_err(fault)?;
            if !seen.insert((list.authority.clone(), scope)) {
                let whose = &list.authority_text;
                let what = format!("two lists of `{whose}`, of which only one would count; expected the newest alone");
                return Err(fault(&what));
            }
            lists.push(list);
        }
        Ok(lists)
    }
}

/// The list, and which of its authority's certificates it is about, where it says so (RFC 5280 section 5.2.5).
fn read(der: CertificateRevocationListDer<'static>) -> Result<(RevocationList, Option<Vec<u8>>), &'static str> {
    let (authority, authority_text, from_seconds, until_seconds, scope) = {
        let (rest, list) = revocation_list::CertificateRevocationList::from_der(&der)
            .map_err(|_| "a list of revoked certificates that cannot be read")?;
        if !rest.is_empty() {
            return Err("a list of revoked certificates with something behind it");
        }
        let until =
            list.next_update().ok_or("a list of revoked certificates that does not say until when it counts")?;
        let scope = list.tbs_cert_list.find_extension(&OID_X509_EXT_ISSUER_DISTRIBUTION_POINT);
        let scope = scope.map(|extension| extension.value.to_vec());
        let issuer = list.issuer();
        (issuer.as_raw().to_vec(), subject::text(issuer), list.last_update().timestamp(), until.timestamp(), scope)
    };
    Ok((RevocationList { authority, authority_text, from_seconds, until_seconds, der }, scope))
}
