//! Finds the places of faults that name what is wrong, but not where it stands.

use std::{collections::HashMap, ops::Range};

use super::Fault;
use crate::domain::policy_set::SourceFile;

/// The faults, each of those without a place at the name that its message quotes first and that the file has.
pub(in crate::domain) fn with_places(faults: Vec<Fault>, files: &[SourceFile]) -> Vec<Fault> {
    let mut places = Places { files, known: HashMap::new() };
    faults.into_iter().map(|fault| if fault.line == 0 { places.placed(fault) } else { fault }).collect()
}

/// Where names stand in files: many faults name the same.
struct Places<'a> {
    files: &'a [SourceFile],
    /// By the number of the file and the name.
    known: HashMap<(usize, String), Option<First>>,
}

/// Where a name stands first, and that it stands nowhere else.
type First = (Range<usize>, bool);

impl Places<'_> {
    fn placed(&mut self, fault: Fault) -> Fault {
        let known = self.files.iter().enumerate().find(|(_, file)| file.path == fault.file);
        // Only texts of which each line says what it is: a name in prose could stand anywhere.
        let Some((number, file)) = known.filter(|(_, file)| file.has_ending(&["toml", "json", "cedarschema"])) else {
            return fault;
        };
        let names = fault.message.split('`').skip(1).step_by(2).filter(|name| !name.is_empty());
        let found = names.filter_map(|name| self.first(number, name)).collect::<Vec<_>>();
        let Some((place, _)) = found.iter().find(|(_, is_only)| *is_only).or_else(|| found.first()) else {
            return fault;
        };
        let at = Fault::at(&file.path, &file.content, Some(place.clone()), "");
        let Fault { line, column, source_line, end_line, end_column, .. } = at;
        Fault { line, column, source_line, end_line, end_column, ..fault }
    }

    fn first(&mut self, number: usize, name: &str) -> Option<First> {
        let key = (number, name.to_owned());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let mut found = self.files.get(number).into_iter().flat_map(|file| occurrences(file, name));
        let first = found.next().map(|first| (first, found.next().is_none()));
        self.known.insert(key, first.clone());
        first
    }
}

/// Where a name stands as a word of its own, outside of comments.
pub(in crate::domain) fn occurrences<'a>(
    file: &'a SourceFile,
    name: &'a str,
) -> impl Iterator<Item = Range<usize>> + 'a {
    let content = file.content.as_str();
    // JSON knows no comments, and its lines can be long.
    let has_comments = !file.has_ending(&["json"]);
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let is_whole = move |start: &usize| {
        let before = content.get(..*start).and_then(|text| text.chars().next_back());
        let after = content.get(start + name.len()..).and_then(|text| text.chars().next());
        let is_inside = before.is_some_and(is_part) || after.is_some_and(is_part);
        !(is_inside || has_comments && is_commented(content, *start))
    };
    content.match_indices(name).map(|(start, _)| start).filter(is_whole).map(|start| start..start + name.len())
}

/// A `#` or `//` stands before it on its line, outside of quotes.
fn is_commented(content: &str, at: usize) -> bool {
    let before = content.get(..at).unwrap_or_default();
    let line = before.rsplit('\n').next().unwrap_or_default();
    let mut is_quoted = false;
    let mut last = ' ';
    for c in line.chars() {
        match c {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted => return true,
            '/' if !is_quoted && last == '/' => return true,
            _ => {}
        }
        last = c;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_placed_at_the_name_that_it_quotes() {
        let content = "# raed\n[actions.reader]\nx = 1\n[actions.raed]\nquote = \"a # raed\"\n";
        let files = [SourceFile { path: "realm.toml".into(), content: content.into() }];
        for (message, expected) in [
            ("the schema has no action `raed`", (4, 10)),
            ("`nowhere`: `x` is wrong", (3, 1)),
            ("nothing is quoted", (0, 0)),
            ("`re` is no whole word", (0, 0)),
        ] {
            let placed = with_places(vec![Fault::in_file("realm.toml", message)], &files).remove(0);
            assert_eq!((placed.line, placed.column), expected, "{message}");
        }
    }

    #[test]
    fn a_file_without_line_breaks_is_not_repeated_in_every_fault() {
        let content = format!("{{{}\"reader\": 1}}", "\"other\": 1, ".repeat(1_000));
        let files = [SourceFile { path: "grants.json".into(), content }];
        let placed = with_places(vec![Fault::in_file("grants.json", "nothing is called `reader`"); 2], &files);
        for fault in placed {
            assert_eq!((fault.line, fault.column, &*fault.source_line), (1, 12_003, ""));
            assert_eq!(fault.to_string().lines().count(), 1);
        }
    }
}
