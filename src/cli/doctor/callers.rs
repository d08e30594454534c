//! Who may call: the callers fit the realms, and the policies that judge them are good.

use super::finding::{Finding, State};
use crate::{
    app::{
        caller::{self, CallerPolicies, KnownCaller},
        policies::faults_of,
    },
    config::Config,
    provider::realm_files::{embedded_caller_policies, read_folder},
};

const CALLERS: &str = "callers";

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let own = config.caller_policies();
    let shown = own.as_ref().map_or_else(|| "the program".to_owned(), |folder| folder.display().to_string());
    let read = own.as_deref().map_or_else(|| Ok(embedded_caller_policies()), read_folder);
    let advice = format!("hallpass check {shown}");
    let mut findings = match read {
        Err(fault) => vec![Finding::fault(CALLERS, format!("the policies about callers: {fault}"), advice)],
        Ok(files) => {
            let mut faults = faults_of(&files, None);
            if faults.is_empty() {
                faults.extend(CallerPolicies::compile(&files).err().into_iter().flatten());
            }
            let finding =
                |fault| Finding::fault(CALLERS, format!("the policies about callers: {fault}"), advice.clone());
            faults.into_iter().map(finding).collect()
        }
    };
    for KnownCaller { name, realms, .. } in &config.callers {
        for realm in realms.iter().filter(|realm| !config.realms.iter().any(|known| known.name == **realm)) {
            let what = format!("`{name}` is let into the realm `{realm}`, which there is not");
            findings.push(Finding::fault(CALLERS, what, format!("mend `realms` of [callers.{name}]")));
        }
    }
    if findings.iter().all(|finding| finding.state == State::Fine) {
        let what = match config.callers.len() {
            0 => format!("none is configured: who is on this machine may ask, and `{}` reads the log", caller::ADMIN),
            count => format!("{count} are configured, and the policies that judge them are good"),
        };
        findings.push(Finding::fine(CALLERS, what));
    }
    findings
}
