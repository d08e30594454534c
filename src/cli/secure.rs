//! TLS as a client: which authority vouches for the service, and the certificate that the command line shows.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result, anyhow, bail};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::transport::{Channel, Endpoint, Uri};
use tower::service_fn;

use crate::config::Environment;

/// What it takes to speak to a service over TLS.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct TlsFlags {
    /// The certificates, in PEM, of the authority that vouches for the service; taken for https:// addresses.
    #[arg(long, value_name = "FILE")]
    #[arg(help = "The certificate of the authority that vouches for the service, for https:// [env: HALLPASS_CA]")]
    pub(super) ca: Option<PathBuf>,
    /// The certificate, in PEM, that is shown to the service.
    #[arg(long, value_name = "FILE")]
    #[arg(help = "The certificate to show to the service [env: HALLPASS_CERT]")]
    pub(super) cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, value_name = "FILE")]
    #[arg(help = "The key of that certificate [env: HALLPASS_KEY]")]
    pub(super) key: Option<PathBuf>,
}

impl TlsFlags {
    /// A certificate is shown.
    pub(super) fn has_certificate(&self, environment: &Environment) -> bool {
        self.cert.is_some() || environment.get("HALLPASS_CERT").is_some()
    }

    /// TLS with a service, for this protocol.
    ///
    /// # Errors
    /// No authority, a file that cannot be read, a certificate without its key.
    pub(super) fn connector(&self, environment: &Environment, protocol: &[u8]) -> Result<TlsConnector> {
        let named =
            |flag: &Option<PathBuf>, variable| flag.clone().or_else(|| environment.get(variable).map(PathBuf::from));
        let Some(ca) = named(&self.ca, "HALLPASS_CA") else {
            bail!("https takes the certificate of the authority that vouches for the service; name its file with --ca");
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&ca)? {
            let unusable = || format!("`{}` holds a certificate that cannot be one of an authority", ca.display());
            roots.add(certificate).with_context(unusable)?;
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots);
        let mut config = match (named(&self.cert, "HALLPASS_CERT"), named(&self.key, "HALLPASS_KEY")) {
            (Some(cert), Some(key)) => {
                let (shown, chain) = (key.display().to_string(), certificates(&cert)?);
                let key = PrivateKeyDer::from_pem_file(key)
                    .map_err(|_| anyhow!("`{shown}` holds no private key that can be read, expected PEM"))?;
                let unfit = || format!("`{shown}` is not the key of the certificate in `{}`", cert.display());
                builder.with_client_auth_cert(chain, key).with_context(unfit)?
            }
            (None, None) => builder.with_no_client_auth(),
            (Some(_), None) => bail!("a certificate is shown with its key; name that with --key"),
            (None, Some(_)) => bail!("a key belongs to a certificate; name that with --cert"),
        };
        config.alpn_protocols = vec![protocol.to_vec()];
        Ok(TlsConnector::from(Arc::new(config)))
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let shown = file.display();
    let content = std::fs::read(file).with_context(|| format!("`{shown}` cannot be read"))?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| anyhow!("`{shown}` holds no certificate, expected PEM"))
}

/// Host and port of `host:port`; of `[::1]:1` the host is `::1`.
pub(super) fn host_and_port(authority: &str, port_default: u16) -> Option<(String, u16)> {
    let uri: Uri = format!("https://{authority}").parse().ok()?;
    let host = uri.host()?.trim_start_matches('[').trim_end_matches(']');
    Some((host.to_owned(), uri.port_u16().unwrap_or(port_default)))
}

/// Connects and shakes hands.
pub(super) async fn connect(connector: &TlsConnector, host: &str, port: u16) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let stream = TcpStream::connect((host, port)).await?;
    stream.set_nodelay(true)?;
    connector.connect(name, stream).await
}

/// A gRPC connection over TLS.
pub(super) async fn channel(connector: TlsConnector, endpoint: Endpoint) -> Result<Channel, tonic::transport::Error> {
    let connecting = service_fn(move |uri: Uri| {
        let connector = connector.clone();
        async move {
            let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
            let (host, port) =
                host_and_port(&authority, 443).ok_or_else(|| io::Error::other("the address has no host"))?;
            connect(&connector, &host, port).await.map(TokioIo::new)
        }
    });
    endpoint.connect_with_connector(connecting).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_told_from_its_port() {
        for (authority, expected) in [
            ("pdp.example:50051", Some(("pdp.example", 50051))),
            ("pdp.example", Some(("pdp.example", 443))),
            ("127.0.0.1:1", Some(("127.0.0.1", 1))),
            ("[::1]:50051", Some(("::1", 50051))),
            ("", None),
        ] {
            let expected = expected.map(|(host, port)| (host.to_owned(), port));
            assert_eq!(host_and_port(authority, 443), expected, "{authority}");
        }
    }
}
