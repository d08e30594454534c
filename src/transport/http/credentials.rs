//! The token that a request comes with: `Authorization: Bearer …` (RFC 6750 section 2.1).

use axum::http::{HeaderMap, header::AUTHORIZATION};

use super::problem::{ABSENT, AUTHORIZATION_INVALID, EMPTY};
use crate::app::credentials::{Credentials, Secret};

/// A token and the scheme word before it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Presented {
    pub(super) scheme: String,
    pub(super) token: Secret,
}

/// The token of a request, or the stable code of why there is none. A scheme word without a token is presented with an
/// empty one, so that the word can be judged first.
pub(super) fn presented(headers: &HeaderMap) -> Result<Presented, &'static str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Err(ABSENT) };
    if values.next().is_some() {
        return Err(AUTHORIZATION_INVALID);
    }
    let text = value.to_str().map_err(|_| AUTHORIZATION_INVALID)?.trim();
    if text.is_empty() {
        return Err(ABSENT);
    }
    let (scheme, token) = text.split_once(' ').unwrap_or((text, ""));
    let token = token.trim_start();
    if token.contains(|c: char| c.is_ascii_whitespace() || c == ',') {
        return Err(AUTHORIZATION_INVALID);
    }
    Ok(Presented { scheme: scheme.to_owned(), token: Secret(token.into()) })
}

impl Presented {
    /// The token as use cases take it.
    pub(super) fn credentials(&self) -> Credentials {
        Credentials { token: self.token.clone(), scheme: self.scheme.as_str().into(), ..Credentials::default() }
    }

    /// The code of what is wrong with it, when tokens come with these scheme words.
    pub(super) fn fault<'a>(&self, mut schemes: impl Iterator<Item = &'a str>) -> Option<&'static str> {
        if !schemes.any(|scheme| scheme.eq_ignore_ascii_case(&self.scheme)) {
            return Some(super::problem::SCHEME_NOT_ALLOWED);
        }
        self.token.0.is_empty().then_some(EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::{super::problem::SCHEME_NOT_ALLOWED, *};

    #[track_caller]
    fn check(values: &[&str], expected: Result<&str, &str>) {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(AUTHORIZATION, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        let found = presented(&headers).and_then(|presented| {
            presented.fault(["Bearer", "JWT"].into_iter()).map_or(Ok(presented.token.0.to_string()), Err)
        });
        assert_eq!(found.as_deref().map_err(|code| *code), expected, "{values:?}");
    }

    #[test]
    fn each_fault_of_the_header_has_its_code() {
        check(&["Bearer abc"], Ok("abc"));
        check(&["bearer   abc"], Ok("abc"));
        check(&["JWT abc"], Ok("abc"));
        check(&[], Err(ABSENT));
        check(&[""], Err(ABSENT));
        check(&["Bearer"], Err(EMPTY));
        check(&["Bearer "], Err(EMPTY));
        check(&["Basic abc"], Err(SCHEME_NOT_ALLOWED));
        check(&["abc"], Err(SCHEME_NOT_ALLOWED));
        check(&["Bearer a b"], Err(AUTHORIZATION_INVALID));
        check(&["Bearer a, Bearer b"], Err(AUTHORIZATION_INVALID));
        check(&["Bearer a", "Bearer a"], Err(AUTHORIZATION_INVALID));
        check(&["Bearer é"], Err(AUTHORIZATION_INVALID));
    }
}
