//! The relationships that make one entity lie in another: a shortest chain, step by step.

use std::collections::{BTreeMap, VecDeque};

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind};

use super::{
    By, Chain, HOPS_MAX, Hop, VALUES_MAX,
    look::{Look, entities_of, entity_of},
    need::truth,
};
use crate::domain::id::EntityId;

/// More entities than this aren't gone through for a chain.
const VISITED_MAX: usize = 10_000;

/// The chains behind every `in` that an expression's truth rests on.
pub(super) fn chains(look: &Look<'_>, expression: &Expr) -> Vec<Chain> {
    let mut found = Vec::new();
    find(look, expression, &mut found);
    found.truncate(VALUES_MAX);
    found
}

fn find(look: &Look<'_>, expression: &Expr, found: &mut Vec<Chain>) {
    let situation = look.evaluation.situation;
    if truth(situation, expression) != Some(true) {
        return;
    }
    match expression.expr_kind() {
        ExprKind::And { left, right } | ExprKind::Or { left, right } => {
            find(look, left, found);
            find(look, right, found);
        }
        ExprKind::If { test_expr, then_expr, else_expr } => {
            find(look, test_expr, found);
            let taken = if truth(situation, test_expr) == Some(true) { then_expr } else { else_expr };
            find(look, taken, found);
        }
        ExprKind::BinaryApp { op: BinaryOp::In, arg1, arg2 } => {
            let ends = situation.value(arg1).zip(situation.value(arg2));
            let ends = ends.and_then(|(from, to)| Some((entity_of(&from)?, entities_of(&to))));
            found.extend(ends.and_then(|(from, to)| chain(look, from, &to)));
        }
        _ => {}
    }
}

/// A shortest chain from an entity to one of others; `None` where there is none, or it is too far.
fn chain(look: &Look<'_>, from: EntityId, to: &[EntityId]) -> Option<Chain> {
    let mut came: BTreeMap<EntityId, Option<(EntityId, By)>> = BTreeMap::from([(from.clone(), None)]);
    let mut open = VecDeque::from([from.clone()]);
    while let Some(current) = open.pop_front() {
        if to.contains(&current) {
            return Some(told(look, from, current, &came));
        }
        for (by, above) in steps(look, &current) {
            if came.len() < VISITED_MAX && !came.contains_key(&above) {
                came.insert(above.clone(), Some((current.clone(), by)));
                open.push_back(above);
            }
        }
    }
    None
}

fn told(look: &Look<'_>, from: EntityId, end: EntityId, came: &BTreeMap<EntityId, Option<(EntityId, By)>>) -> Chain {
    let mut hops = Vec::new();
    let mut current = end;
    while let Some(Some((below, by))) = came.get(&current) {
        hops.push(Hop { by: by.clone(), to: look.names.entity(&current) });
        current = below.clone();
    }
    hops.reverse();
    hops.truncate(HOPS_MAX);
    Chain { from: look.names.entity(&from), hops }
}

/// One step up, by everything that makes an entity contain another.
fn steps(look: &Look<'_>, entity: &EntityId) -> Vec<(By, EntityId)> {
    let (realm, principal, graph) = (look.evaluation.realm, look.evaluation.principal, look.graph);
    let relations = &realm.relations;
    let mut found = Vec::new();
    let base = relations.history_of(&entity.entity_type);
    if let Some(node) = graph.node(base.unwrap_or(&entity.entity_type), &entity.id) {
        let shown = |above: EntityId| match relations.history(&above.entity_type).filter(|_| base.is_some()) {
            Some(history) => EntityId { entity_type: history.clone(), id: above.id },
            None => above,
        };
        let now = graph.parents(node);
        found.extend(now.map(|(by, above)| (By::Relation(graph.relation_name(by)), shown(graph.entity(above)))));
        let past = graph.parents_removed(node).filter(|_| base.is_some());
        let past = past.map(|(by, above)| (graph.relation_name(by), above));
        let past = past.filter(|(by, _)| relations.remembered().contains(by));
        found.extend(past.map(|(by, above)| (By::Past(by), shown(graph.entity(above)))));
    }
    if *entity == principal.entity {
        found.extend(principal.parents.iter().map(|above| (By::Token, above.clone())));
    }
    if let Some(rule) = relations.prefixes(&entity.entity_type) {
        let prefixes = principal.entities(&rule.attribute).filter(|prefix| rule.covers(&prefix.id, &entity.id));
        found.extend(prefixes.map(|prefix| (By::Prefix, prefix.clone())));
    }
    if let Some(above) = relations.path_parent(&entity.entity_type, &entity.id) {
        found.push((By::Path, EntityId::new(entity.entity_type.clone(), above)));
    }
    found
}
