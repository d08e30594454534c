//! `hallpass check`: every fault of realms' files, with its place.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::{
    Outcome,
    render::{Screen, Tone, counted, plain},
};
use crate::{
    domain::{fault::Fault, policy_set::SourceFile, realm::Realm, variant},
    provider::realm_files::read_folder,
    server::below,
};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Folders of realms, or folders that hold such folders
    #[arg(required = true, value_name = "DIR")]
    folders: Vec<PathBuf>,
    /// Count warnings as findings: exit code 1
    #[arg(long)]
    strict: bool,
}

pub(super) fn run(arguments: &Arguments, screen: &mut Screen) -> Result<Outcome> {
    let mut has_findings = false;
    for folder in realm_folders(&arguments.folders)? {
        let files = read(&folder)?;
        let variants = variant::names(&files).into_iter().map(Some);
        for variant in std::iter::once(None).chain(variants) {
            let shown = folder.display();
            let named = variant.map_or_else(|| shown.to_string(), |name| format!("{shown} as {name}"));
            match Realm::compile(&files, variant) {
                Ok(realm) => {
                    has_findings |= warn(&named, &realm, screen)? && arguments.strict;
                    let policies = counted(realm.policies.len() as u64, "policy", "policies");
                    let types = counted(realm.resource_types.len() as u64, "resource type", "resource types");
                    let digest: String = realm.version.0.chars().take(12).collect();
                    let ok = screen.toned(Tone::Good, "ok");
                    for warning in realm.warnings() {
                        let word = screen.toned(Tone::Bad, "warning");
                        screen.line(format_args!("{word}: {}", below(&folder, warning.clone())))?;
                    }
                    screen.line(format_args!("{named}: {policies}, {types}, digest {digest}… {ok}"))?;
                }
                Err(faults) => {
                    has_findings = true;
                    show(&folder, faults, screen)?;
                    // A variant of files that have faults has them too.
                    break;
                }
            }
        }
    }
    Ok(Outcome::of(has_findings))
}

/// Shows what an author should look at though the realm loads; says whether there was anything.
fn warn(named: &str, realm: &Realm, screen: &mut Screen) -> Result<bool> {
    let warnings = realm.grants.as_ref().map(|grants| grants.warnings(&realm.schema)).unwrap_or_default();
    for warning in &warnings {
        screen.line(format_args!("{named}: {}: {}", screen.toned(Tone::Faint, "warning"), plain(warning)))?;
    }
    Ok(!warnings.is_empty())
}

/// Shows the faults of a realm's folder.
pub(super) fn show(folder: &Path, faults: Vec<Fault>, screen: &mut Screen) -> Result<()> {
    let count = counted(faults.len() as u64, "fault", "faults");
    for fault in faults {
        screen.line(below(folder, fault))?;
    }
    Ok(screen.line(format_args!("{}: {}", folder.display(), screen.toned(Tone::Bad, &count)))?)
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
