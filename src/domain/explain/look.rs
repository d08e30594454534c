//! What policies asked and saw: their conditions one by one, with the values that each mentions.

use std::sync::Arc;

use cedar_policy::Effect;
use cedar_policy_core::ast::{Expr, ExprKind, Literal, Value as CedarValue, ValueKind, Var};

use super::{
    CONJUNCTS_MAX, ConjunctSeen, MEMBERS_MAX, Names, POLICIES_MAX, Place, PolicySeen, RuledOut, State,
    TEXT_CHARACTERS_MAX, VALUES_MAX, ValueSeen, need::needs, path::chains,
};
use crate::domain::{
    cedar::Situation,
    conjunct::Conjunct,
    decide::Evaluation,
    explanation::{sorted, title},
    fault::Fault,
    graph::Graph,
    id::EntityId,
    policy_set::CompiledPolicy,
    value::{Attributes, Value},
};

/// What a look at policies needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look<'a> {
    pub(super) evaluation: &'a Evaluation<'a>,
    pub(super) graph: &'a Graph,
    pub(super) names: &'a Names<'a>,
}

/// The policies at these places with what came of them, the most important first.
pub(super) fn policies<'a>(look: &Look<'a>, indexes: &[usize]) -> Vec<(&'a CompiledPolicy, PolicySeen)> {
    sorted(look.evaluation, indexes).into_iter().map(|policy| (policy, look.policy(policy))).collect()
}

/// The permits at these places with the first condition that is not as it should be.
pub(super) fn ruled_out(evaluation: &Evaluation<'_>, indexes: &[usize]) -> Vec<RuledOut> {
    let policies = sorted(evaluation, indexes).into_iter().filter(|policy| policy.effect == Effect::Permit);
    let found = policies.filter_map(|policy| {
        let mut open = policy.conjuncts.iter();
        let conjunct = open.find(|conjunct| state(evaluation.situation, conjunct, true) != State::Held)?;
        Some(RuledOut {
            policy: Arc::clone(&policy.id),
            text: short(&conjunct.text),
            is_negated: conjunct.is_negated,
            place: place(&conjunct.place),
        })
    });
    found.take(POLICIES_MAX).collect()
}

/// What came of a condition.
pub(super) fn state(situation: &Situation<'_>, conjunct: &Conjunct, is_reached: bool) -> State {
    match situation.holds(&conjunct.condition) {
        Ok(holds) if holds != conjunct.is_negated => State::Held,
        Ok(_) => State::NotHeld,
        Err(_) if is_reached => State::Failed,
        Err(_) => State::NotReached,
    }
}

impl Look<'_> {
    fn policy(&self, policy: &CompiledPolicy) -> PolicySeen {
        let mut whole = State::Held;
        let mut conjuncts = Vec::with_capacity(policy.conjuncts.len().min(CONJUNCTS_MAX));
        for conjunct in &policy.conjuncts {
            let state = state(self.evaluation.situation, conjunct, whole == State::Held);
            if whole == State::Held {
                whole = state;
            }
            if conjuncts.len() < CONJUNCTS_MAX {
                conjuncts.push(self.conjunct(conjunct, state));
            }
        }
        PolicySeen {
            policy: Arc::clone(&policy.id),
            title: title(policy),
            phase: self.evaluation.values.phase,
            state: whole,
            reason: policy.annotation("reason").cloned(),
            place: place(policy.place()),
            conjuncts,
        }
    }

    fn conjunct(&self, conjunct: &Conjunct, state: State) -> ConjunctSeen {
        let situation = self.evaluation.situation;
        let expression = conjunct.condition.expression();
        let wanted = !conjunct.is_negated;
        let is_amiss = matches!(state, State::NotHeld | State::Failed);
        let open = if is_amiss { needs(situation, expression, wanted) } else { Vec::new() };
        let mut missing: Vec<Arc<str>> = Vec::new();
        for need in open.iter().take(VALUES_MAX) {
            let sentence = Arc::from(need.sentence(situation));
            if !missing.contains(&sentence) {
                missing.push(sentence);
            }
        }
        ConjunctSeen {
            text: short(&conjunct.text),
            is_negated: conjunct.is_negated,
            place: place(&conjunct.place),
            state,
            values: if state == State::NotReached { Vec::new() } else { values(situation, expression) },
            missing,
            chains: if state == State::Held && wanted { chains(self, expression) } else { Vec::new() },
        }
    }
}

/// The values at the paths that an expression mentions, in the order in which they are mentioned.
fn values(situation: &Situation<'_>, expression: &Expr) -> Vec<ValueSeen> {
    let mut mentioned = Vec::new();
    mentions(expression, &mut mentioned);
    let mut seen: Vec<ValueSeen> = Vec::new();
    for (path, expression) in mentioned {
        if seen.len() == VALUES_MAX {
            break;
        }
        if seen.iter().any(|known| *known.path == *path) {
            continue;
        }
        let value = situation.value(&expression);
        let members = match value.as_ref().map(|value| &value.value) {
            Some(ValueKind::Set(set)) => set.len(),
            _ => 0,
        };
        seen.push(ValueSeen { path: path.into(), value: value.map(|value| plain(&value)), members });
    }
    seen
}

/// The longest paths from a variable on that an expression mentions, with what reads the value there.
fn mentions(expression: &Expr, found: &mut Vec<(String, Expr)>) {
    if let Some(path) = path_of(expression) {
        found.push((path, expression.clone()));
        return;
    }
    match expression.expr_kind() {
        ExprKind::HasAttr { expr, attr } if path_of(expr).is_some() => {
            mentions(&Expr::get_attr((**expr).clone(), attr.clone()), found);
        }
        ExprKind::ExtHasAttr { expr, attrs } if path_of(expr).is_some() => {
            let whole = attrs.iter().fold((**expr).clone(), |inner, attr| Expr::get_attr(inner, attr.clone()));
            mentions(&whole, found);
        }
        _ => parts(expression).into_iter().for_each(|part| mentions(part, found)),
    }
}

/// The path from a variable on that an expression is, for example `resource.student`.
pub(super) fn path_of(expression: &Expr) -> Option<String> {
    match expression.expr_kind() {
        ExprKind::Var(variable) => Some(variable_name(*variable).to_owned()),
        ExprKind::GetAttr { expr, attr } => Some(format!("{}.{attr}", path_of(expr)?)),
        _ => None,
    }
}

fn variable_name(variable: Var) -> &'static str {
    match variable {
        Var::Principal => "principal",
        Var::Action => "action",
        Var::Resource => "resource",
        Var::Context => "context",
    }
}

/// What an expression is directly made of.
pub(super) fn parts(expression: &Expr) -> Vec<&Expr> {
    match expression.expr_kind() {
        ExprKind::If { test_expr, then_expr, else_expr } => vec![test_expr, then_expr, else_expr],
        ExprKind::And { left, right } | ExprKind::Or { left, right } => vec![left, right],
        ExprKind::UnaryApp { arg, .. } => vec![arg],
        ExprKind::BinaryApp { arg1, arg2, .. } => vec![arg1, arg2],
        ExprKind::ExtensionFunctionApp { args, .. } => args.iter().collect(),
        ExprKind::GetAttr { expr, .. }
        | ExprKind::HasAttr { expr, .. }
        | ExprKind::ExtHasAttr { expr, .. }
        | ExprKind::Like { expr, .. }
        | ExprKind::Is { expr, .. } => vec![expr],
        ExprKind::Set(items) => items.iter().collect(),
        ExprKind::Record(fields) => fields.values().collect(),
        _ => Vec::new(),
    }
}

/// The entity that a value is.
pub(super) fn entity_of(value: &CedarValue) -> Option<EntityId> {
    match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => {
            Some(EntityId::new(uid.entity_type().to_string(), uid.eid().as_ref()))
        }
        _ => None,
    }
}

/// The entities that a value is or holds.
pub(super) fn entities_of(value: &CedarValue) -> Vec<EntityId> {
    match &value.value {
        ValueKind::Set(set) => set.iter().filter_map(entity_of).collect(),
        _ => entity_of(value).into_iter().collect(),
    }
}

/// A value of Cedar's, its sets and texts shortened.
pub(super) fn plain(value: &CedarValue) -> Value {
    match &value.value {
        ValueKind::Lit(Literal::Bool(flag)) => Value::Bool(*flag),
        ValueKind::Lit(Literal::Long(number)) => Value::Long(*number),
        ValueKind::Lit(Literal::String(text)) => Value::String(short(text)),
        ValueKind::Lit(Literal::EntityUID(_)) => entity_of(value).map_or(Value::Null, Value::Entity),
        ValueKind::Set(set) => {
            let mut members: Vec<Value> = set.iter().map(plain).collect();
            members.sort();
            members.truncate(MEMBERS_MAX);
            Value::List(members)
        }
        ValueKind::Record(fields) => {
            let fields = fields.iter().take(VALUES_MAX).map(|(name, field)| (Arc::from(name.as_str()), plain(field)));
            Value::Record(fields.collect::<Attributes>())
        }
        ValueKind::ExtensionValue(_) => Value::String(short(&value.to_string())),
    }
}

/// A text of bounded length.
pub(super) fn short(text: &str) -> Arc<str> {
    match text.char_indices().nth(TEXT_CHARACTERS_MAX).and_then(|(end, _)| text.get(..end)) {
        Some(start) => format!("{start}…").into(),
        None => text.into(),
    }
}

fn place(fault: &Fault) -> Place {
    Place { file: fault.file.as_str().into(), line: fault.line, column: fault.column }
}
