//! A call as JSON: read, handed to the services as gRPC, and the answer written.

use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::{
        self, HeaderMap, HeaderName, HeaderValue,
        header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, TE},
        request::Parts,
    },
    response::Response,
};
use http_body_util::Full;
use prost::{Message as _, bytes::BytesMut};
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use serde_json::json;
use tokio_stream::Stream;
use tonic::{Code, Status, codegen::Service as _};

use super::{
    super::{REQUEST_ID, answer, body, problem::Problem},
    Api, Method, PREFIX,
    frames::{self, Frames},
    message::{self, Written},
};
use crate::{
    domain::{adapter::Adapter, strict_json},
    transport::layer::deadline::Until,
};

/// The headers of a request that the services see.
const PASSING: [HeaderName; 4] =
    [AUTHORIZATION, REQUEST_ID, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];
/// How long a caller waits that does not say so, where one message answers and nothing else says so either. Streams end with
/// their caller.
const WITHIN_DEFAULT: Duration = Duration::from_secs(30);
/// How long the first message of a stream is waited for, so that a call that fails at once has the status of its failure.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

const JSON: &str = "application/json";
const LINES: &str = "application/x-ndjson";

/// `POST /v1/{Rpc}`.
pub(super) async fn answer(State(api): State<Api>, request: Request) -> Result<Response, Problem> {
    call(&api, request).await.map_err(Problem::with_code)
}

async fn call(api: &Api, request: Request) -> Result<Response, Problem> {
    let name = request.uri().path().strip_prefix(PREFIX).unwrap_or_default();
    let Some(method) = api.methods.get(name) else { return Err(Problem::no_such_path()) };
    if request.method() != http::Method::POST {
        return Err(Problem::method_not_allowed("POST"));
    }
    let (head, content) = request.into_parts();
    let is_lines = are_lines(&head.headers, &method.descriptor)?;
    let bytes = body::bytes(content, &api.limits).await.map_err(Problem::of_body)?;
    let messages = if is_lines { of_lines(&bytes, &method.descriptor)? } else { of_one(&bytes, &method.descriptor)? };
    let Ok(response) = in_time(&head, method, api.services.clone().call(as_grpc(method, &head, messages))).await?;
    // A call that fails before its first answer has its status in the headers.
    if let Some(status) = Status::from_header_map(response.headers()).filter(|status| status.code() != Code::Ok) {
        return Err(Problem::of_status(&status));
    }
    let frames = Frames::of(response.into_body());
    if method.descriptor.is_server_streaming() {
        stream(frames, &method.descriptor, head.headers.get(REQUEST_ID)).await
    } else {
        single(frames, &method.descriptor).await
    }
}

/// The body is a message a line; else it is one message. Only calls that take many messages take lines.
fn are_lines(headers: &HeaderMap, method: &MethodDescriptor) -> Result<bool, Problem> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = value.split(';').next().unwrap_or_default().trim();
    if media_type.eq_ignore_ascii_case(JSON) {
        Ok(false)
    } else if method.is_client_streaming() && media_type.eq_ignore_ascii_case(LINES) {
        Ok(true)
    } else {
        Err(Problem::type_unknown(if method.is_client_streaming() { &[JSON, LINES] } else { &[JSON] }))
    }
}

fn of_one(bytes: &[u8], method: &MethodDescriptor) -> Result<Bytes, Problem> {
    let mut messages = BytesMut::new();
    take(bytes, "the body", &method.input(), &mut messages)?;
    Ok(messages.freeze())
}

/// A message a line; empty lines are none.
fn of_lines(bytes: &[u8], method: &MethodDescriptor) -> Result<Bytes, Problem> {
    let mut messages = BytesMut::new();
    let lines = bytes.split(|byte| *byte == b'\n').enumerate();
    for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
        take(line, &format!("line {}", at + 1), &method.input(), &mut messages)?;
    }
    Ok(messages.freeze())
}

/// Reads one message and puts it behind the others; `what` names the text it is read from.
fn take(text: &[u8], what: &str, descriptor: &MessageDescriptor, messages: &mut BytesMut) -> Result<(), Problem> {
    let object = strict_json::read_object(text).map_err(|fault| Problem::not_json(what, fault.reason()))?;
    let message = message::read(descriptor, &object).map_err(|faults| Problem::of_fields(what, &faults))?;
    if frames::push(messages, &message.encode_to_vec()) {
        Ok(())
    } else {
        Err(Problem::of_body(super::super::problem::BodyFault::TooLong))
    }
}

/// The call as the services know it: with what the listener found out about who makes it, and with few of its headers.
fn as_grpc(method: &Method, head: &Parts, messages: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(messages));
    *request.method_mut() = http::Method::POST;
    *request.uri_mut() = method.path.clone();
    *request.extensions_mut() = head.extensions.clone();
    request.extensions_mut().insert(Adapter::Json);
    let headers = request.headers_mut();
    for name in PASSING {
        for value in head.headers.get_all(&name) {
            headers.append(&name, value.clone());
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    request
}

/// What the services answer; given up after a while where nobody else gives it up.
async fn in_time<T>(head: &Parts, method: &Method, answer: impl Future<Output = T>) -> Result<T, Problem> {
    let Until(until) = head.extensions.get().copied().unwrap_or_default();
    if until.is_some() || method.descriptor.is_server_streaming() {
        return Ok(answer.await);
    }
    tokio::time::timeout(WITHIN_DEFAULT, answer).await.map_err(|_| Problem::overdue())
}

/// The one message that answers.
async fn single(mut frames: Frames, method: &MethodDescriptor) -> Result<Response, Problem> {
    let failed = |status: Status| Problem::of_status(&status);
    let message = frames.next().await.map_err(failed)?;
    let message = message.ok_or_else(|| failed(Status::internal("there is no answer")))?;
    // What is behind it says whether it counts.
    frames.next().await.map_err(failed)?;
    let text = text_of(&message, &method.output()).map_err(failed)?;
    Ok(with_type(Body::from(text), JSON))
}

/// All messages, one a line.
async fn stream(
    mut frames: Frames,
    method: &MethodDescriptor,
    request_id: Option<&HeaderValue>,
) -> Result<Response, Problem> {
    let first = match tokio::time::timeout(FIRST_WITHIN, frames.next()).await {
        Ok(first) => first.map_err(|status| Problem::of_status(&status))?,
        Err(_) => None,
    };
    let lines = Lines { first, frames, descriptor: method.output(), request_id: request_id.cloned(), is_over: false };
    Ok(with_type(Body::from_stream(lines), LINES))
}

fn with_type(body: Body, media_type: &'static str) -> Response {
    let mut response = answer::with_body(body);
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn text_of(message: &[u8], descriptor: &MessageDescriptor) -> Result<Vec<u8>, Status> {
    let failed = || Status::internal("the answer could not be written");
    let message = DynamicMessage::decode(descriptor.clone(), message).map_err(|_| failed())?;
    serde_json::to_vec(&Written(&message)).map_err(|_| failed())
}

/// The lines of a stream: taken when the client takes them, so that the service waits for who is slow.
#[derive(Debug)]
struct Lines {
    /// The message that was waited for.
    first: Option<Bytes>,
    frames: Frames,
    descriptor: MessageDescriptor,
    request_id: Option<HeaderValue>,
    is_over: bool,
}

impl Stream for Lines {
    type Item = Result<Vec<u8>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        let next = match self.first.take() {
            Some(first) => Ok(Some(first)),
            None => ready!(self.frames.poll_next(context)),
        };
        let line = match next {
            Ok(Some(message)) => text_of(&message, &self.descriptor),
            Ok(None) => return Poll::Ready(None),
            Err(status) => Err(status),
        };
        let mut line = line.unwrap_or_else(|status| {
            self.is_over = true;
            let mut problem = Problem::of_status(&status).with_code();
            problem.name_request(self.request_id.as_ref().and_then(super::super::printable));
            problem.log();
            json!({ "error": problem.body() }).to_string().into_bytes()
        });
        line.push(b'\n');
        Poll::Ready(Some(Ok(line)))
    }
}
