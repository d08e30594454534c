//! A shadow of the folder that the configuration names: started with the service, and anew when the folder changes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{ShadowStart, checked};
use crate::{
    app::{App, policies::reload::Trigger, realm_state::RealmState},
    domain::{fault::Fault, id::PolicyVersion, realm::version_of},
};

/// Who started a shadow of the folder that the configuration names.
const BY: &str = "configuration";

/// What a followed folder was when it was last looked at.
#[derive(Debug, Default)]
pub(super) struct Followed(Mutex<Tried>);

/// What was tried last.
#[derive(Debug, Default)]
struct Tried {
    version: Option<PolicyVersion>,
    faults: Arc<Vec<Fault>>,
}

impl Followed {
    /// The faults of the folder.
    pub(super) fn faults(&self) -> Arc<Vec<Fault>> {
        Arc::clone(&self.tried().faults)
    }

    /// Notes what was tried; whether the faults are other ones than before.
    fn note(&self, version: Option<PolicyVersion>, faults: Vec<Fault>) -> bool {
        let mut tried = self.tried();
        let is_news = *tried.faults != faults;
        *tried = Tried { version, faults: Arc::new(faults) };
        is_news
    }

    fn has_tried(&self, version: &PolicyVersion) -> bool {
        self.tried().version.as_ref() == Some(version)
    }

    fn tried(&self) -> MutexGuard<'_, Tried> {
        // Nothing in here panics while it holds the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl App {
    /// Starts the shadows that the configuration asks for. What is wrong with a candidate is in the log and in the status of
    /// the realm's shadow.
    pub async fn follow_shadows(&self) {
        for state in self.realms() {
            self.follow_shadow(state, Trigger::Signal).await;
        }
    }

    /// Lets the folder that the configuration names, if it names one, decide in the realm's shadow as it is now. Files that
    /// were only looked at and are those that were tried last change nothing: whoever stopped the shadow, or started
    /// another, meant it.
    pub(crate) async fn follow_shadow(&self, state: &Arc<RealmState>, trigger: Trigger) {
        let (source, realm) = (Arc::clone(&self.source), state.name.clone());
        let Ok(Some(read)) = tokio::task::spawn_blocking(move || source.candidate(&realm)).await else { return };
        let (slot, realm) = (&state.shadow, &state.name);
        let _alone = slot.alone.lock().await;
        let (version, faults) = match read {
            Err(message) => (None, vec![Fault::in_file(realm.as_str(), message)]),
            Ok(files) => {
                let version = version_of(&files, state.variant.as_deref());
                let is_at_work = slot.report().is_some_and(|report| report.version == version);
                if is_at_work || trigger == Trigger::Files && slot.followed.has_tried(&version) {
                    return;
                }
                let started = match checked(state, files).await {
                    Ok((ShadowStart { faults, .. }, None)) => Ok(faults),
                    Ok((_, Some(candidate))) => self.run_shadow(state, candidate, &BY.into()).map(|()| Vec::new()),
                    Err(error) => Err(error),
                };
                (Some(version), started.unwrap_or_else(|error| vec![Fault::in_file(realm.as_str(), error.message)]))
            }
        };
        if slot.followed.note(version, faults) {
            for Fault { file, line, column, message, .. } in slot.followed.faults().iter() {
                tracing::warn!(%realm, file, line, column, "shadow refused: {message}");
            }
        }
    }
}
