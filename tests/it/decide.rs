//! Deciding: what a policy looks at is there when it is evaluated, wherever it looks.

mod draw;
mod filtered;
mod generated;
mod oracle;
pub(crate) mod realm;

use hallpass::domain::{decision::Outcome, graph::Graph, id::Revision};

use realm::{Asked, compiled, compiled_with, decided, graph, person, relate};

/// Everybody may do everything, but for what the one rule forbids.
fn forbidding(scope: &str, clauses: &str) -> String {
    format!("@id(\"all\") permit (principal, action, resource);\n@id(\"one\") forbid ({scope}) {clauses};")
}

/// The relationships that all these cases share: part 1 is in the closed part of the house.
const RELATED: [(&str, &str, &str); 7] = [
    ("Part::1", "part_of", "Part::closed"),
    ("Document::d", "filed", "Part::1"),
    ("Person::p", "member", "Part::1"),
    ("Person::q", "member", "Part::1"),
    ("Shadow::q", "shadow_in", "Part::1"),
    ("Shadow::p", "shadow_in", "Part::1"),
    ("Part::7", "part_of", "Part::closed"),
];

fn outcome(scope: &str, clauses: &str, asked: &Asked<'_>) -> Outcome {
    let realm = compiled(&[&forbidding(scope, clauses)]);
    let principal = person(&realm, "p", asked.claims);
    decided(&realm, &principal, asked, &graph(&RELATED)).outcome
}

/// The person `p` updates the document `d`.
const DOCUMENT: Asked<'static> = Asked { resource: ("Document", "d"), ..Asked::ANY };

const ANY: &str = "principal, action, resource";

/// What asks, what forbids, and whose question it is.
const LOOKS: &[(&str, &str, Asked<'_>)] = &[
("the resource", "when { resource in Part::\"closed\" }", DOCUMENT),
("the resource, by type", "when { resource is Document in Part::\"closed\" }", DOCUMENT),
("the principal's own relationships", "when { principal in Part::\"closed\" }", DOCUMENT),
("the action's group", "when { action in Action::\"change\" }", DOCUMENT),
(
    "an entity of the principal",
    "when { principal has home && principal.home in Part::\"closed\" }",
    Asked { claims: r#"{"home": "1"}"#, ..DOCUMENT },
),
(
    "an entity of the context",
    "when { context has place && context.place in Part::\"closed\" }",
    Asked { context: r#"{"place": "1"}"#, ..DOCUMENT },
),
("an entity that the policy names", "when { Part::\"1\" in Part::\"closed\" }", DOCUMENT),
(
    "an entity within a record",
    "when { resource is Document && resource has spot && resource.spot.part in Part::\"closed\" }",
    Asked { values: r#"{"spot": {"part": "1"}}"#, ..DOCUMENT },
),
(
    "an entity that is picked on the way",
    "when { resource is Document && (if resource has part then resource.part else Part::\"2\") in Part::\"closed\" }",
    Asked { values: r#"{"part": "1"}"#, ..DOCUMENT },
),
(
    "a named entity that is picked on the way",
    "when { (if context.flag then Part::\"2\" else Part::\"1\") in Part::\"closed\" }",
    DOCUMENT,
),
(
    "an entity taken out of a record that the policy makes",
    "when { resource is Document && resource has part && {x: resource.part}.x in Part::\"closed\" }",
    Asked { values: r#"{"part": "1"}"#, ..DOCUMENT },
),
(
    "an attribute of what is picked on the way",
    "when { resource is Document }
     when { (if context.flag then resource else resource) has part && (if context.flag then resource else resource).part in Part::\"closed\" }",
    Asked { values: r#"{"part": "1"}"#, ..DOCUMENT },
),
(
    "the principal as a value of the resource",
    "when { resource is Document && resource has owner && resource.owner in Part::\"closed\" }",
    Asked { values: r#"{"owner": "p"}"#, ..DOCUMENT },
),
(
    "the resource as a value of itself",
    "when { resource is Document && resource has next && resource.next in Part::\"closed\" }",
    Asked { values: r#"{"next": "d"}"#, ..DOCUMENT },
),
(
    "what the principal links to",
    "when { principal has shadow && principal.shadow in Part::\"closed\" }",
    DOCUMENT,
),
(
    "what a value links to that is named twice",
    "when { resource is Document && resource has owner && resource has peer }
     when { resource.owner in Part::\"1\" } when { resource.peer has shadow } when { resource.peer.shadow in Part::\"closed\" }",
    Asked { values: r#"{"owner": "q", "peer": "q"}"#, ..DOCUMENT },
),
    (
        "a value that is named twice, and first only for what it links to",
        "when { resource is Document && resource has owner && resource.owner has shadow && resource has peer }
         when { resource.owner.shadow in Part::\"1\" } when { resource.peer in Part::\"closed\" }",
        Asked { values: r#"{"owner": "q", "peer": "q"}"#, ..DOCUMENT },
    ),
(
    "the principal by a link of a value",
    "when { resource is Document && resource has owner && resource.owner has shadow && resource.owner.shadow in Part::\"closed\" }",
    Asked { values: r#"{"owner": "p"}"#, ..DOCUMENT },
),
];

#[test]
fn a_forbid_finds_what_contains_the_entity_that_it_asks_about() {
    let outcomes = LOOKS.iter().map(|(name, clauses, asked)| (name, outcome(ANY, clauses, asked)));
    let wrong: Vec<_> = outcomes.filter(|(_, outcome)| *outcome != Outcome::Forbidden).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn a_forbid_by_scope_finds_what_contains_principal_resource_and_action() {
    let scopes = [
        "principal in Part::\"closed\", action, resource",
        "principal is Person in Part::\"closed\", action, resource",
        "principal == Person::\"p\", action, resource in Part::\"closed\"",
        "principal, action, resource in Part::\"closed\"",
        "principal, action in Action::\"change\", resource is Document in Part::\"closed\"",
        "principal, action in [Action::\"change\"], resource",
        "principal in Person::\"p\", action, resource in Document::\"d\"",
    ];
    let outcomes = scopes.map(|scope| (scope, outcome(scope, "", &DOCUMENT)));
    let wrong: Vec<_> = outcomes.iter().filter(|(_, outcome)| *outcome != Outcome::Forbidden).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn an_id_in_another_form_does_not_escape_a_forbid() {
    for id in ["7", "007", " 7", "+7"] {
        let asked = Asked { resource: ("Room", id), ..Asked::ANY };
        let realm = compiled(&[&forbidding("principal, action, resource in Part::\"closed\"", "")]);
        let graph = graph(&[("Room::7", "room_of", "Part::closed")]);
        let decision = decided(&realm, &person(&realm, "p", "{}"), &asked, &graph);
        assert_eq!(decision.outcome, Outcome::Forbidden, "`{id}`");
    }
}

#[test]
fn a_resource_id_of_the_wrong_form_is_a_fault_of_the_question() {
    let realm = compiled(&[&forbidding(ANY, "")]);
    let asked = Asked { resource: ("Room", "seven"), ..Asked::ANY };
    let faults = asked.check(&realm).unwrap_err();
    assert_eq!((&*faults[0].field, &*faults[0].message), ("resource.id", "is another value, expected a whole number"));
}

#[test]
fn what_contained_the_principal_is_forgotten_when_any_relationship_on_the_way_goes() {
    let realm = compiled(&["@id(\"area\") permit (principal in Area::\"north\", action, resource);"]);
    let principal = person(&realm, "p", r#"{"parts": ["1"]}"#);
    let asked = Asked { resource: ("Document", "d"), ..Asked::ANY };
    let mut graph = Graph::new();
    relate(&mut graph, 1, "Part::1", "part_of", "Part::2", true);
    relate(&mut graph, 1, "Part::2", "in_area", "Area::south", true);
    relate(&mut graph, 1, "Area::south", "area_of", "Area::north", true);
    graph.set_revision(Revision(1));
    assert_eq!(decided(&realm, &principal, &asked, &graph).outcome, Outcome::Allowed);
    relate(&mut graph, 2, "Area::south", "area_of", "Area::north", false);
    assert_eq!(decided(&realm, &principal, &asked, &graph).outcome, Outcome::NotPermitted);
    relate(&mut graph, 3, "Area::south", "area_of", "Area::north", true);
    assert_eq!(decided(&realm, &principal, &asked, &graph).outcome, Outcome::Allowed);
}

#[test]
fn an_action_that_does_not_apply_to_the_realms_principals_is_a_fault_of_the_question() {
    let purge = "entity Auditor; action Purge appliesTo { principal: [Auditor], resource: [Document], context: { flag: Bool } };";
    let realm = compiled_with(purge, &["@id(\"all\") permit (principal, action, resource);"]);
    let asked = Asked { action: "Purge", resource: ("Document", "d"), ..Asked::ANY };
    let faults = asked.check(&realm).unwrap_err();
    assert_eq!(&*faults[0].message, "action `Purge` does not apply to principals of type `Person`");
}

#[test]
fn the_principal_may_be_the_resource_when_token_and_values_agree() {
    let realm = compiled(&[
        "@id(\"self\") permit (principal, action, resource is Person) when { resource == principal && resource.level > 3 };",
        "@id(\"closed\") forbid (principal, action, resource in Part::\"closed\");",
    ]);
    let asked = |level: &'static str| Asked {
        claims: r#"{"level": 4, "parts": []}"#,
        resource: ("Person", "p"),
        values: level,
        ..Asked::ANY
    };
    for (level, related, expected) in [
        (r#"{"level": 4, "parts": []}"#, false, Outcome::Allowed),
        (r#"{"level": 5, "parts": []}"#, false, Outcome::Indeterminate),
        (r#"{"level": 4, "parts": []}"#, true, Outcome::Forbidden),
    ] {
        let graph = if related { graph(&RELATED) } else { Graph::new() };
        let asked = asked(level);
        let principal = person(&realm, "p", asked.claims);
        assert_eq!(decided(&realm, &principal, &asked, &graph).outcome, expected, "{level}");
    }
}

#[test]
fn two_actions_of_the_same_id_are_a_fault_of_the_schema() {
    let schema = "namespace A { entity U; action Read appliesTo { principal: [U], resource: [U] }; }
         namespace B { entity U; action Read appliesTo { principal: [U], resource: [U] }; }";
    let faults = hallpass::domain::schema::RealmSchema::parse("schema.cedarschema", schema).unwrap_err();
    assert!(faults[0].message.starts_with("two actions have the id `Read`"), "{faults:?}");
}
