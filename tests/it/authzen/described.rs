//! docs/authzen.openapi.yaml: the paths, statuses and shapes that are served, and no others.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use reqwest::header::{ALLOW, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde_json::{Value as Json, json};

use super::callers::guarded;
use super::library::{Library, Told, question, with};
use crate::callers::caller_with_key;
use crate::token_info::{client, home};

/// The page.
struct Description(Json);

/// What was found wrong with values, and the members that they had.
#[derive(Default)]
struct Found {
    faults: Vec<String>,
    /// Members of schemas, as `schema/member`.
    seen: BTreeSet<String>,
}

impl Description {
    fn read() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/authzen.openapi.yaml");
        Self(serde_saphyr::from_str(&fs::read_to_string(file).unwrap()).unwrap())
    }

    /// What the reference leads to, or the value itself.
    fn resolved<'a>(&'a self, value: &'a Json) -> &'a Json {
        let Some(reference) = value.get("$ref") else { return value };
        let pointer = reference.as_str().unwrap().trim_start_matches('#');
        self.0.pointer(pointer).unwrap_or_else(|| panic!("{reference} leads nowhere"))
    }

    /// The paths behind the base, each with what it does.
    fn endpoints(&self) -> Vec<(&str, &Json)> {
        let paths = self.0["paths"].as_object().unwrap().iter();
        paths.filter_map(|(path, item)| Some((path.as_str(), item.get("post")?))).collect()
    }

    /// The schema of an answer.
    fn answer(operation: &Json) -> &Json {
        &operation["responses"]["200"]["content"]["application/json"]["schema"]
    }

    /// Holds a value against a schema (JSON Schema 2020-12, as far as the page uses it).
    fn hold(&self, schema: &Json, value: &Json, place: &str, found: &mut Found) {
        let name = schema.get("$ref").and_then(Json::as_str).map(|it| it.rsplit('/').next().unwrap());
        let place = name.unwrap_or(place);
        for (keyword, said) in self.resolved(schema).as_object().unwrap() {
            let holds = match keyword.as_str() {
                "type" => types(said).any(|wanted| is_of(value, wanted)),
                "const" => value == said,
                "enum" => said.as_array().unwrap().contains(value),
                "required" => said
                    .as_array()
                    .unwrap()
                    .iter()
                    .all(|name| value.get(name.as_str().unwrap()).is_some_and(|it| !it.is_null())),
                "minLength" => value.as_str().is_none_or(|text| text.len() as u64 >= said.as_u64().unwrap()),
                "maxLength" => value.as_str().is_none_or(|text| text.len() as u64 <= said.as_u64().unwrap()),
                "minItems" => value.as_array().is_none_or(|items| items.len() as u64 >= said.as_u64().unwrap()),
                "maxItems" => value.as_array().is_none_or(|items| items.len() as u64 <= said.as_u64().unwrap()),
                "minimum" => value.as_i64().is_none_or(|number| number >= said.as_i64().unwrap()),
                "maximum" => value.as_i64().is_none_or(|number| number <= said.as_i64().unwrap()),
                "format" => value.as_str().is_some_and(|text| *said == "uri" && text.starts_with("http")),
                "pattern" => {
                    *said == "^[1-9][0-9]*$"
                        && value.as_str().is_some_and(|text| text.parse::<u32>().is_ok_and(|it| it > 0))
                }
                "oneOf" => {
                    let fits = |schema: &&Json| {
                        let mut own = Found::default();
                        self.hold(schema, value, place, &mut own);
                        own.faults.is_empty()
                    };
                    let mut fitting = said.as_array().unwrap().iter().filter(fits);
                    let one = fitting.next();
                    if let Some(schema) = one {
                        self.hold(schema, value, place, found);
                    }
                    one.is_some() && fitting.next().is_none()
                }
                "items" => {
                    let items = value.as_array().into_iter().flatten();
                    items.for_each(|item| self.hold(said, item, &format!("{place}[]"), found));
                    true
                }
                "properties" => {
                    for (member, inner) in value.as_object().into_iter().flatten() {
                        let at = format!("{place}/{member}");
                        match said.get(member) {
                            Some(schema) => self.hold(schema, inner, &at, found),
                            None => found.faults.push(format!("{at} is not described")),
                        }
                        found.seen.insert(at);
                    }
                    true
                }
                "description" => true,
                other => panic!("{place}: the test knows no `{other}`"),
            };
            if !holds {
                found.faults.push(format!("{place}: {value} is not `{keyword}: {said}`"));
            }
        }
    }

    /// All members that a schema and those within it have.
    fn members(&self, schema: &Json, place: &str, found: &mut BTreeSet<String>) {
        let name = schema.get("$ref").and_then(Json::as_str).map(|it| it.rsplit('/').next().unwrap());
        let (place, schema) = (name.unwrap_or(place), self.resolved(schema));
        for inner in schema.get("oneOf").and_then(Json::as_array).into_iter().flatten() {
            self.members(inner, place, found);
        }
        if let Some(items) = schema.get("items") {
            self.members(items, &format!("{place}[]"), found);
        }
        for (member, inner) in schema.get("properties").and_then(Json::as_object).into_iter().flatten() {
            let at = format!("{place}/{member}");
            self.members(inner, &at, found);
            found.insert(at);
        }
    }

    /// A refusal has a status that is described, and the body and headers that stand there.
    fn check_refusal(&self, path: &str, method: &str, told: &Told) {
        let responses = &self.0["paths"][path][method]["responses"];
        let described =
            responses.get(told.status.as_str()).unwrap_or_else(|| panic!("{path}: {told:?} is not described"));
        let described = self.resolved(described);
        assert_eq!(told.headers[CONTENT_TYPE], "text/plain; charset=utf-8", "{path}: {told:?}");
        let mut found = Found::default();
        self.hold(&described["content"]["text/plain"]["schema"], &json!(told.text), path, &mut found);
        for (name, header) in described.get("headers").and_then(Json::as_object).into_iter().flatten() {
            let value = told.headers.get(name).unwrap_or_else(|| panic!("{path}: {told:?} has no {name}"));
            self.hold(&header["schema"], &json!(value.to_str().unwrap()), name, &mut found);
        }
        assert_eq!(found.faults, Vec::<String>::new(), "{path}: {told:?}");
    }
}

fn types(said: &Json) -> impl Iterator<Item = &str> {
    let one = said.as_str().into_iter();
    one.chain(said.as_array().into_iter().flatten().filter_map(Json::as_str))
}

fn is_of(value: &Json, wanted: &str) -> bool {
    match wanted {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "null" => value.is_null(),
        other => panic!("the test knows no type `{other}`"),
    }
}

/// The realm that the examples ask about, with its records.
async fn certification() -> Library {
    let mut home = home();
    home.rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/authzen/certification");
    let service = home.start().await;
    for resource in ["users", "records"] {
        let records = fs::read_to_string(home.rules.join(format!("records/{resource}.ndjson"))).unwrap();
        service.import(resource, &records.lines().map(str::to_owned).collect::<Vec<_>>()).await;
    }
    Library { home, service }
}

#[tokio::test]
async fn the_endpoints_that_are_described_are_those_that_are_served() {
    let (description, library) = (Description::read(), certification().await);
    let http = library.service.http.clone().unwrap();
    let described: BTreeSet<&str> = description.endpoints().into_iter().map(|(path, _)| path).collect();
    for (path, base) in [("", http.clone()), ("/edfi", format!("{http}/edfi"))] {
        let template = if path.is_empty() { "" } else { "/{realm}" };
        let operation = &description.0["paths"][format!("/.well-known/authzen-configuration{template}")]["get"];
        let told = library.send(client().get(format!("{http}/.well-known/authzen-configuration{path}"))).await;
        let (metadata, mut found) = (told.json(), Found::default());
        description.hold(Description::answer(operation), &metadata, "", &mut found);
        assert_eq!(found.faults, Vec::<String>::new());
        let mut all = BTreeSet::new();
        description.members(Description::answer(operation), "", &mut all);
        assert_eq!(found.seen, all, "the page names what is there, and nothing else");
        let served = metadata.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_endpoint"));
        let served: BTreeSet<&str> =
            served.map(|(_, url)| url.as_str().unwrap().strip_prefix(&base).unwrap()).collect();
        assert_eq!(served, described);
    }
    for (path, operation) in description.endpoints() {
        for base in ["", "/edfi"] {
            let told = library.send(client().request(Method::GET, format!("{http}{base}{path}"))).await;
            assert_eq!((told.status, &told.headers[ALLOW]), (StatusCode::METHOD_NOT_ALLOWED, &"POST".parse().unwrap()));
        }
        let kept = description.0["paths"]["/access/v1/evaluation"]["post"]["responses"].as_object().unwrap();
        let own = operation["responses"].as_object().unwrap();
        assert_eq!(own.keys().collect::<Vec<_>>(), kept.keys().collect::<Vec<_>>(), "{path}");
    }
}

#[tokio::test]
async fn what_is_asked_and_answered_is_what_is_described() {
    let (description, asked, library) = (Description::read(), certification().await, Library::start().await);
    let (mut found, mut all) = (Found::default(), BTreeSet::new());
    for (path, operation) in description.endpoints() {
        description.members(Description::answer(operation), path, &mut all);
        let body = &operation["requestBody"]["content"]["application/json"];
        for (name, example) in body["examples"].as_object().unwrap() {
            let mut own = Found::default();
            description.hold(&body["schema"], &example["value"], path, &mut own);
            assert_eq!(own.faults, Vec::<String>::new(), "{path}: the example `{name}`");
            for base in ["", "/edfi"] {
                let told = asked.send(asked.at(&format!("{base}{path}")).body(example["value"].to_string())).await;
                description.hold(Description::answer(operation), &told.json(), path, &mut found);
            }
        }
    }
    // What the realm of the examples has no reason to say.
    let borrow = question("ana", "borrow", "n-1");
    let books = json!({ "subject": borrow["subject"], "action": borrow["action"], "resource": { "type": "book" } });
    for (path, body) in [
        ("evaluation", borrow.clone()),
        (
            "evaluation",
            with(with(question("ana", "borrow", "n-2"), "", "context", json!({})), "/context", "explain", json!(true)),
        ),
        ("search/resource", books),
        ("search/action", json!({ "subject": borrow["subject"], "resource": borrow["resource"], "page": {} })),
    ] {
        let operation = &description.0["paths"][format!("/access/v1/{path}")]["post"];
        let told = library.ask(path, &body).await;
        description.hold(Description::answer(operation), &told.json(), path, &mut found);
    }
    assert_eq!(found.faults, Vec::<String>::new());
    let never: Vec<_> = all.difference(&found.seen).collect();
    assert_eq!(never, Vec::<&String>::new(), "what is described and never said");
}

#[tokio::test]
async fn a_refusal_is_one_that_is_described() {
    let (description, library, guarded) = (Description::read(), Library::start().await, guarded().await);
    let good = json!({
        "subject": { "type": "reader", "id": "ana" },
        "action": { "name": "take" },
        "resource": { "type": "leaflet", "id": "l-1" },
    });
    let long = format!("{{\"x\":\"{}\"}}", "x".repeat(1 << 20));
    for (path, _) in description.endpoints() {
        for (library, key, realm, body, expected) in [
            (&library, "", "/edfi", "{}".to_owned(), 400),
            (&guarded, "", "/edfi", good.to_string(), 401),
            (&guarded, "nobody", "/edfi", good.to_string(), 401),
            (&guarded, "api", "/edfi", good.to_string(), 403),
            (&library, "", "/nowhere", good.to_string(), 404),
            (&library, "", "/edfi", long.clone(), 413),
        ] {
            let request = library.at(&format!("{realm}{path}")).body(body);
            let request = if key.is_empty() { request } else { request.bearer_auth(key) };
            let told = library.send(request).await;
            assert_eq!(told.status.as_u16(), expected, "{path} {key}: {told:?}");
            description.check_refusal(path, "post", &told);
        }
    }
    for path in ["/.well-known/authzen-configuration/{realm}", "/.well-known/authzen-configuration"] {
        let url = format!("{}{}", guarded.service.http.as_ref().unwrap(), path.replace("{realm}", "nowhere"));
        // Of two realms none is the only one.
        let told = guarded.send(client().get(url)).await;
        assert_eq!(told.status, StatusCode::NOT_FOUND);
        description.check_refusal(path, "get", &told);
    }
}

#[tokio::test]
async fn who_asks_too_much_is_told_so_as_described() {
    let description = Description::read();
    let mut home = home();
    home.rules = home.path("library");
    super::library::write_realm(&home.rules, "");
    let caller = caller_with_key("web", "\"subject_enforcer\"", "") + "requests_per_second = 1\n";
    home.tables = format!("[authentication]\nrequired = true\n{caller}");
    let service = home.start().await;
    let library = Library { home, service };
    let asked = question("ana", "look", "n-1").to_string();
    for (path, _) in description.endpoints() {
        let mut answers = 0;
        let refused = loop {
            let told = library.send(library.at(&format!("/edfi{path}")).bearer_auth("web").body(asked.clone())).await;
            if told.status == StatusCode::TOO_MANY_REQUESTS {
                break told;
            }
            answers += 1;
            assert!(answers < 1_000, "{path}: as many answers as anybody wants");
        };
        description.check_refusal(path, "post", &refused);
    }
}
