//! Ids that are paths, in a small realm of scopes, pupils and groups: what contains what, decided, filtered and searched.

use std::{cell::Cell, sync::Arc};

use proptest::{
    prelude::*,
    test_runner::{RngAlgorithm, TestRng, TestRunner},
};
use serde_json::json;

use crate::domain::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::Outcome,
    fault::Fault,
    graph::Graph,
    id::{EntityId, Revision},
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::{Effect, Record, RecordKey, Relationship, Written},
    row_filter::{Answer, holds, obligation, row_filter},
    search::{Scope, is_within, known_items},
    value::{Attributes, Value},
};

const REALM: &str = r#"
title = "Scopes"
[principal]
entity = "Client"
id = "sub"
parents = ["scopes"]
[principal.attributes.scopes]
claim = "scopes"
[resources]
entity = "Note"
file = "resources.json"
"#;
const SCHEMA: &str = r"
entity Group in [Group];
entity Scope in [Scope, Group];
entity Pupil in [Scope];
entity Client in [Scope] { scopes: Set<Scope> };
entity Note { lacks: Set<String>, scope?: Scope, pupil?: Pupil, group?: Group };
action Read appliesTo { principal: [Client], resource: [Note], context: {} };
";
const RELATIONS: &str = r#"
[entities.Scope]
path = "/"
[relations.scope_in]
subject = "Scope"
object = "Group"
[relations.group_in]
subject = "Group"
object = "Group"
[relations.pupil_at]
subject = "Pupil"
object = "Scope"
[relations.client_at]
subject = "Client"
object = "Scope"
[items.scopes]
entity = "Scope"
[items.pupils]
entity = "Pupil"
"#;
const RESOURCES: &str = r#"{ "resources": {
"notes": { "subjects": [
  { "attribute": "scope", "path": "scope", "name": "Scope" }, { "attribute": "pupil", "path": "pupil", "name": "Pupil" },
  { "attribute": "group", "path": "group", "name": "Group" }] },
"scopes": { "subjects": [{ "attribute": "scope", "path": "scope", "name": "Scope" }] },
"pupils": { "subjects": [{ "attribute": "pupil", "path": "pupil", "name": "Pupil" }] } } }"#;

/// Scopes may be in scopes by relationships too.
const UNDER: &str = "[relations.under]\nsubject = \"Scope\"\nobject = \"Scope\"\n";

fn compile(realm: &str, relations: &str, schema: &str, policies: &str) -> Result<Realm, Vec<Fault>> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let files = [
        file("policies.cedar", policies),
        file("realm.toml", realm),
        file("relations.toml", relations),
        file("resources.json", RESOURCES),
        file("schema.cedarschema", schema),
    ];
    Realm::compile(&files, None)
}

fn realm(policies: &str) -> Realm {
    compile(REALM, RELATIONS, SCHEMA, policies).unwrap()
}

fn client(realm: &Realm, scopes: &[&str]) -> Principal {
    Principal::from_claims(realm, json!({"sub": "c", "scopes": scopes}).as_object().unwrap()).unwrap()
}

/// `Scope:a/b`.
fn entity(text: &str) -> EntityId {
    let (entity_type, id) = text.split_once(':').unwrap();
    EntityId::new(entity_type, id)
}

fn record((subject, relation, object): &(&str, &str, &str)) -> Record {
    let relationship = Relationship { subject: entity(subject), relation: (*relation).into(), object: entity(object) };
    let key = RecordKey { resource: RecordKey::DIRECT.into(), key: format!("{subject} {relation} {object}").into() };
    Record::new(key, vec![relationship], None)
}

fn graph(related: &[(&str, &str, &str)]) -> Graph {
    let mut graph = Graph::new();
    for it in related {
        graph.insert(&record(it));
    }
    graph.set_revision(Revision(1));
    graph
}

fn asked(realm: &Realm, resource_type: &str, values: &[(&str, &str)]) -> AccessRequest {
    let value = |(name, id): &(&str, &str)| (Arc::from(*name), Value::String((*id).into()));
    let question = Question {
        action: "Read".into(),
        resource_type: resource_type.into(),
        resource_id: "n".into(),
        attributes: Some(values.iter().map(value).collect::<Attributes>()),
        ..Question::default()
    };
    AccessRequest::check(realm, &question).unwrap()
}

#[test]
fn a_path_is_in_each_of_its_whole_segments_and_in_whatever_those_are_in() {
    let realm = realm("@id(\"a\") permit (principal, action, resource);");
    let graph = graph(&[
        ("Scope:a/b", "scope_in", "Group:1"),
        ("Group:1", "group_in", "Group:2"),
        ("Pupil:p", "pupil_at", "Scope:a/b/c/d"),
        ("Scope:a//b", "scope_in", "Group:3"),
    ]);
    let principal = client(&realm, &["t/u"]);
    for (below, expected) in [
        ("Scope:a/b/c", &["Scope:a/b", "Scope:a", "Group:1", "Group:2"][..]),
        ("Scope:a/b", &["Scope:a", "Group:1", "Group:2"]),
        ("Scope:a", &[]),
        ("Scope:a/bc", &["Scope:a"]),
        ("Pupil:p", &["Scope:a/b/c/d", "Scope:a/b/c", "Scope:a/b", "Scope:a", "Group:1", "Group:2"]),
        ("Scope:a//b", &["Group:3"]),
        ("Scope:a//b/c", &[]),
        ("Scope:/a/b", &[]),
        ("Scope:a/b/", &[]),
        ("Client:c", &["Scope:t/u", "Scope:t"]),
        ("Group:a/b", &[]),
    ] {
        let found = super::ancestors(&realm, &principal, &graph, &entity(below));
        let mut found: Vec<_> = found.iter().map(|it| format!("{}:{}", it.type_name(), it.id().unescaped())).collect();
        let mut expected: Vec<_> = expected.iter().map(|it| (*it).to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected, "{below}");
    }
}

#[test]
fn a_relationship_of_what_a_path_names_counts_with_the_next_decision() {
    let realm = realm("@id(\"g\") permit (principal in Group::\"2\", action, resource);");
    let principal = client(&realm, &["t/u/v"]);
    let mut graph = graph(&[("Group:1", "group_in", "Group:2")]);
    let request = asked(&realm, "notes", &[]);
    let is_allowed = |graph: &Graph| decide(&realm, &principal, &request, graph).outcome == Outcome::Allowed;
    assert!(!is_allowed(&graph), "nothing of the principal's is related");
    let related = record(&("Scope:t", "scope_in", "Group:1"));
    for (revision, effect, expected) in [
        (2, Effect::Created(related.clone()), true),
        (3, Effect::Deleted(related.clone()), false),
        (4, Effect::Created(related), true),
        (5, Effect::Deleted(record(&("Group:1", "group_in", "Group:2"))), false),
    ] {
        graph.apply(&Written { revision: Revision(revision), effects: vec![effect] });
        assert_eq!(is_allowed(&graph), expected, "revision {revision}");
    }
}

#[test]
fn what_lies_within_a_path_is_found_by_its_relationships_and_its_segments() {
    let realm = realm("@id(\"a\") permit (principal, action, resource);");
    let graph = graph(&[("Pupil:p", "pupil_at", "Scope:a/b/c"), ("Scope:a", "scope_in", "Group:1")]);
    for (attribute, id, container, expected) in [
        ("scope", "a/b", "Scope:a", true),
        ("scope", "a/b", "Scope:a/b", true),
        ("scope", "ab", "Scope:a", false),
        ("scope", "a/b", "Group:1", true),
        ("pupil", "p", "Scope:a/b", true),
        ("pupil", "p", "Group:1", true),
        ("pupil", "q", "Group:1", false),
        ("scope", "a//b", "Scope:a", false),
    ] {
        let request = asked(&realm, "notes", &[(attribute, id)]);
        assert_eq!(is_within(&realm, &graph, &request, &entity(container)), expected, "{id} in {container}");
    }
}

#[test]
fn a_type_that_cannot_have_paths_is_a_fault() {
    let permit = "@id(\"a\") permit (principal, action, resource);";
    let token_info = format!("{REALM}[token_info]\norganizations = \"scopes\"\n");
    let path = "[entities.Scope]\npath = \"/\"";
    let with = |text: &str| RELATIONS.replace(path, text);
    let history = format!("{RELATIONS}[entities.Group]\nhistory_of = \"Scope\"\n");
    let prefixes = format!("{RELATIONS}[entities.Group]\nprefixes = \"scopes\"\n");
    let no_separator = "`path` is not one character that is neither letter, digit nor blank, as in `\"/\"`";
    for (realm, relations, schema, expected) in [
        (
            REALM,
            RELATIONS,
            &*SCHEMA.replace("Scope in [Scope, Group]", "Scope in [Group]"),
            "relations.toml: the ids of `Scope` are paths, but the schema doesn't say `entity Scope in [Scope]`",
        ),
        (
            &*token_info,
            RELATIONS,
            SCHEMA,
            "realm.toml: `token_info.organizations`: the ids of `Scope` are paths, and paths aren't listed",
        ),
        (
            REALM,
            &*prefixes,
            SCHEMA,
            "relations.toml: `scopes` holds prefixes, and the ids of `Scope` are paths, expected one of both",
        ),
        (REALM, &*history, SCHEMA, "the ids of `Scope` are paths, and such a type has no history"),
        (REALM, &*with("[entities.Scope]\npath = \"\""), SCHEMA, no_separator),
        (REALM, &*with("[entities.Scope]\npath = \"::\""), SCHEMA, no_separator),
        (REALM, &*with("[entities.Scope]\npath = \"x\""), SCHEMA, no_separator),
        (
            REALM,
            &*with("[entities.Scope]\npath = \"/\"\nid = \"integer\""),
            SCHEMA,
            "`path` is for ids that are texts, and these are whole numbers",
        ),
        (
            REALM,
            &*with("[entities.Scope]\npath = \"/\"\nprefixes = \"scopes\""),
            SCHEMA,
            "`path` stands beside `prefixes`: an id has its parents from its path or from prefixes",
        ),
        (
            REALM,
            &*with("[entities.Scope]\npath = \"/\"\nhistory_of = \"Group\""),
            SCHEMA,
            "`path` stands beside `history_of`: what a history is in follows from the other type alone",
        ),
    ] {
        let faults: Vec<_> = compile(realm, relations, schema, permit).unwrap_err();
        let faults: Vec<_> = faults.iter().map(|fault| format!("{}: {}", fault.file, fault.message)).collect();
        assert!(faults.iter().any(|fault| fault.contains(expected)), "{expected}: {faults:?}");
    }
}

#[test]
fn a_filter_by_paths_is_given_only_where_no_token_adds_to_them() {
    // The principal is a scope itself: what lies in it is in what its token names too.
    let realm = REALM.replace("\"Client\"", "\"Scope\"");
    let schema = SCHEMA.replace("Scope, Group];", "Scope, Group] { scopes: Set<Scope> };");
    let schema = schema.replace("principal: [Client]", "principal: [Scope]");
    let permit = "@id(\"x\") permit (principal, action, resource) when { resource has scope && resource.scope in Scope::\"x\" };";
    let realm = compile(&realm, RELATIONS, &schema, permit).unwrap();
    let graph = graph(&[]);
    for (scopes, expected) in [(&["x"][..], [true, false]), (&[], [false, true])] {
        let principal = client(&realm, scopes);
        let request = asked(&realm, "notes", &[("scope", "c/d")]);
        let is_allowed = decide(&realm, &principal, &request, &graph).outcome == Outcome::Allowed;
        let answer = row_filter(&realm, &principal, &asked(&realm, "notes", &[]), &graph);
        assert_eq!([is_allowed, matches!(answer, Answer::Filtered(_))], expected, "{scopes:?}: {answer:?}");
    }
}

/// What a policy may ask of a note, and the same asked of the relationships alone. `{}` stands for an id.
const TESTS: [(&str, &str); 11] = [
    ("resource has scope && resource.scope in principal.scopes", "scope<token"),
    ("resource has scope && resource.scope in Scope::\"{}\"", "scope<Scope"),
    ("resource has scope && resource.scope in [Scope::\"{}\", Scope::\"a\"]", "scope<either"),
    ("resource has scope && resource.scope == Scope::\"{}\"", "scope=Scope"),
    ("resource has scope && principal in resource.scope", "client<scope"),
    ("resource has scope && Scope::\"{}\" in resource.scope", "Scope<scope"),
    ("resource has scope && Pupil::\"1\" in resource.scope", "Pupil<scope"),
    ("resource has group && Scope::\"{}\" in resource.group", "Scope<group"),
    ("resource has group && resource.group in Group::\"1\"", "group<Group"),
    ("resource has scope && resource.scope in Group::\"1\"", "scope<Group"),
    ("resource has pupil && resource.pupil in principal.scopes", "pupil<token"),
];

const IDS: [&str; 11] = ["a", "a/b", "a/b/c", "a/b/c/d", "ab", "a/bc", "b", "a//b", "/a", "a/", "b/a"];

/// What is in what, by single steps.
struct Steps {
    related: Vec<(&'static str, String, String)>,
    scopes: Vec<&'static str>,
}

impl Steps {
    fn above(&self, below: &str) -> Vec<String> {
        let mut met = vec![below.to_owned()];
        let mut place = 0;
        while let Some(current) = met.get(place).cloned() {
            place += 1;
            let mut next: Vec<String> =
                self.related.iter().filter(|it| it.1 == current).map(|it| it.2.clone()).collect();
            if current == "Client:c" {
                next.extend(self.scopes.iter().map(|id| format!("Scope:{id}")));
            }
            let segments: Vec<&str> = current.strip_prefix("Scope:").unwrap_or_default().split('/').collect();
            if segments.len() > 1 && segments.iter().all(|segment| !segment.is_empty()) {
                next.push(format!("Scope:{}", segments[..segments.len() - 1].join("/")));
            }
            met.extend(next.into_iter().filter(|it| !met.contains(it)).collect::<Vec<_>>());
        }
        met
    }

    fn holds(&self, test: &str, id: &str, values: &[(&str, &str)]) -> bool {
        let (left, right) = test.split_once(['<', '=']).unwrap();
        let value = |name: &str| values.iter().find(|(known, _)| *known == name).map(|(_, id)| *id);
        let named = |name: &str| match name {
            "scope" => value("scope").map(|id| format!("Scope:{id}")),
            "pupil" => value("pupil").map(|id| format!("Pupil:{id}")),
            "group" => value("group").map(|id| format!("Group:{id}")),
            "client" => Some("Client:c".to_owned()),
            "Scope" => Some(format!("Scope:{id}")),
            other => Some(format!("{other}:1")),
        };
        let Some(left) = named(left) else { return false };
        let above = if test.contains('=') { vec![left] } else { self.above(&left) };
        let right: Vec<String> = match right {
            "token" => self.scopes.iter().map(|id| format!("Scope:{id}")).collect(),
            "either" => vec![format!("Scope:{id}"), "Scope:a".to_owned()],
            right => named(right).into_iter().collect(),
        };
        right.iter().any(|right| above.contains(right))
    }
}

/// What an API makes of the obligation: only ids are compared, no relationship is known.
fn shows(node: &serde_json::Value, values: &[(&str, &str)]) -> bool {
    let list = |name: &str| node[name].as_array();
    if let Some(parts) = list("all") {
        return parts.iter().all(|part| shows(part, values));
    } else if let Some(parts) = list("any") {
        return parts.iter().any(|part| shows(part, values));
    } else if !node["not"].is_null() {
        return !shows(&node["not"], values);
    }
    let Some((_, value)) = values.iter().find(|(name, _)| *name == node["subject"]) else { return false };
    match node["test"].as_str().unwrap() {
        "has_value" => true,
        "one_of" => list("values").unwrap().iter().any(|it| *it == *value),
        "within_path" => {
            let separator = node["separator"].as_str().unwrap();
            let segments: Vec<&str> = value.split(separator).collect();
            let is_path = segments.len() <= 64 && segments.iter().all(|segment| !segment.is_empty());
            let mut ids = list("ids").unwrap().iter().map(|it| it.as_str().unwrap());
            ids.any(|id| id == *value || is_path && value.starts_with(&format!("{id}{separator}")))
        }
        "within" | "contains" => {
            // What has no paths on its way: groups in groups.
            assert_eq!(node["entity_type"], "Group");
            list("expanded_ids").unwrap().iter().any(|it| *it == *value)
        }
        other => panic!("unknown test `{other}`"),
    }
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Long(number) => json!(number),
        Value::String(text) => json!(&**text),
        Value::Entity(entity) => json!(entity.to_string()),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.to_string(), json_of(value))).collect(),
        Value::Null => serde_json::Value::Null,
    }
}

/// A test, the id in it, and whether it must not hold.
type Drawn = (usize, usize, bool);

fn clause((test, id, is_not): Drawn) -> String {
    let text = TESTS[test].0.replace("{}", IDS[id]);
    format!("when {{ {}({text}) }}", if is_not { "!" } else { "" })
}

fn is_met(steps: &Steps, clauses: &[Drawn], values: &[(&str, &str)]) -> bool {
    clauses.iter().all(|(test, id, is_not)| steps.holds(TESTS[*test].1, IDS[*id], values) != *is_not)
}

fn drawn() -> impl Strategy<Value = Vec<Drawn>> {
    prop::collection::vec((0..TESTS.len(), 0..IDS.len(), prop::bool::weighted(0.3)), 1..3)
}

fn check_drawn(
    related: &[(usize, usize, usize)],
    scopes: &[usize],
    [permit, forbid]: [&[Drawn]; 2],
    notes: &[[Option<usize>; 3]],
    is_under: bool,
    seen: &Seen,
) -> Result<(), TestCaseError> {
    let ends = |(kind, one, other): &(usize, usize, usize)| match kind % 5 {
        0 => ("scope_in", format!("Scope:{}", IDS[*one]), format!("Group:{}", other % 2)),
        1 => ("pupil_at", format!("Pupil:{}", one % 2), format!("Scope:{}", IDS[*other])),
        2 => ("group_in", format!("Group:{}", one % 2), format!("Group:{}", other % 2)),
        3 => ("client_at", "Client:c".to_owned(), format!("Scope:{}", IDS[*other])),
        _ if is_under => ("under", format!("Scope:{}", IDS[*one]), format!("Scope:{}", IDS[*other])),
        _ => ("pupil_at", format!("Pupil:{}", one % 2), format!("Scope:{}", IDS[*other])),
    };
    let scopes: Vec<&'static str> = scopes.iter().map(|place| IDS[*place]).collect();
    let steps = Steps { related: related.iter().map(ends).collect(), scopes };
    let triples: Vec<(&str, &str, &str)> =
        steps.related.iter().map(|(relation, subject, object)| (&**subject, *relation, &**object)).collect();
    let mut unique = triples.clone();
    unique.sort_unstable();
    unique.dedup();
    let graph = graph(&unique);
    let text = |effect: &str, clauses: &[Drawn]| {
        let clauses: Vec<String> = clauses.iter().copied().map(clause).collect();
        format!("@id(\"{effect}\") {effect} (principal, action, resource) {};\n", clauses.join("\n"))
    };
    let policies = format!("{}{}", text("permit", permit), text("forbid", forbid));
    let relations = if is_under { format!("{RELATIONS}{UNDER}") } else { RELATIONS.to_owned() };
    let realm = compile(REALM, &relations, SCHEMA, &policies).unwrap();
    let principal = client(&realm, &steps.scopes);
    let answer = row_filter(&realm, &principal, &asked(&realm, "notes", &[]), &graph);
    let said = match &answer {
        Answer::Filtered(filter) => {
            let resource_type = &realm.resource_types["notes"];
            let parameters = obligation(filter, &realm, &principal, resource_type, &graph).parameters;
            Some((filter, json_of(&Value::Record(parameters))))
        }
        _ => None,
    };
    if answer == Answer::Inexpressible {
        Seen::more(&seen.inexpressible);
    }
    for [scope, pupil, group] in notes {
        let values: Vec<(&str, &str)> = [
            scope.map(|place| ("scope", IDS[place])),
            pupil.map(|place| ("pupil", ["0", "1"][place % 2])),
            group.map(|place| ("group", ["0", "1"][place % 2])),
        ]
        .into_iter()
        .flatten()
        .collect();
        let request = asked(&realm, "notes", &values);
        let is_allowed = decide(&realm, &principal, &request, &graph).outcome == Outcome::Allowed;
        let expected = is_met(&steps, permit, &values) && !is_met(&steps, forbid, &values);
        prop_assert_eq!(is_allowed, expected, "{:?} by {:?}\n{}", values, steps.related, policies);
        if let Some((filter, tree)) = &said {
            let passes = holds(filter, &realm, &principal, &request.phases[0].values, &graph);
            prop_assert_eq!(passes, expected, "{:?} by {:?}\n{}{:?}", values, steps.related, policies, filter);
            let shown = match tree["decision"].as_str().unwrap() {
                "all" => true,
                "none" => false,
                _ => shows(&tree["filter"], &values),
            };
            prop_assert_eq!(shown, expected, "{:?} by {:?}\n{}{}", values, steps.related, policies, tree);
            if tree["decision"] == "conditional" {
                Seen::more(if shown { &seen.shown } else { &seen.hidden });
            }
        }
    }
    check_search(&realm, &principal, &graph, &steps)
}

/// A search passes by no item that may be read.
fn check_search(realm: &Realm, principal: &Principal, graph: &Graph, steps: &Steps) -> Result<(), TestCaseError> {
    for (resource_type, attribute, ids) in [("scopes", "scope", &IDS[..]), ("pupils", "pupil", &["0", "1"])] {
        let filter = match row_filter(realm, principal, &asked(realm, resource_type, &[]), graph) {
            Answer::Filtered(filter) => Some(filter),
            Answer::Refused(_) => continue,
            Answer::Inexpressible => None,
        };
        let item = realm.relations.item(resource_type).unwrap();
        let resource_type = &realm.resource_types[resource_type];
        for within in [None, Some(entity("Scope:a")), Some(entity("Group:1"))] {
            let scope = Scope { item, resource_type, filter: filter.as_ref(), within: within.as_ref() };
            let known = known_items(realm, principal, graph, scope);
            let found: Vec<String> =
                (0..known.ids.len()).filter_map(|at| known.ids.get(at)).map(str::to_owned).collect();
            for id in ids.iter().filter(|id| graph.node(&item.entity, id).is_some_and(|node| graph.is_known(node))) {
                let request = asked(realm, &resource_type.name, &[(attribute, id)]);
                let is_there = within.as_ref().is_none_or(|within| is_within(realm, graph, &request, within));
                let named = format!("{}:{id}", item.entity);
                let lies_there = within
                    .as_ref()
                    .is_none_or(|it| steps.above(&named).contains(&format!("{}:{}", it.entity_type, it.id)));
                prop_assert_eq!(is_there, lies_there, "{} within {:?}", named, within);
                if is_there && decide(realm, principal, &request, graph).outcome == Outcome::Allowed {
                    prop_assert!(found.iter().any(|it| it == id), "{} of {:?} within {:?}", named, found, within);
                }
            }
        }
    }
    Ok(())
}

#[derive(Debug, Default)]
struct Seen {
    inexpressible: Cell<usize>,
    shown: Cell<usize>,
    hidden: Cell<usize>,
}

impl Seen {
    fn more(count: &Cell<usize>) {
        count.set(count.get() + 1);
    }
}

#[test]
fn decisions_filters_and_searches_follow_paths_alike() {
    let config = ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() };
    let mut runner = TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha));
    let seen = Seen::default();
    let note = prop::array::uniform3(prop::option::weighted(0.8, 0..IDS.len()));
    let drawn = (
        prop::collection::vec((0_usize..5, 0..IDS.len(), 0..IDS.len()), 0..10),
        prop::collection::vec(0..IDS.len(), 0..3),
        (drawn(), drawn()),
        prop::collection::vec(note, 12),
        prop::bool::weighted(0.3),
    );
    let checked = runner.run(&drawn, |(related, scopes, (permit, forbid), notes, is_under)| {
        check_drawn(&related, &scopes, [&permit, &forbid], &notes, is_under, &seen)
    });
    assert!(checked.is_ok(), "{}", checked.unwrap_err());
    let is_enough = seen.inexpressible.get() > 40 && seen.shown.get() > 150 && seen.hidden.get() > 150;
    assert!(is_enough, "{seen:?}");
}
