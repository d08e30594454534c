//! How this service proves itself to an authorization server (RFC 6749 section 2.3, RFC 7523, RFC 8705).

use std::fs;
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use form_urlencoded::byte_serialize;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::RequestBuilder;
use serde_json::json;

use crate::domain::introspection::{ClientAuthentication, Introspection};

/// The longest secret or key that is read, in bytes.
const BYTES_MAX: usize = 16 * 1024;

/// How long an assertion counts, in seconds.
const ASSERTION_SECONDS: i64 = 60;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The proof of one client. What is secret is read from its file when first needed, and anew after a refusal.
pub(super) struct ClientProof {
    client_id: Arc<str>,
    authentication: ClientAuthentication,
    /// The assertion's `aud` where nothing else is said (RFC 7523 section 3, the server's issuer identifier).
    issuer: Arc<str>,
    read: ArcSwapOption<Read>,
}

enum Read {
    Secret(String),
    Key(EncodingKey, Algorithm),
}

impl ClientProof {
    pub(super) fn new(issuer: &Arc<str>, how: &Introspection) -> Self {
        Self {
            client_id: Arc::clone(&how.client_id),
            authentication: how.authentication.clone(),
            issuer: Arc::clone(issuer),
            read: ArcSwapOption::empty(),
        }
    }

    /// Reads the file anew next time.
    pub(super) fn forget(&self) {
        self.read.store(None);
    }

    /// Adds the proof to a request with a form.
    ///
    /// # Errors
    /// A sentence that says what failed, without anything secret.
    pub(super) async fn add_to(
        &self,
        request: RequestBuilder,
        form: &mut Vec<(&'static str, String)>,
        now_seconds: i64,
    ) -> Result<RequestBuilder, String> {
        if matches!(self.authentication, ClientAuthentication::Certificate(_)) {
            form.push(("client_id", self.client_id.to_string()));
            return Ok(request);
        }
        let read = self.read().await?;
        match (&self.authentication, &*read) {
            (ClientAuthentication::Basic(_), Read::Secret(secret)) => {
                let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
                return Ok(request.basic_auth(encoded(&self.client_id), Some(encoded(secret))));
            }
            (ClientAuthentication::Post(_), Read::Secret(secret)) => {
                form.push(("client_id", self.client_id.to_string()));
                form.push(("client_secret", secret.clone()));
            }
            (ClientAuthentication::PrivateKeyJwt { key_id, audience, .. }, Read::Key(key, algorithm)) => {
                let mut header = Header::new(*algorithm);
                header.kid = key_id.as_deref().map(str::to_owned);
                let audience = audience.as_ref().unwrap_or(&self.issuer);
                let assertion = self.assertion(&header, key, audience, now_seconds)?;
                form.push(("client_id", self.client_id.to_string()));
                form.push(("client_assertion_type", ASSERTION_TYPE.to_owned()));
                form.push(("client_assertion", assertion));
            }
            _ => return Err("this service cannot prove itself".to_owned()),
        }
        Ok(request)
    }

    fn assertion(
        &self,
        header: &Header,
        key: &EncodingKey,
        audience: &str,
        now_seconds: i64,
    ) -> Result<String, String> {
        let mut id = [0; 16];
        getrandom::fill(&mut id).map_err(|_| "no random bytes from the operating system".to_owned())?;
        let claims = json!({
            "iss": self.client_id, "sub": self.client_id, "aud": audience, "jti": URL_SAFE_NO_PAD.encode(id),
            "iat": now_seconds, "exp": now_seconds.saturating_add(ASSERTION_SECONDS),
        });
        jsonwebtoken::encode(header, &claims, key).map_err(|_| "the private key cannot sign".to_owned())
    }

    async fn read(&self) -> Result<Arc<Read>, String> {
        if let Some(read) = self.read.load_full() {
            return Ok(read);
        }
        let path = self.authentication.file().clone();
        let is_key = matches!(self.authentication, ClientAuthentication::PrivateKeyJwt { .. });
        let read = move || if is_key { key(&path) } else { secret(&path) };
        let read =
            tokio::task::spawn_blocking(read).await.map_err(|_| "reading a file was interrupted".to_owned())??;
        let read = Arc::new(read);
        self.read.store(Some(Arc::clone(&read)));
        Ok(read)
    }
}

fn bytes(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = fs::read(path).map_err(|fault| format!("`{}` cannot be read: {fault}", path.display()))?;
    if bytes.len() <= BYTES_MAX { Ok(bytes) } else { Err(format!("`{}` is larger than 16 KiB", path.display())) }
}

/// The secret in a file, line breaks at its end left out.
fn secret(path: &Path) -> Result<Read, String> {
    let text = String::from_utf8(bytes(path)?).map_err(|_| format!("`{}` is not UTF-8", path.display()))?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(format!("`{}` holds no secret", path.display()));
    }
    Ok(Read::Secret(secret.to_owned()))
}

/// The private key in a file; its kind says what it signs with.
fn key(path: &Path) -> Result<Read, String> {
    let pem = bytes(path)?;
    let ed = || EncodingKey::from_ed_pem(&pem).map(|key| Read::Key(key, Algorithm::EdDSA));
    let ec = || EncodingKey::from_ec_pem(&pem).map(|key| Read::Key(key, Algorithm::ES256));
    let rsa = || EncodingKey::from_rsa_pem(&pem).map(|key| Read::Key(key, Algorithm::RS256));
    let unusable = |_| format!("`{}` holds no Ed25519, P-256 or RSA private key in PEM", path.display());
    ed().or_else(|_| ec()).or_else(|_| rsa()).map_err(unusable)
}
