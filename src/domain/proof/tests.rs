//! Claims and what they come to, without a solver: what one would say is made by hand.

use cedar_policy::{Context, Entities, EntityUid, Request, RestrictedExpression};
use cedar_policy_symcc::Env;

use super::{
    claim::{Claim, Inquiry, Role},
    counterexample::{Counterexample, Facts},
    *,
};
use crate::domain::{
    id::EntityId,
    value::{Attributes, Value},
};

const REALM: &str = "
title = 'Shelves'
[principal]
entity = 'Clerk'
id = 'sub'
[principal.attributes.level]
claim = 'level'
[principal.attributes.flags]
claim = 'flags'
[trusted]
context = ['open', 'note']
";

const SCHEMA: &str = "
entity Room in [Room];
entity Clerk in [Room] { level: Long, flags: Set<String>, home?: Room };
entity Shelf in [Room];
entity Box in [Room];
action Look, Take appliesTo { principal: [Clerk], resource: [Shelf], context: { open: Bool, note?: String } };
action Close appliesTo { principal: [Clerk], resource: [Box], context: {} };
";

const POLICIES: &str = r#"
@id("same room") permit (principal, action, resource) when { principal has home && resource in principal.home };
@id("high") permit (principal, action, resource is Shelf) when { principal.level > 5 };
@id("overflow") forbid (principal, action == Action::"Take", resource) when { principal.level + 1 < 0 };
"#;

fn files(policies: &str, invariants: &str) -> Vec<SourceFile> {
    let file = |path: &str, content: &str| SourceFile { path: path.into(), content: content.into() };
    vec![
        file("realm.toml", REALM),
        file("schema.cedarschema", SCHEMA),
        file("rules.cedar", policies),
        file("invariants/rooms.cedar", invariants),
    ]
}

fn inquiry(policies: &str, invariants: &str) -> Inquiry {
    Inquiry::new(Rules::compile(&files(policies, invariants)).unwrap(), None)
}

fn faults(invariants: &str) -> Vec<String> {
    let faults = Rules::compile(&files(POLICIES, invariants)).unwrap_err();
    faults.iter().map(|fault| format!("{}:{}:{}: {}", fault.file, fault.line, fault.column, fault.message)).collect()
}

const OTHER_ROOM: &str = "@never(\"a shelf elsewhere is looked at\")\npermit (principal, action, resource is Shelf)\nwhen { principal has home && !(resource in principal.home) };\n";

#[test]
fn invariants_are_checked_as_policies_are_and_decide_nothing() {
    let rules = Rules::compile(&files(POLICIES, OTHER_ROOM)).unwrap();
    assert_eq!((rules.len(), rules.invariants().len()), (3, 1));
    let invariant = &rules.invariants()[0];
    assert_eq!((&*invariant.text, invariant.promise), ("a shelf elsewhere is looked at", invariant::Promise::Never));
    assert_eq!((invariant.place.line, invariant.place.column), (1, 1));
    let realm = Realm::compile(&files(POLICIES, OTHER_ROOM), None).unwrap();
    assert_eq!(realm.policies.len(), 3);
    // They belong to the realm's version all the same.
    assert_ne!(realm.version, Realm::compile(&files(POLICIES, ""), None).unwrap().version);
}

#[test]
fn a_fault_of_an_invariant_has_its_place() {
    let cases = [
        ("permit (principal, action, resource);", "1:1: an invariant makes one claim, expected `@never"),
        ("@never(\"a\") @always(\"b\") permit (principal, action, resource);", "1:1: an invariant makes one claim"),
        ("\n@never(\"a\") @id(\"b\") permit (principal, action, resource);", "2:1: unknown annotation `@id`"),
        ("@never(\"a\") forbid (principal, action, resource);", "1:1: an invariant is written as a permit"),
        ("@never(\" \") permit (principal, action, resource);", "1:1: the claim is empty"),
        ("@never(\"a\") permit (principal == ?principal, action, resource);", "1:1: an invariant cannot be a template"),
        (
            "@never(\"a\") permit (principal, action, resource);\n@always(\"a\") permit (principal, action, resource);",
            "2:1: the same claim is made in invariants/rooms.cedar, line 1",
        ),
        ("@never(\"a\") permit (principal, action, resource) when { principal.size > 3 };", "1:"),
        ("@never(\"a\") permit (principal, action, resource) when { prin };", "1:"),
    ];
    for (text, expected) in cases {
        let found = faults(text);
        assert_eq!(found.len(), 1, "{text}: {found:?}");
        assert!(found[0].starts_with(&format!("invariants/rooms.cedar:{expected}")), "{text}: {found:?}");
    }
}

#[test]
fn every_policy_the_forbids_and_every_invariant_are_claims() {
    let inquiry = inquiry(POLICIES, OTHER_ROOM);
    let words: Vec<_> = inquiry.claims().iter().map(|claim| inquiry.words(*claim).to_string()).collect();
    let forbid = "what a forbid matches is never allowed";
    assert_eq!(words, ["same room", "high", "overflow", forbid, "a shelf elsewhere is looked at"]);
    let kinds: Vec<_> = inquiry.kinds().iter().map(ToString::to_string).collect();
    assert_eq!(kinds, ["Clerk Close Box", "Clerk Look Shelf", "Clerk Take Shelf"]);
    let place = inquiry.place(Claim::NeverFails(2)).unwrap();
    assert_eq!((&*place.file, place.line), ("rules.cedar", 4));
}

fn roles(inquiry: &Inquiry, kind: &str, claim: Claim) -> Vec<Role> {
    let kind = inquiry.kinds().iter().find(|it| it.to_string() == kind).unwrap();
    let questions = inquiry.questions(kind, &[claim]);
    questions.into_iter().flat_map(|(_, steps)| steps).map(|step| step.role).collect()
}

#[test]
fn what_is_to_be_allowed_asks_whether_a_forbid_can_fail() {
    let always = OTHER_ROOM.replace("never", "always");
    let [never, always] = [OTHER_ROOM, always.as_str()].map(|text| inquiry(POLICIES, text));
    let first = [Role::SpeaksClearly, Role::SaysNothing, Role::Claim];
    assert_eq!(roles(&never, "Clerk Look Shelf", Claim::Invariant(0)), first);
    let guarded = first.iter().cloned().chain([Role::Guard("overflow".into())]).collect::<Vec<_>>();
    assert_eq!(roles(&always, "Clerk Look Shelf", Claim::Invariant(0)), guarded);
}

#[test]
fn a_kind_of_request_that_one_side_lacks_is_compared_with_a_denial() {
    let mut old = files(POLICIES, "");
    old[1].content = SCHEMA.replace("action Close", "action Open");
    let before = Rules::compile(&old).unwrap();
    let inquiry = Inquiry::new(Rules::compile(&files(POLICIES, "")).unwrap(), Some(before));
    let kinds: Vec<_> = inquiry.kinds().iter().map(ToString::to_string).collect();
    assert_eq!(kinds, ["Clerk Close Box", "Clerk Look Shelf", "Clerk Take Shelf", "Clerk Open Box"]);
    for claim in [Claim::NothingNew, Claim::Same] {
        assert_eq!(roles(&inquiry, "Clerk Close Box", claim), [Role::Claim]);
        let guard = Role::Guard("overflow".into());
        assert_eq!(roles(&inquiry, "Clerk Look Shelf", claim), [Role::Claim, guard.clone(), guard]);
    }
    assert_eq!(roles(&inquiry, "Clerk Open Box", Claim::NothingNew), []);
    assert_eq!(roles(&inquiry, "Clerk Open Box", Claim::Same), [Role::Claim]);
    assert_eq!(roles(&inquiry, "Clerk Open Box", Claim::ForbidWins), []);
}

/// What a solver would have found: a clerk at this level takes a shelf of another room.
fn env(level: i64) -> Env {
    let uid = |text: &str| text.parse::<EntityUid>().unwrap();
    let context = [
        ("open".to_owned(), RestrictedExpression::new_bool(true)),
        ("note".to_owned(), RestrictedExpression::new_string("n".to_owned())),
    ];
    let request = Request::new(
        uid("Clerk::\"c\""),
        uid("Action::\"Take\""),
        uid("Shelf::\"s\""),
        Context::from_pairs(context).unwrap(),
        None,
    );
    let room = |id: &str| serde_json::json!({ "type": "Room", "id": id });
    let entity = |kind: &str, id: &str, attrs: serde_json::Value, parents: &[&str]| {
        let parents: Vec<_> = parents.iter().map(|id| room(id)).collect();
        serde_json::json!({ "uid": { "type": kind, "id": id }, "attrs": attrs, "parents": parents })
    };
    let home = serde_json::json!({ "__entity": room("1") });
    let entities = serde_json::json!([
        entity("Clerk", "c", serde_json::json!({ "level": level, "flags": ["x", "y"], "home": home }), &["3"]),
        entity("Shelf", "s", serde_json::json!({}), &["2", "3"]),
        entity("Room", "1", serde_json::json!({}), &[]),
        entity("Room", "2", serde_json::json!({}), &["3"]),
        entity("Room", "3", serde_json::json!({}), &[]),
    ]);
    Env { request: request.unwrap(), entities: Entities::from_json_value(entities, None).unwrap() }
}

fn found(inquiry: &Inquiry, claim: Claim, env: &Env) -> Result<Counterexample, String> {
    let kind = inquiry.kinds().iter().find(|it| it.to_string() == "Clerk Take Shelf").unwrap();
    inquiry.counterexample(claim, &Role::Claim, kind, env)
}

#[test]
fn a_counterexample_keeps_only_what_matters_and_fits_the_schema() {
    let inquiry = inquiry(POLICIES, OTHER_ROOM);
    let example = found(&inquiry, Claim::Invariant(0), &env(6)).unwrap();
    let clerk: Attributes = [
        (Arc::from("flags"), Value::List(Vec::new())),
        (Arc::from("home"), Value::Entity(EntityId::new("Room", "1"))),
        (Arc::from("level"), Value::Long(6)),
    ]
    .into_iter()
    .collect();
    let facts = |kind: &str, id: &str, attributes: Attributes| Facts {
        entity: EntityId::new(kind, id),
        ancestors: Vec::new(),
        attributes,
    };
    let expected = [
        facts("Clerk", "c", clerk),
        facts("Room", "1", Attributes::default()),
        facts("Shelf", "s", Attributes::default()),
    ];
    assert_eq!(example.entities, expected);
    assert_eq!(example.context, [(Arc::from("open"), Value::Bool(false))].into_iter().collect());
    assert_eq!(example.now.permits, ["high".into()]);
    assert!(example.now.is_allowed && example.before.is_none());
}

#[test]
fn where_a_forbid_fails_nothing_is_allowed_and_the_example_is_none() {
    let inquiry = inquiry(POLICIES, OTHER_ROOM);
    let overflowing = env(i64::MAX);
    let why = found(&inquiry, Claim::Invariant(0), &overflowing).unwrap_err();
    assert_eq!(why, "the solver's example is none here, where `overflow` fails to evaluate on it");
    let example = found(&inquiry, Claim::NeverFails(2), &overflowing).unwrap();
    assert_eq!((example.now.is_allowed, example.now.failed.as_slice()), (false, &["overflow".into()][..]));
    assert!(found(&inquiry, Claim::NeverFails(2), &env(6)).unwrap_err().contains("none to the evaluator"));
}
