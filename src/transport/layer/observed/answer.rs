//! An answer on its way: what it says of itself is seen as it passes, and told when it has gone or was cut off.

use std::{
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{HeaderMap, HeaderName, StatusCode, response};
use hyper::body::{Body, Frame, SizeHint};
use tonic::Code;

use super::{Named, Shared, Spoken, methods::OTHER, span};
use crate::app::ports::trace::Watched;

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

/// The body of an answer that is watched.
#[derive(Debug)]
pub struct Answer<B> {
    body: B,
    ending: Option<Ending>,
}

impl<B> Answer<B> {
    pub(super) fn new(body: B, ending: Ending) -> Self {
        Self { body, ending: Some(ending) }
    }
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.body).poll_frame(context);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let (Some(trailers), Some(ending)) = (frame.trailers_ref(), &mut this.ending) {
                    ending.see_trailers(trailers);
                }
            }
            // Nothing comes after it.
            Poll::Ready(_) => drop(this.ending.take()),
            Poll::Pending => {}
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    /// Over gRPC.
    Grpc(Code),
    /// Over HTTP.
    Http(StatusCode),
}

impl Status {
    /// As it is shown and counted: the name of a code, or three digits.
    pub(super) fn word(&self) -> &str {
        match self {
            Self::Grpc(code) => grpc_word(*code),
            Self::Http(status) => status.as_str(),
        }
    }

    /// This service failed; a deny or a wrong request is none of its failures.
    pub(super) fn is_error(self) -> bool {
        match self {
            Self::Grpc(code) => matches!(
                code,
                Code::Unknown
                    | Code::DeadlineExceeded
                    | Code::Unimplemented
                    | Code::Internal
                    | Code::Unavailable
                    | Code::DataLoss
            ),
            Self::Http(status) => status.as_u16() >= 500,
        }
    }
}

/// A request under way; what came of it is told when this goes.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) shared: Arc<Shared>,
    pub(super) begun_us: i64,
    /// The trace that the request brought, whether or not anything is traced here.
    pub(super) trace_id: Option<u128>,
    pub(super) named: Named,
    pub(super) peer: Option<SocketAddr>,
    pub(super) request: Arc<Watched>,
    /// What came of it, as far as that is known.
    pub(super) status: Option<Status>,
}

impl Ending {
    /// Takes the status of an answer without trailers.
    pub(super) fn see_head(&mut self, head: &response::Parts) {
        match self.shared.spoken {
            Spoken::Grpc(_) => self.see_trailers(&head.headers),
            Spoken::Http(_) => {
                self.status = Some(Status::Http(head.status));
            }
        }
    }

    fn see_trailers(&mut self, trailers: &HeaderMap) {
        if let (Spoken::Grpc(_), Some(status)) = (&self.shared.spoken, trailers.get(GRPC_STATUS)) {
            self.status = Some(Status::Grpc(Code::from_bytes(status.as_bytes())));
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        // Who asks has gone before there was an answer.
        let gone = match self.shared.spoken {
            Spoken::Grpc(_) => Status::Grpc(Code::Cancelled),
            Spoken::Http(_) => Status::Http(gone()),
        };
        let status = self.status.unwrap_or(gone);
        let now_us = self.shared.clock.monotonic_us();
        let duration_us = u64::try_from(now_us.saturating_sub(self.begun_us)).unwrap_or(0);
        self.count(status, duration_us);
        self.log(status, duration_us, now_us);
        if let Some(trace) = self.request.trace.as_ref().filter(|trace| trace.is_sampled()) {
            span::tell(self, trace, status);
        }
    }
}

impl Ending {
    fn count(&self, status: Status, duration_us: u64) {
        let Named { method, route } = &self.named;
        match status {
            Status::Grpc(code) => self.shared.meter.called(method, grpc_word(code), duration_us),
            Status::Http(status) => {
                let route = route.as_deref().unwrap_or(OTHER);
                self.shared.meter.answered(method, route, status.as_str(), duration_us);
            }
        }
    }

    fn log(&self, status: Status, duration_us: u64, now_us: i64) {
        let is_warned = status.is_error() && self.shared.warned.may(now_us);
        if !is_warned && !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let trace_id = self.request.trace.as_ref().map(crate::app::ports::trace::Trace::id).or(self.trace_id);
        let trace_id = trace_id.map(|id| format!("{id:032x}"));
        let (request_id, trace_id, caller) = (&*self.request.request_id, trace_id.as_deref(), self.request.caller());
        let (method, route) = (&*self.named.method, self.named.route.as_deref());
        let status = status.word();
        if is_warned {
            tracing::warn!(request_id, trace_id, method, route, status, duration_us, caller, "a request failed");
        } else {
            tracing::debug!(request_id, trace_id, method, route, status, duration_us, caller, "a request was answered");
        }
    }
}

/// The name of a code (gRPC, "Status codes and their use in gRPC").
pub(super) fn grpc_word(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The status of HTTP for who leaves before there is one (as nginx has it; no answer ever has it).
fn gone() -> StatusCode {
    StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT)
}
