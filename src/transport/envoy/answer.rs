//! What Envoy is told: let it through, answer it so, or that there is no answer.

use std::{collections::BTreeMap, fmt::Write as _};

use prost_types::{Struct, Value as Wire, value::Kind as WireKind};
use serde_json::json;
use tonic::Code;

use super::{
    Options,
    held::{Held, as_read},
};
use crate::{
    app::{
        authorize::Answer,
        error::{Error, Kind},
    },
    domain::{
        decision::{Decision, Denial, Effect},
        json_value,
        route::Obligations,
    },
    proto::{
        envoy::service::auth::v3::{
            CheckResponse, DeniedHttpResponse, HeaderValue, HeaderValueOption, HttpStatus, OkHttpResponse,
            check_response::HttpResponse, header_value_option::HeaderAppendAction,
        },
        google::rpc::Status,
    },
    transport::{http::problem, layer::rarely::Rarely},
};

/// The header with the id of the decision.
const DECISION_ID: &str = "x-authz-decision-id";
/// The header with who asks, as the decision log names it.
const SUBJECT: &str = "x-authz-subject";
/// The header with what the API must do.
const OBLIGATIONS: &str = "x-authz-obligations";
/// The header that says what would have been decided.
const DRY_RUN: &str = "x-authz-dry-run";

/// The longest header that is set, in bytes.
const HEADER_BYTES_MAX: usize = 8 * 1024;

/// An allow, or a deny that lets through because the deployment only tries.
pub(super) struct Allow<'a> {
    pub(super) answer: &'a Answer,
    pub(super) obligations: Obligations,
    pub(super) held: &'a Held,
    pub(super) options: &'a Options,
}

impl Allow<'_> {
    /// The answer: code 0, our headers, and without those that came under our names.
    ///
    /// # Errors
    /// Obligations that the API cannot hear of.
    pub(super) fn response(&self) -> Result<CheckResponse, Error> {
        let Answer { decision, decision_id, principal, .. } = self.answer;
        let mut headers = vec![set(DECISION_ID, decision_id.to_string())];
        headers.extend(principal.as_ref().map(|principal| set(SUBJECT, in_header(&principal.id))));
        if !decision.obligations.is_empty() {
            headers.push(set(OBLIGATIONS, self.obligations(decision)?));
        }
        if self.options.is_dry_run {
            let would = if decision.outcome.effect() == Effect::Allow { "allow" } else { "deny" };
            headers.push(set(DRY_RUN, would.to_owned()));
        }
        let ours: Vec<String> = headers.iter().filter_map(|it| Some(it.header.as_ref()?.key.clone())).collect();
        Ok(CheckResponse {
            status: Some(status(Code::Ok)),
            dynamic_metadata: Some(metadata(self.answer)),
            http_response: Some(HttpResponse::OkResponse(OkHttpResponse {
                headers,
                headers_to_remove: self.removed(&ours),
                response_headers_to_add: Vec::new(),
            })),
        })
    }

    /// The headers of the request that do not reach the API. One that is set and removed would be removed, so what we set is
    /// not among them: it takes the place of what came.
    fn removed(&self, ours: &[String]) -> Vec<String> {
        let Options { strip_headers, removes_authorization, .. } = self.options;
        let is_stripped = |name: &&str| {
            let read = as_read(name);
            strip_headers.iter().any(|prefix| read.starts_with(&**prefix)) && !ours.iter().any(|own| own == name)
        };
        let is_authorization = |name: &&str| *removes_authorization && *name == "authorization";
        let removed = self.held.header_names().filter(|name| is_stripped(name) || is_authorization(name));
        removed.map(str::to_owned).collect()
    }

    /// The obligations as JSON of visible ASCII.
    fn obligations(&self, decision: &Decision) -> Result<String, Error> {
        let obligations = decision.obligations.iter().map(|obligation| {
            let parameters = obligation.parameters.iter();
            let parameters: serde_json::Map<_, _> =
                parameters.map(|(name, value)| (name.to_string(), json_value::json_of(value))).collect();
            json!({ "id": &*obligation.id, "parameters": parameters })
        });
        let text = escaped(&obligations.collect::<serde_json::Value>().to_string());
        let is_told = self.obligations == Obligations::Header && text.len() <= HEADER_BYTES_MAX;
        let fault = || Error::new(Kind::Internal, "OBLIGATIONS_UNTOLD", "the obligations do not fit into a header");
        if is_told { Ok(text) } else { Err(fault()) }
    }
}

/// A deny: code 7, and what the realm says of it.
pub(super) fn denied(answer: &Answer, request_id: &str) -> CheckResponse {
    let decision = &answer.decision;
    let denial = decision.denial.clone().unwrap_or(Denial { status: 403, ..Denial::default() });
    let code = decision.reasons.first().map(|reason| &*reason.code).unwrap_or_default();
    let mut headers = vec![set("cache-control", "no-store".to_owned())];
    headers.extend(denial.headers.iter().map(|(name, value)| set(&name.to_ascii_lowercase(), value.clone())));
    let has_challenge = denial.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("www-authenticate"));
    if denial.status == 401 && !has_challenge {
        let challenge = if code == "TOKEN_MISSING" { "Bearer" } else { "Bearer error=\"invalid_token\"" };
        headers.push(set("www-authenticate", challenge.to_owned()));
    }
    let status = i32::from(denial.status);
    let body = problem::denial_body(denial, code, request_id);
    CheckResponse { dynamic_metadata: Some(metadata(answer)), ..refused(status, headers, body) }
}

/// The request belongs to no realm: nobody here could say who asks.
pub(super) fn of_no_realm() -> CheckResponse {
    let denial = Denial {
        status: 401,
        title: "Unauthorized".to_owned(),
        detail: "a valid access token is needed".to_owned(),
        ..Denial::default()
    };
    let body = problem::denial_body(denial, "ISSUER_UNKNOWN", "");
    let headers = vec![
        set("cache-control", "no-store".to_owned()),
        set("www-authenticate", "Bearer error=\"invalid_token\"".to_owned()),
    ];
    refused(401, headers, body)
}

/// Failures that clients can bring about by what they send and how often: made-up tokens whose keys or whose issuer's word must
/// be fetched, proofs without end, obligations that name ids without end.
const OF_CLIENTS: [&str; 5] =
    ["KEYS_UNAVAILABLE", "OBLIGATIONS_UNTOLD", "OVERLOADED", "PROOFS_FULL", "TOKEN_INTROSPECTION_UNAVAILABLE"];

static UNDECIDED: Rarely = Rarely::new();

/// There is no decision. What a client can bring about is a refusal; the rest is told as a failure.
pub(super) fn failed(error: &Error) -> CheckResponse {
    let (status, title, detail) = match error.kind {
        Kind::InvalidArgument => (400, "Bad Request", "the request cannot be judged as it is"),
        Kind::ResourceExhausted => (429, "Too Many Requests", "there are too many requests, try again later"),
        _ => (503, "Service Unavailable", "it cannot be decided now whether the request may pass"),
    };
    let is_clients = status != 503 || OF_CLIENTS.contains(&error.reason);
    let denial = Denial { status, title: title.to_owned(), detail: detail.to_owned(), ..Denial::default() };
    let body = problem::denial_body(denial, error.reason, "");
    let mut headers = vec![set("cache-control", "no-store".to_owned())];
    if status != 400 {
        let seconds = error.retry_after.map_or(1, |after| after.as_millis().div_ceil(1_000).max(1));
        headers.push(set("retry-after", seconds.to_string()));
    }
    if is_clients {
        tracing::debug!(code = error.reason, "a request that Envoy holds back cannot be judged");
        return refused(i32::from(status), headers, body);
    }
    if UNDECIDED.may_now() {
        tracing::warn!(code = error.reason, "a request that Envoy holds back was not decided: {error}");
    }
    let mut response = refused(i32::from(status), headers, body);
    response.status = Some(self::status(Code::Unavailable));
    response.http_response = match response.http_response {
        Some(HttpResponse::DeniedResponse(denied)) => Some(HttpResponse::ErrorResponse(denied)),
        other => other,
    };
    response
}

fn refused(status: i32, mut headers: Vec<HeaderValueOption>, body: Option<String>) -> CheckResponse {
    if body.is_some() {
        headers.push(set("content-type", "application/problem+json".to_owned()));
    }
    CheckResponse {
        status: Some(self::status(Code::PermissionDenied)),
        dynamic_metadata: None,
        http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code: status }),
            headers,
            body: body.unwrap_or_default(),
        })),
    }
}

/// A code of gRPC; never a number of HTTP, which Envoy would take for one of gRPC.
fn status(code: Code) -> Status {
    Status { code: code.into(), ..Status::default() }
}

/// A header that takes the place of any of its name.
fn set(name: &str, value: String) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.to_owned(), value, raw_value: Vec::new() }),
        append_action: HeaderAppendAction::OverwriteIfExistsOrAdd.into(),
    }
}

/// What further filters and access logs of Envoy may read.
fn metadata(answer: &Answer) -> Struct {
    let Answer { decision, decision_id, principal, .. } = answer;
    let reason = decision.reasons.first().map(|reason| reason.code.to_string());
    let subject = principal.as_ref().map(|principal| in_header(&principal.id));
    let members = [("decision_id", Some(decision_id.to_string())), ("reason", reason), ("subject", subject)];
    let text = |text| Wire { kind: Some(WireKind::StringValue(text)) };
    let fields: BTreeMap<String, Wire> =
        members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), text(value?)))).collect();
    Struct { fields }
}

/// Visible ASCII as it is but for `%`, everything else percent-encoded (RFC 3986 section 2.1).
fn in_header(text: &str) -> String {
    let mut value = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            value.push(char::from(byte));
        } else {
            // A string can't refuse to be written to.
            let _ = write!(value, "%{byte:02X}");
        }
    }
    value
}

/// JSON whose texts hold nothing but visible ASCII.
fn escaped(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_ascii_graphic() {
            text.push(character);
            continue;
        }
        let mut units = [0; 2];
        for unit in character.encode_utf16(&mut units) {
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}
