//! Runs something whenever a file below some folders changes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::Result;

use crate::cli::{
    Outcome,
    render::{error, note},
};

/// How often files are looked at.
const PAUSE: Duration = Duration::from_millis(300);

/// Runs now and after every change, for as long as nobody interrupts it. What cannot be read is told and waited for.
pub(super) fn run(folders: &[PathBuf], mut once: impl FnMut() -> Result<()>) -> Result<Outcome> {
    loop {
        let before = state(folders);
        if let Err(cause) = once() {
            error(&cause);
        }
        note("waiting for a change");
        while state(folders) == before {
            thread::sleep(PAUSE);
        }
    }
}

/// When each file was changed, and how large it is.
type State = BTreeMap<PathBuf, (Option<SystemTime>, u64)>;

fn state(folders: &[PathBuf]) -> State {
    let mut found = State::new();
    for folder in folders {
        add(folder, &mut found);
    }
    found
}

fn add(folder: &Path, found: &mut State) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let Ok(about) = fs::metadata(&path) else { continue };
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if about.is_dir() {
            add(&path, found);
        } else {
            found.insert(path, (about.modified().ok(), about.len()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_changes_comes_or_goes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        let tests = folder.path().join("tests");
        fs::create_dir(&tests).unwrap();
        let file = tests.join("a.yaml");
        let mut states = vec![state(&folders)];
        for content in ["one", "longer"] {
            fs::write(&file, content).unwrap();
            states.push(state(&folders));
        }
        fs::write(folder.path().join(".swap"), "hidden").unwrap();
        assert_eq!(state(&folders), states[2]);
        fs::remove_file(&file).unwrap();
        assert_eq!(state(&folders), states[0]);
        assert!(states[0] != states[1] && states[1] != states[2]);
    }
}
