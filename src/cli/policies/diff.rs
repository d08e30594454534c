//! `hallpass policies diff`: what changed from one kept version to another, as a unified diff.

use anyhow::{Context as _, Result, bail};

use super::Kept;
use crate::{
    app::ports::archive::{KeptPolicies, KnownVersion, PolicyVersions as _},
    cli::{
        Outcome,
        render::{Screen, Tone, plain},
    },
    config::Environment,
    domain::policy_set::SourceFile,
    storage::policy_versions::PolicyFolders,
};

/// Lines around a change that are shown with it.
const AROUND: usize = 3;

/// Above so many pairs of lines a changed part is shown as taken out and put in whole.
const PAIRS_MAX: usize = 16_000_000;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The digest of the version before, or the beginning of it
    #[arg(value_name = "DIGEST")]
    before: String,
    /// The digest of the version after [default: the one that the files brought last]
    #[arg(value_name = "DIGEST")]
    after: Option<String>,
    #[command(flatten)]
    kept: Kept,
}

/// Shows the difference; exit code 1 if there is one.
pub(super) fn run(arguments: Arguments, environment: &Environment, screen: &mut Screen) -> Result<Outcome> {
    let Arguments { before, after, kept } = arguments;
    let kept = kept.open(environment)?;
    let known = kept.list()?;
    let last = known.iter().max_by_key(|known| known.last_used_us).map(|known| known.version.to_string());
    let after = after.or(last).context("no version is kept")?;
    let (before, after) = (get(&kept, &known, &before)?, get(&kept, &known, &after)?);
    let lines = unified(&before.files, &after.files);
    for line in &lines {
        let tone = match line.chars().next() {
            Some('+') => Some(Tone::Good),
            Some('-') => Some(Tone::Bad),
            Some('@') => Some(Tone::Faint),
            _ => None,
        };
        let line = plain(line);
        screen.line(tone.map_or(line.clone(), |tone| screen.toned(tone, &line)))?;
    }
    Ok(Outcome::of(!lines.is_empty()))
}

fn get(kept: &PolicyFolders, known: &[KnownVersion], digest: &str) -> Result<KeptPolicies> {
    let mut meant = known.iter().filter(|known| known.version.0.starts_with(digest));
    match (meant.next(), meant.next()) {
        (Some(known), None) => kept.get(&known.version)?.context("the version is not kept any more"),
        (Some(_), Some(_)) => bail!("several versions begin with `{}`; name more digits", plain(digest)),
        _ => bail!("no version begins with `{}`; `hallpass policies versions` shows them", plain(digest)),
    }
}

/// The differences between two sets of files.
fn unified(before: &[SourceFile], after: &[SourceFile]) -> Vec<String> {
    let mut paths: Vec<&str> = before.iter().chain(after).map(|file| file.path.as_str()).collect();
    paths.sort_unstable();
    paths.dedup();
    let content =
        |files: &[SourceFile], path: &str| files.iter().find(|file| file.path == path).map(|file| file.content.clone());
    let differing = paths.into_iter().map(|path| (path, content(before, path), content(after, path)));
    differing.filter(|(_, old, new)| old != new).flat_map(|(path, old, new)| of_file(path, old, new)).collect()
}

fn of_file(path: &str, old: Option<String>, new: Option<String>) -> Vec<String> {
    let name = |side: &str, content: &Option<String>| match content {
        Some(_) => format!("{side}/{path}"),
        None => "/dev/null".to_owned(),
    };
    let mut lines = vec![format!("--- {}", name("a", &old)), format!("+++ {}", name("b", &new))];
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    let edits = edits(&old.lines().collect::<Vec<_>>(), &new.lines().collect::<Vec<_>>());
    lines.extend(hunks(&edits));
    lines
}

/// One line of a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edit<'a> {
    Kept(&'a str),
    Out(&'a str),
    In(&'a str),
}

/// Compares lines: as many as can be are kept.
fn edits<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let old_part = old_rest.get(..old_rest.len() - tail).unwrap_or_default();
    let new_part = new_rest.get(..new_rest.len() - tail).unwrap_or_default();
    let kept = |lines: &[&'a str]| lines.iter().copied().map(Edit::Kept).collect::<Vec<_>>();
    let mut edits = kept(old.get(..head).unwrap_or_default());
    edits.extend(between(old_part, new_part));
    edits.extend(kept(old_rest.get(old_rest.len() - tail..).unwrap_or_default()));
    edits
}

/// The longest common subsequence, by the table of its lengths.
fn between<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<Edit<'a>> {
    let whole = || old.iter().copied().map(Edit::Out).chain(new.iter().copied().map(Edit::In)).collect();
    if old.len().saturating_mul(new.len()) > PAIRS_MAX {
        return whole();
    }
    let width = new.len() + 1;
    let mut lengths = vec![0_u32; (old.len() + 1) * width];
    let at = |lengths: &[u32], i: usize, j: usize| lengths.get(i * width + j).copied().unwrap_or_default();
    for (i, a) in old.iter().enumerate().rev() {
        for (j, b) in new.iter().enumerate().rev() {
            let best = if a == b {
                at(&lengths, i + 1, j + 1) + 1
            } else {
                at(&lengths, i + 1, j).max(at(&lengths, i, j + 1))
            };
            if let Some(length) = lengths.get_mut(i * width + j) {
                *length = best;
            }
        }
    }
    let (mut i, mut j, mut edits) = (0, 0, Vec::new());
    loop {
        match (old.get(i), new.get(j)) {
            (Some(a), Some(b)) if a == b => {
                edits.push(Edit::Kept(a));
                (i, j) = (i + 1, j + 1);
            }
            (Some(a), b) if b.is_none() || at(&lengths, i + 1, j) >= at(&lengths, i, j + 1) => {
                edits.push(Edit::Out(a));
                i += 1;
            }
            (_, Some(b)) => {
                edits.push(Edit::In(b));
                j += 1;
            }
            _ => return edits,
        }
    }
}

/// The changed parts with some lines around them, each under a line that says where it is.
fn hunks(edits: &[Edit<'_>]) -> Vec<String> {
    let is_near = |index: usize| {
        let around = edits.get(index.saturating_sub(AROUND)..(index + AROUND + 1).min(edits.len()));
        around.is_some_and(|around| around.iter().any(|edit| !matches!(edit, Edit::Kept(_))))
    };
    let (mut lines, mut hunk) = (Vec::new(), Vec::new());
    let (mut old_line, mut new_line, mut start) = (1, 1, (1, 1));
    for (index, edit) in edits.iter().enumerate() {
        if is_near(index) {
            if hunk.is_empty() {
                start = (old_line, new_line);
            }
            hunk.push(*edit);
        } else {
            close(&mut hunk, start, &mut lines);
        }
        let (in_old, in_new) = sides(*edit);
        (old_line, new_line) = (old_line + in_old, new_line + in_new);
    }
    close(&mut hunk, start, &mut lines);
    lines
}

/// How many lines an edit is of the old and of the new side.
fn sides(edit: Edit<'_>) -> (usize, usize) {
    match edit {
        Edit::Kept(_) => (1, 1),
        Edit::Out(_) => (1, 0),
        Edit::In(_) => (0, 1),
    }
}

fn close(hunk: &mut Vec<Edit<'_>>, (old_start, new_start): (usize, usize), lines: &mut Vec<String>) {
    if hunk.is_empty() {
        return;
    }
    let (old, new) = hunk.iter().map(|edit| sides(*edit)).fold((0, 0), |(a, b), (c, d)| (a + c, b + d));
    // A side without lines is named by the line before it.
    let place = |start: usize, count: usize| format!("{},{count}", if count == 0 { start - 1 } else { start });
    lines.push(format!("@@ -{} +{} @@", place(old_start, old), place(new_start, new)));
    lines.extend(hunk.drain(..).map(|edit| match edit {
        Edit::Kept(line) => format!(" {line}"),
        Edit::Out(line) => format!("-{line}"),
        Edit::In(line) => format!("+{line}"),
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), content: content.to_owned() }
    }

    #[test]
    fn changed_new_and_removed_files_are_shown_as_patches() {
        let before = [file("a", "1\n2\n3\n4\n5\n6\n7\n8\n9\n"), file("b", "gone\n"), file("same", "x\n")];
        let after = [file("a", "1\n2\n3\n4\nfive\n6\n7\n8\n9\nten\n"), file("c", "new\n"), file("same", "x\n")];
        let expected = [
            "--- a/a",
            "+++ b/a",
            "@@ -2,8 +2,9 @@",
            " 2",
            " 3",
            " 4",
            "-5",
            "+five",
            " 6",
            " 7",
            " 8",
            " 9",
            "+ten",
            "--- a/b",
            "+++ /dev/null",
            "@@ -1,1 +0,0 @@",
            "-gone",
            "--- /dev/null",
            "+++ b/c",
            "@@ -0,0 +1,1 @@",
            "+new",
        ];
        assert_eq!(unified(&before, &after), expected);
        assert_eq!(unified(&before, &before), [""; 0]);
    }

    #[test]
    fn every_comparison_has_both_sides_whole() {
        let texts = ["", "a", "a b c", "c b a", "a x b y c", "x a b c x", "b b b a"];
        for old in texts {
            for new in texts {
                let (old, new): (Vec<_>, Vec<_>) = (old.split(' ').collect(), new.split(' ').collect());
                let edits = edits(&old, &new);
                let side = |of_old: bool| -> Vec<&str> {
                    let line = |edit: &Edit<'static>| match *edit {
                        Edit::Kept(line) => Some(line),
                        Edit::Out(line) => of_old.then_some(line),
                        Edit::In(line) => (!of_old).then_some(line),
                    };
                    edits.iter().filter_map(line).collect()
                };
                assert_eq!((side(true), side(false)), (old, new));
            }
        }
    }
}
