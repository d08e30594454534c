//! A key pair of one's own that signs tokens: for trying policies out, for demonstrations and for tests.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::{fmt, io};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::{Jwk, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// What stands before the 32 secret bytes of an Ed25519 key in PKCS#8 (RFC 8410 section 7).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The `typ` of access tokens (RFC 9068 section 2.1).
const ACCESS_TOKEN: &str = "at+jwt";

/// An Ed25519 key pair that signs tokens with `EdDSA` (RFC 8037).
pub struct LocalKey {
    private: EncodingKey,
    public: Jwk,
    key_id: String,
}

/// Why a key could not be made, kept, read or used.
#[derive(Debug, thiserror::Error)]
pub enum LocalKeyError {
    /// The operating system gives no random bytes.
    #[error("no random bytes from the operating system")]
    Random(#[source] getrandom::Error),
    /// The file cannot be written; a file that exists is never overwritten.
    #[error("cannot write the key to `{path}`")]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The file cannot be read.
    #[error("cannot read the key from `{path}`")]
    Read {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        #[source]
        source: io::Error,
    },
    /// The text or file holds something else.
    #[error("not an Ed25519 private key, expected PKCS#8 in PEM, 48 bytes long when decoded")]
    NotAKey(#[source] jsonwebtoken::errors::Error),
    /// The claims could not be signed.
    #[error("cannot sign the claims")]
    Sign(#[source] jsonwebtoken::errors::Error),
    /// The key signs tokens and cannot sign anything else.
    #[error("cannot sign with this key")]
    Bytes,
}

impl LocalKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`LocalKeyError::Random`].
    pub fn generate() -> Result<Self, LocalKeyError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret).map_err(LocalKeyError::Random)?;
        Self::from_private(EncodingKey::from_ed_der(&[&PKCS8_PREFIX[..], &secret].concat()))
    }

    /// Reads a key that [`LocalKey::save`] or `openssl genpkey -algorithm ed25519` wrote.
    ///
    /// # Errors
    /// [`LocalKeyError::Read`] or [`LocalKeyError::NotAKey`].
    pub fn load(path: &Path) -> Result<Self, LocalKeyError> {
        let pem = fs::read(path).map_err(|source| LocalKeyError::Read { path: path.to_owned(), source })?;
        Self::from_private(EncodingKey::from_ed_pem(&pem).map_err(LocalKeyError::NotAKey)?)
    }

    /// Writes the private key to a new file that only its owner can read, as PKCS#8 in PEM (RFC 7468).
    ///
    /// # Errors
    /// [`LocalKeyError::Write`], also when the file exists.
    pub fn save(&self, path: &Path) -> Result<(), LocalKeyError> {
        let key = STANDARD.encode(self.private.as_bytes());
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{key}\n-----END PRIVATE KEY-----\n");
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let written = options.open(path).and_then(|mut file| file.write_all(pem.as_bytes()).and(file.sync_all()));
        written.map_err(|source| LocalKeyError::Write { path: path.to_owned(), source })
    }

    /// The key's id: its thumbprint (RFC 7638).
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The public key as a JWKS (RFC 7517 section 5), to be given to those who verify the tokens.
    pub fn jwks(&self) -> String {
        json!({ "keys": [self.public] }).to_string()
    }

    /// Signs claims as an access token. Nothing is added to the claims.
    ///
    /// # Errors
    /// [`LocalKeyError::Sign`].
    pub fn sign(&self, claims: &Value) -> Result<String, LocalKeyError> {
        self.sign_as(ACCESS_TOKEN, claims)
    }

    /// Signs claims as a token of another type; `typ` goes into the header.
    ///
    /// # Errors
    /// [`LocalKeyError::Sign`].
    pub fn sign_as(&self, typ: &str, claims: &Value) -> Result<String, LocalKeyError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(typ.to_owned());
        header.kid = Some(self.key_id.clone());
        jsonwebtoken::encode(&header, claims, &self.private).map_err(LocalKeyError::Sign)
    }

    /// The public key itself (RFC 8032 section 5.1.5).
    ///
    /// # Errors
    /// [`LocalKeyError::Bytes`].
    pub fn public_bytes(&self) -> Result<[u8; 32], LocalKeyError> {
        self.pair()?.public_key().as_ref().try_into().map_err(|_| LocalKeyError::Bytes)
    }

    /// Signs bytes as they are (RFC 8032 section 5.1.6).
    ///
    /// # Errors
    /// [`LocalKeyError::Bytes`].
    pub fn sign_bytes(&self, bytes: &[u8]) -> Result<Vec<u8>, LocalKeyError> {
        Ok(self.pair()?.sign(bytes).as_ref().to_vec())
    }

    fn pair(&self) -> Result<Ed25519KeyPair, LocalKeyError> {
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(self.private.as_bytes()).map_err(|_| LocalKeyError::Bytes)
    }

    fn from_private(private: EncodingKey) -> Result<Self, LocalKeyError> {
        let mut public = Jwk::from_encoding_key(&private, Algorithm::EdDSA).map_err(LocalKeyError::NotAKey)?;
        let key_id = public.thumbprint(ThumbprintHash::SHA256).map_err(LocalKeyError::NotAKey)?;
        public.common.key_id = Some(key_id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(Self { private, public, key_id })
    }
}

/// Shows the key's id only.
impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_after_it_was_kept_in_a_file_only_its_owner_can_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        let key = LocalKey::generate().unwrap();
        key.save(&path).unwrap();
        let loaded = LocalKey::load(&path).unwrap();
        let claims = json!({ "iss": "here" });
        assert_eq!(loaded.jwks(), key.jwks());
        assert_eq!(loaded.sign(&claims).unwrap(), key.sign(&claims).unwrap());
        #[cfg(unix)]
        assert_eq!(std::os::unix::fs::MetadataExt::mode(&fs::metadata(&path).unwrap()) & 0o777, 0o600);
        assert!(matches!(key.save(&path), Err(LocalKeyError::Write { .. })), "never overwrites");
    }

    #[test]
    fn the_public_set_has_no_private_part_and_debug_shows_none() {
        let key = LocalKey::generate().unwrap();
        let set: Value = key.jwks().parse().unwrap();
        assert_eq!(set["keys"][0]["kid"], key.key_id());
        assert_eq!(set["keys"][0]["use"], "sig");
        assert!(set["keys"][0].get("d").is_none());
        assert_eq!(format!("{key:?}"), format!("LocalKey {{ key_id: {:?}, .. }}", key.key_id()));
    }

    #[test]
    fn a_file_with_something_else_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key.pem");
        assert!(matches!(LocalKey::load(&path), Err(LocalKeyError::Read { .. })));
        fs::write(&path, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").unwrap();
        assert!(matches!(LocalKey::load(&path), Err(LocalKeyError::NotAKey(_))));
    }
}
