//! Handshakes: who is let in.

use std::time::{Duration, Instant};

use hallpass::transport::listener::Failure;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tonic::Code;

use super::pki::{Authority, Good, channel, connect};
use super::{Secured, ask, caller_with_key, failed, reason};
use crate::support::eventually;

#[tokio::test]
async fn clients_without_a_good_certificate_are_not_let_in_where_one_is_required() {
    let secured = Secured::new("client_certificates = \"required\"", &caller_with_key("gateway", "\"enforcer\"", ""));
    let running = secured.start().await;
    let (port, stranger) = (running.grpc_address().port(), Authority::new("stranger"));
    let cases = [
        (secured.anonymous(), Failure::NoCertificate),
        (secured.showing(&stranger.client("gateway", &[], Good::Now)), Failure::UnknownAuthority),
        (secured.showing(&secured.clients.client("gateway", &[], Good::NoMore)), Failure::Expired),
        (secured.showing(&secured.clients.client("gateway", &[], Good::NotYet)), Failure::NotYetValid),
        // One of a service is none of a client.
        (secured.showing(&secured.clients.service(9)), Failure::BadCertificate),
    ];
    for (config, why) in cases {
        let refused = match channel(port, &config).await {
            Ok(channel) => ask(channel, secured.question(), Some("gateway")).await.is_err(),
            Err(_) => true,
        };
        assert!(refused, "{why:?}");
        eventually("the failure is counted", async || failed(&running, why) == 1).await;
    }
    let good = channel(port, &secured.client("whoever", &[])).await.unwrap();
    ask(good, secured.question(), Some("gateway")).await.unwrap();
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_bad_certificate_is_refused_also_where_none_is_needed() {
    let secured = Secured::new("", &caller_with_key("gateway", "\"enforcer\"", ""));
    let running = secured.start().await;
    let port = running.grpc_address().port();
    let old = secured.showing(&secured.clients.client("gateway", &[], Good::NoMore));
    if let Ok(channel) = channel(port, &old).await {
        ask(channel, secured.question(), Some("gateway")).await.unwrap_err();
    }
    eventually("the failure is counted", async || failed(&running, Failure::Expired) == 1).await;
    let anonymous = channel(port, &secured.anonymous()).await.unwrap();
    ask(anonymous.clone(), secured.question(), Some("gateway")).await.unwrap();
    let refused = ask(anonymous, secured.question(), None).await.unwrap_err();
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::Unauthenticated, "CALLER_KEY_MISSING"));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn whoever_speaks_no_tls_is_shown_out() {
    let secured = Secured::new("", &caller_with_key("gateway", "\"enforcer\"", ""));
    let running = secured.start().await;
    let mut plain = TcpStream::connect(running.grpc_address()).await.unwrap();
    plain.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    plain.read_to_end(&mut answer).await.ok();
    assert!(answer.len() < 16, "at most an alert: {answer:?}");
    eventually("the failure is counted", async || failed(&running, Failure::NotTls) == 1).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_client_of_another_protocol_is_shown_out() {
    let secured = Secured::new("", &caller_with_key("gateway", "\"enforcer\"", ""));
    let running = secured.start().await;
    let mut config = (*secured.anonymous()).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    connect(running.grpc_address().port(), &config.into()).await.unwrap_err();
    eventually("the failure is counted", async || failed(&running, Failure::NothingInCommon) == 1).await;
    running.stop().await.unwrap();
}

#[tokio::test]
async fn those_who_never_finish_their_handshake_hold_up_nobody() {
    let secured = Secured::new("", &caller_with_key("gateway", "\"enforcer\"", ""));
    let running = secured.start().await;
    let mut silent = Vec::new();
    for _ in 0..400 {
        silent.push(TcpStream::connect(running.grpc_address()).await.unwrap());
    }
    let started = Instant::now();
    let channel = channel(running.grpc_address().port(), &secured.anonymous()).await.unwrap();
    ask(channel, secured.question(), Some("gateway")).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    eventually("the oldest made room", async || failed(&running, Failure::Crowded) >= 400 - 256).await;
    drop(silent);
    running.stop().await.unwrap();
}
