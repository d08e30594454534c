//! A request that Envoy holds back, as Envoy tells it.

use std::{borrow::Cow, collections::BTreeMap, fmt, sync::Arc};

use percent_encoding::percent_decode_str;

use crate::{
    app::credentials::{Credentials, Secret},
    domain::{
        decision::Reason,
        route::path::{Path, PathFault},
        token_proof::TokenProof,
    },
    proto::envoy::service::auth::v3::{
        AttributeContext, CheckRequest, HeaderMap, HeaderValue,
        attribute_context::{HttpRequest, Peer, Request},
    },
};

/// Headers by which some servers take another method or path than the request line has, as [`as_read`] has them.
const REWRITING: [&str; 8] = [
    "x-forwarded-method",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-method",
    "x-original-uri",
    "x-original-url",
    "x-rewrite-url",
];

/// The query parameter by which some servers take another method.
const METHOD_PARAMETER: &str = "_method";

/// The longest request id that is kept, in bytes.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// A request that is held back.
pub(super) struct Held {
    http: HttpRequest,
    headers: BTreeMap<String, Vec<String>>,
    extensions: BTreeMap<String, String>,
    /// As Envoy writes it: PEM, percent-encoded.
    certificate: String,
}

/// Shows nothing of the request, which holds tokens.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held")
    }
}

/// The message speaks of no request over HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Misread;

/// Why a request's path cannot be relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unclear {
    /// It can be read in more than one way.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// A header or a parameter could put another one, or another method, in its place.
    #[error("the request holds a header or a query parameter that names another method or path")]
    Rewritten,
}

impl Held {
    /// Reads Envoy's message.
    ///
    /// # Errors
    /// [`Misread`].
    pub(super) fn read(message: CheckRequest) -> Result<Self, Misread> {
        let CheckRequest { attributes } = message;
        let AttributeContext { source, request, context_extensions, destination: _, metadata_context: _ } =
            attributes.ok_or(Misread)?;
        let Request { http } = request.ok_or(Misread)?;
        let mut http = http.ok_or(Misread)?;
        let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let joined = std::mem::take(&mut http.headers);
        let raw = http.header_map.take().map(|HeaderMap { headers }| headers).unwrap_or_default();
        let raw = raw.into_iter().map(|HeaderValue { key, value, raw_value }| {
            let value = if value.is_empty() { String::from_utf8_lossy(&raw_value).into_owned() } else { value };
            (key, value)
        });
        for (name, value) in joined.into_iter().chain(raw) {
            headers.entry(name.to_ascii_lowercase()).or_default().push(value);
        }
        let certificate = source.map(|Peer { certificate, .. }| certificate).unwrap_or_default();
        Ok(Self { http, headers, extensions: context_extensions.into_iter().collect(), certificate })
    }

    /// What the route's configuration says under this name.
    pub(super) fn extension(&self, name: &str) -> Option<&str> {
        self.extensions.get(name).map(String::as_str)
    }

    /// All that it says.
    pub(super) fn extensions(&self) -> &BTreeMap<String, String> {
        &self.extensions
    }

    /// The method, as it came.
    pub(super) fn method(&self) -> &str {
        &self.http.method
    }

    /// The method for the log, where only those that are registered stand as they came (RFC 9110 section 9, RFC 5789).
    pub(super) fn method_on_record(&self) -> Arc<str> {
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
        if known.contains(&self.method()) { self.method().into() } else { "OTHER".into() }
    }

    /// The id of the request: that of its header `x-request-id`, which Envoy sets where none came, or else the one by which Envoy
    /// tells its requests apart; empty for one that cannot be kept.
    pub(super) fn request_id(&self) -> &str {
        let id = match self.values("x-request-id") {
            [only] if !only.is_empty() => only.as_str(),
            _ => self.http.id.as_str(),
        };
        let is_printable = id.len() <= REQUEST_ID_BYTES_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        if is_printable { id } else { "" }
    }

    /// The path, read in one way only.
    ///
    /// # Errors
    /// [`Unclear`].
    pub(super) fn path(&self) -> Result<Path, Unclear> {
        if self.header_names().any(|name| REWRITING.contains(&&*as_read(name))) {
            return Err(Unclear::Rewritten);
        }
        let path = Path::read(self.http.path.as_bytes())?;
        if path.query(METHOD_PARAMETER)?.is_some() {
            return Err(Unclear::Rewritten);
        }
        Ok(path)
    }

    /// The names of the headers, in small letters.
    pub(super) fn header_names(&self) -> impl Iterator<Item = &str> {
        self.headers.keys().map(String::as_str)
    }

    fn values(&self, name: &str) -> &[String] {
        self.headers.get(name).map_or(&[], Vec::as_slice)
    }

    /// What shows who asks, but for a token of the query.
    ///
    /// # Errors
    /// `TOKEN_AMBIGUOUS` for more than one `Authorization` header, which Envoy joins by commas.
    pub(super) fn credentials(&self) -> Result<Credentials, Reason> {
        let said = match self.values("authorization") {
            [] => "",
            [only] if !only.contains(',') => only.trim(),
            _ => {
                let message = "the request has more than one `Authorization` header, expected one";
                return Err(Reason::plain("TOKEN_AMBIGUOUS", message));
            }
        };
        let (scheme, token) = said.split_once(' ').unwrap_or((said, ""));
        Ok(Credentials {
            token: Secret(token.trim_start().into()),
            scheme: scheme.into(),
            proof: self.proof(),
            ..Credentials::default()
        })
    }

    /// What shows the key that the token may be bound to: the request as it came, its proofs, and the certificate of the
    /// connection. What is too long shows nothing.
    fn proof(&self) -> TokenProof {
        let HttpRequest { method, path, host, scheme, .. } = &self.http;
        let certificate: Cow<'_, [u8]> = percent_decode_str(&self.certificate).into();
        let certificate = Some(certificate).filter(|bytes| bytes.len() <= TokenProof::CERTIFICATE_BYTES_MAX);
        let dpop = self.values("dpop").iter().take(TokenProof::DPOP_COUNT_MAX);
        TokenProof {
            method: at_most(TokenProof::METHOD_BYTES_MAX, method),
            uri: at_most(TokenProof::URI_BYTES_MAX, &format!("{scheme}://{host}{path}")),
            // One that is too long stays as an empty one, so that it is counted.
            dpop: dpop.map(|proof| at_most(TokenProof::DPOP_BYTES_MAX, proof)).collect(),
            client_certificate: certificate.unwrap_or_default().into(),
        }
    }
}

/// The name of a header as servers read it that make one of a variable, in which every sign but letters and digits is the same
/// (RFC 3875 section 4.1.18 names `-`).
pub(super) fn as_read(name: &str) -> Cow<'_, str> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.bytes().all(is_plain) {
        return name.into();
    }
    let read = |sign: char| if sign.is_ascii_alphanumeric() { sign.to_ascii_lowercase() } else { '-' };
    name.chars().map(read).collect::<String>().into()
}

/// The text, or nothing in place of one that is longer.
fn at_most(bytes_max: usize, text: &str) -> Arc<str> {
    if text.len() <= bytes_max { text.into() } else { Arc::default() }
}
