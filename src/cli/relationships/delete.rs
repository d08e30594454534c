//! `hallpass relationships delete`: records taken back.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::start_reading;
use crate::{
    cli::{
        Outcome,
        record_files::{RecordFile, Report},
        render::{Screen, count},
        target::{MESSAGE_BYTES_MAX, Target, failed},
    },
    config::Environment,
    proto::v1::{DeleteRecordsRequest, relationship_service_client::RelationshipServiceClient},
};

/// What stands for the relationships that no record brought.
const DIRECT: &str = "-";

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Delete {
    /// The resource, for example studentSchoolAssociations; - for relationships that were written directly
    #[arg(value_name = "RESOURCE")]
    resource: String,
    /// The records, NDJSON, plain or .gz; only their key properties count. Of relationships that were written
    /// directly, what `relationships read --output json` shows
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Forget that they ever were: otherwise what the realm remembers stays known as removed. Also forgets of records
    /// that were deleted earlier
    #[arg(long)]
    forget: bool,
    #[command(flatten)]
    target: Target,
}

pub(super) async fn run(arguments: Delete, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Delete { resource, file: path, forget, target } = arguments;
    let bytes = fs::metadata(&path).with_context(|| format!("cannot read `{}`", path.display()))?.len();
    let channel = target.connect(environment).await?;
    let realm = target.realm(&channel).await?;
    let resource = if resource == DIRECT { "" } else { &resource };
    let (mut batches, reading) = start_reading(vec![RecordFile { path, resource: resource.into(), bytes }]);
    let mut client = RelationshipServiceClient::new(channel).max_encoding_message_size(MESSAGE_BYTES_MAX);
    let (mut revision, mut deleted, mut missing) = (0, 0, 0);
    let kept = "the deletion stopped; what came before is gone, and deleting it again does no harm";
    while let Some(batch) = batches.recv().await {
        let (realm, resource) = (realm.clone(), batch.resource.to_string());
        let request = DeleteRecordsRequest { realm, resource, records: batch.records, forget };
        let answer = client.delete_records(request).await.map_err(|status| failed(&status)).context(kept)?.into_inner();
        revision = answer.revision;
        deleted += answer.deleted;
        missing += answer.missing;
    }
    let (Report { refused, .. }, read) = reading.await.context("the reading of the file was cut off")?;
    read.context(kept)?;
    for (path, line, reason) in &refused {
        screen.line(format_args!("{}:{line}: {reason}", path.display()))?;
    }
    screen.line(format_args!(
        "{} records deleted, {} were not there, {} refused; revision {revision}",
        count(deleted),
        count(missing),
        count(refused.len() as u64),
    ))?;
    Ok(Outcome::of(!refused.is_empty()))
}
