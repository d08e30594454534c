//! Services for callers who are known: of anybody else's calls nothing is read, and nothing is told beside that.

use std::{
    convert::Infallible,
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
use crate::{
    app::{App, caller::Right},
    transport::layer::caller::presented,
};

/// A service that answers known callers alone. Refusals of others are counted and on record as all others are.
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
            Err(error) => {
                let (app, right) = (Arc::clone(&self.0), right_of(request.uri().path()));
                AnswerOrRefusal::Refusal(Box::pin(async move {
                    app.keep_refusal_unread(&error, right).await;
                    Ok(status::of(&error, "").into_http())
                }))
            }
        }
    }
}

/// What a call of this path takes (gRPC over HTTP/2, "Path": service, then method); `None` for a method that there isn't.
fn right_of(path: &str) -> Option<Right> {
    let (_, method) = path.rsplit_once('/')?;
    Right::ALL.into_iter().find(|right| right.name() == method)
}

/// A refusal that is put on record first.
type Refusal = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// An answer of a [`ForKnown`] under way.
pub(super) enum AnswerOrRefusal<F> {
    Answer(F),
    Refusal(Refusal),
}

impl<F> Future for AnswerOrRefusal<F>
where
    F: Future<Output = Result<http::Response<Body>, Infallible>> + Unpin,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.get_mut() {
            Self::Answer(answer) => Pin::new(answer).poll(context),
            Self::Refusal(refusal) => refusal.as_mut().poll(context),
        }
    }
}
