//! `ExportDecisions`: all decisions of a question as a stream of messages.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::{call::Call, convert::decisions::export as convert, status};
use crate::{
    app::{
        App,
        caller::{Permit, Presented, Reading},
        decisions::DecisionQuery,
        error::{Error, Kind},
        export::Export,
    },
    proto::v1 as pb,
};

/// The messages of an answer.
pub(crate) type Parts = ReceiverStream<Result<pb::ExportDecisionsResponse, Status>>;
type Sender = mpsc::Sender<Result<pb::ExportDecisionsResponse, Status>>;

/// How many messages wait for a caller that is slower than the export; then the export waits.
const WAITING_MAX: usize = 2;
/// How long an export waits for a caller that takes no message.
const CALLER_WAIT: Duration = Duration::from_secs(60);
/// About how long a message gets, in bytes: a client with usual limits takes 4 MiB.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Starts an export and sends its parts as they come. It is on record before it begins.
pub(crate) async fn answer(
    app: &Arc<App>,
    request: pb::ExportDecisionsRequest,
    call: &Call,
    presented: &Presented,
) -> Result<Parts, Status> {
    let until = call.until();
    let convert::Export { realm, conditions, proofs, asked } =
        convert::export(request).map_err(|error| status::of(&app.refusal_of(presented, error), ""))?;
    let reading = Reading::of_query("ExportDecisions", &conditions, call.request_id());
    let started = async {
        let Permit { texts, .. } = app.permit(&realm, presented, &reading).await?;
        app.export_decisions(&realm, DecisionQuery { texts, ..conditions.clone() }, proofs).await
    };
    let export = started.await.map_err(|error| status::of(&error, &realm))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(send(export, asked, realm, sender, until));
    Ok(ReceiverStream::new(receiver))
}

/// Sends what the export finds, until it ends, the caller is gone, or its time is over.
async fn send(export: Export, asked: pb::QueryDecisionsRequest, realm: String, sender: Sender, until: Option<Instant>) {
    let work = async {
        tokio::select! {
            () = sender.closed() => Ok(()),
            ended = send_all(export, asked, &sender) => ended,
        }
    };
    let ended = match until {
        None => work.await.map_err(|error| status::of(&error, &realm)),
        Some(until) => match timeout_at(until, work).await {
            Ok(ended) => ended.map_err(|error| status::of(&error, &realm)),
            Err(_) => Err(status::deadline_exceeded()),
        },
    };
    if let Err(status) = ended {
        // Whoever doesn't take it in this time won't miss it.
        drop(timeout(Duration::from_secs(1), sender.send(Err(status))).await);
    }
}

/// Sends every part and the manifest; fails when the export has no end.
async fn send_all(mut export: Export, asked: pb::QueryDecisionsRequest, sender: &Sender) -> Result<(), Error> {
    while let Some(part) = export.next().await? {
        for message in in_messages(convert::part(part)) {
            send_one(sender, message).await?;
        }
    }
    let manifest = convert::manifest(export.finish().await?, asked);
    send_one(sender, pb::ExportDecisionsResponse { manifest: Some(manifest), ..Default::default() }).await
}

async fn send_one(sender: &Sender, message: pb::ExportDecisionsResponse) -> Result<(), Error> {
    // A caller that is gone is noticed beside this.
    timeout(CALLER_WAIT, sender.send(Ok(message)))
        .await
        .map(drop)
        .map_err(|_| Error::new(Kind::Unavailable, "CALLER_TOO_SLOW", "the caller took no message for a minute"))
}

/// A part as messages of bearable length: progress and events come with the last of them.
fn in_messages(part: pb::ExportDecisionsResponse) -> Vec<pb::ExportDecisionsResponse> {
    let pb::ExportDecisionsResponse { decisions, proofs, events, progress, manifest } = part;
    let (mut messages, mut current, mut bytes) = (Vec::new(), pb::ExportDecisionsResponse::default(), 0);
    let mut proofs = proofs.into_iter();
    for decision in decisions {
        let proof = proofs.next();
        bytes += decision.encoded_len() + proof.as_ref().map_or(0, pb::InclusionProof::encoded_len);
        if bytes > MESSAGE_BYTES && !current.decisions.is_empty() {
            messages.push(std::mem::take(&mut current));
            bytes = decision.encoded_len();
        }
        current.decisions.push(decision);
        current.proofs.extend(proof);
    }
    messages.push(pb::ExportDecisionsResponse { events, progress, manifest, ..current });
    messages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_parts_are_sent_in_several_messages_and_lose_nothing() {
        let decision = |number: u64| pb::DecisionRecord {
            sequence: number,
            resource_id: "x".repeat(100_000),
            ..pb::DecisionRecord::default()
        };
        let part = pb::ExportDecisionsResponse {
            decisions: (1..=50).map(decision).collect(),
            proofs: (1..=50).map(|leaf_index| pb::InclusionProof { leaf_index, ..Default::default() }).collect(),
            progress: Some(pb::ExportProgress { done: 1, total: 2 }),
            ..pb::ExportDecisionsResponse::default()
        };
        let messages = in_messages(part);
        assert_eq!(messages.len(), 5);
        assert!(messages.iter().all(|message| message.encoded_len() < 2 * MESSAGE_BYTES));
        let (last, others) = messages.split_last().unwrap();
        assert!(last.progress.is_some() && others.iter().all(|message| message.progress.is_none()));
        for message in &messages {
            let places = message.decisions.iter().map(|decision| decision.sequence);
            assert!(places.eq(message.proofs.iter().map(|proof| proof.leaf_index)));
        }
        assert_eq!(messages.iter().map(|message| message.decisions.len()).sum::<usize>(), 50);
        assert_eq!(
            in_messages(pb::ExportDecisionsResponse::default()).len(),
            1,
            "progress comes without decisions, too"
        );
    }
}
