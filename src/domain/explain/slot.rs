//! Where a fact could be said: the claims, properties and members of the context that policies look at.

use std::sync::Arc;

use crate::domain::{
    access_request::is_hosts,
    decide::Evaluation,
    realm_file::ClaimMapping,
    resource_type::{LACKS, Subject},
    schema::{AttributeType, Member},
    value::Value,
};

/// A place where somebody outside can say something.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'a> {
    /// A claim of the token, or an attribute of the application's record.
    Claim(&'a ClaimMapping, &'a Member),
    /// A property of the resource.
    Property(&'a Subject),
    /// A member of the request's context.
    Context(&'a Arc<str>, &'a Member),
}

impl<'a> Slot<'a> {
    /// The place that a path stands for, if somebody outside can fill it.
    pub(super) fn at(evaluation: &Evaluation<'a>, path: &str) -> Option<Self> {
        let (variable, name) = path.split_once('.')?;
        match variable {
            "principal" => {
                let (_, attributes) =
                    evaluation.realm.schema.entities.get_key_value(&evaluation.principal.entity.entity_type)?;
                Some(Self::Claim(evaluation.realm.file.principal.attribute(name)?, attributes.get(name)?))
            }
            "resource" => {
                let subjects = &evaluation.request.resource_type.subjects;
                let subject = subjects.iter().find(|subject| *subject.attribute == *name && *name != *LACKS)?;
                // Which values the other parts have isn't kept, and they are not to be replaced.
                let is_partial =
                    evaluation.values.missing_parts.iter().any(|(attribute, _)| *attribute == subject.attribute);
                (!is_partial).then_some(Self::Property(subject))
            }
            "context" => Self::said(evaluation).find(|slot| matches!(slot, Self::Context(own, _) if ***own == *name)),
            _ => None,
        }
    }

    /// Everything that the caller itself says with a question, where a member of the context may come from: texts.
    pub(super) fn sources(evaluation: &Evaluation<'a>) -> Vec<Self> {
        let subjects = evaluation.request.resource_type.subjects.iter();
        let subjects =
            subjects.filter(|subject| subject.more.is_empty() && subject.value_type == AttributeType::String);
        let said = Self::said(evaluation).filter(|slot| *slot.value_type() == AttributeType::String);
        subjects.map(Self::Property).chain(said).collect()
    }

    /// The members of the context that callers are believed.
    fn said(evaluation: &Evaluation<'a>) -> impl Iterator<Item = Self> {
        let realm = evaluation.realm;
        let declared = realm.schema.actions.get(&evaluation.request.action).into_iter();
        let members = declared.flat_map(|shape| &shape.context);
        let said = members.filter(|(name, _)| !is_hosts(&realm.file, name) && realm.file.trusted.takes_context(name));
        said.map(|(name, member)| Self::Context(name, member))
    }

    /// What can be said there.
    pub(super) fn value_type(&self) -> &'a AttributeType {
        match self {
            Self::Claim(_, member) | Self::Context(_, member) => &member.value_type,
            Self::Property(subject) => &subject.value_type,
        }
    }

    /// The type of single values: of a set, that of its members.
    pub(super) fn single_type(&self) -> &'a AttributeType {
        match self.value_type() {
            AttributeType::Set(element) => element,
            single => single,
        }
    }

    /// Several values can be said.
    pub(super) fn is_set(&self) -> bool {
        matches!(self.value_type(), AttributeType::Set(_))
    }
}

/// The value is of this type.
pub(super) fn fits(wanted: &AttributeType, value: &Value) -> bool {
    match (wanted, value) {
        (AttributeType::Bool, Value::Bool(_))
        | (AttributeType::Long, Value::Long(_))
        | (AttributeType::String, Value::String(_)) => true,
        (AttributeType::Entity(name), Value::Entity(entity)) => *name == entity.entity_type,
        _ => false,
    }
}
