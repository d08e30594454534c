//! Keys and introspection by realm: files that realm.toml names are looked for from the realm's folder.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Result;
use async_trait::async_trait;

use crate::{
    app::ports::{Introspected, IntrospectionError, IssuerKeys, KeyError, KeySource, TokenIntrospector},
    domain::{id::RealmName, issuer::Issuer, key_set::KeySet},
    provider::{introspection::Introspectors, jwks::Jwks},
};

/// The keys of realms. A key file that realm.toml names is looked for from the realm's folder.
#[derive(Debug)]
pub(crate) struct RealmKeys {
    /// Where the keys come from.
    pub(crate) jwks: Arc<Jwks>,
    /// The folder of each realm.
    pub(crate) folders: BTreeMap<RealmName, PathBuf>,
}

#[async_trait]
impl KeySource for RealmKeys {
    async fn keys(&self, realm: &RealmName, issuer: &str, kid: Option<&str>) -> Result<Arc<KeySet>, KeyError> {
        self.jwks.keys(realm, issuer, kid).await
    }

    fn at_hand(&self) -> Vec<IssuerKeys> {
        self.jwks.at_hand()
    }

    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        self.jwks.set_issuers(realm, &with_files(&self.folders, realm, issuers));
    }
}

/// Asks the issuers of realms about their opaque tokens. A file that realm.toml names is looked for from the realm's folder.
#[derive(Debug)]
pub(super) struct RealmIntrospector {
    pub(super) introspectors: Introspectors,
    pub(super) folders: BTreeMap<RealmName, PathBuf>,
}

#[async_trait]
impl TokenIntrospector for RealmIntrospector {
    async fn introspect(
        &self,
        realm: &RealmName,
        issuer: &str,
        token: &str,
    ) -> Result<Introspected, IntrospectionError> {
        self.introspectors.introspect(realm, issuer, token).await
    }

    fn set_issuers(&self, realm: &RealmName, issuers: &[Issuer]) {
        self.introspectors.set_issuers(realm, &with_files(&self.folders, realm, issuers));
    }
}

/// Issuers whose files are where they are looked for.
fn with_files(folders: &BTreeMap<RealmName, PathBuf>, realm: &RealmName, issuers: &[Issuer]) -> Vec<Issuer> {
    let mut issuers = issuers.to_vec();
    if let Some(folder) = folders.get(realm) {
        for file in issuers.iter_mut().flat_map(Issuer::files_mut) {
            *file = folder.join(&*file);
        }
    }
    issuers
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::provider::clock::SystemClock;

    #[test]
    fn key_files_of_realm_toml_are_looked_for_in_the_realms_folder() {
        let folder = tempfile::tempdir().unwrap();
        let key = crate::provider::signer::LocalKey::generate().unwrap();
        fs::write(folder.path().join("keys.json"), key.jwks()).unwrap();
        let content = "title = \"One\"\n[[issuers]]\nissuer = \"here\"\naudiences = []\nalgorithms = [\"EdDSA\"]\n\
                       keys = { file = \"keys.json\" }\n[principal]\nentity = \"Client\"\nid = \"sub\"\n";
        let realm = crate::domain::realm_file::RealmFile::parse("realm.toml", content).unwrap();
        let name: RealmName = "one".parse().unwrap();
        let jwks = Arc::new(Jwks::new(Arc::new(SystemClock), Box::new(|_| ())));
        let keys = RealmKeys { jwks, folders: [(name.clone(), folder.path().to_owned())].into() };
        keys.set_issuers(&name, &realm.issuers);
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let found = runtime.block_on(keys.keys(&name, "here", Some(key.key_id()))).unwrap();
        assert!(found.contains(key.key_id()));
    }
}
