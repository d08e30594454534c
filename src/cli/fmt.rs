//! `hallpass fmt`: policies in one style, their comments and their meaning kept.

mod layout;
mod words;

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use anyhow::{Context as _, Result, anyhow};
use cedar_policy::PolicySet;
use serde_json::Value as Json;

use super::{
    Outcome,
    check::{read, shown},
    render::{Screen, Tone, counted},
};
use crate::{
    domain::{fault::Fault, policy_set::policy_syntax},
    server::below,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders whose policies are put in style, with all folders below
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Change nothing and name the files that would change: exit code 1
    #[arg(long)]
    check: bool,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let (mut changed, mut unchanged, mut has_faults) = (0_u64, 0_u64, false);
    for folder in &arguments.folders {
        for file in read(folder)?
            .iter()
            .filter(|file| Path::new(&file.path).extension().is_some_and(|ending| ending == "cedar"))
        {
            let path = folder.join(&file.path);
            let faults = policy_syntax(file);
            if !faults.is_empty() {
                has_faults = true;
                show(folder, faults, screen)?;
                continue;
            }
            let text = formatted(&file.content).with_context(|| format!("cannot format `{}`", path.display()))?;
            if text == file.content {
                unchanged += 1;
                continue;
            }
            changed += 1;
            let word = if arguments.check { "would change" } else { "formatted" };
            if !arguments.check {
                write(&path, &text).with_context(|| format!("cannot write `{}`", path.display()))?;
            }
            screen.line(format_args!("{}: {}", path.display(), screen.toned(Tone::Faint, word)))?;
        }
    }
    let verb = if arguments.check { "would change" } else { "changed" };
    screen.line(format_args!("{} {verb}, {unchanged} as before", counted(changed, "file", "files")))?;
    Ok(Outcome::of(has_faults || arguments.check && changed > 0))
}

fn show(folder: &Path, faults: Vec<Fault>, screen: &mut Screen) -> Result<()> {
    for fault in faults {
        let text = shown(&below(folder, fault), screen);
        screen.line(text)?;
    }
    Ok(())
}

/// The text of policies in style: each policy by [`layout`], what stands between them as it is.
///
/// # Errors
/// A text that doesn't parse, and one whose style would not be the same again or would say something else.
fn formatted(content: &str) -> Result<String> {
    let text = styled(content)?;
    let is_same = meaning(content)? == meaning(&text)? && comments(content) == comments(&text);
    if is_same && styled(&text)? == text {
        Ok(text)
    } else {
        Err(anyhow!("the formatted text would not say the same; it is left as it is"))
    }
}

fn styled(content: &str) -> Result<String> {
    let (mut text, mut end) = (String::new(), 0);
    for span in spans(content)? {
        push_between(&mut text, content.get(end..span.start).unwrap_or_default(), true);
        let policy = content.get(span.clone()).unwrap_or_default();
        text.push_str(&layout::styled(policy));
        end = span.end;
    }
    push_between(&mut text, content.get(end..).unwrap_or_default(), false);
    Ok(text)
}

/// Where the policies stand, in their order.
fn spans(content: &str) -> Result<Vec<Range<usize>>> {
    let set = PolicySet::from_str(content).map_err(|error| anyhow!("{error}"))?;
    let inner: &cedar_policy_core::ast::PolicySet = set.as_ref();
    let places = inner.all_templates().filter_map(|template| template.loc());
    let mut spans: Vec<Range<usize>> = places.map(|place| place.start()..place.end()).collect();
    spans.sort_by_key(|span| span.start);
    spans.dedup();
    Ok(spans)
}

/// Adds what stands before a policy, or at the end: comments, one blank line where there are several, and one behind every
/// policy.
fn push_between(text: &mut String, between: &str, is_before_policy: bool) {
    let mut lines = between.split('\n').map(str::trim);
    // What stands on the last line of the policy before.
    let beside = lines.next().unwrap_or_default();
    let mut lines: Vec<&str> = lines.collect();
    if text.is_empty() {
        lines.insert(0, beside);
    } else {
        lines.extend(lines.is_empty().then_some(""));
        text.push_str(if beside.is_empty() { "" } else { " " });
        text.push_str(beside);
        lines.insert(0, "");
    }
    // The last one is what stands before the policy on its own line.
    lines.extend((!is_before_policy).then_some(""));
    let mut kept: Vec<&str> = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let is_end = index + 1 == lines.len();
        let is_kept = !line.is_empty() || !is_end && kept.last().map_or(!text.is_empty(), |last| !last.is_empty());
        if is_kept {
            kept.push(line);
        }
    }
    if !is_before_policy {
        while kept.last().is_some_and(|line| line.is_empty()) {
            kept.pop();
        }
    }
    if !text.is_empty() {
        text.push('\n');
    }
    for line in kept {
        text.push_str(line);
        text.push('\n');
    }
}

/// What the policies of a text say, in their order: Cedar's JSON form, which knows no places and no blanks.
fn meaning(content: &str) -> Result<Vec<Json>> {
    let set = PolicySet::from_str(content).map_err(|error| anyhow!("{error}"))?;
    let json = set.to_json().map_err(|error| anyhow!("{error}"))?;
    // A text's policies are named by their number.
    let number = |name: &str| name.trim_start_matches("policy").parse::<usize>().unwrap_or(usize::MAX);
    let mut said = Vec::new();
    for kind in ["staticPolicies", "templates"] {
        let mut found: Vec<(usize, Json)> = Vec::new();
        for (name, policy) in json.get(kind).and_then(Json::as_object).into_iter().flatten() {
            found.push((number(name), policy.clone()));
        }
        found.sort_by_key(|(number, _)| *number);
        said.extend(found.into_iter().map(|(_, policy)| policy));
    }
    Ok(said)
}

/// The words of all comments, sorted: a comment may move to another line, but none gets lost.
fn comments(content: &str) -> Vec<&str> {
    let mut found: Vec<&str> = content.lines().filter_map(comment).map(str::trim).collect();
    found.sort_unstable();
    found
}

/// What stands behind `//` outside of texts.
fn comment(line: &str) -> Option<&str> {
    let (mut is_quoted, mut is_escaped, mut last) = (false, false, ' ');
    for (at, c) in line.char_indices() {
        match c {
            '/' if last == '/' && !is_quoted => return line.get(at + 1..),
            '"' if !is_escaped => is_quoted = !is_quoted,
            _ => {}
        }
        is_escaped = is_quoted && c == '\\' && !is_escaped;
        last = c;
    }
    None
}

/// Puts a file in the place of another at once, so that nobody reads half of it.
fn write(path: &Path, text: &str) -> Result<()> {
    let name = path.file_name().context("the path names no file")?.to_string_lossy().into_owned();
    // Names that start with a dot are no files of a realm.
    let beside = path.with_file_name(format!(".{name}.fmt"));
    fs::write(&beside, text)?;
    fs::rename(&beside, path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_put_in_style_and_says_the_same() {
        let content = "// Who may.\n\n\n// Heading.\n\n@id(\"a\")\npermit(principal is User,action,resource)\n\
                       when{principal.a&&   resource.b}; // at the end\n  // behind\nforbid(principal,action,resource) // why\n;";
        let text = formatted(content).unwrap();
        assert_eq!(
            text,
            "// Who may.\n\n// Heading.\n\n@id(\"a\")\npermit (principal is User, action, resource)\n\
             when { principal.a && resource.b }; // at the end\n\n// behind\nforbid (principal, action, resource) // why\n;\n"
        );
    }

    #[test]
    fn a_long_condition_stands_below_its_word() {
        let long = "principal.somethingWithALongName.contains(\"a\") && resource.somethingElseWithALongName.contains(\"bbbbbbbbbbbbbbb\")";
        let text = formatted(&format!("permit(principal,action,resource) when {{{long}}};")).unwrap();
        assert!(text.contains("\nwhen {\n    principal") && text.ends_with("\n};\n"), "{text}");
    }

    #[test]
    fn alternatives_stand_one_below_the_other_and_lists_are_packed() {
        let content = "permit (principal, action in [Action::\"one\", Action::\"two\", Action::\"three-which-is-long\", \
                       Action::\"four-which-is-long\", Action::\"five-which-is-long\"], resource)\n\
                       when { principal.aaaaaaaaaaaaaaaa && principal.bbbbbbbbbbbbbbbbbbbbbbbbbb || !principal.aaaaaaaaaaaaaaaa && \
                       principal.cccccccccccccccccccccc };";
        let text = formatted(content).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[2], "    action in [", "{text}");
        assert!(lines[3].starts_with("        Action::\"one\", Action::\"two\", "), "{text}");
        assert!(
            text.contains("\n    principal.aaaaaaaaaaaaaaaa && principal.bbbbbbbbbbbbbbbbbbbbbbbbbb ||\n"),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_policy_is_refused_and_comments_alone_stay() {
        assert!(formatted("permit (principal").is_err());
        assert_eq!(formatted("// nothing yet\n").unwrap(), "// nothing yet\n");
        assert_eq!(formatted("").unwrap(), "");
    }

    #[test]
    fn comments_are_told_from_texts() {
        for (line, expected) in [
            ("a // b", Some(" b")),
            ("\"http://x\" // b", Some(" b")),
            ("\"http://x\"", None),
            ("\"a\\\"// b\"", None),
            ("a / b", None),
        ] {
            assert_eq!(comment(line), expected, "{line}");
        }
    }
}
