//! Realms, their files and the faults in them.

use super::timestamp;
use crate::{
    app::{
        caller::{self, CallerPolicies},
        policies::{
            Validation,
            rollback::Rollback,
            status::{PolicyState, PolicyStatus},
        },
        ports::archive::Pin,
        realm_state::RealmState,
    },
    domain::{
        fault::{Fault, Severity},
        grants::{GrantFault, Grants},
        id::PolicyVersion,
        policy_set::SourceFile,
        policy_test::CaseResult,
    },
    proto::v1 as pb,
};

pub(crate) fn realm(state: &RealmState) -> pb::Realm {
    let (loaded, status) = (state.policies(), state.policy_status());
    let realm = &loaded.realm;
    pb::Realm {
        name: state.name.to_string(),
        title: realm.file.title.to_string(),
        policy_version: realm.version.to_string(),
        loaded_at: Some(timestamp(loaded.loaded_at_us)),
        policies: u32::try_from(realm.policies.len()).unwrap_or(u32::MAX),
        issuers: realm.file.issuers.iter().map(|issuer| issuer.issuer.to_string()).collect(),
        last_faults: faults(&status.faults),
        data_revision: state.graph().revision().0,
        variant: state.variant.as_deref().unwrap_or_default().to_owned(),
        grant_faults: realm.grants.iter().flat_map(Grants::faults).map(grant_fault).collect(),
        state: policy_state(&status).into(),
        attempted_at: status.attempted_at_us.map(timestamp),
        files_version: status.files_version.as_ref().map(ToString::to_string).unwrap_or_default(),
        rollback: status.pin.as_ref().map(rollback),
        signed_by: status.signer.as_deref().unwrap_or_default().to_owned(),
    }
}

/// The realm that judges who reads the decision log: it has no issuers and no relationships.
pub(crate) fn caller_realm(policies: &CallerPolicies) -> pb::Realm {
    let (loaded, status) = (policies.loaded(), policies.status());
    let realm = &loaded.realm;
    pb::Realm {
        name: caller::REALM.to_owned(),
        title: realm.file.title.to_string(),
        policy_version: realm.version.to_string(),
        loaded_at: Some(timestamp(loaded.loaded_at_us)),
        policies: u32::try_from(realm.policies.len()).unwrap_or(u32::MAX),
        last_faults: faults(&status.faults),
        state: policy_state(&status).into(),
        attempted_at: status.attempted_at_us.map(timestamp),
        files_version: status.files_version.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..pb::Realm::default()
    }
}

fn policy_state(status: &PolicyStatus) -> pb::PolicyState {
    match status.state() {
        PolicyState::Current => pb::PolicyState::Current,
        PolicyState::RefusedReload => pb::PolicyState::RefusedReload,
        PolicyState::RolledBack => pb::PolicyState::RolledBack,
    }
}

fn rollback(Pin { version: _, by, at_us }: &Pin) -> pb::PolicyRollback {
    pb::PolicyRollback { by: by.to_string(), at: Some(timestamp(*at_us)) }
}

fn grant_fault(fault: GrantFault) -> pb::GrantFault {
    let GrantFault { claim_set, resource_type, action, supplied_by, message } = fault;
    pb::GrantFault {
        claim_set: claim_set.to_string(),
        resource_type: resource_type.to_string(),
        action: action.to_string(),
        supplied_by: supplied_by.to_string(),
        message: message.to_string(),
    }
}

pub(super) fn faults(faults: &[Fault]) -> Vec<pb::PolicyFault> {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    let faults = faults.iter().map(|fault| {
        let Fault { file, line, column, source_line, message, end_line, end_column, severity, code, help } = fault;
        let severity = match severity {
            Severity::Error => pb::PolicyFaultSeverity::Error,
            Severity::Warning => pb::PolicyFaultSeverity::Warning,
        };
        pb::PolicyFault {
            file: file.clone(),
            line: number(*line),
            column: number(*column),
            source_line: source_line.clone(),
            message: message.clone(),
            severity: severity.into(),
            code: code.as_str().to_owned(),
            help: help.clone().unwrap_or_default(),
            end_line: number(*end_line),
            end_column: number(*end_column),
        }
    });
    faults.collect()
}

pub(crate) fn candidate(request: pb::ValidatePoliciesRequest) -> Vec<SourceFile> {
    let pb::ValidatePoliciesRequest { files } = request;
    source_files(files)
}

pub(crate) fn source_files(files: Vec<pb::PolicyFile>) -> Vec<SourceFile> {
    files.into_iter().map(|pb::PolicyFile { path, content }| SourceFile { path, content }).collect()
}

pub(crate) fn validation(validation: &Validation) -> pb::ValidatePoliciesResponse {
    let Validation { faults: found, warnings, version, tests } = validation;
    let (passed, failed): (Vec<_>, Vec<_>) = tests.iter().partition(|case| case.differences.is_empty());
    let failed = failed.into_iter().map(|CaseResult { file, name, differences, .. }| {
        format!("{file}: `{name}` fails: {}", differences.join("; "))
    });
    pb::ValidatePoliciesResponse {
        faults: faults(found),
        warnings: faults(warnings),
        policy_version: version.as_ref().map(ToString::to_string).unwrap_or_default(),
        tests_passed: u32::try_from(passed.len()).unwrap_or(u32::MAX),
        tests_failed: failed.collect(),
    }
}

pub(crate) fn reloaded((version, found): &(PolicyVersion, Vec<Fault>)) -> pb::ReloadPoliciesResponse {
    pb::ReloadPoliciesResponse { policy_version: version.to_string(), faults: faults(found) }
}

pub(crate) fn rolled_back(Rollback { version, before, faults: found }: &Rollback) -> pb::RollbackPoliciesResponse {
    pb::RollbackPoliciesResponse {
        policy_version: version.to_string(),
        previous_version: before.to_string(),
        faults: faults(found),
    }
}

pub(crate) fn resumed((version, found): &(PolicyVersion, Vec<Fault>)) -> pb::ResumePoliciesResponse {
    pb::ResumePoliciesResponse { policy_version: version.to_string(), faults: faults(found) }
}
