//! One policy in style. Where lines end is the author's, as far as they are no wider than they may be; what stands between
//! the words of a line and before the first is ours.

use super::words::{Word, is_apart, words};

/// The widest line, in characters.
const WIDTH_MAX: usize = 120;
/// By how much what stands within something is set in.
const INDENT: usize = 4;

/// The text of one policy in style.
pub(super) fn styled(policy: &str) -> String {
    let mut layout = Layout { words: words(policy) };
    layout.settle_ends();
    layout.settle_operators();
    layout.settle_brackets();
    // Each time a line more begins, so that there are no more times than words.
    for _ in 0..layout.words.len() {
        if !layout.break_wide_line() {
            break;
        }
    }
    layout.text()
}

struct Layout<'t> {
    words: Vec<Word<'t>>,
}

impl<'t> Layout<'t> {
    fn at(&self, at: usize) -> Option<&Word<'t>> {
        self.words.get(at)
    }

    /// The text of a word; none for a comment.
    fn sign(&self, at: usize) -> &str {
        self.at(at).filter(|word| !word.is_comment).map_or("", |word| word.text)
    }

    /// Lets a line begin at a word, or not, and says whether that is new. A comment stays beside what it is about.
    fn begin(&mut self, at: usize, is_first: bool) -> bool {
        let word = self.words.get_mut(at).filter(|word| !word.is_comment && word.is_first != is_first);
        let is_new = word.is_some();
        if let Some(word) = word {
            word.is_first = is_first;
        }
        is_new
    }

    /// Annotations, the effect and each condition begin a line, and whatever stands behind a comment.
    fn settle_ends(&mut self) {
        for at in 0..self.words.len() {
            let Some(word) = self.at(at) else { return };
            let before = at.checked_sub(1).and_then(|before| self.at(before));
            let is_head = matches!(word.text, "@" | "permit" | "forbid" | "when" | "unless")
                && before.is_none_or(|before| before.text != "@");
            let is_annotation = word.inside.is_some_and(|open| open >= 2 && self.sign(open - 2) == "@");
            let is_behind_comment = before.is_some_and(|before| before.is_comment);
            let is_first = match word.text {
                _ if is_behind_comment => true,
                "," | ";" => false,
                _ if is_annotation => false,
                _ if word.level == 0 => is_head,
                _ => continue,
            };
            self.begin(at, is_first);
        }
    }

    /// An operator that joins conditions ends its line.
    fn settle_operators(&mut self) {
        for at in 1..self.words.len() {
            let joins = matches!(self.sign(at), "&&" | "||");
            let is_first = self.at(at).is_some_and(|word| word.is_first);
            let is_held = [at - 1, at + 1].iter().any(|beside| self.at(*beside).is_none_or(|word| word.is_comment));
            if joins && is_first && !is_held {
                self.begin(at, false);
                self.begin(at + 1, true);
            }
        }
    }

    /// What goes on over several lines stands between its brackets; the parts of a scope stand on a line each or all on one.
    fn settle_brackets(&mut self) {
        for open in 0..self.words.len() {
            let Some(word) = self.at(open).filter(|word| word.opens()) else { continue };
            let (Some(close), level) = (word.other, word.level) else { continue };
            let mut inner = (open + 1..=close).filter_map(|at| self.at(at));
            match word.text {
                "(" if level == 0 && self.is_behind_effect(open) => {
                    let is_long = inner.any(|word| word.is_comment || word.level > 1 && word.is_first);
                    self.set_scope(open, close, is_long);
                }
                "{" if level == 0 && inner.any(|word| word.is_first) => {
                    self.set_apart(open, close);
                }
                "[" if inner.any(|word| word.inside == Some(open) && word.is_first) => {
                    self.set_apart(open, close);
                }
                _ => {}
            }
        }
    }

    fn is_behind_effect(&self, open: usize) -> bool {
        let before = (0..open).rev().find(|at| self.at(*at).is_some_and(|word| !word.is_comment));
        before.is_some_and(|at| matches!(self.sign(at), "permit" | "forbid"))
    }

    /// Lets lines begin behind a bracket that opens and at the one that closes.
    fn set_apart(&mut self, open: usize, close: usize) -> bool {
        let is_empty = close == open + 1;
        let is_new = self.begin(open + 1, !is_empty);
        self.begin(close, !is_empty) || is_new
    }

    /// Sets the parts of a scope on a line each, or all on one.
    fn set_scope(&mut self, open: usize, close: usize, is_long: bool) -> bool {
        let mut is_new = false;
        for at in open + 1..=close {
            let is_part = at == close || at == open + 1 || self.sign(at - 1) == ",";
            let is_own = self.at(at).is_some_and(|word| word.level <= 1);
            let is_held = self.at(at - 1).is_some_and(|word| word.is_comment);
            if is_own && !is_held {
                is_new |= self.begin(at, is_long && is_part);
            }
        }
        is_new
    }

    /// Where lines begin and end, by words.
    fn lines(&self) -> Vec<(usize, usize)> {
        let firsts = (1..self.words.len()).filter(|at| self.at(*at).is_some_and(|word| word.is_first));
        let starts: Vec<usize> = std::iter::once(0).chain(firsts).collect();
        let ends = starts.iter().skip(1).copied().chain([self.words.len()]);
        starts.iter().copied().zip(ends).collect()
    }

    /// By how much the line is set in that begins with a word, where the lines above it are set in as is said.
    fn indent(&self, start: usize, above: &[(usize, usize)]) -> usize {
        let Some(word) = self.at(start) else { return 0 };
        let of_line = |at: usize| above.iter().rfind(|(first, _)| *first <= at).map_or(0, |(_, indent)| *indent);
        if word.closes() {
            return word.other.map_or(0, of_line);
        }
        let Some(open) = word.inside else { return 0 };
        of_line(open) + INDENT + if self.goes_on(start, open) { INDENT } else { 0 }
    }

    /// The line that begins with a word goes on with what the line before it began.
    fn goes_on(&self, start: usize, open: usize) -> bool {
        let before = (open + 1..start).rev().filter_map(|at| self.at(at)).find(|word| !word.is_comment);
        let Some(before) = before else { return false };
        let joint = Some(self.sign(start)).filter(|sign| matches!(*sign, "&&" | "||")).unwrap_or(before.text);
        match joint {
            "&&" => self.words.iter().any(|word| word.inside == Some(open) && word.text == "||"),
            "||" | "," => false,
            _ => !matches!(self.sign(start), "then" | "else"),
        }
    }

    /// The lines with how far they are set in.
    fn indented(&self) -> Vec<(usize, usize, usize)> {
        let mut above: Vec<(usize, usize)> = Vec::new();
        let mut lines = Vec::new();
        for (start, end) in self.lines() {
            let indent = self.indent(start, &above);
            above.push((start, indent));
            lines.push((start, end, indent));
        }
        lines
    }

    fn is_apart(&self, at: usize) -> bool {
        let before = at.checked_sub(2).and_then(|at| self.at(at));
        let one = at.checked_sub(1).and_then(|at| self.at(at));
        one.zip(self.at(at)).is_some_and(|(one, next)| is_apart(before, one, next))
    }

    /// The width of the words of a line up to one of them.
    fn width(&self, start: usize, end: usize) -> usize {
        let apart = (start + 1..end).filter(|at| self.is_apart(*at)).count();
        let words = self.words.get(start..end).unwrap_or_default();
        // A comment makes no line too wide: it can't be broken.
        apart + words.iter().filter(|word| !word.is_comment).map(Word::width).sum::<usize>()
    }

    /// Breaks the first line that is too wide and can be broken.
    fn break_wide_line(&mut self) -> bool {
        let wide =
            self.indented().into_iter().filter(|(start, end, indent)| indent + self.width(*start, *end) > WIDTH_MAX);
        let wide: Vec<_> = wide.collect();
        wide.into_iter().any(|(start, end, indent)| self.break_line(start, end, indent))
    }

    /// Breaks a line where it binds least.
    fn break_line(&mut self, start: usize, end: usize, indent: usize) -> bool {
        let inner: Vec<usize> = (start + 1..end.saturating_sub(1)).collect();
        if let Some(open) = (start..end.saturating_sub(1)).find(|at| self.sign(*at) == "{" && self.is_condition(*at)) {
            let close = self.at(open).and_then(|word| word.other).unwrap_or(end);
            return self.set_apart(open, close);
        }
        let mut levels: Vec<usize> = inner.iter().filter_map(|at| self.at(*at)).map(|word| word.level).collect();
        levels.sort_unstable();
        levels.dedup();
        levels.into_iter().any(|level| {
            let own: Vec<usize> =
                inner.iter().copied().filter(|at| self.at(*at).is_some_and(|word| word.level == level)).collect();
            self.break_level(start, &own, indent)
        })
    }

    fn is_condition(&self, open: usize) -> bool {
        self.at(open).is_some_and(|word| word.level == 0)
    }

    /// Breaks a line that begins at a word at some of its words of one level.
    fn break_level(&mut self, start: usize, own: &[usize], indent: usize) -> bool {
        let found = |layout: &Self, text: &str| -> Vec<usize> {
            own.iter().copied().filter(|at| layout.sign(*at) == text).collect()
        };
        let commas = found(self, ",");
        let list = commas.first().and_then(|at| self.at(*at)?.inside).filter(|open| *open >= start);
        if let Some((open, close)) = list.and_then(|open| Some((open, self.at(open)?.other?))) {
            let is_scope = self.is_condition(open);
            return if is_scope { self.set_scope(open, close, true) } else { self.set_apart(open, close) };
        }
        if !commas.is_empty() {
            return self.fill(start, &commas, indent);
        }
        if let Some(at) = ["else", "then"].iter().find_map(|word| found(self, word).last().copied()) {
            return self.begin(at, true);
        }
        let (alternatives, all) = (found(self, "||"), found(self, "&&"));
        if alternatives.is_empty() || all.is_empty() {
            return self.fill(start, if all.is_empty() { &alternatives } else { &all }, indent);
        }
        alternatives.iter().filter(|at| self.begin(**at + 1, true)).count() > 0
    }

    /// Breaks behind the last of these words up to which the line is not too wide.
    fn fill(&mut self, start: usize, behind: &[usize], indent: usize) -> bool {
        let fits = |at: &&usize| indent + self.width(start, **at + 1) <= WIDTH_MAX;
        let (fitting, wide): (Vec<&usize>, Vec<&usize>) = behind.iter().partition(fits);
        fitting.into_iter().rev().chain(wide).any(|at| self.begin(at + 1, true))
    }

    fn text(&self) -> String {
        let mut text = String::new();
        for (start, end, indent) in self.indented() {
            let is_set_off = self
                .at(start)
                .is_some_and(|word| word.is_set_off && !word.closes() && (word.level > 0 || word.is_comment));
            let is_first_inside = start > 0 && self.at(start - 1).is_some_and(Word::opens);
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(if is_set_off && !is_first_inside && start > 0 { "\n" } else { "" });
            text.extend(std::iter::repeat_n(' ', indent));
            for at in start..end {
                text.push_str(if at > start && self.is_apart(at) { " " } else { "" });
                text.push_str(self.at(at).map_or("", |word| word.text));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &str = "resource.somethingWithALongName.containsAny(context.somethingElseWithALongName)";

    fn check(policy: &str, expected: &str) {
        let text = styled(policy);
        assert_eq!(text, expected);
        assert_eq!(styled(&text), text, "a second time");
    }

    #[test]
    fn lines_end_where_the_author_ends_them() {
        check(
            "@id(\n\"a\") permit(\n  principal,action,\nresource) when\n{ principal.a\n&&  principal.b } unless{[\"a\",\"b\",\n\n\"c\"].contains(context.d)};",
            "@id(\"a\")\npermit (principal, action, resource)\nwhen {\n    principal.a &&\n    principal.b\n}\nunless {\n    [\n        \"a\", \"b\",\n\n        \"c\"\n    ].contains(context.d)\n};",
        );
        check(
            "forbid (principal, action in [Action::\"a\",\n    // why\n Action::\"b\"], resource);",
            "forbid (\n    principal,\n    action in [\n        Action::\"a\",\n        // why\n        Action::\"b\"\n    ],\n    resource\n);",
        );
    }

    #[test]
    fn what_belongs_to_the_line_above_is_set_in() {
        check(
            "permit (principal, action, resource)\nwhen {\n a ||\n b &&\n (c ||\n d) ||\n if e then f\n else g\n};",
            "permit (principal, action, resource)\nwhen {\n    a ||\n    b &&\n        (c ||\n            d) ||\n    if e then f\n    else g\n};",
        );
        check(
            "permit (principal, action, resource)\nwhen {\n a\n .b &&\n c && (\nd ||\n e\n)\n};",
            "permit (principal, action, resource)\nwhen {\n    a\n        .b &&\n    c && (\n        d ||\n        e\n    )\n};",
        );
    }

    #[test]
    fn a_line_that_is_too_wide_is_broken_where_it_binds_least() {
        let head = "permit (principal, action, resource)";
        check(
            &format!("{head} when {{ {LONG} && context.aaa && context.b || context.ccccccccccc }};"),
            &format!("{head}\nwhen {{\n    {LONG} && context.aaa && context.b ||\n    context.ccccccccccc\n}};"),
        );
        check(
            &format!("{head} when {{ if {LONG} then context.aaaaaaaaaaaaaaa else context.bbbbbbbbbbbbbbbbb }};"),
            &format!(
                "{head}\nwhen {{\n    if {LONG} then context.aaaaaaaaaaaaaaa\n    else context.bbbbbbbbbbbbbbbbb\n}};"
            ),
        );
        check(
            &format!("{head} when {{ context.a && ({LONG} || context.bbbbbbbb || context.c) }};"),
            &format!("{head}\nwhen {{\n    context.a &&\n    ({LONG} || context.bbbbbbbb || context.c)\n}};"),
        );
        let text = "x".repeat(130);
        check(&format!("@hint(\"{text}\") {head};"), &format!("@hint(\"{text}\")\n{head};"));
    }

    #[test]
    fn comments_stay_beside_what_they_are_about() {
        check(
            "// a\n@id(\"b\") // c\npermit (principal, // d\n action, resource)\nwhen { // e\n\n a // f\n && b // g\n};",
            "// a\n@id(\"b\") // c\npermit (\n    principal, // d\n    action,\n    resource\n)\nwhen { // e\n\n    a // f\n    && b // g\n};",
        );
    }

    #[test]
    fn wherever_lines_end_the_second_time_changes_nothing() {
        let texts = |policy: &str| words(policy).iter().map(|word| word.text.to_owned()).collect::<Vec<_>>();
        let policy = format!(
            "@id(\"a\") permit(principal is User, action in [Action::\"b\", Action::\"c\"], resource) when {{ {LONG} && ({LONG} || \
             if {LONG} then [1, -2, 3].contains(context.d) else !{LONG}) || context.e }} unless {{ {LONG} }};"
        );
        for breaks_at in 1..30 {
            for comments_at in [4, 7, usize::MAX] {
                let mut text = String::new();
                for (at, word) in texts(&policy).into_iter().enumerate() {
                    text.push_str(&word);
                    let is_comment = at % comments_at == comments_at - 1;
                    text.push_str(if is_comment { " // f\n" } else { " " });
                    text.push_str(if at % breaks_at == 0 { "\n" } else { "" });
                }
                let once = styled(&text);
                assert_eq!(texts(&once), texts(&text));
                assert_eq!(styled(&once), once, "{text}");
            }
        }
    }
}
