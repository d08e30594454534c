//! What callers show, good and bad, over gRPC and HTTP: in no answer, log, metric or file, nor in what the command line says.
//! Names in certificates are no secret; keys are.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use hallpass::app::ports::Clock as _;
use hallpass::proto::v1 as pb;
use hallpass::proto::v1::authorization_service_client::AuthorizationServiceClient;
use hallpass::proto::v1::decision_log_service_client::DecisionLogServiceClient;
use hallpass::proto::v1::policy_service_client::PolicyServiceClient;
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use rustls::ClientConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::transport::Channel;
use tonic::{Request, Status};

use super::pki::{Good, Pair, channel, connect};
use super::{Secured, caller_with_key};
use crate::applications::files_with;
use crate::support::REALM;

/// Stands in every key and token here.
const CANARY: &str = "c4n4ry";

/// The key of a caller; the configuration has its digest.
const KEY: &str = "c4n4ry-key-0123456789012345678901234567890";

/// A service in a process of its own, because the log is that of a process.
struct Process {
    running: Child,
    grpc: u16,
    http: u16,
}

impl Process {
    fn start(secured: &Secured) -> Self {
        let mut command = secured.home.command("serve");
        let log = File::create(secured.home.path("stderr.txt")).unwrap();
        let mut process = command.stdout(Stdio::piped()).stderr(log).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut port = || {
            let line = lines.next().expect("the service starts").unwrap();
            line.rsplit_once(':').unwrap().1.parse().unwrap()
        };
        let (grpc, http) = (port(), port());
        Self { running: process, grpc, http }
    }

    async fn stop(mut self) {
        let pid = i32::try_from(self.running.id()).unwrap();
        rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::TERM)
            .unwrap();
        let ended = loop {
            if let Some(status) = self.running.try_wait().unwrap() {
                break status;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        assert!(ended.success(), "{ended}");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Of a test that fails nothing is left behind.
        self.running.kill().ok();
        self.running.wait().ok();
    }
}

/// What a call may bring in `authorization`, once or twice.
fn shown(key: &LocalKey) -> Vec<Vec<String>> {
    let now_seconds = SystemClock.now_seconds();
    let token = |subject: &str, until: i64| {
        let claims = json!({ "iss": "https://callers.example", "aud": "pdp", "sub": subject, "exp": until });
        key.sign(&claims).unwrap()
    };
    let good = token("bus", now_seconds + 600);
    let [header, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("no JWT") };
    let other_key = LocalKey::generate().unwrap();
    let forged = other_key.sign(&json!({ "iss": "https://callers.example", "sub": CANARY, "exp": 1 })).unwrap();
    let bearer = |key: &str| format!("Bearer {key}");
    vec![
        vec![],
        vec![bearer(KEY)],
        vec![bearer(&format!("{KEY}-and-more"))],
        vec![bearer(&KEY.repeat(50))],
        vec![format!("Basic {CANARY}")],
        vec![CANARY.to_owned()],
        vec![bearer(KEY), bearer(&format!("{CANARY}-second"))],
        vec![bearer(&good)],
        vec![bearer(&token("bus", now_seconds - 600))],
        vec![bearer(&token(CANARY, now_seconds + 600))],
        vec![bearer(&format!("{header}.{payload}.{CANARY}"))],
        vec![bearer(&format!("{header}.{CANARY}.{signature}"))],
        vec![bearer(&format!("eyJ{CANARY}"))],
        vec![bearer(&forged)],
    ]
}

/// Makes a call of every kind with this, and returns all that was said.
async fn call(channel: &Channel, shown: &[String], question: &pb::AuthorizeRequest) -> String {
    let values: Vec<_> = shown.iter().map(|value| value.parse().unwrap()).collect();
    let bring = move |mut request: Request<()>| -> Result<Request<()>, Status> {
        for value in &values {
            request.metadata_mut().append("authorization", tonic::metadata::MetadataValue::clone(value));
        }
        Ok(request)
    };
    let mut questions = AuthorizationServiceClient::with_interceptor(channel.clone(), bring.clone());
    let mut log = DecisionLogServiceClient::with_interceptor(channel.clone(), bring.clone());
    let mut policies = PolicyServiceClient::with_interceptor(channel.clone(), bring);
    let query = pb::QueryDecisionsRequest { realm: REALM.to_owned(), ..pb::QueryDecisionsRequest::default() };
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        questions.authorize(question.clone()).await,
        questions.batch_authorize(pb::BatchAuthorizeRequest::default()).await,
        log.query_decisions(query).await,
        policies.list_realms(pb::ListRealmsRequest {}).await,
        policies.reload_policies(pb::ReloadPoliciesRequest { realm: REALM.to_owned() }).await,
    )
}

/// Makes HTTP requests with this, and returns all that was said.
async fn request(port: u16, config: &Arc<ClientConfig>, shown: &[String]) -> String {
    let mut config = ClientConfig::clone(config);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let (config, mut said) = (Arc::new(config), String::new());
    let headers: String = shown.iter().flat_map(|value| ["Authorization: ", value, "\r\n"]).collect();
    for line in ["GET /metrics", "POST /v1/Authorize", "POST /v1/ListRealms", "POST /edfi/access/v1/evaluation"] {
        let mut stream = connect(port, &config).await.unwrap();
        let body = if line.starts_with("POST") { "{}" } else { "" };
        let request = format!(
            "{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.ok();
        said.push_str(&String::from_utf8_lossy(&answer));
    }
    said
}

/// Runs verbs that show a key or a certificate, and returns all that they said.
fn command_line(secured: &Secured, port: u16) -> String {
    let address = format!("https://localhost:{port}");
    let reload = ["reload", "--address", &address, "--ca", "own.pem"];
    let with_key = [&reload[..], &["--token-file", "keys/one"]].concat();
    let with_wrong_key = [&reload[..], &["--token-file", "keys/wrong"]].concat();
    let with_pair = [&reload[..], &["--cert", "keys/gateway.pem", "--key", "keys/gateway.key"]].concat();
    let unfit = [&reload[..], &["--cert", "own.pem", "--key", "keys/gateway.key"]].concat();
    let unreadable = [&reload[..], &["--cert", "keys/gateway.pem", "--key", "keys/one"]].concat();
    let mut said = String::new();
    for arguments in [&with_key, &with_wrong_key, &with_pair, &unfit, &unreadable, &vec!["doctor", "--output", "json"]]
    {
        let output = secured.home.command(arguments[0]).args(&arguments[1..]).output().unwrap();
        for bytes in [output.stdout, output.stderr] {
            said.push_str(&String::from_utf8(bytes).unwrap());
        }
    }
    said
}

/// The lines of a key that nobody else would write.
fn lines_of(pair: &Pair) -> Vec<String> {
    pair.key.lines().filter(|line| line.len() > 30 && !line.starts_with('-')).map(str::to_owned).collect()
}

/// A service with callers of all sorts, whose own keys are in the folder `keys`; and certificates: the gateway's, one that was
/// taken back, and one that is past.
fn secured(issuer: &LocalKey) -> (Secured, [Pair; 3]) {
    let tables = format!(
        "[[authentication.issuers]]\nissuer = \"https://callers.example\"\naudiences = [\"pdp\"]\nalgorithms = [\"EdDSA\"]\n\
         keys = {{ file = \"callers.jwks.json\" }}\n\
         [callers.bus]\nroles = [\"enforcer\"]\ntoken = {{ issuer = \"https://callers.example\", subject = \"bus\" }}\n\
         [callers.gateway]\nroles = [\"enforcer\", \"operator\"]\nsubject = \"CN=gateway,O=North\"\n{}\
         [log]\nlevel = \"trace\"\n",
        caller_with_key(KEY, "\"enforcer\", \"monitor\", \"auditor\"", "")
            .replace(&format!("callers.{KEY}"), "callers.one")
    );
    let mut secured = Secured::new("client_crl = \"revoked.pem\"\n", &tables);
    secured.home.keys.push_str("http_address = \"127.0.0.1:0\"\n");
    let path = |name: &str| secured.home.path(name);
    let gateway = secured.clients.client("gateway", &[], Good::Now);
    let gone = secured.clients.client("gone", &[], Good::Now);
    let past = secured.clients.client("past", &[], Good::NoMore);
    fs::write(path("revoked.pem"), secured.clients.revoking(&[&gone], Good::Now)).unwrap();
    fs::write(path("callers.jwks.json"), issuer.jwks()).unwrap();
    fs::create_dir(path("keys")).unwrap();
    for (name, content) in [
        ("one", KEY),
        ("wrong", &*format!("{CANARY}-wrong")),
        ("gateway.pem", &gateway.certificate),
        ("gateway.key", &gateway.key),
    ] {
        fs::write(path("keys").join(name), content).unwrap();
    }
    (secured, [gateway, gone, past])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_key_or_token_of_a_caller_is_ever_written_or_shown() {
    let issuer = LocalKey::generate().unwrap();
    let (secured, [gateway, gone, past]) = secured(&issuer);
    let path = |name: &str| secured.home.path(name);
    let service_key = fs::read_to_string(path("server.key")).unwrap();
    let process = Process::start(&secured);

    let (question, shown) = (secured.question(), shown(&issuer));
    let mut said = Vec::new();
    for pair in [None, Some(&gateway), Some(&secured.clients.client("stranger", &[], Good::Now))] {
        let config = secured.own.trusting(pair);
        let channel = channel(process.grpc, &config).await.unwrap();
        for shown in &shown {
            said.push(call(&channel, shown, &question).await);
            said.push(request(process.http, &config, shown).await);
        }
    }
    for refused in [&gone, &past] {
        // Whether it is refused at once or with its first call is the library's to say.
        if let Ok(channel) = channel(process.grpc, &secured.showing(refused)).await {
            said.push(call(&channel, &[], &question).await);
        }
    }
    said.push(command_line(&secured, process.grpc));
    tokio::time::timeout(Duration::from_secs(60), process.stop()).await.unwrap();
    let said = said.concat();
    for code in [
        "CALLER_KEY_MISSING",
        "CALLER_KEY_UNKNOWN",
        "CALLER_TOKEN_INVALID",
        "CALLER_TOKEN_UNKNOWN",
        "CALLER_CERTIFICATE_UNKNOWN",
        "CALLER_AMBIGUOUS",
        "CALLER_NOT_PERMITTED",
        "authz_callers_refused",
        "reloaded",
    ] {
        assert!(said.contains(code), "nothing was {code}");
    }

    let mut secrets: Vec<String> = vec![CANARY.to_owned()];
    for shown in shown.iter().flatten() {
        secrets.extend(shown.split(['.', ' ']).filter(|part| part.len() > 60).map(str::to_owned));
    }
    let own = Pair { certificate: String::new(), key: service_key };
    for pair in [&own, &gateway, &gone, &past] {
        secrets.extend(lines_of(pair));
    }
    assert!(secrets.len() > 8, "{}", secrets.len());
    let told: Vec<_> = secrets.iter().filter(|secret| said.contains(*secret)).collect();
    assert!(told.is_empty(), "{told:?} was told");
    // What brought them in goes, and nothing else may have them.
    fs::remove_dir_all(path("keys")).unwrap();
    fs::remove_file(path("server.key")).unwrap();
    let secrets: Vec<&str> = secrets.iter().map(String::as_str).collect();
    assert!(fs::read_to_string(path("stderr.txt")).unwrap().contains("a handshake failed"), "the log says much");
    assert_eq!(files_with(&path(""), &secrets), Vec::<String>::new());
}
