//! Entities that are found by the beginning of their id: namespaces.

use std::sync::Arc;

use super::document::Table;

/// Whose prefixes they are, and how they compare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrefixRule {
    /// The principal attribute that holds the prefixes.
    pub attribute: Arc<str>,
    /// A prefix ends where a part of a URI does; else it ends anywhere.
    pub ends_with_segment: bool,
    /// Capitals don't count.
    pub ignores_case: bool,
}

/// What stands between the parts of a URI.
const ENDS: [char; 3] = ['/', '?', '#'];

impl PrefixRule {
    /// The id starts with the prefix.
    ///
    /// Where a prefix must end with a segment, it covers itself and what goes on with `/`, `?` or `#`, or what follows such a
    /// character at its own end. Without case, letters compare by their simple lower case, one by one.
    pub fn covers(&self, prefix: &str, id: &str) -> bool {
        let rest = if self.ignores_case { rest_without_case(prefix, id) } else { id.strip_prefix(prefix) };
        rest.is_some_and(|rest| {
            let is_end = rest.is_empty() || rest.starts_with(ENDS) || prefix.ends_with(ENDS);
            is_end || !self.ends_with_segment
        })
    }
}

fn rest_without_case<'a>(prefix: &str, id: &'a str) -> Option<&'a str> {
    let mut rest = id.chars();
    for wanted in prefix.chars() {
        let found = rest.next()?;
        if found != wanted && !found.to_lowercase().eq(wanted.to_lowercase()) {
            return None;
        }
    }
    Some(rest.as_str())
}

/// Reads `prefixes`, `prefix_boundary` and `prefix_case`.
pub(super) fn read_prefixes(table: &Table<'_>) -> Option<PrefixRule> {
    let attribute = table.text("prefixes");
    let choice = |key: &str, off: &str, on: &str| match table.text(key).as_deref() {
        None => false,
        Some(word) if word == off || word == on => word == on,
        Some(_) => {
            table.fault(Some(key), format!("`{key}` is neither `{off}` nor `{on}`"));
            false
        }
    };
    let ends_with_segment = choice("prefix_boundary", "plain", "segment");
    let ignores_case = choice("prefix_case", "exact", "ignore");
    Some(PrefixRule { attribute: attribute?, ends_with_segment, ignores_case })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn covers(ends_with_segment: bool, ignores_case: bool, prefix: &str, id: &str) -> bool {
        PrefixRule { attribute: "prefixes".into(), ends_with_segment, ignores_case }.covers(prefix, id)
    }

    #[test]
    fn a_plain_prefix_ends_anywhere_and_a_segment_does_not() {
        for (prefix, id, plain, segment) in [
            ("uri://ed-fi.org", "uri://ed-fi.org", true, true),
            ("uri://ed-fi.org", "uri://ed-fi.org/Grade", true, true),
            ("uri://ed-fi.org", "uri://ed-fi.org#Grade", true, true),
            ("uri://ed-fi.org/", "uri://ed-fi.org/Grade", true, true),
            ("uri://ed-fi.org", "uri://ed-fi.organization.example", true, false),
            ("uri://ed-fi.org", "uri://ed-fi.org.example", true, false),
            ("uri://ed-fi.org/a", "uri://ed-fi.org/ab", true, false),
            ("uri://ed-fi.org", "uri://ed-fi.or", false, false),
            ("uri://%", "uri://ed-fi.org", false, false),
            ("uri://ed_fi.org", "uri://ed-fi.org", false, false),
        ] {
            assert_eq!(covers(false, false, prefix, id), plain, "{prefix} {id}");
            assert_eq!(covers(true, false, prefix, id), segment, "{prefix} {id} by segments");
        }
    }

    #[test]
    fn case_counts_unless_it_is_ignored() {
        for (prefix, id, exact, ignored) in [
            ("uri://ed-fi.org", "uri://Ed-Fi.org/x", false, true),
            ("URI://ED-FI.ORG", "uri://ed-fi.org", false, true),
            ("uri://schule-\u{dc}", "uri://schule-\u{fc}/x", false, true),
            ("uri://ed-fi.org", "uri://other.org", false, false),
            ("uri://ed-fi.org", "URI", false, false),
        ] {
            assert_eq!(covers(false, false, prefix, id), exact, "{prefix} {id}");
            assert_eq!(covers(false, true, prefix, id), ignored, "{prefix} {id} without case");
        }
    }
}
