//! Which policy a changed decision comes from, and which of its conditions.

use std::sync::Arc;

use cedar_policy::Effect as CedarEffect;

use super::{Change, Made};
use crate::domain::{
    access_request::AccessRequest,
    conjunct::Conjunct,
    decide::{Evaluation, prepared, shaped_by_profile},
    decision::{Effect, Outcome},
    graph::Graph,
    policy_set::CompiledPolicy,
    principal::Principal,
    realm::Realm,
};

/// Where a change comes from. Changes with the same cause belong together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cause {
    /// The policy that makes the difference; `None` where no single one does: a profile, the grants, an obligation.
    pub policy: Option<Arc<str>>,
    /// What the policy does where it applies.
    pub effect: Option<Effect>,
    /// What makes the difference.
    pub how: How,
    /// The condition that is not as it should be in the set in which the policy does not apply.
    pub clause: Option<Clause>,
    /// The code of the first reason of the denial, or of the new decision where neither denies.
    pub code: Arc<str>,
}

/// What makes the difference between two sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum How {
    /// The policy is new.
    Added,
    /// The policy is there no longer.
    Removed,
    /// Both sets have it, and the scope of one does not take the question.
    Scope,
    /// Both sets have it, and in one a condition is not as it should be.
    Condition,
    /// The policy can no longer be evaluated.
    Failed,
    /// No single policy.
    Other,
}

/// A condition of a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clause {
    /// The file, within the realm's folder.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// As it is written, at most [`Clause::TEXT_CHARACTERS_MAX`].
    pub text: Arc<str>,
    /// It stands under an `unless`: it holds and should not.
    pub is_negated: bool,
}

impl Clause {
    /// The most characters of a condition that are shown.
    pub const TEXT_CHARACTERS_MAX: usize = 300;
}

impl From<&Conjunct> for Clause {
    fn from(conjunct: &Conjunct) -> Self {
        let mut text: String = conjunct.text.chars().take(Self::TEXT_CHARACTERS_MAX).collect();
        if text.len() < conjunct.text.len() {
            text.push('…');
        }
        let place = &conjunct.place;
        Self {
            file: place.file.as_str().into(),
            line: place.line,
            column: place.column,
            text: text.into(),
            is_negated: conjunct.is_negated,
        }
    }
}

/// A question as one of the two sets sees it, and what that set makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    /// The policies.
    pub realm: &'a Realm,
    /// Who asks.
    pub principal: &'a Principal,
    /// The question.
    pub request: &'a AccessRequest,
    /// The decision.
    pub made: Made<'a>,
}

/// Where a change comes from, with the relationships that both decisions were made on.
pub fn cause(change: Change, old: Side<'_>, new: Side<'_>, graph: &Graph) -> Cause {
    let (before, after) = (old.made, new.made);
    let found = match change {
        Change::NewlyAllowed if before.outcome == Outcome::Forbidden => {
            first(new, graph, before.policies, CedarEffect::Forbid, How::Removed)
        }
        Change::NewlyAllowed => first(old, graph, after.policies, CedarEffect::Permit, How::Added),
        Change::NewlyDenied if after.outcome == Outcome::Forbidden => {
            first(old, graph, after.policies, CedarEffect::Forbid, How::Added)
        }
        Change::NewlyDenied if after.outcome == Outcome::Indeterminate => {
            let failed = after.policies.first();
            failed.map(|policy| Cause { policy: Some(Arc::clone(policy)), ..Cause::of(How::Failed) })
        }
        Change::NewlyDenied => first(new, graph, before.policies, CedarEffect::Permit, How::Removed),
        Change::Otherwise | Change::Same => {
            let policy = after.policies.first().cloned();
            Some(Cause { policy, ..Cause::of(How::Other) })
        }
    };
    let code = if change == Change::NewlyAllowed { before.code() } else { after.code() };
    Cause { code, ..found.unwrap_or_else(|| Cause::of(How::Other)) }
}

impl Cause {
    fn of(how: How) -> Self {
        Self { policy: None, effect: None, how, clause: None, code: Arc::default() }
    }
}

/// The first of the policies that does not apply on this side, and why. `absent` is what it means that it isn't there.
fn first(side: Side<'_>, graph: &Graph, policies: &[Arc<str>], effect: CedarEffect, absent: How) -> Option<Cause> {
    policies.iter().find_map(|id| {
        let (how, clause) = match standing(side, graph, id, effect) {
            Standing::Absent => (absent, None),
            Standing::Elsewhere => (How::Scope, None),
            Standing::Unmet(clause) => (How::Condition, Some(clause)),
            Standing::Met => return None,
        };
        let effect = if effect == CedarEffect::Permit { Effect::Allow } else { Effect::Deny };
        Some(Cause { policy: Some(Arc::clone(id)), effect: Some(effect), clause, ..Cause::of(how) })
    })
}

/// How a policy stands to a question.
enum Standing {
    /// The set has no such policy.
    Absent,
    /// Its scope takes other questions.
    Elsewhere,
    /// A condition is not as it should be.
    Unmet(Clause),
    /// It applies in every phase.
    Met,
}

fn standing(side: Side<'_>, graph: &Graph, id: &str, effect: CedarEffect) -> Standing {
    let Side { realm, principal, request, .. } = side;
    let known = realm.policies.iter().enumerate().find(|(_, policy)| *policy.id == *id && policy.effect == effect);
    let Some((index, policy)) = known else { return Standing::Absent };
    // Of a request that is refused for its profile no policy is asked.
    let Ok(shaped) = shaped_by_profile(realm, principal, request) else { return Standing::Met };
    let request = shaped.as_ref().unwrap_or(request);
    let mut standings = request.phases.iter().map(|values| {
        let found =
            prepared(realm, principal, request, values, graph, |evaluation| in_phase(evaluation, index, policy));
        found.unwrap_or(Standing::Met)
    });
    standings.find(|standing| !matches!(standing, Standing::Met)).unwrap_or(Standing::Met)
}

fn in_phase(evaluation: &Evaluation<'_>, index: usize, policy: &CompiledPolicy) -> Standing {
    let is_candidate = evaluation.candidates.indexes.contains(&index);
    // What a policy looks into is gathered for candidates only: of another, a condition that fails says nothing.
    let is_unmet = |conjunct: &&Conjunct| match evaluation.situation.holds(&conjunct.condition) {
        Ok(holds) => holds == conjunct.is_negated,
        Err(_) => is_candidate,
    };
    match policy.conjuncts.iter().find(is_unmet) {
        Some(conjunct) => Standing::Unmet(conjunct.into()),
        None if is_candidate => Standing::Met,
        None => Standing::Elsewhere,
    }
}
