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

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use axum::{body::Bytes, routing::any};
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream},
        task::JoinHandle,
    };

    use super::*;
    use crate::{
        app::ports::meter::Uncounted,
        transport::{
            http,
            layer::admission::{self, Admission, Places},
            listener,
        },
    };

    const HOUR: Duration = Duration::from_secs(3_600);
    const SOON: Duration = Duration::from_millis(20);

    /// A service that has all the time in the world, but for what a test takes from it.
    #[derive(Clone, Copy)]
    struct Patience {
        headers: Duration,
        message: Duration,
        written: Duration,
    }

    impl Default for Patience {
        fn default() -> Self {
            Self { headers: HOUR, message: HOUR, written: HOUR }
        }
    }

    /// The other end of a connection, and its end.
    fn connect(patience: Patience) -> (DuplexStream, JoinHandle<()>) {
        let Patience { headers: headers_within, message: message_within, written } = patience;
        let limits = Limits { headers_within, body_within: HOUR, connection_within: HOUR, ..Limits::default() };
        let admission_limits = admission::Limits { message_within, ..admission::Limits::default() };
        let places = Arc::new(Places::new(admission_limits, Arc::new(Uncounted)));
        let long = async |_: Bytes| "x".repeat(1024 * 1024);
        let routes = Router::new().route("/", any(long)).layer(Admission::new(places, http::door(1024 * 1024)));
        let (connection, client) = Connection::in_memory(&listener::Limits::default(), written);
        (client, tokio::spawn(converse(connection, routes, limits, CancellationToken::new())))
    }

    /// Sends a text again and again until nobody takes it any more, and returns what was answered meanwhile.
    async fn trickle(client: DuplexStream, text: &str) -> String {
        let (mut reading, mut writing) = tokio::io::split(client);
        let answer = tokio::spawn(async move {
            let mut answer = Vec::new();
            reading.read_to_end(&mut answer).await.ok();
            String::from_utf8(answer).unwrap()
        });
        while writing.write_all(text.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer.await.unwrap()
    }

    #[tokio::test]
    async fn headers_that_never_end_are_not_waited_for() {
        let (mut client, ended) = connect(Patience { headers: SOON, ..Patience::default() });
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nx: ").await.unwrap();
        assert_eq!(trickle(client, "a").await, "");
        ended.await.unwrap();
        let (client, ended) = connect(Patience { headers: SOON, ..Patience::default() });
        ended.await.unwrap();
        drop(client);
    }

    #[tokio::test]
    async fn a_body_that_trickles_is_refused_in_time() {
        let (mut client, ended) = connect(Patience { message: SOON, ..Patience::default() });
        client.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n").await.unwrap();
        let answer = trickle(client, "a").await;
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        ended.await.unwrap();
    }

    #[tokio::test]
    async fn who_takes_nothing_of_an_answer_is_left() {
        let (mut client, ended) = connect(Patience { written: SOON, ..Patience::default() });
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        ended.await.unwrap();
        let mut taken = Vec::new();
        client.read_to_end(&mut taken).await.unwrap();
        assert!(taken.starts_with(b"HTTP/1.1 200 ") && taken.len() < 1024 * 1024, "{} bytes", taken.len());
    }
}
