//! `[settings]`: what a realm's authors leave to each deployment or variant; policies read it in `context.settings`.

use std::{collections::BTreeMap, sync::Arc};

use crate::domain::{
    document::Table,
    schema::{ActionShape, AttributeType},
    value::{Attributes, Value},
};

/// The member of an action's context that the host fills with the settings.
pub const SETTINGS: &str = "settings";

/// Reads the settings: named booleans, whole numbers and texts.
pub(super) fn read_settings(root: &Table<'_>) -> Attributes {
    root.scalars("settings").into_iter().collect()
}

/// The settings that an action's context asks for; `None` when it asks for none.
///
/// # Errors
/// A sentence for each that is missing or of another type.
pub(in crate::domain) fn settings_for(
    shape: &ActionShape,
    settings: &Attributes,
) -> Result<Option<Value>, Vec<String>> {
    let Some(member) = shape.context.get(SETTINGS) else { return Ok(None) };
    let AttributeType::Record(wanted) = &member.value_type else {
        return Err(vec!["`context.settings` is no record in the schema, expected one of settings by name".to_owned()]);
    };
    let mut faults = Vec::new();
    let mut filled = Vec::new();
    for (name, member) in wanted {
        match (settings.get(name), &member.value_type) {
            (Some(value @ Value::Bool(_)), AttributeType::Bool)
            | (Some(value @ Value::Long(_)), AttributeType::Long)
            | (Some(value @ Value::String(_)), AttributeType::String) => filled.push((Arc::clone(name), value.clone())),
            (None, _) if !member.is_required => {}
            (given, wanted) => {
                let given = given.map_or("missing", Value::kind);
                faults.push(format!("the setting `{name}` is {given}, the schema wants {}", words(wanted)));
            }
        }
    }
    if faults.is_empty() { Ok(Some(Value::Record(filled.into_iter().collect()))) } else { Err(faults) }
}

/// The settings that no action's context declares: most likely misspelt.
pub(in crate::domain) fn undeclared<'a>(
    actions: &'a BTreeMap<Arc<str>, ActionShape>,
    settings: &'a Attributes,
) -> impl Iterator<Item = &'a Arc<str>> {
    let declares = |shape: &ActionShape, name: &str| match shape.context.get(SETTINGS).map(|member| &member.value_type)
    {
        Some(AttributeType::Record(fields)) => fields.contains_key(name),
        _ => false,
    };
    settings.iter().map(|(name, _)| name).filter(move |name| !actions.values().any(|shape| declares(shape, name)))
}

fn words(wanted: &AttributeType) -> &'static str {
    match wanted {
        AttributeType::Bool => "a boolean",
        AttributeType::Long => "a whole number",
        AttributeType::String => "a string",
        _ => "what no setting can be",
    }
}
