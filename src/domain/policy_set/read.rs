//! Reads policy files: what they say by themselves, before a schema is asked.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
    str::FromStr as _,
    sync::Arc,
};

use cedar_policy::{Effect, Policy, PolicyId, PolicySet as CedarPolicySet};
use cedar_policy_core::parser::Loc;

use super::{CompiledPolicy, SourceFile};
use crate::domain::fault::{Code, Fault};

/// The annotations that mean something here.
const ANNOTATIONS: [&str; 10] =
    ["id", "title", "reason", "missing", "message", "hint", "precedence", "denial", "obligation", "accept"];

/// What policy files say.
pub(super) struct Read<'f> {
    pub(super) policies: Vec<CompiledPolicy>,
    /// All of them for Cedar's validation, also those with a fault.
    pub(super) whole: CedarPolicySet,
    /// The file of each policy by its name.
    pub(super) places: HashMap<String, &'f SourceFile>,
    pub(super) faults: Vec<Fault>,
}

/// Where a policy and its annotations stand, as faults without a message.
#[derive(Debug)]
pub(super) struct Places {
    pub(super) policy: Fault,
    pub(super) annotations: BTreeMap<Arc<str>, Fault>,
}

impl Places {
    pub(super) fn of(policy: &Policy, file: &SourceFile) -> Self {
        let at = |span| Fault::at(&file.path, &file.content, span, "");
        let annotations = annotations(policy).map(|(name, span)| (Arc::from(name), at(span)));
        Self { policy: at(head(policy, file)), annotations: annotations.collect() }
    }
}

/// Reads policy files, whatever is wrong with one of them or with one policy.
pub(super) fn read<'f>(files: &[&'f SourceFile]) -> Read<'f> {
    let mut read =
        Read { policies: Vec::new(), whole: CedarPolicySet::new(), places: HashMap::new(), faults: Vec::new() };
    for file in files {
        match syntax(file) {
            Ok(parsed) => read.add(file, &parsed),
            Err(found) => read.faults.extend(found),
        }
    }
    read
}

/// Parses a file.
///
/// # Errors
/// What is not written in Cedar's language.
pub(super) fn syntax(file: &SourceFile) -> Result<CedarPolicySet, Vec<Fault>> {
    CedarPolicySet::from_str(&file.content).map_err(|error| {
        let found = Fault::of_cedar(&file.path, &file.content, Code::Syntax, &error);
        found.into_iter().map(twice_annotated).collect()
    })
}

impl<'f> Read<'f> {
    fn add(&mut self, file: &'f SourceFile, parsed: &CedarPolicySet) {
        for template in parsed.templates() {
            let inner: &cedar_policy_core::ast::Template = template.as_ref();
            let whole = inner.loc().map(span);
            let slot = whole.clone().and_then(|whole| {
                let start = whole.start + file.content.get(whole)?.find('?')?;
                let name = file.content.get(start + 1..)?.split(|c: char| !c.is_alphanumeric()).next()?;
                Some(start..start + 1 + name.len())
            });
            let message = "templates are not supported, write a policy";
            let fault = Fault::at(&file.path, &file.content, slot.or(whole), message);
            self.faults.push(fault.coded(Code::Template).helped(Code::Template.fix()));
        }
        let mut in_file: Vec<&Policy> = parsed.policies().collect();
        in_file.sort_by_key(|policy| place(policy).map(|place| place.start));
        for policy in in_file {
            self.add_policy(file, policy);
        }
    }

    fn add_policy(&mut self, file: &'f SourceFile, policy: &Policy) {
        let mut wrong = |span, code, message: String| {
            self.faults.push(Fault::at(&file.path, &file.content, span, message).coded(code));
        };
        let unknown = annotations(policy).filter(|(name, _)| !ANNOTATIONS.contains(name));
        for (name, span) in unknown {
            let expected = ANNOTATIONS.map(|name| format!("@{name}")).join(", ");
            wrong(span, Code::UnknownAnnotation, format!("unknown annotation `@{name}`, expected one of {expected}"));
        }
        let id = policy.annotation("id").filter(|id| !id.is_empty());
        let other = id.and_then(|id| self.places.get(id));
        let named = match (id, other) {
            (Some(id), None) => Some(id.to_owned()),
            (Some(id), Some(other)) => {
                let span = annotations(policy).find(|(name, _)| *name == "id").and_then(|(_, span)| span);
                let message = format!("the policy id `{id}` is in {} already", other.path);
                wrong(span, Code::DuplicateId, message);
                None
            }
            (None, _) => {
                let message = "a policy needs a name of its own, expected `@id(\"…\")`".to_owned();
                wrong(head(policy, file), Code::MissingId, message);
                None
            }
        };
        let is_named = named.is_some();
        // One without a name of its own is held against the schema too.
        let named = named.unwrap_or_else(|| format!("\u{1f}{}", self.places.len()));
        let policy = policy.new_id(PolicyId::new(&named));
        self.places.insert(named, file);
        match CompiledPolicy::of(&policy, file) {
            Ok(compiled) if is_named => self.policies.push(compiled),
            Ok(_) => {}
            Err((annotation, message)) => {
                let span = annotations(&policy).find(|(name, _)| *name == annotation).and_then(|(_, span)| span);
                let span = span.or_else(|| head(&policy, file));
                self.faults.push(Fault::at(&file.path, &file.content, span, message).coded(Code::BadAnnotation));
            }
        }
        // The only fault there could be is an id that comes twice.
        let added = self.whole.add(policy);
        debug_assert!(added.is_ok(), "policy ids differ");
    }
}

/// Cedar calls an annotation that comes twice a fault of syntax.
fn twice_annotated(fault: Fault) -> Fault {
    let is_it = fault.message.starts_with("duplicate annotation: @");
    if is_it { fault.coded(Code::BadAnnotation).helped("take one of both out") } else { fault }
}

/// The names of a policy's annotations, and where they stand.
fn annotations(policy: &Policy) -> impl Iterator<Item = (&str, Option<Range<usize>>)> {
    let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
    inner.annotations().map(|(name, annotation)| (name.as_ref(), annotation.loc.as_ref().map(span)))
}

fn span(place: &Loc) -> Range<usize> {
    place.start()..place.end()
}

fn place(policy: &Policy) -> Option<Range<usize>> {
    let inner: &cedar_policy_core::ast::Policy = policy.as_ref();
    inner.loc().map(span)
}

/// The word `permit` or `forbid` behind the annotations.
fn head(policy: &Policy, file: &SourceFile) -> Option<Range<usize>> {
    let whole = place(policy)?;
    let behind = annotations(policy).filter_map(|(_, span)| span).map(|span| span.end).max();
    let from = behind.unwrap_or(whole.start).max(whole.start);
    let word = if policy.effect() == Effect::Permit { "permit" } else { "forbid" };
    let start = from + file.content.get(from..whole.end)?.find(word)?;
    Some(start..start + word.len())
}
