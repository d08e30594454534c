//! `hallpass reload`: a running service takes a realm's folder as it is now.

use anyhow::Result;

use super::{
    Outcome,
    render::{Screen, Tone, counted},
    target::{Target, failed},
};
use crate::{
    config::Environment,
    domain::fault::{Code, Fault, Severity},
    proto::v1::{PolicyFault, PolicyFaultSeverity, ReloadPoliciesRequest, policy_service_client::PolicyServiceClient},
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let channel = arguments.target.connect(environment).await?;
    let realm = arguments.target.realm(&channel).await?;
    let request = ReloadPoliciesRequest { realm: realm.clone() };
    let answer = PolicyServiceClient::new(channel).reload_policies(request).await;
    let answer = answer.map_err(|status| failed(&status))?.into_inner();
    let version: String = answer.policy_version.chars().take(12).collect();
    let count = counted(answer.faults.len() as u64, "fault", "faults");
    let is_good = answer.faults.is_empty();
    for fault in answer.faults {
        screen.line(fault_of(fault))?;
    }
    let line = if is_good {
        format!("{realm}: {}, decides by digest {version}…", screen.toned(Tone::Good, "reloaded"))
    } else {
        format!("{realm}: {}, still decides by digest {version}…", screen.toned(Tone::Bad, &count))
    };
    screen.line(line)?;
    Ok(Outcome::of(!is_good))
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
