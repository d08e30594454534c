//! `hallpass check`: every fault of realms' files, with its place and the likely fix.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use serde_json::{Value as Json, json};

use super::{
    Outcome,
    render::{Screen, Tone, counted, plain},
    report::{
        json_of,
        junit::{self, Case, Failure, Suite},
        sarif,
    },
};
use crate::{
    domain::{
        fault::{Fault, Severity, in_order},
        lint::{self, Checked},
        policy_set::SourceFile,
        policy_test,
        realm::Realm,
    },
    provider::realm_files::read_folder,
    server::below,
};

/// How findings are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Form {
    /// For people.
    #[default]
    Text,
    /// For programs: one object.
    Json,
    /// For code hosts and editors: SARIF 2.1.0.
    Sarif,
    /// For build servers: the XML of `JUnit`, a case for each file.
    Junit,
}

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders of realms, or folders that hold such folders
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Count warnings as findings: exit code 1
    #[arg(long)]
    strict: bool,
    /// How to show what is found
    #[arg(long, value_name = "FORM", value_enum, default_value_t)]
    output: Form,
}

/// What was found in one realm's folder.
struct Found {
    folder: PathBuf,
    files: Vec<SourceFile>,
    checked: Checked,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let found: Vec<Found> = realm_folders(&arguments.folders)?.into_iter().map(check).collect::<Result<_>>()?;
    let faults: Vec<Fault> = found.iter().flat_map(|found| found.checked.faults.iter().cloned()).collect();
    let errors = faults.iter().filter(|fault| fault.is_error()).count();
    match arguments.output {
        Form::Text => found.iter().try_for_each(|found| show_realm(found, screen))?,
        Form::Json => screen.json(&json_form(&found))?,
        Form::Sarif => screen.json(&sarif::log(&faults))?,
        Form::Junit => screen.line(junit::document(&found.iter().map(suite).collect::<Vec<_>>()).trim_end())?,
    }
    if arguments.output == Form::Text && !faults.is_empty() {
        screen.line(summary(errors, faults.len() - errors, found.len()))?;
    }
    Ok(Outcome::of(errors > 0 || arguments.strict && !faults.is_empty()))
}

/// Checks one realm's folder, with what its tests have wrong where the realm itself has nothing. Faults are named by the
/// path that leads there.
fn check(folder: PathBuf) -> Result<Found> {
    let files = read(&folder)?;
    let mut checked = lint::check(&files);
    if !checked.faults.iter().any(Fault::is_error) {
        checked.faults.extend(policy_test::run(&files).err().into_iter().flatten());
    }
    checked.faults = in_order(checked.faults).into_iter().map(|fault| below(&folder, fault)).collect();
    Ok(Found { folder, files, checked })
}

fn show_realm(found: &Found, screen: &mut Screen) -> Result<()> {
    for fault in &found.checked.faults {
        let text = shown(fault, screen);
        screen.line(text)?;
    }
    let has_errors = found.checked.faults.iter().any(Fault::is_error);
    // The first is the realm as it stands, the others are its variants.
    let realms = found.checked.realms.iter().filter(|_| !has_errors);
    for realm in realms {
        let ok = screen.toned(Tone::Good, "ok");
        screen.line(format_args!("{} {ok}", described(&found.folder, realm)))?;
    }
    Ok(())
}

fn described(folder: &Path, realm: &Realm) -> String {
    let shown = folder.display();
    let named = realm.variant.as_ref().map_or_else(|| shown.to_string(), |name| format!("{shown} as {name}"));
    let policies = counted(realm.policies.len() as u64, "policy", "policies");
    let types = counted(realm.resource_types.len() as u64, "resource type", "resource types");
    let digest: String = realm.version.0.chars().take(12).collect();
    format!("{named}: {policies}, {types}, digest {digest}…")
}

/// `2 errors, 1 warning in 3 realms`.
fn summary(errors: usize, warnings: usize, realms: usize) -> String {
    let (errors, warnings) =
        (counted(errors as u64, "error", "errors"), counted(warnings as u64, "warning", "warnings"));
    format!("{errors}, {warnings} in {}", counted(realms as u64, "realm", "realms"))
}

/// A fault for people: its weight in colour, and nothing in it that could steer the terminal.
pub(super) fn shown(fault: &Fault, screen: &Screen) -> String {
    let lines: Vec<String> = fault.to_string().lines().map(|line| line.replace('\t', "    ")).collect();
    let tone = match fault.severity {
        Severity::Error => Tone::Bad,
        Severity::Warning => Tone::Faint,
    };
    let word = format!(" {}[{}]:", fault.severity.word(), fault.code.as_str());
    let toned = format!(" {}:", screen.toned(tone, word.trim_matches([' ', ':'])));
    let text: Vec<String> = lines.iter().map(|line| plain(line)).collect();
    text.join("\n").replacen(&word, &toned, 1)
}

/// Shows the faults of a realm's folder.
pub(super) fn show(folder: &Path, faults: Vec<Fault>, screen: &mut Screen) -> Result<()> {
    let count = counted(faults.len() as u64, "fault", "faults");
    for fault in faults {
        let text = shown(&below(folder, fault), screen);
        screen.line(text)?;
    }
    Ok(screen.line(format_args!("{}: {}", folder.display(), screen.toned(Tone::Bad, &count)))?)
}

fn json_form(found: &[Found]) -> Json {
    let realms = found.iter().map(|Found { folder, checked, .. }| {
        let versions = checked.realms.iter().map(|realm| {
            json!({
                "variant": realm.variant.as_deref(),
                "policies": realm.policies.len(),
                "resource_types": realm.resource_types.len(),
                "policy_version": realm.version.to_string(),
            })
        });
        let (errors, warnings): (Vec<&Fault>, Vec<&Fault>) = checked.faults.iter().partition(|fault| fault.is_error());
        json!({
            "folder": folder.display().to_string(),
            "is_good": errors.is_empty(),
            "errors": errors.len(),
            "warnings": warnings.len(),
            "faults": checked.faults.iter().map(json_of).collect::<Vec<_>>(),
            "versions": versions.collect::<Vec<_>>(),
        })
    });
    json!({ "realms": realms.collect::<Vec<_>>() })
}

/// A suite for the realm, a case for each of its files and for what isn't there.
fn suite(found: &Found) -> Suite {
    let Found { folder, files, checked } = found;
    let mut paths: Vec<String> = files.iter().map(|file| folder.join(&file.path).display().to_string()).collect();
    paths.extend(checked.faults.iter().map(|fault| fault.file.clone()));
    paths.sort();
    paths.dedup();
    let case = |path: String| {
        let own = || checked.faults.iter().filter(|fault| fault.file == path);
        let errors: Vec<&Fault> = own().filter(|fault| fault.is_error()).collect();
        let text = |faults: &[&Fault]| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
        let failure = errors.first().map(|first| Failure {
            kind: first.code.as_str().to_owned(),
            message: first.message.clone(),
            text: text(&errors),
        });
        let warnings: Vec<&Fault> = own().filter(|fault| !fault.is_error()).collect();
        let class = folder.display().to_string();
        Case { output: text(&warnings), name: path, class, seconds: None, failure }
    };
    Suite { name: folder.display().to_string(), cases: paths.into_iter().map(case).collect() }
}

/// The files of a realm's folder.
pub(super) fn read(folder: &Path) -> Result<Vec<SourceFile>> {
    read_folder(folder).map_err(anyhow::Error::msg)
}

/// The folders with a realm.toml among these and directly below them, in order.
pub(super) fn realm_folders(folders: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in folders {
        if folder.join("realm.toml").is_file() {
            found.push(folder.clone());
            continue;
        }
        let entries = fs::read_dir(folder).with_context(|| {
            format!("cannot read `{}`; name a realm's folder, or one that holds such folders", folder.display())
        })?;
        let mut below: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        below.retain(|folder| folder.join("realm.toml").is_file());
        below.sort();
        if below.is_empty() {
            bail!("no realm.toml in `{}` or directly below; a realm's folder has one", folder.display());
        }
        found.append(&mut below);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_realms_folder_is_found_itself_and_below() {
        let root = tempfile::tempdir().unwrap();
        for realm in ["b", "a"] {
            fs::create_dir(root.path().join(realm)).unwrap();
            fs::write(root.path().join(realm).join("realm.toml"), "").unwrap();
        }
        let path = |name: &str| root.path().join(name);
        assert_eq!(realm_folders(&[root.path().to_owned()]).unwrap(), [path("a"), path("b")]);
        assert_eq!(realm_folders(&[path("b")]).unwrap(), [path("b")]);
        fs::create_dir(path("empty")).unwrap();
        assert!(realm_folders(&[path("empty")]).unwrap_err().to_string().starts_with("no realm.toml in "));
        assert!(realm_folders(&[path("none")]).unwrap_err().to_string().starts_with("cannot read "));
    }
}
