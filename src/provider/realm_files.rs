//! Reads the files of realms, from folders and from bundles.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use sha2::{Digest as _, Sha256};

use super::bundle;
use crate::{
    app::ports::{CALLERS_REALM, Fingerprint, RealmFiles, RealmSource, archive::KeptPolicies},
    domain::{bundle::Seal, id::RealmName, policy_set::SourceFile, signed_note::VerifierKey},
};

/// The policies that judge who reads the decision log, as the program carries them along.
mod caller_files {
    include!(concat!(env!("OUT_DIR"), "/caller_files.rs"));
}

/// Where a realm's files are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In a folder.
    Folder(PathBuf),
    /// In a bundle.
    Bundle(Bundle),
}

/// A bundle of a realm's files, and who must have signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The file; its signed note is beside it, with `.sig` behind the name.
    pub file: PathBuf,
    /// The name that it must be signed for.
    pub name: Arc<str>,
    /// The keys of which one must have signed it; without any, nobody has to.
    pub keys: Vec<VerifierKey>,
}

impl Place {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the folder or file and what is wrong with it.
    pub fn read(&self) -> Result<RealmFiles, String> {
        match self {
            Self::Folder(folder) => read_at_rest(folder).map(RealmFiles::unsigned),
            Self::Bundle(Bundle { file, name, keys }) => bundle::read(file, name, keys),
        }
    }

    /// The folder that relative paths of the realm's files start at.
    pub fn folder(&self) -> &Path {
        match self {
            Self::Folder(folder) => folder,
            Self::Bundle(bundle) => bundle.file.parent().unwrap_or(Path::new("")),
        }
    }

    /// What faults in the files are named below: the folder, or the bundle.
    pub fn shown(&self) -> &Path {
        match self {
            Self::Folder(path) | Self::Bundle(Bundle { file: path, .. }) => path,
        }
    }

    /// What is as long the same as nothing changes there.
    fn fingerprint(&self) -> Fingerprint {
        match self {
            Self::Folder(folder) => fingerprint(folder),
            Self::Bundle(Bundle { file, .. }) => {
                let mut look = Look::default();
                look.at(file);
                look.at(&bundle::note_of(file));
                look.end()
            }
        }
    }

    /// Whether kept policies may decide here; the name of the key that signed them, if somebody had to.
    ///
    /// # Errors
    /// A sentence that says what is missing.
    pub fn vouch(&self, kept: &KeptPolicies) -> Result<Option<Arc<str>>, String> {
        let Self::Bundle(Bundle { name, keys, .. }) = self else { return Ok(None) };
        if keys.is_empty() {
            return Ok(None);
        }
        let note = kept.note.as_deref().ok_or("it was kept without a signature, and `bundle_keys` ask for one")?;
        let seal = Seal::open(note, keys, name).and_then(|seal| seal.holds(&kept.files).map(|()| seal));
        seal.map(|seal| Some(seal.signer)).map_err(|error| format!("its note {error}"))
    }
}

/// Where the files of each realm are.
#[derive(Debug, Clone, Default)]
pub struct RealmFolders {
    places: BTreeMap<RealmName, Place>,
    /// The folders of candidates.
    shadows: BTreeMap<RealmName, PathBuf>,
}

/// The endings of the files that belong to a realm; others, and names that start with a dot, are left alone.
const ENDINGS: [&str; 7] = ["toml", "cedar", "cedarschema", "json", "yaml", "yml", "xml"];

/// A realm's files may be this large together.
pub const REALM_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// A realm's folder may hold this many files and folders, whatever they are.
const ENTRIES_MAX: usize = 20_000;

/// Folders may lie so deep in each other; a link that leads to a folder above itself never ends.
const DEPTH_MAX: usize = 16;

/// Files that change while they are read are read again so often.
const READINGS_MAX: usize = 3;

impl RealmFolders {
    /// Names the place of each realm.
    pub fn new(places: BTreeMap<RealmName, Place>) -> Self {
        Self { places, shadows: BTreeMap::new() }
    }

    /// The same, with the folders of candidates that are to decide in realms' shadows.
    #[must_use]
    pub fn with_shadows(self, shadows: BTreeMap<RealmName, PathBuf>) -> Self {
        Self { shadows, ..self }
    }
}

impl RealmSource for RealmFolders {
    fn read(&self, realm: &RealmName) -> Result<RealmFiles, String> {
        match self.places.get(realm) {
            Some(place) => place.read(),
            None if realm.as_str() == CALLERS_REALM => Ok(RealmFiles::unsigned(embedded_caller_policies())),
            None => Err(format!("realm `{realm}` has no folder")),
        }
    }

    fn candidate(&self, realm: &RealmName) -> Option<Result<Vec<SourceFile>, String>> {
        self.shadows.get(realm).map(|folder| read_at_rest(folder))
    }

    fn fingerprint(&self, realm: &RealmName) -> Fingerprint {
        let own = self.places.get(realm).map(Place::fingerprint).unwrap_or_default();
        let Some(shadow) = self.shadows.get(realm) else { return own };
        let mut look = Look::default();
        look.0.update(own);
        look.0.update(fingerprint(shadow));
        look.end()
    }

    fn vouch(&self, realm: &RealmName, kept: &KeptPolicies) -> Result<Option<Arc<str>>, String> {
        self.places.get(realm).map_or(Ok(None), |place| place.vouch(kept))
    }
}

/// The policies that judge who reads the decision log where a deployment has none of its own, sorted by path.
pub fn embedded_caller_policies() -> Vec<SourceFile> {
    let files = caller_files::FILES.iter().filter(|(path, _)| is_realm_file(Path::new(path)));
    files.map(|(path, content)| SourceFile { path: (*path).to_owned(), content: (*content).to_owned() }).collect()
}

/// Files of this name belong to a realm.
pub(super) fn is_realm_file(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ENDINGS.iter().any(|known| ending == *known))
}

/// All files of a realm's folder as they were together at one moment: what changes meanwhile is read again.
fn read_at_rest(folder: &Path) -> Result<Vec<SourceFile>, String> {
    for _ in 0..READINGS_MAX {
        let before = fingerprint(folder);
        let read = read_folder(folder);
        if fingerprint(folder) == before {
            return read;
        }
    }
    Err(format!("`{}` changes while it is read; it is to be read again when it has come to rest", folder.display()))
}

/// All files of a realm's folder, sorted by path.
///
/// # Errors
/// A sentence that names the folder or file and what is wrong with it.
pub fn read_folder(folder: &Path) -> Result<Vec<SourceFile>, String> {
    if !folder.is_dir() {
        return Err(format!("`{}` is no folder, expected a realm's folder with a realm.toml", folder.display()));
    }
    let (mut files, mut bytes) = (Vec::new(), 0);
    for path in realm_files(folder)? {
        let (content, length) = read_file(&path, REALM_BYTES_MAX - bytes).map_err(|error| match error.kind() {
            io::ErrorKind::FileTooLarge => {
                let path = path.display();
                format!("`{}` holds more than {REALM_BYTES_MAX} bytes of realm files, up to `{path}`", folder.display())
            }
            _ => say(&path, &error),
        })?;
        bytes += length;
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        let parts: Vec<String> =
            relative.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
        files.push(SourceFile { path: parts.join("/"), content });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

/// Reads a file of at most so many bytes, and says how many it has.
fn read_file(path: &Path, bytes_max: u64) -> io::Result<(String, u64)> {
    // What is no file may never end, or wait for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut content = Vec::new();
    let length = File::open(path)?.take(bytes_max + 1).read_to_end(&mut content)? as u64;
    if length > bytes_max {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let content = String::from_utf8(content).map_err(|error| {
        let line =
            error.as_bytes().iter().take(error.utf8_error().valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
        io::Error::other(format!("line {line} is not UTF-8"))
    })?;
    Ok((content, length))
}

fn say(path: &Path, error: &io::Error) -> String {
    format!("cannot read `{}`: {error}", path.display())
}

/// The paths of a realm's files, in no order. Links are followed, as those are that lead into another folder at each change.
fn realm_files(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let (mut files, mut entries) = (Vec::new(), 0);
    let mut waiting = vec![(folder.to_owned(), 0)];
    while let Some((folder, depth)) = waiting.pop() {
        for entry in fs::read_dir(&folder).map_err(|error| say(&folder, &error))? {
            let path = entry.map_err(|error| say(&folder, &error))?.path();
            entries += 1;
            if entries > ENTRIES_MAX || depth > DEPTH_MAX {
                return Err(format!(
                    "`{}` holds more than {ENTRIES_MAX} files, or folders more than {DEPTH_MAX} deep",
                    folder.display()
                ));
            }
            let is_hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if is_hidden {
                continue;
            }
            if path.is_dir() {
                waiting.push((path, depth + 1));
            } else if is_realm_file(&path) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

/// What is as long the same as no file of a realm's folder changes: a hash of their names, sizes, times and numbers, and of
/// where links lead.
fn fingerprint(folder: &Path) -> Fingerprint {
    let mut look = Look::default();
    match realm_files(folder) {
        Ok(mut files) => {
            files.sort_unstable();
            look.at(folder);
            for file in &files {
                look.at(file);
            }
        }
        Err(message) => look.0.update(message),
    }
    look.end()
}

/// A hash of what can be seen of files without reading them.
#[derive(Default)]
struct Look(Sha256);

impl Look {
    fn at(&mut self, path: &Path) {
        // Where all links on the way lead: the folder that they were put into may have been exchanged.
        let real = fs::canonicalize(path).unwrap_or_default();
        for text in [path, &real] {
            let text = text.as_os_str().as_encoded_bytes();
            self.0.update((text.len() as u64).to_be_bytes());
            self.0.update(text);
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => self.0.update([0]),
            Ok(metadata) => numbers(&metadata).into_iter().for_each(|number| self.0.update(number.to_be_bytes())),
            Err(error) => self.0.update(error.to_string()),
        }
    }

    fn end(self) -> Fingerprint {
        self.0.finalize().into()
    }
}

/// Size, times and number of a file. A time that was set back shows in the time of the last change to the file's entry.
fn numbers(metadata: &fs::Metadata) -> [i128; 7] {
    use std::os::unix::fs::MetadataExt as _;
    [
        metadata.len().into(),
        metadata.mtime().into(),
        metadata.mtime_nsec().into(),
        metadata.ctime().into(),
        metadata.ctime_nsec().into(),
        metadata.dev().into(),
        metadata.ino().into(),
    ]
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
        assert_eq!(
            RealmFolders::default().read(&CALLERS_REALM.parse().unwrap()).unwrap().files,
            embedded_caller_policies()
        );
    }

    #[test]
    fn a_folder_that_is_none_is_named() {
        assert!(read_folder(Path::new("nowhere")).unwrap_err().starts_with("`nowhere` is no folder"));
    }

    fn write(folder: &Path, files: &[(&str, &str)]) {
        for (path, content) in files {
            let path = folder.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    fn paths(folder: &Path) -> Vec<String> {
        read_folder(folder).unwrap().into_iter().map(|file| file.path).collect()
    }

    #[test]
    fn what_belongs_to_a_realm_is_read_and_nothing_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["realm.toml", "a.cedar", "b/c.yaml", ".d.toml", ".e/f.toml", "g.txt", "h.cedar~", ".i.cedar.swp"];
        write(folder.path(), &files.map(|path| (path, "")));
        assert_eq!(paths(folder.path()), ["a.cedar", "b/c.yaml", "realm.toml"]);
    }

    #[test]
    fn links_into_a_hidden_folder_are_followed_and_seen_when_they_lead_elsewhere() {
        use std::os::unix::fs::symlink;
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(folder.path(), &[("..v1/a.cedar", "one"), ("..v1/tests/t.yaml", ""), ("..v2/a.cedar", "two")]);
        symlink("..v1", path("..data")).unwrap();
        symlink("..data/a.cedar", path("a.cedar")).unwrap();
        symlink("..data/tests", path("tests")).unwrap();
        assert_eq!(paths(folder.path()), ["a.cedar", "tests/t.yaml"]);
        let before = fingerprint(folder.path());
        assert_eq!(fingerprint(folder.path()), before, "nothing changed");
        symlink("..v2", path("..data_tmp")).unwrap();
        fs::rename(path("..data_tmp"), path("..data")).unwrap();
        assert_ne!(fingerprint(folder.path()), before);
        assert_eq!(read_folder(folder.path()).unwrap()[0].content, "two");
    }

    #[test]
    fn every_change_of_a_realms_files_is_seen_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        write(folder.path(), &[("a.cedar", "one"), ("b/c.yaml", "")]);
        let mut last = fingerprint(folder.path());
        let mut check = |what: &str, is_seen: bool, change: &dyn Fn()| {
            change();
            let now = fingerprint(folder.path());
            assert_eq!(now != last, is_seen, "{what}");
            last = now;
        };
        check("nothing", false, &|| {});
        check("a file that is none of the realm's", false, &|| fs::write(path("notes.txt"), "x").unwrap());
        check("an editor's own file", false, &|| fs::write(path(".a.cedar.swp"), "x").unwrap());
        check("content", true, &|| fs::write(path("a.cedar"), "three").unwrap());
        check("a new file", true, &|| fs::write(path("d.cedar"), "").unwrap());
        check("a new name", true, &|| fs::rename(path("d.cedar"), path("e.cedar")).unwrap());
        check("renamed over, of the same size and time", true, &|| {
            let time = fs::metadata(path("a.cedar")).unwrap().modified().unwrap();
            fs::write(path("x.txt"), "eerht").unwrap();
            File::options().write(true).open(path("x.txt")).unwrap().set_modified(time).unwrap();
            fs::rename(path("x.txt"), path("a.cedar")).unwrap();
        });
        check("a removed file", true, &|| fs::remove_file(path("e.cedar")).unwrap());
        check("a removed folder", true, &|| fs::remove_dir_all(path("b")).unwrap());
        check("no folder any more", true, &|| fs::remove_dir_all(folder.path()).unwrap());
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        use std::os::unix::fs::symlink;
        let check = |name: &str, expected: &str, make: &dyn Fn(&Path)| {
            let folder = tempfile::tempdir().unwrap();
            make(&folder.path().join(name));
            let message = read_folder(folder.path()).unwrap_err();
            assert!(message.contains(name) && message.contains(expected), "{message}");
        };
        check("a.cedar", "No such file", &|path| symlink("nowhere", path).unwrap());
        check("a.toml", "line 2 is not UTF-8", &|path| fs::write(path, b"a = 1\n\xff").unwrap());
        check("a.json", "holds more than 67108864 bytes", &|path| {
            File::create(path).unwrap().set_len(REALM_BYTES_MAX + 1).unwrap();
        });
        check("loop", "16 deep", &|path| symlink(".", path).unwrap());
        check("socket.toml", "it is no file", &|path| {
            std::os::unix::net::UnixListener::bind(path).unwrap();
        });
    }

    #[test]
    fn a_folder_that_does_not_come_to_rest_is_not_read_half() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), &[("a.cedar", "one")]);
        assert_eq!(read_at_rest(folder.path()).unwrap().len(), 1);
        let is_over = Arc::new(std::sync::atomic::AtomicBool::default());
        let (writer, path) = (Arc::clone(&is_over), folder.path().to_owned());
        let writing = std::thread::spawn(move || {
            // Both files change together but for a moment, as when one folder takes the place of another.
            for number in 0_u64.. {
                let next = path.join(".next");
                fs::create_dir_all(&next).unwrap();
                fs::write(next.join("a.cedar"), number.to_string()).unwrap();
                fs::rename(next.join("a.cedar"), path.join("a.cedar")).unwrap();
                if writer.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
        });
        for _ in 0..100 {
            match read_at_rest(folder.path()) {
                Ok(files) => assert!(!files[0].content.is_empty()),
                Err(message) => assert!(message.contains("changes while it is read"), "{message}"),
            }
        }
        is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        writing.join().unwrap();
    }
}
