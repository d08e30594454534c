//! Who may call, over real TLS: certificates, tokens and keys, good ones and all sorts of bad ones; what each role may ask;
//! and new certificates while calls are under way.

mod canaries;
mod handshakes;
pub(crate) mod pki;
mod revoked;
mod rights;
mod rotation;
mod shown;
mod started;

use std::fs;
use std::sync::Arc;

use hallpass::app::caller::KeyDigest;
use hallpass::proto::v1 as pb;
use hallpass::proto::v1::authorization_service_client::AuthorizationServiceClient;
use hallpass::server::{self, Running};
use hallpass::transport::listener::Failure;
use rustls::ClientConfig;
use tonic::transport::Channel;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use self::pki::{Authority, Good, Pair};
use crate::support::{Home, reading_student};

/// A service with TLS, with an authority that vouches for it and one that vouches for clients.
pub(crate) struct Secured {
    pub(crate) home: Home,
    pub(crate) own: Authority,
    pub(crate) clients: Authority,
}

/// Lines of a caller that shows a key, which is its name.
pub(crate) fn caller_with_key(name: &str, roles: &str, realms: &str) -> String {
    let digest = KeyDigest::of(name);
    format!("[callers.{name}]\nroles = [{roles}]\nrealms = [{realms}]\nkey_sha256 = \"{digest}\"\n")
}

impl Secured {
    /// A home whose service listens with TLS; `tls` are further lines of `[tls]`, `tables` further tables.
    pub(crate) fn new(tls: &str, tables: &str) -> Self {
        let (own, clients) = (Authority::new("own"), Authority::new("clients"));
        let mut home = Home::new();
        pki::put(home.path("").as_path(), &own.service(1));
        fs::write(home.path("callers.pem"), clients.pem()).unwrap();
        fs::write(home.path("own.pem"), own.pem()).unwrap();
        home.tables = format!(
            "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\nclient_ca = \"callers.pem\"\n{tls}\n\
             [authentication]\nrequired = true\n{tables}"
        );
        Self { home, own, clients }
    }

    pub(crate) async fn start(&self) -> Running {
        server::start(self.home.config()).await.unwrap()
    }

    /// A client with a certificate of this name and these URIs.
    pub(crate) fn client(&self, name: &str, uris: &[&str]) -> Arc<ClientConfig> {
        self.showing(&self.clients.client(name, uris, Good::Now))
    }

    pub(crate) fn showing(&self, pair: &Pair) -> Arc<ClientConfig> {
        self.own.trusting(Some(pair))
    }

    pub(crate) fn anonymous(&self) -> Arc<ClientConfig> {
        self.own.trusting(None)
    }

    /// A question about a student.
    pub(crate) fn question(&self) -> pb::AuthorizeRequest {
        reading_student(&self.home.token("SISVendor", &[255_901]), "604822")
    }
}

/// Asks one question, with a key if there is one.
pub(crate) async fn ask(channel: Channel, question: pb::AuthorizeRequest, key: Option<&str>) -> Result<(), Status> {
    let mut request = Request::new(question);
    if let Some(key) = key {
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
    }
    AuthorizationServiceClient::new(channel).authorize(request).await.map(drop)
}

/// The stable reason of an error.
pub(crate) fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

/// How many handshakes failed for this reason.
pub(crate) fn failed(running: &Running, failure: Failure) -> u64 {
    let handshakes = running.certificates().unwrap().handshakes();
    handshakes.failed().find(|(known, _)| *known == failure).unwrap().1
}
