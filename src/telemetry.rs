//! What the service tells of its own work: its log, on standard error, and traces. Neither holds a token or a person's id.

pub mod otlp;
mod panics;

use std::{
    io::{self, IsTerminal as _},
    str::FromStr,
};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// How the log is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// A filter that [`level`] accepts; default `info`.
    pub level: String,
    /// The form of a line; default text.
    pub format: Format,
}

impl Default for Options {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for Format {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("`{other}` is no format, expected `text` or `json`")),
        }
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Accepts a level, or directives of levels for modules (those of `tracing_subscriber::EnvFilter`).
///
/// # Errors
/// What was expected. A word alone must be a level: as a module's name it would turn everything else off.
pub fn level(text: &str) -> Result<String, String> {
    let is_level = |word: &str| LEVELS.iter().any(|level| word.eq_ignore_ascii_case(level));
    let is_module = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
    let fits_part = |part: &str| match part.rsplit_once('=') {
        None => is_level(part),
        Some((module, level)) => is_module(module) && is_level(level),
    };
    let fits = text.split(',').all(fits_part);
    if fits && EnvFilter::try_new(text).is_ok() {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is no level, expected off, error, warn, info, debug or trace, or a filter such as `warn,hallpass=debug`"
    ))
}

/// Starts the log of this process, once; panics are told there too, and nowhere else.
///
/// # Errors
/// A filter that cannot be read, or a log that was started before.
pub fn start(options: &Options) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&options.level).context("the log's filter cannot be read")?;
    let builder = tracing_subscriber::fmt().with_writer(io::stderr).with_env_filter(filter);
    // Not `init`, which would let in records of the `log` crate too: sled's name the keys that it stores.
    let started = match options.format {
        Format::Text => {
            let text = builder.with_ansi(io::stderr().is_terminal());
            tracing::subscriber::set_global_default(text.finish())
        }
        Format::Json => tracing::subscriber::set_global_default(builder.json().flatten_event(true).finish()),
    };
    started.context("the log was started before")?;
    panics::tell_places();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_made_of_levels() {
        for good in ["info", "off", "TRACE", "warn,hallpass=debug", "hallpass::app=info,h2=off"] {
            assert!(level(good).is_ok(), "{good}");
        }
        for bad in ["", "loud", "info,", "hallpass", "hallpass=loud", "warn hallpass=debug", "warn, h2=off"] {
            assert!(level(bad).is_err(), "{bad}");
        }
    }
}
