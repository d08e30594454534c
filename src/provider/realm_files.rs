//! Reads the folders of realms.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use crate::{
    app::ports::{CALLERS_REALM, RealmSource},
    domain::{id::RealmName, policy_set::SourceFile},
};

/// The policies that judge who reads the decision log, as the program carries them along.
mod caller_files {
    include!(concat!(env!("OUT_DIR"), "/caller_files.rs"));
}

/// The folder of each realm.
#[derive(Debug, Clone, Default)]
pub struct RealmFolders(BTreeMap<RealmName, PathBuf>);

/// The endings of the files that belong to a realm; others, and names that start with a dot, are left alone.
const ENDINGS: [&str; 7] = ["toml", "cedar", "cedarschema", "json", "yaml", "yml", "xml"];

/// A realm's files may be this large together.
pub const REALM_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl RealmFolders {
    /// Names the folder of each realm.
    pub fn new(folders: BTreeMap<RealmName, PathBuf>) -> Self {
        Self(folders)
    }
}

impl RealmSource for RealmFolders {
    fn read(&self, realm: &RealmName) -> Result<Vec<SourceFile>, String> {
        match self.0.get(realm) {
            Some(folder) => read_folder(folder),
            None if realm.as_str() == CALLERS_REALM => Ok(embedded_caller_policies()),
            None => Err(format!("realm `{realm}` has no folder")),
        }
    }
}

/// The policies that judge who reads the decision log where a deployment has none of its own, sorted by path.
pub fn embedded_caller_policies() -> Vec<SourceFile> {
    let files = caller_files::FILES.iter().filter(|(path, _)| is_realm_file(Path::new(path)));
    files.map(|(path, content)| SourceFile { path: (*path).to_owned(), content: (*content).to_owned() }).collect()
}

fn is_realm_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// All files of a realm's folder, sorted by path.
///
/// # Errors
/// A sentence that names the folder or file and what is wrong with it.
pub fn read_folder(folder: &Path) -> Result<Vec<SourceFile>, String> {
    if !folder.is_dir() {
        return Err(format!("`{}` is no folder, expected a realm's folder with a realm.toml", folder.display()));
    }
    let mut files = Vec::new();
    let mut bytes = 0;
    walk(folder, folder, &mut files, &mut bytes)?;
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<SourceFile>, bytes: &mut u64) -> Result<(), String> {
    let say = |path: &Path, error: std::io::Error| format!("cannot read `{}`: {error}", path.display());
    for entry in fs::read_dir(folder).map_err(|error| say(folder, error))? {
        let path = entry.map_err(|error| say(folder, error))?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        if is_hidden {
            continue;
        }
        if path.is_dir() {
            walk(root, &path, files, bytes)?;
            continue;
        }
        if !is_realm_file(&path) {
            continue;
        }
        *bytes += fs::metadata(&path).map_err(|error| say(&path, error))?.len();
        if *bytes > REALM_BYTES_MAX {
            return Err(format!("`{}` holds more than {REALM_BYTES_MAX} bytes of realm files", root.display()));
        }
        let content = fs::read_to_string(&path).map_err(|error| say(&path, error))?;
        let relative = path.strip_prefix(root).unwrap_or(&path);
        let parts: Vec<String> =
            relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        files.push(SourceFile { path: parts.join("/"), content });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{policy_test, realm::Realm};

    #[test]
    fn the_realms_in_policies_compile_and_pass_their_own_tests() {
        let policies = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies");
        for entry in fs::read_dir(policies).unwrap() {
            let files = read_folder(&entry.unwrap().path()).unwrap();
            Realm::compile(&files, None).unwrap_or_else(|faults| {
                panic!("{}", faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))
            });
            let results = policy_test::run(&files).unwrap_or_else(|faults| panic!("{faults:#?}"));
            let failed: Vec<_> = results.iter().filter(|case| !case.differences.is_empty()).collect();
            assert!(failed.is_empty(), "{} of {}: {failed:#?}", failed.len(), results.len());
            assert!(results.len() > 20);
        }
    }

    #[test]
    fn the_embedded_caller_policies_are_those_of_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("policies").join(CALLERS_REALM);
        assert_eq!(embedded_caller_policies(), read_folder(&folder).unwrap());
        assert_eq!(RealmFolders::default().read(&CALLERS_REALM.parse().unwrap()).unwrap(), embedded_caller_policies());
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        assert!(read_folder(Path::new("nowhere")).unwrap_err().starts_with("`nowhere` is no folder"));
    }
}
