//! What gateways ask about: paths, the description of an API, and whole requests as Envoy tells them.

use hallpass::domain::route::path::Path;
use hallpass::proto::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, HeaderValue, OkHttpResponse, attribute_context::HttpRequest,
    check_response::HttpResponse,
};
use prost::Message as _;

use super::realm::{REALM, realm_with};
use super::world::{self, ASKED};

const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// Reads bytes as a method, a blank and the target of a request: what can be read is read in one way only, and what a route
/// fits is what the small API has.
pub(crate) fn route_path(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b' ');
    let (Some(method), Some(target)) = (parts.next(), parts.next()) else { return };
    let (Ok(method), Ok(path)) = (std::str::from_utf8(method), Path::read(target)) else { return };
    // Without a `%`, what decodes a segment once more reads the same one.
    let is_plain = |segment: &String| {
        !segment.contains(['/', '\\', ';', '?', '#', '%'])
            && !segment.chars().any(char::is_control)
            && segment != "."
            && segment != ".."
    };
    assert!(path.segments().iter().all(is_plain), "{path:?}");
    let again = Path::read(rendered(path.segments()).as_bytes());
    assert_eq!(again.as_ref().map(Path::segments), Ok(path.segments()), "written anew it is the same path");
    let _query_is_read_or_refused = path.query("size");
    let found = REALM.with(|realm| realm.routes.as_ref().expect("routes").find(method, &path));
    let segments: Vec<&str> = path.segments().iter().map(String::as_str).collect();
    let expected = match (method, &segments[..]) {
        ("GET", ["v1", "files", _, "newest"]) => "newestFile",
        ("GET", ["v1", "files", student, file]) if !student.is_empty() && !file.is_empty() => "getFile",
        ("PUT", ["v1", "files", student, file]) if !student.is_empty() && !file.is_empty() => "putFile",
        _ => "",
    };
    match found {
        Ok(found) => {
            assert_eq!(&*found.operation, expected, "{method} {segments:?}");
            let student = found.question.attributes.as_ref().and_then(|values| values.get("student"));
            assert_eq!(student.map(|value| format!("{value:?}")), Some(format!("String({:?})", segments[2])));
        }
        // The value of `size` may be none.
        Err(fault) => assert!(expected.is_empty() || expected == "getFile", "{method} {segments:?}: {fault}"),
    }
}

/// The segments as a careful client sends them.
fn rendered(segments: &[String]) -> String {
    if segments.is_empty() {
        return "/".to_owned();
    }
    let encoded =
        |byte: u8| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    segments.iter().fold(String::new(), |path, segment| path + "/" + &segment.bytes().map(encoded).collect::<String>())
}

/// Reads bytes as the description of the small API: the realm compiles with it, or each fault lies where it says.
pub(crate) fn openapi(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    realm_with("openapi.yaml", text);
}

/// Reads bytes as a request that Envoy holds back, with a good token if it has none: it is answered in Envoy's words, one way or
/// the other; it passes only if it is about the one student whom rules allow, and never with a header of ours from outside.
pub(crate) fn envoy_check(bytes: &[u8]) {
    let Ok(mut message) = CheckRequest::decode(bytes) else { return };
    world::with(|world| {
        let attributes = message.attributes.get_or_insert_default();
        attributes.context_extensions.insert("realm".to_owned(), ASKED.to_owned());
        if let Some(http) = attributes.request.as_mut().and_then(|request| request.http.as_mut()) {
            http.headers.entry("authorization".to_owned()).or_insert_with(|| format!("Bearer {}", world.token));
        }
        let answered = world.call(CHECK, &message.encode_to_vec());
        assert_eq!(answered.code, 0, "{answered:?}");
        let answer = CheckResponse::decode(&*answered.messages[0]).expect("an answer");
        let code = answer.status.as_ref().map_or(0, |status| status.code);
        match answer.http_response {
            Some(HttpResponse::OkResponse(passed)) => check_passed(code, &passed, &message),
            Some(HttpResponse::DeniedResponse(_)) => assert_eq!(code, 7),
            Some(HttpResponse::ErrorResponse(_)) => assert_eq!(code, 14),
            None => panic!("neither passed nor held back: {message:?}"),
        }
    });
}

fn check_passed(code: i32, passed: &OkHttpResponse, message: &CheckRequest) {
    assert_eq!(code, 0);
    let AttributeContext { request, context_extensions, .. } = message.attributes.as_ref().expect("attributes");
    let HttpRequest { headers, header_map, path, .. } =
        request.as_ref().and_then(|request| request.http.as_ref()).expect("HTTP");
    assert!(
        path.contains("/ada") || context_extensions.contains_key("action") || path.contains('%'),
        "passed: {message:?}"
    );
    let ours: Vec<&str> = passed.headers.iter().filter_map(|set| Some(&*set.header.as_ref()?.key)).collect();
    let raw = header_map.iter().flat_map(|map| &map.headers).map(|HeaderValue { key, .. }| key);
    for name in headers.keys().chain(raw).map(|name| name.to_ascii_lowercase()) {
        let is_claimed = name.replace('_', "-").starts_with("x-authz-");
        let is_gone = ours.contains(&&*name) != passed.headers_to_remove.contains(&name);
        assert!(!is_claimed || is_gone, "`{name}` reaches the API, or ours does not: {passed:?}");
    }
}
