//! Reads entries from segment files: all from a place on, or the one at a place.

use std::{
    fs::File,
    io::{self, Seek, SeekFrom},
    ops::ControlFlow,
    os::unix::fs::FileExt as _,
    path::Path,
};

use super::{
    blocks::open::Place,
    frame::{BODY_BYTES_MAX, Body, FrameReader, PREFIX_BYTES, Step},
    seal::LogKey,
};
use crate::domain::{
    decision_record::{DecisionRecord, LoggedDecision},
    log_event::{LogEvent, LoggedEvent},
};

/// How much is read at a place before it is known how long the entry is.
const GUESS_BYTES: usize = 2048;

/// An entry that could be read and opened.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "one at a time is read and taken apart; none is kept")]
pub(super) enum Entry {
    /// A decision.
    Decision(LoggedDecision),
    /// An event.
    Event(LoggedEvent),
}

impl Entry {
    /// Opens an entry if it is an event.
    pub(super) fn open_event(body: &Body<'_>, key: &LogKey) -> Option<Self> {
        if matches!(body, Body::Decision { .. }) { None } else { Self::open(body, key) }
    }

    /// Opens an entry. `None` when it was changed after it was sealed, whatever its checksum says, and for what is no entry.
    pub(super) fn open(body: &Body<'_>, key: &LogKey) -> Option<Self> {
        let event = |sequence, bytes: &[u8]| {
            let event = LogEvent::decode(bytes).ok()?;
            Some(Self::Event(LoggedEvent { sequence, event }))
        };
        match *body {
            Body::Decision { sequence, id, time_us, sealed } => {
                let record = DecisionRecord::decode(&key.open_decision(id, time_us, sealed).ok()?).ok()?;
                Some(Self::Decision(LoggedDecision { sequence, record }))
            }
            Body::Event { sequence, event: bytes } => event(sequence, bytes),
            Body::SealedEvent { sequence, time_us, nonce, sealed } => {
                event(sequence, &key.open_event(time_us, nonce, sealed).ok()?)
            }
            Body::Group(_) | Body::Footer(_) | Body::Other => None,
        }
    }
}

/// Hands the entries of a segment with sequence numbers from `first` to before `next` to `each`, each once, those at
/// `offset` first. What follows the last of them is the rest of a write that failed; its entries stand in the next segment.
/// What is not handed over is lost.
///
/// # Errors
/// The file cannot be read, or not to its end.
pub(super) fn scan(
    path: &Path,
    offset: u64,
    first: u64,
    next: u64,
    mut each: impl FnMut(Place, &Body<'_>) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut frames = FrameReader::new(file, offset);
    let mut expected = first;
    while expected < next {
        match frames.step()? {
            Step::Frame { offset, end, body, .. } => {
                let Some((sequence, Some(time_us))) = body.entry() else { continue };
                if (expected..next).contains(&sequence) {
                    expected = sequence + 1;
                    if each(Place { sequence, offset, end, time_us }, &body).is_break() {
                        return Ok(());
                    }
                }
            }
            Step::Bad { .. } => {
                if !frames.resync(&(expected..next))? {
                    return Ok(());
                }
            }
            Step::End => return Ok(()),
        }
    }
    Ok(())
}

/// The entry of this sequence number whose frame starts at this place, and how long the frame is, in bytes; `None` when
/// there is another or none that is good.
///
/// # Errors
/// The file cannot be read there.
pub(super) fn entry_at(file: &File, offset: u64, sequence: u64, key: &LogKey) -> io::Result<Option<(Entry, usize)>> {
    let mut bytes = vec![0; GUESS_BYTES];
    let read = read_up_to(file, &mut bytes, offset)?;
    bytes.truncate(read);
    let Some(length) = bytes.first_chunk::<4>().map(|length| u32::from_le_bytes(*length)) else { return Ok(None) };
    let Some(length) = usize::try_from(length).ok().filter(|length| *length <= BODY_BYTES_MAX) else { return Ok(None) };
    let whole = PREFIX_BYTES + length;
    if whole > bytes.len() {
        bytes.resize(whole, 0);
        let Some(rest) = bytes.get_mut(read..) else { return Ok(None) };
        if read_up_to(file, rest, offset + read as u64)? < whole - read {
            return Ok(None);
        }
    }
    bytes.truncate(whole);
    let mut frames = FrameReader::new(bytes.as_slice(), offset);
    Ok(match frames.step()? {
        Step::Frame { body, .. } if body.entry().is_some_and(|(found, _)| found == sequence) => {
            Entry::open(&body, key).map(|entry| (entry, whole))
        }
        _ => None,
    })
}

/// The checksum that stands in front of the body of the frame at this place; `None` behind the end of the file.
pub(super) fn checksum_at(file: &File, offset: u64) -> io::Result<Option<u32>> {
    let mut bytes = [0; PREFIX_BYTES];
    if read_up_to(file, &mut bytes, offset)? < PREFIX_BYTES {
        return Ok(None);
    }
    Ok(bytes.last_chunk::<4>().map(|checksum| u32::from_le_bytes(*checksum)))
}

fn read_up_to(file: &File, mut bytes: &mut [u8], mut offset: u64) -> io::Result<usize> {
    let wanted = bytes.len();
    while !bytes.is_empty() {
        match file.read_at(bytes, offset) {
            Ok(0) => break,
            Ok(read) => {
                bytes = bytes.get_mut(read..).unwrap_or_default();
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - bytes.len())
}
