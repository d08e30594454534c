//! `[[records.relationships]]`: which relationships a record brings, as long as it says so.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use serde_json::Value as Json;

use super::{
    EntityRules, MappingError, RelationRule, Relations, ids,
    properties::{is_one_of, texts_at},
};
use crate::domain::{document::Table, id::EntityId, relationship::Relationship, template::Template, value::Value};

/// One relationship that records of a resource bring, or several where an end is a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RelationshipRule {
    pub(super) relation: Arc<str>,
    subject: End,
    object: End,
    is_optional: bool,
    /// Paths, and what must stand at each of them.
    when: Vec<(Arc<str>, Vec<Value>)>,
}

/// Where the id of an entity comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// What stands at a dotted path.
    Path(Arc<str>),
    /// A text with placeholders, which are dotted paths.
    Template(Template),
    /// Always this id.
    Always(Arc<str>),
}

/// The ids that an end has in one record.
struct Named<'a> {
    ids: Vec<Cow<'a, str>>,
    /// The path of the list that they come from.
    list: Option<&'a str>,
    /// The path that leads to no value, for the record or for a member of the list.
    lacking: Option<&'a str>,
}

impl End {
    fn ids<'a>(&'a self, document: &'a Json) -> Result<Named<'a>, MappingError> {
        match self {
            Self::Always(id) => Ok(Named { ids: vec![(&**id).into()], list: None, lacking: None }),
            Self::Path(path) => {
                let found = texts_at(document, path)?;
                let (list, lacking) = (found.is_list.then_some(&**path), found.lacks.then_some(&**path));
                Ok(Named { ids: found.texts, list, lacking })
            }
            Self::Template(template) => filled(template, document),
        }
    }

    /// The single id; a list is wrong.
    pub(super) fn id<'a>(&'a self, document: &'a Json) -> Result<Cow<'a, str>, MappingError> {
        let Named { ids, list, lacking } = self.ids(document)?;
        if let Some(path) = list {
            let (found, expected) = ("a list", "a string or a whole number");
            return Err(MappingError::Wrong { path: path.into(), found, expected });
        }
        ids.into_iter().next().ok_or_else(|| MappingError::Missing(lacking.unwrap_or_default().into()))
    }

    /// What a message calls it.
    pub(super) fn name(&self) -> Arc<str> {
        match self {
            Self::Path(text) | Self::Always(text) => Arc::clone(text),
            Self::Template(template) => template.names().collect::<Vec<_>>().join(", ").into(),
        }
    }
}

/// The texts of a template, one for each member of the only list among its values.
fn filled<'a>(template: &'a Template, document: &'a Json) -> Result<Named<'a>, MappingError> {
    let mut values: BTreeMap<&str, Vec<Cow<'a, str>>> = BTreeMap::new();
    let (mut list, mut lacking) = (None, None);
    for name in template.names() {
        if values.contains_key(name) {
            continue;
        }
        let path: Arc<str> = name.into();
        let found = texts_at(document, &path)?;
        if found.texts.iter().any(|text| text.is_empty()) {
            let (found, expected) = ("empty", "a string that is not empty, or a whole number");
            return Err(MappingError::Wrong { path, found, expected });
        }
        if let Some(other) = list.filter(|_| found.is_list) {
            return Err(MappingError::TwoLists(path, Arc::from(other)));
        }
        list = list.or(found.is_list.then_some(name));
        lacking = lacking.or(found.lacks.then_some(name));
        values.insert(name, found.texts);
    }
    // Without a list there is one text, unless a value is missing.
    let count = list.and_then(|list| values.get(list)).map_or(1, Vec::len);
    let fill = |place: usize| {
        template.fill(|name| {
            let member = if list == Some(name) { place } else { 0 };
            values.get(name)?.get(member).cloned()
        })
    };
    let ids = (0..count).filter_map(fill).map(Cow::Owned).collect();
    Ok(Named { ids, list, lacking })
}

impl RelationshipRule {
    /// The relationships that a record brings by this rule, each once.
    ///
    /// # Errors
    /// A property that is missing or wrong. The message holds no value of the record.
    pub(super) fn bring(
        &self,
        document: &Json,
        relations: &Relations,
        ends: &RelationRule,
    ) -> Result<Vec<Relationship>, MappingError> {
        let mut holds = true;
        for (path, values) in &self.when {
            holds &= is_one_of(document, path, values)?;
        }
        if !holds {
            return Ok(Vec::new());
        }
        let (subjects, objects) = (self.subject.ids(document)?, self.object.ids(document)?);
        if let (Some(one), Some(other)) = (subjects.list, objects.list) {
            return Err(MappingError::TwoLists(one.into(), other.into()));
        }
        let lacking = subjects.lacking.or(objects.lacking.filter(|_| !self.is_optional));
        if let Some(path) = lacking {
            return Err(MappingError::Missing(path.into()));
        }
        let mut brought = Vec::with_capacity(subjects.ids.len().max(objects.ids.len()));
        for subject in &subjects.ids {
            let subject = relations.end(subject, &self.subject, &ends.subject)?;
            for object in &objects.ids {
                let object = relations.end(object, &self.object, &ends.object)?;
                brought.push(Relationship { subject: subject.clone(), relation: Arc::clone(&self.relation), object });
            }
        }
        if brought.len() > 1 {
            // Two members may be one entity: `7` and `07`.
            brought.sort();
            brought.dedup();
        }
        Ok(brought)
    }
}

/// Reads a rule; a fault for whatever could never bring what it says.
pub(super) fn read_relationship(
    table: &Table<'_>,
    relations: &BTreeMap<Arc<str>, RelationRule>,
    entities: &BTreeMap<Arc<str>, EntityRules>,
) -> Option<RelationshipRule> {
    let relation = table.required_text("relation");
    let ends = relation.as_ref().and_then(|relation| relations.get(relation));
    let end_type = |end: &Arc<str>| (Arc::clone(end), entities.get(end));
    let subject = read_either(table, ["subject", "subject_id"], ends.map(|ends| end_type(&ends.subject)));
    let object = read_either(table, ["object", "object_id"], ends.map(|ends| end_type(&ends.object)));
    let is_optional = table.flag("optional");
    if is_optional && matches!(object, Some(End::Always(_))) {
        table.fault(
            Some("optional"),
            "`optional` is for an object that may be missing, and `object_id` is always there",
        );
    }
    let when = read_when(table);
    let relation = relation?;
    if ends.is_none() {
        let known: Vec<&str> = relations.keys().map(|name| &**name).collect();
        let message = format!("unknown relation `{relation}`, expected one of {}", known.join(", "));
        table.fault(Some("relation"), message);
    }
    Some(RelationshipRule { relation, subject: subject?, object: object?, is_optional, when })
}

/// An entity type and what the realm says about it.
type EndType<'a> = (Arc<str>, Option<&'a EntityRules>);

/// An end by its path or template, or by its id.
fn read_either(table: &Table<'_>, [key, id_key]: [&str; 2], end_type: Option<EndType<'_>>) -> Option<End> {
    let Some(id) = table.text(id_key) else {
        return read_end(table, key, end_type);
    };
    if table.text(key).is_some() {
        table.fault(Some(id_key), format!("`{id_key}` stands beside `{key}`, expected one of them"));
        return None;
    }
    let Some((entity_type, rules)) = end_type else { return Some(End::Always(id)) };
    match ids::entity_id(&entity_type, rules, &id) {
        Ok(entity) => Some(End::Always(entity.id)),
        Err(expected) => {
            table.fault(Some(id_key), format!("`{id_key}` is no id of `{entity_type}`, expected {expected}"));
            None
        }
    }
}

/// An end by its path; a text with braces is a template.
pub(super) fn read_end(table: &Table<'_>, key: &str, end_type: Option<EndType<'_>>) -> Option<End> {
    let text = table.required_text(key)?;
    if !text.contains(['{', '}']) {
        return Some(End::Path(text));
    }
    let template = Template::parse(&text).map_err(|fault| table.fault(Some(key), fault)).ok()?;
    if template.names().next().is_none() {
        let message = format!("`{text}` has no placeholder, so that it names the same for every record");
        table.fault(Some(key), message);
    }
    if let Some((entity_type, rules)) = end_type {
        let example: Option<String> = template.fill(|_| Some("1".into()));
        let is_id = example.is_none_or(|id| ids::entity_id(&entity_type, rules, &id).is_ok());
        if !is_id {
            let message = format!("the ids of `{entity_type}` are whole numbers, and `{text}` gives none");
            table.fault(Some(key), message);
        }
    }
    Some(End::Template(template))
}

/// Paths, each with the values one of which must stand there.
fn read_when(table: &Table<'_>) -> Vec<(Arc<str>, Vec<Value>)> {
    let when = table.scalar_lists("when");
    if table.has("when") && when.is_empty() {
        table.fault(Some("when"), "`when` names no property, expected at least one");
    }
    for (path, _) in when.iter().filter(|(_, values)| values.is_empty()) {
        table.fault(Some("when"), format!("`when` lists no value for `{path}`, expected at least one"));
    }
    when
}

impl Relations {
    /// The entity of an end by the id that a record has for it.
    pub(super) fn end(&self, id: &str, end: &End, entity_type: &Arc<str>) -> Result<EntityId, MappingError> {
        let wrong = |expected| MappingError::Wrong { path: end.name(), found: "another value", expected };
        self.entity_id(entity_type, id).map_err(wrong)
    }
}
