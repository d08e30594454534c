//! `hallpass decisions status`: how the decision log is doing.

use anyhow::Result;
use serde_json::json;

use super::{
    super::{
        Outcome,
        render::{Form, Screen, Tone, note, plain},
        target::{LogTarget, failed},
    },
    time,
};
use crate::{
    config::Environment,
    proto::v1::{GetLogStatusRequest, GetLogStatusResponse, decision_log_service_client::DecisionLogServiceClient},
};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    target: LogTarget,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// Not fine when the log cannot be written, lost something, is damaged, or cannot be signed.
pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel);
    let found = client.get_log_status(GetLogStatusRequest { realm: realm.clone() }).await;
    let status = found.map_err(|status| failed(&status))?.into_inner();
    match output {
        Form::Json => screen.json(&as_json(&realm, &status))?,
        Form::Text => show(&status, screen)?,
    }
    Ok(Outcome::of(is_ill(&status)))
}

/// Something is not as it should be.
fn is_ill(status: &GetLogStatusResponse) -> bool {
    !status.writable || !status.undamaged || status.dropped > 0 || !status.checkpoint_fault.is_empty()
}

fn as_json(realm: &str, status: &GetLogStatusResponse) -> serde_json::Value {
    let GetLogStatusResponse {
        mode,
        writable,
        entries,
        first_sequence,
        waiting,
        dropped,
        flushed_at,
        checkpoint,
        verifier_key,
        undamaged,
        unsigned,
        checkpoint_fault,
        checkpoint_failures,
        witness_failures,
        witness_lag,
    } = status;
    json!({
        "realm": realm,
        "mode": mode,
        "writable": writable,
        "entries": entries,
        "first_sequence": first_sequence,
        "waiting": waiting,
        "dropped": dropped,
        "flushed_at": flushed_at.as_ref().map(ToString::to_string),
        "checkpoint": checkpoint,
        "verifier_key": verifier_key,
        "undamaged": undamaged,
        "unsigned": unsigned,
        "checkpoint_fault": checkpoint_fault,
        "checkpoint_failures": checkpoint_failures,
        "witness_failures": witness_failures,
        "witness_lag": witness_lag,
    })
}

fn show(status: &GetLogStatusResponse, screen: &mut Screen) -> Result<()> {
    let state = if status.writable {
        screen.toned(Tone::Good, "takes records")
    } else {
        screen.toned(Tone::Bad, "cannot be written")
    };
    screen.line(state)?;
    let flushed = match time(status.flushed_at.as_ref()) {
        never if never.is_empty() => "not since the start".to_owned(),
        time => time,
    };
    let deleted = status.first_sequence.saturating_sub(1);
    let deleted = if deleted == 0 { String::new() } else { format!(", the first {deleted} deleted since") };
    for (name, value) in [
        ("mode", status.mode.clone()),
        ("entries", format!("{}{deleted}", status.entries)),
        ("waiting", status.waiting.to_string()),
        ("last on disk", flushed),
        ("dropped", format!("{} since the start", status.dropped)),
        ("not signed", format!("{} entries behind the newest checkpoint", status.unsigned)),
    ] {
        screen.line(format_args!("{name:<14} {value}"))?;
    }
    if let Some(lag) = status.witness_lag {
        let failures = status.witness_failures;
        screen.line(format_args!("{:<14} {lag} entries behind, {failures} failures since the start", "witness"))?;
    }
    if !status.checkpoint.is_empty() {
        screen.line(format_args!("\n{}", status.checkpoint.trim_end()))?;
    }
    if !status.verifier_key.is_empty() {
        screen.line(format_args!("\nverifier key: {}", status.verifier_key))?;
    }
    if !status.undamaged {
        note("a part of the log is damaged; the service's own log says where");
    }
    if !status.checkpoint_fault.is_empty() {
        note(&format!("no checkpoint can be made: {}", plain(&status.checkpoint_fault)));
    }
    if status.dropped > 0 {
        note("decisions were answered that are not in the log; `hallpass decisions query` shows the gaps");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_cannot_be_written_read_or_signed_is_not_fine() {
        let good = GetLogStatusResponse { writable: true, undamaged: true, ..GetLogStatusResponse::default() };
        // What is behind, and was made up for, is no fault of now.
        let behind = GetLogStatusResponse { unsigned: 9, checkpoint_failures: 2, witness_failures: 3, ..good.clone() };
        assert!(!is_ill(&good) && !is_ill(&behind));
        for ill in [
            GetLogStatusResponse { writable: false, ..good.clone() },
            GetLogStatusResponse { undamaged: false, ..good.clone() },
            GetLogStatusResponse { dropped: 1, ..good.clone() },
            GetLogStatusResponse { checkpoint_fault: "the key is missing".to_owned(), ..good.clone() },
        ] {
            assert!(is_ill(&ill), "{ill:?}");
        }
        assert_eq!(as_json("one", &behind)["unsigned"], 9);
    }
}
