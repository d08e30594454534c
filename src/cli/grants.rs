//! `hallpass grants`: who may do what: taken over from other products, shown as a whole, and traced to its source.

mod import;
mod matrix;
mod show;

use std::path::Path;

use anyhow::{Result, bail};

use super::{Outcome, check, render::Screen};
use crate::domain::{grants::Grants, realm::Realm, schema::RealmSchema};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Makes a grants.json of the claim sets of an Ed-Fi product
    Import(import::Arguments),
    /// Shows who may do what, as a table for people
    Matrix(matrix::Arguments),
    /// Shows what a claim set may do with one resource, and which claims say so
    Show(show::Arguments),
}

pub(super) fn run(verb: &Verb, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Import(arguments) => import::run(arguments, screen),
        Verb::Matrix(arguments) => matrix::run(arguments, screen),
        Verb::Show(arguments) => show::run(arguments, screen),
    }
}

/// The realm of a folder, as it is or as a variant; `None` when its files have faults, which are shown.
fn compile(folder: &Path, variant: Option<&str>, screen: &mut Screen) -> Result<Option<Realm>> {
    match Realm::compile(&check::read(folder)?, variant) {
        Ok(realm) => Ok(Some(realm)),
        Err(faults) => {
            check::show(folder, faults, screen)?;
            Ok(None)
        }
    }
}

/// The realm's grants.
fn grants_of<'a>(realm: &'a Realm, folder: &Path) -> Result<&'a Grants> {
    match &realm.grants {
        Some(grants) => Ok(grants),
        None => bail!("the realm in `{}` has no grants; [grants] in realm.toml names them", folder.display()),
    }
}

/// The claim set's name as the table writes it.
fn claim_set_named(grants: &Grants, name: &str) -> Result<String> {
    let names = grants.claim_sets();
    match names.iter().find(|known| known.eq_ignore_ascii_case(name)) {
        Some(known) => Ok(known.to_string()),
        None => bail!("unknown claim set `{name}`, expected one of {}", names.join(", ")),
    }
}

/// The actions of the schema: those that most people name first in that order, then the others by name.
fn actions_of(schema: &RealmSchema) -> Vec<String> {
    const FIRST: [&str; 4] = ["Create", "Read", "Update", "Delete"];
    let first = FIRST.iter().map(ToString::to_string).filter(|name| schema.actions.contains_key(name.as_str()));
    let others = schema.actions.keys().map(ToString::to_string).filter(|name| !FIRST.contains(&name.as_str()));
    first.chain(others).collect()
}
