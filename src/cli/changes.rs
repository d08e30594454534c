//! What other policies make of decisions, as it is shown: for replays and for shadows.

use anyhow::Result;
use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::{
    json,
    render::{Screen, Tone, count, counted, plain},
};
use crate::proto::v1::{
    ChangeCause, ChangeClause, ChangeExample, ChangeGroup, ChangeKind, ChangeReport, Decision, DecisionChange,
};

/// Changes that count as findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum FailOn {
    /// What was denied would be allowed.
    NewlyAllowed,
    /// What was allowed would be denied.
    NewlyDenied,
    /// Whatever changes, be it only for what reasons.
    Any,
}

impl FailOn {
    /// The report has such changes.
    pub(super) fn finds(self, report: &ChangeReport) -> bool {
        match self {
            Self::NewlyAllowed => report.newly_allowed > 0,
            Self::NewlyDenied => report.newly_denied > 0,
            Self::Any => report.newly_allowed + report.newly_denied + report.otherwise > 0,
        }
    }
}

/// How many decisions a report is about.
pub(super) fn all(report: &ChangeReport) -> u64 {
    report.same + report.otherwise + report.newly_allowed + report.newly_denied
}

/// Shows the counts, and below them each cause with its examples.
pub(super) fn show(report: &ChangeReport, screen: &mut Screen) -> Result<()> {
    let ChangeReport { same, otherwise, newly_allowed, newly_denied, groups, ungrouped } = report;
    let lines = [
        (DecisionChange::NewlyAllowed, Tone::Bad, *newly_allowed, "newly allowed"),
        (DecisionChange::NewlyDenied, Tone::Bad, *newly_denied, "newly denied"),
        (DecisionChange::Otherwise, Tone::Doubtful, *otherwise, "allowed or denied as before, otherwise than before"),
        (DecisionChange::Unspecified, Tone::Good, *same, "the same"),
    ];
    for (change, tone, decisions, what) in lines {
        let tone = if decisions == 0 { Tone::Faint } else { tone };
        let number = screen.toned(tone, &format!("{:>12}", count(decisions)));
        screen.line(format_args!("{number}  {what}"))?;
        for group in groups.iter().filter(|group| group.change() == change && group.decisions > 0) {
            show_group(group, screen)?;
        }
    }
    if *ungrouped > 0 {
        let decisions = counted(*ungrouped, "decision changes", "decisions change");
        screen.line(format_args!("{:>12}  {decisions} for causes beyond these", ""))?;
    }
    Ok(())
}

fn show_group(group: &ChangeGroup, screen: &mut Screen) -> Result<()> {
    let cause = group.cause.clone().unwrap_or_default();
    let number = count(group.decisions);
    screen.line(format_args!("{:>12}  {number:>8}  {}", "", sentence(group.change(), &cause)))?;
    if let Some(ChangeClause { file, line, column, text, negated }) = &cause.clause {
        let word = if *negated { "unless" } else { "when" };
        let indent = " ".repeat(24);
        let text = plain(text).split_whitespace().collect::<Vec<_>>().join(" ");
        screen.line(format_args!("{indent}{word} {text}"))?;
        screen.line(screen.toned(Tone::Faint, &format!("{indent}{file}:{line}:{column}")))?;
    }
    for example in &group.examples {
        let line = format!("{:>24}{}", "", shown(example));
        screen.line(screen.toned(Tone::Faint, &line))?;
    }
    Ok(())
}

/// What makes the difference, in words.
fn sentence(change: DecisionChange, cause: &ChangeCause) -> String {
    let word = if cause.effect() == Decision::Deny { "forbid" } else { "permit" };
    let policy = format!("{word} `{}`", cause.policy);
    // A permit that allows, or a forbid that denies, applies by the candidate alone; the others applied before alone.
    let applies_now = (change == DecisionChange::NewlyAllowed) == (cause.effect() == Decision::Allow);
    let code = if cause.code.is_empty() { String::new() } else { format!(" ({})", cause.code) };
    let what = match (cause.kind(), applies_now) {
        (ChangeKind::Added, _) => format!("{policy} is new"),
        (ChangeKind::Removed, _) => format!("{policy} is gone"),
        (ChangeKind::Scope, true) => format!("{policy} takes such questions now"),
        (ChangeKind::Scope, false) => format!("{policy} takes such questions no longer"),
        (ChangeKind::Condition, true) => format!("{policy} no longer fails this condition"),
        (ChangeKind::Condition, false) => format!("{policy} fails this condition now"),
        (ChangeKind::Failed, _) => format!("policy `{}` cannot be evaluated", cause.policy),
        (ChangeKind::Other | ChangeKind::Unspecified, _) if cause.policy.is_empty() => "no single policy".to_owned(),
        (ChangeKind::Other | ChangeKind::Unspecified, _) => format!("by policy `{}`", cause.policy),
    };
    format!("{what}{code}")
}

fn shown(example: &ChangeExample) -> String {
    let ChangeExample { decision_id, time: _, principal, action, resource_type, resource_id, .. } = example;
    let principal = principal.as_ref().map(|principal| principal.id.as_str()).unwrap_or_default();
    let resource = [resource_type.as_str(), resource_id.as_str()].join(" ");
    plain(&format!("{decision_id}  {principal}  {action}  {}", resource.trim_end()))
}

/// A report for programs.
pub(super) fn report_json(report: &ChangeReport) -> Json {
    let ChangeReport { same, otherwise, newly_allowed, newly_denied, groups, ungrouped } = report;
    json!({
        "same": same,
        "otherwise": otherwise,
        "newly_allowed": newly_allowed,
        "newly_denied": newly_denied,
        "groups": groups.iter().map(group_json).collect::<Vec<_>>(),
        "ungrouped": ungrouped,
    })
}

fn group_json(group: &ChangeGroup) -> Json {
    json!({
        "change": change_word(group.change()),
        "cause": group.cause.as_ref().map(cause_json),
        "decisions": group.decisions,
        "examples": group.examples.iter().map(example_json).collect::<Vec<_>>(),
    })
}

/// What becomes of a decision, as programs read it.
pub(super) fn change_word(change: DecisionChange) -> Option<&'static str> {
    match change {
        DecisionChange::Unspecified => None,
        DecisionChange::NewlyAllowed => Some("newly_allowed"),
        DecisionChange::NewlyDenied => Some("newly_denied"),
        DecisionChange::Otherwise => Some("otherwise"),
    }
}

/// A cause for programs.
pub(super) fn cause_json(cause: &ChangeCause) -> Json {
    let kind = match cause.kind() {
        ChangeKind::Unspecified => "unspecified",
        ChangeKind::Added => "added",
        ChangeKind::Removed => "removed",
        ChangeKind::Scope => "scope",
        ChangeKind::Condition => "condition",
        ChangeKind::Failed => "failed",
        ChangeKind::Other => "other",
    };
    let effect = match cause.effect() {
        Decision::Allow => Some("permit"),
        Decision::Deny => Some("forbid"),
        Decision::Unspecified => None,
    };
    let clause = cause.clause.as_ref().map(|ChangeClause { file, line, column, text, negated }| {
        json!({ "file": file, "line": line, "column": column, "text": text, "negated": negated })
    });
    json!({
        "kind": kind,
        "policy": Some(&cause.policy).filter(|policy| !policy.is_empty()),
        "effect": effect,
        "clause": clause,
        "code": cause.code,
    })
}

fn example_json(example: &ChangeExample) -> Json {
    let ChangeExample { decision_id, time, principal, action, resource_type, resource_id, .. } = example;
    json!({
        "decision_id": decision_id,
        "time": time.as_ref().map(ToString::to_string),
        "principal": principal.as_ref().map(|principal| format!("{}::{}", principal.r#type, principal.id)),
        "action": action,
        "resource_type": resource_type,
        "resource_id": resource_id,
        "logged": { "outcome": json::outcome(example.logged_outcome), "reasons": example.logged_codes },
        "now": { "outcome": json::outcome(example.outcome), "reasons": example.codes },
    })
}
