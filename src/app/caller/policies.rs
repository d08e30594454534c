//! The policies that say what callers may do: a realm of their own, loaded, tested and reloaded like every other.

use std::{
    hash::Hash,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use foldhash::fast::RandomState;
use quick_cache::{
    Equivalent, UnitWeighter,
    sync::{Cache, DefaultLifecycle},
};
use serde_json::{Map, Value as Json, json};
use tokio::sync::Mutex;

use super::{Identified, POLICIES_TYPE, REALM, RESOURCE_TYPE, Reading, Right};
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
        id::EntityId,
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
    /// Counts what was loaded.
    generation: AtomicU64,
    /// What was allowed, as long as the policies are those that allowed it.
    allowed: Cache<Allowed, (), UnitWeighter, RandomState>,
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
            generation: AtomicU64::new(0),
            allowed: allowed(),
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
        // After that, so that nothing of before is remembered as of now.
        self.generation.fetch_add(1, Ordering::AcqRel);
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
        let identified = match identified {
            Ok(identified) => identified,
            Err(reason) => return self.unknown(reason),
        };
        let context = context(state, reading);
        let resource_type = reading.about.resource_type();
        self.judge_as(identified, |decided| {
            let question = |action: &str| question(action, resource_type, name, context.clone());
            let texts = match decided(&question(READ_TEXTS)).outcome.effect() {
                Effect::Allow => Texts::Shown,
                Effect::Deny => Texts::Hidden,
            };
            (decided(&question(reading.action)), texts)
        })
    }

    /// What comes of a call of nobody who is known.
    pub(super) fn unknown(&self, reason: Reason) -> Judged {
        let decision = refuse(&self.loaded().realm, Outcome::Unauthenticated, reason);
        Judged { caller: None, principal: None, decision, texts: Texts::Hidden }
    }

    /// Whether a caller may do this in the realm of this name, as the policies were found to say before.
    pub(super) fn is_known_to_allow(&self, identified: Identified<'_>, name: &str, right: Right) -> bool {
        let generation = self.generation.load(Ordering::Acquire);
        self.allowed.get(&AllowedOf { generation, right, caller: identified.name(), realm: name }).is_some()
    }

    /// What the policies say of a right in the realm of this name; empty for the service as a whole.
    pub(super) fn judge_right(&self, identified: Identified<'_>, name: &str, right: Right) -> Judged {
        let generation = self.generation.load(Ordering::Acquire);
        let question = question(right.name(), right.resource_type(), name, Attributes::default());
        let judged = self.judge_as(identified, |decided| (decided(&question), Texts::Hidden));
        if judged.decision.outcome.effect() == Effect::Allow {
            let caller = identified.shared_name();
            self.allowed.insert(Allowed { generation, right, caller, realm: name.into() }, ());
        }
        judged
    }

    /// Lets the policies judge questions of a caller. Whatever goes wrong on the way denies.
    fn judge_as(
        &self,
        identified: Identified<'_>,
        judge: impl FnOnce(&dyn Fn(&Question) -> Decision) -> (Decision, Texts),
    ) -> Judged {
        let loaded = self.loaded();
        let realm = &loaded.realm;
        let caller = Some(identified.shared_name());
        let refused = |message: String| refuse(realm, Outcome::Indeterminate, Reason::plain("POLICY_ERROR", message));
        let principal = match Principal::from_claims(realm, &claims(identified)) {
            Ok(principal) => principal,
            Err(error) => {
                let decision = refused(error.to_string());
                return Judged { caller, principal: None, decision, texts: Texts::Hidden };
            }
        };
        let (decision, texts) = judge(&|question| match AccessRequest::check(realm, question) {
            Ok(request) => decide(realm, &principal, &request, &Graph::new()),
            Err(_) => refused(format!(
                "the policies do not know the call `{}`: the schema of the realm `hallpass` has no such action",
                question.action
            )),
        });
        let named = (principal.entity.clone(), Arc::clone(&principal.attributes));
        Judged { caller, principal: Some(named), decision, texts }
    }
}

/// About how many answers are remembered.
const ALLOWED_MAX: usize = 65_536;

fn allowed() -> Cache<Allowed, (), UnitWeighter, RandomState> {
    Cache::with(ALLOWED_MAX, ALLOWED_MAX as u64, UnitWeighter, RandomState::default(), DefaultLifecycle::default())
}

/// What policies have allowed.
#[derive(Debug, PartialEq, Eq, Hash)]
struct Allowed {
    generation: u64,
    right: Right,
    caller: Arc<str>,
    realm: Arc<str>,
}

/// The same for looking up; hashes as [`Allowed`] does, field by field.
#[derive(Hash)]
struct AllowedOf<'a> {
    generation: u64,
    right: Right,
    caller: &'a str,
    realm: &'a str,
}

impl Equivalent<Allowed> for AllowedOf<'_> {
    fn equivalent(&self, key: &Allowed) -> bool {
        let Allowed { generation, right, caller, realm } = key;
        *generation == self.generation && *right == self.right && **caller == *self.caller && **realm == *self.realm
    }
}

/// What a caller would say of itself in a token.
fn claims(identified: Identified<'_>) -> Map<String, Json> {
    let (roles, realms) = (identified.roles(), identified.realms());
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

/// The id of what is no realm's.
pub(super) const SERVICE_ID: &str = "service";

/// A question about the realm of this name; empty for the service as a whole.
fn question(action: &str, resource_type: &str, realm: &str, context: Attributes) -> Question {
    let named = (!realm.is_empty()).then(|| (Arc::from("realm"), Value::String(realm.into())));
    Question {
        action: action.into(),
        resource_type: resource_type.into(),
        resource_id: if realm.is_empty() { SERVICE_ID.into() } else { realm.into() },
        attributes: Some(named.into_iter().collect()),
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
    let of_logs_and_policies =
        of_logs.chain(of_policies).map(|(action, resource_type)| (action, resource_type, &context));
    let plain = Attributes::default();
    let rights = Right::ALL.into_iter().map(|right| (right.name(), right.resource_type(), &plain));
    for (action, resource_type, context) in of_logs_and_policies.chain(rights) {
        if let Err(found) = AccessRequest::check(realm, &question(action, resource_type, REALM, context.clone())) {
            let found: Vec<String> = found.into_iter().map(|fault| fault.message).collect();
            let message = format!("calls of `{action}` on a `{resource_type}` cannot be judged: {}", found.join("; "));
            faults.push(Fault::in_file("schema.cedarschema", message));
        }
    }
    faults
}
