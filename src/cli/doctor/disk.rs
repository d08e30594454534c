//! The disk: there is room, it can be written, and what is synced comes back in time.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::{Duration, Instant},
};

use super::finding::Finding;
use crate::config::Config;

const DISK: &str = "disk";

/// Less room than this is told of.
const ROOM_BYTES: u64 = 1024 * 1024 * 1024;

/// A disk that takes longer than this for a sync makes strict decisions slow.
const SYNC_SLOW: Duration = Duration::from_millis(50);

pub(super) fn check(config: &Config) -> Vec<Finding> {
    let folder = &config.data_dir;
    let Some(there) = folder.ancestors().find(|folder| folder.is_dir()).or_else(|| {
        // A path without anything above it starts at the working folder.
        folder.is_relative().then_some(Path::new("."))
    }) else {
        return vec![Finding::fault(DISK, format!("there is no folder above `{}`", folder.display()), "name another")];
    };
    let mut findings: Vec<Finding> = room(there, config.relationships.free_bytes_min).into_iter().collect();
    findings.push(match probe(there) {
        Ok(took) if took > SYNC_SLOW => {
            let what = format!("making 4 KiB durable in `{}` took {} ms", there.display(), took.as_millis());
            let advice =
                "decisions of the mode `strict` wait that long; use a local disk, or `decision_log.mode = \"bounded\"`";
            Finding::warning(DISK, what, advice)
        }
        Ok(took) => {
            Finding::fine(DISK, format!("4 KiB in `{}` are durable after {} ms", there.display(), took.as_millis()))
        }
        Err(error) => {
            let what = format!("nothing can be written to `{}`: {error}", there.display());
            Finding::fault(
                DISK,
                what,
                "run this as the service's user; then check who owns it, and whether it is mounted read-only",
            )
        }
    });
    findings
}

fn room(folder: &Path, free_bytes_min: u64) -> Option<Finding> {
    let advice = "make room, or set rules of retention (docs/configuration.md)";
    let space = match rustix::fs::statvfs(folder) {
        Ok(space) => space,
        Err(error) => {
            let what = format!("the room of `{}` cannot be asked for: {error}", folder.display());
            return Some(Finding::warning(DISK, what, "check that it is mounted"));
        }
    };
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let mebibytes = free / 1024 / 1024;
    if free < free_bytes_min {
        let what = format!(
            "{mebibytes} MiB are free for `{}`, less than `relationships.free_bytes_min`: nothing is written",
            folder.display()
        );
        return Some(Finding::fault(DISK, what, advice));
    }
    (free < ROOM_BYTES.max(free_bytes_min.saturating_mul(2)))
        .then(|| Finding::warning(DISK, format!("{mebibytes} MiB are free for `{}`", folder.display()), advice))
}

/// Makes a file without a name durable, and says how long that took. It is gone with this.
fn probe(folder: &Path) -> io::Result<Duration> {
    let path = folder.join(format!(".hallpass-doctor-{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path)?;
    fs::remove_file(&path)?;
    let started = Instant::now();
    file.write_all(&[0; 4_096])?;
    file.sync_all()?;
    Ok(started.elapsed())
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    #[test]
    fn a_probe_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        probe(folder.path()).unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        assert!(probe(&folder.path().join("nowhere")).is_err());
    }

    #[test]
    fn less_room_than_relationships_need_is_a_fault_and_little_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let state = |least| room(folder.path(), least).map(|finding| finding.state);
        assert_eq!(state(u64::MAX), Some(State::Fault));
        let space = rustix::fs::statvfs(folder.path()).unwrap();
        let free = space.f_bavail * space.f_frsize;
        assert_eq!(state(free / 3 * 2), Some(State::Warning));
    }
}
