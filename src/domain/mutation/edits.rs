//! The changes to a policy's text: what a hand might get wrong, one at a time.
//!
//! Takes conditions apart by the expressions that Cedar's parser made of them, and so names `cedar-policy-core`.

use std::ops::Range;

use cedar_policy_core::ast::{Expr, ExprKind, UnaryOp};

use super::{Change, anatomy::Anatomy};
use crate::domain::policy_set::CompiledPolicy;

/// A change of a few bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Edit {
    pub(super) change: Change,
    /// The bytes of the file that change.
    pub(super) span: Range<usize>,
    /// The bytes around them that say what the change means: an operator with its operands.
    pub(super) around: Range<usize>,
    pub(super) to: String,
    /// The condition that it is in.
    pub(super) conjunct: Option<usize>,
    /// The scope changes: the policy may apply to other questions than before.
    pub(super) is_in_scope: bool,
}

/// Operators, and what each is taken for.
const FLIPS: [(&str, &str); 8] =
    [("==", "!="), ("!=", "=="), ("<=", "<"), (">=", ">"), ("<", "<="), (">", ">="), ("&&", "||"), ("||", "&&")];
/// The same for operators that are written as methods.
const METHODS: [(&str, &str); 2] = [(".containsAny(", ".containsAll("), (".containsAll(", ".containsAny(")];

/// The changes to conditions: dropped, negated, an operator flipped.
pub(super) fn of_conditions(content: &str, policy: &CompiledPolicy) -> Vec<Edit> {
    let mut edits = Edits { content, conjunct: None, found: Vec::new() };
    let mut before: Option<Range<usize>> = None;
    for (index, conjunct) in policy.conjuncts.iter().enumerate() {
        edits.conjunct = Some(index);
        if let Some(before) = before {
            edits.flip(before.end..conjunct.span.start, before.start..conjunct.span.end);
        }
        let dropped = if conjunct.is_negated { "false" } else { "true" };
        edits.add(Change::Dropped, conjunct.span.clone(), dropped);
        edits.add(Change::Negated, conjunct.span.clone(), &format!("!({})", conjunct.text));
        edits.inside(conjunct.condition.expression());
        before = Some(conjunct.span.clone());
    }
    edits.found
}

/// The changes to the scope: each part without what it asks for. And the policy's effect turned.
pub(super) fn of_head(content: &str, start: usize, anatomy: &Anatomy) -> Vec<Edit> {
    let mut edits = Edits { content, conjunct: None, found: Vec::new() };
    let at = |span: &Range<usize>| start + span.start..start + span.end;
    let effect = at(&anatomy.effect);
    let turned = if content.get(effect.clone()) == Some("permit") { "forbid" } else { "permit" };
    edits.add(Change::Turned, effect, turned);
    for (part, name) in anatomy.scope.iter().zip(["principal", "action", "resource"]) {
        if content.get(at(part)).is_some_and(|text| text != name) {
            edits.add(Change::Widened, at(part), name);
        }
    }
    for edit in &mut edits.found {
        edit.is_in_scope = edit.change == Change::Widened;
    }
    edits.found
}

struct Edits<'c> {
    content: &'c str,
    conjunct: Option<usize>,
    found: Vec<Edit>,
}

impl Edits<'_> {
    fn add(&mut self, change: Change, span: Range<usize>, to: &str) {
        self.add_around(change, span.clone(), to, span);
    }

    fn add_around(&mut self, change: Change, span: Range<usize>, to: &str, around: Range<usize>) {
        let is_there = |edit: &Edit| edit.span == span && edit.to == to;
        if self.content.get(span.clone()).is_some_and(|text| !text.is_empty()) && !self.found.iter().any(is_there) {
            let (to, conjunct) = (to.to_owned(), self.conjunct);
            self.found.push(Edit { change, span, around, to, conjunct, is_in_scope: false });
        }
    }

    /// Flips the operator between two operands; says whether there is one.
    fn flip(&mut self, between: Range<usize>, around: Range<usize>) -> bool {
        let Some(text) = self.content.get(between.clone()) else { return false };
        let is_sign = |c: char| c.is_whitespace() || matches!(c, '(' | ')');
        let operator = text.trim_matches(is_sign);
        let start = between.start + text.find(operator).unwrap_or_default();
        let Some((_, to)) = FLIPS.iter().find(|(from, _)| *from == operator) else { return false };
        self.add_around(Change::Flipped, start..start + operator.len(), to, around);
        true
    }

    /// The same for a method.
    fn flip_method(&mut self, between: Range<usize>, around: Range<usize>) {
        let text = self.content.get(between.clone()).unwrap_or_default();
        for (from, to) in METHODS {
            if let Some(at) = text.find(from) {
                let start = between.start + at;
                self.add_around(Change::Flipped, start..start + from.len(), to, around.clone());
            }
        }
    }

    fn inside(&mut self, expression: &Expr) {
        match expression.expr_kind() {
            ExprKind::And { left, right } => self.operands(expression, left, right, "true"),
            ExprKind::Or { left, right } => self.operands(expression, left, right, "false"),
            ExprKind::UnaryApp { op: UnaryOp::Not, arg } => {
                if let Some(whole) = span(expression).filter(|whole| self.starts_with_not(whole)) {
                    self.add_around(Change::Negated, whole.start..whole.start + 1, "", whole);
                }
                self.inside(arg);
            }
            ExprKind::BinaryApp { arg1, arg2, .. } => {
                if let Some((left, right)) = span(arg1).zip(span(arg2)).filter(|(left, right)| left.end <= right.start)
                {
                    let (between, around) = (left.end..right.start, span(expression).unwrap_or(left.start..right.end));
                    if !self.flip(between.clone(), around.clone()) {
                        self.flip_method(between, around);
                    }
                }
                self.inside(arg1);
                self.inside(arg2);
            }
            ExprKind::If { test_expr, then_expr, else_expr } => {
                for branch in [then_expr, else_expr] {
                    self.add(Change::Dropped, span(branch).unwrap_or_default(), "true");
                }
                for part in [test_expr, then_expr, else_expr] {
                    self.inside(part);
                }
            }
            _ => {}
        }
    }

    fn starts_with_not(&self, whole: &Range<usize>) -> bool {
        self.content.get(whole.clone()).is_some_and(|text| text.starts_with('!'))
    }

    /// Both sides of `&&` or `||`: the operator flipped, and each side dropped. A side that is a chain of the same
    /// operator is left to its own sides.
    fn operands(&mut self, whole: &Expr, left: &Expr, right: &Expr, neutral: &str) {
        let is_written = span(left).zip(span(right)).is_some_and(|(left, right)| {
            left.end <= right.start && self.flip(left.end..right.start, left.start..right.end)
        });
        for side in [left, right] {
            let is_chain = std::mem::discriminant(side.expr_kind()) == std::mem::discriminant(whole.expr_kind());
            if is_written && !is_chain {
                self.add(Change::Dropped, span(side).unwrap_or_default(), neutral);
            }
            self.inside(side);
        }
    }
}

fn span(expression: &Expr) -> Option<Range<usize>> {
    expression.source_loc().map(|place| place.start()..place.end())
}
