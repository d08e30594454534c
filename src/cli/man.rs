//! `hallpass man`: the manual, one page a command.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use clap::Command;
use clap_mangen::Man;

use super::{Outcome, render::Screen};

const NOTES: &str = "\
For example: hallpass man /usr/local/share/man/man1, and then: man hallpass, man hallpass-serve, man hallpass-decisions-query";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(super) struct Arguments {
    /// The folder of the pages; made when missing
    #[arg(value_name = "DIR")]
    folder: PathBuf,
}

/// Writes the pages of the whole command line. The same program writes the same bytes.
pub(super) fn run(Arguments { folder }: &Arguments, mut line: Command, screen: &mut Screen) -> Result<Outcome> {
    line.build();
    let source = format!("{} {}", line.get_name(), env!("CARGO_PKG_VERSION"));
    let written = fs::create_dir_all(folder).and_then(|()| write_pages(&line, &source, folder));
    written.with_context(|| format!("the pages cannot be written to {}", folder.display()))?;
    screen.line(format_args!("start with: man {}", folder.join("hallpass.1").display()))?;
    Ok(Outcome::Fine)
}

fn write_pages(command: &Command, source: &str, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        write_pages(below, source, folder)?;
    }
    Man::new(command.clone()).source(source).manual("hallpass").generate_to(folder).map(drop)
}
