//! A connection that is ready to be spoken over, the same with TLS and without.

use std::{
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    sync::OwnedSemaphorePermit,
};
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;

use super::{
    peer::Peer,
    stalls::{Patience, Stalls},
    standing::Standing,
};

/// A connection that is ready to be spoken over; its place among those there may be is free again with it.
pub struct Connection {
    stream: Io,
    stalls: Stalls,
    peer: Peer,
    /// Whether the client's certificate still counts; `None` without TLS.
    standing: Option<Standing>,
    _place: Option<OwnedSemaphorePermit>,
}

enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    #[cfg(test)]
    Memory(tokio::io::DuplexStream),
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) fn plain(stream: TcpStream, peer: Peer, place: OwnedSemaphorePermit, patience: Patience) -> Self {
        Self { stream: Io::Plain(stream), stalls: Stalls::new(patience), peer, standing: None, _place: Some(place) }
    }

    pub(super) fn secured(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        standing: Standing,
        place: OwnedSemaphorePermit,
        patience: Patience,
    ) -> Self {
        let (stream, stalls) = (Io::Tls(Box::new(stream)), Stalls::new(patience));
        Self { stream, stalls, peer, standing: Some(standing), _place: Some(place) }
    }

    /// A connection within this process, and its other end, which holds as much as a few packets do.
    #[cfg(test)]
    pub(crate) fn in_memory(
        limits: &super::Limits,
        written_within: std::time::Duration,
    ) -> (Self, tokio::io::DuplexStream) {
        let (here, there) = tokio::io::duplex(4 * 1024);
        let peer = Peer { address: ([127, 0, 0, 1], 7).into(), certificate: None };
        let stalls = Stalls::new(Patience { written_within, ..limits.patience() });
        (Self { stream: Io::Memory(here), stalls, peer, standing: None, _place: None }, there)
    }

    /// Its client's certificate was taken back.
    fn is_taken_back(&mut self) -> bool {
        match (&mut self.standing, &self.stream) {
            (Some(standing), Io::Tls(stream)) => standing.is_lost(stream.get_ref().1.peer_certificates()),
            _ => false,
        }
    }

    /// Who is at its other end.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Peer {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_taken_back() {
            return Poll::Ready(Err(io::ErrorKind::PermissionDenied.into()));
        }
        let before = buffer.filled().len();
        let polled = match &mut self.stream {
            Io::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Io::Tls(stream) => Pin::new(stream).poll_read(context, buffer),
            #[cfg(test)]
            Io::Memory(stream) => Pin::new(stream).poll_read(context, buffer),
        };
        let bytes = buffer.filled().len().saturating_sub(before);
        self.stalls.reading(polled, bytes, context)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Io::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Io::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
            #[cfg(test)]
            Io::Memory(stream) => Pin::new(stream).poll_write(context, bytes),
        };
        self.stalls.writing(polled, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = match &mut self.stream {
            Io::Plain(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Io::Tls(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            #[cfg(test)]
            Io::Memory(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        };
        self.stalls.writing(polled, context)
    }

    fn is_write_vectored(&self) -> bool {
        match &self.stream {
            Io::Plain(stream) => stream.is_write_vectored(),
            Io::Tls(stream) => stream.is_write_vectored(),
            #[cfg(test)]
            Io::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.stream {
            Io::Plain(stream) => Pin::new(stream).poll_flush(context),
            Io::Tls(stream) => Pin::new(stream).poll_flush(context),
            #[cfg(test)]
            Io::Memory(stream) => Pin::new(stream).poll_flush(context),
        };
        self.stalls.writing(polled, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = match &mut self.stream {
            Io::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Io::Tls(stream) => Pin::new(stream).poll_shutdown(context),
            #[cfg(test)]
            Io::Memory(stream) => Pin::new(stream).poll_shutdown(context),
        };
        self.stalls.writing(polled, context)
    }
}
