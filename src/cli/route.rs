//! `hallpass route`: what a realm's routes make of a request over HTTP.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::{Outcome, check, render::Screen};
use crate::domain::{
    json_value,
    realm::Realm,
    route::{Found, Obligations, RouteFault, path::Path},
    value::{Attributes, Value},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The method, in capitals as it comes over the wire
    #[arg(value_name = "METHOD")]
    method: String,
    /// The path with its query, as it comes over the wire
    #[arg(value_name = "PATH")]
    path: String,
    /// The realm's folder
    #[arg(long, value_name = "DIR", default_value = ".")]
    realm: PathBuf,
    /// The variant of the realm
    #[arg(long, value_name = "NAME")]
    variant: Option<String>,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { method, path, realm: folder, variant } = arguments;
    let realm = match Realm::compile(&check::read(folder)?, variant.as_deref()) {
        Ok(realm) => realm,
        Err(faults) => {
            check::show(folder, faults, screen)?;
            return Ok(Outcome::Findings);
        }
    };
    let Some(routes) = &realm.routes else { bail!("the realm in `{}` has no `[routes]`", folder.display()) };
    let found = Path::read(path.as_bytes()).map_err(RouteFault::from).and_then(|path| routes.find(method, &path));
    match found {
        Ok(found) => show(&found, screen)?,
        Err(fault) => {
            screen.line(format_args!("denied: {}: {fault}", fault.code()))?;
            return Ok(Outcome::Findings);
        }
    }
    Ok(Outcome::Fine)
}

fn show(found: &Found, screen: &mut Screen) -> Result<()> {
    let Found { operation, template, question, obligations } = found;
    let (operation, template) = (or_none(operation), or_none(template));
    screen.line(format_args!("operation    {operation}"))?;
    screen.line(format_args!("path         {template}"))?;
    screen.line(format_args!("action       {}", question.action))?;
    screen.line(format_args!("resource     {} {}", question.resource_type, or_none(&question.resource_id)))?;
    let told = [("attributes", &question.attributes), ("proposed", &question.proposed)];
    for (name, values) in told.into_iter().filter_map(|(name, values)| Some((name, values.as_ref()?))) {
        screen.line(format_args!("{name:<12} {}", shown(values)))?;
    }
    if !question.context.is_empty() {
        screen.line(format_args!("context      {}", shown(&question.context)))?;
    }
    let told = if *obligations == Obligations::Header { "in a header" } else { "cannot be told, so they deny" };
    screen.line(format_args!("obligations  {told}"))?;
    Ok(())
}

fn shown(values: &Attributes) -> String {
    json_value::json_of(&Value::Record(values.clone())).to_string()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}
