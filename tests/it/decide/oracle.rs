//! The clauses of policies as values, and what they come to: written without Cedar, to hold Cedar's answers against.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
};

use hallpass::domain::id::EntityId;

/// A value as policies see it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    Flag(bool),
    Number(i64),
    Entity(EntityId),
    Set(BTreeSet<EntityId>),
    Record(BTreeMap<&'static str, Seen>),
}

/// Attributes and parents of every entity that there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Everything {
    pub(crate) attributes: BTreeMap<EntityId, BTreeMap<&'static str, Seen>>,
    pub(crate) parents: BTreeSet<(EntityId, EntityId)>,
}

impl Everything {
    fn is_in(&self, entity: &EntityId, above: &EntityId) -> bool {
        entity == above || self.parents.iter().any(|(child, parent)| child == entity && self.is_in(parent, above))
    }
}

/// One question about everything.
#[derive(Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) everything: &'a Everything,
    pub(crate) principal: EntityId,
    pub(crate) action: EntityId,
    pub(crate) resource: EntityId,
    pub(crate) context: Seen,
}

/// A clause could not be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

/// `resource.owner.shadow`; the flags say which of the attributes may be missing.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) root: Root,
    pub(crate) attributes: Vec<(&'static str, bool)>,
}

#[derive(Clone, Debug)]
pub(crate) enum Root {
    Principal,
    Action,
    Context,
    Resource,
    /// The resource, if it is of this type.
    ResourceOf(&'static str),
    Named(EntityId),
}

/// How the left side of a test comes to its entity.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Way {
    Straight,
    /// Out of a record that the policy makes.
    Boxed,
    /// Picked by an `if`.
    Picked,
}

#[derive(Clone, Debug)]
pub(crate) enum Sum {
    Above(i64),
    /// Overflows for whatever isn't small.
    Times,
    /// Overflows for whatever isn't negative.
    Plus,
}

#[derive(Clone, Debug)]
pub(crate) enum Test {
    Flag,
    Not(Box<Test>),
    And(Box<Test>, Box<Test>),
    Or(Box<Test>, Box<Test>),
    If(Box<Test>, Box<Test>, Box<Test>),
    In(Way, Place, Vec<EntityId>),
    InPlace(Place, Place),
    Same(Place, Place),
    Number(Place, Sum),
}

impl Place {
    /// `Ok(None)` when an attribute that may be missing is.
    fn seen(&self, situation: &Situation<'_>) -> Result<Option<Seen>, Failed> {
        let Situation { everything, principal, action, resource, context } = situation;
        let mut seen = match &self.root {
            Root::Principal => Seen::Entity(principal.clone()),
            Root::Action => Seen::Entity(action.clone()),
            Root::Context => context.clone(),
            Root::Resource => Seen::Entity(resource.clone()),
            Root::ResourceOf(entity_type) if *resource.entity_type == **entity_type => Seen::Entity(resource.clone()),
            Root::ResourceOf(_) => return Ok(None),
            Root::Named(entity) => Seen::Entity(entity.clone()),
        };
        for (name, may_be_missing) in &self.attributes {
            let found = match &seen {
                Seen::Entity(entity) => everything.attributes.get(entity).and_then(|known| known.get(name)),
                Seen::Record(fields) => fields.get(name),
                _ => None,
            };
            seen = match found {
                Some(found) => found.clone(),
                None if *may_be_missing => return Ok(None),
                None => return Err(Failed),
            };
        }
        Ok(Some(seen))
    }

    /// What has to be asked first, as strict validation wants it.
    fn guards(&self) -> String {
        let mut guards = String::new();
        if let Root::ResourceOf(entity_type) = self.root {
            write!(guards, "resource is {entity_type} && ").unwrap();
        }
        let mut path = self.root.to_string();
        for (name, may_be_missing) in &self.attributes {
            if *may_be_missing {
                write!(guards, "{path} has {name} && ").unwrap();
            }
            write!(path, ".{name}").unwrap();
        }
        guards
    }
}

impl Test {
    pub(crate) fn holds(&self, situation: &Situation<'_>) -> Result<bool, Failed> {
        let entity = |place: &Place| {
            Ok(place
                .seen(situation)?
                .map(|seen| if let Seen::Entity(entity) = seen { entity } else { panic!("{place}") }))
        };
        let is_in = |entity: &EntityId, above: &EntityId| situation.everything.is_in(entity, above);
        match self {
            Self::Flag => Ok(situation.context == flagged(&situation.context)),
            Self::Not(test) => Ok(!test.holds(situation)?),
            Self::And(one, other) => Ok(one.holds(situation)? && other.holds(situation)?),
            Self::Or(one, other) => Ok(one.holds(situation)? || other.holds(situation)?),
            Self::If(condition, then, otherwise) => {
                if condition.holds(situation)? {
                    then.holds(situation)
                } else {
                    otherwise.holds(situation)
                }
            }
            Self::In(_, place, above) => {
                Ok(entity(place)?.is_some_and(|entity| above.iter().any(|above| is_in(&entity, above))))
            }
            // Guards of both sides stand in front of the test, those of the left side first.
            Self::InPlace(left, right) => {
                let Some(left) = entity(left)? else { return Ok(false) };
                Ok(match right.seen(situation)? {
                    None => false,
                    Some(Seen::Entity(above)) => is_in(&left, &above),
                    Some(Seen::Set(above)) => above.iter().any(|above| is_in(&left, above)),
                    Some(other) => panic!("{other:?}"),
                })
            }
            Self::Same(left, right) => {
                let (left, right) = (entity(left)?, entity(right)?);
                Ok(left.is_some() && left == right)
            }
            Self::Number(place, sum) => {
                let Some(Seen::Number(number)) = place.seen(situation)? else { return Ok(false) };
                match sum {
                    Sum::Above(limit) => Ok(number > *limit),
                    Sum::Times => number.checked_mul(i64::MAX).map(|product| product > 0).ok_or(Failed),
                    Sum::Plus => number.checked_add(i64::MAX).map(|sum| sum > 0).ok_or(Failed),
                }
            }
        }
    }
}

/// The same context with a raised flag.
fn flagged(context: &Seen) -> Seen {
    let Seen::Record(fields) = context else { panic!("{context:?}") };
    let mut fields = fields.clone();
    fields.insert("flag", Seen::Flag(true));
    Seen::Record(fields)
}

pub(crate) fn written(entity: &EntityId) -> String {
    format!("{}::\"{}\"", entity.entity_type, entity.id)
}

impl fmt::Display for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal => f.write_str("principal"),
            Self::Action => f.write_str("action"),
            Self::Context => f.write_str("context"),
            Self::Resource | Self::ResourceOf(_) => f.write_str("resource"),
            Self::Named(entity) => f.write_str(&written(entity)),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root)?;
        self.attributes.iter().try_for_each(|(name, _)| write!(f, ".{name}"))
    }
}

impl fmt::Display for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag => f.write_str("context.flag"),
            Self::Not(test) => write!(f, "!({test})"),
            Self::And(one, other) => write!(f, "(({one}) && ({other}))"),
            Self::Or(one, other) => write!(f, "(({one}) || ({other}))"),
            Self::If(condition, then, otherwise) => write!(f, "(if {condition} then {then} else {otherwise})"),
            Self::In(way, place, above) => {
                let left = match way {
                    Way::Straight => place.to_string(),
                    Way::Boxed => format!("{{\"in\": {place}}}[\"in\"]"),
                    Way::Picked => format!("(if context.flag then {place} else {place})"),
                };
                let above: Vec<String> = above.iter().map(written).collect();
                let above = if let [one] = above.as_slice() { one.clone() } else { format!("[{}]", above.join(", ")) };
                write!(f, "({}{left} in {above})", place.guards())
            }
            Self::InPlace(left, right) => write!(f, "({}{}{left} in {right})", left.guards(), right.guards()),
            Self::Same(left, right) => write!(f, "({}{}{left} == {right})", left.guards(), right.guards()),
            Self::Number(place, sum) => {
                let guards = place.guards();
                match sum {
                    Sum::Above(limit) => write!(f, "({guards}{place} > {limit})"),
                    Sum::Times => write!(f, "({guards}{place} * {} > 0)", i64::MAX),
                    Sum::Plus => write!(f, "({guards}{place} + {} > 0)", i64::MAX),
                }
            }
        }
    }
}
