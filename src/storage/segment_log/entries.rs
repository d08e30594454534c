//! Entries by their places, read from the segments one after the other: what tiles are rebuilt from, and what a proof is
//! shown with.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use super::{
    files::list_segments,
    frame::{FrameReader, HEADER_BYTES, Header, Step},
};

/// A segment that has a good header.
#[derive(Debug)]
struct Start {
    path: PathBuf,
    first: u64,
}

/// The first sequence number that is still there; `None` when there is no segment.
pub(super) fn first_sequence(folder: &Path) -> io::Result<Option<u64>> {
    Ok(starts(folder)?.first().map(|start| start.first))
}

/// Hands the stored bytes of these entries to `each`, in their order, and returns the number of the next one that would
/// follow: less than the end of the range when entries are missing.
///
/// # Errors
/// What cannot be read, and what `each` fails with.
pub(super) fn read(
    folder: &Path,
    range: RangeInclusive<u64>,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let starts = starts(folder)?;
    let (mut next, last) = range.into_inner();
    for (at, start) in starts.iter().enumerate() {
        // What a segment holds beyond the first entry of the next one was written again there.
        let until = starts.get(at + 1).map_or(u64::MAX, |after| after.first);
        if until <= next || next > last {
            continue;
        }
        if start.first > next {
            break;
        }
        next = read_segment(&start.path, next, last.min(until - 1), &mut each)?;
        if next < until.min(last.saturating_add(1)) {
            break;
        }
    }
    Ok(next)
}

fn read_segment(
    path: &Path,
    mut next: u64,
    last: u64,
    each: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<u64> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(HEADER_BYTES))?;
    let mut frames = FrameReader::new(file, HEADER_BYTES);
    while next <= last {
        let Step::Frame { body, bytes, .. } = frames.step()? else { break };
        let Some(sequence) = body.sequence() else { continue };
        if sequence == next {
            each(sequence, bytes)?;
            next += 1;
        } else if sequence > next {
            break;
        }
    }
    Ok(next)
}

fn starts(folder: &Path) -> io::Result<Vec<Start>> {
    let mut starts = Vec::new();
    for (_, path) in list_segments(folder)? {
        if let Some(header) = Header::read(&mut File::open(&path)?)? {
            starts.push(Start { first: header.first_sequence(), path });
        }
    }
    Ok(starts)
}
