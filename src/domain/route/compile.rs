//! `[routes]` and the documents that they name, held against the schema and the resource types.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{
    Filled, Form, GENERIC_TYPE, Meaning, Obligations, Operation, QUERY, Routes,
    openapi::{self, Described},
    template::{Segment, Template as PathTemplate, Tree},
};
use crate::domain::{
    access_request::{Phase, is_hosts},
    fault::{Code, Fault},
    policy_set::SourceFile,
    realm_file::{Mapping, RealmFile, RouteSettings, Words},
    resource_type::{ResourceType, ResourceTypes},
    schema::{ActionShape, AttributeType, Member, RealmSchema},
    template::Template,
};

/// A realm's files, as far as routes ask of them.
#[derive(Clone, Copy, Debug)]
pub(in crate::domain) struct Parts<'a> {
    /// All files.
    pub(in crate::domain) files: &'a [SourceFile],
    /// The path of realm.toml.
    pub(in crate::domain) path: &'a str,
    /// realm.toml.
    pub(in crate::domain) file: &'a RealmFile,
    /// The schema.
    pub(in crate::domain) schema: &'a RealmSchema,
    /// The resource types.
    pub(in crate::domain) types: &'a ResourceTypes,
}

/// The most operations that a realm's routes may have.
const OPERATIONS_MAX: usize = 20_000;

/// The most faults, and the most warnings, that are told of one by one: each is looked up in a document that may be long.
const TOLD_MAX: usize = 100;

/// Compiles the routes, where the realm has them.
///
/// # Errors
/// Every fault, with file and line.
pub(in crate::domain) fn compile(parts: &Parts<'_>) -> Result<Option<Routes>, Vec<Fault>> {
    let Some(settings) = &parts.file.routes else { return Ok(None) };
    let mut work = Work { parts: *parts, settings, faults: Vec::new() };
    let described = work.described();
    let base = work.base();
    let mappings = work.mappings(&described);
    let mut routes = Routes {
        tree: Tree::new(),
        operations: Vec::new(),
        query_token: settings.query_token.clone(),
        generic: settings.is_generic.then(|| work.generic()),
        warnings: Vec::new(),
    };
    let mut unmapped = 0_usize;
    for described in &described {
        let Some(operation) = work.operation(described, base.as_deref(), &mappings) else { continue };
        let (method, number) = (Arc::from(described.method), routes.operations.len());
        if let Err(other) = routes.tree.insert(&method, &operation.template, number) {
            let other = routes.operations.get(other).map(|other| Arc::clone(&other.path)).unwrap_or_default();
            let path = &operation.path;
            let message = format!("{method} `{path}` fits the same paths as {method} `{other}`");
            work.faults.push(at(described.file, &described.path_place, message).coded(Code::DataFile));
        }
        if work.faults.len() > TOLD_MAX {
            break;
        }
        if operation.meaning.is_none() && !settings.is_generic {
            unmapped += 1;
            if unmapped <= TOLD_MAX {
                routes.warnings.push(of_unmapped(described, &operation.name));
            }
        }
        routes.operations.push(operation);
    }
    if let (Some(more @ 1..), Some(described)) = (unmapped.checked_sub(TOLD_MAX), described.last()) {
        routes.warnings.push(of_unmapped_more(described, more));
    }
    if work.faults.is_empty() { Ok(Some(routes)) } else { Err(work.faults) }
}

/// Nothing says what an operation means, so it is always denied.
fn of_unmapped(described: &Described<'_>, name: &str) -> Fault {
    let message = format!("nothing says what `{name}` asks for, so that it is always denied");
    at(described.file, &described.place, message).coded(Code::UnmappedOperation).helped(Code::UnmappedOperation.fix())
}

fn of_unmapped_more(described: &Described<'_>, more: usize) -> Fault {
    let message = format!("nothing says what {more} more operations ask for, so that they are always denied");
    Fault::in_file(&described.file.path, message).coded(Code::UnmappedOperation).helped(Code::UnmappedOperation.fix())
}

fn at(file: &SourceFile, place: &Range<usize>, message: impl Into<String>) -> Fault {
    Fault::at(&file.path, &file.content, Some(place.clone()), message)
}

/// A file with places, and a message that names the operation.
#[derive(Clone, Copy)]
struct Place<'a> {
    file: &'a SourceFile,
    operation: &'a str,
}

struct Work<'a> {
    parts: Parts<'a>,
    settings: &'a RouteSettings,
    faults: Vec<Fault>,
}

/// What `[routes.operations.*]` say, by operationId.
type Mappings<'a> = BTreeMap<&'a str, &'a Mapping>;

impl<'a> Work<'a> {
    fn in_realm_file(&mut self, place: &Range<usize>, message: String, code: Code) {
        let file = self.parts.files.iter().find(|file| file.path == self.parts.path);
        let fault = match file {
            Some(file) => at(file, place, message),
            None => Fault::in_file(self.parts.path, message),
        };
        self.faults.push(fault.coded(code));
    }

    /// The operations of all documents.
    fn described(&mut self) -> Vec<Described<'a>> {
        let mut all = Vec::new();
        for name in &self.settings.openapi {
            let Some(file) = self.parts.files.iter().find(|file| file.path == **name) else {
                let message = format!("`{name}` is missing, expected an OpenAPI document in the realm's folder");
                self.in_realm_file(&self.settings.place, message, Code::MissingFile);
                continue;
            };
            match openapi::read(file) {
                Ok(operations) => all.extend(operations),
                Err(faults) => self.faults.extend(faults),
            }
        }
        if all.len() > OPERATIONS_MAX {
            let message = format!("the documents describe {} operations, expected at most {OPERATIONS_MAX}", all.len());
            self.in_realm_file(&self.settings.place, message, Code::RealmFile);
            all.truncate(OPERATIONS_MAX);
        }
        all
    }

    /// What realm.toml says stands before every path.
    fn base(&mut self) -> Option<Vec<Segment>> {
        let base = self.settings.base_path.as_ref()?;
        let text = base.text.strip_suffix('/').unwrap_or(&base.text);
        if text.is_empty() {
            return Some(Vec::new());
        }
        match PathTemplate::parse(text) {
            Ok(template) => Some(template.segments),
            Err(message) => {
                self.in_realm_file(&base.place, format!("`base_path`: {message}"), Code::RealmFile);
                None
            }
        }
    }

    /// What realm.toml says of operations; faults for those that no document has, and for operationIds that come twice.
    fn mappings(&mut self, described: &[Described<'_>]) -> Mappings<'a> {
        let mut known = BTreeSet::new();
        for described in described {
            if let Some(id) = described.id.as_deref().filter(|id| !known.insert(*id)) {
                let message = format!("the operationId `{id}` is there twice");
                self.faults.push(at(described.file, &described.place, message).coded(Code::DataFile));
            }
        }
        // What a document says that could not be read is not known.
        let has_faults = !self.faults.is_empty();
        let unknown = self.settings.operations.iter().filter(|(name, _)| !has_faults && !known.contains(&**name));
        for (name, mapping) in unknown {
            let message = format!("no document of `openapi` has an operation `{name}`");
            self.in_realm_file(&mapping.place, message, Code::UnknownName);
            let fault = self.faults.pop().map(|fault| fault.near(name, known.iter().copied()));
            self.faults.extend(fault);
        }
        self.settings.operations.iter().map(|(name, mapping)| (&**name, mapping)).collect()
    }

    /// The actions of generic routes: those that apply to their type.
    fn generic(&mut self) -> Vec<Arc<str>> {
        let Parts { schema, types, .. } = self.parts;
        let Some(of_type) = types.get(GENERIC_TYPE) else {
            let message =
                format!("`generic` asks about the resource type `{GENERIC_TYPE}`, which the realm does not have");
            self.in_realm_file(&self.settings.place, message, Code::Unmet);
            return Vec::new();
        };
        let is_method = |name: &str| name.bytes().all(|byte| byte.is_ascii_uppercase());
        let actions = schema.actions.iter().filter(|(name, shape)| is_method(name) && self.applies(shape, of_type));
        let actions: Vec<Arc<str>> = actions.map(|(name, _)| Arc::clone(name)).collect();
        if actions.is_empty() {
            let message =
                format!("`generic`: no action that is called as a method, `GET` say, applies to `{GENERIC_TYPE}`");
            self.in_realm_file(&self.settings.place, message, Code::Unmet);
        }
        actions
    }

    fn applies(&self, shape: &ActionShape, resource_type: &ResourceType) -> bool {
        shape.resources.contains(&resource_type.entity) && shape.principals.contains(&self.parts.file.principal.entity)
    }

    fn operation(
        &mut self,
        described: &Described<'a>,
        base: Option<&[Segment]>,
        mappings: &Mappings<'a>,
    ) -> Option<Operation> {
        let Described { file, id, method, path, base: server, queries, mapping, place, path_place } = described;
        let wrong = |message: String| at(file, path_place, message).coded(Code::DataFile);
        let own = PathTemplate::parse(path).map_err(|message| self.faults.push(wrong(message))).ok();
        let name = id.clone().unwrap_or_else(|| format!("{method} {path}").into());
        // What realm.toml says wins over the document's servers, right or wrong.
        let (before, template) = match (&self.settings.base_path, server) {
            (Some(words), _) => (words.text.strip_suffix('/').unwrap_or(&words.text), own?.below(base?)),
            (None, Ok(server)) => {
                let server_base =
                    if server.is_empty() { Ok(Vec::new()) } else { PathTemplate::parse(server).map(|it| it.segments) };
                let server_base = server_base.map_err(|message| self.faults.push(wrong(message))).ok()?;
                (server.as_str(), own?.below(&server_base))
            }
            (None, Err(message)) => {
                self.faults.push(wrong(message.clone()));
                return None;
            }
        };
        let of_realm = id.as_deref().and_then(|id| mappings.get(id).copied());
        if of_realm.is_some() && mapping.is_some() {
            let message =
                format!("`{name}` has `x-hallpass`, and realm.toml `[routes.operations.{name}]`: expected one of both");
            self.faults.push(at(file, place, message).coded(Code::Unmet));
        }
        let realm_file = self.parts.files.iter().find(|file| file.path == self.parts.path);
        let (mapping, said_in) = match (of_realm, realm_file, mapping) {
            (Some(mapping), Some(realm_file), _) => (Some(mapping), realm_file),
            (_, _, mapping) => (mapping.as_ref(), *file),
        };
        let meaning = self.meaning(Place { file: said_in, operation: &name }, described, &template, queries, mapping);
        let path = format!("{before}{path}").into();
        Some(Operation { name, path, template, meaning })
    }

    /// What an operation asks for; `None` where nothing says so, or where it is at fault.
    fn meaning(
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
        let known: Vec<&str> = resource_type.subjects.iter().flat_map(|it| it.paths()).map(|path| &**path).collect();
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
                self.wrong(place, &mapping.map_or(&nothing, |it| it).place, &message, Code::Unmet);
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
