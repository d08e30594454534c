//! More than the service takes: too many requests, too many connections, callers who ask too often, an end with calls under
//! way. Whoever is turned away gets no answer, and so no allow.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use hallpass::{
    proto::{
        envoy::service::auth::v3::{CheckRequest, authorization_client::AuthorizationClient},
        v1::{self as pb, authorization_service_client::AuthorizationServiceClient},
    },
    server,
};
use tokio::{io::AsyncWriteExt as _, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request, Status, transport::Channel};
use tonic_types::StatusExt as _;

use crate::support::{Home, REALM, Service, eventually, reading_student};

/// A configuration with few of everything that `limits` sets.
fn home(limits: &str) -> Home {
    let mut home = Home::new();
    home.keys.push_str("http_address = \"127.0.0.1:0\"\nops_address = \"127.0.0.1:0\"\n");
    home.tables.extend([format!("[limits]\n{limits}\n")]);
    home
}

/// A question that is answered when relationships are as fresh as they never get, or after five seconds where a decision may
/// take so long.
fn waiting_question(token: &str) -> pb::AuthorizeRequest {
    pb::AuthorizeRequest { at_least_revision: u64::MAX >> 1, ..reading_student(token, "1") }
}

/// Time for the questions that wait.
const LONG_CHECKS: &str = "check_ms_max = 60000";

async fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

fn reason(status: &Status) -> String {
    status.get_error_details().error_info().map(|info| info.reason.clone()).unwrap_or_default()
}

/// Takes every place and fills the queue, until the returned tasks end.
async fn busy(service: &Service, token: &str, places: usize) -> JoinSet<Result<(), Status>> {
    let channel = channel(&service.address).await;
    let mut calls = JoinSet::new();
    for _ in 0..places {
        let (channel, token) = (channel.clone(), token.to_owned());
        calls.spawn(async move {
            let answer = AuthorizationServiceClient::new(channel).authorize(waiting_question(&token)).await;
            answer.map(drop)
        });
    }
    let full = format!("authz_requests_in_work {places}");
    let metrics = format!("{}/metrics", service.monitored.clone().unwrap());
    eventually("all places are taken", || async {
        reqwest::get(&metrics).await.unwrap().text().await.unwrap().lines().any(|line| line.starts_with(&full))
    })
    .await;
    calls
}

#[tokio::test]
async fn who_finds_no_place_gets_no_answer_by_any_way_and_monitors_do() {
    let home = home(&format!("requests_max = 2\nwait_ms_max = 1\nwaiting_max = 0\n{LONG_CHECKS}"));
    let service = home.start().await;
    let token = home.token("SISVendor", &[255_901]);
    let mut under_way = busy(&service, &token, 2).await;

    let shed = service.authorization().authorize(reading_student(&token, "1")).await.unwrap_err();
    assert_eq!((shed.code(), reason(&shed).as_str()), (Code::Unavailable, "OVERLOADED"));
    let retry = shed.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert_eq!(retry, Duration::from_millis(100));
    let batch = pb::BatchAuthorizeRequest { items: vec![reading_student(&token, "1")], ..Default::default() };
    assert_eq!(reason(&service.authorization().batch_authorize(batch).await.unwrap_err()), "OVERLOADED");
    let envoy = AuthorizationClient::new(channel(&service.address).await).check(CheckRequest::default()).await;
    let envoy = envoy.unwrap_err();
    assert_eq!((envoy.code(), reason(&envoy).as_str()), (Code::Unavailable, "OVERLOADED"));
    let http = service.http.clone().unwrap();
    let client = reqwest::Client::new();
    for path in ["/v1/Authorize", "/edfi/access/v1/evaluation", "/edfi/access/v1/evaluations", "/edfi/oauth/token_info"]
    {
        let request = client.post(format!("{http}{path}")).header("content-type", "application/json");
        let answer = request.header("x-request-id", "try 7").body("{}").send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["retry-after"]),
            (503, &"1".parse().unwrap()),
            "{path}"
        );
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        let body = answer.text().await.unwrap();
        assert!(!body.contains("decision") && !body.contains("ALLOWED"), "{path}: {body}");
        // Each in the words of its interface.
        if path.contains("/access/v1/") {
            let sentence = "there are too many requests, try again later";
            assert_eq!((&*kind, &*body), ("text/plain; charset=utf-8", sentence), "{path}");
        } else {
            let problem: serde_json::Value = serde_json::from_str(&body).unwrap();
            assert_eq!((&*kind, &problem["correlationId"]), ("application/problem+json", &"try 7".into()), "{path}");
            let code = if path.starts_with("/v1/") { "OVERLOADED".into() } else { serde_json::Value::Null };
            assert_eq!(problem["code"], code, "{path}");
        }
    }

    assert_eq!(service.health().await.as_str_name(), "SERVING", "an answer, and no place");
    for address in [http, service.monitored.clone().unwrap()] {
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(reqwest::get(format!("{address}{path}")).await.unwrap().status().as_u16(), 200, "{path}");
        }
    }
    let text =
        reqwest::get(format!("{}/metrics", service.monitored.clone().unwrap())).await.unwrap().text().await.unwrap();
    for listener in ["grpc", "http"] {
        let line = format!("authz_requests_shed_total{{listener=\"{listener}\",why=\"waited\"}} ");
        assert!(text.lines().any(|found| found.starts_with(&line)), "{line} is not in\n{text}");
    }
    under_way.abort_all();
    eventually("there are places again", || async {
        service.authorization().authorize(reading_student(&token, "1")).await.is_ok()
    })
    .await;
}

#[tokio::test]
async fn who_waits_for_somebody_else_keeps_nobody_from_an_answer() {
    let home = home(&format!("requests_max = 2\nwaiting_max = 3\n{LONG_CHECKS}"));
    let service = home.start().await;
    let token = home.token("SISVendor", &[255_901]);
    let mut waiting = JoinSet::new();
    let channel = channel(&service.address).await;
    for _ in 0..4 {
        let (channel, question) = (channel.clone(), waiting_question(&token));
        waiting.spawn(async move { AuthorizationServiceClient::new(channel).authorize(question).await });
    }
    // Three wait, more than there are places; there is no room for the fourth.
    let crowded = waiting.join_next().await.unwrap().unwrap().unwrap_err();
    assert_eq!((crowded.code(), reason(&crowded).as_str()), (Code::Unavailable, "OVERLOADED"));
    for _ in 0..20 {
        service.authorization().authorize(reading_student(&token, "1")).await.unwrap();
    }
    assert!(waiting.try_join_next().is_none(), "they wait still");
    waiting.abort_all();
}

#[tokio::test]
async fn a_realm_that_is_asked_about_too_often_leaves_the_others_as_they_are() {
    let mut home = home("");
    let rules = serde_json::json!(home.rules);
    home.tables.extend([format!("[realms.other]\nfolder = {rules}\n")]);
    home.realm_keys.push_str("requests_per_second = 5\n");
    let service = home.start().await;
    let token = home.token("SISVendor", &[255_901]);
    let ask = async |realm: &str| {
        let question = pb::AuthorizeRequest { realm: realm.to_owned(), ..reading_student(&token, "1") };
        service.authorization().authorize(question).await
    };
    let mut limited = None;
    for _ in 0..200 {
        if let Err(status) = ask(REALM).await {
            limited = Some(status);
            break;
        }
    }
    let limited = limited.expect("200 questions in a row are more than five a second");
    assert_eq!((limited.code(), reason(&limited).as_str()), (Code::ResourceExhausted, "RATE_LIMITED"));
    let retry = limited.get_error_details().retry_info().unwrap().retry_delay.unwrap();
    assert!(retry > Duration::ZERO && retry <= Duration::from_millis(200), "{retry:?}");
    for _ in 0..50 {
        ask("other").await.unwrap();
    }
    eventually("there is room again", || async { ask(REALM).await.is_ok() }).await;
}

#[tokio::test]
async fn more_connections_than_the_limit_wait_and_those_that_there_are_go_on() {
    let home = home("connections_max = 8");
    let service = home.start().await;
    let token = home.token("SISVendor", &[255_901]);
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(&service.address).unwrap()).collect();
    for _ in 0..20 {
        service.authorization().authorize(reading_student(&token, "1")).await.unwrap();
    }
    drop(idle);
    let mut anew = AuthorizationServiceClient::new(channel(&service.address).await);
    anew.authorize(reading_student(&token, "1")).await.unwrap();
}

/// The soft limit of open files of this process, as Linux tells it.
fn files_max() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[tokio::test]
async fn ten_thousand_connections_without_a_word_leave_a_service_that_answers() {
    const IDLE: usize = 10_000;
    // Some for the test itself and others beside it; the service has the same limit in a process of its own.
    let needed = IDLE + 2_000;
    if files_max() < needed {
        eprintln!("SKIPPED: {needed} open files are needed, the limit is {} (ulimit -n)", files_max());
        return;
    }
    let home = home("connections_max = 11000");
    let service = home.start().await;
    let token = home.token("SISVendor", &[255_901]);
    let connect = async || {
        let mut stream = tokio::net::TcpStream::connect(&service.address).await.unwrap();
        // What every client of HTTP/2 begins with, and no settings.
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
        stream
    };
    let mut idle = Vec::with_capacity(IDLE);
    while idle.len() < IDLE {
        idle.push(connect().await);
        if idle.len() % 1_000 == 0 {
            service.authorization().authorize(reading_student(&token, "1")).await.unwrap();
        }
    }
    let metrics = format!("{}/metrics", service.monitored.clone().unwrap());
    eventually("all are counted", || async {
        let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        let open = text.lines().find_map(|line| line.strip_prefix("authz_connections{listener=\"grpc\"} "));
        open.is_some_and(|open| open.parse::<f64>().unwrap() > f64::from(u32::try_from(IDLE).unwrap()))
    })
    .await;
    let mut anew = AuthorizationServiceClient::new(channel(&service.address).await);
    anew.authorize(reading_student(&token, "1")).await.unwrap();
    service.authorization().authorize(reading_student(&token, "1")).await.unwrap();
    assert_eq!(service.health().await.as_str_name(), "SERVING");
    drop(idle);
}

#[tokio::test]
async fn messages_that_fill_all_room_turn_others_away_and_leave_it_again() {
    let home = home("gathered_bytes_max = 1048576\nconnections_max = 64");
    let service = home.start().await;
    let address = service.http.clone().unwrap().trim_start_matches("http://").to_owned();
    // Each sends most of a message, and leaves the rest.
    let held: Vec<_> = (0..3)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let head = "POST /v1/Authorize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n";
            stream.write_all(head.as_bytes()).unwrap();
            // The one that finds no more room may be answered before all of it was sent.
            stream.write_all(&vec![b' '; 900_000]).ok();
            stream
        })
        .collect();
    let token = home.token("SISVendor", &[255_901]);
    let shed = async || service.authorization().authorize(reading_student(&token, "1")).await.err();
    let metrics = format!("{}/metrics", service.monitored.clone().unwrap());
    eventually("those that find no room are turned away", || async {
        let text = reqwest::get(&metrics).await.unwrap().text().await.unwrap();
        text.lines().any(|line| line.starts_with("authz_requests_shed_total{listener=\"http\",why=\"bytes_full\"} "))
    })
    .await;
    drop(held);
    eventually("there is room again", || async { shed().await.is_none() }).await;
}

#[tokio::test]
async fn what_is_sent_slowly_holds_no_place() {
    let home = home("requests_max = 1\nwait_ms_max = 1");
    let service = home.start().await;
    let address = service.http.clone().unwrap().trim_start_matches("http://").to_owned();
    let slow: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            let head = "POST /v1/Authorize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{";
            stream.write_all(head.as_bytes()).unwrap();
            stream
        })
        .collect();
    let half = "POST /v1/Authorize HTTP/1.1\r\nhost: x\r\n";
    let halves: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = TcpStream::connect(&address).unwrap();
            stream.write_all(half.as_bytes()).unwrap();
            stream
        })
        .collect();
    let token = home.token("SISVendor", &[255_901]);
    for _ in 0..20 {
        service.authorization().authorize(reading_student(&token, "1")).await.unwrap();
    }
    drop((slow, halves));
}

#[tokio::test]
async fn an_announced_end_lets_everything_finish_that_was_begun() {
    let mut home = home("");
    home.tables.push_str("[server]\ndrain_announce_ms = 3000\n");
    let running = server::start(home.config()).await.unwrap();
    let (address, ops) = (running.grpc_address().to_string(), running.ops_address().unwrap());
    let ready = async || {
        let answer = reqwest::get(format!("http://{ops}/readyz")).await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    eventually("the service is ready", || async { ready().await.0 == 200 }).await;
    let (sender, receiver) = mpsc::channel(1);
    let mut client = pb::relationship_service_client::RelationshipServiceClient::new(channel(&address).await);
    let import = tokio::spawn(async move { client.import_records(ReceiverStream::new(receiver)).await });
    let message = || pb::ImportRecordsRequest {
        realm: REALM.to_owned(),
        resource: "stateEducationAgencies".to_owned(),
        records: vec![r#"{"stateEducationAgencyId": 1, "nameOfInstitution": "One"}"#.to_owned()],
    };
    for _ in 0..3 {
        sender.send(message()).await.unwrap();
    }
    let token = home.token("SISVendor", &[255_901]);
    let open = channel(&address).await;
    let began = Instant::now();
    let stop = tokio::spawn(running.stop());
    eventually("the end is announced", || async { ready().await.0 == 503 }).await;
    let (_, said) = ready().await;
    assert!(said.contains("\"DRAINING\"") && said.contains("not_serving"), "{said}");
    let mut answered = 0;
    while began.elapsed() < Duration::from_millis(500) {
        // On a connection of before, and on new ones.
        for channel in [open.clone(), channel(&address).await] {
            AuthorizationServiceClient::new(channel).authorize(reading_student(&token, "1")).await.unwrap();
            answered += 1;
        }
    }
    assert!(answered > 0 || began.elapsed() > Duration::from_secs(1), "nothing was asked while the end was announced");
    eventually("no more connections are taken", || async { TcpStream::connect(&address).is_err() }).await;
    sender.send(message()).await.unwrap();
    drop(sender);
    assert_eq!(import.await.unwrap().unwrap().into_inner().accepted, 4);
    stop.await.unwrap().unwrap();
    assert!(TcpStream::connect(&address).is_err(), "the port is free");
}

#[tokio::test]
async fn what_is_under_way_longer_than_the_limit_is_cut_off() {
    let home = home(&format!("drain_seconds_max = 0\nwaiting_max = 0\n{LONG_CHECKS}"));
    let running = server::start(home.config()).await.unwrap();
    let address = running.grpc_address().to_string();
    let token = home.token("SISVendor", &[255_901]);
    let mut client = AuthorizationServiceClient::new(channel(&address).await);
    let mut waiting = Request::new(waiting_question(&token));
    waiting.set_timeout(Duration::from_secs(60));
    let call = tokio::spawn(async move { client.authorize(waiting).await });
    let metrics = format!("http://{}/metrics", running.ops_address().unwrap());
    eventually("the call is under way", || async {
        reqwest::get(&metrics).await.unwrap().text().await.unwrap().contains("authz_requests_in_work 1")
    })
    .await;
    running.stop().await.unwrap();
    call.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_and_not_read_to_its_end() {
    let home = home("body_bytes_max = 65536");
    let service = home.start().await;
    let address = service.http.clone().unwrap().trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = "POST /v1/Authorize HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n";
    stream.write_all(head.as_bytes()).unwrap();
    // A little more than is read, and much less than was promised.
    stream.write_all(&vec![b' '; 65_600]).unwrap();
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(String::from_utf8_lossy(&answer), "HTTP/1.1 413");
}
