//! Values that are worth a try at a path: what policies compare it with, and what token and question name already.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind};

use super::members;
use crate::domain::{
    explain::{
        look::{Look, parts, path_of, plain},
        slot::{Slot, fits},
    },
    id::EntityId,
    policy_set::CompiledPolicy,
    schema::AttributeType,
    value::Value,
};

/// More values than this aren't tried at one path.
const TRIED_MAX: usize = 20;
/// More entities than this aren't gone through to find some below another.
const VISITED_MAX: usize = 500;

/// What could be said, by path.
pub(super) struct Values<'l, 'a> {
    look: &'l Look<'a>,
    /// The policies whose comparisons count.
    policies: Vec<&'l CompiledPolicy>,
}

impl<'l, 'a> Values<'l, 'a> {
    pub(super) fn new(look: &'l Look<'a>, policies: Vec<&'l CompiledPolicy>) -> Self {
        Self { look, policies }
    }

    /// What is worth saying at a path, in a slot. Several values are to be said together. A value that the question has
    /// gives way to what policies compare it with, and to nothing that would make it a question about somebody else.
    pub(super) fn at(&self, path: &str, slot: Slot<'_>) -> Vec<Vec<Value>> {
        let is_given = self.is_given(slot);
        let mut found: Vec<Vec<Value>> = Vec::new();
        for policy in &self.policies {
            for conjunct in &policy.conjuncts {
                self.compared(conjunct.condition.expression(), path, is_given, &mut found);
            }
        }
        let singles = if is_given { flags(slot) } else { self.guessed(slot) };
        found.extend(singles.into_iter().map(|value| vec![value]));
        let wanted = slot.single_type();
        let mut kept: Vec<Vec<Value>> = Vec::new();
        for values in found {
            let is_one = slot.is_set() || values.len() == 1;
            if is_one && !values.is_empty() && values.iter().all(|value| fits(wanted, value)) && !kept.contains(&values)
            {
                kept.push(values);
            }
        }
        kept.truncate(TRIED_MAX);
        kept
    }

    /// What a policy compares the path with.
    fn compared(&self, expression: &Expr, path: &str, is_given: bool, found: &mut Vec<Vec<Value>>) {
        if let ExprKind::BinaryApp { op, arg1, arg2 } = expression.expr_kind() {
            let is = |side: &Expr| path_of(side).as_deref() == Some(path);
            let other = if is(arg1) { Some(arg2) } else { Some(arg1).filter(|_| is(arg2)) };
            if let Some(value) = other.and_then(|other| self.look.evaluation.situation.value(other)) {
                let each: Vec<Value> = members(&value).iter().map(plain).collect();
                match op {
                    BinaryOp::ContainsAll if is(arg1) => found.push(each),
                    BinaryOp::In if is_given => {}
                    BinaryOp::In => {
                        found.extend(each.into_iter().flat_map(|value| self.within(value)).map(|value| vec![value]));
                    }
                    _ => found.extend(each.into_iter().map(|value| vec![value])),
                }
            }
        }
        for part in parts(expression) {
            self.compared(part, path, is_given, found);
        }
    }

    /// The question has a value there.
    fn is_given(&self, slot: Slot<'_>) -> bool {
        let (request, values) = (self.look.evaluation.request, self.look.evaluation.values);
        match slot {
            Slot::Claim(..) => false,
            Slot::Property(wanted) => {
                let mut subjects = request.resource_type.subjects.iter().zip(&values.values);
                subjects.any(|(subject, value)| subject.attribute == wanted.attribute && value.is_some())
            }
            Slot::Context(name, _) => request.context.get(name).is_some(),
        }
    }

    /// A container itself, and what of other types lies in it.
    fn within(&self, container: Value) -> Vec<Value> {
        let Value::Entity(entity) = &container else { return vec![container] };
        let ends = self.look.evaluation.realm.relations.relations();
        let types: BTreeSet<&Arc<str>> = ends.map(|(_, rule)| &rule.subject).collect();
        let below = types.into_iter().flat_map(|name| self.below(entity, name, 2)).map(Value::Entity);
        let below: Vec<Value> = below.collect();
        std::iter::once(container).chain(below).collect()
    }

    /// What token and question name that could be said here too.
    fn guessed(&self, slot: Slot<'_>) -> Vec<Value> {
        let AttributeType::Entity(wanted) = slot.single_type() else { return flags(slot) };
        let evaluation = self.look.evaluation;
        let (realm, principal) = (evaluation.realm, evaluation.principal);
        let of_token = principal.attributes.iter().flat_map(|(name, _)| principal.entities(name));
        let of_token: Vec<&EntityId> = of_token.collect();
        let given = evaluation.values.values.iter().flatten();
        let given = given.filter_map(|value| if let Value::Entity(entity) = value { Some(entity) } else { None });
        let given: Vec<&EntityId> = given.collect();
        let mut found: Vec<EntityId> = of_token.iter().chain(&given).copied().cloned().collect();
        // A prefix begins with itself.
        let named = |entity: &EntityId| EntityId::new(Arc::clone(wanted), Arc::clone(&entity.id));
        if let Some(rule) = realm.relations.prefixes(wanted) {
            found.extend(principal.entities(&rule.attribute).map(named));
        }
        if let Slot::Claim(mapping, _) = slot {
            let begins = |entity: &&EntityId| {
                realm.relations.prefixes(&entity.entity_type).is_some_and(|rule| rule.attribute == mapping.attribute)
            };
            found.extend(given.into_iter().filter(begins).map(named));
        }
        let is_told = matches!(slot, Slot::Claim(..)) && realm.relations.is_person(wanted);
        if !is_told && found.iter().all(|entity| entity.entity_type != *wanted) {
            let below = of_token.iter().take(TRIED_MAX).flat_map(|entity| self.below(entity, wanted, 1));
            found.extend(below.collect::<Vec<_>>());
        }
        found.into_iter().filter(|entity| entity.entity_type == *wanted).map(Value::Entity).collect()
    }

    /// The first entities of a type that lie in another, by id of those that are near.
    pub(super) fn below(&self, container: &EntityId, entity_type: &str, max: usize) -> Vec<EntityId> {
        let graph = self.look.graph;
        let Some(start) = graph.node(&container.entity_type, &container.id) else { return Vec::new() };
        let mut met = BTreeSet::from([start]);
        let mut open = VecDeque::from([start]);
        let mut found = Vec::new();
        while let Some(node) = open.pop_front() {
            for (_, child) in graph.children(node) {
                if met.len() >= VISITED_MAX || found.len() >= max {
                    return found;
                }
                if met.insert(child) {
                    open.push_back(child);
                    if graph.with_name(child, |name, _| *name == *entity_type) {
                        found.push(graph.entity(child));
                    }
                }
            }
        }
        found
    }
}

/// Both truth values, for a slot that takes them.
fn flags(slot: Slot<'_>) -> Vec<Value> {
    let is_flag = *slot.single_type() == AttributeType::Bool;
    [true, false].into_iter().filter(|_| is_flag).map(Value::Bool).collect()
}
