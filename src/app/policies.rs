//! Realms and their policies: shown, checked, reloaded.

use std::sync::Arc;

use crate::{
    app::{
        App,
        caller::{self, CallerPolicies},
        error::{Error, Kind},
        ports::RealmSource,
        realm_state::RealmState,
    },
    domain::{
        fault::{Code, Fault},
        id::{PolicyVersion, RealmNameError},
        lint,
        policy_set::SourceFile,
        policy_test::{self, CaseResult},
        realm::Realm,
        variant,
    },
};

/// What a check of a candidate set found.
#[derive(Debug, Default)]
pub struct Validation {
    /// The faults; none when the set is good.
    pub faults: Vec<Fault>,
    /// What is worth a look in a set that is good.
    pub warnings: Vec<Fault>,
    /// The digest, when the set is good.
    pub version: Option<PolicyVersion>,
    /// What came of the realm's own tests.
    pub tests: Vec<CaseResult>,
}

/// The most files of a candidate set.
pub const FILES_MAX: usize = 1_000;
/// The most bytes of a candidate set.
pub const FILES_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Compiles a candidate set, with all its variants, looks at what it says, and runs its tests. The digest is that of the
/// named variant.
pub fn validate(files: &[SourceFile], variant: Option<&str>) -> Validation {
    let checked = lint::check(files);
    let version =
        checked.realms.into_iter().find(|realm| realm.variant.as_deref() == variant).map(|realm| realm.version);
    let (mut faults, warnings): (Vec<Fault>, Vec<Fault>) = checked.faults.into_iter().partition(Fault::is_error);
    // One that isn't there is a fault of its own.
    if let Some(missing) = variant.filter(|name| !variant::names(files).contains(name)) {
        faults.extend(variant::apply(files, missing).err().into_iter().flatten());
    }
    let tests = if faults.is_empty() { policy_test::run(files) } else { Ok(Vec::new()) };
    let tests = tests.unwrap_or_else(|found| {
        faults.extend(found);
        Vec::new()
    });
    let version = version.filter(|_| faults.is_empty());
    Validation { faults, warnings, version, tests }
}

impl App {
    /// Checks a candidate set and changes nothing.
    ///
    /// # Errors
    /// Too many files or bytes, or none.
    pub async fn validate_policies(&self, files: Vec<SourceFile>) -> Result<Validation, Error> {
        let bytes: usize = files.iter().map(|file| file.path.len() + file.content.len()).sum();
        if files.is_empty() || files.len() > FILES_MAX || bytes > FILES_BYTES_MAX {
            let message = format!(
                "has {} files of {bytes} bytes, expected 1 to {FILES_MAX} of at most {FILES_BYTES_MAX} bytes together",
                files.len()
            );
            return Err(Error::invalid_field("files", message));
        }
        tokio::task::spawn_blocking(move || validate(&files, None)).await.map_err(|error| {
            Error::new(Kind::Internal, "VALIDATION_FAILED", format!("the check could not be finished: {error}"))
        })
    }

    /// Loads a realm's folder again. With any fault, or a failing test of its own, the realm stays as it is. Reloads of
    /// one realm go one after another, so that what counts in the end is what was read last.
    ///
    /// # Errors
    /// An unknown realm, a folder that cannot be read, or policies that cannot be kept.
    pub async fn reload_policies(&self, name: &str) -> Result<(PolicyVersion, Vec<Fault>), Error> {
        if let Some(policies) = self.callers().policies().filter(|_| name == caller::REALM) {
            return self.reload_caller_policies(policies).await;
        }
        let state = Arc::clone(self.realm(name)?);
        let _alone = state.reloads.lock().await;
        let (source, reloaded) = (Arc::clone(&self.source), Arc::clone(&state));
        let read = tokio::task::spawn_blocking(move || read_anew(&*source, &reloaded)).await.map_err(|error| {
            Error::new(Kind::Internal, "RELOAD_FAILED", format!("the reload could not be finished: {error}"))
        })?;
        match read {
            Err(faults) => Ok(refuse_reload(&state, faults)),
            Ok((realm, files)) => {
                let version = realm.version.clone();
                // What can't be kept must not decide: its decisions could not be made again.
                state.keep_policies(files, self.clock.now_us()).await?;
                self.keys.set_issuers(&state.name, &realm.file.issuers);
                if let Some(introspector) = &self.introspector {
                    introspector.set_issuers(&state.name, &realm.file.issuers);
                }
                state.replace_policies(realm, self.clock.now_us());
                self.tokens.drop_realm(&state.name);
                tracing::info!(realm = name, policy_version = %version, "policies reloaded");
                Ok((version, Vec::new()))
            }
        }
    }

    /// The same for the policies that judge who reads the decision log.
    async fn reload_caller_policies(&self, policies: &CallerPolicies) -> Result<(PolicyVersion, Vec<Fault>), Error> {
        let _alone = policies.reloads.lock().await;
        let source = Arc::clone(&self.source);
        let read = tokio::task::spawn_blocking(move || read_caller_policies(&*source)).await.map_err(|error| {
            Error::new(Kind::Internal, "RELOAD_FAILED", format!("the reload could not be finished: {error}"))
        })?;
        match read {
            Err(faults) => {
                for fault in &faults {
                    tracing::error!(realm = caller::REALM, "reload refused: {fault}");
                }
                policies.note_faults(faults.clone());
                Ok((policies.loaded().realm.version.clone(), faults))
            }
            Ok(realm) => {
                let version = realm.version.clone();
                policies.replace(realm, self.clock.now_us());
                tracing::info!(realm = caller::REALM, policy_version = %version, "policies reloaded");
                Ok((version, Vec::new()))
            }
        }
    }
}

/// Reads the policies that judge callers and checks them with their tests. Blocks.
fn read_caller_policies(source: &dyn RealmSource) -> Result<Realm, Vec<Fault>> {
    let fault = |message: String| vec![Fault::in_file(caller::REALM, message)];
    let name = caller::REALM.parse().map_err(|error: RealmNameError| fault(error.to_string()))?;
    let files = source.read(&name).map_err(fault)?;
    let faults = faults_of(&files, None);
    if faults.is_empty() { CallerPolicies::compile(&files) } else { Err(faults) }
}

/// Reads a realm's folder, checks it with its tests, and compiles it as the realm would run it. Blocks.
fn read_anew(source: &dyn RealmSource, state: &RealmState) -> Result<(Realm, Vec<SourceFile>), Vec<Fault>> {
    let files = source.read(&state.name).map_err(|message| vec![Fault::in_file(state.name.as_str(), message)])?;
    let faults = faults_of(&files, state.variant.as_deref());
    if faults.is_empty() { Ok((state.compile(&files)?, files)) } else { Err(faults) }
}

/// The faults of files, their failing tests among them.
pub fn faults_of(files: &[SourceFile], variant: Option<&str>) -> Vec<Fault> {
    let validation = validate(files, variant);
    let mut faults = validation.faults;
    for case in validation.tests.iter().filter(|case| !case.differences.is_empty()) {
        let message = format!("test `{}` fails: {}", case.name, case.differences.join("; "));
        faults.push(Fault::in_file(&case.file, message).coded(Code::FailingTest));
    }
    faults
}

fn refuse_reload(state: &RealmState, faults: Vec<Fault>) -> (PolicyVersion, Vec<Fault>) {
    for fault in &faults {
        tracing::error!(realm = %state.name, "reload refused: {fault}");
    }
    state.note_faults(faults.clone());
    (state.policies().realm.version.clone(), faults)
}
