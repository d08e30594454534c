//! Connections of the HTTP listener: HTTP/1.1 within limits, and an orderly end.

use std::pin::pin;

use axum::{Extension, Router};
use hyper::server::conn::http1::Builder;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::Layer as _;

use super::Limits;
use crate::transport::listener::{Acceptor, Connection};

/// Takes connections until it is told to stop; then lets requests in flight finish, and returns when all have.
///
/// Ends all connections at once when it is dropped.
pub async fn serve(mut acceptor: Acceptor, routes: Router, limits: Limits, stop: CancellationToken) {
    let mut connections = JoinSet::new();
    while let Some(Some(connection)) = stop.run_until_cancelled(acceptor.next()).await {
        while connections.try_join_next().is_some() {}
        connections.spawn(converse(connection, routes.clone(), limits, stop.clone()));
    }
    drop(acceptor);
    while connections.join_next().await.is_some() {}
}

/// Answers the requests of one connection, one after the other. Each knows who is at the other end.
async fn converse(stream: Connection, routes: Router, limits: Limits, stop: CancellationToken) {
    let routes = Extension(stream.peer().clone()).layer(routes);
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_within)
        .max_headers(limits.headers_max)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(limits.header_bytes_max.max(8 * 1024));
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let ended = tokio::select! {
        ended = connection.as_mut() => Some(ended),
        () = stop.cancelled() => None,
        () = tokio::time::sleep(limits.connection_within) => None,
    };
    let ended = if let Some(ended) = ended {
        Ok(ended)
    } else {
        connection.as_mut().graceful_shutdown();
        tokio::time::timeout(limits.end_within, connection).await
    };
    match ended {
        Ok(Ok(())) => {}
        // The text of the library's error holds nothing that the client sent.
        Ok(Err(error)) => tracing::debug!(%error, "a connection broke off"),
        Err(_) => tracing::debug!("a connection was cut off"),
    }
}
