//! Who calls: what a request brings to show it, found out once and put into the request's extensions.

use std::{
    future::Future,
    net::IpAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use axum::http::{
    Extensions, HeaderMap, Request,
    header::{AUTHORIZATION, HOST},
    uri::Authority,
};
use tonic::transport::server::TcpConnectInfo;
use tower::{Layer, Service};

use crate::{
    app::{App, caller::Presented},
    domain::decision::Reason,
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
    let (key, certificate) = (key(headers), peer.and_then(|peer| peer.certificate.clone()));
    let is_nobody = key.is_none() && certificate.is_none();
    let refused = (is_local && is_nobody && !is_for_this_machine(headers))
        .then(|| Arc::new(Reason::plain("CALLER_NOT_LOCAL", HOST_IS_ANOTHER)));
    Presented { key, is_local, certificate, refused, ..Presented::default() }
}

const HOST_IS_ANOTHER: &str = "the request is for another host than this machine: a proxy or a browser may have brought it from \
                               elsewhere, so it takes a caller's key, as `authorization: Bearer KEY`";

/// What proxies say of where a request came from (RFC 7239, RFC 9110 section 7.6.3, and what was usual before).
const FORWARDED: [&str; 5] = ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-real-ip"];

/// The request names this machine as its host, or none, and no proxy has brought it. A page that somebody looks at on this
/// machine can have its own name lead here, and a proxy hands on what others asked it for: neither is somebody on this machine.
/// Only HTTP/1 has the header, so of gRPC, which no page speaks and whose proxies call in their own name, nothing is asked.
pub(in crate::transport) fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter().peekable();
    if hosts.peek().is_some() && FORWARDED.iter().any(|name| headers.contains_key(*name)) {
        return false;
    }
    hosts.all(|host| {
        let host = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        host.is_some_and(|authority| {
            let host = authority.host();
            let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
            address
                .map_or_else(|_| host.eq_ignore_ascii_case("localhost"), |address| address.to_canonical().is_loopback())
        })
    })
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

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn for_host(host: HeaderValue) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, host);
        headers
    }

    #[test]
    fn who_comes_by_the_name_of_another_host_is_not_on_this_machine() {
        for (host, is_ours) in [
            ("127.0.0.1:8080", true),
            ("127.0.0.1", true),
            ("[::1]:8080", true),
            ("10.0.0.7", false),
            ("[::ffff:127.0.0.1]:8080", true),
            ("127.9.9.9", true),
            ("0.0.0.0:8080", false),
            ("localhost:8080", true),
            ("LocalHost", true),
            ("rebound.example:8080", false),
            ("localhost.rebound.example", false),
            ("127.0.0.1.rebound.example", false),
            ("a@localhost", true),
            ("local host", false),
            ("", false),
        ] {
            let headers = for_host(HeaderValue::from_str(host).unwrap());
            assert_eq!(is_for_this_machine(&headers), is_ours, "{host}");
        }
        assert!(is_for_this_machine(&HeaderMap::new()));
        let mut two = for_host(HeaderValue::from_static("localhost"));
        two.append(HOST, HeaderValue::from_static("rebound.example"));
        assert!(!is_for_this_machine(&two));
    }

    #[test]
    fn who_comes_by_a_proxy_is_not_on_this_machine() {
        for name in ["Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Real-IP"] {
            let mut headers = for_host(HeaderValue::from_static("127.0.0.1:8080"));
            assert!(is_for_this_machine(&headers));
            headers.insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_static("10.0.0.7"));
            assert!(!is_for_this_machine(&headers), "{name}");
        }
    }

    #[test]
    fn a_key_counts_whatever_the_host() {
        let peer = Peer { address: "127.0.0.1:7".parse().unwrap(), certificate: None };
        let mut extensions = Extensions::new();
        extensions.insert(peer);
        let mut headers = for_host(HeaderValue::from_static("pdp.example"));
        assert!(presented(&headers, &extensions).refused.is_some());
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer abc"));
        let shown = presented(&headers, &extensions);
        assert!(shown.refused.is_none() && shown.key.as_deref() == Some("abc"));
        headers.remove(AUTHORIZATION);
        headers.insert(HOST, HeaderValue::from_static("127.0.0.1:8080"));
        assert!(presented(&headers, &extensions).refused.is_none());
    }
}
