//! Deletes the oldest segments of a log, whole, and has the log say so before they are gone.
//!
//! The tiles of those entries are made durable first, then what is going to be deleted is written down (`retention`), then
//! the log takes the event, then a checkpoint covers it if the log is signed, then the files go. A start finishes what the log
//! has said, and signed, by then, and nothing else.

use std::{
    fs::{self, File},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    ops::{ControlFlow, RangeInclusive},
    path::Path,
    sync::Arc,
};

use super::{
    SegmentLog, entries,
    files::sync_folder,
    frame::{Body, FOOTER_FRAME_BYTES, FrameReader, HEADER_BYTES, Step},
    index::{Bounded, Catalogue, Segment},
    scan::scan,
    tiles::{Tiles, WIDTH},
    writer::Shared,
};
use crate::{
    app::ports::{DecisionLog as _, LogError, LogSegment},
    domain::{
        codec::{Reader, Writer},
        log_event::EventKind,
        merkle::leaf_hash,
    },
};

/// The file that says what is being deleted.
const INTENT: &str = "retention";

/// Entries that are to be deleted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Deletion {
    /// The first one.
    pub first: u64,
    /// The last one: all segments that end at it or before go.
    pub last: u64,
    /// The rule.
    pub rule: Arc<str>,
}

impl Deletion {
    /// The event that says so.
    pub(super) fn event(&self) -> EventKind {
        EventKind::Retention { first: self.first, last: self.last, rule: Arc::clone(&self.rule) }
    }

    /// What an earlier run wanted to delete from this folder and did not finish. A file that was not finished itself
    /// says nothing: nothing was deleted then.
    pub(super) fn unfinished(folder: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(folder.join(INTENT)) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let Some((checksum, rest)) = bytes.split_first_chunk::<4>() else { return Ok(None) };
        if crc32fast::hash(rest) != u32::from_le_bytes(*checksum) {
            return Ok(None);
        }
        let mut input = Reader::new(rest);
        let (Ok(first), Ok(last), Ok(rule)) = (input.u64(), input.u64(), input.shared()) else { return Ok(None) };
        Ok(Some(Self { first, last, rule }))
    }

    /// Writes down what is going to be deleted, durably.
    pub(super) fn write_down(&self, folder: &Path) -> io::Result<()> {
        let mut out = Writer::default();
        out.u64(self.first);
        out.u64(self.last);
        out.str(&self.rule);
        let bytes = out.into_bytes();
        let mut file = File::create(folder.join(INTENT))?;
        file.write_all(&[&crc32fast::hash(&bytes).to_le_bytes()[..], &bytes].concat())?;
        file.sync_all()?;
        sync_folder(folder)
    }

    /// Deletes the segments, of which the log has said durably that they go.
    pub(super) fn finish(&self, folder: &Path, catalogue: &Catalogue) -> io::Result<()> {
        for segment in catalogue.remove_until(self.last) {
            match fs::remove_file(&segment.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        sync_folder(folder)?;
        Self::withdraw(folder)
    }

    /// Forgets that it was wanted.
    pub(super) fn withdraw(folder: &Path) -> io::Result<()> {
        fs::remove_file(folder.join(INTENT))
    }
}

/// The segments, oldest first.
pub(super) fn list(segments: &[Bounded]) -> Result<Vec<LogSegment>, LogError> {
    let count = segments.len();
    let described = segments.iter().enumerate().map(|(at, Bounded { segment, next })| {
        let unreadable = |error| LogError::Unreadable(format!("`{}`: {error}", segment.path.display()));
        Ok(LogSegment {
            first: segment.first_sequence,
            last: next.saturating_sub(1),
            bytes: fs::metadata(&segment.path).map_err(unreadable)?.len(),
            newest_us: newest_us(segment, *next).map_err(unreadable)?,
            is_deletable: at + 1 < count,
        })
    });
    described.collect()
}

/// The latest time of a segment's entries: its footer's, or else that of all of them.
fn newest_us(segment: &Segment, next: u64) -> io::Result<i64> {
    let mut file = File::open(&segment.path)?;
    let length = file.metadata()?.len();
    let start = length.saturating_sub(FOOTER_FRAME_BYTES as u64);
    file.seek(SeekFrom::Start(start))?;
    let mut frames = FrameReader::new(file.take(FOOTER_FRAME_BYTES as u64), start);
    if let Step::Frame { body: Body::Footer(footer), .. } = frames.step()? {
        return Ok(footer.max_us);
    }
    let mut newest_us = i64::MIN;
    scan(&segment.path, HEADER_BYTES, segment.first_sequence, next, |place, _| {
        newest_us = newest_us.max(place.time_us);
        ControlFlow::Continue(())
    })?;
    // Nobody knows how old it is then: too new for every rule.
    Ok(if newest_us == i64::MIN { i64::MAX } else { newest_us })
}

/// The last entry whose tiles are durable, at best `last`; where nobody keeps tiles, any entry may go.
fn deletable_until(shared: &Shared, last: u64) -> u64 {
    let checkpoints = shared.appended.checkpoints();
    let last = last.min(shared.catalogue.entries());
    checkpoints.map_or(u64::MAX, |checkpoints| checkpoints.tiles_durable_up_to(last))
}

/// The first of these entries whose hash in the tiles is not its own: once it is deleted nothing else knows it. An entry that
/// cannot be read is taken at the tile's word.
fn wrong_tile(folder: &Path, range: RangeInclusive<u64>) -> io::Result<Option<u64>> {
    let tiles = Tiles::of(folder);
    let (mut tile, mut hashes, mut wrong) = (None, Vec::new(), None);
    entries::read(folder, range, |sequence, bytes| {
        let (index, at) = ((sequence - 1) / WIDTH as u64, usize::try_from((sequence - 1) % WIDTH as u64).unwrap_or(0));
        if tile != Some(index) || hashes.len() <= at {
            hashes = match tiles.read(0, index, WIDTH)? {
                Some(hashes) => hashes,
                None => tiles.read(0, index, at + 1)?.unwrap_or_default(),
            };
            tile = Some(index);
        }
        if wrong.is_none() && hashes.get(at) != Some(&leaf_hash(bytes)) {
            wrong = Some(sequence);
        }
        Ok(())
    })?;
    Ok(wrong)
}

impl SegmentLog {
    /// Keeps the event, and has it signed where there are checkpoints: what is gone is told by an entry that nobody can have
    /// added later.
    async fn say(&self, deletion: &Deletion) -> Result<(), LogError> {
        self.note(deletion.event()).await?;
        if self.shared.appended.checkpoints().is_some() {
            self.new_checkpoint().await?;
        }
        Ok(())
    }

    /// See [`DecisionLog::delete_until`](crate::app::ports::DecisionLog::delete_until).
    pub(super) async fn delete_segments_until(&self, last: u64, rule: &str) -> Result<Option<(u64, u64)>, LogError> {
        let _one_at_a_time = self.deleting.lock().await;
        // What is deleted stays provable by its tiles: they come first.
        let last = self.blocking(move |shared| last.min(deletable_until(shared, last))).await?;
        let segments = self.shared.catalogue.segments();
        // The newest one is never deleted: it may be written to.
        let sealed = segments.split_last().map_or(&[][..], |(_newest, sealed)| sealed);
        let going = sealed.iter().take_while(|bounded| bounded.next <= last.saturating_add(1));
        let (Some(oldest), Some(newest)) = (sealed.first(), going.last()) else { return Ok(None) };
        let (first, last) = (oldest.segment.first_sequence, newest.next - 1);
        let is_signed = self.shared.appended.checkpoints().is_some();
        let folder = self.folder.clone();
        let wrong =
            self.blocking(move |_| if is_signed { wrong_tile(&folder, first..=last) } else { Ok(None) }).await?;
        if let Some(sequence) = wrong.map_err(|error| LogError::Unreadable(error.to_string()))? {
            let what =
                format!("the tile of entry {sequence} is not that of the log, and nothing is deleted; restore it");
            return Err(LogError::Unavailable(what));
        }
        let deletion = Deletion { first, last, rule: rule.into() };
        let failed = |error: io::Error| LogError::Unavailable(format!("old entries cannot be deleted: {error}"));
        let (folder, intent) = (self.folder.clone(), deletion.clone());
        self.blocking(move |_| intent.write_down(&folder)).await?.map_err(failed)?;
        if let Err(error) = self.say(&deletion).await {
            // Should the log say so later after all, the entries are there all the same, and go another time.
            let folder = self.folder.clone();
            self.blocking(move |_| Deletion::withdraw(&folder)).await?.map_err(failed)?;
            return Err(error);
        }
        let folder = self.folder.clone();
        self.blocking(move |shared| deletion.finish(&folder, &shared.catalogue)).await?.map_err(failed)?;
        tracing::info!(first, last, folder = %self.folder.display(), "deleted old entries of the decision log");
        Ok(Some((first, last)))
    }
}
