//! The only place where a gRPC code is chosen.
//!
//! Every status carries `google.rpc.ErrorInfo` with a stable reason; `BadRequest` names the fields of a wrong request,
//! and `RetryInfo` comes where trying again may help.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tonic::{
    Code, Status,
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{
    app::error::{Error, Kind},
    domain::{access_request::FieldFault, id::RealmName},
    transport::layer::admission::Shed,
};

/// The domain of our reasons in `google.rpc.ErrorInfo`.
pub(super) const DOMAIN: &str = "hallpass";

/// The code of a message that exceeds what a message may have.
const TOO_LONG: &str = "MESSAGE_TOO_LONG";

/// How long a caller should wait before it tries again.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Statuses travel in headers, of which some clients take no more than 8 KiB: message and violations are cut to fit.
const MESSAGE_BYTES_MAX: usize = 512;
const VIOLATIONS_BYTES_MAX: usize = 3 * 1024;
const VIOLATION_BYTES_MAX: usize = 512;

/// The code of each sort of failure.
pub(super) fn code(kind: Kind) -> Code {
    match kind {
        Kind::InvalidArgument => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::PermissionDenied => Code::PermissionDenied,
        Kind::NotFound => Code::NotFound,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::ResourceExhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::Internal => Code::Internal,
    }
}

/// The status of a failure. `realm` is the name that the caller gave, if any.
pub(super) fn of(error: &Error, realm: &str) -> Status {
    let Error { kind, reason, message, fields, retry_after } = error;
    let violations = if *kind == Kind::InvalidArgument { fields.as_slice() } else { &[] };
    build(code(*kind), reason, message, violations, realm, retry_after.unwrap_or(RETRY_DELAY))
}

/// A request that gets no answer: turned away before any work was done, or given up when its time was over.
pub(super) fn shed(shed: Shed) -> Status {
    match shed {
        Shed::QueueFull | Shed::Waited | Shed::Late | Shed::BytesFull => {
            let message = "there are too many requests, try again later";
            build(Code::Unavailable, "OVERLOADED", message, &[], "", RETRY_DELAY)
        }
        Shed::TooSlow => {
            let message = "the message did not come in time, nothing was answered";
            build(Code::DeadlineExceeded, "MESSAGE_TOO_SLOW", message, &[], "", RETRY_DELAY)
        }
        Shed::Overdue => deadline_exceeded(),
        Shed::Broken => build(Code::Cancelled, "CANCELLED", "the message broke off", &[], "", RETRY_DELAY),
    }
}

/// The caller's time is over.
pub(super) fn deadline_exceeded() -> Status {
    build(
        Code::DeadlineExceeded,
        "DEADLINE_EXCEEDED",
        "the deadline has passed, nothing was answered",
        &[],
        "",
        RETRY_DELAY,
    )
}

fn build(
    code: Code,
    reason: &str,
    message: &str,
    violations: &[FieldFault],
    realm: &str,
    retry_after: Duration,
) -> Status {
    let mut metadata = HashMap::new();
    // A realm that isn't there is the caller's own word.
    if reason != "REALM_UNKNOWN" && realm.parse::<RealmName>().is_ok() {
        metadata.insert("realm".to_owned(), realm.to_owned());
    }
    let mut details = ErrorDetails::with_error_info(reason, DOMAIN, metadata);
    let mut bytes_left = VIOLATIONS_BYTES_MAX;
    for (index, FieldFault { field, message }) in violations.iter().enumerate() {
        let (field, message) = (shortened(field, VIOLATION_BYTES_MAX), shortened(message, VIOLATION_BYTES_MAX));
        let Some(rest) = bytes_left.checked_sub(field.len() + message.len()) else {
            details.add_bad_request_violation("", format!("and {} more faults", violations.len() - index));
            break;
        };
        bytes_left = rest;
        details.add_bad_request_violation(field, message);
    }
    // What is too long is so the next time, too.
    if matches!(code, Code::Unavailable | Code::ResourceExhausted) && reason != TOO_LONG {
        details.set_retry_info(Some(retry_after));
    }
    Status::with_error_details(code, shortened(message, MESSAGE_BYTES_MAX), details)
}

/// The text, or as much of it as fits with an ellipsis.
fn shortened(text: &str, bytes_max: usize) -> String {
    if text.len() <= bytes_max {
        return text.to_owned();
    }
    let end = (0..=bytes_max - '…'.len_utf8()).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    format!("{}…", text.get(..end).unwrap_or_default())
}

/// A failure that the gRPC library found before or beside our code, with a code and a reason of ours.
fn of_library(status: &Status) -> Status {
    let message = status.message();
    match status.code() {
        Code::OutOfRange => build(Code::ResourceExhausted, TOO_LONG, message, &[], "", RETRY_DELAY),
        // The library decodes what callers send, so its internal errors are theirs.
        Code::Internal => build(Code::InvalidArgument, "MESSAGE_MALFORMED", message, &[], "", RETRY_DELAY),
        Code::Unimplemented => {
            let message = if message.is_empty() { "there is no such method" } else { message };
            build(Code::Unimplemented, "NOT_IMPLEMENTED", message, &[], "", RETRY_DELAY)
        }
        Code::Cancelled => build(Code::Cancelled, "CANCELLED", message, &[], "", RETRY_DELAY),
        other => build(other, "TRANSPORT_FAILED", message, &[], "", RETRY_DELAY),
    }
}

/// A service whose every error status has details, those of the gRPC library included.
#[derive(Clone, Debug)]
pub(super) struct WithDetails<S>(pub(super) S);

impl<S: NamedService> NamedService for WithDetails<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for WithDetails<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Detailed<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        Detailed(self.0.call(request))
    }
}

/// An answer of a [`WithDetails`] under way.
#[derive(Debug)]
pub(super) struct Detailed<F>(F);

impl<F> Future for Detailed<F>
where
    F: Future<Output = Result<http::Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Ok(response) = ready!(Pin::new(&mut self.0).poll(context));
        // A call that fails before its first answer has its status in the headers.
        let bare = Status::from_header_map(response.headers())
            .filter(|status| status.code() != Code::Ok && status.details().is_empty());
        Poll::Ready(Ok(match bare {
            Some(status) => of_library(&status).into_http(),
            None => response,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_long_faults_fit_into_headers() {
        let fault = |index| FieldFault::new(format!("creates[{index}]"), "é".repeat(400));
        let status = of(&Error::invalid((0..999).map(fault).collect()), "edfi");
        assert!(status.message().len() + status.details().len() * 4 / 3 < 7 * 1024);
        let details = status.get_error_details();
        let violations = &details.bad_request().unwrap().field_violations;
        assert_eq!(violations[0].field, "creates[0]");
        assert!(violations[0].description.ends_with("é…"));
        let left = 999 - (violations.len() - 1);
        assert_eq!(violations.last().unwrap().description, format!("and {left} more faults"));
        assert_eq!(details.error_info().unwrap().metadata["realm"], "edfi");
    }

    #[test]
    fn a_code_says_whether_trying_again_may_help() {
        for (kind, expected, is_retried) in [
            (Kind::InvalidArgument, Code::InvalidArgument, false),
            (Kind::Unauthenticated, Code::Unauthenticated, false),
            (Kind::PermissionDenied, Code::PermissionDenied, false),
            (Kind::NotFound, Code::NotFound, false),
            (Kind::FailedPrecondition, Code::FailedPrecondition, false),
            (Kind::ResourceExhausted, Code::ResourceExhausted, true),
            (Kind::Unavailable, Code::Unavailable, true),
            (Kind::Internal, Code::Internal, false),
        ] {
            let status = of(&Error::new(kind, "REASON", "a sentence"), "no realm name");
            let details = status.get_error_details();
            assert_eq!((status.code(), status.message()), (expected, "a sentence"));
            assert_eq!(details.retry_info().is_some(), is_retried);
            assert!(details.bad_request().is_none());
            let info = details.error_info().unwrap();
            assert_eq!((&*info.reason, &*info.domain, info.metadata.is_empty()), ("REASON", DOMAIN, true));
        }
    }
}
