//! The service as a process of its own, as it is shipped.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use hallpass::app::ports::Clock;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use serde_json::json;
use tonic::transport::{Channel, Endpoint};

use crate::cases::Token;
use crate::process::Process;
use crate::realms::Realm;

const ISSUER: &str = "https://conformance.example";

/// A running service; ends with the value.
#[derive(Debug)]
pub(crate) struct Service {
    /// Ends with the value.
    _process: Process,
    channel: Channel,
    signer: Arc<Signer>,
}

/// Makes tokens that the service trusts.
#[derive(Debug)]
pub(crate) struct Signer(LocalKey);

impl Service {
    /// Builds the binary if it is not fresh and starts it with these realms.
    pub(crate) async fn start(folder: &Path, realms: &[Realm]) -> anyhow::Result<Self> {
        let signer = Arc::new(Signer(LocalKey::generate()?));
        fs::write(folder.join("issuer.jwks.json"), signer.0.jwks())?;
        fs::write(folder.join("hallpass.toml"), settings(realms))?;
        let process = Process::start(folder, 1)?;
        let address = process.addresses.first().context("the service listens nowhere")?;
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect().await;
        Ok(Self { _process: process, channel: channel.context("cannot connect to the service")?, signer })
    }

    /// A connection to it.
    pub(crate) fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// What it trusts.
    pub(crate) fn signer(&self) -> Arc<Signer> {
        Arc::clone(&self.signer)
    }
}

impl Signer {
    /// Signs what a step says of a token, as Ed-Fi's Data Management Service would.
    pub(crate) fn sign(&self, token: &Token) -> anyhow::Result<String> {
        let now_seconds = SystemClock.now_seconds();
        let ids: Vec<String> = token.education_organization_ids.iter().map(i64::to_string).collect();
        let claims = json!({
            "iss": ISSUER,
            "iat": now_seconds,
            "exp": now_seconds + 3600,
            "client_id": token.name,
            "scope": token.claim_set,
            "educationOrganizationIds": ids.join(","),
            "namespacePrefixes": token.namespace_prefixes.join(","),
            "ownershipTokenIds": token.ownership_tokens.iter().map(|name| number_of(name)).collect::<Vec<_>>(),
            "creatorOwnershipTokenId": token.stamp.as_deref().map(number_of),
        });
        Ok(self.0.sign(&claims)?)
    }
}

/// Ownership tokens are numbers; the cases call them by names (FNV-1a of each).
fn number_of(name: &str) -> u32 {
    name.bytes().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// The configuration of a service with these realms, all of which trust one key.
fn settings(realms: &[Realm]) -> String {
    let tables = realms.iter().map(|Realm { name, folder, .. }| {
        let folder = json!(folder);
        format!(
            "[realms.{name}]\nfolder = {folder}\n[[realms.{name}.issuers]]\nissuer = \"{ISSUER}\"\naudiences = []\n\
             algorithms = [\"EdDSA\"]\nkeys = {{ file = \"issuer.jwks.json\" }}\n"
        )
    });
    format!("data_dir = \"data\"\n[log]\nlevel = \"warn\"\n{}", tables.collect::<String>())
}
