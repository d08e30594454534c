//! A file system that is soon full, for tests of what is kept on one.

use std::{path::Path, process::Command};

use tempfile::TempDir;

/// A file system of a fixed size, in memory, unmounted when dropped.
pub(super) struct SmallDisk(TempDir);

impl SmallDisk {
    /// One of so many bytes, as `mount` has them (`24m`); `None`, said aloud, where mounting is not allowed.
    pub(super) fn mount(size: &str) -> Option<Self> {
        let disk = tempfile::tempdir().unwrap();
        let is_mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], disk.path());
        if !is_mounted {
            println!("skipped: mounting a small file system is not allowed here");
        }
        is_mounted.then(|| Self(disk))
    }

    /// Where it is mounted.
    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    /// Has another option from now on (`size=96m`, `ro`), if `mount` says so: what is in use cannot become read-only.
    pub(super) fn remount(&self, option: &str) -> bool {
        mount(&["-o", &format!("remount,{option}")], self.path())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Left mounted it would cost memory only.
        let _status = Command::new("umount").arg("-l").arg(self.path()).status();
    }
}

fn mount(options: &[&str], at: &Path) -> bool {
    let output = Command::new("mount").args(options).arg(at).output();
    output.is_ok_and(|output| output.status.success())
}
