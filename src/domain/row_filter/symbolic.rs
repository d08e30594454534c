//! Evaluates policies while the resource's values are unknown.
//!
//! The value of an expression is a list of cases: what it comes to, and the condition on the resource's values under
//! which it comes to that. Conditions of one expression exclude each other and leave nothing out, so a failure is a case
//! like any other, and `&&`, `||` and `if` go on only where Cedar would.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Value as CedarValue, ValueKind, Var};
use smol_str::SmolStr;

use super::{Filter, place::Place};
use crate::domain::{
    cedar::Situation, policy_set::CompiledPolicy, principal::Principal, realm::Realm, resource_type::ResourceType,
};

/// What an expression comes to in one case.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Leaf {
    /// Whatever the resource's values are.
    Known(CedarValue),
    /// The resource itself, of which only the type is known.
    Resource,
    /// The context, of which some members depend on which resource it is.
    Context,
    /// The set of the subjects without a value.
    Lacks,
    /// A value of the resource, which is there.
    Subject(Place),
    /// A set with members of the resource.
    Set(Vec<Leaf>),
    /// A record with members of the resource.
    Record(BTreeMap<SmolStr, Leaf>),
    /// It can't be evaluated.
    Failed,
}

/// What an expression comes to, and when.
pub(super) type Cases = Vec<(Filter, Leaf)>;

/// When a policy's condition is true, when it is false, and when it fails.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) holds: Filter,
    pub(super) is_false: Filter,
    pub(super) fails: Filter,
}

/// More tests than this in the conditions of one expression aren't put together.
const TESTS_MAX: usize = 400;

/// Evaluates conditions where only principal, action, context and the type of the resource are known.
#[derive(Debug)]
pub(super) struct Symbolic<'a> {
    pub(super) realm: &'a Realm,
    pub(super) principal: &'a Principal,
    pub(super) resource_type: &'a ResourceType,
    pub(super) situation: &'a Situation<'a>,
    /// The members of the context that depend on which resource it is.
    pub(super) unknown: &'a [Arc<str>],
    /// What doesn't name the resource can't reach it either.
    pub(super) is_apart: bool,
}

impl Symbolic<'_> {
    /// When a policy applies that is a candidate; `None` when that can't be said by tests of single values.
    pub(super) fn verdict(&self, policy: &CompiledPolicy) -> Option<Verdict> {
        if !policy.is_settled() {
            return verdict(self.truths(policy.condition.expression())?);
        }
        let mut cases = known(true);
        for clause in &policy.clauses.list {
            cases = branched(
                cases,
                || {
                    if self.is_apart && !clause.looks_at_resource && !clause.mentions_context(self.unknown) {
                        return Some(self.situation.holds(&clause.condition).map_or_else(|_| failed(), known));
                    }
                    self.truths(clause.condition.expression())
                },
                || Some(known(false)),
            )?;
        }
        verdict(cases)
    }

    /// The cases of an expression that must be true or false.
    fn truths(&self, expression: &Expr) -> Option<Cases> {
        branched(self.cases(expression)?, || Some(known(true)), || Some(known(false)))
    }

    fn cases(&self, expression: &Expr) -> Option<Cases> {
        match expression.expr_kind() {
            ExprKind::Lit(literal) => Some(known(literal.clone())),
            ExprKind::Var(Var::Resource) => Some(alone(Leaf::Resource)),
            ExprKind::Var(Var::Context) if !self.unknown.is_empty() => Some(alone(Leaf::Context)),
            ExprKind::Var(_) => Some(self.evaluated(expression)),
            ExprKind::If { test_expr, then_expr, else_expr } => {
                branched(self.cases(test_expr)?, || self.cases(then_expr), || self.cases(else_expr))
            }
            ExprKind::And { left, right } => branched(self.cases(left)?, || self.truths(right), || Some(known(false))),
            ExprKind::Or { left, right } => branched(self.cases(left)?, || Some(known(true)), || self.truths(right)),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => {
                branched(self.cases(arg)?, || Some(known(false)), || Some(known(true)))
            }
            ExprKind::UnaryApp { op, arg } => each(&[self.cases(arg)?], |leaves| match leaves {
                [Leaf::Known(value)] => Some(self.evaluated(&Expr::unary_app(*op, value.clone().into()))),
                _ => None,
            }),
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                each(&[self.cases(arg1)?, self.cases(arg2)?], |leaves| match leaves {
                    [left, right] => self.binary(*op, left, right),
                    _ => None,
                })
            }
            ExprKind::GetAttr { expr, attr } => self.on(expr, |leaf| self.attribute(leaf, attr)),
            ExprKind::HasAttr { expr, attr } => self.on(expr, |leaf| self.has(leaf, attr)),
            ExprKind::ExtHasAttr { expr, attrs } => self.on(expr, |leaf| self.has_each(leaf, attrs.iter())),
            ExprKind::Like { expr, pattern } => self.on(expr, |leaf| match leaf {
                Leaf::Known(value) => Some(self.evaluated(&Expr::like(value.clone().into(), pattern.clone()))),
                _ => None,
            }),
            ExprKind::Is { expr, entity_type } => self.on(expr, |leaf| self.is_of(leaf, entity_type)),
            ExprKind::Set(items) => each(&self.cases_of(items.iter())?, |items| {
                let members: Option<Vec<CedarValue>> = items.iter().map(known_value).collect();
                Some(alone(match members {
                    Some(members) => Leaf::Known(CedarValue::set(members, None)),
                    None => Leaf::Set(items.to_vec()),
                }))
            }),
            ExprKind::Record(fields) => each(&self.cases_of(fields.values())?, |values| {
                let values_known: Option<Vec<CedarValue>> = values.iter().map(known_value).collect();
                let names = fields.keys().cloned();
                Some(alone(match values_known {
                    Some(values) => Leaf::Known(CedarValue::record(names.zip(values), None)),
                    None => Leaf::Record(names.zip(values.iter().cloned()).collect()),
                }))
            }),
            ExprKind::ExtensionFunctionApp { fn_name, args } => each(&self.cases_of(args.iter())?, |values| {
                let values: Option<Vec<CedarValue>> = values.iter().map(known_value).collect();
                let values = values?.into_iter().map(Expr::from).collect();
                Some(self.evaluated(&Expr::call_extension_fn(fn_name.clone(), values)))
            }),
            // Templates are refused, and nothing here makes unknowns.
            _ => None,
        }
    }

    /// Whether there is an attribute, and in it the next one, and so on.
    fn has_each<'e>(&self, leaf: &Leaf, mut names: impl Iterator<Item = &'e SmolStr>) -> Option<Cases> {
        let first = names.next()?;
        let mut cases = self.has(leaf, first)?;
        let mut entered = vec![first];
        for name in names {
            let place = || {
                entered.iter().try_fold(vec![(Filter::All, leaf.clone())], |cases, name| {
                    each(&[cases], |leaves| self.attribute(leaves.first()?, name))
                })
            };
            cases =
                branched(cases, || each(&[place()?], |leaves| self.has(leaves.first()?, name)), || Some(known(false)))?;
            entered.push(name);
        }
        Some(cases)
    }

    fn cases_of<'e>(&self, expressions: impl Iterator<Item = &'e Expr>) -> Option<Vec<Cases>> {
        expressions.map(|expression| self.cases(expression)).collect()
    }

    fn on(&self, expression: &Expr, then: impl Fn(&Leaf) -> Option<Cases>) -> Option<Cases> {
        each(&[self.cases(expression)?], |leaves| then(leaves.first()?))
    }

    /// Cedar's own answer to what doesn't depend on the resource's values.
    pub(super) fn evaluated(&self, expression: &Expr) -> Cases {
        alone(self.situation.value(expression).map_or(Leaf::Failed, Leaf::Known))
    }

    fn binary(&self, op: BinaryOp, left: &Leaf, right: &Leaf) -> Option<Cases> {
        if let (Leaf::Known(left), Leaf::Known(right)) = (left, right) {
            return Some(self.evaluated(&Expr::binary_app(op, left.clone().into(), right.clone().into())));
        }
        let holds = match op {
            BinaryOp::Eq => self.is_same(left, right),
            BinaryOp::In => self.is_in(left, right),
            BinaryOp::Contains => self.contains(left, right),
            BinaryOp::ContainsAny => self.contains_any(left, right),
            BinaryOp::ContainsAll => self.contains_all(left, right),
            _ => None,
        };
        holds.map(when)
    }
}

fn known_value(leaf: &Leaf) -> Option<CedarValue> {
    if let Leaf::Known(value) = leaf { Some(value.clone()) } else { None }
}

/// The same in every case.
pub(super) fn alone(leaf: Leaf) -> Cases {
    vec![(Filter::All, leaf)]
}

pub(super) fn known(literal: impl Into<Literal>) -> Cases {
    alone(Leaf::Known(CedarValue::from(literal.into())))
}

pub(super) fn failed() -> Cases {
    alone(Leaf::Failed)
}

/// True under this condition, false otherwise.
pub(super) fn when(condition: Filter) -> Cases {
    let otherwise = condition.clone().negated();
    merged([(condition, true), (otherwise, false)].into_iter().flat_map(|(guard, flag)| guarded(&guard, known(flag))))
        .unwrap_or_default()
}

fn guarded(guard: &Filter, cases: Cases) -> Cases {
    let both = |inner| if *guard == Filter::All { inner } else { Filter::all_of([guard.clone(), inner]) };
    cases.into_iter().map(|(inner, leaf)| (both(inner), leaf)).filter(|(guard, _)| *guard != Filter::None).collect()
}

/// Each leaf once. `None` when the conditions grow too long.
fn merged(cases: impl IntoIterator<Item = (Filter, Leaf)>) -> Option<Cases> {
    let mut merged: Cases = Vec::new();
    for (guard, leaf) in cases {
        if guard == Filter::None {
            continue;
        }
        match merged.iter_mut().find(|(_, other)| *other == leaf) {
            Some((known, _)) => *known = Filter::any_of([std::mem::replace(known, Filter::None), guard]),
            None => merged.push((guard, leaf)),
        }
    }
    (merged.iter().map(|(guard, _)| guard.size()).sum::<usize>() <= TESTS_MAX).then_some(merged)
}

/// Goes on one way where a test is true and another where it is false; fails where it is neither. What is not gone on to
/// is not evaluated.
fn branched(test: Cases, then: impl Fn() -> Option<Cases>, otherwise: impl Fn() -> Option<Cases>) -> Option<Cases> {
    let mut cases = Vec::new();
    for (guard, leaf) in test {
        for (guard, flag) in truth(&guard, &leaf) {
            match flag {
                Some(true) => cases.extend(guarded(&guard, then()?)),
                Some(false) => cases.extend(guarded(&guard, otherwise()?)),
                None => cases.push((guard, Leaf::Failed)),
            }
        }
    }
    merged(cases)
}

/// When a leaf is true, when false, and when neither.
fn truth(guard: &Filter, leaf: &Leaf) -> Vec<(Filter, Option<bool>)> {
    match leaf {
        Leaf::Known(CedarValue { value: ValueKind::Lit(Literal::Bool(flag)), .. }) => {
            vec![(guard.clone(), Some(*flag))]
        }
        Leaf::Subject(place) => match place.is_true() {
            Some(holds) => {
                let cases = guarded(guard, when(holds));
                cases.into_iter().flat_map(|(guard, leaf)| truth(&guard, &leaf)).collect()
            }
            None => vec![(guard.clone(), None)],
        },
        _ => vec![(guard.clone(), None)],
    }
}

/// Applies an operation to every combination of its operands' cases. Where one of them failed, so does it.
fn each(operands: &[Cases], operation: impl Fn(&[Leaf]) -> Option<Cases>) -> Option<Cases> {
    let mut combinations: Vec<(Filter, Vec<Leaf>)> = vec![(Filter::All, Vec::new())];
    for operand in operands {
        combinations = combinations
            .iter()
            .flat_map(|(guard, leaves)| {
                guarded(guard, operand.clone())
                    .into_iter()
                    .map(move |(guard, leaf)| (guard, leaves.iter().cloned().chain([leaf]).collect::<Vec<_>>()))
            })
            .collect();
        if combinations.len() > TESTS_MAX {
            return None;
        }
    }
    let mut cases = Vec::new();
    for (guard, leaves) in combinations {
        let outcome = if leaves.contains(&Leaf::Failed) { failed() } else { operation(&leaves)? };
        cases.extend(guarded(&guard, outcome));
    }
    merged(cases)
}

fn verdict(cases: Cases) -> Option<Verdict> {
    let mut verdict = Verdict { holds: Filter::None, is_false: Filter::None, fails: Filter::None };
    for (guard, leaf) in cases {
        match leaf {
            Leaf::Known(CedarValue { value: ValueKind::Lit(Literal::Bool(true)), .. }) => verdict.holds = guard,
            Leaf::Known(CedarValue { value: ValueKind::Lit(Literal::Bool(false)), .. }) => verdict.is_false = guard,
            Leaf::Failed => verdict.fails = guard,
            _ => return None,
        }
    }
    Some(verdict)
}
