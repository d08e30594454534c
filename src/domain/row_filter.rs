//! The row filter: for which values of a resource a decision will allow, so that an API can put it into the query that
//! makes a list.
//!
//! A question without values is asked like any other: the same grant, the same plan, the same facts. Then every candidate
//! policy is evaluated with the resource's values unknown ([`symbolic`]); what remains of the conditions are tests of
//! single values. A resource passes where every forbid is false and some permit is true: a forbid that fails refuses, a
//! permit that fails doesn't help, as [`decide`](super::decide) has it. What can't be said in such tests makes the whole
//! filter [`Answer::Inexpressible`]; there is no filter that is nearly right.
//!
//! Cedar has a partial evaluator of its own. Its residuals keep what failed as it was and don't know that an attribute
//! that is missing makes an expression fail, so they would have to be evaluated once more for every combination of values
//! that may be missing. Here a missing value is a case like the others; whatever doesn't depend on the resource's values is
//! left to Cedar's evaluator.

mod formula;
mod obligation;
mod place;
mod reach;
mod symbolic;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use cedar_policy::Effect;

use self::symbolic::{Symbolic, Verdict};
use super::{
    access_request::{AccessRequest, Phase, PhaseValues},
    ancestors::ancestors,
    decide::{Evaluation, denied, prepared, shaped_by_profile, supported},
    decision::{Decision, Obligation, Outcome},
    explanation::{self, Explained},
    graph::Graph,
    id::EntityId,
    obligations::obligations,
    principal::Principal,
    realm::Realm,
    resource_type::ResourceType,
    schema::AttributeType,
    value::Value,
};

pub use self::obligation::{EXPANDED_IDS_MAX, ROW_FILTER, obligation};

/// A condition on the values of a resource.
///
/// In its normal form, which [`row_filter`] answers in: no list holds a list of its own kind, [`Filter::All`] or
/// [`Filter::None`]; every list has two parts or more, sorted; [`Filter::Not`] holds a single test.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Filter {
    /// Every resource passes.
    All,
    /// No resource passes.
    None,
    /// Those pass whose value passes the test.
    Is(Test),
    /// Those pass that pass all of these.
    AllOf(Vec<Filter>),
    /// Those pass that pass any of these.
    AnyOf(Vec<Filter>),
    /// Those pass that don't pass this.
    Not(Box<Filter>),
}

/// A test of one of a resource's values. None holds where there is no value, so [`Filter::Not`] of any lets such a
/// resource pass.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Test {
    /// The place among the resource type's subjects.
    pub subject: usize,
    /// The links that lead from the value to what is tested: the entities of the same id and other types.
    pub links: Vec<Arc<str>>,
    /// What is tested.
    pub condition: Condition,
}

/// What a value must be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// There is a value.
    HasValue,
    /// It is one of these entities, or one of them contains it. Never empty.
    Within(Vec<EntityId>),
    /// It is this entity, or contains it.
    Contains(EntityId),
    /// It is one of these values, sorted, each once. Never empty.
    OneOf(Vec<Value>),
    /// It is a set with one of these members, sorted, each once. Never empty.
    Includes(Vec<Value>),
}

/// What can be said of all resources of a type at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// None of them can pass, for a reason that has nothing to do with their values: the denial of each.
    Refused(Box<Decision>),
    /// Those pass that the filter lets through.
    Filtered(Filter),
    /// The policies ask what no filter can say: each resource must be decided by itself.
    Inexpressible,
}

/// For which stored values of its resource type a request would be allowed. The request's own values, its resource's id
/// and its phases don't count.
///
/// Holds for this graph only: the stored relationships of principal and context are settled in the filter, those of the
/// resource's values are not.
pub fn row_filter(realm: &Realm, principal: &Principal, request: &AccessRequest, graph: &Graph) -> Answer {
    filtered(realm, principal, request, graph).0
}

/// The row filter, and what the caller must do with whatever passes: also what only some of the allows would carry.
pub(super) fn filtered(
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    graph: &Graph,
) -> (Answer, Vec<Obligation>) {
    let phase = Phase::Existing;
    let values = PhaseValues::none(phase, &request.resource_type);
    let request = &AccessRequest { phases: vec![values.clone()], ..request.clone() };
    if let Err(refused) = shaped_by_profile(realm, principal, request) {
        return (Answer::Refused(refused), Vec::new());
    }
    let refused = |outcome, reasons| {
        let decision = denied(realm, principal, request, phase, outcome, reasons);
        (Answer::Refused(Box::new(decision)), Vec::new())
    };
    let (answer, carried) = match prepared(realm, principal, request, &values, graph, judge) {
        Err((outcome, reasons)) | Ok(Found::Refused(outcome, reasons)) => return refused(outcome, reasons),
        Ok(Found::Inexpressible(carried)) => (Answer::Inexpressible, carried),
        Ok(Found::Filter(filter, carried)) => (Answer::Filtered(filter), carried),
    };
    match supported(request, obligations(realm, principal, request, &carried)) {
        Ok(obligations) => (answer, obligations),
        Err(reason) => refused(Outcome::Indeterminate, vec![reason.into()]),
    }
}

/// What was found, with the obligations that permits may bring to what passes.
enum Found {
    Refused(Outcome, Vec<Explained>),
    Filter(Filter, Vec<Arc<str>>),
    Inexpressible(Vec<Arc<str>>),
}

/// As `decide` judges: no forbid may hold or fail, and a permit must hold.
fn judge(evaluation: &Evaluation<'_>) -> Found {
    let (resource_type, principal) = (&*evaluation.request.resource_type, evaluation.principal);
    // Facts of the token would count for the resource that is the principal, and which one that is isn't known.
    if evaluation.names_resources || resource_type.entity == principal.entity.entity_type {
        return Found::Inexpressible(carried_by_any(evaluation));
    }
    let symbolic = Symbolic {
        realm: evaluation.realm,
        principal,
        resource_type,
        situation: evaluation.situation,
        unknown: evaluation.realm.derived.of_resource(&evaluation.request.action),
        is_apart: is_apart(evaluation),
    };
    let verdicts = |wanted: Effect| {
        let policies = evaluation.candidates.indexes.iter();
        let policies = policies.filter_map(|index| Some((*index, evaluation.realm.policies.get(*index)?)));
        let verdicts = policies.filter(move |(_, policy)| policy.effect == wanted);
        verdicts.map(|(index, policy)| (index, symbolic.verdict(policy))).collect::<Vec<_>>()
    };
    let forbids = verdicts(Effect::Forbid);
    let forbidding = where_always(&forbids, |verdict| &verdict.holds);
    if !forbidding.is_empty() {
        return Found::Refused(Outcome::Forbidden, explanation::forbidden(evaluation, &forbidding));
    }
    let failing = where_always(&forbids, |verdict| &verdict.fails);
    if !failing.is_empty() {
        return Found::Refused(Outcome::Indeterminate, explanation::errored(evaluation, &failing));
    }
    let open: Option<Vec<Filter>> =
        forbids.into_iter().map(|(_, verdict)| verdict.map(|verdict| verdict.is_false)).collect();
    let permits = verdicts(Effect::Permit);
    let permitted = if where_always(&permits, |verdict| &verdict.holds).is_empty() {
        permits.iter().map(|(_, verdict)| verdict.as_ref().map(|verdict| verdict.holds.clone())).collect()
    } else {
        Some(vec![Filter::All])
    };
    let carried = carried(evaluation, &permits);
    let (Some(open), Some(permitted)) = (open, permitted) else { return Found::Inexpressible(carried) };
    let permitted = Filter::any_of(permitted);
    let failing = where_always(&permits, |verdict| &verdict.fails);
    if permitted == Filter::None && !failing.is_empty() {
        return Found::Refused(Outcome::Indeterminate, explanation::errored(evaluation, &failing));
    }
    Found::Filter(Filter::all_of(open.into_iter().chain([permitted])), carried)
}

/// The obligations that some allow carries: those of the permits that may hold, but for those that a permit lifts that
/// always holds.
fn carried(evaluation: &Evaluation<'_>, permits: &[(usize, Option<Verdict>)]) -> Vec<Arc<str>> {
    let mut carried: Vec<Arc<str>> = Vec::new();
    let obligations = |index: usize| evaluation.realm.policies.get(index).map(|policy| policy.obligations.as_slice());
    let may_hold = permits.iter().filter(|(_, verdict)| verdict.as_ref().is_none_or(|it| it.holds != Filter::None));
    for id in may_hold.filter_map(|(index, _)| obligations(*index)).flatten() {
        if !carried.contains(id) {
            carried.push(Arc::clone(id));
        }
    }
    let always = where_always(permits, |verdict| &verdict.holds);
    carried.retain(|id| always.iter().all(|index| obligations(*index).is_some_and(|named| named.contains(id))));
    carried
}

/// The obligations of all permits for the action, where it isn't known which of them come into question.
fn carried_by_any(evaluation: &Evaluation<'_>) -> Vec<Arc<str>> {
    let policies = &evaluation.realm.policies;
    let Some(action) = policies.action(&evaluation.request.action) else { return Vec::new() };
    let taking = policies.iter().filter(|policy| policies.takes(policy, action));
    taking.flat_map(|policy| &policy.obligations).cloned().collect()
}

/// The policies of which this is so whatever the values are.
fn where_always(verdicts: &[(usize, Option<Verdict>)], when: impl Fn(&Verdict) -> &Filter) -> Vec<usize> {
    let always = verdicts.iter().filter(|(_, verdict)| verdict.as_ref().is_some_and(|it| *when(it) == Filter::All));
    always.map(|(index, _)| *index).collect()
}

/// No way leads from principal, context or an entity that a policy names to an entity of the resource's type.
fn is_apart(evaluation: &Evaluation<'_>) -> bool {
    let Evaluation { realm, request, candidates, .. } = evaluation;
    let entity = &request.resource_type.entity;
    let context = realm.schema.actions.get(&request.action).into_iter().flat_map(|action| action.context.values());
    let attributes = realm.schema.entities.values().flat_map(|attributes| attributes.values());
    !candidates.looks.named.keys().any(|named| named.entity_type == *entity)
        && !context.chain(attributes).any(|member| names(&member.value_type, entity))
}

fn names(value_type: &AttributeType, entity: &str) -> bool {
    match value_type {
        AttributeType::Entity(name) => **name == *entity,
        AttributeType::Set(element) => names(element, entity),
        AttributeType::Record(fields) => fields.values().any(|member| names(&member.value_type, entity)),
        AttributeType::Bool | AttributeType::Long | AttributeType::String | AttributeType::Other => false,
    }
}

/// Whether values pass a filter: what the filter means. The values are in the order of the resource type's subjects.
pub fn holds(filter: &Filter, realm: &Realm, principal: &Principal, values: &[Option<Value>], graph: &Graph) -> bool {
    let each = |part: &Filter| holds(part, realm, principal, values, graph);
    match filter {
        Filter::All => true,
        Filter::None => false,
        Filter::AllOf(parts) => parts.iter().all(each),
        Filter::AnyOf(parts) => parts.iter().any(each),
        Filter::Not(inner) => !each(inner),
        Filter::Is(Test { subject, links, condition }) => {
            let Some(Some(value)) = values.get(*subject) else { return false };
            let contains = |above: &EntityId, below: &EntityId| {
                let uid = realm.cedar_types.uid(&above.entity_type, &above.id);
                above == below || uid.is_some_and(|uid| ancestors(realm, principal, graph, below).contains(&uid))
            };
            let Some(value) = linked(realm, value, links) else { return false };
            match (condition, &value) {
                (Condition::HasValue, _) => true,
                (Condition::Within(above), Value::Entity(value)) => above.iter().any(|above| contains(above, value)),
                (Condition::Contains(below), Value::Entity(value)) => contains(value, below),
                (Condition::OneOf(values), value) => values.contains(value),
                (Condition::Includes(wanted), Value::List(members)) => {
                    wanted.iter().any(|wanted| members.contains(wanted))
                }
                (Condition::Within(_) | Condition::Contains(_) | Condition::Includes(_), _) => false,
            }
        }
    }
}

/// What the links lead to from a value.
fn linked(realm: &Realm, value: &Value, links: &[Arc<str>]) -> Option<Value> {
    links.iter().try_fold(value.clone(), |value, link| {
        let Value::Entity(entity) = value else { return None };
        realm.links(&entity).find(|(name, _)| **name == **link).map(|(_, linked)| linked)
    })
}

/// The entity type of what a test is about, links followed; `None` if it is no entity.
fn tested_type(realm: &Realm, resource_type: &ResourceType, test: &Test) -> Option<Arc<str>> {
    let AttributeType::Entity(start) = &resource_type.subjects.get(test.subject)?.value_type else { return None };
    let follow = |name: Arc<str>, link: &Arc<str>| realm.relations.entity(&name)?.links.get(link).cloned();
    test.links.iter().try_fold(Arc::clone(start), follow)
}
