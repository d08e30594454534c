//! A fault in a realm's files: where it is, what was expected, and the likely fix.

mod cedar;
mod code;
mod near;
mod place;

use std::{borrow::Cow, fmt, ops::Range};

pub use code::Code;
pub(crate) use near::nearest;
pub(super) use place::{occurrences, with_places};

/// How much a fault weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The files are refused.
    Error,
    /// Worth a look; the files work.
    Warning,
}

impl Severity {
    /// The word that is shown before the code.
    pub fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}

/// One fault. Lines and columns count from 1, columns in characters; 0 when the fault has no place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The file, within the realm's folder.
    pub file: String,
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
    /// The text of the line; empty when the fault has no place, and where the line is longer than
    /// [`Fault::SOURCE_LINE_BYTES_MAX`].
    pub source_line: String,
    /// What is wrong and what was expected.
    pub message: String,
    /// The line in which the place ends; that of its beginning when it is a point.
    pub end_line: usize,
    /// The column behind the place's last character; that of its beginning when it is a point.
    pub end_column: usize,
    /// Whether it keeps the files from being used.
    pub severity: Severity,
    /// What kind of fault it is.
    pub code: Code,
    /// The likely fix, in a sentence without its full stop.
    pub help: Option<String>,
}

impl Fault {
    /// A fault of a file as a whole.
    pub fn in_file(file: &str, message: impl Into<String>) -> Self {
        let message = in_one_line(&message.into());
        let help = near::in_message(&message).map(|name| format!("did you mean `{name}`?"));
        Self {
            file: file.to_owned(),
            line: 0,
            column: 0,
            source_line: String::new(),
            message,
            end_line: 0,
            end_column: 0,
            severity: Severity::Error,
            code: Code::of_file(file),
            help,
        }
    }

    /// Lines longer than this, in bytes, are not repeated in faults: a file without line breaks is one line.
    pub const SOURCE_LINE_BYTES_MAX: usize = 4_096;

    /// A fault at a span of bytes of a file's content.
    pub fn at(file: &str, content: &str, span: Option<Range<usize>>, message: impl Into<String>) -> Self {
        let whole = Self::in_file(file, message);
        let Some(span) = span else { return whole };
        let Some((line, column)) = position(content, span.start) else { return whole };
        let (end_line, end_column) = position(content, span.end.max(span.start)).unwrap_or((line, column));
        let source_line = content.lines().nth(line - 1).filter(|line| line.len() <= Self::SOURCE_LINE_BYTES_MAX);
        let source_line = source_line.unwrap_or_default().to_owned();
        Self { line, column, source_line, end_line, end_column, ..whole }
    }

    /// The same fault as one of this kind, with its weight.
    #[must_use]
    pub fn coded(self, code: Code) -> Self {
        Self { code, severity: code.severity(), ..self }
    }

    /// The same fault with the likely fix, in place of one that it had.
    #[must_use]
    pub fn helped(self, help: impl Into<Cow<'static, str>>) -> Self {
        Self { help: Some(help.into().into_owned()), ..self }
    }

    /// The same fault, asking whether the nearest of the known names was meant, where one is near.
    #[must_use]
    pub(super) fn near<'k>(self, name: &str, known: impl IntoIterator<Item = &'k str>) -> Self {
        match nearest(name, known) {
            Some(known) => self.helped(format!("did you mean `{known}`?")),
            None => self,
        }
    }

    /// The same fault with what usually mends one of its kind, where nothing better is known.
    #[must_use]
    pub(super) fn with_help(self) -> Self {
        let says_nothing = self.code.fix().contains("the message");
        let help = self.help.or_else(|| (!says_nothing).then(|| self.code.fix().to_owned()));
        Self { help, ..self }
    }

    /// The same fault of a file that has no places of its own.
    #[must_use]
    pub fn without_place(self, file: &str) -> Self {
        let source_line = String::new();
        Self { file: file.to_owned(), line: 0, column: 0, end_line: 0, end_column: 0, source_line, ..self }
    }

    /// It keeps the files from being used.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// A message as one line that doesn't repeat its place, as those of parsers do.
fn in_one_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    let line = line.strip_prefix("error: line ").and_then(|rest| rest.split_once(": ")).map_or(line, |(_, rest)| rest);
    let place = line.rfind(" at line ").filter(|at| {
        let rest = line.get(at + " at line ".len()..).unwrap_or_default();
        rest.replace(" column ", "").chars().all(|c| c.is_ascii_digit())
    });
    line.get(..place.unwrap_or(line.len())).unwrap_or(line).to_owned()
}

/// The line and the column of a byte; the end of the content for one behind it.
fn position(content: &str, byte: usize) -> Option<(usize, usize)> {
    let before = content.get(..byte.min(content.len()))?;
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
    Some((before.matches('\n').count() + 1, column))
}

/// Each fault once, by file and place.
pub fn in_order(mut faults: Vec<Fault>) -> Vec<Fault> {
    faults.sort();
    faults.dedup();
    faults
}

/// Writes the fault as compilers do: the source line, carets below the place, and the likely fix.
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        write!(f, " {}[{}]: {}", self.severity.word(), self.code.as_str(), self.message)?;
        if self.line > 0 && !self.source_line.is_empty() {
            let gutter = self.line.to_string();
            let (shown, indent, carets) = self.marked();
            write!(f, "\n  {gutter} | {shown}\n  {:width$} | {indent}{carets}", "", width = gutter.len())?;
        }
        match &self.help {
            Some(help) => write!(f, "\n  help: {help}"),
            None => Ok(()),
        }
    }
}

/// The longest line that is shown as a whole, in characters; of a longer one what is around the place.
const SHOWN_MAX: usize = 160;

impl Fault {
    /// The line as it is shown, the blanks before the carets, and the carets.
    fn marked(&self) -> (String, String, String) {
        let letters: Vec<char> = self.source_line.chars().collect();
        let start = self.column.saturating_sub(1);
        let from = if letters.len() > SHOWN_MAX { start.saturating_sub(SHOWN_MAX / 4) } else { 0 };
        let to = letters.len().min(from + SHOWN_MAX);
        let cut = |is_cut: bool| if is_cut { "…" } else { "" };
        let shown: String = letters.iter().skip(from).take(to - from.min(to)).collect();
        let shown = format!("{}{shown}{}", cut(from > 0), cut(to < letters.len()));
        let blank = |c: &char| if *c == '\t' { '\t' } else { ' ' };
        let before = letters.iter().skip(from).take(start - from).map(blank);
        let indent: String = cut(from > 0).chars().map(|_| ' ').chain(before).collect();
        let end = if self.end_line > self.line { letters.len() + 1 } else { self.end_column };
        let end = end.min(to + 1);
        (shown, indent, "^".repeat(end.saturating_sub(self.column).max(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_shows_its_line_with_carets_below_the_place() {
        let content = "a = 1\nbé = 22\n";
        let fault = Fault::at("realm.toml", content, Some(12..14), "expected a string").coded(Code::WrongType);
        assert_eq!(
            fault.to_string(),
            "realm.toml:2:6: error[wrong-type]: expected a string\n  2 | bé = 22\n    |      ^^"
        );
        assert_eq!((fault.end_line, fault.end_column), (2, 8));
    }

    #[test]
    fn a_place_of_several_lines_is_marked_to_the_end_of_the_first() {
        let fault = Fault::at("a.cedar", "permit(\n  principal);", Some(0..18), "m").coded(Code::NeverApplies);
        assert_eq!(
            fault.helped("take it out").to_string(),
            "a.cedar:1:1: warning[never-applies]: m\n  1 | permit(\n    | ^^^^^^^\n  help: take it out"
        );
    }

    #[test]
    fn of_a_long_line_only_what_is_around_the_place_is_shown() {
        let content = format!("{}wrong{}", "x".repeat(300), "y".repeat(300));
        let shown = Fault::at("a.json", &content, Some(300..305), "m").to_string();
        let lines: Vec<&str> = shown.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() < 180), "{shown}");
        let column = |line: &str, wanted: &str| line.split(wanted).next().unwrap().chars().count();
        assert_eq!(column(lines[1], "wrong"), column(lines[2], "^^^^^"), "{shown}");
    }

    #[test]
    fn a_message_of_a_parser_is_one_line_without_its_place() {
        for (message, expected) in [
            ("error: line 12 column 4: did not find '-'\n  --> <input>:12:4", "did not find '-'"),
            ("expected value at line 2 column 6", "expected value"),
            ("stands at line ends", "stands at line ends"),
        ] {
            assert_eq!(Fault::in_file("a", message).message, expected);
        }
    }

    #[test]
    fn a_fault_without_a_place_names_the_file() {
        let fault = Fault::in_file("grants.json", "is missing");
        assert_eq!(fault.to_string(), "grants.json: error[data-file]: is missing");
        assert_eq!(Fault::at("x", "", None, "m").line, 0);
        assert_eq!(Fault::at("x", "ab", Some(9..9), "m").line, 1);
    }

    #[test]
    fn a_name_that_is_near_to_an_expected_one_is_asked_about() {
        let fault = Fault::in_file("realm.toml", "unknown key `titel`, expected one of principal, title");
        assert_eq!(fault.help.as_deref(), Some("did you mean `title`?"));
    }

    #[test]
    fn faults_come_by_place_and_each_once() {
        let fault = |line: usize, message: &str| Fault { line, ..Fault::in_file("a", message) };
        let faults = in_order(vec![fault(10, "x"), fault(2, "y"), fault(10, "x")]);
        assert_eq!(faults.iter().map(|fault| fault.line).collect::<Vec<_>>(), [2, 10]);
    }
}
