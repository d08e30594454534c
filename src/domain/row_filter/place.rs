//! What is asked of the resource's values, as tests of single values.

use std::{collections::BTreeSet, sync::Arc};

use cedar_policy_core::ast::{EntityType, EntityUID, Expr, Literal, Value as CedarValue, ValueKind, Var};

use super::{
    Condition, Filter, Test,
    reach::{Way, way},
    symbolic::{Cases, Leaf, Symbolic, alone, failed, known, when},
};
use crate::domain::{id::EntityId, resource_type::LACKS, schema::AttributeType, value::Value};

/// A value of the resource, or what it links to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    subject: usize,
    links: Vec<Arc<str>>,
    value_type: AttributeType,
}

impl Place {
    fn test(&self, condition: Condition) -> Filter {
        Filter::Is(Test { subject: self.subject, links: self.links.clone(), condition })
    }

    /// The entity type, if the value is an entity.
    fn entity_type(&self) -> Option<&Arc<str>> {
        if let AttributeType::Entity(name) = &self.value_type { Some(name) } else { None }
    }

    /// When a truth value is true; `None` if it is of another type.
    pub(super) fn is_true(&self) -> Option<Filter> {
        (self.value_type == AttributeType::Bool).then(|| self.test(Condition::OneOf(vec![Value::Bool(true)])))
    }

    /// When it is one of these; `None` for a type whose values aren't compared one by one.
    fn is_one_of<'v>(&self, values: impl IntoIterator<Item = &'v CedarValue>) -> Option<Filter> {
        let values = comparable(&self.value_type, values)?;
        Some(if values.is_empty() { Filter::None } else { self.test(Condition::OneOf(values)) })
    }

    /// When a set includes any of these; `None` for another type.
    fn includes_any<'v>(&self, values: impl IntoIterator<Item = &'v CedarValue>) -> Option<Filter> {
        let AttributeType::Set(element) = &self.value_type else { return None };
        let values = comparable(element, values)?;
        Some(if values.is_empty() { Filter::None } else { self.test(Condition::Includes(values)) })
    }
}

/// Those of the values that are of this type, sorted, each once.
fn comparable<'v>(wanted: &AttributeType, values: impl IntoIterator<Item = &'v CedarValue>) -> Option<Vec<Value>> {
    if matches!(wanted, AttributeType::Set(_) | AttributeType::Record(_) | AttributeType::Other) {
        return None;
    }
    let values = values.into_iter().filter_map(|value| match (wanted, &value.value) {
        (AttributeType::Bool, ValueKind::Lit(Literal::Bool(flag))) => Some(Value::Bool(*flag)),
        (AttributeType::Long, ValueKind::Lit(Literal::Long(number))) => Some(Value::Long(*number)),
        (AttributeType::String, ValueKind::Lit(Literal::String(text))) => Some(Value::String(text.as_str().into())),
        (AttributeType::Entity(name), ValueKind::Lit(Literal::EntityUID(uid))) => {
            let entity = entity_id(uid);
            (entity.entity_type == *name).then_some(Value::Entity(entity))
        }
        _ => None,
    });
    let values: BTreeSet<Value> = values.collect();
    Some(values.into_iter().collect())
}

fn entity_id(uid: &EntityUID) -> EntityId {
    EntityId::new(uid.entity_type().to_string(), uid.eid().as_ref())
}

fn entity(value: &CedarValue) -> Option<&EntityUID> {
    if let ValueKind::Lit(Literal::EntityUID(uid)) = &value.value { Some(uid) } else { None }
}

/// The members of a set; an entity alone counts as one. `None` when some member is no entity.
fn entities(value: &CedarValue) -> Option<Vec<EntityId>> {
    match &value.value {
        ValueKind::Set(set) => set.iter().map(|member| entity(member).map(entity_id)).collect(),
        _ => entity(value).map(|uid| vec![entity_id(uid)]),
    }
}

fn members(value: &CedarValue) -> Option<impl Iterator<Item = &CedarValue>> {
    if let ValueKind::Set(set) = &value.value { Some(set.iter()) } else { None }
}

impl Symbolic<'_> {
    fn subject(&self, attribute: &str) -> Option<Place> {
        let subjects = self.resource_type.subjects.iter().enumerate();
        let mut named = subjects.filter(|(_, subject)| *subject.attribute == *attribute);
        named.next().map(|(place, subject)| Place {
            subject: place,
            links: Vec::new(),
            value_type: subject.value_type.clone(),
        })
    }

    fn link(&self, entity_type: &str, attribute: &str) -> Option<&Arc<str>> {
        self.realm.relations.entity(entity_type)?.links.get(attribute)
    }

    /// An entity of this type may be one of which more is known than its links.
    fn may_be_another(&self, entity_type: &str, attribute: &str) -> bool {
        let is_principal = *self.principal.entity.entity_type == *entity_type;
        let is_resource = *self.resource_type.entity == *entity_type;
        if self.link(entity_type, attribute).is_some() {
            return is_principal && self.principal.attributes.get(attribute).is_some()
                || is_resource && self.subject(attribute).is_some();
        }
        is_principal || is_resource
    }

    /// The value of an attribute.
    pub(super) fn attribute(&self, leaf: &Leaf, name: &str) -> Option<Cases> {
        match leaf {
            Leaf::Known(value) => {
                self.is_no_resource(value)?;
                Some(match &value.value {
                    ValueKind::Record(fields) => {
                        fields.get(name).map_or_else(failed, |it| alone(Leaf::Known(it.clone())))
                    }
                    _ => self.evaluated(&Expr::get_attr(value.clone().into(), name.into())),
                })
            }
            Leaf::Record(fields) => Some(fields.get(name).map_or_else(failed, |field| alone(field.clone()))),
            Leaf::Context => {
                self.is_known(name)?;
                Some(self.evaluated(&Expr::get_attr(Expr::var(Var::Context), name.into())))
            }
            Leaf::Resource if name == LACKS && self.resource_type.has_lacks => Some(alone(Leaf::Lacks)),
            Leaf::Resource => {
                let is_link = self.link(&self.resource_type.entity, name).is_some();
                match (self.subject(name), is_link) {
                    (Some(place), false) => {
                        let is_there = place.test(Condition::HasValue);
                        let isnt = is_there.clone().negated();
                        Some(vec![(is_there, Leaf::Subject(place)), (isnt, Leaf::Failed)])
                    }
                    (None, false) => Some(failed()),
                    // Which entity a resource links to, its id says.
                    (_, true) => None,
                }
            }
            Leaf::Subject(place) => {
                let entity_type = place.entity_type()?;
                if self.may_be_another(entity_type, name) {
                    return None;
                }
                Some(match self.link(entity_type, name) {
                    None => failed(),
                    Some(linked) => {
                        let links = place.links.iter().cloned().chain([name.into()]).collect();
                        let value_type = AttributeType::Entity(Arc::clone(linked));
                        alone(Leaf::Subject(Place { subject: place.subject, links, value_type }))
                    }
                })
            }
            Leaf::Lacks | Leaf::Set(_) | Leaf::Failed => Some(failed()),
        }
    }

    /// Whether there is an attribute.
    pub(super) fn has(&self, leaf: &Leaf, name: &str) -> Option<Cases> {
        match leaf {
            Leaf::Known(value) => {
                self.is_no_resource(value)?;
                Some(match &value.value {
                    ValueKind::Record(fields) => known(fields.contains_key(name)),
                    _ => self.evaluated(&Expr::has_attr(value.clone().into(), name.into())),
                })
            }
            Leaf::Record(fields) => Some(known(fields.contains_key(name))),
            Leaf::Context => {
                self.is_known(name)?;
                Some(self.evaluated(&Expr::has_attr(Expr::var(Var::Context), name.into())))
            }
            Leaf::Resource if name == LACKS && self.resource_type.has_lacks => Some(known(true)),
            Leaf::Resource if self.link(&self.resource_type.entity, name).is_some() => Some(known(true)),
            Leaf::Resource => {
                Some(self.subject(name).map_or_else(|| known(false), |place| when(place.test(Condition::HasValue))))
            }
            Leaf::Subject(place) => {
                let entity_type = place.entity_type()?;
                if self.may_be_another(entity_type, name) {
                    return None;
                }
                Some(known(self.link(entity_type, name).is_some()))
            }
            Leaf::Lacks | Leaf::Set(_) | Leaf::Failed => Some(failed()),
        }
    }

    /// `None` for a member of the context that depends on which resource it is.
    fn is_known(&self, member: &str) -> Option<()> {
        (!self.unknown.iter().any(|unknown| **unknown == *member)).then_some(())
    }

    /// `None` for an entity that may be the resource: its attributes aren't known then.
    fn is_no_resource(&self, value: &CedarValue) -> Option<()> {
        let may_be = entity(value).is_some_and(|uid| self.is_of_resource_type(uid));
        (!may_be).then_some(())
    }

    fn is_of_resource_type(&self, uid: &EntityUID) -> bool {
        uid.entity_type().to_string() == *self.resource_type.entity
    }

    /// Whether an entity is of a type.
    pub(super) fn is_of(&self, leaf: &Leaf, entity_type: &EntityType) -> Option<Cases> {
        match leaf {
            Leaf::Known(value) => {
                Some(self.evaluated(&Expr::is_entity_type(value.clone().into(), entity_type.clone())))
            }
            Leaf::Resource => Some(known(entity_type.to_string() == *self.resource_type.entity)),
            Leaf::Subject(place) => Some(known(entity_type.to_string() == **place.entity_type()?)),
            _ => Some(failed()),
        }
    }

    /// When two things are the same.
    pub(super) fn is_same(&self, left: &Leaf, right: &Leaf) -> Option<Filter> {
        let settled = |holds: bool| if holds { Filter::All } else { Filter::None };
        match (left, right) {
            (Leaf::Known(left), Leaf::Known(right)) => Some(settled(left == right)),
            (Leaf::Resource, Leaf::Resource) | (Leaf::Lacks, Leaf::Lacks) => Some(Filter::All),
            (Leaf::Subject(place), Leaf::Known(value)) | (Leaf::Known(value), Leaf::Subject(place)) => {
                place.is_one_of([value])
            }
            (Leaf::Resource, Leaf::Known(value)) | (Leaf::Known(value), Leaf::Resource) => {
                // Which resource it is, isn't known.
                self.is_no_resource(value).map(|()| Filter::None)
            }
            (Leaf::Subject(left), Leaf::Subject(right)) if left == right => Some(Filter::All),
            (Leaf::Subject(left), Leaf::Subject(right)) => {
                let differ = left.entity_type()? != right.entity_type()?;
                differ.then_some(Filter::None)
            }
            (Leaf::Subject(place), Leaf::Resource) | (Leaf::Resource, Leaf::Subject(place)) => {
                (*place.entity_type()? != self.resource_type.entity).then_some(Filter::None)
            }
            _ => None,
        }
    }

    /// When an entity is another or within it, or one of a set of others or within one of them.
    pub(super) fn is_in(&self, left: &Leaf, right: &Leaf) -> Option<Filter> {
        match (left, right) {
            (Leaf::Subject(place), Leaf::Known(above)) => {
                let tested = place.entity_type()?;
                let above = entities(above)?;
                // Paths before or after other ways are no test of the value alone.
                let is_mixed =
                    |above: &EntityId| way(self.realm, self.principal, tested, &above.entity_type) == Way::Mixed;
                if above.iter().any(is_mixed) {
                    return None;
                }
                Some(if above.is_empty() { Filter::None } else { place.test(Condition::Within(above)) })
            }
            (Leaf::Known(below), Leaf::Subject(place)) => {
                place.entity_type()?;
                Some(place.test(Condition::Contains(entity_id(entity(below)?))))
            }
            (Leaf::Resource, Leaf::Resource) => Some(Filter::All),
            (Leaf::Subject(below), Leaf::Subject(above)) if below == above && below.entity_type().is_some() => {
                Some(Filter::All)
            }
            (Leaf::Known(below), Leaf::Known(above)) => {
                let holds = self.evaluated(&Expr::binary_app(
                    cedar_policy_core::ast::BinaryOp::In,
                    below.clone().into(),
                    above.clone().into(),
                ));
                match holds.as_slice() {
                    [(Filter::All, Leaf::Known(CedarValue { value: ValueKind::Lit(Literal::Bool(holds)), .. }))] => {
                        Some(if *holds { Filter::All } else { Filter::None })
                    }
                    _ => None,
                }
            }
            (_, Leaf::Set(above)) => {
                // Only entities can be members: a set within the set would be one too many.
                let are_entities = above.iter().all(|member| match member {
                    Leaf::Known(value) => entity(value).is_some(),
                    Leaf::Subject(place) => place.entity_type().is_some(),
                    member => *member == Leaf::Resource,
                });
                are_entities.then_some(())?;
                any(above, |member| self.is_in(left, member))
            }
            _ => None,
        }
    }

    /// When a set contains something.
    pub(super) fn contains(&self, set: &Leaf, member: &Leaf) -> Option<Filter> {
        match (set, member) {
            (Leaf::Known(set), Leaf::Subject(place)) => place.is_one_of(members(set)?),
            (Leaf::Known(set), Leaf::Resource) => {
                let may_be = members(set)?.filter_map(entity).any(|uid| self.is_of_resource_type(uid));
                (!may_be).then_some(Filter::None)
            }
            (Leaf::Known(set), Leaf::Known(member)) => {
                Some(if members(set)?.any(|other| other == member) { Filter::All } else { Filter::None })
            }
            (Leaf::Subject(place), Leaf::Known(member)) => place.includes_any([member]),
            (Leaf::Lacks, Leaf::Known(CedarValue { value: ValueKind::Lit(Literal::String(name)), .. })) => {
                let place = self.subject(name);
                Some(place.map_or(Filter::None, |place| place.test(Condition::HasValue).negated()))
            }
            (Leaf::Set(members), member) => any(members, |other| self.is_same(other, member)),
            _ => None,
        }
    }

    /// When two sets have a member in common.
    pub(super) fn contains_any(&self, left: &Leaf, right: &Leaf) -> Option<Filter> {
        match (left, right) {
            (Leaf::Subject(place), Leaf::Known(set)) | (Leaf::Known(set), Leaf::Subject(place)) => {
                place.includes_any(members(set)?)
            }
            (Leaf::Set(members), set) | (set, Leaf::Set(members)) => any(members, |member| self.contains(set, member)),
            (Leaf::Lacks, Leaf::Known(set)) | (Leaf::Known(set), Leaf::Lacks) => {
                any(&known_members(set)?, |name| self.contains(&Leaf::Lacks, name))
            }
            _ => None,
        }
    }

    /// When one set has all members of another.
    pub(super) fn contains_all(&self, set: &Leaf, others: &Leaf) -> Option<Filter> {
        let wanted = match others {
            Leaf::Known(others) => known_members(others)?,
            Leaf::Set(members) => members.clone(),
            _ => return None,
        };
        let parts: Option<Vec<Filter>> = wanted.iter().map(|member| self.contains(set, member)).collect();
        parts.map(Filter::all_of)
    }
}

fn known_members(set: &CedarValue) -> Option<Vec<Leaf>> {
    Some(members(set)?.cloned().map(Leaf::Known).collect())
}

fn any(leaves: &[Leaf], test: impl Fn(&Leaf) -> Option<Filter>) -> Option<Filter> {
    let parts: Option<Vec<Filter>> = leaves.iter().map(test).collect();
    parts.map(Filter::any_of)
}
