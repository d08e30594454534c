//! `hallpass callers`: keys for who reads the decision log.

use anyhow::{Result, anyhow, bail};

use super::{Outcome, render::Screen, render::note};
use crate::{
    app::caller::{ADMIN, KeyDigest},
    domain::id::RealmName,
    storage::key_file,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Makes a key for a caller and shows it, once, with the lines for the configuration
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
        help = "A role of the caller: operator, auditor, privacy_officer or author, unless your own policies know others"
    )]
    roles: Vec<String>,
    /// A realm whose log the caller may read [default: all]
    #[arg(long = "realm", value_name = "NAME")]
    realms: Vec<String>,
}

pub(super) fn run(verb: &Verb, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::New(arguments) => new(arguments, screen),
    }
}

fn new(New { name, roles, realms }: &New, screen: &mut Screen) -> Result<Outcome> {
    for name in std::iter::once(name).chain(realms) {
        name.parse::<RealmName>().map_err(|_| {
            anyhow!("`{name}` is no name; expected 1 to 64 of a-z, 0-9, `-`, `_`, starting with a letter or digit")
        })?;
    }
    if name == ADMIN {
        bail!("`{ADMIN}` is who comes with the local admin token; choose another name");
    }
    let key =
        key_file::random_text().map_err(|error| anyhow!("the operating system gives no random bytes: {error}"))?;
    let digest = KeyDigest::of(&key);
    note("the caller's key, which is shown this once:");
    screen.line(&key)?;
    note("and these lines for hallpass.toml:");
    screen.line(format_args!(
        "[callers.{name}]\nroles = {}\nrealms = {}\nkey_sha256 = \"{digest}\"",
        serde_json::to_string(roles)?,
        serde_json::to_string(realms)?
    ))?;
    Ok(Outcome::Fine)
}
