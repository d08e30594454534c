//! The TLS of the listeners, made of the files that the deployment names: TLS 1.2 and 1.3, with the library's own choice of
//! suites.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{
    CertificateError, RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem, pem::PemObject as _},
    server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest as _, Sha256};
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _};

use super::lists::RevocationList;

/// A file of certificates or of a key that is longer than this, in bytes, is none.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// The files of the listeners' TLS, and how it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The service's certificate, in PEM, and those between it and its authority.
    pub certificate: PathBuf,
    /// The key of that certificate, in PEM: PKCS#8, SEC1 or PKCS#1.
    pub key: PathBuf,
    /// The certificates, in PEM, of the authorities that vouch for clients; `None` where no client shows a certificate.
    pub client_ca: Option<PathBuf>,
    /// Lists, in PEM, of clients' certificates that were taken back; `None` where nobody looks. With lists, a certificate of
    /// an authority without one is refused, as are all of an authority whose list is past its time: of these nobody knows
    /// whether they were taken back. The authorities between a client and `client_ca` need lists as well.
    pub client_crl: Option<PathBuf>,
    /// Whether clients show certificates. Without `client_ca`, they don't.
    pub client_certificates: ClientCertificates,
    /// How often the files are looked at; `None` for when the service is told to.
    pub watch: Option<Duration>,
}

/// Whether clients show certificates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked for one.
    Off,
    /// They are asked, and may have none.
    Asked,
    /// Who has none is not let in.
    Required,
}

/// What is spoken over a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// HTTP/2, as gRPC needs it.
    Http2,
    /// HTTP/1.1.
    Http1,
}

impl Protocol {
    /// Its name in a handshake (RFC 7301 section 6).
    fn name(self) -> &'static [u8] {
        match self {
            Self::Http2 => b"h2",
            Self::Http1 => b"http/1.1",
        }
    }
}

/// What is wrong with a file. Says nothing of what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFault {
    /// The key of `[tls]` that names the file.
    pub key: &'static str,
    /// What is wrong, and what was expected.
    pub message: String,
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`tls.{}`: {}", self.key, self.message)
    }
}

/// The bytes of all files, as they were at one moment.
pub(super) struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
    client_crl: Option<Vec<u8>>,
}

impl Files {
    /// Reads them.
    ///
    /// # Errors
    /// Each file that cannot be read.
    pub(super) fn read(options: &Options) -> Result<Self, Vec<TlsFault>> {
        let certificate = read_file("certificate", &options.certificate);
        let key = read_file("key", &options.key);
        let client_ca = options.client_ca.as_deref().map(|path| read_file("client_ca", path)).transpose();
        let client_crl = options.client_crl.as_deref().map(|path| read_file("client_crl", path)).transpose();
        match (certificate, key, client_ca, client_crl) {
            (Ok(certificate), Ok(key), Ok(client_ca), Ok(client_crl)) => {
                Ok(Self { certificate, key, client_ca, client_crl })
            }
            (certificate, key, client_ca, client_crl) => {
                let faults = [certificate.err(), key.err(), client_ca.err(), client_crl.err()];
                Err(faults.into_iter().flatten().collect())
            }
        }
    }

    /// SHA-256 of all of them, each with its length.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let Self { certificate, key, client_ca, client_crl } = self;
        for file in [Some(certificate), Some(key), client_ca.as_ref(), client_crl.as_ref()].into_iter().flatten() {
            digest.update(file.len().to_be_bytes());
            digest.update(file);
        }
        digest.finalize().into()
    }
}

fn read_file(key: &'static str, path: &Path) -> Result<Vec<u8>, TlsFault> {
    let too_long = || io::Error::new(io::ErrorKind::FileTooLarge, "it is longer than 4 MiB");
    let length = fs::metadata(path).map(|file| file.len());
    let read = length.and_then(|length| if length > FILE_BYTES_MAX { Err(too_long()) } else { fs::read(path) });
    read.map_err(|error| TlsFault { key, message: format!("`{}` cannot be read: {error}", path.display()) })
}

/// The TLS of all listeners, made of one set of files.
#[derive(Debug)]
pub(super) struct Material {
    http2: Arc<ServerConfig>,
    http1: Arc<ServerConfig>,
    /// Until when the service's certificate is good, in seconds since the epoch.
    pub(super) not_after_seconds: i64,
    clients: Option<Clients>,
}

impl Material {
    /// Makes it of these files.
    ///
    /// # Errors
    /// Every fault of every file: what is no certificate or no key, and a key of another certificate.
    pub(super) fn of(options: &Options, files: &Files) -> Result<Self, Vec<TlsFault>> {
        let chain = certificates("certificate", &options.certificate, &files.certificate);
        let key = key(&options.key, &files.key);
        let clients = clients(options, files);
        let (chain, key, clients) = match (chain, key, clients) {
            (Ok(chain), Ok(key), Ok(clients)) => (chain, key, clients),
            (chain, key, clients) => {
                return Err([chain.err(), key.err(), clients.err()].into_iter().flatten().collect());
            }
        };
        let not_after_seconds = not_after(options, &chain).map_err(|fault| vec![fault])?;
        let config = |protocol: Protocol| server_config(options, &chain, &key, clients.as_ref(), protocol);
        let (http2, http1) = (config(Protocol::Http2), config(Protocol::Http1));
        match (http2, http1) {
            (Ok(http2), Ok(http1)) => Ok(Self { http2, http1, not_after_seconds, clients }),
            (Err(fault), _) | (_, Err(fault)) => Err(vec![fault]),
        }
    }

    /// Until when all lists of revoked certificates count, in seconds since the epoch; `None` without lists.
    pub(super) fn lists_until_seconds(&self) -> Option<i64> {
        self.clients.as_ref()?.lists_until_seconds
    }

    /// The first of these certificates, or one of those that vouch for it, is on a list of those that were taken back.
    pub(super) fn is_taken_back(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> bool {
        let (Some(clients), Some((leaf, between))) = (&self.clients, chain.split_first()) else { return false };
        let verified = clients.verifier.verify_client_cert(leaf, between, now);
        matches!(verified, Err(rustls::Error::InvalidCertificate(CertificateError::Revoked)))
    }

    /// The TLS of a listener.
    pub(super) fn server_config(&self, protocol: Protocol) -> Arc<ServerConfig> {
        match protocol {
            Protocol::Http2 => Arc::clone(&self.http2),
            Protocol::Http1 => Arc::clone(&self.http1),
        }
    }
}

/// One or more certificates.
fn certificates(key: &'static str, path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(content).collect();
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        _ => {
            let message = format!(
                "`{}` holds no certificate that can be read, expected PEM with `-----BEGIN CERTIFICATE-----`",
                path.display()
            );
            Err(TlsFault { key, message })
        }
    }
}

fn key(path: &Path, content: &[u8]) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_slice(content).map_err(|error| {
        let what = match error {
            pem::Error::NoItemsFound => "holds no private key",
            _ => "holds no private key that can be read",
        };
        let message =
            format!("`{}` {what}, expected PEM with `-----BEGIN PRIVATE KEY-----`, without a password", path.display());
        TlsFault { key: "key", message }
    })
}

/// Who is let in by a certificate.
#[derive(Debug)]
struct Clients {
    verifier: Arc<dyn ClientCertVerifier>,
    /// Until when all lists of revoked certificates count; `None` without lists.
    lists_until_seconds: Option<i64>,
}

/// Who vouches for clients, and whom nobody vouches for any more; `None` where they are not asked.
fn clients(options: &Options, files: &Files) -> Result<Option<Clients>, TlsFault> {
    let (Some(path), Some(content)) = (&options.client_ca, &files.client_ca) else { return Ok(None) };
    if options.client_certificates == ClientCertificates::Off {
        return Ok(None);
    }
    let fault = |message: String| TlsFault { key: "client_ca", message };
    let mut roots = RootCertStore::empty();
    for certificate in certificates("client_ca", path, content)? {
        let unusable =
            |_| fault(format!("`{}` holds a certificate that cannot be one of an authority", path.display()));
        roots.add(certificate).map_err(unusable)?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::new(default_provider()));
    let builder = match options.client_certificates {
        ClientCertificates::Required => builder,
        ClientCertificates::Asked | ClientCertificates::Off => builder.allow_unauthenticated(),
    };
    let lists = match (&options.client_crl, &files.client_crl) {
        (Some(path), Some(content)) => RevocationList::read_all(path, content)?,
        _ => Vec::new(),
    };
    let lists_until_seconds = lists.iter().map(|list| list.until_seconds).min();
    // The whole chain is looked up, and a certificate that no list tells about is refused: that is what the library does
    // unless it is told otherwise. That a list is past its time counts only when it is told so.
    let builder = builder.with_crls(lists.into_iter().map(|list| list.der)).enforce_revocation_expiration();
    let verifier = builder.build().map_err(|error| match (&error, &options.client_crl) {
        (VerifierBuilderError::InvalidCrl(why), Some(path)) => {
            let message =
                format!("`{}` holds a list of revoked certificates that cannot be used: {why:?}", path.display());
            TlsFault { key: "client_crl", message }
        }
        _ => fault(format!("`{}` cannot be used: {error}", path.display())),
    })?;
    Ok(Some(Clients { verifier, lists_until_seconds }))
}

/// Until when the service's certificate is good.
fn not_after(options: &Options, chain: &[CertificateDer<'_>]) -> Result<i64, TlsFault> {
    let read = chain.first().and_then(|leaf| X509Certificate::from_der(leaf).ok());
    read.map(|(_, leaf)| leaf.validity().not_after.timestamp()).ok_or_else(|| {
        let message = format!("`{}` holds a certificate that cannot be read", options.certificate.display());
        TlsFault { key: "certificate", message }
    })
}

fn server_config(
    options: &Options,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
    clients: Option<&Clients>,
    protocol: Protocol,
) -> Result<Arc<ServerConfig>, TlsFault> {
    let fault = |error: &rustls::Error| {
        let (certificate, key) = (options.certificate.display(), options.key.display());
        let message = match error {
            rustls::Error::InconsistentKeys(_) => {
                format!("`{key}` is not the key of the first certificate in `{certificate}`")
            }
            error => format!("`{key}` cannot be used with `{certificate}`: {error}"),
        };
        TlsFault { key: "key", message }
    };
    let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| fault(&error))?;
    let builder = match clients {
        Some(clients) => builder.with_client_cert_verifier(Arc::clone(&clients.verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain.to_vec(), key.clone_key()).map_err(|error| fault(&error))?;
    config.alpn_protocols = vec![protocol.name().to_vec()];
    if clients.is_some_and(|clients| clients.lists_until_seconds.is_some()) {
        // A session that is resumed brings the certificate of before, and no list is looked into again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Arc::new(config))
}
