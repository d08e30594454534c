//! What a listener with TLS shows: the certificate that stands in the files, or another one.

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::{WebPkiSupportedAlgorithms, aws_lc_rs::default_provider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
};
use tokio_rustls::TlsConnector;
use tonic::transport::Uri;
use x509_parser::{certificate::X509Certificate, parse_x509_certificate};

use super::{
    ANSWER_WITHIN,
    certificates::{ago, span},
    finding::Finding,
};
use crate::cli::secure;

/// What was seen at an address.
pub(super) struct Served {
    /// The certificate whose key the listener has.
    pub(super) certificate: CertificateDer<'static>,
    /// Connects to it once more.
    pub(super) connector: TlsConnector,
}

/// Shakes hands with whatever listens there, for this protocol; `None` for what has no certificate to show, or does not speak
/// the protocol. Nothing is asked or told over the connection.
pub(super) async fn look(address: SocketAddr, protocol: &[u8]) -> Option<Served> {
    let provider = Arc::new(default_provider());
    let noting = Arc::new(Noting { algorithms: provider.signature_verification_algorithms, shown: Mutex::new(None) });
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().ok()?;
    let verifier = Arc::clone(&noting) as Arc<dyn ServerCertVerifier>;
    let mut config = builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let connector = TlsConnector::from(Arc::new(config));
    let (host, port) = (address.ip().to_string(), address.port());
    // A listener that wants a certificate of its clients refuses this one when it has shown its own.
    let shaken = tokio::time::timeout(ANSWER_WITHIN, secure::connect(&connector, &host, port)).await;
    drop(shaken);
    let certificate = noting.shown.lock().unwrap_or_else(PoisonError::into_inner).take()?;
    Some(Served { certificate, connector })
}

/// Takes whatever certificate comes, if the other end has its key: it is held against one that is known, and nothing is said to
/// who shows it.
#[derive(Debug)]
struct Noting {
    algorithms: WebPkiSupportedAlgorithms,
    shown: Mutex<Option<CertificateDer<'static>>>,
}

impl Noting {
    fn note(&self, certificate: &CertificateDer<'_>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        *shown = Some(certificate.clone().into_owned());
    }
}

impl ServerCertVerifier for Noting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = verify_tls12_signature(message, certificate, signature, &self.algorithms)?;
        self.note(certificate);
        Ok(valid)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let valid = verify_tls13_signature(message, certificate, signature, &self.algorithms)?;
        self.note(certificate);
        Ok(valid)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// What is wrong with what a listener shows, held against the file and the URL by which it is found from outside; or that it is
/// fine.
pub(super) fn judge(
    check: &'static str,
    address: SocketAddr,
    shown: &CertificateDer<'_>,
    (file, public_url): (&Path, Option<&str>),
    now_seconds: i64,
) -> Finding {
    let path = file.display();
    let replace = "have a new one made and put it in its place; the service takes it by itself, or by SIGHUP";
    let Ok((_, read)) = parse_x509_certificate(shown) else {
        return Finding::fault(check, format!("the certificate that {address} shows cannot be read"), replace);
    };
    let (subject, until) = (read.subject().to_string(), read.validity().not_after.timestamp());
    let is_of_file = first_of(file).is_none_or(|first| first == *shown);
    let stale = "if the file is the newer one, send the service SIGHUP, and see in its log why it has not taken it; if not, \
                 another program listens there";
    if until <= now_seconds {
        let what =
            format!("{address} shows the certificate of `{subject}`, which ran out {}", ago(now_seconds - until));
        return Finding::fault(check, what, if is_of_file { replace } else { stale });
    }
    let left = span(until - now_seconds);
    if !is_of_file {
        let what = format!("{address} shows another certificate than `{path}` has, of `{subject}`, good for {left}");
        return Finding::warning(check, what, stale);
    }
    if let Some(what) = wrong_name(address, shown, &read, public_url) {
        let advice = "have one made with the names by which clients find the service, as subject alternative names";
        return Finding::warning(check, what, advice);
    }
    Finding::fine(check, format!("{address} shows the certificate of `{subject}` in `{path}`, good for {left}"))
}

/// The first certificate of a file; what cannot be read is told of elsewhere.
fn first_of(file: &Path) -> Option<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(&fs::read(file).ok()?).next()?.ok()
}

/// By which name no client takes the certificate.
fn wrong_name(
    address: SocketAddr,
    shown: &CertificateDer<'_>,
    read: &X509Certificate<'_>,
    public_url: Option<&str>,
) -> Option<String> {
    let subject = read.subject();
    if read.subject_alternative_name().ok().flatten().is_none() {
        return Some(format!("{address} shows the certificate of `{subject}`, which names no host: clients refuse it"));
    }
    let url: Uri = public_url?.parse().ok()?;
    let (host, port) = secure::host_and_port(url.authority()?.as_str(), 443)?;
    // With another port something stands before the service, and shows a certificate of its own.
    if url.scheme_str() != Some("https") || port != address.port() {
        return None;
    }
    let parsed = ParsedCertificate::try_from(shown).ok()?;
    let name = ServerName::try_from(host.clone()).ok()?;
    let is_named = verify_server_name(&parsed, &name).is_ok();
    (!is_named).then(|| {
        format!("{address} shows the certificate of `{subject}`, which does not name `{host}` of `public_url`: clients refuse it")
    })
}
