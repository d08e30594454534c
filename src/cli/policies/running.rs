//! `hallpass policies status`, `rollback` and `resume`: what a running service decides by.

use anyhow::{Result, bail};
use serde_json::{Value as Json, json};

use crate::{
    cli::{
        Outcome, reload,
        render::{Form, Screen, note, plain},
        target::{PolicyTarget, failed},
    },
    config::Environment,
    proto::v1::{
        GetRealmRequest, ListRealmsRequest, PolicyFault, PolicyRollback, PolicyState, Realm, ResumePoliciesRequest,
        RollbackPoliciesRequest, policy_service_client::PolicyServiceClient,
    },
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Status {
    #[command(flatten)]
    target: PolicyTarget,
    /// How to show it; json is one object a line
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Rollback {
    /// The digest of the version, or its first six digits at least [default: the one that the files brought before]
    #[arg(value_name = "DIGEST")]
    digest: Option<String>,
    #[command(flatten)]
    target: PolicyTarget,
    /// How to show what came of it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Resume {
    #[command(flatten)]
    target: PolicyTarget,
    /// How to show what came of it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// How the policies stand to their files.
pub(super) async fn status(
    Status { target, output }: Status,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    let mut client = PolicyServiceClient::new(target.connect(environment).await?);
    let realms: Vec<Realm> = if let Some(realm) = target.named() {
        let request = GetRealmRequest { realm: realm.to_owned() };
        let found = client.get_realm(request).await.map_err(|status| failed(&status))?;
        found.into_inner().realm.into_iter().collect()
    } else {
        let found = client.list_realms(ListRealmsRequest {}).await.map_err(|status| failed(&status))?;
        found.into_inner().realms
    };
    let is_refused = realms.iter().any(|realm| !realm.last_faults.is_empty());
    match output {
        Form::Json => realms.into_iter().try_for_each(|realm| screen.line(json(realm)))?,
        Form::Text => {
            let rows: Vec<_> = realms.iter().map(row).collect();
            screen.table(&["REALM", "STATE", "DECIDES", "FILES", "SINCE", "SIGNED BY"], &rows)?;
            for realm in realms {
                for fault in realm.last_faults {
                    screen.line(format_args!("{}: {}", realm.name, reload::fault_of(fault)))?;
                }
            }
        }
    }
    Ok(Outcome::of(is_refused))
}

/// A kept version decides.
pub(super) async fn rollback(
    Rollback { digest, target, output }: Rollback,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let request = RollbackPoliciesRequest { realm: realm.clone(), policy_version: digest.unwrap_or_default() };
    if let Some(bad) = request.policy_version.chars().find(|c| !c.is_ascii_hexdigit()) {
        bail!("a digest has the digits 0-9 and a-f, and no `{}`", plain(&bad.to_string()));
    }
    let answer = PolicyServiceClient::new(channel).rollback_policies(request).await;
    let answer = answer.map_err(|status| failed(&status))?.into_inner();
    let is_good = answer.faults.is_empty();
    match output {
        Form::Json => {
            let (version, before) = (answer.policy_version, answer.previous_version);
            let faults = faults(answer.faults);
            screen.line(
                json!({ "realm": realm, "policy_version": version, "previous_version": before, "faults": faults }),
            )?;
        }
        Form::Text => {
            reload::show(&realm, "rolled back", &answer.policy_version, answer.faults, screen)?;
            if is_good {
                note("its files do not decide until `hallpass policies resume`");
            }
        }
    }
    Ok(Outcome::of(!is_good))
}

/// The files decide again.
pub(super) async fn resume(
    Resume { target, output }: Resume,
    environment: &Environment,
    screen: &mut Screen,
) -> Result<Outcome> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let answer =
        PolicyServiceClient::new(channel).resume_policies(ResumePoliciesRequest { realm: realm.clone() }).await;
    let answer = answer.map_err(|status| failed(&status))?.into_inner();
    let is_good = answer.faults.is_empty();
    match output {
        Form::Json => {
            let (version, faults) = (answer.policy_version, faults(answer.faults));
            screen.line(json!({ "realm": realm, "policy_version": version, "faults": faults }))?;
        }
        Form::Text => reload::show(&realm, "resumed", &answer.policy_version, answer.faults, screen)?,
    }
    Ok(Outcome::of(!is_good))
}

fn word(realm: &Realm) -> &'static str {
    match realm.state() {
        PolicyState::Unspecified => "unknown",
        PolicyState::Current => "current",
        PolicyState::RefusedReload => "refused reload",
        PolicyState::RolledBack => "rolled back",
    }
}

fn row(realm: &Realm) -> Vec<String> {
    let short = |digest: &str| match digest.get(..12) {
        Some(digits) => format!("{digits}…"),
        None => "unreadable".to_owned(),
    };
    let since = match &realm.rollback {
        Some(PolicyRollback { by, at }) => format!("{} by {by}", at.map(|at| at.to_string()).unwrap_or_default()),
        None => realm.loaded_at.map(|at| at.to_string()).unwrap_or_default(),
    };
    let signed_by = realm.signed_by.clone();
    vec![
        realm.name.clone(),
        word(realm).to_owned(),
        short(&realm.policy_version),
        short(&realm.files_version),
        since,
        signed_by,
    ]
}

fn json(realm: Realm) -> Json {
    let state = word(&realm).replace(' ', "_");
    let rollback =
        realm.rollback.map(|PolicyRollback { by, at }| json!({ "by": by, "at": at.map(|at| at.to_string()) }));
    json!({
        "realm": realm.name,
        "state": state,
        "policy_version": realm.policy_version,
        "files_version": realm.files_version,
        "loaded_at": realm.loaded_at.map(|at| at.to_string()),
        "attempted_at": realm.attempted_at.map(|at| at.to_string()),
        "rollback": rollback,
        "signed_by": realm.signed_by,
        "faults": faults(realm.last_faults),
    })
}

fn faults(faults: Vec<PolicyFault>) -> Vec<Json> {
    let fault = |fault: PolicyFault| json!({ "file": fault.file, "line": fault.line, "column": fault.column, "message": fault.message });
    faults.into_iter().map(fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_of_a_realm_is_one_row() {
        let version = "0123456789abcdef".repeat(4);
        let realm = Realm {
            name: "north".to_owned(),
            state: PolicyState::RolledBack.into(),
            policy_version: version.clone(),
            rollback: Some(PolicyRollback { by: "ada".to_owned(), at: None }),
            signed_by: "release".to_owned(),
            ..Realm::default()
        };
        assert_eq!(row(&realm), ["north", "rolled back", "0123456789ab…", "unreadable", " by ada", "release"]);
        let shown = json(Realm { state: PolicyState::RefusedReload.into(), ..realm });
        assert_eq!((&shown["state"], &shown["policy_version"]), (&json!("refused_reload"), &json!(version)));
    }
}
