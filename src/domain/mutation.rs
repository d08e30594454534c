//! Tests of the tests: a realm's policies changed one bit at a time, each change one that a test should notice.
//!
//! A mutant is the text of one policy with one change: a condition dropped or negated, an operator flipped, a text or an
//! entity taken for another, the effect turned, a part of the scope dropped, or the whole policy. One that isn't well typed, or
//! with which the realm would not load, is no mutant: nobody could ship it. What is left is decided by every test that it
//! could make a difference to; where all of them pass, it survives, and the tests don't say what the policy says.
//!
//! Only the changed policy is compiled anew. Everything else of the realm is shared.

mod anatomy;
mod edits;
mod equivalent;
mod pool;

use std::{collections::BTreeSet, ops::Range, str::FromStr as _, sync::Arc};

use cedar_policy::{Policy, PolicyId, PolicySet as CedarPolicySet, ValidationMode, Validator};

use self::{
    anatomy::{Anatomy, anatomy},
    edits::Edit,
    equivalent::Declared,
    pool::Pool,
};
use super::{
    coverage::{Coverage, Seen, Share, seen_by_cases},
    fault::Fault,
    policy_set::{CompiledPolicy, SourceFile},
    policy_test::{Bench, Case},
    policy_text::on_one_line,
    realm::Realm,
};

/// What was done to a policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Change {
    /// A condition, or one side of it, left out.
    Dropped,
    /// A condition turned into its opposite.
    Negated,
    /// An operator taken for its neighbour.
    Flipped,
    /// A text or an entity taken for another.
    Swapped,
    /// A permit made a forbid, or a forbid a permit.
    Turned,
    /// The principal, the action or the resource of the scope left open.
    Widened,
    /// The policy left out.
    Removed,
}

impl Change {
    /// The word that reports use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dropped => "dropped",
            Self::Negated => "negated",
            Self::Flipped => "flipped",
            Self::Swapped => "swapped",
            Self::Turned => "turned",
            Self::Widened => "widened",
            Self::Removed => "removed",
        }
    }
}

/// A policy with one change.
#[derive(Clone, Debug)]
pub struct Mutant {
    /// The policy's id.
    pub policy: Arc<str>,
    /// The file.
    pub file: String,
    /// The line of the change, counted from 1.
    pub line: usize,
    /// What was done.
    pub change: Change,
    /// What stood there and what stands there now, as `tests/equivalent_mutants.yaml` names it: `a == b => a != b`.
    pub text: String,
    /// The lines that it is in, as they are and as they would be, blanks put together.
    pub lines: (String, String),
}

/// What became of a mutant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// A test fails with it: file and name.
    Killed(String),
    /// No test fails with it. Those that came nearest: file and name.
    Survived(Vec<String>),
    /// The realm's authors say that nothing can tell it from the policy, and why.
    Equivalent(String),
}

/// How many of a realm's mutants were killed, those that are equivalent not counted.
pub fn killed(tried: &[(Mutant, Fate)]) -> Share {
    let count = |is_it: fn(&Fate) -> bool| tried.iter().filter(|(_, fate)| is_it(fate)).count();
    let seen = count(|fate| matches!(fate, Fate::Killed(_)));
    Share { seen, all: seen + count(|fate| matches!(fate, Fate::Survived(_))) }
}

/// How many tests are named that came nearest to a mutant.
const NEAREST_MAX: usize = 3;

/// The tests of a realm, ready to try its mutants.
#[derive(Debug)]
pub struct Trial<'b> {
    bench: &'b Bench,
    realm: &'b Realm,
    files: &'b [SourceFile],
    seen: Vec<Vec<Seen>>,
    pool: Pool,
    declared: Vec<Declared>,
}

impl<'b> Trial<'b> {
    /// Prepares a trial. The tests must all pass: one that fails would kill every mutant.
    ///
    /// # Errors
    /// Faults of the file that declares equivalent mutants.
    pub fn new(bench: &'b Bench, files: &'b [SourceFile]) -> Result<Self, Vec<Fault>> {
        let realm = bench.realms().first().ok_or_else(Vec::new)?;
        let (seen, pool) = (seen_by_cases(bench), Pool::of(realm, files));
        Ok(Self { bench, realm, files, seen, pool, declared: equivalent::read(files)? })
    }

    /// What the tests see of the policies.
    pub fn coverage(&self) -> Coverage {
        Coverage::of_seen(self.bench, &self.seen)
    }

    /// How many policies there are to change.
    pub fn len(&self) -> usize {
        self.realm.policies.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Makes the mutants of a policy and tries each.
    pub fn of_policy(&self, index: usize) -> Vec<(Mutant, Fate)> {
        let Some(subject) = Subject::of(self, index) else { return Vec::new() };
        let mut realms: Vec<Realm> =
            self.bench.realms().iter().map(|realm| realm.with_policies(realm.policies.again())).collect();
        let mut killers: Vec<usize> = Vec::new();
        let made = subject.mutants(&self.pool);
        let tried = made.into_iter().filter_map(|made| {
            let fate = self.fate(&subject, &made, &mut realms, &mut killers)?;
            Some((subject.shown(&made.edit), fate))
        });
        tried.collect()
    }

    /// Declarations of mutants that are not there, or that a test kills: faults of the file that declares them.
    pub fn undeserved(&self, tried: &[(Mutant, Fate)]) -> Vec<Fault> {
        equivalent::undeserved(&self.declared, tried)
    }

    /// `None` for what is no mutant: the realm would not load with it.
    fn fate(&self, subject: &Subject<'_>, made: &Made, realms: &mut [Realm], killers: &mut Vec<usize>) -> Option<Fate> {
        let sets = self.bench.realms().iter().map(|realm| realm.policies.with(subject.index, made.policy.as_ref()));
        for (realm, policies) in realms.iter_mut().zip(sets) {
            realm.policies = policies;
        }
        let cases: Vec<_> = self.bench.cases().collect();
        let order = self.in_order(subject.index, &made.edit, killers);
        let fails = |number: &usize| {
            let found = cases.get(*number).and_then(|(_, realm, case)| Some((*case, realms.get(*realm)?)));
            found.is_some_and(|(case, realm): (&Case, &Realm)| !case.differences(realm).is_empty())
        };
        let named = |number: usize| cases.get(number).map(|(file, _, case)| format!("{}: {}", file.path, case.name));
        if let Some(killer) = order.into_iter().find(fails) {
            killers.retain(|known| *known != killer);
            killers.insert(0, killer);
            return named(killer).map(Fate::Killed);
        }
        let shown = subject.shown(&made.edit);
        if let Some(declared) = self.declared.iter().find(|declared| declared.names(&shown)) {
            return Some(Fate::Equivalent(declared.why.clone()));
        }
        Realm::compile(&subject.files_with(self.files, &made.edit), None).ok()?;
        let nearest = self.nearest(subject.index, &made.edit).into_iter().filter_map(named);
        Some(Fate::Survived(nearest.take(NEAREST_MAX).collect()))
    }

    /// The tests that may tell the mutant, those first that have told others of the policy. Another condition makes no
    /// difference where the scope did not take the question; another scope might.
    fn in_order(&self, policy: usize, edit: &Edit, killers: &[usize]) -> Vec<usize> {
        let touches =
            |number: &usize| self.seen.get(*number).is_some_and(|seen| seen.iter().any(|seen| seen.policy == policy));
        let touching = (0..self.seen.len()).filter(touches);
        let mut order: Vec<usize> = killers.to_vec();
        order.extend(touching);
        if edit.is_in_scope {
            order.extend(0..self.seen.len());
        }
        let mut known = BTreeSet::new();
        order.retain(|number| known.insert(*number));
        order
    }

    /// The tests that asked the condition, or went furthest into the policy.
    fn nearest(&self, policy: usize, edit: &Edit) -> Vec<usize> {
        let depth = |number: usize| {
            let seen = self.seen.get(number).into_iter().flatten().filter(|seen| seen.policy == policy);
            seen.map(|seen| seen.asked.len() + usize::from(seen.applied)).max()
        };
        let asked = edit.conjunct.map_or(0, |conjunct| conjunct + 1);
        let mut found: Vec<(usize, usize)> = (0..self.seen.len())
            .filter_map(|number| Some((depth(number).filter(|depth| *depth >= asked)?, number)))
            .collect();
        found.sort_by_key(|(depth, number)| (usize::MAX - depth, *number));
        found.into_iter().map(|(_, number)| number).collect()
    }
}

/// A mutant, compiled; without a policy it is one less.
struct Made {
    edit: Edit,
    policy: Option<Arc<CompiledPolicy>>,
}

/// The policy that is changed.
struct Subject<'t> {
    index: usize,
    realm: &'t Realm,
    policy: &'t CompiledPolicy,
    file: &'t SourceFile,
    text: &'t str,
    anatomy: Anatomy,
    validator: Validator,
}

impl<'t> Subject<'t> {
    fn of(trial: &Trial<'t>, index: usize) -> Option<Self> {
        let realm = trial.realm;
        let policy = realm.policies.get(index)?;
        let path = policy.fault("").file;
        let file = trial.files.iter().find(|file| file.path == path)?;
        let text = file.content.get(policy.span.clone())?;
        let validator = Validator::new((*realm.schema.cedar).clone());
        Some(Self { index, realm, policy, file, text, anatomy: anatomy(text)?, validator })
    }

    /// All that are well typed.
    fn mutants(&self, pool: &Pool) -> Vec<Made> {
        let start = self.policy.span.start;
        let mut edits = edits::of_conditions(&self.file.content, self.policy);
        edits.extend(edits::of_head(&self.file.content, start, &self.anatomy));
        let mut made: Vec<Made> = edits.into_iter().filter_map(|edit| self.made(edit)).collect();
        for literal in &self.anatomy.literals {
            let span = start + literal.span.start..start + literal.span.end;
            let inside = |conjunct: &super::conjunct::Conjunct| conjunct.span.contains(&span.start);
            let conjunct = self.policy.conjuncts.iter().position(inside);
            let swapped = pool.others(literal, self.text).into_iter().find_map(|to| {
                let is_in_scope = literal.is_in_scope;
                let (span, around) = (span.clone(), span.clone());
                self.made(Edit { change: Change::Swapped, span, around, to, conjunct, is_in_scope })
            });
            made.extend(swapped);
        }
        let span = self.policy.span.clone();
        let (around, to) = (span.clone(), String::new());
        let edit = Edit { change: Change::Removed, span, around, to, conjunct: None, is_in_scope: false };
        made.push(Made { edit, policy: None });
        made
    }

    fn made(&self, edit: Edit) -> Option<Made> {
        let own = &self.policy.span;
        let (before, after) = (own.start..edit.span.start, edit.span.end..own.end);
        let content = |span: Range<usize>| self.file.content.get(span);
        let text = format!("{}{}{}", content(before)?, edit.to, content(after)?);
        let policy = self.compiled(text)?;
        // Of a schema with one type of principals, naming it says nothing.
        if edit.is_in_scope && self.realm.policies.takes_alike(self.policy, &policy, &self.realm.schema) {
            return None;
        }
        Some(Made { edit, policy: Some(Arc::new(policy)) })
    }

    fn compiled(&self, text: String) -> Option<CompiledPolicy> {
        let parsed = CedarPolicySet::from_str(&text).ok()?;
        let mut policies = parsed.policies();
        let policy: &Policy = policies.next()?;
        let named = policy.new_id(PolicyId::new(&*self.policy.id));
        if policies.next().is_some() {
            return None;
        }
        let alone = CedarPolicySet::from_policies([named.clone()]).ok()?;
        if !self.validator.validate(&alone, ValidationMode::Strict).validation_passed() {
            return None;
        }
        CompiledPolicy::changed(&named, &SourceFile { path: self.file.path.clone(), content: text })
    }

    fn shown(&self, edit: &Edit) -> Mutant {
        let content = &self.file.content;
        let part = |span: Range<usize>| content.get(span).unwrap_or_default();
        let changed = |around: Range<usize>| {
            format!("{}{}{}", part(around.start..edit.span.start), edit.to, part(edit.span.end..around.end))
        };
        let text = match edit.change {
            Change::Removed => "the policy => nothing".to_owned(),
            _ => {
                format!("{} => {}", on_one_line(part(edit.around.clone())), on_one_line(&changed(edit.around.clone())))
            }
        };
        let start = content.get(..edit.span.start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let rest = content.get(edit.span.end..).unwrap_or_default();
        let end = edit.span.end + rest.find('\n').unwrap_or(rest.len());
        let lines = match edit.change {
            Change::Removed => (format!("@id(\"{}\") …", self.policy.id), String::new()),
            _ => (on_one_line(part(start..end)), on_one_line(&changed(start..end))),
        };
        let at = if edit.change == Change::Removed { self.policy.fault("").line } else { self.line(edit.span.start) };
        let (policy, file) = (Arc::clone(&self.policy.id), self.file.path.clone());
        Mutant { policy, file, line: at, change: edit.change, text, lines }
    }

    fn line(&self, byte: usize) -> usize {
        self.file.content.get(..byte).unwrap_or_default().matches('\n').count() + 1
    }

    /// The realm's files with the change.
    fn files_with(&self, files: &[SourceFile], edit: &Edit) -> Vec<SourceFile> {
        let mut changed = files.to_vec();
        if let Some(file) = changed.iter_mut().find(|file| file.path == self.file.path) {
            file.content.replace_range(edit.span.clone(), &edit.to);
        }
        changed
    }
}
