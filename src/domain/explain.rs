//! Why a question is answered as it is, to the single condition: what each policy that could have applied asked and saw,
//! the relationships that an allow rests on, and what would turn a deny.
//!
//! Explaining stands beside deciding and never changes it: the same facts are gathered, the same conditions asked, and
//! nothing is kept. A decision that nobody wants explained pays nothing for it.
//!
//! Everything in an explanation is bounded. What the stored relationships say of a person or an item that the question
//! names shows only where it made something hold, so one that is out of reach looks as one that is not there.

mod grant;
mod look;
mod names;
mod need;
mod path;
mod profile;
mod propose;
mod shape;
mod slot;
#[cfg(test)]
mod tests;
mod what_if;

use std::sync::Arc;

use cedar_policy::{Effect, EntityUid};

pub use self::shape::{
    By, CONJUNCTS_MAX, Chain, ConjunctSeen, Explanation, Fact, GrantSeen, HOPS_MAX, Hop, MEMBERS_MAX, POLICIES_MAX,
    People, PhaseSeen, Place, PolicySeen, REMEDIES_MAX, Remedies, Remedy, RuledOut, State, StrategyOutcome,
    StrategySeen, TEXT_CHARACTERS_MAX, TRIES_MAX, VALUES_MAX, ValueSeen,
};
use self::{
    look::{Look, policies, ruled_out},
    names::Names,
    propose::{Proposal, proposals},
    what_if::WhatIf,
};
use super::{
    access_request::AccessRequest,
    ancestors::ancestors,
    decide::{Evaluation, decide, judge, prepared, shaped_by_profile},
    decision::{Decision, Outcome},
    explanation::guard,
    graph::Graph,
    id::EntityId,
    policy_set::{CompiledPolicy, PlanKey},
    principal::Principal,
    realm::Realm,
};

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
    let mut explanation = Explanation { fault: None, ..Explanation::of_refusal(people, &decision) };
    let fault = |explanation: &mut Explanation| explanation.fault = decision.reasons.first().cloned();
    let Ok(shaped) = shaped_by_profile(realm, principal, request) else {
        fault(&mut explanation);
        let names = Names::new(people, realm, principal, request);
        explanation.remedies =
            remedies(&profile::proposals(realm, principal, request), realm, principal, request, graph, &names);
        return explanation;
    };
    let asked = shaped.as_ref().unwrap_or(request);
    let names = Names::new(people, realm, principal, asked);
    let mut proposed = Vec::new();
    for values in &asked.phases {
        let looked = prepared(realm, principal, asked, values, graph, |evaluation| {
            let look = Look { evaluation, graph, names: &names };
            explanation.add_phase(&look, &mut proposed)
        });
        match looked {
            Ok(Outcome::Allowed) => continue,
            Ok(_) => {}
            Err(_) => {
                fault(&mut explanation);
                let grants = grant::proposals(realm, principal, asked).into_iter();
                proposed.extend(grants.map(|fact| Proposal { fact, policy: Arc::default() }));
            }
        }
        break;
    }
    let is_decided = explanation.phases.iter().any(|phase| phase.outcome != Outcome::Allowed);
    if decision.outcome != Outcome::Allowed {
        if !is_decided {
            fault(&mut explanation);
        }
        if shaped.is_some() {
            // What the profile hides may be what is missing.
            proposed.extend(profile::proposals(realm, principal, request));
        }
        explanation.remedies = remedies(&proposed, realm, principal, request, graph, &names);
    }
    explanation
}

/// The facts among those that are proposed that would turn the deny.
fn remedies(
    proposed: &[Proposal],
    realm: &Realm,
    principal: &Principal,
    request: &AccessRequest,
    graph: &Graph,
    names: &Names<'_>,
) -> Remedies {
    let what_if = WhatIf::new(realm, principal, request, graph, proposed.iter().map(|proposal| &proposal.fact));
    let mut remedies = Remedies::default();
    for Proposal { fact, policy } in proposed {
        let kind = std::mem::discriminant(fact);
        if remedies.found.iter().filter(|known| std::mem::discriminant(&known.fact) == kind).count() >= REMEDIES_MAX {
            continue;
        }
        if remedies.tried >= TRIES_MAX {
            remedies.is_cut = true;
            break;
        }
        remedies.tried += 1;
        if what_if.allows(fact) {
            remedies.found.push(Remedy { fact: names.fact(fact), policy: Arc::clone(policy) });
        }
    }
    remedies
}

impl Explanation {
    /// The explanation of a decision that no policy was asked for: the token is not good.
    pub fn of_refusal(people: People, decision: &Decision) -> Self {
        Self {
            outcome: decision.outcome,
            fault: decision.reasons.first().cloned(),
            phases: Vec::new(),
            permits: Vec::new(),
            forbids: Vec::new(),
            near_misses: Vec::new(),
            remedies: Remedies::default(),
            left_out: 0,
            hides_people: people == People::Hidden,
        }
    }

    /// Adds what one phase shows, and says what came of it.
    fn add_phase(&mut self, look: &Look<'_>, proposed: &mut Vec<Proposal>) -> Outcome {
        let evaluation = look.evaluation;
        let outcome = judge(evaluation).0;
        let in_scope = in_scope(evaluation, look.graph);
        let (asked, settled): (Vec<usize>, Vec<usize>) =
            in_scope.iter().partition(|index| evaluation.candidates.indexes.contains(index));
        let seen = policies(look, &asked);
        if outcome != Outcome::Allowed {
            let ruled_out =
                settled.iter().filter_map(|index| evaluation.realm.policies.get(*index)).collect::<Vec<_>>();
            let asked: Vec<&CompiledPolicy> = seen.iter().map(|(policy, _)| *policy).collect();
            proposed.extend(proposals(look, &asked, &ruled_out));
        }
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
