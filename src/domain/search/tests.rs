//! Where a search looks, in a small realm of parts, people and rooms.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::domain::{fault::Fault, policy_set::SourceFile, relationship::Relationship};

const REALM: &str = r#"
title = "Parts"
[principal]
entity = "Client"
id = "sub"
parents = ["parts"]
[principal.attributes.parts]
claim = "parts"
[principal.attributes.rule]
claim = "rule"
[resources]
entity = "Item"
file = "resources.json"
"#;
const SCHEMA: &str = r"
entity Part in [Part];
entity Person in [Part] { past: PersonEver, shadow: Shadow };
entity PersonEver in [Part];
entity Shadow in [Part];
entity Friend in [Person];
entity Client in [Part] { parts: Set<Part>, rule: String };
entity Item { lacks: Set<String>, part?: Part, person?: Person, friend?: Friend };
action Read appliesTo { principal: [Client], resource: [Item], context: {} };
";
const RELATIONS: &str = r#"
[entities.Person]
person = true
links = { past = "PersonEver", shadow = "Shadow" }
[entities.PersonEver]
history_of = "Person"
[relations.part_of]
subject = "Part"
object = "Part"
[relations.member]
subject = "Person"
object = "Part"
remembered = true
[relations.shadow_in]
subject = "Shadow"
object = "Part"
[relations.friend_of]
subject = "Friend"
object = "Person"
[[records]]
resource = "rooms"
key = ["room"]
facts = { entity = "Part", id = "room", constants = { kind = "room" } }
[[records]]
resource = "halls"
key = ["hall"]
facts = { entity = "Part", id = "hall", constants = { kind = "hall" }, fields = { name = "name" } }
[items.people]
entity = "Person"
[items.friends]
entity = "Friend"
[items.rooms]
entity = "Part"
facts = { kind = "room" }
[items.desks]
entity = "Part"
facts = { kind = "room" }
values = { part = "part_of" }
[items.badges]
entity = "Person"
"#;
const RESOURCES: &str = r#"{ "resources": {
"people": { "subjects": [{ "attribute": "person", "path": "person.id", "name": "Person" }] },
"friends": { "subjects": [{ "attribute": "friend", "path": "friend", "name": "Friend" }] },
"rooms": { "subjects": [{ "attribute": "part", "path": "part", "name": "Part" }] },
"desks": { "subjects": [{ "attribute": "part", "path": "part", "name": "Part" }] },
"badges": { "subjects": [
  { "attribute": "person", "path": "person", "name": "Person" }, { "attribute": "friend", "path": "friend", "name": "Friend" }] },
"notes": { "subjects": [{ "attribute": "part", "path": "part", "name": "Part" }] } } }"#;
const POLICIES: &str = r#"
@id("Below") permit (principal is Client, action, resource is Item) when { principal.rule == "below" }
when { if resource has part then resource.part in principal.parts else !resource.lacks.contains("part") }
when { if resource has person then resource.person in principal.parts else !resource.lacks.contains("person") }
when { if resource has friend then resource.friend in principal.parts else !resource.lacks.contains("friend") };
@id("Above") permit (principal is Client, action, resource is Item) when { principal.rule == "above" }
when { resource has part && principal in resource.part };
@id("Shadow") permit (principal is Client, action, resource is Item) when { principal.rule == "shadow" }
when { resource has person && resource.person.shadow in principal.parts };
@id("Past") permit (principal is Client, action, resource is Item) when { principal.rule == "past" }
when { resource has person && resource.person.past in principal.parts };
@id("All") permit (principal is Client, action, resource is Item) when { principal.rule == "all" };
@id("Open") permit (principal is Client, action, resource is Item) when { principal.rule == "open" };
@id("Embargo") forbid (principal is Client, action, resource is Item) when { principal.rule == "open" && resource has friend };
@id("Lacking") permit (principal is Client, action, resource is Item)
when { principal.rule == "lacking" && resource.lacks.contains("friend") };
@id("Twofold") permit (principal is Client, action, resource is Item)
when { principal.rule == "twofold" && (if resource has friend && resource has person then resource.friend in resource.person else true) };
"#;

fn compile(relations: &str) -> Result<Realm, Vec<Fault>> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let files = [
        file("policies.cedar", POLICIES),
        file("realm.toml", REALM),
        file("relations.toml", relations),
        file("resources.json", RESOURCES),
        file("schema.cedarschema", SCHEMA),
    ];
    Realm::compile(&files, None)
}

fn realm() -> Realm {
    compile(RELATIONS).unwrap()
}

/// Part `1` with the parts `11` and `12`, part `2`; rooms `11`, `12` and `2`, hall `1`. `ann` and `bob` are in 11, `cem`
/// in 12, `dan` in 2; `eve` was in 11; `fay` has a shadow in 11; `gil` is a friend of `ann`, `hal` of `dan`.
fn graph(realm: &Realm) -> Graph {
    let mut graph = Graph::new();
    let edges = [
        ("Part", "11", "part_of", "Part", "1"),
        ("Part", "12", "part_of", "Part", "1"),
        ("Person", "ann", "member", "Part", "11"),
        ("Person", "bob", "member", "Part", "11"),
        ("Person", "cem", "member", "Part", "12"),
        ("Person", "dan", "member", "Part", "2"),
        ("Person", "eve", "member", "Part", "11"),
        ("Shadow", "fay", "shadow_in", "Part", "11"),
        ("Friend", "gil", "friend_of", "Person", "ann"),
        ("Friend", "hal", "friend_of", "Person", "dan"),
    ];
    for (subject, id, relation, object, other) in edges {
        let relationship = Relationship {
            subject: EntityId::new(subject, id),
            relation: relation.into(),
            object: EntityId::new(object, other),
        };
        let mut record = realm.relations.direct(&relationship).unwrap();
        if id == "eve" {
            record.removed = std::mem::take(&mut record.relationships);
        }
        graph.insert(&record);
    }
    for (resource, json) in [
        ("halls", r#"{"hall":"1","name":"Main"}"#),
        ("rooms", r#"{"room":"11"}"#),
        ("rooms", r#"{"room":"12"}"#),
        ("rooms", r#"{"room":"2"}"#),
    ] {
        graph.insert(&realm.relations.map(resource, json).unwrap());
    }
    graph
}

/// Where a client with this rule and these parts looks for items, and whether that is all there may be.
fn looked_at(
    realm: &Realm,
    graph: &Graph,
    rule: &str,
    parts: &[&str],
    of: &str,
    within: Option<&str>,
) -> (String, bool) {
    let claims = json!({ "sub": "c", "parts": parts, "rule": rule });
    let principal = Principal::from_claims(realm, claims.as_object().unwrap()).unwrap();
    let question = Question { action: "Read".into(), resource_type: of.into(), ..Question::default() };
    let about = AccessRequest::without_values(realm, &question).unwrap();
    let opening = open(realm, &principal, &about, graph);
    assert_eq!(opening.decision.outcome, Outcome::Allowed, "{opening:?}");
    assert_eq!(opening.filter.is_none(), rule == "twofold", "{opening:?}");
    let within = within.map(|id| EntityId::new("Part", id));
    let item = realm.relations.item(of).unwrap();
    let scope =
        Scope { item, resource_type: &about.resource_type, filter: opening.filter.as_ref(), within: within.as_ref() };
    let known = known_items(realm, &principal, graph, scope);
    let ids: Vec<&str> = (0..known.ids.len()).filter_map(|place| known.ids.get(place)).collect();
    (ids.join(" "), known.is_complete)
}

#[test]
fn a_search_looks_no_further_than_the_filter_lets_it() {
    let (realm, graph) = (realm(), graph(&realm()));
    for (rule, parts, of, within, expected, is_complete) in [
        ("below", &["11"][..], "people", None, "ann bob", true),
        ("below", &["1"], "people", None, "ann bob cem", true),
        ("below", &["1", "2"], "people", Some("12"), "cem", true),
        // What lies around the client's own parts bounds nothing.
        ("below", &["12"], "people", Some("1"), "cem", true),
        ("below", &["99"], "people", None, "", true),
        ("below", &[], "people", None, "", true),
        ("below", &["1"], "friends", None, "gil", true),
        ("shadow", &["1"], "people", None, "fay", true),
        ("past", &["1"], "people", None, "ann bob cem eve", true),
        ("past", &["2"], "people", None, "dan", true),
        // The halls are no rooms.
        ("below", &["1"], "rooms", None, "11 12", true),
        ("above", &["11"], "rooms", None, "11", true),
        ("above", &["2"], "rooms", None, "2", true),
        // A desk has the part that its own part is in.
        ("below", &["1"], "desks", None, "11 12", true),
        ("below", &["11"], "desks", None, "", true),
        ("above", &["12"], "desks", None, "11 12", true),
        // Where nothing bounds it, people may be there of whom nobody knows, rooms may not.
        ("all", &[], "people", None, "ann bob cem dan fay", false),
        ("all", &[], "friends", None, "gil hal", false),
        ("all", &[], "rooms", None, "11 12 2", true),
        ("all", &[], "people", Some("1"), "ann bob cem", true),
        ("all", &[], "desks", Some("1"), "11 12", true),
    ] {
        let found = looked_at(&realm, &graph, rule, parts, of, within);
        assert_eq!(found, (expected.to_owned(), is_complete), "{rule} {parts:?} {of} {within:?}");
    }
}

#[test]
fn an_item_with_a_value_that_the_policies_look_at_and_nobody_knows_is_left_out() {
    let (realm, graph) = (realm(), graph(&realm()));
    for rule in ["open", "lacking", "twofold", "below"] {
        assert_eq!(looked_at(&realm, &graph, rule, &["1"], "badges", None), (String::new(), false), "{rule}");
    }
    // Where they don't look at it, or know it, nothing changes.
    let found = |rule: &str, of: &str| looked_at(&realm, &graph, rule, &["1"], of, None).0;
    assert_eq!(found("shadow", "badges"), "fay");
    assert_eq!(found("all", "badges"), "ann bob cem dan fay");
    assert_eq!(found("open", "people"), "ann bob cem dan fay");
    assert_eq!(found("lacking", "people"), "", "people have no friends to lack");
    assert_eq!(found("open", "rooms"), "11 12 2");
}

#[test]
fn a_value_that_could_be_either_of_two_is_left_out_and_told() {
    let realm = realm();
    let mut graph = graph(&realm);
    let second = Relationship {
        subject: EntityId::new("Part", "12"),
        relation: "part_of".into(),
        object: EntityId::new("Part", "2"),
    };
    graph.insert(&realm.relations.direct(&second).unwrap());
    assert_eq!(looked_at(&realm, &graph, "below", &["1"], "desks", None), ("11".to_owned(), false));
    let (item, types) = (realm.relations.item("desks").unwrap(), &realm.resource_types);
    let asked = |id: &str| question_about(&graph, item, &types["desks"], id, &Question::default());
    assert_eq!(asked("12"), None);
    let part = |question: Option<Question>| question.unwrap().attributes.unwrap().get("part").cloned();
    assert_eq!(part(asked("11")), Some(Value::Entity(EntityId::new("Part", "1"))));
    assert_eq!(part(asked("2")), None);
}

#[test]
fn an_item_lies_within_what_contains_one_of_its_values_now() {
    let (realm, graph) = (realm(), graph(&realm()));
    let attributes = |id: &str| [(Arc::from("person.id"), Value::String(id.into()))].into_iter().collect();
    let is_within = |id: &str, entity_type: &str, container: &str| {
        let question = Question {
            action: "Read".into(),
            resource_type: "people".into(),
            attributes: Some(attributes(id)),
            ..Question::default()
        };
        let request = AccessRequest::check(&realm, &question).unwrap();
        super::is_within(&realm, &graph, &request, &EntityId::new(entity_type, container))
    };
    assert!(is_within("ann", "Part", "11") && is_within("ann", "Part", "1") && is_within("nobody", "Person", "nobody"));
    assert!(!is_within("ann", "Part", "12") && !is_within("eve", "Part", "11") && !is_within("nobody", "Part", "1"));
}

#[test]
fn every_fault_of_known_items_is_told() {
    let faults = |table: &str| {
        let faults = compile(&format!("{RELATIONS}\n[items.notes]\n{table}\n")).unwrap_err();
        faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(faults("facts = {}"), "`items.notes.entity` is missing, expected a string");
    assert_eq!(faults("entity = \"Tree\""), "items.`notes`: the schema has no entity type `Tree`");
    assert_eq!(
        faults("entity = \"Part\"\nfacts = { size = \"1\" }"),
        "no record says `size` of `Part`, expected one of kind, name"
    );
    assert_eq!(
        faults("entity = \"Person\"\nfacts = { kind = \"1\" }"),
        "no record says `kind` of `Person`, expected one of none"
    );
    assert_eq!(
        faults("entity = \"Part\"\nvalues = { part = \"in\" }"),
        "unknown relation `in`, expected one of friend_of, member, part_of, shadow_in"
    );
    assert_eq!(
        faults("entity = \"Part\"\nvalues = { part = \"member\" }"),
        "`part`: the subject of `member` is of type `Person`, expected `Part`"
    );
    assert_eq!(
        faults("entity = \"Part\"\nvalues = { person = \"part_of\" }"),
        "items.`notes`: the resource type has no subject `person`"
    );
    let unknown = compile(&format!("{RELATIONS}\n[items.trees]\nentity = \"Part\"\n")).unwrap_err();
    assert_eq!(unknown[0].message, "items.`trees`: the realm has no such resource type");
    let other = compile(&RELATIONS.replace(
        "[items.rooms]\nentity = \"Part\"\nfacts = { kind = \"room\" }",
        "[items.rooms]\nentity = \"Friend\"\nvalues = { part = \"friend_of\" }",
    ));
    assert_eq!(
        other.unwrap_err()[0].message,
        "items.`rooms`: the object of `friend_of` is of type `Person`, which is not the type of `part`"
    );
}

/// A realm whose resources have values that only the store says.
fn archive() -> (Realm, Graph) {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let files = [
        file(
            "realm.toml",
            "title = \"Archive\"\n[principal]\nentity = \"Clerk\"\nid = \"sub\"\n[trusted]\nSheet = [\"state\", \"pages\"]\n",
        ),
        file(
            "schema.cedarschema",
            "entity State; entity Room; entity Clerk in [Room];
             entity Sheet in [Room, State, Clerk] { room: Room, state?: State, readers?: Set<Clerk>, pages?: Long };
             action read appliesTo { principal: [Clerk], resource: [Sheet] };",
        ),
        file(
            "relations.toml",
            "[relations.lies_in]\nsubject = \"Sheet\"\nobject = \"Room\"\n[relations.is]\nsubject = \"Sheet\"\nobject = \"State\"\n\
             [relations.read_by]\nsubject = \"Sheet\"\nobject = \"Clerk\"\n[items.Sheet]\nentity = \"Sheet\"\n\
             values = { room = \"lies_in\", state = \"is\", readers = \"read_by\" }\n",
        ),
        file(
            "rules.cedar",
            "@id(\"all\") permit (principal is Clerk, action, resource is Sheet) when {
                 principal in resource.room && (resource has state && resource.state == State::\"open\"
                     || resource has readers && resource.readers.contains(principal)) };",
        ),
    ];
    let realm = Realm::compile(&files, None).unwrap_or_else(|faults| panic!("{faults:?}"));
    let mut graph = Graph::new();
    for (sheet, relation, object_type, object) in [
        ("1", "lies_in", "Room", "a"),
        ("1", "is", "State", "shut"),
        ("1", "read_by", "Clerk", "x"),
        ("1", "read_by", "Clerk", "y"),
        ("2", "lies_in", "Room", "a"),
        ("3", "lies_in", "Room", "a"),
        ("3", "lies_in", "Room", "b"),
    ] {
        let (subject, object) = (EntityId::new("Sheet", sheet), EntityId::new(object_type, object));
        let written = Relationship { subject, relation: relation.into(), object };
        graph.insert(&realm.relations.direct(&written).unwrap());
    }
    (realm, graph)
}

#[test]
fn what_nobody_is_believed_is_what_the_store_has() {
    let (realm, graph) = archive();
    let value = |entity_type: &str, id: &str| Value::Entity(EntityId::new(entity_type, id));
    let sent: Attributes = [("room", "b"), ("state", "open"), ("readers", "z")]
        .into_iter()
        .map(|(name, id)| (Arc::from(name), Value::String(id.into())))
        .collect();
    let values = |id: &str, attributes: Option<Attributes>, believed| {
        let question = Question {
            action: "read".into(),
            resource_type: "Sheet".into(),
            resource_id: id.into(),
            attributes,
            ..Question::default()
        };
        let question = with_known(&realm, &graph, &question, believed).ok()?;
        let request = AccessRequest::check(&realm, &question).ok()?;
        let names = request.resource_type.subjects.iter().map(|subject| subject.attribute.to_string());
        let values = names.zip(request.phases[0].values.clone());
        Some(values.filter_map(|(name, value)| Some((name, value?))).collect::<Vec<_>>())
    };
    let readers = Value::List(vec![value("Clerk", "x"), value("Clerk", "y")]);
    let of_first = |state: &str| {
        let all = [("readers", readers.clone()), ("room", value("Room", "a")), ("state", value("State", state))];
        Some(all.map(|(name, value)| (name.to_owned(), value)).to_vec())
    };
    // Callers are believed the state, unless what the store has counts more.
    assert_eq!(values("1", Some(sent.clone()), Believed::Sent), of_first("open"));
    assert_eq!(values("1", Some(sent.clone()), Believed::Stored), of_first("shut"));
    assert_eq!(values("1", None, Believed::Stored), of_first("shut"));
    let of_second = values("2", Some(sent.clone()), Believed::Stored).unwrap();
    assert_eq!(of_second.len(), 2, "the store knows that it has no state: {of_second:?}");
    // Of which nothing is known, nothing that nobody is believed is said; of a room too many none is the room.
    assert_eq!(values("9", Some(sent.clone()), Believed::Stored), None);
    assert_eq!(values("3", Some(sent), Believed::Sent), None);
}

#[test]
fn a_search_and_a_question_agree_about_what_the_store_says() {
    let (realm, graph) = archive();
    let (item, resource_type) = (realm.relations.item("Sheet").unwrap(), &realm.resource_types["Sheet"]);
    let claims = serde_json::json!({ "sub": "x" });
    let principal = Principal::from_claims(&realm, claims.as_object().unwrap()).unwrap();
    let scope = Scope { item, resource_type, filter: Some(&Filter::All), within: None };
    let known = known_items(&realm, &principal, &graph, scope);
    let ids: Vec<&str> = (0..known.ids.len()).filter_map(|place| known.ids.get(place)).collect();
    assert_eq!((ids, known.is_complete), (vec!["1", "2"], false), "3 lies in two rooms, which cannot be");
    for id in ["1", "2"] {
        let search = Question { action: "read".into(), resource_type: "Sheet".into(), ..Question::default() };
        let found = question_about(&graph, item, resource_type, id, &search).unwrap();
        let asked = Question { resource_id: id.into(), ..search };
        let asked = with_known(&realm, &graph, &asked, Believed::Stored).unwrap();
        let values = |question: &Question| AccessRequest::check(&realm, question).unwrap().phases;
        assert_eq!(values(&found), values(&asked), "{id}");
    }
}
