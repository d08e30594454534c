//! The only place that prints: data on standard output, everything else on standard error.

use std::{
    fmt::{self, Write as _},
    io::{self, IsTerminal as _, Write},
};

use anyhow::Error;
use clap::ValueEnum;
use serde_json::Value as Json;

use crate::config::Environment;

/// How answers are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// What a word means, shown as a colour on terminals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    /// As it should be.
    Good,
    /// Neither good nor wrong.
    Doubtful,
    /// Refused, failed, or wrong.
    Bad,
    /// Beside the point.
    Faint,
}

/// Where verbs print.
pub(super) struct Screen {
    out: Box<dyn Write + Send>,
    has_color: bool,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen").field("has_color", &self.has_color).finish_non_exhaustive()
    }
}

impl Screen {
    /// The process's own standard output, coloured on a terminal unless `NO_COLOR` says otherwise.
    pub(super) fn of_process(environment: &Environment) -> Self {
        let has_color = io::stdout().is_terminal() && environment.get("NO_COLOR").is_none();
        Self { out: Box::new(io::stdout()), has_color }
    }

    /// The writer itself, for long texts.
    pub(super) fn out(&mut self) -> &mut (dyn Write + Send) {
        &mut *self.out
    }

    /// Prints a line.
    ///
    /// # Errors
    /// An output that cannot be written.
    pub(super) fn line(&mut self, text: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{text}")?;
        self.out.flush()
    }

    /// Prints JSON on several lines.
    ///
    /// # Errors
    /// An output that cannot be written.
    pub(super) fn json(&mut self, json: &Json) -> io::Result<()> {
        self.line(format_args!("{json:#}"))
    }

    /// Prints rows under a heading, in columns.
    ///
    /// # Errors
    /// An output that cannot be written.
    pub(super) fn table(&mut self, heading: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
        self.line(table(heading, rows).trim_end_matches('\n'))
    }

    /// A text in the colour of its tone, on terminals.
    pub(super) fn toned(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => 32,
            Tone::Doubtful => 33,
            Tone::Bad => 31,
            Tone::Faint => 2,
        };
        if self.has_color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Shows an error with its causes, on standard error.
pub(super) fn error(error: &Error) {
    let text = chain(error);
    // Several faults start on a line of their own, each with its place.
    let gap = if text.contains('\n') { '\n' } else { ' ' };
    note(&format!("error:{gap}{text}"));
}

/// Shows a line beside the data, on standard error.
pub(super) fn note(text: &str) {
    // When nobody can be told, there is nobody to tell.
    drop(writeln!(io::stderr(), "{text}"));
}

/// An error and its causes in one line; the advice after a semicolon comes last.
fn chain(error: &Error) -> String {
    let texts: Vec<String> = error.chain().map(ToString::to_string).collect();
    let mut parts: Vec<&str> = Vec::new();
    let mut advice = Vec::new();
    for text in &texts {
        let (what, next) = text.split_once("; ").map_or((text.as_str(), None), |(what, next)| (what, Some(next)));
        if !parts.iter().any(|said| said.contains(what)) {
            parts.push(what);
        }
        advice.extend(next);
    }
    let mut line = parts.join(": ");
    for advice in advice {
        line.push_str("; ");
        line.push_str(advice);
    }
    line
}

/// Columns as wide as their widest cell, two blanks between them.
fn table(heading: &[&str], rows: &[Vec<String>]) -> String {
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
    let mut widths = vec![0; heading.len()];
    for row in std::iter::once(&heading).chain(&rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(&rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            // Writing to a String cannot fail.
            let _infallible = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A text that cannot steer a terminal: what comes from elsewhere may hold control characters.
pub(super) fn plain(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// A count with its thousands apart: `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 policy`, `2 policies`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [vec!["ä".to_owned(), "Read".to_owned()], vec!["longer".to_owned(), String::new()]];
        assert_eq!(table(&["WHO", "ACTION"], &rows), "WHO     ACTION\nä       Read\nlonger\n");
        assert_eq!(table(&["WHO"], &[]), "WHO\n");
    }

    #[test]
    fn cells_cannot_steer_the_terminal() {
        assert_eq!(table(&["A"], &[vec!["\x1b[2J\n".to_owned()]]), "A\n\\u{1b}[2J\\n\n");
    }

    #[test]
    fn counts_are_read_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), text);
        }
        assert_eq!((counted(1, "case", "cases"), counted(0, "case", "cases")), ("1 case".into(), "0 cases".into()));
    }

    #[test]
    fn an_error_says_its_causes_before_the_advice() {
        let error = anyhow!("connection refused").context("cannot reach the service; start one");
        assert_eq!(chain(&error), "cannot reach the service: connection refused; start one");
    }
}
