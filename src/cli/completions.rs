//! `hallpass completions`: what a shell needs to complete command lines.

use anyhow::Result;
use clap::Command;
use clap_complete::{Shell, generate};

use super::{Outcome, render::Screen};

const NOTES: &str = "\
For example: hallpass completions bash > /etc/bash_completion.d/hallpass";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Arguments {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

/// Prints the script of a shell for the whole command line.
pub(super) fn run(Arguments { shell }: &Arguments, mut line: Command, screen: &mut Screen) -> Result<Outcome> {
    let name = line.get_name().to_owned();
    // Put together before it is printed: the generator would panic at a closed pipe.
    let mut script = Vec::new();
    generate(*shell, &mut line, name, &mut script);
    screen.out().write_all(&script)?;
    screen.out().flush()?;
    Ok(Outcome::Fine)
}
