//! The service within this process, with two realms that have the same small rules: one that is asked, one that is changed.

use std::cell::RefCell;
use std::fs;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use axum::Router;
use hallpass::app::caller::Presented;
use hallpass::app::ports::Clock as _;
use hallpass::config::{Config, Environment, Flags};
use hallpass::proto::v1 as pb;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use hallpass::server::{ADMIN_TOKEN, Service};
use hallpass::transport::{envoy, grpc, http as web};
use http::{HeaderMap, Request};
use http_body_util::{BodyExt as _, Full};
use prost::bytes::Bytes;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};
use tonic::service::Routes;
use tower::ServiceExt as _;

use super::realm::files;

/// The realm that is asked and never changed: the student `ada` is enrolled at the school `1`.
pub(crate) const ASKED: &str = "north";
/// The realm that is changed.
pub(crate) const CHANGED: &str = "south";

const ISSUER: &str = "https://issuer.example";

/// After so many calls another service is begun with: its log is as long as they made it.
const CALLS_MAX: u32 = 20_000;

/// What a gRPC call came to.
#[derive(Debug)]
pub(crate) struct Answered {
    /// The status (`grpc-status`); 0 is OK.
    pub(crate) code: u32,
    /// The bytes of the messages.
    pub(crate) messages: Vec<Bytes>,
}

/// What an HTTP request came to.
#[derive(Debug)]
pub(crate) struct Responded {
    /// The status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Bytes,
}

/// A service.
pub(crate) struct World {
    service: Service,
    routes: Routes,
    web: Router,
    _health: grpc::Health,
    runtime: Runtime,
    admin: String,
    calls: u32,
    /// A token of a teacher of the school `1`, good in both realms.
    pub(crate) token: String,
}

thread_local! {
    /// Never dropped by the end of its thread, where the runtime cannot be used any more.
    static WORLD: RefCell<Option<ManuallyDrop<World>>> = const { RefCell::new(None) };
    /// Its folder, which goes with the thread.
    static FOLDER: RefCell<Option<TempDir>> = const { RefCell::new(None) };
}

/// Does something with the service of this thread.
pub(crate) fn with<T>(work: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with_borrow_mut(|world| {
        if world.as_ref().is_some_and(|world| world.calls >= CALLS_MAX)
            && let Some(old) = world.take()
        {
            let World { service, runtime, .. } = ManuallyDrop::into_inner(old);
            drop(runtime.block_on(service.close()));
        }
        work(world.get_or_insert_with(|| ManuallyDrop::new(World::begin())))
    })
}

impl World {
    fn begin() -> Self {
        let folder = tempfile::tempdir().expect("a folder for the service");
        let path = |name: &str| folder.path().join(name);
        fs::create_dir_all(path("rules/tests")).expect("a folder for the realm");
        for file in files() {
            fs::write(path("rules").join(file.path), file.content).expect("the realm can be written");
        }
        let key = LocalKey::generate().expect("a key");
        fs::write(path("keys.json"), key.jwks()).expect("the keys can be written");
        let realm = |name: &str| {
            format!(
                "[realms.{name}]\nfolder = \"rules\"\n[[realms.{name}.issuers]]\nissuer = \"{ISSUER}\"\naudiences = []\n\
                 algorithms = [\"EdDSA\"]\nkeys = {{ file = \"keys.json\" }}\n"
            )
        };
        let settings = format!("data_dir = \"data\"\nwatch = \"off\"\n{}{}", realm(ASKED), realm(CHANGED));
        fs::write(path("hallpass.toml"), settings).expect("the configuration can be written");
        let flags = Flags { config: Some(path("hallpass.toml")), ..Flags::default() };
        let config = Config::load(&flags, &Environment::default()).unwrap_or_else(|error| panic!("{error}"));
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (service, routes, web, health) = runtime.block_on(async {
            let service = Service::open(&config).await.expect("the service opens");
            let app = Arc::clone(service.app());
            let (routes, health) =
                grpc::routes(Arc::clone(&app), &grpc::Options::default()).await.expect("the services");
            let checks = envoy::service(Arc::clone(&app), envoy::Options::default(), 1 << 20);
            let limits = web::Limits::default();
            let web = web::routes(app, limits, "http://127.0.0.1:1").expect("random bytes");
            let web = web.merge(web::json::routes(routes.clone(), limits));
            (service, routes.add_service(checks), web, health)
        });
        let now_seconds = SystemClock.now_seconds();
        let claims = serde_json::json!({
            "iss": ISSUER, "sub": "t-1", "schools": "1", "iat": now_seconds, "exp": now_seconds + 400_000,
        });
        let token = key.sign(&claims).expect("a token");
        let admin = fs::read_to_string(path("data").join(ADMIN_TOKEN)).expect("a key").trim().to_owned();
        FOLDER.set(Some(folder));
        let mut world = Self { service, routes, web, _health: health, runtime, admin, calls: 0, token };
        world.enrol();
        world
    }

    fn enrol(&mut self) {
        let end = |kind: &str, id: &str| Some(pb::EntityReference { r#type: kind.to_owned(), id: id.to_owned() });
        let enrolled = pb::Relationship {
            subject: end("Student", "ada"),
            relation: "enrolled_at".to_owned(),
            object: end("School", "1"),
        };
        let request = pb::WriteRelationshipsRequest {
            realm: ASKED.to_owned(),
            creates: vec![enrolled],
            ..pb::WriteRelationshipsRequest::default()
        };
        let answered =
            self.call("/hallpass.v1.RelationshipService/WriteRelationships", &prost::Message::encode_to_vec(&request));
        assert_eq!(answered.code, 0, "{answered:?}");
    }

    /// Makes a gRPC call with these bytes as its only message, as the local admin.
    pub(crate) fn call(&mut self, path: &str, message: &[u8]) -> Answered {
        self.calls += 1;
        let mut frame = vec![0];
        frame.extend(u32::try_from(message.len()).expect("a short message").to_be_bytes());
        frame.extend(message);
        let request = Request::post(path)
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .extension(self.presented())
            .body(Full::new(Bytes::from(frame)))
            .expect("a request");
        let routes = self.routes.clone();
        self.runtime.block_on(async {
            let Ok(response) = routes.oneshot(request).await;
            let (head, body) = response.into_parts();
            let body = body.collect().await.expect("an answer in memory");
            let code = |headers: &HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
            let code = body.trailers().and_then(code).or_else(|| code(&head.headers)).expect("a status");
            Answered { code, messages: messages(body.to_bytes()) }
        })
    }
}

impl World {
    /// Whoever calls is the local admin.
    fn presented(&self) -> Presented {
        Presented { key: Some(self.admin.as_str().into()), is_local: true, ..Presented::default() }
    }

    /// Makes an HTTP request with this body as JSON, as the local admin.
    pub(crate) fn post(&mut self, path: &str, body: &[u8]) -> Responded {
        self.calls += 1;
        let request = Request::post(path)
            .header("content-type", "application/json")
            .extension(self.presented())
            .body(Full::new(Bytes::copy_from_slice(body)))
            .expect("a request");
        let routes = self.web.clone();
        self.runtime.block_on(async {
            let Ok(response) = routes.oneshot(request).await;
            let status = response.status().as_u16();
            let body = response.into_body().collect().await.expect("an answer in memory").to_bytes();
            Responded { status, body }
        })
    }
}

/// The messages of a body.
fn messages(mut body: Bytes) -> Vec<Bytes> {
    let mut found = Vec::new();
    while let Some(prefix) = body.split_at_checked(5).map(|(prefix, _)| prefix) {
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        drop(body.split_to(5));
        found.push(body.split_to(length));
    }
    found
}
