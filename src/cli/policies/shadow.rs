//! `hallpass policies shadow`: a candidate decides beside a running service's policies, and what it would have decided
//! otherwise.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result};
use serde_json::{Value as Json, json};

use crate::{
    cli::{
        Outcome,
        changes::{self, FailOn},
        check::{self, read},
        decisions::why_not,
        reload::fault_of,
        render::{Form, Screen, Tone, count, counted, note, plain},
        report::json_of,
        target::{PolicyTarget, failed},
    },
    config::Environment,
    proto::v1::{
        GetShadowRequest, GetShadowResponse, PolicyFault, PolicyFile, ShadowReport, StartShadowRequest,
        StartShadowResponse, StopShadowRequest, policy_service_client::PolicyServiceClient,
    },
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(in crate::cli) struct Arguments {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    status: Status,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Lets the files of a folder decide in the shadow of a realm, in place of the shadow that runs
    Start(Start),
    /// Shows what the shadow has found so far
    Status(Status),
    /// Ends the shadow and shows what it found
    Stop(Stop),
}

#[derive(Debug, clap::Args)]
struct Start {
    /// The candidate: the folder of a realm
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    #[command(flatten)]
    target: PolicyTarget,
    /// How to show what came of it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
struct Status {
    #[command(flatten)]
    target: PolicyTarget,
    /// Exit with 1 when there are such changes; several with commas between
    #[arg(long, value_name = "CHANGE", value_enum, value_delimiter = ',')]
    fail_on: Vec<FailOn>,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
struct Stop {
    #[command(flatten)]
    target: PolicyTarget,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(
    Arguments { verb, status }: Arguments,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    match verb {
        Some(Verb::Start(arguments)) => start(arguments, environment, screen).await,
        Some(Verb::Status(arguments)) => show_status(arguments, environment, screen).await,
        Some(Verb::Stop(arguments)) => stop(arguments, environment, screen).await,
        None => show_status(status, environment, screen).await,
    }
}

async fn start(
    Start { folder, target, output }: Start,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    let files = read(&folder)?.into_iter().map(|file| PolicyFile { path: file.path, content: file.content }).collect();
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let request = StartShadowRequest { realm: realm.clone(), files };
    let answer = PolicyServiceClient::new(channel).start_shadow(request).await;
    let StartShadowResponse { policy_version, faults, warnings } =
        answer.map_err(|status| failed(&status))?.into_inner();
    let is_good = faults.is_empty();
    match output {
        Form::Json => screen.json(&json!({
            "realm": realm,
            "policy_version": is_good.then_some(policy_version),
            "faults": json_of_all(faults),
            "warnings": json_of_all(warnings),
        }))?,
        Form::Text if is_good => {
            for warning in warnings {
                let text = check::shown(&crate::server::below(&folder, fault_of(warning)), screen);
                screen.line(text)?;
            }
            let started = screen.toned(Tone::Good, "shadow started");
            screen.line(format_args!("{realm}: {started}, digest {}", short(&policy_version)))?;
            note(&format!("what it would have decided otherwise: hallpass policies shadow --realm {realm}"));
        }
        Form::Text => {
            check::show(&folder, faults.into_iter().map(fault_of).collect(), screen)?;
            screen.line(format_args!("{realm}: {}", screen.toned(Tone::Bad, "no shadow started")))?;
        }
    }
    Ok(Outcome::of(!is_good))
}

async fn show_status(
    Status { target, fail_on, output }: Status,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let answer = PolicyServiceClient::new(channel).get_shadow(GetShadowRequest { realm: realm.clone() }).await;
    let GetShadowResponse { report, faults } = answer.map_err(|status| failed(&status))?.into_inner();
    let is_finding = has_findings(report.as_ref(), &fail_on);
    match output {
        Form::Json => screen.json(&json!({
            "realm": realm,
            "report": report.as_ref().map(json_of_report),
            "faults": json_of_all(faults),
        }))?,
        Form::Text => {
            match &report {
                Some(report) => show(&realm, report, screen)?,
                None => screen.line(format_args!("{realm}: no shadow runs"))?,
            }
            if !faults.is_empty() {
                let count = counted(faults.len() as u64, "fault", "faults");
                let what = "in the folder that hallpass.toml names as `shadow`, which was not taken";
                screen.line(format_args!("{} {what}:", screen.toned(Tone::Bad, &count)))?;
            }
            for fault in faults {
                let text = check::shown(&fault_of(fault), screen);
                screen.line(text)?;
            }
        }
    }
    Ok(Outcome::of(is_finding))
}

async fn stop(Stop { target, output }: Stop, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let answer = PolicyServiceClient::new(channel).stop_shadow(StopShadowRequest { realm: realm.clone() }).await;
    let report = answer.map_err(|status| failed(&status))?.into_inner().report;
    let report = report.context("the service said nothing of the shadow; is it of the same version?")?;
    match output {
        Form::Json => screen.json(&json!({ "realm": realm, "report": json_of_report(&report) }))?,
        Form::Text => {
            show(&realm, &report, screen)?;
            screen.line(format_args!("{realm}: shadow stopped"))?;
        }
    }
    Ok(Outcome::Fine)
}

/// There are such changes, or nobody can tell: no shadow runs, or none of the decisions could be compared.
fn has_findings(report: Option<&ShadowReport>, fail_on: &[FailOn]) -> bool {
    let Some(report) = report else { return !fail_on.is_empty() };
    let changes = report.changes.clone().unwrap_or_default();
    let is_refused = !report.refused.is_empty() && (report.compared == 0 || fail_on.contains(&FailOn::Any));
    !fail_on.is_empty() && (is_refused || fail_on.iter().any(|kind| kind.finds(&changes)))
}

/// Shows a report: what is compared with what, the counts.
fn show(realm: &str, report: &ShadowReport, screen: &mut Screen) -> Result<()> {
    let ShadowReport { policy_version, live_version, started_by, counted_since, .. } = report;
    let since = counted_since.map(|time| time.to_string()).unwrap_or_default();
    screen.line(format_args!(
        "{realm}: candidate {} beside {}, counted since {since}, started by {}",
        short(policy_version),
        short(live_version),
        plain(started_by)
    ))?;
    if policy_version == live_version {
        note("the candidate is what decides");
    }
    show_counts(report, screen)?;
    if report.changes.as_ref().is_some_and(|changes| !changes.groups.is_empty()) {
        note(&format!("what stands in the log of one of them: hallpass decisions show ID --realm {realm}"));
    }
    Ok(())
}

fn show_counts(report: &ShadowReport, screen: &mut Screen) -> Result<()> {
    let compared = counted(report.compared, "decision", "decisions");
    screen.line(format_args!("{compared} made by both; those of the candidate would be"))?;
    changes::show(&report.changes.clone().unwrap_or_default(), screen)?;
    for (code, number) in report.refused.iter().collect::<BTreeMap<_, _>>() {
        let number = screen.toned(Tone::Bad, &format!("{:>12}", count(*number)));
        screen.line(format_args!("{number}  not made by the candidate: {} ({})", why_not(code), plain(code)))?;
    }
    if report.not_compared > 0 {
        let number = count(report.not_compared);
        screen.line(format_args!("{number:>12}  not compared: too many at once, or too large"))?;
    }
    Ok(())
}

/// A report for programs.
fn json_of_report(report: &ShadowReport) -> Json {
    let refused: BTreeMap<_, _> = report.refused.iter().collect();
    json!({
        "policy_version": report.policy_version,
        "live_version": report.live_version,
        "started_at": report.started_at.map(|at| at.to_string()),
        "started_by": report.started_by,
        "counted_since": report.counted_since.map(|at| at.to_string()),
        "compared": report.compared,
        "changes": report.changes.as_ref().map(changes::report_json),
        "not_compared": report.not_compared,
        "refused": refused,
    })
}

fn json_of_all(faults: Vec<PolicyFault>) -> Vec<Json> {
    faults.into_iter().map(|fault| json_of(&fault_of(fault))).collect()
}

/// The beginning of a digest.
fn short(digest: &str) -> String {
    format!("{}…", digest.chars().take(12).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::v1::ChangeReport;

    #[test]
    fn what_fails_is_what_was_asked_for() {
        let with = |changes: ChangeReport| ShadowReport {
            compared: 3 + changes::all(&changes),
            changes: Some(changes),
            ..ShadowReport::default()
        };
        let reports = [
            with(ChangeReport::default()),
            with(ChangeReport { newly_allowed: 1, ..ChangeReport::default() }),
            with(ChangeReport { newly_denied: 1, ..ChangeReport::default() }),
            with(ChangeReport { otherwise: 1, ..ChangeReport::default() }),
            ShadowReport { refused: [("QUESTION_REFUSED".to_owned(), 1)].into(), ..with(ChangeReport::default()) },
            ShadowReport { refused: [("ACTION_UNKNOWN".to_owned(), 1)].into(), ..ShadowReport::default() },
        ];
        let found = |fail_on: &[FailOn]| reports.each_ref().map(|report| has_findings(Some(report), fail_on));
        assert_eq!(found(&[]), [false; 6]);
        assert_eq!(found(&[FailOn::NewlyAllowed]), [false, true, false, false, false, true]);
        assert_eq!(found(&[FailOn::NewlyDenied]), [false, false, true, false, false, true]);
        assert_eq!(found(&[FailOn::Any]), [false, true, true, true, true, true]);
        assert!(has_findings(None, &[FailOn::Any]) && !has_findings(None, &[]), "nobody can tell");
    }
}
