//! Key sets over real HTTPS: rotations under load and under attack, and servers that misbehave.

use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use hallpass::app::ports::Clock as _;
use hallpass::proto::v1 as pb;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use serde_json::json;
use tokio::sync::RwLock;
use tonic::{Code, Status};

use crate::issuer_server::{IssuerServer, Reply, joined};
use crate::support::{Home, ISSUER, Service, eventually, reading_student};

const ROTATIONS: u64 = 5;
const HONEST: u64 = 8;
const ATTACKERS: usize = 64;
const BURST: u64 = 3;

/// The keys that the issuer publishes, the oldest first.
type Keys = Arc<RwLock<Vec<Arc<LocalKey>>>>;

/// Distinguishes tokens, so that none is answered from what is remembered.
static NUMBER: AtomicU64 = AtomicU64::new(0);

fn claims() -> serde_json::Value {
    let now_seconds = SystemClock.now_seconds();
    json!({
        "iss": ISSUER, "iat": now_seconds, "exp": now_seconds + 3600, "client_id": "rotating", "scope": "Ed-Fi Sandbox",
        "educationOrganizationIds": "255901", "namespacePrefixes": "uri://ed-fi.org",
        "jti": NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
    })
}

fn published(keys: &[Arc<LocalKey>]) -> Reply {
    Reply::Json(joined(&keys.iter().map(|key| key.jwks()).collect::<Vec<_>>()))
}

async fn home(server: &IssuerServer, settings: &str) -> (Home, Service) {
    let mut home = Home::new();
    fs::write(home.path("ca.pem"), &server.certificate).unwrap();
    home.issuer = format!("keys = {{ url = \"{}/jwks\", {settings} }}\nca_file = \"ca.pem\"\n", server.url);
    let service = home.start().await;
    (home, service)
}

/// Asks with a token: `Ok` with the code of why it is not good, `None` if it is.
async fn ask(service: &Service, token: &str) -> Result<Option<String>, Status> {
    let answer = service.authorization().authorize(reading_student(token, "604822")).await?.into_inner();
    let is_refused = answer.outcome() == pb::Outcome::Unauthenticated;
    Ok(is_refused.then(|| answer.reasons[0].code.clone()))
}

/// What the two sides came to.
#[derive(Default)]
struct Tally {
    good: AtomicU64,
    refused: Mutex<Vec<String>>,
    made_up_refused: AtomicU64,
    made_up_unavailable: AtomicU64,
    slowest_ms: AtomicU64,
}

async fn be_honest(service: Arc<Service>, keys: Keys, tally: Arc<Tally>, is_over: Arc<AtomicBool>, number: u64) {
    while !is_over.load(Ordering::Relaxed) {
        // Held until the answer, so that no key is taken out while its token is on the way.
        let keys = keys.read().await;
        let key = &keys[keys.len() - 1 - usize::try_from(number % 2).unwrap().min(keys.len() - 1)];
        let token = key.sign(&claims()).unwrap();
        let started = Instant::now();
        match ask(&service, &token).await {
            Ok(None) => drop(tally.good.fetch_add(1, Ordering::Relaxed)),
            Ok(Some(code)) => tally.refused.lock().unwrap().push(code),
            Err(status) => tally.refused.lock().unwrap().push(status.to_string()),
        }
        let took_ms = u64::try_from(started.elapsed().as_millis()).unwrap();
        tally.slowest_ms.fetch_max(took_ms, Ordering::Relaxed);
    }
}

async fn attack(service: Arc<Service>, tally: Arc<Tally>, is_over: Arc<AtomicBool>) {
    while !is_over.load(Ordering::Relaxed) {
        let token = LocalKey::generate().unwrap().sign(&claims()).unwrap();
        match ask(&service, &token).await {
            Ok(Some(code)) if code == "KEY_NOT_FOUND" => drop(tally.made_up_refused.fetch_add(1, Ordering::Relaxed)),
            Err(status) if status.code() == Code::Unavailable => {
                tally.made_up_unavailable.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("a token with a made-up key was answered {other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotations_under_attack_refuse_no_honest_token_and_fetch_within_the_allowance() {
    let new_key = || Arc::new(LocalKey::generate().unwrap());
    let first = new_key();
    let keys: Keys = Arc::new(RwLock::new(vec![Arc::clone(&first)]));
    let server = IssuerServer::start({
        let reply = published(&[Arc::clone(&first)]);
        move |_| reply.clone()
    })
    .await;
    let started = Instant::now();
    let (_home, service) = home(&server, &format!("refetch_seconds = 1, refetch_burst = {BURST}")).await;
    let service = Arc::new(service);
    let remembered = first.sign(&claims()).unwrap();
    assert_eq!(ask(&service, &remembered).await.unwrap(), None);

    let (tally, is_over) = (Arc::new(Tally::default()), Arc::new(AtomicBool::new(false)));
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..HONEST {
        let (service, keys) = (Arc::clone(&service), Arc::clone(&keys));
        tasks.spawn(be_honest(service, keys, Arc::clone(&tally), Arc::clone(&is_over), number));
    }
    for _ in 0..ATTACKERS {
        tasks.spawn(attack(Arc::clone(&service), Arc::clone(&tally), Arc::clone(&is_over)));
    }
    for _ in 0..ROTATIONS {
        {
            let mut keys = keys.write().await;
            keys.push(new_key());
            if keys.len() > 2 {
                keys.remove(0);
            }
            let reply = published(&keys);
            server.answer(move |_| reply.clone());
        }
        let before = tally.good.load(Ordering::Relaxed);
        eventually("honest tokens are taken", async || tally.good.load(Ordering::Relaxed) > before + 5 * HONEST).await;
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }

    let refused = tally.refused.lock().unwrap().clone();
    assert!(refused.is_empty(), "{} honest tokens: {refused:?}", refused.len());
    let code = ask(&service, &remembered).await.unwrap();
    assert_eq!(code.as_deref(), Some("KEY_NOT_FOUND"), "a token whose key was taken out is not remembered");
    let (fetches, allowed) = (server.requests(), BURST + started.elapsed().as_secs() + 1);
    assert!(fetches > ROTATIONS && fetches <= allowed, "{fetches} fetches of {allowed}");
    println!(
        "{ROTATIONS} rotations in {:.1} s: {} honest tokens good, 0 refused, 0 failed, the slowest after {} ms; \
         {} made-up keys refused, {} unavailable; {fetches} fetches of {allowed} allowed",
        started.elapsed().as_secs_f64(),
        tally.good.load(Ordering::Relaxed),
        tally.slowest_ms.load(Ordering::Relaxed),
        tally.made_up_refused.load(Ordering::Relaxed),
        tally.made_up_unavailable.load(Ordering::Relaxed),
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_server_that_misbehaves_harms_no_known_key_and_decides_nothing_about_others() {
    let (known, next) = (Arc::new(LocalKey::generate().unwrap()), Arc::new(LocalKey::generate().unwrap()));
    let elsewhere = IssuerServer::start({
        let reply = published(&[Arc::clone(&next)]);
        move |_| reply.clone()
    })
    .await;
    let good = published(&[Arc::clone(&known)]);
    let server = IssuerServer::start({
        let good = good.clone();
        move |_| good.clone()
    })
    .await;
    let (_home, service) = home(&server, "refetch_seconds = 1, refetch_burst = 10").await;
    assert_eq!(ask(&service, &known.sign(&claims()).unwrap()).await.unwrap(), None);
    let redirect = |to: &str| Reply::Status(302, format!("location: {to}\r\n"));
    for reply in [
        Reply::Status(500, String::new()),
        Reply::Status(404, String::new()),
        Reply::Silence,
        redirect(&elsewhere.url),
        redirect("http://169.254.169.254/latest/meta-data"),
        redirect("http://10.0.0.1/jwks"),
        Reply::Text(300 * 1024),
        Reply::Text(10),
        Reply::Json("{\"keys\":[],\"keys\":[]}".to_owned()),
        Reply::Json("[]".to_owned()),
    ] {
        let what = format!("{reply:?}").chars().take(60).collect::<String>();
        let before = server.requests();
        server.answer(move |_| reply.clone());
        let status = ask(&service, &next.sign(&claims()).unwrap()).await.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{what}: {status}");
        assert_eq!(server.requests(), before + 1, "{what}");
        assert_eq!(ask(&service, &known.sign(&claims()).unwrap()).await.unwrap(), None, "{what}");
    }
    assert_eq!(elsewhere.requests(), 0, "redirects are not followed");
    let both = published(&[known, Arc::clone(&next)]);
    server.answer(move |_| both.clone());
    assert_eq!(ask(&service, &next.sign(&claims()).unwrap()).await.unwrap(), None, "it is well again");
    let log = service.stderr();
    assert!(log.contains("keys could not be fetched"), "{log}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_private_address_and_a_stranger_s_certificate_are_not_trusted() {
    let key = LocalKey::generate().unwrap();
    let server = IssuerServer::start({
        let jwks = key.jwks();
        move |_| Reply::Json(jwks.clone())
    })
    .await;
    let stranger = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
    let mut home = Home::new();
    fs::write(home.path("ca.pem"), &stranger).unwrap();
    home.issuer = format!("keys = {{ url = \"{}/jwks\" }}\nca_file = \"ca.pem\"\n", server.url);
    let service = home.start().await;
    let status = ask(&service, &key.sign(&claims()).unwrap()).await.unwrap_err();
    assert_eq!((status.code(), server.requests()), (Code::Unavailable, 0), "{status}");
    drop(service);

    // Names of this kind lead to this machine on the machines that know any.
    home.issuer = format!("keys = {{ url = \"{}/jwks\" }}\n", server.url.replace("localhost", "ip6-localhost"));
    let service = home.start().await;
    let status = ask(&service, &key.sign(&claims()).unwrap()).await.unwrap_err();
    assert_eq!((status.code(), server.requests()), (Code::Unavailable, 0), "{status}");
    let is_told = ["leads to no public address", "failed to lookup"].iter().any(|why| status.message().contains(why));
    assert!(is_told, "{status}");
}

#[tokio::test]
async fn keys_are_found_by_discovery_on_the_issuers_own_host_only() {
    let key = LocalKey::generate().unwrap();
    let elsewhere = IssuerServer::start({
        let jwks = key.jwks();
        move |_| Reply::Json(jwks.clone())
    })
    .await;
    for (kind, well_known) in [
        ("oidc", "/tenant/.well-known/openid-configuration"),
        ("oauth", "/.well-known/oauth-authorization-server/tenant"),
    ] {
        let server = IssuerServer::start(|_| Reply::Status(503, String::new())).await;
        let mut home = Home::new();
        fs::write(home.path("ca.pem"), &server.certificate).unwrap();
        let (issuer, origin) = (format!("{}/tenant", server.url), server.url.clone());
        let mut claims = claims();
        claims["iss"] = json!(issuer);
        let token = key.sign(&claims).unwrap();
        home.issuer = format!(
            "keys = {{ file = \"issuer.jwks.json\" }}\n[[realms.edfi.issuers]]\nissuer = \"{issuer}\"\naudiences = []\n\
             algorithms = [\"EdDSA\"]\ndiscovery = \"{kind}\"\nkeys = {{ refetch_seconds = 1, refetch_burst = 10 }}\nca_file = \"ca.pem\"\n"
        );
        let service = home.start().await;
        let publish = |named: String, keys: String| {
            let (document, jwks) = (json!({"issuer": named, "jwks_uri": keys}).to_string(), key.jwks());
            server.answer(move |request| match request.path() {
                "/keys" => Reply::Json(jwks.clone()),
                path if path == well_known => Reply::Json(document.clone()),
                _ => Reply::Status(404, String::new()),
            });
        };
        let own = format!("{origin}/keys");
        for (named, keys) in [
            (issuer.clone(), format!("{}/keys", elsewhere.url)),
            (format!("{issuer}/"), own.clone()),
            (issuer.clone(), own.replace("https", "http")),
        ] {
            publish(named, keys);
            let status = ask(&service, &token).await.unwrap_err();
            assert_eq!(status.code(), Code::Unavailable, "{kind}: {status}");
        }
        publish(issuer.clone(), own);
        eventually("the keys are found", async || ask(&service, &token).await.is_ok_and(|code| code.is_none())).await;
    }
    assert_eq!(elsewhere.requests(), 0);
}
