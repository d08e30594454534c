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

#[cfg(test)]
mod tests {
    use crate::domain::{policy_set::SourceFile, realm::Realm};

    const REALM: &str = "title = \"Files\"\n[principal]\nentity = \"Clerk\"\nid = \"sub\"\n[principal.attributes.rank]\n\
        claim = \"rank\"\n[trusted]\nFile = [\"owner\"]\ncontext = [\"softly\"]\n[authzen]\n";
    const SCHEMA: &str = "entity Clerk { rank?: String }; entity File { owner?: Clerk }; entity Sheet;
        action read, write appliesTo { principal: [Clerk], resource: [File, Sheet], context: { softly?: Bool, hour?: Long } };";

    fn faults(section: &str) -> String {
        let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
        let rules = "@id(\"all\") permit (principal is Clerk, action, resource);";
        let files = [
            file("realm.toml", &format!("{REALM}{section}")),
            file("schema.cedarschema", SCHEMA),
            file("rules.cedar", rules),
        ];
        let faults = Realm::compile(&files, None).err().unwrap_or_default();
        faults.iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn names_that_are_there_and_believed_are_good() {
        let good = "subject_properties = [\"rank\"]\naction_properties = [\"softly\"]\n[authzen.actions]\nview = \"read\"\n\
            write = \"write\"\n[authzen.resource_types]\nfile = { type = \"File\", id = \"owner\" }\nsheet = \"Sheet\"\n";
        assert_eq!(faults(good), "");
    }

    #[test]
    fn names_that_are_not_there_or_mean_two_things_are_faults_where_they_stand() {
        for (section, expected) in [
            ("subject_properties = [\"role\"]", "is no claim of `[principal.attributes]`, expected some of rank"),
            ("subject_properties = [\"sub\"]", "is the principal's id"),
            ("subject_properties = [\"act\"]", "only tokens can have"),
            ("action_properties = [\"hard\"]", "declared by no action's context"),
            ("action_properties = [\"hour\"]", "list it in `trusted.context`"),
            ("actions = { view = \"look\" }", "has no action `look`, expected one of read, write"),
            ("actions = { write = \"read\" }", "`write` is an action of the schema"),
            ("resource_types = { file = \"Folder\" }", "no resource type `Folder`, expected one of File, Sheet"),
            ("resource_types = { Sheet = \"File\" }", "`Sheet` is a resource type of the realm"),
            ("resource_types = { file = { type = \"File\", id = \"number\" } }", "look at no property `number`"),
        ] {
            let found = faults(section);
            assert!(
                found.starts_with("11: ") && found.contains(expected) && found.lines().count() == 1,
                "{section}\n{found}"
            );
        }
    }
}
