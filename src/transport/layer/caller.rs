//! Who calls: what a request brings to show it, found out once and put into the request's extensions.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{Extensions, HeaderMap, Request, header::AUTHORIZATION};
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use crate::{
    app::{App, caller::Presented},
    transport::listener::Peer,
};

/// What a call brings to show who makes it: what a layer before found, else the certificate of its connection and the key of
/// its header (RFC 6750 section 2.1). A key that comes twice is none.
pub(in crate::transport) fn presented(headers: &HeaderMap, extensions: &Extensions) -> Presented {
    if let Some(presented) = extensions.get::<Presented>() {
        return presented.clone();
    }
    let peer = extensions.get::<Peer>();
    // Who serves by the library's own listener has its word for where a call comes from.
    let address = || extensions.get::<TcpConnectInfo>()?.remote_addr();
    let is_local =
        peer.map_or_else(|| address().is_some_and(|address| address.ip().to_canonical().is_loopback()), Peer::is_local);
    Presented {
        key: key(headers),
        is_local,
        certificate: peer.and_then(|peer| peer.certificate.clone()),
        ..Presented::default()
    }
}

fn key(headers: &HeaderMap) -> Option<Arc<str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, key) = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !key.is_empty()).then(|| key.into())
}

/// Finds out what each request brings to show who makes it, and verifies it as far as that takes time. Refuses nothing: what
/// takes a caller is for each call to say.
#[derive(Clone, Debug)]
pub struct WithCaller(Arc<App>);

impl WithCaller {
    /// Knows the callers of this service.
    pub fn new(app: Arc<App>) -> Self {
        Self(app)
    }
}

impl<S> Layer<S> for WithCaller {
    type Service = FindsCaller<S>;

    fn layer(&self, inner: S) -> FindsCaller<S> {
        FindsCaller { app: Arc::clone(&self.0), inner }
    }
}

/// The service behind the layer.
#[derive(Clone, Debug)]
pub struct FindsCaller<S> {
    app: Arc<App>,
    inner: S,
}

impl<S, B> Service<Request<B>> for FindsCaller<S>
where
    S: Service<Request<B>> + Clone + Send + 'static,
    S::Future: Send,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        // The one that was polled is ready; its clone will be asked anew.
        let fresh = self.inner.clone();
        let (mut inner, app) = (std::mem::replace(&mut self.inner, fresh), Arc::clone(&self.app));
        let presented = presented(request.headers(), request.extensions());
        Box::pin(async move {
            let presented = app.with_token_verified(presented).await;
            request.extensions_mut().insert(presented);
            inner.call(request).await
        })
    }
}
