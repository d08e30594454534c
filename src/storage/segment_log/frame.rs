//! The bytes of a segment file: a header, then frames; and how to find the next good frame behind a bad one.
//!
//! ```text
//! header: magic [8] | format u16 | mode u16 | first sequence u64 | created i64 us | tree size u64 | count u8 |
//!         count hashes [32] | zeros | crc32 u32                                                        4096 bytes
//! frame:  len u32 | crc32 of the body u32 | body
//! body 1: kind u8 | sequence u64 | id u128 big-endian | time i64 us | sealed record         DECISION
//! body 2: kind u8 | first u64 | last u64 | count u32 | tree size u64 | root [32]            GROUP: the entries before it
//!                                                                                           were made durable together
//! body 3: kind u8 | sequence u64 | event                                                    EVENT
//! body 4: kind u8 | sequence u64 | time i64 us | nonce [12] | sealed event                  SEALED EVENT
//! body 5: kind u8 | first u64 | last u64 | count u64 | min i64 us | max i64 us | tree size u64 | root [32]
//!                                                                                           FOOTER: the segment's end
//! ```
//! Numbers are little-endian where nothing else is said. Bodies 1, 3 and 4 are the log's entries: numbered together, from
//! 1, without gaps, and the leaves of a Merkle tree (RFC 6962 section 2.1): an entry's leaf hash is that of its whole
//! body. The header holds the roots of the perfect subtrees of all entries before the segment, largest first. Readers
//! skip kinds they do not know.

use std::{
    io::{self, Read},
    ops::Range,
};

use super::seal::{NONCE_BYTES, TAG_BYTES};
use crate::domain::{
    id::DecisionId,
    log_event::LogEvent,
    merkle::{Frontier, Hash},
};

/// How a segment file starts.
pub(super) const MAGIC: [u8; 8] = *b"HPLOG\0\x02\n";
/// How one of the first format started, which is not read any more.
pub(super) const MAGIC_OF_FORMAT_1: [u8; 8] = *b"HPLOG\0\x01\n";
const FORMAT: u16 = 2;
/// The sequence numbers that can be: counting on from one of them never overflows.
pub(super) const SEQUENCES: Range<u64> = 1..1 << 62;
/// Length of a header in bytes.
pub(super) const HEADER_BYTES: u64 = 4096;
const HEADER_LENGTH: usize = 4096;
/// Length and checksum in front of a body.
pub(super) const PREFIX_BYTES: usize = 8;
/// The longest body; guards readers against a damaged length.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const DECISION: u8 = 1;
/// The kind of a group's end.
pub(super) const GROUP: u8 = 2;
const EVENT: u8 = 3;
const SEALED_EVENT: u8 = 4;
const FOOTER: u8 = 5;
const GROUP_BODY_BYTES: usize = 61;
const FOOTER_BODY_BYTES: usize = 81;
/// The length of a group's frame.
pub(super) const GROUP_FRAME_BYTES: usize = PREFIX_BYTES + GROUP_BODY_BYTES;
/// The length of a footer's frame.
pub(super) const FOOTER_FRAME_BYTES: usize = PREFIX_BYTES + FOOTER_BODY_BYTES;
/// Kind and sequence, with which the body of every entry starts.
const ENTRY_START_BYTES: usize = 9;
/// Kind, sequence, id and time in front of a sealed record, and its tag behind it.
const DECISION_OVERHEAD_BYTES: usize = ENTRY_START_BYTES + DECISION_CLEAR_BYTES + TAG_BYTES;
/// Id and time of a decision.
pub(super) const DECISION_CLEAR_BYTES: usize = 24;
/// The longest record that fits into a frame, in bytes before it is sealed.
pub(super) const RECORD_BYTES_MAX: usize = BODY_BYTES_MAX - DECISION_OVERHEAD_BYTES;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// What the start of a segment file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// A number for the mode of the log that made it.
    pub mode: u16,
    /// When the file was made, in microseconds since the epoch.
    pub created_us: i64,
    /// The tree of all entries before the segment.
    pub before: Frontier,
}

impl Header {
    /// The sequence number of the first entry that is written to the segment.
    pub(super) fn first_sequence(&self) -> u64 {
        self.before.size().saturating_add(1)
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LENGTH);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&self.mode.to_le_bytes());
        bytes.extend_from_slice(&self.first_sequence().to_le_bytes());
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        bytes.extend_from_slice(&self.before.size().to_le_bytes());
        // A tree of fewer than 2^62 entries has fewer than 62 subtrees.
        bytes.push(u8::try_from(self.before.hashes().len()).unwrap_or(u8::MAX));
        bytes.extend_from_slice(self.before.hashes().as_flattened());
        bytes.resize(HEADER_LENGTH - 4, 0);
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` when these are not the bytes of a header.
    pub(super) fn decode(bytes: &[u8; HEADER_LENGTH]) -> Option<Self> {
        let (checked, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(checked) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = checked;
        let is_known = *take::<8>(&mut rest)? == MAGIC && u16::from_le_bytes(*take(&mut rest)?) == FORMAT;
        let mode = u16::from_le_bytes(*take(&mut rest)?);
        let first_sequence = u64::from_le_bytes(*take(&mut rest)?);
        let created_us = i64::from_le_bytes(*take(&mut rest)?);
        let tree_size = u64::from_le_bytes(*take(&mut rest)?);
        let [count] = *take::<1>(&mut rest)?;
        let hashes = (0..count).map(|_| take::<32>(&mut rest).copied()).collect::<Option<Vec<Hash>>>()?;
        let before = Frontier::from_hashes(tree_size, hashes)?;
        let header = Self { mode, created_us, before };
        let is_good = is_known && SEQUENCES.contains(&first_sequence) && header.first_sequence() == first_sequence;
        is_good.then_some(header)
    }

    /// The header with which a source starts; `None` when it starts with none. The source stands behind it then.
    pub(super) fn read(source: &mut impl Read) -> io::Result<Option<Self>> {
        let mut bytes = [0; HEADER_LENGTH];
        match source.read_exact(&mut bytes) {
            Ok(()) => Ok(Self::decode(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, behind) = rest.split_first_chunk::<N>()?;
    *rest = behind;
    Some(first)
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// A decision.
    Decision { sequence: u64, id: DecisionId, time_us: i64, sealed: &'a [u8] },
    /// The end of a group of entries that were made durable together.
    Group(GroupEnd),
    /// An event in clear.
    Event { sequence: u64, event: &'a [u8] },
    /// An event that says something about people, or in their words.
    SealedEvent { sequence: u64, time_us: i64, nonce: [u8; NONCE_BYTES], sealed: &'a [u8] },
    /// The end of a segment.
    Footer(Footer),
    /// A kind that this release does not know.
    Other,
}

impl Body<'_> {
    /// The sequence number of an entry; `None` for what is none.
    pub(super) fn sequence(&self) -> Option<u64> {
        match *self {
            Self::Decision { sequence, .. } | Self::Event { sequence, .. } | Self::SealedEvent { sequence, .. } => {
                Some(sequence)
            }
            Self::Group(_) | Self::Footer(_) | Self::Other => None,
        }
    }

    /// The sequence number and the time of an entry; of an event that cannot be read, no time. `None` for what is no
    /// entry.
    pub(super) fn entry(&self) -> Option<(u64, Option<i64>)> {
        match *self {
            Self::Decision { sequence, time_us, .. } | Self::SealedEvent { sequence, time_us, .. } => {
                Some((sequence, Some(time_us)))
            }
            Self::Event { sequence, event } => {
                Some((sequence, LogEvent::decode(event).ok().map(|event| event.time_us)))
            }
            Self::Group(_) | Self::Footer(_) | Self::Other => None,
        }
    }
}

/// What the end of a group says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupEnd {
    /// The first entry.
    pub first: u64,
    /// The last entry.
    pub last: u64,
    /// How many entries.
    pub count: u32,
    /// The entries of the log up to here.
    pub tree_size: u64,
    /// Their tree's root.
    pub root: Hash,
}

/// What the end of a segment says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Footer {
    /// The segment's first entry.
    pub first: u64,
    /// The segment's last entry.
    pub last: u64,
    /// How many entries.
    pub count: u64,
    /// The earliest time, in microseconds since the epoch.
    pub min_us: i64,
    /// The latest time.
    pub max_us: i64,
    /// The entries of the log up to here.
    pub tree_size: u64,
    /// Their tree's root.
    pub root: Hash,
}

/// Appends a decision's frame: `rest` is what follows the sequence number. A record is at most [`RECORD_BYTES_MAX`]
/// long: the buffer takes no longer ones.
pub(super) fn push_decision(out: &mut Vec<u8>, sequence: u64, rest: &[u8]) {
    push_frame(out, &[&[DECISION], &sequence.to_le_bytes(), rest]);
}

/// Appends the frame of an event in clear.
pub(super) fn push_event(out: &mut Vec<u8>, sequence: u64, event: &LogEvent) {
    push_frame(out, &[&[EVENT], &sequence.to_le_bytes(), &event.encode()]);
}

/// Appends the frame of a sealed event.
pub(super) fn push_sealed_event(
    out: &mut Vec<u8>,
    sequence: u64,
    time_us: i64,
    nonce: &[u8; NONCE_BYTES],
    sealed: &[u8],
) {
    push_frame(out, &[&[SEALED_EVENT], &sequence.to_le_bytes(), &time_us.to_le_bytes(), nonce, sealed]);
}

/// Appends the frame that ends a group.
pub(super) fn push_group(out: &mut Vec<u8>, end: &GroupEnd) {
    let GroupEnd { first, last, count, tree_size, root } = end;
    let numbers = [&first.to_le_bytes()[..], &last.to_le_bytes(), &count.to_le_bytes(), &tree_size.to_le_bytes()];
    push_frame(out, &[&[GROUP], &numbers.concat(), root]);
}

/// Appends the frame that ends a segment.
pub(super) fn push_footer(out: &mut Vec<u8>, footer: &Footer) {
    let Footer { first, last, count, min_us, max_us, tree_size, root } = footer;
    let numbers = [first, last, count].map(|number| number.to_le_bytes()).concat();
    let times = [min_us, max_us].map(|time| time.to_le_bytes()).concat();
    push_frame(out, &[&[FOOTER], &numbers, &times, &tree_size.to_le_bytes(), root]);
}

fn push_frame(out: &mut Vec<u8>, body: &[&[u8]]) {
    let length: usize = body.iter().map(|part| part.len()).sum();
    let mut checksum = crc32fast::Hasher::new();
    for part in body {
        checksum.update(part);
    }
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
    out.extend_from_slice(&checksum.finalize().to_le_bytes());
    for part in body {
        out.extend_from_slice(part);
    }
}

/// What a body holds; `None` when it is too short or too long for its kind.
fn parse(body: &[u8]) -> Option<Body<'_>> {
    let (kind, mut rest) = body.split_first()?;
    let rest = &mut rest;
    Some(match *kind {
        DECISION => Body::Decision {
            sequence: u64::from_le_bytes(*take(rest)?),
            id: DecisionId(u128::from_be_bytes(*take(rest)?)),
            time_us: i64::from_le_bytes(*take(rest)?),
            sealed: rest,
        },
        EVENT => Body::Event { sequence: u64::from_le_bytes(*take(rest)?), event: rest },
        SEALED_EVENT => Body::SealedEvent {
            sequence: u64::from_le_bytes(*take(rest)?),
            time_us: i64::from_le_bytes(*take(rest)?),
            nonce: *take(rest)?,
            sealed: rest,
        },
        GROUP => Body::Group(parse_group(rest)?),
        FOOTER => Body::Footer(parse_footer(rest)?),
        _ => Body::Other,
    })
}

fn parse_group(rest: &mut &[u8]) -> Option<GroupEnd> {
    let end = GroupEnd {
        first: u64::from_le_bytes(*take(rest)?),
        last: u64::from_le_bytes(*take(rest)?),
        count: u32::from_le_bytes(*take(rest)?),
        tree_size: u64::from_le_bytes(*take(rest)?),
        root: *take(rest)?,
    };
    rest.is_empty().then_some(end)
}

fn parse_footer(rest: &mut &[u8]) -> Option<Footer> {
    let footer = Footer {
        first: u64::from_le_bytes(*take(rest)?),
        last: u64::from_le_bytes(*take(rest)?),
        count: u64::from_le_bytes(*take(rest)?),
        min_us: i64::from_le_bytes(*take(rest)?),
        max_us: i64::from_le_bytes(*take(rest)?),
        tree_size: u64::from_le_bytes(*take(rest)?),
        root: *take(rest)?,
    };
    rest.is_empty().then_some(footer)
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A good frame from `offset` to before `end`, with the bytes of its body; the reader stands behind it.
    Frame { offset: u64, end: u64, body: Body<'a>, bytes: &'a [u8] },
    /// No good frame starts at `offset`; the reader stays there.
    Bad { offset: u64 },
    /// The bytes end where a frame ends.
    End,
}

/// Reads frames one after the other. Holds one frame at a time and a little more, never the file.
#[derive(Debug)]
pub(super) struct FrameReader<R> {
    source: R,
    window: Vec<u8>,
    /// Where in the window the next frame starts.
    at: usize,
    /// Where in the file the next frame starts.
    offset: u64,
    has_ended: bool,
}

impl<R: Read> FrameReader<R> {
    /// Reads from a source that stands at this offset of the file, where a frame starts.
    pub(super) fn new(source: R, offset: u64) -> Self {
        Self { source, window: Vec::new(), at: 0, offset, has_ended: false }
    }

    /// The next frame.
    pub(super) fn step(&mut self) -> io::Result<Step<'_>> {
        let offset = self.offset;
        let Some(length) = self.good_frame_at(0)? else {
            return Ok(if self.available(1)?.is_empty() { Step::End } else { Step::Bad { offset } });
        };
        let start = self.at;
        self.advance(length);
        let bytes = self.window.get(start + PREFIX_BYTES..start + length).unwrap_or_default();
        if let Some(body) = parse(bytes) {
            return Ok(Step::Frame { offset, end: self.offset, body, bytes });
        }
        (self.at, self.offset) = (start, offset);
        Ok(Step::Bad { offset })
    }

    /// After [`Step::Bad`]: goes to the next good frame of a known kind with a sequence number in this range; `false`
    /// when there is none.
    ///
    /// The bad frame is first skipped by its own length, so that after a changed byte in a body the search goes on at
    /// the next frame and takes nothing inside the body, which a caller may have chosen, for a frame.
    pub(super) fn resync(&mut self, plausible: &Range<u64>) -> io::Result<bool> {
        if let Some(length) = self.length_at(0)?
            && self.is_plausible_at(length, plausible)?
        {
            self.advance(length);
            return Ok(true);
        }
        while !self.available(1)?.is_empty() {
            self.advance(1);
            if self.is_plausible_at(0, plausible)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn advance(&mut self, bytes: usize) {
        self.at += bytes;
        self.offset += bytes as u64;
    }

    /// The bytes from the current place on, at least this many unless the source ends before.
    fn available(&mut self, wanted: usize) -> io::Result<&[u8]> {
        while !self.has_ended && self.window.len() - self.at < wanted {
            if self.at >= READ_BYTES {
                self.window.drain(..self.at);
                self.at = 0;
            }
            let missing = wanted.saturating_sub(self.window.len() - self.at).max(READ_BYTES);
            let read = (&mut self.source).take(missing as u64).read_to_end(&mut self.window)?;
            self.has_ended = read == 0;
        }
        Ok(self.window.get(self.at..).unwrap_or_default())
    }

    /// The whole length of the frame that starts so far behind the current place, if that length can be one.
    fn length_at(&mut self, ahead: usize) -> io::Result<Option<usize>> {
        let bytes = self.available(ahead + PREFIX_BYTES)?;
        let length = bytes.get(ahead..).and_then(|bytes| bytes.first_chunk::<4>());
        let length = length.and_then(|length| usize::try_from(u32::from_le_bytes(*length)).ok());
        Ok(length.filter(|length| (1..=BODY_BYTES_MAX).contains(length)).map(|length| length + PREFIX_BYTES))
    }

    /// The whole length of the frame that starts so far behind the current place, if it is good.
    fn good_frame_at(&mut self, ahead: usize) -> io::Result<Option<usize>> {
        let Some(length) = self.length_at(ahead)? else { return Ok(None) };
        let frame = self.available(ahead + length)?.get(ahead..ahead + length).unwrap_or_default();
        let Some((checksum, body)) = frame.get(4..).and_then(|rest| rest.split_first_chunk::<4>()) else {
            return Ok(None);
        };
        Ok((u32::from_le_bytes(*checksum) == crc32fast::hash(body)).then_some(length))
    }

    /// A good frame of a known kind starts so far behind the current place. Looks at the cheap signs before the
    /// checksum.
    fn is_plausible_at(&mut self, ahead: usize, plausible: &Range<u64>) -> io::Result<bool> {
        let Some(length) = self.length_at(ahead)? else { return Ok(false) };
        let start = ahead + PREFIX_BYTES;
        let head = self.available(start + ENTRY_START_BYTES)?.get(start..start + ENTRY_START_BYTES);
        let Some((kind, sequence)) = head.and_then(<[u8]>::split_first) else { return Ok(false) };
        let sequence = sequence.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let is_known = match *kind {
            DECISION => length >= PREFIX_BYTES + DECISION_OVERHEAD_BYTES,
            EVENT => length > PREFIX_BYTES + ENTRY_START_BYTES,
            SEALED_EVENT => length > PREFIX_BYTES + ENTRY_START_BYTES + 8 + NONCE_BYTES + TAG_BYTES,
            GROUP => length == GROUP_FRAME_BYTES,
            FOOTER => length == FOOTER_FRAME_BYTES,
            _ => false,
        };
        Ok(is_known && plausible.contains(&sequence) && self.good_frame_at(ahead)?.is_some())
    }
}

#[cfg(test)]
mod tests;
