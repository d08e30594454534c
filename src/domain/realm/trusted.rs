//! What `[trusted]` says, held against the schema and the policies.
//!
//! What no caller is believed is never there. A policy that looks at it would silently not apply, so that is a fault.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{REALM_FILE, find};
use crate::domain::{
    access_request::is_hosts,
    fault::{Code, Fault},
    policy_set::{CompiledPolicy, PolicySet, SourceFile},
    realm_file::{RealmFile, Trusted, TrustedList},
    record_mapping::Relations,
    resource_type::LACKS,
    schema::{Member, RealmSchema},
};

/// A realm's files, as far as they say what callers are believed.
#[derive(Clone, Copy, Debug)]
struct Checked<'a> {
    files: &'a [SourceFile],
    file: &'a RealmFile,
    relations: &'a Relations,
    schema: &'a RealmSchema,
}

/// The faults of what is listed and of what isn't: names that nothing declares, what the schema requires and nobody may
/// say, and what policies look at and nobody may say.
pub(super) fn check(
    files: &[SourceFile],
    file: &RealmFile,
    relations: &Relations,
    schema: &RealmSchema,
    policies: Option<&PolicySet>,
) -> Vec<Fault> {
    let checked = Checked { files, file, relations, schema };
    let mut faults = checked.context();
    if file.resources.is_none() {
        faults.extend(checked.listed());
        faults.extend(checked.required());
    } else {
        let message = "the table of `[resources]` says which properties count, so `[trusted]` can't";
        faults.extend(file.trusted.resources.iter().map(|list| checked.fault(list, message)));
    }
    faults.extend(policies.into_iter().flat_map(PolicySet::iter).flat_map(|policy| checked.looked_at(policy)));
    faults
}

impl<'a> Checked<'a> {
    fn fault(&self, list: &TrustedList, message: impl Into<String>) -> Fault {
        let content = find(self.files, REALM_FILE).map_or("", |file| &file.content);
        Fault::at(REALM_FILE, content, Some(list.place.clone()), message).coded(Code::UnknownName)
    }

    /// The entity types that some action applies to, with the attributes that callers can give.
    fn types(&self) -> BTreeMap<&'a Arc<str>, BTreeMap<&'a Arc<str>, &'a Member>> {
        let Self { relations, schema, .. } = *self;
        let applied: BTreeSet<&Arc<str>> = schema.actions.values().flat_map(|action| &action.resources).collect();
        let types = applied.into_iter().filter_map(|entity| {
            let is_link = |name: &Arc<str>| relations.entity(entity).is_some_and(|it| it.links.contains_key(name));
            let attributes = schema.entities.get(entity)?.iter();
            Some((entity, attributes.filter(|(name, _)| ***name != *LACKS && !is_link(name)).collect()))
        });
        types.collect()
    }

    /// What is listed and not there.
    fn listed(&self) -> Vec<Fault> {
        let types = self.types();
        let mut faults = Vec::new();
        for list in &self.file.trusted.resources {
            let is_any = *list.of == *Trusted::ANY;
            if !is_any && !types.contains_key(&list.of) {
                let known = types.keys().map(|name| &***name).collect::<Vec<_>>().join(", ");
                let message = format!("no action applies to `{}`, expected one of {known}, `*` or `context`", list.of);
                faults.push(self.fault(list, message));
                continue;
            }
            let has = |name: &Arc<str>| {
                types
                    .iter()
                    .any(|(entity, attributes)| (is_any || **entity == list.of) && attributes.contains_key(name))
            };
            for name in list.names.iter().filter(|name| !has(name)) {
                let of = if is_any { "no resource type has" } else { "the resource type has no" };
                let message = format!("`trusted.{}`: {of} attribute `{name}` that callers could give", list.of);
                let known = types.values().flat_map(|attributes| attributes.keys()).map(|name| &***name);
                faults.push(self.fault(list, message).near(name, known));
            }
        }
        faults
    }

    /// What the schema requires and callers are not believed.
    fn required(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (entity, attributes) in self.types() {
            let missing = attributes.into_iter().filter(|(_, member)| member.is_required);
            for (name, _) in missing.filter(|(name, member)| !self.is_given(entity, name, member)) {
                let message = format!(
                    "the schema requires `{entity}.{name}`, but callers are not believed it: list it in `[trusted]`"
                );
                faults.push(Fault::in_file(REALM_FILE, message).coded(Code::Untrusted));
            }
        }
        faults
    }

    fn context(&self) -> Vec<Fault> {
        let trusted = &self.file.trusted;
        let mut faults = Vec::new();
        if let Some(list) = &trusted.context {
            for name in &list.names {
                let is_declared = self.schema.actions.values().any(|shape| shape.context.contains_key(name));
                let wrong = match is_declared {
                    true if is_hosts(self.file, name) => "is filled in by the service, no caller can send it",
                    true => continue,
                    false => "is declared by no action's context in the schema",
                };
                faults.push(self.fault(list, format!("`trusted.context`: `{name}` {wrong}")));
            }
        }
        let declared = self.schema.actions.values().flat_map(|shape| &shape.context);
        let missing = declared.filter(|(name, member)| member.is_required && self.is_never_said(name));
        let missing: BTreeSet<&Arc<str>> = missing.map(|(name, _)| name).collect();
        faults.extend(missing.into_iter().map(|name| {
            let message = format!(
                "the schema requires `context.{name}`, but callers are not believed it: list it in `trusted.context`"
            );
            Fault::in_file(REALM_FILE, message).coded(Code::Untrusted)
        }));
        faults
    }

    /// Neither the host fills in the member of the context, nor may callers send it.
    fn is_never_said(&self, member: &str) -> bool {
        !is_hosts(self.file, member) && !self.file.trusted.takes_context(member)
    }

    /// What a policy looks at and is never there, though the schema has it.
    fn looked_at(&self, policy: &CompiledPolicy) -> Vec<Fault> {
        let clauses = &policy.clauses.list;
        let members = clauses.iter().filter_map(|clause| clause.context_members.as_ref()).flatten();
        let is_declared = |name: &Arc<str>| self.schema.actions.values().any(|it| it.context.contains_key(name));
        let unsaid = members.filter(|name| is_declared(name) && self.is_never_said(name));
        let mut unsaid: BTreeSet<String> = unsaid
            .map(|name| format!("`context.{name}`, but callers are not believed it: list it in `trusted.context`"))
            .collect();
        if self.file.resources.is_none() {
            let attributes = clauses.iter().flat_map(|clause| &clause.resource_paths).filter_map(|path| path.first());
            let unread = attributes.filter(|name| self.is_never_given(policy, name));
            unsaid.extend(
                unread
                    .map(|name| format!("`resource.{name}`, but callers are not believed it: list it in `[trusted]`")),
            );
        }
        let faults = unsaid.into_iter().map(|what| format!("the policy `{}` looks at {what}", policy.id));
        faults.map(|message| Fault::in_file(REALM_FILE, message).coded(Code::Untrusted)).collect()
    }

    /// Some of the policy's resource types have the attribute, and of none callers are believed it.
    fn is_never_given(&self, policy: &CompiledPolicy, attribute: &Arc<str>) -> bool {
        let types = self.types().into_iter();
        let having = types
            .filter(|(entity, attributes)| attributes.contains_key(attribute) && PolicySet::takes_type(policy, entity));
        let given = having
            .filter_map(|(entity, attributes)| Some(self.is_given(entity, attribute, attributes.get(attribute)?)));
        let mut given = given.peekable();
        given.peek().is_some() && !given.any(|is_given| is_given)
    }

    /// Callers are believed the attribute, or the store knows it.
    fn is_given(&self, entity: &str, name: &str, member: &Member) -> bool {
        let item = self.relations.item(entity);
        self.file.trusted.takes(entity, name) || item.is_some_and(|it| it.stores(entity, name, &member.value_type))
    }
}
