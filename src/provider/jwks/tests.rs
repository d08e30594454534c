use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex as StdMutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use super::*;
use crate::domain::issuer::{KeyLocation, Refetch};
use crate::domain::key_set::JWKS_BYTES_MAX;
use crate::provider::clock::FixedClock;
use crate::provider::signer::LocalKey;

const ISSUER: &str = "https://issuer.example/";
const HOUR: i64 = 3600;

/// A key server on this machine that answers every request with what it is told to, and counts them.
struct KeyServer {
    url: String,
    answer: Arc<StdMutex<Vec<u8>>>,
    requests: Arc<AtomicU64>,
}

impl KeyServer {
    fn start(answer: impl Into<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let server = Self { url, answer: Arc::new(StdMutex::new(answer.into())), requests: Arc::default() };
        let (answer, requests) = (Arc::clone(&server.answer), Arc::clone(&server.requests));
        thread::spawn(move || {
            for connection in listener.incoming() {
                requests.fetch_add(1, Ordering::SeqCst);
                let answer = answer.lock().unwrap().clone();
                // The other side hangs up in the middle of an answer that is too long.
                drop(serve(connection.unwrap(), &answer));
            }
        });
        server
    }

    fn answer(&self, answer: impl Into<Vec<u8>>) {
        *self.answer.lock().unwrap() = answer.into();
    }

    fn requests(&self) -> u64 {
        self.requests.load(Ordering::SeqCst)
    }
}

fn serve(mut connection: TcpStream, answer: &[u8]) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        connection.read_exact(&mut byte)?;
        request.extend(byte);
    }
    connection.write_all(answer)
}

fn ok(json: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{json}", json.len())
}

/// Keys of one issuer in one realm, a clock that stands still, and the number of rotations that were told.
struct House {
    jwks: Jwks,
    clock: Arc<FixedClock>,
    rotations: Arc<AtomicU64>,
}

impl House {
    fn new(keys: KeyLocation) -> Self {
        let (clock, rotations) = (Arc::new(FixedClock::at_seconds(1_790_000_000)), Arc::new(AtomicU64::new(0)));
        let told = Arc::clone(&rotations);
        let listener = move |_: &RealmName| {
            told.fetch_add(1, Ordering::SeqCst);
        };
        let outside = Outside {
            clock: Arc::clone(&clock) as _,
            listener: Box::new(listener),
            patience: Duration::ZERO,
            meter: Arc::new(crate::app::ports::meter::Uncounted),
        };
        let jwks = Jwks { sources: ArcSwap::default(), outside: Arc::new(outside) };
        jwks.set_issuers(&realm(), &[issuer(keys)]);
        Self { jwks, clock, rotations }
    }

    fn of(server: &KeyServer) -> Self {
        Self::new(KeyLocation::Url(server.url.clone()))
    }

    async fn keys(&self, kid: &str) -> Result<Arc<KeySet>, KeyError> {
        self.jwks.keys(&realm(), ISSUER, Some(kid)).await
    }

    async fn knows(&self, kid: &str) -> bool {
        self.keys(kid).await.unwrap().contains(kid)
    }

    /// The set surely lacks the key; `None` where nobody can say.
    async fn lacks(&self, kid: &str) -> Option<bool> {
        self.keys(kid).await.ok().map(|keys| !keys.contains(kid))
    }

    async fn fault(&self) -> String {
        let KeyError::Unavailable { reason, .. } = self.jwks.keys(&realm(), ISSUER, None).await.unwrap_err();
        reason
    }

    /// Waits for a fetch that was started in passing, if there is one.
    async fn settle(&self) {
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        let source = self.jwks.source(&realm(), ISSUER).unwrap();
        source.refresh(&self.jwks.outside).await;
    }

    fn rotations(&self) -> u64 {
        self.rotations.load(Ordering::SeqCst)
    }
}

fn realm() -> RealmName {
    "district".parse().unwrap()
}

fn issuer(keys: KeyLocation) -> Issuer {
    Issuer::new(ISSUER, &[], keys)
}

#[tokio::test]
async fn an_unknown_key_id_leads_to_one_fetch_within_the_request() {
    let (old, new) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let server = KeyServer::start(ok(&old.jwks()));
    let house = House::of(&server);
    assert!(house.knows(old.key_id()).await);
    assert!(house.knows(old.key_id()).await);
    assert_eq!((server.requests(), house.rotations()), (1, 0));

    server.answer(ok(&new.jwks()));
    assert!(house.knows(new.key_id()).await);
    assert_eq!((server.requests(), house.rotations()), (2, 1));
    assert_eq!(house.lacks(old.key_id()).await, Some(true), "a removed key stops at the next fetch");
    assert_eq!((server.requests(), house.rotations()), (2, 1));
    house.clock.advance_seconds(30);
    assert_eq!(house.lacks(old.key_id()).await, Some(true));
    assert_eq!((server.requests(), house.rotations()), (3, 1), "the same set again is no rotation");
}

#[tokio::test]
async fn made_up_key_ids_cannot_exceed_the_allowance_and_leave_a_fetch_for_a_rotation() {
    let (old, new) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let server = KeyServer::start(ok(&old.jwks()));
    let house = House::of(&server);
    assert!(house.knows(old.key_id()).await);
    assert_eq!(house.lacks("made up").await, Some(true));
    for number in 0..50 {
        assert_eq!(house.lacks(&format!("made up {number}")).await, None, "nobody looked, so nobody can say");
    }
    assert_eq!(house.lacks("made up").await, Some(true), "that was looked for not long ago");
    assert_eq!(server.requests(), 2);
    assert!(house.knows(old.key_id()).await);

    server.answer(ok(&new.jwks()));
    assert_eq!(house.lacks(new.key_id()).await, None);
    assert!(house.knows(new.key_id()).await, "a key that two ask for is worth the fetch that was kept");
    assert_eq!((server.requests(), house.rotations()), (3, 1));
    assert_eq!(house.lacks(old.key_id()).await, Some(true), "a key that was taken out is known not to be there");
    assert_eq!(server.requests(), 3);

    house.clock.advance_seconds(59);
    assert_eq!(house.lacks("another").await, None);
    house.clock.advance_seconds(1);
    assert_eq!(house.lacks("one more").await, Some(true));
    assert_eq!(house.lacks("yet another").await, None);
    assert_eq!(server.requests(), 4);
    house.clock.advance_seconds(-HOUR);
    assert_eq!(house.lacks("the last one").await, None, "a clock that is set back earns nothing");
    assert_eq!(server.requests(), 4);
    assert!(house.knows(new.key_id()).await);
}

#[tokio::test]
async fn a_key_that_cannot_be_looked_for_is_unavailable_and_not_absent() {
    let key = LocalKey::generate().unwrap();
    let server = KeyServer::start(ok(&key.jwks()));
    let house = House::of(&server);
    assert!(house.knows(key.key_id()).await);
    for answer in ["HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n", "", "nonsense"] {
        server.answer(answer);
        house.clock.advance_seconds(60);
        assert_eq!(house.lacks("another").await, None, "{answer}");
        assert!(house.knows(key.key_id()).await);
    }
}

#[tokio::test]
async fn a_request_waits_for_a_fetch_that_is_soon_earned() {
    let (old, new) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let server = KeyServer::start(ok(&old.jwks()));
    let mut issuer = issuer(KeyLocation::Url(server.url.clone()));
    issuer.refetch = Refetch { seconds: 1, burst: 1, ..Refetch::default() };
    let jwks = Jwks::new(Arc::new(crate::provider::clock::SystemClock), Box::new(|_| ()));
    jwks.set_issuers(&realm(), &[issuer]);
    assert!(jwks.keys(&realm(), ISSUER, Some(old.key_id())).await.unwrap().contains(old.key_id()));
    server.answer(ok(&new.jwks()));
    assert!(jwks.keys(&realm(), ISSUER, Some(new.key_id())).await.unwrap().contains(new.key_id()));
    assert_eq!(server.requests(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_share_one_fetch() {
    let key = LocalKey::generate().unwrap();
    let server = KeyServer::start(ok(&key.jwks()));
    let house = Arc::new(House::of(&server));
    let mut callers = JoinSet::new();
    for _ in 0..50 {
        let (house, kid) = (Arc::clone(&house), key.key_id().to_owned());
        callers.spawn(async move { house.knows(&kid).await });
    }
    assert!(callers.join_all().await.into_iter().all(|is_known| is_known));
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn a_set_that_is_due_is_used_while_it_is_fetched_again_and_a_fresh_one_is_not_fetched() {
    let key = LocalKey::generate().unwrap();
    let answer = ok(&key.jwks()).replace("\r\nconn", "\r\ncache-control: public, max-age=600\r\nconn");
    let server = KeyServer::start(answer);
    let house = House::of(&server);
    for (passed, requests) in [(0, 1), (479, 1), (1, 2), (479, 2), (1, 3)] {
        house.clock.advance_seconds(passed);
        assert!(house.knows(key.key_id()).await);
        house.settle().await;
        assert_eq!(server.requests(), requests);
    }
}

#[tokio::test]
async fn old_keys_serve_for_a_day_when_the_server_fails() {
    let key = LocalKey::generate().unwrap();
    let server = KeyServer::start(ok(&key.jwks()));
    let house = House::of(&server);
    assert!(house.knows(key.key_id()).await);
    server.answer("HTTP/1.1 500 Oops\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
    for _ in 0..23 {
        house.clock.advance_seconds(HOUR);
        assert!(house.knows(key.key_id()).await);
    }
    assert_eq!(house.rotations(), 0);
    house.clock.advance_seconds(HOUR);
    assert_eq!(house.fault().await, "the key set: the server answered 500");
    assert_eq!(house.rotations(), 1, "what was verified with the lost keys is to be forgotten");
    server.answer(ok(&key.jwks()));
    house.clock.advance_seconds(30);
    assert!(house.knows(key.key_id()).await);
}

#[tokio::test]
async fn keys_in_use_are_renewed_before_they_are_stale() {
    let (old, new) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    let server = KeyServer::start(ok(&old.jwks()));
    let house = House::of(&server);
    house.jwks.refresh_due().await;
    assert_eq!(server.requests(), 0, "keys that nobody asked for are not fetched");
    assert!(house.knows(old.key_id()).await);
    server.answer(ok(&new.jwks()));
    house.clock.advance_seconds(HOUR * 8 / 10 - 1);
    house.jwks.refresh_due().await;
    assert_eq!((server.requests(), house.rotations()), (1, 0));
    house.clock.advance_seconds(1);
    house.jwks.refresh_due().await;
    assert_eq!((server.requests(), house.rotations()), (2, 1));
    assert!(house.knows(new.key_id()).await);
}

#[tokio::test]
async fn lost_keys_are_given_up_even_when_nobody_asks() {
    let key = LocalKey::generate().unwrap();
    let server = KeyServer::start(ok(&key.jwks()));
    let house = House::of(&server);
    assert!(house.knows(key.key_id()).await);
    server.answer("");
    house.clock.advance_seconds(24 * HOUR);
    house.jwks.refresh_due().await;
    assert_eq!(house.rotations(), 1);
}

#[tokio::test]
async fn answers_that_are_not_a_sound_key_set_are_refused() {
    let key = LocalKey::generate().unwrap();
    let huge = format!("{{\"keys\":[]{}}}", " ".repeat(JWKS_BYTES_MAX));
    let elsewhere = KeyServer::start(ok(&key.jwks()));
    let redirect = format!("HTTP/1.1 302 Found\r\nlocation: {}\r\ncontent-length: 0\r\n\r\n", elsewhere.url);
    let private = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"","d":""}]}"#;
    for (answer, reason) in [
        (ok(&huge), "the key set is larger than 256 KiB"),
        (format!("HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n{huge}"), "the key set is larger than 256 KiB"),
        (redirect, "the key set: the server answered 302; redirects are not followed"),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n".into(), "the key set: the server answered 404"),
        (ok("<html>"), "the key set is not JSON"),
        (ok(private), "the key set holds the private part of a key"),
        (String::new(), "the key set: error sending request"),
        (ok(&key.jwks()).replace("content-length: ", "content-length: 9"), "the key set: error"),
    ] {
        let fault = House::of(&KeyServer::start(answer)).fault().await;
        assert!(fault.starts_with(reason), "{fault}");
    }
    assert_eq!(elsewhere.requests(), 0);
}

#[tokio::test]
async fn a_server_that_cannot_be_reached_is_named_without_its_url() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    for url in [format!("http://user:s3cret@127.0.0.1:{port}/s3cret"), format!("https://user:s3cret@127.0.0.1:{port}/")]
    {
        let fault = House::new(KeyLocation::Url(url)).fault().await;
        assert!(!fault.contains("s3cret"), "{fault}");
    }
    let fault = House::new(KeyLocation::Url("http://issuer.example/jwks".into())).fault().await;
    assert_eq!(fault, "the URL of the key set must begin with `https://`, or lead to this machine");
}

#[tokio::test]
async fn a_file_is_read_at_first_use_and_again_for_an_unknown_key_id() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let house = House::new(KeyLocation::File(path.clone()));
    assert!(house.fault().await.starts_with(&format!("the key file `{}` cannot be read: ", path.display())));

    let (old, new) = (LocalKey::generate().unwrap(), LocalKey::generate().unwrap());
    fs::write(&path, old.jwks()).unwrap();
    assert!(house.knows(old.key_id()).await);
    fs::write(&path, new.jwks()).unwrap();
    assert!(house.knows(old.key_id()).await);
    house.clock.advance_seconds(30);
    assert!(house.knows(new.key_id()).await);
    assert_eq!(house.rotations(), 1);
    assert_eq!(house.lacks("made up").await, None, "the allowance holds for files too");
    fs::write(&path, old.jwks()).unwrap();
    house.jwks.set_issuers(&realm(), &[issuer(KeyLocation::File(path))]);
    assert!(house.knows(old.key_id()).await, "a reload reads files again");
}

#[tokio::test]
async fn a_reload_keeps_the_keys_of_issuers_that_stay() {
    let key = LocalKey::generate().unwrap();
    let server = KeyServer::start(ok(&key.jwks()));
    let house = House::of(&server);
    assert!(house.knows(key.key_id()).await);
    server.answer("");
    house.jwks.set_issuers(&realm(), &[issuer(KeyLocation::Url(server.url.clone()))]);
    assert!(house.knows(key.key_id()).await);
    house.settle().await;
    assert!(server.requests() > 1 && house.rotations() == 0, "they are fetched again, and kept when that fails");
    assert!(house.knows(key.key_id()).await);

    let moved = KeyServer::start(ok(&LocalKey::generate().unwrap().jwks()));
    house.jwks.set_issuers(&realm(), &[issuer(KeyLocation::Url(moved.url.clone()))]);
    assert!(!house.knows(key.key_id()).await);
    house.jwks.set_issuers(&realm(), &[]);
    assert_eq!(house.fault().await, "the realm has no such issuer");
}

#[tokio::test]
async fn an_issuer_belongs_to_the_realm_that_lists_it() {
    let key = LocalKey::generate().unwrap();
    let server = KeyServer::start(ok(&key.jwks()));
    let house = House::of(&server);
    assert!(house.knows(key.key_id()).await);
    let other = house.jwks.keys(&"elsewhere".parse().unwrap(), ISSUER, Some(key.key_id())).await;
    assert!(other.is_err());
    assert!(house.jwks.keys(&realm(), "https://issuer.example", Some(key.key_id())).await.is_err());
    assert_eq!(server.requests(), 1);
}
