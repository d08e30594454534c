//! Mutants as text: how many the tests noticed, and those that they did not.

use std::path::Path;

use anyhow::Result;

use super::{percent, shown};
use crate::{
    cli::render::{Screen, Tone, plain},
    domain::mutation::{Fate, Mutant, killed},
};

pub(super) fn show(folder: &Path, tried: &[(Mutant, Fate)], screen: &mut Screen) -> Result<()> {
    let share = killed(tried);
    let equivalent = tried.iter().filter(|(_, fate)| matches!(fate, Fate::Equivalent(_))).count();
    let tone = if share.seen == share.all { Tone::Good } else { Tone::Doubtful };
    let noticed = screen.toned(tone, &percent(share));
    screen.line(format_args!("mutants of {}: {noticed} killed, {equivalent} equivalent", folder.display()))?;
    for (mutant, fate) in tried {
        let Fate::Survived(nearest) = fate else { continue };
        let Mutant { policy, file, line, change, text, lines: (before, after) } = mutant;
        let word = screen.toned(Tone::Bad, "survived");
        let at = format!("{}:{line}", shown(folder, file));
        screen.line(format_args!("  {word} {at} {policy}, {}: {}", change.name(), plain(text)))?;
        screen.line(format_args!("    {}", screen.toned(Tone::Bad, &format!("- {}", plain(before)))))?;
        screen.line(format_args!("    {}", screen.toned(Tone::Good, &format!("+ {}", plain(after)))))?;
        for test in nearest {
            screen.line(format_args!("    near: {}", plain(test)))?;
        }
    }
    Ok(())
}
