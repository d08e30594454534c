//! Where the next page starts, as a text that callers hand back and cannot read anything into.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::app::error::Error;

/// The first byte: tells the forms of tokens apart, should there be another.
const VERSION: u8 = 1;
/// How many bytes of the request's digest a token holds.
const DIGEST_BYTES: usize = 16;

/// The request that a page token belongs to: all of it but the page's size and token.
pub(super) struct Binding([u8; DIGEST_BYTES]);

impl Binding {
    /// Of a method and its request, page size and page token left out by the caller.
    pub(super) fn of(method: &str, request: &impl Message) -> Self {
        let mut digest = Sha256::new();
        digest.update(method);
        digest.update([0]);
        digest.update(request.encode_to_vec());
        let digest = digest.finalize();
        Self(std::array::from_fn(|at| digest.get(at).copied().unwrap_or(0)))
    }

    /// The token of the page that starts after the cursor.
    pub(super) fn token(&self, cursor: &[u8]) -> String {
        let bytes = [&[VERSION][..], &self.0, cursor].concat();
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The cursor of a token; `None` for the first page.
    ///
    /// # Errors
    /// A fault of `page_token` when the token isn't one of ours or belongs to another request.
    pub(super) fn cursor(&self, token: &str) -> Result<Option<Vec<u8>>, Error> {
        if token.is_empty() {
            return Ok(None);
        }
        let bytes = URL_SAFE_NO_PAD.decode(token).ok();
        let bound = bytes.as_deref().and_then(|bytes| bytes.strip_prefix(&[VERSION])?.split_at_checked(DIGEST_BYTES));
        match bound {
            None => Err(malformed()),
            Some((digest, cursor)) if digest == self.0 => Ok(Some(cursor.to_vec())),
            Some(_) => Err(Error::invalid_field(
                "page_token",
                "belongs to another request, expected the same request as for the page before",
            )),
        }
    }
}

/// The fault of a token that isn't one of ours.
pub(super) fn malformed() -> Error {
    Error::invalid_field("page_token", "is not a page token, expected the `next_page_token` of the page before")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn binding(method: &str, request: &str) -> Binding {
        Binding::of(method, &request.to_owned())
    }

    #[test]
    fn a_token_goes_back_with_its_own_request_only() {
        let token = binding("Read", "a").token(b"cursor");
        assert_eq!(binding("Read", "a").cursor(&token).unwrap().unwrap(), b"cursor");
        assert_eq!(binding("Read", "a").cursor("").unwrap(), None);
        for (other, token) in [
            (binding("Read", "b"), &*token),
            (binding("Query", "a"), &token),
            (binding("Read", "a"), "AQ"),
            (binding("Read", "a"), "no token"),
            (binding("Read", "a"), &format!("{token}=")),
            (binding("Read", "a"), &format!("B{token}")),
        ] {
            assert_eq!(other.cursor(token).unwrap_err().fields[0].field, "page_token");
        }
    }
}
