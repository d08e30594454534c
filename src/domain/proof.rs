//! Proofs about policies: what is claimed of them for every request at once, as formulas that a solver answers.
//!
//! [`Rules`] are the policies of a realm with the [`invariant`]s that their authors wrote beside them. A [`claim`] holds in
//! a kind of request (a principal's type, an action, a resource's type), or there is a [`counterexample`]. The formulas are
//! those of Cedar's own symbolic compiler, over every request and all facts that fit the schema. Nothing here talks to a
//! solver.
//!
//! Cedar skips a forbid that fails to evaluate, and a decision of this service denies then. So what is never allowed there
//! is never allowed here; where a claim says that something *is* allowed, it asks besides that no forbid fails.

pub mod claim;
pub mod counterexample;
pub mod invariant;
mod shrink;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, str::FromStr as _, sync::Arc};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet as CedarPolicySet, RequestEnv};

use self::invariant::Invariant;
use super::{
    cedar::{Condition, ConditionError, Situation},
    fault::{Code, Fault},
    policy_set::SourceFile,
    realm::Realm,
    schema::RealmSchema,
};

/// The policies of a realm's files and what is claimed of them, ready to be asked about.
#[derive(Debug)]
pub struct Rules {
    schema: RealmSchema,
    policies: Vec<Rule>,
    /// All policies, as Cedar has them.
    whole: CedarPolicySet,
    /// For every forbid a permit of the same requests.
    forbidden: CedarPolicySet,
    invariants: Vec<Invariant>,
}

/// One policy.
#[derive(Debug)]
struct Rule {
    id: Arc<str>,
    effect: Effect,
    policy: Policy,
    condition: Condition,
    /// Where it stands, as a fault without a message.
    place: Fault,
}

/// A kind of request: the types of principal and resource, and the action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kind(RequestEnv);

/// What the policies say of one request, as a decision would.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// It is allowed.
    pub is_allowed: bool,
    /// The policies that permit it.
    pub permits: Vec<Arc<str>>,
    /// The policies that forbid it.
    pub forbids: Vec<Arc<str>>,
    /// The policies that fail to evaluate.
    pub failed: Vec<Arc<str>>,
}

impl Rules {
    /// Takes the policies and invariants from a realm's files.
    ///
    /// # Errors
    /// Every fault of the files, as [`Realm::compile`] finds them.
    pub fn compile(files: &[SourceFile]) -> Result<Self, Vec<Fault>> {
        let Realm { schema, .. } = Realm::compile(files, None)?;
        let invariants = invariant::parse(files, &schema)?;
        let mut policies = Vec::new();
        for file in files.iter().filter(|file| file.is_policy_file()) {
            let parsed = CedarPolicySet::from_str(&file.content)
                .map_err(|error| Fault::of_cedar(&file.path, &file.content, Code::Syntax, &error))?;
            let mut in_file: Vec<(usize, &Policy)> =
                parsed.policies().map(|policy| (start(policy).unwrap_or_default(), policy)).collect();
            in_file.sort_by_key(|(start, _)| *start);
            for (start, policy) in in_file {
                let place = Fault::at(&file.path, &file.content, Some(start..start), "");
                policies.push(Rule::of(policy, place).map_err(|fault| vec![fault])?);
            }
        }
        let whole = set(policies.iter().map(|rule| rule.policy.clone()));
        let forbids = policies.iter().filter(|rule| rule.effect == Effect::Forbid);
        let forbidden = set(forbids.filter_map(|rule| as_permit(&rule.policy)));
        Ok(Self { schema, policies, whole, forbidden, invariants })
    }

    /// How many policies there are.
    pub fn len(&self) -> usize {
        self.policies.len()
    }

    /// There are no policies.
    pub fn is_empty(&self) -> bool {
        self.policies.is_empty()
    }

    /// What the authors claim, in the order of the files.
    pub fn invariants(&self) -> &[Invariant] {
        &self.invariants
    }

    /// The kinds of requests that the schema has, in order of their names.
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds: BTreeMap<String, Kind> = BTreeMap::new();
        for kind in self.schema.cedar.request_envs().map(Kind) {
            kinds.insert(kind.to_string(), kind);
        }
        kinds.into_values().collect()
    }

    /// What the policies say in a situation: a forbid that holds or fails denies, and then a permit that holds allows.
    fn verdict(&self, situation: &Situation<'_>) -> Verdict {
        let mut verdict = Verdict::default();
        let mut forbid_failed = false;
        for Rule { id, effect, condition, .. } in &self.policies {
            let found = match (effect, situation.holds(condition)) {
                (_, Ok(false)) => continue,
                (Effect::Permit, Ok(true)) => &mut verdict.permits,
                (Effect::Forbid, Ok(true)) => &mut verdict.forbids,
                (effect, Err(ConditionError)) => {
                    forbid_failed |= *effect == Effect::Forbid;
                    &mut verdict.failed
                }
            };
            found.push(Arc::clone(id));
        }
        verdict.is_allowed = !forbid_failed && verdict.forbids.is_empty() && !verdict.permits.is_empty();
        verdict
    }
}

impl Rule {
    fn of(policy: &Policy, place: Fault) -> Result<Self, Fault> {
        let id: Arc<str> = policy.annotation("id").unwrap_or_default().into();
        let policy = policy.new_id(PolicyId::new(&*id));
        let condition = placeless(&policy).map_err(|message| Fault { message, ..place.clone() })?;
        Ok(Self { effect: policy.effect(), condition, id, policy, place })
    }
}

/// The condition of a policy without places in the file, which the evaluator would copy for every value on its way.
fn placeless(policy: &Policy) -> Result<Condition, String> {
    let said = |error: &dyn std::fmt::Display| format!("the policy has no JSON form: {error}");
    let json = policy.to_json().map_err(|error| said(&error))?;
    Policy::from_json(None, json).map(|policy| Condition::of(&policy)).map_err(|error| said(&error))
}

/// A permit of what the policy forbids.
fn as_permit(policy: &Policy) -> Option<Policy> {
    let mut json = policy.to_json().ok()?;
    *json.get_mut("effect")? = "permit".into();
    Policy::from_json(Some(policy.id().clone()), json).ok()
}

/// The policies as a set; of two with the same id one is left, and ids differ.
fn set(policies: impl Iterator<Item = Policy>) -> CedarPolicySet {
    let mut whole = CedarPolicySet::new();
    for policy in policies {
        let added = whole.add(policy);
        debug_assert!(added.is_ok(), "policy ids differ");
    }
    whole
}

fn start(policy: &Policy) -> Option<usize> {
    let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
    inner.loc().map(cedar_policy_core::parser::Loc::start)
}

/// Writes the kind as `Client Read Resource`.
impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.0.principal(), self.0.action().id().unescaped(), self.0.resource())
    }
}
