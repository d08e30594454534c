//! Why a question is answered as it is, to the single condition: what each policy that could have applied asked and saw,
//! the relationships that an allow rests on, and what would turn a deny.
//!
//! Explaining stands beside deciding and never changes it: the same facts are gathered, the same conditions asked, and
//! nothing is kept. A decision that nobody wants explained pays nothing for it.
//!
//! Everything in an explanation is bounded. What the stored relationships say of a person or an item that the question
//! names shows only where it made something hold, so one that is out of reach looks as one that is not there.

mod look;
mod need;
mod path;

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::{Effect, EntityUid};

use self::look::{Look, policies, ruled_out};
use super::{
    access_request::{AccessRequest, Phase},
    ancestors::ancestors,
    decide::{Evaluation, decide, judge, prepared, shaped_by_profile},
    decision::{Outcome, Reason},
    explanation::guard,
    graph::Graph,
    id::EntityId,
    policy_set::{CompiledPolicy, PlanKey},
    principal::Principal,
    realm::Realm,
    value::Value,
};

/// The most policies that one list of an explanation shows.
pub const POLICIES_MAX: usize = 20;
/// The most conditions that are shown of a policy.
pub const CONJUNCTS_MAX: usize = 40;
/// The most values that are shown of a condition.
pub const VALUES_MAX: usize = 20;
/// The most members that are shown of a set.
pub const MEMBERS_MAX: usize = 10;
/// The most steps that are shown of a chain of relationships.
pub const HOPS_MAX: usize = 20;
/// The longest text of a condition or of a value, in characters.
pub const TEXT_CHARACTERS_MAX: usize = 1_000;

/// Whether people are shown whom neither the question nor the token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum People {
    /// By their ids.
    Named,
    /// Only their types: the id is `…`.
    Hidden,
}

/// Why a question is answered as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// How the decision came about.
    pub outcome: Outcome,
    /// Why no policy had a say, or why an allow could not be given: a profile, the configuration, an obligation.
    pub fault: Option<Reason>,
    /// What was looked at, in order; the last one decided.
    pub phases: Vec<PhaseSeen>,
    /// The permits that hold, the most important first.
    pub permits: Vec<PolicySeen>,
    /// The forbids that hold or could not be evaluated, the most important first.
    pub forbids: Vec<PolicySeen>,
    /// The permits whose scope takes the question and that do not hold, where none does.
    pub near_misses: Vec<PolicySeen>,
    /// How many policies are left out of these lists because they are too long.
    pub left_out: usize,
    /// Ids of people are left out whom neither the question nor the token names.
    pub hides_people: bool,
}

/// One look at the resource's values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PhaseSeen {
    /// Which values.
    pub phase: Phase,
    /// What came of it.
    pub outcome: Outcome,
    /// What the principal's claim set grants, in a realm with grants.
    pub grant: Option<GrantSeen>,
    /// What came of each strategy of the grant, in its order.
    pub strategies: Vec<StrategySeen>,
    /// The permits that the action or the grant rules out before any value is looked at.
    pub ruled_out: Vec<RuledOut>,
    /// How many policies are for other actions, principals or resources.
    pub out_of_scope: usize,
}

/// What a claim set grants for the action on the resource type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GrantSeen {
    /// The claim set's name; empty where the principal has none.
    pub claim_set: Arc<str>,
    /// It names the resource type, for whichever action.
    pub has_resource: bool,
    /// It grants the action.
    pub is_granted: bool,
    /// The claim on which the action is granted.
    pub granted_by: Option<Arc<str>>,
}

/// What came of a strategy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StrategyOutcome {
    /// A permit of its own holds.
    Permits,
    /// A forbid of its own holds.
    Forbids,
    /// A policy of its own could not be evaluated.
    Failed,
    /// It has permits of its own, and none of them holds.
    Unmet,
    /// It has forbids only, and none of them holds.
    Passed,
    /// No policy is for it alone.
    NoPolicy,
}

/// A strategy of the grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategySeen {
    /// Its name.
    pub name: Arc<str>,
    /// What came of it.
    pub outcome: StrategyOutcome,
    /// The policies that are for it alone: those that say so in their first clause.
    pub policies: Vec<Arc<str>>,
}

/// A permit that could not hold whatever the values are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuledOut {
    /// The policy's id.
    pub policy: Arc<str>,
    /// The condition that is not as it should be.
    pub text: Arc<str>,
    /// The condition must not hold.
    pub is_negated: bool,
    /// Where it stands.
    pub place: Place,
}

/// A place in a file of the realm; lines and columns count from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file, within the realm's folder.
    pub file: Arc<str>,
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// What came of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It is as the policy wants it.
    Held,
    /// It is not as the policy wants it. The conditions after it are asked for the explanation alone.
    NotHeld,
    /// It could not be evaluated.
    Failed,
    /// Nobody evaluates it, because it rests on one before that is not as it should be.
    NotReached,
}

/// A policy whose scope takes the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySeen {
    /// Its id.
    pub policy: Arc<str>,
    /// What it says, in its author's words.
    pub title: Arc<str>,
    /// Which values were looked at.
    pub phase: Phase,
    /// Whether it applies: held, not held or failed.
    pub state: State,
    /// The code of the reason that it gives, where it names one.
    pub reason: Option<Arc<str>>,
    /// Where it stands.
    pub place: Place,
    /// Its conditions, in the order in which they are asked.
    pub conjuncts: Vec<ConjunctSeen>,
}

/// A condition of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConjunctSeen {
    /// As it is written.
    pub text: Arc<str>,
    /// It must not hold: it stands under `unless` or `!`.
    pub is_negated: bool,
    /// Where it stands.
    pub place: Place,
    /// What came of it.
    pub state: State,
    /// The values that it saw, by the paths that it mentions.
    pub values: Vec<ValueSeen>,
    /// Of one that is not as it should be, why: one sentence each, without a full stop.
    pub missing: Vec<Arc<str>>,
    /// The chains of relationships that make its `in` hold.
    pub chains: Vec<Chain>,
}

/// A value that a condition saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueSeen {
    /// The path, for example `resource.student`.
    pub path: Arc<str>,
    /// The value, `None` where there is none. Of a set its first [`MEMBERS_MAX`] members.
    pub value: Option<Value>,
    /// How many members a set has; 0 for other values.
    pub members: usize,
}

/// A shortest chain of relationships from an entity to what contains it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// Where it starts.
    pub from: EntityId,
    /// Its steps; none where the entity is the very one that was asked for.
    pub hops: Vec<Hop>,
}

/// One step upwards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What makes it.
    pub by: By,
    /// Where it leads.
    pub to: EntityId,
}

/// What makes an entity contain another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// A relationship of this relation.
    Relation(Arc<str>),
    /// A relationship of this relation that is remembered.
    Past(Arc<str>),
    /// The token says so.
    Token,
    /// The id begins with it.
    Prefix,
    /// The id is a path that lies in it.
    Path,
}

/// Explains the decision of a question, people by their ids. See [`explain_to`].
pub fn explain(realm: &Realm, principal: &Principal, request: &AccessRequest, graph: &Graph) -> Explanation {
    explain_to(People::Named, realm, principal, request, graph)
}

/// Explains the decision of a question: what [`decide`] answers, and why.
pub fn explain_to(
    people: People,
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    graph: &Graph,
) -> Explanation {
    let decision = decide(realm, principal, request, graph);
    let mut explanation = Explanation {
        outcome: decision.outcome,
        fault: None,
        phases: Vec::new(),
        permits: Vec::new(),
        forbids: Vec::new(),
        near_misses: Vec::new(),
        left_out: 0,
        hides_people: people == People::Hidden,
    };
    let fault = |explanation: &mut Explanation| explanation.fault = decision.reasons.first().cloned();
    let Ok(shaped) = shaped_by_profile(realm, principal, request) else {
        fault(&mut explanation);
        return explanation;
    };
    let asked = shaped.as_ref().unwrap_or(request);
    let names = Names::new(people, realm, principal, asked);
    for values in &asked.phases {
        let looked = prepared(realm, principal, asked, values, graph, |evaluation| {
            let look = Look { evaluation, graph, names: &names };
            explanation.add_phase(&look)
        });
        match looked {
            Ok(Outcome::Allowed) => {}
            Ok(_) => return explanation,
            Err(_) => {
                fault(&mut explanation);
                return explanation;
            }
        }
    }
    if decision.outcome != Outcome::Allowed {
        fault(&mut explanation);
    }
    explanation
}

impl Explanation {
    /// Adds what one phase shows, and says what came of it.
    fn add_phase(&mut self, look: &Look<'_>) -> Outcome {
        let evaluation = look.evaluation;
        let outcome = judge(evaluation).0;
        let in_scope = in_scope(evaluation, look.graph);
        let (asked, settled): (Vec<usize>, Vec<usize>) =
            in_scope.iter().partition(|index| evaluation.candidates.indexes.contains(index));
        let seen = policies(look, &asked);
        self.phases.push(PhaseSeen {
            phase: evaluation.values.phase,
            outcome,
            grant: evaluation.grant.map(|grant| GrantSeen {
                claim_set: evaluation.principal.claim_set.clone().unwrap_or_default(),
                has_resource: grant.has_resource,
                is_granted: grant.is_granted,
                granted_by: grant.granted_by.clone(),
            }),
            strategies: strategies(evaluation, &seen),
            ruled_out: ruled_out(evaluation, &settled),
            out_of_scope: evaluation.realm.policies.len().saturating_sub(in_scope.len()),
        });
        let permits_hold = seen.iter().any(|(policy, seen)| is(policy, Effect::Permit) && seen.state == State::Held);
        for (policy, seen) in seen {
            let list = match (policy.effect, seen.state) {
                (Effect::Forbid, State::Held | State::Failed) => &mut self.forbids,
                (Effect::Permit, State::Held) => &mut self.permits,
                (Effect::Permit, _) if !permits_hold => &mut self.near_misses,
                _ => continue,
            };
            if list.len() < POLICIES_MAX { list.push(seen) } else { self.left_out += 1 }
        }
        outcome
    }
}

fn is(policy: &CompiledPolicy, effect: Effect) -> bool {
    policy.effect == effect
}

/// The places of the policies whose scopes take the question.
fn in_scope(evaluation: &Evaluation<'_>, graph: &Graph) -> Vec<usize> {
    let Evaluation { realm, principal, request, .. } = evaluation;
    let key = PlanKey {
        action: Arc::clone(&request.action),
        principal_type: Arc::clone(&principal.entity.entity_type),
        resource_type: Arc::clone(&request.resource_type.entity),
        grant: 0,
    };
    let lineage = |entity: &EntityId| -> Vec<EntityUid> {
        let own = realm.cedar_types.uid(&entity.entity_type, &entity.id);
        own.into_iter().chain(ancestors(realm, principal, graph, entity)).collect()
    };
    realm.policies.in_scope(&key, &lineage(&principal.entity), &lineage(&request.resource))
}

/// What came of each strategy of the grant.
fn strategies(evaluation: &Evaluation<'_>, seen: &[(&CompiledPolicy, PolicySeen)]) -> Vec<StrategySeen> {
    let strategies = evaluation.grant.into_iter().flat_map(|grant| &grant.strategies);
    let strategies = strategies.map(|name| {
        let own: Vec<_> = seen.iter().filter(|(policy, _)| guard(policy) == Some(name)).collect();
        let some = |effect, state| own.iter().any(|(policy, seen)| policy.effect == effect && seen.state == state);
        let outcome = if some(Effect::Forbid, State::Held) {
            StrategyOutcome::Forbids
        } else if some(Effect::Forbid, State::Failed) || some(Effect::Permit, State::Failed) {
            StrategyOutcome::Failed
        } else if some(Effect::Permit, State::Held) {
            StrategyOutcome::Permits
        } else if own.iter().any(|(policy, _)| is(policy, Effect::Permit)) {
            StrategyOutcome::Unmet
        } else if own.is_empty() {
            StrategyOutcome::NoPolicy
        } else {
            StrategyOutcome::Passed
        };
        let policies = own.iter().take(POLICIES_MAX).map(|(policy, _)| Arc::clone(&policy.id)).collect();
        StrategySeen { name: Arc::clone(name), outcome, policies }
    });
    strategies.collect()
}

/// What people are called in an explanation.
#[derive(Debug)]
struct Names<'a> {
    realm: &'a Realm,
    people: People,
    /// The ids that the question and the token name.
    known: BTreeSet<Arc<str>>,
}

impl<'a> Names<'a> {
    fn new(people: People, realm: &'a Realm, principal: &Principal, request: &AccessRequest) -> Self {
        let mut known: BTreeSet<Arc<str>> =
            [&principal.entity.id, &request.resource.id, &request.resource_id].into_iter().cloned().collect();
        let given = request.phases.iter().flat_map(|phase| phase.values.iter().flatten());
        let given = given.chain(request.context.iter().map(|(_, value)| value));
        for value in given.chain(principal.attributes.iter().map(|(_, value)| value)) {
            add_ids(value, &mut known);
        }
        Self { realm, people, known }
    }

    /// The entity as it may be shown.
    fn entity(&self, entity: &EntityId) -> EntityId {
        let is_hidden = self.people == People::Hidden
            && self.realm.relations.is_person(&entity.entity_type)
            && !self.known.contains(&entity.id);
        if is_hidden { EntityId::new(Arc::clone(&entity.entity_type), "…") } else { entity.clone() }
    }
}

fn add_ids(value: &Value, ids: &mut BTreeSet<Arc<str>>) {
    match value {
        Value::Entity(entity) => drop(ids.insert(Arc::clone(&entity.id))),
        Value::List(items) => items.iter().for_each(|item| add_ids(item, ids)),
        Value::Record(fields) => fields.iter().for_each(|(_, field)| add_ids(field, ids)),
        Value::Bool(_) | Value::Long(_) | Value::String(_) | Value::Null => {}
    }
}
