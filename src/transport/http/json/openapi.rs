//! The description of the API as JSON: `OpenAPI` 3.1, made from the descriptors and their comments.

mod examples;
mod schema;

use std::collections::BTreeMap;

use prost_reflect::MethodDescriptor;
use serde_json::{Map, Value as Json, json};

use self::schema::Schemas;
use super::{POOL, PREFIX};

/// The package that is described; what Google defines stands in it by its JSON.
const PACKAGE: &str = "hallpass.v1";

const INTRODUCTION: &str = "The calls of hallpass.v1 as JSON: each is a POST whose body is the request message and whose \
    answer is the response message, in the JSON mapping of proto3. Members are lowerCamelCase; the names of the proto files \
    are read, too. 64-bit numbers are texts, enums are names, bytes are base64, times are RFC 3339. Members without content \
    are left out of answers. Members that a message does not have are refused, and so are names that come twice. \
    Values of attributes and of the context are plain JSON, see `Value`. Calls that answer with many messages send \
    application/x-ndjson: a message a line, and a last line with the member `error` if the call failed after the first one. \
    A failure is a problem of RFC 9457 with a stable `code`. A deny is an answer and no failure; a failure is never an allow. \
    The header X-Request-ID names a request in the decision log and comes back; Grpc-Timeout (for example `200m`) says how \
    long the caller waits.";

/// A header that failures have.
#[derive(Clone, Copy)]
enum Header {
    /// None.
    None,
    /// How callers show who they are.
    Challenge,
    /// After how many seconds trying again may help.
    Later,
    /// The same, where it may help at all.
    PerhapsLater,
}

/// What every call may answer in place of its answer: the status, the name among the components, what it means, and the
/// header that it has. `http::problem` chooses them; 405 is for other methods, and so for no call.
const FAILURES: [(&str, &str, &str, Header); 12] = [
    ("400", "malformed", "The request is not what the call takes; `errors` names the members.", Header::None),
    ("401", "unauthenticated", "The caller is not known.", Header::Challenge),
    ("403", "forbidden", "The caller may not ask this.", Header::None),
    ("404", "unknown", "What the request names is not there, a realm say.", Header::None),
    ("408", "slow", "The body did not come in time.", Header::None),
    ("409", "conflict", "It does not go with how things stand.", Header::None),
    ("413", "long", "The body is too long.", Header::None),
    ("415", "type", "The body is of a type that the call does not read.", Header::None),
    ("429", "exhausted", "It is too much, at once or at all.", Header::PerhapsLater),
    ("500", "failed", "A fault of the service.", Header::None),
    ("503", "unavailable", "It cannot be answered now.", Header::Later),
    ("504", "overdue", "There was no answer in time.", Header::None),
];

/// The description of every call that there is.
pub fn document() -> Json {
    let mut schemas = Schemas::default();
    let (mut paths, mut tags) = (Map::new(), Vec::new());
    for service in POOL.services().filter(|service| service.package_name() == PACKAGE) {
        tags.push(json!({
            "name": service.name(),
            "description": schema::comment(&service.parent_file(), service.path()),
        }));
        for method in service.methods() {
            let operation = operation(&method, service.name(), &mut schemas);
            paths.insert(format!("{PREFIX}{}", method.name()), json!({ "post": operation }));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "hallpass",
            "summary": "Decisions about access to education data, explained.",
            "description": INTRODUCTION,
            "version": "v1",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "security": [{ "callerKey": [] }],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": schemas.finish(),
            "responses": FAILURES.map(|(_, name, means, header)| (name, problem_response(means, header)))
                .into_iter()
                .collect::<BTreeMap<_, _>>(),
            "securitySchemes": {
                "callerKey": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The key, or the token, of a caller that the deployment names. Where the service listens on \
                        loopback alone, it may be left out.",
                },
            },
        },
    })
}

fn operation(method: &MethodDescriptor, service: &str, schemas: &mut Schemas) -> Json {
    let comment = schema::comment(&method.parent_file(), method.path());
    let summary = comment.split_inclusive(". ").next().unwrap_or_default().trim().trim_end_matches('.').to_owned();
    let request = schemas.read(&method.input());
    let answer = schemas.written(&method.output());
    let mut content = Map::new();
    content.insert(
        "application/json".to_owned(),
        match examples::of(method.name()) {
            Some(examples) => json!({ "schema": request, "examples": examples }),
            None => json!({ "schema": request }),
        },
    );
    if method.is_client_streaming() {
        let lines = json!({ "type": "string", "description": "A message a line." });
        content.insert("application/x-ndjson".to_owned(), json!({ "schema": lines }));
    }
    let failures =
        FAILURES.map(|(status, name, ..)| (status, json!({ "$ref": format!("#/components/responses/{name}") })));
    let responses: BTreeMap<_, _> = [("200", answer_response(method, &answer))].into_iter().chain(failures).collect();
    json!({
        "operationId": method.name(),
        "summary": summary,
        "description": comment,
        "tags": [service],
        "requestBody": { "required": true, "content": content },
        "responses": responses,
    })
}

fn answer_response(method: &MethodDescriptor, answer: &Json) -> Json {
    if !method.is_server_streaming() {
        return json!({ "description": "The answer.", "content": { "application/json": { "schema": answer } } });
    }
    let error = json!({
        "type": "object",
        "description": "The last line of a call that failed after the first one.",
        "properties": { "error": { "$ref": "#/components/schemas/Problem" } },
        "required": ["error"],
    });
    json!({
        "description": "The answers as they come; the schema is that of a line.",
        "content": { "application/x-ndjson": { "schema": { "anyOf": [answer, error] } } },
    })
}

fn problem_response(means: &str, header: Header) -> Json {
    let later = |is_required: bool| {
        json!({ "Retry-After": {
            "description": "After how many seconds trying again may help.",
            "required": is_required,
            "schema": { "type": "string", "pattern": "^[1-9][0-9]*$" },
        } })
    };
    let headers = match header {
        Header::None => json!({}),
        Header::Challenge => json!({ "WWW-Authenticate": {
            "description": "How callers show who they are.",
            "required": true,
            "schema": { "type": "string" },
        } }),
        Header::Later => later(true),
        Header::PerhapsLater => later(false),
    };
    json!({
        "description": means,
        "headers": headers,
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}
