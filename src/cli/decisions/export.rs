//! `hallpass decisions export`: all decisions of a question, in files that other programs read.

mod csv;
mod files;
mod ocsf;
mod parquet;

use std::{fmt::Write as _, io::Write as _, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value as Json, json};
use tonic::Streaming;

use self::files::{Folder, MANIFEST, Output, Summary};
use super::{events, filters::Filters};
use crate::{
    app::ports::Clock as _,
    cli::{
        Outcome, json,
        render::{Screen, count, counted, note},
        target::{LogTarget, MESSAGE_BYTES_MAX, failed},
    },
    config::Environment,
    proto::v1::{
        DecisionRecord, ExportDecisionsRequest, ExportDecisionsResponse, ExportManifest, ExportProgress,
        InclusionProof, LogEvent, QueryDecisionsRequest, decision_log_service_client::DecisionLogServiceClient,
    },
    provider::clock::SystemClock,
};

const NOTES: &str = "\
The folder gets decisions.<format>, events.ndjson (what happened to the log in between), with --proofs proofs.ndjson, and,
as the last file, manifest.json: the question, the range, how many, whether all are there, the checkpoint that vouches for
them, and the SHA-256 of each file. A folder without manifest.json holds no export. The exit code is 1 when decisions are
missing in the log.";

#[derive(Debug, clap::Args)]
#[command(after_help = NOTES)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    target: LogTarget,
    #[command(flatten)]
    filters: Filters,
    /// In which form
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    format: Format,
    /// The folder to write to; made when missing, and otherwise empty
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Have each decision proved, not the first and the last alone
    #[arg(long)]
    proofs: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line, with all that is known of a decision
    #[default]
    Ndjson,
    /// A table for spreadsheets (RFC 4180)
    Csv,
    /// A table for analysis (Apache Parquet)
    Parquet,
    /// Events of the Open Cybersecurity Schema Framework, class 6003, one a line
    Ocsf,
}

impl Format {
    fn file(self) -> &'static str {
        match self {
            Self::Ndjson => "decisions.ndjson",
            Self::Csv => "decisions.csv",
            Self::Parquet => "decisions.parquet",
            Self::Ocsf => "decisions.ocsf.ndjson",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Ocsf => "ocsf",
        }
    }
}

pub(super) async fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { target, filters, format, out, proofs } = arguments;
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let mut client = DecisionLogServiceClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request = ExportDecisionsRequest { query: Some(filters.request(realm.clone())), proofs };
    let mut folder = Folder::open(&out)?;
    let parts = client.export_decisions(request).await.map_err(|status| failed(&status))?.into_inner();
    let writer = Writer::begin(&mut folder, format, &realm, proofs)?;
    let work = receive(parts, writer);
    let (written, manifest) = tokio::select! {
        done = work => done?,
        _ = tokio::signal::ctrl_c() => return Err(anyhow!("interrupted; nothing was exported")),
    };
    let manifest_json = manifest_json(&manifest, format, written);
    let mut file = folder.begin(MANIFEST)?;
    writeln!(file, "{manifest_json:#}").and_then(|()| file.finish()).context("the manifest cannot be written")?;
    folder.publish()?;
    for event in &manifest.events {
        note(&events::sentence(event));
    }
    let ExportManifest { count: decisions, first_sequence, last_sequence, complete, .. } = manifest;
    screen.line(format_args!(
        "{} of entries {first_sequence} to {last_sequence} in {}",
        counted(decisions, "decision", "decisions"),
        out.display()
    ))?;
    if !complete {
        note("not every decision of this range is there; what is missing is said above and in the manifest");
    }
    Ok(Outcome::of(!complete))
}

/// Writes what comes until the manifest; a stream that ends before is none.
async fn receive(
    mut parts: Streaming<ExportDecisionsResponse>,
    mut writer: Writer,
) -> Result<(Vec<(Summary, u64)>, ExportManifest)> {
    let bar = progress_bar();
    let ended = || anyhow!("the service ended the export before its end; nothing was exported");
    let manifest = loop {
        let part = parts.message().await.map_err(|status| failed(&status).context("the export broke off"))?;
        let ExportDecisionsResponse { decisions, proofs, events, progress, manifest } = part.ok_or_else(ended)?;
        writer.write(&decisions, &proofs, &events)?;
        if let Some(ExportProgress { done, total }) = progress {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(counted(writer.decisions, "decision", "decisions"));
        }
        if let Some(manifest) = manifest {
            break manifest;
        }
    };
    bar.finish_and_clear();
    if manifest.count != writer.decisions {
        let (said, came) = (count(manifest.count), count(writer.decisions));
        return Err(anyhow!("the service says that it sent {said} decisions, and {came} came; nothing was exported"));
    }
    Ok((writer.finish()?, manifest))
}

/// Shows how far an export is, when standard error is a terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {percent:>3} %  {msg}  {eta} left");
    let bar = ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// The files under way.
#[derive(Debug)]
struct Writer {
    realm: String,
    decisions: u64,
    events: u64,
    decision_file: DecisionFile,
    event_file: Output,
    proof_file: Option<(Output, u64)>,
}

#[derive(Debug)]
enum DecisionFile {
    Ndjson(Output),
    Csv(Output),
    Parquet(Box<parquet::Rows<Output>>),
    Ocsf(Output),
}

impl Writer {
    fn begin(folder: &mut Folder, format: Format, realm: &str, proofs: bool) -> Result<Self> {
        let mut file = folder.begin(format.file())?;
        let decision_file = match format {
            Format::Ndjson => DecisionFile::Ndjson(file),
            Format::Csv => {
                csv::write_head(&mut file).context("the export cannot be written")?;
                DecisionFile::Csv(file)
            }
            Format::Parquet => DecisionFile::Parquet(Box::new(parquet::Rows::new(file, realm)?)),
            Format::Ocsf => DecisionFile::Ocsf(file),
        };
        let event_file = folder.begin("events.ndjson")?;
        let proof_file = if proofs { Some((folder.begin("proofs.ndjson")?, 0)) } else { None };
        Ok(Self { realm: realm.to_owned(), decisions: 0, events: 0, decision_file, event_file, proof_file })
    }

    fn write(&mut self, decisions: &[DecisionRecord], proofs: &[InclusionProof], events: &[LogEvent]) -> Result<()> {
        let unwritten = || "the export cannot be written";
        for record in decisions {
            match &mut self.decision_file {
                DecisionFile::Ndjson(out) => writeln!(out, "{}", json::record(record)).with_context(unwritten)?,
                DecisionFile::Csv(out) => csv::write(out, record).with_context(unwritten)?,
                DecisionFile::Parquet(rows) => rows.write(record).with_context(unwritten)?,
                DecisionFile::Ocsf(out) => {
                    writeln!(out, "{}", ocsf::event(&self.realm, record)).with_context(unwritten)?;
                }
            }
            self.decisions += 1;
        }
        for event in events {
            writeln!(self.event_file, "{}", events::json(event)).with_context(unwritten)?;
            self.events += 1;
        }
        for proof in proofs {
            if let Some((out, written)) = &mut self.proof_file {
                writeln!(out, "{}", proof_json(proof)).with_context(unwritten)?;
                *written += 1;
            }
        }
        Ok(())
    }

    /// The files, each with the number of its lines or rows.
    fn finish(self) -> Result<Vec<(Summary, u64)>> {
        let unwritten = || "the export cannot be written";
        let out = match self.decision_file {
            DecisionFile::Ndjson(out) | DecisionFile::Csv(out) | DecisionFile::Ocsf(out) => out,
            DecisionFile::Parquet(rows) => rows.finish().with_context(unwritten)?,
        };
        let mut files = vec![
            (out.finish().with_context(unwritten)?, self.decisions),
            (self.event_file.finish().with_context(unwritten)?, self.events),
        ];
        if let Some((out, written)) = self.proof_file {
            files.push((out.finish().with_context(unwritten)?, written));
        }
        Ok(files)
    }
}

fn manifest_json(manifest: &ExportManifest, format: Format, files: Vec<(Summary, u64)>) -> Json {
    let ExportManifest { query, first_sequence, last_sequence, count, complete, events: found, checkpoint, proofs } =
        manifest;
    let files = files.into_iter().map(|(Summary { name, bytes, sha256 }, entries)| {
        json!({ "name": name, "bytes": bytes, "sha256": sha256, "entries": entries })
    });
    json!({
        "written_by": concat!("hallpass ", env!("CARGO_PKG_VERSION")),
        "written_at": written_at(),
        "format": format.name(),
        "query": query.as_ref().map(query_json),
        "first_sequence": first_sequence,
        "last_sequence": last_sequence,
        "count": count,
        "complete": complete,
        "events": found.iter().map(events::json).collect::<Vec<_>>(),
        "checkpoint": checkpoint,
        "proofs": proofs.iter().map(proof_json).collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
    })
}

/// The present, to the second.
fn written_at() -> String {
    prost_types::Timestamp { seconds: SystemClock.now_seconds(), nanos: 0 }.to_string()
}

/// The conditions that are set.
fn query_json(query: &QueryDecisionsRequest) -> Json {
    let QueryDecisionsRequest {
        realm,
        from,
        until,
        principal,
        person,
        entity,
        resource_type,
        resource_id,
        action,
        decision,
        outcome,
        reason,
        policy,
        request_id,
        order: _,
        page_size: _,
        page_token: _,
        client,
        actor,
        kind: _,
        names,
        purpose,
    } = query;
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(ToString::to_string);
    let kind = match query.kind() {
        crate::proto::v1::RecordKind::Unspecified => None,
        crate::proto::v1::RecordKind::Decision => Some("decision"),
        crate::proto::v1::RecordKind::Reading => Some("reading"),
    };
    let all = json!({
        "realm": realm,
        "from": time(from),
        "until": time(until),
        "principal": principal,
        "person": person.as_ref().map(json::entity),
        "entity": entity.as_ref().map(json::entity),
        "resource_type": resource_type,
        "resource_id": resource_id,
        "action": action,
        "decision": (*decision != 0).then(|| json::effect(*decision)),
        "outcome": (*outcome != 0).then(|| json::outcome(*outcome)),
        "reason": reason,
        "policy": policy,
        "request_id": request_id,
        "client": client,
        "actor": actor,
        "kind": kind,
        "names": names,
        "purpose": purpose,
    });
    let is_set = |value: &Json| !(value.is_null() || *value == json!("") || *value == json!(false));
    let set = all.as_object().into_iter().flatten().filter(|(_, value)| is_set(value));
    Json::Object(set.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// Bytes as hexadecimal digits.
fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}

fn proof_json(proof: &InclusionProof) -> Json {
    let InclusionProof { leaf_index, tree_size, leaf_hash, path } = proof;
    json!({
        "sequence": leaf_index + 1,
        "leaf_index": leaf_index,
        "tree_size": tree_size,
        "leaf_hash": hex(leaf_hash),
        "path": path.iter().map(|hash| hex(hash)).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests;
