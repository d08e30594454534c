//! The parts of a policy's text: what it takes to change one and leave the rest as it is.

use std::ops::Range;

use crate::domain::policy_text::{Kind, Token, tokens};

/// A policy's text: where its effect and the parts of its scope stand, and its texts and names of entities.
#[derive(Debug)]
pub(super) struct Anatomy {
    pub(super) effect: Range<usize>,
    /// The principal's, the action's and the resource's part, without blanks around them.
    pub(super) scope: Vec<Range<usize>>,
    pub(super) literals: Vec<Literal>,
}

/// A text, or the name of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub(super) span: Range<usize>,
    /// `"a"`, with the quotes.
    pub(super) text: String,
    /// The type, for an entity.
    pub(super) entity_type: Option<String>,
    /// What stands before a text up to the operator or the parenthesis that it belongs to; tells kinds of texts apart.
    pub(super) before: String,
    pub(super) is_in_scope: bool,
}

/// Takes a policy's text apart; `None` for what is no policy.
pub(super) fn anatomy(text: &str) -> Option<Anatomy> {
    let tokens = tokens(text);
    let head = head(&tokens)?;
    let effect = tokens.get(head)?.span.clone();
    let (mut depth, mut end, mut commas) = (0_usize, None, vec![head + 1]);
    for (index, token) in tokens.iter().enumerate().skip(head + 1) {
        match token.text {
            "(" | "[" => depth += 1,
            ")" | "]" => depth = depth.saturating_sub(1),
            "," if depth == 1 => commas.push(index),
            _ => {}
        }
        if depth == 0 {
            end = Some(index);
            break;
        }
    }
    let end = end?;
    commas.push(end);
    let part = |bounds: &[usize]| {
        let (first, last) = (bounds.first()? + 1, bounds.last()?.checked_sub(1)?);
        Some(tokens.get(first)?.span.start..tokens.get(last)?.span.end)
    };
    let scope: Option<Vec<_>> = commas.windows(2).map(part).collect();
    let literals = (head..tokens.len()).filter_map(|index| literal(&tokens, index, index < end));
    Some(Anatomy { effect, scope: scope.filter(|parts| parts.len() == 3)?, literals: literals.collect() })
}

/// The place of `permit` or `forbid` behind the annotations.
fn head(tokens: &[Token<'_>]) -> Option<usize> {
    let is_head = |index: &usize| {
        let text = |at: Option<usize>| at.and_then(|at| tokens.get(at)).map(|token| token.text);
        matches!(text(Some(*index)), Some("permit" | "forbid")) && text(index.checked_sub(1)) != Some("@")
    };
    (0..tokens.len()).find(is_head)
}

fn literal(tokens: &[Token<'_>], index: usize, is_in_scope: bool) -> Option<Literal> {
    let token = tokens.get(index).filter(|token| token.kind == Kind::Text)?;
    let text_at = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut first = index;
    while first >= 3 && text_at(first - 1) == ":" && text_at(first - 2) == ":" {
        first -= 3;
    }
    let (start, text) = (tokens.get(first)?.span.start, token.text.to_owned());
    let entity_type = (first < index).then(|| {
        tokens.get(first..index.saturating_sub(2)).unwrap_or_default().iter().map(|token| token.text).collect()
    });
    let mut before: Vec<&str> = Vec::new();
    for token in tokens.get(..first)?.iter().rev().take(8) {
        if matches!(token.text, "{" | "&" | "|" | "," | "[" | "!") && !before.is_empty() {
            break;
        }
        before.push(token.text);
    }
    before.reverse();
    Some(Literal { span: start..token.span.end, text, entity_type, before: before.concat(), is_in_scope })
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: &str = "@id(\"permit\") // permit (\n@hint(\"a \\\" (b\")\nforbid ( principal in N::Role::\"x\", action in [Action::\"r\", Action::\"w\"],\n resource )\nunless { context.side == \"left, (\" || [\"a\"].contains(context.b) };";

    #[test]
    fn a_policy_is_taken_apart() {
        let anatomy = anatomy(POLICY).unwrap();
        assert_eq!(POLICY.get(anatomy.effect), Some("forbid"));
        let scope: Vec<_> = anatomy.scope.into_iter().filter_map(|span| POLICY.get(span)).collect();
        assert_eq!(scope, ["principal in N::Role::\"x\"", "action in [Action::\"r\", Action::\"w\"]", "resource"]);
    }

    #[test]
    fn texts_and_names_of_entities_are_told_apart() {
        let literals = anatomy(POLICY).unwrap().literals;
        let shown: Vec<_> = literals
            .iter()
            .map(|found| (POLICY.get(found.span.clone()).unwrap(), found.entity_type.as_deref(), found.is_in_scope))
            .collect();
        assert_eq!(
            shown,
            [
                ("N::Role::\"x\"", Some("N::Role"), true),
                ("Action::\"r\"", Some("Action"), true),
                ("Action::\"w\"", Some("Action"), true),
                ("\"left, (\"", None, false),
                ("\"a\"", None, false),
            ]
        );
        assert_eq!(literals[3].before, "context.side==");
    }

    #[test]
    fn what_is_no_policy_has_no_parts() {
        for text in ["", "permit", "permit (principal, action)", "@permit(\"x\")", "forbid (principal"] {
            assert!(anatomy(text).is_none(), "{text}");
        }
    }
}
