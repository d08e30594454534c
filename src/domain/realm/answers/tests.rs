//! A small realm whose policies name denials and obligations.

use std::sync::Arc;

use serde_json::json;

use crate::domain::{
    access_request::{AccessRequest, Question},
    decide::{decide, refuse},
    decision::{Decision, Denial, Outcome, Reason},
    graph::Graph,
    policy_set::SourceFile,
    policy_test,
    principal::Principal,
    realm::Realm,
    search::open,
    value::{Attributes, Value},
};

const REALM: &str = r#"
title = "Depot"
[principal]
entity = "Driver"
id = "sub"
[principal.attributes.rights]
claim = "rights"
separator = " "
[principal.attributes.route]
claim = "route"
[principal.attributes.seat]
claim = "seat"
[resources]
entity = "Van"
file = "vans.json"
[reasons]
second_phase = { TOO_HEAVY = "TOO_HEAVY_THEN", NO_RIGHT = "NO_RIGHT_THEN" }
[obligations.cover]
constants = { parts = ["plate", "driver"], times = 2 }
[obligations.keep_to]
parameters = { route = { attribute = "route", split = "/" }, seat = "seat" }
[obligations.log]
actions = ["Buy"]
parameters = { seat = "seat" }
[denials.NO_RIGHT]
status = 403
members = { status = 7, is_final = true, needs = "{context.need.rights}" }
headers = { "WWW-Authenticate" = 'Bearer error="insufficient_scope", scope="{context.need.rights}"', "X-Note" = "{context.note}" }
[denials.NO_RIGHT_THEN]
status = 409
[denials.CLOSED]
status = 503
title = "Closed"
detail = "{context.note}|{context.need.level}|{context.open}|{reason}"
headers = { "Retry-After" = "60" }
[denials.TOKEN]
status = 401
headers = { "WWW-Authenticate" = 'Bearer scope="{context.note}"' }
[trusted]
context = ["need", "note", "open"]
"#;

const SCHEMA: &str = r"
entity Driver { rights: Set<String>, route?: String, seat?: Long };
entity Person;
entity Van { lacks: Set<String>, size?: Long };
action Look, Buy, Change appliesTo {
    principal: [Driver], resource: [Van],
    context: { need?: { rights?: Set<String>, level?: Long }, note?: String, open?: Bool, who?: Person },
};
";

const POLICIES: &str = r#"
@id("plain") @reason("NO_RIGHT") @obligation("cover, keep_to")
permit (principal, action, resource) when { principal.rights.contains("look") && resource has size };
@id("wide") @obligation("cover")
permit (principal, action, resource) when { principal.rights.contains("wide") && resource has size };
@id("all")
permit (principal, action, resource) when { principal.rights.contains("all") };
@id("closed") @reason("FORBIDDEN") @denial("CLOSED")
forbid (principal, action, resource) when { context has open && !context.open };
@id("heavy") @reason("TOO_HEAVY") @denial("CLOSED")
forbid (principal, action, resource) when { resource has size && resource.size == 10 };
@id("right") @reason("NO_RIGHT")
forbid (principal, action, resource) when { resource has size && resource.size == 5 };
"#;

fn files(realm: &str, schema: &str, policies: &str) -> Vec<SourceFile> {
    let file = |path: &str, content: &str| SourceFile { path: path.into(), content: content.into() };
    let vans = r#"{"resources": {"vans": {"subjects": [{"attribute": "size", "path": "size", "name": "Size"}]}}}"#;
    vec![
        file("realm.toml", realm),
        file("schema.cedarschema", schema),
        file("vans.json", vans),
        file("relations.toml", "[entities.Person]\nperson = true\n"),
        file("rules.cedar", policies),
    ]
}

fn realm() -> Realm {
    Realm::compile(&files(REALM, SCHEMA, POLICIES), None).unwrap_or_else(|faults| panic!("{faults:?}"))
}

fn driver(realm: &Realm, rights: &str) -> Principal {
    let claims = json!({ "sub": "d", "rights": rights, "route": "north/7", "seat": 3 });
    Principal::from_claims(realm, claims.as_object().unwrap()).unwrap()
}

fn sized(size: i64) -> Attributes {
    [("size".into(), Value::Long(size))].into_iter().collect()
}

fn question(action: &str, context: &[(&str, Value)]) -> Question {
    Question {
        action: action.into(),
        resource_type: "vans".into(),
        attributes: Some(sized(1)),
        context: context.iter().map(|(name, value)| (Arc::from(*name), value.clone())).collect(),
        ..Question::default()
    }
}

fn ask(realm: &Realm, rights: &str, question: &Question) -> Decision {
    let request = AccessRequest::check(realm, question).unwrap_or_else(|faults| panic!("{faults:?}"));
    decide(realm, &driver(realm, rights), &request, &Graph::new())
}

fn duties(decision: &Decision) -> String {
    let duties = decision.obligations.iter();
    duties.map(|duty| &*duty.id).collect::<Vec<_>>().join(" ")
}

fn faults(realm: &str, policies: &str) -> Vec<String> {
    let faults = Realm::compile(&files(realm, SCHEMA, policies), None).err().unwrap_or_default();
    faults.into_iter().map(|fault| format!("{}:{}: {}", fault.file, fault.line, fault.message)).collect()
}

#[test]
fn an_allow_carries_what_every_permit_that_holds_carries() {
    let realm = realm();
    for (rights, expected) in
        [("look", "cover keep_to"), ("look wide", "cover"), ("wide", "cover"), ("look all", ""), ("all", "")]
    {
        assert_eq!(duties(&ask(&realm, rights, &question("Look", &[]))), expected, "{rights}");
    }
}

#[test]
fn an_obligation_has_its_constants_and_the_parts_of_a_claim() {
    let decision = ask(&realm(), "look", &question("Look", &[]));
    let text = |text: &str| Value::String(text.into());
    let [cover, keep_to] = decision.obligations.as_slice() else { panic!("{:?}", decision.obligations) };
    let parts = Value::List(vec![text("plate"), text("driver")]);
    assert_eq!((cover.parameters.get("parts"), cover.parameters.get("times")), (Some(&parts), Some(&Value::Long(2))));
    let route = Value::List(vec![text("north"), text("7")]);
    let parameters = &keep_to.parameters;
    assert_eq!((parameters.get("route"), parameters.get("seat")), (Some(&route), Some(&Value::Long(3))));
}

#[test]
fn an_update_carries_what_either_of_its_phases_asks_for() {
    let realm = realm();
    let policies = format!(
        "{}\n{}",
        POLICIES,
        r#"@id("small") permit (principal, action, resource) when { resource has size && resource.size < 2 };"#
    );
    let lifted = Realm::compile(&files(REALM, SCHEMA, &policies), None).unwrap();
    let change = |proposed: i64| Question { proposed: Some(sized(proposed)), ..question("Change", &[]) };
    for (proposed, expected) in [(1, ""), (3, "cover keep_to")] {
        assert_eq!(duties(&ask(&lifted, "look", &change(proposed))), expected, "{proposed}");
    }
    assert_eq!(duties(&ask(&realm, "look", &change(1))), "cover keep_to");
}

#[test]
fn an_allow_whose_obligation_lacks_a_value_is_none_but_goes_without_one_of_its_action() {
    let realm = realm();
    let asked = |rights: &str, claims: serde_json::Value, action: &str| {
        let mut claims = claims;
        claims["sub"] = json!("d");
        claims["rights"] = json!(rights);
        let principal = Principal::from_claims(&realm, claims.as_object().unwrap()).unwrap();
        let new = Question { attributes: None, proposed: Some(sized(1)), ..question(action, &[]) };
        decide(&realm, &principal, &AccessRequest::check(&realm, &new).unwrap(), &Graph::new())
    };
    let refused = asked("look", json!({ "route": "a" }), "Look");
    assert_eq!((&*refused.reasons[0].code, refused.outcome), ("OBLIGATION_INCOMPLETE", Outcome::Indeterminate));
    assert!(refused.obligations.is_empty() && refused.denial.is_some());
    assert_eq!(duties(&asked("wide", json!({}), "Buy")), "cover");
    assert_eq!(duties(&asked("wide", json!({ "seat": 1 }), "Buy")), "cover log");
}

#[test]
fn a_caller_that_cannot_do_what_a_permit_asks_for_is_denied() {
    let realm = realm();
    let asked = |rights: &str, supported: &[&str]| {
        let supported_obligations = Some(supported.iter().map(|id| Arc::from(*id)).collect());
        let decision = ask(&realm, rights, &Question { supported_obligations, ..question("Look", &[]) });
        decision.reasons[0].code.to_string()
    };
    for (rights, supported, expected) in [
        ("look", &["cover", "keep_to"][..], "PERMITTED"),
        ("look", &["cover"], "OBLIGATION_NOT_SUPPORTED"),
        ("look wide", &["cover"], "PERMITTED"),
        ("wide", &[], "OBLIGATION_NOT_SUPPORTED"),
        ("all", &[], "PERMITTED"),
    ] {
        assert_eq!(asked(rights, supported), expected, "{rights} {supported:?}");
    }
}

#[test]
fn a_search_carries_whatever_any_of_its_resources_may() {
    let policies = format!(
        "{POLICIES}{}",
        r#"@id("none") @obligation("log") permit (principal, action, resource) when { principal.rights.contains("x") };
        @id("odd") @obligation("log") permit (principal, action, resource)
        when { principal.rights.contains("odd") && resource has size && resource.size * 2 == 4 };"#
    );
    let realm = Realm::compile(&files(REALM, SCHEMA, &policies), None).unwrap();
    let opened = |rights: &str, supported: Option<&[&str]>| {
        let supported_obligations = supported.map(|ids| ids.iter().map(|id| Arc::from(*id)).collect());
        let question = Question { supported_obligations, attributes: None, ..question("Look", &[]) };
        let about = AccessRequest::without_values(&realm, &question).unwrap();
        let decision = open(&realm, &driver(&realm, rights), &about, &Graph::new()).decision;
        format!("{} {}", decision.reasons[0].code, duties(&decision))
    };
    for (rights, expected) in [
        ("look", "SEARCH_ALLOWED row_filter cover keep_to"),
        ("look wide", "SEARCH_ALLOWED row_filter cover keep_to"),
        ("look all", "SEARCH_ALLOWED row_filter "),
        ("odd", "SEARCH_ALLOWED authorize_each log"),
    ] {
        assert_eq!(opened(rights, None).trim(), expected.trim(), "{rights}");
    }
    assert_eq!(opened("look", Some(&["row_filter", "cover"])), "OBLIGATION_NOT_SUPPORTED ");
    assert!(opened("look", Some(&["cover", "keep_to"])).starts_with("SEARCH_ALLOWED"));
}

#[test]
fn where_policies_name_resources_a_search_carries_what_any_permit_may() {
    let policies = format!(
        "{POLICIES}{}",
        r#"@id("one") @obligation("log") permit (principal, action, resource == Van::"vans/1");"#
    );
    let realm = Realm::compile(&files(REALM, SCHEMA, &policies), None).unwrap();
    let about = Question { attributes: None, ..question("Look", &[]) };
    let about = AccessRequest::without_values(&realm, &about).unwrap();
    let decision = open(&realm, &driver(&realm, "all"), &about, &Graph::new()).decision;
    assert_eq!(duties(&decision), "authorize_each cover keep_to log");
}

fn needing(rights: &[&str], level: i64, note: &str) -> Vec<(&'static str, Value)> {
    let rights = rights.iter().map(|right| Value::String((*right).into())).collect();
    let need = [("rights".into(), Value::List(rights)), ("level".into(), Value::Long(level))];
    vec![("need", Value::Record(need.into_iter().collect())), ("note", Value::String(note.into()))]
}

#[test]
fn a_denial_has_headers_and_members_filled_in_from_the_context() {
    let asked = question("Look", &needing(&["drive", "look"], 2, "at night"));
    let Denial { status, problem_type, title, headers, members, .. } = ask(&realm(), "", &asked).denial.unwrap();
    assert_eq!((status, &*problem_type, &*title), (403, "about:blank", "Forbidden"));
    let headers: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        headers,
        ["WWW-Authenticate: Bearer error=\"insufficient_scope\", scope=\"drive look\"", "X-Note: at night"]
    );
    let needs = Value::String("drive look".into());
    assert_eq!(
        (members.get("status"), members.get("is_final"), members.get("needs")),
        (Some(&Value::Long(7)), Some(&Value::Bool(true)), Some(&needs))
    );
}

#[test]
fn what_a_caller_sends_stays_within_its_place_in_a_header() {
    let realm = realm();
    for (sent, quoted, plain) in [
        ("a\", error=\"x", "a\\\", error=\\\"x", "a?? error=?x"),
        ("a\\", "a\\\\", "a?"),
        ("a\r\nSet-Cookie: b", "a??Set-Cookie: b", "a??Set-Cookie: b"),
        ("é\u{7f}", "??", "??"),
    ] {
        let denial = ask(&realm, "", &question("Look", &needing(&[sent], 1, sent))).denial.unwrap();
        let values: Vec<&str> = denial.headers.iter().map(|(_, value)| value.as_str()).collect();
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{quoted}\"");
        assert_eq!(values, [challenge.as_str(), plain], "{sent:?}");
    }
    let long = "x".repeat(5_000);
    let denial = ask(&realm, "", &question("Look", &needing(&[], 1, &long))).denial.unwrap();
    assert_eq!(denial.headers[1].1.len(), 1_024);
}

#[test]
fn a_policy_can_name_the_template_of_its_denial() {
    let realm = realm();
    let mut context = needing(&[], 4, "later");
    context.push(("open", Value::Bool(false)));
    let decision = ask(&realm, "all", &question("Look", &context));
    let denial = decision.denial.unwrap();
    assert_eq!((&*decision.reasons[0].code, denial.status), ("FORBIDDEN", 503));
    assert_eq!(denial.detail, "later|4|false|{reason}");
    let decision = ask(&realm, "all", &question("Look", &[("open", Value::Bool(false))]));
    assert_eq!(decision.denial.unwrap().detail, "||false|{reason}", "what isn't there has no text");
}

#[test]
fn a_refused_token_has_no_context_to_show() {
    let denial = refuse(&realm(), Outcome::Unauthenticated, Reason::plain("TOKEN_EXPIRED", "")).denial.unwrap();
    assert_eq!((denial.status, &*denial.headers[0].1), (401, "Bearer scope=\"\""));
}

#[test]
fn proposed_values_that_fail_after_stored_ones_passed_are_told_by_their_own_code() {
    let realm = realm();
    let told = |stored: Option<i64>, proposed: Option<i64>| {
        let attributes = stored.map(sized);
        let change = Question { attributes, proposed: proposed.map(sized), ..question("Change", &[]) };
        let decision = ask(&realm, "all", &change);
        format!("{} {}", decision.reasons[0].code, decision.denial.map_or(0, |denial| denial.status))
    };
    // Named by the policy; by the code of the second phase; by the code that stands for the first phase too.
    for (stored, proposed, expected) in [
        (Some(1), Some(10), "TOO_HEAVY_THEN 503"),
        (Some(1), Some(5), "NO_RIGHT_THEN 409"),
        (Some(10), Some(1), "TOO_HEAVY 503"),
        (Some(5), Some(10), "NO_RIGHT 403"),
        (None, Some(5), "NO_RIGHT 403"),
    ] {
        assert_eq!(told(stored, proposed), expected, "{stored:?} {proposed:?}");
    }
    let without = REALM.replace("[denials.NO_RIGHT_THEN]\nstatus = 409\n", "");
    let realm = Realm::compile(&files(&without, SCHEMA, POLICIES), None).unwrap();
    let decision = ask(&realm, "all", &Question { proposed: Some(sized(5)), ..question("Change", &[]) });
    assert_eq!((&*decision.reasons[0].code, decision.denial.unwrap().status), ("NO_RIGHT_THEN", 403));
}

#[test]
fn names_that_lead_nowhere_are_faults_with_their_place() {
    for (from, to, expected) in [
        (
            "@denial(\"CLOSED\")\nforbid",
            "@denial(\"OPEN\")\nforbid",
            "rules.cedar:8: unknown denial `OPEN`, expected one",
        ),
        ("@obligation(\"cover\")", "@obligation(\"cower\")", "rules.cedar:4: unknown obligation `cower`, expected one"),
        ("@obligation(\"cover\")", "@obligation(\"cover,\")", "rules.cedar:4: `@obligation` has an empty name"),
        (
            "@denial(\"CLOSED\")\nforbid",
            "@obligation(\"cover\")\nforbid",
            "rules.cedar:8: a forbid carries no obligation",
        ),
        ("@id(\"wide\")", "@id(\"wide\") @denail(\"x\")", "rules.cedar:4: unknown annotation `@denail`"),
        (", keep_to", "", "realm.toml:20: obligation `keep_to` has no `actions`, and no permit carries it"),
    ] {
        let found = faults(REALM, &POLICIES.replacen(from, to, 1));
        assert!(found.iter().any(|fault| fault.starts_with(expected)), "{to}: {found:?}");
    }
}

#[test]
fn settings_that_would_be_no_answer_are_faults() {
    for (from, to, expected) in [
        ("[obligations.log]", "[obligations.apply_profile]", "the service itself says what `apply_profile` is"),
        ("times = 2", "times = 2.5", "`obligations.cover.constants.times` is of type float"),
        ("times = 2", "times = [[2]]", "expected a boolean, a whole number, a string or a list of these"),
        ("seat = \"seat\" }\n[obligations.log]", "seat = 3 }\n[obligations.log]", "expected a string or a table"),
        ("split = \"/\"", "split = \"\"", "`split` is empty"),
        ("attribute = \"route\"", "attribute = \"seat\"", "obligation `keep_to`: `seat` is no single text"),
        ("attribute = \"route\"", "attribute = \"rights\"", "obligation `keep_to`: `rights` is no single text"),
        (
            "attribute = \"route\"",
            "attribute = \"x\"",
            "obligation `keep_to`: `x` is none of the principal's attributes",
        ),
        ("parameters = { seat", "constants = { seat = 1 }\nparameters = { seat", "`seat` is one of the constants, too"),
        ("status = 7", "status = 7, title = \"x\"", "`title` is no further member of a problem"),
        ("status = 7", "status = [7]", "expected a boolean, a whole number or a string"),
        ("\"X-Note\"", "\"X Note\"", "`X Note` is no name of a header"),
        ("\"X-Note\"", "\"www-authenticate\"", "header `www-authenticate` is there twice"),
        ("\"X-Note\"", "\"content-Length\"", "header `content-Length` follows from the connection"),
        ("\"X-Note\" = \"{", "\"X-Note\" = \"é{", "holds other characters than visible ASCII"),
        (
            "\"X-Note\" = \"{context.note}\"",
            "\"X-Note\" = '\"{context.note}'",
            "header `X-Note`: a quoted string has no end",
        ),
        ("\"X-Note\" = \"{context.note}\"", "\"X-Note\" = 1", "header `X-Note` is a whole number, expected a string"),
        ("\"{context.note}\"", "\"{context.not}\"", "denial `NO_RIGHT`: no action's context has `not`"),
        ("{context.note}|", "{context.need}|", "denial `CLOSED`: `context.need` is of a type that has no text"),
        ("{context.note}|", "{context.who}|", "denial `CLOSED`: `context.who` names people, which no text may show"),
        ("{context.need.level}", "{context.need.x}", "denial `CLOSED`: no action's context has `need.x`"),
        ("TOO_HEAVY = ", "TO_HEAVY = ", "`reasons.second_phase`: no policy gives the reason `TO_HEAVY`"),
        ("\"TOO_HEAVY_THEN\"", "\"Too heavy\"", "`TOO_HEAVY` is no code of the form"),
        ("status = 503\ntitle = \"Closed\"", "status = 502", "`denials.CLOSED.title` is missing"),
    ] {
        let realm = REALM.replacen(from, to, 1);
        assert_ne!(realm, REALM, "{from}");
        let found = faults(&realm, POLICIES);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{to}: {found:?}");
    }
}

const CASES: &str = r#"
principals:
  nobody: { sub: driver, rights: "", seat: 1 }
cases:
  - name: as it is
    principal: nobody
    action: Look
    context: { need: { rights: [drive] } }
    resource: { type: vans, attributes: { size: 1 } }
    expect: DENY
    problem:
      status: 403
      members: { status: 7, needs: drive, is_final: true }
      headers: { WWW-Authenticate: 'Bearer error="insufficient_scope", scope="drive"' }
  - name: as it is not
    principal: nobody
    action: Look
    resource: { type: vans, attributes: { size: 1 } }
    expect: DENY
    problem: { members: { status: 7 }, headers: {} }
"#;

#[test]
fn the_tests_of_a_realm_expect_members_and_headers() {
    let mut files = files(REALM, SCHEMA, POLICIES);
    files.push(SourceFile { path: "tests/a.yaml".into(), content: CASES.into() });
    let results = policy_test::run(&files).unwrap();
    assert_eq!(results[0].differences, Vec::<String>::new());
    let starts: Vec<bool> = ["problem.headers: expected {}", "problem.members: expected {\"status\":7}"]
        .into_iter()
        .map(|start| results[1].differences.iter().any(|difference| difference.starts_with(start)))
        .collect();
    assert_eq!(starts, [true, true], "{:?}", results[1].differences);
}

#[test]
fn a_denial_shows_what_the_host_fills_in_by_the_values_that_failed() {
    let context = "[context.label]\nvalue = \"{action} of {resource.size}\"\n[settings]\nlimit = 9\n";
    let shown = "{context.label}, {context.phase}, {context.settings.limit}";
    let realm = REALM
        .replace("[denials.NO_RIGHT_THEN]\n", &format!("{context}[denials.NO_RIGHT_THEN]\ndetail = \"{shown}\"\n"));
    let schema = SCHEMA.replace("need?:", "label?: String, phase: String, settings: { limit: Long }, need?:");
    let realm = Realm::compile(&files(&realm, &schema, POLICIES), None).unwrap_or_else(|faults| panic!("{faults:?}"));
    let decision = ask(&realm, "all", &Question { proposed: Some(sized(5)), ..question("Change", &[]) });
    assert_eq!(decision.denial.unwrap().detail, "Change of 5, proposed, 9");
}
