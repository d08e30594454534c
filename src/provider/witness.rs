//! Hands checkpoints to places off the machine, or at least out of the log's folder: who changes the log later cannot
//! change those. Never in the way of a decision; what fails is counted, logged and tried again.

use std::{
    fs::OpenOptions,
    io::Write as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::CONTENT_TYPE;
use tokio::{
    net::{UdpSocket, UnixDatagram},
    sync::watch,
};

use super::outbound::Outbound;
use crate::{
    app::ports::CheckpointWitness,
    domain::{checkpoint::SignedCheckpoint, issuer::Servers},
};

/// How long handing over may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// How long after a failure it is tried again, at most.
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Facility 13, log audit; severity 6, informational (RFC 5424 section 6.2.1).
const PRIORITY: u32 = 13 * 8 + 6;

/// Where checkpoints are handed to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Appended to a file, an empty line after each.
    File(PathBuf),
    /// A line to the machine's own syslog, through its socket.
    Syslog(PathBuf),
    /// A line to a syslog server over UDP (RFC 5426): host and port.
    SyslogServer(String),
    /// Posted as text to this URL.
    Url(String),
}

/// Where and how often checkpoints are handed over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to.
    pub places: Vec<Place>,
    /// At most so often to each; the newest counts. Default 60 s.
    pub interval: Duration,
    /// The URL's host may have a private address.
    pub private_addresses: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { places: Vec::new(), interval: Duration::from_secs(60), private_addresses: false }
    }
}

/// Hands the checkpoints of one log to one place.
#[derive(Debug)]
pub struct Witness {
    place: Place,
    interval: Duration,
    outbound: Outbound,
    newest: watch::Receiver<Option<Arc<SignedCheckpoint>>>,
    handed: AtomicU64,
    failures: AtomicU64,
}

impl Witness {
    /// The witnesses of a log whose checkpoints come by `newest`, one for each place.
    pub fn all(options: &Options, newest: &watch::Receiver<Option<Arc<SignedCheckpoint>>>) -> Vec<Arc<Self>> {
        let servers = Servers { private_addresses: options.private_addresses, ..Servers::default() };
        let witness = |place: &Place| {
            Arc::new(Self {
                place: place.clone(),
                interval: options.interval,
                outbound: Outbound::new(&servers, TIMEOUT),
                newest: newest.clone(),
                handed: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            })
        };
        options.places.iter().map(witness).collect()
    }

    /// Hands over the newest checkpoint, again and again, until the log is closed.
    pub async fn follow(&self) {
        let mut newest = self.newest.clone();
        loop {
            let is_new = |made: &Option<Arc<SignedCheckpoint>>| {
                made.as_ref().is_some_and(|made| made.checkpoint.size > self.handed())
            };
            if newest.wait_for(is_new).await.is_err() {
                return;
            }
            let done = self.hand_newest().await;
            tokio::time::sleep(if done { self.interval } else { self.interval.min(RETRY_MAX) }).await;
        }
    }

    /// Hands over the newest checkpoint, unless that was done; `false` when it failed.
    pub async fn hand_newest(&self) -> bool {
        let newest = self.newest.borrow().clone();
        let Some(newest) = newest.filter(|made| made.checkpoint.size > self.handed()) else { return true };
        let handing = tokio::time::timeout(TIMEOUT, self.hand(&newest));
        match handing.await.unwrap_or_else(|_| Err("it took too long".to_owned())) {
            Ok(()) => {
                self.handed.fetch_max(newest.checkpoint.size, SeqCst);
                true
            }
            Err(fault) => {
                let failures = self.failures.fetch_add(1, SeqCst) + 1;
                let (origin, place) = (&newest.checkpoint.origin, self.place.word());
                tracing::warn!(%origin, place, failures, fault, "a checkpoint of the decision log could not be handed over");
                false
            }
        }
    }

    async fn hand(&self, made: &SignedCheckpoint) -> Result<(), String> {
        match &self.place {
            Place::File(path) => {
                let (path, text) = (path.clone(), format!("{}\n", made.note));
                let write = move || {
                    let mut file = OpenOptions::new().append(true).create(true).open(&path)?;
                    file.write_all(text.as_bytes())?;
                    file.sync_data()
                };
                let written = tokio::task::spawn_blocking(write).await.map_err(|error| error.to_string())?;
                written.map_err(|error| error.to_string())
            }
            Place::Syslog(path) => {
                let line = format!("<{PRIORITY}>hallpass: {}", line(made));
                let socket = UnixDatagram::unbound().map_err(|error| error.to_string())?;
                socket.send_to(line.as_bytes(), path).await.map(drop).map_err(|error| error.to_string())
            }
            Place::SyslogServer(server) => {
                let line = format!("<{PRIORITY}>1 - - hallpass - checkpoint - {}", line(made));
                send_to_server(server, &line).await.map_err(|error| error.to_string())
            }
            Place::Url(url) => self.post(url, made).await,
        }
    }

    async fn post(&self, url: &str, made: &SignedCheckpoint) -> Result<(), String> {
        let request = self.outbound.post(url, "the witness").await?;
        let request = request.header(CONTENT_TYPE, "text/plain; charset=utf-8").body(made.note.to_string());
        let answer = request.send().await.map_err(|error| format!("the witness: {}", error.without_url()))?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("the witness answered {}", status.as_u16())) }
    }
}

impl Place {
    fn word(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Syslog(_) | Self::SyslogServer(_) => "syslog",
            Self::Url(_) => "url",
        }
    }

    /// Reads where a syslog is: `unix:PATH` or `udp:HOST:PORT`.
    ///
    /// # Errors
    /// A sentence that says what was expected.
    pub fn syslog(text: &str) -> Result<Self, String> {
        let expected = || format!("`{text}` is no syslog, expected `unix:/dev/log` or `udp:HOST:PORT`");
        if let Some(path) = text.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
            return Ok(Self::Syslog(path.into()));
        }
        let server = text.strip_prefix("udp:").ok_or_else(expected)?;
        let (host, port) = server.rsplit_once(':').ok_or_else(expected)?;
        let is_good = !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0);
        if is_good { Ok(Self::SyslogServer(server.to_owned())) } else { Err(expected()) }
    }

    /// Reads a URL: `https`, or `http` on this machine.
    ///
    /// # Errors
    /// A sentence that says what is wrong with it.
    pub fn url(text: &str) -> Result<Self, String> {
        super::outbound::parse(text, "the witness").map(|_| Self::Url(text.to_owned()))
    }
}

impl CheckpointWitness for Witness {
    fn handed(&self) -> u64 {
        self.handed.load(SeqCst)
    }

    fn failures(&self) -> u64 {
        self.failures.load(SeqCst)
    }
}

/// A checkpoint in one line; the note itself in base64.
fn line(made: &SignedCheckpoint) -> String {
    let SignedCheckpoint { checkpoint, note } = made;
    format!(
        "checkpoint origin={} size={} note={}",
        checkpoint.origin,
        checkpoint.size,
        STANDARD.encode(note.as_bytes())
    )
}

async fn send_to_server(server: &str, line: &str) -> std::io::Result<()> {
    let mut addresses = tokio::net::lookup_host(server).await?;
    let address = addresses.next().ok_or_else(|| std::io::Error::other("the host's name leads nowhere"))?;
    let any = if address.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    UdpSocket::bind(any).await?.send_to(line.as_bytes(), address).await.map(drop)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;
    use crate::domain::checkpoint::Checkpoint;

    fn made(size: u64) -> Arc<SignedCheckpoint> {
        let checkpoint = Checkpoint { origin: "example.org/log".into(), size, root: [7; 32] };
        Arc::new(SignedCheckpoint { note: format!("{}\n— note\n", checkpoint.text()).into(), checkpoint })
    }

    fn witness(place: Place) -> (watch::Sender<Option<Arc<SignedCheckpoint>>>, Arc<Witness>) {
        let newest = watch::Sender::new(None);
        let options = Options { places: vec![place], ..Options::default() };
        let witness = Witness::all(&options, &newest.subscribe()).remove(0);
        (newest, witness)
    }

    #[tokio::test]
    async fn a_file_gets_each_checkpoint_once_and_a_failure_is_made_up_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("off/checkpoints");
        let (newest, witness) = witness(Place::File(path.clone()));
        assert!(witness.hand_newest().await, "there is nothing yet");
        newest.send_replace(Some(made(3)));
        assert!(!witness.hand_newest().await, "the folder is missing");
        assert_eq!((witness.handed(), witness.failures()), (0, 1));
        std::fs::create_dir(folder.path().join("off")).unwrap();
        assert!(witness.hand_newest().await);
        assert!(witness.hand_newest().await);
        newest.send_replace(Some(made(5)));
        assert!(witness.hand_newest().await);
        assert_eq!((witness.handed(), witness.failures()), (5, 1));
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, format!("{}\n{}\n", made(3).note, made(5).note));
    }

    #[tokio::test]
    async fn a_syslog_gets_a_line_by_socket_or_server() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let socket = UnixDatagram::bind(&path).unwrap();
        let server = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = server.local_addr().unwrap();
        let note = STANDARD.encode(made(4).note.as_bytes());
        let mut bytes = [0; 2000];
        let (newest, witness_by_socket) = witness(Place::syslog(&format!("unix:{}", path.display())).unwrap());
        newest.send_replace(Some(made(4)));
        assert!(witness_by_socket.hand_newest().await);
        let length = socket.recv(&mut bytes).await.unwrap();
        let expected = format!("<110>hallpass: checkpoint origin=example.org/log size=4 note={note}");
        assert_eq!(str::from_utf8(&bytes[..length]).unwrap(), expected);
        let (newest, witness) = witness(Place::syslog(&format!("udp:{address}")).unwrap());
        newest.send_replace(Some(made(4)));
        assert!(witness.hand_newest().await);
        let length = server.recv(&mut bytes).await.unwrap();
        assert!(bytes[..length].starts_with(b"<110>1 - - hallpass - checkpoint - checkpoint origin="));
    }

    /// Takes one request and answers it; returns what was sent.
    async fn answer(listener: &TcpListener, status: &str) -> String {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut text = String::new();
        while !text.ends_with("note\n") {
            let mut bytes = [0; 4096];
            let read = stream.read(&mut bytes).await.unwrap();
            text.push_str(str::from_utf8(&bytes[..read]).unwrap());
        }
        let head = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_server_gets_the_note_and_its_refusal_counts_as_a_failure() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/checkpoints", listener.local_addr().unwrap());
        let (newest, witness) = witness(Place::url(&url).unwrap());
        newest.send_replace(Some(made(9)));
        let (done, sent) = tokio::join!(witness.hand_newest(), answer(&listener, "503 Busy"));
        assert!(!done && sent.starts_with("POST /checkpoints HTTP/1.1\r\n"), "{sent}");
        let (done, sent) = tokio::join!(witness.hand_newest(), answer(&listener, "204 No Content"));
        assert!(done && sent.ends_with(&*made(9).note), "{sent}");
        assert_eq!((witness.handed(), witness.failures()), (9, 1));
    }

    #[tokio::test]
    async fn following_ends_with_the_log() {
        let folder = tempfile::tempdir().unwrap();
        let newest = watch::Sender::new(None);
        let places = vec![Place::File(folder.path().join("checkpoints"))];
        let options = Options { places, interval: Duration::ZERO, ..Options::default() };
        let witness = Witness::all(&options, &newest.subscribe()).remove(0);
        let follow = async {
            witness.follow().await;
        };
        let send = async {
            for size in 1..4 {
                newest.send_replace(Some(made(size)));
                while witness.handed() < size {
                    tokio::task::yield_now().await;
                }
            }
            drop(newest);
        };
        tokio::join!(follow, send);
        assert_eq!(witness.handed(), 3);
    }

    #[test]
    fn places_are_read_strictly() {
        for good in ["unix:/dev/log", "udp:host:514", "udp:[::1]:514"] {
            assert!(Place::syslog(good).is_ok(), "{good}");
        }
        for bad in ["", "/dev/log", "unix:dev/log", "udp:host", "udp::514", "udp:host:0", "udp:host:x", "tcp:host:514"]
        {
            assert!(Place::syslog(bad).is_err(), "{bad}");
        }
        assert!(Place::url("https://witness.example/add").is_ok());
        assert!(Place::url("http://witness.example/add").is_err());
    }
}
