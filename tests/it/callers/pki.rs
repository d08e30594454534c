//! Certificates of tests: authorities, services, clients; and clients that show them.

use std::path::Path;
use std::sync::Arc;
use std::{fs, io};

use hyper_util::rt::TokioIo;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SanType,
    SerialNumber, date_time_ymd,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tonic::transport::{Channel, Endpoint};
use x509_parser::prelude::FromDer as _;

/// A certificate and its key, both in PEM.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Somebody who vouches for certificates.
pub(crate) struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// From when until when a certificate is good.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Good {
    Now,
    NoMore,
    NotYet,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), issuer: Issuer::new(params, key) }
    }

    /// An authority that this one vouches for.
    pub(crate) fn beneath(&self, name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.signed_by(&key, &self.issuer).unwrap(), issuer: Issuer::new(params, key) }
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its certificate, without the key.
    pub(crate) fn pair(&self) -> Pair {
        Pair { certificate: self.pem(), key: String::new() }
    }

    /// A list of certificates that this authority has taken back, in PEM.
    pub(crate) fn revoking(&self, pairs: &[&Pair], good: Good) -> String {
        let revoked = |pair: &&Pair| RevokedCertParams {
            serial_number: serial_of(pair),
            revocation_time: date_time_ymd(2020, 6, 1),
            reason_code: Some(RevocationReason::KeyCompromise),
            invalidity_date: None,
        };
        let [from, until] = years(good);
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(from, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: pairs.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }

    fn sign(&self, params: &CertificateParams) -> Pair {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A service's certificate with this serial number.
    pub(crate) fn service(&self, serial: u8) -> Pair {
        self.service_until(serial, Good::Now)
    }

    pub(crate) fn service_until(&self, serial: u8, good: Good) -> Pair {
        let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        params.distinguished_name = named("service");
        params.serial_number = Some(SerialNumber::from_slice(&[serial]));
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&lasting(params, good))
    }

    /// A client's certificate with these URIs.
    pub(crate) fn client(&self, name: &str, uris: &[&str], good: Good) -> Pair {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name = named(name);
        params.subject_alt_names = uris.iter().map(|uri| SanType::URI((*uri).try_into().unwrap())).collect();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&lasting(params, good))
    }

    /// A client that trusts this authority, and shows this certificate.
    pub(crate) fn trusting(&self, shown: Option<&Pair>) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.der().clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(Pair { certificate, key }) => {
                let chain = CertificateDer::pem_slice_iter(certificate.as_bytes()).map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        Arc::new(config)
    }
}

fn named(name: &str) -> DistinguishedName {
    let mut named = DistinguishedName::new();
    named.push(DnType::OrganizationName, "North");
    named.push(DnType::CommonName, name);
    named
}

fn lasting(mut params: CertificateParams, good: Good) -> CertificateParams {
    let [from, until] = years(good);
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(until, 1, 1));
    params
}

/// From the beginning of which year until that of which.
fn years(good: Good) -> [i32; 2] {
    match good {
        Good::Now => [2020, 2120],
        Good::NoMore => [2020, 2021],
        Good::NotYet => [2119, 2120],
    }
}

/// The serial number of the first certificate.
fn serial_of(pair: &Pair) -> SerialNumber {
    let der = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).unwrap();
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(&der).unwrap();
    SerialNumber::from_slice(certificate.raw_serial())
}

/// Puts a pair where a service reads it.
pub(crate) fn put(folder: &Path, pair: &Pair) {
    fs::write(folder.join("server.pem"), &pair.certificate).unwrap();
    fs::write(folder.join("server.key"), &pair.key).unwrap();
}

/// Connects to a port of this machine.
pub(crate) async fn connect(port: u16, config: &Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    TlsConnector::from(Arc::clone(config)).connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// The serial number of the certificate that a service shows.
pub(crate) fn serial(stream: &TlsStream<TcpStream>) -> u8 {
    let leaf = &stream.get_ref().1.peer_certificates().unwrap()[0];
    *x509_parser::certificate::X509Certificate::from_der(leaf).unwrap().1.raw_serial().last().unwrap()
}

/// A gRPC connection; whether the service takes it shows at the first call.
pub(crate) async fn channel(
    port: u16,
    config: &Arc<ClientConfig>,
) -> Result<Channel, Box<dyn std::error::Error + Send + Sync>> {
    let config = Arc::clone(config);
    let connecting = tower::service_fn(move |_| {
        let config = Arc::clone(&config);
        async move { connect(port, &config).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_shared(format!("http://localhost:{port}"))?;
    Ok(endpoint.connect_with_connector(connecting).await?)
}
