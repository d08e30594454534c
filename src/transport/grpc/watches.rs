//! How many follow the service's health at once: nobody has to show who it is for that, and each has a stream without an end.

use std::{
    convert::Infallible,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http_body_util::BodyExt as _;
use tokio::sync::Semaphore;
use tonic::{
    body::Body,
    codegen::{Service, http},
    server::NamedService,
};

use super::status;
use crate::app::error::{Error, Kind};

/// The most who follow health at once, over all connections.
const WATCHES_MAX: usize = 4_096;

/// The service of health, with so many streams at once and no more.
#[derive(Clone, Debug)]
pub(super) struct Watches<S> {
    inner: S,
    free: Arc<Semaphore>,
}

impl<S> Watches<S> {
    /// Nobody follows yet.
    pub(super) fn of(inner: S) -> Self {
        Self::at_most(WATCHES_MAX, inner)
    }

    fn at_most(max: usize, inner: S) -> Self {
        Self { inner, free: Arc::new(Semaphore::new(max)) }
    }
}

impl<S: NamedService> NamedService for Watches<S> {
    const NAME: &'static str = S::NAME;
}

impl<S> Service<http::Request<Body>> for Watches<S>
where
    S: Service<http::Request<Body>, Response = http::Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        if !request.uri().path().ends_with("/Watch") {
            return Box::pin(self.inner.call(request));
        }
        let Ok(place) = Arc::clone(&self.free).try_acquire_owned() else {
            let message = format!("{WATCHES_MAX} follow the service's health already, try again later or use Check");
            let refusal = status::of(&Error::new(Kind::ResourceExhausted, "TOO_MANY_WATCHES", message), "");
            return Box::pin(async move { Ok(refusal.into_http()) });
        };
        let answer = self.inner.call(request);
        Box::pin(async move {
            // The place is free again with the stream.
            let held = move |frame| {
                let _place = &place;
                frame
            };
            answer.await.map(|response| response.map(|body| Body::new(body.map_frame(held))))
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tonic::codegen::{
        Bytes,
        http::{Request, Response},
    };
    use tower::{ServiceExt as _, service_fn};

    use super::*;

    #[tokio::test]
    async fn a_stream_has_its_place_until_it_is_gone() {
        let answering = service_fn(async |_: Request<Body>| {
            Ok::<_, Infallible>(Response::new(Body::new(Full::new(Bytes::from_static(b"x")))))
        });
        let watches = Watches::at_most(1, answering);
        let call = async |method: &str| {
            let request = Request::builder().uri(format!("/grpc.health.v1.Health/{method}")).body(Body::empty());
            watches.clone().oneshot(request.unwrap()).await.unwrap()
        };
        let status = |response: &Response<Body>| response.headers().get("grpc-status").cloned();
        let first = call("Watch").await;
        assert_eq!(status(&first), None);
        assert_eq!(status(&call("Watch").await).unwrap(), "8", "RESOURCE_EXHAUSTED");
        assert_eq!(status(&call("Check").await), None, "whoever asks once needs no place");
        drop(first);
        assert_eq!(status(&call("Watch").await), None);
    }
}
