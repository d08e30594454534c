//! Coverage as text: the policies that no test saw whole, condition by condition.

use std::path::Path;

use anyhow::Result;

use super::{percent, shown};
use crate::{
    cli::render::{Screen, Tone, counted, plain},
    domain::{
        coverage::{ConjunctCoverage, Coverage, PolicyCoverage},
        policy_text::on_one_line,
    },
};

/// How much of a condition a line shows, in characters.
const TEXT_MAX: usize = 120;

/// How much of something was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    Both,
    Half,
    None,
}

/// What the tests have seen of a condition, and what is missing.
pub(super) fn mark(conjunct: &ConjunctCoverage) -> (Mark, &'static str) {
    match (conjunct.held > 0, conjunct.failed > 0) {
        (true, true) => (Mark::Both, "true and false"),
        (true, false) => (Mark::Half, "never false"),
        (false, true) => (Mark::Half, "never true"),
        (false, false) => (Mark::None, "never asked"),
    }
}

/// The same of a policy without conditions.
pub(super) fn mark_of_policy(policy: &PolicyCoverage) -> (Mark, &'static str) {
    if policy.applied > 0 { (Mark::Both, "applied") } else { (Mark::None, "never applied") }
}

pub(super) fn tone(mark: Mark) -> Tone {
    match mark {
        Mark::Both => Tone::Good,
        Mark::Half => Tone::Doubtful,
        Mark::None => Tone::Bad,
    }
}

pub(super) fn show(folder: &Path, coverage: &Coverage, screen: &mut Screen) -> Result<()> {
    let policies = counted(coverage.policies.len() as u64, "policy", "policies");
    let share = coverage.share();
    let whole = if share.seen == share.all { Tone::Good } else { Tone::Doubtful };
    let share = screen.toned(whole, &percent(share));
    screen.line(format_args!("coverage of {}: {share}, {policies}", folder.display()))?;
    for policy in &coverage.policies {
        let share = policy.share();
        if share.seen == share.all {
            continue;
        }
        let at = format!("{}:{}", shown(folder, &policy.file), policy.line);
        let PolicyCoverage { id, fitted, applied, .. } = policy;
        screen.line(format_args!("  {at} {id}: {}, applied to {applied} of {fitted}", percent(share)))?;
        if policy.conjuncts.is_empty() {
            let (mark, word) = mark_of_policy(policy);
            screen.line(format_args!("    {}", screen.toned(tone(mark), word)))?;
        }
        for conjunct in &policy.conjuncts {
            let (mark, word) = mark(conjunct);
            let not = if conjunct.is_negated { "not " } else { "" };
            let word = screen.toned(tone(mark), &format!("{word:<14}"));
            screen.line(format_args!("    {word}  {:>4}  {not}{}", conjunct.line, short(&conjunct.text)))?;
        }
    }
    Ok(())
}

/// A condition on one line.
fn short(text: &str) -> String {
    let text = plain(&on_one_line(text));
    if text.chars().count() <= TEXT_MAX {
        return text;
    }
    text.chars().take(TEXT_MAX - 1).chain(['…']).collect()
}
