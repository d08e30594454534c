//! What an `OpenAPI` document (3.0 or 3.1) says of an API's operations: paths, methods, names and parameters, and no more.

use std::{borrow::Cow, fmt, marker::PhantomData, ops::Range, sync::Arc};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use crate::domain::{
    fault::{Code, Fault},
    policy_set::SourceFile,
    realm_file::{Mapping, Words},
};

/// The longest document, in bytes.
pub(super) const DOCUMENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// An operation as its document describes it.
#[derive(Debug)]
pub(super) struct Described<'f> {
    /// The document.
    pub(super) file: &'f SourceFile,
    /// Its operationId.
    pub(super) id: Option<Arc<str>>,
    /// The method, in capitals.
    pub(super) method: &'static str,
    /// The path, as written.
    pub(super) path: Arc<str>,
    /// What the document's servers put before it, or why that cannot be said.
    pub(super) base: Result<String, String>,
    /// The names of its query parameters.
    pub(super) queries: Vec<Arc<str>>,
    /// What it means, where the document says so in `x-hallpass`.
    pub(super) mapping: Option<Mapping>,
    /// Where its name stands, else the operation.
    pub(super) place: Range<usize>,
    /// Where its path stands.
    pub(super) path_place: Range<usize>,
}

/// Reads a document.
///
/// # Errors
/// What keeps it from being read, and references to other files, with places.
pub(super) fn read(file: &SourceFile) -> Result<Vec<Described<'_>>, Vec<Fault>> {
    let fault = |place: Range<usize>, message: String| {
        Fault::at(&file.path, &file.content, Some(place), message).coded(Code::DataFile)
    };
    if file.content.len() > DOCUMENT_BYTES_MAX {
        return Err(vec![Fault::in_file(&file.path, "is larger than 4 MiB").coded(Code::DataFile)]);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! { max_nodes: 4_000_000, max_events: 8_000_000 },
    };
    let document: Document = serde_saphyr::from_str_with_options(&file.content, options).map_err(|error| {
        let place = error.location().map(|location| bytes(&location)).unwrap_or_default();
        vec![fault(place, error.to_string()).coded(Code::Syntax)]
    })?;
    let version = document.openapi.as_ref().filter(|version| version.value.starts_with("3."));
    if version.is_none() {
        let place = document.openapi.as_ref().map(|version| bytes(&version.referenced)).unwrap_or_default();
        let message = "is no OpenAPI document of version 3.0 or 3.1: expected `openapi: 3.1.0` in it".to_owned();
        return Err(vec![fault(place, message)]);
    }
    let (mut operations, mut faults) = (Vec::new(), Vec::new());
    for (path, item) in &document.paths.0 {
        let at = |location: &Location| bytes(location);
        let item = match document.item(item) {
            Ok(item) => item,
            Err((place, message)) => {
                faults.push(fault(place, message));
                continue;
            }
        };
        for (method, operation) in item.operations() {
            let Operation { id, parameters, servers, mapping } = &operation.value;
            let mut queries = Vec::new();
            for parameter in item.parameters.iter().chain(parameters) {
                match document.parameter(parameter) {
                    Ok(Parameter { name: Some(name), place: Some(place), .. }) if place == "query" => {
                        queries.push(Arc::from(name.as_str()));
                    }
                    Ok(_) => {}
                    Err((place, message)) => faults.push(fault(place, message)),
                }
            }
            let servers = [servers, &item.servers, &document.servers].into_iter().find_map(|servers| servers.first());
            let place = id.as_ref().map_or(operation.referenced, |id| id.referenced);
            operations.push(Described {
                file,
                id: id.as_ref().map(|id| id.value.as_str().into()),
                method,
                path: path.value.as_str().into(),
                base: servers.map_or_else(|| Ok(String::new()), |server| base_of(&server.url)),
                queries,
                mapping: mapping.as_ref().map(|said| said.value.mapping(at(&said.referenced))),
                place: at(&place),
                path_place: at(&path.referenced),
            });
        }
    }
    if faults.is_empty() { Ok(operations) } else { Err(faults) }
}

/// The path of a server's URL.
fn base_of(url: &str) -> Result<String, String> {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    let path = match bare.split_once("://") {
        Some((_, rest)) => rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or_default(),
        None => bare,
    };
    let path = path.trim_end_matches('/');
    if path.contains('{') {
        return Err(format!("the path of the server `{url}` has variables: say `base_path` in `[routes]`"));
    }
    if !path.is_empty() && !path.starts_with('/') {
        return Err(format!("the server `{url}` has no path that begins with `/`: say `base_path` in `[routes]`"));
    }
    Ok(path.to_owned())
}

/// The bytes of a place.
fn bytes(location: &Location) -> Range<usize> {
    let span = location.span();
    let number = |count: Option<u64>| count.and_then(|count| usize::try_from(count).ok()).unwrap_or_default();
    let start = number(span.byte_offset());
    start..start + number(span.byte_len())
}

#[derive(Debug, serde::Deserialize)]
struct Document {
    #[serde(default)]
    openapi: Option<Spanned<String>>,
    #[serde(default)]
    servers: Vec<Server>,
    #[serde(default)]
    paths: Entries<PathItem, true>,
    #[serde(default)]
    components: Components,
}

#[derive(Debug, serde::Deserialize)]
struct Server {
    url: String,
}

#[derive(Debug, Default, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Components {
    #[serde(default)]
    parameters: Entries<Parameter>,
    #[serde(default)]
    path_items: Entries<PathItem>,
}

#[derive(Debug, serde::Deserialize)]
struct Parameter {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "in")]
    place: Option<String>,
    #[serde(default, rename = "$ref")]
    reference: Option<Spanned<String>>,
}

#[derive(Debug, serde::Deserialize)]
struct PathItem {
    #[serde(default, rename = "$ref")]
    reference: Option<Spanned<String>>,
    #[serde(default)]
    servers: Vec<Server>,
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    get: Option<Spanned<Operation>>,
    #[serde(default)]
    put: Option<Spanned<Operation>>,
    #[serde(default)]
    post: Option<Spanned<Operation>>,
    #[serde(default)]
    delete: Option<Spanned<Operation>>,
    #[serde(default)]
    options: Option<Spanned<Operation>>,
    #[serde(default)]
    head: Option<Spanned<Operation>>,
    #[serde(default)]
    patch: Option<Spanned<Operation>>,
    #[serde(default)]
    trace: Option<Spanned<Operation>>,
}

impl PathItem {
    fn operations(&self) -> impl Iterator<Item = (&'static str, &Spanned<Operation>)> {
        let all = [
            ("GET", &self.get),
            ("PUT", &self.put),
            ("POST", &self.post),
            ("DELETE", &self.delete),
            ("OPTIONS", &self.options),
            ("HEAD", &self.head),
            ("PATCH", &self.patch),
            ("TRACE", &self.trace),
        ];
        all.into_iter().filter_map(|(method, operation)| Some((method, operation.as_ref()?)))
    }
}

#[derive(Debug, serde::Deserialize)]
struct Operation {
    #[serde(default, rename = "operationId")]
    id: Option<Spanned<String>>,
    #[serde(default)]
    parameters: Vec<Parameter>,
    #[serde(default)]
    servers: Vec<Server>,
    #[serde(default, rename = "x-hallpass")]
    mapping: Option<Spanned<Said>>,
}

/// What an operation means, with the members that `[routes.operations.NAME]` has.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    #[serde(default)]
    action: Option<Spanned<String>>,
    #[serde(default)]
    resource: Option<Spanned<String>>,
    #[serde(default)]
    id: Option<Spanned<String>>,
    #[serde(default)]
    attributes: Option<Entries<Spanned<String>>>,
    #[serde(default)]
    proposed: Option<Entries<Spanned<String>>>,
    #[serde(default)]
    context: Entries<Spanned<String>>,
    #[serde(default)]
    obligations: Option<Spanned<String>>,
}

impl Said {
    fn mapping(&self, place: Range<usize>) -> Mapping {
        let words = |said: &Spanned<String>| Words { text: said.value.as_str().into(), place: bytes(&said.referenced) };
        let named = |entries: &Entries<Spanned<String>>| {
            entries.0.iter().map(|(name, said)| (Arc::from(name.value.as_str()), words(said))).collect()
        };
        Mapping {
            action: self.action.as_ref().map(words),
            resource: self.resource.as_ref().map(words),
            id: self.id.as_ref().map(words),
            attributes: self.attributes.as_ref().map(named),
            proposed: self.proposed.as_ref().map(named),
            context: named(&self.context),
            obligations: self.obligations.as_ref().map(words),
            place,
        }
    }
}

/// A place and what is wrong there.
type Wrong = (Range<usize>, String);

impl Document {
    /// The item itself, or the one of this document that it refers to.
    fn item<'d>(&'d self, item: &'d PathItem) -> Result<&'d PathItem, Wrong> {
        let Some(reference) = &item.reference else { return Ok(item) };
        let found =
            local(&reference.value, "#/components/pathItems/").and_then(|name| self.components.path_items.get(&name));
        found.filter(|item| item.reference.is_none()).ok_or_else(|| unresolved(reference))
    }

    /// The parameter itself, or the one of this document that it refers to.
    fn parameter<'d>(&'d self, parameter: &'d Parameter) -> Result<&'d Parameter, Wrong> {
        let Some(reference) = &parameter.reference else { return Ok(parameter) };
        let found =
            local(&reference.value, "#/components/parameters/").and_then(|name| self.components.parameters.get(&name));
        found.filter(|parameter| parameter.reference.is_none()).ok_or_else(|| unresolved(reference))
    }
}

/// The last part of a reference into this document (RFC 6901 section 3).
fn local<'r>(reference: &'r str, folder: &str) -> Option<Cow<'r, str>> {
    let name = reference.strip_prefix(folder)?;
    Some(if name.contains('~') { name.replace("~1", "/").replace("~0", "~").into() } else { name.into() })
}

fn unresolved(reference: &Spanned<String>) -> Wrong {
    let message =
        format!("the reference `{}` leads nowhere within this document; no other file is read", reference.value);
    (bytes(&reference.referenced), message)
}

/// An object with names of the author's choice; in one that may have extensions, names that begin with `x-` are none.
#[derive(Debug)]
struct Entries<T, const HAS_EXTENSIONS: bool = false>(Vec<(Spanned<String>, T)>);

impl<T> Entries<T> {
    fn get(&self, name: &str) -> Option<&T> {
        self.0.iter().find(|(own, _)| own.value == name).map(|(_, value)| value)
    }
}

impl<T, const HAS_EXTENSIONS: bool> Default for Entries<T, HAS_EXTENSIONS> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const HAS_EXTENSIONS: bool> Deserialize<'de> for Entries<T, HAS_EXTENSIONS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<T, const HAS_EXTENSIONS: bool>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const HAS_EXTENSIONS: bool> Visitor<'de> for EntriesVisitor<T, HAS_EXTENSIONS> {
    type Value = Entries<T, HAS_EXTENSIONS>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(name) = map.next_key::<Spanned<String>>()? {
            if HAS_EXTENSIONS && name.value.starts_with("x-") {
                map.next_value::<IgnoredAny>()?;
            } else {
                entries.push((name, map.next_value()?));
            }
        }
        Ok(Entries(entries))
    }
}
