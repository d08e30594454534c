use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    app::authorize::Answer,
    domain::{
        decision::{Decision, Denial, Obligation, Outcome},
        id::{DecisionId, EntityId, PolicyVersion, Revision},
        route::path::PathFault,
        value::Value,
    },
    proto::envoy::service::auth::v3::{
        AttributeContext, DeniedHttpResponse, HeaderMap, HeaderValue, HeaderValueOption, OkHttpResponse,
        attribute_context::{HttpRequest, Peer, Request as AskedRequest},
        check_response::HttpResponse,
        header_value_option::HeaderAppendAction,
    },
};

/// A request as Envoy tells it.
fn request(path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    HttpRequest {
        id: "7a3e".to_owned(),
        method: "GET".to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        path: path.to_owned(),
        host: "api.example".to_owned(),
        scheme: "https".to_owned(),
        size: -1,
        protocol: "HTTP/1.1".to_owned(),
        header_map: None,
    }
}

fn message(http: HttpRequest, certificate: &str) -> CheckRequest {
    let source = Peer { certificate: certificate.to_owned(), ..Peer::default() };
    let attributes = AttributeContext {
        source: Some(source),
        request: Some(AskedRequest { http: Some(http) }),
        context_extensions: [("realm".to_owned(), "north".to_owned())].into(),
        ..AttributeContext::default()
    };
    CheckRequest { attributes: Some(attributes) }
}

fn held(path: &str, headers: &[(&str, &str)]) -> Held {
    Held::read(message(request(path, headers), "")).unwrap()
}

fn raw(headers: &[(&str, &[u8])]) -> Held {
    let header = |(name, value): &(&str, &[u8])| HeaderValue {
        key: (*name).to_owned(),
        raw_value: value.to_vec(),
        ..HeaderValue::default()
    };
    let headers = HeaderMap { headers: headers.iter().map(header).collect() };
    Held::read(message(HttpRequest { header_map: Some(headers), ..request("/a", &[]) }, "")).unwrap()
}

fn answer_of(outcome: Outcome) -> Answer {
    let denial = Denial {
        status: 403,
        problem_type: "urn:north:denied".to_owned(),
        title: "Denied".to_owned(),
        headers: vec![("X-Denied".into(), "not yours".to_owned())],
        ..Denial::default()
    };
    Answer {
        decision: Decision {
            outcome,
            reasons: vec![Reason::plain("SOME_REASON", "because")],
            determining_policies: Vec::new(),
            denial: (outcome != Outcome::Allowed).then_some(denial),
            obligations: Vec::new(),
            policy_version: PolicyVersion("v".into()),
        },
        decision_id: DecisionId(7),
        data_revision: Revision::default(),
        principal: Some(EntityId { entity_type: "Client".into(), id: "p-7 é%".into() }),
        explanation: None,
    }
}

fn passed(answer: &Answer, obligations: Obligations, held: &Held, options: &Options) -> OkHttpResponse {
    let response = Allow { answer, obligations, held, options }.response().unwrap();
    assert_eq!(response.status.unwrap().code, 0);
    match response.http_response {
        Some(HttpResponse::OkResponse(passed)) => passed,
        other => panic!("{other:?}"),
    }
}

fn said(headers: &[HeaderValueOption]) -> BTreeMap<String, String> {
    let said = headers.iter().map(|option| {
        assert_eq!(option.append_action(), HeaderAppendAction::OverwriteIfExistsOrAdd);
        let header = option.header.as_ref().unwrap();
        assert!(header.value.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{header:?}");
        (header.key.clone(), header.value.clone())
    });
    said.collect()
}

fn denied_as(response: CheckResponse) -> (i32, i32, BTreeMap<String, String>, Json) {
    let code = response.status.unwrap().code;
    match response.http_response {
        Some(HttpResponse::DeniedResponse(DeniedHttpResponse { status, headers, body })) => {
            let body = if body.is_empty() { Json::Null } else { serde_json::from_str(&body).unwrap() };
            (code, status.unwrap().code, said(&headers), body)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_token_of_one_header_is_read() {
    for (value, scheme, token) in [
        ("Bearer abc", "Bearer", "abc"),
        ("  Bearer   abc ", "Bearer", "abc"),
        ("DPoP abc", "DPoP", "abc"),
        ("abc", "abc", ""),
        ("", "", ""),
    ] {
        let credentials = held("/a", &[("authorization", value)]).credentials().unwrap();
        assert_eq!((&*credentials.scheme, &*credentials.token.0), (scheme, token), "{value}");
    }
    assert!(held("/a", &[]).credentials().unwrap().token.0.is_empty());
    let credentials = raw(&[("Authorization", b"Bearer abc")]).credentials().unwrap();
    assert_eq!(&*credentials.token.0, "abc", "headers come raw where Envoy is set so");
}

#[test]
fn two_tokens_are_none() {
    let code = |held: &Held| held.credentials().unwrap_err().code.to_string();
    assert_eq!(code(&held("/a", &[("authorization", "Bearer abc,Bearer abc")])), "TOKEN_AMBIGUOUS");
    assert_eq!(code(&raw(&[("authorization", b"Bearer abc"), ("authorization", b"Bearer abc")])), "TOKEN_AMBIGUOUS");
    assert_eq!(code(&raw(&[("authorization", b"Bearer abc"), ("Authorization", b"")])), "TOKEN_AMBIGUOUS");
}

#[test]
fn the_proof_is_of_the_request_as_it_came() {
    let certificate = "-----BEGIN%20CERTIFICATE-----%0AAB%2B%2F%0A-----END%20CERTIFICATE-----%0A";
    let http =
        request("/a/b%20c?x=1", &[("dpop", "proof"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "evil")]);
    let proof = Held::read(message(http, certificate)).unwrap().credentials().unwrap().proof;
    assert_eq!((&*proof.method, &*proof.uri), ("GET", "https://api.example/a/b%20c?x=1"));
    assert_eq!(proof.dpop, ["proof".into()]);
    assert_eq!(&*proof.client_certificate, b"-----BEGIN CERTIFICATE-----\nAB+/\n-----END CERTIFICATE-----\n");
    let twice = raw(&[("dpop", b"one"), ("dpop", b"two")]).credentials().unwrap().proof;
    assert_eq!(twice.dpop.len(), 2);
    let long = "x".repeat(9 * 1024);
    let http = HttpRequest { method: "M".repeat(33), ..request(&format!("/{long}"), &[("dpop", &long)]) };
    let proof = Held::read(message(http, &"A".repeat(20_000))).unwrap().credentials().unwrap().proof;
    assert_eq!((&*proof.method, &*proof.uri, proof.client_certificate.len()), ("", "", 0));
    assert_eq!(proof.dpop, ["".into()], "one that is too long is still one");
}

#[test]
fn a_header_that_names_another_path_makes_the_path_unclear() {
    for name in [
        "x-http-method-override",
        "x-original-url",
        "x-rewrite-url",
        "x_http_method_override",
        "x-http_method-override",
        "x.http.method.override",
        "x-original-method",
        "x_original_uri",
        "x-forwarded-method",
    ] {
        assert_eq!(held("/a", &[(name, "/b")]).path(), Err(held::Unclear::Rewritten), "{name}");
    }
    assert_eq!(raw(&[("X-HTTP-Method", b"DELETE")]).path(), Err(held::Unclear::Rewritten));
    for path in ["/a?_method=DELETE", "/a?b=c&%5Fmethod=DELETE", "/a?_METHOD=PUT"] {
        let unclear = held(path, &[]).path().unwrap_err();
        assert!(
            matches!(unclear, held::Unclear::Rewritten | held::Unclear::Path(PathFault::Query)),
            "{path}: {unclear:?}"
        );
    }
    assert_eq!(held("/a//b", &[]).path(), Err(held::Unclear::Path(PathFault::Empty)));
    assert!(held("/a?b", &[("x-forwarded-prefix", "/b")]).path().is_ok());
}

#[test]
fn what_is_kept_of_a_request_is_short_and_known() {
    assert_eq!((&*held("/a", &[]).method_on_record(), held("/a", &[]).request_id()), ("GET", "7a3e"));
    assert_eq!(held("/a", &[("x-request-id", "mine")]).request_id(), "mine");
    let odd = HttpRequest { method: "ada@example".to_owned(), id: "é".to_owned(), ..request("/a", &[]) };
    let odd = Held::read(message(odd, "")).unwrap();
    assert_eq!((&*odd.method_on_record(), odd.request_id()), ("OTHER", ""));
    assert_eq!(Held::read(CheckRequest::default()).unwrap_err(), Misread);
    assert_eq!(format!("{:?}", held("/ada", &[("authorization", "Bearer abc")])), "Held");
}

#[test]
fn an_allow_sets_our_headers_and_takes_away_those_that_came_under_our_names() {
    let came = held(
        "/a",
        &[
            ("authorization", "Bearer abc"),
            ("x-authz-subject", "spoofed"),
            ("x-authz-obligations", "[]"),
            ("x_authz_subject", "spoofed"),
            ("x-authzother", "stays"),
            ("x-team-secret", "goes"),
        ],
    );
    let answer = answer_of(Outcome::Allowed);
    let options = Options { strip_headers: vec!["x-authz-".into(), "x-team-".into()], ..Options::default() };
    let response = passed(&answer, Obligations::Unknown, &came, &options);
    let headers = said(&response.headers);
    assert_eq!(headers["x-authz-subject"], "p-7%20%C3%A9%25", "as the log names who asks, in visible ASCII");
    assert_eq!(headers["x-authz-decision-id"], "00000000-0000-0000-0000-000000000007");
    assert_eq!(headers.len(), 2);
    // What is set and removed would be removed.
    assert_eq!(response.headers_to_remove, ["x-authz-obligations", "x-team-secret", "x_authz_subject"]);
    let options = Options { removes_authorization: true, ..Options::default() };
    let removed = passed(&answer, Obligations::Unknown, &came, &options).headers_to_remove;
    assert_eq!(removed, ["authorization", "x-authz-obligations", "x_authz_subject"]);
}

#[test]
fn an_allow_tells_further_filters_of_itself() {
    let answer = answer_of(Outcome::Allowed);
    let (came, options) = (held("/a", &[]), Options::default());
    let allow = Allow { answer: &answer, obligations: Obligations::Unknown, held: &came, options: &options };
    let fields = allow.response().unwrap().dynamic_metadata.unwrap().fields;
    assert_eq!(fields.keys().collect::<Vec<_>>(), ["decision_id", "reason", "subject"]);
}

#[test]
fn obligations_reach_the_api_in_a_header_or_nothing_passes() {
    let mut answer = answer_of(Outcome::Allowed);
    let parameters = [(Arc::from("members"), Value::List(vec![Value::String("é \"x\"".into()), Value::Long(3)]))];
    answer.decision.obligations =
        vec![Obligation { id: "apply_profile".into(), parameters: parameters.into_iter().collect() }];
    let (came, options) = (held("/a", &[]), Options::default());
    let headers = said(&passed(&answer, Obligations::Header, &came, &options).headers);
    let text = &headers["x-authz-obligations"];
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()), "{text}");
    let expected = json!([{ "id": "apply_profile", "parameters": { "members": ["é \"x\"", 3] } }]);
    assert_eq!(serde_json::from_str::<Json>(text).unwrap(), expected);
    let untold = Allow { answer: &answer, obligations: Obligations::Unknown, held: &came, options: &options };
    assert_eq!(untold.response().unwrap_err().reason, "OBLIGATIONS_UNTOLD");
    let long = [(Arc::from("x"), Value::String("x".repeat(9_000).into()))];
    answer.decision.obligations[0].parameters = long.into_iter().collect();
    let long = Allow { answer: &answer, obligations: Obligations::Header, held: &came, options: &options };
    assert_eq!(long.response().unwrap_err().reason, "OBLIGATIONS_UNTOLD");
}

#[test]
fn a_deny_says_what_the_realm_says() {
    let (code, status, headers, body) = denied_as(answer::denied(&answer_of(Outcome::NotPermitted), "7a3e"));
    assert_eq!((code, status), (7, 403), "no number of HTTP stands where one of gRPC belongs");
    assert_eq!(headers["content-type"], "application/problem+json");
    assert_eq!((&*headers["cache-control"], &*headers["x-denied"]), ("no-store", "not yours"));
    let expected = json!({ "type": "urn:north:denied", "title": "Denied", "status": 403, "correlationId": "7a3e" });
    assert_eq!(body, expected);
}

#[test]
fn who_has_no_good_token_is_told_how_to_bring_one() {
    for (code, own, expected) in [
        ("TOKEN_MISSING", None, "Bearer"),
        ("TOKEN_EXPIRED", None, "Bearer error=\"invalid_token\""),
        ("TOKEN_EXPIRED", Some("JWT realm=\"x\""), "JWT realm=\"x\""),
    ] {
        let mut answer = answer_of(Outcome::Unauthenticated);
        answer.decision.reasons = vec![Reason::plain(code, "no")];
        let headers = own.map(|own| ("WWW-Authenticate".into(), own.to_owned())).into_iter().collect();
        answer.decision.denial = Some(Denial { status: 401, headers, ..Denial::default() });
        let (_, status, headers, body) = denied_as(answer::denied(&answer, ""));
        assert_eq!((status, &*headers["www-authenticate"]), (401, expected), "{code}");
        assert_eq!((headers.get("content-type"), body), (None, Json::Null), "a realm may want no body");
    }
}

#[test]
fn no_failure_is_an_allow_and_none_that_a_client_brings_about_is_a_failure() {
    let kinds = [
        Kind::InvalidArgument,
        Kind::Unauthenticated,
        Kind::PermissionDenied,
        Kind::NotFound,
        Kind::FailedPrecondition,
        Kind::ResourceExhausted,
        Kind::Unavailable,
        Kind::Internal,
    ];
    for kind in kinds {
        let response = answer::failed(&Error::new(kind, "SOME_CODE", "names the realms north and south"));
        assert!(!format!("{response:?}").contains("north"), "{kind:?}");
        let code = response.status.as_ref().unwrap().code;
        match response.http_response.clone() {
            Some(HttpResponse::ErrorResponse(told)) => {
                assert_eq!((code, told.status.unwrap().code), (14, 503), "{kind:?}");
                assert_ne!(kind, Kind::InvalidArgument);
            }
            Some(HttpResponse::DeniedResponse(_)) => {
                let (code, status, ..) = denied_as(response);
                let expected = [(400, Kind::InvalidArgument), (429, Kind::ResourceExhausted)];
                assert!(code == 7 && expected.contains(&(status, kind)), "{status} {kind:?}");
            }
            other => panic!("{kind:?}: {other:?}"),
        }
    }
    // Tokens with made-up key ids, opaque tokens and proofs without end, ids that make a header too long.
    for (kind, code) in [
        (Kind::Unavailable, "KEYS_UNAVAILABLE"),
        (Kind::Unavailable, "TOKEN_INTROSPECTION_UNAVAILABLE"),
        (Kind::Unavailable, "PROOFS_FULL"),
        (Kind::Unavailable, "OVERLOADED"),
        (Kind::Internal, "OBLIGATIONS_UNTOLD"),
    ] {
        let (grpc, status, headers, _) = denied_as(answer::failed(&Error::new(kind, code, "")));
        assert_eq!((grpc, status, &*headers["retry-after"]), (7, 503, "1"), "{code}");
    }
    let (code, status, headers, _) = denied_as(answer::of_no_realm());
    assert_eq!((code, status, headers.contains_key("www-authenticate")), (7, 401, true));
}

#[test]
fn a_dry_run_says_what_would_have_been() {
    let options = Options { is_dry_run: true, ..Options::default() };
    let came = held("/a", &[("x-authz-dry-run", "allow"), ("x-authz-subject", "spoofed")]);
    for (outcome, expected) in [(Outcome::Allowed, "allow"), (Outcome::Forbidden, "deny")] {
        let response = passed(&answer_of(outcome), Obligations::Unknown, &came, &options);
        assert_eq!(said(&response.headers)["x-authz-dry-run"], expected);
        assert!(response.headers_to_remove.is_empty(), "all of them are set");
    }
    let nobody = Answer { principal: None, ..answer_of(Outcome::Unauthenticated) };
    let response = passed(&nobody, Obligations::Unknown, &came, &options);
    assert_eq!(response.headers_to_remove, ["x-authz-subject"]);
}

#[test]
fn a_token_in_the_query_is_one_only_where_the_realm_says_so() {
    let path = |query: &str| Path::read(format!("/a?{query}").as_bytes()).unwrap();
    let with = |header: &str, query: &str| {
        let found = with_query_token(Credentials::bearer(header), &path(query), None);
        found
            .map(|credentials| credentials.query_token.0.to_string())
            .map_err(|refusal| refusal.reason.code.to_string())
    };
    assert_eq!(with("abc", "x=1"), Ok(String::new()));
    for (header, query, expected) in [
        ("", "access_token=abc", "ROUTE_TOKEN_IN_QUERY"),
        ("abc", "access_token=abc", "TOKEN_AMBIGUOUS"),
        ("", "Access_Token=abc", "ROUTE_AMBIGUOUS"),
        ("abc", "x=1;access_token=abc", "ROUTE_AMBIGUOUS"),
        ("", "access_token=abc&access_token=abc", "ROUTE_AMBIGUOUS"),
    ] {
        assert_eq!(with(header, query), Err(expected.to_owned()), "{query}");
    }
}
