//! Asks the servers of issuers over HTTP: configured places only, no redirects, within bounds of size, time and address.

use std::error::Error;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CACHE_CONTROL, DATE, HeaderMap, HeaderValue};
use reqwest::{Certificate, Client, Identity, Request, RequestBuilder, StatusCode, Url, redirect};
use tokio::sync::OnceCell;

use crate::app::ports::trace::{self, Asking, Value};
use crate::domain::issuer::Servers;
use crate::domain::traceparent::TRACEPARENT;
use crate::provider::addresses::PublicNames;

/// How long a request may take, from connecting to the last byte.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(3);

/// What is fetched is used for at least so long before it is fetched again, whatever its server says.
pub(crate) const FRESH_SECONDS_MIN: i64 = 5 * 60;

/// What is fetched is fetched again after so long, whatever its server says.
const FRESH_SECONDS_MAX: i64 = 24 * 3600;

/// How long what is fetched is used when its server does not say.
const FRESH_SECONDS_DEFAULT: i64 = 3600;

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Body {
    pub(crate) text: String,
    /// For how long it need not be fetched again.
    pub(crate) fresh_seconds: i64,
}

/// A server that answered.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Its own time, as it writes it (RFC 9110 section 6.6.1).
    pub(crate) date: Option<String>,
}

/// Why nothing usable was answered.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The server does not take this service for its client: 401 or 403.
    Refused(StatusCode),
    /// Anything else, in a sentence without a URL or what was read.
    Other(String),
}

/// Asks the servers of one issuer. The client is made when first needed: its certificates are read then.
#[derive(Debug)]
pub(crate) struct Outbound {
    timeout: Duration,
    private_addresses: bool,
    ca_file: Option<PathBuf>,
    /// The file with the certificate and private key by which this service proves itself, if it does.
    certificate: Option<PathBuf>,
    remote: OnceCell<Client>,
    loopback: OnceCell<Client>,
}

impl Outbound {
    /// Asks servers as they are to be reached, and gives each request up after `timeout`.
    pub(crate) fn new(servers: &Servers, timeout: Duration) -> Self {
        Self {
            timeout,
            private_addresses: servers.private_addresses,
            ca_file: servers.ca_file.clone(),
            certificate: None,
            remote: OnceCell::new(),
            loopback: OnceCell::new(),
        }
    }

    /// The same, with a client certificate.
    pub(crate) fn with_certificate(self, file: PathBuf) -> Self {
        Self { certificate: Some(file), ..self }
    }

    /// Gets a document. `what` names it in failures.
    ///
    /// # Errors
    /// A sentence that says what failed, without the URL or what was read.
    pub(crate) async fn get(
        &self,
        url: &str,
        what: &str,
        accept: &'static str,
        bytes_max: usize,
    ) -> Result<Body, String> {
        let url = parse(url, what)?;
        let request = self.client(&url).await?.get(url).header(ACCEPT, accept);
        match answer(request, what, bytes_max).await {
            Ok(body) => Ok(body),
            Err(Failure::Refused(status)) => Err(format!("{what}: the server answered {}", status.as_u16())),
            Err(Failure::Other(reason)) => Err(reason),
        }
    }

    /// Asks for the head of a page alone, to see whether its server answers: any status will do.
    ///
    /// # Errors
    /// A sentence that says what failed, without the URL.
    pub(crate) async fn reach(&self, url: &str, what: &str) -> Result<Reached, String> {
        let url = parse(url, what)?;
        let answer = self.client(&url).await?.head(url).send().await;
        let answer = answer.map_err(|fault| format!("{what}: {}", causes(fault)))?;
        let date = answer.headers().get(DATE).and_then(|date| date.to_str().ok()).map(str::to_owned);
        Ok(Reached { date })
    }

    /// Begins a POST, to be filled and given to [`answer`].
    ///
    /// # Errors
    /// A sentence that says what failed, without the URL.
    pub(crate) async fn post(&self, url: &str, what: &str) -> Result<RequestBuilder, String> {
        let url = parse(url, what)?;
        Ok(self.client(&url).await?.post(url))
    }

    async fn client(&self, url: &Url) -> Result<&Client, String> {
        let is_remote = url.scheme() == "https";
        let cell = if is_remote { &self.remote } else { &self.loopback };
        cell.get_or_try_init(|| async { self.build(is_remote) }).await
    }

    /// Neither redirects nor proxies from the environment: what is asked is what is configured.
    fn build(&self, is_remote: bool) -> Result<Client, String> {
        let mut builder = Client::builder().redirect(redirect::Policy::none()).no_proxy().timeout(self.timeout);
        if !self.private_addresses {
            builder = builder.dns_resolver(Arc::new(PublicNames));
        }
        let read =
            |file: &PathBuf| fs::read(file).map_err(|fault| format!("`{}` cannot be read: {fault}", file.display()));
        match &self.ca_file {
            _ if !is_remote => builder = builder.tls_certs_only([]),
            Some(file) => {
                let certificates = Certificate::from_pem_bundle(&read(file)?).map_err(causes)?;
                if certificates.is_empty() {
                    return Err(format!("`{}` has no certificate in PEM", file.display()));
                }
                builder = builder.tls_certs_only(certificates);
            }
            None => {}
        }
        if let Some(file) = self.certificate.as_ref().filter(|_| is_remote) {
            let unusable = |_| format!("`{}` has no certificate with its private key in PEM", file.display());
            builder = builder.identity(Identity::from_pem(&read(file)?).map_err(unusable)?);
        }
        builder.build().map_err(|fault| format!("https is not possible here: {}", causes(fault)))
    }
}

/// Reads a URL that may be asked: `https`, or `http` on this machine.
///
/// # Errors
/// A sentence that says what is wrong with it.
pub(crate) fn parse(url: &str, what: &str) -> Result<Url, String> {
    let parsed = Url::parse(url).map_err(|fault| format!("the URL of {what} cannot be read: {fault}"))?;
    let is_loopback = matches!(parsed.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
    match parsed.scheme() {
        "https" => Ok(parsed),
        "http" if is_loopback => Ok(parsed),
        _ => Err(format!("the URL of {what} must begin with `https://`, or lead to this machine")),
    }
}

/// Sends a request and reads the answer, of at most so many bytes. What is asked for a request that is part of a trace is
/// part of it too, and the server is told so.
///
/// # Errors
/// [`Failure`].
pub(crate) async fn answer(request: RequestBuilder, what: &str, bytes_max: usize) -> Result<Body, Failure> {
    let failed = |fault: reqwest::Error| Failure::Other(format!("{what}: {}", causes(fault)));
    let (client, request) = request.build_split();
    let mut request = request.map_err(failed)?;
    let mut asked = Asked::begin(&mut request, what);
    let answered = receive(&client, request, what, bytes_max, &mut asked).await;
    asked.end(answered.as_ref().err());
    answered
}

async fn receive(
    client: &Client,
    request: Request,
    what: &str,
    bytes_max: usize,
    asked: &mut Asked,
) -> Result<Body, Failure> {
    let failed = |fault: reqwest::Error| Failure::Other(format!("{what}: {}", causes(fault)));
    let mut response = client.execute(request).await.map_err(failed)?;
    let status = response.status();
    asked.status = Some(status);
    match status {
        StatusCode::OK => {}
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => return Err(Failure::Refused(status)),
        _ => {
            let further = if status.is_redirection() { "; redirects are not followed" } else { "" };
            return Err(Failure::Other(format!("{what}: the server answered {}{further}", status.as_u16())));
        }
    }
    let fresh_seconds = fresh_seconds(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(Failure::Other(format!("{what} is larger than {} KiB", bytes_max / 1024)));
        }
        body.extend_from_slice(&chunk);
    }
    let text = String::from_utf8(body).map_err(|_| Failure::Other(format!("{what} is not UTF-8")))?;
    Ok(Body { text, fresh_seconds })
}

/// A question as it is shown in the trace of the request for which it is asked, if that has one. The URL's path and query
/// stay out: they may hold something secret.
struct Asked {
    asking: Option<Asking>,
    attributes: Vec<(&'static str, Value)>,
    status: Option<StatusCode>,
}

impl Asked {
    fn begin(request: &mut Request, what: &str) -> Self {
        let asking = trace::ask(|| format!("{} {what}", request.method()));
        let mut attributes = Vec::new();
        if let Some(asking) = &asking {
            let text = |text: &str| Value::Text(text.to_owned().into());
            attributes.push(("http.request.method", text(request.method().as_str())));
            let url = request.url();
            attributes.extend(url.host_str().map(|host| ("server.address", text(host))));
            attributes.extend(url.port_or_known_default().map(|port| ("server.port", Value::Number(port.into()))));
            if let Ok(value) = HeaderValue::from_str(&asking.traceparent()) {
                request.headers_mut().insert(TRACEPARENT, value);
            }
        }
        Self { asking, attributes, status: None }
    }

    /// Whoever gives the question up before is not shown.
    fn end(self, failure: Option<&Failure>) {
        let Self { asking, mut attributes, status } = self;
        let Some(asking) = asking else { return };
        attributes.extend(status.map(|status| ("http.response.status_code", Value::Number(status.as_u16().into()))));
        let error = failure.map(|_| match status {
            Some(status) if status != StatusCode::OK => status.as_u16().to_string(),
            _ => "_OTHER".to_owned(),
        });
        attributes.extend(error.clone().map(|error| ("error.type", Value::Text(error.into()))));
        asking.done(attributes, error.map(Into::into));
    }
}

/// For how long a response is fresh (RFC 9111 section 5.2.2), within bounds.
fn fresh_seconds(headers: &HeaderMap) -> i64 {
    let values = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let directives = values.flat_map(|value| value.split(',')).map(|directive| directive.trim().to_ascii_lowercase());
    let ages = directives.filter_map(|directive| match directive.split_once('=') {
        Some(("max-age", age)) => age.trim_matches('"').parse().ok(),
        None if directive == "no-cache" || directive == "no-store" => Some(0),
        _ => None,
    });
    ages.min().unwrap_or(FRESH_SECONDS_DEFAULT).clamp(FRESH_SECONDS_MIN, FRESH_SECONDS_MAX)
}

/// An error and what caused it in one line. The URL is left out: it may hold a password.
fn causes(error: reqwest::Error) -> String {
    let error = error.without_url();
    let causes = std::iter::successors(Some(&error as &dyn Error), |&cause| cause.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;
    use std::sync::Mutex;

    use super::*;
    use crate::app::ports::trace::{SampleRatio, Span, SpanKind, SpanSink, Tracer, Watched, watched};
    use crate::domain::traceparent::Traceparent;
    use crate::provider::clock::FixedClock;

    #[tokio::test]
    async fn a_server_that_never_answers_is_given_up() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", silent.local_addr().unwrap());
        let outbound = Outbound::new(&Servers::default(), Duration::from_millis(20));
        let fault = outbound.get(&url, "the page", "text/html", 1).await.unwrap_err();
        assert!(fault.contains("timed out"), "{fault}");
    }

    #[derive(Debug, Default)]
    struct Kept(Mutex<Vec<Span>>);

    impl SpanSink for Kept {
        fn take(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    /// Answers one request with a status, and hands on what it was asked.
    fn server(status: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/secret-path?key=secret-query", listener.local_addr().unwrap());
        let answering = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                head.extend_from_slice(&byte);
            }
            write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{{}}").unwrap();
            String::from_utf8(head).unwrap()
        });
        (url, answering)
    }

    #[tokio::test]
    async fn what_is_asked_for_a_traced_request_is_part_of_its_trace_without_the_url() {
        for (status, is_good) in [("200 OK", true), ("503 No", false)] {
            let kept = Arc::new(Kept::default());
            let tracer = Tracer::new(Arc::clone(&kept) as _, Arc::new(FixedClock::at_us(7)), SampleRatio::NONE);
            let parent = Traceparent { trace_id: 0xab, span_id: 0xcd, is_sampled: true };
            let request = Watched::new("r".into(), Arc::new(tracer).begin(Some(parent)));
            let (url, answering) = server(status);
            let outbound = Outbound::new(&Servers::default(), TIMEOUT);
            let asking = outbound.get(&url, "the key set", "application/json", 64);
            assert_eq!(watched(Arc::new(request), asking).await.is_ok(), is_good);
            let spans = kept.0.lock().unwrap().clone();
            let [span] = &spans[..] else { panic!("{spans:?}") };
            assert_eq!((span.trace_id, span.kind, &*span.name), (0xab, SpanKind::Client, "GET the key set"));
            assert_eq!(span.error.as_deref(), (!is_good).then_some("503"));
            let told = Traceparent { span_id: span.span_id, ..parent };
            assert!(answering.join().unwrap().contains(&format!("traceparent: {told}\r\n")));
            let shown = format!("{span:?}");
            assert!(shown.contains("127.0.0.1") && !shown.contains("secret"), "{shown}");
        }
    }

    #[tokio::test]
    async fn what_is_asked_for_no_request_names_no_trace() {
        let (url, answering) = server("200 OK");
        let outbound = Outbound::new(&Servers::default(), TIMEOUT);
        outbound.get(&url, "the key set", "application/json", 64).await.unwrap();
        assert!(!answering.join().unwrap().contains("traceparent"));
    }

    #[test]
    fn only_https_or_this_machine_is_asked() {
        for good in
            ["https://issuer.example/jwks", "http://127.0.0.1:8080/jwks", "http://localhost/", "http://[::1]:1/"]
        {
            assert!(parse(good, "it").is_ok(), "{good}");
        }
        for bad in
            ["http://issuer.example/", "http://127.0.0.1.issuer.example/", "file:///etc/keys", "jwks", "ftp://[::1]/"]
        {
            assert!(parse(bad, "it").is_err(), "{bad}");
        }
    }

    #[test]
    fn freshness_is_what_the_server_says_within_bounds() {
        for (said, seconds) in [
            (&[][..], FRESH_SECONDS_DEFAULT),
            (&["public, max-age=7200"], 7200),
            (&["Max-Age=\"600\""], 600),
            (&["max-age=1"], FRESH_SECONDS_MIN),
            (&["max-age=999999999"], FRESH_SECONDS_MAX),
            (&["max-age=-5"], FRESH_SECONDS_MIN),
            (&["max-age=soon"], FRESH_SECONDS_DEFAULT),
            (&["max-age=7200", "no-store"], FRESH_SECONDS_MIN),
        ] {
            let mut headers = HeaderMap::new();
            for value in said {
                headers.append(CACHE_CONTROL, value.parse().unwrap());
            }
            assert_eq!(fresh_seconds(&headers), seconds, "{said:?}");
        }
    }
}
