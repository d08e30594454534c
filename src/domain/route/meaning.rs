//! What an operation asks for, held against the schema and its resource type.

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use super::{
    Filled, Form, Meaning, Obligations, QUERY,
    compile::{Work, at},
    openapi::Described,
    template::Template as PathTemplate,
};
use crate::domain::{
    access_request::{Phase, is_hosts},
    fault::Code,
    policy_set::SourceFile,
    realm_file::{Mapping, Words},
    resource_type::{ResourceType, Subject},
    schema::{ActionShape, AttributeType, Member},
    template::Template,
};

/// A file with places, and a message that names the operation.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) file: &'a SourceFile,
    pub(super) operation: &'a str,
}

impl<'a> Work<'a> {
    /// What an operation asks for; `None` where nothing says so, or where it is at fault.
    pub(super) fn meaning(
        &mut self,
        place: Place<'_>,
        described: &Described<'_>,
        template: &PathTemplate,
        queries: &[Arc<str>],
        mapping: Option<&Mapping>,
    ) -> Option<Meaning> {
        let nothing = Mapping { place: described.place.clone(), ..Mapping::default() };
        let said = mapping.unwrap_or(&nothing);
        let (action, shape) = self.action(place, described, mapping)?;
        let resource_type = self.resource_type(place, said, &action, shape)?;
        let names = Names { template, queries };
        let id = match &said.id {
            Some(words) => Some(self.text(place, &names, words)?),
            None => template.parameters().last().and_then(|name| Template::parse(&format!("{{{name}}}")).ok()),
        };
        let properties = |wanted: &str| {
            let subject = resource_type.subjects.iter().find(|subject| subject.paths().any(|path| **path == *wanted));
            // Of an id that takes several values each is a text.
            subject
                .map(|subject| if subject.more.is_empty() { subject.value_type.clone() } else { AttributeType::String })
        };
        let known: Vec<&str> = resource_type.subjects.iter().flat_map(Subject::paths).map(|path| &**path).collect();
        let place_of = said.place.clone();
        let (mut attributes, mut proposed) = (None, None);
        for (phase, said, filled) in
            [(Phase::Existing, &said.attributes, &mut attributes), (Phase::Proposed, &said.proposed, &mut proposed)]
        {
            if let Some(said) = said {
                let what = format!("`{}` has no value", resource_type.name);
                *filled = Some(self.filled(place, &names, said, &what, &properties, &known)?);
            } else if self.parts.file.action(&action).is_some_and(|rule| rule.needs.contains(&phase)) {
                let key = if phase == Phase::Existing { "attributes" } else { "proposed" };
                let message = format!("`{action}` is judged by the {} values, expected `{key}`", phase.name());
                self.wrong(place, &place_of, &message, Code::Unmet);
                return None;
            }
        }
        self.required(place, said, resource_type, shape)?;
        let members = |wanted: &str| self.context_type(shape, wanted);
        let known: Vec<&str> =
            shape.context.keys().map(|name| &**name).filter(|name| members(name).is_some()).collect();
        let what = format!("callers are not believed, or `{action}` does not have, the member of the context");
        let types: BTreeMap<&str, AttributeType> =
            known.iter().filter_map(|name| Some((*name, members(name)?))).collect();
        let context = self.filled(place, &names, &said.context, &what, &|name| types.get(name).cloned(), &known)?;
        let obligations = self.obligations(place, said.obligations.as_ref())?;
        let resource_type = Arc::clone(&resource_type.name);
        Some(Meaning { action, resource_type, id, attributes, proposed, context, obligations })
    }

    fn wrong(&mut self, place: Place<'_>, at_bytes: &Range<usize>, message: &str, code: Code) {
        let message = format!("operation `{}`: {message}", place.operation);
        self.faults.push(at(place.file, at_bytes, message).coded(code));
    }

    fn wrong_name(&mut self, place: Place<'_>, words: &Words, message: &str, code: Code, known: &[&str]) {
        self.wrong(place, &words.place, message, code);
        let fault = self.faults.pop().map(|fault| fault.near(&words.text, known.iter().copied()));
        self.faults.extend(fault);
    }

    fn action(
        &mut self,
        place: Place<'_>,
        described: &Described<'_>,
        mapping: Option<&Mapping>,
    ) -> Option<(Arc<str>, &'a ActionShape)> {
        let actions = &self.parts.schema.actions;
        let found = |name: &str| actions.get_key_value(name).map(|(name, shape)| (Arc::clone(name), shape));
        if let Some(words) = mapping.and_then(|mapping| mapping.action.as_ref()) {
            let action = found(&words.text);
            if action.is_none() {
                let known: Vec<&str> = actions.keys().map(|name| &**name).collect();
                let message = format!("the schema has no action `{}`", words.text);
                self.wrong_name(place, words, &message, Code::UnknownAction, &known);
            }
            return action;
        }
        let action = described.id.as_deref().and_then(found);
        if let (None, Some(mapping)) = (&action, mapping) {
            let message = "no action of the schema is called like it, expected `action`";
            self.wrong(place, &mapping.place, message, Code::UnknownAction);
        }
        action
    }

    fn resource_type(
        &mut self,
        place: Place<'_>,
        said: &Mapping,
        action: &str,
        shape: &ActionShape,
    ) -> Option<&'a ResourceType> {
        let types = self.parts.types;
        let applying: Vec<&ResourceType> =
            types.values().map(|it| &**it).filter(|resource_type| self.applies(shape, resource_type)).collect();
        let Some(words) = &said.resource else {
            if let [only] = applying.as_slice() {
                return Some(only);
            }
            let message = format!("`{action}` applies to {} resource types, expected `resource`", applying.len());
            self.wrong(place, &said.place, &message, Code::Unmet);
            return None;
        };
        let found = types.get(&words.text).map(|resource_type| &**resource_type);
        match found {
            None => {
                let known: Vec<&str> = types.keys().map(|name| &**name).collect();
                let message = format!("the realm has no resource type `{}`", words.text);
                self.wrong_name(place, words, &message, Code::UnknownName, &known);
                None
            }
            Some(resource_type) if !self.applies(shape, resource_type) => {
                let message = format!("`{action}` does not apply to `{}`", words.text);
                self.wrong(place, &words.place, &message, Code::NotApplicable);
                None
            }
            found => found,
        }
    }

    /// A text whose placeholders are all parameters.
    fn text(&mut self, place: Place<'_>, names: &Names<'_>, words: &Words) -> Option<Template> {
        let parsed =
            Template::parse(&words.text).map_err(|message| self.wrong(place, &words.place, &message, Code::RealmFile));
        let template = parsed.ok()?;
        let unknown = template.names().find(|name| !names.has(name)).map(str::to_owned);
        if let Some(name) = unknown {
            let known = names.known();
            let message = format!("there is no parameter `{name}`, expected one of {}", known.join(", "));
            self.wrong(place, &words.place, &message, Code::UnknownName);
            return None;
        }
        Some(template)
    }

    fn filled(
        &mut self,
        place: Place<'_>,
        names: &Names<'_>,
        said: &[(Arc<str>, Words)],
        what: &str,
        type_of: &dyn Fn(&str) -> Option<AttributeType>,
        known: &[&str],
    ) -> Option<Vec<Filled>> {
        let mut filled = Vec::new();
        for (name, words) in said {
            let Some(value_type) = type_of(name) else {
                let expected =
                    if known.is_empty() { "nothing here".to_owned() } else { format!("one of {}", known.join(", ")) };
                let message = format!("{what} `{name}`, expected {expected}");
                self.wrong(place, &words.place, &message, Code::UnknownAttribute);
                continue;
            };
            let form = match value_type {
                AttributeType::String | AttributeType::Entity(_) => Form::Text,
                AttributeType::Long => Form::Long,
                AttributeType::Bool => Form::Bool,
                AttributeType::Set(_) | AttributeType::Record(_) | AttributeType::Other => {
                    let message = format!("`{name}` takes more than one text, which no parameter is");
                    self.wrong(place, &words.place, &message, Code::WrongType);
                    continue;
                }
            };
            if let Some(template) = self.text(place, names, words) {
                filled.push(Filled { name: Arc::clone(name), template, form });
            }
        }
        (filled.len() == said.len()).then_some(filled)
    }

    /// Nothing that the schema requires of a request is left out; otherwise every request would be malformed.
    fn required(
        &mut self,
        place: Place<'_>,
        said: &Mapping,
        resource_type: &ResourceType,
        shape: &ActionShape,
    ) -> Option<()> {
        let has = |said: &[(Arc<str>, Words)], name: &str| said.iter().any(|(own, _)| **own == *name);
        let mut missing = Vec::new();
        for values in said.attributes.iter().chain(&said.proposed) {
            let required = resource_type.subjects.iter().filter(|it| it.is_required && !resource_type.has_lacks);
            missing
                .extend(required.filter(|subject| !has(values, &subject.path)).map(|subject| subject.path.to_string()));
        }
        let file = self.parts.file;
        let required = shape.context.iter().filter(|(name, member)| member.is_required && !is_hosts(file, name));
        missing
            .extend(required.filter(|(name, _)| !has(&said.context, name)).map(|(name, _)| format!("context.{name}")));
        if missing.is_empty() {
            return Some(());
        }
        let message = format!("the schema requires `{}`, expected a text for it", missing.join("`, `"));
        self.wrong(place, &said.place, &message, Code::Unmet);
        None
    }

    /// The type of a member of the context that callers may send.
    fn context_type(&self, shape: &ActionShape, name: &str) -> Option<AttributeType> {
        let file = self.parts.file;
        let is_callers = !is_hosts(file, name) && file.trusted.takes_context(name);
        let member: Option<&Member> = shape.context.get(name).filter(|_| is_callers);
        member.map(|member| member.value_type.clone())
    }

    fn obligations(&mut self, place: Place<'_>, words: Option<&Words>) -> Option<Obligations> {
        match words {
            None => Some(Obligations::Unknown),
            Some(words) if *words.text == *"header" => Some(Obligations::Header),
            Some(words) => {
                let message = "`obligations` is not `header`, the only way in which an API hears of them";
                self.wrong(place, &words.place, message, Code::RealmFile);
                None
            }
        }
    }
}

/// The parameters of an operation.
struct Names<'a> {
    template: &'a PathTemplate,
    queries: &'a [Arc<str>],
}

impl Names<'_> {
    fn has(&self, name: &str) -> bool {
        match name.strip_prefix(QUERY) {
            Some(name) => self.queries.iter().any(|known| **known == *name),
            None => self.template.position(name).is_some(),
        }
    }

    fn known(&self) -> Vec<String> {
        let queries = self.queries.iter().map(|name| format!("{QUERY}{name}"));
        self.template.parameters().map(ToString::to_string).chain(queries).collect()
    }
}
