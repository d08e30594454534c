//! Applications against a small realm.

use serde_json::{Value as Json, json};

use super::*;
use crate::domain::{
    fault::Fault,
    id::EntityId,
    policy_set::SourceFile,
    principal::{Principal, PrincipalError},
};

const REALM: &str = r#"
title = "Small"
[principal]
entity = "Client"
id = "client_id"
parents = ["schools"]
[principal.attributes.claimSet]
claim = "scope"
[principal.attributes.schools]
claim = "schools"
separator = ","
[principal.attributes.level]
claim = "level"
"#;
const RELATIONS: &str = r#"
[entities.School]
id = "integer"
[entities.Client]
links = { owner = "Owner" }
"#;
const SCHEMA: &str = r"
entity School;
entity Owner;
entity Client in [School] { claimSet: String, schools: Set<School>, level?: Long, nested?: { a: Set<Long> }, owner: Owner };
action Read appliesTo { principal: [Client], resource: [School] };
";

fn compiled(rules: &str, schema: &str) -> Result<Realm, Vec<Fault>> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    let files = [
        file("realm.toml", rules),
        file("relations.toml", RELATIONS),
        file("schema.cedarschema", schema),
        file("p.cedar", ""),
    ];
    Realm::compile(&files, None)
}

fn realm_with(schema: &str) -> Realm {
    compiled(REALM, schema).unwrap()
}

fn realm() -> Realm {
    realm_with(SCHEMA)
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Long(number.as_i64().unwrap()),
        Json::String(text) => Value::String(text.as_str().into()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(_) => Value::Record(attributes(json)),
    }
}

fn attributes(json: &Json) -> Attributes {
    json.as_object().unwrap().iter().map(|(name, json)| (Arc::from(name.as_str()), value(json))).collect()
}

fn given(json: &Json) -> Application {
    Application {
        id: "sis".into(),
        title: "SIS".into(),
        attributes: attributes(json),
        expires_at_seconds: None,
        is_disabled: false,
        secret_hash: None,
    }
}

fn application(json: &Json) -> Application {
    given(json).check(&realm()).unwrap()
}

fn schools(ids: &[&str]) -> Value {
    Value::List(ids.iter().map(|id| Value::Entity(EntityId::new("School", *id))).collect())
}

#[test]
fn attributes_are_typed_and_ids_canonical() {
    let checked =
        application(&json!({ "schools": ["20", 3, " 020", "100"], "claimSet": "SIS", "nested": { "a": [2, 1, 2] } }));
    assert_eq!(checked.attributes.get("schools"), Some(&schools(&["100", "20", "3"])));
    assert_eq!(checked.attributes.at("nested.a"), Some(&Value::List(vec![Value::Long(1), Value::Long(2)])));
    assert_eq!(checked.attributes.get("level"), None);
}

#[test]
fn every_fault_is_found_at_once_and_shows_no_value() {
    let bad = Application {
        id: "".into(),
        title: "x".repeat(TITLE_CHARS_MAX + 1).into(),
        expires_at_seconds: Some(1_790_000_000_000),
        ..given(&json!({ "schools": ["604822-a"], "claimSet": 7, "level": "high", "owner": "Owner", "else": null }))
    };
    let faults = bad.check(&realm()).unwrap_err();
    let texts: Vec<_> = faults.iter().map(|fault| format!("{} {}", fault.field, fault.message)).collect();
    assert_eq!(
        texts,
        [
            "application.id is another text, expected an id that is not empty",
            "application.title is longer than 200 characters",
            "application.expires_at is no time between 1970 and 9999",
            "application.attributes.claimSet is a whole number, expected a string",
            "application.attributes.else is no attribute of `Client`, expected one of claimSet, level, nested, schools",
            "application.attributes.level is a string, expected a whole number",
            "application.attributes.owner is no attribute of `Client`, expected one of claimSet, level, nested, schools",
            "application.attributes.schools is a list, expected a whole number as the id of `School`",
        ]
    );
    let large = given(&json!({ "claimSet": "x".repeat(BYTES_MAX) })).check(&realm()).unwrap_err();
    assert_eq!(large[0].field, "application.attributes");
}

#[test]
fn only_sets_that_the_application_has_can_be_narrowed() {
    let application = application(&json!({ "schools": ["1", "2"], "claimSet": "SIS" }));
    let narrowing = |json: Json| application.narrowing(&realm(), &attributes(&json));
    assert_eq!(narrowing(json!({ "schools": [2] })).unwrap().get("schools"), Some(&schools(&["2"])));
    assert_eq!(narrowing(json!({ "schools": [] })).unwrap().get("schools"), Some(&schools(&[])));
    assert_eq!(narrowing(json!({})).unwrap(), Attributes::default());
    for bad in [
        json!({ "schools": ["3"] }),
        json!({ "schools": ["1", "3"] }),
        json!({ "schools": "1" }),
        json!({ "claimSet": "SIS" }),
        json!({ "level": 1 }),
        json!({ "nested": { "a": [] } }),
        json!({ "other": [] }),
    ] {
        assert_eq!(narrowing(bad.clone()).unwrap_err().len(), 1, "{bad}");
    }
}

#[test]
fn a_narrowed_set_loses_what_the_application_loses_and_gains_nothing() {
    let narrowed = attributes(&json!({}));
    let all = application(&json!({ "schools": ["1", "2", "3"], "claimSet": "SIS" }));
    assert_eq!(all.narrowed(&realm(), &narrowed).as_ref(), Ok(&all.attributes));
    let narrowed = all.narrowing(&realm(), &attributes(&json!({ "schools": ["1", "2"] }))).unwrap();
    for (has_now, expected) in [
        (json!(["2", "3"]), schools(&["2"])),
        (json!(["3"]), schools(&[])),
        (json!(["1", "2", "9"]), schools(&["1", "2"])),
    ] {
        let now = application(&json!({ "schools": has_now, "claimSet": "Reader" }));
        let now = now.narrowed(&realm(), &narrowed).unwrap();
        assert_eq!(now.get("schools"), Some(&expected));
        assert_eq!(now.get("claimSet"), Some(&Value::String("Reader".into())));
    }
}

#[test]
fn a_narrowed_token_is_refused_when_what_it_narrows_is_no_set_any_more() {
    let all = application(&json!({ "schools": ["1", "2"], "claimSet": "SIS" }));
    let narrowed = all.narrowing(&realm(), &attributes(&json!({ "schools": ["1"] }))).unwrap();
    let without = application(&json!({ "claimSet": "SIS" }));
    let single = given(&json!({ "schools": "1", "claimSet": "SIS" }));
    let rules = REALM.replace("separator = \",\"", "");
    let changed = compiled(&rules, &SCHEMA.replace("schools: Set<School>", "schools: School")).unwrap();
    for (application, realm) in [(&without, &realm()), (&single, &realm()), (&all, &changed)] {
        let error = application.narrowed(realm, &narrowed).unwrap_err();
        assert_eq!(error.code(), "TOKEN_APPLICATION_INVALID");
        assert!(error.to_string().contains("`schools` is not a set any more"), "{error}");
    }
    let gone = all.narrowed(&realm(), &attributes(&json!({ "other": ["1"] }))).unwrap_err();
    assert_eq!(gone.code(), "TOKEN_APPLICATION_INVALID");
    let moved = all.narrowed(&realm(), &attributes(&json!({ "schools": "1" }))).unwrap_err();
    assert_eq!(moved.code(), "TOKEN_APPLICATION_INVALID");
}

#[test]
fn tokens_count_while_the_application_is_in_use() {
    let ended = Application { expires_at_seconds: Some(100), ..given(&json!({})) };
    assert_eq!(ended.check_in_use(99), Ok(()));
    assert_eq!(ended.check_in_use(100), Err(TokenError::ApplicationExpired));
    assert_eq!((ended.until(99), ended.until(101)), (99, 100));
    let disabled = Application { is_disabled: true, ..ended };
    assert_eq!(disabled.check_in_use(0), Err(TokenError::ApplicationDisabled));
    assert_eq!(given(&json!({})).until(i64::MAX), i64::MAX);
}

fn told(claims: &Json, recorded: &Json) -> Result<Attributes, PrincipalError> {
    let realm = realm();
    let claims = claims.as_object().unwrap();
    let entity = Principal::named_in(&realm, claims)?;
    let recorded = application(recorded).attributes;
    let principal = Principal::from_claims_and_record(&realm, entity, claims, &recorded)?;
    Ok(Attributes::clone(&principal.attributes))
}

#[test]
fn what_the_token_says_counts_and_what_it_does_not_say_comes_from_the_record() {
    let recorded = json!({ "claimSet": "Record", "schools": ["1"], "level": 5, "nested": { "a": [1] } });
    let nested = ("nested", json!({ "a": [1] }));
    for (claims, claim_set, in_schools, level) in [
        (json!({}), "Record", &["1"][..], 5),
        (json!({ "scope": "Token" }), "Token", &["1"], 5),
        (json!({ "scope": null, "schools": null, "level": null }), "Record", &["1"], 5),
        (json!({ "schools": "2,3", "level": 6 }), "Record", &["2", "3"], 6),
        (json!({ "schools": "" }), "Record", &[], 5),
        (json!({ "schools": [] }), "Record", &[], 5),
    ] {
        let mut claims = claims;
        claims["client_id"] = json!("sis");
        let attributes = told(&claims, &recorded).unwrap();
        assert_eq!(attributes.get("claimSet"), Some(&Value::String(claim_set.into())), "{claims}");
        assert_eq!(attributes.get("schools"), Some(&schools(in_schools)), "{claims}");
        assert_eq!(attributes.get("level"), Some(&Value::Long(level)), "{claims}");
        assert_eq!(attributes.get(nested.0), Some(&value(&nested.1)));
    }
    let missing = told(&json!({ "client_id": "sis" }), &json!({})).unwrap_err();
    assert_eq!(missing.code(), "CLAIM_MISSING");
    let wrong = told(&json!({ "client_id": "sis", "scope": 7 }), &recorded).unwrap_err();
    assert_eq!(wrong.code(), "CLAIM_TYPE_INVALID", "a wrong claim is not made good by the record");
}

#[test]
fn a_record_alone_makes_a_principal_like_a_token_that_says_the_same() {
    let recorded = application(&json!({ "claimSet": "SIS", "schools": ["2", "1"] })).attributes;
    let claims = json!({ "client_id": "sis", "scope": "SIS", "schools": "1,2" });
    let alone = Principal::from_record(&realm(), "sis", &recorded).unwrap();
    let by_token = Principal::from_claims(&realm(), claims.as_object().unwrap()).unwrap();
    assert_eq!((&alone.entity, &alone.attributes), (&by_token.entity, &by_token.attributes));
    let few = Principal::from_record(&realm(), "sis", &application(&json!({ "claimSet": "SIS" })).attributes).unwrap();
    assert_eq!(few.attributes.get("schools"), Some(&schools(&[])));
    let none = Principal::from_record(&realm(), "sis", &Attributes::default()).unwrap_err();
    assert_eq!(
        none.to_string(),
        "the application's attribute `claimSet` is not there, and the realm's schema requires it"
    );
}

#[test]
fn a_record_that_the_schema_has_moved_away_from_makes_no_principal() {
    let recorded = application(&json!({ "claimSet": "SIS", "level": 5, "nested": { "a": [1] } })).attributes;
    let changed =
        realm_with(&SCHEMA.replace("level?: Long", "level?: String").replace("nested?: { a: Set<Long> }, ", ""));
    let error = Principal::from_record(&changed, "sis", &recorded).unwrap_err();
    assert_eq!(
        (error.code(), &*error.to_string()),
        ("TOKEN_APPLICATION_INVALID", "the application's attribute `level` is not a string")
    );
    let claims = json!({ "client_id": "sis", "level": "high" });
    let (claims, entity) = (claims.as_object().unwrap(), EntityId::new("Client", "sis"));
    let principal = Principal::from_claims_and_record(&changed, entity, claims, &recorded).unwrap();
    assert_eq!(principal.attributes.get("nested"), None, "what is not declared any more is left out");
}

#[test]
fn a_token_cannot_lift_a_recorded_attribute_that_restricts() {
    let restricting = |schema: &str| {
        let rules = format!(
            "{REALM}\n[principal.attributes.limits]\nclaim = \"limits\"\nseparator = \",\"\nrestricts = true\n"
        );
        compiled(&rules, schema)
    };
    let schema = SCHEMA.replace("level?: Long", "level?: Long, limits: Set<String>");
    let realm = restricting(&schema).unwrap();
    let limits = |said: &Json, recorded: &Json| {
        let recorded = given(recorded).check(&realm).unwrap().attributes;
        let mut claims = json!({ "client_id": "sis", "scope": "SIS" });
        if !said.is_null() {
            claims["limits"] = said.clone();
        }
        let entity = EntityId::new("Client", "sis");
        let principal = Principal::from_claims_and_record(&realm, entity, claims.as_object().unwrap(), &recorded);
        principal.unwrap().attributes.get("limits").cloned()
    };
    for (said, recorded, expected) in [
        (json!(""), json!({ "limits": ["B", "A"] }), json!(["A", "B"])),
        (json!([]), json!({ "limits": ["A"] }), json!(["A"])),
        (json!(null), json!({ "limits": ["A"] }), json!(["A"])),
        (json!("C,A"), json!({ "limits": ["B", "A"] }), json!(["A", "B", "C"])),
        (json!("C"), json!({ "limits": [] }), json!(["C"])),
        (json!("C"), json!({}), json!(["C"])),
        (json!(null), json!({}), json!([])),
    ] {
        assert_eq!(limits(&said, &recorded), Some(value(&expected)), "{said} {recorded}");
    }

    // A token with fewer of them would be allowed more.
    let limited = given(&json!({ "limits": ["A", "B"], "claimSet": "SIS" })).check(&realm).unwrap();
    let narrowed = attributes(&json!({ "limits": ["A"] }));
    assert_eq!(limited.narrowing(&realm, &narrowed).unwrap_err()[0].field, "narrowed.limits");
    assert_eq!(limited.narrowed(&realm, &narrowed).unwrap_err().code(), "TOKEN_APPLICATION_INVALID");

    let single = restricting(&schema.replace("limits: Set<String>", "limits: String")).unwrap_err();
    assert!(single[1].message.contains("`Client.limits` is no set, and only sets can say `restricts`"), "{single:?}");

    // What a form doesn't fit would be left out, and so would what it restricts.
    let formed = "\n[principal.attributes.limits]\nclaim = \"limits\"\nrestricts = true\nforms = [\"limit:{name}\"]\n";
    let formed = compiled(&format!("{REALM}{formed}"), &schema).unwrap_err();
    assert!(formed[0].message.contains("what restricts must not get lost"), "{formed:?}");
}

#[test]
fn a_token_that_is_no_jwt_has_a_digest() {
    let digest = TokenDigest::of_opaque("abc").unwrap();
    // FIPS 180-2, appendix B.1.
    let text = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((text.parse(), &*digest.to_string()), (Ok(digest), text));
    for (token, is_opaque) in [
        ("1f0c2c3e-7d0b-4f2e-9f5e-0d1f2a3b4c5d", true),
        ("a.b", true),
        ("a.b.c.d.e", true),
        ("", false),
        ("a.b.c", false),
        ("..", false),
        (&*"x".repeat(TOKEN_BYTES_MAX), true),
        (&*"x".repeat(TOKEN_BYTES_MAX + 1), false),
    ] {
        assert_eq!(TokenDigest::of_opaque(token).is_some(), is_opaque, "{}", token.len());
    }
    for bad in ["", "ab", &"A".repeat(64), &"g".repeat(64), &"a".repeat(63), &"a".repeat(65), &"é".repeat(32)] {
        assert_eq!(bad.parse::<TokenDigest>(), Err(TokenDigestError), "{bad}");
    }
}

#[test]
fn debug_shows_neither_hash_nor_digest() {
    let application = Application { secret_hash: Some(SecretHash("$argon2id$x".into())), ..given(&json!({})) };
    assert!(!format!("{application:?}").contains("argon2id"));
    assert_eq!(format!("{:?}", TokenDigest::of("abc")), "TokenDigest");
}
