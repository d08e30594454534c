//! Tokens and key sets.

use std::path::PathBuf;

use hallpass::domain::issuer::{Algorithm, Issuer, KeyLocation};
use hallpass::domain::key_set::KeySet;
use hallpass::domain::token;

/// A public key of nobody (RFC 8037 appendix A.2 has its private part).
const KEYS: &str =
    r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// Reads bytes as a token and verifies what can be read. The token's own name of its issuer and every algorithm are
/// trusted, so that as much as possible is entered; nothing can hold, because nobody signs with the key.
pub(crate) fn token(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(unverified) = token::read(text) else { return };
    let issuer = Issuer::new(unverified.issuer(), &Algorithm::ALL, KeyLocation::File(PathBuf::new()));
    let keys = KeySet::from_jwks(KEYS).unwrap_or_default();
    drop(unverified.verify(&issuer, &keys, 1_790_000_000));
}

/// Reads bytes as a key set and looks for each of its keys. What is refused stays refused, and reads the same twice.
pub(crate) fn key_set(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let read = KeySet::from_jwks(text);
    assert_eq!(read.as_ref().map(KeySet::len).ok(), KeySet::from_jwks(text).map(|set| set.len()).ok());
    let Ok(set) = read else { return };
    for algorithm in Algorithm::ALL {
        let found = set.key(None, algorithm).is_ok();
        assert!(!found || set.len() == 1);
    }
}
