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

/// The keys of a mapping.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    pub(super) required: &'static [&'static str],
    /// Each with what it says, for editors.
    pub(super) known: &'static [(&'static str, Kind, &'static str)],
}

pub(super) const RELATIONSHIP: Keys = Keys {
    required: &["subject", "relation", "object"],
    known: &[
        ("subject", Kind::Named, "`{ Type: id }`; an id of several values is a list of them."),
        ("relation", Kind::Text, "A relation of relations.toml."),
        ("object", Kind::Named, "`{ Type: id }`; an id of several values is a list of them."),
    ],
};

const RESOURCE: Keys = Keys {
    required: &["type"],
    known: &[
        ("type", Kind::Text, "The resource type."),
        ("id", Kind::Text, "The resource's id."),
        ("attributes", Kind::Named, "The stored values, as the API sends them."),
        ("proposed", Kind::Named, "The values that a write would store."),
    ],
};

const PROBLEM: Keys = Keys {
    required: &[],
    known: &[
        ("status", Kind::Number, "The HTTP status."),
        ("type", Kind::Text, "The problem's type."),
        ("title", Kind::Text, "The problem's title."),
        ("detail", Kind::Text, "The problem's detail."),
        ("errors", Kind::List, "Further errors, a sentence each."),
        ("headers", Kind::Named, "Headers of the response."),
        ("members", Kind::Named, "Further members of the problem."),
    ],
};

pub(super) const ALLOW: &str = "ALLOW";
pub(super) const DENY: &str = "DENY";
const EFFECTS: &[&str] = &[ALLOW, DENY];
const OUTCOMES: &[&str] = &["ALLOWED", "NOT_PERMITTED", "FORBIDDEN", "INDETERMINATE"];

const FACTS: &str = "Records by their resource, as the store takes them.";
const REMOVED: &str = "Records that came and were deleted, before the facts.";
const RELATIONSHIPS: &str = "Relationships that no record brings.";
const CLAIM_SETS: &str = "Claim sets: resource types, actions, and lists of strategies.";
const PRINCIPALS: &str = "The claims of tokens, by the names that cases use.";

/// A case.
pub(super) const CASE: Keys = Keys {
    required: &["principal", "action", "resource"],
    known: &[
        ("name", Kind::Text, "What the case shows, as a sentence."),
        ("principal", Kind::TextOrNamed, "The name of a principal, or the claims of a token."),
        ("action", Kind::Text, "The action."),
        ("resource", Kind::Keys(&RESOURCE), "What it is done to."),
        ("context", Kind::Named, "What else the request says."),
        ("media_type", Kind::Text, "The media type of the request."),
        ("facts", Kind::NamedLists, FACTS),
        ("removed", Kind::NamedLists, REMOVED),
        ("relationships", Kind::ListOf(&RELATIONSHIP), RELATIONSHIPS),
        ("expect", Kind::Word(EFFECTS), "The decision."),
        ("outcome", Kind::Word(OUTCOMES), "How the decision comes about; may stand instead of `expect`."),
        ("reasons", Kind::Texts, "The codes of all reasons, in order."),
        ("subjects", Kind::Texts, "The values that the first reason names."),
        ("policies", Kind::Texts, "The policies that determine the decision, sorted."),
        ("near_misses", Kind::Texts, "The permits that could have held and did not, where none held."),
        ("problem", Kind::Keys(&PROBLEM), "Members of the problem that a denied client reads."),
        ("hints", Kind::Texts, "The hints of the first reason."),
        ("obligations", Kind::Obligations, "Obligations: a list of ids, or a mapping of ids and all their parameters."),
    ],
};

/// Cases that differ in a few values.
pub(super) const TABLE: Keys = Keys {
    required: &["columns", "rows"],
    known: &[
        ("name", Kind::Text, "What the table shows; comes before the name of each row."),
        ("case", Kind::Named, "What all rows have in common: a case, or a part of one."),
        ("columns", Kind::Texts, "Where each cell belongs: `principal`, `resource.id`."),
        ("rows", Kind::List, "A case each: a list of cells; `~` leaves out what the column says."),
    ],
};

/// A file of tests.
pub(super) const FILE: Keys = Keys {
    required: &[],
    known: &[
        ("variant", Kind::Text, "The variant of the realm that the file is for."),
        ("changed", Kind::NamedMappings, "Changes to TOML and JSON files of the realm, for this file alone."),
        ("fixtures", Kind::Texts, "Files of tests/fixtures that this file shares, without their endings."),
        ("facts", Kind::NamedLists, FACTS),
        ("removed", Kind::NamedLists, REMOVED),
        ("relationships", Kind::ListOf(&RELATIONSHIP), RELATIONSHIPS),
        ("claim_sets", Kind::NamedMappings, CLAIM_SETS),
        ("principals", Kind::NamedMappings, PRINCIPALS),
        ("cases", Kind::ListOf(&CASE), "Questions and the decisions that are expected."),
        ("tables", Kind::ListOf(&TABLE), "Cases that differ in a few values."),
    ],
};

/// What files of tests share.
pub(super) const FIXTURE: Keys = Keys {
    required: &[],
    known: &[
        ("facts", Kind::NamedLists, FACTS),
        ("removed", Kind::NamedLists, REMOVED),
        ("relationships", Kind::ListOf(&RELATIONSHIP), RELATIONSHIPS),
        ("claim_sets", Kind::NamedMappings, CLAIM_SETS),
        ("principals", Kind::NamedMappings, PRINCIPALS),
    ],
};

const EQUIVALENT: Keys = Keys {
    required: &["policy", "change", "why"],
    known: &[
        ("policy", Kind::Text, "The policy's id."),
        ("change", Kind::Text, "The change as `hallpass test --mutants` writes it: `a == b => a != b`."),
        ("why", Kind::Text, "Why no question can tell it."),
    ],
};

/// The file of equivalent mutants.
pub(super) const EQUIVALENTS: Keys = Keys {
    required: &["mutants"],
    known: &[("mutants", Kind::ListOf(&EQUIVALENT), "Changes to policies that no question can tell.")],
};

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
            if let Some((_, kind, _)) = keys.known.iter().find(|(known, _, _)| known == name) {
                self.value(value, *kind, &key(path, name));
            } else {
                let at = below(path, Step::Name(name.clone()));
                let message = format!("unknown key `{name}`, expected one of {}", names(keys));
                let known = keys.known.iter().map(|(known, _, _)| *known);
                self.faults.push(fault(self.file, &at, message).near(name, known));
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
    keys.known.iter().map(|(name, _, _)| *name).collect::<Vec<_>>().join(", ")
}

/// The root of a document.
pub(super) const ROOT: Path = Path::new();
