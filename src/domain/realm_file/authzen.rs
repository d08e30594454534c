//! `[authzen]` of realm.toml: how the words of AuthZEN (`OpenID` AuthZEN Authorization API 1.0) stand for those of the realm.

use std::{ops::Range, sync::Arc};

use crate::domain::{document::Table, value::Value};

/// The most results of a page.
pub const PAGE_SIZE_MAX: usize = 1_000;
const PAGE_SIZE_DEFAULT: usize = 100;

/// How questions of AuthZEN are understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthzenSettings {
    /// Who says who asks.
    pub subject: SubjectSource,
    /// The subject types that stand for the principal's entity type. Never empty.
    pub subjects: Vec<Arc<str>>,
    /// The properties of a named subject that count as claims of the same name.
    pub subject_properties: Vec<Arc<str>>,
    /// The properties of the action that count as members of the context of the same name.
    pub action_properties: Vec<Arc<str>>,
    /// Every answer has reasons, not only those that were asked for them.
    pub has_reasons: bool,
    /// How many results a page has where the request has no limit.
    pub page_size: usize,
    /// Names that stand for an action of the realm; others count as they are.
    pub actions: Vec<(Arc<str>, Arc<str>)>,
    /// Names that stand for a resource type of the realm; others count as they are.
    pub resource_types: Vec<(Arc<str>, NamedType)>,
    places: Vec<(&'static str, Range<usize>)>,
}

/// Who says who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectSource {
    /// The caller names the subject.
    Named,
    /// A token, whose principal must be the subject that the caller names.
    Token,
    /// A token where there is one, else the caller.
    Either,
}

/// The resource type that a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedType {
    /// The realm's name of it.
    pub resource_type: Arc<str>,
    /// The property that has the resource's id too, if one has.
    pub id: Option<Arc<str>>,
}

impl AuthzenSettings {
    /// The subject type is one that stands for principals.
    pub fn takes_subject(&self, subject_type: &str) -> bool {
        self.subjects.iter().any(|known| **known == *subject_type)
    }

    /// The realm's action of this name.
    pub fn action<'a>(&'a self, name: &'a str) -> &'a str {
        self.actions.iter().find(|(known, _)| **known == *name).map_or(name, |(_, action)| action)
    }

    /// What an action of the realm is called: the names that stand for it, or else its own.
    pub fn names_of_action<'a>(&'a self, action: &'a Arc<str>) -> Vec<&'a Arc<str>> {
        let names: Vec<_> = self.actions.iter().filter(|(_, known)| known == action).map(|(name, _)| name).collect();
        if names.is_empty() { vec![action] } else { names }
    }

    /// The realm's resource type of this name, and the property that has its id too.
    pub fn resource_type<'a>(&'a self, name: &'a str) -> (&'a str, Option<&'a Arc<str>>) {
        let found = self.resource_types.iter().find(|(known, _)| **known == *name);
        found.map_or((name, None), |(_, named)| (&named.resource_type, named.id.as_ref()))
    }

    /// Where a key of the section stands in the file.
    pub(in crate::domain) fn place(&self, key: &str) -> Option<Range<usize>> {
        self.places.iter().find(|(name, _)| *name == key).map(|(_, place)| place.clone())
    }
}

/// The keys that are remembered with their places.
const PLACES: [&str; 5] = ["subjects", "subject_properties", "action_properties", "actions", "resource_types"];

/// Reads the section. `principal` is the principal's entity type, which is the subject type where none is listed.
pub(super) fn read(table: &Table<'_>, principal: Option<&Arc<str>>) -> Option<AuthzenSettings> {
    let subject = match table.text("subject").as_deref() {
        None | Some("named") => SubjectSource::Named,
        Some("token") => SubjectSource::Token,
        Some("either") => SubjectSource::Either,
        Some(_) => {
            table.fault(Some("subject"), "`authzen.subject` is none of `named`, `token` and `either`");
            SubjectSource::Token
        }
    };
    let subjects = table.one_or_more("subjects");
    if subjects.as_ref().is_some_and(Vec::is_empty) {
        table.fault(
            Some("subjects"),
            "`authzen.subjects` is empty, expected the subject types that stand for principals",
        );
    }
    let names = |key| table.texts(key).unwrap_or_default();
    let (subject_properties, action_properties) = (names("subject_properties"), names("action_properties"));
    if subject == SubjectSource::Token && !subject_properties.is_empty() {
        let message =
            "`authzen.subject_properties` count of named subjects alone, and with `subject = \"token\"` there are none";
        table.fault(Some("subject_properties"), message);
    }
    let has_reasons = table.flag("reasons");
    let page_size = table.integer("page_size", 1..=i64::try_from(PAGE_SIZE_MAX).unwrap_or(i64::MAX));
    let actions = table.scalars("actions").into_iter().filter_map(|(name, value)| {
        if let Value::String(action) = value {
            return Some((name, action));
        }
        table.fault(Some("actions"), format!("`authzen.actions`: `{name}` stands for no text, expected an action"));
        None
    });
    let actions = actions.collect();
    let resource_types = table.texts_or_tables(
        "resource_types",
        |resource_type| NamedType { resource_type, id: None },
        |table| {
            let (resource_type, id) = (table.required_text("type"), table.text("id"));
            Some(NamedType { resource_type: resource_type?, id })
        },
    );
    Some(AuthzenSettings {
        subject,
        subjects: match subjects {
            Some(subjects) => subjects,
            None => vec![Arc::clone(principal?)],
        },
        subject_properties,
        action_properties,
        has_reasons,
        page_size: page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(PAGE_SIZE_DEFAULT),
        actions,
        resource_types,
        places: PLACES.map(|key| (key, table.place(key))).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::{super::RealmFile, *};

    const REALM: &str = "title = \"Small\"\n[principal]\nentity = \"Clerk\"\nid = \"sub\"\n[authzen]\n";

    fn read(section: &str) -> Result<AuthzenSettings, Vec<String>> {
        let read = RealmFile::parse("realm.toml", &format!("{REALM}{section}"));
        let told = |fault: crate::domain::fault::Fault| format!("{}: {}", fault.line, fault.message);
        read.map(|file| file.authzen.unwrap()).map_err(|faults| faults.into_iter().map(told).collect())
    }

    #[test]
    fn an_empty_section_is_enough() {
        let settings = read("").unwrap();
        assert!(settings.takes_subject("Clerk") && !settings.takes_subject("clerk"));
        assert_eq!((settings.subject, settings.page_size, settings.has_reasons), (SubjectSource::Named, 100, false));
        assert_eq!((settings.action("read"), settings.resource_type("File")), ("read", ("File", None)));
    }

    #[test]
    fn names_stand_for_actions_and_types_and_others_for_themselves() {
        let settings = read(
            "subjects = [\"user\", \"service\"]\n[authzen.actions]\nview = \"read\"\nsee = \"read\"\n\
             [authzen.resource_types]\n\"a file\" = \"File\"\nsheet = { type = \"Sheet\", id = \"number\" }\n",
        );
        let settings = settings.unwrap();
        assert_eq!((settings.action("view"), settings.action("write")), ("read", "write"));
        let (read, write): (Arc<str>, Arc<str>) = ("read".into(), "write".into());
        let names = |action| settings.names_of_action(action).into_iter().map(|name| &**name).collect::<Vec<_>>();
        assert_eq!((names(&read), names(&write)), (vec!["see", "view"], vec!["write"]));
        let number: Arc<str> = "number".into();
        assert_eq!(settings.resource_type("a file"), ("File", None));
        assert_eq!(settings.resource_type("sheet"), ("Sheet", Some(&number)));
        assert!(settings.takes_subject("service") && !settings.takes_subject("Clerk"));
    }

    #[test]
    fn every_fault_is_found_at_once_with_its_line() {
        let faults = read(
            "subject = \"guess\"\nsubjects = []\nsubject_properties = [\"role\"]\npage_size = 0\nmore = 1\n\
             [authzen.actions]\nview = 1\n[authzen.resource_types]\nsheet = { id = \"number\" }\n",
        );
        let faults = faults.unwrap_err();
        let lines: Vec<&str> = faults.iter().map(|fault| fault.split(':').next().unwrap()).collect();
        assert_eq!(lines, ["6", "7", "8", "9", "11", "14", "10"], "{faults:#?}");
    }
}
