//! `[denials.*]` and `[denial_lists.*]`: what a refused caller reads.

use std::sync::Arc;

use crate::domain::document::Table;

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

pub(super) fn read_denial(table: &Table<'_>) -> Option<DenialTemplate> {
    let status = table.integer("status", 400..=599);
    let problem_type = table.required_text("type");
    let title = table.required_text("title");
    let detail = table.text("detail").unwrap_or_default();
    let detail_many = table.text("detail_many");
    let errors = table.texts("errors").unwrap_or_default();
    let errors_many = table.texts("errors_many");
    Some(DenialTemplate {
        status: u16::try_from(status.unwrap_or(403)).unwrap_or(403),
        problem_type: problem_type?,
        title: title?,
        detail,
        detail_many,
        errors,
        errors_many,
    })
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
