//! A small realm with settings, actions that need values, obligations and a subject that all its resources have.

use serde_json::json;

use super::*;
use crate::domain::{
    access_request::{AccessRequest, FieldFault, Question},
    decide::decide,
    decision::{Decision, Outcome},
    graph::Graph,
    policy_set::PlanKey,
    resource_type::Subject,
    value::Attributes,
};

const REALM: &str = r#"
title = "Shop"
[principal]
entity = "Clerk"
id = "sub"
[principal.attributes.badge]
claim = "badge"
[principal.attributes.shelves]
claim = "shelves"
separator = ","
[resources]
entity = "Item"
file = "items.json"
[[resources.subjects]]
attribute = "stamp"
path = "stampedBy"
name = "Stamp"
[settings]
isOpen = true
limit = 3
greeting = "hello"
[actions.Make]
needs = ["proposed"]
when_stored = "Change"
[actions.Change]
needs = ["existing", "proposed"]
[obligations.stamp]
actions = ["Make"]
parameters = { by = "badge", on = "shelves" }
[denials.FORBIDDEN]
status = 409
type = "closed"
title = "Closed"
errors = ["{resource_name} {action_name} {strategy}"]
"#;

const SCHEMA: &str = r"
entity Shelf;
entity Badge;
entity Clerk { badge?: Badge, shelves: Set<Shelf> };
entity Item { lacks: Set<String>, stamp?: Badge, box?: Badge, size?: Long };
action Make, Change, Look appliesTo {
    principal: [Clerk], resource: [Item],
    context: { phase: String, settings: { isOpen: Bool, limit: Long, greeting: String } },
};
";

const ITEMS: &str = r#"{"resources": {
    "cups": {"claim": "shop/cup", "subjects": []},
    "boxes": {"subjects": [{"attribute": "box", "parts": [{"path": "row", "name": "Row"}, {"path": "place.number", "name": "Number"}]}]}
}}"#;

fn files(realm: &str, policies: &str) -> Vec<SourceFile> {
    let file = |path: &str, content: &str| SourceFile { path: path.into(), content: content.into() };
    vec![
        file("realm.toml", realm),
        file("schema.cedarschema", SCHEMA),
        file("items.json", ITEMS),
        file("relations.toml", "[entities.Badge]\n[entities.Shelf]\nid = \"integer\"\n"),
        file("rules.cedar", policies),
        file("variants/night.toml", "[\"realm.toml\".settings]\nisOpen = false\n"),
        file("variants/odd.toml", "[\"realm.toml\".settings]\nlimit = \"many\"\n"),
    ]
}

fn compiled(policies: &str, variant: Option<&str>) -> Realm {
    Realm::compile(&files(REALM, policies), variant).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn attributes(json: &serde_json::Value) -> Attributes {
    let value = |json: &serde_json::Value| match json {
        serde_json::Value::Number(number) => Value::Long(number.as_i64().unwrap()),
        serde_json::Value::Object(_) => Value::Record(attributes(json)),
        serde_json::Value::Bool(flag) => Value::Bool(*flag),
        text => Value::String(text.as_str().unwrap().into()),
    };
    json.as_object().unwrap().iter().map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

fn question(action: &str, kind: &str, existing: Option<&str>, proposed: Option<&str>) -> Question {
    let values = |json: Option<&str>| json.map(|json| attributes(&json.parse().unwrap()));
    let (attributes, proposed) = (values(existing), values(proposed));
    Question { action: action.into(), resource_type: kind.into(), attributes, proposed, ..Question::default() }
}

fn answer(realm: &Realm, claims: &serde_json::Value, question: &Question) -> Decision {
    let principal = Principal::from_claims(realm, claims.as_object().unwrap()).unwrap();
    decide(realm, &principal, &AccessRequest::check(realm, question).unwrap(), &Graph::new())
}

fn outcome(realm: &Realm, question: &Question) -> String {
    format!("{:?}", answer(realm, &json!({ "sub": "c" }), question).outcome)
}

#[test]
fn policies_read_the_settings_of_the_realm_and_of_its_variant() {
    let policies = r#"
@id("a") permit (principal, action, resource)
when { context.settings.isOpen && context.settings.limit == 3 && context.settings.greeting like "hell*" };"#;
    let look = question("Look", "cups", Some("{}"), None);
    let (day, night) = (compiled(policies, None), compiled(policies, Some("night")));
    assert_eq!((outcome(&day, &look), outcome(&night, &look)), ("Allowed".into(), "NotPermitted".into()));
    let candidates = |realm: &Realm| {
        let names = ["Look", "Clerk", "Item"].map(Arc::from);
        let [action, principal_type, resource_type] = names;
        let key = PlanKey { action, principal_type, resource_type, grant: 0 };
        let plan = realm.policies.plan(&key, &[], &[], || None);
        realm.policies.candidates(&plan, [].iter(), [].iter()).indexes.len()
    };
    assert_eq!((candidates(&day), candidates(&night)), (1, 0), "what is switched off is not even asked");
    assert_ne!(day.version, night.version);
    assert_eq!((day.variant.as_deref(), night.variant.as_deref()), (None, Some("night")));
}

#[test]
fn a_policy_that_a_setting_switches_off_does_nothing_and_one_that_fails_before_it_does() {
    let permit = "@id(\"a\") permit (principal, action, resource);\n";
    let failing = "when { resource has size && resource.size + 9223372036854775807 > 0 }";
    let after = format!(
        "{permit}@id(\"b\") forbid (principal, action, resource) {failing} unless {{ context.settings.isOpen }};"
    );
    let before = format!(
        "{permit}@id(\"b\") forbid (principal, action, resource) unless {{ context.settings.isOpen }} {failing};"
    );
    let items =
        ITEMS.replace("\"subjects\": []", r#""subjects": [{"attribute": "size", "path": "size", "name": "Size"}]"#);
    let look = question("Look", "cups", Some(r#"{"size": 5}"#), None);
    let sized = |policies: &str| {
        let mut files = files(REALM, policies);
        files[2].content.clone_from(&items);
        outcome(&Realm::compile(&files, None).unwrap(), &look)
    };
    assert_eq!((sized(&before), sized(&after)), ("Allowed".into(), "Indeterminate".into()));
}

#[test]
fn settings_that_do_not_fit_are_faults_with_their_names() {
    let faults = |realm: &str| {
        let faults = Realm::compile(&files(realm, ""), None).unwrap_err();
        faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; ")
    };
    let missing = faults(&REALM.replace("limit = 3\n", ""));
    assert!(
        missing.contains(
            "actions `Change`, `Look`, `Make`: the setting `limit` is missing, the schema wants a whole number"
        ),
        "{missing}"
    );
    let mistyped = faults(&REALM.replace("isOpen = true", "isOpen = 1"));
    assert!(mistyped.contains("the setting `isOpen` is a whole number, the schema wants a boolean"), "{mistyped}");
    let surplus = faults(&REALM.replace("limit = 3", "limit = 3\nlimmit = 3"));
    assert_eq!(surplus, "no action's `context.settings` in the schema declares the setting `limmit`");
    let list = faults(&REALM.replace("limit = 3", "limit = [3]"));
    assert!(
        list.contains("`settings.limit` is of type array, expected a boolean, a whole number or a string"),
        "{list}"
    );
}

#[test]
fn names_that_lead_nowhere_are_faults() {
    for (from, to, expected) in [
        ("[actions.Change]", "[actions.Chang]", "the schema has no action `Chang`, expected one of Change, Look, Make"),
        ("when_stored = \"Change\"", "when_stored = \"X\"", "the schema has no action `X`"),
        ("actions = [\"Make\"]", "actions = [\"X\"]", "the schema has no action `X`"),
        ("by = \"badge\"", "by = \"bag\"", "obligation `stamp`: `bag` is none of the principal's attributes"),
        (
            "attribute = \"stamp\"",
            "attribute = \"x\"",
            "`resources.subjects`: `Item` has no attribute `x` in the schema",
        ),
        ("\"existing\", ", "\"existing\", \"past\", ", "`past` is neither `existing` nor `proposed`"),
    ] {
        let faults = Realm::compile(&files(&REALM.replace(from, to), ""), None).unwrap_err();
        assert!(faults.iter().any(|fault| fault.message.contains(expected)), "{to}: {faults:?}");
    }
    let faults = Realm::compile(&files(REALM, ""), Some("odd")).unwrap_err();
    assert!(faults[0].to_string().starts_with("realm.toml with variants/odd.toml: "), "{}", faults[0]);
    assert_eq!(faults[0].line, 0);
}

#[test]
fn a_question_without_the_values_that_its_action_needs_names_them() {
    let realm = compiled("", None);
    let check = |question: &Question| match AccessRequest::check(&realm, question) {
        Ok(request) => request.action.to_string(),
        Err(faults) => {
            let fields = faults.into_iter().map(|FieldFault { field, .. }| field);
            fields.collect::<Vec<_>>().join(" ")
        }
    };
    let empty = Some("{}");
    for (action, existing, proposed, expected) in [
        ("Make", None, None, "resource.proposed"),
        ("Make", None, empty, "Make"),
        ("Make", empty, empty, "Change"),
        ("Make", empty, None, "resource.proposed"),
        ("Change", None, empty, "resource.attributes"),
        ("Change", None, None, "resource.attributes resource.proposed"),
        ("Change", empty, empty, "Change"),
        ("Look", None, None, "Look"),
    ] {
        assert_eq!(
            check(&question(action, "cups", existing, proposed)),
            expected,
            "{action} {existing:?} {proposed:?}"
        );
    }
    let mut settings = question("Look", "cups", None, None);
    settings.context = attributes(&json!({ "settings": { "isOpen": true } }));
    assert_eq!(check(&settings), "context.settings");
}

#[test]
fn an_allow_of_something_new_carries_its_obligation_when_the_principal_has_the_values() {
    let realm = compiled("@id(\"a\") permit (principal, action, resource);", None);
    let obligations = |claims: &serde_json::Value, question: &Question| {
        let obligations = answer(&realm, claims, question).obligations;
        obligations
            .into_iter()
            .map(|obligation| format!("{}{:?}", obligation.id, obligation.parameters))
            .collect::<Vec<_>>()
            .concat()
    };
    let make = question("Make", "cups", None, Some("{}"));
    let badge = json!({ "sub": "c", "badge": "b1", "shelves": "7,8" });
    let carried = obligations(&badge, &make);
    assert!(carried.starts_with("stamp") && carried.contains("\"b1\"") && carried.contains("Long(7)"), "{carried}");
    assert_eq!(obligations(&json!({ "sub": "c" }), &make), "");
    assert_eq!(obligations(&badge, &question("Make", "cups", Some("{}"), Some("{}"))), "");
    assert_eq!(obligations(&badge, &question("Look", "cups", Some("{}"), None)), "");
}

#[test]
fn a_subject_of_all_resource_types_stands_behind_their_own() {
    let realm = compiled("", None);
    let names = |kind: &str| {
        let subjects = realm.resource_types[kind].subjects.iter();
        subjects.flat_map(Subject::names).map(|name| &**name).collect::<Vec<_>>().join(" ")
    };
    assert_eq!((names("cups"), names("boxes")), ("Stamp".into(), "Row Number Stamp".into()));
}

#[test]
fn several_values_make_one_id() {
    let realm = compiled("", None);
    let value = |values: &str| {
        let request = AccessRequest::check(&realm, &question("Look", "boxes", Some(values), None));
        match request {
            Ok(request) => format!("{:?}", request.phases[0].values[0]),
            Err(faults) => format!("{}: {}", faults[0].field, faults[0].message),
        }
    };
    assert!(value(r#"{"row": "a|b", "place": {"number": 3}}"#).contains(r"a\\|b|3"));
    assert_eq!(value(r#"{"row": "a", "place": {}}"#), "None");
    assert_eq!(value(r#"{"row": " ", "place.number": 3}"#), "None");
    let wrong = value(r#"{"row": "a", "place": {"number": true}}"#);
    assert_eq!(
        wrong,
        "resource.attributes.row: is a boolean, expected a string, a whole number or a reference to `Badge`"
    );
}

#[test]
fn denials_are_filled_in_with_names_of_the_question() {
    let realm = compiled("@id(\"a\") forbid (principal, action, resource);", None);
    let denial = answer(&realm, &json!({ "sub": "c" }), &question("Look", "cups", Some("{}"), None)).denial.unwrap();
    assert_eq!((denial.status, denial.errors), (409, vec!["Cup look {strategy}".to_owned()]));
}

/// What is wrong with these strategies under these policies.
fn strategy_faults(strategies: &str, policies: &str) -> String {
    let schema = SCHEMA
        .replace("phase: String,", "phase: String, strategies: Set<String>,")
        .replace("{ badge?: Badge,", "{ role: String, badge?: Badge,");
    let grants = format!(
        "[principal.attributes.role]\nclaim = \"role\"\n[grants]\nfile = \"grants.json\"\nclaim_set = \"role\"\n\
         [grants.strategies]\n{strategies}"
    );
    let mut files = files(&format!("{REALM}{grants}"), policies);
    files[1].content.clone_from(&schema);
    files.push(SourceFile { path: "grants.json".into(), content: "{\"claims\": {}}".into() });
    let faults = Realm::compile(&files, None).err().unwrap_or_default();
    faults.into_iter().map(|fault| fault.message).collect::<Vec<_>>().join("; ")
}

/// A policy for a strategy, with what follows its first block.
fn rule(id: &str, effect: &str, strategy: &str, blocks: &str) -> String {
    format!(
        "@id(\"{id}\") {effect} (principal, action, resource) when {{ context.strategies.contains(\"{strategy}\") }} {blocks};\n"
    )
}

#[test]
fn a_strategy_that_nothing_acts_on_is_a_fault() {
    let faults = |policies: &str| strategy_faults("Free = []\nStamped = [\"stamp\"]\nBoxed = [\"box\"]\n", policies);
    let boxed = rule("boxed", "permit", "Boxed", "when { resource has box }");
    let stamped = rule("stamped", "forbid", "Stamped", "unless { resource has stamp }");
    let free = rule("free", "permit", "Free", "");
    let rest = |known: &str| {
        format!(
            "@id(\"rest\") permit (principal, action, resource) unless {{ context.strategies.containsAny([{known}]) }};\n"
        )
    };
    assert_eq!(faults(&format!("{boxed}{stamped}{free}{}", rest("\"Boxed\""))), "");
    assert_eq!(faults(&format!("{boxed}{stamped}{}", rest("\"Boxed\", \"Free\""))), "");
    assert_eq!(
        faults(&format!("{boxed}{stamped}{free}{}", rest("\"Other\""))),
        "the strategy `Boxed` is to look at `box`, but `rest` permits under it and no forbid has it in its first block"
    );
    let anyone = "@id(\"open\") permit (principal, action, resource) when { context.settings.isOpen };\n";
    assert_eq!(
        faults(&format!("{boxed}{stamped}{free}{anyone}")),
        "",
        "who permits whatever the strategies are means it"
    );
    let unnamed = |strategy: &str| {
        format!(
            "no policy asks for the strategy `{strategy}`: write one with `context.strategies.contains(\"{strategy}\")`, or \
             take the strategy out of `grants.strategies`"
        )
    };
    let both = format!("{}; {}", unnamed("Free"), unnamed("Stamped"));
    for permitting in [&rest("\"Boxed\""), anyone] {
        assert_eq!(faults(&format!("{boxed}{permitting}")), both, "also one that looks at nothing");
    }
}

#[test]
fn an_attribute_that_no_policy_for_its_strategy_mentions_is_a_fault() {
    let faults = |policies: &str| strategy_faults("Boxed = [\"box\", \"stamp\"]\n", policies);
    let unmentioned = |attribute: &str| {
        format!(
            "the strategy `Boxed` is to look at `{attribute}`, but no policy with it in its first block that can hold under the \
             settings mentions `resource.{attribute}`: write or switch on one that does, or take `{attribute}` out of \
             `grants.strategies`"
        )
    };
    let boxed = rule("boxed", "permit", "Boxed", "when { resource has box }");
    let stamped = |blocks: &str| rule("stamped", "permit", "Boxed", &format!("{blocks} when {{ resource has stamp }}"));
    assert_eq!(faults(&boxed), unmentioned("stamp"));
    assert_eq!(faults(&format!("{boxed}{}", stamped("unless { context.settings.isOpen }"))), unmentioned("stamp"));
    assert_eq!(faults(&format!("{boxed}{}", stamped("when { context.settings.isOpen }"))), "");
    assert_eq!(faults(&format!("{boxed}{}", stamped("when { context.phase == \"past\" }"))), "", "may hold");
    let forbidding = rule("stamped", "forbid", "Boxed", "unless { resource has stamp }");
    assert_eq!(faults(&format!("{boxed}{forbidding}")), "");
    assert_eq!(
        strategy_faults("Boxed = [\"box\"]\n", &format!("{boxed}{forbidding}")),
        "the strategy `Boxed` leaves out `stamp`, which a policy with it in its first block looks at: add it to the list in \
         `grants.strategies`"
    );
    let other = rule("other", "permit", "Other", "when { resource has stamp }");
    assert_eq!(faults(&format!("{boxed}{other}")), unmentioned("stamp"));
    let lists =
        "@id(\"lists\") forbid (principal, action, resource) unless { context.strategies.containsAny([\"Boxed\"]) };";
    assert_eq!(faults(lists), format!("{}; {}", unmentioned("box"), unmentioned("stamp")));
}

#[test]
fn a_relation_that_the_schema_rules_out_is_a_fault() {
    let faults = |object: &str| {
        let relation = format!("[relations.wears]\nsubject = \"Clerk\"\nobject = \"{object}\"\n");
        let mut files = files(REALM, "");
        for file in &mut files {
            match &*file.path {
                "relations.toml" => file.content.push_str(&relation),
                "schema.cedarschema" => {
                    file.content = file.content.replace("entity Clerk {", "entity Clerk in [Badge] {");
                }
                _ => {}
            }
        }
        Realm::compile(&files, None)
            .err()
            .unwrap_or_default()
            .into_iter()
            .map(|fault| format!("{}:{} {}", fault.file, fault.line, fault.message))
            .collect::<Vec<_>>()
    };
    assert!(faults("Badge").is_empty());
    let ruled_out = "relations.toml:4 relation `wears` puts a `Clerk` in a `Shelf`, which the schema rules out, \
                     expected `entity Clerk in [Shelf]` in schema.cedarschema";
    assert_eq!(faults("Shelf"), [ruled_out]);
    let unknown = "relations.toml:6 the schema has no entity type `Box`, expected one of Badge, Clerk, Item, Shelf";
    assert_eq!(faults("Box"), [unknown]);
}

/// The faults of a realm of notes whose types come from the schema, with this `[trusted]`.
fn believed(trusted: &str, schema: &str, policies: &str) -> Result<Realm, Vec<String>> {
    let realm = "title = \"Notes\"\n[principal]\nentity = \"Writer\"\nid = \"sub\"\n";
    let file = |path: &str, content: &str| SourceFile { path: path.into(), content: content.into() };
    let files = [
        file("realm.toml", &format!("{realm}{trusted}")),
        file("schema.cedarschema", schema),
        file("relations.toml", "[entities.Note]\nlinks = { past = \"Past\" }\n"),
        file("notes.cedar", policies),
    ];
    let told = |fault: Fault| format!("{}: {}", fault.line, fault.message);
    Realm::compile(&files, None).map_err(|faults| faults.into_iter().map(told).collect())
}

const NOTES: &str = "entity Writer; entity Past; entity Note { owner?: Writer, text?: String, past: Past };
entity Page { owner?: Writer, note: Note };
action Read appliesTo { principal: [Writer], resource: [Note, Page], context: { host?: String, phase: String } };";
const OWN: &str =
    "@id(\"own\") permit (principal, action, resource) when { resource has owner && resource.owner == principal };";

#[test]
fn what_callers_are_not_believed_does_not_count() {
    let trusted = "[trusted]\nNote = [\"owner\"]\nPage = \"note\"\n";
    let realm = believed(trusted, NOTES, OWN).unwrap();
    let owned = json!({ "owner": "ann", "text": "hello", "note": "n", "more": 1 });
    for (resource_type, expected) in [("Note", 2), ("Page", 3)] {
        let question = Question {
            action: "Read".into(),
            resource_type: resource_type.into(),
            attributes: Some(attributes(&owned)),
            ..Question::default()
        };
        let request = AccessRequest::check(&realm, &question).unwrap();
        let principal = Principal::from_claims(&realm, json!({ "sub": "ann" }).as_object().unwrap()).unwrap();
        let decision = decide(&realm, &principal, &request, &Graph::new());
        let names: Vec<&str> = request.resource_type.subjects.iter().map(|subject| &*subject.attribute).collect();
        match expected {
            2 => assert_eq!((names, decision.outcome), (vec!["owner"], Outcome::Allowed)),
            _ => assert_eq!((names, decision.outcome), (vec!["note"], Outcome::NotPermitted)),
        }
    }
}

#[test]
fn a_list_of_what_callers_are_believed_names_what_there_is_and_all_that_is_needed() {
    let permit = "@id(\"any\") permit (principal, action, resource);";
    let optional = NOTES.replace("note: Note", "note?: Note");
    for (trusted, schema, policies, expected) in [
        ("", &*optional, permit, &[][..]),
        ("[trusted]\n\"*\" = [\"owner\", \"note\"]\ncontext = \"host\"\n", NOTES, OWN, &[]),
        (
            "",
            NOTES,
            permit,
            &["0: the schema requires `Page.note`, but callers are not believed it: list it in `[trusted]`"],
        ),
        (
            "",
            &optional,
            OWN,
            &["0: the policy `own` looks at `resource.owner`, but callers are not believed it: list it in `[trusted]`"],
        ),
        ("[trusted]\nPage = [\"owner\"]\n", &optional, OWN, &[]),
        (
            "[trusted]\nPage = [\"owner\"]\n",
            &optional,
            "@id(\"own\") permit (principal, action, resource is Note) when { resource has owner };",
            &["5: the policy `own` looks at `resource.owner`, but callers are not believed it: list it in `[trusted]`"],
        ),
        (
            "",
            &optional,
            "@id(\"host\") forbid (principal, action, resource) when { context has host && context.host == \"x\" };",
            &[
                "0: the policy `host` looks at `context.host`, but callers are not believed it: list it in `trusted.context`",
            ],
        ),
        (
            "",
            &optional.replace("host?", "host"),
            permit,
            &["0: the schema requires `context.host`, but callers are not believed it: list it in `trusted.context`"],
        ),
        (
            "[trusted]\nWriter = []\n\"*\" = [\"title\"]\nNote = [\n \"past\"]\ncontext = [\"phase\", \"port\"]\n",
            &optional,
            permit,
            &[
                "6: no action applies to `Writer`, expected one of Note, Page, `*` or `context`",
                "7: `trusted.*`: no resource type has attribute `title` that callers could give",
                "8: `trusted.Note`: the resource type has no attribute `past` that callers could give",
                "10: `trusted.context`: `phase` is filled in by the service, no caller can send it",
                "10: `trusted.context`: `port` is declared by no action's context in the schema",
            ],
        ),
        (
            "[trusted]\nNote = 1\n",
            &optional,
            permit,
            &["6: `trusted.Note` is of type integer, expected a list of strings"],
        ),
    ] {
        let faults = believed(trusted, schema, policies).err().unwrap_or_default();
        assert_eq!(faults, expected, "{trusted} {policies}");
    }
}

#[test]
fn where_a_table_lists_the_properties_nothing_else_can() {
    let files = files(&format!("{REALM}[trusted]\nItem = [\"stamp\"]\n"), "");
    let faults = Realm::compile(&files, None).unwrap_err();
    let message = "the table of `[resources]` says which properties count, so `[trusted]` can't";
    assert_eq!(faults.iter().map(|fault| &*fault.message).collect::<Vec<_>>(), [message]);
    assert!(faults[0].line > 0);
}
