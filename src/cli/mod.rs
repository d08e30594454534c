//! The command line: one verb a file.
//!
//! Exit codes: 0 fine, 1 findings (a fault, a failing case, a refused record, a deny), 2 usage or I/O.

mod applications;
mod authorize;
mod callers;
mod changes;
mod check;
mod completions;
mod credentials;
mod decisions;
mod demo;
mod doctor;
mod explain;
mod fmt;
mod grants;
mod health;
mod json;
mod man;
mod matrix;
mod notify;
mod parallel;
mod parse;
mod policies;
mod privacy;
mod prove;
mod record_files;
mod relationships;
mod reload;
mod render;
mod report;
mod revocations;
mod route;
mod search;
mod secure;
mod serve;
mod target;
mod test;
mod token;

use std::{io, process::ExitCode};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser, Subcommand};

use self::render::Screen;
use crate::config::Environment;

/// Decides who may see what in school data, and keeps why.
#[derive(Debug, Parser)]
#[command(name = "hallpass", version, max_term_width = 110, disable_help_subcommand = true)]
struct CommandLine {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Runs the service until it is interrupted or terminated
    Serve(Box<serve::Arguments>),
    /// Says whether a running service can be asked; exit code 0 is that it can, 1 that it can't
    Health(health::Arguments),
    /// Looks a deployment over and says what to do; exit code 0 is that all is fine, 1 that something isn't
    Doctor(Box<doctor::Arguments>),
    /// Tells a story of a small district: starts a service, asks it, reads its log
    Demo(demo::Arguments),
    /// Checks the files of realms and shows every fault with its place and the likely fix
    Check(check::Arguments),
    /// Puts policies in one style, their comments and their meaning kept
    Fmt(fmt::Arguments),
    /// Runs the realms' own tests
    Test(test::Arguments),
    /// Shows who may do what with which kind of resource
    Matrix(matrix::Arguments),
    /// Shows which operation, action and resource a request over HTTP asks for; exit code 0 is one, 1 is none
    Route(route::Arguments),
    /// Proves what holds for every request: policies never fail, invariants hold, a change allows nothing new
    Prove(prove::Arguments),
    /// Shows what a candidate set of policies would have made of logged decisions
    Replay(Box<decisions::candidate::Arguments>),
    /// Lets a running service take a realm's folder as it is now; with any fault it goes on as before
    Reload(reload::Arguments),
    /// Takes over claim sets from other products, and shows who may do what
    #[command(subcommand)]
    Grants(grants::Verb),
    /// Asks a running service one question; exit code 0 is allow, 1 is deny
    Authorize(authorize::Arguments),
    /// Says why a question is answered as it is, and what would change it; exit code 0 is allow, 1 is deny
    Explain(explain::Arguments),
    /// Asks a running service which resources a token may act on; exit code 0 is allow, 1 is deny
    Search(search::Arguments),
    /// Imports and reads the relationships that decisions rest on
    #[command(subcommand)]
    Relationships(relationships::Verb),
    /// Keeps the clients that the realms know, and opaque tokens for them
    #[command(subcommand)]
    Applications(applications::Verb),
    /// Revokes tokens that have not expired
    #[command(subcommand)]
    Revocations(revocations::Verb),
    /// Makes keys for who reads the decision log
    #[command(subcommand)]
    Callers(callers::Verb),
    /// Reads the decision log
    #[command(subcommand)]
    Decisions(decisions::Verb),
    /// Goes back to versions of a realm's policies that decided before, shows them, and signs bundles
    #[command(subcommand)]
    Policies(policies::Verb),
    /// Erases people from the decision log, holds them, and says who is behind pseudonyms
    #[command(subcommand)]
    Privacy(privacy::Verb),
    /// Issues tokens to try things out with, and looks into tokens
    #[command(subcommand)]
    Token(token::Verb),
    /// Prints what a shell needs to complete command lines
    Completions(completions::Arguments),
    /// Writes the manual pages of all commands
    Man(man::Arguments),
}

/// What a verb found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Fine,
    Findings,
}

impl Outcome {
    /// Fine, unless something was found.
    fn of(has_findings: bool) -> Self {
        if has_findings { Self::Findings } else { Self::Fine }
    }
}

/// Runs the verb of the process's command line.
pub fn run() -> ExitCode {
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Help and version are no faults.
            let code = if error.use_stderr() { 2 } else { 0 };
            drop(error.print());
            return code.into();
        }
    };
    let environment = Environment::of_process();
    let mut screen = Screen::of_process(&environment);
    match perform(line.verb, &environment, &mut screen) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => 1.into(),
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            render::error(&error);
            2.into()
        }
    }
}

fn perform(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Serve(arguments) => on_runtime(serve::run(*arguments, environment, screen)),
        Verb::Health(arguments) => on_runtime(health::run(arguments, environment, screen)),
        Verb::Doctor(arguments) => on_runtime(doctor::run(*arguments, environment, screen)),
        Verb::Demo(arguments) => on_runtime(demo::run(arguments, screen)),
        Verb::Check(arguments) => check::run(&arguments, screen),
        Verb::Fmt(arguments) => fmt::run(&arguments, screen),
        Verb::Test(arguments) => test::run(&arguments, screen),
        Verb::Matrix(arguments) => matrix::run(&arguments, screen),
        Verb::Route(arguments) => route::run(&arguments, screen),
        Verb::Prove(arguments) => on_runtime(prove::run(arguments, environment, screen)),
        Verb::Replay(arguments) => on_runtime(decisions::candidate::run(*arguments, environment, screen)),
        Verb::Reload(arguments) => on_runtime(reload::run(arguments, environment, screen)),
        Verb::Grants(verb) => grants::run(&verb, screen),
        Verb::Authorize(arguments) => on_runtime(authorize::run(arguments, environment, screen)),
        Verb::Explain(arguments) => on_runtime(explain::run(arguments, environment, screen)),
        Verb::Search(arguments) => on_runtime(search::run(arguments, environment, screen)),
        Verb::Relationships(verb) => on_runtime(relationships::run(verb, environment, screen)),
        Verb::Applications(verb) => on_runtime(applications::run(verb, environment, screen)),
        Verb::Revocations(verb) => on_runtime(revocations::run(verb, environment, screen)),
        Verb::Callers(verb) => callers::run(&verb, screen),
        Verb::Decisions(verb) => on_runtime(decisions::run(verb, environment, screen)),
        Verb::Policies(verb) => policies::run(verb, environment, screen),
        Verb::Privacy(verb) => on_runtime(privacy::run(verb, environment, screen)),
        Verb::Token(verb) => on_runtime(token::run(verb, environment, screen)),
        Verb::Completions(arguments) => completions::run(&arguments, CommandLine::command(), screen),
        Verb::Man(arguments) => man::run(&arguments, CommandLine::command(), screen),
    }
}

fn on_runtime(verb: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.context("the asynchronous runtime cannot be started")?.block_on(verb)
}

/// Whoever read the output has seen enough, as `head` does. A broken connection is no error of this type.
fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }
}
