//! Forms of texts: which texts count, and what is read out of them.
//!
//! `tenant/{tenant}/user/{user}` is a form; `course-v1:{org}+{course}+{run} => {org}` is one with a result. A
//! placeholder stands for one or more characters. None of them is a control character, and none is a separator: a
//! character beside a placeholder that is neither letter nor digit. So a text has at most one reading, nothing slips a
//! further part into a placeholder, and `content_org:{org}` never fits `content_org:a:b`. What a result puts between
//! several placeholders separates too, so that different parts never join to the same result.

use std::{borrow::Cow, collections::BTreeSet, sync::Arc};

use super::template::{Part, Template};

/// Forms of which the first that fits counts. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forms(Vec<Form>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Form {
    template: Template,
    /// What no placeholder stands for, besides control characters.
    separators: BTreeSet<char>,
    /// What a text of this form is read as; without it, the text itself.
    result: Option<Template>,
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
        forms.iter().map(|form| Form::parse(form)).collect::<Result<_, _>>().map(Self)
    }

    /// What the text is read as by the first form that it fits as a whole; `None` if it fits none.
    pub fn read<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        self.0.iter().find_map(|form| form.read(text))
    }

    /// A text that is read as this one, where a form says how to write it: with one placeholder at most.
    pub(super) fn written(&self, read: &str) -> Option<String> {
        let written = self.0.iter().filter_map(|form| {
            let value = match &form.result {
                None => return Some(read.to_owned()),
                Some(result) => result.names().next()?,
            };
            form.template.fill_plain(|wanted| (wanted == value).then_some(Cow::Borrowed(read)))
        });
        written.into_iter().find(|text| self.read(text).as_deref() == Some(read))
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
            return Err(format!("`{text}` has more than one `=>`"));
        }
        if form.is_empty() || result.is_some_and(str::is_empty) {
            return Err(format!("`{text}` is empty, expected a form, or a form, `=>` and its result"));
        }
        if text.contains(char::is_control) {
            return Err("a form has a control character, which no text may have".to_owned());
        }
        let template = Template::parse(form)?;
        let mut separators = separators(form, &template)?;
        let names: Vec<&str> = template.names().collect();
        let twice = names.iter().enumerate().find(|(at, name)| names.iter().skip(at + 1).any(|other| other == *name));
        if let Some((_, twice)) = twice {
            return Err(format!("`{form}` has the placeholder `{{{twice}}}` twice"));
        }
        let result = result.map(|result| Template::parse(result).map(|read| (result, read))).transpose()?;
        if let Some((result, read)) = &result {
            if let Some(unknown) = read.names().find(|name| !names.contains(name)) {
                return Err(format!("`{form}` has no placeholder `{{{unknown}}}`, which its result asks for"));
            }
            if read.names().count() > 1 {
                separators.extend(self::separators(result, read)?);
            }
        }
        Ok(Self { separators, result: result.map(|(_, result)| result), template })
    }

    fn read<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        let values = self.values(text)?;
        let Some(result) = &self.result else { return Some(Cow::Borrowed(text)) };
        let value =
            |wanted: &str| values.iter().find(|(name, _)| *name == wanted).map(|(_, value)| Cow::Borrowed(*value));
        result.fill_plain(value).map(Cow::Owned)
    }

    /// What each placeholder stands for in a text of this form.
    fn values<'t>(&self, text: &'t str) -> Option<Vec<(&str, &'t str)>> {
        let mut values = Vec::new();
        let mut rest = text;
        let mut parts = self.template.parts().iter().peekable();
        while let Some(part) = parts.next() {
            match part {
                Part::Text(literal) => rest = rest.strip_prefix(&**literal)?,
                Part::Placeholder(name) => {
                    let next = parts.next_if(|part| matches!(part, Part::Text(_)));
                    let literal = if let Some(Part::Text(literal)) = next { literal } else { "" };
                    let value;
                    (value, rest) = self.value(rest, literal, parts.peek().is_none())?;
                    values.push((&**name, value));
                }
            }
        }
        rest.is_empty().then_some(values)
    }

    /// Takes what a placeholder stands for and the literal behind it from the beginning of a text.
    fn value<'t>(&self, text: &'t str, literal: &str, is_last: bool) -> Option<(&'t str, &'t str)> {
        let separates = |c: char| self.separators.contains(&c);
        let (value, rest) = if is_last {
            (text.strip_suffix(literal)?, "")
        } else {
            // INVARIANT: a literal between placeholders has a separator, so that its first one is the text's first one.
            let end = text.find(separates)?.checked_sub(literal.find(separates)?)?;
            (text.get(..end)?, text.get(end..)?.strip_prefix(literal)?)
        };
        (!value.is_empty() && !value.contains(|c: char| c.is_control() || separates(c))).then_some((value, rest))
    }
}

/// What stands beside placeholders and is neither letter nor digit; each literal between two must have such a
/// character.
fn separators(text: &str, template: &Template) -> Result<BTreeSet<char>, String> {
    let mut separators = BTreeSet::new();
    for pair in template.parts().windows(2) {
        match pair {
            [Part::Text(literal), Part::Placeholder(_)] => separators.extend(literal.chars().next_back()),
            [Part::Placeholder(_), Part::Text(literal)] => separators.extend(literal.chars().next()),
            _ => {}
        }
    }
    separators.retain(|c| !c.is_alphanumeric());
    let joins = |part: &[Part]| match part {
        [Part::Placeholder(_), Part::Text(literal), Part::Placeholder(_)] => {
            !literal.contains(|c| separators.contains(&c))
        }
        _ => false,
    };
    if template.parts().windows(3).any(joins) {
        let expected = "expected one that is neither letter nor digit";
        return Err(format!("`{text}` has two placeholders without a separator beside them, {expected}"));
    }
    Ok(separators)
}

/// The text in lower case, character by character as Unicode's simple mapping has it.
pub fn lower_case(text: &str) -> String {
    // The first character of a longer mapping is the simple one: `İ` is the only such character.
    text.chars().filter_map(|c| c.to_lowercase().next()).collect()
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
        let joined =
            "has two placeholders without a separator beside them, expected one that is neither letter nor digit";
        for (text, fault) in [
            ("", "is empty, expected a form, or a form, `=>` and its result".to_owned()),
            (" => {x}", "is empty, expected a form, or a form, `=>` and its result".to_owned()),
            ("{x} => ", "is empty, expected a form, or a form, `=>` and its result".to_owned()),
            ("{x", "has a brace that is not closed".to_owned()),
            ("{x}/{x}", "has the placeholder `{x}` twice".to_owned()),
            ("{x} => {x} => {x}", "has more than one `=>`".to_owned()),
            ("{x}{y}", "has two placeholders with nothing between them".to_owned()),
            ("{x}a{y}", joined.to_owned()),
            ("{x}a-b{y}", joined.to_owned()),
        ] {
            assert_eq!(forms(&["{fine}", text]), Err(format!("`{text}` {fault}")));
        }
        assert_eq!(forms(&["{x}/{y} => {x}1{y}"]), Err(format!("`{{x}}1{{y}}` {joined}")));
        let unknown = "`{x}` has no placeholder `{y}`, which its result asks for";
        assert_eq!(forms(&["{x} => {y}"]), Err(unknown.to_owned()));
        assert_eq!(forms(&["a\tb"]), Err("a form has a control character, which no text may have".to_owned()));
        assert_eq!(forms(&[]), Err("no form is given, so no text would fit".to_owned()));
    }

    #[test]
    fn lower_case_is_made_of_each_character_alone() {
        for (text, lower) in [("ÄbC1_", "äbc1_"), ("\u{130}", "i"), ("ΟΔΟΣ", "οδοσ"), ("ß", "ß")] {
            assert_eq!(lower_case(text), lower);
        }
        let longer = |c: &char| c.to_lowercase().count() > 1;
        assert_eq!(('\0'..=char::MAX).filter(longer).collect::<String>(), "\u{130}");
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
