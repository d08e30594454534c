//! The policies that say what callers may do: a realm of their own, loaded, tested and reloaded like every other.

use std::sync::Arc;

use arc_swap::ArcSwap;
use serde_json::{Map, Value as Json, json};
use tokio::sync::Mutex;

use super::{ADMIN_ROLES, Identified, POLICIES_TYPE, REALM, RESOURCE_TYPE, Reading};
use crate::{
    app::{
        decisions::Texts,
        policies::status::{PolicyStatus, Standing},
        realm_state::{LoadedRealm, RealmState},
    },
    domain::{
        access_request::{AccessRequest, Question},
        decide::{decide, refuse},
        decision::{Decision, Effect, Outcome, Reason},
        fault::Fault,
        graph::Graph,
        id::{EntityId, RealmName},
        policy_set::SourceFile,
        principal::Principal,
        realm::Realm,
        value::{Attributes, Value},
    },
};

/// The right, within a call, to read what people wrote.
const READ_TEXTS: &str = "ReadTexts";

/// What the policies must know: the methods of the services that read the log and do something to it, and the rights
/// within them.
pub(super) const ACTIONS: [&str; 15] = [
    "QueryDecisions",
    "GetDecision",
    "TailDecisions",
    "ExportDecisions",
    "ReplayDecisions",
    "GetLogStatus",
    "GetCheckpoint",
    "ProveInclusion",
    "ProveConsistency",
    "PlanRetention",
    "ErasePerson",
    "SetLegalHold",
    "ListLegalHolds",
    "ResolvePseudonyms",
    READ_TEXTS,
];

/// The same of what is done to a realm's policies, and with candidates for them.
pub(super) const POLICY_ACTIONS: [&str; 6] =
    ["ReloadPolicies", "RollbackPolicies", "ResumePolicies", "StartShadow", "StopShadow", "GetShadow"];

/// The policies at work. Readers take them once and keep them for the whole call.
#[derive(Debug)]
pub struct CallerPolicies {
    loaded: ArcSwap<LoadedRealm>,
    /// How those stand to the files.
    pub(in crate::app) standing: Standing,
    /// Held from the reading of the files until they count.
    pub(in crate::app) reloads: Mutex<()>,
}

/// A call with what the policies say of it.
#[derive(Clone, Debug)]
pub(super) struct Judged {
    /// Who makes it; `None` where nobody knows.
    pub(super) caller: Option<Arc<str>>,
    /// The same as the log names it, with roles and realms.
    pub(super) principal: Option<(EntityId, Arc<Attributes>)>,
    /// The decision.
    pub(super) decision: Decision,
    /// Whether it may show what people wrote.
    pub(super) texts: Texts,
}

impl CallerPolicies {
    /// Puts the files of the realm to work.
    ///
    /// # Errors
    /// Every fault; also calls that the files do not know.
    pub fn start(files: &[SourceFile], now_us: i64) -> Result<Self, Vec<Fault>> {
        let realm = Self::compile(files)?;
        let files_version = Some(realm.version.clone());
        Ok(Self {
            loaded: ArcSwap::from_pointee(LoadedRealm { realm, loaded_at_us: now_us }),
            standing: Standing::new(PolicyStatus { files_version, ..PolicyStatus::default() }),
            reloads: Mutex::default(),
        })
    }

    /// Compiles files as they would judge callers.
    ///
    /// # Errors
    /// Those of [`CallerPolicies::start`].
    pub fn compile(files: &[SourceFile]) -> Result<Realm, Vec<Fault>> {
        let realm = Realm::compile(files, None)?;
        let faults = faults_of_fit(&realm);
        if faults.is_empty() { Ok(realm) } else { Err(faults) }
    }

    /// The policies that judge now.
    pub fn loaded(&self) -> Arc<LoadedRealm> {
        self.loaded.load_full()
    }

    /// How the policies that judge stand to their files.
    pub fn status(&self) -> Arc<PolicyStatus> {
        self.standing.get()
    }

    pub(in crate::app) fn replace(&self, realm: Realm, now_us: i64) {
        self.loaded.store(Arc::new(LoadedRealm { realm, loaded_at_us: now_us }));
    }

    /// What the policies say of a call about the realm of this name; of the policies that judge callers there is no state.
    /// Whatever goes wrong on the way denies.
    pub(super) fn judge(
        &self,
        identified: Result<Identified<'_>, Reason>,
        name: &str,
        state: Option<&RealmState>,
        reading: &Reading<'_>,
    ) -> Judged {
        let loaded = self.loaded();
        let realm = &loaded.realm;
        let identified = match identified {
            Ok(identified) => identified,
            Err(reason) => {
                let decision = refuse(realm, Outcome::Unauthenticated, reason);
                return Judged { caller: None, principal: None, decision, texts: Texts::Hidden };
            }
        };
        let caller = Some(Arc::from(identified.name()));
        let refused = |message: String| refuse(realm, Outcome::Indeterminate, Reason::plain("POLICY_ERROR", message));
        let principal = match Principal::from_claims(realm, &claims(identified)) {
            Ok(principal) => principal,
            Err(error) => {
                let decision = refused(error.to_string());
                return Judged { caller, principal: None, decision, texts: Texts::Hidden };
            }
        };
        let context = context(state, reading);
        let resource_type = reading.about.resource_type();
        let decided = |action: &str| {
            let question = question(action, resource_type, name, context.clone());
            match AccessRequest::check(realm, &question) {
                Ok(request) => decide(realm, &principal, &request, &Graph::new()),
                Err(_) => refused(format!(
                    "the policies do not know the call `{action}`: the schema of the realm `hallpass` has no such action"
                )),
            }
        };
        let decision = decided(reading.action);
        let texts = match decided(READ_TEXTS).outcome.effect() {
            Effect::Allow => Texts::Shown,
            Effect::Deny => Texts::Hidden,
        };
        let named = (principal.entity.clone(), Arc::clone(&principal.attributes));
        Judged { caller, principal: Some(named), decision, texts }
    }
}

/// What a caller would say of itself in a token.
fn claims(identified: Identified<'_>) -> Map<String, Json> {
    let (roles, realms): (Vec<&str>, Vec<&str>) = match identified {
        Identified::Admin => (ADMIN_ROLES.to_vec(), Vec::new()),
        Identified::Known(caller) => {
            (caller.roles.iter().map(|role| &**role).collect(), caller.realms.iter().map(RealmName::as_str).collect())
        }
    };
    let claims = [("name", json!(identified.name())), ("roles", json!(roles)), ("realms", json!(realms))];
    claims.into_iter().map(|(name, claim)| (name.to_owned(), claim)).collect()
}

fn context(state: Option<&RealmState>, reading: &Reading<'_>) -> Attributes {
    let people = state.is_some_and(|state| reading.names_people(state));
    let flags = [("full", reading.is_full()), ("names", reading.names), ("people", people)];
    let purpose =
        (!reading.purpose.is_empty()).then(|| (Arc::from("purpose"), Value::String(Arc::clone(&reading.purpose))));
    let flags = flags.into_iter().map(|(name, value)| (Arc::from(name), Value::Bool(value)));
    flags.chain(purpose).collect()
}

fn question(action: &str, resource_type: &str, realm: &str, context: Attributes) -> Question {
    let attributes = [(Arc::from("realm"), Value::String(realm.into()))].into_iter().collect();
    Question {
        action: action.into(),
        resource_type: resource_type.into(),
        resource_id: realm.into(),
        attributes: Some(attributes),
        context,
        ..Question::default()
    }
}

/// What is missing for calls to be judged at all: each would be refused.
fn faults_of_fit(realm: &Realm) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Err(error) = Principal::from_claims(realm, &claims(Identified::Admin)) {
        let message = format!("callers have the claims `name`, `roles` and `realms` only: {error}");
        faults.push(Fault::in_file("realm.toml", message));
    }
    let context: Attributes = [
        ("full", Value::Bool(false)),
        ("names", Value::Bool(false)),
        ("people", Value::Bool(false)),
        ("purpose", Value::String("why".into())),
    ]
    .into_iter()
    .map(|(name, value)| (Arc::from(name), value))
    .collect();
    let of_logs = ACTIONS.into_iter().map(|action| (action, RESOURCE_TYPE));
    let of_policies = POLICY_ACTIONS.into_iter().map(|action| (action, POLICIES_TYPE));
    for (action, resource_type) in of_logs.chain(of_policies) {
        if let Err(found) = AccessRequest::check(realm, &question(action, resource_type, REALM, context.clone())) {
            let found: Vec<String> = found.into_iter().map(|fault| fault.message).collect();
            let message = format!("calls of `{action}` on a `{resource_type}` cannot be judged: {}", found.join("; "));
            faults.push(Fault::in_file("schema.cedarschema", message));
        }
    }
    faults
}
