//! A page that its reader follows: the files that it has them write, the changes and the commands, in order.
//!
//! A file or a change is a block of code below a line with nothing but its bold path. A block of `diff` changes a file:
//! what is marked `-` is found there once and gives way to what is marked `+`. A block of `console` has commands after
//! `$ `, and below each one what it shows.

use std::{fs, path::Path};

/// One thing that the reader does.
#[derive(Debug)]
pub(crate) enum Step {
    /// Writes a file.
    Write { path: String, content: String },
    /// Changes a part of a file.
    Change { path: String, old: String, new: String },
    /// Runs a command and sees what it shows.
    Run { command: String, shown: String },
}

/// The steps of a page.
pub(crate) fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut named, mut lines) = (Vec::new(), None, page.lines());
    while let Some(line) = lines.next() {
        let Some(language) = line.strip_prefix("```") else {
            let path = line.strip_prefix("**").and_then(|line| line.strip_suffix("**"));
            // A blank line between a path and its block is as good as none.
            if !line.is_empty() {
                named = path.map(str::to_owned);
            }
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match (language, named.take()) {
            ("console", None) => steps.extend(commands(&block)),
            ("diff", Some(path)) => steps.push(Step::Change { path, old: side(&block, '-'), new: side(&block, '+') }),
            (_, Some(path)) => steps.push(Step::Write { path, content: block.join("\n") + "\n" }),
            // An example that nobody writes anywhere.
            (_, None) => {}
        }
    }
    steps
}

/// One side of a change: its own lines and those that stay.
fn side(block: &[&str], mark: char) -> String {
    let own = block.iter().filter_map(|line| line.strip_prefix(mark).or_else(|| line.strip_prefix(' ')));
    own.flat_map(|line| [line, "\n"]).collect()
}

fn commands(block: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for line in block {
        match steps.last_mut() {
            Some(Step::Run { command, .. }) if goes_on => {
                command.push('\n');
                command.push_str(line);
            }
            Some(Step::Run { shown, .. }) if !line.starts_with("$ ") => {
                shown.push_str(line);
                shown.push('\n');
                continue;
            }
            _ => {
                let command = line.strip_prefix("$ ").unwrap_or_else(|| panic!("`{line}` stands before any command"));
                steps.push(Step::Run { command: command.to_owned(), shown: String::new() });
            }
        }
        goes_on = line.ends_with('\\');
    }
    steps
}

/// Does to a folder what a step does to it, unless it is a command.
pub(super) fn apply(step: &Step, folder: &Path) {
    match step {
        Step::Run { .. } => {}
        Step::Write { path, content } => {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Step::Change { path, old, new } => {
            let file = folder.join(path);
            let content = fs::read_to_string(&file).unwrap();
            if old.is_empty() {
                // What only adds, adds at the end.
                fs::write(file, content + new).unwrap();
                return;
            }
            assert_eq!(content.matches(old.as_str()).count(), 1, "once in {path}:\n{old}\nof\n{content}");
            fs::write(file, content.replacen(old.as_str(), new, 1)).unwrap();
        }
    }
}

/// What is shown is what the page says. A `…` on the page stands for any text, on a line of its own for any lines.
pub(super) fn is_shown(said: &str, shown: &str) -> bool {
    fn lines(said: &[&str], shown: &[&str]) -> bool {
        match (said.split_first(), shown.split_first()) {
            (None, None) => true,
            (Some((&"…", rest)), _) => (0..=shown.len()).any(|from| lines(rest, &shown[from..])),
            (Some((said, rest)), Some((line, others))) => one(said, line) && lines(rest, others),
            _ => false,
        }
    }
    fn one(said: &str, line: &str) -> bool {
        let Some((before, said)) = said.split_once('…') else { return said == line };
        let Some(rest) = line.strip_prefix(before) else { return false };
        rest.char_indices().map(|(at, _)| at).chain([rest.len()]).any(|at| one(said, &rest[at..]))
    }
    lines(&said.lines().collect::<Vec<_>>(), &shown.lines().map(str::trim_end).collect::<Vec<_>>())
}

#[test]
fn what_a_page_leaves_open_is_open_and_nothing_else() {
    for (said, shown, expected) in [
        ("a … c\n", "a b c\n", true),
        ("a … c\n", "a b d\n", false),
        ("a…\n…\nz", "ab\nc\nd\nz\n", true),
        ("a…\n…\nz", "ab\nz\n", true),
        ("a…\n…\nz", "ab\nc\n", false),
        ("a\n", "a\nb\n", false),
        ("", "a\n", false),
        ("digest 12… ok", "digest 12… ok", true),
    ] {
        assert_eq!(is_shown(said, shown), expected, "{said:?} {shown:?}");
    }
}
