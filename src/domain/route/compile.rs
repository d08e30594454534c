//! `[routes]` and the documents that they name, held against the schema and the resource types.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
};

use super::{
    GENERIC_TYPE, Operation, Routes,
    meaning::Place,
    openapi::{self, Described},
    template::{Segment, Template as PathTemplate, Tree},
};
use crate::domain::{
    fault::{Code, Fault},
    policy_set::SourceFile,
    realm_file::{Mapping, RealmFile, RouteSettings},
    resource_type::{ResourceType, ResourceTypes},
    schema::{ActionShape, RealmSchema},
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

/// A fault at bytes of a file.
pub(super) fn at(file: &SourceFile, place: &Range<usize>, message: impl Into<String>) -> Fault {
    Fault::at(&file.path, &file.content, Some(place.clone()), message)
}

/// The work of compiling.
pub(super) struct Work<'a> {
    pub(super) parts: Parts<'a>,
    settings: &'a RouteSettings,
    pub(super) faults: Vec<Fault>,
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

    pub(super) fn applies(&self, shape: &ActionShape, resource_type: &ResourceType) -> bool {
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
}
