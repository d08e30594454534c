//! `hallpass decisions tail`: decisions as they are kept.

use std::io;

use anyhow::Result;

use super::{events, filters::Filters, row};
use crate::{
    cli::{
        Outcome, json,
        render::{Form, Screen, note},
        target::{LogTarget, MESSAGE_BYTES_MAX, failed},
    },
    config::Environment,
    proto::v1::{
        LogEvent, TailDecisionsRequest, TailDecisionsResponse, decision_log_service_client::DecisionLogServiceClient,
    },
};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: LogTarget,
    #[command(flatten)]
    filters: Filters,
    /// Begin behind the entry of this number; 0 begins with the first [default: with what is kept from now on]
    #[arg(long, value_name = "N")]
    since_sequence: Option<u64>,
    /// How to show them; json is one object a line
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// Shows decisions until Ctrl-C, until nobody reads what is shown any more, or until the service ends it.
pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, filters, since_sequence, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = TailDecisionsRequest { query: Some(filters.request(realm)), after_sequence: since_sequence };
    let mut parts = client.tail_decisions(request).await.map_err(|status| failed(&status))?.into_inner();
    let mut reached = since_sequence;
    loop {
        let part = tokio::select! {
            _ = tokio::signal::ctrl_c() => break,
            part = parts.message() => part,
        };
        match part {
            Ok(Some(part)) => {
                reached = Some(part.sequence);
                match show(&part, output, screen) {
                    // Whoever read what is shown has gone, as `head` does.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => return Ok(Outcome::Fine),
                    shown => shown?,
                }
            }
            Ok(None) => break,
            Err(status) => {
                go_on(reached);
                return Err(failed(&status));
            }
        }
    }
    go_on(reached);
    Ok(Outcome::Fine)
}

fn go_on(reached: Option<u64>) {
    if let Some(reached) = reached {
        note(&format!("go on with --since-sequence {reached}"));
    }
}

fn show(part: &TailDecisionsResponse, output: Form, screen: &mut Screen) -> io::Result<()> {
    let TailDecisionsResponse { decisions, events: happened, sequence: _ } = part;
    let mut happened = happened.iter().peekable();
    for decision in decisions {
        while let Some(event) = happened.next_if(|event| event.sequence < decision.sequence) {
            show_event(event, output, screen)?;
        }
        match output {
            Form::Json => screen.line(json::record(decision))?,
            Form::Text => screen.line(row(decision).join("  "))?,
        }
    }
    happened.try_for_each(|event| show_event(event, output, screen))
}

fn show_event(event: &LogEvent, output: Form, screen: &mut Screen) -> io::Result<()> {
    match output {
        Form::Json => screen.line(events::json(event)),
        Form::Text => screen.line(events::sentence(event)),
    }
}
