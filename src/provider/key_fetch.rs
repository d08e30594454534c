//! Gets the text of a JWKS from where the configuration or the issuer's checked discovery document says it is.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use crate::domain::issuer::{Issuer, KeyLocation};
use crate::domain::key_set::JWKS_BYTES_MAX;
use crate::provider::discovery::Directory;
use crate::provider::outbound::{Body, FRESH_SECONDS_MIN, Outbound};

/// What a JWKS is called in failures.
const KEY_SET: &str = "the key set";

/// Reads the file or asks the servers of one issuer.
#[derive(Debug)]
pub(crate) struct Fetcher {
    location: KeyLocation,
    directory: Option<Directory>,
    outbound: Outbound,
}

impl Fetcher {
    /// A fetcher of an issuer's keys that gives each request up after `timeout`.
    pub(crate) fn new(issuer: &Issuer, timeout: Duration) -> Self {
        let directory = Directory::of(issuer).filter(|_| issuer.keys == KeyLocation::Discovered);
        Self { location: issuer.keys.clone(), directory, outbound: Outbound::new(&issuer.servers, timeout) }
    }

    /// Gets the JWKS.
    ///
    /// # Errors
    /// A sentence that says what failed, without what was read.
    pub(crate) async fn fetch(&self, now_us: i64) -> Result<Body, String> {
        match (&self.location, &self.directory) {
            (KeyLocation::File(path), _) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path));
                let text = read.await.map_err(|_| "reading the key file was interrupted".to_owned())??;
                Ok(Body { text, fresh_seconds: FRESH_SECONDS_MIN })
            }
            (KeyLocation::Url(url), _) => self.get(url).await,
            (KeyLocation::Discovered, Some(directory)) => {
                let endpoints = directory.endpoints(&self.outbound, now_us).await?;
                let url = endpoints.keys.ok_or("the discovery document has no `jwks_uri`")?;
                let fetched = self.get(&url).await;
                if fetched.is_err() {
                    directory.doubt().await;
                }
                fetched
            }
            (KeyLocation::Discovered | KeyLocation::Nowhere, _) => Err("the issuer has no keys".to_owned()),
        }
    }

    async fn get(&self, url: &str) -> Result<Body, String> {
        self.outbound.get(url, KEY_SET, "application/jwk-set+json, application/json", JWKS_BYTES_MAX).await
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let mut json = String::new();
    let file = File::open(path).and_then(|file| file.take(JWKS_BYTES_MAX as u64 + 1).read_to_string(&mut json));
    file.map_err(|fault| format!("the key file `{}` cannot be read: {fault}", path.display()))?;
    Ok(json)
}
