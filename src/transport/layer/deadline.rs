//! How long an answer may take: what the caller says, and never longer than the service lets answers of its kind take.

use std::time::Duration;

use http::{HeaderMap, HeaderName};
use tokio::time::Instant;

/// The header in which a caller says how long it waits (gRPC over HTTP/2, "Timeout").
pub(in crate::transport) const TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// When a request's answer must be there; `None` for what ends by rules of its own. In the extensions of every request that was
/// let in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Until(pub Option<Instant>);

/// What kind of answer a request gets, as far as it matters for how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceiling {
    /// One decision.
    Check,
    /// Many decisions, or one answer that takes as long.
    Batch,
    /// It ends by rules of its own, or with its caller's deadline.
    Own,
}

/// The time for the work, as the header says; `None` without one or for one that says nothing.
pub(in crate::transport) fn given(headers: &HeaderMap) -> Option<Duration> {
    of_text(headers.get(TIMEOUT)?.to_str().ok()?)
}

/// A little less than the caller waits, so that the answer still arrives. At most eight digits and a unit.
fn of_text(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    let given = match unit {
        "H" => Duration::from_secs(count * 3600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    };
    Some(given.saturating_sub((given / 10).min(Duration::from_millis(20))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_leaves_time_for_the_answer() {
        let millis = Duration::from_millis;
        for (text, expected) in [
            ("100m", Some(millis(90))),
            ("5S", Some(millis(4980))),
            ("1M", Some(millis(59_980))),
            ("99999999H", Some(Duration::new(99_999_999 * 3600 - 1, 980_000_000))),
            ("1000u", Some(Duration::from_micros(900))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("5", None),
            ("123456789S", None),
            ("-1S", None),
            ("1s", None),
            ("1é", None),
        ] {
            assert_eq!(of_text(text), expected, "{text}");
        }
    }
}
