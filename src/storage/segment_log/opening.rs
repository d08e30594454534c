//! The beginning of a run: the folder's lock, the segment that is gone on with, and what the log says first.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io,
    path::Path,
};

use super::{
    files::SegmentFiles,
    group::Noted,
    options::Mode,
    recovery::{Before, Reopened},
    wall_clock::JUMP_US,
    writer::OpenSegment,
};
use crate::{
    app::ports::{Clock, LogError},
    domain::log_event::{EventKind, Gap, GapCause, LogEvent},
};

/// Opens a segment to go on at its end; `None` when it cannot be gone on with, and a new one is needed.
pub(super) fn reopen(reopened: Reopened, files: &dyn SegmentFiles, clock: &dyn Clock) -> Option<OpenSegment> {
    let Reopened { number, path, length, span, created_us } = reopened;
    // What can be read from now on is durable, or nothing more is written to this file.
    let file = files.reopen(&path).and_then(|mut file| file.sync().map(|()| file));
    let file = file.inspect_err(|error| {
        tracing::warn!(%error, segment = %path.display(), "the last segment of the decision log is left behind");
    });
    let age_us = clock.now_us().saturating_sub(created_us).max(0);
    let made_at_us = clock.monotonic_us().saturating_sub(age_us);
    Some(OpenSegment { number, file: file.ok()?, path, length, span, made_at_us })
}

/// What a run says first: that it starts, and what may have been lost before it. In strict mode nothing that was
/// acknowledged can be, unless the end of the log looks as if it was changed.
pub(super) fn first_events(before: Before, mode: Mode, now_us: i64) -> Vec<Noted> {
    let event = |kind| Noted::Clear(LogEvent { time_us: now_us, kind });
    let start = EventKind::Start { version: env!("CARGO_PKG_VERSION").into(), mode: mode.word().into() };
    let mut events = vec![event(start)];
    if let Some(before_us) = before.last_us.filter(|last_us| last_us.saturating_sub(now_us) > JUMP_US) {
        events.push(event(EventKind::ClockChange { before_us, after_us: now_us }));
    }
    let was_strict = before.mode == Some(Mode::Strict.number());
    if let Some(from_us) = before.last_us
        && !before.has_stopped
        && (!was_strict || before.is_suspect)
    {
        let until_us = now_us.max(from_us);
        let gap = Gap { from_us, until_us, cause: GapCause::Crash, allowed: 0, denied: 0 };
        events.push(event(EventKind::Gap(gap)));
    }
    events
}

/// Takes the folder for this process until the returned file is dropped. The file says which process that is.
pub(super) fn lock(folder: &Path) -> Result<File, LogError> {
    let path = folder.join("lock");
    let unavailable = |what: &str| LogError::Unavailable(format!("folder `{}` {what}", folder.display()));
    let file = match File::open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            OpenOptions::new().read(true).append(true).create(true).open(&path).and_then(|_made| File::open(&path))
        }
        opened => opened,
    };
    let file = file.map_err(|error| unavailable(&format!("cannot be locked: {error}")))?;
    match file.try_lock() {
        Ok(()) => {
            // A full disk keeps nobody from reading the log; without the number the lock holds all the same.
            let _written_or_full = fs::write(&path, std::process::id().to_string());
            Ok(file)
        }
        Err(TryLockError::WouldBlock) => {
            let holder = fs::read_to_string(&path).unwrap_or_default();
            let holder = if holder.is_empty() { "another process".to_owned() } else { format!("process {holder}") };
            Err(unavailable(&format!("is in use by {holder}")))
        }
        Err(TryLockError::Error(error)) => Err(unavailable(&format!("cannot be locked: {error}"))),
    }
}
