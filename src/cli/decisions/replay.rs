//! `hallpass decisions replay`: logged decisions made again, and what came out differently.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use prost_types::Timestamp;
use serde_json::{Value as Json, json};

use super::{events, filters::Filters, row};
use crate::{
    cli::{
        Outcome, changes, json, parse,
        render::{Form, Screen, Tone, count, counted, note},
        target::{LogTarget, MESSAGE_BYTES_MAX, failed},
    },
    config::Environment,
    proto::v1::{
        Reason, ReplayDecisionsRequest, ReplayDifference, ReplaySummary,
        decision_log_service_client::DecisionLogServiceClient,
    },
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: LogTarget,
    #[command(flatten)]
    filters: Filters,
    /// Take the relationships as they were known at this time, for all decisions: 2026-08-04, 2026-08-04T10:30:00Z, 2h
    #[arg(long, value_name = "TIME", value_parser = parse::moment)]
    as_of: Option<Timestamp>,
    /// How to show it; json is one object a line, the summary last
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// Why decisions are not made again, in words; others are shown by their code.
const REASONS: [(&str, &str); 17] = [
    ("READING", "readings of the log, which rest on no relationships"),
    ("PERSON_ERASED", "a person was erased, and the keys to what was asked with them"),
    ("FACTS_MISSING", "nothing was kept but the record"),
    ("FACTS_MASKED", "the log was told not to keep what was asked"),
    ("FACTS_DAMAGED", "what was kept of the question is damaged"),
    ("POLICIES_MISSING", "the policies of that moment are not kept"),
    ("POLICIES_DAMAGED", "the policies of that moment are damaged"),
    ("POLICIES_OUTDATED", "this release does not read the policies of that moment any more"),
    ("HISTORY_MISSING", "the relationships of that moment are not kept"),
    ("HISTORY_DAMAGED", "the relationships of that moment are damaged"),
    ("ACTION_UNKNOWN", "the candidate has no such action"),
    ("RESOURCE_TYPE_UNKNOWN", "the candidate has no such resource type"),
    ("VALUE_NOT_KEPT", "the candidate looks at a value of the resource that nobody asked for then"),
    ("QUESTION_REFUSED", "the candidate takes the question for a wrong one: its context, or values that are missing"),
    ("CLAIMS_READ_OTHERWISE", "the candidate reads tokens otherwise, and tokens are not kept"),
    ("PRINCIPAL_UNFIT", "the candidate's schema has no such principal"),
    (
        "HISTORY_FORGOTTEN",
        "they came out differently, perhaps because relationships of that moment were forgotten since",
    ),
];

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, filters, as_of, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let query = Some(filters.request(realm));
    let request = ReplayDecisionsRequest { query, as_of, ..ReplayDecisionsRequest::default() };
    let mut parts = client.replay_decisions(request).await.map_err(|status| failed(&status))?.into_inner();
    let mut summary = None;
    while let Some(part) = parts.message().await.map_err(|status| failed(&status))? {
        for difference in &part.differences {
            match output {
                Form::Json => screen.line(difference_json(difference))?,
                Form::Text => show_difference(difference, screen)?,
            }
        }
        summary = part.summary.or(summary);
    }
    let summary = summary.context("the replay ended before its end; try again")?;
    match output {
        Form::Json => screen.line(summary_json(&summary))?,
        Form::Text => show_summary(&summary, as_of.as_ref(), screen)?,
    }
    // What was forgotten may be why, but nobody can tell.
    let is_unexplained = summary.not_replayed.contains_key("HISTORY_FORGOTTEN");
    Ok(Outcome::of(summary.different > 0 || is_unexplained || !summary.complete))
}

pub(super) fn show_difference(difference: &ReplayDifference, screen: &mut Screen) -> Result<()> {
    let ReplayDifference { logged, decision, outcome, reasons, determining_policies, .. } = difference;
    let Some(logged) = logged else { return Ok(()) };
    let line = row(logged).join("  ");
    screen.line(format_args!("{} {line}", screen.toned(Tone::Bad, "different")))?;
    let told = |effect: i32, outcome: i32, reasons: &[Reason], policies: &[String]| {
        let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
        let policies = if policies.is_empty() { String::new() } else { format!(", by {}", policies.join(", ")) };
        format!("{} ({}): {}{policies}", json::effect(effect), json::outcome(outcome), codes.join(", "))
    };
    let was = told(logged.decision, logged.outcome, &logged.reasons, &logged.determining_policies);
    screen.line(format_args!("  was  {was}"))?;
    screen.line(format_args!("  is   {}", told(*decision, *outcome, reasons, determining_policies)))?;
    Ok(())
}

fn show_summary(summary: &ReplaySummary, as_of: Option<&Timestamp>, screen: &mut Screen) -> Result<()> {
    let ReplaySummary { same, different, refused_tokens, .. } = summary;
    let with = as_of.map_or_else(
        || "with the policies and relationships of its moment".to_owned(),
        |time| format!("with the policies of its moment and the relationships known at {time}"),
    );
    screen.line(format_args!("{} decided again, each {with}", counted(same + different, "decision", "decisions")))?;
    screen.line(format_args!("{:>12}  came out the same", count(*same)))?;
    if *different > 0 {
        let number = screen.toned(Tone::Bad, &format!("{:>12}", count(*different)));
        screen.line(format_args!("{number}  came out differently, see above"))?;
    }
    if *refused_tokens > 0 {
        let what = "not decided again: the token was refused, and tokens are not kept";
        screen.line(format_args!("{:>12}  {what}", count(*refused_tokens)))?;
    }
    show_not_replayed(summary, screen)?;
    if *same + *different == 0 {
        note("no decision could be made again");
    }
    show_gaps(summary, screen)
}

/// Shows what was not decided again, and why.
pub(super) fn show_not_replayed(summary: &ReplaySummary, screen: &mut Screen) -> Result<()> {
    for (code, number) in not_replayed(summary) {
        screen.line(format_args!("{:>12}  not decided again: {} ({code})", count(*number), why_not(code)))?;
    }
    Ok(())
}

/// Why a decision is not made again, in words; empty for a code that is not known.
pub(in crate::cli) fn why_not(code: &str) -> &'static str {
    REASONS.iter().find(|(known, _)| *known == code).map_or("", |(_, why)| why)
}

/// How many decisions were not decided again, by the code of why.
pub(super) fn not_replayed(summary: &ReplaySummary) -> BTreeMap<&String, &u64> {
    summary.not_replayed.iter().collect()
}

/// Shows what happened to the log, and that something is missing.
pub(super) fn show_gaps(summary: &ReplaySummary, screen: &mut Screen) -> Result<()> {
    for event in &summary.events {
        screen.line(events::sentence(event))?;
    }
    if !summary.complete {
        screen.line(screen.toned(Tone::Bad, "decisions are missing or cannot be read, as said above"))?;
    }
    Ok(())
}

pub(super) fn difference_json(difference: &ReplayDifference) -> Json {
    let ReplayDifference { logged, decision, outcome, reasons, determining_policies, cause, .. } = difference;
    let codes: Vec<&str> = reasons.iter().map(|reason| reason.code.as_str()).collect();
    json!({
        "logged": logged.as_ref().map(json::record),
        "decision": json::effect(*decision),
        "outcome": json::outcome(*outcome),
        "reasons": codes,
        "determining_policies": determining_policies,
        "change": changes::change_word(difference.change()),
        "cause": cause.as_ref().map(changes::cause_json),
    })
}

fn summary_json(summary: &ReplaySummary) -> Json {
    let ReplaySummary { same, different, refused_tokens, complete, events, .. } = summary;
    json!({ "summary": {
        "same": same,
        "different": different,
        "refused_tokens": refused_tokens,
        "not_replayed": not_replayed(summary),
        "complete": complete,
        "events": events.iter().map(events::json).collect::<Vec<_>>(),
    } })
}
