//! `[[issuers]]`: whose tokens count.

use std::{path::PathBuf, sync::Arc};

use crate::domain::{
    document::Table,
    issuer::{Algorithm, Issuer, KeyLocation},
};

/// Reads one issuer; the deployment's configuration writes issuers in the same words.
pub(crate) fn read_issuer(table: &Table<'_>) -> Option<Issuer> {
    let issuer = table.required_text("issuer");
    let audiences = table.required_texts("audiences");
    let algorithms = table.required_texts("algorithms").map(|names| read_algorithms(table, &names));
    let keys = table.required_table("keys", |keys| match (keys.text("file"), keys.text("url")) {
        (Some(file), None) => Some(KeyLocation::File(PathBuf::from(&*file))),
        (None, Some(url)) if is_safe_url(&url) => Some(KeyLocation::Url(url.to_string())),
        (None, Some(_)) => {
            keys.fault(Some("url"), "the key set's URL is not safe, expected https, or http on a loopback host");
            None
        }
        _ => {
            keys.fault(None, "`keys` needs one of `file` and `url`");
            None
        }
    });
    let scheme = table.text("scheme").unwrap_or_else(|| "Bearer".into());
    let types = table.texts("types").unwrap_or_default();
    let required_claims = table.texts("required_claims").unwrap_or_default();
    let skew_seconds = table.integer("skew_seconds", 0..=120).unwrap_or(30);
    let lifetime_seconds_max = table.integer("lifetime_seconds_max", 1..=315_360_000);
    let vouches = table.flag("applications");
    let applications = table.has("applications").then_some(vouches);
    Some(Issuer {
        audiences: audiences?,
        scheme,
        types,
        required_claims,
        skew_seconds,
        lifetime_seconds_max,
        applications,
        ..Issuer::new(&issuer?, &algorithms??, keys.flatten()?)
    })
}

fn read_algorithms(table: &Table<'_>, names: &[Arc<str>]) -> Option<Vec<Algorithm>> {
    let known = |name: &str| Algorithm::ALL.into_iter().find(|algorithm| algorithm.name() == name);
    let algorithms: Option<Vec<_>> = names.iter().map(|name| known(name)).collect();
    let is_mixed = |list: &[Algorithm]| list.contains(&Algorithm::HS256) && list.len() > 1;
    match algorithms {
        Some(list) if !list.is_empty() && !is_mixed(&list) => Some(list),
        Some(list) if is_mixed(&list) => {
            table.fault(Some("algorithms"), "`HS256` cannot stand beside signatures in one issuer");
            None
        }
        _ => {
            let names: Vec<_> = Algorithm::ALL.into_iter().map(Algorithm::name).collect();
            table.fault(Some("algorithms"), format!("`algorithms` needs at least one of {}", names.join(", ")));
            None
        }
    }
}

/// https anywhere, http on this machine only.
fn is_safe_url(url: &str) -> bool {
    let host = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or("").to_owned();
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
