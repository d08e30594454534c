//! What a condition says, so that conditions can be held against each other without a question.

use cedar_policy::{Context, EntityUid, Request};
use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp};

use super::Conjunct;
use crate::domain::cedar::with_situation;

/// A condition without its place, and whether it must hold or must not. Two that are equal say the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::domain) struct Says {
    is_negated: bool,
    expression: String,
}

impl Says {
    /// The one must hold where the other must not.
    pub(in crate::domain) fn is_opposite(&self, other: &Self) -> bool {
        self.expression == other.expression && self.is_negated != other.is_negated
    }
}

/// What a condition lets a value be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Bound {
    /// This literal alone.
    Is(Literal),
    /// At most this number.
    AtMost(i64),
    /// At least this number.
    AtLeast(i64),
}

impl Bound {
    /// No value is within both.
    pub(in crate::domain) fn excludes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Is(one), Self::Is(two)) => one != two,
            (Self::Is(Literal::Long(number)), bound) | (bound, Self::Is(Literal::Long(number))) => match bound {
                Self::AtMost(most) => number > most,
                Self::AtLeast(least) => number < least,
                Self::Is(_) => false,
            },
            (Self::AtMost(most), Self::AtLeast(least)) | (Self::AtLeast(least), Self::AtMost(most)) => most < least,
            _ => false,
        }
    }
}

impl Conjunct {
    /// What it says.
    pub(in crate::domain) fn says(&self) -> Says {
        let (expression, is_negated) = self.positive();
        Says { is_negated, expression: expression.to_string() }
    }

    /// Whether it is as it must be, where it looks at nothing and so is the same for every request.
    pub(in crate::domain) fn constant(&self) -> Option<bool> {
        let looks =
            |part: &Expr| matches!(part.expr_kind(), ExprKind::Var(_) | ExprKind::Slot(_) | ExprKind::Unknown(_));
        if self.condition.expression().subexpressions().any(looks) {
            return None;
        }
        let nobody: EntityUid = "Nobody::\"\"".parse().ok()?;
        let request = Request::new(nobody.clone(), nobody.clone(), nobody, Context::empty(), None).ok()?;
        let holds = with_situation(&request, [], |situation| situation.holds(&self.condition))?.ok()?;
        Some(holds != self.is_negated)
    }

    /// The value that it compares with a literal, as an expression, and what it lets it be.
    pub(in crate::domain) fn bound(&self) -> Option<(String, Bound)> {
        let (expression, is_negated) = self.positive();
        let ExprKind::BinaryApp { op, arg1, arg2 } = expression.expr_kind() else { return None };
        let (value, literal, is_turned) = match (arg1.expr_kind(), arg2.expr_kind()) {
            (ExprKind::Lit(_), ExprKind::Lit(_)) => return None,
            (_, ExprKind::Lit(literal)) => (arg1, literal, false),
            (ExprKind::Lit(literal), _) => (arg2, literal, true),
            _ => return None,
        };
        let bound = match (op, literal, is_negated, is_turned) {
            (BinaryOp::Eq, literal, false, _) => Bound::Is(literal.clone()),
            // value < number, and not (number <= value)
            (BinaryOp::Less, Literal::Long(number), false, false)
            | (BinaryOp::LessEq, Literal::Long(number), true, true) => Bound::AtMost(number.checked_sub(1)?),
            // value <= number, and not (number < value)
            (BinaryOp::LessEq, Literal::Long(number), false, false)
            | (BinaryOp::Less, Literal::Long(number), true, true) => Bound::AtMost(*number),
            // number < value, and not (value <= number)
            (BinaryOp::Less, Literal::Long(number), false, true)
            | (BinaryOp::LessEq, Literal::Long(number), true, false) => Bound::AtLeast(number.checked_add(1)?),
            // number <= value, and not (value < number)
            (BinaryOp::LessEq, Literal::Long(number), false, true)
            | (BinaryOp::Less, Literal::Long(number), true, false) => Bound::AtLeast(*number),
            _ => return None,
        };
        Some((value.to_string(), bound))
    }

    /// The expression without negations around it, and whether it must be false.
    fn positive(&self) -> (&Expr, bool) {
        let (mut expression, mut is_negated) = (self.condition.expression(), self.is_negated);
        while let ExprKind::UnaryApp { op: UnaryOp::Not, arg } = expression.expr_kind() {
            (expression, is_negated) = (arg, !is_negated);
        }
        (expression, is_negated)
    }
}

#[cfg(test)]
mod tests {
    use cedar_policy::Policy;

    use super::*;
    use crate::domain::{conjunct::conjuncts_of, policy_set::SourceFile};

    fn conjuncts(condition: &str) -> Vec<Conjunct> {
        let text = format!("permit(principal, action, resource) {condition};");
        let file = SourceFile { path: "a.cedar".into(), content: text.clone() };
        conjuncts_of(&Policy::parse(None, text).unwrap(), &file)
    }

    #[test]
    fn conditions_say_the_same_however_they_are_written() {
        for (one, other, is_same) in [
            ("when { principal.a }", "when { principal . a }", true),
            ("when { !principal.a }", "unless { principal.a }", true),
            ("when { principal.a }", "unless { principal.a }", false),
            ("when { principal.a }", "when { principal.b }", false),
        ] {
            let (one, other) = (conjuncts(one).remove(0).says(), conjuncts(other).remove(0).says());
            assert_eq!(one == other, is_same, "{one:?} {other:?}");
        }
        let both = conjuncts("when { principal.a } unless { principal.a }");
        assert!(both[0].says().is_opposite(&both[1].says()));
    }

    #[test]
    fn what_looks_at_nothing_is_known_beforehand() {
        for (condition, expected) in [
            ("when { true }", Some(true)),
            ("when { 1 > 2 }", Some(false)),
            ("unless { false }", Some(true)),
            ("when { [\"a\"].contains(\"b\") }", Some(false)),
            ("when { principal.a }", None),
            ("when { \"a\" == \"a\" || principal.a }", None),
        ] {
            assert_eq!(conjuncts(condition)[0].constant(), expected, "{condition}");
        }
    }

    #[test]
    fn bounds_exclude_each_other_where_no_value_is_within_both() {
        for (condition, is_excluded) in [
            ("resource.n > 5 && resource.n < 5", true),
            ("resource.n >= 5 && resource.n <= 5", false),
            ("resource.n > 5 && 3 >= resource.n", true),
            ("resource.n == 5 && resource.n > 5", true),
            ("resource.n == 5 && resource.n >= 5", false),
            ("resource.s == \"a\" && resource.s == \"b\"", true),
            ("resource.s == \"a\" && resource.s != \"b\"", false),
        ] {
            let found: Vec<_> =
                conjuncts(&format!("when {{ {condition} }}")).iter().filter_map(Conjunct::bound).collect();
            let is_found = found.len() == 2 && found[0].1.excludes(&found[1].1) && found[0].0 == found[1].0;
            assert_eq!(is_found, is_excluded, "{condition}: {found:?}");
        }
    }
}
