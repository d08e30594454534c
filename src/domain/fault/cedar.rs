//! Faults that Cedar finds, each with its code and the likely fix.

use std::ops::Range;

use cedar_policy::{ValidationError, ValidationWarning};
use miette::Diagnostic;

use super::{Code, Fault};

impl Fault {
    /// The faults that a Cedar error stands for, each at the place it is labelled with.
    pub(in crate::domain) fn of_cedar(file: &str, content: &str, code: Code, error: &dyn Diagnostic) -> Vec<Self> {
        let related: Vec<&dyn Diagnostic> = error.related().into_iter().flatten().collect();
        let place = place(error);
        let own = Self::at(file, content, place.clone(), sentence(error)).coded(code);
        let help = help(error, content, place.as_ref(), &own.message);
        let own = Self { help: help.or(own.help.clone()), ..own };
        if own.line > 0 || related.is_empty() {
            let rest = related.into_iter().flat_map(|inner| Self::of_cedar(file, content, code, inner));
            return std::iter::once(own).chain(rest).collect();
        }
        related.into_iter().flat_map(|inner| Self::of_cedar(file, content, code, inner)).collect()
    }

    /// The faults of what Cedar's validation refuses.
    pub(in crate::domain) fn of_validation(file: &str, content: &str, error: &ValidationError) -> Vec<Self> {
        let code = match error {
            ValidationError::UnrecognizedEntityType(_) | ValidationError::InvalidEnumEntity(_) => {
                Code::UnknownEntityType
            }
            ValidationError::UnrecognizedActionId(_) => Code::UnknownAction,
            ValidationError::InvalidActionApplication(_) => Code::NotApplicable,
            ValidationError::UnsafeAttributeAccess(_) => Code::UnknownAttribute,
            ValidationError::UnsafeOptionalAttributeAccess(_) | ValidationError::UnsafeTagAccess(_) => {
                Code::OptionalAttribute
            }
            _ => Code::TypeError,
        };
        let faults = Self::of_cedar(file, content, code, error).into_iter();
        faults.map(without_policy).collect()
    }

    /// The faults of what Cedar's validation warns of.
    pub(in crate::domain) fn of_warning(file: &str, content: &str, warning: &ValidationWarning) -> Vec<Self> {
        let code = match warning {
            ValidationWarning::ImpossiblePolicy(_) => Code::NeverApplies,
            ValidationWarning::InvalidActionApplication(_) => Code::NotApplicable,
            _ => Code::MisleadingText,
        };
        let faults = Self::of_cedar(file, content, code, warning).into_iter().map(without_policy);
        let warn = |fault| Self { severity: super::Severity::Warning, ..fault };
        faults.map(warn).collect()
    }
}

/// The fault without the policy's name: its place says which it is.
fn without_policy(fault: Fault) -> Fault {
    let rest = fault.message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, "));
    let message = rest.map(|(_, message)| message.to_owned());
    Fault { message: message.unwrap_or_else(|| fault.message.clone()), ..fault }
}

fn place(error: &dyn Diagnostic) -> Option<Range<usize>> {
    let label = error.labels()?.next()?;
    Some(label.offset()..label.offset() + label.len())
}

/// The error's own words, and what its label adds.
fn sentence(error: &dyn Diagnostic) -> String {
    let text = error.to_string();
    let label = error.labels().and_then(|mut labels| labels.next());
    let text = label.and_then(|label| label.label().map(|label| format!("{text}: {label}"))).unwrap_or(text);
    in_words(&text)
}

/// What is likely meant: Cedar's own help, or what is known of slips that it has none for.
fn help(error: &dyn Diagnostic, content: &str, place: Option<&Range<usize>>, message: &str) -> Option<String> {
    let own = error.help().map(|help| in_words(help.to_string().trim_start_matches("for policy ")));
    let start = place.map_or(0, |place| place.start);
    let (before, from) = (content.get(..start).unwrap_or_default(), content.get(start..).unwrap_or_default());
    let own = own.filter(|help| is_near(message, help));
    slip(message, before.trim_end(), from).map(str::to_owned).or(own)
}

/// Cedar asks whether some known name was meant however far it is from what is written.
fn is_near(message: &str, help: &str) -> bool {
    let message =
        message.strip_prefix("for policy `").and_then(|rest| rest.split_once("`, ")).map_or(message, |it| it.1);
    let quoted = |text: &str| text.split('`').nth(1).map(|name| name.trim_end_matches('"').to_owned());
    let last = |name: String| name.rsplit(['"', ':']).next().unwrap_or_default().to_owned();
    match (help.starts_with("did you mean"), quoted(message).map(last), quoted(help).map(last)) {
        (true, Some(written), Some(meant)) => super::nearest(&written, [meant.as_str()]).is_some(),
        _ => true,
    }
}

/// Cedar's names of types that no author can write, in words; and no name of the policy.
fn in_words(text: &str) -> String {
    let text =
        text.split_once("`, both operands").map_or_else(|| text.to_owned(), |(_, rest)| format!("both operands{rest}"));
    let text = text.replace("Set<__cedar::internal::AnyEntity>", "a set of entities");
    let text =
        text.replace("__cedar::internal::AnyEntity", "an entity").replace("Set<__cedar::internal::Any>", "a set");
    text.replace("__cedar::internal::", "")
}

fn slip(message: &str, before: &str, from: &str) -> Option<&'static str> {
    let has = |text: &str| message.contains(text);
    if has("unexpected token") && before.ends_with('=') && from.starts_with('>') {
        return Some("write `>=` for at least, `<=` for at most");
    }
    if has("unexpected token") && before.ends_with("not") {
        return Some("write `&&` for and, `||` for or, `!` for not");
    }
    if has("unexpected token `;`") {
        return Some("every bracket that is opened is closed before the `;`");
    }
    if has("expected Long but saw String") && from.starts_with('"') {
        return Some("numbers stand without quotes");
    }
    if has("the types String and ") || has(" and String are not compatible") {
        return Some(
            "an entity is written with its type, `User::\"ada\"`, and a text in quotes is only equal to a text",
        );
    }
    if has("is not a valid method") {
        return Some(
            "sets have `contains`, `containsAll`, `containsAny` and `isEmpty`; texts are looked into with `like`",
        );
    }
    if has("mixed scripts") || has("bidirectional") {
        return Some("write it anew with letters of one script");
    }
    if has("condition clause cannot be empty") {
        return Some("write a condition, or take the clause out");
    }
    if has("is declared twice") {
        return Some("take one of both out");
    }
    if has("'=' is not a valid operator") {
        return Some("write `==` to compare");
    }
    if (has("unexpected token") || has("invalid token")) && from.starts_with('\'') {
        return Some("texts stand in double quotes: `\"…\"`");
    }
    let starts_anew = ["@", "permit", "forbid"].iter().any(|word| from.starts_with(word));
    if has("unexpected token") && starts_anew || has("unexpected end of input") {
        return Some("every policy ends with `;`, and every bracket that is opened is closed");
    }
    if has("unexpected token")
        && ["entity ", "action ", "type ", "namespace "].iter().any(|word| from.starts_with(word))
    {
        return Some("every declaration ends with `;`, and every bracket that is opened is closed");
    }
    if has("unexpected token `=`") || has("unexpected token `!`") {
        return Some("compare with `==` or `!=`, join conditions with `&&` or `||`");
    }
    if ["unexpected token `and`", "unexpected token `or`", "unexpected token `not`"].iter().any(|word| has(word)) {
        return Some("write `&&` for and, `||` for or, `!` for not");
    }
    if has("pattern literal") {
        return Some("`like` takes a text with `*` that stands in the policy; compare values with `==`");
    }
    has("unable to guarantee safety of access to optional attribute")
        .then_some("ask for it first: `x has attribute && x.attribute …`")
}
