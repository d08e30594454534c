//! `SearchResources`: a search as a stream of messages.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, timeout, timeout_at},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    call::Call,
    convert::search::{self as convert, Search as Converted},
    page_token::Binding,
    status,
};
use crate::{
    app::{
        App,
        caller::Presented,
        error::{Error, Kind},
        ports::trace::carried,
        search::{Part, Search},
    },
    domain::adapter::Adapter,
    proto::v1 as pb,
};

/// The messages of an answer.
pub(super) type Parts = ReceiverStream<Result<pb::SearchResourcesResponse, Status>>;
type Sender = mpsc::Sender<Result<pb::SearchResourcesResponse, Status>>;

/// How many messages wait for a caller that is slower than the search; then the search waits.
const WAITING_MAX: usize = 2;
/// How long a search waits for a caller that takes no message.
const CALLER_WAIT: Duration = Duration::from_secs(60);

/// Starts a search and sends its parts as they come.
pub(super) async fn answer(
    app: &Arc<App>,
    request: pb::SearchResourcesRequest,
    call: &Call,
    presented: Presented,
    adapter: Adapter,
) -> Result<Parts, Status> {
    let until = call.until();
    let (mut request, binding) =
        convert::search(request, call.request_id()).map_err(|error| status::of(&error, ""))?.into_parts();
    (request.presented, request.adapter) = (presented, adapter);
    let realm = Arc::clone(&request.realm);
    let search = app.search(request).await.map_err(|error| status::of(&error, &realm))?;
    let (sender, receiver) = mpsc::channel(WAITING_MAX);
    tokio::spawn(carried(send(search, binding, realm, sender, until)));
    Ok(ReceiverStream::new(receiver))
}

/// Sends what the search finds, until it ends, the caller is gone, or its time is over.
async fn send(search: Search, binding: Option<Binding>, realm: Arc<str>, sender: Sender, until: Option<Instant>) {
    let work = async {
        tokio::select! {
            () = sender.closed() => None,
            ended = send_all(search, binding.as_ref(), &sender) => ended,
        }
    };
    let ended = match until {
        None => work.await.map(|error| status::of(&error, &realm)),
        Some(until) => match timeout_at(until, work).await {
            Ok(ended) => ended.map(|error| status::of(&error, &realm)),
            Err(_) => Some(status::deadline_exceeded()),
        },
    };
    if let Some(status) = ended {
        // Whoever doesn't take it in this time won't miss it.
        drop(timeout(Duration::from_secs(1), sender.send(Err(status))).await);
    }
}

/// Sends every part; gives the error that ended the search before its end.
async fn send_all(mut search: Search, binding: Option<&Binding>, sender: &Sender) -> Option<Error> {
    loop {
        let part: Part = match search.next().await {
            Ok(Some(part)) => part,
            Ok(None) => return None,
            Err(error) => return Some(error),
        };
        let message = Converted::part(binding, part);
        match timeout(CALLER_WAIT, sender.send(Ok(message))).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return None,
            Err(_) => {
                let message = "the caller took no message for a minute";
                return Some(Error::new(Kind::Unavailable, "CALLER_TOO_SLOW", message));
            }
        }
    }
}
