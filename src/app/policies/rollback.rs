//! Rollbacks: a kept version is checked like any other and decides, until somebody lets the files decide again.

use std::sync::Arc;

use super::faults_of;
use crate::{
    app::{
        App,
        error::{Error, Kind},
        ports::{
            CALLERS_REALM, RealmSource,
            archive::{KeptPolicies, KnownVersion, Pin, PolicyVersions},
        },
        realm_state::RealmState,
    },
    domain::{fault::Fault, id::PolicyVersion, realm::Realm},
};

/// What came of a rollback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollback {
    /// What decides now.
    pub version: PolicyVersion,
    /// What decided before.
    pub before: PolicyVersion,
    /// Why the kept version does not decide; none when it does.
    pub faults: Vec<Fault>,
}

/// A kept version as the realm would run it, and the name of the key that signed it, if somebody had to.
type Kept = (Realm, Option<Arc<str>>);

/// A kept version that is named by the beginning of its digest has this many digits at least.
const DIGITS_MIN: usize = 6;

impl App {
    /// Lets a kept version decide, whatever the realm's files are, until [`App::resume_policies`]; also after a restart.
    /// `wanted` is its digest, or the beginning of it; empty: the version that the files brought before the present one.
    /// It must compile and pass its own tests, as at a reload; with any fault the realm stays as it is.
    ///
    /// # Errors
    /// A realm or version that is not known, or not kept as it should be; a note that cannot be kept.
    pub async fn rollback_policies(&self, name: &str, wanted: &str, by: Arc<str>) -> Result<Rollback, Error> {
        if name == CALLERS_REALM {
            let message =
                "no versions are kept of the policies that judge callers; put their files back and reload them";
            return Err(Error::new(Kind::FailedPrecondition, "VERSIONS_NOT_KEPT", message));
        }
        let state = Arc::clone(self.realm(name)?);
        let _alone = state.reloads.lock().await;
        let before = state.policies().realm.version.clone();
        let (realm, signer) = match self.kept(&state, wanted, &before).await? {
            Ok(found) => found,
            Err(faults) => {
                for Fault { file, line, column, message, .. } in &faults {
                    tracing::error!(realm = name, file, line, column, "rollback refused: {message}");
                }
                return Ok(Rollback { version: before.clone(), before, faults });
            }
        };
        let (version, now_us) = (realm.version.clone(), self.clock.now_us());
        let pin = Pin { version: version.clone(), by, at_us: now_us };
        // First what a restart would read: a rollback that holds until then only would be a trap.
        state.set_pin(Some(pin.clone())).await?;
        self.swap(&state, realm);
        tracing::warn!(realm = name, policy_version = %version, before = %before, by = %pin.by, "policies rolled back");
        state.standing.change(|status| {
            status.pin = Some(pin);
            status.signer = signer;
            status.faults = Arc::default();
            status.counts.rolled_back += 1;
        });
        Ok(Rollback { version, before, faults: Vec::new() })
    }

    /// The kept version that is wanted, compiled as the realm would run it; its faults if it has some.
    async fn kept(
        &self,
        state: &Arc<RealmState>,
        wanted: &str,
        before: &PolicyVersion,
    ) -> Result<Result<Kept, Vec<Fault>>, Error> {
        let Some(archive) = state.archive() else {
            let message = "the service keeps no versions of this realm's policies";
            return Err(Error::new(Kind::FailedPrecondition, "VERSIONS_NOT_KEPT", message));
        };
        let (versions, source) = (Arc::clone(&archive.versions), Arc::clone(&self.source));
        let (state, wanted, before) = (Arc::clone(state), wanted.to_owned(), before.clone());
        let found = tokio::task::spawn_blocking(move || {
            let (kept, signer) = find(&*versions, &*source, &state, &wanted, &before)?;
            let faults = faults_of(&kept.files, state.variant.as_deref());
            let compiled = if faults.is_empty() { state.compile(&kept.files) } else { Err(faults) };
            Ok(compiled.map(|realm| (realm, signer)))
        });
        found.await.map_err(|error| {
            Error::new(Kind::Internal, "ROLLBACK_FAILED", format!("the rollback could not be finished: {error}"))
        })?
    }
}

/// The kept version that is wanted, if it may decide. Blocks.
fn find(
    versions: &dyn PolicyVersions,
    source: &dyn RealmSource,
    state: &RealmState,
    wanted: &str,
    before: &PolicyVersion,
) -> Result<(KeptPolicies, Option<Arc<str>>), Error> {
    let known = versions.list()?;
    let version = choose(&known, wanted, before)?;
    let kept = versions.get(&version)?.ok_or_else(|| unknown(format!("version {version} is not kept any more")))?;
    if kept.variant != state.variant {
        let name = |variant: &Option<Arc<str>>| {
            variant.as_ref().map_or_else(|| "no variant".to_owned(), |name| format!("the variant `{name}`"))
        };
        let message = format!(
            "version {version} is of {}, and the realm runs {}; hallpass.toml says which one decides",
            name(&kept.variant),
            name(&state.variant)
        );
        return Err(Error::new(Kind::FailedPrecondition, "POLICY_VERSION_OF_OTHER_VARIANT", message));
    }
    match source.vouch(&state.name, &kept) {
        Ok(signer) => Ok((kept, signer)),
        Err(message) => {
            let message = format!("version {version} may not decide: {message}");
            Err(Error::new(Kind::FailedPrecondition, "POLICY_VERSION_NOT_SIGNED", message))
        }
    }
}

/// The version that is meant.
fn choose(known: &[KnownVersion], wanted: &str, decides: &PolicyVersion) -> Result<PolicyVersion, Error> {
    if wanted.is_empty() {
        let used = |version: &PolicyVersion| {
            known.iter().find(|known| known.version == *version).map(|known| known.last_used_us)
        };
        let since = used(decides).unwrap_or(i64::MAX);
        let earlier = known.iter().filter(|known| known.version != *decides && known.last_used_us <= since);
        let before = earlier.max_by_key(|known| (known.last_used_us, known.first_used_us));
        return before.map(|known| known.version.clone()).ok_or_else(|| {
            unknown("no version decided before this one; name one, `hallpass policies versions` shows them".to_owned())
        });
    }
    let is_meant = |known: &&KnownVersion| wanted.len() >= DIGITS_MIN && known.version.0.starts_with(wanted);
    let mut meant = known.iter().filter(is_meant);
    match (meant.next(), meant.next()) {
        (Some(known), None) => Ok(known.version.clone()),
        (Some(_), Some(_)) => Err(Error::invalid_field("policy_version", "begins several versions, expected more of its digits")),
        _ => Err(unknown(
            "no version with this digest is kept, expected one that `hallpass policies versions` shows, or its first six \
             digits at least"
                .to_owned(),
        )),
    }
}

fn unknown(message: String) -> Error {
    Error::new(Kind::NotFound, "POLICY_VERSION_UNKNOWN", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(digest: &str, first_used_us: i64, last_used_us: i64) -> KnownVersion {
        KnownVersion { first_used_us, last_used_us, version: PolicyVersion(digest.into()), variant: None, note: None }
    }

    #[test]
    fn the_version_before_is_the_one_that_files_brought_before() {
        let known = [known("aaaaaa1", 1, 30), known("aaaaaa2", 20, 20), known("bbbbbb1", 40, 40)];
        let choose = |wanted: &str, decides: &str| {
            let chosen = choose(&known, wanted, &PolicyVersion(decides.into()));
            chosen.map(|version| version.to_string()).map_err(|error| error.reason)
        };
        for (wanted, decides, expected) in [
            ("", "bbbbbb1", Ok("aaaaaa1")),
            ("", "aaaaaa1", Ok("aaaaaa2")),
            ("", "aaaaaa2", Err("POLICY_VERSION_UNKNOWN")),
            ("", "cccccc1", Ok("bbbbbb1")),
            ("bbbbbb", "aaaaaa2", Ok("bbbbbb1")),
            ("aaaaaa2", "aaaaaa2", Ok("aaaaaa2")),
            ("aaaaaa", "aaaaaa2", Err("INVALID_REQUEST")),
            ("bbbbb", "aaaaaa2", Err("POLICY_VERSION_UNKNOWN")),
            ("bbbbbb12", "aaaaaa2", Err("POLICY_VERSION_UNKNOWN")),
        ] {
            assert_eq!(choose(wanted, decides).as_deref(), expected.as_ref().copied(), "{wanted} {decides}");
        }
    }
}
