//! `hallpass decisions checkpoint`: a signed statement of all that the log holds now.

use anyhow::Result;
use serde_json::json;

use super::super::{
    Outcome,
    render::{Form, Screen, note},
    target::{LogTarget, failed},
};
use crate::{
    config::Environment,
    proto::v1::{GetCheckpointRequest, decision_log_service_client::DecisionLogServiceClient},
};

#[derive(Debug, clap::Args)]
pub(in super::super) struct Arguments {
    #[command(flatten)]
    target: LogTarget,
    /// How to show it; text is the signed note itself, to be kept
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let made = DecisionLogServiceClient::new(channel).get_checkpoint(GetCheckpointRequest { realm }).await;
    let made = made.map_err(|status| failed(&status))?.into_inner();
    match output {
        Form::Json => screen.json(&json!({ "checkpoint": made.checkpoint, "verifier_keys": made.verifier_keys }))?,
        Form::Text => {
            screen.out().write_all(made.checkpoint.as_bytes())?;
            screen.out().flush()?;
            if let Some(key) = made.verifier_keys.first() {
                note(&format!("verified by {key}"));
            }
        }
    }
    Ok(Outcome::Fine)
}
