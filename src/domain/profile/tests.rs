//! Profiles of a small realm: read, chosen, refused, applied.

use std::fmt::Write as _;

use serde_json::json;

use super::*;
use crate::domain::{
    access_request::{AccessRequest, Question},
    decide::decide,
    decision::{Decision, Outcome},
    graph::Graph,
    principal::Principal,
    realm::Realm,
    row_filter::{Answer, ROW_FILTER, row_filter},
    search::{AUTHORIZE_EACH, open},
    value::{Attributes, Value},
};

const REALM: &str = r#"
title = "Small"
[principal]
entity = "Client"
id = "id"
[principal.attributes.profiles]
claim = "profiles"
[resources]
entity = "Item"
file = "resources.json"
[profiles]
folder = "profiles"
attribute = "profiles"
media_type = "application/vnd.x"
readable = { View = "GET" }
writable = { Make = "POST", Change = "PUT" }
extensions = "_ext"
"#;

const SCHEMA: &str = r"
entity Client { profiles: Set<String> };
entity Item { lacks: Set<String>, place?: String, owner?: String, kind?: String };
action View, Make, Change, Drop appliesTo { principal: [Client], resource: [Item], context: { phase: String } };
";

/// `place` identifies, `owner` doesn't, of `kind` nobody says.
const RESOURCES: &str = r#"{"resources": {
 "core/boxes": {"claim": "claims/box", "required": ["label"], "subjects": [
  {"attribute": "place", "path": "placeReference.id", "name": "Place", "identity": true},
  {"attribute": "owner", "path": "ownerReference.id", "name": "Owner", "identity": false},
  {"attribute": "kind", "path": "kind", "name": "Kind"}]},
 "more/boxes": {"claim": "claims/more/box", "subjects": []},
 "core/lids": {"subjects": []}}}"#;

/// To look is permitted, and to write what has the right owner and kind.
const POLICY: &str = r#"
@id("Own") permit(principal, action, resource)
when { resource has owner && resource.owner == "me" } when { resource has kind && resource.kind == "mine" };
@id("Look") permit(principal, action == Action::"View", resource);
"#;

fn realm(xml: &[&str], settings: &str) -> Result<Realm, Vec<Fault>> {
    realm_with(POLICY, xml, settings)
}

fn realm_with(policy: &str, xml: &[&str], settings: &str) -> Result<Realm, Vec<Fault>> {
    let file = |path: &str, content: String| SourceFile { path: path.into(), content };
    let mut files = vec![
        file("realm.toml", format!("{REALM}{settings}")),
        file("schema.cedarschema", SCHEMA.into()),
        file("resources.json", RESOURCES.into()),
        file("rules.cedar", policy.into()),
        file("elsewhere.xml", "<not read>".into()),
    ];
    let named = xml.iter().enumerate();
    files.extend(named.map(|(index, xml)| file(&format!("profiles/{index}.xml"), (*xml).to_owned())));
    Realm::compile(&files, None)
}

fn profile(name: &str, content: &str) -> String {
    format!(r#"<Profile name="{name}"><Resource name="Box">{content}</Resource></Profile>"#)
}

const ALL: &str = r#"<ReadContentType memberSelection="IncludeAll"/>"#;

/// The faults of a definition, and else the warnings after `warning`.
fn said(xml: &str) -> String {
    let found = match realm(&[xml], "") {
        Err(faults) => faults,
        Ok(realm) => realm.warnings().to_vec(),
    };
    found.iter().fold(String::new(), |mut text, fault| {
        writeln!(text, "{}:{}:{}: {}", fault.file, fault.line, fault.column, fault.message).unwrap();
        text
    })
}

#[test]
fn what_is_no_definition_is_a_fault_with_its_place() {
    for (xml, expected) in [
        ("<Profile name='A'>\n <Resource>\n</Profile>", "profiles/0.xml:3:1: "),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><Profile name='A'/>", "profiles/0.xml:1:1: XML with DTD detected"),
        ("<Profiles>&b;</Profiles>", "profiles/0.xml:1:11: "),
        ("", "profiles/0.xml:1:1: "),
        ("<Profil/>", "profiles/0.xml:1:1: unknown element `Profil`, expected `Profiles` or `Profile`"),
        (
            "<Profiles>\n  <Resource name='Box'/>\n</Profiles>",
            "profiles/0.xml:2:3: unknown element `Resource`, expected Profile",
        ),
        ("<Profiles xmlns='urn:x'/>", "profiles/0.xml:1:1: unknown element `Profiles`"),
        ("<Profile name='A' kind='x'/>", "profiles/0.xml:1:19: unknown attribute `kind`, expected name"),
        ("<Profile name='A'>words</Profile>", "profiles/0.xml:1:19: unknown text within `Profile`"),
        (
            &profile("A", "<ReadContentType memberSelection='IncludeOnly'><Field name='B'/></ReadContentType>"),
            ": unknown element `Field`, expected Property, Object, Collection, Extension",
        ),
        (
            &profile(
                "A",
                "<ReadContentType memberSelection='IncludeOnly'><Object name='B' memberSelection='IncludeAll'><Filter/></Object></ReadContentType>",
            ),
            ": unknown element `Filter`",
        ),
        (
            &profile(
                "A",
                "<ReadContentType memberSelection='IncludeOnly'><Extension name='B' memberSelection='IncludeAll'><Extension/></Extension></ReadContentType>",
            ),
            ": unknown element `Extension`, expected Property, Object, Collection",
        ),
        (
            &profile(
                "A",
                "<ReadContentType memberSelection='IncludeOnly'><Property name='B'><Property name='C'/></Property></ReadContentType>",
            ),
            ": unknown element `Property`, expected nothing there",
        ),
    ] {
        let found = said(xml);
        assert!(found.contains(expected), "{xml}\n{found}");
        assert!(realm(&[xml], "").is_err(), "{xml}");
    }
}

#[test]
fn a_definition_that_makes_no_sense_makes_its_profile_invalid() {
    let only = |inner: &str| format!("<ReadContentType memberSelection='IncludeOnly'>{inner}</ReadContentType>");
    for (content, expected) in [
        (
            "<ReadContentType memberSelection='ExcludeAll'/>".to_owned(),
            "`memberSelection` needs one of IncludeAll, IncludeOnly, ExcludeOnly",
        ),
        ("<ReadContentType/>".to_owned(), "`memberSelection` needs one of"),
        (String::new(), "it has neither `ReadContentType` nor `WriteContentType`"),
        (format!("{ALL}{ALL}"), "`ReadContentType` is there twice"),
        (only("<Property/>"), "`Property` needs a `name` of at most 512 bytes"),
        (only("<Property name=' '/>"), "`Property` needs a `name`"),
        (only("<Property name='A'/><Collection name='a' memberSelection='IncludeAll'/>"), "`a` is there twice"),
        (
            only(
                "<Collection name='a' memberSelection='IncludeAll'><Filter propertyName='b' filterMode='IncludeOnly'/></Collection>",
            ),
            "a filter needs a `Value`",
        ),
        (
            only(
                "<Collection name='a' memberSelection='IncludeAll'><Filter propertyName='b' filterMode='IncludeOnly'><Value> </Value></Filter></Collection>",
            ),
            "a `Value` needs a text",
        ),
        (
            only(
                "<Collection name='a' memberSelection='IncludeAll'><Filter propertyName='b' filterMode='x'><Value>c</Value></Filter></Collection>",
            ),
            "`filterMode` needs",
        ),
        (
            only(
                "<Collection name='a' memberSelection='IncludeAll'><Filter filterMode='IncludeOnly'><Value>c</Value></Filter></Collection>",
            ),
            "`Filter` needs a `propertyName`",
        ),
    ] {
        let xml = profile("A", &content);
        let (found, text) = (realm(&[&xml], "").unwrap(), said(&xml));
        assert!(text.contains("profile `A` is invalid: ") && text.contains(expected), "{content}\n{text}");
        assert!(found.profiles.unwrap().is_empty(), "{content}");
        let kept = realm(&[&xml], "invalid = \"keep\"").unwrap().profiles.unwrap();
        assert!(!kept.find("a").unwrap().is_valid, "{content}");
    }
}

#[test]
fn a_profile_is_invalid_without_a_name_and_resources_that_there_are() {
    for (xml, expected) in [
        ("<Profile name='A'/>", "it has no `Resource`"),
        ("<Profile name='A.B'><Resource name='Box'/></Profile>", "no media type can name it"),
        (
            "<Profile name='A'><Resource name='Crate'><ReadContentType memberSelection='IncludeAll'/></Resource></Profile>",
            "the realm has no resource `Crate`",
        ),
        (
            "<Profile name='A'><Resource name='Box' logicalSchema='Other'><ReadContentType memberSelection='IncludeAll'/></Resource></Profile>",
            "the realm has no resource `Box`",
        ),
        (
            "<Profile><Resource name='Box'><ReadContentType memberSelection='IncludeAll'/></Resource></Profile>",
            "`Profile` needs a `name`",
        ),
        (
            "<Profile name='A'><Resource name='Box'><ReadContentType memberSelection='IncludeAll'/></Resource><Resource name='box'><ReadContentType memberSelection='IncludeAll'/></Resource></Profile>",
            "resource `box` is there twice",
        ),
    ] {
        assert!(realm(&[xml], "").unwrap().profiles.unwrap().is_empty(), "{xml}");
        assert!(said(xml).contains(expected), "{xml}\n{}", said(xml));
    }
}

#[test]
fn nesting_and_size_are_bounded() {
    let nested = |depth: usize| {
        let (open, close) =
            ("<Object name='a' memberSelection='IncludeOnly'>".repeat(depth), "</Object>".repeat(depth));
        profile("A", &format!("<ReadContentType memberSelection='IncludeOnly'>{open}{close}</ReadContentType>"))
    };
    assert_eq!(said(&nested(16)), "");
    let members = (0..2_001).fold(String::new(), |mut text, number| {
        write!(text, "<Property name='p{number}'/>").unwrap();
        text
    });
    let many = format!("<ReadContentType memberSelection='IncludeOnly'>{members}</ReadContentType>");
    assert!(said(&profile("A", &many)).contains("names more than 2000 members"));
    // What is beyond the limit is not read: the second half of these would be there twice.
    let twice = format!("<ReadContentType memberSelection='IncludeOnly'>{members}{members}</ReadContentType>");
    assert_eq!(said(&profile("A", &twice)).lines().count(), 1);
    let values = format!("<Filter propertyName='a' filterMode='IncludeOnly'>{}</Filter>", "<Value/>".repeat(2_001));
    let values = format!(
        "<Collection name='a' memberSelection='IncludeAll'>{}</Collection>",
        values.replace("/>", ">x</Value>")
    );
    let values =
        said(&profile("A", &format!("<ReadContentType memberSelection='IncludeOnly'>{values}</ReadContentType>")));
    assert!(values.contains("names more than 2000 members") && values.lines().count() == 1, "{values}");
    assert!(said(&nested(17)).contains("is nested more than 16 deep"));
    assert!(said(&nested(10_000)).contains("is nested more than 16 deep"));
    assert!(said(&" ".repeat(1_048_577)).contains("is longer than 1048576 bytes"));
    assert!(
        said(&format!("<Profiles>{}</Profiles>", "<a/>".repeat(100_001))).contains("has more than 100000 elements")
    );
}

#[test]
fn profiles_of_one_name_are_a_fault() {
    let faults = realm(&[&profile("A", ALL), &profile("a", ALL)], "").unwrap_err();
    let said: Vec<String> = faults.iter().map(|fault| format!("{}:{}", fault.file, fault.message)).collect();
    assert_eq!(said, ["profiles/1.xml:there is another profile `a`; names differ in more than case"]);
}

#[test]
fn settings_that_fit_nothing_are_faults() {
    let wrong = REALM.replace("View = ", "Gaze = ").replace("attribute = \"profiles\"", "attribute = \"tags\"");
    let files: Vec<SourceFile> =
        [("realm.toml", &*wrong), ("schema.cedarschema", SCHEMA), ("resources.json", RESOURCES)]
            .into_iter()
            .map(|(path, content)| SourceFile { path: path.into(), content: content.into() })
            .collect();
    let faults = Realm::compile(&files, None).unwrap_err();
    let messages: Vec<&str> = faults.iter().map(|fault| &*fault.message).collect();
    assert_eq!(
        messages,
        [
            "`profiles.attribute`: `tags` is no attribute of the principal that holds texts",
            "`profiles`: the schema has no action `Gaze`",
        ]
    );
}

#[test]
fn what_has_no_effect_is_warned_about() {
    let odd = |content: &str| said(&profile("A", content));
    assert_eq!(odd(ALL), "");
    assert!(
        odd("<ReadContentType memberSelection='IncludeAll'><Property name='B'/></ReadContentType>")
            .contains("naming properties under `IncludeAll` has no effect")
    );
    assert!(
        odd("<ReadContentType memberSelection='ExcludeOnly'><Property name='PlaceReference'/></ReadContentType>")
            .contains("`placeReference` identifies the resource, so it cannot be excluded")
    );
    assert!(said(&profile("1_A", ALL)).contains("no request can name profile `1_A`"));
}

fn record(pairs: &[(&str, &str)]) -> Attributes {
    pairs.iter().map(|(name, value)| (Arc::from(*name), Value::String((*value).into()))).collect()
}

fn ask(realm: &Realm, assigned: &[&str], question: &Question) -> Decision {
    let claims = json!({"id": "c", "profiles": assigned});
    let principal = Principal::from_claims(realm, claims.as_object().unwrap()).unwrap();
    let request = AccessRequest::check(realm, question).unwrap();
    decide(realm, &principal, &request, &Graph::new())
}

/// Looks at a lid, which everybody may.
fn look(realm: &Realm, assigned: &[&str], media_type: &str) -> Decision {
    let question = Question {
        action: "View".into(),
        resource_type: "core/lids".into(),
        media_type: media_type.into(),
        ..Question::default()
    };
    ask(realm, assigned, &question)
}

/// The code of the first reason, or the profile that an allow obliges to.
fn came_of(decision: &Decision) -> String {
    let applied = decision.obligations.iter().find(|obligation| &*obligation.id == "apply_profile");
    match (decision.outcome, applied.and_then(|applied| applied.parameters.get("profile"))) {
        (Outcome::Allowed, Some(Value::String(profile))) => profile.to_string(),
        (Outcome::Allowed, _) => "all".to_owned(),
        _ => decision.reasons[0].code.to_string(),
    }
}

const LIDS: &str = r#"<Profiles>
 <Profile name="One"><Resource name="core/lids"><ReadContentType memberSelection="IncludeAll"/></Resource></Profile>
 <Profile name="One-Lid"><Resource name="Lids"><ReadContentType memberSelection="IncludeAll"/></Resource></Profile>
 <Profile name="Two-Lid"><Resource name="lids"><ReadContentType memberSelection="IncludeOnly"/></Resource></Profile>
 <Profile name="Write"><Resource name="Lids"><WriteContentType memberSelection="IncludeAll"/></Resource></Profile>
 <Profile name="Bad-Lid"><Resource name="Lids"><ReadContentType memberSelection="IncludeNone"/></Resource></Profile>
 <Profile name="Box"><Resource name="Box"><ReadContentType memberSelection="IncludeAll"/></Resource></Profile>
</Profiles>"#;

fn named(profile: &str) -> String {
    format!("application/vnd.x.lids.{profile}.readable+json")
}

#[test]
fn the_profile_follows_from_header_and_assignment() {
    let by_pattern = realm(&[LIDS], "").unwrap();
    let by_facets = realm(&[LIDS], "header = \"facets\"\ninvalid = \"keep\"").unwrap();
    let (one, two, write, bad, boxes) =
        (named("one-lid"), named("Two-Lid"), named("write"), named("bad-lid"), named("box"));
    for (assigned, header, pattern, facets) in [
        (&[][..], "", "all", "all"),
        (&["ONE-LID"], "", "One-Lid", "One-Lid"),
        (&["Box"], "", "all", "all"),
        (&["Write"], "", "all", "all"),
        (&["Write", "Two-Lid"], "", "Two-Lid", "Two-Lid"),
        (&["One-Lid", "Two-Lid"], "", "PROFILE_REQUIRED", "PROFILE_REQUIRED"),
        (&["One-Lid", "Two-Lid"], &two, "Two-Lid", "Two-Lid"),
        (&["One-Lid"], &two, "PROFILE_NOT_ASSIGNED", "PROFILE_NOT_ASSIGNED"),
        (&["One-Lid", "Box"], &boxes, "PROFILE_REQUIRED", "PROFILE_REQUIRED"),
        (&["One-Lid", "Write"], &write, "PROFILE_USAGE_MISSING", "PROFILE_REQUIRED"),
        (&["Box"], &boxes, "PROFILE_NOT_CONTAINED", "PROFILE_NOT_CONTAINED"),
        (&["Write"], &write, "PROFILE_USAGE_MISSING", "PROFILE_USAGE_MISSING"),
        (&[], &one, "One-Lid", "One-Lid"),
        (&["Box"], &one, "One-Lid", "One-Lid"),
        (&["gone"], "", "all", "all"),
        // An invalid profile: nobody's business where it is dropped, in the way where it is kept.
        (&[], &bad, "PROFILE_UNKNOWN_ON_READ", "PROFILE_MISCONFIGURED"),
        (&["Bad-Lid"], "", "all", "PROFILE_MISCONFIGURED"),
        (&["Bad-Lid", "One-Lid"], "", "One-Lid", "PROFILE_REQUIRED"),
    ] {
        assert_eq!(came_of(&look(&by_pattern, assigned, header)), pattern, "{assigned:?} {header}");
        assert_eq!(came_of(&look(&by_facets, assigned, header)), facets, "{assigned:?} {header}");
    }
}

#[test]
fn an_assigned_name_without_a_profile_can_be_made_to_refuse() {
    let strict = realm(&[LIDS], "missing = \"refuse\"").unwrap();
    for assigned in [&["gone"][..], &["gone", "One-Lid"], &["Bad-Lid"]] {
        let decision = look(&strict, assigned, "");
        assert_eq!((came_of(&decision).as_str(), decision.outcome), ("PROFILE_NOT_AVAILABLE", Outcome::Indeterminate));
    }
    assert_eq!(came_of(&look(&strict, &["One-Lid"], "")), "One-Lid");
}

#[test]
fn a_misconfigured_profile_is_not_decided_rather_than_forbidden() {
    let kept = realm(&[LIDS], "invalid = \"keep\"").unwrap();
    let decision = look(&kept, &["Bad-Lid"], "");
    assert_eq!(decision.outcome, Outcome::Indeterminate);
    assert!(decision.obligations.is_empty() && decision.denial.is_some());
}

#[test]
fn a_caller_that_cannot_apply_profiles_is_denied() {
    let realm = realm(&[LIDS], "").unwrap();
    let supporting = |obligations: &[&str]| {
        let question = Question {
            action: "View".into(),
            resource_type: "core/lids".into(),
            supported_obligations: Some(obligations.iter().map(|id| Arc::from(*id)).collect()),
            ..Question::default()
        };
        came_of(&ask(&realm, &["One-Lid"], &question))
    };
    assert_eq!(supporting(&[]), "OBLIGATION_NOT_SUPPORTED");
    assert_eq!(supporting(&["apply_profile"]), "One-Lid");
}

#[test]
fn a_caller_that_cannot_apply_profiles_does_not_search() {
    let twofold = r#"@id("Twofold") forbid(principal, action == Action::"View", resource)
        when { resource has place && resource has kind && resource.place == resource.kind };"#;
    let none = r#"@id("None") permit(principal, action == Action::"View", resource) when { 1 == 2 };"#;
    let read = profile("A", "<ReadContentType memberSelection='IncludeAll'/>");
    // A filter lets all pass, says nothing, lets none pass.
    for (policy, first) in [(POLICY, ROW_FILTER), (&*format!("{POLICY}{twofold}"), AUTHORIZE_EACH), (none, ROW_FILTER)]
    {
        let realm = realm_with(policy, &[&read], "").unwrap();
        let claims = json!({ "id": "c", "profiles": ["A"] });
        let principal = Principal::from_claims(&realm, claims.as_object().unwrap()).unwrap();
        let opened = |supported: &str| {
            let question = Question {
                action: "View".into(),
                resource_type: "core/boxes".into(),
                supported_obligations: Some(vec![supported.into()]),
                ..Question::default()
            };
            let about = AccessRequest::without_values(&realm, &question).unwrap();
            open(&realm, &principal, &about, &Graph::new()).decision
        };
        let refused = opened("other");
        assert_eq!(
            (&*refused.reasons[0].code, refused.outcome, refused.denial.is_some(), refused.obligations.len()),
            ("OBLIGATION_NOT_SUPPORTED", Outcome::Indeterminate, true, 0)
        );
        let allowed = opened("apply_profile");
        let duties: Vec<&str> = allowed.obligations.iter().map(|duty| &*duty.id).collect();
        assert_eq!((&*allowed.reasons[0].code, duties), ("SEARCH_ALLOWED", vec![first, "apply_profile"]));
    }
}

/// What comes of writing a box under a profile whose rules for writing are these.
fn written(content: &str, stored: Option<&[(&str, &str)]>, proposed: &[(&str, &str)]) -> String {
    let content = format!("<WriteContentType {content}</WriteContentType>");
    let realm = realm(&[&profile("A", &content)], "").unwrap();
    assert_eq!(realm.warnings(), []);
    let question = Question {
        action: if stored.is_some() { "Change" } else { "Make" }.into(),
        resource_type: "core/boxes".into(),
        attributes: stored.map(record),
        proposed: Some(record(proposed)),
        ..Question::default()
    };
    let decision = ask(&realm, &["A"], &question);
    let subjects: Vec<&str> = decision.reasons[0].subjects.iter().map(|name| &**name).collect();
    format!("{} {}", came_of(&decision), subjects.join(" ")).trim_end().to_owned()
}

#[test]
fn the_policies_see_what_the_profile_lets_through() {
    let mine = [("ownerReference.id", "me"), ("kind", "mine")];
    let other = [("ownerReference.id", "you"), ("kind", "yours")];
    let hides_owner = "memberSelection='ExcludeOnly'><Property name='OwnerReference'/>";
    let hides_kind = "memberSelection='ExcludeOnly'><Property name='Kind'/>";
    let shows_label = "memberSelection='IncludeOnly'><Property name='BoxLabel'/>";
    for (content, stored, proposed, expected) in [
        ("memberSelection='IncludeAll'>", None, &mine[..], "A"),
        ("memberSelection='IncludeAll'>", Some(&mine[..]), &other, "NO_POLICY_PERMITS Owner Kind"),
        // Created without what is hidden.
        (hides_owner, None, &mine, "VALUE_REQUIRED Owner"),
        (hides_kind, None, &mine, "VALUE_REQUIRED Kind"),
        (shows_label, None, &mine, "VALUE_REQUIRED Owner Kind"),
        // Updated, the stored value stays.
        (hides_owner, Some(&mine), &[("kind", "mine")], "A"),
        (hides_owner, Some(&mine), &[("kind", "mine"), ("ownerReference.id", "you")], "A"),
        (hides_owner, Some(&other), &mine, "NO_POLICY_PERMITS Owner Kind"),
        (hides_owner, Some(&mine), &other, "NO_POLICY_PERMITS Kind"),
        // Whether a kind is part of the identity nobody knows: what is proposed counts, and so does what is stored.
        (hides_kind, Some(&mine), &[("ownerReference.id", "me"), ("kind", "yours")], "NO_POLICY_PERMITS Kind"),
        (hides_kind, Some(&mine), &[("ownerReference.id", "me")], "A"),
        // Hidden and required.
        ("memberSelection='ExcludeOnly'><Property name='label'/>", None, &mine, "PROFILE_DATA_POLICY"),
        ("memberSelection='IncludeOnly'><Property name='Kind'/>", None, &mine, "PROFILE_DATA_POLICY"),
        ("memberSelection='ExcludeOnly'><Property name='Label'/>", Some(&mine), &mine, "A"),
    ] {
        assert_eq!(written(content, stored, proposed), expected, "{content} {stored:?} {proposed:?}");
    }
}

#[test]
fn a_resource_of_another_schema_is_another_resource() {
    let xml = "<Profile name='A'><Resource name='Box' logicalSchema='More'><ReadContentType memberSelection='IncludeAll'/></Resource></Profile>";
    let realm = realm(&[xml], "").unwrap();
    let profiles = realm.profiles.as_ref().unwrap();
    let says = |name: &str| profiles.find("A").unwrap().resource(&realm.resource_types[name]).is_some();
    assert!(says("more/boxes") && !says("core/boxes"));
}

#[test]
fn a_row_filter_is_refused_where_each_row_would_be() {
    let realm = realm(&[LIDS], "").unwrap();
    let question = Question { action: "View".into(), resource_type: "core/lids".into(), ..Question::default() };
    for (assigned, expected) in [(&["One-Lid"][..], None), (&["One-Lid", "Two-Lid"], Some("PROFILE_REQUIRED"))] {
        let claims = json!({"id": "c", "profiles": assigned});
        let principal = Principal::from_claims(&realm, claims.as_object().unwrap()).unwrap();
        let request = AccessRequest::check(&realm, &question).unwrap();
        let refused = match row_filter(&realm, &principal, &request, &Graph::new()) {
            Answer::Refused(decision) => Some(decision.reasons[0].code.to_string()),
            Answer::Filtered(_) | Answer::Inexpressible => None,
        };
        assert_eq!(refused.as_deref(), expected);
    }
}
