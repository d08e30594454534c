//! Entity types that show the past of others, in a realm that has nothing of a real one.

use hallpass::domain::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::Outcome,
    graph::Graph,
    id::{EntityId, Revision},
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::{Effect, Record, RecordKey, Relationship, Written},
    value::{Attributes, Value},
};
use serde_json::json;

const SCHEMA: &str = "
entity Region in [Region];
entity Folder in [Folder, Region];
entity FolderEver in [FolderEver, Region];
entity Paper in [Folder] { ever: PaperEver };
entity PaperEver in [FolderEver];
entity Reader in [FolderEver] { folders: Set<FolderEver> };
entity Item { paper: Paper, region: Region };
action Read, ReadPast, Enter appliesTo { principal: [Reader], resource: [Item], context: {} };
";

const REALM: &str = r#"
title = "Library"
[principal]
entity = "Reader"
id = "sub"
parents = ["folders"]
[principal.attributes.folders]
claim = "folders"
[trusted]
Item = ["paper", "region"]
"#;

const RELATIONS: &str = r#"
[entities.Paper]
links = { ever = "PaperEver" }
[entities.PaperEver]
history_of = "Paper"
[entities.FolderEver]
history_of = "Folder"
[relations.filed]
subject = "Paper"
object = "Folder"
remembered = true
[relations.below]
subject = "Folder"
object = "Folder"
remembered = true
[relations.in_region]
subject = "Folder"
object = "Region"
[relations.part_of]
subject = "Region"
object = "Region"
"#;

const POLICIES: &str = r#"
@id("now") permit (principal, action == Action::"Read", resource) when { resource.paper in resource.region };
@id("ever") permit (principal, action == Action::"ReadPast", resource) when { resource.paper.ever in resource.region };
@id("enter") permit (principal, action == Action::"Enter", resource) when { principal in resource.region };
"#;

fn compiled(relations: &str) -> Realm {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let files = [
        file("realm.toml", REALM),
        file("relations.toml", relations),
        file("schema.cedarschema", SCHEMA),
        file("all.cedar", POLICIES),
    ];
    Realm::compile(&files, None).unwrap()
}

fn relationship(subject: &str, relation: &str, object: &str) -> Relationship {
    let end = |text: &str| {
        let (entity_type, id) = text.split_once(':').unwrap();
        EntityId::new(entity_type, id)
    };
    Relationship { subject: end(subject), relation: relation.into(), object: end(object) }
}

fn record(relationship: &Relationship, is_there: bool) -> Record {
    let key = RecordKey { resource: RecordKey::DIRECT.into(), key: format!("{relationship:?}").into() };
    let mut record = Record::new(key, vec![relationship.clone()], None);
    if !is_there {
        std::mem::swap(&mut record.relationships, &mut record.removed);
    }
    record
}

/// Relationships that are there, and such that were.
fn graph(there: &[(&str, &str, &str)], gone: &[(&str, &str, &str)]) -> Graph {
    let mut graph = Graph::new();
    for (list, is_there) in [(there, true), (gone, false)] {
        for (subject, relation, object) in list {
            graph.insert(&record(&relationship(subject, relation, object), is_there));
        }
    }
    graph.set_revision(Revision(1));
    graph
}

fn reader(realm: &Realm) -> Principal {
    Principal::from_claims(realm, json!({ "sub": "r", "folders": ["shelf"] }).as_object().unwrap()).unwrap()
}

fn may(realm: &Realm, reader: &Principal, graph: &Graph, action: &str, region: &str) -> bool {
    let named = |entity_type: &str, id: &str| Value::Entity(EntityId::new(entity_type, id));
    let values = [("paper".into(), named("Paper", "p")), ("region".into(), named("Region", region))];
    let question = Question {
        action: action.into(),
        resource_type: "Item".into(),
        resource_id: "i".into(),
        attributes: Some(values.into_iter().collect::<Attributes>()),
        ..Question::default()
    };
    let decision = decide(realm, reader, &AccessRequest::check(realm, &question).unwrap(), graph);
    assert!(matches!(decision.outcome, Outcome::Allowed | Outcome::NotPermitted), "{decision:?}");
    decision.outcome == Outcome::Allowed
}

#[test]
fn the_past_is_gone_through_as_long_as_types_have_one_and_the_present_from_there() {
    let realm = compiled(RELATIONS);
    let reader = reader(&realm);
    let there = [
        ("Folder:top", "in_region", "Region:now"),
        ("Folder:loop", "below", "Folder:deep"),
        ("Region:now", "part_of", "Region:whole"),
        ("Folder:loop", "in_region", "Region:side"),
    ];
    let gone = [
        ("Paper:p", "filed", "Folder:deep"),
        ("Folder:deep", "below", "Folder:top"),
        ("Folder:deep", "below", "Folder:loop"),
        ("Folder:top", "in_region", "Region:then"),
        ("Region:now", "part_of", "Region:elsewhere"),
    ];
    let graph = graph(&there, &gone);
    for region in ["now", "whole", "side", "then", "elsewhere"] {
        assert!(!may(&realm, &reader, &graph, "Read", region), "{region}");
    }
    for (region, expected) in [("now", true), ("whole", true), ("side", true), ("then", false), ("elsewhere", false)] {
        assert_eq!(may(&realm, &reader, &graph, "ReadPast", region), expected, "{region}");
    }
}

#[test]
fn a_relation_that_is_not_remembered_any_more_has_no_past() {
    let graph = graph(&[("Folder:top", "in_region", "Region:now")], &[("Paper:p", "filed", "Folder:top")]);
    for (relations, expected) in
        [(RELATIONS.to_owned(), true), (RELATIONS.replacen("remembered = true\n", "", 1), false)]
    {
        let realm = compiled(&relations);
        assert_eq!(may(&realm, &reader(&realm), &graph, "ReadPast", "now"), expected);
    }
}

#[test]
fn a_principal_in_the_past_of_something_sees_what_happens_to_it() {
    let realm = compiled(RELATIONS);
    let reader = reader(&realm);
    let mut graph = graph(&[("Folder:top", "in_region", "Region:now"), ("Folder:shelf", "below", "Folder:other")], &[]);
    let edge = relationship("Folder:shelf", "below", "Folder:top");
    let (there, gone) = (record(&edge, true), record(&edge, false));
    let effects = [
        (Effect::Created(there.clone()), true),
        (Effect::Removed { before: there.clone(), after: gone.clone() }, true),
        (Effect::Deleted(gone.clone()), false),
        (Effect::Created(gone.clone()), true),
        (Effect::Replaced { before: gone, after: there.clone() }, true),
        (Effect::Deleted(there), false),
    ];
    assert!(!may(&realm, &reader, &graph, "Enter", "now"));
    for (revision, (effect, expected)) in (2..).zip(effects) {
        graph.apply(&Written { revision: Revision(revision), effects: vec![effect.clone()] });
        assert_eq!(may(&realm, &reader, &graph, "Enter", "now"), expected, "{effect:?}");
    }
}
