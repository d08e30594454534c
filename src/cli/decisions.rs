//! `hallpass decisions`: the auditor's view of the decision log.

pub(super) mod candidate;
mod checkpoint;
mod events;
mod export;
mod filters;
mod keys;
mod prove;
mod replay;
mod retention;
mod status;
mod tail;
mod verify;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use prost_types::Timestamp;

use self::filters::Filters;
pub(super) use self::replay::why_not;
use super::{
    Outcome,
    authorize::show_reasons,
    json,
    render::{Form, Screen, Tone, note, plain},
    target::{LogTarget, MESSAGE_BYTES_MAX, failed},
};
use crate::{
    config::Environment,
    proto::v1::{
        self, DecisionOrder, DecisionRecord, GetDecisionRequest, QueryDecisionsRequest,
        decision_log_service_client::DecisionLogServiceClient,
    },
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Finds decisions; every condition that is given must hold
    Query(Box<Query>),
    /// Shows one decision with all that is known of it
    Show(Show),
    /// Makes decisions again, each with the policies and relationships of its moment; exit code 1 when one differs
    Replay(Box<replay::Arguments>),
    /// Writes all decisions of a question into files, with a manifest that says what they hold
    Export(Box<export::Arguments>),
    /// Shows decisions as they are kept, until Ctrl-C
    Tail(Box<tail::Arguments>),
    /// Shows what the retention rules of hallpass.toml would delete now
    Retention(retention::Arguments),
    /// Says how the log is doing: whether it takes records, what waits, what was lost
    Status(status::Arguments),
    /// Checks a copy of a log offline: that nothing was lost, added or changed since checkpoints were made of it
    Verify(verify::Arguments),
    /// Makes a checkpoint: a signed statement of all that the log holds now
    Checkpoint(checkpoint::Arguments),
    /// Writes a proof that an entry is in the log
    Prove(prove::Prove),
    /// Checks a proof offline
    CheckProof(prove::CheckProof),
    /// The keys that sign and verify checkpoints
    #[command(subcommand)]
    Keys(keys::Verb),
}

#[derive(Debug, clap::Args)]
pub(super) struct Query {
    #[command(flatten)]
    target: LogTarget,
    #[command(flatten)]
    filters: Filters,
    /// Which come first
    #[arg(long, value_name = "ORDER", value_enum, default_value_t)]
    order: Order,
    /// At most this many; without it the first 100, and all of them as json
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
    /// All there are
    #[arg(long, conflicts_with = "limit")]
    all: bool,
    /// How to show them; json is one object a line
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Order {
    #[default]
    Newest,
    Oldest,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// The decision's id
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    target: LogTarget,
    /// How to show it
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Query(arguments) => query(*arguments, environment, screen).await,
        Verb::Show(arguments) => show(arguments, environment, screen).await,
        Verb::Replay(arguments) => replay::run(*arguments, environment, screen).await,
        Verb::Export(arguments) => export::run(*arguments, environment, screen).await,
        Verb::Tail(arguments) => tail::run(*arguments, environment, screen).await,
        Verb::Retention(arguments) => retention::run(arguments, environment, screen).await,
        Verb::Status(arguments) => status::run(arguments, environment, screen).await,
        Verb::Verify(arguments) => verify::run(&arguments, screen),
        Verb::Checkpoint(arguments) => checkpoint::run(arguments, environment, screen).await,
        Verb::Prove(arguments) => prove::prove(arguments, environment, screen).await,
        Verb::CheckProof(arguments) => prove::check(&arguments, screen),
        Verb::Keys(verb) => keys::run(verb, environment, screen).await,
    }
}

/// How many decisions are shown to a person who doesn't say how many.
const SHOWN: usize = 100;

async fn query(arguments: Query, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let output = arguments.output;
    let usual = if arguments.all || matches!(output, Form::Json) { usize::MAX } else { SHOWN };
    let limit = arguments.limit.unwrap_or(usual);
    let channel = arguments.target.connect(environment).await?;
    let realm = arguments.target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let order = match arguments.order {
        Order::Newest => DecisionOrder::NewestFirst,
        Order::Oldest => DecisionOrder::OldestFirst,
    };
    let mut request = QueryDecisionsRequest { order: order.into(), ..arguments.filters.request(realm) };
    let (mut shown, mut is_complete, mut rows, mut happened) = (0, true, Vec::new(), Vec::new());
    loop {
        request.page_size = u32::try_from(limit.saturating_sub(shown).clamp(1, 1_000)).unwrap_or(1_000);
        let page = client.query_decisions(request.clone()).await.map_err(|status| failed(&status))?.into_inner();
        is_complete &= page.complete;
        shown += page.decisions.len();
        for event in page.events {
            if !happened.contains(&event) {
                happened.push(event);
            }
        }
        match output {
            Form::Json => page.decisions.iter().try_for_each(|record| screen.line(json::record(record)))?,
            Form::Text => rows.extend(page.decisions.iter().map(row)),
        }
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || shown >= limit {
            break;
        }
    }
    if !rows.is_empty() {
        screen.table(&["TIME", "DECISION", "ACTION", "RESOURCE", "PRINCIPAL", "REASON", "ID"], &rows)?;
    }
    if shown == 0 {
        note("no decisions");
    }
    if !request.page_token.is_empty() {
        let more = format!("there may be more than these {shown}; show more with --limit, or --all of them");
        match output {
            Form::Json => note(&more),
            Form::Text => screen.line(format_args!("… {more}"))?,
        }
    }
    for event in &happened {
        match output {
            Form::Json => screen.line(events::json(event))?,
            Form::Text => note(&events::sentence(event)),
        }
    }
    if !is_complete {
        note("this is not all that there was: decisions are missing or cannot be read, as said above");
    }
    Ok(Outcome::of(!is_complete))
}

/// A decision in a line: when, what, about what, who, why.
fn row(record: &DecisionRecord) -> Vec<String> {
    let resource = [record.resource_type.as_str(), record.resource_id.as_str()];
    vec![
        time(record.time.as_ref()),
        json::effect(record.decision).to_owned(),
        record.action.clone(),
        resource.join(" ").trim_end().to_owned(),
        record.principal.as_ref().map_or_else(|| "(bad token)".to_owned(), |principal| principal.id.clone()),
        record.reasons.first().map(|reason| reason.code.clone()).unwrap_or_default(),
        record.decision_id.clone(),
    ]
}

/// A time of a record, to the millisecond.
fn time(time: Option<&Timestamp>) -> String {
    let Some(time) = time else { return String::new() };
    Timestamp { nanos: time.nanos - time.nanos % 1_000_000, ..*time }.to_string()
}

async fn show(arguments: Show, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Show { id: decision_id, target, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let found = client.get_decision(GetDecisionRequest { realm, decision_id }).await;
    let record =
        found.map_err(|status| failed(&status))?.into_inner().decision.context("the service sent no decision")?;
    match output {
        Form::Json => screen.json(&json::record(&record))?,
        Form::Text => show_record(&record, screen)?,
    }
    Ok(Outcome::Fine)
}

fn show_record(record: &DecisionRecord, screen: &mut Screen) -> Result<()> {
    let is_allow = record.decision() == v1::Decision::Allow;
    let effect = screen.toned(if is_allow { Tone::Good } else { Tone::Bad }, json::effect(record.decision));
    screen.line(format_args!("{effect} ({})", json::outcome(record.outcome)))?;
    show_reasons(&record.reasons, screen)?;
    let principal = record.principal.as_ref().map_or_else(
        || "none, the token was not good".to_owned(),
        |principal| format!("{}:{} of {}", principal.r#type, principal.id, record.issuer),
    );
    let actor = record.actor.as_ref().map(|actor| format!("{}:{}", actor.r#type, actor.id)).unwrap_or_default();
    let mut attributes: Vec<_> = record.attributes.iter().collect();
    attributes.sort_by_key(|(name, _)| name.as_str());
    let attributes = attributes.iter().map(|(name, value)| (format!("  {name}"), json::value(value).to_string()));
    let subjects = record.subjects.iter().map(|subject| {
        let remark = if subject.is_pseudonym { " (pseudonym)" } else { "" };
        let phase = if subject.is_proposed { " proposed" } else { "" };
        (format!("  {}{phase}", subject.attribute), format!("{}:{}{remark}", subject.r#type, subject.id))
    });
    let resource = format!("{} {}", record.resource_type, record.resource_id);
    let fields = [
        ("decision".to_owned(), format!("{}, number {} of the log", record.decision_id, record.sequence)),
        ("time".to_owned(), record.time.as_ref().map(ToString::to_string).unwrap_or_default()),
        ("action".to_owned(), record.action.clone()),
        ("resource".to_owned(), resource),
    ];
    let rest = [
        ("policies".to_owned(), record.determining_policies.join(", ")),
        (
            "version".to_owned(),
            format!("policies {}, relationships at {}", record.policy_version, record.data_revision),
        ),
        ("request".to_owned(), record.request_id.clone()),
        ("duration".to_owned(), format!("{} µs", record.duration_us)),
    ];
    let fields = fields
        .into_iter()
        .chain(subjects)
        .chain([
            ("principal".to_owned(), principal),
            ("client".to_owned(), record.client.clone()),
            ("caller".to_owned(), record.caller.clone()),
            ("adapter".to_owned(), record.adapter.clone()),
            ("actor".to_owned(), actor),
            ("purpose".to_owned(), record.purpose.clone()),
        ])
        .chain(attributes);
    for (name, value) in fields.chain(rest).filter(|(_, value)| !value.trim().is_empty()) {
        screen.line(format_args!("{name:<26} {}", plain(value.trim())))?;
    }
    Ok(())
}
