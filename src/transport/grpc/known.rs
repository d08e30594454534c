//! Services for callers who are known: of anybody else's calls nothing is read, and nothing is told beside that.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::status;
use crate::{app::App, transport::layer::caller::presented};

/// A service that answers known callers alone.
#[derive(Clone, Debug)]
pub(super) struct ForKnown<S>(pub(super) Arc<App>, pub(super) S);

impl<S: NamedService> NamedService for ForKnown<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for ForKnown<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Unpin,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = AnswerOrRefusal<S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.1.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        match self.0.caller_of(&presented(request.headers(), request.extensions())) {
            Ok(_) => AnswerOrRefusal::Answer(self.1.call(request)),
            Err(error) => AnswerOrRefusal::Refusal(ready(Ok(status::of(&error, "").into_http()))),
        }
    }
}

/// An answer of a [`ForKnown`] under way.
#[derive(Debug)]
pub(super) enum AnswerOrRefusal<F> {
    Answer(F),
    Refusal(Ready<Result<http::Response<Body>, Infallible>>),
}

impl<F> Future for AnswerOrRefusal<F>
where
    F: Future<Output = Result<http::Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Answer(answer) => Pin::new(answer).poll(context),
            Self::Refusal(refusal) => Pin::new(refusal).poll(context),
        }
    }
}
