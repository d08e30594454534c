//! What policies and realm.toml say of each other's denials, obligations and reasons.

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{REALM_FILE, find};
use crate::domain::{
    access_request::GRANT_CONTEXT,
    fault::{Code, Fault},
    policy_set::{PolicySet, SourceFile},
    realm_file::{ObligationParameter, RealmFile, context_paths},
    record_mapping::Relations,
    schema::{AttributeType, Member, RealmSchema},
};

/// The faults of both: of what realm.toml says, and of what policies name.
pub(super) fn check(
    files: &[SourceFile],
    file: &RealmFile,
    relations: &Relations,
    schema: &RealmSchema,
    policies: Option<&PolicySet>,
) -> Vec<Fault> {
    let mut faults = placeholders(files, file, relations, schema);
    faults.extend(policies.into_iter().flat_map(|policies| annotations(files, file, policies)));
    faults
}

/// Names in `@denial` and `@obligation` that realm.toml doesn't have, and what realm.toml says of reasons and obligations
/// that no policy gives.
fn annotations(files: &[SourceFile], file: &RealmFile, policies: &PolicySet) -> Vec<Fault> {
    let mut faults = Vec::new();
    for policy in policies.iter() {
        let denial = policy.annotation("denial").filter(|name| !has(&file.denials, name));
        faults.extend(denial.map(|name| {
            let known = file.denials.iter().map(|(name, _)| &**name);
            let message = format!("unknown denial `{name}`, expected one that realm.toml has as `[denials.{name}]`");
            policy.annotation_fault("denial", message).coded(Code::UnknownName).near(name, known)
        }));
        let unknown = policy.obligations.iter().filter(|id| !has(&file.obligations, id));
        faults.extend(unknown.map(|id| {
            let known = file.obligations.iter().map(|(name, _)| &**name);
            let message =
                format!("unknown obligation `{id}`, expected one that realm.toml has as `[obligations.{id}]`");
            policy.annotation_fault("obligation", message).coded(Code::UnknownName).near(id, known)
        }));
    }
    for (id, rule) in &file.obligations {
        let is_named = policies.iter().any(|policy| policy.obligations.contains(id));
        if rule.actions.is_empty() && !is_named {
            let message = format!("obligation `{id}` has no `actions`, and no permit carries it with `@obligation`");
            let help = "name it in a permit's `@obligation`, give it `actions`, or take it out";
            faults.push(fault_at(files, &rule.place, message).coded(Code::Unmet).helped(help));
        }
    }
    let is_given = |code: &str| {
        let of_lack = |family: &str| code.strip_prefix(family) == Some("_REQUIRED");
        let of_policy = |name, is_it: &dyn Fn(&str) -> bool| {
            policies.iter().any(|policy| policy.annotation(name).is_some_and(|text| is_it(text)))
        };
        ["NO_POLICY_PERMITS", "FORBIDDEN", "VALUE_REQUIRED"].contains(&code)
            || of_policy("reason", &|reason| reason == code)
            || of_policy("missing", &of_lack)
    };
    for (code, _) in file.reasons.second_phase.iter().filter(|(code, _)| !is_given(code)) {
        let message = format!("`reasons.second_phase`: no policy gives the reason `{code}`");
        faults.push(Fault::in_file(REALM_FILE, message).coded(Code::UnknownName));
    }
    faults
}

fn fault_at(files: &[SourceFile], place: &Range<usize>, message: String) -> Fault {
    let content = find(files, REALM_FILE).map_or("", |file| &file.content);
    Fault::at(REALM_FILE, content, Some(place.clone()), message)
}

fn has<T>(named: &[(Arc<str>, T)], wanted: &str) -> bool {
    named.iter().any(|(name, _)| **name == *wanted)
}

/// Attributes that `[obligations.*]` names and that are not there or cannot be taken apart, and members of the context that
/// denials name and that no action has or no text may show.
fn placeholders(files: &[SourceFile], file: &RealmFile, relations: &Relations, schema: &RealmSchema) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut wrong = |place: &Range<usize>, message: String| faults.push(fault_at(files, place, message));
    let is_mapped = |name: &Arc<str>| file.principal.attributes.iter().any(|mapping| mapping.attribute == *name);
    let declared = schema.entities.get(&file.principal.entity);
    for (id, rule) in &file.obligations {
        for (_, ObligationParameter { attribute, split }) in &rule.parameters {
            let member = declared.and_then(|members| members.get(attribute));
            if !is_mapped(attribute) {
                wrong(&rule.place, format!("obligation `{id}`: `{attribute}` is none of the principal's attributes"));
            } else if split.is_some() && !member.is_some_and(|member| is_one_text(&member.value_type, relations)) {
                wrong(&rule.place, format!("obligation `{id}`: `{attribute}` is no single text that could be split"));
            }
        }
    }
    for (name, template) in &file.denials {
        for path in template.texts().flat_map(|text| context_paths(text)) {
            let contexts = schema.actions.values().map(|shape| &shape.context);
            let found: Vec<&AttributeType> = contexts.filter_map(|context| member_at(context, path)).collect();
            if found.is_empty() {
                wrong(&template.place, format!("denial `{name}`: no action's context has `{path}`"));
            } else if let Some(why) = found.iter().find_map(|value_type| unshown(value_type, relations)) {
                wrong(&template.place, format!("denial `{name}`: `context.{path}` {why}"));
            } else if file.grants.is_some() && GRANT_CONTEXT.contains(&path) {
                wrong(
                    &template.place,
                    format!("denial `{name}`: `context.{path}` follows from the grant, which no text shows"),
                );
            }
        }
    }
    faults
}

fn is_one_text(value_type: &AttributeType, relations: &Relations) -> bool {
    match value_type {
        AttributeType::String => true,
        AttributeType::Entity(name) => relations.entity(name).is_none_or(|rules| !rules.is_integer),
        _ => false,
    }
}

fn member_at<'s>(members: &'s BTreeMap<Arc<str>, Member>, path: &str) -> Option<&'s AttributeType> {
    if let Some(member) = members.get(path) {
        return Some(&member.value_type);
    }
    let (name, rest) = path.split_once('.')?;
    match &members.get(name)?.value_type {
        AttributeType::Record(fields) => member_at(fields, rest),
        _ => None,
    }
}

/// Why a text may not show values of this type.
fn unshown(value_type: &AttributeType, relations: &Relations) -> Option<&'static str> {
    match value_type {
        AttributeType::Bool | AttributeType::Long | AttributeType::String => None,
        AttributeType::Entity(name) => relations.is_person(name).then_some("names people, which no text may show"),
        AttributeType::Set(element) => unshown(element, relations),
        AttributeType::Record(_) | AttributeType::Other => Some("is of a type that has no text"),
    }
}
