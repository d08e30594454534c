//! Takes connections: so many at once, each with its handshake in a task of its own, so that nobody waits for the slow.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;

use super::{
    certificates::Certificates,
    connection::Connection,
    handshakes::{Failure, Handshakes},
    peer::{self, Peer},
    stalls::Patience,
    standing::Standing,
    tls::Protocol,
};

/// How long nothing is accepted after accepting failed, for example because all file descriptors are taken.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Connections that are ready and wait to be served.
const READY_MAX: usize = 16;

/// The limits of a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most connections at once, those in their handshake among them; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long a handshake may take.
    pub handshake_within: Duration,
    /// The most handshakes at once: the oldest makes room for the next one.
    pub handshakes_max: usize,
    /// How long nothing may come over a connection.
    pub idle_max: Duration,
    /// How many bytes a client must send before anything else, behind the handshake if there is one; 0 where whoever speaks over
    /// the connection sees to that.
    pub opening_bytes: usize,
    /// How long it may take for them.
    pub opening_within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: 1_024,
            handshake_within: Duration::from_secs(10),
            handshakes_max: 256,
            idle_max: Duration::from_secs(300),
            opening_bytes: 0,
            opening_within: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// The patience with a connection.
    pub(super) fn patience(&self) -> Patience {
        Patience::of(self.idle_max, Some((self.opening_bytes, self.opening_within)))
    }
}

/// How connections of a listener are secured.
#[derive(Clone, Debug)]
pub enum Security {
    /// Not at all: for this machine alone.
    Plain,
    /// With TLS, to speak this.
    Tls(Arc<Certificates>, Protocol),
}

/// Connections as they come, each ready to be spoken over. Accepting ends when this is dropped.
#[derive(Debug)]
pub struct Acceptor {
    ready: mpsc::Receiver<Connection>,
    /// Aborts the task with all handshakes when it is dropped.
    _accepting: JoinSet<()>,
    places: Arc<Semaphore>,
    limits: Limits,
}

impl Acceptor {
    /// Takes connections from now on.
    pub fn start(listener: TcpListener, security: Security, limits: Limits) -> Self {
        let (sender, ready) = mpsc::channel(READY_MAX);
        let places = Arc::new(Semaphore::new(limits.connections_max));
        let mut accepting = JoinSet::new();
        accepting.spawn(accept_all(listener, security, limits, Arc::clone(&places), sender));
        Self { ready, _accepting: accepting, places, limits }
    }

    /// The next connection; `None` never comes while the listener is there.
    pub async fn next(&mut self) -> Option<Connection> {
        self.ready.recv().await
    }

    /// Tells how many connections there are, for as long as somebody wants to know.
    pub fn open(&self) -> Open {
        Open { places: Arc::clone(&self.places), connections_max: self.limits.connections_max }
    }

    /// How many connections there are now, those in their handshake among them.
    pub fn connections(&self) -> usize {
        self.open().connections()
    }
}

/// Tells how many connections a listener has.
#[derive(Clone, Debug)]
pub struct Open {
    places: Arc<Semaphore>,
    connections_max: usize,
}

impl Open {
    /// How many connections there are now, those in their handshake among them.
    pub fn connections(&self) -> usize {
        match self.places.available_permits() {
            0 => self.connections_max,
            // One place is taken while the next connection is waited for.
            free => self.connections_max.saturating_sub(free).saturating_sub(1),
        }
    }
}

impl Stream for Acceptor {
    type Item = io::Result<Connection>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.ready.poll_recv(context).map(|connection| connection.map(Ok))
    }
}

async fn accept_all(
    listener: TcpListener,
    security: Security,
    limits: Limits,
    places: Arc<Semaphore>,
    ready: mpsc::Sender<Connection>,
) {
    let mut handshakes = UnderWay::default();
    loop {
        match accept(&listener, &places).await {
            Ok((stream, address, place)) => match &security {
                Security::Plain => {
                    let peer = Peer { address, certificate: None };
                    if ready.send(Connection::plain(stream, peer, place, limits.patience())).await.is_err() {
                        return;
                    }
                }
                Security::Tls(certificates, protocol) => {
                    let standing = Standing::new(Arc::clone(certificates), certificates.taken(), address);
                    let shake = Shake {
                        standing,
                        acceptor: certificates.server_config(*protocol).into(),
                        within: limits.handshake_within,
                        counts: Arc::clone(certificates.handshakes()),
                        address,
                        patience: limits.patience(),
                    };
                    handshakes.begin(limits.handshakes_max, shake, stream, place, ready.clone());
                }
            },
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, address) = listener.accept().await?;
    // A client that is gone again shows at the first reading.
    stream.set_nodelay(true).ok();
    Ok((stream, address, place))
}

/// The handshakes under way, the oldest first. They end when this is dropped.
#[derive(Default)]
struct UnderWay {
    tasks: JoinSet<()>,
    order: VecDeque<(AbortHandle, Arc<Handshakes>, SocketAddr)>,
}

impl UnderWay {
    fn begin(
        &mut self,
        max: usize,
        shake: Shake,
        stream: TcpStream,
        place: OwnedSemaphorePermit,
        ready: mpsc::Sender<Connection>,
    ) {
        while self.tasks.try_join_next().is_some() {}
        self.order.retain(|(handshake, _, _)| !handshake.is_finished());
        // Who is quick has never long to wait: whoever only holds on to places loses them first.
        while self.order.len() >= max
            && let Some((oldest, counts, address)) = self.order.pop_front()
        {
            oldest.abort();
            counts.note(Failure::Crowded, address);
        }
        let (counts, address) = (Arc::clone(&shake.counts), shake.address);
        let handshake = self.tasks.spawn(async move {
            let counts = Arc::clone(&shake.counts);
            match shake.hands(stream, place).await {
                Ok(connection) => {
                    counts.note_done();
                    // Nobody listens any more when the service stops.
                    ready.send(connection).await.ok();
                }
                Err(failure) => counts.note(failure, address),
            }
        });
        self.order.push_back((handshake, counts, address));
    }
}

/// What a handshake needs.
struct Shake {
    standing: Standing,
    acceptor: TlsAcceptor,
    within: Duration,
    counts: Arc<Handshakes>,
    address: SocketAddr,
    patience: Patience,
}

impl Shake {
    async fn hands(self, stream: TcpStream, place: OwnedSemaphorePermit) -> Result<Connection, Failure> {
        let shaken = tokio::time::timeout(self.within, self.acceptor.accept(stream)).await;
        let stream = shaken.map_err(|_| Failure::TooSlow)?.map_err(|error| Failure::of(&error))?;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let certificate = match leaf {
            Some(leaf) => Some(Arc::new(peer::certificate(leaf).ok_or(Failure::BadCertificate)?)),
            None => None,
        };
        let peer = Peer { address: self.address, certificate };
        Ok(Connection::secured(stream, peer, self.standing, place, self.patience))
    }
}
