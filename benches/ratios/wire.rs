//! Authorize over the wire, against a call that does nothing, on the same server.

use std::{
    collections::HashMap,
    env, fs,
    path::Path,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
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
    provider::{clock::SystemClock, signer::LocalKey},
    server,
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
            let figure = load(&address, method, &token);
            if round > 0 {
                figures.calls_per_s.push(figure.0);
                figures.server_us.push(figure.1);
            }
        }
    }
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

/// Calls a second, and the server's microseconds for one, while another process calls a method as fast as it can.
fn load(address: &str, method: &str, token: &Path) -> (f64, f64) {
    let start_us = process_us();
    let asked = Command::new(env::current_exe().unwrap()).args([LOAD, address, method]).arg(token).output().unwrap();
    assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
    let taken_us = process_us() - start_us;
    let figures = String::from_utf8(asked.stdout).unwrap();
    let figures: Vec<f64> = figures.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
    let [calls_per_s, calls]: [f64; 2] = figures.try_into().unwrap();
    (calls_per_s, taken_us / calls)
}

/// Calls a method over several connections and prints the calls a second once it is warm, and all calls.
pub(crate) fn ask(address: &str, method: &str, token: &str) {
    let token = fs::read_to_string(token).unwrap();
    let (calls, is_echo) = (Arc::new(AtomicUsize::new(0)), method == "echo");
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
        let (start, before) = (Instant::now(), calls.load(Ordering::Relaxed));
        tokio::time::sleep(ROUND).await;
        let made = calls.load(Ordering::Relaxed) - before;
        println!("{} {}", made as f64 / start.elapsed().as_secs_f64(), before + made);
    });
}

async fn echo(channel: Channel, token: &str, calls: &AtomicUsize) {
    let mut client = EchoServiceClient::new(channel);
    loop {
        let answer = client.echo(EchoRequest { payload: token.to_owned() }).await.unwrap();
        assert_eq!(answer.into_inner().payload.len(), token.len());
        calls.fetch_add(1, Ordering::Relaxed);
    }
}

async fn authorize(channel: Channel, token: &str, mut numbers: Numbers, calls: &AtomicUsize) {
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
        let answer = client.authorize(request).await.unwrap().into_inner();
        assert_eq!(answer.decision(), Decision::Allow);
        calls.fetch_add(1, Ordering::Relaxed);
    }
}
