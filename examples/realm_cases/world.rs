//! The service with one system's realm, brought to the facts of each case before it is asked.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use hallpass::app::ports::Clock as _;
use hallpass::proto::v1::{
    self as pb, application_service_client::ApplicationServiceClient,
    authorization_service_client::AuthorizationServiceClient, decision_log_service_client::DecisionLogServiceClient,
    policy_service_client::PolicyServiceClient, relationship_service_client::RelationshipServiceClient,
    search_resources_response::Part,
};
use hallpass::provider::clock::SystemClock;
use serde_json::{Value as Json, json};
use tempfile::TempDir;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

use crate::authorization_server::AuthorizationServer;
use crate::cases::{Audit, Case, CaseFile, Transport};
use crate::keys::Keys;
use crate::process::Process;
use crate::systems::{Facts, Issuer, Question, System};

/// What was answered.
#[derive(Debug)]
pub(crate) enum Answer {
    /// To one question; with what the decision log says otherwise than the case, for people.
    One(Box<pb::AuthorizeResponse>, Vec<String>),
    /// To each item.
    Items(Vec<pb::AuthorizeResponse>),
    /// To a question about a list.
    List(Box<pb::AuthorizeResponse>),
    /// To a question about the token: the HTTP status and the problem.
    TokenInfo { status: u16, problem: Json },
}

/// Shows the local admin token with every call.
#[derive(Clone, Debug)]
struct Admin(MetadataValue<Ascii>);

impl Interceptor for Admin {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A running service.
#[derive(Debug)]
pub(crate) struct World<'a> {
    system: &'a dyn System,
    keys: Keys,
    authorization_server: AuthorizationServer,
    folder: TempDir,
    channel: Channel,
    admin: Admin,
    /// The base URL of its HTTP listener.
    http: String,
    /// The files of the realm that follow from facts, as they are now.
    tables: BTreeMap<String, String>,
    /// What is stored now, by resource.
    records: BTreeMap<String, Vec<Json>>,
    applications: Vec<pb::Application>,
    _process: Process,
}

impl<'a> World<'a> {
    /// Starts the service with the system's realm as it ships, but for what follows from the file's facts.
    pub(crate) async fn start(file: &CaseFile, system: &'a dyn System) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(system.realm());
        let rules = folder.path().join("rules");
        copy(&source, &rules)?;
        let tables = system.tables(&file.facts)?;
        write_tables(&rules, &tables)?;
        let issuers = system.issuers(file)?;
        let secrets: Vec<String> =
            issuers.iter().filter(|issuer| issuer.has_secret).map(|issuer| issuer.name.clone()).collect();
        let keys = Keys::generate(file, &secrets, SystemClock.now_seconds())?;
        let authorization_server = AuthorizationServer::start().await?;
        let config = configuration(folder.path(), system.realm(), &issuers, &keys, &authorization_server)?;
        fs::write(folder.path().join("hallpass.toml"), config)?;
        let process = Process::start(folder.path(), 2)?;
        let [grpc, http] = &process.addresses[..] else { anyhow::bail!("the service has not two listeners") };
        let http = format!("http://{}", http.trim_start_matches("http://"));
        let channel = Endpoint::from_shared(format!("http://{grpc}"))?.connect().await;
        let channel = channel.context("cannot connect to the service")?;
        let token = fs::read_to_string(folder.path().join("data/admin.token")).context("no local admin token")?;
        let admin = Admin(format!("Bearer {}", token.trim()).parse()?);
        Ok(Self {
            system,
            keys,
            authorization_server,
            folder,
            channel,
            admin,
            http,
            tables,
            records: BTreeMap::new(),
            applications: Vec::new(),
            _process: process,
        })
    }

    /// Brings the service to the facts of a case and asks it.
    pub(crate) async fn ask(&mut self, case: &Case, facts: &Facts) -> anyhow::Result<Answer> {
        self.set_tables(facts).await?;
        self.set_records(facts).await?;
        self.set_applications(facts).await?;
        let credentials = self.credentials(case)?;
        match self.system.question(case, facts)? {
            Question::One(question) => self.authorize(credentials.on(question), case.expect.audit.as_ref()).await,
            Question::Items(items) => {
                let defaults = Some(credentials.on(pb::AuthorizeRequest::default()));
                let request = pb::BatchAuthorizeRequest { defaults, items };
                let mut client = AuthorizationServiceClient::new(self.channel.clone());
                let results = client.batch_authorize(request).await?.into_inner().results;
                let answers = results.into_iter().map(|result| match result.result {
                    Some(pb::batch_authorize_result::Result::Response(response)) => Ok(response),
                    other => anyhow::bail!("an item was not answered: {other:?}"),
                });
                Ok(Answer::Items(answers.collect::<Result<_, _>>()?))
            }
            Question::List(mut search) => {
                let Credentials { realm, token, scheme, query_token } = credentials;
                (search.realm, search.token, search.token_scheme, search.query_token) =
                    (realm, token, scheme, query_token);
                self.search(search).await
            }
            Question::TokenInfo { body } => self.token_info(&credentials, &body).await,
        }
    }

    async fn authorize(&self, question: pb::AuthorizeRequest, audit: Option<&Audit>) -> anyhow::Result<Answer> {
        let realm = question.realm.clone();
        let mut client = AuthorizationServiceClient::new(self.channel.clone());
        let answer = client.authorize(question).await?.into_inner();
        let request = pb::GetDecisionRequest { realm, decision_id: answer.decision_id.clone() };
        let mut log = DecisionLogServiceClient::with_interceptor(self.channel.clone(), self.admin.clone());
        let record = log.get_decision(request).await?.into_inner().decision.context("the decision was not kept")?;
        let differences = match audit {
            Some(audit) => self.audit_differences(&record, audit).await?,
            None => Vec::new(),
        };
        Ok(Answer::One(Box::new(answer), differences))
    }

    /// Where the log names others than the case does. Of people it holds pseudonyms, so it is asked by their plain ids.
    async fn audit_differences(&self, record: &pb::DecisionRecord, audit: &Audit) -> anyhow::Result<Vec<String>> {
        let mut differences = Vec::new();
        if !self.is_found(record, audit, String::new()).await? {
            differences.push(format!("the log names {:?}, expected `{}`", record.principal, audit.subject));
        }
        let is_actor_right = match (&record.actor, &audit.actor) {
            (None, None) => true,
            (Some(_), Some(wanted)) => self.is_found(record, audit, wanted.clone()).await?,
            _ => false,
        };
        if !is_actor_right {
            differences.push(format!("the log names the actor {:?}, expected {:?}", record.actor, audit.actor));
        }
        Ok(differences)
    }

    /// The log finds the decision by whom it is about, and by who acted, if that is said.
    async fn is_found(&self, record: &pb::DecisionRecord, audit: &Audit, actor: String) -> anyhow::Result<bool> {
        let (realm, principal) = (self.system.realm().to_owned(), audit.subject.clone());
        let request = pb::QueryDecisionsRequest { realm, principal, actor, ..pb::QueryDecisionsRequest::default() };
        let mut log = DecisionLogServiceClient::with_interceptor(self.channel.clone(), self.admin.clone());
        let found = log.query_decisions(request).await?.into_inner().decisions;
        Ok(found.iter().any(|found| found.decision_id == record.decision_id))
    }

    async fn search(&self, search: pb::SearchResourcesRequest) -> anyhow::Result<Answer> {
        let mut client = AuthorizationServiceClient::new(self.channel.clone());
        let mut parts = client.search_resources(search).await?.into_inner();
        while let Some(part) = parts.message().await? {
            if let Some(Part::Answer(answer)) = part.part {
                return Ok(Answer::List(Box::new(answer)));
            }
        }
        anyhow::bail!("a search without an answer")
    }

    async fn token_info(&self, credentials: &Credentials, body: &str) -> anyhow::Result<Answer> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let request = client.post(format!("{}/oauth/token_info", self.http));
        let request = request.header("authorization", format!("{} {}", credentials.scheme, credentials.token));
        let response = request.json(&json!({ "token": body })).send().await?;
        Ok(Answer::TokenInfo { status: response.status().as_u16(), problem: response.json().await? })
    }

    /// The tokens of a case, signed.
    fn credentials(&self, case: &Case) -> anyhow::Result<Credentials> {
        let spec = &case.token;
        let token = match (&spec.claims, &spec.value) {
            (Some(claims), _) => self.keys.sign(spec, claims)?,
            // Answers about opaque tokens are remembered, so each case has a token of its own.
            (None, Some(value)) if spec.introspection.is_some() => format!("{value}-{}", case.id),
            (None, Some(value)) => value.clone(),
            (None, None) => String::new(),
        };
        if let Some(answer) = &spec.introspection {
            self.authorization_server.tell(&token, &self.system.introspection(answer));
        }
        let further = spec.also_query_parameter.as_ref().map(|claims| self.keys.sign(spec, claims)).transpose()?;
        let (realm, scheme) = (self.system.realm().to_owned(), spec.scheme.clone());
        Ok(match spec.transport {
            Transport::None => Credentials { realm, ..Credentials::default() },
            Transport::AuthorizationHeader => {
                Credentials { realm, token, scheme, query_token: further.unwrap_or_default() }
            }
            Transport::QueryParameter => Credentials { realm, query_token: token, ..Credentials::default() },
        })
    }

    async fn set_tables(&mut self, facts: &Facts) -> anyhow::Result<()> {
        let tables = self.system.tables(facts)?;
        if tables == self.tables {
            return Ok(());
        }
        write_tables(&self.folder.path().join("rules"), &tables)?;
        let request = pb::ReloadPoliciesRequest { realm: self.system.realm().to_owned() };
        let mut client = PolicyServiceClient::new(self.channel.clone());
        let answer = client.reload_policies(request).await?.into_inner();
        anyhow::ensure!(answer.faults.is_empty(), "the realm was refused: {:?}", answer.faults);
        self.tables = tables;
        Ok(())
    }

    /// Takes back the records that are no facts any more, and imports those that are new.
    async fn set_records(&mut self, facts: &Facts) -> anyhow::Result<()> {
        let wanted = self.system.records(facts)?;
        let realm = self.system.realm().to_owned();
        let mut client = RelationshipServiceClient::new(self.channel.clone());
        let none = Vec::new();
        for (resource, stored) in &self.records {
            let now = wanted.get(resource).unwrap_or(&none);
            let gone = stored.iter().filter(|record| !now.contains(record)).map(Json::to_string);
            let records: Vec<String> = gone.collect();
            if !records.is_empty() {
                let (realm, resource) = (realm.clone(), resource.clone());
                let request = pb::DeleteRecordsRequest { realm, resource, records, forget: true };
                client.delete_records(request).await?;
            }
        }
        for (resource, now) in &wanted {
            let stored = self.records.get(resource).unwrap_or(&none);
            let new: Vec<String> = now.iter().filter(|record| !stored.contains(record)).map(Json::to_string).collect();
            if !new.is_empty() {
                let message =
                    pb::ImportRecordsRequest { realm: realm.clone(), resource: resource.clone(), records: new };
                let answer = client.import_records(tokio_stream::once(message)).await?.into_inner();
                anyhow::ensure!(answer.refusals.is_empty(), "records were refused: {:?}", answer.refusals);
            }
        }
        self.records = wanted;
        Ok(())
    }

    async fn set_applications(&mut self, facts: &Facts) -> anyhow::Result<()> {
        let wanted = self.system.applications(facts)?;
        if wanted == self.applications {
            return Ok(());
        }
        let mut client = ApplicationServiceClient::new(self.channel.clone());
        for application in &wanted {
            let (realm, application) = (self.system.realm().to_owned(), Some(application.clone()));
            let request = pb::PutApplicationRequest { realm, application, ..pb::PutApplicationRequest::default() };
            client.put_application(request).await?;
        }
        self.applications = wanted;
        Ok(())
    }
}

/// What came with a request to say who asks.
#[derive(Debug, Default)]
struct Credentials {
    realm: String,
    token: String,
    scheme: String,
    query_token: String,
}

impl Credentials {
    fn on(&self, question: pb::AuthorizeRequest) -> pb::AuthorizeRequest {
        let Self { realm, token, scheme, query_token } = self;
        pb::AuthorizeRequest {
            realm: realm.clone(),
            token: token.clone(),
            token_scheme: scheme.clone(),
            query_token: query_token.clone(),
            ..question
        }
    }
}

/// Copies a realm's folder; its own tests stay behind.
fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from).with_context(|| format!("cannot read `{}`", from.display()))? {
        let path = entry?.path();
        let Some(name) = path.file_name() else { continue };
        if path.is_file() {
            fs::copy(&path, to.join(name))?;
        } else if !["tests", "golden", "demo"].iter().any(|skipped| name == *skipped) {
            copy(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn write_tables(rules: &Path, tables: &BTreeMap<String, String>) -> anyhow::Result<()> {
    for (name, content) in tables {
        let path = rules.join(name);
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        fs::write(path, content)?;
    }
    Ok(())
}

/// The configuration of a service with one realm.
fn configuration(
    folder: &Path,
    realm: &str,
    issuers: &[Issuer],
    keys: &Keys,
    server: &AuthorizationServer,
) -> anyhow::Result<String> {
    let rules: PathBuf = folder.join("rules");
    let mut text = format!(
        "data_dir = \"data\"\nhttp_address = \"127.0.0.1:0\"\n[log]\nlevel = \"warn\"\n[realms.{realm}]\nfolder = {}\n",
        json!(rules)
    );
    for (number, Issuer { name, settings, introspects, .. }) in issuers.iter().enumerate() {
        write!(text, "[[realms.{realm}.issuers]]\nissuer = {}\n{settings}", json!(name))?;
        if *introspects {
            let secret = folder.join("introspection.secret");
            fs::write(&secret, "of this run only")?;
            let (url, secret) = (json!(server.url), json!(secret));
            writeln!(
                text,
                "introspection = {{ url = {url}, client_id = \"hallpass\", client_secret_file = {secret} }}"
            )?;
        }
        let set = keys.jwks(name);
        let has_keys = set.get("keys").and_then(Json::as_array).is_some_and(|list| !list.is_empty());
        if has_keys || !introspects {
            let file = format!("issuer-{number}.jwks.json");
            fs::write(folder.join(&file), set.to_string())?;
            writeln!(text, "keys = {{ file = \"{file}\" }}")?;
        }
    }
    Ok(text)
}
