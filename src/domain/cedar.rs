//! The bridge to Cedar's entities and its evaluator: besides the files that take conditions apart and those of
//! `proof`, the one that names `cedar-policy-core`.
//!
//! Cedar's public constructors compute the ancestors of every entity anew, about 1.5 µs each.
//! The graph knows them already, so entities are handed over as computed. And Cedar's public authorizer puts the
//! condition of every policy together anew at every request, and says no more of it than the policy's name; here the
//! same evaluator is asked about conditions that were put together once.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    sync::Arc,
};

use cedar_policy::{Context, EntityUid, Policy, Request};
use cedar_policy_core::{
    ast::{
        Context as CedarContext, Eid, Entity, EntityType, EntityUID, Expr, Literal, PartialValue, SlotEnv,
        Value as CedarValue, ValueKind,
    },
    entities::{Entities, NoEntitiesSchema, TCComputation},
    evaluator::Evaluator,
    extensions::Extensions,
};
use ref_cast::RefCast as _;
use smol_str::SmolStr;

use super::{id::EntityId, schema::RealmSchema, value::Value};

/// The entity types of a schema, parsed once.
#[derive(Clone, Debug, Default)]
pub(super) struct CedarTypes(BTreeMap<Arc<str>, EntityType>);

/// A value as Cedar takes it. A copy costs no more than a pointer.
#[derive(Clone, Debug)]
pub(super) struct ReadyValue(CedarValue);

/// The context with more members; one of a name that it has takes its place. `None` where one of them is not ready, and for
/// a context that isn't known as a whole.
pub(super) fn with_members<'m>(
    context: &Context,
    members: impl Iterator<Item = (&'m str, Option<ReadyValue>)>,
) -> Option<Context> {
    let inner: &CedarContext = context.as_ref();
    let CedarContext::Value(known) = inner else { return None };
    let mut all = BTreeMap::clone(known);
    for (name, ready) in members {
        let ReadyValue(value) = ready?;
        all.insert(SmolStr::new(name), value);
    }
    Some(CedarContext::Value(Arc::new(all)).into())
}

/// An entity ready for Cedar, with all its ancestors.
#[derive(Clone, Debug)]
pub(super) struct CedarEntity(Arc<Entity>);

impl CedarEntity {
    /// An entity that holds all its ancestors already.
    pub(super) fn of(entity: Entity) -> Self {
        Self(Arc::new(entity))
    }
}

impl CedarTypes {
    pub(super) fn of(schema: &RealmSchema) -> Self {
        let parse =
            |name: &Arc<str>| EntityType::from_normalized_str(name).ok().map(|parsed| (Arc::clone(name), parsed));
        Self(schema.entities.keys().filter_map(parse).collect())
    }

    /// Cedar's name of an entity; `None` for a type that the schema doesn't have.
    pub(super) fn uid(&self, entity_type: &str, id: &str) -> Option<EntityUid> {
        self.core_uid(entity_type, id).map(|uid| EntityUid::ref_cast(&uid).clone())
    }

    fn core_uid(&self, entity_type: &str, id: &str) -> Option<EntityUID> {
        let parsed = self.0.get(entity_type)?;
        Some(EntityUID::from_components(parsed.clone(), Eid::new(SmolStr::new(id)), None))
    }

    /// The value as Cedar takes it; `None` for what it has no words for.
    pub(super) fn ready(&self, value: &Value) -> Option<ReadyValue> {
        self.value(value).map(ReadyValue)
    }

    fn value(&self, value: &Value) -> Option<CedarValue> {
        match value {
            Value::Bool(flag) => Some(CedarValue::from(Literal::Bool(*flag))),
            Value::Long(number) => Some(CedarValue::from(Literal::Long(*number))),
            Value::String(text) => Some(CedarValue::from(Literal::String(SmolStr::new(text)))),
            Value::Entity(EntityId { entity_type, id }) => {
                self.core_uid(entity_type, id).map(|uid| CedarValue::from(Literal::EntityUID(Arc::new(uid))))
            }
            Value::List(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| self.value(item)).collect();
                items.map(|items| CedarValue::set(items, None))
            }
            Value::Record(fields) => {
                let fields: Option<Vec<_>> = fields
                    .iter()
                    .map(|(name, value)| self.value(value).map(|value| (SmolStr::new(name), value)))
                    .collect();
                fields.map(|fields| CedarValue::record(fields, None))
            }
            Value::Null => None,
        }
    }

    /// Cedar takes the two for the same value: the members of a set have no order.
    pub(super) fn is_same(&self, one: &Value, other: &Value) -> bool {
        one == other || self.value(one).is_some_and(|one| self.value(other) == Some(one))
    }

    /// Makes an entity. Attributes without a value are left out; ancestors of types that the schema doesn't have, too.
    pub(super) fn entity<'a>(
        &self,
        id: &EntityId,
        attributes: impl IntoIterator<Item = (&'a str, &'a Value)>,
        ancestors: impl IntoIterator<Item = EntityUid>,
    ) -> Option<CedarEntity> {
        let attributes: Vec<_> = attributes
            .into_iter()
            .filter_map(|(name, value)| Some((SmolStr::new(name), PartialValue::Value(self.value(value)?))))
            .collect();
        let ancestors: HashSet<EntityUID> = ancestors.into_iter().map(EntityUID::from).collect();
        let uid = self.core_uid(&id.entity_type, &id.id)?;
        Some(CedarEntity(Arc::new(Entity::new_with_attr_partial_value(uid, attributes, HashSet::new(), ancestors, []))))
    }
}

/// The action entities of a schema, with the groups they are in.
pub(super) fn action_entities(schema: &RealmSchema) -> BTreeMap<Arc<str>, CedarEntity> {
    let Ok(actions) = schema.cedar.action_entities() else { return BTreeMap::new() };
    actions
        .iter()
        .map(|action| {
            let entity: &Entity = action.as_ref();
            (Arc::from(action.uid().id().unescaped()), CedarEntity(Arc::new(entity.clone())))
        })
        .collect()
}

/// What Cedar evaluates to find out whether a policy applies.
#[derive(Clone, Debug)]
pub(super) struct Condition {
    expression: Expr,
    slots: SlotEnv,
}

impl Condition {
    /// Scope and clauses.
    pub(super) fn of(policy: &Policy) -> Self {
        let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
        Self { expression: inner.condition(), slots: inner.env().clone() }
    }

    /// The clauses alone.
    pub(super) fn of_clauses(policy: &Policy) -> Self {
        let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
        let clauses = inner.non_scope_constraints().cloned();
        Self { expression: clauses.unwrap_or_else(|| Expr::val(true)), slots: inner.env().clone() }
    }

    /// An expression without slots.
    pub(super) fn of_expression(expression: &Expr) -> Self {
        Self { expression: expression.clone(), slots: SlotEnv::new() }
    }

    /// What is evaluated.
    pub(super) fn expression(&self) -> &Expr {
        &self.expression
    }
}

/// A condition could not be evaluated. Cedar's own text may hold values, so it isn't kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ConditionError;

/// One request with the entities around it, ready to be asked about conditions.
pub(super) struct Situation<'a>(Evaluator<'a>);

impl Situation<'_> {
    /// Whether the condition holds, as Cedar's authorizer finds out.
    pub(super) fn holds(&self, condition: &Condition) -> Result<bool, ConditionError> {
        let Condition { expression, slots } = condition;
        match self.0.interpret(expression, slots) {
            Ok(CedarValue { value: ValueKind::Lit(Literal::Bool(holds)), .. }) => Ok(holds),
            Ok(_) | Err(_) => Err(ConditionError),
        }
    }

    /// What an expression without slots comes to; `None` when it fails.
    pub(super) fn value(&self, expression: &Expr) -> Option<CedarValue> {
        self.0.interpret(expression, &SlotEnv::new()).ok()
    }
}

impl fmt::Debug for Situation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Situation(..)")
    }
}

/// Puts a request and the entities around it together for `ask`. `None` when two entities of the same name differ.
pub(super) fn with_situation<T>(
    request: &Request,
    entities: impl IntoIterator<Item = CedarEntity>,
    ask: impl FnOnce(&Situation<'_>) -> T,
) -> Option<T> {
    let extensions = Extensions::all_available();
    // INVARIANT: each entity holds all its ancestors, none of which is itself.
    let entities = Entities::new().add_entities(
        entities.into_iter().map(|entity| entity.0),
        None::<&NoEntitiesSchema>,
        TCComputation::AssumeAlreadyComputed,
        extensions,
    );
    let request: &cedar_policy_core::ast::Request = request.as_ref();
    entities.ok().map(|entities| ask(&Situation(Evaluator::new(request.clone(), &entities, extensions))))
}
