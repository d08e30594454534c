//! Findings in the forms that other programs read: JSON, SARIF and `JUnit`; texts within XML and HTML.

pub(super) mod junit;
pub(super) mod sarif;

use serde_json::{Value as Json, json};

use crate::domain::fault::Fault;

/// A text within XML 1.0 or HTML; what neither can hold becomes a question mark.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' | '\t' => escaped.push(c),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('?'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A fault as JSON. A place that there isn't is left out.
pub(super) fn json_of(fault: &Fault) -> Json {
    let Fault { file, line, column, source_line, message, end_line, end_column, severity, code, help } = fault;
    let mut json = json!({
        "file": file, "severity": severity.word(), "code": code.as_str(), "message": message, "help": help,
    });
    if let Some(object) = json.as_object_mut().filter(|_| *line > 0) {
        let place = [("line", line), ("column", column), ("end_line", end_line), ("end_column", end_column)];
        object.extend(place.map(|(name, number)| (name.to_owned(), Json::from(*number))));
        object.insert("source_line".to_owned(), Json::from(source_line.as_str()));
    }
    json
}
