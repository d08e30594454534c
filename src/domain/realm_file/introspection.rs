//! `introspection` of an issuer: how its opaque tokens are looked up.

use std::{path::PathBuf, sync::Arc};

use super::issuers::{check_url, is_plain};
use crate::domain::{
    document::Table,
    introspection::{ClientAuthentication, Introspection},
};

/// Reads how an issuer's tokens are looked up; `has_discovery`: the issuer has a discovery document.
pub(super) fn read(table: &Table<'_>, has_discovery: bool) -> Option<Introspection> {
    let url = table.text("url");
    let is_discovered = table.flag("discovery");
    let client_id = table.required_text("client_id");
    let authentication = read_authentication(table);
    let cache_seconds = table.integer("cache_seconds", 0..=60).unwrap_or(60);
    let negative_cache_seconds = table.integer("negative_cache_seconds", 0..=10).unwrap_or(10);
    match (&url, is_discovered) {
        (Some(url), false) => check_url(table, "url", url),
        (None, true) if has_discovery => {}
        (None, true) => table.fault(Some("discovery"), "the issuer has no `discovery`, expected \"oidc\" or \"oauth\""),
        _ => table.fault(None, "`introspection` needs one of `url` and `discovery = true`"),
    }
    let client_id = client_id?;
    if !is_plain(&client_id) {
        table.fault(Some("client_id"), "is empty or has characters other than visible ASCII");
    }
    Some(Introspection { url, client_id, authentication: authentication?, cache_seconds, negative_cache_seconds })
}

/// Reads how this service proves itself; what it needs follows from `auth`, and the other way round.
fn read_authentication(table: &Table<'_>) -> Option<ClientAuthentication> {
    let file = |key: &str| table.text(key).map(|file| PathBuf::from(&*file));
    let (secret, key, certificate) = (file("client_secret_file"), file("private_key_file"), file("certificate_file"));
    let (key_id, audience) = (table.text("key_id"), table.text("assertion_audience"));
    let said = table.text("auth");
    let is_assertion = said.as_deref() == Some("private_key_jwt") || said.is_none() && key.is_some();
    for name in ["key_id", "assertion_audience"] {
        if table.has(name) && !is_assertion {
            table.fault(Some(name), format!("`{name}` is for `auth = \"private_key_jwt\"` alone"));
        }
    }
    let assertion = |file| ClientAuthentication::PrivateKeyJwt { file, key_id, audience };
    match (said.as_deref(), secret, key, certificate) {
        (None | Some("basic"), Some(file), None, None) => Some(ClientAuthentication::Basic(file)),
        (Some("post"), Some(file), None, None) => Some(ClientAuthentication::Post(file)),
        (None | Some("private_key_jwt"), None, Some(file), None) => Some(assertion(file)),
        (None | Some("certificate"), None, None, Some(file)) => Some(ClientAuthentication::Certificate(file)),
        (Some(other), ..) if !METHODS.contains(&other) => {
            table.fault(Some("auth"), format!("unknown method `{other}`, expected one of {}", METHODS.join(", ")));
            None
        }
        _ => {
            let message = "needs exactly one of `client_secret_file` (for `basic`, which is the default, or `post`), \
                           `private_key_file` (for `private_key_jwt`) and `certificate_file` (for `certificate`)";
            table.fault(None, format!("`introspection` {message}"));
            None
        }
    }
}

const METHODS: [&str; 4] = ["basic", "post", "private_key_jwt", "certificate"];

/// Notes a second issuer that would take the realm's opaque tokens, of which nobody could say whose they are.
pub(super) fn note_second(table: &Table<'_>, first: &Arc<str>) {
    let message = format!("opaque tokens go to `{first}` already; only one issuer of a realm can have `introspection`");
    table.fault(Some("introspection"), message);
}
