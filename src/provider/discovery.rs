//! Finds an issuer's endpoints in the document that it publishes about itself.
//!
//! The document is believed only if it is about this very issuer, and only as far as it names the issuer's own host or
//! one that the configuration lists (RFC 8414 sections 3.3 and 6.2).

use std::sync::Arc;

use reqwest::Url;
use tokio::sync::Mutex;

use crate::domain::issuer::{Discovery, Issuer};
use crate::domain::strict_json;
use crate::provider::outbound::{self, Outbound};

/// What the document is called in failures.
const DOCUMENT: &str = "the discovery document";

/// The largest document that is read, in bytes.
const BYTES_MAX: usize = 64 * 1024;

/// A document is used so long while a newer one cannot be had, in microseconds.
const USABLE_US: i64 = 24 * 3600 * 1_000_000;

/// A document that could not be had is not asked for again this long, in microseconds.
const RETRY_US: i64 = 1_000_000;

/// The endpoints that a document names, each safe to ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Endpoints {
    /// `jwks_uri`.
    pub(crate) keys: Option<String>,
    /// `introspection_endpoint`.
    pub(crate) introspection: Option<String>,
}

/// Where an issuer's document is, and what was found there last.
#[derive(Debug)]
pub(crate) struct Directory {
    kind: Discovery,
    issuer: Arc<str>,
    hosts: Vec<Arc<str>>,
    found: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    found: Option<Found>,
    /// Why the document could not be had, and until when that is not tried again, in microseconds since the epoch.
    fault: Option<(String, i64)>,
}

#[derive(Debug)]
struct Found {
    endpoints: Endpoints,
    stale_at_us: i64,
    usable_until_us: i64,
}

impl Directory {
    /// The directory of an issuer that has one.
    pub(crate) fn of(issuer: &Issuer) -> Option<Self> {
        let (name, hosts) = (Arc::clone(&issuer.issuer), issuer.servers.hosts.clone());
        let kind = issuer.servers.discovery?;
        Some(Self { kind, issuer: name, hosts, found: Mutex::default() })
    }

    /// The endpoints, as the document named them not long ago.
    ///
    /// # Errors
    /// A sentence that says what failed, without what was read.
    pub(crate) async fn endpoints(&self, outbound: &Outbound, now_us: i64) -> Result<Endpoints, String> {
        let mut known = self.found.lock().await;
        if let Some(found) = known.found.as_ref().filter(|found| now_us < found.stale_at_us) {
            return Ok(found.endpoints.clone());
        }
        let lately = known.fault.as_ref().filter(|(_, until_us)| now_us < *until_us);
        let fetched = match lately {
            Some((fault, _)) => Err(fault.clone()),
            None => self.fetch(outbound).await,
        };
        match fetched {
            Ok((endpoints, fresh_seconds)) => {
                let stale_at_us = now_us.saturating_add(fresh_seconds.saturating_mul(1_000_000));
                let usable_until_us = now_us.saturating_add(USABLE_US);
                let found = Found { endpoints: endpoints.clone(), stale_at_us, usable_until_us };
                *known = Known { found: Some(found), fault: None };
                Ok(endpoints)
            }
            Err(fault) => {
                if known.fault.as_ref().is_none_or(|(_, until_us)| now_us >= *until_us) {
                    known.fault = Some((fault.clone(), now_us.saturating_add(RETRY_US)));
                }
                let usable = known.found.as_ref().filter(|found| now_us < found.usable_until_us);
                usable.map(|found| found.endpoints.clone()).ok_or(fault)
            }
        }
    }

    /// Looks into the document again next time: what it named does not answer as it should.
    pub(crate) async fn doubt(&self) {
        if let Some(found) = self.found.lock().await.found.as_mut() {
            found.stale_at_us = i64::MIN;
        }
    }

    async fn fetch(&self, outbound: &Outbound) -> Result<(Endpoints, i64), String> {
        let url = document_url(self.kind, &self.issuer)?;
        let body = outbound.get(&url, DOCUMENT, "application/json", BYTES_MAX).await?;
        Ok((self.read(&body.text)?, body.fresh_seconds))
    }

    /// Reads a document about this issuer.
    fn read(&self, json: &str) -> Result<Endpoints, String> {
        let document =
            strict_json::read_object(json.as_bytes()).map_err(|fault| format!("{DOCUMENT} {}", fault.reason()))?;
        if document.get("issuer").and_then(serde_json::Value::as_str) != Some(&*self.issuer) {
            return Err(format!("{DOCUMENT} is about another issuer; names are compared exactly, slash by slash"));
        }
        let endpoint = |name: &str| match document.get(name) {
            None => Ok(None),
            Some(serde_json::Value::String(url)) => self.check(name, url).map(Some),
            Some(_) => Err(format!("{DOCUMENT} has a `{name}` that is no text")),
        };
        Ok(Endpoints { keys: endpoint("jwks_uri")?, introspection: endpoint("introspection_endpoint")? })
    }

    /// Takes an endpoint on the issuer's own host or a listed one.
    fn check(&self, name: &str, url: &str) -> Result<String, String> {
        let own = outbound::parse(&self.issuer, "the issuer")?;
        let parsed = outbound::parse(url, &format!("`{name}`"))?;
        let authority = authority(&parsed);
        let is_listed = self.hosts.iter().any(|host| host.eq_ignore_ascii_case(&authority));
        let is_own = self::authority(&own) == authority;
        let is_plain = parsed.username().is_empty()
            && parsed.password().is_none()
            && parsed.fragment().is_none()
            && !url.contains('\\');
        let is_as_safe = parsed.scheme() == "https" || own.scheme() == "http";
        if (is_own || is_listed) && is_plain && is_as_safe {
            return Ok(parsed.into());
        }
        Err(format!("{DOCUMENT} has a `{name}` that is not an https URL on the issuer's host or one of `hosts`"))
    }
}

/// Host, and port if it is not that of the scheme.
fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Where an issuer's document is.
fn document_url(kind: Discovery, issuer: &str) -> Result<String, String> {
    let mut url = outbound::parse(issuer, "the issuer")?;
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&match kind {
        Discovery::Oidc => format!("{path}/.well-known/openid-configuration"),
        Discovery::Oauth => format!("/.well-known/oauth-authorization-server{path}"),
    });
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::issuer::{KeyLocation, Servers};

    #[test]
    fn the_document_stands_where_its_standard_says() {
        for (kind, issuer, url) in [
            (Discovery::Oidc, "https://idp.example", "https://idp.example/.well-known/openid-configuration"),
            (Discovery::Oidc, "https://idp.example/a/b/", "https://idp.example/a/b/.well-known/openid-configuration"),
            (Discovery::Oauth, "https://idp.example", "https://idp.example/.well-known/oauth-authorization-server"),
            (
                Discovery::Oauth,
                "https://idp.example/a/",
                "https://idp.example/.well-known/oauth-authorization-server/a",
            ),
        ] {
            assert_eq!(document_url(kind, issuer).unwrap(), url);
        }
        assert!(document_url(Discovery::Oidc, "http://idp.example").is_err());
    }

    fn read(document: &Value) -> Result<Endpoints, String> {
        let mut issuer = Issuer::new("https://idp.example/realm", &[], KeyLocation::Discovered);
        issuer.servers = Servers {
            discovery: Some(Discovery::Oidc),
            hosts: vec!["keys.example".into(), "keys.example:8443".into()],
            ..Servers::default()
        };
        Directory::of(&issuer).unwrap().read(&document.to_string())
    }

    #[test]
    fn endpoints_are_taken_on_the_issuers_host_and_listed_ones_only() {
        let named = |url: &str| read(&json!({"issuer": "https://idp.example/realm", "jwks_uri": url}));
        for good in [
            "https://idp.example/k",
            "https://IDP.example:443/k",
            "https://keys.example/",
            "https://keys.example:8443/",
        ] {
            assert!(named(good).unwrap().keys.is_some(), "{good}");
        }
        for bad in [
            "http://idp.example/k",
            "http://127.0.0.1/k",
            "https://idp.example:8443/k",
            "https://keys.example:1/",
            "https://idp.example@evil.example/",
            "https://user@idp.example/k",
            "https://idp.example.evil.example/",
            "https://169.254.169.254/latest",
            "https://idp.example\\@evil.example/",
            "file:///etc/passwd",
            "",
            "keys",
            "https://idp.example/k#f",
        ] {
            assert!(named(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_document_about_another_issuer_is_not_believed() {
        for issuer in ["https://idp.example", "https://idp.example/realm/", "https://IDP.example/realm"] {
            let fault = read(&json!({"issuer": issuer, "jwks_uri": "https://idp.example/k"})).unwrap_err();
            assert!(fault.contains("another issuer"), "{issuer}: {fault}");
        }
        assert!(read(&json!({"jwks_uri": "https://idp.example/k"})).is_err());
        assert!(read(&json!({"issuer": "https://idp.example/realm", "jwks_uri": ["https://idp.example/k"]})).is_err());
        assert_eq!(read(&json!({"issuer": "https://idp.example/realm"})), Ok(Endpoints::default()));
    }
}
