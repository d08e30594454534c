//! The policies that realms begin with, and those that judge callers.

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::open::blocking;
use crate::{
    app::{
        caller::{self, CallerPolicies, KnownCaller},
        policies::{faults_of, validate},
        ports::RealmFiles,
        ports::archive::PolicyVersions as _,
        realm_state::{Origin, RealmState},
    },
    config::{Config, ConfigError, RealmConfig},
    domain::{fault::Fault, id::RealmName, policy_set::SourceFile},
    provider::realm_files::{embedded_caller_policies, read_folder},
    storage::policy_versions::PolicyFolders,
};

/// The versions of a realm's policies that are kept.
pub(crate) fn kept_versions(data_dir: &Path, realm: &RealmName) -> PolicyFolders {
    PolicyFolders::in_folder(&data_dir.join("realms").join(realm.as_str()).join("policies"))
}

/// The policies that a realm begins with, and where they come from.
pub(super) struct Begin {
    pub(super) files: Vec<SourceFile>,
    pub(super) origin: Origin,
}

/// Reads and checks the policies of all realms, as a reload would: each must compile and pass its own tests.
pub(super) fn read_realms(realms: &[RealmConfig], data_dir: &Path) -> Result<Vec<Begin>> {
    let mut faults = Vec::new();
    let mut read = Vec::new();
    for realm @ RealmConfig { name, place, variant, .. } in realms {
        let folder = place.shown();
        match read_realm(realm, data_dir) {
            Ok(begin) => {
                let validation = validate(&begin.files, variant.as_deref());
                faults.extend(validation.faults.into_iter().map(|fault| below(folder, fault)));
                let failed = validation.tests.iter().filter(|case| !case.differences.is_empty()).count();
                if failed > 0 {
                    let folder = folder.display();
                    let message = format!("{failed} of the realm's own tests fail; see `hallpass test {folder}`");
                    faults.push(Fault::in_file(&folder.to_string(), message));
                }
                read.push(begin);
            }
            Err(message) => faults.push(Fault::in_file(&format!("realm `{name}`"), message)),
        }
    }
    if faults.is_empty() { Ok(read) } else { bail!(ConfigError(faults)) }
}

/// The policies that a realm begins with: those of a rollback that stands, or else its files.
///
/// # Errors
/// A sentence that names what cannot be read and what is wrong with it.
fn read_realm(RealmConfig { name, place, variant, .. }: &RealmConfig, data_dir: &Path) -> Result<Begin, String> {
    let versions = kept_versions(data_dir, name);
    let Some(pin) = versions.pin().map_err(|error| error.to_string())? else {
        let RealmFiles { files, seal } = place.read()?;
        let origin = Origin::Files(RealmFiles { files: files.clone(), seal });
        return Ok(Begin { files, origin });
    };
    let way_out = |what: &str| {
        let file = versions.pin_file();
        format!(
            "was rolled back to version {}, which {what}; without the file `{}` the realm's files decide again",
            pin.version,
            file.display()
        )
    };
    let kept = versions.get(&pin.version).map_err(|error| error.to_string())?;
    let kept = kept.ok_or_else(|| way_out("is not kept any more"))?;
    if kept.variant != *variant {
        return Err(way_out("is of another variant than hallpass.toml asks for"));
    }
    let signer = place.vouch(&kept).map_err(|message| way_out(&format!("may not decide: {message}")))?;
    tracing::warn!(realm = %name, policy_version = %pin.version, by = %pin.by, "a rollback stands, so the realm's files do not decide");
    Ok(Begin { files: kept.files, origin: Origin::Pinned(pin, signer) })
}

/// The files of the policies that judge who reads the decision log: the deployment's own, or those of the program.
pub(super) async fn open_caller_policies(config: &Config, realms: &[RealmConfig]) -> Result<Vec<SourceFile>> {
    let (own, known) = (config.caller_policies(), config.callers.clone());
    let realms: Vec<RealmName> = realms.iter().map(|realm| realm.name.clone()).collect();
    blocking(move || read_caller_policies(own.as_deref(), &known, &realms)).await
}

/// Reads and checks the policies that judge who reads the decision log, and what callers need of them.
fn read_caller_policies(own: Option<&Path>, callers: &[KnownCaller], realms: &[RealmName]) -> Result<Vec<SourceFile>> {
    let folder = own.unwrap_or(Path::new("policies/hallpass of the program"));
    let files = own.map_or_else(|| Ok(embedded_caller_policies()), read_folder);
    let files = files.map_err(|message| ConfigError(vec![Fault::in_file(caller::REALM, message)]))?;
    let mut faults: Vec<Fault> = faults_of(&files, None).into_iter().map(|fault| below(folder, fault)).collect();
    let compiled = faults.is_empty().then(|| CallerPolicies::compile(&files));
    faults.extend(compiled.and_then(Result::err).into_iter().flatten().map(|fault| below(folder, fault)));
    for KnownCaller { name, realms: own, .. } in callers {
        for realm in own.iter().filter(|realm| !realms.contains(realm)) {
            let message = format!("names the realm `{realm}`, which this service does not have");
            faults.push(Fault::in_file(&format!("caller `{name}`"), message));
        }
    }
    if faults.is_empty() { Ok(files) } else { bail!(ConfigError(faults)) }
}

/// A fault of a realm's file, named by the path that leads there.
pub(crate) fn below(folder: &Path, mut fault: Fault) -> Fault {
    fault.file = folder.join(&fault.file).display().to_string();
    fault
}

/// A key of one realm: HMAC-SHA-256 of its name and of what it is for, so that those of two realms, and of two uses, have
/// nothing in common.
pub(super) fn realm_key(secret: &[u8; 32], of: &str, realm: &RealmName) -> Result<[u8; 32]> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).context("the pseudonym key has an impossible length")?;
    mac.update(of.as_bytes());
    mac.update(b" of realm ");
    mac.update(realm.as_str().as_bytes());
    Ok(mac.finalize().into_bytes().into())
}

pub(super) fn announce(state: &RealmState) {
    let (name, loaded, graph) = (&state.name, state.policies(), state.graph());
    let (policies, relationships) = (loaded.realm.policies.len(), graph.counts().edges);
    let applications = state.applications().len();
    let (version, revision) = (&loaded.realm.version, graph.revision());
    let variant = state.variant.as_deref().unwrap_or_default();
    tracing::info!(realm = %name, variant, policies, policy_version = %version, relationships, applications, %revision, "realm ready");
    if loaded.realm.file.issuers.is_empty() && loaded.realm.file.takes_tokens() {
        tracing::warn!(realm = %name, "no issuer is trusted, so every token is refused; name one in hallpass.toml under [[realms.{name}.issuers]]");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_two_realms_and_of_two_uses_differ() {
        let key = |of: &str, realm: &str| realm_key(&[7; 32], of, &realm.parse().unwrap()).unwrap();
        assert_eq!(key("facts", "one"), key("facts", "one"));
        assert_ne!(key("facts", "one"), key("facts", "two"));
        assert_ne!(key("facts", "one"), key("pseudonyms", "one"));
    }
}
