//! Pages lead to each other: every link leads somewhere, and every page is found from the first one.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Component, Path, PathBuf},
};

use super::page::{Page, pages};

/// A path without `.` and `..`; none when it leads out of the repository.
fn plain(path: &Path) -> Option<PathBuf> {
    path.components().try_fold(PathBuf::new(), |mut whole, part| match part {
        Component::ParentDir => whole.pop().then_some(whole),
        Component::Normal(name) => {
            whole.push(name);
            Some(whole)
        }
        Component::CurDir => Some(whole),
        Component::RootDir | Component::Prefix(_) => None,
    })
}

/// Where the relative links of a page lead: the file from the repository's root, and the anchor in it.
fn leads_to<'a>(page: &'a Page, link: &'a str) -> Option<(PathBuf, &'a str)> {
    let (target, anchor) = link.split_once('#').unwrap_or((link, ""));
    if target.is_empty() {
        return Some((page.path.clone(), anchor));
    }
    Some((plain(&page.path.parent()?.join(target))?, anchor))
}

fn is_elsewhere(link: &str) -> bool {
    link.contains("://") || link.starts_with("mailto:")
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages(root);
    let anchors: BTreeMap<_, _> = pages.iter().map(|page| (page.path.clone(), page.anchors())).collect();
    let (mut looked_at, mut dead) = (0, Vec::new());
    for page in &pages {
        for (line, link) in page.links().into_iter().filter(|(_, link)| !is_elsewhere(link)) {
            looked_at += 1;
            let good = leads_to(page, link).is_some_and(|(file, anchor)| {
                let there = root.join(&file).exists();
                there && (anchor.is_empty() || anchors.get(&file).is_some_and(|known| known.contains(anchor)))
            });
            if !good {
                dead.push(format!("{}:{line}: {link}", page.path.display()));
            }
        }
    }
    assert!(looked_at > 200, "only {looked_at} links are there");
    assert!(dead.is_empty(), "these lead nowhere:\n{}", dead.join("\n"));
}

#[test]
fn every_page_is_in_the_index() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let pages = pages(root);
    let page = |path: &str| pages.iter().find(|page| page.path == Path::new(path)).unwrap();
    let linked = |page: &Page| -> BTreeSet<PathBuf> {
        let links = page.links();
        let here = links.iter().filter(|(_, link)| !is_elsewhere(link));
        here.filter_map(|(_, link)| leads_to(page, link).map(|(file, _)| file)).collect()
    };
    let index = page("docs/README.md");
    assert!(linked(page("README.md")).contains(&index.path), "README.md doesn't lead to docs/README.md");
    let listed = linked(index);
    let all = pages.iter().map(|page| &page.path).filter(|path| path.starts_with("docs") && **path != index.path);
    let missing: Vec<_> = all.filter(|path| !listed.contains(*path)).collect();
    assert!(missing.is_empty(), "docs/README.md doesn't list {missing:?}");
}

#[test]
fn pages_for_people_begin_with_a_quickstart_and_end_with_what_is_missing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for who in ["service-developer", "policy-author", "auditor", "operator"] {
        let text = fs::read_to_string(root.join(format!("docs/{who}.md"))).unwrap();
        let part = |title: &str| {
            let from = text.split(&format!("\n## {title}")).nth(1).unwrap_or_else(|| panic!("{who}: no `{title}`"));
            from.split("\n## ").next().unwrap()
        };
        assert!(part("Five minutes").contains("\n```sh\n"), "{who}: commands that are run");
        let questions =
            part("Ten questions").lines().filter(|line| line.starts_with("| ") && line.contains("](")).count();
        assert!(questions >= 10, "{who}: {questions} questions with a link");
        let last = text.rsplit("\n## ").next().unwrap();
        assert!(last.starts_with("What this cannot do") || last.starts_with("What is not answered"), "{who}: {last}");
    }
}
