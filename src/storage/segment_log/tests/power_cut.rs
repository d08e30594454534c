//! The power goes: an ext4 file system whose backing file is copied at once is what the platter held at that moment.

use std::process::Command;

use super::*;

/// Cuts; more of them by hand: `HALLPASS_POWER_CUTS=20`.
fn cuts() -> u32 {
    #[expect(clippy::disallowed_methods, reason = "a test's own setting")]
    let cuts = std::env::var("HALLPASS_POWER_CUTS");
    cuts.ok().and_then(|cuts| cuts.parse().ok()).unwrap_or(3)
}

fn is_done(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

/// A file system in a file, unmounted when dropped.
struct Image {
    folder: TempDir,
    file: PathBuf,
}

impl Image {
    /// `None` where this is not allowed.
    fn mount(file: PathBuf) -> Option<Self> {
        let folder = folder();
        let is_mounted = is_done(Command::new("mount").args(["-o", "loop"]).arg(&file).arg(folder.path()));
        is_mounted.then_some(Self { folder, file })
    }

    fn make(place: &Path) -> Option<Self> {
        let file = place.join("disk");
        File::create(&file).ok()?.set_len(64 * 1024 * 1024).ok()?;
        is_done(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&file)).then(|| Self::mount(file)).flatten()
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg(self.folder.path()).status();
    }
}

#[tokio::test]
async fn whatever_a_strict_log_acknowledged_is_there_after_the_power_was_cut() {
    for cut in 0..cuts() {
        let place = folder();
        let Some(disk) = Image::make(place.path()) else {
            println!("skipped: mounting a file system in a file is not allowed here");
            return;
        };
        let options = Options { segment_bytes_max: 20_000, ..strict() };
        let log = open(&disk.folder.path().join("log"), options);
        let groups = 10 + u64::from(cut) * 7 % 30;
        for group in 0..groups {
            log.append(records(group * 10..group * 10 + 10)).await.unwrap();
        }
        let platter = place.path().join("platter");
        std::fs::copy(&disk.file, &platter).unwrap();
        let after = Image::mount(platter).expect("the copy is a file system");
        let again = open(&after.folder.path().join("log"), options);
        let (found, is_complete) = numbers(&again).await;
        assert!(
            is_complete && found.iter().copied().eq(0..groups * 10),
            "cut {cut}: {} of {}",
            found.len(),
            groups * 10
        );
        again.close().await;
        drop(again);
        log.close().await;
        drop(log);
    }
}
