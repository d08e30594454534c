//! Bundles of a realm's files: a tar archive, written one way only, and a signed note beside it.
//!
//! The archive is checked against its note before it is taken apart, and what comes out must make the same bytes again. So
//! nothing can stand in it that is not shown: no link, no path that leads elsewhere, no second file of a name, nothing
//! behind its end.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
};

use tar::{Archive, EntryType, Header};

use super::realm_files::{REALM_BYTES_MAX, is_realm_file};
use crate::{
    app::ports::RealmFiles,
    domain::{
        bundle::Seal,
        policy_set::SourceFile,
        signed_note::{NOTE_BYTES_MAX, VerifierKey},
    },
};

/// A bundle may hold this many files.
pub const FILES_MAX: usize = 10_000;

/// A bundle may be this long: the files, and a header and filling for each.
const BUNDLE_BYTES_MAX: u64 = REALM_BYTES_MAX + 1024 * FILES_MAX as u64 + END_BYTES as u64;

/// An archive ends with two empty blocks.
const END_BYTES: usize = 1024;

/// The file with the signed note of a bundle.
pub fn note_of(bundle: &Path) -> PathBuf {
    let mut name = bundle.as_os_str().to_owned();
    name.push(".sig");
    name.into()
}

/// Puts files together to a bundle: the same bytes for the same files, whenever and wherever.
///
/// # Errors
/// A path that is too long or leads elsewhere.
pub fn pack(files: &[SourceFile]) -> io::Result<Vec<u8>> {
    let mut sorted: Vec<&SourceFile> = files.iter().collect();
    sorted.sort_by(|a, b| a.path.cmp(&b.path));
    let mut bytes = Vec::new();
    for SourceFile { path, content } in sorted {
        check_path(path).map_err(io::Error::other)?;
        let mut header = Header::new_ustar();
        header.set_path(path)?;
        header.set_entry_type(EntryType::Regular);
        header.set_mode(0o644);
        header.set_size(content.len() as u64);
        for set in [Header::set_uid, Header::set_gid, Header::set_mtime] {
            set(&mut header, 0);
        }
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(content.as_bytes());
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.resize(bytes.len() + END_BYTES, 0);
    Ok(bytes)
}

/// Takes a bundle apart; the files are sorted by path.
///
/// # Errors
/// What is in it that [`pack`] does not write.
pub fn unpack(bytes: &[u8]) -> Result<Vec<SourceFile>, String> {
    let mut files: Vec<SourceFile> = Vec::new();
    let damaged = |error: io::Error| format!("is no archive: {error}");
    for entry in Archive::new(bytes).entries().map_err(damaged)?.raw(true) {
        let mut entry = entry.map_err(damaged)?;
        let path = String::from_utf8(entry.path_bytes().into_owned()).map_err(|_| "holds a path that is not UTF-8")?;
        if entry.header().entry_type() != EntryType::Regular {
            return Err(format!("holds `{path}`, which is no plain file"));
        }
        check_path(&path)?;
        if files.last().is_some_and(|last| last.path >= path) {
            return Err(format!("holds `{path}` twice, or not in order"));
        }
        if files.len() >= FILES_MAX {
            return Err(format!("holds more than {FILES_MAX} files"));
        }
        let mut content = String::new();
        entry.read_to_string(&mut content).map_err(|error| format!("holds `{path}`, which cannot be read: {error}"))?;
        files.push(SourceFile { path, content });
    }
    match pack(&files) {
        Ok(again) if again == bytes => Ok(files),
        _ => {
            Err("is not written as `hallpass policies bundle` writes it: there may be more in it than its files"
                .to_owned())
        }
    }
}

/// Takes the path of a realm's file, below the realm's folder.
fn check_path(path: &str) -> Result<(), String> {
    let is_below = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let is_plain = path.split('/').all(|part| !part.is_empty() && !part.starts_with('.'));
    let is_text = !path.contains(|c: char| c.is_control() || c == '\\');
    if is_below && is_plain && is_text && is_realm_file(Path::new(path)) {
        return Ok(());
    }
    Err(format!("holds `{}`, which is no path of a realm's file", path.escape_debug()))
}

/// Reads a bundle; one of the keys must have signed it for this name, unless there are none.
///
/// # Errors
/// A sentence that names the file and what is wrong with it, or with its note.
pub fn read(bundle: &Path, name: &str, keys: &[VerifierKey]) -> Result<RealmFiles, String> {
    let wrong = |path: &Path, what: String| format!("`{}` {what}", path.display());
    let note_file = note_of(bundle);
    let seal = match keys {
        [] => None,
        keys => {
            let note = read_limited(&note_file, NOTE_BYTES_MAX as u64).map_err(|error| {
                let trusted: Vec<String> = keys.iter().map(short).collect();
                let trusted = trusted.join(", ");
                wrong(&note_file, format!("cannot be read, and the bundle must be signed by {trusted}: {error}"))
            })?;
            let note = String::from_utf8(note)
                .map_err(|_| wrong(&note_file, "is no signed note: it is not UTF-8".to_owned()))?;
            Some(Seal::open(&note, keys, name).map_err(|error| wrong(&note_file, error.to_string()))?)
        }
    };
    let bytes =
        read_limited(bundle, BUNDLE_BYTES_MAX).map_err(|error| wrong(bundle, format!("cannot be read: {error}")))?;
    if let Some(seal) = &seal {
        seal.covers(&bytes).map_err(|error| wrong(&note_file, error.to_string()))?;
    }
    let files = unpack(&bytes).map_err(|what| wrong(bundle, what))?;
    if let Some(seal) = &seal {
        seal.holds(&files).map_err(|error| wrong(&note_file, error.to_string()))?;
    }
    Ok(RealmFiles { files, seal })
}

/// What a key is called in faults: the beginning of its text, without the key itself.
fn short(key: &VerifierKey) -> String {
    format!("`{}+{:08x}`", key.name(), u32::from_be_bytes(key.id()))
}

fn read_limited(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    let length = File::open(path)?.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if length as u64 > bytes_max {
        return Err(io::Error::other(format!("it is longer than {bytes_max} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, content: &str) -> SourceFile {
        SourceFile { path: path.to_owned(), content: content.to_owned() }
    }

    fn files() -> Vec<SourceFile> {
        vec![file("a.cedar", "permit"), file("realm.toml", ""), file("tests/x.yaml", &"é".repeat(300))]
    }

    /// An archive with entries of any kind.
    fn archive(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (kind, path, content) in entries {
            let mut header = Header::new_ustar();
            header.set_entry_type(*kind);
            header.as_ustar_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            for set in [Header::set_uid, Header::set_gid, Header::set_mtime] {
                set(&mut header, 0);
            }
            header.set_cksum();
            bytes.extend(header.as_bytes());
            bytes.extend(content.as_bytes());
            bytes.resize(bytes.len().next_multiple_of(512), 0);
        }
        bytes.resize(bytes.len() + END_BYTES, 0);
        bytes
    }

    #[test]
    fn files_come_out_as_they_were_put_in_whatever_their_order() {
        let bytes = pack(&files()).unwrap();
        let mut turned = files();
        turned.reverse();
        assert_eq!(pack(&turned).unwrap(), bytes);
        assert_eq!(unpack(&bytes).unwrap(), files());
        assert_eq!(unpack(&pack(&[]).unwrap()).unwrap(), []);
        let same = archive(&[(EntryType::Regular, "a.cedar", "permit"), (EntryType::Regular, "realm.toml", "")]);
        assert_eq!(same, pack(&files()[..2]).unwrap(), "what these tests build is what is written");
    }

    #[test]
    fn what_is_no_file_of_a_realm_is_refused_by_name() {
        use EntryType::{Directory, Fifo, GNULongName, Link, Regular, Symlink, XGlobalHeader, XHeader};
        for (entries, expected) in [
            (&[(Regular, "../a.cedar", "x")][..], "no path of a realm's file"),
            (&[(Regular, "a/../b.cedar", "x")], "no path of a realm's file"),
            (&[(Regular, "/etc/a.toml", "x")], "no path of a realm's file"),
            (&[(Regular, "./a.cedar", "x")], "no path of a realm's file"),
            (&[(Regular, "a//b.cedar", "x")], "no path of a realm's file"),
            (&[(Regular, "a\\..\\b.cedar", "x")], "no path of a realm's file"),
            (&[(Regular, ".hidden/a.cedar", "x")], "no path of a realm's file"),
            (&[(Regular, "a\n.cedar", "x")], "no path of a realm's file"),
            (&[(Regular, "run.sh", "x")], "no path of a realm's file"),
            (&[(Regular, "a.cedar/", "x")], "no path of a realm's file"),
            (&[(Symlink, "a.cedar", "")], "no plain file"),
            (&[(Link, "a.cedar", "")], "no plain file"),
            (&[(Directory, "a.cedar", "")], "no plain file"),
            (&[(Fifo, "a.cedar", "")], "no plain file"),
            (&[(GNULongName, "a.cedar", "b.cedar")], "no plain file"),
            (&[(XHeader, "a.cedar", "13 path=b\n")], "no plain file"),
            (&[(XGlobalHeader, "a.cedar", "")], "no plain file"),
            (&[(Regular, "a.cedar", "x"), (Regular, "a.cedar", "y")], "twice"),
            (&[(Regular, "b.cedar", "x"), (Regular, "a.cedar", "y")], "not in order"),
        ] {
            let found = unpack(&archive(entries)).unwrap_err();
            assert!(found.contains(expected), "{entries:?}: {found}");
        }
    }

    #[test]
    fn not_one_byte_may_be_another() {
        let bytes = pack(&files()).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            // Within a file's content it is another bundle, which its signature does not cover.
            let is_other = unpack(&changed).is_ok_and(|found| found != files());
            assert!(is_other || unpack(&changed).is_err(), "byte {at}");
        }
        for end in [0, 1, 511, 512, bytes.len() - 512, bytes.len() - 1] {
            assert!(unpack(&bytes[..end]).is_err(), "the first {end} bytes");
        }
        for more in [&[0; 512][..], &[0; 1024], b"x", &bytes] {
            assert!(unpack(&[&bytes[..], more].concat()).is_err(), "{} bytes more", more.len());
        }
    }

    #[test]
    fn paths_too_long_for_a_header_are_refused() {
        let long = format!("{}/{}.cedar", "a".repeat(150), "b".repeat(90));
        assert_eq!(unpack(&pack(&[file(&long, "x")]).unwrap()).unwrap()[0].path, long);
        assert!(pack(&[file(&format!("{}.cedar", "a".repeat(120)), "x")]).is_err());
        assert!(pack(&[file("../a.cedar", "x")]).is_err());
    }
}
