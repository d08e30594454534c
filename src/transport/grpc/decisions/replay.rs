//! `ReplayDecisions`: logged decisions made again, as a stream of messages.

use std::{sync::Arc, time::Duration};

use prost::Message as _;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::{call::Call, convert::decisions::replay as convert, status};
use crate::{
    app::{
        App,
        caller::{Permit, Presented, Reading},
        decisions::DecisionQuery,
        error::{Error, Kind},
        replay::{Difference, Part, Replay},
    },
    proto::v1 as pb,
};

/// The messages of an answer.
pub(crate) type Parts = ReceiverStream<Result<pb::ReplayDecisionsResponse, Status>>;
type Sender = mpsc::Sender<Result<pb::ReplayDecisionsResponse, Status>>;

/// How many messages wait for a caller that is slower than the replay; then the replay waits.
const WAITING_MAX: usize = 2;
/// How long a replay waits for a caller that takes no message.
const CALLER_WAIT: Duration = Duration::from_secs(60);
/// About how long a message gets, in bytes: a client with usual limits takes 4 MiB.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// Starts a replay and sends its parts as they come. It is on record before anything is shown.
pub(crate) async fn answer(
    app: &Arc<App>,
    request: pb::ReplayDecisionsRequest,
    call: &Call,
    presented: &Presented,
) -> Result<Parts, Status> {
    let until = call.until();
    let convert::Replay { realm, conditions, against, is_brief } =
        convert::replay(request).map_err(|error| status::of(&app.refusal_of(presented, error), ""))?;
    let reading = Reading::of_query("ReplayDecisions", &conditions, call.request_id());
    let replay = |Permit { texts, .. }| app.replay(&realm, DecisionQuery { texts, ..conditions.clone() }, against);
    let started = app.read_log_as(&realm, presented, &reading, replay).await;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    match started.map_err(|error| status::of(&error, &realm))? {
        Ok(replay) => drop(tokio::spawn(send(replay, realm, is_brief, sender, until))),
        // There is room for it.
        Err(faults) => drop(sender.try_send(Ok(convert::refused(&faults)))),
    }
    Ok(ReceiverStream::new(receiver))
}

/// Sends what the replay finds, until it ends, the caller is gone, or its time is over.
async fn send(replay: Replay, realm: String, is_brief: bool, sender: Sender, until: Option<Instant>) {
    let work = async {
        tokio::select! {
            () = sender.closed() => Ok(()),
            ended = send_all(replay, is_brief, &sender) => ended,
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

async fn send_all(mut replay: Replay, is_brief: bool, sender: &Sender) -> Result<(), Error> {
    while let Some(part) = replay.next().await? {
        match part {
            Part::Piece { differences, done, total } => {
                let messages = if is_brief { Vec::new() } else { in_messages(&differences) };
                for message in messages {
                    send_one(sender, message).await?;
                }
                send_one(sender, convert::progress(done, total)).await?;
            }
            Part::End(summary) => send_one(sender, convert::summary(summary)).await?,
        }
    }
    Ok(())
}

async fn send_one(sender: &Sender, message: pb::ReplayDecisionsResponse) -> Result<(), Error> {
    // A caller that is gone is noticed beside this.
    timeout(CALLER_WAIT, sender.send(Ok(message)))
        .await
        .map(drop)
        .map_err(|_| Error::new(Kind::Unavailable, "CALLER_TOO_SLOW", "the caller took no message for a minute"))
}

/// Differences as messages of bearable length.
fn in_messages(differences: &[Difference]) -> Vec<pb::ReplayDecisionsResponse> {
    let (mut messages, mut bytes) = (Vec::<pb::ReplayDecisionsResponse>::new(), 0);
    for difference in differences.iter().map(convert::difference) {
        bytes += difference.encoded_len();
        match messages.last_mut() {
            Some(message) if bytes <= MESSAGE_BYTES => message.differences.push(difference),
            _ => {
                bytes = difference.encoded_len();
                messages.push(pb::ReplayDecisionsResponse { differences: vec![difference], ..Default::default() });
            }
        }
    }
    messages
}
