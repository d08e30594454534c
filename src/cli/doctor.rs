//! `hallpass doctor`: looks a deployment over, beside a running service or without one, and says what to do.

mod callers;
mod certificates;
mod clock;
mod disk;
mod files;
mod finding;
mod issuers;
mod loaded;
mod log;
mod ports;
mod realms;
mod served;
mod system;
mod witness;

use std::{
    fs,
    path::{Path, PathBuf},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tokio::sync::oneshot;

use self::finding::{Finding, State, as_json, show};
use super::{
    Outcome,
    render::{Form, Screen, counted},
};
use crate::config::{Config, ConfigError, Environment, FILE_DEFAULT, Flags};

const NOTES: &str = "\
Looks at the configuration, the modes and owners of files, certificates and their keys, the clock, the disk, the ports, the
issuers, the realms with their tests, the newest checkpoint of every log, its witness, and the limit of open files. It
takes no lock and changes nothing: it may be run while the service does. The service's settings count as for `serve`, by
the file, variables and flags. It takes 10 s at most.

Exit codes: 0 all is fine, 1 there are warnings or faults, 2 it could not look.";

/// How long all of it may take.
const ALL_WITHIN: Duration = Duration::from_secs(10);

/// How long one question over a network may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Arguments {
    #[command(flatten)]
    settings: Flags,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { settings, output } = arguments;
    let file = settings.config.clone().or_else(|| environment.get("HALLPASS_CONFIG").map(PathBuf::from));
    let findings = match read(&settings, environment)? {
        Ok(config) => examine(config, &file.unwrap_or_else(|| FILE_DEFAULT.into())).await,
        Err(error) => unreadable(&error),
    };
    match output {
        Form::Json => screen.json(&as_json(&findings))?,
        Form::Text => show(&findings, screen)?,
    }
    Ok(Outcome::of(findings.iter().any(|finding| finding.state != State::Fine)))
}

/// The configuration, or its faults.
///
/// # Errors
/// A file that was named and cannot be read: there is nothing to look at.
fn read(settings: &Flags, environment: &Environment) -> Result<Result<Config, ConfigError>> {
    let named = settings.config.clone().or_else(|| environment.get("HALLPASS_CONFIG").map(PathBuf::from));
    if let Some(path) = &named {
        let shown = path.display();
        fs::read_to_string(path).with_context(|| format!("the configuration `{shown}` cannot be read"))?;
    }
    Ok(Config::load(settings, environment).and_then(|config| config.realms().map(|realms| Config { realms, ..config })))
}

fn unreadable(error: &ConfigError) -> Vec<Finding> {
    let advice =
        "mend it and run this again: nothing else can be looked at before; docs/configuration.md has every key";
    let finding = |fault: &crate::domain::fault::Fault| Finding::fault("configuration", fault.to_string(), advice);
    error.0.iter().map(finding).collect()
}

fn configuration(config: &Config, file: &Path) -> Finding {
    let shown = if file.is_file() {
        format!("`{}` can be read", file.display())
    } else {
        "no file, so defaults count".to_owned()
    };
    let realms = counted(config.realms.len() as u64, "realm", "realms");
    Finding::fine("configuration", format!("{shown}; {realms}"))
}

type Looking = Pin<Box<dyn Future<Output = Vec<Finding>> + Send>>;

/// Everything at once, each for as long as there is time.
async fn examine(config: Config, file: &Path) -> Vec<Finding> {
    let mut findings = vec![configuration(&config, file)];
    findings.extend(files::of_configuration(file));
    let config = Arc::new(config);
    let checks: [(&'static str, Looking); 12] = [
        ("files", Box::pin(on_thread(&config, files::check))),
        ("certificates", Box::pin(on_thread(&config, certificates::check))),
        ("disk", Box::pin(on_thread(&config, disk::check))),
        ("realms", Box::pin(on_thread(&config, realms::check))),
        ("callers", Box::pin(on_thread(&config, callers::check))),
        ("decision log", Box::pin(on_thread(&config, log::check))),
        ("open files", Box::pin(on_thread(&config, system::open_files))),
        ("clock", Box::pin(clock::check(Arc::clone(&config)))),
        ("ports", Box::pin(ports::check(Arc::clone(&config)))),
        ("issuers", Box::pin(issuers::check(Arc::clone(&config)))),
        ("witness", Box::pin(witness::check(Arc::clone(&config)))),
        ("traces", Box::pin(system::collector(Arc::clone(&config)))),
    ];
    let until = tokio::time::Instant::now() + ALL_WITHIN;
    let looking = checks.map(|(name, looking)| tokio::spawn(async move { within(name, until, looking).await }));
    for looked in looking {
        findings.extend(looked.await.into_iter().flatten());
    }
    findings
}

async fn within(name: &'static str, until: tokio::time::Instant, looking: Looking) -> Vec<Finding> {
    tokio::time::timeout_at(until, looking).await.unwrap_or_else(|_| {
        let what = format!("could not be looked at within {} s", ALL_WITHIN.as_secs());
        vec![Finding::warning(
            name,
            what,
            "a disk or server that hangs may be the reason; the other findings may say which",
        )]
    })
}

/// Looks on a thread of its own, which the end of the program does not wait for.
fn on_thread<T: Default + Send + 'static>(
    config: &Arc<Config>,
    look: fn(&Config) -> T,
) -> impl Future<Output = T> + Send + use<T> {
    let (sender, receiver) = oneshot::channel();
    let config = Arc::clone(config);
    // Who asked may have given up.
    std::thread::spawn(move || drop(sender.send(look(&config))));
    async move { receiver.await.unwrap_or_default() }
}

#[cfg(test)]
mod tests;
