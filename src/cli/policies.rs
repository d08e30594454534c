//! `hallpass policies`: the versions of a realm's policies that ever decided, rollbacks to them, candidates in their shadow,
//! and signed bundles.

mod bundle;
mod diff;
mod running;
mod shadow;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use prost_types::Timestamp;
use serde_json::json;

use super::{
    Outcome, on_runtime,
    render::{Form, Screen, note},
};
use crate::{
    app::ports::archive::{KnownVersion, PolicyVersions as _},
    config::{Config, Environment, Flags},
    domain::id::{PolicyVersion, RealmName},
    storage::policy_versions::PolicyFolders,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Lists every version of a realm's policies that ever decided, with the time since when
    Versions(Versions),
    /// Shows what changed from one version of a realm's policies to another
    Diff(diff::Arguments),
    /// Shows how the policies of a running service stand to their files; exit code 1 if files were refused
    Status(running::Status),
    /// Lets a version that is kept decide, whatever the realm's files are, until `resume`
    Rollback(running::Rollback),
    /// Lets the files of a realm that was rolled back decide again; with any fault the rollback stands
    Resume(running::Resume),
    /// Lets a candidate decide beside the policies of a running service, and shows what it would have decided otherwise
    Shadow(Box<shadow::Arguments>),
    /// Puts the files of a realm together to a bundle and signs it
    Bundle(bundle::Arguments),
    /// Shows the public half of a key that signs bundles; makes the key where there is none
    Keys(bundle::Keys),
}

/// The versions that a data folder keeps of a realm.
#[derive(Debug, clap::Args)]
struct Kept {
    /// The realm; not needed when the data folder has only one
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    /// The data folder [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [env: `HALLPASS_CONFIG`] [default: hallpass.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Versions {
    #[command(flatten)]
    kept: Kept,
    /// How to show them; json is one object a line
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Versions(arguments) => versions(arguments, environment, screen),
        Verb::Diff(arguments) => diff::run(arguments, environment, screen),
        Verb::Status(arguments) => on_runtime(running::status(arguments, environment, screen)),
        Verb::Rollback(arguments) => on_runtime(running::rollback(arguments, environment, screen)),
        Verb::Resume(arguments) => on_runtime(running::resume(arguments, environment, screen)),
        Verb::Shadow(arguments) => on_runtime(shadow::run(*arguments, environment, screen)),
        Verb::Bundle(arguments) => bundle::run(&arguments, screen),
        Verb::Keys(arguments) => bundle::keys(&arguments, screen),
    }
}

impl Kept {
    /// Where the versions are.
    fn open(self, environment: &Environment) -> Result<PolicyFolders> {
        let Self { realm, data_dir, config } = self;
        let data_dir = match data_dir {
            Some(data_dir) => data_dir,
            None => Config::load(&Flags { config, ..Flags::default() }, environment)?.data_dir,
        };
        let realms = data_dir.join("realms");
        let realm = match realm {
            Some(realm) => realm.to_string(),
            None => only_realm(&realms)?,
        };
        Ok(PolicyFolders::in_folder(&realms.join(realm).join("policies")))
    }
}

fn versions(Versions { kept, output }: Versions, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let kept = kept.open(environment)?;
    let (versions, pin) = (kept.list()?, kept.pin()?);
    let pinned = pin.map(|pin| pin.version);
    match output {
        Form::Json => versions.iter().try_for_each(|known| screen.line(json(known, pinned.as_ref())))?,
        Form::Text if versions.is_empty() => note("no version is kept"),
        Form::Text => {
            let rows: Vec<_> = versions.iter().map(|known| row(known, pinned.as_ref())).collect();
            screen.table(&["FIRST USED", "LAST USED", "VERSION", "VARIANT", ""], &rows)?;
        }
    }
    Ok(Outcome::Fine)
}

fn only_realm(realms: &std::path::Path) -> Result<String> {
    let entries = std::fs::read_dir(realms).with_context(|| format!("cannot read `{}`", realms.display()))?;
    let names = entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
    let mut names: Vec<String> = names.collect::<Result<_>>()?;
    names.sort();
    match names.as_slice() {
        [only] => Ok(only.clone()),
        [] => bail!("`{}` holds no realm", realms.display()),
        several => bail!("there are several realms; choose one with --realm: {}", several.join(", ")),
    }
}

fn row(known: &KnownVersion, pinned: Option<&PolicyVersion>) -> Vec<String> {
    let KnownVersion { first_used_us, last_used_us, version, variant, note } = known;
    let mark = match (pinned == Some(version), note.is_some()) {
        (true, _) => "rolled back to",
        (false, true) => "signed",
        (false, false) => "",
    };
    let variant = variant.as_deref().unwrap_or_default().to_owned();
    vec![time(*first_used_us), time(*last_used_us), version.to_string(), variant, mark.to_owned()]
}

fn json(known: &KnownVersion, pinned: Option<&PolicyVersion>) -> serde_json::Value {
    let KnownVersion { first_used_us, last_used_us, version, variant, note } = known;
    json!({
        "first_used": time(*first_used_us),
        "last_used": time(*last_used_us),
        "policy_version": version.to_string(),
        "variant": variant.as_deref(),
        "is_rolled_back_to": pinned == Some(version),
        "note": note.as_deref(),
    })
}

/// A time to the millisecond.
fn time(us: i64) -> String {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) / 1_000 * 1_000_000).unwrap_or_default();
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }.to_string()
}
