//! What keeps an expression from being as a policy wants it, down to the comparisons that it is made of.

use std::sync::Arc;

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, UnaryOp, Value as CedarValue, ValueKind};

use super::{
    MEMBERS_MAX,
    look::{path_of, plain, short},
};
use crate::domain::{cedar::Situation, value::Value};

/// A comparison that is not as it is wanted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need<'e> {
    /// The comparison.
    pub(super) expression: &'e Expr,
    /// What it would have to come to.
    pub(super) wanted: bool,
}

/// The comparisons that keep an expression from coming to `wanted`, in order, each of them alternatives or all needed as the
/// expression has it.
pub(super) fn needs<'e>(situation: &Situation<'_>, expression: &'e Expr, wanted: bool) -> Vec<Need<'e>> {
    let mut found = Vec::new();
    find(situation, expression, wanted, &mut found);
    found
}

fn find<'e>(situation: &Situation<'_>, expression: &'e Expr, wanted: bool, found: &mut Vec<Need<'e>>) {
    if truth(situation, expression) == Some(wanted) {
        return;
    }
    match expression.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            find(situation, left, wanted, found);
            find(situation, right, wanted, found);
        }
        ExprKind::UnaryApp { op: UnaryOp::Not, arg } => find(situation, arg, !wanted, found),
        ExprKind::If { test_expr, then_expr, else_expr } => match truth(situation, test_expr) {
            Some(true) => find(situation, then_expr, wanted, found),
            Some(false) => {
                find(situation, test_expr, true, found);
                find(situation, else_expr, wanted, found);
            }
            None => find(situation, test_expr, true, found),
        },
        _ => found.push(Need { expression, wanted }),
    }
}

pub(super) fn truth(situation: &Situation<'_>, expression: &Expr) -> Option<bool> {
    match situation.value(expression)?.value {
        ValueKind::Lit(Literal::Bool(flag)) => Some(flag),
        _ => None,
    }
}

impl Need<'_> {
    /// What is amiss, without a full stop.
    pub(super) fn sentence(&self, situation: &Situation<'_>) -> String {
        match self.expression.expr_kind() {
            ExprKind::HasAttr { expr, attr } => {
                let path = named(&Expr::get_attr((**expr).clone(), attr.clone()));
                if self.wanted { format!("`{path}` has no value") } else { format!("`{path}` has a value") }
            }
            ExprKind::UnaryApp { op: UnaryOp::IsEmpty, arg } => {
                let path = named(arg);
                if self.wanted { format!("`{path}` is not empty") } else { format!("`{path}` is empty") }
            }
            ExprKind::BinaryApp { op, arg1, arg2 } => {
                let values = situation.value(arg1).zip(situation.value(arg2));
                let told = values.and_then(|(left, right)| self.compared(*op, arg1, &left, &right));
                told.unwrap_or_else(|| self.plainly(situation))
            }
            _ => self.plainly(situation),
        }
    }

    fn plainly(&self, situation: &Situation<'_>) -> String {
        let text = named(self.expression);
        match truth(situation, self.expression) {
            Some(flag) => format!("`{text}` is {flag}"),
            None => format!("`{text}` cannot be evaluated: a value that it needs is not there"),
        }
    }

    fn compared(&self, op: BinaryOp, left_side: &Expr, left: &CedarValue, right: &CedarValue) -> Option<String> {
        let path = named(left_side);
        let (one, other) = (text(&plain(left)), list(right));
        Some(match (op, self.wanted) {
            (BinaryOp::In, true) => format!("no relationship leads from {one} to {other}"),
            (BinaryOp::In, false) => format!("{one} is in {other}"),
            (BinaryOp::Eq, true) => format!("{one} is not {other}"),
            (BinaryOp::Eq, false) => format!("{one} is {other}"),
            (BinaryOp::Contains, true) => format!("`{path}` does not have {other}"),
            (BinaryOp::Contains, false) => format!("`{path}` has {other}"),
            (BinaryOp::ContainsAny, true) => format!("`{path}` has none of {other}"),
            (BinaryOp::ContainsAny, false) => format!("`{path}` has one of {other}"),
            (BinaryOp::ContainsAll, true) => format!("`{path}` does not have all of {other}"),
            (BinaryOp::ContainsAll, false) => format!("`{path}` has all of {other}"),
            _ => return None,
        })
    }
}

/// What an expression is called: its path, or its text.
fn named(expression: &Expr) -> Arc<str> {
    short(&path_of(expression).unwrap_or_else(|| expression.to_string()))
}

/// A value as a sentence shows it; of a set the first members, and how many there are.
fn list(value: &CedarValue) -> String {
    let ValueKind::Set(set) = &value.value else { return text(&plain(value)) };
    let shown = match plain(value) {
        Value::List(members) => members.iter().map(text).collect::<Vec<_>>().join(", "),
        other => text(&other),
    };
    match set.len() {
        0 => "anything, there is nothing to compare with".to_owned(),
        1 => shown,
        count if count > MEMBERS_MAX => format!("any of {count}: {shown}, …"),
        _ => format!("any of {shown}"),
    }
}

/// A value as Cedar writes it.
pub(super) fn text(value: &Value) -> String {
    match value {
        Value::Bool(flag) => flag.to_string(),
        Value::Long(number) => number.to_string(),
        Value::String(text) => format!("{:?}", &**text),
        Value::Entity(entity) => entity.to_string(),
        Value::List(items) => format!("[{}]", items.iter().map(text).collect::<Vec<_>>().join(", ")),
        Value::Record(fields) => {
            let fields: Vec<String> = fields.iter().map(|(name, field)| format!("{name}: {}", text(field))).collect();
            format!("{{{}}}", fields.join(", "))
        }
        Value::Null => "nothing".to_owned(),
    }
}
