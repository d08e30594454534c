//! Keeps every version of a realm's policies that ever decided: a folder each, named by its digest.
//!
//! ```text
//! <digest>/first_used   since when, in microseconds since the epoch
//! <digest>/variant      the variant's name; no file where the files count as they stand
//! <digest>/files/...    the realm's files
//! ```
//! A version is written to a temporary folder, made durable, and renamed; once it is there, nothing changes it.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Component, Path, PathBuf},
};

use crate::{
    app::ports::archive::{ArchiveError, KeptPolicies, KnownVersion, PolicyVersions},
    domain::{id::PolicyVersion, policy_set::SourceFile},
};

const FILES: &str = "files";
const VARIANT: &str = "variant";
const FIRST_USED: &str = "first_used";
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
        if let Some(variant) = &policies.variant {
            write_new(&temporary.join(VARIANT), variant)?;
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
        Ok(KeptPolicies { files, variant: read_variant(path)? })
    }
}

impl PolicyVersions for PolicyFolders {
    fn keep(&self, policies: &KeptPolicies, now_us: i64) -> Result<(), ArchiveError> {
        let version = policies.version();
        match self.get(&version) {
            Ok(Some(_)) => return Ok(()),
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
                known.push(KnownVersion { first_used_us, version, variant: read_variant(&path)? });
            }
            known.sort_by(|a, b| (a.first_used_us, &a.version).cmp(&(b.first_used_us, &b.version)));
            Ok(known)
        };
        match known() {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !self.folder.exists() => Ok(Vec::new()),
            known => known.map_err(|error| self.unusable(&error)),
        }
    }
}

impl PolicyFolders {
    fn unusable(&self, error: &io::Error) -> ArchiveError {
        ArchiveError::Unavailable(format!("policies in `{}`: {error}", self.folder.display()))
    }
}

fn read_variant(path: &Path) -> io::Result<Option<std::sync::Arc<str>>> {
    match fs::read_to_string(path.join(VARIANT)) {
        Ok(name) => Ok(Some(name.into())),
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
        KeptPolicies { files, variant: variant.map(Into::into) }
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
}
