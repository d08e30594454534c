//! `hallpass decisions retention`: what the rules would delete.

use anyhow::Result;
use serde_json::json;

use crate::{
    cli::{
        Outcome,
        render::{Form, Screen, count, counted},
        target::{LogTarget, failed},
    },
    config::Environment,
    proto::v1::{PlanRetentionRequest, PlanRetentionResponse, decision_log_service_client::DecisionLogServiceClient},
};

const NOTES: &str = "\
Nothing is deleted by this: a running service deletes by itself, when it starts and then every hour, and says so in the log.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: LogTarget,
    /// Only show it; there is no other way
    #[arg(long)]
    dry_run: bool,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, dry_run: _, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel);
    let plan = client.plan_retention(PlanRetentionRequest { realm: realm.clone() }).await;
    let plan = plan.map_err(|status| failed(&status))?.into_inner();
    match output {
        Form::Json => screen.json(&as_json(&realm, &plan))?,
        Form::Text => sentences(&realm, &plan).into_iter().try_for_each(|line| screen.line(line))?,
    }
    Ok(Outcome::Fine)
}

fn as_json(realm: &str, plan: &PlanRetentionResponse) -> serde_json::Value {
    let PlanRetentionResponse { rules, first_sequence, last_sequence, bytes, segments, rule, kept_because } = plan;
    json!({
        "realm": realm,
        "rules": rules,
        "first_sequence": first_sequence,
        "last_sequence": last_sequence,
        "bytes": bytes,
        "segments": segments,
        "rule": rule,
        "kept_because": kept_because,
    })
}

fn sentences(realm: &str, plan: &PlanRetentionResponse) -> Vec<String> {
    let PlanRetentionResponse { rules, first_sequence, last_sequence, bytes, segments, rule, kept_because } = plan;
    if rules.is_empty() {
        return vec![format!("{realm} keeps everything: it has no [realms.{realm}.retention] in hallpass.toml")];
    }
    let mut lines = vec![format!("rules: {rules}")];
    lines.push(if *last_sequence == 0 {
        "nothing would be deleted now".to_owned()
    } else {
        format!(
            "entries {first_sequence} to {last_sequence} would be deleted now ({rule}): {}, {} bytes",
            counted(u64::from(*segments), "file", "files"),
            count(*bytes)
        )
    });
    if !kept_because.is_empty() {
        lines.push(format!("more is kept than the rules say: {kept_because}"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_told_in_sentences() {
        let plan = PlanRetentionResponse {
            rules: "older than 30 days".to_owned(),
            first_sequence: 1,
            last_sequence: 20,
            bytes: 4_096,
            segments: 2,
            rule: "older than 30 days".to_owned(),
            kept_because: String::new(),
        };
        assert_eq!(
            sentences("edfi", &plan),
            [
                "rules: older than 30 days",
                "entries 1 to 20 would be deleted now (older than 30 days): 2 files, 4,096 bytes"
            ]
        );
        let held = PlanRetentionResponse { last_sequence: 0, kept_because: "the realm is held".to_owned(), ..plan };
        assert_eq!(
            sentences("edfi", &held)[1..],
            ["nothing would be deleted now", "more is kept than the rules say: the realm is held"]
        );
        let none = sentences("edfi", &PlanRetentionResponse::default());
        assert!(none[0].starts_with("edfi keeps everything"), "{none:?}");
    }
}
