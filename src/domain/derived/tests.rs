//! A library of books: who may borrow what, by a table of calls and by consents that hold for a shelf of a branch.

mod faults;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::domain::{
    access_request::{AccessRequest, FieldFault, Question},
    decide::decide,
    decision::{Decision, Outcome},
    graph::Graph,
    id::EntityId,
    policy_set::SourceFile,
    principal::Principal,
    realm::Realm,
    relationship::{Record, RecordKey, Relationship},
    row_filter::{Answer, holds, row_filter},
    value::Attributes,
};

const REALM: &str = r#"
title = "Library"
[principal]
entity = "Reader"
id = "sub"
[principal.attributes.branch]
claim = "branch"
[principal.attributes.level]
claim = "level"
[principal.attributes.cards]
claim = "cards"
separator = ","
[settings]
region = "north"
[trusted]
"*" = ["shelf", "owner", "code", "tags"]
context = ["desk"]
"#;

const SCHEMA: &str = r"
entity Desk;
entity Consent in [Desk];
entity Card;
entity Reader { branch?: String, level?: Long, cards: Set<Card> };
entity Book { shelf?: String, owner?: Reader, code?: String, tags?: Set<String> };
type Call = { name: String, levels?: Set<Long>, desk?: Desk, isOpen: Bool };
type Told = {
    desk?: Desk, call?: Call, consent?: Consent, region?: String, org?: String, isBig?: Bool, level?: Long,
    mine?: Reader, phase: String, settings: { region: String },
};
action borrow, look appliesTo { principal: [Reader], resource: [Book], context: Told };
";

const RELATIONS: &str = r#"
[relations.given_at]
subject = "Consent"
object = "Desk"
"#;

const CALLS: &str = r#"{
    "borrow": { "name": "B", "levels": [1, 2], "desk": "d1", "isOpen": true },
    "look|Book": { "name": "L", "isOpen": false }
}"#;

const DERIVED: &str = r#"
[context.call]
table = "calls.json"
key = ["{action}", "{action}|{resource.type}"]
[context.consent]
value = "{context.call.desk}|{principal.branch}|{resource.shelf}"
[context.region]
value = "{settings.region}"
[context.org]
value = "{resource.code}"
forms = ["v1:{org}+{run} => {org}", "{org}/{run} => {org}"]
case = "lower"
[context.mine]
value = ["{resource.owner}", "{principal.id}"]
[context.level]
value = "{principal.level}"
"#;

fn files(derived: &str, policies: &str) -> Vec<SourceFile> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    vec![
        file("realm.toml", &format!("{REALM}{derived}")),
        file("schema.cedarschema", SCHEMA),
        file("relations.toml", RELATIONS),
        file("calls.json", CALLS),
        file("rules.cedar", policies),
    ]
}

fn realm(derived: &str, policies: &str) -> Realm {
    Realm::compile(&files(derived, policies), None).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn reader(realm: &Realm, claims: &str) -> Principal {
    let mut claims: serde_json::Value = serde_json::from_str(claims).unwrap();
    claims["sub"] = "ann".into();
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

fn texts(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(name, text)| (Arc::from(*name), Value::String((*text).into()))).collect()
}

/// A question about book `b`, with stored and proposed values.
fn question(action: &str, values: [Option<&[(&str, &str)]>; 2], context: &[(&str, &str)]) -> Question {
    let [attributes, proposed] = values.map(|values| values.map(texts));
    let (action, resource_type, resource_id) = (action.into(), "Book".into(), "b".into());
    Question {
        action,
        resource_type,
        resource_id,
        attributes,
        proposed,
        context: texts(context),
        ..Question::default()
    }
}

fn checked(realm: &Realm, question: &Question) -> AccessRequest {
    AccessRequest::check(realm, question).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn decided(realm: &Realm, claims: &str, question: &Question, graph: &Graph) -> Decision {
    decide(realm, &reader(realm, claims), &checked(realm, question), graph)
}

/// The derived members of each phase.
fn filled(realm: &Realm, claims: &str, question: &Question) -> Vec<BTreeMap<String, Value>> {
    let (principal, request) = (reader(realm, claims), checked(realm, question));
    let phases = request.phases.iter().map(|values| {
        let filled = realm.derived.of(&realm.relations, &principal, &request, values);
        filled.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    });
    phases.collect()
}

fn entity(entity_type: &str, id: &str) -> Value {
    Value::Entity(EntityId::new(entity_type, id))
}

fn text(text: &str) -> Value {
    Value::String(text.into())
}

const ANY: &str = "@id(\"any\") permit (principal, action, resource);";
const KNOWN: &str = r#"{"branch": "East|1", "level": 7, "cards": "c1"}"#;

#[test]
fn rows_and_values_are_made_of_what_is_known() {
    let realm = realm(DERIVED, ANY);
    let values: &[(&str, &str)] = &[("shelf", "s|2"), ("code", "v1:ORG+r1"), ("owner", "bob")];
    let found = filled(&realm, KNOWN, &question("borrow", [Some(values), None], &[])).remove(0);
    let call = &found["call"];
    let Value::Record(call) = call else { panic!("{call:?} is no row") };
    assert_eq!((call.get("name"), call.get("desk")), (Some(&text("B")), Some(&entity("Desk", "d1"))));
    assert_eq!(found["consent"], entity("Consent", "d1|East%7C1|s%7C2"));
    assert_eq!((&found["region"], &found["org"], &found["level"]), (&text("north"), &text("org"), &Value::Long(7)));
    assert_eq!(found["mine"], entity("Reader", "bob"));
    let found = filled(&realm, r#"{"cards": ""}"#, &question("look", [None, None], &[])).remove(0);
    let Value::Record(call) = &found["call"] else { panic!("the second key has a row") };
    assert_eq!(call.get("name"), Some(&text("L")));
    let names: Vec<&str> = found.keys().map(String::as_str).collect();
    assert_eq!(names, ["call", "mine", "region"], "what lacks a value is not there");
    assert_eq!(found["mine"], entity("Reader", "ann"), "the first text with all its values");
}

#[test]
fn a_value_that_is_none_of_its_type_is_not_there() {
    let derived = "[context.isBig]\nvalue = \"{resource.shelf}\"\n[context.level]\nvalue = \"{resource.code}\"\n\
                   [context.consent]\nvalue = \"{resource.shelf}\"\n";
    let realm = realm(derived, ANY);
    for (values, expected) in [
        (&[("shelf", "true"), ("code", "-3")][..], &["consent", "isBig", "level"][..]),
        (&[("shelf", "yes"), ("code", "3.0")], &["consent"]),
        (&[("shelf", " "), ("code", "")], &[]),
        (&[("shelf", &"x".repeat(513))], &[]),
    ] {
        let found = filled(&realm, KNOWN, &question("look", [Some(values), None], &[])).remove(0);
        assert_eq!(found.keys().collect::<Vec<_>>(), expected, "{values:?}");
    }
}

#[test]
fn each_phase_has_its_own_values() {
    let rule =
        "@id(\"shelf\") forbid (principal, action, resource) unless { context has org && context.org == \"a\" };";
    let realm = realm(DERIVED, &format!("{ANY}{rule}"));
    let [a, b] = [&[("code", "A/1")][..], &[("code", "B/1")]];
    for (values, expected) in [
        ([Some(a), Some(a)], Outcome::Allowed),
        ([Some(a), Some(b)], Outcome::Forbidden),
        ([Some(b), Some(a)], Outcome::Forbidden),
        ([None, Some(a)], Outcome::Allowed),
        ([None, None], Outcome::Forbidden),
    ] {
        let decision = decided(&realm, KNOWN, &question("look", values, &[]), &Graph::new());
        assert_eq!(decision.outcome, expected, "{values:?}");
    }
}

#[test]
fn what_contains_a_derived_entity_counts() {
    let rule = "@id(\"given\") permit (principal, action, resource)
        when { context has consent && context has call && context.call has desk && context.consent in context.call.desk };";
    let realm = realm(DERIVED, rule);
    let mut graph = Graph::new();
    let relationship = Relationship {
        subject: EntityId::new("Consent", "d1|East|s"),
        relation: "given_at".into(),
        object: EntityId::new("Desk", "d1"),
    };
    let key = RecordKey { resource: RecordKey::DIRECT.into(), key: "1".into() };
    graph.insert(&Record::new(key, vec![relationship], None));
    for (branch, shelf, expected) in
        [("East", "s", Outcome::Allowed), ("East", "t", Outcome::NotPermitted), ("East|s", "", Outcome::NotPermitted)]
    {
        let claims = format!(r#"{{"branch": "{branch}", "cards": ""}}"#);
        let values: &[(&str, &str)] = &[("shelf", shelf)];
        let asked = question("borrow", [Some(values), None], &[]);
        assert_eq!(decided(&realm, &claims, &asked, &graph).outcome, expected, "{branch} {shelf}");
        assert_eq!(decided(&realm, &claims, &asked, &graph).outcome, expected, "asked again");
    }
}

#[test]
fn a_permit_that_only_what_is_derived_from_the_resource_kept_away_says_why() {
    let rules = "@id(\"org\") @reason(\"RELATIONSHIP_MISSING\") permit (principal, action, resource)
        when { context has level && context.level > 5 } when { context has org && context.org == \"a\" };";
    let realm = realm(DERIVED, rules);
    let values: &[(&str, &str)] = &[("code", "B/1")];
    for (claims, expected) in [(KNOWN, "RELATIONSHIP_MISSING"), (r#"{"level": 3, "cards": ""}"#, "NO_POLICY_PERMITS")] {
        let decision = decided(&realm, claims, &question("look", [Some(values), None], &[]), &Graph::new());
        assert_eq!((decision.outcome, &*decision.reasons[0].code), (Outcome::NotPermitted, expected));
    }
}

#[test]
fn contexts_that_are_kept_ready_hold_nothing_of_another_question() {
    let rule = "@id(\"level\") permit (principal, action, resource) when { context has level && context.level > 5 };";
    let realm = realm(DERIVED, rule);
    for (level, expected) in [(7, Outcome::Allowed), (3, Outcome::NotPermitted), (6, Outcome::Allowed)] {
        let claims = format!(r#"{{"level": {level}, "cards": ""}}"#);
        let asked = question("look", [None, None], &[]);
        assert_eq!(decided(&realm, &claims, &asked, &Graph::new()).outcome, expected, "{level}");
    }
    let asked = question("look", [None, None], &[]);
    let decision = decided(&realm, r#"{"cards": ""}"#, &asked, &Graph::new());
    assert_eq!(decision.outcome, Outcome::NotPermitted, "no level");
}

#[test]
fn what_is_the_same_for_every_question_is_settled_when_the_realm_is_loaded() {
    let realm = realm(DERIVED, ANY);
    let open = |action: &str| realm.derived.actions[action].open.len();
    let settled = |action: &str| {
        let names: Vec<String> = realm.derived.settled(action).iter().map(ToString::to_string).collect();
        names.join(" ")
    };
    // A key that no row needs is asked for at every decision; the row of `borrow` holds an entity.
    assert_eq!((settled("borrow"), open("borrow")), ("region".to_owned(), 5));
    let by_action = "[context.call]\ntable = \"calls.json\"\nkey = \"{action}\"\n[context.isBig]\n\
                     value = \"{context.call.isOpen}\"\n";
    let realm = self::realm(
        by_action,
        "@id(\"open\") permit (principal, action, resource) when { context has isBig && context.isBig };",
    );
    for (action, expected) in [("borrow", Outcome::Allowed), ("look", Outcome::NotPermitted)] {
        assert_eq!(realm.derived.settled(action), [Arc::from("isBig")], "{action}");
        assert!(realm.derived.actions[action].open.is_empty());
        let asked = question(action, [None, None], &[]);
        assert_eq!(decided(&realm, KNOWN, &asked, &Graph::new()).outcome, expected, "{action}");
    }
}

#[test]
fn what_others_need_is_made_also_where_the_action_does_not_declare_it() {
    let schema = SCHEMA.replace(
        "action borrow, look",
        "action count appliesTo { principal: [Reader], resource: [Book], context: { isBig?: Bool } };\naction borrow, look",
    );
    let derived = "[context.isBig]\nvalue = \"{context.call.isOpen}\"\n[context.call]\ntable = \"calls.json\"\n\
                   key = \"{context.region}\"\n[context.region]\nvalue = \"borrow\"\n";
    let mut files = files(derived, ANY);
    files[1].content = schema;
    let realm = Realm::compile(&files, None).unwrap();
    let found = filled(&realm, KNOWN, &question("count", [None, None], &[])).remove(0);
    assert_eq!(found.into_iter().collect::<Vec<_>>(), [("isBig".to_owned(), Value::Bool(true))]);
}

#[test]
fn tables_may_be_toml_and_rows_any_type() {
    let derived = "[context.level]\ntable = \"levels.toml\"\nkey = \"{principal.branch}\"\n";
    let mut files = files(derived, ANY);
    files.push(SourceFile { path: "levels.toml".into(), content: "\"East|1\" = 3\nWest = 4\n".into() });
    let realm = Realm::compile(&files, None).unwrap();
    let found = filled(&realm, KNOWN, &question("look", [None, None], &[])).remove(0);
    assert_eq!(found["level"], Value::Long(3));
}

#[test]
fn a_caller_cannot_set_what_the_host_fills_in() {
    let realm = realm(DERIVED, ANY);
    let refused = |context: &[(&str, &str)]| {
        let faults: Vec<FieldFault> =
            AccessRequest::check(&realm, &question("look", [None, None], context)).err().unwrap_or_default();
        faults.into_iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect::<Vec<_>>()
    };
    assert_eq!(refused(&[("desk", "d9")]), [""; 0]);
    assert_eq!(
        refused(&[("consent", "d1|a|b"), ("region", "south"), ("isBig", "x"), ("other", "x")]),
        [
            "context.consent is filled in by the service, expected desk",
            "context.isBig is not believed of a caller, as `[trusted]` of the realm has it, expected desk",
            "context.other is not declared for this action, expected desk",
            "context.region is filled in by the service, expected desk",
        ]
    );
    let search = AccessRequest::without_values(&realm, &question("look", [None, None], &[("level", "1")]));
    assert_eq!(search.unwrap_err()[0].field, "context.level");
}

#[test]
fn what_the_caller_says_fills_placeholders_where_it_is_believed() {
    let realm = realm("[context.consent]\nvalue = \"{context.desk}|{action}\"\n", ANY);
    let found = filled(&realm, KNOWN, &question("look", [None, None], &[("desk", "d|9")])).remove(0);
    assert_eq!(found["consent"], entity("Consent", "d%7C9|look"));
    assert!(filled(&realm, KNOWN, &question("look", [None, None], &[]))[0].is_empty());
}

/// Conditions over derived members, some of which depend on the resource.
const CONDITIONS: [&str; 17] = [
    "context has call && context.call.isOpen",
    "!(context has call)",
    "context has level && context.level > 5",
    "context has level && context.level + 9223372036854775805 > 0",
    "context has consent",
    "context has consent && context has call && context.call has desk && context.consent in context.call.desk",
    "context has org && context.org == \"a\"",
    "context has org && context.org like \"a*\"",
    "context has mine && context.mine == principal",
    "context has mine && resource has owner && context.mine == resource.owner",
    "context has org || context has region",
    "{\"x\": context}.x has org",
    "context has region && [context.region, \"a\"].contains(\"north\")",
    "resource has shelf && resource.shelf == \"s\"",
    "resource has owner && resource.owner == principal",
    "if context has org then resource has shelf else false",
    "context has region && context.region == \"north\" && (context has level || context has org)",
];

/// The realms of the property, by the places of their policies' conditions.
fn drawn_realm(rules: &[(bool, bool, usize)]) -> Realm {
    let rules = rules.iter().enumerate().map(|(place, (permits, holds, condition))| {
        let effect = if *permits { "permit" } else { "forbid" };
        let block = if *holds { "when" } else { "unless" };
        let condition = CONDITIONS[condition % CONDITIONS.len()];
        format!("@id(\"p{place}\") {effect} (principal, action, resource) {block} {{ {condition} }};\n")
    });
    realm(DERIVED, &rules.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn a_filter_lets_through_what_the_decision_allows_or_says_that_it_cannot_say(
        rules in prop::collection::vec((prop::bool::weighted(0.7), prop::bool::weighted(0.8), 0_usize..17), 1..4),
        claims in prop::sample::select(vec![KNOWN, r#"{"cards": ""}"#, r#"{"branch": "East", "level": 3, "cards": ""}"#]),
        action in prop::sample::select(vec!["borrow", "look"]),
        books in prop::collection::vec(prop::collection::vec((0_usize..3, prop::bool::weighted(0.7)), 3), 6),
        is_given in any::<bool>(),
    ) {
        let realm = drawn_realm(&rules);
        let mut graph = Graph::new();
        if is_given {
            let relationship = Relationship {
                subject: EntityId::new("Consent", "d1|East|s"), relation: "given_at".into(), object: EntityId::new("Desk", "d1"),
            };
            let key = RecordKey { resource: RecordKey::DIRECT.into(), key: "1".into() };
            graph.insert(&Record::new(key, vec![relationship], None));
        }
        let principal = reader(&realm, claims);
        let all = AccessRequest::without_values(&realm, &question(action, [None, None], &[])).unwrap();
        let answer = row_filter(&realm, &principal, &all, &graph);
        for book in &books {
            let pools = [("shelf", ["s", "t", ""]), ("code", ["A/1", "b/2", "none"]), ("owner", ["ann", "bob", "eve"])];
            let values: Vec<(&str, &str)> = pools.iter().zip(book)
                .filter(|(_, (_, is_there))| *is_there)
                .map(|((name, pool), (place, _))| (*name, pool[*place]))
                .collect();
            let request = checked(&realm, &question(action, [Some(&values), None], &[]));
            let outcome = decide(&realm, &principal, &request, &graph).outcome;
            let passes = match &answer {
                Answer::Inexpressible => continue,
                Answer::Refused(_) => false,
                Answer::Filtered(filter) => holds(filter, &realm, &principal, &request.phases[0].values, &graph),
            };
            prop_assert_eq!(passes, outcome == Outcome::Allowed, "{:?} of {:?}: {:?}", rules, values, answer);
        }
    }
}

#[test]
fn a_filter_is_exact_unless_it_would_have_to_know_the_resource() {
    let answer = |condition: &str| {
        let policy = format!("@id(\"p\") permit (principal, action, resource) when {{ {condition} }};");
        let realm = realm(DERIVED, &policy);
        let request = AccessRequest::without_values(&realm, &question("borrow", [None, None], &[])).unwrap();
        row_filter(&realm, &reader(&realm, KNOWN), &request, &Graph::new())
    };
    for (condition, is_exact) in [
        ("context has call && context.call.isOpen", true),
        ("context has level && context.level == 7", true),
        ("context has region && context.region == \"north\" && resource has shelf", true),
        ("context has consent", false),
        ("context has org && context.org == \"a\"", false),
        ("{\"x\": context}.x has mine", false),
        ("context has level && context.level == 8 && context has org", true),
    ] {
        assert_eq!(answer(condition) != Answer::Inexpressible, is_exact, "{condition}");
    }
}
