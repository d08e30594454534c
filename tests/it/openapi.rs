//! docs/openapi.json: what the service says of itself, complete and without loose ends.

use std::collections::BTreeSet;
use std::fs;

use hallpass::proto::FILE_DESCRIPTOR_SET;
use hallpass::transport::http::json::document;
use prost_reflect::DescriptorPool;
use serde_json::Value as Json;

const FILE: &str = "docs/openapi.json";

/// Every value in the document that is an object, with its place.
fn objects<'a>(place: &str, json: &'a Json, found: &mut Vec<(String, &'a Json)>) {
    match json {
        Json::Object(members) => {
            found.push((place.to_owned(), json));
            for (name, inner) in members {
                objects(&format!("{place}/{}", name.replace('~', "~0").replace('/', "~1")), inner, found);
            }
        }
        Json::Array(items) => {
            items.iter().enumerate().for_each(|(at, inner)| objects(&format!("{place}/{at}"), inner, found));
        }
        _ => {}
    }
}

#[test]
fn the_file_is_what_the_service_says() {
    let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
    if std::env::vars().any(|(name, _)| name == "HALLPASS_BLESS") {
        fs::write(FILE, &text).unwrap();
    }
    let kept = fs::read_to_string(FILE).unwrap_or_default();
    assert!(kept == text, "{FILE} is not what the service says: HALLPASS_BLESS=1 cargo test --test it openapi");
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_is_used() {
    let document = document();
    let mut found = Vec::new();
    objects("", &document, &mut found);
    let mut used = BTreeSet::new();
    for (place, object) in &found {
        if let Some(reference) = object.get("$ref").and_then(Json::as_str) {
            assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{place}: {reference}");
            used.insert(reference.trim_start_matches("#/components/schemas/").to_owned());
        }
    }
    for name in document["components"]["schemas"].as_object().unwrap().keys() {
        assert!(used.contains(name), "nothing refers to {name}");
    }
}

#[test]
fn every_call_of_the_descriptors_is_described_with_all_that_its_messages_have() {
    let document = document();
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut calls = 0;
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let name = method.name();
        let operation = &document["paths"][format!("/v1/{name}")]["post"];
        assert_eq!(operation["operationId"], name);
        for member in ["summary", "description"] {
            assert!(operation[member].as_str().is_some_and(|text| text.len() > 10), "{name} has no {member}");
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
        assert_eq!(*schema, format!("#/components/schemas/{}", method.input().name()));
        let statuses: Vec<&String> = operation["responses"].as_object().unwrap().keys().collect();
        let expected = ["200", "400", "401", "403", "404", "408", "409", "413", "415", "429", "500", "503", "504"];
        assert_eq!(statuses, expected, "{name}: each status that may come, and no range of them");
        let lines = operation["responses"]["200"]["content"].get("application/x-ndjson").is_some();
        assert_eq!(lines, method.is_server_streaming(), "{name}");
        calls += 1;
    }
    assert_eq!(document["paths"].as_object().unwrap().len(), calls);
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let Some(message) = pool.get_message_by_name(&format!("hallpass.v1.{name}")) else { continue };
        if name == "Value" {
            continue;
        }
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(properties.len(), message.fields().len(), "{name}");
        for field in message.fields() {
            let described = &properties[field.json_name()]["description"];
            assert!(described.as_str().is_some_and(|text| !text.is_empty()), "{}", field.full_name());
        }
    }
}

#[test]
fn what_comes_in_takes_no_further_members_and_examples_name_none() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for (path, item) in document["paths"].as_object().unwrap() {
        let content = &item["post"]["requestBody"]["content"]["application/json"];
        let name = content["schema"]["$ref"].as_str().unwrap().rsplit('/').next().unwrap();
        let schema = &schemas[name];
        assert_eq!(schema["additionalProperties"], false, "{path}");
        for example in content.get("examples").and_then(Json::as_object).into_iter().flatten() {
            for member in example.1["value"].as_object().unwrap().keys() {
                assert!(schema["properties"].get(member).is_some(), "{path}: {member}");
            }
        }
    }
    assert_eq!(schemas["Decision"]["enum"][1], "DECISION_ALLOW");
    assert!(schemas["AuthorizeResponse"].get("additionalProperties").is_none(), "later versions may say more");
}
