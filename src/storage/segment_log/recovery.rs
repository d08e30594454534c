//! What an earlier run left behind: looks through the last segment, cuts a torn end, sets a damaged file aside.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    files::{list_segments, sync_folder},
    frame::{Body, FrameReader, HEADER_BYTES, Header, SEQUENCES, Step},
    index::{Chunks, Placed, Segment},
};
use crate::domain::decision_record::DecisionRecord;

/// Where writing goes on.
#[derive(Debug)]
pub(super) struct Recovered {
    /// All segments that hold records or may do so.
    pub segments: Vec<Arc<Segment>>,
    /// The sequence number of the next record.
    pub next_sequence: u64,
    /// The number of the next new segment.
    pub next_number: u64,
    /// The last segment, if it can be written on: its number, path and length.
    pub open_segment: Option<(u64, PathBuf, u64)>,
}

/// Looks through a folder.
pub(super) fn recover(folder: &Path) -> io::Result<Recovered> {
    let files = list_segments(folder)?;
    let next_number = files.last().map_or(1, |(number, _)| number + 1);
    let mut found = Recovered { segments: Vec::new(), next_sequence: 1, next_number, open_segment: None };
    let mut readable = Vec::new();
    let mut lost = None;
    for (number, path) in files {
        if let Some(first) = first_sequence(&path)? {
            // What a lost segment held is missing from the numbers of its neighbours; the very first has none before it.
            if let (Some((number, path)), true) = (lost.take(), readable.is_empty()) {
                readable.push((number, path, 1));
            }
            readable.push((number, path, first));
        } else if !set_aside_if_unborn(&path)? {
            lost = Some((number, path));
        }
    }
    let last = readable.pop();
    let unread = readable.into_iter().map(|(number, path, first)| Arc::new(Segment::unread(number, path, first)));
    found.segments.extend(unread);
    if let Some((number, path, first)) = last {
        recover_last(&mut found, number, path, first)?;
    }
    if let Some((number, path)) = lost {
        found.segments.push(Arc::new(Segment::lost(number, path, found.next_sequence)));
        found.next_sequence += 1;
        found.open_segment = None;
    }
    Ok(found)
}

fn recover_last(found: &mut Recovered, number: u64, path: PathBuf, first: u64) -> io::Result<()> {
    let last = look_through_last(&path, first)?;
    found.next_sequence = last.next_sequence;
    // A file whose header is damaged is not written to any more.
    let is_header_good = read_header(&path)?.is_some();
    let can_go_on = match last.end {
        End::Good => is_header_good,
        End::Torn => is_header_good && cut_and_tell(&path, last.length),
        End::Damaged => {
            tracing::error!(segment = %path.display(), "the last segment of the decision log is damaged; it is kept as it is");
            found.segments.push(Arc::new(Segment::unread(number, path, first)));
            return Ok(());
        }
    };
    if can_go_on {
        found.open_segment = Some((number, path.clone(), last.length));
    }
    found.segments.push(Arc::new(Segment::known(number, path, first, last.chunks)));
    Ok(())
}

/// Cuts a torn end. A full disk must not keep the log from opening: when it cannot be cut, the file is left behind as
/// it is, and writing goes on in a new one, whose first sequence number says where this one ends.
fn cut_and_tell(path: &Path, length: u64) -> bool {
    match cut(path, length) {
        Ok(kept) => {
            tracing::warn!(segment = %path.display(), kept = %kept.display(), "cut the torn end of the decision log");
            true
        }
        Err(error) => {
            tracing::warn!(segment = %path.display(), %error, "left the torn end of the decision log");
            false
        }
    }
}

/// The sequence number with which a segment starts: from its header, else from its first good frame.
fn first_sequence(path: &Path) -> io::Result<Option<u64>> {
    if let Some(header) = read_header(path)? {
        return Ok(Some(header.first_sequence));
    }
    let mut frames = FrameReader::new(File::open(path)?, 0);
    loop {
        match frames.step()? {
            Step::Frame { body: Body::Decision { sequence, .. } | Body::Group { first: sequence, .. }, .. } => {
                return Ok(Some(sequence).filter(|sequence| SEQUENCES.contains(sequence)));
            }
            Step::Frame { .. } => {}
            Step::Bad { .. } => {
                if !frames.resync(&SEQUENCES)? {
                    return Ok(None);
                }
            }
            Step::End => return Ok(None),
        }
    }
}

fn read_header(path: &Path) -> io::Result<Option<Header>> {
    let mut bytes = [0; 32];
    match File::open(path)?.read_exact(&mut bytes) {
        Ok(()) => Ok(Header::decode(&bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file without a good header and without one good frame. A header is durable before the first record is written:
/// a file no longer than a header never held one and is put out of the way; a longer one is somebody's loss.
/// Returns whether it was put out of the way.
fn set_aside_if_unborn(path: &Path) -> io::Result<bool> {
    if fs::metadata(path)?.len() > HEADER_BYTES {
        tracing::error!(segment = %path.display(), "no record of this segment of the decision log can be read");
        return Ok(false);
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".torn");
    fs::rename(path, aside)?;
    Ok(true)
}

/// How a segment ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// With a complete group.
    Good,
    /// With something that is no complete group, and nothing good behind it.
    Torn,
    /// With good groups behind something bad.
    Damaged,
}

#[derive(Debug)]
struct LastSegment {
    /// The records of the complete groups.
    chunks: Chunks,
    /// Where the last of the complete groups ends.
    length: u64,
    next_sequence: u64,
    end: End,
}

fn look_through_last(path: &Path, first: u64) -> io::Result<LastSegment> {
    let mut file = File::open(path)?;
    let length_in_file = file.metadata()?.len();
    file.seek(SeekFrom::Start(HEADER_BYTES))?;
    let mut frames = FrameReader::new(file, HEADER_BYTES);
    let mut found =
        LastSegment { chunks: Chunks::default(), length: HEADER_BYTES, next_sequence: first, end: End::Good };
    let mut group: Vec<Placed> = Vec::new();
    loop {
        let expected = group.last().map_or(found.next_sequence, |placed| placed.sequence + 1);
        match frames.step()? {
            Step::Frame { offset, end, body: Body::Decision { sequence, record } } if sequence == expected => {
                let time_us = DecisionRecord::decode_id_and_time(record).map_or(0, |(_, time_us)| time_us);
                group.push(Placed { sequence, offset, end, time_us });
            }
            Step::Frame { end, body: Body::Group { first, last, count }, .. }
                if first == found.next_sequence && last == expected - 1 && u64::from(count) == expected - first =>
            {
                for placed in group.drain(..) {
                    found.chunks.push(placed.sequence, placed);
                }
                (found.length, found.next_sequence) = (end, expected);
            }
            Step::Frame { body: Body::Other, .. } => {}
            Step::End if found.length == length_in_file => return Ok(found),
            Step::End => {
                found.end = End::Torn;
                return Ok(found);
            }
            Step::Frame { .. } | Step::Bad { .. } => {
                // No group holds more records than the file has bytes.
                let plausible = found.next_sequence..found.next_sequence.saturating_add(length_in_file);
                return judge(frames, found, &plausible);
            }
        }
    }
}

/// Decides what a bad frame means: a complete group behind it says that it was good once.
fn judge(mut frames: FrameReader<File>, mut found: LastSegment, plausible: &Range<u64>) -> io::Result<LastSegment> {
    found.end = End::Torn;
    loop {
        match frames.step()? {
            Step::Frame { body: Body::Group { last, .. }, .. } if plausible.contains(&last) => {
                found.end = End::Damaged;
                found.next_sequence = found.next_sequence.max(last + 1);
            }
            Step::Frame { .. } => {}
            Step::Bad { .. } => {
                if !frames.resync(plausible)? {
                    return Ok(found);
                }
            }
            Step::End => return Ok(found),
        }
    }
}

/// Cuts a segment to this length and returns the file that keeps the cut bytes.
fn cut(path: &Path, length: u64) -> io::Result<PathBuf> {
    let (kept, mut aside) = new_torn_file(path)?;
    let mut file = OpenOptions::new().read(true).write(true).open(path)?;
    file.seek(SeekFrom::Start(length))?;
    let copied = io::copy(&mut file, &mut aside).and_then(|_| aside.sync_all());
    if let Err(error) = copied {
        // Half a copy is of no use; the original is still whole.
        let _copied_or_not = fs::remove_file(&kept);
        return Err(error);
    }
    if let Some(folder) = path.parent() {
        sync_folder(folder)?;
    }
    file.set_len(length)?;
    file.sync_all()?;
    Ok(kept)
}

/// A new file `<segment>.torn`, or with a number behind it when the name is taken.
fn new_torn_file(path: &Path) -> io::Result<(PathBuf, File)> {
    let mut attempt = 1_u32;
    loop {
        let mut name = path.as_os_str().to_owned();
        name.push(if attempt == 1 { ".torn".to_owned() } else { format!(".torn.{attempt}") });
        match OpenOptions::new().write(true).create_new(true).open(&name) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => attempt += 1,
            made => return made.map(|file| (name.into(), file)),
        }
    }
}
