//! Texts with placeholders: `{producer}|{school}|{api}` names one entity for three values.
//!
//! Such texts name entities, so two different lists of values must never give the same one. With two or more
//! placeholders `%` and every character of the template's own text is therefore written as `%XX` within values (its UTF-8
//! bytes, as RFC 3986 section 2.1 has it): no value can hold what separates them.

use std::{borrow::Cow, fmt::Write as _, sync::Arc};

/// Literal text with placeholders in braces; `{{` and `}}` stand for braces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
    /// The characters that are escaped in values; `None` where there is nothing to tell apart.
    separators: Option<Arc<str>>,
}

/// A part of a template. No two texts stand side by side, and no two placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Text(Arc<str>),
    Placeholder(Arc<str>),
}

impl Template {
    /// Takes a text apart. Names of placeholders are made of letters, digits and `_ . - : /`.
    ///
    /// # Errors
    /// A sentence: a brace without its other half, a placeholder without a name or with another character in it, two
    /// placeholders with nothing between them, or `%` beside two placeholders or more.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fault = |what: &str| Err(format!("`{text}` {what}"));
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.chars().peekable();
        while let Some(character) = characters.next() {
            match (character, characters.peek()) {
                ('{', Some('{')) | ('}', Some('}')) => {
                    characters.next();
                    literal.push(character);
                }
                ('{', _) => {
                    let mut name = String::new();
                    loop {
                        match characters.next() {
                            Some('}') => break,
                            Some(next) => name.push(next),
                            None => return fault("has a brace that is not closed"),
                        }
                    }
                    if name.is_empty() || !name.chars().all(is_name_character) {
                        return fault(
                            "has a placeholder that is no name, expected letters, digits and `_.-:/` in braces",
                        );
                    }
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal).into()));
                    }
                    if matches!(parts.last(), Some(Part::Placeholder(_))) {
                        return fault("has two placeholders with nothing between them");
                    }
                    parts.push(Part::Placeholder(name.into()));
                }
                ('}', _) => return fault("has a closing brace alone, expected `}}` for a brace"),
                _ => literal.push(character),
            }
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal.into()));
        }
        let template = Self { separators: separators(&parts), parts };
        if template.separators.as_ref().is_some_and(|characters| characters.contains('%')) {
            return fault("has `%` beside several placeholders, which is kept for what is escaped in values");
        }
        Ok(template)
    }

    /// The names of its placeholders, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Placeholder(name) => Some(&**name),
            Part::Text(_) => None,
        })
    }

    /// What it is made of, in order.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text with its values, of which no two different lists give the same; `None` where a placeholder has none.
    pub fn fill<'v>(&self, value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Option<String> {
        self.filled(self.separators.as_deref(), value)
    }

    /// As [`Template::fill`], with the values as they are: for values that are known to hold no separators.
    pub fn fill_plain<'v>(&self, value: impl FnMut(&str) -> Option<Cow<'v, str>>) -> Option<String> {
        self.filled(None, value)
    }

    fn filled<'v>(
        &self,
        separators: Option<&str>,
        mut value: impl FnMut(&str) -> Option<Cow<'v, str>>,
    ) -> Option<String> {
        if let [Part::Placeholder(name)] = &*self.parts {
            return value(name).map(Cow::into_owned);
        }
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Placeholder(name) => push(&mut filled, &value(name)?, separators),
            }
        }
        Some(filled)
    }
}

fn is_name_character(character: char) -> bool {
    character.is_alphanumeric() || matches!(character, '_' | '.' | '-' | ':' | '/')
}

/// The characters of the literal text, where there are placeholders to tell apart.
fn separators(parts: &[Part]) -> Option<Arc<str>> {
    let placeholders = parts.iter().filter(|part| matches!(part, Part::Placeholder(_))).count();
    let literal = parts.iter().filter_map(|part| match part {
        Part::Text(text) => Some(&**text),
        Part::Placeholder(_) => None,
    });
    (placeholders > 1).then(|| literal.collect::<String>().into())
}

fn push(filled: &mut String, value: &str, separators: Option<&str>) {
    let Some(separators) = separators else { return filled.push_str(value) };
    let mut bytes = [0; 4];
    for character in value.chars() {
        if character != '%' && !separators.contains(character) {
            filled.push(character);
            continue;
        }
        for byte in character.encode_utf8(&mut bytes).bytes() {
            // A string can't refuse to be written to.
            let _ = write!(filled, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(template: &str, values: &[&str]) -> Option<String> {
        let template = Template::parse(template).unwrap();
        let names: Vec<String> = template.names().map(str::to_owned).collect();
        template.fill(|name| {
            let place = names.iter().position(|known| known == name)?;
            values.get(place).map(|value| Cow::Borrowed(*value))
        })
    }

    #[test]
    fn a_template_is_filled_and_what_separates_its_values_is_escaped_in_them() {
        for (template, values, expected) in [
            ("plain", &[][..], "plain"),
            ("{a}", &["x|y%"], "x|y%"),
            ("tenant/{a}", &["x/y%"], "tenant/x/y%"),
            ("{{{a}}}", &["x"], "{x}"),
            ("{a}|{b.c-d:e/f}", &["x", "y"], "x|y"),
            ("{a}|{b}", &["x|", "%y"], "x%7C|%25y"),
            ("{a}|{b}", &["", "{}"], "|{}"),
            ("{a}é{b}", &["é", "è"], "%C3%A9éè"),
            ("{a} at {b}", &["sea", "a"], "se%61 at %61"),
        ] {
            assert_eq!(filled(template, values).as_deref(), Some(expected), "{template}");
        }
        assert_eq!(filled("{a}|{b}", &["x"]), None, "a placeholder without a value");
        let plain = Template::parse("{a}|{b}").unwrap().fill_plain(|name| Some(format!("{name}|").into()));
        assert_eq!(plain.as_deref(), Some("a||b|"));
    }

    #[test]
    fn a_text_that_is_no_template_is_told_why() {
        for (text, expected) in [
            ("{a", "`{a` has a brace that is not closed"),
            ("a}", "`a}` has a closing brace alone, expected `}}` for a brace"),
            ("{}", "`{}` has a placeholder that is no name, expected letters, digits and `_.-:/` in braces"),
            ("{a b}", "`{a b}` has a placeholder that is no name, expected letters, digits and `_.-:/` in braces"),
            ("{a}{b}", "`{a}{b}` has two placeholders with nothing between them"),
            ("{a}%{b}", "`{a}%{b}` has `%` beside several placeholders, which is kept for what is escaped in values"),
        ] {
            assert_eq!(Template::parse(text).unwrap_err(), expected);
        }
        assert!(Template::parse("100%{a}").is_ok(), "one placeholder needs no escapes");
    }

    proptest! {
        #[test]
        fn different_values_never_give_the_same_text(
            separators in prop::collection::vec("[|/2-5A-Da-d:é{} ]{1,3}", 2..5),
            left in prop::collection::vec("[|/%2-5A-Da-d:é{}x ]{0,4}", 5),
            right in prop::collection::vec("[|/%2-5A-Da-d:é{}x ]{0,4}", 5),
        ) {
            let mut text = String::from("{n0}");
            for (place, separator) in separators.iter().enumerate() {
                let separator = separator.replace('{', "{{").replace('}', "}}");
                write!(text, "{separator}{{n{}}}", place + 1).unwrap();
            }
            let count = separators.len() + 1;
            let template = Template::parse(&text).unwrap();
            let fill = |values: &[String]| {
                template.fill(|name| Some(values[name.strip_prefix('n')?.parse::<usize>().unwrap()].clone().into()))
            };
            prop_assert_eq!(fill(&left) == fill(&right), left[..count] == right[..count]);
        }
    }
}
