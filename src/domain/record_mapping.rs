//! relations.toml: the relations of a realm, and which source records bring them.

mod brought;
mod history;
mod ids;
mod known;
mod properties;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde_json::Value as Json;

use super::{
    document::{Table, read_document},
    fault::Fault,
    id::EntityId,
    id_path::{PathRule, read_path},
    items::{Items, read_items},
    prefix::{PrefixRule, read_prefixes},
    relationship::{EntityFacts, Record, RecordKey, Relationship, Remembered},
};
use brought::{End, RelationshipRule, read_end, read_relationship};
use properties::text_at;

/// What the realm says about an entity type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EntityRules {
    /// Ids are whole numbers, kept in canonical decimal form.
    pub is_integer: bool,
    /// The id 0 is that of no entity: where a question gives it, it gives no value.
    pub is_zero_none: bool,
    /// Entities of this type are people: the decision log holds pseudonyms.
    pub is_person: bool,
    /// What might be missing when such an entity isn't related.
    pub hint: Option<Arc<str>>,
    /// Attributes that name an entity of another type with the same id.
    pub links: BTreeMap<Arc<str>, Arc<str>>,
    /// Which of the principal's entities are parents because their id is a prefix of the entity's.
    pub prefixes: Option<PrefixRule>,
    /// Ids are paths: an entity is in the one of the same type that its id names up to its last separator.
    pub path: Option<PathRule>,
    /// The type whose past this one shows: an entity of this type is in whatever the one of that type and the same id
    /// is in, or was in by a remembered relation.
    pub history_of: Option<Arc<str>>,
}

/// The ends of a relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelationRule {
    /// The subject's entity type.
    pub subject: Arc<str>,
    /// The object's entity type. The object becomes a parent of the subject.
    pub object: Arc<str>,
    /// Relationships that are removed stay known as removed.
    pub is_remembered: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FactsRule {
    entity: Arc<str>,
    id: End,
    constants: Vec<(Arc<str>, Arc<str>)>,
    fields: Vec<(Arc<str>, Arc<str>)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct RecordRule {
    key: Vec<Arc<str>>,
    facts: Option<FactsRule>,
    relationships: Vec<RelationshipRule>,
}

/// The relations of a realm.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Relations {
    entities: BTreeMap<Arc<str>, EntityRules>,
    /// The history of each type that has one.
    histories: BTreeMap<Arc<str>, Arc<str>>,
    ends: BTreeMap<Arc<str>, RelationRule>,
    remembered: Remembered,
    records: BTreeMap<Arc<str>, RecordRule>,
    items: Items,
}

/// Why a record or relationship was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The realm has no rule for this resource.
    #[error("unknown resource `{resource}`, expected one of {expected}")]
    UnknownResource {
        /// The resource.
        resource: String,
        /// Those there are rules for, in order.
        expected: String,
    },
    /// The record is no JSON object.
    #[error("not a JSON object: {0}")]
    NotAnObject(String),
    /// A property is not there.
    #[error("`{0}` is missing, expected a string or a whole number")]
    Missing(Arc<str>),
    /// A property has the wrong type or form.
    #[error("`{path}` is {found}, expected {expected}")]
    Wrong {
        /// The property.
        path: Arc<str>,
        /// What it is.
        found: &'static str,
        /// What was expected.
        expected: &'static str,
    },
    /// The realm has no such relation.
    #[error("unknown relation `{relation}`, expected one of {expected}")]
    UnknownRelation {
        /// The relation.
        relation: String,
        /// The relations there are.
        expected: String,
    },
    /// A relationship's end is of another type than the relation's.
    #[error("the {end} of `{relation}` is of type `{found}`, expected `{expected}`")]
    WrongEnd {
        /// `subject` or `object`.
        end: &'static str,
        /// The relation.
        relation: Arc<str>,
        /// The type given.
        found: Arc<str>,
        /// The type of the relation.
        expected: Arc<str>,
    },
    /// Two paths of one relationship lead to lists: nothing says which members belong together.
    #[error("`{0}` and `{1}` are both lists, expected at most one of them to be a list")]
    TwoLists(Arc<str>, Arc<str>),
    /// The record brings more relationships than one may.
    #[error("brings more than {0} relationships")]
    TooMany(usize),
    /// The record's key is too long to store.
    #[error("the key properties are longer than {0} bytes together")]
    KeyTooLong(usize),
}

const KEY_BYTES_MAX: usize = 2_048;

impl Relations {
    /// Reads relations.toml.
    ///
    /// # Errors
    /// Every fault with its line.
    pub fn parse(file: &str, content: &str) -> Result<Self, Vec<Fault>> {
        read_document(file, content, |root| {
            let (mut entities, mut relations, mut places) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            for (name, (rules, place)) in root.named("entities", |_, table| Some(read_entity(table))) {
                places.insert(Arc::clone(&name), place);
                entities.insert(name, rules);
            }
            let histories = history::settle(root, &mut entities, &places);
            for (name, (rule, places)) in root.named("relations", |_, table| read_relation(table)) {
                history::check_ends(root, &rule, places, &entities);
                relations.insert(name, rule);
            }
            let remembered = relations.iter().filter(|(_, rule)| rule.is_remembered).map(|(name, _)| Arc::clone(name));
            let remembered = remembered.collect();
            let records: BTreeMap<_, RecordRule> = root
                .tables("records", |table| {
                    // Both are read in any case, so that a record without a name has no unknown keys.
                    let resource = table.required_text("resource");
                    let record = read_record(table, &relations, &entities);
                    Some((resource?, record?))
                })
                .into_iter()
                .collect();
            let items = read_items(root, &relations, |entity| known::said_of(&records, entity));
            Self { entities, histories, ends: relations, remembered, records, items }
        })
    }

    /// What the realm says about an entity type; nothing special for one it doesn't mention.
    pub fn entity(&self, entity_type: &str) -> Option<&EntityRules> {
        self.entities.get(entity_type)
    }

    /// How entities of this type are found by prefixes, if they are.
    pub(super) fn prefixes(&self, entity_type: &str) -> Option<&PrefixRule> {
        self.entity(entity_type)?.prefixes.as_ref()
    }

    /// How the ids of this type are paths, if they are.
    pub fn path(&self, entity_type: &str) -> Option<PathRule> {
        self.entity(entity_type)?.path
    }

    /// The id of the entity of the same type that one of this id lies in by its path.
    pub(super) fn path_parent<'a>(&self, entity_type: &str, id: &'a str) -> Option<&'a str> {
        self.path(entity_type)?.parent(id)
    }

    /// The type whose past this type shows, if it is a history.
    pub fn history_of(&self, entity_type: &str) -> Option<&Arc<str>> {
        self.entity(entity_type)?.history_of.as_ref()
    }

    /// The type that shows the past of this one, if there is one.
    pub fn history(&self, entity_type: &str) -> Option<&Arc<str>> {
        self.histories.get(entity_type)
    }

    /// The relations whose relationships stay known when they are removed.
    pub fn remembered(&self) -> &Remembered {
        &self.remembered
    }

    /// Entities of this type are people.
    pub fn is_person(&self, entity_type: &str) -> bool {
        self.entity(entity_type).is_some_and(|rules| rules.is_person)
    }

    /// The entity types that the file mentions, for checks against the schema.
    pub fn entity_types(&self) -> impl Iterator<Item = &Arc<str>> {
        let ends = self.ends.values().flat_map(|rule| [&rule.subject, &rule.object]);
        let named = self.entities.values().flat_map(|rules| rules.links.values().chain(&rules.history_of));
        self.entities.keys().chain(ends).chain(named)
    }

    /// The rules of all entity types.
    pub fn entity_rules(&self) -> impl Iterator<Item = (&Arc<str>, &EntityRules)> {
        self.entities.iter()
    }

    /// The ends of all relations, by name.
    pub(super) fn relation_rules(&self) -> impl Iterator<Item = (&Arc<str>, &RelationRule)> {
        self.ends.iter()
    }

    /// The realm takes records of this resource.
    pub fn knows_resource(&self, resource: &str) -> bool {
        self.records.contains_key(resource)
    }

    /// Records of this resource can bring something, so that even one that brings nothing now is kept:
    /// it replaces an earlier self that did.
    pub fn keeps(&self, resource: &str) -> bool {
        self.records.get(resource).is_some_and(|rule| rule.facts.is_some() || !rule.relationships.is_empty())
    }

    /// The entity of this type and id, the id in its canonical form.
    ///
    /// # Errors
    /// What is wrong with the id, without repeating it.
    pub fn entity_id(&self, entity_type: &Arc<str>, id: &str) -> Result<EntityId, &'static str> {
        ids::entity_id(entity_type, self.entity(entity_type), id)
    }

    /// Maps a source record to what the store keeps of it.
    ///
    /// # Errors
    /// The first property that is missing or wrong. The message holds no value of the record.
    pub fn map(&self, resource: &str, json: &str) -> Result<Record, MappingError> {
        let document = parse_object(json)?;
        let (name, rule) = self.rule(resource)?;
        let key = record_key(name, rule, &document)?;
        let mut relationships = Vec::with_capacity(rule.relationships.len());
        for brought in &rule.relationships {
            let Some(ends) = self.ends.get(&brought.relation) else { continue };
            relationships.extend(brought.bring(&document, self, ends)?);
            if relationships.len() > Record::RELATIONSHIPS_MAX {
                return Err(MappingError::TooMany(Record::RELATIONSHIPS_MAX));
            }
        }
        let facts = rule.facts.as_ref().map(|facts| self.facts(facts, &document)).transpose()?;
        Ok(Record::new(key, relationships, facts))
    }

    /// The key of a source record, for its deletion. Of the resource [`RecordKey::DIRECT`], the record is
    /// `{"subject": {"type": …, "id": …}, "relation": …, "object": {"type": …, "id": …}}`.
    ///
    /// # Errors
    /// The first key property that is missing or wrong.
    pub fn key(&self, resource: &str, json: &str) -> Result<RecordKey, MappingError> {
        let document = parse_object(json)?;
        if resource == RecordKey::DIRECT {
            let text = |path: &str| text_at(&document, &path.into()).map(Arc::<str>::from);
            let subject = EntityId::new(text("subject.type")?, text("subject.id")?);
            let object = EntityId::new(text("object.type")?, text("object.id")?);
            return self
                .direct(&Relationship { subject, relation: text("relation")?, object })
                .map(|record| record.key);
        }
        let (name, rule) = self.rule(resource)?;
        record_key(name, rule, &document)
    }

    /// Checks a relationship that is written directly and makes it the record that the store keeps.
    ///
    /// # Errors
    /// An unknown relation, or an end of the wrong type or form.
    pub fn direct(&self, relationship: &Relationship) -> Result<Record, MappingError> {
        let Some((relation, ends)) = self.ends.get_key_value(&*relationship.relation) else {
            return Err(MappingError::UnknownRelation {
                relation: relationship.relation.chars().take(80).collect(),
                expected: names_of(&self.ends),
            });
        };
        let check = |end: &'static str, given: &EntityId, expected: &Arc<str>| {
            if given.entity_type != *expected {
                return Err(MappingError::WrongEnd {
                    end,
                    relation: Arc::clone(relation),
                    found: given.entity_type.chars().take(80).collect::<String>().into(),
                    expected: Arc::clone(expected),
                });
            }
            self.entity_id(expected, &given.id).map_err(|expected| MappingError::Wrong {
                path: format!("{end}.id").into(),
                found: "another value",
                expected,
            })
        };
        let subject = check("subject", &relationship.subject, &ends.subject)?;
        let object = check("object", &relationship.object, &ends.object)?;
        let parts = [&*subject.entity_type, &*subject.id, &**relation, &*object.entity_type, &*object.id];
        let key = RecordKey { resource: RecordKey::DIRECT.into(), key: parts.join("\u{1f}").into() };
        let relationship = Relationship { subject, relation: Arc::clone(relation), object };
        Ok(Record::new(key, vec![relationship], None))
    }

    fn rule(&self, resource: &str) -> Result<(&Arc<str>, &RecordRule), MappingError> {
        let unknown = || MappingError::UnknownResource {
            resource: resource.chars().take(80).collect(),
            expected: names_of(&self.records),
        };
        self.records.get_key_value(resource).ok_or_else(unknown)
    }

    fn facts(&self, rule: &FactsRule, document: &Json) -> Result<EntityFacts, MappingError> {
        let entity = self.end(&rule.id.id(document)?, &rule.id, &rule.entity)?;
        let mut facts = rule.constants.clone();
        for (name, path) in &rule.fields {
            match text_at(document, path) {
                Ok(text) => facts.push((Arc::clone(name), text.into())),
                Err(MappingError::Missing(_)) => {}
                Err(error) => return Err(error),
            }
        }
        facts.sort();
        Ok(EntityFacts { entity, facts })
    }
}

/// The names that something is said of, in order.
fn names_of<T>(known: &BTreeMap<Arc<str>, T>) -> String {
    let names: Vec<&str> = known.keys().map(|name| &**name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn parse_object(json: &str) -> Result<Json, MappingError> {
    let document: Json = serde_json::from_str(json).map_err(|error| {
        // serde_json's own text may quote the input: only the place is repeated.
        MappingError::NotAnObject(format!("a syntax error at column {}", error.column()))
    })?;
    if document.is_object() { Ok(document) } else { Err(MappingError::NotAnObject("another JSON value".into())) }
}

fn record_key(resource: &Arc<str>, rule: &RecordRule, document: &Json) -> Result<RecordKey, MappingError> {
    let mut key = String::new();
    for (index, path) in rule.key.iter().enumerate() {
        if index > 0 {
            key.push('\u{1f}');
        }
        key.push_str(&text_at(document, path)?);
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(MappingError::KeyTooLong(KEY_BYTES_MAX));
    }
    Ok(RecordKey { resource: Arc::clone(resource), key: key.into() })
}

/// An entity type, and where the type that it is a history of is named.
fn read_entity(table: &Table<'_>) -> (EntityRules, Range<usize>) {
    let (is_integer, is_zero_none) = ids::read_ids(table);
    let links =
        table.text_lists("links").into_iter().filter_map(|(name, types)| Some((name, types.into_iter().next()?)));
    let rules = EntityRules {
        is_integer,
        is_zero_none,
        is_person: table.flag("person"),
        hint: table.text("hint"),
        links: links.collect(),
        prefixes: read_prefixes(table),
        path: read_path(table),
        history_of: table.text("history_of"),
    };
    (rules, table.place("history_of"))
}

/// A relation, and where its subject and its object are named.
fn read_relation(table: &Table<'_>) -> Option<(RelationRule, [Range<usize>; 2])> {
    let (subject, object) = (table.required_text("subject"), table.required_text("object"));
    let is_remembered = table.flag("remembered");
    let places = [table.place("subject"), table.place("object")];
    Some((RelationRule { subject: subject?, object: object?, is_remembered }, places))
}

fn read_record(
    table: &Table<'_>,
    relations: &BTreeMap<Arc<str>, RelationRule>,
    entities: &BTreeMap<Arc<str>, EntityRules>,
) -> Option<RecordRule> {
    let key = table.required_texts("key");
    let facts = table.table("facts", |facts| {
        let entity = facts.required_text("entity");
        let end_type = entity.as_ref().map(|entity| (Arc::clone(entity), entities.get(entity)));
        let id = read_end(facts, "id", end_type);
        let single = |(name, texts): (Arc<str>, Vec<Arc<str>>)| Some((name, texts.into_iter().next()?));
        let constants = facts.text_lists("constants").into_iter().filter_map(single).collect();
        let fields = facts.text_lists("fields").into_iter().filter_map(single).collect();
        Some(FactsRule { entity: entity?, id: id?, constants, fields })
    });
    let relationships = table.tables("relationships", |table| read_relationship(table, relations, entities));
    Some(RecordRule { key: key?, facts: facts.flatten(), relationships })
}
