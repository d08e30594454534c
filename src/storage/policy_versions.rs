//! Keeps every version of a realm's policies that ever decided: a folder each, named by its digest.
//!
//! ```text
//! <digest>/first_used   since when, in microseconds since the epoch
//! <digest>/last_used    when the realm's files last brought it, likewise; no file where that was the first time
//! <digest>/variant      the variant's name; no file where the files count as they stand
//! <digest>/note         the signed note of the bundle that it came in last, if it did
//! <digest>/files/...    the realm's files
//! pin                   the version that decides whatever the files are: digest, time and caller, a line each
//! ```
//! A version is written to a temporary folder, made durable, and renamed; once it is there, nothing changes its files.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
    sync::Arc,
};

use crate::{
    app::ports::archive::{ArchiveError, KeptPolicies, KnownVersion, Pin, PolicyVersions},
    domain::{id::PolicyVersion, policy_set::SourceFile},
};

const FILES: &str = "files";
const VARIANT: &str = "variant";
const FIRST_USED: &str = "first_used";
const LAST_USED: &str = "last_used";
const NOTE: &str = "note";
const PIN: &str = "pin";
/// What the names of unfinished folders begin with.
const TEMPORARY: &str = ".new-";
/// What the names of damaged folders begin with that were put aside.
const ASIDE: &str = ".damaged-";

/// The versions of one realm's policies, in a folder.
#[derive(Debug, Clone)]
pub struct PolicyFolders {
    folder: PathBuf,
}

impl PolicyFolders {
    /// Versions in this folder, which is made where it is missing when the first one is kept.
    pub fn in_folder(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    /// The file that names the version which decides whatever the realm's files are.
    pub fn pin_file(&self) -> PathBuf {
        self.folder.join(PIN)
    }

    fn path(&self, version: &PolicyVersion) -> Option<PathBuf> {
        // What isn't a digest is no folder's name.
        let is_digest = version.0.len() == 64 && version.0.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_digest.then(|| self.folder.join(&*version.0))
    }

    fn write(&self, version: &PolicyVersion, policies: &KeptPolicies, now_us: i64) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let temporary = self.folder.join(format!("{TEMPORARY}{version}"));
        if temporary.exists() {
            fs::remove_dir_all(&temporary)?;
        }
        let mut folders = vec![temporary.clone(), temporary.join(FILES)];
        fs::create_dir_all(temporary.join(FILES))?;
        write_new(&temporary.join(FIRST_USED), &now_us.to_string())?;
        for (name, content) in [(VARIANT, &policies.variant), (NOTE, &policies.note)] {
            if let Some(content) = content {
                write_new(&temporary.join(name), content)?;
            }
        }
        for SourceFile { path, content } in &policies.files {
            let relative = Path::new(path);
            if !relative.components().all(|part| matches!(part, Component::Normal(_))) {
                return Err(io::Error::other(format!("`{path}` leads out of the realm's folder")));
            }
            let path = temporary.join(FILES).join(relative);
            let above = path.ancestors().skip(1).take_while(|above| !above.exists());
            folders.extend(above.map(Path::to_path_buf));
            fs::create_dir_all(path.parent().unwrap_or(&temporary))?;
            write_new(&path, content)?;
        }
        folders.iter().try_for_each(|folder| sync_folder(folder))?;
        fs::rename(&temporary, self.folder.join(&*version.0))?;
        sync_folder(&self.folder)?;
        self.folder.parent().map_or(Ok(()), sync_folder)
    }

    fn read(path: &Path) -> io::Result<KeptPolicies> {
        let mut files = Vec::new();
        let root = path.join(FILES);
        walk(&root, &root, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(KeptPolicies { files, variant: read_text(&path.join(VARIANT))?, note: read_text(&path.join(NOTE))? })
    }

    /// Notes that a version that is kept came once more. Its time need not survive a power cut, its note must.
    fn note_use(&self, kept: &KeptPolicies, policies: &KeptPolicies, now_us: i64) -> io::Result<()> {
        let folder = self.folder.join(&*kept.version().0);
        if policies.note.is_some() && policies.note != kept.note {
            let note = policies.note.as_deref().unwrap_or_default();
            replace(&folder, NOTE, note)?;
            sync_folder(&folder)?;
        }
        let temporary = folder.join(format!("{TEMPORARY}{LAST_USED}"));
        fs::write(&temporary, now_us.to_string())?;
        fs::rename(temporary, folder.join(LAST_USED))
    }
}

impl PolicyVersions for PolicyFolders {
    fn keep(&self, policies: &KeptPolicies, now_us: i64) -> Result<(), ArchiveError> {
        let version = policies.version();
        match self.get(&version) {
            Ok(Some(kept)) => return self.note_use(&kept, policies, now_us).map_err(|error| self.unusable(&error)),
            Ok(None) => {}
            Err(error) => {
                tracing::error!(policy_version = %version, %error, "kept policies are put aside and kept anew");
                let aside = self.folder.join(format!("{ASIDE}{now_us}-{version}"));
                fs::rename(self.folder.join(&*version.0), aside).map_err(|error| self.unusable(&error))?;
            }
        }
        self.write(&version, policies, now_us).map_err(|error| self.unusable(&error))
    }

    fn get(&self, version: &PolicyVersion) -> Result<Option<KeptPolicies>, ArchiveError> {
        let Some(path) = self.path(version).filter(|path| path.is_dir()) else { return Ok(None) };
        let policies = Self::read(&path).map_err(|error| {
            ArchiveError::Damaged(format!("the policies in `{}` cannot be read: {error}", path.display()))
        })?;
        if policies.version() == *version {
            return Ok(Some(policies));
        }
        Err(ArchiveError::Damaged(format!("the policies in `{}` are not what their digest says", path.display())))
    }

    fn list(&self) -> Result<Vec<KnownVersion>, ArchiveError> {
        let known = || -> io::Result<Vec<KnownVersion>> {
            let mut known = Vec::new();
            for entry in fs::read_dir(&self.folder)? {
                let entry = entry?;
                let version = PolicyVersion(entry.file_name().to_string_lossy().into());
                let Some(path) = self.path(&version) else { continue };
                let text = fs::read_to_string(path.join(FIRST_USED))?;
                let first_used_us = text.trim().parse().map_err(|_| io::Error::other("`first_used` is no number"))?;
                let last_used_us = read_text(&path.join(LAST_USED))?.and_then(|text| text.trim().parse().ok());
                let (variant, note) = (read_text(&path.join(VARIANT))?, read_text(&path.join(NOTE))?);
                let last_used_us = last_used_us.unwrap_or(first_used_us);
                known.push(KnownVersion { first_used_us, last_used_us, version, variant, note });
            }
            known.sort_by(|a, b| (a.first_used_us, &a.version).cmp(&(b.first_used_us, &b.version)));
            Ok(known)
        };
        match known() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.folder.exists() => Ok(Vec::new()),
            known => known.map_err(|error| self.unusable(&error)),
        }
    }

    fn pin(&self) -> Result<Option<Pin>, ArchiveError> {
        let Some(text) = read_text(&self.folder.join(PIN)).map_err(|error| self.unusable(&error))? else {
            return Ok(None);
        };
        let mut lines = text.lines();
        let (version, at_us, by) = (lines.next(), lines.next().and_then(|line| line.parse().ok()), lines.next());
        match (version.map(|version| PolicyVersion(version.into())), at_us, by) {
            (Some(version), Some(at_us), Some(by)) if self.path(&version).is_some() => {
                Ok(Some(Pin { version, by: by.into(), at_us }))
            }
            _ => Err(ArchiveError::Damaged(format!("`{}` names no version", self.folder.join(PIN).display()))),
        }
    }

    fn set_pin(&self, pin: Option<&Pin>) -> Result<(), ArchiveError> {
        let set = || match pin {
            Some(Pin { version, by, at_us }) => {
                fs::create_dir_all(&self.folder)?;
                replace(&self.folder, PIN, &format!("{version}\n{at_us}\n{by}\n"))?;
                sync_folder(&self.folder)
            }
            None => match fs::remove_file(self.folder.join(PIN)) {
                Ok(()) => sync_folder(&self.folder),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            },
        };
        set().map_err(|error| self.unusable(&error))
    }
}

impl PolicyFolders {
    fn unusable(&self, error: &io::Error) -> ArchiveError {
        ArchiveError::Unavailable(format!("policies in `{}`: {error}", self.folder.display()))
    }
}

/// The text of a file that may be missing.
fn read_text(path: &Path) -> io::Result<Option<Arc<str>>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(root, &path, files)?;
            continue;
        }
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        files.push(SourceFile { path: parts.join("/"), content: fs::read_to_string(&path)? });
    }
    Ok(())
}

/// Puts a text in the place of what a file said, at once.
fn replace(folder: &Path, name: &str, content: &str) -> io::Result<()> {
    let temporary = folder.join(format!("{TEMPORARY}{name}"));
    if temporary.exists() {
        fs::remove_file(&temporary)?;
    }
    write_new(&temporary, content)?;
    fs::rename(temporary, folder.join(name))
}

fn write_new(path: &Path, content: &str) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

/// Makes the names in a folder durable.
fn sync_folder(folder: &Path) -> io::Result<()> {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policies(content: &str, variant: Option<&str>) -> KeptPolicies {
        let file = |path: &str, content: &str| SourceFile { path: path.to_owned(), content: content.to_owned() };
        let files = vec![file("realm.toml", content), file("variants/odd.toml", "x = 1\n")];
        KeptPolicies { files, variant: variant.map(Into::into), note: None }
    }

    #[test]
    fn a_version_is_kept_once_and_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PolicyFolders::in_folder(&folder.path().join("a/policies"));
        assert_eq!(kept.list().unwrap(), []);
        let (plain, odd) = (policies("a", None), policies("a", Some("odd")));
        for (policies, now_us) in [(&odd, 7), (&plain, 5), (&odd, 9)] {
            kept.keep(policies, now_us).unwrap();
        }
        for policies in [&plain, &odd] {
            assert_eq!(kept.get(&policies.version()).unwrap().as_ref(), Some(policies));
        }
        let listed: Vec<_> =
            kept.list().unwrap().into_iter().map(|known| (known.first_used_us, known.version)).collect();
        assert_eq!(listed, [(5, plain.version()), (7, odd.version())]);
        assert_eq!(kept.get(&policies("b", None).version()).unwrap(), None);
        assert_eq!(kept.get(&PolicyVersion("../a".into())).unwrap(), None);
    }

    #[test]
    fn a_version_that_was_changed_is_not_given_out_and_kept_anew() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PolicyFolders::in_folder(folder.path());
        let policies = policies("a", None);
        let version = policies.version();
        kept.keep(&policies, 1).unwrap();
        let file = folder.path().join(&*version.0).join("files/realm.toml");
        fs::write(&file, "b").unwrap();
        assert!(matches!(kept.get(&version), Err(ArchiveError::Damaged(_))));
        kept.keep(&policies, 2).unwrap();
        assert_eq!(kept.get(&version).unwrap(), Some(policies));
    }

    #[test]
    fn an_unfinished_version_is_none_and_a_path_stays_inside() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PolicyFolders::in_folder(folder.path());
        let mut policies = policies("a", None);
        fs::create_dir_all(folder.path().join(format!("{TEMPORARY}{}", policies.version())).join(FILES)).unwrap();
        assert_eq!(kept.get(&policies.version()).unwrap(), None);
        assert_eq!(kept.list().unwrap(), []);
        kept.keep(&policies, 3).unwrap();
        assert_eq!(kept.get(&policies.version()).unwrap(), Some(policies.clone()));
        policies.files[0].path = "../out".to_owned();
        assert!(matches!(kept.keep(&policies, 3), Err(ArchiveError::Unavailable(_))));
        assert!(!folder.path().join("out").exists());
    }

    #[test]
    fn a_version_that_comes_once_more_keeps_its_files_and_takes_time_and_note() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PolicyFolders::in_folder(folder.path());
        let mut policies = policies("a", None);
        kept.keep(&policies, 3).unwrap();
        let times = || kept.list().unwrap().iter().map(|known| (known.first_used_us, known.last_used_us)).next();
        assert_eq!(times(), Some((3, 3)));
        policies.note = Some("signed".into());
        kept.keep(&policies, 8).unwrap();
        assert_eq!(times(), Some((3, 8)));
        assert_eq!(kept.get(&policies.version()).unwrap(), Some(policies.clone()));
        let without = KeptPolicies { note: None, ..policies.clone() };
        kept.keep(&without, 9).unwrap();
        assert_eq!(kept.get(&policies.version()).unwrap(), Some(policies), "a note stays");
    }

    #[test]
    fn a_pin_stays_until_it_is_taken_away_and_a_broken_one_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PolicyFolders::in_folder(&folder.path().join("policies"));
        assert_eq!(kept.pin().unwrap(), None);
        kept.set_pin(None).unwrap();
        let pin = Pin { version: policies("a", None).version(), by: "ada".into(), at_us: 7 };
        kept.set_pin(Some(&pin)).unwrap();
        assert_eq!(kept.pin().unwrap().as_ref(), Some(&pin));
        assert_eq!(kept.list().unwrap(), []);
        kept.set_pin(None).unwrap();
        assert_eq!(kept.pin().unwrap(), None);
        for broken in ["", "../x\n7\nada\n", &format!("{}\nx\nada\n", pin.version), &format!("{}\n7", pin.version)] {
            fs::write(folder.path().join("policies/pin"), broken).unwrap();
            assert!(matches!(kept.pin(), Err(ArchiveError::Damaged(_))), "{broken}");
        }
    }
}
