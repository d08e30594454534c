//! What a deployment keeps out of its decision log, field by field, before a record is written.
//!
//! A mask takes values away and never a record: that something was decided, when, how and why stays.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    decision_record::DecisionRecord,
    document::Table,
    id::EntityId,
    pseudonym::PseudonymKey,
    value::{Attributes, Value},
};

/// What is done with a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Masking {
    /// It is kept as it is.
    #[default]
    Keep,
    /// It is left empty.
    Drop,
    /// A keyed hash stands in its place: the same for the same value, so that it can be asked for.
    Hash,
}

/// What is done with an attribute of the principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttributeMasking {
    /// As a field.
    As(Masking),
    /// It is kept with the sealed facts: shown with names only, gone with the person.
    Seal,
}

/// The fields that can be masked, beside attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// The resource's id.
    pub resource_id: Masking,
    /// The caller's request id.
    pub request_id: Masking,
    /// Why the caller said it asked.
    pub purpose: Masking,
    /// The client that the token was issued to.
    pub client: Masking,
    /// The principal's id; its type stays.
    pub principal: Masking,
    /// The id of who acted for the principal; the type stays.
    pub actor: Masking,
    /// The messages of reasons; their codes stay.
    pub message: Masking,
    /// What is needed to decide again: kept or dropped.
    pub facts: Masking,
    /// The principal's attributes by name.
    pub attributes: BTreeMap<Arc<str>, AttributeMasking>,
    /// The attributes that are not named. `None`: those of a person are sealed unless they are entities or truth values,
    /// others kept.
    pub other_attributes: Option<AttributeMasking>,
}

/// Stands for all attributes that are not named.
const OTHERS: &str = "*";

impl Mask {
    /// Reads a table of fields and what is done with them.
    pub(crate) fn read(table: &Table<'_>) -> Self {
        let field = |name: &str| {
            let text = table.text(name)?;
            masking(&text).or_else(|| fault(table, name, &text, "`keep`, `drop` or `hash`"))
        };
        let mut mask = Self {
            resource_id: field("resource_id").unwrap_or_default(),
            request_id: field("request_id").unwrap_or_default(),
            purpose: field("purpose").unwrap_or_default(),
            client: field("client").unwrap_or_default(),
            principal: field("principal").unwrap_or_default(),
            actor: field("actor").unwrap_or_default(),
            message: field("message").unwrap_or_default(),
            facts: field("facts").unwrap_or_default(),
            ..Self::default()
        };
        if mask.facts == Masking::Hash {
            let _none: Option<Masking> = fault(table, "facts", "hash", "`keep` or `drop`");
        }
        let named = table.table("attributes", |table| {
            let each = |name: Arc<str>| {
                let text = table.required_text(&name)?;
                let read = attribute_masking(&text);
                Some((
                    Arc::clone(&name),
                    read.or_else(|| fault(table, &name, &text, "`keep`, `drop`, `hash` or `seal`"))?,
                ))
            };
            table.keys().into_iter().filter_map(each).collect::<BTreeMap<_, _>>()
        });
        mask.attributes = named.unwrap_or_default();
        mask.other_attributes = mask.attributes.remove(OTHERS);
        mask
    }

    /// Takes from a record what is not to be kept. Its attributes were masked when it was made; its facts are left empty
    /// where they would hold what was taken away.
    pub fn apply(&self, record: &mut DecisionRecord, key: &PseudonymKey) {
        let change = |masking, field, text: &mut Arc<str>| *text = self::masked(key, masking, field, text);
        let named = |masking, field, entity: &mut Option<EntityId>| {
            if let Some(entity) = entity {
                change(masking, field, &mut entity.id);
            }
        };
        change(self.resource_id, "resource_id", &mut record.resource_id);
        change(self.request_id, "request_id", &mut record.request_id);
        change(self.purpose, "purpose", &mut record.purpose);
        change(self.client, "client", &mut record.client);
        named(self.principal, "principal", &mut record.principal);
        named(self.actor, "actor", &mut record.actor);
        if self.message != Masking::Keep {
            for reason in &mut record.reasons {
                change(self.message, "message", &mut reason.message);
            }
        }
    }

    /// The facts of a decision may be kept: nothing is masked that they hold.
    pub fn keeps_facts(&self) -> bool {
        let is_kept =
            |masking: &AttributeMasking| !matches!(masking, AttributeMasking::As(Masking::Drop | Masking::Hash));
        let fields = [self.resource_id, self.principal, self.actor, self.facts];
        fields.iter().all(|masking| *masking == Masking::Keep)
            && self.attributes.values().chain(&self.other_attributes).all(is_kept)
    }

    /// What the log is asked for where this is the value of a field: what is not kept any more may stand in records from
    /// before.
    pub fn as_asked(key: &PseudonymKey, masking: Masking, field: &str, text: &Arc<str>) -> Arc<str> {
        match masking {
            Masking::Drop => Arc::clone(text),
            masking => masked(key, masking, field, text),
        }
    }

    /// The attributes of a principal as everyone may read them in the record.
    pub fn open(&self, attributes: &Attributes, is_person: bool, key: &PseudonymKey) -> Attributes {
        let open = attributes.iter().filter_map(|(name, value)| {
            let is_sealed = is_person && !says_nothing(value);
            let usual = if is_sealed { AttributeMasking::Seal } else { AttributeMasking::As(Masking::Keep) };
            let value = match self.of_attribute(name).unwrap_or(usual) {
                AttributeMasking::As(Masking::Keep) => value.clone(),
                AttributeMasking::As(Masking::Hash) => hashed(key, name, value),
                AttributeMasking::As(Masking::Drop) | AttributeMasking::Seal => return None,
            };
            Some((Arc::clone(name), value))
        });
        open.collect()
    }

    /// An attribute is not kept anywhere.
    pub fn takes_away(&self, attribute: &str) -> bool {
        matches!(self.of_attribute(attribute), Some(AttributeMasking::As(Masking::Drop | Masking::Hash)))
    }

    fn of_attribute(&self, name: &str) -> Option<AttributeMasking> {
        self.attributes.get(name).copied().or(self.other_attributes)
    }
}

fn masking(text: &str) -> Option<Masking> {
    match text {
        "keep" => Some(Masking::Keep),
        "drop" => Some(Masking::Drop),
        "hash" => Some(Masking::Hash),
        _ => None,
    }
}

fn attribute_masking(text: &str) -> Option<AttributeMasking> {
    if text == "seal" { Some(AttributeMasking::Seal) } else { masking(text).map(AttributeMasking::As) }
}

/// Notes the fault; there is no value then.
fn fault<T>(table: &Table<'_>, key: &str, text: &str, expected: &str) -> Option<T> {
    table.fault(Some(key), format!("`{text}` is no masking, expected {expected}"));
    None
}

fn masked(key: &PseudonymKey, masking: Masking, field: &str, text: &Arc<str>) -> Arc<str> {
    match masking {
        _ if text.is_empty() => Arc::clone(text),
        Masking::Keep => Arc::clone(text),
        Masking::Drop => Arc::default(),
        Masking::Hash => key.pseudonym(&format!("mask {field}"), text),
    }
}

/// The value says nothing of a person by itself: entities, of which people are pseudonyms, and truth values.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Bool(_) | Value::Entity(_) | Value::Null => true,
        Value::Long(_) | Value::String(_) => false,
        Value::List(items) => items.iter().all(says_nothing),
        Value::Record(fields) => fields.iter().all(|(_, value)| says_nothing(value)),
    }
}

fn hashed(key: &PseudonymKey, name: &str, value: &Value) -> Value {
    let text = |text: &str| Value::String(key.pseudonym(&format!("mask attributes.{name}"), text));
    match value {
        Value::Bool(value) => text(&value.to_string()),
        Value::Long(value) => text(&value.to_string()),
        Value::String(value) => text(value),
        Value::Entity(entity) => text(&entity.id),
        Value::List(items) => Value::List(items.iter().map(|item| hashed(key, name, item)).collect()),
        Value::Record(fields) => {
            Value::Record(fields.iter().map(|(field, value)| (Arc::clone(field), hashed(key, name, value))).collect())
        }
        Value::Null => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        decision::{Outcome, Reason},
        decision_record::{RecordKind, RecordedSubject},
        document::read_document,
        id::{DecisionId, PolicyVersion, Revision},
    };

    fn read(content: &str) -> Result<Mask, Vec<String>> {
        let read = read_document("hallpass.toml", content, Mask::read);
        read.map_err(|faults| faults.into_iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect())
    }

    fn record() -> DecisionRecord {
        let student = EntityId::new("Student", "7dbbc79da1291d0eb18997e050942bba");
        DecisionRecord {
            id: DecisionId(1),
            time_us: 2,
            outcome: Outcome::NotPermitted,
            reasons: vec![Reason::plain("CODE", "a message")],
            determining_policies: vec!["P".into()],
            action: "Read".into(),
            resource_type: "File".into(),
            resource_id: "f-1".into(),
            subjects: vec![RecordedSubject {
                attribute: "student".into(),
                entity: student,
                is_pseudonym: true,
                is_proposed: false,
            }],
            principal: Some(EntityId::new("Staff", "p")),
            issuer: "https://i".into(),
            attributes: Arc::default(),
            policy_version: PolicyVersion("v".into()),
            data_revision: Revision(3),
            request_id: "request".into(),
            duration_us: 4,
            obligations: vec!["o".into()],
            actor: Some(EntityId::new("Staff", "a")),
            client: "client".into(),
            purpose: "purpose".into(),
            kind: RecordKind::Decision,
            facts: Arc::default(),
            caller: Arc::default(),
            adapter: None,
        }
    }

    const FIELDS: [&str; 7] = ["resource_id", "request_id", "purpose", "client", "principal", "actor", "message"];

    /// The texts of the fields that can be masked, in the order of [`FIELDS`].
    fn texts(record: &DecisionRecord) -> [Arc<str>; 7] {
        let id = |entity: &Option<EntityId>| Arc::clone(&entity.as_ref().unwrap().id);
        [
            Arc::clone(&record.resource_id),
            Arc::clone(&record.request_id),
            Arc::clone(&record.purpose),
            Arc::clone(&record.client),
            id(&record.principal),
            id(&record.actor),
            Arc::clone(&record.reasons[0].message),
        ]
    }

    #[test]
    fn nothing_said_keeps_everything() {
        let mask = read("").unwrap();
        assert_eq!(mask, Mask::default());
        let mut kept = record();
        mask.apply(&mut kept, &PseudonymKey::new([7; 32]));
        assert_eq!(kept, record());
        assert!(mask.keeps_facts());
    }

    #[test]
    fn each_field_is_masked_alone_and_the_record_stays() {
        let key = PseudonymKey::new([7; 32]);
        for (index, field) in FIELDS.into_iter().enumerate() {
            for (way, expected) in [("keep", None), ("drop", Some("")), ("hash", Some("hash"))] {
                let mask = read(&format!("{field} = \"{way}\"")).unwrap();
                let mut masked = record();
                mask.apply(&mut masked, &key);
                for (at, (before, after)) in texts(&record()).into_iter().zip(texts(&masked)).enumerate() {
                    match expected.filter(|_| at == index) {
                        None => assert_eq!(before, after, "{field} {way} {at}"),
                        Some("") => assert_eq!(&*after, "", "{field} {way}"),
                        Some(_) => {
                            assert!(after.len() == 32 && after != before, "{field} {way} {after}");
                            assert_eq!(after, Mask::as_asked(&key, Masking::Hash, field, &before));
                        }
                    }
                }
                assert_eq!(
                    (masked.id, masked.outcome, &masked.subjects),
                    (record().id, record().outcome, &record().subjects)
                );
            }
        }
    }

    #[test]
    fn a_hash_depends_on_field_and_key_and_nothing_stays_nothing() {
        let key = PseudonymKey::new([7; 32]);
        let hash =
            |key: &PseudonymKey, field: &str, text: &str| Mask::as_asked(key, Masking::Hash, field, &text.into());
        assert_ne!(hash(&key, "purpose", "x"), hash(&key, "client", "x"));
        assert_ne!(hash(&key, "purpose", "x"), hash(&PseudonymKey::new([8; 32]), "purpose", "x"));
        assert_eq!(&*hash(&key, "purpose", ""), "");
    }

    #[test]
    fn what_a_person_says_of_itself_is_sealed_and_what_an_application_says_is_not() {
        let attributes: Attributes = [
            ("email", Value::String("a@b".into())),
            ("number", Value::Long(7)),
            ("schools", Value::List(vec![Value::Entity(EntityId::new("School", "1"))])),
            ("is_teacher", Value::Bool(true)),
        ]
        .map(|(name, value)| (Arc::from(name), value))
        .into_iter()
        .collect();
        let names = |attributes: &Attributes| attributes.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>();
        let key = PseudonymKey::new([7; 32]);
        for (content, is_person, open) in [
            ("", false, vec!["email", "is_teacher", "number", "schools"]),
            ("", true, vec!["is_teacher", "schools"]),
            ("attributes.email = \"keep\"", true, vec!["email", "is_teacher", "schools"]),
            ("attributes.email = \"drop\"", false, vec!["is_teacher", "number", "schools"]),
            ("attributes = { \"*\" = \"seal\" }", false, vec![]),
            ("attributes = { \"*\" = \"drop\", number = \"hash\" }", true, vec!["number"]),
        ] {
            let mask = read(content).unwrap();
            assert_eq!(names(&mask.open(&attributes, is_person, &key)), open, "{content}");
        }
        let mask = read("attributes = { \"*\" = \"drop\", number = \"hash\", email = \"seal\" }").unwrap();
        assert!(mask.takes_away("schools") && mask.takes_away("number") && !mask.takes_away("email"));
        let hashed = read("attributes = { \"*\" = \"hash\" }").unwrap().open(&attributes, true, &key);
        assert!(!format!("{hashed:?}").contains("a@b") && hashed.len() == 4);
    }

    #[test]
    fn facts_are_not_kept_where_they_would_hold_what_is_masked() {
        for (content, keeps) in [
            ("request_id = \"drop\"\npurpose = \"hash\"\nmessage = \"drop\"\nclient = \"drop\"", true),
            ("attributes.a = \"seal\"\nattributes.b = \"keep\"", true),
            ("resource_id = \"hash\"", false),
            ("principal = \"drop\"", false),
            ("actor = \"drop\"", false),
            ("attributes.a = \"hash\"", false),
            ("attributes.\"*\" = \"drop\"", false),
            ("facts = \"drop\"", false),
        ] {
            assert_eq!(read(content).unwrap().keeps_facts(), keeps, "{content}");
        }
    }

    #[test]
    fn what_is_no_masking_is_a_fault_with_its_line() {
        for (content, line, expected) in [
            ("\npurpose = \"hide\"", 2, "`hide` is no masking, expected `keep`, `drop` or `hash`"),
            ("purpose = \"seal\"", 1, "expected `keep`, `drop` or `hash`"),
            ("facts = \"hash\"", 1, "expected `keep` or `drop`"),
            ("attributes.a = \"x\"", 1, "expected `keep`, `drop`, `hash` or `seal`"),
            ("subjects = \"drop\"", 1, "unknown key `subjects`"),
            ("attributes = \"drop\"", 1, "expected a table"),
        ] {
            let faults = read(content).unwrap_err();
            assert!(faults[0].starts_with(&format!("{line}: ")) && faults[0].contains(expected), "{faults:?}");
        }
    }
}
