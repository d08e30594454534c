//! The conjuncts of a policy: the single conditions that must all be as they should before it applies, each with its
//! place in the file.
//!
//! `when { a && b }` has two, and so has `unless { a || b }`, whose conditions must not hold. A later one may rest on an
//! earlier one, as in `resource has a && resource.a`, and fails to evaluate where that does not hold.

mod says;

use std::{ops::Range, sync::Arc};

use cedar_policy::Policy;
use cedar_policy_core::{
    ast::{BinaryOp, Expr, ExprKind, UnaryOp},
    parser::Loc,
};

pub(super) use says::{Bound, Says};

use super::{cedar::Condition, fault::Fault, policy_set::SourceFile};

/// One condition of a policy.
#[derive(Clone, Debug)]
pub(super) struct Conjunct {
    /// The condition as it is written.
    pub(super) text: Arc<str>,
    /// The policy applies where the condition does not hold: it stands under an `unless` or a `!`.
    pub(super) is_negated: bool,
    /// The bytes of the file that it is written in.
    pub(super) span: Range<usize>,
    /// Where it stands, as a fault without a message.
    pub(super) place: Fault,
    /// The condition as it is written, be it negated or not.
    pub(super) condition: Condition,
}

/// The conjuncts of a policy in the order in which Cedar evaluates them.
pub(super) fn conjuncts_of(policy: &Policy, file: &SourceFile) -> Vec<Conjunct> {
    let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
    let mut found = Vec::new();
    if let Some(whole) = inner.non_scope_constraints() {
        take_apart(whole, false, file, &mut found);
    }
    found
}

fn take_apart(expression: &Expr, is_negated: bool, file: &SourceFile, found: &mut Vec<Conjunct>) {
    match expression.expr_kind() {
        ExprKind::And { left, right } if !is_negated => {
            take_apart(left, false, file, found);
            take_apart(right, false, file, found);
        }
        ExprKind::Or { left, right } if is_negated => {
            take_apart(left, true, file, found);
            take_apart(right, true, file, found);
        }
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } if !is_negated && is_apart(expression, arg, file) => {
            take_apart(arg, true, file, found);
        }
        _ => found.push(conjunct(expression, is_negated, file)),
    }
}

/// The negation says no more than that its argument has to be false: an `unless`, or a written `!` before alternatives.
fn is_apart(negation: &Expr, argument: &Expr, file: &SourceFile) -> bool {
    if is_unequal(argument, file) {
        return false;
    }
    let is_written = written(negation, file).is_some_and(|text| text.starts_with('!'));
    !is_written || matches!(argument.expr_kind(), ExprKind::Or { .. })
}

/// What is negated is written as `!=`, which Cedar takes for a negated `==`.
fn is_unequal(argument: &Expr, file: &SourceFile) -> bool {
    let ExprKind::BinaryApp { op: BinaryOp::Eq, arg1, arg2 } = argument.expr_kind() else { return false };
    let between = span(arg1).zip(span(arg2)).and_then(|(left, right)| file.content.get(left.end..right.start));
    between.is_some_and(|text| text.contains("!="))
}

fn span(expression: &Expr) -> Option<Range<usize>> {
    expression.source_loc().map(|place: &Loc| place.start()..place.end())
}

fn written<'f>(expression: &Expr, file: &'f SourceFile) -> Option<&'f str> {
    file.content.get(span(expression)?).filter(|text| !text.is_empty())
}

fn conjunct(expression: &Expr, is_negated: bool, file: &SourceFile) -> Conjunct {
    let span = span(expression).unwrap_or_default();
    Conjunct {
        text: written(expression, file).map_or_else(|| expression.to_string().into(), Arc::from),
        is_negated,
        place: Fault::at(&file.path, &file.content, Some(span.clone()), ""),
        span,
        condition: Condition::of_expression(expression),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conjuncts(text: &str) -> Vec<String> {
        let file = SourceFile { path: "a.cedar".into(), content: text.into() };
        let policy = Policy::parse(None, text).unwrap();
        let shown = |found: Conjunct| {
            assert_eq!(text.get(found.span.clone()), Some(&*found.text));
            let sign = if found.is_negated { "not " } else { "" };
            format!("{}:{} {sign}{}", found.place.line, found.place.column, found.text)
        };
        conjuncts_of(&policy, &file).into_iter().map(shown).collect()
    }

    #[test]
    fn what_must_hold_and_what_must_not_is_told_apart() {
        assert_eq!(
            conjuncts(
                "permit(principal, action, resource)\nwhen { principal.a && (principal.b || principal.c) }\nunless { principal.d || principal.e && principal.f };"
            ),
            [
                "2:8 principal.a",
                "2:24 principal.b || principal.c",
                "3:10 not principal.d",
                "3:25 not principal.e && principal.f"
            ]
        );
    }

    #[test]
    fn a_negation_stays_as_it_is_written_but_before_alternatives() {
        assert_eq!(
            conjuncts("permit(principal, action, resource) when { !principal.a && !(principal.b || principal.c) };"),
            ["1:44 !principal.a", "1:62 not principal.b", "1:77 not principal.c"]
        );
        assert_eq!(
            conjuncts("permit(principal, action, resource) unless { !principal.a };"),
            ["1:46 not !principal.a"]
        );
    }

    #[test]
    fn what_is_to_differ_is_no_negation() {
        assert_eq!(
            conjuncts(
                "permit(principal, action, resource) when { principal.a != \"b\" && principal.c } unless { principal.d != 1 || principal.e == 2 };"
            ),
            [
                "1:44 principal.a != \"b\"",
                "1:66 principal.c",
                "1:89 not principal.d != 1",
                "1:109 not principal.e == 2"
            ]
        );
    }

    #[test]
    fn a_choice_is_one_condition_and_a_policy_may_have_none() {
        assert_eq!(
            conjuncts("permit(principal, action, resource) when { if principal.a then true else principal.b };"),
            ["1:44 if principal.a then true else principal.b"]
        );
        assert_eq!(conjuncts("permit(principal, action, resource);"), Vec::<String>::new());
    }
}
