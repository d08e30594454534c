//! Data of a few tables in plain SQL: `COPY … FROM stdin` and `INSERT` of literal values.

use std::{collections::HashMap, iter::Peekable, str::CharIndices, sync::Arc};

use crate::domain::{fault::Fault, policy_set::SourceFile};

/// The tables that hold claim sets, as they are written; case doesn't count.
const TABLES: [&str; 8] = [
    "Actions",
    "AuthorizationStrategies",
    "ClaimSets",
    "ResourceClaims",
    "ResourceClaimActions",
    "ResourceClaimActionAuthorizationStrategies",
    "ClaimSetResourceClaimActions",
    "ClaimSetResourceClaimActionAuthorizationStrategyOverrides",
];

/// The most faults of one file; a file of another kind would have one on every line.
const FAULTS_MAX: usize = 20;

/// The rows of the tables by name.
#[derive(Debug, Default)]
pub(super) struct Tables(HashMap<&'static str, Vec<Row>>);

/// A row with its place.
#[derive(Debug)]
pub(super) struct Row {
    file: Arc<str>,
    line: usize,
    table: &'static str,
    columns: Arc<[String]>,
    values: Vec<Option<Arc<str>>>,
}

impl Row {
    /// The value of a column, if there is one that isn't NULL.
    pub(super) fn value(&self, column: &str) -> Option<&Arc<str>> {
        let place = self.columns.iter().position(|name| name.eq_ignore_ascii_case(column))?;
        self.values.get(place)?.as_ref()
    }

    /// A fault at this row.
    pub(super) fn fault(&self, message: &str) -> Fault {
        at_line(&self.file, self.line, &format!("dbo.{}: {message}", self.table))
    }
}

fn at_line(file: &str, line: usize, message: &str) -> Fault {
    Fault::in_file(file, format!("line {line}: {message}"))
}

/// `dbo.resourceclaims (resourceclaimid, claimname)`.
struct Target {
    /// `None` for tables that don't matter.
    table: Option<&'static str>,
    columns: Option<Arc<[String]>>,
}

impl Tables {
    /// The rows of a table; `None` when no file speaks of it.
    pub(super) fn rows(&self, table: &str) -> Option<&[Row]> {
        self.0.get(table).map(Vec::as_slice)
    }

    /// Takes in a file and says what is wrong with it.
    pub(super) fn read(&mut self, file: &SourceFile) -> Vec<Fault> {
        let mut reader =
            Reader { text: Scanner::new(&file.content), file: file.path.as_str().into(), faults: Vec::new() };
        while !reader.text.is_at_end() && reader.faults.len() < FAULTS_MAX {
            if reader.text.takes_word("COPY") {
                reader.copy(self);
            } else if reader.text.takes_word("INSERT") {
                reader.insert(self);
            } else {
                reader.text.skip_statement();
            }
        }
        reader.faults
    }
}

struct Reader<'a> {
    text: Scanner<'a>,
    file: Arc<str>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn fault(&mut self, line: usize, message: &str) {
        self.faults.push(at_line(&self.file, line, message));
    }

    fn target(&mut self) -> Target {
        let mut parts = vec![self.text.name()];
        while self.text.takes('.') {
            parts.push(self.text.name());
        }
        let name = parts.pop().unwrap_or_default();
        let is_ours = parts.last().is_none_or(|schema| schema.eq_ignore_ascii_case("dbo"));
        let table = TABLES.into_iter().find(|table| is_ours && table.eq_ignore_ascii_case(&name));
        let columns = self.text.takes('(').then(|| {
            let mut columns = vec![self.text.name()];
            while self.text.takes(',') {
                columns.push(self.text.name());
            }
            self.text.takes(')');
            columns.into()
        });
        Target { table, columns }
    }

    /// `COPY name (columns) FROM stdin;` and lines of values with tabs between them, up to `\.`.
    fn copy(&mut self, tables: &mut Tables) {
        let line = self.text.line;
        let target = self.target();
        let from_stdin = self.text.takes_word("FROM") && self.text.takes_word("stdin");
        let (Some(table), Some(columns)) = (target.table, target.columns) else {
            self.text.skip_line();
            if from_stdin {
                while self.text.line_of_copy().is_some() {}
            }
            if target.table.is_some() {
                self.fault(line, "`COPY` without column names or from elsewhere, expected the output of pg_dump");
            }
            return;
        };
        self.text.skip_line();
        let rows = tables.0.entry(table).or_default();
        while let Some((line, values)) = self.text.line_of_copy() {
            let values: Vec<_> = values.split('\t').map(unescaped).collect();
            if values.len() != columns.len() {
                let message = format!("dbo.{table}: {} values for {} columns", values.len(), columns.len());
                self.faults.push(at_line(&self.file, line, &message));
                continue;
            }
            rows.push(Row { file: Arc::clone(&self.file), line, table, columns: Arc::clone(&columns), values });
        }
    }

    /// `INSERT INTO name (columns) VALUES (…), (…);`
    fn insert(&mut self, tables: &mut Tables) {
        let line = self.text.line;
        self.text.takes_word("INTO");
        let Target { table, columns } = self.target();
        let Some(table) = table else { return self.text.skip_statement() };
        let Some(columns) = columns else {
            self.fault(line, &format!("dbo.{table}: `INSERT` without column names; export with `--column-inserts`"));
            return self.text.skip_statement();
        };
        if self.text.takes_word("OVERRIDING") {
            let _system = self.text.takes_word("SYSTEM") && self.text.takes_word("VALUE");
        }
        let mut is_literal = self.text.takes_word("VALUES");
        let rows = tables.0.entry(table).or_default();
        while is_literal && self.text.takes('(') {
            let line = self.text.line;
            let mut values = vec![self.text.literal()];
            while self.text.takes(',') {
                values.push(self.text.literal());
            }
            is_literal = self.text.takes(')') && values.iter().all(Option::is_some);
            if is_literal && values.len() != columns.len() {
                let message = format!("dbo.{table}: {} values for {} columns", values.len(), columns.len());
                self.faults.push(at_line(&self.file, line, &message));
            } else if is_literal {
                let values = values.into_iter().flatten().collect();
                rows.push(Row { file: Arc::clone(&self.file), line, table, columns: Arc::clone(&columns), values });
            }
            if !self.text.takes(',') {
                break;
            }
        }
        if !is_literal {
            let message = format!(
                "dbo.{table}: `INSERT` of values that are no literals; this is a script to be run, export the database that it was run on"
            );
            self.fault(line, &message);
            self.text.skip_statement();
        }
    }
}

/// A value of COPY's text form; `\N` is NULL.
fn unescaped(value: &str) -> Option<Arc<str>> {
    if value == "\\N" {
        return None;
    }
    let mut text = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        let c = if c == '\\' {
            chars.next().map_or('\\', |escaped| match escaped {
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other => other,
            })
        } else {
            c
        };
        text.push(c);
    }
    Some(text.into())
}

/// Reads SQL word by word; blanks and comments between words don't count.
struct Scanner<'a> {
    content: &'a str,
    chars: Peekable<CharIndices<'a>>,
    line: usize,
}

impl<'a> Scanner<'a> {
    fn new(content: &'a str) -> Self {
        let content = content.trim_start_matches('\u{feff}');
        Self { content, chars: content.char_indices().peekable(), line: 1 }
    }

    fn rest(&mut self) -> &'a str {
        let start = self.chars.peek().map_or(self.content.len(), |(start, _)| *start);
        self.content.get(start..).unwrap_or_default()
    }

    fn step(&mut self) -> Option<char> {
        let (_, c) = self.chars.next()?;
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn skip(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            if rest.starts_with("--") {
                self.skip_line();
            } else if rest.starts_with("/*") {
                self.skip(
                    rest.find("*/")
                        .map_or(rest.chars().count(), |end| rest.get(..end).unwrap_or_default().chars().count() + 2),
                );
            } else if rest.starts_with(char::is_whitespace) {
                self.step();
            } else {
                return;
            }
        }
    }

    fn is_at_end(&mut self) -> bool {
        self.blanks();
        self.rest().is_empty()
    }

    fn takes(&mut self, sign: char) -> bool {
        self.blanks();
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.step();
        }
        is_next
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.blanks();
        let rest = self.rest();
        let (start, end) = (rest.get(..word.len()), rest.get(word.len()..).unwrap_or_default());
        let is_next = start.is_some_and(|start| start.eq_ignore_ascii_case(word)) && !end.starts_with(is_word);
        if is_next {
            self.skip(word.chars().count());
        }
        is_next
    }

    /// A name, plain, in double quotes, or in brackets.
    fn name(&mut self) -> String {
        self.blanks();
        let closing = match self.rest().chars().next() {
            Some('"') => Some('"'),
            Some('[') => Some(']'),
            _ => None,
        };
        let mut name = String::new();
        if let Some(closing) = closing {
            self.step();
            while let Some(c) = self.step().filter(|c| *c != closing) {
                name.push(c);
            }
        } else {
            while self.rest().starts_with(is_word) {
                name.extend(self.step());
            }
        }
        name
    }

    /// A literal: `Some(None)` is NULL, `None` is something else.
    #[expect(clippy::option_option, reason = "a literal may be NULL, and a value may be no literal")]
    fn literal(&mut self) -> Option<Option<Arc<str>>> {
        self.blanks();
        let rest = self.rest();
        if rest.starts_with("N'") || rest.starts_with("n'") {
            self.step();
        }
        if self.rest().starts_with('\'') {
            return self.quoted().map(Some);
        }
        let word = self.name();
        let is_number = !word.is_empty() && word.chars().all(|c| c.is_ascii_digit());
        match word.to_ascii_uppercase().as_str() {
            "NULL" => Some(None),
            "TRUE" | "FALSE" => Some(Some(word.into())),
            _ if is_number => Some(Some(word.into())),
            _ => None,
        }
    }

    fn quoted(&mut self) -> Option<Arc<str>> {
        self.step();
        let mut text = String::new();
        loop {
            match self.step()? {
                '\'' if self.rest().starts_with('\'') => text.extend(self.step()),
                '\'' => return Some(text.into()),
                c => text.push(c),
            }
        }
    }

    fn skip_line(&mut self) {
        while self.step().is_some_and(|c| c != '\n') {}
    }

    /// Goes behind the next semicolon or the end of the line, whichever comes first, outside of quotes.
    fn skip_statement(&mut self) {
        loop {
            if self.rest().starts_with('\'') {
                self.quoted();
                continue;
            }
            if self.step().is_none_or(|c| c == ';' || c == '\n') {
                return;
            }
        }
    }

    /// The next line of COPY's values with its number; `None` at the end mark.
    fn line_of_copy(&mut self) -> Option<(usize, &'a str)> {
        let (line, rest) = (self.line, self.rest());
        if rest.is_empty() {
            return None;
        }
        let text = rest.split('\n').next().unwrap_or_default();
        self.skip_line();
        let text = text.strip_suffix('\r').unwrap_or(text);
        (text != "\\.").then_some((line, text))
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '@' || c == '#' || c == '$'
}
