//! What the files of a realm say of each other.

use std::{collections::BTreeMap, sync::Arc};

use cedar_policy::EntityTypeName;

use super::{REALM_FILE, RELATIONS_FILE, SCHEMA_FILE};
use crate::domain::{
    fault::{Code, Fault},
    realm_file::{RealmFile, settings_for, undeclared},
    record_mapping::Relations,
    schema::{AttributeType, RealmSchema},
};

/// What the files say of each other, as far as they could be read: what is wrong with one hides nothing of the others.
pub(super) fn cross_check(
    file: Option<&RealmFile>,
    relations: Option<&Relations>,
    schema: Option<&RealmSchema>,
) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let (Some(file), Some(schema)) = (file, schema) {
        faults.extend(actions_and_settings(file, schema));
        faults.extend(subjects(file, schema));
        faults.extend(profiles(file, schema));
    }
    if let (Some(relations), Some(schema)) = (relations, schema) {
        faults.extend(entity_types(relations, schema));
        faults.extend(ends(relations, schema));
        faults.extend(paths_in_schema(relations, schema));
    }
    if let (Some(file), Some(relations), Some(schema)) = (file, relations, schema) {
        faults.extend(paths(file, relations, schema));
    }
    faults.extend(file.and_then(claim_set));
    faults
}

/// Entity types that relations.toml names and the schema doesn't have.
fn entity_types(relations: &Relations, schema: &RealmSchema) -> Vec<Fault> {
    let types = schema.entities.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
    let unknown = relations.entity_types().filter(|name| !schema.entities.contains_key(*name));
    let fault = |entity: &Arc<str>| {
        let message = format!("the schema has no entity type `{entity}`, expected one of {types}");
        Fault::in_file(RELATIONS_FILE, message).coded(Code::UnknownEntityType)
    };
    unknown.map(fault).collect()
}

/// The fault of `grants.claim_set`, where it names no attribute of the principal.
fn claim_set(file: &RealmFile) -> Option<Fault> {
    let grants = file.grants.as_ref()?;
    if file.principal.attribute(&grants.claim_set).is_some() {
        return None;
    }
    let message =
        format!("`grants.claim_set` names `{}`, which is none of the principal's attributes", grants.claim_set);
    let known = file.principal.attributes.iter().map(|mapping| &*mapping.attribute);
    Some(Fault::in_file(REALM_FILE, message).coded(Code::UnknownName).near(&grants.claim_set, known))
}

/// Relations whose object the schema does not let contain the subject: policies would be checked as if it never could.
fn ends(relations: &Relations, schema: &RealmSchema) -> Vec<Fault> {
    let rules = relations.relation_rules();
    let apart = rules.filter(|(_, rule)| schema.may_contain(&rule.object, &rule.subject) == Some(false));
    let fault = |name: &Arc<str>, subject: &str, object: &str| {
        let message = format!("relation `{name}` puts a `{subject}` in a `{object}`");
        let expected = format!("expected `entity {subject} in [{object}]` in {SCHEMA_FILE}");
        let message = format!("{message}, which the schema rules out, {expected}");
        Fault::in_file(RELATIONS_FILE, message).coded(Code::Unmet)
    };
    apart.map(|(name, rule)| fault(name, &rule.subject, &rule.object)).collect()
}

/// Actions that the schema doesn't have, and settings that are missing, of another type, or asked for by no action.
fn actions_and_settings(file: &RealmFile, schema: &RealmSchema) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut wrong = |code, message: String| faults.push(Fault::in_file(REALM_FILE, message).coded(code));
    let known = schema.actions.keys().map(|name| &**name).collect::<Vec<_>>().join(", ");
    let named = file.actions.iter().flat_map(|(name, rule)| std::iter::once(name).chain(&rule.when_stored));
    let obliged = file.obligations.iter().flat_map(|(_, rule)| &rule.actions);
    for name in named.chain(obliged).filter(|name| !schema.actions.contains_key(*name)) {
        wrong(Code::UnknownAction, format!("the schema has no action `{name}`, expected one of {known}"));
    }
    let mut unfit: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (action, shape) in &schema.actions {
        for fault in settings_for(shape, &file.settings).err().into_iter().flatten() {
            unfit.entry(fault).or_default().push(action);
        }
    }
    for (fault, actions) in unfit {
        let word = if actions.len() == 1 { "action" } else { "actions" };
        wrong(Code::Unmet, format!("{word} `{}`: {fault}", actions.join("`, `")));
    }
    for name in undeclared(&schema.actions, &file.settings) {
        wrong(Code::Unmet, format!("no action's `context.settings` in the schema declares the setting `{name}`"));
    }
    faults
}

/// Actions and the principal's attribute that `[profiles]` names and that are not there.
fn profiles(file: &RealmFile, schema: &RealmSchema) -> Vec<Fault> {
    let Some(settings) = &file.profiles else { return Vec::new() };
    let mut faults = Vec::new();
    let actions = settings.readable.iter().chain(&settings.writable).map(|(action, _)| action);
    for action in actions.filter(|action| !schema.actions.contains_key(*action)) {
        let message = format!("`profiles`: the schema has no action `{action}`");
        faults.push(Fault::in_file(REALM_FILE, message).coded(Code::UnknownAction));
    }
    let principal = &file.principal;
    let declared = schema.entities.get(&principal.entity).and_then(|members| members.get(&settings.attribute));
    let holds_texts = match declared.map(|member| &member.value_type) {
        Some(AttributeType::Set(element)) => **element == AttributeType::String,
        Some(value_type) => *value_type == AttributeType::String,
        None => false,
    };
    let is_mapped = principal.attributes.iter().any(|mapping| mapping.attribute == settings.attribute);
    if !holds_texts || !is_mapped {
        let attribute = &settings.attribute;
        let message = format!("`profiles.attribute`: `{attribute}` is no attribute of the principal that holds texts");
        faults.push(Fault::in_file(REALM_FILE, message));
    }
    faults
}

/// Types whose ids are paths: each is in itself.
fn paths_in_schema(relations: &Relations, schema: &RealmSchema) -> Vec<Fault> {
    let mut faults = Vec::new();
    let is_in_itself = |name: &str| {
        let parsed = name.parse::<EntityTypeName>().ok();
        parsed.is_some_and(|name| schema.cedar.ancestors(&name).is_some_and(|mut above| above.any(|it| *it == name)))
    };
    for (name, _) in relations.entity_rules().filter(|(_, rules)| rules.path.is_some()) {
        if schema.entities.contains_key(name) && !is_in_itself(name) {
            let message =
                format!("the ids of `{name}` are paths, but the schema doesn't say `entity {name} in [{name}]`");
            faults.push(Fault::in_file(RELATIONS_FILE, message).coded(Code::Unmet));
        }
    }
    faults
}

/// Types whose ids are paths: none is shown by what follows relationships alone.
fn paths(file: &RealmFile, relations: &Relations, schema: &RealmSchema) -> Vec<Fault> {
    let mut faults = Vec::new();
    let members = schema.entities.get(&file.principal.entity);
    let paths_of = |attribute: &Arc<str>| {
        let name = match &members?.get(attribute)?.value_type {
            AttributeType::Set(element) => match &**element {
                AttributeType::Entity(name) => name,
                _ => return None,
            },
            AttributeType::Entity(name) => name,
            _ => return None,
        };
        relations.path(name).is_some().then_some(name)
    };
    if let Some(name) = file.token_info.as_ref().and_then(|shown| paths_of(&shown.organizations)) {
        let message = format!("`token_info.organizations`: the ids of `{name}` are paths, and paths aren't listed");
        faults.push(Fault::in_file(REALM_FILE, message));
    }
    let prefixes = relations.entity_rules().filter_map(|(_, rules)| rules.prefixes.as_ref());
    for (attribute, name) in prefixes.filter_map(|rule| Some((&rule.attribute, paths_of(&rule.attribute)?))) {
        let message = format!("`{attribute}` holds prefixes, and the ids of `{name}` are paths, expected one of both");
        faults.push(Fault::in_file(RELATIONS_FILE, message));
    }
    faults
}

/// Attributes that `[[resources.subjects]]` names and that are not there.
fn subjects(file: &RealmFile, schema: &RealmSchema) -> Vec<Fault> {
    let mut faults = Vec::new();
    if let Some(resources) = &file.resources {
        let members = schema.entities.get(&resources.entity);
        let has = |name: &Arc<str>| members.is_some_and(|members| members.contains_key(name));
        for subject in resources.subjects.iter().filter(|subject| !has(&subject.attribute)) {
            let message = format!(
                "`resources.subjects`: `{}` has no attribute `{}` in the schema",
                resources.entity, subject.attribute
            );
            faults.push(Fault::in_file(REALM_FILE, message));
        }
    }
    faults
}
