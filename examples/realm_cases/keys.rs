//! The keys of the cases' issuers, and tokens that are signed with them as a case says.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use anyhow::Context;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, KeyPair as _, RsaEncoding};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value as Json, json};

use crate::cases::{CaseFile, TokenSpec};

/// The key pairs by issuer and key id. A token without a key id is signed with the issuer's only key.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pairs: BTreeMap<(String, String), Pair>,
    /// How far the machine's clock is ahead of the cases'.
    pub(crate) ahead_seconds: i64,
}

/// An RSA key or a shared secret.
enum Pair {
    Rsa(Box<RsaKeyPair>),
    Secret(Vec<u8>),
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair")
    }
}

/// What signs tokens whose issuer has no key here.
const NOBODY: (&str, &str) = ("", "");

impl Keys {
    /// Makes a key for every issuer and key id that tokens of the file name; a shared secret for those of `secrets`.
    pub(crate) fn generate(file: &CaseFile, secrets: &[String], now_seconds: i64) -> anyhow::Result<Self> {
        let mut keys = Self { pairs: BTreeMap::new(), ahead_seconds: now_seconds - file.clock };
        keys.pairs.insert((NOBODY.0.to_owned(), NOBODY.1.to_owned()), Pair::rsa()?);
        for (token, claims) in file.all_claims() {
            let Some(issuer) = claims.get("iss").and_then(Json::as_str) else { continue };
            let name = (issuer.to_owned(), key_id(token).to_owned());
            let is_secret = secrets.iter().any(|secret| secret == issuer);
            if let Entry::Vacant(place) = keys.pairs.entry(name) {
                place.insert(if is_secret { Pair::secret(issuer) } else { Pair::rsa()? });
            }
        }
        Ok(keys)
    }

    /// The public keys, or the secrets, of an issuer as a JWKS.
    pub(crate) fn jwks(&self, issuer: &str) -> Json {
        let own = self.pairs.iter().filter(|((of, _), _)| of == issuer);
        let key = own.map(|((_, id), pair)| {
            let mut key = match pair {
                Pair::Rsa(pair) => {
                    let public = pair.public_key();
                    let (n, e) = (public.modulus(), public.exponent());
                    let [n, e] = [n, e].map(|number| URL_SAFE_NO_PAD.encode(number.big_endian_without_leading_zero()));
                    json!({ "kty": "RSA", "use": "sig", "n": n, "e": e })
                }
                Pair::Secret(secret) => json!({ "kty": "oct", "k": URL_SAFE_NO_PAD.encode(secret) }),
            };
            if let Some(key) = key.as_object_mut().filter(|_| !id.is_empty()) {
                key.insert("kid".to_owned(), json!(id));
            }
            key
        });
        json!({ "keys": key.collect::<Vec<_>>() })
    }

    /// Signs claims as the header says; times are moved to the machine's clock.
    pub(crate) fn sign(&self, token: &TokenSpec, claims: &Map<String, Json>) -> anyhow::Result<String> {
        let issuer = claims.get("iss").and_then(Json::as_str).unwrap_or_default();
        let pair = self.pairs.get(&(issuer.to_owned(), key_id(token).to_owned()));
        let pair = pair.or_else(|| self.pairs.get(&(NOBODY.0.to_owned(), NOBODY.1.to_owned())));
        let pair = pair.context("there is no key to sign with")?;
        let mut claims = claims.clone();
        for time in ["iat", "nbf", "exp"] {
            if let Some(seconds) = claims.get(time).and_then(Json::as_i64) {
                claims.insert(time.to_owned(), json!(seconds + self.ahead_seconds));
            }
        }
        let mut header = token.header.clone();
        header.remove("note");
        let encode = |part: &Map<String, Json>| anyhow::Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part)?));
        let signed = format!("{}.{}", encode(&header)?, encode(&claims)?);
        let algorithm = header.get("alg").and_then(Json::as_str).unwrap_or_default();
        let signature = pair.sign(algorithm, &signed)?;
        Ok(format!("{signed}.{signature}"))
    }
}

impl Pair {
    fn rsa() -> anyhow::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048).context("no RSA key could be made")?;
        Ok(Self::Rsa(Box::new(pair)))
    }

    /// The same in each run.
    fn secret(issuer: &str) -> Self {
        Self::Secret(issuer.bytes().cycle().take(64).collect())
    }

    /// The signature in base64url; none for an algorithm that nobody knows. An RSA key asked for a MAC makes it with its
    /// public key as the secret, as whoever confuses the two would.
    fn sign(&self, algorithm: &str, message: &str) -> anyhow::Result<String> {
        let mac = |secret: &[u8], kind: hmac::Algorithm| {
            hmac::sign(&hmac::Key::new(kind, secret), message.as_bytes()).as_ref().to_vec()
        };
        let secret = match self {
            Self::Rsa(key) => key.public_key().as_ref(),
            Self::Secret(secret) => secret,
        };
        let bytes = match (algorithm, self) {
            ("HS256", _) => mac(secret, hmac::HMAC_SHA256),
            ("HS384", _) => mac(secret, hmac::HMAC_SHA384),
            ("HS512", _) => mac(secret, hmac::HMAC_SHA512),
            (_, Self::Rsa(key)) => {
                let padding: &'static dyn RsaEncoding = match algorithm {
                    "RS256" => &signature::RSA_PKCS1_SHA256,
                    "RS384" => &signature::RSA_PKCS1_SHA384,
                    "RS512" => &signature::RSA_PKCS1_SHA512,
                    "PS256" => &signature::RSA_PSS_SHA256,
                    _ => return Ok(String::new()),
                };
                let mut bytes = vec![0; key.public_modulus_len()];
                key.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut bytes).context("cannot sign")?;
                bytes
            }
            _ => Vec::new(),
        };
        Ok(URL_SAFE_NO_PAD.encode(bytes))
    }
}

fn key_id(token: &TokenSpec) -> &str {
    token.header.get("kid").and_then(Json::as_str).unwrap_or_default()
}
