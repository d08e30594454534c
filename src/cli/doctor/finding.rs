//! What was found, and how it is shown: what is wrong first, each with what to do.

use anyhow::Result;
use serde_json::{Value as Json, json};

use super::super::render::{Screen, Tone, counted, plain};

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// The service cannot start, cannot decide, or can no longer be trusted.
    Fault,
    /// It works, and soon may not, or others could do what they should not.
    Warning,
    /// As it should be.
    Fine,
}

impl State {
    fn word(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Warning => "warning",
            Self::Fine => "ok",
        }
    }

    fn tone(self) -> Tone {
        match self {
            Self::Fault => Tone::Bad,
            Self::Warning => Tone::Doubtful,
            Self::Fine => Tone::Good,
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    /// What was looked at.
    pub(super) check: &'static str,
    /// How it is.
    pub(super) state: State,
    /// What was seen, without anything secret.
    pub(super) what: String,
    /// What to do; empty where nothing need be done.
    pub(super) advice: String,
}

impl Finding {
    pub(super) fn fine(check: &'static str, what: impl Into<String>) -> Self {
        Self { check, state: State::Fine, what: what.into(), advice: String::new() }
    }

    pub(super) fn warning(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Warning, what: what.into(), advice: advice.into() }
    }

    pub(super) fn fault(check: &'static str, what: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, state: State::Fault, what: what.into(), advice: advice.into() }
    }
}

pub(super) fn as_json(findings: &[Finding]) -> Json {
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count();
    let finding = |Finding { check, state, what, advice }: &Finding| {
        let advice = Some(advice).filter(|advice| !advice.is_empty());
        json!({ "check": check, "state": state.word(), "what": what, "advice": advice })
    };
    json!({
        "fine": findings.iter().all(|finding| finding.state == State::Fine),
        "faults": count(State::Fault),
        "warnings": count(State::Warning),
        "findings": worst_first(findings).into_iter().map(finding).collect::<Vec<_>>(),
    })
}

/// For people: what is wrong with what to do, then a line for each that is fine, then the sum.
pub(super) fn show(findings: &[Finding], screen: &mut Screen) -> Result<()> {
    for Finding { check, state, what, advice } in worst_first(findings) {
        let word = screen.toned(state.tone(), state.word());
        let gap = " ".repeat("warning".len().saturating_sub(state.word().len()));
        let mut lines = what.lines();
        screen.line(format_args!("{word}{gap}  {check}: {}", plain(lines.next().unwrap_or_default())))?;
        lines.try_for_each(|line| screen.line(format_args!("         {}", plain(line))))?;
        if !advice.is_empty() {
            screen.line(format_args!("         -> {}", plain(advice)))?;
        }
    }
    let count = |state: State| findings.iter().filter(|finding| finding.state == state).count() as u64;
    let (faults, warnings) = (count(State::Fault), count(State::Warning));
    let sum = match (faults, warnings) {
        (0, 0) => screen.toned(Tone::Good, "all is fine"),
        (0, _) => screen.toned(Tone::Doubtful, &counted(warnings, "warning", "warnings")),
        (_, 0) => screen.toned(Tone::Bad, &counted(faults, "fault", "faults")),
        _ => {
            let sum = format!("{}, {}", counted(faults, "fault", "faults"), counted(warnings, "warning", "warnings"));
            screen.toned(Tone::Bad, &sum)
        }
    };
    Ok(screen.line(sum)?)
}

fn worst_first(findings: &[Finding]) -> Vec<&Finding> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| finding.state);
    sorted
}
