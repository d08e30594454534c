//! The bytes of a history file: a header, then sealed frames.
//!
//! ```text
//! header: magic [8] | epoch u64 | number u64 | revision u64 | known i64 us | forgotten from u64 | until u64 | crc32 u32
//! frame:  len u32 | crc32 of the body u32 | body
//! body:   kind u8 | revision u64 | known i64 us | nonce [12] | sealed effects
//! kind:   1 BASE, 2 BASE END: all records of the header's revision;  3 CHANGE, 4 CHANGE END: what one revision did
//! ```
//! Numbers are little-endian. Effects are sealed with AES-256-GCM under the key of the epoch; what stands in front of
//! them, with epoch and number, is authenticated. What belongs to one revision may take several frames: it counts when its
//! END is there. Revisions follow one another without gaps.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek as _, SeekFrom},
    path::Path,
};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};

use crate::{app::ports::archive::ArchiveError, domain::id::Revision};

const MAGIC: [u8; 8] = *b"HPHIST\0\x01";
pub(super) const HEADER_BYTES: usize = 60;
const PREFIX_BYTES: usize = 8;
/// What stands in front of the sealed bytes.
const CLEAR_BYTES: usize = 17;
/// The longest body; guards readers against a damaged length.
const BODY_BYTES_MAX: usize = 16 * 1024 * 1024;

/// What the start of a history file says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The epoch of the key that opens it.
    pub epoch: u64,
    /// Its place among the files of the realm.
    pub number: u64,
    /// The revision that it begins with.
    pub revision: Revision,
    /// When that was known, in microseconds since the epoch.
    pub known_us: i64,
    /// The first and the last revision of which something was forgotten; the last is before the first where nothing was.
    pub forgotten: (Revision, Revision),
}

impl Header {
    /// The header of a file of which nothing was forgotten.
    pub(super) fn new(epoch: u64, number: u64, revision: Revision, known_us: i64) -> Self {
        Self { epoch, number, revision, known_us, forgotten: (Revision(1), Revision(0)) }
    }

    pub(super) fn encode(self) -> [u8; HEADER_BYTES] {
        let Self { epoch, number, revision, known_us, forgotten: (from, until) } = self;
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        for part in [epoch, number, revision.0, known_us.cast_unsigned(), from.0, until.0] {
            bytes.extend_from_slice(&part.to_le_bytes());
        }
        bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
        bytes.try_into().unwrap_or([0; HEADER_BYTES])
    }

    /// `None` when these are not the bytes of a header.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (checked, checksum) = bytes.split_last_chunk::<4>()?;
        if crc32fast::hash(checked) != u32::from_le_bytes(*checksum) {
            return None;
        }
        let mut rest = checked.strip_prefix(&MAGIC)?;
        let mut next = || {
            let (part, behind) = rest.split_first_chunk::<8>()?;
            rest = behind;
            Some(u64::from_le_bytes(*part))
        };
        Some(Self {
            epoch: next()?,
            number: next()?,
            revision: Revision(next()?),
            known_us: next()?.cast_signed(),
            forgotten: (Revision(next()?), Revision(next()?)),
        })
    }

    /// Something that this revision had was forgotten.
    pub(super) fn is_forgetful(&self, revision: Revision) -> bool {
        let (from, until) = self.forgotten;
        (from..=until).contains(&revision)
    }
}

/// What a frame is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// It is of the records that the file begins with.
    pub is_base: bool,
    /// It ends what belongs to its revision.
    pub is_end: bool,
    /// The revision.
    pub revision: Revision,
    /// When it was known, in microseconds since the epoch.
    pub known_us: i64,
}

impl Place {
    fn encode(self) -> [u8; CLEAR_BYTES] {
        let mut bytes = [0; CLEAR_BYTES];
        let kind = match (self.is_base, self.is_end) {
            (true, false) => 1,
            (true, true) => 2,
            (false, false) => 3,
            (false, true) => 4,
        };
        let parts = [kind].into_iter().chain(self.revision.0.to_le_bytes()).chain(self.known_us.to_le_bytes());
        bytes.iter_mut().zip(parts).for_each(|(byte, part)| *byte = part);
        bytes
    }

    fn decode(bytes: &[u8; CLEAR_BYTES]) -> Option<Self> {
        let (kind, rest) = bytes.split_first()?;
        let (revision, known_us) = rest.split_first_chunk::<8>()?;
        let (is_base, is_end) = match kind {
            1 => (true, false),
            2 => (true, true),
            3 => (false, false),
            4 => (false, true),
            _ => return None,
        };
        let revision = Revision(u64::from_le_bytes(*revision));
        Some(Self { is_base, is_end, revision, known_us: i64::from_le_bytes(known_us.try_into().ok()?) })
    }
}

/// The key of an epoch.
#[derive(Debug)]
pub(super) struct EpochKey {
    /// The epoch, from 1.
    pub epoch: u64,
    key: LessSafeKey,
}

impl EpochKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: the library refuses it.
    pub(super) fn new(epoch: u64, secret: &[u8; 32]) -> Result<Self, ArchiveError> {
        let key = UnboundKey::new(&AES_256_GCM, secret)
            .map_err(|_| ArchiveError::Unavailable("the key of the history is of no use".to_owned()))?;
        Ok(Self { epoch, key: LessSafeKey::new(key) })
    }

    fn associated(&self, number: u64, clear: &[u8; CLEAR_BYTES]) -> Aad<Vec<u8>> {
        Aad::from([&self.epoch.to_le_bytes()[..], &number.to_le_bytes()[..], clear].concat())
    }

    /// Appends a frame of a file.
    ///
    /// # Errors
    /// [`ArchiveError::Unavailable`]: no random numbers, or too many effects for a frame.
    pub(super) fn push(
        &self,
        out: &mut Vec<u8>,
        number: u64,
        place: Place,
        effects: Vec<u8>,
    ) -> Result<(), ArchiveError> {
        let failed = |why: &str| ArchiveError::Unavailable(format!("a frame of the history cannot be sealed: {why}"));
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| failed("the operating system gave no random bytes"))?;
        let (clear, mut sealed) = (place.encode(), effects);
        let unique = Nonce::assume_unique_for_key(nonce);
        self.key
            .seal_in_place_append_tag(unique, self.associated(number, &clear), &mut sealed)
            .map_err(|_| failed("the library refuses it"))?;
        let length = CLEAR_BYTES + NONCE_LEN + sealed.len();
        let prefix = u32::try_from(length).ok().filter(|_| length <= BODY_BYTES_MAX);
        let prefix = prefix.ok_or_else(|| failed("it is too long"))?;
        let mut checksum = crc32fast::Hasher::new();
        for part in [&clear[..], &nonce[..], &sealed] {
            checksum.update(part);
        }
        out.extend_from_slice(&prefix.to_le_bytes());
        out.extend_from_slice(&checksum.finalize().to_le_bytes());
        for part in [&clear[..], &nonce[..], &sealed] {
            out.extend_from_slice(part);
        }
        Ok(())
    }

    /// The effects of a frame; `None` when they are not those that were sealed.
    pub(super) fn open<'f>(&self, number: u64, frame: &'f mut Frame) -> Option<&'f [u8]> {
        let nonce = Nonce::assume_unique_for_key(*frame.sealed.first_chunk::<NONCE_LEN>()?);
        let associated = self.associated(number, &frame.place.encode());
        let sealed = frame.sealed.get_mut(NONCE_LEN..)?;
        self.key.open_in_place(nonce, associated, sealed).ok().map(|opened| &*opened)
    }
}

/// A frame whose checksum holds.
#[derive(Debug)]
pub(super) struct Frame {
    pub place: Place,
    sealed: Vec<u8>,
}

/// What stands next in a file.
#[derive(Debug)]
pub(super) enum Step {
    /// A good frame.
    Frame(Frame),
    /// The file ends where a frame ends.
    End,
    /// No good frame.
    Bad,
}

/// Reads the frames of a file one after the other, up to a limit.
#[derive(Debug)]
pub(super) struct FrameReader {
    source: io::Take<BufReader<File>>,
    /// What the file's start says.
    pub header: Header,
    /// Where the next frame starts.
    pub offset: u64,
}

impl FrameReader {
    /// Reads a file from its first frame on; `None` when it has no good header.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn open(path: &Path, limit: u64) -> io::Result<Option<Self>> {
        let mut source = BufReader::with_capacity(256 * 1024, File::open(path)?).take(limit);
        let mut header = [0; HEADER_BYTES];
        match source.read_exact(&mut header) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
        Ok(Header::decode(&header).map(|header| Self { source, header, offset: HEADER_BYTES as u64 }))
    }

    /// Goes to where a frame starts.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn seek(&mut self, offset: u64) -> io::Result<()> {
        let limit = self.source.limit() + self.offset;
        self.source.get_mut().seek(SeekFrom::Start(offset))?;
        self.source.set_limit(limit.saturating_sub(offset));
        self.offset = offset;
        Ok(())
    }

    /// The next frame.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn step(&mut self) -> io::Result<Step> {
        let mut prefix = [0; PREFIX_BYTES];
        match read_up_to(&mut self.source, &mut prefix)? {
            0 => return Ok(Step::End),
            PREFIX_BYTES => {}
            _ => return Ok(Step::Bad),
        }
        let Some((length, checksum)) = prefix.split_first_chunk::<4>() else { return Ok(Step::Bad) };
        let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
        if !(CLEAR_BYTES + NONCE_LEN..=BODY_BYTES_MAX).contains(&length) {
            return Ok(Step::Bad);
        }
        let mut body = vec![0; length];
        let is_whole = read_up_to(&mut self.source, &mut body)? == length;
        if !is_whole || crc32fast::hash(&body).to_le_bytes() != *checksum {
            return Ok(Step::Bad);
        }
        let Some(place) = body.first_chunk::<CLEAR_BYTES>().and_then(Place::decode) else { return Ok(Step::Bad) };
        self.offset += (PREFIX_BYTES + length) as u64;
        Ok(Step::Frame(Frame { place, sealed: body.split_off(CLEAR_BYTES) }))
    }
}

/// Reads until the buffer is full or the source ends; how many bytes that were.
fn read_up_to(source: &mut impl Read, mut buffer: &mut [u8]) -> io::Result<usize> {
    let wanted = buffer.len();
    while !buffer.is_empty() {
        match source.read(buffer) {
            Ok(0) => break,
            Ok(count) => buffer = buffer.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(wanted - buffer.len())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn key(epoch: u64) -> EpochKey {
        EpochKey::new(epoch, &[7; 32]).unwrap()
    }

    fn place(revision: u64, is_end: bool) -> Place {
        Place { is_base: false, is_end, revision: Revision(revision), known_us: -5 }
    }

    fn file_of_three() -> Vec<u8> {
        let mut bytes = Header::new(1, 2, Revision(3), 4).encode().to_vec();
        for revision in 4..7 {
            key(1).push(&mut bytes, 2, place(revision, true), format!("effect {revision}").into_bytes()).unwrap();
        }
        bytes
    }

    /// The texts of all frames that can be opened, up to the first that can't be read.
    fn read(bytes: &[u8], key: &EpochKey) -> (Vec<Option<String>>, bool) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, bytes).unwrap();
        let Some(mut reader) = FrameReader::open(&path, u64::MAX).unwrap() else { return (Vec::new(), false) };
        let mut found = Vec::new();
        loop {
            match reader.step().unwrap() {
                Step::Frame(mut frame) => {
                    let text = key.open(reader.header.number, &mut frame);
                    found.push(text.map(|text| String::from_utf8(text.to_vec()).unwrap()));
                }
                Step::End => return (found, true),
                Step::Bad => return (found, false),
            }
        }
    }

    fn effects(count: usize) -> Vec<Option<String>> {
        ["effect 4", "effect 5", "effect 6"].iter().take(count).map(|text| Some((*text).to_owned())).collect()
    }

    #[test]
    fn headers_read_back_and_changed_ones_are_refused() {
        let header = Header { forgotten: (Revision(9), Revision(12)), ..Header::new(1, 2, Revision(3), -4) };
        let bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Some(header));
        assert!(header.is_forgetful(Revision(12)) && !header.is_forgetful(Revision(8)));
        assert!(!Header::new(1, 2, Revision(3), -4).is_forgetful(Revision(1)));
        for at in 0..bytes.len() {
            let mut changed = bytes;
            changed[at] ^= 1;
            assert_eq!(Header::decode(&changed), None, "{at}");
        }
    }

    #[test]
    fn frames_read_back_with_their_key_only() {
        let bytes = file_of_three();
        assert_eq!(read(&bytes, &key(1)), (effects(3), true));
        assert_eq!(read(&bytes, &key(2)), (vec![None; 3], true), "another epoch");
        assert_eq!(read(&bytes, &EpochKey::new(1, &[8; 32]).unwrap()), (vec![None; 3], true));
        assert!(!bytes.windows(6).any(|window| window == b"effect"), "nothing is in clear");
    }

    #[test]
    fn a_cut_or_changed_file_gives_what_is_before_the_damage() {
        let bytes = file_of_three();
        let frame = (bytes.len() - HEADER_BYTES) / 3;
        for cut in HEADER_BYTES..bytes.len() {
            let whole = (cut - HEADER_BYTES) / frame;
            let is_clean = (cut - HEADER_BYTES).is_multiple_of(frame);
            assert_eq!(read(&bytes[..cut], &key(1)), (effects(whole), is_clean), "{cut}");
        }
        for at in HEADER_BYTES..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 0x20;
            assert_eq!(read(&changed, &key(1)), (effects((at - HEADER_BYTES) / frame), false), "{at}");
        }
    }

    #[test]
    fn a_frame_is_of_its_own_file_and_place() {
        let mut bytes = Header::new(1, 3, Revision(3), 4).encode().to_vec();
        key(1).push(&mut bytes, 2, place(4, true), b"of file 2".to_vec()).unwrap();
        assert_eq!(read(&bytes, &key(1)), (vec![None], true));
    }
}
