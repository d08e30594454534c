//! `hallpass relationships`: records imported and taken back, relationships read.

mod delete;

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use prost_types::Timestamp;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tonic::Status;

use super::{
    Outcome, json, parse,
    record_files::{self, Batch, RecordFile, Report},
    render::{Form, Screen, count, note},
    target::{MESSAGE_BYTES_MAX, Target, failed},
};
use crate::{
    app::relationships::{ImportSummary, Refusal},
    config::{Config, Environment, Flags},
    domain::id::Revision,
    proto::v1::{
        EntityReference, ImportRecordsRequest, ImportRecordsResponse, ReadRelationshipsRequest, RefusedRecord,
        Relationship, relationship_service_client::RelationshipServiceClient,
    },
    server::Service,
};

#[derive(Debug, clap::Subcommand)]
pub(super) enum Verb {
    /// Imports source records: NDJSON files, plain or .gz, one resource a file, named after it
    Import(Import),
    /// Takes records back, and what they brought
    Delete(delete::Delete),
    /// Reads the relationships of a subject or an object
    Read(Read),
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// Folders of record files, or such files: students.ndjson, students-0001.ndjson.gz
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    target: Target,
    /// Write into this data folder, while no service runs on it
    #[arg(long, value_name = "DIR", conflicts_with = "address")]
    data_dir: Option<String>,
}

#[derive(Debug, clap::Args)]
#[group(id = "ends", required = true, multiple = true, args = ["subject", "object"])]
pub(super) struct Read {
    #[command(flatten)]
    target: Target,
    /// Only those of this subject, for example Student:604822
    #[arg(long, value_name = "TYPE:ID", value_parser = parse::entity)]
    subject: Option<EntityReference>,
    /// Only those of this relation
    #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
    relation: String,
    /// Only those to this object, for example EducationOrganization:255901
    #[arg(long, value_name = "TYPE:ID", value_parser = parse::entity)]
    object: Option<EntityReference>,
    /// As they were known at this time: 2026-08-04, 2026-08-04T10:30:00Z, or how long ago: 2h
    #[arg(long, value_name = "TIME", value_parser = parse::moment)]
    as_of: Option<Timestamp>,
    /// At most this many
    #[arg(long, value_name = "COUNT", default_value_t = 1_000)]
    limit: usize,
    /// How to show them; json is one object a line
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

pub(super) async fn run(verb: Verb, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    match verb {
        Verb::Import(arguments) => import(arguments, environment, screen).await,
        Verb::Delete(arguments) => delete::run(arguments, environment, screen).await,
        Verb::Read(arguments) => read(arguments, environment, screen).await,
    }
}

async fn import(arguments: Import, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Import { paths, target, data_dir } = arguments;
    let files = record_files::list(&paths)?;
    let started = Instant::now();
    let (imported, report) = match data_dir {
        Some(data_dir) => import_here(files, &target, data_dir, environment).await?,
        None => import_there(files, &target, environment).await?,
    };
    let seconds = started.elapsed().as_secs_f64();
    let Report { sent, refused: unreadable, .. } = &report;
    for Refusal { resource, index, reason } in &imported.refusals {
        match report.place(resource, *index) {
            Some((path, line)) => screen.line(format_args!("{}:{line}: {reason}", path.display()))?,
            None => screen.line(format_args!("{resource}, record {index}: {reason}"))?,
        }
    }
    let unlisted = imported.refused.saturating_sub(imported.refusals.len() as u64);
    if unlisted > 0 {
        screen.line(format_args!("… and {} more refused records", count(unlisted)))?;
    }
    for (path, line, reason) in unreadable {
        screen.line(format_args!("{}:{line}: {reason}", path.display()))?;
    }
    let ImportSummary { revision, accepted, changed, skipped, refused, .. } = imported;
    let refused = refused + unreadable.len() as u64;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people's eyes")]
    let rate = format!("{:.0}", *sent as f64 / seconds.max(0.001));
    screen.line(format_args!(
        "{} records in {seconds:.1} s ({}/s): {} accepted, {} of them new or changed, {} skipped, {} refused; \
         revision {revision}",
        count(sent + unreadable.len() as u64),
        count(rate.parse().unwrap_or(0)),
        count(accepted),
        count(changed),
        count(skipped),
        count(refused),
    ))?;
    if skipped > 0 {
        note("skipped records are of resources that the realm's relations.toml does not name");
    }
    Ok(Outcome::of(refused > 0))
}

/// Reads the files on a thread of its own; the batches wait in a short queue.
fn start_reading(files: Vec<RecordFile>) -> (mpsc::Receiver<Batch>, JoinHandle<(Report, Result<()>)>) {
    let (sender, receiver) = mpsc::channel(4);
    let reading = tokio::task::spawn_blocking(move || {
        let bar = progress_bar(files.iter().map(|file| file.bytes).sum());
        let started = Instant::now();
        let (mut report, mut sent) = (Report::default(), 0);
        let mut take = |batch: Batch| {
            sent += batch.records.len() as u64;
            // The first batches only fill the queue and say nothing about the rate.
            let rate = match u64::try_from(started.elapsed().as_millis()) {
                Ok(elapsed_ms @ 500..) => format!(", {}/s", count(sent.saturating_mul(1_000) / elapsed_ms)),
                _ => String::new(),
            };
            bar.set_message(format!("{} records{rate}", count(sent)));
            sender.blocking_send(batch).is_ok()
        };
        let read = files.iter().try_for_each(|file| report.read(file, &bar, &mut take));
        bar.finish_and_clear();
        (report, read)
    });
    (receiver, reading)
}

/// Shows how far an import is, when standard error is a terminal.
fn progress_bar(bytes: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left");
    let bar = ProgressBar::new(bytes).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// What was imported, unless a file could not be read or the import itself failed.
async fn settled(
    imported: Result<ImportSummary>,
    reading: JoinHandle<(Report, Result<()>)>,
) -> Result<(ImportSummary, Report)> {
    let (report, read) = reading.await.context("the reading of the files was cut off")?;
    let kept = || "the import stopped; what came before is kept, and importing it again does no harm";
    let imported = imported.with_context(kept)?;
    read.with_context(kept)?;
    Ok((imported, report))
}

async fn import_there(
    files: Vec<RecordFile>,
    target: &Target,
    environment: &Environment,
) -> Result<(ImportSummary, Report)> {
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let (batches, reading) = start_reading(files);
    let request = |batch: Batch| ImportRecordsRequest {
        realm: String::new(),
        resource: batch.resource.to_string(),
        records: batch.records,
    };
    // The first message names the realm, also when there is nothing to import.
    let first = ImportRecordsRequest { realm, ..ImportRecordsRequest::default() };
    let requests = tokio_stream::once(first).chain(ReceiverStream::new(batches).map(request));
    let mut client = RelationshipServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let imported = client.import_records(requests).await;
    settled(imported.map(|response| summary(response.into_inner())).map_err(|status| failed(&status)), reading).await
}

fn summary(response: ImportRecordsResponse) -> ImportSummary {
    let ImportRecordsResponse { revision, accepted, changed, skipped, refused, refusals } = response;
    let refusal = |refusal: RefusedRecord| {
        let RefusedRecord { resource, index, reason } = refusal;
        Refusal { resource: resource.into(), index, reason }
    };
    let refusals = refusals.into_iter().map(refusal).collect();
    ImportSummary { revision: Revision(revision), accepted, changed, skipped, refused, refusals }
}

async fn import_here(
    files: Vec<RecordFile>,
    target: &Target,
    data_dir: String,
    environment: &Environment,
) -> Result<(ImportSummary, Report)> {
    let flags = Flags { config: target.config(), data_dir: Some(data_dir), ..Flags::default() };
    let service = Service::open(&Config::load(&flags, environment)?).await?;
    let mut names = service.app().realms().map(|realm| realm.name.to_string());
    let realm = match (target.named(), names.next(), names.next()) {
        (Some(realm), ..) => realm.to_owned(),
        (None, Some(only), None) => only,
        (None, ..) => return Err(anyhow!("there are several realms; choose one with --realm")),
    };
    drop(names);
    let (batches, reading) = start_reading(files);
    let imported = import_batches(&service, &realm, batches).await;
    let settled = settled(imported, reading).await;
    service.close().await?;
    settled
}

async fn import_batches(service: &Service, realm: &str, mut batches: mpsc::Receiver<Batch>) -> Result<ImportSummary> {
    let mut import = service.app().import(realm)?;
    while let Some(Batch { resource, records }) = batches.recv().await {
        import.push(&resource, &records).await?;
    }
    Ok(import.finish().await?)
}

async fn read(arguments: Read, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Read { target, subject, relation, object, as_of, limit, output } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = RelationshipServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut request =
        ReadRelationshipsRequest { realm, subject, relation, object, as_of, ..ReadRelationshipsRequest::default() };
    let mut relationships: Vec<Relationship> = Vec::new();
    loop {
        request.page_size = u32::try_from(limit.saturating_sub(relationships.len()).clamp(1, 1_000)).unwrap_or(1_000);
        let page =
            client.read_relationships(request.clone()).await.map_err(|status: Status| failed(&status))?.into_inner();
        relationships.extend(page.relationships);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() || relationships.len() >= limit {
            break;
        }
    }
    match output {
        Form::Json => {
            relationships.iter().try_for_each(|relationship| screen.line(json::relationship(relationship)))?;
        }
        Form::Text if relationships.is_empty() => note("no relationships"),
        Form::Text => {
            let name = |entity: &Option<EntityReference>| {
                entity.as_ref().map(|entity| format!("{}:{}", entity.r#type, entity.id)).unwrap_or_default()
            };
            let row = |it: &Relationship| vec![name(&it.subject), it.relation.clone(), name(&it.object)];
            let rows: Vec<_> = relationships.iter().map(row).collect();
            screen.table(&["SUBJECT", "RELATION", "OBJECT"], &rows)?;
        }
    }
    if !request.page_token.is_empty() {
        note(&format!("there are more than these {}; show more with --limit", relationships.len()));
    }
    Ok(Outcome::Fine)
}
