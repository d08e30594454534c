//! The load of a service: a process of its own that calls it as fast as it can, so that the service's processor time can be told
//! from what asking takes.

use std::{
    collections::HashMap,
    env, fs, io, panic,
    path::Path,
    process::{self, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hallpass::proto::{
    envoy::service::auth::v3::{
        AttributeContext, CheckRequest,
        attribute_context::{HttpRequest, Request as CheckedRequest},
        authorization_client::AuthorizationClient,
    },
    v1::{
        AuthorizeRequest, Decision, Resource, Value, authorization_service_client::AuthorizationServiceClient,
        value::Kind,
    },
};
use hyper_util::rt::TokioIo;
use reqwest::header::CONTENT_TYPE;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
};
use serde_json::json;
use tokio::{io::AsyncReadExt as _, net::TcpStream, runtime::Runtime, task::JoinSet};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Response, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    measure::{Numbers, process_us},
    service::{CLIENT, REALM, STUDENTS_PATH, Served},
    state::student,
};

mod bench {
    #![expect(
        unreachable_pub,
        clippy::allow_attributes,
        clippy::allow_attributes_without_reason,
        clippy::clone_on_ref_ptr,
        clippy::pedantic,
        reason = "generated"
    )]
    tonic::include_proto!("bench.v1");
}
use bench::{
    EchoRequest, EchoResponse,
    echo_service_client::EchoServiceClient,
    echo_service_server::{EchoService, EchoServiceServer},
};

/// The word that makes this program ask a server.
pub(crate) const LOAD: &str = "load-on";

const CONNECTIONS: usize = 8;
/// Of each connection; not so many that any would be turned away. Over HTTP/1.1, which has one request at a time on a connection,
/// there are as many connections as this times the others.
const IN_FLIGHT: usize = 32;
const ROUNDS: usize = 7;
const WARM_UP: Duration = Duration::from_millis(300);
const ROUND: Duration = Duration::from_millis(1_200);
/// Calls that take longer count as this long, in microseconds.
const LATENCY_US_MAX: usize = 500_000;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// A call that does nothing, over gRPC.
    Echo,
    /// Whether a student may be read, over gRPC.
    Authorize,
    /// The same as Envoy asks it.
    Check,
    /// The same as JSON over HTTP.
    Json,
    /// The same in the words of `AuthZEN`.
    Authzen,
    /// Nothing: hands are shaken, and the connection is closed once the server has said something.
    Handshake,
}

impl Method {
    const ALL: [(&'static str, Self); 6] = [
        ("echo", Self::Echo),
        ("authorize", Self::Authorize),
        ("check", Self::Check),
        ("json", Self::Json),
        ("authzen", Self::Authzen),
        ("handshake", Self::Handshake),
    ];

    fn word(self) -> &'static str {
        Self::ALL.iter().find(|(_, method)| *method == self).unwrap().0
    }

    fn of(word: &str) -> Self {
        Self::ALL.iter().find(|(known, _)| *known == word).unwrap().1
    }

    fn is_http(self) -> bool {
        matches!(self, Self::Json | Self::Authzen)
    }
}

/// A call that does nothing, for a service to have beside its own.
pub(crate) fn with_echo(routes: tonic::service::Routes) -> tonic::service::Routes {
    routes.add_service(EchoServiceServer::new(Echo))
}

struct Echo;

#[tonic::async_trait]
impl EchoService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoRequest { payload } = request.into_inner();
        Ok(Response::new(EchoResponse { payload }))
    }
}

/// What another process measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    pub(crate) calls_per_s: f64,
    /// The server's processor time for one call.
    pub(crate) server_us: f64,
    /// How long half of the calls took at least.
    pub(crate) p50_us: f64,
    /// How long the slowest call in a hundred took at least.
    pub(crate) p99_us: f64,
}

/// The same of several rounds.
#[derive(Debug, Default)]
pub(crate) struct Figures {
    pub(crate) calls_per_s: Vec<f64>,
    pub(crate) server_us: Vec<f64>,
    pub(crate) p50_us: Vec<f64>,
    pub(crate) p99_us: Vec<f64>,
}

/// Calls services by turns, each with its method. The first round warms up and doesn't count.
pub(crate) fn by_turns<const N: usize>(asked: [(&Served, Method); N]) -> [Figures; N] {
    let mut figures: [Figures; N] = std::array::from_fn(|_| Figures::default());
    for round in 0..=ROUNDS {
        for ((served, method), figures) in asked.iter().zip(&mut figures) {
            let Load { calls_per_s, server_us, p50_us, p99_us } = load(served, *method);
            if round > 0 {
                figures.calls_per_s.push(calls_per_s);
                figures.server_us.push(server_us);
                figures.p50_us.push(p50_us);
                figures.p99_us.push(p99_us);
            }
        }
    }
    figures
}

/// Has another process call a method of a service.
pub(crate) fn load(served: &Served, method: Method) -> Load {
    let address = if method.is_http() { served.http_address() } else { served.grpc_address() };
    let start_us = process_us();
    let mut asking = Command::new(env::current_exe().unwrap());
    let asked = asking.args([LOAD, &address, method.word()]).arg(served.folder.path()).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let taken_us = process_us() - start_us;
    let figures = String::from_utf8(asked.stdout).unwrap();
    let figures: Vec<f64> = figures.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    let [calls_per_s, calls, p50_us, p99_us]: [f64; 4] = figures.try_into().unwrap();
    Load { calls_per_s, server_us: taken_us / calls, p50_us, p99_us }
}

/// The calls that were made, and how many took how long.
struct Calls {
    made: AtomicUsize,
    is_measured: AtomicBool,
    /// No more are to be made.
    is_over: AtomicBool,
    /// By microseconds; the last one counts all that took longer.
    taken: Vec<AtomicU32>,
}

impl Calls {
    fn go_on(&self) -> bool {
        !self.is_over.load(Ordering::Relaxed)
    }

    fn count(&self, since: Instant) {
        self.made.fetch_add(1, Ordering::Relaxed);
        let us = usize::try_from(since.elapsed().as_micros()).unwrap().min(self.taken.len() - 1);
        if self.is_measured.load(Ordering::Relaxed) {
            self.taken.get(us).unwrap().fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long the slowest call in so many took at least.
    fn slowest_us(&self, of: u32) -> usize {
        let taken: Vec<u32> = self.taken.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let slowest = taken.iter().sum::<u32>() / of;
        let mut slower = 0;
        taken.iter().rposition(|count| (slower += count, slower > slowest).1).unwrap_or(0)
    }
}

/// Calls a method over several connections and prints the calls a second once it is warm, all calls, and the time that half
/// and the slowest in a hundred took.
pub(crate) fn ask(address: &str, method: &str, folder: &str) {
    // A call that is not answered as it should be ends all of it.
    let told = panic::take_hook();
    panic::set_hook(Box::new(move |panicked| {
        told(panicked);
        process::abort();
    }));
    let method = Method::of(method);
    let asker = Asker::new(address, Path::new(folder));
    let taken = (0..=LATENCY_US_MAX).map(|_| AtomicU32::new(0)).collect();
    let (made, is_measured, is_over) = (AtomicUsize::new(0), AtomicBool::new(false), AtomicBool::new(false));
    let calls = Arc::new(Calls { made, is_measured, is_over, taken });
    Runtime::new().unwrap().block_on(async {
        let mut asking = JoinSet::new();
        for connection in 0..CONNECTIONS {
            asker.begin(method, connection, &calls, &mut asking).await;
        }
        tokio::time::sleep(WARM_UP).await;
        let (start, before) = (Instant::now(), calls.made.load(Ordering::Relaxed));
        calls.is_measured.store(true, Ordering::Relaxed);
        tokio::time::sleep(ROUND).await;
        let made = calls.made.load(Ordering::Relaxed) - before;
        let per_s = made as f64 / start.elapsed().as_secs_f64();
        let [p50_us, p99_us] = [2, 100].map(|of| calls.slowest_us(of));
        calls.is_over.store(true, Ordering::Relaxed);
        asking.join_all().await;
        // The server has taken its time for all of them.
        println!("{per_s} {} {p50_us} {p99_us}", calls.made.load(Ordering::Relaxed));
    });
}

/// Who asks, and what it takes to do so.
struct Asker {
    address: String,
    token: Arc<str>,
    students: usize,
    tls: Option<TlsConnector>,
    http: reqwest::Client,
}

impl Asker {
    fn new(address: &str, folder: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(folder.join(name)).unwrap();
        let is_tls = folder.join("ca.pem").exists();
        Self {
            address: address.to_owned(),
            token: text("token").into(),
            students: text("students").parse().unwrap(),
            tls: is_tls.then(|| connector(folder)),
            http: reqwest::Client::new(),
        }
    }

    /// Begins to call over one more connection, and does so until it is over.
    async fn begin(&self, method: Method, connection: usize, calls: &Arc<Calls>, asking: &mut JoinSet<()>) {
        if method == Method::Handshake {
            let (address, tls, calls) = (self.address.clone(), self.tls.clone().unwrap(), Arc::clone(calls));
            asking.spawn(async move {
                while calls.go_on() {
                    let since = Instant::now();
                    let mut stream = shake_hands(&address, &tls).await.unwrap();
                    // Only then the server has seen the certificate.
                    stream.read_u8().await.unwrap();
                    calls.count(since);
                }
            });
            return;
        }
        let channel = if method.is_http() { None } else { Some(self.channel().await) };
        for place in 0..IN_FLIGHT {
            let question = Question {
                token: Arc::clone(&self.token),
                students: self.students,
                numbers: Numbers((connection * IN_FLIGHT + place) as u64),
            };
            let (channel, calls) = (channel.clone(), Arc::clone(calls));
            let (http, base) = (self.http.clone(), format!("http://{}", self.address));
            asking.spawn(async move {
                match (method, channel) {
                    (Method::Echo, Some(channel)) => echo(channel, &question, &calls).await,
                    (Method::Authorize, Some(channel)) => authorize(channel, question, &calls).await,
                    (Method::Check, Some(channel)) => check(channel, question, &calls).await,
                    (Method::Authzen, _) => authzen(http, &base, question, &calls).await,
                    _ => as_json(http, &base, question, &calls).await,
                }
            });
        }
    }

    async fn channel(&self) -> Channel {
        let endpoint = Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        let Some(tls) = self.tls.clone() else { return endpoint.connect().await.unwrap() };
        let address = self.address.clone();
        let connecting = tower::service_fn(move |_| {
            let (tls, address) = (tls.clone(), address.clone());
            async move { shake_hands(&address, &tls).await.map(TokioIo::new) }
        });
        endpoint.connect_with_connector(connecting).await.unwrap()
    }
}

/// TLS as a client with a certificate, whose handshakes are all whole ones.
fn connector(folder: &Path) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let chain = vec![CertificateDer::from_pem_file(folder.join("client.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(folder.join("client.key")).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
    let mut config = builder.with_client_auth_cert(chain, key).unwrap();
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![b"h2".to_vec()];
    TlsConnector::from(Arc::new(config))
}

async fn shake_hands(address: &str, tls: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    tls.connect(ServerName::try_from("localhost").unwrap(), stream).await
}

/// Asks about random students.
struct Question {
    token: Arc<str>,
    students: usize,
    numbers: Numbers,
}

impl Question {
    fn student(&mut self) -> String {
        student(self.numbers.below(self.students)).to_string()
    }
}

async fn echo(channel: Channel, question: &Question, calls: &Calls) {
    let mut client = EchoServiceClient::new(channel);
    while calls.go_on() {
        let since = Instant::now();
        let answer = client.echo(EchoRequest { payload: question.token.to_string() }).await.unwrap();
        assert_eq!(answer.into_inner().payload.len(), question.token.len());
        calls.count(since);
    }
}

async fn authorize(channel: Channel, mut question: Question, calls: &Calls) {
    let mut client = AuthorizationServiceClient::new(channel);
    while calls.go_on() {
        let id = question.student();
        let value = Value { kind: Some(Kind::StringValue(id.clone())) };
        let resource = Resource {
            r#type: "ed-fi/students".to_owned(),
            id,
            attributes: HashMap::from([("studentUniqueId".to_owned(), value)]),
            ..Resource::default()
        };
        let request = AuthorizeRequest {
            realm: REALM.to_owned(),
            token: question.token.to_string(),
            action: "Read".to_owned(),
            resource: Some(resource),
            ..AuthorizeRequest::default()
        };
        let since = Instant::now();
        let answer = client.authorize(request).await.unwrap().into_inner();
        assert_eq!(answer.decision(), Decision::Allow);
        calls.count(since);
    }
}

async fn check(channel: Channel, mut question: Question, calls: &Calls) {
    let mut client = AuthorizationClient::new(channel);
    while calls.go_on() {
        let path = format!("{STUDENTS_PATH}/{}", question.student());
        let headers = [
            (":path", path.clone()),
            (":method", "GET".to_owned()),
            (":authority", "api.example".to_owned()),
            ("authorization", format!("Bearer {}", question.token)),
            ("accept", "application/json".to_owned()),
            ("user-agent", "client/1.0".to_owned()),
        ];
        let http = HttpRequest {
            method: "GET".to_owned(),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            path,
            host: "api.example".to_owned(),
            scheme: "https".to_owned(),
            protocol: "HTTP/1.1".to_owned(),
            ..HttpRequest::default()
        };
        let request = Some(CheckedRequest { http: Some(http) });
        let attributes = Some(AttributeContext { request, ..AttributeContext::default() });
        let since = Instant::now();
        let answer = client.check(CheckRequest { attributes }).await.unwrap().into_inner();
        assert_eq!(answer.status.unwrap().code, 0);
        calls.count(since);
    }
}

async fn as_json(http: reqwest::Client, base: &str, mut question: Question, calls: &Calls) {
    let url = format!("{base}/v1/Authorize");
    while calls.go_on() {
        let id = question.student();
        let resource = json!({ "type": "ed-fi/students", "id": id, "attributes": { "studentUniqueId": id } });
        let body = json!({ "realm": REALM, "token": *question.token, "action": "Read", "resource": resource });
        post(&http, &url, body.to_string(), "DECISION_ALLOW", calls).await;
    }
}

async fn authzen(http: reqwest::Client, base: &str, mut question: Question, calls: &Calls) {
    let url = format!("{base}/{REALM}/access/v1/evaluation");
    while calls.go_on() {
        let id = question.student();
        let body = json!({
            "subject": { "type": "Client", "id": CLIENT },
            "action": { "name": "Read" },
            "resource": { "type": "ed-fi/students", "id": id, "properties": { "studentUniqueId": id } },
            "context": { "access_token": *question.token },
        });
        post(&http, &url, body.to_string(), "\"decision\":true", calls).await;
    }
}

async fn post(http: &reqwest::Client, url: &str, body: String, expected: &str, calls: &Calls) {
    let request = http.post(url).header(CONTENT_TYPE, "application/json").body(body);
    let since = Instant::now();
    let answer = request.send().await.unwrap().text().await.unwrap();
    assert!(answer.contains(expected), "{answer}");
    calls.count(since);
}
