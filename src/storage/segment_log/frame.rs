//! The bytes of a segment file: a header, then frames; and how to find the next good frame behind a bad one.
//!
//! ```text
//! header: magic [8] | format u16 | reserved u16 | first sequence u64 | created i64 us | crc32 u32     32 bytes
//! frame:  len u32 | crc32 of the body u32 | body
//! body 1: kind u8 | sequence u64 | the record's bytes             DECISION
//! body 2: kind u8 | first u64 | last u64 | count u32              GROUP: the frames before it were written together
//! ```
//! Numbers are little-endian. Readers skip kinds they do not know.

use std::{
    io::{self, Read},
    ops::Range,
};

/// How a segment file starts.
pub(super) const MAGIC: [u8; 8] = *b"HPLOG\0\x01\n";
const FORMAT: u16 = 1;
/// The sequence numbers that can be: counting on from one of them never overflows.
pub(super) const SEQUENCES: Range<u64> = 1..1 << 62;
pub(super) const HEADER_BYTES: u64 = 32;
/// Length and checksum in front of a body.
const PREFIX_BYTES: usize = 8;
/// The longest body; guards readers against a damaged length.
pub(super) const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;
const DECISION: u8 = 1;
const GROUP: u8 = 2;
const GROUP_BODY_BYTES: usize = 21;
/// The longest record that fits into a frame, in bytes.
pub(super) const RECORD_BYTES_MAX: usize = BODY_BYTES_MAX - DECISION_BODY_START;
/// Kind and sequence in front of a record's bytes.
const DECISION_BODY_START: usize = 9;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// What the start of a segment file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The sequence number of the first record written to it.
    pub first_sequence: u64,
    /// When the file was made, in microseconds since the epoch.
    pub created_us: i64,
}

impl Header {
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(32);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&FORMAT.to_le_bytes());
        bytes.extend_from_slice(&[0; 2]);
        bytes.extend_from_slice(&self.first_sequence.to_le_bytes());
        bytes.extend_from_slice(&self.created_us.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes
    }

    /// `None` when these are not the bytes of a header.
    pub(super) fn decode(bytes: &[u8; 32]) -> Option<Self> {
        let (checked, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(checked) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let (magic, rest) = checked.split_first_chunk::<8>()?;
        let (format, rest) = rest.split_first_chunk::<2>()?;
        let (_reserved, rest) = rest.split_first_chunk::<2>()?;
        let (first_sequence, rest) = rest.split_first_chunk::<8>()?;
        let (created_us, _) = rest.split_first_chunk::<8>()?;
        let first_sequence = u64::from_le_bytes(*first_sequence);
        let is_known = *magic == MAGIC && u16::from_le_bytes(*format) == FORMAT;
        (is_known && SEQUENCES.contains(&first_sequence))
            .then_some(Self { first_sequence, created_us: i64::from_le_bytes(*created_us) })
    }
}

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body<'a> {
    /// A decision.
    Decision { sequence: u64, record: &'a [u8] },
    /// The end of a group of records that were made durable together.
    Group { first: u64, last: u64, count: u32 },
    /// A kind that this release does not know.
    Other,
}

/// Appends a decision's frame. The record is at most [`RECORD_BYTES_MAX`] long: the buffer takes no longer ones.
pub(super) fn push_decision(out: &mut Vec<u8>, sequence: u64, record: &[u8]) {
    push_frame(out, &[&[DECISION], &sequence.to_le_bytes(), record]);
}

/// Appends the frame that ends a group.
pub(super) fn push_group(out: &mut Vec<u8>, first: u64, last: u64, count: u32) {
    push_frame(out, &[&[GROUP], &first.to_le_bytes(), &last.to_le_bytes(), &count.to_le_bytes()]);
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

fn parse(body: &[u8]) -> Option<Body<'_>> {
    let (kind, rest) = body.split_first()?;
    match *kind {
        DECISION => {
            let (sequence, record) = rest.split_first_chunk::<8>()?;
            Some(Body::Decision { sequence: u64::from_le_bytes(*sequence), record })
        }
        GROUP => {
            let (first, rest) = rest.split_first_chunk::<8>()?;
            let (last, rest) = rest.split_first_chunk::<8>()?;
            let count: &[u8; 4] = rest.try_into().ok()?;
            Some(Body::Group {
                first: u64::from_le_bytes(*first),
                last: u64::from_le_bytes(*last),
                count: u32::from_le_bytes(*count),
            })
        }
        _ => Some(Body::Other),
    }
}

/// What stands at a place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A good frame from `offset` to before `end`; the reader stands behind it.
    Frame { offset: u64, end: u64, body: Body<'a> },
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
        let body = self.window.get(start + PREFIX_BYTES..start + length).unwrap_or_default();
        if let Some(body) = parse(body) {
            return Ok(Step::Frame { offset, end: self.offset, body });
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
        let head = self.available(start + DECISION_BODY_START)?.get(start..start + DECISION_BODY_START);
        let Some((kind, sequence)) = head.and_then(<[u8]>::split_first) else { return Ok(false) };
        let sequence = sequence.try_into().map(u64::from_le_bytes).unwrap_or_default();
        let is_known = match *kind {
            DECISION => length > PREFIX_BYTES + DECISION_BODY_START,
            GROUP => length == PREFIX_BYTES + GROUP_BODY_BYTES,
            _ => false,
        };
        Ok(is_known && plausible.contains(&sequence) && self.good_frame_at(ahead)?.is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn three_frames() -> Vec<u8> {
        let mut bytes = Vec::new();
        push_decision(&mut bytes, 7, b"first record");
        push_decision(&mut bytes, 8, b"second record");
        push_group(&mut bytes, 7, 8, 2);
        bytes
    }

    /// The sequences (of a group: its last) that are read, resynchronising where needed, and how often it was.
    fn read_all(bytes: &[u8]) -> (Vec<u64>, usize) {
        let mut reader = FrameReader::new(bytes, 0);
        let (mut found, mut bad) = (Vec::new(), 0);
        loop {
            match reader.step().unwrap() {
                Step::Frame { body: Body::Decision { sequence, .. }, .. } => found.push(sequence),
                Step::Frame { body: Body::Group { last, .. }, .. } => found.push(100 + last),
                Step::Frame { body: Body::Other, .. } => found.push(0),
                Step::Bad { .. } => {
                    bad += 1;
                    if !reader.resync(&(0..1000)).unwrap() {
                        return (found, bad);
                    }
                }
                Step::End => return (found, bad),
            }
        }
    }

    #[test]
    fn the_bytes_of_format_1_stay_as_they_are() {
        let header = Header { first_sequence: 5, created_us: 9 }.encode();
        assert_eq!(header[..28], *b"HPLOG\0\x01\n\x01\0\0\0\x05\0\0\0\0\0\0\0\x09\0\0\0\0\0\0\0");
        let decoded = Header::decode(header[..].try_into().unwrap());
        assert_eq!(decoded, Some(Header { first_sequence: 5, created_us: 9 }));
        let mut frame = Vec::new();
        push_decision(&mut frame, 3, b"x");
        assert_eq!(frame[..4], *b"\x0a\0\0\0");
        assert_eq!(frame[8..], *b"\x01\x03\0\0\0\0\0\0\0x");
    }

    #[test]
    fn a_changed_header_is_no_header() {
        let header = Header { first_sequence: 5, created_us: 9 }.encode();
        for at in 0..header.len() {
            let mut changed: [u8; 32] = header[..].try_into().unwrap();
            changed[at] ^= 1;
            assert_eq!(Header::decode(&changed), None, "{at}");
        }
    }

    #[test]
    fn frames_read_back_and_unknown_kinds_are_passed_over() {
        let mut bytes = three_frames();
        push_frame(&mut bytes, &[&[200], b"from a later release"]);
        push_decision(&mut bytes, 9, b"third record");
        assert_eq!(read_all(&bytes), (vec![7, 8, 108, 0, 9], 0));
    }

    #[test]
    fn a_flipped_byte_costs_its_own_frame_only() {
        let good = three_frames();
        let first = 8 + 9 + b"first record".len();
        for at in 0..first {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            assert_eq!(read_all(&bytes), (vec![8, 108], 1), "{at}");
        }
    }

    #[test]
    fn a_frame_hidden_in_the_body_of_a_bad_frame_is_not_taken_for_one() {
        let mut hidden = Vec::new();
        push_decision(&mut hidden, 8, b"forged");
        let mut bytes = Vec::new();
        push_decision(&mut bytes, 7, &hidden);
        push_decision(&mut bytes, 8, b"real");
        bytes[4] ^= 1;
        let mut reader = FrameReader::new(&bytes[..], 0);
        assert_eq!(reader.step().unwrap(), Step::Bad { offset: 0 });
        assert!(reader.resync(&(0..1000)).unwrap());
        let Step::Frame { body, .. } = reader.step().unwrap() else { panic!("expected a frame") };
        assert_eq!(body, Body::Decision { sequence: 8, record: b"real" });
    }

    #[test]
    fn zeros_are_no_frames() {
        assert_eq!(read_all(&[0; 100]), (vec![], 1));
    }

    #[test]
    fn frames_longer_than_the_window_read_back() {
        let long = vec![7; 3 * READ_BYTES];
        let mut bytes = Vec::new();
        for sequence in 1..5 {
            push_decision(&mut bytes, sequence, &long);
        }
        assert_eq!(read_all(&bytes), (vec![1, 2, 3, 4], 0));
    }

    proptest! {
        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            read_all(&bytes);
        }

        #[test]
        fn garbage_in_front_does_not_hide_what_follows(mut bytes in prop::collection::vec(any::<u8>(), 1..200)) {
            bytes.extend_from_slice(&three_frames());
            let (found, _) = read_all(&bytes);
            prop_assert!(found.ends_with(&[7, 8, 108]), "{:?}", found);
        }
    }
}
