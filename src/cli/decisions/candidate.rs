//! `hallpass replay`: what a candidate set of policies makes of logged decisions.

use std::path::PathBuf;

use anyhow::{Context as _, Error, Result};
use serde_json::{Value as Json, json};

use super::{events, filters::Filters, replay};
use crate::{
    cli::{
        Outcome,
        changes::{self, FailOn},
        reload::fault_of,
        render::{Form, Screen, Tone, count, counted, note},
        target::{LogTarget, MESSAGE_BYTES_MAX, failed},
    },
    config::Environment,
    proto::v1::{
        PolicyFault, PolicyFile, RecordKind, ReplayDecisionsRequest, ReplaySummary,
        decision_log_service_client::DecisionLogServiceClient,
    },
    provider::realm_files::read_folder,
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The folder with the candidate's files
    #[arg(long, value_name = "DIR")]
    candidate: PathBuf,
    #[command(flatten)]
    target: LogTarget,
    #[command(flatten)]
    filters: Filters,
    /// Exit with 1 when there are such changes; several with commas between
    #[arg(long, value_name = "CHANGE", value_enum, value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// Show every decision that changes, not only the causes with examples
    #[arg(long)]
    differences: bool,
    /// How to show it; json is one object a line, the summary last
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(in crate::cli) async fn run(
    arguments: Arguments,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    let Arguments { candidate: folder, target, filters, fail_on, differences, output } = arguments;
    let files = read_folder(&folder).map_err(Error::msg)?;
    let candidate = files.into_iter().map(|file| PolicyFile { path: file.path, content: file.content }).collect();
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut query = filters.request(realm);
    if query.kind() == RecordKind::Unspecified {
        query.set_kind(RecordKind::Decision);
    }
    let request = ReplayDecisionsRequest { query: Some(query), as_of: None, candidate, summary_only: !differences };
    let mut parts = client.replay_decisions(request).await.map_err(|status| failed(&status))?.into_inner();
    let (mut summary, mut faults) = (None, Vec::new());
    while let Some(part) = parts.message().await.map_err(|status| failed(&status))? {
        for difference in &part.differences {
            match output {
                Form::Json => screen.line(replay::difference_json(difference))?,
                Form::Text => replay::show_difference(difference, screen)?,
            }
        }
        summary = part.summary.or(summary);
        faults.extend(part.candidate_faults);
    }
    if !faults.is_empty() {
        refused(faults, screen)?;
        return Ok(Outcome::Findings);
    }
    let summary = summary.context("the replay ended before its end; try again")?;
    match output {
        Form::Json => screen.line(summary_json(&summary))?,
        Form::Text => show_summary(&summary, screen)?,
    }
    Ok(Outcome::of(has_findings(&summary, &fail_on)))
}

/// There are such changes, or nobody can tell: decisions are missing, or none was decided again.
fn has_findings(summary: &ReplaySummary, fail_on: &[FailOn]) -> bool {
    let changes = summary.changes.clone().unwrap_or_default();
    let is_unknown = !fail_on.is_empty() && changes::all(&changes) == 0;
    fail_on.iter().any(|kind| kind.finds(&changes)) || is_unknown || !summary.complete
}

fn refused(faults: Vec<PolicyFault>, screen: &mut Screen) -> Result<()> {
    let number = counted(faults.len() as u64, "fault", "faults");
    for fault in faults {
        screen.line(fault_of(fault))?;
    }
    screen.line(format_args!("the candidate has {}: nothing was decided with it", screen.toned(Tone::Bad, &number)))?;
    Ok(())
}

fn show_summary(summary: &ReplaySummary, screen: &mut Screen) -> Result<()> {
    let changes = summary.changes.clone().unwrap_or_default();
    let decided = counted(changes::all(&changes), "decision", "decisions");
    let version: String = summary.candidate_version.chars().take(12).collect();
    screen.line(format_args!(
        "{decided} held against the candidate {version}…, each with the relationships of its moment"
    ))?;
    changes::show(&changes, screen)?;
    if summary.untouched > 0 {
        let what = "of them were not decided again: what differs is not for such questions";
        screen.line(format_args!("{:>22}  {what}", count(summary.untouched)))?;
    }
    if summary.refused_tokens > 0 {
        let what = "not decided again: the token was refused, and tokens are not kept";
        screen.line(format_args!("{:>12}  {what}", count(summary.refused_tokens)))?;
    }
    replay::show_not_replayed(summary, screen)?;
    if changes::all(&changes) == 0 {
        note("no decision could be made again");
    }
    replay::show_gaps(summary, screen)
}

fn summary_json(summary: &ReplaySummary) -> Json {
    json!({ "summary": {
        "candidate_version": summary.candidate_version,
        "changes": summary.changes.as_ref().map(changes::report_json),
        "untouched": summary.untouched,
        "refused_tokens": summary.refused_tokens,
        "not_replayed": replay::not_replayed(summary),
        "complete": summary.complete,
        "events": summary.events.iter().map(events::json).collect::<Vec<_>>(),
    } })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::ChangeReport;

    #[test]
    fn what_fails_is_what_was_asked_for_and_what_nobody_can_tell() {
        let summary = |same, newly_allowed, complete| ReplaySummary {
            complete,
            changes: Some(ChangeReport { same, newly_allowed, ..ChangeReport::default() }),
            ..ReplaySummary::default()
        };
        for (summary, fail_on, expected) in [
            (summary(3, 0, true), vec![FailOn::Any], false),
            (summary(3, 1, true), vec![], false),
            (summary(3, 1, true), vec![FailOn::NewlyDenied], false),
            (summary(3, 1, true), vec![FailOn::NewlyDenied, FailOn::NewlyAllowed], true),
            (summary(3, 1, true), vec![FailOn::Any], true),
            (summary(0, 0, true), vec![], false),
            (summary(0, 0, true), vec![FailOn::NewlyDenied], true),
            (summary(3, 0, false), vec![], true),
        ] {
            assert_eq!(has_findings(&summary, &fail_on), expected, "{summary:?} {fail_on:?}");
        }
    }
}
