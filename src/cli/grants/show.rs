//! `hallpass grants show`: what a claim set may do with one resource, action by action, and which claims say so.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{actions_of, claim_set_named, compile, grants_of};
use crate::{
    cli::{
        Outcome,
        render::{Screen, Tone, plain},
    },
    domain::grants::Grant,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The realm's folder
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
    /// The claim set
    #[arg(long, value_name = "NAME")]
    claim_set: String,
    /// The resource type, for example ed-fi/students
    #[arg(long, value_name = "TYPE")]
    resource: String,
    /// As this variant of the realm
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { folder, claim_set, resource, variant } = arguments;
    let Some(realm) = compile(folder, variant.as_deref(), screen)? else { return Ok(Outcome::Findings) };
    let grants = grants_of(&realm, folder)?;
    let claim_set = claim_set_named(grants, claim_set)?;
    let Some(resource_type) = realm.resource_types.get(resource.as_str()) else {
        let near: Vec<&str> =
            realm.resource_types.keys().map(|name| &**name).filter(|name| name.contains(resource)).collect();
        let near = if near.is_empty() { String::new() } else { format!(", perhaps {}", near.join(" or ")) };
        bail!("unknown resource type `{resource}`{near}");
    };
    screen.line(format_args!("claim set  {}", plain(&claim_set)))?;
    screen.line(format_args!("resource   {}", plain(&resource_type.name)))?;
    let lineage = grants.lineage(&resource_type.name);
    match lineage.as_ref() {
        [] => screen.line("claim      none in the table")?,
        claims => {
            for (place, claim) in claims.iter().enumerate() {
                let label = if place == 0 { "claim" } else { "in" };
                screen.line(format_args!("{label:9}  {}", plain(claim)))?;
            }
        }
    }
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    for action in actions_of(&realm.schema) {
        let grant = grants.find(&claim_set, &resource_type.name, &action).grant;
        if let Some(fault) = &grant.fault {
            faults.push(format!("{action}: {fault}"));
        }
        rows.push(row(&action, &grant));
    }
    screen.line("")?;
    screen.table(&["ACTION", "STRATEGIES", "GRANTED ON", "STRATEGIES FROM"], &rows)?;
    for fault in faults {
        screen.line(format_args!("{} {}", screen.toned(Tone::Bad, "cannot be used:"), plain(&fault)))?;
    }
    Ok(Outcome::Fine)
}

fn row(action: &str, grant: &Grant) -> Vec<String> {
    let claim = |claim: &Option<std::sync::Arc<str>>| claim.as_deref().unwrap_or("-").to_owned();
    let strategies = match (&grant.strategies, grant.is_granted) {
        (_, false) if grant.has_resource => "not granted".to_owned(),
        (_, false) => "claim set does not have the resource".to_owned(),
        (strategies, true) if strategies.is_empty() => "none".to_owned(),
        (strategies, true) => strategies.join(", "),
    };
    vec![action.to_owned(), strategies, claim(&grant.granted_by), claim(&grant.supplied_by)]
}
