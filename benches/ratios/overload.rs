//! Three times the load that can be served, over the wire: what is answered then, how fast, and what the others hear.
//!
//! The service and who asks are processes of their own, each alone on a core, so that neither takes time from the other: what
//! is measured is what one core of the service can do. Who asks is a loop over plain sockets that sends prepared frames of
//! HTTP/2 and only looks at what comes back as far as it must: an ordinary client costs more for each call than the service
//! does, and could offer no three times of anything. Its own limit is told (`offered_over_capacity`): a figure of three says that
//! it did send so much, when it was due, whether answers came or not.
//!
//! Capacity is measured with so many calls always under way (a closed loop), then three times as much is sent, evenly, over the
//! same connections (an open loop), with a deadline. Only what is answered within its deadline counts. A call whose answer
//! never comes is lost; one that is turned away must hear UNAVAILABLE, without a message.
//!
//! Calls are batches of twenty questions, as a page of a list makes them, and single questions. A batch costs many times what
//! it takes to turn one away, so that most of three times as many are turned away. Of a single question the refusal
//! costs a good part, most of it HTTP/2: there the streams of a connection are the limit, and what they do not take stays with who asks and is never
//! offered.

use std::{
    collections::HashMap,
    env,
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use hallpass::{
    config,
    proto::v1::{
        AuthorizeRequest, AuthorizeResponse, BatchAuthorizeRequest, BatchAuthorizeResponse, BatchAuthorizeResult,
        Decision, Resource, Value, batch_authorize_result, value::Kind,
    },
    provider::signer::LocalKey,
    server,
};
use prost::Message as _;
use tokio::runtime::Runtime;

use crate::{
    measure::{Goal, Numbers, Report, info, median, median_ratio},
    service::{self, REALM},
    state::{AGENCY, State, student},
    wire,
};

/// The word that makes this program a service, in a process of its own.
pub(crate) const SERVE: &str = "overload-serve";
/// The word that makes this program ask one.
pub(crate) const ASK: &str = "overload-ask";

const STATE: State = State { students: 10_000 };
const ROUNDS: usize = 5;
const CONNECTIONS: usize = 16;
/// Calls that are under way where capacity is measured.
const IN_FLIGHT: usize = 32;
const WARM_UP: Duration = Duration::from_millis(500);
const ROUND: Duration = Duration::from_secs(2);
/// How much more is offered than can be served.
const TIMES: f64 = 3.0;
const DEADLINE: Duration = Duration::from_secs(1);
/// How long answers are waited for when nothing is sent any more.
const LAST_WITHIN: Duration = Duration::from_secs(5);
const BATCH: usize = 20;
/// Different messages, so that not one question is asked all the time.
const MESSAGES: usize = 512;
const IDLE: usize = 4_000;

pub(crate) fn run(report: &mut Report) {
    let folder = tempfile::tempdir().unwrap();
    let service = Service::start(folder.path());
    for (name, items) in [("batch", BATCH), ("single", 1)] {
        let (mut capacity, mut offered, mut goodput) = (Vec::new(), Vec::new(), Vec::new());
        let (mut calm_p99_ms, mut p99_ms, mut turned_away) = (Vec::new(), Vec::new(), Vec::new());
        let (mut lost, mut other) = (0.0, 0.0);
        for round in 0..=ROUNDS {
            let calm = service.ask(items, None);
            let load = service.ask(items, Some(calm.good_per_s * TIMES));
            if round == 0 {
                continue;
            }
            capacity.push(calm.good_per_s);
            offered.push(load.sent_per_s);
            goodput.push(load.good_per_s);
            calm_p99_ms.push(calm.p99_ms);
            p99_ms.push(load.p99_ms);
            turned_away.push(load.turned_away);
            lost += calm.lost + load.lost;
            other += calm.other + load.other;
        }
        let ratio = median_ratio(&goodput, &capacity);
        report.goal(&format!("overload_{name}_goodput_over_capacity"), ratio, Goal::AtLeast(0.8));
        report.goal(&format!("overload_{name}_lost"), lost, Goal::AtMost(0.0));
        report.goal(&format!("overload_{name}_other_than_unavailable"), other, Goal::AtMost(0.0));
        info(&format!("overload_{name}_offered_over_capacity"), median_ratio(&offered, &capacity));
        info(&format!("overload_{name}_capacity_per_s"), median(&capacity));
        info(&format!("overload_{name}_turned_away"), median(&turned_away));
        info(&format!("overload_{name}_p99_ms"), median(&p99_ms));
        info(&format!("overload_{name}_p99_ms_at_capacity"), median(&calm_p99_ms));
    }
    info("idle_connection_bytes", service.idle_connection_bytes());
}

/// A service in a process of its own; ends with the value.
struct Service {
    process: Child,
    /// Nothing is written; its end is that of the service.
    _stdin: ChildStdin,
    address: String,
    token: String,
}

impl Drop for Service {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// This program in another process, alone on a core where there are two.
fn alone_on(core: usize, words: &[&str]) -> Command {
    let program = env::current_exe().unwrap();
    let is_shared = thread::available_parallelism().map_or(1, usize::from) < 2;
    let mut command = if is_shared {
        Command::new(program)
    } else {
        let mut command = Command::new("taskset");
        command.args(["-c", &core.to_string()]).arg(program);
        command
    };
    command.args(words);
    command
}

impl Service {
    fn start(folder: &Path) -> Self {
        let key = LocalKey::generate().unwrap();
        std::fs::write(folder.join("keys.json"), key.jwks()).unwrap();
        let token = wire::token(&key, AGENCY);
        let mut command = alone_on(0, &[SERVE, folder.to_str().unwrap()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        let stdin = process.stdin.take().unwrap();
        Self { process, _stdin: stdin, address: address.trim().to_owned(), token }
    }

    fn ask(&self, items: usize, rate: Option<f64>) -> Figures {
        let rate = format!("{:.0}", rate.unwrap_or_default());
        let words = [ASK, &self.address, &items.to_string(), &rate, &self.token];
        let asked = alone_on(1, &words).output().unwrap();
        assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
        let figures = String::from_utf8(asked.stdout).unwrap();
        let figures: Vec<f64> = figures.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        let [sent_per_s, good_per_s, p99_ms, turned_away, lost, other]: [f64; 6] = figures.try_into().unwrap();
        Figures { sent_per_s, good_per_s, p99_ms, turned_away, lost, other }
    }

    fn resident_bytes(&self) -> f64 {
        let pages = std::fs::read_to_string(format!("/proc/{}/statm", self.process.id())).unwrap();
        pages.split(' ').nth(1).unwrap().parse::<f64>().unwrap() * 4096.0
    }

    /// What a connection takes over which nothing is said but hello.
    fn idle_connection_bytes(&self) -> f64 {
        let before = self.resident_bytes();
        let mut idle = Vec::with_capacity(IDLE);
        for _ in 0..IDLE {
            let mut stream = TcpStream::connect(&self.address).unwrap();
            stream.write_all(&hello()).unwrap();
            idle.push(stream);
        }
        for stream in &mut idle {
            // The settings of the service: it has taken ours up.
            stream.read_exact(&mut [0; FRAME_HEAD]).unwrap();
        }
        (self.resident_bytes() - before) / IDLE as f64
    }
}

/// What came of a round.
#[derive(Debug)]
struct Figures {
    sent_per_s: f64,
    /// Answered within the deadline.
    good_per_s: f64,
    p99_ms: f64,
    /// The share of calls that heard UNAVAILABLE.
    turned_away: f64,
    /// Calls without any answer.
    lost: f64,
    /// Calls that heard anything else.
    other: f64,
}

/// Serves until there is nobody any more.
pub(crate) fn serve(folder: &str) {
    let folder = Path::new(folder);
    let runtime = Runtime::new().unwrap();
    let mut config = service::config(folder, vec![wire::issuer(&folder.join("keys.json"))]);
    config.limits = config::Limits { connections_max: 2 * IDLE, ..config.limits };
    let running = runtime.block_on(async {
        let running = server::start(config).await.unwrap();
        let mut import = running.app().import(REALM).unwrap();
        for (resource, count, record) in STATE.records() {
            let lines: Vec<String> = (0..count).map(|place| record(STATE, place)).collect();
            for message in lines.chunks(1_000) {
                import.push(resource, message).await.unwrap();
            }
        }
        import.finish().await.unwrap();
        running
    });
    println!("{}", running.grpc_address());
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
    runtime.block_on(running.stop()).unwrap();
}

/// Asks over several connections, so many times a second or, for a rate of 0, with so many calls always under way. Prints the
/// figures of a round.
pub(crate) fn ask(address: &str, items: &str, rate: &str, token: &str) {
    let (items, rate): (usize, u128) = (items.parse().unwrap(), rate.parse().unwrap());
    let mut load = Load::start(address, items, token);
    let figures = load.round((rate > 0).then_some(rate));
    let Figures { sent_per_s, good_per_s, p99_ms, turned_away, lost, other } = figures;
    println!("{sent_per_s} {good_per_s} {p99_ms} {turned_away} {lost} {other}");
}

const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW: u8 = 8;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// What may be sent over a connection before the other side says more (RFC 9113 section 6.9.2).
const WINDOW_FIRST: i64 = 65_535;
/// Fewer than the service takes of a connection.
const STREAMS_MAX: usize = 250;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length.get(1..).unwrap().to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// How a client begins: it remembers no headers of answers, so that each is written out, and takes all that comes.
fn hello() -> Vec<u8> {
    let mut hello = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let no_table = [0, 1, 0, 0, 0, 0];
    let wide_window = [0, 4, 0x40, 0, 0, 0];
    hello.extend(frame(SETTINGS, 0, 0, &[no_table, wide_window].concat()));
    hello.extend(frame(WINDOW, 0, 0, &0x4000_0000_u32.to_be_bytes()));
    hello
}

/// Headers of a call as HPACK writes them without any table (RFC 7541 section 6.2.2).
fn headers(method: &str) -> Vec<u8> {
    let mut block = vec![0x83, 0x86];
    let text = |text: &str| {
        let mut written = vec![u8::try_from(text.len()).unwrap()];
        written.extend(text.bytes());
        written
    };
    block.extend([&[4][..], &text(&format!("/hallpass.v1.AuthorizationService/{method}"))].concat());
    block.extend([&[1][..], &text("localhost")].concat());
    for (name, value) in [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("grpc-timeout", &format!("{}m", DEADLINE.as_millis())),
    ] {
        block.extend([&[0][..], &text(name), &text(value)].concat());
    }
    block
}

/// A text as HPACK writes it shorter (RFC 7541 appendix B), for the few letters that are looked for.
fn huffman(text: &str) -> Vec<u8> {
    let (mut bits, mut count) = (0_u128, 0);
    let codes = [
        ('0', 0b0_0000, 5),
        ('1', 0b0_0001, 5),
        ('a', 0b0_0011, 5),
        ('c', 0b0_0100, 5),
        ('s', 0b0_1000, 5),
        ('t', 0b0_1001, 5),
        ('-', 0b01_0110, 6),
        ('4', 0b01_1010, 6),
        ('g', 0b10_0110, 6),
        ('p', 0b10_1011, 6),
        ('r', 0b10_1100, 6),
        ('u', 0b10_1101, 6),
    ];
    for letter in text.chars() {
        let (_, code, length) = codes.into_iter().find(|(known, ..)| *known == letter).unwrap();
        (bits, count) = (bits << length | code, count + length);
    }
    while count % 8 > 0 {
        (bits, count) = (bits << 1 | 1, count + 1);
    }
    let bytes = count / 8;
    let mut written = vec![0x80 | u8::try_from(bytes).unwrap()];
    written.extend(bits.to_be_bytes().get(16 - bytes..).unwrap());
    written
}

/// How the headers of an answer say a status.
fn status(code: &str) -> Vec<u8> {
    [huffman("grpc-status"), huffman(code)].concat()
}

fn holds(block: &[u8], part: &[u8]) -> bool {
    block.windows(part.len()).any(|window| window == part)
}

/// Prepared messages, each as one frame behind the headers' frame, for stream 0.
fn prepared(items: usize, token: &str) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(7);
    let mut question = |token: &str| {
        let id = student(numbers.below(STATE.students)).to_string();
        let value = Value { kind: Some(Kind::StringValue(id.clone())) };
        let resource = Resource {
            r#type: "ed-fi/students".to_owned(),
            id,
            attributes: HashMap::from([("studentUniqueId".to_owned(), value)]),
            ..Resource::default()
        };
        AuthorizeRequest {
            realm: REALM.to_owned(),
            token: token.to_owned(),
            action: "Read".to_owned(),
            resource: Some(resource),
            ..AuthorizeRequest::default()
        }
    };
    let messages = (0..MESSAGES).map(|_| {
        let (method, message) = if items == 1 {
            ("Authorize", question(token).encode_to_vec())
        } else {
            let items = (0..items).map(|_| question(token)).collect();
            let batch = BatchAuthorizeRequest { items, ..BatchAuthorizeRequest::default() };
            ("BatchAuthorize", batch.encode_to_vec())
        };
        let mut body = vec![0];
        body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        body.extend(message);
        let mut frames = frame(HEADERS, END_HEADERS, 0, &headers(method));
        let pieces: Vec<_> = body.chunks(16 * 1024).collect();
        for (place, piece) in pieces.iter().enumerate() {
            let flags = if place + 1 == pieces.len() { END_STREAM } else { 0 };
            frames.extend(frame(DATA, flags, 0, piece));
        }
        frames
    });
    messages.collect()
}

/// A call that was sent.
struct Sent {
    at: Instant,
    /// What came of its message.
    message: Vec<u8>,
}

struct Connection {
    stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    came: Vec<u8>,
    window: i64,
    next: u32,
    under_way: HashMap<u32, Sent>,
}

/// How a call ended.
enum Ended {
    Good(Vec<u8>),
    Unavailable,
    Other,
}

impl Connection {
    fn start(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        let (out, came, under_way) = (hello(), Vec::new(), HashMap::new());
        Self { stream, out, written: 0, came, window: WINDOW_FIRST, next: 1, under_way }
    }

    /// Sends a call if the service takes one more.
    fn send(&mut self, message: &[u8], data_bytes: i64) -> bool {
        if self.under_way.len() >= STREAMS_MAX || self.window < data_bytes {
            return false;
        }
        self.window -= data_bytes;
        let start = self.out.len();
        self.out.extend(message);
        let mut at = start;
        while at < self.out.len() {
            let length = length_of(self.out.get(at..).unwrap());
            self.out.get_mut(at + 5..at + FRAME_HEAD).unwrap().copy_from_slice(&self.next.to_be_bytes());
            at += FRAME_HEAD + length;
        }
        self.under_way.insert(self.next, Sent { at: Instant::now(), message: Vec::new() });
        self.next += 2;
        true
    }

    /// Writes what can be written and tells what came.
    fn turn(&mut self, mut ended: impl FnMut(Sent, Ended)) {
        while self.written < self.out.len() {
            match self.stream.write(self.out.get(self.written..).unwrap()) {
                Ok(bytes) => self.written += bytes,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    break;
                }
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        let mut buffer = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut buffer) {
                Ok(bytes) => {
                    assert!(bytes > 0, "the service hung up");
                    self.came.extend(buffer.get(..bytes).unwrap());
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
                    break;
                }
            }
        }
        let mut at = 0;
        while let Some(head) = self.came.get(at..at + FRAME_HEAD) {
            let length = length_of(head);
            let (kind, flags) = (*head.get(3).unwrap(), *head.get(4).unwrap());
            let stream = u32::from_be_bytes(head.get(5..).unwrap().try_into().unwrap());
            let Some(payload) = self.came.get(at + FRAME_HEAD..at + FRAME_HEAD + length) else { break };
            at += FRAME_HEAD + length;
            assert_ne!(kind, GOAWAY, "the service sends its clients away");
            match kind {
                DATA => self.under_way.get_mut(&stream).unwrap().message.extend(payload),
                HEADERS if flags & END_STREAM != 0 => {
                    let sent = self.under_way.remove(&stream).unwrap();
                    let how = if holds(payload, &status("0")) && !sent.message.is_empty() {
                        Ended::Good(sent.message.clone())
                    } else if holds(payload, &status("14")) && sent.message.is_empty() {
                        Ended::Unavailable
                    } else {
                        Ended::Other
                    };
                    ended(sent, how);
                }
                // Of what was answered already, the rest is not taken.
                RESET => {
                    if let Some(sent) = self.under_way.remove(&stream) {
                        ended(sent, Ended::Other);
                    }
                }
                SETTINGS if flags & ACK == 0 => self.out.extend(frame(SETTINGS, ACK, 0, &[])),
                PING if flags & ACK == 0 => self.out.extend(frame(PING, ACK, 0, payload)),
                WINDOW if stream == 0 => self.window += i64::from(u32::from_be_bytes(payload.try_into().unwrap())),
                _ => {}
            }
        }
        self.came.drain(..at);
    }
}

fn length_of(head: &[u8]) -> usize {
    head.iter().take(3).fold(0, |length, byte| length << 8 | usize::from(*byte))
}

/// Everything that asks.
struct Load {
    connections: Vec<Connection>,
    messages: Vec<Vec<u8>>,
    items: usize,
    sent: usize,
}

impl Load {
    fn start(address: &str, items: usize, token: &str) -> Self {
        let connections = (0..CONNECTIONS).map(|_| Connection::start(address)).collect();
        Self { connections, messages: prepared(items, token), items, sent: 0 }
    }

    fn send(&mut self) -> bool {
        let message = self.messages.get(self.sent % MESSAGES).unwrap();
        let connection = self.connections.get_mut(self.sent % CONNECTIONS).unwrap();
        let is_sent = connection.send(message, i64::try_from(message.len()).unwrap());
        self.sent += usize::from(is_sent);
        is_sent
    }

    fn under_way(&self) -> usize {
        self.connections.iter().map(|connection| connection.under_way.len()).sum()
    }

    /// So many calls a second, or as many under way as make the service busy.
    fn round(&mut self, rate: Option<u128>) -> Figures {
        let began = Instant::now();
        let measured = began + WARM_UP..began + WARM_UP + ROUND;
        let (mut sent, mut good, mut turned_away, mut other) = (0_usize, 0_usize, 0_usize, 0_usize);
        let mut taken_ms = Vec::new();
        let mut is_checked = false;
        let mut dealt_with = 0;
        loop {
            let now = Instant::now();
            let is_over = now >= measured.end;
            if is_over && (self.under_way() == 0 || now >= measured.end + LAST_WITHIN) {
                break;
            }
            let due = match rate {
                _ if is_over => 0,
                None => IN_FLIGHT.saturating_sub(self.under_way()),
                Some(rate) => {
                    let due = (now - began).as_micros() * rate / 1_000_000;
                    usize::try_from(due).unwrap() - dealt_with
                }
            };
            // What a connection takes no more of is not sent later: it was due now. It shows in what was offered.
            dealt_with += due;
            for _ in 0..due {
                sent += usize::from(self.send() && measured.contains(&now));
            }
            let items = self.items;
            for connection in &mut self.connections {
                connection.turn(|call, how| {
                    let taken = call.at.elapsed();
                    let is_measured = measured.contains(&call.at);
                    match how {
                        Ended::Good(message) => {
                            if !is_checked {
                                check(items, &message);
                                is_checked = true;
                            }
                            if is_measured && taken <= DEADLINE {
                                good += 1;
                                taken_ms.push(taken.as_secs_f64() * 1e3);
                            }
                        }
                        Ended::Unavailable => turned_away += usize::from(is_measured),
                        Ended::Other => other += 1,
                    }
                });
            }
        }
        let lost = self.under_way();
        taken_ms.sort_by(f64::total_cmp);
        let p99_ms = taken_ms.get(taken_ms.len() * 99 / 100).copied().unwrap_or(f64::NAN);
        Figures {
            sent_per_s: sent as f64 / ROUND.as_secs_f64(),
            good_per_s: good as f64 / ROUND.as_secs_f64(),
            p99_ms,
            turned_away: turned_away as f64 / sent.max(1) as f64,
            lost: lost as f64,
            other: other as f64,
        }
    }
}

/// An answer that counts as one holds decisions.
fn check(items: usize, body: &[u8]) {
    let message = body.get(5..).unwrap();
    let decisions: Vec<_> = if items == 1 {
        vec![AuthorizeResponse::decode(message).unwrap().decision()]
    } else {
        let results = BatchAuthorizeResponse::decode(message).unwrap().results;
        let decision = |result: BatchAuthorizeResult| match result.result {
            Some(batch_authorize_result::Result::Response(response)) => response.decision(),
            _ => Decision::Unspecified,
        };
        results.into_iter().map(decision).collect()
    };
    assert_eq!(decisions, vec![Decision::Allow; items]);
}
