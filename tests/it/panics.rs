//! A panic while a request is answered: the log says where it was, and nothing of what the request brought.

use std::process::Command;

use axum::body::Bytes;
use hallpass::server;
use hallpass::telemetry::{self, Format, Options};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::support::Home;

/// Is set for the process that panics.
const PANICS: &str = "A_TEST_THAT_PANICS";

const CANARY: &str = "c4n4ry";

/// Cuts the message at a wrong place, of which Rust tells with the whole message.
async fn fails(message: Bytes) -> String {
    let text = String::from_utf8(message.to_vec()).unwrap();
    let place = text.find('é').unwrap() + 1;
    text[place..].to_owned()
}

/// Starts a service with a handler that panics, and has it panic.
async fn panic_while_answering() {
    telemetry::start(&Options { level: "trace".to_owned(), format: Format::Text }).unwrap();
    let home = Home::new();
    let with_fault = |routes: Routes| {
        Routes::from(routes.into_axum_router().route("/tests.Faulty/Fail", axum::routing::post(fails)))
    };
    let running = server::start_with(home.config(), with_fault).await.unwrap();
    let address = format!("http://{}", running.grpc_address());
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    // A message of gRPC is framed by five bytes, which are text here as well.
    let question = HealthCheckRequest { service: format!("é-{CANARY}-message") };
    let mut request = Request::new(question);
    request.metadata_mut().insert("authorization", format!("Bearer {CANARY}-key").parse().unwrap());
    request.metadata_mut().insert("x-tenant", format!("{CANARY}-tenant").parse().unwrap());
    let codec = tonic_prost::ProstCodec::<HealthCheckRequest, HealthCheckRequest>::default();
    let failed = grpc.unary(request, "/tests.Faulty/Fail".parse().unwrap(), codec).await.unwrap_err();
    assert!(!failed.message().contains(CANARY) && failed.code() != Code::Ok, "{failed}");
    let of_thread = std::thread::spawn(|| panic!("{CANARY}-thread"));
    of_thread.join().unwrap_err();
    let answer = HealthClient::new(channel).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(answer.into_inner().status().as_str_name(), "SERVING", "the service goes on");
    running.stop().await.unwrap();
}

#[test]
fn a_panic_tells_its_place_and_nothing_of_the_request() {
    if std::env::var_os(PANICS).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        return runtime.block_on(panic_while_answering());
    }
    // In a process of its own: the log and what is told of panics are those of a whole process.
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "panics::a_panic_tells_its_place_and_nothing_of_the_request", "--nocapture"]);
    let output = command.env(PANICS, "1").env("RUST_BACKTRACE", "1").output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
    let places =
        said.lines().filter(|line| line.contains("a fault of the program") && line.contains("tests/it/panics.rs:"));
    assert_eq!(places.count(), 2, "{said}");
    assert!(said.contains("panics::fails"), "the way there is told: {said}");
    let shown: Vec<_> = said.lines().filter(|line| line.contains(CANARY)).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}
