//! `hallpass reload`: a running service takes a realm's folder as it is now.

use anyhow::Result;

use super::{
    Outcome,
    render::{Screen, Tone, counted},
    target::{PolicyTarget, failed},
};
use crate::{
    config::Environment,
    domain::fault::{Code, Fault, Severity},
    proto::v1::{PolicyFault, PolicyFaultSeverity, ReloadPoliciesRequest, policy_service_client::PolicyServiceClient},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: PolicyTarget,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let channel = arguments.target.connect(environment).await?;
    let realm = arguments.target.realm(&channel).await?;
    let request = ReloadPoliciesRequest { realm: realm.clone() };
    let answer = PolicyServiceClient::new(channel).reload_policies(request).await;
    let answer = answer.map_err(|status| failed(&status))?.into_inner();
    let is_good = answer.faults.is_empty();
    show(&realm, "reloaded", &answer.policy_version, answer.faults, screen)?;
    Ok(Outcome::of(!is_good))
}

/// Shows what a realm decides by now, and the faults for which it still does.
pub(super) fn show(
    realm: &str,
    done: &str,
    version: &str,
    faults: Vec<PolicyFault>,
    screen: &mut Screen,
) -> Result<()> {
    let version: String = version.chars().take(12).collect();
    let count = counted(faults.len() as u64, "fault", "faults");
    let is_good = faults.is_empty();
    for fault in faults {
        screen.line(fault_of(fault))?;
    }
    let line = if is_good {
        format!("{realm}: {}, decides by digest {version}…", screen.toned(Tone::Good, done))
    } else {
        format!("{realm}: {}, still decides by digest {version}…", screen.toned(Tone::Bad, &count))
    };
    Ok(screen.line(line)?)
}

/// A fault as it is shown, from the wire.
pub(super) fn fault_of(fault: PolicyFault) -> Fault {
    let severity = if fault.severity() == PolicyFaultSeverity::Warning { Severity::Warning } else { Severity::Error };
    let PolicyFault { file, line, column, source_line, message, severity: _, code, help, end_line, end_column } = fault;
    let number = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    Fault {
        file,
        line: number(line),
        column: number(column),
        source_line,
        message,
        end_line: number(end_line),
        end_column: number(end_column),
        severity,
        code: Code::of(&code).unwrap_or(Code::Other),
        help: Some(help).filter(|help| !help.is_empty()),
    }
}
