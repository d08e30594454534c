//! A small realm of persons, documents and the parts of a house, with nothing that a real one has.

use std::sync::Arc;

use hallpass::domain::{
    access_request::{AccessRequest, FieldFault, Question},
    decide::decide,
    decision::Decision,
    graph::Graph,
    id::{EntityId, Revision},
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::{Effect, Record, RecordKey, Relationship, Written},
    value::{Attributes, Value},
};
use serde_json::Value as Json;

/// `Part` and `Person` have an attribute that nothing ever fills: reading it fails, as strict validation lets it.
const SCHEMA: &str = r#"
entity Area in [Area];
entity Part in [Part, Area] { size: Long };
entity Shadow in [Part];
entity Person in [Part] { parts: Set<Part>, home?: Part, level: Long, rank?: Long, shadow?: Shadow };
entity Room in [Part];
entity Document in [Part, Document] {
    part?: Part, owner?: Person, peer?: Person, next?: Document, parts?: Set<Part>, level?: Long,
    spot?: { part: Part, person?: Person },
};
action "any";
action "change" in ["any"];
action Read in ["any"] appliesTo { principal: [Person], resource: [Document, Person, Room], context: { flag: Bool, place?: Part } };
action Update, Delete in ["change"] appliesTo { principal: [Person], resource: [Document, Person, Room], context: { flag: Bool, place?: Part } };
"#;

const REALM: &str = r#"
title = "House"
[principal]
entity = "Person"
id = "sub"
parents = ["parts"]
[principal.attributes.parts]
claim = "parts"
[principal.attributes.home]
claim = "home"
[principal.attributes.level]
claim = "level"
[principal.attributes.rank]
claim = "rank"
[trusted]
Document = ["part", "owner", "peer", "next", "parts", "level", "spot"]
Person = ["parts", "home", "level", "rank"]
context = ["flag", "place"]
"#;

const RELATIONS: &str = r#"
[entities.Person]
links = { shadow = "Shadow" }
[entities.Room]
id = "integer"
[relations.area_of]
subject = "Area"
object = "Area"
[relations.in_area]
subject = "Part"
object = "Area"
[relations.part_of]
subject = "Part"
object = "Part"
[relations.room_of]
subject = "Room"
object = "Part"
[relations.member]
subject = "Person"
object = "Part"
[relations.shadow_in]
subject = "Shadow"
object = "Part"
[relations.filed]
subject = "Document"
object = "Part"
[relations.page_of]
subject = "Document"
object = "Document"
"#;

/// The realm with these policy files.
pub(crate) fn compiled(policies: &[&str]) -> Realm {
    compiled_with("", policies)
}

/// The realm with these policy files and more in its schema.
pub(crate) fn compiled_with(more: &str, policies: &[&str]) -> Realm {
    let files = files(more, policies);
    Realm::compile(&files, None).unwrap_or_else(|faults| panic!("{faults:?}\n{policies:?}"))
}

/// The files of the realm with these policy files and more in its schema.
pub(crate) fn files(more: &str, policies: &[&str]) -> Vec<SourceFile> {
    let file = |path: String, content: &str| SourceFile { path, content: content.to_owned() };
    let mut files = vec![
        file("realm.toml".into(), REALM),
        file("relations.toml".into(), RELATIONS),
        file("schema.cedarschema".into(), &format!("{SCHEMA}{more}")),
    ];
    files.extend(policies.iter().enumerate().map(|(index, text)| file(format!("{index}.cedar"), text)));
    files
}

/// `Part::1`.
pub(crate) fn entity(text: &str) -> EntityId {
    let (entity_type, id) = text.split_once("::").unwrap();
    EntityId::new(entity_type, id)
}

pub(crate) fn graph(related: &[(&str, &str, &str)]) -> Graph {
    let mut graph = Graph::new();
    for (subject, relation, object) in related {
        relate(&mut graph, 1, subject, relation, object, true);
    }
    graph.set_revision(Revision(1));
    graph
}

/// Applies a batch that creates a relationship, or deletes it.
pub(crate) fn relate(graph: &mut Graph, revision: u64, subject: &str, relation: &str, object: &str, is_new: bool) {
    let relationship = Relationship { subject: entity(subject), relation: relation.into(), object: entity(object) };
    let key = RecordKey { resource: RecordKey::DIRECT.into(), key: format!("{subject} {relation} {object}").into() };
    let record = Record::new(key, vec![relationship], None);
    let effect = if is_new { Effect::Created(record) } else { Effect::Deleted(record) };
    graph.apply(&Written { revision: Revision(revision), effects: vec![effect] });
}

/// The person of this id, with further claims.
pub(crate) fn person(realm: &Realm, id: &str, claims: &str) -> Principal {
    let mut claims: Json = serde_json::from_str(claims).unwrap();
    claims["sub"] = id.into();
    if claims.get("level").is_none() {
        claims["level"] = 1.into();
    }
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

/// A question, in words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    pub(crate) claims: &'a str,
    pub(crate) action: &'a str,
    pub(crate) resource: (&'a str, &'a str),
    pub(crate) values: &'a str,
    /// The values of the request body, if it has one.
    pub(crate) proposed: Option<&'a str>,
    pub(crate) context: &'a str,
}

impl Asked<'_> {
    /// Nothing but an action.
    pub(crate) const ANY: Asked<'static> = Asked {
        claims: "{}",
        action: "Update",
        resource: ("Document", ""),
        values: "{}",
        proposed: None,
        context: "{}",
    };

    pub(crate) fn check(&self, realm: &Realm) -> Result<AccessRequest, Vec<FieldFault>> {
        let mut context: Json = serde_json::from_str(self.context).unwrap();
        if context.get("flag").is_none() {
            context["flag"] = false.into();
        }
        let question = Question {
            action: self.action.into(),
            resource_type: self.resource.0.into(),
            resource_id: self.resource.1.into(),
            attributes: Some(attributes(&serde_json::from_str(self.values).unwrap())),
            proposed: self.proposed.map(|proposed| attributes(&serde_json::from_str(proposed).unwrap())),
            context: attributes(&context),
            ..Question::default()
        };
        AccessRequest::check(realm, &question)
    }
}

fn attributes(json: &Json) -> Attributes {
    json.as_object().unwrap().iter().map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Long(number.as_i64().unwrap()),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(_) => Value::Record(attributes(json)),
        Json::Null => Value::Null,
    }
}

pub(crate) fn decided(realm: &Realm, principal: &Principal, asked: &Asked<'_>, graph: &Graph) -> Decision {
    decide(realm, principal, &asked.check(realm).unwrap(), graph)
}
