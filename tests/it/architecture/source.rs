//! Reads Rust source far enough to know which paths it names, at which line, and what of it is test code.
//!
//! Comments, texts and lifetimes name nothing. `use` trees are spread out, `self` and `super` are resolved against the
//! module they stand in, inline modules included. Names that a macro puts together are not seen.

use std::ops::Range;

/// What a source file names.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// The paths of two and more segments, and all of `use` and `extern crate`.
    pub(super) paths: Vec<NamedPath>,
    /// Every word of the source with its line; those of test code left out.
    pub(super) words: Vec<(usize, String)>,
    /// The modules that are for tests and have a file of their own.
    pub(super) test_modules: Vec<Vec<String>>,
    /// How many lines are not for tests.
    pub(super) lines_without_tests: usize,
}

/// A path that a source file names.
#[derive(Debug)]
pub(super) struct NamedPath {
    pub(super) line: usize,
    pub(super) path: Path,
    pub(super) is_test: bool,
}

/// Where a path leads.
#[derive(Debug)]
pub(super) enum Path {
    /// Into our own package; the segments after `crate`.
    Ours(Vec<String>),
    /// To another package, or to a name in scope.
    Other(Vec<String>),
}

/// What a module names whose file is not where its name says.
pub(super) const ELSEWHERE: &str = "#[path]";

/// Reads a file that is the module `module` of this package, for example `domain`, `graph`.
pub(super) fn read(module: &[String], text: &str) -> Source {
    let tokens = tokens(text);
    let tests = test_ranges(&tokens);
    let test_lines: usize = tests.iter().map(|range| lines_of(&tokens, range)).sum();
    let found = Source {
        lines_without_tests: text.lines().count().saturating_sub(test_lines),
        words: words(&tokens, &tests),
        ..Source::default()
    };
    let mut reader = Reader { tokens, tests, at: 0, depth: 0, modules: vec![], file: module.to_vec(), found };
    while reader.at < reader.tokens.len() {
        reader.step();
    }
    reader.found
}

fn words(tokens: &[Token], tests: &[Range<usize>]) -> Vec<(usize, String)> {
    let outside = |index: &usize| !tests.iter().any(|range| range.contains(index));
    let words = tokens.iter().enumerate().filter(|(index, token)| token.is_word() && outside(index));
    words.map(|(_, token)| (token.line, token.text.clone())).collect()
}

fn lines_of(tokens: &[Token], range: &Range<usize>) -> usize {
    match (tokens.get(range.start), tokens.get(range.end.saturating_sub(1))) {
        (Some(first), Some(last)) => last.line + 1 - first.line,
        _ => 0,
    }
}

/// A word (a number counts as one), `::`, or one other character.
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_word(&self) -> bool {
        self.text.starts_with(is_word_character)
    }
}

fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn tokens(text: &str) -> Vec<Token> {
    let mut tokens: Vec<Token> = Vec::new();
    let (mut rest, mut line) = (text, 1);
    while let Some(first) = rest.chars().next() {
        let (length, is_token) = next_token(rest, first);
        let (token, after) = rest.split_at(length);
        if is_token {
            tokens.push(Token { line, text: token.trim_start_matches("r#").to_owned() });
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// How many bytes belong together at the start of `rest`, and whether they are a token that can be part of a path.
fn next_token(rest: &str, first: char) -> (usize, bool) {
    if let Some(length) = comment(rest).or_else(|| literal(rest)) {
        return (length, false);
    }
    if rest.starts_with("::") {
        return (2, true);
    }
    let raw = if rest.starts_with("r#") { 2 } else { 0 };
    let word = rest.chars().skip(raw).take_while(|c| is_word_character(*c)).map(char::len_utf8).sum::<usize>();
    if word > 0 { (raw + word, true) } else { (first.len_utf8(), !first.is_whitespace()) }
}

fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0_usize, 0);
    while at < rest.len() {
        let (step, change) = match rest.as_bytes().get(at..at + 2) {
            Some(b"/*") => (2, 1),
            Some(b"*/") => (2, -1),
            _ => (1, 0),
        };
        at += step;
        depth = depth.saturating_add_signed(change);
        if depth == 0 {
            break;
        }
    }
    Some(at)
}

/// The length of a text, a character or a lifetime.
fn literal(rest: &str) -> Option<usize> {
    let unprefixed = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = rest.len() - unprefixed.len();
    let hashes = unprefixed.len() - unprefixed.trim_start_matches('#').len();
    let is_raw = rest.get(..prefix).is_some_and(|prefix| prefix.ends_with('r'));
    if prefix <= 2 && is_raw && unprefixed.trim_start_matches('#').starts_with('"') {
        let start = prefix + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        return Some(rest.get(start..)?.find(&end).map_or(rest.len(), |found| start + found + end.len()));
    }
    if prefix <= 1 && unprefixed.starts_with('"') {
        return Some(prefix + closing(unprefixed, '"'));
    }
    if prefix <= 1 && unprefixed.starts_with('\'') {
        let mut characters = unprefixed.chars().skip(1);
        let is_character = characters.next() == Some('\\') || characters.next() == Some('\'');
        let lifetime = || 1 + unprefixed.chars().skip(1).take_while(|c| is_word_character(*c)).count();
        return Some(prefix + if is_character { closing(unprefixed, '\'') } else { lifetime() });
    }
    None
}

/// The length of a quoted text with its quotes; a backslash takes the next character along.
fn closing(quoted: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, character) in quoted.char_indices().skip(1) {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            _ if character == quote => return at + quote.len_utf8(),
            _ => {}
        }
    }
    quoted.len()
}

/// The tokens of all items under `#[cfg(test)]`, that attribute included.
fn test_ranges(tokens: &[Token]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for start in 0..tokens.len() {
        if ranges.last().is_some_and(|range| range.contains(&start)) {
            continue;
        }
        if starts_with(tokens, start, &["#", "!", "["]) && is_cfg_test(tokens, start + 3) {
            return vec![Range { start: 0, end: tokens.len() }];
        }
        if starts_with(tokens, start, &["#", "["]) && is_cfg_test(tokens, start + 2) {
            ranges.push(start..end_of_item(tokens, start));
        }
    }
    ranges
}

fn starts_with(tokens: &[Token], at: usize, texts: &[&str]) -> bool {
    let found = tokens.iter().skip(at).map(|token| token.text.as_str());
    found.take(texts.len()).eq(texts.iter().copied())
}

fn is_cfg_test(tokens: &[Token], at: usize) -> bool {
    let attribute = || tokens.iter().skip(at).map(|token| token.text.as_str()).take_while(|text| *text != "]");
    attribute().next() == Some("cfg")
        && attribute().any(|text| text == "test")
        && !attribute().any(|text| text == "not")
}

/// One past the item that the attribute at `start` belongs to, further attributes passed over.
fn end_of_item(tokens: &[Token], start: usize) -> usize {
    const OF_LISTS: [&str; 2] = [",", "=>"];
    let (mut depth, mut is_item, mut at) = (0_usize, false, start);
    while let Some(token) = tokens.get(at) {
        let is_attribute = depth == 0 && starts_with(tokens, at, &["#", "["]);
        match token.text.as_str() {
            "#" if is_attribute => at = matching(tokens, at + 1),
            "(" | "[" | "{" => depth += 1,
            "}" if depth == 1 => return at + 1,
            ")" | "]" | "}" if depth == 0 => return at,
            ")" | "]" | "}" => depth -= 1,
            ";" if depth == 0 => return at + 1,
            text if depth == 0 && !is_item && OF_LISTS.contains(&text) => return at + 1,
            "mod" | "fn" | "use" | "impl" | "struct" | "enum" | "const" | "static" | "type" | "trait" => is_item = true,
            _ => {}
        }
        at += 1;
    }
    at
}

/// The place of the bracket that closes the one at `open`.
fn matching(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "[" => depth += 1,
            "]" if depth == 1 => return at,
            "]" => depth -= 1,
            _ => {}
        }
    }
    tokens.len()
}

struct Reader {
    tokens: Vec<Token>,
    tests: Vec<Range<usize>>,
    at: usize,
    /// How many braces are open.
    depth: usize,
    /// The inline modules around this place, each with the depth inside of it.
    modules: Vec<(String, usize)>,
    /// The module that the file is.
    file: Vec<String>,
    found: Source,
}

impl Reader {
    /// Reads one token, or all tokens of one path.
    fn step(&mut self) {
        match self.text(self.at) {
            "{" => self.depth += 1,
            "}" => {
                self.depth = self.depth.saturating_sub(1);
                self.modules.pop_if(|(_, depth)| *depth > self.depth);
            }
            "mod" if self.is_word(self.at + 1) => self.module(),
            "use" if self.text(self.at + 1) != "<" => {
                self.at += 1;
                self.tree(&[]);
                return;
            }
            "extern" if self.text(self.at + 1) == "crate" => {
                let name = self.text(self.at + 2).to_owned();
                self.name(self.at, vec![name]);
            }
            "#" if starts_with(&self.tokens, self.at, &["#", "[", "path", "="]) => {
                self.name(self.at, vec![ELSEWHERE.to_owned()]);
            }
            _ => return self.path(),
        }
        self.at += 1;
    }

    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    fn is_word(&self, at: usize) -> bool {
        self.tokens.get(at).is_some_and(Token::is_word)
    }

    fn module(&mut self) {
        let name = self.text(self.at + 1).to_owned();
        match self.text(self.at + 2) {
            "{" => self.modules.push((name, self.depth + 1)),
            ";" if self.is_test(self.at) => {
                let mut path = self.here();
                path.push(name);
                self.found.test_modules.push(path);
            }
            _ => {}
        }
    }

    /// A path in code; one that starts with `::` leads out of the package.
    fn path(&mut self) {
        let start = self.at;
        let is_absolute =
            self.text(start) == "::" && self.is_word(start + 1) && !matches!(self.before(start), ">" | "_");
        self.at += 1;
        if !is_absolute && !self.is_word(start) {
            return;
        }
        let mut segments = vec![self.text(if is_absolute { start + 1 } else { start }).to_owned()];
        self.at += usize::from(is_absolute);
        while self.text(self.at) == "::" && self.is_word(self.at + 1) {
            segments.push(self.text(self.at + 1).to_owned());
            self.at += 2;
        }
        if is_absolute || segments.len() > 1 {
            self.name(start, segments);
        }
    }

    /// What stands before a place, `_` for any word.
    fn before(&self, at: usize) -> &str {
        match at.checked_sub(1) {
            Some(before) if self.is_word(before) => "_",
            Some(before) => self.text(before),
            None => "",
        }
    }

    /// A tree of `use`, up to and without the `,`, `}` or `;` behind it.
    fn tree(&mut self, prefix: &[String]) {
        let mut segments = prefix.to_vec();
        let start = self.at;
        while self.at < self.tokens.len() {
            match self.text(self.at) {
                "{" => {
                    self.branches(&segments);
                    return;
                }
                "as" => self.at += 1,
                "," | "}" | ";" => break,
                "::" => {}
                segment => segments.push(segment.to_owned()),
            }
            self.at += 1;
        }
        self.name(start, segments);
    }

    fn branches(&mut self, prefix: &[String]) {
        self.at += 1;
        while self.at < self.tokens.len() && self.text(self.at) != "}" {
            if self.text(self.at) == "," {
                self.at += 1;
            } else {
                self.tree(prefix);
            }
        }
        self.at += 1;
    }

    fn is_test(&self, at: usize) -> bool {
        self.tests.iter().any(|range| range.contains(&at))
    }

    fn here(&self) -> Vec<String> {
        self.file.iter().chain(self.modules.iter().map(|(name, _)| name)).cloned().collect()
    }

    fn name(&mut self, at: usize, mut segments: Vec<String>) {
        segments.pop_if(|segment| segment == "self");
        let Some(token) = self.tokens.get(at) else { return };
        let named = NamedPath { line: token.line, path: self.resolve(&segments), is_test: self.is_test(at) };
        self.found.paths.push(named);
    }

    fn resolve(&self, segments: &[String]) -> Path {
        let mut base = self.here();
        let mut rest = segments;
        match rest.first().map(String::as_str) {
            Some("crate" | "hallpass") => base.clear(),
            Some("self") => {}
            Some("super") => {
                base.pop();
            }
            _ => return Path::Other(segments.to_vec()),
        }
        while let Some((_, after)) = rest.split_first() {
            rest = after;
            if rest.first().is_none_or(|segment| segment != "super") {
                break;
            }
            base.pop();
        }
        Path::Ours(base.into_iter().chain(rest.iter().cloned()).collect())
    }
}
