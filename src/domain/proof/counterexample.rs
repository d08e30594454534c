//! A request, with facts, for which a claim does not hold.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    sync::Arc,
};

use cedar_policy::{EntityUid, Request};
use cedar_policy_core::ast::{
    Context as CedarContext, Entity, EntityUID, EntityUIDEntry, Literal, PartialValue, Request as CedarRequest,
    Value as CedarValue, ValueKind,
};
use cedar_policy_symcc::Env;
use ref_cast::RefCast as _;
use smol_str::SmolStr;

use super::Verdict;
use crate::domain::{
    cedar::{CedarEntity, Situation, with_situation},
    id::EntityId,
    value::{Attributes, Value},
};

/// A request for which a claim does not hold, with the facts around it. What does not matter was taken out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// Who asks.
    pub principal: EntityId,
    /// The id of the action.
    pub action: Arc<str>,
    /// What it is about.
    pub resource: EntityId,
    /// The context.
    pub context: Attributes,
    /// The principal, the resource, and what they name or lie in, in order.
    pub entities: Vec<Facts>,
    /// What the policies say of it.
    pub now: Verdict,
    /// What they said of it before, where the claim is about a change.
    pub before: Option<Verdict>,
}

/// What is so of one entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name.
    pub entity: EntityId,
    /// What contains it, directly or through others.
    pub ancestors: Vec<EntityId>,
    /// Its attributes.
    pub attributes: Attributes,
}

pub(super) type Members = BTreeMap<SmolStr, CedarValue>;

/// A request with entities, as Cedar takes them.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) principal: EntityUID,
    pub(super) action: EntityUID,
    pub(super) resource: EntityUID,
    pub(super) context: Members,
    pub(super) entities: BTreeMap<EntityUID, Known>,
}

/// An entity of a case, with all that contains it.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) attributes: Members,
    pub(super) tags: Members,
    pub(super) ancestors: BTreeSet<EntityUID>,
}

impl Case {
    /// The case that the solver found; `None` where a part of it is not known.
    pub(super) fn of(env: &Env) -> Option<Self> {
        let request: &CedarRequest = env.request.as_ref();
        let Some(CedarContext::Value(context)) = request.context() else { return None };
        let entities: Option<BTreeMap<EntityUID, Known>> = env
            .entities
            .iter()
            .map(|entity| {
                let entity: &Entity = entity.as_ref();
                let ancestors = entity.ancestors().cloned().collect();
                let (attributes, tags) = (members(entity.attrs())?, members(entity.tags())?);
                Some((entity.uid().clone(), Known { attributes, tags, ancestors }))
            })
            .collect();
        Some(Self {
            principal: request.principal().uid()?.clone(),
            action: request.action().uid()?.clone(),
            resource: request.resource().uid()?.clone(),
            context: BTreeMap::clone(context),
            entities: entities?,
        })
    }

    /// Asks about the case; `None` where its facts contradict each other.
    pub(super) fn ask<T>(&self, ask: impl FnOnce(&Situation<'_>) -> T) -> Option<T> {
        let entry = |uid: &EntityUID| EntityUIDEntry::known(uid.clone(), None);
        let context = CedarContext::Value(Arc::new(self.context.clone()));
        let (principal, resource) = (entry(&self.principal), entry(&self.resource));
        let request = CedarRequest::new_unchecked(principal, entry(&self.action), resource, Some(context));
        let entities = self.entities.iter().map(|(uid, known)| CedarEntity::of(known.entity(uid)));
        with_situation(&Request::from(request), entities, ask)
    }

    /// The case as it is told.
    pub(super) fn told(&self, now: Verdict, before: Option<Verdict>) -> Counterexample {
        let facts = |(uid, known): (&EntityUID, &Known)| Facts {
            entity: named(uid),
            ancestors: known.ancestors.iter().map(named).collect(),
            attributes: attributes(&known.attributes),
        };
        Counterexample {
            principal: named(&self.principal),
            action: self.action.eid().as_ref().into(),
            resource: named(&self.resource),
            context: attributes(&self.context),
            entities: self.entities.iter().filter(|(uid, _)| !uid.is_action()).map(facts).collect(),
            now,
            before,
        }
    }
}

impl Known {
    fn entity(&self, uid: &EntityUID) -> Entity {
        let partial = |(name, value): (&SmolStr, &CedarValue)| (name.clone(), PartialValue::Value(value.clone()));
        let attributes: Vec<_> = self.attributes.iter().map(partial).collect();
        let tags: Vec<_> = self.tags.iter().map(partial).collect();
        let ancestors: HashSet<EntityUID> = self.ancestors.iter().cloned().collect();
        Entity::new_with_attr_partial_value(uid.clone(), attributes, HashSet::new(), ancestors, tags)
    }
}

fn members<'m>(pairs: impl Iterator<Item = (&'m SmolStr, &'m PartialValue)>) -> Option<Members> {
    let known = |(name, value): (&SmolStr, &PartialValue)| match value {
        PartialValue::Value(value) => Some((name.clone(), value.clone())),
        PartialValue::Residual(_) => None,
    };
    pairs.map(known).collect()
}

fn named(uid: &EntityUID) -> EntityId {
    let uid = EntityUid::ref_cast(uid);
    EntityId::new(uid.type_name().to_string(), uid.id().unescaped())
}

fn attributes(members: &Members) -> Attributes {
    members.iter().map(|(name, value)| (Arc::from(name.as_str()), told(value))).collect()
}

/// A value of an extension type is told as the call that makes it.
fn told(value: &CedarValue) -> Value {
    match &value.value {
        ValueKind::Lit(Literal::Bool(flag)) => Value::Bool(*flag),
        ValueKind::Lit(Literal::Long(number)) => Value::Long(*number),
        ValueKind::Lit(Literal::String(text)) => Value::String(text.as_str().into()),
        ValueKind::Lit(Literal::EntityUID(uid)) => Value::Entity(named(uid)),
        ValueKind::Set(set) => Value::List(set.iter().map(told).collect()),
        ValueKind::Record(members) => Value::Record(attributes(members)),
        ValueKind::ExtensionValue(_) => Value::String(value.to_string().into()),
    }
}
