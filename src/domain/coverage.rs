//! Which conditions of a realm's policies its tests have seen both ways: a condition that no test ever saw false could as
//! well not be there.
//!
//! Every case is decided once more beside the test itself, by the same facts, and its policies are taken condition by
//! condition, as far as Cedar goes: where one is not as it should be, those after it are not asked. Policies that a plan
//! rules out by the grant or the settings alone count too, so that these conditions are seen false.

use std::{ops::Range, sync::Arc};

use cedar_policy::Effect;

use super::{
    decide::{Evaluation, prepared, shaped_by_profile},
    policy_test::{Asked, Bench},
    realm::Realm,
};

/// What the tests of a realm have seen of its policies, in the order of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Each policy.
    pub policies: Vec<PolicyCoverage>,
}

/// What the tests have seen of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCoverage {
    /// Its id.
    pub id: Arc<str>,
    /// The file.
    pub file: String,
    /// The line where it begins behind its annotations, counted from 1.
    pub line: usize,
    /// The bytes of the file that it is written in.
    pub span: Range<usize>,
    /// How often its scope took a question.
    pub fitted: usize,
    /// How often it applied.
    pub applied: usize,
    /// Its conditions.
    pub conjuncts: Vec<ConjunctCoverage>,
}

/// What the tests have seen of a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConjunctCoverage {
    /// As it is written.
    pub text: Arc<str>,
    /// The policy applies where it does not hold.
    pub is_negated: bool,
    /// The line, counted from 1.
    pub line: usize,
    /// The column, counted from 1 in characters.
    pub column: usize,
    /// The bytes of the file that it is written in.
    pub span: Range<usize>,
    /// How often it was true.
    pub held: usize,
    /// How often it was false.
    pub failed: usize,
}

/// How much of something was seen: so many of so many halves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// What was seen.
    pub seen: usize,
    /// What there is.
    pub all: usize,
}

impl Share {
    /// In percent; all of nothing is 100.
    pub fn percent(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "counts of conditions are small")]
        let percent = |seen: usize, all: usize| seen as f64 * 100.0 / all as f64;
        if self.all == 0 { 100.0 } else { percent(self.seen, self.all) }
    }

    fn and(self, other: Self) -> Self {
        Self { seen: self.seen + other.seen, all: self.all + other.all }
    }
}

impl Coverage {
    /// Decides all cases once more and notes what they see.
    pub fn of(bench: &Bench) -> Self {
        Self::of_seen(bench, &seen_by_cases(bench))
    }

    pub(super) fn of_seen(bench: &Bench, seen: &[Vec<Seen>]) -> Self {
        let mut coverage = Self::unseen(bench.realms().first());
        for Seen { policy, asked, applied } in seen.iter().flatten() {
            let Some(covered) = coverage.policies.get_mut(*policy) else { continue };
            covered.fitted += 1;
            covered.applied += usize::from(*applied);
            for (conjunct, held) in covered.conjuncts.iter_mut().zip(asked) {
                match held {
                    Some(true) => conjunct.held += 1,
                    Some(false) => conjunct.failed += 1,
                    None => {}
                }
            }
        }
        coverage
    }

    fn unseen(realm: Option<&Realm>) -> Self {
        let policies = realm.into_iter().flat_map(|realm| realm.policies.iter()).map(|policy| {
            let place = policy.fault("");
            let conjuncts = policy.conjuncts.iter().map(|conjunct| ConjunctCoverage {
                text: Arc::clone(&conjunct.text),
                is_negated: conjunct.is_negated,
                line: conjunct.place.line,
                column: conjunct.place.column,
                span: conjunct.span.clone(),
                held: 0,
                failed: 0,
            });
            PolicyCoverage {
                id: Arc::clone(&policy.id),
                line: place.line,
                file: place.file,
                span: policy.span.clone(),
                fitted: 0,
                applied: 0,
                conjuncts: conjuncts.collect(),
            }
        });
        Self { policies: policies.collect() }
    }

    /// How much of all policies was seen.
    pub fn share(&self) -> Share {
        self.policies.iter().fold(Share::default(), |share, policy| share.and(policy.share()))
    }
}

impl PolicyCoverage {
    /// Each condition has two halves; a policy without conditions is seen when it applied.
    pub fn share(&self) -> Share {
        if self.conjuncts.is_empty() {
            return Share { seen: usize::from(self.applied > 0), all: 1 };
        }
        let seen = self.conjuncts.iter().map(ConjunctCoverage::halves).sum();
        Share { seen, all: 2 * self.conjuncts.len() }
    }
}

impl ConjunctCoverage {
    /// How many of its halves were seen: it was true, it was false.
    pub fn halves(&self) -> usize {
        usize::from(self.held > 0) + usize::from(self.failed > 0)
    }
}

/// How one evaluation went through a policy whose scope took the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// The policy's place in the set.
    pub(super) policy: usize,
    /// What its conditions came to, as far as they were asked; `None` for one that could not be evaluated.
    pub(super) asked: Vec<Option<bool>>,
    pub(super) applied: bool,
}

/// What each case sees, in the order of [`Bench::cases`].
pub(super) fn seen_by_cases(bench: &Bench) -> Vec<Vec<Seen>> {
    let unpruned: Vec<Realm> =
        bench.realms().iter().map(|realm| realm.with_policies(realm.policies.without_pruning())).collect();
    let cases = bench.cases().map(|(_, realm, case)| match (unpruned.get(realm), &case.asked) {
        (Some(realm), Ok(asked)) => seen(realm, asked),
        _ => Vec::new(),
    });
    cases.collect()
}

/// Goes through the phases of a question as a decision does: up to the first that does not allow.
fn seen(realm: &Realm, asked: &Asked) -> Vec<Seen> {
    let Asked { principal, request, graph, .. } = asked;
    let Ok(shaped) = shaped_by_profile(realm, principal, request) else { return Vec::new() };
    let request = shaped.as_ref().unwrap_or(request);
    let mut all = Vec::new();
    for values in &request.phases {
        let Ok((seen, is_allowed)) = prepared(realm, principal, request, values, graph, look) else { break };
        all.extend(seen);
        if !is_allowed {
            break;
        }
    }
    all
}

/// Asks every policy whose scope takes the question; says also whether the phase allows.
fn look(evaluation: &Evaluation<'_>) -> (Vec<Seen>, bool) {
    let (mut all, mut permits, mut forbids) = (Vec::new(), false, false);
    for index in &evaluation.candidates.indexes {
        let Some(policy) = evaluation.realm.policies.get(*index) else { continue };
        if policy.scope_alone.as_ref().is_some_and(|scope| evaluation.situation.holds(scope) != Ok(true)) {
            continue;
        }
        let mut asked = Vec::new();
        let mut applied = true;
        for conjunct in &policy.conjuncts {
            let held = evaluation.situation.holds(&conjunct.condition).ok();
            asked.push(held);
            if held != Some(!conjunct.is_negated) {
                applied = false;
                break;
            }
        }
        let is_broken = asked.last() == Some(&None);
        match policy.effect {
            Effect::Permit => permits |= applied,
            Effect::Forbid => forbids |= applied || is_broken,
        }
        all.push(Seen { policy: *index, asked, applied });
    }
    (all, permits && !forbids)
}
