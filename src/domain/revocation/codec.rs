//! The bytes of a revocation, as stores keep them.
//!
//! Version 1, in the terms of [`crate::domain::codec`]. A name: the issuer, a number for the kind of tokens, then the id to
//! the end. A body: the version byte, the time before which tokens were issued, the time to forget it, each with a truth
//! value in front, and when it was made. The numbers are part of the format: new ones may be added, none may change.

use super::{Revocation, RevokedTokens, Which};
use crate::domain::codec::{CodecError, Reader, Writer};

/// The version that is written.
const VERSION: u8 = 1;

impl RevokedTokens {
    /// The bytes that a revocation is found by.
    pub fn encode(&self) -> Vec<u8> {
        let Self { issuer, which } = self;
        let mut out = Writer::with_capacity(issuer.len() + which.id().len() + 3);
        out.str(issuer);
        out.byte(match which {
            Which::Token(_) => 1,
            Which::Subject(_) => 2,
            Which::Client(_) => 3,
        });
        out.raw(which.id().as_bytes());
        out.into_bytes()
    }

    /// Reads what a revocation is found by, all of it.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of a name.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        let issuer = input.shared()?;
        let kind = match input.byte()? {
            1 => Which::Token,
            2 => Which::Subject,
            3 => Which::Client,
            byte => return Err(CodecError::Choice { what: "kind of revoked tokens", byte }),
        };
        let id = std::str::from_utf8(input.rest()).map_err(|_| CodecError::Text)?;
        Ok(Self { issuer, which: kind(id.into()) })
    }
}

impl Revocation {
    /// The revocation's bytes; its name is not in them.
    pub fn encode(&self) -> Vec<u8> {
        let Self { tokens: _, issued_before_seconds, forget_at_seconds, revoked_at_us } = self;
        let mut out = Writer::with_capacity(32);
        out.byte(VERSION);
        for at in [issued_before_seconds, forget_at_seconds] {
            out.bool(at.is_some());
            if let Some(at) = at {
                out.i64(*at);
            }
        }
        out.i64(*revoked_at_us);
        out.into_bytes()
    }

    /// Reads the revocation of these tokens from its bytes, all of them.
    ///
    /// # Errors
    /// [`CodecError`] when the bytes are not those of a revocation of a known version.
    pub fn decode(tokens: RevokedTokens, bytes: &[u8]) -> Result<Self, CodecError> {
        let mut input = Reader::new(bytes);
        match input.byte()? {
            VERSION => {}
            byte => return Err(CodecError::Choice { what: "version of a revocation", byte }),
        }
        let revocation = Self {
            tokens,
            issued_before_seconds: if input.bool()? { Some(input.i64()?) } else { None },
            forget_at_seconds: if input.bool()? { Some(input.i64()?) } else { None },
            revoked_at_us: input.i64()?,
        };
        input.finish()?;
        Ok(revocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(which: Which) -> RevokedTokens {
        RevokedTokens { issuer: "https://i".into(), which }
    }

    #[test]
    fn the_bytes_of_names_stay_as_they_are() {
        for (which, expected) in [
            (Which::Token("t".into()), &b"\x09https://i\x01t"[..]),
            (Which::Subject("s\u{e9}".into()), b"\x09https://i\x02s\xc3\xa9"),
            (Which::Client("".into()), b"\x09https://i\x03"),
        ] {
            assert_eq!(named(which.clone()).encode(), expected);
            assert_eq!(RevokedTokens::decode(expected), Ok(named(which)));
        }
        assert!(RevokedTokens::decode(b"\x01i\x04x").is_err() && RevokedTokens::decode(b"\x01i\x01\xff").is_err());
    }

    #[test]
    fn the_bytes_of_a_revocation_stay_as_they_are() {
        let tokens = named(Which::Subject("s".into()));
        let full = Revocation {
            tokens: tokens.clone(),
            issued_before_seconds: Some(3),
            forget_at_seconds: Some(-1),
            revoked_at_us: 4,
        };
        let none = Revocation { issued_before_seconds: None, forget_at_seconds: None, ..full.clone() };
        for (revocation, expected) in [(full, &b"\x01\x01\x06\x01\x01\x08"[..]), (none, b"\x01\x00\x00\x08")] {
            assert_eq!(revocation.encode(), expected);
            assert_eq!(Revocation::decode(tokens.clone(), expected), Ok(revocation));
            for cut in 0..expected.len() {
                assert!(Revocation::decode(tokens.clone(), &expected[..cut]).is_err(), "{cut}");
            }
            assert!(Revocation::decode(tokens.clone(), &[expected, b"\0"].concat()).is_err());
        }
        assert!(Revocation::decode(tokens, b"\x02\x00\x00\x08").is_err());
    }
}
