//! The realms: their files can be read, compile, and pass their own tests.

use super::{finding::Finding, loaded};
use crate::{
    app::{policies::validate, ports::archive::PolicyVersions as _},
    config::{Config, RealmConfig},
    domain::{fault::Fault, id::RealmName},
    server::{below, kept_versions},
};

const REALMS: &str = "realms";

/// So many faults of a realm are listed.
const LISTED_MAX: usize = 5;

pub(super) fn check(config: &Config) -> Vec<Finding> {
    config.realms.iter().flat_map(|realm| check_realm(config, realm)).collect()
}

fn check_realm(config: &Config, realm: &RealmConfig) -> Vec<Finding> {
    let RealmConfig { name, place, variant, .. } = realm;
    let folder = place.shown();
    let shown = folder.display();
    let mut findings: Vec<Finding> = pinned(config, name).into_iter().collect();
    let files = match place.read() {
        Ok(read) => read.files,
        Err(fault) => {
            let advice = "a running service goes on with the last good files, and cannot start again";
            findings.push(Finding::fault(REALMS, format!("`{name}`: {fault}"), advice));
            return findings;
        }
    };
    let validation = validate(&files, variant.as_deref());
    let advice = format!("hallpass check {shown}");
    for fault in validation.faults.iter().take(LISTED_MAX) {
        let fault: Fault = below(folder, fault.clone());
        findings.push(Finding::fault(REALMS, format!("`{name}`: {fault}"), advice.clone()));
    }
    if let Some(more) = validation.faults.len().checked_sub(LISTED_MAX).filter(|more| *more > 0) {
        findings.push(Finding::fault(REALMS, format!("`{name}` has {more} more faults"), advice.clone()));
    }
    let failed = validation.tests.iter().filter(|case| !case.differences.is_empty()).count();
    if failed > 0 {
        let what = format!("{failed} of the own tests of `{name}` fail, so the service refuses to start");
        findings.push(Finding::fault(REALMS, what, format!("hallpass test {shown}")));
    }
    if !validation.faults.is_empty() || failed > 0 {
        return findings;
    }
    let trusts_nobody = loaded::trusting(realm).is_some_and(|it| it.issuers.is_empty() && it.takes_tokens);
    if trusts_nobody {
        let what = format!("`{name}` trusts no issuer, so every token is refused");
        findings.push(Finding::warning(REALMS, what, format!("name one under [[realms.{name}.issuers]]")));
    }
    let (tests, warnings) = (validation.tests.len(), validation.warnings.len());
    let version: String = validation.version.map(|version| version.0.chars().take(12).collect()).unwrap_or_default();
    let remarks = if warnings > 0 { format!("; {warnings} remarks, see {advice}") } else { String::new() };
    findings
        .push(Finding::fine(REALMS, format!("`{name}` compiles ({version}…) and passes its {tests} tests{remarks}")));
    findings
}

/// A rollback that stands: the files do not decide.
fn pinned(config: &Config, name: &RealmName) -> Option<Finding> {
    let versions = kept_versions(&config.data_dir, name);
    match versions.pin() {
        Ok(None) => None,
        Ok(Some(pin)) => {
            let version: String = pin.version.0.chars().take(12).collect();
            let what =
                format!("`{name}` was rolled back to version {version}… by {}, so its files do not decide", pin.by);
            Some(Finding::warning(
                REALMS,
                what,
                format!("once they are mended: hallpass policies resume --realm {name}"),
            ))
        }
        Err(error) => {
            let advice = format!("remove `{}` to let the files decide again", versions.pin_file().display());
            Some(Finding::fault(REALMS, format!("`{name}`: {error}"), advice))
        }
    }
}
