//! Which entity types policies ask to be in, so that it is known which relations can matter to them.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy_core::ast::{BinaryOp, Expr, ExprKind, Literal, Var};

use crate::domain::{
    realm::Realm,
    schema::{AttributeType, Member},
};

/// The entity types of what policies ask something to be in; `None` where one of them cannot be told.
pub(super) fn asked_for(realm: &Realm) -> Option<BTreeSet<Arc<str>>> {
    let mut types = BTreeSet::new();
    for policy in realm.policies.iter() {
        types.extend(policy.scope_containers().map(Arc::from));
        for conjunct in &policy.conjuncts {
            for expression in conjunct.condition.expression().subexpressions() {
                if let ExprKind::BinaryApp { op: BinaryOp::In, arg2, .. } = expression.expr_kind() {
                    types_of(arg2, realm, &mut types)?;
                }
            }
        }
    }
    Some(types)
}

/// Notes the entity types that an expression can be of, alone or in a set. An attribute counts as that of each type that has
/// one of its name.
fn types_of(expression: &Expr, realm: &Realm, types: &mut BTreeSet<Arc<str>>) -> Option<()> {
    let schema = &realm.schema;
    match expression.expr_kind() {
        ExprKind::Lit(Literal::EntityUID(uid)) => {
            types.insert(Arc::from(uid.entity_type().to_string()));
        }
        ExprKind::Set(items) => {
            for item in items.iter() {
                types_of(item, realm, types)?;
            }
        }
        ExprKind::If { then_expr, else_expr, .. } => {
            types_of(then_expr, realm, types)?;
            types_of(else_expr, realm, types)?;
        }
        ExprKind::Var(Var::Principal) => {
            types.extend(schema.actions.values().flat_map(|shape| shape.principals.clone()));
        }
        ExprKind::Var(Var::Resource) => types.extend(schema.actions.values().flat_map(|shape| shape.resources.clone())),
        ExprKind::Var(Var::Action) => {}
        ExprKind::GetAttr { attr, .. } => {
            let contexts = schema.actions.values().map(|shape| &shape.context);
            for members in schema.entities.values().chain(contexts) {
                named(members, attr, types);
            }
        }
        _ => return None,
    }
    Some(())
}

/// Notes the entity types of the members of this name, however deep in records.
fn named(members: &std::collections::BTreeMap<Arc<str>, Member>, name: &str, types: &mut BTreeSet<Arc<str>>) {
    for (own, member) in members {
        if **own == *name {
            entities(&member.value_type, types);
        }
        if let AttributeType::Record(inner) = &member.value_type {
            named(inner, name, types);
        }
    }
}

fn entities(value_type: &AttributeType, types: &mut BTreeSet<Arc<str>>) {
    match value_type {
        AttributeType::Entity(name) => drop(types.insert(Arc::clone(name))),
        AttributeType::Set(element) => entities(element, types),
        _ => {}
    }
}
