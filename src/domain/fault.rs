//! A fault in a realm's files: where it is and what was expected.

use std::{fmt, ops::Range};

use miette::Diagnostic;

/// One fault. Lines and columns count from 1, columns in characters; 0 when the fault has no place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, within the realm's folder.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// The text of the line; empty when the fault has no place.
    pub source_line: String,
    /// What is wrong and what was expected.
    pub message: String,
}

impl Fault {
    /// A fault of a file as a whole.
    pub fn in_file(file: &str, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line: 0, column: 0, source_line: String::new(), message: message.into() }
    }

    /// A fault at a span of bytes of a file's content.
    pub fn at(file: &str, content: &str, span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        let Some(before) = span.and_then(|span| content.get(..span.start.min(content.len()))) else {
            return Self::in_file(file, message);
        };
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            file: file.to_owned(),
            line: before.matches('\n').count() + 1,
            column: before.get(line_start..).unwrap_or("").chars().count() + 1,
            source_line: content.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or("").to_owned(),
            message: message.into(),
        }
    }
}

impl Fault {
    /// The faults that a Cedar error stands for, each at the place it is labelled with.
    pub(super) fn of_cedar(file: &str, content: &str, error: &dyn Diagnostic) -> Vec<Self> {
        let related: Vec<&dyn Diagnostic> = error.related().into_iter().flatten().collect();
        let own = Self::at(file, content, place(error), sentence(error));
        if own.line > 0 || related.is_empty() {
            let rest = related.into_iter().flat_map(|inner| Self::of_cedar(file, content, inner));
            return std::iter::once(own).chain(rest).collect();
        }
        related.into_iter().flat_map(|inner| Self::of_cedar(file, content, inner)).collect()
    }
}

fn place(error: &dyn Diagnostic) -> Option<Range<usize>> {
    let label = error.labels()?.next()?;
    Some(label.offset()..label.offset() + label.len())
}

/// The error's own words, what its label adds, and its help where it has some.
fn sentence(error: &dyn Diagnostic) -> String {
    let mut text = error.to_string();
    if let Some(label) = error.labels().and_then(|mut labels| labels.next()) {
        text = label.label().map_or(text.clone(), |label| format!("{text}: {label}"));
    }
    error.help().map_or(text.clone(), |help| format!("{text} ({help})"))
}

/// Writes the fault as compilers do, the source line and a caret below it.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            return write!(f, "{}: {}", self.file, self.message);
        }
        write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
        let gutter = self.line.to_string();
        let indent: String =
            self.source_line.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n  {gutter} | {}\n  {:width$} | {indent}^", self.source_line, "", width = gutter.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_its_line_with_a_caret() {
        let content = "a = 1\nbé = 22\n";
        let fault = Fault::at("realm.toml", content, Some(12..14), "expected a string");
        assert_eq!(fault.to_string(), "realm.toml:2:6: expected a string\n  2 | bé = 22\n    |      ^");
    }

    #[test]
    fn a_fault_without_a_place_names_the_file() {
        assert_eq!(Fault::in_file("grants.json", "is missing").to_string(), "grants.json: is missing");
        assert_eq!(Fault::at("x", "", None, "m").line, 0);
        assert_eq!(Fault::at("x", "ab", Some(9..9), "m").line, 1);
    }
}
