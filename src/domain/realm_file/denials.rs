//! `[denials.*]` and `[denial_lists.*]`: what a refused caller reads.

use std::{ops::Range, sync::Arc};

use crate::domain::{document::Table, value::Value};

/// The realm's shape of a denial. Texts hold placeholders in braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenialTemplate {
    /// The HTTP status.
    pub status: u16,
    /// The problem type.
    pub problem_type: Arc<str>,
    /// The title.
    pub title: Arc<str>,
    /// The detail.
    pub detail: Arc<str>,
    /// The detail when several values failed, if it differs.
    pub detail_many: Option<Arc<str>>,
    /// Further errors.
    pub errors: Vec<Arc<str>>,
    /// Further errors when several values failed, if they differ.
    pub errors_many: Option<Vec<Arc<str>>>,
    /// Headers of the response: visible ASCII, every quoted string with its end.
    pub headers: Vec<(Arc<str>, Arc<str>)>,
    /// Further members of the problem: booleans, whole numbers and texts.
    pub members: Vec<(Arc<str>, Value)>,
    /// Where it stands in realm.toml, in bytes.
    pub place: Range<usize>,
}

/// A placeholder that lists a principal attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenialList {
    /// The attribute.
    pub attribute: Arc<str>,
    /// The text when the list is empty.
    pub none: Arc<str>,
    /// The text around one value, which replaces `{}`.
    pub one: Arc<str>,
    /// The text around several.
    pub many: Arc<str>,
    /// How many values are named before `...`.
    pub max: usize,
    /// Each value stands in single quotes.
    pub is_quoted: bool,
}

/// The members of a problem that have keys of their own, or that the service itself fills in.
const OWN_MEMBERS: [&str; 7] = ["type", "title", "detail", "instance", "errors", "validationErrors", "correlationId"];
/// The headers that follow from the connection and from the body that is sent.
const OWN_HEADERS: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// What the placeholders of members of the context begin with.
pub(in crate::domain) const CONTEXT: &str = "context.";

impl DenialTemplate {
    /// Every text with placeholders.
    pub fn texts(&self) -> impl Iterator<Item = &Arc<str>> {
        let members = self.members.iter().filter_map(|(_, value)| match value {
            Value::String(text) => Some(text),
            _ => None,
        });
        let many = self.errors_many.iter().flatten();
        let details = std::iter::once(&self.detail).chain(&self.detail_many);
        details.chain(&self.errors).chain(many).chain(self.headers.iter().map(|(_, value)| value)).chain(members)
    }
}

/// The paths into the context that a text has placeholders for.
pub(in crate::domain) fn context_paths(text: &str) -> impl Iterator<Item = &str> {
    let names = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
    names.filter_map(|(name, _)| name.strip_prefix(CONTEXT))
}

pub(super) fn read_denial(table: &Table<'_>) -> Option<DenialTemplate> {
    let status = table.integer("status", 400..=599);
    let status = u16::try_from(status.unwrap_or(403)).unwrap_or(403);
    let problem_type = table.text("type").unwrap_or_else(|| "about:blank".into());
    let title = table.text("title").or_else(|| phrase(status).map(Arc::from)).or_else(|| table.required_text("title"));
    let detail = table.text("detail").unwrap_or_default();
    let detail_many = table.text("detail_many");
    let errors = table.texts("errors").unwrap_or_default();
    let errors_many = table.texts("errors_many");
    let headers = read_headers(table);
    let members = table.scalars("members");
    for (name, _) in members.iter().filter(|(name, _)| OWN_MEMBERS.contains(&&**name)) {
        table.fault(Some("members"), format!("`{name}` is no further member of a problem: it is filled in elsewhere"));
    }
    Some(DenialTemplate {
        status,
        problem_type,
        title: title?,
        detail,
        detail_many,
        errors,
        errors_many,
        headers,
        members,
        place: table.place(""),
    })
}

/// What a problem is called that says no more than its status (RFC 9457 section 4.2.1).
fn phrase(status: u16) -> Option<&'static str> {
    Some(match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        409 => "Conflict",
        415 => "Unsupported Media Type",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => return None,
    })
}

fn read_headers(table: &Table<'_>) -> Vec<(Arc<str>, Arc<str>)> {
    let mut headers: Vec<(Arc<str>, Arc<str>)> = Vec::new();
    for (name, value) in table.scalars("headers") {
        let wrong = |message: String| table.fault(Some("headers"), message);
        let Value::String(value) = value else {
            wrong(format!("header `{name}` is {}, expected a string", value.kind()));
            continue;
        };
        if name.is_empty() || !name.bytes().all(is_token_character) {
            wrong(format!("`{name}` is no name of a header"));
        } else if OWN_HEADERS.iter().any(|own| name.eq_ignore_ascii_case(own)) {
            wrong(format!("header `{name}` follows from the connection and the body, expected another one"));
        } else if headers.iter().any(|(other, _)| name.eq_ignore_ascii_case(other)) {
            wrong(format!("header `{name}` is there twice"));
        } else if !value.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            wrong(format!("header `{name}` holds other characters than visible ASCII and blanks"));
        } else if in_quotes(&value) {
            wrong(format!("header `{name}`: a quoted string has no end"));
        } else {
            headers.push((name, value));
        }
    }
    headers
}

/// A character of a token (RFC 9110 section 5.6.2).
fn is_token_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// What follows the text stands within a quoted string (RFC 9110 section 5.6.4).
pub(in crate::domain) fn in_quotes(text: &str) -> bool {
    let mut characters = text.chars();
    let mut is_within = false;
    while let Some(character) = characters.next() {
        match character {
            '"' => is_within = !is_within,
            '\\' if is_within => drop(characters.next()),
            _ => {}
        }
    }
    is_within
}

pub(super) fn read_denial_list(table: &Table<'_>) -> Option<DenialList> {
    let attribute = table.required_text("attribute");
    let none = table.text("none").unwrap_or_default();
    let one = table.text("one").unwrap_or_else(|| "{}".into());
    let many = table.text("many").unwrap_or_else(|| "{}".into());
    let is_quoted = table.flag_or("quote", true);
    let max = table.integer("max", 1..=1_000).and_then(|max| usize::try_from(max).ok()).unwrap_or(5);
    Some(DenialList { attribute: attribute?, none, one, many, max, is_quoted })
}
