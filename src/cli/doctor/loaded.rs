//! The realms' issuers, as the service would know them: those of realm.toml and of the configuration, with files where they
//! are looked for.

use std::sync::Arc;

use crate::{
    app::caller,
    config::{Config, RealmConfig},
    domain::{id::RealmName, issuer::Issuer, realm::Realm},
};

/// A realm whose files compile, with its issuers.
#[derive(Debug)]
pub(super) struct Trusting {
    pub(super) realm: RealmName,
    pub(super) issuers: Vec<Issuer>,
    /// Tokens say who asks in it.
    pub(super) takes_tokens: bool,
}

/// The issuers of all realms whose files are good, and those of callers; realms with faults are told of elsewhere.
pub(super) fn issuers(config: &Config) -> Vec<Trusting> {
    let of_callers = caller::REALM.parse().ok().filter(|_| !config.authentication.issuers.is_empty());
    let of_callers =
        of_callers.map(|realm| Trusting { realm, issuers: config.authentication.issuers.clone(), takes_tokens: true });
    config.realms.iter().filter_map(trusting).chain(of_callers).collect()
}

/// The same, read on a thread of its own.
pub(super) async fn issuers_of(config: &Arc<Config>) -> Vec<Trusting> {
    super::on_thread(config, issuers).await
}

/// The issuers of a realm; `None` when its files are not good.
pub(super) fn trusting(RealmConfig { name, place, variant, issuers, .. }: &RealmConfig) -> Option<Trusting> {
    let files = place.read().ok()?.files;
    let mut realm = Realm::compile(&files, variant.as_deref()).ok()?;
    realm.trust(issuers).ok()?;
    let takes_tokens = realm.file.takes_tokens();
    let mut issuers = realm.file.issuers;
    for file in issuers.iter_mut().flat_map(Issuer::files_mut) {
        *file = place.folder().join(&*file);
    }
    Some(Trusting { realm: name.clone(), issuers, takes_tokens })
}
