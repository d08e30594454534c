//! What `[authzen]` says, held against the schema, the resource types and what callers are believed.

use std::sync::Arc;

use super::{REALM_FILE, find};
use crate::domain::{
    access_request::is_hosts,
    fault::{Code, Fault},
    policy_set::SourceFile,
    realm_file::{AuthzenSettings, RealmFile},
    resource_type::ResourceTypes,
    schema::RealmSchema,
};

/// Claims that mean something whatever the realm maps.
const RESERVED: [&str; 2] = ["iss", "act"];

/// The faults of names that nothing declares, that nobody is believed, or that mean two things.
pub(super) fn check(files: &[SourceFile], file: &RealmFile, schema: &RealmSchema, types: &ResourceTypes) -> Vec<Fault> {
    let Some(settings) = &file.authzen else { return Vec::new() };
    let content = find(files, REALM_FILE).map_or("", |file| &file.content);
    let mut faults = Vec::new();
    let mut wrong = |code, key, message: String| {
        faults.push(Fault::at(REALM_FILE, content, settings.place(key), message).coded(code));
    };
    for (code, message) in subject_properties(file, settings) {
        wrong(code, "subject_properties", message);
    }
    for name in &settings.action_properties {
        let is_declared = schema.actions.values().any(|shape| shape.context.contains_key(name));
        let (code, why) = match is_declared {
            false => (Code::UnknownName, "is declared by no action's context in the schema"),
            true if is_hosts(file, name) => (Code::UnknownName, "is filled in by the service"),
            true if !file.trusted.takes_context(name) => {
                (Code::Untrusted, "is not believed of callers: list it in `trusted.context`")
            }
            true => continue,
        };
        wrong(code, "action_properties", format!("`authzen.action_properties`: `{name}` {why}"));
    }
    for (name, action) in &settings.actions {
        if !schema.actions.contains_key(action) {
            let known = names(schema.actions.keys());
            let message = format!("`authzen.actions`: the schema has no action `{action}`, expected one of {known}");
            wrong(Code::UnknownAction, "actions", message);
        } else if name != action && schema.actions.contains_key(name) {
            let message =
                format!("`authzen.actions`: `{name}` is an action of the schema, so it cannot stand for `{action}`");
            wrong(Code::UnknownAction, "actions", message);
        }
    }
    for (name, named) in &settings.resource_types {
        let resource_type = &named.resource_type;
        let Some(known) = types.get(resource_type) else {
            let known = names(types.keys());
            let message = format!(
                "`authzen.resource_types`: the realm has no resource type `{resource_type}`, expected one of {known}"
            );
            wrong(Code::UnknownName, "resource_types", message);
            continue;
        };
        if name != resource_type && types.contains_key(name) {
            let message = format!(
                "`authzen.resource_types`: `{name}` is a resource type of the realm, so it cannot stand for `{resource_type}`"
            );
            wrong(Code::UnknownName, "resource_types", message);
        }
        let is_sent =
            |id: &Arc<str>| known.subjects.iter().any(|it| !it.is_stored && it.paths().any(|path| path == id));
        if let Some(id) = named.id.as_ref().filter(|id| !is_sent(id)) {
            let message = format!(
                "`authzen.resource_types`: policies look at no property `{id}` of `{resource_type}` that callers are believed"
            );
            wrong(Code::UnknownName, "resource_types", message);
        }
    }
    faults
}

/// Properties that no claim is, that name the principal, or that mean something else.
fn subject_properties(file: &RealmFile, settings: &AuthzenSettings) -> Vec<(Code, String)> {
    let principal = &file.principal;
    let claims: Vec<&Arc<str>> = principal.attributes.iter().filter_map(|claim| claim.path.first()).collect();
    let mut faults = Vec::new();
    for name in &settings.subject_properties {
        let why = if principal.id_claims.contains(name) {
            "is the principal's id, which is the subject's id alone".to_owned()
        } else if RESERVED.contains(&&**name) {
            "is a claim that only tokens can have".to_owned()
        } else if !claims.contains(&name) {
            let known = if claims.is_empty() { "none".to_owned() } else { names(claims.iter().copied()) };
            format!("is no claim of `[principal.attributes]`, expected some of {known}")
        } else {
            continue;
        };
        faults.push((Code::UnknownName, format!("`authzen.subject_properties`: `{name}` {why}")));
    }
    faults
}

fn names<'a>(names: impl Iterator<Item = &'a Arc<str>>) -> String {
    names.map(|name| &**name).collect::<Vec<_>>().join(", ")
}
