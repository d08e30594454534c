//! Messages as gRPC has them in a body (gRPC over HTTP/2, "Length-Prefixed-Message"), and the status behind them.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use axum::body::Bytes;
use hyper::body::Body as _;
use prost::bytes::{Buf as _, BufMut as _, BytesMut};
use tonic::{Code, Status, body::Body};

/// A flag for compression and a length of four bytes.
const PREFIX_BYTES: usize = 5;

/// Puts a message behind those that are in the body already; false if it is too long for one.
pub(super) fn push(body: &mut BytesMut, message: &[u8]) -> bool {
    let Ok(length) = u32::try_from(message.len()) else { return false };
    body.reserve(PREFIX_BYTES + message.len());
    body.put_u8(0);
    body.put_u32(length);
    body.put_slice(message);
    true
}

/// The messages of an answer, one after the other.
#[derive(Debug)]
pub(super) struct Frames {
    body: Body,
    /// What came and is not yet a whole message.
    pending: BytesMut,
    /// The call is over.
    is_over: bool,
}

impl Frames {
    /// The messages of this body.
    pub(super) fn of(body: Body) -> Self {
        Self { body, pending: BytesMut::new(), is_over: false }
    }

    /// The next message; `None` when the call is over and went well. Nothing is lost if the future is dropped.
    ///
    /// # Errors
    /// The status of a call that failed, or that broke off.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// As [`Frames::next`].
    pub(super) fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Status>> {
        loop {
            if self.is_over {
                return Poll::Ready(Ok(None));
            }
            match self.take_whole() {
                Ok(None) => {}
                taken => return Poll::Ready(taken),
            }
            let end = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                None => Err(Status::internal("the answer has no end")),
                Some(Err(status)) => Err(status),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.pending.extend_from_slice(&data);
                        continue;
                    }
                    Err(frame) => status_of(frame.trailers_ref()),
                },
            };
            self.is_over = true;
            return Poll::Ready(end.map(|()| None));
        }
    }

    /// A message, if all of it is there.
    fn take_whole(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(mut prefix) = self.pending.get(..PREFIX_BYTES) else { return Ok(None) };
        if prefix.get_u8() != 0 {
            self.is_over = true;
            return Err(Status::internal("the answer is compressed"));
        }
        let length = prefix.get_u32() as usize;
        if self.pending.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.pending.advance(PREFIX_BYTES);
        Ok(Some(self.pending.split_to(length).freeze()))
    }
}

/// What trailers say: well, or why not.
fn status_of(trailers: Option<&axum::http::HeaderMap>) -> Result<(), Status> {
    match trailers.and_then(Status::from_header_map) {
        Some(status) if status.code() == Code::Ok => Ok(()),
        Some(status) => Err(status),
        None => Err(Status::internal("the answer has no status")),
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use axum::http::HeaderMap;
    use hyper::body::Frame;
    use tokio_stream::StreamExt as _;

    use super::*;

    /// A body in these pieces, with this status behind them.
    fn frames(pieces: Vec<Vec<u8>>, status: Option<&str>) -> Frames {
        let data = pieces.into_iter().map(|piece| Frame::data(Bytes::from(piece)));
        let trailers = status.map(|status| {
            Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), status.parse().unwrap())]))
        });
        let all: VecDeque<_> = data.chain(trailers).map(Ok::<_, Infallible>).collect();
        Frames::of(Body::new(http_body_util::StreamBody::new(tokio_stream::iter(all).map(|frame| frame))))
    }

    async fn all(mut frames: Frames) -> (Vec<Bytes>, Result<(), Code>) {
        let mut messages = Vec::new();
        loop {
            match frames.next().await {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => return (messages, Ok(())),
                Err(status) => {
                    assert_eq!(frames.next().await.unwrap(), None, "nothing comes after the end");
                    return (messages, Err(status.code()));
                }
            }
        }
    }

    #[tokio::test]
    async fn messages_come_whole_however_the_body_is_cut() {
        let mut body = BytesMut::new();
        let messages = [&b"first"[..], b"", &[7; 300]];
        assert!(messages.iter().all(|message| push(&mut body, message)));
        for size in [1, 2, 5, 6, 11, 100, body.len()] {
            let pieces = body.chunks(size).map(<[u8]>::to_vec).collect();
            let (found, end) = all(frames(pieces, Some("0"))).await;
            assert!(found.iter().eq(messages.iter()), "{size}");
            assert_eq!(end, Ok(()));
        }
    }

    #[tokio::test]
    async fn a_call_that_has_no_good_end_has_failed() {
        let mut whole = BytesMut::new();
        assert!(push(&mut whole, b"first"));
        let whole = whole.to_vec();
        let compressed = [&[1], &whole[1..]].concat();
        for (pieces, status, count, code) in [
            (vec![whole.clone()], Some("14"), 1, Code::Unavailable),
            (vec![whole.clone()], None, 1, Code::Internal),
            (vec![whole[..7].to_vec()], None, 0, Code::Internal),
            (vec![], Some("4"), 0, Code::DeadlineExceeded),
            (vec![], Some("?"), 0, Code::Unknown),
            (vec![compressed], Some("0"), 0, Code::Internal),
        ] {
            let (found, end) = all(frames(pieces, status)).await;
            assert_eq!((found.len(), end), (count, Err(code)), "{status:?}");
        }
    }
}
