//! What a call brings to show who makes it.

use std::net::SocketAddr;

use axum::http::{Extensions, HeaderMap, header::AUTHORIZATION};
use tonic::transport::server::TcpConnectInfo;

use crate::app::caller::Presented;

/// Where the connection of a request comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

/// What a call brings to show who makes it: what a layer before found, else the key of its header (RFC 6750 section 2.1). A
/// key that comes twice is none.
pub(in crate::transport) fn presented(headers: &HeaderMap, extensions: &Extensions) -> Presented {
    if let Some(presented) = extensions.get::<Presented>() {
        return presented.clone();
    }
    let address = extensions.get::<PeerAddress>().map(|peer| peer.0);
    let address = address.or_else(|| extensions.get::<TcpConnectInfo>()?.remote_addr());
    let is_local = address.is_some_and(|address| address.ip().to_canonical().is_loopback());
    Presented { key: key(headers), is_local, ..Presented::default() }
}

fn key(headers: &HeaderMap) -> Option<std::sync::Arc<str>> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (scheme, key) = values.next().filter(|_| values.next().is_none())?.to_str().ok()?.split_once(' ')?;
    let key = key.trim();
    (scheme.eq_ignore_ascii_case("Bearer") && !key.is_empty()).then(|| key.into())
}
