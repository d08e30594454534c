//! `[[issuers]]`: whose tokens count.

use std::{ops::Range, path::PathBuf, sync::Arc};

use super::{introspection, token_rules};
use crate::domain::{
    document::Table,
    introspection::Introspection,
    issuer::{Algorithm, Discovery, Issuer, KeyLocation, Refetch, Servers},
};

/// Reads all issuers of a realm, each with the place of its aliases; the deployment's configuration writes issuers in the
/// same words.
pub(crate) fn read_issuers(root: &Table<'_>) -> Vec<(Issuer, Range<usize>)> {
    let mut introspects: Option<Arc<str>> = None;
    root.tables("issuers", |table| {
        let issuer = read_issuer(table)?;
        if issuer.introspection.is_some() {
            match &introspects {
                Some(first) => introspection::note_second(table, first),
                None => introspects = Some(Arc::clone(&issuer.issuer)),
            }
        }
        Some((issuer, table.place("aliases")))
    })
}

fn read_issuer(table: &Table<'_>) -> Option<Issuer> {
    let issuer = table.required_text("issuer");
    let audiences = table.required_texts("audiences");
    let servers = read_servers(table, issuer.as_deref());
    let has_discovery = servers.discovery.is_some();
    let introspection = table.table("introspection", |table| introspection::read(table, has_discovery)).flatten();
    let is_opaque = table.has("introspection") && !table.has("keys") && !has_discovery;
    let (keys, refetch) = read_keys(table, has_discovery, is_opaque);
    let algorithms = if is_opaque && !table.has("algorithms") {
        Some(Some(Vec::new()))
    } else {
        table.required_texts("algorithms").map(|names| read_algorithms(table, &names))
    };
    let scheme = table.text("scheme").unwrap_or_else(|| "Bearer".into());
    let (types, required_claims) = token_rules::read_shape(table, audiences.as_deref());
    let skew_seconds = table.integer("skew_seconds", 0..=120).unwrap_or(30);
    let lifetime_seconds_max = table.integer("lifetime_seconds_max", 1..=315_360_000);
    let vouches = table.flag("applications");
    let applications = table.has("applications").then_some(vouches);
    check_use(table, keys.as_ref(), &servers, introspection.as_ref());
    let aliases = table.texts("aliases");
    // Everything is read before anything is missing, so that no key is unknown because of another one.
    let (is_proof_required, query) = (token_rules::read_proof(table), table.flag("query"));
    let version = token_rules::read_version(table);
    Some(Issuer {
        audiences: audiences?,
        scheme,
        types,
        required_claims,
        skew_seconds,
        lifetime_seconds_max,
        applications,
        is_proof_required,
        refetch,
        servers,
        introspection,
        aliases,
        query,
        version,
        ..Issuer::new(&issuer?, &algorithms??, keys?)
    })
}

/// Reads where the keys are. With discovery they are where the document says unless they are pinned; an issuer of opaque
/// tokens needs none.
fn read_keys(table: &Table<'_>, has_discovery: bool, is_opaque: bool) -> (Option<KeyLocation>, Refetch) {
    if !table.has("keys") && (has_discovery || is_opaque) {
        let keys = if has_discovery { KeyLocation::Discovered } else { KeyLocation::Nowhere };
        return (Some(keys), Refetch::default());
    }
    let read = table.required_table("keys", |keys| {
        let default = Refetch::default();
        let refetch = Refetch {
            seconds: keys.integer("refetch_seconds", 1..=3600).unwrap_or(default.seconds),
            burst: keys.integer("refetch_burst", 1..=10).unwrap_or(default.burst),
            max_stale_seconds: keys.integer("max_stale_seconds", 300..=604_800).unwrap_or(default.max_stale_seconds),
        };
        let location = match (keys.text("file"), keys.text("url")) {
            (Some(file), None) => Some(KeyLocation::File(PathBuf::from(&*file))),
            (None, Some(url)) => {
                check_url(keys, "url", &url);
                Some(KeyLocation::Url(url.to_string()))
            }
            (None, None) if has_discovery => Some(KeyLocation::Discovered),
            _ => {
                keys.fault(None, "`keys` needs one of `file` and `url`");
                None
            }
        };
        (location, refetch)
    });
    read.unwrap_or_default()
}

fn read_servers(table: &Table<'_>, issuer: Option<&str>) -> Servers {
    let discovery = table.text("discovery").and_then(|kind| match &*kind {
        "oidc" => Some(Discovery::Oidc),
        "oauth" => Some(Discovery::Oauth),
        _ => {
            table.fault(Some("discovery"), format!("unknown discovery `{kind}`, expected `oidc` or `oauth`"));
            None
        }
    });
    if let Some(issuer) = issuer.filter(|_| discovery.is_some()) {
        check_url(table, "issuer", issuer);
        if issuer.contains(['?', '#']) {
            table.fault(Some("issuer"), "has a query or a fragment, so it has no place for a discovery document");
        }
    }
    let hosts = table.texts("hosts").unwrap_or_default();
    for host in &hosts {
        let is_host = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
        if host.is_empty() || !host.chars().all(is_host) {
            table.fault(
                Some("hosts"),
                format!("`{host}` is no host, expected a name such as `keys.example` or `keys.example:8443`"),
            );
        }
    }
    Servers {
        discovery,
        hosts,
        private_addresses: table.flag("private_addresses"),
        ca_file: table.text("ca_file").map(|file| PathBuf::from(&*file)),
    }
}

/// Notes keys that would change nothing.
fn check_use(table: &Table<'_>, keys: Option<&KeyLocation>, servers: &Servers, introspection: Option<&Introspection>) {
    let is_discovered = keys == Some(&KeyLocation::Discovered)
        || servers.discovery.is_some() && introspection.is_some_and(|introspection| introspection.url.is_none());
    if servers.discovery.is_some() && keys.is_some() && !is_discovered && !table.has("introspection") {
        table.fault(Some("discovery"), "`discovery` finds nothing that is not said already; leave it or `keys` out");
    }
    if table.has("hosts") && servers.discovery.is_none() {
        table.fault(Some("hosts"), "`hosts` is for what a discovery document names, and there is no `discovery`");
    }
    let asks_nobody = matches!(keys, Some(KeyLocation::File(_))) && servers.discovery.is_none();
    for key in ["ca_file", "private_addresses"] {
        if table.has(key) && asks_nobody && !table.has("introspection") {
            table.fault(Some(key), format!("`{key}` is about servers, and this issuer's keys are in a file"));
        }
    }
}

fn read_algorithms(table: &Table<'_>, names: &[Arc<str>]) -> Option<Vec<Algorithm>> {
    let known = |name: &str| Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
    let algorithms: Option<Vec<_>> = names.iter().map(|name| known(name)).collect();
    let is_mixed = |list: &[Algorithm]| {
        list.iter().any(|algorithm| algorithm.is_symmetric()) && !list.iter().all(|algorithm| algorithm.is_symmetric())
    };
    match algorithms {
        Some(list) if !list.is_empty() && !is_mixed(&list) => Some(list),
        Some(list) if is_mixed(&list) => {
            table.fault(
                Some("algorithms"),
                "algorithms with a shared secret (`HS…`) cannot stand beside signatures in one issuer",
            );
            None
        }
        _ => {
            let names: Vec<_> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
            table.fault(Some("algorithms"), format!("`algorithms` needs at least one of {}", names.join(", ")));
            None
        }
    }
}

/// Visible ASCII, and some of it.
pub(super) fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Notes a URL that must not be asked.
pub(super) fn check_url(table: &Table<'_>, key: &str, url: &str) {
    if !is_plain(url) || !is_safe_url(url) {
        let message = "is not safe to ask, expected an https URL without a user, or http on a loopback host";
        table.fault(Some(key), format!("the URL in `{key}` {message}"));
    }
}

/// https anywhere, http on this machine only.
fn is_safe_url(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '\\', '?', '#']).next().unwrap_or("").to_owned();
    let is_loopback = |authority: &str| {
        let name = authority
            .rsplit_once(':')
            .filter(|(_, port)| port.parse::<u16>().is_ok())
            .map_or(authority, |(name, _)| name);
        ["127.0.0.1", "localhost", "[::1]"].contains(&name)
    };
    match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => !host(rest).is_empty() && !host(rest).contains('@'),
        (_, Some(rest)) => is_loopback(&host(rest)),
        _ => false,
    }
}
