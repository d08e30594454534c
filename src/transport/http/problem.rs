//! The only place where an HTTP status is chosen.
//!
//! Every refusal is a problem of RFC 9457, `application/problem+json`, with the members that education APIs add to it:
//! `correlationId`, `errors` and `validationErrors`.

use std::sync::Arc;

use axum::{
    body::Body,
    http::{
        HeaderName, HeaderValue, StatusCode,
        header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value as Json, json};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::answer;
use crate::{
    app::error::{Error, Kind},
    domain::{access_request::FieldFault, decision::Denial, value::Value},
    transport::layer::{admission::Shed, rarely::Rarely},
};

/// What is logged of failures, so many a second.
static FAILURES: Rarely = Rarely::new();
static ANSWERS: Rarely = Rarely::new();

/// A refusal on its way to the client.
#[derive(Clone, Debug)]
pub(super) struct Problem(Box<Content>);

#[derive(Clone, Debug)]
struct Content {
    status: StatusCode,
    code: Arc<str>,
    denial: Denial,
    /// Members without content are there too.
    has_empty_members: bool,
    /// It is said as one sentence of plain text.
    is_text: bool,
    correlation_id: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

/// Why a body cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFault {
    /// Longer than is read.
    TooLong,
    /// It did not come in time.
    TooSlow,
    /// It broke off.
    Broken,
    /// Neither JSON nor a form, as its type says.
    TypeUnknown,
}

impl Problem {
    /// The client did not say who it is, or not well. `denial` is what the realm says to that.
    pub(super) fn unauthenticated(code: &str, denial: Option<Denial>) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        let denial = denial.unwrap_or_else(|| plain(status, "a valid access token is needed"));
        let is_absent = code == ABSENT;
        let challenge = if is_absent { "Bearer" } else { "Bearer error=\"invalid_token\"" };
        Self::new(status, code, denial).with(WWW_AUTHENTICATE, challenge)
    }

    /// The token in the body is not there, or cannot be read.
    pub(super) fn no_token_to_inspect(denial: Option<Denial>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let denial = denial.unwrap_or_else(|| plain(status, "the body has no member `token` that is a text"));
        Self::new(status, UNREADABLE, denial)
    }

    /// The token in the body is not the one in the header.
    pub(super) fn other_token(denial: Option<Denial>) -> Self {
        let status = StatusCode::BAD_REQUEST;
        let denial = denial.unwrap_or_else(|| plain(status, "the tokens in the header and in the body differ"));
        Self::new(status, MISMATCH, denial)
    }

    /// The claim set that the token names is not there.
    pub(super) fn claim_set_unknown(denial: Option<Denial>) -> Self {
        let status = StatusCode::UNAUTHORIZED;
        let denial = denial.unwrap_or_else(|| plain(status, "the token's claim set is not known"));
        Self::new(status, CLAIM_SET_UNKNOWN, denial).with(WWW_AUTHENTICATE, "Bearer")
    }

    /// The body cannot be used.
    pub(super) fn of_body(fault: BodyFault) -> Self {
        let (status, code, detail) = match fault {
            BodyFault::TooLong => (StatusCode::PAYLOAD_TOO_LARGE, "BODY_TOO_LONG", "the body is too long"),
            BodyFault::TooSlow => (StatusCode::REQUEST_TIMEOUT, "BODY_TOO_SLOW", "the body did not come in time"),
            BodyFault::Broken => (StatusCode::BAD_REQUEST, "BODY_BROKEN", "the body broke off"),
            BodyFault::TypeUnknown => (
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "BODY_TYPE_UNKNOWN",
                "expected a body of type application/json or application/x-www-form-urlencoded",
            ),
        };
        Self::new(status, code, plain(status, detail))
    }

    /// Nothing is at this path.
    pub(super) fn no_such_path() -> Self {
        let status = StatusCode::NOT_FOUND;
        Self::new(status, "PATH_UNKNOWN", plain(status, "there is nothing at this path"))
    }

    /// The path is right, the method is not.
    pub(super) fn method_not_allowed(allowed: &'static str) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self::new(status, "METHOD_NOT_ALLOWED", plain(status, &format!("expected {allowed}"))).with(ALLOW, allowed)
    }

    /// The request is not what the interface wants; the sentence says what is wrong.
    pub(super) fn malformed(message: &str) -> Self {
        let status = StatusCode::BAD_REQUEST;
        Self::new(status, "REQUEST_MALFORMED", plain(status, message))
    }

    /// Too many answers are under way.
    pub(super) fn busy() -> Self {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let denial = plain(status, "too many requests are being answered, try again later");
        Self::new(status, "BUSY", denial).with(RETRY_AFTER, "1")
    }

    /// A failure of a use case. What isn't there and what fails on this side is said in fixed words: names of realms, files
    /// and hosts are for the log.
    pub(super) fn of(error: &Error) -> Self {
        let (status, may_help) = match error.kind {
            Kind::InvalidArgument => (StatusCode::BAD_REQUEST, false),
            Kind::Unauthenticated => (StatusCode::UNAUTHORIZED, false),
            Kind::PermissionDenied => (StatusCode::FORBIDDEN, false),
            Kind::NotFound => (StatusCode::NOT_FOUND, false),
            Kind::FailedPrecondition => (StatusCode::CONFLICT, false),
            Kind::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, true),
            Kind::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, true),
            Kind::Internal => (StatusCode::INTERNAL_SERVER_ERROR, false),
        };
        let detail = match error.kind {
            Kind::NotFound => "there is nothing at this path",
            Kind::Unavailable => "it cannot be answered now, try again later",
            Kind::Internal => "the answer could not be made",
            _ => &error.message,
        };
        if status.is_server_error() && FAILURES.may_now() {
            tracing::warn!(code = error.reason, "a use case failed: {error}");
        }
        let mut problem = Self::new(status, error.reason, plain(status, detail));
        if may_help {
            // Whole seconds (RFC 9110 section 10.2.3), and never too early.
            let after = error.retry_after.map_or(1, |after| after.as_millis().div_ceil(1_000).max(1));
            let after = u64::try_from(after).unwrap_or(u64::MAX);
            problem.0.headers.push((RETRY_AFTER, HeaderValue::from(after)));
        }
        if status == StatusCode::UNAUTHORIZED { problem.with(WWW_AUTHENTICATE, "Bearer") } else { problem }
    }

    /// The same as the sentence alone, for interfaces that know no problems: `AuthZEN` 1.0 section 10.1.1. What has become
    /// out of date is a fault of the request there.
    pub(super) fn into_text(mut self) -> Self {
        self.0.is_text = true;
        if self.0.status == StatusCode::CONFLICT {
            self.0.status = StatusCode::BAD_REQUEST;
        }
        self
    }

    /// The status.
    pub(super) fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    /// What is said.
    pub(super) fn detail(&self) -> &str {
        &self.0.denial.detail
    }

    /// The answer was not there in time.
    pub(super) fn overdue() -> Self {
        let status = StatusCode::GATEWAY_TIMEOUT;
        Self::new(status, DEADLINE_EXCEEDED, plain(status, "the deadline has passed, nothing was answered"))
    }

    /// The request was turned away before any work was done, or given up when its time was over.
    pub(super) fn of_shed(shed: Shed) -> Self {
        match shed {
            Shed::QueueFull | Shed::Waited | Shed::Late | Shed::BytesFull => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                let denial = plain(status, "there are too many requests, try again later");
                Self::new(status, OVERLOADED, denial).with(RETRY_AFTER, "1")
            }
            Shed::TooSlow => Self::of_body(BodyFault::TooSlow),
            Shed::Broken => Self::of_body(BodyFault::Broken),
            Shed::Overdue => Self::overdue(),
        }
    }

    fn new(status: StatusCode, code: &str, denial: Denial) -> Self {
        Self(Box::new(Content {
            status,
            code: code.into(),
            denial,
            has_empty_members: false,
            is_text: false,
            correlation_id: String::new(),
            headers: Vec::new(),
        }))
    }

    fn with(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.headers.push((name, HeaderValue::from_static(value)));
        self
    }

    /// With all members that a problem can have, the empty ones too.
    pub(super) fn with_empty_members(mut self) -> Self {
        self.0.has_empty_members = true;
        self
    }

    /// Takes the caller's id of the request as the problem's, or else one of its own.
    pub(super) fn name_request(&mut self, id: Option<&str>) {
        let given = id.map(str::to_owned);
        self.0.correlation_id = given.unwrap_or_else(|| Uuid::now_v7().to_string());
    }

    /// Tells the log of it: the status, the code and the id, nothing else of the request.
    pub(super) fn log(&self) {
        let Content { status, code, correlation_id, .. } = &*self.0;
        let correlation_id = correlation_id.as_str();
        if status.is_server_error() && ANSWERS.may_now() {
            tracing::warn!(status = status.as_u16(), %code, correlation_id, "a request over HTTP failed");
        } else {
            tracing::debug!(status = status.as_u16(), %code, correlation_id, "a request over HTTP was refused");
        }
    }

    /// The members, as far as they say something. A realm's words without type, title, detail and further members mean no
    /// body at all.
    pub(super) fn body(&self) -> Option<Json> {
        let Content { status, denial, has_empty_members, correlation_id, .. } = &*self.0;
        let Denial { status: _, problem_type, title, detail, errors, headers: _, members: further } = denial;
        if problem_type.is_empty() && title.is_empty() && detail.is_empty() && further.is_empty() {
            return None;
        }
        let mut members = Map::new();
        let texts = [("type", problem_type), ("title", title), ("detail", detail), ("correlationId", correlation_id)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            members.insert(name.to_owned(), json!(text));
        }
        members.insert("status".to_owned(), json!(status.as_u16()));
        if *has_empty_members || !errors.is_empty() {
            members.insert("errors".to_owned(), json!(errors));
        }
        if *has_empty_members {
            members.insert("validationErrors".to_owned(), json!({}));
        }
        // A realm may have a member `status` of its own.
        members.extend(further.iter().map(|(name, value)| (name.to_string(), member(value))));
        Some(Json::Object(members))
    }
}

/// The body of a refusal by the realm's words, as this listener would send it; `None` where the realm wants none. `request_id`
/// is the caller's; where it is empty the problem has an id of its own.
pub(in crate::transport) fn denial_body(denial: Denial, code: &str, request_id: &str) -> Option<String> {
    let status = StatusCode::from_u16(denial.status).unwrap_or(StatusCode::FORBIDDEN);
    let mut problem = Problem::new(status, code, denial);
    problem.name_request((!request_id.is_empty()).then_some(request_id));
    problem.log();
    problem.body().map(|body| body.to_string())
}

/// Refusals of the API as JSON.
impl Problem {
    /// A call that the services refused, or that failed.
    pub(super) fn of_status(status: &Status) -> Self {
        let details = status.get_error_details();
        let code = details.error_info().map_or("INTERNAL", |info| &info.reason);
        let violations = details.bad_request().map(|request| request.field_violations.as_slice()).unwrap_or_default();
        let errors = violations.iter().map(|violation| match &*violation.field {
            "" => violation.description.clone(),
            field => format!("{field} {}", violation.description),
        });
        let mut problem = Self::with_errors(http_status(status.code()), code, status.message(), errors.collect());
        if status.code() == Code::Unauthenticated {
            problem = problem.with(WWW_AUTHENTICATE, "Bearer");
        }
        if let Some(delay) = details.retry_info().and_then(|info| info.retry_delay) {
            let seconds = delay.as_millis().div_ceil(1_000).max(1);
            problem.0.headers.extend(seconds.to_string().parse().map(|seconds| (RETRY_AFTER, seconds)));
        }
        problem
    }

    /// A message with members that are wrong; `what` is the text that it was read from.
    pub(super) fn of_fields(what: &str, faults: &[FieldFault]) -> Self {
        let errors = faults.iter().map(|FieldFault { field, message }| format!("{field} {message}"));
        let detail = format!("{what} is not the message that was expected");
        Self::with_errors(StatusCode::BAD_REQUEST, "INVALID_REQUEST", &detail, errors.collect())
    }

    /// A text that is not the JSON that is read.
    pub(super) fn not_json(what: &str, reason: &str) -> Self {
        Self::with_errors(StatusCode::BAD_REQUEST, "BODY_NOT_JSON", &format!("{what} {reason}"), Vec::new())
    }

    /// A body of another type than these.
    pub(super) fn type_unknown(expected: &[&str]) -> Self {
        let detail = format!("expected a body of type {}", expected.join(" or "));
        Self::with_errors(StatusCode::UNSUPPORTED_MEDIA_TYPE, "BODY_TYPE_UNKNOWN", &detail, Vec::new())
    }

    fn with_errors(status: StatusCode, code: &str, detail: &str, errors: Vec<String>) -> Self {
        Self::new(status, code, Denial { errors, ..plain(status, detail) })
    }

    /// With the member `code`, for programs, and no further one.
    pub(super) fn with_code(mut self) -> Self {
        let code = (Arc::from("code"), Value::String(Arc::clone(&self.0.code)));
        self.0.denial.members = [code].into_iter().collect();
        self
    }
}

/// The status of a gRPC code (google.rpc.Code, "HTTP Mapping"); what the mapping has for nobody's use here is our fault.
fn http_status(code: Code) -> StatusCode {
    match code {
        Code::InvalidArgument => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::Aborted | Code::FailedPrecondition => StatusCode::CONFLICT,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Why no token is given (RFC 6749 section 5.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OauthRefusal {
    /// Something is missing or there twice.
    InvalidRequest(&'static str),
    /// The client did not prove who it is; it tried with a header or not.
    InvalidClient {
        /// It came with an `Authorization` header.
        is_basic: bool,
    },
    /// Another grant than client credentials.
    UnsupportedGrantType,
    /// The application does not have this scope.
    InvalidScope(Arc<str>),
}

impl IntoResponse for OauthRefusal {
    fn into_response(self) -> Response {
        let (status, error, description) = match &self {
            Self::InvalidRequest(description) => (StatusCode::BAD_REQUEST, "invalid_request", *description),
            Self::InvalidClient { .. } => (StatusCode::UNAUTHORIZED, "invalid_client", ""),
            Self::UnsupportedGrantType => (StatusCode::BAD_REQUEST, "unsupported_grant_type", ""),
            Self::InvalidScope(said) => (StatusCode::BAD_REQUEST, "invalid_scope", &**said),
        };
        tracing::debug!(status = status.as_u16(), error, "no token was given");
        let mut members = json!({ "error": error });
        if let Some(members) = members.as_object_mut().filter(|_| !description.is_empty()) {
            members.insert("error_description".to_owned(), json!(description));
        }
        let mut response = answer::secret(&members);
        *response.status_mut() = status;
        if (self == Self::InvalidClient { is_basic: true }) {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"oauth\""));
        }
        response
    }
}

/// There was no time left.
pub(super) const DEADLINE_EXCEEDED: &str = "DEADLINE_EXCEEDED";
/// Too many requests are under way.
pub(super) const OVERLOADED: &str = "OVERLOADED";
/// No `Authorization` header.
pub(super) const ABSENT: &str = "TOKEN_MISSING";
/// A scheme word without a token.
pub(super) const EMPTY: &str = "TOKEN_EMPTY";
/// A header that is no scheme word and token.
pub(super) const AUTHORIZATION_INVALID: &str = "TOKEN_AUTHORIZATION_INVALID";
/// A scheme word that no issuer's tokens come with.
pub(super) const SCHEME_NOT_ALLOWED: &str = "TOKEN_SCHEME_MISMATCH";
/// No token in the body.
pub(super) const UNREADABLE: &str = "TOKEN_INFO_UNREADABLE";
/// Another token in the body than in the header.
pub(super) const MISMATCH: &str = "TOKEN_INFO_MISMATCH";
/// The token's claim set is not there.
pub(super) const CLAIM_SET_UNKNOWN: &str = "TOKEN_INFO_CLAIM_SET_UNKNOWN";

/// Our own words, where the realm has none.
fn plain(status: StatusCode, detail: &str) -> Denial {
    Denial {
        status: status.as_u16(),
        problem_type: "about:blank".to_owned(),
        title: status.canonical_reason().unwrap_or_default().to_owned(),
        detail: detail.to_owned(),
        ..Denial::default()
    }
}

/// A further member of a problem.
fn member(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Long(number) => json!(number),
        Value::String(text) => json!(text),
        Value::Entity(_) | Value::List(_) | Value::Record(_) | Value::Null => Json::Null,
    }
}

/// The headers that the realm has for a refusal.
fn headers_of(denial: &Denial) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let headers = denial.headers.iter();
    headers.filter_map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?)))
}

/// Carries the problem along, so that it can still be told which request it is about.
impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let mut response = Response::new(Body::empty());
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.0.headers.iter().cloned());
        // Those of the realm take the place of ours.
        for (name, value) in headers_of(&self.0.denial) {
            headers.insert(name, value);
        }
        if self.0.is_text {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            *response.body_mut() = Body::from(self.0.denial.detail.clone());
        } else if let Some(body) = body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
            *response.body_mut() = Body::from(body.to_string());
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realm_has_members_and_headers_of_its_own_and_those_take_the_place_of_ours() {
        let denial = Denial {
            status: 401,
            headers: vec![("www-authenticate".into(), "JWT realm=\"x\"".to_owned()), ("X-A".into(), "1".to_owned())],
            members: [("status".into(), Value::Long(3)), ("isFinal".into(), Value::Bool(true))].into_iter().collect(),
            ..Denial::default()
        };
        let problem = Problem::unauthenticated("TOKEN_EXPIRED", Some(denial));
        assert_eq!(problem.body(), Some(json!({ "status": 3, "isFinal": true })));
        let response = problem.into_response();
        let said = |name: HeaderName| {
            let values = response.headers().get_all(name).iter();
            values.map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        assert_eq!(said(WWW_AUTHENTICATE), ["JWT realm=\"x\""]);
        assert_eq!(said(HeaderName::from_static("x-a")), ["1"]);
    }

    #[test]
    fn what_fails_here_is_said_in_words_that_name_no_realm_and_no_file() {
        let message = "unknown realm `x`, expected one of edfi; /var/lib/hallpass/relationships: permission denied";
        for (kind, status, detail) in [
            (Kind::NotFound, 404, "there is nothing at this path"),
            (Kind::Unavailable, 503, "it cannot be answered now, try again later"),
            (Kind::Internal, 500, "the answer could not be made"),
            (Kind::InvalidArgument, 400, message),
        ] {
            let body = Problem::of(&Error::new(kind, "SOME_CODE", message)).body().unwrap();
            assert_eq!((&body["status"], &body["detail"]), (&json!(status), &json!(detail)));
        }
    }
}
