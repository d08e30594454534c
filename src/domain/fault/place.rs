//! Finds the places of faults that name what is wrong, but not where it stands.

use std::ops::Range;

use super::Fault;
use crate::domain::policy_set::SourceFile;

/// The faults, each of those without a place at the name that its message quotes first and that the file has.
pub(in crate::domain) fn with_places(faults: Vec<Fault>, files: &[SourceFile]) -> Vec<Fault> {
    faults.into_iter().map(|fault| if fault.line == 0 { placed(fault, files) } else { fault }).collect()
}

fn placed(fault: Fault, files: &[SourceFile]) -> Fault {
    let Some(file) = files.iter().find(|file| file.path == fault.file) else { return fault };
    // Only texts of which each line says what it is: a name in prose could stand anywhere.
    if !file.has_ending(&["toml", "json", "cedarschema"]) {
        return fault;
    }
    let names: Vec<&str> = fault.message.split('`').skip(1).step_by(2).filter(|name| !name.is_empty()).collect();
    let found: Vec<Vec<Range<usize>>> = names.iter().map(|name| occurrences(&file.content, name)).collect();
    let only = found.iter().find(|places| places.len() == 1);
    let Some(place) = only.or_else(|| found.iter().find(|places| !places.is_empty())).and_then(|places| places.first())
    else {
        return fault;
    };
    let at = Fault::at(&file.path, &file.content, Some(place.clone()), "");
    let Fault { line, column, source_line, end_line, end_column, .. } = at;
    Fault { line, column, source_line, end_line, end_column, ..fault }
}

/// Where a name stands as a word of its own, outside of comments.
pub(in crate::domain) fn occurrences(content: &str, name: &str) -> Vec<Range<usize>> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let whole = |start: usize| {
        let end = start + name.len();
        let before = content.get(..start).and_then(|text| text.chars().next_back());
        let after = content.get(end..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part) && !is_commented(content, start)
    };
    let starts = content.match_indices(name).map(|(start, _)| start).filter(|start| whole(*start));
    starts.map(|start| start..start + name.len()).collect()
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
}
