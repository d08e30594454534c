//! Revocations: which tokens no longer count although they have not expired.

mod codec;

use std::sync::Arc;

use super::{access_request::FieldFault, token_facts::TokenFacts};

/// The longest `jti`, `sub` or `client_id` that can be revoked, in bytes.
pub const ID_BYTES_MAX: usize = 512;
/// The longest issuer, in bytes.
pub const ISSUER_BYTES_MAX: usize = 1_024;
/// The last second of the year 9999; a time beyond it is a mistake, such as milliseconds.
const YEAR_9999_SECONDS: i64 = 253_402_300_799;

/// Which of an issuer's tokens, in the order in which revocations are listed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Which {
    /// The one of this `jti`.
    Token(Arc<str>),
    /// Those about this `sub`.
    Subject(Arc<str>),
    /// Those that this client got: `client_id`, or else `azp`.
    Client(Arc<str>),
}

impl Which {
    /// The id of the token, the subject or the client.
    pub fn id(&self) -> &Arc<str> {
        match self {
            Self::Token(id) | Self::Subject(id) | Self::Client(id) => id,
        }
    }
}

/// Which tokens: a revocation's name, of which a realm has one revocation at most.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevokedTokens {
    /// The exact `iss`.
    pub issuer: Arc<str>,
    /// Which of its tokens.
    pub which: Which,
}

/// Tokens that no longer count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Which tokens.
    pub tokens: RevokedTokens,
    /// Only those issued before this second since the epoch, and those that don't say when; `None` for a single token,
    /// whenever it was issued.
    pub issued_before_seconds: Option<i64>,
    /// From this second since the epoch on the revocation doesn't count any more, because every token that it is about has
    /// expired; `None`: it counts for good.
    pub forget_at_seconds: Option<i64>,
    /// When it was made, in microseconds since the epoch.
    pub revoked_at_us: i64,
}

impl Revocation {
    /// The revocation still counts.
    pub fn counts(&self, now_seconds: i64) -> bool {
        self.forget_at_seconds.is_none_or(|at| now_seconds < at)
    }

    /// It is about a token of its issuer with its id, subject or client: that one, or one that was issued before the time.
    /// A token that doesn't say when it was issued may have been.
    pub fn is_about(&self, token: &TokenFacts) -> bool {
        let earlier = |(issued_at, before): (i64, i64)| issued_at < before;
        token.issued_at_seconds.zip(self.issued_before_seconds).is_none_or(earlier)
    }

    /// Checks what was asked for.
    ///
    /// # Errors
    /// Every fault at once, each of a field `revocation.…`.
    pub fn check(&self, now_seconds: i64) -> Result<(), Vec<FieldFault>> {
        let mut faults = check_tokens("revocation.tokens", &self.tokens);
        let is_time = |at: i64| (0..=YEAR_9999_SECONDS).contains(&at);
        match (&self.tokens.which, self.issued_before_seconds) {
            (Which::Token(_), Some(_)) => {
                let message = "is set, and a single token is revoked whenever it was issued";
                faults.push(FieldFault::new("revocation.issued_before", message));
            }
            (_, Some(at)) if !is_time(at) => {
                faults.push(FieldFault::new("revocation.issued_before", "is no time between 1970 and 9999"));
            }
            _ => {}
        }
        if self.forget_at_seconds.is_some_and(|at| at <= now_seconds || !is_time(at)) {
            faults.push(FieldFault::new("revocation.forget_at", "is past or after the year 9999"));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// The faults of a revocation's name.
pub fn check_tokens(field: &str, tokens: &RevokedTokens) -> Vec<FieldFault> {
    let RevokedTokens { issuer, which } = tokens;
    let kind = match which {
        Which::Token(_) => "token_id",
        Which::Subject(_) => "subject",
        Which::Client(_) => "client",
    };
    let texts = [("issuer", issuer, ISSUER_BYTES_MAX), (kind, which.id(), ID_BYTES_MAX)];
    let wrong = texts.into_iter().filter(|(_, text, max)| text.is_empty() || text.len() > *max);
    wrong.map(|(name, _, max)| FieldFault::new(format!("{field}.{name}"), format!("is not 1 to {max} bytes"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocation(which: Which, issued_before_seconds: Option<i64>) -> Revocation {
        let tokens = RevokedTokens { issuer: "https://i".into(), which };
        Revocation { tokens, issued_before_seconds, forget_at_seconds: Some(200), revoked_at_us: 100_000_000 }
    }

    fn fields(revocation: &Revocation) -> Vec<String> {
        revocation.check(100).err().unwrap_or_default().into_iter().map(|fault| fault.field).collect()
    }

    #[test]
    fn tokens_issued_before_the_time_are_revoked_and_those_that_do_not_say_when() {
        let of_subject = revocation(Which::Subject("s".into()), Some(100));
        for (issued_at_seconds, expected) in [(Some(99), true), (Some(100), false), (Some(101), false), (None, true)] {
            let token = TokenFacts { issued_at_seconds, ..TokenFacts::default() };
            assert_eq!(of_subject.is_about(&token), expected, "{issued_at_seconds:?}");
            assert!(revocation(Which::Token("t".into()), None).is_about(&token));
        }
    }

    #[test]
    fn a_revocation_counts_until_it_can_be_forgotten() {
        let limited = revocation(Which::Token("t".into()), None);
        assert!(limited.counts(199) && !limited.counts(200));
        assert!(Revocation { forget_at_seconds: None, ..limited }.counts(i64::MAX));
    }

    #[test]
    fn all_faults_of_a_revocation_come_at_once() {
        assert_eq!(fields(&revocation(Which::Token("t".into()), None)), [""; 0]);
        assert_eq!(fields(&revocation(Which::Client("c".into()), Some(0))), [""; 0]);
        let long: Arc<str> = "x".repeat(ID_BYTES_MAX + 1).into();
        let wrong = Revocation {
            tokens: RevokedTokens { issuer: "".into(), which: Which::Token(long) },
            issued_before_seconds: Some(5),
            forget_at_seconds: Some(100),
            revoked_at_us: 0,
        };
        let expected = ["tokens.issuer", "tokens.token_id", "issued_before", "forget_at"];
        assert_eq!(fields(&wrong), expected.map(|field| format!("revocation.{field}")));
        for (which, at, field) in [
            (Which::Subject("".into()), 5, "tokens.subject"),
            (Which::Client("".into()), 5, "tokens.client"),
            (Which::Client("c".into()), 1_790_000_000_000, "issued_before"),
            (Which::Client("c".into()), -1, "issued_before"),
        ] {
            assert_eq!(fields(&revocation(which, Some(at))), [format!("revocation.{field}")]);
        }
    }
}
