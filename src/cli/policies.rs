//! `hallpass policies`: the versions of a realm's policies that ever decided, as the data folder keeps them.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use prost_types::Timestamp;
use serde_json::json;

use super::{
    Outcome,
    render::{Form, Screen, note},
};
use crate::{
    app::ports::archive::{KnownVersion, PolicyVersions as _},
    config::{Config, Environment, Flags},
    domain::id::RealmName,
    storage::policy_versions::PolicyFolders,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Lists every version of a realm's policies that ever decided, with the time since when
    Versions(Versions),
}

#[derive(Debug, clap::Args)]
pub(super) struct Versions {
    /// The realm; not needed when the data folder has only one
    #[arg(long, value_name = "NAME")]
    realm: Option<RealmName>,
    /// The data folder [default: that of the configuration]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The configuration file [env: `HALLPASS_CONFIG`] [default: hallpass.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How to show them; json is one object a line
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Verb::Versions(Versions { realm, data_dir, config, output }) = verb;
    let data_dir = match data_dir {
        Some(data_dir) => data_dir,
        None => Config::load(&Flags { config, ..Flags::default() }, environment)?.data_dir,
    };
    let realms = data_dir.join("realms");
    let realm = match realm {
        Some(realm) => realm.to_string(),
        None => only_realm(&realms)?,
    };
    let versions = PolicyFolders::in_folder(&realms.join(realm).join("policies")).list()?;
    match output {
        Form::Json => versions.iter().try_for_each(|known| screen.line(json(known)))?,
        Form::Text if versions.is_empty() => note("no version is kept"),
        Form::Text => {
            screen.table(&["FIRST USED", "VERSION", "VARIANT"], &versions.iter().map(row).collect::<Vec<_>>())?;
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

fn row(known: &KnownVersion) -> Vec<String> {
    let KnownVersion { first_used_us, version, variant } = known;
    vec![time(*first_used_us), version.to_string(), variant.as_deref().unwrap_or_default().to_owned()]
}

fn json(known: &KnownVersion) -> serde_json::Value {
    let KnownVersion { first_used_us, version, variant } = known;
    json!({ "first_used": time(*first_used_us), "policy_version": version.to_string(), "variant": variant.as_deref() })
}

/// A time to the millisecond.
fn time(us: i64) -> String {
    let nanos = i32::try_from(us.rem_euclid(1_000_000) / 1_000 * 1_000_000).unwrap_or_default();
    Timestamp { seconds: us.div_euclid(1_000_000), nanos }.to_string()
}
