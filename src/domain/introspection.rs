//! How an issuer's opaque tokens are looked up with it (RFC 7662), and what its answers may be.

use std::{path::PathBuf, sync::Arc};

/// Where an issuer tells what its opaque tokens stand for, and how this service proves itself there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Introspection {
    /// The endpoint's URL; `None`: the one of the issuer's discovery document.
    pub url: Option<Arc<str>>,
    /// The id of this service as the issuer's client.
    pub client_id: Arc<str>,
    /// How it proves to be that client.
    pub authentication: ClientAuthentication,
    /// How long an answer about a good token is used, in seconds, 0 to 60; never beyond the token's `exp`.
    pub cache_seconds: i64,
    /// How long the answer that a token is not active is used, in seconds, 0 to 10.
    pub negative_cache_seconds: i64,
}

/// How a client proves itself to an authorization server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuthentication {
    /// A secret, in the header `Authorization` (RFC 6749 section 2.3.1).
    Basic(PathBuf),
    /// A secret, in the body (RFC 6749 section 2.3.1).
    Post(PathBuf),
    /// A signed assertion (RFC 7523 section 2.2).
    PrivateKeyJwt {
        /// The private key, PKCS#8 in PEM.
        file: PathBuf,
        /// The assertion's `kid`, if the server wants one.
        key_id: Option<Arc<str>>,
        /// The assertion's `aud`; `None`: the issuer's name.
        audience: Option<Arc<str>>,
    },
    /// The client certificate of the connection (RFC 8705 section 2); the file has it and its private key in PEM.
    Certificate(PathBuf),
}

impl ClientAuthentication {
    /// The file that is needed for it.
    pub fn file(&self) -> &PathBuf {
        match self {
            Self::Basic(file) | Self::Post(file) | Self::Certificate(file) | Self::PrivateKeyJwt { file, .. } => file,
        }
    }

    /// The file that is needed for it, to be changed.
    pub fn file_mut(&mut self) -> &mut PathBuf {
        match self {
            Self::Basic(file) | Self::Post(file) | Self::Certificate(file) | Self::PrivateKeyJwt { file, .. } => file,
        }
    }
}
