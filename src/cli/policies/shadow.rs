//! `hallpass policies shadow`: a candidate decides beside a running service's policies, and what it would have decided
//! otherwise.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde_json::{Value as Json, json};

use crate::{
    cli::{
        Outcome,
        check::{self, read},
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
    /// What to end with exit code 1 for
    #[arg(long, value_name = "WHAT", value_enum)]
    fail_on: Option<FailOn>,
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

/// Which changes are findings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum FailOn {
    /// What is denied and would be allowed
    NewlyAllowed,
    /// What is allowed and would be denied
    NewlyDenied,
    /// Any decision that would come out differently, or could not be made
    Any,
}

/// Why a candidate can't make decisions, in words; others are shown by their code.
const REASONS: [(&str, &str); 5] = [
    ("ACTION_NOT_TAKEN", "it does not know the action, or not with this resource type: the caller would get an error"),
    ("RESOURCE_TYPE_UNKNOWN", "it does not know the resource type: the caller would get an error"),
    ("QUESTION_INVALID", "it wants other values of the question: the caller would get an error"),
    ("TOKENS_MAPPED_OTHERWISE", "it makes other principals of tokens, and what tokens say is not kept"),
    ("PRINCIPAL_UNKNOWN", "it has no such principals"),
];

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
    let is_finding = fail_on.is_some_and(|fail_on| report.as_ref().is_none_or(|report| fail_on.finds(report)));
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

impl FailOn {
    fn finds(self, report: &ShadowReport) -> bool {
        match self {
            Self::NewlyAllowed => report.newly_allowed > 0,
            Self::NewlyDenied => report.newly_denied > 0,
            Self::Any => report.same < report.compared || !report.refused.is_empty(),
        }
    }
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
    show_counts(report, screen)
}

fn show_counts(report: &ShadowReport, screen: &mut Screen) -> Result<()> {
    let rows = [
        (report.compared, "decisions compared", Tone::Faint),
        (report.same, "the same", Tone::Good),
        (report.newly_allowed, "newly allowed", Tone::Bad),
        (report.newly_denied, "newly denied", Tone::Bad),
        (report.otherwise, "the same effect for other reasons or by other policies", Tone::Doubtful),
    ];
    for (number, what, tone) in rows {
        let shown = format!("{:>12}", count(number));
        let is_toned = number > 0 && tone != Tone::Faint;
        let shown = if is_toned { screen.toned(tone, &shown) } else { shown };
        screen.line(format_args!("{shown}  {what}"))?;
    }
    let mut refused: Vec<_> = report.refused.iter().collect();
    refused.sort();
    for (code, number) in refused {
        let why = REASONS.iter().find(|(known, _)| known == code).map_or("", |(_, why)| why);
        let shown = screen.toned(Tone::Bad, &format!("{:>12}", count(*number)));
        screen.line(format_args!("{shown}  not decided by the candidate: {why} ({})", plain(code)))?;
    }
    if report.not_compared > 0 {
        let number = count(report.not_compared);
        screen.line(format_args!("{number:>12}  not compared: too many at once, or too large"))?;
    }
    Ok(())
}

/// A report for programs.
fn json_of_report(report: &ShadowReport) -> Json {
    let refused: std::collections::BTreeMap<_, _> = report.refused.iter().collect();
    json!({
        "policy_version": report.policy_version,
        "live_version": report.live_version,
        "started_at": report.started_at.map(|at| at.to_string()),
        "started_by": report.started_by,
        "counted_since": report.counted_since.map(|at| at.to_string()),
        "compared": report.compared,
        "same": report.same,
        "otherwise": report.otherwise,
        "newly_allowed": report.newly_allowed,
        "newly_denied": report.newly_denied,
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

    #[test]
    fn what_fails_is_what_was_asked_for() {
        let same = ShadowReport { compared: 3, same: 3, ..ShadowReport::default() };
        let allowed = ShadowReport { compared: 4, newly_allowed: 1, ..same.clone() };
        let denied = ShadowReport { compared: 4, newly_denied: 1, ..same.clone() };
        let otherwise = ShadowReport { compared: 4, otherwise: 1, ..same.clone() };
        let refused = ShadowReport { refused: [("QUESTION_INVALID".to_owned(), 1)].into(), ..same.clone() };
        let found =
            |fail_on: FailOn| [&same, &allowed, &denied, &otherwise, &refused].map(|report| fail_on.finds(report));
        assert_eq!(found(FailOn::NewlyAllowed), [false, true, false, false, false]);
        assert_eq!(found(FailOn::NewlyDenied), [false, false, true, false, false]);
        assert_eq!(found(FailOn::Any), [false, true, true, true, true]);
    }
}
