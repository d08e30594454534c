//! An issuer's server, spoken to over real TLS: it answers what a test tells it to, and counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// A request as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Request {
    /// The first line and the headers.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Request {
    /// The path, with a query if there is one.
    pub(crate) fn path(&self) -> &str {
        self.head.split(' ').nth(1).unwrap_or_default()
    }

    /// A field of the form that was sent.
    pub(crate) fn field(&self, name: &str) -> Option<String> {
        let mut fields = form_urlencoded::parse(self.body.as_bytes());
        fields.find(|(known, _)| known == name).map(|(_, value)| value.into_owned())
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// 200 and a JSON text.
    Json(String),
    /// A status with further header lines and no body.
    Status(u16, String),
    /// 200 and a text that is none of JSON, of so many bytes.
    Text(usize),
    /// Nothing, for as long as the other side waits.
    Silence,
}

type Script = Arc<Mutex<Box<dyn FnMut(&Request) -> Reply + Send>>>;

/// A server with a certificate of its own for `localhost`.
pub(crate) struct IssuerServer {
    /// `https://localhost:PORT`.
    pub(crate) url: String,
    /// Its certificate in PEM.
    pub(crate) certificate: String,
    script: Script,
    requests: Arc<AtomicU64>,
}

impl IssuerServer {
    /// Starts to answer.
    pub(crate) async fn start(script: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(certified.signing_key.serialize_der()));
        let config = ServerConfig::builder().with_no_client_auth();
        let config = config.with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let script: Script = Arc::new(Mutex::new(Box::new(script)));
        let requests = Arc::new(AtomicU64::new(0));
        let (answered, counted) = (Arc::clone(&script), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, script, requests) = (acceptor.clone(), Arc::clone(&answered), Arc::clone(&counted));
                tokio::spawn(async move {
                    let Ok(mut connection) = acceptor.accept(connection).await else { return };
                    let Some(request) = read(&mut connection).await else { return };
                    requests.fetch_add(1, Ordering::SeqCst);
                    let reply = script.lock().unwrap()(&request);
                    let Some(bytes) = bytes(reply) else { return std::future::pending().await };
                    // The other side hangs up in the middle of an answer that is too long.
                    if connection.write_all(&bytes).await.is_ok() {
                        connection.shutdown().await.ok();
                    }
                });
            }
        });
        Self { url, certificate: certified.cert.pem(), script, requests }
    }

    /// Answers otherwise from now on.
    pub(crate) fn answer(&self, script: impl FnMut(&Request) -> Reply + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    /// How many requests it has read.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn read(connection: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(connection.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).await.ok()?;
    Some(Request { head, body: String::from_utf8(body).ok()? })
}

fn bytes(reply: Reply) -> Option<Vec<u8>> {
    let ok = |kind: &str, body: &str| {
        let length = body.len();
        format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        )
    };
    match reply {
        Reply::Json(json) => Some(ok("application/json", &json).into_bytes()),
        Reply::Status(status, headers) => Some(
            format!("HTTP/1.1 {status} No\r\n{headers}content-length: 0\r\nconnection: close\r\n\r\n").into_bytes(),
        ),
        Reply::Text(length) => Some(ok("text/plain", &" ".repeat(length)).into_bytes()),
        Reply::Silence => None,
    }
}

/// The JWKS of several sets together.
pub(crate) fn joined(sets: &[String]) -> String {
    let keys = sets.iter().flat_map(|set| match set.parse::<Value>().unwrap()["keys"].take() {
        Value::Array(keys) => keys,
        other => panic!("no list of keys: {other}"),
    });
    serde_json::json!({ "keys": keys.collect::<Vec<_>>() }).to_string()
}
