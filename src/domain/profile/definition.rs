//! Reads profile definitions: XML with `Profiles` or one `Profile` at the root, as Ed-Fi-ODS-API-Profiles.xsd has it.
//!
//! What is no definition at all is a fault of the realm: bad XML, elements and attributes that don't belong there.
//! A definition that says something impossible makes its profile invalid, which the realm's settings deal with.

use std::{collections::HashSet, sync::Arc};

use roxmltree::{Attribute, Document, Error as XmlError, Node, ParsingOptions};

use super::{
    Profile, ProfileResource,
    media_type::{is_name, is_plain_name},
    members::{Child, Filter, Members, Selection},
};
use crate::domain::{
    fault::Fault,
    policy_set::SourceFile,
    realm_file::{ExcludedChildren, HeaderForm, ProfileSettings},
    resource_type::{ResourceType, ResourceTypes},
};

/// The most bytes of one file.
const FILE_BYTES_MAX: usize = 1024 * 1024;
/// The most elements and texts of one file.
const NODES_MAX: u32 = 100_000;
/// The deepest nesting of objects and collections.
const DEPTH_MAX: usize = 16;
/// The most members that one content type names, at all depths: an obligation carries them all.
const MEMBERS_MAX: usize = 2_000;
/// The longest name or value, in bytes.
const NAME_BYTES_MAX: usize = 512;

/// Attributes that say where a schema is, which any XML file may have.
const SCHEMA_INSTANCE: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// What a file holds.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    /// The profiles, each with its place.
    pub(super) profiles: Vec<(Profile, Fault)>,
    /// What makes no profile impossible but is worth a look, and what makes profiles invalid.
    pub(super) warnings: Vec<Fault>,
    /// What is wrong with the file.
    pub(super) faults: Vec<Fault>,
}

/// Reads a file.
pub(super) fn read(file: &SourceFile, settings: &ProfileSettings, types: &ResourceTypes) -> Definitions {
    let fault =
        |message: String| Definitions { faults: vec![Fault::in_file(&file.path, message)], ..Definitions::default() };
    if file.content.len() > FILE_BYTES_MAX {
        return fault(format!("is longer than {FILE_BYTES_MAX} bytes"));
    }
    let options = ParsingOptions { allow_dtd: false, nodes_limit: NODES_MAX, entity_resolver: None };
    let document = match Document::parse_with_options(&file.content, options) {
        Ok(document) => document,
        Err(XmlError::NodesLimitReached) => return fault(format!("has more than {NODES_MAX} elements and texts")),
        Err(error) => {
            let place = error.pos();
            let at = offset(&file.content, place.row, place.col);
            let faults = vec![Fault::at(&file.path, &file.content, Some(at..at), error.to_string())];
            return Definitions { faults, ..Definitions::default() };
        }
    };
    let mut reader = Reader { file, settings, types, found: Definitions::default(), problems: Vec::new(), members: 0 };
    reader.root(document.root_element());
    reader.found
}

/// The byte at a row and a column, both from 1, the column in characters.
fn offset(content: &str, row: u32, column: u32) -> usize {
    let before: usize =
        content.split_inclusive('\n').take(usize::try_from(row).unwrap_or(1).saturating_sub(1)).map(str::len).sum();
    let line = content.get(before..).unwrap_or_default();
    let columns = usize::try_from(column).unwrap_or(1).saturating_sub(1);
    before + line.char_indices().nth(columns).map_or(0, |(index, _)| index)
}

/// What may stand within an element.
#[derive(Clone, Copy)]
enum Place {
    Class,
    Collection,
    Extension,
    ExtensionCollection,
}

impl Place {
    fn children(self) -> &'static [&'static str] {
        match self {
            Self::Class => &["Property", "Object", "Collection", "Extension"],
            Self::Collection => &["Property", "Object", "Collection", "Extension", "Filter"],
            Self::Extension => &["Property", "Object", "Collection"],
            Self::ExtensionCollection => &["Property", "Object", "Collection", "Filter"],
        }
    }

    /// The place that a child of this name is.
    fn of(self, child: &str) -> Self {
        match (self, child) {
            (Self::Extension | Self::ExtensionCollection, "Collection") => Self::ExtensionCollection,
            (Self::Extension | Self::ExtensionCollection, _) | (_, "Extension") => Self::Extension,
            (_, "Collection") => Self::Collection,
            _ => Self::Class,
        }
    }
}

struct Reader<'a> {
    file: &'a SourceFile,
    settings: &'a ProfileSettings,
    types: &'a ResourceTypes,
    found: Definitions,
    /// What makes the profile that is being read invalid.
    problems: Vec<Fault>,
    /// How many members the content type that is being read has named.
    members: usize,
}

impl Reader<'_> {
    fn at(&self, start: usize, message: String) -> Fault {
        Fault::at(&self.file.path, &self.file.content, Some(start..start), message)
    }

    fn fault(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        let fault = self.at(node.range().start, message.into());
        self.found.faults.push(fault);
    }

    fn warn(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        let warning = self.at(node.range().start, message.into());
        self.found.warnings.push(warning);
    }

    fn problem(&mut self, node: Node<'_, '_>, message: impl Into<String>) {
        let problem = self.at(node.range().start, message.into());
        self.problems.push(problem);
    }

    fn root(&mut self, root: Node<'_, '_>) {
        match tag(root) {
            Some("Profile") => self.profile(root),
            Some("Profiles") => {
                self.attributes(root, &[]);
                for node in self.elements(root, &["Profile"]) {
                    self.profile(node);
                }
            }
            _ => {
                let name = root.tag_name().name();
                self.fault(root, format!("unknown element `{name}`, expected `Profiles` or `Profile`"));
            }
        }
    }

    fn profile(&mut self, node: Node<'_, '_>) {
        self.attributes(node, &["name"]);
        self.problems.clear();
        let name = self.name(node, "name").unwrap_or_default();
        if !name.is_empty() && !is_name(&name) {
            self.problem(node, "no media type can name it, expected letters, digits and any of !#$&-^_");
        } else if self.settings.header == HeaderForm::Pattern && !name.is_empty() && !is_plain_name(&name) {
            let rule = "expected a letter, then letters, digits and hyphens; it counts only where it is assigned alone";
            self.warn(node, format!("no request can name profile `{name}`, {rule}"));
        }
        let mut resources: Vec<ProfileResource> = Vec::new();
        for child in self.elements(node, &["Resource"]) {
            let resource = self.resource(child);
            if resources.iter().any(|other| other.is_same(&resource)) {
                self.problem(child, format!("resource `{}` is there twice", resource.name));
            }
            resources.push(resource);
        }
        if resources.is_empty() {
            self.problem(node, "it has no `Resource`");
        }
        let problems = std::mem::take(&mut self.problems);
        let is_valid = problems.is_empty();
        for mut problem in problems {
            problem.message = format!("profile `{name}` is invalid: {}", problem.message);
            self.found.warnings.push(problem);
        }
        let place = self.at(node.range().start, String::new());
        self.found.profiles.push((Profile { name, resources, is_valid }, place));
    }

    fn resource(&mut self, node: Node<'_, '_>) -> ProfileResource {
        self.attributes(node, &["name", "logicalSchema"]);
        let name = self.name(node, "name").unwrap_or_default();
        let logical_schema = node.attribute("logicalSchema").map(Arc::from);
        let mut resource = ProfileResource { name, logical_schema, types: Vec::new(), readable: None, writable: None };
        let types: Vec<Arc<ResourceType>> =
            self.types.values().filter(|resource_type| resource.is_of(resource_type)).map(Arc::clone).collect();
        resource.types = types.iter().map(|resource_type| Arc::clone(&resource_type.name)).collect();
        if types.is_empty() && !resource.name.is_empty() {
            self.problem(node, format!("the realm has no resource `{}`", resource.name));
        }
        for child in self.elements(node, &["ReadContentType", "WriteContentType"]) {
            self.attributes(child, &["memberSelection"]);
            self.members = 0;
            let mut members = self.members(child, Place::Class, 0);
            self.keep_identity(child, &types, &mut members);
            let usage =
                if tag(child) == Some("ReadContentType") { &mut resource.readable } else { &mut resource.writable };
            if usage.replace(members).is_some() {
                self.problem(child, format!("`{}` is there twice", child.tag_name().name()));
            }
        }
        if resource.readable.is_none() && resource.writable.is_none() {
            self.problem(node, "it has neither `ReadContentType` nor `WriteContentType`");
        }
        resource
    }

    /// What identifies a resource cannot be excluded.
    fn keep_identity(&mut self, node: Node<'_, '_>, types: &[Arc<ResourceType>], members: &mut Members) {
        if members.selection != Selection::ExcludeOnly {
            return;
        }
        let subjects = types.iter().flat_map(|resource_type| &resource_type.subjects);
        for subject in subjects.filter(|subject| subject.is_identity == Some(true)) {
            let member = subject.path.split('.').next().unwrap_or_default();
            let count = members.properties.len();
            members.properties.retain(|name| !name.eq_ignore_ascii_case(member));
            if members.properties.len() < count {
                self.warn(node, format!("`{member}` identifies the resource, so it cannot be excluded"));
            }
        }
    }

    fn members(&mut self, node: Node<'_, '_>, place: Place, depth: usize) -> Members {
        let mut members = Members { selection: self.selection(node), ..Members::default() };
        if depth > DEPTH_MAX {
            self.fault(node, format!("is nested more than {DEPTH_MAX} deep"));
            return members;
        }
        let mut names: HashSet<(bool, String)> = HashSet::new();
        for child in self.elements(node, place.children()) {
            let tag = child.tag_name().name();
            if tag == "Filter" {
                continue;
            }
            if !self.has_room(child) {
                break;
            }
            let name = self.name(child, "name").unwrap_or_default();
            let key = (tag == "Extension", name.to_ascii_lowercase());
            if !name.is_empty() && !names.insert(key) {
                self.problem(child, format!("`{name}` is there twice"));
            }
            if tag == "Property" {
                self.attributes(child, &["name"]);
                self.elements(child, &[]);
                members.properties.push(name);
                continue;
            }
            let read = self.child(child, name, place.of(tag), members.selection, depth);
            match tag {
                "Object" => members.objects.push(read),
                "Collection" => members.collections.push(read),
                _ => members.extensions.push(read),
            }
        }
        if members.selection == Selection::IncludeAll && !members.properties.is_empty() {
            self.warn(node, "naming properties under `IncludeAll` has no effect");
        }
        members
    }

    /// Counts one more member or value of the content type. What is beyond the limit is not read: it makes the profile
    /// invalid, whatever it says.
    fn has_room(&mut self, node: Node<'_, '_>) -> bool {
        self.members += 1;
        if self.members == MEMBERS_MAX + 1 {
            self.problem(node, format!("a content type names more than {MEMBERS_MAX} members"));
        }
        self.members <= MEMBERS_MAX
    }

    fn child(&mut self, node: Node<'_, '_>, name: Arc<str>, place: Place, outer: Selection, depth: usize) -> Child {
        self.attributes(node, &["name", "memberSelection", "logicalSchema"]);
        let mut members = self.members(node, place, depth + 1);
        if outer == Selection::ExcludeOnly && self.settings.excluded_children == ExcludedChildren::Exclude {
            members = Members { selection: Selection::ExcludeAll, ..Members::default() };
        }
        let filters = match place {
            Place::Collection | Place::ExtensionCollection => self.filters(node),
            Place::Class | Place::Extension => Vec::new(),
        };
        Child { name, logical_schema: node.attribute("logicalSchema").map(Arc::from), members, filters }
    }

    fn filters(&mut self, node: Node<'_, '_>) -> Vec<Filter> {
        let mut filters = Vec::new();
        for child in node.children().filter(|child| tag(*child) == Some("Filter")) {
            self.attributes(child, &["propertyName", "filterMode"]);
            let property = self.name(child, "propertyName").unwrap_or_default();
            let is_inclusive = match child.attribute("filterMode") {
                Some("IncludeOnly") => true,
                Some("ExcludeOnly") => false,
                _ => {
                    self.problem(child, "`filterMode` needs `IncludeOnly` or `ExcludeOnly`");
                    true
                }
            };
            let mut values: Vec<Arc<str>> = Vec::new();
            for value in self.elements(child, &["Value"]) {
                if !self.has_room(value) {
                    return filters;
                }
                self.attributes(value, &[]);
                values.extend(self.value(value));
            }
            if values.is_empty() {
                self.problem(child, "a filter needs a `Value`");
            }
            filters.push(Filter { property, is_inclusive, values });
        }
        filters
    }

    fn value(&mut self, node: Node<'_, '_>) -> Option<Arc<str>> {
        if let Some(inner) = node.children().find(Node::is_element) {
            self.fault(inner, format!("unknown element `{}`, expected a text", inner.tag_name().name()));
        }
        let texts = node.children().filter_map(|child| child.text().filter(|_| child.is_text()));
        let text: String = texts.collect();
        if text.trim().is_empty() || text.len() > NAME_BYTES_MAX {
            self.problem(node, format!("a `Value` needs a text of at most {NAME_BYTES_MAX} bytes"));
            return None;
        }
        Some(text.into())
    }

    fn selection(&mut self, node: Node<'_, '_>) -> Selection {
        let known = [Selection::IncludeAll, Selection::IncludeOnly, Selection::ExcludeOnly];
        let found = known.into_iter().find(|known| node.attribute("memberSelection") == Some(known.name()));
        if found.is_none() {
            let names = known.map(Selection::name).join(", ");
            self.problem(node, format!("`memberSelection` needs one of {names}"));
        }
        found.unwrap_or_default()
    }

    fn name(&mut self, node: Node<'_, '_>, attribute: &str) -> Option<Arc<str>> {
        let name = node.attribute(attribute).map(str::trim).filter(|name| !name.is_empty());
        let name = name.filter(|name| name.len() <= NAME_BYTES_MAX);
        if name.is_none() {
            let element = node.tag_name().name();
            self.problem(node, format!("`{element}` needs a `{attribute}` of at most {NAME_BYTES_MAX} bytes"));
        }
        name.map(Arc::from)
    }

    /// The elements within, each one of these; anything else there is a fault.
    fn elements<'n, 'i>(&mut self, node: Node<'n, 'i>, known: &[&str]) -> Vec<Node<'n, 'i>> {
        let mut elements = Vec::new();
        for child in node.children() {
            let is_text = child.is_text() && child.text().is_some_and(|text| !text.trim().is_empty());
            if is_text {
                self.fault(child, format!("unknown text within `{}`", node.tag_name().name()));
            } else if child.is_element() && tag(child).is_some_and(|tag| known.contains(&tag)) {
                elements.push(child);
            } else if child.is_element() {
                let expected = if known.is_empty() { "nothing there".to_owned() } else { known.join(", ") };
                self.fault(child, format!("unknown element `{}`, expected {expected}", child.tag_name().name()));
            }
        }
        elements
    }

    fn attributes(&mut self, node: Node<'_, '_>, known: &[&str]) {
        let belongs = |attribute: &Attribute<'_, '_>| match attribute.namespace() {
            None => known.contains(&attribute.name()),
            Some(namespace) => namespace == SCHEMA_INSTANCE,
        };
        for attribute in node.attributes().filter(|attribute| !belongs(attribute)) {
            let expected = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let message = format!("unknown attribute `{}`, expected {expected}", attribute.name());
            let fault = self.at(attribute.range().start, message);
            self.found.faults.push(fault);
        }
    }
}

/// The name of an element without a namespace.
fn tag<'a>(node: Node<'a, '_>) -> Option<&'a str> {
    (node.is_element() && node.tag_name().namespace().is_none()).then(|| node.tag_name().name())
}
