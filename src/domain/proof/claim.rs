//! What is claimed of policies, and the formulas that say so of one kind of request.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy::{Effect, Policy, PolicySet as CedarPolicySet};
use cedar_policy_symcc::{
    CompiledPolicy, CompiledPolicySet, Env, WellFormedAsserts, always_denies_asserts, disjoint_asserts,
    equivalent_asserts, err, implies_asserts, never_errors_asserts, never_matches_asserts,
};

use super::{
    Kind, Rule, Rules,
    counterexample::{Case, Counterexample},
    invariant::{Invariant, Promise},
};
use crate::domain::{
    cedar::{ConditionError, Situation},
    fault::Fault,
};

/// What may be claimed. The numbers count policies and invariants of the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Claim {
    /// The policy never fails to evaluate.
    NeverFails(usize),
    /// What a forbid matches is never allowed.
    ForbidWins,
    /// An invariant of the authors.
    Invariant(usize),
    /// Nothing is allowed that was denied before.
    NothingNew,
    /// Exactly the same is allowed as before.
    Same,
}

/// Claims about rules, and about what changed since others.
#[derive(Debug)]
pub struct Inquiry {
    rules: Rules,
    before: Option<Rules>,
    kinds: Vec<Kind>,
    known: [BTreeSet<String>; 2],
}

/// How a step of a question is to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// The invariant itself never fails to evaluate; else it doesn't hold.
    SpeaksClearly,
    /// No request of this kind is matched by the invariant; then it says nothing of this kind.
    SaysNothing,
    /// The claim itself.
    Claim,
    /// The forbid of this name never fails to evaluate; else it isn't known whether the claim holds.
    Guard(Arc<str>),
}

/// A formula that the solver refutes, or for which it finds an example.
#[derive(Debug)]
pub struct Step {
    /// How it is to be read.
    pub role: Role,
    /// The formula, or why there is none.
    pub formula: Result<Formula, String>,
}

/// What Cedar's symbolic compiler made of policies for one kind of request.
#[derive(Debug)]
pub enum Formula {
    /// The policy never fails to evaluate.
    NeverFails(Box<CompiledPolicy>),
    /// The policy matches nothing.
    NeverMatches(Box<CompiledPolicy>),
    /// No request is allowed by both.
    Apart(Compiled, Compiled),
    /// What the first allows, the second allows.
    Implies(Compiled, Compiled),
    /// Both allow the same.
    Same(Compiled, Compiled),
    /// Nothing is allowed.
    Denies(Compiled),
}

type Compiled = Arc<CompiledPolicySet>;

impl Formula {
    /// What cannot be satisfied if the formula is true.
    pub fn asserts(&self) -> WellFormedAsserts<'_> {
        match self {
            Self::NeverFails(policy) => never_errors_asserts(policy),
            Self::NeverMatches(policy) => never_matches_asserts(policy),
            Self::Apart(one, other) => disjoint_asserts(one, other),
            Self::Implies(one, other) => implies_asserts(one, other),
            Self::Same(one, other) => equivalent_asserts(one, other),
            Self::Denies(set) => always_denies_asserts(set),
        }
    }
}

impl Inquiry {
    /// Claims about rules, and, where there are rules of before, about what changed.
    pub fn new(rules: Rules, before: Option<Rules>) -> Self {
        let mut kinds = rules.kinds();
        let names = |kinds: &[Kind]| kinds.iter().map(ToString::to_string).collect::<BTreeSet<String>>();
        let old = before.as_ref().map(Rules::kinds).unwrap_or_default();
        let (of_now, of_before) = (names(&kinds), names(&old));
        kinds.extend(old.into_iter().filter(|kind| !of_now.contains(&kind.to_string())));
        let known = [of_now, of_before];
        Self { rules, before, kinds, known }
    }

    /// The rules.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// All claims, in the order in which they are told.
    pub fn claims(&self) -> Vec<Claim> {
        let policies = (0..self.rules.policies.len()).map(Claim::NeverFails);
        let invariants = (0..self.rules.invariants.len()).map(Claim::Invariant);
        let has_forbid = self.rules.policies.iter().any(|rule| rule.effect == Effect::Forbid);
        let changes = [Claim::NothingNew, Claim::Same].into_iter().filter(|_| self.before.is_some());
        policies.chain(has_forbid.then_some(Claim::ForbidWins)).chain(invariants).chain(changes).collect()
    }

    /// The claim in words: an invariant's own, else what they are about.
    pub fn words(&self, claim: Claim) -> Arc<str> {
        match claim {
            Claim::NeverFails(number) => self.rules.policies.get(number).map_or("".into(), |rule| Arc::clone(&rule.id)),
            Claim::ForbidWins => "what a forbid matches is never allowed".into(),
            Claim::Invariant(number) => self.invariant(number).map_or("".into(), |it| Arc::clone(&it.text)),
            Claim::NothingNew => "nothing is allowed that was denied before".into(),
            Claim::Same => "exactly the same is allowed as before".into(),
        }
    }

    /// Where the claim, or the policy that it is about, stands.
    pub fn place(&self, claim: Claim) -> Option<&Fault> {
        match claim {
            Claim::NeverFails(number) => self.rules.policies.get(number).map(|rule| &rule.place),
            Claim::Invariant(number) => self.invariant(number).map(|it| &it.place),
            Claim::ForbidWins | Claim::NothingNew | Claim::Same => None,
        }
    }

    /// What an invariant promises; `None` of any other claim.
    pub fn promise(&self, claim: Claim) -> Option<Promise> {
        let Claim::Invariant(number) = claim else { return None };
        self.invariant(number).map(|it| it.promise)
    }

    /// The kinds of requests of these rules, and then those that only the rules of before had.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    fn invariant(&self, number: usize) -> Option<&Invariant> {
        self.rules.invariants.get(number)
    }

    fn has(&self, kind: &Kind) -> [bool; 2] {
        let name = kind.to_string();
        self.known.each_ref().map(|known| known.contains(&name))
    }

    /// What these claims come to for one kind of request: for each that is about it the steps, in order.
    pub fn questions(&self, kind: &Kind, claims: &[Claim]) -> Vec<(Claim, Vec<Step>)> {
        let workshop = Workshop { inquiry: self, kind, has: self.has(kind), now: None, before: None };
        workshop.questions(claims)
    }

    /// What an example that the solver found for a step shows, made as small as it gets.
    ///
    /// # Errors
    /// Why it shows nothing: policies fail to evaluate on it where Cedar goes on and a decision denies, or it isn't one.
    pub fn counterexample(&self, claim: Claim, role: &Role, kind: &Kind, env: &Env) -> Result<Counterexample, String> {
        let has = self.has(kind);
        let shows = |situation: &Situation<'_>| self.is_shown(claim, role, has, situation);
        let case = Case::of(env).ok_or("the solver's example cannot be read")?;
        if !case.ask(shows).unwrap_or(false) {
            let verdict = case.ask(|situation| self.rules.verdict(situation)).unwrap_or_default();
            return Err(match verdict.failed.first() {
                Some(policy) => format!("the solver's example is none here, where `{policy}` fails to evaluate on it"),
                None => "the solver's example is none to the evaluator".to_owned(),
            });
        }
        let [is_now, _] = has;
        let rules = self.before.as_ref().filter(|_| !is_now).unwrap_or(&self.rules);
        let case = case.shrunk(&rules.schema, |case| case.ask(shows).unwrap_or(false));
        let now = case.ask(|situation| self.rules.verdict(situation)).unwrap_or_default();
        let before = self.before.as_ref().filter(|_| matches!(claim, Claim::NothingNew | Claim::Same));
        let before = before.map(|rules| case.ask(|situation| rules.verdict(situation)).unwrap_or_default());
        Ok(case.told(now, before))
    }

    /// The situation contradicts the claim, as a decision would find it.
    fn is_shown(&self, claim: Claim, role: &Role, [is_now, was]: [bool; 2], situation: &Situation<'_>) -> bool {
        let allows = || self.rules.verdict(situation).is_allowed;
        let rules = self.before.as_ref();
        let changed = || {
            let now = is_now && allows();
            (now, was && rules.is_some_and(|rules| rules.verdict(situation).is_allowed))
        };
        match claim {
            Claim::NeverFails(number) => {
                let rule = self.rules.policies.get(number);
                rule.is_some_and(|rule| situation.holds(&rule.condition) == Err(ConditionError))
            }
            Claim::ForbidWins => {
                let verdict = self.rules.verdict(situation);
                verdict.is_allowed && !verdict.forbids.is_empty()
            }
            Claim::Invariant(number) => {
                self.invariant(number).is_some_and(|it| match (situation.holds(&it.condition), role) {
                    (Err(ConditionError), _) => *role == Role::SpeaksClearly,
                    (Ok(matches), Role::Claim) => matches && allows() == (it.promise == Promise::Never),
                    (Ok(_), _) => false,
                })
            }
            Claim::NothingNew => changed() == (true, false),
            Claim::Same => {
                let (now, before) = changed();
                now != before
            }
        }
    }
}

/// Compiles for one kind of request, each set of policies once.
struct Workshop<'a> {
    inquiry: &'a Inquiry,
    kind: &'a Kind,
    has: [bool; 2],
    now: Option<Result<Compiled, String>>,
    before: Option<Result<Compiled, String>>,
}

impl Workshop<'_> {
    fn questions(mut self, claims: &[Claim]) -> Vec<(Claim, Vec<Step>)> {
        let steps = claims.iter().map(|claim| (*claim, self.steps(*claim)));
        steps.filter(|(_, steps)| !steps.is_empty()).collect()
    }

    fn steps(&mut self, claim: Claim) -> Vec<Step> {
        let [is_now, was] = self.has;
        let rules = &self.inquiry.rules;
        match claim {
            Claim::NothingNew | Claim::Same => self.change(claim, was),
            _ if !is_now => Vec::new(),
            Claim::NeverFails(number) => {
                let rule = rules.policies.get(number);
                rule.map(|rule| self.one(Role::Claim, &rule.policy, Formula::NeverFails)).into_iter().collect()
            }
            Claim::ForbidWins => {
                let forbidden = self.compile(&rules.forbidden);
                vec![self.two(forbidden, Formula::Apart)]
            }
            Claim::Invariant(number) => self.inquiry.invariant(number).map(|it| self.invariant(it)).unwrap_or_default(),
        }
    }

    fn invariant(&mut self, invariant: &Invariant) -> Vec<Step> {
        let matched = self.compile_one(&invariant.policy);
        let (formula, guards) = match invariant.promise {
            Promise::Never => (Formula::Apart as fn(Compiled, Compiled) -> Formula, Vec::new()),
            Promise::Always => (Formula::Implies as fn(Compiled, Compiled) -> Formula, self.guards()),
        };
        let as_set = matched.clone().map(|policy| Arc::new(policy.into_compiled_policyset()));
        let boxed = || matched.clone().map(Box::new);
        let mut steps = vec![
            Step { role: Role::SpeaksClearly, formula: boxed().map(Formula::NeverFails) },
            Step { role: Role::SaysNothing, formula: boxed().map(Formula::NeverMatches) },
            self.two(as_set, formula),
        ];
        steps.extend(guards);
        steps
    }

    /// A kind that only one side has is compared with a side that denies everything.
    fn change(&mut self, claim: Claim, was: bool) -> Vec<Step> {
        let Some(before) = &self.inquiry.before else { return Vec::new() };
        let [is_now, _] = self.has;
        if !is_now {
            let gone = if claim == Claim::Same { Some(self.compile_in(before, &before.whole)) } else { None };
            return gone.map(|set| Step { role: Role::Claim, formula: set.map(Formula::Denies) }).into_iter().collect();
        }
        if !was {
            return vec![Step { role: Role::Claim, formula: self.now().map(Formula::Denies) }];
        }
        let old = self.before_set(before);
        let mut steps = vec![match claim {
            Claim::Same => self.two(old, Formula::Same),
            _ => self.two(old, |old, new| Formula::Implies(new, old)),
        }];
        steps.extend(self.guards());
        let forbids = before.policies.iter().filter(|rule| rule.effect == Effect::Forbid);
        steps.extend(forbids.map(|rule| self.guard(rule)));
        steps
    }

    fn guards(&self) -> Vec<Step> {
        let forbids = self.inquiry.rules.policies.iter().filter(|rule| rule.effect == Effect::Forbid);
        forbids.map(|rule| self.guard(rule)).collect()
    }

    fn guard(&self, rule: &Rule) -> Step {
        self.one(Role::Guard(Arc::clone(&rule.id)), &rule.policy, Formula::NeverFails)
    }

    fn one(&self, role: Role, policy: &Policy, formula: impl FnOnce(Box<CompiledPolicy>) -> Formula) -> Step {
        Step { role, formula: self.compile_one(policy).map(|policy| formula(Box::new(policy))) }
    }

    fn compile_one(&self, policy: &Policy) -> Result<CompiledPolicy, String> {
        CompiledPolicy::compile(policy, &self.kind.0, &self.inquiry.rules.schema.cedar).map_err(|error| said(&error))
    }

    /// A step about a set and all policies of now.
    fn two(&mut self, set: Result<Compiled, String>, formula: impl FnOnce(Compiled, Compiled) -> Formula) -> Step {
        let formula = set.and_then(|set| Ok(formula(set, self.now()?)));
        Step { role: Role::Claim, formula }
    }

    fn now(&mut self) -> Result<Compiled, String> {
        if let Some(now) = &self.now {
            return now.clone();
        }
        let now = self.compile(&self.inquiry.rules.whole);
        self.now.insert(now).clone()
    }

    /// The policies of before by the schema of now, so that the same requests are spoken about.
    fn before_set(&mut self, before: &Rules) -> Result<Compiled, String> {
        if let Some(before) = &self.before {
            return before.clone();
        }
        let set = self.compile(&before.whole);
        let set = set.map_err(|error| format!("the policies of before do not fit the schema of now: {error}"));
        self.before.insert(set).clone()
    }

    fn compile(&self, policies: &CedarPolicySet) -> Result<Compiled, String> {
        self.compile_in(&self.inquiry.rules, policies)
    }

    fn compile_in(&self, rules: &Rules, policies: &CedarPolicySet) -> Result<Compiled, String> {
        let compiled = CompiledPolicySet::compile(policies, &self.kind.0, &rules.schema.cedar);
        compiled.map(Arc::new).map_err(|error| said(&error))
    }
}

/// Why the symbolic compiler or the solver could not do it, with whatever they say of it.
pub fn said(error: &err::Error) -> String {
    match error {
        err::Error::PolicyNotWellTyped { errs } => {
            let all: Vec<String> = errs.iter().map(ToString::to_string).collect();
            format!("{error}: {}", all.join("; "))
        }
        _ => error.to_string(),
    }
}
