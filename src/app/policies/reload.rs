//! Reloads. Whatever asks for one, this is the way: read, check with the realm's own tests, keep, swap; with any fault the
//! last good policies go on deciding.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{faults_of, status::Standing};
use crate::{
    app::{
        App,
        caller::{self, CallerPolicies},
        error::{Error, Kind},
        ports::{CALLERS_REALM, RealmFiles, RealmSource, archive::ArchiveError},
        realm_state::RealmState,
    },
    domain::{
        fault::Fault,
        id::{PolicyVersion, RealmNameError},
        realm::{Realm, version_of},
    },
};

/// What asks for a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A caller.
    Call,
    /// A caller who takes a rollback back.
    Resume,
    /// A signal to the process.
    Signal,
    /// Files that changed.
    Files,
}

impl Trigger {
    /// The word for it in the log.
    fn word(self) -> &'static str {
        match self {
            Self::Call => "call",
            Self::Resume => "resume",
            Self::Signal => "signal",
            Self::Files => "files",
        }
    }
}

/// What came of a reload, and what decides now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files decide now.
    Taken(PolicyVersion),
    /// The files are those that were tried last: nothing was done.
    Unchanged(PolicyVersion),
    /// A rollback stands, so the files were left alone.
    Held(PolicyVersion),
    /// The files have these faults.
    Refused(PolicyVersion, Vec<Fault>),
}

/// Whose policies: those of a realm, or those that judge callers.
#[derive(Clone, Copy)]
enum Subject<'a> {
    Realm(&'a Arc<RealmState>),
    Callers(&'a CallerPolicies),
}

impl Subject<'_> {
    fn name(&self) -> &str {
        match self {
            Self::Realm(state) => state.name.as_str(),
            Self::Callers(_) => CALLERS_REALM,
        }
    }

    fn alone(&self) -> &Mutex<()> {
        match self {
            Self::Realm(state) => &state.reloads,
            Self::Callers(policies) => &policies.reloads,
        }
    }

    fn standing(&self) -> &Standing {
        match self {
            Self::Realm(state) => &state.standing,
            Self::Callers(policies) => &policies.standing,
        }
    }

    fn version(&self) -> PolicyVersion {
        match self {
            Self::Realm(state) => state.policies().realm.version.clone(),
            Self::Callers(policies) => policies.loaded().realm.version.clone(),
        }
    }

    fn realm(&self) -> Option<Arc<RealmState>> {
        match self {
            Self::Realm(state) => Some(Arc::clone(state)),
            Self::Callers(_) => None,
        }
    }

    /// Says so when files are refused, each fault once, and goes on with what decides.
    fn refuse(&self, trigger: Trigger, version: Option<PolicyVersion>, faults: Vec<Fault>, now_us: i64) -> Reload {
        let (realm, trigger) = (self.name(), trigger.word());
        let refused = version.as_ref().map(ToString::to_string).unwrap_or_default();
        if *self.standing().get().faults == faults {
            tracing::warn!(realm, trigger, refused, faults = faults.len(), "reload refused with the same faults again");
        } else {
            for Fault { file, line, column, message, .. } in &faults {
                tracing::error!(realm, trigger, refused, file, line, column, "reload refused: {message}");
            }
        }
        self.standing().change(|status| {
            status.attempted_at_us = Some(now_us);
            status.faults = Arc::new(faults.clone());
            status.files_version = version;
            status.counts.refused += 1;
        });
        Reload::Refused(self.version(), faults)
    }

    /// The files are those that decide, or those that were refused before.
    fn leave(&self, version: &PolicyVersion) -> Reload {
        let decides = self.version();
        if decides == *version && self.standing().get().is_refused() {
            tracing::info!(realm = self.name(), policy_version = %version, "the files are again those that decide");
            self.standing().change(|status| status.faults = Arc::default());
        }
        self.standing().change(|status| status.files_version = Some(version.clone()));
        Reload::Unchanged(decides)
    }
}

/// Files that were read, and what is to be made of them.
enum Candidate {
    /// Files of a version that is known: nothing is to be done.
    Known(PolicyVersion),
    /// Files with faults, or that cannot be read, which have no version then.
    Faulty(Option<PolicyVersion>, Vec<Fault>),
    /// Good files.
    Good(Box<Realm>, RealmFiles),
}

impl App {
    /// Takes a realm's files as they are now. With any fault, or a failing test of its own, the realm stays as it is.
    /// Reloads of one realm go one after another, so that what counts in the end is what was read last.
    ///
    /// # Errors
    /// An unknown realm, one that was rolled back, or policies that cannot be kept.
    pub async fn reload_policies(&self, name: &str) -> Result<(PolicyVersion, Vec<Fault>), Error> {
        match self.reload(name, Trigger::Call).await? {
            Reload::Taken(version) | Reload::Unchanged(version) => Ok((version, Vec::new())),
            Reload::Refused(version, faults) => Ok((version, faults)),
            Reload::Held(version) => Err(held(&version)),
        }
    }

    /// Lets the files of a realm that was rolled back decide again. With any fault the rollback stands.
    ///
    /// # Errors
    /// Those of [`App::reload_policies`].
    pub async fn resume_policies(&self, name: &str) -> Result<(PolicyVersion, Vec<Fault>), Error> {
        match self.reload(name, Trigger::Resume).await? {
            Reload::Taken(version) | Reload::Unchanged(version) | Reload::Held(version) => Ok((version, Vec::new())),
            Reload::Refused(version, faults) => Ok((version, faults)),
        }
    }

    /// Takes the files of all realms as they are now, and of the policies that judge callers. What comes of it is in the
    /// log and in the status of each.
    pub async fn reload_all(&self) {
        let callers = self.callers().policies().map(|_| CALLERS_REALM);
        let names: Vec<&str> = self.realms().map(|state| state.name.as_str()).chain(callers).collect();
        for name in names {
            if let Err(error) = self.reload(name, Trigger::Signal).await {
                tracing::error!(realm = name, "reload failed: {error}");
            }
        }
    }

    /// Takes a realm's files as they are now, and those of the candidate for its shadow, if the configuration names one.
    ///
    /// # Errors
    /// An unknown realm, or policies that cannot be kept.
    pub(super) async fn reload(&self, name: &str, trigger: Trigger) -> Result<Reload, Error> {
        if let Some(policies) = self.callers().policies().filter(|_| name == caller::REALM) {
            return self.reload_subject(Subject::Callers(policies), trigger).await;
        }
        let state = self.realm(name)?;
        let reloaded = self.reload_subject(Subject::Realm(state), trigger).await;
        self.follow_shadow(state, trigger).await;
        reloaded
    }

    async fn reload_subject(&self, subject: Subject<'_>, trigger: Trigger) -> Result<Reload, Error> {
        let _alone = subject.alone().lock().await;
        if subject.standing().get().pin.is_some() && trigger != Trigger::Resume {
            return Ok(self.hold(subject, trigger).await);
        }
        let status = subject.standing().get();
        // Who asks wants to know what the files are worth now; a file that was touched says nothing new.
        let known = match trigger {
            Trigger::Files => {
                let refused = status.files_version.clone().filter(|_| status.is_refused());
                refused.into_iter().chain([subject.version()]).collect()
            }
            Trigger::Call | Trigger::Resume | Trigger::Signal => Vec::new(),
        };
        match self.candidate(subject, known).await {
            Candidate::Known(version) => Ok(subject.leave(&version)),
            Candidate::Faulty(version, faults) => Ok(subject.refuse(trigger, version, faults, self.clock.now_us())),
            Candidate::Good(realm, files) => self.take(subject, trigger, *realm, files).await,
        }
    }

    /// Reads the files and checks them, on a thread that may block.
    async fn candidate(&self, subject: Subject<'_>, known: Vec<PolicyVersion>) -> Candidate {
        let (source, realm) = (Arc::clone(&self.source), subject.realm());
        let read = tokio::task::spawn_blocking(move || read(&*source, realm.as_deref(), &known)).await;
        read.unwrap_or_else(|error| {
            let message = format!("the check of the files could not be finished: {error}");
            Candidate::Faulty(None, vec![Fault::in_file(subject.name(), message)])
        })
    }

    /// Lets good files decide.
    async fn take(
        &self,
        subject: Subject<'_>,
        trigger: Trigger,
        realm: Realm,
        files: RealmFiles,
    ) -> Result<Reload, Error> {
        let (version, seal) = (realm.version.clone(), files.seal.clone());
        match subject {
            Subject::Callers(policies) => policies.replace(realm, self.clock.now_us()),
            Subject::Realm(state) => {
                // What can't be kept must not decide: its decisions could not be made again.
                if let Err(error) = self.keep(state, files).await {
                    let fault = Fault::in_file(subject.name(), error.to_string());
                    subject.refuse(trigger, None, vec![fault], self.clock.now_us());
                    return Err(error.into());
                }
                self.swap(state, realm);
            }
        }
        let now_us = self.clock.now_us();
        subject.standing().change(|status| {
            status.attempted_at_us = Some(now_us);
            status.faults = Arc::default();
            status.files_version = Some(version.clone());
            status.pin = None;
            status.note_seal(seal.as_ref());
            status.counts.taken += 1;
        });
        let (realm, trigger) = (subject.name(), trigger.word());
        tracing::info!(realm, trigger, policy_version = %version, "policies reloaded");
        Ok(Reload::Taken(version))
    }

    /// Keeps files that are about to decide; no rollback stands from then on.
    async fn keep(&self, state: &RealmState, files: RealmFiles) -> Result<(), ArchiveError> {
        state.keep_policies(files, self.clock.now_us()).await?;
        if state.standing.get().pin.is_some() { state.set_pin(None).await } else { Ok(()) }
    }

    /// Lets other policies decide from the next request on.
    pub(super) fn swap(&self, state: &RealmState, realm: Realm) {
        self.keys.set_issuers(&state.name, &realm.file.issuers);
        if let Some(introspector) = &self.introspector {
            introspector.set_issuers(&state.name, &realm.file.issuers);
        }
        state.replace_policies(realm, self.clock.now_us());
        self.tokens.drop_realm(&state.name);
    }

    /// Leaves the files alone, but for what they are.
    async fn hold(&self, subject: Subject<'_>, trigger: Trigger) -> Reload {
        let (source, realm) = (Arc::clone(&self.source), subject.realm());
        let files_version = tokio::task::spawn_blocking(move || {
            let state = realm?;
            let files = source.read(&state.name).ok()?;
            Some(version_of(&files.files, state.variant.as_deref()))
        });
        let files_version = files_version.await.ok().flatten();
        subject.standing().change(|status| status.files_version = files_version);
        let (realm, version) = (subject.name(), subject.version());
        if trigger == Trigger::Signal {
            tracing::warn!(realm, policy_version = %version, "not reloaded, because a rollback stands");
        }
        Reload::Held(version)
    }
}

/// Reads files and checks them with their tests: those of a realm as it would run them, or those that judge callers.
/// Blocks.
fn read(source: &dyn RealmSource, state: Option<&RealmState>, known: &[PolicyVersion]) -> Candidate {
    let name = state.map_or_else(|| CALLERS_REALM.parse(), |state| Ok(state.name.clone()));
    let read = name.map_err(|error: RealmNameError| error.to_string()).and_then(|name| source.read(&name));
    let files = match read {
        Ok(files) => files,
        Err(message) => {
            let name = state.map_or(CALLERS_REALM, |state| state.name.as_str());
            return Candidate::Faulty(None, vec![Fault::in_file(name, message)]);
        }
    };
    let variant = state.and_then(|state| state.variant.as_deref());
    let version = version_of(&files.files, variant);
    if known.contains(&version) {
        return Candidate::Known(version);
    }
    match check(state, &files, variant) {
        Ok(realm) => Candidate::Good(Box::new(realm), files),
        Err(faults) => Candidate::Faulty(Some(version), faults),
    }
}

fn check(state: Option<&RealmState>, files: &RealmFiles, variant: Option<&str>) -> Result<Realm, Vec<Fault>> {
    let faults = faults_of(&files.files, variant);
    if !faults.is_empty() {
        return Err(faults);
    }
    let Some(state) = state else { return CallerPolicies::compile(&files.files) };
    state.refuse_older(files).map_err(|fault| vec![fault])?;
    state.compile(&files.files)
}

/// Files are not taken while a rollback stands.
fn held(version: &PolicyVersion) -> Error {
    let message = format!(
        "the realm was rolled back to {version}, which decides until `hallpass policies resume` lets its files decide again"
    );
    Error::new(Kind::FailedPrecondition, "POLICIES_ROLLED_BACK", message)
}
