//! `hallpass applications`: the clients that a realm knows, and opaque tokens for them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use prost_types::Timestamp;

use super::{
    Outcome,
    authorize::read_token,
    json,
    parse::{self, Named, wire_values},
    render::{Form, Screen, counted, note, plain},
    target::{MESSAGE_BYTES_MAX, PolicyChannel, Target, failed},
};
use crate::{
    app::ports::Clock as _,
    config::Environment,
    domain::application::TokenDigest,
    proto::v1::{
        Application, DeleteApplicationRequest, GetApplicationRequest, IssueTokenRequest, ListApplicationsRequest,
        PutApplicationRequest, RegisterTokenRequest, RevokeTokenRequest,
        application_service_client::ApplicationServiceClient,
    },
    provider::clock::SystemClock,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Creates an application, or replaces all of it but its secret
    Put(Put),
    /// Shows an application; its secret is never shown
    Get(Get),
    /// Lists the applications of a realm
    List(List),
    /// Deletes an application and ends its tokens
    Delete(Delete),
    /// Issues an opaque token to an application that proves its secret, and prints it
    IssueToken(IssueToken),
    /// Makes an opaque token known that another authorization server issued
    RegisterToken(RegisterToken),
    /// Takes an opaque token back
    RevokeToken(RevokeToken),
}

#[derive(Debug, clap::Args)]
pub(super) struct Put {
    #[command(flatten)]
    target: Target,
    /// The client id
    #[arg(long, value_name = "ID")]
    id: String,
    /// What people call it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    title: String,
    /// An attribute that the realm's schema declares: name=text or name:=json; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    attribute: Vec<Named>,
    /// Until when its tokens count: 2027-08-01 or 2027-08-01T00:00:00Z
    #[arg(long, value_name = "TIME", value_parser = parse::time)]
    expires_at: Option<Timestamp>,
    /// Refuse its tokens
    #[arg(long)]
    disabled: bool,
    /// A file with a new secret; - is standard input. Without one the old secret stays
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// A file with the Argon2id hash of a new secret as a PHC string; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "secret_file")]
    secret_hash_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Get {
    #[command(flatten)]
    target: Target,
    /// The client id
    #[arg(long, value_name = "ID")]
    id: String,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    target: Target,
    /// How to show them
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    #[command(flatten)]
    target: Target,
    /// The client id
    #[arg(long, value_name = "ID")]
    id: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueToken {
    #[command(flatten)]
    target: Target,
    /// The client id
    #[arg(long, value_name = "ID", visible_alias = "application")]
    id: String,
    /// A file with its secret; - is standard input
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// How long the token counts, at most a day: 90s, 30m, 8h
    #[arg(long, value_name = "TIME", value_parser = parse::duration, default_value = "30m")]
    expires_in: Duration,
    /// A set of which this token has less, as a JSON list: name:=list; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    narrow: Vec<Named>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RegisterToken {
    #[command(flatten)]
    target: Target,
    /// The client id
    #[arg(long, value_name = "ID", visible_alias = "application")]
    id: String,
    #[command(flatten)]
    token: DigestArguments,
    /// How long the token counts, at most a year: 90s, 30m, 8h, 7d
    #[arg(long, value_name = "TIME", value_parser = parse::duration)]
    expires_in: Duration,
    /// A set of which this token has less, as a JSON list: name:=list; repeatable
    #[arg(long, value_name = "NAME=VALUE")]
    narrow: Vec<Named>,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeToken {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    token: DigestArguments,
}

/// Which token; the service hears its digest alone.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct DigestArguments {
    /// A file with the token; - is standard input
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The token's SHA-256 digest, 64 lower-case hexadecimal digits
    #[arg(long, value_name = "DIGEST")]
    token_sha256: Option<String>,
}

impl DigestArguments {
    fn read(self) -> Result<String> {
        match (self.token_file, self.token_sha256) {
            (Some(file), _) => Ok(TokenDigest::of(&read_token(&file)?).to_string()),
            (None, digest) => Ok(digest.unwrap_or_default()),
        }
    }
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Put(arguments) => put(arguments, environment, screen).await,
        Verb::Get(arguments) => get(arguments, environment, screen).await,
        Verb::List(arguments) => list(arguments, environment, screen).await,
        Verb::Delete(arguments) => delete(arguments, environment, screen).await,
        Verb::IssueToken(arguments) => issue_token(arguments, environment, screen).await,
        Verb::RegisterToken(arguments) => register_token(arguments, environment, screen).await,
        Verb::RevokeToken(arguments) => revoke_token(arguments, environment, screen).await,
    }
}

/// The service's client, and the realm.
async fn connect(
    target: &Target,
    environment: &Environment,
) -> Result<(ApplicationServiceClient<PolicyChannel>, String)> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    Ok((ApplicationServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX), realm))
}

/// What a file holds, without blanks and line ends around it; an empty one is a mistake.
fn read_secret(file: &Path) -> Result<String> {
    let secret = read_token(file).context("no secret")?;
    anyhow::ensure!(!secret.is_empty(), "`{}` is empty; expected a secret", file.display());
    Ok(secret)
}

async fn put(arguments: Put, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Put { target, id, title, attribute, expires_at, disabled, secret_file, secret_hash_file } = arguments;
    let secret = secret_file.as_deref().map(read_secret).transpose()?.unwrap_or_default();
    let secret_hash = secret_hash_file.as_deref().map(read_secret).transpose()?.unwrap_or_default();
    let attributes = wire_values(attribute)?;
    let (mut client, realm) = connect(&target, environment).await?;
    let application = Application { id, title, attributes, expires_at, disabled, has_secret: false };
    let request = PutApplicationRequest { realm, application: Some(application), secret, secret_hash };
    let done = client.put_application(request).await.map_err(|status| failed(&status))?.into_inner();
    screen.line(if done.created { "created" } else { "replaced" })?;
    Ok(Outcome::Fine)
}

async fn get(arguments: Get, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Get { target, id, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let found = client.get_application(GetApplicationRequest { realm, id }).await.map_err(|status| failed(&status))?;
    let application = found.into_inner().application.context("the service's answer holds no application")?;
    match output {
        Form::Json => screen.json(&json::application(&application))?,
        Form::Text => show(&application, screen)?,
    }
    Ok(Outcome::Fine)
}

fn show(application: &Application, screen: &mut Screen) -> Result<()> {
    let secret = if application.has_secret { "has a secret" } else { "has no secret" };
    screen.line(format_args!("{} {}", plain(&application.id), plain(&application.title)))?;
    screen.line(format_args!("{}, {secret}", state(application)))?;
    let mut attributes: Vec<_> = application.attributes.iter().collect();
    attributes.sort_by_key(|(name, _)| *name);
    for (name, value) in attributes {
        screen.line(format_args!("  {name} {}", plain(&json::value(value).to_string())))?;
    }
    Ok(())
}

/// Whether its tokens count, in words.
fn state(application: &Application) -> String {
    match &application.expires_at {
        _ if application.disabled => "disabled".to_owned(),
        Some(at) if at.seconds <= SystemClock.now_seconds() => format!("expired {at}"),
        Some(at) => format!("until {at}"),
        None => "in use".to_owned(),
    }
}

async fn list(arguments: List, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let List { target, output } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let mut request = ListApplicationsRequest { realm, page_size: 1_000, page_token: String::new() };
    let mut rows = Vec::new();
    loop {
        let page = client.list_applications(request.clone()).await.map_err(|status| failed(&status))?.into_inner();
        for application in &page.applications {
            match output {
                Form::Json => screen.line(json::application(application))?,
                Form::Text => {
                    let secret = if application.has_secret { "yes" } else { "no" };
                    let (id, title) = (application.id.clone(), application.title.clone());
                    rows.push(vec![id, title, state(application), secret.to_owned()]);
                }
            }
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    if output == Form::Text {
        screen.table(&["ID", "TITLE", "STATE", "SECRET"], &rows)?;
    }
    Ok(Outcome::Fine)
}

async fn delete(arguments: Delete, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Delete { target, id } = arguments;
    let (mut client, realm) = connect(&target, environment).await?;
    let done = client.delete_application(DeleteApplicationRequest { realm, id }).await;
    let tokens = done.map_err(|status| failed(&status))?.into_inner().tokens;
    screen.line(format_args!("deleted, and {} with it", counted(tokens, "token", "tokens")))?;
    Ok(Outcome::Fine)
}

async fn issue_token(arguments: IssueToken, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let IssueToken { target, id, secret_file, expires_in, narrow } = arguments;
    let (secret, narrowed) = (read_secret(&secret_file)?, wire_values(narrow)?);
    let lifetime_seconds = u32::try_from(expires_in.as_secs()).unwrap_or(u32::MAX);
    anyhow::ensure!(lifetime_seconds > 0, "a token that counts for no time is of no use; expected for example 30m");
    let (mut client, realm) = connect(&target, environment).await?;
    let request = IssueTokenRequest { realm, id, secret, lifetime_seconds, narrowed };
    let issued = client.issue_token(request).await.map_err(|status| failed(&status))?.into_inner();
    screen.line(&issued.token)?;
    let until = Timestamp { seconds: issued.expires_at_seconds, nanos: 0 };
    note(&format!("counts until {until}; it cannot be shown again"));
    Ok(Outcome::Fine)
}

async fn register_token(arguments: RegisterToken, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let RegisterToken { target, id, token, expires_in, narrow } = arguments;
    let (token_sha256, narrowed) = (token.read()?, wire_values(narrow)?);
    let seconds = SystemClock.now_seconds().saturating_add_unsigned(expires_in.as_secs());
    let (mut client, realm) = connect(&target, environment).await?;
    let expires_at = Some(Timestamp { seconds, nanos: 0 });
    let request = RegisterTokenRequest { realm, id, token_sha256, expires_at, narrowed };
    client.register_token(request).await.map_err(|status| failed(&status))?;
    screen.line("registered")?;
    Ok(Outcome::Fine)
}

async fn revoke_token(arguments: RevokeToken, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let RevokeToken { target, token } = arguments;
    let token_sha256 = token.read()?;
    let (mut client, realm) = connect(&target, environment).await?;
    let done = client.revoke_token(RevokeTokenRequest { realm, token_sha256 }).await;
    let is_found = done.map_err(|status| failed(&status))?.into_inner().found;
    screen.line(if is_found { "taken back" } else { "no such token" })?;
    Ok(Outcome::of(!is_found))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_application_says_whether_its_tokens_count() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        for (expires_at, disabled, expected) in [
            (None, false, "in use"),
            (at(0), false, "expired 1970-01-01T00:00:00Z"),
            (at(32_503_680_000), false, "until 3000-01-01T00:00:00Z"),
            (at(0), true, "disabled"),
        ] {
            assert_eq!(state(&Application { expires_at, disabled, ..Application::default() }), expected);
        }
    }

    #[test]
    fn an_empty_secret_file_is_a_mistake() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "\n").unwrap();
        assert!(read_secret(&file).unwrap_err().to_string().contains("is empty"));
        std::fs::write(&file, "a secret\n").unwrap();
        assert_eq!(read_secret(&file).unwrap(), "a secret");
    }
}
