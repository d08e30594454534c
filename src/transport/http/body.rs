//! The body of a request: within its limits, JSON or a form, and named fields of it.

use axum::{
    body::{Body, Bytes},
    http::{HeaderMap, header::CONTENT_TYPE},
};
use tokio_stream::StreamExt as _;

use super::{Limits, problem::BodyFault};
use crate::{app::credentials::Secret, domain::strict_json};

/// A body as its type says it is.
pub(super) enum Content {
    /// `application/json`; also a body without a type.
    Json(Bytes),
    /// `application/x-www-form-urlencoded`.
    Form(Bytes),
}

/// Shows nothing: bodies hold tokens and secrets.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Content")
    }
}

/// Reads a body.
///
/// # Errors
/// Too long, too slow, broken off, or of a type that isn't read. What is too long is not read to its end.
pub(super) async fn read(headers: &HeaderMap, body: Body, limits: &Limits) -> Result<Content, BodyFault> {
    let content = content_type(headers)?;
    bytes(body, limits).await.map(content)
}

/// Reads a body, whatever it is.
///
/// # Errors
/// Too long, too slow or broken off. What is too long is not read to its end.
pub(super) async fn bytes(body: Body, limits: &Limits) -> Result<Bytes, BodyFault> {
    let bytes = tokio::time::timeout(limits.body_within, collect(body, limits.body_bytes_max));
    bytes.await.unwrap_or(Err(BodyFault::TooSlow))
}

fn content_type(headers: &HeaderMap) -> Result<fn(Bytes) -> Content, BodyFault> {
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Content::Json) };
    let text = value.to_str().map_err(|_| BodyFault::TypeUnknown)?;
    let media_type = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media_type.as_str() {
        "application/json" => Ok(Content::Json),
        "application/x-www-form-urlencoded" => Ok(Content::Form),
        _ => Err(BodyFault::TypeUnknown),
    }
}

/// Reads a body to its end.
///
/// # Errors
/// Longer than that, or broken off.
pub(super) async fn collect(body: Body, bytes_max: usize) -> Result<Bytes, BodyFault> {
    let mut parts = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(part) = parts.next().await {
        let part = part.map_err(|_| BodyFault::Broken)?;
        if bytes.len() + part.len() > bytes_max {
            return Err(BodyFault::TooLong);
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes.into())
}

/// The fields of a body, by name and value; `None` stands for what is no text.
pub(super) struct Fields(Vec<(String, Option<Secret>)>);

/// A field that is no text, or there more than once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FieldUnreadable;

impl Content {
    /// The fields; `None` when the body is not what its type says. A form is never that.
    pub(super) fn fields(&self) -> Option<Fields> {
        let fields = match self {
            Self::Json(bytes) => {
                let object = strict_json::read_object(bytes).ok()?;
                let filled = object.into_iter().filter(|(_, value)| !value.is_null());
                filled.map(|(name, value)| (name, value.as_str().map(|text| Secret(text.into())))).collect()
            }
            Self::Form(bytes) => {
                let fields = form_urlencoded::parse(bytes);
                fields.map(|(name, value)| (name.into_owned(), Some(Secret(value.as_ref().into())))).collect()
            }
        };
        Some(Fields(fields))
    }
}

impl Fields {
    /// The text of the field of this name, whatever the case of its letters; `None` when it isn't there or is `null`.
    ///
    /// # Errors
    /// It is no text, or there more than once.
    pub(super) fn text(&self, name: &str) -> Result<Option<Secret>, FieldUnreadable> {
        let mut named = self.0.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value);
        match (named.next(), named.next()) {
            (None, _) => Ok(None),
            (Some(Some(text)), None) => Ok(Some(text.clone())),
            _ => Err(FieldUnreadable),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_whatever_its_case_and_only_if_it_is_there_once() {
        let json = |text: &str| Content::Json(Bytes::copy_from_slice(text.as_bytes()));
        let form = |text: &str| Content::Form(Bytes::copy_from_slice(text.as_bytes()));
        for (content, expected) in [
            (json(r#"{"token":"a"}"#), Some(Ok(Some("a")))),
            (json(r#"{"ToKeN":"a","other":1}"#), Some(Ok(Some("a")))),
            (json(r#"{"token":"a","Token":"a"}"#), Some(Err(FieldUnreadable))),
            (json(r#"{"token":"a","token":"b"}"#), None),
            (json(r#"{"token":1}"#), Some(Err(FieldUnreadable))),
            (json(r#"{"token":null}"#), Some(Ok(None))),
            (json(r#"{"tokens":"a"}"#), Some(Ok(None))),
            (json(r#"["token"]"#), None),
            (json("token=a"), None),
            (json(""), None),
            (form("token=a"), Some(Ok(Some("a")))),
            (form("x=1&TOKEN=a%2Bb+c"), Some(Ok(Some("a+b c")))),
            (form("token=a&Token=a"), Some(Err(FieldUnreadable))),
            (form(r#"{"token":"a"}"#), Some(Ok(None))),
            (form(""), Some(Ok(None))),
        ] {
            let expected = expected.map(|found| found.map(|text| text.map(|text| Secret(text.into()))));
            assert_eq!(content.fields().map(|fields| fields.text("token")), expected);
        }
    }

    #[test]
    fn a_type_that_is_not_read_is_refused() {
        for (given, is_read) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("application/x-www-form-urlencoded;charset=UTF-8", true),
            ("text/plain", false),
            ("multipart/form-data; boundary=x", false),
            ("application/jsonp", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, given.parse().unwrap())]);
            assert_eq!(content_type(&headers).is_ok(), is_read, "{given}");
        }
        assert!(content_type(&HeaderMap::new()).is_ok());
    }
}
