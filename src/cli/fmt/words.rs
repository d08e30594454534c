//! The words of one policy as they are set: comments among them, signs that belong together as one, and where the author
//! began a line.

use crate::domain::policy_text::{Kind, Token, tokens};

/// Signs of two characters.
const PAIRS: [&str; 7] = ["::", "&&", "||", "==", "!=", "<=", ">="];
/// Words behind which a bracket is no call, and none that takes something out.
const KEYWORDS: [&str; 8] = ["if", "then", "else", "in", "is", "has", "like", "when"];

/// A word, a sign or a comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Word<'t> {
    pub(super) text: &'t str,
    pub(super) kind: Kind,
    pub(super) is_comment: bool,
    /// It is the first of its line.
    pub(super) is_first: bool,
    /// A blank line stands before it.
    pub(super) is_set_off: bool,
    /// The bracket around it, by its place among the words.
    pub(super) inside: Option<usize>,
    /// The other bracket of the two, for a bracket that opens or closes.
    pub(super) other: Option<usize>,
    /// How many brackets are around it.
    pub(super) level: usize,
}

impl Word<'_> {
    /// It opens a bracket.
    pub(super) fn opens(&self) -> bool {
        !self.is_comment && matches!(self.text, "(" | "[" | "{")
    }

    /// It closes a bracket.
    pub(super) fn closes(&self) -> bool {
        !self.is_comment && matches!(self.text, ")" | "]" | "}")
    }

    /// Its length in characters.
    pub(super) fn width(&self) -> usize {
        self.text.chars().count()
    }

    /// A value ends here: what follows takes something out of it, or calls it.
    fn is_value(&self) -> bool {
        match self.kind {
            Kind::Word => !KEYWORDS.contains(&self.text),
            Kind::Text => true,
            Kind::Sign => self.text == ")" || self.text == "]",
        }
    }
}

/// The words of a policy in their order.
pub(super) fn words(policy: &str) -> Vec<Word<'_>> {
    let mut found = Vec::new();
    let mut end = 0;
    let tokens = tokens(policy);
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        push_comments(&mut found, policy.get(end..token.span.start).unwrap_or_default());
        let pair = tokens.get(at + 1).and_then(|next| pair(policy, token, next));
        let text = pair.unwrap_or(token.text);
        let gap = last_gap(policy.get(end..token.span.start).unwrap_or_default());
        found.push(word(text, token.kind, gap));
        end = token.span.start + text.len();
        at += if pair.is_some() { 2 } else { 1 };
    }
    push_comments(&mut found, policy.get(end..).unwrap_or_default());
    nest(&mut found);
    found
}

fn pair<'t>(policy: &'t str, one: &Token<'_>, next: &Token<'_>) -> Option<&'t str> {
    let text = policy.get(one.span.start..next.span.end)?;
    (one.kind == Kind::Sign && PAIRS.contains(&text)).then_some(text)
}

/// Blanks and comments that stand between two words: the comments.
fn push_comments<'t>(found: &mut Vec<Word<'t>>, gap: &'t str) {
    let mut blanks = 0;
    for (index, line) in gap.split('\n').enumerate() {
        let line = line.trim();
        if line.is_empty() {
            blanks += usize::from(index > 0);
            continue;
        }
        let before = if index == 0 { 0 } else { blanks + 1 };
        found.push(Word { is_comment: true, ..word(line, Kind::Sign, before) });
        blanks = 0;
    }
}

/// How many lines end between the last comment of a gap and its end.
fn last_gap(gap: &str) -> usize {
    gap.split('\n').rev().position(|line| !line.trim().is_empty()).unwrap_or_else(|| gap.matches('\n').count())
}

fn word(text: &str, kind: Kind, line_ends_before: usize) -> Word<'_> {
    Word {
        text,
        kind,
        is_comment: false,
        is_first: line_ends_before > 0,
        is_set_off: line_ends_before > 1,
        inside: None,
        other: None,
        level: 0,
    }
}

/// Says of each word which bracket is around it, and of each bracket which is its other.
fn nest(words: &mut [Word<'_>]) {
    let mut open: Vec<usize> = Vec::new();
    let mut pairs = Vec::new();
    for (at, word) in words.iter_mut().enumerate() {
        if word.closes() {
            pairs.extend(open.pop().map(|opener| (opener, at)));
        }
        (word.inside, word.level) = (open.last().copied(), open.len());
        if word.opens() {
            open.push(at);
        }
    }
    for (opener, closer) in pairs {
        let ends = [(opener, closer), (closer, opener)];
        for (at, other) in ends {
            if let Some(word) = words.get_mut(at) {
                word.other = Some(other);
            }
        }
    }
}

/// Whether a blank stands between two words of a line, the first of which may have one before it.
pub(super) fn is_apart(before: Option<&Word<'_>>, one: &Word<'_>, next: &Word<'_>) -> bool {
    if next.is_comment {
        return true;
    }
    let is_unary = one.text == "-" && before.is_none_or(|before| !before.is_value());
    let is_effect = one.level == 0 && matches!(one.text, "permit" | "forbid");
    match (one.text, next.text) {
        ("{", "}") | ("(" | "[" | "." | "::" | "@" | "!" | "?", _) | (_, ")" | "]" | "," | ";" | "." | "::" | ":") => {
            false
        }
        (_, "(") if one.level == 0 => is_effect && before.is_none_or(|before| before.text != "@"),
        (_, "(" | "[") => !one.is_value(),
        _ => !is_unary,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_lines_are_kept_with_the_words() {
        let words = words("a&&b // c\n\n  // d\n[ e ]\n\n::f");
        let shown: Vec<_> = words.iter().map(|word| (word.text, word.is_first, word.is_set_off, word.level)).collect();
        assert_eq!(
            shown,
            [
                ("a", false, false, 0),
                ("&&", false, false, 0),
                ("b", false, false, 0),
                ("// c", false, false, 0),
                ("// d", true, true, 0),
                ("[", true, false, 0),
                ("e", false, false, 1),
                ("]", false, false, 0),
                ("::", true, true, 0),
                ("f", false, false, 0),
            ]
        );
        assert_eq!((words[5].other, words[6].inside, words[7].other), (Some(7), Some(5), Some(5)));
    }

    #[test]
    fn blanks_stand_where_they_are_read() {
        for (text, expected) in [
            ("permit(principal)", "permit (principal)"),
            ("@permit(\"a\")", "@permit(\"a\")"),
            ("{a.b(c)!=d::\"e\"}", "{ a.b(c) != d::\"e\" }"),
            ("{if(a)then[b].c([d])else !e}", "{ if (a) then [b].c([d]) else !e }"),
            ("{a-b< -c&&-d*{}.e}", "{ a - b < -c && -d * {}.e }"),
            ("{x:1,\"y\" :a[\"b\"]}", "{ x: 1, \"y\": a[\"b\"] }"),
            ("{a in[b]||c has d}", "{ a in [b] || c has d }"),
        ] {
            let words = words(text);
            let mut set = String::new();
            for (at, word) in words.iter().enumerate() {
                let before = at.checked_sub(2).map(|at| &words[at]);
                let one = at.checked_sub(1).map(|at| &words[at]);
                set.push_str(if one.is_some_and(|one| is_apart(before, one, word)) { " " } else { "" });
                set.push_str(word.text);
            }
            assert_eq!(set, expected);
        }
    }
}
