//! `TailDecisions`: decisions as they are kept, as a stream of messages.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::super::{call::Call, convert::decisions::tail as convert, status};
use crate::{
    app::{
        App,
        caller::{Permit, Presented, Reading},
        decisions::DecisionQuery,
        error::{Error, Kind},
        tail::Tail,
    },
    proto::v1 as pb,
};

/// The messages of an answer.
pub(crate) type Parts = ReceiverStream<Result<pb::TailDecisionsResponse, Status>>;
type Sender = mpsc::Sender<Result<pb::TailDecisionsResponse, Status>>;

/// How many messages wait for a caller that is slower than the log, and the last one, which says why it ends.
const WAITING_MAX: usize = 8;
/// How long a caller may take no message.
const CALLER_WAIT: Duration = Duration::from_secs(20);
/// How long entries gather before the next look.
const GATHER: Duration = Duration::from_millis(50);
/// A caller to whom nothing matters hears at least this often how far the log was looked at, while it grows.
const PROGRESS_EVERY: Duration = Duration::from_secs(5);

/// Starts to follow the log. It is on record before it begins.
pub(crate) async fn answer(
    app: &Arc<App>,
    request: pb::TailDecisionsRequest,
    call: &Call,
    presented: &Presented,
) -> Result<Parts, Status> {
    let until = call.until();
    let convert::Tail { realm, conditions, after } =
        convert::tail(request).map_err(|error| status::of(&app.refusal_of(presented, error), ""))?;
    let reading = Reading::of_query("TailDecisions", &conditions, call.request_id());
    let started = async {
        let Permit { texts, .. } = app.permit(&realm, presented, &reading).await?;
        app.tail_decisions(&realm, DecisionQuery { texts, ..conditions.clone() }, after)
    };
    let tail = started.await.map_err(|error| status::of(&error, &realm))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(send(tail, realm, sender, until));
    Ok(ReceiverStream::new(receiver))
}

/// Sends what is kept, until the caller is gone or too slow, its time is over, or the service stops.
async fn send(tail: Tail, realm: String, sender: Sender, until: Option<Instant>) {
    let work = async {
        tokio::select! {
            () = sender.closed() => None,
            error = send_all(tail, &sender) => Some(status::of(&error, &realm)),
        }
    };
    let ended = match until {
        None => work.await,
        Some(until) => timeout_at(until, work).await.unwrap_or_else(|_| Some(status::deadline_exceeded())),
    };
    if let Some(status) = ended {
        // There is always room for it: a message leaves a place free.
        drop(sender.try_send(Err(status)));
    }
}

/// Sends every part; returns why there are no more.
async fn send_all(mut tail: Tail, sender: &Sender) -> Error {
    let mut sent = Instant::now();
    let mut reached = 0;
    loop {
        let part = match tail.next().await {
            Ok(part) => part,
            Err(error) => return error,
        };
        let is_full = !part.decisions.is_empty();
        if is_full || !part.events.is_empty() || sent.elapsed() >= PROGRESS_EVERY {
            let sequence = part.sequence;
            // Two places: the one that is left over is for the error, should the caller take nothing more.
            match timeout(CALLER_WAIT, sender.reserve_many(2)).await {
                Ok(Ok(mut places)) => places.next().map(|place| place.send(Ok(convert::part(part)))),
                Ok(Err(_)) | Err(_) => return too_slow(reached),
            };
            (sent, reached) = (Instant::now(), sequence);
        }
        if !is_full {
            sleep(GATHER).await;
        }
    }
}

fn too_slow(reached: u64) -> Error {
    let seconds = CALLER_WAIT.as_secs();
    let message = format!("the caller took no message for {seconds} s; go on with `after_sequence` {reached}");
    Error::new(Kind::Unavailable, "CALLER_TOO_SLOW", message)
}
