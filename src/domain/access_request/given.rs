//! What a question gives for a subject: one property, or several that make an id together.

use std::{borrow::Cow, sync::Arc};

use crate::domain::{
    record_mapping::Relations,
    resource_type::{ResourceType, Subject, joined_id},
    schema::AttributeType,
    value::{Attributes, Value},
};

/// The value at one of the subject's properties. An id that names nothing counts as no value.
fn at<'a>(attributes: &'a Attributes, subject: &Subject, path: &str, relations: &Relations) -> Option<&'a Value> {
    let names_nothing = |id: &str| match &subject.value_type {
        AttributeType::Entity(entity_type) => relations.names_nothing(entity_type, id),
        _ => false,
    };
    attributes.at(path).filter(|value| match value {
        Value::Null => false,
        Value::String(id) => !names_nothing(id),
        Value::Long(0) => !names_nothing("0"),
        Value::Entity(entity) => !names_nothing(&entity.id),
        _ => true,
    })
}

/// What a question gives for a subject; nothing where it leaves out a part of it.
pub(super) fn given<'a>(
    attributes: &'a Attributes,
    subject: &Subject,
    relations: &Relations,
) -> Option<Cow<'a, Value>> {
    if subject.more.is_empty() {
        return at(attributes, subject, &subject.path, relations).map(Cow::Borrowed);
    }
    let values = subject.paths().map(|path| at(attributes, subject, path, relations));
    let values: Vec<&Value> = values.collect::<Option<_>>()?;
    // What can be no part of an id is told as what it is.
    let mut texts = Vec::with_capacity(values.len());
    for value in values {
        match part_of_id(value) {
            Some(text) => texts.push(text),
            None => return Some(Cow::Borrowed(value)),
        }
    }
    Some(Cow::Owned(Value::String(joined_id(texts.iter().map(String::as_str)).into())))
}

/// The attribute and the name of each property that a question leaves out, of subjects of which it gives others.
pub(super) fn missing_parts(
    resource_type: &ResourceType,
    values: &[Option<Value>],
    attributes: &Attributes,
    relations: &Relations,
) -> Vec<(Arc<str>, Arc<str>)> {
    let subjects = resource_type.subjects.iter().zip(values);
    let partial = subjects.filter(|(subject, value)| value.is_none() && !subject.more.is_empty());
    let missing = partial.flat_map(|(subject, _)| {
        let is_missing = |path: &str| at(attributes, subject, path, relations).is_none();
        let missing = subject.paths().zip(subject.names()).filter(|(path, _)| is_missing(path));
        let missing: Vec<_> = missing.map(|(_, name)| (Arc::clone(&subject.attribute), Arc::clone(name))).collect();
        if missing.len() <= subject.more.len() { missing } else { Vec::new() }
    });
    missing.collect()
}

fn part_of_id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.to_string()),
        Value::Long(number) => Some(number.to_string()),
        Value::Entity(entity) => Some(entity.id.to_string()),
        _ => None,
    }
}
