//! Ids that are paths: `a/b/c` lies in `a/b` and in `a`, by its segments and never by its letters.

use super::document::Table;

/// How the ids of an entity type are taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathRule {
    /// What stands between two segments.
    pub separator: char,
}

impl PathRule {
    /// The most segments of a path. An id of more is no path.
    pub const SEGMENTS_MAX: usize = 64;

    /// The id has at most [`PathRule::SEGMENTS_MAX`] segments, and none is empty. Any other id lies in nothing, and
    /// nothing lies in it.
    pub fn is_path(self, id: &str) -> bool {
        let mut segments = id.split(self.separator);
        segments.by_ref().take(Self::SEGMENTS_MAX).all(|segment| !segment.is_empty()) && segments.next().is_none()
    }

    /// The id of the nearest entity that a path lies in; `None` for a path of one segment, and for what is no path.
    pub fn parent(self, id: &str) -> Option<&str> {
        id.rsplit_once(self.separator).map(|(parent, _)| parent).filter(|_| self.is_path(id))
    }
}

/// Reads `path`: one character that stands between the segments.
pub(super) fn read_path(table: &Table<'_>) -> Option<PathRule> {
    let text = table.text("path")?;
    let mut characters = text.chars();
    let single = characters.next().filter(|_| characters.next().is_none());
    let separator = single.filter(char::is_ascii_punctuation);
    if separator.is_none() {
        table.fault(Some("path"), "`path` is not one character that is neither letter, digit nor blank, as in `\"/\"`");
    }
    for (other, why) in [
        ("prefixes", "an id has its parents from its path or from prefixes"),
        ("history_of", "what a history is in follows from the other type alone"),
    ] {
        if table.has(other) {
            table.fault(Some("path"), format!("`path` stands beside `{other}`: {why}"));
        }
    }
    if table.text("id").as_deref() == Some("integer") {
        table.fault(Some("path"), "`path` is for ids that are texts, and these are whole numbers");
    }
    separator.map(|separator| PathRule { separator })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_lies_in_its_whole_segments_and_nothing_else() {
        let path = PathRule { separator: '/' };
        let long = |segments: usize| vec!["s"; segments].join("/");
        for (id, parent) in [
            ("a/b/c", Some("a/b")),
            ("a/b", Some("a")),
            ("a", None),
            ("a//b", None),
            ("/a", None),
            ("/a/b", None),
            ("a/", None),
            ("a/b/", None),
            ("/", None),
            ("", None),
            ("a:b/c", Some("a:b")),
            ("é/ /x", Some("é/ ")),
            (&long(64), Some(&*long(63))),
            (&long(65), None),
        ] {
            assert_eq!(path.parent(id), parent, "{id}");
        }
        assert_eq!(PathRule { separator: ':' }.parent("a:b/c"), Some("a"));
    }

    proptest::proptest! {
        #[test]
        fn what_a_path_lies_in_is_a_path_too(id in "[a/]{0,12}") {
            let path = PathRule { separator: '/' };
            if let Some(parent) = path.parent(&id) {
                let start = [parent, "/"].concat();
                proptest::prop_assert!(path.is_path(parent) && id.starts_with(&start));
            }
        }
    }
}
