//! The pages of the repository, as far as tests read them.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

/// One page.
pub(crate) struct Page {
    /// From the repository's root.
    pub(crate) path: PathBuf,
    /// Its lines, with whether each stands in a block of code.
    pub(crate) lines: Vec<(bool, String)>,
}

impl Page {
    pub(crate) fn read(path: PathBuf, text: &str) -> Self {
        let mut fence: Option<String> = None;
        let lines = text.lines().map(|line| {
            let mark: String = line.trim_start().chars().take_while(|c| *c == '`' || *c == '~').collect();
            let is_fence = mark.len() >= 3;
            let inside = fence.is_some() || is_fence;
            match &fence {
                Some(open) if is_fence && mark.starts_with(open.as_str()) => fence = None,
                None if is_fence => fence = Some(mark),
                _ => {}
            }
            (inside, line.to_owned())
        });
        Self { path, lines: lines.collect() }
    }

    /// The targets of links and images, each with its line; those in code are none.
    pub(crate) fn links(&self) -> Vec<(usize, &str)> {
        let mut found = Vec::new();
        for (number, (in_code, line)) in self.lines.iter().enumerate() {
            if *in_code {
                continue;
            }
            let definition = line.strip_prefix('[').and_then(|rest| rest.split_once("]: "));
            found
                .extend(definition.and_then(|(_, rest)| rest.split_whitespace().next()).map(|link| (number + 1, link)));
            let mut at = 0;
            while let Some(start) = line[at..].find("](").map(|start| at + start + 2) {
                at = start;
                // An odd count of backticks before it: it stands in code.
                if line[..start].matches('`').count() % 2 == 1 {
                    continue;
                }
                found.extend(line[start..].split([')', ' ']).next().map(|link| (number + 1, link)));
            }
        }
        found
    }

    /// The anchors of its headings, as GitHub makes them.
    pub(crate) fn anchors(&self) -> BTreeSet<String> {
        let mut seen = BTreeMap::<String, usize>::new();
        let headings = self.lines.iter().filter(|(in_code, line)| !in_code && line.starts_with('#'));
        let mut anchors = BTreeSet::new();
        for (_, line) in headings {
            let anchor = anchor(line.trim_start_matches('#').trim());
            let count = seen.entry(anchor.clone()).or_default();
            anchors.insert(if *count == 0 { anchor } else { format!("{anchor}-{count}") });
            *count += 1;
        }
        anchors
    }
}

/// Letters, digits, `-` and `_` stay, in lower case; a blank becomes `-`; of a link the text counts.
fn anchor(heading: &str) -> String {
    let mut text = String::new();
    let mut rest = heading;
    while let Some((before, after)) = rest.split_once("](") {
        text.push_str(before);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.flat_map(char::to_lowercase).map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// All pages below a folder; what is hidden, built or fetched is none of ours.
pub(crate) fn pages(root: &Path) -> Vec<Page> {
    let mut found = Vec::new();
    gather(root, root, &mut found);
    found.sort_by(|one, other| one.path.cmp(&other.path));
    found
}

fn gather(root: &Path, folder: &Path, found: &mut Vec<Page>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap_or_default();
        if name.starts_with('.') || ["target", "node_modules", "dist", "hallpass-data"].contains(&name) {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, found);
        } else if path.extension().is_some_and(|extension| extension == "md") {
            let text = fs::read_to_string(&path).unwrap();
            found.push(Page::read(path.strip_prefix(root).unwrap().to_owned(), &text));
        }
    }
}

#[test]
fn headings_become_anchors_as_github_makes_them() {
    let page = "# One, two\n## `[context.NAME]`: what\n## [A page](a.md) of it\n```\n# no heading\n```\n## One, two\n";
    let anchors = Page::read(PathBuf::new(), page).anchors();
    let wanted = ["a-page-of-it", "contextname-what", "one-two", "one-two-1"];
    assert_eq!(anchors.iter().map(String::as_str).collect::<Vec<_>>(), wanted);
}

#[test]
fn links_in_code_are_none() {
    let text = "See [a](a.md#x) and `[b](b.md)`, [c](c.md).\n```\n[d](d.md)\n```\n[e]: e.md\n";
    let page = Page::read(PathBuf::new(), text);
    assert_eq!(page.links(), [(1, "a.md#x"), (1, "c.md"), (5, "e.md")]);
}
