//! Authorize over the wire, against a call that does nothing, on the same server.

use std::{
    collections::HashMap,
    env, fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use hallpass::{
    app::ports::Clock as _,
    domain::issuer::{Algorithm, Issuer, KeyLocation},
    proto::v1::{
        AuthorizeRequest, Decision, Resource, Value, authorization_service_client::AuthorizationServiceClient,
        value::Kind,
    },
    provider::{clock::SystemClock, realm_files::read_folder, signer::LocalKey},
    server::{self, Running},
};
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    log,
    measure::{Goal, Numbers, Report, info, median, median_ratio, process_us},
    service::{self, REALM},
    state::{AGENCY, State, student},
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

/// The word that makes this program ask a server, in a process of its own.
pub(crate) const LOAD: &str = "load-on";

const STATE: State = State { students: 100_000 };
const CONNECTIONS: usize = 8;
const IN_FLIGHT: usize = 32;
const ROUNDS: usize = 7;
const WARM_UP: Duration = Duration::from_millis(300);
const ROUND: Duration = Duration::from_millis(1_200);
/// Calls that take longer count as this long, in microseconds.
const LATENCY_US_MAX: usize = 500_000;
const ISSUER: &str = "https://issuer.example";

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let key = LocalKey::generate().unwrap();
    let (keys, token) = (folder.path().join("keys.json"), folder.path().join("token"));
    fs::write(&keys, key.jwks()).unwrap();
    fs::write(&token, self::token(&key, AGENCY)).unwrap();
    let runtime = Runtime::new().unwrap();
    let config = service::config(folder.path(), vec![issuer(&keys)]);
    let running = runtime.block_on(async {
        let echo = |routes: tonic::service::Routes| routes.add_service(EchoServiceServer::new(Echo));
        let running = server::start_with(config, echo).await.unwrap();
        let mut import = running.app().import(REALM).unwrap();
        for (resource, count, record) in STATE.records() {
            let lines: Vec<String> = (0..count).map(|place| record(STATE, place)).collect();
            for message in lines.chunks(1_000) {
                import.push(resource, message).await.unwrap();
            }
        }
        import.finish().await.unwrap();
        running
    });
    let address = format!("http://{}", running.grpc_address());
    let (mut echo, mut authorize) = (Figures::default(), Figures::default());
    for round in 0..=ROUNDS {
        for (method, figures) in [("echo", &mut echo), ("authorize", &mut authorize)] {
            let load = load(&address, method, &token);
            if round > 0 {
                figures.calls_per_s.push(load.calls_per_s);
                figures.server_us.push(load.server_us);
            }
        }
    }
    shadow(report, &runtime, &running, || load(&address, "authorize", &token).p99_us);
    runtime.block_on(running.stop()).unwrap();
    let ratio = median_ratio(&authorize.calls_per_s, &echo.calls_per_s);
    report.goal("authorize_over_echo", ratio, Goal::AtLeast(0.4));
    // What a decision costs with its log, against what it would without.
    let (on_us, record_us) = (median(&authorize.server_us), log::measure().record_us);
    report.goal("decision_log_on_over_off", on_us / (on_us - record_us), Goal::AtMost(1.15));
    info("authorize_per_s", median(&authorize.calls_per_s));
    info("echo_per_s", median(&echo.calls_per_s));
    info("authorize_server_us", median(&authorize.server_us));
    info("echo_server_us", median(&echo.server_us));
}

/// What a shadow costs those who are served last, by turns with one and without.
fn shadow(report: &mut Report, runtime: &Runtime, running: &Running, mut p99_us: impl FnMut() -> f64) {
    let (app, mut with, mut without) = (running.app(), Vec::new(), Vec::new());
    let (mut compared, mut not_compared) = (0, 0);
    for _ in 0..ROUNDS {
        without.push(p99_us());
        let candidate = read_folder(Path::new("policies/edfi")).unwrap();
        let started = runtime.block_on(app.start_shadow(REALM, candidate, "bench".into())).unwrap();
        assert_eq!(started.faults, []);
        with.push(p99_us());
        let stopped = runtime.block_on(app.stop_shadow(REALM)).unwrap();
        let counts = stopped.tallied.changes.counts();
        assert_eq!((counts.same, stopped.tallied.refused.len()), (counts.all(), 0));
        compared += counts.all();
        not_compared += stopped.not_compared;
    }
    report.goal("authorize_p99_shadow_over_none", median_ratio(&with, &without), Goal::AtMost(1.05));
    info("authorize_p99_us", median(&without));
    info("shadow_compared_share", compared as f64 / (compared + not_compared) as f64);
}

#[derive(Default)]
struct Figures {
    calls_per_s: Vec<f64>,
    /// The server's processor time for one call.
    server_us: Vec<f64>,
}

/// A token of a client that acts for an organization.
pub(crate) fn token(key: &LocalKey, organization: usize) -> String {
    let now_seconds = SystemClock.now_seconds();
    let claims = json!({
        "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3_600, "client_id": "vendor", "scope": "SISVendor",
        "educationOrganizationIds": organization.to_string(), "namespacePrefixes": "uri://ed-fi.org,uri://example.org",
        "jti": "2f1c8a52-6f39-4c55-9b0a-8a1c4c6f1a55", "aud": "https://api.example/data/v3",
    });
    key.sign(&claims).unwrap()
}

pub(crate) fn issuer(keys: &Path) -> Issuer {
    Issuer::new(ISSUER, &[Algorithm::EdDSA], KeyLocation::File(keys.to_owned()))
}

struct Echo;

#[tonic::async_trait]
impl EchoService for Echo {
    async fn echo(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let EchoRequest { payload } = request.into_inner();
        Ok(Response::new(EchoResponse { payload }))
    }
}

/// What another process measured that calls a method as fast as it can.
struct Load {
    calls_per_s: f64,
    /// The server's processor time for one call.
    server_us: f64,
    /// How long the slowest call in a hundred took at least.
    p99_us: f64,
}

fn load(address: &str, method: &str, token: &Path) -> Load {
    let start_us = process_us();
    let asked = Command::new(env::current_exe().unwrap()).args([LOAD, address, method]).arg(token).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let taken_us = process_us() - start_us;
    let figures = String::from_utf8(asked.stdout).unwrap();
    let figures: Vec<f64> = figures.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    let [calls_per_s, calls, p99_us]: [f64; 3] = figures.try_into().unwrap();
    Load { calls_per_s, server_us: taken_us / calls, p99_us }
}

/// The calls that were made, and how many took how long.
struct Calls {
    made: AtomicUsize,
    is_measured: AtomicBool,
    /// By microseconds; the last one counts all that took longer.
    taken: Vec<AtomicU32>,
}

impl Calls {
    fn count(&self, since: Instant) {
        self.made.fetch_add(1, Ordering::Relaxed);
        let us = usize::try_from(since.elapsed().as_micros()).unwrap().min(self.taken.len() - 1);
        if self.is_measured.load(Ordering::Relaxed) {
            self.taken.get(us).unwrap().fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How long the slowest call in a hundred took at least.
    fn p99_us(&self) -> usize {
        let taken: Vec<u32> = self.taken.iter().map(|count| count.load(Ordering::Relaxed)).collect();
        let slowest = taken.iter().sum::<u32>() / 100;
        let mut slower = 0;
        taken.iter().rposition(|count| (slower += count, slower > slowest).1).unwrap_or(0)
    }
}

/// Calls a method over several connections and prints the calls a second once it is warm, all calls, and the time of the
/// slowest in a hundred.
pub(crate) fn ask(address: &str, method: &str, token: &str) {
    let token = fs::read_to_string(token).unwrap();
    let taken = (0..=LATENCY_US_MAX).map(|_| AtomicU32::new(0)).collect();
    let calls = Arc::new(Calls { made: AtomicUsize::new(0), is_measured: AtomicBool::new(false), taken });
    let is_echo = method == "echo";
    Runtime::new().unwrap().block_on(async {
        for connection in 0..CONNECTIONS {
            let channel = Channel::from_shared(address.to_owned()).unwrap().connect().await.unwrap();
            for place in 0..IN_FLIGHT {
                let numbers = Numbers((connection * IN_FLIGHT + place) as u64);
                let (channel, token, calls) = (channel.clone(), token.clone(), Arc::clone(&calls));
                tokio::spawn(async move {
                    if is_echo {
                        echo(channel, &token, &calls).await;
                    } else {
                        authorize(channel, &token, numbers, &calls).await;
                    }
                });
            }
        }
        tokio::time::sleep(WARM_UP).await;
        let (start, before) = (Instant::now(), calls.made.load(Ordering::Relaxed));
        calls.is_measured.store(true, Ordering::Relaxed);
        tokio::time::sleep(ROUND).await;
        let made = calls.made.load(Ordering::Relaxed) - before;
        println!("{} {} {}", made as f64 / start.elapsed().as_secs_f64(), before + made, calls.p99_us());
    });
}

async fn echo(channel: Channel, token: &str, calls: &Calls) {
    let mut client = EchoServiceClient::new(channel);
    loop {
        let since = Instant::now();
        let answer = client.echo(EchoRequest { payload: token.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().payload.len(), token.len());
        calls.count(since);
    }
}

async fn authorize(channel: Channel, token: &str, mut numbers: Numbers, calls: &Calls) {
    let mut client = AuthorizationServiceClient::new(channel);
    loop {
        let id = student(numbers.below(STATE.students)).to_string();
        let value = Value { kind: Some(Kind::StringValue(id.clone())) };
        let resource = Resource {
            r#type: "ed-fi/students".to_owned(),
            id,
            attributes: HashMap::from([("studentUniqueId".to_owned(), value)]),
            ..Resource::default()
        };
        let request = AuthorizeRequest {
            realm: REALM.to_owned(),
            token: token.to_owned(),
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
