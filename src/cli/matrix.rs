//! `hallpass matrix`: who may do what with which kind of resource, in a form that shows in a review what a change of the
//! policies changes.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use anyhow::Result;
use clap::ValueEnum;

use super::{
    Outcome, check,
    render::{Screen, plain},
    report::escaped,
};
use crate::domain::{
    matrix::{Cell, Matrix, matrix},
    policy_test::{Bench, Suite, all},
};

/// How wide a line of names may be.
const WIDTH: usize = 110;
/// The blanks before names.
const INDENT: usize = 14;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The realm's folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// How to show it
    #[arg(long, value_enum, default_value_t, value_name = "FORM")]
    output: Form,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Text,
    /// For spreadsheets: a line for each answer.
    Csv,
    /// For browsers: one table.
    Html,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { folder, output } = arguments;
    let files = check::read(folder)?;
    let found = Suite::read(&files).and_then(|suite| {
        let realms = all((0..suite.realms()).map(|realm| suite.compile(realm)))?;
        let ready = all((0..suite.len()).map(|test| suite.ready(test, &realms)))?;
        let title = realms.first().map(|realm| realm.file.title.to_string()).unwrap_or_default();
        Ok((title, matrix(&Bench::new(realms, ready))))
    });
    let (title, matrix) = match found {
        Ok(found) => found,
        Err(faults) => {
            check::show(folder, faults, screen)?;
            return Ok(Outcome::Findings);
        }
    };
    let shown = match output {
        Form::Text => text(&title, &matrix),
        Form::Csv => csv(&matrix),
        Form::Html => html(&title, &matrix),
    };
    screen.line(shown.trim_end())?;
    Ok(Outcome::Fine)
}

fn word(cell: Cell) -> &'static str {
    match cell {
        Cell::Allow => "allow",
        Cell::Depends => "depends",
        Cell::Deny => "deny",
        Cell::Unasked => "unasked",
    }
}

fn text(title: &str, matrix: &Matrix) -> String {
    let mut text = format!("WHO MAY DO WHAT: {}\n\n", plain(title));
    text.push_str(match &matrix.holder {
        None => "Each row is a principal of the tests, with the file in parentheses, or several that may do the same.\n",
        Some(_) => "Each row is a claim set, or several that may do the same; a kind is the group that resource types are in.\n",
    });
    if let Some(holder) = &matrix.holder {
        // Writing to a String cannot fail.
        let _infallible = writeln!(text, "All of them are held by {}.", plain(holder));
    }
    text.push_str(
        "\n    allow      whatever the resource\n\
         \x20   depends    on the resource's values, or on the rest of the request\n\
         \x20   else       denied, whatever the resource\n",
    );
    for (names, cells) in &matrix.rows {
        text.push_str("\n\n");
        let last = names.len().saturating_sub(1);
        let comma = |index: usize| if index < last { "," } else { "" };
        let shown = names.iter().enumerate().map(|(index, name)| format!("{}{}", plain(name), comma(index)));
        text.push_str(&wrapped(shown, 0));
        for (cell, shown) in [(Cell::Allow, "allow"), (Cell::Depends, "depends")] {
            let listed: Vec<String> = listed(matrix, cells, cell);
            if !listed.is_empty() {
                let lines = wrapped(listed.into_iter(), INDENT);
                let _infallible = write!(text, "    {shown:<10}{}", lines.trim_start());
            }
        }
        if cells.iter().all(|cell| matches!(cell, Cell::Deny | Cell::Unasked)) {
            text.push_str("    nothing\n");
        }
    }
    let unasked = matrix.rows.first().map(|(_, cells)| listed(matrix, cells, Cell::Unasked)).unwrap_or_default();
    if !unasked.is_empty() {
        text.push_str("\n\nNO TEST ASKS\n\n");
        text.push_str(&wrapped(unasked.into_iter(), 4));
    }
    text
}

/// The columns with this answer, the actions of a kind together, and kinds with the same actions: `Box, Note: read write;`.
fn listed(matrix: &Matrix, cells: &[Cell], wanted: Cell) -> Vec<String> {
    let mut kinds: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for ((action, kind), _) in matrix.columns.iter().zip(cells).filter(|(_, cell)| **cell == wanted) {
        kinds.entry(kind).or_default().push(action);
    }
    let mut alike: Vec<(Vec<&str>, Vec<&str>)> = Vec::new();
    for (kind, actions) in kinds {
        match alike.iter_mut().find(|(_, known)| *known == actions) {
            Some((names, _)) => names.push(kind),
            None => alike.push((vec![kind], actions)),
        }
    }
    alike.into_iter().map(|(kinds, actions)| plain(&format!("{}: {};", kinds.join(", "), actions.join(" ")))).collect()
}

/// Names on lines of a bounded width.
fn wrapped(names: impl Iterator<Item = String>, indent: usize) -> String {
    let mut text = String::new();
    let mut line = " ".repeat(indent);
    let words = names.flat_map(|name| name.split(' ').map(str::to_owned).collect::<Vec<_>>());
    for word in words {
        if line.trim().is_empty() || line.chars().count() + 1 + word.chars().count() <= WIDTH {
            if !line.trim().is_empty() {
                line.push(' ');
            }
        } else {
            text.push_str(&line);
            text.push('\n');
            line = " ".repeat(indent);
        }
        line.push_str(&word);
    }
    text.push_str(&line);
    text.push('\n');
    text
}

fn csv(matrix: &Matrix) -> String {
    let mut text = String::from("who,action,kind,answer\n");
    let quoted = |text: &str| format!("\"{}\"", plain(text).replace('"', "\"\""));
    for (names, cells) in &matrix.rows {
        for name in names {
            for ((action, kind), cell) in matrix.columns.iter().zip(cells) {
                let (name, action, kind) = (quoted(name), quoted(action), quoted(kind));
                let _infallible = writeln!(text, "{name},{action},{kind},{}", word(*cell));
            }
        }
    }
    text
}

const STYLE: &str = "\
body{font:14px/1.4 system-ui,sans-serif;margin:2rem;color:#222}table{border-collapse:collapse}\
td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left;vertical-align:top}\
thead th{position:sticky;top:0;background:#fff;writing-mode:vertical-rl;transform:rotate(180deg)}\
.allow{background:#c9f0cf}.depends{background:#ffe9a8}.deny{color:#999}.unasked{color:#bbb}";

fn html(title: &str, matrix: &Matrix) -> String {
    let title = escaped(title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>Who may do what: {title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>Who may do what: {title}</h1>\n<table>\n<thead><tr><th>who</th>"
    );
    for (action, kind) in &matrix.columns {
        let _infallible = write!(page, "<th>{} <small>{}</small></th>", escaped(action), escaped(kind));
    }
    page.push_str("</tr></thead>\n<tbody>\n");
    for (names, cells) in &matrix.rows {
        let _infallible = write!(page, "<tr><td>{}</td>", escaped(&names.join(", ")));
        for cell in cells {
            let word = word(*cell);
            let _infallible = write!(page, "<td class=\"{word}\">{word}</td>");
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</tbody>\n</table>\n</body>\n</html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Matrix {
        Matrix {
            columns: vec![
                ("read".into(), "Note".into()),
                ("write".into(), "Note".into()),
                ("count".into(), "Box".into()),
            ],
            rows: vec![
                (vec!["ann (a)".into(), "b\"<en>".into()], vec![Cell::Allow, Cell::Depends, Cell::Unasked]),
                (vec!["nobody (a)".into()], vec![Cell::Deny, Cell::Deny, Cell::Unasked]),
            ],
            holder: None,
        }
    }

    #[test]
    fn who_may_do_what_reads_as_lists() {
        let text = text("Notes", &example());
        let rows = "ann (a), b\"<en>\n    allow     Note: read;\n    depends   Note: write;\n\n\nnobody (a)\n    nothing\n\n\nNO TEST ASKS\n\n    Box: count;\n";
        assert!(text.ends_with(rows), "{text}");
    }

    #[test]
    fn names_cannot_break_the_table() {
        let (csv, html) = (csv(&example()), html("a & b", &example()));
        assert!(csv.contains("\"b\"\"<en>\",\"read\",\"Note\",allow\n"), "{csv}");
        assert_eq!(csv.lines().count(), 1 + 3 * 3);
        assert!(html.contains("<td>ann (a), b&quot;&lt;en&gt;</td><td class=\"allow\">allow</td>"), "{html}");
    }
}
