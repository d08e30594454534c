//! Gets the text of a JWKS from where the configuration says it is, within bounds of size and time.

use std::error::Error;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, HeaderMap};
use reqwest::{Client, ClientBuilder, StatusCode, Url, redirect};
use tokio::sync::OnceCell;

use crate::domain::issuer::KeyLocation;
use crate::domain::key_set::JWKS_BYTES_MAX;

/// How long a fetch may take, from connecting to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// A set is used for at least so long before it is fetched again, whatever its server says.
const FRESH_SECONDS_MIN: i64 = 5 * 60;

/// A set is fetched again after so long, whatever its server says.
const FRESH_SECONDS_MAX: i64 = 24 * 3600;

/// How long a set is used when its server does not say.
const FRESH_SECONDS_DEFAULT: i64 = 3600;

/// A JWKS as it came.
#[derive(Debug)]
pub(crate) struct Fetched {
    pub(crate) json: String,
    /// For how long it need not be fetched again.
    pub(crate) fresh_seconds: i64,
}

/// Reads files and asks servers. The clients are made when first needed: one for `https` needs the machine's
/// certificates, which a service that only reads files can do without.
#[derive(Debug)]
pub(crate) struct Fetcher {
    timeout: Duration,
    remote: OnceCell<Client>,
    loopback: OnceCell<Client>,
}

impl Fetcher {
    /// A fetcher that gives up after `timeout`.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { timeout, remote: OnceCell::new(), loopback: OnceCell::new() }
    }

    /// Gets a JWKS.
    ///
    /// # Errors
    /// A sentence that says what failed, without what was read.
    pub(crate) async fn fetch(&self, location: &KeyLocation) -> Result<Fetched, String> {
        match location {
            KeyLocation::File(path) => {
                let path = path.clone();
                let read = tokio::task::spawn_blocking(move || read(&path));
                let json = read.await.map_err(|_| "reading the key file was interrupted".to_owned())??;
                Ok(Fetched { json, fresh_seconds: FRESH_SECONDS_MIN })
            }
            KeyLocation::Url(url) => {
                let url = parse(url)?;
                let remote = async || self.client(Client::builder());
                let loopback = async || self.client(Client::builder().tls_certs_only([]));
                let client = match url.scheme() {
                    "https" => self.remote.get_or_try_init(remote).await,
                    _ => self.loopback.get_or_try_init(loopback).await,
                };
                get(client?, url).await
            }
        }
    }

    /// Neither redirects nor proxies from the environment: what is asked is what is configured.
    fn client(&self, builder: ClientBuilder) -> Result<Client, String> {
        let built = builder.redirect(redirect::Policy::none()).no_proxy().timeout(self.timeout).build();
        built.map_err(|fault| format!("https is not possible here: {}", causes(fault)))
    }
}

/// Reads a URL that keys may be fetched from: `https`, or `http` on this machine.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn parse(url: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|fault| format!("the key URL cannot be read: {fault}"))?;
    let is_loopback = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_loopback => Ok(parsed),
        _ => Err("the key URL must begin with `https://`, or lead to this machine".to_owned()),
    }
}

async fn get(client: &Client, url: Url) -> Result<Fetched, String> {
    let request = client.get(url).header(ACCEPT, "application/jwk-set+json, application/json");
    let mut response = request.send().await.map_err(causes)?;
    match response.status() {
        StatusCode::OK => {}
        status if status.is_redirection() => {
            return Err(format!("the key server answered {}; redirects are not followed", status.as_u16()));
        }
        status => return Err(format!("the key server answered {}", status.as_u16())),
    }
    let fresh_seconds = fresh_seconds(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(causes)? {
        if body.len() + chunk.len() > JWKS_BYTES_MAX {
            return Err("the key set is larger than 256 KiB".to_owned());
        }
        body.extend_from_slice(&chunk);
    }
    let json = String::from_utf8(body).map_err(|_| "the key set is not UTF-8".to_owned())?;
    Ok(Fetched { json, fresh_seconds })
}

/// For how long a response is fresh (RFC 9111 section 5.2.2), within bounds.
fn fresh_seconds(headers: &HeaderMap) -> i64 {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let ages = directives.filter_map(|directive| match directive.split_once('=') {
        Some(("max-age", age)) => age.trim_matches('"').parse().ok(),
        None if directive == "no-cache" || directive == "no-store" => Some(0),
        _ => None,
    });
    ages.min().unwrap_or(FRESH_SECONDS_DEFAULT).clamp(FRESH_SECONDS_MIN, FRESH_SECONDS_MAX)
}

fn read(path: &PathBuf) -> Result<String, String> {
    let mut json = String::new();
    let file = File::open(path).and_then(|file| file.take(JWKS_BYTES_MAX as u64 + 1).read_to_string(&mut json));
    file.map_err(|fault| format!("the key file `{}` cannot be read: {fault}", path.display()))?;
    Ok(json)
}

/// An error and what caused it in one line. The URL is left out: it may hold a password.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn Error), |&cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let location = KeyLocation::Url(format!("http://{}/", silent.local_addr().unwrap()));
        let fault = Fetcher::new(Duration::from_millis(20)).fetch(&location).await.unwrap_err();
        assert!(fault.contains("timed out"), "{fault}");
    }

    #[test]
    fn only_https_or_this_machine_is_asked() {
        for good in
            ["https://issuer.example/jwks", "http://127.0.0.1:8080/jwks", "http://localhost/", "http://[::1]:1/"]
        {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in
            ["http://issuer.example/", "http://127.0.0.1.issuer.example/", "file:///etc/keys", "jwks", "ftp://[::1]/"]
        {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn freshness_is_what_the_server_says_within_bounds() {
        for (said, seconds) in [
            (&[][..], FRESH_SECONDS_DEFAULT),
            (&["public, max-age=7200"], 7200),
            (&["Max-Age=\"600\""], 600),
            (&["max-age=1"], FRESH_SECONDS_MIN),
            (&["max-age=999999999"], FRESH_SECONDS_MAX),
            (&["max-age=-5"], FRESH_SECONDS_MIN),
            (&["max-age=soon"], FRESH_SECONDS_DEFAULT),
            (&["max-age=7200", "no-store"], FRESH_SECONDS_MIN),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            assert_eq!(fresh_seconds(&headers), seconds, "{said:?}");
        }
    }
}
