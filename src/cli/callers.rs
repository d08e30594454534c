//! `hallpass callers`: who may call, as lines for the configuration, and keys.

use anyhow::{Result, anyhow, bail};

use super::{Outcome, render::Screen, render::note};
use crate::{
    app::caller::{ADMIN, KeyDigest, LOCAL},
    domain::id::RealmName,
    storage::key_file,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Shows the lines of a caller for the configuration; unless it shows a certificate or a token, with a new key, once
    New(New),
}

const NOTES: &str = "\
The key goes to the caller, who keeps it in a file of its own and names that with --token-file. The lines go into the
service's configuration, which holds the key's digest alone, so nobody can read the key there. The service takes them
when it starts again. From the first caller on, the local admin token does not count any more.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct New {
    /// What the caller is called in the decision log: a-z, 0-9, `-` and `_`
    #[arg(value_name = "NAME")]
    name: String,
    /// A role of the caller.
    #[arg(long = "role", value_name = "ROLE", default_value = "auditor")]
    #[arg(
        help = "A role of the caller: enforcer, subject_enforcer, provisioner, monitor, operator, auditor, privacy_officer or author, unless your own policies know others"
    )]
    roles: Vec<String>,
    /// A realm that the caller may call about [default: all]
    #[arg(long = "realm", value_name = "NAME")]
    realms: Vec<String>,
    /// The SPIFFE id of the certificate that it shows, in place of a key
    #[arg(long, value_name = "URI")]
    certificate: Option<String>,
    /// The subject of the certificate that it shows, in place of a key: `CN=gateway,O=North`
    #[arg(long, value_name = "TEXT")]
    subject: Option<String>,
    /// The issuer of the tokens that it brings, in place of a key
    #[arg(long, value_name = "NAME", requires = "token_subject")]
    issuer: Option<String>,
    /// The subject of these tokens
    #[arg(long, value_name = "TEXT", requires = "issuer")]
    token_subject: Option<String>,
}

pub(super) fn run(verb: &Verb, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::New(arguments) => new(arguments, screen),
    }
}

fn new(arguments: &New, screen: &mut Screen) -> Result<Outcome> {
    let New { name, roles, realms, certificate, subject, issuer, token_subject } = arguments;
    for name in std::iter::once(name).chain(realms) {
        name.parse::<RealmName>().map_err(|_| {
            anyhow!("`{name}` is no name; expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or digit")
        })?;
    }
    if name == ADMIN {
        bail!("`{ADMIN}` is who comes with the local admin token; choose another name");
    }
    if name == LOCAL {
        bail!("`{LOCAL}` is who calls from the service's own machine and shows nothing; choose another name");
    }
    let quoted = |text: &String| serde_json::to_string(text);
    let mut ways = Vec::new();
    ways.extend(certificate.as_ref().map(quoted).transpose()?.map(|id| format!("certificate = {id}")));
    ways.extend(subject.as_ref().map(quoted).transpose()?.map(|subject| format!("subject = {subject}")));
    if let (Some(issuer), Some(subject)) = (issuer, token_subject) {
        ways.push(format!("token = {{ issuer = {}, subject = {} }}", quoted(issuer)?, quoted(subject)?));
    }
    if ways.is_empty() {
        let key =
            key_file::random_text().map_err(|error| anyhow!("the operating system gives no random bytes: {error}"))?;
        note("the caller's key, which is shown this once:");
        screen.line(&key)?;
        note("and these lines for hallpass.toml:");
        ways.push(format!("key_sha256 = \"{}\"", KeyDigest::of(&key)));
    }
    screen.line(format_args!(
        "[callers.{name}]\nroles = {}\nrealms = {}\n{}",
        serde_json::to_string(roles)?,
        serde_json::to_string(realms)?,
        ways.join("\n")
    ))?;
    Ok(Outcome::Fine)
}
