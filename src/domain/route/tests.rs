use std::fmt::Write as _;

use super::*;
use crate::domain::{
    decide::refuse,
    decision::{Outcome, Reason},
    lint,
    policy_set::SourceFile,
    realm::Realm,
};

const SCHEMA: &str = "
entity Client;
entity Course { level?: Long, isOpen?: Bool, owner?: String, tags?: Set<String> };
entity Room;
entity route;
action read, list appliesTo { principal: [Client], resource: [Course], context: { why?: String, count?: Long } };
action book appliesTo { principal: [Client], resource: [Room] };
action clean appliesTo { principal: [Client], resource: [Room, Course] };
action GET, POST appliesTo { principal: [Client], resource: [route] };
";

const REALM: &str = r#"
title = "Courses"
[principal]
entity = "Client"
id = "client_id"
[trusted]
Course = ["level", "isOpen", "owner", "tags"]
context = ["why", "count"]
"#;

const OPENAPI: &str = r##"
openapi: 3.1.0
info: { title: Courses, version: "1" }
servers: [{ url: "https://api.example/v1/" }]
x-anything: [1, 2]
paths:
  x-more: 1
  /courses:
    parameters: [{ name: level, in: query }]
    get:
      operationId: list
      parameters:
        - $ref: "#/components/parameters/Owner"
        - { name: X-Trace, in: header }
  /courses/{course}:
    get:
      operationId: getCourse
    delete:
      operationId: deleteCourse
  /courses/{course}/rooms/{room}:
    post:
      operationId: bookRoom
      x-hallpass: { action: book, id: "{room}" }
  /rooms/{room}:
    post:
      operationId: book
    $ref: "#/components/pathItems/Nothing"
components:
  parameters:
    Owner: { name: owner, in: query, schema: { type: string } }
"##;

const ROUTES: &str = r#"
[routes]
openapi = "openapi.yaml"
[routes.operations.list]
attributes = { level = "{query.level}", isOpen = "true", owner = "by {query.owner}" }
context = { why = "{query.owner}", count = "{query.level}" }
[routes.operations.getCourse]
action = "read"
"#;

fn files(realm: &str, openapi: &str) -> Vec<SourceFile> {
    let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
    vec![
        file("realm.toml", &format!("{REALM}{realm}")),
        file("schema.cedarschema", SCHEMA),
        file("openapi.yaml", openapi),
    ]
}

fn openapi() -> String {
    OPENAPI.replace("    $ref: \"#/components/pathItems/Nothing\"\n", "")
}

#[track_caller]
fn compiled(realm: &str, openapi: &str) -> Arc<Routes> {
    let realm = Realm::compile(&files(realm, openapi), None);
    let shown = |faults: Vec<Fault>| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    realm.unwrap_or_else(|faults| panic!("{}", shown(faults))).routes.unwrap()
}

fn faults(realm: &str, openapi: &str) -> Vec<String> {
    let faults = Realm::compile(&files(realm, openapi), None).unwrap_err();
    faults.iter().map(|fault| format!("{}:{}: {}", fault.file, fault.line, fault.message)).collect()
}

fn find(routes: &Routes, method: &str, path: &str) -> Result<Found, RouteFault> {
    routes.find(method, &Path::read(path.as_bytes())?)
}

/// The operation, the action, the type and the id.
fn told_of(found: Result<Found, RouteFault>) -> Result<[String; 4], &'static str> {
    let found = found.map_err(|fault| fault.code())?;
    let question = found.question;
    Ok([found.operation, question.action, question.resource_type, question.resource_id].map(|it| it.to_string()))
}

#[test]
fn an_operation_is_found_by_method_and_path_below_the_servers_path() {
    let routes = compiled(ROUTES, &openapi());
    assert_eq!(routes.counts(), (5, 4));
    for (method, path, expected) in [
        ("GET", "/v1/courses", Ok(["list", "list", "Course", ""])),
        ("GET", "/v1/courses/7%20a?x=y", Ok(["getCourse", "read", "Course", "7 a"])),
        ("POST", "/v1/courses/7/rooms/9", Ok(["bookRoom", "book", "Room", "9"])),
        ("POST", "/v1/rooms/9", Ok(["book", "book", "Room", "9"])),
        ("get", "/v1/courses", Err("ROUTE_UNKNOWN")),
        ("HEAD", "/v1/courses", Err("ROUTE_UNKNOWN")),
        ("DELETE", "/v1/courses/7", Err("ROUTE_UNKNOWN")),
        ("GET", "/courses", Err("ROUTE_UNKNOWN")),
        ("GET", "/v1/Courses", Err("ROUTE_UNKNOWN")),
        ("GET", "/v1/courses/", Err("ROUTE_UNKNOWN")),
        ("GET", "/v1//courses", Err("ROUTE_AMBIGUOUS")),
        ("GET", "/v1/courses/7%2frooms", Err("ROUTE_AMBIGUOUS")),
    ] {
        let expected = expected.map(|it: [&str; 4]| it.map(str::to_owned));
        assert_eq!(told_of(find(&routes, method, path)), expected, "{method} {path}");
    }
}

#[test]
fn parameters_of_the_query_become_values_of_their_types() {
    let routes = compiled(ROUTES, &openapi());
    let question = find(&routes, "GET", "/v1/courses?level=3&owner=ada%20b").unwrap().question;
    let attributes = question.attributes.unwrap();
    assert_eq!(attributes.get("level"), Some(&Value::Long(3)));
    assert_eq!(attributes.get("isOpen"), Some(&Value::Bool(true)));
    assert_eq!(attributes.get("owner"), Some(&Value::String("by ada b".into())));
    assert_eq!(question.context.get("why"), Some(&Value::String("ada b".into())));
    assert_eq!(question.context.get("count"), Some(&Value::Long(3)));
    let question = find(&routes, "GET", "/v1/courses").unwrap().question;
    assert_eq!((question.attributes.unwrap().len(), question.context.len()), (1, 0), "what does not come has no value");
    for (query, expected) in [
        ("level=x", RouteFault::Value("level".into())),
        ("level=", RouteFault::Value("level".into())),
        ("level=1&level=2", RouteFault::Path(PathFault::Query)),
        ("Level=1", RouteFault::Path(PathFault::Query)),
        ("level=%zz", RouteFault::Path(PathFault::Percent)),
        ("owner=a+b", RouteFault::Path(PathFault::Query)),
    ] {
        assert_eq!(find(&routes, "GET", &format!("/v1/courses?{query}")).unwrap_err(), expected, "{query}");
    }
}

#[test]
fn obligations_are_supported_only_where_the_mapping_says_how() {
    let routes = compiled(ROUTES, &openapi());
    let found = find(&routes, "GET", "/v1/courses/7").unwrap();
    assert_eq!((found.obligations, found.question.supported_obligations), (Obligations::Unknown, Some(Vec::new())));
    let routes = compiled(&format!("{ROUTES}obligations = \"header\"\n"), &openapi());
    let found = find(&routes, "GET", "/v1/courses/7").unwrap();
    assert_eq!((found.obligations, found.question.supported_obligations), (Obligations::Header, None));
}

#[test]
fn generic_routes_ask_about_what_no_operation_means() {
    let routes = compiled(&ROUTES.replace("[routes]", "[routes]\ngeneric = true"), &openapi());
    for (method, path, expected) in [
        ("GET", "/v1/courses/7", Ok(["getCourse", "read", "Course", "7"])),
        ("GET", "/other/%C3%A9", Ok(["", "GET", "route", "/other/é"])),
        ("POST", "/", Ok(["", "POST", "route", "/"])),
        ("DELETE", "/v1/courses/7", Err("ROUTE_UNKNOWN")),
        ("DELETE", "/other", Err("ROUTE_UNKNOWN")),
        ("get", "/other", Err("ROUTE_UNKNOWN")),
        ("read", "/other", Err("ROUTE_UNKNOWN")),
    ] {
        let expected = expected.map(|it: [&str; 4]| it.map(str::to_owned));
        assert_eq!(told_of(find(&routes, method, path)), expected, "{method} {path}");
    }
    let routes = compiled("[routes]\ngeneric = true\n", &openapi());
    assert_eq!(routes.counts(), (0, 0), "no document is needed");
    let unmapped =
        OPENAPI.replace("    delete:", "    post:").replace("    $ref: \"#/components/pathItems/Nothing\"\n", "");
    let routes = compiled(&ROUTES.replace("[routes]", "[routes]\ngeneric = true"), &unmapped);
    let found = find(&routes, "POST", "/v1/courses/7").unwrap();
    assert_eq!(&*found.question.resource_id, "/v1/courses/{course}", "ids of people stay out of the resource's");
}

#[test]
fn json_reads_as_yaml_does() {
    let json = r#"{"openapi":"3.0.3","servers":[{"url":"/v1"}],"paths":{
	"/courses/{course}":{"get":{"operationId":"getCourse","x-hallpass":{"action":"read"}, "description":"a\/b\u00e9: {"}}}}"#;
    let routes = compiled("[routes]\nopenapi = \"openapi.yaml\"\n", json);
    let expected = ["getCourse", "read", "Course", "7"].map(str::to_owned);
    assert_eq!(told_of(find(&routes, "GET", "/v1/courses/7")), Ok(expected));
}

#[test]
fn the_base_path_of_the_realm_goes_before_that_of_the_servers() {
    for (base, path) in
        [("/data/v3", "/data/v3/courses/7"), ("/", "/courses/7"), ("/{tenant}/v3/", "/north/v3/courses/7")]
    {
        let realm = ROUTES.replace("[routes]", &format!("[routes]\nbase_path = \"{base}\""));
        let found = find(&compiled(&realm, &openapi()), "GET", path).unwrap();
        assert_eq!(&*found.question.resource_id, "7", "{base}");
    }
    let own = openapi().replace("operationId: getCourse", "operationId: getCourse\n      servers: [{ url: /v2 }]");
    assert!(find(&compiled(ROUTES, &own), "GET", "/v2/courses/7").is_ok());
    assert!(find(&compiled(ROUTES, &own), "GET", "/v1/courses/7").is_err());
}

#[test]
fn operations_that_ask_for_nothing_are_told_as_warnings() {
    let checked = lint::check(&files(ROUTES, &openapi()));
    let told: Vec<_> = checked.faults.iter().filter(|fault| fault.code.as_str() == "unmapped-operation").collect();
    assert_eq!(told.len(), 1, "{:#?}", checked.faults);
    assert!(!told[0].is_error() && told[0].message.contains("`deleteCourse`"), "{}", told[0]);
    assert_eq!((told[0].file.as_str(), told[0].line), ("openapi.yaml", 19));
}

#[test]
fn every_fault_of_a_document_has_its_line() {
    for (from, to, expected) in [
        ("openapi: 3.1.0", "swagger: \"2.0\"", "openapi.yaml:1: is no OpenAPI document"),
        ("openapi: 3.1.0", "openapi: 2.0.0", "openapi.yaml:2: is no OpenAPI document"),
        ("/rooms/{room}", "/courses/{other}", "openapi.yaml:24: POST"),
        ("/rooms/{room}", "/rooms/{room}.json", "openapi.yaml:24: path `/rooms/{room}.json` has the segment"),
        ("/rooms/{room}", "rooms", "openapi.yaml:24: path `rooms` does not begin"),
        ("operationId: deleteCourse", "operationId: list", "openapi.yaml:19: the operationId `list` is there twice"),
        ("action: book", "action: bok", "openapi.yaml:23: operation `bookRoom`: the schema has no action `bok`"),
        ("id: \"{room}\"", "id: \"{rom}\"", "openapi.yaml:23: operation `bookRoom`: there is no parameter `rom`"),
        (
            "id: \"{room}\"",
            "resource: Course",
            "openapi.yaml:23: operation `bookRoom`: `book` does not apply to `Course`",
        ),
        (
            "id: \"{room}\"",
            "resource: Rom",
            "openapi.yaml:23: operation `bookRoom`: the realm has no resource type `Rom`",
        ),
        ("action: book", "action: clean", "openapi.yaml:23: operation `bookRoom`: `clean` applies to 2 resource types"),
        ("action: book, ", "", "openapi.yaml:23: operation `bookRoom`: no action of the schema is called like it"),
        ("action: book", "actoin: book", "openapi.yaml:23: "),
        ("id: \"{room}\"", "obligations: body", "openapi.yaml:23: operation `bookRoom`: `obligations` is not `header`"),
        ("#/components/parameters/Owner", "other.yaml#/Owner", "openapi.yaml:13: the reference `other.yaml#/Owner`"),
        ("#/components/parameters/Owner", "#/components/parameters/Ower", "openapi.yaml:13: the reference"),
        ("https://api.example/v1/", "https://api.example/{v}", "the path of the server `https://api.example/{v}`"),
        ("https://api.example/v1/", "v1", "the server `v1` has no path"),
        ("  /courses:\n", "  /courses: [\n", "openapi.yaml:"),
    ] {
        let changed = openapi().replace(from, to);
        assert_ne!(changed, openapi(), "{from}");
        // The delete operation shares its path with another.
        let changed = if to == "/courses/{other}" {
            changed.replace("    post:\n      operationId: book\n", "    get:\n      operationId: book\n")
        } else {
            changed
        };
        let found = faults(ROUTES, &changed);
        let expected = if to == "/courses/{other}" {
            "openapi.yaml:24: GET `/v1/courses/{other}` fits the same paths"
        } else {
            expected
        };
        assert!(found.iter().any(|fault| fault.contains(expected)), "{to}:\n{}", found.join("\n"));
    }
    let found = faults(ROUTES, OPENAPI);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert!(found[0].starts_with("openapi.yaml:27: the reference `#/components/pathItems/Nothing`"), "{}", found[0]);
}

#[test]
fn every_fault_of_the_realms_mapping_has_its_line() {
    for (from, to, expected) in [
        ("openapi.yaml", "other.yaml", "realm.toml:11: `other.yaml` is missing"),
        ("operations.getCourse", "operations.getCorse", "no document of `openapi` has an operation `getCorse`"),
        (
            "action = \"read\"",
            "action = \"raed\"",
            "realm.toml:16: operation `getCourse`: the schema has no action `raed`",
        ),
        ("action = \"read\"", "id = \"{x}\"", "no action of the schema is called like it"),
        ("level = \"{query.level}\", is", "levl = \"{query.level}\", is", "`Course` has no value `levl`"),
        ("isOpen = \"true\"", "tags = \"true\"", "`tags` takes more than one text"),
        ("{query.owner}\", c", "{query.ower}\", c", "there is no parameter `query.ower`"),
        ("why = ", "wy = ", "the member of the context `wy`"),
        ("[routes]", "[routes]\nbase_path = \"/a//b\"", "`base_path`: path `/a//b` holds an empty segment"),
        ("[routes]", "[routes]\nquery_token = \"\"", "`query_token` is empty"),
    ] {
        let changed = ROUTES.replace(from, to);
        assert_ne!(changed, ROUTES, "{from}");
        let found = faults(&changed, &openapi());
        assert!(found.iter().any(|fault| fault.contains(expected)), "{to}:\n{}", found.join("\n"));
    }
    let twice =
        openapi().replace("operationId: getCourse", "operationId: getCourse\n      x-hallpass: { action: read }");
    assert!(faults(ROUTES, &twice)[0].contains("expected one of both"));
}

#[test]
fn what_an_action_is_judged_by_must_be_told() {
    let realm = |told: &str| format!("[actions.read]\nneeds = [\"proposed\"]\n{ROUTES}{told}");
    let found = faults(&realm(""), &openapi());
    assert!(found[0].contains("`read` is judged by the proposed values, expected `proposed`"), "{found:#?}");
    let routes = compiled(&realm("proposed = {}\n"), &openapi());
    let question = find(&routes, "GET", "/v1/courses/7").unwrap().question;
    assert_eq!((question.attributes, question.proposed), (None, Some(Attributes::default())));
}

#[test]
fn generic_routes_need_their_type_and_actions() {
    let without = |from: &str, to: &str| {
        let mut files = files("[routes]\ngeneric = true\n", "");
        files[1].content = SCHEMA.replace(from, to);
        Realm::compile(&files, None).unwrap_err().remove(0).message
    };
    assert!(without("entity route;", "entity path;").len() > 1);
    assert!(without("resource: [route]", "resource: [Room]").contains("resource type `route`"));
    assert!(without("action GET, POST", "action get").contains("no action that is called as a method"));
}

/// So many paths with an operation each.
fn many_paths(count: usize) -> String {
    (0..count).fold(String::new(), |mut paths, number| {
        writeln!(paths, "  /p{number}: {{ get: {{}} }}").unwrap();
        paths
    })
}

#[test]
fn of_many_operations_that_ask_for_nothing_the_first_are_told_one_by_one() {
    let many = many_paths(2_000);
    let routes = compiled("[routes]\nopenapi = \"openapi.yaml\"\n", &format!("openapi: 3.1.0\npaths:\n{many}"));
    assert_eq!((routes.counts(), routes.warnings.len()), ((2_000, 0), 101));
    assert!(routes.warnings[100].message.contains("1900 more operations"), "{}", routes.warnings[100]);
}

#[test]
fn documents_are_limited() {
    let large = format!("{}# {}\n", openapi(), "x".repeat(openapi::DOCUMENT_BYTES_MAX));
    assert!(faults(ROUTES, &large)[0].contains("larger than 4 MiB"));
    let many = many_paths(20_001);
    let many = format!("openapi: 3.1.0\npaths:\n{many}");
    assert!(faults("[routes]\nopenapi = \"openapi.yaml\"\n", &many)[0].contains("20001 operations"));
}

#[test]
fn a_gateway_may_say_itself_what_a_route_asks_for() {
    let say = |words: &[(&str, &str)], path: &str| {
        let words = words.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        told(&words, &Path::read(path.as_bytes()).unwrap())
    };
    let both = [("action", "read"), ("resource_type", "Course")];
    let with = |more: &[(&'static str, &'static str)]| [&both[..], more].concat();
    let id = |words: &[(&str, &str)], path: &str| {
        say(words, path).unwrap().unwrap().map(|found| found.question.resource_id.to_string())
    };
    assert_eq!(say(&[], "/a"), Ok(None));
    assert_eq!(id(&both, "/a/b"), Ok(String::new()));
    assert_eq!(id(&with(&[("resource_id", "{2}")]), "/a/b"), Ok("b".to_owned()));
    assert_eq!(id(&with(&[("resource_id", "{2}")]), "/a"), Err(RouteFault::Unknown));
    let named = with(&[("path_template", "/courses/{id}"), ("resource_id", "c-{id}")]);
    assert_eq!(id(&named, "/courses/7"), Ok("c-7".to_owned()));
    assert_eq!(id(&named, "/rooms/7"), Err(RouteFault::Unknown));
    for (words, key) in [
        (vec![both[0]], "resource_type"),
        (vec![both[1]], "action"),
        (with(&[("resource_id", "{0}")]), "resource_id"),
        (with(&[("resource_id", "{id}")]), "resource_id"),
        (with(&[("resource_id", "{")]), "resource_id"),
        (with(&[("path_template", "a")]), "path_template"),
        (with(&[("path_template", "/a%3fb")]), "path_template"),
        (with(&[("attribute.level", "{level}")]), "attribute."),
        (with(&[("obligations", "body")]), "obligations"),
    ] {
        let fault = say(&words, "/a").unwrap_err();
        assert_eq!(fault.key, key, "{words:?}");
        assert!(!fault.to_string().contains("level"), "what the gateway said is not repeated: {fault}");
    }
    let level = with(&[("path_template", "/{of}/{level}"), ("attribute.level", "{level}"), ("other", "{")]);
    let found = say(&level, "/a/3").unwrap().unwrap().unwrap();
    assert_eq!(found.question.attributes.unwrap().get("level"), Some(&Value::String("3".into())));
    let header = say(&with(&[("obligations", "header")]), "/a").unwrap().unwrap().unwrap();
    assert_eq!(header.obligations, Obligations::Header);
}

#[test]
fn what_is_no_question_is_refused_in_its_own_words_and_not_in_those_of_tokens() {
    let words = "[denials.TOKEN]\nstatus = 401\ntitle = \"Token\"\n[denials.default]\nstatus = 409\ntitle = \"Any\"\n";
    let refused = |words: &str, code: &str| {
        let realm = Realm::compile(&files(&format!("{words}{ROUTES}"), &openapi()), None).unwrap();
        let denial = refuse(&realm, Outcome::NotPermitted, Reason::plain(code, "why")).denial.unwrap();
        (denial.status, denial.title)
    };
    for (code, status) in [
        ("ROUTE_UNKNOWN", 403),
        ("ROUTE_AMBIGUOUS", 400),
        ("ROUTE_TOKEN_IN_QUERY", 400),
        ("ROUTE_VALUE_INVALID", 400),
        ("QUESTION_NOT_UNDERSTOOD", 403),
    ] {
        assert_eq!(refused(words, code), (status, code.to_owned()));
    }
    assert_eq!(refused(words, "TOKEN_EXPIRED"), (401, "Token".to_owned()));
    let own = format!("{words}[denials.ROUTE_UNKNOWN]\nstatus = 404\ntitle = \"Nothing\"\n");
    assert_eq!(refused(&own, "ROUTE_UNKNOWN"), (404, "Nothing".to_owned()));
}
