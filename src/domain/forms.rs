//! Forms of texts: which texts count, and what is read out of them.
//!
//! `tenant/{tenant}/user/{user}` is a form; `course-v1:{org}+{course}+{run} => {org}` is one with a result. A
//! placeholder stands for one or more characters. None of them is a control character, and none is a separator: a
//! character beside a placeholder that is neither letter nor digit. So a text has at most one reading, nothing slips a
//! further part into a placeholder, and `content_org:{org}` never fits `content_org:a:b`. What a result puts between
//! several placeholders separates too, so that different parts never join to the same result.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

/// Forms of which the first that fits counts. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms(Vec<Form>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    pieces: Vec<Piece>,
    /// What no placeholder stands for, besides control characters.
    separators: BTreeSet<char>,
    /// What a text of this form is read as; without it, the text itself.
    result: Option<Vec<Piece>>,
}

/// A part of a form or of a result. No two literals stand side by side.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    Placeholder(Arc<str>),
}

impl Forms {
    /// Reads forms, each `FORM` or `FORM => RESULT`. `{{` and `}}` stand for braces; blanks around `=>` don't count.
    ///
    /// # Errors
    /// The first that is no form, and why. The message quotes it.
    pub fn parse(forms: &[Arc<str>]) -> Result<Self, String> {
        if forms.is_empty() {
            return Err("no form is given, so no text would fit".to_owned());
        }
        let form = |text: &Arc<str>| Form::parse(text).map_err(|fault| format!("the form `{text}` {fault}"));
        forms.iter().map(form).collect::<Result<_, _>>().map(Self)
    }

    /// What the text is read as by the first form that it fits as a whole; `None` if it fits none.
    pub fn read<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        self.0.iter().find_map(|form| form.read(text))
    }

    /// The text fits one of the forms as a whole.
    pub fn fits(&self, text: &str) -> bool {
        self.0.iter().any(|form| form.values(text).is_some())
    }

    /// One of the forms says what a text of it is read as.
    pub fn have_results(&self) -> bool {
        self.0.iter().any(|form| form.result.is_some())
    }
}

impl Form {
    fn parse(text: &str) -> Result<Self, String> {
        let (form, result) = match text.split_once("=>") {
            Some((form, result)) => (form.trim(), Some(result.trim())),
            None => (text, None),
        };
        if result.is_some_and(|result| result.contains("=>")) {
            return Err("has more than one `=>`".to_owned());
        }
        let pieces = pieces(form)?;
        let mut separators = separators(&pieces)?;
        let names: Vec<&Arc<str>> = placeholders(&pieces).collect();
        if let Some(twice) =
            names.iter().enumerate().find_map(|(at, name)| names.get(..at)?.contains(name).then_some(name))
        {
            return Err(format!("has the placeholder `{{{twice}}}` twice"));
        }
        let result = result.map(self::pieces).transpose().map_err(|fault| format!("{fault} in its result"))?;
        if let Some(result) = &result {
            if let Some(unknown) = placeholders(result).find(|name| !names.contains(name)) {
                return Err(format!("has no placeholder `{{{unknown}}}`, which its result asks for"));
            }
            if placeholders(result).count() > 1 {
                separators.extend(self::separators(result).map_err(|fault| format!("{fault} in its result"))?);
            }
        }
        Ok(Self { pieces, separators, result })
    }

    fn read<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        let values = self.values(text)?;
        let Some(result) = &self.result else { return Some(Cow::Borrowed(text)) };
        let value = |wanted: &Arc<str>| values.iter().find(|(name, _)| *name == wanted).map(|(_, value)| *value);
        if let [Piece::Placeholder(name)] = result.as_slice() {
            return value(name).map(Cow::Borrowed);
        }
        let texts = result.iter().map(|piece| match piece {
            Piece::Literal(literal) => Some(literal.as_str()),
            Piece::Placeholder(name) => value(name),
        });
        texts.collect::<Option<String>>().map(Cow::Owned)
    }

    /// What each placeholder stands for in a text of this form.
    fn values<'t>(&self, text: &'t str) -> Option<Vec<(&Arc<str>, &'t str)>> {
        let mut values = Vec::new();
        let mut rest = text;
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(literal.as_str())?,
                Piece::Placeholder(name) => {
                    let next = pieces.next_if(|piece| matches!(piece, Piece::Literal(_)));
                    let literal = if let Some(Piece::Literal(literal)) = next { literal.as_str() } else { "" };
                    let value;
                    (value, rest) = self.value(rest, literal, pieces.peek().is_none())?;
                    values.push((name, value));
                }
            }
        }
        rest.is_empty().then_some(values)
    }

    /// Takes what a placeholder stands for and the literal behind it from the beginning of a text.
    fn value<'t>(&self, text: &'t str, literal: &str, is_last: bool) -> Option<(&'t str, &'t str)> {
        let (value, rest) = if is_last {
            (text.strip_suffix(literal)?, "")
        } else {
            // INVARIANT: a literal between placeholders has a separator, so that its first one is the text's first one.
            let before = literal.find(|c| self.separators.contains(&c))?;
            let end = text.find(|c| self.separators.contains(&c))?.checked_sub(before)?;
            (text.get(..end)?, text.get(end..)?.strip_prefix(literal)?)
        };
        let counts = |c: char| !c.is_control() && !self.separators.contains(&c);
        (!value.is_empty() && value.chars().all(counts)).then_some((value, rest))
    }
}

fn placeholders(pieces: &[Piece]) -> impl Iterator<Item = &Arc<str>> {
    pieces.iter().filter_map(|piece| if let Piece::Placeholder(name) = piece { Some(name) } else { None })
}

/// Takes a text with placeholders apart.
fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    let mut pieces = Vec::new();
    let mut literal = String::new();
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let behind = rest.get(c.len_utf8()..).unwrap_or_default();
        match c {
            '{' | '}' if behind.starts_with(c) => {
                literal.push(c);
                rest = behind.get(1..).unwrap_or_default();
            }
            '{' => {
                let (name, behind) = behind.split_once('}').ok_or("has a `{` that no `}` closes")?;
                if name.is_empty() || !name.chars().all(is_of_name) {
                    return Err(format!("has `{{{name}}}`, expected a name of letters, digits, `_`, `.` and `-`"));
                }
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Placeholder(name.into()));
                rest = behind;
            }
            '}' => return Err("has a `}` that no `{` opens".to_owned()),
            c if c.is_control() => return Err("has a control character".to_owned()),
            c => {
                literal.push(c);
                rest = behind;
            }
        }
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Ok(pieces)
}

fn is_of_name(c: char) -> bool {
    c.is_alphanumeric() || ['_', '.', '-'].contains(&c)
}

/// What stands beside placeholders and is neither letter nor digit; each literal between two must have such a
/// character.
fn separators(pieces: &[Piece]) -> Result<BTreeSet<char>, String> {
    let mut separators = BTreeSet::new();
    for pair in pieces.windows(2) {
        match pair {
            [Piece::Literal(literal), Piece::Placeholder(_)] => separators.extend(literal.chars().next_back()),
            [Piece::Placeholder(_), Piece::Literal(literal)] => separators.extend(literal.chars().next()),
            _ => {}
        }
    }
    separators.retain(|c| !c.is_alphanumeric());
    let placeholders = pieces.iter().enumerate().filter(|(_, piece)| matches!(piece, Piece::Placeholder(_)));
    let places: Vec<usize> = placeholders.map(|(place, _)| place).collect();
    let separates = |piece: &Piece| matches!(piece, Piece::Literal(text) if text.contains(|c| separators.contains(&c)));
    let is_apart = |pair: &[usize]| match pair {
        [one, other] => pieces.get(one + 1..*other).is_some_and(|between| between.iter().any(separates)),
        _ => true,
    };
    if places.windows(2).all(is_apart) {
        return Ok(separators);
    }
    Err("has two placeholders without a separator beside them, expected one that is neither letter nor digit"
        .to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forms(texts: &[&str]) -> Result<Forms, String> {
        Forms::parse(&texts.iter().map(|text| Arc::from(*text)).collect::<Vec<_>>())
    }

    #[test]
    fn a_text_fits_as_a_whole_or_not_at_all() {
        for (form, text, read) in [
            ("a/{x}", "a/1", Some("a/1")),
            ("a/{x}", "a/", None),
            ("a/{x}", "a", None),
            ("a/{x}", "a/1/2", None),
            ("a/{x}", "b/a/1", None),
            ("a/{x}", "A/1", None),
            ("a/{x}", "a/1\n", None),
            ("a/{x}", "a/\u{0}", None),
            ("a/{x} => {x}", "a/é b", Some("é b")),
            ("a/{x}/b/{y} => {y}", "a/1/b/2", Some("2")),
            ("a/{x}/b/{y} => {y}", "a/1/c/2", None),
            ("a/{x}/b/{y} => {y}", "a//b/2", None),
            ("a/{x}/b/{y} => {y}", "a/1/b/b/2", None),
            ("k-v1:{o}+{c}+{r} => {o}", "k-v1:My-Org_1+C-1+2024-T1", Some("My-Org_1")),
            ("k-v1:{o}+{c}+{r} => {o}", "k-v1:My:Org+C+R", None),
            ("k-v1:{o}+{c}+{r} => {o}", "k-v1:O+C+R+S", None),
            ("k-v1:{o}+{c}+{r} => {o}", "k-v1:O+C", None),
            ("content_org:{org} => {org}", "content_org:my_org", Some("my_org")),
            ("content_org:{org} => {org}", "content_org:a:b", None),
            ("{a}-x-{b}z => {b}", "1-x-2z", Some("2")),
            ("{a}-y{b}z => {b}", "1-yzz", Some("z")),
            ("{a}x-{b} => {a}", "xx-x", Some("x")),
            ("{a}x-{b} => {a}", "x-x", None),
            ("{a}x-{b} => {a}", "y-x", None),
            ("{x}", "any thing", Some("any thing")),
            ("{x}", "", None),
            ("me", "me", Some("me")),
            ("me => you", "me", Some("you")),
            ("me => you", "you", None),
            ("{{{x}}} => {x}", "{1}", Some("1")),
            ("{{{x}}} => {x}", "{{1}", None),
            ("ü·{x}·{y} => {y}{{}}", "ü·1·2", Some("2{}")),
        ] {
            let forms = forms(&[form]).unwrap();
            assert_eq!(forms.read(text).as_deref(), read, "{form} {text}");
            assert_eq!(forms.fits(text), read.is_some(), "{form} {text}");
        }
    }

    #[test]
    fn of_several_forms_the_first_that_fits_counts() {
        let forms = forms(&["me => 1", "{x}:{y} => {y}", "{x} => 2"]).unwrap();
        for (text, read) in [("me", Some("1")), ("a:b", Some("b")), ("a", Some("2")), ("a:b:c", Some("2")), ("", None)]
        {
            assert_eq!(forms.read(text).as_deref(), read, "{text}");
        }
        assert!(forms.have_results());
    }

    #[test]
    fn what_a_result_puts_between_parts_is_in_none_of_them() {
        let forms = forms(&["t/{t}/o/{o} => {o}|{t}"]).unwrap();
        assert_eq!(forms.read("t/1/o/2").as_deref(), Some("2|1"));
        assert_eq!(forms.read("t/1|3/o/2"), None);
        assert_eq!(forms.read("t/1/o/2|3"), None);
    }

    #[test]
    fn what_is_no_form_is_told() {
        for (text, fault) in [
            ("", "is empty"),
            (" => {x}", "is empty"),
            ("{x} => ", "is empty in its result"),
            ("{x", "has a `{` that no `}` closes"),
            ("x}", "has a `}` that no `{` opens"),
            ("{}", "has `{}`, expected a name of letters, digits, `_`, `.` and `-`"),
            ("{a b}", "has `{a b}`, expected a name of letters, digits, `_`, `.` and `-`"),
            ("a\tb", "has a control character"),
            ("{x}/{x}", "has the placeholder `{x}` twice"),
            ("{x} => {y}", "has no placeholder `{y}`, which its result asks for"),
            ("{x} => {x} => {x}", "has more than one `=>`"),
            (
                "{x}{y}",
                "has two placeholders without a separator beside them, expected one that is neither letter nor digit",
            ),
            (
                "{x}a{y}",
                "has two placeholders without a separator beside them, expected one that is neither letter nor digit",
            ),
            (
                "{x}a-b{y}",
                "has two placeholders without a separator beside them, expected one that is neither letter nor digit",
            ),
            (
                "{x}/{y} => {x}{y}",
                "has two placeholders without a separator beside them, expected one that is neither letter nor digit in its result",
            ),
        ] {
            assert_eq!(forms(&["{fine}", text]), Err(format!("the form `{text}` {fault}")));
        }
        assert_eq!(forms(&[]), Err("no form is given, so no text would fit".to_owned()));
    }

    /// Literals around and between two placeholders, with the separators `/`, `:` and `+` beside them.
    fn literals() -> impl Strategy<Value = (String, String, String)> {
        ("([a-z_-]{0,4}[/:])?", "[/:+]([a-z_]{0,3}[/:+])?", "([:+][a-z-]{0,4})?")
    }

    proptest! {
        #[test]
        fn a_text_built_from_the_parts_of_a_form_is_read_back(
            (before, between, behind) in literals(),
            x in "[a-zA-Z0-9é_. -]{1,8}",
            y in "[a-zA-Z0-9é_. -]{1,8}",
        ) {
            let form = format!("{before}{{x}}{between}{{y}}{behind}");
            let text = format!("{before}{x}{between}{y}{behind}");
            for (result, expected) in [("{x}", &x), ("{y}", &y), ("{y}~{x}!", &format!("{y}~{x}!"))] {
                let forms = forms(&[&format!("{form} => {result}")]).unwrap();
                prop_assert_eq!(forms.read(&text), Some(Cow::Borrowed(expected.as_str())));
            }
        }

        #[test]
        fn a_text_with_a_separator_within_a_part_never_fits(
            (before, between, behind) in literals(),
            x in "[a-z0-9]{0,4}",
            more in "[a-z0-9]{0,4}",
            y in "[a-z0-9]{1,4}",
        ) {
            let forms = forms(&[&format!("{before}{{x}}{between}{{y}}{behind}")]).unwrap();
            let touching = before.chars().next_back().into_iter().chain(between.chars()).chain(behind.chars().next());
            for separator in touching.filter(|c| !c.is_alphanumeric() && *c != '_') {
                let part = format!("{x}{separator}{more}");
                for text in [
                    format!("{before}{part}{between}{y}{behind}"),
                    format!("{before}{y}{between}{part}{behind}"),
                ] {
                    prop_assert!(!forms.fits(&text), "{}", text);
                }
            }
        }

        #[test]
        fn any_text_is_a_form_or_a_fault_and_any_text_is_read(form in "\\PC{0,12}", text in "\\PC{0,12}") {
            if let Ok(forms) = forms(&[&form]) {
                prop_assert_eq!(forms.read(&text).is_some(), forms.fits(&text));
            }
        }
    }
}
