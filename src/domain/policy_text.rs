//! The words of policies with their places, for whoever changes or sets the text of policies.

use std::ops::Range;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `"a"`, with the quotes.
    Text,
    /// A name, a keyword or a number.
    Word,
    /// One character of anything else.
    Sign,
}

/// A token of Cedar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token<'t> {
    /// What it is.
    pub(crate) kind: Kind,
    /// As it is written.
    pub(crate) text: &'t str,
    /// Where it stands, in bytes.
    pub(crate) span: Range<usize>,
}

/// The tokens of a text; comments and blanks are left out. Signs stand alone, so that `::` is two.
pub(crate) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut rest = text.char_indices().peekable();
    while let Some((start, first)) = rest.next() {
        if first.is_whitespace() {
            continue;
        }
        let mut end = start + first.len_utf8();
        let kind = if first == '"' {
            let mut is_escaped = false;
            for (at, c) in rest.by_ref() {
                end = at + c.len_utf8();
                if c == '"' && !is_escaped {
                    break;
                }
                is_escaped = c == '\\' && !is_escaped;
            }
            Kind::Text
        } else if first == '/' && rest.peek().is_some_and(|(_, c)| *c == '/') {
            while rest.next_if(|(_, c)| *c != '\n').is_some() {}
            continue;
        } else if is_of_word(first) {
            while let Some((at, c)) = rest.next_if(|(_, c)| is_of_word(*c)) {
                end = at + c.len_utf8();
            }
            Kind::Word
        } else {
            Kind::Sign
        };
        found.extend(text.get(start..end).map(|text| Token { kind, text, span: start..end }));
    }
    found
}

/// A part of a policy on one line, without its comments.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    let mut end = 0;
    for token in tokens(text) {
        let is_apart = token.span.start > end && !line.is_empty();
        let is_close = line.ends_with(['(', '[']) || matches!(token.text, ")" | "]" | ".");
        line.push_str(if is_apart && !is_close { " " } else { "" });
        line.push_str(token.text);
        end = token.span.end;
    }
    line
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_over_several_lines_is_read_on_one() {
        for (text, expected) in [
            ("a &&\n    b // why\n  && c", "a && b && c"),
            (
                "x && (\n    [\n  N::\"a\",\n N::\"b\"\n    ]\n    .contains(y)\n)",
                "x && ([N::\"a\", N::\"b\"].contains(y))",
            ),
            ("a == \"( b  // c\" => d", "a == \"( b  // c\" => d"),
            ("", ""),
        ] {
            assert_eq!(on_one_line(text), expected);
        }
    }
}
