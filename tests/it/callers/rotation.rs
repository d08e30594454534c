//! New certificates while calls are under way: none of them fails, and the new ones are seen.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use hallpass::transport::listener::Failure;
use rustls::ClientConfig;
use tokio::sync::RwLock;

use super::pki::{self, Authority, Good, channel, connect, serial};
use super::{Secured, ask, caller_with_key, failed};
use crate::support::eventually;

const CLIENTS: usize = 8;
const ROTATIONS: u8 = 10;
const GATEWAY: &str = "spiffe://north.example/gateway";

/// What the clients have come to.
#[derive(Default)]
struct Tally {
    calls: AtomicU64,
    connections: AtomicU64,
    newest_serial: AtomicU8,
    failures: Mutex<Vec<String>>,
}

/// The clients' certificate as it is now.
type Shown = Arc<RwLock<Arc<ClientConfig>>>;

/// Calls over one connection that stays, or over a new one for each call.
async fn call_on(
    secured: Arc<Secured>,
    port: u16,
    shown: Shown,
    stays: bool,
    tally: Arc<Tally>,
    is_over: Arc<AtomicBool>,
) {
    let first = shown.read().await.clone();
    let kept = channel(port, &first).await.unwrap();
    while !is_over.load(Ordering::Relaxed) {
        let result = if stays {
            ask(kept.clone(), secured.question(), None).await.map_err(|status| status.to_string())
        } else {
            // Held until the answer, so that no authority is taken out while its certificate is on the way.
            let shown = shown.read().await;
            match channel(port, &shown).await {
                Ok(channel) => ask(channel, secured.question(), None).await.map_err(|status| status.to_string()),
                Err(error) => Err(error.to_string()),
            }
        };
        match result {
            Ok(()) => {
                tally.calls.fetch_add(1, Ordering::Relaxed);
                tally.connections.fetch_add(u64::from(!stays), Ordering::Relaxed);
            }
            Err(error) => tally.failures.lock().unwrap().push(error),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_fails_while_certificates_and_authorities_change() {
    let caller = format!("[callers.gateway]\nroles = [\"enforcer\"]\ncertificate = \"{GATEWAY}\"\n");
    let secured = Arc::new(Secured::new("client_certificates = \"required\"\nwatch = \"20ms\"", &caller));
    let running = secured.start().await;
    let port = running.grpc_address().port();
    let shown: Shown = Arc::new(RwLock::new(secured.client("gateway", &[GATEWAY])));
    let (tally, is_over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..CLIENTS {
        let (secured, shown) = (Arc::clone(&secured), Arc::clone(&shown));
        clients.spawn(call_on(secured, port, shown, number % 2 == 0, Arc::clone(&tally), Arc::clone(&is_over)));
    }
    let mut authority: Option<Authority> = None;
    for rotation in 0..ROTATIONS {
        let before = tally.calls.load(Ordering::Relaxed);
        eventually("calls go on", async || tally.calls.load(Ordering::Relaxed) > before + 20).await;
        let serial_now = rotation + 2;
        pki::put(secured.home.path("").as_path(), &secured.own.service(serial_now));
        if rotation % 5 == 2 {
            // A new authority first stands beside the old one, then the clients change, then the old one goes.
            let next = Authority::new(&format!("clients {rotation}"));
            let old = authority.as_ref().map_or_else(|| secured.clients.pem(), Authority::pem);
            fs::write(secured.home.path("callers.pem"), format!("{old}{}", next.pem())).unwrap();
            wait_for(port, &shown, serial_now, &tally).await;
            *shown.write().await = secured.showing(&next.client("gateway", &[GATEWAY], Good::Now));
            fs::write(secured.home.path("callers.pem"), next.pem()).unwrap();
            authority = Some(next);
        }
        wait_for(port, &shown, serial_now, &tally).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let failures = tally.failures.lock().unwrap().clone();
    assert!(failures.is_empty(), "{} calls failed: {:?}", failures.len(), failures.first());
    let certificates = running.certificates().unwrap();
    println!(
        "{ROTATIONS} rotations of the certificate, 2 of the authority: {} calls over {} new connections and {} that stayed, \
         0 failed; {} files refused meanwhile",
        tally.calls.load(Ordering::Relaxed),
        tally.connections.load(Ordering::Relaxed),
        CLIENTS / 2,
        certificates.reload_failures()
    );
    running.stop().await.unwrap();
}

/// Waits until new connections get the certificate with this serial number.
async fn wait_for(port: u16, shown: &Shown, expected: u8, tally: &Tally) {
    eventually("the new certificate is seen", async || {
        let config = shown.read().await.clone();
        let Ok(stream) = connect(port, &config).await else { return false };
        tally.newest_serial.fetch_max(serial(&stream), Ordering::Relaxed);
        serial(&stream) == expected
    })
    .await;
}

#[tokio::test]
async fn a_pair_that_does_not_fit_leaves_the_old_one_at_work() {
    let secured = Secured::new("watch = \"off\"", &caller_with_key("gateway", "\"enforcer\"", ""));
    let running = secured.start().await;
    let (port, certificates) = (running.grpc_address().port(), Arc::clone(running.certificates().unwrap()));
    let (one, other) = (secured.own.service(7), secured.own.service(8));
    let mixed = pki::Pair { certificate: one.certificate.clone(), key: other.key };
    let empty = pki::Pair { certificate: String::new(), key: one.key.clone() };
    for (count, bad) in [(1, mixed), (2, empty)] {
        pki::put(secured.home.path("").as_path(), &bad);
        for _ in 0..2 {
            Arc::clone(&certificates).look().await;
            assert_eq!(certificates.reload_failures(), count, "told of once");
        }
        assert_eq!(serial(&connect(port, &secured.anonymous()).await.unwrap()), 1);
    }
    fs::remove_file(secured.home.path("server.pem")).unwrap();
    Arc::clone(&certificates).look().await;
    assert_eq!((certificates.reload_failures(), serial(&connect(port, &secured.anonymous()).await.unwrap())), (3, 1));
    pki::put(secured.home.path("").as_path(), &one);
    Arc::clone(&certificates).look().await;
    assert_eq!((certificates.reload_failures(), serial(&connect(port, &secured.anonymous()).await.unwrap())), (3, 7));
    running.stop().await.unwrap();
}

#[tokio::test]
async fn a_session_of_before_is_not_resumed_when_its_authority_is_gone() {
    let secured = Secured::new(
        "client_certificates = \"required\"\nwatch = \"off\"",
        &caller_with_key("gateway", "\"enforcer\"", ""),
    );
    let running = secured.start().await;
    let port = running.grpc_address().port();
    let client = secured.client("gateway", &[]);
    let first = channel(port, &client).await.unwrap();
    ask(first, secured.question(), Some("gateway")).await.unwrap();
    let resumed = connect(port, &client).await.unwrap();
    assert_eq!(resumed.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Resumed), "the test tests something");
    let stays = channel(port, &client).await.unwrap();
    fs::write(secured.home.path("callers.pem"), Authority::new("another").pem()).unwrap();
    Arc::clone(running.certificates().unwrap()).look().await;
    let refused = match channel(port, &client).await {
        Ok(channel) => ask(channel, secured.question(), Some("gateway")).await.is_err(),
        Err(_) => true,
    };
    assert!(refused);
    eventually("it is refused", async || failed(&running, Failure::UnknownAuthority) >= 1).await;
    ask(stays, secured.question(), Some("gateway")).await.unwrap();
    running.stop().await.unwrap();
}
