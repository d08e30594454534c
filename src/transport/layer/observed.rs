//! Watches every request from its first byte to the last of its answer: gives it an id and its place in a trace, and says
//! what came of it, in the log, in a span and to who counts. It sees neither messages nor tokens.

mod answer;
mod methods;
mod span;

use std::{
    fmt,
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::extract::MatchedPath;
use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use hyper::body::Body;
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};
use uuid::Uuid;

pub use self::methods::{Calls, Methods};
use self::{
    answer::{Answer, Ending},
    methods::OTHER,
};
use super::rarely::Rarely;
use crate::{
    app::ports::{
        Clock,
        meter::{Meter, Uncounted},
        trace::{Tracer, Watched, watched},
    },
    domain::traceparent::{TRACEPARENT, Traceparent},
    transport::listener::Peer,
};

/// The header that carries the caller's own id of a request, there and back.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What a listener speaks.
#[derive(Clone, Debug)]
pub enum Spoken {
    /// gRPC with these methods.
    Grpc(Methods),
    /// HTTP with the routes of a router, and with these calls among them.
    Http(Calls),
}

/// Watches the requests of one listener.
#[derive(Clone, Debug)]
pub struct Observed(Arc<Shared>);

struct Shared {
    spoken: Spoken,
    /// Where it listens.
    address: Option<SocketAddr>,
    clock: Arc<dyn Clock>,
    tracer: Option<Arc<Tracer>>,
    meter: Arc<dyn Meter>,
    /// The warnings about single requests.
    warned: Rarely,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { spoken, address, tracer, clock: _, meter: _, warned: _ } = self;
        f.debug_struct("Shared")
            .field("spoken", spoken)
            .field("address", address)
            .field("tracer", tracer)
            .finish_non_exhaustive()
    }
}

impl Observed {
    /// Watches what comes by a listener; nothing is traced, and nobody counts.
    pub fn new(spoken: Spoken, address: Option<SocketAddr>, clock: Arc<dyn Clock>) -> Self {
        let warned = Rarely::new();
        Self(Arc::new(Shared { spoken, address, clock, tracer: None, meter: Arc::new(Uncounted), warned }))
    }

    /// The same, with traces and with somebody who counts.
    #[must_use]
    pub fn telling(self, tracer: Option<Arc<Tracer>>, meter: Arc<dyn Meter>) -> Self {
        let Shared { spoken, address, clock, .. } = &*self.0;
        let (clock, warned) = (Arc::clone(clock), Rarely::new());
        Self(Arc::new(Shared { spoken: spoken.clone(), address: *address, clock, tracer, meter, warned }))
    }
}

impl<S> Layer<S> for Observed {
    type Service = Observing<S>;

    fn layer(&self, inner: S) -> Observing<S> {
        Observing { inner, shared: Arc::clone(&self.0) }
    }
}

/// A service whose requests are watched.
#[derive(Clone, Debug)]
pub struct Observing<S> {
    inner: S,
    shared: Arc<Shared>,
}

impl<S, A, B> Service<Request<A>> for Observing<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    A: Send + 'static,
    B: Body + Unpin,
{
    type Response = Response<Answer<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let begun_us = shared.clock.monotonic_us();
        let (request_id, echoed) = request_id(request.headers_mut());
        let parent = parent(request.headers());
        let trace = shared.tracer.as_ref().and_then(|tracer| tracer.begin(parent));
        let watched_request = Arc::new(Watched::new(request_id, trace));
        let mut ending = Ending {
            begun_us,
            trace_id: parent.map(|parent| parent.trace_id),
            named: named(&shared.spoken, &request),
            peer: peer(request.extensions()),
            request: Arc::clone(&watched_request),
            status: None,
            shared,
        };
        // The one that is ready is called, and its copy stays behind.
        let copy = self.inner.clone();
        let mut ready = std::mem::replace(&mut self.inner, copy);
        Box::pin(async move {
            let answered = watched(watched_request, async move { ready.call(request).await }).await?;
            let (mut head, body) = answered.into_parts();
            if let Some(id) = echoed
                && !head.headers.contains_key(REQUEST_ID)
            {
                head.headers.insert(REQUEST_ID, id);
            }
            ending.see_head(&head);
            Ok(Response::from_parts(head, Answer::new(body, ending)))
        })
    }
}

/// What a request is called where it is shown: nothing that it brought.
#[derive(Clone, Debug)]
struct Named {
    /// The method of gRPC, or of HTTP.
    method: Arc<str>,
    /// The route of HTTP; `None` where there is none.
    route: Option<Arc<str>>,
}

fn named<A>(spoken: &Spoken, request: &Request<A>) -> Named {
    match spoken {
        Spoken::Grpc(methods) => Named { method: methods.named(request.uri().path()), route: None },
        Spoken::Http(calls) => {
            let matched = request.extensions().get::<MatchedPath>();
            let route = matched.map(|matched| calls.route(request.uri().path(), matched.as_str()));
            Named { method: http_method(request.method()).into(), route }
        }
    }
}

fn http_method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => OTHER,
    }
}

/// The id of a request, and what is to be echoed of it. Where none came, one is made, and goes on with the request; one that
/// is malformed goes on as it is and is not shown anywhere.
fn request_id(headers: &mut HeaderMap) -> (Arc<str>, Option<HeaderValue>) {
    let is_printable = |id: &&HeaderValue| {
        (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(|byte| (0x20..0x7f).contains(byte))
    };
    let came = headers.get(REQUEST_ID);
    if let Some(id) = came.filter(is_printable) {
        return (id.to_str().unwrap_or_default().into(), Some(id.clone()));
    }
    let made: Arc<str> = Uuid::now_v7().hyphenated().to_string().into();
    if came.is_some() {
        return (made, None);
    }
    let value = HeaderValue::from_str(&made).ok();
    if let Some(value) = &value {
        headers.insert(REQUEST_ID, value.clone());
    }
    (made, value)
}

/// The trace that a request says it is part of. A header that comes twice says nothing.
fn parent(headers: &HeaderMap) -> Option<Traceparent> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let only = values.next().filter(|_| values.next().is_none())?;
    Traceparent::parse(only.as_bytes())
}

/// Where a request came from.
fn peer(extensions: &Extensions) -> Option<SocketAddr> {
    let peer = extensions.get::<Peer>().map(|peer| peer.address);
    peer.or_else(|| extensions.get::<TcpConnectInfo>()?.remote_addr())
}

#[cfg(test)]
mod tests;
