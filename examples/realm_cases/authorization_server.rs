//! An authorization server that is asked about opaque tokens (RFC 7662) and says what a case wants it to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::post;
use hallpass::transport::http::{self, Limits};
use hallpass::transport::listener::{self, Acceptor, Security};
use serde_json::{Value as Json, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::sync::DropGuard;

/// Listens on a port of this machine; ends with the value.
#[derive(Debug)]
pub(crate) struct AuthorizationServer {
    /// Where it answers.
    pub(crate) url: String,
    answers: Arc<Mutex<HashMap<String, Json>>>,
    _stop: DropGuard,
}

impl AuthorizationServer {
    /// Starts to listen.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let answers = Arc::new(Mutex::new(HashMap::new()));
        let known: Arc<Mutex<HashMap<String, Json>>> = Arc::clone(&answers);
        let introspect = move |body: String| async move {
            let token = form_urlencoded::parse(body.as_bytes()).find(|(name, _)| name == "token");
            let known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let answer = token.and_then(|(_, token)| known.get(&*token).cloned());
            let answer = answer.unwrap_or_else(|| json!({ "active": false }));
            ([(CONTENT_TYPE, "application/json")], answer.to_string())
        };
        let routes = Router::new().route("/introspect", post(introspect));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/introspect", listener.local_addr()?);
        let stop = CancellationToken::new();
        let connections = Acceptor::start(listener, Security::Plain, listener::Limits::default());
        tokio::spawn(http::serve(connections, routes, Limits::default(), stop.clone()));
        Ok(Self { url, answers, _stop: stop.drop_guard() })
    }

    /// Says this of a token from now on.
    pub(crate) fn tell(&self, token: &str, answer: &Json) {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), answer.clone());
    }
}
