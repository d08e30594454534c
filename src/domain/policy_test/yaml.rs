//! A YAML file as a value, with the place of whatever in it turns out to be wrong.

use std::{fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_saphyr::{Location, Spanned};

use crate::domain::{fault::Fault, policy_set::SourceFile};

/// A step down into a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list.
    Item(usize),
    /// The name of the key itself.
    Name(String),
}

/// The way from a document's root to a part of it.
pub(super) type Path = Vec<Step>;

/// The path with a step more.
pub(super) fn below(path: &[Step], step: Step) -> Path {
    path.iter().cloned().chain([step]).collect()
}

/// The path of a key's value.
pub(super) fn key(path: &[Step], name: &str) -> Path {
    below(path, Step::Key(name.to_owned()))
}

/// Reads a file.
///
/// # Errors
/// Syntax, and keys that come twice, with their places.
pub(super) fn read(file: &SourceFile) -> Result<Json, Vec<Fault>> {
    serde_saphyr::from_str(&file.content).map_err(|error| {
        let place = error.location().and_then(|location| byte_at(&file.content, location));
        vec![Fault::at(&file.path, &file.content, place.map(|at| at..at), error.to_string())]
    })
}

/// A fault of a part of a file that [`read`] took.
pub(super) fn fault(file: &SourceFile, path: &[Step], message: impl Into<String>) -> Fault {
    Fault::at(&file.path, &file.content, Some(Places::of(file).find(path)), message)
}

/// The places of a document's parts. Looked up where there is something to say of one: they cost another reading.
#[derive(Debug, Default)]
pub(super) struct Places<'f> {
    content: &'f str,
    root: Option<Spanned<Tree>>,
}

impl<'f> Places<'f> {
    pub(super) fn of(file: &'f SourceFile) -> Self {
        Self { content: &file.content, root: serde_saphyr::from_str(&file.content).ok() }
    }

    /// The bytes of the part, or of the last part on the way to it that is there.
    pub(super) fn find(&self, path: &[Step]) -> Range<usize> {
        let Some(mut current) = self.root.as_ref() else { return 0..0 };
        let mut place = current.referenced;
        for step in path {
            let next = match (&current.value, step) {
                (Tree::List(items), Step::Item(index)) => items.get(*index).map(|item| (item.referenced, item)),
                (Tree::Map(entries), Step::Key(name)) => {
                    entry(entries, name).map(|(_, value)| (value.referenced, value))
                }
                (Tree::Map(entries), Step::Name(name)) => {
                    entry(entries, name).map(|(key, value)| (key.referenced, value))
                }
                _ => None,
            };
            let Some((found, below)) = next else { break };
            (place, current) = (found, below);
        }
        let at = byte_at(self.content, place).unwrap_or_default();
        at..at
    }

    /// The line of the part, counted from 1.
    pub(super) fn line(&self, path: &[Step]) -> usize {
        let before = self.content.get(..self.find(path).start).unwrap_or_default();
        before.matches('\n').count() + 1
    }
}

fn entry<'t>(
    entries: &'t [(Spanned<String>, Spanned<Tree>)],
    name: &str,
) -> Option<&'t (Spanned<String>, Spanned<Tree>)> {
    entries.iter().find(|(key, _)| key.value == name)
}

/// The byte at a line and a column, both counted from 1.
fn byte_at(content: &str, location: Location) -> Option<usize> {
    let number = |count: u64| usize::try_from(count).ok()?.checked_sub(1);
    let (line, column) = (number(location.line())?, number(location.column())?);
    let start: usize = content.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = content.get(start..)?;
    Some(start + rest.char_indices().nth(column).map_or(rest.len(), |(index, _)| index))
}

/// A document without its values.
#[derive(Debug)]
enum Tree {
    Leaf,
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

/// Scalars of every kind are leaves.
macro_rules! leaves {
    ($($visit:ident: $kind:ty),*) => {
        $(fn $visit<E>(self, _: $kind) -> Result<Tree, E> {
            Ok(Tree::Leaf)
        })*
    };
}

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    leaves!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_none<E>(self) -> Result<Tree, E> {
        Ok(Tree::Leaf)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree, D::Error> {
        IgnoredAny::deserialize(deserializer).map(|_| Tree::Leaf)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Tree, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Tree::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Tree::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(content: &str) -> SourceFile {
        SourceFile { path: "tests/a.yaml".into(), content: content.into() }
    }

    #[test]
    fn a_part_is_found_by_its_path() {
        let content = "a:\n  - x: 1\n    é: [2, { y: \"3\" }]\nb: ~\n";
        let file = file(content);
        let places = Places::of(&file);
        let name = |name: &str| Step::Name(name.to_owned());
        for (path, expected) in [
            (vec![name("b")], "b: ~"),
            (vec![Step::Key("b".into())], "~"),
            (vec![Step::Key("a".into()), Step::Item(0)], "x: 1"),
            (vec![Step::Key("a".into()), Step::Item(0), name("é")], "é: [2"),
            (key(&[Step::Key("a".into()), Step::Item(0), Step::Key("é".into()), Step::Item(1)], "y"), "\"3\""),
            (vec![Step::Key("a".into()), Step::Item(7)], "- x: 1"),
        ] {
            let found = content.get(places.find(&path).start..).unwrap();
            assert!(found.starts_with(expected), "{path:?}: {found}");
        }
        assert_eq!(places.line(&[Step::Key("b".into())]), 4);
    }

    #[test]
    fn syntax_and_doubled_keys_are_faults_with_their_places() {
        for (content, line) in [("a: [1\nb: 2\n", 2), ("a: 1\nb: 2\na: 3\n", 3)] {
            let faults = read(&file(content)).unwrap_err();
            assert_eq!((faults.len(), faults[0].line), (1, line), "{}", faults[0]);
        }
    }
}
