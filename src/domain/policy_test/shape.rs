//! The keys of test files and what may stand under each: one table, which the reader and the schema for editors share.

use serde_json::{Map, Value as Json};

use super::yaml::{Path, Step, below, fault, key};
use crate::domain::{fault::Fault, policy_set::SourceFile};

/// What a value must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    Number,
    /// A mapping of names that the realm knows.
    Named,
    /// A mapping of names to mappings.
    NamedMappings,
    /// A mapping of names to lists.
    NamedLists,
    /// A text, or a mapping of names that the realm knows.
    TextOrNamed,
    /// A list of texts, or one text that stands for a list of it.
    Texts,
    /// A list of whatever.
    List,
    /// A list of texts and mappings, or a mapping.
    Obligations,
    /// One of these words.
    Word(&'static [&'static str]),
    /// A mapping of these keys.
    Keys(&'static Keys),
    /// A list of such mappings.
    ListOf(&'static Keys),
}

/// The keys of a mapping: those that must be there come first in what is said of them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) required: &'static [&'static str],
    pub(super) known: &'static [(&'static str, Kind)],
}

pub(super) const RELATIONSHIP: Keys = Keys {
    required: &["subject", "relation", "object"],
    known: &[("subject", Kind::Named), ("relation", Kind::Text), ("object", Kind::Named)],
};

const RESOURCE: Keys = Keys {
    required: &["type"],
    known: &[("type", Kind::Text), ("id", Kind::Text), ("attributes", Kind::Named), ("proposed", Kind::Named)],
};

const PROBLEM: Keys = Keys {
    required: &[],
    known: &[
        ("status", Kind::Number),
        ("type", Kind::Text),
        ("title", Kind::Text),
        ("detail", Kind::Text),
        ("errors", Kind::List),
        ("headers", Kind::Named),
        ("members", Kind::Named),
    ],
};

pub(super) const ALLOW: &str = "ALLOW";
pub(super) const DENY: &str = "DENY";
const EFFECTS: &[&str] = &[ALLOW, DENY];
const OUTCOMES: &[&str] = &["ALLOWED", "NOT_PERMITTED", "FORBIDDEN", "INDETERMINATE"];

/// A case.
pub(super) const CASE: Keys = Keys {
    required: &["principal", "action", "resource"],
    known: &[
        ("name", Kind::Text),
        ("principal", Kind::TextOrNamed),
        ("action", Kind::Text),
        ("resource", Kind::Keys(&RESOURCE)),
        ("context", Kind::Named),
        ("media_type", Kind::Text),
        ("facts", Kind::NamedLists),
        ("removed", Kind::NamedLists),
        ("relationships", Kind::ListOf(&RELATIONSHIP)),
        ("expect", Kind::Word(EFFECTS)),
        ("outcome", Kind::Word(OUTCOMES)),
        ("reasons", Kind::Texts),
        ("subjects", Kind::Texts),
        ("policies", Kind::Texts),
        ("near_misses", Kind::Texts),
        ("problem", Kind::Keys(&PROBLEM)),
        ("hints", Kind::Texts),
        ("obligations", Kind::Obligations),
    ],
};

/// Cases that differ in a few values.
pub(super) const TABLE: Keys = Keys {
    required: &["columns", "rows"],
    known: &[("name", Kind::Text), ("case", Kind::Named), ("columns", Kind::Texts), ("rows", Kind::List)],
};

/// A file of tests.
pub(super) const FILE: Keys = Keys {
    required: &[],
    known: &[
        ("variant", Kind::Text),
        ("changed", Kind::NamedMappings),
        ("fixtures", Kind::Texts),
        ("facts", Kind::NamedLists),
        ("removed", Kind::NamedLists),
        ("relationships", Kind::ListOf(&RELATIONSHIP)),
        ("claim_sets", Kind::NamedMappings),
        ("principals", Kind::NamedMappings),
        ("cases", Kind::ListOf(&CASE)),
        ("tables", Kind::ListOf(&TABLE)),
    ],
};

/// What files of tests share.
pub(super) const FIXTURE: Keys = Keys {
    required: &[],
    known: &[
        ("facts", Kind::NamedLists),
        ("removed", Kind::NamedLists),
        ("relationships", Kind::ListOf(&RELATIONSHIP)),
        ("claim_sets", Kind::NamedMappings),
        ("principals", Kind::NamedMappings),
    ],
};

const EQUIVALENT: Keys = Keys {
    required: &["policy", "change", "why"],
    known: &[("policy", Kind::Text), ("change", Kind::Text), ("why", Kind::Text)],
};

/// The file of equivalent mutants.
pub(super) const EQUIVALENTS: Keys = Keys { required: &["mutants"], known: &[("mutants", Kind::ListOf(&EQUIVALENT))] };

/// Finds what does not fit.
#[derive(Debug)]
pub(super) struct Check<'f> {
    file: &'f SourceFile,
    pub(super) faults: Vec<Fault>,
}

impl<'f> Check<'f> {
    pub(super) fn new(file: &'f SourceFile) -> Self {
        Self { file, faults: Vec::new() }
    }

    pub(super) fn fault(&mut self, path: &[Step], message: impl Into<String>) {
        self.faults.push(fault(self.file, path, message));
    }

    /// The value as a mapping of these keys and no others.
    pub(super) fn mapping<'j>(&mut self, json: &'j Json, keys: &Keys, path: &[Step]) -> Option<&'j Map<String, Json>> {
        let Some(found) = json.as_object() else {
            self.fault(path, format!("expected a mapping with {}", names(keys)));
            return None;
        };
        for missing in keys.required.iter().filter(|name| !found.contains_key(**name)) {
            self.fault(path, format!("the key `{missing}` is missing"));
        }
        for (name, value) in found {
            match keys.known.iter().find(|(known, _)| known == name) {
                Some((_, kind)) => self.value(value, *kind, &key(path, name)),
                None => {
                    let at = below(path, Step::Name(name.clone()));
                    self.fault(&at, format!("unknown key `{name}`, expected one of {}", names(keys)));
                }
            }
        }
        Some(found)
    }

    fn value(&mut self, json: &Json, kind: Kind, path: &[Step]) {
        let expected = match kind {
            Kind::Keys(keys) => {
                self.mapping(json, keys, path);
                return;
            }
            Kind::ListOf(keys) => {
                let Some(items) = json.as_array() else { return self.fault(path, "expected a list of mappings") };
                for (index, item) in items.iter().enumerate() {
                    self.mapping(item, keys, &below(path, Step::Item(index)));
                }
                return;
            }
            Kind::NamedMappings => return self.named(json, path, "a mapping", Json::is_object),
            Kind::NamedLists => return self.named(json, path, "a list", Json::is_array),
            Kind::Word(words) if json.as_str().is_some_and(|text| words.contains(&text)) => return,
            Kind::Word(words) => return self.fault(path, format!("expected one of {}", words.join(", "))),
            _ if fits(json, kind) => return,
            Kind::Text => "a text; a number or a date needs quotes here",
            Kind::Number => "a number",
            Kind::Named => "a mapping",
            Kind::TextOrNamed => "the name of a principal, or a mapping of claims",
            Kind::Texts => "a list of texts",
            Kind::List => "a list",
            Kind::Obligations => "a list of obligations, or a mapping of ids and parameters",
        };
        self.fault(path, format!("expected {expected}"));
    }

    fn named(&mut self, json: &Json, path: &[Step], what: &str, is_it: impl Fn(&Json) -> bool) {
        let Some(found) = json.as_object() else {
            return self.fault(path, format!("expected a mapping of names, each with {what}"));
        };
        for (name, _) in found.iter().filter(|(_, value)| !is_it(value)) {
            self.fault(&key(path, name), format!("expected {what}"));
        }
    }
}

fn fits(json: &Json, kind: Kind) -> bool {
    let texts = |json: &Json| json.as_array().is_some_and(|items| items.iter().all(Json::is_string));
    match kind {
        Kind::Text => json.is_string(),
        Kind::Number => json.is_number(),
        Kind::TextOrNamed => json.is_string() || json.is_object(),
        Kind::Texts => json.is_string() || texts(json),
        Kind::List => json.is_array(),
        Kind::Obligations => {
            let is_one = |item: &Json| item.is_string() || item.is_object();
            json.is_object() || json.as_array().is_some_and(|items| items.iter().all(is_one))
        }
        Kind::Named | Kind::NamedMappings | Kind::NamedLists | Kind::Keys(_) => json.is_object(),
        Kind::Word(_) | Kind::ListOf(_) => false,
    }
}

/// The keys as a sentence names them.
pub(super) fn names(keys: &Keys) -> String {
    keys.known.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The root of a document.
pub(super) const ROOT: Path = Path::new();
