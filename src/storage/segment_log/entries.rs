//! Entries by their places, read from the segments one after the other: what tiles are rebuilt from, and what a proof is
//! shown with.

use std::{
    fs::File,
    io::{self, Seek as _, SeekFrom},
    ops::{Range, RangeInclusive},
    path::{Path, PathBuf},
};

use super::{
    files::list_segments,
    frame::{FrameReader, HEADER_BYTES, SEQUENCES, Step},
    recovery,
};

/// A segment that can be read, in part at least.
#[derive(Debug)]
struct Start {
    path: PathBuf,
    first: u64,
}

/// The first sequence number that is still there; `None` when there is no segment.
pub(super) fn first_sequence(folder: &Path) -> io::Result<Option<u64>> {
    Ok(starts(folder)?.first().map(|start| start.first))
}

/// Hands the stored bytes of these entries to `each`, in their order. Those that cannot be read are left out.
///
/// # Errors
/// A file that cannot be read, and what `each` fails with.
pub(super) fn read(
    folder: &Path,
    range: RangeInclusive<u64>,
    mut each: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let starts = starts(folder)?;
    let (first, last) = range.into_inner();
    for (at, start) in starts.iter().enumerate() {
        // What a segment holds beyond the first entry of the next one was written again there.
        let until = starts.get(at + 1).map_or(SEQUENCES.end, |after| after.first);
        if until > first && start.first <= last {
            read_segment(start, until, first..until.min(last.saturating_add(1)), &mut each)?;
        }
    }
    Ok(())
}

fn read_segment(
    start: &Start,
    until: u64,
    mut wanted: Range<u64>,
    each: &mut impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = File::open(&start.path)?;
    file.seek(SeekFrom::Start(HEADER_BYTES))?;
    let mut frames = FrameReader::new(file, HEADER_BYTES);
    while !wanted.is_empty() {
        match frames.step()? {
            Step::Frame { body, bytes, .. } => {
                if let Some(sequence) = body.sequence().filter(|sequence| wanted.contains(sequence)) {
                    each(sequence, bytes)?;
                    wanted.start = sequence + 1;
                }
            }
            Step::Bad { .. } => {
                if !frames.resync(&(start.first..until))? {
                    break;
                }
            }
            Step::End => break,
        }
    }
    Ok(())
}

fn starts(folder: &Path) -> io::Result<Vec<Start>> {
    let mut starts = Vec::new();
    for (_, path) in list_segments(folder)? {
        if let Some(first) = recovery::first_sequence(&path)? {
            starts.push(Start { path, first });
        }
    }
    Ok(starts)
}
