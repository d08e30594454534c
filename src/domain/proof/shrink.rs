//! Takes out of a counterexample what does not matter, so that people see what does.
//!
//! What is left still fits the schema: an attribute goes only where it is optional, a set may lose its members, a flag may
//! become false and a text empty, and an entity leaves what contains it in an order in which the rest still lies where it lay.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cedar_policy_core::ast::{EntityUID, Literal, Value as CedarValue, ValueKind};
use smol_str::SmolStr;

use super::counterexample::{Case, Known, Members};
use crate::domain::schema::{AttributeType, Member, RealmSchema};

/// How often it is tried whether a smaller case still shows the same.
const TRIES_MAX: usize = 4_000;

type Declared = BTreeMap<Arc<str>, Member>;

impl Case {
    /// The smallest case that is found by taking out one thing after the other while it `still` shows what it has to.
    pub(super) fn shrunk(self, schema: &RealmSchema, still: impl Fn(&Self) -> bool) -> Self {
        let mut case = self;
        let mut tries = 0;
        let is_left = |smaller: &Self, tries: &mut usize| {
            *tries += 1;
            *tries <= TRIES_MAX && still(smaller)
        };
        loop {
            let found = case.smaller(schema).find(|smaller| is_left(smaller, &mut tries));
            let Some(smaller) = found else { break };
            case = smaller;
        }
        let reachable = case.reachable();
        let mut pruned = case.clone();
        pruned.entities.retain(|uid, _| uid.is_action() || reachable.contains(uid));
        if still(&pruned) { pruned } else { case }
    }

    /// All cases that lack one thing.
    fn smaller<'a>(&'a self, schema: &'a RealmSchema) -> impl Iterator<Item = Self> + 'a {
        let action: &str = self.action.eid().as_ref();
        let declared = schema.actions.get(action).map(|shape| &shape.context);
        let contexts = lesser_members(&self.context, declared).into_iter();
        let contexts = contexts.map(|context| Self { context, ..self.clone() });
        let entities = self.entities.iter().filter(|(uid, _)| !uid.is_action());
        contexts.chain(entities.flat_map(|(uid, known)| {
            let declared = schema.entities.get(uid.entity_type().to_string().as_str());
            let less = self.lesser(known, declared);
            less.into_iter().map(|known| {
                let mut case = self.clone();
                case.entities.insert(uid.clone(), known);
                case
            })
        }))
    }

    fn lesser(&self, known: &Known, declared: Option<&Declared>) -> Vec<Known> {
        let attributes = lesser_members(&known.attributes, declared).into_iter();
        let attributes = attributes.map(|attributes| Known { attributes, ..known.clone() });
        let is_above = |ancestor: &EntityUID| {
            let mut others = known.ancestors.iter().filter(|other| *other != ancestor);
            others.any(|other| self.entities.get(other).is_some_and(|other| other.ancestors.contains(ancestor)))
        };
        let nearest = known.ancestors.iter().filter(|ancestor| !is_above(ancestor));
        let fewer = nearest.map(|ancestor| {
            let mut known = known.clone();
            known.ancestors.remove(ancestor);
            known
        });
        attributes.chain(fewer).collect()
    }

    /// The entities that the request names, and whatever those name or lie in.
    fn reachable(&self) -> BTreeSet<EntityUID> {
        let mut found = BTreeSet::new();
        let mut open: Vec<EntityUID> = vec![self.principal.clone(), self.resource.clone()];
        self.context.values().for_each(|value| names(value, &mut open));
        while let Some(uid) = open.pop() {
            if let Some(known) = self.entities.get(&uid).filter(|_| found.insert(uid)) {
                open.extend(known.ancestors.iter().cloned());
                known.attributes.values().chain(known.tags.values()).for_each(|value| names(value, &mut open));
            }
        }
        found
    }
}

fn names(value: &CedarValue, found: &mut Vec<EntityUID>) {
    match &value.value {
        ValueKind::Lit(Literal::EntityUID(uid)) => found.push(EntityUID::clone(uid)),
        ValueKind::Set(set) => set.iter().for_each(|value| names(value, found)),
        ValueKind::Record(members) => members.values().for_each(|value| names(value, found)),
        ValueKind::Lit(_) | ValueKind::ExtensionValue(_) => {}
    }
}

/// Members that lack one thing: an optional one, or a part of one.
fn lesser_members(members: &Members, declared: Option<&Declared>) -> Vec<Members> {
    let mut found = Vec::new();
    for (name, value) in members {
        let member = declared.and_then(|declared| declared.get(name.as_str()));
        if member.is_some_and(|member| !member.is_required) {
            let mut without = members.clone();
            without.remove(name);
            found.push(without);
        }
        let less = lesser_values(value, member.map(|member| &member.value_type));
        found.extend(less.into_iter().map(|value| with(members, name, value)));
    }
    found
}

fn with(members: &Members, name: &SmolStr, value: CedarValue) -> Members {
    let mut members = members.clone();
    members.insert(name.clone(), value);
    members
}

fn lesser_values(value: &CedarValue, declared: Option<&AttributeType>) -> Vec<CedarValue> {
    match &value.value {
        ValueKind::Lit(Literal::Bool(true)) => vec![CedarValue::from(false)],
        ValueKind::Lit(Literal::String(text)) if !text.is_empty() => {
            vec![CedarValue::from(Literal::String(SmolStr::default()))]
        }
        ValueKind::Set(set) => {
            let all: Vec<&CedarValue> = set.iter().collect();
            let without = (0..all.len()).map(|out| {
                let left = all.iter().enumerate().filter(|(index, _)| *index != out);
                CedarValue::set(left.map(|(_, value)| CedarValue::clone(value)), None)
            });
            let empty = (all.len() > 1).then(|| CedarValue::set(Vec::<CedarValue>::new(), None));
            empty.into_iter().chain(without).collect()
        }
        ValueKind::Record(members) => {
            let declared = match declared {
                Some(AttributeType::Record(declared)) => Some(declared),
                _ => None,
            };
            let less = lesser_members(members, declared).into_iter();
            less.map(|members| CedarValue::record(members, None)).collect()
        }
        ValueKind::Lit(_) | ValueKind::ExtensionValue(_) => Vec::new(),
    }
}
