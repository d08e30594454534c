//! Claims as a realm maps them that makes use of all that a mapping can say.

use std::{fmt::Write as _, sync::LazyLock};

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::{
    fault::Fault,
    issuer::{Algorithm, Issuer, KeyLocation},
    policy_set::SourceFile,
};

const REALM: &str = r#"
title = "Library"
[[issuers]]
issuer = "https://old.example"
audiences = []
algorithms = ["EdDSA"]
keys = { file = "keys.json" }
aliases = ["old"]
[[issuers]]
issuer = "https://new.example"
audiences = []
algorithms = ["EdDSA"]
keys = { file = "keys.json" }
aliases = []
[principal]
entity = "Reader"
id = ["client_id", "azp"]
actor = "Actor"
"#;
const SCHEMA: &str = r"
entity Actor;
entity House;
entity Reader in [House] { ATTRIBUTES };
action Read appliesTo { principal: [Reader], resource: [House] };
";
const ALIASES: &str = r#"{"old": {"lend": "books:lend"}, "typos": {"book:lend": "books:lend"}}"#;

/// Mappings by attribute: the type in the schema, and the keys.
fn compiled(mappings: &[(&str, &str, &str)]) -> Result<Realm, Vec<Fault>> {
    let mut rules = REALM.to_owned();
    let mut declared = Vec::new();
    for (name, declared_as, keys) in mappings {
        write!(rules, "[principal.attributes.{}]\n{keys}\n", name.trim_end_matches('?')).unwrap();
        declared.push(format!("{name}: {declared_as}"));
    }
    if !rules.contains("aliases.json") {
        rules = without_groups(&rules);
    }
    compiled_from(&rules, &SCHEMA.replace("ATTRIBUTES", &declared.join(", ")))
}

/// The rules of a realm that has no aliases, so that issuers can name none.
fn without_groups(rules: &str) -> String {
    rules.replace("aliases = [\"old\"]", "skew_seconds = 9")
}

fn compiled_from(rules: &str, schema: &str) -> Result<Realm, Vec<Fault>> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let files = [
        file("realm.toml", rules),
        file("relations.toml", "[entities.House]\nid = \"integer\"\n"),
        file("schema.cedarschema", schema),
        file("aliases.json", ALIASES),
        file("p.cedar", ""),
    ];
    Realm::compile(&files, None)
}

fn realm(mappings: &[(&str, &str, &str)]) -> Realm {
    compiled(mappings).unwrap_or_else(|faults| panic!("{faults:?}"))
}

/// What `claims` make of the attribute `a` of a realm that maps nothing else, as JSON; an error as its code and text.
fn attribute(realm: &Realm, claims: &Json) -> Result<Json, String> {
    let mut claims = claims.clone();
    claims["client_id"] = json!("r");
    let told = Principal::from_claims(realm, claims.as_object().unwrap());
    let told = told.map_err(|error| format!("{}: {error}", error.code()))?;
    Ok(told.attributes.get("a").map_or(Json::Null, shown))
}

fn shown(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Long(number) => json!(number),
        Value::String(text) => json!(**text),
        Value::Entity(entity) => json!(format!("{}::{}", entity.entity_type, entity.id)),
        Value::List(items) => items.iter().map(shown).collect(),
        other => panic!("{other:?}"),
    }
}

fn check(declared_as: &str, keys: &str, cases: &[(Json, Json)]) {
    let realm = realm(&[("a?", declared_as, keys)]);
    for (claims, expected) in cases {
        assert_eq!(attribute(&realm, claims).as_ref(), Ok(expected), "{keys} of {claims}");
    }
}

fn check_refused(declared_as: &str, keys: &str, claims: &[Json], expected: &str) {
    let realm = realm(&[("a?", declared_as, keys)]);
    for claims in claims {
        assert_eq!(attribute(&realm, claims), Err(expected.to_owned()), "{keys} of {claims}");
    }
}

#[test]
fn the_first_claim_for_the_id_that_is_there_counts() {
    let realm = realm(&[]);
    let named = |claims: Json| {
        let named = Principal::named_in(&realm, claims.as_object().unwrap());
        named.map(|entity| entity.id.to_string()).map_err(|error| error.to_string())
    };
    assert_eq!(named(json!({ "client_id": "c", "azp": "a" })), Ok("c".to_owned()));
    assert_eq!(named(json!({ "azp": "a" })), Ok("a".to_owned()));
    assert_eq!(named(json!({ "client_id": null, "azp": "a" })), Ok("a".to_owned()));
    let wrong = "the token's claim `client_id` is not a string of 1 to 512 bytes";
    for claims in [json!({ "client_id": "", "azp": "a" }), json!({ "client_id": ["a"], "azp": "a" })] {
        assert_eq!(named(claims), Err(wrong.to_owned()), "a wrong claim isn't made good by the next");
    }
    assert_eq!(named(json!({ "sub": "s" })), Err("the token's claim `client_id` or `azp` is missing".to_owned()));
}

#[test]
fn who_acts_is_the_subject_of_the_outermost_act() {
    let realm = realm(&[]);
    let actor = |act: Json| {
        let claims = json!({ "client_id": "r", "act": act });
        let told = Principal::from_claims(&realm, claims.as_object().unwrap());
        told.map(|principal| principal.actor).map_err(|error| error.to_string())
    };
    let expected = Some(EntityId::new("Actor", "boss"));
    assert_eq!(actor(json!({ "sub": "boss", "act": { "sub": "before" } })), Ok(expected));
    assert_eq!(actor(json!(null)), Ok(None));
    for wrong in
        [json!("boss"), json!({}), json!({ "sub": "" }), json!({ "sub": 1 }), json!({ "sub": "x".repeat(513) })]
    {
        assert_eq!(actor(wrong), Err("the token's claim `act.sub` is not a string of 1 to 512 bytes".to_owned()));
    }
    let same =
        compiled_from(&without_groups(REALM).replace("actor = \"Actor\"\n", ""), &SCHEMA.replace("ATTRIBUTES", ""))
            .unwrap();
    let claims = json!({ "client_id": "r", "act": { "sub": "boss" } });
    let principal = Principal::from_claims(&same, claims.as_object().unwrap()).unwrap();
    assert_eq!(principal.actor, Some(EntityId::new("Reader", "boss")));
}

#[test]
fn a_path_leads_into_objects_and_through_lists() {
    check(
        "Set<String>",
        "path = [\"orgs\", \"role\", \"name\"]",
        &[
            (json!({ "orgs": { "role": { "name": "x" } } }), json!(["x"])),
            (json!({ "orgs": { "role": { "name": ["x", "y"] } } }), json!(["x", "y"])),
            (json!({ "orgs": [{ "role": [{ "name": "x" }, { "name": ["z", "y"] }] }] }), json!(["x", "y", "z"])),
            (json!({ "orgs": [{ "role": { "name": "x" } }, {}, { "role": null }] }), json!(["x"])),
            (json!({ "orgs": [] }), json!([])),
            (json!({ "orgs": {} }), json!([])),
            (json!({}), json!([])),
        ],
    );
    check(
        "String",
        "path = [\"a.b\", \"c\"]\nfirst = true",
        &[
            (json!({ "a.b": { "c": "x" } }), json!("x")),
            (json!({ "a.b": [{ "c": "y" }, { "c": "x" }] }), json!("y")),
            (json!({ "a": { "b": { "c": "x" } } }), json!(null)),
        ],
    );
    let wrong =
        "CLAIM_TYPE_INVALID: the token's claim `a.b` is not an object or a list of objects on the way to its end";
    let claims = [json!({ "a": "b" }), json!({ "a": 1 }), json!({ "a": [{ "b": "x" }, "y"] }), json!({ "a": [[7]] })];
    check_refused("Set<String>", "path = [\"a\", \"b\"]", &claims, wrong);
    let several = "CLAIM_TYPE_INVALID: the token's claim `a.b` is not a string";
    check_refused("String", "path = [\"a\", \"b\"]", &[json!({ "a": [{ "b": "x" }] })], several);
}

#[test]
fn an_introspection_answer_may_say_it_elsewhere() {
    let realm = realm(&[
        ("a?", "String", "claim = \"scope\"\nintrospection = [\"set\", \"name\"]"),
        ("b?", "Long", "claim = \"b\""),
    ]);
    let answer =
        json!({ "azp": "r", "active": true, "set": { "name": "x" }, "scope": "y", "b": 7, "act": { "sub": "boss" } });
    let answer = answer.as_object().unwrap();
    let by_answer = Principal::from_introspection(&realm, answer).unwrap();
    assert_eq!((&*by_answer.entity.id, by_answer.attributes.get("b")), ("r", Some(&Value::Long(7))));
    assert_eq!(by_answer.attributes.get("a"), Some(&Value::String("x".into())));
    assert_eq!(by_answer.actor, Some(EntityId::new("Actor", "boss")));
    let by_token = Principal::from_claims(&realm, answer).unwrap();
    assert_eq!(by_token.attributes.get("a"), Some(&Value::String("y".into())));
    let wrong = json!({ "azp": "r", "set": "x" });
    let error = Principal::from_introspection(&realm, wrong.as_object().unwrap()).unwrap_err();
    assert!(error.to_string().contains("`set.name` is not an object"), "{error}");
    let recorded: Attributes = [("a".into(), Value::String("z".into()))].into_iter().collect();
    for (bare, expected) in [(json!({ "azp": "r" }), "z"), (json!({ "azp": "r", "scope": "y" }), "y")] {
        let bare = bare.as_object().unwrap();
        let entity = Principal::named_in(&realm, bare).unwrap();
        let kept = Principal::from_introspection_and_record(&realm, entity, bare, &recorded).unwrap();
        assert_eq!(
            kept.attributes.get("a"),
            Some(&Value::String(expected.into())),
            "as a token says it, or the record"
        );
    }
}

#[test]
fn where_only_a_list_counts_a_text_is_wrong() {
    let keys = "claim = \"scopes\"\nlist = \"array\"";
    check(
        "Set<String>",
        keys,
        &[
            (json!({ "scopes": ["b", "a b", "", "b"] }), json!(["a b", "b"])),
            (json!({ "scopes": [] }), json!([])),
            (json!({ "scopes": null }), json!([])),
        ],
    );
    let claims = ["\"a b\"", "\"\"", "7", "true", "{}", "[\"a\", 7]", "[null]", "[[\"a\"]]"];
    let claims = claims.map(|said| json!({ "scopes": said.parse::<Json>().unwrap() }));
    let wrong = "CLAIM_TYPE_INVALID: the token's claim `scopes` is not a list of texts";
    check_refused("Set<String>", keys, &claims, wrong);
    check_refused("String", &format!("{keys}\nfirst = true"), &claims, wrong);
}

#[test]
fn what_is_apart_by_blanks_is_split_at_blanks_alone() {
    check(
        "Set<String>",
        "claim = \"scope\"\nseparator = \" \"",
        &[
            (json!({ "scope": "a  b a " }), json!(["a", "b"])),
            (json!({ "scope": "  " }), json!([])),
            (json!({ "scope": "a\u{a0} b\tc" }), json!(["a\u{a0}", "b\tc"])),
            (json!({ "scope": ["a b", "c"] }), json!(["a b", "c"])),
        ],
    );
    check(
        "Set<String>",
        "claim = \"scope\"\nseparator = \",\"",
        &[(json!({ "scope": " a b ,,c\t, " }), json!(["a b", "c"]))],
    );
}

#[test]
fn a_default_counts_where_nothing_is_said_and_only_there() {
    check(
        "Bool",
        "claim = \"restricted\"\ndefault = true",
        &[
            (json!({}), json!(true)),
            (json!({ "restricted": null }), json!(true)),
            (json!({ "restricted": false }), json!(false)),
        ],
    );
    let wrong = "CLAIM_TYPE_INVALID: the token's claim `restricted` is not a boolean";
    check_refused("Bool", "claim = \"restricted\"\ndefault = true", &[json!({ "restricted": "false" })], wrong);
    let keys = "claim = \"houses\"\nseparator = \",\"\ndefault = [2, \"1\"]";
    check(
        "Set<House>",
        keys,
        &[
            (json!({}), json!(["House::1", "House::2"])),
            (json!({ "houses": "" }), json!([])),
            (json!({ "houses": "3" }), json!(["House::3"])),
        ],
    );
    let formed = "claim = \"x\"\ndefault = \"none\"\nforms = [\"ok:{x} => {x}\"]";
    check("String", formed, &[(json!({ "x": "bad" }), json!(null)), (json!({}), json!("none"))]);

    // The record goes before the default, and an opaque token has the default too.
    let realm = realm(&[("a", "Long", "claim = \"a\"\ndefault = 1")]);
    let recorded: Attributes = [("a".into(), Value::Long(2))].into_iter().collect();
    let (entity, claims) = (EntityId::new("Reader", "r"), Map::new());
    let kept = Principal::from_claims_and_record(&realm, entity, &claims, &recorded).unwrap();
    assert_eq!(kept.attributes.get("a"), Some(&Value::Long(2)));
    for (recorded, expected) in [(&recorded, 2), (&Attributes::default(), 1)] {
        let opaque = Principal::from_record(&realm, "r", recorded).unwrap();
        assert_eq!(opaque.attributes.get("a"), Some(&Value::Long(expected)));
    }
}

#[test]
fn only_texts_of_the_forms_count_as_what_they_are_read_as() {
    let filters = json!({ "f": ["org:a", "user:B", "org:b", "user:C", "org:a:b", "odd", "user:"] });
    for (declared_as, keys, expected) in [
        ("Set<String>", "forms = [\"org:{o} => {o}\"]", json!(["a", "b"])),
        ("Set<String>", "forms = [\"org:{o}\"]", json!(["org:a", "org:b"])),
        ("Set<String>", "forms = [\"user:{u} => {u}\"]\ncase = \"lower\"", json!(["b", "c"])),
        ("Set<String>", "unlike = [\"org:{o}\", \"user:{u}\"]", json!(["odd", "org:a:b", "user:"])),
        ("Set<String>", "unlike = [\"org:{o}\"]\nforms = [\"{k}:{v} => {k}\"]", json!(["user"])),
        ("String", "forms = [\"user:{u} => {u}\"]\nfirst = true", json!("B")),
        ("String", "forms = [\"team:{u} => {u}\"]\nfirst = true", json!(null)),
        ("House", "forms = [\"house:{n} => {n}\"]\nfirst = true", json!(null)),
    ] {
        check(declared_as, &format!("claim = \"f\"\n{keys}"), &[(filters.clone(), expected)]);
    }
    let house = "claim = \"f\"\nforms = [\"house:{n} => {n}\"]";
    check("House", house, &[(json!({ "f": "house:7" }), json!("House::7")), (json!({ "f": "shed:7" }), json!(null))]);
    check("Set<Long>", house, &[(json!({ "f": ["house:7", "x"] }), json!([7]))]);
    let wrong = "CLAIM_TYPE_INVALID: the token's claim `f` is not a string";
    for keys in ["forms = [\"{x}\"]", "unlike = [\"x\"]", "case = \"lower\"", "aliases = \"aliases.json\""] {
        check_refused(
            "Set<String>",
            &format!("claim = \"f\"\n{keys}"),
            &[json!({ "f": ["a", 7] }), json!({ "f": {} })],
            wrong,
        );
    }
    let required = realm(&[("a", "String", "claim = \"f\"\nforms = [\"x:{x}\"]")]);
    let formless = "CLAIM_TYPE_INVALID: the token's claim `f` is not of a form that the realm reads";
    assert_eq!(attribute(&required, &json!({ "f": "y" })), Err(formless.to_owned()));
}

#[test]
fn of_several_the_first_is_that_of_the_tokens_order() {
    check(
        "String",
        "claim = \"x\"\nseparator = \" \"\nfirst = true",
        &[
            (json!({ "x": ["z", "a"] }), json!("z")),
            (json!({ "x": " z a" }), json!("z")),
            (json!({ "x": ["", "a"] }), json!("a")),
            (json!({ "x": [] }), json!(null)),
            (json!({ "x": "  " }), json!(null)),
        ],
    );
    check_refused(
        "String",
        "claim = \"x\"\nforms = [\"{x}\"]\nfirst = true",
        &[json!({ "x": ["a", 7] })],
        "CLAIM_TYPE_INVALID: the token's claim `x` is not a string",
    );
}

#[test]
fn which_names_stand_for_others_is_the_issuers_matter() {
    let keys = "claim = \"scope\"\nseparator = \" \"\naliases = \"aliases.json\"";
    let said = "lend book:lend other";
    check(
        "Set<String>",
        keys,
        &[
            (json!({ "scope": said, "iss": "https://old.example" }), json!(["book:lend", "books:lend", "other"])),
            (json!({ "scope": said, "iss": "https://new.example" }), json!(["book:lend", "lend", "other"])),
            (json!({ "scope": said }), json!(["books:lend", "other"])),
            (json!({ "scope": ["books:lend", "lend"] }), json!(["books:lend"])),
        ],
    );
    let lower = "claim = \"x\"\nforms = [\"s:{s} => {s}\"]\ncase = \"lower\"\naliases = \"aliases.json\"";
    check("String", lower, &[(json!({ "x": "s:LEND" }), json!("books:lend"))]);
}

#[test]
fn a_deployments_issuer_can_name_the_aliases_that_there_are() {
    let keys = "claim = \"scope\"\naliases = \"aliases.json\"";
    let mut realm = realm(&[("a?", "String", keys)]);
    let issuer = |name: &str, groups: &[&str]| Issuer {
        aliases: Some(groups.iter().map(|group| Arc::from(*group)).collect()),
        ..Issuer::new(name, &[Algorithm::EdDSA], KeyLocation::Url("https://keys.example".into()))
    };
    let faults = realm.trust(&[issuer("https://a.example", &["typos", "odd"])]).unwrap_err();
    assert_eq!(
        faults.iter().map(|fault| format!("{}: {}", fault.file, fault.message)).collect::<Vec<_>>(),
        [
            "the deployment's issuers: the issuer `https://a.example` names the aliases `odd`, expected some of old, typos"
        ]
    );
    assert_eq!(realm.file.issuers.len(), 2);
    realm.trust(&[issuer("https://a.example", &["typos"]), issuer("https://new.example", &["old"])]).unwrap();
    let names: Vec<&str> = realm.file.issuers.iter().map(|issuer| &*issuer.issuer).collect();
    assert_eq!(names, ["https://old.example", "https://a.example", "https://new.example"]);
    let said = |scope: &str, issuer: &str| attribute(&realm, &json!({ "scope": scope, "iss": issuer })).unwrap();
    assert_eq!(said("lend", "https://new.example"), json!("books:lend"));
    assert_eq!(said("lend", "https://a.example"), json!("lend"));
}

#[test]
fn several_attributes_may_read_the_same_claim() {
    let realm = realm(&[
        ("a", "Set<String>", "claim = \"iss\""),
        ("b", "String", "claim = \"iss\""),
        ("c?", "String", "claim = \"iss\"\nforms = [\"https://{host} => {host}\"]"),
    ]);
    let claims = json!({ "client_id": "r", "iss": "https://new.example" });
    let principal = Principal::from_claims(&realm, claims.as_object().unwrap()).unwrap();
    let told: Vec<Json> = principal.attributes.iter().map(|(_, value)| shown(value)).collect();
    assert_eq!(told, [json!(["https://new.example"]), json!("https://new.example"), json!("new.example")]);
}

/// The faults of a realm that maps one attribute, each as its line and message.
fn faults(name: &str, declared_as: &str, keys: &str) -> Vec<String> {
    let faults = compiled(&[(name, declared_as, keys)]).unwrap_err();
    faults.iter().map(|fault| format!("{}:{} {}", fault.file, fault.line, fault.message)).collect()
}

#[test]
fn a_mapping_that_makes_no_sense_is_a_fault_with_its_line() {
    for (declared_as, keys, expected) in [
        ("String", "", "19 where the value is said is missing, expected one of `claim` and `path`"),
        (
            "String",
            "claim = \"x\"\npath = [\"x\"]",
            "21 `claim` and `path` both say where the value is, expected one of them",
        ),
        ("String", "claim = \"\"", "20 `claim` is empty, expected the name of a claim"),
        ("String", "path = []", "20 `path` is empty, expected the name of a claim"),
        ("String", "path = [\"a\", \"\"]", "20 `path` is empty, expected the name of a claim"),
        ("String", "claim = \"x\"\nintrospection = []", "21 `introspection` is empty, expected the name of a claim"),
        ("Set<String>", "claim = \"x\"\nlist = \"text\"", "21 `list` is not `array`"),
        ("Set<String>", "claim = \"x\"\nseparator = \"\"", "21 `separator` is empty"),
        (
            "Set<String>",
            "claim = \"x\"\nlist = \"array\"\nseparator = \" \"",
            "22 `separator` splits texts, and with `list` no text counts",
        ),
        ("String", "claim = \"x\"\ncase = \"upper\"", "21 `case` is not `lower`"),
        ("Set<String>", "claim = \"x\"\nforms = [\"{x\"]", "21 `forms`: `{x` has a brace that is not closed"),
        ("Set<String>", "claim = \"x\"\nforms = []", "21 `forms`: no form is given, so no text would fit"),
        (
            "Set<String>",
            "claim = \"x\"\nunlike = [\"{x} => {x}\"]",
            "21 `unlike` leaves texts out, so its forms cannot have a `=>`",
        ),
        (
            "Set<String>",
            "claim = \"x\"\nfirst = true",
            "21 the principal's attribute `Reader.a` is a set, and of a set all members count",
        ),
        (
            "String",
            "claim = \"x\"\nunlike = [\"{x}\"]",
            "21 the principal's attribute `Reader.a` is no set, and only members of a set can be left out",
        ),
        (
            "String",
            "claim = \"x\"\nlist = \"array\"",
            "21 the principal's attribute `Reader.a` is no set: say `first` too, so that one of several counts",
        ),
        (
            "String",
            "claim = \"x\"\nseparator = \",\"",
            "21 the principal's attribute `Reader.a` is no set: say `first` too, so that one of several counts",
        ),
        (
            "Bool",
            "claim = \"x\"\nforms = [\"{x}\"]",
            "21 the principal's attribute `Reader.a` holds no texts, so `forms` has no use",
        ),
        ("String", "claim = \"x\"\naliases = \"other.json\"", "21 the realm's folder has no file `other.json`"),
    ] {
        assert_eq!(faults("a?", declared_as, keys), [format!("realm.toml:{expected}")], "{keys}");
    }
    let rules = format!("{}[principal.attributes.a]\nclaim = \"a\"\n", without_groups(REALM));
    let undeclared = compiled_from(&rules, &SCHEMA.replace("ATTRIBUTES", "")).unwrap_err();
    assert_eq!(
        (undeclared[0].line, &*undeclared[0].message),
        (19, "the principal's attribute `Reader.a` is not declared in the schema")
    );
}

#[test]
fn a_default_is_of_the_schemas_type() {
    for (declared_as, default, expected) in [
        ("Bool", "\"false\"", "a string, expected a boolean"),
        ("Long", "\"1\"", "a string, expected a whole number"),
        ("String", "1", "a whole number, expected a string"),
        ("House", "\"one\"", "a string, expected a whole number as the id of `House`"),
        ("Set<String>", "\"a\"", "a string, expected a list of at most 10,000 values"),
        ("Set<Long>", "[1, \"a\"]", "a list, expected a whole number"),
        ("String", "[\"a\"]", "a list, expected a string"),
    ] {
        let fault = format!("realm.toml:21 the principal's attribute `Reader.a` has a default that is {expected}");
        assert_eq!(faults("a?", declared_as, &format!("claim = \"x\"\ndefault = {default}")), [fault]);
    }
    let other = "realm.toml:21 `principal.attributes.a.default` is of type float, expected a boolean, a whole number or a string, or a list of such";
    assert_eq!(faults("a?", "Long", "claim = \"x\"\ndefault = 1.5"), [other]);
}

#[test]
fn what_the_principal_names_must_be_there() {
    let faults = |rules: &str| {
        let faults = compiled_from(rules, &SCHEMA.replace("ATTRIBUTES", "b: Bool")).unwrap_err();
        faults.iter().map(|fault| format!("{}: {}", fault.line, fault.message)).collect::<Vec<_>>()
    };
    let with_groups = format!("{REALM}[principal.attributes.b]\nclaim = \"b\"\n");
    let mapped = without_groups(&with_groups);
    let expected = "expected one of Actor, House, Reader";
    assert_eq!(
        faults(&mapped.replace("\"Actor\"", "\"Boss\"")),
        [format!("18: the schema has no entity type `Boss`, {expected}")]
    );
    assert_eq!(
        faults(&mapped.replace("\"Reader\"", "\"User\"")),
        [format!("16: the schema has no entity type `User`, {expected}")]
    );
    let empty = "17: `principal.id` is empty, expected a claim, or claims of which the first counts";
    assert_eq!(faults(&mapped.replace("[\"client_id\", \"azp\"]", "[]")), [empty]);
    assert_eq!(faults(&mapped.replace("[\"client_id\", \"azp\"]", "\"\"")), [empty]);
    assert_eq!(faults(&without_groups(REALM)), ["16: the schema requires `Reader.b`, but no claim is mapped to it"]);
    let with_aliases = format!("{with_groups}[principal.attributes.c]\nclaim = \"c\"\naliases = \"aliases.json\"\n");
    let schema = SCHEMA.replace("ATTRIBUTES", "b: Bool, c?: String");
    let unknown = compiled_from(&with_aliases.replace("[\"old\"]", "[\"old\", \"odd\"]"), &schema).unwrap_err();
    assert_eq!(
        (unknown[0].line, &*unknown[0].message),
        (8, "the issuer `https://old.example` names the aliases `odd`, expected some of old, typos")
    );
    let none = faults(&with_groups);
    assert_eq!(
        none,
        [
            "8: the issuer `https://old.example` names the aliases `old`, expected some of none, as no attribute has `aliases`"
        ]
    );
}

fn said() -> impl Strategy<Value = Json> {
    let text = prop_oneof!["[a-c:]{0,6}", "\\PC{0,4}"].prop_map(|text| json!(text));
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(|flag| json!(flag)),
        any::<i64>().prop_map(|n| json!(n)),
        text
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::Array),
            prop::collection::btree_map("[ab]", inner, 0..3).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// Mappings of many kinds: the type of each, and its realm.
static REALMS: LazyLock<Vec<(&str, Realm)>> = LazyLock::new(|| {
    let mappings = [
        ("Set<String>", "claim = \"a\"\nseparator = \" \""),
        ("Set<String>", "path = [\"a\", \"b\"]\nforms = [\"{x}:{y} => {y}\"]\ncase = \"lower\""),
        ("String", "path = [\"a\", \"b\"]\nfirst = true"),
        ("Set<House>", "claim = \"a\"\nunlike = [\"{x}:{y}\"]"),
        ("Bool", "claim = \"a\"\ndefault = true"),
        ("Set<String>", "claim = \"a\"\nlist = \"array\""),
    ];
    mappings.map(|(declared_as, keys)| (declared_as, realm(&[("a?", declared_as, keys)]))).into()
});

proptest! {
    #[test]
    fn whatever_a_claim_is_the_attribute_has_the_schemas_type_or_the_token_is_refused(said in said()) {
        let is_text = |value: &Value| matches!(value, Value::String(_));
        let is_house = |value: &Value| matches!(value, Value::Entity(house) if *house.entity_type == *"House");
        let claims = json!({ "client_id": "r", "a": said });
        for (declared_as, realm) in REALMS.iter() {
            let Ok(principal) = Principal::from_claims(realm, claims.as_object().unwrap()) else { continue };
            let fits = match (*declared_as, principal.attributes.get("a")) {
                ("Set<String>", Some(Value::List(items))) => items.iter().all(is_text) && items.is_sorted(),
                ("Set<House>", Some(Value::List(items))) => items.iter().all(is_house),
                ("String", value) => value.is_none_or(is_text),
                ("Bool", value) => matches!(value, Some(Value::Bool(_))),
                _ => false,
            };
            prop_assert!(fits, "{:?}", principal.attributes);
        }
    }
}
