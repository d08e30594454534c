//! `hallpass test`: the realms' own tests.

use std::path::PathBuf;

use anyhow::Result;

use super::{
    Outcome, check,
    render::{Screen, Tone, count},
};
use crate::domain::policy_test;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders of realms, or folders that hold such folders
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let (mut passed, mut failed, mut has_faults) = (0, 0, false);
    for folder in check::realm_folders(&arguments.folders)? {
        let cases = match policy_test::run(&check::read(&folder)?) {
            Ok(cases) => cases,
            Err(faults) => {
                has_faults = true;
                check::show(&folder, faults, screen)?;
                continue;
            }
        };
        for case in &cases {
            if case.differences.is_empty() {
                passed += 1;
                continue;
            }
            failed += 1;
            let word = screen.toned(Tone::Bad, "FAILED");
            screen.line(format_args!("{word} {}: {}", folder.join(&case.file).display(), case.name))?;
            for difference in &case.differences {
                screen.line(format_args!("    {difference}"))?;
            }
        }
    }
    let is_good = failed == 0 && !has_faults;
    let summary = format!("{} passed, {} failed", count(passed), count(failed));
    let broken = if has_faults { "; the tests of realms with faults were not run" } else { "" };
    let tone = if is_good { Tone::Good } else { Tone::Bad };
    screen.line(format_args!("{}{broken}", screen.toned(tone, &summary)))?;
    Ok(Outcome::of(!is_good))
}
