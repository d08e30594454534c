//! `hallpass demo`: a small district, a dozen questions, and the log of the answers; then what other systems would ask.

mod realms;

use std::{collections::HashMap, fs, io::Write, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::json;
use tonic::transport::Channel;

use super::{Outcome, render::Screen, target::Bearer};
use crate::{
    app::ports::Clock as _,
    config::Config,
    proto::v1::{
        AuthorizeRequest, AuthorizeResponse, Decision, EntityReference, ImportRecordsRequest, ImportRecordsResponse,
        QueryDecisionsRequest, Resource, Value, authorization_service_client::AuthorizationServiceClient,
        decision_log_service_client::DecisionLogServiceClient, relationship_service_client::RelationshipServiceClient,
        value::Kind,
    },
    provider::{clock::SystemClock, signer::LocalKey},
    server,
    storage::segment_log::verify::{Trusted, verify},
};

mod files {
    include!(concat!(env!("OUT_DIR"), "/demo_files.rs"));
}

const ISSUER: &str = "https://idp.maple-ridge.example";
const REALM: &str = "edfi";

/// The arguments of `hallpass demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Leave the service running after the story, until it is interrupted.
    #[arg(long)]
    keep: bool,
}

/// Tells the story on a temporary folder.
///
/// # Errors
/// Anything that doesn't go as told.
pub(super) async fn run(arguments: Arguments, screen: &mut Screen) -> Result<Outcome> {
    let out = screen.out();
    let folder = TemporaryFolder::new()?;
    let key = LocalKey::generate()?;
    let others = realms::find(&files::POLICIES)?;
    let tables: String = std::iter::once(own_tables()).chain(others.iter().map(realms::Told::configuration)).collect();
    let config = configure(&folder.0, &key, &files::POLICIES, &tables)?;
    let admin_token = config.data_dir.join(server::ADMIN_TOKEN);
    let running = server::start(config).await?;
    let admin = Bearer::new(&fs::read_to_string(admin_token)?).context("the local admin token is no key")?;
    let address = running.grpc_address();
    let channel = Channel::from_shared(format!("http://{address}"))?
        .connect()
        .await
        .context("cannot reach the demo's own service")?;
    let story = Story { key, channel, admin, now_seconds: SystemClock.now_seconds() };

    writeln!(out, "Maple Ridge: a small school district, and who may see whom.\n")?;
    writeln!(out, "hallpass runs on {address} and decides by the Cedar policies of the Ed-Fi realm.")?;
    story.load(out).await?;
    story.tell(out).await?;
    story.read_log(out).await?;
    if !others.is_empty() {
        writeln!(out, "\nThe same service decides for other systems too, each by a realm of its own.\n")?;
    }
    for other in &others {
        other.tell((&story.key, story.now_seconds), &story.channel, out).await?;
    }
    if arguments.keep {
        let token = story.token(&Asker::SCHOOL, ISSUER, 8 * 3_600)?;
        writeln!(
            out,
            "\nThe service stays on {address} until you press Ctrl-C. A token of school 101, good for 8 hours:\n\n{token}"
        )?;
        out.flush()?;
        tokio::signal::ctrl_c().await?;
    }
    let keys = running.app().realms().flat_map(|realm| realm.log.verifier_keys()).collect();
    running.stop().await?;
    let entries = verified(&folder.0.join("data/realms"), &Trusted { keys, checkpoints: Vec::new() })?;
    writeln!(
        out,
        "The service is stopped, and its logs are verified as an auditor would verify a copy of them, with public keys"
    )?;
    writeln!(out, "alone: {entries} entries, each as it was when it was signed, and none missing.")?;
    writeln!(
        out,
        "\nNext: `hallpass serve`, README.md for asking a question of your own in a minute, docs/audit.md for auditors."
    )?;
    Ok(Outcome::Fine)
}

/// How many entries the logs of all realms have; an error when anything about them is wrong.
fn verified(realms: &Path, trusted: &Trusted) -> Result<u64> {
    let mut entries = 0;
    for realm in fs::read_dir(realms)? {
        let log = realm?.path().join("decisions");
        let report = verify(&log, trusted).with_context(|| format!("`{}` cannot be read", log.display()))?;
        if let Some(finding) = report.findings.first() {
            bail!("the log in `{}` does not verify: {}", log.display(), finding.what);
        }
        entries += report.covered;
    }
    Ok(entries)
}

/// A folder that goes when the demo does.
struct TemporaryFolder(std::path::PathBuf);

impl TemporaryFolder {
    fn new() -> Result<Self> {
        let name = format!("hallpass-demo-{}-{}", std::process::id(), SystemClock.now_us());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).with_context(|| format!("cannot make the folder `{}`", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryFolder {
    fn drop(&mut self) {
        // What cannot be removed is left to the system's own tidying.
        drop(fs::remove_dir_all(&self.0));
    }
}

/// The tables of the Ed-Fi realm in the service's configuration.
fn own_tables() -> String {
    format!(
        "[realms.{REALM}]\nfolder = \"policies/{REALM}\"\n[[realms.{REALM}.issuers]]\nissuer = \"{ISSUER}\"\n\
         audiences = []\nalgorithms = [\"EdDSA\"]\nkeys = {{ file = \"issuer.jwks.json\" }}\n"
    )
}

/// Writes the realms' files and the configuration of a service that has these tables of realms.
fn configure(folder: &Path, key: &LocalKey, policies: &[(&str, &str)], realms: &str) -> Result<Config> {
    for (path, content) in policies {
        let path = folder.join("policies").join(path);
        fs::create_dir_all(path.parent().unwrap_or(folder))?;
        fs::write(path, content)?;
    }
    fs::write(folder.join("issuer.jwks.json"), key.jwks())?;
    let path = folder.join("hallpass.toml");
    let own = "data_dir = \"data\"\ngrpc_address = \"127.0.0.1:0\"\n[log]\nlevel = \"error\"\n";
    fs::write(&path, format!("{own}{realms}"))?;
    Ok(Config::from_file(&path)?)
}

/// Who asks.
struct Asker {
    name: &'static str,
    claim_set: &'static str,
    organizations: &'static str,
    prefixes: &'static str,
}

impl Asker {
    const SCHOOL: Self =
        Self { name: "the SIS of Maple Ridge Elementary", claim_set: "SISVendor", organizations: "101", prefixes: "" };
    const DISTRICT: Self =
        Self { name: "the SIS of the Maple Ridge district", claim_set: "SISVendor", organizations: "10", prefixes: "" };
    const NEIGHBOUR: Self = Self {
        name: "the SIS of the Birch Hollow district",
        claim_set: "SISVendor",
        organizations: "20",
        prefixes: "",
    };
    const VENDOR: Self = Self {
        name: "a reading-test vendor",
        claim_set: "AssessmentVendor",
        organizations: "10",
        prefixes: "uri://reading.example",
    };
}

/// What is asked about.
struct Item {
    words: &'static str,
    resource_type: &'static str,
    path: &'static str,
    value: &'static str,
}

const fn item(words: &'static str, resource_type: &'static str, path: &'static str, value: &'static str) -> Item {
    Item { words, resource_type, path, value }
}

const fn student(words: &'static str, id: &'static str) -> Item {
    item(words, "ed-fi/students", "studentUniqueId", id)
}

struct Story {
    key: LocalKey,
    channel: Channel,
    admin: Bearer,
    now_seconds: i64,
}

impl Story {
    async fn load(&self, out: &mut (dyn Write + Send)) -> Result<()> {
        let files = files::DISTRICT.iter().filter_map(|(path, content)| Some((path.strip_suffix(".ndjson")?, content)));
        let messages = files.map(|(resource, content)| message(resource, content.lines())).collect();
        let accepted = self.import(messages).await?.accepted;
        writeln!(
            out,
            "Its own store now holds the district's {accepted} records: schools, enrolments, contacts, staff.\n"
        )?;
        Ok(())
    }

    async fn import(&self, messages: Vec<ImportRecordsRequest>) -> Result<ImportRecordsResponse> {
        let mut client = RelationshipServiceClient::new(self.channel.clone());
        Ok(client.import_records(tokio_stream::iter(messages)).await?.into_inner())
    }

    async fn tell(&self, out: &mut (dyn Write + Send)) -> Result<()> {
        let mut teller = Teller { story: self, number: 0 };
        let (ada, fay, lena) =
            (student("the student ada", "ada"), student("the student fay", "fay"), student("the student lena", "lena"));
        let noah = item("the contact noah", "ed-fi/contacts", "contactUniqueId", "noah");
        let ulla = item("the staff member ulla", "ed-fi/staffs", "staffUniqueId", "ulla");
        let test = item(
            "an assessment of uri://reading.example/grade-3",
            "ed-fi/assessments",
            "namespace",
            "uri://reading.example/grade-3",
        );
        let other =
            item("an assessment of uri://maths.example", "ed-fi/assessments", "namespace", "uri://maths.example");

        heading(out, "A school sees its own pupils")?;
        teller.ask(out, &Asker::SCHOOL, "read", &ada, "ada is enrolled there").await?;
        teller.ask(out, &Asker::SCHOOL, "read", &fay, "fay goes to the high school next door").await?;
        heading(out, "A district sees the pupils of all its schools")?;
        teller.ask(out, &Asker::DISTRICT, "read", &ada, "her school stands under the district").await?;
        teller.ask(out, &Asker::DISTRICT, "read", &fay, "so does hers").await?;
        heading(out, "A new pupil, before and after enrolment")?;
        teller.ask(out, &Asker::SCHOOL, "read", &lena, "lena is not enrolled anywhere yet").await?;
        self.enrol_lena(out).await?;
        teller.ask(out, &Asker::SCHOOL, "read", &lena, "the enrolment counts at once").await?;
        heading(out, "Families and staff")?;
        teller
            .ask(out, &Asker::NEIGHBOUR, "read", &noah, "noah is also the contact of ivo, who goes to school there")
            .await?;
        teller.ask(out, &Asker::SCHOOL, "read", &ulla, "the district employs ulla, the school does not").await?;
        teller.ask(out, &Asker::DISTRICT, "read", &ulla, "and the district may").await?;
        heading(out, "Not everything hangs on schools: assessments belong to a namespace")?;
        teller.ask(out, &Asker::VENDOR, "read", &test, "it starts with the vendor's own prefix").await?;
        teller.ask(out, &Asker::VENDOR, "read", &other, "it is somebody else's").await?;
        heading(out, "What a client may touch at all is said by its claim set")?;
        teller
            .ask(out, &Asker::VENDOR, "delete", &ada, "the vendor's claim set lets it read students, no more")
            .await?;
        heading(out, "Tokens are checked first, and a bad one is an answer too")?;
        teller.ask_with(out, &Asker::SCHOOL, "read", &ada, "the token expired an hour ago", ISSUER, -3_600).await?;
        teller
            .ask_with(
                out,
                &Asker::SCHOOL,
                "read",
                &ada,
                "nobody here knows that issuer",
                "https://elsewhere.example",
                600,
            )
            .await
    }

    async fn enrol_lena(&self, out: &mut (dyn Write + Send)) -> Result<()> {
        let record = json!({ "entryDate": "2026-08-24", "schoolReference": { "schoolId": 101 }, "studentReference": { "studentUniqueId": "lena" } });
        let line = record.to_string();
        let revision =
            self.import(vec![message("studentSchoolAssociations", std::iter::once(line.as_str()))]).await?.revision;
        writeln!(out, "     (the API reports lena's enrolment at Maple Ridge Elementary: revision {revision})\n")?;
        Ok(())
    }

    /// A token as the Ed-Fi Data Management Service issues them.
    fn token(&self, asker: &Asker, issuer: &str, seconds: i64) -> Result<String> {
        let id = asker.name.trim_start_matches("the ").replace(' ', "-");
        let claims = json!({
            "iss": issuer, "iat": self.now_seconds - 7_200, "exp": self.now_seconds + seconds, "client_id": id, "sub": id,
            "scope": asker.claim_set, "educationOrganizationIds": asker.organizations, "namespacePrefixes": asker.prefixes,
        });
        Ok(self.key.sign(&claims)?)
    }

    async fn read_log(&self, out: &mut (dyn Write + Send)) -> Result<()> {
        heading(out, "Every answer is in the decision log. An auditor asks: who asked about ada?")?;
        let mut client = DecisionLogServiceClient::with_interceptor(self.channel.clone(), self.admin.clone());
        let person = EntityReference { r#type: "Student".into(), id: "ada".into() };
        let request =
            QueryDecisionsRequest { realm: REALM.into(), person: Some(person), ..QueryDecisionsRequest::default() };
        let page = client.query_decisions(request).await?.into_inner();
        for record in page.decisions.iter().rev() {
            let effect = if record.decision() == Decision::Allow { "allowed" } else { "denied" };
            let who = record.principal.as_ref().map_or("(no valid token)", |principal| &principal.id);
            let why = record.reasons.first().map_or("", |reason| &reason.code);
            writeln!(out, "     #{:<3} {:<7} {:<8} {:<36} {}", record.sequence, record.action, effect, who, why)?;
        }
        let pseudonym = page.decisions.iter().flat_map(|record| &record.subjects).find(|subject| subject.is_pseudonym);
        if let Some(subject) = pseudonym {
            writeln!(out, "\n     The log does not know her as ada: she is {} there, and only the", subject.id)?;
            writeln!(out, "     holder of the key beside the log can tell. No token is kept either.")?;
        }
        Ok(())
    }
}

struct Teller<'a> {
    story: &'a Story,
    number: u32,
}

impl Teller<'_> {
    async fn ask(
        &mut self,
        out: &mut (dyn Write + Send),
        asker: &Asker,
        verb: &str,
        item: &Item,
        because: &str,
    ) -> Result<()> {
        self.ask_with(out, asker, verb, item, because, ISSUER, 600).await
    }

    #[expect(clippy::too_many_arguments, reason = "one line of the story has this many parts")]
    async fn ask_with(
        &mut self,
        out: &mut (dyn Write + Send),
        asker: &Asker,
        verb: &str,
        item: &Item,
        because: &str,
        issuer: &str,
        seconds: i64,
    ) -> Result<()> {
        self.number += 1;
        let token = self.story.token(asker, issuer, seconds)?;
        let attributes =
            HashMap::from([(item.path.to_owned(), Value { kind: Some(Kind::StringValue(item.value.into())) })]);
        let resource =
            Resource { r#type: item.resource_type.into(), id: item.value.into(), attributes, ..Resource::default() };
        let action = if verb == "delete" { "Delete" } else { "Read" };
        let request = AuthorizeRequest {
            realm: REALM.into(),
            token,
            action: action.into(),
            resource: Some(resource),
            ..AuthorizeRequest::default()
        };
        let mut client = AuthorizationServiceClient::new(self.story.channel.clone());
        let answer = client.authorize(request).await?.into_inner();
        writeln!(out, " {:>2}. May {} {verb} {}?", self.number, asker.name, item.words)?;
        print_answer(out, &answer, because)
    }
}

fn message<'a>(resource: &str, lines: impl Iterator<Item = &'a str>) -> ImportRecordsRequest {
    let records = lines.filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    ImportRecordsRequest { realm: REALM.into(), resource: resource.into(), records }
}

fn heading(out: &mut (dyn Write + Send), text: &str) -> Result<()> {
    writeln!(out, "{text}")?;
    writeln!(out, "{}", "-".repeat(text.chars().count()))?;
    Ok(())
}

fn print_answer(out: &mut (dyn Write + Send), answer: &AuthorizeResponse, because: &str) -> Result<()> {
    let word = if answer.decision() == Decision::Allow { "YES" } else { "NO" };
    writeln!(out, "     {word:<4} {because}")?;
    for reason in &answer.reasons {
        let policy =
            if reason.policy_id.is_empty() { String::new() } else { format!(" [policy {}]", reason.policy_id) };
        writeln!(out, "          {}: {}{policy}", reason.code, reason.message)?;
        for hint in &reason.hints {
            writeln!(out, "          hint: {hint}")?;
        }
    }
    writeln!(out)?;
    Ok(())
}
