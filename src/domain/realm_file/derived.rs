//! `[context.*]`: members of the context that the host fills in itself.

use std::{ops::Range, sync::Arc};

use crate::domain::{document::Table, forms::Forms, template::Template};

/// How a member of the context comes about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DerivedRule {
    /// What it is made of.
    pub source: DerivedSource,
    /// Where the rule stands in realm.toml, in bytes.
    pub place: Range<usize>,
}

/// What a member of the context is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DerivedSource {
    /// The row of a table: of the first of these keys that has one.
    Row {
        /// The file, within the realm's folder: a JSON object or a TOML document, each member a row.
        table: Arc<str>,
        /// The keys; never empty.
        keys: Vec<Template>,
    },
    /// The first of these texts whose placeholders all have values.
    Text {
        /// The texts; never empty.
        templates: Vec<Template>,
        /// Only a text of one of these forms counts, as the form reads it.
        forms: Option<Forms>,
        /// The text is put in lower case.
        is_lower_case: bool,
    },
}

/// Reads one member.
pub(super) fn read_derived(table: &Table<'_>) -> Option<DerivedRule> {
    if table.has("table") {
        let (file, keys) = (table.required_text("table"), templates(table, "key"));
        let (source, place) = (DerivedSource::Row { table: file?, keys: keys? }, table.place("key"));
        return Some(DerivedRule { source, place });
    }
    table.could_have(&["table", "key"]);
    let templates = templates(table, "value");
    let forms = table.texts("forms").map(|forms| {
        let forms = Forms::parse(&forms);
        forms.map_err(|message| table.fault(Some("forms"), message)).ok()
    });
    let case = table.text("case");
    if case.as_ref().is_some_and(|case| **case != *"lower") {
        table.fault(Some("case"), "`case` is not `lower`, the only case that texts can be put in");
    }
    let (templates, forms) = (templates?, forms.map_or(Some(None), |forms| forms.map(Some))?);
    let source = DerivedSource::Text { templates, forms, is_lower_case: case.is_some() };
    Some(DerivedRule { source, place: table.place("value") })
}

/// One template or a list of them.
fn templates(table: &Table<'_>, key: &str) -> Option<Vec<Template>> {
    let texts = table.required_one_or_more(key)?;
    let parsed: Vec<_> = texts.iter().map(|text| Template::parse(text)).collect();
    for message in parsed.iter().filter_map(|parsed| parsed.as_ref().err()) {
        table.fault(Some(key), message);
    }
    let parsed: Option<Vec<Template>> = parsed.into_iter().map(Result::ok).collect();
    if texts.is_empty() {
        table.fault(Some(key), format!("`{key}` is empty, so it would never have a value"));
    }
    parsed.filter(|parsed| !parsed.is_empty())
}
