//! The service as a process of its own: a folder with its configuration, keys and data; clients; tokens; questions.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use hallpass::app::ports::Clock;
use hallpass::config::{Config, Environment, Flags};
use hallpass::proto::v1::authorization_service_client::AuthorizationServiceClient;
use hallpass::proto::v1::decision_log_service_client::DecisionLogServiceClient;
use hallpass::proto::v1::policy_service_client::PolicyServiceClient;
use hallpass::proto::v1::privacy_service_client::PrivacyServiceClient;
use hallpass::proto::v1::relationship_service_client::RelationshipServiceClient;
use hallpass::proto::v1::{self as pb, value::Kind};
use hallpass::provider::clock::SystemClock;
use hallpass::provider::signer::LocalKey;
use serde_json::json;
use tempfile::TempDir;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// The realm of every configuration here.
pub(crate) const REALM: &str = "edfi";

/// Whose tokens the service takes.
pub(crate) const ISSUER: &str = "https://idp.example";

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// A folder with all that a service needs; one realm, whose issuer's key is at hand.
#[derive(Debug)]
pub(crate) struct Home {
    folder: TempDir,
    key: LocalKey,
    /// The realm's folder.
    pub(crate) rules: PathBuf,
    /// The variant of the realm.
    pub(crate) variant: Option<&'static str>,
    /// Further keys of the realm.
    pub(crate) realm_keys: String,
    /// The data folder.
    pub(crate) data: PathBuf,
    /// The address to listen on.
    pub(crate) address: String,
    /// Keys that come before the first table.
    pub(crate) keys: String,
    /// Further tables.
    pub(crate) tables: String,
    /// What the configuration says of the issuer beside its name, audiences and algorithms.
    pub(crate) issuer: String,
}

/// A service that did not start.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// A running service; ends with the value.
#[derive(Debug)]
pub(crate) struct Service {
    process: Child,
    /// Host and port.
    pub(crate) address: String,
    /// Where HTTP is spoken, if it is: `http://` with host and port.
    pub(crate) http: Option<String>,
    /// Where monitors ask, if they may, likewise.
    pub(crate) monitored: Option<String>,
    channel: Channel,
    /// The local admin token.
    pub(crate) admin: Bearer,
    log: PathBuf,
}

/// Shows a key with every call.
#[derive(Clone, Debug)]
pub(crate) struct Bearer(MetadataValue<Ascii>);

impl Bearer {
    /// Shows this key.
    pub(crate) fn new(key: &str) -> Self {
        Self(format!("Bearer {}", key.trim()).parse().unwrap())
    }
}

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A client of the decision log that shows a key.
pub(crate) type DecisionLogClient = DecisionLogServiceClient<InterceptedService<Channel, Bearer>>;

/// A service that said where it listens.
struct Spawned {
    process: Child,
    address: String,
    http: Option<String>,
    monitored: Option<String>,
    log: PathBuf,
}

impl Home {
    /// The Ed-Fi rules, an empty data folder, any free port, decisions kept before they are answered.
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = LocalKey::generate().unwrap();
        fs::write(folder.path().join("issuer.jwks.json"), key.jwks()).unwrap();
        Self {
            rules: Path::new(env!("CARGO_MANIFEST_DIR")).join("policies/edfi"),
            variant: None,
            realm_keys: String::new(),
            data: folder.path().join("data"),
            address: "127.0.0.1:0".to_owned(),
            keys: String::new(),
            tables: "[decision_log]\nmode = \"strict\"\n".to_owned(),
            issuer: "keys = { file = \"issuer.jwks.json\" }\n".to_owned(),
            folder,
            key,
        }
    }

    /// A path in the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Takes a copy of the realm's folder, to be changed; its own tests stay behind.
    pub(crate) fn copy_rules(&mut self) -> PathBuf {
        let copy = self.path("rules");
        fs::create_dir(&copy).unwrap();
        for entry in fs::read_dir(&self.rules).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                fs::copy(&path, copy.join(path.file_name().unwrap())).unwrap();
            }
        }
        self.rules.clone_from(&copy);
        copy
    }

    /// The configuration as it would be written now.
    fn settings(&self) -> String {
        let Self { keys, tables, address, issuer, realm_keys, .. } = self;
        let place = if self.rules.extension().is_some_and(|ending| ending == "tar") { "bundle" } else { "folder" };
        let (data, rules) = (json!(self.data), json!(self.rules));
        let variant = self.variant.map(|variant| format!("variant = \"{variant}\"\n")).unwrap_or_default();
        // It shares its processors with other tests, and sheds load for none of them but where a test says when.
        let patient = if tables.contains("[limits]") { "" } else { "[limits]\nwait_ms_max = 10000\n" };
        format!(
            "data_dir = {data}\ngrpc_address = \"{address}\"\n{keys}\n{tables}\n{patient}\n[realms.{REALM}]\n{place} = {rules}\n{variant}{realm_keys}\
             [[realms.{REALM}.issuers]]\nissuer = \"{ISSUER}\"\naudiences = []\nalgorithms = [\"EdDSA\"]\n\
             {issuer}"
        )
    }

    /// The configuration, for a service within this process.
    pub(crate) fn config(&self) -> Config {
        let file = self.path("hallpass.toml");
        fs::write(&file, self.settings()).unwrap();
        Config::load(&Flags { config: Some(file), ..Flags::default() }, &Environment::default()).unwrap()
    }

    /// A command of the binary in this folder, with this configuration, told nothing by the environment.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let config = self.path("hallpass.toml");
        fs::write(&config, self.settings()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_hallpass"));
        let is_ours = |name: &str| name.starts_with("HALLPASS_");
        std::env::vars().filter(|(name, _)| is_ours(name)).for_each(|(name, _)| {
            command.env_remove(name);
        });
        command.arg(verb).arg("--config").arg(config).current_dir(self.folder.path());
        command.stdin(Stdio::null());
        command
    }

    /// Starts the service and waits until it listens.
    pub(crate) async fn start(&self) -> Service {
        match self.spawn() {
            Ok(Spawned { process, address, http, monitored, log }) => {
                let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
                let channel = endpoint.connect().await.unwrap();
                let admin = Bearer::new(&fs::read_to_string(self.data.join("admin.token")).unwrap());
                Service { process, address, http, monitored, channel, admin, log }
            }
            Err(Refusal { code, stderr }) => panic!("the service did not start, exit code {code:?}:\n{stderr}"),
        }
    }

    /// Starts the service and kills it after a while, whatever it has come to.
    pub(crate) async fn start_and_kill(&self, after: Duration) {
        let mut command = self.command("serve");
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        tokio::time::sleep(after).await;
        process.kill().unwrap();
        process.wait().unwrap();
    }

    /// Starts the service, which must end by itself.
    pub(crate) fn start_in_vain(&self) -> Refusal {
        match self.spawn() {
            Ok(Spawned { mut process, address, .. }) => {
                process.kill().unwrap();
                process.wait().unwrap();
                panic!("the service started, on {address}")
            }
            Err(refusal) => refusal,
        }
    }

    fn spawn(&self) -> Result<Spawned, Refusal> {
        let log = self.path(&format!("stderr-{}.txt", SystemClock.now_us()));
        let mut command = self.command("serve");
        let mut process = command.stdout(Stdio::piped()).stderr(File::create(&log).unwrap()).spawn().unwrap();
        let mut line = String::new();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        lines.read_line(&mut line).unwrap();
        if let Some(address) = line.trim_end().strip_prefix("listening on ") {
            let mut second = String::new();
            if self.keys.contains("http_address") {
                lines.read_line(&mut second).unwrap();
            }
            let http = second.trim_end().strip_prefix("listening on ").map(str::to_owned);
            let mut last = String::new();
            if self.keys.contains("ops_address") {
                lines.read_line(&mut last).unwrap();
            }
            let monitored = last.trim_end().strip_prefix("monitored on ").map(str::to_owned);
            return Ok(Spawned { process, address: address.to_owned(), http, monitored, log });
        }
        let status = process.wait().unwrap();
        let stderr = fs::read_to_string(&log).unwrap();
        assert_eq!(line, "", "standard output is for the address alone");
        Err(Refusal { code: status.code(), stderr })
    }

    /// A token with these claims.
    pub(crate) fn sign(&self, claims: &serde_json::Value) -> String {
        self.key.sign(claims).unwrap()
    }

    /// A token of a client of this claim set with these organizations.
    pub(crate) fn token(&self, claim_set: &str, organizations: &[i64]) -> String {
        self.token_with(claim_set, organizations, &json!({}))
    }

    /// The same, with further claims.
    pub(crate) fn token_with(&self, claim_set: &str, organizations: &[i64], more: &serde_json::Value) -> String {
        let now_seconds = SystemClock.now_seconds();
        let ids: Vec<String> = organizations.iter().map(i64::to_string).collect();
        let mut claims = json!({
            "iss": ISSUER,
            "iat": now_seconds,
            "exp": now_seconds + 3600,
            "client_id": format!("{claim_set} of {}", ids.join(" and ")),
            "scope": claim_set,
            "educationOrganizationIds": ids.join(","),
            "namespacePrefixes": "uri://ed-fi.org",
        });
        for (name, claim) in more.as_object().unwrap() {
            claims[name] = claim.clone();
        }
        self.key.sign(&claims).unwrap()
    }
}

impl Service {
    pub(crate) fn authorization(&self) -> AuthorizationServiceClient<Channel> {
        AuthorizationServiceClient::new(self.channel.clone())
            .max_decoding_message_size(64 << 20)
            .max_encoding_message_size(64 << 20)
    }

    pub(crate) fn relationships(&self) -> RelationshipServiceClient<Channel> {
        RelationshipServiceClient::new(self.channel.clone()).max_encoding_message_size(64 << 20)
    }

    /// The decision log as the local admin reads it.
    pub(crate) fn decisions(&self) -> DecisionLogClient {
        self.decisions_as(self.admin.clone())
    }

    /// A client that erases and holds people, as the local admin.
    pub(crate) fn privacy(&self) -> PrivacyServiceClient<InterceptedService<Channel, Bearer>> {
        PrivacyServiceClient::with_interceptor(self.channel.clone(), self.admin.clone())
    }

    /// The decision log as who has this key reads it.
    pub(crate) fn decisions_as(&self, key: Bearer) -> DecisionLogClient {
        DecisionLogServiceClient::with_interceptor(self.channel.clone(), key).max_decoding_message_size(64 << 20)
    }

    /// What the health service says of the service as a whole.
    pub(crate) async fn health(&self) -> ServingStatus {
        self.health_of("").await
    }

    /// What the health service says of one of its names.
    pub(crate) async fn health_of(&self, service: &str) -> ServingStatus {
        let mut client = HealthClient::new(self.channel.clone());
        client.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner().status()
    }

    /// A client of the realms and their policies, without a key.
    pub(crate) fn policies(&self) -> PolicyServiceClient<Channel> {
        PolicyServiceClient::new(self.channel.clone())
    }

    /// The same, with a caller's key.
    pub(crate) fn policies_as(&self, key: Bearer) -> PolicyServiceClient<InterceptedService<Channel, Bearer>> {
        PolicyServiceClient::with_interceptor(self.channel.clone(), key)
    }

    /// What it wrote to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it without any warning, as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends a signal, for example `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        // The shell's own, which is there where no program of that name is.
        let command = format!("kill -{name} {}", self.process.id());
        assert!(Command::new("sh").args(["-c", &command]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.process.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "the service does not end:\n{}", self.stderr());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    /// Takes in records of one resource; none may be refused.
    pub(crate) async fn import(&self, resource: &str, records: &[String]) -> pb::ImportRecordsResponse {
        let parts: Vec<_> = records
            .chunks(1000)
            .map(|records| pb::ImportRecordsRequest {
                realm: REALM.to_owned(),
                resource: resource.to_owned(),
                records: records.to_vec(),
            })
            .collect();
        let answer = self.relationships().import_records(tokio_stream::iter(parts)).await.unwrap().into_inner();
        assert_eq!(answer.refused, 0, "{resource}: {:?}", answer.refusals);
        answer
    }

    /// Deletes records that are there.
    pub(crate) async fn delete(&self, resource: &str, records: &[String]) {
        let request = pb::DeleteRecordsRequest {
            realm: REALM.to_owned(),
            resource: resource.to_owned(),
            records: records.to_vec(),
            forget: false,
        };
        let answer = self.relationships().delete_records(request).await.unwrap().into_inner();
        assert_eq!(answer.deleted, records.len() as u64, "{resource}");
    }

    /// Loads the rules again; they must be good.
    pub(crate) async fn reload(&self) {
        let mut client = PolicyServiceClient::new(self.channel.clone());
        let request = pb::ReloadPoliciesRequest { realm: REALM.to_owned() };
        let answer = client.reload_policies(request).await.unwrap().into_inner();
        assert!(answer.faults.is_empty(), "{:?}", answer.faults);
    }

    pub(crate) async fn revision(&self) -> u64 {
        let request = pb::GetRevisionRequest { realm: REALM.to_owned() };
        self.relationships().get_revision(request).await.unwrap().into_inner().revision
    }

    /// All decisions about requests after the one of this number, the oldest first.
    pub(crate) async fn decisions_after(&self, sequence: u64) -> Vec<pb::DecisionRecord> {
        let mut client = self.decisions();
        let mut found = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = pb::QueryDecisionsRequest {
                realm: REALM.to_owned(),
                order: pb::DecisionOrder::NewestFirst.into(),
                kind: pb::RecordKind::Decision.into(),
                page_size: 1000,
                page_token,
                ..pb::QueryDecisionsRequest::default()
            };
            let page = client.query_decisions(request).await.unwrap().into_inner();
            assert!(page.complete, "a part of the decision log is damaged");
            let count = page.decisions.len();
            found.extend(page.decisions.into_iter().take_while(|decision| decision.sequence > sequence));
            page_token = page.next_page_token;
            if page_token.is_empty() || found.len() % 1000 > 0 || count == 0 {
                found.reverse();
                return found;
            }
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}

/// The question whether the token's holder may read an item of a type that is a person.
pub(crate) fn reading(token: &str, resource_type: &str, property: &str, id: &str) -> pb::AuthorizeRequest {
    let resource = pb::Resource {
        r#type: resource_type.to_owned(),
        id: id.to_owned(),
        attributes: [(property.to_owned(), text(id))].into(),
        has_attributes: true,
        ..pb::Resource::default()
    };
    pb::AuthorizeRequest {
        realm: REALM.to_owned(),
        token: token.to_owned(),
        action: "Read".to_owned(),
        resource: Some(resource),
        ..pb::AuthorizeRequest::default()
    }
}

/// The question whether the token's holder may read a student.
pub(crate) fn reading_student(token: &str, student: &str) -> pb::AuthorizeRequest {
    reading(token, "ed-fi/students", "studentUniqueId", student)
}

pub(crate) fn text(text: &str) -> pb::Value {
    pb::Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

pub(crate) fn entity(entity_type: &str, id: &str) -> pb::EntityReference {
    pb::EntityReference { r#type: entity_type.to_owned(), id: id.to_owned() }
}

/// That a student is enrolled at a school.
pub(crate) fn enrolled_at(student: &str, school: &str) -> pb::Relationship {
    pb::Relationship {
        subject: Some(entity("Student", student)),
        relation: "enrolled_at".to_owned(),
        object: Some(entity("EducationOrganization", school)),
    }
}

/// The record of a student's enrolment.
pub(crate) fn enrolment(student: &str, school: i64) -> String {
    json!({
        "entryDate": "2026-08-24",
        "schoolReference": { "schoolId": school },
        "studentReference": { "studentUniqueId": student },
    })
    .to_string()
}

/// A request that creates relationships.
pub(crate) fn creating(creates: Vec<pb::Relationship>) -> pb::WriteRelationshipsRequest {
    pb::WriteRelationshipsRequest { realm: REALM.to_owned(), creates, ..pb::WriteRelationshipsRequest::default() }
}

/// The fields that a refusal complains about.
pub(crate) fn fields_of(status: &Status) -> Vec<String> {
    let details = tonic_types::StatusExt::get_details_bad_request(status);
    details.into_iter().flat_map(|bad| bad.field_violations).map(|violation| violation.field).collect()
}

/// Waits until something is so.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let started = Instant::now();
    while !is_so().await {
        assert!(started.elapsed() < PATIENCE, "{what}: not so after {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
