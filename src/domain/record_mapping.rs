//! relations.toml: the relations of a realm, and which source records bring them.

mod history;
mod ids;
mod known;

use std::{collections::BTreeMap, ops::Range, sync::Arc};

use serde_json::Value as Json;

use super::{
    document::{Table, read_document},
    fault::Fault,
    id::EntityId,
    items::{Items, read_items},
    prefix::{PrefixRule, read_prefixes},
    relationship::{EntityFacts, Record, RecordKey, Relationship, Remembered},
};

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
struct RelationshipRule {
    relation: Arc<str>,
    subject: Arc<str>,
    object: Arc<str>,
    is_optional: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct FactsRule {
    entity: Arc<str>,
    id: Arc<str>,
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
    #[error("unknown resource `{0}`")]
    UnknownResource(String),
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
                    let resource = table.required_text("resource");
                    Some((resource?, read_record(table, &relations)?))
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
        if id.len() > EntityId::ID_BYTES_MAX {
            return Err("an id of at most 512 bytes");
        }
        if self.entity(entity_type).is_some_and(|rules| rules.is_integer) {
            let number: i64 = id.trim().parse().map_err(|_| "a whole number")?;
            return Ok(EntityId { entity_type: Arc::clone(entity_type), id: number.to_string().into() });
        }
        if id.is_empty() {
            return Err("an id that is not empty");
        }
        Ok(EntityId { entity_type: Arc::clone(entity_type), id: id.into() })
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
            let subject = self.end(&document, &brought.subject, &ends.subject)?;
            match self.end(&document, &brought.object, &ends.object) {
                Ok(object) => {
                    relationships.push(Relationship { subject, relation: Arc::clone(&brought.relation), object });
                }
                Err(MappingError::Missing(_)) if brought.is_optional => {}
                Err(error) => return Err(error),
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
            let known: Vec<&str> = self.ends.keys().map(|name| &**name).collect();
            return Err(MappingError::UnknownRelation {
                relation: relationship.relation.chars().take(80).collect(),
                expected: known.join(", "),
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
        let unknown = || MappingError::UnknownResource(resource.chars().take(80).collect());
        self.records.get_key_value(resource).ok_or_else(unknown)
    }

    fn end(&self, document: &Json, path: &Arc<str>, entity_type: &Arc<str>) -> Result<EntityId, MappingError> {
        let text = text_at(document, path)?;
        self.entity_id(entity_type, &text).map_err(|expected| MappingError::Wrong {
            path: Arc::clone(path),
            found: "another value",
            expected,
        })
    }

    fn facts(&self, rule: &FactsRule, document: &Json) -> Result<EntityFacts, MappingError> {
        let entity = self.end(document, &rule.id, &rule.entity)?;
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

/// The text or whole number at a dotted path.
fn text_at<'a>(document: &'a Json, path: &Arc<str>) -> Result<std::borrow::Cow<'a, str>, MappingError> {
    let wrong = |found| MappingError::Wrong { path: Arc::clone(path), found, expected: "a string or a whole number" };
    match path.split('.').try_fold(document, |value, name| value.get(name)) {
        None | Some(Json::Null) => Err(MappingError::Missing(Arc::clone(path))),
        Some(Json::String(text)) if text.contains('\u{1f}') => Err(wrong("a string with a control character")),
        Some(Json::String(text)) => Ok(text.as_str().into()),
        Some(Json::Number(number)) if number.is_i64() || number.is_u64() => Ok(number.to_string().into()),
        Some(Json::Number(_)) => Err(wrong("a number with a fraction")),
        Some(Json::Bool(_)) => Err(wrong("a boolean")),
        Some(Json::Array(_)) => Err(wrong("a list")),
        Some(Json::Object(_)) => Err(wrong("an object")),
    }
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

fn read_record(table: &Table<'_>, relations: &BTreeMap<Arc<str>, RelationRule>) -> Option<RecordRule> {
    let key = table.required_texts("key");
    let facts = table.table("facts", |facts| {
        let (entity, id) = (facts.required_text("entity"), facts.required_text("id"));
        let single = |(name, texts): (Arc<str>, Vec<Arc<str>>)| Some((name, texts.into_iter().next()?));
        let constants = facts.text_lists("constants").into_iter().filter_map(single).collect();
        let fields = facts.text_lists("fields").into_iter().filter_map(single).collect();
        Some(FactsRule { entity: entity?, id: id?, constants, fields })
    });
    let relationships = table.tables("relationships", |table| {
        let relation = table.required_text("relation");
        let (subject, object) = (table.required_text("subject"), table.required_text("object"));
        let is_optional = table.flag("optional");
        let relation = relation?;
        if !relations.contains_key(&relation) {
            let known: Vec<&str> = relations.keys().map(|name| &**name).collect();
            table.fault(
                Some("relation"),
                format!("unknown relation `{relation}`, expected one of {}", known.join(", ")),
            );
        }
        Some(RelationshipRule { relation, subject: subject?, object: object?, is_optional })
    });
    Some(RecordRule { key: key?, facts: facts.flatten(), relationships })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELATIONS: &str = r#"
[entities.School]
id = "integer"
[entities.Student]
person = true
[relations.enrolled_at]
subject = "Student"
object = "School"
[[records]]
resource = "enrolments"
key = ["school.id", "student", "day"]
[[records.relationships]]
relation = "enrolled_at"
subject = "student"
object = "school.id"
"#;

    fn relations() -> Relations {
        Relations::parse("relations.toml", RELATIONS).unwrap()
    }

    #[test]
    fn a_record_brings_its_relationships_under_its_key() {
        let record = relations()
            .map("enrolments", r#"{"school":{"id":7},"student":"s1","day":"2026-01-01","more":[1]}"#)
            .unwrap();
        assert_eq!(&*record.key.key, "7\u{1f}s1\u{1f}2026-01-01");
        assert_eq!(record.relationships[0].object, EntityId::new("School", "7"));
    }

    #[test]
    fn a_bad_record_is_refused_with_the_property_and_without_its_value() {
        for (json, message) in [
            ("[]", "not a JSON object: another JSON value"),
            ("{\"student\"", "not a JSON object: a syntax error at column 10"),
            (r#"{"student":"s1","day":"d"}"#, "`school.id` is missing, expected a string or a whole number"),
            (
                r#"{"school":{"id":1.5},"student":"s1","day":"d"}"#,
                "`school.id` is a number with a fraction, expected a string or a whole number",
            ),
            (
                r#"{"school":{"id":"x"},"student":"s1","day":"d"}"#,
                "`school.id` is another value, expected a whole number",
            ),
            (
                r#"{"school":{"id":1},"student":"","day":"d"}"#,
                "`student` is another value, expected an id that is not empty",
            ),
        ] {
            assert_eq!(relations().map("enrolments", json).unwrap_err().to_string(), message, "{json}");
        }
    }

    #[test]
    fn a_direct_relationship_is_checked_against_the_relation() {
        let good = Relationship {
            subject: EntityId::new("Student", "s"),
            relation: "enrolled_at".into(),
            object: EntityId::new("School", "07"),
        };
        assert_eq!(relations().direct(&good).unwrap().relationships[0].object, EntityId::new("School", "7"));
        let turned = Relationship { subject: good.object.clone(), object: good.subject.clone(), ..good.clone() };
        assert!(matches!(relations().direct(&turned), Err(MappingError::WrongEnd { end: "subject", .. })));
        let unknown = Relationship { relation: "teaches".into(), ..good };
        assert_eq!(
            relations().direct(&unknown).unwrap_err().to_string(),
            "unknown relation `teaches`, expected one of enrolled_at"
        );
    }

    #[test]
    fn a_direct_relationship_is_deleted_by_its_parts() {
        let json =
            r#"{"subject":{"type":"Student","id":"s"},"relation":"enrolled_at","object":{"type":"School","id":"07"}}"#;
        let relationship = Relationship {
            subject: EntityId::new("Student", "s"),
            relation: "enrolled_at".into(),
            object: EntityId::new("School", "7"),
        };
        let written = relations().direct(&relationship).unwrap().key;
        assert_eq!(relations().key(RecordKey::DIRECT, json), Ok(written));
        for (json, message) in [
            (r#"{"subject":{"type":"Student"}}"#, "`subject.id` is missing, expected a string or a whole number"),
            (&json.replace("School", "Student"), "the object of `enrolled_at` is of type `Student`, expected `School`"),
        ] {
            assert_eq!(relations().key(RecordKey::DIRECT, json).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_history_is_like_the_type_whose_past_it_shows() {
        let more = r#"
[entities.SchoolEver]
history_of = "School"
[entities.StudentEver]
history_of = "Student"
[relations.moved_to]
subject = "Student"
object = "School"
remembered = true
"#;
        let hinted = RELATIONS.replace("person = true", "person = true\nhint = \"Enrol it.\"");
        let relations = Relations::parse("relations.toml", &format!("{more}{hinted}")).unwrap();
        assert!(relations.is_person("StudentEver") && !relations.is_person("SchoolEver"));
        assert_eq!(relations.entity("StudentEver").unwrap().hint.as_deref(), Some("Enrol it."));
        assert_eq!(&*relations.entity_id(&"SchoolEver".into(), "007").unwrap().id, "7");
        assert_eq!(relations.history("Student").map(|name| &**name), Some("StudentEver"));
        assert_eq!(relations.history_of("StudentEver").map(|name| &**name), Some("Student"));
        assert_eq!((relations.history("StudentEver"), relations.history_of("Student")), (None, None));
        let remembered = ["moved_to", "enrolled_at"].map(|name| relations.remembered().contains(name));
        assert_eq!(remembered, [true, false]);
    }

    #[test]
    fn a_history_that_makes_no_sense_is_a_fault_with_its_line() {
        for (more, line, message) in [
            ("[entities.A]\nhistory_of = \"A\"", 2, "`A` is its own history"),
            (
                "[entities.A]\nhistory_of = \"School\"\n[entities.B]\nhistory_of = \"A\"",
                4,
                "`A` is the history of `School` and has none itself",
            ),
            (
                "[entities.A]\nhistory_of = \"B\"\n[entities.B]\nhistory_of = \"A\"",
                2,
                "`B` is the history of `A` and has none itself",
            ),
            (
                "[entities.A]\nhistory_of = \"School\"\n[entities.B]\nhistory_of = \"School\"",
                4,
                "`School` has the history `A` already",
            ),
            (
                "[entities.A]\nid = \"integer\"\nhistory_of = \"School\"",
                3,
                "the ids of a history are those of `School`, leave out `id` and `person`",
            ),
            (
                "[entities.A]\nhistory_of = \"School\"\n[relations.x]\nsubject = \"Student\"\nobject = \"A\"",
                5,
                "`A` is the history of `School`, and no relation's end; name `School`",
            ),
        ] {
            let faults = Relations::parse("relations.toml", &format!("{more}\n{RELATIONS}")).unwrap_err();
            assert_eq!((faults[0].line, &*faults[0].message), (line, message), "{faults:?}");
        }
    }

    #[test]
    fn an_unknown_relation_in_the_file_is_a_fault_with_its_line() {
        let faults =
            Relations::parse("relations.toml", &RELATIONS.replace("relation = \"enrolled_at\"", "relation = \"x\""))
                .unwrap_err();
        assert_eq!((faults[0].line, &*faults[0].message), (13, "unknown relation `x`, expected one of enrolled_at"));
    }
}
